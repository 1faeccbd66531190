"""One finished experiment as a value: what the report, the pictures and the animation are made from."""

from __future__ import annotations

from support.checks import read_json
from support.console import UserError
from support.data import VIZ, Data
from support.files import check_output
from support.offsets import add_offsets, best_offset_on_test_set, mean_probabilities
from support.report import RESULTS, Results, environment
from support.stored import TrainedRun

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np


def refuse_study(path: Path) -> None:
    """Raises UserError when `path` holds what one run must not replace: what many found, or unknown."""
    try:
        there = read_json(path)
    except FileNotFoundError:
        return
    except ValueError as error:
        raise UserError(
            f"{path} is no results.json of ours ({error}); move it away or name another --outdir"
        ) from error
    is_run = isinstance(there, dict) and {"config", "teacher", "student"} <= there.keys()
    if not is_run or "runs" in there:
        what = "the runs of a study" if isinstance(there, dict) and "runs" in there else "something else"
        raise UserError(f"{path} holds {what}; move it away or name another --outdir")


def check_results_file(outdir: Path) -> None:
    """Raises UserError unless results.json can be written into `outdir` and replaces nothing but a run's."""
    check_output(outdir / RESULTS)
    refuse_study(outdir / RESULTS)


@dataclass(frozen=True)
class Experiment:
    """A teacher, a student that never saw the omitted classes, and its bias correction, all finished."""

    config: Any  # CommonSettings
    data: Data
    runs: dict[str, TrainedRun]  # by kind: "teacher", "student" (before the correction) and, maybe, others
    correction: Any  # a dataclass with `classes` and their `offsets`
    probe_logits: np.ndarray  # (probe_size, classes), of the student before the correction
    measure: Callable[[np.ndarray], dict[str, Any]]  # test logits to metrics
    lesson: Any  # what the student learned from: core.Lesson
    n_threads: int
    seconds: dict[str, float] = field(default_factory=dict)  # wall clock of all but the trainings
    networks: dict[str, dict[str, Any]] | None = None  # size and speed by kind, where they matter
    outdir: Path = VIZ
    transfer_set: dict[str, Any] | None = None  # what is worth saying of a drawn transfer set

    @property
    def teacher(self) -> TrainedRun:
        return self.runs["teacher"]

    @property
    def student(self) -> TrainedRun:
        """The student as it was trained, before the correction."""
        return self.runs["student"]

    @property
    def corrected_network(self) -> Any:
        """The student with its biases corrected, another network than the one that was trained."""
        return self.student.network.with_offsets(self.correction.classes, self.correction.offsets)

    @property
    def student_logits(self) -> np.ndarray:
        """The student's test logits (n_test, classes) before the correction."""
        return self.student.test_logits[-1]

    @property
    def corrected_logits(self) -> np.ndarray:
        """The student's test logits (n_test, classes) after the correction."""
        return add_offsets(self.student_logits, self.correction.classes, self.correction.offsets)

    def history(self, kind: str) -> list[dict[str, Any]]:
        """One entry per epoch of a training."""
        return self.runs[kind].history(self.measure)

    def metrics(self) -> dict[str, dict[str, Any]]:
        """Those of every training by its kind, and the student's before and after the correction."""
        logits = {kind: run.test_logits[-1] for kind, run in self.runs.items() if kind != "student"}
        logits |= {"before_correction": self.student_logits, "after_correction": self.corrected_logits}
        return {name: self.measure(z) for name, z in logits.items()}

    def wall_clock_seconds(self) -> dict[str, float]:
        """By phase; of a stored training, what it took when it ran."""
        trainings = {kind: float(run.seconds.sum()) for kind, run in self.runs.items()}
        loading = {name: s for name, s in self.seconds.items() if name == "data"}
        phases = {**loading, **trainings, **self.seconds}  # in the order of a run
        return phases | {"total": sum(phases.values())}

    def calibration(self, best: dict[str, Any] | None) -> list[dict[str, float]] | None:
        """Where one class is omitted: its mean probability on test images of it and of others.

        Without an offset, at the chosen one, and at the one that is `best` on the test set.
        """
        omitted, labels = self.config.omitted_class, self.data.test_labels
        if len(omitted) != 1 or best is None or self.correction.classes != omitted:
            return None
        return [
            {"offset": offset, **mean_probabilities(self.student_logits, labels, omitted, offset)}
            for offset in (0.0, self.correction.offsets[0], best["offset"])
        ]

    def results(self) -> Results:
        """The content of results.json; docs/reference.md documents its keys."""
        data, metrics, omitted = self.data, self.metrics(), self.config.omitted_class
        best = best_offset_on_test_set(self.student_logits, data.test_labels, omitted)
        student = {name: metrics.pop(name) for name in ("before_correction", "after_correction")}
        return {
            "config": self.config.plain(),
            "environment": environment(self.n_threads),
            "data": {
                "name": data.name,
                "sha256": data.sha256,
                "n_train": len(data.train_labels),
                "n_test": len(data.test_labels),
                "n_transfer": self.lesson.n_different,
                "n_test_omitted": int(np.isin(data.test_labels, omitted).sum()),
            },
            **metrics,  # the teacher's and, maybe, others'
            "student": student,
            **({"networks": self.networks} if self.networks else {}),
            **({"transfer_set": self.transfer_set} if self.transfer_set else {}),
            "bias_correction": {
                **asdict(self.correction),
                "best_on_test_set": best,
                "calibration": self.calibration(best),
            },
            "history": {kind: self.history(kind) for kind in self.runs},
            "reused": {kind: run.reused for kind, run in self.runs.items()},
            "wall_clock_seconds": self.wall_clock_seconds(),
        }
