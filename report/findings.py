"""What the figures of chapter III say: comparisons that the runs of more/ allow, a function a file. None has a figure of its own.

A figure without a spread is stated, and "no verdict" is said beside it; shares of drawings are held against twice their standard error.
"""

import importlib
import math

import numpy as np

from report import text as tx
from report.records import Value, compare, dig, exact, find, number, row_value, verdict
from report.specs import SPECS, sampler

PAINTED, GREY = ("color", "color", "samples_conv_vae"), ("metrics", "conv_vae", "samples")  # tables in OUT/metrics, conv_vae's row in each


# ---- Figures ----------------------------------------------------------------------------------------------------

def samples_of(runs, folder):
    """How many samples the run has left, or None."""
    path = runs.path(folder, "samples.npy")
    try:
        return len(np.load(path, mmap_mode="r")) if path else None
    except (OSError, ValueError, EOFError):
        return None


def fid_samples(runs, folder):
    """How many samples a run's FID is of, as score.py has it: as many as there are test drawings, if there are so many."""
    tests, n = dig(runs.record(folder), "data", "drawings", "test"), samples_of(runs, folder)
    return min(int(tests), n) if tests and n else None


def value(runs, folder, keys, column):
    """A figure with its spread; column: see specs.py."""
    record = runs.record(folder)
    tests = int(dig(record, "data", "drawings", "test") or 0)
    inputs = min(int(dig(record, "config", "inputs") or 0), tests)
    many = {"tests": tests, "samples": samples_of(runs, folder) or 0, "inputs": inputs}.get(column.share, 0)
    figure = runs.value(folder, *keys, share_of=many)
    beside = dig(find(record, *keys[:-1]), column.spread) if column.spread else None
    if beside is None or not figure.n:
        return figure
    if column.error:
        return figure._replace(error=beside, drawings=tests) if figure.of == "seeds" else figure._replace(sd=beside, n=tests, of="drawings")
    seeds = int(dig(record, "config", "seeds") or 1)
    return figure if figure.of == "seeds" or seeds < 2 else figure._replace(sd=beside, n=seeds, of="seeds")


def share(p, n):
    """A share of n test drawings or sentences, as a Value."""
    return Value(p, math.sqrt(p * (1 - p) / n), n, "drawings") if n and 0 <= p <= 1 else Value(p, math.nan, 1)


def variant(runs, folder, name):
    """Test accuracy of a variant of a text classifier: spread over its seeds, and the standard error of the sentences that all share."""
    record = runs.record(folder)
    p, spread = (dig(record, "variants", name, key) for key in ("test_accuracy", "spread"))
    seeds = dig(record, "config", "seeds")
    if p is None:
        return Value()
    alone = share(p, int(dig(record, "data", "drawings", "test") or 0))
    if spread is None or not seeds or seeds < 2 or alone.of != "drawings":
        return alone
    return Value(p, spread, int(seeds), "seeds", (), alone.sd, alone.n)


def numbers(rows, *keys):
    """The rows that have all of these as finite numbers."""
    return [row for row in rows or () if isinstance(row, dict) and all(math.isfinite(dig(row, key) or 0) and dig(row, key) is not None
                                                                     for key in keys)]


def way(a, b):
    return "rises" if b > a else "falls" if b < a else "stays"


def listed(names):
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


# ---- Generative models ------------------------------------------------------------------------------------------

def is_grey(runs, folder):
    return folder.endswith("_grey") or runs.record(folder)["config"].get("grey") is True


def no_colour_table(runs, folders):
    """A sentence where a comparison would need the table in colour, and it is not there."""
    need = [folder for folder in folders if runs.path(folder, "samples.npy") and not is_grey(runs, folder)]
    have = row_value(runs, *PAINTED[1:], "fid", PAINTED[0]).n
    return " That of painted drawings is not in this OUT: `make colour` writes it." if need and not have else ""


