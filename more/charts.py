"""Pictures of what a classifier learned, for the files of more/ that train one. Nothing here computes a figure."""

import itertools

import numpy as np

import common


def plot_learning(cfg, path, histories, source):
    """Loss and accuracy by epoch, training dashed and validation solid; histories: {name: [record]}."""
    fig, axes = common.figure(1, 2, width=10, height=3.2)
    for color, (name, history) in zip(common.COLORS, histories.items()):
        for kind, style in (("train", "--"), ("val", "-")):
            for ax, quantity in zip(axes[0], ("loss", "accuracy")):
                ax.plot([r["epoch"] for r in history], [r[f"{kind}_{quantity}"] for r in history], style, color=color,
                        label=f"{name}, {'training' if kind == 'train' else 'validation'}")
    axes[0, 0].set(title="Loss", xlabel="epoch", ylabel="nats a drawing", yscale="log")
    axes[0, 1].set(title="How often it is right", xlabel="epoch", ylabel="accuracy")
    fig.legend(*axes[0, 1].get_legend_handles_labels(), loc="outside right center", fontsize=8)
    common.save_figure(cfg, path, fig, source)


def plot_confusion(cfg, path, results, source):
    """How often which category was taken for which; results: {name: scores}, drawn with counts."""
    fig, axes = common.figure(1, len(results), width=4.5 * len(results), height=4)
    for ax, (name, result) in zip(axes[0], results.items()):
        counts = np.array(result["confusion"])
        share = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))  # rows sum to 1: the diagonal is the recall
        ax.imshow(share, vmin=0, vmax=1, cmap="Blues")
        for row, column in np.ndindex(counts.shape):
            ax.text(column, row, counts[row, column], ha="center", va="center", color="white" if share[row, column] > 0.5 else "black")
        ax.set(title=f"{name}: {result['test_accuracy']:.1%} right", xlabel="predicted", ylabel="true",
               xticks=range(len(counts)), yticks=range(len(counts)), xticklabels=common.CLASSES, yticklabels=common.CLASSES)
        ax.tick_params(axis="x", rotation=30)
        ax.grid(False)
    common.save_figure(cfg, path, fig, source)


def plot_mistakes(cfg, path, images, labels, probs, source):
    """The twelve drawings (N, 1, 28, 28) of which probs (N, K) was surest and wrong: what it said, and what is true."""
    wrong = np.flatnonzero(probs.argmax(axis=1) != labels)
    worst = wrong[np.argsort(-probs[wrong].max(axis=1), kind="stable")][:12]
    fig, axes = common.figure(2, 6, width=9, height=4)
    for ax in axes.flat:
        ax.axis("off")
    for ax, i in zip(axes.flat, worst):
        said = f"{common.CLASSES[probs[i].argmax()]}? {probs[i].max():.0%}"
        common.show_grid(ax, images[i], 1, f"{said}\nit is: {common.CLASSES[labels[i]]}")
    common.save_figure(cfg, path, fig, source)


def plot_search(cfg, path, trials, source):
    """Parallel coordinates: a line is a setting, its colour the validation accuracy. trials: {setting: value, ...} each.

    Axes: logarithmic where all values differ (drawn from a continuum), else one step a value.
    """
    columns = [name for name in trials[0] if name != "seconds"]
    fig, axes = common.figure(width=10, height=4)
    heights, labels = [], []
    for name in columns:
        values = [trial[name] for trial in trials]
        steps = sorted(set(values))
        if name == "val_accuracy" or (len(steps) == len(values) and isinstance(values[0], float)):
            scale = np.asarray(values) if name == "val_accuracy" else np.log(values)
            heights.append((scale - scale.min()) / max(np.ptp(scale), 1e-12))
            labels.append([(0, f"{min(values):.2g}"), (1, f"{max(values):.3g}")])
        else:
            at = {value: i / max(1, len(steps) - 1) for i, value in enumerate(steps)}
            heights.append([at[value] for value in values])
            labels.append([(height, str(value)) for value, height in at.items()])
    accuracy = np.array([trial["val_accuracy"] for trial in trials])
    shade = np.interp(accuracy, (np.median(accuracy) - 0.05, accuracy.max()), (0.05, 1))  # the worst are as pale as bad ones
    for i in np.argsort(accuracy):
        axes[0, 0].plot(np.transpose(heights)[i], color=common.plt.cm.viridis_r(shade[i]), lw=2.5 if i == accuracy.argmax() else 0.9)
    for column, ends in enumerate(labels):
        for height, text in ends:
            axes[0, 0].text(column + 0.03, height, text, fontsize=7, va="center", bbox={"fc": "white", "ec": "none", "pad": 0.5})
    axes[0, 0].set(title=f"{len(trials)} random settings; dark: best on validation drawings", xticks=range(len(columns)),
                   xticklabels=[name.replace("_", " ") for name in columns], yticks=[])
    common.save_figure(cfg, path, fig, source)


