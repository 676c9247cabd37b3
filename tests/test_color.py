"""more/color, ddpm, cddpm, inpaint, gan, cgan and what they share: images, the chain of noise, the two players, quick runs."""

import gzip
import json
import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import blots
import matplotlib.image
import numpy as np
import pytest
import torch
from conftest import REAL, ROOT, run

import classifier
import common
from more import cddpm, cgan, checkpoint, color, ddpm, gan, inpaint, score

CPU = torch.device("cpu")
MNIST = REAL.parent / "mnist"


def module(name, *args, **kwargs):
    return subprocess.run([sys.executable, "-m", f"more.{name}", *map(str, args)], cwd=ROOT, capture_output=True, text=True, **kwargs)


def pictures(folder, n=6, categories=("moth", "butterfly"), size=(40, 30)):
    rng = np.random.default_rng(0)
    for name in categories:
        (folder / name).mkdir(parents=True)
        for i in range(n):
            matplotlib.image.imsave(folder / name / f"{i}.png", rng.random((*size, 3)))
    return folder


@pytest.fixture(scope="module")
def judged(doodles, quick, tmp_path_factory):
    """OUT with a judge for grey drawings and one for colour, of seconds."""
    out = tmp_path_factory.mktemp("judged")
    (out / "classifier").symlink_to(quick[1] / "classifier")
    for name in ("conv_vae", "cvae"):
        (out / name).symlink_to(quick[1] / name)
    done = module("color", "--quick", "--data", doodles, "--out", out)
    assert done.returncode == 0, done.stderr
    done = run(ROOT / "classifier.py", "--quick", "--data", out / "color", "--out", out / "color")
    assert done.returncode == 0, done.stderr
    return out


# ---- images ----

def test_painting_is_alpha_times_one_hue():
    alpha = np.array([[[[0.0, 0.5, 1.0]]], [[[0.0, 0.5, 1.0]]]], np.float32)
    x = color.paint(alpha, np.array([0.0, 2 / 3]))  # red and blue, saturation 0.8: the other channels have a fifth
    np.testing.assert_allclose(x[0, :, 0], [[0, 0.5, 1], [0, 0.1, 0.2], [0, 0.1, 0.2]], atol=1e-6)
    np.testing.assert_allclose(x[1, :, 0], [[0, 0.1, 0.2], [0, 0.1, 0.2], [0, 0.5, 1]], atol=1e-6)


def test_hue_is_uniform_and_independent_of_the_category(doodles):
    cfg = color.Settings(data=str(doodles))
    (x, y), _, source, classes = color.read(cfg)
    assert x.shape == (1000, 3, 28, 28) and classes == common.CLASSES and "painted" in source["name"] and "STAND-IN" in source["name"]
    hue = color.hues(len(x), "train")
    np.testing.assert_allclose(np.histogram(hue, 4, (0, 1))[0] / len(hue), 0.25, atol=0.05)
    assert all(abs(hue[y == k].mean() - 0.5) < 0.08 for k in range(5))
    grey = color.read(replace(cfg, grey=True))[0][0]
    np.testing.assert_allclose(x.max(axis=1), grey[:, 0], atol=1 / 255)  # HSV's value is 1: the brightest channel is the alpha
    hard = color.read(replace(cfg, threshold=0.5))[0][0]
    assert set(np.unique(hard.max(axis=1)).round(3)) == {0.0, 1.0}


def test_the_written_set_is_what_the_models_see(judged, doodles):
    seen = color.load(color.Settings(data=str(doodles), quick=True))
    written = common.load_data(common.Settings(data=str(judged / "color"), quick=True), color=True)
    np.testing.assert_array_equal(seen.x_train, written.x_train)
    np.testing.assert_array_equal(seen.y_test, written.y_test)
    assert seen.source["name"] == written.source["name"] and written.classes == common.CLASSES


def test_samples_of_the_core_are_painted(judged):
    grey, painted = (np.load(path) for path in (judged / "conv_vae" / "samples.npy", judged / "color" / "samples_conv_vae.npy"))
    assert painted.shape == (*grey.shape, 3) and np.abs(painted.max(axis=3).astype(int) - grey).max() <= 1
    assert (judged / "color" / "samples_cvae_mixture_labels.npy").exists() and (judged / "color" / "examples.png").exists()


@pytest.mark.parametrize("size", [28, 32, 64])
def test_resizing_keeps_the_mean(size, doodles):
    x = color.read(color.Settings(data=str(doodles), grey=True, size=size))[0][0]
    assert x.shape == (1000, 1, size, size) and 0 <= x.min() and x.max() <= 1
    assert x.mean() == pytest.approx(color.read(color.Settings(data=str(doodles), grey=True))[0][0].mean(), rel=0.03)


def test_a_folder_of_pictures(tmp_path, capsys):
    pictures(tmp_path / "set")
    (tmp_path / "set" / "moth" / "broken.png").write_bytes(b"no picture")
    (tmp_path / "set" / "moth" / "notes.txt").write_text("not looked at")
    cfg = color.Settings(data=str(tmp_path / "set"), out=str(tmp_path / "out"), size=32)
    data = color.load(cfg)
    said = capsys.readouterr().out
    assert "broken.png" in said and "1 of 13 pictures left out" in said
    assert data.classes == ("butterfly", "moth") and data.x_train.shape[1:] == (3, 32, 32) and len(data.y_test) == 2
    for path in (tmp_path / "set").glob("*/*.png"):  # a second time it is read from the cache
        stat = path.stat()
        path.write_bytes(b"x" * stat.st_size)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    np.testing.assert_array_equal(color.load(cfg).x_train, data.x_train)
    said = capsys.readouterr().out
    assert "broken.png" in said and "1 of 13 pictures left out" in said  # and says again what is missing
    assert color.load(replace(cfg, grey=True)).x_train.shape[1] == 1


def test_a_rare_category_is_tested_too(tmp_path):
    pictures(tmp_path / "set", 20)
    for path in list((tmp_path / "set" / "moth").iterdir())[2:]:
        path.unlink()
    data = color.load(color.Settings(data=str(tmp_path / "set"), out=str(tmp_path / "out")))
    np.testing.assert_array_equal(np.bincount(data.y_test), [4, 1])


@pytest.mark.parametrize("name", ["test", "val", "valid", "validation"])
def test_a_folder_with_train_and_test(name, tmp_path):
    pictures(tmp_path / "set" / "train", 5)
    with pytest.raises(common.InputError, match="train/ without test/"):
        color.load(color.Settings(data=str(tmp_path / "set"), out=str(tmp_path / "out")))
    pictures(tmp_path / "set" / name, 3)
    data = color.load(color.Settings(data=str(tmp_path / "set"), out=str(tmp_path / "out")))
    assert len(data.y_train) + len(data.y_val) == 10 and len(data.y_test) == 6 and "pictures of set" in data.source["name"]


