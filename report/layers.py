"""Tables of a network's layers, made from the network itself: one drawing goes through, and each layer tells its output's shape and its
weights; so do the functions without weights that forward() calls by name (FUNCTIONS).
"""

import dataclasses
import importlib
import re

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

import common

QUIET = (nn.BatchNorm2d, nn.SiLU, nn.ReLU, nn.SELU, nn.Dropout)  # named in the row of the layer before them
FUNCTIONS = {F.relu: "ReLU", F.silu: "SiLU", F.selu: "SELU", F.max_pool2d: "max pooling"}
MODULATED = "scaled and shifted, "  # in cvae.py's blocks, by what the row of their `condition` gives, before the function


def config_of(name, record, path):
    """The Config that a run was started with. Raises common.InputError if the file has other settings by now."""
    Config = importlib.import_module(name).Config
    fields = {field.name for field in dataclasses.fields(Config)}
    common.require(set(record["config"]) == fields, path, "settings " + ", ".join(sorted(set(record["config"]) ^ fields)) + " on one side "
                                                                                                                            "only",
                   f"the settings of {name}.py as it is now", f"run 'make {name}' again")
    return Config(**record["config"])


def build(name, cfg):
    """{title: (network, its inputs for one drawing)} of a script of the core, on the CPU."""
    module = importlib.import_module(name)
    x, y = torch.zeros(1, 1, 28, 28), torch.eye(len(common.CLASSES))[:1]
    if name == "classifier":
        judges = module.Judges()
        return {"MLP": (judges.mlp, (x,)), "CNN": (judges.cnn, (x,))}
    if name == "rnn_ae":
        return {"": (module.Autoencoder(cfg), (x,))}
    if name == "conv_ae":
        return {"": (module.Autoencoder(cfg.latent_dim, cfg.width), (x,))}
    if name == "rnn_vae":
        return {"": (module.VAE(cfg.latent_dim, cfg.width, cfg.hidden_dim, cfg.row_dim), (x,))}
    if name == "conv_vae":
        return {"": (module.VAE(cfg.latent_dim, cfg.width), (x,))}
    return {"": (module.CVAE(cfg.latent_dim, cfg.width, cfg.condition), (x, y))}


def kind(layer):
    """Markup for what a layer does: its type and its sizes, read from the layer."""
    name = type(layer).__name__
    if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
        (k, _), (s, _) = layer.kernel_size, layer.stride
        what = "transposed convolution" if isinstance(layer, nn.ConvTranspose2d) else "convolution"
        return f"{what} {k}×{k}, {layer.in_channels} → {layer.out_channels}" + f", stride {s}" * (s > 1)
    if isinstance(layer, nn.Linear):
        return f"linear, {layer.in_features} → {layer.out_features}"
    if isinstance(layer, (nn.GRU, nn.LSTM)):
        return f"{name}, {layer.input_size} → {layer.hidden_size}" + ", both directions" * layer.bidirectional
    return {"BatchNorm2d": "batch norm", "Flatten": "flatten", "Unflatten": "unflatten"}.get(name, name)


class Calls(TorchFunctionMode):
    """While it is on, see(function, its result, its arguments) hears of each call of FUNCTIONS."""

    def __init__(self, see):
        super().__init__()
        self.see = see

    def __torch_function__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if function in FUNCTIONS:
            self.see(function, result, args)
        return result


def layer_rows(network, inputs):
    """[[layer, what, output shape, weights]] in the order of computation, and the number of all weights.

    Seeds and training mode are left alone: eval mode, no gradient.
    """
    rows, hooks, names, inside = [], [], {module: name for name, module in network.named_modules()}, []

    def size(tensor):
        return " × ".join(str(n) for n in tensor.shape[1:])

    def called(function, result, args):
        if isinstance(inside[-1], QUIET):  # a layer's own function: it has named itself
            return
        what, shape = MODULATED * hasattr(inside[-1], "condition") + FUNCTIONS[function], size(result)
        if function is F.max_pool2d:
            what += f" {args[1]}×{args[1]}"
        if rows and rows[-1][2] == shape:
            rows[-1][1] += f", {what}"
        else:
            rows.append([names[inside[-1]], what, shape, 0])

    def note(module, _, output):
        first = output[0] if isinstance(output, tuple) else output
        weights = sum(p.numel() for p in module.parameters())
        shape = size(first)
        if isinstance(module, QUIET) and rows and rows[-1][2] == shape:
            rows[-1][1] += f", {kind(module)}"
            rows[-1][3] += weights
        else:
            rows.append([names[module], kind(module), shape, weights])

    for module in network.modules():
        hooks.append(module.register_forward_pre_hook(lambda module, _: inside.append(module)))
        if not list(module.children()):
            hooks.append(module.register_forward_hook(note))
        hooks.append(module.register_forward_hook(lambda *_: inside.pop() and None))
    with torch.no_grad(), Calls(called):
        network.eval()(*inputs)
    for hook in hooks:
        hook.remove()
    total = sum(p.numel() for p in network.parameters())
    assert total == sum(row[3] for row in rows), "a layer computes without being seen"
    order = {"encoder": 0, "decoder": 1}  # the VAE's decoder is built first; computed is the encoder
    rows.sort(key=lambda row: order.get(row[0].split(".")[0], 0))
    return [[f"`{re.sub('layers.', '', name)}`" if name else "", what, shape, f"{weights:,}" if weights else "\u2013"]
            for name, what, shape, weights in rows], total
