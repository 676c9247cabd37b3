"""Every loss and metric against a closed form, a library, or brute force."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.linalg
import torch
from torch.distributions import Bernoulli, Normal, kl_divergence

import classifier
import common
import conv_ae
import conv_vae
import cvae
import metrics
import rnn_ae
import rnn_vae

VAES = (conv_vae, rnn_vae, cvae)


@pytest.fixture
def codes():
    rng = torch.Generator().manual_seed(0)
    return torch.randn(7, 4, generator=rng), torch.randn(7, 4, generator=rng)


@pytest.mark.parametrize("module", VAES, ids=lambda m: m.__name__)
def test_kl_is_the_gaussians(module, codes):
    mu, logvar = codes
    expected = kl_divergence(Normal(mu, (0.5 * logvar).exp()), Normal(0.0, 1.0))
    torch.testing.assert_close(module.kl_divergence(mu, logvar), expected)
    assert module.kl_divergence(torch.zeros(2, 3), torch.zeros(2, 3)).abs().max() == 0


@pytest.mark.parametrize("module", VAES, ids=lambda m: m.__name__)
def test_kl_by_monte_carlo(module, codes):
    mu, logvar = codes[0][:1], codes[1][:1]
    q, p = Normal(mu, (0.5 * logvar).exp()), Normal(0.0, 1.0)
    torch.manual_seed(0)
    z = q.sample((200_000,))
    torch.testing.assert_close(module.kl_divergence(mu, logvar), (q.log_prob(z) - p.log_prob(z)).mean(0), atol=0.02, rtol=0.02)


@pytest.mark.parametrize("module", VAES, ids=lambda m: m.__name__)
def test_reparameterised_codes_have_the_encoders_moments(module):
    mu, logvar = torch.tensor([[1.5, -2.0]]), torch.tensor([[math.log(4.0), math.log(0.25)]])
    vae = vars(module).get("VAE") or module.CVAE
    z = vae.reparameterise(None, mu.expand(100_000, 2), logvar.expand(100_000, 2), torch.Generator().manual_seed(0))
    torch.testing.assert_close(z.mean(0), mu[0], atol=0.03, rtol=0)
    torch.testing.assert_close(z.std(0), torch.tensor([2.0, 0.5]), atol=0.02, rtol=0)


@pytest.mark.parametrize("module", (conv_vae, rnn_vae), ids=lambda m: m.__name__)
def test_reconstruction_terms_are_log_likelihoods(module):
    rng = torch.Generator().manual_seed(0)
    logits, x = torch.randn(3, 1, 28, 28, generator=rng), torch.rand(3, 1, 28, 28, generator=rng)
    s2 = torch.tensor(0.09)
    binary = x.round()
    expected = -Bernoulli(logits=logits).log_prob(binary).sum((1, 2, 3))
    torch.testing.assert_close(module.reconstruction(logits, binary, "bernoulli", s2), expected)
    for likelihood, scale in (("sigma", 0.3), ("unit", 1.0)):
        expected = -Normal(logits.sigmoid(), scale).log_prob(x).sum((1, 2, 3))
        torch.testing.assert_close(module.reconstruction(logits, x, likelihood, s2), expected, rtol=1e-5, atol=1e-2)


def test_cvae_reconstruction_is_conv_vaes():
    rng = torch.Generator().manual_seed(0)
    logits, x = torch.randn(3, 1, 28, 28, generator=rng), torch.rand(3, 1, 28, 28, generator=rng)
    torch.testing.assert_close(cvae.reconstruction(logits, x), conv_vae.reconstruction(logits, x, "bernoulli", torch.tensor(1.0)))


def test_cross_entropys_least_value_is_the_entropy():
    x = torch.rand(2, 1, 28, 28, generator=torch.Generator().manual_seed(0)).clamp(0.01, 0.99)
    entropy = -(x * x.log() + (1 - x) * (1 - x).log()).sum((1, 2, 3))
    torch.testing.assert_close(cvae.reconstruction(torch.logit(x), x), entropy)


def test_mean_squared_error_is_the_best_variance():
    """(5) with sigma: no other s^2 makes the batch's term smaller, and its derivative there is 0."""
    rng = torch.Generator().manual_seed(0)
    logits, x = torch.randn(5, 1, 28, 28, generator=rng), torch.rand(5, 1, 28, 28, generator=rng)
    best = ((logits.sigmoid() - x) ** 2).mean().requires_grad_()
    term = conv_vae.reconstruction(logits, x, "sigma", best).mean()
    assert abs(torch.autograd.grad(term, best)[0]) < 0.05
    for factor in (0.8, 1.25):
        assert conv_vae.reconstruction(logits, x, "sigma", best.detach() * factor).mean() > term