def test_pictures_of_other_kinds_are_brought_to_rgb(tmp_path):
    matplotlib.image.imsave(tmp_path / "a.png", np.dstack([np.ones((9, 9, 3)), np.full((9, 9), 0.5)]))  # half transparent white
    np.testing.assert_allclose(color.read_picture(tmp_path / "a.png", 28), 128, atol=1)
    matplotlib.image.imsave(tmp_path / "b.jpg", np.dstack([np.ones((20, 50)), np.zeros((20, 50)), np.zeros((20, 50))]))
    red = color.read_picture(tmp_path / "b.jpg", 28)
    assert red.shape == (28, 28, 3) and red[..., 0].min() > 240 and red[..., 1:].max() < 15


@pytest.mark.parametrize("build, said", [
    (lambda folder: folder.mkdir(), "no pictures in subfolders"),
    (lambda folder: pictures(folder, 0), "no pictures in subfolders"),
    (lambda folder: [(pictures(folder, 0) / "moth" / f"{i}.png").write_bytes(b"x") for i in range(1)], "all of them broken")])
def test_folders_without_pictures_get_one_line(build, said, tmp_path):
    build(tmp_path / "set")
    done = module("color", "--data", tmp_path / "set", "--out", tmp_path / "out")
    assert done.returncode == 2 and said in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out" / "color" / "metrics.json").exists()


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()


def mnist(folder, n=30):
    rng = np.random.default_rng(0)
    folder.mkdir()
    for prefix in ("train", "t10k"):
        (folder / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(rng.integers(0, 256, (n, 28, 28), np.uint8))))
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(np.arange(n, dtype=np.uint8) % 10))
    return folder


def test_mnists_format_gzipped_and_not(tmp_path):
    folder = mnist(tmp_path / "m")
    data = color.load(color.Settings(data=str(folder), grey=True))
    assert data.x_train.shape == (27, 1, 28, 28) and data.classes == tuple("0123456789") and "MNIST" in common.describe(data.source)
    assert color.load(color.Settings(data=str(folder))).x_test.shape == (30, 3, 28, 28)


@pytest.mark.parametrize("change, said", [
    (lambda b: b[:-1], "bytes"), (lambda b: b + b"0", "bytes"), (lambda b: b"\0\0\x0d" + b[3:], "magic number 2051"),
    (lambda b: b[:7], "begins with"), (lambda b: b"", "begins with")])
def test_broken_idx_files_get_one_line(change, said, tmp_path):
    folder = mnist(tmp_path / "m")
    path = folder / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(change(gzip.decompress(path.read_bytes()))))
    with pytest.raises(common.InputError, match=said) as error:
        color.load(color.Settings(data=str(folder)))
    assert "train-images" in str(error.value) and "\n" not in str(error.value)


def test_a_truncated_gzip_gets_one_line(tmp_path):
    path = mnist(tmp_path / "m") / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(common.InputError, match="t10k-images"):
        color.load(color.Settings(data=str(tmp_path / "m")))


@pytest.mark.skipif(not MNIST.exists(), reason="no MNIST beside the project")
def test_the_real_mnist():
    data = color.load(color.Settings(data=str(MNIST), grey=True))
    assert data.x_train.shape[1:] == (1, 28, 28) and len(data.x_train) >= 1000 and 0.12 < data.x_train.mean() < 0.14


def test_a_size_that_no_net_fits_is_refused(doodles, tmp_path):
    done = module("ddpm", "--data", doodles, "--out", tmp_path / "o", "--size", 30)
    assert done.returncode == 2 and "--size: found 30, expected 28, 32 or 64" in done.stderr and not (tmp_path / "o").exists()


def test_judges_come_in_the_shape_of_their_images(judged, tmp_path):
    assert classifier.load_judges(judged / "color", CPU).cnn.shape == (3, 28, 28)
    judges = classifier.Judges(3, 64, 7)
    (tmp_path / "classifier").mkdir()
    common.save(tmp_path / "classifier" / "weights.pt", judges)
    loaded = classifier.load_judges(tmp_path, CPU)
    assert loaded.mlp.shape == (3, 64, 64) and classifier.predict(loaded.cnn, np.zeros((2, 3, 64, 64), np.float32), CPU)[0].shape == (2, 7)
    with pytest.raises(ValueError, match=r"expected float32 \(N, 3, 64, 64\)"):
        classifier.predict(loaded.cnn, np.zeros((2, 3, 28, 28), np.float32), CPU)


@pytest.mark.parametrize("name", ["ddpm", "gan"])
@pytest.mark.parametrize("grey", [True, False])
def test_without_a_judge_of_its_kind_it_says_how_to_make_one(name, grey, doodles, tmp_path):
    done = module(name, "--quick", "--data", doodles, "--out", tmp_path, *["--grey"] * grey)
    assert done.returncode == 2 and ("make classifier" if grey else "python -m more.color") in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and not list(tmp_path.iterdir())


# ---- diffusion ----

@pytest.mark.parametrize("name", ["linear", "cosine"])
@pytest.mark.parametrize("steps", [100, 1000])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_closed_form_is_the_iterated_chain(name, steps, channels):
    """Mean and variance of x_t given x_0, one step of (1) after the other, are those of (2); a_T < 1e-3."""
    chain = ddpm.Chain(name, steps, channels)
    mean, variance = 1.0, 0.0
    for t in range(1, steps + 1):
        beta = chain.beta[t].item()
        mean, variance = math.sqrt(1 - beta) * mean, (1 - beta) * variance + beta
        assert mean == pytest.approx(math.sqrt(chain.a[t].item()), rel=1e-6, abs=1e-12)
        assert variance == pytest.approx(1 - chain.a[t].item(), rel=1e-9)
    assert chain.a[-1] < 1e-3 and chain.a[0] == 1 and (chain.a.diff() < 0).all() and chain.a.dtype == torch.float64


