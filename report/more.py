"""Chapter III: the files of more/ that have left a finished run in OUT, each with its idea, its figures, its pictures.

A Spec says in words and equations what a file does; the figures and pictures come from the run. No outcome stands in here.
"""

import math
from dataclasses import dataclass

from report import plots
from report import text as tx
from report.front import said
from report.records import Value, compare, dig, exact


@dataclass
class Spec:
    """title; words; equations; figures: {label: (keys, format)}; nested: entries that are tables themselves; pictures: {file: caption}."""

    title: str
    words: str
    equations: tuple = ()
    figures: dict = None
    nested: dict = None
    pictures: dict = None


FID = {"FID of its samples": (("fid",), "{:.1f}"), "weights": (("parameters",), "{:,.0f}"), "seconds": (("seconds",), "{:,.0f}")}
SECONDS = {"weights": (("parameters",), "{:,.0f}"), "seconds": (("seconds",), "{:,.0f}")}
SPECS = {
    "mlp_numpy": Spec(
        "A multilayer perceptron without a library",
        "Every derivative is written by hand: back-propagation [@rumelhart1986] gives each layer the derivative of the loss by its "
        "output and takes that by its input. `--search` tries random settings [@bergstra2012].",
        (r"\frac{\partial L}{\partial O} = P - Y, \qquad \frac{\partial L}{\partial W} = H^{T} D, \qquad \frac{\partial L}{\partial H} = "
         r"D W^{T}",),
        {"test accuracy, plain": (("plain", "test_accuracy"), "{:.3f}"),
         "test accuracy, moved and mirrored drawings": (("augmented", "test_accuracy"), "{:.3f}"), **SECONDS},
        pictures={"curves.png": "Loss and accuracy by epoch", "confusion.png": "What is taken for what"}),
    "mlp_torch": Spec(
        "The same with a library",
        "Same first weights, batches and settings as in the file before; only who computes the derivatives differs. The share of equal "
        "answers on test drawings shows how far rounding carries.", (),
        {"test accuracy, plain": (("plain", "test_accuracy"), "{:.3f}"),
         "test accuracy, moved and mirrored drawings": (("augmented", "test_accuracy"), "{:.3f}"),
         "same answers, float32": (("plain", "same_predictions"), "{:.3f}"),
         "same answers, float64": (("plain, float64", "same_predictions"), "{:.3f}"), **SECONDS},
        pictures={"twins.png": "Both trainings, and the differences of their first gradients"}),
    "embed_numpy": Spec(
        "Drawings and words in one space",
        "One net maps a drawing, another the vector of a category's name, to the unit sphere; a drawing is named by its nearest word "
        "[@frome2013]. Gradients are written by hand.",
        (r"L = a\,\frac{1}{B}\sum_{n}(1-S_{n,y_{n}}) - b\,\frac{1}{B}\sum_{n}\ln\mathrm{softmax}(S_{n}/\tau)_{y_{n}} + "
         r"c\;\overline{\max(0, v_{k}\cdot v_{l}-m)^{2}}", ),
        {"test accuracy": (("test_accuracy",), "{:.3f}"), **SECONDS}, {"zero_shot": "Accuracy on a category whose name was never trained"},
        {"similarity.png": "Cosines of drawings and words", "ablation.png": "Terms of the loss left out"}),
    "embed_torch": Spec("The same with a library", "Same weights, vectors and batches as in the file before, derivatives by autograd.", (),
                        {"test accuracy": (("test_accuracy",), "{:.3f}"),
                         "same answers, float32": (("runs", "float32", "same_predictions"), "{:.3f}"),
                         "same answers, float64": (("runs", "float64", "same_predictions"), "{:.3f}"), **SECONDS}),
    "dense_ae": Spec(
        "A dense autoencoder with SELU",
        "Fully connected layers, 784 to 100 to a small code and back, with SELU and LeCun-normal first weights, which keep mean 0 and "
        "variance 1 from layer to layer [@klambauer2017].",
        (r"\mathrm{selu}(a) = \lambda a\;\;(a > 0), \qquad \lambda\alpha(e^{a}-1)\;\;(a \leq 0)",),
        {"test MSE": (("test_mse",), "{:.5f}"), "PCA with as many numbers": (("pca_mse",), "{:.5f}"),
         "the mean image": (("mean_image_mse",), "{:.5f}"), **SECONDS},
        pictures={"curves.png": "Error by epoch", "reconstructions.png": "Test images and their reconstructions"}),
    "selu_conv_ae": Spec(
        "A convolutional autoencoder with SELU",
        "Convolutions and pooling, 28 to 14 to 7 to 3, and transposed convolutions back; sizes follow [@dumoulin2016]. One net has a "
        "code of 576 numbers, one is squeezed to fewer.",
        (r"H' = \left\lfloor\frac{H+2p-k}{s}\right\rfloor + 1, \qquad H' = (H-1)s-2p+k+o",), SECONDS, {"table": "Codes of several sizes"},
        {"reconstructions.png": "Test images and their reconstructions", "quality.png": "Error by size of the code, and PCA's"}),
    "restore_ae": Spec(
        "A restoring autoencoder",
        "It sees a distorted drawing and is asked for the clean one [@vincent2008]: flips, rotation, brightness, occlusion, noise, alone "
        "and mixed. SSIM as in [@wang2004].",
        (r"\mathrm{PSNR} = -10\log_{10}\,\mathrm{mean}(x-\hat{x})^{2}",), SECONDS, {"table": "Test images, distorted in several ways"},
        {"restorations.png": "Distorted, restored, clean"}),
    "beta_vae": Spec(
        "Other weights on the KL",
        "The VAE with $\\beta$ times its KL, trained once for each of several $\\beta$ [@higgins2017]; the KL splits into information, "
        "total correlation and the latents' own distances from the prior [@chen2018].",
        (r"R + \beta\,\mathrm{KL}, \qquad \overline{\mathrm{KL}} = I(x;z) + \mathrm{TC} + D",), FID, {"rows": "All values of $\\beta$"},
        {"betas.png": "Figures by $\\beta$", "traversals.png": "One latent at a time"}),
    "cvae_color": Spec(
        "Two kinds of condition", "A conditional VAE [@sohn2015], told by one-hot or by a learned embedding, and conditions that training "
                                  "never showed.",
        (), FID, {"kinds": "Both kinds of condition"}, {"samples.png": "Samples", "conditions.png": "Conditions between and beyond "
                                                                                                    "categories"}),
    "gan": Spec(
        "A generative adversarial network",
        "A generator draws, a discriminator tells its drawings from real ones [@goodfellow2014]; here with the non-saturating loss "
        "unless the settings say otherwise, and a penalty on the discriminator's gradient [@mescheder2018].",
        (r"V = \mathbb{E}\ln D(x) + \mathbb{E}\ln(1-D(G(z))), \qquad G\ \mathrm{minimises}\ -\mathbb{E}\ln D(G(z))",),
        FID | {"diversity (1: real drawings)": (("diversity",), "{:.2f}")}, None,
        {"samples.png": "Samples", "balance.png": "The two players during training"}),
    "cgan": Spec("A conditional GAN", "Generator and discriminator are told the category [@mirza2014], the latter by projection "
                                      "[@miyato2018].",
                 (r"d(x, y) = v\cdot\phi(x) + w_{y}\cdot\phi(x)",), FID, None,
                 {"samples.png": "Samples", "conditions.png": "Conditions between categories"}),
    "ddpm": Spec(
        "A diffusion model",
        "A chain of steps turns a drawing into noise, a network learns which noise is in it, and sampling undoes the chain [@ho2020]; "
        "DDIM needs fewer steps [@song2021].",
        (r"x_{t} = \sqrt{a_{t}}\,x_{0} + \sqrt{1-a_{t}}\,\epsilon, \qquad \mathrm{loss} = \mathbb{E}\,w_{t}\,|\epsilon-e(x_{t},t)|^{2}/D",),
        FID | {"bits per dimension, a bound": (("test_bits_per_dimension",), "{:.2f}")}, {"samplers": "Ways to sample, on fewer samples"},
        {"samples.png": "Samples", "denoising.png": "From noise to drawings"}),
    "cddpm": Spec("A conditional diffusion model", "The diffusion model, told the category, with classifier-free guidance [@ho2021].",
                  (r"\tilde{e} = e(x_{t},t,0) + g\,[e(x_{t},t,y)-e(x_{t},t,0)]",), FID, None,
                  {"samples.png": "Samples", "guidance.png": "Figures by guidance"}),
    "inpaint": Spec("Inpainting", "Half of a drawing is given; the diffusion model draws the rest by replacement, resampling "
                                  "[@lugmayr2022] or guidance "
                    "[@chung2023]. Nothing is trained.", (), {"seconds": (("seconds",), "{:,.0f}")}, {"ways": "Three ways"},
                    {"completions.png": "Given halves and their completions"}),
    "text_rnn": Spec("A recurrent classifier of sentences", "Words are read one after the other by plain, LSTM [@hochreiter1997] and GRU "
                                                            "[@cho2014] cells.",
                     (), {"test accuracy": (("test_accuracy",), "{:.3f}"), **SECONDS}, {"variants": "Cells and readings"},
                     {"gradients.png": "How far back the gradient reaches"}),
    "text_cnn": Spec("A convolutional classifier of sentences", "Filters look for phrases of a few words anywhere in a sentence "
                                                                "[@kim2014].",
                     (r"a_{j}(t) = \mathrm{relu}\left(\sum_{i<k} W_{j}[i]\cdot x_{t+i} + b_{j}\right), \qquad m_{j} = \max_{t}\,a_{j}(t)",),
                     {"test accuracy": (("test_accuracy",), "{:.3f}"), **SECONDS}, {"variants": "Variants"},
                     {"phrases.png": "What the filters look for"}),
}


