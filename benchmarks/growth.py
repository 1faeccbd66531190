#!/usr/bin/env python3
"""How the cost of a step grows with batch size, width and threads: one picture, viz/growth.png.

python3 benchmarks/growth.py            # a minute; nothing else should run
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from support.charts import AFTER, BEFORE, INK, light_grid, log_ticks, our_style, save, titled_figure
from support.console import Console, OneLineParser, run_script
from support.data import VIZ
from support.files import check_output
from support.report import environment
from support.settings import written_file
from support.tiles import Workers

import numpy as np
from breakdown import in_turn
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

import distillation_mnist_omitted_3 as core

BATCH_SIZES = (16, 32, 64, 128, 256, 512, 1024)
WIDTHS = (100, 200, 400, 800, 1200, 2400)
BATCH, WIDTH = 128, 1200  # of the described teacher, while the other of them varies
STYLES = ({"color": BEFORE, "marker": "o"}, {"color": AFTER, "marker": "D"}, {"color": INK, "marker": "v"})


def step_milliseconds(width: int, n_images: int, n_threads: int) -> float:
    """Of forward pass, backward pass and Adam of a network of two hidden layers."""
    network = core.MLP((core.N_PIXELS, width, width, core.N_CLASSES), np.random.default_rng(0))
    adam, activations = core.Adam(network.parameters), network.new_activations(n_images)
    gradient = np.full((n_images, core.N_CLASSES), 1e-3, np.float32)
    adam.begin_step(0.0)

    def step() -> None:
        network.forward(activations, workers)
        network.backward(activations, gradient, workers, adam.update)

    with Workers(n_threads) as workers:
        repeats = min(200, max(7, 30_000_000 // (n_images * width)))
        return float(np.median(in_turn({"step": step}, repeats)["step"]))


def draw_growth(by_batch: dict[int, list[float]], by_width: dict[int, list[float]], origin: str) -> Figure:
    """Microseconds per image against batch size, milliseconds per step against width; a curve per threads."""
    figure = titled_figure("How the cost of a training step grows", origin, 11, 4.8)
    left, right = figure.subplots(1, 2)
    for style, n_threads in zip(STYLES, by_batch, strict=False):
        label = f"{n_threads} thread{'s' if n_threads > 1 else ''}"
        per_image = [1000 * ms / n for ms, n in zip(by_batch[n_threads], BATCH_SIZES, strict=True)]
        left.plot(BATCH_SIZES, per_image, label=label, **style)
        right.plot(WIDTHS, by_width[n_threads], label=label, **style)
    log_ticks(left, BATCH_SIZES)
    left.set_xlabel("images per step (log scale)")
    left.set_ylabel("microseconds per image")
    left.set_title(f"2 x {WIDTH} units: the larger the batch, the smaller Adam's share")
    log_ticks(right, WIDTHS)
    right.set_xlabel("units per hidden layer (log scale)")
    right.set_ylabel("milliseconds per step (log scale)")
    right.set_yscale("log")
    right.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    right.yaxis.set_minor_formatter(NullFormatter())
    right.set_title(f"{BATCH} images per step")
    for axes in (left, right):
        light_grid(axes)
        axes.legend()
    left.set_ylim(bottom=0)
    return figure


def main(argv: list[str] | None = None) -> None:
    parser = OneLineParser(description="Draw how the cost of a step grows with batch, width and threads.")
    path = VIZ / "growth.png"
    parser.add_argument(
        "--out", type=written_file(".png"), default=path, help="PNG file (default: viz/growth.png)"
    )
    out, console = parser.parse_args(argv).out, Console()
    check_output(out)
    most = Workers().n_threads
    counts = sorted({1, max(1, most // 2), most})
    by_batch = {t: [step_milliseconds(WIDTH, n, t) for n in BATCH_SIZES] for t in counts}
    by_width = {t: [step_milliseconds(w, BATCH, t) for w in WIDTHS] for t in counts}
    with our_style():
        save(draw_growth(by_batch, by_width, f"{environment(most)['cpu']}, medians"), out, console)


if __name__ == "__main__":
    run_script(main)
