"""make ablations: a short run and what it leaves, what is done again and what is not, the nets, and what the report says of it."""

import json
import math
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import ROOT
from test_report import core, put

import classifier
import common
import conv_vae
import rnn_vae
from report import ablations, build, choices, records, trials

CPU = torch.device("cpu")
COMMAND = [sys.executable, "-m", "report.ablations", "--quick", "--seeds", "2", "--samples", "60", "--epochs", "1", "--device", "cpu"]
SMALL = ("--only", "depth,encoder,components")  # five models a seed
TABLES = ("depth", "encoder", "components")


def call(data, out, *args):
    return subprocess.run([*COMMAND, "--data", data, "--out", out, *args], cwd=ROOT, capture_output=True, text=True, timeout=1800)


def call_here(data, out, *args):
    """The same in this process, which has loaded everything already."""
    ablations.main(common.parse(ablations.Config, [str(a) for a in (*COMMAND[3:], "--data", data, "--out", out, *args)]))


def judge(doodles, out, quick=True):
    """OUT with an untrained judge of these drawings: FID means nothing by it, and takes the same way."""
    torch.manual_seed(0)
    (out / "classifier").mkdir(parents=True)
    common.save(out / "classifier" / "weights.pt", classifier.Judges())
    source = common.load_data(common.Settings(data=str(doodles), quick=quick)).source
    common.save(out / "classifier" / "metrics.json", {"data": source})
    return out


@pytest.fixture(scope="module")
def judged(doodles, tmp_path_factory):
    """OUT with a judge, and nothing else."""
    return judge(doodles, tmp_path_factory.mktemp("judged"))


@pytest.fixture(scope="module")
def done(doodles, tmp_path_factory):
    """A quick run of three groups in two processes: (OUT, its console)."""
    out = judge(doodles, tmp_path_factory.mktemp("ablations"))
    finished = call(doodles, out, *SMALL)
    assert finished.returncode == 0, finished.stderr
    return out, finished.stdout


def written(out, *kinds):
    """The bytes of what has no time in it."""
    return {f"{name}.{kind}": (out / "ablations" / f"{name}.{kind}").read_bytes() for name in TABLES for kind in kinds}


def tables_in(out):
    return {path.name for path in (out / "ablations").iterdir() if path.is_file()}


# ---- A run ------------------------------------------------------------------------------------------------------

def test_a_quick_run_leaves_tables_plots_and_last_its_metrics(done):
    out, said = done
    folder = out / "ablations"
    assert "10 runs: 0 kept, 10 to do, 2 at a time" in said and "run 10 of 10" in said and "s left" in said and "epoch" not in said
    assert tables_in(out) == {"metrics.json"} | {f"{name}.{kind}" for name in TABLES for kind in ("json", "md", "png")}
    record = json.loads((folder / "metrics.json").read_text())
    assert record["quick"] and record["groups"] == [*TABLES] and record["runs"] == record["trained"] == 10
    assert record["threads"] == 1 and all(path.stat().st_mtime <= (folder / "metrics.json").stat().st_mtime for path in folder.iterdir())
    depth = json.loads((folder / "depth.json").read_text())
    assert list(depth["rows"]) == ["3", "4", "5"] and depth["base"] == "4" and depth["quick"] and depth["data"]["source"] == "doodles"
    for setting, row in depth["rows"].items():
        for key in depth["columns"]:
            values = depth["each"][setting][key]
            assert len(values) == 2 and row[key] == pytest.approx(sum(values) / 2)
            assert row.get(f"{key}_sd") == (None if key == "parameters" else pytest.approx(abs(values[0] - values[1]) / math.sqrt(2)))
        assert row["negative_elbo"] == pytest.approx(row["reconstruction"] + row["kl"])
        assert row["fid"] >= 0 and row["fid_training"] >= 0 and row["fid"] != row["fid_training"]
    text = (folder / "depth.md").read_text()
    assert "4 updates a run (a finished model has 3,000)" in text and "| 4 (in use) |" in text
    assert "60 validation drawings" in text and "STAND-IN" in text and "2 seeds, which share judge and drawings" in text
    assert "16 updates a run (a finished model has 3,000)" in (folder / "encoder.md").read_text()
    assert text.count(" ± ") == 1 + 3 * 6 and (folder / "depth.png").stat().st_size > 5000 and not list(folder.rglob(".*.tmp"))


