"""Restoring autoencoder: sees a distorted image, is asked for the clean one. One net undoes six distortions, alone and mixed.
conv_ae.py copies its input; here input and target differ, so that a large code is no way out: a copy would be wrong.

    (1)  y = n(o(b(r(v(h(x))))))    each of the six on or off, s its strength; a share of the images gets one of them,
         or none, the others each with probability 1/2:  h, v  flips: left-right, upside down;  r  turned by +-s degrees, black comes
         in;  b  clip(x +- s, 0, 1);  o  a square of side s H, somewhere, is set to 1/2;  n  x + s eps,  eps ~ N(0, I)
    (2)  z = f(y) in R^(L x H/4 x H/4),  x_hat = sigmoid(g(z))      skip connections: g also gets the larger maps of f, past z
    (3)  a = softmax(q k^T / sqrt(d)) v                  attention: each place of a map takes from all of them what it asks for
    (4)  loss = E l(x, x_hat),  l = (x - x_hat)^2 (mse) or -x ln x_hat - (1 - x) ln(1 - x_hat) (bce), mean over pixels
    (5)  the best x_hat is E[x | y], for either l        the mean of all drawings that y may come from
    (6)  PSNR = -10 log10 mean (x - x_hat)^2             dB, for each image; white is 1
    (7)  SSIM = mean over windows of (2 m m' + C1)(2 c + C2) / ((m^2 + m'^2 + C1)(s^2 + s'^2 + C2)),  C1 = 0.01^2, C2 = 0.03^2
         m, m' the means, s^2, s'^2 the variances, c the covariance of x and x_hat under a Gaussian window of 11 x 11, sd 1.5
    (8)  E[x | y] = (y + F y) / 2,   |x - E[x | y]|^2 = |x - F x|^2 / 4

What cannot be undone. By (5) the net answers with a mean wherever y leaves a choice. Let F be a flip, x and F x be drawn
equally often, and flipped or not with probability 1/2. Then y tells nothing about whether it was flipped, and (8) holds: a
flipped image gains 10 log10 4 = 6.02 dB over being left alone, by becoming half of each, and one that was not flipped gets the same
error. If y leaves a probability p that it was flipped, E[x | y] is (1 - p) y + p F y: -20 log10(1 - p) gained. Training flips one image
in four to the side (2.5 dB), one in two of those with nothing else wrong (6); the net gains 2.3. More needs an F x that is drawn less often
than x: a rabbit stands on its feet, but which way does a motorbike drive? Behind the square, and where b clipped, it is a mean, too.
Papers: Vincent et al., Extracting and composing robust features with denoising autoencoders, 2008, for training on (y, x);
Wang et al., Image quality assessment, 2004, section III, for (7); Vaswani et al., Attention is all you need, 2017, for (3).
Run:    python -m more.restore_ae --data DATA --out OUT [--grey]      (or: make restore_ae)
Writes: OUT/restore_ae/ (restore_ae_grey/) weights.pt, history.json, metrics.json;
        pictures curves, restorations, bottleneck, flips; with --sweep sweep.json, sweep.md, sweep.png
Result: seed 0, painted, one thread, 9 minutes + 6 for bottleneck.png; 296,659 weights. Over the best median filter (squares, brightness:
        none) noise gains 4.7 dB, squares 3.8 (SSIM falls, 0.80 to 0.77), brightness 10.1, rotation 1.0, flips 1.6 (side) and 4.8 (over y
        itself 2.3, 5.9: a blur beats it); beyond training noise 1.8, squares 4.2; salt and pepper, left out, loses 1.3; clean ones come
        back with 23.8. Of a category 73 to 94 % of what is upside down is turned back, 4 to 27 % of what faces the other way. --sweep, 810
        updates: noise 20.8, squares 19.8 dB; no skip 18.9, 18.1; twice the width 21.3, 20.1, twice the time; half mixed 19.9, 19.1; lr 1e-3
        20.1, 19.2; no attention 20.3, 19.6, flips (vertical) 14.3 for 14.7; within 0.2: bce, 8 channels, lr 4e-3, mirrored
"""

import time
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from scipy.ndimage import median_filter

import common
from more import charts, color
from more.sweep import sweep

# Shapes: B batch, C channels of an image, H = W pixels, M channels of the first layer, L of the code, P its places, N images, D of MOST.


