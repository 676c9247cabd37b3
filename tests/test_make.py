"""The Makefile's promises, in a copy of the project, with this Python instead of a new .venv."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, SCRIPTS

PAINTED = {f"more.{name}" for name in ("restore_ae", "beta_vae", "cvae_color", "gan", "cgan", "ddpm", "cddpm", "inpaint")}
FULL_CHAIN = ["classifier", "rnn_ae", "conv_ae", "rnn_vae", "conv_vae", "metrics", "cvae", "metrics"]


def make(folder, *args, **kwargs):
    variables = ("MFLAGS", "PY", "DATA", "OUT", "SEED", "DEVICE", "FLAGS", "QUICK")  # this may run under make, which hands them on
    env = {k: v for k, v in os.environ.items() if not k.startswith("MAKE") and k not in variables}
    return subprocess.run(["make", "--no-print-directory", *map(str, args)], cwd=folder, capture_output=True, text=True, timeout=400,
                          env=env | {"OMP_NUM_THREADS": "1"}, **kwargs)


def started(done):
    """Scripts that make ran, or with -n would run, in order."""
    return [m for line in done.stdout.splitlines() for m in re.findall(rf"^{re.escape(sys.executable)} (\w+)\.py ", line)]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    for name in ("Makefile", "requirements.txt", "common.py", "README.md", *(f"{s}.py" for s in SCRIPTS)):
        shutil.copy(ROOT / name, folder)
    (folder / "data").mkdir()
    shutil.copy(ROOT / "data" / "quickdraw.py", folder / "data")
    for name in ("tests", "more", "report"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture(scope="module")
def built(project, doodles):
    """make quick, two jobs at a time, run once for all tests below."""
    done = make(project, "-j2", "quick", f"DATA={doodles}", f"PY={sys.executable}")
    assert done.returncode == 0, done.stderr
    return done


def again(project, doodles, *args, data=None):
    return make(project, "-n", "all", "OUT=out_quick", "QUICK=--quick", f"DATA={data or doodles}", f"PY={sys.executable}", *args)


def touch(path):
    time.sleep(0.02)
    os.utime(path)


def test_scratch_runs_each_numpy_file_before_its_twin(project, doodles):
    done = make(project, "-n", "scratch", "OUT=out_s", "GLOVE=words.txt", "DEVICE=cuda", f"DATA={doodles}", f"PY={sys.executable}")
    lines = [line for line in done.stdout.splitlines() if " -m more." in line]
    assert [re.search(r"more\.(\w+)", line)[1] for line in lines] == ["mlp_numpy", "mlp_torch", "embed_numpy", "embed_torch"], done.stderr
    assert ["--glove words.txt" in line for line in lines] == [False, False, True, False]
    assert ["--device cuda" in line for line in lines] == [False, True, False, True]  # numpy has no device


def test_colour_paints_trains_a_judge_and_ends_with_the_table(project, doodles):
    done = make(project, "-n", "colour", "OUT=out_c", f"DATA={doodles}", f"PY={sys.executable}")
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if "out_c" in line and line.startswith(sys.executable)]
    order = [re.search(r"(?:more\.(\w+)|(\w+)\.py)", line.removeprefix(sys.executable))[0] for line in lines]
    first = order.index("more.color")
    assert {"conv_vae.py", "cvae.py"} <= set(order[:first]) and "--data out_c/color --out out_c/color" in lines[first + 1]
    assert set(order[first + 2:-1]) == PAINTED and all(
        ("--resume" in line) == bool(re.search("gan|ddpm|beta_vae", line)) and "--grey" not in line for line in lines[first + 2:-1])
    assert "--judges out_c/color --table color" in lines[-1]
    done = make(project, "-n", "grey", "OUT=out_c", f"DATA={doodles}", f"PY={sys.executable}")
    assert {m[1] for m in re.finditer(r"more\.(\w+) .*--grey", done.stdout)} == {name.removeprefix("more.") for name in PAINTED}
    order = re.findall(r"(\w+)\.py .*--out out_c", done.stdout)  # the core's rows stand in the same table
    assert {"rnn_vae", "conv_vae", "cvae"} <= set(order) and order[-1] == "metrics"


def test_make_alone_lists_the_targets(project):
    done = make(project)
    assert done.returncode == 0
    for word in ("make all", "make quick", "make data", "make check", "make test", "make lint", "make clean", *SCRIPTS):
        assert word in done.stdout


def test_quick_runs_the_chain_in_order(built, project):
    order = started(built)
    assert sorted(order) == sorted(FULL_CHAIN)
    for first, then in (("rnn_vae", "conv_vae"), ("conv_vae", "metrics"), ("classifier", "metrics"), ("metrics", "cvae")):
        assert order.index(first) < order.index(then)
    assert order[-1] == "metrics"
    for name in SCRIPTS:
        assert (project / "out_quick" / name / "metrics.json").exists()
    assert not (project / "out").exists()


def test_a_rerun_does_nothing(built, project, doodles):
    done = again(project, doodles)
    assert done.returncode == 0 and started(done) == [] and "quickdraw.py" not in done.stdout and "report.build" not in done.stdout


def test_all_ends_with_the_report(built, project, doodles):
    assert (project / "out_quick" / "report.pdf").read_bytes()[:5] == b"%PDF-"
    before = (project / "report" / "text.py").stat()
    touch(project / "report" / "text.py")
    done = again(project, doodles)
    assert started(done) == [] and done.stdout.count("report.build") == 1
    os.utime(project / "report" / "text.py", ns=(before.st_atime_ns, before.st_mtime_ns))
    named = make(project, "-n", "report", "OUT=out_quick", "QUICK=--quick", f"DATA={doodles}", f"PY={sys.executable}", "AUTHOR=A B")
    assert started(named) == [] and '--author "A B"' in named.stdout  # what is on the cover may have changed


@pytest.mark.parametrize("touched, rerun", [
    ("conv_ae.py", ["conv_ae", "metrics"]), ("rnn_vae.py", ["rnn_vae", "conv_vae", "metrics", "cvae", "metrics"]),
    ("cvae.py", ["cvae", "metrics"]), ("metrics.py", ["metrics", "cvae", "metrics"]),
    ("classifier.py", ["classifier", "metrics", "cvae", "metrics"]), ("common.py", FULL_CHAIN)])
def test_touching_a_script_reruns_it_and_what_depends_on_it(touched, rerun, built, project, doodles):
    before = (project / touched).stat()
    touch(project / touched)
    assert sorted(started(again(project, doodles))) == sorted(rerun)
    os.utime(project / touched, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert started(again(project, doodles)) == []


def test_other_data_makes_everything_stale(built, project, doodles, tmp_path):
    other = shutil.copytree(doodles, tmp_path / "other")
    assert sorted(started(again(project, doodles, data=other))) == sorted(FULL_CHAIN)


def test_a_missing_data_file_is_noticed(built, project, doodles, tmp_path):
    done = make(project, "data", f"DATA={tmp_path}", "OUT=out_missing", f"PY={sys.executable}")  # an empty folder: filled
    assert done.returncode == 0 and "STAND-IN" in done.stdout
    (tmp_path / "test_labels.npy").unlink()
    done = make(project, "data", f"DATA={tmp_path}", "OUT=out_missing", f"PY={sys.executable}")
    assert done.returncode != 0 and "found no test_labels.npy" in done.stderr


def test_variables_and_flags_reach_the_scripts(built, project, doodles):
    done = again(project, doodles, "SEED=3", "DEVICE=cpu", "OUT=elsewhere", "FLAGS=--batch-size 7")
    line = next(x for x in done.stdout.splitlines() if "conv_vae.py" in x)
    assert "--seed 3" in line and "--device cpu" in line and "--out elsewhere" in line and "--batch-size 7" in line
    named = make(project, "-n", "conv_vae", "OUT=out_quick", "QUICK=--quick", f"DATA={doodles}", f"PY={sys.executable}", "FLAGS=--beta 2")
    assert started(named) == ["conv_vae"] and "--beta 2" in named.stdout  # other flags are another result: it runs
    assert "out_seed3/" in make(project, "-n", "conv_ae", "SEED=3", f"PY={sys.executable}", f"DATA={doodles}").stdout


def test_without_PY_a_venv_is_made(project, doodles):
    done = make(project, "-n", "all", f"DATA={doodles}")
    lines = done.stdout.splitlines()
    assert "-m venv .venv" in lines[0] and "-r requirements.txt" in lines[1]
    assert not any(sys.executable in line for line in lines)


@pytest.mark.parametrize("kind", (signal.SIGINT, signal.SIGKILL), ids=("SIGINT", "SIGKILL"))
def test_an_interrupted_make_leaves_no_target_and_the_next_one_succeeds(kind, project, doodles):
    target = project / "out_stop" / "conv_ae" / "metrics.json"
    command = ["make", "conv_ae", "OUT=out_stop", f"DATA={doodles}", f"PY={sys.executable}"]
    env = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")} | {"PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True,
                               env=env)
    for line in process.stdout:
        if line.startswith("epoch   2"):
            break
    os.killpg(process.pid, kind)
    process.communicate(timeout=30)
    assert process.returncode != 0 and not target.exists()
    done = make(project, *command[1:], "FLAGS=--epochs 1")
    assert done.returncode == 0 and target.exists(), done.stderr
    shutil.rmtree(project / "out_stop")


def test_a_failing_script_leaves_no_target(project, tmp_path, doodles):
    bad = shutil.copytree(doodles, tmp_path / "bad")
    (bad / "train_labels.npy").write_bytes(b"nothing")
    done = make(project, "conv_ae", "OUT=out_fail", f"DATA={bad}", f"PY={sys.executable}")
    assert done.returncode != 0 and "train_labels.npy: found no plain .npy file" in done.stderr
    assert not (project / "out_fail" / "conv_ae").exists()


def test_check_refuses_quick_runs_and_absent_ones(built, project):
    for out, message in (("out_quick", "found a quick run"), ("out_none", "found no finished run")):
        done = make(project, "check", f"OUT={out}", f"PY={sys.executable}")
        assert done.returncode != 0 and message in done.stderr


def test_clean(project):
    (project / "out_x" / "conv_ae").mkdir(parents=True)
    assert make(project, "clean", "OUT=out_x").returncode == 0 and not (project / "out_x").exists()


def test_the_makefile_keeps_to_make_3_81():
    text = Path(ROOT / "Makefile").read_text()
    for newer in (r"^\S+\s*::?:?=\s*.*\$\(file", r"\.ONESHELL", r"!=\s", r"&:", r"\$\(guile", r"^\.RECIPEPREFIX", r"::="):
        assert not re.search(newer, text, re.MULTILINE), newer
