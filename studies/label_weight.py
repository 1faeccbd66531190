"""At which weight of hard labels do the paper's errors lie?"""

from __future__ import annotations

from support.charts import INK, SMALL, log_axis
from support.report import markdown

from itertools import pairwise

from matplotlib.figure import Figure

from studies.charts import draw_curve, legend_below, study_figure
from studies.looks import BLACK_STYLE, UNSEEN_AFTER_STYLE, UNSEEN_BEFORE_STYLE
from studies.measured import count, mean, mean_sd
from studies.paths import ERRORS_AFTER, ERRORS_BEFORE, UNSEEN_ERRORS_BEFORE
from studies.study import WHOLE_PROBE, Runs, Settings, Study, all_but, at

WEIGHTS = (0.0, 0.1, 0.5, 0.8, 0.9, 0.97)
NO_3S: Settings = {"omitted_class": (3,)}
ONLY_7S_AND_8S: Settings = {"omitted_class": all_but(7, 8), "n_epochs_student": 30}  # about as many steps
POINTS: dict[str, Settings] = {
    f"{name}, weight {w:g}": seen | {"hard_weight": w}
    for name, seen in (("without 3", NO_3S), ("only 7s and 8s", ONLY_7S_AND_8S))
    for w in WEIGHTS
}
PAPER = {("without 3", ERRORS_BEFORE): 206, ("without 3", UNSEEN_ERRORS_BEFORE): 133,
         ("only 7s and 8s", ERRORS_BEFORE): 4730}  # fmt: skip


def of(runs: Runs, name: str, weight: float) -> Runs:
    return at(runs, POINTS[f"{name}, weight {weight:g}"])


def where_the_paper_lies(runs: Runs, name: str, path: str) -> str:
    """Between which two weights our mean passes the paper's figure, or beyond which of them."""
    means = [mean(of(runs, name, w), path) for w in WEIGHTS]
    paper = PAPER[name, path]
    for (low, below), (high, above) in pairwise(zip(WEIGHTS, means, strict=True)):
        if below <= paper < above:
            return f"between weights of {low:g} and {high:g}"
    if means[0] > paper:
        return f"below what no labels give ({means[0]:,.0f})"
    return f"beyond {WEIGHTS[-1]:g}, where ours makes {means[-1]:,.0f}"


def table(runs: Runs) -> str:
    rows = []
    for w in WEIGHTS:
        three, two = of(runs, "without 3", w), of(runs, "only 7s and 8s", w)
        cells = [mean_sd(three, path) for path in (ERRORS_BEFORE, UNSEEN_ERRORS_BEFORE, ERRORS_AFTER)]
        rows.append([f"{w:g}", *cells, *(mean_sd(two, path) for path in (ERRORS_BEFORE, ERRORS_AFTER))])
    header = ["weight of hard labels", "without 3s: errors", "of these, on 3s", "errors, corrected",
              "7s and 8s alone: errors", "errors, corrected"]  # fmt: skip
    paper = ["the paper", "206", "133", "109", "4730", "1320"]
    return markdown(header, [*rows, paper])


def draw(question: str, runs: Runs) -> Figure:
    figure = study_figure(runs, question, (12, 5.4))
    sides = zip(figure.subplots(1, 2), ("without 3", "only 7s and 8s"), strict=True)
    for axes, name in sides:
        groups = {w: mine for w in WEIGHTS if (mine := of(runs, name, w))}
        curves = [(ERRORS_BEFORE, "all errors, before the correction", UNSEEN_BEFORE_STYLE)]
        if name == "without 3":
            curves.append((UNSEEN_ERRORS_BEFORE, "of these, on 3s", BLACK_STYLE))
        curves.append((ERRORS_AFTER, "all errors, after it", UNSEEN_AFTER_STYLE))
        for path, label, style in curves:
            draw_curve(axes, list(groups), list(groups.values()), path, label=label, **style)
        for (seen, path), errors in PAPER.items():
            if seen == name:
                axes.axhline(errors, color=INK, linestyle=":", linewidth=1)
                what = "on 3s" if path == UNSEEN_ERRORS_BEFORE else "all"
                at_side = {"xytext": (0, -11 if what == "on 3s" else 3), "textcoords": "offset points"}
                said = f"the paper, before: {errors:,} ({what})"
                axes.annotate(said, (0, errors), fontsize=SMALL, color=INK, **at_side)
        log_axis(axes, "{:,.0f}".format)
        axes.set_title("without 3s" if name == "without 3" else "7s and 8s alone")
        axes.set_xlabel("weight of the hard labels (0: soft targets alone)")
        legend_below(axes, 2)
    figure.axes[0].set_ylabel("test errors (log scale)")
    return figure


def words(runs: Runs) -> str:
    all_3, on_3, all_7_8 = (where_the_paper_lies(runs, *key) for key in PAPER)
    soft = of(runs, "only 7s and 8s", 0.0)
    return f"""
The paper mixes hard labels into the loss of its students, with a weight that it does not give; ours of
claims 6 to 9 hear none. So the more of them are mixed in, the nearer ours should come to the paper's
figures. Its 206 errors without 3s lie {all_3}, its 133 on 3s {on_3}. Its 4,730 of a student of 7s and 8s
alone lie {all_7_8}; without hard labels ours makes {count(soft, ERRORS_BEFORE)}. These are students of the
recipe `fast`, not of the paper's preset.

{{table}}

Test errors, mean ± standard deviation; biases are corrected by frequencies, without test labels (the
paper's with them).
"""


STUDY = Study(
    "label-weight", __doc__, POINTS, table, draw, words, preset=WHOLE_PROBE, n_seeds=5,
    caption="Errors by the weight of hard labels, beside the paper's",
)  # fmt: skip
