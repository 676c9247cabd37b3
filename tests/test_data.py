"""The loader's refusals, the doodles, and the download against a server on this machine."""

import hashlib
import http.server
import io
import json
import threading
import time

import numpy as np
import pytest
from conftest import REAL, ROOT, load_quickdraw, run
from sklearn.linear_model import LogisticRegression

import common

quickdraw = load_quickdraw()


# ---- the loader ----

def write_set(folder, n=50, **changes):
    """Four valid files, with some replaced: {file name: array, bytes, or None to leave it out}."""
    rng = np.random.default_rng(0)
    for name in ("train", "test"):
        files = {f"{name}_images.npy": rng.integers(0, 256, (n, 28, 28)).astype(np.uint8), f"{name}_labels.npy": np.arange(n) % 5}
        for file, array in files.items():
            array = changes.get(file.replace(".npy", ""), array)
            if isinstance(array, bytes):
                (folder / file).write_bytes(array)
            elif array is not None:
                np.save(folder / file, array, allow_pickle=True)


def settings(folder, quick=False):
    return common.Settings(data=str(folder), quick=quick)


def npz():
    file = io.BytesIO()
    np.savez(file, a=np.zeros(3))
    return file.getvalue()


IMAGES, LABELS = np.zeros((50, 28, 28)), np.arange(50) % 5
BAD = {
    "missing": (dict(train_images=None), "train_images.npy: found no such file"),
    "not an npy file": (dict(test_labels=b"hello, these are no labels"), "test_labels.npy: found no plain .npy file"),
    "empty file": (dict(train_images=b""), "train_images.npy: found no plain .npy file"),
    "cut off": (dict(train_images=b"\x93NUMPY\x01\x00v\x00{'descr': '|u1'"), "train_images.npy: found no plain .npy file"),
    "archive": (dict(train_images=npz()), "train_images.npy: found shape of an archive"),
    "pickle": (dict(train_labels=np.array([{"a": 1}] * 50, dtype=object)), "train_labels.npy: found no plain .npy file (Object arrays"),
    "image dtype": (dict(train_images=IMAGES.astype(np.int32)), "found dtype int32"),
    "image shape": (dict(test_images=np.zeros((50, 784), np.uint8)), "found shape (50, 784)"),
    "one drawing": (dict(test_images=np.zeros((28, 28), np.uint8)), "found shape (28, 28)"),
    "empty set": (dict(train_images=np.zeros((0, 28, 28), np.uint8)), "found shape (0, 28, 28)"),
    "nan": (dict(train_images=np.where(np.arange(28) == 3, np.nan, IMAGES)), "found floats from nan to nan"),
    "range": (dict(train_images=IMAGES + 255.0), "found floats from 255 to 255"),
    "negative": (dict(train_images=IMAGES - 1.0), "found floats from -1 to -1"),
    "label dtype": (dict(train_labels=LABELS.astype(float)), "found dtype float64"),
    "label length": (dict(train_labels=LABELS[:49]), "found shape (49,)"),
    "label shape": (dict(train_labels=np.eye(5, dtype=int)[LABELS]), "found shape (50, 5)"),
    "label range": (dict(test_labels=LABELS + 1), "found labels 1 to 5"),
    "absent": (dict(train_labels=np.where(LABELS == 3, 0, LABELS)), "found no snowman"),
}


@pytest.mark.parametrize("changes, message", BAD.values(), ids=BAD.keys())
def test_loader_refuses(changes, message, tmp_path):
    write_set(tmp_path, **changes)
    with pytest.raises(common.InputError) as error:
        common.load_data(settings(tmp_path))
    text = str(error.value)
    assert message in text and "expected" in text and ";" in text and "\n" not in text


def test_a_refusal_is_one_line_exit_code_2_and_overwrites_nothing(tmp_path):
    write_set(tmp_path, train_labels=LABELS + 1)
    out = tmp_path / "out"
    (out / "conv_ae").mkdir(parents=True)
    (out / "conv_ae" / "metrics.json").write_text('{"quick": false, "seed": 0, "mine": 1}')
    done = run(ROOT / "conv_ae.py", "--data", tmp_path, "--out", out)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and "train_labels.npy: found labels 1 to 5" in done.stderr
    assert json.loads((out / "conv_ae" / "metrics.json").read_text())["mine"] == 1


def test_loader_reads_uint8_and_float_alike(tmp_path):
    write_set(tmp_path)
    first = common.load_data(settings(tmp_path))
    for name in ("train", "test"):
        path = tmp_path / f"{name}_images.npy"
        np.save(path, np.load(path) / 255)
    second = common.load_data(settings(tmp_path))
    np.testing.assert_allclose(first.x_train, second.x_train, atol=1e-7)
    assert first.x_train.dtype == np.float32 and first.x_train.shape == (45, 1, 28, 28) and first.y_train.dtype == np.int64
    assert 0 <= first.x_train.min() and first.x_train.max() <= 1


