"""Conditional VAE: a drawing of what you ask for.

conv_vae.py draws whatever chance picks. Here encoder and decoder are both told the category y. The code
then need not say what is drawn, only how: size, slant, pose.

    (1)  mu, logvar = f(x, y)                           q(z|x, y) = N(mu, diag(exp logvar)), z in R^L
    (2)  z = mu + exp(logvar / 2) * eps,  eps ~ N(0, I)                     reparameterisation
    (3)  x_hat = sigmoid(g(z, y))                       mean of p(x|z, y); the prior is N(0, I) for every y
    (4)  R + beta KL                                    minimised, nats; beta = 1: -ELBO, at least -ln p(x|y)
    (5)  R = E[sum_d [-x_d ln x_hat_d - (1 - x_d) ln(1 - x_hat_d)]] over q(z|x, y), estimated with one z
    (6)  KL(q(z|x, y) || p(z)) = 1/2 sum_l (mu_l^2 + exp logvar_l - 1 - logvar_l)
    (7)  drawn: sigmoid(g(z, y) / T), the mean of the Bernoulli p(x|z, y)^(1/T), renormalised; see conv_vae.py
    (8)  in each block: h * (1 + gain_y) + bias_y, for every channel of h, the normalised convolution

The decoder knows y and p(z) is the same for every y: a category in z would cost KL and gain nothing. The encoder
is told because the true posterior p(z|x, y) depends on y. With (8) 78 % of prior samples were recognised, with y
at the linear layers alone (--condition linear) 65 % (held-out drawings: docs/settings.md). Samples: z from the
prior, or from a mixture for each category, since training leaves some of the category in z.
New beside conv_vae.py: y, (8), a mixture for each category, the judges. Why not built on rnn_vae.py: lower ELBO with
each of three seeds (-202.0 against -201.3 nats with seed 0), FID a tie, slower.
Papers: Sohn et al. 2015, section 4, for (1) to (4), x and y swapped; Perez et al. (FiLM) 2018, section 2.1, for (8).

Run:    python cvae.py --data DATA --out OUT     (or: make cvae; needs OUT/classifier for the judges)
Writes: OUT/cvae/ weights.pt, history.json, samples.npy, samples_mixture.npy (each with _labels.npy),
        reconstructions.npy, metrics.json; pictures curves, reconstructions, asked, confidence, conditions
Result: 266 s on 2 cores of an AMD EPYC, bfloat16, 2,880 real drawings: test 203.3 nats; recognised as asked by
        the CNN 79 % from the prior, 90 % from the mixture (real drawings: 95 %); diversity of both 0.98 (real: 1)
"""

import json
import time
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.mixture import GaussianMixture

import common
from classifier import load_judges, predict, softmax

# Shapes: B batch, C channels, H = W = 28, D = 784 pixels, L latent dimensions, K classes, N drawings.
K = len(common.CLASSES)


# ---- 1. Settings ------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Config(common.Settings):
    latent_dim: int = 16  # L; with 24, as in conv_vae.py, the ELBO gains 4 nats, and recognised prior samples lose 7 points
    width: int = 16  # channels after the first layer; twice as many cost three times the time
    condition: Literal["blocks", "linear"] = "blocks"  # y enters the linear layers alone, or every block too, (8)
    temperature: float = 0.33  # T in (7): below 1 sharper; see conv_vae.py
    beta: float = 1.0  # weight of the KL; 1: the ELBO
    components: int = 50  # Gaussians of the mixture that is fitted to the training codes of each category
    steps: int = 4000  # weight updates; fixed, so that 3,000 and 20,000 drawings take the same time
    epochs: int = 0  # passes over the training drawings; 0: as many as `steps` needs
    batch_size: int = 128  # drawings an update
    lr: float = 2e-3  # highest learning rate of the one-cycle schedule
    shift: int = 2  # pixels by up to which training drawings are moved, besides mirroring


# ---- 2. Model ---------------------------------------------------------------------------------------

def one_hot(labels):
    """Categories (B,) -> condition (B, K). A bare number would claim that yoga lies between rabbit and hand."""
    return F.one_hot(labels, K).float()


