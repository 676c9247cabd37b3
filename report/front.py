"""Cover, contents, data, judges; and what stands at the end: limits and references."""

import importlib.metadata
import platform
from pathlib import Path

import common
from report import records, specs
from report import text as tx
from report.pages import MARGIN, PAGE_W, ROOM, SIZE, Lines

STEPS = ("classifier", "rnn_ae", "conv_ae", "rnn_vae", "conv_vae", "cvae", "metrics")
TITLE = "Generative models of drawings"
SUBTITLE = "Autoencoders and variational autoencoders, recurrent and convolutional"
PLACEHOLDERS = {"author": "not given: make report AUTHOR=\"First Last\"", "student_id": "not given: make report STUDENT_ID=...",
                "code_link": "not given: make report CODE_LINK=https://..."}


def processor():
    """The name of this machine's processor; of no use but to say where times come from."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def missing(doc, *names):
    """Says what to run; returns whether something is missing."""
    for name in names:
        doc.text(f"There is no finished run of `{name}.py` in this OUT, so nothing is said about it. `make {name}` makes one; `make "
                 "report` then fills this place.")
    return bool(names)


def cover(doc, runs, author, student_id, code_link):
    done = [name for name in STEPS if runs.has(name)]
    first = runs.record(done[0]) if done else runs.record(sorted(p.parent.name for p in runs.out.glob("*/metrics.json"))[0])
    given = {"author": author, "student_id": student_id, "code_link": code_link}
    people = {key: tx.literal(value or PLACEHOLDERS[key]) for key, value in given.items()}
    for markup, size, above in ((f"**{TITLE}**", 24, 90), (SUBTITLE, 13, 10)):
        words = " ".join(f"**{w}**" for w in TITLE.split()) if size == 24 else markup
        doc.block(lambda words=words, size=size, above=above: Lines(tx.lines(words, size, ROOM, justify=False), size, size * 1.3, above))
    for i, (label, key) in enumerate((("Author", "author"), ("Student number", "student_id"), ("Code", "code_link"))):
        doc.text(f"**{label}:** {people[key]}", size=11.5, leading=16, above=44 if i == 0 else 2)
    facts = [["data", "; ".join(dict.fromkeys(about_data(runs.record(name)) for name in done)) or about_data(first)],
             ["seed", ", ".join(dict.fromkeys(str(runs.record(name)["seed"]) for name in done)) or str(first["seed"])],
             ["other seeds", other_seeds(runs, done)],
             ["libraries of the runs", "; ".join(dict.fromkeys(versions(runs.record(name)) for name in done)) or versions(first)],
             ["libraries of this report", ", ".join(f"{name} {importlib.metadata.version(name)}" for name in (
                 "matplotlib", "torch", "numpy", "scikit-learn", "scipy"))],
             ["device of the runs", ("; ".join(dict.fromkeys(device(runs.record(name)) for name in done)) or device(first))
              + devices_of_others(runs, done)],
             ["processor", tx.literal(processor()) + " (of the machine that made this report)"]]
    doc.block(lambda: Lines([[]], above=30))
    doc.table("facts", "What this report was made from." + said(*(runs.record(name) for name in done or [])), ["", ""],
              [[f"**{a}**" if " " not in a else " ".join(f"**{w}**" for w in a.split()), b] for a, b in facts], "lw")
    rows = [[f"`{name}.py`", f"{runs.record(name)['seconds']:,.0f}" if runs.has(name) else f"not run: `make {name}`"] for name in STEPS]
    total = sum(runs.record(name)["seconds"] for name in done)
    doc.table("times", "Time of each step in seconds: training, and for `metrics.py` scoring." + said(*(runs.record(n) for n in done)),
              ["step", "seconds"], [*rows, ["all of these", f"{total:,.0f}"]], "lr")


def about_data(record):
    note = record["data"].get("note", "")
    text = tx.literal(common.describe(record["data"]) + (f" ({note})" if note else ""))
    return f"**Stand-in, no real data.** {text}" if records.stand_in(record) else text


def said(*given):
    """The caption's notice, with the space before it."""
    notice = records.notice(*given)
    return f" {notice}" if notice else ""


def versions(record):
    return ", ".join(f"{name} {version}" for name, version in record["versions"].items() if version)


def device(record):
    threads = record.get("threads")
    return f"{record.get('device')}" + (f", {threads} thread" + "s" * (threads > 1) if threads else "") + (
        ", bfloat16" if record.get("bfloat16") else ", float32")


def other_seeds(runs, done):
    seeds = [sorted({runs.load(f, n, "metrics")["seed"] for n in done if runs.load(f, n, "metrics")}) for f in runs.folders[1:]]
    return ", ".join(str(s) for group in seeds for s in group) or "none given (`--seeds`): spreads over seeds are not known here"


def devices_of_others(runs, done):
    """Where other seeds ran, if elsewhere: their seconds are then compared with nothing."""
    own = {device(runs.record(name)) for name in done}
    found = {device(record) for folder in runs.folders[1:] for record in (runs.load(folder, n, "metrics") for n in done) if record}
    return "; other seeds: " + "; ".join(sorted(found - own)) if found - own else ""


