"""Docstrings, comments and documents as HTML: paragraphs, equations set as mathematics, tables, lists of facts."""

import html
import re
from functools import cache

from markdown_it import MarkdownIt

from book import equations
from book.page import escape, outside, slug

# Keys of a docstring's last part, which is a list: how it is run, what it writes, what came out, who found it.
LONG = 36  # characters: a longer formula may not fit into a phone's line
FACT = re.compile(r"(Run|Writes|Result|Search|Papers?|Sources?):\s+(.*)")


def math(expression):
    """A formula as a <math> element, with what is written as its alttext; as it is written where equations.py does not understand it."""
    try:
        return equations.mathml(expression).replace("<math", f'<math alttext="{escape(expression)}"', 1)
    except ValueError:
        return f'<code class="asis">{escape(expression)}</code>'


def pieces(text):
    """A formula, cut before its second =, <= and so on: there a line may end."""
    found, depth, at = [], 0, 0
    for sign in re.finditer(r"[([{]|[)\]}]| (?:=|<=) ", text):
        depth += (sign[0] in "([{") - (sign[0] in ")]}")
        if depth == 0 and sign[0][0] == " " and re.search(r" (?:=|<=|~) ", text[at:sign.start()]):
            found.append(text[at:sign.start()].strip())
            at = sign.start()
    found.append(text[at:].strip())
    return found


def understood(parts):
    """Can each of these be set on its own?"""
    try:
        return all(equations.mathml(part) for part in parts)
    except ValueError:
        return False


def breakable(body):
    """[(formula, sign behind it)] of a displayed formula: a line may end between statements, and between pieces()."""
    parts = []
    for text, sep in equations.statements(body):
        found = pieces(text)
        parts += [(piece, sep if i == len(found) - 1 else "") for i, piece in enumerate(found) if piece]
    return parts if understood(text for text, _ in parts) else [(body, "")]


def in_line(source, formula, close):
    """A formula of a sentence, with the punctuation behind it; what is too long for a phone's line may be broken, or scrolls."""
    parts = pieces(source)
    if len(source) > LONG and len(parts) > 1 and understood(parts):
        return "<wbr>".join([*(in_line(part, math(part), "") for part in parts[:-1]), in_line(parts[-1], math(parts[-1]), close)])
    formula = formula.replace("<math>", f'<math alttext="{escape(source)}">', 1)
    formula = f'<span class="long">{formula}</span>' if len(source) > LONG else formula
    return f'<span class="tied">{formula}{close}</span>'


def running(text, links, here=""):
    """Running prose as HTML, its line breaks gone."""
    return links.html(sentence(text), here)


@cache  # an answer stands on two pages
def sentence(text):
    """The same without links. A formula keeps what is written as its alttext."""
    text = re.sub(r"\s*\n\s*", " ", text).strip()
    parts = re.split(r"(<math>.*?</math>)", equations.inline(text))
    plain = [re.sub(r"<[^>]+>", "`", part) for part in parts[::2]]  # the only elements besides are <code>: backticks
    written = re.fullmatch("(.+?)".join(map(re.escape, map(html.unescape, plain))), text)
    for i, source in enumerate(written.groups() if written else ()):
        close = re.match(r"[.,;:?!)\]'’]*", parts[2 * i + 2])[0]
        parts[2 * i + 2] = parts[2 * i + 2][len(close):]
        parts[2 * i + 1] = in_line(source, parts[2 * i + 1], close)
    flag = re.compile(r"(?<![\w-])--[a-z][\w-]*")  # would else be broken behind its hyphens
    return outside("".join(parts), lambda part: flag.sub(r'<span class="tied">\g<0></span>', part))


def facts(lines):
    """[(lines of text)] or [(key, lines)]: a docstring's paragraphs, with the list of facts taken apart. Every line is in one part."""
    parts, key = [], None
    for i, line in enumerate(lines):
        match = FACT.match(line)
        if match:
            key = match[1]
            parts.append((key, i, [line]))
        elif key and line.strip() and (line.startswith("    ") or key in ("Paper", "Papers", "Source", "Sources")):
            parts[-1][2].append(line)
        elif key and not line.strip():
            parts[-1][2].append(line)
            key = None
        elif parts and parts[-1][0] is None and not key:
            parts[-1][2].append(line)
        else:
            key = None
            parts.append((None, i, [line]))
    return parts


def fact(key, lines, first, links, here):
    text = re.sub(r"\s+", " ", FACT.match(lines[0])[2] + " " + " ".join(lines[1:])).strip()
    shown = running(text, links, here)
    if key == "Run":
        shown = re.sub(r"^(python [^(]*?)(?= \(|$)", r"<code>\1</code>", shown)
    return f'<div id="L{first}"><dt>{key}:</dt><dd>{shown}</dd></div>'


