"""The README's commands exist, the sources are as long and as self-contained as promised, the lists agree."""

import ast
import importlib
import re
import shlex
import subprocess
import sys
import unicodedata

import check
import pytest
from conftest import ROOT, SCRIPTS

import common

README = (ROOT / "README.md").read_text()
MODELS = SCRIPTS[:-1]
SCRATCH = ("more/mlp_numpy", "more/mlp_torch", "more/embed_numpy", "more/embed_torch")
PAINTED = tuple(f"more/{name}" for name in ("restore_ae", "beta_vae", "cvae_color", "gan", "cgan", "ddpm", "cddpm", "inpaint"))
AUTOENCODERS = ("more/dense_ae", "more/selu_conv_ae")
TEXTS = ("more/text_rnn", "more/text_cnn")
MORE = SCRATCH + PAINTED + AUTOENCODERS + TEXTS
COMMANDS = [line.split("#")[0].strip() for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
            for line in block.splitlines() if line.split("#")[0].strip()]


def plain(text):
    """Without accents, as the sources have their names."""
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()


@pytest.mark.parametrize("name", SCRIPTS + MORE)
def test_what_a_file_cites_is_among_the_sources(name):
    """By the last name or word of the title before the year, with "and" the one before it, too, in this order, and the year."""
    sources = plain(README.split("## Sources")[1]).splitlines()
    text = " ".join((ROOT / f"{name}.py").read_text().split())
    for author, second, year in re.findall(r"\b([A-Z][a-z]+)(?: et al\.| and ([A-Z][a-z]+))?,? \(?(19\d\d|20\d\d)\b", text):
        assert any(re.match(rf"- .*{author}.*{second}", line) and year in line for line in sources), (author, second, year)


