"""The report's pictures: curves drawn anew from history.json as lines, sample files as pixels, and the runs' own PNGs at a readable size.

Each function returns (height in points, draw(area)), for Document.figure.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

import common
from report.pages import ROOM

DPI = 120  # of the runs' pictures (common.figure)
COLORS = common.COLORS


def finite(history, *keys):
    """The records that have these as numbers."""
    return [r for r in history or [] if all(isinstance(r.get(key), (int, float)) for key in keys)]


def curves(lines, ylabel, levels=None, log=False, height=165, xlabel="epoch", xkey="epoch"):
    """lines: {label: (history, key, color index, style)}; levels: {label: height} of dotted lines."""
    def draw(area):
        ax = area.axes(42, 8, ROOM - 190, height - 40)
        for label, (history, key, color, style) in lines.items():
            records = finite(history, xkey, key)
            ax.plot([r[xkey] for r in records], [r[key] for r in records], style, color=COLORS[color], label=label)
        for (label, level), shade in zip((levels or {}).items(), ("0.2", "0.6")):
            if np.isfinite(level):
                ax.axhline(level, color=shade, linestyle=":", label=label)
        ax.set(xlabel=xlabel, ylabel=ylabel, yscale="log" if log else "linear")
        if log:
            ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            ax.yaxis.set_minor_formatter(NullFormatter())
        early = [r[key] for history, key, *_ in lines.values() for r in finite(history, key)[len(history) // 20:][:1]]
        if not log and early and np.isfinite(early).all():  # the first epochs would hide the rest
            ax.set_ylim(top=max(early) * (1.02 if max(early) > 0 else 0.98))
        ax.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0), borderaxespad=0)
    return height, draw


def convergence(histories, level, key="val_objective", height=170):
    """The same curves by epoch and by second; a dot where each first reaches the level."""
    def draw(area):
        wide = (ROOM - 96) / 2
        for i, unit in enumerate(("epoch", "seconds")):
            ax = area.axes(40 + i * (wide + 52), 16, wide, height - 52)
            top = []
            for color, (name, history) in zip(COLORS, histories.items()):
                records = finite(history, unit, key)
                ax.plot([r[unit] for r in records], [r[key] for r in records], color=color, label=name)
                hit = next((r for r in records if r[key] <= level), None)
                if hit:
                    ax.plot(hit[unit], hit[key], "o", color=color, markersize=4)
                top += [r[key] for r in records[len(records) // 20:][:1]]
            if np.isfinite(level):
                ax.axhline(level, color="0.5", linestyle=":")
            if top and np.isfinite(top).all():
                ax.set_ylim(top=max(top))
            ax.set(title=f"by {unit}", xlabel=unit, ylabel="nats a drawing")
            if i == 0:
                ax.legend(loc="upper right")
    return height, draw


def grid(images, columns):
    """Drawings (N, H, W) or (N, H, W, 3), uint8, as one picture with white lines of two pixels between them."""
    images = np.asarray(images)
    if images.ndim == 3:
        images = 255 - images  # ink is dark
    rows = len(images) // columns
    h, w, *rgb = images.shape[1:]
    sheet = np.full((rows * (h + 2), columns * (w + 2), *rgb), 255, np.uint8)
    for i, image in enumerate(images[:rows * columns]):
        r, c = divmod(i, columns)
        sheet[r * (h + 2):r * (h + 2) + h, c * (w + 2):c * (w + 2) + w] = image
    return sheet


def sheets(named, columns=12, rows=5, across=2):
    """Sample sets side by side, the first ones of each, none picked: named {title: (N, H, W)}."""
    wide = (ROOM - 14 * (across - 1)) / across
    tall = wide * rows / columns + 18
    height = tall * -(-len(named) // across)

    def draw(area):
        for i, (title, images) in enumerate(named.items()):
            x, y = (i % across) * (wide + 14), (i // across) * tall
            area.text(title, x, y + 9)
            sheet = grid(images[:rows * columns], columns)
            area.image(sheet, x, y + 14, wide, wide * sheet.shape[0] / sheet.shape[1], **({"cmap": "gray", "vmin": 0, "vmax": 255}
                                                                                         if sheet.ndim == 2 else {}))
    return height - 4, draw


def bars(rows, value, error, xlabel, log=False, second=None):
    """Horizontal bars {name: Value-like numbers}; one panel, or two side by side."""
    panels = [(value, error, xlabel, log), *([second] if second else [])]
    height = 14.5 * len(rows) + 46

    def draw(area):
        names, wide = list(rows), (ROOM - 130 - 16 * (len(panels) - 1)) / len(panels)
        for i, (values, errors, label, logarithmic) in enumerate(panels):
            ax = area.axes(124 + i * (wide + 16), 4, wide, height - 40)
            ax.barh(range(len(names)), values, xerr=errors, height=0.62, color=[rows[n] for n in names], error_kw={"linewidth": 0.8})
            ax.set(xlabel=label, yticks=range(len(names)), yticklabels=names if i == 0 else [], ylim=(len(names) - 0.4, -0.6))
            if logarithmic and np.nanmin([*values, np.inf]) > 0:
                ax.set_xscale("log")
            ax.grid(axis="y", visible=False)
    return height, draw


def fifteen(images, asked, said):
    """Drawings (15, 28, 28) in rows of five; asked: the names; said: for each a (markup, is it right) of each judge."""
    cell, tall = ROOM / 5, 92

    def draw(area):
        for i, image in enumerate(images):
            x, y = (i % 5) * cell, (i // 5) * tall
            area.text(f"asked: **{asked[i]}**", x + cell / 2, y + 9, 8, "center")
            area.image(255 - image, x + cell / 2 - 24, y + 13, 48, 48, cmap="gray", vmin=0, vmax=255)
            for j, (line, right) in enumerate(said[i]):
                area.text(line, x + cell / 2, y + 70 + 10 * j, 8, "center", "black" if right else "#B22222")
    return 3 * tall - 4, draw


def read_picture(path):
    """An RGB picture without white edges and without the grey line that common.save_figure puts under it."""
    pixels = plt.imread(path)[..., :3]
    if pixels.dtype != np.uint8:
        pixels = (pixels * 255).round().astype(np.uint8)
    pixels = trim(pixels)
    ink = (pixels < 250).any(axis=(1, 2))
    edges = np.flatnonzero(np.diff(ink.astype(int)))  # changes between white rows and others
    if len(edges) >= 2 and len(ink) - 1 - edges[-1] <= 18 and edges[-1] - edges[-2] >= 3 and is_grey(pixels[edges[-1] + 1:]):
        pixels = trim(pixels[:edges[-2] + 1])
    return pixels


def is_grey(pixels):
    return int(np.ptp(pixels.astype(int), axis=2).max()) < 8 and pixels.min() > 60


def trim(pixels):
    """Without the white frame; a picture of nothing is left as it is."""
    ink = (pixels < 250).any(axis=2)
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    return pixels[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1] if len(rows) else pixels


def split(pixels, panels, widest=False):
    """The picture cut at a white gap near each k / panels of its width; whole where there is none.

    Of wide gaps the leftmost: what comes after it, the label of an axis for instance, belongs to the panel on the right. widest: the
    widest; between rows of panels, where titles stand above and labels of axes below.
    """
    found = cuts(pixels, panels, widest)
    return [trim(part) for part in np.split(pixels, found, axis=1)] if found else [pixels]


def cuts(pixels, panels, widest=False):
    """Where split() cuts, or [] where there is a place without a gap."""
    white = (pixels >= 250).all(axis=(0, 2))
    found, width = [], len(white)
    for k in range(1, panels):
        near = white[(first := int(width * (k / panels - 0.12))):int(width * (k / panels + 0.12))].astype(int)
        edges = np.flatnonzero(np.diff(np.concatenate([[0], near, [0]]))).reshape(-1, 2)  # from, to of each gap
        wide = [(a, b) for a, b in edges if b - a >= max(8, 0.55 * np.diff(edges).max())]
        if not wide:
            return []
        found.append(first + sum(max(wide, key=np.diff) if widest else wide[0]) // 2)
    return found


def panels(pixels, rows, columns):
    """The picture cut into its panels, row by row, without empty ones; where there are no gaps between them, as fitting() cuts it."""
    across = cuts(pixels.transpose(1, 0, 2), rows, widest=True)
    cells = [(row, cuts(row, columns)) for row in np.split(pixels, across)]  # each row as wide as the picture, though its end be empty
    if len(across) < rows - 1 or any(len(down) < columns - 1 for _, down in cells):
        return fitting(pixels)
    return [trim(part) for row, down in cells for part in np.split(row, down, axis=1) if (part < 250).any()]


def in_rows(parts, scale):
    """[[(pixels, width, height)]] of a page's width, at one scale; a picture wider than the page is made smaller."""
    rows, used = [[]], 0.0
    for part in parts:
        w, h = part.shape[1] * 72 / DPI, part.shape[0] * 72 / DPI
        s = min(scale, ROOM / w)
        if rows[-1] and used + w * s > ROOM + 0.5:
            rows.append([])
            used = 0.0
        rows[-1].append((part, w * s, h * s))
        used += w * s + 12
    return rows


