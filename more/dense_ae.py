"""Dense autoencoder: 784 pixels -> 100 -> 30 -> 100 -> 784, with SELU, whose layers keep themselves at mean 0 and variance 1.

Matrices and one nonlinearity, and little else. It has to beat PCA with the same 30 numbers. Without its nonlinearities it could not:
of all affine maps through 30 numbers PCA has the least error (7) on the images it was fitted to.

    (1)  h_k = selu(W_k h_(k-1) + b_k),  k = 1, 2, 3      h_0 = (x - m) / s, x in [0, 1]^D, D = 784; the code is z = h_2 in R^30
    (2)  l = W_4 h_3 + b_4,  x_hat = sigmoid(l)           four layers; the last has no SELU, and its sigmoid is folded into (5)
    (3)  selu(a) = lambda a where a > 0,  lambda alpha (e^a - 1) elsewhere        lambda = 1.0507, alpha = 1.6733
    (4)  W_k ~ N(0, 1/n), b_k = 0,  n the numbers that go into a unit of layer k          LeCun-normal
    (5)  loss = mean over images and pixels of  -x ln x_hat - (1 - x) ln (1 - x_hat)
              = mean of  max(l, 0) - l x + ln (1 + e^-|l|)                                nats a pixel
    (6)  dloss/dl is x_hat - x for each pixel, over their number
    (7)  MSE = mean over images and pixels of (x - x_hat)^2
    (8)  PCA:  x_hat = mu + V V^T (x - mu),  mu the mean training image, V (D, 30) the directions of largest variance

Why LeCun-normal. lambda and alpha are solved for one property: if a ~ N(0, 1), then selu(a) has mean 0 and variance 1, too. A sum of
n inputs of mean 0 and variance 1, weighted by (4), has variance n * 1/n = 1 and is nearly normal, so that (0, 1) is a fixed point of
the layer: what goes in comes out. And it attracts: a variance of 1 + d, d small, comes out as 1 + 0.78 d. So no signal fades or grows
on its way through the layers, and no BatchNorm is needed for that. With He's 2/n, made for ReLU, (0, 1) is no fixed point;
PyTorch's default, W and b from U(-1/sqrt n, 1/sqrt n), has variance 1/(3 n), and signals fade. What goes into the first layer has
to be standardised: hence m and s, two numbers, mean and standard deviation of all training pixels. Pixels as they are have a variance
far below 1, and three layers are too few to bring it there. metrics.json holds mean and variance of every layer at the start, for
(4) and for the default, from h_0 and from pixels; and what a short training makes of (4) and of the default.

Why the cross-entropy, when (7) is what is reported. In both, the best x_hat for a set of images that share a code is their mean: by (6)
the derivative vanishes where the mean of x_hat - x does, and that of (7) does so at the same place. But through the sigmoid (7) hands
back 2 (x_hat - x) x_hat (1 - x_hat), nearly nothing where the net is sure and wrong; (6) hands back the error itself. Grey
pixels are no coin tosses: (5) is no likelihood here, and its least value is not 0 but the mean entropy of the pixels.

Papers: Hinton and Salakhutdinov, Reducing the dimensionality of data with neural networks, Science 313, 2006, for the comparison
with PCA; Klambauer et al., Self-normalizing neural networks, 2017, section 2 and theorem 1, for (3) and (4).

Run:    python -m more.dense_ae --data DATA --out OUT         (or: make dense_ae; python -m more.digits puts MNIST into data/mnist)
        few drawings, here 2,880, want --shift 2 --mirror 0.5 --steps 8000; a mirrored digit is none
Writes: OUT/dense_ae/ weights.pt, history.json, reconstructions.npy, metrics.json; pictures curves, reconstructions, start
Result: MNIST, seed 0, one thread, 76 seconds: test MSE 0.0069; PCA with 30 components 0.0177, and needs 83 for as little; the mean image
        0.0675. At the start the variance of h_1, h_2, h_3 is 0.99, 0.98, 0.98 with (4), 0.41, 0.20, 0.12 with PyTorch's default: after a
        short training that costs 0.0117 in place of 0.0101 (validation). Drawings, moved and mirrored, 43 seconds: 0.0410; PCA 0.0490
"""

