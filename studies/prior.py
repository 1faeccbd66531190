"""Must one know how often 3s occur?"""

from __future__ import annotations

from support.charts import AFTER, INK, OMITTED, OTHERS, light_grid, log_ticks
from support.checks import dict_of, is_object
from support.data import Data
from support.experiment import Experiment
from support.offsets import errors_by_offset
from support.report import markdown
from support.settings import N_CLASSES
from support.tiles import Workers

import statistics
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from beyond.probes import mean_probabilities, probe_images, probe_labels
from distillation_mnist_omitted_3 import correct_bias, predict
from runs.records import Further
from studies.charts import DOTS, per_cent, study_figure
from studies.shares import black_box_shares, calibrated_em_shares
from studies.study import (
    BEST,
    ERRORS_AFTER,
    ERRORS_BEFORE,
    WHOLE_PROBE,
    Run,
    Runs,
    Settings,
    Study,
    at,
    count,
    mean,
    over_seeds,
)
from studies.tables import interval_cell

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


N_LABELLED = 10_000  # the last training images: what two of the estimates learn from


def measure(experiment: Experiment, workers: Workers, images: Data | None) -> dict[str, Any]:
    """What each way of choosing the share of 3s says and does: for the runs whose share is known.

    Offsets match the mean probability of a 3 on the probe to the share, as the core does. The labels that
    black-box estimation and calibrated EM need are of the last training images, 3s among them.
    """
    config, data = experiment.config, experiment.data
    if config.prior != "known":
        return {"ways": {}}
    teacher, student = experiment.teacher.network, experiment.student.network
    omitted, probe = config.omitted_class[0], experiment.probe_logits
    labelled, labels = data.train_images[-N_LABELLED:], data.train_labels[-N_LABELLED:].astype(int)
    logits = predict(student, labelled, workers)[:, :N_CLASSES].astype(np.float64)
    answers = mean_probabilities(predict(teacher, probe_images(config, data), workers)[:, :N_CLASSES])
    shares = {
        "the share in the training set": (data.train_labels == omitted).mean(),
        "the true share of the probe": (probe_labels(config, data) == omitted).mean(),
        "the teacher's mean answer on the probe": answers[omitted],
        "black-box shift estimation": black_box_shares(
            logits.argmax(axis=1), labels, probe.argmax(axis=1), N_CLASSES
        )[omitted],
        "calibrated EM": calibrated_em_shares(logits, labels, probe.astype(np.float64))[omitted],
    }
    ways: dict[str, Any] = {"no correction": {"share": None, "offset": 0.0}}
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


def table(runs: Runs) -> str:
    found = []
    for name in PROBES:
        known, em = (at(runs, POINTS[f"{name}, prior {prior}"]) for prior in ("known", "em"))
        if known and em:
            cells = [interval_cell(over_seeds(em, SHARE, 100), 2)]
            for side in (known, em):
                cells += [interval_cell(over_seeds(side, OFFSET), 2),
                          interval_cell(over_seeds(side, ERRORS_AFTER), 1)]  # fmt: skip
            found.append([name, *cells])
    header = ["probe", "EM: % of 3s", "share known: offset", "errors", "EM: offset", "its errors"]
    return markdown(header, found)


def draw(question: str, runs: Runs) -> Figure:
    figure = study_figure(runs, question, (12.5, 5.6), DOTS)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.1))
    shares = [100 * share for share in SHARES]
    for x, share in zip(shares, SHARES, strict=True):
        em = at(runs, POINTS[f"{share_name(share)}, prior em"])
        said = [100 * run.value("bias_correction.target_frequencies.0") for run in em]
        left.plot(
            [x] * len(said),
            said,
            "o",
            color=AFTER,
            alpha=0.6,
            label=None if x != shares[0] else "EM, a dot per seed",
        )
    left.plot([0.5, 50], [0.5, 50], color=INK, linewidth=1, label="the truth")
    log_ticks(left, shares, "{:g} %".format)
    left.set_yscale("log")
    left.yaxis.set_major_locator(FixedLocator(shares))
    left.yaxis.set_minor_locator(NullLocator())
    left.yaxis.set_major_formatter(FuncFormatter(per_cent))
    left.set_xlabel("3s among the images of the probe (log scale)")
    left.set_ylabel("3s that EM finds, without a label")
    left.set_title("how often do 3s occur?")
    light_grid(left)
    left.legend(loc="upper left")
    draw_calibration(right, runs)
    return figure


def sizes(run: Run) -> tuple[int, float]:
    """How many test images there are, and how many of the omitted class: from means over both parts."""
    on, n_test = run.value("bias_correction.calibration.0"), run.value("data.n_test")
    return n_test, n_test * (on["on_all"] - on["on_others"]) / (on["on_omitted"] - on["on_others"])