LEAST = 0.72  # scale at which labels of 9 points are still 6.5
TALLEST = 620  # points; a page has room for a caption, too


def shown_rows(parts, scale=0.78, tallest=TALLEST):
    """(rows, height) of at most a page; a picture that alone is taller than that becomes as small as it takes."""
    for s in np.arange(scale, LEAST - 0.005, -0.02):
        rows = in_rows(parts, s)
        if tall(rows) <= tallest:
            return rows, tall(rows)
    if len(parts) == 1:
        rows = in_rows(parts, tallest / (parts[0].shape[0] * 72 / DPI))
    return rows, tall(rows)


def pages(parts, scale=0.78):
    """The parts, some at a time: as many as fit on a page."""
    shown = []
    for part in parts:
        if shown and shown_rows([*shown[-1], part], scale)[1] <= TALLEST:
            shown[-1].append(part)
        else:
            shown.append([part])
    return shown


def tall(rows):
    return sum(max(h for *_, h in row) for row in rows) + 10 * (len(rows) - 1)


def pictures(parts, scale=0.78, tallest=TALLEST, shrunk=1.0):
    """Pixels of several pictures at one scale (1: their own size), as many a row as fit, on one page; shrunk: then smaller by that."""
    rows, height = shown_rows(parts, scale, tallest)
    rows = [[(part, w * shrunk, h * shrunk) for part, w, h in row] for row in rows]
    height = tall(rows)

    def draw(area):
        y = 0
        for row in rows:
            x = (ROOM - sum(w for _, w, _ in row) - 12 * (len(row) - 1)) / 2
            for part, w, h in row:
                area.image(part, max(0, x), y, w, h)
                x += w + 12
            y += max(h for *_, h in row) + 10
    return height, draw


