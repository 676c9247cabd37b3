"""The report: made-up metrics, and what it has to say of them; its pages, and what must not happen on them."""

import json
import math
import os
import shutil
import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from conftest import ROOT

import classifier
import common
import conv_ae
import conv_vae
import cvae
import rnn_ae
import rnn_vae
from report import build, layers, records
from report.layout import Document
from report.pages import BOTTOM, MARGIN, PAGE_H, PAGE_W, TOP
from report.references import SOURCES

SPACE = {"knn_accuracy": 0.8, "probe_accuracy": 0.7, "silhouette": 0.02}
ROW = {"n": 800, "total": 5000, "fid": 50.0, "fid_infinity": 49.0, "inception_score": 3.0, "kid": 6.0, "precision": 0.9, "recall": 0.7,
       "diversity": 1.0, "novelty": 1.0}
SPREADS = {"fid": 2.0, "fid_infinity": 2.0, "inception_score": 0.05, "kid": 0.2, "precision": 0.01, "recall": 0.02, "diversity": 0.01,
           "novelty": 0.01}


def record(Config, source="course", seed=0, **figures):
    cfg = {key: value for key, value in Config(seed=seed).__dict__.items()}
    cfg = {key: list(value) if isinstance(value, tuple) else value for key, value in cfg.items()}
    return figures | {"parameters": 1000, "seconds": 10.0, "device": "cpu", "threads": 1, "bfloat16": False, "seed": seed, "quick": False,
                      "config": cfg, "versions": {"python": "3.11", "torch": "2", "numpy": "2"},
                      "data": {"source": source, "note": "", "drawings": {"train": 2880, "validation": 320, "test": 800}}}


def row(**changes):
    return ROW | {f"{key}_sd": value for key, value in SPREADS.items()} | changes


def core(source="course", seed=0):
    """{folder: metrics.json} of a finished core; the convolutional models are ahead."""
    vae = {"test_reconstruction": 165.0, "test_kl": 36.0, "test_mse": 0.03, "active_latents": 24, "val_objective": 200.0}
    ae = {"val_mse": 0.012, "pca_mse": 0.033}
    judged = {"diversity": 0.97, "cnn_accuracy": 0.78, "cnn_confidence": 0.89, "mlp_accuracy": 0.76, "mlp_confidence": 0.85}
    spaces = {"PCA, 64": SPACE, "pixels": SPACE | {"knn_accuracy": 0.75}}
    own = {"test_cross_entropy": 0.3, "expected_calibration_error": 0.03, "parameters": 5}
    import metrics as scoring
    return {
        "classifier": record(classifier.Config, source, seed, mlp=own | {"test_accuracy": 0.88}, cnn=own | {"test_accuracy": 0.95}),
        "rnn_ae": record(rnn_ae.Config, source, seed, test_mse=0.0155, discriminability={"autoencoder": SPACE} | spaces, **ae),
        "conv_ae": record(conv_ae.Config, source, seed, test_mse=0.0124, **ae,
                          discriminability={"autoencoder": SPACE | {"knn_accuracy": 0.9}} | spaces),
        "rnn_vae": record(rnn_vae.Config, source, seed, test_elbo=-202.0, **vae),
        "conv_vae": record(conv_vae.Config, source, seed, test_elbo=-201.0, convergence={
            "level": 201.0, "conv_vae": {"epochs": 100, "seconds": 130.0, "final": 199.0},
            "rnn_vae": {"epochs": 136, "seconds": 240.0, "final": 201.0}}, **vae),
        "cvae": record(cvae.Config, source, seed, test_elbo=-203.0, linear_probe_accuracy=0.3,
                       better_vae={"fid": "conv_vae", "elbo": "conv_vae"}, recognised={
                           "samples": judged, "samples_mixture": judged | {"cnn_accuracy": 0.9},
                           "real": judged | {"cnn_accuracy": 0.95, "cnn_confidence": 0.97, "diversity": 1.0}}, **vae),
        "metrics": record(scoring.Config, source, seed, judge="cnn", judge_test_accuracy=0.95, rows={
            "real training drawings": row(fid=0.4, fid_sd=0.1), "noise": row(fid=122.0, precision=0.3), "conv_vae samples": row(fid=40.0),
            "conv_vae samples_mixture": row(fid=19.0), "rnn_vae samples": row(fid=54.0), "cvae samples": row(fid=24.0)})}


