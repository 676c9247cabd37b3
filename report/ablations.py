"""What each choice brings: one setting changed at a time, three seeds each, in tables and plots.

The tables of results compare finished models; this file compares the settings that they rest on. Within a group everything but one
setting is the same: data, number of updates, seeds, judge. A run has about an eighth of a model's own updates, and of the encoders half.
So its figures are not those of finished models, and the order found here need not be theirs: what wants longer training (a wide or deep
net, many latents) may come first there.

    latents_ae, latents_vae   numbers in a code, of conv_ae.py beside PCA, and of conv_vae.py
    likelihood                of conv_vae.py. Nats of different likelihoods are not comparable (of a density, and of no density at all),
                              and are left out: MSE and FID are left
    beta                      weight of the KL in conv_vae.py; the -ELBO in the table is R + KL whatever beta was
    width, depth              channels, and convolutions in each half, of conv_vae.py
    encoder                   rnn_vae.py's against conv_vae.py's, with four times the updates of other runs; all else is equal
    components                Gaussians of the mixture, fitted to the codes of one trained conv_vae.py a seed

Everything is measured on validation drawings, as settings are chosen with these figures; trials.py says how, and against what
FID is measured. A ± is the sample standard deviation over the seeds, which change the first weights, the batches and the samples. Judge
and validation drawings (320 of the course's) are the same for all: what others would change is not in it. One run serves every group
that needs it: the settings in use are trained once a seed.

Run:    python -m report.ablations --data DATA --out OUT [--only beta,width]      (or: make ablations)
        in two processes of one thread each on the CPU; the figures depend neither on their number nor on the order
Writes: OUT/ablations/runs/*.json as each run ends: one that is there and fits (settings, seed, data, judge, sources, versions) is not
        done again; NAME.json, NAME.md, NAME.png of each group that was asked for, and of no other; metrics.json last. make report
        shows them
Result: 84 runs, 31 minutes on 2 cores of an AMD EPYC; docs/settings.md has the tables. 24 latents have the lowest -ELBO (16 and 32 differ
        by 1 to 2 nats, 2 and 128 by 55 and 25); bernoulli has the best samples, its T aside sigma; beta above 1 costs nats and FID, 0.5 is
        no worse than 1; 32 channels gain 2 nats at three times the time; 3 to 5 convolutions differ by 2 nats; the encoders by 1, and
        not in FID. 10 Gaussians give codes of new drawings the highest density, 40 three nats less, 80 eleven; their FID, 66 to 61, falls
        by less than two spreads
"""

import time
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

import common
import conv_ae
import conv_vae
from metrics import frechet_distance
from report.trials import MODULES, Trial, fingerprint, material, read_run, run_all

# ---- 1. Settings ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Config(common.Settings):
    steps: int = 360  # weight updates of each run, in whole epochs (encoder: four times as many); 1,000 would take 105 minutes
    epochs: int = 0  # passes over the training drawings; 0: as many as `steps` needs
    seeds: int = 3  # runs of each setting: with --seed, --seed + 1 and so on
    samples: int = 5000  # drawings for each FID, 10 or more; 500 with --quick
    workers: int = 2  # processes when the device is the CPU, of one thread each; else one process
    only: str = ""  # these groups alone, comma between


# ---- 2. Groups ----------------------------------------------------------------------------------------------------

LATENTS, COMPONENTS = (2, 4, 8, 16, 32, 64, 128), (1, 5, 10, 20, 40, 80)
BETAS, WIDTHS, DEPTHS = (0.25, 0.5, 1, 2, 4, 8), (8, 16, 32), (3, 4, 5)
PRIOR = (("", 0, None),)
# A Gaussian's mean is the same at every T, a Bernoulli's is not: likelihoods are compared at T = 1, too, where neither is sharpened.
LIKELIHOOD = PRIOR + (("_at_1", 0, 1.0), ("_mixture", conv_vae.Config.components, None),
                      ("_mixture_at_1", conv_vae.Config.components, 1.0))
MIXTURES = {n: "_mixture" if n == conv_vae.Config.components else f"_mixture_{n}" for n in COMPONENTS}  # suffix of the figures of each
IN_USE = Trial("conv_vae", ways=LIKELIHOOD + tuple((suffix, n, None) for n, suffix in MIXTURES.items() if suffix != "_mixture"))


@dataclass(frozen=True)
class Column:
    """name: of the figure; digits behind the point; lower: is less of it better? None: neither is; panel: where it is plotted;
    beside: the figure that it is a yardstick of.
    """

    name: str
    digits: int
    lower: bool = None
    panel: str = ""
    exact: bool = False  # has nothing to do with the seed
    beside: str = ""


