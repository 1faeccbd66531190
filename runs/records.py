"""What is kept of many runs: trainings, as the main script keeps them, and what each run measured."""

from __future__ import annotations

from support import stored
from support.checks import check_data, check_run, dict_of, hold, is_object, number, parse_json
from support.code import digest_of
from support.console import Console, UserError
from support.data import Data
from support.experiment import Experiment
from support.files import check_folder, read_sealed, write_sealed
from support.settings import DECIDE_NOTHING, N_CLASSES, flag_name
from support.stored import Store, TrainedRun, Training, arithmetic, found_or_none, to_bytes
from support.tiles import Workers

import json
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

import distillation_mnist_omitted_3 as core
from beyond import pipeline
from beyond.settings import MEASURING, Config

Record = dict[str, Any]  # what one run measured: the keys of results.json that RECORDED names
RECORDED = ("teacher", "student", "bias_correction", "data", "environment", "wall_clock_seconds")
IF_THERE = ("transfer_set",)  # of a drawn one
MAX_RECORD_BYTES = 2**20  # one has some ten thousand
# Settings of which None stands for another one's value.
FALLS_BACK = {"batch_size_student": "batch_size", "learning_rate_student": "learning_rate"}


def measured_by() -> str:
    """A digest of all that decides what a run measures."""
    return digest_of(
        core.MLP, core.train, core.predict, pipeline.teacher_lesson, pipeline.student_lesson,
        pipeline.probe_and_targets, core.correct_bias, core.evaluate, pipeline.described, Experiment, Workers,
    )  # fmt: skip


@dataclass(frozen=True)
class Further:
    """What a study measures of a run's networks beside its record: `measure(experiment, workers, images)`.

    `measure` is a function of a module, so that it can be sent to another process, and gives what JSON can
    hold; `images` are other people's, or none.
    """

    study: str
    measure: Callable[[Experiment, Workers, Data | None], dict[str, Any]]
    images: Data | None = None

    def key(self) -> tuple[str, str, str]:
        """What decides its result beside the networks."""
        return self.study, digest_of(self.measure), self.images.digest if self.images else ""


def made_with() -> dict[str, str]:
    """What makes a run: two processes in which these are the same get the same bits."""
    return {"Python": platform.python_version(), **arithmetic(), "this project": measured_by()[:12]}


def flags_of(config: Config) -> str:
    """The flags with which distillation_mnist_omitted_3.py would make this run."""
    words = []
    usual = Config(recipe=config.recipe, transfer_set=config.transfer_set)
    usual_set = Config(recipe=config.recipe).transfer_set
    for item in fields(Config):
        value, known = getattr(config, item.name), getattr(usual, item.name)
        if item.name in DECIDE_NOTHING:
            continue
        if item.name == "transfer_set":
            known = usual_set
        if item.name in ("recipe", "seed") or value != known:
            if value is None and item.name in FALLS_BACK:
                value = getattr(config, FALLS_BACK[item.name])
            if item.name == "omitted_class" and len(value) not in range(1, 6):
                words += ["--keep-class", *(str(c) for c in range(N_CLASSES) if c not in value)]
            else:
                words += [flag_name(item.name), *map(str, value if isinstance(value, tuple) else [value])]
    return " ".join(words)


def measured_settings(config: Config) -> tuple[Any, ...]:
    """All settings that decide what a run measures, but for its seed."""
    names = [item.name for item in fields(Config) if item.name not in (*DECIDE_NOTHING, "seed", "recipe")]
    return tuple(getattr(config, name) for name in names)


def check_record(record: Any, config: Config, data: Data) -> None:
    """Raises ValueError when `record` is nothing that a run of `config` on `data` can have measured."""
    hold(record, {"data": is_object, "environment": is_object, "wall_clock_seconds": dict_of(number(0))})
    check_data(record["data"])
    if (record["data"]["name"], record["data"]["sha256"]) != (data.name, data.sha256):
        raise ValueError("it is of other data")
    check_run(record, len(data.test_labels), config.omitted_class, config.corrected_class)
    hold(record["wall_clock_seconds"], dict.fromkeys(("teacher", "student"), number(0)), "wall_clock_seconds")


