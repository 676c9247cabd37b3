"""book/equations.py: formulas mean what is written, every numbered equation is found, and no line or word of a text gets lost."""

import ast
import html
import io
import random
import re
import tokenize
from fractions import Fraction
from xml.etree import ElementTree

import pytest
from conftest import ROOT

from book import equations
from book.equations import Block, blocks, inline, mathml, statements
from book.symbols import CALLED, FUNCTIONS, GREEK, NAMES, WORDS

MODELS = sorted([*ROOT.glob("*.py"), *ROOT.glob("more/*.py")])
SOURCES = sorted([*MODELS, *ROOT.glob("*/*.py")])
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
CHILDREN = {"mfrac": 2, "msub": 2, "msup": 2, "msubsup": 3, "munder": 2, "mover": 2}  # as MathML wants them
KNOWN = {"math", "mrow", "mi", "mn", "mo", "mtext", "msqrt", *CHILDREN}


def read(markup):
    """The tree of some markup, well formed and with elements that browsers know, each with the children it needs."""
    root = ElementTree.fromstring(markup)
    for node in root.iter():
        assert node.tag in KNOWN
        assert len(node) == CHILDREN.get(node.tag, len(node)), f"{node.tag} with {len(node)} children"
        assert node.tag in ("mi", "mn", "mo", "mtext") or not (node.text or "").strip()
        assert len(node) == 0 or node.tag not in ("mi", "mn", "mo", "mtext")
    return root


def drawn(node):
    """A tree in one line: a fraction as {above/below}, scripts as base_sub^sup, both in brackets {} where they are long."""
    def part(child):
        text = drawn(child)
        return text if len(text) == 1 else f"{{{text}}}"

    if len(node) == 0:
        return (node.text or "").strip("\u2061\u2062").replace("\u00a0", " ").replace("ˆ", "^")
    parts = [part(child) for child in node]
    scripts = {"msub": "_", "munder": "_", "msup": "^", "mover": "^"}
    if node.tag in scripts:
        return f"{parts[0]}{scripts[node.tag]}{parts[1]}" if node.tag != "mover" else f"{parts[0]}{parts[1]}"
    if node.tag == "msubsup":
        return f"{parts[0]}_{parts[1]}^{parts[2]}"
    if node.tag == "mfrac":
        return f"{{{drawn(node[0])}/{drawn(node[1])}}}"
    inner = "".join(map(drawn, node))
    return f"√{{{inner}}}" if node.tag == "msqrt" else inner


def texts(path):
    """Docstrings and comments of a file: (name, text without its margin)."""
    source = path.read_text()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and (text := ast.get_docstring(node)):
            yield f"{path.name}:{getattr(node, 'name', '')}", text
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield f"{path.name}:{token.start[0]}", token.string.lstrip("#").removeprefix(" ")


# ---- expressions ----

