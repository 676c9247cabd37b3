"""Drawings and words in one space: two MLPs meet, and a drawing is named by its nearest word. In numpy, by hand.

mlp_numpy.py has an output for each category and knows of categories no more than their numbers. Here one
net takes a drawing, another the vector of a category's name, and both give a point on the unit sphere of
R^E. With five words it is a classifier whose last layer is made of V's rows. But g takes any word: a new one
could name drawings that no training has shown, if it lies where their meaning does (zero_shot, below).

    (1)  u_n = f(x_n) / |f(x_n)|                        a drawing's point; f: pixels -> R^E
    (2)  v_k = g(w_k) / |g(w_k)|                        a category's point; g: word vector -> R^E
    (3)  S = U V^T                                      cosines (B, K): |u - v|^2 = 2 - 2 S; the largest names
    (4)  pull  = 1/B sum_n (1 - S_n,y_n)                to the right word
    (5)  push  = 1/B sum_n -ln softmax(S_n / tau)_y_n   the right word nearer than the others: InfoNCE
    (6)  apart = mean over k != l of max(0, v_k.v_l - margin)^2        words away from one another
    (7)  L = a pull + b push + c apart

Term by term. (4) cannot tell the solution from a collapse: all points in one place have loss 0, too. (5), the
cross-entropy of mlp_numpy.py with cosines for logits (InfoNCE draws the wrong ones; here they are all there),
asks for the right word to be nearer than the others, by tau; once it is, (5) rests and (4) goes on. (6) keeps
the words apart, which (5) does only through the drawings. Test accuracy 0.873; without pull 0.883, push 0.880,
apart 0.893: any two will do, within chance. Pull alone collapses: 0.225.

Backwards (the layers: see mlp_numpy.py), Y one-hot and P = softmax(S / tau):

    (8)  dL/dS = (-a Y + b (P - Y) / tau) / B
    (9)  dL/dU = dL/dS V,   dL/dV = (dL/dS)^T U + 4 c / (K (K - 1)) M V,   M_kl = max(0, v_k.v_l - margin), M_kk = 0
    (10) dL/df = (dL/du - u (u . dL/du)) / |f|          the part along u goes: length does not matter

Words: --glove FILE, in GloVe's text format; else vectors of the spelling, which know no meaning.

Papers: van den Oord et al. 2018, section 2.3, and Wu et al. 2018, equation 2 (cosines and tau), for (5); Frome
et al., DeViSE, 2013, for drawings and words in one space; Pennington et al. 2014, GloVe; Bojanowski et al.
2017, section 3.2, for words from character n-grams (theirs are learned and summed; ours random and averaged).

Run:    python -m more.embed_numpy --data DATA [--glove FILE]       (or: make embed_numpy FLAGS="--glove FILE")
Writes: OUT/embed_numpy/ weights.npz, history.json, twin.npz (for more/embed_torch.py), metrics.json; pictures
        curves, ablation, similarity, tsne, confusion, mistakes
Result: 177 s for 18 trainings on a core of an AMD EPYC, 2,880 real drawings: test accuracy 0.891 with GloVe's
        vectors, 0.885 with the spelling's; with two threads, which round otherwise, 0.873 and 0.884: so much is chance.
        mlp_numpy.py has 0.851. With two threads, as the figures above, zero-shot by GloVe's: rabbit 0.26, yoga 0.25,
        hand 0.19, snowman 0.03, motorbike 0.28; by the spelling's: 0.29, 0.11, 0.41, 0.02, 0.13. Guessing has 0.20:
        from four words no meaning can be learned
"""

import math
import time
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar

import numpy as np
from sklearn.manifold import TSNE
from sklearn.metrics import average_precision_score, confusion_matrix, precision_recall_fscore_support, roc_auc_score

import common
from more import charts
from more.words import word_matrix

# Shapes: B batch, N drawings, K = 5 categories, E numbers in a point.
K = len(common.CLASSES)
EPS = 1e-2  # least length of f and g; usual ones are above 1


