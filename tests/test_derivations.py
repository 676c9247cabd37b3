"""docs/derivations.md: every step's equations are read from the file and hold for numbers; every quoted line is in the code.

A test's name is its step's number: test_1_2_... is step 1.2. It gives a value to each name that occurs in the step's
equations, found in another way than by the equation: a library's, autograd's, exact quadrature, brute force, our own code.
"""

import ast
import math
import re
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import ROOT
from scipy.optimize import linear_sum_assignment
from torch.distributions import Bernoulli, MultivariateNormal, Normal, kl_divergence

import conv_vae
import cvae
import metrics
import rnn_vae
from more import beta_vae, cvae_color
from more.ddpm import Chain

DOCUMENT = (ROOT / "docs" / "derivations.md").read_text()
CPU = torch.device("cpu")


# ---- the document's steps ----

def read_steps(document):
    """{number: [equation, ...]}: indented lines after a step's number, remarks cut off, lines that begin with an operator joined."""
    steps, equations = {}, None
    for line in document.splitlines():
        if found := re.match(r"(?:\*\*|    )(\d+\.\d+)(?:\*\*|(?= {2}))", line):
            assert found[1] not in steps, f"two steps {found[1]}"
            equations = steps[found[1]] = []
            line = line[found.end():] if line.startswith(" ") else ""
        elif line.startswith(("## ", "Used in")):
            equations = None
        elif not line.startswith("    "):
            continue
        line = re.split(r" {3,}", line.strip())[0]
        if equations is not None and line:
            if line.startswith(("= ", "<= ", "+ ", "- ")):
                equations[-1] += " " + line
            else:
                equations.append(line)
    return steps


STEPS = read_steps(DOCUMENT)


# ---- equations in plain text, with numbers put in ----

def number(value):
    return torch.as_tensor(value, dtype=torch.float64).reshape(1, 1)


def times(a, b):
    """Side by side: matrices, but where one is a number, or both are (B, L) or columns, elementwise."""
    a, b = (v if v.ndim > 1 else v.reshape(1, 1) for v in (a, b))
    one = (1, 1) in (a.shape[-2:], b.shape[-2:])
    return a * b if one or (a.shape[-2:] == b.shape[-2:] and a.shape[-1] != a.shape[-2]) else a @ b


def power(a, exponent):
    if a.shape[-1] != a.shape[-2] or a.shape[-1] == 1:
        return a ** exponent
    if exponent == -1:
        return torch.linalg.inv(a)
    assert exponent == 0.5, "of matrices the inverse and the root alone"
    values, vectors = torch.linalg.eig(a)  # of S_r S_s, too, which is not symmetric: real all the same
    return (vectors @ torch.diag_embed(values.sqrt()) @ torch.linalg.inv(vectors)).real


FUNCTIONS = {
    "ln": torch.log, "exp": torch.exp, "sqrt": torch.sqrt, "sigmoid": torch.sigmoid, "tanh": torch.tanh, "floor": torch.floor,
    "det": lambda a: torch.linalg.det(a)[..., None, None], "tr": lambda a: a.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None],
    "sum_l": lambda a: a.sum((-2, -1), keepdim=True), "sum_i": lambda a: a.sum((-2, -1), keepdim=True), "pi": number(math.pi)}


class Reader:
    """One side of an equation, by recursive descent: sum, product from left to right, function, power, bracket."""

    def __init__(self, text, names):
        self.names = FUNCTIONS | names
        odd = sorted((n for n in names if not re.fullmatch(r"\w+'?", n)), key=len, reverse=True)  # "ln q(z)", "a_{t-1}"
        token = "|".join([*map(re.escape, odd), r"\d+(?:\.\d+)?", r"[A-Za-z]\w*'?", r"[-+*/^()\[\]|,]"])
        self.tokens = re.findall(token, text) + [""]
        assert "".join(self.tokens).replace(" ", "") == text.replace(" ", ""), f"found {self.tokens}, expected to read {text!r}"

    def take(self, *expected):
        if not expected or self.tokens[0] in expected:
            return self.tokens.pop(0)
        return None

    def whole(self):
        values = [self.sum()]
        while self.take(","):
            values.append(self.sum())
        assert self.tokens == [""], f"left over: {self.tokens}"
        return values

    def sum(self):
        value = self.product()
        while sign := self.take("+", "-"):
            right = self.product()
            value = value + right if sign == "+" else value - right
        return value

    def product(self):
        value = -self.power() if self.take("-") else self.power()
        while self.tokens[0] not in ("", "+", "-", ")", "]", ",", "|") or (self.tokens[0] == "|" and not self.bar):
            sign = self.take("*", "/")
            right = self.power()
            value = value * right if sign == "*" else value / right if sign == "/" else times(value, right)
        return value

    bar = False  # inside |...| the next | closes

    def power(self):
        token = self.take()
        if token in ("(", "["):
            bar, self.bar = self.bar, False
            values = [self.sum()]
            while self.take(","):
                values.append(self.sum())
            assert self.take(")", "]") == {"(": ")", "[": "]"}[token]
            value, self.bar = values[0] if len(values) == 1 else torch.cat(values), bar
        elif token == "|":
            self.bar = True
            value = (self.sum() ** 2).sum((-2, -1), keepdim=True).sqrt()
            assert self.take("|")
            self.bar = False
        elif re.fullmatch(r"\d+(\.\d+)?", token):
            value = number(float(token))
        elif callable(self.names[token]):  # an unknown name is a KeyError: nothing passes unread
            wide = token.startswith(("sum", "mean", "integral"))
            return self.names[token](self.product() if wide else self.power())
        else:
            value = self.names[token]
        while self.take("^"):
            if self.take("T"):
                value = value.mT
            elif self.take("-"):
                value = power(value, -float(self.take()))
            else:
                exponent = self.power()
                value = power(value, exponent.item())
        return value


def check(equation, names, rtol=1e-9, atol=1e-9):
    """All sides of `a = b <= c`, read with these values, agree; a decimal number by its digits."""
    names = {name: v if callable(v) else v if torch.is_tensor(v) and v.ndim > 1 else number(v) for name, v in names.items()}
    texts = re.split(r" (=|<=|>=) ", equation)
    assert len(texts) > 1, f"no equation: {equation!r}"
    sides = []
    for text in texts[::2]:
        values = Reader(text, names).whole()
        sides.append(list(values[0]) if isinstance(values[0], tuple) else values)  # f(x) may be two tensors
    for left, sign, right, text in zip(sides, texts[1::2], sides[1:], texts[2::2]):
        digits = 0.5 * 10.0 ** -len(text.split(".")[1]) if re.fullmatch(r"\d+\.\d+", text) else 0.0
        assert len(left) == len(right)
        for a, b in zip(left, right):
            a, b = torch.broadcast_tensors(a, b)
            slack = atol + digits + rtol * b.abs()
            wrong = (a - b).abs() > slack if sign == "=" else a - b > slack if sign == "<=" else b - a > slack
            assert torch.isfinite(a + b).all() and not wrong.any(), f"{equation}\nfound {a[wrong][:3].tolist()} and {b[wrong][:3].tolist()}"


class Step:
    def __init__(self, name):
        self.equations = STEPS[name]
        self.left = list(self.equations)

    def holds(self, names, *equations, **tolerance):
        """Reads the named equations, else all that are left, and checks them."""
        for equation in equations or tuple(self.left):
            self.by_hand(equation)
            check(equation, names, **tolerance)

    def by_hand(self, equation):
        """An equation that the test itself computes, word for word as the document has it."""
        assert equation in self.equations
        if equation in self.left:
            self.left.remove(equation)


