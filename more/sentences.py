"""Sentences and their sentiment for text_rnn.py and text_cnn.py: read, cut into words, split, numbered.

    --data FOLDER    rt-polarity.pos and rt-polarity.neg, a sentence a line (Pang and Lee 2005), UTF-8 or Latin-1
    --data ""        sentences of a small grammar, made here: a stand-in on which everything runs, and which says so

In the grammar what a word is worth depends on where it stands: "not" and "hardly" turn what follows, "without" turns a
virtue into a fault, and in "..., but ..." or "although ..., ..." only the main clause counts. Who counts words cannot
tell "not boring, but long" from "not long, but boring".
"""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

import common

PAD, UNKNOWN = 0, 1  # the first two numbers of every vocabulary: no word, and a word that training did not have
FILES = ("rt-polarity.neg", "rt-polarity.pos")  # label 0, label 1


@dataclass(frozen=True)
class Settings(common.Settings):
    """The flags of both text classifiers."""

    data: str = ""  # folder with rt-polarity.pos and rt-polarity.neg; empty: sentences of a small grammar
    min_count: int = 2  # a rarer word is not in the vocabulary: nothing can be learned of what is seen once
    longest: int = 60  # words of a sentence that are read


class Text(NamedTuple):
    """Sentences as lists of words, labels 0 (negative) or 1, the vocabulary {word: number}, and where it all came from."""

    train: list
    y_train: np.ndarray
    val: list
    y_val: np.ndarray
    test: list
    y_test: np.ndarray
    vocabulary: dict
    source: dict


def words_of(sentence):
    """Small letters; words, also with an apostrophe or a hyphen inside, and every other sign that is no blank, by itself."""
    return re.findall(r"[^\W_]+(?:['-][^\W_]+)*|[^\w\s]", sentence.lower())


# ---- Reading ----------------------------------------------------------------------------------------

