"""One expression in plain text, read by precedence and set as MathML.

What is set means what is written. The reader knows a closed language, that of docs/derivations.md ("Notation"); what it does not know
for certain is a ValueError, and the line is then shown as it stands. From the loosest to the tightest:

    statements   separated by , or ;           a list of names may stand before a relation: mu, logvar = f(x)
    relation     = ~ <- -> <= >= != < > in     a line that goes on with the last one may begin with it
    range        1..T
    sum          + - +-                        a sign has blanks on both sides, or on none; a minus before its number has none behind it
    product      * / . and side by side        from left to right: 1/2 u is u/2; sum, mean, integral and E take the rest of the product
    function     ln u^2                        takes what stands next to it, with its power
    bracket      (a) [a] |a| ||a||             f(x) without a blank is a function of x, f (x) a product; | inside is "given", || divides

Fractions are drawn with a bar, so that brackets around all of what is above or below it go. logvar and other names of several letters
stay one upright word, as they are in the code; Greek names become letters, x_hat gets its hat, dL and d h_t / d h_{t-1} are derivatives.
"""

import html

from book.symbols import (
    APPLY,
    END,
    FUNCTIONS,
    RELATIONS,
    SIGNS,
    TIGHT,
    WIDE,
    Names,
    Node,
    beside,
    fenced,
    fraction,
    mi,
    mo,
    row,
    scripted,
    tokens_of,
)