import time
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.decomposition import PCA

import common
from more import charts, digits

# Shapes: B batch, C = 1 channel, H = W = 28, D = 784 pixels, N images, P components of PCA.


# ---- 1. Settings ------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Config(common.Settings):
    data: str = "data/mnist"  # folder with MNIST's idx files, the drawings, or others that more/color.py reads, here as 28x28 grey
    hidden: int = 100  # units of the layers between pixels and code
    code: int = 30  # numbers in a code, and PCA's components
    init: Literal["lecun", "default"] = "lecun"  # (4), or what PyTorch does
    steps: int = 20000  # weight updates; fixed, so that any number of images takes about the same time
    epochs: int = 0  # passes over the training images; 0: as many as `steps` needs
    batch_size: int = 128  # images an update; the layers are so small that 64 would take nearly as long
    lr: float = 8e-3  # highest of the one-cycle schedule; validation MSE after 5,000 updates: 0.0078; with 4e-3 0.0088, with 1.6e-2 0.0082
    shift: int = 0  # pixels by up to which training images are moved: 54,000 digits are enough, and are centred
    mirror: float = 0.0  # share of training images that are mirrored: of drawings 0.5, of digits none


# ---- 2. Model ---------------------------------------------------------------------------------------

class Autoencoder(nn.Module):
    """Images (B, 1, 28, 28) -> logits of the same, equations (1) and (2)."""

    def __init__(self, cfg, mean=0.0, sd=1.0):
        super().__init__()
        self.register_buffer("mean", torch.tensor(float(mean)))  # m and s: saved with the weights, moved by no gradient
        self.register_buffer("sd", torch.tensor(float(sd)))
        self.encoder = nn.Sequential(  # (B, 784)
            nn.Linear(784, cfg.hidden), nn.SELU(),  # (3), (B, 100)
            nn.Linear(cfg.hidden, cfg.code), nn.SELU())  # (B, 30), the code: each number above -lambda alpha = -1.758
        self.decoder = nn.Sequential(  # (B, 30)
            nn.Linear(cfg.code, cfg.hidden), nn.SELU(),  # (B, 100)
            nn.Linear(cfg.hidden, 784))  # (B, 784), logits: any real number
        if cfg.init == "lecun":
            for layer in [*self.encoder[::2], *self.decoder[::2]]:
                nn.init.normal_(layer.weight, std=layer.in_features ** -0.5)  # (4): a standard deviation, the root of 1/n
                nn.init.zeros_(layer.bias)

    def standardise(self, x):
        return ((x - self.mean) / self.sd).flatten(1)  # (B, 784), h_0 of (1)

    def forward(self, x):
        z = self.encoder(self.standardise(x))  # (1), (B, 30)
        return self.decoder(z).float().view_as(x)  # (2) before its sigmoid, (B, 1, 28, 28)


# ---- 3. Loss ----------------------------------------------------------------------------------------

def reconstruction_loss(logits, x):
    """Equation (5), in its second form: exact for a logit of any size, where ln(sigmoid(l)) would round to ln 0."""
    return F.binary_cross_entropy_with_logits(logits, x)  # (5); its backward pass is (6)


# ---- 4. Training ------------------------------------------------------------------------------------

