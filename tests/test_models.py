"""What a model must be able to do: overfit a batch, ignore the rest of the batch, start where its twin starts."""

import dataclasses

import numpy as np
import pytest
import torch

import classifier
import common
import conv_ae
import conv_vae
import cvae
import rnn_ae
import rnn_vae

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def batch(doodles):
    """32 drawings as a whole data set: training, validation and test are the same."""
    data = common.load_data(common.Settings(data=str(doodles), quick=True))
    x, y = data.x_train[:32], data.y_train[:32]
    return common.Data(x, y, x, y, x, y, data.source)


def trained(module, build, batch, **settings):
    """The module's own loop on one batch, unmoved, for many epochs; returns (cfg, model, history)."""
    torch.manual_seed(0)
    cfg = module.Config(**{"epochs": 150, "batch_size": 32, "precision": "float32"} | settings)
    model = build(cfg)
    original, common.augment = common.augment, lambda x, rng, shift, mirror=0.5: x
    try:
        return cfg, model, module.train(cfg, model, batch, CPU)
    finally:
        common.augment = original


def test_conv_ae_overfits_a_batch(batch):
    history = trained(conv_ae, lambda c: conv_ae.Autoencoder(c.latent_dim, c.width), batch)[2]
    assert history[0]["train_mse"] > 0.08 and history[-1]["train_mse"] < 0.012


def test_rnn_ae_overfits_a_batch(batch):
    """Eight drawings and a smaller step: at 3e-3 a single small batch stays at its mean drawing."""
    few = common.Data(*(part[:8] for part in batch[:6]), batch.source)
    history = trained(rnn_ae, rnn_ae.Autoencoder, few, epochs=350, batch_size=8, lr=1e-3)[2]
    assert history[0]["train_mse"] > 0.08 and history[-1]["train_mse"] < 0.035


@pytest.mark.parametrize("likelihood, bound", [("bernoulli", 190.0), ("sigma", -200.0)])
def test_conv_vae_overfits_a_batch(likelihood, bound, batch):
    history = trained(conv_vae, lambda c: conv_vae.VAE(c.latent_dim, c.width), batch, likelihood=likelihood)[2]
    assert history[-1]["train_objective"] < bound < history[0]["train_objective"]


def test_rnn_vae_overfits_a_batch(batch):
    history = trained(rnn_vae, lambda c: rnn_vae.VAE(c.latent_dim, c.width, c.hidden_dim, c.row_dim), batch)[2]
    assert history[-1]["train_objective"] < 200 < history[0]["train_objective"]


def test_cvae_overfits_a_batch(batch):
    history = trained(cvae, lambda c: cvae.CVAE(c.latent_dim, c.width), batch)[2]
    assert history[-1]["train_objective"] < 190 < history[0]["train_objective"]


@pytest.mark.parametrize("name", ("mlp", "cnn"))
def test_judges_overfit_a_batch(name, batch):
    torch.manual_seed(0)
    cfg = classifier.Config(epochs=150 if name == "mlp" else 60, batch_size=32, precision="float32")
    history = classifier.train(cfg, name, getattr(classifier.Judges(), name), batch, CPU)
    assert history[0]["train_loss"] > 1.0 and history[-1]["val_accuracy"] == 1.0


@pytest.mark.parametrize("name", ("mlp", "cnn"))
def test_features_depend_on_one_drawing_only(name, batch):
    """Eval mode: neither the rest of the batch, nor its order or size, changes a drawing's features."""
    torch.manual_seed(0)
    model = getattr(classifier.Judges(), name)
    model.train()
    model(torch.from_numpy(batch.x_train))  # BatchNorm has seen something
    whole = classifier.predict(model, batch.x_train, CPU)[1]
    one_by_one = np.concatenate([classifier.predict(model, batch.x_train[i:i + 1], CPU)[1] for i in range(32)])
    backwards = classifier.predict(model, batch.x_train[::-1].copy(), CPU)[1][::-1]
    np.testing.assert_allclose(whole, one_by_one, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(whole, backwards, rtol=1e-4, atol=1e-5)
    assert whole.shape == (32, 64) and model.training  # its mode is given back


@pytest.mark.parametrize("images", [np.zeros((2, 28, 28), np.float32), np.zeros((2, 1, 28, 28)), np.full((2, 1, 28, 28), -1, np.float32),
                                    np.full((2, 1, 28, 28), 255, np.float32), np.full((2, 1, 28, 28), np.nan, np.float32)])
def test_judges_refuse_other_pixels(images):
    with pytest.raises(ValueError):
        classifier.predict(classifier.Judges().cnn, images, CPU)


def test_both_vaes_start_from_the_same_decoder():
    models = []
    for build in (lambda: conv_vae.VAE(16, 16), lambda: rnn_vae.VAE(16, 16, 128, 32)):
        torch.manual_seed(3)
        models.append(build().decoder.state_dict())
    assert models[0].keys() == models[1].keys()
    assert all(torch.equal(models[0][k], models[1][k]) for k in models[0])


def test_both_vaes_have_the_same_settings_but_for_the_encoder():
    conv, rnn = ({f.name: f.default for f in dataclasses.fields(m.Config)} for m in (conv_vae, rnn_vae))
    assert {k: rnn[k] for k in conv} == conv and set(rnn) - set(conv) == {"hidden_dim", "row_dim"}


def test_evaluation_changes_nothing(batch):
    """No weight, no running statistic, no random number: the same figures, and training goes on as if it had not been."""
    torch.manual_seed(0)
    cfg, model = conv_vae.Config(), conv_vae.VAE(16, 16)
    before, state = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    first, second = (conv_vae.evaluate(cfg, model, batch.x_test, CPU) for _ in range(2))
    assert first["reconstruction"] == second["reconstruction"] and model.training
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items()) and torch.equal(state, torch.get_rng_state())


