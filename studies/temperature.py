"""Which temperature, for which size of student?"""

from __future__ import annotations

from support.charts import INK, light_grid, log_ticks, percent_axis

from matplotlib.figure import Figure

from studies.charts import draw_curve, study_figure, unseen
from studies.looks import SEEN_STYLE, UNSEEN_AFTER_STYLE, UNSEEN_BEFORE_STYLE
from studies.measured import between, count, percent
from studies.paths import ERRORS_BEFORE, SEEN_AFTER, UNSEEN_AFTER, UNSEEN_BEFORE
from studies.study import WHOLE_PROBE, Run, Runs, Settings, Study, at, choices, where
from studies.tables import classes_seen, metric_table

TEMPERATURES = (1.0, 2.0, 2.5, 3.0, 4.0, 6.0, 8.0, 12.0, 20.0, 50.0)
EPOCHS_BY_UNITS = {800: 6, 300: 10, 30: 20}  # small nets learn longer, and cost less
POINTS: dict[str, Settings] = {
    f"T = {t:g}, {n} units, {classes_seen(omitted)}": {
        "temperature": t, "student_hidden": (n, n), "omitted_class": omitted, "n_epochs_student": epochs,
    }
    for n, epochs in EPOCHS_BY_UNITS.items()
    for omitted in ((3,), ())
    for t in TEMPERATURES
}  # fmt: skip


def draw(question: str, runs: Runs) -> Figure:
    left_out = [run for run in runs if run.config.omitted_class]
    never = unseen(left_out) if left_out else "a class"
    title = f"{question}  Errors with all classes; recovery of unseen {never}"
    figure = study_figure(runs, title, (12, 7.4))
    sizes = choices(runs, "student_hidden")[::-1]
    grid = figure.subplots(2, len(sizes), sharex=True, sharey="row", squeeze=False)
    temperatures = choices(runs, "temperature")
    for column, hidden in zip(grid.T, sizes, strict=True):
        mine = where(runs, student_hidden=hidden)
        everything, partial = where(mine, omitted_class=()), [run for run in mine if run.config.omitted_class]
        groups = [where(everything, temperature=t) for t in temperatures]
        draw_curve(column[0], temperatures, groups, ERRORS_BEFORE, color=INK, marker="o")
        column[0].set_title(f"student of {len(hidden)} x {hidden[0]} units")
        light_grid(column[0])
        groups = [where(partial, temperature=t) for t in temperatures]
        for path, label, style in (
            (UNSEEN_BEFORE, f"{never}, before the correction", UNSEEN_BEFORE_STYLE),
            (UNSEEN_AFTER, f"{never}, after it", UNSEEN_AFTER_STYLE),
            (SEEN_AFTER, "other classes, after it", SEEN_STYLE),
        ):
            draw_curve(column[1], temperatures, groups, path, label=label, **style)
        percent_axis(column[1])
        column[1].set_xlabel("temperature T (log scale)")
        log_ticks(column[1], (1, 2, 4, 8, 20, 50))
    grid[0, 0].set_ylabel("test errors,\ntransfer set of all classes")
    grid[1, 0].set_ylabel(f"test accuracy,\ntransfer set without {never}")
    grid[0, 0].set_ylim(bottom=0)  # shared by its row
    grid[1, 0].set_ylim(0, 1.03)
    figure.legend(*grid[1, 0].get_legend_handles_labels(), loc="outside lower left", ncols=3)
    return figure


def words(runs: Runs) -> str:
    def of(t: float, units: int, seen: str = "without 3") -> list[Run]:
        return at(runs, POINTS[f"T = {t:g}, {units} units, {seen}"])

    hot = [of(t, 800) for t in (8.0, 12.0, 20.0, 50.0)]
    errors = {t: count(of(t, 30, "all classes"), ERRORS_BEFORE) for t in (1.0, 2.5, 3.0, 8.0)}
    return f"""
For students of 300 and 800 units that see all classes the temperature makes little difference. To recover
an unseen class it matters: with 800 units the 3s recognised before the correction rise from
{percent(of(1.0, 800), UNSEEN_BEFORE)} % at T = 1 to {percent(of(2.5, 800), UNSEEN_BEFORE)} % at T = 2.5 and
to {between(hot, UNSEEN_BEFORE)} % from T = 8 on.

A student of 30 units is another matter. With all classes it makes {errors[2.5]} errors at T = 2.5,
{errors[1.0]} and {errors[3.0]} at 1 and 3, and {errors[8.0]} at 8. Without 3s it makes the fewest errors at
T = 2.5 to 3. The share of unseen 3s that it recognises after the correction is highest there, too
({percent(of(3.0, 30), UNSEEN_AFTER)} %); before the correction it is highest at T = 20
({percent(of(20.0, 30), UNSEEN_BEFORE)} %, and {percent(of(3.0, 30), UNSEEN_BEFORE)} % at T = 3). Perhaps it
is too small to follow all that softer targets say; that is a guess.

{{details}}
"""


STUDY = Study(
    "temperature", __doc__, POINTS, metric_table(POINTS), draw, words, preset=WHOLE_PROBE,
    caption="Temperature",
)  # fmt: skip
