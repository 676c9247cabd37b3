"""What differs between two files that are meant to be read side by side: section by section, line by line, word by word."""

import difflib
import re
from functools import partial
from pathlib import PurePosixPath

from book import prose
from book.page import escape, indent_style, page_of

PAIRS = (("conv_ae.py", "conv_vae.py"), ("conv_vae.py", "cvae.py"), ("rnn_ae.py", "rnn_vae.py"), ("rnn_ae.py", "conv_ae.py"),
         ("rnn_vae.py", "conv_vae.py"), ("more/gan.py", "more/cgan.py"), ("more/ddpm.py", "more/cddpm.py"))
MINUS = "\u2212"
KEPT = 2  # unchanged lines that stay in sight around a change; longer runs are folded


def page_name(a, b):
    return f"siblings_{PurePosixPath(a).stem}_{PurePosixPath(b).stem}.html"


def parts(file):
    """{section: [(number, line)]} of a file: its docstring, what follows it, and the sections by their titles."""
    found = {"The docstring": [], "Imports and names": []}
    first = file.intro.last if file.intro else 1 if file.title else 0
    rulers = {s.line: s.title for s in file.sections if s.line}
    title = "The docstring"
    for n, text in enumerate(file.lines, 1):
        title = rulers.get(n) or ("Imports and names" if n == first + 1 else title)
        found.setdefault(title, [])
        if n not in rulers and (text.strip() or found[title]):  # a section begins with its first line that is not blank
            found[title].append((n, text))
    for lines in found.values():
        while lines and not lines[-1][1].strip():
            lines.pop()
    return found


def pair(old, new):
    """[(line of old or None, line of new or None)]: which removed line became which added one, in order.

    The alignment with the largest sum of likenesses; two lines that have less than half in common are no pair.
    """
    like = [[0.0] * (len(new) + 1) for _ in range(len(old) + 1)]
    ratio = {}
    for i in range(len(old) - 1, -1, -1):
        for j in range(len(new) - 1, -1, -1):
            matcher = difflib.SequenceMatcher(None, old[i][1].split(), new[j][1].split(), autojunk=False)
            ratio[i, j] = matcher.ratio() if matcher.real_quick_ratio() > 0.45 else 0.0
            both = ratio[i, j] + like[i + 1][j + 1] if ratio[i, j] > 0.45 else 0.0
            like[i][j] = max(both, like[i + 1][j], like[i][j + 1])
    i = j = 0
    found = []
    while i < len(old) or j < len(new):
        if i < len(old) and j < len(new) and ratio[i, j] > 0.45 and like[i][j] == ratio[i, j] + like[i + 1][j + 1]:
            found.append((old[i], new[j]))
            i, j = i + 1, j + 1
        elif j == len(new) or (i < len(old) and like[i][j] == like[i + 1][j]):
            found.append((old[i], None))
            i += 1
        else:
            found.append((None, new[j]))
            j += 1
    return found


def compare(old, new):
    """[(kind, old line, new line)] of two lists of (number, text); kind: same, changed, removed or added."""
    matcher = difflib.SequenceMatcher(None, [t for _, t in old], [t for _, t in new], autojunk=False)
    found = []
    for kind, a, b, c, d in matcher.get_opcodes():
        if kind == "equal":
            found += [("same", x, y) for x, y in zip(old[a:b], new[c:d])]
        else:
            found += [("changed" if x and y else "removed" if x else "added", x, y) for x, y in pair(old[a:b], new[c:d])]
    return found


def words(old, new):
    """HTML of both lines, with what is only in one of them marked."""
    a, b = (re.findall(r"\w+|\s+|[^\w\s]", text) for text in (old, new))
    left, right = [], []
    for kind, i, j, k, n in difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        x, y = escape("".join(a[i:j])), escape("".join(b[k:n]))
        left.append(x if kind == "equal" else x and f"<mark>{x}</mark>")
        right.append(y if kind == "equal" else y and f"<mark>{y}</mark>")
    return "".join(left), "".join(right)


def cell(at, item, shown, tag, sign):
    if item is None:
        return '<div class="cell none"></div>'
    number, text = item
    body = f"<{tag}>{shown}</{tag}>" if tag else shown
    return (f'<div class="cell {tag or "same"}"{indent_style(text)}><a class="n" href="{at(number)}">{number}</a>'
            f'<span class="sign">{sign}</span><code>{body}</code></div>')


def row(kind, old, new, at):
    if kind == "same":
        shown = escape(new[1])
        return f'<div class="pair same">{cell(at[0], old, shown, "", " ")}{cell(at[1], new, shown, "", " ")}</div>'
    left, right = words(old[1], new[1]) if kind == "changed" else (escape(old[1]) if old else "", escape(new[1]) if new else "")
    return f'<div class="pair">{cell(at[0], old, left, "del", MINUS)}{cell(at[1], new, right, "ins", "+")}</div>'


def folded(rows, at):
    """HTML of the compared lines; unchanged ones far from any change are folded away. at: for each file, where a line is."""
    out, i = [], 0
    while i < len(rows):
        j = i
        while j < len(rows) and (rows[j][0] == "same") == (rows[i][0] == "same"):
            j += 1
        shown = ["".join(row(*line, at)) for line in rows[i:j]]
        if rows[i][0] == "same":
            head, tail = (KEPT if i else 0), (KEPT if j < len(rows) else 0)
            inner = shown[head:len(shown) - tail]
            if len(inner) > 2:
                fold = f'<details class="fold"><summary>{len(inner)} lines are the same</summary>{"".join(inner)}</details>'
                out += [*shown[:head], fold, *shown[len(shown) - tail:]]
                i = j
                continue
        out += shown
        i = j
    return "".join(out)


