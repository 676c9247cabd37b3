"""Chapter II: the two VAEs; conditional.py has its last point. Each function adds one point of the assignment to the document."""

import math

import numpy as np

import classifier
import common
from report import choices, conditional, plots
from report import text as tx
from report.autoencoders import architecture, present
from report.front import missing, said
from report.records import Value, compare, dig, of_others, row_value, verdict
from report.settings import settings

NAMES = {"rnn_vae": "the recurrent VAE", "conv_vae": "the convolutional VAE"}
COLUMNS = (("fid", "FID", "{:.1f}"), ("fid_infinity", "FID, $N \\to \\infty$", "{:.1f}"),
           ("kid", "KID", "{:.2f}"), ("inception_score", "IS", "{:.2f}"),
           ("precision", "precision", "{:.2f}"), ("recall", "recall", "{:.2f}"), ("diversity", "diversity", "{:.2f}"),
           ("novelty", "novelty", "{:.2f}"))
WAYS = {"samples": "prior", "samples_mixture": "mixture", "reconstructions": "reconstructions"}


# ---- II.1, II.2 -------------------------------------------------------------------------------------------------

def elbo_comments(runs):
    yield compare("test ELBO in nats", NAMES["rnn_vae"], runs.value("rnn_vae", "test_elbo"), NAMES["conv_vae"],
                  runs.value("conv_vae", "test_elbo"), "{:.1f}", lower=False)


def active_comments(runs):
    """Has a part of the code collapsed to the prior?"""
    for name, label in NAMES.items():
        active, size = runs.value(name, "active_latents"), dig(runs.record(name) or {}, "config", "latent_dim")
        if active.known and size:
            where = " on average over seeds" if active.of else ""
            yield (f"Of {label}'s {size:.0f} latents {active.mean:.3g} carry more than 0.01 nats{where}: the others have "
                   "collapsed to the prior."
                   if active.mean < size else f"All {size:.0f} latents of {label} carry more than 0.01 nats: none has collapsed to the "
                                              "prior.")


def convergence_values(runs, unit):
    """{name: Value} of when each net reached the level, in epochs or seconds; times count only from runs with as many threads."""
    matching = ("threads", "bfloat16", "device") if unit == "seconds" else ()
    if not all(map(runs.has, NAMES)):
        return {name: Value() for name in NAMES}
    return {name: runs.value("conv_vae", "convergence", name, unit, matching=matching) for name in NAMES}


def convergence_comments(runs):
    for unit in ("epochs", "seconds"):
        a, b = convergence_values(runs, unit).values()
        what = f"number of {unit} until the common level of the validation objective"
        yield compare(what, NAMES["rnn_vae"], a, NAMES["conv_vae"], b, "{:.0f}")


