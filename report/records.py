"""What the runs left in OUT, with their spreads, and sentences that compare: nothing is claimed that the figures do not support.

A figure's spread is, in this order: its standard deviation over seeds, where other seeds' folders were given; what metrics.json
holds beside it (of metrics.py: over subsets of samples, or a bootstrap); of a share of N drawings, its standard error
sqrt(p (1 - p) / N); or none. To the spread over seeds of such a share the standard error is added, for all seeds have the same test
drawings.

Two figures whose difference is within r = sqrt(r_a^2 + r_b^2) are called a tie; within 2 r, where one of them is the best of several
(choices.py). r_a, a figure's reach, is its standard deviation over seeds or subsets, for the figure is a mean of several; but twice
a standard error (of a share, or by a bootstrap): one alone would put one in three pairs of equal figures apart, two one in twenty.
"""

import json
import math
import re
import statistics
from pathlib import Path
from typing import NamedTuple

import numpy as np

import common

SAME_OVER_SEEDS = {"seed", "out", "data", "device", "files", "resume", "judges", "workers"}  # settings that may differ


def number(form, value):
    """Formatted, with a minus sign in place of a hyphen, and none before a zero."""
    text = form.format(value)
    return text[1:] if re.fullmatch(r"-0(\.0+)?", text) else text.replace("-", "\u2212")


class Value(NamedTuple):
    """A figure, its spread (NaN: none was measured), and of how many what."""

    mean: float = math.nan
    sd: float = math.nan
    n: int = 0
    of: str = ""  # seeds, subsets, resamples or drawings
    each: tuple = ()  # the figure of each seed, in the order of the folders
    error: float = 0.0  # over seeds, of a figure of drawings: its standard error, which seeds that share their test drawings do not show
    drawings: int = 0

    @property
    def known(self):
        return math.isfinite(self.mean)

    @property
    def spread_known(self):
        return math.isfinite(self.sd)

    @property
    def reach(self):
        """How far chance may carry it in a comparison: twice what is a standard error."""
        return math.hypot(self.sd * (2 if self.of in ("drawings", "resamples") else 1), 2 * self.error)

    def show(self, form="{:.3g}", spread=True):
        """Markup: 0.0158 ± 0.0003; a dash where nothing was measured, and NaN where the run says so."""
        if not self.n:
            return "\u2013"
        if not self.known:
            return "NaN"
        return number(form, self.mean) + (" ± " + number(form, self.sd) if spread and self.spread_known else "")


def read_json(path):
    """The content of a .json file, or None where there is none. Raises common.InputError on half a file."""
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise common.InputError(f"{path}: found no JSON ({str(error).splitlines()[0][:80]}), expected what a finished run writes; delete "
                                f"it and run 'make {path.parent.name}' again") from None


