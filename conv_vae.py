"""Convolutional variational autoencoder: a code with noise in it, so that new codes can be drawn.

conv_ae.py gives each drawing a point z; between the points the decoder is untrained, and a random z
draws nothing that one would recognise. Here the encoder gives each drawing a small Gaussian cloud, and a second term
of the loss pulls all clouds towards one standard normal: from there new drawings are sampled.

    (1)  mu, logvar = f(x)                              q(z|x) = N(mu, diag(exp logvar)), z in R^L
    (2)  z = mu + exp(logvar / 2) * eps,  eps ~ N(0, I)                     reparameterisation
    (3)  x_hat = sigmoid(g(z))                          mean of p(x|z); the prior p(z) is N(0, I)
    (4)  R + beta KL                                    minimised, nats a drawing; beta = 1: it is -ELBO
    (5)  R = E[-ln p(x|z)] over q(z|x), estimated with one z; -ln p(x|z) is one of
         bernoulli:  sum_d [-x_d ln x_hat_d - (1 - x_d) ln(1 - x_hat_d)]
         sigma:      sum_d [(x_d - x_hat_d)^2 / (2 s^2) + ln(2 pi s^2) / 2],  s^2: the batch's MSE; at test a running mean
         unit:       sigma with s = 1
    (6)  KL(q(z|x) || p(z)) = 1/2 sum_l (mu_l^2 + exp logvar_l - 1 - logvar_l)
    (7)  drawn: sigmoid(g(z) / T), the mean of the Bernoulli p(x|z)^(1/T), renormalised; T = 0.33

Both terms are sums, over 784 pixels and over L latents, averaged over drawings only. A mean over
pixels would multiply beta by 784, and the codes would collapse; one over latents divides it by L.

Samples: (a) z ~ N(0, I); (b) z ~ a Gaussian mixture fitted to codes of unmoved training drawings. With q(z), the mean of all
clouds, the average KL is I(x; z) + KL(q(z) || p(z)) (Hoffman and Johnson 2016), and 2,880 drawings, moved and
mirrored in 50 ways, hold at most ln 144,000 = 12 nats of information; the rest is distance from q(z) to N(0, I). So
many narrow clouds have it wherever they lie; that (a) also falls where none lies, the FID of (a) and (b) below shows.

(7): x_hat is the mean of all drawings that a code allows, and a mean of lines is a blur; a lower T moves
each pixel towards its likelier value. What is shown is this mean: pixels drawn one by one would be speckle.

The likelihood decides how samples look. metrics.py's FID of (a) and (b) at T = 1: sigma 88 and 45, bernoulli
92 and 61; but a Gaussian's mean is the same at every T, and bernoulli at T = 0.33 has 53 and 19: so bernoulli
it is. unit weighs an error so little that the KL collapses to 3 nats (bernoulli 36, sigma 66).
x_d is grey, so bernoulli is no normalised density (Loaiza-Ganem and Cunningham 2019): (4) bounds the -ln p of
drawings whose pixels are made ink with probability x_d, and R is never below these pixels' entropy, 82.2 nats.

Papers: Kingma and Welling, Auto-encoding variational Bayes, 2014, section 2.4 for (2), appendix B for (6);
Rybkin et al. 2021 for sigma; Ghosh et al. 2020 for (b), ex-post density estimation; Higgins et al. 2017 for beta.

Run:    python conv_vae.py --data DATA       (or: make conv_vae)
Writes: OUT/conv_vae/ weights.pt, history.json, samples.npy, samples_mixture.npy, reconstructions.npy,
        curves.png, convergence.png, reconstructions.png, samples.png, latent.png, metrics.json
Result: 164 s on 2 cores of an AMD EPYC, bfloat16, 2,880 real drawings; test 165.0 + 36.3 = 201.3 nats;
        all 24 latents active
New beside conv_ae.py: mu and logvar for z, (2), the KL, samples. From rnn_vae.py only the encoder differs.
"""

