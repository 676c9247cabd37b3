"""What chapter III says of each file of more/ whatever its run has measured: words, equations, what its tables and pictures show, limits.

No outcome stands in here: figures come from the run (more.py), and what they say is found there (findings.py).
"""

import re
from dataclasses import dataclass, field

import common


@dataclass(frozen=True)
class Column:
    """label: markup, with the unit; form: None for words, or a list of them.

    share: of which drawings it is a share ("tests", "samples", "inputs"); spread: the key of its standard deviation over seeds, or with
    error of its standard error over test drawings.
    """

    label: str
    form: str = "{:.3g}"
    share: str = ""
    spread: str = ""
    error: bool = False


@dataclass(frozen=True)
class Sheet:
    """A table that stands in metrics.json: rows of figures. columns: {key: Column}, those shown; names: {row: markup}, others as they are.

    by: of a list, the column whose value names a row, written as form; parse: from a row's name to further columns, or None where it cannot
    be read.
    """

    key: str
    caption: str
    columns: dict
    first: str = ""
    names: dict = field(default_factory=dict)
    by: str = ""
    form: str = "{:g}"
    parse: object = None


@dataclass(frozen=True)
class Picture:
    """numbers: it has numbers of its file's equations in it; cut: (rows, columns) of its panels, where it is to be taken apart."""

    caption: str
    numbers: bool = False
    cut: tuple = ()


@dataclass(frozen=True)
class Spec:
    """words: what the file does; equations: latex; figures: {keys: Column} of the whole run; kind: of its images; limits: what fails."""

    title: str
    words: str
    equations: tuple
    figures: dict
    limits: str
    sheets: tuple = ()
    pictures: dict = field(default_factory=dict)
    kind: str = "drawings"
    images: str = "painted"  # painted, grey or sentences


WEIGHTS, SECONDS = Column("weights", "{:,.0f}"), Column("seconds", "{:,.0f}")
COST = {("parameters",): WEIGHTS, ("seconds",): SECONDS}
FID = Column("FID of {n} samples", "{:.1f}")  # {n}: as many as there are test drawings
ASKED = Column("recognised as asked", "{:.3f}", share="samples")
WITHIN = Column("diversity within a category (real: 1)", "{:.2f}")
TWINS = {("plain", "test_accuracy"): Column("test accuracy, plain", "{:.3f}", share="tests"),
         ("augmented", "test_accuracy"): Column("test accuracy, moved and mirrored", "{:.3f}", share="tests")}


def sampler(name):
    """A way to sample as ddpm.py names it, as columns."""
    match = re.fullmatch(r"(\d+) steps, eta ([\d.]+)(, fresh)?, g ([\d.]+)", name)
    return match and {"steps": int(match[1]), "eta": float(match[2]), "fresh": "once $a_{s}$ is large" if match[3] else "never",
                      "g": float(match[4])}


