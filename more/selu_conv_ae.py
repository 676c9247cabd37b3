"""Convolutional autoencoder with SELU and max-pooling: 28 -> 14 -> 7 -> 3 and back. Its code has 576 numbers, or, squeezed, 30.

dense_ae.py gives every pixel a weight of its own; here a 3x3 kernel looks at all places alike. Which of the two is better can be
asked only at one size of the code: a code of 576 numbers for 784 pixels is hardly a squeeze, and PCA with 576 leaves next to no error.
So there are three: the dense net with 30 numbers, this net with 576, and this net squeezed to 30.

    (1)  h_k = pool(selu(w_k * h_(k-1) + b_k)),  k = 1, 2, 3         * a 3x3 convolution, pool the largest of each 2x2; z = h_3
         h_0 = (x - m) / s,  x in [0, 1]^(28x28)                     m, s: mean and standard deviation of all training pixels
    (2)  squeezed:  c = selu(A z + a) in R^30,  z' = selu(B c + b) in R^576
    (3)  x_hat = sigmoid(l),  l = g(z) or g(z')                      g: three transposed convolutions, SELU after the first two
    (4)  H' = floor((H + 2 p - k) / s) + 1                           convolution, pooling: kernel k, stride s, padding p
    (5)  H' = (H - 1) s - 2 p + k + o                                transposed convolution, o = output_padding
    (6)  w ~ N(0, 1/n), b = 0,  n the products that an output is the sum of         LeCun-normal; why: dense_ae.py
    (7)  loss = mean over images and pixels of -x ln x_hat - (1 - x) ln (1 - x_hat), from l; why: dense_ae.py      nats a pixel
    (8)  MSE = mean over images and pixels of (x - x_hat)^2
    (9)  share not explained, in a band of pixels:  sum (x - x_hat)^2 / sum (x - mu)^2,  mu the mean test image

Down and up. By (4) a 3x3 kernel with p = 1 keeps the size ("same") and pooling halves it, rounding down: 28, 14, 7, floor(5/2) + 1 = 3.
By (5) with k = 3, s = 2:  (3 - 1) 2 + 3 = 7,  (7 - 1) 2 - 2 + 3 + 1 = 14,  (14 - 1) 2 - 2 + 3 + 1 = 28. o is there because (4) rounds: with
k = 3, s = 2, p = 1 both 13 and 14 become 7, and o = 1 says that it was 14. It is not pixels that are padded: one more row below and
one more column to the right are computed.

The odd 7. Pooling takes the rows 1 2, 3 4, 5 6; nothing takes row and column 7, 13 of 49 places, as if they had not been computed. The
pixels above them, the last 4 rows and columns, are not unseen: the kernel of the third convolution reaches one row further, from row
6 into row 7. But a middle row is seen through three rows of that kernel, the first through two, the last through one. (9) says what
that costs: compare the last band with the first, and with PCA's, which has no pooling, for the images have edges of their own.

Pooling and SELU. selu grows with its argument, so that the largest of four can be taken before or after it. But the largest of four
numbers of mean 0 has a mean above 0: pooling lifts the mean, and with it the mean square that the next layer gets; the zeros around
an image lower it. The fixed point of (6) is not quite kept here. metrics.json says how far it is missed, and that under
PyTorch's default the variance fades from layer to layer; --init default shows what training makes of that.
Kernels of 3 at stride 2 give an output 1, 2 or 4 terms, by its place: conv_ae.py says why that can be seen as a chessboard.

Papers: Klambauer et al., Self-normalizing neural networks, 2017; Dumoulin and Visin, A guide to convolution arithmetic, 2016, for (4), (5).

Run:    python -m more.selu_conv_ae --data DATA --out OUT     (or: make selu_conv_ae; after dense_ae, which it compares with)
        few drawings, here 2,880, want --shift 2 --mirror 0.5; a mirrored digit is none
Writes: OUT/selu_conv_ae/ weights.pt, history.json, metrics.json; pictures curves, reconstructions, quality, edges, start
Result: MNIST, seed 0, one thread, 4 minutes for both nets: test MSE with 30 numbers 0.0048 (dense_ae.py: 0.0069; PCA: 0.0177), with 576
        0.0022 (PCA: 0.000008). Convolutions are worth it at 30 numbers; at 576 the net is far from what even a linear map can keep.
        (9), last band over first: columns 1.19 with 576 numbers, 0.83 with 30, 0.89 for PCA: the row and column that pooling drops
        show in the columns, and only where little else is lost; rows 0.91, 0.71, 0.72. Drawings: 0.0312 with 30 numbers (dense 0.0410,
        PCA 0.0490), 0.0089 with 576 (PCA 0.0001)
"""

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.decomposition import PCA

