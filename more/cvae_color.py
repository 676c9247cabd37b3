"""Conditional VAE on colour images, with two kinds of condition, and with conditions that training never saw.

cvae.py draws what you ask for. Here it does so in colour, and what it is told is a vector c: the category as one-hot, or
as an embedding, E numbers that are learned. Vectors form a space: what do the points between and beyond categories draw?

    (1)  mu, logvar = f(x, c)                           q(z|x, y) = N(mu, diag(exp logvar)), z in R^L
    (2)  z = mu + exp(logvar / 2) * eps,  eps ~ N(0, I)                     reparameterisation
    (3)  x_hat = sigmoid(g(z, c))                       mean of p(x|z, y); the prior is N(0, I) for every y
    (4)  R + beta KL                                    minimised, nats; beta = 1: -ELBO (of grey x_d no density: conv_vae.py)
    (5)  R = E[sum_d [-x_d ln x_hat_d - (1 - x_d) ln(1 - x_hat_d)]] over q(z|x, y), with one z; d: all C H W values
    (6)  KL(q(z|x, y) || p(z)) = 1/2 sum_l (mu_l^2 + exp logvar_l - 1 - logvar_l)
    (7)  drawn: x_hat * sigmoid(logit(v) / T) / v,  v the largest channel of x_hat at a pixel
    (8)  in each block: h * (1 + gain_c) + bias_c, for every channel of h, the normalised convolution
    (9)  c = y, one-hot in R^K; or c = W y in R^E, whose column k is the embedding of category k

An embedding is a linear layer without bias on the one-hot: W y picks a column. All layers that read c are affine in c, and K points fit
into K - 1 dimensions: from E = K - 1 on both kinds can tell categories apart alike; with less, W is a bottleneck. Conditions never seen:
(1 - t) c_a + t c_b, c_a + c_b, zero, a random vector of the categories' mean length, 5 c_a. (4) does not say what they draw. On lines, in
sums and at zero c is W of such a mixed y, so there the kinds differ by learned weights alone.
Colour is alpha * rgb(hue), the hue independent of y. (7) with one channel is cvae.py's. Sharpened each by itself, (0.5, 0.3, 0.1), orange,
would at T = 0.33 become (0.5, 0.07, 0.001), red; (7) changes how bright a pixel is, and keeps its hue.
Net: 4 convolutions down to H/4 x H/4, a layer of 256, and back: 1,784,743 weights with one-hot, 1,781,393 with E = 2 (colour, 28 x 28).
Papers: Sohn et al. 2015, section 4, for (1) to (4), x and y swapped; Perez et al. (FiLM) 2018, section 2.1, for (8).
Run:    python -m more.cvae_color --data DATA --out OUT [--grey] [--sweep]      (or: make cvae_color)
Writes: OUT/cvae_color/ (cvae_color_grey/) metrics.json; curves, conditions.png; of the kind with the lower (4) on validation images
        reconstructions.png, samples.png, weights.pt, history.json, samples.npy, samples_mixture.npy, their _labels.npy; --sweep: sweep.*
Result: seed 0, one thread, 9 minutes for both: test -ELBO 457.5 nats with one-hot, 459.6 with E = 2; samples of the prior taken for what
        was asked 58, 44 %, of the mixtures 86 %; FID 42, 45 and 13, 11. z holds the category (a linear probe finds it in 50, 62 %) and
        contradicts c. Taken for one of two (chance 40 %): unmixed 66, 54 %, halfway 56, 52, of sums 61, 63; 5 c, one-hot, draws noise.
        --sweep, 400 updates: (4) 482, as asked 34 %; E = 1, 2, 4, 16: 487, 485, 509, 486 and 21, 31, 36, 56 %; 8, 32 latents 525, 481
New beside cvae.py: C channels, any H and K, (7), (9), conditions never seen, and whether z holds hue and category.
"""

import time
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from matplotlib.colors import rgb_to_hsv
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.mixture import GaussianMixture

import common
from more import charts, color
from more.score import Judge
from more.sweep import sweep

# Shapes: B batch, C channels of an image, H = W pixels, M channels of layer 1, L latents, K classes, E numbers in c, N images.


