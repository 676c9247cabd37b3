"""more/mlp_numpy, mlp_torch, embed_numpy, embed_torch: hand-written derivatives against differences and autograd, twins, words."""

import json
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import ROOT

import common
from more import embed_numpy, embed_torch, mlp_numpy, mlp_torch, search, twins, words

CPU = torch.device("cpu")
FILES = ("mlp_numpy", "mlp_torch", "embed_numpy", "embed_torch")


def module(name, *args, env=None):
    return subprocess.run([sys.executable, "-m", f"more.{name}", *map(str, args)], cwd=ROOT, capture_output=True, text=True,
                          env=os.environ | (env or {}))


@pytest.fixture(scope="module")
def small(doodles):
    return common.load_data(common.Settings(data=str(doodles), quick=True))


@pytest.fixture(scope="module")
def scratch(doodles, tmp_path_factory):
    """The four, once, with --quick: ({name: finished process}, folder)."""
    out = tmp_path_factory.mktemp("scratch")
    runs = {name: module(name, "--quick", "--data", doodles, "--out", out) for name in FILES}
    for name, done in runs.items():
        assert done.returncode == 0, f"{name}: {done.stderr}"
    return runs, out


def numeric(f, array, eps=1e-6):
    """df/darray by central differences, entry by entry; f() reads the array."""
    gradient = np.zeros_like(array)
    for i in np.ndindex(array.shape):
        was = array[i]
        array[i] = was + eps
        above = f()
        array[i] = was - eps
        gradient[i] = (above - f()) / (2 * eps)
        array[i] = was
    return gradient


def close(ours, theirs, bound=1e-6):
    assert np.abs(ours - theirs).max() / np.abs(theirs).max() < bound


# ---- layers and losses ----

@pytest.mark.parametrize("layer", [mlp_numpy.ReLU(), mlp_numpy.Tanh()])
def test_bends_against_differences(layer):
    rng = np.random.default_rng(0)
    a, d = rng.standard_normal((4, 6)), rng.standard_normal((4, 6))
    layer.forward(a)
    ours = layer.backward(d)
    close(ours, numeric(lambda: (layer.forward(a) * d).sum(), a))


def test_dropout_drops_keeps_the_mean_and_passes_gradients_where_it_kept():
    layer = mlp_numpy.Dropout(0.25, np.random.default_rng(0))
    h = np.ones((400, 50), np.float32)
    assert np.array_equal(layer.forward(h), h)  # not training: nothing happens
    layer.training = True
    out = layer.forward(h)
    assert out.dtype == np.float32 and set(np.unique(out).tolist()) == {0.0, np.float32(1 / 0.75).item()}
    assert (out == 0).mean() == pytest.approx(0.25, abs=0.02) and out.mean() == pytest.approx(1, abs=0.02)
    assert np.array_equal(layer.backward(h), out)


def test_linear_against_differences():
    rng = np.random.default_rng(0)
    layer, h, d = mlp_numpy.Linear(5, 3, 2.0, rng), rng.standard_normal((4, 5)), rng.standard_normal((4, 3))
    layer.b = rng.standard_normal(3)
    layer.forward(h)
    dh = layer.backward(d)
    dW, db = layer.dW, layer.db
    for ours, array in ((dh, h), (dW, layer.W), (db, layer.b)):
        close(ours, numeric(lambda: (layer.forward(h) * d).sum(), array))


