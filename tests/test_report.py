"""The report: made-up metrics, and what it has to say of them; its pages, and what must not happen on them."""

import importlib
import json
import math
import os
import re
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
from report import build, choices, layers, plots, records, settings, text
from report.layout import Document
from report.pages import BOTTOM, FOOT, LEADING, MARGIN, PAGE_H, PAGE_W, TOP, Lines
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
    seeds = {"fid": [91.0, 92.0, 93.0], "fid_training": [90.0, 91.0, 92.0], "kl": [28.0, 28.5, 29.0]}
    (folder / "ablations" / "beta.json").write_text(json.dumps({
        "title": "Weight of the KL", "what": "beta", "base": "1", "data": core("doodles")["cvae"]["data"], "quick": False,
        "rows": {beta: {key: float(np.mean(values)) for key, values in seeds.items()} for beta in ("0.5", "1", "2")},
        "each": dict.fromkeys(("0.5", "1", "2"), seeds), "columns": {}}))
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
    for name, verb in (("LeCun-normal first weights", "have"), ("painted prior samples of `conv_vae`", "have"), ("test drawings", "have"),
                       ("the net trained on moved drawings", "has"), ("the net with GloVe's vectors", "has")):
        said = records.compare("error", name, value(1.0, 0.1, 3), "other", value(2.0, 0.1, 3))
        assert f" {verb} the lower error" in said, said
    assert records.number("{:.2f}", -0.001) == "0.00" and records.number("{:.2f}", -0.01) == "\u22120.01"


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


def test_a_share_takes_two_standard_errors_for_a_verdict():
    """One would tell equal figures apart in one of three pairs: simulated with shares of 800 drawings, and with two seeds of them."""
    value, rng, p, n = records.Value, np.random.default_rng(0), 0.8, 800
    se = math.sqrt(p * (1 - p) / n)
    assert records.verdict(value(0.80, se, n, "drawings"), value(0.83, se, n, "drawings"), lower=False) == "tie"
    assert records.verdict(value(0.80, se, n, "drawings"), value(0.85, se, n, "drawings"), lower=False) == "second"
    assert records.verdict(value(0.80, 0.0, 3, "seeds", error=se), value(0.83, 0.0, 3, "seeds", error=se), lower=False) == "tie"
    assert records.verdict(value(40.0, 2.0, 5, "subsets"), value(43.0, 2.0, 5, "subsets")) == "first"  # a mean of five: one is enough
    assert records.verdict(value(40.0, 2.0, 5, "resamples"), value(43.0, 2.0, 5, "resamples")) == "tie"  # a standard error
    for kind in ("drawings", "seeds"):
        apart = []
        for a, b in rng.binomial(n, p, (2000, 2)) / n:
            pair = [value(x, 0.0, 2, "seeds", error=math.sqrt(x * (1 - x) / n)) if kind == "seeds" else
                    value(x, math.sqrt(x * (1 - x) / n), n, "drawings") for x in (a, b)]
            apart.append(records.verdict(*pair) not in ("tie",))
        assert np.mean(apart) == pytest.approx(0.046, abs=0.02), kind
    said = records.compare("share", "a", value(0.80, se, n, "drawings"), "b", value(0.83, se, n, "drawings"), lower=False)
    assert "tie" in said and "twice the standard error of 800 cases" in said


def test_a_set_that_is_one_subset_has_resamples(tmp_path):
    runs = core()
    runs["metrics"]["rows"]["conv_ae reconstructions"] = row(total=800)
    runs = records.Runs(put(tmp_path, runs))
    assert runs.value("metrics", "rows", "conv_ae reconstructions", "fid").of == "resamples"
    assert runs.value("metrics", "rows", "conv_vae samples", "fid").of == "subsets"


def test_samples_of_others_are_called_so(tmp_path):
    runs = core()
    runs["metrics"]["rows"] |= {"conv_vae_20k_samples": row(fid=99.0), "rnn_vae samples": row(fid=1.0)}
    own = words(put(tmp_path / "a", runs))
    assert "others: conv_vae_20k" not in own and "The recurrent VAE has the lower FID of prior samples, 1.00" in own
    runs["metrics"]["config"]["files"] = ["../peers/conv_vae_20k_samples.npy", "there/rnn_vae samples.npy"]
    said = words(put(tmp_path / "b", runs))
    assert "others: conv_vae_20k_samples" in said and "others: rnn_vae samples" in said and "named on the command line" in said
    assert "has the lower FID of prior samples" not in said  # another's figure is not our model's
    assert said.index("others: conv_vae_20k_samples") > said.index("cvae, prior")


def test_a_median_is_no_proof_against_copies(tmp_path):
    said = words(put(tmp_path / "a", core()))
    assert "At the median, prior samples of the convolutional VAE are 1.00 ± 0.01 times as far" in said and "are no copies" not in said
    assert "so the median sample is no copy, which says nothing of single ones" in said
    runs = core()
    runs["metrics"]["rows"]["conv_vae samples"]["novelty"] = 0.1
    runs["metrics"]["rows"]["rnn_vae samples"]["novelty"] = 0.6
    said = words(put(tmp_path / "b", runs))
    assert "half of them, or more, are close to copies" in said and "prior samples of the recurrent VAE are" not in said