def plot_terms(cfg, path, history, terms, source):
    """Each term of a loss on axes of its own, training dashed and validation solid, and the accuracy."""
    fig, axes = common.figure(1, len(terms) + 1, width=11, height=2.9)
    for i, name in enumerate([*terms, "accuracy"]):
        for kind, style in (("train", "--"), ("val", "-")):
            axes[0, i].plot([r["epoch"] for r in history], [r[f"{kind}_{name}"] for r in history], style, color=common.COLORS[i],
                            label="training" if kind == "train" else "validation")
        axes[0, i].set(title=name, xlabel="epoch", ylabel="nats" if name == "push" else "share" if name == "accuracy" else "squared cosine"
                       if name == "apart" else "1 - cosine")
        axes[0, i].legend(fontsize=7)
    common.save_figure(cfg, path, fig, source)


def plot_similarity(cfg, path, matrices, source):
    """Cosines between the categories' points; matrices: {title: (K, anything)}."""
    fig, axes = common.figure(1, len(matrices), width=3.6 * len(matrices), height=3.6)
    for ax, (title, points) in zip(axes[0], matrices.items()):
        unit = points / np.linalg.norm(points, axis=1, keepdims=True)
        cosines = unit @ unit.T
        ax.imshow(cosines, vmin=-1, vmax=1, cmap="RdBu_r")
        for row, column in np.ndindex(cosines.shape):
            ax.text(column, row, f"{cosines[row, column]:.2f}", ha="center", va="center", fontsize=7,
                    color="white" if abs(cosines[row, column]) > 0.7 else "black")
        ax.set(title=f"cosines, {title}", xticks=range(len(points)), yticks=range(len(points)), xticklabels=common.CLASSES,
               yticklabels=common.CLASSES)
        ax.tick_params(axis="x", rotation=30)
        ax.grid(False)
    common.save_figure(cfg, path, fig, source)


def plot_points(cfg, path, plane, labels, source):
    """t-SNE of drawings' points, and of the categories' in the last five rows; plane: (N + 5, 2), labels (N,)."""
    fig, axes = common.figure(width=6, height=5)
    for k, name in enumerate(common.CLASSES):
        axes[0, 0].scatter(*plane[:len(labels)][labels == k].T, s=6, color=common.COLORS[k], label=name)
        axes[0, 0].scatter(*plane[len(labels) + k], s=160, marker="*", color=common.COLORS[k], edgecolor="black")
    axes[0, 0].set(title="t-SNE of test drawings (dots) and words (stars)", xticks=[], yticks=[])
    axes[0, 0].legend(markerscale=2, ncols=5, loc="upper center", bbox_to_anchor=(0.5, 0), columnspacing=0.8, handletextpad=0)
    common.save_figure(cfg, path, fig, source)


def plot_ablation(cfg, path, ablation, unseen, source):
    """Accuracy and the words' mean cosine without each term; and how unseen categories fare."""
    fig, axes = common.figure(1, 3, width=11, height=3)
    for ax, key, title in ((axes[0, 0], "test_accuracy", "accuracy"), (axes[0, 1], "mean_cosine_of_words", "mean cosine between words")):
        bars = ax.barh(list(ablation), [row[key] for row in ablation.values()], color=common.COLORS[0])
        ax.bar_label(bars, fmt="%.3f", fontsize=7, padding=2)
        ax.set(title=f"Loss without a term: {title}", xlabel=title)
        ax.invert_yaxis()
        ax.margins(x=0.25)
    for i, (name, result) in enumerate(unseen.items()):
        axes[0, 2].bar(np.arange(len(result)) + 0.4 * (i - (len(unseen) - 1) / 2), result.values(), width=0.38, label=f"{name} vectors")
    axes[0, 2].axhline(1 / len(common.CLASSES), color="0.4", linestyle=":", label="chance")
    axes[0, 2].set(title="Trained on the other four", ylabel="share recognised", xticks=range(len(common.CLASSES)),
                   xticklabels=common.CLASSES)
    axes[0, 2].set_ylim(top=1.4 * max(0.25, *(share for result in unseen.values() for share in result.values())))  # room for the legend
    axes[0, 2].tick_params(axis="x", rotation=30)
    axes[0, 2].legend(fontsize=7, loc="upper center", ncols=3, columnspacing=0.8, handletextpad=0.3)
    common.save_figure(cfg, path, fig, source)


