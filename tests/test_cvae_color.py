"""more/cvae_color: closed forms, both kinds of condition, what the docstring claims, shapes, quick runs."""

import ast
import importlib
import json
import re
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import shapes
import torch
from conftest import ROOT

import classifier
import common
from more import color, cvae_color

CPU = torch.device("cpu")
FILE = ROOT / "more" / "cvae_color.py"
PICTURES = {"curves", "reconstructions", "samples", "conditions"}


def model(condition="one_hot", classes=5, channels=3, **settings):
    torch.manual_seed(0)
    cfg = cvae_color.Config(condition=condition, width=4, precision="float32", **settings)
    return cfg, cvae_color.CVAE(cfg, channels, classes)


@pytest.fixture(scope="module")
def judged(doodles, tmp_path_factory):
    """OUT with untrained judges for grey and colour: what they say is no matter, that they are asked is."""
    out = tmp_path_factory.mktemp("judged")
    other = some_colours(tmp_path_factory.mktemp("other") / "set", 3)
    for folder, data, grey, size in ((out, doodles, True, 28), (out / "color", doodles, False, 28),
                                     (out / "other" / "color", other, False, 32)):
        images = color.load(color.Settings(data=str(data), grey=grey, size=size, quick=True))
        torch.manual_seed(0)
        (folder / "classifier").mkdir(parents=True)
        common.save(folder / "classifier" / "weights.pt", classifier.Judges(1 if grey else 3, size, len(images.classes)))
        common.save(folder / "classifier" / "metrics.json", {"data": images.source})
    return out


# ---- closed forms ----

def test_terms_of_the_objective():
    mu, logvar = torch.randn(6, 18), torch.randn(6, 18)
    q, p = torch.distributions.Normal(mu, (0.5 * logvar).exp()), torch.distributions.Normal(0.0, 1.0)
    torch.testing.assert_close(cvae_color.kl_divergence(mu, logvar), torch.distributions.kl_divergence(q, p))
    logits, x = torch.randn(2, 3, 28, 28), torch.rand(2, 3, 28, 28)
    x_hat = torch.sigmoid(logits)
    torch.testing.assert_close(cvae_color.reconstruction(logits, x), -(x * x_hat.log() + (1 - x) * (1 - x_hat).log()).sum(dim=(1, 2, 3)))


class Fixed(torch.nn.Module):
    """A decoder that has one image in mind."""

    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def decoder(self, z, c):
        return self.logits.expand(len(z), *self.logits.shape[1:])


def test_sharpening_keeps_the_hue_and_is_cvaes_with_one_channel():
    orange = torch.logit(torch.tensor([0.5, 0.3, 0.1]))[None, :, None, None]
    np.testing.assert_allclose(torch.sigmoid(orange / 0.33).flatten(), [0.5, 0.07, 0.001], atol=2e-3)  # what the docstring says
    cfg, z = cvae_color.Config(precision="float32"), torch.zeros(1, 18)
    for value in (0.1, 0.3, 0.8):
        x = torch.tensor([value, 0.6 * value, 0.2 * value])[None, :, None, None]
        drawn = cvae_color.decode(cfg, Fixed(torch.logit(x)), z, z, CPU)[0, 0, 0] / 255
        bright = torch.sigmoid(torch.logit(torch.tensor(value)) / 0.33).item()
        np.testing.assert_allclose(drawn, bright * np.array([1, 0.6, 0.2]), atol=0.003)
        as_it_is = cvae_color.decode(cfg, Fixed(torch.logit(x)), z, z, CPU, temperature=1.0)[0, 0, 0] / 255
        np.testing.assert_allclose(as_it_is, x.flatten(), atol=0.003)
    grey = 5 * torch.randn(1, 1, 28, 28)
    np.testing.assert_allclose(cvae_color.decode(cfg, Fixed(grey), z, z, CPU)[0] / 255, torch.sigmoid(grey / 0.33)[0, 0], atol=0.003)
    assert cvae_color.decode(cfg, Fixed(torch.full((1, 3, 2, 2), -300.0)), z, z, CPU).max() == 0  # not 0 / 0


# ---- the two kinds of condition ----

