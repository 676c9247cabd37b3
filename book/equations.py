"""Docstrings, comments and documents taken apart: paragraphs, equations with their numbers and remarks, formulas in a sentence.

Nothing is lost and nothing comes twice: the blocks of a text hold its lines in their order, and running prose keeps each of its words.
formula.py reads an expression and sets it; here is decided what an expression is.

    (2)   LSTM:   i, f, o = sigmoid(W_. x_t + ...)     input, forget and output gate
    tag   label   body                                 remark

A line that goes on with brackets, a sum or a sentence belongs to the equation above it; one with an equation of its own has no tag. In
running prose a formula has to be unmistakable: it has scripts, a relation, a function, bars or arithmetic with a letter, or it is one
letter that is no article, and it does not touch an operator or half of something that cannot be read. Else the words stay as they are.
"""

import html
import re
from dataclasses import dataclass, replace
from itertools import pairwise

from book.formula import Reader, mathml
from book.symbols import CALLED, FUNCTIONS, GREEK, NAMES, OPERATORS, WIDE, WORDS, is_differential, tokens_of

__all__ = ["Block", "blocks", "inline", "mathml", "statements"]

TAG = re.compile(r" +\((\d+[a-z]?|[a-z])\) +(?=\S)|  +(\d+\.\d+)  +(?=\S)")
CLOSED = re.compile(r"""\s|$|[.,;:!?)\]}"]+(\s|$)|'s\b""")  # what may stand behind a formula
SHAPE = re.compile(r"\((\d+|[A-Za-z]'?),((\d+|[A-Za-z]'?),)*(\d+|[A-Za-z]'?)?\)")  # (B, 1, 28, 28) without its blanks
FACT = re.compile(r"(Run|Writes|Result|Search): ")  # how a docstring ends; the lines that go on are indented
ITEM = re.compile(r"(- |\([a-z]\) )")
LINKS = set("where elsewhere for over with or and if in then".split())  # words that stand behind a formula without being about it
LONE = set("mu nu xi eps tau phi psi eta theta".split())  # Greek names that are nothing else here: beta is an option, alpha a channel
SYMBOLS = {*GREEK, *FUNCTIONS, *WIDE, *NAMES}
AROUND = OPERATORS | {*"^_|.", "||"}  # what no formula stands next to
NO_SYMBOL = set("appendix section part figure table chapter type option step class".split())  # a letter behind one of these


@dataclass(frozen=True)
class Block:
    kind: str  # prose, equation, table, verbatim
    lines: tuple  # of the source, word for word, with the empty ones that follow
    first: int  # the number of the first, from 0
    body: str = ""  # the words of prose; of an equation what mathml() sets, "" if it is said in words alone
    tag: str | None = None  # "1", "5a"
    label: str = ""  # words before the formula
    remark: str = ""  # words behind it

    @property
    def note(self):
        """All words of an equation."""
        return " ".join(filter(None, (self.label, self.remark)))


# ---- formulas in a sentence ----

def _is_cross(tokens, at):
    """The x of 28 x 28 or H/4 x H/4, which in a sentence is left as it is."""
    around = tokens[max(at - 1, 0):at + 2]
    return len(around) == 3 and tokens[at].text == "x" and all(token.gap for token in around[1:]) and all(
        token.kind == "number" or (len(token.text) == 1 and token.text.isupper()) for token in around[::2])


def _is_said(tokens, at):
    """Does a sentence surely go on here: with a word that is no name?"""
    text = tokens[at].text
    word = len(text) > 1 and text.isalpha() and text.islower() and text not in SYMBOLS | CALLED | WORDS | {"in"}
    return tokens[at].kind == "other" or (word and not is_differential(text) and not (at and tokens[at - 1].text == "_"))


def _ends_here(text, tokens, stop):
    """May a formula end before tokens[stop]: at a blank or at the end of a clause, and not before an operator?"""
    after = tokens[stop:stop + 2]
    if not CLOSED.match(text, tokens[stop - 1].end) or _is_cross(tokens, stop - 1) or _is_cross(tokens, stop):
        return False
    if after and after[0].gap and after[0].text in AROUND:
        said = re.match(r"(=|->) [a-z]{2,}\d*(?![\w^(])", text[after[0].start:])  # s^2 = the mean
        return bool(said) and after[-1].text not in SYMBOLS
    i = stop
    while i < len(tokens) and (tokens[i].text in ("_", "^", "'") or (tokens[i].kind in ("word", "number") and (
            tokens[i].gap == 0 or len(tokens[i].text) == 1 or tokens[i].text in SYMBOLS))):
        i += 1
    return not (stop < i < len(tokens) and tokens[i].gap and tokens[i].text in OPERATORS)  # not in the middle of m V + ...