def variants(runs, name):
    """Folders with a finished run of a file: painted, grey, on drawings in place of digits."""
    return [folder for folder in (name, f"{name}_grey", f"drawings/{name}") if runs.has(folder)]


def about(folder):
    return "grey" if folder.endswith("_grey") else "drawings" if folder.startswith("drawings/") else folder


def column_name(key):
    words = key.replace("_", " ").split()
    return tx.literal(" ".join(w.upper() if w in ("fid", "psnr", "ssim", "kl", "mse", "pca", "elbo", "mig", "tc") else w for w in words))


def nested_rows(entry):
    """A dict of dicts of numbers, or a list of them, as header and rows; numbers alone become one column."""
    if isinstance(entry, list):
        entry = {str(i + 1): row for i, row in enumerate(entry)}
    if not isinstance(entry, dict):
        return [], []
    entry = {name: row if isinstance(row, dict) else {"value": row} for name, row in entry.items()}
    columns = list(dict.fromkeys(key for row in entry.values() for key in row if dig(row, key) is not None))[:7]
    forms = {c: column_form([dig(row, c) for row in entry.values()]) for c in columns}
    return ["", *(column_name(c) for c in columns)], [
        [tx.literal(name), *(Value(dig(row, c), n=1).show(forms[c]) if dig(row, c) is not None else "\u2013" for c in columns)]
        for name, row in entry.items()]