@pytest.mark.parametrize("kind", [ddpm.Chain, cddpm.Chain])
def test_the_schedules_are_equation_9(kind):
    """Of one channel the formulas themselves; of three a third of their signal-to-noise ratio, at every step."""
    t = np.arange(1001) / 1000
    cosine = np.cos((t + 0.008) / 1.008 * np.pi / 2) ** 2
    expected = {"cosine": cosine / cosine[0], "linear": np.cumprod(1 - np.linspace(0.1, 20, 1000) / 1000)}
    for name, a in expected.items():
        np.testing.assert_allclose(kind(name, 1000).a.numpy()[-len(a):][:-1], a[:-1], rtol=1e-9)  # the cosine's last beta is clipped
        one, three = (kind(name, 1000, channels).a[1:] for channels in (1, 3))
        torch.testing.assert_close(three / (1 - three), one / (1 - one) / 3, rtol=1e-9, atol=0)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_net_is_told_the_mean_colour(channels):
    """Behind the 64 numbers for t: 8 times the mean of each channel, which GroupNorm would take from the blocks."""
    net, seen = ddpm.UNet(channels, 8, 0.0, ddpm.Chain("cosine", 1000, channels)), []
    net.code[0].register_forward_hook(lambda layer, given, out: seen.append(given[0]))
    x = torch.randn(2, channels, 28, 28)
    net(x, torch.tensor([1, 1000]))
    torch.testing.assert_close(seen[0][:, 64:], 8 * x.mean(dim=(2, 3)))


def test_noise_is_equation_2():
    chain, rng = ddpm.Chain("cosine", 1000), torch.Generator().manual_seed(0)
    x0 = torch.full((20000, 1, 1, 1), 0.7)
    x = chain.noise(x0, torch.full((20000,), 400), torch.randn(x0.shape, generator=rng))
    a = chain.a[400].item()
    assert x.mean().item() == pytest.approx(math.sqrt(a) * 0.7, abs=0.02) and x.var().item() == pytest.approx(1 - a, rel=0.03)


def test_a_chain_that_leaves_too_much_of_the_image_is_refused():
    with pytest.raises(common.InputError, match="1e-3"):
        ddpm.Chain("linear", 1)


@pytest.mark.parametrize("t", [1, 2, 500, 1000])
def test_the_posterior_is_bayes(t):
    """q(x_{t-1} | x_t, x_0) on a grid: proportional to q(x_t | x_{t-1}) q(x_{t-1} | x_0)."""
    chain, x0, x = ddpm.Chain("linear", 1000), 0.3, -0.4
    m, v = chain.posterior(torch.tensor(x0, dtype=torch.float64), torch.tensor(x, dtype=torch.float64), t)
    a, beta = chain.a[t - 1].item(), chain.beta[t].item()
    if t == 1:
        assert m.item() == pytest.approx(x0) and v == 0  # the drawing itself
        return
    around = torch.linspace(-8, 8, 4001, dtype=torch.float64) * math.sqrt(v) + m
    log = torch.distributions.Normal(math.sqrt(1 - beta) * around, math.sqrt(beta)).log_prob(torch.tensor(x, dtype=torch.float64))
    log += torch.distributions.Normal(math.sqrt(a) * x0, math.sqrt(1 - a)).log_prob(around)
    p = (log - log.max()).exp()
    p /= p.sum()
    mean = (p * around).sum()
    assert mean.item() == pytest.approx(m.item(), abs=1e-6) and (p * (around - mean) ** 2).sum().item() == pytest.approx(v, rel=1e-4)


def test_the_loss_weighs_noise_or_velocity_as_the_docstring_says():
    """With w_t = 1 / a_t (3) is |u - f|^2 for u = sqrt(a_t) eps - sqrt(1 - a_t) x_0; with w_t = 1 it is |eps - e|^2. At T x0_hat is -f."""
    chain, rng = ddpm.Chain("cosine", 1000), torch.Generator().manual_seed(0)
    net = ddpm.UNet(1, 8, 0.0, chain)
    torch.nn.init.normal_(net.last.weight, std=0.1, generator=rng)
    x0, eps = torch.randn(2, 6, 1, 28, 28, generator=rng)
    t = torch.tensor([1, 10, 300, 600, 900, 999])
    a = chain.a[t].float()[:, None, None, None]
    x = chain.noise(x0, t, eps)
    with torch.no_grad():
        e = net(x, t)
        f = (e - (1 - a).sqrt() * x) / a.sqrt()
        velocity = a.sqrt() * eps - (1 - a).sqrt() * x0
        assert ddpm.diffusion_loss(net, chain, x0, t, eps).item() == pytest.approx(((velocity - f) ** 2).mean().item(), rel=1e-3)
        assert ddpm.diffusion_loss(net, chain, x0, t, eps, "noise").item() == pytest.approx(((eps - e) ** 2).mean().item(), rel=1e-5)
        net.last.weight.zero_()  # f = -0.3 everywhere: the drawing that the net sees in noise is 0.3, whatever the noise
        net.last.bias.fill_(-0.3)
        _, guess = ddpm.predict(ddpm.Config(precision="float32"), net, chain, eps, 1000, CPU)
    torch.testing.assert_close(guess, torch.full_like(guess, 0.3), atol=5e-3, rtol=0)


class Oracle(torch.nn.Module):
    """The best e for data x_0 ~ N(0.2, 0.1^2): E[eps | x_t], in closed form."""

    def __init__(self, chain):
        super().__init__()
        self.chain = chain

    def forward(self, x, t):
        a = self.chain.a[t][:, None, None, None]
        return ((1 - a).sqrt() * (x - a.sqrt() * 0.2) / (a * 0.01 + 1 - a)).float()


def oracle(steps=200):
    cfg = ddpm.Config(schedule="linear", noise_steps=steps, precision="float32")
    chain = ddpm.Chain(cfg.schedule, steps)
    return cfg, chain, Oracle(chain)


@pytest.mark.parametrize("way", ["ancestral", "ddim, eta 1", "ddim"])
def test_samplers_draw_the_data_that_the_net_knows(way):
    """With the best possible net for Gaussian data, all samplers end at the data's mean and deviation."""
    cfg, chain, net = oracle(1000)  # of few steps the variance comes out too small: (5)'s is that for a known x_0
    x, rng = torch.randn(3000, 1, 2, 2, generator=torch.Generator().manual_seed(0)), torch.Generator().manual_seed(1)
    if way == "ancestral":
        x = ddpm.sample_ancestral(cfg, net, chain, x, rng, CPU)
    else:
        x = ddpm.sample_ddim(cfg, net, chain, x, rng, CPU, 1000, eta=1.0 if "1" in way else 0.0)
    assert x.mean().item() == pytest.approx(0.2, abs=0.01) and x.std().item() == pytest.approx(0.1, rel=0.08)