def test_overstated_confidence_needs_more_than_the_spread(tmp_path):
    runs = core()
    claim = "overstates how often it is right"
    assert claim in words(put(tmp_path / "a", runs))
    runs["cvae"]["recognised"]["samples"] |= {"cnn_confidence": 0.785, "mlp_confidence": 0.765}  # half a point; twice the error is 1.2
    runs["cvae"]["recognised"]["real"] |= {"cnn_confidence": 0.951, "mlp_confidence": 0.761}
    assert claim not in words(put(tmp_path / "b", runs))


def test_the_elbo_of_the_better_vae_comes_with_its_spread(tmp_path):
    """Of 'the bare figures put ... ahead by ELBO', too, the section says what stands behind it."""
    said = words(put(tmp_path, core()))
    part = said[said.rindex("II.4 A conditional VAE"):]
    assert "ahead by FID and conv_vae by ELBO" in part
    assert "In this run the convolutional VAE has the higher test ELBO in nats" in part.replace("\n", " ")


def test_captions_say_that_the_first_epochs_may_be_cut_off(full):
    _, doc = full
    cut = [c for c in doc.captions if "The two terms of" in c or "by epoch and by second" in c]
    assert len(cut) == 3 and all("The first epochs may lie above the frame." in c for c in cut)


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


# ---- Settings -------------------------------------------------------------------------------------------------------

def test_what_is_said_of_settings_is_of_settings_that_there_are():
    for name, told in settings.CHOSEN.items():
        if name != "*":
            there = settings.meanings(settings.config(name))
            assert set(told) <= set(there), (name, set(told) - set(there))


def test_each_setting_of_the_core_says_what_it_is_and_how_it_was_chosen(tmp_path):
    """In words that a reader of a PDF understands: no number of a docstring's equation, no 'see above', no raw backticks."""
    runs = records.Runs(put(tmp_path, core()))
    for name in ("classifier", "rnn_ae", "conv_ae", "rnn_vae", "conv_vae", "cvae"):
        found = settings.rows(runs, name, [name])
        assert len(found) > 4 and all(what and how for _, _, what, how in found)
        assert not [what for _, _, what, _ in found if re.search(r"\(\d+\)|see above|docstring|consequences", what)], name
    rows = {setting: how for setting, _, _, how in settings.rows(runs, "conv_vae", ["conv_vae"])}
    assert "test figures in sight" in rows["`latent_dim`"] and "`make ablations`" in rows["`latent_dim`"]
    assert "held-out" in rows["`temperature`"] and rows["`lr`"] == "no search recorded"
    assert settings.prose("0: as many as `steps` need$") == "0: as many as `steps` need\ue000"  # code, and a dollar that is none
    doc = build.document(runs)
    said = doc.words()
    assert "`" not in said and "see the docstring" not in said and "not this run" not in said
    captions = {name: next(c for c in doc.captions if f"Settings of `{name}.py`" in c) for name in ("conv_vae", "conv_ae", "rnn_ae")}
    assert "docs/settings.md" in captions["conv_vae"]  # it has trials on held-out drawings for this one,
    assert "docs/settings.md" not in captions["conv_ae"] + captions["rnn_ae"]  # and none for these


def test_a_value_that_is_not_the_files_own_borrows_none_of_its_reasons(tmp_path):
    runs = core()
    runs["conv_vae"]["config"]["temperature"] = 0.5
    rows = {setting: (value, how) for setting, value, _, how in settings.rows(records.Runs(put(tmp_path, runs)), "conv_vae", ["conv_vae"])}
    assert rows["`temperature`"] == ("0.5", "set for this run: the file itself has 0.33")


def test_the_text_describes_the_nets_that_were_trained(tmp_path):
    usual, runs = words(put(tmp_path / "usual", core())), core()
    runs["rnn_ae"]["config"]["summary"], runs["cvae"]["config"]["condition"] = "last", "linear"
    for name in ("rnn_ae", "conv_ae", "rnn_vae", "conv_vae", "cvae", "classifier"):
        runs[name]["config"]["shift"] = 0
    other = words(put(tmp_path / "other", runs))
    for here, there in (("what it knows at each row is squeezed", "the last state of each direction"), (
            "the condition scales and shifts every channel", "The condition enters the linear layers alone"), (
            "Training drawings are moved by up to 2 pixels", "Training drawings are not moved")):
        assert (here in usual, there in usual, here in other, there in other) == (True, False, False, True), here


def test_other_threads_of_other_seeds_are_named(tmp_path):
    first, second = put(tmp_path / "a", core()), core(seed=1)
    assert "other seeds: cpu" not in words(first, [put(tmp_path / "b", second)])
    for content in second.values():
        content["threads"] = 2
    said = words(first, [put(tmp_path / "c", second)])
    assert "cpu, 1 thread, float32; other seeds: cpu, 2 threads" in said and "Seconds are the first seed's" in said


