"""Beta-VAE: the convolutional VAE with another weight on its KL, trained once for each of eight weights.

All runs have the same first weights, batches and noise, and only beta differs. New beside conv_vae.py: channels and sizes, (7) in
colour, (8) to (11). Gradients are not clipped, because their size follows beta.

    (1)  mu, logvar = f(x)                              q(z|x) = N(mu, diag(exp logvar)), z in R^L
    (2)  z = mu + exp(logvar / 2) * eps,  eps ~ N(0, I)                     reparameterisation
    (3)  x_hat = sigmoid(g(z))                          mean of p(x|z), each channel a Bernoulli; the prior p(z) is N(0, I)
    (4)  R + beta KL                                    minimised, nats an image; beta = 1: it is -ELBO
    (5)  R = E[-ln p(x|z)] = E sum_d [-x_d ln x_hat_d - (1 - x_d) ln(1 - x_hat_d)]      d: pixels, channels; grey: no density (conv_vae.py)
    (6)  KL(q(z|x) || p(z)) = 1/2 sum_l (mu_l^2 + exp logvar_l - 1 - logvar_l)
    (7)  drawn: x_hat * sigmoid(v / T) / sigmoid(v),  v = max over channels of g(z); T = 0.33; T = 1 draws x_hat

Why a large beta makes the codes independent. With the aggregate posterior, the mean of N images' clouds,

    (8)  q(z) = 1/N sum_n q(z|x_n),  q(z_l) = 1/N sum_n q(z_l|x_n)
    (9)  mean KL = I(x; z) + TC + D,   I(x; z) = E[ln q(z|x) - ln q(z)]     information about the image
           TC = E[ln q(z) - sum_l ln q(z_l)]            total correlation: 0 only if the latents are independent
           D = E[sum_l ln q(z_l) - ln p(z)]             how far each latent by itself is from N(0, 1)
    (10)  TC of a Gaussian with correlation matrix P:  -1/2 ln det P        the linear part of TC

Only I(x; z) tells the decoder which image it is; TC and D cost beta a nat and tell it nothing: the dearer, the less. A latent whose nats
lower R by less than beta each is switched off: dR = -beta dKL. Independent is not meaningful yet: turn N(0, I), and it still is. That
single latents follow single factors rests on (1), where the covariance is diagonal (Rolinek et al. 2019); data alone cannot settle it
(Locatello et al. 2019). Here test drawings are moved and painted by known v_k: is each in its own latent? I is read off histograms:

    (11)  MIG = mean over k of [I(z_(1); v_k) - I(z_(2); v_k)] / H(v_k)     z_(i): the i-th best latent for v_k

Hue is a circle: one latent cannot go around it without a jump, two can (sine and cosine), so its gap is the one between the best latent
and the third. The floor: the active latents turned at random (mean of ten); together they know as much, but their axes mean nothing.
MIG cannot see a factor that nobody named, or that many latents share (0), nor that one latent has two: these count like two latents.
What fails. Small beta: samples from N(0, I) fall where q(z) is not. Large beta: few latents are left, and all drawings blur into one. I(x;
z) is at most ln N = 8.3; what KL has above that is booked as TC, though it sharpens x_hat: then read (10), to which dead latents add 0.
Papers: Higgins et al. 2017 for (4); Chen et al. 2018, equation 2 for (9), section 4 for (11); Hoffman and Johnson 2016 for (8).
Run:    python -m more.beta_vae --data DATA --out OUT [--grey] [--betas 1,4] [--resume]      (or: make beta_vae)
Writes: OUT/beta_vae/ (beta_vae_grey/) history.json, metrics.json; of --beta weights.pt, samples.npy; pictures betas, correlation,
        traversals, interpolation, samples, curves; while it runs checkpoint-BETA.pt; with --sweep sweep.json, .md, .png
Result: seed 0, one thread, 18 minutes: with beta 0.25, 1, 4, 8, 32 R is 413, 430, 536, 592, 714 nats, KL 63, 42, 15, 7.2, 0.2; FID 76, 73,
        86, 98, 128 (conv_vae.py's, 3,000 updates: 45.0); (10) 1.48, 0.47, 0.17, 0.09, 0.04, its floor; active latents 24, 24, 20, 11, 2;
        MIG 0.07, 0.04, 0.05, 0.13, 0.01, turned at random 0.03, 0.02, 0.02, 0.03, 0.03: most alignment at beta 8, most of it hue (0.25).
        1,783,763 weights. --sweep, 600 updates, validation, R + KL: 480; moved by 1 465; lr x 4 482, / 4 538; 64 latents 493, 8 534; half
        the width 546. R + 4 KL with beta 4: 603, with 8 latents 588; MIG 0.12, 0.17
"""

