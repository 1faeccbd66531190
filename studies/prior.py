"""Must one know how often 3s occur?"""

from __future__ import annotations

from support import intervals
from support.charts import AFTER, BEFORE, INK, OTHERS, light_grid, log_ticks
from support.charts import TEACHER as TEACHER_COLOUR
from support.checks import dict_of, is_object, whole
from support.data import Data
from support.experiment import Experiment
from support.intervals import Interval, interval
from support.offsets import errors_by_offset
from support.report import markdown
from support.settings import N_CLASSES
from support.tiles import Workers

import math
import statistics
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from beyond.probes import mean_probabilities, probe_images, probe_labels
from distillation_mnist_omitted_3 import correct_bias, predict
from runs.records import Further
from studies.charts import above_a_legend, per_cent, study_figure
from studies.looks import DOTS
from studies.measured import count, holds, mean
from studies.paths import BEST, ERRORS_AFTER
from studies.shares import black_box_shares, calibrated_em_shares
from studies.study import WHOLE_PROBE, Run, Runs, Settings, Study, at

SHARES = (0.01, 0.1, 0.3)


def share_name(share: float) -> str:
    return f"training images, of which {100 * share:g} % are 3s"


PROBES: dict[str, Settings] = {
    "training images": {"probe": "training"},
    "the first 5,000 training images": {"probe_size": 5000},
    "the test images": {"probe": "test"},
    **{share_name(share): {"probe_share": share} for share in SHARES},
}
POINTS: dict[str, Settings] = {
    f"{name}, prior {prior}": {"omitted_class": (3,), **probe, "prior": prior}
    for name, probe in PROBES.items()
    for prior in ("known", "em")
}
OFFSET, SHARE = "bias_correction.offsets.0", "bias_correction.target_frequencies.0"


NONE, TRAINING, TRUTH = "no correction", "the training labels", "the probe's own labels"
TEACHER, EM = "the teacher's mean answer", "EM"
CALIBRATED, BLACK_BOX = "EM, calibrated with labels", "black-box estimation, with labels"
WAYS = (TRUTH, TEACHER, TRAINING, EM, CALIBRATED, BLACK_BOX)
DRAWN_WAYS = {  # how each is drawn
    TEACHER: {"color": TEACHER_COLOUR, "marker": "o", "linestyle": "-", "linewidth": 2},
    TRAINING: {"color": INK, "marker": "s", "linestyle": "--"},
    EM: {"color": AFTER, "marker": "D", "linestyle": "-"},
    CALIBRATED: {"color": AFTER, "marker": "v", "linestyle": ":"},
    BLACK_BOX: {"color": OTHERS, "marker": "^", "linestyle": ":"},
    NONE: {"color": BEFORE, "marker": "x", "linestyle": "-."},
}
MARGIN = 12  # errors: about a standard deviation of 150 over test sets of 10,000
SHIFTED = tuple(share_name(share) for share in (SHARES[0], SHARES[-1]))
TABLE_PROBES = {  # and how the table calls them
    "training images": "training images", **{share_name(share): f"{100 * share:g} % 3s" for share in SHARES},
}  # fmt: skip
N_LABELLED = 10_000  # the last training images: what two of the estimates learn from


def measure(experiment: Experiment, workers: Workers, images: Data | None) -> dict[str, Any]:
    """What each way of choosing the share of 3s says and does: for the runs whose share is known.

    Offsets match the mean probability of a 3 on the probe to the share, as the core does. The labels that
    black-box estimation and calibrated EM need are of the last training images, 3s among them.
    """
    config, data = experiment.config, experiment.data
    if config.prior != "known":
        return {"ways": {}, "n_omitted": 0}
    teacher, student = experiment.teacher.network, experiment.student.network
    omitted, probe = config.omitted_class[0], experiment.probe_logits
    labelled, labels = data.train_images[-N_LABELLED:], data.train_labels[-N_LABELLED:].astype(int)
    logits = predict(student, labelled, workers)[:, :N_CLASSES].astype(np.float64)
    answers = mean_probabilities(predict(teacher, probe_images(config, data), workers)[:, :N_CLASSES])
    shares = {
        TRAINING: (data.train_labels == omitted).mean(),
        TRUTH: (probe_labels(config, data) == omitted).mean(),
        TEACHER: answers[omitted],
        BLACK_BOX: black_box_shares(logits.argmax(axis=1), labels, probe.argmax(axis=1), N_CLASSES)[omitted],
        CALIBRATED: calibrated_em_shares(logits, labels, probe.astype(np.float64))[omitted],
    }
    ways: dict[str, Any] = {NONE: {"share": None, "offset": 0.0}}
    for name, share in shares.items():
        found = correct_bias(probe, [omitted], [float(share)])
        ways[name] = {"share": float(share), "offset": found.offsets[0]}
    for way in ways.values():
        errors = errors_by_offset(
            experiment.student_logits, data.test_labels, [omitted], np.array([way["offset"]])
        )
        all_errors, on_omitted = (int(n[0]) for n in errors)
        way |= {"on_omitted": on_omitted, "on_others": all_errors - on_omitted}
    return {"ways": ways, "n_omitted": int((data.test_labels == omitted).sum())}


