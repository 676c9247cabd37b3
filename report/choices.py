"""Chapter IV: what each choice brings, from OUT/ablations/*.json, as report/ablations.py writes them or somebody else.

{"title": ..., "rows": {setting: {figure: number}}} will do. Besides: figure_sd beside a figure, its spread; "each": {setting: {figure: [a
number a seed]}}; "base": the setting in use; "what": names a setting; "columns": {figure: {"name", "digits", "lower": is less of
it better?, "beside": the figure that this one, without chance in it, is a yardstick of, as PCA's error is of a net's}}; "order" in the
chapter; "data" and "quick" as in metrics.json. Only a figure that says which way is better is compared, and with its yardstick.

Of two settings a difference within the spread, sqrt(s_a^2 + s_b^2), is a tie. The best of more than two is in part best by luck: there
it is a tie within twice the spread. Of settings that are equal in truth, three seeds put one pair in six further apart than the spread;
of eight such settings, the best is ahead of the one in use by more than that in one case of four, by more than twice that in one of
twenty (simulated with normal figures; a test repeats it).
"""

import math

import numpy as np

from report import ablations, plots
from report import text as tx
from report.front import said
from report.records import Value, compare, dig, exact, number, read_json, verdict


def contents(runs):
    """[(name, content)] of every table that can be read, in their order. A list's rows are numbered, a lone number is a column."""
    found = [(path.stem, read_json(path)) for path in (runs.out / "ablations").glob("*.json") if path.stem != "metrics"]
    found = [(name, content) for name, content in found if isinstance(content, dict) and isinstance(content.get("rows"), dict | list)]
    for _, content in found:
        rows = content["rows"]
        rows = {str(i): row for i, row in enumerate(rows, 1)} if isinstance(rows, list) else rows
        content["rows"] = {setting: row if isinstance(row, dict) else {"value": row} for setting, row in rows.items()}
    return sorted(found, key=lambda item: (dig(item[1], "order") if dig(item[1], "order") is not None else math.inf, item[0]))


def pointer(runs):
    """Where to read what other settings bring."""
    titles = [tx.literal(str(content.get("title", name)).split(":")[0]) for name, content in contents(runs) if columns(content)]
    return (f"Chapter IV compares other settings, a choice at a time: {'; '.join(titles)}." if titles else
            "`make ablations` compares latent sizes, likelihoods, weights of the KL, depths and widths, both encoders and numbers of "
            "Gaussians, a choice at a time; it has not been run in this OUT, and `docs/settings.md` has the tables of another run.")


def columns(content):
    """{figure: (name as markup, format, is lower better or None, what it is a yardstick of or "")} of all that any row has."""
    rows, given, result = content["rows"], content.get("columns"), {}
    for key in dict.fromkeys(key for row in rows.values() for key in row):
        about = given.get(key) if isinstance(given, dict) else None
        about = about if isinstance(about, dict) else {}
        if any(dig(row, key) is not None for row in rows.values()) and not (key.endswith("_sd") and any(
                dig(row, key.removesuffix("_sd")) is not None for row in rows.values())):
            digits, lower = about.get("digits"), about.get("lower")
            result[key] = (tx.literal(about["name"]) if about.get("name") else tx.column_name(key),
                           f"{{:,.{digits}f}}" if digits in range(10) else "{:.3g}", lower if isinstance(lower, bool) else None,
                           str(about.get("beside", "")))
    return dict(list(result.items())[:8])  # more would not fit onto a page


def value(content, setting, key):
    """A figure with its spread over seeds, where there is one."""
    mean = dig(content["rows"], setting, key)
    if mean is None:
        return Value()
    sd, each = dig(content["rows"], setting, f"{key}_sd"), content.get("each")
    each = each.get(setting) if isinstance(each, dict) else None
    each = each.get(key) if isinstance(each, dict) else None
    each = tuple(each) if isinstance(each, list) and all(isinstance(x, int | float) for x in each) else ()
    return Value(mean, math.nan if sd is None else sd, max(1, len(each)), "seeds" if len(each) > 1 and sd is not None else "", each)


def listed(names):
    return " and ".join(filter(None, [("; " if any("," in name for name in names) else ", ").join(names[:-1]), names[-1]]))