def against_conv_vae(runs, folder):
    """FID beside conv_vae's prior samples, in the same kind of image and the same table."""
    table, *row = GREY if is_grey(runs, folder) else PAINTED
    conv = row_value(runs, *row, "fid", table)
    for kind, label in (("samples", "samples"), ("samples_mixture", "mixture samples")):
        mine = row_value(runs, folder, kind, "fid", table)
        judged = runs.record("metrics", table) or {}
        if not mine.n and kind == "samples" and judged.get("judge") == "cnn" and fid_samples(runs, folder) == dig(
                judged, "rows", " ".join(row), "n"):  # not in the table: the run's own, without spread
            mine = Value(dig(runs.record(folder), "fid") or math.nan, math.nan, 1)
        its = "painted " * (table == "color") + "prior samples of `conv_vae`"
        line = compare("FID", f"{label} of `{folder}`", mine, its, conv, "{:.1f}")
        if line and mine.known and conv.known and conv.mean > 0:
            line += f" The ratio, `{folder}` to `conv_vae`, is {mine.mean / conv.mean:.2f}."
        yield line


def asked(runs, folder, mine=None, label=""):
    """Recognised as asked, beside what the judge has right of real test drawings."""
    judge = "classifier" if is_grey(runs, folder) else "color/classifier"
    tests = int(dig(runs.record(judge) or {}, "data", "drawings", "test") or 0)
    mine = runs.value(folder, "accuracy", share_of=samples_of(runs, folder) or 0) if mine is None else mine
    real = runs.value(judge, "cnn", "test_accuracy", share_of=tests)
    if mine.known and not real.n:
        return f"The judge takes {mine.show('{:.3f}')} of the samples of {label or f'`{folder}`'} for what was asked."
    return compare("share recognised as asked", f"samples of {label or f'`{folder}`'}", mine, "test drawings", real, "{:.3f}", lower=False)


def gan(runs, folder):
    own, bare = (runs.value(folder, key) for key in ("fid", "fid_without_mean"))
    yield compare("FID", "the generator with the mean of its weights", own, "the generator as training left it", bare, "{:.1f}")


def cgan(runs, folder):
    yield asked(runs, folder)


def cddpm(runs, folder):
    yield asked(runs, folder)
    rows = sorted(numbers(runs.record(folder).get("guidance"), "guidance", "fid", "accuracy"), key=lambda row: row["guidance"])
    if len(rows) > 1:
        best, first, last = min(rows, key=lambda row: row["fid"]), rows[0], rows[-1]
        yield (f"Of the {len(rows)} values of guidance FID is lowest at $g$ = {best['guidance']:g}, {best['fid']:.1f}; from $g$ = "
               f"{first['guidance']:g} to {last['guidance']:g} the share recognised as asked "
               f"{way(first['accuracy'], last['accuracy'])} from {first['accuracy']:.3f} to {last['accuracy']:.3f}. These are one set of "
               "samples each: there is no spread for their FID.")


def ddpm(runs, folder):
    """What steps, eta and guidance do, each with the rest as it is."""
    rows = [sampler(name) | {key: dig(row, key) for key in ("fid", "seconds")} for name, row in (
        runs.record(folder).get("samplers") or {}).items() if sampler(name)]
    rows = numbers(rows, "fid", "seconds")
    plain = sorted((row for row in rows if row["eta"] == 0 and row["g"] == 1), key=lambda row: row["steps"])
    if len(plain) > 1:
        a, b = plain[0], plain[-1]
        yield (f"Steps: without new noise ($\\eta = 0$) and guidance, FID {way(a['fid'], b['fid'])} from {a['fid']:.1f} with {a['steps']} "
               f"steps to {b['fid']:.1f} with {b['steps']}, in {b['seconds'] / max(a['seconds'], 1e-9):.0f} times the time.")
    for steps in dict.fromkeys(row["steps"] for row in rows):
        line = sorted((row for row in rows if row["steps"] == steps and row["g"] == 1), key=lambda row: row["eta"])
        if len(line) > 1:
            yield (f"New noise: with {steps} steps and no guidance FID is " + listed([
                f"{row['fid']:.1f} at $\\eta$ = {row['eta']:g}" + " with all noise new from a point on" * (row["fresh"] != "never")
                for row in line]) + ".")
    for row in rows:
        twin = next((r for r in rows if r["g"] == 1 and all(r[key] == row[key] for key in ("steps", "eta", "fresh"))), None)
        if row["g"] != 1 and twin:
            yield (f"Guidance: with $g$ = {row['g']:g} in place of 1, {row['steps']} steps and $\\eta$ = {row['eta']:g}, FID "
                   f"{way(twin['fid'], row['fid'])} from {twin['fid']:.1f} to {row['fid']:.1f}, in "
                   f"{row['seconds'] / max(twin['seconds'], 1e-9):.1f} times the time.")
    if rows:
        yield "These are one set of samples each: there is no spread to hold a difference against."


