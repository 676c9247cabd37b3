"""How good are samples? Frechet distance, inception score, kernel distance, precision and recall, by hand.

A set of samples is compared with the real test drawings, not drawing by drawing but as a cloud of
points: phi(x) in R^64, the features of classifier.py's CNN before its last layer. mu and S are mean
and covariance of a cloud's points, r marks the real cloud, s the samples'. No more than these enters
FID: the features, after a ReLU, are not Gaussian, so that FID 0 does not mean equal distributions.

    (1)  FID   = |mu_r - mu_s|^2 + tr S_r + tr S_s - 2 tr (S_r S_s)^(1/2)
               the squared Wasserstein-2 distance of two Gaussians: squared feature units, 0 is best
    (2)  tr (S_r S_s)^(1/2) = sum_i sqrt(eigenvalue_i(R S_s R)),   R = S_r^(1/2)
    (3)  FID_inf: FID is too large by about c/N, and c differs from model to model, so that equal N is not
               quite fair; a line fitted over 1/N, read at 0. May fall below 0; real N stays finite
    (4)  IS    = exp mean_x KL(p(y|x) || p(y)),   p(y) = mean_x p(y|x);   1 to K = 5, 5 is best
    (5)  KID   = mean k(r, r') + mean k(s, s') - 2 mean k(r, s),  k(a, b) = (a.b / 64 + 1)^3
               without a point's k with itself: unbiased, may be below 0; 0 is best
    (6)  precision = share of samples that lie in some real point's ball, whose radius is the distance
               to its 3rd nearest real point; recall = share of real points in some sample's ball
    (7)  diversity = mean squared pixel distance of two samples, divided by that of two real drawings
    (8)  novelty = median pixel distance of a sample to the nearest training drawing, divided by that
               of a real test drawing: 0 is a copy. (7), (8): 1 is what real drawings have, not the best

FID sees quality and diversity at once and cannot say which is missing; precision is to speak of
quality and recall of diversity. The inception score looks at samples only: one perfect drawing of
each category, repeated, scores 5. Copies of training drawings get from (1) to (7) what real drawings
get; only novelty sees them. That is why no figure stands alone here.

"FID" is the name for Inception features of photographs. Ours are a small judge's of 28x28 drawings:
the numbers compare within one table of ours, never with a paper's, nor across two trainings of the judge (over
seeds the spread holds the judge's, too). Every row uses the same number N of drawings (a file with fewer uses all);
every figure is the mean over five subsets of N samples and carries their spread (standard deviation); the error
that comes from the one set of test drawings and the one judge is not in it. A set of no more than N drawings has
one subset: its spread is that of five resamples with replacement.
Rows for orientation: real training drawings (the floor: what other real drawings score), blurred real drawings,
noise, and reconstructions. Blurred and reconstructed are the very test drawings of the comparison: the floor does not bound them.

Papers: FID: Heusel et al. 2017, equation 6; distance of Gaussians: Dowson and Landau 1982; FID_inf:
Chong and Forsyth 2020; IS: Salimans et al. 2016, section 4; KID: Binkowski et al. 2018, section 4;
precision and recall: Kynkaanniemi et al. 2019, section 2.

Run:    python metrics.py --out OUT [FILE.npy ...]      (or: make metrics)
        scores every OUT/*/samples*.npy, and any FILE (N, 28, 28) you name; FILE_labels.npy beside a
        file holds the categories that were asked for
Writes: OUT/metrics/ metrics.json, table.md, table.png
Result: 28 s on 2 cores for 17 rows; README.md has the table. What it taught: with our judge precision is
        blind (noise has 0.98: all of it has nearly the same features, and they lie in a few real drawings'
        balls), while the inception score (1.15) sees noise at once. FID is far from the floor (0.37) for
        noise (122), but as far for blurred drawings (121), which one still recognises. Novelty is 0.95 to 1.05
        for all our samples: they are as far from the training drawings as test drawings are
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import cdist
from sklearn.metrics import pairwise_distances_argmin_min

import common
from classifier import load_judges, predict, softmax

# Shapes: N drawings or samples, F = 64 features, K = 5 classes.


# ---- 1. Settings ------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Config(common.Settings):
    files: tuple = ()  # further .npy files to score, uint8 or float 0..1, (N, 28, 28)
    only: str = ""  # score these scripts' samples alone, comma between: rnn_vae,conv_vae
    table: str = "metrics"  # names the files in OUT/metrics/: NAME.json, .md and .png, but table.md and table.png for metrics
    judges: str = ""  # folder with classifier/weights.pt; empty: OUT
    judge: Literal["cnn", "mlp"] = "cnn"  # whose features and opinions are used; classifier.py says why the CNN's
    subsets: int = 5  # subsets over which a figure's spread is taken
    n: int = 1000  # drawings in a subset; fewer where there are fewer test drawings
    k: int = 3  # neighbours in precision and recall, as in the paper


# ---- 2. Frechet distance ----------------------------------------------------------------------------

def mean_and_covariance(features):
    """(mu (F,), S (F, F)) of features (N, F), in float64.

    The mean is subtracted before squaring: E[x^2] - E[x]^2 loses all digits where the mean is large.
    """
    features = np.asarray(features, np.float64)
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(f"found features {features.shape}, expected (N, F) with N > 1")
    mu = features.mean(axis=0)
    centred = features - mu
    return mu, centred.T @ centred / (len(features) - 1)


def frechet_distance(mu1, cov1, mu2, cov2):
    """Squared Frechet (Wasserstein-2) distance of N(mu1, cov1) and N(mu2, cov2), equation (1).

    mu (F,), cov (F, F) symmetric; in the features' squared unit. Raises ValueError if the shapes
    differ, if a number is not finite, or if a covariance is not symmetric.
    Source: Heusel et al. 2017, equation 6; Dowson and Landau 1982.
    """
    mu1, cov1, mu2, cov2 = (np.asarray(a, np.float64) for a in (mu1, cov1, mu2, cov2))
    if not (mu1.ndim == 1 and mu1.shape == mu2.shape and cov1.shape == cov2.shape == mu1.shape * 2):
        raise ValueError(f"found {mu1.shape}, {cov1.shape}, {mu2.shape}, {cov2.shape}, expected (F,), (F, F), (F,), (F, F)")
    if not all(np.isfinite(a).all() for a in (mu1, cov1, mu2, cov2)):
        raise ValueError("found NaN or infinity, expected finite numbers")
    if not (np.allclose(cov1, cov1.T) and np.allclose(cov2, cov2.T)):
        raise ValueError("found an asymmetric covariance")
    # (2): S_r S_s is not symmetric; its eigenvalues are real, but a general square root of it, rounded,
    # gets imaginary parts. R S_s R has the same eigenvalues and is symmetric: eigh finds them real.
    # Where a covariance has not full rank, rounding makes eigenvalues a little negative: set to 0, here and below. Adding
    # a small multiple of the identity instead, as is often done, would change the distance.
    values, vectors = np.linalg.eigh(cov1)
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T  # R, (F, F)
    trace_of_root = np.sqrt(np.linalg.eigvalsh(root @ cov2 @ root).clip(min=0)).sum()  # (2)
    return float(((mu1 - mu2) ** 2).sum() + np.trace(cov1) + np.trace(cov2) - 2 * trace_of_root)  # (1)


def fid(real, fake):
    """Frechet distance of two clouds of features, (N, F) and (M, F)."""
    return frechet_distance(*mean_and_covariance(real), *mean_and_covariance(fake))


def fid_infinity(real, fake, rng, sizes=10):
    """FID with N extrapolated to infinity, equation (3); features (N, F), (M, F).

    Ten subset sizes, evenly spaced from a fifth of the M samples to all of them; the line's value at 1/N = 0.
    The real cloud stays as it is: the bias of its own size remains. Source: Chong and Forsyth 2020.
    """
    ns = np.linspace(len(fake) // 5, len(fake), sizes).astype(int)  # a fifth: below it terms in 1 / N^2 would bend the line
    if ns[0] < 2:
        return float("nan")
    distances = [fid(real, fake[rng.permutation(len(fake))[:n]]) for n in ns]
    return float(np.polyfit(1 / ns, distances, deg=1)[1])  # the line's value at 1/N = 0


# ---- 3. Inception score, kernel distance, precision and recall -----------------------------------------

def inception_score(probs):
    """exp of the mean KL divergence of p(y|x) from p(y), equation (4), between 1 and K.

    probs (N, K), rows that sum to 1. One split: sorted samples cut into ten would hold one category
    each and score 1. Raises ValueError unless the rows are distributions.
    Source: Salimans et al. 2016, section 4.
    """
    probs = np.asarray(probs, np.float64)
    if probs.ndim != 2 or len(probs) == 0 or (probs < 0).any() or not np.allclose(probs.sum(axis=1), 1, atol=1e-4):
        raise ValueError(f"found {probs.shape}, expected (N, K) with rows that are probabilities")
    marginal = probs.mean(axis=0)  # p(y), (K,)
    # 0 log 0 = 0: where p is 0, log 1 stands in for log 0, which is not finite
    kl = (probs * (np.log(np.where(probs > 0, probs, 1)) - np.log(np.where(marginal > 0, marginal, 1)))).sum(axis=1)  # (N,)
    return float(np.exp(kl.mean()))


def kernel_distance(real, fake):
    """Unbiased squared maximum mean discrepancy with a cubic kernel, equation (5); (N, F), (M, F).

    Raises ValueError with fewer than two points on a side. Source: Binkowski et al. 2018, section 4.
    """
    real, fake = np.asarray(real, np.float64), np.asarray(fake, np.float64)
    n, m = len(real), len(fake)
    if min(n, m) < 2:
        raise ValueError(f"found {n} and {m} points, expected two or more each")

    def kernel(a, b):
        return (a @ b.T / a.shape[1] + 1) ** 3  # (len(a), len(b))

    rr, ss = kernel(real, real), kernel(fake, fake)
    # without the diagonal: a point's kernel with itself is large and would bias the mean upwards
    return float((rr.sum() - np.trace(rr)) / (n * (n - 1)) + (ss.sum() - np.trace(ss)) / (m * (m - 1))
                 - 2 * kernel(real, fake).mean())


def precision_recall(real, fake, k=3):
    """(precision, recall), equation (6); features (N, F), (M, F).

    A cloud's region is the union of balls around its points; a ball's radius is the distance to the
    point's k-th nearest neighbour in the same cloud. Source: Kynkaanniemi et al. 2019, section 2.
    """
    def reach(points):  # column 0 of the sorted distances is the point itself
        return np.sort(cdist(points, points), axis=1)[:, min(k, len(points) - 1)]  # (N,)

    between = cdist(real, fake)  # (N, M)
    return float((between <= reach(real)[:, None]).any(axis=0).mean()), float((between <= reach(fake)[None, :]).any(axis=1).mean())


def diversity(images):
    """Mean squared pixel distance between two different drawings of (N, 28, 28), before equation (7)'s ratio.

    The mean of |a - b|^2 over all pairs is twice the sum of the pixels' variances, with ddof=1: no pair is visited.
    """
    return float(2 * images.reshape(len(images), -1).var(axis=0, ddof=1).sum(dtype=np.float64))


def distance_to_training(images, train):
    """Median pixel distance from a drawing of (N, 28, 28) to the nearest of train (M, 28, 28), before equation (8)'s ratio."""
    return float(np.median(pairwise_distances_argmin_min(images.reshape(len(images), -1), train.reshape(len(train), -1))[1]))