def test_ddim_with_eta_1_and_all_steps_is_ancestral_sampling():
    """Not only in distribution: with the same random numbers the same images."""
    cfg, chain, net = oracle(50)
    x = torch.randn(5, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    first = ddpm.sample_ancestral(cfg, net, chain, x, torch.Generator().manual_seed(1), CPU)
    second = ddpm.sample_ddim(cfg, net, chain, x, torch.Generator().manual_seed(1), CPU, 50, eta=1.0)
    torch.testing.assert_close(first, second, atol=1e-4, rtol=1e-3)


class Knows(torch.nn.Module):
    """e where every image is x_0 = 0.3, so that x0_hat is right at every step; keeps what it was asked."""

    def __init__(self, chain):
        super().__init__()
        self.chain, self.asked = chain, []

    def forward(self, x, t):
        self.asked.append((t[0].item(), x))
        a = self.chain.a[t][:, None, None, None]
        return ((x - a.sqrt() * 0.3) / (1 - a).sqrt()).float()


def is_equation_2(chain, t, x):
    a = chain.a[t].item()
    return x.mean().item() == pytest.approx(math.sqrt(a) * 0.3, abs=0.03) and x.std().item() == pytest.approx(math.sqrt(1 - a), rel=0.05)


@pytest.mark.parametrize("eta, fresh", [(0.0, 1.0), (1.0, 1.0), (1.5, 0.5), (4.0, 1.0)])
def test_new_noise_up_to_all_of_it_leaves_equation_2(eta, fresh):
    """With the right x_0 x_s is distributed as (2), whatever v; sqrt(1 - v / (1 - a_s)) of its noise is that of x_t."""
    cfg, chain, _ = oracle(1000)
    net, x = Knows(chain), torch.randn(6000, 1, 1, 1, generator=torch.Generator().manual_seed(0))
    ddpm.sample_ddim(cfg, net, chain, x, torch.Generator().manual_seed(1), CPU, 20, eta, fresh)
    assert len(net.asked) == 20
    for (t, x), (s, after) in pairwise(net.asked):
        a, a_s = chain.a[t].item(), chain.a[s].item()
        v = 1 - a_s if a_s >= fresh else min(1 - a_s, eta ** 2 * (1 - a_s) / (1 - a) * (1 - a / a_s))
        assert is_equation_2(chain, s, after)
        assert torch.corrcoef(torch.stack([x.flatten(), after.flatten()]))[0, 1].item() == pytest.approx(
            math.sqrt(1 - v / (1 - a_s)), abs=0.05)


def test_guidance_goes_on_from_the_early_net_through_the_late_one(monkeypatch):
    """Equation (10): e' = 1, e = 2 and g = 1.5 make 2.5; g = 1 does not ask the early net."""
    monkeypatch.setattr(ddpm, "sample_ddim", lambda cfg, net, chain, x, *rest: net(x, None) / 10)

    def late(x, t):
        return torch.full_like(x, 2.0)

    for g, expected in ((1.5, 0.25), (3.0, 0.4)):
        drawn = ddpm.draw(ddpm.Config(guidance=g), late, lambda x, t: torch.ones_like(x), 3, (1, 28, 28), CPU)
        assert drawn.shape == (3, 28, 28) and (drawn == round(255 * (expected + 1) / 2)).all()
    assert (ddpm.draw(ddpm.Config(guidance=1.0), late, None, 3, (1, 28, 28), CPU) == round(255 * 0.6)).all()


def test_resampling_goes_back_to_equation_2(monkeypatch):
    """(2) of inpaint.py: r passes at each t but the last, and what comes back from s to t has the noise of t."""
    settings, chain, _ = oracle(1000)
    net, x = Knows(chain), torch.full((6000, 1, 1, 2), 0.65)  # 0.3 in [-1, 1]; one of two pixels is known
    cfg = inpaint.Config(steps=10, resample=3, precision="float32")
    inpaint.complete(cfg, settings, net, x, torch.tensor([[[[1.0, 0.0]]]]), "resampling", torch.Generator().manual_seed(0), CPU)
    times = [t for t, _ in net.asked]
    assert times == sorted(times, reverse=True) and len(times) == 3 * 9 + 1 and times[-2] > times[-1]
    assert all(is_equation_2(chain, t, x[..., 1]) for t, x in net.asked) and all(is_equation_2(chain, t, x[..., 0]) for t, x in net.asked)


def test_the_last_step_has_no_noise_and_eta_0_has_none_at_all():
    cfg, chain, net = oracle(50)
    x = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    calls = []
    original = torch.randn
    for way, expected in ((lambda: ddpm.sample_ancestral(cfg, net, chain, x, None, CPU), 49),
                          (lambda: ddpm.sample_ddim(cfg, net, chain, x, None, CPU, 10, eta=1.0), 9),
                          (lambda: ddpm.sample_ddim(cfg, net, chain, x, None, CPU, 10), 0)):
        calls.clear()
        try:
            torch.randn = lambda *args, **kwargs: calls.append(1) or original(*args, **kwargs)
            way()
        finally:
            torch.randn = original
        assert len(calls) == expected
    assert torch.equal(*(ddpm.sample_ddim(cfg, net, chain, x, torch.Generator().manual_seed(s), CPU, 10) for s in (1, 2)))


def test_the_bound_of_a_perfect_net_is_near_the_entropy():
    """Data N(0.2, 0.1^2), in 256 bins of width 2/255: entropy ln(0.1 sqrt(2 pi e) / (2 / 255)) / ln 2 bits; the bound lies above."""
    cfg, _, net = oracle(1000)
    rng = np.random.default_rng(0)
    x = np.round((0.2 + 0.1 * rng.standard_normal((60, 1, 28, 28)) + 1) / 2 * 255).clip(0, 255).astype(np.float32) / 255
    entropy = math.log2(0.1 * math.sqrt(2 * math.pi * math.e) / (2 / 255))
    found = ddpm.bound(replace(cfg, noise_steps=1000), net, x, CPU, per_image=500)
    assert entropy - 0.02 < found < entropy + 0.5
    assert ddpm.bound(replace(cfg, noise_steps=1000), lambda x, t: 0.5 * net(x, t), x, CPU, per_image=500) > found + 0.5


@pytest.mark.parametrize("size, channels", [(28, 1), (32, 3), (64, 3)])
def test_nets_at_all_sizes(size, channels):
    net = ddpm.UNet(channels, 8, 0.0, ddpm.Chain("cosine", 1000))
    x = torch.randn(2, channels, size, size)
    assert net(x, torch.tensor([1, 1000])).shape == x.shape
    cfg = gan.Config(size=size, width=4)
    g, d = gan.Generator(cfg, channels), gan.Discriminator(cfg, channels)
    drawn = g(torch.randn(2, cfg.latent_dim))
    assert drawn.shape == (2, channels, size, size) and d(drawn).shape == (2,)
    y = torch.eye(7)[:2]
    assert cddpm.UNet(channels, 7, 8, 0.0, cddpm.Chain("cosine", 1000))(x, torch.tensor([1, 1000]), y).shape == x.shape
    cfg = cgan.Config(size=size, width=4)
    drawn = cgan.Generator(cfg, channels, 7)(torch.randn(2, cfg.latent_dim), y)
    assert drawn.shape == (2, channels, size, size) and cgan.Discriminator(cfg, channels, 7)(drawn, y).shape == (2,)


# ---- the two players ----

def small_players(**settings):
    cfg = gan.Config(width=4, **settings)
    torch.manual_seed(0)
    return cfg, gan.Generator(cfg, 1), gan.Discriminator(cfg, 1)


def test_spectral_norm_is_at_most_one():
    cfg, _, d = small_players(spectral="on")
    d.train()
    optimizer = torch.optim.Adam(d.parameters(), lr=1e-3)
    for update in range(1500):  # in training one step an update will do, since W changes little; here it starts at random
        logits = d(torch.rand(2, 1, 28, 28))
        if update < 50:
            optimizer.zero_grad()
            gan.discriminator_loss(logits[:1], logits[1:]).backward()
            optimizer.step()
    layers = [layer for layer in d.layers if hasattr(layer, "parametrizations")]
    assert len(layers) == 5
    for layer in layers:
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), ord=2).item() == pytest.approx(1, abs=1e-3)
    assert not any(hasattr(layer, "parametrizations") for layer in gan.Discriminator(replace(cfg, spectral="off"), 1).layers)


