"""make check: do a full run's figures lie in the bands that README.md promises?

    python tests/check.py --out out

The bands stand in README.md between ```bands and ```, one a line: script, figure (dots go down into
metrics.json, ~ stands for a space), <= or >=, bound. Those of `make colour`, between ```bands-colour and ```,
are looked at where OUT has such a run.
"""

import argparse
import json
import operator
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def bands(name="bands"):
    """[(script, [keys], sign, bound)] from README.md."""
    block = (ROOT / "README.md").read_text().split(f"```{name}\n")[1].split("```")[0]
    lines = [line.split() for line in block.splitlines() if line.strip()]
    return [(script, [part.replace("~", " ") for part in figure.split(".")], sign, float(bound)) for script, figure, sign, bound in lines]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="out", help="folder of a full run")
    out = Path(parser.parse_args().out)
    failed = 0
    for script, keys, sign, bound in bands() + [band for band in bands("bands-colour") if (out / band[0] / "metrics.json").exists()]:
        path = out / script / "metrics.json"
        try:
            record = json.loads(path.read_text())
        except (OSError, ValueError):
            sys.exit(print(f"check: error: {path}: found no finished run, expected one; run 'make all OUT={out}'", file=sys.stderr) or 2)
        if record["quick"] or record["data"]["source"] == "doodles":
            sys.exit(print(f"check: error: {path}: found a quick run or one on stand-in doodles, expected a full one on real drawings: "
                           "the bands hold for these alone; see README.md", file=sys.stderr) or 2)
        value = record
        for key in keys:
            value = value[key]
        fits = {"<=": operator.le, ">=": operator.ge}[sign](value, bound)
        failed += not fits
        print(f"{'ok  ' if fits else 'MISS'} {script:10s} {'.'.join(keys):45s} {value:10.4f} {sign} {bound:g}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