def test_validation_is_a_fixed_tenth_that_no_seed_changes(tmp_path):
    images = np.zeros((100, 28, 28), np.uint8)
    images[:, 0, 0] = np.arange(100)  # each drawing knows its place
    write_set(tmp_path, n=100, train_images=images)
    first, second = (common.load_data(common.Settings(data=str(tmp_path), seed=seed)) for seed in (0, 7))
    places = [(np.round(x[:, 0, 0, 0] * 255)).astype(int).tolist() for x in (first.x_train, first.x_val)]
    assert sorted(places[0] + places[1]) == list(range(100)) and len(places[1]) == 10
    np.testing.assert_array_equal(first.x_val, second.x_val)


def test_quick_takes_few_drawings_of_every_category(doodles):
    data = common.load_data(settings(doodles, quick=True))
    assert len(data.y_train) + len(data.y_val) == 600 and len(data.y_test) == 200
    assert set(data.y_test) == set(data.y_train) == set(range(5))


def test_a_stale_source_is_not_believed(tmp_path):
    write_set(tmp_path)
    digest = {name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in common.FILES}
    (tmp_path / "source.json").write_text(json.dumps({"source": "doodles", "sha256": digest}))
    assert common.read_source(tmp_path)["source"] == "doodles"
    np.save(tmp_path / "test_labels.npy", (np.arange(50) + 1) % 5)  # the course's files were copied over the stand-in
    assert common.read_source(tmp_path)["source"] == "course"


@pytest.mark.skipif(not REAL.exists(), reason="no real drawings beside the project")
def test_real_drawings_are_read():
    data = common.load_data(settings(REAL))
    assert len(data.x_train) == 9 * len(data.x_val) and "Quick, Draw!" in common.describe(data.source)
    assert 30 < data.x_train.mean() * 255 < 60


# ---- (a) files that are there, (c) doodles ----

def fetch(folder, *flags):
    return run(ROOT / "data" / "quickdraw.py", "--data", folder, "--train-per-class", 20, "--test-per-class", 5, *flags)


