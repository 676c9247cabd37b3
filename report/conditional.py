"""Point II.4, the conditional VAE and what two classifiers say of its samples; and those classifiers, the judges."""

import math

import numpy as np
import torch

import classifier
import common
from report import plots
from report.autoencoders import architecture
from report.front import missing, said
from report.records import compare, dig, row_value, spread_name
from report.settings import settings

SAMPLES = 5000  # that cvae.py draws in each way, and has judged
ASKED = ("rabbit", "yoga", "snowman")


def judged(runs):
    """(drawings (15, 28, 28), asked (15,), {judge: probabilities (15, K)}), or None where a file is missing. Raises common.InputError."""
    paths = runs.path("cvae", "samples.npy"), runs.path("cvae", "samples_labels.npy"), runs.path("classifier", "weights.pt")
    if None in paths:
        return None
    images = common.check_images(paths[0], common.load_npy(paths[0]))
    labels = common.check_labels(paths[1], common.load_npy(paths[1]), len(images))
    pick = np.concatenate([np.flatnonzero(labels == common.CLASSES.index(name))[:5] for name in ASKED])
    if len(pick) < 15:
        return None
    judges = classifier.load_judges(runs.out, torch.device("cpu"))
    probs = {name: classifier.softmax(classifier.predict(getattr(judges, name), images[pick], torch.device("cpu"))[0])
             for name in ("cnn", "mlp")}
    return (images[pick, 0] * 255).round().astype(np.uint8), labels[pick], probs


def recognised(runs, way, key):
    """A figure of cvae.py's "recognised"; SAMPLES samples were judged, and all test drawings."""
    tests = dig(runs.record("cvae") or {}, "data", "drawings", "test") or 0
    drawings = int(tests) if way == "real" else SAMPLES
    return runs.value("cvae", "recognised", way, key, share_of=drawings if key.endswith("accuracy") else 0)


def recognition_comments(runs):
    for judge in ("cnn", "mlp"):
        prior, mixture, real = (recognised(runs, way, f"{judge}_accuracy") for way in ("samples", "samples_mixture", "real"))
        yield compare(f"share recognised as asked by the {judge.upper()}", "samples from the mixture", mixture, "samples from "
                                                                                                                "the prior", prior,
                      "{:.1%}", lower=False)
        yield compare(f"share recognised by the {judge.upper()}", "test drawings", real, "samples from the mixture", mixture, "{:.1%}",
                      lower=False)


def confidence_comments(runs):
    """Is a judge as often right as it is sure?"""
    for judge in ("cnn", "mlp"):
        gaps, reach = {}, {}
        for way in ("samples", "real"):
            sure, right = recognised(runs, way, f"{judge}_confidence"), recognised(runs, way, f"{judge}_accuracy")
            if not (sure.known and right.known):
                continue
            gaps[way] = 100 * (sure.mean - right.mean)
            reach[way] = 100 * right.reach
            what = "prior samples" if way == "samples" else "test drawings"
            if abs(gaps[way]) <= reach[way]:
                word = f"as sure as it is right, within the spread ({reach[way]:.1f} points; {spread_name(right)})"
            else:
                word = f"{abs(gaps[way]):.1f} points {'surer than it is right' if gaps[way] > 0 else 'less sure than it is right'}"
            are = "are as asked" if way == "samples" else "are right"
            yield f"On {what} the {judge.upper()}'s mean confidence is {sure.mean:.1%} and {right.mean:.1%} {are}: it is {word}."
        if len(gaps) == 2 and gaps["samples"] > reach["samples"] and gaps["samples"] - gaps["real"] > math.hypot(*reach.values()):
            yield (f"The {judge.upper()} learned from training drawings only: on samples its confidence overstates how often it is right "
                   "more than on test drawings, so that a high confidence is no proof of a good sample.")