# ---- 1. Settings ------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Config(color.Settings):
    bottleneck: int = 32  # L; the code has L H/4 H/4 numbers: bottleneck.png: fewer cost quality without skip connections, with them none
    width: int = 16  # M; the inner maps have 2 M and 4 M channels
    skip: Literal["on", "off"] = "on"  # off: all that the decoder gets is the code
    attention: Literal["on", "off"] = "on"  # (3); off: a layer moves ink by a few pixels, and a flip moves it across the image
    loss: Literal["mse", "bce"] = "mse"  # l in (4)
    mirror: float = 0.0  # share of training drawings mirrored before (1): with 0.5 no drawing has a facing that could be known
    shift: int = 2  # pixels by up to which training drawings are moved before (1)
    steps: int = 4000  # weight updates; fixed, so that any number of images takes about the same time
    epochs: int = 0  # passes over the training images; 0: as many as `steps` needs
    batch_size: int = 64  # images an update
    alone: float = 0.7  # share of training images with one distortion or none, as in most of what is measured below
    lr: float = 2e-3  # highest learning rate of the one-cycle schedule
    sweep: bool = False  # the settings that matter, each trained for a fifth of `steps`, instead of a run
    MAY_BE_ZERO, AT_MOST = common.Settings.MAY_BE_ZERO | {"alone"}, common.Settings.AT_MOST | {"alone": 1}


SWEEP = {"as it stands": {}, "cross-entropy": {"loss": "bce"}, "no attention": {"attention": "off"}, "no skip": {"skip": "off"},
         "bottleneck of 8": {"bottleneck": 8}, "twice as wide": {"width": 32}, "half of them mixed": {"alone": 0.5},
         "learning rate 1e-3": {"lr": 1e-3}, "learning rate 4e-3": {"lr": 4e-3}, "mirrored": {"mirror": 0.5}}
# the largest strength in training, where strengths are uniform from 0 up; salt and pepper is left out, its turn leaves an image clean
MOST = {"horizontal flip": 1.0, "vertical flip": 1.0, "rotation": 30.0, "brightness": 0.4, "occlusion": 0.4, "noise": 0.4,
        "salt and pepper": 0.0}
# what is measured, a number as in distort(); from "more noise" on it is stronger than anything in training, or not in it
TESTS = {"clean": {}, "noise": {"noise": 0.2}, "occlusion": {"occlusion": 0.3}, "brightness": {"brightness": 0.3},
         "rotation": {"rotation": 20.0}, "horizontal flip": {"horizontal flip": 1.0}, "vertical flip": {"vertical flip": 1.0}, "mixed": 0.0,
         "more noise": {"noise": 0.6}, "larger square": {"occlusion": 0.6}, "more brightness": {"brightness": 0.6},
         "more rotation": {"rotation": 45.0}, "salt and pepper": {"salt and pepper": 0.1}}
FILTERS = {"none": [[1]], "cross": [[0, 1, 0], [1, 1, 1], [0, 1, 0]], "3 x 3": np.ones((3, 3)), "5 x 5": np.ones((5, 5))}


# ---- 2. Model ---------------------------------------------------------------------------------------

def distort(x, strengths, rng):
    """Equation (1) on x (N, C, H, H), 0 changes nothing. strengths: {distortion: strength}, or the share that gets at most one of them."""
    if isinstance(strengths, dict):
        s = torch.tensor([[strengths.get(name, 0.0) for name in MOST]]).repeat(len(x), 1)  # (N, D)
    else:
        one = F.one_hot(torch.randint(len(MOST), (len(x),), generator=rng), len(MOST))  # (N, D)
        some = torch.randint(2, one.shape, generator=rng)  # (N, D)
        on = torch.where(torch.rand(len(x), 1, generator=rng) < strengths, one, some)  # (N, D)
        s = on * torch.tensor(list(MOST.values())) * (1 - torch.rand(on.shape, generator=rng))  # (N, D), 1 - rand is never 0
    h, v, r, b, o, n, p = s.T[:, :, None, None, None]  # (N, 1, 1, 1) each, in the order of MOST
    x = torch.where(h > 0, x.flip(3), x)  # (1) h
    x = torch.where(v > 0, x.flip(2), x)  # (1) v
    r, b = (s * (2 * torch.randint(2, s.shape, generator=rng) - 1) for s in (r, b))  # to either side: (N, 1, 1, 1) each
    cos, sin = torch.cos(torch.deg2rad(r.flatten())), torch.sin(torch.deg2rad(r.flatten()))
    matrix = torch.stack([cos, -sin, 0 * cos, sin, cos, 0 * cos], dim=1).view(-1, 2, 3)  # (N, 2, 3), says where each pixel comes from
    x = F.grid_sample(x, F.affine_grid(matrix, list(x.shape), align_corners=False), align_corners=False)  # (1) r, linear between pixels
    x = (x + b).clamp(0, 1)  # (1) b: clipped, as in a file; without that, subtracting would undo it
    side = (o * x.shape[2]).round()  # (N, 1, 1, 1)
    top, left = ((torch.rand(o.shape, generator=rng) * (x.shape[2] - side + 1)).floor() for _ in range(2))
    row, column = torch.arange(x.shape[2])[:, None], torch.arange(x.shape[3])
    inside = (row >= top) & (row < top + side) & (column >= left) & (column < left + side)  # (N, 1, H, H)
    x = torch.where(inside, 0.5, x)  # (1) o: grey, for nobody sees where a black square lies on black paper
    x = x + n * torch.randn(x.shape, generator=rng)  # (1) n: not clipped: the median of clipped values is the clipped median
    hit, white = torch.rand(2, len(x), 1, *x.shape[2:], generator=rng)  # (N, 1, H, H) each
    return torch.where(hit < p, (white < 0.5).float(), x)  # salt and pepper: a share p of the pixels turns black or white