def _begins_here(text, tokens, at):
    """May a formula begin with tokens[at]: after a blank or an opening bracket, and not behind an operator?"""
    before, second = (tokens[at - i] if at >= i else None for i in (1, 2))
    if not before or (before.text in ("(", "[", '"') and (before.gap or at == 1) and not tokens[at].gap):
        return True
    if not tokens[at].gap or re.search(r"--[\w-]+ $", text[:tokens[at].start]) or _is_cross(tokens, at) or _is_cross(tokens, at - 1):
        return False  # the value of an option is none
    if before.text == "->" and second and second.kind == "word" and len(second.text) > 1:
        return True  # f: pixels -> R^E
    full_stop, bold = before.text == ".", before.text == "*" and second and second.text == "*"
    return before.text not in AROUND or (not before.gap and bool(full_stop or bold))


def _sure(tokens, start, stop, reader):
    """Is what could be read as a formula one without doubt?"""
    part, before, after = tokens[start:stop], tokens[start - 1].text if start else "", tokens[stop:stop + 2]
    texts, kinds = [token.text for token in part], [token.kind for token in part]
    if len(part) == 1 or texts[1:] == ["'"]:
        unit = texts[0] in "smhx" and start and tokens[start - 1].kind == "number"
        initial = texts[0].isupper() and len(after) > 1 and after[0].text == "." and after[1].text[0].isupper()
        listed = before == "(" and after and after[0].text == ")"
        symbol = kinds[0] == "word" and ((len(texts[0]) == 1 and texts[0] not in "aAI") or texts[0] in LONE)
        return reader.marks > 0 or (symbol and not (unit or initial or listed or before in NO_SYMBOL))
    if SHAPE.fullmatch("".join(texts)) and reader.letters:
        return True
    # where something stands side by side with what is before it, outside of brackets
    depth = [sum(t in ("(", "[", "{") for t in texts[:i]) - sum(t in (")", "]", "}") for t in texts[:i]) for i in range(len(part))]
    apart = [i for i in range(1, len(part)) if part[i].gap and not depth[i] and (kinds[i] == "word" or texts[i] in ("(", "["))
             and texts[i - 1] not in AROUND | {",", ";", "in"} and texts[i] != "in"]
    comma = max((i for i in range(len(part)) if texts[i] == "," and not depth[i]), default=0)
    names = texts[0] in GREEK and min(apart, default=comma) >= comma and not any(reader.related[:-1]) and reader.related[-1] == "relation"
    if comma and not names:
        return False  # a comma of the sentence, not that of mu, logvar = f(x)
    article = texts[0] == "a" or (texts[0] in ("A", "I") and before in ("", ".", ":"))
    if 1 in apart and (article or (len(texts[0]) > 1 and texts[0].isupper()) or re.fullmatch(r"[1-9]\d*\.\d+", texts[0])):
        return False  # what follows an article, a name like FID, the number of a step
    if texts[-1] == "a" and after and after[0].kind == "word" and after[0].text not in LINKS:
        return False
    if any(texts[i] == "(" and texts[i + 2:i + 3] == [")"] and kinds[i + 1] == "number" for i in apart) or (
            texts[0] == "(" and texts[2:3] == [")"] and 3 in apart):
        return False  # (2) is the number of an equation, (a) of an item
    if apart and before == "at" and "=" in texts:
        return False  # at t = T x_t is noise: two formulas
    return reader.marks > 0 or bool(reader.letters and reader.operators)


def _stands_alone(tokens, at):
    """The sign itself, as in "; * is elementwise", which equations show as a dot."""
    first = at == 0 or (tokens[at].gap == 1 and tokens[at - 1].text in (";", ",", ":"))
    return first and at + 1 < len(tokens) and tokens[at + 1].gap == 1


def _read(tokens, prose=False, before=""):
    try:
        return Reader(tokens, prose, before)
    except ValueError:
        return None