def test_a_quick_run_says_that_two_of_its_mixtures_are_one(done):
    """540 drawings bear 27 Gaussians: the rows of 40 and 80 are the same mixture."""
    folder = done[0] / "ablations"
    each = json.loads((folder / "components.json").read_text())["each"]
    assert each["40"] == each["80"] != each["20"]
    said = {name: "No mixture here has more than 27 Gaussians" in (folder / f"{name}.md").read_text() for name in TABLES}
    assert said == {"depth": False, "encoder": False, "components": True}


def test_what_is_done_is_not_done_again_and_no_other_groups_table_is_left(done, doodles, tmp_path, capsys):
    out = shutil.copytree(done[0], tmp_path / "out")
    before = written(out, "json", "md")
    times = {path: path.stat().st_mtime_ns for path in (out / "ablations" / "runs").iterdir()}
    call_here(doodles, out, *SMALL)
    said = capsys.readouterr().out
    assert "10 runs: 10 kept, 0 to do" in said and "run 1 of" not in said and written(out, "json", "md") == before
    assert times == {path: path.stat().st_mtime_ns for path in (out / "ablations" / "runs").iterdir()}
    assert json.loads((out / "ablations" / "metrics.json").read_text())["trained"] == 0
    (out / "ablations" / "mine.json").write_text("{}")  # somebody else's
    call_here(doodles, out, "--only", "depth, encoder")
    assert "10 runs: 10 kept, 0 to do" in capsys.readouterr().out  # depth has components' run among its own
    assert tables_in(out) == {"metrics.json", "mine.json"} | {f"{name}.{kind}" for name in TABLES[:2] for kind in ("json", "md", "png")}


def test_stale_and_broken_runs_are_done_again_and_one_process_gives_the_same_bits(done, doodles, tmp_path):
    """A source that was another then, a record that is missing, half of one; done by one process, in another order."""
    out = shutil.copytree(done[0], tmp_path / "out")
    before, runs = written(out, "json", "md", "png"), out / "ablations" / "runs"
    for path in (runs / "conv_vae_seed0.json", runs / "conv_vae_depth-5_seed1.json"):
        record = json.loads(path.read_text())
        record["fingerprint"]["sources"]["conv_vae.py"] = "of yesterday"
        record["figures"] = dict.fromkeys(record["figures"], 1.0)
        path.write_text(json.dumps(record))
    (runs / "rnn_vae_longer-4_seed1.json").unlink()
    (runs / "conv_vae_longer-4_seed0.json").write_text('{"fingerprint": ')
    again = call(doodles, out, *SMALL, "--workers", "1")
    assert again.returncode == 0 and "10 runs: 6 kept, 4 to do, 1 at a time" in again.stdout, again.stderr
    assert written(out, "json", "md", "png") == before


def test_an_interrupted_run_goes_on_where_it_was(doodles, tmp_path, capsys):
    out, one = judge(doodles, tmp_path / "out"), ("--only", "latents_ae", "--seeds", "1", "--workers", "1")
    process = subprocess.Popen([*COMMAND, "--data", doodles, "--out", out, *one], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True, start_new_session=True)
    next(line for line in process.stdout if line.startswith("run 1 of 7"))
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does it
    _, complaint = process.communicate(timeout=300)
    assert process.returncode == 130 and "Traceback" not in complaint and not (out / "ablations" / "metrics.json").exists(), complaint
    for _ in range(100):  # nobody is left behind
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            break
        time.sleep(0.1)
    else:
        pytest.fail("a process of the pool lives on")
    call_here(doodles, out, *one)
    kept = int(capsys.readouterr().out.split(" runs: ")[1].split(" kept")[0])
    table = json.loads((out / "ablations" / "latents_ae.json").read_text())
    assert 1 <= kept < 7 and table["columns"]["pca_mse"]["beside"] == "mse" and "the net is not" in table["title"]
    assert all(row["pca_mse"] > 0 and "mse_sd" not in row for row in table["rows"].values())