def test_elbo_is_evaluated_with_a_sampled_code(batch):
    """A decoder that reads the noise: with z = mu the term would be the same for every seed."""
    torch.manual_seed(0)
    model = conv_vae.VAE(16, 16)
    terms = {conv_vae.evaluate(conv_vae.Config(seed=s), model, batch.x_test, CPU)["reconstruction"] for s in range(3)}
    assert len(terms) == 3


def test_terms_are_sums_over_pixels_and_latents(batch):
    """The objective of an untrained Bernoulli VAE is near 784 ln 2, not ln 2: pixels are summed."""
    torch.manual_seed(0)
    model = conv_vae.VAE(16, 16)
    found = conv_vae.evaluate(conv_vae.Config(precision="float32"), model, batch.x_test, CPU)
    assert found["reconstruction"] == pytest.approx(784 * np.log(2), rel=0.2)
    assert found["kl"] == pytest.approx(sum(found["kl_per_latent"]), rel=1e-4)


def test_cvae_listens_to_the_condition_in_every_block(batch):
    """(8): with gains and biases that are not 0, another condition gives another drawing; a mixed one lies between."""
    torch.manual_seed(0)
    model = cvae.CVAE(16, 16).eval()
    z, eye = torch.randn(1, 16), torch.eye(5)
    blocks = [m for m in model.modules() if isinstance(m, cvae.Block)]
    assert len(blocks) == 7 and all(b.condition.weight.abs().max() == 0 for b in blocks)  # at first all are treated alike
    h = torch.randn(2, blocks[0].conv.in_channels, 28, 28)
    same = blocks[0](h, eye[[0, 1]]), blocks[0](h, eye[[2, 2]])
    assert torch.equal(*same)
    torch.nn.init.normal_(blocks[0].condition.weight)
    assert not torch.equal(blocks[0](h, eye[[0, 1]]), blocks[0](h, eye[[2, 2]]))
    assert not torch.equal(model.decoder(z, eye[:1]), model.decoder(z, eye[1:2]))


def test_linear_condition_leaves_the_blocks_alone(batch):
    """--condition linear: the blocks' gains and biases stay 0 through training, and what else there is learns."""
    model = trained(cvae, lambda c: cvae.CVAE(c.latent_dim, c.width, c.condition), batch, condition="linear", epochs=3)[1]
    blocks = [m for m in model.modules() if isinstance(m, cvae.Block)]
    assert all(b.condition.weight.abs().max() == 0 for b in blocks)
    told = trained(cvae, lambda c: cvae.CVAE(c.latent_dim, c.width, c.condition), batch, epochs=3)[1]
    assert all(m.condition.weight.abs().max() > 0 for m in told.modules() if isinstance(m, cvae.Block))


def test_mixture_has_the_codes_moments():
    cfg = conv_vae.Config(components=3)
    rng = torch.Generator().manual_seed(0)
    mu = torch.cat([torch.randn(600, 2, generator=rng) * 0.2 + centre for centre in (torch.tensor([3.0, 0]), torch.tensor([-3.0, 1]))])
    z = conv_vae.sample_mixture(cfg, mu, torch.full_like(mu, -20.0), 5000)
    assert z.shape == (5000, 2)
    torch.testing.assert_close(z.mean(0), mu.mean(0), atol=0.15, rtol=0)
    torch.testing.assert_close(torch.cov(z.T), torch.cov(mu.T), atol=0.3, rtol=0)
    assert (z[:, 0].abs() > 1.5).float().mean() > 0.99  # nothing in the hole between the two clouds


def test_bfloat16_stays_close_to_float32(batch):
    finals = [trained(conv_ae, lambda c: conv_ae.Autoencoder(c.latent_dim, c.width), batch, precision=p, epochs=60)[2][-1]["train_mse"]
              for p in ("float32", "bfloat16")]
    assert finals[1] == pytest.approx(finals[0], rel=0.25)
