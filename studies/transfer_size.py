"""How much data does dark knowledge need?"""

from __future__ import annotations

from support.charts import HARD, SOFT, log_ticks, percent_axis, say_if_cut

from matplotlib.figure import Figure

from studies.charts import draw_curve, legend_below, study_figure, unseen
from studies.looks import UNSEEN_AFTER_STYLE, UNSEEN_BEFORE_STYLE
from studies.measured import percent
from studies.paths import SEEN_BEFORE, UNSEEN_AFTER, UNSEEN_BEFORE
from studies.study import WHOLE_PROBE, Runs, Settings, Study, at, choices, where
from studies.tables import metric_table

FRACTIONS = (1.0, 0.5, 0.2, 0.1, 0.05, 0.01)
LABELS = {"soft targets": 0.0, "hard labels": 1.0}
POINTS: dict[str, Settings] = {
    f"{100 * f:g} % of images, {name}": {"transfer_fraction": f, "hard_weight": w}
    for f in FRACTIONS
    for name, w in LABELS.items()
}


def draw(question: str, runs: Runs) -> Figure:
    figure = study_figure(runs, f"{question}  As many steps, on fewer images", (11, 5.2))
    left, right = figure.subplots(1, 2)
    fractions = choices(runs, "transfer_fraction")
    soft, hard = ([where(runs, transfer_fraction=f, hard_weight=w) for f in fractions] for w in (0.0, 1.0))
    xs = [100 * f for f in fractions]
    draw_curve(left, xs, soft, UNSEEN_BEFORE, label="before the correction", **UNSEEN_BEFORE_STYLE)
    draw_curve(left, xs, soft, UNSEEN_AFTER, label="after it", **UNSEEN_AFTER_STYLE)
    left.set_title(f"soft targets: test accuracy on {unseen(runs)}, never seen")
    left.set_ylim(-0.03, 1.03)
    draw_curve(right, xs, soft, SEEN_BEFORE, label="soft targets", color=SOFT, marker="s")
    draw_curve(right, xs, hard, SEEN_BEFORE, label="hard labels", color=HARD, marker="v", linestyle=":")
    right.set_title("test accuracy on the classes seen")
    for axes in (left, right):
        log_ticks(axes, xs, "{:g} %".format)
        axes.set_xlabel(f"share of the transfer set (100 %: {runs[0].n_transfer:,} images; log scale)")
        percent_axis(axes)
        say_if_cut(axes)
        legend_below(axes, 2)
    return figure


def words(runs: Runs) -> str:
    tenth, hundredth = (at(runs, POINTS[f"{share} % of images, soft targets"]) for share in (10, 1))
    half = at(runs, POINTS["50 % of images, hard labels"])
    n_images = round(0.01 * hundredth[0].n_transfer)
    return f"""
Little. From a tenth of the images the student recognises {percent(tenth, UNSEEN_BEFORE)} % of the unseen 3s
before the correction and {percent(tenth, UNSEEN_AFTER)} % after it; from one per cent, {n_images} images,
{percent(hundredth, UNSEEN_BEFORE)} and {percent(hundredth, UNSEEN_AFTER)} %. On the classes that it sees, a
soft target is worth several hard labels: a tenth of the images with soft targets
({percent(tenth, SEEN_BEFORE, 2)} %) does what half of them do with hard labels
({percent(half, SEEN_BEFORE, 2)} %).

{{table}}
"""


STUDY = Study(
    "transfer-size", __doc__, POINTS, metric_table(POINTS), draw, words, preset=WHOLE_PROBE,
    caption="Part of the transfer set",
)  # fmt: skip