def comments(content):
    """For each figure: which setting is best, which tie with it, how the setting in use compares; and each with its yardstick."""
    what, base = str(content.get("what") or ""), content.get("base")
    short = {s: tx.literal(s + " (in use)" * (s == base)) for s in content["rows"]}
    names = {s: f"{tx.literal(what)} {name}".strip() for s, name in short.items()}
    if what.endswith("s"):  # 40 components have, the latent size 24 has
        names = {s: tx.literal(f"{s} {what}") for s in content["rows"]}
    shown = columns(content)
    for key, (label, form, lower, beside) in shown.items():
        values = {s: value(content, s, key) for s in content["rows"]}
        values = {s: v for s, v in values.items() if v.known}
        if beside in shown and shown[beside][2] is not None:
            for s, mine in ((s, value(content, s, beside)) for s in values):
                yield compare(shown[beside][0], names[s], mine, label, exact(values[s], mine), form, shown[beside][2])
        if lower is None or len(values) < 2:
            continue
        best = min(values, key=lambda s: values[s].mean * (1 if lower else -1))
        rest = [s for s in values if s != best]
        times = 2 if len(rest) > 1 else 1  # the best of several is best in part by luck: see above
        ties = [s for s in rest if verdict(values[best], values[s], lower, times) == "tie"]
        if len(rest) > 1 and all(v.spread_known for v in values.values()):
            line = (f"{names[best]} {'have' if what.endswith('s') else 'has'} the {'lowest' if lower else 'highest'} of {len(values)}, "
                    f"{number(form, values[best].mean)}")
            if len(ties) == len(rest):
                yield f"**{label}:** all tie; {line}, but no difference from it is larger than twice the spread."
            else:
                yield f"**{label}:** {line}; " + (f"{listed([short[s] for s in ties])} tie{'s' * (len(ties) == 1)} with it."
                                                  if ties else "each of the others is behind by more than twice the spread.")
        other = base if base in rest else (rest[0] if len(rest) == 1 else None)
        if other is not None:
            yield compare(label, names[best], values[best], names[other], values[other], form, lower, times)


def drawn(name, content, shown):
    """{panel: {figure's name: values (settings, seeds)}} of a table of ablations.py, or {}: what other tables hold, their picture shows."""
    each, panels = content.get("each"), {}
    if name not in ablations.GROUPS or not isinstance(each, dict) or set(each) != set(content["rows"]) or "what" not in content:
        return {}
    for key, (label, *_) in shown.items():
        panel = ablations.COLUMNS[key].panel if key in ablations.COLUMNS else ""
        values = [row.get(key) if isinstance(row, dict) else None for row in each.values()]
        if panel and all(isinstance(row, list) and row and len(row) == len(values[0]) for row in values):
            panels.setdefault(panel, {})[label] = np.array(values, float)
    return panels


def about(content):
    """What a caption's notice is made of: data and quick, as far as the file has them in metrics.json's form."""
    data = content.get("data")
    whole = isinstance(data, dict) and "source" in data and isinstance(data.get("drawings"), dict) and all(
        dig(data, "drawings", kind) is not None for kind in ("train", "validation", "test"))
    return {"data": data if whole else {"source": "", "drawings": {}}, "quick": content.get("quick") is True}


WORDS = {"likelihood": "`bernoulli` is the cross-entropy of chapter II. `sigma` and `unit` are Gaussians around $\\hat{x}$: with the "
                       "variance that makes the data likeliest, their mean squared error [@rybkin2021], and with variance 1."}


def chapter(doc, runs):
    """Nothing where OUT/ablations has no table."""
    found = [(name, content, columns(content)) for name, content in contents(runs)]
    found = [(name, content, shown) for name, content, shown in found if shown]
    if not found:
        return
    doc.heading("IV", "What each choice brings", 1)
    doc.text("Tables of `OUT/ablations/`: the same model with one choice changed at a time, trained more briefly than the models of the "
             "chapters before: the figures compare with each other and with no others, and the order found need not be that of finished "
             "models. In the plots a dot is a seed, lines and bars are means, and the setting in use is on grey. Of two settings, a "
             "difference within the spread over seeds is a tie; three seeds put about one in six pairs of equal settings further apart "
             "than that. The best of several is in part so by luck: there a difference within twice the spread is a tie. Judge and "
             "validation drawings are the same for all seeds: what others would change is in no spread.")
    for i, (name, content, shown) in enumerate(found, 1):
        record, caption = about(content), tx.literal(content.get("title", name))
        doc.heading(f"IV.{i}", caption.split(":")[0])  # no figure drifts past it: comments stay with their table
        rows = [[tx.literal(setting + " (in use)" * (setting == content.get("base"))),
                 *(value(content, setting, key).show(form) for key, (_, form, *_) in shown.items())] for setting in content["rows"]]
        doc.text(WORDS.get(name, ""))
        doc.table(f"ablation_{name}", caption + "." + said(record),
                  [tx.literal(content.get("what") or ""), *(label for label, *_ in shown.values())], rows, "l" + "r" * len(shown), 8.0)
        path, panels = runs.path("ablations", f"{name}.png"), drawn(name, content, shown)
        if panels:
            doc.figure(f"ablation_{name}", f"The figures of {{table:ablation_{name}}}." + said(record), *plots.choices(
                panels, list(content["rows"]), content.get("base"), ablations.GROUPS[name].ordered, tx.literal(content["what"])))
        elif path:
            doc.figure(f"ablation_{name}", f"The figures of {{table:ablation_{name}}}." + said(record),
                       *plots.pictures(plots.fitting(plots.read_picture(path))))
        if record["quick"]:
            doc.text("*Quick run: its figures are not compared.*")
        else:
            doc.points(comments(content))