def terms(history, height=130):
    """Reconstruction and KL by epoch, side by side, training dashed and validation solid."""
    def draw(area):
        wide = (ROOM - 96) / 2
        for i, (key, title) in enumerate((("reconstruction", "reconstruction term $R$"), ("kl", "KL"))):
            ax = area.axes(40 + i * (wide + 52), 16, wide, height - 52)
            for kind, style, label in (("train", "--", "training"), ("val", "-", "validation")):
                records = finite(history, "epoch", f"{kind}_{key}")
                ax.plot([r["epoch"] for r in records], [r[f"{kind}_{key}"] for r in records], style, color=COLORS[i], label=label)
            early = [r[f"train_{key}"] for r in finite(history, f"train_{key}")][len(history) // 20:][:1]
            if key == "reconstruction" and early and np.isfinite(early).all():
                ax.set_ylim(top=early[0])
            ax.set(title=title, xlabel="epoch", ylabel="nats a drawing")
            ax.legend(loc="best")
    return height, draw


def fitting(pixels, widest=1085):
    """A picture as it is if its labels stay readable at the width of the text, else cut into as few panels as do."""
    if pixels.shape[1] <= widest:
        return [pixels]
    for panels in range(2, 8):
        parts = split(pixels, panels)
        if max(part.shape[1] for part in parts) <= widest:
            return parts
    return [pixels]


def choices(panels, names, base, ordered, xlabel):
    """A figure by setting: a dot a seed, a line through the means, or a bar at each where settings are no sizes; grey: in use.

    panels: {title: {label: values (settings, seeds)}}; names: of the settings; base: the one in use; ordered: are they sizes?
    """
    columns, wide, high = min(3, len(panels)), (ROOM - 12) / 3, 82
    rows = [list(panels.values())[i:i + columns] for i in range(0, len(panels), columns)]
    below = [12 * max(len(lines) * (len(lines) > 1) for lines in row) for row in rows]  # each row's legends, where they hide nothing
    tops = [16 + sum(high + 54 + b for b in below[:i]) for i in range(len(rows))]
    left = (ROOM - columns * wide) / 2

    def draw(area):
        for i, (title, lines) in enumerate(panels.items()):
            ax = area.axes(left + i % columns * (wide + 6) + 32, tops[i // columns], wide - 40, high)
            at = np.arange(len(names))
            if base in names:
                ax.axvspan(names.index(base) - 0.3, names.index(base) + 0.3, color="0.92", zorder=0)
            for j, (label, values) in enumerate(lines.items()):
                side = 0 if ordered else 0.3 * (j - (len(lines) - 1) / 2)  # else one would hide the other
                ax.plot(np.repeat(at + side, values.shape[1]), values.ravel(), "o", markersize=2.5, alpha=0.6, color=COLORS[j])
                ax.plot(at + side, values.mean(axis=1), "-" if ordered else "_", markersize=12, color=COLORS[j], label=label)
            ax.set(title=title, xlabel=xlabel, xticks=at, xticklabels=names, xlim=(-0.6, len(names) - 0.4))
            if len(lines) > 1:
                ax.legend(loc="upper center", bbox_to_anchor=(0.5, -33 / high), borderaxespad=0, handlelength=1.2, labelspacing=0.2)
    return tops[-1] + high + 32 + below[-1], draw
