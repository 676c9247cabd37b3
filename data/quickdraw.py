"""Put the course's four .npy files into DATA: yours, downloaded, or drawn.

    python data/quickdraw.py --data data/quickdraw_subset_np

In this order:
(a) valid files that are there are used and left alone;
(b) else 5,000 drawings of each category come from Google's public bucket: 4,000 to train on, 1,000
    to test on. A category's file is over 100 MB and holds one drawing of 784 bytes after the other,
    so only its first 4 MB are asked for (HTTP Range);
(c) without a network, doodles are drawn by strokes: a stand-in of the same shape, on which every
    script runs, and on which no figure means anything about real drawings. It is never silent.

Writes the four files and source.json (origin, counts, sha256 of each file, licence).

The drawings: Quick, Draw! by Google, CC BY 4.0, https://github.com/googlecreativelab/quickdraw-dataset
"""

import ast
import hashlib
import http.client
import struct
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the root, where common.py is
import common
from common import CLASSES, FILES, InputError

# ---- 1. Settings ------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Config:
    data: str = "data/quickdraw_subset_np"  # folder to put the four files into
    source: Literal["auto", "course", "download", "doodles"] = "auto"  # auto: (a), else (b), else (c); or one of them
    train_per_class: int = 4000  # drawings of each category to train on
    test_per_class: int = 1000  # drawings of each category to test on
    url: str = "https://storage.googleapis.com/quickdraw_dataset/full/numpy_bitmap"  # folder with <category>.npy
    timeout: float = 20.0  # seconds without a byte after which a try is given up
    seed: int = 0  # of the shuffling and of the doodles


# ---- 2. (a) Files that are there ---------------------------------------------------------------------

def present(folder):
    """True if all four files are there and valid, False if none is. Raises InputError on anything between."""
    missing = [name for name in FILES if not (folder / name).exists()]
    if len(missing) == len(FILES):
        return False
    if missing:
        raise InputError(f"{folder}: found no {', '.join(missing)}, expected all four files or none; add what is missing, "
                         "or empty the folder")
    common.read_set(folder, "train"), common.read_set(folder, "test")
    return True


# ---- 3. (b) Download ----------------------------------------------------------------------------------

def header_of(start, url):
    """(length of the header, rows) of an .npy file's first bytes, format 1.0 or 2.0. Raises InputError.

    numpy.lib.format: a magic string, two version bytes, the header's length, a Python dict as text.
    """
    try:
        if start[:6] != b"\x93NUMPY":
            raise ValueError(f"it starts with {start[:6]!r}")
        skip, code = (10, "<H") if start[6] == 1 else (12, "<I")
        length = skip + struct.unpack(code, start[8:skip])[0]
        head = ast.literal_eval(start[skip:length].decode("latin1"))
        shape = tuple(head["shape"])
        if head["descr"] != "|u1" or head["fortran_order"] or len(shape) != 2 or shape[1] != 784:
            raise ValueError(f"it holds {head['descr']} {shape}")
    except (ValueError, SyntaxError, KeyError, IndexError, TypeError, struct.error) as error:
        raise InputError(f"{url}: found no drawings ({error}), expected an .npy file of uint8 (N, 784); check --url, "
                         "or use --source doodles") from None
    return length, shape[0]


