"""more/beta_vae: the decomposition of the KL and the gaps in closed form, what beta does to a net, quick runs, shape comments."""

import importlib
import json
import math
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import shapes
import torch
from conftest import ROOT

import common
import conv_vae
from more import beta_vae, color

CPU = torch.device("cpu")
JUDGE = SimpleNamespace(fid=lambda samples: 1.0, x=range(200))


def settings(doodles, out, *flags):
    return common.parse(beta_vae.Config, ["--quick", "--data", str(doodles), "--out", str(out), "--width", "4", *flags])


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


# ---- (9) and (10) ----

@pytest.mark.parametrize("rho", [0.0, 0.8])
def test_decomposition_of_gaussian_clouds_is_the_closed_form(rho):
    """Means N(0, S - s^2 I) and clouds of variance s^2: q(z) is N(0, S), and all three terms are known."""
    n, s2 = 6000, 0.2
    cov = np.array([[1.0, rho], [rho, 1.0]])
    mu = np.random.default_rng(0).multivariate_normal([0, 0], cov - s2 * np.eye(2), n)
    mu = torch.tensor(mu, dtype=torch.float32)
    found = beta_vae.decompose(mu, torch.full((n, 2), math.log(s2)), rng(), draws=4000)
    assert found["total_correlation"] == pytest.approx(-0.5 * math.log(1 - rho ** 2), abs=0.03)
    assert found["information"] == pytest.approx(0.5 * math.log(np.linalg.det(cov) / s2 ** 2), abs=0.06)
    assert found["dimension_kl"] == pytest.approx(0, abs=0.03)


def test_the_terms_add_up_to_the_mean_kl():
    mu, logvar = torch.randn(2000, 5, generator=rng()) @ torch.randn(5, 5, generator=rng(1)), torch.randn(2000, 5, generator=rng(2)) - 2
    found = beta_vae.decompose(mu, logvar, rng(3), draws=2000)
    assert sum(found.values()) == pytest.approx(beta_vae.kl_divergence(mu, logvar).sum(dim=1).mean().item(), rel=0.01)
    assert found["information"] <= math.log(2000) + 0.01 and min(found.values()) > 0


def test_far_clouds_hold_ln_n_nats_and_equal_ones_none():
    mu = 1000 * torch.randn(500, 3, generator=rng())
    assert beta_vae.decompose(mu, torch.zeros(500, 3), rng())["information"] == pytest.approx(math.log(500), abs=1e-3)
    assert beta_vae.decompose(torch.zeros(500, 3), torch.zeros(500, 3), rng()) == pytest.approx(
        {"information": 0, "total_correlation": 0, "dimension_kl": 0}, abs=1e-4)


def test_a_large_kl_is_mostly_total_correlation_however_independent_the_means():
    """The docstring's warning: the means are independent, and yet (9) finds many nats, and (10) none."""
    mu = torch.randn(1000, 20, generator=rng())
    found = beta_vae.decompose(mu, torch.full((1000, 20), -4.0), rng(1))
    assert found["information"] == pytest.approx(math.log(1000), abs=0.05) and found["total_correlation"] > 10
    assert -0.5 * np.linalg.slogdet(np.corrcoef(mu.numpy().T))[1] < 0.2


def test_the_floor_of_the_linear_part():
    """The comment at (10): about L^2 / 4 N without any dependence."""
    found = [-0.5 * np.linalg.slogdet(np.corrcoef(np.random.default_rng(i).normal(size=(24, 4000))))[1] for i in range(5)]
    assert np.mean(found) == pytest.approx(24 ** 2 / (4 * 4000), rel=0.15) and round(24 ** 2 / (4 * 4000), 2) == 0.04


# ---- (11) ----

def perfect(n=20000):
    random = np.random.default_rng(0)
    x, y, category, hue = random.integers(0, 9, n), random.integers(0, 9, n), random.integers(0, 5, n), random.random(n)
    return np.stack([x, y, category, hue], axis=1).astype(float), {"x": x, "y": y, "category": category, "hue": (10 * hue).astype(int)}


