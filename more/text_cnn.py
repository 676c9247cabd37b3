"""Convolutional sentiment classifier: looks for phrases of a few words anywhere in a sentence, and adds up what it found.

    (1)  x_t in R^D                                     word t, looked up in a trainable table of V words
    (2)  a_j(t) = relu(sum_{i<k} W_j[i] . x_{t+i} + b_j)                    filter j of width k at place t: a detector of phrases
    (3)  m_j = max over t of a_j(t)                     the best place for it; where that is does not matter
    (4)  logit = w . m + b,   p(positive) = sigmoid(logit),   loss = -ln p(label), nats

Seven words, "the film is not without charm .", with D = 100, widths k = 3, 4, 5 and F = 100 filters of each:

    numbers of the words                        (1, 7)
    table                                       (1, 7, 100)
    channels first, as Conv1d wants them        (1, 100, 7)
    (2), width 3: 7 - 3 + 1 = 5 places          (1, 100, 5)
         width 4: 4 places                      (1, 100, 4)
         width 5: 3 places                      (1, 100, 3)
    (3)                                         (1, 100) three times, side by side (1, 300)
    (4)                                         (1,)

    weights = V D  +  sum over widths k of F (k D + 1)  +  (F times the number of widths) + 1
            = 100 V  +  30,100 + 40,100 + 50,100  +  301,   V with the two of PAD and UNKNOWN

A convolution along the sentence, not over rows and columns: the D numbers of a word have no neighbours, so that each filter sees all
of them. Width 1 is a bag of words: "not" and "without" are seen, but not before what they stand. Width 3 sees "not without charm".
What (3) loses is order between phrases: "although" and "but" at the far ends of a sentence are beyond every filter.

Sentences of a batch are filled up with PAD, whose vector is 0. (3) looks only at places whose window lies inside the sentence, or at
the first place where the sentence is shorter than k: no PAD that a batch adds can change a logit.

Papers: Kim 2014, section 2, for all of it (CNN-rand is this net); Collobert et al. 2011, section 3.2.2, for (3).
Run:    python -m more.text_cnn --data FOLDER --out OUT      (or: make text_cnn)
Writes: OUT/text_cnn/ weights.pt, history.json, metrics.json; pictures curves, variants, phrases, words
Result: rt-polarity, one thread, 3 minutes for all: test accuracy 0.757 +- 0.003 (two seeds), TF-IDF with logistic regression 0.777, the
        majority class 0.477: 8,529 sentences are few for 1,022,101 weights, and the net does not win. Nor does word order: width 1, a bag
        of words, has 0.758, widths 2 and 3 0.759 and 0.760. Without dropout 0.766, by validation no better (0.767 against 0.771)
"""

import time
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

import common
from more import charts, sentences

# Shapes: B sentences, T words of the longest of them, D numbers a word, F filters of a width, S of all widths together, W windows; V words.


# ---- 1. Settings ------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Config(sentences.Settings):
    widths: str = "3,4,5"  # words that a filter sees
    filters: int = 100  # F, of each width
    embedding: int = 100  # D
    dropout: float = 0.5  # share of zeroed numbers in m: no two filters can rely on each other
    word_dropout: float = 0.1  # share of words that become UNKNOWN: no sentence is to be known by one rare word
    epochs: int = 0  # passes over the training sentences; 0: four, more learn them by heart
    batch_size: int = 64  # sentences an update
    lr: float = 2e-3  # highest learning rate of the one-cycle schedule
    seeds: int = 2  # runs of each variant in the table

    MAY_BE_ZERO = sentences.Settings.MAY_BE_ZERO | {"word_dropout"}
    AT_MOST = sentences.Settings.AT_MOST | {"word_dropout": 0.9}


VARIANTS = {"widths 3, 4, 5": {"widths": "3,4,5"}, "width 1, a bag of words": {"widths": "1"}, "width 2": {"widths": "2"},
            "width 3": {"widths": "3"}, "widths 2, 3, 4, 5": {"widths": "2,3,4,5"}, "25 filters of each": {"filters": 25},
            "nothing dropped": {"dropout": 1e-9, "word_dropout": 0.0}}


