"""A Python file as a reader sees it: sections, and in them rows of prose (docstrings, comments) with the code each belongs to.

Every line of the file stands in one row, once: in its prose or in its code. A comment behind code stays with its code.
"""

import ast
import io
import re
import tokenize
from typing import NamedTuple

RULER = re.compile(r"# ---- (?:(\d+)\. )?(.*?) -+$")


class Prose(NamedTuple):
    """A docstring or a block of comments: lines first..last of the file, and their text without quotes, # and indentation."""

    first: int
    last: int
    text: str


class Row(NamedTuple):
    prose: list  # of Prose
    code: list  # line numbers, in order; may begin before the prose: a def line stands above its docstring
    name: str = ""  # of the function or class that begins here, with its class: VAE.forward
    level: int = 0  # 3: on the file's first level, 4: a method with a docstring, 0: neither


class Section(NamedTuple):
    number: str  # "2"; "" for those without one
    title: str
    line: int  # of the ruler; 0: the lines above the first ruler
    rows: list


class Call(NamedTuple):
    """A statement that names a picture: the call in it, and the function it stands in ("" for none)."""

    picture: str
    line: int  # where the statement begins
    called: str  # common.plot_curves
    inside: str
    titles: list  # texts of several words in the call: what the picture says of itself


class File(NamedTuple):
    path: str  # from the root, with /: more/ddpm.py
    text: str
    lines: list  # without their ends
    title: str  # the docstring's first line
    intro: Prose | None  # the rest of the module's docstring
    sections: list
    calls: list  # of Call
    docs: dict  # {name: docstring} of its functions, and "" for the module's
    runs: bool  # is it a script?

    def section_of(self, line):
        """The section that a line stands in; None in the docstring."""
        for section in reversed(self.sections):
            first = section.line or min((n for row in section.rows for n in (*row.code, *(p.first for p in row.prose))), default=1)
            if line >= first:
                return section
        return None


def docstring_lines(tree):
    """{first line: (last line, node)} of the docstrings in a syntax tree."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(node) is not None:
            found[node.body[0].lineno] = (node.body[0].end_lineno, node)
    return found


def comment_lines(text):
    """Lines that hold a comment and nothing else; a # in a string is none."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return {t.start[0] for t in tokens if t.type == tokenize.COMMENT and t.line[:t.start[1]].strip() == ""}


def undress(lines, docstring):
    """Text of docstring or comment lines: line for line, without indentation, quotes and #."""
    if docstring:
        quotes = re.match(r"\s*[rR]?(\"\"\"|'''|\"|')", lines[0])
        lines = [lines[0][quotes.end():], *lines[1:]]
        lines[-1] = lines[-1].rstrip().removesuffix(quotes[1])
        margin = min((len(line) - len(line.lstrip()) for line in lines[1:] if line.strip()), default=0)
        lines = [lines[0], *(line[margin:].rstrip() for line in lines[1:])]
    else:
        lines = [line.lstrip().removeprefix("#").removeprefix(" ").rstrip() for line in lines]
    return "\n".join(lines)


def starts(tree, docs):
    """{line: (name, level)} of each def and class that begins a row, its first decorator where it has one; level as in Row."""
    found = {}

    def visit(parent, prefix, level):
        for node in parent.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                if level == 3 or node.body[0].lineno in docs:
                    found[min([node.lineno, *(d.lineno for d in node.decorator_list)])] = (prefix + node.name, level)
                visit(node, f"{prefix}{node.name}.", 4)

    visit(tree, "", 3)
    return found


def titles(call):
    """Strings of more than one word in a call, in order; what is put into one when it runs is left out: ..."""
    if isinstance(call, ast.JoinedStr):
        text = "".join(part.value if isinstance(part, ast.Constant) else "..." for part in call.values)
        return [text] if " " in text.strip() else []
    if isinstance(call, ast.Constant):
        return [call.value] if isinstance(call.value, str) and " " in call.value.strip() else []
    return [text for child in ast.iter_child_nodes(call) for text in titles(child)]


