"""more/restore_ae.py: distortions, scores against closed forms, what a flip costs, the net, a quick run, shape comments."""

import importlib
import json
import math
import subprocess
import sys
from dataclasses import replace

import matplotlib.image
import numpy as np
import pytest
import shapes
import torch
from conftest import ROOT

import common
from more import color
from more import restore_ae as r

CPU = torch.device("cpu")


def images(n=6, channels=3, size=28):
    """Smooth random images in [0, 1]."""
    x = torch.rand(n, channels, size // 4, size // 4, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(x, size=(size, size), mode="bilinear")


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


# ---- distortions ----

@pytest.mark.parametrize("name", r.MOST)
def test_strength_0_changes_nothing_and_the_same_generator_distorts_alike(name):
    x = images()
    torch.testing.assert_close(r.distort(x, {name: 0.0}, rng()), x, atol=1e-5, rtol=0)
    first, again = (r.distort(x, {name: r.MOST[name] or 0.1}, rng(3)) for _ in range(2))
    assert torch.equal(first, again) and (first - x).abs().max() > 0.05 and first.shape == x.shape


@pytest.mark.parametrize("name, axis", [("horizontal flip", 3), ("vertical flip", 2)])
def test_a_flip_twice_is_the_identity(name, axis):
    x = images()
    once = r.distort(x, {name: 1.0}, rng())
    torch.testing.assert_close(once, x.flip(axis), atol=1e-5, rtol=0)
    torch.testing.assert_close(r.distort(once, {name: 1.0}, rng()), x, atol=1e-5, rtol=0)


def test_rotation_by_90_degrees_is_rot90_and_goes_both_ways():
    x = images(40)
    y = r.distort(x, {"rotation": 90.0}, rng())
    ways = [[torch.allclose(a, torch.rot90(b, k, (1, 2)), atol=1e-4) for a, b in zip(y, x)] for k in (1, 3)]
    assert all(a != b for a, b in zip(*ways)) and 5 < sum(ways[0]) < 35


def test_rotation_turns_by_the_angle_it_is_given():
    x = torch.zeros(30, 1, 28, 28)
    x[:, 0, 13:15, 22:24] = 1  # centre at 9 pixels to the right of the image's
    y = r.distort(x, {"rotation": 30.0}, rng())
    places = torch.arange(28) - 13.5
    weight = y[:, 0] / y.sum(dim=(1, 2, 3))[:, None, None]
    dx, dy = (weight.sum(dim=1) * places).sum(dim=1), (weight.sum(dim=2) * places).sum(dim=1)
    torch.testing.assert_close(torch.rad2deg(torch.atan2(dy, dx)).abs(), torch.full((30,), 30.0), atol=0.5, rtol=0)
    torch.testing.assert_close(torch.hypot(dx, dy), torch.full((30,), 9.0), atol=0.1, rtol=0)


def test_brightness_is_a_clipped_offset_of_either_sign():
    x = torch.full((50, 1, 28, 28), 0.5)
    y = r.distort(x, {"brightness": 0.3}, rng())
    assert {round(v, 4) for v in y[:, 0, 0, 0].tolist()} == {0.2, 0.8}
    assert set(r.distort(x, {"brightness": 0.7}, rng()).unique().tolist()) == {0.0, 1.0}


def test_occlusion_is_one_grey_square_inside_the_image_at_any_place():
    x = torch.zeros(400, 3, 28, 28)
    y = r.distort(x, {"occlusion": 0.3}, rng())
    assert set(y.unique().tolist()) == {0.0, 0.5}
    rows, columns = (y[:, 0] > 0).any(dim=2), (y[:, 0] > 0).any(dim=1)
    assert (rows.sum(dim=1) == 8).all() and (columns.sum(dim=1) == 8).all() and ((y[:, 0] > 0).sum(dim=(1, 2)) == 64).all()
    assert rows.any(dim=0).all() and columns.any(dim=0).all()
    assert (r.distort(x[:9], {"occlusion": 1.0}, rng()) == 0.5).all()


def test_noise_has_the_asked_sd_and_salt_and_pepper_the_asked_share():
    x = torch.full((100, 3, 28, 28), 0.5)
    noise = r.distort(x, {"noise": 0.2}, rng()) - x
    assert noise.std().item() == pytest.approx(0.2, rel=0.01) and abs(noise.mean().item()) < 0.002
    y = r.distort(x, {"salt and pepper": 0.1}, rng())
    assert set((10 * y).round().unique().tolist()) == {0.0, 5.0, 10.0}
    assert ((y - 0.5).abs() > 0.1).float().mean().item() == pytest.approx(0.1, abs=0.005)
    assert (y == y[:, :1]).all()  # a pixel is hit in all its channels


def test_in_training_a_share_gets_at_most_one_distortion_and_none_gets_salt_and_pepper(monkeypatch):
    """A bright corner tells which flips an image has had."""
    x = torch.zeros(4000, 1, 28, 28)
    x[:, :, :4, :4] = 0.5
    monkeypatch.setattr(r, "MOST", dict.fromkeys(r.MOST, 0.0) | {"horizontal flip": 1.0, "vertical flip": 1.0})
    for share, expected in ((1.0, (1 / 7, 1 / 7, 0)), (0.0, (1 / 4, 1 / 4, 1 / 4)), (0.7, (0.1 + 0.075, 0.1 + 0.075, 0.075))):
        y = r.distort(x, share, rng())[:, 0]
        found = [(y[:, row, column] > 0.4).float().mean().item() for row, column in ((1, 26), (26, 1), (26, 26))]
        assert found == pytest.approx(expected, abs=0.025)
        assert y.max() < 0.6  # no salt


# ---- scores ----

@pytest.mark.parametrize("d", [0.5, 0.1, 0.01])
def test_psnr_of_an_offset(d):
    x = images() * 0.4
    torch.testing.assert_close(r.psnr(x + d, x), torch.full((6,), -20 * math.log10(d)), atol=1e-3, rtol=0)
    assert (r.psnr(x, x) == 60).all()


def test_ssim_closed_forms():
    x = images()
    torch.testing.assert_close(r.ssim(x, x), torch.ones(6, dtype=torch.float64))
    a, b, c1 = 0.3, 0.7, 1e-4
    value = r.ssim(torch.full((2, 3, 28, 28), a), torch.full((2, 3, 28, 28), b))
    torch.testing.assert_close(value, torch.full((2,), (2 * a * b + c1) / (a * a + b * b + c1), dtype=torch.float64), atol=1e-6, rtol=0)
    noisy = r.ssim(x, x + 0.3 * torch.randn(x.shape, generator=rng()))
    assert (noisy < 0.9).all() and (noisy > -1).all()
    torch.testing.assert_close(r.ssim(x, 1 - x), r.ssim(1 - x, x))


def test_ssim_is_equation_7_window_by_window():
    a, b = images(1, 2)[:, :, :13, :12].double(), images(1, 2, 28)[:, :, 5:18, 3:15].double()
    g = np.exp(-(np.arange(11) - 5) ** 2 / 4.5)
    w = np.outer(g, g) / g.sum() ** 2
    values = []
    for c in range(2):
        for i in range(3):
            for j in range(2):
                p, q = (z[0, c, i:i + 11, j:j + 11].numpy() for z in (a, b))
                m, n = (w * p).sum(), (w * q).sum()
                s, t, u = (w * (p - m) ** 2).sum(), (w * (q - n) ** 2).sum(), (w * (p - m) * (q - n)).sum()
                values.append((2 * m * n + 1e-4) * (2 * u + 9e-4) / ((m * m + n * n + 1e-4) * (s + t + 9e-4)))
    assert r.ssim(a, b).item() == pytest.approx(np.mean(values), abs=1e-9)


def test_half_of_each_gains_6_db_over_a_flip_and_is_the_best_blind_answer():
    x = images(50, 1)
    flipped, half = x.flip(3), (x + x.flip(3)) / 2
    torch.testing.assert_close(r.psnr(half, x) - r.psnr(flipped, x), torch.full((50,), 10 * math.log10(4)), atol=1e-3, rtol=0)
    answers = [(1 - t) * x + t * flipped for t in (0.3, 0.45, 0.5, 0.55, 0.7)]
    error = [((answer - x) ** 2 + (answer - flipped) ** 2).mean().item() for answer in answers]
    assert min(error) == error[2]


@pytest.mark.parametrize("kind", ["mse", "bce"])
def test_the_best_answer_is_the_mean_for_either_loss(kind):
    x = torch.tensor([0.0, 0.0, 0.2, 1.0])
    grid = torch.linspace(0.01, 0.99, 99)
    losses = torch.stack([r.restoration_loss(torch.logit(p).expand(4), x, kind) for p in grid])
    assert grid[losses.argmin()].item() == pytest.approx(0.3, abs=1e-4)


def test_the_median_filter_removes_salt_and_pepper_and_its_size_is_chosen():
    x = torch.full((4, 3, 28, 28), 0.5)
    x[:, :, :, 14:] = 1
    y = r.distort(x, {"salt and pepper": 0.05}, rng())
    scores = {name: r.psnr(r.median(y, name), x).mean().item() for name in r.FILTERS}
    assert max(scores, key=scores.get) != "none" and max(scores.values()) > scores["none"] + 10
    assert torch.equal(r.median(x, "none"), x) and r.median(x + 1, "3 x 3").max() == 1


# ---- the net ----

@pytest.mark.parametrize("size, channels", [(28, 1), (32, 3), (64, 3)])
def test_nets_at_all_sizes_and_skip_connections_are_the_only_way_around_the_code(size, channels):
    x = images(2, channels, size)
    for skip in ("on", "off"):
        net = r.Autoencoder(r.Config(size=size, width=8, bottleneck=2, skip=skip), channels).eval()
        net.squeeze.register_forward_hook(lambda m, a, out: 0 * out)  # a code that says nothing
        out = net(x)
        assert out.shape == x.shape and torch.allclose(out[0], out[1], atol=1e-6) == (skip == "off")


def test_attention_reaches_everywhere_and_convolutions_do_not():
    for attention, reached in (("on", True), ("off", False)):
        torch.manual_seed(0)
        net = r.Autoencoder(r.Config(width=8, size=64, skip="off", attention=attention), 1).eval()
        x = torch.rand(1, 1, 64, 64, requires_grad=True)
        net(x)[0, 0, 0, 0].backward()
        assert bool(x.grad[0, 0, -1].abs().sum() > 0) == reached


def config(doodles, out, *flags):
    return common.parse(r.Config, ["--quick", "--data", str(doodles), "--out", str(out), "--width", "8", *flags])


def test_one_batch_is_overfitted(doodles, tmp_path, monkeypatch):
    cfg = config(doodles, tmp_path, "--grey", "--epochs", "150", "--batch-size", "16", "--shift", "0")
    data = color.load(cfg)
    few = data._replace(x_train=data.x_train[:16], x_val=data.x_val[:2])
    clean = r.distort
    monkeypatch.setattr(r, "distort", lambda x, strengths, generator: clean(x, {"vertical flip": 1.0}, generator))
    history = r.train(cfg, few, CPU)[1]
    assert history[-1]["train_loss"] < 0.3 * history[0]["train_loss"]


def test_training_twice_gives_the_same_bits(doodles, tmp_path):
    cfg = config(doodles, tmp_path, "--epochs", "1")
    data = color.load(cfg)
    first, _ = r.train(cfg, data, CPU)
    torch.rand(7)
    second, _ = r.train(cfg, data, CPU)
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values()))


