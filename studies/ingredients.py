"""Which transformations help, and in whose training?"""

from __future__ import annotations

from support.charts import AFTER, light_grid
from support.charts import TEACHER as TEACHER_COLOUR
from support.report import markdown

import numpy as np
from matplotlib.figure import Figure

from beyond.settings import RECIPES, TRANSFORMATIONS
from studies.charts import draw_curve, legend_below, study_figure, unseen
from studies.measured import count, mean_sd, paired_difference, spread
from studies.paths import ERRORS_AFTER, TEACHER_ERRORS
from studies.study import Run, Runs, Settings, Study, at

KINDS = {
    "none": (),
    "shifts": ("jitter",),
    "affine": ("rotation", "scaling", "shear"),
    "elastic": ("elastic",),
    "all": ("jitter", "rotation", "scaling", "shear", "elastic"),
}
WHOSE = ("the teacher alone", "the student alone", "both")


def point(kind: str, whose: str) -> Settings:
    """The settings that turn one kind of transformation on, as far as the recipes go, and all others off."""
    on = {name for name in KINDS[kind] if whose != WHOSE[1]}
    on |= {f"{name}_student" for name in KINDS[kind] if whose != WHOSE[0]}
    return {name: limit if name in on else 0 * limit for name, limit in TRANSFORMATIONS.items()}


POINTS: dict[str, Settings] = {
    f"{kind}, {whose}": point(kind, whose)
    for kind in KINDS
    for whose in (WHOSE if kind != "none" else ("both",))
}


def runs_at(runs: Runs, kind: str, whose: str) -> list[Run]:
    """Those of one point; without transformations it is the same point whoever does without."""
    return at(runs, POINTS[f"{kind}, {'both' if kind == 'none' else whose}"])


def table(runs: Runs) -> str:
    """Test errors of the teacher and of the corrected student, and what both together gain, seed by seed."""
    plain, rows = runs_at(runs, "none", "both"), []
    for kind in KINDS:
        cells = [mean_sd(mine, ERRORS_AFTER) for whose in WHOSE if (mine := runs_at(runs, kind, whose))]
        both = runs_at(runs, kind, "both")
        if both and len(cells) == len(WHOSE):
            gain = "" if kind == "none" else str(paired_difference(both, plain, ERRORS_AFTER) or "")
            on_unseen = mean_sd(both, "after.omitted_errors")
            rows.append([kind, mean_sd(both, TEACHER_ERRORS), *cells, on_unseen, gain])
    columns = ["transformations", "teacher", *(f"student: {whose}" for whose in WHOSE)]
    return markdown([*columns, "of these, on 3s", "both less none (95 % interval)"], rows)


def draw(question: str, runs: Runs) -> Figure:
    """Errors of the student, by what is done to the images and in whose training; left all, right on 3s."""
    figure = study_figure(runs, f"{question}  Errors after the bias correction", (12, 5.2))
    whose = {
        "the teacher alone": ("student (teacher's images)", {"marker": "v", "markerfacecolor": "white"}),
        "the student alone": ("student (its own)", {"marker": "s", "markerfacecolor": "white"}),
        "both": ("student (both's)", {"marker": "D", "markersize": 6}),
    }
    kinds = [kind for kind in KINDS if runs_at(runs, kind, "both")]
    for axes, path, title in zip(
        figure.subplots(1, 2),
        (ERRORS_AFTER, "after.omitted_errors"),
        (f"all {runs[0].value('data.n_test'):,} test images", f"{unseen(runs)}, never seen"),
        strict=True,
    ):
        for place, (who, (label, style)) in enumerate(whose.items()):
            groups = [runs_at(runs, kind, who) for kind in kinds]
            xs = np.arange(len(kinds)) + 0.16 * (place - 1)
            draw_curve(axes, xs, groups, path, color=AFTER, linestyle="none", label=label, **style)
        groups = [runs_at(runs, kind, "both") for kind in kinds]
        means = [spread(group, path.replace("after", "teacher"))[0] for group in groups]
        dash = {"color": TEACHER_COLOUR, "markersize": 30, "markeredgewidth": 3}
        axes.plot(range(len(kinds)), means, "_", label="teacher", **dash)
        axes.set_xticks(range(len(kinds)), kinds)
        axes.set_xlabel("what is done to the images (in brackets: to whose)")
        axes.set_title(title)
        axes.set_ylim(bottom=0)
        light_grid(axes)
        legend_below(axes, 2)
    figure.axes[0].set_ylabel("test errors")
    return figure


def words(runs: Runs) -> str:
    def errors(kind: str, whose: str = "both") -> str:
        return count(runs_at(runs, kind, whose), ERRORS_AFTER)

    changed = [kind for kind in KINDS if kind != "none"]
    alone = [run for kind in changed for run in runs_at(runs, kind, "the student alone")]
    gain = paired_difference(alone, runs_at(runs, "none", "both"), ERRORS_AFTER)
    return f"""
Elastic ones gave the fewest errors here, and most of what a student gains, it gains through a better
teacher. In 10 + 10 epochs the corrected student goes from {errors("none")} errors to {errors("elastic")}
when both networks see elastic fields, and to {errors("all")} when both see all transformations at once.
Perhaps 10 epochs are too few for all of them. (`best`, with six and four times as many epochs, uses all.)
Shifts alone give {errors("shifts")} errors, affine transformations alone {errors("affine")}. The interval
of the affine ones overlaps that of the elastic ones.

Done to the teacher's images alone, elastic fields give {errors("elastic", "the teacher alone")} errors;
done to the student's alone, {errors("elastic", "the student alone")}. Over all four kinds, transforming the
student's images alone changes its errors by {gain.plus_minus(1)}. The unseen 3s gain nothing here.

{{table}}

Test errors; the students never saw a 3, and their bias is corrected without test labels. "teacher": its
errors with its own images transformed. The three columns after it are those of students when the
transformation is done to the teacher's images alone, to the student's alone, and to both. "shifts" are the
jitter of the recipe `middle`, "affine" its rotation, scaling and shear, "elastic" its elastic field, each
as far as there: further for the student than for the teacher. Batches and rates are those of `middle`, too;
both trainings have 10 epochs.
"""


STUDY = Study(
    "ingredients", __doc__, POINTS, table, draw, words, caption="Transformations one by one",
    preset=RECIPES["middle"] | {"n_epochs_teacher": 10, "n_epochs_student": 10},
)  # fmt: skip