def train(cfg, data, device):
    """The whole loop; returns the model and its history, one record an epoch."""
    torch.manual_seed(cfg.seed)
    model = Autoencoder(cfg, data.x_train.mean(), data.x_train.std()).to(device)
    x_train = torch.from_numpy(data.x_train)
    per_epoch = max(1, len(x_train) // cfg.batch_size)  # updates; images that fill no batch are left out until the next shuffle
    epochs = cfg.epochs or max(1, round(cfg.steps / per_epoch))
    optimizer = torch.optim.Adam(model.parameters(), lr=cfg.lr)
    # One cycle (Smith and Topin 2019): up for a tenth of the time, then down to nearly 0; Adam's beta1 goes the other way.
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, cfg.lr, total_steps=max(11, epochs * per_epoch), pct_start=0.1)
    rng = torch.Generator().manual_seed(cfg.seed)  # its own: nothing else can change the order
    history, begin = [], time.time()
    for epoch in range(1, epochs + 1):
        model.train()
        x_epoch = common.augment(x_train, rng, cfg.shift, cfg.mirror) if cfg.shift or cfg.mirror else x_train
        order, sums = torch.randperm(len(x_train), generator=rng)[:per_epoch * cfg.batch_size], np.zeros(2)
        for batch in common.progress(order.split(cfg.batch_size), f"epoch {epoch}/{epochs}"):
            x = x_epoch[batch].to(device)  # (B, 1, 28, 28)
            with common.autocast(cfg, device):
                logits = model(x)  # (1), (2)
            loss = reconstruction_loss(logits, x)  # (5)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            sums += [loss.item() * len(x), F.mse_loss(logits.detach().sigmoid(), x).item() * len(x)]
        val_loss, val_mse, _ = evaluate(cfg, model, data.x_val, device)
        history.append({"epoch": epoch, "train_loss": sums[0] / len(order), "train_mse": sums[1] / len(order),
                        "val_loss": val_loss, "val_mse": val_mse, "seconds": time.time() - begin})
        if epoch % max(1, epochs // 40) == 0 or epoch == epochs:  # few images make hundreds of short epochs
            print("epoch {epoch:3d}/{0}  nats a pixel: train {train_loss:.5f}  validation {val_loss:.5f}  MSE: train {train_mse:.5f}  "
                  "validation {val_mse:.5f}  {seconds:6.1f} s".format(epochs, **history[-1]), flush=True)
    return model, history


# ---- 5. Evaluation ----------------------------------------------------------------------------------

@torch.no_grad()
def evaluate(cfg, model, images, device):
    """(loss (5), MSE (7), reconstructions (N, 28, 28)) of images (N, 1, 28, 28)."""
    x = torch.from_numpy(images)
    with common.autocast(cfg, device):
        logits = torch.cat([model(part.to(device)).cpu() for part in x.split(1000)])  # (N, 1, 28, 28)
    drawn = torch.sigmoid(logits)  # (2), (N, 1, 28, 28)
    return reconstruction_loss(logits, x).item(), F.mse_loss(drawn, x).item(), drawn[:, 0].numpy()  # (5), (7)


def pca_errors(data, components):
    """(MSE (7) on test images by number of components 0, 1, ..., P; reconstructions (N, 28, 28) from `components` of them).

    The directions come from the training images. Exact, from the eigenvectors of the covariance: scikit-learn would take random
    ones to begin with if it were left to choose. Nothing is clipped to [0, 1]; the net's sigmoid is what keeps it there.
    """
    x_train, x = (images.reshape(len(images), 784) for images in (data.x_train, data.x_test))  # (N, 784), and x with an N of its own
    pca = PCA(svd_solver="covariance_eigh").fit(x_train)
    scores = pca.transform(x).astype(np.float64)  # (N, P), V^T (x - mu) for all directions, the strongest first
    left = ((x - pca.mean_).astype(np.float64) ** 2).sum() - np.cumsum((scores ** 2).sum(axis=0))  # (P,), Pythagoras
    drawn = pca.mean_ + scores[:, :components] @ pca.components_[:components]  # (8), (N, 784)
    return np.append(((x - pca.mean_) ** 2).mean(dtype=np.float64), left / x.size), drawn.reshape(-1, 28, 28)


def activations(net, x):
    """h_0 to h_3 of (1) for images x (N, 1, 28, 28)."""
    h_0 = net.standardise(x)  # (N, 784)
    h_1 = net.encoder[:2](h_0)  # (N, 100)
    h_2 = net.encoder[2:](h_1)  # (N, 30)
    return h_0, h_1, h_2, net.decoder[:2](h_2)


@torch.no_grad()
def at_start(cfg, images, mean, sd, draws=20):
    """[{"layer": "h_k", "LeCun, mean": ..., "LeCun, variance": ..., ...}]: h_k of untrained nets, over images, units and 20 nets.

    Over many nets: the 30 units of a single one have a mean that misses what is expected by about 1/sqrt(30).
    """
    x, rows = torch.from_numpy(images[:500]), [{"layer": f"h_{k}"} for k in range(4)]
    for way, (init, m, s) in {"LeCun": ("lecun", mean, sd), "LeCun, raw pixels": ("lecun", 0, 1), "default": ("default", mean, sd),
                              "default, raw pixels": ("default", 0, 1)}.items():
        nets = []
        for draw in range(draws):
            torch.manual_seed(draw)
            nets.append(activations(Autoencoder(replace(cfg, init=init), m, s), x))
        for row, parts in zip(rows, zip(*nets)):
            h = torch.stack(parts)  # (20, N, H), H units of the layer
            row |= {f"{way}, mean": h.mean().item(), f"{way}, variance": h.var().item()}
    return rows


def by_init(cfg, data, device):
    """{init: validation MSE after a tenth of the updates}: same batches, other first weights."""
    found = {}
    for init in ("lecun", "default"):
        print(f"a short training, first weights: {init}")
        c = replace(cfg, init=init, steps=max(1, cfg.steps // 10), epochs=int(cfg.quick))
        found[init] = train(c, data, device)[1][-1]["val_mse"]
    return found


# ---- 7. Main ----------------------------------------------------------------------------------------

def main(cfg):
    data, device = digits.load(cfg), common.setup(cfg)
    mean, sd = float(data.x_train.mean()), float(data.x_train.std())
    common.require(sd > 0, cfg.data, "training images of one single grey", "images that differ", "bring others")
    folder = common.start(cfg, __file__)
    start = at_start(cfg, data.x_train, mean, sd)
    for way in ("LeCun", "default"):
        print(f"at the start, {way}: " + "  ".join("{layer} {0:+.2f}, {1:.2f}".format(row[f"{way}, mean"], row[f"{way}, variance"], **row)
                                                  for row in start) + "  (mean, variance)")
    inits = by_init(cfg, data, device)
    model, history = train(cfg, data, device)

    test_loss, test_mse, drawn = evaluate(cfg, model, data.x_test, device)
    errors, pca_drawn = pca_errors(data, cfg.code)
    pca_mse = float(errors[min(cfg.code, len(errors) - 1)])
    enough = int(np.argmax(errors <= test_mse))  # 0: the mean image is no worse
    print(f"test MSE {test_mse:.5f}, PCA with {cfg.code} components {pca_mse:.5f}, the mean image {errors[0]:.5f}; "
          f"PCA needs {enough} components for the net's MSE")
    common.save(folder / "history.json", history)
    common.save(folder / "weights.pt", model)
    common.save(folder / "reconstructions.npy", (drawn * 255).round().astype(np.uint8))  # selu_conv_ae.py shows them beside its own
    charts.plot_lines(cfg, folder / "curves.png", {
        "Loss (5)": ("nats a pixel", {"training": "train_loss", "validation": "val_loss"}),
        "Quality (7)": ("MSE", {"training": "train_mse", "validation": "val_mse", f"PCA, {cfg.code}, test": "pca"})},
        [row | {"pca": pca_mse} for row in history], "epoch", data.source, log=("Quality (7)",))
    charts.plot_reconstructions(cfg, folder / "reconstructions.png", data, {f"{cfg.code} numbers": drawn, f"PCA, {cfg.code}": pca_drawn})
    ways = {"LeCun, h_0 standardised": "LeCun", "LeCun, pixels": "LeCun, raw pixels", "default, h_0 standardised": "default"}
    charts.plot_lines(cfg, folder / "start.png", {f"At the start: {what}": (f"{what} of h_k", {
        label: f"{way}, {what}" for label, way in ways.items()}) for what in ("mean", "variance")}, start, "layer", data.source)
    common.finish(cfg, folder, data.source, device, model, history[-1]["seconds"], test_loss=test_loss, test_mse=test_mse,
                  val_loss=history[-1]["val_loss"], val_mse=history[-1]["val_mse"], pca_mse=pca_mse, mean_image_mse=float(errors[0]),
                  pca_components_needed=enough, at_start=start, val_mse_by_init=inits)


if __name__ == "__main__":
    common.run(main, Config)
