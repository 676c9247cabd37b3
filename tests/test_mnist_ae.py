"""more/digits, dense_ae, selu_conv_ae: the download and its stand-in, SELU's fixed point, sizes, PCA, edges, the nets, quick runs."""

import gzip
import hashlib
import http.server
import json
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import REAL, ROOT
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from torch import nn

import common
from more import color, dense_ae, digits, selu_conv_ae

CPU = torch.device("cpu")
MNIST = REAL.parent / "mnist"


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits")
    digits.main(digits.Config(data=str(folder), source="stand-in"))
    return folder


def config(module, data, out, *flags):
    return common.parse(module.Config, ["--quick", "--data", str(data), "--out", str(out), *map(str, flags)])


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


# ---- digits: files that are there, the stand-in ----

def test_the_stand_in_is_enlarged_digits_and_says_so(stand_in, tmp_path, capsys):
    data = digits.load(dense_ae.Config(data=str(stand_in)))
    assert "STAND-IN, not MNIST" in capsys.readouterr().out and "STAND-IN" in common.describe(data.source)
    assert data.x_train.shape[1:] == (1, 28, 28) and len(data.x_train) + len(data.x_val) == 1497 and len(data.x_test) == 300
    assert data.classes == tuple("0123456789") and set(data.y_test) == set(range(10)) and data.x_train.max() == 1
    small = torch.nn.functional.avg_pool2d(torch.nn.functional.interpolate(torch.from_numpy(data.x_test[:9]), size=(56, 56)), 7)
    known = load_digits()  # each of them is one of scikit-learn's, blurred by going up and down, under its label
    error, nearest = ((small - torch.from_numpy(known.images / 16).float()) ** 2).mean(dim=(2, 3)).min(dim=1)
    assert error.max() < 0.02 and known.target[nearest].tolist() == data.y_test[:9].tolist()
    digits.main(digits.Config(data=str(tmp_path), source="stand-in"))
    for name in (*digits.DIGESTS, "source.json"):
        assert (tmp_path / name).read_bytes() == (stand_in / name).read_bytes()


def test_files_that_are_there_are_left_alone_and_keep_their_name(stand_in, tmp_path, capsys):
    digits.main(digits.Config(data=str(stand_in)))
    assert "left alone" in capsys.readouterr().out
    with pytest.raises(common.InputError, match="expected an empty folder for --source download"):
        digits.main(digits.Config(data=str(stand_in), source="download"))
    for name in digits.DIGESTS:  # copied without source.json, unpacked: somebody's files, of whom nothing is known
        (tmp_path / name.removesuffix(".gz")).write_bytes(gzip.decompress((stand_in / name).read_bytes()))
    digits.main(digits.Config(data=str(tmp_path)))
    assert "brought by the user" in capsys.readouterr().out
    assert digits.load(dense_ae.Config(data=str(tmp_path))).source["name"] == "MNIST digits"


def test_half_a_set_and_a_folder_with_drawings_are_refused(stand_in, doodles, tmp_path):
    name = "train-images-idx3-ubyte.gz"
    (tmp_path / name).write_bytes((stand_in / name).read_bytes())
    with pytest.raises(common.InputError, match=r"found no train-labels.*expected all four files or none"):
        digits.main(digits.Config(data=str(tmp_path), source="stand-in"))
    with pytest.raises(common.InputError, match="would hide them"):
        digits.main(digits.Config(data=str(doodles), source="stand-in"))
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(common.InputError, match="expected a folder to write to"):
        digits.main(digits.Config(data=str(tmp_path / "file"), source="stand-in"))


@pytest.mark.parametrize("shape", [(40, 28, 28), (40, 32, 32, 3)])
def test_other_images_come_as_28_by_28_grey(shape, tmp_path):
    for name in ("train", "test"):
        np.save(tmp_path / f"{name}_images.npy", np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8))
        np.save(tmp_path / f"{name}_labels.npy", np.arange(40) % 5)
    assert digits.load(dense_ae.Config(data=str(tmp_path))).x_test.shape == (40, 1, 28, 28)


