"""What every script needs and no model is about: settings, data, seeds, files, pictures.

A reader of a model file need not open this one: no model, loss or score is computed here. What a model
sees is read and checked here (pixels in [0, 1]), split, and moved and mirrored by augment(). torch is
imported inside the functions that use it, so that a script without torch can use the rest.
"""

import argparse
import contextlib
import dataclasses
import hashlib
import inspect  # a setting's comment is read from the source, and becomes its --help
import json
import os
import platform
import re
import sys
import typing
from pathlib import Path
from typing import ClassVar, Literal

import matplotlib
import numpy as np

matplotlib.use("Agg")  # draws into files and needs no screen; has to be said before pyplot comes
import matplotlib.pyplot as plt

CLASSES = ("rabbit", "yoga", "hand", "snowman", "motorbike")  # a label is an index into this
COLORS = ("#4477AA", "#EE6677", "#228833", "#CCBB44", "#AA3377")  # Paul Tol's bright scheme, for all eyes
FILES = ("train_images.npy", "train_labels.npy", "test_images.npy", "test_labels.npy")


class InputError(Exception):
    """Something that was given cannot be used; run() turns it into one line and exit code 2."""


def require(fits, where, found, expected, remedy):
    """Raise InputError, in the one form that all messages have, unless fits."""
    if not fits:
        raise InputError(f"{where}: found {found}, expected {expected}; {remedy}")


# ---- Settings: a frozen dataclass becomes the command line ------------------------------------------

@dataclasses.dataclass(frozen=True)
class Settings:
    """The flags of every script. A number must be positive, unless it is named here or 0 by default; scripts add their own."""

    data: str = "data/quickdraw_subset_np"  # folder with the course's four .npy files
    out: str = ""  # results go to OUT/<script>/; empty: out, out_quick or out_seed<SEED>
    seed: int = 0  # of weights, batches and samples; the validation split is always the same
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"  # auto: cuda, else mps, else cpu
    precision: Literal["auto", "float32", "bfloat16"] = "auto"  # auto: bfloat16 where this CPU multiplies it natively
    quick: bool = False  # little data, two epochs: does it all run? The figures mean nothing

    MAY_BE_ZERO: ClassVar[set] = {"shift", "mirror", "dropout", "input_dropout", "beta", "weight_decay"}
    AT_MOST: ClassVar[dict] = {"mirror": 1, "dropout": 0.9, "input_dropout": 0.9}  # shares; the rest up to what a seed may be


class OneLineParser(argparse.ArgumentParser):
    def error(self, message):
        raise InputError(f"{message}; --help lists the flags")


def parse(Config, argv=None):
    """Config with the command line's values: each field is a flag, the comment behind it the help.

    Raises InputError on an unknown flag or a value that does not fit.
    """
    helps = {name: text for cls in Config.__mro__[-2::-1] for name, text in
             re.findall(r"^    (\w+): .*?  # (.*)$", inspect.getsource(cls), flags=re.MULTILINE)}
    parser = OneLineParser(description=sys.modules[Config.__module__].__doc__, allow_abbrev=False,
                           formatter_class=argparse.RawDescriptionHelpFormatter)
    for field in dataclasses.fields(Config):
        flag, text = "--" + field.name.replace("_", "-"), helps[field.name].replace("%", "%%")
        if field.type is tuple:
            parser.add_argument(field.name, nargs="*", metavar="FILE", help=text)
        elif field.type is bool:
            parser.add_argument(flag, action="store_true", help=text)
        else:
            choices = typing.get_args(field.type) or None
            parser.add_argument(flag, type=str if choices else field.type, choices=choices, default=field.default,
                                metavar=None if choices else field.type.__name__.upper(), help=f"{text} (default: {field.default!r})")
    given = vars(parser.parse_args(argv))
    for field in dataclasses.fields(Config):
        if field.type in (int, float):
            limits = Config if issubclass(Config, Settings) else Settings
            value, zero = given[field.name], field.default == 0 or field.name in limits.MAY_BE_ZERO
            most = limits.AT_MOST.get(field.name, 2 ** 32 - 1)  # a larger seed is refused by scikit-learn
            require(value <= most and (value > 0 or (zero and value == 0)), "--" + field.name.replace("_", "-"), value,  # so is NaN
                    "a positive number" + " or 0" * zero + f", up to {most}", "--help says what it means")
    if given.get("quick") and given.get("epochs") == 0:
        given["epochs"] = 2
    if given.get("out") == "":
        given["out"] = "out" + "_quick" * given["quick"] + f"_seed{given['seed']}" * (given["seed"] > 0)
    return Config(**given)