# ---- 4. Scoring a file ----------------------------------------------------------------------------------

def score(cfg, images, real, judges, device, labels=None, real_labels=None):
    """One row of the table: drawings (M, 1, 28, 28) against the real ones, mean and spread of each figure."""
    logits, features = predict(getattr(judges, cfg.judge), images, device)
    probs, n = softmax(logits), min(cfg.n, len(real["images"]), len(images))
    rng = np.random.default_rng(0)
    order = rng.permutation(len(images))  # a caller's may be sorted by category; those of files are shuffled already

    def figures(pick):
        """All columns for one subset of the samples."""
        reals = real["features"][rng.permutation(len(real["features"]))[:n]]  # n on both sides: balls shrink as points get denser
        row = {"fid": frechet_distance(*real["moments"], *mean_and_covariance(features[pick])),
               "fid_infinity": fid_infinity(real["features"], features[pick], rng), "inception_score": inception_score(probs[pick]),
               "kid": kernel_distance(reals, features[pick]),
               **dict(zip(("precision", "recall"), precision_recall(reals, features[pick], cfg.k))),
               "diversity": diversity(images[pick]) / diversity(real["images"]),
               "novelty": distance_to_training(images[pick], real["train"]) / real["distance_to_training"]}
        if labels is not None:  # asked for: is the category recognised, and do drawings within it vary?
            asked = labels[pick]
            row["accuracy"] = float((probs[pick].argmax(axis=1) == asked).mean())
            row["diversity_within"] = float(np.mean([
                diversity(images[pick][asked == k]) / diversity(real["images"][real_labels == k])
                for k in np.unique(real_labels) if min((asked == k).sum(), (real_labels == k).sum()) > 1]))
        return row

    if n == len(images):  # one subset; a bootstrap (Efron 1979): only the spread, for repeated drawings bias FID up, recall down
        value, spread = figures(order), [figures(rng.integers(n, size=n)) for _ in range(cfg.subsets)]
    else:  # disjoint subsets; where there are too few drawings for that, subsets share some, and the spread is too small
        disjoint = len(images) >= n * cfg.subsets
        spread = [figures(order[i * n:(i + 1) * n] if disjoint else rng.permutation(len(images))[:n]) for i in range(cfg.subsets)]
        value = {name: float(np.mean([row[name] for row in spread])) for name in spread[0]}
    deviation = {f"{name}_sd": float(np.std([row[name] for row in spread], ddof=min(1, cfg.subsets - 1))) for name in value}
    return {"n": n, "total": len(images)} | value | deviation