import json
import math
import time
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.mixture import GaussianMixture

import common

# Shapes: B batch, C channels, H = W = 28, D = 784 pixels, L latent dimensions, N drawings.


# ---- 1. Settings ------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Config(common.Settings):
    latent_dim: int = 24  # L, numbers in a code: -ELBO 220, 219, 222 with 16, 24, 32 (docs/settings.md, 352 updates); cvae.py needs fewer
    width: int = 16  # channels after the first layer: -ELBO 224, 219, 218 with 8, 16, 32; twice as many cost three times the time
    likelihood: Literal["bernoulli", "sigma", "unit"] = "bernoulli"  # (5); measured consequences above
    temperature: float = 0.33  # T in (7), for bernoulli: samples' pixel variance is then about that of real drawings
    beta: float = 1.0  # weight of the KL; above 1 a looser bound, below 1 none
    components: int = 40  # Gaussians of the mixture that is fitted to the training codes; 10 would fit new codes best (docs/settings.md)
    steps: int = 3000  # weight updates; fixed, so that 3,000 and 20,000 drawings take the same time
    epochs: int = 0  # passes over the training drawings; 0: as many as `steps` needs
    batch_size: int = 128  # drawings an update
    lr: float = 2e-3  # highest learning rate of the one-cycle schedule
    shift: int = 2  # pixels by up to which training drawings are moved, besides mirroring


# ---- 2. Model ---------------------------------------------------------------------------------------

def block(conv):
    """A convolution, each channel normalised over the batch, SiLU. No bias: BatchNorm subtracts the mean, and would cancel it."""
    return nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels), nn.SiLU())


class Encoder(nn.Module):
    """Drawing (B, 1, 28, 28) -> mean and log-variance of its code, (B, L) each, equation (1)."""

    def __init__(self, latent_dim, width):
        super().__init__()
        # A stride of 2 halves the resolution with weights that are learned; pooling would throw the position
        # away, which a reconstruction needs. A 4x4 kernel at stride 2 covers every inner pixel four times.
        self.layers = nn.Sequential(  # (B, 1, 28, 28)
            block(nn.Conv2d(1, width, kernel_size=4, stride=2, padding=1, bias=False)),  # (B, 16, 14, 14)
            block(nn.Conv2d(width, 2 * width, kernel_size=3, padding=1, bias=False)),  # (B, 32, 14, 14)
            block(nn.Conv2d(2 * width, 4 * width, kernel_size=4, stride=2, padding=1, bias=False)),  # (B, 64, 7, 7)
            block(nn.Conv2d(4 * width, 4 * width, kernel_size=3, padding=1, bias=False)),  # (B, 64, 7, 7)
            nn.Flatten(),  # (B, 3136)
            nn.Linear(4 * width * 7 * 7, 256), nn.SiLU(),  # (B, 256)
            nn.Linear(256, 2 * latent_dim))  # (B, 2 L), both heads at once

    def forward(self, x):
        # The log-variance, not the variance: any real number will do, so the layer needs no constraint, exp
        # makes it positive, and 1e-3 is as easy to reach as 1. From here on float32, so that exp and sums round less.
        mu, logvar = self.layers(x).float().chunk(2, dim=1)  # (1), (B, L) each
        return mu, logvar


class Decoder(nn.Module):
    """Code (B, L) -> logits of the drawing (B, 1, 28, 28), equation (3); back through the encoder's sizes."""

    def __init__(self, latent_dim, width):
        super().__init__()
        # The kernel of a transposed convolution, 4, is a multiple of its stride, 2: else neighbouring pixels
        # (away from the edge) get different numbers of contributions, and a chessboard shows (Odena et al. 2016).
        self.layers = nn.Sequential(  # (B, L)
            nn.Linear(latent_dim, 256), nn.SiLU(),  # (B, 256)
            nn.Linear(256, 4 * width * 7 * 7), nn.SiLU(),  # (B, 3136)
            nn.Unflatten(1, (4 * width, 7, 7)),  # (B, 64, 7, 7)
            block(nn.Conv2d(4 * width, 4 * width, kernel_size=3, padding=1, bias=False)),  # (B, 64, 7, 7)
            block(nn.ConvTranspose2d(4 * width, 2 * width, kernel_size=4, stride=2, padding=1, bias=False)),  # (B, 32, 14, 14)
            block(nn.Conv2d(2 * width, 2 * width, kernel_size=3, padding=1, bias=False)),  # (B, 32, 14, 14)
            nn.ConvTranspose2d(2 * width, 1, kernel_size=4, stride=2, padding=1))  # (B, 1, 28, 28), logits

    def forward(self, z):
        return self.layers(z)


