"""From data to results: a teacher, a student that learns from it alone, the same student from hard labels."""

from __future__ import annotations

from support import schedule, tiles
from support.console import Console, UserError
from support.data import VIZ, Data
from support.experiment import Experiment, whole_experiment
from support.report import shown_accuracies, warn_if_unreached
from support.settings import N_CLASSES
from support.stored import Session, TrainedRun, Training, code_of
from support.tiles import Workers

import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import cifar10.data
import cifar10.layers
import cifar10.network
import cifar10.optimisers
import cifar10.training
import distillation_mnist_omitted_3 as core
from cifar10.data import class_names, load_data
from cifar10.network import ConvNet
from cifar10.settings import Config
from cifar10.training import predict, train
from distillation_mnist_omitted_3 import (
    MAX_OFFSET,
    Lesson,
    correct_bias,
    distillation_loss,
    evaluate,
    hard_labels,
    transfer_set,
)
from transfer.images import of_training_images
from transfer.probes import frequencies

UNSEEN = "unseen"  # what tables call the omitted classes
N_TIMED = 1000  # test images that the speed is measured on

# What a training's result is made by: a change in any of them gives it another name in the store.
TRAINED_BY = (
    cifar10.data, cifar10.layers, cifar10.network, cifar10.optimisers, cifar10.training,
    sys.modules[__name__], core, schedule, tiles,
)  # fmt: skip


# ---- Teacher, student, baseline: the same loop with another network or another loss ------------------------


def train_teacher(config: Config, data: Data, session: Session) -> TrainedRun:
    """The large network, from hard labels, on all classes."""
    every_image = np.arange(len(data.train_labels))
    lesson = Lesson(data.train_images, every_image, hard_labels(data.train_labels))
    return stored_or_new("teacher", lesson, config, data, session)


def train_student(config: Config, data: Data, teacher: ConvNet, session: Session) -> TrainedRun:
    """The small network, from the frozen teacher's soft targets alone: no label reaches the loss.

    The teacher sees the very image that the student sees, mirrored and shifted as it is.
    """

    def loss(logits: np.ndarray, batch: np.ndarray, inputs: np.ndarray) -> tuple[float, np.ndarray]:
        np.copyto(teacher.inputs(len(batch)), inputs)
        return distillation_loss(logits, teacher.forward(session.workers), config.temperature)

    lesson = Lesson(data.train_images, transfer_indices(config, data), loss)
    return stored_or_new("student", lesson, config, data, session)


def train_baseline(config: Config, data: Data, session: Session) -> TrainedRun:
    """The student's network, start and images, but hard labels instead of a teacher."""
    lesson = Lesson(data.train_images, transfer_indices(config, data), hard_labels(data.train_labels))
    return stored_or_new("baseline", lesson, config, data, session)


def transfer_indices(config: Config, data: Data) -> np.ndarray:
    """Indices of the transfer set. Raises UserError when there are too few to normalise a batch over."""
    indices = transfer_set(data.train_labels, config.omitted_class)
    if len(indices) < 2:
        raise UserError("the students would see a single image; omit fewer classes or hold out less")
    return indices


def determinants(kind: str, config: Config, data: Data) -> dict[str, Any]:
    """Everything that decides the result of a training of `kind`, "teacher", "student" or "baseline"."""
    decisive: dict[str, Any] = {
        "kind": kind,
        "settings": asdict(config.training(kind)),
        "data": [data.name, data.sha256],
        "code": [code_of(module) for module in TRAINED_BY],
    }
    if kind != "teacher":
        decisive["omitted_class"] = config.omitted_class
    if kind == "student":
        decisive |= {"temperature": config.temperature, "teacher": asdict(config.training("teacher"))}
    return decisive


def stored_or_new(kind: str, lesson: Lesson, config: Config, data: Data, session: Session) -> TrainedRun:
    """The stored training of `kind` or, where there is none, a new one. Raises UserError when it diverges."""
    settings, omitted = config.training(kind), config.omitted_class if kind != "teacher" else ()
    network = ConvNet(settings.channels, np.random.default_rng(settings.weight_seed))
    return session.finished(
        Training(
            kind,
            determinants(kind, config, data),
            network,
            settings.n_epochs,
            train=lambda watcher: train(network, lesson, settings, session.workers, watcher),
            predict_test=lambda: predict(network, data.test_images, session.workers),
            output_shape=(len(data.test_labels), N_CLASSES),
            measure=lambda logits: evaluate(logits, data.test_labels, omitted),
            shown=shown_accuracies(UNSEEN if omitted else ""),
        )
    )


# ---- Pipeline ----------------------------------------------------------------------------------------------


def outdir_for(config: Config, data: Data) -> Path:
    """Where outputs go: drawn shapes never overwrite the figures of CIFAR-10."""
    return config.outdir or (VIZ / "rendered" if data.is_rendered else VIZ) / "cifar10"


def run(config: Config, console: Console | None = None) -> Experiment:
    """The whole experiment: data, teacher, student, baseline, bias correction. Raises UserError."""
    return whole_experiment(config, console or Console(quiet=True), load_data, outdir_for, run_on_data)


def run_on_data(data: Data, config: Config, session: Session, data_seconds: float = 0.0) -> Experiment:
    """The experiment on data that is already there, in a session that is open. Raises UserError."""
    teacher = train_teacher(config, data, session)
    student = train_student(config, data, teacher.network, session)
    runs = {"teacher": teacher, "student": student, "baseline": train_baseline(config, data, session)}
    networks = sizes_and_speeds(runs, data.test_images[:N_TIMED], session.workers)
    probe_logits = predict(student.network, data.train_images[: config.probe_size], session.workers)
    targets = frequencies(data.train_labels, config.omitted_class)
    correction = correct_bias(probe_logits, config.omitted_class, targets)
    warn_if_unreached(correction, MAX_OFFSET, session.console, class_names(data))
    return Experiment(
        config,
        data,
        runs,
        correction,
        probe_logits,
        measure=lambda logits: evaluate(logits, data.test_labels, config.omitted_class),
        outdir=outdir_for(config, data),
        transfer=of_training_images(data.train_images, transfer_indices(config, data)),
        n_threads=session.workers.n_threads,
        seconds={"data": data_seconds},
        networks=networks,
    )


def sizes_and_speeds(
    runs: dict[str, TrainedRun], images: np.ndarray, workers: Workers
) -> dict[str, dict[str, Any]]:
    """What each network costs: parameters, multiply-adds, and milliseconds per image for a forward pass."""
    milliseconds = {
        kind: milliseconds_per_image(runs[kind].network, images, workers) for kind in ("teacher", "student")
    }
    milliseconds["baseline"] = milliseconds["student"]  # the same network
    return {
        kind: {
            "parameters": one.network.n_trained,
            "multiply_adds": one.network.n_multiply_adds,
            "milliseconds_per_image": milliseconds[kind],
        }
        for kind, one in runs.items()
    }


def milliseconds_per_image(network: ConvNet, images: np.ndarray, workers: Workers) -> float:
    """Wall clock of a forward pass per image, in batches as `predict` makes them, the best of three."""
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        predict(network, images, workers)
        seconds.append(time.perf_counter() - started)
    return 1000 * min(seconds) / len(images)