def block(conv):
    """A convolution, each channel normalised over the batch, SiLU. No bias: BatchNorm subtracts the mean, and would cancel it."""
    return nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels), nn.SiLU())


class Attention(nn.Module):
    """Equation (3) on a map: ink can reach its mirror image in one layer. Four heads, d = M; added to what came in."""

    def __init__(self, channels, side):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.place = nn.Parameter(torch.randn(1, channels, side, side))  # (3) alone does not know where a place is
        self.qkv, self.out = nn.Conv2d(channels, 3 * channels, kernel_size=1), nn.Conv2d(channels, channels, kernel_size=1)

    def forward(self, h):
        qkv = self.qkv(self.norm(h) + self.place).flatten(2).unflatten(1, (3, 4, -1))  # (B, 3, 4, M, P)
        a = F.scaled_dot_product_attention(*qkv.transpose(3, 4).unbind(1))  # (3), (B, 4, P, M), of q, k, v
        return h + self.out(a.transpose(2, 3).reshape(h.shape))  # (B, 4 M, H/4, H/4)


class Autoencoder(nn.Module):
    """Distorted images (B, C, H, H) -> logits of clean ones, equation (2)."""

    def __init__(self, cfg, channels):
        super().__init__()
        m, side = cfg.width, cfg.size // 4
        attention = (lambda: Attention(4 * m, side)) if cfg.attention == "on" else nn.Identity
        self.skip = float(cfg.skip == "on")
        self.gates = nn.ModuleList([nn.Conv2d(2 * m, 2 * m, kernel_size=1), nn.Conv2d(m, m, kernel_size=1)])
        self.enter = block(nn.Conv2d(channels, m, kernel_size=3, padding=1, bias=False))  # (B, M, H, H)
        self.down = nn.Sequential(
            block(nn.Conv2d(m, 2 * m, kernel_size=4, stride=2, padding=1, bias=False)),  # (B, 2 M, H/2, H/2)
            block(nn.Conv2d(2 * m, 2 * m, kernel_size=3, padding=1, bias=False)))  # (B, 2 M, H/2, H/2)
        self.squeeze = nn.Sequential(
            block(nn.Conv2d(2 * m, 4 * m, kernel_size=4, stride=2, padding=1, bias=False)),  # (B, 4 M, H/4, H/4)
            # twice, for one layer to find out how the image was flipped, and the next to move things back: see --sweep
            attention(), block(nn.Conv2d(4 * m, 4 * m, kernel_size=3, padding=1, bias=False)),  # (B, 4 M, H/4, H/4)
            attention(), block(nn.Conv2d(4 * m, 4 * m, kernel_size=3, padding=1, bias=False)),  # (B, 4 M, H/4, H/4)
            nn.Conv2d(4 * m, cfg.bottleneck, kernel_size=1))  # (B, L, H/4, H/4), no activation: a code may be any real number
        self.widen = nn.Sequential(
            block(nn.Conv2d(cfg.bottleneck, 4 * m, kernel_size=3, padding=1, bias=False)), attention(),  # (B, 4 M, H/4, H/4)
            block(nn.Conv2d(4 * m, 4 * m, kernel_size=3, padding=1, bias=False)),  # (B, 4 M, H/4, H/4)
            block(nn.ConvTranspose2d(4 * m, 2 * m, kernel_size=4, stride=2, padding=1, bias=False)))  # (B, 2 M, H/2, H/2)
        self.up = nn.Sequential(
            block(nn.Conv2d(2 * m, 2 * m, kernel_size=3, padding=1, bias=False)),  # (B, 2 M, H/2, H/2)
            block(nn.ConvTranspose2d(2 * m, m, kernel_size=4, stride=2, padding=1, bias=False)))  # (B, M, H, H)
        self.draw = nn.Sequential(block(nn.Conv2d(m, m, kernel_size=3, padding=1, bias=False)),  # (B, M, H, H)
            nn.Conv2d(m, channels, kernel_size=3, padding=1))  # (B, C, H, H), logits

    def forward(self, y):
        full = self.enter(y)  # (B, M, H, H)
        half = self.down(full)  # (B, 2 M, H/2, H/2)
        h = self.widen(self.squeeze(half))  # (2), (B, 2 M, H/2, H/2)
        # gates in (0, 1) made of h, which may know that the image was flipped: then what y has at a place is wrong there
        h = self.up(h + self.skip * torch.sigmoid(self.gates[0](h)) * half)  # (B, M, H, H)
        h = h + self.skip * torch.sigmoid(self.gates[1](h)) * full  # (B, M, H, H)
        return self.draw(h).float()  # (2) before its sigmoid, (B, C, H, H)


