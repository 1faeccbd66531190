"""Does the correction mend a prior, or a slope?"""

from __future__ import annotations

from support.charts import AFTER, BEFORE, INK, OMITTED, OTHERS, light_grid
from support.checks import Check, dict_of, list_of, number, object_of, optional, whole
from support.console import Console, UserError
from support.intervals import Interval, interval
from support.regression import rank_correlation
from support.report import markdown

import argparse
import statistics
from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from beyond.settings import DRAWN_DEFAULTS, Config
from beyond.slopes import FACTORS, GRIDS, OFFSETS, measured_slopes
from runs.records import Further
from studies.charts import study_figure
from studies.corrections import (
    CLASSES,
    CORRECTIONS,
    FOLDED,
    GLUED,
    MARGIN,
    SMALL,
    THE_OFFSET,
    WITHOUT_ANY,
    less_the_offset,
)
from studies.measured import holds
from studies.study import WHOLE_PROBE, Run, Runs, Settings, Study, all_but, at
from studies.tables import interval_cell, rows_of

NO_3S: Settings = {"omitted_class": (3,)}
USUAL, FEW = "without 3", NO_3S | SMALL
CONTOURS: Settings = DRAWN_DEFAULTS | {"transfer_set": "contours", "transfer_images": 60_000}
VARIED: dict[str, tuple[Settings, str]] = {  # about which the others stand, and what is said of each
    "small, T = 1": (FEW | {"temperature": 1.0}, "at a temperature of 1"),
    "small, T = 4": (FEW | {"temperature": 4.0}, "at 4"),
    "small, 2 epochs": (FEW | {"n_epochs_student": 2}, "after 2 epochs instead of 6"),
    "small, 20 epochs": (FEW | {"n_epochs_student": 20}, "after 20"),
    "small, 1 % of the images": (FEW | {"transfer_fraction": 0.01}, "from 1 % of the images"),
    "small, hard weight 0.5": (FEW | {"hard_weight": 0.5}, "with half of the weight on hard labels"),
    "small, images shifted": (FEW | {"jitter_student": 2}, "with shifted images"),
    "small, teacher of 1 epoch": (FEW | {"n_epochs_teacher": 1}, "from a teacher of one epoch"),
    "small, teacher of 200 units": (FEW | {"teacher_hidden": (200, 200)}, "from a teacher of 200 units"),
    "50 units": (NO_3S | {"student_hidden": (50, 50)}, "with 50 units"),
    "small, only 7 8": (
        SMALL | {"omitted_class": all_but(7, 8), "n_epochs_student": 30}, "where 7s and 8s alone are seen"
    ),
    "small, contour lines": (SMALL | CONTOURS, "for a student of contour lines (the mean of ten classes)"),
}  # fmt: skip
POINTS = {USUAL: NO_3S, **CLASSES, **FOLDED, **{name: settings for name, (settings, _) in VARIED.items()}}
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
    "at_best": optional(object_of(dict.fromkeys(GRIDS, COUNTS))),
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


def less_the_small(mine: Runs, runs: Runs) -> str:
    """How the ratio differs from that of the recipe's student with 200 units, paired by seed, as a cell."""
    theirs = {run.config.seed: ratio(run) for run in at(runs, FEW)}
    found = [ratio(run) - theirs[run.config.seed] for run in mine if run.config.seed in theirs]
    return "" if not found or mine[0].settings == FEW else interval(found).text("+.3f")


# ---- Shown -------------------------------------------------------------------------------------------------


def following_table(runs: Runs) -> str:
    rows = []
    for name, mine in rows_of(runs, POINTS):
        cells = [over(mine, ratio), less_the_small(mine, runs)]
        cells += [over(mine, lambda run: unseen(run, "slope"))]
        cells += [over(mine, lambda run: unseen(run, "bias"), 2), over(mine, lambda run: seen(run, "ratio"))]
        rows.append([name, *cells, over(mine, lambda run: 100 * run.value("before.omitted_accuracy"), 1)])
    header = ["student", "ratio", "less that of the small one", "slope", "bias on others",
              "ratio, seen classes", "% right, unseen"]  # fmt: skip
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


