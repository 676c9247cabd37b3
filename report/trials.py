"""One run of an ablation: a model with one setting changed, trained briefly, measured on drawings it has not seen, and kept on disk.

Nothing is measured on test drawings: settings are chosen with these figures (docs/settings.md), and a figure that was chosen
by says nothing fair afterwards. MSE and ELBO are those of the validation drawings. FID, equation (1) of metrics.py, uses the judge of OUT,
and every set of samples is compared with two clouds of real drawings: the validation drawings, which have trained neither the model nor
the judge, and the training drawings, ten times as many. Neither sees a copy, for copies of real drawings are real drawings; so mixtures
are also scored by the density that they give to codes of validation drawings.

A run depends on nothing but its fingerprint: settings, seed, data, judge, sources (comments and docstrings apart), versions. So it can be
kept, done in any order, and by any number of processes; each has one thread, because another number of threads rounds differently.
"""

import ast
import contextlib
import functools
import hashlib
import io
import json
import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import sklearn
import torch
import torch.nn as nn
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture

import common
import conv_ae
import conv_vae
import rnn_vae
from classifier import predict
from metrics import frechet_distance, mean_and_covariance
from more.score import Judge

ROOT = Path(common.__file__).resolve().parent
MODULES = {module.__name__: module for module in (conv_ae, conv_vae, rnn_vae)}
READS = ("common.py", "report/trials.py")  # sources that every run depends on, besides its model's
JUDGES = ("classifier.py", "metrics.py", "more/score.py")  # and those that a VAE's figures depend on


@dataclass(frozen=True)
class Trial:
    """What is trained, and of which samples the FID is measured."""

    model: str  # a key of MODULES
    changes: tuple = ()  # (field, value) pairs of its Config that are not as in the file
    depth: int = 4  # convolutions in each half of conv_vae; 4: as in the file
    longer: int = 1  # times as many updates as the ablation's other runs
    ways: tuple = ()  # (suffix of the figure, Gaussians of the mixture or 0 for the prior, T or None for the file's)

    @property
    def name(self):
        parts = [f"{field}-{value}" for field, value in self.changes] + [f"depth-{self.depth}"] * (self.depth != 4)
        return "_".join([self.model, *parts, *[f"longer-{self.longer}"] * (self.longer != 1)])

    @property
    def cost(self):
        """How long it takes, about: milliseconds an update of a run that has one of two cores of an AMD EPYC, times how many updates.

        Long runs go first, and the time left is guessed from it.
        """
        width = dict(self.changes).get("width", 16)
        update = {"conv_ae": 79, "conv_vae": 123, "rnn_vae": 144}[self.model]
        return self.longer * update * (width / 16) ** 1.2 * (0.6 + 0.1 * self.depth)


# ---- The network ------------------------------------------------------------------------------------------------

class DeepVAE(conv_vae.VAE):
    """conv_vae.py's VAE with `depth` convolutions in each half in place of 4: 3x3 blocks at 7x7 are taken out, or put in.

    They keep shape and channels, so that nothing else has to change. What is put in draws its first weights last: all other
    layers begin as they do without it.
    """

    def __init__(self, latent_dim, width, depth=4):
        super().__init__(latent_dim, width)
        for layers, at in ((self.decoder.layers, 5), (self.encoder.layers, 3)):  # the block at 7x7 that each half has
            if depth < 4:
                del layers[at]
            for _ in range(depth - 4):
                layers.insert(at, conv_vae.block(nn.Conv2d(4 * width, 4 * width, kernel_size=3, padding=1, bias=False)))


def build(trial, cfg):
    """The untrained network, from the seed's first random numbers, as in the model's own file."""
    torch.manual_seed(cfg.seed)
    if trial.model == "conv_vae":
        return DeepVAE(cfg.latent_dim, cfg.width, trial.depth)
    if trial.model == "rnn_vae":
        return rnn_vae.VAE(cfg.latent_dim, cfg.width, cfg.hidden_dim, cfg.row_dim)
    return conv_ae.Autoencoder(cfg.latent_dim, cfg.width)


# ---- Measuring --------------------------------------------------------------------------------------------------

