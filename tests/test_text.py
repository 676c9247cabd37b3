"""The text classifiers: sentences, cells by hand against torch's, padding that changes nothing, sizes and counts as the docstrings say."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import ROOT, run

import common
from more import sentences, text_cnn, text_rnn

CPU = torch.device("cpu")
REAL = ROOT.parent / "shared" / "text"


def module(name, *args):
    return run("-m", f"more.{name}", *args, cwd=ROOT)


def folder_of(tmp_path, negative, positive):
    (tmp_path / "set").mkdir()
    for name, content in zip(sentences.FILES, (negative, positive)):
        if content is not None:
            (tmp_path / "set" / name).write_bytes(content)
    return tmp_path / "set"


# ---- sentences ----

def test_words_are_cut_as_a_reader_would():
    assert sentences.words_of("It's not \"self-aware\", but FUN!") == ["it's", "not", '"', "self-aware", '"', ",", "but", "fun", "!"]
    assert sentences.words_of("caf\u00e9 1984 ...") == ["caf\u00e9", "1984", ".", ".", "."] and sentences.words_of(" \t") == []


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_folder_is_read_split_and_numbered(encoding, tmp_path):
    lines = ["a fine caf\u00e9 scene .", "rare%d words here .", ""]
    text = "\n".join(line % i if "%d" in line else line for i in range(40) for line in lines).encode(encoding)
    cfg = sentences.Settings(data=str(folder_of(tmp_path, text, text.replace(b"fine", b"dull").replace(b"rare", b"odd"))))
    data = sentences.load(cfg)
    assert (len(data.train), len(data.val), len(data.test)) == (128, 16, 16)  # 80/10/10 of 160, empty lines left out
    assert "caf\u00e9" in data.vocabulary and not any(word.startswith("rare") for word in data.vocabulary)  # each of these once
    assert sorted(data.vocabulary.values()) == list(range(2, 2 + len(data.vocabulary)))
    again = sentences.load(cfg)
    assert again.train == data.train and again.vocabulary == data.vocabulary  # the split is no matter of chance


def test_the_vocabulary_is_of_training_text_only(tmp_path):
    lines = [f"word{i} " * 3 for i in range(60)]
    data = sentences.load(sentences.Settings(data=str(folder_of(tmp_path, "\n".join(lines[:30]).encode(), "\n".join(lines[30:]).encode()))))
    seen = {word for words in data.train for word in words}
    assert set(data.vocabulary) == seen and not seen & {word for words in data.test for word in words}


@pytest.mark.parametrize("negative, positive, said", [
    (None, b"good\n" * 30, "rt-polarity.neg: found No such file"),
    (b"", b"good\n" * 30, "no sentence"),
    (b"\n \n", b"good\n" * 30, "no sentence"),
    (b"bad\n" * 30, b"\x89PNG\r\n\x1a\n\x00\x00", "the byte"),
    (b"bad\n" * 3, b"good\n" * 3, "6 sentences"),
    (b"bad\n", b"good\n" * 60, "only one class")])
def test_bad_folders_get_one_line(negative, positive, said, tmp_path):
    with pytest.raises(common.InputError, match=said) as error:
        sentences.load(sentences.Settings(data=str(folder_of(tmp_path, negative, positive))))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["text_rnn", "text_cnn"])
def test_a_missing_folder_ends_in_one_line_and_nothing_is_written(name, tmp_path):
    done = module(name, "--data", tmp_path / "no", "--out", tmp_path / "out")
    assert done.returncode == 2 and "No such file" in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_the_grammar_needs_the_order_of_words():
    """Both classes, the same for the same seed; a bag of words stays below 80 %, and what decides can be read off by a rule."""
    rows, labels = sentences.from_grammar(3000, seed=1)
    assert (rows, labels.tolist()) == (sentences.from_grammar(3000, seed=1)[0], sentences.from_grammar(3000, seed=1)[1].tolist())
    assert 0.45 < labels.mean() < 0.55 and not any("  " in row for row in rows)
    good = ("funny moving clever fresh brilliant gripping tender original honest elegant lively wise "
            "charm wit heart ideas grace suspense").split()

    def rule(row):
        main = row.split(", although ")[0] if ", although " in row else row.split(", ")[-1]
        turned = any(word in main for word in (" not ", "hardly", "never", "far from", "without", "free of"))
        turned = turned and "not without" not in main
        return any(re.search(rf"\b{word}\b", main) for word in good) != turned

    assert [rule(row) for row in rows] == labels.astype(bool).tolist()
    order = np.random.default_rng(0).permutation(3000)
    split = [([sentences.words_of(rows[i]) for i in part], labels[part]) for part in np.split(order, [2400, 2700])]
    result = sentences.baselines(sentences.Text(*(x for part in split for x in part), {}, {}))
    assert result["TF-IDF of words, logistic regression"] < 0.8 and result["TF-IDF of words and pairs, logistic regression"] < 0.9


def test_batches_hold_every_sentence_once_and_little_padding():
    lengths = torch.randint(1, 50, (1000,), generator=torch.Generator().manual_seed(0))
    rng = torch.Generator().manual_seed(1)
    parts = sentences.batches(torch.randperm(1000, generator=rng), lengths, 64, rng)
    assert sorted(torch.cat(parts).tolist()) == list(range(1000))
    padded = sum((lengths[part].max() - lengths[part]).sum().item() for part in parts)
    assert padded < 0.25 * lengths.sum().item()


# ---- cells ----

@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("directions, layers", [("one", 1), ("two", 1), ("two", 3)])
def test_cells_by_hand_are_torchs(cell, directions, layers):
    """States, the last of each direction, and the logits of all three ways of pooling; sentences of unequal lengths."""
    torch.manual_seed(0)
    numbers, lengths = torch.randint(2, 30, (4, 9)), torch.tensor([9, 1, 5, 7])
    numbers[torch.arange(9) >= lengths[:, None]] = sentences.PAD
    for how in ("last", "mean", "max"):
        cfg = text_rnn.Config(cell=cell, directions=directions, layers=layers, pool=how, embedding=6, hidden=5)
        model = text_rnn.TextRNN(cfg, 30).eval()
        states, last = text_rnn.unroll(model.rnn, model.table(numbers), lengths)
        s = text_rnn.pool(states, lengths, how, 5)
        torch.testing.assert_close(model.head(s).squeeze(1), model(numbers, lengths), atol=1e-5, rtol=1e-4)
        if how == "last":
            torch.testing.assert_close(s, last)


# ---- both nets ----

def nets(cell="lstm"):
    torch.manual_seed(0)
    return [text_rnn.TextRNN(text_rnn.Config(cell=cell, pool=how, hidden=8, embedding=6), 30).eval() for how in ("last", "mean", "max")] + [
        text_cnn.TextCNN(text_cnn.Config(filters=7, embedding=6), 30).eval()]


@pytest.mark.parametrize("model", nets() + nets("gru") + nets("rnn"))
def test_padding_cannot_change_a_logit(model):
    """A sentence alone, beside longer ones, and with PAD at its end; also one that is shorter than the widest filter."""
    changed = []
    for length in (1, 2, 4, 7):
        row = torch.arange(2, 2 + length)
        alone = model(row[None], torch.tensor([length]))[0]
        beside = torch.zeros(3, 20, dtype=torch.long)
        beside[0, :length], beside[1:] = row, torch.randint(2, 30, (2, 20), generator=torch.Generator().manual_seed(1))
        torch.testing.assert_close(model(beside, torch.tensor([length, 20, 20]))[0], alone, atol=1e-6, rtol=1e-5)
        beside[0, length] = 9
        changed.append((model(beside, torch.tensor([length + 1, 20, 20]))[0] - alone).abs().item())
    assert max(changed) > 1e-3  # but a word there would


@pytest.mark.parametrize("model", nets())
def test_a_sentence_of_no_known_word_has_a_result(model):
    vocabulary = {"good": 2}
    loss, _, logits = (text_rnn if isinstance(model, text_rnn.TextRNN) else text_cnn).evaluate(
        model, [["never", "heard"], []], np.array([0, 1]), vocabulary, CPU)
    assert np.isfinite(loss) and torch.isfinite(logits).all() and len(logits) == 2


def test_leave_one_out_is_the_difference_of_two_logits():
    for module_, model in ((text_rnn, nets()[0]), (text_cnn, nets()[3])):
        vocabulary = {word: i for i, word in enumerate("abcdefg", 2)}

        def logits_of(rows, evaluate=module_.evaluate, model=model, vocabulary=vocabulary):
            return evaluate(model, rows, np.zeros(len(rows), np.int64), vocabulary, CPU)[2].numpy()

        logit, change = sentences.leave_one_out(logits_of, list("abcdefg"))
        without = module_.evaluate(model, [list("abdefg")], np.array([0]), vocabulary, CPU)[2].item()
        assert change[2] == pytest.approx(logit - without, abs=1e-5) and len(change) == 7


def test_gradients_by_distance_are_those_of_a_recurrence():
    """A plain cell whose U is 0.5 I and whose tanh is nearly linear: half as much for each word further from the end."""
    model = text_rnn.TextRNN(text_rnn.Config(cell="rnn", directions="one", pool="last", embedding=4, hidden=4), 30)
    with torch.no_grad():
        model.rnn.weight_hh_l0.copy_(0.5 * torch.eye(4))
        model.rnn.weight_ih_l0.copy_(1e-3 * torch.eye(4))
        model.rnn.bias_ih_l0.zero_(), model.rnn.bias_hh_l0.zero_()
    vocabulary = {str(i): i for i in range(2, 30)}
    sizes = text_rnn.gradient_by_distance(model, [[str(i) for i in range(2, 12)]] * 3, vocabulary, CPU, 8)
    np.testing.assert_allclose(sizes, 0.5 ** np.arange(8), rtol=1e-3)
    assert model.dropout == 0.5 and np.isnan(text_rnn.gradient_by_distance(model, [["2"]], vocabulary, CPU, 8)).all()


def test_the_worked_example_of_seven_words():
    """Every size in the docstring of text_cnn.py, in order, is that of a tensor of the forward pass."""
    text = text_cnn.__doc__.split("Seven words")[1].split("weights =")[0]
    said = [tuple(int(n) for n in re.findall(r"\d+", shape)) for shape in re.findall(r"\((\d+,[\d, ]*)\)", text)]
    model, seen = text_cnn.TextCNN(text_cnn.Config(), 50).eval(), []
    words = sentences.words_of("the film is not without charm .")
    assert len(words) == 7
    model.table.register_forward_hook(lambda layer, given, out: seen.extend([tuple(given[0].shape), tuple(out.shape)]))
    for conv in model.convs:
        conv.register_forward_hook(lambda layer, given, out: seen.extend(
            [tuple(given[0].shape), tuple(out.shape), tuple(out.amax(dim=2).shape)]))
    model.head.register_forward_hook(lambda layer, given, out: seen.extend([tuple(given[0].shape), (len(out),)]))
    model(torch.arange(2, 9)[None], torch.tensor([7]))
    assert said == [(1, 7), (1, 7, 100), (1, 100, 7), (1, 100, 5), (1, 100, 4), (1, 100, 3), (1, 100), (1, 300), (1,)]
    assert set(said) == set(seen) and seen[:4] == [(1, 7), (1, 7, 100), (1, 100, 7), (1, 100, 5)]


@pytest.mark.parametrize("widths, filters", [("3,4,5", 100), ("1", 7), ("2,3", 5)])
def test_weights_are_counted_by_the_formula(widths, filters):
    model = text_cnn.TextCNN(text_cnn.Config(widths=widths, filters=filters), 50)
    sizes = [int(width) for width in widths.split(",")]
    formula = 100 * 50 + sum(filters * (100 * width + 1) for width in sizes) + filters * len(sizes) + 1
    assert sum(p.numel() for p in model.parameters()) == formula
    if widths == "3,4,5":
        numbers = [int(n.replace(",", "")) for n in re.findall(r"[\d,]{3,}", text_cnn.__doc__.split("= 100 V")[1].split("\n")[0])]
        assert sum(numbers) == formula - 100 * 50


@pytest.mark.parametrize("text", ["", "3,", "0", "a", "99", "3;4"])
def test_bad_widths_get_one_line(text):
    with pytest.raises(common.InputError, match="--widths"):
        text_cnn.parse_widths(text)


# ---- runs ----

SMALL = {"text_rnn": ("--embedding", 8, "--hidden", 8), "text_cnn": ("--embedding", 8, "--filters", 6)}


@pytest.fixture(scope="module", params=["text_rnn", "text_cnn"])
def ran(request, tmp_path_factory):
    out = tmp_path_factory.mktemp(request.param)
    done = module(request.param, "--quick", "--out", out, *SMALL[request.param])
    assert done.returncode == 0, done.stderr
    return request.param, out / request.param, done.stdout


def test_what_a_run_writes(ran):
    name, folder, said = ran
    pictures = {"text_rnn": {"curves", "variants", "gradients", "words"}, "text_cnn": {"curves", "variants", "phrases", "words"}}[name]
    assert {path.stem for path in folder.glob("*.png")} == pictures
    figures = json.loads((folder / "metrics.json").read_text())
    assert "STAND-IN SENTENCES" in said and figures["data"]["source"] == "grammar" and figures["quick"]
    assert 0 <= figures["test_accuracy"] <= 1 and figures["baselines"]["majority class"] <= 0.6
    assert figures["parameters"] == sum(x.numel() for x in torch.load(folder / "weights.pt", weights_only=True).values())
    if name == "text_cnn":
        assert figures["formula"] == figures["parameters"] and f"{figures['formula']:,} by the formula" in said


def test_a_run_repeats_to_the_bit(ran, tmp_path):
    name, folder, _ = ran
    done = module(name, "--quick", "--out", tmp_path, *SMALL[name])
    assert done.returncode == 0
    first, second = (torch.load(path / "weights.pt", weights_only=True) for path in (folder, tmp_path / name))
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.skipif(not REAL.exists(), reason="no real sentences here")
def test_the_real_sentences_are_read():
    data = sentences.load(replace(sentences.Settings(), data=str(REAL)))
    assert (len(data.train), len(data.val), len(data.test)) == (8529, 1066, 1067) and 8000 < len(data.vocabulary) < 10000