BEST_OF = {THE_OFFSET: "offset", "factor, by frequencies": "factor", "factor and offset": "both"}


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
        at_its_best = [run.value("further.at_best") for run in at(runs, NO_3S)] if name in BEST_OF else []
        found.append(f"{statistics.mean(one[BEST_OF[name]][0] for one in at_its_best):.1f}"
                     if at_its_best and all(at_its_best) else "")  # fmt: skip
        less = [less_the_offset(name, runs, points) for points in ([NO_3S], [FEW], [*CLASSES.values()])]
        found += ["" if name == THE_OFFSET else "-" if one is None else str(one) for one in less]
        rows.append([name, needs, *found])
    header = ["correction", "its setting needs", "factor", "offset", "errors", "on 3s", "false 3s",
              "errors at its best", "less the offset's", "small student", "small, ten classes"]  # fmt: skip
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
        said = f"set by frequencies: {setting:.2f}"
        axes.plot(missed, wrong - missed, marker, color=colour, markersize=9, label=said)
    axes.set_xlabel("3s that are missed")
    axes.set_ylabel("errors on other digits")
    axes.set_title("as far as they are set, both trade alike")
    axes.set_ylim(bottom=0)
    light_grid(axes, "both")
    if axes.lines:
        axes.legend(loc="upper right")


def judged(found: Interval) -> str:
    """What a difference from the offset says, by the margin that was declared before looking."""
    if found.mean > MARGIN:
        return "more than the margin"
    sure = found.mean + found.half <= MARGIN
    return "within the margin" + ("" if sure else " in the mean, though its interval reaches beyond it")