def picture_calls(tree):
    """[Call] of the statements in which a file name that ends in .png stands as a whole string."""
    found = []

    def visit(node, statement, inside):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Constant) and isinstance(child.value, str) and re.fullmatch(r"\w+\.png", child.value) and statement:
                calls = [n for n in ast.walk(statement) if isinstance(n, ast.Call)]
                outer = ast.unparse(calls[0].func) if calls else ""
                found.append(Call(child.value, statement.lineno, outer, inside, titles(calls[0]) if calls else []))
            name = f"{child.name}" if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and not inside else inside
            visit(child, child if isinstance(child, ast.stmt) else statement, name)

    visit(tree, None, "")
    return found


def split(lines, docs, comments, names, pictures):
    """[Section] of the lines below the module's docstring, [(number, kind)] in order."""
    first = docs.get(1, (0, None))[0] + 1 if 1 in docs else 1
    sections, row = [Section("", "", 0, [])], None
    skip, previous = 0, ""

    def begin(name="", level=0, waits=False):
        """A new row; or, if waits, the one that is there, where nothing has been coded in it yet."""
        nonlocal row
        if waits and row and not row.name and not any(lines[m - 1].strip() for m in row.code):
            sections[-1].rows.pop()
            row = row._replace(name=name, level=level)
        else:
            row = Row([], [], name, level)
        sections[-1].rows.append(row)

    for n in range(first, len(lines) + 1):
        line, kind = lines[n - 1], "code"
        if n <= skip:
            continue
        if ruler := n in comments and RULER.match(line):
            sections.append(Section(ruler[1] or "", ruler[2], n, []))
            row, kind = None, "ruler"
        elif n in docs:
            skip = docs[n][0]
            row.prose.append(Prose(n, skip, undress(lines[n - 1:skip], True)))
            kind = "docstring"
        elif n in comments:
            kind = "comment"
            if previous == "comment":
                last = row.prose.pop()
                row.prose.append(Prose(last.first, n, last.text + "\n" + undress([line], False)))
            else:
                begin(waits=row and not row.prose)
                row.prose.append(Prose(n, n, undress([line], False)))
        else:
            if n in names or row is None or n in pictures:
                begin(*names.get(n, ("", 0)), waits=n in names)  # a comment right above a def is the def's
            row.code.append(n)
        previous = kind
    return [section for section in sections if section.rows or section.line]


def new_rows(calls, names):
    """Lines of statements that get a row of their own: the first of the pictures that main() and its like draw one after another."""
    found, last = set(), {}
    for call in calls:
        if call.inside == "main" or not call.inside:
            if call.line - last.get(call.inside, -99) > 12:
                found.add(call.line)
            last[call.inside] = call.line
    return found - set(names)


def read(path, text):
    """The File of one source text. Raises SyntaxError where it is no Python."""
    tree, lines = ast.parse(text), text.splitlines()
    docs = docstring_lines(tree)
    names, calls = starts(tree, docs), picture_calls(tree)
    sections = split(lines, docs, comment_lines(text), names, new_rows(calls, names))
    title, intro = "", None
    if 1 in docs:
        title, _, rest = undress(lines[:docs[1][0]], True).partition("\n")
        intro = Prose(2, docs[1][0], rest) if docs[1][0] > 1 else None
    said = {"": ast.get_docstring(tree) or ""} | {
        node.name: ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    return File(path, text, lines, title.strip(), intro, sections, calls, said, '__name__ == "__main__"' in text)


def places(file):
    """[(line, where: "title", "intro", "ruler", "prose" or "code")] of all lines, in the order of the page: the tiling that is tested."""
    found = [(1, "title")] if file.title else []
    if file.intro:
        found += [(n, "intro") for n in range(file.intro.first, file.intro.last + 1)]
    for section in file.sections:
        found += [(section.line, "ruler")] if section.line else []
        for row in section.rows:
            found += [(n, "prose") for prose in row.prose for n in range(prose.first, prose.last + 1)]
            found += [(n, "code") for n in row.code]
    return found