# ---- 1. Settings ------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Config(color.Settings):
    latent_dim: int = 18  # L; 16 as in cvae.py, and two for the hue: it is a circle, which needs a plane
    width: int = 16  # M; twice as many channels cost three times the time
    condition: Literal["both", "one_hot", "embedding"] = "both"  # (9); both: one after the other, and compared
    embed_dim: int = 2  # E of an embedding: below K - 1 = 4 it is a bottleneck, and two numbers are a map of the categories
    temperature: float = 0.33  # T in (7): below 1 sharper; see conv_vae.py
    beta: float = 1.0  # weight of the KL; 1: the ELBO
    components: int = 50  # Gaussians, at most, of the mixture fitted to the training codes of each category; one for 20 codes
    steps: int = 2000  # weight updates of each of the two; fixed, so that 3,000 and 20,000 images take the same time
    epochs: int = 0  # passes over the training images; 0: as many as `steps` needs
    batch_size: int = 128  # images an update
    lr: float = 2e-3  # highest learning rate of the one-cycle schedule
    shift: int = 2  # pixels by up to which training images are moved
    mirror: float = 0.5  # share of training images that are mirrored: of digits 0
    sweep: bool = False  # each of SWEEP trained for a fifth of `steps`, instead of a run


SWEEP = {"one-hot": {}, "8 latents": {"latent_dim": 8}, "32 latents": {"latent_dim": 32}, "beta 3": {"beta": 3.0}}
SWEEP = {name: {"condition": "one_hot"} | changes for name, changes in SWEEP.items()} | {
    f"embedding, E = {e}": {"condition": "embedding", "embed_dim": e} for e in (1, 2, 4, 16)}


# ---- 2. Model ---------------------------------------------------------------------------------------

class Block(nn.Module):
    """A convolution, each channel normalised over the batch, equation (8), SiLU."""

    def __init__(self, conv, numbers):
        super().__init__()
        self.conv, self.norm = conv, nn.BatchNorm2d(conv.out_channels)
        self.condition = nn.Linear(numbers, 2 * conv.out_channels, bias=False)
        nn.init.zeros_(self.condition.weight)  # gain and bias start at 0: at first all categories are treated alike

    def forward(self, h, c):
        gain, bias = self.condition(c)[:, :, None, None].chunk(2, dim=1)  # (B, D, 1, 1) each, D channels of h
        return F.silu(self.norm(self.conv(h)) * (1 + gain) + bias)  # (8)


