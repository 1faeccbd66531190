"""Do hard labels help or harm?"""

from __future__ import annotations

from support.charts import percent_axis, say_if_cut

from matplotlib.figure import Figure

from studies.charts import draw_curve, legend_below, study_figure, unseen
from studies.looks import BLACK_STYLE, SEEN_STYLE, UNSEEN_AFTER_STYLE, UNSEEN_BEFORE_STYLE
from studies.measured import mean, mean_sd, percent
from studies.paths import SEEN_AFTER, SEEN_BEFORE, UNSEEN_AFTER, UNSEEN_BEFORE
from studies.study import WHOLE_PROBE, Runs, Settings, Study, at, choices, where
from studies.tables import metric_table

WEIGHTS = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
NAMES = {0.0: "soft targets", 1.0: "hard labels"}
POINTS: dict[str, Settings] = {NAMES.get(w, f"hard weight {w:g}"): {"hard_weight": w} for w in WEIGHTS}


def draw(question: str, runs: Runs) -> Figure:
    figure = study_figure(runs, f"{question}  Those of the classes seen, mixed in", (11, 5.2))
    left, right = figure.subplots(1, 2)
    weights = choices(runs, "hard_weight")
    groups = [where(runs, hard_weight=w) for w in weights]
    before, after = {"label": "before the correction"}, {"label": "after it"}
    draw_curve(left, weights, groups, UNSEEN_BEFORE, **before, **UNSEEN_BEFORE_STYLE)
    draw_curve(left, weights, groups, UNSEEN_AFTER, **after, **UNSEEN_AFTER_STYLE)
    left.set_title(f"test accuracy on {unseen(runs)}, never seen")
    left.set_ylim(-0.03, 1.03)
    draw_curve(right, weights, groups, SEEN_BEFORE, **before, **SEEN_STYLE)
    draw_curve(right, weights, groups, SEEN_AFTER, **after, **BLACK_STYLE)
    right.set_title("test accuracy on the classes seen")
    for axes in (left, right):
        axes.set_xlabel("weight of the hard labels (0: soft targets alone)")
        percent_axis(axes)
        say_if_cut(axes)
        legend_below(axes, 2)
    return figure


def words(runs: Runs) -> str:
    soft, hard, tenth, most, nine = (
        at(runs, POINTS[name])
        for name in ("soft targets", "hard labels", "hard weight 0.1", "hard weight 0.75", "hard weight 0.9")
    )
    seen = [mean_sd(group, SEEN_BEFORE, 100, 2) for group in (soft, hard, most)]
    offsets = sorted(run.value("bias_correction.offsets.0") for run in hard)
    lost = 100 * (mean(hard, SEEN_BEFORE) - mean(hard, SEEN_AFTER))
    return f"""
On the nine classes that it sees, a student needs hardly any labels. Without them it reads {seen[0]} % of
these images, with hard labels alone {seen[1]} %, and at best, at a weight of 0.75, {seen[2]} %. On the
class that it never sees, labels cost little at first ({percent(tenth, UNSEEN_BEFORE, 1)} % before the
correction at a weight of 0.1) and much in the end ({percent(nine, UNSEEN_BEFORE, 1)} % at 0.9); no weight
helps.

Hard labels alone are the control of the whole experiment. That student recognises
{percent(hard, UNSEEN_BEFORE)} % of the 3s, and the correction does not repair it. Its mean probability of
"3" meets the frequency of 3s only at an offset of {offsets[0]:.0f} to {offsets[-1]:.0f} (soft targets need
about {mean(soft, "bias_correction.offsets.0"):.0f}). With it, it finds {percent(hard, UNSEEN_AFTER, 1)} %
of the 3s, and loses {lost:.0f} points on the other classes.

{{table}}
"""


STUDY = Study(
    "hard-mix", __doc__, POINTS, metric_table(POINTS), draw, words, preset=WHOLE_PROBE,
    caption="Hard labels mixed in",
)  # fmt: skip