def test_softmax_cross_entropy_against_differences_and_torch():
    rng = np.random.default_rng(0)
    logits, y = rng.standard_normal((4, 5)), np.array([0, 2, 4, 4])
    loss = mlp_numpy.SoftmaxCrossEntropy()
    value = loss.forward(logits, np.eye(5)[y])
    ours = loss.backward()
    assert value == pytest.approx(torch.nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(y), reduction="sum").item())
    close(ours, numeric(lambda: loss.forward(logits, np.eye(5)[y]), logits))
    np.testing.assert_allclose(mlp_numpy.softmax(logits), torch.from_numpy(logits).softmax(1).numpy())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_softmax_of_huge_logits(dtype):
    loss, logits = mlp_numpy.SoftmaxCrossEntropy(), np.array([[1e4, 0, -1e4], [-1e4, -1e4, 1e4]], dtype)
    assert loss.forward(logits, np.eye(3, dtype=dtype)[[0, 0]]) == pytest.approx(2e4)
    np.testing.assert_allclose(loss.backward(), [[0, 0, 0], [-1, 0, 1]])


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("batch", [1, 6])
def test_the_whole_net_against_differences_and_autograd(activation, batch):
    cfg = mlp_numpy.Config(depth=2, width=4, activation=activation)
    net = mlp_numpy.MLP(cfg, np.random.default_rng(1), np.float64)
    rng = np.random.default_rng(0)
    for layer in net.linear():
        layer.b = 0.1 * rng.standard_normal(layer.b.shape)  # at 0, a unit whose inputs are all 0 would sit in ReLU's kink
    x, y = rng.random((batch, 784)), rng.integers(0, 5, batch)
    net.loss.forward(net.forward(x), np.eye(5)[y])
    net.backward()
    ours = {f"{kind}{i}": getattr(layer, "d" + kind).copy() for i, layer in enumerate(net.linear(), 1) for kind in ("W", "b")}
    for i, layer in enumerate(net.linear(), 1):
        for kind in ("W", "b"):
            array = getattr(layer, kind)
            part = array[:40] if kind == "W" else array  # 40 pixels' weights of the first layer are enough
            close(ours[f"{kind}{i}"][:40], numeric(lambda: net.loss.forward(net.forward(x), np.eye(5)[y]), part))
    twin = mlp_torch.MLP(cfg, net.weights()).eval()  # no dropout: differences need a function that stays the same
    torch.nn.functional.cross_entropy(twin(torch.from_numpy(x)), torch.from_numpy(y), reduction="sum").backward()
    for name, gradient in twin.gradients().items():
        close(ours[name], gradient, 1e-12)


def test_embedding_against_differences_and_autograd():
    cfg = embed_numpy.Config(embed_dim=6, width=5, word_width=4, margin=0.1, pull=0.7, push=1.3, apart=2.0, tau=0.3)
    rng = np.random.default_rng(0)
    model = embed_numpy.Embedding(cfg, rng.standard_normal((5, 7)), rng, np.float64)
    x, y = rng.random((8, 784)), rng.integers(0, 5, 8)

    def value():
        terms, _, _ = embed_numpy.loss_terms(cfg, model.image.forward(x), model.word.forward(model.words), y)
        return cfg.pull * terms["pull"] + cfg.push * terms["push"] + cfg.apart * terms["apart"]

    _, dU, dV = embed_numpy.loss_terms(cfg, model.image.forward(x), model.word.forward(model.words), y)
    model.image.backward(dU)
    model.word.backward(dV)
    twin = embed_torch.Embedding(model.named(), model.words)
    loss, terms = embed_torch.loss_terms(cfg, *twin(torch.from_numpy(x)), torch.from_numpy(y))
    loss.backward()
    assert loss.item() == pytest.approx(value()) and set(terms) == {"pull", "push", "apart"} and all(t.item() > 0 for t in terms.values())
    theirs = twin.gradients()
    for side, net in (("image", model.image), ("word", model.word)):
        for i in range(len(net.W)):
            for kind, array, gradient in (("W", net.W[i], net.dW[i]), ("b", net.b[i], net.db[i])):
                close(gradient, theirs[f"{side}/{kind}{i + 1}"], 1e-10)
                close(gradient[:30].copy(), numeric(value, array[:30]))