# ---- 2. Model ---------------------------------------------------------------------------------------

def parse_widths(text):
    """"3,4,5" -> (3, 4, 5). Raises common.InputError."""
    parts = text.split(",")
    fits = all(part.strip().isdigit() and 1 <= int(part) <= 20 for part in parts)
    common.require(fits, "--widths", repr(text), "numbers from 1 to 20 with commas between", "try 3,4,5")
    return tuple(int(part) for part in parts)


class TextCNN(nn.Module):
    """Numbers of words (B, T) and lengths (B,) -> logits (B,)."""

    def __init__(self, cfg, words):
        super().__init__()
        self.widths, self.dropout, self.word_dropout = parse_widths(cfg.widths), cfg.dropout, cfg.word_dropout
        self.table = nn.Embedding(words, cfg.embedding, padding_idx=sentences.PAD)  # PAD is 0 and stays 0
        self.table.weight.data *= 0.1  # N(0, 0.01): what little is learned of a rare word is not to drown in what it began with
        self.convs = nn.ModuleList([nn.Conv1d(cfg.embedding, cfg.filters, kernel_size=width) for width in self.widths])
        self.head = nn.Linear(cfg.filters * len(self.widths), 1)

    def forward(self, numbers, lengths):
        if self.training and self.word_dropout:
            dropped = (torch.rand(numbers.shape, device=numbers.device) < self.word_dropout) & (numbers != sentences.PAD)
            numbers = numbers.masked_fill(dropped, sentences.UNKNOWN)  # (B, T)
        x = self.table(numbers)  # (1), (B, T, D)
        m = torch.cat([self.detect(x, lengths, i).amax(dim=2) for i in range(len(self.widths))], dim=1)  # (3), (B, S)
        return self.head(F.dropout(m, self.dropout, self.training)).squeeze(1)  # (4), (B,)

    def detect(self, x, lengths, i):
        """Equation (2) for the width number i: (B, T, D) -> (B, F, W), -inf where the window holds PAD that a batch added."""
        width = self.widths[i]
        x = F.pad(x.transpose(1, 2), (0, max(0, width - x.shape[1])))  # (B, D, T), at least as long as the filter
        a = F.relu(self.convs[i](x))  # (2), (B, F, W)
        places = (lengths.to(x.device) - width).clamp(min=0)  # (B,), the last place whose window lies inside
        return a.masked_fill(torch.arange(a.shape[2], device=x.device) > places[:, None, None], float("-inf"))


# ---- 3. Loss ----------------------------------------------------------------------------------------

def sentiment_loss(logits, labels):
    """Equation (4), mean over sentences, in nats; logits and labels (B,)."""
    return F.binary_cross_entropy_with_logits(logits, labels.float())


# ---- 4. Training ------------------------------------------------------------------------------------

def train(cfg, text, device):
    """The whole loop; returns (model, history)."""
    torch.manual_seed(cfg.seed)  # of the weights and of what is dropped
    model = TextCNN(cfg, 2 + len(text.vocabulary)).to(device)
    numbers, lengths = sentences.encode(text.train, text.vocabulary)
    labels, rng = torch.from_numpy(text.y_train), torch.Generator().manual_seed(cfg.seed)
    epochs, history, begin = cfg.epochs or 4, [], time.time()
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
            loss = sentiment_loss(logits, y)  # (4)
            optimizer.zero_grad()
            loss.backward()
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
    """(loss (4), accuracy, logits (N,)) of sentences, lists of words."""
    model.eval()
    numbers, lengths = sentences.encode(rows, vocabulary)
    logits = torch.cat([model(part.to(device), length).cpu() for part, length in zip(numbers.split(500), lengths.split(500))])
    labels = torch.from_numpy(labels)
    return sentiment_loss(logits, labels).item(), ((logits > 0) == labels).float().mean().item(), logits