def fetch(url, rows, timeout):
    """The first rows drawings of a category, uint8 (rows, 784). Raises InputError after three tries.

    Asks for a range of bytes. A server that ignores it begins to send the whole file: reading stops
    after the same bytes and the connection is closed.
    """
    slack = 256  # the header's length is in the header: 80 bytes in these files, never more than this
    wanted = slack + rows * 784
    request = urllib.request.Request(url, headers={"Range": f"bytes=0-{wanted - 1}"})
    for attempt in (1, 2, 3):
        try:
            got = bytearray()
            with urllib.request.urlopen(request, timeout=timeout) as reply:
                while len(got) < wanted and (chunk := reply.read(min(1 << 16, wanted - len(got)))):
                    got += chunk
                    if sys.stderr.isatty():
                        print(f"\r{url.rsplit('/', 1)[-1]} {100 * len(got) // wanted:3d} %", end="", file=sys.stderr)
            length, held = header_of(bytes(got[:slack]), url)
            if held < rows:
                raise InputError(f"{url}: found {held:,} drawings, expected at least {rows:,}; ask for fewer by "
                                 "--train-per-class and --test-per-class")
            body = got[length:length + rows * 784]
            if len(body) == rows * 784:
                return np.frombuffer(bytes(body), np.uint8).reshape(rows, 784)
            trouble = f"{len(body):,} of {rows * 784:,} bytes"
        except urllib.error.HTTPError as error:
            if error.code < 500:  # no such file: another try finds the same
                raise InputError(f"{url}: found HTTP {error.code} {error.reason}, expected an .npy file; check --url, "
                                 "or use --source doodles") from None
            trouble = f"HTTP {error.code}"
        except (OSError, http.client.HTTPException) as error:  # no network, no answer in time, a broken line
            trouble = str(getattr(error, "reason", error)) or type(error).__name__
        if attempt < 3:
            time.sleep(attempt * PAUSE)
    raise InputError(f"{url}: found {trouble} in three tries, expected {rows:,} drawings; try again later, or use --source doodles")


PAUSE = 1.0  # seconds before the second try, twice that before the third


def download(cfg, rng):
    rows = cfg.train_per_class + cfg.test_per_class
    images = []
    for name in CLASSES:
        images.append(fetch(f"{cfg.url}/{name}.npy", rows, cfg.timeout).reshape(rows, 28, 28))
        print(f"downloaded {rows:,} drawings of {name}")
    return images


# ---- 4. (c) Doodles: five categories drawn by strokes --------------------------------------------------

# A stroke is an array (N, P, 2): P points along it for each of N doodles, x to the right, y down, the
# whole drawing about 2 wide around the origin. Every number an artist would vary is drawn per doodle.

FAR = 1e3  # where a missing part's points go: no pixel is near


class Pen:
    """Strokes of N doodles at once; every method but vary appends one array (N, P, 2)."""

    def __init__(self, n, rng):
        self.n, self.rng, self.strokes = n, rng, []

    def vary(self, middle, spread):
        """One number for each doodle, (N,), normal around the middle."""
        return middle + spread * self.rng.standard_normal(self.n)

    def draw(self, x, y, points, chance=1.0, wobble=0.03):
        """x, y: functions of t in [0, 1], or arrays (N, P). A hand trembles: two slow sines are added.

        chance that the part is there: a number for all, or one for each doodle, (N,).
        """
        t = np.linspace(0, 1, points)[None]
        path = np.stack(np.broadcast_arrays(x(t) if callable(x) else x, y(t) if callable(y) else y), axis=-1)  # (N, P, 2)
        phase, size = self.rng.uniform(0, 2 * np.pi, (2, self.n, 1, 2)), self.vary(0, wobble)[:, None, None]
        t = t[..., None]
        path = path + size * (np.sin(2 * np.pi * t + phase[0]) + 0.6 * np.sin(7 * t + phase[1]))
        there = self.rng.random((self.n, 1, 1)) < np.reshape(chance, (-1, 1, 1))
        self.strokes.append(np.where(there, path, FAR))

    def oval(self, cx, cy, rx, ry, points, chance=1.0, tilt=0.0, extent=(1.02, 0.05)):
        """An ellipse, closed a little too early or too late, started anywhere."""
        begin, turns = self.rng.uniform(0, 2 * np.pi, self.n), self.vary(*extent)
        cx, cy, rx, ry, tilt, begin, turns = (np.broadcast_to(v, self.n)[:, None] for v in (cx, cy, rx, ry, tilt, begin, turns))

        def along(t):
            a = begin + 2 * np.pi * turns * t
            return rx * np.cos(a), ry * np.sin(a)

        self.draw(lambda t: cx + along(t)[0] * np.cos(tilt) - along(t)[1] * np.sin(tilt),
                  lambda t: cy + along(t)[0] * np.sin(tilt) + along(t)[1] * np.cos(tilt), points, chance)

    def line(self, joints, points, chance=1.0):
        """A polygon through the joints, a list of (x, y) with numbers or (N,) arrays."""
        joints = np.stack([np.stack([np.broadcast_to(v, self.n) for v in joint], -1) for joint in joints], 1)  # (N, J, 2)
        at = np.linspace(0, joints.shape[1] - 1, points)
        left = np.minimum(at.astype(int), joints.shape[1] - 2)
        path = joints[:, left] + (at - left)[None, :, None] * (joints[:, left + 1] - joints[:, left])
        self.draw(path[..., 0], path[..., 1], points, chance)

    def limb(self, x, y, angle, bend, length, points, chance=1.0):
        """Two bones and a joint, from (x, y); returns the end. Angles in radians, 0 is down."""
        mid = x + 0.5 * length * np.sin(angle), y + 0.5 * length * np.cos(angle)
        end = mid[0] + 0.5 * length * np.sin(angle + bend), mid[1] + 0.5 * length * np.cos(angle + bend)
        self.line([(x, y), mid, end], points, chance)
        return end


