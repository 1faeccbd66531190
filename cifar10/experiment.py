"""From data to results: a teacher, a student that learns from it alone, the same student from hard labels."""

from __future__ import annotations

from support.console import Console
from support.data import VIZ, Data
from support.experiment import Experiment, check_results_file
from support.offsets import frequencies
from support.report import warn_if_unreached
from support.stored import Session, TrainedRun, open_session
from support.tiles import Workers

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cifar10.data import class_names, load_data
from cifar10.deployed import costs
from cifar10.lessons import (
    forecast_of,
    lesson_of,
    teacher_lesson,
    train_baseline,
    train_student,
    train_teacher,
)
from cifar10.settings import Config
from cifar10.training import predict, predict_views
from distillation_mnist_omitted_3 import MAX_OFFSET, correct_bias, evaluate


def outdir_for(config: Config, data: Data) -> Path:
    """Where outputs go: drawn shapes never overwrite the figures of CIFAR-10."""
    return config.outdir or (VIZ / "rendered" if data.is_rendered else VIZ) / "cifar10"


def run(config: Config, console: Console | None = None) -> Experiment:
    """The whole experiment: data, teacher, student, baseline, bias correction. Raises UserError."""
    started, console = time.perf_counter(), console or Console(quiet=True)
    data = load_data(config, console)
    check_results_file(outdir_for(config, data))  # which is better known before the trainings
    seconds = time.perf_counter() - started
    with open_session(config.cache_folder, config.retrain, console) as session:
        return run_on_data(data, config, session, seconds)


def run_on_data(data: Data, config: Config, session: Session, data_seconds: float = 0.0) -> Experiment:
    """The experiment on data that is already there, in a session that is open. Raises UserError."""
    # Of how many images, too, which may be too few: before anything is trained.
    session = replace(session, forecast=forecast_of(config, data, session))
    teacher = train_teacher(config, data, session)
    student = train_student(config, data, teacher.network, session)
    runs = {"teacher": teacher, "student": student, "baseline": train_baseline(config, data, session)}
    networks = costs_of_all(runs, data, session.workers)
    probe_logits = predict(student.network, data.train_images[: config.probe_size], session.workers)
    targets = frequencies(data.train_labels, config.omitted_class)
    correction = correct_bias(probe_logits, config.omitted_class, targets)
    warn_if_unreached(correction, MAX_OFFSET, session.console, class_names(data))
    return Experiment(
        config, data, runs, correction, probe_logits,
        measure=lambda logits: evaluate(logits, data.test_labels, config.omitted_class),
        lesson=lesson_of("student", teacher_lesson(data), config, data),  # its images; the loss is no matter
        outdir=outdir_for(config, data), n_threads=session.workers.n_threads,
        seconds={"data": data_seconds}, networks=networks,
    )  # fmt: skip


def costs_of_all(runs: dict[str, TrainedRun], data: Data, workers: Workers) -> dict[str, dict[str, Any]]:
    """What each network costs and, of the teacher, how right its answers with mirrored views averaged are."""
    images, labels = data.test_images, data.test_labels
    found = {
        kind: costs(run.network, images, labels, workers, timed=kind != "baseline")
        for kind, run in runs.items()
    }
    times = {key: value for key, value in found["student"].items() if key.startswith("milliseconds")}
    found["baseline"] |= times  # the same network
    unshifted = np.zeros((len(images), 2), np.uint8)
    mirrored = predict_views(runs["teacher"].network, images, unshifted, 0, True, workers)
    answers = runs["teacher"].test_logits[-1] + mirrored
    found["teacher"]["test_accuracy_both_views"] = float((answers.argmax(axis=1) == labels).mean())
    return found