class Reader(Names):
    """By recursive descent; what is read is in xml. Raises ValueError."""

    def __init__(self, tokens, prose=False, before=""):
        super().__init__(tokens, prose, before)
        self.depth = 0
        self.related, self.has_relation, self.plain = [], False, False  # what each statement is: a "relation", a "number", or ""
        self.xml = self.whole()

    # ---- from the loosest to the tightest ----

    def whole(self):
        parts = [mo(RELATIONS[sign])] if not self.prose and (sign := self.relation()) else []
        parts.append(self.statement())
        while sep := self.take(",") if self.prose else self.take(",", ";"):
            wide = self.next().gap == 2 or sep == ";"
            parts += [mo(sep, f'separator="true" lspace="0" rspace="{1 if wide else 0.4}em"'), self.statement()]
        if self.next() is not END:
            raise ValueError(f"{self.next().text!r} is left over")
        return "".join(parts)

    def relation(self):
        return self.take(*RELATIONS) if self.next().text != "in" or self.next(1).text in ("R", "[") else ""

    def statement(self):
        first = self.next()
        parts = [self.range()]
        while sign := self.relation():
            parts += [mo(RELATIONS[sign], TIGHT * bool(self.small)), self.range()]
        self.has_relation = len(parts) > 1
        self.marks += self.has_relation
        if not self.closers:
            alone = first.kind == "number" and self.tokens[self.at - 1] is first
            self.related.append("relation" if self.has_relation else "number" if alone else "")
        return "".join(parts)

    def range(self):
        xml = self.sum()
        while self.take(".."):
            self.operators += 1
            xml += mo("…", 'lspace="0.15em" rspace="0.15em"') + self.sum()
        return xml

    def sum(self):
        xml = self.signed()
        while self.next().text in SIGNS and bool(self.next().gap) == bool(self.next(1).gap):
            if self.prose and not self.next().gap and not self.closers:
                raise ValueError("a minus or a hyphen?")
            self.operators += 1
            xml += mo(SIGNS[self.take(*SIGNS)], f'form="infix"{f" {TIGHT}" * bool(self.small)}') + self.product()
        return xml

    def signed(self):
        sign = self.take("-", "+-") if self.glued(1) else ""
        return (mo(SIGNS[sign], 'form="prefix"') if sign else "") + self.product()

    def product(self):
        done, run = "", [self.factor()]  # run: what stands side by side
        while True:
            left, text = run[-1], self.next().text
            sign = "/" if text == "/" else "·" if text == "*" or self.is_dot() else "×" if self.is_cross(left) else ""
            if sign:
                self.at += 1
                self.operators += 1
                glued, right = not self.next().gap, self.factor()
                if sign == "/":
                    small = self.small or (self.prose and glued and len(run) == 1 and not self.starts())
                    run[-1 if glued else 0:] = [fraction(run[-1:] if glued else run, right, small)]  # L H/4 is L times a quarter of H
                elif glued and text == ".":  # v_k.v_l / 2 is half of it all
                    run[-1] = Node(left.xml + mo(sign) + right.xml, "other")
                else:
                    done, run = done + beside(run) + mo(sign), [right]
            elif self.starts(left) and self.next().gap < 2:
                number = left.kind == "number" and self.glued()  # 2x2
                run.append(self.factor())
                if self.prose and (number or {left.kind, run[-1].kind} & {"word", "tuple"}):
                    raise ValueError("a word of the sentence or a shape, and no factor")
            else:
                return done + beside(run)

    def is_dot(self):
        """w . s or v_k.v_l, and not the end of a sentence or the name of a file."""
        token, after = self.next(), self.next(1)
        return token.text == "." and bool(token.gap) == bool(after.gap) and after is not END and (
            after.gap > 0 or (not self.prose and after.kind == "word" and len(after.text) == 1))

    def is_cross(self, left):
        """Is a lone x the cross of 28 x 28? It is between numbers and in exponents; between capitals it could be either."""
        after = self.next(1)
        number, capital = after.kind == "number", after.kind == "word" and after.text[0].isupper()
        if self.next().text != "x" or not self.next().gap or not after.gap or not (number or capital):
            return False
        if not self.small and not (number and left.kind == "number"):
            raise ValueError("x: a factor or a cross?")
        return True

    def starts(self, left=None):
        """Is what comes next a factor, side by side with the one before?"""
        text, kind = self.next().text, self.next().kind
        if kind == "word":
            return self.known()
        if kind == "number":
            return left is None or (left.kind == "group" and self.next().gap > 0)  # no two numbers
        if text not in ("|", "||") or not self.closers:
            return text in ("(", "[", "|", "||")
        return text == "|" != self.closers[-1] and self.bars() % 2 == 0

    def bars(self):
        """How many | there are up to the end of this bracket: if one has no other, it is "given"."""
        depth, count = 0, 0
        for token in self.tokens[self.at:]:
            depth += (token.text in tuple("([{")) - (token.text in tuple(")]}"))
            count += token.text == "|" and depth == 0
            if depth < 0:
                break
        return count

    def factor(self):
        self.depth += 1
        if self.depth > 30:
            raise ValueError("nested too deeply")
        text, kind = self.next().text, self.next().kind
        if kind == "number":
            node = self.scripts(self.number())
        elif kind == "word" and self.known():
            node = self.phrase() if not self.prose and self.is_phrase() else self.name()
        elif text in ("(", "["):
            node = self.scripts(self.group())
        elif self.take("|", "||"):
            self.marks += 1
            self.closers.append(text)
            xml, bar = self.sum(), text.replace("||", "‖")
            self.expect(self.closers.pop())
            node = self.scripts(Node(fenced(bar, xml, bar), "other"))
        elif self.take("..."):
            node = Node(mo("…"), "other")
        else:
            raise ValueError(f"{text!r} is no number, name or bracket")
        self.depth -= 1
        return node

    # ---- names with what they are applied to ----

    def name(self):
        self.at += 1
        word = self.last()
        if word == "d" and self.is_derivative():
            return self.derivative()
        if word in WIDE:
            sign, drawn = WIDE[word], WIDE[word] != word
            node = self.scripts(Node(mo(sign) if drawn else mi(sign, True), "letter"), under=drawn)
            called = self.glued() in ("(", "[") and not drawn
            if not called and not (word == "E" and self.prose) and (self.starts() or (self.next().text == "-" and self.glued(1))):
                self.marks += 1
                return Node(node.xml + APPLY * (not drawn) + self.signed(), "wide")
            if not called and word != "E":
                raise ValueError(f"{word} of what?")
        elif word in FUNCTIONS:
            return self.function(word)
        else:
            node = self.scripts(*self.symbol(word, self.last(2)))
        if self.glued() in ("(", "["):
            self.marks += 1
            node = self.scripts(Node(node.xml + mo("\u2061") + self.group().xml, "other"))
        return node

    def function(self, word):
        self.marks += 1
        if word in ("sqrt", "floor"):
            inner = self.group() if self.next().text == "(" else self.factor()
            if inner.kind == "tuple" or self.glued() == "^":
                raise ValueError(f"{word} of what?")
            xml = inner.inner or inner.xml
            return Node(f"<msqrt>{xml}</msqrt>" if word == "sqrt" else fenced("⌊", xml, "⌋"), "other")
        base = scripted(mi("log"), ["<mn>10</mn>"]) if word == "log10" else mo("∇", 'rspace="0"') if word == "grad" else mi(word)
        base = self.scripts(Node(base, "word"))
        numbered = self.prose and self.next().gap and self.next().text == "(" and self.next(1).kind == "number" and self.next(2).text == ")"
        if not self.starts() or numbered:  # the sigmoid (7)
            raise ValueError(f"{word} of what?")
        return Node(base.xml + (mo("\u2061") if self.next().text in ("(", "[") else APPLY) + self.factor().xml, "other")

    def is_derivative(self):
        """After a d: h_t / d h_{t-1}?"""
        i = 1
        while self.glued(i):
            i += 1
        quotient = self.next(i).text == "/" and self.next(i + 1).text == "d" and self.next(i + 2).gap
        return quotient and self.next().kind == "word" and self.next().gap

    def derivative(self):
        above = self.factor()
        self.expect("/")
        self.expect("d")
        self.marks += 1
        return Node(f"<mfrac>{row(mi('d'), above.xml)}{row(mi('d'), self.factor().xml)}</mfrac>", "fraction")

    def phrase(self):
        parts = []
        while self.last() != "of" or not parts:
            text, kind = self.next().text, self.next().kind
            if len(parts) > 8 or (kind != "word" and text != "!="):
                raise ValueError("a sum over what?")
            self.at += 1
            blank = "\u00a0" * ("!=" not in (text, self.next().text))
            symbol = mo("≠") if text == "!=" else mi(text) if len(text) == 1 else ""
            parts.append(f"{symbol}<mtext>{'' if symbol else text}{blank}</mtext>")
        return Node("".join(parts) + self.signed(), "wide")

    # ---- brackets ----

    def group(self):
        at, state, left = self.at, (self.depth, [*self.closers], self.small), self.take("(", "[")
        right = {"(": ")", "[": "]"}[left]
        try:
            xml = self.arguments(right)
        except ValueError:
            self.at, (self.depth, self.closers, self.small) = at, state
            return self.said()
        return Node(fenced(left, xml, right), *(("group", xml) if self.plain else ("tuple",)))

    def arguments(self, right):
        """What stands in a bracket, up to its end; sets plain: is it one sum?"""
        self.closers.append(right)
        xml, plain = self.statement(), not self.has_relation
        while not self.take(right):
            plain, sep = False, self.take(",", ";", "|", "||")
            if not sep:
                raise ValueError(f"{right!r} expected, found {self.next().text!r}")
            self.marks += sep in ("|", "||")
            bar = 'lspace="0.2em" rspace="0.2em" stretchy="false"'
            xml += mo(sep, 'separator="true"') if sep in ",;" else mo(sep.replace("||", "∥"), bar)
            if not (sep == "," and self.next().text == right == ")"):  # (7,)
                xml += self.statement()
        self.closers.pop()
        self.plain = plain
        return xml

    def said(self):
        """Words in brackets where a factor should be, as in e_t + (dh of step t + 1): set as they are."""
        at = self.at
        end = next((i for i in range(at, len(self.tokens)) if self.tokens[i].text == ")"), at)
        inside = self.tokens[at + 1:end]
        words = [token for token in inside if token.kind == "word" and len(token.text) > 1]
        nested = any(token.text in ("(", "[") for token in inside)
        if self.prose or nested or len(words) < 2 or self.last() not in ("+", "-", "*", "/", "="):
            raise ValueError("words or a factor?")
        self.at = end + 1
        text = "".join("\u00a0" * bool(token.gap) + token.text for token in self.tokens[at:self.at]).strip("\u00a0")
        return Node(f"<mtext>{html.escape(text)}</mtext>", "other")


def mathml(expression, display=True):
    """A plain-text expression as a <math> element; ValueError where its meaning is not certain."""
    style = ' displaystyle="true"' if display else ""
    return f"<math{style}>{row(Reader(tokens_of(expression)).xml)}</math>"