def _formulas(text):
    """(start, end, MathML) of every formula in running prose, the longest that can be read from where it begins."""
    tokens, at, calls = tokens_of(text), 0, []
    while at < len(tokens):
        token = tokens[at]
        if token.text in ("(", "[", "{"):
            calls.append(at > 0 and token.gap == 0 and (tokens[at - 1].kind == "word" or tokens[at - 1].text == "_"))
        elif token.text in (")", "]", "}") and calls:
            calls.pop()
        if token.text == "*" and _stands_alone(tokens, at):
            yield token.start, token.end, "<math><mo>·</mo></math>"
        inside = calls[:-1] if token.text in ("(", "[", "{") else calls
        begins = not any(inside) and _begins_here(text, tokens, at)
        stop = at
        while begins and stop < len(tokens) and not _is_said(tokens, stop) and (stop == at or tokens[stop].gap < 2):
            stop += 1
        for end in range(min(stop, at + 80), at, -1):
            reader = _read(tokens[at:end], True, tokens[at - 1].text if at else "") if _ends_here(text, tokens, end) else None
            if reader and _sure(tokens, at, end, reader):
                yield token.start, tokens[end - 1].end, f"<math><mrow>{reader.xml}</mrow></math>"
                at, calls = end, inside
                break
        else:
            at += 1
            cut = not begins and token.gap and tokens[at - 2].text in AROUND  # half of a formula that could not be read
            while cut and at < len(tokens) and tokens[at].gap == 1 and len(tokens[at].text) == 1 and tokens[at].kind == "word":
                at += 1


def inline(text):
    """HTML of running prose: code in backticks, and formulas where there is no doubt that they are; every word stays."""
    out = []
    for i, part in enumerate(re.split(r"`([^`]+)`", text)):
        if i % 2:
            out.append(f"<code>{html.escape(part)}</code>")
            continue
        at = 0
        for start, end, math in _formulas(part):
            out += [html.escape(part[at:start]), math]
            at = end
        out.append(html.escape(part[at:]))
    return "".join(out)


# ---- equations ----

def _body(text):
    """(formula, the rest) of a text that begins with one, as long a formula as can be; ("", text) if there is none."""
    tokens = tokens_of(text)
    for stop in range(len(tokens), 0, -1):
        after = tokens[stop] if stop < len(tokens) else None
        if after and not (after.text in (",", ";", ":") or (after.gap and after.text not in AROUND)):
            continue
        reader = _read(tokens[:stop])
        word = after.text if after and after.kind == "word" else ""
        if reader is None or (tokens[stop - 1].text in ("a", "A") and word and word not in LINKS):
            continue
        last = reader.related[-1] if len(reader.related) > 1 else "first"
        if after and (not last or (word and last == "number") or (word and last == "relation" and word not in LINKS)):
            continue  # in "x = G(z), d a logit" d belongs to the words
        if len(reader.related) > 1 or reader.marks or reader.operators or (stop == len(tokens) and reader.letters):
            return text[:tokens[stop - 1].end], text[tokens[stop - 1].end:].strip()
    return "", text


def _equation(text):
    """(label, body, remark) of an equation's line without its number."""
    text = re.sub(r" {2,}(?=(=|<-|~|\+|-) )|(?<= [=+-]) {2,}|(?<= of) {2}(?! )", " ", text.strip())  # blanks that only align
    main, *notes = re.split(r"(?<![,;: ]) {3,}", text)
    notes = "   ".join(notes)
    found = []
    for start in (0, *(match.end() for match in re.finditer(r": +|  +", main))):
        body, rest = _body(main[start:])
        if body and not (rest.startswith(":") and not re.search("[=~]|<-", body) and _body(rest[1:].strip())[0]):  # t -> s < t: x_s = ...
            found.append((main[:start].strip(), body, "   ".join(filter(None, (rest.lstrip(",;: "), notes)))))
    said = ("", "", "   ".join(filter(None, (main, notes))))
    return next((part for part in found if not part[1].isidentifier()), found[0] if found else said)


def statements(body):
    """A body cut where a line may be broken: [(expression, the , or ; behind it)]."""
    parts, depth, at = [], 0, 0
    for token, after in zip(tokens := tokens_of(body), [*tokens[1:], None]):
        depth += (token.text in tuple("([{")) - (token.text in tuple(")]}"))
        if depth == 0 and after and (token.text == ";" or (token.text == "," and after.gap == 2)):
            parts.append((body[at:token.start], token.text))
            at = after.start
    return [*parts, (body[at:], "")]


