"""Every script as a user runs it, on little data: what it writes, that it writes the same twice, what it refuses."""

import dataclasses
import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import REAL, ROOT, SCRIPTS, run

import common
import metrics

MODELS = SCRIPTS[:-1]
PICTURES = {
    "classifier": ("curves", "confusion", "reliability"), "rnn_ae": ("curves", "reconstructions", "tsne"),
    "conv_ae": ("curves", "reconstructions", "tsne"), "rnn_vae": ("curves", "reconstructions", "samples", "latent"),
    "conv_vae": ("curves", "reconstructions", "samples", "latent", "convergence"),
    "cvae": ("curves", "reconstructions", "asked", "confidence", "conditions"), "metrics": ("table", "vaes")}
FIGURES = {
    "classifier": ("mlp", "cnn"), "rnn_ae": ("test_mse", "pca_mse", "discriminability"),
    "conv_ae": ("test_mse", "pca_mse", "discriminability"),
    "rnn_vae": ("test_reconstruction", "test_kl", "test_elbo", "test_cross_entropy", "test_mse", "active_latents"),
    "conv_vae": ("test_reconstruction", "test_kl", "test_elbo", "test_cross_entropy", "test_mse", "active_latents", "convergence"),
    "cvae": ("test_reconstruction", "test_kl", "test_elbo", "test_mse", "recognised", "linear_probe_accuracy", "better_vae"),
    "metrics": ("rows", "judge_test_accuracy", "better")}


def record(out, name):
    return json.loads((out / name / "metrics.json").read_text())