def test_settings_point_to_the_tables_of_chapter_four(tmp_path):
    folder = put(tmp_path, core())
    assert "make ablations compares latent sizes" in words(folder)
    (folder / "ablations").mkdir()
    table = {"title": "Latent size of conv_vae: 1 update", "rows": {"16": {"fid": 3.0}, "24": {"fid": 2.0}}}
    (folder / "ablations" / "latents_vae.json").write_text(json.dumps(table))
    doc = build.document(records.Runs(folder))
    said = doc.words()
    assert f"not searched again; see also Table {doc.numbers['table:ablation_latents_vae']}" in said.replace("\n", " ")
    assert "Chapter IV compares other settings, a choice at a time: Latent size of conv_vae." in said


# ---- Chapter III ----------------------------------------------------------------------------------------------------

def further(painted="Quick, Draw! drawings, painted", **changes):
    """{folder: metrics.json} of files of more/, made up; their samples files are put beside them by put_further()."""
    def of(module, name=painted, source="course", tests=800, grey=None, **figures):
        found = record(importlib.import_module(f"more.{module}").Config, source, **figures)
        found["data"] |= {"name": name, "drawings": {"train": 2880, "validation": 320, "test": tests}} if name else {}
        found["config"] |= {} if grey is None else {"grey": grey}
        return found

    gain = {"nothing_psnr": 16.5, "median_psnr": 18.8, "restored_psnr": 23.5, "nothing_ssim": 0.5, "median_ssim": 0.6,
            "restored_ssim": 0.8, "filter": "cross", "gain": 4.7, "gain_error": 0.1}
    beta = {"test_reconstruction": 413.0, "test_kl": 62.7, "test_elbo": -475.0, "active_latents": 24, "known_kl": 63.2, "fid": 76.1,
            "fid_x_hat": 81.4, "gaussian_tc": 1.48, "mig": 0.07, "mig_turned": 0.03, "information": 8.3, "total_correlation": 54.2,
            "dimension_kl": 0.55, "val_objective": 423.0}
    kind = {"test_reconstruction": 421.0, "test_kl": 36.0, "test_elbo": -457.0, "test_mse": 0.019, "linear_probe_accuracy": 0.5,
            "linear_probe_hue": 0.9, "parameters": 5, "accuracy": 0.58, "diversity": 0.88, "fid": 42.0, "mixture_accuracy": 0.86,
            "mixture_diversity": 0.88, "mixture_fid": 13.0}
    half = {"seam": 1.54, "diversity": 0.67, "recognised": 0.74, "fid": 14.9, "squared_error": 0.07, "milliseconds": 43.0}
    words = {"test_accuracy": 0.77, "val_accuracy": 0.775, "spread": 0.001, "parameters": 5, "seconds": 7.0}
    text = {"test_accuracy": 0.771, "baselines": {"majority class": 0.48, "TF-IDF of words, logistic regression": 0.777}}
    of_text = {"name": "sentences of text/rt-polarity", "source": "rt-polarity", "tests": 1067}
    mnist = {"name": "MNIST digits", "source": "mnist", "tests": 10000}
    codes = {"dense": {"numbers": 30, "test_mse": 0.0069, "pca_mse": 0.0177},
             "squeezed": {"numbers": 30, "test_mse": 0.0048, "pca_mse": 0.0177, "parameters": 81695},
             "convolutional": {"numbers": 576, "test_mse": 0.0022, "pca_mse": 0.000008, "parameters": 46529}}
    samplers = {"10 steps, eta 0, g 1": (23.2, 8.0), "250 steps, eta 0, g 1": (20.8, 176.0), "50 steps, eta 0, g 1": (21.1, 35.0),
                "50 steps, eta 1.5, fresh, g 1": (7.2, 34.0), "50 steps, eta 1.5, fresh, g 1.5": (3.2, 56.0)}
    return {
        "mlp_numpy": of("mlp_numpy", "", plain={"test_accuracy": 0.80}, augmented={"test_accuracy": 0.83}),
        "dense_ae": of("dense_ae", **mnist, test_mse=0.0069, pca_mse=0.0177, mean_image_mse=0.07, pca_components_needed=83,
                       val_mse_by_init={"lecun": 0.0100, "default": 0.0117}),
        "selu_conv_ae": of("selu_conv_ae", **mnist, table=codes, last_band_over_first={"PCA, 30": {"rows": 0.7, "columns": 0.9}}),
        "restore_ae": of("restore_ae", table={"noise": gain, "salt and pepper": gain | {"gain": -1.3}, "rotation": gain | {"gain": 0.16}},
                         flips={"vertical flip": {"rabbit": {"right": 0.9}, "hand": {"right": 0.8}}}),
        "beta_vae": of("beta_vae", fid=73.0, beta=1.0, rows=[
            beta | {"beta": 0.25}, beta | {"beta": 1.0, "fid": 73.0}, beta | {
                "beta": 8.0, "test_reconstruction": 592.0, "test_kl": 7.2, "active_latents": 11, "mig": 0.13, "fid": 97.9}]),
        "cvae_color": of("cvae_color", fid=42.0, accuracy=0.58, diversity=0.88, kinds={
            "one_hot": kind, "embedding": kind | {"accuracy": 0.44, "mixture_accuracy": 0.861, "fid": 45.5}}),
        "gan": of("gan", fid=8.6, fid_without_mean=8.4, diversity=0.96),
        "gan_grey": of("gan", "", grey=True, fid=13.0, fid_without_mean=15.2, diversity=0.98),
        "cgan": of("cgan", fid=2.1, accuracy=0.9294, diversity=0.97),
        "ddpm": of("ddpm", fid=4.0, test_bits_per_dimension=2.0, samplers={k: {"fid": f, "seconds": s} for k, (f, s) in samplers.items()}),
        "cddpm": of("cddpm", fid=2.5, accuracy=0.9926, diversity=0.88, guidance=[
            {"guidance": g, "fid": fid, "accuracy": share, "diversity": 0.9}
            for g, fid, share in ((0.0, 23.0, 0.19), (1.5, 1.6, 0.978), (5.0, 15.3, 1.0))]),
        "inpaint": of("inpaint", ways={
            "replacement": half, "resampling": half | {"seam": 1.15, "recognised": 0.80, "fid": 6.2, "milliseconds": 212.0},
            "guidance": half | {"seam": 0.86, "recognised": 0.825, "fid": 4.9, "milliseconds": 90.0},
            "real drawings": {"recognised": 0.945}}),
        "text_rnn": of("text_rnn", **of_text, **text, variants={"LSTM, two directions, max": words, "plain, two directions, max": words | {
            "test_accuracy": 0.744, "spread": 0.02}, "GRU, two directions, max": words | {"test_accuracy": 0.6}}),
        "text_cnn": of("text_cnn", **of_text, **text, variants={"widths 3, 4, 5": words, "width 1, a bag of words": words}, phrases=[
            {"weight": 0.1616, "width": 5, "phrases": ["heart and soul of cinema", "brave and sweetly rendered love"]}]),
        "color": of("color"),
        "color/classifier": record(classifier.Config, cnn={"test_accuracy": 0.948}, mlp={"test_accuracy": 0.8})} | changes