def beta_vae(runs, folder):
    """What a larger beta costs and brings."""
    rows = sorted(numbers(runs.record(folder).get("rows"), "beta", "test_reconstruction", "test_kl"), key=lambda row: row["beta"])
    if len(rows) > 1:
        a, b, size = rows[0], rows[-1], dig(runs.record(folder), "config", "latent_dim")
        yield (f"From $\\beta$ = {a['beta']:g} to {b['beta']:g} $R$ {way(a['test_reconstruction'], b['test_reconstruction'])} from "
               f"{a['test_reconstruction']:.0f} to {b['test_reconstruction']:.0f} nats and the KL {way(a['test_kl'], b['test_kl'])} from "
               f"{a['test_kl']:.1f} to {b['test_kl']:.1f}"
               + (f"; of {size:.0f} latents {a['active_latents']:.0f} are active at the one and {b['active_latents']:.0f} at the other"
                  if size and len(numbers([a, b], "active_latents")) == 2 else "") + ".")
    rows = numbers(rows, "fid")
    if len(rows) > 1:
        best, used = min(rows, key=lambda row: row["fid"]), next((row for row in rows if row["beta"] == 1), None)
        yield (f"FID is lowest at $\\beta$ = {best['beta']:g}, {best['fid']:.1f}" + (
            f" ($\\beta$ = 1: {used['fid']:.1f})" if used and used is not best else "")
            + f", and highest at {max(rows, key=lambda row: row['fid'])['beta']:g}, {max(row['fid'] for row in rows):.1f}. It is of one "
              "training each and has no spread: between neighbours it is no verdict.")
    rows = numbers(rows, "mig", "mig_turned")
    if len(rows) > 1:
        best, below = max(rows, key=lambda row: row["mig"]), [f"{row['beta']:g}" for row in rows if row["mig"] <= row["mig_turned"]]
        yield (f"MIG is highest at $\\beta$ = {best['beta']:g}, {best['mig']:.3f}, where latents turned at random have "
               f"{best['mig_turned']:.3f}" + (f"; at $\\beta$ = {listed(below)} it is no higher than of turned ones" if below else "")
               + ". It, too, is of one training each.")


def cvae_color(runs, folder):
    kinds = {"one_hot": "one-hot", "embedding": "the embedding"}
    tests, n = int(dig(runs.record(folder), "data", "drawings", "test") or 0), samples_of(runs, folder) or 0

    def of(kind, key, many=0):
        return runs.value(folder, "kinds", kind, key, share_of=many)

    for key, what, many, lower, form in (
            ("test_elbo", "test ELBO in nats", 0, False, "{:.1f}"), ("fid", "FID of prior samples", 0, True, "{:.1f}"),
            ("mixture_fid", "FID of mixture samples", 0, True, "{:.1f}"),
            ("accuracy", "share of prior samples recognised as asked", n, False, "{:.3f}"),
            ("mixture_accuracy", "share of mixture samples recognised as asked", n, False, "{:.3f}"),
            ("linear_probe_accuracy", "share of categories that a linear probe reads from $z$", tests, True, "{:.3f}")):
        a, b = (of(kind, key, many) for kind in kinds)
        yield compare(what, kinds["one_hot"], a, kinds["embedding"], b, form, lower)
    for kind, label in kinds.items():
        mixture = of(kind, "mixture_accuracy", n)
        if mixture.n:
            yield asked(runs, folder, mixture, f"the mixture under {label}")


