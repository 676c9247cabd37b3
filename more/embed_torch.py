"""Drawings and words in one space, again with a library's layers, derivatives and optimiser: was embed_numpy.py right?

Nets, first weights, word vectors, order of batches and settings are the same. Only the origin of the
derivatives differs: there equations (8) to (10) by hand, here autograd through (1) to (7).
Compared as in mlp_torch.py: the gradients of the first batch, the curves, and what is said of each test
drawing at the end, in float32 and in float64.

Equations (1) to (10): see embed_numpy.py.

Run:    python -m more.embed_torch --data DATA      (or: make embed_torch; needs OUT/embed_numpy)
Writes: OUT/embed_torch/ weights.pt, history.json, metrics.json; pictures curves, confusion, mistakes, twins
Result: 37 s on a core of an AMD EPYC, 2,880 real drawings. First gradients: differences up to 1.2e-15 of the
        largest in float64 and 1.2e-6 in float32. Test accuracy 0.875 in float32 (numpy, two threads, 0.873, the same answer on
        92 % of the test drawings: 3,000 updates carry rounding on), 0.873 in float64 (the same answer on all 800)

Gone, compared with embed_numpy.py: the hand-written gradients (8) to (10). Ablation and zero-shot are only there.
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

# Shapes: B batch, N drawings, K = 5 categories, E numbers in a point.
K = len(common.CLASSES)
EPS = 1e-2  # least length of f and g, as in embed_numpy.py


# ---- 1. Settings ------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Config(common.Settings):
    """All other settings are read from embed_numpy.py's run."""

    precision: Literal["float32"] = "float32"  # of one of the two runs, never bfloat16; the other is in float64


# ---- 2. Model ---------------------------------------------------------------------------------------

class Net(nn.Module):
    """Fully connected layers, ReLU between them, and the unit sphere behind: (B, in) -> (B, E)."""

    def __init__(self, weights):
        super().__init__()
        layers = []  # sizes come from the twin's weights: they cannot disagree
        for i in range(1, len(weights) // 2 + 1):
            layer = nn.Linear(*weights[f"W{i}"].shape)  # its own first weights are replaced; W lies transposed in torch
            layer.weight.data, layer.bias.data = torch.from_numpy(weights[f"W{i}"].T.copy()), torch.from_numpy(weights[f"b{i}"].copy())
            layers += [layer, nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])  # no ReLU at the end: a point may have negative coordinates

    def forward(self, x):
        return F.normalize(self.layers(x), dim=1, eps=EPS)  # (1), (2)


class Embedding(nn.Module):
    """Both nets, and the words (K, V) as a buffer: saved with the weights, never trained."""

    def __init__(self, weights, words):
        super().__init__()
        self.image, self.word = Net(part(weights, "image/")), Net(part(weights, "word/"))
        self.register_buffer("words", torch.from_numpy(words.astype(weights["image/W1"].dtype)))

    def forward(self, x):
        return self.image(x), self.word(self.words)  # (B, E), (K, E)

    def gradients(self):
        """{name: array}, in embed_numpy.py's names and shapes."""
        linear = {side: [m for m in getattr(self, side).modules() if isinstance(m, nn.Linear)] for side in ("image", "word")}
        return {f"{side}/{kind}{i}": p.grad.numpy().T for side, layers in linear.items() for i, layer in enumerate(layers, 1)
                for kind, p in (("W", layer.weight), ("b", layer.bias))}


# ---- 3. Loss ----------------------------------------------------------------------------------------

def loss_terms(settings, U, V, y):
    """(loss (7), terms {pull, push, apart}); points U (B, E), V (K, E), categories y (B,)."""
    S = U @ V.T  # (3), (B, K)
    others = ~torch.eye(len(V), dtype=torch.bool, device=V.device)  # a word's cosine with itself is 1, always
    terms = {"pull": 1 - S.gather(1, y[:, None]).mean(),  # (4)
             "push": F.cross_entropy(S / settings.tau, y),  # (5)
             "apart": F.relu((V @ V.T)[others] - settings.margin).square().mean()}  # (6)
    return sum(getattr(settings, name) * term for name, term in terms.items()), terms  # (7)


# ---- 4. Training ------------------------------------------------------------------------------------

