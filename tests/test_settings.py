"""The two scripts behind docs/settings.md."""

import subprocess
import sys

import numpy as np
from conftest import ROOT

import common


def test_holdout_shows_validation_drawings_and_hides_the_test_drawings(doodles, tmp_path):
    done = subprocess.run([sys.executable, ROOT / "tests/holdout.py", doodles, tmp_path / "data"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    data = common.load_data(common.Settings(data=str(doodles)))
    x_test, y_test = common.read_set(tmp_path / "data", "test")
    np.testing.assert_array_equal(x_test, data.x_val)
    np.testing.assert_array_equal(y_test, data.y_val)
    x_train, _ = common.read_set(tmp_path / "data", "train")
    np.testing.assert_array_equal(x_train, data.x_train)
    held_out = common.load_data(common.Settings(data=str(tmp_path / "data")))
    assert held_out.source["source"] == "doodles" and len(held_out.x_train) + len(held_out.x_val) == len(data.x_train)


def test_sweep_scores_temperatures_and_mixtures(quick):
    """On the quick run that is there anyway: a row a temperature, and no colder sample differs less."""
    done = subprocess.run([sys.executable, ROOT / "tests/sweep.py", quick[1]], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [line.split("|")[1:-1] for line in done.stdout.splitlines() if line.startswith(("| conv_vae", "| cvae"))]
    assert len(rows) == 4 * (3 + 6) and {row[1].strip() for row in rows} == {"0.25", "0.33", "0.5", "1.0"}
    diversity = {(row[0].strip(), float(row[1])): float(row[3]) for row in rows}
    assert all(diversity[name, 0.25] >= diversity[name, 1.0] for name in {name for name, _ in diversity})