import common
from more import charts, digits

# Shapes: B batch, C channels, H = W = 28, D = 784 pixels, N images, P components of PCA.


# ---- 1. Settings ------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Config(common.Settings):
    data: str = "data/mnist"  # folder with MNIST's idx files, the drawings, or others that more/color.py reads, here as 28x28 grey
    code: int = 30  # numbers in the squeezed net's code, as in dense_ae.py
    init: Literal["lecun", "default"] = "lecun"  # (6), or what PyTorch does
    steps: int = 5000  # weight updates of each of the two nets; fixed, so that any number of images takes about the same time
    epochs: int = 0  # passes over the training images; 0: as many as `steps` needs
    batch_size: int = 64  # images an update
    lr: float = 1.5e-2  # highest of the one-cycle schedule; validation MSE after 1,300 updates: 0.0041; with 3e-3 0.0060, with 3e-2 0.0038
    shift: int = 0  # pixels by up to which training images are moved: 54,000 digits are enough, and are centred
    mirror: float = 0.0  # share of training images that are mirrored: of drawings 0.5, of digits none


# ---- 2. Model ---------------------------------------------------------------------------------------

class Squeeze(nn.Module):
    """Equation (2): through `code` numbers, and back to as many as there were."""

    def __init__(self, code):
        super().__init__()
        self.layers = nn.Sequential(  # (B, 64, 3, 3)
            nn.Flatten(), nn.Linear(576, code), nn.SELU(),  # (B, 30)
            nn.Linear(code, 576), nn.SELU(), nn.Unflatten(1, (64, 3, 3)))  # (B, 64, 3, 3)

    def forward(self, z):
        return self.layers(z)


class Autoencoder(nn.Module):
    """Images (B, 1, 28, 28) -> logits of the same, equations (1) to (3)."""

    def __init__(self, cfg, squeezed, mean=0.0, sd=1.0):
        super().__init__()
        self.register_buffer("mean", torch.tensor(float(mean)))  # m and s: saved with the weights, moved by no gradient
        self.register_buffer("sd", torch.tensor(float(sd)))
        self.encoder = nn.Sequential(  # (B, 1, 28, 28)
            nn.Conv2d(1, 16, kernel_size=3, padding=1), nn.SELU(),  # (B, 16, 28, 28), by (4): (28 + 2 - 3) / 1 + 1
            nn.MaxPool2d(kernel_size=2, stride=2),  # (B, 16, 14, 14), by (4): (28 - 2) / 2 + 1
            nn.Conv2d(16, 32, kernel_size=3, padding=1), nn.SELU(),  # (B, 32, 14, 14)
            nn.MaxPool2d(kernel_size=2, stride=2),  # (B, 32, 7, 7)
            nn.Conv2d(32, 64, kernel_size=3, padding=1), nn.SELU(),  # (B, 64, 7, 7)
            nn.MaxPool2d(kernel_size=2, stride=2))  # (B, 64, 3, 3), by (4): floor(5 / 2) + 1; row and column 7 are dropped
        self.decoder = nn.Sequential(  # (B, 64, 3, 3)
            nn.ConvTranspose2d(64, 32, kernel_size=3, stride=2), nn.SELU(),  # (B, 32, 7, 7), by (5): (3 - 1) 2 + 3
            nn.ConvTranspose2d(32, 16, kernel_size=3, stride=2, padding=1, output_padding=1), nn.SELU(),  # (B, 16, 14, 14)
            nn.ConvTranspose2d(16, 1, kernel_size=3, stride=2, padding=1, output_padding=1))  # (B, 1, 28, 28), logits
        if cfg.init == "lecun":
            for layer in [*self.encoder, *self.decoder]:
                initialise(layer)
        # last, so that both nets begin with the same kernels
        self.squeeze = Squeeze(cfg.code) if squeezed else nn.Identity()
        if cfg.init == "lecun" and squeezed:
            for layer in self.squeeze.layers:
                initialise(layer)
        self.to(memory_format=torch.channels_last)  # the channels of a place lie side by side: pooling is much faster on a CPU

    def standardise(self, x):
        return (x - self.mean) / self.sd  # (B, 1, 28, 28), h_0 of (1)

    def forward(self, x):
        z = self.encoder(self.standardise(x))  # (1), (B, 64, 3, 3)
        return self.decoder(self.squeeze(z)).float()  # (2), (3) before its sigmoid, (B, 1, 28, 28)


