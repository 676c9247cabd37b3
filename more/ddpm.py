"""Diffusion model: destroy drawings with noise, a little at a time, and learn to undo one step; then undo all of them.

A chain of T = 1,000 steps takes a drawing x_0 to noise x_T. A network sees x_t and t and says which noise is in it; with that,
noise x_T ~ N(0, I) is taken back, step by step, to a drawing that nobody drew. x is in [-1, 1].

    (1)  q(x_t | x_{t-1}) = N(sqrt(1 - beta_t) x_{t-1}, beta_t I)                      a step of the chain
    (2)  x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) eps,  a_t = prod_{s<=t} (1 - beta_s)      t steps at once; eps ~ N(0, I)
    (3)  loss = E w_t |eps - e(x_t, t)|^2 / D          over x_0, t uniform in 1..T, eps; D pixels times channels;
         e = sqrt(1 - a_t) x_t + sqrt(a_t) f(x_t, t),  f the network;  w_t = 1 / a_t, or 1 with --weight noise
    (4)  x0_hat = (x_t - sqrt(1 - a_t) e(x_t, t)) / sqrt(a_t)                          (2), solved for x_0
    (5)  q(x_{t-1} | x_t, x_0) = N(m, v I),  v = beta_t (1 - a_{t-1}) / (1 - a_t),
         m = [sqrt(a_{t-1}) beta_t x_0 + sqrt(1 - beta_t) (1 - a_{t-1}) x_t] / (1 - a_t)              by Bayes
    (6)  ancestral: x_{t-1} ~ (5) with x0_hat for x_0, for t = T..1; no noise at t = 1
    (7)  DDIM, t -> s < t: x_s = sqrt(a_s) x0_hat + sqrt(1 - a_s - v) e + sqrt(v) eps,
         v = min(1 - a_s, eta^2 (1 - a_s) / (1 - a_t) (1 - a_t / a_s)), or 1 - a_s, all noise new, where a_s >= fresh;
         with fresh = 1: eta = 1 and s = t - 1 is (6), eta = 0 has no noise at all
    (8)  -ln p(x_0) <= KL(q(x_T | x_0) || N(0, I)) + E [sum_{t>1} KL((5) || (6)) - ln p(x_0 | x_1)]     over x_1..x_T given x_0
    (9)  linear: beta_t from 0.1/T to 20/T;  cosine: a_t = cos^2((t/T + 0.008) / 1.008 * pi/2) / (its value at t = 0);
         then, for C channels, a_t / (1 - a_t) is divided by C: they show the same lines, and noise averages out over them
    (10) guidance, in samples only: e <- e' + g (e - e'),  e' of the weights after a fifth of the updates

Why f: at t = T, x_t is noise alone, at t = 1 nearly the drawing. sqrt(1 - a_t) x_t is a good guess of eps that costs nothing, and f looks
for the rest, the velocity u = sqrt(a_t) eps - sqrt(1 - a_t) x_0, as large at every t; without f, (4) divides e's error by almost 0 near
T. |eps - e|^2 = a_t |u - f|^2: w_t = 1 / a_t makes (3) the error of u. With w_t = 1, as Ho et al. have it, large t hardly count, where it
is decided what to draw. (8)'s terms are (3) with w_t = beta_t^2 / (2 v (1 - beta_t) (1 - a_t)).
Why more noise than (5)'s: for the right x_0 any v up to 1 - a_s gives x_s the distribution (2). The net's x0_hat is wrong, and its error
is in x_s, through e. Fresh noise in place of e lets the next steps forget it. While there is more noise in x_t than drawing, x0_hat is a
mean of many drawings, and new noise alone would forget what was decided: eta = 1.5. Later all noise may be new: fresh = 1/2.
Why (10): where a net cannot decide, (3) makes it answer with a mean, and samples end between drawings. A younger one errs alike, and
more; from e' to e is from worse to better, and g > 1 goes on in that direction (autoguidance, Karras et al. 2024).
Score matching: grad ln q(x_t | x_0) = -eps / sqrt(1 - a_t), and what (3) learns is the mean of eps given x_t; so -e / sqrt(1 - a_t)
is the score grad ln q(x_t) (Vincent 2011; Song and Ermon 2019): (6) climbs, with noise, the density of ever less noisy drawings.
Papers: Ho et al. 2020, sections 2 and 3, for (1) to (6), (8); Song, Meng and Ermon 2021, equations 12, 16, for (7); Nichol and Dhariwal
2021, equation 17, and Chen 2023 for (9); Salimans and Ho 2022, section 4, for f; Dhariwal and Nichol 2021, section 3.1, for gain and shift.
Run:    python -m more.ddpm --data DATA --out OUT [--grey] [--resume]      (or: make ddpm)
Writes: OUT/ddpm/ (ddpm_grey/) weights.pt, early.pt (e'), history.json, samples.npy, metrics.json; pictures curves, samples,
        denoising, steps; while it runs checkpoint.pt; with --sweep sweep.json, sweep.md, sweep.png
Result: seed 0, one thread, 30 minutes, 488,707 weights: FID of 800 samples, painted, 4.0 (conv_vae.py: 45.0), grey 0.8 (52.9); bound 2.02,
        2.30 bits. 500 samples, painted, g 1: eta 0, 10, 20, 50, 250 steps: 23, 22, 21, 21; eta 1, 50, 250: 16, 16; as set 7.2; g 1.5: 3.2.
        Blots: 7 %, grey 9 (real: 2). --sweep, 2,000 updates, g = 1: 33; w_t = 1 49, linear 52, width 32 25, batches of 32 24 (settings.md)
"""

