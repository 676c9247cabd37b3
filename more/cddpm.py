"""Conditional diffusion model: ddpm.py, told what to draw, and told again with more force.

The network is given the category y beside x_t and t. In a tenth of the training images y is withheld, so that one
network learns both: the noise in an image of category y, and the noise in any image. Drawing, the two are
compared, and the difference, what y has to say, is exaggerated.

    (1)  x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) eps                                       (2) of ddpm.py, a_t its (9); eps ~ N(0, I)
    (2)  loss = E w_t |eps - e(x_t, t, c)|^2 / D       (3) of ddpm.py, w_t and e as there; c = y one-hot, or 0 with probability p
    (3)  guided = e(x_t, t, 0) + g [e(x_t, t, y) - e(x_t, t, 0)]                       classifier-free guidance
    (4)  x0_hat = (x_t - sqrt(1 - a_t) guided) / sqrt(a_t)
    (5)  DDIM, t -> s < t: x_s = sqrt(a_s) x0_hat + sqrt(1 - a_s - v) guided + sqrt(v) eps,
         v = min(1 - a_s, eta^2 (1 - a_s) / (1 - a_t) (1 - a_t / a_s))
    (6)  code = sines and cosines of t, and the mean colour, through two layers, + V c                 into every residual block

g = 1 is the conditional model as learned, g = 0 the unconditional one. By Bayes grad ln p(y|x) = grad ln p(x|y) - grad ln p(x),
and -e / sqrt(1 - a_t) is such a gradient (ddpm.py, "score matching"): (3) with g > 1 climbs p(x) p(y|x)^g, as if a classifier
of noisy images pushed towards y, g times as hard. No classifier is trained, hence the name. What g gains in images that
look like y it should lose in variety, of each category the most typical being drawn; Result says what was seen of that.

(6) is linear in c, without a bias: c = 0 adds nothing, "no category" needs no sixth one. And c may be any vector: half of
two categories, the sum of two. Training never showed such; what comes is drawn, too, but no figure judges it.

Papers: Ho and Salimans, Classifier-free diffusion guidance, 2021, algorithms 1 and 2, their w is g - 1; the rest: see ddpm.py.

Run:    python -m more.cddpm --data DATA --out OUT [--grey] [--resume]      (or: make cddpm)
Writes: OUT/cddpm/ (cddpm_grey/) weights.pt, history.json, samples.npy and samples_labels.npy, metrics.json; pictures
        curves, samples, guidance, conditions; while it runs checkpoint.pt; with --sweep sweep.json, sweep.md, sweep.png
Result: seed 0, painted, one thread, 30 minutes: 1,000 samples a category, g = 2: FID (of 800) 2.5 (conv_vae.py's, painted: 45.0), 99.3 % as
        asked, diversity within a category 0.88. With g = 0, 1, 1.5, 2, 3, 5, FID of 800: 23, 3.8, 1.6, 2.9, 7.6, 15; of 1,000 as asked 19,
        91.9, 97.8, 99.2, 99.9, 100 %. Diversity does not fall, 0.85 to 0.97 from g = 1 to 5: it counts pixels, not what is drawn. In the
        pictures, on the way between two categories the drawing is mostly one or the other; sums of two look like neither. 489,027 weights.
        --sweep, 2,000 updates: FID 4.2, 96 % as asked; g = 1 21, 80 %; y never withheld, g = 1, 19, 85 %; withheld from a third 6.5, 95 %;
        w_t = 1 23, 87 %; lr 1e-3 13, 90 %: guidance is what does it, and a tenth without y is what it costs
New beside ddpm.py: y, (3), (6). Gone: ancestral sampling, the bound, the comparison of samplers.
"""

import copy
import math
import time
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

import common
from more import charts, checkpoint, color
from more.score import Judge
from more.sweep import sweep

# Shapes: B batch, C channels of an image, H = W pixels, M channels in the net's first layer, E numbers that code t, K classes, N drawings.