@pytest.mark.parametrize(("expression", "expected"), [
    # precedence: from left to right; sums and means take the rest of their product; functions what is next to them
    ("1/2 u", "{1/2}u"), ("u / 2 v", "{u/2}v"), ("a b / c", "{ab/c}"), ("a * b / c", "a·{b/c}"), ("a / b / c", "{{a/b}/c}"),
    ("L H/4 H/4", "L{H/4}{H/4}"), ("a.b / 64 + 1", "{a·b/64}+1"), ("a - b / c", "a−{b/c}"), ("(a - b) / (c + d)", "{a−b/c+d}"),
    ("(a - b) c / d", "{(a−b)c/d}"), ("(a, b) / c", "{(a,b)/c}"), ("[A > 0] / 2", "{[A>0]/2}"), ("(a)^2 / (b)^2", "{{(a)}^2/{(b)}^2}"),
    ("exp(logits_k) / sum_j exp(logits_j)", "{exp({logits}_k)/∑_jexp({logits}_j)}"), ("sum_d a_d / b_d + c", "∑_d{a_d/b_d}+c"),
    ("-ln p(x|z)", "−lnp(x|z)"), ("ln u^2", "lnu^2"), ("1/B sum_n -ln x", "{1/B}∑_n−lnx"), ("-1/2 ln det P", "−{1/2}lndetP"),
    # scripts
    ("x_t", "x_t"), ("x_hat_d^2", "{x^}_d^2"), ("x0_hat(x_t)", "{x^}_0(x_t)"), ("h_{t-1}", "h_{t−1}"), ("h_(k-1)", "h_{k−1}"),
    ("z_(1)", "z_{(1)}"), ("W_. x_t + b'_.", "W_·x_t+{b′}_·"), ("H'^2", "{H′}^2"), ("S_n,y_n", "S_{n,y_n}"), ("S_p^-1", "S_p^{−1}"),
    ("softmax(S_n / tau)_y_n", "{softmax({S_n/τ})}_{y_n}"), ("P_nk", "P_{nk}"), ("V^T", "V^T"), ("p(x|z)^(1/T)", "{p(x|z)}^{1/T}"),
    ("e^-|l|", "e^{−|l|}"), ("x in R^2H", "x∈ℝ^{2H}"), ("x in [0, 1]^(28 x 28)", "x∈{[0,1]}^{28×28}"),
    ("da_{r,t} x_t^T", "{da}_{r,t}x_t^T"), ("FID_inf", "{FID}_∞"), ("D(x_real)", "D(x_{real})"), ("W_mean", "W_{mean}"),
    ("a_t = prod_{s<=t} (1 - beta_s)", "a_t=∏_{s≤t}(1−β_s)"),
    # bars, roots, derivatives, words
    ("KL(q(z|x) || p(z))", "KL(q(z|x)∥p(z))"), ("|x - E[x | y]|^2", "{|x−E[x|y]|}^2"), ("E[w |u|^2]", "E[w{|u|}^2]"),
    ("||u||^2", "{‖u‖}^2"),
    ("sqrt(1 - a_t) eps", "√{1−a_t}ε"), ("1/sqrt n", "{1/√{n}}"), ("floor(5/2) + 1", "⌊{5/2}⌋+1"), ("dL/dW", "{dL/dW}"),
    ("d h_t / d h_{t-1} = diag(f)", "{dh_t/dh_{t−1}}=diag(f)"), ("dloss/dlogvar", "{dloss/dlogvar}"), ("grad_x d(x)", "∇_xd(x)"),
    ("mean over k != l of x", "mean over k≠l of x"), ("max over t of a_j(t)", "max over t of a_j(t)"), ("10 log10 4", "10{log}_{10}4"),
    ("e_t + (dh of step t + 1)", "e_t+(dh of step t + 1)"), ("p(x) = integral p(x|z) p(z) dz", "p(x)=∫p(x|z)p(z)dz"),
    # whole lines
    ("mu, logvar = f(x)", "μ,logvar=f(x)"), ("z = mu + exp(logvar / 2) * eps,  eps ~ N(0, I)", "z=μ+exp({logvar/2})·ε,ε∼N(0,I)"),
    ("h_1 .. h_T = GRU(x_1 .. x_T)", "h_1…h_T=GRU(x_1…x_T)"), ("w <- w - lr v", "w←w−lrv"), ("= 100 V + 30,100", "=100V+30,100"),
    ("loss = E w_t |eps - e(x_t, t)|^2 / D", "loss=E{w_t{|ε−e(x_t,t)|}^2/D}"), ("4e-7 <= 1e-3", "4·{10}^{−7}≤{10}^{−3}"),
])
def test_expression(expression, expected):
    assert drawn(read(mathml(expression))) == expected


@pytest.mark.parametrize("expression", [
    "", " ", "x +", "* x", "x ^", "x_", "x__y", "x^2^3", "x^T_t", "(x", "x)", "[x)", "(x]", "|x", "x || y", "x = = y", "x =", "1 2", "x,",
    ",x", "{x}", "f()", "sum_", "sum", "sqrt", "sqrt(x)^2", "sqrt(a, b)", "ln", "E_q[", "p(x || )", "a - - b", "a -b", "- a", "W x U",
    "x_hat_hat", "\\frac", "x: y", "two words", "the mean of x", "share of samples", "x . ", "mean over all that", "x'y", "a | b",
    "(" * 500, "ln " * 500, "x ? y", "x # y",
])
def test_what_is_not_understood_is_refused(expression):
    with pytest.raises(ValueError):
        mathml(expression)