import copy
import math
import time
from dataclasses import dataclass, replace
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

# Shapes: B batch, C channels of an image, H = W pixels, M channels in the net's first layer, E numbers that code t, N drawings.


# ---- 1. Settings ------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Config(color.Settings):
    width: int = 16  # M, of 4s, as GroupNorm's groups; half the resolution has twice, a quarter four times as many
    schedule: Literal["cosine", "linear"] = "cosine"  # (9); linear has destroyed small images well before T
    noise_steps: int = 1000  # T
    weight: Literal["velocity", "noise"] = "velocity"  # w_t in (3): the error of u, or of eps
    dropout: float = 0.0  # in the residual blocks; 0.1 costs a sixth of the time
    steps: int = 10000  # weight updates; fixed, so that any number of drawings takes about the same time
    epochs: int = 0  # passes over the training drawings; 0: as many as `steps` needs
    batch_size: int = 64  # drawings an update
    lr: float = 2e-3  # highest learning rate of the one-cycle schedule
    ema: float = 0.999  # the weights that draw are a mean over the last tenth of the updates so far, or 1 / (1 - ema) if that is fewer
    shift: int = 0  # pixels by up to which training drawings are moved; 0: what it sees moved it draws moved, unlike the real ones
    mirror: float = 0.5  # share of training drawings that are mirrored, and drawn so: none becomes another category; of digits 0
    sample_steps: int = 50  # S, steps of (7) for samples.npy
    eta: float = 1.5  # in (7): how much of the noise is new, while there is more of it than of the drawing
    fresh: float = 0.5  # in (7): the a_s from which all of it is new; 1: never
    guidance: float = 1.5  # g in (10); 1: none, and half the time; 2 has a lower FID, but blots and too much ink
    save_every: int = 5  # epochs between checkpoints
    resume: bool = False  # continue a run that was interrupted
    sweep: bool = False  # compare settings, each trained for a fifth of `steps`, instead of a run
    MAY_BE_ZERO = common.Settings.MAY_BE_ZERO | {"eta"}


SWEEP = {"as it stands": {}, "w = 1": {"weight": "noise"}, "linear": {"schedule": "linear"}, "width 32": {"width": 32}, "moved by 2": {
    "shift": 2}, "dropout 0.1": {"dropout": 0.1}, "lr 1e-3": {"lr": 1e-3}, "lr 4e-3": {"lr": 4e-3}, "batches of 32": {"batch_size": 32},
    "no mean of the weights": {"ema": 1e-9}}  # as good as 0, which --ema refuses