class Runs:
    """OUT, and folders of other seeds. Raises common.InputError where these do not belong together."""

    def __init__(self, out, seeds=()):
        self.out, self.folders = Path(out), [Path(out), *map(Path, seeds)]
        self.cache, known = {}, False
        for folder in self.folders:
            common.require(folder.is_dir(), folder, "no such folder", "one that 'make all' has filled", "name it by --out or --seeds")
        for folder in self.folders:
            names = sorted(path.parent.name for path in folder.glob("*/metrics.json"))
            known = known or bool(names)
            common.require(folder == self.out or names, folder, "no finished run", "folders with metrics.json",
                           "name a folder that 'make all SEED=1' has filled")
            for name in names:
                if name != "ablations":  # tables over seeds of their own: only OUT's are read, and not this record
                    self.check(folder, name)
        common.require(known, self.out, "no finished run", "folders with metrics.json", "run 'make all'")

    def check(self, folder, name):
        """That a record has what each has, and that another seed's fits the one in OUT."""
        record, path, mine = self.load(folder, name, "metrics"), folder / name / "metrics.json", self.load(self.out, name, "metrics")
        whole = isinstance(record, dict) and all(isinstance(record.get(key), dict) for key in ("config", "data", "versions"))
        counts = whole and record["data"].get("drawings")
        whole = whole and "source" in record["data"] and isinstance(counts, dict) and {"train", "validation", "test"} <= set(counts)
        common.require(whole and {"seed", "quick", "seconds"} <= set(record), path,
                       "a record without config, data, versions, seed, quick or seconds", "what common.finish writes",
                       f"run 'make {name}' again")
        if folder == self.out or mine is None:
            return
        others = [f for f in self.folders if f != folder and (self.load(f, name, "metrics") or {}).get("seed") == record["seed"]]
        common.require(not others, path, f"seed {record['seed']}, which {others[0] if others else ''} has, too", "another seed",
                       "leave one of the two out")
        common.require((record["data"], record["quick"]) == (mine["data"], mine["quick"]), path,
                       common.describe(record["data"]) + " (quick)" * record["quick"],
                       common.describe(mine["data"]) + " (quick)" * mine["quick"] + " as in OUT", "leave it out of --seeds")
        differ = [key for key in sorted({*record["config"], *mine["config"]} - SAME_OVER_SEEDS)
                  if record["config"].get(key) != mine["config"].get(key)]
        common.require(not differ, path, f"another {', '.join(differ)} than in OUT", "the same settings", "leave it out of --seeds")

    def load(self, folder, name, record):
        path = folder / name / f"{record}.json"
        if path not in self.cache:
            self.cache[path] = read_json(path)
        return self.cache[path]

    def record(self, name, record="metrics"):
        """OUT/<name>/<record>.json, or None."""
        return self.load(self.out, name, record)

    def history(self, name):
        return self.load(self.out, name, "history")

    def has(self, name):
        return self.record(name) is not None

    def path(self, name, file):
        """OUT/<name>/<file>, or None where it is missing."""
        path = self.out / name / file
        return path if path.exists() else None

    def over_seeds(self, name, *keys, matching=(), table="metrics"):
        """[figure] of every folder that has it; matching: entries of the record that have to be as in OUT's (threads, for times)."""
        mine, found = self.record(name, table), []
        for folder in self.folders if isinstance(mine, dict) else ():
            record = self.load(folder, name, table)
            if isinstance(record, dict) and all(record.get(key) == mine.get(key) for key in matching):
                number = dig(record, *keys)
                found += [] if number is None else [number]
        return found

    def value(self, name, *keys, share_of=0, matching=(), table="metrics"):
        """A figure of OUT/<name>/<table>.json with its spread; share_of: it is a share of so many drawings."""
        record = self.record(name, table) or {}
        mine = dig(record, *keys)
        if mine is None:
            return Value()
        found = self.over_seeds(name, *keys, matching=matching, table=table)
        if len(found) > 1:
            mean = statistics.mean(found)  # exact: np.mean of 0.950, 0.940, 0.9525 is less than 0.9475, and rounds to another digit
            error = math.sqrt(mean * (1 - mean) / share_of) if share_of and 0 <= mean <= 1 else 0.0
            return Value(mean, float(np.std(found, ddof=1)), len(found), "seeds", tuple(found), error, share_of)
        beside = dig(record, *keys[:-1], f"{keys[-1]}_sd")
        if beside is not None:
            whole = dig(record, *keys[:-1], "n") is not None and dig(record, *keys[:-1], "n") == dig(record, *keys[:-1], "total")
            return Value(mine, beside, int((record.get("config") or {}).get("subsets", 5)), "resamples" if whole else "subsets")
        if share_of and 0 <= mine <= 1:
            return Value(mine, math.sqrt(mine * (1 - mine) / share_of), share_of, "drawings")
        return Value(mine, math.nan, 1)


def of_others(record):
    """Names of the rows of files that were named on the command line of metrics.py: other people's, whatever they are called."""
    return {Path(file).stem for file in (record or {}).get("config", {}).get("files") or ()}


def row_value(runs, name, way, key, table="metrics"):
    """A figure of metrics.py's table; nothing of a model whose own run is not there: its row is of another run, or of a file of others."""
    ours = runs.has(name) and f"{name} {way}" not in of_others(runs.record("metrics", table))
    return runs.value("metrics", "rows", f"{name} {way}", key, table=table) if ours else Value()


def find(record, *keys):
    """What stands inside nested dicts and lists, of any kind, or None."""
    for key in keys:
        inside = isinstance(record, dict) and key in record
        if not (inside or (isinstance(record, list) and isinstance(key, int) and 0 <= key < len(record))):
            return None
        record = record[key]
    return record


def dig(record, *keys):
    """A number inside nested dicts and lists, as a float (it may be NaN), or None."""
    record = find(record, *keys)
    return float(record) if isinstance(record, (int, float)) and not isinstance(record, bool) else None


# ---- Sentences --------------------------------------------------------------------------------------------------