SYMBOLS = {"a": Fraction(3), "b": Fraction(5, 2), "c": Fraction(7), "x": Fraction(-2)}


def expression(rng, depth=0):
    """(text, value): a random expression in the documents' notation, with its value by the rules that they give."""
    kind = rng.choice(("name", "number", "power", "sum", "product", "product") if depth < 4 else ("name", "number"))
    if kind == "name":
        return (name := rng.choice("abcx")), SYMBOLS[name]
    if kind == "number":
        return str(number := rng.randint(1, 9)), Fraction(number)
    if kind == "power":
        text, value = expression(rng, depth + 1)
        text = text if len(text) == 1 else f"({text})"
        return f"{text}^2", value ** 2
    if kind == "sum":
        (left, a), (right, b) = expression(rng, depth + 1), expression(rng, depth + 1)
        right = f"({right})" if " + " in right or " - " in right else right
        return (f"{left} + {right}", a + b) if rng.random() < 0.5 else (f"{left} - {right}", a - b)
    text, value = expression(rng, depth + 1)
    text = text if re.fullmatch(r"\w(\^2)?", text) else f"({text})"
    for _ in range(rng.randint(1, 3)):  # from left to right, whatever it is
        factor, f = expression(rng, depth + 1)
        factor = factor if re.fullmatch("[abcx]", factor) else f"({factor})"
        sign = rng.choice((" ", " * ", " / ", "/"))
        if f == 0 or (sign == "/" and (" / " in text or " * " in text or " " in text)):
            continue
        text, value = f"{text}{sign}{factor}", value / f if "/" in sign else value * f
    return text, value


def value_of(node):
    """What a reader of the set formula computes: Python's rules for signs, and what stands side by side is multiplied first."""
    def python(node):
        if node.tag == "mfrac":
            return f"(({python(node[0])})/({python(node[1])}))"
        if node.tag == "msup":
            return f"(({python(node[0])})**({python(node[1])}))"
        if len(node) == 0:
            return {"·": "*", "\u2062": "*", "−": "-"}.get(node.text, node.text if node.tag != "mn" else f"Fraction({node.text})")
        return "".join(map(python, node))

    return eval(python(node), {"Fraction": Fraction, **SYMBOLS})


def test_the_set_formula_has_the_value_of_the_text():
    rng, done = random.Random(0), 0
    for _ in range(3000):
        try:
            text, value = expression(rng)
        except ZeroDivisionError:
            continue
        assert value_of(read(mathml(text))) == value, text
        done += 1
    assert done > 2500


# ---- the equations of the files ----

def numbered(text):
    return [block for block in blocks(text) if block.kind in ("equation", "verbatim") and block.tag and block.tag[0].isdigit()]


SPELLED = {**{letter: name for name, letter in GREEK.items() if name != "epsilon"}, "∑": "sum", "∏": "prod", "∫": "integral", "∇": "grad",
           "∞": "inf", "ˆ": "hat", "∈": "in", "ℝ": "R", "×": "x", "⌊": "floor"}


def check_names(expression, root):
    """Spelled again, the output has the letters and digits of the input, as often as the input has them."""
    shown = "".join(SPELLED.get(c, c) for c in "".join(root.itertext()))
    shown += "sqrt" * sum(node.tag == "msqrt" for node in root.iter())
    assert sorted(c for c in shown if c.isalnum()) == sorted(c for c in expression if c.isalnum()), f"{expression}: {drawn(root)}"


def test_the_numbered_equations_of_the_model_files_are_set():
    """A line counts as set if its formula is, and none is left among its words; one that has no formula counts as not set, too."""
    total, formulas, missing = 0, 0, []
    for path in MODELS:
        for block in numbered(ast.get_docstring(ast.parse(path.read_text())) or ""):
            total += 1
            if not block.body or equations._formula_left(block.note):
                missing.append(f"{path.name} {block.lines[0].strip()}")
            if block.body:
                formulas += 1
                check_names(block.body, read(mathml(block.body)))
    print(f"\n{total} numbered lines, {formulas} with a formula that is set, {len(missing)} with words or with a formula that is not")
    assert total > 100 and len(missing) <= 0.1 * total, "\n".join(missing)


