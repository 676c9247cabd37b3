"""Images in colour for the generative models of more/: painted drawings, MNIST, or any folder of pictures.

    DATA holds                      images
    four .npy files (the course's)  each drawing, as alpha, in a colour of its own on black; --grey: as they are
    four .npy files (N, H, H, 3)    as they are
    idx files, .gz or not           MNIST's digits, painted like drawings; --grey: as they are
    pictures, a subfolder a category, or train/ and test/ (or val/) with such subfolders: cropped to the central
                                    square and resized; butterflies and moths, or CIFAR-10 and SVHN once unpacked as pictures

The colour of a drawing is a hue, uniform on the circle, drawn from a generator of its own that knows neither
drawing nor category: colour is a factor independent of shape, and a model that mixes the two can be caught.

    (1)  x_c = alpha * rgb_c(hue),  rgb = HSV(hue, 0.8, 1) converted              pixel by pixel, c of r, g, b

With --threshold t the alpha is [alpha > t] instead: hard edges, as the course suggests; the grey edges of the
default are what makes a line of one pixel look smooth.

As a script it writes the set as four .npy files, which classifier.py and metrics.py read like the course's, so
that samples in colour get a judge that was trained on colour; and it paints the samples of the core's models, so
that these can stand in the same table.

Run:    python -m more.color --data DATA --out OUT      (or: make color)
Writes: OUT/color/ train_images.npy and so on, source.json, samples_<model>.npy, examples.png, metrics.json;
        OUT/color/cache_*.npy for pictures
"""

import gzip
import hashlib
import json
import struct
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import matplotlib.image
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.colors import hsv_to_rgb

import common

# Shapes: N images, C channels (1 grey, 3 colour), H = W pixels.
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"}


# ---- 1. Settings ------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Settings(common.Settings):
    """The flags of every file whose images may be in colour; --data: see above."""

    grey: bool = False  # drawings as they are, one channel: samples of such runs are compared with the core's
    size: int = 28  # height and width of an image in pixels: 28, 32 or 64
    threshold: float = 0.0  # ink above it is painted fully, ink below not at all; 0: as much as there is


@dataclass(frozen=True)
class Config(Settings):
    pass


# ---- 2. Colour --------------------------------------------------------------------------------------

def hues(n, name):
    """(n,) hues in [0, 1) of the "train" or "test" images: always the same, so that every script paints alike."""
    return np.random.default_rng({"train": 1, "test": 2}.get(name, 3)).random(n)


def paint(alpha, hue):
    """Equation (1): alpha (N, 1, H, W) in [0, 1], hue (N,) in [0, 1] -> (N, 3, H, W) float32."""
    rgb = hsv_to_rgb(np.stack([hue, np.full_like(hue, 0.8), np.ones_like(hue)], axis=1)).astype(np.float32)  # (N, 3)
    return alpha * rgb[:, :, None, None]  # (1), (N, 3, H, W)


def ink(cfg, alpha):
    """What is painted of drawings (N, 1, H, W): all, as it is, or what is above the threshold, fully."""
    return (alpha > cfg.threshold).astype(np.float32) if cfg.threshold else alpha


def resize(images, size):
    """(N, C, H, W) in [0, 1] -> (N, C, size, size), smaller pixels weighted means of what they cover; unchanged if it has that size."""
    if images.shape[2:] == (size, size):
        return images
    resized = F.interpolate(torch.from_numpy(images), size=(size, size), mode="bilinear", antialias=True)
    return resized.clamp(0, 1).numpy()


# ---- 3. MNIST's format ------------------------------------------------------------------------------

def read_idx(path, dimensions):
    """uint8 array of an idx file, gzipped or not. Raises common.InputError.

    Format (LeCun et al., the MNIST database): big-endian integers of 4 bytes, first a magic number (0, 0, 8 for unsigned
    bytes, the number of dimensions), then the sizes, then the bytes.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise common.InputError(f"{path}: found no readable file ({str(error)[:60]}), expected MNIST's idx format; download "
                                "it again") from None
    head = 4 + 4 * dimensions
    common.require(len(content) >= head and content[:4] == bytes([0, 0, 8, dimensions]), path, f"a file that begins with {content[:4]!r}",
                   f"{bytes([0, 0, 8, dimensions])!r} (magic number {2048 + dimensions})", "download it again")
    sizes = struct.unpack(f">{dimensions}I", content[4:head])
    expected = head + int(np.prod(sizes, dtype=object))
    common.require(len(content) == expected, path, f"{len(content)} bytes", f"{expected} for sizes {sizes}", "download it again")
    return np.frombuffer(content, np.uint8, offset=head).reshape(sizes)


def find_idx(folder, name):
    """Paths of MNIST's images and labels, gzipped or not, or None. name: train or test."""
    prefix, found = {"train": "train", "test": "t10k"}[name], []
    for kind in ("images-idx3-ubyte", "labels-idx1-ubyte"):
        found += [path for suffix in ("", ".gz") if (path := folder / f"{prefix}-{kind}{suffix}").exists()][:1]
    return found if len(found) == 2 else None


