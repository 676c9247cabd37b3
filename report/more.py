"""Chapter III: the files of more/ that have left a finished run in OUT, each with its data, idea, figures, pictures, settings, limits.

specs.py says in words and equations what a file does; the figures and pictures come from the run, and findings.py compares them. No
outcome stands in here.
"""

import math

from report import findings, plots
from report import text as tx
from report.findings import samples_of
from report.front import about_data, said
from report.records import Value, dig, find, number
from report.settings import settings
from report.specs import SPECS

SOURCE = {"mnist": " [@lecun1998]", "rt-polarity": " [@pang2005]", "course": " [@quickdraw]", "quickdraw": " [@quickdraw]"}
SWEEP = "What short runs with other settings gave (`--sweep`), measured without test images: no figures of finished models"


def variants(runs, name):
    """Folders with a finished run of a file: painted, grey, on drawings in place of digits."""
    return [folder for folder in (name, f"{name}_grey", f"drawings/{name}") if runs.has(folder)]


# ---- Data -------------------------------------------------------------------------------------------------------

def images_of(spec, record):
    """What the images of a run are, as markup; nothing of sentences."""
    config = record["config"]
    if spec.images == "sentences":
        return " They are of film reviews, each positive or negative." if record["data"].get("source") == "rt-polarity" else (
            " Each is positive or negative.")
    size = int(dig(config, "size") or 28)
    painted = spec.images == "painted" and config.get("grey") is not True and "painted" in str(record["data"].get("name", ""))
    if painted:
        return f" Each drawing is painted in a hue of its own, drawn at random: {size}×{size} pixels with three channels."
    return f" {spec.kind.capitalize()} of {size}×{size} pixels" + (
        ", grey." if spec.images == "grey" or config.get("grey") is True or painted else ".")


def data(doc, runs, spec, folders):
    """What a section's figures are measured on; folders whose data are the same are named together."""
    groups = {}
    for folder in folders:
        record = runs.record(folder)
        text = about_data(record) + SOURCE.get(record["data"].get("source"), "") + "." + images_of(spec, record)
        groups.setdefault(text, []).append(f"`{folder}`")
    for text, names in groups.items():
        doc.text(f"**Data**{' of ' + ' and '.join(names) if len(groups) > 1 else ''}**:** {text}")


# ---- Tables -----------------------------------------------------------------------------------------------------

def cell(runs, folder, keys, column, known=None):
    """A figure of a run as markup; known: columns that were read from the row's name."""
    if known and keys[-1] in known:
        value = known[keys[-1]]
        return value if isinstance(value, str) else number(column.form, value)  # words are of specs.py: markup
    if column.form is None:
        entry = find(runs.record(folder), *keys)
        entry = " \u00b7 ".join(map(str, entry)) if isinstance(entry, list) else entry
        return tx.literal(entry) if isinstance(entry, str) else "\u2013"
    return findings.value(runs, folder, keys, column).show(column.form)


def sheet_rows(runs, folder, sheet):
    """[(first cell as markup, keys that lead to the row, what its name told)] of an entry of metrics.json."""
    entry = runs.record(folder).get(sheet.key)
    if isinstance(entry, dict):
        rows = [(name, (sheet.key, name), row) for name, row in entry.items()]
    else:
        rows = [(row.get(sheet.by, i + 1) if isinstance(row, dict) else i + 1, (sheet.key, i), row)
                for i, row in enumerate(entry if isinstance(entry, list) else ())]
    rows = [(name, keys) for name, keys, row in rows if isinstance(row, dict)]
    return [(sheet.names.get(name) or (number(sheet.form, name) if isinstance(name, float) else tx.literal(name)), keys,
             sheet.parse and sheet.parse(str(name))) for name, keys in rows]


def sheet_table(runs, folder, sheet):
    """(header, rows, alignment), or None where the run has nothing of it."""
    rows = sheet_rows(runs, folder, sheet)
    named = not (sheet.parse and all(known for *_, known in rows))  # else columns say what the name says
    columns = {key: column for key, column in sheet.columns.items() if any(
        (known and key in known) or find(runs.record(folder), *keys, key) is not None for _, keys, known in rows)}
    if not rows or not columns:
        return None
    cells = [[first] * named + [cell(runs, folder, (*keys, key), column, known) for key, column in columns.items()]
             for first, keys, known in rows]
    return [sheet.first] * named + [column.label for column in columns.values()], cells, "l" * named + "".join(
        "r" if column.form else "w" if isinstance(find(runs.record(folder), *rows[0][1], key), list) else "l"
        for key, column in columns.items())


def sweep_sheet(runs, folder):
    """The table of a file's --sweep, if it has been run, as a Sheet of its own record."""
    rows = (runs.record(folder, "sweep") or {}).get("rows")
    rows = {name: row for name, row in rows.items() if isinstance(row, dict)} if isinstance(rows, dict) else {}
    keys = list(dict.fromkeys(key for row in rows.values() for key in row if dig(row, key) is not None))
    forms = {key: column_form([dig(row, key) for row in rows.values()]) for key in keys}
    return rows and (["setting", *(tx.column_name(key) for key in keys)], [
        [tx.literal(name), *(Value(dig(row, key), n=1).show(forms[key]) if dig(row, key) is not None else "\u2013" for key in keys)]
        for name, row in rows.items()], "l" + "r" * len(keys))


