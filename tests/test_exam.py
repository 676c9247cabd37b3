"""docs/exam.md quotes lines that are there, and is right about what breaks; docs/quiz.py asks, remembers, refuses.

Section 2 makes every change that the guide shows in a copy of the file, runs the copy, and sees the stated effect; the file
as it is must not show it. An experiment gets a module and an empty folder, and says whether it saw the effect.
"""

import collections
import contextlib
import importlib.util
import io
import json
import os
import random
import re
import subprocess
import sys
import types
import warnings
from unittest import mock

import numpy as np
import pytest
import torch
import torch.nn as nn
from conftest import REAL, ROOT, SCRIPTS
from sklearn.decomposition import PCA
from test_scratch import numeric

import classifier
import common
import conv_ae
import conv_vae
import metrics
from docs import quiz
from more import ddpm, gan

QUESTIONS = quiz.parse((ROOT / "docs" / "exam.md").read_text())
CORE = ("common.py", *(f"{name}.py" for name in SCRIPTS))
MORE = sorted(f"more/{path.name}" for path in (ROOT / "more").glob("*.py") if path.name != "__init__.py")
LEAST = dict.fromkeys(CORE, 10) | dict.fromkeys(MORE, 5)  # questions a file
CHANGES = {q.change.name: q for q in QUESTIONS if q.change}
CPU = torch.device("cpu")
ids = pytest.mark.parametrize


# ---- 1. The document ----------------------------------------------------------------------------------

@ids("question", QUESTIONS, ids=lambda q: f"{q.file}: {q.text}"[:60])
def test_a_question_has_its_line_and_both_answers(question):
    source = (ROOT / question.file).read_text().splitlines()
    assert sum(question.quote in line for line in source) == 1, question.quote
    assert len(question.quote) >= 12  # shorter, and it could be anything
    assert question.text.endswith(("?", ".")) and 5 <= len(question.short.split()) <= 60 and len(question.deeper.split()) >= 10
    for line in f"{question.short}\n{question.deeper}".splitlines():
        assert len(line) <= 140
    if question.change:
        assert question.quote in question.change.removed  # what the question is about is what is changed


def test_every_file_has_its_questions():
    counts = collections.Counter(q.file for q in QUESTIONS)
    assert {file: counts[file] for file, least in LEAST.items() if counts[file] < least} == {}
    assert all((ROOT / file).exists() for file in counts)
    headings = re.findall(r"^## (.+)$", (ROOT / "docs" / "exam.md").read_text(), re.MULTILINE)
    files = [heading.strip("` ") for heading in headings]
    assert len(files) == len(set(files)) and set(files) == set(counts)  # one section a file
    assert files == sorted(files, key=lambda file: file in MORE)  # the core first


def test_no_two_questions_are_alike():
    for part in ("text", "short", "deeper"):
        values = [re.sub(r"\W+", " ", getattr(q, part)).lower().strip() for q in QUESTIONS]
        assert [v for v, n in collections.Counter(values).items() if n > 1] == []
    names = [q.change.name for q in QUESTIONS if q.change]
    assert len(names) == len(set(names))


def test_what_the_guide_refers_to_is_there():
    """Tests, files and derivations that it names."""
    text = (ROOT / "docs" / "exam.md").read_text()
    tests = "".join(path.read_text() for path in (ROOT / "tests").glob("*.py"))
    for name in set(re.findall(r"`(test_\w+)`", text)):
        assert f"def {name}(" in tests, name
    for name in set(re.findall(r"\b((?:more/|tests/|docs/|data/)?\w+\.(?:py|md))\b", text)):
        assert any((folder / name).exists() for folder in (ROOT, ROOT / "docs")), name
    derivations = (ROOT / "docs" / "derivations.md").read_text()
    for number in set(re.findall(r"derivations\.md,\s(\d+\.\d+)", text)):
        assert f"**{number}**" in derivations
    for part in set(re.findall(r"derivations\.md,\spart\s(\d)", text)):
        assert f"\n## {part}. " in derivations


def said(phrase):
    """The guide has this phrase, wherever its lines are broken."""
    return phrase in " ".join((ROOT / "docs" / "exam.md").read_text().split())


@ids("file, source, guide", [  # the project's words, and the guide's
    ("conv_ae.py", "test MSE 0.0124 (PCA 0.0333)", "with 64 components has 0.0333, this net 0.0124"),
    ("conv_ae.py", "linear probe 78 % (75 %, 68 %)", "78 % right from this code, 75 % from PCA's, 68 % from pixels"),
    ("rnn_ae.py", "test MSE of 0.057, an LSTM", "test MSE of 0.057, the LSTM"),
    ("rnn_ae.py", "0.093. Why z", "the mean drawing's, 0.093"),
    ("rnn_ae.py", "below 0.12 in 1,000 updates", "below 0.12 in 1,000 updates"),
    ("rnn_ae.py", "k-NN 77 % right (PCA 83 %, pixels 80 %)", "77 % are right, against 83 % in PCA's code and 80 % from pixels"),
    ("conv_vae.py", "165.0 + 36.3 = 201.3", "What does 36.3 nats"),
    ("conv_vae.py", "165.0 + 36.3 = 201.3", "So of 165.0 nats at most 82.8"),
    ("conv_vae.py", "sigma 88 and 45, bernoulli 92 and 61", "sigma 88 and 45, bernoulli at T = 1 92 and 61, at T = 0.33 53 and 19"),
    ("conv_vae.py", "3 nats (bernoulli 36, sigma 66)", "3 nats (bernoulli 36, sigma 66)"),
    ("conv_vae.py", "The median norm, 97,", "median norm is 97"),
    ("rnn_vae.py", "The median norm is 61", "median norm is 61"),
    ("rnn_vae.py", "= 202.0 nats", "0.7 nats in ELBO with seed 0"),
    ("rnn_vae.py", "55, of mixture samples 21", "prior 55, mixture 21"),
    ("cvae.py", "test 203.3 nats", "203.3 + 1.6 = 204.9"),
    ("cvae.py", "79 % from the prior, 90 %", "79 % of prior samples are recognised, 90 %"),
    ("cvae.py", "diversity of both 0.98", "over that of real drawings: 0.98 here"),
    ("cvae.py", "266 s", "after 266 seconds"),
    ("classifier.py", "0.950 against 0.884", "0.950 against 0.884"),
    ("classifier.py", "0.028 and 0.030", "0.028 for the MLP, 0.030 for the CNN"),
    ("classifier.py", "(121 against 0.37)", "121 against 0.37"),
    ("classifier.py", "(1.57 against 0.11;", "1.57 against 0.11"),
    ("classifier.py", "mirrored only (--shift 0) 0.26 and 0.86; neither 0.30 and 1.00",
     "0.26 nats on validation drawings with mirroring alone, 0.30 without"),
    ("metrics.py", "noise has 0.98", "why does noise have 0.98"),
    ("metrics.py", "inception score (1.15)", "The inception score, 1.15"),
    ("metrics.py", "noise (122), but as far for blurred drawings (121)", "score 121 and noise 122"),
    ("metrics.py", "0.95 to 1.05", "0.95 to 1.05"),
    ("README.md", "0.34 ± 0.03", "0.34 ± 0.03"),
    ("docs/settings.md", "0.388", "0.388 with blocks, 0.531 with linear layers only"),
    ("docs/settings.md", "| 202.9 | 0.652 | 0.884 | 0.531 |", "recognised 65 % of the time in place of 78 %"),
    ("docs/settings.md", "| 197.1 | 0.712 | 0.886 | 0.441 |", "there 71 % are recognised in place of 78 %"),
    ("docs/settings.md", "| conv_vae, prior | 0.33 | 63.2 | 0.97 |", "diversity 0.97 at 0.33, 0.58 at 1"),
    ("docs/settings.md", "| 0 | none | 0.953, 0.941 | 0.229, 0.368 | 0.813, 0.809 |", "CNN 0.953 and 0.941, MLP 0.813 and 0.809"),
    ("more/gan.py", "D's loss is then 1.29 to 1.34", "D's loss stays at 1.29 to 1.34"),
    ("docs/settings.md", "| as it stands, g = 2 | 4.2 | 0.96 | 0.83 |", "guidance at 2 has FID 4.2 and 96 % as asked"),
    ("docs/settings.md", "| no R1 | 78.1 | 1.00 |", "Without R1 FID after 2,400 updates is 78 in place of 48"),
    ("docs/settings.md", "| D does not know y | 56.0 | 0.22 |", "After 2,400 updates 22 % of the samples"),
    ("more/mlp_torch.py", "4e-7 in float32, and up to 1.1", "In float32 the difference is 4e-7, with other first weights up to 1.1"),
    ("docs/settings.md", "| 0 | 0.784 | 0.844 |", "Pixels dropped are worth 2.9 points"),
    ("more/embed_numpy.py", "Pull alone collapses: 0.225", "Pull alone has a test accuracy of 0.225"),
    ("more/embed_numpy.py", "0.873; without pull 0.883, push 0.880, apart 0.893",
     "0.873 with all, 0.883 without pull, 0.880 without push, 0.893 without apart"),
    ("more/embed_numpy.py", "rabbit 0.26, yoga 0.25, hand 0.19, snowman 0.03, motorbike 0.28; by the spelling's: 0.29, 0.11, 0.41, 0.02,",
     "0.26, 0.25, 0.19, 0.03 (snowman), 0.28; with the spelling's, which mean nothing, 0.29, 0.11, 0.41, 0.02, 0.13"),
    ("more/embed_torch.py", "1.2e-6 in float32", "agree to 1.2e-6 of the largest"),
    ("README.md", "0.873 with GloVe's vectors, 0.884 with the spelling's", "0.884 with the spelling's vectors, 0.873 with GloVe's"),
    ("more/gan.py", "in 50 updates the diversity falls from 0.97 to 0.34. Painted it falls to 0.14",
     "In 50 updates the diversity fell to 0.14, in grey to 0.34"),
    ("more/gan.py", "(3) hands G half the gradient of (4) (in grey a sixth)", "minimax handed G half the gradient (in grey a sixth)"),
    ("more/dense_ae.py", "a variance of 1 + d, d small, comes out as 1 + 0.78 d", "1 + d comes out as 1 + 0.78 d")])