def test_a_process_ignores_ctrl_c_from_its_first_moment(tmp_path):
    """Long before begin_worker, while it loads torch. It lives on, and finds that there are no drawings."""
    def interrupt():
        while not multiprocessing.active_children():
            time.sleep(0.01)
        time.sleep(0.3)
        for process in multiprocessing.active_children():
            os.kill(process.pid, signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    cfg = ablations.Config(data=str(tmp_path), out=str(tmp_path))
    with pytest.raises(common.InputError, match="no such file"):
        next(trials.run_all([(cfg, trials.Trial("conv_ae"), 0, "cpu", 60, {}, tmp_path / "run.json")], 1))


class Inline:
    """A pool that does a job at once, here."""

    def __init__(self, *_):
        pass

    def submit(self, job, *args):
        future = Future()
        try:
            future.set_result(job(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def shutdown(self, **_):
        pass


def failing(monkeypatch, error):
    """What run_all raises where the second run raises error; while it begins a process, Ctrl-C is ignored, and afterwards no longer."""
    usual, seen = signal.getsignal(signal.SIGINT), []

    def run(cfg, trial, seed, *rest):
        seen.append(signal.getsignal(signal.SIGINT))
        if seed == 1:
            raise error

    monkeypatch.setattr(trials, "ProcessPoolExecutor", Inline)
    monkeypatch.setattr(trials, "run", run)
    jobs = [(None, trials.Trial("conv_vae", (("beta", 8),)), seed, "cpu", 60, {}, None) for seed in (0, 1)]
    ended = trials.run_all(jobs, 1)
    assert next(ended)[2] == 0
    with pytest.raises(Exception) as caught:
        next(ended)
    assert seen == [signal.SIG_IGN] * 2 and signal.getsignal(signal.SIGINT) is usual
    return caught.value


def test_a_failing_run_is_named(monkeypatch):
    error = failing(monkeypatch, ValueError("Input X contains NaN"))  # nothing that the user can mend: with its traceback
    assert type(error) is ValueError and error.__notes__ == ["in the run of conv_vae_beta-8, seed 1"]
    assert str(failing(monkeypatch, common.InputError("train_images.npy: found ..."))) == "train_images.npy: found ..."


@pytest.mark.parametrize("error", (
    MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), BrokenProcessPool("terminated abruptly")))
def test_too_little_memory_is_one_line(error, monkeypatch):
    said = failing(monkeypatch, error)
    assert type(said) is common.InputError and "\n" not in str(said) and "in the run of conv_vae_beta-8, seed 1" in str(said)
    assert "what is done is kept" in str(said)


# ---- What makes a run stale ---------------------------------------------------------------------------------------

def test_a_fingerprint_knows_what_a_run_depends_on_and_nothing_else(judged, doodles, tmp_path, monkeypatch):
    out = judged
    cfg = ablations.Config(data=str(doodles), out=str(out), quick=True)
    data = common.load_data(cfg)
    vae, ae = ablations.IN_USE, trials.Trial("conv_ae")
    mark = trials.fingerprint(cfg, vae, 0, CPU, 60, data)
    assert mark == json.loads(json.dumps(mark))  # as it is read back
    moved = shutil.copytree(out, tmp_path / "moved")
    assert mark == trials.fingerprint(replace(cfg, out=str(moved), data="elsewhere", workers=1, device="cpu"), vae, 0, CPU, 60, data)
    other = [trials.fingerprint(replace(cfg, steps=7), vae, 0, CPU, 60, data), trials.fingerprint(cfg, vae, 1, CPU, 60, data),
             trials.fingerprint(cfg, vae, 0, CPU, 61, data), trials.fingerprint(cfg, replace(vae, depth=5), 0, CPU, 60, data),
             trials.fingerprint(cfg, vae, 0, CPU, 60, data._replace(x_val=1 - data.x_val))]
    before = trials.fingerprint(cfg, ae, 0, CPU, 60, data)
    (moved / "classifier" / "weights.pt").write_bytes(b"another judge")
    there = replace(cfg, out=str(moved))
    other.append(trials.fingerprint(there, vae, 0, CPU, 60, data))
    assert before == trials.fingerprint(there, ae, 0, CPU, 60, data)  # no judge looks at an autoencoder
    for name in (*trials.READS, *trials.JUDGES, *(f"{model}.py" for model in trials.MODULES)):
        (tmp_path / "src" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / "src" / name)
    monkeypatch.setattr(trials, "ROOT", tmp_path / "src")
    assert mark == trials.fingerprint(cfg, vae, 0, CPU, 60, data)
    source, copy = (ROOT / "conv_vae.py").read_text(), tmp_path / "src" / "conv_vae.py"
    for old, new in (("\nResult: ", "\nResult: found; "), ('    """The whole loop', '    """It is the loop'),
                     ("\n\n\ndef ", "  # why\n\ndef "), ("class VAE(nn.Module):\n", 'class VAE(nn.Module):\n    """Had none."""\n')):
        assert old in source
        copy.write_text(source.replace(old, new))
        assert mark == trials.fingerprint(cfg, vae, 0, CPU, 60, data)  # words alone
    copy.write_text(source + "another = 1\n")
    other.append(trials.fingerprint(cfg, vae, 0, CPU, 60, data))
    assert before == trials.fingerprint(cfg, ae, 0, CPU, 60, data) and all(mark != each for each in other)


def test_a_record_is_read_only_with_its_fingerprint(tmp_path):
    path = tmp_path / "run.json"
    for content in ("", "[]", "{}", '{"fingerprint": {"a": 1}}', '{"fingerprint": {"a": 2}, "figures": {}}'):
        path.write_text(content)
        assert trials.read_run(path, {"a": 1}) is None
    path.write_text('{"fingerprint": {"a": 1}, "figures": {}}')
    assert trials.read_run(path, {"a": 1}) and trials.read_run(tmp_path / "none", {"a": 1}) is None


# ---- Nets and groups ------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("depth", (3, 4, 5, 6))
def test_deeper_and_shallower_nets_keep_every_shape_and_every_other_layers_first_weights(depth):
    torch.manual_seed(0)
    plain = conv_vae.VAE(24, 8)
    torch.manual_seed(0)
    net = trials.DeepVAE(24, 8, depth)
    logits, mu, logvar = net(torch.rand(4, 1, 28, 28))
    assert logits.shape == (4, 1, 28, 28) and mu.shape == logvar.shape == (4, 24)
    for half, at in ((net.encoder, 3), (net.decoder, 5)):
        sizes, x = [], torch.rand(4, 1, 28, 28) if half is net.encoder else mu
        for layer in half.layers:
            x = layer(x)
            sizes.append(tuple(x.shape[1:]))
        convolutions = [m for m in half.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.ConvTranspose2d)]
        assert len(convolutions) == depth and sizes.count((32, 7, 7)) >= depth - 2
        assert all(size == (32, 7, 7) for size in sizes[at:at + depth - 3])
    theirs = [w for part in (plain.decoder, plain.encoder) for w in part.parameters() if w.shape != (32, 32, 3, 3) and w.dim() > 1]
    ours = [w for part in (net.decoder, net.encoder) for w in part.parameters() if w.shape != (32, 32, 3, 3) and w.dim() > 1]
    assert len(theirs) == len(ours) and all(torch.equal(a, b) for a, b in zip(theirs, ours))
    assert depth != 4 or all(torch.equal(a, b) for a, b in zip(plain.parameters(), net.parameters(), strict=True))


def every_trial():
    return list(dict.fromkeys(run for group in ablations.GROUPS.values() for run, _ in group.rows.values()))


def test_groups_are_what_the_docstring_says():
    groups = ablations.GROUPS
    assert len(every_trial()) == len({run.name for run in every_trial()}) == 28  # no two runs of one name, none twice
    assert all(group.base in group.rows and set(group.columns) <= set(ablations.COLUMNS) for group in groups.values())
    for name in groups:
        assert name in ablations.__doc__
    for size in ("2", "4", "8", "16", "32", "64", "128"):
        assert size in groups["latents_ae"].rows and size in groups["latents_vae"].rows
    assert not any("nats" in ablations.COLUMNS[key].name for key in groups["likelihood"].columns) and "Nats" in groups["likelihood"].note
    assert groups["beta"].rows["1"][0] is groups["components"].rows["5"][0] is groups["width"].rows["16"][0]  # trained once
    assert len({run.longer for run, _ in groups["encoder"].rows.values()}) == 1
    assert all(run.cost > 0 for run in every_trial())


def test_what_is_said_of_the_runs_and_their_time_is_one_thing():
    """Three seeds of 2,880 drawings, in whole epochs; the time stands in three places, and what an update takes is near it."""
    said, minutes = " ".join(ablations.__doc__.split()), {1: 0.0, 4: 0.0}
    for run in every_trial():
        own = trials.MODULES[run.model].Config()
        per_epoch = 2880 // own.batch_size
        minutes[run.longer] += 3 * run.cost / 60_000 * round(ablations.Config().steps / per_epoch) * per_epoch
        share = run.longer * ablations.Config().steps / own.steps
        assert share == pytest.approx(0.5 if run.longer == 4 else 0.125, rel=0.05)  # "about an eighth", "half"
    assert f"{3 * len(every_trial())} runs, 31 minutes on 2 cores" in said
    assert "three seeds each, 31 minutes" in (ROOT / "README.md").read_text()
    assert "three seeds each; half an hour" in (ROOT / "Makefile").read_text() and 31 * 0.7 < sum(minutes.values()) / 2 < 31 * 1.4


def test_every_trial_builds_and_its_settings_are_the_files_but_for_the_change():
    cfg = ablations.Config(data="data", out="out")
    for run in every_trial():
        settings = trials.model_settings(cfg, run, 5)
        usual = trials.MODULES[run.model].Config(data="data", out="out", seed=5, steps=run.longer * cfg.steps)
        assert trials.model_settings(replace(cfg, epochs=3), run, 5).epochs == 3 * run.longer
        assert replace(usual, **dict(run.changes)) == settings
        assert sum(p.numel() for p in trials.build(run, settings).parameters()) > 0


def test_every_table_can_be_made_of_what_the_runs_measure():
    figures = {key + suffix: 1.0 for key in ablations.COLUMNS for suffix in ("", *ablations.MIXTURES.values())}
    found = {(run, seed): {key: value + seed for key, value in figures.items()} for run in every_trial() for seed in (0, 1, 2)}
    for group in ablations.GROUPS.values():
        rows, each = ablations.table(group, found)
        assert list(rows) == list(group.rows)
        for name, row in rows.items():
            assert all(row[key] == 2 and each[name][key] == [1, 2, 3] for key in group.columns)
            assert all(row.get(f"{key}_sd") == (None if ablations.COLUMNS[key].exact else 1) for key in group.columns)
        assert "(in use)" in ablations.markdown(group, rows) and " ± " in ablations.markdown(group, rows)
    one, _ = ablations.table(ablations.GROUPS["beta"], {key: value for key, value in found.items() if key[1] == 0})
    assert not any(key.endswith("_sd") for key in one["1"])  # of one seed no spread is known


@pytest.mark.parametrize("module", (conv_vae, rnn_vae))
def test_a_mixture_is_the_models_own_and_knows_when_it_has_codes_by_heart(module):
    rng = torch.Generator().manual_seed(0)
    codes, held_out = ({"mu": torch.randn(n, 6, generator=rng), "logvar": torch.full((n, 6), -6.0)} for n in (200, 300))
    unseen, own = {}, {}
    for n in (1, 10):
        cfg = module.Config(seed=3, components=n)
        drawn, unseen[n], own[n] = trials.mixture(cfg, n, codes, held_out, 50)
        assert torch.equal(drawn, module.sample_mixture(cfg, codes["mu"], codes["logvar"], 50))
    assert own[10] < own[1] and unseen[10] > unseen[1]  # all codes come from one Gaussian
    assert unseen[1] == pytest.approx(3 * math.log(2 * math.pi * math.e), rel=0.05)  # whose entropy is this, in nats
    assert own[1] == pytest.approx(unseen[1], rel=0.05)


def test_an_untrained_models_figures_fill_every_table_and_each_mixture_is_fitted_once(judged, doodles, monkeypatch):
    data, seen, training = trials.material(str(doodles), str(judged), True, "cpu")
    fitted, mixture = [], trials.mixture
    monkeypatch.setattr(trials, "mixture", lambda cfg, n, *rest: fitted.append(n) or mixture(cfg, n, *rest))
    settings = trials.model_settings(ablations.Config(data=str(doodles), out=str(judged), quick=True, device="cpu"), ablations.IN_USE, 0)
    figures = trials.vae_figures(ablations.IN_USE, settings, trials.build(ablations.IN_USE, settings), 20, data, seen, training, CPU)
    assert sorted(fitted) == sorted(ablations.COMPONENTS)
    assert all(math.isfinite(figures[key + suffix]) for group in ablations.GROUPS.values() for run, suffix in group.rows.values()
               if run is ablations.IN_USE for key in group.columns if key != "parameters")


def test_gaussians_are_asked_for_where_mixtures_are_shown():
    assert {name: ablations.gaussians(group) for name, group in ablations.GROUPS.items() if ablations.gaussians(group)} == {
        "likelihood": 40, "components": 80}


def test_the_judge_looks_at_validation_and_training_drawings_and_never_at_test_drawings(judged, doodles):
    data, seen, training = trials.material(str(doodles), str(judged), True, "cpu")
    from metrics import mean_and_covariance
    for (mean, _), drawings in ((seen.real, data.x_val), (training, data.x_train)):
        np.testing.assert_array_equal(mean, mean_and_covariance(classifier.predict(seen.cnn, drawings, CPU)[1])[0])


# ---- Bad input --------------------------------------------------------------------------------------------------------

def refused(*argv):
    with pytest.raises(common.InputError) as caught:
        ablations.main(common.parse(ablations.Config, [str(a) for a in argv]))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_refused(doodles, tmp_path):
    assert "make classifier" in refused("--quick", "--data", doodles, "--out", tmp_path / "none")
    assert "found betas" in refused("--only", "betas")
    out = judge(doodles, tmp_path / "full", quick=False)
    assert "--samples: found 9, expected 10 or more" in refused("--data", doodles, "--out", out, "--samples", 9)
    assert "900 drawings to train on, expected 1,600 or more" in refused("--data", doodles, "--out", out)
    assert "a judge of" in refused("--quick", "--data", doodles, "--out", out)
    assert not (out / "ablations").exists()


def test_drawings_enough_for_mixtures_are_asked_for_only_where_there_are_any(doodles, tmp_path, monkeypatch):
    out = judge(doodles, tmp_path / "full", quick=False)  # 900 drawings to train on

    def stop(*_):
        raise StopIteration

    monkeypatch.setattr(ablations, "train_missing", stop)
    for group in ("latents_ae", "beta", "likelihood"):
        with pytest.raises(StopIteration):
            ablations.main(common.parse(ablations.Config, ["--data", str(doodles), "--out", str(out), "--only", group]))


def test_blanks_in_a_list_of_groups_are_no_names():
    assert list(ablations.chosen("width, beta ")) == ["beta", "width"] and list(ablations.chosen(" ")) == list(ablations.GROUPS)


def test_bad_input_ends_in_one_line(doodles, tmp_path):
    finished = call(doodles, tmp_path)
    assert finished.returncode == 2 and "make classifier" in finished.stderr and finished.stderr.count("\n") == 1


def test_make_ablations_comes_after_the_judge_and_is_no_part_of_all(doodles):
    variables = (f"PY={sys.executable}", f"DATA={doodles}", "OUT=out_a")
    env = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
    lines = {}
    for target in ("ablations", "all"):
        finished = subprocess.run(["make", "-n", target, *variables], cwd=ROOT, capture_output=True, text=True, env=env)
        assert finished.returncode == 0, finished.stderr
        lines[target] = [line for line in finished.stdout.splitlines() if line.startswith(sys.executable)]
    assert "-m report.ablations" in lines["ablations"][-1] and "classifier.py" in lines["ablations"][-2]
    assert not any("ablations" in line for line in lines["all"])


def test_make_ablations_runs_again_where_it_is_done_and_the_report_waits_for_it(doodles, tmp_path):
    """What is there may be one group's tables. Asked for with all, or with the report, its tables are read when they are whole."""
    for name in ("classifier", "ablations"):
        (tmp_path / name).mkdir()
    (tmp_path / "data.txt").write_text(f"{doodles}\n")
    for name in ("classifier", "ablations"):
        (tmp_path / name / "metrics.json").write_text("{}")
    env = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
    for goals in (("ablations",), ("all", "ablations"), ("report", "ablations")):
        finished = subprocess.run(["make", "-n", *goals, f"PY={sys.executable}", f"DATA={doodles}", f"OUT={tmp_path}"], cwd=ROOT,
                                  capture_output=True, text=True, env=env)
        assert finished.returncode == 0, finished.stderr
        lines = [line.removeprefix(sys.executable) for line in finished.stdout.splitlines() if line.startswith(sys.executable)]
        assert sum("-m report.ablations" in line for line in lines) == 1 and not any("classifier.py" in line for line in lines)
        at = [next((i for i, line in enumerate(lines) if f"-m report.{name}" in line), None) for name in ("ablations", "build")]
        assert at == [0, None] if goals == ("ablations",) else at[0] < at[1]


# ---- The report -------------------------------------------------------------------------------------------------------

def content(quick=False, **means):
    """A table of FIDs with a spread of 1, three seeds: {setting: mean}; the setting in use is 16."""
    return {"title": "Widths: 990 updates a run", "what": "width", "base": "16", "quick": quick,
            "data": {"source": "course", "note": "", "drawings": {"train": 2880, "validation": 320, "test": 800}},
            "columns": {"fid": {"name": "FID", "digits": 1, "lower": True}, "kl": {"name": "KL", "digits": 2, "lower": None}},
            "rows": {name[1:]: {"fid": mean, "fid_sd": 1.0, "kl": 3.0, "kl_sd": 0.25} for name, mean in means.items()},
            "each": {name[1:]: {"fid": [mean - 1, mean, mean + 1], "kl": [2.75, 3.0, 3.25]} for name, mean in means.items()}}


def said_of(tmp_path, **tables):
    folder = put(tmp_path, {name: record for name, record in core().items() if name in ("conv_ae", "conv_vae")})
    (folder / "ablations").mkdir()
    for name, table in tables.items():
        (folder / "ablations" / f"{name}.json").write_text(json.dumps(table))
    said = build.document(records.Runs(folder)).words()
    return said[said.rindex("IV What each choice brings"):said.rindex("Limits")] if "IV What each choice" in said else ""


def test_the_report_shows_spreads_and_calls_a_tie_a_tie(tmp_path):
    said = said_of(tmp_path / "a", width=content(_8=30.0, _16=22.5, _32=20.0))
    assert "30.0 ± 1.0" in said and "3.00 ± 0.25" in said and "16 (in use)" in said
    assert "width 32 has the lowest of 3, 20.0; 16 (in use) ties with it." in said
    assert "By FID, width 32 and width 16 (in use) tie, 20.0 against 22.5: the difference is within twice the spread (1.4" in said
    assert "KL:" not in said  # neither way is better
    said = said_of(tmp_path / "b", width=content(_8=10.0, _16=20.5, _32=20.0))
    assert "width 8 has the lowest of 3, 10.0; each of the others is behind by more than twice the spread." in said
    assert "Width 8 has the lower FID, 10.0 against 20.5 for width 16 (in use): the difference is larger than twice the spread" in said
    said = said_of(tmp_path / "c", width=content(_8=21.7, _16=20.0, _32=22.7))
    assert "all tie; width 16 (in use) has the lowest of 3, 20.0, but no difference from it is larger than twice the spread." in said
    said = said_of(tmp_path / "d", width=content(_16=21.7, _32=20.0))  # the best of two is no best of several
    assert "Width 32 has the lower FID, 20.0 against 21.7 for width 16 (in use): the difference is larger than the spread (1.4" in said


def test_how_often_equal_settings_are_called_different_is_what_choices_says():
    x = np.random.default_rng(0).standard_normal((100_000, 8, 3))  # settings that are equal, three seeds each
    mean, sd = x.mean(axis=2), x.std(axis=2, ddof=1)
    apart = abs(mean[:, 0] - mean[:, 1]) > np.hypot(sd[:, 0], sd[:, 1])
    assert round(1 / apart.mean()) == 6
    best = mean.argmin(axis=1), np.arange(len(mean))
    ahead = (mean[:, 0] - mean[best[::-1]]) / np.hypot(sd[:, 0], sd[best[::-1]])  # of the first, which is in use
    assert round(1 / (ahead > 1).mean()) == 4 and (ahead > 2).mean() == pytest.approx(1 / 20, rel=0.1)
    said = " ".join(choices.__doc__.split())
    assert "one pair in six" in said and "one case of four" in said and "one of twenty" in said


def test_each_setting_is_held_against_its_yardstick(tmp_path):
    """Of PCA's error no spread is known, and none is needed: the net's alone decides."""
    table = content(_16=0.02, _64=0.03)
    table["columns"] = {"mse": {"name": "MSE", "digits": 3, "lower": True}, "pca_mse": {"name": "PCA", "digits": 3, "beside": "mse"}}
    for (setting, row), pca in zip(table["rows"].items(), (0.5, 0.031)):
        row |= {"mse": row["fid"], "mse_sd": 0.002, "pca_mse": pca}
        table["each"][setting] = {"mse": [row["mse"]] * 3, "pca_mse": [pca] * 3}
        for key in ("fid", "fid_sd", "kl", "kl_sd"):
            del row[key]
    said = said_of(tmp_path, latents=table)
    assert ("Width 16 (in use) has the lower MSE, 0.020 against 0.500 for PCA: the difference is larger than the spread (0.002; standard "
            "deviation over 3 seeds).") in said
    assert "By MSE, width 64 and PCA tie, 0.030 against 0.031" in said
    assert said.count("for PCA") + said.count("and PCA tie") == 2


def test_other_seeds_folders_may_have_ablations_of_their_own(tmp_path):
    """They are never read, so nothing of them has to fit."""
    for name, seed in (("a", 0), ("b", 1)):
        put(tmp_path / name, core(seed=seed) | {"ablations": core(seed=0)["metrics"] | {"quick": seed == 1}})
    assert len(records.Runs(tmp_path / "a", [tmp_path / "b"]).folders) == 2


def test_the_report_compares_nothing_of_a_quick_run_or_of_one_seed(tmp_path):
    said = said_of(tmp_path / "a", width=content(quick=True, _8=30.0, _16=20.0))
    assert "Quick run: its figures are not compared." in said and "the figures mean nothing" in said and "has the low" not in said
    alone = content(_8=30.0, _16=20.0)
    for row in alone["rows"].values():
        del row["fid_sd"], row["kl_sd"]
    del alone["each"]
    said = said_of(tmp_path / "b", width=alone)
    said = said.split("Widths", 1)[1]
    assert "±" not in said and "so it is no verdict" in said and "tie" not in said


def test_the_report_takes_tables_of_other_forms_and_leaves_out_what_is_none(tmp_path):
    said = said_of(tmp_path / "a", plain={"rows": {"1": {"fid": 3.0}, "2": {"fid": 2.0}}},
                   listed={"title": "Listed $", "rows": [{"a": 1}, {"b": 2}]},
                   lone={"rows": {"x": 1, "y": 2.5}, "data": {"source": "doodles"}, "quick": "yes", "columns": [1], "each": 3, "base": 5})
    assert "plain" in said and "Listed $" in said and "2.5" in said
    odd = {"list": [], "number": 3, "none": {}, "empty": {"rows": {}}, "words": {"rows": {"a": {"b": "c"}}}}
    assert said_of(tmp_path / "b", **odd) == ""
    nan = content(_8=math.nan, _16=20.0, _32=25.0)
    assert "NaN" in said_of(tmp_path / "c", width=nan)


def test_the_plots_are_shown_and_pages_hold_them(done, tmp_path):
    folder = put(tmp_path, core("doodles"))
    shutil.copytree(done[0] / "ablations", folder / "ablations")
    doc = build.main(["--out", str(folder)])
    captions = " ".join(doc.captions)
    assert captions.count("Stand-in data") == len(doc.captions) and captions.count("The figures of {table:ablation_") == 3
    assert captions.index("Depth of") < captions.index("Encoder of") < captions.index("Gaussians of")  # as in the list of groups


def test_a_comment_names_the_setting_in_use_once(tmp_path):
    lines = list(choices.comments(content(_8=30.0, _16=20.0, _32=25.0)))
    assert len(lines) == 1 and lines[0].count("(in use)") == 1
