"""What the tests beside this file share."""

from __future__ import annotations

from support.charts import our_style

import numpy as np
from matplotlib.text import Text
from small_studies import ROOT

from beyond.handwriting import WAYS
from beyond.settings import Config
from studies.questions import STUDIES
from studies.study import Run

NOTHING = {
    name + suffix: 0
    for name in ("jitter", "rotation", "scaling", "shear", "elastic")
    for suffix in ("", "_student")
}
RESULTS = ROOT / "viz" / "study" / "results.json"


def read_elsewhere(rng: np.random.Generator, config: Config) -> dict:
    """What the study of handwriting measures besides, every accuracy another one."""
    names = ("teacher", *WAYS)

    def read() -> dict:
        parts = ("accuracy", "omitted_accuracy", "other_accuracy")
        return dict(zip(parts, rng.uniform(0.9, 1, 3).tolist(), strict=True))

    return {
        **{name: read() for name in names},
        "test": {name: read() for name in names},
        "per_class_accuracy": {name: rng.uniform(0.9, 1, 10).tolist() for name in ("teacher", "before")},
        "offsets": {way: rng.uniform(1, 2, len(config.omitted_class)).tolist() for way in WAYS},
        "n_images": {"all": 9298, "test": 2007},
        "class_shares": rng.dirichlet(np.ones(10)).tolist(),
    }


# What studies measure besides, made up: by study, from a generator and the config of a run.
FURTHER = {"handwriting": read_elsewhere}


def runs_with_errors(*errors: int) -> list[Run]:
    record = {"data": {"name": "MNIST", "n_test": 10_000}}
    return [
        Run("paper", {}, Config(seed=seed), {**record, "teacher": {"test_errors": e}})
        for seed, e in enumerate(errors)
    ]


def group(errors: dict[int, int], **settings) -> list[Run]:
    """Runs of the study of temperatures: their test errors by seed."""
    return [
        Run(
            "temperature", {}, Config(seed=seed, omitted_class=(), **settings),
            {"student": {"before_correction": {"test_errors": e}}},
        )
        for seed, e in errors.items()
    ]  # fmt: skip


def drawn(name: str, runs: list[Run]):
    with our_style():
        figure = STUDIES[name].draw(STUDIES[name].question, STUDIES[name].shown(runs))
    return figure


def cells(table: str) -> dict[tuple[str, str, str], str]:
    """The cells of a Markdown table by the row's first two cells and the column's heading."""
    header, _, *rows = [[c.strip() for c in line.strip("|").split("|")] for line in table.splitlines()]
    return {(row[0], row[1], name): cell for row in rows for name, cell in zip(header, row, strict=True)}


def words_of(figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text) if text.get_visible())
