"""Pictures of CIFAR-10 from results.json alone: what a small network saves, what an unseen class is called.

Of one run or of several seeds: bars are their mean, dots the seeds.
"""

from __future__ import annotations

from support.charts import HARD, INK, OMITTED, SMALL, SOFT, TEACHER, titled_figure
from support.report import Results

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter

from cifar10.data import CLASSES
from runs.folders import omitted_by, value

BEFORE, AFTER = "student.before_correction", "student.after_correction"
UNSEEN = (
    ("teacher, has seen them", "teacher"),
    ("student on hard labels", "baseline"),
    ("student on soft targets", BEFORE),
    ("the same, bias corrected", AFTER),
)


def seeds_figure(
    runs: Sequence[Results], names: Sequence[str], title: str, width: float, height: float
) -> Figure:
    """An empty figure with the title and, small, which data, settings and seeds it shows."""
    config, data = runs[0]["config"], runs[0]["data"]["name"]
    omitted = "".join(f", without {names[c]}" for c in config["omitted_class"])
    shares = {"labelled": config["label_fraction"], "seen": config["transfer_fraction"]}
    parts = "".join(f", {100 * share:.3g} % {word}" for word, share in shares.items() if share < 1)
    seeds = ", ".join(str(run["config"]["seed"]) for run in runs)
    which = f"seed {seeds}" if len(runs) == 1 else f"bars: means, dots: seeds {seeds}"
    origin = f"{data}, temperature {config['temperature']:g}{omitted}{parts}, {which}"
    return titled_figure(title, origin, width, height)


def draw_unseen_class(runs: Sequence[Results], names: Sequence[str] = CLASSES) -> Figure:
    """What each network calls the test images of the class or classes that the students never saw."""
    omitted = list(omitted_by(list(runs)))
    n_images = int(np.sum(np.array(runs[0]["teacher"]["confusion_matrix"])[omitted]))
    unseen = " and ".join(names[c] for c in omitted)
    title = f"What networks call {n_images:,} test images of class {unseen}, which no student ever saw"
    figure = seeds_figure(runs, names, title, 12, 4.6)
    colours = [OMITTED if c in omitted else TEACHER for c in range(len(names))]
    panels: Any = figure.subplots(1, len(UNSEEN), sharex=True, sharey=True)
    for axes, (label, path) in zip(panels, UNSEEN, strict=True):
        # rows: the labels, columns: what is said
        said = np.array(
            [np.sum(np.array(value(run, f"{path}.confusion_matrix"))[omitted], 0) for run in runs]
        )
        shares, classes = said / n_images, np.arange(len(CLASSES))
        axes.barh(classes, shares.mean(axis=0), color=colours)
        if len(runs) > 1:
            axes.plot(shares.T, classes, ".", color=INK, markersize=4)
        for c in classes:
            axes.annotate(f"{100 * shares[:, c].mean():.1f} %", (shares[:, c].max(), c), xytext=(5, 0),
                          textcoords="offset points", va="center", fontsize=SMALL, color=INK)  # fmt: skip
        axes.set_title(label)
        axes.set_yticks(classes, names)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.4g} %"))
    panels[0].invert_yaxis()  # shared by all
    panels[0].set_xlim(0, 1.2)
    panels[0].set_xticks([0, 0.5, 1])
    return figure


def grouped_bars(
    axes: Axes, groups: dict[str, np.ndarray], names: Sequence[str], colours: Sequence[str], digits: int
) -> None:
    """Bars side by side, of values (runs, networks) each with its mean: the second group is hatched."""
    width = 0.38
    for place, (label, values) in enumerate(groups.items()):
        x = np.arange(values.shape[1]) + (place - 0.5) * width
        bars = axes.bar(x, values.mean(axis=0), 0.95 * width, label=label, color=colours, edgecolor="white")
        for bar in bars:
            bar.set_hatch("///" if place else "")
        if len(values) > 1:
            axes.plot(x, values.T, ".", color=INK, markersize=4)
        for at, column in zip(x, values.T, strict=True):
            axes.annotate(f"{column.mean():,.{digits}f}", (at, column.max()), xytext=(0, 4), ha="center",
                          textcoords="offset points", fontsize=SMALL, color=INK)  # fmt: skip
    axes.set_xticks(range(len(names)), names)
    axes.legend(
        handles=[
            Patch(facecolor=TEACHER, hatch="///" * place, edgecolor="white", label=label)
            for place, label in enumerate(groups)
        ],
        loc="upper right", fontsize=SMALL, framealpha=0.9,
    )  # fmt: skip
    axes.set_ylim(0, 1.36 * max(values.max() for values in groups.values()))


def draw_compression(runs: Sequence[Results], names: Sequence[str] = CLASSES) -> Figure:
    """Three questions: how often is it wrong, how small is it, how fast does it answer?"""
    figure = seeds_figure(runs, names, "What a small network saves, and what it costs", 12.5, 5)
    three, two = ("teacher", "student", "baseline"), ("teacher", "student")

    def of(kinds: Sequence[str], key: str, scale: float = 1.0) -> np.ndarray:
        return np.array([[scale * value(run, f"networks.{kind}.{key}") for kind in kinds] for run in runs])

    def least(key: str) -> np.ndarray:
        return of(two, key).min(axis=0, keepdims=True)  # other work on the machine only adds to a time

    paths = ("teacher", BEFORE, "baseline")
    exact = np.array([[value(run, f"{path}.test_accuracy") for path in paths] for run in runs])
    networks = ("teacher", "student,\nsoft targets", "student,\nhard labels")
    colours = (TEACHER, SOFT, HARD)
    errors, size, speed = figure.subplots(1, 3, width_ratios=(1.5, 1, 1))
    wrong = {
        "32 bits per weight": 100 * (1 - exact),
        "8 bits per weight": 100 - of(three, "test_accuracy_8_bits", 100),
    }
    grouped_bars(errors, wrong, networks, colours, 1)
    errors.set_title("How often is it wrong? Of 100 test images")
    sizes = {
        "32 bits per weight": of(two, "bytes", 1e-3)[:1],
        "8 bits per weight": of(two, "bytes_8_bits", 1e-3)[:1],
    }
    grouped_bars(size, sizes, two, colours[:2], 0)
    size.set_title("How small is it? kB")
    times = {"one image alone": least("milliseconds_alone"), "each of many": least("milliseconds_per_image")}
    grouped_bars(speed, times, two, colours[:2], 2)
    threads = {run["environment"]["threads"] for run in runs}
    which = "ms per image" if len(runs) == 1 else "least ms per image"
    speed.set_title(f"How fast? {which}")
    speed.set_xlabel(f"threads: {', '.join(map(str, sorted(threads)))}")
    return figure
