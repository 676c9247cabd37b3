"""The book: every line of the sources in it once, links that lead somewhere, and its pages in a real browser."""

import base64
import filecmp
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import time
import zlib
from functools import cache
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from conftest import ROOT, run
from fontTools.ttLib import TTFont
from selenium import webdriver

import common
from book import build, chapter, font, pages, runs, siblings, source
from book.page import Links, page_of
from docs import quiz

CHROMIUM, DRIVER = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
VOID = {"meta", "link", "input", "img", "br", "hr", "wbr"}
DATA = {"source": "course", "note": "", "drawings": {"train": 2880, "validation": 320, "test": 800}}
DOODLES = DATA | {"source": "doodles"}
RECORD = {"test_mse": 0.0303, "test_elbo": -201.3, "parameters": 1000, "seconds": 164.2, "device": "cpu", "seed": 0, "quick": False,
          "data": DATA}


# ---- a made-up OUT, and the book of it ----

def png(width, height):
    """A white picture."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\x00" + b"\xff" * width) * height
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)) + chunk(
        b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def put(out, name, pictures, **changes):
    folder = out / name
    folder.mkdir(parents=True)
    for i, picture in enumerate(pictures):
        (folder / f"{picture}.png").write_bytes(png(960 + i, 300))
    (folder / "metrics.json").write_text(json.dumps(RECORD | changes))


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    put(out, "conv_vae", ("samples", "latent", "curves", "reconstructions", "unheard_of"))
    put(out, "rnn_ae", ("curves", "tsne"), data=DOODLES)
    put(out, "cvae", ("asked", "confidence", "curves"), quick=True)
    for name in ("ddpm", "ddpm_grey"):
        put(out, name, ("curves", "samples", "denoising"))
    (out / "gan").mkdir()
    (out / "gan" / "samples.png").write_bytes(png(9, 9))  # no metrics.json: the run did not come to its end
    return out


@pytest.fixture(scope="module")
def made(out):
    """(Book, its folder)."""
    return build.main(["--out", str(out)]), out / "book"


# ---- pages as trees ----

class Node:
    def __init__(self, tag, attrs, parent=None):
        self.tag, self.attrs, self.parent, self.children = tag, dict(attrs), parent, []

    @property
    def classes(self):
        return (self.attrs.get("class") or "").split()

    def walk(self):
        yield self
        for child in self.children:
            if isinstance(child, Node):
                yield from child.walk()

    def all(self, *tags, having=""):
        return [n for n in self.walk() if (not tags or n.tag in tags) and (not having or having in n.classes or having in n.attrs)]

    def text(self, without=()):
        """What is written here; a formula's is its alttext."""
        if self.tag == "math":
            return self.attrs["alttext"]
        return "".join(c if isinstance(c, str) else "" if set(without) & {c.tag, *c.classes} else c.text(without) for c in self.children)

    def above(self, name):
        """The nearest element around it with this class."""
        node = self
        while node and name not in node.classes:
            node = node.parent
        return node


class Tree(HTMLParser):
    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.root = self.here = Node("", {})
        self.feed(text)
        self.close()
        assert self.here is self.root, f"<{self.here.tag}> is not closed"

    def handle_starttag(self, tag, attrs):
        node = Node(tag, attrs, self.here)
        self.here.children.append(node)
        self.here = self.here if tag in VOID else node

    def handle_startendtag(self, tag, attrs):
        self.here.children.append(Node(tag, attrs, self.here))

    def handle_endtag(self, tag):
        assert tag == self.here.tag, f"</{tag}> closes <{self.here.tag}>"
        self.here = self.here.parent

    def handle_data(self, data):
        self.here.children.append(data)


@cache
def tree(path):
    return Tree(path.read_text(encoding="utf-8")).root


def names(folder):
    return sorted(path.name for path in folder.glob("*.html"))


def bare(text):
    """Without blanks, and without the signs that only divide: what is left of a text however it is set."""
    return re.sub(r"[\s`,;:]", "", text)


# ---- every line once ----

def test_every_file_has_its_page(made):
    book, folder = made
    wanted = [p.relative_to(ROOT).as_posix() for p in [*ROOT.glob("*.py"), *ROOT.glob("more/*.py"), ROOT / "data" / "quickdraw.py"]
              if p.read_text().strip()]
    assert sorted(book.order) == sorted(wanted) and "more/__init__.py" not in book.order  # which is empty
    assert " ".join(book.order[:8]).replace(".py", "") == "common classifier rnn_ae conv_ae rnn_vae conv_vae cvae metrics"
    others = {"index.html", "derivations.html", "settings.html", "exam.html", "siblings.html", "search.html"}
    assert {page_of(p) for p in wanted} | others <= set(names(folder))
    linked = [a.attrs["href"] for a in tree(folder / "index.html").all("a") if a.all("span", having="count")]
    assert linked == [page_of(path) for path in book.order]


def test_every_line_of_every_source_stands_there_once(made):
    """Code to the character, prose to the word; a line is in one place, and the places together are the file."""
    book, folder = made
    for path, file in book.files.items():
        chapter, seen = tree(folder / page_of(path)).all("article", having="chapter")[0], []
        assert file.text == (ROOT / path).read_text(encoding="utf-8") and chapter.attrs["data-file"] == path
        for line in chapter.all(having="data-line"):
            n = int(line.attrs["data-line"])
            seen.append(n)
            assert line.all("code")[0].text() == file.lines[n - 1], f"{path}:{n}"
        for part in chapter.all(having="data-lines"):
            first, last = map(int, part.attrs["data-lines"].split("-"))
            seen += range(first, last + 1)
            lines = file.lines[first - 1:last]
            said = part.text(without=("uses", "ask", "hidden"))
            if part.tag == "h2":
                written = re.sub(r"^# -+|-+$", "", lines[0])
            elif lines[0].lstrip().startswith("#"):
                written = "".join(line.strip().removeprefix("#") for line in lines)
            else:
                written = "".join(lines).replace('"""', "")
            assert bare(said) == bare(written), f"{path}:{first}"
        assert sorted(seen) == list(range(1, len(file.lines) + 1)), path


