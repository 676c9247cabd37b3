"""Blots, ink and variety of samples beside real drawings: what docs/settings.md says of more/ddpm.py and FID does not see.

    python tests/blots.py out ddpm ddpm_grey gan

A blot: a square of 5 x 5 pixels that are all above 0.7, of the brightest channel. Ink: its mean. Trace: of the covariance of
the judge's features, the larger the more the samples differ.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import minimum_filter

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import common
from more import color
from more.score import Judge


def blots(ink):
    """Share of drawings (N, H, W) in [0, 1] with a blot."""
    return float((minimum_filter(ink, (1, 5, 5))[:, 2:-2, 2:-2] > 0.7).any(axis=(1, 2)).mean())


def line(name, images, judge):
    """images uint8 (N, H, W) or (N, H, W, 3)."""
    ink = images.max(axis=3) / 255 if images.ndim == 4 else images / 255
    trace = np.trace(np.cov(judge.look(images)[1].T))
    return f"{name:20s} {len(images):6,d} drawings  blots {blots(ink):6.1%}  ink {ink.mean():.3f}  trace {trace:6.1f}"


def main(out, *names):
    for name in names:
        path = Path(out) / name
        try:
            settings = json.loads((path / "metrics.json").read_text())["config"]
            samples = common.load_npy(path / "samples.npy")
        except (OSError, KeyError, ValueError, common.InputError) as error:
            sys.exit(print(f"blots: error: {path}: found no finished run ({type(error).__name__}), expected samples; run 'make {name}'",
                           file=sys.stderr) or 2)
        cfg = color.Settings(**{key: settings[key] for key in ("data", "grey", "size", "threshold")}, out=out)
        data = color.load(cfg)
        judge = Judge(cfg, data, torch.device("cpu"))
        print(line("real test drawings", color.to_uint8(data.x_test), judge))
        print(line(name, samples, judge))


if __name__ == "__main__":
    main(*sys.argv[1:])
