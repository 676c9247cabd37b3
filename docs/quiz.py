"""Asks the questions of docs/exam.md in the terminal, at random, and those more often that were not known.

It shows the file, the lines around the one that the question is about, and the question, and waits for Enter; then
both answers. You say whether you knew it. The comment behind the line is an answer, too, and comes with them.

Run:    python -m docs.quiz                  any question, until you type q
        python -m docs.quiz conv_vae         of one file; conv_vae.py and more/gan.py are names, too
        python -m docs.quiz --exam 10        ten different questions, then a score
        python -m docs.quiz --seed 3         the same questions again, as long as the answers are the same
Writes: the file that --memory names, by default .quiz.json: how often in a row each question was known. Like a model's --out, the
        name counts from the current folder, which is the repository's, since python -m finds docs.quiz from there. Delete the file
        to start afresh.

Which question comes next is drawn by weight: 1 for one that is new or was not known the last time; half of that for
every time in a row that it was known, but not less than 1/32, so that nothing is gone for good. The one just asked
does not come again at once. An exam draws by the same weights, without repetition.

Ctrl-C and Ctrl-D end it like q: what was learned is kept, since it is written after every answer. Only the standard
library is used; tests/test_exam.py reads the document by the functions of section 1.
"""

import argparse
import json
import os
import random
import re
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent  # the questions' files are named from here
MEMORY = Path(".quiz.json")
LEAST = 1 / 32  # weight of a question that was known five times in a row, or more


class InputError(Exception):
    """Something that was given cannot be used; main() turns it into one line and exit code 2, as common.run does."""


# ---- 1. The document -------------------------------------------------------------------------------------

class Change(NamedTuple):
    """What a question does to its file: the removed line and the lines in its place, all without the removed one's indentation."""

    name: str
    removed: str
    added: tuple


class Question(NamedTuple):
    file: str  # from the root: conv_ae.py, more/gan.py
    text: str
    quote: str  # stands in exactly one line of the file
    short: str
    deeper: str
    change: Change | None  # one that tests/test_exam.py makes

    def key(self):
        return f"{self.file}: {self.text}"


FORM = re.compile(r"""\n[ ]{4}(?P<quote>\S[^\n]*)\n\n\*\*Short:\*\*\ (?P<short>.+?)\n\n\*\*Deeper:\*\*\ (?P<deeper>.+?)
                      (?:\n\n```diff\ (?P<name>\w+)\n-(?P<removed>[^\n]+)\n(?P<added>(?:\+[^\n]*\n)*)```)?\s*""", re.DOTALL | re.VERBOSE)


def parse(text):
    """[Question] of a document: "## `FILE`", under it "### question", the quoted line, the answers, perhaps a change. Raises InputError."""
    questions = []
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        file, *parts = re.split(r"^### ", section, flags=re.MULTILINE)
        file = file.splitlines()[0].strip("` ")
        for part in parts:
            title, body = part.split("\n", 1)
            fits = FORM.fullmatch(body)
            if not fits or "```" in fits["deeper"] or "**Short:**" in fits["deeper"]:
                raise InputError(f"exam.md: found '{title}' in another form, expected a line of {file} indented by four, **Short:**, "
                                 "**Deeper:** and at most one diff of one removed line; mend it")
            indent = fits["removed"] and re.match(" *", fits["removed"])[0]
            change = fits["name"] and Change(fits["name"], fits["removed"].strip(), tuple(
                line[1:].removeprefix(indent) for line in fits["added"].splitlines()))
            questions.append(Question(file, title.strip(), fits["quote"].rstrip(), fits["short"], fits["deeper"], change))
    return questions


def around(question, lines=2):
    """[(number, text, is it the quoted one)] of the file, two lines above and below. Raises InputError if the quote is not there once."""
    try:
        source = (ROOT / question.file).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(f"{question.file}: found {error.strerror}, expected the file that exam.md asks about; mend the heading") from None
    at = [i for i, line in enumerate(source) if question.quote in line]
    if len(at) != 1:
        raise InputError(f"{question.file}: found '{question.quote}' in {len(at)} lines, expected one; mend the quotation in exam.md")
    first = max(0, at[0] - lines)
    return [(i + 1, source[i], i == at[0]) for i in range(first, min(len(source), at[0] + lines + 1))]


# ---- 2. What is known ------------------------------------------------------------------------------------

