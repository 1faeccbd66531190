"""What the tests of this folder are given."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from scripts_run import MAIN, SMALL, call


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess]:
    """A small run on rendered digits."""
    folder = tmp_path_factory.mktemp("rendered")
    flags = (*SMALL, "--dataset", "rendered", "--outdir", "out", "--learning-rate", "0.003")
    return folder, call(MAIN, *flags, cwd=folder)