class VAE(nn.Module):
    def __init__(self, latent_dim, width):
        super().__init__()
        # The decoder is built first, from the seed's first random numbers: it starts with the same
        # weights in rnn_vae.py and conv_vae.py, so that only the encoder differs when they are compared.
        self.decoder = Decoder(latent_dim, width)
        self.encoder = Encoder(latent_dim, width)
        # s^2 of (5), a buffer: saved with the weights, but set by measurement and not by a gradient
        self.register_buffer("variance", torch.tensor(1.0))

    def reparameterise(self, mu, logvar, rng=None):
        """Equation (2); (B, L) each. rng: a torch.Generator on the CPU, or None for the global one."""
        # A z drawn from N(mu, sigma^2) as such has no derivative with respect to mu. Here the randomness
        # comes from outside, z is a smooth function of mu and logvar, and the gradient passes through.
        eps = torch.randn(mu.shape, generator=rng).to(mu.device)  # (B, L)
        return mu + torch.exp(0.5 * logvar) * eps  # the half: sigma is the root of exp(logvar)

    def forward(self, x):
        mu, logvar = self.encoder(x)  # (1), (B, L) each
        z = self.reparameterise(mu, logvar)  # (2), (B, L)
        return self.decoder(z).float(), mu, logvar  # (3) before its sigmoid, (B, 1, 28, 28)


# ---- 3. Loss ----------------------------------------------------------------------------------------

def reconstruction(logits, x, likelihood, variance):
    """Equation (5) for each drawing, (B,), in nats; logits, x: (B, 1, 28, 28)."""
    if likelihood == "bernoulli":
        # From logits: in float32 sigmoid(17) is 1, and ln(1 - x_hat) would be -inf for a pixel that is surely ink.
        return F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(dim=(1, 2, 3))  # (B,)
    s2 = variance if likelihood == "sigma" else torch.ones_like(variance)
    error = (torch.sigmoid(logits) - x) ** 2  # (B, 1, 28, 28)
    return (0.5 * error / s2 + 0.5 * torch.log(2 * math.pi * s2)).sum(dim=(1, 2, 3))  # (B,)


def kl_divergence(mu, logvar):
    """Equation (6) for each drawing and latent, (B, L), in nats."""
    return 0.5 * (mu ** 2 + logvar.exp() - 1 - logvar)


# ---- 4. Training ------------------------------------------------------------------------------------