@torch.no_grad()
def phrases(model, rows, vocabulary, device, filters=6):
    """[{"weight", "width", "phrases"}]: of the filters that weigh most for either side, the three phrases that please each most."""
    model.eval()
    numbers, lengths = sentences.encode(rows, vocabulary)
    best, place = (torch.cat(parts, dim=1) for parts in zip(*[  # (N, S) each: (3), and where that was
        model.detect(model.table(numbers.to(device)), lengths, i).max(dim=2) for i in range(len(model.widths))]))
    weight, found = model.head.weight[0], []
    for j in [*weight.argsort(descending=True)[:filters].tolist(), *weight.argsort()[:filters].tolist()]:
        width, seen = model.widths[j // model.convs[0].out_channels], []
        for n in best[:, j].argsort(descending=True, stable=True).tolist():
            phrase = " ".join(rows[n][place[n, j]:place[n, j] + width])
            if phrase not in seen:
                seen.append(phrase)
            if len(seen) == 3:
                break
        found.append({"weight": weight[j].item(), "width": width, "phrases": seen})
    return found


def compare(cfg, text, device, done):
    """{variant: mean accuracies over seeds, their "spread" (standard deviation), "parameters", "seconds"}.

    done: (model, history) of cfg itself, which is one of them, and is not trained again.
    """
    table = {}
    for name, changes in list(VARIANTS.items())[:2 if cfg.quick else None]:
        rows = []
        for seed in range(cfg.seed, cfg.seed + (1 if cfg.quick else cfg.seeds)):
            c = replace(cfg, **changes, seed=seed)
            model, history = done if c == cfg else train(c, text, device)
            accuracy = evaluate(model, text.test, text.y_test, text.vocabulary, device)[1]
            rows.append((history[-1]["val_accuracy"], accuracy, history[-1]["seconds"]))
        val, test, seconds = np.array(rows).T
        table[name] = {"val_accuracy": val.mean(), "test_accuracy": test.mean(), "spread": test.std(ddof=1) if len(test) > 1 else 0.0,
                       "parameters": sum(p.numel() for p in model.parameters()), "seconds": seconds.mean()}
        print("{0}: test accuracy {test_accuracy:.3f} +- {spread:.3f}, {parameters:,} weights, {seconds:.0f} s".format(
            name, **table[name]), flush=True)
    return table


# ---- 7. Main ----------------------------------------------------------------------------------------

def main(cfg):
    text, device = sentences.load(cfg), common.setup(cfg)
    folder, widths = common.start(cfg, "text_cnn"), parse_widths(cfg.widths)
    model, history = train(cfg, text, device)
    test_loss, test_accuracy, logits = evaluate(model, text.test, text.y_test, text.vocabulary, device)
    formula = (2 + len(text.vocabulary)) * cfg.embedding + sum(cfg.filters * (width * cfg.embedding + 1) for width in widths)
    formula += cfg.filters * len(widths) + 1
    print(f"test accuracy {test_accuracy:.3f}; {sum(p.numel() for p in model.parameters()):,} weights, {formula:,} by the formula")
    others, table = sentences.baselines(text), compare(cfg, text, device, (model, history))
    print("\n".join(f"{name}: {value:.3f}" for name, value in others.items()))
    found = phrases(model, text.train, text.vocabulary, device)

    def logits_of(rows):
        return evaluate(model, rows, np.zeros(len(rows), np.int64), text.vocabulary, device)[2].numpy()

    examples = sentences.examples(logits_of, text, (logits.numpy() > 0) == text.y_test)
    common.save(folder / "history.json", history)
    common.save(folder / "weights.pt", model)
    common.plot_curves(cfg, folder / "curves.png", history, text.source, "Convolutional classifier", "nats a sentence",
                       left={"loss": "loss"}, levels={"test": test_loss})
    charts.plot_variants(cfg, folder / "variants.png", {name: row["test_accuracy"] for name, row in table.items()},
                         {name: row["spread"] for name, row in table.items()}, others, text.source)
    charts.plot_phrases(cfg, folder / "phrases.png", found, text.source)
    charts.plot_words(cfg, folder / "words.png", examples, text.source)
    common.finish(cfg, folder, text.source, device, model, history[-1]["seconds"], test_loss=test_loss, test_accuracy=test_accuracy,
                  formula=formula, baselines=others, variants=table, phrases=found, words=examples)


if __name__ == "__main__":
    common.run(main, Config)
