"""Does the correction mend a prior, or a slope?"""

from __future__ import annotations

from support.charts import AFTER, BEFORE, INK, OMITTED, OTHERS, light_grid
from support.checks import Check, dict_of, list_of, number, object_of, optional, whole
from support.console import Console, UserError
from support.intervals import interval
from support.regression import rank_correlation
from support.report import markdown

import argparse
import statistics
from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from beyond.settings import DRAWN_DEFAULTS, Config
from beyond.slopes import FACTORS, OFFSETS, measured_slopes
from runs.records import Further
from studies.charts import study_figure
from studies.corrections import CLASSES, CORRECTIONS, FOLDED, SMALL, THE_OFFSET, less_the_offset
from studies.study import WHOLE_PROBE, Run, Runs, Settings, Study, all_but, at, holds
from studies.tables import interval_cell, rows_of

NO_3S: Settings = {"omitted_class": (3,)}
USUAL, FEW = "without 3", NO_3S | SMALL
POINTS: dict[str, Settings] = {
    USUAL: NO_3S,
    **CLASSES,
    **FOLDED,
    "small, T = 1": FEW | {"temperature": 1.0},
    "small, T = 4": FEW | {"temperature": 4.0},
    "small, 2 epochs": FEW | {"n_epochs_student": 2},
    "small, 20 epochs": FEW | {"n_epochs_student": 20},
    "small, 1 % of the images": FEW | {"transfer_fraction": 0.01},
    "small, hard weight 0.5": FEW | {"hard_weight": 0.5},
    "small, images shifted": FEW | {"jitter_student": 2},
    "small, teacher of 1 epoch": FEW | {"n_epochs_teacher": 1},
    "small, teacher of 200 units": FEW | {"teacher_hidden": (200, 200)},
    "50 units": NO_3S | {"student_hidden": (50, 50)},
    "small, only 7 8": SMALL | {"omitted_class": all_but(7, 8), "n_epochs_student": 30},
    "small, contour lines": SMALL | {"transfer_set": "contours", **DRAWN_DEFAULTS, "transfer_images": 60_000},
}
LINEAR = {"pixels": "pixels", "random": "random ReLU features", "teacher": "the teacher's first layer"}

# ---- What each run measures --------------------------------------------------------------------------------

NUMBER = number()
UNSEEN_KEYS = ("ratio", "slope", "bias", "slope_on_others")
COUNTS = list_of(whole(0), 3)
CORRECTION = optional(object_of({"factor": NUMBER, "offset": NUMBER, "counts": COUNTS}))
HOLDS: dict[str, Check] = {
    "unseen": object_of(dict.fromkeys(UNSEEN_KEYS, list_of(NUMBER))),
    "seen": optional(object_of(dict.fromkeys((*UNSEEN_KEYS, "lowest_ratio", "highest_ratio"), NUMBER))),
    "ratio_on_training": list_of(NUMBER),
    "at_same_height": optional(list_of(optional(NUMBER), 2)),
    "corrections": optional(dict_of(CORRECTION)),
    "best_offset_on_training": optional(NUMBER),
    "area": optional(object_of({"student": NUMBER, "factor": optional(NUMBER), "teacher": NUMBER})),
    "predictors": optional(object_of({
        "linear": object_of(dict.fromkeys(LINEAR, object_of({"ratio": NUMBER, "residual": NUMBER}))),
        "nearest": NUMBER,
    })),
    "by_factor": optional(list_of(list_of(whole(0), len(FACTORS)), 3)),
    "by_offset": optional(list_of(list_of(whole(0), len(OFFSETS)), 3)),
    "points": optional(list_of(list_of(list_of(NUMBER), 2), 2)),
}  # fmt: skip


def further(arguments: argparse.Namespace, config: Config, console: Console) -> Further:
    """Raises UserError for a probe whose labels are not those of the first training images."""
    if config.probe != "training" or config.probe_share is not None or config.prior != "known":
        raise UserError(
            "--study slope corrects on training images; leave --probe, --probe-share, --prior out"
        )
    return Further("slope", measured_slopes)


def ratio(run: Run) -> float:
    """Student / teacher of the own class's logit, on test images of the classes left out: of 3, if it is."""
    omitted, ratios = run.config.omitted_class, run.value("further.unseen.ratio")
    return ratios[omitted.index(3)] if 3 in omitted and len(omitted) < 10 else statistics.mean(ratios)


def unseen(run: Run, key: str) -> float:
    return statistics.mean(run.value(f"further.unseen.{key}"))


def seen(run: Run, key: str) -> float | None:
    return None if run.value("further.seen") is None else run.value(f"further.seen.{key}")


def over(runs: Runs, value: Callable[[Run], float | None], digits: int = 3) -> str:
    """Its mean and interval over seeds, as a cell; "-" where it was not measured."""
    found = [v for run in runs if (v := value(run)) is not None]
    return interval_cell(interval(found), digits) if found else "-"


# ---- Shown -------------------------------------------------------------------------------------------------


def following_table(runs: Runs) -> str:
    rows = []
    for name, mine in rows_of(runs, POINTS):
        cells = [over(mine, ratio), over(mine, lambda run: unseen(run, "slope"))]
        cells += [over(mine, lambda run: unseen(run, "bias"), 2), over(mine, lambda run: seen(run, "ratio"))]
        rows.append([name, *cells, over(mine, lambda run: 100 * run.value("before.omitted_accuracy"), 1)])
    header = ["student", "ratio", "slope", "bias on others", "ratio, seen classes", "% right, unseen"]
    return markdown(header, rows)


def of_classes(runs: Runs) -> dict[int, list[Run]]:
    """The runs that left one class out and were the recipe otherwise, by class."""
    found = {point["omitted_class"][0]: at(runs, point) for point in CLASSES.values()}
    return {c: mine for c, mine in found.items() if mine and all(r.value("further.predictors") for r in mine)}