# ---- 3. Loss ----------------------------------------------------------------------------------------

def restoration_loss(logits, x, kind):
    """Equation (4), mean over images, channels and pixels; of either kind the best x_hat is (5)."""
    return F.binary_cross_entropy_with_logits(logits, x) if kind == "bce" else F.mse_loss(torch.sigmoid(logits), x)


# ---- 4. Training ------------------------------------------------------------------------------------

def train(cfg, data, device):
    """The whole loop; returns (model, history, one record an epoch)."""
    torch.manual_seed(cfg.seed)
    model = Autoencoder(cfg, data.x_train.shape[1]).to(device)
    x_train, x_val = torch.from_numpy(data.x_train), torch.from_numpy(data.x_val)
    y_val = distorted(cfg, x_val, cfg.alone)  # the same at every epoch, so that its losses can be compared
    per_epoch = max(1, len(x_train) // cfg.batch_size)  # updates
    epochs = cfg.epochs or max(1, round(cfg.steps / per_epoch))
    optimizer = torch.optim.Adam(model.parameters(), lr=cfg.lr)
    # One cycle (Smith and Topin 2019): up for a tenth of the time, then down to nearly 0; Adam's beta1 goes the other way.
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, cfg.lr, total_steps=max(11, epochs * per_epoch), pct_start=0.1)
    rng = torch.Generator().manual_seed(cfg.seed)  # its own: nothing else can change batches and distortions
    history, begin = [], time.time()
    for epoch in range(1, epochs + 1):
        model.train()
        x_epoch = common.augment(x_train, rng, cfg.shift, cfg.mirror)
        order, total = torch.randperm(len(x_train), generator=rng)[:per_epoch * cfg.batch_size], 0.0
        for batch in common.progress(order.split(cfg.batch_size), f"epoch {epoch}/{epochs}"):
            x = x_epoch[batch]  # (B, C, H, H)
            y = distort(x, cfg.alone, rng).to(device)  # (1), anew at every update
            with common.autocast(cfg, device):
                logits = model(y)  # (2), (B, C, H, H)
            loss = restoration_loss(logits, x.to(device), cfg.loss)  # (4)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(x)
        history.append({"epoch": epoch, "train_loss": total / len(order), "val_loss": restore(cfg, model, y_val, device, x_val)[1],
                        "seconds": time.time() - begin})
        print("epoch {epoch:3d}/{0}  step {1:5d}  loss a pixel: train {train_loss:.5f}  validation {val_loss:.5f}  {seconds:6.1f} s, "
              "{2:.0f} left".format(epochs, epoch * per_epoch, (time.time() - begin) * (epochs / epoch - 1), **history[-1]), flush=True)
    return model, history


# ---- 5. Evaluation ----------------------------------------------------------------------------------

def distorted(cfg, x, strengths):
    """x as distorted for evaluation: the same at every call."""
    return distort(x, strengths, torch.Generator().manual_seed(cfg.seed + 1))


