"""What the tests of this folder are given."""

from __future__ import annotations

from pathlib import Path

import pytest

import distillation_mnist_omitted_3 as core


@pytest.fixture
def small(explorer_run: tuple[Path, core.Experiment]) -> tuple[Path, core.Experiment]:
    """The page of a small run on rendered digits, and that run."""
    return explorer_run
