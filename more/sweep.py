"""A recorded search: one model trained under several settings, a table and a picture of what each gave (--sweep).

Short runs, measured without the test images: not to be compared with a finished model's figures, and their order need not be its.
"""

import time
from dataclasses import replace

import numpy as np
import torch

import common

WITHOUT_TEST = "Short runs, and no test images: FID is measured against the images of training and validation"


def sweep(cfg, folder, source, settings, run, device):
    """Run every setting, and write sweep.json, sweep.md, sweep.png.

    settings: {name: {field: value}}, changes of cfg; each has a fifth of cfg.steps, more of them if its batches are smaller.
    run: a function of (cfg, name) that trains and returns {figure: number}.
    """
    rows, begin = {}, time.time()
    for name, changes in settings.items():
        print(f"{name}:", flush=True)
        start = time.time()
        longer = cfg.batch_size / changes["batch_size"] if "batch_size" in changes else 1  # as many images for all
        changes = {"steps": max(1, round(cfg.steps / 5 * longer))} | changes
        if hasattr(cfg, "save_every"):  # short runs are not continued
            changes |= {"save_every": 10 ** 9, "resume": False}
        rows[name] = run(replace(cfg, **changes), name) | {"steps": changes["steps"], "seconds": round(time.time() - start, 1)}
        print(f"{name}: " + "  ".join(f"{key} {value:.4g}" for key, value in rows[name].items()), flush=True)
    columns = list(next(iter(rows.values())))
    lines = ["| setting | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    lines += [f"| {name} | " + " | ".join(f"{row[key]:.4g}" for key in columns) + " |" for name, row in rows.items()]
    lines += ["", WITHOUT_TEST + "."]
    print("\n".join(lines))
    with common.atomic(folder / "sweep.md") as file:
        file.write(("\n".join(lines) + "\n").encode())
    shown = columns[:-2]
    fig, axes = common.figure(1, len(shown), width=2 + 2.6 * len(shown), height=0.8 + 0.3 * len(rows))
    for i, key in enumerate(shown):
        bars = axes[0, i].barh(np.arange(len(rows)), [row[key] for row in rows.values()], color=common.COLORS[i % len(common.COLORS)])
        axes[0, i].bar_label(bars, fmt="%.3g", fontsize=7, padding=2)
        axes[0, i].set(title=key, yticks=range(len(rows)), yticklabels=list(rows) if i == 0 else [], ylim=(len(rows) - 0.4, -0.6))
        axes[0, i].margins(x=0.2)
        axes[0, i].grid(axis="y", visible=False)
    fig.suptitle(WITHOUT_TEST, fontsize=8)
    common.save_figure(cfg, folder / "sweep.png", fig, source)
    common.finish(cfg, folder, source, device, torch.nn.Module(), time.time() - begin, "sweep", rows=rows)  # of many nets: no size