def words(runs: Runs) -> str:
    usual, few = at(runs, NO_3S), at(runs, FEW)
    r, r_seen, r_few = (
        f"{statistics.mean(values):.3f}"
        for values in (map(ratio, usual), [run.value("further.seen.ratio") for run in usual], map(ratio, few))
    )
    heights = [statistics.mean(run.value(f"further.at_same_height.{k}") for run in usual) for k in (0, 1)]
    slope = over(usual, lambda run: unseen(run, "slope"), 2)
    bias = over(usual, lambda run: unseen(run, "bias"), 3)
    holds("others are followed where 3s are not", heights[1] - heights[0] > 0.1)
    by_class = {c: statistics.mean(map(ratio, mine)) for c, mine in of_classes(runs).items()}
    worst, best = min(by_class, key=by_class.get), max(by_class, key=by_class.get)
    found = {name: f"{v:+.2f} ({a:+.2f} to {b:+.2f})" for name, (v, a, b) in correlations(runs).items()}
    pixels, near = found["residual, pixels"], found["nearest image"]
    first = found["residual, the teacher's first layer"]
    holds("pixels tell the classes apart", correlations(runs)["residual, pixels"][2] < 0)

    def less(name: str) -> tuple[Interval, Interval]:
        """Of the recipe's student, and of the small ones over ten classes."""
        return less_the_offset(name, runs, [NO_3S]), less_the_offset(name, runs, [*CLASSES.values()])

    glued, factor, stacked = less(GLUED), less("factor, by frequencies"), less("offset, calibrated stacking")
    others = less("factor of nine other classes")
    without = less_the_offset(WITHOUT_ANY, runs, [NO_3S])
    area = {k: f"{mean_of(usual, f'further.area.{k}'):.4f}" for k in ("student", "factor", "teacher")}
    holds("a prior's correction is far too much", less("offset, logit adjustment")[0].mean > 20)
    glued_factor = f"{statistics.mean(run.value('further.corrections.glued.factor') for run in usual):.2f}"
    held_out = {name: f"{mean_of(usual, f'further.at_best.{name}.0'):.1f}" for name in GRIDS}
    unlabelled = f"{mean_of(usual, 'further.corrections.offset.counts.0'):.1f}"
    points = {name: f"{statistics.mean(map(ratio, mine)):.2f}" for name, mine in rows_of(runs, POINTS)}
    said = ", ".join(f"{points[name]} {how}" for name, (_, how) in VARIED.items() if name in points)
    return f"""
On a 3 the student that never saw one gives {r} of its teacher's logit for 3, both less the image's mean; on
images of the nine classes that it saw it gives {r_seen} of their own. On images that are no 3 its logit for
3 is hardly biased: {bias} is what it differs in the mean. The paper reads what is lacking as the frequency of
3s, which the transfer set gets wrong. That would be one number for every image, and the line through the 3s
would have a slope of 1. It has one of {slope}: what lacks grows with the logit. Nor is it the height of
the logit that the student does not reach. Where its teacher's is from 6 to 12, the student gives
{heights[1]:.2f} of it on other digits, and {heights[0]:.2f} on 3s. So it follows its teacher on whatever is
like what it has seen, and part of the way beyond; and the bias is not the missing prior but patches a slope.

**What does the ratio depend on?** Most rows of the table are of students of 200 units, of which many can be
trained; there the ratio is {r_few}. It is {said}. Left out alone, class {worst} keeps {by_class[worst]:.2f}
and class {best} {by_class[best]:.2f}.

**What predicts it?** Linear students, by ridge regression from images without the class to the teacher's
logits, in closed form. The more the one of pixels lacks on a class, the lower is that class's ratio: over
the ten classes the rank correlation is {pixels}. From the teacher's first hidden layer it is {first}, and
how far an image is from the nearest of the transfer set tells as little: {near}. (In brackets the 95 %
interval over classes, of which there are only ten.)

**Which correction?** Errors less the offset's: a factor on the logit, set by the same frequencies, makes
{factor[0]} with the recipe's student and {factor[1]} with the small ones over ten classes. On the
way between errors on 3s and on other digits (right picture) both move alike as far as frequencies set them;
beyond that a factor costs more other digits, since it raises those that need it least. The area under the
curve of accuracies on seen and unseen classes at every offset (calibrated stacking, Chao et al. 2016) is
{area["student"]}, with the factor below the offsets {area["factor"]}, of the teacher {area["teacher"]}. Logit
adjustment (Menon et al. 2021), which takes the soft targets' mean probability of "3" for a prior, asks for
far too large an offset. At its best, chosen with labels on one half of the test images and counted on the
other, an offset makes {held_out["offset"]} errors, a factor {held_out["factor"]}, both
{held_out["both"]}; set without any label the offset makes {unlabelled}.

**Can it be set without any image of a 3?** The declared margin was {MARGIN:g} errors more than the offset's,
over five seeds. The factor that nine other classes would need, each left out in turn of students that saw
the 3, makes {others[1]}
more, over ten classes ({judged(others[1])}), and the one from students that never saw the 3 either
{without} with the
recipe's student ({judged(without)}): classes differ too much. The offset that was best for the nine others,
on training images with their labels, makes {stacked[1]} ({judged(stacked[1])}). But there are images that
leave the transfer set in the direction of a 3 and are none: halves of two images that the student learned
from, glued together, which its teacher takes for a 3. On them the student gives a similar part of its
teacher's logit, and one over that, {glued_factor}, is a factor that no image of a 3 and no label has set.
Less the offset's errors it makes {glued[0]} with the recipe's student ({judged(glued[0])}), and {glued[1]}
with small ones over ten classes ({judged(glued[1])}). (Halves were taken among five kinds of
images after a look at two of the seeds, at test 3s, too. Everything else that sets a correction is of
training images.)

{{table}}

"ratio": student / teacher of the own class's logit on test images of the classes left out (of 3, if it is
one of several); "slope": of the least squares line; "bias on others": the mean difference on all other
images. "residual": root mean square of what the linear student lacks, over that of the teacher's logit;
"nearest image": Euclidean, pixels from 0 to 1. "errors at its best": of the recipe's student, the setting
chosen with labels on one half of the test images and counted on the other. "less the offset's": test errors,
paired by seed, with the 95 % interval, of the recipe's student, of the small one, and of small ones, the mean
over all ten classes left out in turn; settings between two at which errors were counted are interpolated.
Seeds are 0, 10, 20, 30 and 40.
"""


STUDY = Study(
    "slope", __doc__, POINTS, table, draw, words, preset=WHOLE_PROBE, n_seeds=5, apart=10, further=further,
    further_holds=HOLDS, caption="The teacher's logit for 3, and its student's",
)  # fmt: skip