COLUMNS = {
    "mse": Column("MSE", 5, True, "MSE a pixel"), "pca_mse": Column("PCA", 5, None, "MSE a pixel", True, "mse"),
    "reconstruction": Column("R (nats)", 1, None, "reconstruction R, nats"), "kl": Column("KL (nats)", 1, None, "KL, nats"),
    "negative_elbo": Column("−ELBO (nats)", 1, True, "−ELBO, nats"), "active": Column("active latents", 1, None, "active latents"),
    "fid": Column("FID", 1, True, "FID"), "fid_training": Column("FID (training)", 1, None, "FID"),
    "fid_at_1": Column("FID (T = 1)", 1, True, "FID"), "fid_mixture": Column("FID (mixture)", 1, True, "FID, mixture samples"),
    "fid_mixture_at_1": Column("FID (mixture, T = 1)", 1, True, "FID, mixture samples"),
    "code_nll": Column("−ln p(z) (nats)", 1, True, "−ln p(z) of codes, nats"),
    "code_nll_training": Column("−ln p(z) (training)", 1, None, "−ln p(z) of codes, nats"),
    "parameters": Column("weights", 0, exact=True)}
VAE = ("reconstruction", "kl", "negative_elbo", "active", "fid", "fid_training")


@dataclass(frozen=True)
class Group:
    """title; what: names a setting; rows: {setting: (Trial, suffix of its figures)}; base: the setting in use; ordered: are they sizes?"""

    title: str
    what: str
    rows: dict
    columns: tuple
    base: str
    ordered: bool = True
    note: str = ""


def trial(field, value, ways=PRIOR):
    """conv_vae with one setting changed; where it is the file's own, the run that all groups share."""
    return IN_USE if getattr(conv_vae.Config, field) == value else Trial("conv_vae", ((field, value),), ways=ways)


def varied(field, values, ways=PRIOR):
    """Rows, the setting in use among them."""
    used = getattr(conv_vae.Config, field)
    values = values if used in values else sorted((*values, used))
    return {"rows": {f"{v:g}" if isinstance(v, float | int) else v: (trial(field, v, ways), "") for v in values},
            "base": f"{used:g}" if isinstance(used, float | int) else used}


GROUPS = {
    "latents_ae": Group("Latent size of conv_ae", "latent size", {str(n): (Trial("conv_ae", (("latent_dim", n),)), "") for n in LATENTS},
                        ("mse", "pca_mse"), str(conv_ae.Config.latent_dim),
                        note="PCA: its MSE with as many numbers. PCA is finished, the net is not"),
    "latents_vae": Group("Latent size of conv_vae", "latent size", columns=VAE, **varied("latent_dim", LATENTS)),
    "likelihood": Group(
        "Likelihood of conv_vae", "likelihood", columns=("mse", "fid", "fid_at_1", "fid_mixture", "fid_mixture_at_1"), ordered=False,
        note="Nats of different likelihoods are not comparable and are left out. MSE: of validation drawings, from z = mu. T: of "
             f"bernoulli; {conv_vae.Config.temperature:g} where none is given; a Gaussian's mean is the same at every T",
        **varied("likelihood", ("bernoulli", "sigma", "unit"), LIKELIHOOD)),
    "beta": Group("Weight beta of the KL in conv_vae", "beta", columns=VAE, note="-ELBO: R + KL whatever beta was in training",
                  **varied("beta", BETAS)),
    "width": Group("Width of conv_vae", "width", columns=(*VAE, "parameters"), **varied("width", WIDTHS),
                   note="Width: channels after the first layer"),
    "depth": Group("Depth of conv_vae", "depth",
                   {str(n): (IN_USE if n == 4 else Trial("conv_vae", depth=n, ways=PRIOR), "") for n in DEPTHS}, (*VAE, "parameters"), "4",
                   note="Depth: convolutions in each half; 3x3 blocks at 7x7 are taken out or put in"),
    "encoder": Group("Encoder of the VAE", "", {name: (Trial(name, longer=4, ways=PRIOR), "") for name in ("rnn_vae", "conv_vae")},
                     (*VAE, "parameters"), "conv_vae", False,
                     "Decoder, its first weights and batches are the same. More updates than in other groups, so that neither net is "
                     "compared barely trained"),
    "components": Group("Gaussians of conv_vae's mixture", "components", {str(n): (IN_USE, MIXTURES[n]) for n in COMPONENTS},
                        ("fid", "fid_training", "code_nll", "code_nll_training"), str(conv_vae.Config.components),
                        note="FID does not see that a mixture has training codes by heart: copies of real drawings score as real drawings "
                             "do. −ln p(z) does: of the mixture's density at codes of validation drawings, and beside it at the "
                             "training codes that it was fitted to. Codes differ from seed to seed, not from row to row"),
}


