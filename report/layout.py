"""A4 pages: headings, paragraphs, equations, tables and figures flow onto them, and everything is numbered and referred to.

    doc = Document()
    doc.heading("I.1", "Recurrent autoencoder")
    doc.text("It reads rows [@cho2014]; {figure:mse} shows how its error falls.")
    doc.figure("mse", "Error by epoch.", 150, draw)         # draw(area): see Area
    doc.write(path)

Two passes: chapters say what there is, in order; then numbers are resolved, text is broken into lines by measured width, and
blocks are put onto pages. A heading stays with what follows it, a caption with its figure, a row of a table with a header; a figure that
does not fit becomes a little smaller, or goes to the top of the next page, and text fills up what it leaves. Lengths are points; y grows
downwards from the page's top.
"""

import re
from dataclasses import dataclass, field

import matplotlib
from matplotlib.backends.backend_pdf import PdfPages

import common
from report import text as tx
from report.pages import FOOT, LEADING, PAGE_H, PAGE_W, ROOM, SIZE, SMALL, TOP, Equation, Float, Lines, Page, Table, fit_columns


@dataclass
class Document:
    """What the chapters add, in order; numbers; and at last the pages. sources: {key: reference} that [@key] may cite."""

    sources: dict = field(default_factory=dict)
    items: list = field(default_factory=list)  # functions that make a block, called when every number is known
    numbers: dict = field(default_factory=dict)  # "figure:mse" -> 3
    cited: list = field(default_factory=list)
    entries: list = field(default_factory=list)  # [level, number, title, page]
    pages: list = field(default_factory=list)
    captions: list = field(default_factory=list)
    quiet: bool = False  # a quick run: its figures mean nothing, so that nothing is said of them

    def number(self, kind, key):
        count = 1 + sum(name.startswith(kind + ":") for name in self.numbers)
        if f"{kind}:{key}" in self.numbers:
            raise ValueError(f"two of {kind}:{key}")
        self.numbers[f"{kind}:{key}"] = count
        return count

    def resolve(self, markup):
        """{figure:mse} -> Figure 3, {equation:elbo} -> (4), [@key, key] -> [1, 2]. Raises KeyError on what there is none of."""
        def refer(match):
            kind, n = match[1], self.numbers[match[0][1:-1]]
            return f"({n})" if kind == "equation" else f"{kind.capitalize()}~{n}"

        def cite(match):
            keys = [key.strip().lstrip("@") for key in match[1].split(",")]
            for key in keys:
                self.sources[key]
                self.cited += [key] * (key not in self.cited)
            return "[" + ", ".join(str(1 + self.cited.index(key)) for key in keys) + "]"

        return re.sub(r"\[(@[^\]]+)\]", cite, re.sub(r"\{(figure|table|equation):[^}]+\}", refer, markup))

    def heading(self, number, title, level=2, toc=True, page=True):
        """Level 1 begins a page unless much of one is left, or told not to; no figure drifts past it, nor past two others."""
        size = {1: 17.0, 2: 13.0, 3: 10.5}[level]
        entry = len(self.entries) if toc else -1
        if toc:
            self.entries.append([level, number, title, 0])
        markup = " ".join(f"**{word}**" for word in f"{number} {title}".split())
        self.items.append(lambda: ("chapter",) if level == 1 and page else ("flush",) if level == 1 else ("section",))
        self.items.append(lambda: Lines(tx.lines(markup, size, ROOM, justify=False), size, size * 1.25, {1: 22, 2: 15, 3: 9}[level],
                                        with_next=True, entry=entry))

    def text(self, markup, **given):
        """A paragraph; nothing if there is nothing to say."""
        if markup:
            self.items.append(lambda: Lines(tx.lines(self.resolve(markup), given.get("size", SIZE), ROOM), **given))

    def points(self, markups, compared=True):
        """Bullets; those that are None fall away. compared: they speak of figures, which those of a quick run do not bear."""
        if self.quiet and compared:
            return self.text("*Quick run: its figures are not compared.*")
        for markup in filter(None, markups):
            self.items.append(lambda m=markup: Lines(tx.lines(self.resolve(m), SIZE, ROOM - 16), above=3, indent=16,
                                                     mark=[(3.0, "roman", "\u2022")]))

    def equation(self, key, math):
        n = self.number("equation", key)
        self.items.append(lambda: Equation("$" + math.replace(r"\frac", r"\dfrac") + "$", n))

    def caption(self, kind, key, markup):
        n = self.number(kind, key)
        self.captions.append(f"{kind.capitalize()} {n}: {markup}")
        return lambda: tx.lines(f"**{kind.capitalize()}** **{n}:** " + self.resolve(markup), SMALL, ROOM)

    def figure(self, key, caption, height, draw, shrink=None):
        """shrink(0.9): its height and drawing at nine tenths of its width, if it may become smaller to fill a page."""
        lines = self.caption("figure", key, caption)
        self.items.append(lambda: Float(draw, height, lines(), shrink))

    def table(self, key, caption, header, rows, align, size=SMALL, breaks=False):
        """rows: lists of markup; align: a letter a column: l, r, c, or w for one that wraps; breaks: it may go on on the next page."""
        lines = self.caption("table", key, caption)

        def build():
            cells = [[self.resolve(cell) for cell in row] for row in [header, *rows]]
            columns, fitted = fit_columns(cells, align, size)
            broken = [[tx.lines(cell, fitted, w + 0.01 if a == "w" else 1e6, justify=False) for cell, (_, w, a) in zip(row, columns)]
                      for row in cells]
            return Table(lines(), broken[0], broken[1:], columns, fitted, breaks)

        self.items.append(build)

    def block(self, make):
        """Anything else: make() returns a block, or ("page",), when all numbers are known."""
        self.items.append(make)

    def paginate(self, blocks):
        """[[(block, y)] a page]: each block where it goes."""
        pages, y, waiting, late = [[]], TOP, [], False  # late: what waits has drifted past a heading

        def turn():
            nonlocal y, late
            pages.append([])
            y, late = TOP, late and len(waiting) > 1
            for block in list(waiting):
                if any(type(other) is type(block) for other in waiting[:waiting.index(block)]):
                    continue  # figures keep their order, and tables theirs
                if y == TOP or y + block.above + block.height() <= FOOT:
                    waiting.remove(block)
                    if hasattr(block, "split") and y == TOP and y + block.height() > FOOT:
                        first, rest = block.split(FOOT - y)
                        put(first)
                        waiting.insert(0, rest)
                        return turn()
                    put(block)

        def put(block):
            nonlocal y
            y += block.above if y > TOP else 0
            pages[-1].append((block, y))
            y += block.height()

        queue = [block for block in blocks if block]
        while queue or waiting:
            if not queue:
                turn()
                continue
            block = queue.pop(0)
            if isinstance(block, tuple):
                late = bool(waiting) and block[0] == "section" and not late and y < TOP + 0.7 * (FOOT - TOP)
                while waiting and not late:
                    turn()
                if pages[-1] and (block[0] == "page" or (block[0] == "chapter" and y > TOP + 0.42 * (FOOT - TOP))):
                    turn()
                continue
            gap, room = (block.above if y > TOP else 0), FOOT - y
            ahead = any(type(other) is type(block) for other in waiting)
            if isinstance(block, Float) and not ahead and gap + block.height() > room:
                block = block.fitted(room - gap) or block
            need = gap + block.least()
            follower = next((b for b in queue[:2] if not isinstance(b, tuple)), None)
            if block.with_next and follower:
                need = gap + block.height() + follower.above + follower.least()
                if follower.with_next:  # a heading below a heading
                    need += 5 + 3 * LEADING
            if (ahead or (block.floats and gap + block.height() > room)) and y > TOP:
                waiting.append(block)
            elif need > room and y > TOP:
                queue.insert(0, block)
                turn()
            elif gap + block.height() <= room or not hasattr(block, "split"):
                put(block)
            else:
                first, rest = block.split(room - gap)
                put(first)
                queue.insert(0, rest)
                turn()
        return [page for page in pages if page]

    def blocks(self):
        """What is to be put onto pages, in order, every number known."""
        made = [make() for make in self.items]
        return [block for part in made for block in (part if isinstance(part, list) else [part])]

    def words(self):
        """All that the report says outside its pictures, a block a line, without drawing anything."""
        said = []
        for block in self.blocks():
            rows = [(row, SMALL) for row in getattr(block, "caption", [])]
            if isinstance(block, Lines):
                rows = [(row, block.size) for row in block.rows]
            if isinstance(block, Table):
                rows += [(line, block.size) for cells in [block.header, *block.rows] for cell in cells for line in cell]
            said.append(" ".join(tx.plain(*row) for row in rows).replace("\u00a0", " "))
        return "\n".join(said)

    def compose(self):
        """All pages, drawn."""
        placed = self.paginate(self.blocks())
        for n, page in enumerate(placed, 1):
            for block, _ in page:
                if block.entry >= 0:
                    self.entries[block.entry][3] = n
        for n, blocks_at in enumerate(placed, 1):
            page = Page()
            with matplotlib.rc_context(tx.LOOK):
                for block, y in blocks_at:
                    block.draw(page, y)
                if n > 1:
                    number = [(0.0, "roman", str(n))]
                    page.line(number, (PAGE_W - tx.line_width(number, 9)) / 2, PAGE_H - 40, 9, kind="folio")
            yield page

    def write(self, path, title="", author=""):
        """The PDF, whole or not at all; the same input gives the same bytes. Fills self.pages with what each page holds."""
        with common.atomic(path) as file, matplotlib.rc_context(tx.LOOK), PdfPages(file, metadata={
                "Title": title, "Author": author, "CreationDate": None, "ModDate": None}) as pdf:
            for page in self.compose():
                page.finish()
                pdf.savefig(page.fig)
                self.pages.append(page.boxes)
                page.fig.clear()