def test_measured_figures_are_those_of_the_project(file, source, guide):
    assert source in " ".join((ROOT / file).read_text().split()) and said(guide)


def test_counted_figures():
    """What the guide computed: weights, bounds, rounding, and how far off FID is with few samples."""
    def size(net):
        return sum(p.numel() for p in net.parameters())

    wide = {"bidirectional": True}
    assert size(nn.LSTM(28, 128, **wide)) == 161_792 and size(nn.GRU(28, 128, **wide)) == 121_344 and said("161,792 against 121,344")
    assert 256 * 32 + 28 * 32 * 64 == 65_536 and 28 * 256 * 64 == 458_752 and said("65,536 against 28 * 256 * 64 = 458,752")
    assert size(classifier.CNN()) == 109_269 and size(classifier.MLP()) == 550_021 and size(classifier.MLP().hidden1) == 401_920
    assert said("The CNN has 109,269 weights, the MLP 550,021") and said("401,920 of the MLP's")
    assert round(size(conv_ae.Autoencoder(64, 16)), -5) == 1_800_000 and said("1.8 million weights")
    rounded = [torch.sigmoid(torch.tensor(logit, dtype=torch.bfloat16)).item() for logit in (6.21875, 6.25)]
    assert rounded[0] < rounded[1] == 1 and said("the sigmoid of 6.25 is already 1")
    assert torch.sigmoid(torch.tensor([16.0, 17.0])).eq(1).tolist() == [False, True] and said("from a logit of about 17")
    assert np.log(np.e + 4) - 1 == pytest.approx(0.905, abs=5e-4) and said("ln(e + 4) - 1 = 0.905")
    kept = [np.prod(1 - np.linspace(1e-4, 0.02, steps)) for steps in (100, 1000)]
    assert kept == pytest.approx([0.364, 4.0e-5], rel=0.01) and kept[0] ** 0.5 == pytest.approx(0.60, abs=0.005)
    assert said("is 0.364 for 100 steps and 4.0e-5 for 1,000")
    assert np.log(50 * 2880) == pytest.approx(11.9, abs=0.03) and said("ln 144,000 = 12 nats")
    assert 0.708 * torch.sigmoid(torch.tensor(-1.0)).item() ** 2 == pytest.approx(0.0512, abs=5e-4) and said("the MSE stays above 0.051")
    assert np.e / (np.e + 4 / np.e) == pytest.approx(0.649, abs=5e-4) and said("e / (e + 4/e) = 0.649")
    assert [0.5 ** 20, (1 / (1 + np.exp(-1))) ** 20] == pytest.approx([9.5e-7, 0.0019], rel=0.01)
    assert said("0.5^20 = 9.5e-7, 0.731^20 = 0.0019")
    assert int.from_bytes((60_000).to_bytes(4, "big"), "little") == 1_625_948_160 and said("would be 1,625,948,160")
    assert (0.83 * 0.17 / 320) ** 0.5 == pytest.approx(0.021, abs=5e-4) and said("sqrt(0.83 * 0.17 / 320) = 0.021")
    assert cloud(50_000, 4).max(axis=1).mean() == pytest.approx(1.03, abs=0.01) and said("its mean is 1.03")
    bias = [metrics.fid(cloud(20_000, 64), cloud(n, 64, seed=n)) for n in (100, 1000)]
    assert bias == pytest.approx([12.4, 1.16], rel=0.05) and said("FID 12.4 at N = 100, 1.16 at N = 1,000")


@pytest.mark.skipif(not REAL.exists(), reason="no real drawings beside the project")
def test_figures_counted_on_the_real_drawings(capsys):
    data = common.load_data(common.Settings(data=str(REAL)))
    x, train = data.x_test.astype(np.float64), data.x_train.reshape(len(data.x_train), 784)
    flat = x.reshape(len(x), 784)
    assert ((flat - train.mean(axis=0)) ** 2).mean() == pytest.approx(0.0923, abs=5e-4) and said("mean training drawing: test MSE 0.092")
    assert (flat ** 2).mean() == pytest.approx(0.141, abs=5e-4) and said("White paper has 0.141")
    assert (flat == 0).mean() == pytest.approx(0.71, abs=0.005) and said("71 % of the pixels are")
    logs = [np.log(np.where(p > 0, p, 1)) for p in (flat, 1 - flat)]
    assert -(flat * logs[0] + (1 - flat) * logs[1]).sum(axis=1).mean() == pytest.approx(82.24, abs=0.01) and said("is 82.24, counted")
    moved = ((x - np.roll(x, 1, axis=3)) ** 2).sum(axis=(1, 2, 3))
    assert np.median(moved) == pytest.approx(51, abs=0.5) and said("a median squared distance of 51")
    leaked = PCA(64, svd_solver="randomized", random_state=0).fit(flat)
    error = ((leaked.inverse_transform(leaked.transform(flat)) - flat) ** 2).mean()
    assert error == pytest.approx(0.028, abs=5e-4) and said("a test MSE of 0.028 in place of 0.033")


@ids("broken", [
    "## a.py\n\n### Why?\n\n    x = 1\n\n**Deeper:** Because.\n",
    "## a.py\n\n### Why?\n\nx = 1\n\n**Short:** So.\n\n**Deeper:** Because.\n",
    "## a.py\n\n### Why?\n\n    x = 1\n\n**Short:** So.\n\n**Deeper:** Because.\n\n```diff two\n-x = 1\n-y = 1\n```\n"])
def test_the_parser_refuses_what_it_would_lose(broken):
    with pytest.raises(quiz.InputError, match="found 'Why\\?' in another form"):
        quiz.parse(broken)


def test_the_parser_reads_what_is_there():
    text = ("Intro with `## no.py`.\n\n## more/a.py\n\n### Why?\n\n    x = 1  # one\n\n**Short:** So\nit is.\n\n**Deeper:** Because.\n\n"
            "    a = b\n\nAnd so on.\n\n```diff gone\n-    x = 1  # one\n```\n\n"
            "### When?\n\n    y\n\n**Short:** Now.\n\n**Deeper:** Then.\n\n```diff other\n-    y\n+    if y:\n+        z\n```\n")
    first, second = quiz.parse(text)
    assert first == quiz.Question("more/a.py", "Why?", "x = 1  # one", "So\nit is.", "Because.\n\n    a = b\n\nAnd so on.",
                                  quiz.Change("gone", "x = 1  # one", ()))
    assert second.change == quiz.Change("other", "y", ("if y:", "    z")) and second.deeper == "Then."


# ---- 2. What breaks if ----------------------------------------------------------------------------------