def run(main, Config):
    """main(Config from the command line). What the user can mend ends in one line and exit code 2."""
    try:
        main(parse(Config))
    except InputError as error:
        sys.exit(print(f"{Path(sys.argv[0]).name}: error: {error}", file=sys.stderr) or 2)  # print returns None: it exits with 2
    except KeyboardInterrupt:
        sys.exit(print("\ninterrupted: run it again; make does so by itself where there is no metrics.json", file=sys.stderr) or 130)


# ---- Data: four .npy files, checked where they enter ----------------------------------------------------

class Data(typing.NamedTuple):
    """Drawings float32 (N, 1, 28, 28) in [0, 1], 1 is ink; labels int64 (N,) in 0..4. Of more/: in colour (N, 3, H, W), other classes."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_val: np.ndarray
    y_val: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    source: dict  # where the drawings came from, for metrics.json and captions
    classes: tuple = CLASSES


def load_npy(path):
    """The array of an .npy file. Raises InputError, also for an array of objects: its pickle could run code."""
    try:
        return np.load(path, allow_pickle=False)
    except FileNotFoundError:
        problem = "no such file"
    except Exception as error:  # a damaged file may raise anything: numpy passes on what its parts raise
        problem = f"no plain .npy file ({(str(error).splitlines() or [type(error).__name__])[0][:80]})"
    raise InputError(f"{path}: found {problem}, expected an array written by np.save; check --data, or run 'make data'")


def check_images(path, images, color=False):
    """uint8 0..255 or float 0..1, (N, 28, 28), or if color (N, H, H) or (N, H, H, 3), -> float32 (N, C, H, H). Raises InputError."""
    shape = getattr(images, "shape", "of an archive")
    fits = shape[1:] == (28, 28) or (color and len(shape) in (3, 4) and shape[1] == shape[2] and shape[3:] in ((), (3,)))
    require(isinstance(images, np.ndarray) and fits and len(images), path, f"shape {shape}",
            ("(N, H, H) or (N, H, H, 3)" if color else "(N, 28, 28)") + " with N > 0", "reshape the drawings")
    if images.dtype == np.uint8:
        images = images.astype(np.float32) / 255
    else:
        require(images.dtype.kind == "f", path, f"dtype {images.dtype}", "uint8 0..255 or float 0..1", "convert with astype")
        low, high = images.min(), images.max()  # NaN if one pixel is
        require(low >= 0 and high <= 1, path, f"floats from {low:.4g} to {high:.4g}", "0 to 1, none of them NaN",
                "divide by 255, or store uint8")
    return images[:, None].astype(np.float32) if images.ndim == 3 else np.ascontiguousarray(np.moveaxis(images, 3, 1), np.float32)


def check_labels(path, labels, n, classes=CLASSES):
    """Integers (n,) that number the classes, every one of them present -> int64. Raises InputError."""
    top = len(classes) - 1
    dtype = getattr(labels, "dtype", np.dtype(object))  # an archive has none
    require(dtype.kind in "iu", path, f"dtype {dtype}", f"integers 0..{top}", "convert with astype")
    require(labels.shape == (n,), path, f"shape {labels.shape}", f"({n},), one label a drawing", "use two files of one set")
    require(labels.min() >= 0 and labels.max() <= top, path, f"labels {labels.min()} to {labels.max()}",
            f"0..{top} for " + ", ".join(classes), "number the categories so")
    absent = [name for k, name in enumerate(classes) if k not in labels]
    require(not absent, path, f"no {', '.join(absent)}", "every category", "add drawings of the rest")
    return labels.astype(np.int64)


def read_set(folder, name, color=False, classes=CLASSES):
    """(images, labels) of "train" or "test", checked as above. Raises InputError."""
    paths = [Path(folder) / f"{name}_{kind}.npy" for kind in ("images", "labels")]
    images = check_images(paths[0], load_npy(paths[0]), color)
    return images, check_labels(paths[1], load_npy(paths[1]), len(images), classes)


def read_source(folder):
    """DATA/source.json, where the drawings came from, if its checksums, where it has any, still fit the files beside it."""
    try:
        source = json.loads((Path(folder) / "source.json").read_text())
        if all(hashlib.sha256((Path(folder) / name).read_bytes()).hexdigest() == digest
               for name, digest in source.get("sha256", {}).items()):
            return {"source": str(source["source"]), "note": str(source.get("note", ""))} | {
                key: source[key] for key in ("name", "classes") if key in source}  # of sets that more/color.py wrote
    except (OSError, ValueError, AttributeError, KeyError):
        pass
    return {"source": "course", "note": "files brought by the user"}


def load_data(cfg, color=False):
    """Read and check DATA's four files; hold out a tenth of the training drawings. Raises InputError."""
    source = read_source(cfg.data)
    classes = tuple(source.pop("classes", CLASSES)) if color else CLASSES
    data = split(cfg, *read_set(cfg.data, "train", color, classes), *read_set(cfg.data, "test", color, classes), source, classes)
    require(set(data.y_train) == set(range(len(classes))), cfg.data, "a category with no drawing left to train on", "more", "add some")
    return data