def test_losses_against_their_definitions_and_gradients_against_the_docstring():
    d = torch.tensor([-4.595, 0.0, 2.0], requires_grad=True)  # D = 0.01, 0.5, 0.88
    big = torch.sigmoid(d).detach()
    for kind, value, gradient in (("minimax", torch.log(1 - big).mean(), -big), ("non_saturating", -torch.log(big).mean(), big - 1)):
        loss = gan.generator_loss(d, kind)
        assert loss.item() == pytest.approx(value.item(), abs=1e-5)
        torch.testing.assert_close(torch.autograd.grad(loss, d)[0] * 3, gradient, atol=1e-5, rtol=1e-4)
    real, drawn = torch.tensor([2.0, 0.5]), torch.tensor([-1.0, 0.3])
    v = torch.sigmoid(real).log().mean() + (1 - torch.sigmoid(drawn)).log().mean()
    assert gan.discriminator_loss(real, drawn).item() == pytest.approx(-v.item(), abs=1e-6)
    assert gan.discriminator_loss(torch.zeros(3), torch.zeros(3)).item() == pytest.approx(math.log(4))


def test_r1_is_the_squared_gradient_by_the_image():
    """Of d(x) = (a . x)^2 / 2 it is E (a . x)^2 |a|^2; what it teaches reaches the weights, not the image that was handed in."""
    rng = torch.Generator().manual_seed(0)
    a = torch.randn(1, 1, 4, 4, generator=rng).requires_grad_(True)
    x = torch.randn(9, 1, 4, 4, generator=rng)
    expected = ((a * x).sum(dim=(1, 2, 3)) ** 2 * (a ** 2).sum()).mean()
    found = gan.steepness(lambda x: (a * x).sum(dim=(1, 2, 3)) ** 2 / 2, x)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5) and not x.requires_grad
    torch.testing.assert_close(torch.autograd.grad(found, a)[0], torch.autograd.grad(expected, a)[0])
    assert cgan.steepness(lambda x, y: (a * x).sum(dim=(1, 2, 3)) ** 2 / 2, x, None).item() == found.item()


@pytest.mark.parametrize("player", [gan, cgan])
def test_gradients_reach_each_network_in_its_own_step_only(player, doodles, tmp_path, monkeypatch):
    """Each optimiser's step is watched: what its network has as gradients, and that the other's weights stay."""
    cfg = player.Config(width=4, steps=2, batch_size=64, data=str(doodles), out=str(tmp_path), grey=True)
    data, seen, nets = color.load(replace(cfg, quick=True)), [], {}
    for name in ("Generator", "Discriminator"):
        original = getattr(player, name)

        def build(*args, _original=original, _name=name):
            nets[_name] = _original(*args)
            return nets[_name]

        monkeypatch.setattr(player, name, build)
    step = torch.optim.Adam.step

    def watched(self, *args):
        before = {name: [p.detach().clone() for p in net.parameters()] for name, net in nets.items()}
        result = step(self, *args)
        moved = {name: any(not torch.equal(a, b) for a, b in zip(before[name], net.parameters())) for name, net in nets.items()}
        graded = {name: any(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters()) for name, net in nets.items()}
        seen.append((moved, graded, [None if p.grad is None else p.grad.clone() for p in nets["Discriminator"].parameters()]))
        return result

    monkeypatch.setattr(torch.optim.Adam, "step", watched)
    player.train(cfg, data, CPU, tmp_path)
    assert len(seen) >= 4
    assert seen[0][0] == {"Generator": False, "Discriminator": True} and not seen[0][1]["Generator"]  # D's step: nothing reached G
    assert seen[1][0] == {"Generator": True, "Discriminator": False}
    for a, b in zip(seen[0][2], seen[1][2]):  # G's step added nothing to D's gradients
        assert torch.equal(a, b)


def test_drawing_weights_are_equation_7(doodles, tmp_path):
    """After one update c is 1/11 or less; without the mean (c = 0) they are G's own."""
    cfg = gan.Config(width=4, steps=1, batch_size=540, data=str(doodles), out=str(tmp_path), grey=True, precision="float32")
    data = color.load(replace(cfg, quick=True))
    torch.manual_seed(cfg.seed)
    first = gan.Generator(cfg, 1)
    for ema, c in ((0.998, 1 / 11), (0.05, 0.05), (1e-9, 0.0)):
        mean, g, _, _ = gan.train(replace(cfg, ema=ema), data, CPU, tmp_path)
        for old, new, average in zip(first.parameters(), g.parameters(), mean.parameters()):
            torch.testing.assert_close(average, c * old + (1 - c) * new, atol=1e-6, rtol=1e-5)


def test_r1_is_added_every_so_many_updates_and_so_many_times_as_strong(doodles, tmp_path, monkeypatch):
    """D's loss is made flat, and the penalty the sum of its first weights: their gradient is then the factor."""
    cfg = gan.Config(width=4, steps=5, batch_size=108, r1=0.5, r1_every=3, data=str(doodles), out=str(tmp_path), grey=True)
    data, factors, step = color.load(replace(cfg, quick=True)), [], torch.optim.Adam.step
    monkeypatch.setattr(gan, "steepness", lambda d, real: next(d.parameters()).sum())
    monkeypatch.setattr(gan, "discriminator_loss", lambda real, drawn, smooth=0.0: 0 * (real.sum() + drawn.sum()))

    def watched(self):
        weight = self.param_groups[0]["params"][0]
        factors.append(weight.grad.mean().item() if weight.shape[1:] == (1, 4, 4) else None)  # D's first layer
        return step(self)

    monkeypatch.setattr(torch.optim.Adam, "step", watched)
    gan.train(cfg, data, CPU, tmp_path)
    assert [f for f in factors if f is not None] == pytest.approx([0.75, 0, 0, 0.75, 0])


