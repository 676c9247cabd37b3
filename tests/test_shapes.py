"""Every shape comment of every file is run and compared; and the comparison itself is tested on a wrong one."""

import importlib
import sys

import numpy as np
import pytest
import shapes
from conftest import SCRIPTS

import common


def configured(module, doodles, out, *flags):
    return common.parse(module.Config, ["--quick", "--data", str(doodles), "--out", str(out), *flags])


@pytest.mark.parametrize("name", SCRIPTS + ("more.mlp_numpy", "more.embed_numpy", "more.dense_ae", "more.selu_conv_ae"))
def test_shape_comments(name, doodles, request, tmp_path):
    module = importlib.reload(importlib.import_module(name))  # reload: hooks of an earlier test are gone
    out = tmp_path
    if name in ("cvae", "metrics"):
        (out / "classifier").symlink_to(request.getfixturevalue("quick")[1] / "classifier")
    cfg = configured(module, doodles, out)
    other = {"rnn_ae": ("--summary", "last"), "conv_vae": ("--likelihood", "sigma"), "rnn_vae": ("--likelihood", "unit")}.get(name)
    names = {"L": getattr(cfg, "latent_dim", None), "K": 5, "T": 28, "F": 64, "D": 784, "E": getattr(cfg, "embed_dim", None)}
    with shapes.Checker(module, {k: v for k, v in names.items() if v}) as checker:
        module.main(cfg)
        if other:  # branches that the defaults leave out
            module.main(configured(module, doodles, out, *other))
    importlib.reload(module)
    assert not checker.errors, "\n".join(sorted(set(checker.errors))[:20])
    assert not checker.missed, f"{name}.py: shape comments at lines {checker.missed} were never run"
    assert len(checker.done) >= 3


@pytest.mark.parametrize("name, flags", [("text_rnn", ("--hidden", "6", "--embedding", "5")),
                                         ("text_cnn", ("--filters", "6", "--embedding", "5"))])
def test_shape_comments_of_the_text_classifiers(name, flags, tmp_path):
    module = importlib.reload(importlib.import_module(f"more.{name}"))
    cfg = common.parse(module.Config, ["--quick", "--out", str(tmp_path), "--epochs", "1", *flags])
    with shapes.Checker(module, {"D": 5} | ({"H": 6} if name == "text_rnn" else {})) as checker:
        module.main(cfg)
        if name == "text_rnn":  # the cells by hand, which training leaves out
            import torch
            for cell in ("rnn", "lstm", "gru"):
                model = module.TextRNN(module.replace(cfg, cell=cell, layers=2), 9)
                module.unroll(model.rnn, model.table(torch.randint(2, 9, (4, 7))), torch.tensor([7, 2, 5, 1]))
    importlib.reload(module)
    assert not checker.errors, "\n".join(sorted(set(checker.errors))[:20])
    assert not checker.missed, f"{name}.py: shape comments at lines {checker.missed} were never run"


def test_the_checker_finds_wrong_comments(tmp_path, monkeypatch):
    (tmp_path / "wrong_shapes.py").write_text(
        "import torch\nfrom torch import nn\n\n\nclass Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.layers = nn.Sequential(  # (B, 3)\n            nn.Linear(3, 4),  # (B, 5)\n            nn.Linear(4, 2))  # (B, 2)\n\n"
        "    def forward(self, x):\n        h = self.layers(x)  # (B, 2)\n        g = h.T  # (B, 2)\n        return g  # (2, B)\n\n\n"
        "def unused():\n    x = torch.zeros(2)  # (2,)\n    return x\n")
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("wrong_shapes")
    with shapes.Checker(module, {}) as checker:
        module.Net()(module.torch.zeros(7, 3))
    sys.modules.pop("wrong_shapes")
    lines = sorted(int(e.split(":")[1]) for e in checker.errors)
    assert lines == [9, 14]
    assert checker.missed == [19]


@pytest.mark.parametrize("name", ["ddpm", "cddpm", "gan", "cgan"])
@pytest.mark.parametrize("grey, size", [(True, 28), (False, 32), (False, 64)])
def test_shape_comments_hold_at_other_sizes_and_in_colour(name, grey, size, doodles, tmp_path, monkeypatch):
    """Without a judge: what it says of samples is no matter here."""
    from types import SimpleNamespace

    module = importlib.reload(importlib.import_module(f"more.{name}"))
    judge = SimpleNamespace(fid=lambda x: 1.0, diversity=lambda x: 1.0, as_asked=lambda x, y: (1.0, 1.0),
                            look=lambda x: (np.zeros((len(x), 5)), None), compare=lambda ways: {
                                "one": {"fid": 1.0, "seconds": float(len(next(iter(ways.values()))()))}})
    monkeypatch.setattr(module, "Judge", lambda *args: judge)
    few = ["--sample-steps", "3"] if "ddpm" in name else []  # and few images at the largest size: it takes long
    cfg = configured(module, doodles, tmp_path, "--width", "8", "--size", str(size), "--epochs", "1", *few, *["--grey"] * grey)
    data = module.color.load(cfg)
    if size == 64:
        data = data._replace(x_test=data.x_test[:50], y_test=data.y_test[:50], x_train=data.x_train[:128], y_train=data.y_train[:128])
    monkeypatch.setattr(module.color, "load", lambda cfg: data)
    names = {"H": size, "C": 1 if grey else 3, "M": 8, "K": 5, "L": getattr(cfg, "latent_dim", None), "E": 32}
    with shapes.Checker(module, {k: v for k, v in names.items() if v}) as checker:
        module.main(cfg)
    importlib.reload(module)
    assert not checker.errors, "\n".join(sorted(set(checker.errors))[:20])
    assert not checker.missed, f"{name}.py: shape comments at lines {checker.missed} were never run"
    assert len(checker.done) >= 10


@pytest.mark.parametrize("grey, size", [(True, 28), (False, 32), (False, 64)])
def test_shape_comments_of_inpainting(grey, size, doodles, tmp_path, monkeypatch):
    from types import SimpleNamespace

    import torch

    from more import color, ddpm

    module = importlib.reload(importlib.import_module("more.inpaint"))
    flags = "--size", str(size), "--inputs", "20", "--steps", "3", "--completions", "2", *["--grey"] * grey
    cfg = configured(module, doodles, tmp_path, *flags)
    data, channels = color.load(cfg), 1 if grey else 3
    settings = ddpm.Config(width=8, noise_steps=1000, size=size, grey=grey)
    net = ddpm.UNet(channels, 8, 0.0, ddpm.Chain("cosine", 1000, channels))
    monkeypatch.setattr(module, "Judge", lambda *args: SimpleNamespace(fid=lambda x: 1.0, look=lambda x: (np.zeros((len(x), 5)), None)))
    monkeypatch.setattr(module, "load_model", lambda *args: (settings, net.eval().requires_grad_(False)))
    with shapes.Checker(module, {"H": size, "C": channels, "completions": cfg.completions}) as checker:
        module.main(cfg)
        array = np.zeros((size, size), np.uint8)
        array[0] = 1
        common.save(tmp_path / "mask.npy", array)
        assert torch.equal(module.make_mask(str(tmp_path / "mask.npy"), size)[0, 0], torch.from_numpy(array).float())
    importlib.reload(module)
    assert not checker.errors, "\n".join(sorted(set(checker.errors))[:20])
    assert not checker.missed, f"inpaint.py: shape comments at lines {checker.missed} were never run"
    assert checker.done and len(data.x_test) == 200
