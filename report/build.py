"""OUT/report.pdf: every point of the assignment, written from what the runs have measured.

    python -m report.build --out out --author "First Last" --student-id 1234567 --code-link https://...
    python -m report.build --out out --seeds out_seed1 out_seed2          spreads over three seeds

Reads OUT/*/metrics.json, history.json, sample files and pictures; runs nothing but one drawing through each network (layer tables)
and fifteen samples through the judges. A model that has not been run is not an error: its place says what to run.
"""

import argparse
import sys
from pathlib import Path

import common
from report import autoencoders, choices, conditional, front, more, vaes
from report.layout import Document
from report.records import Runs
from report.references import SOURCES


def sentences(runs):
    """The summary: the comparisons that the assignment asks for."""
    return [next(iter(autoencoders.mse_comments(runs)), None), *list(autoencoders.tell_apart(runs))[:1], *vaes.elbo_comments(runs),
            *vaes.convergence_comments(runs), *list(vaes.quality_comments(runs))[:1], *list(conditional.recognition_comments(runs))[:1],
            *list(conditional.confidence_comments(runs))[:1]]


def document(runs, author="", student_id="", code_link=""):
    """The whole report, not yet on pages. Raises common.InputError."""
    doc = Document(sources=SOURCES, quiet=any(runs.record(name)["quick"] for name in front.STEPS if runs.has(name)))
    front.cover(doc, runs, author, student_id, code_link)
    front.contents(doc)
    front.summary(doc, sentences(runs))
    front.data_and_spread(doc, runs)
    conditional.judges(doc, runs)
    autoencoders.chapter(doc, runs)
    vaes.chapter(doc, runs)
    more.chapter(doc, runs)
    choices.chapter(doc, runs)
    front.limits(doc, runs)
    front.references(doc)
    return doc


def parse(argv=None):
    parser = common.OneLineParser(prog="report", description=__doc__, allow_abbrev=False,
                                  formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="out", help="folder of the runs; report.pdf goes there")
    parser.add_argument("--author", default="", help="for the cover")
    parser.add_argument("--student-id", default="", help="for the cover")
    parser.add_argument("--code-link", default="", help="for the cover: where the code is")
    parser.add_argument("--seeds", nargs="+", default=[], metavar="FOLDER", help="folders of the same runs with other seeds")
    return parser.parse_args(argv)


def main(argv=None):
    given = parse(argv)
    runs = Runs(given.out, given.seeds)
    doc = document(runs, given.author, given.student_id, given.code_link)
    path = Path(given.out) / "report.pdf"
    try:
        doc.write(path, front.TITLE, given.author)
    except OSError as error:
        common.require(False, path, error.strerror, "a file that can be written", "close it, or name another folder by --out")
    print(f"{path}: {len(doc.pages)} pages, {len(doc.captions)} figures and tables, {len(doc.cited)} references")
    return doc


if __name__ == "__main__":
    try:
        main()
    except common.InputError as error:
        sys.exit(print(f"report: error: {error}", file=sys.stderr) or 2)