def test_temperature_is_the_tempered_bernoullis_mean():
    """(7): p^(1/T) and (1 - p)^(1/T), normalised, is sigmoid(logit / T)."""
    p, t = torch.linspace(0.05, 0.95, 19), 0.4
    powered = p ** (1 / t) / (p ** (1 / t) + (1 - p) ** (1 / t))
    torch.testing.assert_close(torch.sigmoid(torch.logit(p) / t), powered)


@pytest.mark.parametrize("module", (conv_ae, rnn_ae), ids=lambda m: m.__name__)
def test_mse(module):
    assert module.mse(torch.full((2, 1, 28, 28), 0.5), torch.zeros(2, 1, 28, 28)).item() == pytest.approx(0.25)


def test_cross_entropy_is_minus_log_probability():
    logits, y = torch.tensor([[1e4, 0.0, -1e4, 0.0, 0.0], [0.0] * 5]), torch.tensor([0, 3])
    assert classifier.cross_entropy(logits, y).item() == pytest.approx(math.log(5) / 2)


def test_gru_equation_is_torchs():
    """Equation (6) of rnn_ae.py, by hand, against nn.GRUCell."""
    torch.manual_seed(0)
    cell, x, h = torch.nn.GRUCell(3, 4), torch.randn(2, 3), torch.randn(2, 4)
    (wr, ws, wn), (ur, us, un) = cell.weight_ih.chunk(3), cell.weight_hh.chunk(3)
    (br, bs, bn), (cr, cs, cn) = cell.bias_ih.chunk(3), cell.bias_hh.chunk(3)
    r, s = torch.sigmoid(x @ wr.T + br + h @ ur.T + cr), torch.sigmoid(x @ ws.T + bs + h @ us.T + cs)
    torch.testing.assert_close(s * h + (1 - s) * torch.tanh(x @ wn.T + bn + r * (h @ un.T + cn)), cell(x, h))


# ---- metrics ----

def test_frechet_equal_covariances_is_the_means_distance():
    cov = np.cov(np.random.default_rng(0).normal(size=(50, 6)).T)
    assert metrics.frechet_distance(np.zeros(6), cov, np.full(6, 2.0), cov) == pytest.approx(24)


def test_frechet_in_one_dimension():
    """N(0, 1) and N(2, 9): (2 - 0)^2 + (3 - 1)^2 = 8."""
    assert metrics.frechet_distance([0.0], [[1.0]], [2.0], [[9.0]]) == pytest.approx(8)


@pytest.mark.parametrize("rank", (20, 5))
def test_frechet_against_scipys_sqrtm(rank):
    rng = np.random.default_rng(rank)
    a, b = rng.normal(size=(rank, 20)), rng.normal(size=(rank, 20)) * 2
    mu1, mu2, cov1, cov2 = rng.normal(size=20), rng.normal(size=20), a.T @ a, b.T @ b
    expected = ((mu1 - mu2) ** 2).sum() + np.trace(cov1 + cov2) - 2 * np.trace(scipy.linalg.sqrtm(cov1 @ cov2)).real
    assert metrics.frechet_distance(mu1, cov1, mu2, cov2) == pytest.approx(expected, rel=1e-5)


def test_frechet_is_zero_symmetric_and_invariant_to_order():
    x, y = np.random.default_rng(0).normal(size=(2, 300, 8))
    y = y * 1.5 + 1
    assert abs(metrics.fid(x, x)) < 1e-9
    assert metrics.fid(x, y) == pytest.approx(metrics.fid(y, x))
    assert metrics.fid(x, y[::-1]) == pytest.approx(metrics.fid(x, y))
    assert metrics.fid(x + 1e6, y + 1e6) == pytest.approx(metrics.fid(x, y), rel=1e-4)  # centred before squaring