def inpaint(runs, folder):
    ways = ("replacement", "resampling", "guidance")
    inputs = int(dig(runs.record(folder), "config", "inputs") or 0)
    tests = int(dig(runs.record(folder), "data", "drawings", "test") or 0)
    right = {w: runs.value(folder, "ways", w, "recognised", share_of=min(inputs, tests)) for w in (*ways, "real drawings")}
    seams = {w: runs.value(folder, "ways", w, "seam") for w in ways}
    seams = {w: v for w, v in seams.items() if v.known}
    if len(seams) > 1:
        best = min(seams, key=lambda w: abs(seams[w].mean - 1))
        yield (f"The seam is nearest to that of real drawings (1) by {best}, {seams[best].mean:.2f}; "
               + listed([f"{w} has {v.mean:.2f}" for w, v in seams.items() if w != best]) + ".")
    for a, b in (("resampling", "replacement"), ("guidance", "replacement"), ("guidance", "resampling")):
        yield compare("share taken for the drawing's category", a, right[a], b, right[b], "{:.3f}", lower=False)
    for key, what, form in (("fid", "FID", "{:.1f}"), ("milliseconds", "time of a completion in milliseconds", "{:.0f}"),
                            ("diversity", "diversity of completions", "{:.2f}")):
        found = {w: runs.value(folder, "ways", w, key) for w in ways}
        found = dict(sorted(((w, v) for w, v in found.items() if v.known), key=lambda item: item[1].mean))
        if len(found) > 1:
            yield (f"By {what}, from the lowest: " + ", ".join(f"{w} {number(form, v.mean)}" for w, v in found.items())
                   + (" (no spread, so no verdict)." if not all(v.spread_known for v in found.values()) else "."))
    real = {w: v for w, v in right.items() if w != "real drawings" and v.known}
    if real and right["real drawings"].known:
        best = max(real, key=lambda w: real[w].mean)
        yield compare("share taken for the drawing's category", "test drawings", right["real drawings"], best, real[best], "{:.3f}",
                      lower=False)


# ---- Autoencoders -----------------------------------------------------------------------------------------------

def dense_ae(runs, folder):
    mse = runs.value(folder, "test_mse")
    pca = exact(runs.value(folder, "pca_mse"), mse)
    yield compare("test MSE", f"`{folder.split('/')[-1]}`", mse, "PCA with as many numbers", pca, "{:.5f}")
    yield compare("validation MSE after a short training", "LeCun-normal first weights", runs.value(folder, "val_mse_by_init", "lecun"),
                  "PyTorch's default", runs.value(folder, "val_mse_by_init", "default"), "{:.5f}")


def selu_conv_ae(runs, folder):
    def mse(net, key="test_mse"):
        return runs.value(folder, "table", net, key)

    names = {"dense": "the dense net", "squeezed": "the squeezed convolutional net", "convolutional": "the convolutional net"}
    same = dig(runs.record(folder), "table", "dense", "numbers") == dig(runs.record(folder), "table", "squeezed", "numbers")
    if same:
        yield compare("test MSE at one size of the code", names["squeezed"], mse("squeezed"), names["dense"], mse("dense"), "{:.5f}")
    for net in ("squeezed", "convolutional"):
        size = dig(runs.record(folder), "table", net, "numbers")
        if size:
            yield compare(f"test MSE with {size:.0f} numbers", names[net], mse(net), "PCA", exact(mse(net, "pca_mse"), mse(net)), "{:.6f}")


def restore_ae(runs, folder):
    """Restored against the median filter, distortion by distortion."""
    column, groups = SPECS["restore_ae"].sheets[0].columns["gain"], {"first": [], "second": [], "tie": []}
    table = runs.record(folder).get("table") or {}
    gains = {name: value(runs, folder, ("table", name, "gain"), column) for name in table}
    for name, gain in gains.items():
        result = verdict(gain, Value(0.0, 0.0, 1), lower=False)
        if result in groups:
            groups[result].append(f"{tx.literal(name)} ({number('{:+.1f}', gain.mean)} dB)")
    rule = "beyond twice the standard error over test images"
    if groups["first"]:
        yield f"By PSNR the net is ahead of the best median filter (or of none), {rule}, for {listed(groups['first'])}."
    if groups["second"]:
        yield f"By PSNR the filter (or none) is ahead of the net, {rule}, for {listed(groups['second'])}."
    if groups["tie"]:
        yield f"Within twice the standard error the two tie for {listed(groups['tie'])}."
    ssim = {name: (dig(table, name, "restored_ssim"), dig(table, name, "median_ssim")) for name, gain in gains.items() if gain.known}
    for ahead, net in (("the net", True), ("the filter (or none)", False)):
        other = [tx.literal(name) for name, pair in ssim.items()
                 if None not in pair and (pair[0] > pair[1]) == net and (gains[name].mean > 0) != net]
        if other:
            yield f"By SSIM, of which no spread is known, {ahead} is ahead for {listed(other)}."
    for flip, words in (("vertical flip", "upside down"), ("horizontal flip", "facing the other way")):
        right = [dig(row, "right") for row in (find(runs.record(folder), "flips", flip) or {}).values()]
        right = [share for share in right if share is not None and math.isfinite(share)]
        if right:
            yield (f"Of drawings that are {words} the answer is nearer to the right drawing than to the flipped one in "
                   f"{min(right):.0%} to {max(right):.0%}, by category.")