SAMPLERS = [dict(zip(("sample_steps", "eta", "fresh", "guidance"), way)) for way in (
    (10, 0, 1, 1), (20, 0, 1, 1), (50, 0, 1, 1), (250, 0, 1, 1), (50, 1, 1, 1), (250, 1, 1, 1), (50, 1.5, 0.5, 1), (50, 1.5, 0.5, 1.5))]


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
        nn.init.zeros_(self.conv2.weight), nn.init.zeros_(self.conv2.bias)  # at first it is its way around: it learns like a shallow net
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
    """Noisy images (B, C, H, H), t (B,) -> their noise, e in (3): down to where a place sees all, up with what the way down knew: a U."""

    def __init__(self, channels, width, dropout, chain):
        super().__init__()
        self.register_buffer("a", chain.a.float(), persistent=False)  # moves to the device with the weights, is not one of them
        code, (m1, m2, m4) = 4 * width, (width, 2 * width, 4 * width)
        self.code = nn.Sequential(nn.Linear(64 + channels, code), nn.SiLU(), nn.Linear(code, code), nn.SiLU())
        self.first, self.down1 = nn.Conv2d(channels, m1, kernel_size=3, padding=1), ResBlock(m1, m1, code, dropout)
        self.half1, self.down2 = nn.Conv2d(m1, m1, kernel_size=3, stride=2, padding=1), ResBlock(m1, m2, code, dropout)
        self.half2, self.down3 = nn.Conv2d(m2, m2, kernel_size=3, stride=2, padding=1), ResBlock(m2, m4, code, dropout)
        self.mid1, self.attention, self.mid2 = ResBlock(m4, m4, code, dropout), Attention(m4), ResBlock(m4, m4, code, dropout)
        self.up3, self.fewer2 = ResBlock(m4 + m4, m4, code, dropout), nn.Conv2d(m4, m2, kernel_size=3, padding=1)
        self.up2, self.fewer1 = ResBlock(m2 + m2, m2, code, dropout), nn.Conv2d(m2, m1, kernel_size=3, padding=1)
        self.up1 = ResBlock(m1 + m1, m1, code, dropout)
        self.norm, self.last = nn.GroupNorm(m1 // 4, m1), nn.Conv2d(m1, channels, kernel_size=3, padding=1)
        nn.init.zeros_(self.last.weight), nn.init.zeros_(self.last.bias)  # f begins as 0: the first guess at the noise is sqrt(1 - a_t) x_t

    def forward(self, x, t):
        # of t and of the mean colour: its noise is 1/H of a pixel's: known before any line, and GroupNorm takes most of it from the blocks
        code = self.code(torch.cat([time_code(t.float()), 8 * x.mean(dim=(2, 3))], dim=1))  # (B, E)
        h1 = self.down1(self.first(x), code)  # (B, M, H, H)
        h2 = self.down2(self.half1(h1), code)  # (B, 2 M, H/2, H/2)
        h3 = self.down3(self.half2(h2), code)  # (B, 4 M, H/4, H/4)
        h = self.mid2(self.attention(self.mid1(h3, code)), code)  # (B, 4 M, H/4, H/4)
        h = self.up3(torch.cat([h, h3], dim=1), code)  # (B, 4 M, H/4, H/4)
        # nearest neighbours, then convolutions; channels are reduced before: at twice the size each costs four times as much
        h = self.up2(torch.cat([F.interpolate(self.fewer2(h), scale_factor=2), h2], dim=1), code)  # (B, 2 M, H/2, H/2)
        h = self.up1(torch.cat([F.interpolate(self.fewer1(h), scale_factor=2), h1], dim=1), code)  # (B, M, H, H)
        a = self.a[t][:, None, None, None]  # (B, 1, 1, 1)
        return (1 - a).sqrt() * x + a.sqrt() * self.last(F.silu(self.norm(h))).float()  # e in (3), (B, C, H, H)


class Chain:
    """The noise's constants, float64 tensors of T + 1 numbers: index t is step t, a[0] = 1. Raises common.InputError."""

    def __init__(self, schedule, steps, channels=1):
        a = torch.cos((torch.linspace(0, 1, steps + 1, dtype=torch.float64) + 0.008) / 1.008 * math.pi / 2) ** 2
        linear = torch.linspace(0.1 / steps, 20 / steps, steps, dtype=torch.float64)  # Ho et al.'s 1e-4 to 0.02 at T = 1,000
        beta = (linear if schedule == "linear" else 1 - a[1:] / a[:-1]).clamp(max=0.999)  # (1), (9); with 1, a_T = 0, and (4) divides by it
        a = torch.cat([torch.ones(1, dtype=torch.float64), (1 - beta).cumprod(dim=0)])
        self.steps, self.a = steps, a / (a + channels * (1 - a))  # a / (1 - a) becomes a C-th of that
        self.beta = torch.cat([torch.zeros(1, dtype=torch.float64), 1 - self.a[1:] / self.a[:-1]])
        common.require(self.a[-1] < 1e-3, "--noise-steps", f"a_T = {self.a[-1]:.2g}", "less than 1e-3, x_T being noise alone", "give more")

    def noise(self, x0, t, eps):
        """Equation (2); x0, eps (B, C, H, H), t (B,)."""
        a = self.a.to(x0)[t][:, None, None, None]  # one number for each image
        return a.sqrt() * x0 + (1 - a).sqrt() * eps

    def posterior(self, x0, x, t):
        """(m, v) of equation (5) for one t."""
        a, before, beta = self.a[t].item(), self.a[t - 1].item(), self.beta[t].item()
        return ((math.sqrt(before) * beta * x0 + math.sqrt(1 - beta) * (1 - before) * x) / (1 - a), beta * (1 - before) / (1 - a))


# ---- 3. Loss ----------------------------------------------------------------------------------------

def diffusion_loss(net, chain, x0, t, eps, weight="velocity"):
    """Equation (3), a mean over pixels, channels and images."""
    error = ((net(chain.noise(x0, t, eps), t) - eps) ** 2).mean(dim=(1, 2, 3))  # (2), (B,)
    return (error / chain.a.to(error)[t]).mean() if weight == "velocity" else error.mean()  # (3)


# ---- 4. Training ------------------------------------------------------------------------------------

def train(cfg, data, device, folder):
    """The whole loop; returns (averaged net, the same after a fifth, history). Saves itself every few epochs; --resume continues."""
    torch.manual_seed(cfg.seed)  # of the first weights, and of dropout
    chain, x_train = Chain(cfg.schedule, cfg.noise_steps, data.x_train.shape[1]), torch.from_numpy(data.x_train)
    net = UNet(data.x_train.shape[1], cfg.width, cfg.dropout, chain).to(device)
    per_epoch = max(1, len(x_train) // cfg.batch_size)  # updates; drawings that fill no batch are left out until the next shuffle
    epochs = cfg.epochs or max(1, round(cfg.steps / per_epoch))
    # a mean of the last weights: the updates' noise averages out, its samples are cleaner; and as it was after a fifth of the training
    average, early = (copy.deepcopy(net).requires_grad_(False) for _ in range(2))
    optimizer = torch.optim.Adam(net.parameters(), lr=cfg.lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, cfg.lr, total_steps=max(11, epochs * per_epoch), pct_start=0.1,
                                                   cycle_momentum=False)
    rng = torch.Generator().manual_seed(cfg.seed)  # its own: order, t and eps depend on nothing else
    states = [net, average, early, optimizer, schedule]
    kept = checkpoint.load(folder / "checkpoint.pt", cfg, __file__, [rng], states)
    history, step, begin = kept["history"], kept["step"], time.time() - kept["seconds"]
    for epoch in range(kept["epoch"] + 1, epochs + 1):
        x_epoch = common.augment(x_train, rng, cfg.shift, cfg.mirror) * 2 - 1  # [0, 1] -> [-1, 1]: the noise's mean is in the middle
        order, total = torch.randperm(len(x_train), generator=rng)[:per_epoch * cfg.batch_size], 0.0
        for batch in common.progress(order.split(cfg.batch_size), f"epoch {epoch}/{epochs}, step {step}"):
            x0, t = x_epoch[batch], torch.randint(1, cfg.noise_steps + 1, (len(batch),), generator=rng)  # (B, C, H, H), (B,)
            eps = torch.randn(x0.shape, generator=rng)  # (B, C, H, H)
            with common.autocast(cfg, device):
                loss = diffusion_loss(net, chain, x0.to(device), t.to(device), eps.to(device), cfg.weight)  # (2), (3)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), max_norm=1.0)
            optimizer.step()
            schedule.step()
            step, total = step + 1, total + loss.item() * len(batch)
            with torch.no_grad():  # a memory that grows with the run: else the mean would be of the random first weights
                for mean, new in zip(average.parameters(), net.parameters()):
                    mean.lerp_(new, 1 - min(cfg.ema, step / (step + 10)))
        history.append({"epoch": epoch, "train_loss": total / len(order), "seconds": time.time() - begin,
                        "val_loss": evaluate(cfg, average, chain, data.x_val, device)})
        print("epoch {epoch:3d}/{0}  step {1:5d}  loss: train {train_loss:.4f}  validation (averaged) {val_loss:.4f}  {seconds:6.1f} s, "
              "{2:.0f} left".format(epochs, step, (time.time() - begin) * (epochs / epoch - 1), **history[-1]), flush=True)
        early.load_state_dict(average.state_dict()) if epoch == max(1, epochs // 5) else None  # e' in (10)
        if epoch % cfg.save_every == 0 and epoch < epochs:
            checkpoint.save(folder / "checkpoint.pt", cfg, __file__, [rng], states, epoch, step, time.time() - begin, history)
    return average.eval(), early.eval(), history


# ---- 5. Evaluation ----------------------------------------------------------------------------------

@torch.no_grad()
def evaluate(cfg, net, chain, images, device):
    """Equation (3) on images (N, C, H, H) in [0, 1], one t and eps each, the same at every call."""
    net.eval()
    rng, total = torch.Generator().manual_seed(cfg.seed + 1), 0.0
    for x in torch.from_numpy(images).split(500):
        t, eps = torch.randint(1, cfg.noise_steps + 1, (len(x),), generator=rng), torch.randn(x.shape, generator=rng)
        with common.autocast(cfg, device):
            total += diffusion_loss(net, chain, x.to(device) * 2 - 1, t.to(device), eps.to(device), cfg.weight).item() * len(x)
    return total / len(images)


def predict(cfg, net, chain, x, t, device):
    """(noise e, x0_hat of equation (4)) for images x (B, C, H, H) that are all at step t. A gradient may pass (inpaint.py)."""
    with common.autocast(cfg, device):
        e = net(x, torch.full((len(x),), t, device=device))
    a = chain.a[t].item()
    x0 = ((x - math.sqrt(1 - a) * e) / math.sqrt(a)).clamp(-1, 1)  # (4); what f gets wrong may lie outside, and would be carried on
    return (x - math.sqrt(a) * x0) / math.sqrt(1 - a), x0  # e again, so that it fits the clamped x0_hat


def sample_ancestral(cfg, net, chain, x, rng, device):
    """Equation (6): noise x (B, C, H, H) -> images in [-1, 1]; T steps. What (7) is compared with, in tests: no run draws by it."""
    for t in range(chain.steps, 0, -1):
        m, v = chain.posterior(predict(cfg, net, chain, x, t, device)[1], x, t)  # (4), (5)
        x = m if t == 1 else m + math.sqrt(v) * torch.randn(x.shape, generator=rng).to(device)  # the last mean is the image: v = 0
    return x


def sample_ddim(cfg, net, chain, x, rng, device, steps, eta=0.0, fresh=1.0, path=None):
    """Equation (7): noise x (B, C, H, H) -> images in [-1, 1], in `steps` of the T. path: a list that collects (t, x, x0_hat)."""
    times = torch.linspace(chain.steps, 0, min(steps, chain.steps) + 1).round().long().tolist()  # T, ..., 0
    for t, s in pairwise(times):
        e, x0 = predict(cfg, net, chain, x, t, device)  # (4)
        path.append((t, x, x0)) if path is not None else None
        a, after = chain.a[t].item(), chain.a[s].item()
        v = (1 - after) * (min(1.0, eta ** 2 / (1 - a) * (1 - a / after)) if after < fresh else 1.0)  # 0 at s = 0: no noise
        x = math.sqrt(after) * x0 + math.sqrt(1 - after - v) * e  # (7)
        if v > 0:
            x = x + math.sqrt(v) * torch.randn(x.shape, generator=rng).to(device)
    return x


def draw(cfg, net, early, n, shape, device, seed=2, path=None):
    """n samples uint8 (n, H, W) or (n, H, W, 3); shape (C, H, W). Without no_grad: the averaged weights need no gradient."""
    rng, chain = torch.Generator().manual_seed(cfg.seed + seed), Chain(cfg.schedule, cfg.noise_steps, shape[0])
    guided = net if cfg.guidance == 1 else lambda x, t: torch.lerp(early(x, t), net(x, t), cfg.guidance)  # (10): lerp goes on beyond 1
    x = torch.cat([sample_ddim(cfg, guided, chain, x.to(device), rng, device, cfg.sample_steps, cfg.eta, cfg.fresh, path).cpu()
                   for x in torch.randn(n, *shape, generator=rng).split(250)])
    return color.to_uint8((x + 1) / 2)  # in [-1, 1]: the last x is x0_hat


@torch.no_grad()
def bound(cfg, net, images, device, per_image=50):
    """Equation (8) in bits per dimension (ln 2 nats a bit, D pixels times channels), on images (N, C, H, H) in [0, 1] with 256 values."""
    chain, rng = Chain(cfg.schedule, cfg.noise_steps, images.shape[1]), torch.Generator().manual_seed(cfg.seed + 4)
    x0, a = (torch.from_numpy(images) * 2 - 1).to(device), chain.a[-1].item()
    nats = 0.5 * (a * x0 ** 2 - a - math.log(1 - a)).mean().item()  # KL(N(sqrt(a) x0, 1 - a) || N(0, 1)) of one number
    for low, high in pairwise(np.linspace(2, chain.steps + 1, min(per_image, chain.steps - 1) + 1).astype(int).tolist()):  # t > 1, by parts
        t = torch.randint(low, high, (1,), generator=rng).item()  # one t, for all images, stands for its part
        x = chain.noise(x0, torch.full((len(x0),), t), torch.randn(x0.shape, generator=rng).to(device))
        true, v = chain.posterior(x0, x, t)
        guess, _ = chain.posterior(predict(cfg, net, chain, x, t, device)[1], x, t)
        nats += (high - low) * ((true - guess) ** 2).mean().item() / (2 * v)  # equal variances: the KL is |difference|^2 / 2 v
    # p(x_0 | x_1): N(x0_hat, beta_1), as (5)'s v is 0 there; its mass on the pixel's bin of width 2/255, the outermost reach to infinity
    x = chain.noise(x0, torch.ones(len(x0), dtype=torch.long), torch.randn(x0.shape, generator=rng).to(device))
    gauss = torch.distributions.Normal(predict(cfg, net, chain, x, 1, device)[1].cpu().double(), chain.beta[1].sqrt())  # float64: on CPU
    upper = torch.where(x0.cpu() > 0.999, 1.0, gauss.cdf(x0.cpu().double() + 1 / 255))
    lower = torch.where(x0.cpu() < -0.999, 0.0, gauss.cdf(x0.cpu().double() - 1 / 255))
    return (nats - (upper - lower).clamp(min=1e-12).log().mean().item()) / math.log(2)


# ---- 7. Main ----------------------------------------------------------------------------------------

def main(cfg):
    common.require(cfg.width % 4 == 0, "--width", cfg.width, "a multiple of 4", "GroupNorm takes 4 channels together")
    data, device = color.load(cfg), common.setup(cfg)
    judge, shape = Judge(cfg, data, device), data.x_train.shape[1:]
    folder = common.start(cfg, "ddpm" + "_grey" * cfg.grey, "sweep" if cfg.sweep else "metrics")
    if cfg.sweep:
        return sweep(cfg, folder, data.source, SWEEP, lambda c, name: {"FID": judge.fid(draw(c, *train(c, data, device, folder)[:2], len(
            data.x_test), shape, device))}, device)

    net, early, history = train(cfg, data, device, folder)
    for name, content in (("history.json", history), ("weights.pt", net), ("early.pt", early)):
        common.save(folder / name, content)
    samples, path = draw(cfg, net, early, 100 if cfg.quick else 5000, shape, device), []
    chain, _ = Chain(cfg.schedule, cfg.noise_steps, shape[0]), draw(cfg, net, early, 12, shape, device, seed=0, path=path)
    figures = {"test_loss": evaluate(cfg, net, chain, data.x_test, device), "fid": judge.fid(samples[:len(data.x_test)]),
               "test_bits_per_dimension": bound(cfg, net, np.random.default_rng(0).permutation(data.x_test)[:200], device),
               "samplers": judge.compare({f"{c.sample_steps} steps, eta {c.eta}" + ", fresh" * (c.fresh < 1) + f", g {c.guidance}": (
                   lambda c=c: draw(c, net, early, len(samples) // 10, shape, device)) for c in (replace(cfg, **way) for way in SAMPLERS)})}
    print("test loss {test_loss:.4f}, estimated bound {test_bits_per_dimension:.3f} bits per dimension; FID {fid:.2f}".format(**figures))
    common.save(folder / "samples.npy", samples)
    common.plot_curves(cfg, folder / "curves.png", history, data.source, f"Error of the {cfg.weight}", "squared error", {"loss": "loss"})
    charts.plot_samples(cfg, folder / "samples.png", {f"samples, {cfg.sample_steps} steps of (7) with (10)": samples[:84]}, data.source)
    charts.plot_denoising(cfg, folder / "denoising.png", path, data.source)
    charts.plot_samplers(cfg, folder / "steps.png", figures["samplers"], data.source)
    common.finish(cfg, folder, data.source, device, net, history[-1]["seconds"], **figures)
    checkpoint.forget(folder)


if __name__ == "__main__":
    common.run(main, Config)