COLOUR = {"color samples_conv_vae": 44.8, "gan samples": 8.0, "cgan samples": 2.2, "ddpm samples": 45.5, "beta_vae samples": 72.7}


def put_further(folder, runs, colour=None, n=900):
    """Their folders, and a few samples; colour: FID of rows of metrics.py's table of painted drawings."""
    put(folder, runs)
    for name, content in runs.items():
        if "fid" in content:
            common.save(folder / name / "samples.npy", np.zeros((n, 28, 28), np.uint8))
    if colour:
        import metrics as scoring
        table = record(scoring.Config, judge="cnn", judge_test_accuracy=0.948, rows={key: row(fid=fid) for key, fid in colour.items()})
        (folder / "metrics").mkdir(exist_ok=True)
        (folder / "metrics" / "color.json").write_text(json.dumps(table))
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Made-up runs of more/ beside a made-up core: (Document, all that it says, by section)."""
    folder = put_further(put(tmp_path_factory.mktemp("further") / "out", core()), further(), COLOUR)
    doc = build.document(records.Runs(folder))
    said = doc.words()
    third = said[said.rindex("III Further models"):said.rindex("\nLimits\n")]
    parts = re.split(r"\n(?=III\.\d+ )", third)
    return doc, {re.search(r"more/(\w+)\.py", part)[1]: part for part in parts[1:]}, parts[0]


def test_each_section_begins_with_its_data(models):
    doc, parts, _ = models
    begins = {name: part.split("\n", 2)[1] for name, part in parts.items()}
    assert "Data: MNIST digits: 2,880 to train" in begins["dense_ae"] and "28×28 pixels, grey" in begins["selu_conv_ae"]
    assert "sentences of text/rt-polarity" in begins["text_rnn"] and "film reviews" in begins["text_cnn"]
    assert "Quick, Draw! drawings, painted" in begins["restore_ae"] and "three channels" in begins["restore_ae"]
    assert "Data of gan: Quick, Draw! drawings, painted" in begins["gan"] and "Data of gan_grey: Quick, Draw! drawings:" in parts["gan"]
    assert {"lecun1998", "pang2005", "kingma2015", "karras2024"} <= set(doc.cited)
    assert "In chapters I and II each has 28×28 grey pixels" in doc.words()


def test_each_section_has_settings_limits_and_its_equations(models):
    doc, parts, _ = models
    for name, part in parts.items():
        assert f"Settings of {name}.py" in part and "\nLimits. " in part, name
        assert not re.search(r"`|\{table|\{figure|nan\b", part), name
    for key in ("inpaint_0", "inpaint_1", "cvae_color_0", "text_rnn_0", "ddpm_1", "ddpm_3"):
        assert f"equation:{key}" in doc.numbers, key
    assert "fresh" in parts["ddpm"] and "Autoguidance [" in parts["ddpm"]


def test_tables_name_their_columns_and_leave_none_out(models):
    _, parts, _ = models
    beta = parts["beta_vae"]
    for label in ("I", "TC", "D", "MIG", "MIG, turned", "linear TC", "FID", "0.25", "0.030", "54.2", "8.3", "0.55"):
        assert re.search(rf"(?<![\w.]){re.escape(label)}(?![\w.])", beta), label
    assert " 0.2 " not in beta and "known KL" not in beta
    restored = parts["restore_ae"]
    assert "PSNR, alone" in restored and "gain, dB" in restored and "4.70 ± 0.10" in restored and "60 where nothing is wrong" in restored
    assert "nothing PSNR" not in restored and "cross" in restored
    assert "0.929 ± 0.009" in parts["cgan"] and "recognised as asked" in parts["cgan"] and "0.993 ± 0.003" in parts["cddpm"]
    assert "0.580 ± 0.016" in parts["cvae_color"] and "0.861" in parts["cvae_color"]
    assert "eta 1.5, fresh" not in parts["ddpm"] and "all noise new" in parts["ddpm"]
    assert "0.770 ± 0.001" in parts["text_rnn"] and "standard deviation over 2 seeds" in parts["text_rnn"]
    assert "heart and soul of cinema · brave" in parts["text_cnn"].replace("\n", " ")


def test_fid_says_of_how_many_samples_it_is(models):
    _, parts, first = models
    assert "all samples of a run" not in first and "as many of a run's samples as there are test drawings" in first
    assert "FID of 800 samples" in parts["gan"] and "FID of 800 samples" in parts["ddpm"]
    assert "FID of 90 samples each" in parts["ddpm"].replace("\n", " ") and "not to be compared with that of Table" in parts["ddpm"]


def test_fid_is_held_against_conv_vae_in_the_same_kind_of_image(tmp_path, models):
    _, parts, first = models
    assert "Samples of gan have the lower FID, 8.0 against 44.8 for painted prior samples of conv_vae" in parts["gan"]
    assert "The ratio, gan to conv_vae, is 0.18." in parts["gan"]
    # the grey one stands in no table: its own figure of as many samples has no spread
    assert "In this run samples of gan_grey have the lower FID, 13.0 against 40.0 for prior samples of conv_vae; there is no spread" in (
        parts["gan"])
    assert "By FID, samples of ddpm and painted prior samples of conv_vae tie" in parts["ddpm"]
    assert "Painted prior samples of conv_vae have the lower FID, 44.8 against 72.7 for samples of beta_vae" in parts["beta_vae"]
    assert "make colour" not in first
    said = words(put_further(put(tmp_path / "a", core()), further()))  # without the table in colour
    assert "make colour writes it" in said and "painted prior samples" not in said
    runs = core()
    runs["metrics"]["judge"] = "mlp"
    said = words(put_further(put(tmp_path / "b", runs), {"gan_grey": further()["gan_grey"]}))
    assert "samples of gan_grey" not in said  # the run was judged by the CNN, that table by the MLP


def test_findings_and_their_opposites(tmp_path, models):
    _, parts, _ = models
    flat = {name: part.replace("\n", " ") for name, part in parts.items()}
    assert "for noise (+4.7 dB)" in flat["restore_ae"] and "the filter (or none) is ahead of the net" in flat["restore_ae"]
    assert "Within twice the standard error the two tie for rotation (+0.2 dB)" in flat["restore_ae"]
    assert "By SSIM, of which no spread is known, the net is ahead for salt and pepper" in flat["restore_ae"]
    assert "$R$ rises from 413 to 592 nats and the KL falls from 62.7 to 7.2" in flat["beta_vae"]
    assert re.search("FID is lowest at .{1,9} = 1, 73.0", flat["beta_vae"])
    assert "One-hot has the higher share of prior samples recognised as asked, 0.580 against 0.440" in flat["cvae_color"]
    assert "By share of mixture samples recognised as asked, one-hot and the embedding tie" in flat["cvae_color"]
    assert "FID falls from 23.2 with 10 steps to 20.8 with 250, in 22 times the time" in flat["ddpm"]
    assert "FID falls from 7.2 to 3.2, in 1.6 times the time" in flat["ddpm"]
    assert "By share recognised as asked, samples of cgan and test drawings tie, 0.929 against 0.948" in flat["cgan"]  # of 800 and 900
    # of 200 drawings
    assert "By share taken for the drawing's category, resampling and replacement tie, 0.800 against 0.740" in flat["inpaint"]
    assert "nearest to that of real drawings (1) by guidance, 0.86" in flat["inpaint"]
    changed = further()
    changed["restore_ae"]["table"]["noise"]["gain"] = -4.7
    for b, figures in zip(changed["beta_vae"]["rows"], ((100.0, 1.0), (90.0, 2.0), (80.0, 3.0))):
        b["test_reconstruction"], b["test_kl"] = figures
    changed["ddpm"]["samplers"]["250 steps, eta 0, g 1"]["fid"] = 30.0
    changed["cvae_color"]["kinds"]["embedding"]["accuracy"] = 0.8
    changed["inpaint"]["ways"]["replacement"]["recognised"] = 0.3
    said = words(put_further(put(tmp_path, core()), changed)).replace("\n", " ")
    assert "ahead of the best median filter" not in said and "$R$ falls from 100 to 80 nats and the KL rises from 1.0 to 3.0" in said
    assert "FID rises from 23.2 with 10 steps to 30.0 with 250" in said and "The embedding has the higher share of prior samples" in said
    assert "Resampling has the higher share taken for the drawing's category, 0.800 against 0.300" in said


def test_few_sentences_make_no_verdict(tmp_path, models):
    """TF-IDF has no seed, but is a share of the same 1,067 sentences; the net's spread is over seeds and over sentences."""
    _, parts, _ = models
    said = parts["text_rnn"].replace("\n", " ")
    assert "(LSTM, two directions, max) and TF-IDF of words, logistic regression tie, 0.770 against 0.777" in said
    assert "LSTM, two directions, max) has the higher test accuracy, 0.770 against 0.480 for majority class" in said
    assert "By test accuracy, LSTM, two directions, max and plain, two directions, max tie" in said
    assert "LSTM, two directions, max has the higher test accuracy, 0.770 against 0.600 for GRU" in said
    runs = further()
    runs["text_rnn"]["baselines"]["TF-IDF of words, logistic regression"] = 0.80  # more than the net's error alone
    said = words(put_further(tmp_path / "a", {"text_rnn": runs["text_rnn"]})).replace("\n", " ")
    assert "TF-IDF of words, logistic regression tie, 0.770 against 0.800" in said
    runs["text_rnn"]["baselines"]["TF-IDF of words, logistic regression"] = 0.83
    said = words(put_further(tmp_path / "b", {"text_rnn": runs["text_rnn"]})).replace("\n", " ")
    assert "TF-IDF of words, logistic regression has the higher test accuracy, 0.830 against 0.770 for text_rnn" in said