SMALL = '''"""A title.

Words about (1).

    (1)  y = f(x)
"""

import os  # not "# a comment"

# about a
@decorated
def a(x):
    """Doc of a."""
    text = """
# no comment
"""
    # why
    return x  # (1)


class B:
    """Doc of B."""

    def c(self):
        """Doc of c."""

        def inner():
            """Doc of inner."""
            return 1
        return inner


# ---- 2. Main ----

def main():
    draw("one.png")
    if os:
        draw(f"{2}.png", "two.png", key={"x": f"a title of {2}"})
'''


def test_rows_of_a_small_file():
    file = source.read("small.py", SMALL)
    assert file.title == "A title." and file.intro.first == 2 and [s.title for s in file.sections] == ["", "Main"]
    rows = [(row.name, row.level, [p.text for p in row.prose]) for section in file.sections for row in section.rows]
    assert rows == [("", 0, []), ("a", 3, ["about a", "Doc of a."]), ("", 0, ["why"]), ("B", 3, ["Doc of B."]), ("B.c", 4, ["Doc of c."]),
                    ("B.c.inner", 4, ["Doc of inner."]), ("main", 3, []), ("", 0, [])]
    assert sorted(n for n, _ in source.places(file)) == list(range(1, len(file.lines) + 1))
    calls = [(c.picture, c.line, c.called, c.inside) for c in file.calls]
    assert [c.titles for c in file.calls] == [[], ["a title of ..."]]
    assert calls == [("one.png", 36, "draw", "main"), ("two.png", 38, "draw", "main")]


# ---- links ----

def test_links_and_files_lead_somewhere(made):
    _, folder = made
    ids = {name: [n.attrs["id"] for n in tree(folder / name).all(having="id")] for name in names(folder)}
    for name in names(folder):
        assert len(ids[name]) == len(set(ids[name])), f"{name}: one id, two places"
        for node in tree(folder / name).walk():
            for key in ("href", "src", "action"):
                to = node.attrs.get(key)
                if to is None or to == "data:,":
                    continue
                page, _, anchor = to.partition("#")
                assert not re.match(r"\w+:|//", to), f"{name}: {to} is not in the folder"
                assert not page or (folder / page).is_file(), f"{name}: {to}"
                assert not anchor or anchor in ids[page or name], f"{name}: {to}"
    text = "".join((folder / name).read_text() for name in ("style.css", "book.js"))
    assert not re.search(r"https?://|@import|fetch\(", text)
    assert re.findall(r"url\((.*?)\)", text) == ["math.woff"] and (folder / "math.woff").is_file()


def test_the_font_of_the_formulas_has_all_their_signs_and_its_licence(made):
    """Upright, or in italics where a letter stands alone; a sign that it lacks would come from any font of the reader's."""
    _, folder = made
    cut, used = TTFont(folder / "math.woff"), set()
    for name in names(folder):
        for formula in tree(folder / name).all("math"):
            for node in formula.all("mi", "mn", "mo", "mtext"):
                text = "".join(node.children)
                used |= {font.italic(text)} if node.tag == "mi" and len(text) == 1 and "mathvariant" not in node.attrs else set(text)
    assert len(used) > 100 and used - set(map(chr, cut.getBestCmap())) == set()
    table = cut["MATH"].table.MathConstants  # what DejaVu Serif has 0 for
    assert table.SubscriptShiftDown.Value > 0.2 * cut["head"].unitsPerEm < 4 * table.SuperscriptShiftUp.Value
    assert font.characters() <= set(map(chr, cut.getBestCmap())) and (folder / "math.woff").stat().st_size < 60_000
    licence = (folder / "math-licence.txt").read_text()
    assert all(str(cut["name"].getDebugName(n)) == font.NAME for n in (1, 4)) and font.NAME in licence
    assert "Permission is hereby granted" in licence and cut["name"].getDebugName(0).split(" DejaVu")[0] in licence


def test_the_font_is_cut_from_a_whole_one_again_and_again(made, tmp_path):
    for name in ("a", "b"):
        font.cut(ROOT / "book" / "math.woff", tmp_path / name)  # is its own source, too: nothing more is lost
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert TTFont(tmp_path / "a").getBestCmap() == TTFont(made[1] / "math.woff").getBestCmap()


def test_equations_lead_to_their_lines_and_back(made):
    _, folder = made
    page = tree(folder / "conv_vae.html")
    line = next(n for n in page.all(having="data-line") if "r = reconstruction(" in n.text())
    number = line.attrs["data-line"]
    assert [a.attrs["href"] for a in line.all("a", having="eq")] == ["conv_vae.html#eq-5"]
    home = next(n for n in page.all(having="id") if n.attrs["id"] == "eq-5").above("equation")
    assert f"#L{number}" in [a.attrs["href"] for a in home.all("a")] and home.all("math")
    for path, tags in made[0].links.tags.items():  # all that are numbered, (10), which has less room behind it, too
        ids = {n.attrs["id"] for n in tree(folder / page_of(path)).all(having="id")}
        assert {f"eq-{tag}" for tag in tags} == {name for name in ids if re.fullmatch(r"eq-\d+", name)}, path