# ---- Classifiers ------------------------------------------------------------------------------------------------

def mlp_numpy(runs, folder):
    tests = int(dig(runs.record(folder), "data", "drawings", "test") or 0)
    yield compare("test accuracy", "the net trained on moved and mirrored drawings",
                  runs.value(folder, "augmented", "test_accuracy", share_of=tests), "the plain one",
                  runs.value(folder, "plain", "test_accuracy", share_of=tests), "{:.3f}", lower=False)


def gradients(runs, folder):
    """The largest difference of a first gradient from the twin's, in each precision."""
    for name, layers in (runs.record(folder).get("gradients") or {}).items():
        found = [dig(layer, "relative") for layer in layers.values()] if isinstance(layers, dict) else []
        found = [x for x in found if x is not None and math.isfinite(x)]
        if found:
            yield f"First gradients, {tx.literal(name)}: the largest difference from numpy's is {max(found):.2g} of the largest gradient."


def mlp_torch(runs, folder):
    yield from gradients(runs, folder)
    yield from mlp_numpy(runs, folder)


def embed_torch(runs, folder):
    yield from gradients(runs, folder)


def embed_numpy(runs, folder):
    record = runs.record(folder)
    tests = int(dig(record, "data", "drawings", "test") or 0)
    glove, spelling = (runs.value(folder, "runs", kind, "test_accuracy", share_of=tests) for kind in ("glove", "spelling"))
    yield compare("test accuracy", "the net with GloVe's vectors", glove, "the net with vectors of the spelling", spelling, "{:.3f}",
                  lower=False)
    for kind, row in (record.get("zero_shot") or {}).items():
        found = [dig(row, name) for name in row] if isinstance(row, dict) else []
        if found and all(p is not None and math.isfinite(p) for p in found):
            yield compare(f"share right of categories that training left out ({tx.literal(kind)} vectors)", "the net",
                          share(sum(found) / len(found), tests), "guessing", Value(1 / len(found), 0.0, 1), "{:.3f}", lower=False)


def used_variant(runs, folder, name):
    """The row of the table of variants that has the run's own settings, or "" """
    config = runs.record(folder)["config"]
    variants = getattr(importlib.import_module(f"more.{name}"), "VARIANTS", {})
    return next((row for row, changes in variants.items() if all(config.get(key) == v for key, v in changes.items())
                 and row in (runs.record(folder).get("variants") or {})), "")


def text(runs, folder, name, pairs):
    """The net beside the other methods, and variants beside each other."""
    record, own = runs.record(folder), used_variant(runs, folder, name)
    tests = int(dig(record, "data", "drawings", "test") or 0)
    mine = runs.value(folder, "test_accuracy", share_of=tests)
    mine = variant(runs, folder, own) if own and mine.of != "seeds" else mine
    label = f"`{folder}`" + f" (*{own}*)" * bool(own)
    for other in record.get("baselines") or {}:
        theirs = runs.value(folder, "baselines", other, share_of=tests)
        # it has no seed, but is a share of the same few sentences
        yield compare("test accuracy", label, mine, f"*{tx.literal(other)}*", theirs, "{:.3f}", lower=False)
    for a, b in pairs:
        yield compare("test accuracy", f"*{a}*", variant(runs, folder, a), f"*{b}*", variant(runs, folder, b), "{:.3f}", lower=False)


def text_rnn(runs, folder):
    yield from text(runs, folder, "text_rnn", [
        ("LSTM, two directions, max", "plain, two directions, max"), ("GRU, two directions, max", "LSTM, two directions, max"),
        ("LSTM, one direction, last", "plain, one direction, last"), ("GRU, one direction, last", "LSTM, one direction, last")])


def text_cnn(runs, folder):
    yield from text(runs, folder, "text_cnn", [("widths 3, 4, 5", "width 1, a bag of words"), ("widths 3, 4, 5", "nothing dropped")])


BY_FILE = {function.__name__: function for function in (
    mlp_numpy, mlp_torch, embed_numpy, embed_torch, dense_ae, selu_conv_ae, restore_ae, beta_vae, cvae_color, gan, cgan, ddpm, cddpm,
    inpaint, text_rnn, text_cnn)}


def comments(runs, name, folder):
    """All sentences on one run; None where there is nothing to compare."""
    if ("fid",) in SPECS[name].figures:
        yield from against_conv_vae(runs, folder)
    yield from BY_FILE[name](runs, folder)