def section(doc, runs):
    doc.heading("II.4", "A conditional VAE")
    if not runs.has("cvae"):
        return missing(doc, "cvae")
    record = runs.record("cvae")
    blocks = record["config"].get("condition", "blocks") == "blocks"
    doc.text("Encoder and decoder are both told the category $y$, as one-hot [@sohn2015]. The prior is the same for every $y$, so that a "
             "category in $z$ would cost KL and gain nothing; the encoder is told because the posterior depends on $y$. "
             + ("In each block the condition scales and shifts every channel [@perez2018]:" if blocks else
                "The condition enters the linear layers alone:"))
    doc.equation("film", r"h' = h\odot(1+\gamma_{y})+\beta_{y}, \qquad " * blocks + r"-\mathrm{ELBO}(x|y) = "
                 r"\mathbb{E}_{q(z|x,y)}\left[-\ln p(x|z,y)\right] + \mathrm{KL}(q(z|x,y)\,\|\,p(z))")
    better = record.get("better_vae") or {}
    fids = [row_value(runs, name, "samples", "fid") for name in ("rnn_vae", "conv_vae")]
    by_fid = compare("FID of prior samples", "the recurrent VAE", fids[0], "the convolutional VAE", fids[1], "{:.1f}")
    by_elbo = compare("test ELBO in nats", "the recurrent VAE", runs.value("rnn_vae", "test_elbo"), "the convolutional VAE",
                      runs.value("conv_vae", "test_elbo"), "{:.1f}", lower=False)
    if doc.quiet:
        doc.text("It is built on the convolutional VAE.")
    elif better:
        doc.text(f"It is built on the convolutional VAE. Of the two, the bare figures of this run put `{better.get('fid')}` ahead by FID "
                 f"and `{better.get('elbo')}` by ELBO. What their spreads say of it: {by_fid or 'of FID nothing is known.'} "
                 f"{by_elbo or 'Of the ELBO nothing is known.'}")
    else:
        doc.text("It is built on the convolutional VAE; which of the two was better was not known to this run.")
    doc.text("{table:layers_cvae} has the layers, {table:settings_cvae} the settings. On test drawings $R + \\mathrm{KL}$ is "
             f"{runs.value('cvae', 'test_reconstruction').show('{:.1f}')} + {runs.value('cvae', 'test_kl').show('{:.1f}')} nats, the ELBO "
             f"{runs.value('cvae', 'test_elbo').show('{:.1f}')}. A linear probe from $z$ to the category is right for "
             f"{runs.value('cvae', 'linear_probe_accuracy').show('{:.1%}')} of the test drawings; {1 / len(common.CLASSES):.0%} would "
             "mean that $z$ holds style alone.")
    asked(doc, runs, record)
    architecture(doc, runs, "cvae", "Conditional VAE")
    settings(doc, runs, "cvae")
    doc.heading("", "What the confidence says", 3, toc=False)
    confidence(doc, runs, record)


def asked(doc, runs, record):
    seen = judged(runs)
    if not seen:
        doc.text("The fifteen samples need `cvae/samples.npy`, its labels, and the judges' weights: `make classifier cvae`.")
        return
    images, labels, probs = seen
    said_of = [[(f"{name.upper()}: {common.CLASSES[p[i].argmax()]} {p[i].max():.0%}", p[i].argmax() == labels[i])
                for name, p in probs.items()] for i in range(len(images))]
    doc.text("{figure:fifteen} shows the first five samples from the prior of each of three categories, with what two classifiers say.")
    doc.figure("fifteen", "Fifteen samples of the conditional VAE: the first five of rabbit, yoga and snowman, not picked by hand. "
               "Below each the label that each classifier predicts, and its confidence (its largest probability); red where it is not "
               "what was asked for." + said(record, runs.record("classifier")),
               *plots.fifteen(images, [common.CLASSES[k] for k in labels], said_of))
    points = []
    for name, p in probs.items():
        right = p.argmax(axis=1) == labels
        sure = p.max(axis=1)
        text = f"Of the fifteen the {name.upper()} recognises {right.sum()} as asked"
        text += f", with a mean confidence of {sure[right].mean():.0%}" if right.any() else ""
        text += f"; of the other {(~right).sum()} it is {sure[~right].mean():.0%} sure" if (~right).any() else ""
        points.append(text + ".")
    doc.points([*points, "Fifteen are too few for a comparison; {table:recognised} has all that were drawn."])


