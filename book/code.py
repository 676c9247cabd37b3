"""Python lines as HTML, coloured by Pygments: the text stays as it is, to the character."""

import re

from pygments.lexers import PythonLexer
from pygments.token import Comment, Keyword, Name, Number, Operator, String

from book.page import escape, indent_style

# Few colours: a page of code is read, not looked at. First match counts.
COLOURS = ((Comment, "c"), (String.Doc, "c"), (String, "s"), (Number, "m"), (Keyword.Constant, "m"), (Keyword, "k"), (Operator.Word, "k"),
           (Name.Function, "d"), (Name.Class, "d"), (Name.Decorator, "d"))


def coloured(text, comment=None):
    """[HTML] of the lines of a Python text; comment: changes the escaped text of a comment (into one with links)."""
    lines = [[]]
    for _, token, value in PythonLexer().get_tokens_unprocessed(text):
        kind = next((name for group, name in COLOURS if token in group), "")
        for i, part in enumerate(re.split(r"\r?\n", value)):
            if i:
                lines.append([])
            if part:
                shown = comment(escape(part)) if comment and kind == "c" and token in Comment else escape(part)
                lines[-1].append(f'<span class="{kind}">{shown}</span>' if kind else shown)
    return ["".join(parts) for parts in lines]


def line(number, text, shown, classes="", target=""):
    """One line of a file, with its number as an anchor. target: where it stands, if it is quoted elsewhere."""
    blank = " blank" * (not text.strip())
    shown = re.sub("^ +", r'<span class="in">\g<0></span>', shown)  # on a phone it is narrower
    where, stop = ("", "") if target else (f' id="L{number}" data-line="{number}"', ' tabindex="-1"')  # no stop: each line would be one
    return (f'<div class="line{blank}{classes}"{where}{indent_style(text)}><a class="n" href="{target or f"#L{number}"}"{stop}>{number}</a>'
            f"<code>{shown}</code></div>")


def quoted(text):
    """A line that stands alone, in an answer."""
    return f'<code class="quoted">{coloured(text)[0]}</code>'


def change(removed, added):
    """A change of one line, as a diff."""
    rows = [f'<del><span class="sign">\u2212 </span>{escape(removed)}</del>'] + [
        f'<ins><span class="sign">+ </span>{escape(text)}</ins>' for text in added]
    return f'<pre class="change">{"".join(rows)}</pre>'
