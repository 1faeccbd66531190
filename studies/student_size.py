"""How small can the student be?"""

from __future__ import annotations

from support.charts import log_ticks, percent_axis

from matplotlib.figure import Figure

from studies.charts import draw_curve, legend_below, study_figure, unseen
from studies.looks import SEEN_STYLE, UNSEEN_AFTER_STYLE, UNSEEN_BEFORE_STYLE
from studies.measured import mean, percent
from studies.paths import SEEN_AFTER, SEEN_BEFORE, UNSEEN_AFTER, UNSEEN_BEFORE
from studies.study import WHOLE_PROBE, Runs, Settings, Study, at, choices, where
from studies.tables import metric_table

SIZES = (5, 10, 20, 30, 50, 100, 200, 400, 800, 1200)
POINTS: dict[str, Settings] = {f"{n} units": {"student_hidden": (n, n)} for n in SIZES}


def draw(question: str, runs: Runs) -> Figure:
    never = unseen(runs)
    title = f"{question}  Two hidden layers of equal size, {never} never seen"
    figure = study_figure(runs, title, (11, 5.4))
    axes = figure.subplots()
    hidden = choices(runs, "student_hidden")
    groups, sizes = [where(runs, student_hidden=h) for h in hidden], [h[0] for h in hidden]
    for path, label, style in (
        (SEEN_AFTER, "other classes, after the correction", SEEN_STYLE),
        (UNSEEN_BEFORE, f"{never}, before it", UNSEEN_BEFORE_STYLE),
        (UNSEEN_AFTER, f"{never}, after it", UNSEEN_AFTER_STYLE),
    ):
        draw_curve(axes, sizes, groups, path, label=label, **style)
    log_ticks(axes, sizes)
    axes.set_xlabel("units per hidden layer of the student (log scale)")
    axes.set_ylabel("test accuracy")
    percent_axis(axes)
    axes.set_ylim(0, 1.03)
    legend_below(axes, 3)
    return figure


def words(runs: Runs) -> str:
    size = {n: at(runs, POINTS[f"{n} units"]) for n in SIZES}
    lost = 100 * (mean(size[1200], UNSEEN_BEFORE) - mean(size[200], UNSEEN_BEFORE))
    return f"""
It gets too small by and by, and sooner for the class that it never saw than for the others. From 1200 units
down to 200 it loses {lost:.1f} points of the unseen 3s before the correction; after it, it recognises
{percent(size[1200], UNSEEN_AFTER, 1)} and {percent(size[200], UNSEEN_AFTER, 1)} % of them. At 50 units it
recognises {percent(size[50], UNSEEN_BEFORE)} % before and {percent(size[50], UNSEEN_AFTER)} % after it, at
20 units {percent(size[20], UNSEEN_BEFORE)} and {percent(size[20], UNSEEN_AFTER)} %. At 10 units it
recognises hardly any before the correction, {percent(size[10], UNSEEN_BEFORE)} %, and still
{percent(size[10], SEEN_BEFORE)} % of the nine other digits.

{{table}}
"""


STUDY = Study(
    "student-size", __doc__, POINTS, metric_table(POINTS), draw, words,
    preset=WHOLE_PROBE | {"n_epochs_student": 12}, caption="Student size",
)  # fmt: skip
