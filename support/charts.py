"""What all pictures share: colours, style, axes, and the way into a file."""

from __future__ import annotations

from support.console import Console
from support.files import atomic_output

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

# One colour, one meaning; Okabe & Ito's palette, and Tol's indigo. Grey beside green or pink is near for many
# eyes and in print (tests/legible.py): there marks, hatching or lines differ as well.
OMITTED = "#D55E00"  # the class that the student never saw
TEACHER = "#999999"
BEFORE = "#0072B2"  # the student before the correction of its biases
AFTER = "#009E73"  # the same after it
OTHERS = "#56B4E9"  # classes that it saw
BLIND = "#CC79A7"  # a student that has never seen a digit
SOFT = "#332288"  # a student on soft targets, beside
HARD = "#E69F00"  # one on hard labels
INK = "#333333"  # lines of reference, and whatever none of these means
MUTED = "#666666"  # small words
FAINT = "#DDDDDD"
SMALL = 10  # pt, of the smallest text: 9 px on a page of 830 px, in a figure of no more than
WIDEST = 12.7  # inches
STYLE: dict[str, Any] = {
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "legend.edgecolor": "none",
    "legend.framealpha": 0.9,
    "figure.titlesize": 13,
    "text.parse_math": False,  # a "$" in a name of the user's is a "$"
}
DPI = 110


def our_style() -> AbstractContextManager[None]:
    """What all drawing stands in: matplotlib's own defaults, whatever a matplotlibrc says, and STYLE."""
    return style.context(["default", STYLE])


def in_lines(words: str, width: float, font: FontProperties, between: str = " ") -> str:
    """`words` in as many lines of `width` inches as they need, broken only at `between`.

    (Text's own `wrap` would take a "$" for mathematics.)
    """
    lines: list[str] = []
    for part in words.split(between):
        longer = f"{lines[-1]}{between}{part}" if lines else part
        fits = text_to_path.get_text_width_height_descent(longer, font, ismath=False)[0] <= 72 * width
        lines[-1:] = [longer] if fits or not lines else [lines[-1], part]
    return f"{between.rstrip()}\n".join(lines)


def titled_figure(title: str, origin: str, width: float, height: float) -> Figure:
    """An empty figure of `width` x `height` inches with its title and, small, what it was made from.

    What is too long for a line goes on in the next. `width` is at most WIDEST.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    bold, small = FontProperties(size=STYLE["figure.titlesize"], weight="bold"), FontProperties(size=SMALL)
    figure.suptitle(in_lines(title, 0.95 * width, bold), x=0.01, ha="left", fontproperties=bold)
    origin = in_lines(origin, 0.95 * width, small, ", ")
    figure.supxlabel(origin, x=0.99, ha="right", fontproperties=small, color=MUTED)
    return figure


def light_grid(axes: Axes, axis: str = "y") -> None:
    axes.grid(axis=axis, color=FAINT, linewidth=0.8)
    axes.set_axisbelow(True)


def percent_axis(axes: Axes) -> None:
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.4g} %"))
    light_grid(axes)


def say_if_cut(axes: Axes) -> None:
    """Say in the label of y that the axis does not start at 0, where it does not; limits are final then."""
    if axes.get_yscale() == "linear" and axes.get_ylim()[0] > 0:
        axes.set_ylabel(f"{axes.get_ylabel()}\n(axis does not start at 0)".strip())


def epoch_axis(axes: Axes, n_epochs: int) -> None:
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlim(0.5, n_epochs + 0.5)


def log_ticks(
    axes: Axes, ticks: Sequence[float], text: Callable[[float], str] = "{:g}".format, of: str = "x"
) -> None:
    """A logarithmic axis, "x" or "y", with these ticks and no others."""
    axes.set(**{f"{of}scale": "log"})
    axis = axes.xaxis if of == "x" else axes.yaxis
    axis.set_major_locator(FixedLocator(list(ticks)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: text(value)))
    axis.set_minor_locator(NullLocator())


def log_axis(axes: Axes, text: Callable[[float], str]) -> None:
    """A logarithmic y axis with ticks at 1, 2 and 5 of every power of ten."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: text(value)))
    axes.yaxis.set_minor_formatter(NullFormatter())
    light_grid(axes)


def draw_loss(axes: Axes, losses: np.ndarray, colour: str, title: str) -> None:
    """Training loss per epoch on a logarithmic axis."""
    epochs = np.arange(1, len(losses) + 1)
    axes.plot(epochs, losses, color=colour, marker="o", markersize=4)
    axes.set_title(title)
    log_axis(axes, "{:g}".format)
    epoch_axis(axes, len(losses))


def draw_image(axes: Axes, image: np.ndarray, title: str = "") -> None:
    """An image of values 0 to 255 in black on white."""
    axes.imshow(255 - image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_color("#CCCCCC")
    axes.set_title(title, loc="center", fontsize=SMALL, color=INK)


def save(figure: Figure, path: Path, console: Console) -> None:
    """Raises UserError when the file cannot be written."""
    with atomic_output(path) as temporary:
        figure.savefig(temporary, dpi=DPI, format="png")
    console.line(f"wrote {path}")


def write_pictures(pictures: Sequence[Callable[[Any], Figure]], experiment: Any, console: Console) -> None:
    """Each picture into the experiment's folder, under its function's name."""
    with our_style():
        for picture in pictures:
            save(picture(experiment), experiment.outdir / f"{picture.__name__}.png", console)