@pytest.mark.parametrize("terms, worst", [({"pull": 1.0}, 1.0), ({"pull": 1.0, "apart": 1.0}, 0.9)])
def test_pull_alone_is_best_when_all_points_fall_together(terms, worst):
    """(4) is 0 for one point, whatever it stands for; (6) is what objects."""
    cfg = embed_numpy.Config()
    U, V = np.tile([[1.0, 0]], (4, 1)), np.tile([[1.0, 0]], (5, 1))
    found, _, _ = embed_numpy.loss_terms(cfg, U, V, np.array([0, 1, 2, 3]))
    assert found["pull"] == pytest.approx(0) and found["push"] == pytest.approx(np.log(5)) and found["apart"] == pytest.approx(1)
    assert embed_numpy.mean_cosine(V) == pytest.approx(1) and sum(found[name] for name in terms) == pytest.approx(len(terms) - 1)


# ---- training ----

def test_momentum_is_torchs_over_fifty_updates(small):
    """The two training loops, 50 updates in float64: the same weights."""
    cfg = mlp_numpy.Config(steps=50, width=16, momentum=0.9, weight_decay=1e-2, seed=3)
    net = mlp_numpy.MLP(cfg, np.random.default_rng(3), np.float64)
    twin = mlp_torch.MLP(cfg, net.weights())
    ours = mlp_numpy.train(cfg, net, small, cfg.shift, cfg.mirror, verbose=False)
    theirs = mlp_torch.train(cfg, cfg, twin, small, cfg.shift, cfg.mirror, np.float64, CPU)
    assert len(ours) * (len(small.y_train) // cfg.batch_size) >= 48
    for a, b in zip(ours, theirs):
        assert a["train_loss"] == pytest.approx(b["train_loss"], rel=1e-10) and a["val_accuracy"] == b["val_accuracy"]
    for layer, other in zip(net.linear(), twin.linear()):
        np.testing.assert_allclose(layer.W, other.weight.detach().numpy().T, rtol=1e-8, atol=1e-12)


def test_weight_decay_and_momentum_move_the_weights(small):
    """A check that the comparison above could fail: other settings end elsewhere."""
    ends = []
    for settings in ({}, {"momentum": 0.5}, {"weight_decay": 1e-1}):
        cfg = mlp_numpy.Config(steps=20, width=8, **settings)
        net = mlp_numpy.MLP(cfg, np.random.default_rng(0), np.float64)
        mlp_numpy.train(cfg, net, small, 0, 0.0, verbose=False)
        ends.append(net.linear()[0].W)
    assert np.abs(ends[0] - ends[1]).max() > 1e-3 and np.abs(ends[0] - ends[2]).max() > 1e-3


def one_batch(small):
    x, y = small.x_train[:32], small.y_train[:32]
    return common.Data(x, y, x, y, x, y, small.source)


def test_mlp_overfits_a_batch(small):
    cfg = mlp_numpy.Config(epochs=150, batch_size=32, weight_decay=0)
    history = mlp_numpy.train(cfg, mlp_numpy.MLP(cfg, np.random.default_rng(0)), one_batch(small), 0, 0.0, verbose=False)
    assert history[0]["train_loss"] > 1.2 and history[-1]["train_loss"] < 0.02


def test_embedding_overfits_a_batch(small):
    cfg = embed_numpy.Config(epochs=150, batch_size=32, weight_decay=0, shift=0, mirror=0.0)
    matrix = words.word_matrix("spelling", "")
    history = embed_numpy.train(cfg, embed_numpy.Embedding(cfg, matrix, np.random.default_rng(0)), one_batch(small))
    assert history[-1]["train_accuracy"] == 1.0 and history[-1]["train_loss"] < 0.1 < history[0]["train_loss"]


def test_early_stopping_keeps_the_best_weights(small):
    cfg = mlp_numpy.Config(steps=400, width=32, patience=30, lr=0.3)
    net = mlp_numpy.MLP(cfg, np.random.default_rng(0))
    history = mlp_numpy.train(cfg, net, small, 0, 0.0, verbose=False)
    best = max(history, key=lambda r: (r["val_accuracy"], -r["val_loss"]))
    assert len(history) < round(400 / (len(small.y_train) // 64))  # it did stop early
    found = mlp_numpy.predict(net, small.x_val)
    assert (found.argmax(axis=1) == small.y_val).mean() == best["val_accuracy"]
    assert mlp_numpy.cross_entropy(found, small.y_val) == pytest.approx(best["val_loss"])


def test_zero_shot_never_sees_the_fifth_category(small, monkeypatch):
    """Drawings of a held-out category changed, its weights stay the same to the bit."""
    cfg = embed_numpy.Config(steps=10, width=8)
    matrix = words.word_matrix("spelling", "")
    models = []
    for paint in (0.0, 1.0):
        x = small.x_train.copy()
        x[small.y_train == 2] = paint
        model = embed_numpy.Embedding(cfg, matrix, np.random.default_rng(0))
        embed_numpy.train(cfg, model, small._replace(x_train=x), classes=[0, 1, 3, 4])
        models.append(model.named())
    assert all(np.array_equal(models[0][name], models[1][name]) for name in models[0])


def test_an_epoch_takes_no_longer_than_one_and_a_half_times_torchs(small):
    """Both in this process, alternately, the fastest of five: what else runs on the machine slows both."""
    n = 3200
    rng = np.random.default_rng(0)
    x, y = rng.random((n, 1, 28, 28)).astype(np.float32), rng.integers(0, 5, n)
    data = common.Data(x, y, x[:64], y[:64], x[:64], y[:64], small.source)
    cfg = mlp_numpy.Config(epochs=1)
    seconds = {"numpy": [], "torch": []}
    for _ in range(5):
        net = mlp_numpy.MLP(cfg, np.random.default_rng(0))
        twin = mlp_torch.MLP(cfg, net.weights())
        begin = time.perf_counter()
        mlp_numpy.train(cfg, net, data, 2, 0.5, verbose=False)
        middle = time.perf_counter()
        mlp_torch.train(cfg, cfg, twin, data, 2, 0.5, np.float32, CPU)
        seconds["numpy"].append(middle - begin)
        seconds["torch"].append(time.perf_counter() - middle)
    assert min(seconds["numpy"]) <= 1.5 * min(seconds["torch"]), seconds


# ---- words ----

def test_glove_words_and_their_parts(tmp_path, capsys):
    path = tmp_path / "glove.txt"
    path.write_text("the 9 9\nrabbit 1 2\nyoga 3 4\nsnow 1 0\nman 0 1\nhand 5 6\nmotor 2 0\nbike 0 4\n. . 7 7\n")
    found = words.read_glove(str(path), common.CLASSES)
    assert list(found) == list(common.CLASSES)
    np.testing.assert_allclose(found["snowman"], [0.5, 0.5])
    np.testing.assert_allclose(found["motorbike"], [1, 2])
    said = capsys.readouterr().out
    assert "'snowman'" in said and "'snow' and 'man'" in said and "'motor' and 'bike'" in said


def test_glove_stops_when_all_words_are_found(tmp_path):
    path = tmp_path / "glove.txt"
    path.write_text("".join(f"{name} 1 2\n" for name in common.CLASSES) + "broken\n")
    assert set(words.read_glove(str(path), common.CLASSES)) == set(common.CLASSES)


@pytest.mark.parametrize("text, said", [
    ("", "no line"), ("\n", "no line"), ("rabbit\n", "line 1"), ("rabbit 1 2 3\nyoga 1 2\n", "line 2"),
    ("rabbit 1 2\nyoga 1 2 3\n", "line 2"), ("rabbit 1 2\nyoga 1\n", "line 2"), ("rabbit 1 x\n", "no finite number"),
    ("rabbit 1 nan\n", "no finite number"), ("rabbit 1 2\nyoga 1 2\nsnowman 1 2\nmotorbike 1 2\n", "neither 'hand'")])
def test_bad_word_vectors_are_refused(text, said, tmp_path):
    path = tmp_path / "words.txt"
    path.write_text(text)
    with pytest.raises(common.InputError) as error:
        words.read_glove(str(path), common.CLASSES)
    assert said in str(error.value) and "words.txt" in str(error.value) and "\n" not in str(error.value)


def test_bad_word_vectors_get_one_line(doodles, tmp_path):
    (tmp_path / "words.txt").write_text("rabbit 1 x\n")
    done = module("embed_numpy", "--quick", "--data", doodles, "--out", tmp_path / "out", "--glove", tmp_path / "words.txt")
    assert done.returncode == 2 and "no finite number" in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_missing_word_vectors_get_one_line(doodles, tmp_path):
    done = module("embed_numpy", "--quick", "--data", doodles, "--out", tmp_path / "out", "--glove", tmp_path / "none.txt")
    assert done.returncode == 2 and "none.txt" in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_spelling_vectors_are_the_same_in_every_process():
    """Python's own hash() is salted: another salt must not matter."""
    code = "from more import words as e; import numpy; print(e.spelling_vectors(['rabbit'])['rabbit'].tobytes().hex())"
    found = {subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True,
                            env=os.environ | {"PYTHONHASHSEED": salt}).stdout for salt in ("1", "2")}
    assert len(found) == 1
    vectors = words.spelling_vectors(["snowman", "snowmen", "yoga"])
    unit = {name: v / np.linalg.norm(v) for name, v in vectors.items()}
    assert unit["snowman"] @ unit["snowmen"] > unit["snowman"] @ unit["yoga"]  # shared letters, near vectors


# ---- the scripts ----

def test_mlp_numpy_never_imports_torch(doodles, tmp_path):
    code = (f"import sys; from more import mlp_numpy as m; import common; sys.argv = ['m']; "
            f"m.main(common.parse(m.Config, ['--quick', '--data', {str(doodles)!r}, '--out', {str(tmp_path)!r}])); "
            "assert 'torch' not in sys.modules")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "mlp_numpy" / "metrics.json").read_text())["versions"]["torch"] is None