def test_links_that_the_text_suggests():
    links = Links(["a.py", "more/b.py", "docs/derivations.md"], {"a.py": {"1"}, "more/b.py": {"7"}}, ["1.10"])
    assert links.text("see b.py, more/b.py, c.py; a.py", "a.py") == (
        'see <a href="more_b.html">b.py</a>, <a href="more_b.html">more/b.py</a>, c.py; a.py')
    assert links.text("(1), (2), (7) of b.py", "a.py") == (
        '<a class="eq" href="a.html#eq-1">(1)</a>, (2), <a class="eq" href="more_b.html#eq-7">(7)</a> of <a href="more_b.html">b.py</a>')
    assert 'href="derivations.html#step-1.10">derivations.md, 1.10</a>' in links.text("derivations.md, 1.10", "a.py")
    assert links.html('<a href="x">a.py</a> <math alttext="(1)"><mo>(1)</mo></math>', "more/b.py") == (
        '<a href="x">a.py</a> <math alttext="(1)"><mo>(1)</mo></math>')


# ---- for everybody ----

def test_headings_landmarks_and_alternative_texts(made):
    _, folder = made
    for name in names(folder):
        page = tree(folder / name)
        assert [n.attrs.get("lang") for n in page.all("html")] == ["en"] and len(page.all("main")) == len(page.all("h1")) == 1
        levels = [int(n.tag[1]) for n in page.all("h1", "h2", "h3", "h4")]
        assert levels[0] == 1 and all(b <= a + 1 for a, b in pairwise(levels)), f"{name}: {levels}"
        assert all(n.text().strip() or n.all("img") for n in page.all("h1", "h2", "h3", "h4", "a", "summary", "title")), name
        assert all(len(n.attrs["alt"]) > 10 for n in page.all("img")) and all(int(n.attrs["width"]) > 0 for n in page.all("img"))
        assert all(n.attrs.get("aria-label") for n in page.all("nav")) and page.all("header", having="top")
        labels = {n.attrs["for"] for n in page.all("label")}
        assert all(n.attrs.get("aria-label") or n.attrs.get("id") in labels for n in page.all("input")), name
        first = page.all("body")[0].all("a")[0]
        assert "skip" in first.classes and first.attrs["href"] == "#text" and page.all("main")[0].attrs["id"] == "text"
        assert not [n for n in page.all("math") if not n.attrs.get("alttext")]


def test_before_and_after_follow_the_reading_order(made):
    book, folder = made
    at = "index.html"
    for path in book.order:
        at = next(a.attrs["href"] for a in tree(folder / at).all("a") if a.attrs.get("rel") == "next")
        assert at == page_of(path)
    back = [a.attrs["href"] for a in tree(folder / at).all("a") if a.attrs.get("rel") == "prev"]
    assert back == [page_of(book.order[-2])]


def colours():
    """{name: (light, dark)} of the style sheet, each a triple."""
    found = re.findall(r"--([\w-]+): light-dark\(#(\w{6}), #(\w{6})\);", (ROOT / "book" / "style.css").read_text())
    return {name: tuple(tuple(int(value[i:i + 2], 16) for i in (0, 2, 4)) for value in pair) for name, *pair in found}