def docstring(text, first, links, here, backs=None):
    """[(line, HTML)] of a docstring's or comment's blocks; its first line is line `first` of the file `here`.

    backs: {tag: lines of code that compute this equation}; with it, equations are places to link to (the module's docstring),
    without it they are not: an equation has one home.
    """
    out, listed = [], False
    for key, start, lines in facts(text.split("\n")):
        if key:
            item = fact(key, lines, first + start, links, here)
            if listed:
                out[-1] = (out[-1][0], out[-1][1].removesuffix("</dl>") + item + "</dl>")
            else:
                out.append((first + start, f'<dl class="facts">{item}</dl>'))
            listed = True
        else:
            blocks = [block for block in equations.blocks("\n".join(lines)) if any(map(str.strip, block.lines))]
            for block in blocks:
                at, home = first + start + block.first, f"eq-{block.tag}" if backs is not None and block.tag else ""
                out.append((at, block_html(block, f"L{at}", home, links, here, (backs or {}).get(block.tag, ()))))
            listed = listed and not blocks
    return out


def block_html(block, at, home, links, here, uses=()):
    """One block of equations.blocks; at: its id; home: the id of its number; uses: lines that compute it."""
    at = f' id="{at}"' if at else ""
    if block.kind == "prose":
        return f"<p{at}>{running(block.body, links, here)}</p>"
    if block.kind == "equation":
        return equation(block, at, home, links, here, uses)
    place = f'<span id="{home}"></span>' if home else ""
    return f'<pre class="asis" translate="no"{at}>{place}{escape(chr(10).join(dedent(block.lines)).strip(chr(10)))}</pre>'


def dedent(lines):
    margin = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    return [line[margin:] for line in lines]


def equation(block, at, home, links, here, uses):
    """A displayed equation: its number, where links to it lead; words before it; the formula; words behind it; the way to its lines."""
    place = f' id="{home}"' if home else ""
    tag = f'<span class="tag"{place}>({block.tag})</span>' if block.tag else ""
    kind = "note" if block.body else "words"
    label, remark = (f'<span class="{kind}">{running(text, links, here)}</span>' if text else "" for text in (block.label, block.remark))
    parts = " ".join(f'<span class="part{" on" * text.startswith(("= ", "<= "))}">{math(text)}{sep}</span>'
                     for text, sep in (breakable(block.body) if block.body else ()))
    formula = f'<div class="formula">{parts}</div>' if parts else ""
    lines = " ".join(f'<a href="#L{n}"><span class="hidden">equation ({block.tag}) in </span>line {n}</a>' for n in uses)
    back = f'<span class="uses">{lines}</span>' if lines else ""
    return f'<div class="equation"{at}>{tag}<div class="says">{label}{formula}{remark}{back}</div></div>'


def markdown(text, links, here=""):
    """A document of docs/ as HTML: headings with ids, indented blocks as equations, tables that may scroll."""
    parser, taken = MarkdownIt("commonmark").enable("table"), set()
    parser.renderer.rules["code_block"] = lambda tokens, i, options, env: document_equations(tokens[i].content, links, here)
    parser.renderer.rules["fence"] = lambda tokens, i, options, env: (
        f'<pre class="asis" translate="no">{escape(tokens[i].content.rstrip())}</pre>\n')
    parser.renderer.rules["table_open"] = lambda *_: '<div class="scroll"><table>'
    parser.renderer.rules["table_close"] = lambda *_: "</table></div>\n"
    parser.renderer.rules["text"] = lambda tokens, i, options, env: words(tokens[i].content)
    tokens = parser.parse(text)
    for i, token in enumerate(tokens):
        if token.type == "inline":
            token.children = unbroken(token.children)
        if token.type == "heading_open":
            token.attrSet("id", slug(tokens[i + 1].content, taken))
        elif token.type == "paragraph_open" and (step := re.match(r"\*\*(\d+\.\d+)\*\* ", tokens[i + 1].content)):
            token.attrSet("id", f"step-{step[1]}")
    return links.html(parser.renderer.render(tokens, parser.options, {}), here)


def words(text):
    """A piece of running prose, with the blanks at its ends."""
    return re.match(r"\s*", text)[0] + sentence(text) + re.search(r"\s*$", text)[0] if text.strip() else text


def unbroken(tokens):
    """Pieces of text that only a line's end divides, as one: a formula may go on in the next line."""
    found = []
    for token in tokens:
        if token.type in ("text", "softbreak") and found and found[-1].type == "text":
            found[-1].content += token.content or " "
        else:
            found.append(token)
    return found


def document_equations(text, links, here):
    """An indented block of a document; a step that is numbered in it is a place to link to, like those that are paragraphs."""
    text = "\n".join("    " + line if line.strip() else "" for line in text.rstrip("\n").split("\n"))
    found = equations.blocks(text)
    return "\n".join(block_html(block, "", f"step-{block.tag}" if block.tag else "", links, here) for block in found) + "\n"
