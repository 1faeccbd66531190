"""What the tests beside this file share."""

from __future__ import annotations

from support.console import Console
from support.data import Data
from support.experiment import Experiment
from support.stored import open_session

from pathlib import Path

import numpy as np

import distillation_mnist_omitted_3 as core
from cifar10.experiment import run_on_data
from cifar10.network import ConvNet
from cifar10.settings import Config
from cifar10.training import predict

ROOT = Path(__file__).resolve().parents[2]
QUIET = Console(quiet=True)
SMALL = {
    "teacher_channels": ("5", "M", "4"), "student_channels": ("3", "M", "4"), "n_epochs_teacher": 2,
    "n_epochs_student": 2, "batch_size": 20, "batch_size_student": 15, "learning_rate": 0.1,
    "learning_rate_student": 0.2, "learning_rate_baseline": 0.15, "n_versions": 2, "label_fraction": 0.7,
    "transfer_fraction": 0.6, "jitter": 2, "jitter_student": 1, "probe_size": 30, "weight_decay": 0.1,
    "weight_decay_student": 0.05,
    "omitted_class": (3,), "seed": 4, "temperature": 5.0, "optimiser": "nesterov",
    "optimiser_student": "nesterov",
}  # fmt: skip


def trained(data: Data, folder: Path, **changed: object) -> Experiment:
    config = Config(**{**SMALL, "cache_dir": folder, **changed})
    with open_session(config.cache_folder, config.retrain, QUIET) as session:
        return run_on_data(data, config, session)


def predict_all(network: ConvNet, data: Data) -> np.ndarray:
    with core.Workers(1) as workers:
        return predict(network, data.test_images, workers)
