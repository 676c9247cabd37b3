"""What formulas are made of: the names that are known, the tokens of a text, the elements of MathML, and names with all that hangs on them.

The reader of whole expressions is in formula.py; Names, its lower half, tells a name from a word of the sentence and reads x_hat_t^2.
"""

import html
import re
from collections import namedtuple

GREEK = dict(zip("alpha beta gamma delta eps epsilon zeta eta theta kappa lambda mu nu xi pi rho sigma tau phi chi psi omega".split(),
                 "αβγδεεζηθκλμνξπρστφχψω"))
RELATIONS = {"=": "=", "~": "∼", "<-": "←", "->": "→", "<=": "≤", ">=": "≥", "!=": "≠", "<": "<", ">": ">", "in": "∈"}
SIGNS = {"+": "+", "-": "−", "+-": "±"}
OPERATORS = {*RELATIONS, *SIGNS, "*", "/"} - {"in"}
WIDE = {"sum": "∑", "prod": "∏", "integral": "∫", "mean": "mean", "E": "E"}  # these take the rest of their product
FUNCTIONS = set("exp ln log log10 tanh sin cos sigmoid det tr grad sqrt floor Var".split())  # these need no brackets
CALLED = FUNCTIONS | set("softmax diag logit relu selu min max clip pool".split())
# Names of several letters. Those of the second line are English words, too: amid a sentence they count only beside an operator.
NAMES = set("logvar logits lr".split())
WORDS = set("""apart code decay diversity error fresh gradient guided hue label logit loss margin novelty ones padding positive precision
    pull push recall rgb stride unit""".split())
INDICES = {"inf": "∞", "in": "in", "out": "out", "mean": "mean", "new": "new", "real": "real"}  # subscripts that are words

TOKEN = re.compile(r"(?P<number>\d{1,3}(?:,\d{3})+(?![\d,.]*\d)|\d+(?:\.\d+)?(?:e[+-]?\d+)?)|(?P<word>[A-Za-z]{2,}\d[a-z]+|[A-Za-z]+\d*)|"
                   r"(?P<sign>\.\.\.|\.\.|<-|->|<=|>=|!=|\|\||\+-|[-+*/=~<>|()\[\]{},;^_.'])|(?P<other>\S)")
Token = namedtuple("Token", "text kind start end gap")  # gap: the blanks before it, 2 for more than one
END = Token("", "end", 0, 0, 1)
Node = namedtuple("Node", "xml kind inner", defaults=("",))  # inner: of a bracket that a fraction's bar can stand for what is in it
TIMES = '<mo lspace="0" rspace="0.14em">\u2062</mo>'  # side by side
TIGHT = 'lspace="0.06em" rspace="0.06em"'  # a sign in a script: with the spaces of a line, x_{t-1} would fall apart
APPLY = '<mo lspace="0" rspace="0.14em">\u2061</mo>'  # a function and its argument


def tokens_of(text):
    found, end = [], 0
    for match in TOKEN.finditer(text):
        blanks = text[end:match.start()]
        found.append(Token(match[0], match.lastgroup, match.start(), match.end(), 2 if "  " in blanks else int(bool(blanks))))
        end = match.end()
    return found


# ---- elements ----

def mi(text, upright=False):
    return f'<mi mathvariant="normal">{text}</mi>' if upright and len(text) == 1 else f"<mi>{text}</mi>"


def mo(text, attributes=""):
    return f"<mo{' ' * bool(attributes)}{attributes}>{html.escape(text)}</mo>"


def row(*parts):
    return f"<mrow>{''.join(parts)}</mrow>"


def beside(nodes):
    return TIMES.join(node.xml for node in nodes)


def fenced(left, inner, right):
    """Brackets grow with fractions and sums; with scripts they do not, or every p(x_t) would look like a column."""
    size = "" if "<mfrac" in inner or "<munder" in inner else ' stretchy="false"'
    return row(mo(left, f'form="prefix"{size}'), row(inner), mo(right, f'form="postfix"{size}'))


def scripted(base, sub=(), sup=(), under=False):
    """under: the limit of a sum goes below it where there is room."""
    tag = "munder" if under and not sup else f"m{'sub' * bool(sub)}{'sup' * bool(sup)}"
    return f"<{tag}>{base}{row(*sub) * bool(sub)}{row(*sup) * bool(sup)}</{tag}>" if sub or sup else base


