"""The studies: a question, a grid of settings, and the configs that these ask for."""

from __future__ import annotations

from support.console import UserError

from collections.abc import Sequence
from dataclasses import dataclass, field

from beyond.settings import RECIPES, Config
from studies import beyond, ingredients
from studies.claims import (
    ALL_DIGITS,
    HARD_ALL,
    MIXED_ALL,
    NO_3S,
    ONLY_7_AND_8,
    SOFT_ALL,
    TRANSFORMED,
    WITHOUT_3,
)
from studies.measured import EVERY_CLASS, Run, Settings, all_but


@dataclass(frozen=True)
class Study:
    """A question and what answers it: a `preset`, which flags override, and a grid, which wins."""

    name: str
    question: str
    grid: Sequence[Settings]
    preset: Settings = field(default_factory=dict)
    beside: Sequence[str] = ()  # other studies whose runs stand in its table and picture, too

    @property
    def picture(self) -> str:
        """The name of its picture's file."""
        return f"{self.name.replace('-', '_')}.png"


# The paper's large net, regularised; the small one, as long as it pays. Chosen on held-out training images.
PAPER_PRESET = {
    "n_epochs_teacher": 60,
    "batch_size": 512,
    "learning_rate": 2e-3,
    "lr_schedule": "linear",
    "dropout_input": 0.05,
    "dropout": 0.2,
    "max_norm": 3.0,
    "jitter": 2,
    "n_epochs_student": 20,
    "batch_size_student": 128,
    "learning_rate_student": 1e-3,
    "probe_size": 60_000,
}
TEMPERATURES = (1.0, 2.0, 2.5, 3.0, 4.0, 6.0, 8.0, 12.0, 20.0, 50.0)
EPOCHS_BY_UNITS = {800: 6, 300: 10, 30: 20}  # small nets learn longer, and cost less
SIZES = (5, 10, 20, 30, 50, 100, 200, 400, 800, 1200)
WEIGHTS = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
FRACTIONS = (1.0, 0.5, 0.2, 0.1, 0.05, 0.01)
SEVERAL = {
    1: ((0,), (3,), (4,), (8,)),
    2: ((0, 1), (3, 5), (4, 9), (7, 8)),
    3: ((0, 1, 2), (2, 6, 7), (3, 5, 8), (4, 7, 9)),
    5: ((0, 1, 2, 3, 4), (5, 6, 7, 8, 9), (0, 2, 4, 6, 8), (1, 3, 5, 7, 9)),
    8: (all_but(7, 8), all_but(0, 1), all_but(3, 5), all_but(4, 9)),
}
EPOCHS_BY_OMITTED = {1: 6, 2: 7, 3: 8, 5: 12, 8: 30}  # about as many steps whatever is left out
WHOLE_PROBE = {"probe_size": 60_000}

STUDIES = {
    study.name: study
    for study in (
        Study(
            "paper",
            "Do the paper's claims hold?",
            [SOFT_ALL, HARD_ALL, MIXED_ALL, WITHOUT_3, ONLY_7_AND_8],
            PAPER_PRESET,
            beside=("temperature", TRANSFORMED),
        ),
        Study(TRANSFORMED, "How far do transformed images go?", [ALL_DIGITS, NO_3S], RECIPES["best"]),
        Study(
            "ingredients",
            "Which transformations help, and in whose training?",
            ingredients.GRID,
            RECIPES["middle"] | {"n_epochs_teacher": 10, "n_epochs_student": 10},
        ),
        Study(
            "temperature",
            "Which temperature, for which size of student?",
            [
                {
                    "temperature": t,
                    "student_hidden": (n, n),
                    "omitted_class": omitted,
                    "n_epochs_student": epochs,
                }
                for n, epochs in EPOCHS_BY_UNITS.items()
                for omitted in ((3,), ())
                for t in TEMPERATURES
            ],
            WHOLE_PROBE,
        ),
        Study("omitted-class", "Is 3 special?", [{"omitted_class": (c,)} for c in EVERY_CLASS], WHOLE_PROBE),
        Study(
            "several-omitted",
            "How many classes can be left out at once?",
            [
                {"omitted_class": classes, "n_epochs_student": EPOCHS_BY_OMITTED[n]}
                for n, alternatives in SEVERAL.items()
                for classes in alternatives
            ],
            WHOLE_PROBE,
        ),
        Study(
            "student-size",
            "How small can the student be?",
            [{"student_hidden": (n, n)} for n in SIZES],
            WHOLE_PROBE | {"n_epochs_student": 12},
        ),
        Study("hard-mix", "Do hard labels help or harm?", [{"hard_weight": w} for w in WEIGHTS], WHOLE_PROBE),
        Study(
            "transfer-size",
            "How much data does dark knowledge need?",
            [{"transfer_fraction": f, "hard_weight": w} for f in FRACTIONS for w in (0.0, 1.0)],
            WHOLE_PROBE,
        ),
        Study("answers", "Is the knowledge in what the teacher says of 3?", beyond.ANSWERS, WHOLE_PROBE),
        Study("images", "In which images does the knowledge of a 3 sit?", beyond.IMAGES, WHOLE_PROBE),
        Study("little", "How little must a student see?", beyond.LITTLE, WHOLE_PROBE),
        Study("contours", "Taught by contour lines of noise: what matters?", beyond.CONTOUR_POINTS),
        Study("subliminal", "Through outputs that mean nothing?", beyond.SUBLIMINAL, beyond.SPARE_PRESET),
        Study(
            "sevens-and-eights",
            "7s and 8s alone: why 3 % errors here, 6 % there?",
            beyond.DISCREPANCY,
            WHOLE_PROBE,
        ),
        Study("prior", "Must one know how often 3s occur?", beyond.PRIORS, WHOLE_PROBE),
    )
}


def of_study(name: str, runs: Sequence[Run]) -> list[Run]:
    """The runs that a study's table and picture show."""
    return [run for run in runs if run.study in (name, *STUDIES[name].beside)]


Plan = dict[tuple[str, int], list[Config]]  # by study and the point's place in its grid, one config per seed


def plan(names: Sequence[str], given: Settings, n_seeds: int) -> Plan:
    """The configs of every point of every study. Raises UserError for settings that make no sense."""
    recipe = {"recipe": "fast", **{k: v for k, v in given.items() if k == "recipe"}}
    first_seed = given.get("seed", 0)
    planned: Plan = {}
    for name in names:
        study = STUDIES[name]
        for place, point in enumerate(study.grid):
            if "omitted_class" not in point and given.get("omitted_class") == ():
                raise UserError(f"--study {name} is about classes left out; leave out at least one")
            settings = {**RECIPES[recipe["recipe"]], **study.preset, **recipe, **given, **point}
            planned[name, place] = [
                Config(**{**settings, "seed": seed}) for seed in range(first_seed, first_seed + n_seeds)
            ]
    return planned