def rabbit(pen):
    v, r = pen.vary, np.abs(pen.vary(0.42, 0.07))
    body = pen.rng.random(pen.n) < 0.5  # half of them have one: the head moves up and shrinks
    r = np.where(body, 0.75 * r, r)
    cx, cy = np.where(body, v(0, 0.25), v(0, 0.05)), np.where(body, -0.1, 0.35)
    pen.oval(cx, cy, r * v(1, 0.15), r * v(0.95, 0.12), 40)
    for side in (-1, 1):
        tilt, long = v(0.25, 0.22) * side, np.abs(v(0.5, 0.1))
        foot = cx + side * 0.5 * r
        pen.oval(foot + np.sin(tilt) * long, cy - 0.75 * r - np.cos(tilt) * long * 0.8, np.abs(v(0.15, 0.04)), long, 34, 0.97, tilt)
        pen.oval(cx + side * 0.38 * r, cy - 0.1 * r, 0.05, 0.05, 6, 0.7)
        for k in (-1, 0, 1):
            pen.line([(cx + side * 0.3 * r, cy + 0.3 * r), (cx + side * v(1.3, 0.2) * r, cy + (0.3 + 0.3 * k) * r + v(0, 0.05))], 10, 0.3)
    pen.oval(cx, cy + 0.25 * r, 0.06, 0.05, 6, 0.6)
    long = np.abs(v(0.5, 0.1))
    pen.oval(cx + v(0.15, 0.3), cy + r + 0.85 * np.abs(v(0.5, 0.06)), long, np.abs(v(0.48, 0.08)), 46, chance=body)
    pen.oval(cx + 0.2 + long, cy + r + 0.7, 0.13, 0.13, 12, chance=0.6 * body)


