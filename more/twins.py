"""What mlp_torch.py and embed_torch.py are compared with: the finished run of their twin in numpy."""

import json
import types
from pathlib import Path

import numpy as np

import common


def read_twin(cfg, name, source):
    """(settings, history, figures, arrays) of the finished OUT/<name>. Raises common.InputError.

    Settings are what the twin's command line gave; its Config is not imported: files are what scripts share.
    """
    folder = Path(cfg.out) / name
    try:
        record = json.loads((folder / "metrics.json").read_text())
        history, arrays = json.loads((folder / "history.json").read_text()), dict(np.load(folder / "twin.npz"))
        settings = types.SimpleNamespace(**record["config"])  # settings.lr, as cfg.lr elsewhere
        same = record["data"] == source and record["seed"] == cfg.seed and record["quick"] == cfg.quick
    except Exception as error:  # a broken file may raise anything
        raise common.InputError(f"{folder}: found no finished run ({type(error).__name__}), expected the twin's; run 'make {name}', or "
                                f"python -m more.{name} --data DATA --out {cfg.out}") from None
    common.require(same, folder, "a run on other data, or with another seed or --quick", "the same as here",
                   f"run more.{name} again with these flags")
    return settings, history, record, arrays


def part(arrays, prefix):
    """{name: array} of those whose name begins with prefix, which is taken off."""
    return {name[len(prefix):]: array for name, array in arrays.items() if name.startswith(prefix)}


def differences(ours, theirs):
    """{layer: {"absolute", "relative"}}: largest difference of two gradients, and that over the largest of theirs.

    An absolute difference says nothing by itself: 1e-6 is nothing beside 1, and everything beside 1e-6.
    """
    table = {}
    for layer, gradient in ours.items():
        difference = float(np.abs(gradient - theirs[layer]).max())
        table[layer] = {"absolute": difference, "relative": difference / max(float(np.abs(theirs[layer]).max()), 1e-30)}
    return table
