"""Recurrent sentiment classifier: reads a sentence word by word, keeps what matters in a state, and says good or bad at the end.

Word t is a vector x_t in R^D, looked up in a trainable table; the state is h_t in R^H, h_0 = 0. Three cells, of three ages:

    (1)  plain:  h_t = tanh(W x_t + b + U h_{t-1} + b')
    (2)  LSTM:   i, f, o = sigmoid(W_. x_t + b_. + U_. h_{t-1} + b'_.)     input, forget and output gate
                 g = tanh(W_g x_t + b_g + U_g h_{t-1} + b'_g)              what could be written
                 c_t = f * c_{t-1} + i * g,   h_t = o * tanh(c_t)          the cell keeps, the state shows
    (3)  GRU:    r, z = sigmoid(W_. x_t + b_. + U_. h_{t-1} + b'_.)        reset and update gate
                 n = tanh(W_n x_t + b_n + r * (U_n h_{t-1} + b'_n))
                 h_t = (1 - z) * n + z * h_{t-1}
    (4)  two directions: one net reads forwards, one backwards; at each word their states stand side by side, in R^2H
    (5)  layers: the states of one are the words of the next
    (6)  s = the last state (backwards: that of the first word), or the mean or the maximum over the words, of the last layer
    (7)  logit = w . s + b,   p(positive) = sigmoid(logit),   loss = -ln p(label), nats

Why (2): through (1) a gradient goes back by d h_t / d h_{t-1} = diag(1 - h_t^2) U. Over k words that is a product of k such
matrices, which shrinks or grows like their singular values to the power of k. In (2) there is a second way,
d c_t / d c_{t-1} = diag(f) when the gates are held fixed: no matrix, no tanh, and f may be nearly 1. (3) has one in z.
Measured before and after training, on long sentences: the size of d logit / d x_t for a word k words before the end, over that of the
last one.

Sentences of a batch are filled up to the same length with PAD. No PAD may change a logit: the cells stop at a sentence's own
length (pack_padded_sequence), and (6) looks at words only. A test fills up with more, and compares.

What does it look at? Each word is left out in turn, and the change of the logit is drawn: red pulls down, blue pulls up.

The cells are torch's own, which are fast. unroll() below computes the same with (1) to (3) written out; a test finds no difference.
Why words are dropped: rt-polarity's 8,500 sentences are few for a table of 900,000 weights. In training a tenth of the words become
UNKNOWN, so that no sentence is known by one rare word, and half of the numbers of x_t and of s are zeroed.

Papers: Elman 1990 for (1); Hochreiter and Schmidhuber 1997, and Gers et al. 2000 for the forget gate, for (2); Cho et al. 2014, section
2.3, for (3), with r where torch has it; Schuster and Paliwal 1997 for (4); Bengio et al. 1994 for the vanishing gradient.
Run:    python -m more.text_rnn --data FOLDER --out OUT [--cell gru]      (or: make text_rnn)
Writes: OUT/text_rnn/ weights.pt, history.json, metrics.json; pictures curves, variants, gradients, words
Result: rt-polarity, one thread, 17 minutes for all: by validation the best is the GRU with two directions and the maximum, 0.778; test
        0.767 +- 0.006 (two seeds); LSTM and plain cells likewise 0.765, 0.731 +- 0.035; one direction, last state: GRU 0.771, LSTM 0.761,
        plain 0.683; three layers 0.746 +- 0.029. TF-IDF with logistic regression has 0.777: no net wins. At the first weights the gradient
        10 words back is 0.005 of the last word's in the plain cell and the GRU, 0.11 in the LSTM, whose forget gate starts at 0.73; 20
        words back 2e-5, 7e-5, 0.03. After training 1.4, 1.1, 1.1 (10 words): all three have opened the way, and still the plain cell
        learned least
"""

import time
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import common
from more import charts, sentences

# Shapes: B sentences, T words of the longest of them, D numbers a word, H numbers a state, S = H, or 2 H in two directions; V words.