def test_codes_that_are_the_factors_have_the_largest_gap_and_turned_ones_less():
    z, factors = perfect()
    found = beta_vae.gaps(z, factors)
    assert found["mig"] == pytest.approx(1, abs=0.01) and all(g == pytest.approx(1, abs=0.01) for g in found["gap"].values())
    z = (z - z.mean(axis=0)) / z.std(axis=0)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))[0]
    assert beta_vae.gaps(z @ turn, factors)["mig"] < 0.3
    assert beta_vae.gaps(np.random.default_rng(2).normal(size=z.shape), factors)["mig"] < 0.01


def test_hue_may_use_two_latents_as_sine_and_cosine_and_begin_anywhere():
    _, factors = perfect()
    hue = np.random.default_rng(3).random(20000)
    factors = {"hue": (10 * hue).astype(int)}
    noise = np.random.default_rng(4).normal(size=(20000, 2))
    found = []
    for start in (0, 0.05, 0.13):
        angle = 2 * np.pi * (hue + start)
        found.append(beta_vae.gaps(np.column_stack([np.cos(angle), noise, np.sin(angle)]), factors)["mig"])
    assert min(found) > 0.6 and max(found) - min(found) < 0.1
    one = beta_vae.gaps(np.column_stack([np.cos(angle), np.sin(angle)]), {"x": factors["hue"]})["mig"]
    assert one < 0.1  # as a factor for a single latent it would score next to nothing


@pytest.mark.parametrize("living", [2, 0])
def test_the_floor_turns_living_latents_only(living, monkeypatch):
    """Dead latents in the turn would be noise on every axis, and the floor near 0 whatever the axes mean."""
    n, draw = 4000, np.random.default_rng(0)
    x, y = draw.integers(0, 9, size=(2, n))
    z = draw.normal(size=(n, 24))
    z[:, :living] = 0.1 * z[:, :living] + (np.stack([x, y], axis=1) / 2.6)[:, :living]
    seen = {"z": torch.tensor(z), "mu": torch.tensor(z), "logvar": torch.zeros(n, 24), "kl": 1.0, "reconstruction": 1.0, "active": living,
            "kl_per_latent": [1.0] * living + [0.0] * (24 - living)}
    monkeypatch.setattr(beta_vae, "evaluate", lambda *given: seen)
    monkeypatch.setattr(beta_vae, "decode", lambda *given: None)
    factors = {"x": x, "y": y}
    row = beta_vae.measure(beta_vae.Config(), None, SimpleNamespace(x_test=np.zeros((5, 1))), (None, factors), JUDGE, torch.tensor(z), CPU)
    all_turned = beta_vae.gaps(z @ np.linalg.qr(draw.normal(size=(24, 24)))[0], factors)["mig"]
    assert all_turned < 0.06
    assert row["mig_turned"] > 0.1 if living else row["mig_turned"] == 0


def test_what_mig_cannot_see():
    z, factors = perfect()
    pair = {name: factors[name] for name in ("x", "y")}
    assert beta_vae.gaps(z[:, :2] @ np.array([[9.0, 0], [1, 0]]) + [0, 0], pair)["mig"] > 0.3  # one latent holds both
    assert beta_vae.gaps(np.column_stack([z[:, 0], z[:, 0]]), {"x": factors["x"]})["mig"] == pytest.approx(0, abs=1e-9)  # two hold one


