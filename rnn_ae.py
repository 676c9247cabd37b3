"""Recurrent autoencoder: read a drawing row by row, keep 64 numbers, write it row by row again.

A drawing is taken as a multivariate time series: T = 28 steps (rows, from the top), 28 values each.
A GRU (gated recurrent unit) reads it once downwards and once upwards; what it knows at each row is
squeezed into the code z. The decoder unfolds the code into 28 vectors, and a second GRU, again in
both directions, turns them into rows that fit together.

    (1)  h_1 .. h_T = GRU(x_1 .. x_T)          x_t in [0, 1]^28; h_t: both directions' states
    (2)  z     = W_z [V h_1; ...; V h_T] + b   z in R^L, L = 64
    (3)  u_1 .. u_T = U z + c                  the code unfolded, one vector a row
    (4)  x_hat_t = sigmoid(W_o GRU(u)_t + d)   every row read out by the same weights
    (5)  MSE   = mean over drawings and pixels of (x - x_hat)^2

A GRU cell, for an input x_t and the state h before it, 0 at first (torch.nn.GRU, biases left out; * is
elementwise; Cho et al. have U_n (r * h), and the gates' letters vary from text to text):

    (6)  r = sigmoid(W_r x_t + U_r h),  s = sigmoid(W_s x_t + U_s h)       reset and update gate
         h_t = s * h + (1 - s) * tanh(W_n x_t + r * (U_n h))

Why GRU and not a plain tanh cell: where the update gate s is near 1 the state, and with it the
gradient, passes unchanged from row to row, so that row 28 can still teach row 1. Why not an LSTM:
one state instead of two, a cell with a quarter fewer weights, and it learns sooner: after 1,500 updates the GRU was
at a test MSE of 0.057, an LSTM (--cell LSTM, the same lr) still at the mean drawing's, 0.093. Why z reads every row's
state: from the last ones alone (--summary last) the same net, at the same lr, stayed at the mean drawing.

The yardstick is PCA with the same 64 numbers: on the training drawings no linear encoder and decoder
do better at (5). An autoencoder that draws worse than PCA could as well be a matrix.

Papers: Cho et al., Learning phrase representations using RNN encoder-decoder, 2014, section 2.3
(the cell); Srivastava et al., Unsupervised learning of video representations using LSTMs, 2015,
section 2.2 (recurrent autoencoder); Hinton and Salakhutdinov, Science 313 (2006), for PCA beside.

Run:    python rnn_ae.py --data DATA         (or: make rnn_ae)
Writes: OUT/rnn_ae/ weights.pt, history.json, reconstructions.npy, metrics.json;
        pictures curves, reconstructions, tsne
Result: 166 s on 2 cores of an AMD EPYC, bfloat16, 2,880 real drawings: test MSE 0.0155 (PCA 0.0333,
        conv_ae.py 0.0124). Categories from the code: k-NN 77 % right (PCA 83 %, pixels 80 %), linear probe
        76 % (75 %, 68 %): a code that draws better than PCA's need not tell categories apart better

Compared with conv_ae.py: the same loss, loop, figures and code size; other networks, and a higher lr.
"""

import time
from dataclasses import dataclass
from typing import Literal

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

# Shapes: B batch, T = 28 rows of 28 pixels, D = 784 pixels, L latent dimensions.


# ---- 1. Settings ------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Config(common.Settings):
    latent_dim: int = 64  # L, numbers in a code; the course asks for 64
    cell: Literal["GRU", "LSTM"] = "GRU"  # see above
    summary: Literal["rows", "last"] = "rows"  # the code reads every row's state, or the last one of each direction
    hidden_dim: int = 128  # a GRU's state in one direction; a state of 28 that is itself the output stays above PCA
    row_dim: int = 32  # numbers that the code reads of each row's state, V in (2)
    unfold_dim: int = 64  # numbers that the decoder's GRU gets for each row, U in (3)
    steps: int = 3000  # weight updates; fixed, so that 3,000 and 20,000 drawings take the same time
    epochs: int = 0  # passes over the training drawings; 0: as many as `steps` needs
    batch_size: int = 64  # drawings an update
    lr: float = 3e-3  # highest learning rate of the one-cycle schedule; 6e-3 never left the mean drawing
    shift: int = 2  # pixels by up to which training drawings are moved, besides mirroring


# ---- 2. Model ---------------------------------------------------------------------------------------