# ---- 4. Pictures ------------------------------------------------------------------------------------

def read_picture(path, size):
    """uint8 (size, size, 3): the central square, resized. None if the file is broken."""
    try:
        x = matplotlib.image.imread(path)
    except Exception:  # a broken file may raise anything, from any decoder
        return None
    x = np.atleast_3d(x).astype(np.float32) / (255 if x.dtype == np.uint8 else 65535 if x.dtype == np.uint16 else 1)
    x = x[:, :, :3] * x[:, :, 3:4] if x.shape[2] == 4 else np.repeat(x[:, :, :1], 3, axis=2) if x.shape[2] < 3 else x  # alpha: on black
    side = min(x.shape[:2])
    top, left = (x.shape[0] - side) // 2, (x.shape[1] - side) // 2
    square = np.ascontiguousarray(x[None, top:top + side, left:left + side].transpose(0, 3, 1, 2))  # (1, 3, H, H)
    return np.round(255 * resize(square, size)[0].transpose(1, 2, 0)).astype(np.uint8)


def read_pictures(folder, size, cache):
    """(images uint8 (N, size, size, 3), labels (N,), category names) of a folder with one subfolder a category.

    Read in parallel, and kept as an .npy in cache; a changed file name, size or time makes another cache. Broken pictures
    are named and left out. Raises common.InputError.
    """
    classes = tuple(sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")))
    files = [(path, label) for label, name in enumerate(classes) for path in sorted((folder / name).iterdir())
             if path.suffix.lower() in SUFFIXES and path.is_file()]
    common.require(files, folder, "no pictures in subfolders", "a subfolder a category, with .png or .jpg files", "check --data")
    state = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path, _ in files]
    key = hashlib.sha256(json.dumps([size, state]).encode()).hexdigest()[:16]
    kept = cache / f"cache_{key}.npy"
    if kept.exists():
        images = common.load_npy(kept)
        good = np.flatnonzero(common.load_npy(cache / f"cache_{key}_good.npy"))
    else:
        with ThreadPoolExecutor() as pool:  # decoding lets other threads run
            read = list(pool.map(lambda item: read_picture(item[0], size), files))
        good = np.array([i for i, x in enumerate(read) if x is not None], int)
        common.require(len(good), folder, f"{len(files)} pictures, all of them broken", "pictures that can be read", "check them")
        images = np.stack([read[i] for i in good])
        cache.mkdir(parents=True, exist_ok=True)
        common.save(cache / f"cache_{key}_good.npy", np.isin(np.arange(len(files)), good))
        common.save(kept, images)
    broken = np.setdiff1d(np.arange(len(files)), good)
    for i in broken:  # said again where they come from the cache
        print(f"{files[i][0]}: no picture that can be read; left out")
    if len(broken):
        print(f"{len(broken)} of {len(files)} pictures left out")
    return images, np.array([files[i][1] for i in good]), classes


# ---- 5. Any of them ---------------------------------------------------------------------------------