def yoga(pen):
    v, pi = pen.vary, np.pi
    lean, spine = v(0, 0.35), np.abs(v(0.75, 0.12))
    hip = v(0, 0.1), v(0.1, 0.12)
    neck = hip[0] + spine * np.sin(lean), hip[1] - spine * np.cos(lean)
    r = np.abs(v(0.2, 0.04))
    pen.oval(neck[0] + r * np.sin(lean), neck[1] - r * np.cos(lean), r, r * v(1, 0.12), 22)
    pen.line([hip, neck], 22)
    down = pen.rng.random(pen.n) < 0.45  # seated, legs folded
    for side in (-1, 1):
        at = neck[0] + 0.8 * (hip[0] - neck[0]) * 0.2, neck[1] + 0.2 * (hip[1] - neck[1])
        pen.limb(*at, side * v(1.4, 0.75), side * v(0.5, 0.9), np.abs(v(0.8, 0.15)), 22, 0.97)
        pen.limb(*hip, side * np.where(down, v(1.2, 0.3), v(0.45, 0.45)), side * np.where(down, -v(2.4, 0.5), v(-0.2, 0.6)),
                 np.abs(v(1.0, 0.18)), 28, 0.97)
    pen.line([(-1, v(0.95, 0.06)), (1, v(0.95, 0.06))], 34, 0.2)  # a mat
    turn = np.where(pen.rng.random(pen.n) < 0.3, pen.rng.choice([-1, 1], pen.n) * pi / 2, v(0, 0.15))  # planks lie
    return turn


def hand(pen):
    v, n = pen.vary, pen.n
    angles = np.linspace(-1.25, 1.0, 5)[None] + 0.1 * pen.rng.standard_normal((n, 5))  # 0 is up; the thumb first
    length = np.array([0.75, 1.0, 1.12, 1.02, 0.85])[None] * v(1, 0.08)[:, None] + 0.08 * pen.rng.standard_normal((n, 5))
    width, palm = 0.13 + 0.02 * pen.rng.standard_normal((n, 1)), np.abs(v(0.42, 0.05))[:, None]
    missing = pen.rng.random((n, 5)) < 0.06
    length = np.where(missing, palm, length)
    wrist = v(0.3, 0.07)[:, None], v(0.75, 0.12)[:, None]
    parts = [np.stack([-wrist[0], wrist[1]], -1)]
    for k in range(5):  # the outline goes up one side of a finger and down the other
        a, across = angles[:, k, None], np.array([-1.0, -0.75, 0.75, 1.0])[None]
        out = np.concatenate([palm, length[:, k, None], length[:, k, None], palm], 1)
        parts.append(np.stack([out * np.sin(a) + across * width * np.cos(a), -out * np.cos(a) + across * width * np.sin(a) + 0.25], -1))
    parts.append(np.stack([wrist[0], wrist[1]], -1))
    corners = np.concatenate(parts, 1)  # (N, 22, 2)
    pen.line([(corners[:, j, 0], corners[:, j, 1]) for j in range(corners.shape[1])], 210)
    pen.line([(corners[:, 0, 0], corners[:, 0, 1]), (corners[:, -1, 0], corners[:, -1, 1])], 18, 0.5)
    for k in range(1, 5):  # nails, now and then
        a = angles[:, k]
        pen.oval((length[:, k] - 0.12) * np.sin(a), 0.25 - (length[:, k] - 0.12) * np.cos(a), 0.05, 0.06, 6, 0.12)


def snowman(pen):
    v, top = pen.vary, 0.95
    three = pen.rng.random(pen.n) < 0.55
    sizes = [np.abs(v(0.46, 0.06)), np.where(three, np.abs(v(0.34, 0.05)), 0.0), np.abs(v(0.27, 0.04))]
    y, x = np.full(pen.n, top), v(0, 0.08)
    for k, r in enumerate(sizes):
        y = y - r
        there = r > 0
        pen.oval(x, y, r * v(1.05, 0.12), r * v(0.98, 0.07), 44 - 8 * k, there)
        if k < 2:
            for dot in (-0.4, 0, 0.4):
                pen.oval(x, y + dot * r, 0.035, 0.035, 5, 0.35 * there)
            for side in (-1, 1):
                pen.limb(x + side * 0.8 * r, y, side * v(1.9, 0.35), side * v(0.3, 0.4), np.abs(v(0.6, 0.1)), 18,
                         (0.45 * k + 0.2) * there)
        y, x = y - 0.85 * r, x + v(0, 0.03)
    r, y = sizes[2], y + 0.85 * sizes[2]
    for side in (-1, 1):
        pen.oval(x + side * 0.35 * r, y - 0.2 * r, 0.04, 0.04, 5, 0.7)
    pen.line([(x, y), (x + v(0.3, 0.08), y + 0.05)], 10, 0.6)
    brim, tall, w = y - 0.85 * r, np.abs(v(0.3, 0.08)), np.abs(v(0.2, 0.04))
    hat = pen.rng.random(pen.n) < 0.6
    pen.line([(x - 0.38, brim), (x + 0.38, brim)], 24, hat)
    pen.line([(x - w, brim), (x - w, brim - tall), (x + w, brim - tall), (x + w, brim)], 32, hat)


