"""Tables of settings: the value in a run, what it is, and how it was chosen.

What a setting is stands behind it in its Config, unless CHOSEN says it in the report's own terms. How its value was chosen is said here,
as docs/settings.md, the docstrings and the comments have it; where nothing is written, the table says that no search is recorded.
Chapter IV is pointed to for what its tables compare.
"""

import dataclasses
import importlib
import inspect
import re

import common
from report import choices
from report import text as tx
from report.front import said
from report.records import find

HIDDEN = {"resume", "save_every", "sweep", "search", "grey"}  # they change no figure, or the section says it with its data
USELESS = {"epochs": 0, "size": 28, "threshold": 0.0, "glove": ""}  # not shown where they have this value, which says nothing
BASE = {field.name for field in dataclasses.fields(common.Settings)}

NONE = "no search recorded"
USUAL = "no search recorded; a usual value"
TIME = "by time"
EARLY = "tried on seed 0 with test figures in sight, in the project's first version; not searched again"
JUDGES = "as for the judges, where it was compared on validation drawings; no search for this file recorded"
ELBO = "not searched: 1 makes the objective the negative ELBO"
BY_HELD_OUT = "four values compared on held-out drawings; rule: samples are to differ from one another as much as real drawings do"
ENCODER = "that of `conv_vae.py`"
REASONED = "reasoned, not searched"
SHORT = "compared in short runs, by FID to training drawings"
SAMPLERS = "several ways to sample compared by FID to training drawings"
RANDOM = "random search on validation drawings: no clear best value"
VARIANTS = "not searched; see also the table of variants"
ABLATED = "not searched; the ablation leaves it out"
GAN, DDPM = "as in `gan.py`", "as in `ddpm.py`"
SHARP = "$T$ in drawing samples: below 1, each pixel moves towards its likelier value"
LIKELIHOOD = "$p(x|z)$: {equation:bce}, or a Gaussian whose variance is the MSE, or 1"
COOL = "$T$ in drawing samples: below 1, the brightest channel of a pixel moves towards its likelier value"
LAZY = "every so many updates the penalty is added, so many times as strong", NONE
EMA = "share of the mean of the generator's weights that each update keeps; the mean draws", NONE
MEAN = "the weights that draw are a mean over updates: over 1 / (1 - this), or the last tenth if that is fewer", NONE
WEIGHING = "$w_{t}$: what is learned is the velocity's error, or the noise's"