@pytest.mark.skipif(not MNIST.exists(), reason="no MNIST beside the project")
def test_checksums_are_those_of_mnist():
    """Of three files: the training images beside the project are rebuilt, and differ by a grey level here and there."""
    found = [hashlib.sha256((MNIST / name).read_bytes()).hexdigest() == digest for name, digest in digits.DIGESTS.items()]
    assert sum(found) >= 3 and all(found[1:])


# ---- digits: the download ----

class Mirror:
    """A mirror on 127.0.0.1. files: {name: bytes}; others get a 404. cut: bytes that are sent of each."""

    def __init__(self, files, cut=None):
        self.requests, outer = [], self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                name = self.path.rsplit("/", 1)[-1]
                outer.requests.append(name)
                if name not in files:
                    return self.send_error(404)
                self.send_response(200)
                self.send_header("Content-Length", str(len(files[name])))
                self.end_headers()
                self.wfile.write(files[name][:cut])

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/mnist"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exc):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def served(stand_in, monkeypatch):
    """Four files, whose checksums are taken for MNIST's."""
    files = {name: (stand_in / name).read_bytes() for name in digits.DIGESTS}
    monkeypatch.setattr(digits, "DIGESTS", {name: hashlib.sha256(content).hexdigest() for name, content in files.items()})
    monkeypatch.setattr(digits, "PAUSE", 0.0)
    return files


def test_a_download_is_checked_and_named(served, tmp_path):
    with Mirror(served) as mirror:
        digits.main(digits.Config(data=str(tmp_path / "m"), url=mirror.url))
    assert mirror.requests == list(digits.DIGESTS)
    assert {path.name: path.read_bytes() for path in (tmp_path / "m").glob("*.gz")} == served
    source = json.loads((tmp_path / "m" / "source.json").read_text())
    assert source["source"] == "mnist" and source["sha256"] == digits.DIGESTS and source["name"] == "MNIST digits"
    assert not list((tmp_path / "m").glob(".*"))


@pytest.mark.parametrize("source", ["auto", "download"])
def test_another_file_is_refused_and_none_is_kept(source, served, tmp_path):
    """Not even by auto is it passed over: a stand-in in its place would hide that somebody changed a file."""
    with Mirror(served | {"t10k-images-idx3-ubyte.gz": b"something else"}) as mirror:
        with pytest.raises(common.InputError, match=r"t10k-images-idx3-ubyte.gz: found SHA-256 \w+\.\.\., expected") as error:
            digits.main(digits.Config(data=str(tmp_path / "m"), url=mirror.url, source=source))
    assert "\n" not in str(error.value) and not (tmp_path / "m").exists() and mirror.requests.count("t10k-images-idx3-ubyte.gz") == 1


@pytest.mark.parametrize("cut, lacking, tries, said", [(50, "", 3, "found 50 of"), (None, "train-images-idx3-ubyte.gz", 1, "HTTP 404")])
def test_a_mirror_that_fails_gives_the_stand_in_or_one_line(cut, lacking, tries, said, served, tmp_path, capsys):
    with Mirror({name: content for name, content in served.items() if name != lacking}, cut) as mirror:
        with pytest.raises(digits.Unreachable, match=said):
            digits.main(digits.Config(data=str(tmp_path / "m"), url=mirror.url, source="download"))
        assert len(mirror.requests) == tries and not (tmp_path / "m").exists()
        digits.main(digits.Config(data=str(tmp_path / "m"), url=mirror.url))
    out, err = capsys.readouterr()
    assert said in err and "STAND-IN" in out and (tmp_path / "m" / "source.json").exists()


