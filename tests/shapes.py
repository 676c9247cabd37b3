"""Executes shape comments: `# (B, 64, 7, 7)` behind a line is compared with the tensor that the line makes.

In functions a trace watches every line of a file run, and when a commented statement is done its value
is measured: the targets of an assignment, or what is returned. In a network's __init__, the comments
behind the layers of a Sequential or ModuleList, or behind one layer, are compared with what that layer
puts out. Letters are variables: the same letter stands for the same number within a statement.
"""

import ast
import re
import sys
from pathlib import Path

import numpy as np
import torch

TUPLE = re.compile(r"\(([^()]*,[^()]*(?:\([^()]*\)[^()]*)*)\)")


def shape_comments(path):
    """{line number: ([shapes as text], does "each" follow)} of comments that begin with a shape, equation numbers aside."""
    found = {}
    for number, line in enumerate(Path(path).read_text().splitlines(), 1):
        comment = re.search(r"\s# ((?:\(\d+\)[^(]*)*)(\(.*)$", line)
        if comment and not line.lstrip().startswith("#"):
            shapes = [s.strip() for s in TUPLE.findall(comment[2]) if re.match(r"^[\w\s+*/,()-]+$", s)]
            if shapes:
                found[number] = shapes, " each" in comment[2]
    return found


def matches(text, shape, names, bound):
    """Does (B, L + K, 2 L) fit the shape? Letters not in names are bound at their first use."""
    parts = [p.strip() for p in re.split(r",(?![^(]*\))", text) if p.strip()]
    if len(parts) != len(shape):
        return False
    for part, size in zip(parts, shape):
        part = re.sub(r"(\d) ([A-Za-z])", r"\1 * \2", part)
        if re.fullmatch(r"[A-Z]", part) and part not in names:
            if bound.setdefault(part, size) != size:
                return False
        elif eval(part, {"len": len}, names | bound) != size:
            return False
    return True


def sized(value):
    """The values with a shape in value, one level deep."""
    values = value if isinstance(value, (tuple, list)) else [value]
    return [v for v in values if isinstance(v, (torch.Tensor, np.ndarray))]


class Checker:
    """Use as a context around a run of the module; then errors, and missed lines, say what does not hold."""

    def __init__(self, module, names):
        self.path, self.names = module.__file__, names
        self.comments, self.done, self.errors = shape_comments(self.path), set(), []
        tree = ast.parse(Path(self.path).read_text())
        self.statement = {}  # line -> the smallest simple statement around it
        self.layers = {}  # (class, attribute, index or None) -> line
        for node in ast.walk(tree):
            if isinstance(node, (ast.Assign, ast.AugAssign, ast.Return, ast.Expr)):
                for line in range(node.lineno, node.end_lineno + 1):
                    self.statement[line] = node
            if isinstance(node, ast.ClassDef):
                self.find_layers(node)
        self.hook(module)

    def find_layers(self, cls):
        init = [node for node in cls.body if isinstance(node, ast.FunctionDef) and node.name == "__init__"]
        for node in (n for function in init for n in ast.walk(function)):
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and isinstance(node.targets[0], ast.Attribute):
                name = node.targets[0].attr
                kind = getattr(node.value.func, "attr", "")
                args = node.value.args
                if kind in ("Sequential", "ModuleList"):
                    elements = args[0].elts if args and isinstance(args[0], ast.List) else args
                    for index, element in enumerate(elements):  # the last element of a line is the one the comment is about
                        if element.end_lineno in self.comments:
                            self.layers[cls.name, name, element.end_lineno] = index
                    if node.lineno in self.comments:
                        self.layers[cls.name, name, node.lineno] = "input"
                elif node.end_lineno in self.comments:
                    self.layers[cls.name, name, node.end_lineno] = None

    def hook(self, module):
        """Every network that the module builds from now on reports what its commented layers put out."""
        for (cls_name, attribute, line), index in self.layers.items():
            cls = getattr(module, cls_name)
            original = cls.__init__

            def init(self_, *args, _original=original, _attribute=attribute, _line=line, _index=index, **kwargs):
                _original(self_, *args, **kwargs)
                layer = getattr(self_, _attribute)
                if not isinstance(layer, torch.nn.Module):
                    return
                if _index == "input":
                    layer = layer[0] if isinstance(layer, torch.nn.ModuleList) else layer
                    layer.register_forward_pre_hook(lambda m, a, n=_line: self.compare(n, [a[0]]))
                else:
                    layer = layer if _index is None else layer[_index]
                    layer.register_forward_hook(lambda m, a, out, n=_line: self.compare(n, [out]))

            cls.__init__ = init

    def compare(self, line, values, names=None):
        (shapes, each), self.done, bound = self.comments[line], self.done | {line}, {}
        if each:
            shapes = shapes * len(values)  # else the first values are meant, one for each shape
        if not values or len(shapes) > len(values):
            return self.errors.append(f"{self.path}:{line}: {shapes} beside {len(values)} tensors")
        for text, value in zip(shapes, values):
            if not matches(text, tuple(value.shape), self.names | (names or {}), bound):
                self.errors.append(f"{self.path}:{line}: says ({text}), is {tuple(value.shape)}")

    def evaluate(self, node, frame):
        """Values of an assignment's targets, now that it has run."""
        names = []
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            names += target.elts if isinstance(target, ast.Tuple) else [target]
        return sized([eval(compile(ast.Expression(n), "", "eval"), frame.f_globals, frame.f_locals) for n in
                      (ast.parse(ast.unparse(n), mode="eval").body for n in names) if ast.unparse(n) != "_"])

    def trace(self, frame, event, arg):
        if frame.f_code.co_filename != self.path or frame.f_code.co_name == "__init__" or frame.f_code.co_name[0] == "<":
            return None  # a comprehension has a frame of its own, where the statement around it is not done yet
        pending = [None]

        def local(frame, event, arg):
            node = self.statement.get(frame.f_lineno)
            if pending[0] is not None and (event == "return" or node is not pending[0]):
                before, pending[0] = pending[0], None
                lines = [n for n in range(before.lineno, before.end_lineno + 1) if n in self.comments]
                scope = {k: v for k, v in frame.f_locals.items() if k != "self"}
                for line in lines:
                    if isinstance(before, ast.Return):
                        if event == "return":
                            self.compare(line, sized(arg), scope)
                    elif isinstance(before, (ast.Assign, ast.AugAssign)):
                        self.compare(line, self.evaluate(before, frame), scope)
            if event == "line" and node is not None and any(n in self.comments for n in range(node.lineno, node.end_lineno + 1)):
                pending[0] = node
            return local

        return local

    def __enter__(self):
        sys.settrace(self.trace)
        return self

    def __exit__(self, *exc):
        sys.settrace(None)
        self.missed = sorted(set(self.comments) - self.done)