def recall(path):
    """{question: times in a row that it was known}; {} if nothing was asked yet. Raises InputError: a broken file is not replaced."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        problem = "" if isinstance(known, dict) and all(type(n) is int and n >= 0 for n in known.values()) else "something else"
    except FileNotFoundError:
        return {}
    except OSError as error:
        problem = error.strerror
    except ValueError:
        problem = "no JSON"
    if problem:
        raise InputError(f"{path}: found {problem}, expected {{question: times known in a row}}; delete it to start afresh")
    return known


def remember(path, known):
    """Written under another name and renamed: nobody ever meets half of it. Raises InputError."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        temporary.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"{path}: found {error.strerror}, expected a place to write to; name another by --memory") from None


def weight(known, question):
    return max(LEAST, 0.5 ** known.get(question.key(), 0))


def draw(rng, questions, known, without=()):
    """A question by weight, none of those without, unless there is no other."""
    left = [q for q in questions if q not in without] or questions
    return rng.choices(left, [weight(known, q) for q in left])[0]


# ---- 3. The conversation ---------------------------------------------------------------------------------

def ask(question):
    """Show, wait, show the answer; True, False, or None for "enough"."""
    print(f"\n{'-' * 100}\n{question.file}\n")
    hidden = ""
    for number, line, quoted in around(question):
        code, _, comment = line.partition("  # ")
        if quoted and code.strip():
            line, hidden = code, comment
        print(f"{'>' if quoted else ' '} {number:4d}  {line}")
    print(f"\n{question.text}\n")
    input("Enter shows the answer ")
    print(f"\n# {hidden}" if hidden else "")
    print(f"\n{question.short}\n\n{question.deeper}\n")
    if question.change:
        print("\n".join(["tests/test_exam.py makes this change and sees it:", f"- {question.change.removed}",
                         *(f"+ {line}" for line in question.change.added), ""]))
    while (answer := input("known? [y/n/q] ").strip().lower()) not in ("y", "n", "q"):
        print("y for yes, n for no, q to stop")
    return {"y": True, "n": False, "q": None}[answer]


def quiz(questions, known, exam, rng, path=MEMORY):
    """Ask until enough, or exam questions; prints the score. Raises InputError."""
    asked, right = [], 0
    try:
        while not exam or len(asked) < exam:
            question = draw(rng, questions, known, asked if exam else asked[-1:])
            answer = ask(question)
            if answer is None:
                break
            asked.append(question)
            right += answer
            known[question.key()] = known.get(question.key(), 0) + 1 if answer else 0
            remember(path, known)
    except (KeyboardInterrupt, EOFError):
        print()
    print(f"\n{right} of {len(asked)} known" + (f"; {exam - len(asked)} of the exam's {exam} not asked" if len(asked) < exam else ""))


# ---- 4. Main ---------------------------------------------------------------------------------------------

class OneLineParser(argparse.ArgumentParser):
    def error(self, message):
        raise InputError(f"{message}; --help lists the flags")


def main(argv=None):
    parser = OneLineParser(prog="python -m docs.quiz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                           allow_abbrev=False)
    parser.add_argument("file", nargs="?", metavar="FILE", help="ask about this file only; default: all")
    parser.add_argument("--exam", type=int, metavar="N", help="N different questions, then a score; default: until q")
    parser.add_argument("--seed", type=int, metavar="S", help="the same questions again; default: another one each time")
    parser.add_argument("--memory", type=Path, default=MEMORY, metavar="FILE", help=f"what was known; default: {MEMORY}")
    given = parser.parse_args(argv)
    questions = parse(Path(__file__).with_name("exam.md").read_text(encoding="utf-8"))
    files = list(dict.fromkeys(q.file for q in questions))
    if given.file is not None:
        name = given.file.removesuffix(".py") + ".py"
        if name not in files:
            raise InputError(f"FILE: found {given.file!r}, expected one of {' '.join(files)}; name one of these")
        questions = [q for q in questions if q.file == name]
    if given.exam is not None and not 1 <= given.exam <= len(questions):
        raise InputError(f"--exam: found {given.exam}, expected 1 to {len(questions)}, the number of questions; name one of these")
    quiz(questions, recall(given.memory), given.exam or 0, random.Random(given.seed), given.memory)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(print(f"quiz: error: {error}", file=sys.stderr) or 2)
    except KeyboardInterrupt:
        sys.exit(print(file=sys.stderr) or 130)
