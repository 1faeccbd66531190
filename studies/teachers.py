"""Teachers that are wrong, or of another kind: what of the unseen 3 reaches the student?"""

from __future__ import annotations

from support.charts import light_grid
from support.checks import number
from support.intervals import Interval
from support.report import markdown
from support.tiles import Workers

import math
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from distillation_mnist_omitted_3 import Experiment, images_without, log_softmax, predict
from runs.records import Further
from studies.charts import draw_rows, error_scale, study_figure
from studies.looks import DOTS, UNSEEN_SERIES
from studies.measured import count, holds, mean, over_seeds, paired_difference, percent
from studies.paths import ERRORS_AFTER, ERRORS_BEFORE, SEEN_BEFORE, UNSEEN_AFTER, UNSEEN_BEFORE
from studies.study import WHOLE_PROBE, Run, Runs, Settings, Study, at
from studies.tables import percent_cell, points_cell, rows_of

NO_3S: Settings = {"omitted_class": (3,)}
KINDS: dict[str, Settings] = {  # of teachers
    "labels smoothed by 0.1": {"label_smoothing": 0.1},
    "labels smoothed by 0.3": {"label_smoothing": 0.3},
    "over-confident": {"n_epochs_teacher": 60, "jitter": 0},
}
# At these temperatures the soft targets of the kind have on average the entropy of the plain teacher's at
# T = 20; found by bisection on training images with the teachers of seed 0.
EQUAL_ENTROPY = {"labels smoothed by 0.1": 5.5, "labels smoothed by 0.3": 3.8, "over-confident": 66.8}
PLAIN, OWN_SIZE = "plain", "of the student's own size"
SHARES = (0.1, 0.3, 1.0)  # of its 3s


def called(share: float) -> str:
    return f"{100 * share:g} % of its 3s called 8s"


def equal_entropy(kind: str) -> str:
    return f"{kind}, T = {EQUAL_ENTROPY[kind]:g}"


POINTS: dict[str, Settings] = {
    PLAIN: NO_3S,
    **{called(share): NO_3S | {"mislabelled": (3, 8), "mislabelled_share": share} for share in SHARES},
    **{kind: NO_3S | settings for kind, settings in KINDS.items()},
    OWN_SIZE: NO_3S | {"teacher_hidden": (800, 800)},
    "its target part alone": NO_3S | {"soft_part": "target"},
    "its non-target part alone": NO_3S | {"soft_part": "non-target"},
    **{
        equal_entropy(kind): NO_3S | KINDS[kind] | {"temperature": temperature}
        for kind, temperature in EQUAL_ENTROPY.items()
    },
}
# Declared before the first run, in points of accuracy on 3s, before and after the correction: what is less
# than this is a nuance, whatever its interval.
MARGINS = {UNSEEN_BEFORE: 5.0, UNSEEN_AFTER: 1.0}
TEACHERS_3S = "teacher.omitted_accuracy"
EVERY = 6  # of the transfer set each sixth image is measured


# ---- What is measured --------------------------------------------------------------------------------------


def mean_entropy(logits: np.ndarray, temperature: float) -> float:
    """Of the soft targets at T, in nats, mean over the images; logits (n, classes)."""
    log_p = log_softmax(logits.astype(np.float64), temperature)
    return float(-(np.exp(log_p) * log_p).sum(axis=1).mean())


def spread_within(values: np.ndarray, labels: np.ndarray) -> float:
    """Standard deviation of `values` (n,) about the means of their classes; `labels` (n,)."""
    squares = sum(((values[labels == c] - values[labels == c].mean()) ** 2).sum() for c in np.unique(labels))
    return math.sqrt(float(squares) / len(values))


def measure(experiment: Experiment, workers: Workers, images: object) -> dict[str, Any]:
    """Of the teacher's answers on the transfer set: their entropy at T, and how much the logit for the
    classes left out, less the mean of all logits, differs from image to image of one class, in units of T."""
    config, data = experiment.config, experiment.data
    some = images_without(data.train_labels, config.omitted_class)[::EVERY]
    logits = predict(experiment.teacher.network, data.train_images[some], workers).astype(np.float64)
    unseen = logits[:, list(config.omitted_class)].mean(axis=1) - logits.mean(axis=1)
    return {
        "entropy": round(mean_entropy(logits, config.temperature), 5),
        "spread": round(spread_within(unseen, data.train_labels[some]) / config.temperature, 5),
    }


# ---- What is made of it ------------------------------------------------------------------------------------


def of(runs: Runs, name: str) -> list[Run]:
    return at(runs, POINTS[name])


def verdict(found: Interval | None, margin: float) -> str:
    """What a difference in points says by its margin, declared before."""
    if found is None or math.isnan(found.half):
        return ""
    low, high = found.mean - found.half, found.mean + found.half
    if low > -margin and high < margin:
        return "alike"
    if high < 0 and found.mean < -margin:
        return "less"
    return "more" if low > 0 and found.mean > margin else "not told apart"


def table(runs: Runs) -> str:
    plain, rows = of(runs, PLAIN), []
    for name, mine in rows_of(runs, POINTS):
        cells = [percent_cell(mine, TEACHERS_3S)]
        cells += [f"{over_seeds(mine, f'further.{what}').mean:.{digits}f}" for what, digits in
                  (("entropy", 3), ("spread", 2))]  # fmt: skip
        cells += [percent_cell(mine, path) for path in (SEEN_BEFORE, UNSEEN_BEFORE, UNSEEN_AFTER)]
        for path, margin in MARGINS.items():
            there = name != PLAIN and plain
            cells.append(points_cell(mine, plain, path) if there else "")
            cells.append(verdict(paired_difference(mine, plain, path, 100), margin) if there else "")
        rows.append([name, *cells])
    header = ["the teacher", "its 3s", "entropy", "spread", "others, before", "3s, before", "3s, after",
              "3s before, less plain", "in words, before",
              "3s after, less plain", "in words, after"]  # fmt: skip
    return markdown(header, rows)