def module_of(path, name):
    """The file as a module of its own: nobody who imports the real one meets it."""
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def changed(source, change):
    """The source with the change made; its lines get the removed line's indentation."""
    lines = source.splitlines()
    at, = [i for i, line in enumerate(lines) if line.strip() == change.removed]  # exactly one
    indent = lines[at][:len(lines[at]) - len(lines[at].lstrip())]
    return "\n".join([*lines[:at], *(indent + line for line in change.added), *lines[at + 1:]]) + "\n"


EXPERIMENTS = {}


def experiment(function):
    EXPERIMENTS[function.__name__] = function
    return function


def test_every_change_has_its_experiment():
    assert set(EXPERIMENTS) == set(CHANGES) and len(CHANGES) >= 20
    assert all(function.__doc__ for function in EXPERIMENTS.values())
    files = {q.file for q in CHANGES.values()}
    assert files >= set(CORE) and len(files & set(MORE)) >= 20
    readme = (ROOT / "README.md").read_text()
    assert f"{len(QUESTIONS)} questions with a short answer" in readme and f"For {len(CHANGES)} of them tests" in readme
    assert f"| {len(QUESTIONS)}, {len(CHANGES)} of them tried" in readme


@ids("name", CHANGES)
def test_what_breaks(name, tmp_path):
    question, see = CHANGES[name], EXPERIMENTS[name]
    source, stem, seen = (ROOT / question.file).read_text(), question.file.split("/")[-1][:-3], {}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # of changed code, on purpose
        for kind, text in (("original", source), ("changed", changed(source, question.change))):
            folder = tmp_path / kind  # one each: at one path a stale .pyc of the same size and second would be read
            folder.mkdir()
            (folder / f"{stem}.py").write_text(text)
            seen[kind] = bool(see(module_of(folder / f"{stem}.py", f"{kind}_{stem}"), folder))
    assert seen == {"original": False, "changed": True}, see.__doc__
    common.plt.close("all")


def drawings(n=8):
    """Data of n drawings, the same to train, validate and test: a bar in another place for each category."""
    rng, x, y = np.random.default_rng(0), np.zeros((n, 1, 28, 28), np.float32), np.arange(n) % 5
    for i in range(n):
        row, column = rng.integers(10), 2 + 5 * y[i]
        x[i, 0, row:row + 14, column:column + 4] = 1
    source = {"source": "doodles", "drawings": {"train": n, "validation": n, "test": n}}
    return common.Data(x, y, x, y, x, y, source)


def build(m, **settings):
    """(cfg, model) of a small net, first weights by seed 0; m is a module of a model file, or a copy. cgan: D; cddpm: no model."""
    stem = m.__name__.split("_", 1)[1]
    small = {"conv_ae": {"latent_dim": 4, "width": 2}, "rnn_ae": {"latent_dim": 4, "hidden_dim": 16, "row_dim": 4, "unfold_dim": 4},
             "conv_vae": {"latent_dim": 4, "width": 2}, "rnn_vae": {"latent_dim": 4, "width": 2, "hidden_dim": 8, "row_dim": 4},
             "cvae": {"latent_dim": 4, "width": 2}, "classifier": {}, "cgan": {"width": 2}, "cddpm": {},
             "text_cnn": {"embedding": 4, "filters": 50, "widths": "3"}}[stem]
    cfg = m.Config(**{"precision": "float32", "batch_size": 8, "epochs": 2} | small | settings)
    torch.manual_seed(0)
    return cfg, {"conv_ae": lambda: m.Autoencoder(cfg.latent_dim, cfg.width), "rnn_ae": lambda: m.Autoencoder(cfg),
                 "conv_vae": lambda: m.VAE(cfg.latent_dim, cfg.width), "cvae": lambda: m.CVAE(cfg.latent_dim, cfg.width, cfg.condition),
                 "rnn_vae": lambda: m.VAE(cfg.latent_dim, cfg.width, cfg.hidden_dim, cfg.row_dim), "classifier": lambda: m.MLP(),
                 "cgan": lambda: m.Discriminator(cfg, 1, 5), "cddpm": lambda: None, "text_cnn": lambda: m.TextCNN(cfg, 10)}[stem]()


def trained(m, data=None, before=lambda: None, **settings):
    """(cfg, model, history) after the file's own loop, on drawings that are not moved."""
    cfg, model = build(m, **settings)
    before()
    name = ("mlp",) if hasattr(m, "Judges") else ()
    with mock.patch.object(common, "augment", lambda x, *args, **kwargs: x), contextlib.redirect_stdout(io.StringIO()):
        return cfg, model, m.train(cfg, *name, model, data or drawings(), CPU)


def recorded(m, optimizer, setting, **settings):
    """The values that one of the optimiser's settings had at its updates."""
    seen, base = [], getattr(torch.optim, optimizer)

    class Recorder(base):
        def step(self, *args, **kwargs):
            seen.append(self.param_groups[0][setting])
            return super().step(*args, **kwargs)

    with mock.patch.object(torch.optim, optimizer, Recorder):
        trained(m, **settings)
    return seen


def raises(error, function, *args, **kwargs):
    try:
        function(*args, **kwargs)
    except error:
        return True
    return False


class Fixed(nn.Module):
    """A decoder that puts out the same whatever it is asked."""

    def __init__(self, output):
        super().__init__()
        self.output = output

    def forward(self, *inputs):
        return self.output


class Bomb:
    """Its pickle makes a folder when it is read."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


EYE = torch.eye(5)

# -- common.py --


@experiment
def infinity_passes(m, folder):
    """--lr inf is accepted."""
    return not raises(m.InputError, m.parse, conv_ae.Config, ["--lr", "inf"])


@experiment
def seeds_share_a_folder(m, folder):
    """--seed 1 writes where --seed 0 does."""
    return m.parse(conv_ae.Config, ["--seed", "1"]).out == m.parse(conv_ae.Config, []).out


@experiment
def pickle_runs_code(m, folder):
    """Reading an array of objects makes a folder."""
    np.save(folder / "a.npy", np.array([Bomb(folder / "made")], dtype=object), allow_pickle=True)
    raises(m.InputError, m.load_npy, folder / "a.npy")
    return (folder / "made").exists()


@experiment
def pixels_up_to_255(m, folder):
    """uint8 pixels leave the check far above 1."""
    return m.check_images("a.npy", np.full((2, 28, 28), 255, np.uint8)).max() > 1


@experiment
def nan_passes(m, folder):
    """Drawings with one NaN pixel are accepted."""
    images = np.zeros((2, 28, 28))
    images[1, 3, 4] = np.nan
    return not raises(m.InputError, m.check_images, "a.npy", images)


def split_of(m, seed):
    y = np.arange(40)
    with contextlib.redirect_stdout(io.StringIO()):
        return m.split(m.Settings(seed=seed), y[:, None], y, y[:, None], y, {"source": "course"})


@experiment
def split_by_seed(m, folder):
    """Two seeds validate on different drawings."""
    return not np.array_equal(split_of(m, 0).y_val, split_of(m, 1).y_val)


@experiment
def validation_leaks(m, folder):
    """A validation drawing is also trained on."""
    data = split_of(m, 0)
    return bool(set(data.y_val.tolist()) & set(data.y_train.tolist()))


@experiment
def one_coin_for_all(m, folder):
    """Of a hundred drawings all are mirrored, or none."""
    x = np.zeros((100, 1, 28, 28), np.float32)
    x[..., :5] = 1
    return m.augment(x, np.random.default_rng(0), 0)[:, 0, 0, 0].sum() in (0, 100)


@experiment
def shifts_from_the_global_generator(m, folder):
    """Equal generators give different shifts."""
    x = torch.from_numpy(drawings(20).x_train)
    first, second = (m.augment(x, torch.Generator().manual_seed(0), 2) for _ in range(2))
    return not torch.equal(first, second)


@experiment
def seed_is_ignored(m, folder):
    """The global generator does not start from cfg.seed."""
    torch.manual_seed(123)
    with contextlib.redirect_stdout(io.StringIO()):
        m.setup(m.Settings(seed=5, device="cpu"))
    return torch.initial_seed() != 5


@experiment
def half_a_file(m, folder):
    """What was written before an error bears the final name."""
    with contextlib.suppress(ZeroDivisionError), m.atomic(folder / "a.npy") as file:
        file.write(b"half")
        raise ZeroDivisionError
    return (folder / "a.npy").exists()


@experiment
def old_record_survives(m, folder):
    """While a new run is under way, an earlier one's metrics.json says that all is done."""
    (folder / "conv_ae").mkdir()
    (folder / "conv_ae" / "metrics.json").write_text('{"quick": false, "seed": 0}')
    m.start(m.Settings(out=str(folder)), "conv_ae.py")
    return (folder / "conv_ae" / "metrics.json").exists()


