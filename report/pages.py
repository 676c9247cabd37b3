"""A4 pages, and the blocks that are put onto them: lines of text, equations, tables, figures with their captions.

Each block knows its height, can draw itself at a height of a page, and says whether and how it may be split. Lengths are points, 1/72
inch; y grows downwards from the page's top. Every page keeps a record of what was put where, for the tests.
"""

import re
from dataclasses import dataclass

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from report import text as tx

PAGE_W, PAGE_H = 595.276, 841.890  # A4
MARGIN, TOP, BOTTOM = 63.78, 68.0, 74.0  # 22.5 mm at the sides
ROOM = PAGE_W - 2 * MARGIN  # 165 mm
FOOT = PAGE_H - BOTTOM
SIZE, LEADING = 10.0, 13.4  # running text
SMALL, TIGHT = 8.5, 11.2  # captions and tables


@dataclass
class Box:
    """What was put where, in points from the page's top left: for tests, and for nobody else."""

    kind: str
    x0: float
    y0: float
    x1: float
    y1: float
    text: str = ""


class Page:
    """One A4 page, a matplotlib figure, and the record of what is on it."""

    def __init__(self):
        self.fig, self.boxes, self.panels = Figure(figsize=(PAGE_W / 72, PAGE_H / 72)), [], []
        FigureCanvasAgg(self.fig)  # measures; the PDF is written by PdfPages

    def line(self, line, x, baseline, size, color="black", kind="line"):
        """A broken line of text.py at (x, baseline)."""
        for dx, face, piece in line:
            down = tx.lift(piece, size) if face == "math" else 0.0
            self.fig.text((x + dx) / PAGE_W, 1 - (baseline + down) / PAGE_H, piece, fontproperties=tx.font(face, size), color=color,
                          parse_math=face == "math", va="baseline", ha="left")
        sizes = [tx.extent(piece, face, size) for _, face, piece in line] or [(0, 0, 0)]
        self.boxes.append(Box(kind, x + (line[0][0] if line else 0), baseline - max(s[1] for s in sizes), x + tx.line_width(line, size),
                              baseline + max(s[2] for s in sizes), tx.plain(line, size)))

    def rule(self, x0, x1, y, thickness=0.5):
        self.fig.add_artist(matplotlib.lines.Line2D([x0 / PAGE_W, x1 / PAGE_W], [1 - y / PAGE_H] * 2, linewidth=thickness, color="black"))
        self.boxes.append(Box("rule", x0, y, x1, y))

    def finish(self):
        """Measure what the pictures really take, labels included."""
        renderer = self.fig.canvas.get_renderer()
        for ax in self.panels:
            b, scale = ax.get_tightbbox(renderer), 72 / self.fig.dpi
            self.boxes.append(Box("panel", b.x0 * scale, PAGE_H - b.y1 * scale, b.x1 * scale, PAGE_H - b.y0 * scale))


@dataclass
class Area:
    """The rectangle that a figure may draw into, in points from its own top left."""

    page: Page
    x: float
    y: float
    width: float
    height: float

    def axes(self, x, y, width, height, **given):
        """Axes whose frame is this rectangle; labels and ticks need room outside it."""
        ax = self.page.fig.add_axes([(self.x + x) / PAGE_W, 1 - (self.y + y + height) / PAGE_H, width / PAGE_W, height / PAGE_H], **given)
        self.page.panels.append(ax)
        return ax

    def image(self, pixels, x, y, width, height, **given):
        """Pixels as they are: not resampled, not rescaled."""
        ax = self.axes(x, y, width, height)
        ax.imshow(pixels, aspect="auto", interpolation="none", **given)
        ax.set_axis_off()

    def text(self, markup, x, baseline, size=SMALL, align="left", color="black"):
        line = tx.lines(markup, size, 10 * ROOM, justify=False)[0]
        x -= {"left": 0, "center": 0.5, "right": 1}[align] * tx.line_width(line, size)
        self.page.line(line, self.x + x, self.y + baseline, size, color, "label")


# ---- Blocks: each knows its height, how to draw itself, and whether it may be split ------------------------------

@dataclass
class Lines:
    """A paragraph, a caption or a heading; splits so that two lines or more stay together."""

    rows: list
    size: float = SIZE
    leading: float = LEADING
    above: float = 5.0
    indent: float = 0.0
    with_next: bool = False  # a heading
    entry: int = -1  # of the table of contents
    mark: list = None  # before the first line, in the indent
    floats = False

    def height(self):
        return self.leading * len(self.rows)

    def least(self):
        return self.leading * (len(self.rows) if len(self.rows) < 4 else 2)

    def split(self, room):
        """(what fits into room, the rest)."""
        n = int(room / self.leading)
        n = min(n, len(self.rows) - 2)
        first, rest = (Lines(rows, self.size, self.leading, self.above, self.indent, mark=mark)
                       for rows, mark in ((self.rows[:n], self.mark), (self.rows[n:], None)))
        return first, rest

    def draw(self, page, y):
        for i, row in enumerate(self.rows):
            page.line(row, MARGIN + self.indent, y + self.leading * (i + 1) - 0.28 * self.leading, self.size)
        if self.mark:
            page.line(self.mark, MARGIN + self.indent - 14, y + 0.72 * self.leading, self.size)


