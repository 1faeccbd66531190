"""Where does it break: do worse images cost the class that was never seen more than the others?"""

from __future__ import annotations

from support.charts import light_grid
from support.checks import Check, dict_of, list_of, number, optional, share
from support.corrections import OneAgainstAll, corrected
from support.intervals import Interval, interval
from support.offsets import add_offsets, frequencies
from support.report import markdown
from support.settings import N_CLASSES
from support.tiles import Workers

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from beyond.corruptions import CORRUPTIONS, conditions, corrupted
from beyond.settings import TRANSFORMATIONS
from distillation_mnist_omitted_3 import (
    Experiment,
    evaluate,
    log_softmax,
    match_class_frequency,
    predict,
    softmax,
)
from runs.records import Further
from studies.charts import per_cent, study_figure
from studies.looks import BLACK_STYLE, SEEN_STYLE, UNSEEN_AFTER_STYLE, UNSEEN_BEFORE_STYLE
from studies.measured import holds
from studies.study import WHOLE_PROBE, Run, Runs, Settings, Study, at
from studies.tables import interval_cell
from synthetic import digits

NEVER_SEEN = 3  # of the control, which saw it, too
POINTS: dict[str, Settings] = {
    "without 3": {"omitted_class": (NEVER_SEEN,)},
    "all digits": {"omitted_class": ()},
    "without 3, transformed": {"omitted_class": (NEVER_SEEN,), **TRANSFORMATIONS},
    "all digits, transformed": {"omitted_class": (), **TRANSFORMATIONS},
    "without 3, best": {"omitted_class": (NEVER_SEEN,), "recipe": "best"},
    "all digits, best": {"omitted_class": (), "recipe": "best"},
}
# Declared before the first run: by how many points more than on images as they are the student that never saw
# a 3 must fall behind the one of all digits, for the 95 % interval over seeds to be more than a nuance.
MARGIN = 2.0
EVERY = 2  # of the test images each second one
N_BINS = 15  # of the calibration error (Guo et al. 2017)
CONDITIONS = [("as it is", 0.0), *conditions()]
STEPS = range(6)  # of each corruption, the first one the images as they are
# Of the student: as it is, with its offset, and with others that might mend it: set anew on the worse images,
# towards how often 3s occur or towards its teacher's mean answer, and a factor on the logit instead.
WAYS = ("anew", "answers", "factor")
NETWORKS = ("teacher", "before", "after", *WAYS)
SHARES = ("seen", "unseen", "false")
CURES = {  # by name: which network, and of which points
    "corrected": ("after", ""), "set anew": ("anew", ""), "set anew by answers": ("answers", ""),
    "factor": ("factor", ""), "transformed": ("after", ", transformed"),
    "best": ("after", ", best"),
}  # fmt: skip
CONTROLS = ("all digits", "all digits, transformed", "all digits, best")
METRICS = (*SHARES, "loss_unseen", "loss_seen", "ece_unseen", "ece_seen")


# ---- What is measured --------------------------------------------------------------------------------------


