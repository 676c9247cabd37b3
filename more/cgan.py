"""Conditional GAN: gan.py, told what to draw. Both networks know the category y.

If only G knew y, D could not punish a snowman where a hand was asked for, and G would ignore y. So D is asked
whether x is a real image of y. It does not get y as further input pixels; it has one more weight vector a category:

    (1)  z ~ N(0, I) in R^L,  x = G(z, y);  D(x, y) = sigmoid(d(x, y))
    (2)  D maximises  V = E ln D(x_real, y) + E ln (1 - D(G(z, y), y))
    (3)  non-saturating: G minimises  -E ln D(G(z, y), y)
    (4)  d(x, y) = v . phi(x) + w_y . phi(x),  phi all of D but its last layer          projection
    (5)  in each block of G: h * (1 + gain_y) + bias_y, for every channel of h, the normalised layer
    (6)  R1: D also pays  gamma / 2 E |grad_x d(x_real, y)|^2;  W_mean <- c W_mean + (1 - c) W for G      (5) and (7) of gan.py

Why (4): the best d is ln p(x, y) / p_G(x, y) = ln p(x) / p_G(x) + ln p(y|x) / p_G(y|x); where both conditionals are softmax
of linear functions of phi, the second part is w_y . phi, up to terms that are the same for every y and go with the first.

y enters (5) and (4) as one-hot, and nothing prevents half a rabbit: conditions between two categories, sums of two,
and none at all are drawn, too, though training never saw them.

Papers: Mirza and Osindero 2014, section 3.2, for (2); Miyato and Koyama 2018, section 3, for (4); de Vries et al. 2017,
section 3.2, for (5); the rest: see gan.py.

Run:    python -m more.cgan --data DATA --out OUT [--grey] [--resume]      (or: make cgan)
Writes: OUT/cgan/ (cgan_grey/) weights.pt, history.json, samples.npy and samples_labels.npy, metrics.json; pictures
        samples, balance, conditions; while it runs checkpoint.pt; with --sweep sweep.json, sweep.md, sweep.png
Result: seed 0, painted, one thread, 18 minutes: 1,000 samples a category: FID (of 800) 2.1 (conv_vae.py's, painted: 45.0; gan.py's 8.6),
        92.9 % as asked, diversity within a category 0.97. Some lines fray, and some drawings change hue on the way. In the pictures,
        half-way between two categories a drawing is half of each; cddpm.py's is mostly the one or the other. G has 243,443 weights, D
        94,006; on test images D's loss is 1.31, G's 0.76. --sweep, 2,400 updates: FID 23, 80 % as asked; D does not know y 56, 22 % (chance
        20); without R1 one single drawing, 135; 32 latents 16, 85 %; labels 0.9 20, 84 %; D sees all in place 24, 83 %
New beside gan.py: y, (4), (5). Gone: the minimax loss, spectral norm, walks through z, the collapse on purpose.
"""

import copy
import time
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

import common
from more import charts, checkpoint, color
from more.score import Judge
from more.sweep import sweep

# Shapes: B batch, C channels of an image, H = W pixels, M channels of the last layers, L numbers in z, K classes, N images.


# ---- 1. Settings ------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Config(color.Settings):
    latent_dim: int = 64  # L
    width: int = 16  # M; G has 4 M, 2 M, M channels on its way up, D the reverse on its way down
    r1: float = 1.0  # gamma in (6)
    r1_every: int = 8  # every so many updates (6) is added, so many times as strong
    project: float = 1.0  # weight of (4)'s second part; 0: D does not know y
    smooth: float = 0.0  # labels 1 - smooth of real images; of drawn ones 0: else D would praise G where no real image is
    ema: float = 0.998  # c in (6)
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

    MAY_BE_ZERO = common.Settings.MAY_BE_ZERO | {"translate", "project", "r1"}
    AT_MOST = common.Settings.AT_MOST | {"smooth": 0.4}


SWEEP = {"as it stands": {}, "D does not know y": {"project": 0.0}, "labels 0.9": {"smooth": 0.1}, "32 latents": {"latent_dim": 32},
         "no R1": {"r1": 0.0}, "D sees all in place": {"translate": 0}}


# ---- 2. Model ---------------------------------------------------------------------------------------