@torch.no_grad()
def restore(cfg, model, y, device, x=None):
    """(restored images (N, C, H, H), mean loss (4) if the clean images x are given)."""
    model.eval()  # BatchNorm uses its running statistics, so that a result does not depend on the batch
    with common.autocast(cfg, device):
        logits = torch.cat([model(part.to(device)).cpu() for part in y.split(100)])  # (N, C, H, H)
    return torch.sigmoid(logits), None if x is None else restoration_loss(logits, x, cfg.loss).item()


def psnr(a, b):
    """Equation (6) for each image, (N,). At most 60 dB, a root mean square error of 1/1000: of equal images it would be infinite."""
    return -10 * torch.log10(((a - b) ** 2).mean(dim=(1, 2, 3)).clamp(min=1e-6))  # (6)


def ssim(a, b):
    """Equation (7) for each image, (N,), each channel by itself; only windows that lie inside the image."""
    weight = torch.exp(-(torch.arange(11, dtype=torch.float64) - 5) ** 2 / (2 * 1.5 ** 2))
    window = (torch.outer(weight, weight) / weight.sum() ** 2)[None, None]  # (1, 1, 11, 11)
    n, (a, b) = len(a), (x.flatten(0, 1)[:, None].double() for x in (a, b))  # float64: a variance will be a difference of near numbers
    m_a, m_b, aa, bb, ab = (F.conv2d(x, window) for x in (a, b, a * a, b * b, a * b))
    return ((2 * m_a * m_b + 0.01 ** 2) * (2 * (ab - m_a * m_b) + 0.03 ** 2)
            / ((m_a ** 2 + m_b ** 2 + 0.01 ** 2) * (aa - m_a ** 2 + bb - m_b ** 2 + 0.03 ** 2))).view(n, -1).mean(dim=1)  # (7)


def median(y, name):
    """Each value becomes the median of its neighbours in its channel; clipped, which moves no value away from one in [0, 1]."""
    return torch.from_numpy(median_filter(y.numpy(), footprint=np.array(FILTERS[name])[None, None] > 0)).clamp(0, 1)


def compare(cfg, model, data, device, strengths):
    """({figure: number}, {way: images}): test images distorted like that and then left alone, filtered, or restored by the net."""
    x_val, x = torch.from_numpy(data.x_val), torch.from_numpy(data.x_test)
    y_val, y = (distorted(cfg, images, strengths) for images in (x_val, x))
    # fair to the filter: of each distortion the best on validation images, maybe none; by the error: 60 dB of clean ones would decide
    best = min(FILTERS, key=lambda name: ((median(y_val, name) - x_val) ** 2).mean().item())
    ways = {"nothing": y.clamp(0, 1), "median": median(y, best), "restored": restore(cfg, model, y, device)[0]}
    row = {f"{way}_{score.__name__}": score(images, x).mean().item() for score in (psnr, ssim) for way, images in ways.items()}
    gain = psnr(ways["restored"], x) - psnr(ways["median"], x)  # (N,), pairs: the spread between images, common to both, cancels
    return row | {"filter": best, "gain": gain.mean().item(), "gain_error": (gain.std(correction=0) / len(gain) ** 0.5).item()}, ways


def on_validation(cfg, data, device):
    """Trains; {test: mean PSNR} on validation images: by these settings are chosen."""
    (model, _), x = train(cfg, data, device), torch.from_numpy(data.x_val)
    restored = {name: restore(cfg, model, distorted(cfg, x, TESTS[name]), device)[0] for name in (
        "noise", "occlusion", "horizontal flip", "vertical flip", "mixed")}
    return {name: psnr(x_hat, x).mean().item() for name, x_hat in restored.items()}