def test_no_network_gives_the_stand_in(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(digits, "PAUSE", 0.0)
    digits.main(digits.Config(data=str(tmp_path), url="http://127.0.0.1:9/mnist", timeout=2.0))
    out, err = capsys.readouterr()
    assert "no download" in err and len(err.strip().splitlines()) == 1 and "STAND-IN, not MNIST" in out


# ---- SELU and its fixed point ----

def selu(a):
    return 1.0507009873554805 * np.where(a > 0, a, 1.6732632423543772 * np.expm1(np.minimum(a, 0)))


def moments(variance):
    """Mean and variance of selu(a), a ~ N(0, variance), by integration."""
    a = np.linspace(-12, 12, 400001)
    p = np.exp(-a ** 2 / (2 * variance))
    p /= p.sum()
    mean = (p * selu(a)).sum()
    return mean, (p * selu(a) ** 2).sum() - mean ** 2


def test_selu_is_equation_3_and_keeps_mean_0_and_variance_1():
    a = torch.linspace(-5, 5, 101, dtype=torch.float64)
    np.testing.assert_allclose(nn.SELU()(a), selu(a.numpy()), atol=1e-12)
    assert nn.SELU()(torch.tensor(-99.0)).item() == pytest.approx(-1.758, abs=1e-3)
    assert moments(1.0) == pytest.approx((0, 1), abs=1e-6)


def test_the_fixed_point_attracts_as_the_docstring_says():
    assert "1 + 0.78 d" in dense_ae.__doc__
    assert (moments(1.001)[1] - 1) / 0.001 == pytest.approx(0.78, abs=0.005)
    assert (moments(0.999)[1] - 1) / -0.001 == pytest.approx(0.78, abs=0.005)


def test_lecun_weights_have_variance_1_over_n_and_the_default_a_third():
    torch.manual_seed(0)
    for init, factor in (("lecun", 1), ("default", 1 / 3)):
        net = dense_ae.Autoencoder(dense_ae.Config(init=init, hidden=400))
        for layer in (*net.encoder[::2], *net.decoder[::2]):
            assert layer.weight.var().item() == pytest.approx(factor / layer.in_features, rel=0.05)
            assert (layer.bias.abs().max() == 0) == (init == "lecun")


def test_at_the_start_lecun_keeps_the_point_and_the_default_fades(stand_in, doodles):
    for folder in (stand_in, doodles):
        x = digits.load(dense_ae.Config(data=str(folder), quick=True)).x_train
        rows = dense_ae.at_start(dense_ae.Config(), x, x.mean(), x.std())
        assert all(abs(row["LeCun, mean"]) < 0.1 and abs(row["LeCun, variance"] - 1) < 0.1 for row in rows)
        for way, sign in (("default", -1), ("LeCun, raw pixels", 1)):  # raw pixels: pulled to 1, but from far away
            variance = [row[f"{way}, variance"] for row in rows]
            assert (sign * np.diff(variance) > 0).all() and variance[-1] < 0.6, way
        rows = selu_conv_ae.at_start(selu_conv_ae.Config(), x, x.mean(), x.std())
        found = {row["layer"]: row for row in rows}
        assert all(found[f"p{k}"]["LeCun, mean"] > found[f"c{k}"]["LeCun, mean"] + 0.1 for k in (1, 2, 3))  # pooling lifts the mean
        assert found["u2"]["default, variance"] < 0.1 and all(0.5 < row["LeCun, variance"] < 2 for row in rows)


def test_a_transposed_convolution_keeps_the_variance_by_equation_6():
    torch.manual_seed(0)
    layer = nn.ConvTranspose2d(64, 200, kernel_size=3, stride=2, padding=1, output_padding=1)
    selu_conv_ae.initialise(layer)
    out = layer(torch.randn(20, 64, 16, 16))[:, :, 4:-4, 4:-4]
    assert out.var().item() == pytest.approx(1, abs=0.03)
    terms = nn.functional.conv_transpose2d(torch.ones(1, 1, 9, 9), torch.ones(1, 1, 3, 3), stride=2)[0, 0, 2:-2, 2:-2]
    assert set(terms.unique().tolist()) == {1, 2, 4} and terms[:-1, :-1].mean() == 9 / 4  # k k / s s


# ---- loss ----

def test_the_loss_is_both_forms_of_5_and_its_gradient_is_6():
    x = torch.rand(7, 1, 28, 28, generator=rng(1), dtype=torch.float64)
    logits = (3 * torch.randn(7, 1, 28, 28, generator=rng(), dtype=torch.float64)).requires_grad_(True)
    x_hat = torch.sigmoid(logits)
    first = (-x * x_hat.log() - (1 - x) * (1 - x_hat).log()).mean().item()
    second = (logits.clamp(min=0) - logits * x + torch.log1p(torch.exp(-logits.abs()))).mean().item()
    for module in (dense_ae, selu_conv_ae):
        assert [module.reconstruction_loss(logits, x).item()] * 2 == pytest.approx([first, second], abs=1e-12)
    gradient, = torch.autograd.grad(dense_ae.reconstruction_loss(logits, x), logits)
    torch.testing.assert_close(gradient, (x_hat - x).detach() / x.numel())
    gradient, = torch.autograd.grad(((torch.sigmoid(logits) - x) ** 2).mean(), logits)
    torch.testing.assert_close(gradient, (2 * (x_hat - x) * x_hat * (1 - x_hat)).detach() / x.numel())
    entropy = -torch.xlogy(x, x) - torch.xlogy(1 - x, 1 - x)  # the least value of (5)
    assert dense_ae.reconstruction_loss(torch.logit(x), x).item() == pytest.approx(entropy.mean().item(), abs=1e-9)


def test_the_best_answer_is_the_mean_for_cross_entropy_and_squared_error():
    x = torch.tensor([0.0, 0.0, 0.2, 1.0])
    grid = torch.linspace(0.01, 0.99, 99)
    for losses in ([dense_ae.reconstruction_loss(torch.logit(p).expand(4), x) for p in grid], [((p - x) ** 2).mean() for p in grid]):
        assert grid[torch.stack(losses).argmin()].item() == pytest.approx(0.3, abs=1e-4)


# ---- sizes, and the odd 7 ----

def test_sizes_are_equations_4_and_5():
    for size in range(4, 40):
        x = torch.zeros(1, 1, size, size)
        for k, s, p in ((3, 1, 1), (2, 2, 0), (3, 2, 1)):
            expected = (size + 2 * p - k) // s + 1
            assert nn.Conv2d(1, 1, k, s, p)(x).shape[2] == expected
            assert p or nn.MaxPool2d(k, s)(x).shape[2] == expected
        for k, s, p, o in ((3, 2, 0, 0), (3, 2, 1, 1), (3, 2, 1, 0)):
            assert nn.ConvTranspose2d(1, 1, k, s, p, o)(x).shape[2] == (size - 1) * s - 2 * p + k + o
    assert {(size + 2 - 3) // 2 + 1 for size in (13, 14)} == {7}


def test_pooling_drops_row_and_column_7_and_what_stands_above_is_still_seen():
    torch.manual_seed(0)
    net = selu_conv_ae.Autoencoder(selu_conv_ae.Config(), squeezed=False)
    h = torch.randn(2, 64, 7, 7, generator=rng())
    other = h.clone()
    other[:, :, 6], other[:, :, :, 6] = 99, 99  # 13 of 49 places
    assert (other != h)[0, 0].sum() == 13 and torch.equal(net.encoder[-1](h), net.encoder[-1](other))
    x = torch.rand(2, 1, 28, 28, generator=rng(1)).requires_grad_(True)
    net.encoder(x).sum().backward()
    assert (x.grad[:, :, 24:].abs().sum() > 0) and (x.grad[:, :, :, 24:].abs().sum() > 0)
    # through how many of the third convolution's rows that pooling takes is a row of its input seen?
    rows = torch.zeros(7, 1, 7, 1)
    rows[range(7), 0, range(7)] = 1
    seen = nn.functional.conv2d(rows.expand(-1, -1, -1, 7), torch.ones(1, 1, 3, 3), padding=1)[:, 0, :6, 3] > 0
    assert seen.sum(dim=1).tolist() == [2, 3, 3, 3, 3, 2, 1]


def test_pooling_before_or_after_selu_is_the_same():
    x = torch.randn(2, 3, 8, 8, generator=rng())
    assert torch.equal(nn.MaxPool2d(2)(nn.SELU()(x)), nn.SELU()(nn.MaxPool2d(2)(x)))


def test_share_not_explained():
    x = np.random.default_rng(0).random((30, 28, 28))
    mean = np.broadcast_to(x.mean(axis=0), x.shape)
    for x_hat, expected in ((x, 0), (mean, 1)):
        for shares in selu_conv_ae.unexplained(x, x_hat).values():
            np.testing.assert_allclose(shares, np.full(7, expected), atol=1e-12)
    x_hat = x.copy()
    x_hat[:, :, 24:] = mean[:, :, 24:]
    found = selu_conv_ae.unexplained(x, x_hat)
    assert found["columns"] == pytest.approx([0] * 6 + [1]) and found["rows"] == pytest.approx([1 / 7] * 7, rel=0.2)


# ---- PCA ----

def test_pca_is_scikit_learns_for_every_number_of_components(doodles):
    data = digits.load(dense_ae.Config(data=str(doodles)))
    x_train, x = (images.reshape(len(images), 784) for images in (data.x_train, data.x_test))
    errors, drawn = dense_ae.pca_errors(data, 30)
    again, by_size = selu_conv_ae.pca_errors(data, [30, 576])
    np.testing.assert_array_equal(errors, again)
    assert len(errors) == 785 and (np.diff(errors) < 1e-9).all() and errors[-1] == pytest.approx(0, abs=1e-6)
    assert errors[0] == pytest.approx(((x - x_train.mean(axis=0)) ** 2).mean(), rel=1e-4)
    for size, images in ((30, drawn), *by_size.items()):
        pca = PCA(size, svd_solver="full").fit(x_train.astype(np.float64))
        expected = pca.inverse_transform(pca.transform(x)).reshape(-1, 28, 28)
        np.testing.assert_allclose(images, expected, atol=2e-3)
        assert errors[size] == pytest.approx(((expected - data.x_test[:, 0]) ** 2).mean(), rel=1e-3)


# ---- the nets ----

def test_the_nets_have_the_sizes_of_the_issue():
    net = dense_ae.Autoencoder(dense_ae.Config())
    assert [layer.in_features for layer in (*net.encoder[::2], *net.decoder[::2])] == [784, 100, 30, 100]
    assert [type(layer) for layer in (*net.encoder, *net.decoder)] == [nn.Linear, nn.SELU] * 3 + [nn.Linear]
    x = torch.rand(2, 1, 28, 28, generator=rng())
    assert net(x).shape == x.shape and net.encoder(net.standardise(x)).shape == (2, 30)
    for squeezed in (False, True):
        net = selu_conv_ae.Autoencoder(selu_conv_ae.Config(), squeezed)
        assert net(x).shape == x.shape and net.encoder(x).shape == (2, 64, 3, 3) and net.encoder(x)[0].numel() == 576
        h, sizes = x, []
        for layer in net.decoder:
            h = layer(h if sizes else net.encoder(x))
            sizes += [h.shape[2]] if isinstance(layer, nn.ConvTranspose2d) else []
        assert sizes == [7, 14, 28]


@pytest.mark.parametrize("init", ["lecun", "default"])
def test_squeezed_or_not_the_kernels_begin_alike(init):
    nets = []
    for squeezed in (False, True):
        torch.manual_seed(3)
        nets.append(selu_conv_ae.Autoencoder(selu_conv_ae.Config(init=init), squeezed).state_dict())
    assert len(nets[0]) < len(nets[1]) and all(torch.equal(value, nets[1][name]) for name, value in nets[0].items())


def few(module, folder, out, epochs):
    cfg = replace(config(module, folder, out), epochs=epochs, batch_size=16)
    data = digits.load(cfg)
    return cfg, data._replace(x_train=data.x_train[:16], x_val=data.x_val[:2])


def test_one_batch_is_overfitted(stand_in, tmp_path):
    for module, epochs, more in ((dense_ae, 200, ()), (selu_conv_ae, 120, (False,)), (selu_conv_ae, 120, (True,))):
        cfg, data = few(module, stand_in, tmp_path, epochs)
        history = module.train(cfg, *more, data, CPU)[1]
        assert history[-1]["train_mse"] < 0.2 * history[0]["train_mse"], (module.__name__, more)


@pytest.mark.parametrize("module, more", [(dense_ae, ()), (selu_conv_ae, (True,))])
def test_training_twice_gives_the_same_bits(module, more, stand_in, tmp_path):
    cfg, data = few(module, stand_in, tmp_path, 5)
    cfg = replace(cfg, shift=1, mirror=0.5)
    first, history = module.train(cfg, *more, data, CPU)
    torch.rand(7)
    second, again = module.train(cfg, *more, data, CPU)
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values()))
    assert [h["val_loss"] for h in history] == [h["val_loss"] for h in again]