# ---- 1. Settings ------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Config(common.Settings):
    MAY_BE_ZERO: ClassVar[set] = common.Settings.MAY_BE_ZERO | {"momentum", "pull", "push", "apart"}

    glove: str = ""  # file of word vectors, a word and its numbers a line; empty: vectors of the spelling
    embed_dim: int = 32  # E
    width: int = 256  # units in each of the drawing net's two hidden layers
    word_width: int = 64  # units in the word net's hidden layer
    pull: float = 1.0  # a in (7)
    push: float = 1.0  # b in (7)
    apart: float = 1.0  # c in (7)
    tau: float = 0.1  # in (5): cosines end at 1, and softmax of 1, -1, -1, -1, -1 is 0.65; of ten times that, 1
    margin: float = 0.0  # in (6): 0 asks for no more than right angles
    lr: float = 0.1  # learning rate at the start; falls to 0 along half a cosine
    momentum: float = 0.9  # how much of the last step is kept
    weight_decay: float = 2e-3  # for (10), only f's direction counts: steps lengthen f and so shorten themselves; decay balances it
    batch_size: int = 128  # drawings an update
    steps: int = 3000  # weight updates; fixed, so that 3,000 and 20,000 drawings take about the same time
    epochs: int = 0  # passes over the training drawings; 0: as many as `steps` needs
    shift: int = 2  # pixels by up to which training drawings are moved
    mirror: float = 0.5  # share of training drawings that are mirrored


# ---- 2. Model ---------------------------------------------------------------------------------------

class Net:
    """Fully connected layers, ReLU between them, and the unit sphere behind: (B, in) -> (B, E). See mlp_numpy.py."""

    def __init__(self, widths, rng, dtype):
        # He's gain as in mlp_numpy.py; of the last layer only the direction counts
        self.W = [(rng.standard_normal((a, b)) * np.sqrt(2 / a)).astype(dtype) for a, b in pairwise(widths)]
        self.b = [np.zeros(b, dtype) for b in widths[1:]]

    def forward(self, x):
        self.H = [x]  # the inputs of each layer
        for i, (W, b) in enumerate(zip(self.W, self.b)):
            a = self.H[-1] @ W + b
            self.H.append(np.maximum(a, 0) if i + 1 < len(self.W) else a)
        # at least EPS: a blank drawing has f = 0 while the biases are 0, and (10) would divide by it
        self.length = np.maximum(np.linalg.norm(a, axis=1, keepdims=True), EPS)  # (B, 1)
        self.u = a / self.length  # (1), (2), (B, E)
        return self.u

    def backward(self, d):
        """From dL/du (B, E) to the gradients dW, db."""
        # u = f / |f|: du_i/df_j = (delta_ij - u_i u_j) / |f|
        d = (d - self.u * (d * self.u).sum(axis=1, keepdims=True)) / self.length  # (10)
        self.dW, self.db = [None] * len(self.W), [None] * len(self.W)
        for i in reversed(range(len(self.W))):
            self.dW[i], self.db[i] = self.H[i].T @ d, d.sum(axis=0)
            if i:
                d = (d @ self.W[i].T) * (self.H[i] > 0)

    def parameters(self):
        return [*self.W, *self.b]  # the arrays themselves: to be changed in place

    def gradients(self):
        return [*self.dW, *self.db]


class Embedding:
    """Both nets and all five words' vectors (K, numbers); train() picks the words that take part."""

    def __init__(self, cfg, words, rng, dtype=np.float32):
        self.image = Net([28 * 28, cfg.width, cfg.width, cfg.embed_dim], rng, dtype)
        self.word = Net([words.shape[1], cfg.word_width, cfg.embed_dim], rng, dtype)
        self.words, self.dtype = words.astype(dtype), dtype

    def named(self):
        """{name: array}, the arrays themselves: image/W1, image/b1, ..., word/W1, ..."""
        return {f"{side}/{kind}{i}": array for side in ("image", "word") for kind in ("W", "b")
                for i, array in enumerate(getattr(getattr(self, side), kind), 1)}


