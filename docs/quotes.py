"""What the pages' quotes share: paths of metrics in a run, and means of them as they are written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from docs.committed import value_mean as mean

BEFORE, AFTER = "student.before_correction.", "student.after_correction."
UNSEEN_BEFORE, UNSEEN_AFTER = BEFORE + "omitted_accuracy", AFTER + "omitted_accuracy"
SEEN_BEFORE, SEEN_AFTER = BEFORE + "other_accuracy", AFTER + "other_accuracy"
ALL_BEFORE, ALL_AFTER = BEFORE + "test_accuracy", AFTER + "test_accuracy"
ERRORS_BEFORE, ERRORS_AFTER = BEFORE + "test_errors", AFTER + "test_errors"
UNSEEN_ERRORS_BEFORE, UNSEEN_ERRORS_AFTER = BEFORE + "omitted_errors", AFTER + "omitted_errors"

Quote = tuple[Any, ...]  # a fragment of a page, and the figure that stands for each # in it


def count(runs: Sequence[Any], path: str) -> str:
    return f"{mean(runs, path):,.0f}"


def percent(runs: Sequence[Any], path: str, digits: int = 0) -> str:
    return f"{100 * mean(runs, path):.{digits}f}"
