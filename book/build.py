"""OUT/book/: the sources as a site to read: prose beside its code, equations set, the pictures of the latest runs, the oral exam.

    python -m book.build --out out          then open out/book/index.html

Plain files: they open from disk, and load nothing from elsewhere. Reads the sources, docs/, and OUT/*/metrics.json with the pictures
beside it; runs nothing. A file that has not been run is not an error: its place says what to run. The book is built in a folder beside
its place and then put there whole; two builds of the same files are the same to the byte.
"""

import argparse
import os
import re
import shutil
import sys
from pathlib import Path

import common
from book import chapter, pages, questions, runs, siblings, source
from book.page import Links, frame, page_of
from docs import quiz

ROOT = Path(__file__).resolve().parent.parent
HERE = Path(__file__).resolve().parent
MARK = "index.html"  # a folder with this file and these words in it is a book, and may be replaced
SIGNED = '<meta name="generator" content="book.build">'


class Book:
    """Everything that the pages are made of. Raises common.InputError."""

    def __init__(self, out, root=ROOT):
        self.out, self.root = Path(out), root
        common.require(self.out.is_dir(), self.out, "a file" if self.out.exists() else "no such folder",
                       "the folder that runs write to", "name it by --out, or run 'make all'")
        paths = [path for folder in ("", "more", "data") for path in sorted((root / folder).glob("*.py"))]
        texts = {path.relative_to(root).as_posix(): self.read(path) for path in paths}
        texts = {path: text for path, text in texts.items() if text.strip()}  # more/__init__.py is empty
        self.files = {path: source.read(path, text) for path, text in texts.items()}
        self.order = [path for _, _, part in pages.reading_order(self.files) for path in part]
        self.documents = {path: self.read(root / path) for path, _ in pages.DOCUMENTS}
        self.exam = self.read(root / "docs" / "exam.md")
        tags = {path: set(re.findall(r"^ {4}\((\d{1,2})\) ", file.docs[""], re.MULTILINE)) for path, file in self.files.items()}
        steps = re.findall(r"^(?:\*\*| {4})(\d+\.\d+)(?:\*\*)? ", self.documents["docs/derivations.md"], re.MULTILINE)
        self.links = Links([*self.order, *self.documents, "docs/exam.md"], tags, steps)
        self.pairs = [pair for pair in siblings.PAIRS if set(pair) <= set(self.files)]
        self.asked = questions.place(quiz.parse(self.exam), self.files)
        found = {path: runs.find(self.out, Path(path).stem) for path, file in self.files.items() if file.runs}
        self.runs = {path: list(some) for path, some in found.items() if some}

    def read(self, path):
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise common.InputError(f"{path}: found {error}, expected a text in UTF-8; restore it from the repository") from None

    def docs_of(self, module):
        """{function: docstring} of a module of the project, as a file names it: common, charts."""
        return next((file.docs for path, file in self.files.items() if Path(path).stem == module), {})

    def siblings_of(self, path):
        """[(page, the other file)] of the pairs that a file is in."""
        return [(siblings.page_name(a, b), b if path == a else a) for a, b in self.pairs if path in (a, b)]

    def write(self, folder):
        """All files of the book, into an empty folder."""
        def put(name, text):
            (folder / name).write_text(text, encoding="utf-8")

        neighbours = [("index.html", "Contents"), *((page_of(path), path) for path in self.order),
                      *((page_of(path), title) for path, title in pages.DOCUMENTS), ("exam.html", "The oral exam")]
        around = {name: (neighbours[i - 1] if i else None, neighbours[i + 1] if i + 1 < len(neighbours) else None)
                  for i, (name, _) in enumerate(neighbours)}

        def page(name, title, body, scripts=()):
            put(name, frame(title, body, name, *around.get(name, (None, None)), scripts))

        page("index.html", "Generative models of drawings", pages.contents(self))
        for path in self.order:
            body = chapter.Chapter(self, self.files[path]).body()
            self.links.places[path] = sorted(int(n) for n in re.findall(r' id="L(\d+)"', body))
            page(page_of(path), f"{path}: {self.files[path].title}", body)
        for path, title in pages.DOCUMENTS:
            page(page_of(path), title, pages.document(self.documents[path], title, self.links, path))
        page("exam.html", "The oral exam", questions.exam_page(self.exam, self.asked, self.links))
        done = []
        for a, b in self.pairs:
            body, table = siblings.pair_page(self.files[a], self.files[b], self.links)
            done.append((a, b, table))
            page(siblings.page_name(a, b), f"{a} and {b}", body)
        page("siblings.html", "Siblings", siblings.hub(done, self.links, self.files))
        page("search.html", "Search", pages.search(), ("search-index.js",))
        put("search-index.js", pages.index(self))
        for name in ("style.css", "book.js", "math.woff", "math-licence.txt"):
            shutil.copyfile(HERE / name, folder / name)
        for some in self.runs.values():
            for run in some:
                for name, picture in run.pictures.items():
                    to = folder / "pictures" / run.name / name
                    to.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(picture.path, to)


def build(out):
    """Write OUT/book/, whole or not at all. Returns its Book. Raises common.InputError."""
    book, place = Book(out), Path(out) / "book"
    if place.exists():
        ours = place.is_dir() and (place / MARK).is_file() and SIGNED in (place / MARK).read_text(encoding="utf-8", errors="replace")
        common.require(ours, place, "something that is no book of ours", "none, or one that this wrote", "move it away")
    fresh, old = place.with_name(".book.tmp"), place.with_name(".book.old")
    try:
        for leftover in (fresh, old):
            shutil.rmtree(leftover, ignore_errors=True)
        fresh.mkdir()
        book.write(fresh)
        if place.exists():
            os.replace(place, old)
        os.replace(fresh, place)
    except OSError as error:
        if old.exists() and not place.exists():
            os.replace(old, place)
        common.require(False, place, error.strerror or str(error), "a folder to write to", "make room, or name another folder by --out")
    finally:
        for leftover in (fresh, old):
            shutil.rmtree(leftover, ignore_errors=True)
    return book


def parse(argv=None):
    parser = common.OneLineParser(prog="book", description=__doc__, allow_abbrev=False,
                                  formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="out", help="folder of the runs; book/ goes there")
    return parser.parse_args(argv)


def main(argv=None):
    given = parse(argv)
    book = build(given.out)
    shown = sum(len(run.pictures) for some in book.runs.values() for run in some)
    print(f"{Path(given.out) / 'book' / MARK}: {len(book.order)} files, {len(book.asked)} questions, {shown} pictures; "
          f"{len(book.runs)} files have a finished run")
    return book


if __name__ == "__main__":
    try:
        main()
    except (common.InputError, quiz.InputError) as error:
        sys.exit(print(f"book: error: {error}", file=sys.stderr) or 2)
    except KeyboardInterrupt:
        sys.exit(print("\ninterrupted: the book is as it was before", file=sys.stderr) or 130)