def test_known_factors_are_what_was_done(doodles, tmp_path):
    cfg = settings(doodles, tmp_path)
    data = color.load(cfg)
    x, factors = beta_vae.known_factors(cfg, data)
    assert x.shape == (400, 3, 28, 28) and x.dtype == np.float32 and set(factors) == {"x", "y", "category", "hue"} and x.max() <= 1
    assert {name: (v.min(), v.max()) for name, v in factors.items()} == {"x": (0, 8), "y": (0, 8), "category": (0, 4), "hue": (0, 9)}
    # moved to the right and down by dx, dy: the image moved back is a test drawing of that category, painted anew
    ink, drawings = np.pad(x.max(axis=1), ((0, 0), (4, 4), (4, 4))), data.x_test.max(axis=1)
    for i in range(20):
        dx, dy = factors["x"][i] - 4, factors["y"][i] - 4
        back = ink[i, 4 + dy:32 + dy, 4 + dx:32 + dx][4:-4, 4:-4]
        match = np.abs(drawings[:, 4:-4, 4:-4] - back).max(axis=(1, 2)).argmin()
        assert np.abs(drawings[match, 4:-4, 4:-4] - back).max() < 1e-5 and data.y_test[match] == factors["category"][i]
    # red, then yellow, green ...: arc 0 is the reddest
    reddest = x[factors["hue"] == 0].sum(axis=(0, 2, 3))
    assert reddest.argmax() == 0 and x[factors["hue"] == 3].sum(axis=(0, 2, 3)).argmax() == 1
    grey = replace(cfg, grey=True)
    x, factors = beta_vae.known_factors(grey, color.load(grey))
    assert x.shape == (400, 1, 28, 28) and set(factors) == {"x", "y", "category"}


# ---- the model ----

def test_it_is_conv_vae_with_other_channels():
    """Same layers, and the same loss terms for one channel."""
    ours, theirs = beta_vae.VAE(24, 16, 1, 28), conv_vae.VAE(24, 16)
    assert [p.shape for p in ours.parameters()] == [p.shape for p in theirs.parameters()]
    logits, x = torch.randn(3, 1, 28, 28, generator=rng()), torch.rand(3, 1, 28, 28, generator=rng(1))
    assert torch.equal(beta_vae.reconstruction(logits, x), conv_vae.reconstruction(logits, x, "bernoulli", None))
    mu, logvar = torch.randn(2, 3, 5, generator=rng(2))
    assert torch.equal(beta_vae.kl_divergence(mu, logvar), conv_vae.kl_divergence(mu, logvar))
    normal = torch.distributions.Normal
    torch.testing.assert_close(beta_vae.kl_divergence(mu, logvar),
                               torch.distributions.kl_divergence(normal(mu, torch.exp(0.5 * logvar)), normal(0.0, 1.0)))


@pytest.mark.parametrize("size, channels", [(28, 1), (32, 3), (64, 3)])
def test_all_sizes(size, channels):
    model = beta_vae.VAE(6, 4, channels, size)
    logits, mu, _ = model(torch.rand(2, channels, size, size))
    assert logits.shape == (2, channels, size, size) and mu.shape == (2, 6)
    drawn = beta_vae.decode(beta_vae.Config(precision="float32"), model, torch.randn(3, 6), CPU)
    assert drawn.shape == (3, size, size, *((3,) if channels == 3 else ())) and drawn.dtype == np.uint8


class Fixed(torch.nn.Module):
    """A decoder whose logits are the codes."""

    def __init__(self):
        super().__init__()
        self.decoder = lambda z: z.reshape(len(z), -1, 1, 1)


def test_temperature_keeps_the_channels_proportions_and_is_conv_vaes_for_one():
    cfg = beta_vae.Config(precision="float32")
    p = np.array([[0.8, 0.4, 0.16], [0.2, 0.04, 0.1]])
    z = torch.tensor(np.log(p / (1 - p)), dtype=torch.float32)
    np.testing.assert_allclose(beta_vae.decode(cfg, Fixed(), z, CPU)[:, 0, 0] / 255, p, atol=0.003)  # T = 1 draws x_hat
    drawn = beta_vae.decode(cfg, Fixed(), z, CPU, 0.5)[:, 0, 0] / 255
    np.testing.assert_allclose(drawn / drawn.max(axis=1, keepdims=True), p / p.max(axis=1, keepdims=True), atol=0.05)
    grey = torch.linspace(-200, 200, 41)[:, None]  # and no overflow at the ends
    drawn = beta_vae.decode(cfg, Fixed(), grey, CPU, 0.33)[:, 0, 0] / 255
    np.testing.assert_allclose(drawn, torch.sigmoid(grey[:, 0] / 0.33), atol=0.003)