def by_bottleneck(cfg, data, device):
    """A short training for each size of the code, without and with skip connections: a record a size."""
    records = [{"numbers in the bottleneck": size * (cfg.size // 4) ** 2} for size in (1, 4, 16, 64)]
    for record, size, skip in [(record, size, skip) for record, size in zip(records, (1, 4, 16, 64)) for skip in ("off", "on")]:
        print(f"bottleneck of {size} channels, skip connections {skip}:")
        c = replace(cfg, bottleneck=size, skip=skip, steps=max(1, cfg.steps // 12), epochs=int(cfg.quick))
        record |= {f"{name}, skip {skip}": value for name, value in on_validation(c, data, device).items()}
    return records


def flips(cfg, model, data, device):
    """{flip: {category: figures}}. right: how often the net's answer to y = F x is nearer to x than to F x; a copy's never is."""
    x, table = torch.from_numpy(data.x_test), {}
    for name, axis in (("horizontal flip", 3), ("vertical flip", 2)):
        flipped = x.flip(axis)
        restored, kept = (restore(cfg, model, y, device)[0] for y in (flipped, x))  # (N, C, H, H) each
        figures = {"right": (psnr(restored, x) > psnr(restored, flipped)).float(),
                   "flipped, left alone": psnr(flipped, x), "half of each, (8)": psnr((x + flipped) / 2, x),
                   "flipped, restored": psnr(restored, x), "not flipped, restored": psnr(kept, x)}
        table[name] = {category: {key: value[data.y_test == k].mean().item() for key, value in figures.items()}
                       for k, category in enumerate(data.classes) if (data.y_test == k).any()}
    return table


# ---- 6. Pictures ------------------------------------------------------------------------------------

def plot_restorations(cfg, folder, ways, data):
    """The same two test images of each category under each distortion; ways: {test: {way: images (N, C, H, H)}}."""
    pick = np.concatenate([np.flatnonzero(data.y_test == k)[:2] for k in range(min(5, len(data.classes)))])
    fig, axes = common.figure(4, 3, width=13, height=8)
    for ax, (name, images) in zip(axes.flat, list(ways.items())[1:]):  # but not the undistorted ones
        shown = [color.to_uint8(x[pick]) / 255 for x in (data.x_test, *images.values())]
        common.show_grid(ax, np.concatenate(shown), len(pick), name, ["clean", "distorted", "median", "restored"])
    common.save_figure(cfg, folder / "restorations.png", fig, data.source)


def plot_flips(cfg, folder, table, source):
    """PSNR by category, and under its name how often the net turns a flipped thing back."""
    fig, axes = common.figure(1, 2, width=12, height=3.4)
    for ax, (name, rows) in zip(axes[0], table.items()):
        for j, key in enumerate(list(next(iter(rows.values())))[1:]):
            ax.bar(np.arange(len(rows)) + 0.2 * (j - 1.5), [row[key] for row in rows.values()], width=0.19, label=key)
        ax.set(title=f"{name}; below: how many are turned back", ylabel="PSNR, dB", xticks=range(len(rows)),
               xticklabels=[f"{category}\n{row['right']:.0%}" for category, row in rows.items()])
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right center", fontsize=8)
    common.save_figure(cfg, folder / "flips.png", fig, source)


# ---- 7. Main ----------------------------------------------------------------------------------------

def main(cfg):
    data, device = color.load(cfg), common.setup(cfg)
    folder = common.start(cfg, "restore_ae" + "_grey" * cfg.grey, "sweep" if cfg.sweep else "metrics")
    if cfg.sweep:
        return sweep(cfg, folder, data.source, SWEEP, lambda c, name: on_validation(c, data, device), device)

    model, history = train(cfg, data, device)
    x_test, table, ways = torch.from_numpy(data.x_test), {}, {}
    test_loss = restore(cfg, model, distorted(cfg, x_test, cfg.alone), device, x_test)[1]
    print(f"test loss {test_loss:.5f}; of test images, PSNR in dB:")
    for name, strengths in TESTS.items():
        table[name], ways[name] = compare(cfg, model, data, device, strengths)
        print(f"{name:16s}", "  ".join(f"{key} {value:.2f}" if key != "filter" else value for key, value in table[name].items()))
    turned, sizes = flips(cfg, model, data, device), by_bottleneck(cfg, data, device)
    common.save(folder / "history.json", history), common.save(folder / "weights.pt", model)
    common.plot_curves(cfg, folder / "curves.png", history, data.source, "Restoring autoencoder", f"{cfg.loss.upper()} a pixel",
                       left={"loss": "loss"}, levels={"test": test_loss})
    plot_restorations(cfg, folder, ways, data), plot_flips(cfg, folder, turned, data.source)
    charts.plot_lines(cfg, folder / "bottleneck.png", {f"{name}, validation, a twelfth of the updates": ("PSNR, dB", {
        f"skip connections {skip}": f"{name}, skip {skip}" for skip in ("off", "on")}) for name in ("noise", "occlusion", "vertical flip",
        "mixed")}, sizes, "numbers in the bottleneck", data.source, log_x=True)
    common.finish(cfg, folder, data.source, device, model, history[-1]["seconds"], train_loss=history[-1]["train_loss"],
                  val_loss=history[-1]["val_loss"], test_loss=test_loss, table=table, flips=turned, bottleneck=sizes)


if __name__ == "__main__":
    common.run(main, Config)