class Block(nn.Module):
    """A convolution, each channel normalised over the batch, equation (8), SiLU."""

    def __init__(self, conv):
        super().__init__()
        self.conv, self.norm = conv, nn.BatchNorm2d(conv.out_channels)
        self.condition = nn.Linear(K, 2 * conv.out_channels, bias=False)
        nn.init.zeros_(self.condition.weight)  # gain and bias start at 0: at first a block treats all categories alike

    def forward(self, h, y):
        gain, bias = self.condition(y)[:, :, None, None].chunk(2, dim=1)  # (B, C, 1, 1) each
        return F.silu(self.norm(self.conv(h)) * (1 + gain) + bias)  # (8)


class Encoder(nn.Module):
    """Drawing (B, 1, 28, 28), condition (B, K) -> mean and log-variance of the code, (B, L) each, equation (1)."""

    def __init__(self, latent_dim, width):
        super().__init__()
        self.blocks = nn.ModuleList([  # (B, 1, 28, 28)
            Block(nn.Conv2d(1, width, kernel_size=4, stride=2, padding=1, bias=False)),  # (B, 16, 14, 14)
            Block(nn.Conv2d(width, 2 * width, kernel_size=3, padding=1, bias=False)),  # (B, 32, 14, 14)
            Block(nn.Conv2d(2 * width, 4 * width, kernel_size=4, stride=2, padding=1, bias=False)),  # (B, 64, 7, 7)
            Block(nn.Conv2d(4 * width, 4 * width, kernel_size=3, padding=1, bias=False))])  # (B, 64, 7, 7)
        self.heads = nn.Sequential(  # (B, 3136 + K)
            nn.Linear(4 * width * 7 * 7 + K, 256), nn.SiLU(),  # (B, 256)
            nn.Linear(256, 2 * latent_dim))  # (B, 2 L), both heads at once

    def forward(self, x, y):
        for block in self.blocks:
            x = block(x, y)
        return self.heads(torch.cat([x.flatten(1), y], dim=1)).float().chunk(2, dim=1)  # (1), then float32


class Decoder(nn.Module):
    """Code (B, L), condition (B, K) -> logits of the drawing (B, 1, 28, 28), equation (3)."""

    def __init__(self, latent_dim, width):
        super().__init__()
        self.spread = nn.Sequential(  # (B, L + K)
            nn.Linear(latent_dim + K, 256), nn.SiLU(),  # (B, 256)
            nn.Linear(256, 4 * width * 7 * 7), nn.SiLU(),  # (B, 3136)
            nn.Unflatten(1, (4 * width, 7, 7)))  # (B, 64, 7, 7)
        self.blocks = nn.ModuleList([
            Block(nn.Conv2d(4 * width, 4 * width, kernel_size=3, padding=1, bias=False)),  # (B, 64, 7, 7)
            Block(nn.ConvTranspose2d(4 * width, 2 * width, kernel_size=4, stride=2, padding=1, bias=False)),  # (B, 32, 14, 14)
            Block(nn.Conv2d(2 * width, 2 * width, kernel_size=3, padding=1, bias=False))])  # (B, 32, 14, 14)
        self.paint = nn.ConvTranspose2d(2 * width, 1, kernel_size=4, stride=2, padding=1)  # (B, 1, 28, 28), logits

    def forward(self, z, y):
        h = self.spread(torch.cat([z, y], dim=1))
        for block in self.blocks:
            h = block(h, y)
        return self.paint(h)


class CVAE(nn.Module):
    def __init__(self, latent_dim, width, condition="blocks"):
        super().__init__()
        self.decoder = Decoder(latent_dim, width)
        self.encoder = Encoder(latent_dim, width)
        for block in (*self.encoder.blocks, *self.decoder.blocks):  # frozen, gain and bias stay 0, and (8) is h
            block.condition.requires_grad_(condition == "blocks")

    def reparameterise(self, mu, logvar, rng=None):
        """Equation (2); (B, L) each. rng: a torch.Generator on the CPU, or None for the global one."""
        return mu + torch.exp(0.5 * logvar) * torch.randn(mu.shape, generator=rng).to(mu.device)

    def forward(self, x, y):
        mu, logvar = self.encoder(x, y)  # (1), (B, L) each
        return self.decoder(self.reparameterise(mu, logvar), y).float(), mu, logvar  # (2), (3) before its sigmoid


# ---- 3. Loss ----------------------------------------------------------------------------------------

def reconstruction(logits, x):
    """Equation (5) for each drawing, (B,), in nats; logits, x: (B, 1, 28, 28). Why from logits: see conv_vae.py."""
    return F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(dim=(1, 2, 3))  # (B,)