def plot_twins(cfg, path, histories, table, source):
    """The curves of a run in torch over those of its twin in numpy, and the differences of the first gradients.

    histories: {name: (torch's, numpy's)}; table: {name: {layer: {"relative": difference}}}.
    """
    fig, axes = common.figure(1, 3, width=11, height=3.4)
    for color, (name, (ours, theirs)) in zip(common.COLORS, histories.items()):
        for ax, quantity, label in ((axes[0, 0], "train_loss", "training loss, nats"), (axes[0, 1], "val_accuracy", "validation accuracy")):
            ax.plot([r["epoch"] for r in theirs], [r[quantity] for r in theirs], color=color, lw=4, alpha=0.35, label=f"{name}, numpy")
            ax.plot([r["epoch"] for r in ours], [r[quantity] for r in ours], color=color, lw=1, label=f"{name}, torch")
            ax.set(title=label, xlabel="epoch", ylabel=label.split(",")[-1].strip() if "nats" in label else "share")
    axes[0, 0].set_yscale("log")
    axes[0, 1].legend(fontsize=6)
    for color, (name, layers) in zip(common.COLORS, table.items()):
        axes[0, 2].plot(list(layers), [max(d["relative"], 1e-17) for d in layers.values()], "o", color=color, label=name)
    axes[0, 2].set(title="First gradients: numpy against torch", ylabel="largest difference / largest gradient",
                   yscale="log", ylim=(1e-17, 10))
    axes[0, 2].tick_params(axis="x", rotation=90 if len(next(iter(table.values()))) > 6 else 0)
    axes[0, 2].legend(fontsize=7, loc="center", bbox_to_anchor=(0.5, 0.3))
    common.save_figure(cfg, path, fig, source)