def contrast(a, b):
    """WCAG 2's ratio of two colours."""
    def luminance(colour):
        parts = [c / 255 / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_contrast_of_the_style_sheet():
    assert contrast((255, 255, 255), (0, 0, 0)) == 21
    known = colours()
    text, grounds = ("ink", "soft", "link", "comment", "string", "number", "keyword"), ("paper", "panel", "raised", "here")
    assert {*text, *grounds, "mark", "gone", "new"} <= set(known)
    pairs = [(a, b) for a in text for b in grounds] + [
        (a, b) for a in ("ink", "soft") for b in ("gone", "new")] + [("ink", b) for b in ("mark", "gone-word", "new-word")]
    pairs.append(("paper", "link"))
    assert {(a, b, i): round(contrast(known[a][i], known[b][i]), 2) for a, b in pairs for i in (0, 1)
            if contrast(known[a][i], known[b][i]) < 4.5} == {}


# ---- questions ----

def test_every_question_stands_at_its_line_and_in_the_guide(made):
    book, folder = made
    questions = quiz.parse((ROOT / "docs" / "exam.md").read_text())
    assert [a.question for a in book.asked] == questions
    guide = {n.attrs["id"]: n for n in tree(folder / "exam.html").all("article", having="id")}
    for asked in book.asked:
        quoted = [n for n, text in enumerate(book.files[asked.question.file].lines, 1) if asked.question.quote in text]
        assert asked.line == (quoted[0] if len(quoted) == 1 else 0)  # that it is one is tests/test_exam.py's business
        if not asked.line:
            continue
        page = tree(folder / page_of(asked.question.file))
        links = [a for a in page.all("a") if a.attrs["href"] == f"exam.html#{asked.id}"]
        assert len(links) == 1, asked.id
        mark = links[0].above("ask")
        assert mark.tag == "details" and asked.question.text in mark.all("summary")[0].text()
        at = mark.above("asked-line")
        if at:
            assert at.all(having="data-line")[0].attrs["data-line"] == str(asked.line)
        else:
            first, last = map(int, mark.above("said").attrs["data-lines"].split("-"))
            assert first <= asked.line <= last
        for place in (mark, guide[asked.id]):
            assert bare(asked.question.short) in bare(place.text()) and bare(asked.question.deeper) in bare(place.text())
    changed = next(a for a in book.asked if a.question.change)
    assert changed.question.change.removed in guide[changed.id].all("del")[0].text()


def test_the_quiz_remembers_where_it_is_told(tmp_path):
    """What is written goes where a flag says: --memory is to the quiz what --out is to a model."""
    (tmp_path / "here").mkdir()
    n = sum(q.file == "conv_ae.py" for q in quiz.parse((ROOT / "docs" / "exam.md").read_text()))
    for times in (1, 2):
        done = subprocess.run([sys.executable, "-m", "docs.quiz", "conv_ae", "--exam", str(n), "--memory", tmp_path / "known.json"],
                              input="\ny\n" * n, cwd=tmp_path / "here", env=os.environ | {"PYTHONPATH": str(ROOT)},
                              capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert set(json.loads((tmp_path / "known.json").read_text()).values()) == {times}
    assert not list((tmp_path / "here").iterdir())


# ---- pictures ----

def pictures(page):
    return {n.attrs["src"]: n for n in page.all("img")}


def test_pictures_stand_beside_the_code_that_draws_them(made):
    _, folder = made
    found = pictures(tree(folder / "conv_vae.html"))
    assert set(found) == {f"pictures/conv_vae/{n}.png" for n in ("samples", "latent", "curves", "reconstructions", "unheard_of")}
    for name, line in (("latent", "def plot_latent("), ("samples", "def plot_samples("), ("curves", "common.plot_curves("),
                       ("reconstructions", "common.plot_reconstructions(")):
        row = found[f"pictures/conv_vae/{name}.png"].above("row")
        assert line in row.all(having="code")[0].text(), name
    alt = found["pictures/conv_vae/latent.png"].attrs["alt"]
    assert alt == ("Latent of conv_vae. Between test drawings, along single latents, and how many nats each latent carries. "
                   "Quick, Draw! drawings: 2,880 to train, 320 to validate, 800 to test; seed 0")
    assert found["pictures/conv_vae/curves.png"].attrs["alt"].startswith(
        "Curves of conv_vae. Convolutional VAE; nats a drawing. Terms of the loss by epoch, training dashed and validation solid; right: "
        "terms on an axis of their own. At the end: test mse 0.0303; test elbo \u2212201.3. Quick, Draw!")
    alt = found["pictures/conv_vae/reconstructions.png"].attrs["alt"]
    assert "z = mu. The first three test drawings of each category, always the same. Quick" in alt and "{" not in alt
    alt = pictures(tree(folder / "cvae.html"))["pictures/cvae/confidence.png"].attrs["alt"]
    assert alt.startswith("Confidence of cvae. How sure is each judge of samples, and of real drawings? Quick, Draw! drawings: 2,880")
    assert found["pictures/conv_vae/unheard_of.png"].above("gallery")  # no line names it
    assert found["pictures/conv_vae/latent.png"].attrs["width"] == "961"
    assert filecmp.cmp(folder / "pictures/conv_vae/latent.png", folder.parent / "conv_vae" / "latent.png", shallow=False)


def test_every_picture_that_the_sources_name_is_said_in_words(made):
    """Also on the page of contents, in the same words."""
    book, folder = made
    for path, file in book.files.items():
        for call in (c for c in file.calls if c.picture != "metrics.png"):  # which becomes table.png in the same line
            said = chapter.about(book, file, call.picture)
            assert len(said.split()) > 2 and not re.search(r"\{|\.\.\.|[,;]\.|\[\(", said), f"{path}, {call.picture}: {said}"
    assert chapter.about(book, book.files["more/ddpm.py"], "denoising.png").endswith("nine of its steps, and what it takes that for")
    for src, image in pictures(tree(folder / "index.html")).items():
        page = tree(folder / page_of(next(path for path, some in book.runs.items() if some[0].name == src.split("/")[1])))
        assert image.attrs["alt"] == pictures(page)[src].attrs["alt"]
    caption = pictures(tree(folder / "conv_vae.html"))["pictures/conv_vae/samples.png"].above("picture").all("figcaption")[0]
    assert caption.text().endswith(f". {chapter.SHOWN['samples']}")  # no docstring stands beside it


def test_other_runs_of_a_file_are_folded_and_absent_ones_named(made):
    _, folder = made
    page = tree(folder / "more_ddpm.html")
    found = pictures(page)
    assert not found["pictures/ddpm/curves.png"].above("fold") and found["pictures/ddpm_grey/curves.png"].above("fold")
    said = tree(folder / "more_gan.html").text()  # has a picture, but no metrics.json
    assert "make gan draws them" in said and not pictures(tree(folder / "more_gan.html"))
    assert "draws them" not in page.text() and "draws them" not in tree(folder / "common.html").text()
    assert "have no finished run in OUT" in tree(folder / "index.html").text()


def test_stand_ins_and_quick_runs_are_named_below_each_picture(made):
    _, folder = made
    for name, words in (("rnn_ae", "STAND-IN DOODLES, not real drawings"), ("cvae", "whose figures mean nothing")):
        captions = tree(folder / f"{name}.html").all("figcaption")
        assert captions and all(words in n.text() for n in captions)
    assert not any("Quick, Draw!" in n.text() for n in tree(folder / "conv_vae.html").all("figcaption"))


# ---- siblings ----

def test_siblings_hold_both_files_and_say_the_lesson(made):
    book, folder = made
    assert {("conv_ae.py", "conv_vae.py"), ("conv_vae.py", "cvae.py"), ("rnn_ae.py", "rnn_vae.py")} <= set(book.pairs)
    for a, b in book.pairs:
        page = tree(folder / siblings.page_name(a, b))
        for side, path in ((0, a), (1, b)):
            lines = {}
            for pair in page.all("div", having="pair"):
                cell = pair.children[side]
                if "none" not in cell.classes:
                    lines[int(cell.all("a")[0].text())] = cell.all("code")[0].text()
            file = book.files[path]
            rulers = {section.line for section in file.sections}
            assert all(file.lines[n - 1] == text for n, text in lines.items())
            assert {n for n, text in enumerate(file.lines, 1) if text.strip()} - rulers == {n for n, text in lines.items() if text.strip()}
        assert page.all("p", having="lesson"), (a, b)
    said = tree(folder / "siblings.html").text()
    assert "New beside conv_ae.py: mu and logvar for z, (2), the KL, samples." in said
    assert "From rnn_vae.py only the encoder differs." in said


def test_what_is_said_of_siblings_is_true(made):
    """The same sections in the same order; the nearest and the farthest pair, as the table has them."""
    book, folder = made
    for a, b in book.pairs:
        first, second = ([(s.number, s.title) for s in book.files[path].sections if s.line] for path in (a, b))
        assert first == second, (a, b)
    page = tree(folder / "siblings.html")
    shares = {row.all("th")[0].all("a")[0].text(): int(row.all("td")[0].text().rstrip("%")) for row in page.all("tr")[1:]}
    (near, most), *_, (far, least) = sorted(shares.items(), key=lambda item: -item[1])
    said = page.all("p")[1].text()
    assert len(shares) == len(book.pairs) and f": {most}% of {near}, {least}% of {far}." in said and "keep" not in said


def test_one_line_is_no_lines():
    line, other = (1, "a = 1"), (2, "b = 2")
    assert siblings.say(siblings.compare([line], [line])) == "its only line is the same"
    assert siblings.say(siblings.compare([line, other], [line, other])) == "all 2 lines are the same"
    assert siblings.say(siblings.compare([line, other], [line])) == "1 line the same; 1 gone"


def test_compare_pairs_the_lines_that_are_alike():
    old = [(1, "a = 1"), (2, "loss = mse(x)"), (3, "end")]
    new = [(1, "a = 1"), (2, "fresh line here"), (3, "loss = mse(x) + kl"), (4, "end")]
    assert [kind for kind, _, _ in siblings.compare(old, new)] == ["same", "added", "changed", "same"]
    assert siblings.words("loss = mse(x)", "loss = mse(x) + kl")[1] == "loss = mse(x)<mark> + kl</mark>"
    assert siblings.words("a < b", "a < c")[0] == "a &lt; <mark>b</mark>"


# ---- search ----

def index(folder):
    text = (folder / "search-index.js").read_text(encoding="utf-8")
    return json.loads(text.removeprefix("window.BOOK_INDEX = ").rstrip().removesuffix(";"))


def test_search_knows_each_line_and_question(made):
    book, folder = made
    found = index(folder)
    entries = [(found["pages"][page][1], section, at, kind, text) for page, section, at, kind, text in found["entries"]]
    code = {(path, at): text for path, _, at, kind, text in entries if kind == 1}
    prose = {(path, at): text for path, _, at, kind, text in entries if kind == 0}
    for path, file in book.files.items():
        for n, where in source.places(file):
            if where == "code" and file.lines[n - 1].strip():
                assert code[path, n] == file.lines[n - 1].strip()
        assert prose[path, 1] == file.title
    assert sum(kind == 2 for *_, kind, _ in entries) == len(book.asked)
    for page, _, at, kind, _ in found["entries"]:
        if kind > 1 and at:
            assert any(n.attrs["id"] == at for n in tree(folder / found["pages"][page][0]).all(having="id")), at
            break
    assert "4. Training" in {section for path, section, *_ in entries if path == "conv_vae.py"}


def test_documents_have_places_to_lead_to(made):
    _, folder = made
    for path, _ in pages.DOCUMENTS:
        ids = {n.attrs["id"] for n in tree(folder / page_of(path)).all(having="id")}
        assert {anchor for anchor, _, _ in pages.outline((ROOT / path).read_text())} <= ids | {""}
    assert {"step-1.10", "step-2.4"} <= {n.attrs.get("id") for n in tree(folder / "derivations.html").walk()}
    assert len(tree(folder / "derivations.html").all("math")) > 100


# ---- whole or not at all ----

def test_two_builds_are_the_same_to_the_byte(made, out, tmp_path):
    """The second one in another process, with another hash seed, in another folder."""
    copy = shutil.copytree(out, tmp_path / "elsewhere", ignore=shutil.ignore_patterns("book"))
    (copy / "book").mkdir()
    shutil.copy(made[1] / "index.html", copy / "book")
    (copy / "book" / "stale.html").write_text("of an older book")
    (copy / ".book.tmp").mkdir()  # what an interruption leaves
    done = run("-m", "book.build", "--out", copy, cwd=ROOT, env=os.environ | {"PYTHONHASHSEED": "7"})
    assert done.returncode == 0 and "questions" in done.stdout, done.stderr
    first, second = ({p.relative_to(f): p.read_bytes() for p in f.rglob("*") if p.is_file()} for f in (made[1], copy / "book"))
    assert first == second and not list(copy.glob(".book*"))


@pytest.mark.parametrize("broken, message", [
    ('{"test_mse": ', "no JSON"), ("[1]", "a record without data"), ('{"data": {"source": "course"}}', "a record without data"),
    (json.dumps(RECORD | {"data": {"source": "x", "drawings": {"train": 1}}}), "a record without data")])
def test_a_broken_record_is_one_clear_line(broken, message, tmp_path):
    (tmp_path / "conv_vae").mkdir()
    (tmp_path / "conv_vae" / "metrics.json").write_text(broken)
    with pytest.raises(common.InputError, match=r"metrics.json: found .*, expected .*; delete it and run 'make conv_vae' again") as caught:
        runs.find(tmp_path, "conv_vae")
    assert f"found {message}" in str(caught.value) and "\n" not in str(caught.value)


def test_bad_folders_are_refused_and_nothing_is_touched(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("kept")
    for out, found in ((tmp_path / "none", "no such folder"), (tmp_path / "file", "a file")):
        with pytest.raises(common.InputError, match=f"{out}: found {found}, expected the folder that runs write to; name it by --out"):
            build.main(["--out", str(out)])
    with pytest.raises(common.InputError, match="--help lists the flags"):
        build.main(["--uot", "x"])
    theirs = tmp_path / "out" / "book"
    theirs.mkdir(parents=True)
    (theirs / "index.html").write_text("a novel")
    monkeypatch.setattr(build, "Book", lambda out: None)  # what is read is not the question here
    with pytest.raises(common.InputError, match="found something that is no book of ours, expected none, or one that this wrote; move it"):
        build.build(tmp_path / "out")
    assert (theirs / "index.html").read_text() == "a novel" and (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize("step", ("write", "swap"))
def test_a_full_disk_leaves_the_old_book(step, tmp_path, monkeypatch):
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "index.html").write_text(build.SIGNED)

    class Full:
        def write(self, folder):
            (folder / "half.html").write_text("half")
            if step == "write":
                raise OSError(28, "No space left on device")

    real = os.replace

    def replace(a, b):
        if step == "swap" and str(a).endswith(".tmp"):
            raise OSError(28, "No space left on device")
        real(a, b)

    monkeypatch.setattr(build, "Book", lambda out: Full())
    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(common.InputError, match="book: found No space left on device, expected a folder to write to; make room"):
        build.build(tmp_path)
    assert [p.name for p in tmp_path.rglob("*")] == ["book", "index.html"]


def test_errors_end_in_one_line_and_exit_code_2(tmp_path):
    put(tmp_path, "cvae", ())
    (tmp_path / "cvae" / "asked.png").write_text("no picture")
    for out, words in ((tmp_path / "none", "none: found no such folder"), (tmp_path, "asked.png: found no PNG picture")):
        done = run("-m", "book.build", "--out", out, cwd=ROOT)
        assert done.returncode == 2 and done.stderr.startswith("book: error: ") and words in done.stderr
        assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr
    assert not (tmp_path / "book").exists() and not (tmp_path / "none").exists()


def test_make_book_trains_nothing():
    def make(*args):
        env = {k: v for k, v in os.environ.items() if not k.startswith("MAKE") and k not in ("MFLAGS", "PY", "OUT")}
        return subprocess.run(["make", "-n", *args], cwd=ROOT, capture_output=True, text=True, env=env).stdout

    said = make("book", f"PY={sys.executable}", "OUT=out_x")
    assert f"{sys.executable} -m book.build --out out_x" in said and ".py " not in said
    assert "-r book/requirements.txt" not in said and "-r book/requirements.txt" in make("-B", "book") and "-r book/" in make("-B", "lint")
    assert all(re.fullmatch(r"[\w-]+==[\d.]+", line) for line in (ROOT / "book" / "requirements.txt").read_text().split())


# ---- a real browser ----

class Browser:
    """Chromium without a window, driven by Selenium."""

    def __init__(self):
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))

    def js(self, script, *args):
        return self.driver.execute_script(script, *args)

    def tell(self, command, **params):
        return self.driver.execute_cdp_cmd(command, params)

    def size(self, width):
        self.tell("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600)

    def media(self, kind="", **features):
        wanted = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.tell("Emulation.setEmulatedMedia", media=kind, features=wanted)

    def open(self, path, anchor=""):
        self.driver.get("about:blank")  # else another #anchor of a page is no new page
        self.driver.get(path.as_uri() + anchor)

    def wait_for_fonts(self):
        self.driver.execute_async_script("const done = arguments[0]; document.fonts.ready.then(() => setTimeout(done, 50))")

    def press(self, keys):
        webdriver.ActionChains(self.driver, duration=0).send_keys(keys).perform()

    def log(self):
        return [entry["message"] for entry in self.driver.get_log("browser")]


@pytest.fixture(scope="module")
def started():
    if not (CHROMIUM and DRIVER):
        pytest.skip("no chromium and chromedriver here, so no browser sees the pages (Debian: apt-get install chromium chromium-driver)")
    browser = Browser()
    yield browser
    browser.driver.quit()


@pytest.fixture
def browser(started):
    yield started
    started.media()


ENTER, ESCAPE, TAB = "\ue007", "\ue00c", "\ue004"


@pytest.mark.parametrize("width", (390, 1280))
def test_no_page_scrolls_sideways_or_complains(width, browser, made):
    browser.size(width)
    browser.log()
    for name in names(made[1]):
        browser.open(made[1] / name)
        wide, broken = browser.js("""document.querySelectorAll('details').forEach(d => d.open = true);
            const broken = [...document.images].filter(i => !i.complete || !i.naturalWidth);
            return [document.documentElement.scrollWidth, broken.map(i => i.src)]""")
        assert wide <= width and broken == [], f"{name}: {wide} pixels, {broken}"
        assert browser.log() == [], name


def test_formulas_are_set_by_the_font_that_the_book_brings(browser, made):
    """An index hangs below its letter, a power stands above it, and neither floats: by Debian's own fonts x_t read xt."""
    browser.size(1280)
    found = {"msub": [], "msup": []}  # how far a script stands out of its letter's box, and how far it is inside, in font sizes
    for name in ("more_ddpm.html", "derivations.html"):
        browser.open(made[1] / name)
        browser.wait_for_fonts()
        assert browser.js("return [...document.fonts].map(f => [f.family.replaceAll('\"', ''), f.status])") == [["Book Math", "loaded"]]
        for tag, some in found.items():
            some += browser.js("""return [...document.querySelectorAll(`main ${arguments[0]}`)].filter(
                e => /^[acemnorsuvwxz]$/.test(e.children[0].textContent) && e.getClientRects().length).map(e => {
                  const [base, script] = [...e.children].map(c => c.getBoundingClientRect());
                  const out = e.tagName === 'msub' ? script.bottom - base.bottom : base.top - script.top;
                  const size = parseFloat(getComputedStyle(e).fontSize);
                  return [out / size, (script.height - out) / size, e.textContent]})""", tag)
    for some in found.values():
        assert len(some) > 10 and [row for row in some if row[0] < 0.15 or row[1] < 0] == []


def test_formulas_keep_their_punctuation_and_their_line(browser, made):
    """On a phone no comma stands below its formula; a long formula in a sentence stands on the sentence's line, not between two."""
    browser.size(390)
    browser.open(made[1] / "metrics.html")
    browser.wait_for_fonts()
    alone = browser.js("""return [...document.querySelectorAll('.formula .part, .tied')].filter(e => e.lastChild.nodeType === 3
        && e.querySelector('math') && e.getClientRects().length).map(e => {
          const range = document.createRange();
          range.selectNode(e.lastChild);
          return [range.getBoundingClientRect().top < e.querySelector('math').getBoundingClientRect().bottom, e.textContent]})""")
    assert len(alone) > 5 and [text for fits, text in alone if not fits] == []
    browser.size(1280)
    for name in ("conv_vae.html", "more_ddpm.html"):
        browser.open(made[1] / name)
        browser.wait_for_fonts()
        apart = browser.js("""return [...document.querySelectorAll('.long')].filter(e => e.getClientRects().length).map(e => {
            const mark = document.createElement('span');
            mark.style.display = 'inline-block';
            e.before(mark);  // an empty box stands on the baseline
            const height = () => e.querySelector('math').getBoundingClientRect().bottom - mark.getBoundingClientRect().bottom;
            const boxed = height();
            e.className = '';
            return Math.abs(boxed - height())})""")
        assert len(apart) > 0 and max(apart) < 1, name


def test_what_scrolls_can_be_reached_when_the_font_comes_late(browser, made):
    """Formulas are narrow until the font is there: what is too wide then, and only that, is a stop of the keyboard."""
    browser.size(390)
    late = browser.tell("Page.addScriptToEvaluateOnNewDocument", source="""addEventListener("DOMContentLoaded", () => {
        const narrow = document.createElement("style");
        narrow.textContent = "math { font-size: 1px }";
        document.head.append(narrow);
        document.fonts.ready.then(() => narrow.remove())})""")["identifier"]
    try:
        browser.open(made[1] / "metrics.html")
        browser.wait_for_fonts()
    finally:
        browser.tell("Page.removeScriptToEvaluateOnNewDocument", identifier=late)
    wide, stops = browser.js("""const parts = [...document.querySelectorAll('.formula .part')];
        return [parts.map(e => e.scrollWidth > e.clientWidth + 1), parts.map(e => e.tabIndex === 0)]""")
    assert wide == stops and any(wide) and not all(wide)


def test_bars_of_siblings_are_of_one_length_and_one_line(browser, made):
    browser.size(390)
    browser.open(made[1] / "siblings_conv_ae_conv_vae.html")
    rows = browser.js("""return [...document.querySelectorAll('.bars li')].map(
        e => [e.querySelector('.bar').offsetWidth, e.offsetHeight, e.scrollWidth - e.clientWidth])""")
    assert len(rows) > 5 and len({width for width, _, _ in rows}) == 1 and rows[0][0] > 40
    assert all(height < 40 and beyond <= 0 for _, height, beyond in rows)


@pytest.mark.parametrize("scheme", ("light", "dark"))
def test_contrast_of_what_is_painted(scheme, browser, made):
    """Every piece of text against what lies behind it, as the browser computes both; answers opened."""
    browser.size(1280)
    browser.media(prefers_color_scheme=scheme)
    for name in ("index.html", "conv_vae.html", "exam.html", "siblings_conv_ae_conv_vae.html", "search.html", "settings.html"):
        browser.open(made[1] / name, "?q=latent" if name == "search.html" else "")
        pairs = browser.js("""document.querySelectorAll('details').forEach(d => d.open = true);
            const found = {}, texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
            while (texts.nextNode()) {
              const at = texts.currentNode.parentElement;
              if (!texts.currentNode.data.trim() || !at.getClientRects().length || at.closest('noscript, script')) continue;
              let behind = at;
              while (behind && getComputedStyle(behind).backgroundColor === 'rgba(0, 0, 0, 0)') behind = behind.parentElement;
              const ground = getComputedStyle(behind || document.documentElement).backgroundColor;
              found[getComputedStyle(at).color + ' on ' + ground] = at.outerHTML.slice(0, 90);
            }
            return found""")
        assert len(pairs) > 2
        for pair, where in pairs.items():
            text, ground = (tuple(map(int, re.findall(r"\d+", side)[:3])) for side in pair.split(" on "))
            assert contrast(text, ground) >= 4.5, f"{name}: {pair}: {where}"
        paper = browser.js("return getComputedStyle(document.documentElement).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", paper)[:3])) > 384) == (scheme == "light")


