"""What the tests of this folder are given."""

from __future__ import annotations

from support.data import Data
from support.experiment import Experiment

import pytest
from small_cifar10 import small_data
from small_run import trained

from cifar10 import deployed


@pytest.fixture(scope="module")
def data() -> Data:
    """The first 66 and 30 images: three full batches, some left over, two groups to predict."""
    whole = small_data()
    parts = (whole.train_images[:66], whole.train_labels[:66], whole.test_images[:30], whole.test_labels[:30])
    return Data("CIFAR-10 variant", *parts, {"images": "0"})


@pytest.fixture(scope="module")
def small(data: Data, tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    return trained(data, tmp_path_factory.mktemp("small"))


@pytest.fixture(autouse=True, scope="module")
def little_is_timed():
    """Seconds of a forward pass are measured on a few images, once: what is timed matters to no test here."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("N_TIMED", 20), ("N_ALONE", 2), ("N_ROUNDS", 1)):
            patch.setattr(deployed, name, value)
        yield