def gaussians(group):
    """The most in any mixture that the group's figures come from; 0: they come from none."""
    shown = {key + suffix for key in group.columns for _, suffix in group.rows.values()}
    return max(n for run, _ in group.rows.values() for suffix, n, _ in (*run.ways, ("", 0, None)) if not n or f"fid{suffix}" in shown)


# ---- 3. Tables ------------------------------------------------------------------------------------------------------

def table(group, found):
    """({setting: {figure: mean, figure_sd: spread}}, {setting: {figure: [a value a seed]}}); found: {(Trial, seed): {figure: value}}."""
    seeds = sorted({seed for _, seed in found})
    each = {name: {key: [found[run, seed][key + suffix] for seed in seeds] for key in group.columns}
            for name, (run, suffix) in group.rows.items()}
    rows = {}
    for name, figures in each.items():
        rows[name] = {key: float(np.mean(values)) for key, values in figures.items()}
        if len(seeds) > 1:
            rows[name] |= {f"{key}_sd": float(np.std(values, ddof=1)) for key, values in figures.items() if not COLUMNS[key].exact}
    return rows, each


def title(cfg, group, updates, data, samples, floor):
    """What was done, in one line, without a full stop; a reader of the table alone has to know it."""
    updates, own = (" or ".join(f"{n:,}" for n in sorted(numbers)) for numbers in (
        updates, {MODULES[run.model].Config().steps for run, _ in group.rows.values()}))
    line = (f"{group.title}: {updates} updates a run (a finished model has {own}); "
            + (f"mean ± standard deviation over {cfg.seeds} seeds, which share judge and drawings; " if cfg.seeds > 1 else "one seed; ")
            + f"measured on {len(data.x_val):,} validation drawings")
    if any(key.startswith("fid") for key in group.columns):
        both = " (and, where it says so, against the training drawings)" * ("fid_training" in group.columns)
        line += (f"; FID of {samples:,} samples against the validation drawings{both}, by the judge of OUT; these two sets of real "
                 f"drawings against each other: {floor:.1f}. Test drawings are not looked at")
    most = max(1, len(data.x_train) // 20)
    if gaussians(group) > most:  # two rows may then be one mixture
        line += f". No mixture here has more than {most} Gaussians, one for 20 drawings, whatever its row says"
    return line + (f". {group.note}" if group.note else "")


def shown(row, key):
    """Mean ± spread, as the table has it."""
    form = f"{{:,.{COLUMNS[key].digits}f}}"
    return form.format(row[key]) + (f" ± {form.format(row[key + '_sd'])}" if f"{key}_sd" in row else "")


def markdown(group, rows):
    """The table as Markdown, columns aligned so that it reads in a terminal as well."""
    cells = [[group.what or "setting", *(COLUMNS[key].name for key in group.columns)]]
    cells += [[name + " (in use)" * (name == group.base), *(shown(row, key) for key in group.columns)] for name, row in rows.items()]
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    lines = ["| " + " | ".join(c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(line, widths))) + " |" for line in cells]
    return "\n".join([lines[0], "|" + "|".join("-" * (w + 1) + (":" if i else "-") for i, w in enumerate(widths)) + "|"] + lines[1:])