PREDICTORS: dict[str, str] = {
    "nearest image": "further.predictors.nearest",
    **{f"residual, {said}": f"further.predictors.linear.{name}.residual" for name, said in LINEAR.items()},
}


def mean_of(runs: Runs, path: str) -> float:
    return statistics.mean(run.value(path) for run in runs)


def correlations(runs: Runs) -> dict[str, tuple[float, float, float]]:
    """Of each predictor with the ratio: the rank correlation over classes left out, and its interval."""
    groups = list(of_classes(runs).values())
    ratios = [statistics.mean(map(ratio, mine)) for mine in groups]
    return {
        name: rank_correlation([mean_of(mine, path) for mine in groups], ratios)
        for name, path in PREDICTORS.items()
        if len(groups) > 3
    }


def classes_table(runs: Runs) -> str:
    rows = [
        [str(c), over(mine, ratio), *(f"{mean_of(mine, path):.2f}" for path in PREDICTORS.values())]
        for c, mine in of_classes(runs).items()
    ]
    if found := correlations(runs):
        rows.append(
            ["rank correlation", "", *(f"{r:+.2f} ({a:+.2f} to {b:+.2f})" for r, a, b in found.values())]
        )
    return markdown(["left out", "ratio", *PREDICTORS], rows)


def corrections_table(runs: Runs) -> str:
    """Of the recipe's student, and less the offset's errors of the small ones."""
    rows = []
    for name, (needs, of) in CORRECTIONS.items():
        usual, small = ([one for run in at(runs, p) if (one := of(run, runs))] for p in (NO_3S, FEW))
        if not (usual or small):
            continue
        found = [
            f"{statistics.mean(getattr(one, key) for one in usual or small):{form}}"
            for key, form in (("factor", ".2f"), ("offset", "+.2f"))
        ]
        for k in range(3):
            found.append(f"{statistics.mean(one.counts[k] for one in usual):.1f}" if usual else "-")
        less = [less_the_offset(name, runs, points) for points in ([NO_3S], [FEW], [*CLASSES.values()])]
        found += ["" if name == THE_OFFSET else "-" if one is None else str(one) for one in less]
        rows.append([name, needs, *found])
    header = ["correction", "its setting needs", "factor", "offset", "errors", "on 3s", "false 3s", "less the offset's",
              "small student", "small, ten classes"]  # fmt: skip
    return markdown(header, rows, n_left=2)


def table(runs: Runs) -> str:
    return "\n\n".join(part(runs) for part in (following_table, classes_table, corrections_table))


def draw(question: str, runs: Runs) -> Figure:
    shown = next((run for run in runs if run.value("further.points")), None)
    figure = study_figure(runs, question, (12.5, 6), "left: one seed, right: mean")
    left, right = figure.subplots(1, 2, width_ratios=(1.2, 1))
    draw_points(left, shown)
    draw_trade(right, at(runs, NO_3S))
    return figure


def draw_points(axes: Axes, run: Run | None) -> None:
    """The student's logit for 3 against its teacher's; two lines through the 3s, a slope's and a prior's."""
    axes.set_xlabel("the teacher's logit for 3, less the image's mean")
    axes.set_ylabel("the student's, which never saw a 3")
    axes.set_title("what lacks on a 3 grows with the logit")
    light_grid(axes, "both")
    axes.axline((0, 0), slope=1, color=INK, linewidth=1, label="student = teacher")
    if run is not None:
        (t3, s3), (t, s) = (np.asarray(part) for part in run.value("further.points"))
        axes.plot(t, s, "o", color=OTHERS, markersize=4, alpha=0.7, label="other digits")
        axes.plot(t3, s3, "D", color=OMITTED, markersize=4, alpha=0.7, label="3s")
        axes.plot([0, t3.max()], [0, ratio(run) * t3.max()], color=OMITTED, label=f"{ratio(run):.2f} of it")
        ends = np.array([0, t3.max()])
        axes.plot(ends, ends + (s3 - t3).mean(), ":", color=INK, label="were it a prior: less by one number")
    axes.legend(loc="upper left")


def draw_trade(axes: Axes, runs: Runs) -> None:
    """The curve between seen and unseen, in errors: whichever way the logit for 3 is raised."""
    for what, name, marker, colour in (
        ("by_offset", "offset", "o", AFTER), ("by_factor", "factor", "s", BEFORE)
    ):  # fmt: skip
        counted = [run.value(f"further.{what}") for run in runs]
        chosen = [one for run in runs if (one := (run.value("further.corrections") or {}).get(name))]
        if not all(counted) or not chosen:
            continue
        wrong, missed, _ = np.mean(counted, axis=0)
        axes.plot(missed, wrong - missed, color=colour, label=f"{name}, larger and larger")
        wrong, missed, _ = np.mean([one["counts"] for one in chosen], axis=0)
        setting = statistics.mean(one[name] for one in chosen)
        axes.plot(
            missed,
            wrong - missed,
            marker,
            color=colour,
            markersize=9,
            label=f"set by frequencies: {setting:.2f}",
        )
    axes.set_xlabel("3s that are missed")
    axes.set_ylabel("errors on other digits")
    axes.set_title("a factor and an offset trade alike")
    light_grid(axes, "both")
    if axes.lines:
        axes.legend(loc="upper right")


def words(runs: Runs) -> str:
    return f"""
{{table}}

{{command}}
"""


STUDY = Study(
    "slope", __doc__, POINTS, table, draw, words, preset=WHOLE_PROBE, n_seeds=5, apart=10, further=further,
    further_holds=HOLDS, caption="The teacher's logit for 3, and its student's",
)  # fmt: skip
