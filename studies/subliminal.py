"""Through outputs that mean nothing?"""

from __future__ import annotations

from support.charts import BLIND, INK, light_grid
from support.report import markdown

import statistics

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from beyond.settings import DRAWN_DEFAULTS
from studies.charts import per_cent, study_figure
from studies.looks import DOTS
from studies.measured import between, percent
from studies.paths import ALL_BEFORE, TEACHER
from studies.study import Runs, Settings, Study, at
from studies.tables import percent_cell, points_cell

PRESET: Settings = {
    **DRAWN_DEFAULTS,
    "transfer_set": "noise", "background": -1.0, "temperature": 1.0, "batch_size": 256, "learning_rate": 1e-3,
    "lr_schedule": "constant", "jitter": 0, "n_epochs_teacher": 4, "n_epochs_student": 6,
}  # fmt: skip
N_SPARE = (2, 3, 10, 30)
WIDTHS = (64, 256, 1024)
STARTS = {"teacher": "the teacher's start", "own": "its own"}


def spare(n: int, width: int, start: str) -> Settings:
    sizes = (width, width)
    return {"spare_outputs": n, "student_start": start, "teacher_hidden": sizes, "student_hidden": sizes}


def named(n: int, width: int, start: str) -> str:
    outputs = f"{n} spare outputs" if n else "the ten classes themselves"
    return f"{outputs}, {width} units, {STARTS[start]}"


POINTS: dict[str, Settings] = {
    named(n, width, start): spare(n, width, start)
    for n, width in (*((n, 256) for n in (*N_SPARE, 0)), *((3, w) for w in WIDTHS if w != 256))
    for start in STARTS
}


def table(runs: Runs) -> str:
    found = []
    for point in POINTS.values():
        if point["student_start"] == "own" or not (copy := at(runs, point)):
            continue
        own = at(runs, point | {"student_start": "own"})
        n, width = point["spare_outputs"], point["student_hidden"][0]
        name = f"{n} spare outputs" if n else "the ten classes themselves"
        compared = [percent_cell(own, ALL_BEFORE), points_cell(copy, own, ALL_BEFORE)] if own else ["", ""]
        mine = [percent_cell(copy, path) for path in (TEACHER, ALL_BEFORE)]
        found.append([name, str(width), *mine, *compared])
    header = ["the student learns from", "units", "teacher", "student from the teacher's start",
              "student from its own", "difference"]  # fmt: skip
    return markdown(header, found)


def draw(question: str, runs: Runs) -> Figure:
    figure = study_figure(runs, question, (12, 5.2), DOTS)
    left, right = figure.subplots(1, 2, sharey=True)
    starts = (
        ("teacher", "from the teacher's initial weights", BLIND),
        ("own", "from weights of its own", INK),
    )
    sides: tuple[tuple[Axes, list[tuple[int, int]], str], ...] = (
        (left, [(n, 256) for n in (*N_SPARE, 0)],
         "spare outputs that the student learns from, 256 units per layer"),
        (right, [(3, width) for width in WIDTHS], "units per hidden layer, three spare outputs"),
    )  # fmt: skip
    for axes, sizes, words in sides:
        for start, label, colour in starts:
            for place, (n, width) in enumerate(sizes):
                mine = at(runs, POINTS[named(n, width, start)])
                if values := [100 * run.value(ALL_BEFORE) for run in mine]:
                    axes.plot([place] * len(values), values, "o", color=colour, markersize=5, alpha=0.6)
                    axes.plot(place, statistics.mean(values), "_", color=colour, markersize=28,
                              markeredgewidth=3, label=None if place else label)  # fmt: skip
        of_side = (
            (lambda n, width: n or "none: the ten\nclasses") if axes is left else (lambda n, width: width)
        )
        axes.set_xticks(range(len(sizes)), [str(of_side(*one)) for one in sizes])
        axes.axhline(10, color=INK, linestyle=":", linewidth=1, label="guessing")
        axes.set_xlabel(words)
        light_grid(axes)
    left.set_ylim(0, 100)
    left.set_ylabel("digits read by the student")
    left.yaxis.set_major_formatter(FuncFormatter(per_cent))
    left.legend(loc="center", bbox_to_anchor=(0.4, 0.45))
    return figure


def words(runs: Runs) -> str:
    def reads(n: int, width: int = 256, start: str = "teacher", path: str = ALL_BEFORE) -> str:
        return percent(at(runs, POINTS[named(n, width, start)]), path)

    own = [at(runs, POINTS[named(n, 256, "own")]) for n in N_SPARE]
    return f"""
Yes, for a student that starts from the teacher's initial weights. It learns from outputs that nothing ever
trained in its teacher, on uniform noise alone, and reads {reads(3)} % of the digits with three of them (its
teacher: {reads(3, path=TEACHER)} %), {reads(2)} % with two, {reads(30)} % with thirty. A student with
initial weights of its own reads only {between(own, ALL_BEFORE)} %, near chance, however many outputs it
hears. It learns much from noise only if it hears the ten classes themselves: {reads(0, start="own")} %.
With 64 units per layer three outputs carry {reads(3, 64)} %, with 1,024 they carry {reads(3, 1024)} %.

{{table}}

This is subliminal learning (Cloud et al. 2025, [arXiv:2507.14805](https://arxiv.org/abs/2507.14805)): one
step towards the teacher on any outputs moves weights that start alike towards the teacher's. Two hidden
layers, inputs from -1 to 1 (`--background -1`), T = 1, batches of 256 at a rate of 1e-3, 4 and 6 epochs of
60,000 images; nothing is corrected.
"""


STUDY = Study(
    "subliminal", __doc__, POINTS, table, draw, words, preset=PRESET, n_seeds=5,
    caption="Digits read through spare outputs",
)  # fmt: skip
