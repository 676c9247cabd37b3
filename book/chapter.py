"""The page of one file: its docstring in front, then rows of prose with the code that they belong to."""

import re

from book import code, prose, questions
from book.page import escape, slug


def sentences(text, limit=180):
    """The first sentences of a docstring, as many as fit: what a picture shows, for those who do not see it. Not what arguments are."""
    text = re.sub(r"\s+", " ", text.split("\n\n")[0]).strip()
    if "{" in text:
        text = re.match(r"(?:.*[;.])?", text.partition("{")[0])[0].rstrip(";")
    found = ""
    for part in re.split(r"(?<=[.?!])\s", text):
        if found and len(found) + len(part) > limit:
            break
        found = f"{found} {part}".strip()
    return found


class Chapter:
    """One file's page. book: what all pages know (build.Book)."""

    def __init__(self, book, file):
        self.book, self.file, self.links, self.runs = book, file, book.links, book.runs.get(file.path, [])
        self.asked = {}
        for asked in book.asked:
            if asked.question.file == file.path:
                self.asked.setdefault(asked.line, []).append(asked)
        self.code = code.coloured(file.text, lambda text: self.links.text(text, file.path))
        self.tags = book.links.tags.get(file.path, ())
        self.shown = set()  # pictures that have their place

    # ---- text ----

    def uses(self):
        """{equation: lines of code whose comment names it}, for the way back."""
        found = {}
        for section in self.file.sections:
            for n in (n for row in section.rows for n in row.code):
                comment = self.file.lines[n - 1].partition("  # ")[2]
                for tag in dict.fromkeys(re.findall(r"\((\d{1,2})\)", comment)):
                    found.setdefault(tag, []).append(n)
        return found

    def prose(self, part, backs=None):
        """A docstring or comment, with the questions about its lines below the paragraph or equation that they are about."""
        blocks, begin, out = prose.docstring(part.text, part.first, self.links, self.file.path, backs), part.first, []
        for (_, text), end in zip(blocks, [first for first, _ in blocks[1:]] + [part.last + 1]):
            out += [text, *(questions.marker(self.asked[n], self.links, words=True) for n in range(begin, end) if n in self.asked)]
            begin = end
        return f'<div class="said" data-lines="{part.first}-{part.last}">{"".join(out)}</div>'

    def line(self, n):
        asked = self.asked.get(n)
        shown = code.line(n, self.file.lines[n - 1], self.code[n - 1], " has" * bool(asked))
        return f'<div class="asked-line">{shown}{questions.marker(asked, self.links)}</div>' if asked else shown

    # ---- pictures ----

    def picture(self, call):
        """The picture of a call from each finished run, the plain run's in sight, the others' folded away."""
        here = [run for run in self.runs if call.picture in run.pictures]
        if not here or call.picture in self.shown:
            return ""
        self.shown.add(call.picture)
        first, *others = (self.figure(run, call.picture, self.about(call), call.line, call.inside == "main") for run in here)
        more = "".join(f'<details class="fold"><summary>The same, of <code>OUT/{run.name}</code></summary>{figure}</details>'
                       for run, figure in zip(here[1:], others))
        return first + more

    def about(self, call):
        """What the picture shows: the docstring of the function that draws it, of this file or of those that it imports."""
        own = self.file.docs.get(call.inside, "")
        if call.called.endswith("save_figure"):  # draws nothing: the function around it does
            return sentences(own) if call.inside != "main" else ""
        module, _, name = call.called.rpartition(".")
        docs = self.file.docs if not module else self.book.docs_of(module)
        shown = sentences(docs.get(name) or (own if call.inside != "main" else ""))
        return ". ".join(part.rstrip(".") for part in ("; ".join(call.titles[:4]), shown) if part)

    def figure(self, run, name, about, line=0, explain=False):
        """explain: say what it shows below it, too, because no docstring stands there."""
        picture, stem = run.pictures[name], name.removesuffix(".png").replace("_", " ")
        final = "; ".join(f"{key} {value}" for key, value in run.figures()[:3]) if name == "curves.png" else ""
        alt = ". ".join(part.rstrip(".") for part in (f"{stem.capitalize()} of {run.name}", about, final and f"At the end: {final}",
                                                     run.data) if part)
        where = f', <a href="#L{line}">line {line}</a>' if line else ""
        said = f". {prose.running(about, self.links, self.file.path)}" if about and explain else ""
        stand_in = f' <span class="data">{escape(run.data)}.</span>' if run.warns else ""
        return (f'<figure class="picture"><a href="pictures/{run.name}/{name}"><img src="pictures/{run.name}/{name}" alt="{escape(alt)}" '
                f'width="{picture.width}" height="{picture.height}"></a><figcaption><code>{name}</code>{where}{said}{stand_in}</figcaption>'
                "</figure>")

    def pictures_at(self, row):
        """Pictures that stand beside a row: those of the function that begins there, or of the statements from there on."""
        numbers, function = set(row.code), row.name if row.level == 3 else ""
        calls = [c for c in self.file.calls if (c.inside == function and function and c.inside != "main")
                 or (c.inside in ("main", "") and c.line in numbers)]
        return "".join(self.picture(call) for call in calls)

    # ---- the page ----

    def rows(self, section):
        parts = []
        for row in section.rows:
            label = ""
            if row.level:
                level, at = row.level, row.code[0] if row.code else row.prose[0].first
                label = f'<h{level} class="label"><a href="#L{at}">{escape(row.name)}</a></h{level}>'
            said = label + "".join(self.prose(part) for part in row.prose) + self.pictures_at(row)
            lines, empty = "".join(map(self.line, row.code)), not any(self.file.lines[n - 1].strip() for n in row.code)
            parts.append(f'<div class="row{" bare" * (not said)}"><div class="prose">{said}</div>'
                         f'<div class="code{" empty" * empty}" translate="no">{lines}</div></div>')
        return "\n".join(parts)

    def section(self, section):
        if section.line:
            number = f'<span class="number">{section.number}.</span> ' if section.number else ""
            name = f"section-{section.number}" if section.number else f"L{section.line}-section"
            head = (f'<h2 id="L{section.line}" data-lines="{section.line}-{section.line}"><a class="self" href="#L{section.line}">'
                    f"{number}{escape(section.title)}</a></h2>")
            return f'<section id="{name}">{head}\n{self.rows(section)}</section>'
        name = "Imports and names" if len(self.file.sections) > 1 else "The code"
        return f'<section id="section-0"><h2 class="quiet">{name}</h2>\n{self.rows(section)}</section>'

    def aside(self):
        file = self.file
        items = "".join(f'<li><a href="#L{s.line}">{s.number + ". " if s.number else ""}{escape(s.title)}</a> '
                        f'<span class="lines">line {s.line}</span></li>' for s in file.sections if s.line)
        parts = [f'<nav class="sections" aria-label="Sections"><h2>Sections</h2><ul>{items}</ul></nav>'] if items else []
        number = sum(len(asked) for asked in self.asked.values())
        notes = [f'<a href="exam.html#{slug(file.path, set())}">{number} exam questions</a>, each at its line: '
                 '<span class="mark" aria-hidden="true">?</span>'] if number else []
        notes += [f'<a href="{page}">The difference to <code>{other}</code></a>' for page, other in self.book.siblings_of(file.path)]
        if notes:
            parts.append('<div class="notes"><h2>Beside it</h2><ul>' + "".join(f"<li>{note}</li>" for note in notes) + "</ul></div>")
        if self.runs:
            run = self.runs[0]
            rows = "".join(f"<div><dt>{escape(key)}</dt><dd>{value}</dd></div>" for key, value in run.figures())
            seconds = f"{run.record['seconds']:.0f} s on {escape(str(run.record['device']))}; {run.record['parameters']:,} parameters"
            parts.append(f'<div class="run"><h2>The latest run</h2><p>{escape(run.data)}; {seconds}.</p><dl>{rows}</dl></div>')
        elif file.runs and any(c.picture != "sweep.png" for c in file.calls):
            name = file.path.rpartition("/")[2].removesuffix(".py")
            parts.append(f'<div class="run"><h2>The latest run</h2><p>There is no finished run of this file in OUT, so its pictures are '
                         f"missing: <code>make {name}</code> draws them, and <code>make book</code> puts them here.</p></div>")
        return f'<aside class="beside" aria-label="About this file">{"".join(parts)}</aside>' if parts else ""

    def leftover(self):
        """Pictures of the run that no line names: at the end, without a word on who draws them."""
        parts = [self.figure(run, name, "") for run in self.runs[:1] for name in run.pictures if name not in self.shown]
        return f'<section id="more-pictures"><h2>More pictures</h2><div class="gallery">{"".join(parts)}</div></section>' if parts else ""

    def body(self):
        file, number = self.file, self.book.order.index(self.file.path) + 1
        title = f'<h1 id="L1" data-lines="1-1">{prose.running(file.title, self.links, file.path)}</h1>'
        intro = self.prose(file.intro, self.uses()) if file.intro else ""
        head = (f'<header class="opening"><p class="where"><code>{file.path}</code> <span class="of">file {number} of '
                f"{len(self.book.order)}</span></p>{title}</header>")
        sections = "\n".join(map(self.section, file.sections))
        front = f'<div class="front"><div class="prose">{intro}</div>{self.aside()}</div>'
        return f'<article class="chapter" data-file="{file.path}">{head}{front}\n{sections}{self.leftover()}</article>'


