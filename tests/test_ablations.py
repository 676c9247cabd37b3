"""make ablations: a short run and what it leaves, what is done again and what is not, the nets, and what the report says of it."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import ROOT
from test_report import core, put

import classifier
import common
import conv_vae
from report import ablations, build, choices, records, trials

CPU = torch.device("cpu")
COMMAND = [sys.executable, "-m", "report.ablations", "--quick", "--seeds", "2", "--samples", "60", "--epochs", "1", "--device", "cpu"]
SMALL = ("--only", "depth,recurrent,components")  # six models a seed
TABLES = ("depth", "recurrent", "components")


def call(data, out, *args):
    return subprocess.run([*COMMAND, "--data", data, "--out", out, *args], cwd=ROOT, capture_output=True, text=True, timeout=1800)


def judge(doodles, out, quick=True):
    """OUT with an untrained judge of these drawings: FID means nothing by it, and takes the same way."""
    torch.manual_seed(0)
    (out / "classifier").mkdir(parents=True)
    common.save(out / "classifier" / "weights.pt", classifier.Judges())
    source = common.load_data(common.Settings(data=str(doodles), quick=quick)).source
    common.save(out / "classifier" / "metrics.json", {"data": source})
    return out


@pytest.fixture(scope="module")
def done(doodles, tmp_path_factory):
    """A quick run of three groups in two processes: (OUT, its console)."""
    out = judge(doodles, tmp_path_factory.mktemp("ablations"))
    finished = call(doodles, out, *SMALL)
    assert finished.returncode == 0, finished.stderr
    return out, finished.stdout


def written(out):
    """The bytes of what has no time in it."""
    return {f"{name}.{kind}": (out / "ablations" / f"{name}.{kind}").read_bytes() for name in TABLES for kind in ("json", "md", "png")}


# ---- A run ------------------------------------------------------------------------------------------------------

def test_a_quick_run_leaves_tables_plots_and_last_its_metrics(done):
    out, said = done
    folder = out / "ablations"
    assert "12 runs: 0 kept, 12 to do, 2 at a time" in said and "run 12 of 12" in said and "s left" in said and "epoch" not in said
    assert sorted(path.name for path in folder.glob("*.json")) == ["components.json", "depth.json", "metrics.json", "recurrent.json"]
    record = json.loads((folder / "metrics.json").read_text())
    assert record["quick"] and record["groups"] == ["depth", "recurrent", "components"] and record["runs"] == record["trained"] == 12
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
    assert "4 updates a run" in text and "60 validation drawings" in text and "STAND-IN" in text and "| 4 (in use) |" in text
    assert text.count(" ± ") == 1 + 3 * 6 and (folder / "depth.png").stat().st_size > 5000 and not list(folder.rglob(".*.tmp"))


def test_what_is_done_is_not_done_again(done, doodles):
    out, _ = done
    before = written(out)
    times = {path: path.stat().st_mtime_ns for path in (out / "ablations" / "runs").iterdir()}
    again = call(doodles, out, *SMALL)
    assert again.returncode == 0 and "12 runs: 12 kept, 0 to do" in again.stdout and "run 1 of" not in again.stdout
    assert written(out) == before and times == {path: path.stat().st_mtime_ns for path in (out / "ablations" / "runs").iterdir()}
    assert json.loads((out / "ablations" / "metrics.json").read_text())["trained"] == 0


def test_stale_and_broken_runs_are_done_again_and_one_process_gives_the_same_bits(done, doodles, tmp_path):
    """A source that was another then, a record that is missing, half of one; done by one process, in another order."""
    out = shutil.copytree(done[0], tmp_path / "out")
    before, runs = written(out), out / "ablations" / "runs"
    for path in (runs / "conv_vae_seed0.json", runs / "conv_vae_depth-5_seed1.json"):
        record = json.loads(path.read_text())
        record["fingerprint"]["sources"]["conv_vae.py"] = "of yesterday"
        record["figures"] = dict.fromkeys(record["figures"], 1.0)
        path.write_text(json.dumps(record))
    (runs / "rnn_ae_cell-LSTM_summary-rows_seed1.json").unlink()
    (runs / "rnn_ae_cell-GRU_summary-last_seed0.json").write_text('{"fingerprint": ')
    again = call(doodles, out, *SMALL, "--workers", "1")
    assert again.returncode == 0 and "12 runs: 8 kept, 4 to do, 1 at a time" in again.stdout, again.stderr
    assert written(out) == before


def test_an_interrupted_run_goes_on_where_it_was(doodles, tmp_path):
    out = judge(doodles, tmp_path / "out")
    command = [*COMMAND, "--data", doodles, "--out", out, "--only", "recurrent", "--workers", "1"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    for line in process.stdout:
        if line.startswith("run 1 of 6"):
            break
    os.kill(process.pid, signal.SIGINT)
    _, complaint = process.communicate(timeout=300)
    assert process.returncode == 130 and "Traceback" not in complaint and not (out / "ablations" / "metrics.json").exists()
    for _ in range(100):  # nobody is left behind
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            break
        time.sleep(0.1)
    else:
        pytest.fail("a process of the pool lives on")
    again = call(doodles, out, "--only", "recurrent")
    kept = int(again.stdout.split(" runs: ")[1].split(" kept")[0])
    assert again.returncode == 0 and 1 <= kept < 6 and (out / "ablations" / "recurrent.json").exists()


# ---- What makes a run stale ---------------------------------------------------------------------------------------

def test_a_fingerprint_knows_what_a_run_depends_on_and_nothing_else(done, doodles, tmp_path, monkeypatch):
    out, _ = done
    cfg = ablations.Config(data=str(doodles), out=str(out), quick=True)
    data = common.load_data(cfg)
    vae, rnn = ablations.IN_USE, trials.Trial("rnn_ae")
    mark = trials.fingerprint(cfg, vae, 0, CPU, 60, data)
    assert mark == json.loads(json.dumps(mark))  # as it is read back
    moved = shutil.copytree(out, tmp_path / "moved")
    assert mark == trials.fingerprint(replace(cfg, out=str(moved), data="elsewhere", workers=1, device="cpu"), vae, 0, CPU, 60, data)
    other = [trials.fingerprint(replace(cfg, steps=7), vae, 0, CPU, 60, data), trials.fingerprint(cfg, vae, 1, CPU, 60, data),
             trials.fingerprint(cfg, vae, 0, CPU, 61, data), trials.fingerprint(cfg, replace(vae, depth=5), 0, CPU, 60, data),
             trials.fingerprint(cfg, vae, 0, CPU, 60, data._replace(x_val=1 - data.x_val))]
    before = trials.fingerprint(cfg, rnn, 0, CPU, 60, data)
    (moved / "classifier" / "weights.pt").write_bytes(b"another judge")
    there = replace(cfg, out=str(moved))
    other.append(trials.fingerprint(there, vae, 0, CPU, 60, data))
    assert before == trials.fingerprint(there, rnn, 0, CPU, 60, data)  # no judge looks at an autoencoder
    for name in (*trials.READS, *trials.JUDGES, *(f"{model}.py" for model in trials.MODULES)):
        (tmp_path / "src" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / "src" / name)
    monkeypatch.setattr(trials, "ROOT", tmp_path / "src")
    assert mark == trials.fingerprint(cfg, vae, 0, CPU, 60, data)
    with open(tmp_path / "src" / "conv_vae.py", "a") as file:
        file.write("# another line\n")
    other.append(trials.fingerprint(cfg, vae, 0, CPU, 60, data))
    assert before == trials.fingerprint(cfg, rnn, 0, CPU, 60, data) and all(mark != each for each in other)


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
    assert len(every_trial()) == len({run.name for run in every_trial()}) == 30  # no two runs of one name, none twice
    assert all(group.base in group.rows and set(group.columns) <= set(ablations.COLUMNS) for group in groups.values())
    for name in groups:
        assert name in ablations.__doc__
    for size in ("2", "4", "8", "16", "32", "64", "128"):
        assert size in groups["latents_ae"].rows and size in groups["latents_vae"].rows
    assert not any("nats" in ablations.COLUMNS[key].name for key in groups["likelihood"].columns) and "Nats" in groups["likelihood"].note
    assert groups["beta"].rows["1"][0] is groups["encoder"].rows["conv_vae"][0] is groups["width"].rows["16"][0]  # trained once
    assert all(run.cost > 0 for run in every_trial())


def test_every_trial_builds_and_its_settings_are_the_files_but_for_the_change():
    cfg = ablations.Config(data="data", out="out")
    for run in every_trial():
        settings = trials.model_settings(cfg, run, 5)
        usual = trials.MODULES[run.model].Config(data="data", out="out", seed=5, steps=run.longer * cfg.steps)
        assert replace(usual, **dict(run.changes)) == settings
        assert sum(p.numel() for p in trials.build(run, settings).parameters()) > 0


def test_every_table_can_be_made_of_what_the_runs_measure():
    figures = {key + suffix: 1.0 for key in ablations.COLUMNS for suffix in ("", *(f"_mixture_{n}" for n in ablations.COMPONENTS))}
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


def test_the_judge_looks_at_validation_and_training_drawings_and_never_at_test_drawings(done, doodles):
    data, seen, training = trials.material(str(doodles), str(done[0]), True, "cpu")
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
    assert "900 drawings to train on, expected 1,600 or more" in refused("--data", doodles, "--out", out)
    assert "a judge of" in refused("--quick", "--data", doodles, "--out", out)
    assert not (out / "ablations").exists()


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
    said = said_of(tmp_path / "a", width=content(_8=30.0, _16=20.5, _32=20.0))
    assert "30.0 ± 1.0" in said and "3.00 ± 0.25" in said and "16 (in use)" in said
    assert "width 32 has the lowest of 3, 20.0; 16 (in use) ties with it." in said
    assert "By FID, width 32 and width 16 (in use) tie, 20.0 against 20.5: the difference is within the spread (1.4" in said
    assert "KL:" not in said  # neither way is better
    said = said_of(tmp_path / "b", width=content(_8=10.0, _16=20.5, _32=20.0))
    assert "width 8 has the lowest of 3, 10.0; each of the others is behind by more than the spread." in said
    assert "Width 8 has the lower FID, 10.0 against 20.5 for width 16 (in use): the difference is larger than the spread" in said
    said = said_of(tmp_path / "c", width=content(_8=20.1, _16=20.0, _32=20.2))
    assert "all tie; width 16 (in use) has the lowest of 3, 20.0, but no difference from it is larger than the spread." in said


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
    assert captions.index("Depth of") < captions.index("Cell and summary") < captions.index("Gaussians of")  # as in the list of groups


def test_a_comment_names_the_setting_in_use_once(tmp_path):
    lines = list(choices.comments(content(_8=30.0, _16=20.0, _32=25.0)))
    assert len(lines) == 1 and lines[0].count("(in use)") == 1