@experiment
def whole_model_is_pickled(m, folder):
    """weights_only=True refuses the file."""
    m.save(folder / "weights.pt", nn.Linear(2, 2))
    return raises(Exception, torch.load, folder / "weights.pt", weights_only=True)


@experiment
def faint_looks_black(m, folder):
    """The colour scale of faint drawings ends at their darkest pixel."""
    _, axes = m.figure()
    m.show_grid(axes[0, 0], np.linspace(0, 0.25, 4 * 784).reshape(4, 28, 28), 2)
    return axes[0, 0].images[0].get_clim()[1] == pytest.approx(0.25)


@experiment
def grid_is_scrambled(m, folder):
    """The first place of the grid does not hold the first drawing."""
    _, axes = m.figure()
    m.show_grid(axes[0, 0], np.arange(6.0)[:, None, None] * np.ones((1, 28, 28)), 3)
    return not (axes[0, 0].images[0].get_array()[:28, :28] == 0).all()


@experiment
def figures_pile_up(m, folder):
    """A saved figure stays in memory."""
    figure = m.figure()[0]
    m.save(folder / "a.png", figure)
    return m.plt.fignum_exists(figure.number)


# -- conv_ae.py --

@experiment
def block_is_affine(m, folder):
    """f(a) + f(b) = f(a + b) + f(0)."""
    torch.manual_seed(0)
    f = m.block(nn.Conv2d(1, 3, kernel_size=3, bias=False)).eval()
    a, b = torch.randn(2, 4, 1, 8, 8)
    return torch.allclose(f(a) + f(b), f(a + b) + f(torch.zeros_like(a)), atol=1e-5)


@experiment
def chessboard(m, folder):
    """With all weights 1, inner pixels are sums of different numbers of terms."""
    last = m.Decoder(4, 2).layers[-1]
    nn.init.ones_(last.weight), nn.init.zeros_(last.bias)
    out = last(torch.ones(1, 4, 14, 14))
    assert out.shape == (1, 1, 28, 28)
    return len(out[..., 2:-2, 2:-2].unique()) > 1


@experiment
def sigmoid_in_bfloat16(m, folder):
    """A logit of 7 gets no gradient."""
    model, logits = build(m)[1], torch.full((1, 1, 28, 28), 7.0, dtype=torch.bfloat16, requires_grad=True)
    model.decoder = Fixed(logits)
    model.eval()(torch.zeros(1, 1, 28, 28)).sum().backward()
    return logits.grad.abs().max().item() == 0


@experiment
def gradients_add_up(m, folder):
    """After three updates with the same batch the gradient is three times that of one."""
    norms = [torch.stack([p.grad.norm() for p in trained(m, epochs=epochs, lr=1e-9)[1].parameters()]).norm() for epochs in (1, 3)]
    return (norms[1] / norms[0]).item() == pytest.approx(3, rel=0.01)


@experiment
def rate_stays_low(m, folder):
    """All updates run at lr / 25."""
    return recorded(m, "Adam", "lr", epochs=6, lr=1e-3) == pytest.approx([1e-3 / 25] * 6)


@experiment
def ten_steps_divide_by_zero(m, folder):
    """A run of ten updates ends in a ZeroDivisionError."""
    return raises(ZeroDivisionError, trained, m, epochs=10)


@experiment
def order_from_the_global_generator(m, folder):
    """One random number drawn before the training gives other weights."""
    first, second = (trained(m, before=before, batch_size=2, lr=1e-2)[1].state_dict() for before in (lambda: None, lambda: torch.rand(1)))
    return not all(torch.equal(first[k], second[k]) for k in first)


@experiment
def evaluated_in_train_mode(m, folder):
    """A drawing's code depends on the rest of its batch."""
    cfg, model = build(m)
    alone, among = (m.evaluate(cfg, model, drawings().x_test[:n], CPU)[1][0] for n in (1, 8))
    return not np.allclose(alone, among, atol=1e-4)


@experiment
def graph_in_evaluation(m, folder):
    """numpy() refuses a tensor that requires a gradient."""
    return raises(RuntimeError, m.evaluate, *build(m), drawings().x_test, CPU)


@experiment
def everyone_against_everyone(m, folder):
    """The figure is not the error of the drawings returned beside it."""
    x = drawings().x_test
    found, _, drawn = m.evaluate(*build(m), x, CPU)
    return found != pytest.approx(((drawn - x[:, 0]) ** 2).mean(), rel=1e-3)


@experiment
def probe_depends_on_the_unit(m, folder):
    """The probe is right less often when the code is given in other units."""
    rng, y = np.random.default_rng(0), np.arange(300) % 5
    codes = (5 * np.eye(5)[y] + rng.normal(size=(300, 5)))[:, :4]
    large, small = (m.discriminability(scale * codes, y, scale * codes, y)["probe_accuracy"] for scale in (1, 1e-4))
    assert large > 0.9
    return large - small > 0.5


# -- rnn_ae.py --

@experiment
def a_batch_of_one_fails(m, folder):
    """One drawing alone cannot be encoded; eight can."""
    encoder, x = build(m)[1].encoder, torch.from_numpy(drawings().x_test)
    assert encoder(x).shape == (8, 4)
    return raises(RuntimeError, encoder, x[:1])


@experiment
def drawings_become_time_steps(m, folder):
    """A drawing's code depends on the rest of its batch, and has the same shape."""
    encoder, x = build(m)[1].encoder, torch.from_numpy(drawings().x_test)
    return not torch.allclose(encoder(x)[3], encoder(x[3:4])[0], atol=1e-5)


@experiment
def upwards_state_of_one_row(m, folder):
    """The upward direction's state does not notice another first row."""
    encoder, seen = build(m, summary="last")[1].encoder, []
    encoder.row.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0][..., 16:]))
    x = torch.rand(2, 1, 28, 28)
    other = x.clone()
    other[:, :, 0] = 1 - other[:, :, 0]
    encoder(x), encoder(other)
    return torch.equal(*seen)


@experiment
def state_is_the_row(m, folder):
    """However large the weights, logits stay between -1 and 1."""
    decoder = build(m)[1].decoder
    with torch.no_grad():
        for p in decoder.parameters():
            p.mul_(20)
    return decoder(torch.randn(5, 4)).abs().max().item() <= 1


@experiment
def nothing_is_learned(m, folder):
    """After the training the weights are the first ones."""
    first, last = build(m)[1].state_dict(), trained(m)[1].state_dict()
    return all(torch.equal(first[k], last[k]) for k in first)


@experiment
def history_of_tensors(m, folder):
    """The history cannot be written as JSON."""
    return raises(TypeError, json.dumps, trained(m, epochs=1)[2])


# -- conv_vae.py --

@experiment
def kl_without_minus_one(m, folder):
    """At the prior itself 24 latents are charged 12 nats."""
    return m.kl_divergence(torch.zeros(1, 24), torch.zeros(1, 24)).sum().item() == 12


@experiment
def noise_without_the_half(m, folder):
    """For a variance of 4 the standard deviation is 4."""
    logvar = torch.full((20_000, 1), 4.0).log()
    z = m.VAE.reparameterise(None, torch.zeros_like(logvar), logvar, torch.Generator().manual_seed(0))
    return z.std().item() == pytest.approx(4, rel=0.05)


@experiment
def one_eps_for_all(m, folder):
    """All drawings of a batch get the same noise."""
    z = m.VAE.reparameterise(None, torch.zeros(6, 3), torch.zeros(6, 3), torch.Generator().manual_seed(0))
    return torch.equal(z, z[:1].expand(6, 3))


@experiment
def sure_mistakes_get_no_gradient(m, folder):
    """White paper drawn with a logit of 20: 100 nats a pixel, and no gradient."""
    logits = torch.full((1, 1, 28, 28), 20.0, requires_grad=True)
    nats = m.reconstruction(logits, torch.zeros(1, 1, 28, 28), "bernoulli", torch.tensor(1.0))
    nats.sum().backward()
    return nats.item() == pytest.approx(78_400) and logits.grad.abs().max().item() == 0


@experiment
def mean_over_pixels_collapses(m, folder):
    """The KL falls below a hundredth of a nat."""
    history = trained(m, drawings(64), latent_dim=2, batch_size=16, epochs=15, lr=1e-2)[2]
    assert history[-1]["val_kl"] < 0.01 or history[-1]["val_kl"] > 1  # nothing in between
    return history[-1]["val_kl"] < 0.01