@pytest.mark.parametrize("player", [gan, cgan])
def test_losses_on_unseen_images(player, doodles, tmp_path):
    """History and metrics have both losses on images that train neither, and looking changes no weight."""
    cfg = player.Config(width=4, steps=2, batch_size=64, data=str(doodles), out=str(tmp_path), grey=True)
    data = color.load(replace(cfg, quick=True))
    *nets, d, history = player.train(cfg, data, CPU, tmp_path)
    labels = [cgan.one_hot(data.y_val, data)] if player is cgan else []
    with torch.no_grad():
        first, second = (player.on_unseen(cfg, nets[-1], d, data.x_val, *labels, CPU, "validation") for _ in range(2))
    assert first == second and all(math.isfinite(value) for value in first.values()) and set(first) <= set(history[-1])
    assert 0 < first["d_validation"] < 1


def test_translation_moves_every_image_by_itself_and_passes_gradients():
    x = torch.zeros(200, 1, 28, 28, requires_grad=True)
    with torch.no_grad():
        x[:, 0, 14, 14] = 1
    moved = gan.translate(x, 3, torch.Generator().manual_seed(0))
    places = {tuple(image[0].nonzero()[0].tolist()) for image in moved.detach()}
    assert {r for r, _ in places} == {c for _, c in places} == set(range(11, 18))
    moved.sum().backward()
    assert (x.grad[:, 0, 14, 14] == 1).all() and torch.equal(gan.translate(x, 0, None), x)


def test_cgans_discriminator_is_a_projection():
    """Equation (4): the logit differs between conditions by w_y . phi(x), linear in y, and not at all with --project 0."""
    x, y = torch.rand(3, 1, 28, 28), torch.eye(5)
    for project in (1.0, 0.0):
        torch.manual_seed(0)
        d = cgan.Discriminator(cgan.Config(width=4, project=project), 1, 5).eval()
        said = torch.stack([d(x, y[k].repeat(3, 1)) for k in range(5)])  # (K, B)
        none = d(x, torch.zeros(3, 5))
        torch.testing.assert_close(d(x, torch.full((3, 5), 0.2)), said.mean(dim=0))
        assert (said - none).abs().max().item() > 1e-3 if project else torch.equal(said, none.expand(5, 3))


def test_cgans_generator_draws_one_z_otherwise_for_another_category():
    torch.manual_seed(0)
    g, z = cgan.Generator(cgan.Config(width=4), 1, 5).eval(), torch.randn(1, 64)
    images = torch.stack([g(z, torch.eye(5)[k:k + 1]) for k in range(5)])
    assert (images[0] - images[1]).abs().max() > 1e-3


# ---- conditions and guidance ----

def conditional(withhold=0.1):
    torch.manual_seed(0)
    cfg = cddpm.Config(noise_steps=50, sample_steps=5, precision="float32", withhold=withhold)
    net = cddpm.UNet(1, 5, 8, 0.0, cddpm.Chain(cfg.schedule, cfg.noise_steps))
    for layer in (net.last, *(block.conv2 for block in net.modules() if isinstance(block, cddpm.ResBlock))):
        torch.nn.init.normal_(layer.weight, std=0.1)  # they start at 0: nothing would depend on anything
    return cfg, cddpm.Chain(cfg.schedule, cfg.noise_steps), net.eval().requires_grad_(False)


def test_guidance_is_a_line_through_told_and_untold():
    """Equation (3): g = 1 is the conditional net, g = 0 the unconditional one, and between and beyond it is linear."""
    cfg, chain, net = conditional()
    x, c, t = 0.1 * torch.randn(4, 1, 28, 28), torch.eye(5)[:4], 25
    a = chain.a[t].item()

    def noise(g):  # from x0_hat, before its clamp: x is small, so that it does not clamp
        _, x0 = cddpm.predict(cfg, net, chain, x, t, c, g, CPU)
        return (x - math.sqrt(a) * x0) / math.sqrt(1 - a)

    net.last.weight.mul_(1e-2)
    told, untold = net(x, torch.full((4,), t), c), net(x, torch.full((4,), t), torch.zeros(4, 5))
    assert (told - untold).abs().max() > 1e-6
    for g in (0.0, 1.0, 3.0):
        torch.testing.assert_close(noise(g), untold + g * (told - untold), atol=1e-5, rtol=1e-4)


def test_no_category_is_a_condition_of_zeros():
    net = conditional()[2]
    assert net.condition.bias is None and net.condition(torch.zeros(1, 5)).abs().max() == 0


# ---- inpainting ----

def painter():
    torch.manual_seed(0)
    settings = ddpm.Config(noise_steps=50, precision="float32")
    net = ddpm.UNet(1, 8, 0.0, ddpm.Chain(settings.schedule, settings.noise_steps))
    torch.nn.init.normal_(net.last.weight, std=0.05)
    return inpaint.Config(steps=5, resample=2), settings, net.eval().requires_grad_(False)


@pytest.mark.parametrize("way", ["replacement", "resampling", "guidance"])
@pytest.mark.parametrize("name", ["left", "frame"])
def test_inpainting_keeps_known_pixels_and_never_looks_at_the_others(way, name):
    cfg, settings, net = painter()
    mask, x = inpaint.make_mask(name, 28), torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    changed = x * mask + torch.rand(x.shape) * (1 - mask)
    first, second = (inpaint.complete(cfg, settings, net, known, mask, way, torch.Generator().manual_seed(1), CPU)
                     for known in (x, changed))
    assert torch.equal(first * mask, x * mask) and torch.equal(first, second) and not torch.equal(first, x)
    assert 0 <= first.min() and first.max() <= 1


def test_guidance_goes_towards_the_known_pixels(monkeypatch):
    """A larger z leaves the known half, before it is pasted over, nearer to what it should be."""
    cfg, settings, net = painter()
    mask, x, ends = inpaint.make_mask("left", 28), torch.zeros(8, 1, 28, 28), []
    original = torch.Tensor.clamp
    monkeypatch.setattr(torch.Tensor, "clamp", lambda self, *args, **kwargs: ends.append(self) or original(self, *args, **kwargs))
    errors = []
    for strength in (1e-6, 5.0):
        inpaint.complete(replace(cfg, strength=strength), settings, net, x, mask, "guidance", torch.Generator().manual_seed(1), CPU)
        errors.append(((ends[-1] + 1) * mask).abs().mean().item())  # the last clamp is that of the finished image
    assert errors[1] < 0.9 * errors[0]