def put(folder, runs):
    """Write the records, with histories, as small as they can be."""
    for name, content in runs.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / "metrics.json").write_text(json.dumps(content))
        terms = ("mse", "reconstruction", "kl", "objective")
        history = [{"epoch": e, "seconds": 2.0 * e} | {f"{kind}_{t}": 10.0 / e for kind in ("train", "val") for t in terms}
                   for e in range(1, 6)]
        if name.endswith(("ae", "vae")):
            (folder / name / "history.json").write_text(json.dumps(history))
    return folder


def words(folder, seeds=()):
    return build.document(records.Runs(folder, seeds)).words()


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A made-up OUT on stand-in data with pictures, samples and judges: (folder, Document on its pages)."""
    folder, rng = put(tmp_path_factory.mktemp("report") / "out", core("doodles")), np.random.default_rng(0)
    torch.manual_seed(0)
    common.save(folder / "classifier" / "weights.pt", classifier.Judges())
    for name in ("rnn_vae", "conv_vae", "cvae"):
        common.save(folder / name / "samples.npy", rng.integers(0, 255, (100, 28, 28), np.uint8))
    common.save(folder / "cvae" / "samples_labels.npy", np.repeat(np.arange(5), 20))
    for name, files in {"rnn_ae": ("tsne", "reconstructions"), "conv_ae": ("tsne",), "cvae": ("confidence", "conditions"),
                        "gan_grey": ("samples", "balance")}.items():
        (folder / name).mkdir(exist_ok=True)
        for file in files:
            fig, axes = common.figure(1, 2, width=11, height=3)
            axes[0, 0].plot([1, 2])
            common.save(folder / name / f"{file}.png", fig)
    plt.close("all")
    put(folder, {"gan_grey": core("doodles")["cvae"] | {"fid": 13.0}})
    (folder / "ablations").mkdir()
    (folder / "ablations" / "width.json").write_text(json.dumps({"title": "Widths", "rows": {"16": {"fid": 3.0}, "32": {"fid": 2.0}}}))
    doc = build.main(["--out", str(folder), "--author", "A $ Name with * and `", "--student-id", "123",
                      "--code-link", "https://example.org/" + "x" * 150])
    return folder, doc


# ---- What it says ----------------------------------------------------------------------------------------------

def test_outcome_and_its_opposite(tmp_path):
    said = words(put(tmp_path / "a", core()))
    assert "the convolutional autoencoder has the lower test MSE, 0.0124 against 0.0155 for the recurrent autoencoder" in said
    assert "no verdict" in said  # one run: an error has no spread
    assert "The convolutional VAE has the lower FID of prior samples, 40.00 against 54.00 for the recurrent VAE" in said
    assert "The convolutional code has the higher accuracy of the k-NN, 0.900 against 0.800" in said
    runs = core()
    runs["rnn_ae"]["test_mse"], runs["conv_ae"]["test_mse"] = 0.0124, 0.0400
    runs["metrics"]["rows"]["rnn_vae samples"]["fid"] = 30.0
    said = words(put(tmp_path / "b", runs))
    assert "the recurrent autoencoder has the lower test MSE, 0.0124 against 0.0400" in said
    assert "PCA with 64 components has the lower test MSE, 0.0330 against 0.0400 for the convolutional autoencoder" in said
    assert "The recurrent VAE has the lower FID of prior samples, 30.00 against 40.00 for the convolutional VAE" in said


def test_a_tie_is_called_one(tmp_path):
    runs = core()
    runs["metrics"]["rows"]["rnn_vae samples"]["fid"] = 41.0  # spreads of 2 each
    said = words(put(tmp_path, runs))
    assert "By FID of prior samples, the recurrent VAE and the convolutional VAE tie, 41.00 against 40.00" in said
    assert "has the lower FID of prior samples" not in said


def test_spread_over_seeds(tmp_path):
    folders = []
    for seed, mse in enumerate((0.0155, 0.0157, 0.0153)):
        runs = core(seed=seed)
        runs["rnn_ae"]["test_mse"] = mse
        folders.append(put(tmp_path / str(seed), runs))
    said = words(folders[0], folders[1:])
    assert "The convolutional autoencoder has the lower test MSE" in said and "standard deviation over 3 seeds" in said
    value = records.Runs(folders[0], folders[1:]).value("rnn_ae", "test_mse")
    assert value.n == 3 and value.sd == pytest.approx(0.0002) and value.mean == pytest.approx(0.0155)


@pytest.mark.parametrize("name", ["classifier", "rnn_ae", "conv_ae", "rnn_vae", "conv_vae", "cvae", "metrics"])
def test_a_missing_model_says_what_to_run(tmp_path, name):
    runs = core()
    del runs[name]
    said = words(put(tmp_path, runs))
    assert f"make {name}" in said
    if name.endswith("ae") and name != "cvae":
        kind = {"rnn": "recurrent", "conv": "convolutional"}[name.split("_")[0]] + (" VAE" if name.endswith("vae") else " autoencoder")
        assert f"{kind} has" not in said and f"for the {kind}" not in said


def test_a_nan_makes_no_claim(tmp_path):
    runs = core()
    runs["conv_ae"]["test_mse"] = runs["conv_vae"]["test_elbo"] = runs["metrics"]["rows"]["rnn_vae samples"]["fid"] = math.nan
    runs["cvae"]["recognised"]["samples"]["cnn_accuracy"] = math.nan
    folder = put(tmp_path, runs)
    history = json.loads((folder / "conv_vae" / "history.json").read_text())
    history[2]["val_objective"] = history[2]["train_kl"] = math.nan
    (folder / "conv_vae" / "history.json").write_text(json.dumps(history))
    said = build.main(["--out", str(folder)]).words()
    assert "The test MSE of the convolutional autoencoder is not a number in this run: nothing is said about it." in said
    assert "NaN" in said  # the tables say so; no sentence does, and none formats one
    assert "lower FID of prior samples" not in said and "nan" not in said.split() and "higher test ELBO" not in said


def test_verdicts():
    value = records.Value
    assert records.verdict(value(1.0, 0.1, 3), value(2.0, 0.1, 3)) == "first"
    assert records.verdict(value(1.0, 0.1, 3), value(2.0, 0.1, 3), lower=False) == "second"
    assert records.verdict(value(1.0, 0.8, 3), value(2.0, 0.8, 3)) == "tie"
    assert records.verdict(value(1.0, math.nan, 1), value(2.0, math.nan, 1)) == "first, no spread"
    assert records.verdict(value(math.nan, 0.1, 3), value(2.0, 0.1, 3)) == "unknown"
    assert records.compare("x", "a", value(), "b", value(1.0, 0.1, 3)) is None


def test_a_quick_run_is_not_compared(tmp_path):
    runs = core()
    for content in runs.values():
        content["quick"] = True
    said = words(put(tmp_path, runs))
    assert "its figures are not compared" in said and "has the lower" not in said and "the figures mean nothing" in said


def test_stand_in_data_is_named_on_the_cover_and_in_every_caption(full):
    _, doc = full
    assert "Stand-in, no real data." in " ".join(box.text for box in doc.pages[0]).replace("\u00a0", " ")
    captions = [caption for caption in doc.captions if "Widths" not in caption]
    assert len(captions) > 20 and all("**Stand-in data**" in caption for caption in captions)


def test_citations_are_resolved_and_used(full, tmp_path):
    _, doc = full
    assert set(doc.cited) <= set(SOURCES) and len(doc.cited) > 15
    text = doc.words()
    assert all(f"[{n}]" in text or f"{n}," in text or f", {n}]" in text for n in range(1, len(doc.cited) + 1)) and "[@" not in text
    with pytest.raises(KeyError):
        Document().resolve("[@nobody2000]")


def test_every_source_is_cited_somewhere():
    code = "".join(path.read_text() for path in (ROOT / "report").glob("*.py") if path.name != "references.py")
    assert [key for key in SOURCES if f"@{key}" not in code] == []


# ---- Layer tables ------------------------------------------------------------------------------------------------

def test_layer_tables_count_every_weight():
    for script in (rnn_ae, conv_vae, cvae, classifier):
        for network, inputs in layers.build(script.__name__, script.Config()).values():
            rows, total = layers.layer_rows(network, inputs)
            assert total == sum(p.numel() for p in network.parameters())
            assert rows[0][0].split(".")[0].strip("`") in ("encoder", "hidden1", "conv1")


# ---- Pages ---------------------------------------------------------------------------------------------------------

def apart(a, b, slack=0.6):
    return a.x1 <= b.x0 + slack or b.x1 <= a.x0 + slack or a.y1 <= b.y0 + slack or b.y1 <= a.y0 + slack


def test_nothing_overlaps_or_leaves_the_margins(full):
    _, doc = full
    assert len(doc.pages) > 12
    for number, page in enumerate(doc.pages, 1):
        texts = [box for box in page if box.kind in ("line", "cell", "caption", "figure", "folio") and (box.text or box.kind == "figure")]
        for i, a in enumerate(texts):
            assert a.x0 >= MARGIN - 1 and a.x1 <= PAGE_W - MARGIN + 1 and a.y0 >= TOP - 14, (number, a)
            assert a.y1 <= PAGE_H - (BOTTOM if a.kind != "folio" else 30) + 4, (number, a)
            assert [b for b in texts[i + 1:] if not apart(a, b)] == [], (number, a)
        figures, inner = [b for b in page if b.kind == "figure"], [b for b in page if b.kind in ("panel", "label")]
        for i, a in enumerate(inner):
            around = [f for f in figures if f.x0 - 2 <= a.x0 and a.x1 <= f.x1 + 2 and f.y0 - 2 <= a.y0 and a.y1 <= f.y1 + 4]
            assert around, (number, a)
            assert [b for b in inner[i + 1:] if not apart(a, b, 1.5)] == [], (number, a)


def test_a_heading_never_ends_a_page(full):
    _, doc = full
    for page in doc.pages:
        last = max((box for box in page if box.kind in ("line", "cell", "caption")), key=lambda box: box.y0)
        assert last.text not in [f"{number} {title}".strip() for _, number, title, _ in doc.entries]


def test_the_text_can_be_found_in_the_pdf(full):
    folder, _ = full
    if not shutil.which("pdftotext"):
        pytest.skip("no pdftotext here")
    text = subprocess.run(["pdftotext", "-layout", folder / "report.pdf", "-"], capture_output=True, text=True).stdout
    for part in ("A $ Name with * and `", "I.1 Architectures", "II.4 A conditional VAE", "Stand-in", "References", "Widths",
                 "asked: rabbit"):
        assert part in text, part


def test_the_same_input_gives_the_same_bytes(tmp_path):
    folder = put(tmp_path, {name: content for name, content in core().items() if name in ("rnn_ae", "conv_ae")})
    seen = []
    for hashseed in "12":
        done = subprocess.run([sys.executable, "-m", "report.build", "--out", folder], cwd=ROOT, capture_output=True, text=True,
                              env=os.environ | {"PYTHONHASHSEED": hashseed})
        assert done.returncode == 0, done.stderr
        seen.append((folder / "report.pdf").read_bytes())
    assert seen[0] == seen[1]


# ---- What it refuses ------------------------------------------------------------------------------------------------

def refused(*argv):
    with pytest.raises(common.InputError) as caught:
        build.main([str(a) for a in argv])
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_bad_input_ends_in_one_line(tmp_path):
    done = subprocess.run([sys.executable, "-m", "report.build", "--out", tmp_path / "none"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "no such folder" in done.stderr and "Traceback" not in done.stderr and done.stderr.count("\n") == 1


def test_what_is_refused(tmp_path):
    folder = put(tmp_path / "a", core())
    (folder / "report.pdf").write_bytes(b"kept")
    (tmp_path / "empty").mkdir()
    assert "no finished run" in refused("--out", tmp_path / "empty")
    assert "unrecognized" in refused("--out", folder, "--nonsense", "1")
    assert "another seed" in refused("--out", folder, "--seeds", put(tmp_path / "same", core()))
    assert "leave it out" in refused("--out", folder, "--seeds", put(tmp_path / "other", core("doodles", seed=1)))
    changed = core(seed=1)
    changed["conv_ae"]["config"]["width"] = 8
    assert "another width" in refused("--out", folder, "--seeds", put(tmp_path / "width", changed))
    (folder / "cvae" / "samples.npy").write_bytes(b"no array")
    assert "samples.npy" in refused("--out", folder)
    (folder / "cvae" / "samples.npy").unlink()
    strange = core()["rnn_ae"]
    strange["config"]["surprise"] = 1
    (folder / "rnn_ae" / "metrics.json").write_text(json.dumps(strange))
    assert "surprise" in refused("--out", folder)
    (folder / "rnn_ae" / "metrics.json").write_text('{"test_mse": ')
    assert "found no JSON" in refused("--out", folder)
    (folder / "rnn_ae" / "metrics.json").write_text('{"test_mse": 1}')
    assert "without config" in refused("--out", folder)
    assert (folder / "report.pdf").read_bytes() == b"kept" and not list(folder.glob(".*.tmp"))