import time
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from scipy.stats import entropy

import common
from more import charts, checkpoint, color
from more.score import Judge
from more.sweep import sweep

# Shapes: B batch, C channels of an image, H = W pixels, M channels of the first layer, L latent dimensions, N images.


# ---- 1. Settings ------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Config(color.Settings):
    betas: str = "0.25,0.5,1,2,4,8,16,32"  # weights of the KL, a run each
    beta: float = 1.0  # the run whose weights and samples are kept; 1 is the ELBO
    latent_dim: int = 24  # L, as in conv_vae.py: more than a large beta uses, so that it shows how many stay active
    width: int = 16  # M, channels after the first layer
    temperature: float = 0.33  # T in (7), as in conv_vae.py
    steps: int = 1000  # weight updates of each run; fixed, so that any number of images takes about the same time
    epochs: int = 0  # passes over the training images; 0: as many as `steps` needs
    batch_size: int = 128  # images an update
    lr: float = 2e-3  # highest learning rate of the one-cycle schedule
    shift: int = 4  # pixels by up to which images are moved: position is one of the factors
    mirror: float = 0.5  # share of training images that are mirrored: of digits 0
    save_every: int = 15  # epochs between checkpoints
    resume: bool = False  # continue a run that was interrupted
    sweep: bool = False  # other settings at beta = 1 and 4, 600 updates each, instead of a run
    MAY_BE_ZERO = common.Settings.MAY_BE_ZERO - {"beta"}


SWEEP = {name: {"steps": 600} | changes for name, changes in {"as it stands": {}, "8 latents": {"latent_dim": 8}, "64 latents": {
    "latent_dim": 64}, "half the width": {"width": 8}, "lr / 4": {"lr": 5e-4}, "lr * 4": {"lr": 8e-3}, "moved by 1": {"shift": 1},
    "beta 4": {"beta": 4.0}, "beta 4, 8 latents": {"beta": 4.0, "latent_dim": 8}}.items()}
SHOWN = ("val_objective", "test_reconstruction", "test_kl", "fid", "active_latents", "gaussian_tc", "mig")  # in the sweep's table


# ---- 2. Model ---------------------------------------------------------------------------------------

def block(conv):
    """A convolution, each channel normalised over the batch, SiLU. No bias: BatchNorm subtracts the mean, and would cancel it."""
    return nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels), nn.SiLU())