@pytest.mark.parametrize("name", FILES)
def test_outputs(name, scratch, doodles):
    folder = scratch[1] / name
    record = json.loads((folder / "metrics.json").read_text())
    assert record["quick"] and record["seed"] == 0 and record["data"]["source"] == "doodles" and record["parameters"] > 100_000
    pictures = {"curves", "confusion", "mistakes"} | ({"ablation", "similarity", "tsne"} if name == "embed_numpy" else set()) \
        | ({"twins"} if "torch" in name else set())
    assert {path.stem for path in folder.glob("*.png")} == pictures
    for figures in ([record["plain"], record["augmented"]] if "mlp" in name else record["runs"].values()):
        assert 0 <= figures["test_accuracy"] <= 1 and np.sum(figures["confusion"]) == record["data"]["drawings"]["test"]
        assert all(set(figures[key]) == {*common.CLASSES, "macro"} for key in ("precision", "recall", "roc_auc", "pr_auc"))
    assert "STAND-IN" in scratch[0][name].stdout


def test_twins_agree(scratch):
    """The issue's bounds: relative 1e-6 in float64 and 1e-4 in float32; other first weights are another matter; same answers."""
    for name in ("mlp_torch", "embed_torch"):
        record = json.loads((scratch[1] / name / "metrics.json").read_text())
        assert all(d["relative"] < 1e-6 for d in record["gradients"]["float64"].values())
        assert all(d["relative"] < 1e-4 for d in record["gradients"]["float32"].values())
        exact = record["plain, float64"] if name == "mlp_torch" else record["runs"]["float64"]
        assert exact["same_predictions"] == 1.0
    other = json.loads((scratch[1] / "mlp_torch" / "metrics.json").read_text())["gradients"]["float64, other weights"]
    assert max(d["relative"] for d in other.values()) > 0.1