class Encoder(nn.Module):
    """Image (B, C, H, H), condition (B, E) -> mean and log-variance of the code, (B, L) each, equation (1)."""

    def __init__(self, cfg, channels, numbers):
        super().__init__()
        width = cfg.width
        self.blocks = nn.ModuleList([  # (B, C, H, H)
            Block(nn.Conv2d(channels, width, kernel_size=4, stride=2, padding=1, bias=False), numbers),  # (B, M, H/2, H/2)
            Block(nn.Conv2d(width, 2 * width, kernel_size=3, padding=1, bias=False), numbers),  # (B, 2 M, H/2, H/2)
            Block(nn.Conv2d(2 * width, 4 * width, kernel_size=4, stride=2, padding=1, bias=False), numbers),  # (B, 4 M, H/4, H/4)
            Block(nn.Conv2d(4 * width, 4 * width, kernel_size=3, padding=1, bias=False), numbers)])  # (B, 4 M, H/4, H/4)
        self.heads = nn.Sequential(
            nn.Linear(4 * width * (cfg.size // 4) ** 2 + numbers, 256), nn.SiLU(), nn.Linear(256, 2 * cfg.latent_dim))  # (B, 2 L), both

    def forward(self, x, c):
        for block in self.blocks:
            x = block(x, c)
        return self.heads(torch.cat([x.flatten(1), c], dim=1)).float().chunk(2, dim=1)  # (1), then float32


class Decoder(nn.Module):
    """Code (B, L), condition (B, E) -> logits of the image (B, C, H, H), equation (3)."""

    def __init__(self, cfg, channels, numbers):
        super().__init__()
        width, side = cfg.width, cfg.size // 4
        self.spread = nn.Sequential(
            nn.Linear(cfg.latent_dim + numbers, 256), nn.SiLU(),  # (B, 256)
            nn.Linear(256, 4 * width * side ** 2), nn.SiLU(), nn.Unflatten(1, (4 * width, side, side)))  # (B, 4 M, H/4, H/4)
        self.blocks = nn.ModuleList([
            Block(nn.Conv2d(4 * width, 4 * width, kernel_size=3, padding=1, bias=False), numbers),  # (B, 4 M, H/4, H/4)
            Block(nn.ConvTranspose2d(4 * width, 2 * width, kernel_size=4, stride=2, padding=1, bias=False), numbers),  # (B, 2 M, H/2, H/2)
            Block(nn.Conv2d(2 * width, 2 * width, kernel_size=3, padding=1, bias=False), numbers)])  # (B, 2 M, H/2, H/2)
        self.paint = nn.ConvTranspose2d(2 * width, channels, kernel_size=4, stride=2, padding=1)  # (B, C, H, H), logits

    def forward(self, z, c):
        h = self.spread(torch.cat([z, c], dim=1))
        for block in self.blocks:
            h = block(h, c)
        return self.paint(h)


class CVAE(nn.Module):
    def __init__(self, cfg, channels, classes):
        super().__init__()
        self.classes, numbers = classes, cfg.embed_dim if cfg.condition == "embedding" else classes
        self.decoder, self.encoder = Decoder(cfg, channels, numbers), Encoder(cfg, channels, numbers)
        self.condition = nn.Identity()  # (9), one-hot; a bare number would claim that yoga lies between rabbit and hand
        if cfg.condition == "embedding":
            self.condition = nn.Linear(classes, numbers, bias=False)  # (9); nn.Embedding looks a column up, this can mix two
            nn.init.normal_(self.condition.weight)  # as nn.Embedding starts

    def vectors(self):
        """(9) for every category: (K, E), on the CPU."""
        return self.condition(torch.eye(self.classes, device=self.decoder.paint.weight.device)).detach().cpu()

    def reparameterise(self, mu, logvar, rng=None):
        """Equation (2); (B, L) each. rng: a torch.Generator on the CPU, or None for the global one."""
        return mu + torch.exp(0.5 * logvar) * torch.randn(mu.shape, generator=rng).to(mu.device)

    def forward(self, x, y):
        c = self.condition(y)  # (9), (B, E)
        mu, logvar = self.encoder(x, c)  # (1), (B, L) each
        return self.decoder(self.reparameterise(mu, logvar), c).float(), mu, logvar  # (2), (3) before its sigmoid


# ---- 3. Loss ----------------------------------------------------------------------------------------

def reconstruction(logits, x):
    """Equation (5) for each image, (B,), in nats; logits, x: (B, C, H, H). Why from logits: see conv_vae.py."""
    return F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(dim=(1, 2, 3))  # (B,)


def kl_divergence(mu, logvar):
    """Equation (6) for each image and latent, (B, L), in nats."""
    return 0.5 * (mu ** 2 + logvar.exp() - 1 - logvar)


# ---- 4. Training ------------------------------------------------------------------------------------

def train(cfg, model, data, device):
    """The whole loop; returns the history, one record an epoch."""
    x_train, y_train = torch.from_numpy(data.x_train), F.one_hot(torch.from_numpy(data.y_train), len(data.classes)).float()
    per_epoch = max(1, len(x_train) // cfg.batch_size)  # updates; images that fill no batch are left out until the next shuffle
    epochs = cfg.epochs or max(1, round(cfg.steps / per_epoch))
    optimizer = torch.optim.Adam(model.parameters(), lr=cfg.lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, cfg.lr, total_steps=max(11, epochs * per_epoch), pct_start=0.1)
    data_rng, history, begin = torch.Generator().manual_seed(cfg.seed), [], time.time()  # both kinds of condition see the same batches
    for epoch in range(1, epochs + 1):
        model.train()
        x_epoch = common.augment(x_train, data_rng, cfg.shift, cfg.mirror)  # moved and mirrored anew each epoch
        order, total = torch.randperm(len(x_train), generator=data_rng)[:per_epoch * cfg.batch_size], np.zeros(2)
        for batch in common.progress(order.split(cfg.batch_size), f"epoch {epoch}/{epochs}"):
            x, y = x_epoch[batch].to(device), y_train[batch].to(device)  # (B, C, H, H), (B, K)
            with common.autocast(cfg, device):
                logits, mu, logvar = model(x, y)  # (1), (2), (3)
            r = reconstruction(logits, x).mean()  # (5)
            kl = kl_divergence(mu, logvar).sum(dim=1).mean()  # (6): sum over latents, mean over images
            loss = r + cfg.beta * kl  # (4)
            optimizer.zero_grad()  # else this batch's gradients would be added to the last one's
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), max_norm=100.0 * x[0].numel() / 784)  # a spike would stall Adam for many updates
            optimizer.step()
            schedule.step()
            total += np.array([r.item(), kl.item()]) * len(x)
        val = evaluate(cfg, model, data.x_val, data.y_val, device)
        record = {"epoch": epoch, "seconds": time.time() - begin}
        for name, (r, kl) in (("train", total / len(order)), ("val", (val["reconstruction"], val["kl"]))):
            record |= {f"{name}_reconstruction": r, f"{name}_kl": kl, f"{name}_objective": r + cfg.beta * kl}
        history.append(record)
        print("epoch {epoch:3d}/{0}  step {1:4d}  nats an image, R + KL: train {train_reconstruction:7.1f} + {train_kl:5.1f}  "
              "validation {val_reconstruction:7.1f} + {val_kl:5.1f}  {seconds:6.1f} s, {2:.0f} left".format(
                  epochs, epoch * per_epoch, (time.time() - begin) * (epochs / epoch - 1), **record), flush=True)
    return history


# ---- 5. Evaluation ----------------------------------------------------------------------------------

@torch.no_grad()
def evaluate(cfg, model, images, labels, device):
    """The terms of (4) on images (N, C, H, H), with one sampled z each (z = mu would flatter it), and the codes (N, L)."""
    model.eval()  # BatchNorm uses its running statistics, so that a result does not depend on the batch; train() goes back each epoch
    rng, total, parts = torch.Generator().manual_seed(cfg.seed + 1), 0.0, []  # the same eps at every call: figures can be compared
    for x, label in zip(torch.from_numpy(images).split(500), torch.from_numpy(labels).split(500)):
        x, c = x.to(device), model.vectors()[label].to(device)  # (B, C, H, H), (B, E)
        with common.autocast(cfg, device):
            mu, logvar = model.encoder(x, c)  # (1)
            logits = model.decoder(model.reparameterise(mu, logvar, rng), c).float()  # (2), (3)
        total += reconstruction(logits, x).sum().item()
        parts.append((mu.cpu(), logvar.cpu(), kl_divergence(mu, logvar).cpu()))  # (6)
    mu, logvar, kl = (torch.cat(part) for part in zip(*parts))  # (N, L) each
    return {"reconstruction": total / len(images), "kl": kl.sum().item() / len(images), "mu": mu, "logvar": logvar}


@torch.no_grad()
def decode(cfg, model, z, c, device, temperature=None):
    """Equation (7): codes (N, L) and conditions (N, E) -> images uint8 (N, H, W) or (N, H, W, 3)."""
    model.eval()
    x_hat, t = [], temperature or cfg.temperature
    for part, condition in zip(z.split(500), c.split(500)):
        with common.autocast(cfg, device):
            logits = model.decoder(part.to(device), condition.to(device)).float()  # (B, C, H, H)
        v = logits.amax(dim=1, keepdim=True)  # (B, 1, H, H), logit(v); then logarithms: at a black pixel x_hat / v is 0 / 0
        x_hat.append(torch.exp(F.logsigmoid(logits) - F.logsigmoid(v) + F.logsigmoid(v / t)).cpu())  # (7)
    return color.to_uint8(torch.cat(x_hat))


def sample_mixture(cfg, mu, logvar, n):
    """n codes (n, L) from a Gaussian mixture, full covariances, fitted to training codes; mu, logvar: (N, L)."""
    rng = torch.Generator().manual_seed(cfg.seed + 2)
    if len(mu) < 2:  # a category of which --quick took no image
        return torch.randn(n, cfg.latent_dim, generator=rng)
    z = mu + torch.exp(0.5 * logvar) * torch.randn(mu.shape, generator=rng)  # clouds, not only their centres
    # In float64, and reg_covar: a component that caught few codes would have a nearly singular covariance.
    mixture = GaussianMixture(min(cfg.components, max(1, len(z) // 20)), reg_covar=1e-3, random_state=cfg.seed).fit(z.double())
    return torch.from_numpy(mixture.sample(n)[0]).float()[torch.randperm(n, generator=rng)]  # (n, L); it comes sorted by component


def conditions(cfg, model, judge, device):
    """{condition: its c (P, E), one for each of at most 5 pairs (a, b) of categories, and what the judge takes samples under it for}."""
    k, found, rng = model.vectors(), {}, torch.Generator().manual_seed(cfg.seed + 5)  # k (K, E)
    a, b = (np.roll(np.arange(min(5, len(k))), -shift) for shift in (0, 1))  # each category and the next
    random = F.normalize(torch.randn(k[a].shape, generator=rng), dim=1)  # (P, E), of length 1
    z = torch.randn(10 if cfg.quick else 100, cfg.latent_dim, generator=rng)  # the same under all conditions of one kind
    for name, c in ({f"{t:.3f}": torch.lerp(k[a], k[b], t) for t in torch.linspace(0, 1, 9)} | {
            "sum": k[a] + k[b], "zero": 0 * k[a], "random": random * k.norm(dim=1).mean(), "far": 5 * k[a]}).items():
        samples = decode(cfg, model, z.repeat(len(c), 1), c.repeat_interleave(len(z), dim=0), device)
        p = torch.softmax(torch.as_tensor(judge.look(samples)[0]).double(), dim=1)  # (N, K)
        said = p.argmax(dim=1).numpy()  # (N,)
        # Entropy, nats: 0 where the judge is sure, ln K where it has no idea. A judge can be sure of what is no drawing at all.
        found[name] = {"c": c.tolist(), "entropy": float(-torch.xlogy(p, p).sum(dim=1).mean()),
                       "a": float((said == a.repeat(len(z))).mean()), "b": float((said == b.repeat(len(z))).mean()),
                       "taken_for": (np.bincount(said, minlength=p.shape[1]) / len(said)).tolist()}
    return found


def probes(codes, test, data):
    """What a linear map reads from mu, fitted to training images (N, L), measured on test images: (share of categories, R^2 of the hue)."""
    category = LogisticRegression(max_iter=300).fit(codes, data.y_train).score(test, data.y_test)
    if data.x_test.shape[1] == 1:
        return category, None
    # The mean of alpha * rgb(hue) over pixels has that hue. As sine and cosine: hue 0.99 is beside hue 0.01.
    angles = [2 * np.pi * rgb_to_hsv(x.mean(axis=(2, 3)))[:, 0] for x in (data.x_train, data.x_test)]
    train, rest = (np.stack([np.sin(a), np.cos(a)], axis=1) for a in angles)  # a row an image
    return category, LinearRegression().fit(codes, train).score(test, rest)


def study(cfg, data, judge, labels, device):
    """Train one kind of condition and measure it: (figures, model, history, {name: samples}, reconstructions of the test images)."""
    torch.manual_seed(cfg.seed)
    model = CVAE(cfg, data.x_train.shape[1], len(data.classes)).to(device)
    history = train(cfg, model, data, device)
    test, codes = (evaluate(cfg, model, *pair, device) for pair in ((data.x_test, data.y_test), (data.x_train, data.y_train)))
    mixture = torch.cat([sample_mixture(cfg, *(codes[name][data.y_train == k] for name in ("mu", "logvar")), int((labels == k).sum()))
                         for k in range(len(data.classes))])  # one for each category: training leaves some of it in z
    drawn = decode(cfg, model, test["mu"], model.vectors()[data.y_test], device, temperature=1.0)
    samples = {name: decode(cfg, model, codes, model.vectors()[labels], device) for name, codes in (
        ("samples", torch.randn(len(labels), cfg.latent_dim, generator=torch.Generator().manual_seed(cfg.seed + 3))),
        ("samples_mixture", mixture))}
    figures = {"val_objective": history[-1]["val_objective"], "parameters": sum(p.numel() for p in model.parameters()),
               "test_reconstruction": test["reconstruction"], "test_kl": test["kl"], "test_elbo": -test["reconstruction"] - test["kl"],
               "test_mse": float(((drawn / 255 - color.to_uint8(data.x_test) / 255) ** 2).mean())}
    figures |= dict(zip(("linear_probe_accuracy", "linear_probe_hue"), probes(codes["mu"], test["mu"], data)))
    some = np.random.default_rng(0).permutation(len(labels))[:len(data.x_test)]  # FID is measured on as many as there are test images
    for prefix, images in zip(("", "mixture_"), samples.values()):
        found = *judge.as_asked(images, labels), judge.fid(images[some])
        figures |= {prefix + name: value for name, value in zip(("accuracy", "diversity", "fid"), found)}
    print(f"{cfg.condition}: " + ", ".join(f"{name} {value}" for name, value in figures.items()), flush=True)
    return figures | {"conditions": conditions(cfg, model, judge, device)}, model, history, samples, drawn


# ---- 7. Main ----------------------------------------------------------------------------------------

def main(cfg):
    data, device = color.load(cfg), common.setup(cfg)
    common.require(len(set(data.y_train)) > 1, cfg.data, "one category", "two or more to train", "with one there is nothing to ask for")
    judge, n = Judge(cfg, data, device), 20 if cfg.quick else 1000  # samples of each category
    folder = common.start(cfg, "cvae_color" + "_grey" * cfg.grey, "sweep" if cfg.sweep else "metrics")
    labels = np.repeat(np.arange(len(data.classes)), max(1, n * 5 // max(5, len(data.classes))))
    if cfg.sweep:
        return sweep(cfg, folder, data.source, SWEEP, lambda c, name: {key: value for key, value in study(
            c, data, judge, labels, device)[0].items() if key in ("val_objective", "fid", "mixture_fid", "accuracy", "diversity")}, device)
    kinds = ("one_hot", "embedding") if cfg.condition == "both" else (cfg.condition,)
    done = {kind: study(replace(cfg, condition=kind), data, judge, labels, device) for kind in kinds}
    results, histories = ({kind: parts[i] for kind, parts in done.items()} for i in (0, 2))
    kept = min(kinds, key=lambda kind: results[kind]["val_objective"])
    figures, model, history, samples, drawn = done[kept]
    common.save(folder / "history.json", history), common.save(folder / "weights.pt", model)
    for name, images in samples.items():
        common.save(folder / f"{name}_labels.npy", labels)
        common.save(folder / f"{name}.npy", images)
    records = [{"epoch": rows[0]["epoch"]} | {f"{part}_{kind}": row[f"{part}_objective"] for part in ("train", "val")
                                              for kind, row in zip(kinds, rows)} for rows in zip(*histories.values())]
    common.plot_curves(cfg, folder / "curves.png", records, data.source, "Objective (4)", "nats an image", {kind: kind for kind in kinds},
                       levels={f"{kind}, test": f["test_reconstruction"] + cfg.beta * f["test_kl"] for kind, f in results.items()})
    both = {"test images": color.to_uint8(data.x_test), "from z = mu": drawn}  # side by side
    charts.plot_samples(cfg, folder / "reconstructions.png", {name: x[::max(1, len(x) // 35)] for name, x in both.items()}, data.source, 5)
    rows = np.concatenate([np.flatnonzero(labels == k)[:12] for k in range(min(8, len(data.classes)))])
    titled = dict(zip(("z from the prior", "z from the category's mixture"), (x[rows] for x in samples.values())))
    charts.plot_samples(cfg, folder / "samples.png", titled, data.source, 12, dict.fromkeys(titled, data.classes[:8]))
    z, shown, names = torch.randn(9, cfg.latent_dim, generator=torch.Generator().manual_seed(cfg.seed + 4)), {}, {}
    short = [name[:9] for name in data.classes[:5]]
    for kind, (_, network, *_) in done.items():
        c = {name: torch.tensor(record["c"]) for name, record in results[kind]["conditions"].items()}
        rest = torch.cat([c["0.000"], c["sum"], *(c[name][:1] for name in ("zero", "random", "far"))]).repeat_interleave(9, dim=0)
        way = torch.stack(list(c.values())[:9], dim=1).flatten(0, 1)  # nine for each pair
        names[f"{kind}: a row is one z, to the next"] = [f"{a} to {b}" for a, b in zip(short, short[1:] + short[:1])]
        names[f"{kind}: a column is one z"] = [*short, *(f"sum with {b}" for b in short[1:] + short[:1]), "zero", "random", "5 c"]
        shown[f"{kind}: a column is one z"] = decode(cfg, network, z.repeat(len(rest) // 9, 1), rest, device)
        shown[f"{kind}: a row is one z, to the next"] = decode(cfg, network, z[:len(way) // 9].repeat_interleave(9, dim=0), way, device)
    charts.plot_samples(cfg, folder / "conditions.png", shown, data.source, 9, names)
    common.finish(cfg, folder, data.source, device, model, history[-1]["seconds"], kept=kept, kinds=results, **figures)


if __name__ == "__main__":
    common.run(main, Config)
