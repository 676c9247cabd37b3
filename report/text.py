"""Words, their measured widths, and lines of them: what layout.py puts onto pages.

Markup inside a string: $mathtext$, `code`, **bold**, *italic*. Lengths are points, 1/72 inch, throughout.
Nothing is counted in characters: a word is as wide as its glyphs, by the font's own metrics.
"""

import re
from functools import cache

from matplotlib.font_manager import FontProperties
from matplotlib.mathtext import MathTextParser
from matplotlib.textpath import TextToPath

SERIF = ["STIXGeneral", "DejaVu Sans"]  # both come with matplotlib; the second lends glyphs that the first lacks
FACES = {"roman": {"family": SERIF}, "bold": {"family": SERIF, "weight": "bold"}, "italic": {"family": SERIF, "style": "italic"},
         "code": {"family": "DejaVu Sans Mono"}, "math": {"family": SERIF}}
LOOK = {  # every picture that the report draws itself; mathtext in the same family as the text
    "font.family": SERIF, "mathtext.fontset": "stix", "pdf.fonttype": 42, "font.size": 8.5, "axes.titlesize": 9, "axes.labelsize": 8.5,
    "xtick.labelsize": 8, "ytick.labelsize": 8, "legend.fontsize": 8, "axes.spines.top": False, "axes.spines.right": False,
    "axes.linewidth": 0.6, "axes.grid": True, "grid.alpha": 0.3, "grid.linewidth": 0.4,
    "legend.edgecolor": "none", "legend.fancybox": False, "legend.framealpha": 0.9,
    "lines.linewidth": 1.1,
    "image.cmap": "gray_r", "axes.unicode_minus": True}
CODE = 0.82  # DejaVu Sans Mono looks larger than STIX of the same size
SPACE = 0.25  # of a word space, in sizes
HIDDEN = str.maketrans("$`*", "\ue000\ue001\ue002")
SHOWN = str.maketrans("\ue000\ue001\ue002", "$`*")
MARK = re.compile(r"(\$[^$]+\$)|`([^`]+)`|\*\*([^*]+)\*\*|\*([^*]+)\*")


def literal(text):
    """A string from outside (a name, a link, a note) as markup that shows exactly it."""
    return " ".join(str(text).split()).translate(HIDDEN)


def column_name(key):
    """A figure's key in metrics.json as the heading of a column."""
    words = str(key).replace("_", " ").split()
    return literal(" ".join(w.upper() if w in ("fid", "psnr", "ssim", "kl", "mse", "pca", "elbo", "mig", "tc") else w for w in words))


def size_of(face, size):
    return size * CODE if face == "code" else size


@cache
def font(face, size):
    return FontProperties(size=size_of(face, size), **FACES[face])


@cache
def extent(text, face, size):
    """(width, height above the baseline, depth below it) of a piece of text."""
    w, h, d = TextToPath().get_text_width_height_descent(text, font(face, size), face == "math")
    return float(w), float(h - d), float(d)


@cache
def lift(math, size):
    """How far mathtext sets its baseline too high: it rounds a formula's height up to whole points."""
    drawn = MathTextParser("path").parse(math, 72, font("math", size))
    return next((glyph[4] for glyph in drawn.glyphs if 0 <= glyph[4] < 1), 0.0)


def width(word, size):
    """Of a word: a tuple of (face, text) set without gaps."""
    return sum(extent(text, face, size)[0] for face, text in word)


def parse(markup):
    """Markup -> words; a word is a tuple of (face, text). Spaces inside `code` and $math$ do not break."""
    words, glued, at = [], False, 0

    def add(face, piece):
        nonlocal glued
        parts = [piece] if face == "math" else re.split(r"\s+", piece)
        for i, part in enumerate(parts):
            if i:
                glued = False
            if part:
                part = part.translate(SHOWN).replace("~", "\u00a0") if face != "math" else part
                words.append((*words.pop(), (face, part)) if glued else ((face, part),))
                glued = True

    for match in MARK.finditer(markup):
        add("roman", markup[at:match.start()])
        face = ("math", "code", "bold", "italic")[match.lastindex - 1]
        add(face, match[match.lastindex])
        at = match.end()
    add("roman", markup[at:])
    return words


def cut(word, size, room):
    """A word too wide for any line, a link for instance, in pieces that fit."""
    pieces, now, used = [], [], 0.0
    for face, text in word:
        for part in [text] if face == "math" else text:
            step = extent(part, face, size)[0]
            if used + step > room and now:
                pieces.append(tuple(now))
                now, used = [], 0.0
            if now and now[-1][0] == face and face != "math":
                now[-1] = (face, now[-1][1] + part)
            else:
                now.append((face, part))
            used += step
    return [*pieces, tuple(now)]


def lines(markup, size, room, justify=True):
    """Lines of at most `room` points: each a list of (x, face, text). The last one, and a loose one, stay ragged."""
    rows, row, used, gap = [], [], 0.0, SPACE * size
    for word in parse(markup):
        for piece in [word] if width(word, size) <= room else cut(word, size, room):
            step = width(piece, size)
            if row and used + gap + step > room:
                rows.append((row, used))
                row, used = [], 0.0
            used += (gap if row else 0.0) + step
            row.append(piece)
    rows.append((row, used))
    return [place(row, size, gap + stretch(room - used, len(row) - 1, gap) * (justify and i < len(rows) - 1))
            for i, (row, used) in enumerate(rows)]


def stretch(spare, gaps, gap):
    """What each gap grows by to fill the line; nothing where that would tear holes."""
    return spare / gaps if gaps and spare / gaps < 1.2 * gap else 0.0


def place(row, size, gap):
    pieces, x = [], 0.0
    for word in row:
        for face, text in word:
            pieces.append((x, face, text))
            x += extent(text, face, size)[0]
        x += gap
    return pieces


def line_width(line, size):
    return max((x + extent(text, face, size)[0] for x, face, text in line), default=0.0)


def plain(line, size):
    """A line as a string, for the record of what was written: a gap between pieces is a space."""
    out, end = "", 0.0
    for x, face, text in line:
        out += (" " if x > end + 0.1 else "") + text
        end = x + extent(text, face, size)[0]
    return out