# ---- 1. Settings ------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Config(sentences.Settings):
    cell: Literal["rnn", "lstm", "gru"] = "lstm"  # (1), (2) or (3)
    directions: Literal["one", "two"] = "two"  # (4)
    layers: int = 1  # (5)
    pool: Literal["last", "mean", "max"] = "max"  # (6)
    embedding: int = 100  # D
    hidden: int = 256  # H
    dropout: float = 0.5  # share of zeroed numbers in x_t and in s
    word_dropout: float = 0.1  # share of words that become UNKNOWN
    epochs: int = 0  # passes over the training sentences; 0: three, more learn them by heart; of the grammar 15, its words are few
    batch_size: int = 64  # sentences an update
    lr: float = 2e-3  # highest learning rate of the one-cycle schedule
    seeds: int = 2  # runs of each variant in the table

    MAY_BE_ZERO = sentences.Settings.MAY_BE_ZERO | {"word_dropout"}
    AT_MOST = sentences.Settings.AT_MOST | {"word_dropout": 0.9}


# (cell, directions, pool, layers) of the table's variants; most have one direction, which costs half
VARIANTS = [("lstm", "two", "max", 1), ("rnn", "two", "max", 1), ("gru", "two", "max", 1),
            ("rnn", "one", "last", 1), ("lstm", "one", "last", 1), ("gru", "one", "last", 1), ("lstm", "one", "mean", 1),
            ("lstm", "one", "max", 1), ("lstm", "one", "max", 2), ("lstm", "one", "max", 3)]
VARIANTS = {f"{'plain' if cell == 'rnn' else cell.upper()}, {ways} direction{'s' * (ways == 'two')}, {pool}" + f", {n} layers" * (n > 1): {
    "cell": cell, "directions": ways, "pool": pool, "layers": n} for cell, ways, pool, n in VARIANTS}
REACH = ("plain, one direction, last", "LSTM, one direction, last", "GRU, one direction, last")  # whose gradients are followed back


# ---- 2. Model ---------------------------------------------------------------------------------------

def plain_cell(x, h, w, u, b, b_u):
    """Equation (1): x (B, D), h (B, H) -> the next h (B, H); w (H, D), u (H, H), b and b_u (H,)."""
    return torch.tanh(x @ w.T + b + h @ u.T + b_u)  # (1), (B, H)


def lstm_cell(x, h, c, w, u, b, b_u):
    """Equation (2): x (B, D), h and c (B, H) -> the next h, c; w (4 H, D) has i, f, g, o below one another, as u, b and b_u."""
    i, f, g, o = (x @ w.T + b + h @ u.T + b_u).chunk(4, dim=1)  # (B, H) each
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)  # (2), (B, H)
    return torch.sigmoid(o) * torch.tanh(c), c  # (2)


def gru_cell(x, h, w, u, b, b_u):
    """Equation (3): x (B, D), h (B, H) -> the next h (B, H); w (3 H, D) has r, z, n below one another, as u, b and b_u."""
    x_r, x_z, x_n = (x @ w.T + b).chunk(3, dim=1)  # (B, H) each
    h_r, h_z, h_n = (h @ u.T + b_u).chunk(3, dim=1)  # (B, H) each
    r, z = torch.sigmoid(x_r + h_r), torch.sigmoid(x_z + h_z)  # (B, H) each
    n = torch.tanh(x_n + r * h_n)  # r outside of U_n, unlike Cho et al.: one matrix product for all three
    return (1 - z) * n + z * h  # (3), (B, H)


