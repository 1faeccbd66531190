"""What the tests of this folder are given."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_pictures import SOME, maker


@pytest.fixture(scope="session")
def made(small_folder: Path, tmp_path_factory: pytest.TempPathFactory):
    return maker(small_folder, tmp_path_factory.mktemp("cache"), SOME)
