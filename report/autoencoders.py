"""Chapter I: the two autoencoders. Each function adds one point of the assignment to the document."""

import numpy as np

from report import layers, plots
from report import text as tx
from report.front import missing, said
from report.records import compare, dig, exact, verdict
from report.settings import settings

NAMES = {"rnn_ae": "the recurrent autoencoder", "conv_ae": "the convolutional autoencoder"}
SPACES = (("knn_accuracy", "k-NN"), ("probe_accuracy", "linear probe"), ("silhouette", "silhouette"))


def present(runs, *names):
    return [name for name in names if runs.has(name)]


def architecture(doc, runs, name, caption):
    """The layer table and the settings of one script, from its saved config."""
    record = runs.record(name)
    cfg = layers.config_of(name, record, runs.out / name / "metrics.json")
    for title, (network, inputs) in layers.build(name, cfg).items():
        rows, total = layers.layer_rows(network, inputs)
        key = f"layers_{name}" + f"_{title}".lower() * bool(title)
        doc.table(key, f"{caption}{': the ' + title if title else ''}: what one drawing of 1 × 28 × 28 becomes, layer by layer. Made "
                  "from the network itself; reshaping, sums and concatenation have no row." + said(record),
                  ["layer", "what it does", "output", "weights"], [*rows, ["**all**", "", "", f"**{total:,}**"]], "llrr", 8.0,
                  breaks=True)


def mse_comments(runs):
    """Which autoencoder has the lower error, and does each beat PCA?"""
    values = {name: runs.value(name, "test_mse") for name in NAMES}
    yield compare("test MSE", NAMES["rnn_ae"], values["rnn_ae"], NAMES["conv_ae"], values["conv_ae"], "{:.4f}")
    for name, value in values.items():
        size = dig(runs.record(name) or {}, "config", "latent_dim")
        pca = exact(runs.value(name, "pca_mse"), value)
        yield compare("test MSE", NAMES[name], value, f"PCA with {size:.0f} components" if size else "PCA", pca, "{:.4f}")


def space_values(runs, name, space):
    tests = dig(runs.record(name) or {}, "data", "drawings", "test") or 0
    return {key: runs.value(name, "discriminability", space, key, share_of=0 if key == "silhouette" else int(tests)) for key, _ in SPACES}


def spaces(runs, name):
    return list((runs.record(name) or {}).get("discriminability") or {})


def tell_apart(runs):
    """Which code tells the categories apart better, and is it better than PCA's?"""
    ours = {name: space_values(runs, name, "autoencoder") for name in NAMES}
    for key, label in SPACES[:2]:
        yield compare(f"accuracy of the {label}", "the recurrent code", ours["rnn_ae"][key], "the convolutional code", ours["conv_ae"][key],
                      "{:.3f}", lower=False)
    for name in NAMES:
        pca = [space for space in spaces(runs, name) if space.startswith("PCA")]
        if pca:
            yield compare("accuracy of the k-NN", f"{NAMES[name]}'s code", ours[name]["knn_accuracy"], "PCA's code",
                          space_values(runs, name, pca[0])["knn_accuracy"], "{:.3f}", lower=False)


def same_order(runs):
    """Does the net that draws better also tell apart better? None unless both questions have an answer."""
    mse = [runs.value(name, "test_mse") for name in NAMES]
    knn = [space_values(runs, name, "autoencoder")["knn_accuracy"] for name in NAMES]
    a, b = verdict(*mse), verdict(*knn, lower=False)
    if {a, b} <= {"first", "second"}:
        return ("By k-NN the net with the lower error is also the one whose code tells the categories apart better." if a == b else
                "By k-NN the net with the lower error is not the one whose code tells the categories apart better: nothing in the loss "
                "asks for it.")
    return None


