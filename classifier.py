"""The judges: two classifiers of drawings, the assignment's MLP and a small CNN, trained by one loop.

    (1)  logits = f(x)                       x in [0, 1]^(28 x 28); K = 5 logits
    (2)  p_k    = exp(logits_k) / sum_j exp(logits_j)                     softmax
    (3)  loss   = mean over the batch of -log p_y                         cross-entropy, nats
    (4)  v <- 0.9 v + gradient + decay w,  w <- w - lr v                  SGD with momentum 0.9

Neither is generative; both judge the generative models. metrics.py measures the Frechet distance
between the features of real and generated drawings, cvae.py asks whether a sample is what was asked
for. The judges learn from training drawings only: what they say of test drawings and samples would
else be memory. Their own test accuracy stands beside whatever they judge.

Features are the 64 activations before the last layer. The CNN's feed FID, not the MLP's: it is right
more often (0.950 against 0.884), and it sees what is wrong with samples. Test drawings under a Gaussian
blur of one pixel are 320 times as far from the sharp ones as training drawings are by the CNN's features
(121 against 0.37), and 14 times by the MLP's (1.57 against 0.11; metrics.py --judge mlp --table mlp).

Neither mirroring nor moving turns a drawing into another category. Cross-entropy on validation drawings,
mean of seeds 0 and 1, CNN and MLP: with both 0.19 and 0.38 nats; moved only (--mirror 0) 0.25 and 0.43;
mirrored only (--shift 0) 0.26 and 0.86; neither 0.30 and 1.00. Moved by up to 3: 0.17 and 0.37, hardly less.

Sources: momentum as in Sutskever et al. 2013, section 2, in torch.optim.SGD's form, which differs when lr
changes; one-cycle schedule: Smith and Topin 2019; calibration: Guo et al. 2017, section 2.

Run:    python classifier.py --data DATA     (or: make classifier)
Writes: OUT/classifier/ weights.pt, history.json, curves.png, confusion.png, reliability.png,
        metrics.json
Result: MLP 8 s, CNN 67 s on 2 cores of an AMD EPYC, bfloat16, 2,880 real drawings; test accuracy
        0.884 and 0.950, macro ROC AUC 0.981 and 0.997, expected calibration error 0.028 and 0.030
"""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.metrics import average_precision_score, confusion_matrix, precision_recall_fscore_support, roc_auc_score

import common

# Shapes: B batch, C channels, H = W = 28, D = 784 pixels, K = 5 classes.
K = len(common.CLASSES)


# ---- 1. Settings ------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Config(common.Settings):
    steps: int = 3000  # weight updates of each judge; fixed, so that any number of drawings takes about the same time
    epochs: int = 0  # passes over the training drawings; 0: as many as `steps` needs
    batch_size: int = 64  # drawings an update
    lr: float = 0.05  # highest learning rate of the one-cycle schedule
    weight_decay: float = 5e-4  # decay in (4), for biases and BatchNorm, too: against learning drawings by heart
    shift: int = 2  # pixels by up to which training drawings are moved
    mirror: float = 0.5  # share of training drawings that are mirrored: no category becomes another one


# ---- 2. Model ---------------------------------------------------------------------------------------

FEATURES = 64  # width of the penultimate layer: the more, the more drawings FID's covariance needs


class MLP(nn.Module):
    """Drawing (B, 1, 28, 28) -> logits (B, K), through fully connected layers only."""

    def __init__(self, channels=1, size=28, classes=K):
        super().__init__()
        self.shape = channels, size, size
        self.hidden1 = nn.Linear(channels * size ** 2, 512)
        self.hidden2 = nn.Linear(512, 256)
        self.hidden3 = nn.Linear(256, FEATURES)
        self.dropout = nn.Dropout(0.2)  # a module: eval() switches it off, while F.dropout would have to be told
        self.output = nn.Linear(FEATURES, classes)

    def features(self, x):
        # Flattening forgets which pixels are neighbours: moved by one pixel, it is more than half another drawing.
        h = self.dropout(F.relu(self.hidden1(x.flatten(1))))  # (B, 512)
        h = self.dropout(F.relu(self.hidden2(h)))  # (B, 256)
        return F.relu(self.hidden3(h))  # (B, 64)

    def forward(self, x):
        return self.output(self.features(x))  # (1), (B, K): logits, the softmax is in the loss