def kl_divergence(mu, logvar):
    """Equation (6) for each drawing and latent, (B, L), in nats."""
    return 0.5 * (mu ** 2 + logvar.exp() - 1 - logvar)


# ---- 4. Training ------------------------------------------------------------------------------------

def train(cfg, model, data, device):
    """The whole loop; returns the history, one record an epoch."""
    x_train, y_train = torch.from_numpy(data.x_train), torch.from_numpy(data.y_train)
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
            x, y = x_epoch[batch].to(device), one_hot(y_train[batch]).to(device)  # (B, 1, 28, 28), (B, K)
            with common.autocast(cfg, device):
                logits, mu, logvar = model(x, y)  # (1), (2), (3)
            r = reconstruction(logits, x).mean()  # (5)
            kl = kl_divergence(mu, logvar).sum(dim=1).mean()  # (6): sum over latents, mean over drawings
            loss = r + cfg.beta * kl  # (4)
            optimizer.zero_grad()  # else this batch's gradients would be added to the last one's
            loss.backward()
            # A spike would swell Adam's mean square, and so shorten hundreds of updates after it.
            nn.utils.clip_grad_norm_(model.parameters(), max_norm=100.0)
            optimizer.step()
            schedule.step()
            total += np.array([r.item(), kl.item()]) * len(x)
        val = evaluate(cfg, model, data.x_val, data.y_val, device)
        record = {"epoch": epoch, "seconds": time.time() - begin}
        for name, (r, kl) in (("train", total / len(order)), ("val", (val["reconstruction"], val["kl"]))):
            record |= {f"{name}_reconstruction": r, f"{name}_kl": kl, f"{name}_objective": r + cfg.beta * kl}
        history.append(record)
        print("epoch {epoch:3d}/{0}  nats a drawing, reconstruction + KL: train {train_reconstruction:7.1f} + {train_kl:5.1f}  "
              "validation {val_reconstruction:7.1f} + {val_kl:5.1f}  {seconds:6.1f} s".format(epochs, **record), flush=True)
    return history


# ---- 5. Evaluation ----------------------------------------------------------------------------------

@torch.no_grad()
def evaluate(cfg, model, images, labels, device):
    """The terms of (4) on drawings (N, 1, 28, 28), with one sampled z each (z = mu would flatter it), and the codes (N, L)."""
    was_training = model.training
    model.eval()  # BatchNorm uses its running statistics, so that a result does not depend on the batch
    rng = torch.Generator().manual_seed(cfg.seed + 1)  # the same eps at every call, so that figures can be compared
    total, parts = 0.0, []
    conditions = one_hot(torch.from_numpy(labels)).to(device)
    for x, y in zip(torch.from_numpy(images).to(device).split(500), conditions.split(500)):
        with common.autocast(cfg, device):
            mu, logvar = model.encoder(x, y)  # (1)
            logits = model.decoder(model.reparameterise(mu, logvar, rng), y).float()  # (2), (3)
        total += reconstruction(logits, x).sum().item()
        parts.append((mu.cpu(), logvar.cpu(), kl_divergence(mu, logvar).cpu()))  # (6)
    model.train(was_training)
    mu, logvar, kl = (torch.cat(part) for part in zip(*parts))  # (N, L) each
    # sums over all drawings, divided once: a mean of batch means would give a short last batch too much weight
    return {"reconstruction": total / len(images), "kl": kl.sum().item() / len(images), "mu": mu, "logvar": logvar}


@torch.no_grad()
def decode(cfg, model, z, y, device, temperature=None):
    """Equation (7): codes (N, L) and conditions (N, K) -> drawings uint8 (N, 28, 28)."""
    model.eval()
    with common.autocast(cfg, device):
        x_hat = torch.cat([torch.sigmoid(model.decoder(part.to(device), c.to(device)).float() / (temperature or cfg.temperature)).cpu()
                           for part, c in zip(z.split(500), y.split(500))])
    return (x_hat[:, 0] * 255).round().to(torch.uint8).numpy()