def read_samples(path, quick, shape=(1, 28, 28), classes=common.CLASSES):
    """(drawings float32 (N, *shape), labels or None) of a samples file; quick: 1,000 of them. Raises common.InputError."""
    images = common.check_images(path, common.load_npy(path), color=True)
    common.require(images.shape[1:] == shape, path, f"drawings {images.shape[1:]}", f"{shape} as in DATA", "name DATA of its kind")
    common.require(len(images) >= 10, path, f"{len(images)} samples", "10 or more", "draw some")
    beside = path.with_name(path.stem + "_labels.npy")
    labels = common.check_labels(beside, common.load_npy(beside), len(images), classes) if beside.exists() else None
    keep = np.random.default_rng(0).permutation(len(images))[:1000 if quick else None]
    return images[keep], None if labels is None else labels[keep]


def like(path, shape):
    """Does the samples file hold drawings (C, H, W) of this shape? Raises common.InputError."""
    return common.load_npy(path).shape[1:] == (shape[1:] if shape[0] == 1 else (*shape[1:], shape[0]))


# ---- 5. The table -----------------------------------------------------------------------------------

COLUMNS = {  # name: (heading, format)
    "fid": ("FID", "{:.2f}"), "fid_infinity": ("FID, N = inf", "{:.2f}"), "kid": ("KID", "{:.3f}"), "inception_score": ("IS", "{:.2f}"),
    "precision": ("precision", "{:.2f}"), "recall": ("recall", "{:.2f}"), "diversity": ("diversity", "{:.2f}"),
    "novelty": ("novelty", "{:.2f}"), "accuracy": ("as asked", "{:.1%}"), "diversity_within": ("diversity within", "{:.2f}")}


