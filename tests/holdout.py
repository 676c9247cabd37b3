"""A data folder whose test drawings are the validation drawings: settings are chosen on it, and the test drawings stay unseen.

    python tests/holdout.py ../shared/quickdraw out_holdout/data
    python classifier.py --data out_holdout/data --out out_holdout
    python cvae.py --data out_holdout/data --out out_holdout --components 10

Its train_* files are the training drawings less the validation drawings.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import common


def main(source, target):
    data, target = common.load_data(common.Settings(data=source)), Path(target)
    target.mkdir(parents=True, exist_ok=True)
    for name, images, labels in (("train", data.x_train, data.y_train), ("test", data.x_val, data.y_val)):
        common.save(target / f"{name}_images.npy", (images[:, 0] * 255).round().astype(np.uint8))
        common.save(target / f"{name}_labels.npy", labels)
    common.save(target / "source.json", {"source": data.source["source"], "note": "its test drawings are the validation drawings"})


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python tests/holdout.py DATA NEW_FOLDER")
    main(*sys.argv[1:])
