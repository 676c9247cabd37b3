"""The pages that are no file's: contents, documents, search with its index."""

import json
import re

from book import chapter, prose
from book.page import NAME, escape, page_of, slug

PARTS = (("The core", "Read from top to bottom, each of these files is a model, or judges one.", (
    "common.py", "classifier.py", "rnn_ae.py", "conv_ae.py", "rnn_vae.py", "conv_vae.py", "cvae.py", "metrics.py")),
    ("Classification from scratch", "Every derivative by hand, in numpy; then the same with a library.", (
        "more/mlp_numpy.py", "more/mlp_torch.py", "more/embed_numpy.py", "more/embed_torch.py")),
    ("More autoencoders", "Other layers, other tasks, other weights, colours.", (
        "more/dense_ae.py", "more/selu_conv_ae.py", "more/restore_ae.py", "more/beta_vae.py", "more/cvae_color.py")),
    ("Adversarial and diffusion models", "Drawings without a likelihood, and from noise.", (
        "more/gan.py", "more/cgan.py", "more/ddpm.py", "more/cddpm.py", "more/inpaint.py")),
    ("Sequences", "Sentences, word by word and phrase by phrase.", ("more/text_rnn.py", "more/text_cnn.py")),
    ("What the others use", "Data, pictures, checkpoints: about no model.", ("data/quickdraw.py", "more/color.py")))
DOCUMENTS = (("docs/derivations.md", "Derivations"), ("docs/settings.md", "How the settings were chosen"))
COVERS = ("asked.png", "restorations.png", "completions.png", "samples.png", "traversals.png", "reconstructions.png", "variants.png",
          "confusion.png", "table.png", "examples.png", "curves.png")


def reading_order(paths):
    """[(part, its idea, [path])]: every file once; one that no part names stands in the last."""
    known = [path for _, _, names in PARTS for path in names]
    rest = sorted(path for path in paths if path not in known)
    return [(title, idea, [p for p in names if p in paths] + (rest if i == len(PARTS) - 1 else []))
            for i, (title, idea, names) in enumerate(PARTS)]


def cover(runs):
    """The picture that stands for a file: (run, name) or None."""
    for run in runs:
        for name in (*COVERS, *run.pictures):
            if name in run.pictures:
                return run, name
    return None


def contents(book):
    """The first page: what to read, in which order, with the idea of each and a picture."""
    out, number = [], 0
    for i, (title, idea, paths) in enumerate(reading_order(book.files)):
        cards = []
        for path in paths:
            number += 1
            found = cover(book.runs.get(path, []))
            picture = ""
            if found:
                run, name = found
                size = run.pictures[name]
                alt = escape(chapter.alternative(book, book.files[path], run, name))
                picture = f'<img src="pictures/{run.name}/{name}" alt="{alt}" width="{size.width}" height="{size.height}">'
            cards.append(f'<li><a href="{page_of(path)}"><span class="count">{number}</span><code>{path}</code></a>'
                         f"<p>{prose.running(book.files[path].title, book.links, path)}</p>{picture}</li>")
        if cards:
            out.append(f'<section><h2 id="part-{i + 1}">{title}</h2><p class="idea">{idea}</p>'
                       f'<ol class="cards">{"".join(cards)}</ol></section>')
    said = ("Each chapter is one Python file, whole: what is said about the code stands on the left, the code on the right, line by "
            "line in step. On a narrow page the text stands above its code.",
            'A question mark at a line, <span class="mark" aria-hidden="true">?</span>, opens what an examiner may ask about it. A number '
            "in brackets, such as (3), leads to the equation that the line computes, and the equation leads back. <kbd>/</kbd> goes to the "
            "search.",
            'Beside the files there are <a href="siblings.html">their differences</a>, where the lesson is; <a href="derivations.html">the '
            f'derivations</a>; <a href="exam.html">{len(book.asked)} questions of an oral exam</a>; and <a href="settings.html">how the '
            "settings were chosen</a>.")
    missing = sum(any(call.picture for call in file.calls) and file.runs and not book.runs.get(path) for path, file in book.files.items())
    state = (f'<p class="data">{missing} of the files have no finished run in OUT, and so no pictures: their pages say which command '
             "makes them.</p>") if missing else ""
    return (f'<article class="contents"><header class="opening"><p class="where">A codebase to read</p><h1>{NAME}, one file each</h1>'
            f'</header><div class="text">{"".join(f"<p>{text}</p>" for text in said)}{state}</div>{"".join(out)}</article>')