@pytest.mark.parametrize("name", SCRIPTS)
def test_what_a_script_writes(name, quick):
    runs, out = quick
    found = record(out, name)
    assert set(FIGURES[name]) <= set(found)
    assert found["quick"] is True and found["seed"] == 0 and found["data"]["source"] == "doodles" and found["parameters"] > 1000
    assert {"config", "seconds", "device", "versions"} <= set(found)
    assert "STAND-IN" in runs[name].stdout
    for picture in PICTURES[name]:
        assert (out / name / f"{picture}.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert not list((out / name).glob(".*"))  # nothing half done


@pytest.mark.parametrize("name", MODELS)
def test_history_and_weights(name, quick):
    out = quick[1]
    history = json.loads((out / name / "history.json").read_text())
    for h in history.values() if name == "classifier" else (history,):
        assert [r["epoch"] for r in h] == [1, 2] and all(np.isfinite(v) for r in h for v in r.values())
        assert any(k.startswith("train_") for k in h[0]) and any(k.startswith("val_") for k in h[0])
        assert h[1]["seconds"] > h[0]["seconds"]
    weights = torch.load(out / name / "weights.pt", weights_only=True)
    learned = sum(v.numel() for k, v in weights.items() if "running_" not in k and "num_batches" not in k and k != "variance")
    assert learned == record(out, name)["parameters"]


@pytest.mark.parametrize("file, labelled", [("rnn_vae/samples", False), ("rnn_vae/samples_mixture", False), ("conv_vae/samples", False),
                                            ("conv_vae/samples_mixture", False), ("cvae/samples", True), ("cvae/samples_mixture", True)])
def test_samples(file, labelled, quick):
    out = quick[1]
    images = np.load(out / f"{file}.npy")
    assert images.shape == (5000, 28, 28) and images.dtype == np.uint8
    if labelled:
        assert np.bincount(np.load(out / f"{file}_labels.npy")).tolist() == [1000] * 5


def test_table(quick):
    out = quick[1]
    rows = record(out, "metrics")["rows"]
    expected = {*metrics.ORIENTATION, "conv_ae reconstructions", "rnn_ae reconstructions", "cvae samples", "cvae samples_mixture",
                *(f"{m} {s}" for m in ("rnn_vae", "conv_vae") for s in ("samples", "samples_mixture", "reconstructions"))}
    assert expected <= set(rows)
    assert len({row["n"] for row in rows.values()}) == 1  # the same N for every row
    assert rows["real training drawings"]["fid"] < rows["noise"]["fid"]
    for row in rows.values():
        assert 1 <= row["inception_score"] <= 5 and 0 <= row["precision"] <= 1 and 0 <= row["recall"] <= 1
    assert rows["real training drawings"]["novelty"] < 0.01 < rows["noise"]["novelty"]  # (8) sees copies
    assert all(rows[name]["fid_sd"] > 0 for name in ("blurred test drawings", "noise", "conv_vae samples"))  # one subset or five
    assert "accuracy" in rows["cvae samples"] and "accuracy" not in rows["conv_vae samples"]
    text = (out / "metrics" / "table.md").read_text()
    assert all(f"| {name} " in text for name in rows) and text in quick[0]["metrics"].stdout.replace("\n| drawings", "\n\n| drawings", 1)


def test_cvae_says_which_vae_is_better(quick):
    runs, out = quick
    assert "better by FID" in runs["cvae"].stdout and set(record(out, "cvae")["better_vae"]) == {"fid", "elbo"}


def test_convergence_is_of_both(quick):
    found = record(quick[1], "conv_vae")["convergence"]
    assert {"conv_vae", "rnn_vae", "level"} == set(found) and all(found[n]["epochs"] in (1, 2) for n in ("conv_vae", "rnn_vae"))


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_same_command_twice_gives_the_same_bits(name, quick, doodles, tmp_path):
    out = quick[1]
    if name in ("cvae", "metrics", "conv_vae"):
        for needed in (p.name for p in out.iterdir() if p.is_dir() and p.name not in (name,)):
            shutil.copytree(out / needed, tmp_path / needed)
    if name == "metrics":
        shutil.rmtree(tmp_path / "metrics", ignore_errors=True)
    done = run(ROOT / f"{name}.py", "--quick", "--data", doodles, "--out", tmp_path)
    assert done.returncode == 0, done.stderr

    def timeless(content):
        if isinstance(content, dict):
            return {k: timeless(v) for k, v in content.items() if k not in ("seconds", "out")}
        return [timeless(v) for v in content] if isinstance(content, list) else content

    assert timeless(record(tmp_path, name)) == timeless(record(out, name))
    if name != "metrics":
        first, second = (torch.load(o / name / "weights.pt", weights_only=True) for o in (out, tmp_path))
        assert all(torch.equal(first[k], second[k]) for k in first)
        for path in (out / name).glob("*.npy"):
            assert path.read_bytes() == (tmp_path / name / path.name).read_bytes()


def test_another_seed_is_another_result(doodles, tmp_path, quick):
    done = run(ROOT / "conv_ae.py", "--quick", "--seed", 1, "--data", doodles, "--out", tmp_path)
    assert done.returncode == 0 and record(tmp_path, "conv_ae")["test_mse"] != record(quick[1], "conv_ae")["test_mse"]


# ---- strangers' samples ----

def test_files_on_the_command_line_are_scored(quick, doodles, tmp_path):
    shutil.copytree(quick[1] / "classifier", tmp_path / "classifier")
    real, labels = np.load(doodles / "test_images.npy"), np.load(doodles / "test_labels.npy")
    np.save(tmp_path / "mine.npy", real), np.save(tmp_path / "mine_labels.npy", labels), np.save(tmp_path / "other.npy", real / 255)
    done = run(ROOT / "metrics.py", "--quick", "--data", doodles, "--out", tmp_path, tmp_path / "mine.npy", tmp_path / "other.npy")
    assert done.returncode == 0, done.stderr
    rows = record(tmp_path, "metrics")["rows"]
    assert "accuracy" in rows["mine"] and "accuracy" not in rows["other"]
    assert rows["mine"]["fid"] == pytest.approx(rows["other"]["fid"], rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("array, message", [
    (np.zeros((20, 32, 32), np.uint8), "found drawings (1, 32, 32)"), (np.full((20, 28, 28), 2.0), "found floats from 2 to 2"),
    (np.zeros((3, 28, 28), np.uint8), "found 3 samples"), (None, "found no such file")])
def test_strangers_samples_are_refused(array, message, quick, doodles, tmp_path):
    shutil.copytree(quick[1] / "classifier", tmp_path / "classifier")
    if array is not None:
        np.save(tmp_path / "bad.npy", array)
    done = run(ROOT / "metrics.py", "--quick", "--data", doodles, "--out", tmp_path, tmp_path / "bad.npy")
    assert done.returncode == 2 and f"bad.npy: {message}" in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "metrics").exists()


# ---- refusals ----

@pytest.mark.parametrize("flags, message", [
    (("--latent-dims", 3), "unrecognized arguments: --latent-dims"), (("--epochs", "many"), "invalid int value: 'many'"),
    (("--epochs", -1), "--epochs: found -1"), (("--lr", "nan"), "--lr: found nan"), (("--batch-size", 0), "--batch-size: found 0"),
    (("--likelihood", "gauss"), "invalid choice: 'gauss'"), (("--device", "tpu"), "invalid choice: 'tpu'"),
    (("--data", "/nowhere"), "/nowhere/train_images.npy: found no such file")])
def test_flags_are_refused(flags, message, tmp_path):
    done = run(ROOT / "conv_vae.py", "--out", tmp_path / "out", *flags)
    assert done.returncode == 2 and message in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_an_absent_device_is_refused(doodles, tmp_path):
    done = run(ROOT / "conv_vae.py", "--out", tmp_path / "out", "--data", doodles, "--device", "cuda")
    assert done.returncode == 2 and "--device: found no cuda here" in done.stderr and not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_explains_every_setting(name):
    done = run(ROOT / f"{name}.py", "--help")
    module = __import__(name)
    assert done.returncode == 0
    for field in dataclasses.fields(module.Config):
        if field.type is not tuple:
            assert "--" + field.name.replace("_", "-") in done.stdout


@pytest.mark.parametrize("name", ("cvae", "metrics"))
def test_without_the_judges_it_says_how_to_make_them(name, doodles, tmp_path):
    done = run(ROOT / f"{name}.py", "--quick", "--data", doodles, "--out", tmp_path)
    assert done.returncode == 2 and "make classifier" in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_weights_of_another_kind_are_refused(doodles, tmp_path):
    (tmp_path / "classifier").mkdir()
    (tmp_path / "classifier" / "weights.pt").write_bytes(b"no weights")
    done = run(ROOT / "cvae.py", "--quick", "--data", doodles, "--out", tmp_path)
    assert done.returncode == 2 and "found no weights of these judges" in done.stderr and len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("flags", [("--quick",), ("--seed", 1, "--epochs", 1)])
def test_a_result_is_not_replaced_by_another_kind_of_run(flags, doodles, tmp_path):
    (tmp_path / "conv_ae").mkdir()
    full = '{"quick": false, "seed": 0}'
    (tmp_path / "conv_ae" / "metrics.json").write_text(full)
    done = run(ROOT / "conv_ae.py", "--data", doodles, "--out", tmp_path, *flags)
    assert done.returncode == 2 and "found a full run with seed 0" in done.stderr
    assert (tmp_path / "conv_ae" / "metrics.json").read_text() == full


def test_out_follows_from_quick_and_seed():
    import conv_ae

    for flags, out in (((), "out"), (("--quick",), "out_quick"), (("--seed", "2"), "out_seed2"), (("--quick", "--out", "x"), "x")):
        assert common.parse(conv_ae.Config, list(flags)).out == out


def test_a_share_is_at_most_one_and_says_so():
    """Every setting whose comment begins with "share", of every script, and those that are shares by another name."""
    shares = [(file, name) for file in (*ROOT.glob("*.py"), *ROOT.glob("more/*.py"))
              for name, text in re.findall(r"^    (\w+): float = .*?  # (.*)$", file.read_text(), flags=re.MULTILINE)
              if text.startswith("share ") or name in ("dropout", "smooth", "withhold")]
    assert len(shares) > 20
    for file, name in shares:
        Config = importlib.import_module(f"{'more.' * (file.parent.name == 'more')}{file.stem}").Config
        assert getattr(common.parse(Config, ["--" + name.replace("_", "-"), "0"]), name) == 0, (file, name)
        with pytest.raises(common.InputError, match=r"expected a positive number or 0, up to (1|0\.\d)"):
            common.parse(Config, ["--" + name.replace("_", "-"), "1.01"])


@pytest.mark.parametrize("name", ("ddpm", "cddpm"))
def test_a_width_that_groupnorm_cannot_split_is_refused_before_the_data_are_read(name):
    done = run("-m", f"more.{name}", "--data", "nowhere", "--width", 6, cwd=ROOT)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "--width: found 6, expected a multiple of 4" in done.stderr


@pytest.mark.parametrize("kind", (signal.SIGINT, signal.SIGKILL), ids=("SIGINT", "SIGKILL"))
def test_an_interrupted_run_leaves_no_target_and_the_next_one_succeeds(kind, doodles, tmp_path):
    command = [sys.executable, str(ROOT / "conv_ae.py"), "--data", str(doodles), "--out", str(tmp_path)]
    target = tmp_path / "conv_ae" / "metrics.json"
    target.parent.mkdir()
    target.write_text('{"quick": true, "seed": 0}')  # of an earlier run
    (target.parent / ".weights.pt.tmp").write_bytes(b"of a killed run")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               env=os.environ | {"PYTHONUNBUFFERED": "1"})
    for line in process.stdout:
        if line.startswith("epoch   2"):
            break
    process.send_signal(kind)
    stderr = process.communicate(timeout=30)[1]
    assert process.returncode == {signal.SIGINT: 130, signal.SIGKILL: -signal.SIGKILL}[kind] and "Traceback" not in stderr
    assert not target.exists()
    done = run(*command[1:], "--epochs", 1)
    assert done.returncode == 0 and target.exists() and not list(target.parent.glob(".*"))


