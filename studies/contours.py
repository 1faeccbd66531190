"""Taught by contour lines of noise: what matters?"""

from __future__ import annotations

from support.intervals import interval
from support.report import markdown

from matplotlib.figure import Figure

from beyond.settings import DRAWN_DEFAULTS
from studies.charts import draw_rows, error_scale, legend_below, study_figure
from studies.looks import ALL_SERIES, DOTS
from studies.measured import holds, percent
from studies.paths import ALL_AFTER, ALL_BEFORE, TEACHER
from studies.study import Runs, Settings, Study, at
from studies.tables import percent_cell, points_cell, rows_of

USUAL: Settings = {
    "transfer_set": "contours", **DRAWN_DEFAULTS, "n_epochs_student": 8, "temperature": 20.0,
    "n_epochs_teacher": 4,
}  # fmt: skip
MARGIN = 0.2  # points: two standard deviations that 98.4 % have over test sets of 10,000 are 0.25
N_IMAGES = (1_000, 10_000, 60_000)  # different ones in all
POINTS: dict[str, Settings] = {
    "T = 20, new images in each of 8 epochs, teacher of 4": USUAL,
    **{f"T = {t:g}": USUAL | {"temperature": t} for t in (1.0, 4.0)},
    **{f"{n:,} images, again and again": USUAL | {"transfer_images": n} for n in N_IMAGES},
    "teacher of 1 epoch": USUAL | {"n_epochs_teacher": 1},
    "teacher of 12 epochs": USUAL | {"n_epochs_teacher": 12},
    "biases set on noise, too": USUAL | {"probe": "transfer"},
}


def table(runs: Runs) -> str:
    found, usual = [], at(runs, USUAL)
    for name, mine in rows_of(runs, POINTS):
        less = points_cell(mine, usual, ALL_AFTER) if mine != usual else ""
        found.append([name, *(percent_cell(mine, path) for path in (TEACHER, ALL_BEFORE, ALL_AFTER)), less])
    return markdown(["contours", "teacher", "before", "after", "after, less the first row"], found)


def draw(question: str, runs: Runs) -> Figure:
    figure = study_figure(runs, question, (12, 5.4), DOTS)
    axes = figure.subplots()
    draw_rows(axes, rows_of(runs, POINTS), ALL_SERIES)
    error_scale(axes, 50)
    words = "test accuracy of a student that saw contour lines of noise alone (stretched towards 100 %)"
    axes.set_xlabel(words)
    legend_below(axes, 2, -0.14, 0.4)
    return figure


def words(runs: Runs) -> str:
    def reads(name: str, path: str = ALL_BEFORE) -> str:
        return percent(at(runs, POINTS[name]), path, 1)

    few, some, many = (reads(f"{n:,} images, again and again") for n in N_IMAGES)
    usual = "T = 20, new images in each of 8 epochs, teacher of 4"
    one, twelve = "teacher of 1 epoch", "teacher of 12 epochs"
    noise = at(runs, POINTS["biases set on noise, too"])
    gained = interval([100 * (run.value(ALL_AFTER) - run.value(ALL_BEFORE)) for run in noise])
    holds("alike", abs(gained.mean) + gained.half < MARGIN)
    return f"""
How many different images there are, and how good the teacher is; the temperature matters little. 1,000
images, shown again and again in as many steps, teach {few} % of the digits, 10,000 teach {some} %, 60,000
teach {many} %, and 480,000, each seen once, {reads(usual)} %. A teacher of one epoch ({reads(one, TEACHER)}
%) has a student of {reads(one)} %, one of twelve ({reads(twelve, TEACHER)} %) a student of {reads(twelve)}
%. With T = 1 instead of 20 the student reads {reads("T = 1")} %.

**And with no digit at any step?** If the biases, too, are set on noise, so that the student says each class
there as often as its teacher does, it reads {reads("biases set on noise, too", ALL_AFTER)} %, where it
reads {reads(usual)} % uncorrected: a difference of {gained} points, less than the margin of {MARGIN}
(declared after these runs) within which we call two accuracies alike.

{{table}}

(Recipe "fast", 8 student epochs of 60,000 images.)
"""


STUDY = Study(
    "contours", __doc__, POINTS, table, draw, words, n_seeds=5,
    caption="Temperature, number of images, teacher",
)  # fmt: skip