def draw_calibration(axes: Axes, runs: Runs) -> None:
    """What the mean probability of a 3 on the test set is made of, at offsets from several choices."""
    whole, first = (
        at(runs, POINTS[f"{name}, prior known"])
        for name in ("training images", "the first 5,000 training images")
    )
    choices = [
        ("no offset", whole, 0),
        ("best on the\ntest set", whole, 2),
        ("matched on\n60,000", whole, 1),
        ("matched on the\nfirst 5,000", first, 1),
    ]
    choices = [choice for choice in choices if choice[1]]
    if not choices:
        return
    n_test, n_3s = (statistics.mean(sizes(run)[i] for run in choices[0][1]) for i in (0, 1))
    bottom, share = np.zeros(len(choices)), n_3s / n_test
    for key, weight, label, colour in (
        ("on_omitted", share, "from 3s: their share x their mean p(3)", OMITTED),
        ("on_others", 1 - share, "from other digits", OTHERS),
    ):
        means = [over_seeds(mine, f"bias_correction.calibration.{k}.{key}").mean for _, mine, k in choices]
        heights = 100 * weight * np.array(means)
        axes.bar(range(len(choices)), heights, bottom=bottom, color=colour, width=0.6, label=label)
        bottom += heights
    names = []
    for place, (name, mine, k) in enumerate(choices):
        offset = over_seeds(mine, f"bias_correction.calibration.{k}.offset").mean
        errors = {0: ERRORS_BEFORE, 1: ERRORS_AFTER}.get(k, "bias_correction.best_on_test_set.test_errors")
        names.append(f"{name}\n{offset:+.2f}: {over_seeds(mine, errors).mean:.0f} errors")
        axes.annotate(f"{bottom[place]:.2f} %", (place, bottom[place]), xytext=(0, 3),
                      textcoords="offset points", ha="center")  # fmt: skip
    axes.axhline(
        100 * share, color=INK, linestyle="--", linewidth=1, label=f"the share of 3s: {100 * share:.1f} %"
    )
    axes.set_xticks(range(len(choices)), names, fontsize=9)
    start = max(0.0, np.floor(2 * (100 * share - 1.2)) / 2)
    axes.set_ylim(start, max(*bottom, 100 * share) + 0.5)
    axes.set_ylabel(f"mean p(3) on the test set\n(axis starts at {start:g} %)")
    axes.set_title("why the matched offset overshoots")
    light_grid(axes)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=2, fontsize=9)


def words(runs: Runs) -> str:
    def of(name: str, prior: str) -> list[Run]:
        return at(runs, POINTS[f"{name}, prior {prior}"])

    known, em, few = (
        of("training images", "known"),
        of("training images", "em"),
        of("the first 5,000 training images", "known"),
    )
    said = {share: f"{100 * mean(of(share_name(share), 'em'), SHARE):.1f}" for share in SHARES}
    one = [count(of(share_name(0.01), prior), ERRORS_AFTER) for prior in ("known", "em")]
    none, on_all = count(known, ERRORS_BEFORE), 100 * mean(known, "bias_correction.calibration.2.on_all")
    return f"""
EM does not find it out. It sees the same images without a label and finds {100 * mean(em, SHARE):.1f} % of
3s where there are 10.2 %, {said[0.01]} % where there is 1 %, {said[0.3]} % where there are 30 %: always too
many. Our guess at the reason: EM trusts the student's probabilities, and nothing ever taught the student
how likely a 3 is. Its offset is too large, {mean(em, OFFSET):+.1f} instead of {mean(known, OFFSET):+.1f},
and leaves {count(em, ERRORS_AFTER)} errors, where the known share leaves {count(known, ERRORS_AFTER)} and
no correction at all {none}. EM is better only where the probe has another share of 3s than the training
set: with 1 % of 3s in the probe, the share known from the training set (10.2 %) gives {one[0]} errors, and
EM {one[1]}. (All errors are counted on the same test set, whatever the mixture of the probe.)

**Why does the matched offset overshoot the best one?** Mostly because of the probe. The first 5,000
training images hold 9.86 % 3s, the target is 10.22 %, so that the described offset is
{mean(few, OFFSET):+.2f} ({count(few, ERRORS_AFTER)} errors); on all 60,000 it is {mean(known, OFFSET):+.2f}
({count(known, ERRORS_AFTER)}), where {mean(known, f"{BEST}.offset"):+.2f} would be best on the test set
({count(known, f"{BEST}.test_errors")}). There the mean probability of "3" is {on_all:.2f} %, and 10.10 % of
the test images are 3s. What is left of the overshoot is that the test set has fewer 3s than the training
set.

{{table}}

Test errors; the students are those of "without 3", and each row only sets their bias otherwise. "share
known": towards the frequency in the training labels, 10.22 %, whatever the probe holds. To give a probe a
certain share, the first images of each kind are kept.

{{command}}
"""


STUDY = Study(
    "prior", __doc__, POINTS, table, draw, words, preset=WHOLE_PROBE, n_seeds=5,
    further=lambda *_: Further("prior", measure), further_holds={"ways": dict_of(is_object)},
    caption="What EM finds, and why the matched offset overshoots",
)  # fmt: skip