def test_pixels_half_written_never_bear_the_final_name(tmp_path):
    path = tmp_path / "a.npy"
    with pytest.raises(ZeroDivisionError), common.atomic(path) as file:
        file.write(b"half")
        raise ZeroDivisionError
    assert not path.exists()


def test_importing_does_nothing(tmp_path):
    """No parsing, no folder, no seed, no data: importing every file from an empty folder leaves it empty."""
    code = (f"import sys; sys.path.insert(0, {str(ROOT)!r}); import torch; state = torch.get_rng_state().clone(); "
            f"import {', '.join(SCRIPTS)}; assert torch.equal(state, torch.get_rng_state())")
    done = run("-c", code, cwd=tmp_path)
    assert done.returncode == 0 and not done.stdout and not list(tmp_path.iterdir()), done.stderr


def test_common_needs_no_torch():
    done = run("-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); import common; assert 'torch' not in sys.modules")
    assert done.returncode == 0, done.stderr


def test_drawing_a_picture_does_not_change_the_model(doodles, tmp_path, quick):
    """Generators of their own: with pictures left out the weights come out the same, to the bit."""
    code = (f"import sys; sys.path.insert(0, {str(ROOT)!r}); import common, conv_vae; "
            f"conv_vae.plot_latent = conv_vae.plot_samples = lambda *a: None; common.plot_curves = lambda *a, **k: None; "
            f"conv_vae.main(common.parse(conv_vae.Config, ['--quick', '--data', {str(doodles)!r}, '--out', {str(tmp_path)!r}]))")
    assert run("-c", code).returncode == 0
    first, second = (torch.load(o / "conv_vae" / "weights.pt", weights_only=True) for o in (quick[1], tmp_path))
    assert all(torch.equal(first[k], second[k]) for k in first)




@pytest.mark.skipif(not REAL.exists(), reason="no real drawings beside the project")
def test_real_drawings_are_learned(tmp_path):
    """A few epochs on real drawings: far below the error of the mean drawing, 0.092, and the source is named."""
    done = run(ROOT / "conv_ae.py", "--epochs", 6, "--data", REAL, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    found = record(tmp_path, "conv_ae")
    assert found["test_mse"] < 0.05 and 0.03 < found["pca_mse"] < 0.037 and found["data"]["source"] == "course"
    assert found["discriminability"]["autoencoder"]["knn_accuracy"] > 0.6
