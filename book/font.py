"""book/math.woff: the letters and signs of the book's formulas, cut out of a free mathematical font, with its table of measures.

    python -m book.font            needs fontTools, which comes with matplotlib, and Debian's fonts-dejavu-extra

A browser sets subscripts, powers and tall brackets by a font's MATH table. A plain Debian has no mathematical font: a stack of names ends
at DejaVu Serif, whose table lets indices fall by 0 and powers rise by 0, so that x_t reads xt. So the book brings its own. The source is
DejaVu Math TeX Gyre; math-licence.txt allows to change it and to pass it on, and goes with it. To be run again when symbols.py learns a
new sign; tests/test_book.py finds what is missing.
"""

import argparse
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTFont

from book import symbols

SOURCE = "/usr/share/fonts/truetype/dejavu/DejaVuMathTeXGyre.ttf"
FONT = Path(__file__).with_name("math.woff")
NAME = "Book Math"
OTHERS = "·×…′ˆ∥‖√∇⌊⌋ℝ\u00a0\u2061\u2062"  # what formula.py and symbols.py write besides their tables


def italic(character):
    """What a browser draws for <mi>x</mi>: a letter of the mathematical alphabets."""
    for first, last, at in (("A", "Z", 0x1D434), ("a", "z", 0x1D44E), ("Α", "Ω", 0x1D6E2), ("α", "ω", 0x1D6FC)):
        if first <= character <= last:
            return "ℎ" if character == "h" else chr(at + ord(character) - ord(first))
    return character


def characters():
    """All that a formula may hold: ASCII, the signs that symbols.py knows, and their letters in italics."""
    tables = (symbols.GREEK, symbols.RELATIONS, symbols.SIGNS, symbols.WIDE, symbols.INDICES)
    upright = {*map(chr, range(32, 127)), *OTHERS, *"".join(sign for table in tables for sign in table.values())}
    return upright | set(map(italic, upright))


def cut(source, target):
    """Write the smaller font; the same source gives the same bytes."""
    font = TTFont(source, recalcTimestamp=False)
    options = subset.Options(flavor="woff", layout_features=["ssty", "dtls"], drop_tables=["FFTM", "GPOS"], name_IDs=[0, 1, 2, 4, 5, 6])
    cutter = subset.Subsetter(options)
    cutter.populate(unicodes=set(map(ord, characters())) & set(font.getBestCmap()))
    cutter.subset(font)
    for record in font["name"].names:
        if record.nameID in (1, 4, 6):  # a changed font has a name of its own
            record.string = NAME if record.nameID != 6 else NAME.replace(" ", "")
    font.flavor = "woff"
    font.save(target)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="book.font", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default=SOURCE, help="the whole font")
    cut(parser.parse_args().source, FONT)
    print(f"{FONT}: {FONT.stat().st_size:,} bytes, {len(TTFont(FONT).getBestCmap())} characters")