class MemoryStore(Store):
    """Trainings of one run, in memory: a worker is handed bytes and gives bytes back, and keeps no file."""

    def __init__(self, given: dict[str, bytes]) -> None:
        super().__init__(Path("memory"))
        self.held = dict(given)

    def load(self, training: Training) -> TrainedRun:
        """Raises FileNotFoundError, or ValueError for a damaged one."""
        if training.kind not in self.held:
            raise FileNotFoundError(training.kind)
        return stored.from_bytes(self.held[training.kind], training)

    def keep(self, run: TrainedRun, training: Training) -> None:
        self.held[training.kind] = to_bytes(run)


class Shelf:
    """The trainings and records of a study on disk. What cannot be written is said once and done without."""

    def __init__(self, folder: Path, data: Data, console: Console) -> None:
        """`folder`: the cache, as the main script uses it."""
        self.store, self.data, self.console = Store(folder / "runs"), data, console
        self.said_full = False
        try:
            check_folder(self.store.folder)
        except UserError as error:
            self.say_full(error)

    def say_full(self, error: UserError) -> None:
        if not self.said_full:
            self.console.warn(f"warning: {error} (what is not stored is used, but not found again)")
        self.said_full = True

    def path(self, kind: str, config: Config, teacher: bytes | None = None) -> Path:
        """Where a training belongs; a student's stands beside its `teacher`'s."""
        parameters = None if teacher is None else self.parameters(config, teacher)
        return self.store.path(kind, pipeline.determinants(kind, config, self.data, parameters))

    @staticmethod
    def parameters(config: Config, teacher: bytes) -> np.ndarray:
        """Those in a stored training of its teacher: they come first."""
        n_parameters = sum((a + 1) * b for a, b in pairwise(config.training("teacher").sizes))
        return np.frombuffer(teacher, np.float32, n_parameters)

    def training(self, kind: str, config: Config, teacher: bytes | None = None) -> bytes | None:
        """The stored training of one kind; None when there is none, which for a damaged one is said."""
        settings = config.training(kind)
        parameters = None if teacher is None else self.parameters(config, teacher)
        network = core.MLP(settings.sizes, None)
        network.background = settings.limits.background
        shape = Training(
            kind,
            determinants=pipeline.determinants(kind, config, self.data, parameters),
            network=network,
            n_epochs=settings.n_epochs,
            predict_test=lambda n: core.predict(network, self.data.test_images[:n], Workers())[:, :N_CLASSES],
            output_shape=(len(self.data.test_labels), N_CLASSES),
            measure=lambda logits: {},
            shown={},
        )
        file = f"{kind} {self.store.path(kind, shape.determinants)} is"
        return found_or_none(
            lambda: to_bytes(self.store.load(shape)), file, "training it again", self.console
        )

    def keep_training(self, kind: str, config: Config, content: bytes, teacher: bytes | None = None) -> None:
        self._keep(self.path(kind, config, teacher if kind == "student" else None), content)

    def record_path(self, config: Config, further: Sequence[Further] = ()) -> Path:
        """Its name stands for both trainings and for how they are measured."""
        decisive = {kind: pipeline.determinants(kind, config, self.data) for kind in ("teacher", "student")}
        decisive |= {name: getattr(config, name) for name in MEASURING}
        decisive |= {"further": [one.key() for one in further]} if further else {}
        return self.store.path("record", decisive | {"code": measured_by()})

    def record(self, config: Config, further: Sequence[Further] = ()) -> Record | None:
        """What a stored run measured; None when there is none, which for a damaged one is said."""
        path = self.record_path(config, further)

        def read() -> Record:
            record = parse_json(read_sealed(path, MAX_RECORD_BYTES))
            check_record(record, config, self.data)
            hold(record, {"further": dict_of(is_object)} if further else {})
            return record

        return found_or_none(read, f"record {path} is", "measuring the run again", self.console)

    def keep_record(self, config: Config, record: Record, further: Sequence[Further] = ()) -> None:
        self._keep(self.record_path(config, further), json.dumps(record, allow_nan=False).encode())

    def _keep(self, path: Path, content: bytes) -> None:
        try:
            write_sealed(path, content)
        except UserError as error:
            self.say_full(error)