@functools.cache
def material(data, out, quick, device):
    """(Data, Judge that looks at validation drawings, moments of the training drawings' features). Raises common.InputError."""
    drawings = common.load_data(common.Settings(data=data, quick=quick))
    common.require(len(drawings.x_val) >= 10, data, f"{len(drawings.x_val)} validation drawings", "10 or more", "add training drawings")
    held_out = drawings._replace(x_test=drawings.x_val, y_test=drawings.y_val)  # the test drawings are out of its reach
    judge = Judge(SimpleNamespace(data=data, out=out, grey=True, size=28), held_out, torch.device(device))
    return drawings, judge, mean_and_covariance(predict(judge.cnn, drawings.x_train, torch.device(device))[1])


def model_settings(cfg, trial, seed):
    """The model's own Config with what the ablation's says, and with the trial's changes."""
    return MODULES[trial.model].Config(data=cfg.data, out=cfg.out, seed=seed, device=cfg.device, precision=cfg.precision, quick=cfg.quick,
                                       steps=trial.longer * cfg.steps, epochs=trial.longer * cfg.epochs, **dict(trial.changes))


def autoencoder_figures(trial, settings, model, data, device):
    """Validation MSE, and PCA's with as many numbers."""
    error = MODULES[trial.model].evaluate(settings, model, data.x_val, device)[0]
    train, held_out = (x.reshape(len(x), -1) for x in (data.x_train, data.x_val))
    pca = PCA(min(settings.latent_dim, *train.shape), random_state=0).fit(train)
    return {"mse": error, "pca_mse": float(((pca.inverse_transform(pca.transform(held_out)) - held_out) ** 2).mean())}


def clouds(codes, rng):
    """A z from the cloud of each drawing, (N, L)."""
    return codes["mu"] + torch.exp(0.5 * codes["logvar"]) * torch.randn(codes["mu"].shape, generator=rng)


