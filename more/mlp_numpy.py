"""A multilayer perceptron from nothing: every derivative by hand, in numpy.

A drawing's 784 pixels go through fully connected layers with an activation function between them; the
last one gives a logit for each of the five categories. Training walks down the loss by its gradient, which
back-propagation finds: the chain rule, applied from the loss back to the first layer, each layer once.

    (1)  A = H W + b                                    a layer; H (B, I), W (I, O), b (O,)
    (2)  H' = max(0, A), or tanh A                      activation: without it the layers were one linear map
    (3)  P_nk = exp O_nk / sum_j exp O_nj               softmax of the last layer's logits O (B, K)
    (4)  L = sum_n sum_k -Y_nk ln P_nk                  cross-entropy, nats, Y one-hot; a sum over the batch

Backwards: a layer is given D, the derivative of L by its output, and returns that by its input.

    (5)  dL/dO = P - Y                                  softmax and cross-entropy at once
    (6)  dL/dW = H^T D,  dL/db = sum_n D_n,  dL/dH = D W^T             with D = dL/dA
    (7)  dL/dA = D * [A > 0], or D * (1 - H'^2)                        with D = dL/dH'
    (8)  V <- m V + (dL/dW) / B + c W,  W <- W - lr V   SGD with momentum m, weight decay c; so for b

The assignment's loss (4) is a sum over the mini-batch; (8) divides its gradient by the size B, once, so
that a learning rate means the same for every B: the sum's steps would be twice as long at 128 as at 64.

Three nets are trained: plain; augmented, with moved and mirrored drawings (its weights are kept); and the
plain one again in float64, for more/mlp_torch.py.

Papers: Rumelhart, Hinton and Williams, Learning representations by back-propagating errors, Nature 323 (1986);
He et al., Delving deep into rectifiers, 2015, section 2.2, for the first weights; Srivastava et al., Dropout, 2014.

Run:    python -m more.mlp_numpy --data DATA        (or: make mlp_numpy; --search 24 for the search)
Writes: OUT/mlp_numpy/ weights.npz, history.json, twin.npz (for more/mlp_torch.py), metrics.json;
        pictures curves, confusion, mistakes; with --search search.json and search.png
Result: 14 s for the three on 2 cores of an AMD EPYC, 2,880 real drawings: test accuracy 0.826 plain, 0.851
        augmented (seeds 0 to 2: 0.830 ± 0.004 and 0.854 ± 0.002); macro ROC AUC 0.962 and 0.974

Search: 32 random settings without augmentation (--search 32 --shift 0 --mirror 0; 61 s): 0.83 of the validation
        drawings right, down to 0.43 where the learning rate was too large. ReLU has 0.80 on average, tanh 0.76;
        pixels dropped 0.78, else 0.76; depth, width, momentum and batch size have no clear best value here. The
        best is no better than the settings below by more than chance: one of the 320 drawings is 0.003

New beside classifier.py, whose MLP this is: no torch, not even inside a function. (5) to (7) are the lesson.
"""

import math
import time
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

import numpy as np
from sklearn.metrics import average_precision_score, confusion_matrix, precision_recall_fscore_support, roc_auc_score

import common
from more import charts

# Shapes: B batch, N drawings, K = 5 classes, I and O a layer's inputs and outputs.
K = len(common.CLASSES)


# ---- 1. Settings ------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Config(common.Settings):
    MAY_BE_ZERO: ClassVar[set] = common.Settings.MAY_BE_ZERO | {"momentum"}

    depth: int = 2  # hidden layers
    width: int = 256  # units in each of them
    activation: Literal["relu", "tanh"] = "relu"  # (2)
    lr: float = 0.1  # learning rate at the start; falls to 0 along half a cosine
    momentum: float = 0.9  # m in (8): V adds up past gradients, so that steps get 1 / (1 - m) = 10 times as long
    weight_decay: float = 5e-3  # c in (8): pulls weights towards 0; biases, too, which need it less, as torch.optim.SGD does by default
    batch_size: int = 128  # drawings an update
    dropout: float = 0.2  # share of the hidden units that each drawing has to do without in training
    input_dropout: float = 0.2  # the same for pixels: worth 2.9 points without augmentation (docs/settings.md)
    steps: int = 1500  # weight updates; fixed, so that 3,000 and 20,000 drawings take about the same time
    epochs: int = 0  # passes over the training drawings; 0: as many as `steps` needs
    patience: int = 0  # updates without a better validation result after which training stops early; 0: it never does
    shift: int = 2  # pixels by up to which training drawings are moved, in the augmented training
    mirror: float = 0.5  # share of training drawings that are mirrored, in the augmented training
    search: int = 0  # try this many random settings instead of training; 0: train


