"""How much of the spread over seeds is the teacher's, how much the student's?"""

from __future__ import annotations

from support.charts import AFTER, BEFORE, INK, light_grid, say_if_cut
from support.report import markdown

import math

import numpy as np
from matplotlib.figure import Figure

from studies import paths
from studies.charts import above_a_legend, study_figure
from studies.study import WHOLE_PROBE, Runs, Settings, Study, at

TEACHERS = (0, 10, 20, 30, 40)  # their seeds; the students' are the same five
POINTS: dict[str, Settings] = {
    f"teacher of seed {seed}": {"omitted_class": (3,), "teacher_seed": seed} for seed in TEACHERS
}
# what the table shows: (name, path, scale, digits)
METRICS = (
    ("3s, before the correction, %", paths.UNSEEN_BEFORE, 100, 2),
    ("3s, after it, %", paths.UNSEEN_AFTER, 100, 2),
    ("seen classes, before it, %", paths.SEEN_BEFORE, 100, 2),
    ("all, before it, %", paths.ALL_BEFORE, 100, 2),
    ("test errors, before it", paths.ERRORS_BEFORE, 1, 1),
    ("test errors, after it", paths.ERRORS_AFTER, 1, 1),
)


def square(runs: Runs, path: str, scale: float = 1.0) -> np.ndarray:
    """A metric by teacher (rows) and student (columns), of the students that every teacher has."""
    groups = [{run.config.seed: run.value(path) for run in at(runs, point)} for point in POINTS.values()]
    groups = [group for group in groups if group]
    seeds = sorted(set.intersection(*map(set, groups))) if groups else []
    return scale * np.array([[group[seed] for seed in seeds] for group in groups], float)


def components(values: np.ndarray) -> dict[str, float]:
    """Standard deviations of what a teacher adds, what a student adds, and what both make only together.

    Two-way analysis of variance without replication, both random (Searle, Casella & McCulloch 1992, section
    4.3): the mean squares of rows and columns exceed that of the rest by n times their variances. An estimate
    below 0 is given as 0.
    """
    n_teachers, n_students = values.shape
    if min(values.shape, default=0) < 2:
        return dict.fromkeys(("teacher", "student", "both"), math.nan)
    by_teacher, by_student = (values.mean(axis=axis, keepdims=True) for axis in (1, 0))
    rest = values - by_teacher - by_student + values.mean()
    together = (rest**2).sum() / ((n_teachers - 1) * (n_students - 1))
    variances = {
        "teacher": float(by_teacher.var(ddof=1) - together / n_students),
        "student": float(by_student.var(ddof=1) - together / n_teachers),
        "both": float(together),
    }
    return {name: math.sqrt(max(0.0, variance)) for name, variance in variances.items()}


def table(runs: Runs) -> str:
    rows = []
    for name, path, scale, digits in METRICS:
        values = square(runs, path, scale)
        sds = [f"{sd:.{digits}f}" for sd in components(values).values()]
        rows.append([name, f"{values.mean():.{digits}f}", *sds])
    return markdown(["", "mean", "sd by teacher", "sd by student", "sd by both together"], rows)


def draw(question: str, runs: Runs) -> Figure:
    figure = study_figure(
        runs, question, (11, 5.2), "a dot per student, a bar per teacher: mean of its students"
    )
    upper, lower = above_a_legend(figure, 0.1)
    left, right = upper.subplots(1, 2)
    sides = (
        (left, paths.UNSEEN_BEFORE, BEFORE, 100.0, "3s recognised before the correction, %"),
        (right, paths.ERRORS_AFTER, AFTER, 1.0, "test errors after the correction"),
    )
    for axes, path, colour, scale, label in sides:
        values = square(runs, path, scale)
        order = values.mean(axis=1).argsort()
        for place, row in enumerate(values[order]):
            axes.plot([place - 0.28, place + 0.28], [row.mean()] * 2, color=INK, linewidth=2.5)
        for student, marker in enumerate("osD^v"[: values.shape[1]]):
            look = {"color": colour, "markersize": 7, "alpha": 0.75}
            axes.plot(values[order, student], marker, label=f"student {student + 1}", **look)
        axes.set_xticks(range(len(values)), [f"teacher\n{TEACHERS[k]}" for k in order])
        axes.set_ylabel(label)
        say_if_cut(axes)
        light_grid(axes)
    lower.legend(*left.get_legend_handles_labels(), loc="center", ncols=5)
    return figure


def words(runs: Runs) -> str:
    whole, teachers = square(runs, paths.UNSEEN_BEFORE, 100), square(runs, paths.TEACHER_ERRORS)[:, 0]
    threes, errors = components(whole), components(square(runs, paths.ERRORS_AFTER))
    share = threes["teacher"] ** 2 / sum(sd**2 for sd in threes.values())
    pairs = np.diag(whole)
    return f"""
Five teachers, each with five students of its own, {whole.size} runs in all. Of the variance of the 3s that
are recognised before the correction, {100 * share:.0f} % come from the teacher: standard deviations of
{threes["teacher"]:.2f} points by teacher, {threes["student"]:.2f} by student and {threes["both"]:.2f} by what
only both together make. Of the errors after the correction they are {errors["teacher"]:.1f},
{errors["student"]:.1f} and {errors["both"]:.1f}; the teachers themselves make {teachers.min():.0f} to
{teachers.max():.0f}. A mean over students of one teacher would say how well that teacher teaches. In the
studies each seed has a teacher of its own, so that their spread (here {pairs.std(ddof=1):.2f} points over the
five with equal seeds) holds both.

{{table}}

The estimates of the components are uncertain themselves: of five teachers, a standard deviation is known to
a factor of some 2. The seeds are ten apart, because the student of one seed starts from the same numbers as
the teacher of the next seed.
"""


STUDY = Study(
    "spread", __doc__, POINTS, table, draw, words, preset=WHOLE_PROBE, n_seeds=5, apart=10,
    caption="Five teachers, each with five students",
)  # fmt: skip