def chapter(doc, runs):
    here = present(runs, *NAMES)
    doc.heading("I", "Autoencoders", 1)
    doc.text("An encoder $f$ squeezes a drawing $x$ into a code $z$ of $L$ numbers, a decoder $g$ draws it again from these "
             "[@hinton2006]. Neither sees a label. Both networks are trained on the mean squared error over pixels and drawings.")
    doc.equation("ae", r"z = f(x) \in \mathbb{R}^{L}, \qquad \hat{x} = \mathrm{sigmoid}(g(z))")
    doc.equation("mse", r"\mathrm{MSE} = \frac{1}{N D}\sum_{n=1}^{N}\sum_{d=1}^{D}\left(x_{nd}-\hat{x}_{nd}\right)^{2}")
    doc.text("The yardstick is PCA with as many numbers: on the training drawings no linear encoder and decoder do better at "
             "{equation:mse}.")

    doc.heading("I.1", "Architectures")
    doc.heading("", "Recurrent", 3, toc=False)
    if "rnn_ae" in here:
        cell = runs.record("rnn_ae")["config"]["cell"]
        rows = runs.record("rnn_ae")["config"].get("summary", "rows") == "rows"
        read = ("what it knows at each row is squeezed by $V$, the same at every row, and then by $W_z$ into the code." if rows else
                "the last state of each direction, at the last row and at the first, becomes the code.")
        doc.text(f"A drawing is read as a time series of $T = 28$ rows with 28 values each. A bidirectional {cell} reads it; {read} The "
                 "decoder unfolds the code into one vector a row, a second recurrent layer makes them fit together, and each row is read "
                 "out by the same weights [@srivastava2015].")
        doc.equation("rnn", r"h_{1},\ldots,h_{T} = \mathrm{RNN}(x_{1},\ldots,x_{T}), \qquad " + (
            r"z = W_{z}\,[V h_{1};\ldots;V h_{T}] + b" if rows else
            r"z = W_{z} V\,[\overrightarrow{h}_{T};\overleftarrow{h}_{1}] + b"))
        doc.equation("rnn2", r"u_{1},\ldots,u_{T} = U z + c, \qquad \hat{x}_{t} = \mathrm{sigmoid}(W_{o}\,\mathrm{RNN}(u)_{t} + d)")
        if cell == "GRU":
            doc.text("A GRU's cell [@cho2014] has a reset gate $r$ and an update gate $s$ (biases left out, $\\odot$ is elementwise). "
                     "Where $s$ is near 1 the state, and with it the gradient, passes unchanged from row to row.")
            doc.equation("gru", r"r = \sigma(W_{r}x_{t}+U_{r}h), \quad s = \sigma(W_{s}x_{t}+U_{s}h), \quad "
                         r"h_{t} = s\odot h + (1-s)\odot\tanh(W_{n}x_{t}+r\odot(U_{n}h))")
        doc.text("{table:layers_rnn_ae} has the layers, {table:settings_rnn_ae} the settings.")
        architecture(doc, runs, "rnn_ae", "Recurrent autoencoder")
        settings(doc, runs, "rnn_ae")
    else:
        missing(doc, "rnn_ae")
    doc.heading("", "Convolutional", 3, toc=False)
    if "conv_ae" in here:
        doc.text("Convolutions of stride 2 halve the resolution twice; two linear layers make the code. The decoder goes back through the "
                 "same sizes with transposed convolutions, whose kernel is a multiple of their stride: otherwise neighbouring pixels "
                 "would get different numbers of contributions, and a chessboard would show [@odena2016]. {table:layers_conv_ae} has the "
                 "layers, {table:settings_conv_ae} the settings.")
        architecture(doc, runs, "conv_ae", "Convolutional autoencoder")
        settings(doc, runs, "conv_ae")
    else:
        missing(doc, "conv_ae")

    doc.heading("I.2", "Error during training")
    with_history = [name for name in here if isinstance(runs.history(name), list)]
    if with_history:
        doc.text("Both are trained with Adam [@kingma2015] and one cycle of the learning rate [@smith2019] for a fixed number of updates. "
                 "{figure:mse} shows the error by epoch. Training drawings are moved and mirrored anew each epoch and validation "
                 "drawings are not, so the dashed lines may lie above the solid ones.")
        lines = {f"{short}, {kind}": (runs.history(name), f"{key}_mse", i, style) for i, (name, short) in enumerate(
            (("rnn_ae", "recurrent"), ("conv_ae", "convolutional"))) if name in with_history
            for kind, key, style in (("training", "train", "--"), ("validation", "val", "-"))}
        levels = {"PCA, test": dig(runs.record(with_history[0]), "pca_mse") or np.nan}
        doc.figure("mse", "Mean squared error a pixel during training, on a logarithmic scale; dotted, PCA with as many numbers on test "
                   "drawings." + said(*map(runs.record, with_history)), *plots.curves(lines, "MSE a pixel", levels, log=True),
                   shrink=lambda s: plots.curves(lines, "MSE a pixel", levels, log=True, height=165 * s))
    mse_table(doc, runs, here)
    doc.points(mse_comments(runs))
    shots = [name for name in here if runs.path(name, "reconstructions.png")]
    if shots:
        parts = [plots.read_picture(runs.path(n, "reconstructions.png")) for n in shots]
        doc.text("{figure:reconstructions} shows the first three test drawings of each category.")
        doc.figure("reconstructions", "Test drawings, their reconstructions, and PCA's: " + ", then ".join(
            NAMES[n] for n in shots) + "." + said(*map(runs.record, shots)),
            *plots.pictures(parts), shrink=lambda s: plots.pictures(parts, shrunk=s))
    missing(doc, *[name for name in NAMES if name not in here])

    doc.heading("I.3", "The codes in the plane")
    plane(doc, runs, here)
    doc.heading("I.4", "Do the codes tell the categories apart?")
    discriminability(doc, runs, here)