def mixture(settings, components, codes, held_out, samples):
    """What conv_vae.sample_mixture draws (a test compares), and the mixture's mean -ln p(z) of held-out codes and of its own, in nats.

    A mixture that has its own codes by heart is certain of these, and surprised by others.
    """
    rng = torch.Generator().manual_seed(settings.seed + 2)
    z = clouds(codes, rng)
    fitted = GaussianMixture(min(components, max(1, len(z) // 20)), reg_covar=1e-3, random_state=settings.seed).fit(z.double())
    drawn = torch.from_numpy(fitted.sample(samples)[0]).float()[torch.randperm(samples, generator=rng)]  # (samples, L)
    unseen = clouds(held_out, torch.Generator().manual_seed(settings.seed + 4))
    return drawn, -fitted.score(unseen.double()), -fitted.score(z.double())


def vae_figures(trial, settings, model, samples, data, judge, training, device):
    """The terms of the ELBO on validation drawings; the FID of each way to draw samples, against both clouds of real drawings."""
    module = MODULES[trial.model]
    seen = module.evaluate(settings, model, data.x_val, device)
    drawn = module.decode(settings, model, seen["mu"], device, temperature=1.0) / 255  # from z = mu, the cloud's centre
    figures = {"reconstruction": seen["reconstruction"], "kl": seen["kl"], "negative_elbo": seen["reconstruction"] + seen["kl"],
               "active": seen["active"], "mse": float(((drawn - data.x_val[:, 0]) ** 2).mean())}
    counts = {components for _, components, _ in trial.ways if components}
    codes = module.evaluate(settings, model, data.x_train, device) if counts else {}
    fitted = {n: mixture(settings, n, codes, seen, samples) for n in counts}  # each once, in however many ways it is decoded
    for suffix, components, temperature in trial.ways:
        if components:
            z, unseen, own = fitted[components]
            figures |= {f"code_nll{suffix}": unseen, f"code_nll_training{suffix}": own}
        else:
            z = torch.randn(samples, settings.latent_dim, generator=torch.Generator().manual_seed(settings.seed + 3))
        cloud = mean_and_covariance(judge.look(module.decode(settings, model, z, device, temperature))[1])
        figures |= {f"fid{suffix}": frechet_distance(*judge.real, *cloud), f"fid_training{suffix}": frechet_distance(*training, *cloud)}
    return figures


def run(cfg, trial, seed, device, samples, mark, path):
    """Train, measure, and leave the record at path, whole or not at all. It is all that a process of the pool does."""
    begin, settings, device = time.time(), model_settings(cfg, trial, seed), torch.device(device)
    quiet = io.StringIO()  # a line an epoch of two runs at a time is nothing to read
    with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
        data, judge, training = material(cfg.data, cfg.out, cfg.quick, str(device))
        model = build(trial, settings).to(device)
        history = MODULES[trial.model].train(settings, model, data, device)
        figures = (autoencoder_figures(trial, settings, model, data, device) if trial.model.endswith("_ae") else
                   vae_figures(trial, settings, model, samples, data, judge, training, device))
    figures["parameters"] = sum(p.numel() for p in model.parameters())
    common.save(path, {"fingerprint": mark, "figures": figures, "seconds": round(time.time() - begin, 1),
                       "updates": len(history) * max(1, len(data.x_train) // settings.batch_size)})


# ---- What a run depends on --------------------------------------------------------------------------------------

def digest(*parts):
    return hashlib.sha256(b"".join(parts)).hexdigest()


@functools.cache
def meaning(source):
    """Digest of a source without its comments and docstrings: a result that is written into one makes no finished run stale."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if (isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
                and ast.get_docstring(node, clean=False) is not None):
            node.body = node.body[1:] or [ast.Pass()]
    return digest(ast.dump(tree).encode())  # without line numbers


def fingerprint(cfg, trial, seed, device, samples, data):
    """All that can change a run's figures, as JSON has it. Folders are not in it: data that moved are the same data."""
    vae = trial.model.endswith("_vae")
    settings = asdict(model_settings(cfg, trial, seed))
    return json.loads(json.dumps({
        "settings": {key: value for key, value in settings.items() if key not in ("data", "out", "device", "precision")},
        "device": str(device), "bfloat16": common.uses_bfloat16(cfg, device), "depth": trial.depth,
        "ways": trial.ways, "samples": samples * vae, "data": digest(data.x_train.tobytes(), data.x_val.tobytes()),
        "judge": digest((Path(cfg.out) / "classifier" / "weights.pt").read_bytes()) if vae else "",
        "sources": {name: meaning((ROOT / name).read_bytes()) for name in (f"{trial.model}.py", *READS, *(JUDGES if vae else ()))},
        "versions": {"torch": torch.__version__, "numpy": np.__version__, "scikit-learn": sklearn.__version__}}))


def read_run(path, mark=None):
    """The record at path, if its fingerprint is mark; else None."""
    try:
        record = json.loads(path.read_text())
        return record if record["fingerprint"] == mark and isinstance(record["figures"], dict) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


# ---- Several at a time --------------------------------------------------------------------------------------------

def begin_worker():
    """One thread; Ctrl-C is the parent's affair (run_all has it ignored), and without a parent there is nothing left to do."""
    def leave():
        multiprocessing.parent_process().join()
        os._exit(1)

    torch.set_num_threads(1)
    threading.Thread(target=leave, daemon=True).start()


def no_memory(found, jobs):
    """The one line on it, with the names of what was being done."""
    names = " and ".join(f"{trial.name}, seed {seed}" for _, trial, seed, *_ in jobs)
    return common.InputError(f"--workers: found {found} in the run of {names}, expected memory enough for each process; run it again "
                             "(what is done is kept), with fewer processes or with less beside them")


def run_all(jobs, workers):
    """Yield each of jobs, the arguments of run(), when it is done, by so many processes. What is done stays done if this is stopped."""
    # for what reads its number of threads when it is loaded: OpenMP in scikit-learn, the BLAS of numpy
    os.environ.update({name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")})
    # "spawn", a fresh Python each: a forked one would inherit the parent's locks and threads half-way through what they do
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), begin_worker)
    waiting, running = list(jobs)[::-1], {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:  # no queue: what has not begun is not begun after a Ctrl-C
                job = waiting.pop()
                handler = signal.signal(signal.SIGINT, signal.SIG_IGN)  # a process that begins here ignores Ctrl-C, too, from its start
                try:
                    running[pool.submit(run, *job)] = job
                finally:
                    signal.signal(signal.SIGINT, handler)
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                job = running[future]
                try:
                    future.result()
                except (BrokenProcessPool, common.InputError):
                    raise
                except Exception as error:
                    if isinstance(error, MemoryError) or any(words in str(error) for words in ("allocate memory", "out of memory")):
                        raise no_memory("too little memory", [job]) from None
                    error.add_note(f"in the run of {job[1].name}, seed {job[2]}")
                    raise
                yield running.pop(future)
    except BrokenProcessPool:  # the system kills a process where memory runs out; which of them, the pool does not know
        raise no_memory("a process that was killed", [*running.values()] or [job]) from None
    finally:
        if running:
            for process in multiprocessing.active_children():
                process.terminate()
        pool.shutdown(wait=True, cancel_futures=True)
