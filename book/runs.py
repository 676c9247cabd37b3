"""What the latest runs left in OUT, for the pages: pictures with their sizes, final figures, where the data came from."""

import json
import struct
from pathlib import Path
from typing import NamedTuple

import common

# of one file: in grey, on the drawings beside MNIST's digits, on the painted drawings beside the grey ones
VARIANTS = ("{}", "{}_grey", "drawings/{}", "color/{}")
SHOWN = 8  # figures of a record that a page lists


class Picture(NamedTuple):
    path: Path
    width: int
    height: int


class Run(NamedTuple):
    name: str  # its folder in OUT: ddpm_grey, drawings/dense_ae
    record: dict  # metrics.json
    pictures: dict  # {curves.png: Picture}

    @property
    def data(self):
        """One line: what the figures are about, and that they are about nothing if it was a quick run."""
        return common.describe(self.record["data"]) + f"; seed {self.record['seed']}" + "; a quick run, whose figures mean nothing" * (
            self.record["quick"] is True)

    @property
    def warns(self):
        """Is it about no real data, or too short to mean anything?"""
        return self.record["quick"] is True or "STAND-IN" in self.data

    def figures(self):
        """[(name, text)] of the first final figures: those on test drawings, and the like."""
        found = []
        for key, value in self.record.items():
            inner = value.items() if isinstance(value, dict) and key not in ("config", "data", "versions") else [("", value)]
            for name, number in inner:
                label = f"{key} {name}".strip().replace("_", " ")
                if isinstance(number, int | float) and not isinstance(number, bool) and ("test" in label or label in ("fid", "diversity")):
                    found.append((label, f"{number:.4g}".replace("-", "\u2212")))
        return found[:SHOWN]


def read_record(path):
    """metrics.json of a finished run, or None where there is none. Raises common.InputError on anything else."""
    again = f"delete it and run 'make {path.parent.name}' again"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        common.require(False, path, f"no JSON ({str(error).splitlines()[0][:80]})", "what a finished run writes", again)
    data = record.get("data") if isinstance(record, dict) else None
    counts = data.get("drawings") if isinstance(data, dict) and isinstance(data.get("source"), str) else None
    whole = isinstance(counts, dict) and all(isinstance(counts.get(k), int) for k in ("train", "validation", "test"))
    common.require(whole and {"seed", "quick", "seconds", "device", "parameters"} <= set(record), path,
                   "a record without data, seed, quick, seconds, device or parameters", "what common.finish writes", again)
    return record


def read_picture(path):
    """Its size, from the file's first bytes. Raises common.InputError on what is no PNG."""
    with path.open("rb") as file:
        head = file.read(24)
    common.require(head[:8] == b"\x89PNG\r\n\x1a\n" and len(head) == 24, path, "no PNG picture", "what a run draws",
                   f"delete it, or run 'make {path.parent.name}' again")
    return Picture(path, *struct.unpack(">II", head[16:24]))


def find(out, stem):
    """[Run] of one file, the plain one first; a folder without metrics.json is no finished run. Raises common.InputError."""
    found = []
    for variant in VARIANTS:
        folder = Path(out) / variant.format(stem)
        record = read_record(folder / "metrics.json")
        if record is not None:
            found.append(Run(variant.format(stem), record, {p.name: read_picture(p) for p in sorted(folder.glob("*.png"))}))
    return found
