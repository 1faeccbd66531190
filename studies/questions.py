"""The studies in their order, and the configs that they ask for: a new one is a file, and its name here."""

from __future__ import annotations

from support.console import UserError

from collections.abc import Sequence
from importlib import import_module

from beyond.settings import RECIPES, Config
from studies.study import Settings, Study

ORDER = [  # the files of this folder
    "paper", "transformed", "ingredients", "temperature", "omitted_class", "several_omitted",
    "student_size", "hard_mix", "label_weight", "transfer_size", "answers", "images", "little",
    "contours", "subliminal", "sevens_and_eights", "prior", "spread", "slope", "handwriting",
    "corruption", "teachers",
]  # fmt: skip
STUDIES: dict[str, Study] = {
    study.name: study for study in (import_module(f"studies.{name}").STUDY for name in ORDER)
}

Plan = dict[tuple[str, int], list[Config]]  # by study and the point's place in its grid, one config per seed


def plan(names: Sequence[str], given: Settings, n_seeds: int | None = None) -> Plan:
    """The configs of all points, of as many seeds as the committed runs unless told. Raises UserError."""
    first_seed = given.get("seed", 0)
    planned: Plan = {}
    for name in names:
        study = STUDIES[name]
        for place, (called, point) in enumerate(study.points.items()):
            if "omitted_class" not in point and given.get("omitted_class") == ():
                raise UserError(f"--study {name} is about classes left out; leave out at least one")
            recipe = {"recipe": point.get("recipe", given.get("recipe", "fast"))}
            settings = {**RECIPES[recipe["recipe"]], **study.preset, **recipe, **given, **point}
            n = n_seeds or study.seeds_of.get(called, study.n_seeds)
            seeds = range(first_seed, first_seed + n * study.apart, study.apart)
            planned[name, place] = [Config(**{**settings, "seed": seed}) for seed in seeds]
    return planned
