"""How the studies' pictures mark what they show, alike in all of them."""

from __future__ import annotations

from support.charts import AFTER, BEFORE, INK, OTHERS

from studies.paths import ALL_AFTER, ALL_BEFORE, UNSEEN_AFTER, UNSEEN_BEFORE

UNSEEN_BEFORE_STYLE = {"color": BEFORE, "marker": "o", "linestyle": "--"}
UNSEEN_AFTER_STYLE = {"color": AFTER, "marker": "D", "linestyle": "-"}
SEEN_STYLE = {"color": OTHERS, "marker": "s", "linestyle": "-"}
BLACK_STYLE = {"color": INK, "marker": "v", "linestyle": ":"}
MEAN_SD = "mean ± standard deviation"
DOTS = "dots: seeds, bars or lines: their mean"
# (path, label, colour) of what `draw_rows` draws side by side
UNSEEN_SERIES = (
    (UNSEEN_BEFORE, "before the bias correction", BEFORE), (UNSEEN_AFTER, "after it", AFTER),
)  # fmt: skip
ALL_SERIES = (
    (ALL_BEFORE, "before the biases are corrected", BEFORE),
    (ALL_AFTER, "after it, by frequencies alone", AFTER),
)