def initialise(layer):
    """Equation (6), for a layer that has weights."""
    if not hasattr(layer, "weight"):
        return
    n = layer.weight[0].numel()  # weight is (out, in) or (out, in, k, k)
    if isinstance(layer, nn.ConvTranspose2d):
        # weight is (in, out, k, k): PyTorch's initialisers take that for (out, in, k, k). An input is spread over k k outputs, of which
        # there are s s for each input: an output is the sum of (k / s)^2 terms for each input channel, on average.
        n = layer.in_channels * (layer.kernel_size[0] / layer.stride[0]) ** 2
    nn.init.normal_(layer.weight, std=n ** -0.5)  # (6)
    nn.init.zeros_(layer.bias)


# ---- 3. Loss ----------------------------------------------------------------------------------------

def reconstruction_loss(logits, x):
    return F.binary_cross_entropy_with_logits(logits, x)  # (7)


# ---- 4. Training ------------------------------------------------------------------------------------

def train(cfg, squeezed, data, device):
    """The whole loop for one of the two nets; returns the model and its history, one record an epoch. As in dense_ae.py."""
    torch.manual_seed(cfg.seed)
    model = Autoencoder(cfg, squeezed, data.x_train.mean(), data.x_train.std()).to(device)
    x_train = torch.from_numpy(data.x_train)
    per_epoch = max(1, len(x_train) // cfg.batch_size)  # updates; images that fill no batch are left out until the next shuffle
    epochs = cfg.epochs or max(1, round(cfg.steps / per_epoch))
    optimizer = torch.optim.Adam(model.parameters(), lr=cfg.lr)
    # One cycle (Smith and Topin 2019): up for a tenth of the time, then down to nearly 0; Adam's beta1 goes the other way.
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, cfg.lr, total_steps=max(11, epochs * per_epoch), pct_start=0.1)
    rng = torch.Generator().manual_seed(cfg.seed)  # its own, the same for both nets: they see the same batches
    history, begin = [], time.time()
    for epoch in range(1, epochs + 1):
        model.train()
        x_epoch = common.augment(x_train, rng, cfg.shift, cfg.mirror) if cfg.shift or cfg.mirror else x_train
        order, sums = torch.randperm(len(x_train), generator=rng)[:per_epoch * cfg.batch_size], np.zeros(2)
        for batch in common.progress(order.split(cfg.batch_size), f"epoch {epoch}/{epochs}"):
            x = x_epoch[batch].to(device)  # (B, 1, 28, 28)
            with common.autocast(cfg, device):
                logits = model(x)  # (1), (2), (3)
            loss = reconstruction_loss(logits, x)  # (7)
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
    """(loss (7), MSE (8), reconstructions (N, 28, 28)) of images (N, 1, 28, 28)."""
    x = torch.from_numpy(images)
    with common.autocast(cfg, device):
        logits = torch.cat([model(part.to(device)).cpu() for part in x.split(500)])  # (N, 1, 28, 28)
    drawn = torch.sigmoid(logits)  # (3), (N, 1, 28, 28)
    return reconstruction_loss(logits, x).item(), F.mse_loss(drawn, x).item(), drawn[:, 0].numpy()  # (7), (8)


def pca_errors(data, sizes):
    """(MSE (8) on test images by number of components 0, 1, ..., P; {size: reconstructions (N, 28, 28)}). As in dense_ae.py."""
    x_train, x = (images.reshape(len(images), 784) for images in (data.x_train, data.x_test))  # (N, 784), and x with an N of its own
    pca = PCA(svd_solver="covariance_eigh").fit(x_train)
    scores = pca.transform(x).astype(np.float64)  # (N, P)
    left = ((x - pca.mean_).astype(np.float64) ** 2).sum() - np.cumsum((scores ** 2).sum(axis=0))  # (P,), Pythagoras
    drawn = {size: (pca.mean_ + scores[:, :size] @ pca.components_[:size]).reshape(-1, 28, 28) for size in sizes}
    return np.append(((x - pca.mean_) ** 2).mean(dtype=np.float64), left / x.size), drawn