def outline(text):
    """[(anchor, heading, paragraph)] of a document, with the ids that prose.markdown gives."""
    taken, anchor, heading, found = set(), "", "", []
    for block in re.split(r"\n\s*\n", text):
        if title := re.match(r"(#+) (.*)", block):
            heading = title[2]
            anchor = slug(heading, taken) if title[1] != "#" else ""
        elif step := re.match(r"(?:\*\*| {4})(\d+\.\d+)(?:\*\*)? ", block):
            anchor = f"step-{step[1]}"
        found.append((anchor, heading, re.sub(r"\s+", " ", re.sub(r"[`*]{1,2}(?=\S)|(?<=\S)[`*]{1,2}", "", block.lstrip("# "))).strip()))
    return found


def document(text, title, links, path):
    """A page of docs/."""
    head, _, rest = text.partition("\n")
    name = head.lstrip("# ").strip() or title
    return (f'<article class="text document"><header class="opening"><p class="where"><code>{path}</code></p><h1>{escape(name)}</h1>'
            f"</header>{prose.markdown(rest, links, path)}</article>")


def paragraphs(part):
    """[(first line, text)] of a docstring or comment; a hit is a hit in one of them."""
    found, n = [], part.first if part else 0
    for text in re.split(r"(\n(?:[ ]*\n)+)", part.text) if part else ():
        if text.strip():
            found.append((n, text))
        n += text.count("\n")
    return found


def index(book):
    """search-index.js: everything that is said, each line of code, each question, with the place that it leads to.

    [page, section, anchor or first line, kind, text]: 0 prose, 1 code, 2 question, 3 document. A file of its own, not JSON: a page
    opened from disk may load a script, but fetch nothing.
    """
    names, entries = [], []
    for path in book.order:
        file = book.files[path]
        names.append((page_of(path), path))
        here = len(names) - 1
        if file.title:
            entries.append((here, "", 1, 0, file.title))
        entries += [(here, "", n, 0, text) for n, text in paragraphs(file.intro)]
        for section in file.sections:
            title = f"{section.number}. {section.title}".strip(". ")
            for row in section.rows:
                entries += [(here, title, n, 0, text) for part in row.prose for n, text in paragraphs(part)]
                entries += [(here, title, n, 1, file.lines[n - 1].strip()) for n in row.code if file.lines[n - 1].strip()]
    for path, text in book.documents.items():
        names.append((page_of(path), path))
        entries += [(len(names) - 1, heading, anchor, 3, part) for anchor, heading, part in outline(text)]
    names.append(("exam.html", "docs/exam.md"))
    for asked in book.asked:
        q = asked.question
        entries.append((len(names) - 1, q.file, asked.id, 2, re.sub(r"\s+", " ", f"{q.text} {q.short} {q.deeper}").replace("`", "")))
    rows = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries)
    return f"window.BOOK_INDEX = {{\"pages\": {json.dumps(names)}, \"entries\": [\n{rows}\n]}};\n".replace("</", "<\\/")


def search():
    return """<article class="text find">
<header class="opening"><p class="where">Search</p><h1>Find a word, a name, a question</h1></header>
<form role="search" class="large" action="search.html"><label for="q">All words have to occur; a name of the code is a word, too.</label>
<input type="search" id="q" name="q" autocomplete="off" spellcheck="false"></form>
<p id="found" role="status" aria-live="polite"></p>
<noscript><p>The search needs JavaScript; everything else in this book does not.</p></noscript>
<ol id="results"></ol></article>"""
