"""Inpainting: half of a drawing is given, the diffusion model of ddpm.py draws the rest. Nothing is trained here.

The model knows p(x); wanted is p(x | known pixels). m is 1 where a pixel is known, and y is the known drawing. Three ways to
make the reverse chain respect it, all in `steps` steps t -> s of ddpm.py's equation (7) with eta = 1 and nothing else: the chain that
the papers of (2) and (3) have. ddpm.py's own settings draw better; with them (1) to (3) are not tried here.

    (1)  replacement: after every step  x_s <- m * [sqrt(a_s) y + sqrt(1 - a_s) eps] + (1 - m) * x_s
    (2)  resampling (RePaint): after (1) back to t,  x_t = sqrt(a_t / a_s) x_s + sqrt(1 - a_t / a_s) eps,  then the step and (1)
         again: r passes in all at each t, one at the last
    (3)  guidance: x_s <- x_s - z grad_{x_t} |m * (y - x0_hat(x_t))|,  the gradient through the network (of a clamped x0_hat: 0)
    (4)  at the end, whatever the way: x <- m * y + (1 - m) * x: known pixels are kept exactly

(1) shows the net, at every step, known pixels with the right noise. But the unknown part of x_s was made before this
noise was drawn, from x_t: the two halves need not agree, and the seam may show it. (2) lets them agree: noise is added to
both together, and the next step sees the known half while it makes the other one. It costs about r times as much. (3)
leaves x_s whole and asks how to change x_t so that the drawing that the net sees in it has the known pixels: p(y | x_t)
is taken to be a Gaussian around x0_hat. By Bayes grad ln p(y | x_t) is added to the score; a factor of t and s would stand before
it. Chung et al. put one number in its place, z divided by the norm: the squared norm's gradient becomes twice the norm's, z takes the 2.

A completion is one of many: several are drawn for each input, and their variety is a result, not a fault. Measured, for each
way: error at the seam (mean difference of neighbouring pixels across it, over that of the real drawings: 1 is best);
diversity (mean squared distance of two completions of one input in the unknown part, over that of two real drawings: less
than 1 is right, how much less is unknown, for the given half tells of the rest);
how often the judge still says the input's category; FID, where half of each picture is real, and of the reference: not to be compared
with ddpm.py's, but with that of the real drawings, as often repeated;
and the mean squared error to what was really there, which is not to be small: the best guess for it is a blur.

Papers: Song et al., Score-based generative modeling through SDEs, 2021, appendix I.2, for (1); Lugmayr et al., RePaint, 2022,
section 4.2, for (2); Chung et al., Diffusion posterior sampling, 2023, algorithm 1, for (3).

Run:    python -m more.inpaint --data DATA --out OUT [--grey] [--mask top]      (or: make inpaint; needs OUT/ddpm)
Writes: OUT/inpaint/ (inpaint_grey/) completions.npy (completions, inputs, H, W[, 3]), by resampling; metrics.json; pictures
        completions, ways; with --sweep sweep.json, sweep.md, sweep.png
Result: seed 0, painted, one thread, 5 minutes; 200 test drawings, their left half given, 4 completions each. Replacement, resampling,
        guidance: seam 1.54, 1.15, 0.86; diversity 0.67, 0.63, 0.58; recognised 74, 80, 83 %, +- 3 (real: 94.5); FID 15, 6.2, 4.9 (0.6);
        43, 212, 90 milliseconds a completion. Replacement leaves lines that stop at the seam; guidance does better than resampling in
        less than half the time, with a seam that is smoother than a real one, and the least variety. --sweep, 200 validation drawings:
        r = 1, 2, 5, 10: seam 1.53, 1.27, 1.12, 1.05, recognised 80, 84, 85, 85 %; 20 steps with r = 5 are as good as 50, in 0.4 of the
        time; z = 0.5, 2, 6: seam 1.38, 0.81, 0.83, recognised 83, 89, 88 %

This file imports ddpm.py, as no other model file imports one: it has no model of its own.
"""