@pytest.mark.parametrize("name", ("mlp_torch", "embed_torch"))
def test_a_twin_without_its_numpy_run_says_which_command_makes_it(name, doodles, tmp_path):
    done = module(name, "--quick", "--data", doodles, "--out", tmp_path / "none")
    assert done.returncode == 2 and name.replace("torch", "numpy") in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("name", FILES)
def test_the_same_command_twice_gives_the_same_bits(name, scratch, doodles, tmp_path):
    if "torch" in name:
        numpy_name = name.replace("torch", "numpy")
        (tmp_path / numpy_name).symlink_to(scratch[1] / numpy_name)
    done = module(name, "--quick", "--data", doodles, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    if "numpy" in name:
        first, second = (dict(np.load(out / name / "weights.npz")) for out in (scratch[1], tmp_path))
        assert set(first) == set(second) and all(np.array_equal(first[key], second[key]) for key in first)
    else:
        first, second = (torch.load(out / name / "weights.pt", weights_only=True) for out in (scratch[1], tmp_path))
        assert set(first) == set(second) and all(torch.equal(first[key], second[key]) for key in first)


def test_search_records_every_setting(doodles, tmp_path):
    done = module("mlp_numpy", "--quick", "--data", doodles, "--out", tmp_path, "--search", 4)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "mlp_numpy" / "search.json").read_text())
    accuracies = [trial["val_accuracy"] for trial in record["trials"]]
    assert len(accuracies) == 4 and accuracies == sorted(accuracies, reverse=True)
    assert all(set(search.SEARCHED) < set(trial) for trial in record["trials"])
    assert (tmp_path / "mlp_numpy" / "search.png").exists() and not (tmp_path / "mlp_numpy" / "metrics.json").exists()