def test_chapter_three_with_a_nan_a_lack_and_a_quick_run(tmp_path):
    runs = further()
    runs["gan"]["fid"] = runs["restore_ae"]["table"]["noise"]["gain"] = runs["beta_vae"]["rows"][0]["fid"] = math.nan
    runs["cgan"]["accuracy"] = runs["inpaint"]["ways"]["guidance"]["seam"] = math.nan
    runs["ddpm"]["samplers"]["10 steps, eta 0, g 1"]["fid"] = math.nan
    for name, key in (("cddpm", "guidance"), ("cvae_color", "kinds"), ("text_rnn", "variants"), ("selu_conv_ae", "table")):
        del runs[name][key]
    runs["text_cnn"]["variants"] = runs["dense_ae"]["val_mse_by_init"] = None
    said = words(put_further(put(tmp_path / "a", core()), runs, COLOUR))
    assert "NaN" in said and "nan" not in said.split() and "by guidance, nan" not in said
    for content in runs.values():
        content["quick"] = True
    said = words(put_further(tmp_path / "b", runs))
    part = said[said.rindex("III Further models"):]
    assert not re.search(r"(has|have) the (higher|lower)|is lowest|\btie\b", part) and "Limits." in part


def test_stand_in_data_of_chapter_three_is_named(tmp_path):
    runs = {name: further()[name] for name in ("dense_ae", "text_rnn")}
    runs["dense_ae"]["data"] |= {"source": "stand-in", "name": "STAND-IN, not MNIST"}
    runs["text_rnn"]["data"] |= {"source": "grammar", "name": "STAND-IN SENTENCES of a small grammar"}
    doc = build.document(records.Runs(put_further(tmp_path, runs)))
    third = [c for c in doc.captions if any(word in c for word in ("SELU", "dense_ae", "text_rnn", "sentences"))]
    assert len(third) >= 5 and all("**Stand-in data**" in caption for caption in third)
    assert doc.words().count("Data: Stand-in, no real data.") == 2


