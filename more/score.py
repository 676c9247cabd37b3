"""What the judge says of samples, for the files of more/ that compare settings: FID, and the share recognised as asked.

metrics.py has the table of all models, with spreads; here is one figure, quickly.
"""

import json
import time
from pathlib import Path

import numpy as np

import common
from classifier import load_judges, predict
from metrics import diversity, frechet_distance, mean_and_covariance


class Judge:
    """The CNN of classifier.py, trained on images of the same kind, and its view of the real images that samples are compared with.

    These are the test images; under --sweep those of training and validation: a setting that test images chose would flatter the
    figures that they give afterwards.
    """

    def __init__(self, cfg, data, device):
        """Raises common.InputError where there is no judge for these images."""
        folder, self.device = Path(cfg.out) if cfg.grey else Path(cfg.out) / "color", device
        how = (f"python -m more.color --data {cfg.data} --out {cfg.out} --size {cfg.size}{' --grey' * cfg.grey}, and then "
               f"python classifier.py --data {cfg.out}/color --out {folder}")
        how = "make classifier" if cfg.grey and cfg.size == 28 else how
        common.require((folder / "classifier" / "metrics.json").exists(), folder / "classifier", "no judge", "one for such images",
                       f"run '{how}'")
        self.cnn = load_judges(folder, device).cnn
        judged = json.loads((folder / "classifier" / "metrics.json").read_text())["data"]
        common.require(judged == data.source, folder / "classifier", f"a judge of {common.describe(judged)}",
                       common.describe(data.source), f"run '{how}'")
        common.require(self.cnn.shape == data.x_test.shape[1:], folder / "classifier", f"a judge of images {self.cnn.shape}",
                       f"{data.x_test.shape[1:]}", f"run '{how}'")
        sets = ("train", "val") if getattr(cfg, "sweep", False) else ("test",)
        self.x, self.y = (np.concatenate([getattr(data, f"{part}_{name}") for name in sets]) for part in "xy")
        self.real = mean_and_covariance(predict(self.cnn, self.x, device)[1])

    def look(self, samples):
        """(logits (N, K), features (N, 64)) of samples uint8 (N, H, W) or (N, H, W, 3)."""
        return predict(self.cnn, common.check_images("samples", samples, color=True), self.device)

    def fid(self, samples):
        """Equation (1) of metrics.py between the real images and all the samples. Depends on how many these are."""
        return frechet_distance(*self.real, *mean_and_covariance(self.look(samples)[1]))

    def compare(self, ways):
        """{name: {"fid", "seconds"}} of several ways to draw as many samples; ways: {name: function without arguments}."""
        result = {}
        for name, way in ways.items():
            begin = time.time()
            samples = way()
            result[name] = {"seconds": time.time() - begin, "fid": self.fid(samples)}
            print(f"{name}: FID of {len(samples)} samples {result[name]['fid']:.2f}, {result[name]['seconds']:.1f} s", flush=True)
        return result

    def diversity(self, samples):
        """Equation (7) of metrics.py: 1 is that of the real images."""
        return diversity(samples / 255) / diversity(self.x)

    def as_asked(self, samples, labels):
        """(share recognised as labels (N,), diversity within a category: 1 is that of real images)."""
        right = float((self.look(samples)[0].argmax(axis=1) == labels).mean())
        ratios = [diversity(samples[labels == k] / 255) / diversity(self.x[self.y == k])
                  for k in np.unique(labels) if min((labels == k).sum(), (self.y == k).sum()) > 1]
        return right, float(np.mean(ratios))