def read(cfg):
    """((images, labels) to train, (images, labels) to test, source, classes); images float32 (N, C, size, size). Raises InputError."""
    folder = Path(cfg.data)
    common.require(cfg.size in (28, 32, 64), "--size", cfg.size, "28, 32 or 64", "name one of these")
    common.require(cfg.threshold < 1, "--threshold", cfg.threshold, "less than 1, all the ink there is", "try 0.5")
    if find_idx(folder, "train") and find_idx(folder, "test"):
        sets, classes, source = {}, tuple("0123456789"), {"source": "mnist", "note": "idx files", "name": "MNIST digits"}
        for name in ("train", "test"):
            paths = find_idx(folder, name)
            images = common.check_images(paths[0], read_idx(paths[0], 3))
            sets[name] = images, common.check_labels(paths[1], read_idx(paths[1], 1), len(images), classes)
        found = common.read_source(folder)  # digits.py may have put others there
        source |= found if "name" in found else {}
    elif folder.is_dir() and not any((folder / name).exists() for name in common.FILES):
        parts = [folder]
        if (folder / "train").is_dir():
            parts = [folder / "train", *[path for name in ("test", "val", "valid", "validation") if (path := folder / name).is_dir()][:1]]
            common.require(len(parts) == 2, folder, "train/ without test/ or val/", "both", "add the other, or name train/ itself")
        read_part = [read_pictures(path, cfg.size, Path(cfg.out) / "color") for path in parts]
        classes = read_part[0][2]
        source = {"source": "pictures", "note": f"{len(classes)} categories", "name": f"pictures of {folder.name}"}
        if len(read_part) == 2:
            common.require(read_part[1][2] == classes, parts[1], "other subfolders", "the categories of train", "make them alike")
            pairs = [part[:2] for part in read_part]
        else:  # a fifth of each category is kept for testing, one picture at least
            images, labels, _ = read_part[0]
            order, test = np.random.default_rng(0).permutation(len(images)), np.zeros(len(images), bool)
            for k in range(len(classes)):
                mine = order[labels[order] == k]
                test[mine[:max(1, len(mine) // 5)]] = len(mine) > 1
            pairs = [(images[order[pick]], labels[order[pick]]) for pick in (~test[order], test[order])]
        sets = {}
        for name, (images, labels) in zip(("train", "test"), pairs):
            common.require(len(images), folder, f"{len(images)} pictures to {name}", "some", "add pictures")
            sets[name] = common.check_images(folder, images, color=True), labels.astype(np.int64)
    else:
        source = common.read_source(folder)
        classes = tuple(source.pop("classes", common.CLASSES))
        sets = {name: common.read_set(folder, name, color=True, classes=classes) for name in ("train", "test")}
    sets = {name: (resize(x, cfg.size), y) for name, (x, y) in sets.items()}
    if cfg.grey:  # of pictures in colour the mean of the three channels
        sets = {name: (x.mean(axis=1, keepdims=True), y) for name, (x, y) in sets.items()}
    if not cfg.grey and sets["train"][0].shape[1] == 1:
        source["name"] = common.describe(source | {"drawings": {"train": 0, "validation": 0, "test": 0}}).split(": ")[0] + ", painted"
        source["name"] += f" above {cfg.threshold:g}" if cfg.threshold else ""
        for name, (x, y) in sets.items():
            sets[name] = paint(ink(cfg, x), hues(len(x), name)), y
    # the 256 values that samples.npy and the set written by this script can hold: all see the same images
    sets = {name: (np.round(255 * x) / np.float32(255), y) for name, (x, y) in sets.items()}
    return sets["train"], sets["test"], source, classes


def load(cfg):
    """common.Data with images (N, C, size, size). Raises common.InputError."""
    train, test, source, classes = read(cfg)
    return common.split(cfg, *train, *test, source, classes)


def to_uint8(x):
    """Samples (N, C, H, W) in [0, 1], a tensor or array -> uint8 (N, H, W), or (N, H, W, 3) in colour: what samples.npy holds."""
    x = np.round(255 * np.asarray(x, np.float32)).astype(np.uint8)
    return x[:, 0] if x.shape[1] == 1 else x.transpose(0, 2, 3, 1)


# ---- 7. Main ----------------------------------------------------------------------------------------

def main(cfg):
    (x, y), (x_test, y_test), source, classes = read(cfg)
    folder, begin = common.start(cfg, "color"), time.time()
    digests = {}
    for name, array in zip(common.FILES, (to_uint8(x), y, to_uint8(x_test), y_test)):
        common.save(folder / name, array)
        digests[name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    common.save(folder / "source.json", source | {"classes": classes, "sha256": digests})
    source["drawings"] = {"train": len(x), "validation": 0, "test": len(x_test)}
    print(f"data: {common.describe(source)}")

    painted = [] if cfg.grey else [path for model in ("rnn_vae", "conv_vae", "cvae")
                                   for path in sorted(Path(cfg.out).glob(f"{model}/samples*.npy"))]
    for path in painted:
        target = folder / f"samples_{path.parent.name}{path.stem.removeprefix('samples')}.npy"
        if path.stem.endswith("_labels"):
            common.save(target, common.load_npy(path))
        else:
            alpha = ink(cfg, resize(common.check_images(path, common.load_npy(path)), cfg.size))
            common.save(target, to_uint8(paint(alpha, hues(len(alpha), "samples"))))
    rows = [np.flatnonzero(y == k)[:12] for k in range(min(len(classes), 8))]
    rows = [row for row in rows if len(row) == 12]
    if rows:
        fig, axes = common.figure(width=7, height=0.6 * len(rows) + 0.6)
        shown = to_uint8(x[np.concatenate(rows)]) / 255
        common.show_grid(axes[0, 0], shown, 12, "", [classes[y[row[0]]] for row in rows])
        common.save_figure(cfg, folder / "examples.png", fig, source)
    common.finish(cfg, folder, source, "cpu", 0, time.time() - begin, classes=classes, painted=[path.parent.name for path in painted])


if __name__ == "__main__":
    common.run(main, Config)
