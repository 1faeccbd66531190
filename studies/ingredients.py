"""Which transformations of the images help, and in whose training: that study's grid and its table."""

from __future__ import annotations

from support.report import markdown

from collections.abc import Sequence

from beyond.settings import TRANSFORMATIONS
from studies.claims import paired_difference
from studies.measured import Run, Settings, mean_sd

AFTER = "after.test_errors"
KINDS = {
    "none": (),
    "shifts": ("jitter",),
    "affine": ("rotation", "scaling", "shear"),
    "elastic": ("elastic",),
    "all": ("jitter", "rotation", "scaling", "shear", "elastic"),
}
WHOSE = ("the teacher alone", "the student alone", "both")


def point(kind: str, whose: str) -> Settings:
    """The settings that turn one kind of transformation on, as far as the recipes go, and all others off."""
    on = {name for name in KINDS[kind] if whose != WHOSE[1]}
    on |= {f"{name}_student" for name in KINDS[kind] if whose != WHOSE[0]}
    return {name: limit if name in on else 0 * limit for name, limit in TRANSFORMATIONS.items()}


def name_of(settings: Settings) -> str:
    """What a point is called: "elastic, the student alone"."""
    return next(
        f"{kind}, {whose}" for kind in KINDS for whose in WHOSE[::-1] if point(kind, whose) == settings
    )


GRID = [point("none", "both"), *(point(kind, whose) for kind in list(KINDS)[1:] for whose in WHOSE)]


def runs_at(runs: Sequence[Run], kind: str, whose: str) -> list[Run]:
    """Those of one point; without transformations it is the same point whoever does without."""
    wanted = point(kind, "both" if kind == "none" else whose)
    return [run for run in runs if run.settings == wanted]


def ingredients_table(runs: Sequence[Run]) -> str:
    """Test errors of the teacher and of the corrected student, and what both together gain, seed by seed."""
    plain, rows = runs_at(runs, "none", "both"), []
    for kind in KINDS:
        cells = [mean_sd(mine, AFTER) for whose in WHOSE if (mine := runs_at(runs, kind, whose))]
        both = runs_at(runs, kind, "both")
        if both and len(cells) == len(WHOSE):
            gain = "" if kind == "none" else str(paired_difference(both, plain, AFTER) or "")
            on_unseen = mean_sd(both, "after.omitted_errors")
            rows.append([kind, mean_sd(both, "teacher.test_errors"), *cells, on_unseen, gain])
    columns = ["transformations", "teacher", *(f"student: {whose}" for whose in WHOSE)]
    return markdown([*columns, "of these, on 3s", "both less none (95 % interval)"], rows)
