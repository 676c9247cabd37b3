"""Generative adversarial network: one network draws, another tries to tell its drawings from real ones; both learn.

No likelihood and no reconstruction: the generator G turns noise z into an image and never sees a real one. All it
learns comes through the discriminator D, which is shown real images and G's and says how real each looks.

    (1)  z ~ N(0, I) in R^L,  x = G(z);  D(x) = sigmoid(d(x)), d a logit: the probability that x is real
    (2)  D maximises  V = E ln D(x_real) + E ln (1 - D(G(z)))               binary cross-entropy with labels 1 and 0
    (3)  minimax: G minimises  E ln (1 - D(G(z)))                           dL/dd = -D
    (4)  non-saturating: G minimises  -E ln D(G(z))                         dL/dd = D - 1
    (5)  R1: D also pays  gamma / 2 E |grad_x d(x_real)|^2                  D is not to get steep where the real images are
    (6)  W <- W / s(W),  s the largest singular value of each of D's weights, as a matrix     spectral norm: nor anywhere else
    (7)  W_mean <- c W_mean + (1 - c) W                                     mean of G's weights; it draws the samples

For the best D, p_real / (p_real + p_G), V is 2 JS(p_real, p_G) - ln 4: by (3) G then minimises the Jensen-Shannon divergence (by (4)
not quite), and at p_G = p_real D says 1/2 and loses ln 4 = 1.386. Not the other way round: a D that is too weak loses ln 4 as well.
(3) and (4) have the same fixed point and gradients of the same direction for each image, but not of the same size: of an
image that D surely rejects (D = 0.01) (3) hands back -0.01 and (4) -0.99: (3) listens to those that fool D already.

Why (5): real and drawn images lie on surfaces that hardly meet, so that a D that tells them perfectly always exists, a cliff between
the two, and flat wherever G's images are: (4) mends dL/dd, not dd/dx, which is 0. And once G draws real images, a steep D drives it away.

The losses tell which player is ahead, not how good G is: FID tells, and so does the eye. With 2,880 drawings D tends to learn them by
heart, and then says of validation drawings what it says of G's. So D sees every image, real or not, moved by up to `translate` pixels
at random (Zhao et al. 2020). G gains nothing by drawing moved images: moved once more they would reach farther than real ones do.

Mode collapse: nothing in (4) asks for variety. If G is trained on while D stands still (with five times its learning rate, to
be quick), all z move to the few images that D likes best. Shown on purpose at the end, and measured: diversity (1 is that of real
images), and the entropy of the categories that the judge sees. In grey G draws a few drawings again and again: in 50 updates the
diversity falls from 0.97 to 0.34. Painted it falls to 0.14, and by 500 to 0.01, with bright bars: where D was shown nothing it may err.

Papers: Goodfellow et al. 2014, section 3 for (4), 4.1 for the best D; Radford et al. (DCGAN) 2016, sections 3, 4; Mescheder et al. 2018,
section 4.1, equation 9, for (5); Miyato et al. 2018, section 2.1, for (6); Salimans et al. 2016, section 3.4, for smooth labels;
Heusel et al. 2017, section 2, for two rates; Arjovsky and Bottou 2017, section 2, for the two surfaces.

Run:    python -m more.gan --data DATA --out OUT [--grey] [--resume]      (or: make gan)
Writes: OUT/gan/ (gan_grey/) weights.pt, history.json, samples.npy, metrics.json; pictures samples, balance,
        latent, collapse; while it runs checkpoint.pt; with --sweep sweep.json, sweep.md, sweep.png
Result: seed 0, one thread: FID of 800 samples, painted, 8.6 (conv_vae.py's: 45.0), diversity 0.96; grey 13.0 (52.9), 0.98; 15 to 18 minutes
        each. G has 242,323 weights, D 78,321. Test (2) 1.32, (4) 0.68. In the first epoch, D ahead, (3) hands G half the gradient of (4)
        (in grey a sixth); from the twentieth on D is near 1/2 and their ratio 0.95, in single epochs 0.5 to 2.7. D's loss is then 1.29 to
        1.34, below ln 4, and tells nothing while FID falls. --sweep, painted, 2,400 updates: FID 48; without R1 78, gamma 10 68, spectral
        norm for it 72, D sees all in place 65. No difference: minimax 49, labels 0.9 47, D twice as fast 43, no mean (7) 43.
"""

