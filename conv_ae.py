"""Convolutional autoencoder: squeeze a drawing into 64 numbers and draw it again from them.

Two networks. The encoder f turns a drawing x into a code z, the decoder g turns the code back into
a drawing x_hat. 64 numbers cannot hold any 784 pixels there might be, so the pair has to find what
drawings have in common. It never sees a label.

    (1)  z     = f(x)                          x in [0, 1]^D, D = 784; z in R^L, L = 64
    (2)  x_hat = sigmoid(g(z))                 the decoder ends in logits; the sigmoid makes pixels
    (3)  MSE   = mean over drawings and pixels of (x - x_hat)^2

The yardstick is PCA with the same 64 numbers: on the training drawings no linear encoder and decoder
do better at (3). An autoencoder that draws worse than PCA could as well be a matrix.

Paper: Hinton and Salakhutdinov, Reducing the dimensionality of data with neural networks,
Science 313 (2006), which compares with PCA in the same way.

Run:    python conv_ae.py --data DATA        (or: make conv_ae)
Writes: OUT/conv_ae/ weights.pt, history.json, reconstructions.npy, metrics.json;
        pictures curves, reconstructions, tsne
Result: 102 s on 2 cores of an AMD EPYC, bfloat16, 2,880 real drawings: test MSE 0.0124 (PCA 0.0333).
        Categories from the code: k-NN 83 % right (PCA 83 %, pixels 80 %), linear probe 78 % (75 %, 68 %)

Compared with rnn_ae.py: the same loss, loop, figures and code size; other networks, and a lower lr.
"""

import time
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import TSNE
from sklearn.metrics import silhouette_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import common

# Shapes: B batch, C channels, H = W = 28, D = 784 pixels, L latent dimensions.


# ---- 1. Settings ------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Config(common.Settings):
    latent_dim: int = 64  # L, numbers in a code; the course asks for 64: MSE 0.037, 0.027, 0.026 with 32, 64, 128 (360 updates)
    width: int = 16  # channels after the first layer; twice as many cost three times the time
    steps: int = 3000  # weight updates; fixed, so that 3,000 and 20,000 drawings take the same time
    epochs: int = 0  # passes over the training drawings; 0: as many as `steps` needs
    batch_size: int = 64  # drawings an update
    lr: float = 2e-3  # highest learning rate of the one-cycle schedule
    shift: int = 2  # pixels by up to which training drawings are moved, besides mirroring


# ---- 2. Model ---------------------------------------------------------------------------------------

def block(conv):
    """A convolution, each channel normalised over the batch, SiLU. No bias: BatchNorm subtracts the mean, and would cancel it."""
    return nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels), nn.SiLU())


class Encoder(nn.Module):
    """Drawing (B, 1, 28, 28) -> code (B, L), equation (1)."""

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
            nn.Linear(256, latent_dim))  # (B, L), no activation: a code may be any real number

    def forward(self, x):
        return self.layers(x)


class Decoder(nn.Module):
    """Code (B, L) -> logits of the drawing (B, 1, 28, 28); back through the encoder's sizes."""

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


class Autoencoder(nn.Module):
    def __init__(self, latent_dim, width):
        super().__init__()
        self.encoder = Encoder(latent_dim, width)
        self.decoder = Decoder(latent_dim, width)

    def forward(self, x):
        z = self.encoder(x)  # (1), (B, L)
        # sigmoid in float32: in bfloat16 it is 1 from a logit of 6.25 on, and passes no gradient
        return torch.sigmoid(self.decoder(z).float())  # (2), (B, 1, 28, 28)


# ---- 3. Loss ----------------------------------------------------------------------------------------

def mse(x_hat, x):
    """Equation (3): squared error, mean over drawings and pixels."""
    # The mean over D pixels only sets the scale (the sum is 784 times larger). In a VAE, where a
    # second term is added, that choice would decide the result: see conv_vae.py, section 3.
    return F.mse_loss(x_hat, x)


# ---- 4. Training ------------------------------------------------------------------------------------