def test_pictures_say_whose_equations_they_number(tmp_path):
    folder = put_further(put(tmp_path, core()), {name: further()[name] for name in ("dense_ae", "gan")})
    for name, file in (("dense_ae", "curves"), ("dense_ae", "reconstructions"), ("gan", "balance")):
        fig, axes = common.figure(1, 2, width=8, height=3)
        axes[0, 0].plot([1, 2])
        common.save(folder / name / f"{file}.png", fig)
    captions = {key: next(c for c in build.document(records.Runs(folder)).captions if key in c) for key in (
        "Error by epoch", "Test images and their", "The two players")}
    assert "those of the docstring of `dense_ae.py`" in captions["Error by epoch"]
    assert "those of the docstring of `gan.py`" in captions["The two players"] and "docstring" not in captions["Test images and their"]


def test_a_sweep_that_was_run_is_shown_and_pointed_to(tmp_path):
    folder = put_further(put(tmp_path, core()), {"gan": further()["gan"]})

    def third(doc):
        said = doc.words()
        return said[said.rindex("III Further models"):].replace("\n", " ")

    assert "see also docs/settings.md" in third(build.document(records.Runs(folder)))
    sweep = further()["gan"] | {"rows": {"as it stands": {"FID": 47.7, "seconds": 186.0}, "no R1": {"FID": 78.1, "seconds": 204.0}}}
    (folder / "gan" / "sweep.json").write_text(json.dumps(sweep))
    doc = build.document(records.Runs(folder))
    assert "78.1" in third(doc) and "without test images" in third(doc) and "see also docs" not in third(doc)
    assert f"see also Table {doc.numbers['table:gan_sweep']}" in third(doc)
    swept = (ROOT / "docs" / "settings.md").read_text().split("## The sweeps of more/")[1].split("\n## ")[0]
    assert all(f"`{name}.py`" in swept for name in settings.SWEPT)  # what the report says is there is there


