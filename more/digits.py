"""MNIST's digits for the files of more/: puts four idx files into DATA.

    python -m more.digits --data data/mnist

In this order, as data/quickdraw.py does for the drawings:
(a) valid files that are there are used and left alone;
(b) else MNIST's four files come from a public mirror, 11 MB. A file whose SHA-256 is not the known one is refused,
    and none of the four is kept;
(c) without a network, scikit-learn's own digits: 1,797 of 8x8 pixels, enlarged to 28x28. A stand-in: no figure measured
    on it means anything about MNIST. It is never silent: the console, source.json and every picture's caption say so.

Writes the four files and source.json (origin, sha256 of each file, licence).

MNIST: Y. LeCun, C. Cortes, C. Burges. The stand-in: E. Alpaydin and C. Kaynak, Optical recognition of handwritten digits, UCI.
"""

import gzip
import hashlib
import http.client
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

import common
from more import color

# SHA-256 of MNIST's files, gzipped as they were first published
DIGESTS = {"train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
           "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
           "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
           "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"}
LONGEST = 1 << 24  # bytes; the longest of them has 9,912,422
PAUSE = 1.0  # seconds before the second try, twice that before the third
STAND_IN = "STAND-IN, not MNIST: scikit-learn's 8x8 digits enlarged to 28x28"


class Unreachable(common.InputError):
    """No file came. A file that came and is another one is no such case: that is never passed over."""


# ---- 1. Settings ------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Config:
    data: str = "data/mnist"  # folder to put the four files into
    source: Literal["auto", "download", "stand-in"] = "auto"  # auto: (a), else (b), else (c); or one of them
    url: str = "https://ossci-datasets.s3.amazonaws.com/mnist"  # folder with the four files
    timeout: float = 20.0  # seconds without a byte after which a try is given up
    seed: int = 0  # which of the stand-in's digits are for testing


# ---- 2. Reading -------------------------------------------------------------------------------------

def load(cfg):
    """common.Data of any DATA that color.py reads: one channel, 28x28. Raises common.InputError."""
    train, test, source, classes = color.read(color.Settings(data=cfg.data, out=cfg.out, quick=cfg.quick, grey=True))
    return common.split(cfg, *train, *test, source, classes)


# ---- 3. (a) Files that are there --------------------------------------------------------------------

def present(folder):
    """True if all four files are there and valid, False if none is. Raises common.InputError on anything between."""
    names = [name for name in DIGESTS if (folder / name).exists() or (folder / name.removesuffix(".gz")).exists()]
    drawings = [name for name in common.FILES if (folder / name).exists()]
    common.require(not drawings, folder, ", ".join(drawings), "a folder without drawings",
                   "idx files would hide them: name another by --data")
    common.require(len(names) in (0, 4), folder, f"no {', '.join(name for name in DIGESTS if name not in names)}", "all four files or none",
                   "add what is missing, or empty the folder")
    if names:
        color.read(color.Settings(data=str(folder), grey=True))
    return bool(names)


# ---- 4. (b) Download --------------------------------------------------------------------------------

def fetch(url, digest, timeout):
    """The bytes of a file. Raises Unreachable after three tries, common.InputError if it is not the file with this SHA-256."""
    for attempt in (1, 2, 3):
        try:
            got = bytearray()
            with urllib.request.urlopen(url, timeout=timeout) as reply:
                expected = int(reply.headers.get("Content-Length") or 0)
                while len(got) < LONGEST and (chunk := reply.read(1 << 16)):
                    got += chunk
                    if sys.stderr.isatty():
                        print(f"\r{url.rsplit('/', 1)[-1]} {len(got) / 1e6:5.1f} MB", end="", file=sys.stderr)
            if len(got) >= expected or len(got) >= LONGEST:
                found = hashlib.sha256(got).hexdigest()
                common.require(found == digest, url, f"SHA-256 {found[:16]}...", f"{digest[:16]}...",
                               "nothing was kept; name another mirror by --url, or use --source stand-in")
                return bytes(got)
            trouble = f"{len(got):,} of {expected:,} bytes"
        except urllib.error.HTTPError as error:
            trouble = f"HTTP {error.code}"
            if error.code < 500:  # no such file: another try finds the same
                break
        except (OSError, ValueError, http.client.HTTPException) as error:  # no network, no answer in time, a broken line, no URL
            trouble = str(getattr(error, "reason", error)) or type(error).__name__
        if attempt < 3:
            time.sleep(attempt * PAUSE)
    raise Unreachable(f"{url}: found {' '.join(trouble.split())[:100]}, expected one of MNIST's files; try again later, name another "
                      "mirror by --url, or use --source stand-in")


def download(cfg):
    """{file name: bytes}: all four, or an exception."""
    files = {}
    for name, digest in DIGESTS.items():
        files[name] = fetch(f"{cfg.url}/{name}", digest, cfg.timeout)
        print(f"downloaded {name}, {len(files[name]):,} bytes, SHA-256 as expected")
    return files


# ---- 5. (c) The stand-in ----------------------------------------------------------------------------

def to_idx(array):
    """uint8 array -> bytes of a gzipped idx file, the reverse of color.read_idx. The time in gzip's header is 0: the same bytes twice."""
    head = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    return gzip.compress(head + array.astype(np.uint8).tobytes(), mtime=0)


def stand_in(cfg):
    """{file name: bytes} of scikit-learn's digits, 1,497 to train and 300 to test."""
    from sklearn.datasets import load_digits  # here: it takes a second, and the download needs none of it

    digits = load_digits()
    x = color.resize((digits.images[:, None] / 16).astype(np.float32), 28)[:, 0]  # grey levels 0 to 16
    test, train = np.split(np.random.default_rng(cfg.seed).permutation(len(x)), [300])
    return {name: to_idx(np.round(255 * x[part]) if "images" in name else digits.target[part])
            for name, part in zip(DIGESTS, (train, train, test, test))}


# ---- 6. Writing -------------------------------------------------------------------------------------

def write(folder, files, **source):
    """Five files, each whole or not there; source.json last, with their checksums."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            with common.atomic(folder / name) as file:
                file.write(content)
        common.save(folder / "source.json", source | {"sha256": {n: hashlib.sha256(c).hexdigest() for n, c in files.items()}})
    except OSError as error:
        common.require(False, folder, error.strerror, "a folder to write to", "name one by --data")


def main(cfg):
    folder = Path(cfg.data)
    if present(folder):
        name = common.read_source(folder).get("name", "idx files brought by the user")
        common.require(cfg.source == "auto" or (cfg.source == "stand-in") == (name == STAND_IN), folder, name,
                       f"an empty folder for --source {cfg.source}", "name another one by --data, or empty it")
        return print(f"{folder}: valid files are there ({name}), left alone")
    if cfg.source != "stand-in":
        try:
            return write(folder, download(cfg), source="mnist", name="MNIST digits", note=f"from {cfg.url}",
                         licence="Y. LeCun and C. Cortes, CC BY-SA 3.0")
        except Unreachable as error:
            if cfg.source == "download":
                raise
            print(f"no download: {error}", file=sys.stderr)
    write(folder, stand_in(cfg), source="stand-in", name=STAND_IN, note="sklearn.datasets.load_digits", licence="UCI, CC BY 4.0")
    print(f"{folder}: {STAND_IN}; for MNIST's own, put its four .gz files into another folder and name that by --data")


if __name__ == "__main__":
    common.run(main, Config)