def unexplained(x, x_hat):
    """Equation (9) of x (N, 28, 28) for the seven bands of four pixel rows, and of four columns: what a row of the 7x7 maps stands for."""
    error, spread = (x - x_hat) ** 2, (x - x.mean(axis=0)) ** 2  # (N, 28, 28) each
    return {name: [float(e / max(s, 1e-9)) for e, s in zip(*(v.sum(axis=(0, along)).reshape(7, 4).sum(axis=1) for v in (error, spread)))]
            for name, along in (("rows", 2), ("columns", 1))}  # (9)


def activations(net, x):
    """{layer: what it puts out} for images x (N, 1, 28, 28); c convolution and SELU, p pooling, u transposed convolution and SELU."""
    h = net.standardise(x)  # (N, 1, 28, 28)
    seen = [h]
    for layer in [*net.encoder, *net.decoder]:
        h = layer(h)
        seen += [h] if isinstance(layer, nn.SELU | nn.MaxPool2d) else []
    return dict(zip(("h_0", "c1", "p1", "c2", "p2", "c3", "p3", "u1", "u2"), seen))


@torch.no_grad()
def at_start(cfg, images, mean, sd, draws=5):
    """[{"layer", "LeCun, mean", "LeCun, variance", "default, mean", ...}] of untrained nets, over images, units and 5 nets."""
    x, rows = torch.from_numpy(images[:200]), {}
    for way, init in (("LeCun", "lecun"), ("default", "default")):
        nets = []
        for draw in range(draws):
            torch.manual_seed(draw)
            nets.append(activations(Autoencoder(replace(cfg, init=init), False, mean, sd), x))
        for layer in nets[0]:
            h = torch.stack([net[layer] for net in nets])  # (5, N, C, H, H), H that of the layer
            rows[layer] = rows.get(layer, {"layer": layer}) | {f"{way}, mean": h.mean().item(), f"{way}, variance": h.var().item()}
    return list(rows.values())


def read_dense(cfg, source):
    """(size of its code, test MSE, reconstructions (N, 28, 28)) of a finished dense_ae.py on the same images, or None."""
    try:
        folder = Path(cfg.out) / "dense_ae"
        record = json.loads((folder / "metrics.json").read_text())
        drawn = common.load_npy(folder / "reconstructions.npy") / 255
        if (record["data"], record["seed"], drawn.shape) == (source, cfg.seed, (source["drawings"]["test"], 28, 28)):
            return record["config"]["code"], record["test_mse"], drawn
    except (OSError, ValueError, KeyError, TypeError, common.InputError):
        pass
    print("found no finished OUT/dense_ae on the same images to compare with; run 'make dense_ae'")


# ---- 6. Pictures ------------------------------------------------------------------------------------

def plot_quality(cfg, path, errors, table, source):
    """Test MSE over the size of the code: PCA's line, and a dot for each net."""
    fig, axes = common.figure(width=6, height=3.4)
    axes[0, 0].plot(np.arange(1, len(errors)), np.maximum(errors[1:], 1e-6), color="0.4", label="PCA")
    for marker, (name, row) in zip("osD", table.items()):
        axes[0, 0].plot(row["numbers"], row["test_mse"], marker, fillstyle="none", label=f"{name}: {row['test_mse']:.4f}")
    axes[0, 0].set(title="What a larger code brings", xlabel="numbers in the code", ylabel="test MSE", xscale="log", yscale="log",
                   ylim=(1e-4, None))
    axes[0, 0].legend()
    common.save_figure(cfg, path, fig, source)


# ---- 7. Main ----------------------------------------------------------------------------------------

