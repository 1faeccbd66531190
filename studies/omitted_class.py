"""Is 3 special?"""

from __future__ import annotations

from support.charts import TEACHER as TEACHER_COLOUR
from support.charts import percent_axis, say_if_cut

import statistics

from matplotlib.figure import Figure

from beyond.settings import EVERY_CLASS
from studies.charts import draw_curve, legend_below, study_figure
from studies.looks import UNSEEN_AFTER_STYLE, UNSEEN_BEFORE_STYLE
from studies.measured import mean, percent
from studies.paths import UNSEEN_AFTER, UNSEEN_BEFORE
from studies.study import WHOLE_PROBE, Runs, Settings, Study, at, where
from studies.tables import metric_table

POINTS: dict[str, Settings] = {f"without {c}": {"omitted_class": (c,)} for c in EVERY_CLASS}


def draw(question: str, runs: Runs) -> Figure:
    figure = study_figure(runs, f"{question}  Accuracy on the class left out", (11, 5.2))
    axes = figure.subplots()
    present = [c for c in EVERY_CLASS if where(runs, omitted_class=(c,))]
    groups = [where(runs, omitted_class=(c,)) for c in present]
    of_teacher = [
        statistics.mean(run.value("teacher.per_class_accuracy")[c] for run in group)
        for c, group in zip(present, groups, strict=True)
    ]
    dash = {"color": TEACHER_COLOUR, "markersize": 26, "markeredgewidth": 3}
    axes.plot(present, of_teacher, "_", label="teacher, on that class", **dash)
    for path, label, style, shift in (
        (UNSEEN_BEFORE, "student that never saw it", UNSEEN_BEFORE_STYLE, -0.12),
        (UNSEEN_AFTER, "the same, bias corrected", UNSEEN_AFTER_STYLE, 0.12),
    ):
        xs = [c + shift for c in present]
        draw_curve(axes, xs, groups, path, label=label, **{**style, "linestyle": "none"})
    axes.set_xticks(present)
    axes.set_xlabel("the class left out of the transfer set")
    axes.set_ylabel("test accuracy on that class")
    percent_axis(axes)
    say_if_cut(axes)
    legend_below(axes, 3)
    return figure


def words(runs: Runs) -> str:
    groups = {c: at(runs, POINTS[f"without {c}"]) for c in EVERY_CLASS}
    ranked = sorted(groups, key=lambda c: mean(groups[c], UNSEEN_BEFORE))
    worst, best = ranked[0], ranked[-1]
    behind = [
        statistics.mean(run.value("teacher.per_class_accuracy")[c] for run in group)
        - mean(group, UNSEEN_AFTER)
        for c, group in groups.items()
    ]

    def both(c: int) -> str:
        before, after = (percent(groups[c], path, 1) for path in (UNSEEN_BEFORE, UNSEEN_AFTER))
        return f"{before} % before the correction, {after} % after it"

    return f"""
No. Whichever digit is left out, the student recognises it: {best} best ({both(best)}), {worst} worst
({both(worst)}), 3 in between ({both(3)}). After the correction, what it makes of a digit that it never saw
is at most {100 * max(behind):.1f} points behind what the teacher, who has seen it, makes of it.

{{table}}
"""


STUDY = Study(
    "omitted-class", __doc__, POINTS, metric_table(POINTS), draw, words, preset=WHOLE_PROBE,
    caption="Each class left out",
)  # fmt: skip