def unroll(rnn, x, lengths):
    """What torch's rnn makes of x (B, T, D), by the cells above: states (B, T, S), and the last of each direction (B, S)."""
    real = torch.arange(x.shape[1])[None, :, None] < lengths[:, None, None]  # (B, T, 1)
    for layer in range(rnn.num_layers):
        outputs, last = [], []
        for suffix in ("", "_reverse")[:1 + rnn.bidirectional]:
            weights = [getattr(rnn, f"{name}_l{layer}{suffix}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
            h = c = x.new_zeros(len(x), rnn.hidden_size)  # (B, H)
            states = [None] * x.shape[1]
            for t in reversed(range(x.shape[1])) if suffix else range(x.shape[1]):
                if rnn.mode == "LSTM":
                    new_h, new_c = lstm_cell(x[:, t], h, c, *weights)
                    c = torch.where(real[:, t], new_c, c)
                else:
                    new_h = (gru_cell if rnn.mode == "GRU" else plain_cell)(x[:, t], h, *weights)
                h = torch.where(real[:, t], new_h, h)  # a PAD changes nothing: backwards, the first words are PAD
                states[t] = h
            one_way = torch.stack(states, dim=1) * real  # (B, T, H)
            outputs.append(one_way)
            last.append(h)
        x = torch.cat(outputs, dim=2)  # (5): (4)'s states side by side are the words of the next layer
    return x, torch.cat(last, dim=1)  # (B, T, S), (B, S)


class TextRNN(nn.Module):
    """Numbers of words (B, T) and lengths (B,) -> logits (B,)."""

    def __init__(self, cfg, words):
        super().__init__()
        kind = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[cfg.cell]
        self.dropout, self.word_dropout, self.pool = cfg.dropout, cfg.word_dropout, cfg.pool
        self.table = nn.Embedding(words, cfg.embedding, padding_idx=sentences.PAD)  # PAD is 0 and stays 0
        self.table.weight.data *= 0.1  # N(0, 0.01): what little is learned of a rare word is not to drown in what it began with
        self.rnn = kind(cfg.embedding, cfg.hidden, cfg.layers, batch_first=True, bidirectional=cfg.directions == "two")
        self.head = nn.Linear(cfg.hidden * (1 + self.rnn.bidirectional), 1)
        if cfg.cell == "lstm":  # a forget gate of 0.73 at first, not 1/2: what was read a while ago is still there to be learned from
            for name, bias in self.rnn.named_parameters():
                if name.startswith("bias_ih"):
                    nn.init.ones_(bias.data[cfg.hidden:2 * cfg.hidden])

    def forward(self, numbers, lengths):
        if self.training and self.word_dropout:
            dropped = (torch.rand(numbers.shape, device=numbers.device) < self.word_dropout) & (numbers != sentences.PAD)
            numbers = numbers.masked_fill(dropped, sentences.UNKNOWN)  # (B, T)
        return self.read(self.table(numbers), lengths)

    def read(self, x, lengths):
        """Vectors of words (B, T, D) -> logits (B,)."""
        x = F.dropout(x, self.dropout, self.training)  # (B, T, D)
        # packed: word 1 of all sentences, word 2 of those that have one, and so on; PAD is not among them
        packed, _ = self.rnn(pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False))  # (1), (2) or (3), (4), (5)
        states, _ = pad_packed_sequence(packed, batch_first=True, total_length=x.shape[1])  # (B, T, S), 0 at PAD
        s = pool(states, lengths.to(x.device), self.pool, self.rnn.hidden_size)  # (6), (B, S)
        return self.head(F.dropout(s, self.dropout, self.training)).squeeze(1)  # (7), (B,)


def pool(states, lengths, how, hidden):
    """Equation (6): states (B, T, S) of sentences of lengths (B,) -> (B, S). hidden: H, the forward direction's part of S."""
    real = (torch.arange(states.shape[1], device=states.device) < lengths[:, None])[:, :, None]  # (B, T, 1)
    if how == "mean":
        return (states * real).sum(dim=1) / lengths[:, None]
    if how == "max":
        return states.masked_fill(~real, float("-inf")).amax(dim=1)  # not 0: all states of a sentence may be negative
    ends = states[torch.arange(len(states), device=states.device), lengths - 1]  # (B, S)
    return torch.cat([ends[:, :hidden], states[:, 0, hidden:]], dim=1)  # backwards, the first word is read last


# ---- 3. Loss ----------------------------------------------------------------------------------------

def sentiment_loss(logits, labels):
    """Equation (7), mean over sentences, in nats; logits and labels (B,)."""
    return F.binary_cross_entropy_with_logits(logits, labels.float())


# ---- 4. Training ------------------------------------------------------------------------------------

def train(cfg, text, device):
    """The whole loop; returns (model, history)."""
    torch.manual_seed(cfg.seed)  # of the weights and of what is dropped
    model = TextRNN(cfg, 2 + len(text.vocabulary)).to(device)
    numbers, lengths = sentences.encode(text.train, text.vocabulary)
    labels, rng = torch.from_numpy(text.y_train), torch.Generator().manual_seed(cfg.seed)
    epochs, history, begin = cfg.epochs or (15 if text.source["source"] == "grammar" else 3), [], time.time()
    optimizer = torch.optim.Adam(model.parameters(), lr=cfg.lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, cfg.lr, pct_start=0.2, cycle_momentum=False, total_steps=max(
        11, epochs * -(-len(labels) // cfg.batch_size)))
    for epoch in range(1, epochs + 1):
        model.train()
        total = right = 0.0
        order = torch.randperm(len(labels), generator=rng)
        for batch in common.progress(sentences.batches(order, lengths, cfg.batch_size, rng), f"epoch {epoch}/{epochs}"):
            y = labels[batch].to(device)  # (B,)
            logits = model(numbers[batch, :lengths[batch].max()].to(device), lengths[batch])  # (B,)
            loss = sentiment_loss(logits, y)  # (7)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)  # the other end of the same product: a gradient may explode
            optimizer.step()
            schedule.step()
            total, right = total + loss.item() * len(y), right + ((logits > 0) == y).sum().item()
        val_loss, val_accuracy, _ = evaluate(model, text.val, text.y_val, text.vocabulary, device)
        history.append({"epoch": epoch, "train_loss": total / len(labels), "train_accuracy": right / len(labels), "val_loss": val_loss,
                        "val_accuracy": val_accuracy, "seconds": time.time() - begin})
        print("epoch {epoch:2d}/{0}  nats a sentence: train {train_loss:.4f}  validation {val_loss:.4f}  accuracy: train "
              "{train_accuracy:.3f}  validation {val_accuracy:.3f}  {seconds:5.1f} s".format(epochs, **history[-1]), flush=True)
    return model, history


# ---- 5. Evaluation ----------------------------------------------------------------------------------

@torch.no_grad()
def evaluate(model, rows, labels, vocabulary, device):
    """(loss (7), accuracy, logits (N,)) of sentences, lists of words."""
    model.eval()
    numbers, lengths = sentences.encode(rows, vocabulary)
    logits = torch.cat([model(part.to(device), length).cpu() for part, length in zip(numbers.split(500), lengths.split(500))])
    labels = torch.from_numpy(labels)
    return sentiment_loss(logits, labels).item(), ((logits > 0) == labels).float().mean().item(), logits


def gradient_by_distance(model, rows, vocabulary, device, words):
    """(words,): norm of d logit / d x_t for the word t that lies 0, 1, ... words before the end, over that of the last word.

    Of sentences that are that long; the geometric mean, because a few large ones would hide the rest.
    """
    model.train()  # torch's LSTM on a GPU has a backward pass in this mode only; nothing is dropped
    long = [row[-words:] for row in rows if len(row) >= words]
    if not long:
        return np.full(words, np.nan)
    numbers, lengths = sentences.encode(long, vocabulary)
    keep, model.dropout = model.dropout, 0.0
    x = model.table(numbers.to(device)).detach().requires_grad_(True)  # (B, T, D)
    gradient, = torch.autograd.grad(model.read(x, lengths).sum(), x)  # of the sum: a logit depends on its own sentence alone
    model.dropout = keep
    sizes = gradient.norm(dim=2).clamp(min=1e-30).log().mean(dim=0).flip(0)  # (T,), the last word first
    return (sizes - sizes[0]).exp().cpu().numpy()


def compare(cfg, text, device, done):
    """({variant: mean accuracies over seeds, their "spread" (standard deviation), "parameters", "seconds"}, {variant: model}).

    done: (model, history) of cfg itself, which is one of them, and is not trained again.
    """
    table, models = {}, {}
    for name, changes in [item for item in VARIANTS.items() if not cfg.quick or item[0] in REACH]:
        rows = []
        for seed in range(cfg.seed, cfg.seed + (1 if cfg.quick else cfg.seeds)):
            c = replace(cfg, **changes, seed=seed)
            model, history = done if c == cfg else train(c, text, device)
            accuracy = evaluate(model, text.test, text.y_test, text.vocabulary, device)[1]
            rows.append((history[-1]["val_accuracy"], accuracy, history[-1]["seconds"]))
            models.setdefault(name, model)
        val, test, seconds = np.array(rows).T
        table[name] = {"val_accuracy": val.mean(), "test_accuracy": test.mean(), "spread": test.std(ddof=1) if len(test) > 1 else 0.0,
                       "parameters": sum(p.numel() for p in model.parameters()), "seconds": seconds.mean()}
        print("{0}: test accuracy {test_accuracy:.3f} +- {spread:.3f}, {parameters:,} weights, {seconds:.0f} s".format(
            name, **table[name]), flush=True)
    return table, models


# ---- 7. Main ----------------------------------------------------------------------------------------

def main(cfg):
    text, device = sentences.load(cfg), common.setup(cfg)
    folder = common.start(cfg, "text_rnn")
    model, history = train(cfg, text, device)
    test_loss, test_accuracy, logits = evaluate(model, text.test, text.y_test, text.vocabulary, device)
    print(f"test accuracy {test_accuracy:.3f}")
    others = sentences.baselines(text)
    print("\n".join(f"{name}: {value:.3f}" for name, value in others.items()))
    table, models = compare(cfg, text, device, (model, history))
    words = 8 if text.source["source"] == "grammar" else 25  # the grammar's sentences are shorter
    reach = {"at the first weights": {}, "after training": {}}
    for name in REACH:
        torch.manual_seed(cfg.seed)  # the weights that training began with
        first = TextRNN(replace(cfg, **VARIANTS[name]), 2 + len(text.vocabulary)).to(device)
        for when, net in zip(reach, (first, models[name])):
            reach[when][name.split(",")[0]] = gradient_by_distance(net, text.test, text.vocabulary, device, words)

    def logits_of(rows):
        return evaluate(model, rows, np.zeros(len(rows), np.int64), text.vocabulary, device)[2].numpy()

    examples = sentences.examples(logits_of, text, (logits.numpy() > 0) == text.y_test)
    common.save(folder / "history.json", history)
    common.save(folder / "weights.pt", model)
    common.plot_curves(cfg, folder / "curves.png", history, text.source, "Recurrent classifier", "nats a sentence",
                       left={"loss": "loss"}, levels={"test": test_loss})
    charts.plot_variants(cfg, folder / "variants.png", {name: row["test_accuracy"] for name, row in table.items()},
                         {name: row["spread"] for name, row in table.items()}, others, text.source)
    charts.plot_lines(cfg, folder / "gradients.png", {f"Gradient, {when}": ("last word = 1", {cell: f"{cell}, {when}" for cell in sizes})
                                                      for when, sizes in reach.items()},
                      [{"words before the end": k} | {f"{cell}, {when}": float(size[k]) for when, sizes in reach.items()
                                                      for cell, size in sizes.items()} for k in range(words)],
                      "words before the end", text.source, log=[f"Gradient, {when}" for when in reach])
    charts.plot_words(cfg, folder / "words.png", examples, text.source)
    common.finish(cfg, folder, text.source, device, model, history[-1]["seconds"], test_loss=test_loss, test_accuracy=test_accuracy,
                  baselines=others, variants=table, words=examples,
                  gradient_by_distance={when: {cell: size.tolist() for cell, size in sizes.items()} for when, sizes in reach.items()})


if __name__ == "__main__":
    common.run(main, Config)