class CNN(nn.Module):
    """Drawing (B, 1, 28, 28) -> logits (B, K), through convolutions."""

    def __init__(self, channels=1, size=28, classes=K, width=16):
        super().__init__()
        self.shape = channels, size, size
        # Two 3x3 layers see 5x5 pixels, as one 5x5 layer does, with a non-linearity between them.
        self.conv1 = nn.Conv2d(channels, width, kernel_size=3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, kernel_size=3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 2 * width, kernel_size=3, padding=1, bias=False)
        self.norm3 = nn.BatchNorm2d(2 * width)
        self.conv4 = nn.Conv2d(2 * width, 2 * width, kernel_size=3, padding=1, bias=False)
        self.norm4 = nn.BatchNorm2d(2 * width)
        self.conv5 = nn.Conv2d(2 * width, 4 * width, kernel_size=3, padding=1, bias=False)
        self.norm5 = nn.BatchNorm2d(4 * width)
        self.conv6 = nn.Conv2d(4 * width, 4 * width, kernel_size=3, padding=1, bias=False)
        self.norm6 = nn.BatchNorm2d(4 * width)
        self.hidden = nn.Linear(4 * width * (size // 8) ** 2, FEATURES)
        self.dropout = nn.Dropout(0.3)
        self.output = nn.Linear(FEATURES, classes)

    def features(self, x):
        h = F.relu(self.norm1(self.conv1(x)))  # (B, 16, 28, 28)
        h = F.relu(self.norm2(self.conv2(h)))  # (B, 16, 28, 28)
        h = F.max_pool2d(h, 2)  # (B, 16, 14, 14)
        h = F.relu(self.norm3(self.conv3(h)))  # (B, 32, 14, 14)
        h = F.relu(self.norm4(self.conv4(h)))  # (B, 32, 14, 14)
        h = F.max_pool2d(h, 2)  # (B, 32, 7, 7)
        h = F.relu(self.norm5(self.conv5(h)))  # (B, 64, 7, 7)
        h = F.max_pool2d(h, 2)  # (B, 64, 3, 3): the last row and column fall away
        h = F.relu(self.norm6(self.conv6(h)))  # (B, 64, 3, 3)
        # Flattened, not averaged over places: the mean forgets where a stroke is, and was right less often.
        return F.relu(self.hidden(self.dropout(h.flatten(1))))  # (B, 64)

    def forward(self, x):
        return self.output(self.dropout(self.features(x)))  # (1), (B, K): logits


class Judges(nn.Module):
    """Both, under one state_dict. shape: channels, size and classes, where they are not 1, 28 and 5 (more/color.py)."""

    def __init__(self, *shape):
        super().__init__()
        self.mlp, self.cnn = MLP(*shape), CNN(*shape)


def load_judges(out, device, data=None):
    """The trained judges of OUT/classifier, frozen, in eval mode; data: what they are to judge. Raises common.InputError."""
    path = Path(out) / "classifier" / "weights.pt"
    try:
        weights = torch.load(path, weights_only=True)  # tensors only: a pickle could run code
        channels, pixels = weights["cnn.conv1.weight"].shape[1], weights["mlp.hidden1.weight"].shape[1]
        judges = Judges(channels, round((pixels / channels) ** 0.5), len(weights["cnn.output.bias"]))
        judges.load_state_dict(weights)
    except FileNotFoundError:
        raise common.InputError(f"{path}: found no such file, expected the judges' weights; run 'make classifier', or "
                                f"python classifier.py --data DATA --out {out}") from None
    except Exception as error:  # a broken file may raise anything
        raise common.InputError(f"{path}: found no weights of these judges ({type(error).__name__}), expected what this "
                                "classifier.py writes; run 'make classifier' again") from None
    fits = data is None or (judges.cnn.shape, judges.cnn.output.out_features) == (data.x_test.shape[1:], len(data.classes))
    common.require(fits, path, f"judges of {judges.cnn.output.out_features} categories of drawings {judges.cnn.shape}",
                   "judges of the kind of DATA", "train them on DATA, or name another folder")
    # eval(): no dropout, and BatchNorm's running statistics, so that features do not depend on the batch.
    return judges.eval().requires_grad_(False).to(device)


# ---- 3. Loss ----------------------------------------------------------------------------------------

def cross_entropy(logits, y):
    """Equations (2) and (3), mean over the batch, in nats; logits (B, K), y (B,)."""
    # From logits in one step: log-softmax subtracts the largest logit first, so that exp cannot
    # overflow. A softmax in the model and another one in here would flatten the gradient.
    return F.cross_entropy(logits, y)


# ---- 4. Training ------------------------------------------------------------------------------------

def train(cfg, name, model, data, device):
    """The whole loop, the same for both judges; returns the history, one record an epoch."""
    x_train, y_train = torch.from_numpy(data.x_train), torch.from_numpy(data.y_train)
    per_epoch = max(1, len(x_train) // cfg.batch_size)  # updates; drawings that fill no batch are left out until the next shuffle
    epochs = cfg.epochs or max(1, round(cfg.steps / per_epoch))
    optimizer = torch.optim.SGD(model.parameters(), lr=cfg.lr, momentum=0.9, weight_decay=cfg.weight_decay)
    # One cycle (Smith and Topin 2019): up for a tenth of the time, then down to nearly 0. It would
    # cycle the momentum as well unless told not to; the assignment wants 0.9 throughout.
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, cfg.lr, total_steps=max(11, epochs * per_epoch), pct_start=0.1,
                                                   cycle_momentum=False)
    data_rng = torch.Generator().manual_seed(cfg.seed)  # its own: nothing else can change the order
    history, begin = [], time.time()
    for epoch in range(1, epochs + 1):
        model.train()
        x_epoch = common.augment(x_train, data_rng, cfg.shift, cfg.mirror)  # moved and mirrored anew each epoch
        order = torch.randperm(len(x_train), generator=data_rng)[:per_epoch * cfg.batch_size]
        total, right = 0.0, 0
        for batch in common.progress(order.split(cfg.batch_size), f"{name} epoch {epoch}/{epochs}"):
            x, y = x_epoch[batch].to(device), y_train[batch].to(device)  # (B, 1, 28, 28), (B,)
            with common.autocast(cfg, device):
                logits = model(x)  # (1)
            loss = cross_entropy(logits.float(), y)  # (2), (3)
            optimizer.zero_grad()  # else this batch's gradients would be added to the last one's
            loss.backward()
            optimizer.step()  # (4)
            schedule.step()
            total += loss.item() * len(x)
            right += (logits.argmax(dim=1) == y).sum().item()
        val_logits = predict(model, data.x_val, device)[0]
        record = {"epoch": epoch, "train_loss": total / len(order), "train_accuracy": right / len(order),
                  "val_loss": cross_entropy(torch.from_numpy(val_logits), torch.from_numpy(data.y_val)).item(),
                  "val_accuracy": float((val_logits.argmax(axis=1) == data.y_val).mean()), "seconds": time.time() - begin}
        history.append(record)
        print(f"{name} epoch {epoch:3d}/{epochs}  cross-entropy, nats: train {record['train_loss']:.4f}  validation "
              f"{record['val_loss']:.4f}  accuracy: train {record['train_accuracy']:.3f}  validation "
              f"{record['val_accuracy']:.3f}  {record['seconds']:6.1f} s", flush=True)
    return history


# ---- 5. Evaluation ----------------------------------------------------------------------------------

@torch.no_grad()
def predict(model, images, device):
    """(logits (N, K), features (N, 64)) of drawings (N, 1, 28, 28) in [0, 1], numpy float32.

    Raises ValueError on any other shape, dtype or range: a judge shown [-1, 1] or 0..255 answers
    without complaint, and every figure that rests on the answer is wrong.
    """
    if images.shape[1:] != model.shape or images.dtype != np.float32:
        raise ValueError(f"found {images.dtype} {images.shape}, expected float32 (N, {', '.join(map(str, model.shape))})")
    if len(images) and not (images.min() >= 0 and images.max() <= 1):
        raise ValueError(f"found pixels from {images.min()} to {images.max()}, expected 0 to 1")
    was_training = model.training
    model.eval()
    # float32, also where the training used bfloat16
    features = torch.cat([model.features(x.to(device)) for x in torch.from_numpy(images).split(500)])  # (N, 64)
    logits = model.output(features)  # (N, K)
    model.train(was_training)
    return logits.cpu().numpy(), features.cpu().numpy()


def softmax(logits):
    """Equation (2): numpy (N, K) -> probabilities (N, K). The largest logit is subtracted first: exp cannot overflow."""
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def calibration(probs, y, bins=15):
    """(confidence, accuracy, share) of each bin and the expected calibration error.

    probs (N, K), y (N,). A bin holds the drawings whose largest probability lies in it. The error is
    sum over bins of share * |accuracy - confidence| (Guo et al. 2017, equation 3): near 0 if a judge
    that says "0.8" is right in 80 % of such cases. On few drawings it is biased upwards.
    """
    confidence, right = probs.max(axis=1), probs.argmax(axis=1) == y
    which = np.minimum((confidence * bins).astype(int), bins - 1)  # (N,)
    share = np.bincount(which, minlength=bins) / len(y)
    mean = [np.bincount(which, v, minlength=bins) / np.maximum(1, share * len(y)) for v in (confidence, right)]
    return *mean, share, float((share * np.abs(mean[0] - mean[1])).sum())


def scores(logits, y, classes):
    """The figures of one judge on test drawings, and its calibration bins."""
    probs = softmax(logits)  # (2), (N, K)
    confidence, accuracy, share, error = calibration(probs, y)
    precision, recall, _, _ = precision_recall_fscore_support(y, probs.argmax(axis=1), labels=range(len(classes)), zero_division=0)
    one_hot = np.eye(len(classes))[y]  # one against the rest, for each category
    return {
        "test_accuracy": float((probs.argmax(axis=1) == y).mean()),
        "test_cross_entropy": cross_entropy(torch.from_numpy(logits), torch.from_numpy(y)).item(),
        "precision": dict(zip(classes, precision.tolist())), "recall": dict(zip(classes, recall.tolist())),
        "roc_auc": dict(zip(classes, roc_auc_score(one_hot, probs, average=None).tolist())),
        "pr_auc": dict(zip(classes, average_precision_score(one_hot, probs, average=None).tolist())),
        "expected_calibration_error": error, "confusion": confusion_matrix(y, probs.argmax(axis=1), labels=range(len(classes))).tolist(),
    }, (confidence, accuracy, share)


# ---- 6. Pictures ------------------------------------------------------------------------------------

def plot_curves(cfg, folder, histories, source):
    fig, axes = common.figure(1, 2, width=9, height=3.2)
    for i, (name, history) in enumerate(histories.items()):
        for kind, style in (("train", "--"), ("val", "-")):
            label = f"{name.upper()}, {'training (dropout, moved, mirrored)' if kind == 'train' else 'validation'}"
            for ax, quantity in zip(axes[0], ("loss", "accuracy")):
                ax.plot([r["epoch"] for r in history], [r[f"{kind}_{quantity}"] for r in history], style,
                        color=common.COLORS[i], label=label)
    axes[0, 0].set(title="The judges learn", xlabel="epoch", ylabel="cross-entropy, nats a drawing", yscale="log")
    axes[0, 1].set(title="How often they are right", xlabel="epoch", ylabel="accuracy")
    axes[0, 1].legend()
    common.save_figure(cfg, folder / "curves.png", fig, source)


def plot_confusion(cfg, folder, results, source, classes):
    fig, axes = common.figure(1, 2, width=9, height=4)
    for ax, (name, result) in zip(axes[0], results.items()):
        counts = np.array(result["confusion"])
        share = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))  # rows sum to 1: the diagonal is the recall
        ax.imshow(share, vmin=0, vmax=1, cmap="Blues")
        for row, column in np.ndindex(counts.shape):
            ax.text(column, row, counts[row, column], ha="center", va="center",
                    color="white" if share[row, column] > 0.5 else "black")
        ax.set(title=f"{name.upper()}: {result['test_accuracy']:.1%} of test drawings right", xlabel="predicted",
               ylabel="true", xticks=range(len(classes)), yticks=range(len(classes)), xticklabels=classes, yticklabels=classes)
        ax.tick_params(axis="x", rotation=30)
        ax.grid(False)
    common.save_figure(cfg, folder / "confusion.png", fig, source)


