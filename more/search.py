"""Random search for the settings of more/mlp_numpy.py, on validation accuracy: python -m more.mlp_numpy --search 24.

Paper: Bergstra and Bengio, Random search for hyper-parameter optimization, JMLR 13, 2012.
"""

import contextlib
import io
import multiprocessing
import os
import time
from dataclasses import replace

import numpy as np

import common
from more import mlp_numpy

SEARCHED = ("depth", "width", "activation", "lr", "momentum", "weight_decay", "dropout", "input_dropout", "batch_size")


def try_setting(cfg):
    """One setting of the search: (settings, validation accuracy, seconds)."""
    with contextlib.redirect_stdout(io.StringIO()):
        data = common.load_data(cfg)
    begin = time.time()
    with np.errstate(all="ignore"):  # too large a learning rate overflows; its accuracy says so
        history = mlp_numpy.train(cfg, mlp_numpy.MLP(cfg, np.random.default_rng(cfg.seed)), data, cfg.shift, cfg.mirror, verbose=False)
    return cfg, max(r["val_accuracy"] for r in history), time.time() - begin


def search(cfg):
    """cfg.search random settings, one process a core, best first: [{setting, val_accuracy, seconds}].

    Random, not a grid (Bergstra and Bengio 2012, section 1): few of nine settings matter, and it is not known which. 24
    random trials try 24 learning rates; a grid of 24 points has room for two values of four settings, and one of the others.
    """
    rng = np.random.default_rng(cfg.seed)
    settings = [replace(cfg, depth=int(rng.integers(1, 4)), width=int(2 ** rng.integers(6, 10)),
                        activation=str(rng.choice(["relu", "tanh"])), lr=float(10 ** rng.uniform(-2.5, -0.5)),
                        momentum=float(rng.choice([0.0, 0.5, 0.9, 0.95])), weight_decay=float(10 ** rng.uniform(-4.5, -1.5)),
                        batch_size=int(2 ** rng.integers(5, 9)), dropout=float(rng.choice([0.0, 0.2, 0.4])),
                        input_dropout=float(rng.choice([0.0, 0.2]))) for _ in range(cfg.search)]
    # One BLAS thread a process: more would fight for the cores. The variables are read when a process first imports numpy.
    os.environ.update({f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")})
    trials = []
    with multiprocessing.get_context("spawn").Pool() as pool:
        for tried, accuracy, seconds in pool.imap(try_setting, settings):
            trials.append({name: getattr(tried, name) for name in SEARCHED} | {"val_accuracy": accuracy, "seconds": round(seconds, 1)})
            print(f"{len(trials):3d}/{cfg.search}  " + "  ".join(f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
                                                                 for name, value in trials[-1].items()), flush=True)
    return sorted(trials, key=lambda trial: -trial["val_accuracy"])