# ---- Layer tables ------------------------------------------------------------------------------------------------

def test_layer_tables_count_every_weight():
    for script in (rnn_ae, conv_vae, cvae, classifier):
        for network, inputs in layers.build(script.__name__, script.Config()).values():
            rows, total = layers.layer_rows(network, inputs)
            assert total == sum(p.numel() for p in network.parameters())
            assert rows[0][0].split(".")[0].strip("`") in ("encoder", "hidden1", "conv1")


def test_functions_without_weights_stand_in_the_layer_tables():
    """What forward() calls by name, ReLU or pooling, and what a condition does to a block, is computed like any layer."""
    (_, (network, inputs)), = layers.build("cvae", cvae.Config()).items()
    rows = {name.strip("`"): what for name, what, *_ in layers.layer_rows(network, inputs)[0]}
    assert rows["encoder.blocks.0.conv"] == "convolution 4×4, 1 → 16, stride 2, batch norm, scaled and shifted, SiLU"
    assert rows["encoder.heads.0"].count("SiLU") == 1  # a layer of its own, which calls the function: once
    network, inputs = layers.build("classifier", classifier.Config())["CNN"]
    rows = layers.layer_rows(network, inputs)[0]
    assert [what for _, what, shape, _ in rows if shape == "16 × 14 × 14"] == ["max pooling 2×2"]
    assert rows[0][1] == "convolution 3×3, 1 → 16, batch norm, ReLU"
    assert network.conv1._forward_hooks == network.conv1._forward_pre_hooks == {}  # the hooks are gone


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


def placed(*adds):
    """The pages of a document that these functions fill."""
    doc = Document()
    for add in adds:
        add(doc)
    return [[(type(block).__name__, block, y) for block, y in page] for page in doc.paginate(doc.blocks())]


def lines(n):
    return lambda doc: doc.block(lambda: Lines([[(0.0, "roman", "x")]] * n, above=0.0))


def picture(key, height, least=0.0):
    """A figure that may shrink."""
    return lambda doc: doc.figure(key, "c", height, lambda area: None, lambda s: (height * s, lambda area: None))


def test_a_figure_shrinks_to_the_space_left_by_a_fifth_at_most():
    room = FOOT - TOP - 30 * LEADING  # below 30 lines
    (page,) = placed(lines(30), picture("a", room))
    assert [kind for kind, *_ in page] == ["Lines", "Float"] and page[1][1].height() <= room - 10 and page[1][1].tall >= 0.8 * room
    first, second = placed(lines(30), picture("a", 1.4 * room))
    assert [kind for kind, *_ in first] == ["Lines"] and second[0][1].tall == 1.4 * room  # it would lose a third: it waits


def test_tables_pass_a_waiting_figure_and_keep_their_order():
    rows = [["a", "b"]] * 3

    def table(key, **given):
        return lambda doc: doc.table(key, key, ["x", "y"], rows, "ll", **given)

    first, second = placed(lines(30), picture("big", 500), table("one"), table("two", breaks=True))
    assert [kind for kind, *_ in first] == ["Lines", "Table", "Table"] and second[0][0] == "Float"
    rows = [["a", "b"]] * 20
    pages = placed(lines(36), table("one"), table("two", breaks=True))  # the first does not fit: the second may not go before it
    assert [kind for kind, *_ in pages[0]] == ["Lines"]
    at = [block.caption[0] for page in pages for kind, block, _ in page if kind == "Table"]
    assert "one" in str(at[0]) and "two" in str(at[1])


def test_a_figure_may_drift_past_one_heading_and_no_further():
    def heading(level):
        return lambda doc: doc.heading("1", "title", level)

    def kinds(*adds):
        return [[f"{block.size:g}" if kind == "Lines" and block.with_next else kind for kind, block, _ in page] for page in placed(*adds)]

    big = picture("big", 500)
    assert kinds(lines(25), big, heading(2), lines(30)) == [["Lines", "13", "Lines"], ["Float", "Lines"]]  # the next section fills the page
    assert kinds(lines(25), big, heading(2), lines(4), heading(2), lines(4)) == [["Lines", "13", "Lines"], ["Float", "13", "Lines"]]
    assert kinds(lines(25), big, heading(1), lines(4)) == [["Lines"], ["Float"], ["17", "Lines"]]  # a chapter has its own figures
    assert kinds(lines(40), big, heading(2), lines(4)) == [["Lines"], ["Float", "13", "Lines"]]  # little is left of the page