def test_the_formulas_of_the_derivations_are_set():
    found = [block for block in blocks((ROOT / "docs" / "derivations.md").read_text()) if block.kind in ("equation", "verbatim")]
    for block in found:
        if block.body:
            check_names(block.body, read(mathml(block.body)))
    missing = [block.lines[0] for block in found if not block.body]
    print(f"\n{len(found)} formulas in the derivations, not set: {missing}")
    assert len(found) > 100 and missing == ["    2 3 4 0 0 0"]  # a matrix


@pytest.mark.parametrize("expression, close", [("x_{t-1}", ["−"]), ("sum_{t>1} x^{H+1}", [">", "+"]), ("t - 1 > 1 + x_t", []),
                                               ("x_{t-1} - 1", ["−"])])
def test_signs_in_scripts_stand_close(expression, close):
    """With the spaces of a line x_{t-1} would fall apart."""
    assert [node.text for node in read(mathml(expression)).iter("mo") if node.get("lspace") == "0.06em" == node.get("rspace")] == close


def test_statements_are_the_body():
    for path in MODELS:
        for block in numbered(ast.get_docstring(ast.parse(path.read_text())) or ""):
            parts = statements(block.body)
            assert "".join(a + b for a, b in parts).replace(" ", "") == block.body.replace(" ", "")
            for part, _ in parts if block.body else ():
                read(mathml(part))
    assert statements("mu, logvar = f(x),  a = 1; b = 2") == [("mu, logvar = f(x)", ","), ("a = 1", ";"), ("b = 2", "")]


# ---- blocks ----

def test_an_equation_is_taken_apart():
    text = """Words before.

    (1)  plain:  h_t = tanh(x_t)
    (2)  i, f = sigmoid(W_. x_t)     two gates
           c = f * i,   h = 0        the state
    (5a) KL(q || p) = 1/2 [a
             + b]
         and no more
    (6)  words alone

    name        (1, 2)
    other       (3, 4)

Run:    python this.py
Words after."""
    found = blocks(text)
    assert [(b.kind, b.tag, b.label, b.body, b.remark, b.first) for b in found if b.kind == "equation"] == [
        ("equation", "1", "plain:", "h_t = tanh(x_t)", "", 2), ("equation", "2", "", "i, f = sigmoid(W_. x_t)", "two gates", 3),
        ("equation", None, "", "c = f * i,   h = 0", "the state", 4), ("equation", "5a", "", "KL(q || p) = 1/2 [a + b]", "and no more", 5),
        ("equation", "6", "", "", "words alone", 8)]
    assert [b.kind for b in found] == ["prose", *["equation"] * 5, "table", "table", "prose"]
    assert found[0] == Block("prose", ("Words before.", ""), 0, "Words before.")
    assert found[1].note == "plain:" and found[2].note == "two gates"


def test_a_paragraph_begins_where_a_sentence_ended_and_a_line_was_left_short():
    text = """A line that is filled by hand to its end, and says a lot in doing so.
Then one ends early, on purpose.
Why: a new thought begins, though no empty line says it, and it may be long.
It is short
and goes on."""
    assert [(b.kind, b.first, b.body.count("\n")) for b in blocks(text)] == [("prose", 0, 1), ("prose", 2, 2)]


def check_lines(name, text):
    lines, at = text.split("\n") if text else [], 0
    for block in blocks(text):
        assert block.first == at and block.kind in ("prose", "equation", "table", "verbatim"), name
        at += len(block.lines)
    assert [line for block in blocks(text) for line in block.lines] == lines, name


def test_blocks_hold_every_line_once():
    count = 0
    for path in SOURCES:
        for name, text in texts(path):
            check_lines(name, text)
            count += 1
    for path in DOCUMENTS:
        check_lines(path.name, path.read_text())
    assert count > 1000


# ---- running prose ----