def train(cfg, model, data, device):
    """The whole loop; returns the history, one record an epoch."""
    x_train = torch.from_numpy(data.x_train)
    per_epoch = max(1, len(x_train) // cfg.batch_size)  # updates; drawings that fill no batch are left out until the next shuffle
    epochs = cfg.epochs or max(1, round(cfg.steps / per_epoch))
    # Adam: each weight has a step size of its own. Plain SGD at 0.01 draws the mean drawing for long, or for good.
    optimizer = torch.optim.Adam(model.parameters(), lr=cfg.lr)
    # One cycle (Smith and Topin 2019): up for a tenth of the time, while the gradients are wild, then
    # down to nearly 0, where the last steps average out the noise of the batches. Meanwhile PyTorch moves
    # Adam's beta1 the other way, from 0.95 to 0.85 and back. (With exactly 10 steps it divides by 0: hence 11.)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, cfg.lr, total_steps=max(11, epochs * per_epoch), pct_start=0.1)
    data_rng = torch.Generator().manual_seed(cfg.seed)  # its own: nothing else can change the order
    history, begin = [], time.time()
    for epoch in range(1, epochs + 1):
        model.train()
        x_epoch = common.augment(x_train, data_rng, cfg.shift)  # moved and mirrored anew each epoch
        order = torch.randperm(len(x_train), generator=data_rng)[:per_epoch * cfg.batch_size]
        total = 0.0
        for batch in common.progress(order.split(cfg.batch_size), f"epoch {epoch}/{epochs}"):
            x = x_epoch[batch].to(device)  # (B, 1, 28, 28)
            with common.autocast(cfg, device):
                x_hat = model(x)  # (1), (2)
            loss = mse(x_hat, x)  # (3)
            optimizer.zero_grad()  # else this batch's gradients would be added to the last one's
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(x)
        record = {"epoch": epoch, "train_mse": total / len(order), "val_mse": evaluate(cfg, model, data.x_val, device)[0],
                  "seconds": time.time() - begin}
        history.append(record)
        print(f"epoch {epoch:3d}/{epochs}  MSE a pixel: train {record['train_mse']:.5f}  validation {record['val_mse']:.5f}"
              f"  {record['seconds']:6.1f} s", flush=True)
    return history


# ---- 5. Evaluation ----------------------------------------------------------------------------------

@torch.no_grad()
def evaluate(cfg, model, images, device):
    """(MSE, codes (N, L), reconstructions (N, 28, 28)) of drawings (N, 1, 28, 28), as numpy arrays."""
    was_training = model.training
    model.eval()  # BatchNorm uses its running statistics, so that a result does not depend on the batch
    codes, drawn = [], []
    for x in torch.from_numpy(images).split(500):
        with common.autocast(cfg, device):
            codes.append(model.encoder(x.to(device)).float().cpu())
            drawn.append(torch.sigmoid(model.decoder(codes[-1].to(device)).float()).cpu())
    model.train(was_training)
    codes, drawn = torch.cat(codes).numpy(), torch.cat(drawn).numpy()
    # one sum over all drawings, divided once: a mean of batch means would give a short last batch too much weight
    return float(((drawn - images) ** 2).sum() / images.size), codes, drawn[:, 0]


def discriminability(train_codes, y_train, test_codes, y_test):
    """How well a code tells the categories apart, measured in its own space, not in a picture of it.

    k-NN: are a drawing's neighbours of its kind? Linear probe: do hyperplanes tell new ones apart?
    Both learn from training codes and are scored on test codes. Silhouette (-1 to 1): how much closer
    is a drawing to its own category than to the next one? Distances are taken in the codes as they are:
    standardised, PCA's last component, mostly noise, would count as much as its first.
    """
    keep = slice(5000)  # with all of 20,000 this would take longer than some of the training
    knn = KNeighborsClassifier(n_neighbors=min(10, len(train_codes[keep])))
    # standardised here: the penalty C pulls on weights, whose size depends on the code's unit
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=300))
    return {"knn_accuracy": knn.fit(train_codes[keep], y_train[keep]).score(test_codes, y_test),
            "probe_accuracy": probe.fit(train_codes[keep], y_train[keep]).score(test_codes, y_test),
            "silhouette": float(silhouette_score(test_codes[keep], y_test[keep]))}


# ---- 6. Pictures ------------------------------------------------------------------------------------