def draw(question: str, runs: Runs) -> Figure:
    figure = study_figure(runs, question, (10, 7), DOTS)
    upper, lower = figure.subfigures(2, 1, height_ratios=(1, 0.08))  # the lower one for the legend
    axes = upper.subplots()
    draw_rows(axes, rows_of(runs, POINTS), UNSEEN_SERIES)
    error_scale(axes, 0)
    axes.set_xlabel("test 3s recognised by the student, which never saw one (log scale of the errors)")
    light_grid(axes, "x")
    lower.legend(*axes.get_legend_handles_labels(), loc="center", ncols=2)
    return figure


def words(runs: Runs) -> str:
    def said(name: str) -> str:
        """Accuracies on 3s before and after the correction, and what their differences count for."""
        mine, plain = of(runs, name), of(runs, PLAIN)
        before, after = (
            f"{percent(mine, path, 1)} % ({verdict(paired_difference(mine, plain, path, 100), margin)})"
            for path, margin in MARGINS.items()
        )
        return f"{before} before and {after} after the correction"

    def of_teacher(name: str, path: str, digits: int) -> str:
        return f"{mean(of(runs, name), path):.{digits}f}"

    plain, spread = of(runs, PLAIN), "further.spread"
    wrong = {share: called(share) for share in SHARES}
    parts = {part: f"its {part} part alone" for part in ("target", "non-target")}
    soft, softer, sure = KINDS
    less = all(
        verdict(paired_difference(of(runs, equal_entropy(kind)), plain, UNSEEN_BEFORE, 100),
                MARGINS[UNSEEN_BEFORE]) == "less"
        for kind in KINDS
    )  # fmt: skip
    so = holds("So it is not the temperature alone.", less)
    second = paired_difference(of(runs, parts["non-target"]), plain, UNSEEN_BEFORE, 100)
    unaided = holds("and needs no correction to be read", second.mean - second.half > 0)
    return f"""
The plain teacher's student reads {percent(plain, UNSEEN_BEFORE, 1)} % of the 3s that it never saw before the
correction and {percent(plain, UNSEEN_AFTER, 1)} % after it. Each other row changes one thing about the
teacher or about what is heard of it, and is paired with the plain one by seed. Declared before the first run:
a difference is "less" or "more" where it is beyond {MARGINS[UNSEEN_BEFORE]:g} points before,
{MARGINS[UNSEEN_AFTER]:g} after the correction, and its 95 % interval excludes 0; "alike" where the whole
interval lies within that.

**Wrong about 3s.** A teacher that was told in 10 % of its 3s that they are 8s: {said(wrong[0.1])}. In 30 %:
{said(wrong[0.3])}. In all of them: {said(wrong[1.0])}; this teacher itself reads
{percent(of(runs, wrong[1.0]), TEACHERS_3S, 1)} % of the 3s.

**Less to tell.** Smoothed labels draw the answers for images of one class together (Müller et al. 2019): the
logit for 3, over T, varies within a class by {of_teacher(PLAIN, spread, 3)} for the plain teacher,
{of_teacher(soft, spread, 3)} with labels smoothed by 0.1, {of_teacher(softer, spread, 3)} by 0.3. What
reaches the student: {said(soft)}; {said(softer)}. Trained for 60 epochs instead of 4, and without shifts,
the teacher is surer of itself (spread {of_teacher(sure, spread, 3)}): {said(sure)}. One of the student's own
size: {said(OWN_SIZE)}.

Is it the temperature? A teacher that is more or less sure gives softer or harder targets at the same T. At
the temperature at which their mean entropy is the plain teacher's, labels smoothed by 0.1 bring
{said(equal_entropy(soft))}; by 0.3 {said(equal_entropy(softer))}; the teacher of 60 epochs
{said(equal_entropy(sure))}. {so}

**Which part?** Zhao et al. (2022) part the loss at the class of the label: how sure the teacher is of that,
and how it shares out the rest. Taught by the first part alone: {said(parts["target"])}. By the second alone:
{said(parts["non-target"])}, and {percent(of(runs, parts["non-target"]), SEEN_BEFORE, 1)} % of the other
digits: {count(of(runs, parts["non-target"]), ERRORS_BEFORE)} errors in all, where the plain teacher's
student, corrected, makes {count(plain, ERRORS_AFTER)}. What is told of a 3 is in the second part,
{unaided}. Our reading: of an image's own class that part
says nothing, so every class is to this student what the 3 is to the others, and none needs a bias of its own.

{{table}}

"its 3s": test 3s that the teacher reads. "entropy": of the soft targets, in nats, mean over the transfer set;
{math.log(10):.3f} would be the most. "spread": the standard deviation of the teacher's logit for 3, less the
mean of its logits, about its mean within each class, over T. Seeds 0, 10, ..., 40.
"""


STUDY = Study(
    "teachers", __doc__, POINTS, table, draw, words, preset=WHOLE_PROBE, n_seeds=5, apart=10,
    caption="Unseen 3s recognised, by what the teacher was", further=lambda *_: Further("teachers", measure),
    further_holds={"entropy": number(0, 10), "spread": number(0)},
)  # fmt: skip