def confidence(doc, runs, record):
    rows = [[label, *(recognised(runs, way, key).show("{:.3f}") for key in (
        "cnn_accuracy", "cnn_confidence", "mlp_accuracy", "mlp_confidence", "diversity"))]
        for way, label in (("samples", "samples, prior"), ("samples_mixture", "samples, mixture"), ("real", "test drawings"))]
    doc.text("{table:recognised} has the share that each classifier recognises as asked, and its mean confidence. Diversity is that "
             "within a category; 1 is what test drawings have.")
    doc.table("recognised", "Recognised as asked, mean confidence, and diversity within a category." + said(record),
              ["", "CNN, right", "CNN, confidence", "MLP, right", "MLP, confidence", "diversity"], rows, "lrrrrr")
    doc.points([*recognition_comments(runs), *confidence_comments(runs)])
    errors = {name: runs.value("classifier", name, "expected_calibration_error") for name in ("cnn", "mlp")}
    calibration = [f"{name.upper()} {error.show('{:.3f}')}" for name, error in errors.items() if error.known]
    if calibration:
        doc.text("A confidence can be taken at its word if a classifier that says 0.8 is right in 80 % of such cases. How far that is "
                 f"missed on test drawings is the expected calibration error [@guo2017]: {', '.join(calibration)}. It holds for real "
                 "drawings; samples are of another distribution.")
    for key, file, caption in (
            ("confidence", "confidence.png", "Distribution of each judge's confidence, on samples and on test drawings (*real*)."),
            ("conditions", "conditions.png", "One $z$ under every condition, and conditions between two categories, which training never "
             "showed.")):
        path = runs.path("cvae", file)
        if path:
            doc.text(f"{{figure:{key}}} shows " + ("the whole distribution." if key == "confidence" else "what the condition changes and "
                                                                                                         "what $z$ keeps."))
            parts = plots.fitting(plots.read_picture(path))
            doc.figure(key, caption + said(record), *plots.pictures(parts), shrink=lambda s, p=parts: plots.pictures(p, shrunk=s))


def judges(doc, runs):
    """The classifiers that judge the samples: a section of the chapter on data."""
    doc.heading("", "The judges", 2)
    if not runs.has("classifier"):
        return missing(doc, "classifier")
    doc.text("Two classifiers, the assignment's multilayer perceptron and a small convolutional net, are trained on training drawings "
             "only, with cross-entropy and SGD with momentum [@sutskever2013], and are then frozen. The CNN's features before the last "
             "layer are what FID is measured on. {table:judges} has their own figures.")
    tests = int(dig(runs.record("classifier"), "data", "drawings", "test") or 0)
    value = {name: runs.value("classifier", name, "test_accuracy", share_of=tests) for name in ("mlp", "cnn")}
    rows = [[name.upper(), runs.value("classifier", name, "parameters").show("{:,.0f}", spread=False), v.show("{:.3f}"),
             runs.value("classifier", name, "test_cross_entropy").show("{:.3f}"),
             runs.value("classifier", name, "expected_calibration_error").show("{:.3f}")] for name, v in value.items()]
    doc.table("judges", "The judges on test drawings." + said(runs.record("classifier")),
              ["", "weights", "accuracy", "cross-entropy, nats", "calibration error"], rows, "lrrrr")
    doc.points([compare("test accuracy", "the CNN", value["cnn"], "the MLP", value["mlp"], "{:.3f}", lower=False)])
    architecture(doc, runs, "classifier", "Judges")
    settings(doc, runs, "classifier")