def objective(doc, runs, here):
    doc.heading("II.1", "The objective and its two terms")
    doc.text("The encoder gives each drawing a Gaussian cloud in place of a point, and a second term pulls all clouds towards one "
             "standard normal: from there new drawings are sampled [@kingma2014, @rezende2014].")
    doc.equation("q", r"q(z|x) = \mathcal{N}(\mu, \mathrm{diag}(\sigma^{2})), \quad (\mu, \ln\sigma^{2}) = f(x), \qquad "
                 r"z = \mu + \sigma\odot\epsilon, \quad \epsilon\sim\mathcal{N}(0, I)")
    doc.equation("elbo", r"-\mathrm{ELBO}(x) = R + \mathrm{KL}, \qquad R = \mathbb{E}_{q(z|x)}\left[-\ln p(x|z)\right]")
    doc.equation("bce", r"-\ln p(x|z) = \sum_{d=1}^{D}\left[-x_{d}\ln\hat{x}_{d}-(1-x_{d})\ln(1-\hat{x}_{d})\right], \qquad "
                 r"\hat{x} = \mathrm{sigmoid}(g(z))")
    doc.equation("kl", r"\mathrm{KL}(q(z|x)\,\|\,p(z)) = "
                       r"\frac{1}{2}\sum_{l=1}^{L}\left(\mu_{l}^{2}+\sigma_{l}^{2}-1-\ln\sigma_{l}^{2}\right), "
                 r"\qquad p(z)=\mathcal{N}(0, I)")
    doc.text("$R$ is estimated with one $z$ for each drawing. Both terms are sums, over pixels and over latents, and are averaged over "
             "drawings only: a mean over pixels would weigh the KL 784 times. The encoder gives the log-variance because any real number "
             "is one.")
    for name in here:
        config = runs.record(name)["config"]
        if config.get("likelihood", "bernoulli") != "bernoulli" or config.get("beta", 1.0) != 1.0:
            doc.text(f"In this run `{name}.py` had other settings: likelihood `{config.get('likelihood')}` (in place of {{equation:bce}}; "
                     f"Rybkin et al. [@rybkin2021]), weight of the KL $\\beta = {config.get('beta', 1.0):g}$.")
    if {*here} == {*NAMES}:
        tables = {kind: " and ".join(f"{{table:{kind}_{n}}}" for n in here) for kind in ("layers", "settings")}
        doc.text("The two VAEs have the same decoder with the same first weights, and the same objective, optimiser (Adam [@kingma2015]) "
                 f"and schedule [@smith2019]; only the encoder differs. {tables['layers']} have the layers, {tables['settings']} the "
                 "settings. " + choices.pointer(runs))
    for name in here:
        architecture(doc, runs, name, tx.literal(NAMES[name].removeprefix("the ").capitalize().replace("vae", "VAE")))
        settings(doc, runs, name)
    if here:
        doc.text("{table:elbo} has both terms on test drawings.")
        forms = {"test_reconstruction": "{:.1f}", "test_kl": "{:.1f}", "test_elbo": "{:.1f}", "test_mse": "{:.4f}",
                 "active_latents": "{:.3g}"}
        rows = [[NAMES[n].removeprefix("the "), *(runs.value(n, key).show(form) for key, form in forms.items()),
                 runs.value(n, "parameters").show("{:,.0f}", spread=False)] for n in here]
        doc.table("elbo", "The terms of {equation:elbo} on test drawings, in nats a drawing. The MSE is that of $\\hat{x}$ at $z = \\mu$."
                  + said(*map(runs.record, here)), ["", "$R$", "KL", "ELBO", "test MSE", "active latents", "weights"], rows, "lrrrrrr")
    doc.points([*elbo_comments(runs), *active_comments(runs)])
    for name in here:
        if isinstance(runs.history(name), list):
            caption = f"The two terms of {{equation:elbo}} during the training of {NAMES[name]}. The first epochs may lie above the frame."
            doc.figure(f"terms_{name}", caption + said(runs.record(name)), *plots.terms(runs.history(name)),
                       shrink=lambda s, name=name: plots.terms(runs.history(name), height=130 * s))
    missing(doc, *[n for n in NAMES if n not in here])


def first_seeds(runs):
    """Seconds of another number of threads are not averaged: so much for the caption."""
    times = convergence_values(runs, "seconds")
    return " Seconds are the first seed's: others ran on another number of threads." * (
        len(runs.folders) > 1 and any(value.n == 1 for value in times.values()))