def plot_reliability(cfg, folder, results, bins, source):
    """On the diagonal a confidence can be taken at its word; below it the judge is too sure."""
    fig, axes = common.figure(1, 2, width=9, height=3.6)
    for ax, (name, result) in zip(axes[0], results.items()):
        confidence, accuracy, share = bins[name]
        full = share > 0
        ax.plot([0, 1], [0, 1], "--", color="0.6", label="calibrated")
        ax.plot(confidence[full], accuracy[full], "o-", label=f"{name.upper()}, ECE {result['expected_calibration_error']:.3f}")
        ax.bar((np.arange(len(share)) + 0.5) / len(share), share, width=0.9 / len(share), color="0.85", label="share of drawings")
        ax.set(title=f"{name.upper()}: is it as often right as it is sure?", xlabel="confidence (largest probability)",
               ylabel="accuracy in the bin", xlim=(0, 1), ylim=(0, 1.02))
        ax.legend(loc="upper left")
    common.save_figure(cfg, folder / "reliability.png", fig, source)


# ---- 7. Main ----------------------------------------------------------------------------------------

def main(cfg):
    data, device = common.load_data(cfg, color=True), common.setup(cfg)
    folder = common.start(cfg, __file__)
    judges = Judges(*data.x_train.shape[1:3], len(data.classes)).to(device)
    histories, results, bins = {}, {}, {}
    for name, model in (("mlp", judges.mlp), ("cnn", judges.cnn)):
        histories[name] = train(cfg, name, model, data, device)
        results[name], bins[name] = scores(predict(model, data.x_test, device)[0], data.y_test, data.classes)
        results[name] |= {"parameters": sum(p.numel() for p in model.parameters()), "seconds": histories[name][-1]["seconds"]}
        print(f"{name}: test accuracy {results[name]['test_accuracy']:.4f}, macro ROC AUC "
              f"{np.mean(list(results[name]['roc_auc'].values())):.4f}, PR AUC {np.mean(list(results[name]['pr_auc'].values())):.4f}, "
              f"ECE {results[name]['expected_calibration_error']:.4f}")

    common.save(folder / "history.json", histories)
    common.save(folder / "weights.pt", judges)
    plot_curves(cfg, folder, histories, data.source)
    plot_confusion(cfg, folder, results, data.source, data.classes)
    plot_reliability(cfg, folder, results, bins, data.source)
    common.finish(cfg, folder, data.source, device, judges, sum(r["seconds"] for r in results.values()), **results)


if __name__ == "__main__":
    common.run(main, Config)