def motorbike(pen):
    v = pen.vary
    rear, front = v(-0.68, 0.06), v(0.68, 0.06)
    r = np.abs(v(0.32, 0.06))
    y = v(0.35, 0.05)
    for x, c in ((rear, 1.0), (front, 0.97)):
        pen.oval(x, y, r, r * v(1, 0.1), 38, c)
        pen.oval(x, y, 0.4 * r, 0.4 * r, 14, 0.3)
        pen.line([(x - 0.5 * r, y), (x + 0.5 * r, y)], 12, 0.15)
    seat, bar = (v(-0.35, 0.1), v(-0.2, 0.09)), (v(0.45, 0.08), v(-0.35, 0.12))
    pen.line([(rear, y), seat, (v(0.25, 0.08), v(-0.1, 0.08)), (front, y)], 54, 0.9)
    pen.line([(front, y), bar, (bar[0] - np.abs(v(0.25, 0.08)), bar[1] - v(0.05, 0.08))], 34, 0.9)
    pen.line([(rear, y), (v(0, 0.12), y + v(0.02, 0.05)), (front, y)], 40, 0.45)
    pen.oval(v(0, 0.08), v(0.1, 0.06), np.abs(v(0.28, 0.06)), np.abs(v(0.17, 0.05)), 28, 0.55)
    pen.line([(seat[0] - 0.3, seat[1]), (seat[0] + v(0.25, 0.08), seat[1] + v(0, 0.04))], 20, 0.75)
    pen.line([(v(-0.1, 0.1), y), (rear - r - v(0.1, 0.05), y + v(0.05, 0.05))], 26, 0.35)
    pen.oval(bar[0] + 0.12, bar[1] + 0.12, 0.1, 0.1, 10, 0.3)


def render(paths, radius):
    """Points (N, P, 2) in pixels -> ink uint8 (N, 28, 28): dark within radius of a point, antialiased.

    The squared distance to a point is the sum of a column's and a row's part, so that each point
    costs one addition and one minimum a pixel.
    """
    pixel = np.arange(28, dtype=np.float32) + 0.5
    near = np.full((len(paths), 28, 28), FAR, np.float32)
    dx, dy = ((paths[:, :, k, None].astype(np.float32) - pixel) ** 2 for k in (0, 1))  # (N, P, 28) each
    for p in range(paths.shape[1]):
        np.minimum(near, dy[:, p, :, None] + dx[:, p, None, :], out=near)
    return np.round(255 * np.clip(radius + 0.5 - np.sqrt(near), 0, 1)).astype(np.uint8)


def doodle(k, n, rng):
    """n drawings of category k, uint8 (n, 28, 28)."""
    pen = Pen(n, rng)
    turn = (rabbit, yoga, hand, snowman, motorbike)[k](pen)
    path = np.concatenate(pen.strokes, axis=1)  # (N, P, 2)
    there = np.abs(path).max(axis=-1, keepdims=True) < 10  # parts that are not missing
    a = (pen.vary(0, 0.13) + (0 if turn is None else turn))[:, None]
    shear = pen.vary(0, 0.12)[:, None]
    x, y = path[..., 0] + shear * path[..., 1], path[..., 1]
    path = np.stack([x * np.cos(a) - y * np.sin(a), x * np.sin(a) + y * np.cos(a)], -1)
    path[..., 0] *= np.where(rng.random((n, 1)) < 0.5, -1, 1)  # half of the artists face the other way
    # as in Quick, Draw!: moved to the middle, and its longer side scaled to fill the picture
    low, high = np.where(there, path, np.inf).min(1, keepdims=True), np.where(there, path, -np.inf).max(1, keepdims=True)
    scale = (25.5 - np.abs(pen.vary(0, 1.2)))[:, None, None] / (high - low).max(-1, keepdims=True)
    path = np.where(there, (path - (low + high) / 2) * scale + 14, FAR)
    radius = np.clip(pen.vary(0.76, 0.09), 0.5, 1.1)[:, None, None]
    return render(path, radius)


