"""Fixtures: a small set of stand-in doodles, the course-like real drawings where they lie, a way to run scripts."""

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = ("classifier", "rnn_ae", "conv_ae", "rnn_vae", "conv_vae", "cvae", "metrics")
REAL = Path(os.environ.get("REAL_DRAWINGS", ROOT.parent / "shared" / "quickdraw"))
sys.path.insert(0, str(ROOT))
# Before torch and numpy come: on the tests' small nets threads cost more than they bring.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A shell makes its background jobs ignore SIGINT, and what they start inherits it: the interrupt tests need the default back.
signal.signal(signal.SIGINT, signal.default_int_handler)


def load_quickdraw():
    """data/quickdraw.py as a module: data/ is a folder of files, not a package."""
    spec = importlib.util.spec_from_file_location("quickdraw", ROOT / "data" / "quickdraw.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["quickdraw"] = module
    spec.loader.exec_module(module)
    return module


def pytest_collection_modifyitems(items):
    """Files that take minutes come first, so that two workers, which get a file at a time, end at about the same time."""
    first = ("test_color.py", "test_restore_ae.py", "test_readme.py", "test_ablations.py", "test_make.py", "test_scripts.py")
    items.sort(key=lambda item: first.index(item.path.name) if item.path.name in first else len(first))  # stable


def run(*args, **kwargs):
    """A script of the root in a process of its own, run from elsewhere: no path may hang on the current folder."""
    return subprocess.run([sys.executable, *map(str, args)], capture_output=True, text=True, timeout=300,
                          cwd=kwargs.pop("cwd", "/"), **kwargs)


@pytest.fixture(scope="session")
def doodles(tmp_path_factory):
    """Folder with 1,000 + 250 doodles."""
    folder = tmp_path_factory.mktemp("doodles")
    done = run(ROOT / "data" / "quickdraw.py", "--data", folder, "--source", "doodles", "--train-per-class", 200, "--test-per-class", 50)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def quick(doodles, tmp_path_factory):
    """Every script once with --quick, in the Makefile's order: {script: finished process}, the folder written to."""
    out = tmp_path_factory.mktemp("quick")
    runs = {}
    for name in ("classifier", "rnn_ae", "conv_ae", "rnn_vae", "conv_vae", "vaes", "cvae", "metrics"):
        extra = ("--only", "rnn_vae,conv_vae", "--table", "vaes") if name == "vaes" else ()
        script = "metrics" if name == "vaes" else name
        runs[name] = run(ROOT / f"{script}.py", "--quick", "--data", doodles, "--out", out, *extra)
        assert runs[name].returncode == 0, f"{name}: {runs[name].stderr}"
    return runs, out