def plot_tsne(cfg, folder, codes, labels, scores, source):
    """t-SNE keeps neighbours and nothing else: sizes of clusters and gaps between them mean nothing."""
    pick = np.arange(n := min(2000, len(codes))) * len(codes) // n  # more dots would hide one another; evenly: a file may be sorted
    codes, labels = codes[pick], labels[pick]
    perplexity = min(30.0, (len(codes) - 1) / 3)  # about how many neighbours each dot tries to stay close to
    plane = TSNE(perplexity=perplexity, init="pca" if codes.shape[1] > 1 else "random", random_state=0).fit_transform(codes)  # (N, 2)
    fig, axes = common.figure(1, 2, width=9, height=4)
    for k, name in enumerate(common.CLASSES):
        axes[0, 0].scatter(*plane[labels == k].T, s=6, color=common.COLORS[k], label=name)
    axes[0, 0].set(title=f"t-SNE of {len(codes):,} test codes, perplexity {perplexity:.0f}", xticks=[], yticks=[])
    axes[0, 0].legend(markerscale=2, ncols=5, loc="upper center", bbox_to_anchor=(0.5, 0), columnspacing=0.8, handletextpad=0)
    for i, (space, values) in enumerate(scores.items()):
        bars = axes[0, 1].bar(np.arange(3) + 0.27 * (i - 1), values.values(), width=0.25, label=space)
        axes[0, 1].bar_label(bars, fmt="%.2f", fontsize=7)
    axes[0, 1].set(title="Discriminability, measured in each space", ylabel="accuracy, or silhouette",
                   xticks=range(3), xticklabels=["k-NN", "linear probe", "silhouette"])
    axes[0, 1].legend()
    common.save_figure(cfg, folder / "tsne.png", fig, source)


# ---- 7. Main ----------------------------------------------------------------------------------------

def main(cfg):
    data, device = common.load_data(cfg), common.setup(cfg)
    folder = common.start(cfg, __file__)
    model = Autoencoder(cfg.latent_dim, cfg.width).to(device)
    history = train(cfg, model, data, device)

    test_mse, test_codes, drawn = evaluate(cfg, model, data.x_test, device)
    train_codes = evaluate(cfg, model, data.x_train, device)[1]
    flat = {name: getattr(data, name).reshape(-1, 784) for name in ("x_train", "x_test")}
    pca = PCA(min(cfg.latent_dim, *flat["x_train"].shape), svd_solver="full").fit(flat["x_train"])  # "auto" would approximate
    pca_drawn = pca.inverse_transform(pca.transform(flat["x_test"])).reshape(-1, 28, 28)
    pca_mse = float(((pca_drawn - data.x_test[:, 0]) ** 2).mean())
    scores = {
        "autoencoder": discriminability(train_codes, data.y_train, test_codes, data.y_test),
        f"PCA, {cfg.latent_dim}": discriminability(pca.transform(flat["x_train"]), data.y_train,
                                                   pca.transform(flat["x_test"]), data.y_test),
        "pixels": discriminability(flat["x_train"], data.y_train, flat["x_test"], data.y_test)}
    print(f"test MSE a pixel {test_mse:.5f}, PCA with {cfg.latent_dim} components {pca_mse:.5f}")
    for space, values in scores.items():
        print(f"{space:12s}", "  ".join(f"{name} {value:.3f}" for name, value in values.items()))

    common.save(folder / "history.json", history)
    common.save(folder / "weights.pt", model)
    common.save(folder / "reconstructions.npy", (drawn * 255).round().astype(np.uint8))  # metrics.py scores them
    common.plot_curves(cfg, folder / "curves.png", history, data.source, "Convolutional autoencoder", "MSE a pixel", left={"mse": "MSE"},
                       levels={f"PCA, {cfg.latent_dim} components, test": pca_mse}, yscale="log")
    common.plot_reconstructions(cfg, folder / "reconstructions.png", data, {"autoencoder": drawn, f"PCA, {cfg.latent_dim}": pca_drawn})
    plot_tsne(cfg, folder, test_codes, data.y_test, scores, data.source)
    common.finish(cfg, folder, data.source, device, model, history[-1]["seconds"], test_mse=test_mse,
                  val_mse=history[-1]["val_mse"], pca_mse=pca_mse, discriminability=scores)


if __name__ == "__main__":
    common.run(main, Config)