@pytest.fixture
def step(request):
    """The step that the test's name names; at the end each of its equations must have been checked."""
    found = Step(".".join(re.match(r"test_(\d+)_(\d+)_", request.node.name).groups()))
    yield found
    assert not found.left, f"not checked: {found.left}"


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def uniform(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def covariance(size, seed):
    a = normal(size, size, seed=seed)
    return a @ a.mT + 0.5 * torch.eye(size, dtype=torch.float64)


# ---- document and tests agree ----

def test_every_step_has_a_test_and_every_test_a_step():
    tree = ast.parse(Path(__file__).read_text())
    tested = [".".join(found.groups()) for f in tree.body if isinstance(f, ast.FunctionDef)
              if (found := re.match(r"test_(\d+)_(\d+)_", f.name))]
    assert tested == list(STEPS)
    parts = re.findall(r"^## (\d+)\. ", DOCUMENT, re.MULTILINE)
    assert parts == ["1", "2", "3", "4", "5", "6", "7"]
    for part in parts:
        count = sum(name.startswith(f"{part}.") for name in STEPS)
        assert [name for name in STEPS if name.startswith(f"{part}.")] == [f"{part}.{i}" for i in range(1, count + 1)]
    assert all(STEPS.values()), "a step without an equation"


def test_steps_that_the_text_refers_to_are_there():
    prose = re.sub(r"^    .*$|^\*\*[\d.]+\*\*|^Sources?:.*?section \S+|`[^`]*`", "", DOCUMENT, flags=re.MULTILINE)
    referred = re.findall(r"(?<![\w.])\d\.\d+", prose)
    assert len(referred) > 30 and set(referred) <= set(STEPS)


QUOTES = [(int(part), name, quote)
          for part, text in re.findall(r"^## (\d+)\. (.*?)(?=^## |\Z)", DOCUMENT, re.MULTILINE | re.DOTALL)
          for names, quote in re.findall(r"^- ((?:`[\w/.]+`(?:, )?)+): `(.+)`$", text, re.MULTILINE)
          for name in re.findall(r"`([\w/.]+)`", names)]


@pytest.mark.parametrize(("part", "name", "quote"), QUOTES)
def test_a_quoted_line_stands_once_in_its_file(part, name, quote):
    lines = [line.strip() for line in (ROOT / name).read_text().splitlines()]
    assert sum(line == quote or line.startswith(quote + "  #") for line in lines) == 1, f"{name}: {quote}"


def test_every_derivation_says_where_it_is_used():
    assert {part for part, _, _ in QUOTES} == set(range(1, 8))
    assert DOCUMENT.count("\n- `") == len({(part, quote) for part, _, quote in QUOTES})  # none that the pattern misses


@pytest.mark.parametrize("equation", [
    "u^T A u = tr(A u^T u)", "1/2 u = 2 u", "ln n^2 = (ln n)^2", "A u = u A", "n <= 2", "n = 3.0", "A^-1 A = A", "|u| = u^T u",
    "sum_l u * u = (sum_l u) * u", "(1, 2) = (1, 3)", "n - 1 - 1 = n - (1 - 1)", "A^(1/2) = A", "-n = n", "unknown = unknown"])
def test_the_reader_finds_what_is_false(equation):
    names = {"A": covariance(3, 1), "u": normal(3, 1), "n": 2.94}
    with pytest.raises((AssertionError, KeyError, RuntimeError)):
        check(equation, names)


@pytest.mark.parametrize("equation", [
    "n / 2 n = n^2 / 2", "ln det A = ln(det(A))", "-1/2 [n + 1] = -0.5 n - 0.5", "2 |u|^2 = 2 u^T u", "A^(1/2) A^(1/2) = A", "n = 2.9",
    "sum_l u * u = |u|^2", "tr A u = tr(A) u", "n <= 3 <= 3", "A u = (A^T)^T u", "(1, 2)^T (3, 4) = 11", "ln q(z) = n"])
def test_the_reader_reads_as_the_document_says(equation):
    check(equation, {"A": covariance(3, 1), "u": normal(3, 1), "n": 2.94, "ln q(z)": 2.94})


# ---- 1. KL divergence of two Gaussians ----

@pytest.fixture
def gaussians():
    """q and p on R^3, and 4^3 points and weights that give E_q exactly for polynomials up to degree 7 (Gauss and Hermite)."""
    values = {"L": 3, "mu_q": normal(3, 1, seed=1), "mu_p": normal(3, 1, seed=2), "S_q": covariance(3, 3), "S_p": covariance(3, 4)}
    q, p = (MultivariateNormal(values[f"mu_{k}"][:, 0], values[f"S_{k}"]) for k in "qp")
    nodes, weights = np.polynomial.hermite_e.hermegauss(4)
    points = torch.tensor(list(product(nodes, repeat=3)))[..., None]  # (64, 3, 1)
    w = torch.tensor(list(product(weights / weights.sum(), repeat=3))).prod(dim=1)[:, None, None]  # (64, 1, 1)
    values |= {"z": values["mu_q"] + q.scale_tril @ points, "E_q": lambda f: (w * f).sum(dim=0), "KL(q || p)": kl_divergence(q, p)}
    return values, q, p


def test_1_1_definition(step, gaussians):
    """By Monte Carlo."""
    names, q, p = gaussians
    z = q.loc + normal(100_000, 3) @ q.scale_tril.mT
    log_q, log_p = (d.log_prob(z)[:, None, None] for d in (q, p))
    step.holds({"KL(q || p)": names["KL(q || p)"], "E_q": lambda f: f.mean(dim=0), "ln q(z)": log_q, "ln p(z)": log_p}, rtol=0.02)
    assert kl_divergence(p, q) > 1.5 * kl_divergence(q, p) or kl_divergence(q, p) > 1.5 * kl_divergence(p, q)  # not symmetric


def test_1_2_log_density(step, gaussians):
    names, q, _ = gaussians
    step.holds(names | {"ln q(z)": q.log_prob(names["z"][..., 0])[:, None, None]})


def test_1_3_log_densities_put_in(step, gaussians):
    step.holds(gaussians[0])


def test_1_4_trace(step):
    step.holds({"A": normal(3, 3, seed=1), "u": normal(5, 3, 1)})


def test_1_5_second_mean(step, gaussians):
    step.holds(gaussians[0])


def test_1_6_first_mean(step, gaussians):
    names = gaussians[0]
    step.holds(names)
    torch.testing.assert_close(names["E_q"](names["z"]), names["mu_q"])  # why the mixed terms vanish


def test_1_7_two_gaussians(step, gaussians):
    step.holds(gaussians[0])


def test_1_8_standard_normal_prior(step, gaussians):
    names, q, _ = gaussians
    prior = MultivariateNormal(torch.zeros(3, dtype=torch.float64), torch.eye(3, dtype=torch.float64))
    step.holds(names | {"KL(q || p)": kl_divergence(q, prior)})


def test_1_9_diagonal_covariance(step):
    mu, sigma = normal(4, 1), normal(4, 1, seed=1).exp()
    step.holds({"mu_l": mu, "sigma_l": sigma, "KL(q || p)": kl_divergence(Normal(mu, sigma), Normal(0.0, 1.0)).sum()})


def test_1_10_log_variance(step):
    mu, logvar = normal(1, 4), normal(1, 4, seed=1)
    for module in (conv_vae, rnn_vae, cvae, beta_vae, cvae_color):
        step.holds({"mu_l": mu, "logvar_l": logvar, "KL(q || p)": module.kl_divergence(mu, logvar).sum()}, *step.equations)
    library = kl_divergence(Normal(mu, (logvar / 2).exp()), Normal(0.0, 1.0)).sum()
    step.holds({"mu_l": mu, "logvar_l": logvar, "KL(q || p)": library}, step.equations[0])


# ---- 2. A VAE's forward pass ----

@pytest.fixture
def vae():
    """A VAE of conv_vae.py with random weights that say something, and six drawings."""
    torch.manual_seed(0)
    model = conv_vae.VAE(latent_dim=4, width=8).eval()
    with torch.no_grad():
        for layer in (model.encoder.layers[-1], model.decoder.layers[-1]):
            layer.weight *= 30
    return model, uniform(6, 1, 28, 28).float()


@pytest.fixture
def codes():
    """mu, logvar (20000, 2), the same in each row, and z and eps as conv_vae.py draws them."""
    mu, logvar = (torch.tensor([v], dtype=torch.float64).expand(20_000, 2) for v in ([1.5, -2.0], [1.2, -0.9]))
    z = conv_vae.VAE.reparameterise(None, mu, logvar, torch.Generator().manual_seed(0))
    return mu, logvar, z, torch.randn(mu.shape, generator=torch.Generator().manual_seed(0)).double()


def rows(value):
    return value.detach().double().flatten(1)


def sums_of_rows(value):
    return value.sum(dim=-1, keepdim=True)


def test_2_1_encoder(step, vae):
    model, x = vae
    _, mu, logvar = model(x)
    assert mu.shape == logvar.shape == (6, 4) and not torch.allclose(mu, logvar)
    step.holds({"f": lambda v: model.encoder(v), "x": x, "mu": mu, "logvar": logvar})
    torch.testing.assert_close(torch.cat([mu, logvar], dim=1), model.encoder.layers(x))  # halves of one layer's output


def test_2_2_standard_deviation(step, codes):
    _, logvar, z, _ = codes
    step.holds({"sigma": z.std(dim=0, keepdim=True), "logvar": logvar[:1]}, rtol=0.02)


def test_2_3_noise(step, codes):
    step.by_hand("eps ~ N(0, I)")
    mu, logvar, z, _ = codes
    eps = (z - mu) / logvar.exp().sqrt()  # what the code drew
    torch.testing.assert_close(eps.mean(dim=0), torch.zeros(2).double(), atol=0.03, rtol=0)
    torch.testing.assert_close(eps.mT.cov(), torch.eye(2).double(), atol=0.03, rtol=0)
    torch.testing.assert_close((eps ** 4).mean(dim=0), torch.full((2,), 3.0).double(), atol=0.2, rtol=0)  # a Gaussian's
    assert not torch.equal(z, conv_vae.VAE.reparameterise(None, mu, logvar))  # another update, another eps


def test_2_4_reparameterisation(step, codes):
    mu, logvar, z, eps = codes
    step.holds({"z": z, "mu": mu, "sigma": Normal(mu, logvar.exp().sqrt()).stddev, "eps": eps})
    mu, logvar = mu.clone().requires_grad_(), logvar.clone().requires_grad_()
    z = conv_vae.VAE.reparameterise(None, mu, logvar, torch.Generator().manual_seed(0))
    by_mu, by_logvar = torch.autograd.grad(z.sum(), (mu, logvar))
    torch.testing.assert_close(by_mu, torch.ones_like(mu))
    torch.testing.assert_close(by_logvar, logvar.exp().sqrt() * eps / 2)


def test_2_5_decoder(step, vae):
    model, x = vae
    torch.manual_seed(1)
    logits, mu, logvar = model(x)
    torch.manual_seed(1)
    z = model.reparameterise(mu, logvar)
    logits, x_hat = rows(logits), Bernoulli(logits=rows(logits)).mean
    step.holds({"g": lambda v: rows(model.decoder(v)), "z": z, "logits": logits, "x_hat": x_hat}, atol=1e-5)


def test_2_6_reconstruction(step, vae):
    logits, x = 3 * normal(6, 1, 28, 28, seed=1), vae[1].double()
    names = {"R": conv_vae.reconstruction(logits, x, "bernoulli", torch.tensor(1.0))[:, None], "sum_d": sums_of_rows}
    step.holds(names | {"x_d": rows(x), "x_hat_d": rows(logits.sigmoid()), "logits_d": rows(logits)})
    names["R"] = -Bernoulli(logits=rows(logits)).log_prob(rows(x.round())).sum(dim=1, keepdim=True)
    step.holds(names | {"x_d": rows(x.round()), "x_hat_d": rows(logits.sigmoid()), "logits_d": rows(logits)}, *step.equations)


def test_2_7_kl(step):
    mu, logvar = normal(6, 4), normal(6, 4, seed=1)
    names = {"KL": kl_divergence(Normal(mu, (logvar / 2).exp()), Normal(0.0, 1.0)).sum(dim=1, keepdim=True), "sum_l": sums_of_rows}
    step.holds(names | {"mu_l": mu, "logvar_l": logvar})


def test_2_8_loss(step):
    """Of the quoted lines: a mean over drawings of sums."""
    logits, x, mu, logvar, beta = normal(6, 1, 28, 28), uniform(6, 1, 28, 28), normal(6, 4, seed=1), normal(6, 4, seed=2), 3.0
    r, kl = conv_vae.reconstruction(logits, x, "bernoulli", torch.tensor(1.0)), conv_vae.kl_divergence(mu, logvar)
    loss = r.mean() + beta * kl.sum(dim=1).mean()
    step.holds({"loss": loss, "B": 6, "R_b": r[:, None], "KL_b": kl.sum(dim=1, keepdim=True), "beta": beta,
                "sum_b": lambda v: v.sum(dim=0, keepdim=True)})


def test_2_9_gradients(step):
    """By autograd; and the mean over eps is the gradient of E_q[-ln p(x|z)]: of a Gaussian p(x|z) that is known."""
    mu, logvar, eps, w = normal(6, 4).requires_grad_(), normal(6, 4, seed=1).requires_grad_(), normal(6, 4, seed=2), normal(4, 784, seed=3)
    z, beta = mu + logvar.exp().sqrt() * eps, 3.0
    r = conv_vae.reconstruction((z @ w).reshape(6, 1, 28, 28), uniform(6, 1, 28, 28), "bernoulli", torch.tensor(1.0))
    by_z, = torch.autograd.grad(r.sum(), z, retain_graph=True)
    by_mu, by_logvar = torch.autograd.grad(r.mean() + beta * conv_vae.kl_divergence(mu, logvar).sum(dim=1).mean(), (mu, logvar))
    step.holds({"dloss/dmu": by_mu, "dloss/dlogvar": by_logvar, "dR/dz": by_z, "mu": mu, "logvar": logvar, "eps": eps, "B": 6,
                "sigma": logvar.exp().sqrt(), "beta": beta})
    nodes, weights = (torch.from_numpy(v) for v in np.polynomial.hermite_e.hermegauss(5))
    mean, log_variance, x = 0.7, -0.4, 2.0  # R = (x - z)^2 / 2, whose mean over q is [(x - mu)^2 + exp logvar] / 2
    sigma = math.exp(log_variance / 2)
    by_z = mean + sigma * nodes - x
    weights = weights / weights.sum()
    assert (weights * by_z).sum().item() == pytest.approx(mean - x)
    assert (weights * by_z * sigma * nodes / 2).sum().item() == pytest.approx(math.exp(log_variance) / 2)


def test_2_10_new_drawings(step, vae):
    model, _ = vae
    cfg, z = conv_vae.Config(precision="float32", temperature=0.4), normal(6, 4).float()
    drawn = torch.from_numpy(conv_vae.decode(cfg, model, z, CPU)).double() / 255
    step.holds({"x_new": rows(drawn), "g": lambda v: rows(model.decoder(v)), "z_new": z, "T": 0.4}, atol=0.51 / 255)
    assert drawn.std() > 0.02  # more than the rounding


# ---- 3. The ELBO ----

def gauss(mean, deviation):
    return Normal(*(torch.tensor(v, dtype=torch.float64) for v in (mean, deviation)))


@pytest.fixture
def linear():
    """p(z) = N(0, 1), p(x|z) = N(w z, s2 I) on R^3, q(z|x) = N(m, v): all in closed form; z on a grid, for the integrals."""
    w, x, s2 = normal(3, 1, seed=1), torch.tensor([[1.5], [-0.5], [2.0]]).double(), 0.5
    z = torch.linspace(-12, 12, 4001, dtype=torch.float64)
    dz, noise = (z[1] - z[0]).item(), s2 * torch.eye(3, dtype=torch.float64)
    precision = 1 + (w * w).sum() / s2
    prior, posterior = gauss(0.0, 1.0), Normal((w * x).sum() / s2 / precision, precision.rsqrt())
    evidence = MultivariateNormal(z.new_zeros(3), w @ w.mT + noise).log_prob(x[:, 0])
    log_likelihood = MultivariateNormal(z.new_zeros(3), noise).log_prob(x[:, 0] - z[:, None] * w[:, 0])

    def values(q):
        """Of all names, for this q; R in closed form, as |x - w z|^2 is a square in z."""
        logs = {"ln p(x|z)": log_likelihood, "ln p(z)": prior.log_prob(z), "ln q(z|x)": q.log_prob(z), "ln p(z|x)": posterior.log_prob(z)}
        names = {name: value[:, None, None] for name, value in logs.items()} | {"ln p(x)": evidence}
        names |= {name[3:]: value.exp() for name, value in names.items()}
        r = 1.5 * math.log(2 * math.pi * s2) + (((x - w * q.mean) ** 2).sum() + (w * w).sum() * q.variance) / (2 * s2)
        names |= {"R": r, "KL(q(z|x) || p(z))": kl_divergence(q, prior), "KL(q(z|x) || p(z|x))": kl_divergence(q, posterior)}
        return names | {"ELBO": -r - kl_divergence(q, prior), "dz": dz, "integral": lambda f: f.sum(dim=0),
                        "w": (names["ln p(x|z)"] + names["ln p(z)"] - names["ln q(z|x)"]).exp(),
                        "E_q": lambda f: (names["q(z|x)"] * f).sum(dim=0) * dz}

    return values, gauss(-0.4, 0.9), posterior


def test_3_1_marginal_likelihood(step, linear):
    values, q, _ = linear
    step.holds(values(q))


def test_3_2_jensen(step, linear):
    values, q, posterior = linear
    grid = torch.linspace(0.01, 5, 60, dtype=torch.float64)
    step.holds({"u": grid[:, None, None], "c": grid[None, :, None, None]}, "ln u <= ln c + (u - c) / c")
    for other in (q, gauss(-1.0, 0.5), gauss(0.0, 1.5)):
        names = values(other)
        step.holds(names, "E_q[ln w] <= ln E_q[w]")
        assert names["E_q"](names["w"].log()) < names["E_q"](names["w"]).log() - 0.1  # w varies
    names = values(posterior)  # here w is p(x) for all z
    check("E_q[ln w] = ln E_q[w]", names)
    check("w = p(x)", {"w": names["w"][1500:2500], "p(x)": names["p(x)"]})


def test_3_3_lower_bound(step, linear):
    values, q, posterior = linear
    for other in (gauss(-1.0, 0.5), gauss(0.0, 1.5), q):
        step.holds(values(other), *step.equations)
    check(step.equations[0].replace(">=", "="), values(posterior))


def test_3_4_reconstruction_and_kl(step, linear):
    values, q, _ = linear
    step.holds(values(q))


def test_3_5_kl_is_not_negative(step, linear):
    values, q, _ = linear
    step.holds(values(q))
    check("KL(q(z|x) || p(z)) = 0", values(gauss(0.0, 1.0)))
    names = values(q)
    assert names["KL(q(z|x) || p(z))"] > 0.05


def test_3_6_bayes(step, linear):
    values, q, _ = linear
    step.holds(values(q))


def test_3_7_the_gap(step, linear):
    values, q, posterior = linear
    step.holds(values(q))
    assert values(q)["KL(q(z|x) || p(z|x))"] > 0.05
    check("ELBO = ln p(x)", values(posterior))


def test_3_8_beta(step, linear):
    values, q, posterior = linear
    for beta in (0.25, 1.0, 4.0):
        step.holds(values(posterior) | {"beta": beta}, *step.equations)
        for other in (q, posterior):
            if beta >= 1:
                check("-(R + beta KL(q(z|x) || p(z))) <= ELBO <= ln p(x)", values(other) | {"beta": beta})
    names = values(posterior)
    assert -(names["R"] + 0.25 * names["KL(q(z|x) || p(z))"]) > names["ln p(x)"] + 0.1  # no bound


def test_3_9_aggregate_posterior(step):
    """Three clouds that overlap; three that do not hold ln 3 nats of information, all that there can be."""
    z, prior = torch.linspace(-15, 15, 6001, dtype=torch.float64), gauss(0.0, 1.0)
    for apart in (1.5, 10.0):
        q = gauss([-apart, 0.5, apart], [0.5, 0.8, 0.4])
        dz, each = z[1] - z[0], q.log_prob(z[:, None]).exp()  # (6001, 3)
        mixed = each.mean(dim=1)  # q(z)
        which = each / each.sum(dim=1, keepdim=True)  # p(n|z); the information is ln N less what z leaves open
        information = math.log(3) + (mixed * torch.xlogy(which, which).sum(dim=1)).sum() * dz
        names = {"KL(q(z|x_n) || p(z))": kl_divergence(q, prior)[:, None], "mean_n": lambda v: v.mean(dim=0, keepdim=True), "N": 3,
                 "KL(q(z|x_n) || q(z))": (torch.xlogy(each, each / mixed[:, None]).sum(dim=0) * dz)[:, None], "I(x; z)": information,
                 "KL(q(z) || p(z))": (mixed * (mixed.log() - prior.log_prob(z))).sum() * dz}
        step.holds(names, *step.equations)
    assert information.item() == pytest.approx(math.log(3))
    check(step.equations[1].replace("<=", "="), names)


# ---- 4. Back-propagation through a GRU cell ----

GATES = ("r", "s", "n")  # torch's order of rows


@pytest.fixture
def cell():
    """A GRU cell of 3 inputs and 4 states in float64, and its weights under the document's names."""
    torch.manual_seed(0)
    cell = torch.nn.GRUCell(3, 4).double()
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.mul_(2)
    names = {}
    for letter, parameter in zip("WUbc", (cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh)):
        names |= {f"{letter}_{gate}": part if part.ndim > 1 else part[:, None] for gate, part in zip(GATES, parameter.detach().chunk(3))}
    return cell, names | {"x": normal(3, 1, seed=1), "h": normal(4, 1, seed=2)}


def run(names, **changed):
    """torch's cell with some of the weights changed: column h'."""
    names = names | {name: torch.full_like(names[name], value) for name, value in changed.items()}
    cell = torch.nn.GRUCell(3, 4).double()
    cell.load_state_dict({key: torch.cat([names[f"{letter}_{gate}"] for gate in GATES]).reshape(cell.state_dict()[key].shape)
                          for letter, key in zip("WUbc", ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))})
    return cell(names["x"].mT, names["h"].mT).detach().mT


