"""The studies' Markdown tables, and what a point of a grid is called."""

from __future__ import annotations

from support.report import markdown
from support.settings import N_CLASSES

from collections.abc import Callable, Sequence
from typing import Any

from studies import beyond_tables, ingredients
from studies.claims import HEADER, TRANSFORMED, claim_rows
from studies.measured import Run, Settings, all_but, mean_sd
from studies.questions import STUDIES, Study, of_study

METRIC_COLUMNS = (
    ("seen classes, before", "before.other_accuracy"),
    ("unseen, before", "before.omitted_accuracy"),
    ("seen classes, after", "after.other_accuracy"),
    ("unseen, after", "after.omitted_accuracy"),
    ("all, after", "after.test_accuracy"),
)


def class_list(classes: Sequence[int]) -> str:
    return " ".join(map(str, classes)) if len(classes) <= 5 else f"all but {class_list(all_but(*classes))}"


def classes_seen(omitted: Sequence[int]) -> str:
    """What a student sees that never sees these classes; nothing where it sees no digit at all."""
    if len(omitted) == N_CLASSES:
        return ""
    return f"without {class_list(omitted)}" if omitted else "all classes"


ROW_NAMES: dict[str, Callable[[Any], str]] = {
    "temperature": lambda t: f"T = {t:g}",
    "student_hidden": lambda sizes: f"{sizes[0]} units",
    "omitted_class": lambda classes: classes_seen(classes),
    "hard_weight": lambda w: "hard labels" if w == 1 else "soft targets" if w == 0 else f"hard weight {w:g}",
    "transfer_fraction": lambda f: f"{100 * f:g} % of images",
    "transfer_choice": lambda choice: choice,
    "transfer_set": lambda kind: kind,
    "transfer_images": lambda n: f"{n:,} images",
    "teacher_answers": lambda how: f"answers: {how}",
    "teacher_omitted_class": lambda classes: f"teacher without {class_list(classes)}" if classes else "",
    "spare_outputs": lambda n: f"{n} spare outputs",
    "student_start": lambda start: f"start: {start}",
    "n_epochs_teacher": lambda n: f"teacher of {n} epochs",
    "learning_rate_student": lambda rate: f"student's rate {rate:g}",
    "dropout": lambda share: f"dropout {share:g}",
    "max_norm": lambda norm: f"norms up to {norm:g}",
    "probe": lambda probe: f"probe: {probe}",
    "probe_size": lambda n: f"probe of {n:,}" if n < 60_000 else "",
    "probe_share": lambda share: f"{100 * share:g} % unseen in the probe",
    "prior": lambda prior: f"prior: {prior}",
}


def row_name(settings: Settings) -> str:
    if settings in ingredients.GRID:
        return ingredients.name_of(settings)
    words = [ROW_NAMES[key](value) for key, value in settings.items() if key in ROW_NAMES]
    return ", ".join(word for word in words if word)


def study_table(study: Study, runs: Sequence[Run]) -> str:
    """Accuracies in per cent, mean ± standard deviation over seeds, a row per point of the grid."""
    rows = []
    for settings in study.grid:
        if mine := [run for run in runs if run.settings == settings]:
            rows.append([row_name(settings), *(mean_sd(mine, path, 100, 2) for _, path in METRIC_COLUMNS)])
    return markdown(["%", *(name for name, _ in METRIC_COLUMNS)], rows)


def tables(runs: Sequence[Run]) -> dict[str, str]:
    """The Markdown table of every study of which there are runs, by its name."""
    found = {}
    for name, study in STUDIES.items():
        if any(run.study == name for run in runs):
            mine = of_study(name, runs)
            if name in ("paper", TRANSFORMED):
                found[name] = markdown(HEADER, claim_rows(mine), n_left=2)
            elif name == "ingredients":
                found[name] = ingredients.ingredients_table(mine)
            elif name in beyond_tables.TABLES:
                found[name] = beyond_tables.TABLES[name](mine)
            else:
                found[name] = study_table(study, mine)
    return found