# ---- 2. Model ---------------------------------------------------------------------------------------

class Linear:
    """Equation (1): H (B, I) -> A (B, O)."""

    def __init__(self, n_in, n_out, gain, rng):
        # He et al. 2015, equation 10: Var A = n_in Var W E[H^2], a sum of n_in products. So Var W = 1 / n_in keeps the
        # size of what passes through; and 2 / n_in behind a ReLU, which has set half of its input to 0.
        self.W = rng.standard_normal((n_in, n_out)) * np.sqrt(gain / n_in)  # random: equal units would stay equal
        self.b = np.zeros(n_out)

    def forward(self, H):
        self.H = H  # kept: (6) needs it
        return H @ self.W + self.b  # (1), (B, O)

    def backward(self, D, needs_input=True):
        # W_ij enters L through A_nj of every drawing n, with derivative H_ni: dL/dW_ij = sum_n H_ni D_nj, a matrix
        # product. b_j enters with derivative 1. H_ni enters through all A_nj, with derivative W_ij.
        self.dW = self.H.T @ D  # (6), (I, O)
        self.db = D.sum(axis=0)  # (6), (O,)
        return D @ self.W.T if needs_input else None  # (6); the pixels' own gradient is of no use


class ReLU:
    """Equation (2), max(0, A)."""

    gain = 2.0

    def forward(self, A):
        self.open = A > 0
        return A * self.open

    def backward(self, D):
        return D * self.open  # (7): derivative 1 above 0 and 0 below; at 0 itself there is none, and 0 is taken


class Tanh:
    """Equation (2), tanh A."""

    gain = 1.0

    def forward(self, A):
        self.H = np.tanh(A)
        return self.H

    def backward(self, D):
        return D * (1 - self.H ** 2)  # (7): tanh' = 1 - tanh^2; near 0 where a unit is saturated


class Dropout:
    """In training each number is set to 0 with probability `rate`, and the others grow so that the mean stays; else nothing.

    No unit can rely on another one that may be missing: on few drawings that is worth points (Srivastava et al. 2014).
    """

    def __init__(self, rate, rng):
        self.rate, self.rng, self.training = rate, rng, False

    def forward(self, H):
        self.mask = (self.rng.random(H.shape, np.float32) >= self.rate) / H.dtype.type(1 - self.rate) if self.training else 1
        return H * self.mask

    def backward(self, D):
        return D * self.mask


class MLP:
    """Pixels (B, 784) -> logits (B, K). Arithmetic is in the type of the weights: float32, or float64 for comparisons."""

    def __init__(self, cfg, rng, dtype=np.float32):
        self.dtype, mask_rng = dtype, np.random.default_rng(cfg.seed + 1)
        self.layers = [Dropout(cfg.input_dropout, mask_rng)]
        activation = {"relu": ReLU, "tanh": Tanh}[cfg.activation]
        for i, (n_in, n_out) in enumerate(pairwise([28 * 28] + cfg.depth * [cfg.width] + [K])):
            self.layers += [Linear(n_in, n_out, activation.gain if i else 1.0, rng), activation(), Dropout(cfg.dropout, mask_rng)]
        del self.layers[-2:]  # logits may be any real number
        for layer in self.linear():
            layer.W, layer.b = layer.W.astype(dtype), layer.b.astype(dtype)
        self.loss = SoftmaxCrossEntropy()

    def linear(self):
        return [layer for layer in self.layers if isinstance(layer, Linear)]

    def forward(self, x, training=False):
        for layer in self.layers:
            layer.training = training
            x = layer.forward(x)
        return x  # (B, K)

    def backward(self):
        """From the loss of the last forward pass to dW and db of every layer."""
        D = self.loss.backward()  # (5)
        for layer in reversed(self.layers[2:]):
            D = layer.backward(D)  # (6), (7)
        self.layers[1].backward(D, needs_input=False)  # the first Linear; in front of it nothing learns

    def parameters(self):
        """[(weights, their gradient)], in one order."""
        return [pair for layer in self.linear() for pair in ((layer.W, layer.dW), (layer.b, layer.db))]

    def weights(self):
        """Copies, by name: W1 (784, width), b1, W2, ..."""
        return {f"{name}{i}": getattr(layer, name).copy() for i, layer in enumerate(self.linear(), 1) for name in ("W", "b")}

    def load(self, weights):
        for i, layer in enumerate(self.linear(), 1):
            layer.W, layer.b = weights[f"W{i}"].astype(self.dtype), weights[f"b{i}"].astype(self.dtype)


# ---- 3. Loss ----------------------------------------------------------------------------------------

