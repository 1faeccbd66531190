"""Is the knowledge in what the teacher says of 3?"""

from __future__ import annotations

from support.report import markdown

from matplotlib.figure import Figure

from studies.charts import draw_rows, legend_below, percent_x, study_figure
from studies.looks import DOTS, UNSEEN_SERIES
from studies.measured import between, holds, mean, percent
from studies.paths import SEEN_AFTER, UNSEEN_AFTER, UNSEEN_BEFORE
from studies.study import WHOLE_PROBE, Runs, Settings, Study, at
from studies.tables import percent_cell, points_cell, rows_of

HEARD = {
    "everything": {"teacher_answers": "whole"},
    "the logits for 3 shuffled within each class": {"teacher_answers": "shuffled"},
    "for 3 the mean of each class": {"teacher_answers": "class-mean"},
    "for 3 one mean of all images, 3s among them": {"teacher_answers": "mean"},
    "for 3 everything, for the others the mean of each class": {"teacher_answers": "alone"},
    "a teacher that never saw a 3 either": {"teacher_omitted_class": (3,)},
}
POINTS: dict[str, Settings] = {name: {"omitted_class": (3,), **heard} for name, heard in HEARD.items()}


def table(runs: Runs) -> str:
    whole, found = at(runs, POINTS["everything"]), []
    for name, mine in rows_of(runs, POINTS):
        less = points_cell(mine, whole, UNSEEN_AFTER) if mine != whole else ""
        found.append([name, *(percent_cell(mine, path) for path in (UNSEEN_BEFORE, UNSEEN_AFTER)),
                      percent_cell(mine, SEEN_AFTER), less])  # fmt: skip
    header = ["the student hears", "3s, before", "3s, after", "others, after", "3s, after, less everything"]
    return markdown(header, found)


def draw(question: str, runs: Runs) -> Figure:
    figure = study_figure(runs, question, (11, 4.6), DOTS)
    axes = figure.subplots()
    draw_rows(axes, rows_of(runs, POINTS), UNSEEN_SERIES)
    axes.set_ylabel("what the student hears of the teacher")
    axes.set_xlabel("test 3s recognised by a student that never saw one")
    axes.set_xlim(-2, 102)
    percent_x(axes)
    legend_below(axes, 2, -0.2, 0.4)
    return figure


def words(runs: Runs) -> str:
    whole, shuffled, class_mean, one_mean, alone, untaught = (at(runs, POINTS[name]) for name in HEARD)
    none = holds("recognise none before the correction", mean(untaught, UNSEEN_BEFORE) == 0)
    return f"""
Yes, and in how it differs from image to image of one class. With the logit for 3 replaced by its mean over
each class, or shuffled among the images of each class, {between((class_mean, shuffled), UNSEEN_BEFORE)} %
of the unseen 3s are recognised before the correction, where everything gives
{percent(whole, UNSEEN_BEFORE)} %. That logit alone, with the mean of the class for all others, gives
{percent(alone, UNSEEN_BEFORE)} %.

{{table}}

Yet a raised bias finds {between((class_mean, shuffled), UNSEEN_AFTER)} % of the 3s for those students, and
{percent(one_mean, UNSEEN_AFTER)} % for one that hears the same about 3 from every image. Perhaps these call
an image a 3 when the other nine logits say that it is like no other class; that was not measured. A teacher
that itself never saw a 3 has no such answers to give. Its students {none} and
{percent(untaught, UNSEEN_AFTER)} % after it, about what [hard labels](#do-hard-labels-help-or-harm) give:
the negative control.

(Means are over the images of the transfer set's classes, by their labels: this is a control, no way to
learn. "Others": test accuracy on the nine classes that were seen, after the correction.)
"""


STUDY = Study(
    "answers", __doc__, POINTS, table, draw, words, preset=WHOLE_PROBE, n_seeds=5,
    caption="What is left when a part of the answers is taken out",
)  # fmt: skip