def test_search_finds_and_says_how_much(browser, made):
    browser.size(1280)
    browser.open(made[1] / "conv_ae.html")
    browser.press("/")
    browser.press("kl_divergence")
    browser.press(ENTER)
    end = time.monotonic() + 20
    while not (said := browser.js("return (document.getElementById('found') || {}).textContent")) and time.monotonic() < end:
        time.sleep(0.1)
    results = browser.js("return [...document.querySelectorAll('#results li')].map("
                         "l => [l.querySelector('a').getAttribute('href'), l.textContent])")
    assert re.fullmatch(r"\d+ places for .kl_divergence.:", said) and int(said.split()[0]) == len(results)
    assert browser.js("return document.getElementById('found').getAttribute('aria-live')") == "polite"
    assert "def kl_divergence" in results[0][1] and any("conv_vae.html#L" in href for href, _ in results)

    def ask(query):
        browser.js("const q = document.getElementById('q'); q.value = arguments[0]; q.form.requestSubmit()", query)
        return browser.js("return [...document.querySelectorAll('#results a')].map(a => a.getAttribute('href'))")

    assert ask("reparameterise zzz") == []
    assert browser.js("return document.getElementById('found').textContent").startswith("Nothing found")
    assert ask("") == [] and browser.js("return document.getElementById('found').textContent") == ""
    assert any(href.startswith("conv_vae.html#L") for href in ask("randomness comes from outside smooth"))
    assert any(href.startswith("exam.html#") for href in ask("What does 36.3 nats"))
    assert "derivations.html#step-7.8" in ask("last step where posterior is x_0 itself")
    lines = (ROOT / "conv_vae.py").read_text().splitlines()  # the line of the words, not the paragraph's first
    number = 1 + next(i for i, line in enumerate(lines) if "from there new drawings are sampled" in line)
    assert f"conv_vae.html#L{number}" in ask("from there new drawings are sampled")
    browser.open(made[1] / "conv_vae.html", f"#L{number}")  # no element has this number: its paragraph comes into sight
    assert browser.js("return document.querySelector('.front .said p').getBoundingClientRect().top < innerHeight")