import json
import math
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

import common
from metrics import diversity
from more import charts, color, ddpm
from more.score import Judge
from more.sweep import sweep

# Shapes: B drawings at a time, C channels of an image, H = W pixels, N drawings.


# ---- 1. Settings ------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Config(color.Settings):
    mask: str = "left"  # what is given: left, right, top, bottom, frame (all but the middle), or an .npy file (H, W), 1 where known
    inputs: int = 200  # test drawings (with --sweep validation drawings) that are completed
    completions: int = 4  # of each
    steps: int = 50  # of the reverse chain
    resample: int = 5  # r in (2); 1 is (1)
    strength: float = 2.0  # z in (3)
    sweep: bool = False  # compare numbers of steps, r and z instead of the three ways


SWEEP = {"replacement": {"resample": 1}, "r = 2": {"resample": 2}, "r = 5": {"resample": 5}, "r = 10": {"resample": 10},
         "r = 5, 20 steps": {"resample": 5, "steps": 20}, "z = 0.5": {"strength": 0.5, "resample": 0},
         "z = 2": {"strength": 2.0, "resample": 0}, "z = 6": {"strength": 6.0, "resample": 0}}  # resample 0: guidance (main)


# ---- 2. Model ---------------------------------------------------------------------------------------

def load_model(cfg, data, device):
    """(settings, net) of the finished OUT/ddpm. Raises common.InputError."""
    name = "ddpm" + "_grey" * cfg.grey
    folder = Path(cfg.out) / name
    try:
        record = json.loads((folder / "metrics.json").read_text())
        settings = ddpm.Config(**record["config"])
        net = ddpm.UNet(data.x_train.shape[1], settings.width, settings.dropout,
                        ddpm.Chain(settings.schedule, settings.noise_steps, data.x_train.shape[1]))
        net.load_state_dict(torch.load(folder / "weights.pt", weights_only=True))
    except Exception as error:  # a broken file may raise anything
        raise common.InputError(f"{folder}: found no finished run ({type(error).__name__}), expected a diffusion model; run 'make {name}', "
                                f"or python -m more.ddpm --data {cfg.data} --out {cfg.out}{' --grey' * cfg.grey}") from None
    mine, theirs = ({"size": c.size, "threshold": c.threshold, "quick": c.quick} for c in (cfg, settings))
    common.require(mine == theirs, folder, f"a model for {theirs}", str(mine), "give the same flags to both")  # weights fit any size
    return settings, net.to(device).eval().requires_grad_(False)