@pytest.mark.parametrize("bad", [
    (np.zeros(2), np.eye(2), np.zeros(3), np.eye(3)), (np.zeros(2), np.eye(3), np.zeros(2), np.eye(2)),
    (np.array([0, np.nan]), np.eye(2), np.zeros(2), np.eye(2)), (np.zeros(2), np.array([[1, 2], [0, 1.0]]), np.zeros(2), np.eye(2))])
def test_frechet_refuses(bad):
    with pytest.raises(ValueError):
        metrics.frechet_distance(*bad)


def test_moments_are_numpys():
    x = np.random.default_rng(0).normal(size=(40, 5))
    mu, cov = metrics.mean_and_covariance(x)
    np.testing.assert_allclose(mu, x.mean(0))
    np.testing.assert_allclose(cov, np.cov(x.T))


def test_fid_bias_falls_with_n_and_the_extrapolation_removes_most_of_it():
    rng = np.random.default_rng(0)
    real = rng.normal(size=(20_000, 16))
    small = np.mean([metrics.fid(real, rng.normal(size=(200, 16))) for _ in range(10)])
    large = np.mean([metrics.fid(real, rng.normal(size=(1000, 16))) for _ in range(10)])
    infinite = np.mean([metrics.fid_infinity(real, rng.normal(size=(1000, 16)), rng) for _ in range(10)])
    assert small > 3 * large > 0
    assert abs(infinite) < 0.35 * large


def test_inception_score_limits():
    assert metrics.inception_score(np.eye(5).repeat(10, axis=0)) == pytest.approx(5)
    assert metrics.inception_score(np.full((7, 5), 0.2)) == pytest.approx(1)
    assert metrics.inception_score(np.eye(5)[[0] * 9]) == pytest.approx(1)  # one category only
    p = np.array([[0.9, 0.1], [0.3, 0.7]])
    marginal = p.mean(0)
    assert metrics.inception_score(p) == pytest.approx(np.exp(np.mean([(row * np.log(row / marginal)).sum() for row in p])))


@pytest.mark.parametrize("bad", [np.zeros((0, 5)), np.full((3, 5), 0.3), np.array([[1.5, -0.5]]), np.zeros(5)])
def test_inception_score_refuses(bad):
    with pytest.raises(ValueError):
        metrics.inception_score(bad)


def test_kernel_distance_is_the_double_sum():
    rng = np.random.default_rng(0)
    r, s = rng.normal(size=(6, 3)), rng.normal(size=(5, 3)) + 1

    def k(a, b):
        return (a @ b / 3 + 1) ** 3

    rr = np.mean([k(r[i], r[j]) for i in range(6) for j in range(6) if i != j])
    ss = np.mean([k(s[i], s[j]) for i in range(5) for j in range(5) if i != j])
    assert metrics.kernel_distance(r, s) == pytest.approx(rr + ss - 2 * np.mean([k(a, b) for a in r for b in s]))


def test_kernel_distance_is_unbiased():
    rng = np.random.default_rng(0)
    values = [metrics.kernel_distance(*rng.normal(size=(2, 30, 4))) for _ in range(400)]
    assert abs(np.mean(values)) < 4 * np.std(values) / 20


def test_precision_and_recall():
    """Real: a line of unit steps. Samples on a part of it are precise and recall that part only."""
    real = np.arange(20.0)[:, None]
    assert metrics.precision_recall(real, real, k=1) == (1.0, 1.0)
    precision, recall = metrics.precision_recall(real, real[:5] + 0.1, k=1)
    assert precision == 1.0 and recall == pytest.approx(6 / 20)
    assert metrics.precision_recall(real, real + 1000, k=1) == (0.0, 0.0)


def test_diversity_is_the_mean_over_pairs():
    x = np.random.default_rng(0).random((8, 28, 28))
    pairs = [((a - b) ** 2).sum() for i, a in enumerate(x) for j, b in enumerate(x) if i != j]
    assert metrics.diversity(x) == pytest.approx(np.mean(pairs))
    assert metrics.diversity(np.repeat(x[:1], 4, axis=0)) == pytest.approx(0, abs=1e-9)


def test_distance_to_training_is_zero_for_copies_alone():
    rng = np.random.default_rng(0)
    train = rng.random((20, 1, 28, 28)).astype(np.float32)
    assert metrics.distance_to_training(train[::-1], train) == pytest.approx(0, abs=1e-2)
    x = rng.random((5, 1, 28, 28)).astype(np.float32)
    expected = np.median([min(np.sqrt(((a - b) ** 2).sum()) for b in train) for a in x])
    assert metrics.distance_to_training(x, train) == pytest.approx(expected, rel=1e-4)


