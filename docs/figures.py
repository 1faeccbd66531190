"""What the quotes of every page share: means of metrics in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from docs.committed import value_mean as mean

Quote = tuple[Any, ...]  # a fragment of a page, and the figure that stands for each # in it


def count(runs: Sequence[Any], path: str) -> str:
    return f"{mean(runs, path):,.0f}"


def percent(runs: Sequence[Any], path: str, digits: int = 0) -> str:
    return f"{100 * mean(runs, path):.{digits}f}"