def measured(names):
    """The gates and the candidate, seen through h' by switching the rest of torch's cell off."""
    no_candidate = {"W_n": 0, "b_n": 0, "U_n": 0, "c_n": 0}
    always_new, reset_open = {"W_s": 0, "U_s": 0, "b_s": -1e3, "c_s": 0}, {"W_r": 0, "U_r": 0, "b_r": 1e3, "c_r": 0}
    return {"s": run(names, **no_candidate) / names["h"],  # h' = s * h
            "r": torch.atanh(run(names, **always_new, W_n=0, b_n=0, U_n=0, c_n=0.5)) / 0.5,  # h' = tanh(r / 2)
            "u": torch.atanh(run(names, **always_new, **reset_open, W_n=0, b_n=0)), "n": run(names, **always_new)}


def test_4_1_gates(step, cell):
    names = cell[1] | measured(cell[1])
    step.holds(names | {"a_r": torch.logit(names["r"]), "a_s": torch.logit(names["s"])})


def test_4_2_candidate(step, cell):
    names = cell[1] | measured(cell[1])
    step.holds(names | {"a_n": torch.atanh(names["n"])})


def test_4_3_new_state(step, cell):
    step.holds(cell[1] | measured(cell[1]) | {"h'": run(cell[1])})


@pytest.fixture
def backward(cell):
    """Every derivative of a loss by autograd; weights', x's and h's from torch's own cell, those within from one built here."""
    cell, names = cell
    x, h, weight = names["x"].clone().requires_grad_(), names["h"].clone().requires_grad_(), normal(4, 1, seed=3)
    (cell(x.mT, h.mT) @ weight).sum().backward()
    d = {"dx": x.grad, "dh": h.grad, "dh'": weight}
    for letter, parameter in zip("WUbc", (cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh)):
        d |= {f"d{letter}_{gate}": part if part.ndim > 1 else part[:, None] for gate, part in zip(GATES, parameter.grad.chunk(3))}
    v = {f"a_{k}": (names[f"W_{k}"] @ x + names[f"b_{k}"] + names[f"U_{k}"] @ h + names[f"c_{k}"]) for k in "rs"}
    v |= {k: torch.sigmoid(v[f"a_{k}"]) for k in "rs"} | {"u": names["U_n"] @ h + names["c_n"]}
    v["a_n"] = names["W_n"] @ x + names["b_n"] + v["r"] * v["u"]
    v["n"] = torch.tanh(v["a_n"])
    new = (1 - v["s"]) * v["n"] + v["s"] * h
    torch.testing.assert_close(new, cell(x.mT, h.mT).mT)
    d |= {f"d{name}": grad for name, grad in zip(v, torch.autograd.grad((new * weight).sum(), list(v.values()), retain_graph=True))}
    for k in GATES:
        d[f"d{k}/da_{k}"] = torch.autograd.grad(v[k].sum(), v[f"a_{k}"], retain_graph=True)[0]
    assert all(value.abs().min() > 1e-6 for value in d.values())  # none is 0, so that a missing term shows
    return names | {name: value.detach() for name, value in v.items()} | d