def test_the_seam_is_measured_where_it_runs():
    mask, x = inpaint.make_mask("left", 28), torch.zeros(2, 1, 28, 28)
    x[..., 14:] = 0.5
    assert inpaint.across(x, mask) == pytest.approx(0.5)  # a step of 0.5 at every row of the seam
    x[..., 20:] = 1
    assert inpaint.across(x, mask) == pytest.approx(0.5)  # elsewhere it does not count
    frame = inpaint.make_mask("frame", 28)
    assert frame.sum() == 784 - 14 * 14 and inpaint.across(torch.ones(1, 1, 28, 28) * frame, frame) == pytest.approx(1)


@pytest.mark.parametrize("array, said", [(np.ones((28, 28), int), "both 0 and 1"), (np.zeros((14, 14), int), "(14, 14)"),
                                         (np.full((28, 28), 0.5), "float64"), (None, "no such file")])
def test_bad_masks_get_one_line(array, said, tmp_path):
    path = tmp_path / "mask.npy"
    if array is not None:
        np.save(path, array)
    with pytest.raises(common.InputError) as error:
        inpaint.make_mask(str(path), 28)
    assert said in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(common.InputError, match="--mask"):
        inpaint.make_mask("middle", 28)
    good = np.zeros((28, 28), bool)
    good[3:9] = True
    np.save(path, good)
    assert inpaint.make_mask(str(path), 28).sum() == 6 * 28


def test_without_a_diffusion_model_it_says_how_to_make_one(judged, doodles, tmp_path):
    (tmp_path / "classifier").symlink_to(judged / "classifier")
    done = module("inpaint", "--quick", "--grey", "--data", doodles, "--out", tmp_path)
    assert done.returncode == 2 and "make ddpm_grey" in done.stderr and len(done.stderr.strip().splitlines()) == 1


# ---- runs ----

@pytest.fixture(scope="module")
def drawn(judged, doodles):
    """All, once each with --quick, grey and in colour."""
    runs = {}
    for name in ("ddpm", "inpaint", "cddpm", "gan", "cgan"):
        for flags in ((), ("--grey",)) if name in ("ddpm", "gan") else ((),):
            small = ("--inputs", 20, "--completions", 2, "--steps", 3) if name == "inpaint" else ("--width", 8)
            small += ("--sample-steps", 3) if "ddpm" in name else ()
            done = module(name, "--quick", "--data", doodles, "--out", judged, *small, *flags)
            assert done.returncode == 0, done.stderr
            runs[name + "_grey" * bool(flags)] = done
    return judged, runs


@pytest.mark.parametrize("name", ["ddpm", "cddpm", "gan", "cgan", "ddpm_grey", "gan_grey"])
def test_what_a_run_writes(name, drawn):
    out, runs = drawn
    record = json.loads((out / name / "metrics.json").read_text())
    assert record["quick"] and record["data"]["source"] == "doodles" and "STAND-IN" in runs[name].stdout and record["fid"] > 0
    samples = np.load(out / name / "samples.npy")
    assert samples.shape == (100, 28, 28, *(() if "grey" in name else (3,))) and samples.dtype == np.uint8
    expected = {"gan": {"samples", "balance", "latent", "collapse"}, "cgan": {"samples", "balance", "conditions"}, "ddpm": {
        "curves", "samples", "denoising", "steps"}, "cddpm": {"curves", "samples", "guidance", "conditions"}}[name.removesuffix("_grey")]
    if name[0] == "c":
        labels = np.load(out / name / "samples_labels.npy")
        assert np.array_equal(np.bincount(labels), [20] * 5) and 0 <= record["accuracy"] <= 1
    assert {path.stem for path in (out / name).glob("*.png")} == expected and not (out / name / "checkpoint.pt").exists()
    history = json.loads((out / name / "history.json").read_text())
    assert [r["epoch"] for r in history] == [1, 2] and all(np.isfinite(v) for r in history for v in r.values())


def test_what_inpainting_writes(drawn):
    (out, _), name = drawn, "inpaint"
    record = json.loads((out / name / "metrics.json").read_text())
    assert set(record["ways"]) == {"replacement", "resampling", "guidance", "real drawings"}
    assert all(np.isfinite(value) for way in record["ways"].values() for value in way.values())
    completions = np.load(out / name / "completions.npy")
    assert completions.shape[:2] == (2, 20) and {path.stem for path in (out / name).glob("*.png")} == {"completions", "ways"}
    given = np.s_[:, :, :, :14]
    assert (completions[0][given[1:]] == completions[1][given[1:]]).all() and (completions[0] != completions[1]).any()


def test_metrics_scores_grey_and_colour_in_tables_of_their_own(drawn, doodles):
    out, _ = drawn
    done = run(ROOT / "metrics.py", "--quick", "--data", doodles, "--out", out)
    assert done.returncode == 0, done.stderr
    rows = json.loads((out / "metrics" / "metrics.json").read_text())["rows"]
    assert {"ddpm_grey samples", "gan_grey samples", "conv_vae samples"} <= set(rows) and "ddpm samples" not in rows
    done = run(ROOT / "metrics.py", "--quick", "--data", out / "color", "--out", out, "--judges", out / "color", "--table", "color")
    assert done.returncode == 0, done.stderr
    rows = json.loads((out / "metrics" / "color.json").read_text())["rows"]
    assert {"ddpm samples", "gan samples", "color samples_conv_vae", "color samples_cvae"} <= set(rows) and "ddpm_grey samples" not in rows
    assert "accuracy" in rows["color samples_cvae"] and (out / "metrics" / "color.png").exists()


