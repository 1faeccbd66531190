"""What the tests beside this file share."""

from __future__ import annotations

from support.charts import our_style

from matplotlib.text import Text
from small_studies import ROOT

from beyond.settings import Config
from studies.questions import STUDIES
from studies.study import Run

RESULTS = ROOT / "viz" / "study" / "results.json"


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
            {"data": {"n_test": 10_000}, "student": {"before_correction": {"test_errors": e}}},
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