SPECS = {
    "mlp_numpy": Spec(
        "A multilayer perceptron without a library",
        "Every derivative is written by hand: back-propagation [@rumelhart1986] gives each layer the derivative $D$ of the loss by its "
        "output, and takes that by its input $H$ and its weights $W$; the last layer gives logits $O$, softmax makes shares $P$ of them, "
        "and $Y$ has a 1 at the right category. `--search` tries random settings [@bergstra2012].",
        (r"\frac{\partial L}{\partial O} = P - Y, \qquad \frac{\partial L}{\partial W} = H^{T} D, \qquad \frac{\partial L}{\partial H} = "
         r"D W^{T}",),
        {**TWINS, **COST},
        "It does not know which pixels are neighbours: a moved drawing is another one to it. On few validation drawings a random search "
        "tells bad settings from good ones, and hardly good ones from each other.",
        pictures={"curves.png": Picture("Loss and accuracy by epoch"), "confusion.png": Picture("What is taken for what")}, images="grey"),
    "mlp_torch": Spec(
        "The same with a library",
        "Same first weights, batches and settings as in `more/mlp_numpy.py`; only who computes the derivatives differs. The share of equal "
        "answers on test drawings shows how far rounding carries.", (),
        {**TWINS, ("plain", "same_predictions"): Column("same answers, float32", "{:.3f}", share="tests"),
         ("plain, float64", "same_predictions"): Column("same answers, float64", "{:.3f}", share="tests"), **COST},
        "It proves that two programs compute the same, not that either is a good classifier. Each update starts from what the last one "
        "rounded, so that equal answers cannot be asked of long trainings in float32.",
        pictures={"twins.png": Picture("Both trainings, and the differences of their first gradients")}, images="grey"),
    "embed_numpy": Spec(
        "Drawings and words in one space",
        "One net maps a drawing, another the vector of a category's name, to the unit sphere; a drawing is named by its nearest word "
        "[@frome2013]. $S$ has the cosines of drawings $n$ and words $k$, $v_{k}$ a word's point. The first term pulls a drawing to its "
        "word, the second pushes other words away from it, the third keeps words apart. Gradients are written by hand.",
        (r"L = a\,\frac{1}{B}\sum_{n}(1-S_{n,y_{n}}) - b\,\frac{1}{B}\sum_{n}\ln\mathrm{softmax}(S_{n}/\tau)_{y_{n}} + "
         r"c\;\overline{\max(0, v_{k}\cdot v_{l}-m)^{2}}", ),
        {("test_accuracy",): Column("test accuracy", "{:.3f}", share="tests"), **COST},
        "Nothing in the loss places the point of a word that training has not had where its drawings will lie; vectors of the spelling "
        "know no meaning, and a handful of other words teaches the net little of it.",
        (Sheet("zero_shot", "Share of a category's test drawings named right by a net that was trained without the category; guessing has "
               "one in five", {name: Column(name, "{:.3f}") for name in common.CLASSES}, "vectors of"),),
        {"similarity.png": Picture("Cosines of drawings and words"), "ablation.png": Picture("Terms of the loss left out")}, images="grey"),
    "embed_torch": Spec(
        "The same with a library", "Same weights, vectors and batches as in `more/embed_numpy.py`, derivatives by autograd.", (),
        {("test_accuracy",): Column("test accuracy", "{:.3f}", share="tests"),
         ("runs", "float32", "same_predictions"): Column("same answers, float32", "{:.3f}", share="tests"),
         ("runs", "float64", "same_predictions"): Column("same answers, float64", "{:.3f}", share="tests"), **COST},
        "As for the two perceptrons: it checks the derivatives, and nothing else.", images="grey"),
    "dense_ae": Spec(
        "A dense autoencoder with SELU",
        "Fully connected layers, pixels to a hidden layer to a small code and back, with SELU and LeCun-normal first weights (variance one "
        "over the number of inputs), which keep mean 0 and variance 1 from layer to layer [@klambauer2017].",
        (r"\mathrm{selu}(a) = \lambda a\;\;(a > 0), \qquad \lambda\alpha(e^{a}-1)\;\;(a \leq 0)",
         r"\mathrm{loss} = \overline{-x\ln\hat{x}-(1-x)\ln(1-\hat{x})}, \qquad \hat{x} = \mathrm{sigmoid}(W_{4}h_{3}+b_{4})"),
        {("test_mse",): Column("test MSE", "{:.5f}"), ("pca_mse",): Column("PCA with as many numbers", "{:.5f}"),
         ("mean_image_mse",): Column("the mean image", "{:.5f}"),
         ("pca_components_needed",): Column("numbers PCA needs for as little", "{:,.0f}"), **COST},
        "Each pixel has weights of its own, so that a moved image is another one. Grey pixels are no coin tosses: the loss is no "
        "likelihood, and its least value is not 0.",
        pictures={"curves.png": Picture("Error by epoch", numbers=True),
                  "reconstructions.png": Picture("Test images and their reconstructions")}, images="grey", kind="images"),
    "selu_conv_ae": Spec(
        "A convolutional autoencoder with SELU",
        "Convolutions and pooling, 28 to 14 to 7 to 3, and transposed convolutions back; sizes follow [@dumoulin2016] with kernel $k$, "
        "stride $s$, padding $p$, output padding $o$. One net keeps the last map as its code, one is squeezed to as few numbers as the "
        "dense net's.",
        (r"H' = \left\lfloor\frac{H+2p-k}{s}\right\rfloor + 1, \qquad H' = (H-1)s-2p+k+o",), COST,
        "Pooling a map of odd size drops its last row and column. Kernels of 3 at stride 2 give pixels unequal numbers of contributions. "
        "Pooling lifts the mean, so that SELU's fixed point is not quite kept.",
        (Sheet("table", "Nets and sizes of their code", {
            "numbers": Column("numbers in the code", "{:,.0f}"), "test_mse": Column("test MSE", "{:.5f}"),
            "pca_mse": Column("PCA with as many", "{:.6f}"), "parameters": WEIGHTS}, "net",
            {"dense": "`dense_ae`", "squeezed": "convolutional, squeezed", "convolutional": "convolutional"}),
         Sheet("last_band_over_first", "Error in the last four rows or columns over that in the first four, as shares of what there is to "
               "explain there", {"rows": Column("rows", "{:.2f}"), "columns": Column("columns", "{:.2f}")},
               "net, numbers")),
        {"reconstructions.png": Picture("Test images and their reconstructions"),
         "quality.png": Picture("Error by size of the code, and PCA's")}, images="grey", kind="images"),
    "restore_ae": Spec(
        "A restoring autoencoder",
        "It sees a distorted drawing and is asked for the clean one [@vincent2008]: flips, rotation, brightness, occlusion, noise, alone "
        "and mixed. SSIM as in [@wang2004]. The yardstick is a median filter. Whatever the loss, the best answer is the mean of all "
        "drawings that the distorted one may come from.",
        (r"\mathrm{PSNR} = -10\log_{10}\,\mathrm{mean}(x-\hat{x})^{2}, \qquad \hat{x}^{*} = \mathbb{E}[x|y]",), COST,
        "Where the distortion leaves a choice, the answer is a mean: behind the square, where brightness was clipped, and for a flip "
        "that cannot be seen it is half of each. A distortion that training has not shown need not be undone.",
        (Sheet("table", "Test images distorted in several ways: left alone, through the median filter that is best for them on validation "
               "images (*none*: leaving them alone is best), and restored by the net. PSNR in dB, 60 where nothing is wrong, which is the "
               "most that is counted; SSIM is 1 at most. Gain: the net's PSNR less the filter's, ± standard error over images. From *more "
               "noise* on a distortion is stronger than in training, or not in it", {
                   "nothing_psnr": Column("PSNR, alone", "{:.1f}"), "median_psnr": Column("filtered", "{:.1f}"),
                   "restored_psnr": Column("restored", "{:.1f}"), "nothing_ssim": Column("SSIM, alone", "{:.2f}"),
                   "median_ssim": Column("filtered", "{:.2f}"), "restored_ssim": Column("restored", "{:.2f}"),
                   "filter": Column("filter", None), "gain": Column("gain, dB", "{:.2f}", spread="gain_error", error=True)},
               "distortion"),),
        {"restorations.png": Picture("Distorted, restored, clean", cut=(4, 3))}),
    "beta_vae": Spec(
        "Other weights on the KL",
        "The VAE with $\\beta$ times its KL, trained once for each of several $\\beta$ [@higgins2017]. The mean KL splits into the "
        "information $I$ of codes about images, the total correlation TC, 0 only if latents are independent, and $D$, the latents' own "
        "distances from the prior [@chen2018]. MIG is the gap between the best latent and the next for each of several known factors, as "
        "shares of what there is to know; its floor is that of latents turned at random.",
        (r"R + \beta\,\mathrm{KL}, \qquad \overline{\mathrm{KL}} = I(x;z) + \mathrm{TC} + D",
         r"\mathrm{MIG} = \overline{[I(z_{(1)};v_{k}) - I(z_{(2)};v_{k})]\,/\,H(v_{k})}^{\,k}"),
        {("beta",): Column("$\\beta$ of the samples", "{:g}"), ("fid",): FID, **COST},
        "With a small $\\beta$ samples of the prior fall where no code lies; with a large one few latents are left, and all drawings blur "
        "into one. $I$ cannot exceed the logarithm of the number of images: what the KL has above it is booked as TC. MIG does not see a "
        "factor that nobody named, or that many latents share.",
        (Sheet("rows", "All values of $\\beta$: terms on test drawings in nats, latents with more than 0.01 nats, FID of samples at the "
               "temperature of the settings, and at $T = 1$", {
                   "test_reconstruction": Column("$R$", "{:.1f}"), "test_kl": Column("KL", "{:.1f}"), "test_elbo": Column("ELBO", "{:.1f}"),
                   "active_latents": Column("active latents", "{:.0f}"), "fid": Column("FID", "{:.1f}"),
                   "fid_x_hat": Column("FID, $T = 1$", "{:.1f}")}, "$\\beta$", by="beta"),
         Sheet("rows", "The same runs on test drawings that were moved and painted by known amounts: KL and its parts in nats, estimated "
               "from draws, so that they add up only nearly; the linear part of TC; MIG, and MIG of latents turned at random", {
                   "known_kl": Column("KL", "{:.1f}"), "information": Column("$I$", "{:.1f}"),
                   "total_correlation": Column("TC", "{:.1f}"), "dimension_kl": Column("$D$", "{:.2f}"),
                   "gaussian_tc": Column("linear TC", "{:.2f}"), "mig": Column("MIG", "{:.3f}"),
                   "mig_turned": Column("MIG, turned", "{:.3f}")}, "$\\beta$", by="beta")),
        {"betas.png": Picture("Figures by $\\beta$", numbers=True, cut=(2, 3)), "traversals.png": Picture("One latent at a time")}),
    "cvae_color": Spec(
        "Two kinds of condition",
        "A conditional VAE [@sohn2015] whose condition $c$ is one-hot, or an embedding that is learned; it enters the linear layers, and "
        "every block as gain and bias [@perez2018]. Drawn is the mean $\\hat{x}$, sharpened at temperature $T$ by a pixel's largest "
        "channel $v$, which keeps its hue. Points between and beyond the categories' conditions were never trained.",
        (r"c = y \in \{0,1\}^{K} \quad\mathrm{or}\quad c = W y \in \mathbb{R}^{E}, \qquad h' = h\odot(1+\gamma_{c})+\beta_{c}",
         r"\mathbb{E}_{q(z|x,y)}\left[-\ln p(x|z,c)\right] + \mathrm{KL}(q(z|x,y)\,\|\,p(z)), \qquad "
         r"\mathrm{drawn:}\ \hat{x}\,\mathrm{sigmoid}(\mathrm{logit}(v)/T)\,/\,v"),
        {("fid",): FID, ("accuracy",): ASKED, ("diversity",): WITHIN, **COST},
        "Where the probe reads the category from $z$, a $z$ from the prior may contradict what is asked. The loss does not say what "
        "conditions draw that it never met, and a judge may be sure of what is no drawing.",
        (Sheet("kinds", "Both kinds of condition: terms on test drawings in nats, and what a linear probe reads from $z$ (the share of "
               "categories, $R^{2}$ of the hue)", {
                   "test_reconstruction": Column("$R$", "{:.1f}"), "test_kl": Column("KL", "{:.1f}"), "test_elbo": Column("ELBO", "{:.1f}"),
                   "test_mse": Column("test MSE", "{:.4f}"),
                   "linear_probe_accuracy": Column("category from $z$", "{:.3f}", share="tests"),
                   "linear_probe_hue": Column("hue from $z$", "{:.2f}"), "parameters": WEIGHTS}, "condition",
               {"one_hot": "one-hot", "embedding": "embedding"}),
         Sheet("kinds", "Samples of both kinds, from the prior and from a mixture for each category: FID of as many as there are test "
               "drawings; of all, the share recognised as asked and the diversity within a category (1: real drawings)", {
                   "fid": Column("FID, prior", "{:.1f}"), "accuracy": Column("as asked", "{:.3f}", share="samples"),
                   "diversity": Column("diversity", "{:.2f}"), "mixture_fid": Column("FID, mixture", "{:.1f}"),
                   "mixture_accuracy": Column("as asked", "{:.3f}", share="samples"), "mixture_diversity": Column("diversity", "{:.2f}")},
               "condition", {"one_hot": "one-hot", "embedding": "embedding"})),
        {"samples.png": Picture("Samples, a row a category: of the prior and of the mixtures"),
         "conditions.png": Picture("Conditions between and beyond categories")}),
    "gan": Spec(
        "A generative adversarial network",
        "A generator $G$ draws from noise $z$, a discriminator $D$ tells its drawings from real ones [@goodfellow2014]; with the "
        "non-saturating loss unless the settings say otherwise, and a penalty on the discriminator's gradient [@mescheder2018].",
        (r"V = \mathbb{E}\ln D(x) + \mathbb{E}\ln(1-D(G(z))), \qquad G\ \mathrm{minimises}\ -\mathbb{E}\ln D(G(z))",
         r"D\ \mathrm{maximises}\ V - \frac{\gamma}{2}\,\mathbb{E}\,|\nabla_{x}\,d(x)|^{2}, \qquad D = \mathrm{sigmoid}(d)"),
        {("fid",): FID, ("fid_without_mean",): Column("FID without the mean of weights", "{:.1f}"),
         ("diversity",): Column("diversity (real: 1)", "{:.2f}"), **COST},
        "The losses tell which player is ahead, not how good the drawings are. Nothing asks for variety: a generator that is trained "
        "against a discriminator which stands still may draw ever fewer different things. With few drawings the discriminator tends to "
        "learn them by heart.",
        pictures={"samples.png": Picture("Samples"), "balance.png": Picture("The two players during training", numbers=True)}),
    "cgan": Spec(
        "A conditional GAN", "Generator and discriminator are told the category $y$ [@mirza2014], the latter by projection [@miyato2018]: "
                             "beside a layer $v$ for all it has a vector $w_{y}$ for each category, both on its features $\\phi$.",
        (r"d(x, y) = v\cdot\phi(x) + w_{y}\cdot\phi(x)",), {("fid",): FID, ("accuracy",): ASKED, ("diversity",): WITHIN, **COST},
        "As for the GAN before it. Conditions between two categories were never trained: no loss says what they draw.",
        pictures={"samples.png": Picture("Samples, a row a category"), "conditions.png": Picture("Conditions between categories")}),
    "ddpm": Spec(
        "A diffusion model",
        "A chain of steps turns a drawing into noise, a network $e$ learns which noise $\\epsilon$ is in it, and sampling undoes the chain "
        "[@ho2020]. DDIM goes from step $t$ to a far earlier $s$ [@song2021]: it takes out the noise that the network sees and puts some "
        "back, of which a part $v$ is new, the more the larger $\\eta$. From the step on where $a_{s}$ reaches `fresh`, all of it is new "
        "($v = 1 - a_{s}$), which lets later steps forget the errors of earlier ones. Autoguidance [@karras2024] compares $e$ with $e'$, "
        "the same network after a fifth of its training, which errs alike and more, and goes on in the direction from the worse to the "
        "better; $g = 1$ is no guidance.",
        (r"x_{t} = \sqrt{a_{t}}\,x_{0} + \sqrt{1-a_{t}}\,\epsilon, \qquad \mathrm{loss} = \mathbb{E}\,w_{t}\,|\epsilon-e(x_{t},t)|^{2}/D",
         r"x_{s} = \sqrt{a_{s}}\,\hat{x}_{0} + \sqrt{1-a_{s}-v}\,e + \sqrt{v}\,\epsilon', \qquad "
         r"\hat{x}_{0} = (x_{t}-\sqrt{1-a_{t}}\,e)/\sqrt{a_{t}}",
         r"v = \min\left(1-a_{s},\; \eta^{2}\,\frac{1-a_{s}}{1-a_{t}}\left(1-\frac{a_{t}}{a_{s}}\right)\right)",
         r"e \leftarrow e' + g\,(e - e')"),
        {("fid",): FID, ("test_bits_per_dimension",): Column("bits per dimension, a bound", "{:.2f}"), **COST},
        "Its network was chosen with the FID to test drawings in sight, its way of sampling was not. Sampling takes as many passes through "
        "the network as it has steps, twice as many with guidance. Where the network cannot decide, "
        "samples end between drawings; guidance works against that, and may make blots, which FID does not see.",
        (Sheet("samplers", "Ways to sample: steps, $\\eta$, when all noise is new, guidance $g$; seconds for all, and FID", {
            "steps": Column("steps", "{:.0f}"), "eta": Column("$\\eta$", "{:g}"), "fresh": Column("all noise new", None),
            "g": Column("$g$", "{:g}"), "seconds": Column("seconds", "{:.0f}"), "fid": Column("FID", "{:.1f}")}, parse=sampler),),
        {"samples.png": Picture("Samples", numbers=True), "denoising.png": Picture("From noise to drawings", numbers=True)}),
    "cddpm": Spec(
        "A conditional diffusion model", "The diffusion model, told the category $y$, which is withheld from some of its drawings; "
        "classifier-free guidance [@ho2021] exaggerates by $g$ what $y$ has to say.",
        (r"\tilde{e} = e(x_{t},t,0) + g\,[e(x_{t},t,y)-e(x_{t},t,0)]",),
        {("fid",): FID, ("accuracy",): ASKED, ("diversity",): WITHIN, **COST},
        "Guidance makes drawings that look more like what was asked, and may cost variety, which diversity, a figure of pixels, need not "
        "show. Sums of conditions were never trained, and no figure judges them.",
        (Sheet("guidance", "Guidance: fewer samples of each value of $g$, and FID of as many of them as there are test drawings, or of all "
               "where these are fewer", {"fid": Column("FID", "{:.1f}"), "accuracy": Column("as asked", "{:.3f}"),
                           "diversity": Column("diversity within a category", "{:.2f}")}, "$g$", by="guidance"),),
        {"samples.png": Picture("Samples, a row a category"), "guidance.png": Picture("Figures by guidance")}),
    "inpaint": Spec(
        "Inpainting",
        "A part of a drawing is given ($m = 1$ where it is known, $y$ what is known); the diffusion model draws the rest. Replacement puts "
        "the known part, with the right noise, into each $x_{s}$; resampling [@lugmayr2022] goes back to $t$ after that and takes the step "
        "again, several times; guidance [@chung2023] moves $x_{s}$ against the gradient of the misfit. Nothing is trained.",
        (r"\mathrm{replacement:}\ x_{s} \leftarrow m\odot[\sqrt{a_{s}}\,y+\sqrt{1-a_{s}}\,\epsilon] + (1-m)\odot x_{s}",
         r"\mathrm{resampling:}\ x_{t} = \sqrt{a_{t}/a_{s}}\,x_{s} + \sqrt{1-a_{t}/a_{s}}\,\epsilon, \qquad "
         r"\mathrm{guidance:}\ x_{s} \leftarrow x_{s} - \zeta\,\nabla_{x_{t}}|m\odot(y-\hat{x}_{0}(x_{t}))|"),
        {("seconds",): SECONDS},
        "With replacement the two halves need not agree, and the seam may show it. Guidance's factor is one number in place of one that "
        "depends on the step. FID is of pictures that are in part real. A completion need not be what was there, and a small error would "
        "be no proof of a good one.",
        (Sheet("ways", "Three ways. Seam: differences of neighbouring pixels across it over those of real drawings, 1 is best. Diversity: "
               "of completions of one drawing, over that of real drawings. Recognised: share taken for the drawing's category, ± standard "
               "error over drawings. FID: of all completions. Error: mean squared, to what was there", {
                   "seam": Column("seam (real: 1)", "{:.2f}"), "diversity": Column("diversity", "{:.2f}"),
                   "recognised": Column("recognised", "{:.3f}", share="inputs"), "fid": Column("FID", "{:.1f}"),
                   "squared_error": Column("error", "{:.3f}"), "milliseconds": Column("milliseconds each", "{:.0f}")}, "way"),),
        {"completions.png": Picture("Given parts and their completions")}),
    "text_rnn": Spec(
        "A recurrent classifier of sentences",
        "Words are read one after the other by plain, LSTM [@hochreiter1997] and GRU [@cho2014] cells; what is read off in the end is the "
        "last state, or the mean or the maximum of all, $s$. Through a plain cell a gradient goes back by a product of matrices, through "
        "an LSTM's cell $c$ also by its forget gate $f$ alone.",
        (r"\mathrm{plain:}\ h_{t} = \tanh(W x_{t} + U h_{t-1} + b), \qquad p(\mathrm{positive}) = \mathrm{sigmoid}(w\cdot s + b')",
         r"\mathrm{LSTM:}\ c_{t} = f\odot c_{t-1} + i\odot g, \qquad h_{t} = o\odot\tanh c_{t}, \qquad "
         r"g = \tanh(W_{g}x_{t}+U_{g}h_{t-1}+b_{g})",
         r"i, f, o = \sigma(W x_{t}+U h_{t-1}+b)\ \ \mathrm{with\ weights\ of\ their\ own}"),
        {("test_accuracy",): Column("test accuracy", "{:.3f}", share="tests"), **COST},
        "The sentences are few for so many weights: a net that sees word order need not beat one that counts words. A few seeds of each "
        "variant leave small differences open.",
        (Sheet("variants", "Cells and readings; ± is the standard deviation over {seeds} seeds of each", {
            "val_accuracy": Column("validation accuracy", "{:.3f}"), "test_accuracy": Column("test accuracy", "{:.3f}", spread="spread"),
            "parameters": WEIGHTS, "seconds": SECONDS}, "cell, directions, reading"),),
        {"gradients.png": Picture("How far back the gradient reaches")}, kind="sentences", images="sentences"),
    "text_cnn": Spec(
        "A convolutional classifier of sentences",
        "Filters look for phrases of $k$ words anywhere in a sentence [@kim2014]; the best place counts, $m_{j}$, and a linear layer on "
        "all $m_{j}$ decides.",
        (r"a_{j}(t) = \mathrm{relu}\left(\sum_{i<k} W_{j}[i]\cdot x_{t+i} + b_{j}\right), \qquad m_{j} = \max_{t}\,a_{j}(t)",),
        {("test_accuracy",): Column("test accuracy", "{:.3f}", share="tests"), **COST},
        "The maximum forgets where a phrase stood: words at the far ends of a sentence that belong together are beyond every filter. The "
        "sentences are few for so many weights.",
        (Sheet("variants", "Variants; ± is the standard deviation over {seeds} seeds of each", {
            "val_accuracy": Column("validation accuracy", "{:.3f}"), "test_accuracy": Column("test accuracy", "{:.3f}", spread="spread"),
            "parameters": WEIGHTS, "seconds": SECONDS}, "filters"),
         Sheet("phrases", "Filters with the largest weights, a positive one for positive sentences, and the phrases of training sentences "
               "that please each most", {"width": Column("$k$", "{:.0f}"), "phrases": Column("phrases", None)}, "weight", by="weight",
               form="{:+.2f}")),
        kind="sentences", images="sentences")}