@pytest.mark.parametrize(("text", "formulas"), [
    ("back by d h_t / d h_{t-1} = diag(1 - h_t^2) U. Over k words", ["{dh_t/dh_{t−1}}=diag(1−h_t^2)U", "k"]),
    ("a drawing x_hat, side by side in R^2H", ["x^", "ℝ^{2H}"]), ("KL(q || p) is 0, and q(z|x) is not", ["KL(q∥p)", "q(z|x)"]),
    ("1e-3 is as easy to reach as 1", ["{10}^{−3}"]), ("beta = 1: it is -ELBO", ["β=1"]), ("logits (B, K)", ["(B,K)"]),
    ("a random z draws nothing; a x_t, A z", ["z", "x_t", "z"]), ("G and D's loss, `x_hat` in code", ["G", "D"]),
    ("f: pixels -> R^E", ["f", "ℝ^E"]), ("for mu, logvar = f(x)", ["μ,logvar=f(x)"]),
    ("z ~ a Gaussian mixture", []), ("by 2.4 dz/dmu = 1", ["{dz/dμ}=1"]), ("(2) x_t of (b)", ["x_t"]),
    ("at t = T x_t is noise", ["t=T", "x_t"]),
    ("the sigmoid (7) hands back", []), ("28 x 28, 2x2, H/4 x H/4", []), ("102 s, T = 28 steps", ["T=28"]),
    ("--lr 1e-3 --threshold t", []), ("T = 1, 0.5 of it", ["T=1"]),
    ("SHA-256, k-NN, C-th, U-Net", []), ("code x_train, batch_size = 3, a.b, z.npy, rnn_ae.py, f.close()", []), ("V = m V + foo W", []),
    ("Y. LeCun, appendix B, 1.2", []), ("p(x | known pixels)", []), ("x = f(x); <script>alert(1)</script>", ["x=f(x)"]),
    ("I read, A drawing, a code", []), ("; * is elementwise", ["·"]), ("784 -> 100 -> 30 pixels", ["784→100→30"]), ("* a star", ["·"]),
])
def test_formulas_in_prose(text, formulas):
    shown = inline(text)
    found = re.findall(r"<math>.*?</math>", shown)
    assert [drawn(read(formula)) for formula in found] == formulas
    assert "<script" not in shown


def test_prose_keeps_its_words():
    """What is outside of formulas stands as it did, and in its order; what is inside is well formed and no word of a sentence."""
    for path in SOURCES:
        for name, text in texts(path):
            at, plain = 0, text.replace("`", "")
            for i, part in enumerate(re.split(r"(<math>.*?</math>)", inline(text))):
                if i % 2:
                    written = {word for word in re.findall(r"[a-z]{4,}", " ".join(read(part).itertext()))}
                    assert written <= WORDS | NAMES | FUNCTIONS | CALLED | {"real", "mean"}, f"{name}: {written}"
                else:
                    part = html.unescape(re.sub(r"</?code>", "", part)).replace("`", "")
                    assert part in plain[at:], name
                    at = plain.index(part, at) + len(part)


def test_random_text_never_breaks():
    rng = random.Random(1)
    pieces = """x x_t x_hat sum_l mean over of d E ln sqrt mu KL ( ) [ ] { } | || ^ _ ' / * + - = <- ~ -> 1 2.5 1e-3 28 a the in R T
        , ; . .. ... : ` q(z|x) words <b> & é where at --lr""".split() + ["  ", "\n", "\n    (1)  ", "\u2028", "\x0c"]
    accepted = 0
    for i in range(6000):
        text = "".join(rng.choice(pieces) + " " * rng.randint(0, 1) for _ in range(rng.randint(1, 14))) if i % 2 else "".join(
            chr(rng.choice((rng.randint(32, 126), rng.randint(0, 0x2fff)))) for _ in range(rng.randint(0, 30)))
        try:
            read(mathml(text))
            accepted += 1
        except ValueError:
            pass
        for formula in re.findall(r"<math>.*?</math>", inline(text), re.DOTALL):
            read(formula)
        check_lines("random", text)
        for block in blocks(text):
            if block.kind == "equation" and block.body:
                read(mathml(block.body))
    assert accepted > 20