class Encoder(nn.Module):
    """Image (B, C, H, H) -> mean and log-variance of its code, (B, L) each, equation (1)."""

    def __init__(self, latent_dim, width, channels, size):
        super().__init__()
        self.layers = nn.Sequential(  # (B, C, H, H)
            block(nn.Conv2d(channels, width, kernel_size=4, stride=2, padding=1, bias=False)),  # (B, M, H/2, H/2)
            block(nn.Conv2d(width, 2 * width, kernel_size=3, padding=1, bias=False)),  # (B, 2 M, H/2, H/2)
            block(nn.Conv2d(2 * width, 4 * width, kernel_size=4, stride=2, padding=1, bias=False)),  # (B, 4 M, H/4, H/4)
            block(nn.Conv2d(4 * width, 4 * width, kernel_size=3, padding=1, bias=False)),  # (B, 4 M, H/4, H/4)
            nn.Flatten(), nn.Linear(4 * width * (size // 4) ** 2, 256), nn.SiLU(),  # (B, 256)
            nn.Linear(256, 2 * latent_dim))  # (B, 2 L), both heads at once

    def forward(self, x):
        return self.layers(x).float().chunk(2, dim=1)  # (1), (B, L) each; the log of the variance: any real number will do


class Decoder(nn.Module):
    """Code (B, L) -> logits of the image (B, C, H, H), equation (3); back through the encoder's sizes."""

    def __init__(self, latent_dim, width, channels, size):
        super().__init__()
        self.layers = nn.Sequential(  # (B, L)
            nn.Linear(latent_dim, 256), nn.SiLU(), nn.Linear(256, 4 * width * (size // 4) ** 2), nn.SiLU(),  # (B, M * H * H / 4)
            nn.Unflatten(1, (4 * width, size // 4, size // 4)),  # (B, 4 M, H/4, H/4)
            block(nn.Conv2d(4 * width, 4 * width, kernel_size=3, padding=1, bias=False)),  # (B, 4 M, H/4, H/4)
            block(nn.ConvTranspose2d(4 * width, 2 * width, kernel_size=4, stride=2, padding=1, bias=False)),  # (B, 2 M, H/2, H/2)
            block(nn.Conv2d(2 * width, 2 * width, kernel_size=3, padding=1, bias=False)),  # (B, 2 M, H/2, H/2)
            nn.ConvTranspose2d(2 * width, channels, kernel_size=4, stride=2, padding=1))  # (B, C, H, H), logits

    def forward(self, z):
        return self.layers(z)


class VAE(nn.Module):
    def __init__(self, latent_dim, width, channels, size):
        super().__init__()
        self.decoder, self.encoder = Decoder(latent_dim, width, channels, size), Encoder(latent_dim, width, channels, size)

    def reparameterise(self, mu, logvar, rng=None):
        """Equation (2); (B, L) each. rng: a torch.Generator on the CPU, or None for the global one."""
        eps = torch.randn(mu.shape, generator=rng).to(mu.device)  # (B, L)
        return mu + torch.exp(0.5 * logvar) * eps  # the half: sigma is the root of exp(logvar)

    def forward(self, x):
        mu, logvar = self.encoder(x)  # (1), (B, L) each
        return self.decoder(self.reparameterise(mu, logvar)).float(), mu, logvar  # (2), (3) before its sigmoid, (B, C, H, H)


# ---- 3. Loss ----------------------------------------------------------------------------------------

def reconstruction(logits, x):
    """Equation (5) for each image, (B,), in nats; logits, x: (B, C, H, H). From logits: ln(1 - sigmoid(17)) would be -inf."""
    return F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(dim=(1, 2, 3))  # (B,)


def kl_divergence(mu, logvar):
    """Equation (6) for each image and latent, (B, L), in nats."""
    return 0.5 * (mu ** 2 + logvar.exp() - 1 - logvar)


# ---- 4. Training ------------------------------------------------------------------------------------

def train(cfg, data, device, path):
    """The whole loop, for one beta; returns (model, history). Saves itself to path every few epochs and at the end; --resume continues."""
    torch.manual_seed(cfg.seed)  # for each beta anew: the same first weights, and the same eps
    model, x_train = VAE(cfg.latent_dim, cfg.width, *data.x_train.shape[1:3]).to(device), torch.from_numpy(data.x_train)
    per_epoch = max(1, len(x_train) // cfg.batch_size)  # updates; images that fill no batch are left out until the next shuffle
    epochs = cfg.epochs or max(1, round(cfg.steps / per_epoch))
    optimizer = torch.optim.Adam(model.parameters(), lr=cfg.lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, cfg.lr, total_steps=max(11, epochs * per_epoch), pct_start=0.1)
    data_rng, states = torch.Generator().manual_seed(cfg.seed), [model, optimizer, schedule]  # its own: nothing else changes the order
    kept = checkpoint.load(path, cfg, __file__, [data_rng], states)
    history, begin = kept["history"], time.time() - kept["seconds"]
    for epoch in range(kept["epoch"] + 1, epochs + 1):
        model.train()
        x_epoch = common.augment(x_train, data_rng, cfg.shift, cfg.mirror)  # moved and mirrored anew each epoch
        order, total = torch.randperm(len(x_train), generator=data_rng)[:per_epoch * cfg.batch_size], np.zeros(2)
        for batch in common.progress(order.split(cfg.batch_size), f"beta {cfg.beta:g}, epoch {epoch}/{epochs}"):
            x = x_epoch[batch].to(device)  # (B, C, H, H)
            with common.autocast(cfg, device):
                logits, mu, logvar = model(x)  # (1), (2), (3)
            r = reconstruction(logits, x).mean()  # (5)
            kl = kl_divergence(mu, logvar).sum(dim=1).mean()  # (6): sum over latents, mean over images
            loss = r + cfg.beta * kl  # (4); one lr for all beta: Adam's step hardly follows the gradient's size, only its direction
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += np.array([r.item(), kl.item()]) * len(x)
        val = evaluate(cfg, model, data.x_val, device)
        history.append({"beta": cfg.beta, "epoch": epoch, "seconds": time.time() - begin})
        for name, (r, kl) in (("train", (total / len(order)).tolist()), ("val", (val["reconstruction"], val["kl"]))):
            history[-1] |= {f"{name}_reconstruction": r, f"{name}_kl": kl, f"{name}_objective": r + cfg.beta * kl}
        print("beta {beta:5g}  epoch {epoch:3d}/{0}  step {1:4d}  nats, R + KL: train {train_reconstruction:7.1f} + {train_kl:5.1f}  "
              "validation {val_reconstruction:7.1f} + {val_kl:5.1f}  {seconds:6.1f} s, {2:.0f} left of this beta".format(
                  epochs, epoch * per_epoch, (time.time() - begin) * (epochs / epoch - 1), **history[-1]), flush=True)
        if cfg.save_every <= epochs and (epoch % cfg.save_every == 0 or epoch == epochs):  # at the end, too: no beta is trained twice
            checkpoint.save(path, cfg, __file__, [data_rng], states, epoch, epoch * per_epoch, time.time() - begin, history)
    return model, history


# ---- 5. Evaluation ----------------------------------------------------------------------------------

@torch.no_grad()
def evaluate(cfg, model, images, device):
    """The terms of (4) on images (N, C, H, H), with one sampled z each, and the codes (N, L)."""
    total, parts, rng = 0.0, [], torch.Generator().manual_seed(cfg.seed + 1)  # the same eps at every call
    model.eval()
    for x in torch.from_numpy(images).to(device).split(500):
        with common.autocast(cfg, device):
            mu, logvar = model.encoder(x)  # (1)
            z = model.reparameterise(mu, logvar, rng)  # (2)
            logits = model.decoder(z).float()  # (3)
        total += reconstruction(logits, x).sum().item()  # (5)
        parts.append((mu.cpu(), logvar.cpu(), z.cpu(), kl_divergence(mu, logvar).cpu()))  # (6)
    mu, logvar, z, kl = (torch.cat(part) for part in zip(*parts))  # (N, L) each
    return {"reconstruction": total / len(images), "kl": kl.sum().item() / len(images), "kl_per_latent": kl.mean(dim=0).tolist(),
            "active": int((kl.mean(dim=0) > 0.01).sum()), "mu": mu, "logvar": logvar, "z": z}


@torch.no_grad()
def decode(cfg, model, z, device, temperature=1.0):
    """Equation (7): codes (N, L) -> uint8 (N, H, H) or (N, H, H, 3)."""
    model.eval()
    with common.autocast(cfg, device):
        logits = torch.cat([model.decoder(part.to(device)).float().cpu() for part in z.split(500)])
    v = logits.amax(dim=1, keepdim=True)  # one factor for all channels: T moves brightness, not hue. Logarithms: 0 / 0 at v = -104
    return color.to_uint8(torch.sigmoid(logits) * torch.exp(F.logsigmoid(v / temperature) - F.logsigmoid(v)))  # (7)


def known_factors(cfg, data):
    """Test drawings moved and painted by known amounts: images (N, C, H, H), and {factor: whole numbers (N,)}."""
    rng, n, s = np.random.default_rng(cfg.seed + 4), 400 if cfg.quick else 4000, cfg.shift
    pick = rng.permutation(len(data.x_test))[np.arange(n) % len(data.x_test)]  # all in turn, then again with other amounts
    (dx, dy), padded = rng.integers(-s, s + 1, size=(2, n)), np.pad(data.x_test[pick], ((0, 0), (0, 0), (s, s), (s, s)))
    x = np.stack([image[:, s - v:s - v + cfg.size, s - u:s - u + cfg.size] for image, u, v in zip(padded, dx, dy)])  # (N, C, H, H)
    factors = ({"x": dx + s, "y": dy + s} if s else {}) | {"category": data.y_test[pick]}
    if "painted" in data.source.get("name", ""):  # pictures that came in colour have no hue to replace
        hue = rng.random(n)
        x = color.paint(x.max(axis=1, keepdims=True), hue)  # a painted drawing's brightest channel is its ink
        factors["hue"] = (10 * hue).astype(int)  # arcs: information does not depend on their order
    return x, factors


def decompose(mu, logvar, rng, draws=1000):
    """Equations (8) and (9) in nats: q(z) of these N is exact, a mixture; the mean is over `draws` of its z: near known_kl, not equal."""
    own, log_n, log_2pi = torch.randperm(len(mu), generator=rng)[:draws], np.log(len(mu)), np.log(2 * np.pi)
    z, terms = mu[own] + torch.exp(0.5 * logvar[own]) * torch.randn(mu[own].shape, generator=rng), torch.zeros(3)
    for part, i in zip(z.split(50), own.split(50)):
        log_q = -0.5 * ((part[:, None] - mu) ** 2 * torch.exp(-logvar) + logvar + log_2pi)  # ln q(z_l|x_n), (B, N, L)
        joint = torch.logsumexp(log_q.sum(dim=2), dim=1) - log_n  # ln q(z), (8), (B,)
        marginals = (torch.logsumexp(log_q, dim=1) - log_n).sum(dim=1)  # sum_l ln q(z_l), (8), (B,)
        given = log_q[torch.arange(len(i)), i].sum(dim=1)  # ln q(z|x) of the image that z was drawn for, (B,)
        prior = -0.5 * (part ** 2 + log_2pi).sum(dim=1)  # ln p(z), (B,)
        terms += torch.stack([given - joint, joint - marginals, marginals - prior]).sum(dim=1) / len(own)  # (9)
    return dict(zip(("information", "total_correlation", "dimension_kl"), terms.tolist()))


def gaps(z, factors):
    """Equation (11): its mean, each factor's gap, and the share of H(v_k) that each latent of z (N, L) knows. z and not mu:
    information has no unit, and would take a mu of 0.001 seriously, which the noise hides from the decoder."""
    gap, shares = {}, {}
    for name, v in factors.items():
        joints = [np.histogram2d(column, v, bins=(20, v.max() + 1))[0] / len(z) for column in z.T]
        shares[name] = [float(1 + (entropy(p.sum(axis=1)) - entropy(p.ravel())) / entropy(p.sum(axis=0))) for p in joints]  # I / H(v)
        best = sorted([*shares[name], 0.0, 0.0, 0.0], reverse=True)  # if few latents are alive
        gap[name] = best[0] - best[2 if name == "hue" else 1]  # (11)
    return {"mig": float(np.mean(list(gap.values()))), "gap": gap, "shares": shares}


def measure(cfg, model, data, known, judge, prior, device):
    """All figures of one run: on test images, on the known drawings, and of samples from the prior."""
    test, seen = (evaluate(cfg, model, images, device) for images in (data.x_test, known[0]))
    few, z, rng = prior[:len(judge.x)], seen["z"].numpy(), np.random.default_rng(cfg.seed)
    p = np.atleast_2d(np.corrcoef(z.T.astype(float)))  # (L, L); of independent z (10) is about sum r^2 / 2, E r^2 = 1/N: L^2 / (4 N), 0.04
    alive = z[:, np.array(seen["kl_per_latent"]) > 0.01]  # a dead latent in a turn would add noise, and the floor would be too low
    turns = [np.linalg.qr(rng.normal(size=(alive.shape[1],) * 2))[0] for _ in range(10)]  # orthogonal
    return {"beta": cfg.beta} | {f"test_{name}": test[name] for name in ("reconstruction", "kl", "kl_per_latent")} | {
        "test_elbo": -test["reconstruction"] - test["kl"], "active_latents": test["active"], "known_kl": seen["kl"],
        "fid": judge.fid(decode(cfg, model, few, device, cfg.temperature)), "fid_x_hat": judge.fid(decode(cfg, model, few, device)),
        "correlation": p.tolist(), "gaussian_tc": float(-0.5 * np.linalg.slogdet(p)[1]),  # (10)
        "mig_turned": float(np.mean([gaps(alive @ turn, known[1])["mig"] for turn in turns])), **gaps(z, known[1]),
        **decompose(seen["mu"], seen["logvar"], torch.Generator().manual_seed(cfg.seed + 5))}


# ---- 6. Pictures ------------------------------------------------------------------------------------

def moved(z, latent, n=9):
    """Codes (k, L) -> (k * n, L): each with one coordinate at n values from -2.5 to 2.5, the others as they are."""
    z = z.repeat_interleave(n, dim=0)
    z[:, latent] = torch.linspace(-2.5, 2.5, n).repeat(len(z) // n)  # in the prior's standard deviations
    return z


def plot_latents(cfg, folder, runs, image, source, device):
    """Correlations, and a row of drawings a latent from the code of image (1, C, H, H); beside it the factor that it knows best."""
    rows = 2 if len(runs) % 2 == 0 else 1
    (fig, axes), (wide, grids) = (common.figure(rows, len(runs) // rows, size * len(runs) // rows, 3.2 * rows) for size in (3, 5))
    for ax, grid, (row, model) in zip(axes.flat, grids.flat, runs):
        order = np.argsort(row["test_kl_per_latent"])[::-1]  # most KL first
        ax.imshow(np.array(row["correlation"])[np.ix_(order, order)], vmin=-1, vmax=1, cmap="RdBu_r")
        ax.set(title=f"beta {row['beta']:g}: (10) {row['gaussian_tc']:.2f} nats", xlabel="latents, most KL first: -1 blue, 1 red")
        ax.grid(False)
        best = [max((shares[k], name) for name, shares in row["shares"].items()) for k in order[:8]]
        names = [f"{row['test_kl_per_latent'][k]:.1f} nats; {name} {share:.0%}" for k, (share, name) in zip(order, best)]
        codes = torch.cat([moved(evaluate(cfg, model, image, device)["mu"], k) for k in order[:8]])
        common.show_grid(grid, decode(cfg, model, codes, device) / 255, 9, f"beta {row['beta']:g}: one z_l, -2.5 to 2.5", names)
    common.save_figure(cfg, folder / "correlation.png", fig, source), common.save_figure(cfg, folder / "traversals.png", wide, source)


# ---- 7. Main ----------------------------------------------------------------------------------------

def main(cfg):
    betas = sorted({cfg.beta, *(float(b) if b.replace(".", "", 1).isdecimal() else 0.0 for b in cfg.betas.split(","))})
    common.require(betas[0] > 0, "--betas", cfg.betas, "positive numbers between commas", "like 0.5,1,2")
    data, device = color.load(cfg), common.setup(cfg)
    data = data._replace(x_test=data.x_val, y_test=data.y_val) if cfg.sweep else data  # no setting is chosen by test images
    judge, known, n = Judge(cfg, data, device), known_factors(cfg, data), 100 if cfg.quick else 5000
    folder = common.start(cfg, "beta_vae" + "_grey" * cfg.grey, "sweep" if cfg.sweep else "metrics")
    def run(c, name=""):
        model, history = train(c, data, device, folder / f"checkpoint-{c.beta:g}.pt")
        prior = torch.randn(n, c.latent_dim, generator=torch.Generator().manual_seed(cfg.seed + 3))
        row = measure(c, model, data, known, judge, prior, device) | {"val_objective": history[-1]["val_objective"]}
        print("beta {beta:g}: test {test_reconstruction:.1f} + {test_kl:.1f} nats; FID {fid:.1f}; {active_latents} latents active; "
              "I {information:.1f}, TC {total_correlation:.1f}, linear {gaussian_tc:.2f}; MIG {mig:.3f}".format(**row), flush=True)
        return {key.removeprefix("test_"): row[key] for key in SHOWN} if cfg.sweep else (model, prior, history, row)
    if cfg.sweep:
        return sweep(cfg, folder, data.source, SWEEP, run, device)
    betas = sorted({betas[0], cfg.beta, betas[-1]}) if cfg.quick else betas
    models, priors, histories, rows = zip(*(run(replace(cfg, beta=beta)) for beta in betas))
    at, few = betas.index(cfg.beta), np.linspace(0, len(rows) - 1, min(4, len(rows))).round().astype(int).tolist()
    samples = {betas[i]: decode(cfg, models[i], priors[i], device, cfg.temperature) for i in sorted({*few, at})}
    order, z = np.argsort(rows[at]["test_kl_per_latent"])[::-1], evaluate(cfg, models[at], data.x_test[:9], device)["mu"]
    lines = {"z_l with most KL, -2.5 to 2.5": decode(cfg, models[at], moved(z, order[0]), device),
             "the two with most KL": decode(cfg, models[at], moved(moved(z[:1], order[1 % len(order)]), order[0]), device)}
    common.save(folder / "history.json", [record for history in histories for record in history])
    common.save(folder / "weights.pt", models[at]), common.save(folder / "samples.npy", samples[cfg.beta])
    common.plot_curves(cfg, folder / "curves.png", histories[at], data.source, f"Beta-VAE, beta {cfg.beta:g}", "nats an image",
                       left={"objective": "objective", "reconstruction": "reconstruction"}, right={"kl": "KL"})
    panels = {"Reconstruction (5)": ("nats", {"": "test_reconstruction"}), "FID of samples": ("FID", {"(7)": "fid", "T = 1": "fid_x_hat"}),
              "KL, its parts (9)": ("nats", {"KL": "known_kl", "I(x; z)": "information", "TC": "total_correlation", "D": "dimension_kl"}),
              "Linear part of TC (10)": ("nats", {"z": "gaussian_tc"}), "Latents with KL > 0.01": (f"of {cfg.latent_dim}", {
                  "test": "active_latents"}), "MIG (11)": ("share of H(v)", {"z": "mig", "z turned at random": "mig_turned"})}
    charts.plot_lines(cfg, folder / "betas.png", panels, rows, "beta", data.source, log_x=True, rows=2)
    plot_latents(cfg, folder, list(zip(rows, models)), data.x_test[:1], data.source, device)
    charts.plot_samples(cfg, folder / "interpolation.png", lines, data.source, columns=9)
    charts.plot_samples(cfg, folder / "samples.png", {f"beta {b:g}": images[:84] for b, images in samples.items()}, data.source)
    common.finish(cfg, folder, data.source, device, models[at], sum(history[-1]["seconds"] for history in histories), rows=rows,
                  **{key: value for key, value in rows[at].items() if key != "correlation"})
    checkpoint.forget(folder)


if __name__ == "__main__":
    common.run(main, Config)