def split(cfg, x, y, x_test, y_test, source, classes=CLASSES):
    """Data, with a tenth of the training drawings for validation. Raises InputError.

    The split is the same for every script and seed: what validates one model trains no other. A quick run has its own.
    """
    rng = np.random.default_rng(0)
    order = rng.permutation(len(x))[:600 if cfg.quick else None]
    test = rng.permutation(len(x_test))[:200] if cfg.quick else slice(None)
    val, train = np.split(order, [max(1, len(order) // 10)])
    require(len(train), cfg.data, f"{len(x)} training drawings", "two or more", "add some")
    source = source | {"drawings": {"train": len(train), "validation": len(val), "test": len(y_test[test])}}
    print(f"data: {describe(source)}")
    return Data(x[train], y[train], x[val], y[val], x_test[test], y_test[test], source, classes)


def describe(source):
    """One line on the data, for the console and under every figure."""
    name = source.get("name", "STAND-IN DOODLES, not real drawings" if source["source"] == "doodles" else "Quick, Draw! drawings")
    return name + ": {train:,} to train, {validation:,} to validate, {test:,} to test".format(**source["drawings"])


def augment(x, rng, shift, mirror=0.5, fill="constant"):
    """Each drawing of x (N, C, H, W) moved by up to shift pixels, a share of them mirrored; edges are filled with paper, 0.

    Neither makes another category of one of our drawings; of a digit, mirroring may. x: a tensor and rng a torch.Generator,
    or both of numpy. fill: numpy.pad's mode.
    """
    n, side = len(x), x.shape[-1]
    if isinstance(x, np.ndarray):
        offsets, mirrored = rng.integers(2 * shift + 1, size=(2, n, 1)), rng.random((n, 1)) < mirror
    else:
        import torch

        offsets = torch.randint(2 * shift + 1, (2, n, 1), generator=rng).numpy()
        mirrored = (torch.rand(n, 1, generator=rng) < mirror).numpy()
    padded = np.pad(np.asarray(x), ((0, 0), (0, 0), (shift, shift), (shift, shift)), mode=fill)  # (N, C, H + 2 shift, W + 2 shift)
    rows, columns = offsets + np.arange(side)  # (N, H), (N, W)
    columns = np.where(mirrored, columns[:, ::-1], columns)
    n, c = np.arange(n)[:, None, None, None], np.arange(x.shape[1])[:, None, None]
    moved = padded[n, c, rows[:, None, :, None], columns[:, None, None, :]]  # (N, C, H, W)
    return moved if isinstance(x, np.ndarray) else torch.from_numpy(moved)


# ---- Running: seed, device, precision, progress ------------------------------------------------------------

def setup(cfg):
    """Seed torch, choose the device, say so; returns the torch.device. Raises InputError."""
    import torch

    present = [name for name, there in (("cuda", torch.cuda.is_available()), ("mps", torch.backends.mps.is_available()),
                                        ("cpu", True)) if there]
    require(cfg.device in ("auto", *present), "--device", f"no {cfg.device} here", " or ".join(present), "name one of these")
    device = torch.device(present[0] if cfg.device == "auto" else cfg.device)
    torch.manual_seed(cfg.seed)
    print(f"device: {device}, {'bfloat16' if uses_bfloat16(cfg, device) else 'float32'}, {torch.get_num_threads()} CPU threads")
    return device


def uses_bfloat16(cfg, device):
    """Do matrix products and convolutions run in bfloat16? By default where the CPU multiplies it natively."""
    import torch

    native = device.type == "cpu" and any(torch.cpu.get_capabilities().get(name) for name in ("avx512_bf16", "amx_bf16"))
    return cfg.precision == "bfloat16" or (cfg.precision == "auto" and native)


def autocast(cfg, device):
    """Context in which the expensive layers run in bfloat16 if uses_bfloat16, and all in float32 if not."""
    import torch

    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=uses_bfloat16(cfg, device))


def progress(batches, label):
    """Iterate over a sequence; on a terminal, and only there, with a bar that stays in its line."""
    for i, batch in enumerate(batches):
        if sys.stderr.isatty():
            print(f"\r{label} {'#' * (20 * i // len(batches)):20s}", end="\r", file=sys.stderr)
        yield batch


# ---- Files: whole or not there --------------------------------------------------------------------------------

@contextlib.contextmanager
def atomic(path):
    """An open binary file that gets its name when it is complete: nobody ever meets half of it."""
    temporary = path.with_name(f".{path.name}.tmp")
    with open(temporary, "wb") as file:
        yield file
    os.replace(temporary, path)  # within a folder: all or nothing


def start(cfg, script, record="metrics"):
    """OUT/<script>/, without the record of an earlier run: until finish() writes it, nothing counts as done to make.

    Raises InputError rather than let a quick run, or another seed, take a full run's place.
    """
    folder = Path(cfg.out) / Path(script).stem
    path, before = folder / f"{record}.json", {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (probe := folder / ".probe.tmp").touch(), probe.unlink()  # a folder that cannot be written to fails here, not after the training
        before = dict(json.loads(path.read_text())) if path.exists() else {}
    except OSError as error:
        require(False, folder, error.strerror, "a folder to write to", "name one by --out")
    except (ValueError, TypeError):
        pass  # not whole, so not ours
    # A record of a quick run, or none that could be read, stands in nobody's way.
    require(before.get("quick", True) or (cfg.quick, cfg.seed) == (False, before.get("seed")), path,
            f"a full run with seed {before.get('seed')}", "none, or the same seed", "name another folder by --out")
    for leftover in (path, *folder.glob(".*.tmp")):
        leftover.unlink(missing_ok=True)
    return folder


def save(path, content):
    """Write what the suffix says: .json, .npy, .npz (a dict of arrays), .png (a figure), .pt (a module's tensors on the CPU, or a dict)."""
    with atomic(path) as file:
        if path.suffix == ".json":
            file.write(json.dumps(content, indent=1).encode() + b"\n")
        elif path.suffix == ".npy":
            np.save(file, content)
        elif path.suffix == ".npz":
            np.savez(file, **content)
        elif path.suffix == ".png":
            content.savefig(file, format="png")
            plt.close(content)
        else:
            import torch

            if not isinstance(content, dict):
                content = {name: tensor.cpu() for name, tensor in content.state_dict().items()}
            torch.save(content, file)


def finish(cfg, folder, source, device, model, seconds, record="metrics", **figures):
    """Write metrics.json, last of all: that it exists means that the run came to its end. model: a torch module, or an int, its size."""
    without = isinstance(model, int)  # a script that does without torch does so here, too
    torch = None if without else sys.modules["torch"]
    save(folder / f"{record}.json", figures | {
        "parameters": model if without else sum(p.numel() for p in model.parameters()), "seconds": round(seconds, 1),
        "device": str(device), "threads": torch and torch.get_num_threads(), "bfloat16": not without and uses_bfloat16(cfg, device),
        "seed": cfg.seed, "quick": cfg.quick, "config": dataclasses.asdict(cfg), "data": source,
        "versions": {"python": platform.python_version(), "torch": torch and torch.__version__, "numpy": np.__version__}})


# ---- Pictures: one look for all ---------------------------------------------------------------------------------

def figure(rows=1, columns=1, width=8.0, height=3.0):
    """(figure, axes (rows, columns)) in the project's style; sizes in inches."""
    plt.rcParams.update({
        "savefig.dpi": 120, "font.size": 9, "axes.titlesize": 10, "axes.grid": True, "grid.alpha": 0.25, "axes.spines.top": False,
        "axes.spines.right": False, "legend.frameon": False, "image.cmap": "gray_r", "axes.prop_cycle": matplotlib.cycler(color=COLORS)})
    return plt.subplots(rows, columns, figsize=(width, height), layout="constrained", squeeze=False)


def show_grid(ax, images, columns, title="", row_names=()):
    """Drawings (N, H, W), or (N, H, W, 3), in [0, 1], N a multiple of columns, as one picture; never rescaled."""
    images, rows = np.asarray(images), len(images) // columns
    height, width, *rgb = images.shape[1:]
    picture = images.reshape(rows, columns, height, width, *rgb).swapaxes(1, 2).reshape(rows * height, columns * width, *rgb)
    ax.imshow(picture, vmin=0, vmax=1)
    ax.set(title=title, xticks=[], yticks=[height * r + height // 2 for r in range(len(row_names))], yticklabels=row_names)
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)


def plot_curves(cfg, path, history, source, title, unit, left, right=(), levels=None, **axis):
    """Terms of the loss by epoch, training dashed and validation solid; right: terms on an axis of their own.

    left, right: {key in history: label}; levels: {label: height} of horizontal lines to compare with.
    """
    fig, axes = figure(width=8, height=3.4)
    ax = axes[0, 0]
    twin = ax.twinx() if right else None
    for color, (key, label) in zip(COLORS, [*left.items(), *dict(right).items()]):
        for kind, style in (("train", "--"), ("val", "-")):
            (twin if key in right else ax).plot([r["epoch"] for r in history], [r[f"{kind}_{key}"] for r in history], style,
                                                color=color, label=f"{label}, {'training' if kind == 'train' else 'validation'}")
    for style, (label, level) in zip((":", "-."), (levels or {}).items()):
        ax.axhline(level, color="0.4", linestyle=style, label=label)
    ax.set(title=title, xlabel="epoch", ylabel=unit, **axis)
    if not axis:  # the first epochs would hide the rest; a caller who sets a scale or limits sees to that
        ax.set_ylim(top=max(history[len(history) // 20][f"train_{key}"] for key in left))
    ax.locator_params(axis="x", integer=True)  # there is no epoch 1.5
    if twin:
        twin.set(ylabel=f"{', '.join(right.values())}, {unit}", ylim=(0, None))
        twin.grid(False)
    fig.legend(loc="outside right center", fontsize=8)
    save_figure(cfg, path, fig, source)


def plot_reconstructions(cfg, path, data, drawn):
    """The first three test drawings of each category, always the same; drawn: {row name: (N, 28, 28)} of all test drawings."""
    pick = np.concatenate([np.flatnonzero(data.y_test == k)[:3] for k in range(len(CLASSES))])
    fig, axes = figure(width=8, height=0.55 * (2 + len(drawn)))
    rows = {"original": data.x_test[:, 0]} | drawn
    show_grid(axes[0, 0], np.concatenate([images[pick] for images in rows.values()]), len(pick),
              "Test drawings and their reconstructions", list(rows))
    save_figure(cfg, path, fig, data.source)


def save_figure(cfg, path, fig, source):
    """Say under it where the data is from, then write and close it."""
    fig.supxlabel(describe(source) + f" · seed {cfg.seed}" + " · quick run" * cfg.quick, fontsize=7, color="0.4")
    save(path, fig)