# ---- 3. Loss ----------------------------------------------------------------------------------------

def softmax(s):
    e = np.exp(s - s.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def loss_terms(cfg, U, V, y):
    """(terms {pull, push, apart} before their weights, dL/dU, dL/dV); points U (B, E), V (K, E), categories y (B,)."""
    S, Y = U @ V.T, np.eye(len(V), dtype=U.dtype)[y]  # (3), (B, C): C categories take part
    P = softmax(S / cfg.tau)
    M = np.maximum(V @ V.T - cfg.margin, 0) * (1 - np.eye(len(V), dtype=U.dtype))
    pairs = len(V) * (len(V) - 1)  # each counts twice
    logits = S / cfg.tau - (S / cfg.tau).max(axis=1, keepdims=True)
    terms = {"pull": float(1 - (S * Y).sum() / len(U)),  # (4)
             "push": float((np.log(np.exp(logits).sum(axis=1)) - (logits * Y).sum(axis=1)).mean()),  # (5)
             "apart": float((M ** 2).sum() / pairs)}  # (6)
    dS = (-cfg.pull * Y + cfg.push * (P - Y) / cfg.tau) / len(U)  # (8)
    # (6) has v_k in row k and in column k, and a square: d/dv_k = 2 * 2 sum_l M_kl v_l / pairs
    return terms, dS @ V, dS.T @ U + (4 * cfg.apart / pairs) * (M @ V)  # (9)


# ---- 4. Training ------------------------------------------------------------------------------------

def train(cfg, model, data, verbose="", classes=range(K)):
    """The whole loop; returns the history. classes: only drawings and words of these take part."""
    keep = np.isin(data.y_train, classes)
    x_train, y_train = data.x_train[keep], np.searchsorted(classes, data.y_train[keep])  # labels count within classes
    per_epoch = max(1, len(y_train) // cfg.batch_size)
    epochs = cfg.epochs or max(1, round(cfg.steps / per_epoch))
    parameters, data_rng = [*model.image.parameters(), *model.word.parameters()], np.random.default_rng(cfg.seed)
    velocity = [np.zeros_like(p) for p in parameters]
    history, step, begin = [], 0, time.time()
    for epoch in range(1, epochs + 1):
        x_epoch = common.augment(x_train, data_rng, cfg.shift, cfg.mirror).reshape(len(x_train), -1).astype(model.dtype)
        order = data_rng.permutation(len(y_train))[:per_epoch * cfg.batch_size]
        sums, right = {"pull": 0.0, "push": 0.0, "apart": 0.0}, 0
        for batch in np.split(order, per_epoch):
            U, V = model.image.forward(x_epoch[batch]), model.word.forward(model.words[list(classes)])  # (1), (2)
            terms, dU, dV = loss_terms(cfg, U, V, y_train[batch])  # (3) to (9)
            model.image.backward(dU)  # (10), and down the layers
            model.word.backward(dV)
            lr = cfg.lr * 0.5 * (1 + math.cos(math.pi * step / (epochs * per_epoch)))  # no float64 of numpy's: lr v would be one
            for p, g, v in zip(parameters, [*model.image.gradients(), *model.word.gradients()], velocity):
                v *= cfg.momentum
                v += g + cfg.weight_decay * p
                p -= lr * v
            sums = {name: sums[name] + value / per_epoch for name, value in terms.items()}
            right += int(((U @ V.T).argmax(axis=1) == y_train[batch]).sum())
            step += 1
        mine = np.isin(data.y_val, classes)
        terms, accuracy = evaluate(cfg, model, data.x_val[mine], data.y_val[mine], classes)
        record = {"epoch": epoch, "train_accuracy": right / len(order), "val_accuracy": accuracy, "seconds": time.time() - begin}
        for kind, values in (("train", sums), ("val", terms)):
            record |= {f"{kind}_{name}": value for name, value in values.items()}
            record[f"{kind}_loss"] = cfg.pull * values["pull"] + cfg.push * values["push"] + cfg.apart * values["apart"]  # (7)
        history.append(record)
        if verbose:
            print("{0} epoch {epoch:3d}/{1}  training: pull {train_pull:.3f}  push {train_push:.3f} nats  apart {train_apart:.3f}  "
                  "accuracy {train_accuracy:.3f}  validation {val_accuracy:.3f}  {seconds:5.1f} s".format(verbose, epochs, **record))
    return history


# ---- 5. Evaluation ----------------------------------------------------------------------------------

def points(model, images):
    """(U (N, E), V (K, E)): points of drawings (N, 1, 28, 28), and of all five words."""
    x = images.reshape(len(images), -1).astype(model.dtype)
    return np.concatenate([model.image.forward(part) for part in np.array_split(x, 1 + len(x) // 1000)]), model.word.forward(model.words)


def evaluate(cfg, model, images, labels, classes=range(K)):
    """(terms {pull, push, apart}, accuracy) on drawings of these classes, ranked among these classes."""
    U, V = points(model, images)
    V, y = V[list(classes)], np.searchsorted(classes, labels)
    return loss_terms(cfg, U, V, y)[0], float(((U @ V.T).argmax(axis=1) == y).mean())


def scores(S, y, tau):
    """As in mlp_numpy.py, from cosines S (N, K); probabilities for the areas: softmax(S / tau)."""
    probs, one_hot, predicted, names = softmax(S / tau), np.eye(K)[y], S.argmax(axis=1), (*common.CLASSES, "macro")
    precision, recall, _, _ = precision_recall_fscore_support(y, predicted, labels=range(K), zero_division=0)
    figures = {"precision": precision, "recall": recall, "roc_auc": roc_auc_score(one_hot, probs, average=None),
               "pr_auc": average_precision_score(one_hot, probs, average=None)}
    return {"test_accuracy": float((predicted == y).mean()), "confusion": confusion_matrix(y, predicted, labels=range(K)).tolist(),
            **{name: dict(zip(names, [*values.tolist(), float(values.mean())])) for name, values in figures.items()}}


def first_gradients(cfg, words, data, dtype):
    """{name: gradient of (7)} on the first batch, from the seed's first weights: what more/embed_torch.py compares."""
    model, rng = Embedding(cfg, words, np.random.default_rng(cfg.seed), dtype), np.random.default_rng(cfg.seed)
    x = common.augment(data.x_train, rng, cfg.shift, cfg.mirror).reshape(len(data.x_train), -1).astype(dtype)
    batch = rng.permutation(len(x))[:cfg.batch_size]
    _, dU, dV = loss_terms(cfg, model.image.forward(x[batch]), model.word.forward(model.words), data.y_train[batch])
    model.image.backward(dU)
    model.word.backward(dV)
    return {f"{side}/{kind}{i}": g for side in ("image", "word") for kind in ("W", "b")
            for i, g in enumerate(getattr(getattr(model, side), "d" + kind), 1)}


def mean_cosine(V):
    """Between different categories: 1 if all words have fallen together, -1/4 at best for five."""
    return float(((V @ V.T).sum() - np.trace(V @ V.T)) / (len(V) * (len(V) - 1)))


def zero_shot(cfg, data, words):
    """{category: share of its test drawings named by its word, of all five, though neither was trained on}.

    Guessing has 1/5. A net may well stay below: every drawing it saw was pulled to one of the four other words.
    """
    result = {}
    for k, name in enumerate(common.CLASSES):
        model = Embedding(cfg, words, np.random.default_rng(cfg.seed))
        train(cfg, model, data, classes=[c for c in range(K) if c != k])
        U, V = points(model, data.x_test[data.y_test == k])
        result[name] = float(((U @ V.T).argmax(axis=1) == k).mean())
    return result


# ---- 7. Main ----------------------------------------------------------------------------------------

def main(cfg):
    common.require(cfg.device in ("auto", "cpu"), "--device", cfg.device, "cpu: numpy knows no other", "leave it out")
    words = {kind: word_matrix(kind, cfg.glove) for kind in (("glove", "spelling") if cfg.glove else ("spelling",))}
    data, kind = common.load_data(cfg), next(iter(words))
    folder, begin = common.start(cfg, __file__), time.time()
    histories, results, twin = {}, {}, {"words": words[kind]}
    for name, dtype in [(name, np.float32) for name in words] + [("float64", np.float64)]:
        model = Embedding(cfg, words.get(name, words[kind]), np.random.default_rng(cfg.seed), dtype)
        twin |= {f"{name}/first/{key}": value.copy() for key, value in model.named().items()}
        before = points(model, data.x_test)[1]
        histories[name] = train(cfg, model, data, verbose=name)
        U, V = points(model, data.x_test)
        results[name] = scores(U @ V.T, data.y_test, cfg.tau)
        twin |= {f"{name}/gradient/{key}": g for key, g in first_gradients(cfg, words.get(name, words[kind]), data, dtype).items()}
        twin[f"{name}/test_cosines"] = U @ V.T
        print(f"{name}: test accuracy {results[name]['test_accuracy']:.4f}")
        if name == kind:
            common.save(folder / "weights.npz", {key.replace("/", "_"): value for key, value in model.named().items()})
            kinds = {"words as given": words[kind], "before training": before, "after": V}
            charts.plot_similarity(cfg, folder / "similarity.png", kinds, data.source)
            plane = TSNE(perplexity=min(30, len(U) / 4), init="pca", random_state=0).fit_transform(np.concatenate([U[:2000], V]))
            charts.plot_points(cfg, folder / "tsne.png", plane, data.y_test[:2000], data.source)
            charts.plot_mistakes(cfg, folder / "mistakes.png", data.x_test, data.y_test, softmax(U @ V.T / cfg.tau), data.source)

    ablation = {}
    for name, off in {"all three": {}, "no pull": {"pull": 0.0}, "no push": {"push": 0.0}, "no apart": {"apart": 0.0},
                      "pull alone": {"push": 0.0, "apart": 0.0}}.items():
        model = Embedding(cfg, words[kind], np.random.default_rng(cfg.seed))
        train(replace(cfg, **off), model, data)
        terms, accuracy = evaluate(cfg, model, data.x_test, data.y_test)
        ablation[name] = terms | {"test_accuracy": accuracy, "mean_cosine_of_words": mean_cosine(points(model, data.x_test[:1])[1])}
        print(f"{name:10s} " + "  ".join(f"{key} {value:.3f}" for key, value in ablation[name].items()))
    unseen = {name: zero_shot(cfg, data, matrix) for name, matrix in words.items()}
    for name, result in unseen.items():
        print(f"zero-shot, {name}: " + "  ".join(f"{category} {share:.3f}" for category, share in result.items()) + "  (chance 0.200)")

    common.save(folder / "history.json", histories)
    common.save(folder / "twin.npz", twin)
    charts.plot_terms(cfg, folder / "curves.png", histories[kind], ("pull", "push", "apart"), data.source)
    charts.plot_ablation(cfg, folder / "ablation.png", ablation, unseen, data.source)
    charts.plot_confusion(cfg, folder / "confusion.png", {name: results[name] for name in words}, data.source)
    common.finish(cfg, folder, data.source, "cpu", sum(p.size for p in model.named().values()), time.time() - begin, words=kind,
                  ablation=ablation, zero_shot=unseen, runs=results, test_accuracy=results[kind]["test_accuracy"])


if __name__ == "__main__":
    common.run(main, Config)