def test_moved_changes_one_coordinate_only():
    z = torch.randn(2, 4, generator=rng())
    moved = beta_vae.moved(z, 2)
    assert moved.shape == (18, 4) and torch.equal(moved[:9, [0, 1, 3]], z[:1, [0, 1, 3]].repeat(9, 1))
    torch.testing.assert_close(moved[9:, 2], torch.linspace(-2.5, 2.5, 9))
    grid = beta_vae.moved(beta_vae.moved(z[:1], 1), 0).reshape(9, 9, 4)
    assert (grid[:, 0, 1].diff() > 0).all() and (grid[0, :, 0].diff() > 0).all() and (grid[..., 2:] == z[0, 2:]).all()


def small(doodles, tmp_path, beta):
    cfg = settings(doodles, tmp_path, "--grey", "--epochs", "12", "--latent-dim", "6", "--batch-size", "64")
    data = color.load(cfg)
    model, history = beta_vae.train(replace(cfg, beta=beta), data, CPU, tmp_path / "none.pt")
    return model, history, beta_vae.evaluate(cfg, model, data.x_test, CPU)


def test_a_larger_beta_has_less_kl_more_error_and_fewer_latents(doodles, tmp_path):
    low, high = (small(doodles, tmp_path, beta) for beta in (0.25, 32.0))
    assert low[2]["kl"] > 4 * high[2]["kl"] and low[2]["reconstruction"] < high[2]["reconstruction"]
    assert low[2]["active"] >= high[2]["active"]
    assert all(record["train_objective"] == pytest.approx(record["train_reconstruction"] + 32 * record["train_kl"]) for record in high[1])
    assert low[1][-1]["train_objective"] < 0.8 * low[1][0]["train_objective"]


def test_runs_start_from_the_same_weights_and_see_the_same_noise(doodles, tmp_path, monkeypatch):
    seen = {}
    original = beta_vae.VAE.forward

    def forward(self, x):
        out = original(self, x)
        seen.setdefault(current, (x.clone(), torch.get_rng_state(), self.encoder.layers[-1].weight.detach().clone()))
        return out

    monkeypatch.setattr(beta_vae.VAE, "forward", forward)
    cfg = settings(doodles, tmp_path, "--grey", "--epochs", "1")
    data = color.load(cfg)
    for current in (0.25, 8.0):  # forward reads it
        beta_vae.train(replace(cfg, beta=current), data, CPU, tmp_path / "none.pt")
    assert len(seen) == 2 and all(torch.equal(a, b) for a, b in zip(*seen.values()))


def test_adams_step_hardly_depends_on_the_losss_scale():
    steps = []
    for scale in (1.0, 32.0):
        p = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        optimizer = torch.optim.Adam([p], lr=1e-3)
        for _ in range(5):
            optimizer.zero_grad()
            (scale * (p ** 2).sum()).backward()
            optimizer.step()
        steps.append(p.detach().clone())
    torch.testing.assert_close(*steps, atol=1e-7, rtol=0)


# ---- runs ----

@pytest.mark.parametrize("betas", ["1,0", "a", "1,,2", "-1", ""])
def test_wrong_betas_get_one_line(betas, doodles, tmp_path):
    with pytest.raises(common.InputError, match="positive numbers between commas"):
        beta_vae.main(settings(doodles, tmp_path, f"--betas={betas}"))
    with pytest.raises(common.InputError, match="--beta: found 0"):
        settings(doodles, tmp_path, "--beta", "0")


