"""All settings of a CIFAR-10 experiment: the flags, and what of them each training depends on."""

from __future__ import annotations

from support.console import UserError
from support.settings import N_CLASSES, CommonSettings, flag_name, named_folder, setting, whole_number

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cifar10.data import CLASSES, SIDE
from cifar10.network import POOL
from cifar10.optimisers import OPTIMISERS

MAX_CHANNELS = 10_000
MAX_POOLS = 4  # SIDE is 2^5, and a convolution takes two columns at a time


def class_index(name: str) -> int:
    """The number of a class, by its name or number. Raises ArgumentTypeError when there is no such class."""
    numbers = {c: number for number, c in enumerate(CLASSES)} | {str(n): n for n in range(N_CLASSES)}
    if name not in numbers:
        raise argparse.ArgumentTypeError(f"no class {name!r}; there are {', '.join(CLASSES)}, or 0 to 9")
    return numbers[name]


def channels_setting(default: str, whose: str) -> Any:
    return setting(
        tuple(default.split()), f"channels of the {whose} convolutions; M: max-pool", nargs="+", metavar="N"
    )


def sides_setting(default: tuple[int, ...], whose: str) -> Any:
    return setting(
        default, f"{whose}: sides of images that grow, each for an equal part of the epochs, the last {SIDE}",
        nargs="+", metavar="PIXELS", type=whole_number,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Config(CommonSettings):
    """All settings, each a flag of the same name, and of the same name as in the MNIST experiment.

    Classes may be named, channels be numbers, as in `Config(omitted_class=("cat",), student_channels=(8, "M",
    16))`. Raises UserError when a value makes no sense.
    """

    CACHE = "hinton-cifar10"

    # fmt: off
    temperature: float = setting(
        4.0, "softmax temperature T of the distillation", type=float, at_least=0.01, at_most=10_000)
    omitted_class: tuple[int, ...] = setting(
        (), "class or classes that the student never sees, as: cat", type=class_index, nargs="+",
        metavar="CLASS")
    probe_size: int = setting(
        CommonSettings.probe_size, "training images, from the first on, that set the bias correction",
        at_least=1)
    n_epochs_teacher: int = setting(16, "passes of the teacher over the training set", at_least=1)
    n_epochs_student: int = setting(10, "passes of the students over the transfer set", at_least=1)
    teacher_channels: tuple[str, ...] = channels_setting("40 M 40 144 M 144 144 M 144", "teacher's")
    student_channels: tuple[str, ...] = channels_setting("24 M 24 64 M 64 64 M 64", "student's")
    batch_size: int = setting(256, "images per step of the teacher", at_least=2)  # to normalise over
    batch_size_student: int = setting(128, "images per step of the students", at_least=2)
    sides: tuple[int, ...] = sides_setting((SIDE,), "teacher")
    sides_student: tuple[int, ...] = sides_setting((SIDE,), "students")
    learning_rate: float = setting(
        0.2, "step size of the teacher, the peak of the schedule", type=float, above=0)
    learning_rate_student: float = setting(0.2, "step size of the students", type=float, above=0)
    learning_rate_baseline: float | None = setting(
        None, "step size of the student on hard labels, if it differs", type=float, above=0)
    optimiser: str = setting(
        "muon", "what trains the teacher: Nesterov's momentum, or Muon", choices=tuple(OPTIMISERS))
    optimiser_student: str = setting("muon", "what trains the students", choices=tuple(OPTIMISERS))
    lr_schedule: str = setting(
        "linear", "linear: 5 %% warm-up, then linear decay to zero", choices=("constant", "linear"))
    weight_decay: float = setting(
        5e-4, "teacher: decay of all parameters but the kernels under Muon", type=float, at_least=0, below=1)
    weight_decay_student: float = setting(5e-4, "the same for the students", type=float, at_least=0, below=1)
    jitter: int = setting(
        2, "teacher: shift each image by up to this many pixels per axis, anew each epoch",
        at_least=0, below=SIDE)
    jitter_student: int = setting(
        1, "the same for the students; the teacher then sees the shifted image", at_least=0, below=SIDE)
    n_versions: int = setting(
        4, "shifted versions of each image that the students see, and the teacher answers for", at_least=1,
        at_most=1000)
    label_fraction: float = setting(
        1.0, "share of the training images that have labels, for the teacher and the student on hard labels",
        type=float, above=0, at_most=1)
    transfer_fraction: float = setting(
        1.0, "share of the training images that the students see; no fewer steps", type=float, above=0,
        at_most=1)
    dataset: str = setting(
        "auto",
        "auto: CIFAR-10, or shapes drawn by this project where it cannot be had; cifar10: nothing else",
        choices=("auto", "cifar10", "rendered"))
    data_dir: Path | None = setting(
        None, "the archive cifar-10-binary.tar.gz, or the folder with its .bin files", type=named_folder)
    cache_dir: Path | None = setting(
        None, f"folder for downloads and finished trainings (default: ~/.cache/{CACHE})", type=named_folder)
    outdir: Path | None = setting(
        None, "folder for everything written (default: viz/cifar10, or viz/rendered/cifar10)",
        type=named_folder)
    # fmt: on

    def __post_init__(self) -> None:
        numbers = numbers_of_classes(self.omitted_class)
        object.__setattr__(self, "omitted_class", numbers)
        for name in ("teacher_channels", "student_channels"):
            object.__setattr__(self, name, plain_channels(name, getattr(self, name)))
        super().__post_init__()
        check_sides("sides", self.sides, self.teacher_channels)
        check_sides("sides_student", self.sides_student, self.student_channels)

    @property
    def part_seed(self) -> int:
        """Of which images are within `label_fraction` and `transfer_fraction`."""
        return self.seed + 53

    def training(self, kind: str) -> TrainingSettings:
        """The settings of the "teacher", the "student" or the "baseline"."""
        of_all = {"lr_schedule": self.lr_schedule, "shift_seed": self.seed + 47}
        if kind == "teacher":
            return TrainingSettings(
                channels=self.teacher_channels, n_epochs=self.n_epochs_teacher, batch_size=self.batch_size,
                learning_rate=self.learning_rate, optimiser=self.optimiser, jitter=self.jitter, n_versions=0,
                sides=self.sides, weight_decay=self.weight_decay, weight_seed=self.seed,
                order_seed=self.seed + 17, **of_all,
            )  # fmt: skip
        of_baseline = self.learning_rate_baseline or self.learning_rate_student
        return TrainingSettings(
            channels=self.student_channels, n_epochs=self.n_epochs_student,
            batch_size=self.batch_size_student, jitter=self.jitter_student, n_versions=self.n_versions,
            learning_rate=of_baseline if kind == "baseline" else self.learning_rate_student,
            optimiser=self.optimiser_student, weight_decay=self.weight_decay_student,
            sides=self.sides_student,
            weight_seed=self.seed + 1, order_seed=self.seed + 31,  # both start from the same weights
            **of_all,
        )  # fmt: skip


@dataclass(frozen=True)
class TrainingSettings:
    """What determines the training of one network, apart from what it learns from."""

    channels: tuple[str, ...]
    sides: tuple[int, ...]
    n_epochs: int
    batch_size: int
    learning_rate: float
    optimiser: str
    lr_schedule: str
    weight_decay: float
    jitter: int
    n_versions: int  # shifted versions of each image; 0: shifted anew each time
    weight_seed: int
    order_seed: int
    shift_seed: int


def numbers_of_classes(classes: Any) -> tuple[int, ...]:
    """The classes, each given by name or number, as numbers. Raises UserError."""
    try:
        if not isinstance(classes, (tuple, list)) or any(isinstance(c, bool) for c in classes):
            raise argparse.ArgumentTypeError(f"several classes are wanted, as (3,), not {classes!r}")
        return tuple(class_index(str(c)) for c in classes)
    except argparse.ArgumentTypeError as error:
        raise UserError(f"--omitted-class: {error}") from error


def plain_channels(name: str, channels: Any) -> tuple[str, ...]:
    """`channels`, whose numbers may be ints, as words. Raises UserError for what makes no network."""
    words = [str(word) for word in channels] if isinstance(channels, (tuple, list)) else []
    if not valid_channels(words):
        shown = " ".join(words) if words else repr(channels)
        raise UserError(
            f"{flag_name(name)} must be numbers up to {MAX_CHANNELS:,}, each followed by at most one M, at "
            f"most {MAX_POOLS} M, not {shown}"
        )
    return tuple(words)


def check_sides(name: str, sides: tuple[int, ...], channels: tuple[str, ...]) -> None:
    """Raises UserError unless the pools of `channels` divide all sides and the last is the whole image's."""
    unit = max(2, 2 ** channels.count(POOL))
    allowed = range(unit, SIDE + 1, unit)
    if not sides or sides[-1] != SIDE or any(side not in allowed for side in sides):
        shown = " ".join(map(str, sides)) or "nothing"
        raise UserError(
            f"{flag_name(name)} must be multiples of {unit} with these channels, at most {SIDE}, the last "
            f"{SIDE}, not {shown}"
        )


def valid_channels(words: Sequence[str]) -> bool:
    """Whether they are numbers of channels, no two M one after the other and none at the start."""
    numbers = [word for word in words if word != POOL]
    in_range = all(
        word.isascii() and word.isdecimal() and len(word) <= len(str(MAX_CHANNELS)) and
        1 <= int(word) <= MAX_CHANNELS
        for word in numbers
    )  # fmt: skip
    doubled = any(a == b == POOL for a, b in zip([POOL, *words], words, strict=False))
    return len(words) > 0 and in_range and not doubled and len(words) - len(numbers) <= MAX_POOLS