def train(cfg, model, data, device):
    """The whole loop; returns the history, one record an epoch."""
    x_train = torch.from_numpy(data.x_train)
    per_epoch = max(1, len(x_train) // cfg.batch_size)  # updates; drawings that fill no batch are left out until the next shuffle
    epochs = cfg.epochs or max(1, round(cfg.steps / per_epoch))
    optimizer = torch.optim.Adam(model.parameters(), lr=cfg.lr)
    # One cycle (Smith and Topin 2019): up for a tenth of the time, then down to nearly 0; Adam's beta1 goes the other way.
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, cfg.lr, total_steps=max(11, epochs * per_epoch), pct_start=0.1)
    data_rng = torch.Generator().manual_seed(cfg.seed)  # its own: nothing else can change the order
    history, begin = [], time.time()
    for epoch in range(1, epochs + 1):
        model.train()
        x_epoch = common.augment(x_train, data_rng, cfg.shift)  # moved and mirrored anew each epoch
        order = torch.randperm(len(x_train), generator=data_rng)[:per_epoch * cfg.batch_size]
        total = np.zeros(2)
        for batch in common.progress(order.split(cfg.batch_size), f"epoch {epoch}/{epochs}"):
            x = x_epoch[batch].to(device)  # (B, 1, 28, 28)
            with common.autocast(cfg, device):
                logits, mu, logvar = model(x)  # (1), (2), (3)
            # The variance that makes (5) smallest is the mean squared error itself. Measured on the
            # batch, no gradient through it: at the minimum over s^2 that gradient is 0 anyway.
            batch_variance = ((torch.sigmoid(logits) - x) ** 2).mean().detach()
            r = reconstruction(logits, x, cfg.likelihood, batch_variance).mean()  # (5)
            kl = kl_divergence(mu, logvar).sum(dim=1).mean()  # (6): sum over latents, mean over drawings
            loss = r + cfg.beta * kl  # (4)
            optimizer.zero_grad()  # else this batch's gradients would be added to the last one's
            loss.backward()
            # A spike would swell Adam's mean square, and so shorten hundreds of updates after it. The median norm, 97, is near 100.
            nn.utils.clip_grad_norm_(model.parameters(), max_norm=100.0)
            optimizer.step()
            schedule.step()
            model.variance.lerp_(batch_variance, 0.02)  # running mean over some 50 batches, for test time with "sigma"; else only reported
            total += np.array([r.item(), kl.item()]) * len(x)
        val = evaluate(cfg, model, data.x_val, device)
        record = {"epoch": epoch, "seconds": time.time() - begin}
        for name, (r, kl) in (("train", total / len(order)), ("val", (val["reconstruction"], val["kl"]))):
            record |= {f"{name}_reconstruction": r, f"{name}_kl": kl, f"{name}_objective": r + cfg.beta * kl}
        history.append(record)
        print("epoch {epoch:3d}/{0}  nats a drawing, reconstruction + KL: train {train_reconstruction:7.1f} + {train_kl:5.1f}  "
              "validation {val_reconstruction:7.1f} + {val_kl:5.1f}  {seconds:6.1f} s".format(epochs, **record), flush=True)
    return history


# ---- 5. Evaluation ----------------------------------------------------------------------------------

@torch.no_grad()
def evaluate(cfg, model, images, device):
    """The terms of (4) on drawings (N, 1, 28, 28), with one sampled z each (z = mu would flatter it), and the codes (N, L)."""
    was_training = model.training
    model.eval()  # BatchNorm uses its running statistics, so that a result does not depend on the batch
    rng = torch.Generator().manual_seed(cfg.seed + 1)  # the same eps at every call, so that figures can be compared
    sums, parts = np.zeros(2), []
    for x in torch.from_numpy(images).to(device).split(500):
        with common.autocast(cfg, device):
            mu, logvar = model.encoder(x)  # (1)
            logits = model.decoder(model.reparameterise(mu, logvar, rng)).float()  # (2), (3)
        sums += [reconstruction(logits, x, likelihood, model.variance).sum().item() for likelihood in (cfg.likelihood, "bernoulli")]
        parts.append((mu.cpu(), logvar.cpu(), kl_divergence(mu, logvar).cpu()))  # (6)
    model.train(was_training)
    mu, logvar, kl = (torch.cat(part) for part in zip(*parts))  # (N, L) each
    # sums over all drawings, divided once: a mean of batch means would give a short last batch too much weight
    return {"reconstruction": sums[0] / len(images), "cross_entropy": sums[1] / len(images), "kl": kl.sum().item() / len(images),
            "kl_per_latent": kl.mean(dim=0).tolist(), "active": int((kl.mean(dim=0) > 0.01).sum()), "mu": mu, "logvar": logvar}


