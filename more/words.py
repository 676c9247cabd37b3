"""Vectors for the names of the categories, for the files of more/ that put drawings and words in one space.

From a file of trained vectors in GloVe's text format (Pennington et al. 2014), a word and its numbers a line; or,
without one, from the spelling. Nothing here is trained.
"""

import hashlib
import math

import numpy as np

import common


def is_number(text):
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def read_glove(path, words):
    """{word: vector (V,)} from GloVe's text format, read line by line until all are found. Raises common.InputError.

    A word that is not in the file becomes the mean of two parts of it that are (of several splits, the most even one),
    and the console says so.
    """
    parts = {part for word in words for i in range(2, len(word) - 1) for part in (word[:i], word[i:])}
    found, size = {}, None
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                fields, where = line.rstrip().split(" "), f"{path}, line {number}"  # split() would cut at other blanks, too
                size = size or len(fields) - 1
                common.require(size > 1, where, f"{line[:30]!r}", "a word and its numbers", "use a file in GloVe's text format")
                while len(fields) > size + 1 and not is_number(fields[1]):  # a few of GloVe's tokens contain blanks
                    fields[:2] = [" ".join(fields[:2])]
                common.require(len(fields) == size + 1, where, f"{len(fields) - 1} numbers", f"{size} as before", "repair the file")
                if fields[0] in parts or fields[0] in words:
                    fits = all(is_number(field) for field in fields[1:])
                    common.require(fits, where, "something that is no finite number", f"{size} numbers", "repair the file")
                    found[fields[0]] = np.array(fields[1:], float)
                    if all(word in found for word in words):
                        break
    except OSError as error:
        raise common.InputError(f"{path}: found {error.strerror}, expected word vectors; check --glove") from None
    common.require(size is not None, path, "no line", "word vectors", "use a file in GloVe's text format")
    for word in words:
        if word not in found:
            splits = [(word[:i], word[i:]) for i in range(2, len(word) - 1) if word[:i] in found and word[i:] in found]
            common.require(splits, path, f"neither {word!r} nor two words that make it up", "all categories", "add it to the file")
            a, b = max(splits, key=lambda split: min(map(len, split)))  # the most even split: snow + man
            found[word] = (found[a] + found[b]) / 2
            print(f"{path}: {word!r} is not in it; taken as the mean of {a!r} and {b!r}")
    return {word: found[word] for word in words}


def spelling_vectors(words, size=25):
    """{word: vector (size,)}: each n-gram of 3 to 5 characters has a fixed random vector, and a word is the mean of its own.

    Words that share n-grams come to lie near one another, be they related or not. Our five share none: to the net
    they are five random vectors, which know nothing of what the words mean.
    """
    vectors = {}
    for word in words:
        bounded = f"<{word}>"  # so that a beginning differs from a middle
        grams = [bounded[i:i + n] for n in (3, 4, 5) for i in range(len(bounded) - n + 1)]
        # not Python's hash(), which is salted anew in every process
        seeds = [int.from_bytes(hashlib.sha256(gram.encode()).digest()[:8], "little") for gram in grams]
        vectors[word] = np.mean([np.random.default_rng(seed).standard_normal(size) for seed in seeds], axis=0)
    return vectors


def word_matrix(kind, glove):
    """Vectors of the five words, one a row, their root mean square 1 whatever the kind. Raises common.InputError."""
    vectors = read_glove(glove, common.CLASSES) if kind == "glove" else spelling_vectors(common.CLASSES)
    w = np.stack([vectors[name] for name in common.CLASSES])
    return w / np.linalg.norm(w, axis=1, keepdims=True) * np.sqrt(w.shape[1])