class SoftmaxCrossEntropy:
    """Equations (3) and (4): logits (B, K), O above, and one-hot Y (B, K) -> loss, a sum over the batch, in nats."""

    def forward(self, logits, Y):
        # exp overflows beyond 88 in float32, 709 in float64. Softmax does not change when a constant is subtracted from all logits
        # of a drawing; with the largest subtracted, exp is at most 1 and the sum at least 1.
        logits = logits - logits.max(axis=1, keepdims=True)
        log_sum = np.log(np.exp(logits).sum(axis=1, keepdims=True))  # (B, 1)
        self.P, self.Y = np.exp(logits - log_sum), Y  # (3), (B, K)
        return float((Y * (log_sum - logits)).sum())  # (4): -ln P = log_sum - logits; ln 0 is never taken

    def backward(self):
        # L = sum_n [ln sum_j exp O_nj - sum_k Y_nk O_nk], because each row of Y sums to 1. The derivative of the first
        # part by O_nk is exp O_nk / sum_j exp O_nj = P_nk, of the second Y_nk.
        return self.P - self.Y  # (5), (B, K)


# ---- 4. Training ------------------------------------------------------------------------------------

def epoch_of_batches(x, y, batch_size, rng, shift, mirror, dtype):
    """[(pixels (B, 784), one-hot categories (B, K))] of one epoch: moved, mirrored, shuffled.

    Drawings that fill no batch are left out until the next shuffle.
    """
    x = common.augment(x, rng, shift, mirror).reshape(len(x), -1).astype(dtype)
    order = rng.permutation(len(x))[:max(1, len(x) // batch_size) * batch_size]
    one_hot = np.eye(K, dtype=dtype)[y]
    return [(x[pick], one_hot[pick]) for pick in np.split(order, max(1, len(order) // batch_size))]


def train(cfg, net, data, shift, mirror, verbose=True):
    """The whole loop; returns the history. Stopped early, the net has its best weights on validation drawings, else its last."""
    per_epoch = max(1, len(data.y_train) // cfg.batch_size)  # updates
    epochs = cfg.epochs or max(1, round(cfg.steps / per_epoch))
    velocity = [np.zeros_like(w) for layer in net.linear() for w in (layer.W, layer.b)]  # V in (8)
    data_rng = np.random.default_rng(cfg.seed)  # a generator of its own: nothing else affects the order
    best, history, step, begin = {"key": (-1.0, 0.0)}, [], 0, time.time()
    for epoch in range(1, epochs + 1):
        total, right, seen = 0.0, 0, 0
        for x, y in epoch_of_batches(data.x_train, data.y_train, cfg.batch_size, data_rng, shift, mirror, net.dtype):
            logits = net.forward(x, training=True)  # (1), (2)
            total += net.loss.forward(logits, y)  # (3), (4)
            net.backward()  # (5), (6), (7)
            lr = cfg.lr * 0.5 * (1 + math.cos(math.pi * step / (epochs * per_epoch)))  # large steps first, then fine ones
            for (w, gradient), v in zip(net.parameters(), velocity):  # (8), in place
                v *= cfg.momentum
                v += gradient / len(x) + cfg.weight_decay * w
                w -= lr * v
            right += int((logits.argmax(axis=1) == y.argmax(axis=1)).sum())
            step, seen = step + 1, seen + len(x)
        # training figures are means over the epoch, while the weights moved; validation figures are from its end
        val_logits = predict(net, data.x_val)
        record = {"epoch": epoch, "train_loss": total / seen, "train_accuracy": right / seen,
                  "val_loss": cross_entropy(val_logits, data.y_val),
                  "val_accuracy": float((val_logits.argmax(axis=1) == data.y_val).mean()), "seconds": time.time() - begin}
        history.append(record)
        if verbose:
            print("epoch {epoch:3d}/{0}  cross-entropy, nats: train {train_loss:.4f}  validation {val_loss:.4f}  accuracy: train "
                  "{train_accuracy:.3f}  validation {val_accuracy:.3f}  {seconds:6.1f} s".format(epochs, **record), flush=True)
        # Early stopping. Of equal accuracies (on few drawings there are many) the one with the lower loss is better.
        key = (record["val_accuracy"], -record["val_loss"])
        if key > best["key"]:
            best = {"key": key, "step": step, "weights": net.weights()}
        elif cfg.patience and step - best["step"] >= cfg.patience:
            net.load(best["weights"])
            break
    # Not stopped, it keeps its last weights: the learning rate has fallen to 0 and the noise with it, while the best of
    # many noisy epochs is best by luck. So early stopping is off by default: docs/settings.md has the figures.
    return history


# ---- 5. Evaluation ----------------------------------------------------------------------------------

def predict(net, images):
    """Logits (N, K) of drawings (N, 1, 28, 28)."""
    return np.concatenate([net.forward(x.reshape(len(x), -1).astype(net.dtype))
                           for x in np.array_split(images, 1 + len(images) // 1000)])


def softmax(logits):
    """Equation (3) for logits (N, K)."""
    loss = SoftmaxCrossEntropy()
    loss.forward(logits, np.zeros_like(logits))
    return loss.P


def cross_entropy(logits, y):
    """Equation (4) divided by N: nats a drawing; logits (N, K), y (N,)."""
    return SoftmaxCrossEntropy().forward(logits, np.eye(K)[y]) / len(y)


def scores(logits, y):
    """Figures on test drawings: accuracy; for each category and their mean (macro) precision, recall, areas under ROC and PR curve."""
    probs, one_hot, predicted, names = softmax(logits), np.eye(K)[y], logits.argmax(axis=1), (*common.CLASSES, "macro")
    precision, recall, _, _ = precision_recall_fscore_support(y, predicted, labels=range(K), zero_division=0)
    figures = {"precision": precision, "recall": recall, "roc_auc": roc_auc_score(one_hot, probs, average=None),
               "pr_auc": average_precision_score(one_hot, probs, average=None)}
    return {"test_accuracy": float((predicted == y).mean()), "test_cross_entropy": cross_entropy(logits, y),
            "confusion": confusion_matrix(y, predicted, labels=range(K)).tolist(),
            **{name: dict(zip(names, [*values.tolist(), float(values.mean())])) for name, values in figures.items()}}


def first_gradients(cfg, data, dtype):
    """Gradients of (4) on the first batch, by name, from the seed's first weights: what more/mlp_torch.py compares."""
    net = MLP(cfg, np.random.default_rng(cfg.seed), dtype)
    x, y = epoch_of_batches(data.x_train, data.y_train, cfg.batch_size, np.random.default_rng(cfg.seed), 0, 0.0, dtype)[0]
    net.loss.forward(net.forward(x), y)
    net.backward()
    return {f"{name}{i}": getattr(layer, "d" + name) for i, layer in enumerate(net.linear(), 1) for name in ("W", "b")}


# ---- 7. Main ----------------------------------------------------------------------------------------

def main(cfg):
    common.require(cfg.device in ("auto", "cpu"), "--device", cfg.device, "cpu: numpy knows no other", "leave it out")
    data = common.load_data(cfg)
    if cfg.search:
        from more.search import search  # here, because it imports this file

        folder, begin = common.start(cfg, __file__, "search"), time.time()
        trials = search(cfg)
        charts.plot_search(cfg, folder / "search.png", trials, data.source)
        return common.finish(cfg, folder, data.source, "cpu", 0, time.time() - begin, "search", trials=trials)

    folder = common.start(cfg, __file__)
    histories, results, twin, begin = {}, {}, {}, time.time()
    for name, shift, mirror, dtype in (("plain", 0, 0.0, np.float32), ("augmented", cfg.shift, cfg.mirror, np.float32),
                                       ("plain, float64", 0, 0.0, np.float64)):
        print(f"{name}:")
        net = MLP(cfg, np.random.default_rng(cfg.seed), dtype)
        first = net.weights()
        histories[name] = train(cfg, net, data, shift, mirror)
        logits = predict(net, data.x_test)
        results[name] = scores(logits, data.y_test)
        twin |= {f"{name}/first/{key}": value for key, value in first.items()} | {f"{name}/test_logits": logits}
        twin |= {f"{name}/gradient/{key}": value for key, value in first_gradients(cfg, data, dtype).items()}
        if name == "augmented":
            common.save(folder / "weights.npz", net.weights())
            charts.plot_mistakes(cfg, folder / "mistakes.png", data.x_test, data.y_test, softmax(logits), data.source)
        print("{}: test accuracy {test_accuracy:.4f}, macro ROC AUC {roc_auc[macro]:.4f}, PR AUC {pr_auc[macro]:.4f}".format(
            name, **results[name]))
    common.save(folder / "history.json", histories)
    common.save(folder / "twin.npz", twin)
    shown = ("plain", "augmented")
    charts.plot_learning(cfg, folder / "curves.png", {name: histories[name] for name in shown}, data.source)
    charts.plot_confusion(cfg, folder / "confusion.png", {name: results[name] for name in shown}, data.source)
    common.finish(cfg, folder, data.source, "cpu", sum(w.size for w in net.weights().values()), time.time() - begin, **results)


if __name__ == "__main__":
    common.run(main, Config)