@torch.no_grad()
def decode(cfg, model, z, device, temperature=None):
    """Equation (7): codes (N, L) -> drawings uint8 (N, 28, 28)."""
    model.eval()
    # a Gaussian to the power 1/T has the same mean: only a Bernoulli's moves
    t = (temperature or cfg.temperature) if cfg.likelihood == "bernoulli" else 1.0
    with common.autocast(cfg, device):
        x_hat = torch.cat([torch.sigmoid(model.decoder(part.to(device)).float() / t).cpu() for part in z.split(500)])
    return (x_hat[:, 0] * 255).round().to(torch.uint8).numpy()


def sample_mixture(cfg, mu, logvar, n):
    """n codes (n, L) from a Gaussian mixture, full covariances, fitted to training codes; mu, logvar: (N, L)."""
    rng = torch.Generator().manual_seed(cfg.seed + 2)
    z = mu + torch.exp(0.5 * logvar) * torch.randn(mu.shape, generator=rng)  # clouds, not only their centres
    # In float64, and reg_covar: a component that caught few codes would have a nearly singular covariance.
    mixture = GaussianMixture(min(cfg.components, max(1, len(z) // 20)), reg_covar=1e-3, random_state=cfg.seed).fit(z.double())
    return torch.from_numpy(mixture.sample(n)[0]).float()[torch.randperm(n, generator=rng)]  # (n, L); it comes sorted by component


# ---- 6. Pictures ------------------------------------------------------------------------------------

def plot_samples(cfg, folder, samples, source):
    fig, axes = common.figure(1, 2, width=9, height=2.5)
    for ax, (title, images) in zip(axes[0], samples.items()):
        common.show_grid(ax, images[:84] / 255, 14, title)
    common.save_figure(cfg, folder / "samples.png", fig, source)


def plot_latent(cfg, folder, model, data, test, device):
    """Between test drawings, along single latents, and how many nats each latent carries."""
    fig, axes = common.figure(1, 3, width=11, height=2.9)
    ends = [np.flatnonzero(data.y_test == k)[0] for k in (0, 1, 2, 3, 4, 0)]
    lines = [torch.lerp(test["mu"][a], test["mu"][b], t) for a, b in pairwise(ends) for t in torch.linspace(0, 1, 9)]
    common.show_grid(axes[0, 0], decode(cfg, model, torch.stack(lines), device) / 255, 9, "straight from one test drawing to another")
    order = np.argsort(test["kl_per_latent"])[::-1]  # most informative first
    z = test["mu"][ends[0]].repeat(len(order[:5]) * 9, 1)  # (45, L)
    for row, latent in enumerate(order[:5]):
        z[9 * row:9 * row + 9, latent] = torch.linspace(-2.5, 2.5, 9)  # in the prior's standard deviations
    common.show_grid(axes[0, 1], decode(cfg, model, z, device) / 255, 9, "one latent at a time, -2.5 to 2.5",
                     [f"z {latent}" for latent in order[:5]])
    axes[0, 2].bar(range(len(order)), np.array(test["kl_per_latent"])[order])
    axes[0, 2].set(title=f"{test['active']} of {len(order)} latents active (KL > 0.01)", xlabel="latent, sorted", ylabel="KL, nats")
    common.save_figure(cfg, folder / "latent.png", fig, data.source)


def compare_convergence(cfg, folder, history, source):
    """Both VAEs' validation curves by epoch and second, and when each reaches the worse one's final value.

    All but the encoder is the same: decoder, its first weights, optimiser, batches, loss (eps is drawn anew).
    """
    try:
        theirs = json.loads((folder.parent / "rnn_vae" / "metrics.json").read_text())
        other = json.loads((folder.parent / "rnn_vae" / "history.json").read_text())
        same = theirs["data"] == source and all(
            theirs["config"].get(name, value) == value for name, value in asdict(cfg).items() if name not in ("data", "out"))
    except (OSError, ValueError, KeyError):
        same = False
    if not same:
        return print("convergence: found no finished OUT/rnn_vae with the same settings to compare with; run 'make rnn_vae'")
    both = {"conv_vae": history, "rnn_vae": other}
    result = {"level": max(h[-1]["val_objective"] for h in both.values())}
    fig, axes = common.figure(1, 2, width=9, height=3.2)
    for color, (name, h) in zip(common.COLORS, both.items()):
        hit = next(r for r in h if r["val_objective"] <= result["level"])
        result[name] = {"epochs": hit["epoch"], "seconds": hit["seconds"], "final": h[-1]["val_objective"]}
        print(f"convergence: {name} reaches {result['level']:.1f} nats after {hit['epoch']} epochs, {hit['seconds']:.0f} s")
        for ax, unit in zip(axes[0], ("epoch", "seconds")):
            ax.plot([r[unit] for r in h], [r["val_objective"] for r in h], color=color, label=name)
            ax.plot(hit[unit], hit["val_objective"], "o", color=color)
            ax.axhline(result["level"], color="0.6", linestyle=":")
            ax.set(title=f"Validation objective by {unit}", xlabel=unit, ylabel="nats a drawing")
            ax.set_ylim(top=max(h[len(h) // 20]["val_objective"] for h in both.values()))  # the first epochs would hide the rest
    axes[0, 0].legend()
    common.save_figure(cfg, folder / "convergence.png", fig, source)
    return result


# ---- 7. Main ----------------------------------------------------------------------------------------

def main(cfg):
    data, device = common.load_data(cfg), common.setup(cfg)
    folder = common.start(cfg, __file__)
    model = VAE(cfg.latent_dim, cfg.width).to(device)
    history = train(cfg, model, data, device)

    test, codes = evaluate(cfg, model, data.x_test, device), evaluate(cfg, model, data.x_train, device)
    print(f"test, nats a drawing: {test['reconstruction']:.1f} + {test['kl']:.1f} = {test['reconstruction'] + test['kl']:.1f}; "
          f"cross-entropy + KL {test['cross_entropy'] + test['kl']:.1f}; {test['active']} of {cfg.latent_dim} latents active")
    drawn = decode(cfg, model, test["mu"], device, temperature=1.0)  # z = mu, the cloud's centre; x_hat itself, as in test_mse
    prior = torch.randn(5000, cfg.latent_dim, generator=torch.Generator().manual_seed(cfg.seed + 3))
    mixture = sample_mixture(cfg, codes["mu"], codes["logvar"], 5000)
    samples = {"samples, z from the prior N(0, I)": decode(cfg, model, prior, device),
               "samples, z from a mixture fitted to the codes": decode(cfg, model, mixture, device)}
    common.save(folder / "history.json", history)
    common.save(folder / "weights.pt", model)
    for name, images in zip(("samples", "samples_mixture", "reconstructions"), [*samples.values(), drawn]):
        common.save(folder / f"{name}.npy", images)
    common.plot_curves(cfg, folder / "curves.png", history, data.source, "Convolutional VAE", "nats a drawing",
                       left={"objective": "objective", "reconstruction": "reconstruction"}, right={"kl": "KL"})
    common.plot_reconstructions(cfg, folder / "reconstructions.png", data, {"VAE, z = mu": drawn / 255})
    plot_samples(cfg, folder, samples, data.source)
    plot_latent(cfg, folder, model, data, test, device)
    convergence = compare_convergence(cfg, folder, history, data.source)
    common.finish(cfg, folder, data.source, device, model, history[-1]["seconds"],
                  **{f"test_{name}": test[name] for name in ("reconstruction", "kl", "cross_entropy", "kl_per_latent")},
                  test_elbo=-test["reconstruction"] - test["kl"], test_mse=float(((drawn / 255 - data.x_test[:, 0]) ** 2).mean()),
                  val_objective=history[-1]["val_objective"], variance=model.variance.item(), active_latents=test["active"],
                  convergence=convergence)


if __name__ == "__main__":
    common.run(main, Config)
