"""Long runs that can be continued: everything that a training's next step depends on, saved whole every few epochs.

A run that is killed and continued ends with the same weights as one that was not, to the bit on the CPU: beside the
weights, the optimiser's averages, the schedule, and the state of every generator are part of the state.
"""

import dataclasses
import hashlib
import sys
from pathlib import Path

import torch

import common
from more import color


def fingerprint(cfg, script):
    """What has to be the same for a continuation to make sense: settings, data, the script and where its images come from."""
    settings = {name: value for name, value in dataclasses.asdict(cfg).items() if name not in ("resume", "device", "data", "out")}
    settings["data"] = str(Path(cfg.data).resolve())
    sources = [hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in (script, common.__file__, color.__file__)]
    return repr((settings, sources))


def save(path, cfg, script, generators, states, epoch, step, seconds, history):
    """generators: [torch.Generator]; states: [module or optimiser ...] with state_dict(); the rest plain values."""
    progress = {"epoch": epoch, "step": step, "seconds": seconds, "history": history}
    common.save(path, {"fingerprint": fingerprint(cfg, script), "progress": progress, "global": torch.get_rng_state(),
                       "generators": [g.get_state() for g in generators], "states": [s.state_dict() for s in states]})


def load(path, cfg, script, generators, states):
    """Progress of the last save, with generators and states set; of a run that begins if there is none that fits (it says why)."""
    beginning = {"epoch": 0, "step": 0, "seconds": 0.0, "history": []}
    if not cfg.resume:
        return beginning
    try:
        kept = torch.load(path, weights_only=True, map_location="cpu")  # a run may go on on another device
        fits = kept["fingerprint"] == fingerprint(cfg, script)
    except FileNotFoundError:
        return beginning
    except Exception as error:  # a broken file may raise anything
        print(f"{path}: found no checkpoint that can be read ({type(error).__name__}); starting anew", file=sys.stderr)
        return beginning
    if not fits:
        print(f"{path} is of other settings, or of an earlier version of the script; starting anew")
        return beginning
    for state, value in zip(states, kept["states"]):
        state.load_state_dict(value)
    for generator, value in zip(generators, kept["generators"]):
        generator.set_state(value)
    torch.set_rng_state(kept["global"])
    print(f"continuing after {kept['progress']['epoch']} epochs")
    return kept["progress"]


def forget(folder):
    """Once the results are written, nothing is to be continued."""
    for path in folder.glob("checkpoint*.pt"):
        path.unlink()