def test_numpy_refuses_a_gpu(doodles, tmp_path):
    done = module("mlp_numpy", "--quick", "--data", doodles, "--out", tmp_path / "o", "--device", "cuda")
    assert done.returncode == 2 and "--device" in done.stderr and not (tmp_path / "o").exists()


def test_scores_are_sklearns_of_the_twin():
    rng = np.random.default_rng(0)
    logits, y = rng.standard_normal((60, 5)), np.arange(60) % 5
    ours, theirs = mlp_numpy.scores(logits, y), mlp_torch.scores(logits, y)
    assert ours["confusion"] == theirs["confusion"] and ours["test_cross_entropy"] == pytest.approx(theirs["test_cross_entropy"])
    assert ours["roc_auc"] == pytest.approx(theirs["roc_auc"]) and ours["roc_auc"]["macro"] == pytest.approx(
        np.mean([ours["roc_auc"][name] for name in common.CLASSES]))


def test_settings_of_a_twin_are_the_numpy_runs(scratch):
    cfg = SimpleNamespace(out=str(scratch[1]), seed=0, quick=True)
    source = json.loads((scratch[1] / "mlp_numpy" / "metrics.json").read_text())["data"]
    settings, _, _, arrays = twins.read_twin(cfg, "mlp_numpy", source)
    assert settings.width == mlp_numpy.Config().width and "plain/first/W1" in arrays
    with pytest.raises(common.InputError, match="other data"):
        twins.read_twin(SimpleNamespace(out=str(scratch[1]), seed=1, quick=True), "mlp_numpy", source)


@pytest.mark.parametrize("record", ["{}", "[]", '{"config": {}}'])
def test_a_twin_whose_record_has_another_form_is_refused(record, tmp_path):
    """Valid JSON of another form: one line, not a KeyError."""
    folder = tmp_path / "mlp_numpy"
    folder.mkdir()
    (folder / "metrics.json").write_text(record)
    (folder / "history.json").write_text("[]")
    np.savez(folder / "twin.npz", a=np.zeros(1))
    with pytest.raises(common.InputError, match="found no finished run"):
        twins.read_twin(SimpleNamespace(out=tmp_path, seed=0, quick=False), "mlp_numpy", {})