def convergence(doc, runs, here):
    doc.heading("II.2", "How fast the two encoders converge")
    histories = {n: runs.history(n) for n in here if isinstance(runs.history(n), list)}
    level = dig(runs.record("conv_vae") or {}, "convergence", "level") if {*here} == {*NAMES} else None
    if level is not None:
        doc.text(f"The level to reach is the final validation objective of the worse of the two, {level:.1f} nats "
                 + ("for the first seed, and for each seed its own: both get there" if len(runs.folders) > 1 else "here: both get there")
                 + ", the worse one near its end by construction, so that the epochs say how early the other passes it. "
                 "{figure:convergence} has the curves, {table:convergence} the epoch and the second at which each first was at or below "
                 "it.")
        rows = [[NAMES[n].removeprefix("the "), convergence_values(runs, "epochs")[n].show("{:.0f}"),
                 convergence_values(runs, "seconds")[n].show("{:.0f}"),
                 runs.value("conv_vae", "convergence", n, "final").show("{:.1f}")] for n in NAMES]
        doc.table("convergence", "When each VAE first reaches the level, and its final validation objective in nats." + first_seeds(runs)
                  + said(*map(runs.record, here)), ["", "epochs", "seconds", "final objective"], rows, "lrrr")
    elif len(here) < 2:
        doc.text("With one of the two there is nothing to compare." + " {figure:convergence} shows its curve." * bool(histories))
    elif histories:
        doc.text("No comparison was made: `conv_vae.py` found no finished `rnn_vae.py` with the same settings. `make rnn_vae` and then "
                 "`make conv_vae` make one. {figure:convergence} shows what there is.")
    if histories:
        curves = {f"{n}.py": history for n, history in histories.items()}
        level = math.nan if level is None else level
        doc.figure("convergence", "Validation objective (negative ELBO) of the VAEs, by epoch and by second of training; a dot where a "
                   "curve first reaches the dotted level. The first epochs may lie above the frame." + said(*map(runs.record, histories)),
                   *plots.convergence(curves, level), shrink=lambda s: plots.convergence(curves, level, height=170 * s))
    doc.points(convergence_comments(runs))
    missing(doc, *[n for n in NAMES if n not in here])


# ---- II.3 ------------------------------------------------------------------------------------------------------

def quality_comments(runs):
    """FID, KID, IS, precision, recall of the two VAEs; prior against mixture; how far from the floor."""
    for key, label, lower in (("fid", "FID of prior samples", True), ("kid", "KID of prior samples", True),
                              ("inception_score", "inception score of prior samples", False)):
        yield compare(label, NAMES["rnn_vae"], row_value(runs, "rnn_vae", "samples", key), NAMES["conv_vae"],
                      row_value(runs, "conv_vae", "samples", key), "{:.2f}", lower)
    for key in ("precision", "recall"):
        yield compare(f"{key} of prior samples", NAMES["rnn_vae"], row_value(runs, "rnn_vae", "samples", key), NAMES["conv_vae"],
                      row_value(runs, "conv_vae", "samples", key), "{:.2f}", lower=False)
    for name, label in NAMES.items():
        yield compare("FID", f"mixture samples of {label}", row_value(runs, name, "samples_mixture", "fid"), f"prior samples of {label}",
                      row_value(runs, name, "samples", "fid"), "{:.1f}")


def floor_comments(runs):
    floor = runs.value("metrics", "rows", "real training drawings", "fid")
    for name, label in {**NAMES, "cvae": "the conditional VAE"}.items():
        for way in ("samples", "samples_mixture"):
            value = row_value(runs, name, way, "fid")
            if floor.known and value.known and verdict(floor, value) in ("tie", "second"):
                yield (f"By FID the {WAYS[way]} samples of {label} are not to be told from other real drawings (floor "
                       f"{floor.show('{:.2f}')}).")


def blind_comments(runs):
    """Where a figure calls noise as good as samples, say that it is blind."""
    noise = runs.value("metrics", "rows", "noise", "precision")
    real = runs.value("metrics", "rows", "real training drawings", "precision")
    if noise.known and real.known and verdict(noise, real, lower=False) in ("first", "tie"):
        yield (f"Noise has a precision of {noise.show('{:.2f}')}, no lower than real drawings ({real.show('{:.2f}')}): with this judge "
               "precision does not speak of quality.")
    for row, label in (("noise", "noise"), ("blurred test drawings", "blurred drawings")):
        fid, score = runs.value("metrics", "rows", row, "fid"), runs.value("metrics", "rows", row, "inception_score")
        if fid.known and score.known:
            yield f"For orientation, {label}: FID {fid.show('{:.1f}')}, inception score {score.show('{:.2f}')}."