def test_valid_files_are_left_alone(tmp_path):
    write_set(tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.iterdir()}
    done = fetch(tmp_path)
    assert done.returncode == 0 and "left alone" in done.stdout
    assert {p: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize("changes, flags, message", [
    (dict(test_labels=None), (), "found no test_labels.npy"), (dict(test_labels=LABELS + 1), (), "found labels 1 to 5"),
    ({}, ("--source", "doodles"), "found drawings from 'course'"), ({}, ("--source", "download"), "found drawings from 'course'")])
def test_files_that_do_not_fit_are_refused_and_kept(changes, flags, message, tmp_path):
    write_set(tmp_path, **changes)
    before = {p: p.read_bytes() for p in tmp_path.iterdir()}
    done = fetch(tmp_path, *flags)
    assert done.returncode == 2 and message in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert {p: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_source_course_needs_the_files(tmp_path):
    done = fetch(tmp_path / "none", "--source", "course")
    assert done.returncode == 2 and "found none of the four files" in done.stderr


def test_doodles_say_what_they_are(doodles):
    source = json.loads((doodles / "source.json").read_text())
    assert source["source"] == "doodles" and set(source["sha256"]) == set(common.FILES)
    assert "STAND-IN" in common.describe(source | {"drawings": {"train": 1, "validation": 1, "test": 1}})


def test_doodles_are_like_the_real_ones_and_not_too_easy():
    start = time.time()
    images = quickdraw.doodles(quickdraw.Config(train_per_class=800, test_per_class=200), np.random.default_rng(0))
    seconds = time.time() - start
    assert seconds < 12, f"{seconds:.0f} s for 5,000: 25,000 would take more than a minute"
    ink = np.mean(images)
    assert 40 < ink < 48, ink
    assert all(i.shape == (1000, 28, 28) and i.dtype == np.uint8 and i.max() == 255 for i in images)
    assert len(np.unique(np.concatenate(images).reshape(5000, -1), axis=0)) == 5000  # no two alike
    x, y = np.concatenate(images).reshape(5000, 784) / 255, np.arange(5).repeat(1000)
    train = np.arange(5000) % 1000 < 800
    accuracy = LogisticRegression(C=0.05, max_iter=200).fit(x[train], y[train]).score(x[~train], y[~train])
    assert 0.6 < accuracy < 0.97, accuracy


def test_doodles_come_out_the_same_twice(tmp_path, doodles):
    for name in ("a", "b"):
        assert fetch(tmp_path / name, "--source", "doodles").returncode == 0
    for file in common.FILES:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


# ---- (b) the download ----

ROWS = 30  # a category's file holds more rows than are asked for


class Server:
    """A bucket on 127.0.0.1 whose behaviour a test chooses; counts requests and bytes."""

    def __init__(self, ranges=True, cut=None, status=200, content=None, fail_first=0):
        self.requests, self.sent, self.headers = 0, 0, []
        rng = np.random.default_rng(1)
        self.arrays = {name: rng.integers(0, 256, (ROWS, 784)).astype(np.uint8) for name in common.CLASSES}
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.requests += 1
                outer.headers.append(self.headers.get("Range"))
                if status != 200 or outer.requests <= fail_first:
                    self.send_error(status if status != 200 else 503)
                    return
                body = content
                if body is None:
                    file = io.BytesIO()
                    np.save(file, outer.arrays[self.path.split("/")[-1][:-4]])
                    body = file.getvalue()
                full = len(body)
                if ranges and self.headers.get("Range"):
                    first, last = self.headers["Range"].removeprefix("bytes=").split("-")
                    body = body[int(first):int(last) + 1]
                    self.send_response(206)
                    self.send_header("Content-Range", f"bytes {first}-{int(first) + len(body) - 1}/{full}")
                else:
                    self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                body = body[:cut]
                outer.sent += len(body)
                try:
                    self.wfile.write(body)
                except OSError:
                    pass

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/numpy_bitmap"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exc):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(quickdraw, "PAUSE", 0.0)


def config(folder, server, **changes):
    return quickdraw.Config(**{"data": str(folder), "source": "download", "train_per_class": 16, "test_per_class": 4,
                               "url": server.url, "timeout": 3.0} | changes)


@pytest.mark.parametrize("ranges", (True, False), ids=("with Range", "Range ignored"))
def test_download(ranges, tmp_path):
    with Server(ranges=ranges) as server:
        quickdraw.main(config(tmp_path, server))
    assert server.requests == 5 and server.headers == [f"bytes=0-{256 + 20 * 784 - 1}"] * 5
    data = common.load_data(settings(tmp_path))
    assert len(data.y_train) + len(data.y_val) == 80 and len(data.y_test) == 20 and data.source["source"] == "download"
    for name in ("train", "test"):  # every drawing is the server's, under its own label, in shuffled order
        images, labels = np.load(tmp_path / f"{name}_images.npy"), np.load(tmp_path / f"{name}_labels.npy")
        rows = slice(0, 16) if name == "train" else slice(16, 20)
        for k, category in enumerate(common.CLASSES):
            expected = {row.tobytes() for row in server.arrays[category][rows]}
            assert {i.tobytes() for i in images[labels == k]} == expected
        assert (np.diff(labels) < 0).any()
    assert not list(tmp_path.glob(".*"))
    source = json.loads((tmp_path / "source.json").read_text())
    assert "CC BY 4.0" in source["licence"]


def test_a_server_that_ignores_range_is_cut_off(tmp_path):
    """Only the bytes asked for are read, though the server would go on for ever."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (300_000, 784)})
    with Server(ranges=False, content=header.getvalue() + bytes(20_000_000)) as server:
        start = time.time()
        assert quickdraw.fetch(f"{server.url}/hand.npy", 20, 3.0).shape == (20, 784)
        assert time.time() - start < 5


@pytest.mark.parametrize("kind, server, message, requests", [
    ("cut off midway", dict(cut=9000), "in three tries", 3), ("404", dict(status=404), "HTTP 404", 1),
    ("500", dict(status=500), "HTTP 500 in three tries", 3),
    ("not an npy file", dict(content=b"<html>sorry</html>" * 2000), "found no drawings", 1),
    ("too few rows", dict(), "found 30 drawings, expected at least 40", 1)])
def test_download_that_fails_leaves_nothing(kind, server, message, requests, tmp_path):
    folder = tmp_path / "data"
    with Server(**server) as bucket:
        with pytest.raises(common.InputError, match=message):
            quickdraw.main(config(folder, bucket, train_per_class=36 if kind == "too few rows" else 16))
    assert bucket.requests == requests
    assert not folder.exists() or not list(folder.iterdir())


def test_wrong_size_is_refused(tmp_path):
    file = io.BytesIO()
    np.save(file, np.zeros((40, 28, 28), np.float32))
    with Server(content=file.getvalue()) as server, pytest.raises(common.InputError, match="found no drawings"):
        quickdraw.main(config(tmp_path, server))


def test_a_second_try_succeeds(tmp_path):
    with Server(fail_first=2) as server:
        quickdraw.main(config(tmp_path, server))
    assert server.requests == 7


def test_no_answer_in_time(tmp_path):
    import socket

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        start = time.time()
        with pytest.raises(common.InputError, match="in three tries"):
            quickdraw.fetch(url + "/hand.npy", 5, timeout=0.3)
        assert time.time() - start < 10


def test_offline_falls_back_to_doodles_and_says_so(tmp_path):
    done = fetch(tmp_path / "data", "--url", "http://127.0.0.1:9/none", "--timeout", 0.5)
    assert done.returncode == 0 and "no download" in done.stderr and "STAND-IN DOODLES, not real drawings" in done.stdout
    assert json.loads((tmp_path / "data" / "source.json").read_text())["source"] == "doodles"