def epochs_of_batches(settings, data, rng, dtype, device):
    """Yields a list [(pixels (B, 784), categories (B,))] an epoch, for ever: embed_numpy.py's batches, from the same rng."""
    per_epoch = max(1, len(data.y_train) // settings.batch_size)
    y_train = torch.from_numpy(data.y_train).to(device)  # once: labels never change
    while True:
        x = common.augment(data.x_train, rng, settings.shift, settings.mirror).reshape(len(data.x_train), -1).astype(dtype)
        x, order = torch.from_numpy(x).to(device), rng.permutation(len(x))[:per_epoch * settings.batch_size]
        yield [(x[pick], y_train[pick]) for pick in np.split(order, per_epoch)]


def train(cfg, settings, model, data, dtype, device):
    """The whole loop, as in embed_numpy.py; returns the history."""
    per_epoch = max(1, len(data.y_train) // settings.batch_size)  # updates
    epochs = settings.epochs or max(1, round(settings.steps / per_epoch))
    # V <- m V + (gradient + c W), W <- W - lr V, as by hand in the twin; the words are a buffer, and so no parameters
    optimizer = torch.optim.SGD(model.parameters(), settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5 * (1 + np.cos(np.pi * step / (epochs * per_epoch))))
    history, begin = [], time.time()
    source = epochs_of_batches(settings, data, np.random.default_rng(cfg.seed), dtype, device)
    for epoch in range(1, epochs + 1):
        sums, right, seen = {"pull": 0.0, "push": 0.0, "apart": 0.0}, 0, 0
        for x, y in next(source):
            U, V = model(x)  # (1), (2)
            loss, terms = loss_terms(settings, U, V, y)  # (3) to (7)
            optimizer.zero_grad()  # backward() adds to what is there
            loss.backward()  # (8) to (10), and down the layers
            optimizer.step()
            schedule.step()  # half a cosine, every update
            # item(): a Python number, or every batch's graph would be kept alive
            sums = {name: sums[name] + terms[name].item() / per_epoch for name in sums}
            right, seen = right + ((U @ V.T).argmax(dim=1) == y).sum().item(), seen + len(y)
        S, U, V = cosines(model, data.x_val, dtype, device)
        with torch.no_grad():  # nothing is learned from validation drawings
            loss, terms = loss_terms(settings, U, V, torch.from_numpy(data.y_val).to(device))
        record = {"epoch": epoch, "train_accuracy": right / seen, "val_accuracy": float((S.argmax(axis=1) == data.y_val).mean()),
                  "seconds": time.time() - begin, "train_loss": sum(getattr(settings, name) * value for name, value in sums.items()),
                  "val_loss": loss.item(), **{f"train_{name}": value for name, value in sums.items()},
                  **{f"val_{name}": value.item() for name, value in terms.items()}}
        history.append(record)
        print("epoch {epoch:3d}/{0}  training: pull {train_pull:.3f}  push {train_push:.3f} nats  apart {train_apart:.3f}  accuracy "
              "{train_accuracy:.3f}  validation {val_accuracy:.3f}  {seconds:6.1f} s".format(epochs, **record), flush=True)
    return history


# ---- 5. Evaluation ----------------------------------------------------------------------------------

@torch.no_grad()
def cosines(model, images, dtype, device):
    """(S (N, K) as numpy, U (N, E), V (K, E)) of drawings (N, 1, 28, 28)."""
    x = torch.from_numpy(images.reshape(len(images), -1).astype(dtype))  # (N, 784)
    U, V = torch.cat([model.image(part.to(device)) for part in x.split(1000)]), model.word(model.words)
    return (U @ V.T).cpu().numpy(), U, V


def scores(S, y, tau):
    """As in mlp_torch.py, from cosines S (N, K); probabilities for the areas: softmax(S / tau)."""
    probs, one_hot = (torch.from_numpy(S) / tau).softmax(dim=1).numpy(), np.eye(K)[y]
    predicted, names = S.argmax(axis=1), (*common.CLASSES, "macro")  # the nearest word; macro: the mean over categories
    precision, recall, _, _ = precision_recall_fscore_support(y, predicted, labels=range(K), zero_division=0)
    figures = {"precision": precision, "recall": recall, "roc_auc": roc_auc_score(one_hot, probs, average=None),
               "pr_auc": average_precision_score(one_hot, probs, average=None)}
    return {"test_accuracy": float((predicted == y).mean()), "confusion": confusion_matrix(y, predicted, labels=range(K)).tolist(),
            **{name: dict(zip(names, [*values.tolist(), float(values.mean())])) for name, values in figures.items()}}


def compare_gradients(settings, cfg, data, twin, runs):
    """{type: {layer: {"absolute", "relative"}}}: largest difference of the first batch's gradients, and the same over the largest."""
    table = {}
    for name, run in runs.items():
        weights, theirs = part(twin, f"{run}/first/"), part(twin, f"{run}/gradient/")
        model, dtype = Embedding(weights, twin["words"]), weights["image/W1"].dtype
        x, y = next(epochs_of_batches(settings, data, np.random.default_rng(cfg.seed), dtype, torch.device("cpu")))[0]
        loss_terms(settings, *model(x), y)[0].backward()  # (8) to (10) by autograd
        # layer by layer: an error in one layer's derivative shows in it and in all before it
        table[name] = differences(model.gradients(), theirs)
    return table


# ---- 7. Main ----------------------------------------------------------------------------------------

def main(cfg):
    data, device = common.load_data(cfg), common.setup(cfg)
    settings, their_history, their_record, twin = read_twin(cfg, "embed_numpy", data.source)
    folder, kind = common.start(cfg, __file__), their_record["words"]
    table = compare_gradients(settings, cfg, data, twin, {"float64": "float64", "float32": kind})
    print("largest difference of the first batch's gradients: absolute, relative to the largest gradient")
    for name, layers in table.items():
        print(f"{name:8s}" + "  ".join(f"{layer} {d['absolute']:.1e} {d['relative']:.1e}" for layer, d in layers.items()))

    histories, results, begin = {}, {}, time.time()
    for name, run, dtype in (("float32", kind, np.float32), ("float64", "float64", np.float64)):
        print(f"{name}, {kind} vectors:")
        where = device if device.type != "mps" or dtype == np.float32 else torch.device("cpu")  # mps has no float64
        model = Embedding(part(twin, f"{run}/first/"), twin["words"]).to(where)  # float32 or float64, as the weights are
        histories[name] = train(cfg, settings, model, data, dtype, where)
        S, theirs = cosines(model, data.x_test, dtype, where)[0], twin[f"{run}/test_cosines"]
        results[name] = scores(S, data.y_test, settings.tau)
        # cosines that nearly tie may change places by rounding: answers are compared
        results[name]["same_predictions"] = float((S.argmax(axis=1) == theirs.argmax(axis=1)).mean())
        for who, history in (("torch", histories[name]), ("numpy", their_history[run])):
            results[name][f"seconds_an_epoch_{who}"] = history[-1]["seconds"] / len(history)
        if name == "float32":
            common.save(folder / "weights.pt", model)
            probs = (torch.from_numpy(S) / settings.tau).softmax(dim=1).numpy()
            charts.plot_mistakes(cfg, folder / "mistakes.png", data.x_test, data.y_test, probs, data.source)
        print("{}: test accuracy {test_accuracy:.4f} (numpy {:.4f}), same answer on {same_predictions:.1%} of the test drawings; seconds "
              "an epoch {seconds_an_epoch_torch:.3f} (numpy {seconds_an_epoch_numpy:.3f})".format(
                  name, their_record["runs"][run]["test_accuracy"], **results[name]))
    common.save(folder / "history.json", histories)
    charts.plot_terms(cfg, folder / "curves.png", histories["float32"], ("pull", "push", "apart"), data.source)
    charts.plot_confusion(cfg, folder / "confusion.png", results, data.source)
    pairs = {"float32": (histories["float32"], their_history[kind]), "float64": (histories["float64"], their_history["float64"])}
    charts.plot_twins(cfg, folder / "twins.png", pairs, table, data.source)
    common.finish(cfg, folder, data.source, device, model, time.time() - begin, words=kind, gradients=table, runs=results,
                  test_accuracy=results["float32"]["test_accuracy"])


if __name__ == "__main__":
    common.run(main, Config)
