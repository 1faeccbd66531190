"""What can be read of a picture: text at the width of a page, colours as others see them."""

from __future__ import annotations

import re
from itertools import combinations
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

PAGE = 830  # px: the width at which a page shows a picture
SMALLEST = 9.0  # px
APART = 15.0  # ΔE: with less between them, two colours need marks, hatching or lines of their own
# Machado, Oliveira & Fernandes 2009, severity 1.0; they work on linear RGB.
VISION = {
    "normal": np.eye(3),
    "protanopia": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                            [-0.003882, -0.048116, 1.051998]]),
    "deuteranopia": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                              [-0.011820, 0.042940, 0.968881]]),
}  # fmt: skip
TO_XYZ = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
                   [0.0193339, 0.1191920, 0.9503041]])  # fmt: skip


def lab(colour: Any, vision: str = "normal") -> np.ndarray:
    """CIELAB coordinates (3,) of a colour (sRGB, D65) as someone with this vision sees it."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = TO_XYZ @ np.clip(VISION[vision] @ linear, 0, 1) / TO_XYZ.sum(axis=1)
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def distance(first: Any, second: Any) -> float:
    """ΔE (CIE 1976) of two colours for whoever tells them apart least."""
    return min(float(np.linalg.norm(lab(first, v) - lab(second, v))) for v in VISION)


def drawn_anyhow(figure: Figure) -> None:
    """Draw everything without laying it out, which takes longest: whether it can be drawn at all."""
    figure.set_layout_engine("none")
    figure.draw_without_rendering()


def hard_to_read(figure: Figure) -> list[str]:
    """What someone could not read of a figure on a page; [] where there is nothing."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # all is in its place: laying out is what takes long
    beyond = ["something goes beyond the figure"] if clipped(figure) else []
    return small_texts(figure) + alike(figure) + beyond + unsaid_cuts(figure)


def small_texts(figure: Figure) -> list[str]:
    """The texts that are smaller than SMALLEST when the figure is as wide as a page, with their px."""
    px = PAGE / (72 * figure.get_figwidth())
    found = {}
    for text in figure.findobj(Text):
        if text.get_visible() and text.get_text().strip():
            size = px * text.get_fontsize()
            if size < SMALLEST - 1e-9:
                found[text.get_text()] = f"{size:.1f} px: {text.get_text()!r}"
    return list(found.values())


def clipped(figure: Figure) -> bool:
    """Whether anything goes beyond the figure."""
    box, inches = figure.get_tightbbox(), figure.bbox_inches
    return box.x0 < -0.01 or box.y0 < -0.01 or box.x1 > inches.x1 + 0.01 or box.y1 > inches.y1 + 0.01


def unsaid_cuts(figure: Figure) -> list[str]:
    """Axes in per cent, of equal steps, that do not start at 0 and do not say so."""
    found = []
    for axes in figure.findobj(Axes):
        for axis, scale, low in (
            (axes.xaxis, axes.get_xscale(), min(axes.get_xlim())),
            (axes.yaxis, axes.get_yscale(), min(axes.get_ylim())),
        ):
            ticks = [label.get_text() for label in axis.get_ticklabels() if label.get_text()]
            cut = scale == "linear" and low > 0 and ticks and all(tick.endswith("%") for tick in ticks)
            if cut and not re.search(r"starts? at", axis.label.get_text()):
                found.append(f"{axes.get_title(loc='left')}: {ticks}")
    return found


def looks_of(axes: Axes) -> dict[str, tuple[Any, tuple[Any, ...]]]:
    """Colour and shape of everything that the legend of `axes` would name."""
    found: dict[str, tuple[Any, tuple[Any, ...]]] = {}
    for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
        if isinstance(handle, ErrorbarContainer):
            handle = handle.lines[0]
        if isinstance(handle, BarContainer):
            found[label] = handle[0].get_facecolor(), ("bar", handle[0].get_hatch())
        elif isinstance(handle, Line2D):
            drawn = handle.get_linestyle() if len(handle.get_xdata()) > 1 else "None"
            upright = len(handle.get_xdata()) == 2 and len(set(handle.get_xdata())) == 1
            found[label] = handle.get_color(), ("line", handle.get_marker(), drawn, upright)
    return found


def alike(figure: Figure) -> list[str]:
    """Pairs in one panel that someone would take for the same: of one shape, in colours too near."""
    pairs = []
    for axes in figure.findobj(Axes):
        bars = {(to_hex(bar.get_facecolor()), bar.get_hatch()) for bar in axes.patches if bar.get_height()}
        for (first, hatch), (second, its_hatch) in combinations(bars, 2):
            if hatch == its_hatch and distance(first, second) < APART:
                pairs.append(f"bars of {first} and {second}: ΔE {distance(first, second):.0f}")
        for (one, (first, shape)), (other, (second, its)) in combinations(looks_of(axes).items(), 2):
            if shape == its and distance(first, second) < APART:
                pairs.append(f"{one!r} and {other!r}: ΔE {distance(first, second):.0f}")
    return pairs