def calibration_error(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Expected calibration error, Guo et al. (2017), "On calibration of modern neural networks", equation 3.

    In 15 bins of equal width by the largest probability: how far its mean lies from the share of right
    answers, weighted by the images in the bin. `probabilities` (n, classes), `labels` (n,); in [0, 1].
    """
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    bins = np.minimum((confidence * N_BINS).astype(int), N_BINS - 1)
    gaps = np.bincount(bins, right - confidence, N_BINS)
    return float(np.abs(gaps).sum() / len(labels))


def metrics_of(logits: np.ndarray, labels: np.ndarray) -> list[float]:
    """Those of METRICS, at T = 1: accuracies on the other classes and on 3s, the share of others read as 3;
    mean negative log-likelihood of the label, and calibration error, of 3s and of the others.

    `logits` (n, classes), `labels` (n,).
    """
    log_p, mine = log_softmax(logits.astype(np.float64)), labels == NEVER_SEEN
    found = evaluate(logits, labels, (NEVER_SEEN,))
    false = float((logits[~mine].argmax(axis=1) == NEVER_SEEN).mean())
    loss = -log_p[np.arange(len(labels)), labels]
    losses = [float(loss[part].mean()) for part in (mine, ~mine)]
    errors = [calibration_error(np.exp(log_p[part]), labels[part]) for part in (mine, ~mine)]
    return [found["other_accuracy"], found["omitted_accuracy"], false, *losses, *errors]


def measure(experiment: Experiment, workers: Workers, images: object) -> dict[str, Any]:
    """By network and metric a value for each of CONDITIONS; None for networks that the control does not have.

    "anew" and "answers": the student with the offset that these very images set, without their labels.
    """
    data, omitted = experiment.data, experiment.config.omitted_class
    shown, labels = data.test_images[::EVERY], data.test_labels[::EVERY]
    target, offsets = frequencies(data.train_labels, [NEVER_SEEN])[0], experiment.correction.offsets
    found: dict[str, list[list[float]]] = {name: [] for name in (NETWORKS if omitted else ("before",))}
    if omitted:
        factor = OneAgainstAll.of(experiment.probe_logits, NEVER_SEEN).factor_for(target) or 1.0
    for kind, strength in CONDITIONS:
        seen = corrupted(shown, kind, strength) if strength else shown
        student = predict(experiment.student.network, seen, workers)[:, :N_CLASSES]
        logits = {"before": student}
        if omitted:
            logits["teacher"] = predict(experiment.teacher.network, seen, workers)[:, :N_CLASSES]
            logits["after"] = add_offsets(student, omitted, offsets)
            heard = float(softmax(logits["teacher"].astype(np.float64))[:, NEVER_SEEN].mean())
            for name, share_of_3s in (("anew", target), ("answers", heard)):
                offset = match_class_frequency(student, NEVER_SEEN, share_of_3s)
                logits[name] = add_offsets(student, omitted, [offset or 0.0])
            logits["factor"] = corrected(student, NEVER_SEEN, factor, 0.0)
        for name, z in logits.items():
            found[name].append(metrics_of(z, labels))
    return {
        name: {
            metric: [round(values[k], 4 if metric in SHARES else 3) for values in found[name]]
            for k, metric in enumerate(SHARES if name in WAYS else METRICS)
        }
        if name in found
        else None
        for name in NETWORKS
    }


def holds_of(names: Sequence[str]) -> Check:
    """What one network's figures must be."""
    checks = {name: number(0) if name.startswith("loss") else share for name in names}
    return lambda x: (
        dict_of(list_of(number(), len(CONDITIONS)))(x)
        and x.keys() == checks.keys()
        and all(all(map(checks[name], x[name])) for name in x)
    )


# ---- What is made of it ------------------------------------------------------------------------------------


def of(runs: Runs, name: str) -> list[Run]:
    return at(runs, POINTS[name])


def place(kind: str, step: int) -> int:
    """Where in CONDITIONS the images of a kind's step stand; 0: as they are."""
    return 0 if step == 0 else 1 + 5 * list(CORRUPTIONS).index(kind) + step - 1


def by_seed(runs: Runs, network: str, metric: str, where: Sequence[int]) -> dict[int, float]:
    """The mean of a metric over some of CONDITIONS, shares in per cent."""
    scale = 100 if metric in SHARES or metric.startswith("ece") else 1
    return {
        run.config.seed: statistics.mean(scale * run.value(f"further.{network}.{metric}")[k] for k in where)
        for run in runs
    }


def over(runs: Runs, network: str, metric: str, where: Sequence[int]) -> Interval:
    """Its mean and 95 % interval over seeds; NaN without runs."""
    values = list(by_seed(runs, network, metric, where).values())
    return interval(values) if values else Interval(math.nan, math.nan)


def lag(runs: Runs, network: str, where: Sequence[int], metric: str = "unseen", suffix: str = "") -> Interval:
    """By how many points the student without 3s lies below that of all digits, more than on images as they
    are; mean over some of CONDITIONS, paired by seed, NaN without runs. `suffix`: of which points."""
    every, without = (of(runs, name + suffix) for name in ("all digits", "without 3"))

    def behind(places: Sequence[int]) -> dict[int, float]:
        theirs, ours = by_seed(every, "before", metric, places), by_seed(without, network, metric, places)
        return {seed: theirs[seed] - ours[seed] for seed in ours if seed in theirs}

    there, here = behind(where), behind([0])
    return interval([there[seed] - here[seed] for seed in there]) if there else Interval(math.nan, math.nan)


def grows(found: Interval) -> bool:
    """More than the margin, and more than chance."""
    return found.mean > MARGIN and found.mean - found.half > 0


def surplus(runs: Runs, network: str, kind: str, suffix: str = "") -> Interval:
    """By how many points more of the other digits it reads as 3s than the student of all digits: as `lag`."""
    one = lag(runs, network, places_of(kind), "false", suffix)
    return Interval(-one.mean, one.half)


def mean_cell(found: Interval, digits: int = 1) -> str:
    return "-" if math.isnan(found.mean) else f"{found.mean:.{digits}f}"


def places_of(kind: str) -> list[int]:
    """Where the five strengths of a kind stand."""
    return [place(kind, step) for step in STEPS[1:]]


def table(runs: Runs) -> str:
    """Accuracies in every condition; what might mend it, and losses, as means over the five strengths."""
    without, every = of(runs, "without 3"), of(runs, "all digits")
    sides = {"teacher": (without, "teacher"), "all digits": (every, "before"),
             "before": (without, "before"), "after": (without, "after")}  # fmt: skip

    def cells(metrics: Sequence[str], where: Sequence[int]) -> list[str]:
        return [
            mean_cell(over(*side, metric, where), 2 if metric.startswith("loss") else 1)
            for metric in metrics
            for side in sides.values()
        ]

    def header(first: str, *metrics: str) -> list[str]:
        return [first, *(f"{metric}, {side}" for metric in metrics for side in sides)]

    accuracies = [
        [
            f"{kind}, {CORRUPTIONS[kind].name(strength)}" if strength else kind,
            *cells(("unseen", "seen", "false"), [where]),
            interval_cell(lag(runs, "after", [where]), 1) if where else "",
        ]
        for where, (kind, strength) in enumerate(CONDITIONS)
    ]
    cures = [
        [
            kind,
            *(interval_cell(lag(runs, n, places_of(kind), suffix=s), 1) for n, s in CURES.values()),
            *(mean_cell(over(mine, network, "false", places_of(kind))) for mine, network in (
                *((of(runs, name), "before") for name in CONTROLS),
                *((of(runs, "without 3" + s), n) for n, s in CURES.values()))),
        ]
        for kind in CORRUPTIONS
    ]  # fmt: skip
    likelihoods = [
        [kind, *cells(METRICS[len(SHARES) :], places_of(kind) if kind in CORRUPTIONS else [0])]
        for kind in (CONDITIONS[0][0], *CORRUPTIONS)
    ]
    of_cures = [f"lag, {name}" for name in CURES] + [f"false 3s, {name}" for name in (*CONTROLS, *CURES)]
    mean_of = "mean of five strengths"
    return "\n\n".join((
        markdown([*header("test images", "3s", "others", "false 3s"), "lag"], accuracies),
        markdown([mean_of, *of_cures], cures),
        markdown(header(mean_of, "loss on 3s", "loss on others", "ECE on 3s", "ECE on others"), likelihoods),
    ))  # fmt: skip


def draw(question: str, runs: Runs) -> Figure:
    drawn = [run for name in ("without 3", "all digits") for run in of(runs, name)]
    figure = study_figure(drawn or runs, question, (11.5, 7.6), "means")
    upper, lower = figure.subfigures(2, 1, height_ratios=(1, 0.09))
    panels = upper.subplots(2, 4, sharey=True)
    for axes, kind in zip(panels.flat, CORRUPTIONS, strict=True):
        draw_kind(axes, kind, runs)
    for axes in panels[:, 0]:
        axes.set_ylabel("read right")
        axes.yaxis.set_major_formatter(per_cent)
    lower.legend(*panels.flat[0].get_legend_handles_labels(), loc="center", ncols=4)
    return figure


def draw_kind(axes: Axes, kind: str, runs: Runs) -> None:
    """Accuracies by strength under what the images look like."""
    corruption, xs = CORRUPTIONS[kind], list(STEPS)
    for name, network, metric, label, style in (
        ("all digits", "before", "unseen", "3s, student of all digits", BLACK_STYLE),
        ("without 3", "after", "unseen", "3s, never seen, corrected", UNSEEN_AFTER_STYLE),
        ("without 3", "before", "unseen", "3s, never seen, before", UNSEEN_BEFORE_STYLE),
        ("without 3", "after", "seen", "the nine classes that it saw", SEEN_STYLE),
    ):
        if mine := of(runs, name):
            means = [over(mine, network, metric, [place(kind, k)]).mean for k in xs]
            axes.plot(xs, means, label=label, markersize=4.5, linewidth=1.6, **style)
    axes.set_xticks(xs, ["as is", *(f"{s:g}" for s in corruption.strengths)], fontsize=9)
    axes.set_xlim(-0.5, 5.5)
    axes.set_ylim(0, 102)
    light_grid(axes)
    axes.set_title(f"{kind}, in {corruption.unit.strip()}" if corruption.unit else kind, pad=34)
    strip = axes.inset_axes((0, 1.01, 1, 1 / 6 * 1.05))
    image = example()
    shown = [image, *(corrupted(image, kind, s) for s in corruption.strengths)]
    strip.imshow(255 - np.concatenate(shown, axis=2)[0], cmap="gray", vmin=0, vmax=255, aspect="auto")
    strip.axis("off")


def example() -> np.ndarray:
    """A 3 that this project draws, (1, 28, 28)."""
    images, labels = digits.render_digits(50, np.random.default_rng(0))
    return images[labels == NEVER_SEEN][:1]


def listed(found: Mapping[str, Interval]) -> str:
    """ "blurred (+3.1 ± 0.4), noisy (+5.0 ± 1.1)"; "none" of none."""
    return ", ".join(f"{name} ({one.plus_minus(1)})" for name, one in found.items()) or "none"


def words(runs: Runs) -> str:
    without, every = of(runs, "without 3"), of(runs, "all digits")

    def at_one(mine: Runs, network: str, metric: str, kind: str, strength: float) -> str:
        return mean_cell(over(mine, network, metric, [CONDITIONS.index((kind, strength))]))

    lags = {name: {kind: lag(runs, network, places_of(kind), suffix=suffix) for kind in CORRUPTIONS}
            for name, (network, suffix) in CURES.items()}  # fmt: skip
    false_3s = {name: {kind: surplus(runs, network, kind, suffix) for kind in CORRUPTIONS}
                for name, (network, suffix) in CURES.items()}  # fmt: skip
    further, more_false = (
        {name: {kind: one for kind, one in found.items() if grows(one)} for name, found in both.items()}
        for both in (lags, false_3s)
    )
    n_further = sum(grows(lag(runs, "after", [k])) for k in range(1, len(CONDITIONS)))
    holds(
        "a factor makes fewer false 3s than an offset",
        len(more_false["factor"]) < len(more_false["corrected"]),
    )
    mended = [name for name in CURES if not further[name] and not more_false[name]]
    both = (
        f"Both halves are mended by: {', '.join(mended)}."
        if mended
        else "Of what was tried nothing mends both halves."
    )
    others = {kind: one for kind, one in lags["corrected"].items() if kind not in further["corrected"]}
    less = {kind: one for kind, one in others.items() if one.mean + one.half < MARGIN}
    undecided = {kind: one for kind, one in others.items() if kind not in less}
    holds("best was run", bool(of(runs, "without 3, best") and of(runs, "all digits, best")))
    of_25, of_03 = ("turned", 25), ("noisy", 0.3)
    turned = [at_one(mine, network, metric, *of_25) for metric in ("unseen", "seen") for mine, network in (
        (every, "before"), (without, "before"), (without, "after"))]  # fmt: skip
    false = [at_one(mine, network, "false", *of_03) for mine, network in (
        (without, "before"), (without, "after"), (every, "before"), (without, "teacher"))]  # fmt: skip
    everywhere = range(1, len(CONDITIONS))
    ece = [mean_cell(over(mine, network, "ece_unseen", where)) for where in ([0], everywhere)
           for mine, network in ((every, "before"), (without, "before"), (without, "after"))]  # fmt: skip
    return f"""
Worse images cost every class. The question is whether they cost the one that was never seen more, and the
measure is a student of all digits, of the same teacher: "lag" is by how many points of accuracy on 3s the
student without 3s, its bias corrected, falls further behind that one than it is on images as they are.
Declared before the first run: a lag counts if it is more than {MARGIN:g} points and its 95 % interval over
seeds excludes 0. It counts in {n_further} of the {len(CONDITIONS) - 1} rows of the first table and, as a mean
over five strengths, for these: {listed(further["corrected"])}. Less than that, with its whole interval, it is
for these: {listed(less)}. For the others the interval leaves it open: {listed(undecided)}.

That is one half: a student that says "3" of anything lags nowhere. The other half was added after the first
seed had been seen, with the same margin: by how many points more of the other digits than the student of all
digits it reads as 3s, beyond what it does on images as they are. That counts for:
{listed(more_false["corrected"])}.

Two examples. Turned by 25°, 3s are read by the student of all digits in {turned[0]} %, by the one that never
saw them in {turned[1]} % before and {turned[2]} % after the correction; the nine other classes in
{turned[3]}, {turned[4]} and {turned[5]} %. With noise of 0.3 the correction raises the other digits that are
read as 3s from {false[0]} to {false[1]} %; the student of all digits makes {false[2]} %, the teacher
{false[3]} % such errors.

**Does anything mend it?** {both} An offset set anew on the worse images, without their
labels, towards how often 3s occur, leaves a lag that counts for: {listed(further["set anew"])}; and false 3s
that count for: {listed(more_false["set anew"])}. Where other digits look like 3s, or 3s like others, their
probabilities no longer say how often that is. Set anew towards the teacher's mean answer on these images, it
lags for: {listed(further["set anew by answers"])}; false 3s: {listed(more_false["set anew by answers"])}. A
factor on the logit for 3 in place of the offset, set on MNIST, lags for: {listed(further["factor"])}; false
3s: {listed(more_false["factor"])}. (It raises what looks like a 3, where an offset raises everything.)
Networks that saw transformed images (those of `best`, in as few epochs as
`fast` has), less a student of all digits that saw them, too, lag for: {listed(further["transformed"])}; false
3s: {listed(more_false["transformed"])}. `best` itself, less a student of all digits of the same recipe, lags
for: {listed(further["best"])}; false 3s: {listed(more_false["best"])}.

**And how sure are they?** The expected calibration error on 3s is {ece[0]} points for the student of all
digits, {ece[1]} before and {ece[2]} after the correction; on average over all {len(CONDITIONS) - 1}
corruptions {ece[3]}, {ece[4]} and {ece[5]}.

{{table}}

Means over seeds 0, 10, ..., 40, on {without[0].value("data.n_test") // EVERY:,} test images,
each second one. "false 3s": other digits read as 3. "loss": negative log-likelihood of the label at T = 1.
ECE: expected calibration error (Guo et al. 2017), 15 bins, in points. Turned: clockwise or
counter-clockwise, by chance; shifted: to one of four sides; blurred: under a Gaussian of this standard
deviation; noisy: normal noise, 1 is the way from empty to ink; thinner, thicker: by grey erosion and
dilation, so many pixels on each side; inverted: this share of the way to the negative; occluded: by an empty
square of this side.
"""


STUDY = Study(
    "corruption", __doc__, POINTS, table, draw, words, preset=WHOLE_PROBE, n_seeds=5, apart=10,
    caption="Accuracy on 3s never seen, by strength",
    further=lambda *_: Further("corruption", measure),
    further_holds=dict.fromkeys(NETWORKS, optional(lambda x: holds_of(METRICS)(x) or holds_of(SHARES)(x))),
)  # fmt: skip