def test_mse_is_the_mean_over_pixels_and_images_of_all_batches(stand_in, tmp_path):
    for module, more in ((dense_ae, ()), (selu_conv_ae, (False,))):
        cfg = config(module, stand_in, tmp_path)
        x = np.random.default_rng(0).random((1203, 1, 28, 28), np.float32)  # a last batch that is not full
        loss, mse, drawn = module.evaluate(cfg, module.Autoencoder(cfg, *more), x, CPU)
        assert drawn.shape == (1203, 28, 28) and mse == pytest.approx(((drawn - x[:, 0]) ** 2).mean(), rel=1e-5)
        assert loss == pytest.approx(-(x[:, 0] * np.log(drawn) + (1 - x[:, 0]) * np.log(1 - drawn)).mean(), rel=1e-4)


# ---- runs ----

def test_quick_runs_one_beside_the_other(stand_in, tmp_path, monkeypatch, capsys):
    captions, save_figure = {}, common.save_figure

    def watched(cfg, path, fig, source):
        captions[f"{path.parent.name}/{path.stem}"] = common.describe(source)
        save_figure(cfg, path, fig, source)

    monkeypatch.setattr(common, "save_figure", watched)
    cfg = config(selu_conv_ae, stand_in, tmp_path)
    assert selu_conv_ae.read_dense(cfg, {}) is None and "run 'make dense_ae'" in capsys.readouterr().out
    dense_ae.main(config(dense_ae, stand_in, tmp_path, "--steps", 30))
    selu_conv_ae.main(cfg)
    assert capsys.readouterr().out.count("data: STAND-IN, not MNIST") == 2
    assert set(captions) == {"dense_ae/curves", "dense_ae/reconstructions", "dense_ae/start"} | {
        f"selu_conv_ae/{name}" for name in ("curves", "reconstructions", "quality", "edges", "start")}
    assert all("STAND-IN, not MNIST" in caption for caption in captions.values())
    read = {name: {kind: json.loads((tmp_path / name / f"{kind}.json").read_text()) for kind in ("metrics", "history")}
            for name in ("dense_ae", "selu_conv_ae")}

    dense, history = read["dense_ae"].values()
    assert dense["quick"] and [h["epoch"] for h in history] == [1, 2] and dense["val_mse"] == history[-1]["val_mse"]
    assert dense["parameters"] == 784 * 100 + 100 + 100 * 30 + 30 + 30 * 100 + 100 + 100 * 784 + 784 and dense["pca_mse"] > 0
    assert set(dense["val_mse_by_init"]) == {"lecun", "default"} and len(dense["at_start"]) == 4
    saved = np.load(tmp_path / "dense_ae" / "reconstructions.npy") / 255
    x_test = digits.load(cfg).x_test
    assert saved.shape == (200, 28, 28) and ((saved - x_test[:, 0]) ** 2).mean() == pytest.approx(dense["test_mse"], rel=0.01)
    net = dense_ae.Autoencoder(dense_ae.Config())
    net.load_state_dict(torch.load(tmp_path / "dense_ae" / "weights.pt", weights_only=True))
    assert dense_ae.evaluate(cfg, net, x_test, CPU)[1] == dense["test_mse"]  # m and s are among what was saved

    conv, histories = read["selu_conv_ae"].values()
    assert {name: row["numbers"] for name, row in conv["table"].items()} == {"dense": 30, "squeezed": 30, "convolutional": 576}
    assert conv["table"]["dense"]["test_mse"] == dense["test_mse"] and conv["table"]["dense"]["pca_mse"] == dense["pca_mse"]
    assert conv["test_mse"] == conv["table"]["convolutional"]["test_mse"] and set(histories) == {"squeezed", "convolutional"}
    assert set(conv["bands"]) == {"dense, 30", "convolutional, 30", "convolutional, 576", "PCA, 30"}
    assert all(len(shares) == 7 for row in conv["bands"].values() for shares in row.values()) and len(conv["at_start"]) == 9
    nets = nn.ModuleDict({name: selu_conv_ae.Autoencoder(selu_conv_ae.Config(), name == "squeezed") for name in histories})
    nets.load_state_dict(torch.load(tmp_path / "selu_conv_ae" / "weights.pt", weights_only=True))
    other = replace(cfg, seed=1)  # another run's results are not compared with
    assert selu_conv_ae.read_dense(other, conv["data"]) is None and selu_conv_ae.read_dense(cfg, conv["data"])[0] == 30