# {file: {setting: how it was chosen, or (what it is, how it was chosen)}}; "*": settings of any file that have no entry of their own
CHOSEN = {
    "*": {
        "epochs": "follows from `steps`",
        "batch_size": USUAL,
        "steps": "not searched",
        "mirror": JUDGES,
        "shift": JUDGES,
        "beta": ELBO,
        "size": "that of the images",
    },
    "classifier": {
        "steps": NONE,
        "weight_decay": ("pull of all weights towards 0, against learning drawings by heart", USUAL),
        "shift": "0, 2 and 3 compared on validation drawings: 2 and 3 differ by no more than two seeds do",
        "mirror": "none and half compared on validation drawings, two seeds",
    },
    "rnn_ae": {
        "latent_dim": ("numbers in a code, $L$", "asked by the course"),
        "cell": ("cell of both recurrent layers", "GRU and LSTM compared in a shorter trial, by the test MSE"),
        "summary": "both tried at the same learning rate: with the last state alone the net stayed at the mean drawing",
        "row_dim": ("numbers that the code reads of each row's state, the length of $V h_{t}$ in {equation:rnn}", NONE),
        "unfold_dim": ("numbers that the decoder's recurrent layer gets for each row, the length of $u_{t}$ in {equation:rnn2}", NONE),
        "steps": EARLY,
        "lr": "a higher one was tried and never left the mean drawing; no other search recorded",
    },
    "conv_ae": {
        "latent_dim": ("numbers in a code, $L$", "asked by the course"),
        "width": TIME,
        "steps": EARLY,
    },
    "rnn_vae": {
        "latent_dim": ("numbers in a code, $L$", ENCODER),
        "width": ENCODER,
        "likelihood": (LIKELIHOOD, ENCODER),
        "temperature": (SHARP, ENCODER),
        "components": ENCODER,
        "steps": ENCODER,
        "batch_size": ENCODER,
        "lr": ENCODER,
        "shift": ENCODER,
        "hidden_dim": "as in `rnn_ae.py`; no search recorded",
        "row_dim": "as in `rnn_ae.py`; no search recorded",
    },
    "conv_vae": {
        "latent_dim": ("numbers in a code, $L$", EARLY),
        "width": TIME,
        "likelihood": (LIKELIHOOD, "the three compared by FID of prior and mixture samples"),
        "temperature": (SHARP, BY_HELD_OUT),
        "components": "first version: tried with test figures in sight; then 10 and 40 compared by FID on held-out drawings",
        "steps": EARLY,
    },
    "cvae": {
        "latent_dim": ("numbers in a code, $L$", "16 and 24 compared on held-out drawings: more cost recognition, fewer likelihood"),
        "width": TIME,
        "condition": ("where $y$ enters: at the linear layers alone, or in every block, too, {equation:film}",
                      "both compared on held-out drawings"),
        "temperature": (SHARP, BY_HELD_OUT),
        "components": "10, 25 and 50 compared on held-out drawings",
        "steps": EARLY,
    },
    "mlp_numpy": {
        "depth": RANDOM,
        "width": RANDOM,
        "batch_size": RANDOM,
        "activation": ("function between the layers", "random search on validation drawings: on average ReLU was right more often"),
        "lr": "random search on validation drawings: large ones fail",
        "momentum": ("share of past gradients that each update keeps", RANDOM),
        "weight_decay": ("pull of weights and biases towards 0", "among what the random search varied; no finding recorded"),
        "dropout": "among what the random search varied; no finding recorded",
        "input_dropout": "cross-validation of the training drawings, four parts",
        "patience": "early stopping and last weights compared on held-out drawings",
    },
    "embed_numpy": {
        "embed_dim": ("numbers in a point of the sphere", NONE),
        "pull": ("$a$, weight of the first term", ABLATED),
        "push": ("$b$, weight of the second term", ABLATED),
        "apart": ("$c$, weight of the third term", ABLATED),
        "tau": ("$\\tau$: cosines end at 1, too little for softmax to be sure", REASONED),
        "margin": ("$m$: 0 asks for no more than right angles between words", REASONED),
        "weight_decay": ("pull of weights towards 0, against their growth, which shortens later steps", NONE),
        "glove": ("file of word vectors", "whose vectors are given, not a choice of value"),
    },
    "dense_ae": {
        "init": ("first weights: LeCun-normal, or PyTorch's default", "both compared by validation MSE after a short training"),
        "lr": "three values compared by validation MSE, in a shorter training",
        "shift": REASONED,
        "mirror": REASONED,
    },
    "selu_conv_ae": {
        "code": "as in `dense_ae.py`, to be compared with it",
        "init": ("first weights: LeCun-normal, or PyTorch's default", "reasoned; the other compared at the first weights alone"),
        "lr": "three values compared by validation MSE, in a shorter training: twice the value was slightly better there",
        "shift": REASONED,
        "mirror": REASONED,
    },
    "restore_ae": {
        "bottleneck": ("channels of the code, at a quarter of the resolution", NONE),
        "width": ("channels of the first layer", NONE),
        "skip": ("the decoder also gets the encoder's larger maps, past the code", NONE),
        "attention": ("each place of a map may take from all of them", NONE),
        "loss": ("squared error, or cross-entropy", NONE),
        "mirror": ("share of drawings mirrored before they are distorted: with half of them no facing could be known", REASONED),
        "shift": ("pixels by up to which training drawings are moved before they are distorted", JUDGES),
        "alone": ("share of training images with one distortion or none", NONE),
    },
    "beta_vae": {
        "betas": "powers of two on both sides of 1, the ELBO",
        "latent_dim": ("numbers in a code", "as in `conv_vae.py`: more than a large beta uses"),
        "width": ("channels of the first layer", NONE),
        "temperature": (COOL, "as in `conv_vae.py`"),
        "shift": REASONED,
    },
    "cvae_color": {
        "latent_dim": ("numbers in a code: those of `cvae.py`, and two for the hue, which is a circle", REASONED),
        "width": ("channels of the first layer", TIME),
        "embed_dim": ("$E$, numbers of an embedding: two are a map of the categories", REASONED),
        "condition": ("one-hot, an embedding, or both", "not a choice: both are trained, one after the other"),
        "temperature": (COOL, "as in `conv_vae.py`"),
        "components": "as in `cvae.py`",
    },
    "gan": {
        "latent_dim": ("numbers in $z$", NONE),
        "width": ("channels of the generator's last and the discriminator's first layer", NONE),
        "loss": ("the generator's", NONE),
        "r1": ("$\\gamma$, weight of the penalty", NONE),
        "r1_every": LAZY,
        "spectral": ("the discriminator's weights divided by their largest singular value, in place of the penalty", NONE),
        "smooth": ("labels of real images are 1 less this", NONE),
        "ema": EMA,
    },
    "cgan": {
        "latent_dim": ("numbers in $z$", GAN),
        "width": ("channels of the generator's last and the discriminator's first layer", GAN),
        "r1": ("$\\gamma$, weight of the penalty", GAN),
        "r1_every": (LAZY[0], GAN),
        "smooth": ("labels of real images are 1 less this", GAN),
        "ema": (EMA[0], GAN),
        "lr": GAN,
        "lr_ratio": GAN,
        "translate": GAN,
        "project": ("weight of $w_{y}\\cdot\\phi(x)$; 0: the discriminator does not know $y$", NONE),
    },
    "ddpm": {
        "width": ("channels of the first layer; half the resolution has twice, a quarter four times as many",
                  "twice as many compared in short runs: a lower FID, for more than twice the time"),
        "schedule": ("how $a_{t}$ falls: along a cosine, or with steps that grow linearly", SHORT),
        "noise_steps": ("$T$, steps of the chain", "not searched; that of Ho et al. [@ho2020]"),
        "weight": (WEIGHING, SHORT),
        "dropout": SHORT,
        "lr": SHORT,
        "batch_size": "half of it compared, in short runs and in a whole one, by FID",
        "shift": SHORT,
        "ema": MEAN,
        "sample_steps": ("steps of sampling", SAMPLERS),
        "eta": ("$\\eta$, how much of the noise is new", SAMPLERS),
        "fresh": ("the $a_{s}$ from which all noise is new; 1: never", SAMPLERS),
        "guidance": ("$g$ of autoguidance; 1: none",
                     "compared by FID to training drawings, by ink, and by the share of samples with blots"),
    },
    "cddpm": {
        "width": ("channels of the first layer; half the resolution has twice, a quarter four times as many", DDPM),
        "schedule": ("how $a_{t}$ falls: along a cosine, or with steps that grow linearly", DDPM),
        "noise_steps": ("$T$, steps of the chain", DDPM),
        "weight": (WEIGHING, DDPM),
        "dropout": DDPM,
        "batch_size": DDPM,
        "lr": DDPM,
        "ema": (MEAN[0], DDPM),
        "shift": DDPM,
        "mirror": DDPM,
        "withhold": ("share of training drawings whose $y$ is withheld", NONE),
        "guidance": ("$g$ of classifier-free guidance", "no search recorded; see also the table of guidance"),
        "sample_steps": ("steps of sampling", DDPM),
        "eta": ("$\\eta$, how much of the noise is new", NONE),
    },
    "inpaint": {
        "mask": "an example, not a choice of value",
        "resample": ("passes at each step of resampling; 1 is replacement", NONE),
        "strength": ("$\\zeta$, length of guidance's step", NONE),
    },
    "text_rnn": {
        "cell": ("plain, LSTM or GRU", VARIANTS),
        "directions": ("of reading: forwards, or backwards, too", VARIANTS),
        "layers": ("recurrent layers", VARIANTS),
        "pool": ("what is read off: the last state, the mean or the maximum", VARIANTS),
        "embedding": ("numbers in a word's vector", NONE),
        "hidden": ("numbers in a state", NONE),
        "dropout": ("share of zeroed numbers, in words' vectors and in $s$", NONE),
        "epochs": NONE,
    },
    "text_cnn": {
        "widths": ("words that a filter sees, $k$", "those of Kim [@kim2014]; see also the table of variants"),
        "filters": ("filters of each width", "that of Kim [@kim2014]; see also the table of variants"),
        "embedding": ("numbers in a word's vector", NONE),
        "epochs": NONE,
        "dropout": "that of Kim [@kim2014]; see also the table of variants",
    },
}