def test_recognised_agrees_with_metrics_diversity(monkeypatch):
    rng = np.random.default_rng(0)
    labels = np.arange(5).repeat(6)
    data = SimpleNamespace(x_test=rng.random((30, 1, 28, 28)), y_test=labels)
    images = rng.integers(0, 256, (30, 28, 28)).astype(np.uint8)
    logits = {"right": 50 * np.eye(5)[labels], "always rabbit": 50 * np.eye(5)[np.zeros(30, int)]}
    monkeypatch.setattr(cvae, "predict", lambda model, x, device: (logits[model], None))
    found, probs = cvae.recognised(images, labels, SimpleNamespace(cnn="right", mlp="always rabbit"), data, "cpu")
    expected = np.mean([metrics.diversity(images[labels == k] / 255) / metrics.diversity(data.x_test[labels == k]) for k in range(5)])
    assert found["diversity"] == pytest.approx(expected)
    assert (found["cnn_accuracy"], found["mlp_accuracy"]) == (1.0, pytest.approx(0.2)) and found["cnn_confidence"] == pytest.approx(1)
    np.testing.assert_allclose(probs["cnn"].sum(axis=1), 1)


def test_softmax_is_torchs():
    logits = np.array([[1e4, 0, -1e4], [0.3, 0.2, 0.1]])
    np.testing.assert_allclose(classifier.softmax(logits), torch.from_numpy(logits).softmax(1).numpy())


def test_calibration():
    """100 answers at 0.8, 60 of them right: the error is 0.2."""
    probs = np.tile([0.8, 0.2], (100, 1))
    y = np.array([0] * 60 + [1] * 40)
    confidence, accuracy, share, error = classifier.calibration(probs, y)
    assert error == pytest.approx(0.2)
    assert share.sum() == pytest.approx(1) and confidence[12] == pytest.approx(0.8) and accuracy[12] == pytest.approx(0.6)


# ---- drawings in, drawings out ----

def test_rows_become_time_steps_and_come_back():
    x = torch.arange(2 * 784.0).reshape(2, 1, 28, 28)
    rows = x.squeeze(1)
    assert rows.shape == (2, 28, 28) and torch.equal(rows[1, 3], x[1, 0, 3])
    assert torch.equal(rows.unsqueeze(1), x)


def test_augment_moves_and_mirrors_and_does_nothing_else():
    x = torch.zeros(400, 1, 28, 28)
    x[:, 0, 10, 5], x[:, 0, 20, 6] = 1.0, 0.5  # two dots: a mirror image is told from a shift
    moved = common.augment(x, torch.Generator().manual_seed(0), shift=2)
    assert moved.shape == x.shape
    assert torch.equal(common.augment(x, torch.Generator().manual_seed(0), shift=0, mirror=0.0), x)
    assert torch.equal(common.augment(x, torch.Generator().manual_seed(0), shift=0, mirror=1.0), x.flip(-1))
    torch.testing.assert_close(moved.sum((1, 2, 3)), torch.full((400,), 1.5))
    seen = {tuple(torch.nonzero(d[0] == 1.0)[0].tolist()) for d in moved}
    expected = {(10 + dy, column + dx) for dy in range(-2, 3) for dx in range(-2, 3) for column in (5, 22)}
    assert seen == expected
    for d in moved:
        (r1, c1), (r2, c2) = torch.nonzero(d[0] == 1.0)[0].tolist(), torch.nonzero(d[0] == 0.5)[0].tolist()
        assert r2 - r1 == 10 and abs(c2 - c1) == 1


def test_show_grid_puts_drawings_in_reading_order():
    images = np.arange(6.0)[:, None, None] * np.ones((1, 28, 28)) / 6
    fig, axes = common.figure()
    common.show_grid(axes[0, 0], images, columns=3)
    canvas = axes[0, 0].images[0].get_array()
    np.testing.assert_allclose([[canvas[28 * r, 28 * c] for c in range(3)] for r in range(2)], [[0, 1 / 6, 2 / 6], [3 / 6, 4 / 6, 5 / 6]])
    assert axes[0, 0].images[0].get_clim() == (0, 1)
    common.plt.close(fig)