def test_without_a_judge_it_says_how_to_make_one(doodles, tmp_path):
    done = subprocess.run([sys.executable, "-m", "more.beta_vae", "--quick", "--data", str(doodles), "--out", str(tmp_path / "o")],
                          cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "python -m more.color" in done.stderr and not (tmp_path / "o").exists()


@pytest.mark.parametrize("flags, channels", [(("--grey",), 1), (("--size", "32", "--latent-dim", "10"), 3), (("--size", "64"), 3)])
def test_shape_comments_and_what_a_run_writes(flags, channels, doodles, tmp_path, monkeypatch):
    module = importlib.reload(beta_vae)
    monkeypatch.setattr(module, "Judge", lambda *args: JUDGE)
    cfg = common.parse(module.Config, ["--quick", "--data", str(doodles), "--out", str(tmp_path), "--width", "8", "--epochs", "1", *flags])
    names = {"H": cfg.size, "C": channels, "M": 8, "L": cfg.latent_dim}
    with shapes.Checker(module, names) as checker:
        module.main(cfg)
    importlib.reload(module)
    assert not checker.errors, "\n".join(sorted(set(checker.errors))[:20])
    assert not checker.missed, f"shape comments at lines {checker.missed} were never run"
    folder = tmp_path / ("beta_vae_grey" if cfg.grey else "beta_vae")
    record = json.loads((folder / "metrics.json").read_text())
    assert record["quick"] and [row["beta"] for row in record["rows"]] == [0.25, 1, 32] and record["beta"] == 1
    row = record["rows"][1]
    assert row["gaussian_tc"] == pytest.approx(-0.5 * np.linalg.slogdet(np.array(row["correlation"]))[1], rel=1e-4)  # (10)
    assert record["test_elbo"] == row["test_elbo"] == -row["test_reconstruction"] - row["test_kl"] and record["val_objective"] > 0
    assert sum(row[key] for key in ("information", "total_correlation", "dimension_kl")) == pytest.approx(row["known_kl"], abs=0.1)
    assert np.shape(row["correlation"]) == (cfg.latent_dim,) * 2 and set(row["gap"]) == set(row["shares"]) >= {"x", "y", "category"}
    assert record["parameters"] == sum(p.numel() for p in module.VAE(cfg.latent_dim, 8, channels, cfg.size).parameters())
    assert np.load(folder / "samples.npy").shape == (100, cfg.size, cfg.size, *((3,) if channels == 3 else ()))
    history = json.loads((folder / "history.json").read_text())
    assert [(r["beta"], r["epoch"]) for r in history] == [(0.25, 1), (1, 1), (32, 1)]
    assert {path.stem for path in folder.glob("*.png")} == {"betas", "correlation", "traversals", "interpolation", "samples", "curves"}


def test_a_sweep_records_every_setting(doodles, tmp_path, monkeypatch):
    monkeypatch.setattr(beta_vae, "Judge", lambda *args: JUDGE)
    monkeypatch.setattr(beta_vae, "SWEEP", {name: beta_vae.SWEEP[name] for name in ("as it stands", "beta 4, 8 latents")})
    beta_vae.main(settings(doodles, tmp_path, "--grey", "--sweep", "--epochs", "1"))
    record = json.loads((tmp_path / "beta_vae_grey" / "sweep.json").read_text())
    assert set(record["rows"]) == {"as it stands", "beta 4, 8 latents"}
    assert set(record["rows"]["as it stands"]) == {*(name.removeprefix("test_") for name in beta_vae.SHOWN), "steps", "seconds"}
    assert not (tmp_path / "beta_vae_grey" / "metrics.json").exists() and (tmp_path / "beta_vae_grey" / "sweep.png").exists()


def test_every_setting_of_the_sweep_is_one_of_the_config():
    for changes in beta_vae.SWEEP.values():
        replace(beta_vae.Config(), **changes)