def main(cfg):
    common.require(cfg.code < 576, "--code", cfg.code, "fewer than the 576 numbers that are to be squeezed", "try 30")
    data, device = digits.load(cfg), common.setup(cfg)
    mean, sd = float(data.x_train.mean()), float(data.x_train.std())
    common.require(sd > 0, cfg.data, "training images of one single grey", "images that differ", "bring others")
    folder, x_test = common.start(cfg, __file__), data.x_test[:, 0]
    start, dense = at_start(cfg, data.x_train, mean, sd), read_dense(cfg, data.source)
    for way in ("LeCun", "default"):
        print(f"at the start, {way}: " + "  ".join("{layer} {0:+.2f}, {1:.2f}".format(row[f"{way}, mean"], row[f"{way}, variance"], **row)
                                                  for row in start) + "  (mean, variance)")
    table, drawn, models, histories = {}, {}, {}, {}
    if dense:
        table["dense"], drawn[f"dense, {dense[0]}"] = {"numbers": dense[0], "test_mse": dense[1]}, dense[2]
    for name, squeezed in (("squeezed", True), ("convolutional", False)):
        numbers = cfg.code if squeezed else 576
        print(f"{name}, a code of {numbers} numbers:")
        models[name], histories[name] = train(cfg, squeezed, data, device)
        test_loss, test_mse, drawn[f"convolutional, {numbers}"] = evaluate(cfg, models[name], data.x_test, device)
        table[name] = {"numbers": numbers, "test_mse": test_mse, "test_loss": test_loss, "val_loss": histories[name][-1]["val_loss"],
                       "val_mse": histories[name][-1]["val_mse"], "parameters": sum(p.numel() for p in models[name].parameters())}
    errors, by_pca = pca_errors(data, [cfg.code, 576])
    drawn |= {f"PCA, {size}": x_hat for size, x_hat in by_pca.items()}
    for name, row in table.items():
        row["pca_mse"] = float(errors[min(row["numbers"], len(errors) - 1)])
        print("{0:13s} {numbers:4d} numbers  test MSE {test_mse:.5f}, PCA with as many {pca_mse:.5f}".format(name, **row))
    bands = {name: unexplained(x_test, drawn[name]) for name in drawn if name != "PCA, 576"}
    edges = {name: {way: v[-1] / max(v[0], 1e-9) for way, v in row.items()} for name, row in bands.items()}
    for name, row in edges.items():
        print(f"share not explained, last band over first: {name:18s} " + "  ".join(f"{way} {v:.2f}" for way, v in row.items()))
    common.save(folder / "history.json", histories)
    common.save(folder / "weights.pt", nn.ModuleDict(models))
    lines = {f"{table[name]['numbers']} numbers, {label}": f"{name} {kind}" for name in models for kind, label in (
        ("train", "training"), ("val", "validation"))}
    panels = {title: (unit, {label: f"{line}_{key}" for label, line in lines.items()}) for title, unit, key in (
        ("Loss (7)", "nats a pixel", "loss"), ("Quality (8)", "MSE", "mse"))}
    records = [{"epoch": i + 1} | {f"{name} {key}": value for name in models for key, value in histories[name][i].items()}
               for i in range(len(histories["squeezed"]))]
    charts.plot_lines(cfg, folder / "curves.png", panels, records, "epoch", data.source, log=tuple(panels))
    charts.plot_reconstructions(cfg, folder / "reconstructions.png", data, drawn)
    plot_quality(cfg, folder / "quality.png", errors, table, data.source)
    panels = {f"By {way}": ("share not explained (9)", {name: f"{name} {way}" for name in bands}) for way in ("rows", "columns")}
    records = [{"band of four pixels": i + 1} | {f"{name} {way}": v[i] for name, row in bands.items() for way, v in row.items()}
               for i in range(7)]
    charts.plot_lines(cfg, folder / "edges.png", panels, records, "band of four pixels", data.source)
    charts.plot_lines(cfg, folder / "start.png", {f"At the start: {what}": (what, {way: f"{way}, {what}" for way in ("LeCun", "default")})
                                                  for what in ("mean", "variance")}, start, "layer", data.source)
    common.finish(cfg, folder, data.source, device, models["convolutional"], sum(h[-1]["seconds"] for h in histories.values()),
                  test_mse=table["convolutional"]["test_mse"], test_loss=table["convolutional"]["test_loss"],
                  squeezed_test_mse=table["squeezed"]["test_mse"], mean_image_mse=float(errors[0]), table=table, bands=bands,
                  last_band_over_first=edges, at_start=start)


if __name__ == "__main__":
    common.run(main, Config)
