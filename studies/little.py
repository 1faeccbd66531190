"""How little must a student see?"""

from __future__ import annotations

from support.charts import draw_image
from support.report import markdown

import math
import statistics

import numpy as np
from matplotlib.figure import Figure

from beyond.settings import DRAWN_DEFAULTS, DRAWN_SETS, EVERY_CLASS
from studies.charts import draw_rows, error_scale, legend_below, study_figure
from studies.looks import ALL_SERIES, DOTS
from studies.measured import holds, mean, over_seeds, percent
from studies.paths import ALL_AFTER, ALL_BEFORE
from studies.study import WHOLE_PROBE, Run, Runs, Settings, Study, all_but, at
from studies.tables import percent_cell, rows_of
from synthetic import digits, noise


def only(*classes: int, epochs: int) -> Settings:
    """Digits of these classes alone, for about as many steps whatever is left out."""
    return {"omitted_class": all_but(*classes), "n_epochs_student": epochs, "correct": "all"}


def drawn(kind: str) -> Settings:
    return {"transfer_set": kind, **DRAWN_DEFAULTS, "n_epochs_student": 8}


POINTS: dict[str, Settings] = {
    "all ten digits": only(*EVERY_CLASS, epochs=8),
    "no 3s": only(*all_but(3), epochs=8),
    "only 7s and 8s": only(7, 8, epochs=40),
    "only 0s and 1s": only(0, 1, epochs=40),
    "only 8s": only(8, epochs=80),
    "only 1s": only(1, epochs=80),
    **{shows: drawn(kind) for kind, shows in DRAWN_SETS.items()},
}
SAYS, SURE = "transfer_set.teacher_mean_probabilities", "transfer_set.teacher_mean_largest"
NEAR = "transfer_set.nearest_digit_cosine"


def effective_classes(run: Run) -> float:
    """exp of the entropy of the teacher's mean answer: 10 when it says each class equally often."""
    return math.exp(-sum(q * math.log(q) for q in run.value(SAYS) if q > 0))


def table(runs: Runs) -> str:
    found = []
    for name, mine in rows_of(runs, POINTS):
        cells = [name, percent_cell(mine, ALL_BEFORE), percent_cell(mine, ALL_AFTER)]
        if "transfer_set" in mine[0].record:
            classes = statistics.mean(effective_classes(run) for run in mine)
            sure, near = (over_seeds(mine, path).mean for path in (SURE, NEAR))
            cells += [f"{classes:.1f}", f"{100 * sure:.0f}", f"{near:.2f}"]
        found.append(cells + [""] * (6 - len(cells)))
    header = ["the student sees", "test accuracy, before", "after", "classes that its teacher says",
              "how sure, %", "cosine to the nearest digit"]  # fmt: skip
    return markdown(header, found)


def draw(question: str, runs: Runs) -> Figure:
    figure = study_figure(runs, question, (12, 8.5), DOTS)
    pictures, axes = figure.subplots(1, 2, width_ratios=(0.2, 1))
    rows = rows_of(runs, POINTS)
    draw_rows(axes, rows, ALL_SERIES)
    error_scale(axes, 0)
    axes.set_xlabel("test accuracy on all ten digits (a scale that spreads what lies near 100 %)")
    legend_below(axes, 2, -0.1, 0.4)
    pictures.axis("off")
    pictures.set_xlim(0, 2)
    pictures.set_ylim(len(rows) - 0.5, -0.5)
    for y, (_, mine) in enumerate(rows):
        for place, image in enumerate(examples(mine[0])):
            inset = pictures.inset_axes((place, y - 0.46, 0.95, 0.92), transform=pictures.transData)
            draw_image(inset, image)
    return figure


def examples(run: Run) -> np.ndarray:
    """Two images of a drawn transfer set; none where they are MNIST's or made from them."""
    kind, rng = run.config.transfer_set, np.random.default_rng(5)
    if kind == "rendered":
        return digits.render_digits(2, rng)[0]
    return noise.DRAW[kind](8, rng)[[4, 7]] if kind in noise.DRAW else np.empty((0, 28, 28))


def words(runs: Runs) -> str:
    def of(name: str) -> list[Run]:
        return at(runs, POINTS[name])

    kinds = {kind: of(shows) for kind, shows in DRAWN_SETS.items()}

    def classes(kind: str) -> str:
        return f"{statistics.mean(effective_classes(run) for run in kinds[kind]):.1f}"

    right = {kind: mean(group, ALL_BEFORE) for kind, group in kinds.items()}
    noises = ("contours", "lines", "blobs", "patches", "noise")
    faded_most = holds(
        "the faded ones teach most, uniform noise least",
        min(right["contours"], right["blobs"]) > max(right["lines"], right["patches"]) > right["noise"]
        and min(right, key=right.__getitem__) == "noise",
    )
    sure = {kind: mean(group, SURE) for kind, group in kinds.items()}
    least_sure = holds(
        "of contour lines it is least sure of all", min(sure, key=sure.__getitem__) == "contours"
    )
    near = {kind: mean(kinds[kind], NEAR) for kind in noises}
    nearest = holds(
        "uniform noise, which teaches least, is nearest", max(near, key=near.__getitem__) == "noise"
    )
    only_8, only_1 = of("only 8s"), of("only 1s")
    return f"""
Nothing of a digit. In 8 epochs of contour lines of noise a student learns to read
{percent(kinds["contours"], ALL_BEFORE, 1)} % of the test digits, in 8 epochs of blobs
{percent(kinds["blobs"], ALL_BEFORE, 1)} %; all ten digits give
{percent(of("all ten digits"), ALL_BEFORE, 1)} %, halves of two digits glued together
{percent(kinds["halves"], ALL_BEFORE, 1)} %. Whole digits of few classes teach less: 8s alone
{percent(only_8, ALL_BEFORE)} %, and {percent(only_8, ALL_AFTER)} % with the biases corrected; 1s alone
{percent(only_1, ALL_BEFORE)} and {percent(only_1, ALL_AFTER)} %.

Which noise teaches best? Of the five kinds here, those on which the teacher says more of its classes. (The
effective number of classes, from the entropy of its mean answer, is {classes("blobs")} for faded blobs and
{classes("contours")} for faded contours, {classes("patches")} and {classes("lines")} for the same without
fading, {classes("noise")} for uniform noise; {faded_most}.) Five kinds are few, and the order is not the
same throughout. How near an image is to some digit does not predict it: {nearest} (cosine
{near["noise"]:.2f}, not centred; contour lines {near["contours"]:.2f}). Nor does the teacher have to be
sure: {least_sure}.

{{table}}

Here all ten biases are corrected, by frequencies alone. The students of digits have as many steps whatever
is left out, the others 8 epochs of 60,000 new images. "classes that its teacher says": exp of the entropy
of its mean answer to 10,000 images, 10 when it says all classes equally often; "how sure": its mean largest
probability, T = 1; "cosine": of 1,000 images with the most similar training image, mean.
"""


STUDY = Study(
    "little", __doc__, POINTS, table, draw, words, preset=WHOLE_PROBE, n_seeds=5,
    caption="What the student saw, and what it then reads",
)  # fmt: skip