def markdown(rows):
    """The table as Markdown, columns aligned so that it reads in a terminal as well."""
    used = {key: column for key, column in COLUMNS.items() if any(key in row for row in rows.values())}
    cells = [["drawings", "N"] + [heading for heading, _ in used.values()]]
    for name, row in rows.items():
        cells.append([name, str(row["n"])] + [
            "" if key not in row else form.format(row[key]) + " ± " + form.format(row[key + "_sd"])
            for key, (_, form) in used.items()])
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    lines = ["| " + " | ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths))) + " |"
             for line in cells]
    return "\n".join([lines[0], "|" + "|".join("-" * (w + 1) + (":" if i else "-") for i, w in enumerate(widths)) + "|"] + lines[1:])


def plot_table(cfg, path, rows, source):
    names = list(rows)
    fig, axes = common.figure(1, 3, width=10, height=1.2 + 0.27 * len(names))
    at = np.arange(len(names))
    panels = (("fid", "FID (log scale): smaller is better"), ("inception_score", "inception score: 5 is best"))
    for ax, (key, title) in zip(axes[0], panels):
        ax.barh(at, [rows[n][key] for n in names], xerr=[rows[n][key + "_sd"] for n in names], height=0.65,
                color=["0.65" if n in ORIENTATION or n.endswith("reconstructions") else common.COLORS[0] for n in names])
        ax.set(title=title)
    axes[0, 0].set(xscale="log")
    for shift, key in ((-0.2, "precision"), (0.2, "recall")):
        axes[0, 2].barh(at + shift, [rows[n][key] for n in names], xerr=[rows[n][key + "_sd"] for n in names], height=0.36,
                        color=common.COLORS[1 if key == "precision" else 2], label=key)
    axes[0, 2].set(title="precision and recall: 1 is best", xlim=(0, 1.05))
    axes[0, 2].legend(ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.06))
    for i, ax in enumerate(axes[0]):
        ax.set(yticks=at, yticklabels=names if i == 0 else [], ylim=(len(names) - 0.4, -0.6))
        ax.grid(axis="y", visible=False)
    common.save_figure(cfg, path, fig, source)