def column_form(values):
    """One format for a column: three digits of its largest number, more where its smallest would show none, five places at most."""
    sizes = [abs(v) for v in values if v is not None and math.isfinite(v) and v]
    if all(size == round(size) for size in sizes):
        return "{:,.0f}"
    places = max(2 - math.floor(math.log10(max(sizes))), -math.floor(math.log10(min(sizes))))
    return f"{{:,.{min(max(places, 0), 5)}f}}"


def comments(runs, name, folder):
    """Comparisons that the figures of one run allow."""
    record = runs.record(folder)
    tests = int(dig(record, "data", "drawings", "test") or 0)
    which = f"`{folder.split('/')[-1]}`"
    if name in ("mlp_numpy", "mlp_torch"):
        yield compare("test accuracy", "the net trained on moved and mirrored drawings",
                      runs.value(folder, "augmented", "test_accuracy", share_of=tests), "the plain one",
                      runs.value(folder, "plain", "test_accuracy", share_of=tests), "{:.3f}", lower=False)
    if name == "dense_ae":
        mse = runs.value(folder, "test_mse")
        yield compare("test MSE", which, mse, "PCA with as many numbers", exact(runs.value(folder, "pca_mse"), mse), "{:.5f}")
    for kind in ("samples",):
        mine = runs.value("metrics", "rows", f"{folder} {kind}", "fid")
        if mine.n:  # scored by metrics.py, in the same table as the VAEs
            yield compare("FID", which, mine, "`conv_vae`, prior samples", runs.value("metrics", "rows", "conv_vae "
                                                                                                         "samples", "fid"), "{:.1f}")
    if name.startswith("text_"):
        for other, value in (record.get("baselines") or {}).items():
            if isinstance(value, (int, float)):
                yield compare("test accuracy", which, runs.value(folder, "test_accuracy", share_of=tests), tx.literal(other),
                              Value(float(value), 0.0, 1), "{:.3f}", lower=False)