class Contents:
    """The table of contents: its height is known before its page numbers are."""

    floats = with_next = False
    entry, above, leading = -1, 8.0, 15.0

    def __init__(self, doc):
        self.doc = doc

    def height(self):
        return self.leading * len(self.doc.entries)

    least = height

    def draw(self, page, y):
        for level, number, title, at in self.doc.entries:
            y += self.leading
            words = " ".join(f"**{w}**" if level == 1 else w for w in f"{number} {title}".split())
            line = tx.lines(words, SIZE, ROOM, justify=False)[0]
            x = MARGIN + (0 if level == 1 else 14)
            page.line(line, x, y, SIZE)
            number_line = [(0.0, "roman", str(at))]
            end = PAGE_W - MARGIN - tx.line_width(number_line, SIZE)
            page.line(number_line, end, y, SIZE)
            dots = [(0.0, "roman", ".")]
            at_x, step = x + tx.line_width(line, SIZE) + 8, 6.0
            start = MARGIN + step * -(-(at_x - MARGIN) // step)
            page.line([(k * step, *dots[0][1:]) for k in range(max(0, int((end - 6 - start) / step)))], start, y, SIZE, "0.5", "dots")


def contents(doc):
    doc.block(lambda: ("page",))
    doc.heading("", "Contents", 2, toc=False)
    doc.block(lambda: Contents(doc))


def summary(doc, sentences):
    doc.heading("", "In brief", 2)
    doc.text("Each sentence is written from this run's figures and is repeated, with its table, in the chapter that it comes from.")
    doc.points(sentences)
    if not any(sentences):
        doc.text("No two models that could be compared have finished.")


def moved(runs):
    """What training drawings are changed by, as the runs that are there were told."""
    shifts = sorted({config["shift"] for config in (runs.record(name)["config"] for name in STEPS if runs.has(name)) if "shift" in config})
    how = {0: "are not moved", 1: f"are moved by up to {max(shifts, default=0)} pixels"}[max(shifts, default=0) > 0]
    apart = " (the tables of settings say which model's by how many)" * (len(shifts) > 1)
    return f"Training drawings {how}{apart}, and a share of them (`mirror`; 0.5 where no table has it) is mirrored, anew in each epoch."


def data_and_spread(doc, runs):
    doc.heading("", "Data, and how differences are judged", 1)
    record = next(runs.record(name) for name in (*STEPS, *sorted(p.parent.name for p in runs.out.glob("*/metrics.json"))) if runs.has(name))
    drawings = record["data"]["drawings"]
    origin = ("The drawings are **stand-ins** made of random strokes. The report shows that every step works; no figure in it says "
              "anything about real drawings; *real* below means as opposed to samples." if records.stand_in(record) else
              "The drawings are of five categories of Quick, Draw! [@quickdraw]: " + ", ".join(common.CLASSES) + ".")
    doc.text(f"{origin} In chapters I and II each has 28×28 grey pixels $x \\in [0, 1]^D$, $D = 784$, and 1 is ink. "
             f"{drawings.get('train', 0):,} drawings train the models, {drawings.get('validation', 0):,} validate them, and "
             f"{drawings.get('test', 0):,} are kept for the figures. {moved(runs)}"
             + " Chapter III has other data, too; each of its sections begins with them." * any(runs.has(name) for name in specs.SPECS))
    seeds = len(runs.folders)
    how = (f"Here {seeds} seeds were run, so that a ± is the standard deviation over {seeds} seeds wherever each of them has the figure; "
           "each seed trains its own judge, too. Pictures are those of the first seed. All seeds have the same test drawings: to the "
           "$r$ of a share twice its standard error $(p (1 - p) / N)^{1/2}$ is added, as squares are. Where one seed alone has the figure, "
           "a ± is, of samples, the standard deviation over subsets, and of a share of $N$ drawings one standard error."
           if seeds > 1 else
           "Here one seed was run. A ± is then what the run itself offers: of samples, the standard deviation over subsets (or a "
           "bootstrap [@efron1979]); of a share of $N$ drawings, the standard error $(p (1 - p) / N)^{1/2}$. All leave out how much "
           "another seed would change. An error or an ELBO has no such spread, and a difference in it is stated but is no verdict.")
    doc.text("**Spread.** A difference between two figures is called a tie if it is no larger than $(r_a^2 + r_b^2)^{1/2}$, as if chance "
             "moved the two independently. Of a figure that is a mean over seeds, or over subsets of samples, $r$ is the standard "
             "deviation among these. Of a share of drawings, or a figure of one set whose spread is a bootstrap's, it is twice the "
             f"standard error: one alone would tell apart about one in three pairs that are equal in truth, two about one in twenty. {how}")


def limits(doc, runs):
    doc.heading("", "Limits", 1, page=False)
    doc.points([
        "Distances between sample sets are measured on the features of a classifier trained here. They compare within this report, and "
        "with no paper's figures.",
        "Except for shares of drawings, the spreads leave out the choice of test drawings; over subsets of samples they leave out the "
        "training, too.",
        "Settings were in part chosen with test figures of seed 0 in sight, in the project's first version: the tables of settings say "
        "which, and which were compared on held-out or validation drawings. Figures of seed 0 are slightly flattered for that.",
        "A likelihood that treats pixels one by one draws the mean of what a code allows, and a mean of lines is soft.",
        "Grey pixels make the Bernoulli cross-entropy a bound for binarised drawings, not for the grey ones [@loaiza2019].",
        "The recurrent and the convolutional nets differ in their numbers of weights: these two nets are compared, not the two kinds."
        if runs.has("rnn_ae") or runs.has("rnn_vae") else ""], compared=False)


def references(doc):
    """Those that were cited, numbered by their first use: made last, when all other text has been resolved."""
    doc.heading("", "References", 1, page=False)
    doc.block(lambda: [Lines(tx.lines(tx.literal(doc.sources[key]), 9.5, ROOM - 24), 9.5, 12.6, 4, 24,
                             mark=[(-9.0, "roman", f"[{n}]")]) for n, key in enumerate(doc.cited, 1)])