def test_4_4_derivatives_of_the_activations(step, backward):
    step.holds(backward)


def test_4_5_through_the_mixture(step, backward):
    step.holds(backward)


def test_4_6_through_the_reset_gate(step, backward):
    step.holds(backward)


def test_4_7_to_the_weights(step, backward):
    step.holds(backward)


def test_4_8_to_the_input(step, backward):
    step.holds(backward)


def test_4_9_to_the_old_state(step, backward):
    step.holds(backward)


def cell_forward(p, x, h):
    """4.1 to 4.3 for columns; returns h' and what 4.5 to 4.9 need."""
    r, s = (torch.sigmoid(p[f"W_{k}"] @ x + p[f"b_{k}"] + p[f"U_{k}"] @ h + p[f"c_{k}"]) for k in "rs")
    u = p["U_n"] @ h + p["c_n"]
    n = torch.tanh(p["W_n"] @ x + p["b_n"] + r * u)
    return (1 - s) * n + s * h, (x, h, r, s, u, n)


def cell_backward(p, kept, dh_new):
    """4.5 to 4.9: (dx, dh, {weight's name: gradient})."""
    x, h, r, s, u, n = kept
    da_n, da_s = dh_new * (1 - s) * (1 - n ** 2), dh_new * (h - n) * s * (1 - s)  # 4.5
    da_r, du = da_n * u * r * (1 - r), da_n * r  # 4.6
    grads = {}
    for k, by_input, by_state in (("r", da_r, da_r), ("s", da_s, da_s), ("n", da_n, du)):  # 4.7
        grads |= {f"W_{k}": by_input @ x.mT, f"b_{k}": by_input, f"U_{k}": by_state @ h.mT, f"c_{k}": by_state}
    dx = p["W_r"].mT @ da_r + p["W_s"].mT @ da_s + p["W_n"].mT @ da_n  # 4.8
    return dx, dh_new * s + p["U_r"].mT @ da_r + p["U_s"].mT @ da_s + p["U_n"].mT @ du, grads  # 4.9