def section(doc, runs, name, spec, number, folders):
    doc.heading(f"III.{number}", spec.title)
    doc.text(f"`more/{name}.py`. {spec.words}")
    for i, equation in enumerate(spec.equations):
        doc.equation(f"{name}_{i}", equation)
    records = [runs.record(folder) for folder in folders]
    columns = [[tx.literal(label), *(runs.value(folder, *keys).show(form) for folder in folders)]
               for label, (keys, form) in (spec.figures or {}).items()]
    columns = [["", *(f"`{folder}`" for folder in folders)], *(column for column in columns if set(column[1:]) != {"\u2013"})]
    if len(columns) > 1:
        header, *rows = map(list, zip(*columns))  # a row a run: low tables
        doc.table(name, f"{spec.title}: figures of the run{'s' * (len(folders) > 1)}." + said(*records), header, rows,
                  "l" + "r" * (len(header) - 1))
    for folder, record in zip(folders, records):
        for key, caption in (spec.nested or {}).items():
            header, rows = nested_rows(record.get(key))
            if rows:
                doc.table(f"{folder}_{key}", f"{caption} (`{folder}`)." + said(record), header, rows, "l" + "r" * (len(header) - 1), 8.0)
        doc.points([] if record["quick"] else comments(runs, name, folder))
        for file, caption in (spec.pictures or {}).items():
            path = runs.path(folder, file)
            if path:
                parts = plots.fitting(plots.read_picture(path))
                rest = f" In part; the whole picture is `{file}`." if plots.left_out(parts) else ""
                doc.figure(f"{folder}_{file}", f"{caption} (`{folder}`).{rest}" + said(record), *plots.pictures(parts))


def chapter(doc, runs):
    """Nothing where nothing of more/ has been run."""
    found = {name: variants(runs, name) for name in SPECS}
    found = {name: folders for name, folders in found.items() if folders}
    if found:
        doc.heading("III", "Further models", 1)
        doc.text("Files of `more/` that have a finished run in this OUT, each in brief; the docstring of each derives its equations. FID "
                 "here is measured on all samples of a run, by the judge of its kind of image, and has no spread unless a ± is shown.")
    for number, (name, folders) in enumerate(found.items(), 1):
        section(doc, runs, name, SPECS[name], number, folders)
