"""From data to a finished experiment: section 3 as the core has it, and what goes beyond it."""

from __future__ import annotations

from support.console import Console
from support.data import Data
from support.experiment import Experiment, check_results_file
from support.report import warn_if_unreached
from support.settings import N_CLASSES
from support.stored import Session, TrainedRun, open_session
from support.tiles import Workers

import time
from typing import Any

import numpy as np

import distillation_mnist_omitted_3 as core
from beyond.answers import altered_answers, answers_as_seen, of_outputs, soft_targets_in_part
from beyond.data import load_data, outdir_for
from beyond.images import Drawing, described, part_of
from beyond.labels import shown_labels, smoothed
from beyond.probes import check_probe, probe_and_targets
from beyond.settings import WITHIN, Config
from distillation_mnist_omitted_3 import (
    MLP,
    Answers,
    Lesson,
    hard_labels,
    images_without,
    mixed,
    soft_targets,
)


def teacher_lesson(config: Config, data: Data) -> Lesson:
    """Hard labels, wrong or smoothed ones too, on images that it sees; nothing trains its spare outputs."""
    if not config.unusual("teacher"):
        return core.teacher_lesson(data)
    seen = images_without(data.train_labels, config.teacher_omitted_class)
    loss = smoothed(shown_labels(config, data.train_labels), config.label_smoothing)
    return Lesson(data.train_images, seen, of_outputs(slice(0, N_CLASSES), loss))


def answers_for(config: Config, data: Data, teacher: MLP, workers: Workers) -> Answers:
    """What the student hears of its teacher's outputs, which must see the image as the student does."""
    settings = config.training("student")
    if settings.limits.change or config.is_drawn:
        return answers_as_seen(teacher, min(settings.batch_size, len(data.train_labels)), workers)
    return altered_answers(teacher, data.train_images, data.train_labels, config, workers)


def chosen_images(config: Config, data: Data, teacher: MLP, workers: Workers) -> np.ndarray:
    """Indices of the training images that the student learns from: all, a random share, or a chosen one."""
    omitted, rank, within = list(config.omitted_class), None, None
    if config.transfer_choice != "random":
        logits = core.predict(teacher, data.train_images, workers)[:, :N_CLASSES]
        likeness = core.softmax(logits, config.temperature)[:, omitted].sum(axis=1)
        rank = likeness if config.transfer_choice.startswith("least-like") else -likeness
        within = data.train_labels if config.transfer_choice in WITHIN else None
    indices = images_without(data.train_labels, omitted)
    if config.transfer_fraction < 1:
        return part_of(indices, config.transfer_fraction, config.seed + 47, rank, within)
    return indices


def is_section_3(config: Config) -> bool:
    """Whether the student's lesson is the one of the paper."""
    return not config.unusual("student") and not config.training("student").limits.change


def student_lesson(config: Config, data: Data, teacher: MLP, workers: Workers) -> Lesson:
    """The core's lesson, or one with other images, other answers, or learned from other outputs."""
    if is_section_3(config):
        return core.student_lesson(config, data, teacher, workers)
    answers = answers_for(config, data, teacher, workers)
    heard = slice(N_CLASSES, None) if config.spare_outputs else slice(0, N_CLASSES)
    soft = soft_targets(lambda batch, inputs: answers(batch, inputs)[:, heard], config.temperature)
    if config.soft_part != "whole":
        soft = soft_targets_in_part(config.soft_part, answers, config.temperature, data.train_labels)
    loss = of_outputs(heard, mixed(soft, hard_labels(data.train_labels), config.hard_weight))
    if config.is_drawn:
        drawing = Drawing(config.transfer_set, data.train_images, config.seed + 61)
        return drawing.lesson(config.n_epochs_student, config.transfer_images, loss, workers)
    return Lesson(data.train_images, chosen_images(config, data, teacher, workers), loss)


def determinants(kind: str, config: Config, data: Data, teacher: np.ndarray | None = None) -> dict[str, Any]:
    """Everything that decides the result of a training; see the core's function of this name."""
    if kind == "teacher":
        lesson = core.teacher_lesson if not config.unusual("teacher") else teacher_lesson
    else:
        lesson = core.student_lesson if is_section_3(config) else student_lesson
    return core.determinants(kind, config, data, [lesson], teacher)


def train_teacher(config: Config, data: Data, session: Session) -> TrainedRun:
    """The large network. Raises UserError when its training diverges."""
    decisive = determinants("teacher", config, data)
    return core.stored_or_new("teacher", teacher_lesson(config, data), config, data, session, decisive)


def train_student(config: Config, data: Data, teacher: MLP, lesson: Lesson, session: Session) -> TrainedRun:
    """The small network, of this teacher. Raises UserError when its training diverges."""
    decisive = determinants("student", config, data, teacher.parameters)
    return core.stored_or_new("student", lesson, config, data, session, decisive)


def run(config: Config, console: Console | None = None) -> Experiment:
    """The whole experiment: data, teacher, student, bias correction. Raises UserError."""
    started, console = time.perf_counter(), console or Console(quiet=True)
    data = load_data(config, console)
    check_results_file(outdir_for(config, data))  # which is better known before the trainings
    seconds = time.perf_counter() - started
    with open_session(config.cache_folder, config.retrain, console) as session:
        return run_on_data(data, config, session, seconds)


def run_on_data(data: Data, config: Config, session: Session, data_seconds: float = 0.0) -> Experiment:
    """The experiment on data that is already there, in a session that is open. Raises UserError."""
    check_probe(config, data)  # if there is none, that is better known before the trainings
    workers = session.workers
    teacher = train_teacher(config, data, session)
    started = time.perf_counter()
    lesson = student_lesson(config, data, teacher.network, workers)  # where images are drawn
    data_seconds += time.perf_counter() - started
    student = train_student(config, data, teacher.network, lesson, session)
    started = time.perf_counter()
    probe_logits, targets = probe_and_targets(config, data, lesson, teacher.network, student.network, workers)
    correction = core.correct_bias(probe_logits, config.corrected_class, targets)
    warn_if_unreached(correction, core.MAX_OFFSET, session.console)
    return Experiment(
        config, data, {"teacher": teacher, "student": student}, correction, probe_logits,
        measure=lambda logits: core.evaluate(logits, data.test_labels, config.omitted_class),
        outdir=outdir_for(config, data), lesson=lesson, n_threads=workers.n_threads,
        seconds={"data": data_seconds, "bias_correction": time.perf_counter() - started},
        transfer_set=described(lesson, data.train_images, teacher.network, workers),
    )  # fmt: skip