def test_4_10_through_time(step, cell):
    """All written out by hand, over 6 steps, against torch.nn.GRU's autograd."""
    step.by_hand("dh_t = e_t + (dh of step t + 1)")
    step.by_hand("dW_r = sum_t da_{r,t} x_t^T")
    p = cell[1]
    gru = torch.nn.GRU(3, 4).double()
    gru.load_state_dict({f"{key}_l0": value for key, value in cell[0].state_dict().items()})
    x, e = normal(6, 3, seed=4).requires_grad_(), normal(6, 4, seed=5)
    h0 = p["h"].mT.clone().requires_grad_()
    out, _ = gru(x, h0)
    (out * e).sum().backward()

    h, kept = p["h"], []
    for t in range(6):
        h, k = cell_forward(p, x[t].detach()[:, None], h)
        kept.append(k)
        torch.testing.assert_close(h[:, 0], out[t].detach())
    dh, dx, total = torch.zeros_like(h), [], {name: torch.zeros_like(value) for name, value in p.items() if name not in "xh"}
    for t in reversed(range(6)):
        one, dh, grads = cell_backward(p, kept[t], e[t][:, None] + dh)
        dx.insert(0, one)
        total = {name: value + grads[name] for name, value in total.items()}
    torch.testing.assert_close(torch.stack(dx)[..., 0], x.grad, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(dh.mT, h0.grad, rtol=1e-12, atol=1e-12)
    for letter, key in zip("WUbc", ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")):
        by_hand = torch.cat([total[f"{letter}_{k}"] for k in GATES])
        grad = gru.get_parameter(key).grad
        torch.testing.assert_close(by_hand.reshape(grad.shape), grad, rtol=1e-12, atol=1e-12)


def test_4_11_why_gates(step, cell):
    torch.manual_seed(0)
    plain, weight = torch.nn.RNNCell(3, 4).double(), normal(4, 1, seed=3)
    x, h = cell[1]["x"], cell[1]["h"].clone().requires_grad_()
    new = plain(x.mT, h.mT).mT
    dh, = torch.autograd.grad((new * weight).sum(), h)
    step.holds({"dh": dh, "dh'": weight, "h'": new.detach(), "U": plain.weight_hh.detach()}, "dh = U^T (dh' * (1 - h'^2))")
    step.holds({}, "0.9^28 = 0.052")
    with torch.no_grad():
        cell[0].bias_ih[4:8] = 50.0  # sigmoid(50) is 1 in float64
    dh, = torch.autograd.grad((cell[0](x.mT, h.mT).mT * weight).sum(), h)
    step.holds({"dh": dh, "dh'": weight}, "dh = dh'")


# ---- 5. The transposed convolution as a matrix ----

def matrix(w, n, stride, padding):
    """C of 5.2 for a kernel (k,), or of 5.6 for (k, k) and an n x n picture, entry by entry."""
    o = len(range(-padding, n + padding - len(w) + 1, stride))  # the places that the kernel fits in
    dims = w.ndim
    c = torch.zeros((o,) * dims + (n,) * dims, dtype=torch.float64)
    for i in product(range(o), repeat=dims):
        for j in product(range(len(w)), repeat=dims):
            place = tuple(stride * a + b - padding for a, b in zip(i, j))
            if all(0 <= p < n for p in place):
                c[i + place] = w[j]
    return c.reshape(o ** dims, n ** dims)


def conv(x, w, stride, padding):
    """torch's, on a column."""
    return F.conv1d(x.mT[None], w[None, None], stride=stride, padding=padding)[0].mT


def conv_transpose(y, w, stride, padding, output_padding=0):
    return F.conv_transpose1d(y.mT[None], w[None, None], stride=stride, padding=padding, output_padding=output_padding)[0].mT


SHAPES = [(6, 4, 2, 1), (7, 3, 2, 1), (9, 3, 3, 0), (8, 5, 1, 2), (11, 2, 3, 1), (5, 4, 1, 0), (8, 4, 2, 1)]  # n, k, stride, padding
EXAMPLE = matrix(torch.tensor([1.0, 2.0, 3.0, 4.0]).double(), 6, 2, 1)


def test_5_1_convolution(step):
    step.by_hand("y_i = sum_j w_j x_{stride i + j - padding}")
    for n, k, stride, padding in SHAPES:
        x, w = normal(n, 1), normal(k, seed=1)
        y = conv(x, w, stride, padding)
        step.holds({"o": len(y), "n": n, "k": k, "stride": stride, "padding": padding}, step.equations[1])
        outside = dict(enumerate(x[:, 0].tolist()))
        for i in range(len(y)):
            assert y[i, 0].item() == pytest.approx(sum(w[j].item() * outside.get(stride * i + j - padding, 0.0) for j in range(k)))


def test_5_2_as_a_matrix(step):
    digits = [line for line in step.equations if re.fullmatch(r"[\d ]+", line)]
    for line in digits:
        step.by_hand(line)
    c = torch.tensor([[float(d) for d in line.split()] for line in digits]).double()
    w, x = torch.tensor([1.0, 2.0, 3.0, 4.0]).double(), torch.tensor([[1.0, 0, 2, 0, 0, 1]]).double().mT
    assert "n = 6, w = (1, 2, 3, 4), stride 2, padding 1, and x = (1, 0, 2, 0, 0, 1)" in DOCUMENT.replace("\n", " ")
    columns = torch.cat([conv(unit[:, None], w, 2, 1) for unit in torch.eye(6).double()], dim=1)  # C's columns: what units become
    assert torch.equal(c, columns) and torch.equal(c, EXAMPLE)
    step.holds({"y": conv(x, w, 2, 1), "C": c, "x": x})


def test_5_3_transposed(step):
    step.holds({"C": EXAMPLE}, step.equations[1])
    for n, k, stride, padding in SHAPES:
        w = normal(k, seed=1)
        c = matrix(w, n, stride, padding)
        y = normal(len(c), 1)
        out = conv_transpose(y, w, stride, padding, output_padding=(n + 2 * padding - k) % stride)
        step.holds({"conv_transpose(y)": out, "C": c, "y": y}, step.equations[0])


def test_5_4_length(step):
    for n, k, stride, padding in SHAPES:
        o, rest = len(matrix(torch.ones(k), n, stride, padding)), (n + 2 * padding - k) % stride
        out = conv_transpose(normal(o, 1), normal(k), stride, padding, output_padding=rest)
        step.holds({"n": len(out), "o": o, "k": k, "stride": stride, "padding": padding, "output_padding": rest}, step.equations[0])
        assert len(out) == n
    step.holds({})
    decoder = conv_vae.Decoder(4, 8)
    layers = [layer for layer in decoder.modules() if isinstance(layer, torch.nn.ConvTranspose2d)]
    assert [(layer.kernel_size[0], layer.stride[0], layer.padding[0]) for layer in layers] == [(4, 2, 1)] * 2
    assert layers[1](torch.zeros(1, 16, 14, 14)).shape[-1] == 28 and layers[0](torch.zeros(1, 32, 7, 7)).shape[-1] == 14


def test_5_5_backward_pass_and_no_inverse(step):
    x, w, y = normal(6, 1).requires_grad_(), normal(4, seed=1), normal(3, 1, seed=2).requires_grad_()
    c, dy, dout = matrix(w, 6, 2, 1), normal(3, 1, seed=3), normal(6, 1, seed=4)
    dx, = torch.autograd.grad((conv(x, w, 2, 1) * dy).sum(), x)
    step.holds({"C": c, "x": x.detach(), "y": y.detach(), "dx": dx, "dy": dy}, *step.equations[:2])
    torch.testing.assert_close(dx, conv_transpose(dy, w, 2, 1))  # the transposed convolution
    back, = torch.autograd.grad((conv_transpose(y, w, 2, 1) * dout).sum(), y)
    torch.testing.assert_close(back, conv(dout, w, 2, 1))  # and the other way round
    step.holds({"C": EXAMPLE, "x": torch.tensor([[1.0, 0, 2, 0, 0, 1]]).double().mT})


def test_5_6_two_dimensions_and_channels(step):
    for n, k, stride, padding in ((6, 4, 2, 1), (5, 3, 2, 1), (5, 3, 1, 0)):
        w, x = normal(3, 2, k, k), normal(1, 2, n, n, seed=1)  # 2 channels to 3
        y = F.conv2d(x, w, stride=stride, padding=padding)
        c = torch.cat([torch.cat([matrix(w[a, b], n, stride, padding) for b in range(2)], dim=1) for a in range(3)])  # blocks
        step.holds({"conv2d(x)": y.reshape(-1, 1), "C": c, "x": x.reshape(-1, 1)}, step.equations[0])
        y = normal(*y.shape, seed=2)
        out = F.conv_transpose2d(y, w, stride=stride, padding=padding)  # the same weight tensor
        assert out.shape == x.shape
        step.holds({"conv_transpose2d(y)": out.reshape(-1, 1), "C": c, "y": y.reshape(-1, 1)}, step.equations[1])


def test_5_7_chessboard(step):
    ones = torch.ones(4, 1, dtype=torch.float64)
    counts = {k: conv_transpose(ones, torch.ones(k).double(), 2, 1) for k in (3, 4)}
    for k, count in counts.items():
        equation = next(line for line in step.equations if line.startswith(f"C_{k}"))
        step.holds({f"C_{k}": matrix(torch.ones(k).double(), len(count), 2, 1), "ones": ones}, equation)
        check(equation.replace(f"C_{k}^T ones", "count"), {"count": count})
        flat = F.conv_transpose2d(torch.ones(1, 1, 4, 4), torch.ones(1, 1, k, k), stride=2, padding=1)[0, 0, 1:-1, 1:-1]
        assert set(flat.flatten().tolist()) == ({4.0} if k == 4 else {1.0, 2.0, 4.0})


# ---- 6. FID ----

@pytest.fixture
def moments():
    """Two Gaussians on R^3, the symmetric roots, the singular values."""
    names = {"mu_r": normal(3, 1, seed=1), "mu_s": normal(3, 1, seed=2), "S_r": covariance(3, 3), "S_s": covariance(3, 4)}
    for root, s in (("R", "S_r"), ("Q", "S_s")):
        values, vectors = torch.linalg.eigh(names[s])
        names[root] = vectors @ values.sqrt().diag() @ vectors.mT
    u, d, vh = torch.linalg.svd(names["Q"] @ names["R"])
    lambdas = torch.linalg.eigvals(names["S_r"] @ names["S_s"])
    assert lambdas.imag.abs().max() < 1e-12
    distance = metrics.frechet_distance(names["mu_r"][:, 0], names["S_r"], names["mu_s"][:, 0], names["S_s"])
    return names | {"U": u, "D": d.diag(), "d_i": d[:, None], "V": vh.mT, "lambda_i": lambdas.real[:, None], "W^2": distance}


def cheapest(x, y):
    """The cheapest coupling of two clouds (N, F) of N equal weights: a permutation, and its mean squared distance."""
    cost = ((x[:, None] - y[None]) ** 2).sum(dim=2).numpy()
    rows, columns = linear_sum_assignment(cost)
    return torch.from_numpy(columns), cost[rows, columns].mean()


def cloud(mu, s, n, seed, shape=normal):
    """n points (n, F) with exactly this mean and covariance."""
    x = shape(n, len(mu), seed=seed)
    x = x - x.mean(dim=0)
    whiten = torch.linalg.inv(torch.linalg.cholesky(x.mT @ x / n))
    return x @ whiten.mT @ torch.linalg.cholesky(s).mT + mu[:, 0]


def test_6_1_cheapest_coupling(step):
    """Of five points: the least cost over all couplings is a permutation's, and that of a moved cloud is the way squared."""
    step.by_hand("W^2 = min over couplings of E[|x - y|^2]")
    x, way = normal(5, 2), torch.tensor([0.3, -0.2]).double()
    cost = ((x[:, None] - (x + way)[None]) ** 2).sum(dim=2)
    every = [torch.eye(5)[list(order)].double() for order in permutations(range(5))]
    least = min((cost * p / 5).sum().item() for p in every)
    assert least == pytest.approx((way ** 2).sum().item()) == pytest.approx(cheapest(x, x + way)[1])
    weights = uniform(50, len(every)) ** 20  # mixtures of permutations are all the couplings (Birkhoff and von Neumann)
    mixed = torch.einsum("ap,pij->aij", weights / weights.sum(dim=1, keepdim=True), torch.stack(every)) / 5
    torch.testing.assert_close(mixed.sum(dim=1), torch.full((50, 5), 0.2).double())
    assert (mixed * cost).sum((1, 2)).min() > least
    independent = (cost / 25).sum().item()
    assert independent == pytest.approx(least + 2 * x.var(dim=0, correction=0).sum().item())


def pairs(seed=0):
    """300 pairs (300, 3, 1) that depend on each other, with their own moments."""
    x = normal(300, 3, seed=seed) @ normal(3, 3, seed=1) + 1
    y = 0.5 * x @ normal(3, 3, seed=2) + normal(300, 3, seed=3) - 1
    mu_r, mu_s = x.mean(dim=0)[:, None], y.mean(dim=0)[:, None]
    return {"x": x[..., None], "y": y[..., None], "mu_r": mu_r, "mu_s": mu_s, "x_c": x[..., None] - mu_r, "y_c": y[..., None] - mu_s,
            "S_r": x.mT.cov(correction=0), "S_s": y.mT.cov(correction=0), "E": lambda v: v.mean(dim=0)}


def test_6_2_means_split_off(step):
    step.holds(pairs())


def test_6_3_only_the_cross_covariance(step):
    names = pairs()
    joint = torch.cat([names["x"], names["y"]], dim=1)[..., 0].mT.cov(correction=0)
    step.holds(names | {"C": joint[:3, 3:]})


def test_6_4_one_dimension(step):
    """W^2 by quantiles: in one dimension the cheapest coupling keeps the order."""
    u = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
    names = {"mu_r": 0.7, "sigma_r": 0.6, "mu_s": -1.0, "sigma_s": 2.1}
    x, y = (Normal(names[f"mu_{k}"], names[f"sigma_{k}"]).icdf(u) for k in "rs")
    step.holds(names | {"W^2": ((x - y) ** 2).mean()}, step.equations[1], rtol=1e-3)
    several = torch.stack([0.3 * a * (x - 0.7) + b * (y.flip(0) + 1) + normal(len(u), seed=4) for a in (-5, 0, 5) for b in (-1, 1)])
    several = torch.cat([several, y[None], y.flip(0)[None]])
    several = (several - several.mean(dim=1, keepdim=True)) / several.std(dim=1, keepdim=True) * 2.1  # eight couplings with x
    c = ((x - 0.7) * several).mean(dim=1)
    step.holds({"C": c[:, None], "sigma_r": 0.6, "sigma_s": 2.1}, step.equations[0], rtol=1e-3)
    check(step.equations[0].replace("<=", "="), {"C": c[-2], "sigma_r": 0.6, "sigma_s": 2.1}, rtol=1e-3)  # y_c a multiple of x_c
    assert c[:-2].max() < 0.99 * c[-2] and c[-1] < -0.9 * c[-2]
    step.holds({})
    assert metrics.frechet_distance([0.0], [[1.0]], [2.0], [[9.0]]) == pytest.approx(8)


def test_6_5_common_axes(step):
    axes = torch.linalg.qr(normal(3, 3))[0]
    values = {"lambda_i": torch.tensor([[0.5, 1.5, 4.0]]).double().mT, "nu_i": torch.tensor([[3.0, 0.2, 1.0]]).double().mT}
    s_r, s_s = (axes @ value[:, 0].diag() @ axes.mT for value in values.values())
    torch.testing.assert_close(s_r @ s_s, s_s @ s_r)
    mu_r, mu_s = normal(3, 1, seed=1), normal(3, 1, seed=2)
    names = values | {"mu_r": mu_r, "mu_s": mu_s, "S_r": s_r, "S_s": s_s}
    for n in range(5):  # the cheapest couplings of points that have these covariances
        x, y = (cloud(torch.zeros(3, 1), s, 60, 10 + 2 * n + i) for i, s in enumerate((s_r, s_s)))
        c = x.mT @ y[cheapest(x, y)[0]] / 60
        step.holds(names | {"C": c}, step.equations[0])
    stretched = x @ axes @ (values["nu_i"] / values["lambda_i"]).sqrt()[:, 0].diag() @ axes.mT  # each axis by itself: the best
    torch.testing.assert_close(stretched.mT @ stretched / 60, s_s)
    check(step.equations[0].replace("<=", "="), names | {"C": x.mT @ stretched / 60})
    whole = metrics.frechet_distance(mu_r[:, 0], s_r, mu_s[:, 0], s_s)
    step.holds(names | {"W^2": whole}, step.equations[1])
    step.holds({})
    assert metrics.frechet_distance(np.zeros(2), np.diag([1, 4]), np.zeros(2), np.diag([9, 4])) == pytest.approx(4)


def test_6_6_possible_cross_covariances(step, moments):
    rotation = torch.linalg.qr(normal(3, 3, seed=5))[0]
    for longest in (0.3, 0.99, 1.01, 2.0):
        k = rotation @ torch.tensor([longest, 0.2, -0.1]).double().diag() @ torch.linalg.qr(normal(3, 3, seed=6))[0]
        c = moments["R"] @ k @ moments["Q"]
        step.holds(moments | {"K": k, "C": c, "u": normal(20, 3, 1, seed=7), "v": normal(20, 3, 1, seed=8)}, *step.equations)
        joint = torch.cat([torch.cat([moments["S_r"], c], dim=1), torch.cat([c.mT, moments["S_s"]], dim=1)])
        assert (torch.linalg.eigvalsh(joint).min() >= 0).item() == (longest <= 1)
    x = cloud(torch.zeros(6, 1), covariance(6, 9), 50, 0)  # the other way: the K of any real pair lengthens nothing
    s = x.mT @ x / 50
    roots = [torch.linalg.cholesky(part) for part in (s[:3, :3], s[3:, 3:])]
    assert torch.linalg.matrix_norm(torch.linalg.inv(roots[0]) @ s[:3, 3:] @ torch.linalg.inv(roots[1]).mT, ord=2) < 1


def test_6_7_the_best_cross_covariance(step, moments):
    values = uniform(200, 3)
    left, right = (torch.linalg.qr(normal(200, 3, 3, seed=seed))[0] for seed in (1, 2))
    k = left @ torch.diag_embed(values / values.max(dim=1, keepdim=True).values) @ right  # lengthen nothing, one vector not at all less
    m = moments["V"].mT @ k @ moments["U"]
    step.holds(moments | {"K": k, "C": moments["R"] @ k @ moments["Q"], "M": m, "M_ii": m.diagonal(dim1=1, dim2=2)[..., None]})
    assert (m.diagonal(dim1=1, dim2=2) <= 1).all()
    k = moments["V"] @ moments["U"].mT
    best = moments | {"K": k, "C": moments["R"] @ k @ moments["Q"], "M": torch.eye(3).double(), "M_ii": torch.ones(3, 1).double()}
    check(step.equations[0], best)
    check(step.equations[1].replace("<=", "="), best)


def test_6_8_singular_values(step, moments):
    step.holds(moments)


def test_6_9_either_root(step, moments):
    step.holds(moments)


def test_6_10_the_result(step, moments):
    """metrics.py's number, and, in the plane, the cheapest coupling of 500 points with these moments."""
    step.holds(moments)
    plane = {name: moments[name][:2] for name in ("mu_r", "mu_s")} | {name: moments[name][:2, :2] for name in ("S_r", "S_s")}
    x, y = (cloud(plane[f"mu_{k}"], plane[f"S_{k}"], 500, seed) for seed, k in enumerate("rs"))
    step.holds(plane | {"W^2": cheapest(x, y)[1]}, *step.equations, rtol=0.05)


def best_map(moments):
    """A of 6.11, with the root by eigh."""
    values, vectors = torch.linalg.eigh(moments["R"] @ moments["S_s"] @ moments["R"])
    inverse = torch.linalg.inv(moments["R"])
    return inverse @ vectors @ values.sqrt().diag() @ vectors.mT @ inverse


def test_6_11_the_cheapest_map(step, moments):
    """The map's cost is the distance, on points with exactly these moments."""
    a = best_map(moments)
    step.holds(moments | {"A": a})
    torch.testing.assert_close(a, a.mT)
    x = cloud(moments["mu_r"], moments["S_r"], 50, 0)
    y = moments["mu_s"][:, 0] + (x - moments["mu_r"][:, 0]) @ a.mT
    assert ((x - y) ** 2).sum(dim=1).mean().item() == pytest.approx(moments["W^2"])


def test_6_12_other_distributions(step, moments):
    """No coupling of clouds that are not Gaussian costs less, not even the cheapest."""
    for seed in range(5):
        x, y = (cloud(moments[f"mu_{k}"], moments[f"S_{k}"], 100, seed, shape)
                for k, shape in (("r", uniform), ("s", lambda *s, seed: uniform(*s, seed=seed + 10) ** 4)))
        y = y[cheapest(x, y)[0]]
        step.holds(moments | {"x": x[..., None], "y": y[..., None], "E": lambda v: v.mean(dim=0)}, *step.equations)
    y = moments["mu_s"][:, 0] + (x - moments["mu_r"][:, 0]) @ best_map(moments)  # not Gaussian either, and as cheap as can be
    check(step.equations[0].replace(">=", "="), moments | {"x": x[..., None], "y": y[..., None], "E": lambda v: v.mean(dim=0)})


# ---- 7. The DDPM posterior ----

@pytest.fixture(params=["cosine", "linear"])
def chain(request):
    """The constants of more/ddpm.py at several t, and any x_0 and x_t: (5, 1, 1) each; moments of (x_{t-1}, x_t) given x_0."""
    chain, t = Chain(request.param, 1000), torch.tensor([2, 10, 300, 700, 990])
    names = {"beta_t": chain.beta[t], "a_t": chain.a[t], "a_{t-1}": chain.a[t - 1]}
    names = {name: value[:, None, None] for name, value in names.items()} | {"x_0": normal(5, 1, 1), "x_t": normal(5, 1, 1, seed=1)}
    # by conditioning two jointly Gaussian numbers, not by Bayes: mean + cov / var (x_t - its mean)
    before, share = names["a_{t-1}"], 1 - names["beta_t"]
    var, cov = share * (1 - before) + names["beta_t"], share.sqrt() * (1 - before)
    mean = before.sqrt() * names["x_0"] + cov / var * (names["x_t"] - (share * before).sqrt() * names["x_0"])
    return chain, t, names, Normal(mean, (1 - before - cov ** 2 / var).sqrt())


def minus_2_ln(posterior, x):
    return -2 * posterior.log_prob(x)


def test_7_1_t_steps_at_once(step, chain):
    chain, _, names, _ = chain
    mean, variance = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    for t in range(1, 301):  # step by step, as the chain is defined
        mean, variance = (1 - chain.beta[t]).sqrt() * mean, (1 - chain.beta[t]) * variance + chain.beta[t]
    torch.testing.assert_close(mean, chain.a[300:301].sqrt())
    torch.testing.assert_close(variance, 1 - chain.a[300:301])
    step.holds(names)


def test_7_2_bayes(step, chain):
    _, _, names, posterior = chain
    x = posterior.mean + posterior.stddev * normal(5, 1, 1, seed=2)
    forward = Normal((1 - names["beta_t"]).sqrt() * x, names["beta_t"].sqrt()).log_prob(names["x_t"])
    before, after = (Normal(a.sqrt() * names["x_0"], (1 - a).sqrt()) for a in (names["a_{t-1}"], names["a_t"]))
    step.holds({"ln q(x_{t-1} | x_t, x_0)": posterior.log_prob(x), "ln q(x_t | x_{t-1})": forward,
                "ln q(x_{t-1} | x_0)": before.log_prob(x), "ln q(x_t | x_0)": after.log_prob(names["x_t"])}, rtol=1e-7)


def test_7_3_two_squares(step, chain):
    """c is found where x_{t-1} = 0; then the equation must hold everywhere else."""
    _, _, names, posterior = chain
    zero = torch.zeros(5, 1, 1, dtype=torch.float64)
    c = minus_2_ln(posterior, zero) - names["x_t"] ** 2 / names["beta_t"] - names["a_{t-1}"] * names["x_0"] ** 2 / (1 - names["a_{t-1}"])
    for seed in (2, 3):
        x = posterior.mean + posterior.stddev * normal(5, 1, 1, seed=seed)
        step.holds(names | {"x_{t-1}": x, "c": c, "ln q(x_{t-1} | x_t, x_0)": posterior.log_prob(x)}, *step.equations, rtol=1e-6, atol=1e-6)


def test_7_4_powers_collected(step, chain):
    """P and Q by autograd: half of -2 ln q's second derivative, and minus half of its first at 0."""
    _, _, names, posterior = chain
    zero = torch.zeros(5, 1, 1, dtype=torch.float64, requires_grad=True)
    at_zero = minus_2_ln(posterior, zero)
    first, = torch.autograd.grad(at_zero.sum(), zero, create_graph=True)
    second, = torch.autograd.grad(first.sum(), zero)
    for seed in (2, 3):
        x = posterior.mean + posterior.stddev * normal(5, 1, 1, seed=seed)
        step.holds(names | {"x_{t-1}": x, "c'": at_zero.detach(), "P": second / 2, "Q": -first.detach() / 2,
                            "ln q(x_{t-1} | x_t, x_0)": posterior.log_prob(x)}, *step.equations, rtol=1e-6, atol=1e-6)


def test_7_5_completing_the_square(step):
    p, q, x = normal(5, 1, 1).exp(), normal(5, 1, 1, seed=1), normal(5, 1, 1, seed=2)
    step.holds({"P": p, "Q": q, "x_{t-1}": x})
    rest = [minus_2_ln(Normal(q / p, p.rsqrt()), v) - p * (v - q / p) ** 2 for v in (x, x + 1)]
    torch.testing.assert_close(*rest)  # a constant: which Gaussian it is


def test_7_6_variance(step, chain):
    chain, t, names, posterior = chain
    v = torch.tensor([chain.posterior(0.0, 0.0, s)[1] for s in t.tolist()])[:, None, None]  # more/ddpm.py's
    step.holds(names | {"P": 1 / posterior.variance, "v": v}, rtol=1e-7)


def test_7_7_mean(step, chain):
    chain, t, names, posterior = chain
    m = torch.stack([chain.posterior(x0, x, s)[0] for x0, x, s in zip(names["x_0"], names["x_t"], t.tolist())])
    step.holds(names | {"m": m, "P": 1 / posterior.variance, "Q": posterior.mean / posterior.variance}, rtol=1e-7)


def test_7_8_last_step(step, chain):
    chain = chain[0]
    assert chain.a[0] == 1 and chain.beta[1].item() == pytest.approx(1 - chain.a[1].item())
    step.holds({"beta_1": chain.beta[1], "a_0": chain.a[0], "a_1": chain.a[1], "x_0": 0.4, "x_1": -0.9})
    m, v = chain.posterior(0.4, -0.9, 1)
    assert v == 0 and m == pytest.approx(0.4)


def test_7_9_mean_through_the_noise(step, chain):
    _, _, names, posterior = chain
    eps = (names["x_t"] - names["a_t"].sqrt() * names["x_0"]) / (1 - names["a_t"]).sqrt()
    step.holds(names | {"m": posterior.mean, "eps": eps}, rtol=1e-7)


def test_7_10_squared_error(step, chain):
    """m and m_e from more/ddpm.py's posterior, with x_0 and with the x_0 that the guess e stands for; KL from the library."""
    chain, t, names, _ = chain
    eps, e = normal(5, 1, 1, seed=3), normal(5, 1, 1, seed=4)

    def posterior(noise):
        x0 = (names["x_t"] - (1 - names["a_t"]).sqrt() * noise) / names["a_t"].sqrt()
        return torch.stack([chain.posterior(x0[i], names["x_t"][i], s)[0] for i, s in enumerate(t.tolist())])

    v = torch.tensor([chain.posterior(0.0, 0.0, s)[1] for s in t.tolist()])[:, None, None]
    m, m_e = posterior(eps), posterior(e)
    kl = kl_divergence(Normal(m, v.sqrt()), Normal(m_e, v.sqrt()))
    step.holds(names | {"KL": kl, "m": m, "m_e": m_e, "v": v, "eps": eps, "e": e}, rtol=1e-7)