def spread_name(value):
    """What a figure's reach is, in words."""
    more = f" with twice the standard error of {value.drawings:,} cases" if value.error else ""
    return {"seeds": f"standard deviation over {value.n} seeds{more}", "subsets": f"standard deviation over {value.n} subsets of the "
                                                                                  "samples",
            "resamples": f"twice the standard deviation of {value.n} resamples",
            "drawings": f"twice the standard error of {value.n:,} cases"}.get(value.of, "no spread measured")


def combined(a, b):
    """The reach of the difference of two independent figures."""
    return math.hypot(a.reach, b.reach)


def verdict(a, b, lower=True, times=1):
    """"first", "second", "tie", "first, no spread", "second, no spread" or "unknown": which is better by more than times the spread."""
    if not (a.known and b.known):
        return "unknown"
    difference = (b.mean - a.mean) * (1 if lower else -1)
    if difference == 0:
        return "tie"
    who = "first" if difference > 0 else "second"
    if not (a.spread_known and b.spread_known):
        return f"{who}, no spread"
    return "tie" if abs(difference) <= times * combined(a, b) else who


def compare(what, name_a, a, name_b, b, form="{:.3g}", lower=True, times=1):
    """One sentence on which of two has the better figure, or None where there is nothing to compare.

    what: the figure's name; lower: less of it is better; times: 2 asks for twice the spread. A NaN is named, and no claim is made.
    """
    if not (a.n and b.n):
        return None
    if not (a.known and b.known):
        who = " and ".join(name for name, v in ((name_a, a), (name_b, b)) if not v.known)
        return f"The {what} of {who} is not a number in this run: nothing is said about it."
    result, word = verdict(a, b, lower, times), "lower" if lower else "higher"
    first, second = ((name_b, b), (name_a, a)) if result.startswith("second") else ((name_a, a), (name_b, b))
    figures = number(form, first[1].mean), number(form, second[1].mean)
    kinds = dict.fromkeys(spread_name(value) for value in (a, b) if value.of)
    spread = f"{'twice ' * (times == 2)}the spread ({number(form, combined(a, b))}; {' and '.join(kinds)})"
    many = re.split(r" (?:of|on|from|with|that) ", first[0])[0].endswith(("samples", "drawings", "weights", "components"))
    verb = "have" if many else "has"
    if result == "tie":
        how = f": the difference is within {spread}" if a.spread_known and b.spread_known else ""
        return (f"By {what}, {first[0]} and {second[0]} tie, {figures[0]} against "
                f"{figures[1]}{how}{every_seed(name_a, a, name_b, b, lower)}.")
    if result.endswith("no spread"):
        return (f"In this run {first[0]} {verb} the {word} {what}, {figures[0]} against {figures[1]} for {second[0]}; there is no spread "
                "to hold the difference against, so it is no verdict.")
    return (f"{cap(first[0])} {verb} the {word} {what}, {figures[0]} against {figures[1]} for {second[0]}: the difference is larger than "
            f"{spread}.")


def every_seed(name_a, a, name_b, b, lower):
    """What a tie hides: seeds that agree on who is ahead."""
    ahead = [(x < y) == lower for x, y in zip(a.each, b.each) if x != y]
    if len(a.each) != len(b.each) or len(ahead) != len(a.each) or not ahead or len(set(ahead)) > 1:
        return ""
    return f", though {name_a if ahead[0] else name_b} is ahead with each of the {len(ahead)} seeds"


def cap(text):
    """A sentence begins with a capital, unless with a name of the code."""
    return text if "_" in text.split(" ")[0] else text[:1].upper() + text[1:]


def exact(value, like):
    """A figure without chance in it (PCA's error on given drawings), to be compared with one that may have some."""
    return value._replace(sd=0.0 if like.spread_known else math.nan)


def stand_in(record):
    """Is this run's data a stand-in: doodles, enlarged digits, a grammar's sentences?"""
    source = record["data"]
    return source.get("source") in ("doodles", "stand-in", "grammar") or "STAND-IN" in str(source.get("name", ""))


def notice(*records):
    """What each caption has to say about its data; markup, or nothing to say."""
    said = []
    for record in filter(None, records):
        if stand_in(record):
            name = common.describe(record["data"]).split(":")[0]
            said.append(f"**Stand-in data** ({name}).")
        if record["quick"]:
            said.append("**Quick run:** the figures mean nothing.")
    return " ".join(dict.fromkeys(said))