class Block(nn.Module):
    """A layer, BatchNorm, equation (5), ReLU: h, y (B, K) -> (B, channels, ...)."""

    def __init__(self, layer, channels, classes):
        super().__init__()
        self.layer, self.norm = layer, nn.BatchNorm2d(channels)
        self.condition = nn.Linear(classes, 2 * channels, bias=False)
        nn.init.normal_(self.condition.weight, std=0.1)  # categories begin nearly alike, but not quite: D has something to compare

    def forward(self, h, y):
        gain, bias = self.condition(y)[:, :, None, None].chunk(2, dim=1)
        return F.relu(self.norm(self.layer(h)) * (1 + gain) + bias)  # (5)


class Generator(nn.Module):
    """z (B, L), condition y (B, K) -> images (B, C, H, H) in [0, 1]."""

    def __init__(self, cfg, channels, classes):
        super().__init__()
        m, side = cfg.width, cfg.size // 4
        self.blocks = nn.ModuleList([  # (B, L)
            Block(nn.Sequential(nn.Linear(cfg.latent_dim, 4 * m * side ** 2, bias=False), nn.Unflatten(1, (4 * m, side, side))),
                  4 * m, classes),  # (B, 4 M, H/4, H/4)
            # kernel 4 is twice the stride: as many terms for every pixel
            Block(nn.ConvTranspose2d(4 * m, 2 * m, kernel_size=4, stride=2, padding=1, bias=False), 2 * m, classes),  # (B, 2 M, H/2, H/2)
            Block(nn.ConvTranspose2d(2 * m, m, kernel_size=4, stride=2, padding=1, bias=False), m, classes)])  # (B, M, H, H)
        self.last = nn.Conv2d(m, channels, kernel_size=3, padding=1)  # (B, C, H, H)

    def forward(self, z, y):
        for block in self.blocks:
            z = block(z, y)
        return torch.sigmoid(self.last(z).float())  # (1)