# ---- 1. Settings ------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Config(color.Settings):
    width: int = 16  # M, of 4s, as GroupNorm's groups; half the resolution has twice, a quarter four times as many
    schedule: Literal["cosine", "linear"] = "cosine"  # (9) of ddpm.py; linear has destroyed small images well before T
    noise_steps: int = 1000  # T
    weight: Literal["velocity", "noise"] = "velocity"  # w_t in (2): 1 / a_t, or 1
    dropout: float = 0.0  # in the residual blocks; 0.1 costs a sixth of the time
    steps: int = 10000  # weight updates; fixed, so that any number of drawings takes about the same time
    epochs: int = 0  # passes over the training drawings; 0: as many as `steps` needs
    batch_size: int = 64  # drawings an update
    lr: float = 2e-3  # highest learning rate of the one-cycle schedule
    ema: float = 0.999  # the weights that draw are a mean over the last tenth of the updates so far, or 1 / (1 - ema) if that is fewer
    shift: int = 0  # pixels by up to which training drawings are moved; 0: what it sees moved it draws moved, unlike the real ones
    mirror: float = 0.5  # share of training drawings that are mirrored, and drawn so: none becomes another category; of digits 0
    withhold: float = 0.1  # p in (2)
    guidance: float = 2.0  # g in (3), for samples.npy: 99 % as asked; 1.5 has the lower FID, and 98 %
    sample_steps: int = 50  # S, steps of (5) for samples.npy
    eta: float = 2.0  # in (5): fresh noise corrects what earlier steps got wrong, see ddpm.py; its `fresh` was not tried here
    save_every: int = 5  # epochs between checkpoints
    resume: bool = False  # continue a run that was interrupted
    sweep: bool = False  # compare settings, each trained for a fifth of `steps`, instead of a run

    MAY_BE_ZERO = common.Settings.MAY_BE_ZERO | {"guidance", "withhold", "eta"}
    AT_MOST = common.Settings.AT_MOST | {"withhold": 0.9}


SWEEP = {"as it stands": {}, "g = 1": {"guidance": 1.0}, "y never withheld, g = 1": {"withhold": 0.0, "guidance": 1.0},
         "y withheld from a third": {"withhold": 0.33}, "w = 1 in (2)": {"weight": "noise"}, "lr 1e-3": {"lr": 1e-3}}


# ---- 2. Model ---------------------------------------------------------------------------------------