def read_lines(path):
    """The file's sentences, empty lines left out. Raises common.InputError."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise common.InputError(f"{path}: found {error.strerror}, expected sentences, one a line; check --data") from None
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = content.decode("latin-1")  # any bytes are Latin-1: what is no text shows in its control characters
    strange = re.search(r"[\x00-\x08\x0e-\x1f]", text)
    common.require(not strange, path, f"the byte {ord(strange[0]) if strange else 0:#04x}", "text, UTF-8 or Latin-1", "check --data")
    lines = [line for line in text.splitlines() if words_of(line)]
    common.require(lines, path, "no sentence", "one a line", "check --data")
    return lines


def from_grammar(n, seed):
    """(sentences, labels (n,)) of the grammar in the docstring; half of them positive, but for chance."""
    rng = np.random.default_rng(seed)
    subjects = ("film", "plot", "cast", "script", "ending", "music", "story", "dialogue", "first hour", "second half", "remake", "humour")
    good = ("funny", "moving", "clever", "fresh", "brilliant", "gripping", "tender", "original", "honest", "elegant", "lively", "wise")
    bad = ("boring", "clumsy", "silly", "stale", "dull", "tedious", "cold", "shallow", "false", "ugly", "slow", "long")
    virtues, faults = ("charm", "wit", "heart", "ideas", "grace", "suspense"), ("noise", "pathos", "gaps", "kitsch", "cliches", "malice")

    def pick(words):
        return words[rng.integers(len(words))]

    def clause():
        subject, positive = pick(subjects), rng.random() < 0.5
        turned = rng.random() < 0.5  # the words say the opposite of what is meant
        if rng.random() < 0.6:
            word = pick(good if positive != turned else bad)
            before = ("not", "hardly", "never", "far from") if turned else ("very", "so", "truly", "")
        else:
            word = pick(virtues if positive != turned else faults)
            before = ("without", "free of", "not full of") if turned else ("full of", "rich in", "not without")
        return " ".join(f"the {subject} is {pick(before)} {word}".split()), positive

    sentences, labels = [], np.zeros(n, np.int64)
    for i in range(n):
        (main, labels[i]), (other, _) = clause(), clause()
        form = pick(("{main}", "{other}, but {main}", "although {other}, {main}", "{main}, although {other}", "{main} and that is that"))
        sentences.append(form.format(main=main, other=other) + " .")
    return sentences, labels


def load(cfg):
    """Text: 80 % of the sentences to train, 10 % to validate, 10 % to test, the same split for every seed. Raises common.InputError."""
    if cfg.data:
        folder = Path(cfg.data)
        negative, positive = (read_lines(folder / name) for name in FILES)
        sentences, labels = negative + positive, np.repeat([0, 1], [len(negative), len(positive)])
        source = {"source": "rt-polarity", "name": f"sentences of {folder.name}/rt-polarity"}
    else:
        sentences, labels = from_grammar(6000, seed=0)
        source = {"source": "grammar", "name": "STAND-IN SENTENCES of a small grammar, not written by people"}
    common.require(len(sentences) >= 20, cfg.data, f"{len(sentences)} sentences", "20 or more", "add some")
    order = np.random.default_rng(0).permutation(len(sentences))[:600 if cfg.quick else None]
    cut = [len(order) * 8 // 10, len(order) * 9 // 10]
    parts = [([words_of(sentences[i])[:cfg.longest] for i in pick], labels[pick]) for pick in np.split(order, cut)]
    for name, (_, y) in zip(("to train", "to validate", "to test"), parts):
        common.require(len(set(y.tolist())) == 2, cfg.data, f"only one class among the sentences {name}", "both", "add sentences")
    counts = Counter(word for words in parts[0][0] for word in words)  # of training text alone: test words would be known in advance
    kept = sorted((word for word, count in counts.items() if count >= cfg.min_count), key=lambda word: (-counts[word], word))
    # the counts stand where all data has them, under the name of the core's
    source["drawings"] = dict(zip(("train", "validation", "test"), (len(y) for _, y in parts)))
    print(f"data: {common.describe(source)}; {len(kept):,} words seen {cfg.min_count} times or more")
    return Text(*(x for part in parts for x in part), {word: number for number, word in enumerate(kept, 2)}, source)


def encode(sentences, vocabulary):
    """(numbers int64 (N, T), lengths (N,)): shorter sentences are filled up with PAD. A sentence without a word is one UNKNOWN."""
    rows = [[vocabulary.get(word, UNKNOWN) for word in words] or [UNKNOWN] for words in sentences]
    lengths = torch.tensor([len(row) for row in rows])
    numbers = torch.full((len(rows), int(lengths.max())), PAD)
    for i, row in enumerate(rows):
        numbers[i, :len(row)] = torch.tensor(row)
    return numbers, lengths


def batches(order, lengths, size, rng):
    """order (N,), a shuffled index -> batches of sentences of about the same length, so that little is padding, themselves shuffled."""
    pools = [pool[lengths[pool].argsort(stable=True)] for pool in order.split(50 * size)]  # chance still decides who meets whom
    parts = [part for pool in pools for part in pool.split(size)]
    return [parts[i] for i in torch.randperm(len(parts), generator=rng)]


# ---- What a classifier looks at -----------------------------------------------------------------------

def leave_one_out(logits_of, words):
    """(logit, change (T,)): how much lower the logit is without each word. logits_of: a function of sentences, lists of words."""
    logits = logits_of([words] + [words[:i] + words[i + 1:] for i in range(len(words))])
    return float(logits[0]), logits[0] - logits[1:]


def examples(logits_of, text, right):
    """[{"words", "label", "logit", "change"}] of five right and five wrong test sentences of 6 to 16 words; right: (N,) bools."""
    found = []
    for correct in (True, False):
        for i in [i for i in np.flatnonzero(right == correct) if 6 <= len(text.test[i]) <= 16][:5]:
            logit, change = leave_one_out(logits_of, text.test[i])
            found.append({"words": text.test[i], "label": int(text.y_test[i]), "logit": logit, "change": change.tolist()})
    return found


# ---- What has to be beaten --------------------------------------------------------------------------

def baselines(text):
    """Test accuracy of {"majority class", "TF-IDF and logistic regression"}; the latter sees single words and pairs, C by validation."""
    join = [[" ".join(words) for words in part] for part in (text.train, text.val, text.test)]
    result = {"majority class": float((text.y_test == np.bincount(text.y_train).argmax()).mean())}
    for name, longest in (("TF-IDF of words, logistic regression", 1), ("TF-IDF of words and pairs, logistic regression", 2)):
        features = TfidfVectorizer(analyzer="word", token_pattern=r"\S+", ngram_range=(1, longest), min_df=2, sublinear_tf=True)
        x = [features.fit_transform(join[0]), *map(features.transform, join[1:])]
        models = [LogisticRegression(C=c, max_iter=2000).fit(x[0], text.y_train) for c in (0.3, 1, 3, 10)]
        best = max(models, key=lambda model: model.score(x[1], text.y_val))
        result[name] = float(best.score(x[2], text.y_test))
    return result
