"""What the tests beside this file share."""

from __future__ import annotations

from support.charts import our_style

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.text import Text
from small_studies import ROOT

from beyond.settings import Config
from studies.questions import STUDIES
from studies.study import Run

RESULTS = ROOT / "viz" / "study" / "results.json"
T = {2: 12.706205, 3: 4.302653, 4: 3.182446}  # Student's t, 97.5 %, by the number of values


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


def rows(table: str) -> list[list[str]]:
    """The cells of a Markdown table, line by line, those of its heading first."""
    header, _, *lines = table.splitlines()
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in (header, *lines)]


def cells(table: str) -> dict[tuple[str, str, str], str]:
    """The cells of a Markdown table by the row's first two cells and the column's heading."""
    header, *body = rows(table)
    return {(row[0], row[1], name): cell for row in body for name, cell in zip(header, row, strict=True)}


def interval(values: Sequence[float] | np.ndarray, digits: int, sign: str = "") -> str:
    """Mean and 95 % interval as a table has them."""
    mean, half = np.mean(values), T[len(values)] * np.std(values, ddof=1) / math.sqrt(len(values))
    return f"{mean:{sign}.{digits}f} ({mean - half:{sign}.{digits}f} to {mean + half:{sign}.{digits}f})"


def words_of(figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text) if text.get_visible())
