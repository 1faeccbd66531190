"""Do the paper's claims hold?"""

from __future__ import annotations

import math

from studies import claims
from studies.measured import holds, mean
from studies.paths import ERRORS_AFTER, ERRORS_BEFORE
from studies.study import Runs, Settings, Study, at

# The paper's large net, regularised; the small one, as long as it pays. Chosen on held-out training images.
PRESET: Settings = {
    "n_epochs_teacher": 60, "batch_size": 512, "learning_rate": 2e-3, "lr_schedule": "linear",
    "dropout_input": 0.05, "dropout": 0.2, "max_norm": 3.0, "jitter": 2, "n_epochs_student": 20,
    "batch_size_student": 128, "learning_rate_student": 1e-3, "probe_size": 60_000,
}  # fmt: skip
POINTS: dict[str, Settings] = {
    "all classes, soft targets": claims.SOFT_ALL,
    "all classes, hard labels": claims.HARD_ALL,
    "all classes, hard weight 0.1": claims.MIXED_ALL,
    "without 3": claims.WITHOUT_3,
    "without all but 7 8": claims.ONLY_7_AND_8,
}
# Where ours and the paper's errors lie close together, more of them tell.
SEEDS_OF = dict.fromkeys(list(POINTS)[:3], 10)


def words(runs: Runs) -> str:
    mine = [run for run in runs if run.study == "paper"]
    soft, hard, mixed, _, only_7_8 = (at(mine, POINTS[name]) for name in POINTS)
    shares = [1 - mean(group, ERRORS_BEFORE) / mean(hard, ERRORS_BEFORE) for group in (soft, mixed)]
    rows = claims.claim_rows(runs)
    seventh = {row.words for row in rows if row.number == "7" and row.claim and row.claim.study == "paper"}
    holds("claim 7: not told apart", seventh <= {"as many", "not told apart"})
    left = 100 * mean(only_7_8, ERRORS_AFTER) / only_7_8[0].value("data.n_test")
    n_tested = sum(not math.isnan(row.p) for row in rows)
    return f"""
{{table}}

"difference" is our mean errors less the paper's figure. That figure is one run, so the 95 % interval is a
prediction interval: where one further run of ours would fall, by Student's t over our seeds; it ends where a
run would make no errors at all. With three seeds it is wide. A figure of the paper's that lies outside is
none that we would expect of our runs. Where two of our own settings are named, the difference is paired by
seed and the interval is that of its mean.
There are {n_tested} rows, of which one or two would exclude 0 by chance; p is Holm's, over all of them.
"Fewer errors" and "more errors" are said where the interval excludes 0, with "but not by Holm" where p does
not fall below 0.05; "as many" where the whole interval lies within the margin, twice the standard deviation
that such a number of errors has over test sets of 10,000 images (16 of 67, 29 of 206); "not told apart" of
the rest. The margin was declared when seeds 0 to 2 were known, and all of the transformed images, before any
further seed was run.

Rows of "transformed images" are of another set-up, the recipe `best` (60 and 40 epochs at batches of 512 and
256), all others of the settings below (60 and 20, 512 and 128): they say what else can be had.

Claim 3: with hard labels mixed in (weight 0.1) the small net makes {100 * shares[1]:.0f} % fewer errors than
with hard labels alone, with soft targets alone {100 * shares[0]:.0f} %; the paper's 74 are 49 % fewer than
its 146. Claim 5 holds on one side: with 30 units per layer and all classes, temperatures above 4 are clearly
worse than 2.5 to 4, but 1 and 2 are not.

Claims 6 to 9 are about classes that the student never saw, and ours hears no label at all; [the paper's
does](#at-which-weight-of-hard-labels-do-the-papers-errors-lie). Claim 7, with the bias corrected:
{" or ".join(sorted(seventh))}. Claim 8 is a discrepancy in our favour, not a reproduction; which difference
between the two experiments makes it, we do not know; a large weight of hard labels would. Claim 9: where
eight biases were corrected without test labels {left:.1f} % errors are left, where the paper chose one on the
test set 13.2 %.

Claims 4 and 5 are of the runs of `temperature`. The settings of the others, in the code as `PRESET` of
`studies/paper.py`: 60 teacher epochs at batch 512 and a rate of 2e-3, dropout of 0.05 of the pixels and 0.2
of the hidden units, `--max-norm 3`, shifts of 2 pixels; 20 student epochs (100 for 7s and 8s alone, which is
about as many steps) at batch 128 and 1e-3, and, as in the paper, no jitter in the transfer set; linear
schedules. They were chosen on the last 10,000 training images held out; [which limit on norms was
tried](results.md#what-are-the-recipes-and-how-were-they-chosen) mattered little.
"""


STUDY = Study(
    "paper", __doc__, POINTS, claims.claims_table, claims.draw_claims, words, preset=PRESET,
    seeds_of=SEEDS_OF, beside=("temperature", claims.TRANSFORMED), caption="The paper's claims and ours",
)  # fmt: skip
