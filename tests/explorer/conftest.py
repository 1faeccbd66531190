"""What the tests of this folder are given."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from explorer_pages import opened, resized, shared_browser, wrong_on_the_console

import distillation_mnist_omitted_3 as core
from explorer import rounding


@pytest.fixture
def small(explorer_run: tuple[Path, core.Experiment]) -> tuple[Path, core.Experiment]:
    """The page of a small run on rendered digits, and that run."""
    return explorer_run


@pytest.fixture
def page(explorer_run: tuple[Path, core.Experiment]) -> Iterator[Any]:
    """A browser with the small page, freshly opened; nothing may be wrong on its console at the end."""
    driver = shared_browser()
    resized(driver, 1280, 900)
    opened(driver, explorer_run[0])
    wrong_on_the_console(driver)
    yield driver
    assert wrong_on_the_console(driver) == []


@pytest.fixture
def rounded_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages round every weight to the nearest integer: what they do otherwise takes long."""

    def to_the_nearest(weights: np.ndarray, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        scales = np.maximum(np.abs(weights).max(axis=1) / 127, 1e-9).astype(np.float32)
        return np.rint(weights / scales[:, None]).astype(np.int8), scales

    monkeypatch.setattr(rounding, "rounded_weights", to_the_nearest)
