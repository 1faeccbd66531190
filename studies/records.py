"""What is kept of a study: trainings, as the main script keeps them, and what each run measured."""

from __future__ import annotations

from support import experiment, offsets, stored
from support.console import Console, UserError
from support.data import Data
from support.files import check_folder, read_sealed, write_sealed
from support.settings import N_CLASSES, flag_name
from support.stored import Store, TrainedRun, Training, code_of, said, to_bytes

import inspect
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

import distillation_mnist_omitted_3 as core
import transfer.probes
from distillation_mnist_omitted_3 import Config
from studies.checks import check_data, check_run, dict_of, hold, is_object, number, parse_json
from synthetic import digits, noise
from transfer.settings import MEASURING

Record = dict[str, Any]  # what one run measured: the keys of results.json that RECORDED names
RECORDED = ("teacher", "student", "bias_correction", "data", "environment", "wall_clock_seconds")
IF_THERE = ("transfer_set",)  # of a drawn one
MAX_RECORD_BYTES = 2**20  # one has some ten thousand
# the modules that decide what a run measures
DECISIVE = (*core.DECISIVE, offsets, experiment, stored, transfer.probes, digits, noise)


def source() -> str:
    """What the modules that decide a run say, to see whether two processes run the same code."""
    return "".join(inspect.getsource(module) for module in DECISIVE)


def flags_of(config: Config) -> str:
    """The flags with which distillation_mnist_omitted_3.py would make this run."""
    words = []
    recipe = {"recipe": config.recipe}
    plain = core.config_from(recipe | ({"transfer_set": config.transfer_set} if config.is_drawn else {}))
    usual_set = core.config_from(recipe).transfer_set
    for item in fields(Config):
        value = getattr(config, item.name)
        if item.name in ("outdir", "cache_dir", "data_dir", "dataset", "mirror", "quiet", "retrain"):
            continue
        usual = usual_set if item.name == "transfer_set" else getattr(plain, item.name)
        if item.name in ("recipe", "seed") or value != usual:
            if item.name == "omitted_class" and len(value) not in range(1, 6):
                words += ["--keep-class", *(str(c) for c in range(N_CLASSES) if c not in value)]
            else:
                words += [flag_name(item.name), *map(str, value if isinstance(value, tuple) else [value])]
    return " ".join(words)


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

    def training(self, kind: str, config: Config) -> bytes | None:
        """The stored training of one kind; None when there is none, which for a damaged one is said."""
        settings = config.training(kind)
        shape = Training(
            kind,
            determinants=core.determinants(kind, config, self.data),
            network=core.MLP(settings.sizes, None),
            n_epochs=settings.n_epochs,
            train=lambda watcher: None,
            predict_test=lambda: np.empty(0),
            output_shape=(len(self.data.test_labels), N_CLASSES),
            measure=lambda logits: {},
            shown={},
        )
        try:
            return to_bytes(self.store.load(shape))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            path = self.store.path(kind, shape.determinants)
            self.console.warn(f"warning: the stored {kind} {path} is {said(error)}; training it again")
            return None

    def keep_training(self, kind: str, config: Config, content: bytes) -> None:
        self._keep(self.store.path(kind, core.determinants(kind, config, self.data)), content)

    def record_path(self, config: Config) -> Path:
        """Its name stands for both trainings and for how they are measured."""
        decisive = {kind: core.determinants(kind, config, self.data) for kind in ("teacher", "student")}
        code = [code_of(module) for module in DECISIVE]
        measuring = {name: getattr(config, name) for name in ("probe_size", *MEASURING)}
        return self.store.path("record", decisive | measuring | {"code": code})

    def record(self, config: Config) -> Record | None:
        """What a stored run measured; None when there is none, which for a damaged one is said."""
        path = self.record_path(config)
        try:
            record = parse_json(read_sealed(path, MAX_RECORD_BYTES))
            check_record(record, config, self.data)
            return record
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            self.console.warn(f"warning: the stored record {path} is {said(error)}; measuring the run again")
            return None

    def keep_record(self, config: Config, record: Record) -> None:
        self._keep(self.record_path(config), json.dumps(record, allow_nan=False).encode())

    def _keep(self, path: Path, content: bytes) -> None:
        try:
            write_sealed(path, content)
        except UserError as error:
            self.say_full(error)