@pytest.mark.parametrize("name", ["dense_ae", "selu_conv_ae"])
def test_bad_input_gets_one_line_and_exit_code_2(name, tmp_path):
    command = [sys.executable, "-m", f"more.{name}", "--data", tmp_path / "none", "--out", tmp_path / "out"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1 and "found no such file" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("module", [dense_ae, selu_conv_ae])
def test_refusals(module, tmp_path):
    for flags, said in ((("--code", "0"), "--code: found 0"), (("--size", "32"), "unrecognized arguments: --size"),
                        (("--init", "he"), "invalid choice: 'he'")):
        with pytest.raises(common.InputError, match=said):
            config(module, tmp_path, tmp_path, *flags)
    if module is selu_conv_ae:
        with pytest.raises(common.InputError, match="--code: found 576, expected fewer"):
            module.main(config(module, tmp_path, tmp_path / "out", "--code", "576"))
    for name in ("train", "test"):
        np.save(tmp_path / f"{name}_images.npy", np.zeros((40, 28, 28), np.uint8))
        np.save(tmp_path / f"{name}_labels.npy", np.arange(40) % 5)
    with pytest.raises(common.InputError, match="of one single grey"):
        module.main(config(module, tmp_path, tmp_path / "out"))
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(digits.to_idx(np.zeros((40, 28, 28), np.uint8))[:-9])
    for kind in ("train-labels-idx1", "t10k-labels-idx1", "t10k-images-idx3"):
        (tmp_path / f"{kind}-ubyte.gz").write_bytes(digits.to_idx(np.arange(40) % 10))
    with pytest.raises(common.InputError, match=r"train-images-idx3-ubyte\.gz: found no readable file"):
        module.main(config(module, tmp_path, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_idx_files_are_read_as_they_were_written(tmp_path):
    for array in (np.arange(60, dtype=np.uint8).reshape(5, 4, 3), np.arange(7, dtype=np.uint8)):
        (tmp_path / "a.gz").write_bytes(digits.to_idx(array))
        np.testing.assert_array_equal(color.read_idx(tmp_path / "a.gz", array.ndim), array)