def plot(cfg, path, group, each, source):
    """Figure against setting: a dot a seed, a line through the means, or a bar at each where settings are no sizes; grey: in use."""
    panels = {}
    for key in group.columns:
        if COLUMNS[key].panel:
            panels.setdefault(COLUMNS[key].panel, []).append(key)
    columns = min(3, len(panels))
    rows, at, names = -(-len(panels) // columns), np.arange(len(each)), list(each)
    fig, axes = common.figure(rows, columns, width=max(6.0, 3 * columns), height=2.5 * rows)
    for ax in axes.flat[len(panels):]:
        ax.set_visible(False)
    for ax, (panel, keys) in zip(axes.flat, panels.items()):
        if group.base in names:
            ax.axvspan(names.index(group.base) - 0.3, names.index(group.base) + 0.3, color="0.92", zorder=0)
        for i, key in enumerate(keys):
            values = np.array([each[name][key] for name in names])  # (settings, seeds)
            side = 0 if group.ordered else 0.3 * (i - (len(keys) - 1) / 2)  # else one would hide the other
            ax.plot(np.repeat(at + side, values.shape[1]), values.ravel(), "o", markersize=3, alpha=0.6, color=common.COLORS[i])
            ax.plot(at + side, values.mean(axis=1), "-" if group.ordered else "_", markersize=12, color=common.COLORS[i],
                    label=COLUMNS[key].name)
        ax.set(title=panel, xlabel=group.what, xticks=at, xticklabels=[name.replace(", ", ",\n") for name in names],
               xlim=(-0.6, len(names) - 0.4))
        if len(keys) > 1:
            ax.legend(fontsize=7)
    seeds = f"{cfg.seed}" + f" to {cfg.seed + cfg.seeds - 1}" * (cfg.seeds > 1)
    common.save_figure(replace(cfg, seed=seeds), path, fig, source)  # under the picture stand all seeds


# ---- 4. Main ----------------------------------------------------------------------------------------------------------

def chosen(only):
    """The groups that --only names, or all. Raises common.InputError."""
    names = [name.strip() for name in only.split(",") if name.strip()] or list(GROUPS)
    unknown = [name for name in names if name not in GROUPS]
    common.require(not unknown, "--only", ", ".join(unknown), ", ".join(GROUPS), "name some of these, comma between")
    return {name: GROUPS[name] for name in GROUPS if name in names}


def train_missing(jobs, workers):
    """Do these runs, and say how far it is."""
    begin, total, done = time.time(), sum(job[1].cost for job in jobs), 0.0
    with closing(run_all(sorted(jobs, key=lambda job: -job[1].cost), workers)) as finished:
        for i, (_, run, seed, *_) in enumerate(finished, 1):
            done += run.cost
            passed = time.time() - begin
            print(f"run {i} of {len(jobs)}: {run.name}, seed {seed}; {passed:,.0f} s, about {passed * (total / done - 1):,.0f} s left",
                  flush=True)


def main(cfg):
    groups, begin = chosen(cfg.only), time.time()
    common.require(cfg.samples >= 10, "--samples", cfg.samples, "10 or more", "FID needs their covariance")
    torch.set_num_threads(1)  # as in the processes that train: another number of threads rounds differently
    device = common.setup(cfg)
    data, judge, training = material(cfg.data, cfg.out, cfg.quick, str(device))
    need = 20 * max(map(gaussians, groups.values()))  # the 20 codes a Gaussian that conv_vae.py asks for; else it takes fewer Gaussians
    common.require(cfg.quick or len(data.x_train) >= need, cfg.data, f"{len(data.x_train):,} drawings to train on", f"{need:,} or more",
                   "add some, name other groups by --only, or try it with --quick")
    folder, samples = common.start(cfg, __file__), min(cfg.samples, 500) if cfg.quick else cfg.samples
    (folder / "runs").mkdir(exist_ok=True)
    for leftover in [path for name in GROUPS for path in folder.glob(f"{name}.*")] + [*(folder / "runs").glob(".*.tmp")]:
        leftover.unlink()  # no table of earlier runs stands beside those of new ones, whatever its group

    jobs = []
    for run in dict.fromkeys(run for group in groups.values() for run, _ in group.rows.values()):
        for seed in range(cfg.seed, cfg.seed + cfg.seeds):
            mark = fingerprint(cfg, run, seed, device, samples, data)
            jobs.append((cfg, run, seed, str(device), samples, mark, folder / "runs" / f"{run.name}_seed{seed}.json"))
    missing = [job for job in jobs if read_run(job[-1], job[-2]) is None]
    workers = cfg.workers if device.type == "cpu" else 1
    print(f"{len(jobs)} runs: {len(jobs) - len(missing)} kept, {len(missing)} to do, {workers} at a time", flush=True)
    train_missing(missing, workers)

    records = {(run, seed): read_run(path, mark) for _, run, seed, _, _, mark, path in jobs}
    found = {key: record["figures"] for key, record in records.items()}
    floor = frechet_distance(*judge.real, *training)
    for order, (name, group) in enumerate(GROUPS.items()):
        if name not in groups:
            continue
        rows, each = table(group, found)
        updates = {record["updates"] for (run, _), record in records.items() if run in {run for run, _ in group.rows.values()}}
        head, text = title(cfg, group, updates, data, samples, floor), markdown(group, rows)
        print(f"\n{head}\n{text}")
        with common.atomic(folder / f"{name}.md") as file:
            file.write(f"{head}. {common.describe(data.source)}.\n\n{text}\n".encode())
        plot(cfg, folder / f"{name}.png", group, each, data.source)
        common.save(folder / f"{name}.json", {
            "title": head, "what": group.what, "base": group.base, "order": order, "data": data.source, "quick": cfg.quick, "rows": rows,
            "each": each, "columns": {key: {"name": COLUMNS[key].name, "digits": COLUMNS[key].digits, "lower": COLUMNS[key].lower,
                                            "beside": COLUMNS[key].beside} for key in group.columns}})
    # an empty module: there is no one model, but there were torch and its threads
    common.finish(cfg, folder, data.source, device, torch.nn.Identity(), time.time() - begin, groups=list(groups), runs=len(jobs),
                  trained=len(missing), seconds_of_runs=sum(record["seconds"] for record in records.values()), fid_floor=floor,
                  judge=str(Path(cfg.out) / "classifier"))


if __name__ == "__main__":
    common.run(main, Config)