# files of more/ of whose --sweep docs/settings.md has the table
SWEPT = {"gan", "cgan", "restore_ae", "beta_vae", "cvae_color", "cddpm", "inpaint"}

# the tables of chapter IV that compare values of a setting
COMPARED = {("conv_ae", "latent_dim"): "latents_ae", ("conv_vae", "latent_dim"): "latents_vae", ("conv_vae", "likelihood"): "likelihood",
            ("conv_vae", "beta"): "beta", ("conv_vae", "width"): "width", ("conv_vae", "components"): "components"}


def config(name):
    """The Config of a file of the core, or of more/."""
    return importlib.import_module(name if name in common_names() else f"more.{name}").Config


def common_names():
    return {"classifier", "rnn_ae", "conv_ae", "rnn_vae", "conv_vae", "cvae"}


def meanings(Config):
    """{setting: the comment behind it} of all that is not every script's."""
    found = {name: text for cls in Config.__mro__[-2::-1] for name, text in
             re.findall(r"^    (\w+): .*?  # (.*)$", inspect.getsource(cls), flags=re.MULTILINE)}
    return {name: text for name, text in found.items() if name not in BASE | HIDDEN}


def prose(comment):
    """A comment of the code as markup: what stands between backticks is set as code."""
    return re.sub("\ue001([^\ue001]+)\ue001", lambda match: f"`{match[1]}`", tx.literal(comment))


