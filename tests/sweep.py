"""Temperatures and mixture sizes on a finished run, without training again: the tables of docs/settings.md.

    python tests/holdout.py ../shared/quickdraw out_holdout/data
    for s in classifier conv_vae cvae; do python $s.py --data out_holdout/data --out out_holdout; done
    python tests/sweep.py out_holdout

FID and diversity are against the data's test drawings: in such a folder these are the validation drawings.
"""

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import classifier
import common
import conv_vae
import cvae
import metrics

CPU = torch.device("cpu")


def load(out, module, build):
    """(settings, model) of a finished run."""
    cfg = module.Config(**json.loads((Path(out) / module.__name__ / "metrics.json").read_text())["config"])
    model = build(cfg)
    model.load_state_dict(torch.load(Path(out) / module.__name__ / "weights.pt", weights_only=True))
    return cfg, model.eval()


def row(name, temperature, images, labels, real, data, judges):
    x = images[:, None].astype(np.float32) / 255
    logits, features = classifier.predict(judges.cnn, x, CPU)
    line = f"| {name} | {temperature} | {metrics.fid(real, features):.1f} |"
    if labels is None:
        return f"{line} {metrics.diversity(x) / metrics.diversity(data.x_test):.2f} | |"
    figures, _ = cvae.recognised(images, labels, judges, data, CPU)
    yoga = labels == common.CLASSES.index("yoga")
    return (f"{line} {figures['diversity']:.2f} | {figures['cnn_accuracy']:.3f} "
            f"(yoga {(logits.argmax(axis=1) == labels)[yoga].mean():.2f}) |")


def main(out):
    cfg, model = load(out, conv_vae, lambda c: conv_vae.VAE(c.latent_dim, c.width))
    data, judges = common.load_data(cfg), classifier.load_judges(out, CPU)
    real = classifier.predict(judges.cnn, data.x_test, CPU)[1]
    n_samples = 100 if cfg.quick else 1000  # of each category
    print("| samples | T | FID | diversity | recognised as asked |\n|---|---:|---:|---:|---|")
    codes = conv_vae.evaluate(cfg, model, data.x_train, CPU)
    sets = {"conv_vae, prior": torch.randn(5 * n_samples, cfg.latent_dim, generator=torch.Generator().manual_seed(cfg.seed + 3))}
    for n in (10, 40):
        sets[f"conv_vae, mixture of {n}"] = conv_vae.sample_mixture(
            dataclasses.replace(cfg, components=n), codes["mu"], codes["logvar"], 5 * n_samples)
    for name, z in sets.items():
        for t in (0.25, 0.33, 0.5, 1.0):
            print(row(name, t, conv_vae.decode(cfg, model, z, CPU, temperature=t), None, real, data, judges), flush=True)

    cfg, model = load(out, cvae, lambda c: cvae.CVAE(c.latent_dim, c.width, c.condition))
    labels = np.repeat(np.arange(len(common.CLASSES)), n_samples)
    sets = {"cvae, prior": torch.randn(5 * n_samples, cfg.latent_dim, generator=torch.Generator().manual_seed(cfg.seed + 3))}
    for mirrored in (False, True):
        x, y = data.x_train, data.y_train
        if mirrored:
            x, y = np.concatenate([x, x[..., ::-1]]), np.tile(y, 2)
        codes = cvae.evaluate(cfg, model, x, y, CPU)
        for n in (10, 25, 50)[:2 + mirrored]:  # 50 from the unmirrored alone would be 20 codes a Gaussian or fewer
            sets[f"cvae, mixture of {n}{', mirrored too' * mirrored}"] = torch.cat([cvae.sample_mixture(
                dataclasses.replace(cfg, components=n), codes["mu"][y == k], codes["logvar"][y == k], n_samples) for k in range(5)])
    for name, z in sets.items():
        for t in (0.25, 0.33, 0.5, 1.0):
            images = cvae.decode(cfg, model, z, cvae.one_hot(torch.from_numpy(labels)), CPU, temperature=t)
            print(row(name, t, images, labels, real, data, judges), flush=True)


if __name__ == "__main__":
    try:
        main(*(sys.argv[1:] or ["out_holdout"]))
    except common.InputError as error:
        sys.exit(print(f"sweep.py: error: {error}", file=sys.stderr) or 2)