ORIENTATION = ("real training drawings", "blurred test drawings", "noise")


def better_vae(out, rows):
    """Which of the two VAEs has the lower FID of prior samples, and which the higher ELBO; None without both."""
    try:
        fid_of = {name: rows[f"{name} samples"]["fid"] for name in ("rnn_vae", "conv_vae")}
        elbo_of = {name: json.loads((out / name / "metrics.json").read_text())["test_elbo"] for name in fid_of}
    except (OSError, ValueError, KeyError):
        return None
    # by the figures alone: a difference within the spread is a tie, whichever name stands here
    better = {"fid": min(fid_of, key=fid_of.get), "elbo": max(elbo_of, key=elbo_of.get)}
    print(f"better VAE by FID of prior samples: {better['fid']}, by test ELBO: {better['elbo']}")
    return better


# ---- 6. Main ----------------------------------------------------------------------------------------

def main(cfg):
    data, device = common.load_data(cfg, color=True), common.setup(cfg)
    judges, shape = load_judges(cfg.judges or cfg.out, device, data), data.x_test.shape[1:]
    # OUT may hold samples in grey and in colour, of several sizes: those that are like DATA's drawings are scored.
    files = {f"{path.parent.name} {path.stem}": path for kind in ("samples*", "reconstructions")
             for path in sorted(Path(cfg.out).glob(f"*/{kind}.npy")) if not path.stem.endswith("_labels") and like(path, shape)}
    if cfg.only:
        files = {name: path for name, path in files.items() if name.split()[0] in cfg.only.split(",")}
    files |= {Path(name).stem: Path(name) for name in cfg.files}
    # all are read, and refused, before any is scored
    sets = {name: read_samples(path, cfg.quick, shape, data.classes) for name, path in files.items()}
    folder = common.start(cfg, __file__, cfg.table)
    begin = time.time()

    logits, features = predict(getattr(judges, cfg.judge), data.x_test, device)
    real = {"images": data.x_test, "features": features, "moments": mean_and_covariance(features), "train": data.x_train,
            "distance_to_training": distance_to_training(data.x_test, data.x_train)}
    noise = np.random.default_rng(0).random((cfg.n if cfg.quick else 5 * cfg.n, *shape), np.float32)
    sets = dict(zip(ORIENTATION, ((data.x_train, None), (gaussian_filter(data.x_test, (0, 0, 1, 1)), None), (noise, None)))) | sets
    rows = {name: score(cfg, images, real, judges, device, labels, data.y_test) for name, (images, labels) in sets.items()}

    accuracy = float((logits.argmax(axis=1) == data.y_test).mean())
    title = (f"Against {len(data.x_test):,} test drawings; judge: the {cfg.judge.upper()}, {accuracy:.1%} of them right; mean ± standard "
             f"deviation over {cfg.subsets} subsets of N (with N drawings in all: resamples). {common.describe(data.source)}.")
    text = markdown(rows)
    print(title, text, sep="\n")
    with common.atomic(folder / f"{cfg.table}.md".replace("metrics.md", "table.md")) as file:
        file.write(f"{title}\n\n{text}\n".encode())
    plot_table(cfg, folder / f"{cfg.table}.png".replace("metrics.png", "table.png"), rows, data.source)
    better = better_vae(Path(cfg.out), rows)
    common.finish(cfg, folder, data.source, device, getattr(judges, cfg.judge), time.time() - begin, cfg.table, judge=cfg.judge,
                  judge_test_accuracy=accuracy, rows=rows, better=better)


if __name__ == "__main__":
    common.run(main, Config)