def column_form(values):
    """One format for a column: three digits of its largest number, more where its smallest would show none, five places at most."""
    sizes = [abs(v) for v in values if v is not None and math.isfinite(v) and v]
    if all(size == round(size) for size in sizes):
        return "{:,.0f}"
    places = max(2 - math.floor(math.log10(max(sizes))), -math.floor(math.log10(min(sizes))))
    return f"{{:,.{min(max(places, 0), 5)}f}}"


def captioned(runs, folder, name, sheet):
    """A sheet's caption: which run, and what stands behind its figures that the record alone does not say."""
    record = runs.record(folder)
    text = sheet.caption.replace("{seeds}", str(record["config"].get("seeds", 1)))
    n = samples_of(runs, folder)
    if sheet.key == "samplers":
        few = f"{n // 10:,}" if n else "a tenth of the"
        text += f" of {few} samples each: of fewer samples it is larger, so that it is not to be compared with that of {{table:{name}}}"
    return f"{text} (`{folder}`)."


def figures(doc, runs, name, spec, folders):
    """The table of what a whole run has, a row a run: low tables."""
    records = [runs.record(folder) for folder in folders]
    counts = {findings.fid_samples(runs, folder) for folder in folders}
    n = f"{counts.pop():,} " if len(counts) == 1 and None not in counts else ""
    columns = [[column.label.replace("{n} ", n), *(cell(runs, folder, keys, column) for folder in folders)]
               for keys, column in spec.figures.items()]
    columns = [["", *(f"`{folder}`" for folder in folders)], *(column for column in columns if set(column[1:]) != {"\u2013"})]
    if len(columns) > 1:
        header, *rows = map(list, zip(*columns))
        doc.table(name, f"{spec.title}: figures of the run{'s' * (len(folders) > 1)}." + said(*records), header, rows,
                  "l" + "r" * (len(header) - 1))


# ---- Sections ---------------------------------------------------------------------------------------------------

def picture(doc, runs, name, folder, file, about):
    """A picture of a run, in as many figures as it takes to show all of it."""
    path = runs.path(folder, file)
    if not path:
        return
    pixels = plots.read_picture(path)
    parts = plots.panels(pixels, *about.cut) if about.cut else plots.fitting(pixels)
    notes = f" Numbers of equations in the picture are those of the docstring of `{name}.py`." * about.numbers
    for i, shown in enumerate(plots.pages(parts)):
        again = f", continued from {{figure:{folder}_{file}}}" if i else ""
        key = f"{folder}_{file}" + f"_{i}" * bool(i)
        doc.figure(key, f"{about.caption} (`{folder}`){again}.{notes}" + said(runs.record(folder)), *plots.pictures(shown),
                   shrink=lambda s, shown=shown: plots.pictures(shown, shrunk=s))


def section(doc, runs, name, spec, place, folders):
    doc.heading(f"III.{place}", spec.title)
    data(doc, runs, spec, folders)
    doc.text(f"`more/{name}.py`. {spec.words}")
    for i, equation in enumerate(spec.equations):
        doc.equation(f"{name}_{i}", equation)
    figures(doc, runs, name, spec, folders)
    for folder in folders:
        record = runs.record(folder)
        for i, sheet in enumerate(spec.sheets):
            table = sheet_table(runs, folder, sheet)
            if table:
                key = f"{folder}_{sheet.key}" + f"_{i}" * any(other.key == sheet.key for other in spec.sheets[:i])
                doc.table(key, captioned(runs, folder, name, sheet) + said(record), *table, 8.0)
        doc.points([] if record["quick"] else findings.comments(runs, name, folder))
        for file, about in spec.pictures.items():
            picture(doc, runs, name, folder, file, about)
        swept = sweep_sheet(runs, folder)
        if swept:
            doc.table(f"{folder}_sweep", f"{SWEEP} (`{folder}`)." + said(runs.record(folder, "sweep")), *swept, 8.0)
    settings(doc, runs, name, folders)
    doc.text(f"**Limits.** {spec.limits}")


def chapter(doc, runs):
    """Nothing where nothing of more/ has been run."""
    found = {name: variants(runs, name) for name in SPECS}
    found = {name: folders for name, folders in found.items() if folders}
    if found:
        doc.heading("III", "Further models", 1)
        doc.text("Files of `more/` that have a finished run in this OUT, each in brief; the docstring of each derives its equations. Each "
                 "section begins with its data: they are not those of chapters I and II everywhere.")
        if any(("fid",) in SPECS[name].figures for name in found):
            doc.text("FID is of as many of a run's samples as there are test drawings, by the judge of its kind of image: a CNN that was "
                     "trained on painted drawings where drawings are painted. It is of one set of samples and has no spread, unless a ± "
                     "is shown. Comparisons with `conv_vae`'s prior samples are of one table of `metrics.py`, for grey drawings or for "
                     "painted ones, where both stand in it: each figure there is the mean over subsets of as many samples."
                     + findings.no_colour_table(runs, [folder for folders in found.values() for folder in folders]))
    for i, (name, folders) in enumerate(found.items(), 1):
        section(doc, runs, name, SPECS[name], i, folders)