def fraction(run, below, small):
    """With a bar; with a slash where there is little room and no doubt, in scripts and for H/4 alone in a sentence."""
    above = run[0].inner if len(run) == 1 and run[0].inner else beside(run)
    if small and len(run) == 1 and {run[0].kind, below.kind} <= {"number", "letter"} and "<mi>d</mi>" not in below.xml:
        return Node(row(above, mo("/", 'lspace="0" rspace="0"'), below.xml), "fraction")
    return Node(f"<mfrac>{row(above)}{row(below.inner or below.xml)}</mfrac>", "fraction")


class Names:
    """Tokens one after another, and the names and numbers among them."""

    def __init__(self, tokens, prose=False, before=""):
        """prose: amid a sentence, where fewer names are sure; before: the token in front."""
        self.tokens, self.at, self.prose, self.before = [*tokens, END], 0, prose, before
        self.closers, self.small = [], 0  # the brackets that are open; how deep in scripts
        self.marks = self.letters = self.operators = 0  # a mark is what makes a formula unmistakable

    def next(self, ahead=0):
        return self.tokens[min(self.at + ahead, len(self.tokens) - 1)]

    def glued(self, ahead=0):
        """A coming token's text, if no blank stands before it."""
        return "" if self.next(ahead).gap else self.next(ahead).text

    def last(self, ago=1):
        return self.tokens[self.at - ago].text if self.at >= ago else self.before

    def take(self, *texts):
        if self.next().kind == "end" or self.next().text not in texts:
            return ""
        self.at += 1
        return self.last()

    def expect(self, text):
        if not self.take(text):
            raise ValueError(f"{text!r} expected, found {self.next().text!r}")

    def known(self):
        """Is the coming word a name, or one of a sentence?"""
        word, after = self.next().text, self.glued(1)
        if word == "in":
            return False
        if len(word) == 1 or word in GREEK or word in NAMES or word in FUNCTIONS or (word in CALLED and after == "("):
            return True
        if (word.isupper() and len(word) < 6) or (len(word) == 2 and word[1].isdigit()):  # KL; C1
            return True
        if is_differential(word):
            return not self.prose or word not in ("do", "de", "dB")
        if word in WORDS and self.prose:
            return self.last() in OPERATORS or self.next(1).text in OPERATORS or self.last() == "d" or after == "^"
        if word in WIDE:
            return after == "_" or not self.prose
        alone = self.at == 0 and self.next(1).text in ("=", "<-")  # what is alone before an equals sign
        return not self.prose and (word in WORDS or alone or after in ("_", "(") or self.is_phrase())

    def is_phrase(self):
        """mean over drawings of, max over t of: words that work like a sum sign."""
        return self.next().text in ("mean", "max", "min", "sum") and self.next(1).text in ("over", "of")

    def number(self):
        self.at += 1
        digits, _, exponent = self.last().partition("e")
        xml = f"<mn>{digits}</mn>"
        if exponent:
            self.marks += 1
            power = scripted("<mn>10</mn>", [], [mo("−", 'form="prefix"') * (exponent[0] == "-"), f"<mn>{exponent.lstrip('+-')}</mn>"])
            xml = power if digits == "1" else xml + mo("·") + power
        if re.fullmatch(r"x\d+", self.glued()) and not self.prose:  # 28x28
            xml += mo("×") + f"<mn>{self.take(self.glued())[1:]}</mn>"
        return Node(xml, "number")

    def symbol(self, word, before=""):
        """(a name without what hangs on it, the subscript that its digits are): x0 is x with index 0."""
        letters = word.rstrip("0123456789")
        self.letters += 1
        if is_differential(word):
            node = Node(row(mi("d"), self.symbol(word[1:])[0].xml), "letter")
        elif letters in GREEK:
            node = Node(mi(GREEK[letters]), "letter")
        elif len(letters) == 1:
            space = letters == "R" and before in ("in", "on", "of", "->") and self.glued() == "^"  # R^L
            node = Node(mi("ℝ" if space else letters, letters in "NE" and self.glued() in ("(", "[")), "letter")
        else:
            while self.glued() == "_" and self.next(1).kind == "word" and len(self.glued(1)) > 1 and self.glued(1) not in INDICES:
                word, self.at = f"{word}_{self.glued(1)}", self.at + 2  # output_padding
            return Node(mi(word), "letter" if word.isupper() or word in ("lr", "logvar") else "word"), ()
        return node, [f"<mn>{word[len(letters):]}</mn>"] * (letters != word)

    def scripts(self, base, digits=(), under=False):
        """A name, number or bracket with its hat, primes, subscript and power, without a blank between."""
        sub, sup, primes, hat, indexed, raised = [*digits], [], "", False, False, False
        while self.glued() in ("_", "^", "'"):
            if self.glued() == "'" and (raised or base.kind not in ("letter", "word") or (self.next(1).kind == "word" and self.glued(1))):
                break  # the drawing's
            sign = self.take("_", "^", "'")
            self.marks += sign != "'"
            if sign == "'":
                primes += mo("′", 'lspace="0" rspace="0"')
            elif raised or self.next().gap or (sign == "_" and indexed):
                raise ValueError(f"{sign!r} of what?")
            elif sign == "^":
                sup.append(self.exponent())
                raised = True
            elif self.glued() == "hat" and not hat:
                self.at += 1
                hat = True
            else:
                sub += self.subscript()
                indexed = True
        if not (sub or sup or hat or primes):
            return base
        named = base.kind in ("letter", "word")
        xml = base.xml if named else row(base.xml)  # one element
        xml = f'<mover accent="true">{xml}<mo stretchy="false">ˆ</mo></mover>' if hat else xml
        xml = row(xml, primes) if primes else xml
        return Node(scripted(xml, sub, sup, under), "letter" if named else "other")

    def subscript(self):
        """The parts of x_t, x_{t-1}, h_(k-1), z_(1), W_., P_nk, S_n,y_n behind the _."""
        self.small += 1
        at, word, base = self.at, self.glued(), self.last(2)
        if self.take("{"):
            parts = [self.arguments("}")]
        elif word == "(":
            group = self.group()
            parts = [group.inner if group.inner and self.at - at > 3 else group.xml]  # z_(1), the best one, keeps its brackets
        elif self.take("."):
            parts = [mo("·")]
        elif self.next().kind == "number" and word.isdigit():
            parts = [self.number().xml]
        elif self.next().kind == "word" and word.isalpha() and word != "hat":
            self.at += 1
            pair = len(word) == 2 and (base[-1:].isupper() or base in GREEK) and word not in INDICES and word not in GREEK  # S_ij
            if self.prose and len(word) > 1 and not (pair or word in INDICES or word in GREEK):
                raise ValueError(f"{word}: a name of the code")
            parts = [*map(mi, word)] if pair else [mi(INDICES.get(word, GREEK.get(word, word)))]
            if self.glued() == "_" and self.glued(1) != "hat":  # p_y_n: y_n is the index
                self.at += 1
                parts = [scripted(row(*parts), self.subscript())]
            if self.glued() == "," and self.next(1).kind == "word" and self.glued(1):
                self.at += 1
                parts += [mo(","), *self.subscript()]
        else:
            raise ValueError(f"{word!r} as a subscript")
        self.small -= 1
        return parts

    def exponent(self):
        """What stands behind ^: 2, -1, T, 2H, (1/2), {t}, -|l|."""
        self.small += 1
        sign = self.take("-")
        text, kind = self.glued(), self.next().kind
        if self.take("{"):
            xml = self.arguments("}")
        elif text == "(":
            group = self.group()
            xml = group.inner or group.xml
        elif kind == "number" and text:
            xml = self.number().xml + (mi(self.take(self.glued())) if self.next().kind == "word" and len(self.glued()) == 1 else "")
        elif kind == "word" and (len(text) == 1 or text in GREEK) and self.glued(1) not in ("(", "[", "_"):
            self.at += 1
            xml = mi(GREEK.get(text, text), text == "T" and not sign)  # ^T is transposed
        elif text == "|":
            xml = self.factor().xml
        else:
            raise ValueError(f"{text!r} as an exponent")
        self.small -= 1
        return (mo("−", 'form="prefix"') if sign else "") + xml


def is_differential(word):
    """dL, dmu, dlogvar; not det or decay."""
    rest = word[1:]
    return word[0] == "d" and word not in CALLED and ((len(rest) == 1 and rest.isalpha()) or rest in {*GREEK, *NAMES, *WORDS})