def test_flips_of_a_net_that_copies_and_of_one_that_knows(doodles, tmp_path, monkeypatch):
    cfg = config(doodles, tmp_path)
    data = color.load(cfg)
    monkeypatch.setattr(r, "restore", lambda cfg, model, y, device, x=None: (y, None))
    for rows in r.flips(cfg, None, data, CPU).values():
        for row in rows.values():
            assert row["right"] == 0 and row["flipped, left alone"] == row["flipped, restored"] and row["not flipped, restored"] == 60
            assert row["half of each, (8)"] - row["flipped, left alone"] == pytest.approx(10 * math.log10(4), abs=1e-3)
    monkeypatch.setattr(r, "restore", lambda cfg, model, y, device, x=None: (torch.from_numpy(data.x_test), None))
    assert all(row["right"] == 1 for rows in r.flips(cfg, None, data, CPU).values() for row in rows.values())


# ---- runs ----

def test_a_quick_run_in_colour(doodles, tmp_path):
    command = [sys.executable, "-m", "more.restore_ae", "--quick", "--width", "8", "--data", str(doodles), "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "restore_ae"
    record, history = (json.loads((folder / f"{name}.json").read_text()) for name in ("metrics", "history"))
    assert record["quick"] and "painted" in record["data"]["name"] and set(record["table"]) == set(r.TESTS)
    assert all(math.isfinite(value) for row in record["table"].values() for value in row.values() if not isinstance(value, str))
    assert [h["epoch"] for h in history] == [1, 2] and record["val_loss"] == history[-1]["val_loss"] and record["test_loss"] > 0
    assert [row["numbers in the bottleneck"] for row in record["bottleneck"]] == [49, 196, 784, 3136]
    assert {path.stem for path in folder.glob("*.png")} == {"curves", "restorations", "bottleneck", "flips"}
    assert matplotlib.image.imread(folder / "restorations.png").shape[0] > 500
    net = r.Autoencoder(r.Config(width=8), 3)
    net.load_state_dict(torch.load(folder / "weights.pt", weights_only=True))
    assert record["parameters"] == sum(p.numel() for p in net.parameters())


def test_a_sweep_records_every_setting(doodles, tmp_path, monkeypatch):
    monkeypatch.setattr(r, "SWEEP", {"as it stands": {}, "no attention": r.SWEEP["no attention"]})
    r.main(replace(config(doodles, tmp_path, "--grey", "--sweep"), epochs=1))
    record = json.loads((tmp_path / "restore_ae_grey" / "sweep.json").read_text())
    assert set(record["rows"]) == {"as it stands", "no attention"} and all(row["noise"] > 0 for row in record["rows"].values())
    assert (tmp_path / "restore_ae_grey" / "sweep.png").exists()


def test_every_setting_of_the_sweep_is_one():
    for changes in r.SWEEP.values():
        c = replace(r.Config(), **changes)
        assert not changes or c != r.Config()


@pytest.mark.parametrize("grey, size", [(True, 28), (False, 32), (False, 64)])
def test_shape_comments(grey, size, doodles, tmp_path, monkeypatch):
    module = importlib.reload(r)
    monkeypatch.setattr(module, "FILTERS", {"none": [[1]]})  # the rest takes time
    names = ("loss", "noise", "occlusion", "horizontal flip", "vertical flip", "mixed")
    monkeypatch.setattr(module, "on_validation", lambda *args: dict.fromkeys(names, 1.0))
    monkeypatch.setattr(module, "TESTS", {name: module.TESTS[name] for name in ("clean", *list(module.TESTS)[1:8])})
    cfg = config(doodles, tmp_path, "--size", str(size), "--epochs", "1", *["--grey"] * grey)
    data = r.color.load(cfg)  # few images: at 64 x 64 they take long
    data = data._replace(**{f"{part}_{name}": getattr(data, f"{part}_{name}")[:128 if name == "train" else 20]
                            for part in "xy" for name in ("train", "val", "test")})
    monkeypatch.setattr(module.color, "load", lambda cfg: data)
    with shapes.Checker(module, {"H": size, "C": 1 if grey else 3, "M": 8, "D": len(module.MOST)}) as checker:
        module.main(cfg)
    importlib.reload(module)
    assert not checker.errors, "\n".join(sorted(set(checker.errors))[:20])
    assert not checker.missed, f"shape comments at lines {checker.missed} were never run"
    assert len(checker.done) >= 20