def test_a_question_opens_by_keyboard(browser, made):
    browser.size(390)
    browser.open(made[1] / "conv_vae.html")
    browser.js("document.querySelector('.asked-line summary').focus()")
    browser.press(ENTER)
    assert browser.js("const d = document.querySelector('.asked-line details'); return d.open && d.children[1].offsetHeight > 50")
    browser.press(ESCAPE)
    assert browser.js("return [document.querySelector('.asked-line details').open, document.activeElement.tagName]") == [False, "SUMMARY"]
    browser.open(made[1] / "conv_vae.html")
    browser.press(TAB)
    assert browser.js("const s = document.activeElement; return [s.className, getComputedStyle(s).outlineStyle, s.offsetWidth > 50]") == [
        "skip", "solid", True]
    browser.press(ENTER)
    assert browser.js("return document.activeElement.id") == "text"
    stops = browser.js("return document.querySelectorAll('.line .n:not([tabindex=\"-1\"])').length")
    assert stops == 0  # 350 line numbers would be 350 stops


def test_light_and_dark_are_remembered(browser, made):
    browser.size(1280)
    browser.media(prefers_color_scheme="light")
    browser.open(made[1] / "index.html")
    paper = "return getComputedStyle(document.documentElement).backgroundColor"
    light = browser.js(paper)
    browser.js("document.querySelector('button.theme').click()")
    dark = browser.js(paper)
    assert light != dark and browser.js("return document.querySelector('button.theme').textContent") == "Light"
    browser.open(made[1] / "cvae.html")
    assert browser.js(paper) == dark
    browser.media("print")
    assert browser.js(paper) != dark
    assert browser.js("return getComputedStyle(document.querySelector('.top')).display") == "none"
    browser.js("localStorage.clear()")