def time_code(t, size=64):
    """t (B,) -> (B, 64): sines and cosines, as a clock's hands code the hour; in one number 500 and 501 would look alike."""
    frequencies = torch.exp(-math.log(1e4) * torch.arange(size // 2, device=t.device) / (size // 2))  # (32,)
    angles = t[:, None] * frequencies  # (B, 32)
    return torch.cat([angles.sin(), angles.cos()], dim=1)  # (B, 64)


class ResBlock(nn.Module):
    """Two convolutions and a way around them: (B, c_in, H, H), code (B, E) -> (B, c_out, H, H)."""

    def __init__(self, c_in, c_out, code, dropout):
        super().__init__()  # GroupNorm, not BatchNorm: the images of a batch have all noise levels, a common mean would mix them
        self.norm1, self.conv1 = nn.GroupNorm(c_in // 4, c_in), nn.Conv2d(c_in, c_out, kernel_size=3, padding=1)
        self.norm2, self.code, self.dropout = nn.GroupNorm(c_out // 4, c_out), nn.Linear(code, 2 * c_out), nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(c_out, c_out, kernel_size=3, padding=1)
        for parameter in self.conv2.parameters():  # at the start a block is its way around: a deep net trains like a shallow one
            nn.init.zeros_(parameter)
        self.around = nn.Conv2d(c_in, c_out, kernel_size=1) if c_in != c_out else nn.Identity()

    def forward(self, x, code):
        gain, shift = self.code(code)[:, :, None, None].chunk(2, dim=1)  # (B, D, 1, 1) each, D = c_out
        h = self.norm2(self.conv1(F.silu(self.norm1(x)))) * (1 + gain) + shift  # not before norm2, which would take a shift away again
        return self.around(x) + self.conv2(self.dropout(F.silu(h)))


class Attention(nn.Module):
    """Every place looks at every other one, 4 heads: (B, c, H, H) -> the same. 7 x 7 are 49 places; 28 x 28 would be 784."""

    def __init__(self, channels):
        super().__init__()
        self.norm, self.qkv = nn.GroupNorm(channels // 4, channels), nn.Conv2d(channels, 3 * channels, kernel_size=1)
        self.out = nn.Conv2d(channels, channels, kernel_size=1)

    def forward(self, x):
        q, k, v = self.qkv(self.norm(x)).reshape(len(x), 3, 4, x.shape[1] // 4, -1).transpose(3, 4).unbind(dim=1)
        h = F.scaled_dot_product_attention(q, k, v)  # (B, 4, P, D), P places, D numbers a head: softmax(q k^T / sqrt(D)) v
        return x + self.out(h.transpose(2, 3).reshape(x.shape))


class UNet(nn.Module):
    """Noisy images (B, C, H, H), their t (B,) and condition c (B, K) -> the noise in them (B, C, H, H), e in (2).

    Down to a quarter of the resolution, where a place sees the whole drawing, and up again, where each resolution is handed
    what the way down knew of places: the arms of the U.
    """

    def __init__(self, channels, classes, width, dropout, chain):
        super().__init__()
        self.register_buffer("a", chain.a.float(), persistent=False)  # moves to the device with the weights, is not one of them
        code, (m1, m2, m4) = 4 * width, (width, 2 * width, 4 * width)
        self.code = nn.Sequential(nn.Linear(64 + channels, code), nn.SiLU(), nn.Linear(code, code), nn.SiLU())
        self.condition = nn.Linear(classes, code, bias=False)
        self.first, self.down1 = nn.Conv2d(channels, m1, kernel_size=3, padding=1), ResBlock(m1, m1, code, dropout)
        self.half1, self.down2 = nn.Conv2d(m1, m1, kernel_size=3, stride=2, padding=1), ResBlock(m1, m2, code, dropout)
        self.half2, self.down3 = nn.Conv2d(m2, m2, kernel_size=3, stride=2, padding=1), ResBlock(m2, m4, code, dropout)
        self.mid1, self.attention, self.mid2 = ResBlock(m4, m4, code, dropout), Attention(m4), ResBlock(m4, m4, code, dropout)
        self.up3, self.fewer2 = ResBlock(m4 + m4, m4, code, dropout), nn.Conv2d(m4, m2, kernel_size=3, padding=1)
        self.up2, self.fewer1 = ResBlock(m2 + m2, m2, code, dropout), nn.Conv2d(m2, m1, kernel_size=3, padding=1)
        self.up1 = ResBlock(m1 + m1, m1, code, dropout)
        self.norm, self.last = nn.GroupNorm(m1 // 4, m1), nn.Conv2d(m1, channels, kernel_size=3, padding=1)
        for parameter in self.last.parameters():  # f begins as 0: the first guess at the noise is sqrt(1 - a_t) x_t
            nn.init.zeros_(parameter)

    def forward(self, x, t, c):
        # of t and of the mean colour: its noise is 1/H of a pixel's: known before any line, and GroupNorm takes most of it from the blocks
        code = self.code(torch.cat([time_code(t.float()), 8 * x.mean(dim=(2, 3))], dim=1)) + self.condition(c)  # (6), (B, E)
        h1 = self.down1(self.first(x), code)  # (B, M, H, H)
        h2 = self.down2(self.half1(h1), code)  # (B, 2 M, H/2, H/2)
        h3 = self.down3(self.half2(h2), code)  # (B, 4 M, H/4, H/4)
        h = self.mid2(self.attention(self.mid1(h3, code)), code)  # (B, 4 M, H/4, H/4)
        h = self.up3(torch.cat([h, h3], dim=1), code)  # (B, 4 M, H/4, H/4)
        # nearest neighbours, then convolutions; channels are reduced before: at twice the size each costs four times as much
        h = self.up2(torch.cat([F.interpolate(self.fewer2(h), scale_factor=2), h2], dim=1), code)  # (B, 2 M, H/2, H/2)
        h = self.up1(torch.cat([F.interpolate(self.fewer1(h), scale_factor=2), h1], dim=1), code)  # (B, M, H, H)
        a = self.a[t][:, None, None, None]  # (B, 1, 1, 1)
        return (1 - a).sqrt() * x + a.sqrt() * self.last(F.silu(self.norm(h))).float()  # e = sqrt(1 - a_t) x_t + sqrt(a_t) f, (B, C, H, H)


class Chain:
    """The noise's constants, float64 tensors of T + 1 numbers: index t is step t, a[0] = 1. Raises common.InputError."""

    def __init__(self, schedule, steps, channels=1):
        a = torch.cos((torch.linspace(0, 1, steps + 1, dtype=torch.float64) + 0.008) / 1.008 * math.pi / 2) ** 2
        linear = torch.linspace(0.1 / steps, 20 / steps, steps, dtype=torch.float64)  # Ho et al.'s 1e-4 to 0.02 at T = 1,000
        beta = (linear if schedule == "linear" else 1 - a[1:] / a[:-1]).clamp(max=0.999)  # (9) of ddpm.py; with 1, a_T = 0
        a = torch.cat([torch.ones(1, dtype=torch.float64), (1 - beta).cumprod(dim=0)])
        self.steps, self.a = steps, a / (a + channels * (1 - a))  # a / (1 - a) becomes a C-th of that
        self.beta = torch.cat([torch.zeros(1, dtype=torch.float64), 1 - self.a[1:] / self.a[:-1]])
        common.require(self.a[-1] < 1e-3, "--noise-steps", f"a_T = {self.a[-1]:.2g}", "less than 1e-3, x_T being noise alone", "give more")

    def noise(self, x0, t, eps):
        """Equation (1); x0, eps (B, C, H, H), t (B,)."""
        a = self.a.to(x0)[t][:, None, None, None]  # one number for each image
        return a.sqrt() * x0 + (1 - a).sqrt() * eps


# ---- 3. Loss ----------------------------------------------------------------------------------------

def diffusion_loss(net, chain, x0, t, eps, c, weight="velocity"):
    """Equation (2), a mean over pixels, channels and images."""
    error = ((net(chain.noise(x0, t, eps), t, c) - eps) ** 2).mean(dim=(1, 2, 3))  # (1), (B,)
    return (error / chain.a.to(error)[t]).mean() if weight == "velocity" else error.mean()  # (2)


# ---- 4. Training ------------------------------------------------------------------------------------

def train(cfg, data, device, folder):
    """The whole loop; returns (the averaged net, history). Saves itself every few epochs, and continues from there with --resume."""
    torch.manual_seed(cfg.seed)  # of the first weights, and of dropout
    x_train, y_train, channels = torch.from_numpy(data.x_train), one_hot(data.y_train, data), data.x_train.shape[1]
    chain = Chain(cfg.schedule, cfg.noise_steps, channels)
    net = UNet(channels, len(data.classes), cfg.width, cfg.dropout, chain).to(device)
    per_epoch = max(1, len(x_train) // cfg.batch_size)  # updates; drawings that fill no batch are left out until the next shuffle
    epochs = cfg.epochs or max(1, round(cfg.steps / per_epoch))
    average = copy.deepcopy(net).requires_grad_(False)  # the last updates' noise averages out: its samples are cleaner
    optimizer = torch.optim.Adam(net.parameters(), lr=cfg.lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, cfg.lr, total_steps=max(11, epochs * per_epoch), pct_start=0.1,
                                                   cycle_momentum=False)
    rng = torch.Generator().manual_seed(cfg.seed)  # its own: order, t and eps depend on nothing else
    states = [net, average, optimizer, schedule]
    kept = checkpoint.load(folder / "checkpoint.pt", cfg, __file__, [rng], states)
    history, step, begin = kept["history"], kept["step"], time.time() - kept["seconds"]
    for epoch in range(kept["epoch"] + 1, epochs + 1):
        x_epoch = common.augment(x_train, rng, cfg.shift, cfg.mirror) * 2 - 1  # [0, 1] -> [-1, 1]: the noise's mean is in the middle
        order, total = torch.randperm(len(x_train), generator=rng)[:per_epoch * cfg.batch_size], 0.0
        for batch in common.progress(order.split(cfg.batch_size), f"epoch {epoch}/{epochs}, step {step}"):
            x0, t = x_epoch[batch], torch.randint(1, cfg.noise_steps + 1, (len(batch),), generator=rng)  # (B, C, H, H), (B,)
            eps = torch.randn(x0.shape, generator=rng)  # (B, C, H, H)
            c = y_train[batch] * (torch.rand(len(batch), 1, generator=rng) >= cfg.withhold)  # (B, K)
            with common.autocast(cfg, device):
                loss = diffusion_loss(net, chain, x0.to(device), t.to(device), eps.to(device), c.to(device), cfg.weight)  # (1), (2)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), max_norm=1.0)
            optimizer.step()
            schedule.step()
            step, total = step + 1, total + loss.item() * len(batch)
            with torch.no_grad():  # a memory that grows with the run: else the mean would be of the random first weights
                for mean, new in zip(average.parameters(), net.parameters()):
                    mean.lerp_(new, 1 - min(cfg.ema, step / (step + 10)))
        val_loss = evaluate(cfg, average, chain, data.x_val, one_hot(data.y_val, data), device)
        record = {"epoch": epoch, "train_loss": total / len(order), "val_loss": val_loss, "seconds": time.time() - begin}
        history.append(record)
        print("epoch {epoch:3d}/{0}  step {1:5d}  loss: train {train_loss:.4f}  validation (mean weights) "
              "{val_loss:.4f}  {seconds:6.1f} s, {2:.0f} left".format(epochs, step, record["seconds"] / epoch * (epochs - epoch), **record),
              flush=True)
        if epoch % cfg.save_every == 0 and epoch < epochs:
            checkpoint.save(folder / "checkpoint.pt", cfg, __file__, [rng], states, epoch, step, time.time() - begin, history)
    return average.eval(), history


# ---- 5. Evaluation ----------------------------------------------------------------------------------

@torch.no_grad()
def evaluate(cfg, net, chain, images, conditions, device):
    """Equation (2), y always told, on images (N, C, H, H) in [0, 1], one t and eps each, the same at every call."""
    net.eval()
    rng, total = torch.Generator().manual_seed(cfg.seed + 1), 0.0
    for x, c in zip(torch.from_numpy(images).split(500), conditions.split(500)):
        t, eps = torch.randint(1, cfg.noise_steps + 1, (len(x),), generator=rng), torch.randn(x.shape, generator=rng)
        with common.autocast(cfg, device):
            loss = diffusion_loss(net, chain, x.to(device) * 2 - 1, t.to(device), eps.to(device), c.to(device), cfg.weight)
        total += loss.item() * len(x)
    return total / len(images)


def one_hot(labels, data):
    """Labels (N,) -> conditions (N, K)."""
    return F.one_hot(torch.as_tensor(labels), len(data.classes)).float()


@torch.no_grad()
def predict(cfg, net, chain, x, t, c, guidance, device):
    """(noise, x0_hat) for images x (B, C, H, H) all at step t, conditions c (B, K): (4), clamped to [-1, 1], and the noise that fits it."""
    both = torch.cat([c, torch.zeros_like(c)])  # one pass for both
    with common.autocast(cfg, device):
        told, untold = net(torch.cat([x, x]), torch.full((len(both),), t, device=device), both).chunk(2)
    a = chain.a[t].item()
    x0 = ((x - math.sqrt(1 - a) * (untold + guidance * (told - untold))) / math.sqrt(a)).clamp(-1, 1)  # (3), (4)
    return (x - math.sqrt(a) * x0) / math.sqrt(1 - a), x0  # the noise again, so that it fits the clamped x0_hat


def draw(cfg, net, conditions, shape, device, guidance=None, seed=2):
    """Samples uint8 (N, H, W) or (N, H, W, 3) for conditions (N, K), equation (5); shape (C, H, W)."""
    chain, rng, parts = Chain(cfg.schedule, cfg.noise_steps, shape[0]), torch.Generator().manual_seed(cfg.seed + seed), []
    times = torch.linspace(chain.steps, 0, min(cfg.sample_steps, chain.steps) + 1).round().long().tolist()  # T, ..., 0
    for x, c in zip(torch.randn(len(conditions), *shape, generator=rng).split(250), conditions.split(250)):
        x, c = x.to(device), c.to(device)
        for t, s in pairwise(times):
            e, x0 = predict(cfg, net, chain, x, t, c, cfg.guidance if guidance is None else guidance, device)
            a, after = chain.a[t].item(), chain.a[s].item()
            v = min(1 - after, cfg.eta ** 2 * (1 - after) / (1 - a) * (1 - a / after))
            x = math.sqrt(after) * x0 + math.sqrt(max(0.0, 1 - after - v)) * e  # (5)
            x = x + math.sqrt(v) * torch.randn(x.shape, generator=rng).to(device)
        parts.append(x.cpu())
    return color.to_uint8((torch.cat(parts).clamp(-1, 1) + 1) / 2)


def unseen_conditions(cfg, net, data, shape, device, columns=9):
    """({title: samples}, {title: names of its rows}): the same noise under all categories; from one to the next; sums of two, and none."""
    categories, weight = one_hot(range(min(5, len(data.classes))), data), torch.linspace(0, 1, columns)[:, None]  # (5, K)
    nearby, short = list(pairwise(categories)), [name[:9] for name in data.classes[:5]]
    rows = {"each column: one noise": (short, list(categories[:, None].repeat(1, columns, 1))),
            "from one category to the next, one noise": ([f"{a} to {b}" for a, b in pairwise(short)], [
                c[None] for a, b in nearby for c in torch.lerp(a, b, weight)]),
            "two at once, and none": ([*(f"{a}, {b}" for a, b in pairwise(short)), "none"], [
                (a + b).repeat(columns, 1) for a, b in nearby] + [torch.zeros(columns, len(data.classes))])}
    # part by part, so that each begins with the same noise
    return {title: np.concatenate([draw(cfg, net, c, shape, device, seed=9) for c in conditions]) for title, (_, conditions) in rows.items()
            }, {title: names for title, (names, _) in rows.items()}


# ---- 7. Main ----------------------------------------------------------------------------------------

def main(cfg):
    common.require(cfg.width % 4 == 0, "--width", cfg.width, "a multiple of 4", "GroupNorm takes 4 channels together")
    data, device = color.load(cfg), common.setup(cfg)
    common.require(len(data.classes) > 1, cfg.data, "one category", "two or more", "with one there is nothing to ask for")
    judge, shape = Judge(cfg, data, device), data.x_train.shape[1:]
    folder, n = common.start(cfg, "cddpm" + "_grey" * cfg.grey, "sweep" if cfg.sweep else "metrics"), 20 if cfg.quick else 1000
    labels = np.repeat(np.arange(len(data.classes)), max(1, n * 5 // max(5, len(data.classes))))  # as many of each category
    few = labels[::max(1, len(labels) // 1000)]

    def score(c, net, labels, guidance=None):
        samples = draw(c, net, one_hot(labels, data), shape, device, guidance)
        right, diversity = judge.as_asked(samples, labels)
        some = np.random.default_rng(0).permutation(len(labels))[:len(data.x_test)]  # FID is measured on as many as there are test images
        return samples, {"fid": judge.fid(samples[some]), "accuracy": right, "diversity": diversity}

    if cfg.sweep:
        return sweep(cfg, folder, data.source, SWEEP, lambda c, name: score(c, train(c, data, device, folder / name)[0], few)[1], device)

    net, history = train(cfg, data, device, folder)
    samples, figures = score(cfg, net, labels)
    chain = Chain(cfg.schedule, cfg.noise_steps, shape[0])
    figures["test_loss"] = evaluate(cfg, net, chain, data.x_test, one_hot(data.y_test, data), device)
    print("FID {fid:.2f}; recognised as asked {accuracy:.1%}; diversity within a category {diversity:.2f}".format(**figures))
    scales = (1.0, 2.0) if cfg.quick else (0.0, 1.0, 1.5, 2.0, 3.0, 5.0)
    figures["guidance"] = [{"guidance": g} | score(cfg, net, few, g)[1] for g in scales]
    print("\n".join("guidance {guidance}: FID {fid:.2f}, as asked {accuracy:.1%}, diversity {diversity:.2f}".format(**row)
                    for row in figures["guidance"]))
    common.save(folder / "history.json", history)
    common.save(folder / "weights.pt", net)
    common.save(folder / "samples_labels.npy", labels)
    common.save(folder / "samples.npy", samples)
    common.plot_curves(cfg, folder / "curves.png", history, data.source, f"Conditional diffusion, error of the {cfg.weight}",
                       "squared error", left={"loss": "loss"})
    rows = np.concatenate([np.flatnonzero(labels == k)[:14] for k in range(min(6, len(data.classes)))])
    charts.plot_samples(cfg, folder / "samples.png", {"samples": samples[rows]}, data.source, row_names={"samples": data.classes[:6]})
    shown, names = unseen_conditions(cfg, net, data, shape, device)
    charts.plot_samples(cfg, folder / "conditions.png", shown, data.source, 9, names)
    charts.plot_lines(cfg, folder / "guidance.png", {"How good": ("FID", {"FID": "fid"}), "What was asked for?": ("share, ratio", {
        "recognised as asked": "accuracy", "diversity within a category": "diversity"})}, figures["guidance"], "guidance", data.source)
    common.finish(cfg, folder, data.source, device, net, history[-1]["seconds"], **figures)
    checkpoint.forget(folder)


if __name__ == "__main__":
    common.run(main, Config)