def mse_table(doc, runs, here):
    if here:
        rows = [[NAMES[name].removeprefix("the "), runs.value(name, "parameters").show("{:,.0f}", spread=False),
                 *(runs.value(name, key).show("{:.4f}") for key in ("val_mse", "test_mse", "pca_mse")),
                 runs.value(name, "seconds", matching=("threads", "bfloat16")).show("{:.0f}")] for name in here]
        doc.text("{table:mse} has the errors at the end of the training.")
        doc.table("mse", "Errors of the autoencoders. Seconds are those of the training." + said(*map(runs.record, here)),
                  ["", "weights", "validation MSE", "test MSE", "PCA, test MSE", "seconds"], rows, "lrrrrr")


def plane(doc, runs, here):
    shots = [name for name in here if runs.path(name, "tsne.png")]
    if shots:
        parts = [plots.split(plots.read_picture(runs.path(name, "tsne.png")), 2)[0] for name in shots]
        doc.text("t-SNE [@tsne2008] puts codes that are neighbours next to each other and keeps nothing else: sizes of clusters and gaps "
                 "between them mean nothing. {figure:tsne} is therefore no measurement; I.4 has the numbers, taken in the codes "
                 "themselves.")
        doc.figure("tsne", "t-SNE of test codes, coloured by category: " + ", ".join(
            f"{side} {NAMES[n]}" for side, n in zip(("left", "right") if len(shots) > 1 else ("",), shots)).replace(":  ", ": ") + "."
            + said(*map(runs.record, shots)), *plots.pictures(parts, 0.73), shrink=lambda s: plots.pictures(parts, 0.73, shrunk=s))
    elif here:
        doc.text("No finished run has left a `tsne.png`.")
    missing(doc, *[name for name in NAMES if name not in here])


def discriminability(doc, runs, here):
    rows = []
    for name in here:
        for space in spaces(runs, name):
            if space == "autoencoder" or name == here[0]:  # PCA's and the pixels' do not depend on the net
                label = NAMES[name].removeprefix("the ") + "'s code" if space == "autoencoder" else tx.literal(space)
                rows.append([label, *(v.show("{:.3f}") for v in space_values(runs, name, space).values())])
    subject = "{table:discriminability} has three figures" if rows else "Three figures"
    doc.text(f"{subject}, taken in each space and not in a picture of it. k-NN: is a test drawing of the category that most of its ten "
             "nearest training drawings have? Linear probe: do hyperplanes, fitted to training codes, separate the categories of test "
             "codes? Silhouette [@rousseeuw1987], from -1 to 1: how much closer is a drawing to its own category than to the next one?")
    if rows:
        rows.sort(key=lambda row: "autoencoder" not in row[0])
        doc.table("discriminability", "How well codes tell the categories apart, on test drawings; chance is 0.2 for the first two."
                  + said(*map(runs.record, here)), ["space", "k-NN accuracy", "linear probe accuracy", "silhouette"], rows, "lrrr")
    doc.points([*tell_apart(runs), same_order(runs)])
    missing(doc, *[name for name in NAMES if name not in here])