@experiment
def mean_over_latents(m, folder):
    """The training KL is a 24th of the sum over the 24 latents, by (nearly) the same weights."""
    _, model, history = trained(m, latent_dim=24, epochs=1, lr=1e-9)
    mu, logvar = model.train().encoder(torch.from_numpy(drawings().x_train))
    expected = 0.5 * (mu ** 2 + logvar.exp() - 1 - logvar).sum().item() / len(mu)
    return history[0]["train_kl"] == pytest.approx(expected / 24, rel=0.01)


@experiment
def always_392(m, folder):
    """Good or bad, any drawings cost 392 nats."""
    x, found = torch.from_numpy(drawings().x_test), []
    for logits in (torch.zeros_like(x), 6 * x - 3):
        variance = ((logits.sigmoid() - x) ** 2).mean()
        found.append(m.reconstruction(logits, x, "sigma", variance).mean().item())
    return found == pytest.approx([392, 392])


@experiment
def variance_is_not_saved(m, folder):
    """The state_dict has no variance."""
    return "variance" not in build(m)[1].state_dict()


@experiment
def variance_stays_one(m, folder):
    """After a training with sigma s^2 is still 1."""
    return trained(m, likelihood="sigma")[1].variance.item() == 1


@experiment
def z_is_mu(m, folder):
    """Another seed of the noise gives the same reconstruction term."""
    model = build(m)[1]
    return len({m.evaluate(build(m, seed=s)[0], model, drawings().x_test, CPU)["reconstruction"] for s in range(3)}) == 1


@experiment
def evaluation_jitters(m, folder):
    """Two evaluations of one model differ."""
    cfg, model = build(m)
    return len({m.evaluate(cfg, model, drawings().x_test, CPU)["reconstruction"] for _ in range(3)}) > 1


@experiment
def mixture_of_centres(m, folder):
    """Clouds of variance 1 around 0 are sampled with a variance near 0."""
    z = m.sample_mixture(build(m, components=1)[0], torch.zeros(400, 2), torch.zeros(400, 2), 500)
    return z.var().item() < 0.1


@experiment
def mixture_is_sorted(m, folder):
    """Of two clusters, the first hundred samples are of one."""
    mu = torch.tensor([[3.0, 0.0], [-3.0, 0.0]]).repeat(200, 1)
    z = m.sample_mixture(build(m, components=2)[0], mu, torch.full_like(mu, -4), 1000)
    return len((z[:100, 0] > 0).unique()) == 1


# -- rnn_vae.py --

@experiment
def encoder_without_gradient(m, folder):
    """A sampled z has no graph."""
    mu = torch.zeros(3, 2, requires_grad=True)
    return not m.VAE.reparameterise(None, mu, torch.zeros(3, 2)).requires_grad


@experiment
def encoder_first(m, folder):
    """The decoder starts from other weights than conv_vae.py's."""
    torch.manual_seed(0)
    theirs, ours = conv_vae.VAE(4, 2).decoder.state_dict(), build(m)[1].decoder.state_dict()
    return not all(torch.equal(theirs[k], ours[k]) for k in theirs)


@experiment
def two_sigmoids(m, folder):
    """What the loss takes for logits lies between 0 and 1, whatever the decoder says."""
    model = build(m)[1].eval()
    model.decoder = Fixed(torch.tensor([-50.0, 50.0]).repeat(392).view(1, 1, 28, 28))
    logits = model(torch.zeros(1, 1, 28, 28))[0]
    return logits.min().item() >= 0 and logits.max().item() <= 1


@experiment
def mode_is_not_given_back(m, folder):
    """After an evaluation a model in train mode is in eval mode."""
    cfg, model = build(m)
    m.evaluate(cfg, model.train(), drawings().x_test, CPU)
    return not model.training


@experiment
def pixels_are_cut_off(m, folder):
    """x_hat = 0.9991, which is 254.8 levels, becomes 254."""
    cfg, model = build(m, temperature=1.0)
    model.decoder = Fixed(torch.full((1, 1, 28, 28), 7.0))
    return set(np.unique(m.decode(cfg, model, torch.zeros(1, 4), CPU)).tolist()) == {254}


# -- cvae.py --

@experiment
def one_hot_of_integers(m, folder):
    """A linear layer refuses the condition."""
    model, data = build(m)[1], drawings()
    return raises(RuntimeError, model, torch.from_numpy(data.x_train), m.one_hot(torch.from_numpy(data.y_train)))


@experiment
def categories_differ_at_first(m, folder):
    """A fresh block treats the same drawing differently under two conditions."""
    torch.manual_seed(0)
    block, h = m.Block(nn.Conv2d(1, 3, kernel_size=3, bias=False)), torch.rand(1, 1, 28, 28)
    return not torch.equal(block(h, EYE[:1]), block(h, EYE[1:2]))


@experiment
def blocks_put_out_zero(m, folder):
    """A fresh block puts out 0, and its convolution gets no gradient."""
    block = m.Block(nn.Conv2d(1, 3, kernel_size=3, bias=False))
    out = block(torch.rand(2, 1, 28, 28), EYE[:2])
    (out ** 2 + out).sum().backward()
    return out.abs().max().item() == 0 and block.conv.weight.grad.abs().max().item() == 0


@experiment
def decoder_is_not_told(m, folder):
    """With --condition linear two categories give the same drawing."""
    model = build(m, condition="linear")[1].eval()
    z = torch.randn(1, 4)
    return torch.equal(model.decoder(z, EYE[:1]), model.decoder(z, EYE[1:2]))


@experiment
def diversity_over_all(m, folder):
    """One drawing a category, repeated, is called diverse."""
    rng, labels = np.random.default_rng(0), np.arange(50) % 5
    data = types.SimpleNamespace(x_test=rng.random((50, 1, 28, 28)), y_test=labels)
    images = rng.integers(0, 256, (5, 28, 28)).astype(np.uint8)[labels]
    with mock.patch.object(m, "predict", lambda *args: (50 * np.eye(5)[labels], None)):
        figures = m.recognised(images, labels, types.SimpleNamespace(cnn=None, mlp=None), data, CPU)[0]
    assert figures["cnn_accuracy"] == 1
    return figures["diversity"] > 0.5


@experiment
def hands_for_snowmen(m, folder):
    """The picture of what was asked for shows hands, and no snowman."""
    labels, kept = np.arange(25) % 5, []
    probs = {name: np.eye(5)[labels] for name in ("cnn", "mlp")}
    with mock.patch.object(common, "save_figure", lambda cfg, path, fig, source: kept.append(fig)):
        m.plot_asked(None, folder, np.zeros((25, 28, 28)), labels, probs, None)
    asked = {ax.get_xlabel() for ax in kept[0].axes}
    assert {"asked: rabbit", "asked: yoga"} < asked and len(asked) == 3
    return "asked: hand" in asked


@experiment
def columns_share_no_z(m, folder):
    """In the grid of conditions the codes of a column differ."""
    calls = []

    def decode(cfg, model, z, y, device):
        calls.append((z, y))
        return np.zeros((len(z), 28, 28))

    with mock.patch.object(common, "save_figure"), mock.patch.object(m, "decode", decode):
        m.plot_conditions(build(m)[0], folder, None, CPU, None)
    z, y = calls[0]
    assert torch.equal(y.view(5, 12, 5)[:, 0], EYE)
    return not torch.equal(z.view(5, 12, -1), z.view(5, 12, -1)[:1].expand(5, -1, -1))


# -- classifier.py --

@experiment
def softmax_twice(m, folder):
    """A judge that is sure and right has a loss of 0.905."""
    y = torch.arange(5)
    return m.cross_entropy(100 * EYE, y).item() == pytest.approx(np.log(np.e + 4) - 1, abs=1e-4)


@experiment
def momentum_cycles(m, folder):
    """The momentum is not 0.9 at every update."""
    return set(recorded(m, "SGD", "momentum", epochs=6)) != {0.9}


@experiment
def dropout_stays_on(m, folder):
    """Two predictions for the same drawings differ."""
    model, x = build(m)[1].eval(), drawings().x_test
    return not np.array_equal(m.predict(model, x, CPU)[0], m.predict(model, x, CPU)[0])


@experiment
def judged_in_train_mode(m, folder):
    """A CNN's features depend on the rest of the batch."""
    torch.manual_seed(0)
    model, x = m.CNN(width=2).train(), drawings().x_test
    model.dropout.p = 0.0  # BatchNorm alone
    return not np.allclose(m.predict(model, x, CPU)[1][:1], m.predict(model, x[:1], CPU)[1], atol=1e-4)


