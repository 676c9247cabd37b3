"""The oral exam's questions: at the lines that they are about, and on a page of their own."""

from typing import NamedTuple

from book import code, prose
from book.page import escape, slug
from docs import quiz


class Asked(NamedTuple):
    question: quiz.Question
    line: int  # of the file; 0 where the quoted line does not stand in it once: then the question has no place but its own page
    id: str  # on exam.html


def place(questions, files):
    """[Asked], in the guide's order. That each quotation stands in exactly one line is tests/test_exam.py's business."""
    found, taken = [], set()
    for q in questions:
        file = files.get(q.file)
        at = [n for n, text in enumerate(file.lines, 1) if q.quote in text] if file else []
        found.append(Asked(q, at[0] if len(at) == 1 else 0, slug(f"{q.file} {q.text}".replace(".py", ""), taken)))
    return found


def answer(asked, links):
    """Both answers, and the change that tests/test_exam.py makes."""
    q = asked.question
    parts = [f'<p><b class="lead">Short</b> {prose.running(q.short, links, q.file)}</p>',
             f'<p><b class="lead">Deeper</b> {prose.running(q.deeper, links, q.file)}</p>']
    if q.change:
        parts.append('<p><b class="lead">Tried</b> tests/test_exam.py makes this change, and sees what breaks:</p>'
                     + code.change(q.change.removed, q.change.added))
    return "".join(parts)


def marker(asked, links, words=False):
    """What stands at a line: a question mark that opens its questions. asked: of one line; words: they stand beside the mark."""
    if not asked:
        return ""
    line, titles = asked[0].line, " / ".join(a.question.text for a in asked)
    body = "".join(f'<div class="answer"><p class="asks"><a href="exam.html#{a.id}">{escape(a.question.text)}</a></p>'
                   f"{answer(a, links)}</div>" for a in asked)
    mark = '<span class="mark" aria-hidden="true">?</span>'
    if words:
        return (f'<details class="ask"><summary>{mark} <span class="hidden">Exam question on line {line}: </span>{escape(titles)}</summary>'
                f"{body}</details>")
    return (f'<details class="ask"><summary title="{escape(titles)}"><span class="hidden">Exam question on line {line}: '
            f"{escape(titles)}</span>{mark}</summary>{body}</details>")


def exam_page(text, asked, links):
    """docs/exam.md: its introduction, then each file's questions, answers folded away."""
    intro = prose.markdown(text.split("\n## ")[0].partition("\n")[2], links)
    files = list(dict.fromkeys(a.question.file for a in asked))
    counts = {file: sum(a.question.file == file for a in asked) for file in files}
    nav = "".join(f'<li><a href="#{slug(file, set())}"><code>{file}</code></a> {count}</li>' for file, count in counts.items())
    title = escape(text.partition("# ")[2].splitlines()[0])
    parts = [f'<header class="opening"><p class="where">{len(asked)} questions</p><h1>{title}</h1></header>',
             f'<div class="text">{intro}</div>',
             f'<nav class="files" aria-label="Files"><ul>{nav}</ul></nav>']
    for file in files:
        mine = [a for a in asked if a.question.file == file]
        parts.append(f'<section class="asked"><h2 id="{slug(file, set())}"><code>{file}</code></h2>')
        for a in mine:
            q = a.question
            shown = code.coloured(q.quote)[0]
            at = f'<code class="asis">{shown}</code>'
            if a.line:
                at = code.line(a.line, q.quote, shown, target=links.line(file, a.line))
            parts.append(f'<article id="{a.id}"><h3><a class="self" href="#{a.id}">{escape(q.text)}</a></h3>'
                         f'<div class="code quote">{at}</div>'
                         f'<details class="fold"><summary>Answer<span class="hidden">: {escape(q.text)}</span></summary>'
                         f'<div class="answer">{answer(a, links)}</div></details></article>')
        parts.append("</section>")
    return "\n".join(parts)