def doodles(cfg, rng):
    """25,000 in under a minute on two cores: 250 at a time keep the pixels in the processor's cache."""
    rows = cfg.train_per_class + cfg.test_per_class
    jobs = [(k, min(250, rows - first)) for k in range(len(CLASSES)) for first in range(0, rows, 250)]
    with ThreadPoolExecutor() as pool:  # numpy computes outside of Python's lock
        done = list(pool.map(lambda job: doodle(*job), [(k, n, r) for (k, n), r in zip(jobs, rng.spawn(len(jobs)))]))
    return [np.concatenate([d for (k, _), d in zip(jobs, done) if k == c]) for c in range(len(CLASSES))]


# ---- 5. Writing ---------------------------------------------------------------------------------------

def write(cfg, images, source, note, rng):
    """Split each category, shuffle, and put five files in place, each whole or not there."""
    folder, digest = Path(cfg.data), {}
    labels = np.repeat(np.arange(len(CLASSES)), [len(i) for i in images])
    images = np.concatenate(images)
    rows = cfg.train_per_class + cfg.test_per_class
    is_test = np.tile(np.arange(rows) >= cfg.train_per_class, len(CLASSES))
    arrays = {}
    for name, mask in (("train", ~is_test), ("test", is_test)):
        order = rng.permutation(np.flatnonzero(mask))
        arrays[f"{name}_images.npy"], arrays[f"{name}_labels.npy"] = images[order], labels[order]
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        common.save(folder / name, array)
        digest[name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    common.save(folder / "source.json", {
        "source": source, "note": note, "per_class": {"train": cfg.train_per_class, "test": cfg.test_per_class},
        "seed": cfg.seed, "sha256": digest,
        "licence": "Quick, Draw! dataset by Google, CC BY 4.0" if source == "download" else "as this project"})


def main(cfg):
    folder = Path(cfg.data)
    if present(folder):
        found = common.read_source(folder)["source"]
        if cfg.source not in ("auto", "course", found):
            raise InputError(f"{folder}: found drawings from '{found}', expected an empty folder for --source {cfg.source}; "
                             "name another one by --data, or empty it")
        if cfg.source == "course" and found != "course":
            raise InputError(f"{folder}: found drawings from '{found}', expected the course's; copy its four files there")
        print(f"{folder}: valid files are there ({'STAND-IN DOODLES' if found == 'doodles' else found}), left alone")
        return
    if cfg.source == "course":
        raise InputError(f"{folder}: found none of the four files, expected {', '.join(FILES)}; copy the course's there")
    rng = np.random.default_rng(cfg.seed)
    if cfg.source in ("auto", "download"):
        try:
            return write(cfg, download(cfg, rng), "download", f"the first rows of {cfg.url}", rng)
        except InputError as error:
            if cfg.source == "download":
                raise
            print(f"no download: {error}", file=sys.stderr)
    begin = time.time()
    write(cfg, doodles(cfg, rng), "doodles", "drawn by data/quickdraw.py, a stand-in", rng)
    print(f"{folder}: STAND-IN DOODLES, not real drawings, drawn in {time.time() - begin:.0f} s; for real ones see README.md")


if __name__ == "__main__":
    common.run(main, Config)