def named(name: str, prior: str = "known") -> str:
    return f"{name}, prior {prior}"


def on_mixture(run: Run, share: float, on_omitted: float, on_others: float) -> float:
    """Errors per 10,000 test images of which a `share` is of the class left out, from the counts of both."""
    n_test, n_omitted = run.value("data.n_test"), run.value("further.n_omitted")
    return 10_000 * (share * on_omitted / n_omitted + (1 - share) * on_others / (n_test - n_omitted))


def found_by(run: Run, way: str, em: Run | None = None) -> dict[str, float]:
    """The share that one way says, in per cent, and its errors on that mixture; `em` is EM's own run."""
    truth = run.value(f"further.ways.{TRUTH}.share")
    if way == EM:
        if em is None:
            raise ValueError("no run with EM")
        errors = em.value("after.test_errors"), em.value("after.omitted_errors")
        found = {"share": em.value(SHARE), "on_omitted": errors[1], "on_others": errors[0] - errors[1]}
    else:
        found = run.value(f"further.ways.{way}")
    errors = on_mixture(run, truth, found["on_omitted"], found["on_others"])
    return {"share": 100 * (found["share"] or math.nan), "errors": errors}


def of_way(runs: Runs, probe: str, way: str, what: str) -> list[float]:
    """ "share" or "errors" of one way on one probe, a value per seed."""
    em = {run.config.seed: run for run in at(runs, POINTS[named(probe, "em")])}
    known = at(runs, POINTS[named(probe)])
    return [found_by(run, way, em.get(run.config.seed))[what] for run in known if run.config.seed in em]


def table(runs: Runs) -> str:
    rows = []
    for way in (NONE, *WAYS):
        row = [way]
        for probe in TABLE_PROBES:
            said, errors = (of_way(runs, probe, way, what) for what in ("share", "errors"))
            row += [intervals.mean_sd(said, 1) if way != NONE else "", intervals.mean_sd(errors, 0)]
        rows.append(row)
    header = ["the share of 3s comes from"]
    for probe in TABLE_PROBES:
        header += [f"{TABLE_PROBES[probe]}: % said", "errors"]
    return markdown(header, rows)


def draw(question: str, runs: Runs) -> Figure:
    figure = study_figure(runs, question, (12.5, 6), DOTS)
    upper, lower = above_a_legend(figure, 0.2)
    left, right = upper.subplots(1, 2)
    shares = [100 * share for share in SHARES]
    shifts = np.linspace(0.88, 1.13, len(DRAWN_WAYS))  # beside each other on a log scale
    for shift, (way, style) in zip(shifts, DRAWN_WAYS.items(), strict=True):
        for axes, what in ((left, "share"), (right, "errors")):
            if axes is left and way == NONE:
                continue
            values = [of_way(runs, share_name(share), way, what) for share in SHARES]
            xs = [shift * x for x in shares]
            axes.plot(xs, [statistics.mean(v) if v else math.nan for v in values], label=way, **style)
            for x, v in zip(xs, values, strict=True):
                axes.plot([x] * len(v), v, ".", color=style["color"], markersize=4, alpha=0.6)
    left.plot([0.5, 50], [0.5, 50], color=INK, linewidth=1, linestyle=":", label="the truth")
    for axes in (left, right):
        log_ticks(axes, shares, per_cent)
        axes.set_xlabel("3s among the images of the probe (log scale)")
        light_grid(axes)
    log_ticks(left, shares, per_cent, "y")
    left.set_title("the share of 3s that each finds (log scale)")
    log_ticks(right, (100, 150, 200, 300, 500, 1000, 2000), "{:,.0f}".format, "y")
    right.set_title("errors per 10,000 test images of that mixture (log scale)")
    lines = {line.get_label(): line for axes in (right, left) for line in axes.get_legend_handles_labels()[0]}
    lower.legend(list(lines.values()), list(lines), loc="center", ncols=4)
    return figure