def _open(text):
    return sum(text.count(c) for c in "([{") - sum(text.count(c) for c in ")]}") > 0


def _rows(lines):
    """The equations of indented lines: [(number of lines, tag, text)]. What goes on, goes on: brackets, sums, sentences."""
    rows = []
    for line in lines:
        tag = TAG.match(line)
        text = line[tag.end():] if tag else line.strip()
        if rows and not tag:
            count, old, said = rows[-1]
            label, body, _ = _equation(text)
            words = not body or (label and not label.endswith(":"))
            if _open(said) or re.match(r"[-+*/] ", text) or (words and not re.match(r"\w+: ", text)):
                gap = "   " if _equation(said)[1] and not _equation(said)[2] and words else " "
                rows[-1] = (count + 1, old, said + gap + text)
                continue
        rows.append((1, tag and (tag[1] or tag[2]), text))
    return rows


def _indented(lines, first, tagged):
    """Blocks of indented lines: equations, or, if they are not numbered and one cannot be read, a table or a text as it stands."""
    rows = [(count, tag, *_equation(text)) for count, tag, text in _rows(lines)]
    sure = all(body and not label and re.search(r"[=~<>]", body) and not _formula_left(remark) for _, _, label, body, remark in rows)
    if not tagged and not sure:
        columns = sum(bool(re.search(r"\S {2,}\S", line)) for line in lines)
        return [Block("table" if len(lines) > 1 and 2 * columns > len(lines) else "verbatim", tuple(lines), first)]
    found = []
    for count, tag, label, body, remark in rows:
        part, lines = tuple(lines[:count]), lines[count:]
        kind = "verbatim" if not body and _formula_left(remark) else "equation"
        found.append(Block(kind, part, first, body, tag, label, remark))
        first += count
    return found


def _formula_left(words):
    """Is there a formula among the words that inline() leaves as it is?"""
    at, left = 0, ""
    for start, end, _ in _formulas(words):
        left, at = left + words[at:start] + "it", end
    return bool(re.search(r"\b[A-Za-z]_[\w{(]|\^|<-|[\w)] (?:[=~*+/]|<=) (?![a-z]{2,}\b)", left + words[at:]))


# ---- the whole text ----

def _group(lines, first):
    """Blocks of lines among which none is empty."""
    at, found = 0, []
    while at < len(lines):
        margin = len(lines[at]) - len(lines[at].lstrip())
        tagged, fact = TAG.match(lines[at]), FACT.match(lines[at])
        stop = at + 1
        while stop < len(lines):
            line, indented = lines[stop], lines[stop].startswith(" ")
            if tagged or margin >= 4:
                more = (tagged and TAG.match(line)) or len(line) - len(line.lstrip()) >= (margin + 1 if tagged else 4)
            else:
                item = ITEM.match(line) and lines[stop - 1][-1] in ":;."
                more = indented or FACT.match(line) if fact else not (FACT.match(line) or TAG.match(line) or item)
            if not more:
                break
            stop += 1
        part = lines[at:stop]
        if tagged or margin >= 4:
            found += _indented(part, first + at, tagged)
        elif fact:
            found.append(Block("table", tuple(part), first + at))
        else:
            found += [Block("prose", tuple(some), first + at + i, "\n".join(some)) for i, some in _paragraphs(part)]
        at = stop
    return found


def _paragraphs(lines):
    """[(index of the first, lines)]: a new one begins where a sentence ended and the next word would still have fitted into the line."""
    wide = max(map(len, lines)) - 3  # who fills lines by hand leaves a little
    starts = [0, *(i for i in range(1, len(lines)) if lines[i - 1].endswith(".")
                   and len(lines[i - 1]) + 1 + len(lines[i].split()[0]) <= wide), len(lines)]
    return [(i, lines[i:end]) for i, end in pairwise(starts)]


def blocks(text):
    """The paragraphs, equations and tables of a text without its margin; their lines together are the text's."""
    lines, found, at = text.split("\n") if text else [], [], 0
    while at < len(lines):
        stop = next((i for i in range(at, len(lines)) if bool(lines[i].strip()) != bool(lines[at].strip())), len(lines))
        if lines[at].strip():
            found += _group(lines[at:stop], at)
        elif found:
            found[-1] = replace(found[-1], lines=found[-1].lines + tuple(lines[at:stop]))
        else:
            found.append(Block("prose", tuple(lines[at:stop]), at))
        at = stop
    return found