def plot_samples(cfg, path, samples, source, columns=14, row_names=None):
    """{title: uint8 (n, H, W) or (n, H, W, 3)}, each as a grid, side by side; row_names: {title: one for each row}."""
    rows = max(-(-len(images) // columns) for images in samples.values())
    width = max(6, len(samples) * max(2.6, 0.36 * columns)) + 1.2 * len(row_names or ())
    fig, axes = common.figure(1, len(samples), width=width, height=0.5 + 0.4 * rows)
    for ax, (title, images) in zip(axes[0], samples.items()):
        common.show_grid(ax, images[:len(images) // columns * columns] / 255, columns, title, (row_names or {}).get(title, ()))
    common.save_figure(cfg, path, fig, source)


def plot_denoising(cfg, path, steps, source):
    """What a diffusion model has at nine of its steps, and what it takes that for; steps: [(t, x (B, C, H, H), x0_hat)]."""
    chosen = [steps[i] for i in np.linspace(0, len(steps) - 1, 9).round().astype(int)]
    fig, axes = common.figure(1, 2, width=10, height=4)
    for ax, which, title in ((axes[0, 0], 1, "x_t"), (axes[0, 1], 2, "the drawing it takes this for (equation 4)")):
        images = np.concatenate([((step[which].cpu().numpy().clip(-1, 1) + 1) / 2).transpose(0, 2, 3, 1) for step in chosen])
        images = images[..., 0] if images.shape[3] == 1 else images
        common.show_grid(ax, images, len(chosen[0][1]), title, [f"t = {step[0]}" for step in chosen])
    common.save_figure(cfg, path, fig, source)


def plot_samplers(cfg, path, samplers, source):
    """FID against seconds; samplers: {name: {"fid", "seconds"}}."""
    fig, axes = common.figure(width=6, height=3)
    for color, (name, row) in zip(itertools.cycle([*common.COLORS, "0.4", "0.7", "black"]), samplers.items()):
        axes[0, 0].plot(row["seconds"], row["fid"], "o", color=color, label=name)
    axes[0, 0].set(title="How few steps will do?", xlabel="seconds for all samples", ylabel="FID", xscale="log", ylim=(0, None))
    axes[0, 0].legend(fontsize=8)
    common.save_figure(cfg, path, fig, source)


def plot_lines(cfg, path, panels, records, x, source, log=(), log_x=False, rows=1):
    """A panel for each {title: (y label, {label: key})} of records [{x, key, ...}], in `rows` rows; log: titles with a logarithmic y axis.

    log_x: the values of x are marked, equal ratios equally far apart. Where they are names, bars stand for lines. "validation" is dashed.
    """
    columns = -(-len(panels) // rows)
    fig, axes = common.figure(rows, columns, width=max(7, 3.6 * columns), height=3 * rows)  # room for the caption
    labels, values = {tuple(lines) for _, lines in panels.values()}, [r[x] for r in records]
    same, names = len(labels) == 1 and len(next(iter(labels))) > 1, isinstance(values[0], str)
    for ax, (title, (ylabel, lines)) in zip(axes.flat, panels.items()):
        for i, (label, key) in enumerate(lines.items()):
            heights = [r[key] for r in records]
            if names:
                ax.bar(np.arange(len(values)) + 0.8 * (i + 0.5) / len(lines) - 0.4, heights, width=0.7 / len(lines), label=label)
            else:
                ax.plot(values, heights, ("o" if len(records) < 15 else "") + ("--" if "validation" in label else "-"), markersize=4,
                        linewidth=1.5 if len(records) < 100 else 0.9, label=label)
        ax.set(title=title, xlabel=x.replace("_", " "), ylabel=ylabel, **({"yscale": "log"} if title in log else {}))
        if names:
            ax.set_xticks(range(len(values)), values)
        elif log_x:
            ax.set_xscale("log")
            ax.set_xticks(values, [f"{value:g}" for value in values])
            ax.minorticks_off()
        if len(lines) > 1 and not same:
            ax.legend(fontsize=7)
    for ax in axes.flat[len(panels):]:
        ax.set_visible(False)
    if same:  # one legend for all, above the panels, where no line runs through it
        fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=len(labels.pop()), fontsize=8)
    common.save_figure(cfg, path, fig, source)


def plot_variants(cfg, path, accuracy, spread, others, source):
    """Test accuracy of each variant with its spread over seeds, and of other methods as lines; {name: share} each."""
    fig, axes = common.figure(width=8, height=1 + 0.3 * len(accuracy))
    axes[0, 0].barh(list(accuracy), list(accuracy.values()), xerr=list(spread.values()), color=common.COLORS[0])
    for row, value in enumerate(accuracy.values()):  # inside the bars: beside them are the other methods' lines
        axes[0, 0].text(0.41, row, f"{value:.3f}", color="white", fontsize=7, verticalalignment="center")
    for color, style, (name, value) in zip([*common.COLORS[1:], "0.4"], ("--", "-.", ":"), others.items()):
        axes[0, 0].axvline(value, color=color, linestyle=style, label=f"{name}: {value:.3f}")
    axes[0, 0].set(title="Variants", xlabel="test accuracy, standard deviation over seeds", xlim=(0.4, 1))
    axes[0, 0].invert_yaxis()
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", fontsize=8)
    common.save_figure(cfg, path, fig, source)


def plot_words(cfg, path, examples, source):
    """Sentences, each word coloured by what it adds to the logit; examples: [{"words", "label", "logit", "change"}]."""
    fig, axes = common.figure(width=12, height=0.5 + 0.36 * max(1, len(examples)))
    ax, most = axes[0, 0], max([1e-9, *(abs(change) for example in examples for change in example["change"])])
    for row, example in enumerate(examples):
        right = (example["logit"] > 0) == example["label"]
        ax.text(0, row, f"{'right' if right else 'WRONG'}, {example['logit']:+.1f}", va="center", fontsize=8, color="0.3")
        x = 0.09
        for word, change in zip(example["words"], example["change"]):
            color = common.COLORS[0] if change > 0 else common.COLORS[1]
            ax.text(x, row, word, va="center", fontsize=8, family="monospace",
                    bbox={"facecolor": color, "alpha": 0.8 * abs(change) / most, "edgecolor": "none", "pad": 1})
            x += 0.0068 * (len(word) + 1.2)
    ax.set(title="What each word adds to the logit: blue pulls to positive, red to negative", xlim=(0, 1), ylim=(len(examples) - 0.5, -0.5))
    ax.axis("off")
    common.save_figure(cfg, path, fig, source)


def plot_phrases(cfg, path, found, source):
    """What filters look for; found: [{"weight", "width", "phrases"}]."""
    fig, axes = common.figure(width=11, height=0.6 + 0.28 * len(found))
    ax = axes[0, 0]
    for row, entry in enumerate(found):
        color = common.COLORS[0] if entry["weight"] > 0 else common.COLORS[1]
        ax.text(0, row, f"{entry['weight']:+.2f}", va="center", fontsize=8, color=color)
        ax.text(0.06, row, "   |   ".join(entry["phrases"]), va="center", fontsize=8)
    ax.set(title="Filters with the largest weights, and the phrases that please each most", xlim=(0, 1), ylim=(len(found) - 0.5, -0.5))
    ax.axis("off")
    common.save_figure(cfg, path, fig, source)


def plot_reconstructions(cfg, path, data, rows):
    """Sixteen test images chosen at random, the same for each row; rows: {name: (N, 28, 28)} of all test images."""
    pick = np.random.default_rng(cfg.seed).choice(len(data.x_test), 16, replace=len(data.x_test) < 16)
    fig, axes = common.figure(width=9, height=0.6 * (1.6 + len(rows)))
    shown = np.concatenate([images[pick] for images in ({"": data.x_test[:, 0]} | rows).values()])
    common.show_grid(axes[0, 0], shown, len(pick), "Randomly chosen test images", ["original", *rows])
    common.save_figure(cfg, path, fig, data.source)