class Encoder(nn.Module):
    """Drawing (B, 1, 28, 28) -> code (B, L), equations (1) and (2)."""

    def __init__(self, cfg):
        super().__init__()
        # Both directions: read downwards only, the state at row 3 would know nothing of row 4, and what the
        # code gets of each row would be chosen without its context.
        self.rnn = getattr(nn, cfg.cell)(28, cfg.hidden_dim, batch_first=True, bidirectional=True)
        # V, the same weights at every row, then W_z, different ones for each row: as two matrices they have
        # a seventh of the weights of one. Of the last state alone V keeps everything: there W_z is all there is to it.
        row_dim = cfg.row_dim if cfg.summary == "rows" else 2 * cfg.hidden_dim
        self.row = nn.Linear(2 * cfg.hidden_dim, row_dim)
        self.code = nn.Linear((28 if cfg.summary == "rows" else 1) * row_dim, cfg.latent_dim)
        self.summary = cfg.summary

    def forward(self, x):
        x = x.squeeze(1)  # (B, T, 28): the channel goes, the rows become the time steps
        h, _ = self.rnn(x)  # (1), (B, T, 256)
        if self.summary == "last":  # downwards the last state is at the last row, upwards at the first
            down, up = h.chunk(2, dim=2)  # (B, T, 128) each
            h = torch.cat([down[:, -1:], up[:, :1]], dim=2)  # (B, 1, 256)
        return self.code(self.row(h).flatten(1))  # (2), (B, L), no activation: a code may be any real number


class Decoder(nn.Module):
    """Code (B, L) -> logits of the drawing (B, 1, 28, 28), equations (3) and (4)."""

    def __init__(self, cfg):
        super().__init__()
        # No row is fed back as the next one's input. The true row (teacher forcing) would help in training,
        # be missing in use, and let the decoder ignore the code; its own row would pass its errors on.
        self.unfold = nn.Linear(cfg.latent_dim, 28 * cfg.unfold_dim)
        self.rnn = getattr(nn, cfg.cell)(cfg.unfold_dim, cfg.hidden_dim, batch_first=True, bidirectional=True)
        # A read-out of its own: were the state itself the row, tanh and gates would limit its values
        # and 28 numbers would have to be memory and picture at once.
        self.row = nn.Linear(2 * cfg.hidden_dim, 28)

    def forward(self, z):
        u = self.unfold(z).unflatten(1, (28, -1))  # (3), (B, T, 64)
        h, _ = self.rnn(u)  # (B, T, 256)
        return self.row(h).unsqueeze(1)  # (4) before its sigmoid, (B, 1, 28, 28), logits


class Autoencoder(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.encoder = Encoder(cfg)
        self.decoder = Decoder(cfg)

    def forward(self, x):
        z = self.encoder(x)  # (1), (2), (B, L)
        # sigmoid in float32: in bfloat16 it is 1 from a logit of 6.25 on, and passes no gradient
        return torch.sigmoid(self.decoder(z).float())  # (4), (B, 1, 28, 28)


# ---- 3. Loss ----------------------------------------------------------------------------------------

def mse(x_hat, x):
    """Equation (5): squared error, mean over drawings and pixels."""
    # The mean over D pixels only sets the scale (the sum is 784 times larger). In a VAE, where a
    # second term is added, that choice would decide the result: see conv_vae.py, section 3.
    return F.mse_loss(x_hat, x)


# ---- 4. Training ------------------------------------------------------------------------------------

def train(cfg, model, data, device):
    """The whole loop; returns the history, one record an epoch."""
    x_train = torch.from_numpy(data.x_train)
    per_epoch = max(1, len(x_train) // cfg.batch_size)  # updates; drawings that fill no batch are left out until the next shuffle
    epochs = cfg.epochs or max(1, round(cfg.steps / per_epoch))
    # Adam: each weight has a step size of its own. Plain SGD at 0.01 leaves the mean drawing late or never.
    optimizer = torch.optim.Adam(model.parameters(), lr=cfg.lr)
    # One cycle (Smith and Topin 2019): up for a tenth of the time, while the gradients are wild, then
    # down to nearly 0, where the last steps average out the noise of the batches.
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
                x_hat = model(x)  # (1) to (4)
            loss = mse(x_hat, x)  # (5)
            optimizer.zero_grad()  # else this batch's gradients would be added to the last one's
            loss.backward()
            # Over 28 steps gradients multiply, and a plain RNN's may explode: then clip_grad_norm_ belongs here. Gated,
            # this one's norm stayed below 0.12 in 1,000 updates, 94 for a sum over pixels: rnn_vae.py's bound, 100, would never act.
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
    model.eval()  # no layer in here needs it; kept because the day one does, its absence is silent
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
    model = Autoencoder(cfg).to(device)
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
    common.plot_curves(cfg, folder / "curves.png", history, data.source, "Recurrent autoencoder", "MSE a pixel", left={"mse": "MSE"},
                       levels={f"PCA, {cfg.latent_dim} components, test": pca_mse}, yscale="log")
    common.plot_reconstructions(cfg, folder / "reconstructions.png", data, {"autoencoder": drawn, f"PCA, {cfg.latent_dim}": pca_drawn})
    plot_tsne(cfg, folder, test_codes, data.y_test, scores, data.source)
    common.finish(cfg, folder, data.source, device, model, history[-1]["seconds"], test_mse=test_mse,
                  val_mse=history[-1]["val_mse"], pca_mse=pca_mse, discriminability=scores)


if __name__ == "__main__":
    common.run(main, Config)