@pytest.mark.parametrize("name, word", [("ddpm", "epoch   3"), ("cgan", "epoch   3"), ("beta_vae", "beta     1  epoch   3")])
def test_a_killed_run_continues_to_the_same_bits(name, word, judged, doodles, tmp_path):
    outs = [tmp_path / "whole", tmp_path / "killed"]
    for out in outs:
        out.mkdir()
        (out / "classifier").symlink_to(judged / "classifier")
    flags = ["--grey", "--quick", "--data", str(doodles), "--width", "8", "--epochs", "5", "--save-every", "2"]
    flags += {"ddpm": ["--sample-steps", "3"], "beta_vae": ["--betas", "0.5,1"]}.get(name, [])
    done = module(name, *flags, "--out", outs[0])
    assert done.returncode == 0, done.stderr
    process = subprocess.Popen([sys.executable, "-m", f"more.{name}", *flags, "--out", str(outs[1])], cwd=ROOT, stdout=subprocess.PIPE,
                               text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"})
    for line in process.stdout:
        if line.startswith(word):
            break
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    folder = f"{name}_grey"
    assert len(list((outs[1] / folder).glob("checkpoint*.pt"))) == (2 if name == "beta_vae" else 1)
    assert not (outs[1] / folder / "metrics.json").exists()
    done = module(name, *flags, "--resume", "--out", outs[1])
    assert done.returncode == 0 and "continuing after 2 epochs" in done.stdout, done.stderr
    if name == "beta_vae":  # the first weight was done
        assert "continuing after 5 epochs" in done.stdout and "beta   0.5  epoch" not in done.stdout
    assert not list((outs[1] / folder).glob("checkpoint*.pt"))
    first, second = (torch.load(out / folder / "weights.pt", weights_only=True) for out in outs)
    assert set(first) == set(second) and all(torch.equal(first[key], second[key]) for key in first)
    np.testing.assert_array_equal(*(np.load(out / folder / "samples.npy") for out in outs))
    one, two = (json.loads((out / folder / "history.json").read_text()) for out in outs)
    assert [{k: v for k, v in r.items() if k != "seconds"} for r in one] == [{k: v for k, v in r.items() if k != "seconds"} for r in two]


def test_a_checkpoint_of_other_settings_or_a_broken_one_is_not_continued(tmp_path, capsys):
    cfg, net = gan.Config(resume=True, out=str(tmp_path)), torch.nn.Linear(2, 2)
    path = tmp_path / "checkpoint.pt"
    checkpoint.save(path, cfg, gan.__file__, [], [net], 3, 40, 1.5, [{"epoch": 3}])
    weights = net.weight.detach().clone()
    torch.nn.init.zeros_(net.weight)
    kept = checkpoint.load(path, cfg, gan.__file__, [], [net])
    assert kept == {"epoch": 3, "step": 40, "seconds": 1.5, "history": [{"epoch": 3}]} and torch.equal(net.weight, weights)
    capsys.readouterr()
    assert checkpoint.load(path, replace(cfg, lr=1.0), gan.__file__, [], [net])["epoch"] == 0
    assert "other settings" in capsys.readouterr().out
    assert checkpoint.load(path, cfg, ddpm.__file__, [], [net])["epoch"] == 0  # another script
    assert checkpoint.load(path, replace(cfg, resume=False), gan.__file__, [], [net])["epoch"] == 0
    path.write_bytes(b"half")
    assert checkpoint.load(path, cfg, gan.__file__, [], [net])["epoch"] == 0 and "starting anew" in capsys.readouterr().err
    path.unlink()
    assert checkpoint.load(path, cfg, gan.__file__, [], [net])["epoch"] == 0


def test_a_sweep_records_every_setting(judged, doodles, monkeypatch):
    monkeypatch.setattr(gan, "SWEEP", {"as it stands": {}, "labels 0.9": {"smooth": 0.1}})
    cfg = common.parse(gan.Config, ["--quick", "--grey", "--sweep", "--width", "4", "--data", str(doodles), "--out", str(judged)])
    gan.main(cfg)
    record = json.loads((judged / "gan_grey" / "sweep.json").read_text())
    assert set(record["rows"]) == {"as it stands", "labels 0.9"} and all(row["FID"] > 0 for row in record["rows"].values())
    assert "| labels 0.9 |" in (judged / "gan_grey" / "sweep.md").read_text() and (judged / "gan_grey" / "sweep.png").exists()


def test_as_asked_is_the_share_of_recognised_samples(judged, doodles):
    cfg = color.Settings(data=str(doodles), out=str(judged), grey=True, quick=True)
    data = color.load(cfg)
    judge = score.Judge(cfg, data, CPU)
    samples = color.to_uint8(data.x_test)
    right, diversity = judge.as_asked(samples, data.y_test)
    logits = classifier.predict(judge.cnn, data.x_test, CPU)[0]
    assert right == pytest.approx((logits.argmax(axis=1) == data.y_test).mean()) and diversity == pytest.approx(1, abs=0.01)
    assert judge.fid(samples) == pytest.approx(0, abs=1e-3) and judge.diversity(samples) == pytest.approx(1, abs=0.01)


def test_settings_are_not_chosen_by_the_test_images(judged, doodles):
    cfg = gan.Config(data=str(doodles), out=str(judged), grey=True, quick=True, sweep=True)
    data = color.load(cfg)
    data.x_test[:] = 0  # whatever is done to them changes nothing
    samples = color.to_uint8(np.concatenate([data.x_train, data.x_val]))
    judge = score.Judge(cfg, data, CPU)
    assert judge.fid(samples) == pytest.approx(0, abs=1e-3) and len(judge.y) == len(data.y_train) + len(data.y_val)


@pytest.mark.parametrize("player", [gan, cgan])
def test_players_train_in_float32(player, doodles, tmp_path):
    """Without autocast's copies: D is called twice before backward(), and spectral norm changes its u in place at each call."""
    cfg = player.Config(width=4, epochs=1, batch_size=64, precision="float32", grey=True, data=str(doodles), out=str(tmp_path), quick=True)
    history = player.train(cfg, color.load(cfg), CPU, tmp_path)[-1]
    assert len(history) == 1 and all(np.isfinite(value) for value in history[0].values())


def test_looking_changes_nothing(doodles, tmp_path, monkeypatch):
    """What is measured after each epoch leaves the weights as they are, to the bit."""
    weights = []
    cfg = gan.Config(width=4, epochs=2, batch_size=64, grey=True, data=str(doodles), out=str(tmp_path), quick=True)
    for measured in (True, False):
        if not measured:
            monkeypatch.setattr(gan, "gradient_sizes", lambda *args: {})
        weights.append([p.detach().clone() for p in gan.train(cfg, color.load(cfg), CPU, tmp_path)[0].state_dict().values()])
    assert all(torch.equal(a, b) for a, b in zip(*weights))


def test_a_judge_of_other_images_is_refused(judged, doodles):
    cfg = color.Settings(data=str(doodles), out=str(judged), quick=True, threshold=0.5)
    with pytest.raises(common.InputError, match="painted above"):
        score.Judge(cfg, color.load(cfg), CPU)


def test_a_blot_is_a_filled_square_of_five():
    ink = np.zeros((4, 28, 28))
    ink[0, 3:8, 20:25] = ink[1, 0:9, 3:7] = ink[2, 23:, 23:] = 1.0  # filled; four wide; in the corner
    ink[3] = 0.7
    assert blots.blots(ink[:1]) == blots.blots(ink[2:3]) == 1 and blots.blots(ink[1:2]) == blots.blots(ink[3:]) == 0


def test_grey_makes_one_channel_of_a_set_in_colour(judged):
    assert color.load(color.Settings(data=str(judged / "color"), grey=True, quick=True)).x_train.shape[1] == 1