import copy
import time
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils import parametrize

import common
from more import charts, checkpoint, color
from more.score import Judge
from more.sweep import sweep

# Shapes: B batch, C channels of an image, H = W pixels, M channels of the last layers, L numbers in z, N images.


# ---- 1. Settings ------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Config(color.Settings):
    latent_dim: int = 64  # L
    width: int = 16  # M; G has 4 M, 2 M, M channels on its way up, D the reverse on its way down
    loss: Literal["non_saturating", "minimax"] = "non_saturating"  # (4) or (3)
    r1: float = 1.0  # gamma in (5)
    r1_every: int = 8  # every so many updates (5) is added, so many times as strong (Karras et al. 2020): it costs a second backward
    spectral: Literal["on", "off"] = "off"  # (6): on, with --r1 0, in place of (5)
    smooth: float = 0.0  # labels 1 - smooth of real images; of drawn ones 0: else D would praise G where no real image is
    ema: float = 0.998  # c in (7)
    lr: float = 1e-3  # learning rate of G
    lr_ratio: float = 1.0  # D's over G's
    translate: int = 3  # pixels by up to which D sees every image moved, real or not
    mirror: float = 0.5  # share of training images that are mirrored
    steps: int = 12000  # updates of each network; fixed, so that any number of images takes about the same time
    epochs: int = 0  # passes over the training images; 0: as many as `steps` needs
    batch_size: int = 64  # images an update
    save_every: int = 10  # epochs between checkpoints
    resume: bool = False  # continue a run that was interrupted
    sweep: bool = False  # each trick on and off, trained for a fifth of `steps`, instead of a run

    MAY_BE_ZERO, AT_MOST = common.Settings.MAY_BE_ZERO | {"translate", "r1"}, common.Settings.AT_MOST | {"smooth": 0.4}


SWEEP = {"as it stands": {}, "minimax loss": {"loss": "minimax"}, "no R1": {"r1": 0.0}, "R1 with gamma 10": {"r1": 10.0},
         "spectral norm for R1": {"r1": 0.0, "spectral": "on"}, "labels 0.9": {"smooth": 0.1}, "D twice as fast": {"lr_ratio": 2.0},
         "no mean of the weights": {"ema": 1e-9}, "D sees all in place": {"translate": 0}}


# ---- 2. Model ---------------------------------------------------------------------------------------

class Generator(nn.Module):
    """z (B, L) -> images (B, C, H, H) in [0, 1]."""

    def __init__(self, cfg, channels):
        super().__init__()
        m, side = cfg.width, cfg.size // 4
        self.layers = nn.Sequential(  # (B, L)
            nn.Linear(cfg.latent_dim, 4 * m * side ** 2, bias=False), nn.Unflatten(1, (4 * m, side, side)),  # (B, 4 M, H/4, H/4)
            # BatchNorm in G: without it all z begin with nearly the same image. Not in D, where real and drawn images would
            # share statistics, or have their own and be told apart by these. Kernel 4 is twice the stride: as many terms for every pixel.
            nn.BatchNorm2d(4 * m), nn.ReLU(),
            nn.ConvTranspose2d(4 * m, 2 * m, kernel_size=4, stride=2, padding=1, bias=False),  # (B, 2 M, H/2, H/2)
            nn.BatchNorm2d(2 * m), nn.ReLU(),
            nn.ConvTranspose2d(2 * m, m, kernel_size=4, stride=2, padding=1, bias=False), nn.BatchNorm2d(m), nn.ReLU(),  # (B, M, H, H)
            nn.Conv2d(m, channels, kernel_size=3, padding=1))  # (B, C, H, H)

    def forward(self, z):
        return torch.sigmoid(self.layers(z).float())  # (1), the range of the real images