def copies_comments(runs):
    for name, label in {**NAMES, "cvae": "the conditional VAE"}.items():
        value = row_value(runs, name, "samples", "novelty")
        if value.known:
            said = ("half of them, or more, are close to copies" if value.mean < 0.5 else
                    "so the median sample is no copy, which says nothing of single ones" if value.mean > 0.8 else "")
            yield (f"At the median, prior samples of {label} are {value.show('{:.2f}')} times as far from the nearest training drawing as "
                   f"test drawings are: {said}.") if said else None


def row_name(row, others=()):
    """Markup; others: names of rows that are files of others, which may be named like our own models."""
    name, _, way = row.partition(" ")
    return f"others: {tx.literal(row)}" if row in others else f"`{name}`, {WAYS[way]}" if way in WAYS else tx.literal(row)


def ordered_rows(runs, record):
    """Reconstructions, then files of others, last; without rows of models whose own run is not there."""
    others = of_others(record)
    rows = [name for name, row in (record.get("rows") or {}).items() if isinstance(row, dict)
            and (name in others or name.partition(" ")[2] not in WAYS or runs.has(name.partition(" ")[0]))]
    return sorted(rows, key=lambda name: 2 * (name in others) or name.partition(" ")[2] == "reconstructions")


def quality(doc, runs, here):
    doc.heading("II.3", "Samples, their quality and their diversity")
    doc.text("Samples are drawn in two ways: $z$ from the prior $\\mathcal{N}(0, I)$, and $z$ from a Gaussian mixture that is fitted to "
             "the codes of the training drawings [@ghosh2020]. The mean of all clouds $q(z)$ need not be the prior [@hoffman2016]; where "
             "they differ, prior samples fall where the decoder was not trained. Drawn is $\\mathrm{sigmoid}(g(z)/T)$, with the "
             "temperature $T$ of the tables of settings; below 1 it moves each pixel towards its likelier value.")
    sets, shown = {}, []
    for name in (*present(runs, *NAMES, "cvae"),):
        for way in ("samples", "samples_mixture"):
            path = runs.path(name, f"{way}.npy")
            if path:
                images = common.check_images(path, common.load_npy(path))[:, 0]
                sets[f"`{name}`, {WAYS[way]}"] = (images[picked(len(images))] * 255).round().astype(np.uint8)
                shown.append(runs.record(name))
    if sets:
        doc.text("{figure:samples} shows them side by side.")
        doc.figure("samples", "Samples side by side, not picked by hand; of the conditional VAE, a row a category." + said(*shown),
                   *plots.sheets(sets))
    record = runs.record("metrics")
    if not record:
        missing(doc, "metrics")
        return missing(doc, *[n for n in NAMES if n not in here])
    judge = str(record.get("judge", "cnn")).upper()
    doc.text("A set of samples is compared with the test drawings as a cloud of points: the features $\\phi(x) \\in "
             f"\\mathbb{{R}}^{{{classifier.FEATURES}}}$ of the {judge} classifier before its last layer. It judges "
             f"{runs.value('metrics', 'judge_test_accuracy').show('{:.1%}')} of the test drawings right. With mean $\\mu$ and covariance "
             "$S$ of the real ($r$) and the sampled ($s$) cloud, the Fréchet distance [@heusel2017, @dowson1982] is")
    doc.equation("fid", r"\mathrm{FID} = |\mu_{r}-\mu_{s}|^{2} + \mathrm{tr}\,S_{r} + \mathrm{tr}\,S_{s} - "
                        r"2\,\mathrm{tr}(S_{r}S_{s})^{1/2}.")
    doc.text("It is too large by about $c/N$; a line fitted over $1/N$ and read at 0 takes the samples' part of that out [@chong2020]. The "
             "inception score [@salimans2016] and the kernel distance [@binkowski2018], with $k(a,b) = (a \\cdot b/64+1)^3$, are")
    doc.equation("is", r"\mathrm{IS} = \exp\,\mathbb{E}_{x}\,\mathrm{KL}(p(y|x)\,\|\,p(y)), \qquad "
                 r"\mathrm{KID} = \overline{k(r,r')}+\overline{k(s,s')}-2\,\overline{k(r,s)}.")
    doc.text("Precision is the share of samples that lie in some real point's ball, whose radius is the distance to its $k$-th nearest "
             f"neighbour, $k = {record['config'].get('k', 3)}$; recall is the share of real points in some sample's ball "
             "[@kynkaanniemi2019]. Diversity is the mean squared pixel distance of two samples, novelty the median distance to the "
             "nearest training drawing, both divided by what real drawings have: there 1 is what is real, not the best. FID and KID are "
             "best at 0, IS at 5. *Real training drawings* are the floor: what other real drawings score.")
    names, others = ordered_rows(runs, record), of_others(record)
    named = " *Others*: files that were named on the command line, of other people's models." if others & {*names} else ""
    for key, columns, caption in (("quality", COLUMNS[:4], "Distances and inception score"),
                                  ("diversity", COLUMNS[4:], "Precision, recall, diversity and novelty")):
        rows = [[row_name(name, others), *(runs.value("metrics", "rows", name, column).show(form) for column, _, form in columns)]
                for name in names]
        sample = runs.value("metrics", "rows", names[0], "fid") if names else Value()
        ns = sorted({row["n"] for row in record["rows"].values() if "n" in row})
        doc.table(key, f"{caption} of sample sets, {' or '.join(str(n) for n in ns)} drawings at a time; ± is the "
                  + {"seeds": "standard deviation over seeds, or, in rows that one seed alone has, over subsets.",
                     "subsets": "standard deviation over subsets, or of resamples where there is one subset.", "": ""}.get(sample.of, "")
                  + named + said(record), ["drawings", *(label for _, label, _ in columns)], rows, "l" + "r" * len(columns), 8.0)
    doc.text("{table:quality} and {table:diversity} have the figures, {figure:fid} the distances.")
    plotted = {row_name(n, others).replace("`", ""): runs.value("metrics", "rows", n, "fid") for n in names}
    plotted = {name: value for name, value in plotted.items() if value.known}
    scores = [runs.value("metrics", "rows", n, "inception_score") for n in names if runs.value("metrics", "rows", n, "fid").known]
    if plotted:
        grey = {name for name in plotted if "," not in name or "reconstructions" in name or name.startswith("others: ")}
        colors = {name: "0.6" if name in grey else common.COLORS[0] for name in plotted}
        doc.figure("fid", "FID on a logarithmic scale, 0 is best, and inception score, 5 is best, with spreads. Grey: rows for "
                   "orientation, reconstructions, files of others." + said(record), *plots.bars(
                       colors, [v.mean for v in plotted.values()], [np.nan_to_num(v.sd) for v in plotted.values()], "FID", log=True,
                       second=([v.mean for v in scores], [np.nan_to_num(v.sd) for v in scores], "inception score", False)))
    doc.points([*quality_comments(runs), *floor_comments(runs), *blind_comments(runs), *copies_comments(runs)])
    missing(doc, *[n for n in NAMES if n not in here])


def picked(n):
    """60 drawings: the first of each fifth of the file. A conditional model's file holds its five categories one after another."""
    return np.concatenate([np.arange(12) + k * (n // 5) for k in range(5)]) if n >= 60 else np.arange(n - n % 12)


def chapter(doc, runs):
    here = present(runs, *NAMES)
    doc.heading("II", "Variational autoencoders", 1)
    objective(doc, runs, here)
    convergence(doc, runs, here)
    quality(doc, runs, here)
    conditional.section(doc, runs)