def shown(value):
    """A setting's value as markup."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    value = f"{value:g}" if isinstance(value, float) else "none" if value in ("", [], ()) else str(value)
    value = value.rsplit("/", 1)[-1]  # of a file its name, and of a long name its beginning
    return tx.literal(value if len(value) < 24 else value[:20] + "\u2026")


def how_chosen(name, setting, Config, tables, sweep=""):
    """(what it is, how it was chosen), as markup; tables: the names of those that chapter IV has; sweep: where --sweep's are."""
    own = CHOSEN.get(name, {}).get(setting, "")
    swept = {key for changes in getattr(importlib.import_module(Config.__module__), "SWEEP", {}).values() for key in changes}
    how = own or (NONE if setting in swept else CHOSEN["*"].get(setting, NONE))
    what, how = how if isinstance(how, tuple) else ("", how)
    if setting in swept and (sweep or name in SWEPT):
        how += f"; see also {sweep or '`docs/settings.md`'}"
    elif setting in swept and not own:
        how += "; `--sweep` would compare other values"
    table = COMPARED.get((name, setting))
    if table:
        how += f"; see also {{table:ablation_{table}}}" if table in tables else "; see also `docs/settings.md`, and `make ablations`"
    return what or prose(meanings(Config)[setting]), how


def says_nothing(setting, value, own):
    """Is this a value that tells a reader nothing? epochs: where `steps` says how long the training is."""
    return setting in USELESS and value == USELESS[setting] and (setting != "epochs" or "steps" in own)


def rows(runs, name, folders):
    """[[setting, value, what it is, how it was chosen]] as markup; a value of each folder where they differ."""
    Config, tables, found = config(name), {table for table, content in choices.contents(runs) if choices.columns(content)}, []
    records = {folder: runs.record(folder)["config"] for folder in folders}
    own = {field.name: field.default for field in dataclasses.fields(Config)}
    for setting in meanings(Config):
        values = {folder: given[setting] for folder, given in records.items() if setting in given}
        if not values or all(says_nothing(setting, value, own) for value in values.values()):  # not there: the file has it since that run
            continue
        same = all(value == next(iter(values.values())) for value in values.values())
        text = shown(next(iter(values.values()))) if same else ", ".join(f"{shown(v)} (`{folder}`)" for folder, v in values.items())
        swept = [folder for folder in folders if find(runs.record(folder, "sweep"), "rows")]
        what, how = how_chosen(name, setting, Config, tables, swept and f"{{table:{swept[0]}_sweep}}")
        if same and next(iter(values.values())) != own[setting]:
            how = f"set for this run: the file itself has {shown(own[setting])}"
        found.append([f"`{setting}`", text, what, how])
    return found


def settings(doc, runs, name, folders=()):
    """The table of one file; folders: its runs, where they are not named as the file is."""
    folders = list(folders) or [name]
    found, records = rows(runs, name, folders), [runs.record(folder) for folder in folders]
    said_there = " ".join(f"{what} {how}" for _, _, what, how in found)
    notes = " Figures beside a value come from trials recorded in the file, not from this run."
    notes += " *See also*: short runs with other values." * ("; see also" in said_there)
    notes += " `docs/settings.md` has the tables of the trials on held-out drawings." * ("held-out" in said_there)
    notes += f" Numbers in brackets are those of equations in the docstring of `{name}.py`." * bool(re.search(r"\(\d+\)", said_there))
    if found:
        doc.table(f"settings_{name}", f"Settings of `{name}.py`: what each is, and how its value was chosen.{notes}" + said(*records),
                  ["setting", "value", "what it is", "how it was chosen"], found, "llww", 8.0, breaks=True)
    return bool(found)