def test_an_embedding_is_a_linear_layer_on_the_one_hot():
    _, one = model()
    assert torch.equal(one.vectors(), torch.eye(5)) and not list(one.condition.parameters())
    _, net = model("embedding", embed_dim=2)
    lookup = torch.nn.Embedding.from_pretrained(net.condition.weight.T)
    assert torch.equal(net.vectors(), lookup(torch.arange(5))) and net.condition.bias is None and net.vectors().shape == (5, 2)
    y = torch.tensor([[0.3, 0.7, 0, 0, 0]])
    torch.testing.assert_close(net.condition(y), torch.lerp(net.vectors()[:1], net.vectors()[1:2], 0.7))


def test_from_k_minus_1_numbers_on_an_embedding_is_no_bottleneck():
    """An affine function of c can have any values at the K categories if E = K - 1, and not if E is less."""
    rng = np.random.default_rng(0)
    wanted = rng.standard_normal((5, 32))
    for e, fits in ((4, True), (16, True), (3, False), (2, False)):
        c = np.column_stack([rng.standard_normal((5, e)), np.ones(5)])
        off = np.abs(c @ np.linalg.lstsq(c, wanted, rcond=None)[0] - wanted).max()
        assert (off < 1e-9) == fits


@pytest.mark.parametrize("condition", ["one_hot", "embedding"])
def test_all_that_reads_a_condition_is_affine_in_it(condition):
    _, net = model(condition)
    for block in (*net.encoder.blocks, *net.decoder.blocks):
        assert block.condition.bias is None and (block.condition.weight == 0).all()
        torch.nn.init.normal_(block.condition.weight)
    net.eval()
    a, b = torch.randn(2, 3, net.vectors().shape[1])
    z, h, block = torch.randn(3, 18), torch.rand(3, 16, 7, 7), net.decoder.blocks[0]
    first = net.decoder.spread[0]
    for function in (block.condition, lambda c: first(torch.cat([z, c], dim=1))):
        torch.testing.assert_close(function(torch.lerp(a, b, 0.3)), torch.lerp(function(a), function(b), 0.3), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(block(h, 0 * a), torch.nn.functional.silu(block.norm(block.conv(h))))  # zero: neither gain nor bias


def test_conditions_never_seen():
    cfg, net = model("embedding", embed_dim=3, classes=7)
    judge = SimpleNamespace(look=lambda x: (np.tile([9.0, 0, 0, 0, 0, 0, 0], (len(x), 1)), None))
    found, c = cvae_color.conditions(cfg, net, judge, CPU), net.vectors()
    assert list(found)[:9] == [f"{t / 8:.3f}" for t in range(9)] and list(found)[9:] == ["sum", "zero", "random", "far"]
    got = {name: torch.tensor(record["c"]) for name, record in found.items()}
    assert all(x.shape == (5, 3) for x in got.values())
    torch.testing.assert_close(got["0.000"], c[:5])
    torch.testing.assert_close(got["1.000"], c[[1, 2, 3, 4, 0]])
    torch.testing.assert_close(got["sum"], c[:5] + c[[1, 2, 3, 4, 0]])
    torch.testing.assert_close(got["far"], 5 * c[:5])
    assert (got["zero"] == 0).all()
    torch.testing.assert_close(got["random"].norm(dim=1), c.norm(dim=1).mean().expand(5))
    assert found["sum"]["a"] == found["sum"]["b"] == pytest.approx(0.2) and found["sum"]["taken_for"] == [1, 0, 0, 0, 0, 0, 0]
    p = np.exp([9.0, 0, 0, 0, 0, 0, 0]) / np.exp([9.0, 0, 0, 0, 0, 0, 0]).sum()
    assert found["zero"]["entropy"] == pytest.approx(-(p * np.log(p)).sum())


def test_the_mean_of_an_image_has_the_hue_it_was_painted_in(doodles):
    data = color.load(color.Settings(data=str(doodles)))
    hue = color.hues(len(data.x_test), "test")
    circle = np.stack([np.sin(2 * np.pi * hue), np.cos(2 * np.pi * hue)], axis=1)
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((len(data.x_train), 4))
    assert cvae_color.probes(noise, rng.standard_normal((len(hue), 4)), data)[1] < 0.1
    few = data._replace(x_train=data.x_test, y_train=data.y_test)
    category, r2 = cvae_color.probes(circle, circle, few)
    assert r2 > 0.999 and category < 0.4
    assert cvae_color.probes(circle, circle, few._replace(x_test=data.x_test[:, :1]))[1] is None
    assert cvae_color.probes(np.eye(5)[data.y_test], np.eye(5)[data.y_test], few)[0] == 1


@pytest.mark.parametrize("size, channels, classes", [(28, 1, 2), (32, 3, 10), (64, 3, 3)])
def test_nets_at_all_sizes(size, channels, classes):
    for condition in ("one_hot", "embedding"):
        _, net = model(condition, classes, channels, size=size)
        x = torch.rand(2, channels, size, size)
        logits, mu, logvar = net(x, torch.eye(classes)[:2])
        assert logits.shape == x.shape and mu.shape == logvar.shape == (2, 18)


def test_a_category_without_training_images_gets_codes_from_the_prior():
    z = cvae_color.sample_mixture(cvae_color.Config(), torch.zeros(1, 18), torch.zeros(1, 18), 7)
    assert z.shape == (7, 18) and 0.5 < z.std() < 1.5


def test_training_lowers_the_objective_and_repeats_itself(doodles):
    cfg, net = model("embedding", data=str(doodles), quick=True, epochs=12)
    data = color.load(cfg)
    history = cvae_color.train(cfg, net, data, CPU)
    assert history[-1]["val_objective"] < 0.9 * history[0]["val_objective"]
    assert all(r["train_objective"] == pytest.approx(r["train_reconstruction"] + r["train_kl"]) for r in history)
    assert net.condition.weight.grad.abs().sum() > 0
    again = cvae_color.evaluate(cfg, net, data.x_test, data.y_test, CPU)
    assert cvae_color.evaluate(cfg, net, data.x_test, data.y_test, CPU)["kl"] == again["kl"]


# ---- the file ----

def test_the_file_keeps_the_conventions():
    text = FILE.read_text()
    lines, docstring = text.splitlines(), ast.get_docstring(ast.parse(text))
    prose = len(docstring.splitlines()) + sum("#" in line or '"""' in line for line in lines)
    assert 230 <= len(lines) <= 350 and max(map(len, lines)) <= 140 and prose / len(lines) > 0.3
    body = text[text.index(docstring[-40:]):]
    for number in set(re.findall(r"^    \((\d+)\)  ", docstring, re.MULTILINE)):
        assert re.search(rf"# .*\({number}\)|[Ee]quation \({number}\)", body), f"equation ({number}) stands at no line"


def test_parameters_are_as_many_as_the_docstring_says():
    docstring = ast.get_docstring(ast.parse(FILE.read_text()))
    for kind in ("one_hot", "embedding"):
        net = cvae_color.CVAE(cvae_color.Config(condition=kind), 3, 5)
        assert f"{sum(p.numel() for p in net.parameters()):,}" in docstring


@pytest.mark.parametrize("grey, size", [(True, 28), (False, 32), (False, 64)])
def test_shape_comments(grey, size, doodles, tmp_path, monkeypatch):
    module = importlib.reload(cvae_color)
    judge = SimpleNamespace(fid=lambda x: 1.0, as_asked=lambda x, y: (1.0, 1.0), look=lambda x: (np.zeros((len(x), 5)), None))
    monkeypatch.setattr(module, "Judge", lambda *args: judge)
    cfg = common.parse(module.Config, ["--quick", "--data", str(doodles), "--out", str(tmp_path), "--width", "8", "--size", str(size),
                                       "--epochs", "1", *["--grey"] * grey])
    with shapes.Checker(module, {"H": size, "C": 1 if grey else 3, "M": 8, "L": cfg.latent_dim, "K": 5}) as checker:
        module.main(cfg)
    importlib.reload(module)
    assert not checker.errors, "\n".join(sorted(set(checker.errors))[:20])
    assert not checker.missed, f"shape comments at lines {checker.missed} were never run"
    assert len(checker.done) >= 10


# ---- runs ----

def test_a_run_in_colour(judged, doodles):
    done = subprocess.run([sys.executable, "-m", "more.cvae_color", "--quick", "--width", "4", "--data", doodles, "--out", judged],
                          cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    folder = judged / "cvae_color"
    record = json.loads((folder / "metrics.json").read_text())
    assert record["quick"] and record["data"]["source"] == "doodles" and set(record["kinds"]) == {"one_hot", "embedding"}
    best = min(record["kinds"], key=lambda kind: record["kinds"][kind]["val_objective"])
    assert record["kept"] == best and record["test_elbo"] == record["kinds"][best]["test_elbo"]
    assert record["parameters"] == record["kinds"][best]["parameters"]
    assert record["test_elbo"] == pytest.approx(-record["test_reconstruction"] - record["test_kl"])
    for kind in record["kinds"].values():
        assert len(kind["conditions"]) == 13 and min(kind["fid"], kind["mixture_fid"]) > 0 and -1 < kind["linear_probe_hue"] <= 1
    for name in ("samples", "samples_mixture"):
        assert np.load(folder / f"{name}.npy").shape == (100, 28, 28, 3) and np.load(folder / f"{name}.npy").dtype == np.uint8
        np.testing.assert_array_equal(np.load(folder / f"{name}_labels.npy"), np.repeat(np.arange(5), 20))
    assert {path.stem for path in folder.glob("*.png")} == PICTURES and (folder / "weights.pt").exists()
    history = json.loads((folder / "history.json").read_text())
    assert [r["epoch"] for r in history] == [1, 2] and history[-1]["val_objective"] == record["val_objective"]


def test_a_grey_run_of_one_kind(judged, doodles):
    cfg = common.parse(cvae_color.Config, ["--quick", "--grey", "--condition", "one_hot", "--width", "4", "--data", str(doodles),
                                           "--out", str(judged)])
    cvae_color.main(cfg)
    record = json.loads((judged / "cvae_color_grey" / "metrics.json").read_text())
    assert record["kept"] == "one_hot" and record["linear_probe_hue"] is None
    assert np.load(judged / "cvae_color_grey" / "samples.npy").shape == (100, 28, 28)
    assert {path.stem for path in (judged / "cvae_color_grey").glob("*.png")} == PICTURES


def some_colours(folder, classes, n=120):
    rng = np.random.default_rng(0)
    folder.mkdir()
    for name in ("train", "test"):
        np.save(folder / f"{name}_images.npy", rng.integers(0, 256, (n, 32, 32, 3), np.uint8))
        np.save(folder / f"{name}_labels.npy", np.arange(n) % classes)
    (folder / "source.json").write_text(json.dumps({"source": "course", "classes": [f"kind {k}" for k in range(classes)]}))
    return folder


def test_other_images_other_size_other_categories(judged, tmp_path):
    cfg = cvae_color.Config(data=str(some_colours(tmp_path / "set", 3)), out=str(judged / "other"), size=32, quick=True, epochs=1, width=4)
    cvae_color.main(cfg)
    record = json.loads((judged / "other" / "cvae_color" / "metrics.json").read_text())
    assert len(record["kinds"]["embedding"]["conditions"]["zero"]["taken_for"]) == 3
    assert np.load(judged / "other" / "cvae_color" / "samples.npy").shape == (60, 32, 32, 3)


def test_one_category_is_refused(judged, tmp_path):
    with pytest.raises(common.InputError, match="one category"):
        cvae_color.main(cvae_color.Config(data=str(some_colours(tmp_path / "set", 1)), out=str(tmp_path / "out"), size=32, quick=True))
    assert not (tmp_path / "out").exists()


def test_without_a_judge_it_says_how_to_make_one(doodles, tmp_path):
    with pytest.raises(common.InputError, match=r"python -m more\.color"):
        cvae_color.main(cvae_color.Config(data=str(doodles), out=str(tmp_path), quick=True))
    assert not list(tmp_path.iterdir())


def test_a_sweep_records_every_setting(judged, doodles, monkeypatch):
    for name, changes in cvae_color.SWEEP.items():
        assert replace(cvae_color.Config(), **changes).condition in ("one_hot", "embedding"), name
    monkeypatch.setattr(cvae_color, "SWEEP", {name: cvae_color.SWEEP[name] for name in ("8 latents", "embedding, E = 4")})
    cvae_color.main(common.parse(cvae_color.Config, ["--quick", "--sweep", "--width", "4", "--epochs", "1", "--data", str(doodles),
                                                     "--out", str(judged)]))
    record = json.loads((judged / "cvae_color" / "sweep.json").read_text())
    assert set(record["rows"]) == {"8 latents", "embedding, E = 4"}
    assert all({"val_objective", "fid", "mixture_fid", "accuracy", "diversity"} <= set(row) for row in record["rows"].values())
    assert "| 8 latents |" in (judged / "cvae_color" / "sweep.md").read_text() and (judged / "cvae_color" / "sweep.png").exists()