@experiment
def judge_takes_nan(m, folder):
    """A NaN pixel is judged."""
    return not raises(ValueError, m.predict, m.MLP(), np.full((2, 1, 28, 28), np.nan, np.float32), CPU)


@experiment
def weights_run_code(m, folder):
    """Reading the judges' file makes a folder."""
    (folder / "classifier").mkdir()
    torch.save({"cnn.conv1.weight": Bomb(folder / "made")}, folder / "classifier" / "weights.pt")
    assert raises(common.InputError, m.load_judges, folder, CPU)  # refused in the end, both times
    return (folder / "made").exists()


@experiment
def softmax_overflows(m, folder):
    """Large logits give NaN."""
    return bool(np.isnan(m.softmax(np.array([[1000.0, 0, 0, 0, 0]]))).any())


@experiment
def sixteen_bins(m, folder):
    """Sure answers fall into a sixteenth bin."""
    return len(m.calibration(np.eye(5), np.arange(5))[2]) == 16


# -- metrics.py --

def cloud(n, dimensions, seed=0):
    return np.random.default_rng(seed).normal(size=(n, dimensions))


@experiment
def covariance_loses_its_digits(m, folder):
    """Moved by 1e8, a cloud has a covariance that is off by more than 1."""
    x = cloud(200, 3)
    return np.abs(m.mean_and_covariance(x + 1e8)[1] - np.cov(x.T)).max() > 1


@experiment
def moments_in_float32(m, folder):
    """Moved by 1e7, a cloud has other variances."""
    x = cloud(500, 3)
    return np.abs(m.mean_and_covariance(x + 1e7)[1] - np.cov(x.T)).max() > 0.05


@experiment
def elementwise_root(m, folder):
    """A cloud has a distance from itself."""
    x = cloud(300, 8)
    return abs(m.fid(x, x)) > 0.1


@experiment
def nan_from_rounding(m, folder):
    """With fewer points than features there is NaN on the way, and no distance."""
    if raises(np.linalg.LinAlgError, m.fid, cloud(6, 20), cloud(6, 20, seed=1)):
        return True
    return np.isnan(m.fid(cloud(6, 20), cloud(6, 20, seed=1)))


@experiment
def epsilon_changes_the_distance(m, folder):
    """A cloud with 15 empty directions of 20 has the distance -0.03 from itself."""
    x = np.pad(cloud(300, 5), ((0, 0), (0, 15)))
    return m.fid(x, x) == pytest.approx(-0.03, abs=0.001)


@experiment
def extrapolated_to_no_samples(m, folder):
    """The value for infinitely many samples is larger than that for all there are."""
    real, fake = cloud(5000, 8), cloud(500, 8, seed=1)
    return m.fid_infinity(real, fake, np.random.default_rng(0)) > m.fid(real, fake)


@experiment
def mean_of_exp(m, folder):
    """Nine rabbits and one hand score 2, not 1.38."""
    score = m.inception_score(np.eye(5)[[0] * 9 + [2]])
    assert score == pytest.approx(2) or score == pytest.approx(1.384, abs=0.001)
    return score == pytest.approx(2)


@experiment
def blind_to_missing_categories(m, folder):
    """Sure rabbits only score 5."""
    return m.inception_score(np.eye(5)[[0] * 50]) == pytest.approx(5)


@experiment
def ten_sorted_splits(m, folder):
    """Five perfect categories, sorted, score 1; shuffled they would not."""
    sure = np.eye(5).repeat(20, axis=0)
    assert m.inception_score(np.random.default_rng(0).permutation(sure)) > 3
    return m.inception_score(sure) == pytest.approx(1)


@experiment
def biased_kernel_distance(m, folder):
    """Over many pairs of sets from one Gaussian the mean is far above 0."""
    values = [m.kernel_distance(cloud(10, 4, seed=2 * i), cloud(10, 4, seed=2 * i + 1)) for i in range(200)]
    return np.mean(values) > 5 * np.std(values) / np.sqrt(len(values))


@experiment
def radius_of_itself(m, folder):
    """Samples a tenth of a step beside the real points are not precise."""
    real = np.arange(20.0)[:, None]
    return m.precision_recall(real, real + 0.1, k=1)[0] == 0


@experiment
def subsets_of_one_category(m, folder):
    """The inception score of fifty sure samples of five categories is 1."""
    label = np.repeat(np.arange(5), 10)
    images = (label[:, None, None, None] / 5 + np.linspace(0, 0.1, 784).reshape(1, 1, 28, 28)).astype(np.float32)

    def predict(model, images, device):
        k = (images[:, 0, 0, 0] * 5).round().astype(int)
        return 100 * np.eye(5)[k], np.eye(5)[k] + np.random.default_rng(0).normal(size=(len(k), 5)) / 10

    features = predict(None, images, CPU)[1]
    real = {"images": images, "features": features, "moments": m.mean_and_covariance(features), "train": images, "distance_to_training": 1}
    with mock.patch.object(m, "predict", predict):
        row = m.score(m.Config(n=10, subsets=5), images, real, types.SimpleNamespace(cnn=None), CPU)
    return row["inception_score"] == pytest.approx(1)


# -- more/mlp_numpy.py, mlp_torch.py, embed_numpy.py, embed_torch.py and their helpers --

@experiment
def logits_overflow(m, folder):
    """Large logits have no finite loss."""
    return not np.isfinite(m.SoftmaxCrossEntropy().forward(np.array([[1000.0, 0, 0, 0, 0]]), np.eye(5)[:1]))


@experiment
def closed_units_learn(m, folder):
    """Below 0, where max(0, a) is flat, the layer hands a gradient back."""
    a, layer = np.array([[-1.0, 2.0]]), m.ReLU()
    quotient = numeric(lambda: layer.forward(a).sum(), a)
    layer.forward(a)
    assert quotient == pytest.approx(np.array([[0.0, 1.0]]), abs=1e-6)
    return layer.backward(np.ones_like(a))[0, 0] == 1


@experiment
def dropout_shrinks_the_mean(m, folder):
    """Of ones with a fifth dropped the mean is 0.8."""
    layer = m.Dropout(0.2, np.random.default_rng(0))
    layer.training = True
    return layer.forward(np.ones((200, 200), np.float32)).mean() == pytest.approx(0.8, abs=0.01)


@experiment
def two_zeros_cannot_be_compared(m, folder):
    """Two gradients of 0 end the comparison."""
    return raises(ZeroDivisionError, m.differences, {"W1": np.zeros((2, 3))}, {"W1": np.zeros((2, 3))})


@experiment
def length_gets_a_gradient(m, folder):
    """The last bias's gradient is not at right angles to the drawing's point."""
    rng = np.random.default_rng(0)
    net = m.Net([6, 4], rng, np.float64)
    u = net.forward(rng.normal(size=(1, 6)))[0]
    net.backward(rng.normal(size=(1, 4)))
    return abs(net.db[0] @ u) > 1e-3 * np.linalg.norm(net.db[0])


def gradient_is_wrong(m, **weights):
    """Do the gradients that loss_terms returns differ from difference quotients?"""
    cfg, rng = m.Config(**{"pull": 0.0, "push": 0.0, "apart": 0.0} | weights), np.random.default_rng(0)
    U, V, y = rng.normal(size=(3, 4)), rng.normal(size=(5, 4)) + 1, np.array([0, 3, 3])

    def loss():
        return sum(getattr(cfg, name) * value for name, value in m.loss_terms(cfg, U, V, y)[0].items())

    return not all(np.allclose(d, numeric(loss, a), rtol=1e-4, atol=1e-6) for d, a in zip(m.loss_terms(cfg, U, V, y)[1:], (U, V)))


@experiment
def tau_is_forgotten(m, folder):
    """The gradient of push is not that of push."""
    return gradient_is_wrong(m, push=1.0)


@experiment
def apart_counted_once(m, folder):
    """The gradient of apart is not that of apart."""
    return gradient_is_wrong(m, apart=1.0)


@experiment
def odd_blanks_are_lost(m, folder):
    """A file with the vector of a no-break space is refused."""
    (folder / "glove.txt").write_text("the 1 2 3\n\u00a0 4 5 6\nrabbit 7 8 9\n", encoding="utf-8")
    return raises(common.InputError, m.read_glove, folder / "glove.txt", ("rabbit",))