def test_what_waits_fills_the_page_in_which_the_next_figure_finds_no_room():
    def table(doc):
        doc.table("t", "t", ["x", "y"], [["a", "b"]] * 12, "ll")

    pages = placed(lines(40), picture("a", 420), table, picture("b", 500))
    assert [[kind for kind, *_ in page] for page in pages] == [["Lines"], ["Float", "Table"], ["Float"]]
    pages = placed(lines(40), picture("a", 300), picture("b", 640), picture("c", 90), table)
    assert [[block.tall if kind == "Float" else kind for kind, block, _ in page] for page in pages] == [
        ["Lines"], [300, "Table"], [640], [90]]  # c would find room below the table, but b comes first


def test_a_table_that_may_break_fills_the_page_and_goes_on_on_the_next():
    pages = placed(lines(40), lambda doc: doc.table("t", "t", ["x", "y"], [["a", str(i)] for i in range(25)], "ll", breaks=True))
    parts = [block for page in pages for kind, block, _ in page if kind == "Table"]
    assert len(pages) == len(parts) == 2 and sum(len(part.rows) for part in parts) == 25
    assert parts[1].caption == [[(0.0, "italic", "Table 1, continued.")]]
    huge = placed(lines(40), lambda doc: doc.table("t", "t", ["x"], [["a"]] * 20, "l"),
                  lambda doc: doc.table("u", "u", ["x"], [["a"]] * 90, "l", breaks=True))
    assert all(y + block.height() <= FOOT + 1 for page in huge for _, block, y in page)


def panelled(rows, columns):
    """A picture of rows by columns coloured panels, each with a title above and a label below it."""
    pixels = np.full((rows * 200, columns * 240, 3), 255, np.uint8)
    for r, c in np.ndindex(rows, columns):
        y, x = 200 * r, 240 * c
        pixels[y + 10:y + 20, x + 80:x + 150] = 0  # title
        pixels[y + 26:y + 170, x + 40:x + 220] = 20 + 10 * (columns * r + c)
        pixels[y + 186:y + 192, x + 110:x + 140] = 0  # label of the axis
    return pixels


def test_a_picture_is_taken_apart_into_its_panels_and_all_of_them_are_shown():
    parts = plots.panels(panelled(2, 3), 2, 3)
    assert [part.shape[:2] for part in parts] == [(182, 180)] * 6 and [int(part[60, 60, 0]) for part in parts] == [20, 30, 40, 50, 60, 70]
    blank = panelled(2, 3)
    blank[200:, 480:] = 255
    assert len(plots.panels(blank, 2, 3)) == 5
    many = [np.full((600, 700, 3), 90, np.uint8)] * 5
    shown = plots.pages(many)
    assert sum(map(len, shown)) == 5 and len(shown) > 1 and all(plots.pictures(part)[0] <= plots.TALLEST for part in shown)


def test_a_picture_with_more_than_a_page_of_panels_goes_on_in_a_second_figure(tmp_path):
    folder = put_further(put(tmp_path, core()), {"restore_ae": further()["restore_ae"]})
    plt.imsave(folder / "restore_ae" / "restorations.png", np.full((3000, 800, 3), 90, np.uint8))
    runs = records.Runs(folder)
    plt.imsave(folder / "restore_ae" / "restorations.png", np.kron(panelled(4, 3), np.ones((3, 3, 1), np.uint8)))
    doc = build.document(runs)
    shown = [c for c in doc.captions if "Distorted, restored, clean" in c]
    assert len(shown) > 1 and "continued from {figure:restore_ae_restorations.png}" in shown[1]
    assert "whole picture is" not in doc.words() and ".png" not in " ".join(doc.captions).replace("restorations.png}", "")


def test_plots_of_the_ablations_are_drawn_at_a_readable_size(full):
    """By the report, from their figures: their own pictures' legends of 7 points would be printed at 5.5."""
    _, doc = full
    assert any("{table:ablation_beta}" in caption for caption in doc.captions)
    page = next(number for number, page in enumerate(doc.pages) if any(
        box.kind == "caption" and "Weight of the KL" in box.text.replace("\u00a0", " ") for box in page))
    panels = [box for page in doc.pages[page:page + 2] for box in page if box.kind == "panel"]
    assert len(panels) >= 2  # FID of samples and against the training drawings in one of them, KL in the other
    assert text.LOOK["legend.fontsize"] >= 7 and text.LOOK["xtick.labelsize"] >= 7
    strange = {"title": "x", "what": "beta", "rows": {"1": {"fid": 1.0}}, "each": {"2": {"fid": [1.0]}}}
    assert choices.drawn("beta", strange, choices.columns(strange)) == {}  # what does not fit is not drawn


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