def lesson(file, other):
    """The sentences of a docstring that say what is new beside the other file."""
    name = PurePosixPath(other).name
    text = re.sub(r"\s+", " ", file.docs[""])
    for found in re.finditer(r"(New beside|Compared with) (\w+\.py)[^.]*(?:\.(?!\s|$)[^.]*)*\.(?: Gone: [^.]*\.)?", text):
        if found[2] == name:
            return found[0]
    found = re.search(r"From (\w+\.py) only[^.]*\.", text)
    return found[0] if found and found[1] == name else ""


def counts(rows):
    kinds = [kind for kind, a, b in rows if (b or a)[1].strip()]  # blank lines do not count
    same = kinds.count("same")
    return same, len(kinds) - same, kinds.count("changed"), kinds.count("removed"), kinds.count("added")


def say(rows):
    """In words: how much of a section is the same."""
    same, other, changed, removed, added = counts(rows)
    if not other:
        return f"all {same} lines are the same" if same != 1 else "its only line is the same"
    what = ", ".join(f"{n} {word}" for n, word in ((changed, "changed"), (removed, "gone"), (added, "new")) if n)
    return f"{same} line{'s' * (same != 1)} the same; {what}"


def bar(same, total):
    return (f'<span class="bar" style="--part:{same / max(total, 1):.3f}" aria-hidden="true"></span> '
            f'<span class="say">{same} of {total} the same</span>')


def pair_page(a, b, links):
    """The page of two files, a before b. Returns (HTML, {section: (lines the same, lines in all)})."""
    old, new, pages = parts(a), parts(b), (page_of(a.path), page_of(b.path))
    at = [partial(links.line, file.path) for file in (a, b)]
    out, table = [], {}
    titles = list(dict.fromkeys([*old, *new]))
    for i, title in enumerate(titles):
        rows = compare(old.get(title, []), new.get(title, []))
        same, other, *_ = counts(rows)
        table[title] = (same, same + other)
        shown = folded(rows, at)
        if title == "The docstring":
            shown = f'<details class="fold whole"><summary>Both docstrings, line by line</summary>{shown}</details>'
        out.append(f'<section><h2 id="part-{i}">{escape(title)} <span class="say">{say(rows)}</span></h2>'
                   f'<div class="heads" aria-hidden="true"><span>{a.path}</span><span>{b.path}</span></div>'
                   f'<div class="diff" translate="no">{shown}</div></section>')
    said = [prose.running(text, links, file.path) for file, text in ((b, lesson(b, a.path)), (a, lesson(a, b.path))) if text]
    bars = "".join(f'<li><span class="name"><a href="#part-{i}">{escape(title)}</a></span> {bar(*table[title])}</li>'
                   for i, title in enumerate(table))
    head = (f'<header class="opening"><p class="where">Siblings</p><h1><a href="{pages[0]}"><code>{a.path}</code></a> and '
            f'<a href="{pages[1]}"><code>{b.path}</code></a></h1></header>'
            f'<div class="text">{"".join(f"<p class=lesson>{text}</p>" for text in said)}<p>Left or above, with {MINUS}, what is in '
            f"{a.path} alone; right or below, with +, what is in {b.path} alone. A line number leads into the file. The bars show how many "
            f"lines are the same.</p></div>"
            f'<ul class="bars">{bars}</ul>')
    return f'<article class="siblings">{head}{"".join(out)}</article>', table


def hub(done, links, files):
    """The page that leads to the pairs. done: [(a, b, table)]."""
    out, shares = [], []
    for a, b, table in done:
        page, said = page_name(a, b), lesson(files[b], a) or lesson(files[a], b)
        same, total = (sum(x[i] for title, x in table.items() if title != "The docstring") for i in (0, 1))
        shares.append((same / total, f"<code>{a}</code> and <code>{b}</code>"))
        cells = "".join(f"<td>{x}/{n}</td>" if n else "<td></td>" for x, n in (table.get(t, (0, 0)) for t in COLUMNS))
        out.append(f'<tr><th scope="row"><a href="{page}">{shares[-1][1]}</a>'
                   f'<p>{prose.running(said, links, "")}</p></th><td>{same / total:.0%}</td>{cells}</tr>')
    heads = "".join(f'<th scope="col">{title}</th>' for title in COLUMNS)
    (least, far), (most, near) = min(shares), max(shares)
    return (f'<article class="text wide"><header class="opening"><p class="where">Siblings</p><h1>The difference is the lesson</h1>'
            f"</header><p>Siblings have the same sections in the same order, so that what differs stands side by side. The share of their "
            f"lines that are the same says how far apart they are: {most:.0%} of {near}, {least:.0%} of {far}. "
            f"The table counts, section by section, the lines that are the same in both, of all lines in either; the first column is "
            f"their share, docstrings left out.</p>"
            f'<div class="scroll"><table class="pairs"><thead><tr><th scope="col">Files</th><th scope="col">Same</th>{heads}</tr></thead>'
            f"<tbody>{''.join(out)}</tbody></table></div></article>")


COLUMNS = ("Settings", "Model", "Loss", "Training", "Evaluation", "Pictures", "Main")
