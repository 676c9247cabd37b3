"""The MLP of mlp_numpy.py again, with a library's layers, derivatives and optimiser: was ours right?

Architecture, first weights, order of batches and settings are the same. Only who computes differs: there
equations (1) to (8) by hand, here nn.Linear, autograd and optim.SGD. In exact arithmetic all of this would
be equal; in floating point, which rounds each sum in an order of its own,

    (a)  the gradients of the first batch differ, layer by layer, by some 1e-15 of the largest one in float64
         and 1e-7 in float32 (tests/test_scratch.py holds them to 1e-6 and 1e-4);
    (b)  the curves nearly coincide, and then drift apart: each update starts from what the last one rounded;
    (c)  in float64 the drift stays so small that every test drawing gets the same answer at the end.

Two nets that start from different weights cannot be compared this way: their gradients differ by about
their own size, though both are right. The last row of the table shows it.

Equations (1) to (8): see mlp_numpy.py. Autograd: Paszke et al., Automatic differentiation in PyTorch, 2017.

Run:    python -m more.mlp_torch --data DATA        (or: make mlp_torch; needs OUT/mlp_numpy)
Writes: OUT/mlp_torch/ weights.pt, history.json, metrics.json; pictures curves, confusion, mistakes, twins
Result: 19 s on 2 cores of an AMD EPYC, 2,880 real drawings. First gradients: differences up to 1e-15 of the
        largest in float64 and 4e-7 in float32, and up to 1.1 with other first weights. Test accuracy 0.831 plain
        (numpy 0.826) and 0.860 augmented (0.851); in float64 the same answer for all 800 test drawings

Gone, compared with mlp_numpy.py: the hand-written backward() methods and what forward() kept for them.
"""

import time
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.metrics import average_precision_score, confusion_matrix, precision_recall_fscore_support, roc_auc_score

import common
from more import charts
from more.twins import differences, part, read_twin

# Shapes: B batch, N drawings, K = 5 classes.
K = len(common.CLASSES)


# ---- 1. Settings ------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Config(common.Settings):
    """All other settings are read from mlp_numpy.py's run."""

    precision: Literal["float32"] = "float32"  # of two of the three runs, never bfloat16; the third is in float64


# ---- 2. Model ---------------------------------------------------------------------------------------

class Dropout(nn.Module):
    """mlp_numpy.py's, with masks from the same generator: nn.Dropout would draw others."""

    def __init__(self, rate, rng):
        super().__init__()
        self.rate, self.rng = rate, rng

    def forward(self, h):
        if not self.training:
            return h
        mask = torch.from_numpy(self.rng.random(h.shape, np.float32) >= self.rate)
        return h * mask.to(h) / (1 - self.rate)


class MLP(nn.Module):
    """Pixels (B, 784) -> logits (B, K)."""

    def __init__(self, settings, weights=None):
        super().__init__()
        widths, mask_rng = [28 * 28] + settings.depth * [settings.width], np.random.default_rng(settings.seed + 1)
        layers = [Dropout(settings.input_dropout, mask_rng)]
        for n_in, n_out in zip(widths, [*widths[1:], K]):
            activation = {"relu": nn.ReLU, "tanh": nn.Tanh}[settings.activation]()
            layers += [nn.Linear(n_in, n_out), activation, Dropout(settings.dropout, mask_rng)]
        self.layers = nn.Sequential(*layers[:-2])  # nothing behind the logits: the softmax is in the loss
        if weights is not None:
            for i, layer in enumerate(self.linear(), 1):
                # torch keeps W as (O, I) and computes H W^T + b. Untransposed, the first W would fail in forward(); a
                # square one, such as the second, would not, and be wrong.
                layer.weight.data, layer.bias.data = torch.from_numpy(weights[f"W{i}"].T.copy()), torch.from_numpy(weights[f"b{i}"].copy())

    def linear(self):
        return [layer for layer in self.layers if isinstance(layer, nn.Linear)]

    def forward(self, x):
        return self.layers(x)  # (1), (2)

    def gradients(self):
        """{name: array}, in mlp_numpy.py's names and shapes."""
        return {f"{name}{i}": p.grad.numpy().T for i, layer in enumerate(self.linear(), 1)
                for name, p in (("W", layer.weight), ("b", layer.bias))}


# ---- 4. Training ------------------------------------------------------------------------------------