@experiment
def a_square_matrix_is_not_turned(m, folder):
    """A square layer's points are not the twin's, and have their shape."""
    rng = np.random.default_rng(0)
    W, x = rng.normal(size=(3, 3)), rng.normal(size=(2, 3))
    ours = m.Net({"W1": W, "b1": np.zeros(3)})(torch.from_numpy(x)).detach().numpy()
    theirs = x @ W
    assert ours.shape == theirs.shape
    return not np.allclose(ours, theirs / np.linalg.norm(theirs, axis=1, keepdims=True))


# -- more/color.py, restore_ae.py, beta_vae.py, cvae_color.py --

@experiment
def hues_were_seen(m, folder):
    """Every test hue is that of a training drawing."""
    return bool(np.isin(m.hues(20, "test"), m.hues(100, "train")).all())


@experiment
def thin_lines_vanish(m, folder):
    """A line one pixel wide is gone at a third of the size."""
    x = np.zeros((1, 1, 84, 84), np.float32)
    x[..., 30] = 1
    return m.resize(x, 28).max() == 0


@experiment
def brightness_can_be_undone(m, folder):
    """Whoever subtracts one number from a brightened image has the drawing back."""
    x = torch.rand(6, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    added = m.distort(x, {"brightness": 0.4}, torch.Generator().manual_seed(0)) - x
    assert added.abs().max() > 0.1
    return added.flatten(1).std(dim=1).max().item() < 1e-4


@experiment
def equal_images_are_infinite(m, folder):
    """PSNR of an image with itself is infinite."""
    return bool(torch.isinf(m.psnr(torch.zeros(2, 1, 8, 8), torch.zeros(2, 1, 8, 8))).all())


@experiment
def information_below_zero(m, folder):
    """50 equal clouds, which tell nothing, have an information of -ln 50."""
    found = m.decompose(torch.zeros(50, 2), torch.zeros(50, 2), torch.Generator().manual_seed(0))["information"]
    return found == pytest.approx(-np.log(50), abs=1e-3)


@experiment
def sine_and_cosine_score_nothing(m, folder):
    """A code of the hue's sine and cosine, and a third number that knows nothing, has hardly a gap."""
    rng = np.random.default_rng(0)
    hue = rng.random(4000)
    z = np.stack([np.sin(2 * np.pi * hue), np.cos(2 * np.pi * hue), rng.normal(size=4000)], axis=1)
    return m.gaps(z, {"hue": (10 * hue).astype(int)})["gap"]["hue"] < 0.1


@experiment
def orange_turns_red(m, folder):
    """Of orange, with 0.3 of green for 0.5 of red, a seventh of the green is left."""
    model = nn.Module()
    model.decoder = Fixed(torch.logit(torch.tensor([0.5, 0.3, 0.1])).view(1, 3, 1, 1).expand(1, 3, 4, 4))
    red, green, _ = m.decode(m.Config(precision="float32"), model, torch.zeros(1, 2), torch.zeros(1, 2), CPU)[0, 0, 0].astype(int)
    assert red in (127, 128)
    return green < 20


# -- more/gan.py, cgan.py, ddpm.py, cddpm.py, inpaint.py, checkpoint.py --

@experiment
def penalty_teaches_nothing(m, folder):
    """R1 has no gradient by D's weights."""
    torch.manual_seed(0)
    d = nn.Sequential(nn.Flatten(), nn.Linear(16, 4), nn.Tanh(), nn.Linear(4, 1))
    return not m.steepness(d, torch.rand(3, 1, 4, 4)).requires_grad


@experiment
def norm_above_one(m, folder):
    """After fifty calls the divided weight's largest singular value is not 1."""
    torch.manual_seed(0)
    weight = torch.randn(8, 12)
    norm = m.SpectralNorm(weight)
    for _ in range(50):
        divided = norm(weight)
    return torch.linalg.svdvals(divided)[0].item() > 1.05


@experiment
def fooled_and_infinite(m, folder):
    """A drawing that D is sure of, at a logit of 20, has an infinite loss and no gradient."""
    drawn = torch.tensor([20.0], requires_grad=True)
    loss = m.generator_loss(drawn, "minimax")
    loss.backward()
    return loss.item() == float("-inf") and not torch.isfinite(drawn.grad).all().item()


@experiment
def discriminator_ignores_y(m, folder):
    """An image has the same logit in two categories."""
    d, x = build(m)[1], torch.rand(1, 1, 28, 28)
    return torch.equal(d(x, EYE[:1]), d(x, EYE[1:2]))


@experiment
def variance_is_lost(m, folder):
    """Half-way, images of variance 1 with their noise have a variance of 3/4."""
    chain, rng = m.Chain("cosine", 1000), torch.Generator().manual_seed(0)
    t = (chain.a - 0.5).abs().argmin()
    x0, eps = torch.randn(2, 4, 1, 64, 64, generator=rng)
    return chain.noise(x0, t.expand(4), eps).var().item() == pytest.approx(0.75, abs=0.02)


@experiment
def noise_on_the_finished_image(m, folder):
    """The variance of the last step is not 0."""
    x = torch.zeros(1, 1, 4, 4)
    return m.Chain("cosine", 100).posterior(x, x, 1)[1] > 0


@experiment
def guidance_off_by_one(m, folder):
    """With g = 1 it is not the noise that the told net sees."""
    def net(x, t, c):
        return 0 * x + 0.2 * c[:, :1, None, None]

    e = m.predict(build(m)[0], net, m.Chain("cosine", 100), torch.zeros(1, 1, 4, 4), 50, EYE[:1], 1.0, CPU)[0]
    return not torch.allclose(e, torch.full_like(e, 0.2), atol=1e-4)


@experiment
def known_pixels_are_redrawn(m, folder):
    """Completed by guidance, the known half is not what it was."""
    def net(x, t):
        return 0.5 * x

    cfg, settings = m.Config(steps=4), ddpm.Config(noise_steps=50, precision="float32")
    known, mask = torch.rand(2, 1, 8, 8), m.make_mask("left", 8)
    drawn = m.complete(cfg, settings, net, known, mask, "guidance", torch.Generator().manual_seed(0), CPU)
    return not torch.equal(drawn * mask, known * mask)


@experiment
def the_same_noise_again(m, folder):
    """A continued run draws the random numbers of its beginning again."""
    cfg, script, net = gan.Config(resume=True), common.__file__, nn.Linear(2, 2)
    rng, anew = torch.Generator().manual_seed(0), torch.Generator().manual_seed(0)
    first = torch.rand(3, generator=rng)
    m.save(folder / "checkpoint.pt", cfg, script, [rng], [net], 1, 5, 0.0, [])
    with contextlib.redirect_stdout(io.StringIO()):
        assert m.load(folder / "checkpoint.pt", cfg, script, [anew], [net])["step"] == 5
    return torch.equal(torch.rand(3, generator=anew), first)


# -- more/dense_ae.py, selu_conv_ae.py, text_rnn.py, text_cnn.py, sentences.py, charts.py --

@experiment
def deviation_for_variance(m, folder):
    """What comes out of the first layer has lost nearly all of its variance."""
    torch.manual_seed(0)
    model = m.Autoencoder(m.Config())
    return model.encoder[0](torch.randn(200, 784)).var().item() < 0.01


@experiment
def transposed_signals_fade(m, folder):
    """A transposed convolution makes a quarter of variance 1."""
    torch.manual_seed(0)
    layer = nn.ConvTranspose2d(64, 32, kernel_size=3, stride=2, padding=1, output_padding=1)
    m.initialise(layer)
    variance = layer(torch.randn(4, 64, 14, 14)).var().item()
    assert variance == pytest.approx(1, abs=0.15) or variance == pytest.approx(0.25, abs=0.05)
    return variance < 0.5


@experiment
def gates_in_another_order(m, folder):
    """With the same weights the cell is not torch's."""
    torch.manual_seed(0)
    cell, x, h, c = nn.LSTMCell(3, 4), torch.randn(2, 3), torch.randn(2, 4), torch.randn(2, 4)
    ours = m.lstm_cell(x, h, c, cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh)
    return not all(torch.allclose(a, b, atol=1e-6) for a, b in zip(ours, cell(x, (h, c))))


@experiment
def padding_wins_the_maximum(m, folder):
    """Of states that are all -1, PAD's 0 is the maximum."""
    states = torch.tensor([-1.0, -1.0, 0.0]).view(1, 3, 1).expand(1, 3, 4)
    return bool((m.pool(states, torch.tensor([2]), "max", 4) == 0).all())


@experiment
def backwards_after_one_word(m, folder):
    """The backward half does not notice another first state."""
    states = torch.rand(1, 5, 6)
    other = states.clone()
    other[:, 0] += 1
    return torch.equal(*(m.pool(s, torch.tensor([5]), "last", 3) for s in (states, other)))


@experiment
def padding_pleases_a_filter(m, folder):
    """A sentence filled up further has another logit."""
    model, numbers, lengths = build(m)[1].eval(), torch.tensor([[2, 3, 4, 5, 6]]), torch.tensor([5])
    return not torch.allclose(model(numbers, lengths), model(nn.functional.pad(numbers, (0, 9)), lengths), atol=1e-5)


@experiment
def vocabulary_knows_the_test(m, folder):
    """The vocabulary has words that stand in test sentences only."""
    for i, name in enumerate(m.FILES):
        (folder / name).write_text("".join(f"word{i}x{n} word{i}x{n} .\n" for n in range(40)))
    with contextlib.redirect_stdout(io.StringIO()):
        text = m.load(m.Settings(data=str(folder)))
    train, test = ({word for words in part for word in words} for part in (text.train, text.test))
    return bool(text.vocabulary.keys() & (test - train))


@experiment
def length_zero(m, folder):
    """A sentence without a word has length 0."""
    return m.encode([["a"], []], {"a": 2})[1].tolist() == [1, 0]


@experiment
def empty_category_is_a_hole(m, folder):
    """The row of a category without drawings is NaN."""
    counts, kept = np.diag([3, 4, 0, 2, 5]), []
    with mock.patch.object(common, "save_figure", lambda cfg, path, fig, source: kept.append(fig)):
        m.plot_confusion(None, folder, {"a": {"confusion": counts.tolist(), "test_accuracy": 1.0}}, None)
    return bool(np.ma.getmaskarray(kept[0].axes[0].images[0].get_array())[2].all())


# ---- 3. The quiz --------------------------------------------------------------------------------------

def play(folder, answers, *flags):
    """The quiz in a process of its own, in an empty folder, with these lines typed."""
    return subprocess.run([sys.executable, "-m", "docs.quiz", *map(str, flags)], input=answers, capture_output=True, text=True, timeout=60,
                          cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"})


def asked_in(output):
    texts = {q.text: q for q in QUESTIONS}
    return [texts[line] for line in output.splitlines() if line in texts]


def test_an_exam_asks_ten_different_questions_and_ends_with_a_score(tmp_path):
    done = play(tmp_path, "\ny\n" * 7 + "\nn\n" * 3, "--exam", 10, "--seed", 1)
    assert done.returncode == 0 and not done.stderr
    asked = asked_in(done.stdout)
    assert len(asked) == len(set(asked)) == 10 and done.stdout.splitlines()[-1] == "7 of 10 known"
    known = json.loads((tmp_path / ".quiz.json").read_text())
    assert known == {q.key(): int(i < 7) for i, q in enumerate(asked)}
    for question in asked:  # the line, marked, with its number; both answers
        number = next(n for n, line, quoted in quiz.around(question) if quoted)
        code, _, comment = question.quote.partition("  # ")
        line = re.search(rf"^> +{number}  .*{re.escape(code)}.*", done.stdout, re.MULTILINE)[0]
        assert not comment or (comment not in line and f"\n# {comment}" in done.stdout)  # it comes with the answer
        assert question.short in done.stdout and question.deeper in done.stdout
    assert [p.name for p in tmp_path.iterdir()] == [".quiz.json"]


def test_the_answer_comes_after_enter(tmp_path):
    """Input ends before Enter: the question is shown, the answer is not, and nothing is remembered."""
    done = play(tmp_path, "", "--seed", 1)
    question, = asked_in(done.stdout)
    assert done.returncode == 0 and "Traceback" not in done.stderr
    code, _, comment = question.quote.partition("  # ")
    assert code in done.stdout and (not comment or comment not in done.stdout) and question.short not in done.stdout
    assert not list(tmp_path.iterdir())


def test_what_was_known_is_remembered_and_forgotten(tmp_path):
    done = play(tmp_path, "\nmaybe\ny\n\nn\n\nq\n", "classifier", "--seed", 3)
    first, second, third = asked_in(done.stdout)
    assert done.returncode == 0 and "y for yes" in done.stdout and "1 of 2 known" in done.stdout
    assert {q.file for q in (first, second, third)} == {"classifier.py"} and first != second != third
    assert json.loads((tmp_path / ".quiz.json").read_text()) == {first.key(): 1, second.key(): 0}
    n = sum(q.file == "classifier.py" for q in QUESTIONS)
    (tmp_path / ".quiz.json").write_text(json.dumps({q.key(): 3 for q in QUESTIONS} | {"of an older guide": 2}))
    play(tmp_path, "\ny\n" * (n - 1) + "\nn\n", "classifier.py", "--exam", n)
    known = json.loads((tmp_path / ".quiz.json").read_text())
    assert known.pop("of an older guide") == 2
    assert sorted(known[q.key()] for q in QUESTIONS if q.file == "classifier.py") == [0] + [4] * (n - 1)
    assert all(known[q.key()] == 3 for q in QUESTIONS if q.file != "classifier.py")


def test_control_c_keeps_what_was_learned(tmp_path):
    answers, memory = iter(["", "y", ""]), tmp_path / "memory.json"

    def typed(prompt):
        for answer in answers:
            return answer
        raise KeyboardInterrupt

    with mock.patch("builtins.input", typed), contextlib.redirect_stdout(io.StringIO()) as out:
        quiz.quiz(QUESTIONS, {}, 5, random.Random(0), memory)
    assert list(json.loads(memory.read_text()).values()) == [1]
    assert out.getvalue().splitlines()[-1] == "1 of 1 known; 4 of the exam's 5 not asked"


def test_weights_halve_down_to_a_floor():
    question = QUESTIONS[0]
    assert [quiz.weight({question.key(): n}, question) for n in (0, 1, 2, 5, 9)] == [1, 1 / 2, 1 / 4, 1 / 32, 1 / 32]
    assert quiz.weight({}, question) == 1


def test_unknown_ones_are_asked_more_often():
    """Two questions, one known three times in a row: asked once in nine times."""
    rng, (first, second) = random.Random(0), QUESTIONS[:2]
    share = np.mean([quiz.draw(rng, [first, second], {first.key(): 3}) is first for _ in range(9000)])
    assert share == pytest.approx(1 / 9, abs=0.015)
    assert all(quiz.draw(rng, [first, second], {}, [first]) is second for _ in range(20))  # the one just asked waits
    assert quiz.draw(rng, [first], {}, [first]) is first  # unless there is no other


@ids("content, found", [("{", "no JSON"), ("[1]", "something else"), ('{"a": "b"}', "something else"), ('{"a": -1}', "something else"),
                        ('{"a": true}', "something else"), (b"\xff\xfe\x00", "no JSON")])
def test_a_broken_memory_is_not_replaced(content, found, tmp_path):
    content = content if isinstance(content, bytes) else content.encode()
    (tmp_path / ".quiz.json").write_bytes(content)
    done = play(tmp_path, "\ny\n")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and not done.stdout
    assert f".quiz.json: found {found}, expected" in done.stderr and "delete it" in done.stderr
    assert (tmp_path / ".quiz.json").read_bytes() == content


@ids("flags, message", [(("nothing.py",), "found 'nothing.py', expected one of common.py conv_ae.py"),
                        (("--exam", "0"), "--exam: found 0, expected 1 to"), (("--exam", "999"), "--exam: found 999"),
                        (("--exam", "ten"), "invalid int value: 'ten'"), (("--exams",), "--help")])
def test_bad_flags_get_one_line(flags, message, tmp_path):
    done = play(tmp_path, "", *flags)
    assert done.returncode == 2 and message in done.stderr and len(done.stderr.splitlines()) == 1 and not list(tmp_path.iterdir())


def test_the_same_seed_asks_the_same(tmp_path):
    runs = [asked_in(play(tmp_path, "\nq\n", "--seed", seed).stdout) for seed in (5, 5, 6, 7)]
    assert runs[0] == runs[1] and len({run[0] for run in runs}) > 1


def test_the_quiz_needs_the_standard_library_only():
    code = ("import sys; import docs.quiz; from pathlib import Path; bad = {'torch', 'numpy', 'matplotlib', 'common'} & set(sys.modules); "
            "assert not bad, bad")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
