"""README.md's table of results, from finished runs: mean ± standard deviation over their seeds.

    python tests/results.py out out_seed1 out_seed2
"""

import json
import statistics
import sys
from pathlib import Path


def read(out, script):
    return json.loads((Path(out) / script / "metrics.json").read_text())


def cell(outs, script, form, *keys):
    values = []
    for out in outs:
        value = read(out, script)
        for key in keys:
            value = value[key]
        values.append(value)
    mean = form.format(statistics.mean(values))
    return mean if len(values) == 1 else mean + " ± " + form.format(statistics.stdev(values))


def main(outs):
    def row(name, peers, *args):
        print(f"| {name} | {cell(outs, *args)} | {peers} |")

    print("| figure | ours | others, same drawings |\n|---|---:|---|")
    row("recurrent autoencoder, test MSE (64 latents)", "0.052; 0.044 with 128", "rnn_ae", "{:.4f}", "test_mse")
    row("convolutional autoencoder, test MSE (64 latents)", "0.0225", "conv_ae", "{:.4f}", "test_mse")
    print(f"| PCA with 64 components, test MSE | {read(outs[0], 'conv_ae')['pca_mse']:.4f} | |")
    row("MLP, test accuracy", "0.759 to 0.776", "classifier", "{:.3f}", "mlp", "test_accuracy")
    row("CNN, test accuracy", "", "classifier", "{:.3f}", "cnn", "test_accuracy")
    for name in ("rnn_vae", "conv_vae", "cvae"):
        row(f"{name}, test ELBO, nats", "-213 to -264", name, "{:.1f}", "test_elbo")
    rows = read(outs[0], "metrics")["rows"]
    peers = {name: rows.get(name, {}).get("fid") for name in ("conv_vae_4k_samples", "conv_vae_20k_samples", "cvae_20k_samples")}
    best = min((v for v in peers.values() if v), default=None)
    text = f"{best:.1f}, their best by our judge" if best else ""
    row("FID, real training drawings (the floor)", "", "metrics", "{:.2f}", "rows", "real training drawings", "fid")
    for name in ("rnn_vae", "conv_vae", "cvae"):
        for kind in ("samples", "samples_mixture"):
            row(f"FID, {name}, {'prior' if kind == 'samples' else 'mixture'}", text, "metrics", "{:.1f}", "rows", f"{name} {kind}", "fid")
    for kind in ("samples", "samples_mixture"):
        label = "prior" if kind == "samples" else "mixture"
        asked = "0.29 to 0.47 (0.43 by our judge)"
        row(f"cvae, {label}: recognised as asked (CNN)", asked, "cvae", "{:.3f}", "recognised", kind, "cnn_accuracy")
        row(f"cvae, {label}: recognised as asked (MLP)", "", "cvae", "{:.3f}", "recognised", kind, "mlp_accuracy")
        row(f"cvae, {label}: diversity within a category", "about 0.45", "cvae", "{:.2f}", "recognised", kind, "diversity")
    print("\nseconds to train: " + ", ".join(f"{s} {cell(outs, s, '{:.0f}', 'seconds')}" for s in (
        "classifier", "rnn_ae", "conv_ae", "rnn_vae", "conv_vae", "cvae")))


if __name__ == "__main__":
    main(sys.argv[1:] or ["out"])