class SpectralNorm(nn.Module):
    """Equation (6) for a weight (out, in, ...), seen as a matrix (out, in * ...)."""

    def __init__(self, weight):
        super().__init__()
        self.register_buffer("u", F.normalize(torch.randn(len(weight)), dim=0))

    def forward(self, weight):
        matrix = weight.flatten(1)
        with torch.no_grad():  # power iteration: u -> M M^T u turns u to the first singular vector; W changes little, one step will do
            v = F.normalize(matrix.T @ self.u, dim=0)
            if self.training:  # in evaluation u stands still
                self.u.copy_(F.normalize(matrix @ v, dim=0))
            u = self.u.clone()  # D is called again before backward(), and the next call changes u in place
        return weight / (u @ matrix @ v)  # u^T M v = s(W); the gradient passes through M, not through u and v


class Discriminator(nn.Module):
    """Images (B, C, H, H) -> logits d (B,). No sigmoid: the loss is computed from logits."""

    def __init__(self, cfg, channels):
        super().__init__()
        m = cfg.width
        self.layers = nn.Sequential(  # (B, C, H, H)
            nn.Conv2d(channels, m, kernel_size=4, stride=2, padding=1), nn.LeakyReLU(0.2),  # (B, M, H/2, H/2)
            # LeakyReLU: G learns through D alone, and a dead ReLU would pass nothing on
            nn.Conv2d(m, 2 * m, kernel_size=3, padding=1), nn.LeakyReLU(0.2),  # (B, 2 M, H/2, H/2)
            nn.Conv2d(2 * m, 4 * m, kernel_size=4, stride=2, padding=1), nn.LeakyReLU(0.2),  # (B, 4 M, H/4, H/4)
            nn.Conv2d(4 * m, 4 * m, kernel_size=3, padding=1), nn.LeakyReLU(0.2), nn.Flatten(),
            nn.Linear(4 * m * (cfg.size // 4) ** 2, 1))  # (B, 1)
        for layer in self.layers if cfg.spectral == "on" else ():
            if isinstance(layer, nn.Conv2d | nn.Linear):  # from here on layer.weight is SpectralNorm(W), and W is what learns
                parametrize.register_parametrization(layer, "weight", SpectralNorm(layer.weight))

    def forward(self, x):
        return self.layers(x).float().squeeze(1)  # (B,)


def translate(x, most, rng):
    """Each image of x (B, C, H, H) moved by up to `most` pixels, black comes in; a gradient passes through."""
    side, offsets = x.shape[2], torch.randint(2 * most + 1, (2, len(x), 1), generator=rng).to(x.device)
    rows, columns = offsets + torch.arange(side, device=x.device)  # (B, H) each
    n, c = torch.arange(len(x), device=x.device)[:, None, None, None], torch.arange(x.shape[1], device=x.device)[:, None, None]
    # image, channel, row and column of every pixel, broadcast to (B, C, H, H)
    return F.pad(x, (most,) * 4)[n, c, rows[:, None, :, None], columns[:, None, None, :]]  # (B, C, H, H)


# ---- 3. Loss ----------------------------------------------------------------------------------------

def discriminator_loss(real, drawn, smooth=0.0):
    """-V of (2) from logits (B,) each, in nats; real images are labelled 1 - smooth."""
    return (F.binary_cross_entropy_with_logits(real, torch.full_like(real, 1 - smooth))
            + F.binary_cross_entropy_with_logits(drawn, torch.zeros_like(drawn)))  # (2)


def generator_loss(drawn, kind):
    """(3) or (4) from logits (B,)."""
    if kind == "minimax":
        return F.logsigmoid(-drawn).mean()  # (3): ln (1 - sigmoid(d)) = ln sigmoid(-d)
    return -F.logsigmoid(drawn).mean()  # (4)


def steepness(d, real):
    """E |grad_x d(x)|^2 of (5) at images (B, C, H, H); a gradient passes through it, to D's weights."""
    real = real.detach().requires_grad_(True)  # a leaf of its own: the caller's tensor is not marked
    gradient, = torch.autograd.grad(d(real).sum(), real, create_graph=True)  # of the sum: each logit depends on its own image only
    return (gradient ** 2).sum(dim=(1, 2, 3)).mean()


# ---- 4. Training ------------------------------------------------------------------------------------

def train(cfg, data, device, folder):
    """The whole loop; returns (G with mean weights, G, D, history). Saves itself every few epochs; --resume continues."""
    torch.manual_seed(cfg.seed)
    g, d = (net(cfg, data.x_train.shape[1]).to(device) for net in (Generator, Discriminator))
    mean, x_train = copy.deepcopy(g).requires_grad_(False), torch.from_numpy(data.x_train)
    per_epoch = max(1, len(x_train) // cfg.batch_size)  # updates
    epochs = cfg.epochs or max(1, round(cfg.steps / per_epoch))
    # betas lower than usual (beta1 as in Radford et al., section 4): the loss of each is moved by the other, old gradients soon mean little
    optimizer_g = torch.optim.Adam(g.parameters(), lr=cfg.lr, betas=(0.5, 0.99))
    optimizer_d = torch.optim.Adam(d.parameters(), lr=cfg.lr * cfg.lr_ratio, betas=(0.5, 0.99))
    rng = torch.Generator().manual_seed(cfg.seed)
    states = [g, d, mean, optimizer_g, optimizer_d]
    kept = checkpoint.load(folder / "checkpoint.pt", cfg, __file__, [rng], states)
    history, step, begin = kept["history"], kept["step"], time.time() - kept["seconds"]
    for epoch in range(kept["epoch"] + 1, epochs + 1):
        g.train(), d.train()
        x_epoch = common.augment(x_train, rng, 0, cfg.mirror)  # real ones only: G may learn to draw mirrored images, not moved ones
        order, sums = torch.randperm(len(x_train), generator=rng)[:per_epoch * cfg.batch_size], np.zeros(4)
        for batch in common.progress(order.split(cfg.batch_size), f"epoch {epoch}/{epochs}, step {step}"):
            real = x_epoch[batch].to(device)  # (B, C, H, H)
            z = torch.randn(len(batch), cfg.latent_dim, generator=rng).to(device)  # (B, L)
            with common.autocast(cfg, device):
                drawn = g(z)  # (1), for both steps
                # D's step. detach(): nothing of it is to reach G, and nothing to be computed for that.
                logits = d(translate(real, cfg.translate, rng)), d(translate(drawn.detach(), cfg.translate, rng))
            loss_d, penalty = discriminator_loss(*logits, cfg.smooth), 0.0  # (2)
            if cfg.r1 and step % cfg.r1_every == 0:
                penalty = cfg.r1_every * cfg.r1 / 2 * steepness(d, translate(real, cfg.translate, rng))  # (5)
            optimizer_d.zero_grad()
            (loss_d + penalty).backward()
            optimizer_d.step()
            d.requires_grad_(False)  # G's step: through D, not into it. To save time: zero_grad() would throw D's gradients away
            with common.autocast(cfg, device):
                judged = d(translate(drawn, cfg.translate, rng))  # moved, as D is used to; D has learned, and judges them anew
            loss_g = generator_loss(judged, cfg.loss)  # (3) or (4)
            optimizer_g.zero_grad()
            loss_g.backward()
            optimizer_g.step()
            d.requires_grad_(True)
            step += 1
            with torch.no_grad():
                # (7), BatchNorm's statistics, too; c grows to its value, so that the random first weights are soon forgotten
                for average, new in zip(mean.state_dict().values(), g.state_dict().values()):
                    average.lerp_(new, 1 - min(cfg.ema, step / (step + 10))) if average.is_floating_point() else average.copy_(new)
            sums += [loss_d.item(), loss_g.item(), logits[0].sigmoid().mean().item(), logits[1].sigmoid().mean().item()]
        g.eval(), d.eval()  # looking must change nothing
        names, seconds = ("discriminator_loss", "generator_loss", "d_real", "d_drawn"), time.time() - begin
        history.append({"epoch": epoch, "seconds": seconds} | dict(zip(names, (sums / per_epoch).tolist()))
                       | on_unseen(cfg, g, d, data.x_val, device, "validation") | gradient_sizes(cfg, g, d, device))
        print("epoch {epoch:3d}/{0}  step {1:5d}  loss, nats: D {discriminator_loss:.3f}  G {generator_loss:.3f}  D of real {d_real:.2f}  "
              "drawn {d_drawn:.2f}  validation {d_validation:.2f}  {seconds:6.1f} s, {2:.0f} left".format(
                  epochs, step, seconds / epoch * (epochs - epoch), **history[-1]), flush=True)
        if epoch % cfg.save_every == 0 and epoch < epochs:
            checkpoint.save(folder / "checkpoint.pt", cfg, __file__, [rng], states, epoch, step, time.time() - begin, history)
    return mean.eval(), g, d, history


@torch.no_grad()
def on_unseen(cfg, g, d, images, device, name):
    """Both losses and mean D(x) on images that neither saw, moved as all are. D far below that of `real`: it knows these by heart."""
    rng, x = torch.Generator().manual_seed(cfg.seed), torch.from_numpy(images[:500]).to(device)
    real = d(translate(x, cfg.translate, rng))  # (B,)
    drawn = d(translate(g(torch.randn(len(x), cfg.latent_dim, generator=rng).to(device)), cfg.translate, rng))  # (B,)
    return {f"{name}_discriminator_loss": discriminator_loss(real, drawn).item(),
            f"{name}_generator_loss": generator_loss(drawn, cfg.loss).item(), f"d_{name}": real.sigmoid().mean().item()}


def gradient_sizes(cfg, g, d, device):
    """{loss: norm of its gradient by G's weights}, on one z, in eval mode, not moved; grad(), not backward(): no .grad is touched."""
    z, sizes = torch.randn(cfg.batch_size, cfg.latent_dim, generator=torch.Generator().manual_seed(cfg.seed + 3)).to(device), {}
    judged = d(g(z))
    for kind in ("non_saturating", "minimax"):
        gradients = torch.autograd.grad(generator_loss(judged, kind), list(g.parameters()), retain_graph=True)
        sizes[f"gradient_{kind}"] = torch.stack([x.norm() for x in gradients]).norm().item()
    return sizes


# ---- 5. Evaluation ----------------------------------------------------------------------------------

@torch.no_grad()
def draw(g, z, device):
    """Codes (N, L) -> samples uint8 (N, H, W) or (N, H, W, 3); eval mode: an image does not depend on the others of its batch."""
    g.eval()
    return color.to_uint8(torch.cat([g(part.to(device)).cpu() for part in z.split(500)]))


def collapse(cfg, g, d, judge, device, updates):
    """G trained alone, D stands still: [{"updates", "diversity", "entropy"}] and samples after each tenth of the updates."""
    g, rng, record, shown = copy.deepcopy(g).train().requires_grad_(True), torch.Generator().manual_seed(cfg.seed + 6), [], []
    optimizer, look = torch.optim.Adam(g.parameters(), lr=5 * cfg.lr, betas=(0.5, 0.99)), torch.randn(300, cfg.latent_dim, generator=rng)
    d.eval().requires_grad_(False)
    for step in range(updates + 1):
        if step % max(1, updates // 10) == 0:
            samples = draw(g, look, device)
            share = np.bincount(judge.look(samples)[0].argmax(axis=1)) / len(samples)  # of each category that the judge sees
            entropy = float((share * -np.log(np.maximum(share, 1e-12))).sum())  # ln K: all K equally often; 0: one only
            record.append({"updates": step, "diversity": judge.diversity(samples), "entropy": entropy})
            shown.append(samples[:14])
            g.train()
        loss = generator_loss(d(translate(g(torch.randn(cfg.batch_size, cfg.latent_dim, generator=rng).to(device)), cfg.translate, rng)),
                              "non_saturating")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    d.requires_grad_(True)
    return record, np.concatenate(shown)


def along_coordinates(cfg, g, device, rows=6, columns=9):
    """Samples (rows * columns, ...): row r has one z whose coordinate r goes from -3 to 3, all others fixed."""
    rows = min(rows, cfg.latent_dim)
    z = torch.randn(1, cfg.latent_dim, generator=torch.Generator().manual_seed(cfg.seed + 7)).repeat(rows * columns, 1)
    z[torch.arange(len(z)), torch.arange(rows).repeat_interleave(columns)] = torch.linspace(-3, 3, columns).repeat(rows)
    return draw(g, z, device)


def between(cfg, g, device, rows=6, columns=9):
    """Samples: row r goes from one z to another, on the sphere: a straight line would pass nearer to 0 than z from N(0, I) lie."""
    a, b = torch.randn(2, rows, cfg.latent_dim, generator=torch.Generator().manual_seed(cfg.seed + 8))
    angle = torch.linspace(0, torch.pi / 2, columns)[:, None]  # two z of many dimensions are nearly at right angles
    return draw(g, torch.cat([torch.cos(angle) * a[r] + torch.sin(angle) * b[r] for r in range(rows)]), device)


# ---- 7. Main ----------------------------------------------------------------------------------------

def main(cfg):
    data, device = color.load(cfg), common.setup(cfg)
    judge, n = Judge(cfg, data, device), 100 if cfg.quick else 5000
    folder = common.start(cfg, "gan" + "_grey" * cfg.grey, "sweep" if cfg.sweep else "metrics")
    z = torch.randn(n, cfg.latent_dim, generator=torch.Generator().manual_seed(cfg.seed + 2))
    few = z[:len(data.x_test)]  # FID is measured on as many as there are test images
    if cfg.sweep:
        def run(c, name):
            samples = draw(train(c, data, device, folder / name)[0], few, device)
            return {"FID": judge.fid(samples), "diversity": judge.diversity(samples)}
        return sweep(cfg, folder, data.source, SWEEP, run, device)
    mean, g, d, history = train(cfg, data, device, folder)
    samples = draw(mean, z, device)
    figures = {"fid": judge.fid(samples[:len(few)]), "fid_without_mean": judge.fid(draw(g, few, device)),
               "diversity": judge.diversity(samples), **on_unseen(cfg, g, d, data.x_test, device, "test")}
    print("FID {fid:.2f}, without the mean of the weights {fid_without_mean:.2f}; diversity {diversity:.2f}".format(**figures))
    figures["collapse"], shown = collapse(cfg, g, d, judge, device, 20 if cfg.quick else 500)
    common.save(folder / "history.json", history)
    common.save(folder / "weights.pt", nn.ModuleDict({"generator": mean, "discriminator": d}))
    common.save(folder / "samples.npy", samples)
    charts.plot_samples(cfg, folder / "samples.png", {"samples": samples[:84]}, data.source)
    charts.plot_samples(cfg, folder / "latent.png", {"one coordinate of z at a time, -3 to 3": along_coordinates(cfg, mean, device),
                                                     "from one z to another": between(cfg, mean, device)}, data.source, 9)
    charts.plot_lines(cfg, folder / "balance.png", {
        "What D says": ("mean D(x)", {"real": "d_real", "drawn": "d_drawn", "validation": "d_validation"}),
        "Losses": ("nats", {"D; at ln 4 = 1.386 it knows nothing": "discriminator_loss", "D, validation": "validation_discriminator_loss",
                            "G": "generator_loss", "G, validation": "validation_generator_loss"}),
        "Gradient that reaches G": ("norm", {"non-saturating (4)": "gradient_non_saturating", "minimax (3)": "gradient_minimax"})},
        history, "epoch", data.source)
    charts.plot_samples(cfg, folder / "collapse.png", {"G alone, D stands still; updates": shown}, data.source, row_names={
        "G alone, D stands still; updates": [str(row["updates"]) for row in figures["collapse"]]})
    common.finish(cfg, folder, data.source, device, mean, history[-1]["seconds"], parameters_discriminator=sum(
        p.numel() for p in d.parameters()), **figures)
    checkpoint.forget(folder)


if __name__ == "__main__":
    common.run(main, Config)