@dataclass
class Equation:
    math: str
    number: int
    above: float = 6.0
    with_next = floats = False
    entry = -1

    def height(self):
        _, up, down = tx.extent(self.math, "math", SIZE + 0.5)
        return up + down + 4

    least = height

    def draw(self, page, y):
        w, up, _ = tx.extent(self.math, "math", SIZE + 0.5)
        page.line([(0.0, "math", self.math)], MARGIN + (ROOM - w) / 2, y + 2 + up, SIZE + 0.5)
        number = [(0.0, "roman", f"({self.number})")]
        page.line(number, PAGE_W - MARGIN - tx.line_width(number, SIZE), y + 2 + up, SIZE)


@dataclass
class Float:
    """A figure: a rectangle that draw(area) fills, and its caption below."""

    draw_into: object
    tall: float
    caption: list
    shrink: object = None  # shrink(0.9): its height and drawing at nine tenths of the width
    above: float = 10.0
    floats = True
    with_next = False
    entry = -1

    def height(self):
        return self.tall + 6 + TIGHT * len(self.caption) + 6

    least = height

    def fitted(self, room):
        """The same as tall as room at most, if that takes no more than a fifth of its width; else None."""
        for percent in range(100, 79, -2) if self.shrink else ():
            tall, draw = self.shrink(percent / 100)
            smaller = Float(draw, tall, self.caption, above=self.above)
            if smaller.height() <= room:
                return smaller
        return None

    def draw(self, page, y):
        page.boxes.append(Box("figure", MARGIN, y, PAGE_W - MARGIN, y + self.tall))
        with matplotlib.rc_context(tx.LOOK):
            self.draw_into(Area(page, MARGIN, y, ROOM, self.tall))
        for i, row in enumerate(self.caption):
            page.line(row, MARGIN, y + self.tall + 6 + TIGHT * (i + 0.75), SMALL, kind="caption")


@dataclass
class Table:
    """Caption, rule, header, rule, rows, rule. Splits between rows, and repeats the header."""

    caption: list
    header: list  # lines of each cell
    rows: list  # of cells, each a list of lines
    columns: list  # (x, width, alignment)
    size: float
    breaks: bool = False  # begins where it stands, and may go on on the next page; else it floats, unless it is very long
    above: float = 9.0
    with_next = False
    entry = -1

    @property
    def floats(self):
        return not self.breaks

    def row_height(self, cells):
        return max(len(cell) for cell in cells) * self.size * 1.32

    def head(self):
        return TIGHT * len(self.caption) + 4 + (self.row_height(self.header) + 5 if any(map(any, self.header)) else 2)

    def height(self):
        return self.head() + sum(map(self.row_height, self.rows)) + 8

    def least(self):
        few = 4 if self.breaks and len(self.rows) > 7 else 8 if len(self.rows) >= 30 else len(self.rows)
        return self.head() + sum(map(self.row_height, self.rows[:few])) + 8

    def split(self, room):
        n, used = 0, self.head()
        while n < len(self.rows) - 2 and used + self.row_height(self.rows[n]) + 8 <= room:
            used += self.row_height(self.rows[n])
            n += 1
        number = re.match(r"Table\s+\d+", tx.plain(self.caption[0], SMALL))  # a figure may stand between its parts
        again = [[(0.0, "italic", f"{number[0] if number else 'The table above'}, continued.")]]
        return (Table(self.caption, self.header, self.rows[:n], self.columns, self.size),
                Table(again, self.header, self.rows[n:], self.columns, self.size, self.breaks))

    def draw(self, page, y):
        for i, row in enumerate(self.caption):
            page.line(row, MARGIN, y + TIGHT * (i + 0.75), SMALL, kind="caption")
        left, right = MARGIN + self.columns[0][0] - 2, MARGIN + sum(self.columns[-1][:2]) + 2
        y += TIGHT * len(self.caption) + 4
        page.rule(left, right, y, 0.9)
        titled = any(map(any, self.header))
        for n, cells in enumerate([self.header, *self.rows], 0 if titled else 1):
            if not cells or (n == 1 and cells is self.header):
                continue
            y += 2 if n < 2 else 0
            for (x, width, align), cell in zip(self.columns, cells):
                for i, line in enumerate(cell):
                    shift = {"l": 0.0, "w": 0.0, "c": 0.5, "r": 1.0}[align] * (width - tx.line_width(line, self.size))
                    page.line(line, MARGIN + x + shift, y + self.size * (1.32 * i + 1), self.size, kind="cell")
            y += self.row_height(cells)
            if n == 0:
                page.rule(left, right, y + 1.5, 0.5)
                y += 1.5
        page.rule(left, right, y + 2, 0.9)


def fit_columns(cells, align, size):
    """[(x, width, alignment)] and the size of type: "w" columns take what the others leave; else the type shrinks down to 7 points."""
    gap, n = 9.0, len(align)
    while True:
        natural = [max(tx.line_width(tx.lines(row[i], size, 1e6, justify=False)[0], size) for row in cells) for i in range(n)]
        fixed = sum(w for w, a in zip(natural, align) if a != "w") + gap * (n - 1)
        spare = ROOM - 4 - fixed
        wide = [w for w, a in zip(natural, align) if a == "w"]
        if (spare >= min(sum(wide), 60 * len(wide))) or size <= 7:
            break
        size -= 0.25
    share, left = {}, spare
    for k, i in enumerate(sorted((i for i in range(n) if align[i] == "w"), key=natural.__getitem__)):  # short ones get what they need
        share[i] = min(natural[i], left / (len(wide) - k))
        left -= share[i]
    widths = [share.get(i, w) for i, w in enumerate(natural)]
    x, columns = 2 + (ROOM - 4 - sum(widths) - gap * (n - 1)) / 2, []
    for w, a in zip(widths, align):
        columns.append((x, w, a))
        x += w + gap
    return columns, size