def test_on_paper_and_without_motion(browser, made):
    browser.size(794)  # A4 at 96 dots an inch
    browser.media("print")
    for name in ("conv_vae.html", "exam.html", "siblings_conv_vae_cvae.html"):
        browser.open(made[1] / name)
        assert browser.js("return document.documentElement.scrollWidth") <= 794
    pdf = base64.b64decode(browser.tell("Page.printToPDF", printBackground=True)["data"])
    assert pdf.startswith(b"%PDF")
    browser.media(prefers_reduced_motion="reduce")
    assert browser.js("return getComputedStyle(document.documentElement).scrollBehavior") == "auto"
    browser.media(prefers_reduced_motion="no-preference")
    assert browser.js("return getComputedStyle(document.documentElement).scrollBehavior") == "smooth"


def test_prose_and_code_stand_in_step(browser, made):
    """At a desk beside each other, the first lines at one height; on a phone the prose above its code."""
    measure = """return [...document.querySelectorAll('.row')].filter(r => !r.classList.contains('bare')).slice(2, 9).map(r => {
        const a = r.children[0].getBoundingClientRect(), b = r.children[1].getBoundingClientRect();
        return [a.left, a.right, b.left, a.top - b.top, a.bottom - b.top]})"""
    browser.size(1280)
    browser.open(made[1] / "conv_vae.html")
    for _, right, left, offset, _ in browser.js(measure):
        assert right <= left and abs(offset) < 1
    browser.size(390)
    browser.open(made[1] / "conv_vae.html")
    for left, _, code, _, above in browser.js(measure):
        assert above <= 1 and left >= 8 and code <= left