def sample_mixture(cfg, mu, logvar, n):
    """n codes (n, L) from a Gaussian mixture, full covariances, fitted to training codes; mu, logvar: (N, L)."""
    rng = torch.Generator().manual_seed(cfg.seed + 2)
    z = mu + torch.exp(0.5 * logvar) * torch.randn(mu.shape, generator=rng)  # clouds, not only their centres
    # In float64, and reg_covar: a component that caught few codes would have a nearly singular covariance.
    mixture = GaussianMixture(min(cfg.components, max(1, len(z) // 20)), reg_covar=1e-3, random_state=cfg.seed).fit(z.double())
    return torch.from_numpy(mixture.sample(n)[0]).float()[torch.randperm(n, generator=rng)]  # (n, L); it comes sorted by component


def recognised(images, labels, judges, data, device):
    """(figures, {judge: probabilities (N, K)}) of samples uint8 (N, 28, 28) and the labels (N,) that were asked for."""
    # Accuracy alone is highest for one good drawing of each category, repeated. So beside it the diversity: mean
    # squared pixel distance of two samples of a category (twice the sum of pixels' variances), over real ones'.
    x = images.astype(np.float32) / 255
    probs = {name: softmax(predict(getattr(judges, name), x[:, None], device)[0]) for name in ("cnn", "mlp")}
    ratios = [x[labels == k].var(axis=0, ddof=1).sum() / data.x_test[data.y_test == k].var(axis=0, ddof=1).sum() for k in range(K)]
    figures = {"diversity": float(np.mean(ratios))}
    for name, p in probs.items():
        figures |= {f"{name}_accuracy": float((p.argmax(axis=1) == labels).mean()), f"{name}_confidence": float(p.max(axis=1).mean())}
    return figures, probs


def better_vae(out):
    """Which VAE metrics.py found better, by FID and by ELBO; None where it has not scored both."""
    try:
        better = json.loads((out / "metrics" / "vaes.json").read_text())["better"]
        print(f"better by FID: {better['fid']}, by ELBO: {better['elbo']}; this file builds on conv_vae")
        return better
    except (OSError, ValueError, KeyError, TypeError):
        return print("which VAE is better is not known here: 'make metrics' finds out")


# ---- 6. Pictures ------------------------------------------------------------------------------------

def plot_asked(cfg, folder, images, labels, probs, source):
    """The first five samples each of rabbit, yoga and snowman, and what both judges say: not picked by hand."""
    asked = [common.CLASSES.index(name) for name in ("rabbit", "yoga", "snowman")]  # snowman is 3; 2 is hand
    fig, axes = common.figure(3, 5, width=9, height=6)
    for row, k in enumerate(asked):
        for ax, i in zip(axes[row], np.flatnonzero(labels == k)[:5]):
            said = [f"{name.upper()}: {common.CLASSES[p[i].argmax()]} {p[i].max():.0%}" for name, p in probs.items()]
            common.show_grid(ax, images[i:i + 1] / 255, 1, "\n".join(said))
            ax.title.set_color(common.COLORS[2] if all(p[i].argmax() == k for p in probs.values()) else common.COLORS[1])
            ax.set_xlabel(f"asked: {common.CLASSES[k]}", fontsize=8)
    common.save_figure(cfg, folder / "asked.png", fig, source)


def plot_confidence(cfg, folder, probs, source):
    """How sure is each judge of samples, and of real drawings? probs: {set: {judge: (N, K)}}."""
    fig, axes = common.figure(1, 2, width=9, height=3.2)
    for ax, name in zip(axes[0], ("cnn", "mlp")):
        for color, label in zip(common.COLORS, probs):
            values = probs[label][name].max(axis=1)
            ax.hist(values, bins=20, range=(0.2, 1), weights=np.full(len(values), 1 / len(values)), histtype="step", lw=1.6, color=color,
                    label=f"{label.replace('samples_', 'samples, ').replace('real', 'real test drawings')}, mean {values.mean():.2f}")
        ax.set(title=f"{name.upper()}'s confidence", xlabel="largest probability", ylabel="share of drawings")
        ax.legend(loc="upper left")
    common.save_figure(cfg, folder / "confidence.png", fig, source)


def plot_conditions(cfg, folder, model, device, source):
    """One z under every condition: what stays is style (size, slant). And y between two categories, never trained on."""
    z = torch.randn(12, cfg.latent_dim, generator=torch.Generator().manual_seed(cfg.seed + 4))
    fig, axes = common.figure(1, 2, width=10, height=2.3)
    same = decode(cfg, model, z.repeat(K, 1), torch.eye(K).repeat_interleave(12, dim=0), device)
    common.show_grid(axes[0, 0], same / 255, 12, "each column: one z under all five conditions", common.CLASSES)
    pairs, t = [(0, 3), (1, 2), (2, 3), (3, 4), (4, 1)], torch.linspace(0, 1, 12)[:, None]
    between = torch.cat([(1 - t) * torch.eye(K)[a] + t * torch.eye(K)[b] for a, b in pairs])  # (60, K)
    mixed = decode(cfg, model, z[:5].repeat_interleave(12, dim=0), between, device)
    common.show_grid(axes[0, 1], mixed / 255, 12, "each row: one z, from one condition to another",
                     [f"{common.CLASSES[a]} → {common.CLASSES[b]}" for a, b in pairs])
    common.save_figure(cfg, folder / "conditions.png", fig, source)


# ---- 7. Main ----------------------------------------------------------------------------------------

def main(cfg):
    data, device = common.load_data(cfg), common.setup(cfg)
    judges = load_judges(cfg.out, device, data)  # refuses before the training, not after it
    folder = common.start(cfg, __file__)
    model = CVAE(cfg.latent_dim, cfg.width, cfg.condition).to(device)
    history = train(cfg, model, data, device)

    x_train, y_train = np.concatenate([data.x_train, data.x_train[..., ::-1]]), np.tile(data.y_train, 2)  # mirrored, too: more codes
    test, codes = (evaluate(cfg, model, x, y, device) for x, y in ((data.x_test, data.y_test), (x_train, y_train)))
    drawn = decode(cfg, model, test["mu"], one_hot(torch.from_numpy(data.y_test)), device, temperature=1.0)
    # From z to the category by a linear probe: near 1/K if the condition does its work, and z is style alone.
    probe = LogisticRegression(max_iter=300).fit(codes["mu"][:5000], y_train[:5000]).score(test["mu"], data.y_test)
    print(f"test, nats a drawing: {test['reconstruction']:.1f} + {test['kl']:.1f} = {test['reconstruction'] + test['kl']:.1f}; "
          f"linear probe from z to the category: {probe:.3f} right, chance {1 / K:.3f}")
    labels = np.repeat(np.arange(K), 1000)  # 1,000 samples of each category
    prior = torch.randn(5000, cfg.latent_dim, generator=torch.Generator().manual_seed(cfg.seed + 3))
    mixture = torch.cat([sample_mixture(cfg, codes["mu"][y_train == k], codes["logvar"][y_train == k], 1000) for k in range(K)])
    samples = {name: decode(cfg, model, z, one_hot(torch.from_numpy(labels)), device)
               for name, z in (("samples", prior), ("samples_mixture", mixture))}
    results = {name: recognised(images, labels, judges, data, device) for name, images in samples.items()}
    results["real"] = recognised((data.x_test[:, 0] * 255).round().astype(np.uint8), data.y_test, judges, data, device)
    for name, (f, _) in results.items():
        print(f"{name}: " + ", ".join(f"{figure} {value:.3f}" for figure, value in f.items()))
    common.save(folder / "history.json", history)
    common.save(folder / "weights.pt", model)
    for name, images in samples.items():
        common.save(folder / f"{name}.npy", images)
        common.save(folder / f"{name}_labels.npy", labels)
    common.save(folder / "reconstructions.npy", drawn)
    common.plot_curves(cfg, folder / "curves.png", history, data.source, "Conditional VAE", "nats a drawing",
                       left={"objective": "objective", "reconstruction": "reconstruction"}, right={"kl": "KL"})
    common.plot_reconstructions(cfg, folder / "reconstructions.png", data, {"CVAE, z = mu": drawn / 255})
    plot_asked(cfg, folder, samples["samples"], labels, results["samples"][1], data.source)
    plot_confidence(cfg, folder, {name: probs for name, (_, probs) in results.items()}, data.source)
    plot_conditions(cfg, folder, model, device, data.source)
    common.finish(cfg, folder, data.source, device, model, history[-1]["seconds"],
                  **{f"test_{name}": test[name] for name in ("reconstruction", "kl")},
                  test_elbo=-test["reconstruction"] - test["kl"], test_mse=float(((drawn / 255 - data.x_test[:, 0]) ** 2).mean()),
                  val_objective=history[-1]["val_objective"], linear_probe_accuracy=probe, better_vae=better_vae(folder.parent),
                  recognised={name: f for name, (f, _) in results.items()})


if __name__ == "__main__":
    common.run(main, Config)