def words(runs: Runs) -> str:
    def of(name: str, prior: str = "known") -> list[Run]:
        return at(runs, POINTS[named(name, prior)])

    def said(way: str, what: str = "errors", digits: int = 0) -> list[str]:
        return [f"{statistics.mean(of_way(runs, probe, way, what)):.{digits}f}" for probe in SHIFTED]

    def less(way: str, than: str, probe: str) -> Interval:
        pairs = zip(*(of_way(runs, probe, w, "errors") for w in (way, than)), strict=True)
        return interval([a - b for a, b in pairs])

    known, few = of("training images"), of("the first 5,000 training images")
    known_says, em, teacher, none = said(TRAINING), said(EM), said(TEACHER), said(NONE)
    found = [f"{share} %" for share in said(TEACHER, "share", 1)]
    against_truth = [less(TEACHER, TRUTH, probe) for probe in TABLE_PROBES]
    no_more = holds(
        "no more errors than with the true share", all(d.mean + d.half < MARGIN for d in against_truth)
    )
    against_none = [less(TEACHER, NONE, probe) for probe in SHIFTED]
    on_all = 100 * mean(known, "bias_correction.calibration.2.on_all")
    return f"""
No: the teacher tells. Its own mean answer on the same unlabelled images, {found[0]} for a 3 where there is
1 %, {found[1]} where there are 30 %, leaves {teacher[0]} and {teacher[1]} errors per 10,000 test images of
these mixtures, and {no_more} ({against_truth[0]} on the training images; the margin of {MARGIN} errors, about
what such a number varies by from test set to test set, was declared when seed 0 was known). Without any
correction there are {none[0]} and {none[1]}. So what a correction is worth depends on the mixture: the
teacher's answer changes the errors by {against_none[0]} with 1 % of 3s and by {against_none[1]} with 30 %.

What does go wrong is to insist on a share that is not that of the images at hand: the training set's 10.2 %
leaves {known_says[0]} and {known_says[1]}. And EM (Saerens 2002), which asks nobody, finds
{" and ".join(said(EM, "share", 1))} % of 3s and leaves {em[0]} and {em[1]} errors: it trusts the student's
probabilities, which nothing ever taught how likely a 3 is. On calibrated probabilities (Alexandari 2020) it
finds {" and ".join(said(CALIBRATED, "share", 1))} %, black-box shift estimation (Lipton 2018)
{" and ".join(said(BLACK_BOX, "share", 1))} %; but both need {N_LABELLED:,} labelled images with 3s among
them, which the student's teacher has had and the student has not.

**Why does the matched offset overshoot the best one?** Mostly because of the probe. The first 5,000
training images hold 9.86 % 3s, the target is 10.22 %, so that the described offset is
{mean(few, OFFSET):+.2f} ({count(few, ERRORS_AFTER)} errors); on all 60,000 it is {mean(known, OFFSET):+.2f}
({count(known, ERRORS_AFTER)}), where {mean(known, f"{BEST}.offset"):+.2f} would be best on the test set
({count(known, f"{BEST}.test_errors")}). There the mean probability of "3" is {on_all:.2f} %, and 10.10 % of
the test images are 3s. What is left of the overshoot is that the test set has fewer 3s than the training
set.

{{table}}

Each probe holds so many 3s as its column says, and the errors are per 10,000 test images of the same
mixture (those on 3s and on others weighed). Mean ± standard deviation; the students are those of "without
3", and each row only sets their bias otherwise. To give a probe a certain share, the first images of each
kind are kept. The probe's own labels are there to compare with: nobody has them.
"""


STUDY = Study(
    "prior", __doc__, POINTS, table, draw, words, preset=WHOLE_PROBE, n_seeds=5,
    further=lambda *_: Further("prior", measure),
    further_holds={"ways": dict_of(is_object), "n_omitted": whole(0)},
    caption="What EM finds, and why the matched offset overshoots",
)  # fmt: skip