class Discriminator(nn.Module):
    """Images (B, C, H, H), condition y (B, K) -> logits d (B,)."""

    def __init__(self, cfg, channels, classes):
        super().__init__()
        m, self.project = cfg.width, cfg.project
        self.layers = nn.Sequential(  # (B, C, H, H)
            nn.Conv2d(channels, m, kernel_size=4, stride=2, padding=1), nn.LeakyReLU(0.2),  # (B, M, H/2, H/2)
            nn.Conv2d(m, 2 * m, kernel_size=3, padding=1), nn.LeakyReLU(0.2),  # (B, 2 M, H/2, H/2)
            nn.Conv2d(2 * m, 4 * m, kernel_size=4, stride=2, padding=1), nn.LeakyReLU(0.2),  # (B, 4 M, H/4, H/4)
            nn.Conv2d(4 * m, 4 * m, kernel_size=3, padding=1), nn.LeakyReLU(0.2), nn.Flatten(),
            nn.Linear(4 * m * (cfg.size // 4) ** 2, 1 + classes))  # (B, 1 + K): v . phi(x), w_k . phi(x) for every k; biases: not in (4)

    def forward(self, x, y):
        common_part, by_class = self.layers(x).float().split((1, y.shape[1]), dim=1)  # (B, 1), (B, K)
        return common_part.squeeze(1) + self.project * (by_class * y).sum(dim=1)  # (4), (B,)


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


def generator_loss(drawn):
    """(3) from logits (B,)."""
    return -F.logsigmoid(drawn).mean()  # (3)


def steepness(d, real, y):
    """E |grad_x d(x, y)|^2 of (6) at images (B, C, H, H), y (B, K); a gradient passes through it, to D's weights."""
    real = real.detach().requires_grad_(True)
    gradient, = torch.autograd.grad(d(real, y).sum(), real, create_graph=True)  # of the sum: each logit depends on its own image only
    return (gradient ** 2).sum(dim=(1, 2, 3)).mean()


# ---- 4. Training ------------------------------------------------------------------------------------

def train(cfg, data, device, folder):
    """The whole loop; returns (G with mean weights, D, history). Saves itself every few epochs; --resume continues."""
    torch.manual_seed(cfg.seed)
    g, d = (net(cfg, data.x_train.shape[1], len(data.classes)).to(device) for net in (Generator, Discriminator))
    mean, x_train, y_train = copy.deepcopy(g).requires_grad_(False), torch.from_numpy(data.x_train), one_hot(data.y_train, data)
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
            real, y = x_epoch[batch].to(device), y_train[batch].to(device)  # (B, C, H, H), (B, K)
            z = torch.randn(len(batch), cfg.latent_dim, generator=rng).to(device)  # (B, L)
            with common.autocast(cfg, device):
                drawn = g(z, y)  # (1), for both steps
                # D's step. detach(): nothing of it is to reach G, and nothing to be computed for that.
                logits = d(translate(real, cfg.translate, rng), y), d(translate(drawn.detach(), cfg.translate, rng), y)
            loss_d, penalty = discriminator_loss(*logits, cfg.smooth), 0.0  # (2)
            if cfg.r1 and step % cfg.r1_every == 0:
                penalty = cfg.r1_every * cfg.r1 / 2 * steepness(d, translate(real, cfg.translate, rng), y)  # (6)
            optimizer_d.zero_grad()
            (loss_d + penalty).backward()
            optimizer_d.step()
            d.requires_grad_(False)  # G's step: through D, not into it. To save time: zero_grad() would throw D's gradients away
            with common.autocast(cfg, device):
                judged = d(translate(drawn, cfg.translate, rng), y)  # moved, as D is used to; D has learned, and judges them anew
            loss_g = generator_loss(judged)  # (3)
            optimizer_g.zero_grad()
            loss_g.backward()
            optimizer_g.step()
            d.requires_grad_(True)
            step += 1
            with torch.no_grad():
                # (6), BatchNorm's statistics, too; c grows to its value, so that the random first weights are soon forgotten
                for average, new in zip(mean.state_dict().values(), g.state_dict().values()):
                    average.lerp_(new, 1 - min(cfg.ema, step / (step + 10))) if average.is_floating_point() else average.copy_(new)
            sums += [loss_d.item(), loss_g.item(), logits[0].sigmoid().mean().item(), logits[1].sigmoid().mean().item()]
        g.eval(), d.eval()  # looking must change nothing
        names, seconds = ("discriminator_loss", "generator_loss", "d_real", "d_drawn"), time.time() - begin
        history.append({"epoch": epoch, "seconds": seconds} | dict(zip(names, (sums / per_epoch).tolist()))
                       | on_unseen(cfg, g, d, data.x_val, one_hot(data.y_val, data), device, "validation"))
        print("epoch {epoch:3d}/{0}  step {1:5d}  loss, nats: D {discriminator_loss:.3f}  G {generator_loss:.3f}  D of real {d_real:.2f}  "
              "drawn {d_drawn:.2f}  validation {d_validation:.2f}  {seconds:6.1f} s, {2:.0f} left".format(
                  epochs, step, seconds / epoch * (epochs - epoch), **history[-1]), flush=True)
        if epoch % cfg.save_every == 0 and epoch < epochs:
            checkpoint.save(folder / "checkpoint.pt", cfg, __file__, [rng], states, epoch, step, time.time() - begin, history)
    return mean.eval(), d, history


@torch.no_grad()
def on_unseen(cfg, g, d, images, y, device, name):
    """Both losses and mean D(x, y) on images that neither saw, moved as all are. D far below that of `real`: it knows these by heart."""
    rng, x, y = torch.Generator().manual_seed(cfg.seed), torch.from_numpy(images[:500]).to(device), y[:500].to(device)
    real = d(translate(x, cfg.translate, rng), y)  # (B,)
    drawn = d(translate(g(torch.randn(len(x), cfg.latent_dim, generator=rng).to(device), y), cfg.translate, rng), y)  # (B,)
    return {f"{name}_discriminator_loss": discriminator_loss(real, drawn).item(),
            f"{name}_generator_loss": generator_loss(drawn).item(), f"d_{name}": real.sigmoid().mean().item()}


# ---- 5. Evaluation ----------------------------------------------------------------------------------

def one_hot(labels, data):
    """Labels (N,) -> conditions (N, K)."""
    return F.one_hot(torch.as_tensor(labels), len(data.classes)).float()


@torch.no_grad()
def draw(g, z, y, device):
    """Codes (N, L) and conditions (N, K) -> samples uint8 (N, H, W) or (N, H, W, 3)."""
    g.eval()
    return color.to_uint8(torch.cat([g(part.to(device), c.to(device)).cpu() for part, c in zip(z.split(500), y.split(500))]))


def unseen_conditions(cfg, g, data, device, columns=9):
    """({title: samples}, {title: names of its rows}): the same z under all categories; from one to the next; sums of two, and none."""
    z = torch.randn(columns, cfg.latent_dim, generator=torch.Generator().manual_seed(cfg.seed + 7))
    categories, weight = one_hot(range(min(5, len(data.classes))), data), torch.linspace(0, 1, columns)[:, None]  # (5, K)
    same, nearby = z.repeat(len(categories), 1), list(pairwise(categories))
    mixed = torch.cat([torch.lerp(a, b, weight) for a, b in nearby])
    sums = torch.cat([(a + b).repeat(columns, 1) for a, b in nearby] + [torch.zeros(columns, len(data.classes))])
    short = [name[:9] for name in data.classes[:5]]
    rows = {"each column: one z": (short, same, categories.repeat_interleave(columns, dim=0)),
            "from one category to the next, one z": ([f"{a} to {b}" for a, b in pairwise(short)], z[:1].repeat(len(mixed), 1), mixed),
            "two at once, and none": ([*(f"{a}, {b}" for a, b in pairwise(short)), "none"], same, sums)}
    return {title: draw(g, codes, y, device) for title, (_, codes, y) in rows.items()}, {title: row[0] for title, row in rows.items()}


# ---- 7. Main ----------------------------------------------------------------------------------------

def main(cfg):
    data, device = color.load(cfg), common.setup(cfg)
    common.require(len(data.classes) > 1, cfg.data, "one category", "two or more", "with one there is nothing to ask for")
    judge, n = Judge(cfg, data, device), 20 if cfg.quick else 1000  # of each category
    folder = common.start(cfg, "cgan" + "_grey" * cfg.grey, "sweep" if cfg.sweep else "metrics")
    labels = np.repeat(np.arange(len(data.classes)), max(1, n * 5 // max(5, len(data.classes))))
    some = np.random.default_rng(0).permutation(len(labels))[:len(data.x_test)]  # FID is measured on as many as there are test images

    def score(c, g):
        z = torch.randn(len(labels), c.latent_dim, generator=torch.Generator().manual_seed(cfg.seed + 2))
        samples = draw(g, z, one_hot(labels, data), device)
        right, diversity = judge.as_asked(samples, labels)
        return samples, {"fid": judge.fid(samples[some]), "accuracy": right, "diversity": diversity}

    if cfg.sweep:
        return sweep(cfg, folder, data.source, SWEEP, lambda c, name: score(c, train(c, data, device, folder / name)[0])[1], device)

    mean, d, history = train(cfg, data, device, folder)
    samples, figures = score(cfg, mean)
    figures |= on_unseen(cfg, mean, d, data.x_test, one_hot(data.y_test, data), device, "test")
    print("FID {fid:.2f}; recognised as asked {accuracy:.1%}; diversity within a category {diversity:.2f}".format(**figures))
    common.save(folder / "history.json", history)
    common.save(folder / "weights.pt", nn.ModuleDict({"generator": mean, "discriminator": d}))
    common.save(folder / "samples_labels.npy", labels)
    common.save(folder / "samples.npy", samples)
    rows = np.concatenate([np.flatnonzero(labels == k)[:14] for k in range(min(6, len(data.classes)))])
    charts.plot_samples(cfg, folder / "samples.png", {"samples": samples[rows]}, data.source, row_names={"samples": data.classes[:6]})
    shown, names = unseen_conditions(cfg, mean, data, device)
    charts.plot_samples(cfg, folder / "conditions.png", shown, data.source, 9, names)
    charts.plot_lines(cfg, folder / "balance.png", {
        "What D says": ("mean D(x, y)", {"real": "d_real", "drawn": "d_drawn", "validation": "d_validation"}),
        "Losses": ("nats", {"D; at ln 4 = 1.386 it knows nothing": "discriminator_loss", "D, validation": "validation_discriminator_loss",
                            "G": "generator_loss", "G, validation": "validation_generator_loss"})},
        history, "epoch", data.source)
    common.finish(cfg, folder, data.source, device, mean, history[-1]["seconds"], parameters_discriminator=sum(
        p.numel() for p in d.parameters()), **figures)
    checkpoint.forget(folder)


if __name__ == "__main__":
    common.run(main, Config)