def epoch_of_batches(x, y, batch_size, rng, shift, mirror, dtype):
    """[(pixels (B, 784), categories (B,))] of one epoch, moved, mirrored, shuffled: the same as mlp_numpy.py's, from the same rng."""
    x = common.augment(x, rng, shift, mirror).reshape(len(x), -1).astype(dtype)
    order = rng.permutation(len(x))[:max(1, len(x) // batch_size) * batch_size]
    return [(torch.from_numpy(x[pick]), torch.from_numpy(y[pick])) for pick in np.split(order, max(1, len(order) // batch_size))]


def train(cfg, settings, net, data, shift, mirror, dtype, device):
    """The whole loop, as in mlp_numpy.py; returns the history."""
    per_epoch = max(1, len(data.y_train) // settings.batch_size)  # updates
    epochs = settings.epochs or max(1, round(settings.steps / per_epoch))  # both as in the twin, or the schedules would differ
    # optim.SGD's form of (8): V <- m V + (gradient + c W), W <- W - lr V; its first V is the first gradient + c W, as from V = 0.
    optimizer = torch.optim.SGD(net.parameters(), settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5 * (1 + np.cos(np.pi * step / (epochs * per_epoch))))
    data_rng = np.random.default_rng(cfg.seed)  # numpy's, not torch's: the same order of drawings, the same moves
    best, history, step, begin = {"key": (-1.0, 0.0)}, [], 0, time.time()
    for epoch in range(1, epochs + 1):
        net.train()  # dropout on
        total, right, seen = 0.0, 0, 0
        for x, y in epoch_of_batches(data.x_train, data.y_train, settings.batch_size, data_rng, shift, mirror, dtype):
            x, y = x.to(device), y.to(device)  # made on the CPU wherever the net is, so that a device changes no drawing
            logits = net(x)  # (1), (2)
            loss = F.cross_entropy(logits, y, reduction="sum")  # (3), (4)
            optimizer.zero_grad()  # backward() adds to what is there; ours overwrites
            (loss / len(x)).backward()  # (5), (6), (7), divided by B as (8) does
            optimizer.step()  # (8)
            schedule.step()  # every update, not every epoch
            total += loss.item()  # a Python number: summed as a tensor, each loss would keep its whole graph alive
            right += (logits.argmax(dim=1) == y).sum().item()
            step, seen = step + 1, seen + len(x)
        val_logits = torch.from_numpy(predict(net, data.x_val, dtype, device))
        y_val = torch.from_numpy(data.y_val)
        record = {"epoch": epoch, "train_loss": total / seen, "train_accuracy": right / seen,
                  "val_loss": F.cross_entropy(val_logits, y_val).item(),
                  "val_accuracy": (val_logits.argmax(dim=1) == y_val).double().mean().item(), "seconds": time.time() - begin}
        history.append(record)
        print("epoch {epoch:3d}/{0}  cross-entropy, nats: train {train_loss:.4f}  validation {val_loss:.4f}  accuracy: train "
              "{train_accuracy:.3f}  validation {val_accuracy:.3f}  {seconds:6.1f} s".format(epochs, **record), flush=True)
        key = (record["val_accuracy"], -record["val_loss"])  # early stopping
        if key > best["key"]:
            # clone: state_dict() holds the tensors themselves, and kept without a copy the "best" would be the last
            best = {"key": key, "step": step, "weights": {name: p.clone() for name, p in net.state_dict().items()}}
        elif settings.patience and step - best["step"] >= settings.patience:
            net.load_state_dict(best["weights"])
            break
    return history


# ---- 5. Evaluation ----------------------------------------------------------------------------------

@torch.no_grad()
def predict(net, images, dtype, device):
    """Logits (N, K), numpy, of drawings (N, 1, 28, 28)."""
    net.eval()  # dropout off; train() has switched it on
    x = torch.from_numpy(images.reshape(len(images), -1).astype(dtype))
    return torch.cat([net(part.to(device)).cpu() for part in x.split(1000)]).numpy()


def scores(logits, y):
    """Figures on test drawings: accuracy; for each category and their mean (macro) precision, recall, areas under ROC and PR curve."""
    logits = torch.from_numpy(logits)  # the sums inside softmax and loss are torch's; the figures are scikit-learn's in both twins
    probs, one_hot, predicted, names = logits.softmax(dim=1).numpy(), np.eye(K)[y], logits.argmax(dim=1).numpy(), (*common.CLASSES, "macro")
    precision, recall, _, _ = precision_recall_fscore_support(y, predicted, labels=range(K), zero_division=0)
    figures = {"precision": precision, "recall": recall, "roc_auc": roc_auc_score(one_hot, probs, average=None),
               "pr_auc": average_precision_score(one_hot, probs, average=None)}
    return {"test_accuracy": float((predicted == y).mean()), "test_cross_entropy": F.cross_entropy(logits, torch.from_numpy(y)).item(),
            "confusion": confusion_matrix(y, predicted, labels=range(K)).tolist(),
            **{name: dict(zip(names, [*values.tolist(), float(values.mean())])) for name, values in figures.items()}}


def compare_gradients(settings, cfg, data, twin):
    """{type: {layer: {"absolute", "relative"}}}: largest difference of the first batch's gradients, and that over the largest gradient.

    On the CPU, where the twin ran. "other weights": float64, but torch's own first weights instead of the twin's.
    """
    table = {}
    for name, run in (("float64", "plain, float64"), ("float32", "plain"), ("float64, other weights", "plain, float64")):
        weights, theirs = part(twin, f"{run}/first/"), part(twin, f"{run}/gradient/")
        dtype = weights["W1"].dtype
        torch.manual_seed(cfg.seed)  # for the other weights: nn.Linear's own, uniform in +-1 / sqrt(I)
        net = MLP(settings, None if "other" in name else weights).to(torch.float64 if dtype == np.float64 else torch.float32).eval()
        batches = epoch_of_batches(data.x_train, data.y_train, settings.batch_size, np.random.default_rng(cfg.seed), 0, 0.0, dtype)
        x, y = batches[0]  # the twin's first batch, unmoved
        F.cross_entropy(net(x), y, reduction="sum").backward()  # the sum, as (4) has it: B times what training divides by B
        table[name] = differences(net.gradients(), theirs)  # layer by layer
    return table


# ---- 7. Main ----------------------------------------------------------------------------------------

def main(cfg):
    data, device = common.load_data(cfg), common.setup(cfg)
    settings, their_history, their_record, twin = read_twin(cfg, "mlp_numpy", data.source)
    folder = common.start(cfg, __file__)
    table = compare_gradients(settings, cfg, data, twin)
    print("largest difference of the first batch's gradients: absolute, relative to the largest gradient")
    for name, layers in table.items():
        print(f"{name:24s}" + "  ".join(f"{layer} {d['absolute']:.1e} {d['relative']:.1e}" for layer, d in layers.items()))

    histories, results, begin = {}, {}, time.time()
    for name, shift, mirror, dtype in (("plain", 0, 0.0, np.float32), ("augmented", settings.shift, settings.mirror, np.float32),
                                       ("plain, float64", 0, 0.0, np.float64)):
        print(f"{name}:")
        where = device if device.type != "mps" or dtype == np.float32 else torch.device("cpu")  # mps has no float64
        net = MLP(settings, part(twin, f"{name}/first/")).to(where)
        histories[name] = train(cfg, settings, net, data, shift, mirror, dtype, where)
        logits, theirs = predict(net, data.x_test, dtype, where), twin[f"{name}/test_logits"]
        results[name] = scores(logits, data.y_test)
        # of logits that nearly tie, rounding may turn the larger into the smaller: answers, not logits, are compared
        results[name]["same_predictions"] = float((logits.argmax(axis=1) == theirs.argmax(axis=1)).mean())
        # seconds include what both do alike (moving drawings, validation); on a GPU also the copies, so there the ratio says little
        for who, history in (("torch", histories[name]), ("numpy", their_history[name])):
            results[name][f"seconds_an_epoch_{who}"] = history[-1]["seconds"] / len(history)
        if name == "augmented":
            common.save(folder / "weights.pt", net)
            probs = torch.from_numpy(logits).softmax(dim=1).numpy()
            charts.plot_mistakes(cfg, folder / "mistakes.png", data.x_test, data.y_test, probs, data.source)
        print("{}: test accuracy {test_accuracy:.4f} (numpy {:.4f}), same answer on {same_predictions:.1%} of the test drawings; "
              "seconds an epoch {seconds_an_epoch_torch:.3f} (numpy {seconds_an_epoch_numpy:.3f})".format(
                  name, their_record[name]["test_accuracy"], **results[name]))
    common.save(folder / "history.json", histories)
    shown = ("plain", "augmented")
    charts.plot_learning(cfg, folder / "curves.png", {name: histories[name] for name in shown}, data.source)
    charts.plot_confusion(cfg, folder / "confusion.png", {name: results[name] for name in shown}, data.source)
    charts.plot_twins(cfg, folder / "twins.png", {name: (histories[name], their_history[name]) for name in shown}, table, data.source)
    common.finish(cfg, folder, data.source, device, net, time.time() - begin, gradients=table, **results)


if __name__ == "__main__":
    common.run(main, Config)