def make_mask(name, size):
    """(1, 1, H, W), 1 where a pixel is known. Raises common.InputError."""
    mask, half = torch.zeros(size, size), size // 2
    if name.endswith(".npy"):
        common.require(Path(name).exists(), name, "no such file", "a mask written by np.save", "name one that is there")
        found = common.load_npy(Path(name))
        fits = getattr(found, "shape", None) == (size, size) and found.dtype.kind in "bui" and set(np.unique(found)) == {0, 1}
        common.require(fits, name, f"{getattr(found, 'dtype', '')} {getattr(found, 'shape', 'an archive')}",
                       f"integers (or bools) ({size}, {size}), both 0 and 1", "1 is known, 0 is to be drawn")
        return torch.from_numpy(found.astype(np.float32))[None, None]
    places = {"left": np.s_[:, :half], "right": np.s_[:, half:], "top": np.s_[:half], "bottom": np.s_[half:]}
    common.require(name in (*places, "frame"), "--mask", repr(name), ", ".join(places) + ", frame or a file .npy", "name one of these")
    if name == "frame":
        mask += 1
        mask[size // 4:size - size // 4, size // 4:size - size // 4] = 0
    else:
        mask[places[name]] = 1
    return mask[None, None]


# ---- 5. Evaluation ----------------------------------------------------------------------------------

def complete(cfg, settings, net, known, mask, way, rng, device):
    """Drawings known (B, C, H, H) in [0, 1], of which mask (1, 1, H, H) tells what may be looked at -> completed, in [0, 1]."""
    chain = ddpm.Chain(settings.schedule, settings.noise_steps, known.shape[1])
    y, mask = (known * 2 - 1).to(device) * mask.to(device), mask.to(device)  # y is 0 where nothing is known

    def noise():
        return torch.randn(y.shape, generator=rng).to(device)  # (B, C, H, H)

    x, repeats = noise(), cfg.resample if way == "resampling" else 1
    for t, s in pairwise(torch.linspace(chain.steps, 0, min(cfg.steps, chain.steps) + 1).round().long().tolist()):
        a, after = chain.a[t].item(), chain.a[s].item()
        v = (1 - after) / (1 - a) * (1 - a / after)  # eta = 1
        for again in range(repeats if s > 0 else 1):
            if again:
                # (2), back from s to t: a_t / a_s is the product of the (1 - beta) between them
                x = math.sqrt(a / after) * x + math.sqrt(1 - a / after) * noise()
            with torch.set_grad_enabled(way == "guidance"):
                x = x.requires_grad_(way == "guidance")  # a leaf, to differentiate by; detached already, below
                e, x0 = ddpm.predict(cfg, net, chain, x, t, device)  # of cfg it reads the precision alone: this run's
                if way == "guidance":
                    # the norm of each drawing, not its square: the step then does not shrink as the fit gets better
                    gradient, = torch.autograd.grad((mask * (y - x0)).flatten(1).norm(dim=1).sum(), x)
            x = (math.sqrt(after) * x0 + math.sqrt(1 - after - v) * e).detach() + math.sqrt(v) * noise()
            if way == "guidance":
                x = x - cfg.strength * gradient  # (3); also at s = 0, after the last x0_hat: hence the clamp below
            else:
                x = mask * chain.noise(y, torch.full((len(y),), s), noise()) + (1 - mask) * x  # (1)
    return (mask * known.to(device) + (1 - mask) * ((x.clamp(-1, 1) + 1) / 2)).cpu()  # (4)


def across(images, mask):
    """Mean absolute difference of neighbouring pixels of which one is known and one is not; images (N, C, H, H)."""
    rows, columns = (mask[:, :, 1:] != mask[:, :, :-1]), (mask[..., 1:] != mask[..., :-1])  # where the seam runs
    vertical, horizontal = (images[:, :, 1:] - images[:, :, :-1]).abs() * rows, (images[..., 1:] - images[..., :-1]).abs() * columns
    return ((vertical.sum() + horizontal.sum()) / (images.shape[0] * images.shape[1] * (rows.sum() + columns.sum()))).item()


def score(cfg, settings, net, data, judge, mask, way, device):
    """(completions (completions, N, C, H, H), figures) of one way."""
    x, labels = torch.from_numpy(data.x_test), data.y_test
    begin, rng = time.time(), torch.Generator().manual_seed(cfg.seed)
    drawn = torch.stack([torch.cat([complete(cfg, settings, net, part, mask, way, rng, device) for part in x.split(100)])
                         for _ in range(cfg.completions)])  # (completions, N, C, H, H)
    seconds, hidden = time.time() - begin, (1 - mask)
    assert torch.equal(drawn * mask, (x * mask).expand_as(drawn)), "known pixels were changed"
    # Mean squared distance of two completions of one input, as in metrics.py, (7), averaged over inputs.
    within = np.mean([diversity((drawn[:, i] * hidden).numpy()) for i in range(len(x))]) if cfg.completions > 1 else 0.0
    flat = drawn.flatten(0, 1)
    right = float((judge.look(color.to_uint8(flat))[0].argmax(axis=1) == np.tile(labels, cfg.completions)).mean())
    missing = (((drawn - x) * hidden) ** 2).mean() / hidden.mean()
    return drawn, {"seam": across(flat, mask) / across(x, mask), "diversity": float(within / diversity((x * hidden).numpy())),
                   "recognised": right, "fid": judge.fid(color.to_uint8(flat)), "squared_error": missing.item(),
                   "milliseconds": 1000 * seconds / len(flat)}


# ---- 6. Pictures ------------------------------------------------------------------------------------

def plot_completions(cfg, path, data, drawn, mask, source):
    """What is given, what was there, and all completions, of two drawings of each of five categories; one panel a way."""
    pick = np.concatenate([np.flatnonzero(data.y_test == k)[:2] for k in range(min(5, len(data.classes)))])
    if not len(pick):
        return
    x = torch.from_numpy(data.x_test[pick])
    fig, axes = common.figure(1, len(drawn), width=4.2 * len(drawn), height=0.5 + 0.4 * (2 + cfg.completions))
    names = ["given", "was there", *[f"completion {i}" for i in range(1, cfg.completions + 1)]]
    for i, (ax, (way, images)) in enumerate(zip(axes[0], drawn.items())):
        shown = torch.cat([x * mask + 0.5 * (1 - mask), x, *images[:, pick]])  # the unknown part in grey
        common.show_grid(ax, color.to_uint8(shown) / 255, len(pick), way, names if i == 0 else ())
    common.save_figure(cfg, path, fig, source)


# ---- 7. Main ----------------------------------------------------------------------------------------

def main(cfg):
    data, device = color.load(cfg), common.setup(cfg)
    common.require(cfg.completions > 1, "--completions", cfg.completions, "two or more", "variety is the distance between them")
    mask, judge = make_mask(cfg.mask, cfg.size), Judge(cfg, data, device)  # FID is to all test drawings: before x_test is cut
    settings, net = load_model(cfg, data, device)
    images, labels = (data.x_val, data.y_val) if cfg.sweep else (data.x_test, data.y_test)  # no setting is chosen by test drawings
    some = np.random.default_rng(0).permutation(len(images))[:cfg.inputs]  # sets may come sorted by category
    data = data._replace(x_test=images[some], y_test=labels[some])
    folder = common.start(cfg, "inpaint" + "_grey" * cfg.grey, "sweep" if cfg.sweep else "metrics")
    if cfg.sweep:
        def run(c, name):
            way = "guidance" if c.resample == 0 else "replacement" if c.resample == 1 else "resampling"
            return score(c, settings, net, data, judge, mask, way, device)[1]

        return sweep(cfg, folder, data.source, {name: {"steps": cfg.steps} | changes for name, changes in SWEEP.items()}, run, device)

    begin, drawn, figures = time.time(), {}, {}
    for way in ("replacement", "resampling", "guidance"):
        drawn[way], figures[way] = score(cfg, settings, net, data, judge, mask, way, device)
        print(f"{way}: " + "  ".join(f"{key} {value:.3f}" for key, value in figures[way].items()), flush=True)
    real = color.to_uint8(data.x_test)
    figures["real drawings"] = {"recognised": float((judge.look(real)[0].argmax(axis=1) == data.y_test).mean()),
                                "fid": judge.fid(np.concatenate([real] * cfg.completions))}
    common.save(folder / "completions.npy", np.stack([color.to_uint8(images) for images in drawn["resampling"]]))
    plot_completions(cfg, folder / "completions.png", data, drawn, mask, data.source)
    rows = [{"way": way} | figures[way] for way in drawn]
    charts.plot_lines(cfg, folder / "ways.png", {"Seam": ("difference across it, real = 1", {"seam": "seam"}), "Variety": (
        "ratio to real drawings", {"diversity": "diversity"}), "Recognised": ("share", {"recognised": "recognised"}), "FID": (
            "FID", {"fid": "fid"}), "Cost": ("milliseconds a completion", {"milliseconds": "milliseconds"})}, rows, "way", data.source)
    common.finish(cfg, folder, data.source, device, net, time.time() - begin, ways=figures)


if __name__ == "__main__":
    common.run(main, Config)