def test_there_are_commands():
    assert any(c.startswith("make all") for c in COMMANDS) and any(c.startswith("python conv_vae.py") for c in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_of_the_readme(command, doodles):
    words = shlex.split(command)
    while "=" in words[0]:  # a setting of the environment
        words.pop(0)
    if words[0] == "make":
        words = ["make", "-n", *words[1:], f"PY={sys.executable}", f"DATA={doodles}"]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    elif words[0] == "python" and words[1].endswith(".py"):
        assert (ROOT / words[1]).exists()
        if words[1].startswith("tests/") or words[1].startswith("data/"):
            return
        common.parse(importlib.import_module(words[1][:-3]).Config, words[2:])
    elif words[:2] == ["python", "-m"] and words[2].startswith("more."):
        common.parse(importlib.import_module(words[2]).Config, words[3:])
    elif words[:3] == ["python", "-m", "docs.quiz"]:
        importlib.import_module("docs.quiz")
        assert all(word in ("--exam", "10") or (ROOT / word).exists() for word in words[3:])
    else:
        assert words[0] in ("git", "cd", "cp", "pip") or words[:3] == ["python", "-m", "pip"], command


@pytest.mark.parametrize("name", MODELS + MORE)
def test_a_model_file_can_be_read_in_a_sitting(name):
    lines = (ROOT / f"{name}.py").read_text().splitlines()
    assert 150 <= len(lines) <= 350
    prose = len((ast.get_docstring(ast.parse("\n".join(lines))) or "").splitlines()) + sum("#" in line or '"""' in line for line in lines)
    assert prose / len(lines) > 0.28


@pytest.mark.parametrize("name", SCRIPTS)
def test_arrows(name):
    """No model file imports another model file; classifier alone is imported, as the judge."""
    allowed = {"common"} | ({"classifier"} if name in ("cvae", "metrics") else set())
    packages = {"torch", "numpy", "matplotlib", "sklearn", "scipy"} | set(sys.stdlib_module_names)
    for node in ast.walk(ast.parse((ROOT / f"{name}.py").read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for module in [node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]:
                assert module.split(".")[0] in allowed | packages, f"{name}.py imports {module}"


@pytest.mark.parametrize("name", MODELS)
def test_sections_bear_the_same_numbered_rulers(name):
    found = re.findall(r"^# ---- (\d\. [\w]+) -+$", (ROOT / f"{name}.py").read_text(), re.MULTILINE)
    assert found == ["1. Settings", "2. Model", "3. Loss", "4. Training", "5. Evaluation", "6. Pictures", "7. Main"]


@pytest.mark.parametrize("name", MORE)
def test_sections_of_more_bear_the_same_numbers(name):
    """A file of more/ may do without a section (its pictures are in charts.py), but none has another number."""
    found = re.findall(r"^# ---- (\d\. [\w]+) -+$", (ROOT / f"{name}.py").read_text(), re.MULTILINE)
    allowed = ["1. Settings", "2. Model", "3. Loss", "4. Training", "5. Evaluation", "6. Pictures", "7. Main"]
    assert [section for section in allowed if section in found] == found
    assert {"1. Settings", "2. Model", "7. Main"} <= set(found) and ("4. Training" in found) == (name != "more/inpaint")


@pytest.mark.parametrize("name", MORE)
def test_arrows_of_more(name):
    """No model file imports another; what they share is about no model: pictures, words, images, the judge's opinion."""
    # inpaint.py has no model of its own: it uses ddpm.py's
    allowed = {"more.score", "more.sweep"} if name in PAINTED else {"more.words", "more.search", "more.twins"}
    allowed |= {"common", "more"} | ({"metrics"} if name == "more/inpaint" else set())
    packages = {"numpy", "matplotlib", "sklearn", "scipy"} | set(sys.stdlib_module_names) | (set() if "numpy" in name else {"torch"})
    for node in ast.walk(ast.parse((ROOT / f"{name}.py").read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for module in [node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]:
                assert module in allowed or module.split(".")[0] in packages, f"{name}.py imports {module}"
            if isinstance(node, ast.ImportFrom) and node.module == "more":
                assert {a.name for a in node.names} <= (
                    {"charts"} | ({"checkpoint", "color"} if name in PAINTED else set()) | ({"ddpm"} if name == "more/inpaint" else set())
                    | ({"digits"} if name in AUTOENCODERS else set()) | ({"sentences"} if name in TEXTS else set()))


@pytest.mark.parametrize("name", SCRIPTS + SCRATCH[::2] + PAINTED + AUTOENCODERS + TEXTS)
def test_every_equation_of_the_docstring_is_tagged_in_the_code(name):
    text = (ROOT / f"{name}.py").read_text()
    docstring = ast.get_docstring(ast.parse(text))
    body = text[text.index(docstring[-40:]):]
    for number in set(re.findall(r"^    \((\d+)\)  ", docstring, re.MULTILINE)):
        used = re.search(rf"\({number}\)|[Ee]quations? \(?{number}\b|equations [()\d, to]+and \({number}\)|\(\d\) to \(\d\)", body)
        assert used, f"{name}.py: equation ({number}) stands at no line"


def test_nothing_is_left_to_fill_in():
    for path in [*ROOT.glob("*.py"), *ROOT.glob("*/*.py"), ROOT / "README.md", ROOT / "Makefile"]:
        if path.name != "test_readme.py" and ".venv" not in path.parts:
            assert not re.search(r"@@|@[A-Z]+@", path.read_text()), path


def test_top_level_holds_what_the_design_names():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode or not tracked.stdout:
        pytest.skip("not a git checkout")
    top = {line.split("/")[0] for line in tracked.stdout.splitlines()}
    assert {f"{s}.py" for s in SCRIPTS} | {"common.py", "README.md", "requirements.txt", "Makefile", "LICENSE"} <= top
    assert top - {f"{s}.py" for s in SCRIPTS} <= {"common.py", "README.md", "requirements.txt", "Makefile", "LICENSE", ".gitignore", ".ci",
                                                  "data", "docs", "tests", "more", "report", "book"}
    assert not [line for line in tracked.stdout.splitlines() if re.search(r"\.(npy|npz|pt|pth|gz|zip|pkl)$", line)]


def test_requirements_are_pinned_and_no_more_than_five():
    lines = (ROOT / "requirements.txt").read_text().split()
    assert sorted(line.split("==")[0] for line in lines) == ["matplotlib", "numpy", "scikit-learn", "scipy", "torch"]
    assert all(re.fullmatch(r"[\w-]+==[\d.]+", line) for line in lines)


def test_bands_name_figures_that_runs_write(quick):
    import json

    assert len(check.bands()) >= 10 and {"gan", "ddpm", "cgan", "cddpm", "restore_ae"} == {band[0] for band in check.bands("bands-colour")}
    for script, keys, sign, bound in check.bands():
        value = json.loads((quick[1] / script / "metrics.json").read_text())
        for key in keys:
            value = value[key]
        assert isinstance(value, float | int) and sign in ("<=", ">=") and bound == bound


def test_pictures_of_the_readme_are_there():
    for path in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README):
        assert (ROOT / path).exists(), path
