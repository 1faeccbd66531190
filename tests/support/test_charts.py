"""What all pictures share: one style whatever a matplotlibrc says, titles and origins that fit, axes."""

from __future__ import annotations

from support import charts
from support.charts import our_style, titled_figure
from support.console import Console

import ast
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from small_studies import ROOT

HOSTILE = {
    "text.usetex": True, "font.size": 31, "font.family": "monospace", "figure.facecolor": "black",
    "axes.facecolor": "black", "savefig.facecolor": "red", "savefig.transparent": True,
    "savefig.bbox": "tight", "axes.grid": True, "axes.labelcolor": "white", "lines.linewidth": 9,
    "xtick.labelsize": 3, "legend.facecolor": "blue", "axes.formatter.use_mathtext": True,
    "axes.unicode_minus": False, "image.cmap": "jet", "axes.titlelocation": "right", "path.sketch": (1, 9, 9),
    "figure.subplot.left": 0.4, "text.hinting": "none", "text.antialiased": False, "text.parse_math": True,
    "text.color": "white",
}  # fmt: skip


def everything(_: object = None) -> Figure:
    """Whatever the pictures are made of."""
    figure = titled_figure("A title", "an origin, small", 6, 4)
    loss, image, bars = figure.subplots(1, 3)
    charts.draw_loss(loss, np.array([3.0, 1.0, 0.2]), charts.INK, "loss")
    charts.draw_image(image, np.arange(784).reshape(28, 28) % 256, "an image")
    bars.bar([1, 10, 100], [-0.5, 0.2, 0.7], label="bars $x$")
    charts.percent_axis(bars)
    charts.log_ticks(bars, (1, 10, 100))
    bars.legend()
    bars.annotate("words", (1, 0.2))
    return figure


def drawn(folder: Path) -> bytes:
    folder.mkdir(exist_ok=True)
    charts.write_pictures([everything], SimpleNamespace(outdir=folder), Console(quiet=True))
    return (folder / "everything.png").read_bytes()


def test_a_logarithmic_axis_has_ticks_at_1_2_and_5():
    loss = everything().axes[0]
    low, high = loss.get_ylim()
    ticks = [tick for tick in loss.get_yticks() if low <= tick <= high]
    np.testing.assert_allclose(ticks, [0.2, 0.5, 1, 2])
    assert [loss.yaxis.get_major_formatter()(tick) for tick in ticks] == ["0.2", "0.5", "1", "2"]


def test_no_setting_of_the_users_changes_a_pixel(tmp_path):
    usual = drawn(tmp_path)
    with matplotlib.rc_context(HOSTILE):
        before = {name: matplotlib.rcParams[name] for name in HOSTILE}
        same = drawn(tmp_path) == usual
        assert {name: matplotlib.rcParams[name] for name in HOSTILE} == before  # they are the user's again
    for name, value in {} if same else HOSTILE.items():  # which one was it?
        with matplotlib.rc_context({name: value}):
            assert drawn(tmp_path) == usual, name
    assert same


@pytest.mark.parametrize("backend", ["TkAgg", "pdf", "template"])
def test_a_matplotlibrc_of_the_users_changes_no_pixel(backend, tmp_path):
    """In a process of its own, which reads the file when matplotlib is imported."""
    lines = [f"{name}: {str(value).strip('()')}" for name, value in HOSTILE.items()]
    (tmp_path / "matplotlibrc").write_text("\n".join([f"backend: {backend}", *lines]))
    program = (
        "import sys; from pathlib import Path; import test_charts; "
        "import matplotlib; assert matplotlib.rcParams['text.usetex']; test_charts.drawn(Path(sys.argv[1]))"
    )
    environment = os.environ | {
        "MATPLOTLIBRC": str(tmp_path / "matplotlibrc"),
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "tests", Path(__file__).parent))),
    }  # fmt: skip
    subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "out")], check=True, env=environment, cwd=tmp_path
    )
    assert (tmp_path / "out" / "everything.png").read_bytes() == drawn(tmp_path)


def test_whatever_draws_draws_in_our_style():
    """No module but that of the charts speaks of settings of matplotlib's, or asks for its global state."""
    asked = []
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT).parts
        if parts[0] in ("tests", "build") or any(part.startswith(".") for part in parts):
            continue
        names = {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}
        if {"rc_context", "rcParams", "STYLE", "pyplot", "plt"} & names:
            asked.append("/".join(parts))
        if "save" in names and "titled_figure" not in names and parts[0] != "support":
            assert "our_style" in names or "write_pictures" in names, path
    assert asked == ["support/charts.py"]


def test_a_dollar_is_a_dollar():
    with our_style():
        figure = titled_figure(r"$\frac$ and $", r"of $\frac$, $x_1$, " + 30 * r"$\frac$ more, ", 6, 4)
        axes = figure.subplots()
        axes.set_title(r"$\frac$")
        axes.plot([1, 2], [1, 2], label=r"$\frac$")
        axes.annotate(r"$\frac$", (1, 1))
        axes.set_xticks([1, 2], [r"$\frac$", "$"])
        axes.set_xlabel(r"$\frac$")
        axes.legend()
        figure.draw_without_rendering()


@pytest.mark.parametrize("n_flags", [0, 1, 3, 4, 9])
def test_an_origin_is_never_cut_and_breaks_between_what_it_names(n_flags):
    flags = [f"--student-hidden {100 * n} {200 * n} {300 * n}" for n in range(1, n_flags + 1)]
    origin = ", ".join(["custom IDX files, last 5000 held out", "recipe described, seed 0", *flags])
    with our_style():
        figure = titled_figure("A title", origin, 9, 4)
        axes = figure.subplots()
        axes.set_xlabel("x")
        figure.draw_without_rendering()
    text = figure._supxlabel
    box = text.get_window_extent()
    assert figure.bbox.x0 <= box.x0
    assert box.x1 <= figure.bbox.x1
    assert figure.bbox.y0 <= box.y0
    assert box.y1 <= axes.xaxis.label.get_window_extent().y0  # and covers nothing
    assert text.get_text().replace("\n", " ") == origin
    assert all(line.endswith(",") for line in text.get_text().split("\n")[:-1])
    assert ("\n" in text.get_text()) == (n_flags >= 3)


def test_a_long_title_goes_on_in_the_next_line():
    with our_style():
        figure = titled_figure("A title of many words " * 9, "x", 6, 4)
        axes = figure.subplots()
        axes.set_title("below")
        figure.draw_without_rendering()
    box = figure._suptitle.get_window_extent()
    assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
    assert axes.title.get_window_extent().y1 <= box.y0


def test_losses_and_images_are_drawn_as_they_are():
    figure = everything()
    loss, image, bars = figure.axes
    assert loss.lines[0].get_xydata().tolist() == [[1, 3.0], [2, 1.0], [3, 0.2]]
    assert loss.get_yscale() == "log"
    assert loss.get_xlabel() == "epoch"
    assert loss.get_title(loc="left") or loss.get_title() == "loss"
    np.testing.assert_array_equal(image.images[0].get_array(), 255 - np.arange(784).reshape(28, 28) % 256)
    assert image.images[0].get_clim() == (0, 255)
    assert image.images[0].get_cmap().name == "gray"
    assert bars.xaxis.get_majorticklocs().tolist() == [1, 10, 100]
    assert bars.yaxis.get_major_formatter()(0.125, 0) == "12.5 %"
