"""What all pages share: the frame around a text, names of pages, links that the text itself suggests."""

import bisect
import html
import re
from pathlib import PurePosixPath

NAME = "Generative models of drawings"
NAVIGATION = (("index.html", "Contents"), ("siblings.html", "Siblings"), ("derivations.html", "Derivations"), ("exam.html", "Exam"))
escape = html.escape


def page_of(path):
    """more/ddpm.py -> more_ddpm.html, docs/exam.md -> exam.html: all pages lie in one folder, so that links are names."""
    path = PurePosixPath(path)
    folder = "" if str(path.parent) in (".", "docs") else f"{path.parent}_".replace("/", "_")
    return f"{folder}{path.stem}.html"


def slug(text, taken):
    """An id made of the text's words, not in taken, to which it is added."""
    base = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60].strip("-") or "part"
    name, n = base, 2
    while name in taken:
        name, n = f"{base}-{n}", n + 1
    taken.add(name)
    return name


class Links:
    """Names of files, numbers of equations and of derivations become links, where the book has what they name."""

    def __init__(self, paths, tags, steps=()):
        """paths: those with a page; tags: {path: numbers of its equations}; steps: numbers of the derivations."""
        self.pages = {path: page_of(path) for path in paths}
        for path in paths:  # a file of more/ calls its neighbours by their names alone
            self.pages.setdefault(path.rpartition("/")[2], page_of(path))
        self.paths = {page_of(path): path for path in paths}
        self.tags, self.steps = tags, set(steps)
        self.places = {}  # {path: line numbers that have a place on its page}: of a paragraph the first; set when the pages are made

    def line(self, path, number):
        """Where a line is: its own place, or that of the paragraph that it stands in."""
        places = self.places[path]
        return f"{page_of(path)}#L{places[max(0, bisect.bisect(places, number) - 1)]}"

    def text(self, text, here=""):
        """HTML of escaped text, with links; here: the file whose equations a bare (2) means."""
        def equation(match):
            number, name = match["number"], match["of"]
            path = self.paths.get(self.pages.get(name, ""), "") if name else here
            return f'<a class="eq" href="{page_of(path)}#eq-{number}">{match[0]}</a>' if number in self.tags.get(path, ()) else match[0]

        def file(match):
            page = self.pages.get(match[0])
            return match[0] if not page or self.paths[page] == here else f'<a href="{page}">{match[0]}</a>'

        def step(match):
            return f'<a href="derivations.html#step-{match[2]}">{match[0]}</a>' if match[2] in self.steps else match[0]

        text = re.sub(r"(derivations\.md,\s)(\d+\.\d+)", step, text)
        text = outside(text, lambda part: re.sub(
            r"\((?P<number>\d{1,2})\)(?= of (?P<of>(?:more/)?\w+\.py))?", equation, part))
        return outside(text, lambda part: re.sub(r"(?<![\w/.])(?:(?:more|docs|data)/)?\w+\.(?:py|md)\b", file, part))

    def html(self, text, here=""):
        """The same for text that has elements in it; what is in links and formulas stays as it is."""
        return outside(text, lambda part: self.text(part, here))


def outside(text, change):
    """Change the text between the elements of an HTML fragment, but not in links and formulas."""
    parts, depth = re.split(r"(<[^>]+>)", text), 0
    for i, part in enumerate(parts):
        if i % 2:
            if re.match(r"<(a|math|button|summary)\b", part):
                depth += 1
            elif re.match(r"</(a|math|button|summary)>", part):
                depth -= 1
        elif not depth and part:
            parts[i] = change(part)
    return "".join(parts)


def indent_style(line):
    """Where a wrapped line goes on: four characters to the right of where it began."""
    return f' style="--in:{len(line) - len(line.lstrip()) + 4}"' if line.strip() else ""


def frame(title, body, here="", previous=None, following=None, scripts=()):
    """A whole page. previous, following: (page, name); here: this page's name."""
    nav = "".join(f'<li><a href="{page}"{" aria-current=page" * (page == here)}>{name}</a></li>' for page, name in NAVIGATION)
    turn = "".join(f'<a rel="{rel}" href="{to[0]}"><span>{word}</span> {escape(to[1])}</a>' if to else "<span></span>"
                   for rel, word, to in (("prev", "Before this:", previous), ("next", "After this:", following)))
    extra = "".join(f'<script src="{name}" defer></script>\n' for name in scripts)
    search = "" if here == "search.html" else """<form role="search" action="search.html">
<input type="search" name="q" aria-label="Search the book" placeholder="Search  /" autocomplete="off" spellcheck="false">
</form>"""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="book.build">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="style.css">
<script src="book.js"></script>
{extra}</head>
<body>
<a class="skip" href="#text">Skip to the text</a>
<header class="top">
<a class="name" href="index.html">{NAME}</a>
<nav aria-label="Book"><ul>{nav}</ul></nav>
{search}
<button type="button" class="theme" hidden>Dark</button>
</header>
<main id="text" tabindex="-1">
{body}
</main>
<footer class="bottom">
<nav class="turn" aria-label="Neighbouring pages">{turn}</nav>
</footer>
</body>
</html>
"""
