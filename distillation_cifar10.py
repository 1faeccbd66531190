#!/usr/bin/env python3
"""Distillation put to work: a convolutional teacher on CIFAR-10, and a student that never sees a label.

A convolutional teacher learns CIFAR-10 from hard labels and is frozen. A student with less than a third of
its parameters and multiplications then learns from the teacher's softened outputs alone. Beside it, the same
student is trained on hard labels: what does distillation gain?

    python3 distillation_cifar10.py                   # results in viz/cifar10/results.json
    python3 distillation_cifar10.py --help            # every setting with its default

The file reads from top to bottom: settings, data, layers, network, training, pipeline, command line. What it
shares with the MNIST experiment (losses, bias correction, metrics, threads, stored runs, flags) it takes from
there.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import tarfile
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import distillation_mnist_omitted_3 as core
import rendered_shapes
from distillation_mnist_omitted_3 import Data, TrainedRun, Workers, setting
from suite_io import Console, UserError, blas_name, check_writable, environment, percent, run_script

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SIDE = 32
POOL = "M"  # in a list of channels: max-pooling after the convolution before it


# ------------------------------------------------------------------------------------------------------------
# Settings
# ------------------------------------------------------------------------------------------------------------


def class_index(name: str) -> int:
    """The number of a class, by its name or number."""
    return CLASSES.index(name) if name in CLASSES else int(name)


@dataclass(frozen=True)
class Config:
    """All settings, each a flag of the same name, and of the same name as in the MNIST experiment.

    Raises UserError when a value makes no sense.
    """

    seed: int = setting(0, "seed of every random choice", type=int)
    temperature: float = setting(16.0, "softmax temperature T of the distillation", type=float)
    omitted_class: tuple[int, ...] = setting(
        (),
        "class or classes that the student never sees, as: cat",
        type=class_index,
        nargs="+",
        metavar="CLASS",
    )
    n_epochs_teacher: int = setting(12, "passes of the teacher over the training set", type=int)
    n_epochs_student: int = setting(10, "passes of the students over the transfer set", type=int)
    teacher_channels: tuple[str, ...] = setting(
        ("32", POOL, "64", "64", POOL, "128", "128", POOL, "256"),
        "channels of the teacher's convolutions; M: max-pool",
        nargs="+",
        metavar="N",
    )
    student_channels: tuple[str, ...] = setting(
        ("16", POOL, "38", "38", POOL, "72", "72", POOL, "148"),
        "channels of the student's convolutions; M: max-pool",
        nargs="+",
        metavar="N",
    )
    batch_size: int = setting(256, "images per step of the teacher", type=int)
    batch_size_student: int = setting(128, "images per step of the students", type=int)
    learning_rate: float = setting(0.4, "step size of the teacher, the peak of the schedule", type=float)
    learning_rate_student: float = setting(0.4, "step size of the students", type=float)
    optimiser: str = setting(
        "nesterov", "what trains the teacher: Nesterov's momentum, or Muon", choices=("nesterov", "muon")
    )
    optimiser_student: str = setting("muon", "what trains the students", choices=("nesterov", "muon"))
    lr_schedule: str = setting(
        "linear", "linear: 5 %% warm-up, then linear decay to zero", choices=("constant", "linear")
    )
    weight_decay: float = setting(5e-4, "decay of all parameters but the kernels under Muon", type=float)
    jitter: int = setting(
        2, "teacher: shift each image by up to this many pixels per axis, anew each epoch", type=int
    )
    jitter_student: int = setting(
        1, "the same for the students; the teacher then sees the shifted image", type=int
    )
    probe_size: int = setting(
        5000, "training images, from the first on, that set the bias correction", type=int
    )
    hold_out: int = setting(
        0,
        "train without the last N training images and measure on them, not on the test set",
        type=int,
        metavar="N",
    )
    dataset: str = setting(
        "auto",
        "auto: CIFAR-10, or shapes drawn by this project where it cannot be had; cifar10: nothing else",
        choices=("auto", "cifar10", "rendered"),
    )
    data_dir: Path | None = setting(
        None, "the archive cifar-10-binary.tar.gz, or the folder with its .bin files", type=Path
    )
    cache_dir: Path | None = setting(
        None, "folder for downloads and finished trainings (default: ~/.cache/hinton-cifar10)", type=Path
    )
    mirror: tuple[str, ...] = setting(
        (), "address to download from instead of the known one", action="append"
    )
    retrain: bool = setting(False, "train again, even if this training is stored", action="store_true")
    outdir: Path | None = setting(
        None, "folder for everything written (default: viz/cifar10, or viz/rendered/cifar10)", type=Path
    )
    quiet: bool = setting(False, "print only warnings and the final table", action="store_true")

    def __post_init__(self) -> None:
        def check(name: str, ok: bool, wanted: str) -> None:
            if not ok:
                value = getattr(self, name)
                shown = " ".join(map(str, value)) if isinstance(value, tuple) else value
                raise UserError(f"{core.flag_name(name)} must be {wanted}, not {shown}")

        check("seed", self.seed >= 0, "0 or more")
        for name in ("temperature", "learning_rate", "learning_rate_student"):
            value = getattr(self, name)
            check(name, math.isfinite(value) and value > 0, "a finite number above 0")
        check("weight_decay", 0 <= self.weight_decay < 1, "at least 0 and below 1")
        check("omitted_class", all(0 <= c < len(CLASSES) for c in self.omitted_class), "classes from 0 to 9")
        object.__setattr__(self, "omitted_class", tuple(sorted(set(self.omitted_class))))
        check("omitted_class", len(self.omitted_class) < len(CLASSES), "fewer than all classes")
        for name in ("n_epochs_teacher", "n_epochs_student", "probe_size"):
            check(name, getattr(self, name) >= 1, "1 or more")
        for name in ("batch_size", "batch_size_student"):
            check(name, getattr(self, name) >= 2, "2 or more, to normalise over")
        check("hold_out", self.hold_out >= 0, "0 or more")
        for name in ("jitter", "jitter_student"):
            check(name, 0 <= getattr(self, name) < SIDE, f"from 0 to {SIDE - 1} pixels")
        for name in ("teacher_channels", "student_channels"):
            check(
                name,
                valid_channels(getattr(self, name)),
                "numbers, each followed by at most one M, at most 5 M",
            )
        if self.data_dir is not None and self.dataset == "rendered":
            raise UserError("--data-dir and --dataset rendered exclude each other; leave one of them out")

    @property
    def cache_folder(self) -> Path:
        """Where downloads and finished trainings are kept."""
        return self.cache_dir or core.user_cache() / "hinton-cifar10"

    def training(self, kind: str) -> TrainingSettings:
        """The settings of the "teacher", the "student" or the "baseline"."""
        teacher = kind == "teacher"
        return TrainingSettings(
            channels=self.teacher_channels if teacher else self.student_channels,
            n_epochs=self.n_epochs_teacher if teacher else self.n_epochs_student,
            batch_size=self.batch_size if teacher else self.batch_size_student,
            learning_rate=self.learning_rate if teacher else self.learning_rate_student,
            optimiser=self.optimiser if teacher else self.optimiser_student,
            lr_schedule=self.lr_schedule,
            weight_decay=self.weight_decay,
            jitter=self.jitter if teacher else self.jitter_student,
            weight_seed=self.seed + (not teacher),  # both students start from the same weights
            order_seed=self.seed + (17 if teacher else 31),
        )


@dataclass(frozen=True)
class TrainingSettings:
    """What determines the training of one network, apart from its data and its loss."""

    channels: tuple[str, ...]
    n_epochs: int
    batch_size: int
    learning_rate: float
    optimiser: str
    lr_schedule: str
    weight_decay: float
    jitter: int
    weight_seed: int
    order_seed: int


def valid_channels(channels: Sequence[str]) -> bool:
    pairs = zip(channels, [*channels[1:], ""], strict=True)
    ordered = all(a.isdecimal() and int(a) >= 1 if a != POOL else b != POOL for a, b in pairs)
    return ordered and channels[0] != POOL and list(channels).count(POOL) <= 5


# ------------------------------------------------------------------------------------------------------------
# Data: the official binary archive, a folder with its files, or drawn shapes
# ------------------------------------------------------------------------------------------------------------

ARCHIVE = "cifar-10-binary.tar.gz"
MIRRORS = ("https://www.cs.toronto.edu/~kriz/",)
ARCHIVE_SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
MAX_ARCHIVE_BYTES = 200 * 2**20
MEMBER_FOLDER = "cifar-10-batches-bin"
MEMBERS = (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin")
RECORD_BYTES = 1 + 3 * SIDE * SIDE  # label, then red, green and blue, row by row
MAX_MEMBER_BYTES = 64 * 2**20


def unpack(archive: bytes) -> dict[str, bytes]:
    """The six batches in a .tar.gz, by name, in memory.

    Only plain files of exactly the expected names are read, and no path in the archive is ever opened. Raises
    ValueError when one is missing or the archive is damaged.
    """
    contents = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
            for member in tar:
                folder, _, name = member.name.rpartition("/")
                if folder == MEMBER_FOLDER and name in MEMBERS and member.isfile():
                    if member.size > MAX_MEMBER_BYTES:
                        raise ValueError(f"{name} in it is far too large")
                    contents[name] = tar.extractfile(member).read()
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise ValueError(f"truncated or no .tar.gz: {error}") from error
    if missing := [name for name in MEMBERS if name not in contents]:
        raise ValueError(f"no {MEMBER_FOLDER}/{missing[0]} in it")
    return contents


def check_archive(archive: bytes) -> dict[str, bytes]:
    """The six batches of the official archive. Raises ValueError for any other."""
    if hashlib.sha256(archive).hexdigest() != ARCHIVE_SHA256:
        raise ValueError("wrong SHA-256")
    return unpack(archive)


def parse_batch(content: bytes, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (n, 3, 32, 32) and labels uint8 (n,) of one batch. Raises UserError."""
    if len(content) == 0 or len(content) % RECORD_BYTES:
        raise UserError(f"{name} is no whole number of records of {RECORD_BYTES} bytes; fetch it again")
    records = np.frombuffer(content, np.uint8).reshape(-1, RECORD_BYTES)
    labels = records[:, 0].copy()
    if labels.max() >= len(CLASSES):
        raise UserError(f"{name} has a label {labels.max()}; the classes are 0 to 9")
    return records[:, 1:].reshape(-1, 3, SIDE, SIDE), labels


def data_from_batches(contents: dict[str, bytes], name: str) -> Data:
    """Parse the six batches. Raises UserError."""
    batches = [parse_batch(contents[member], member) for member in MEMBERS]
    images, labels = (np.concatenate(parts) for parts in zip(*batches[:-1], strict=True))
    sha256 = {member: hashlib.sha256(contents[member]).hexdigest() for member in MEMBERS}
    return Data(name, images, labels, *batches[-1], sha256)


def read_given(path: Path) -> Data:
    """What `--data-dir` names: the archive, a folder with it, or one with the batches. Raises UserError."""
    archive = path if path.is_file() else path / ARCHIVE
    folder = next((p for p in (path, path / MEMBER_FOLDER) if (p / MEMBERS[-1]).is_file()), None)
    try:
        if archive.is_file():
            content = archive.read_bytes()
            official = hashlib.sha256(content).hexdigest() == ARCHIVE_SHA256
            return data_from_batches(unpack(content), "CIFAR-10" if official else "CIFAR-10 variant")
        if folder is None:
            raise UserError(
                f"--data-dir {path}: neither {ARCHIVE} nor {MEMBERS[-1]} there; point it at one of them"
            )
        contents = {}
        for member in MEMBERS:
            if not (folder / member).is_file():
                raise UserError(f"--data-dir {path}: no {member} there; it needs all six batches")
            contents[member] = (folder / member).read_bytes()
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {error}; fetch it again") from error
    return data_from_batches(contents, "CIFAR-10 variant")  # the sums of single files are not published


RENDERED_NOTICE = """\
********************************************************************************
*  NOT CIFAR-10. These figures are of shapes that this project drew by itself. *
*  For CIFAR-10, run again with a network, or with  --data-dir  and the        *
*  archive cifar-10-binary.tar.gz or the folder with its .bin files.           *
********************************************************************************"""


def load_data(config: Config, console: Console) -> Data:
    """The data that `--dataset`, `--data-dir`, `--cache-dir` and `--mirror` ask for. Raises UserError."""
    if config.dataset == "rendered":
        data = rendered_data(console)
    elif config.data_dir is not None:
        data = read_given(config.data_dir)
    else:
        urls = [f"{mirror.rstrip('/')}/{ARCHIVE}" for mirror in config.mirror or MIRRORS]
        try:
            batches = core.cached(
                config.cache_folder / ARCHIVE,
                check_archive,
                lambda: core.fetch(urls, ARCHIVE, check_archive, MAX_ARCHIVE_BYTES, console),
                console,
            )
            data = data_from_batches(batches, "CIFAR-10")
        except core.DownloadError as error:
            if config.dataset == "cifar10":
                raise UserError(
                    f"no mirror gave {error}; run with a network, or point --data-dir at the archive"
                ) from error
            data = rendered_data(console)
    if config.hold_out:
        data = core.held_out(data, config.hold_out)
    core.check_omitted(data, config.omitted_class)
    if data.is_rendered:
        console.warn(RENDERED_NOTICE)
    return data


def rendered_data(console: Console) -> Data:
    """Drawn shapes, always the same ones."""
    console.line("drawing 12,000 shapes ...")
    arrays = rendered_shapes.render_dataset()
    sha256 = {"images": hashlib.sha256(arrays[0].tobytes()).hexdigest()}
    return Data("rendered shapes", *arrays, sha256)


# ------------------------------------------------------------------------------------------------------------
# Layers. A batch of activations lies in memory as (row, channel, column, image). Three rows of all channels
# are then one matrix, a step to the right is a step in it: a convolution is three matrix products per row.
# ------------------------------------------------------------------------------------------------------------

STATISTICS_MOMENTUM = 0.1  # of the running mean and variance that evaluation uses
EPSILON = 1e-5  # added to the variance


def convolve(kernels: np.ndarray, padded: np.ndarray, workers: Workers, out: np.ndarray) -> None:
    """3x3 convolution: out[y] = sum over dx of kernels[dx] @ (rows y - 1, y, y + 1, shifted by dx).

    `kernels` (3 dx, to, 3 dy * from); `padded` (height + 2, from, width + 2, images), zeros around the image;
    `out` (height, to, width * images).
    """
    height, n_channels, width, n_images = padded.shape
    flat = padded.reshape(height, n_channels, width * n_images)

    def row(y: int) -> None:
        rows = flat[y : y + 3].reshape(3 * n_channels, width * n_images)
        left, middle, right = (rows[:, dx * n_images :][:, : out.shape[2]] for dx in range(3))
        np.matmul(kernels[0], left, out=out[y])
        out[y] += kernels[1] @ middle
        out[y] += kernels[2] @ right

    workers.map(row, range(len(out)))


def quarters(rows: np.ndarray) -> list[np.ndarray]:
    """The four views (channels, columns / 2, images) of two rows (2, channels, columns, images)."""
    return [rows[i, :, j::2] for i in (0, 1) for j in (0, 1)]


class Block:
    """Convolution 3x3, max-pooling 2x2 if `pools`, batch normalisation (Ioffe & Szegedy 2015), ReLU.

    The arrays are views of the network's one vector. Pooling comes before the normalisation, which so has a
    quarter of the work; apart from the sign of a scale that is the same function.
    """

    def __init__(
        self,
        kernels: np.ndarray,  # (3 dx, to, 3 dy, from)
        scale: np.ndarray,  # (to,)
        shift: np.ndarray,  # (to,)
        running_mean: np.ndarray,  # (to,)
        running_variance: np.ndarray,  # (to,)
        side: int,
        pools: bool,
    ) -> None:
        self.kernels, self.scale, self.shift = kernels, scale, shift
        self.running_mean, self.running_variance = running_mean, running_variance
        self.side, self.pools, self.side_out = side, pools, side // 2 if pools else side
        self.n_from, self.n_to = kernels.shape[3], kernels.shape[1]

    def allocate(self, n_images: int) -> None:
        """Buffers for batches of this size; those of the gradients are made when first needed."""
        dtype = self.kernels.dtype
        self.n_images = n_images
        self.convolved = np.empty((self.side, self.n_to, self.side * n_images), dtype)
        self.normal = np.empty((self.side_out, self.n_to, self.side_out * n_images), dtype)
        shape = (self.side_out + 2, self.n_to, self.side_out + 2, n_images)
        self.padded_out = np.zeros(shape, dtype)
        self.output = self.padded_out[1:-1, :, 1:-1]
        self.d_convolved: np.ndarray | None = None

    def forward(self, padded: np.ndarray, workers: Workers, training: bool) -> np.ndarray:
        """The padded output (rows + 2, to, columns + 2, images) for a padded input of that form."""
        self.padded_in = padded
        side, n_to, n_images = self.side_out, self.n_to, self.n_images
        convolve(self.kernels.reshape(3, n_to, 3 * self.n_from), padded, workers, self.convolved)
        n = side * side * n_images
        sums, squares = np.empty((2, side, n_to))

        def pool(y: int) -> None:
            x = self.normal[y]
            if self.pools:
                pooled, (a, b, c, d) = x.reshape(n_to, side, n_images), self.quarters_of_row(y)
                np.maximum(a, b, out=pooled)
                np.maximum(pooled, c, out=pooled)
                np.maximum(pooled, d, out=pooled)
            else:
                x[:] = self.convolved[y]
            sums[y] = x.sum(axis=1)

        workers.map(pool, range(side))
        mean = sums.sum(axis=0) / n if training else self.running_mean
        rounded_mean = np.asarray(mean, self.kernels.dtype)[:, None]

        def centre(y: int) -> None:
            x = self.normal[y]
            x -= rounded_mean
            if training:  # squares of what is left: E[x^2] - mean^2 would cancel where the mean is large
                squares[y] = np.einsum("kn,kn->k", x, x)

        workers.map(centre, range(side))
        variance = squares.sum(axis=0) / n if training else self.running_variance
        if training:
            self.running_mean += STATISTICS_MOMENTUM * (mean - self.running_mean)
            self.running_variance += STATISTICS_MOMENTUM * (variance * n / (n - 1) - self.running_variance)
        self.inverse_sd = (1 / np.sqrt(variance + EPSILON)).astype(self.kernels.dtype)

        def normalise(y: int) -> None:
            x, out = self.normal[y], self.output[y]
            x *= self.inverse_sd[:, None]
            np.multiply(x.reshape(out.shape), self.scale[:, None, None], out=out)
            out += self.shift[:, None, None]
            np.maximum(out, 0, out=out)

        workers.map(normalise, range(side))
        return self.padded_out

    def quarters_of_row(self, y: int) -> list[np.ndarray]:
        two = self.convolved[2 * y : 2 * y + 2]
        return quarters(two.reshape(2, self.n_to, self.side, self.n_images))

    def backward(
        self, d_output: np.ndarray, workers: Workers, d_input: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Gradients of kernels, scale and shift, after `forward` in training, for dLoss/d(output).

        `d_output` (rows, to, columns * images) is overwritten; dLoss/d(input) goes to `d_input`, of the same
        form, unless that is None.
        """
        side, n_to, n_images = self.side_out, self.n_to, self.n_images
        if self.d_convolved is None:
            self.d_convolved = np.zeros((self.side + 2, n_to, self.side + 2, n_images), self.kernels.dtype)
        inner = self.d_convolved[1:-1, :, 1:-1]
        sums = np.empty((2, side, n_to))

        def slope_of_relu(y: int) -> None:
            d, x = d_output[y], self.normal[y]
            d.reshape(self.output[y].shape)[:] *= self.output[y] > 0
            sums[:, y] = d.sum(axis=1), np.einsum("kn,kn->k", d, x)

        workers.map(slope_of_relu, range(side))
        d_shift, d_scale = sums.sum(axis=1)
        # with x the normalised value: scale / sd * (d - mean d - x mean(d x))
        n, dtype = side * side * n_images, self.kernels.dtype
        mean_d, mean_dx = (d_shift / n).astype(dtype), (d_scale / n).astype(dtype)
        factor = self.scale * self.inverse_sd

        def denormalise(y: int) -> None:
            d = d_output[y]
            d -= mean_d[:, None]
            d -= self.normal[y] * mean_dx[:, None]
            d *= factor[:, None]
            d = d.reshape(n_to, side, n_images)
            if not self.pools:
                inner[y] = d
                return
            # to where the maximum came from; equal ones share
            parts = self.quarters_of_row(y)
            largest = np.maximum(np.maximum(parts[0], parts[1]), np.maximum(parts[2], parts[3]))
            hits = [part == largest for part in parts]
            d /= np.sum(hits, axis=0, dtype=np.uint8)
            for target, hit in zip(quarters(inner[2 * y : 2 * y + 2]), hits, strict=True):
                np.multiply(d, hit, out=target)

        workers.map(denormalise, range(side))
        flat = self.padded_in.reshape(self.side + 2, self.n_from, (self.side + 2) * n_images)
        by_row = np.empty((self.side, 3, n_to, 3 * self.n_from), dtype)

        def kernel_gradient(y: int) -> None:
            d = inner[y].reshape(n_to, self.side * n_images)
            rows = flat[y : y + 3].reshape(3 * self.n_from, (self.side + 2) * n_images)
            for dx in range(3):
                np.matmul(d, rows[:, dx * n_images :][:, : d.shape[1]].T, out=by_row[y, dx])

        workers.map(kernel_gradient, range(self.side))
        if d_input is not None:  # the convolution with the kernels turned round, from and to exchanged
            turned = self.kernels[::-1, :, ::-1].transpose(0, 3, 2, 1)
            convolve(turned.reshape(3, self.n_from, 3 * n_to), self.d_convolved, workers, d_input)
        return by_row.sum(axis=0).reshape(self.kernels.shape), d_scale, d_shift


# ------------------------------------------------------------------------------------------------------------
# Network
# ------------------------------------------------------------------------------------------------------------


LOGIT_SCALE = 0.125  # maxima over a whole image are large: without it only small steps are stable


class ConvNet:
    """Blocks, then the maximum over all positions and a linear layer to the logits.

    `parameters` is one flat vector: first everything that is trained, `trained`, then the running means and
    variances of the normalisations. Kernels start normal with variance 2 / fan_in (He et al. 2015), the
    linear layer, (out, in + 1) with the biases as last column, with half of that and biases at zero.
    """

    def __init__(self, channels: Sequence[str], rng: np.random.Generator, dtype: Any = np.float32) -> None:
        self.channels = tuple(channels)
        shapes: list[tuple[int, ...]] = []
        plan, side, n_from = [], SIDE, 3
        for place, word in enumerate(self.channels):
            if word == POOL:
                continue
            n_to, pools = int(word), self.channels[place + 1 : place + 2] == (POOL,)
            plan.append((side, n_from, n_to, pools))
            shapes += [(3, n_to, 3, n_from), (n_to,), (n_to,)]
            side, n_from = side // 2 if pools else side, n_to
        shapes.append((len(CLASSES), n_from + 1))
        self.n_trained = sum(math.prod(shape) for shape in shapes)
        shapes += [(n_to,) for _, _, n_to, _ in plan for _ in range(2)]
        starts = np.cumsum([0, *(math.prod(shape) for shape in shapes)])
        self.parameters = np.zeros(starts[-1], dtype)
        views = [
            self.parameters[a:b].reshape(shape)
            for a, b, shape in zip(starts[:-1], starts[1:], shapes, strict=True)
        ]
        self.trained = self.parameters[: self.n_trained]
        self.linear = views[3 * len(plan)]
        self.linear[:, :-1] = rng.standard_normal((len(CLASSES), n_from), dtype) / math.sqrt(n_from)
        statistics = views[3 * len(plan) + 1 :]
        self.blocks = []
        self.kernel_places = []  # of each block's kernels in `parameters`
        for index, (block_side, block_from, _, pools) in enumerate(plan):
            kernels, scale, shift = views[3 * index : 3 * index + 3]
            mean, variance = statistics[2 * index : 2 * index + 2]
            kernels[:] = rng.standard_normal(kernels.shape, dtype) * math.sqrt(2 / (9 * block_from))
            scale[:], variance[:] = 1, 1
            self.kernel_places.append(slice(starts[3 * index], starts[3 * index + 1]))
            self.blocks.append(Block(kernels, scale, shift, mean, variance, block_side, pools))
        self.n_images = 0

    @property
    def output_biases(self) -> np.ndarray:
        """View of the biases of the logits, shape (classes,)."""
        return self.linear[:, -1]

    @property
    def n_multiply_adds(self) -> int:
        """Multiplications (with their additions) of the products for one image, forward."""
        return sum(b.side**2 * b.kernels.size for b in self.blocks) + self.linear.size - len(CLASSES)

    def inputs(self, n_images: int) -> np.ndarray:
        """The buffer to write a batch to, (row, channel, column, image); all others are made to fit."""
        if n_images != self.n_images:
            self.n_images = n_images
            dtype = self.parameters.dtype
            self.padded_inputs = np.zeros((SIDE + 2, 3, SIDE + 2, n_images), dtype)
            for block in self.blocks:
                block.allocate(n_images)
            self.features = np.ones((self.blocks[-1].n_to + 1, n_images), dtype)
            self.d_inputs: list[np.ndarray] | None = None
        return self.padded_inputs[1:-1, :, 1:-1]

    def forward(self, workers: Workers, training: bool = False) -> np.ndarray:
        """Logits (images, classes) of what was written to `inputs`."""
        padded = self.padded_inputs
        for block in self.blocks:
            padded = block.forward(padded, workers, training)
        np.max(self.blocks[-1].output, axis=(0, 2), out=self.features[:-1])
        return LOGIT_SCALE * (self.linear @ self.features).T

    def backward(self, d_logits: np.ndarray, workers: Workers) -> np.ndarray:
        """Gradient by `trained`, flat, for dLoss/d(logits) (images, classes), after `forward` in training."""
        if self.d_inputs is None:
            self.d_inputs = [
                np.empty((b.side, b.n_from, b.side * self.n_images), b.kernels.dtype) for b in self.blocks
            ]
        d_sums = LOGIT_SCALE * d_logits.T
        d_linear = d_sums @ self.features.T
        d_features = self.linear[:, :-1].T @ d_sums
        last = self.blocks[-1]
        hits = last.output == self.features[:-1][:, None]  # equal ones share
        d_features /= hits.sum(axis=(0, 2))
        d_output = (hits * d_features[:, None]).reshape(last.side_out, last.n_to, -1)
        gradients = [d_linear]
        for index in range(len(self.blocks) - 1, -1, -1):
            d_input = self.d_inputs[index] if index else None
            gradients[:0] = self.blocks[index].backward(d_output, workers, d_input)
            d_output = d_input
        return np.concatenate([gradient.ravel() for gradient in gradients]).astype(self.parameters.dtype)


class Nesterov:
    """Gradient descent with Nesterov's momentum (Sutskever et al. 2013) and weight decay, in place."""

    def __init__(self, parameters: np.ndarray, weight_decay: float, momentum: float = 0.9) -> None:
        self.parameters, self.weight_decay, self.momentum = parameters, weight_decay, momentum
        self.velocity = np.zeros_like(parameters)

    def step(self, gradient: np.ndarray, learning_rate: float) -> None:
        """v <- momentum v + g; parameters <- parameters - rate (g + momentum v). Overwrites `gradient`."""
        gradient += self.weight_decay * self.parameters
        self.velocity *= self.momentum
        self.velocity += gradient
        gradient += self.momentum * self.velocity
        gradient *= learning_rate
        self.parameters -= gradient


def orthogonalised(matrix: np.ndarray) -> np.ndarray:
    """About the nearest matrix of which all singular values are 1: U V' for a matrix U S V'.

    Five steps of a Newton-Schulz iteration with the coefficients of Jordan et al. (2024), "Muon", which bring
    all but the smallest singular values between 0.6 and 1.3.
    """
    x = matrix / (np.linalg.norm(matrix) + 1e-7)
    if turned := len(x) > x.shape[1]:
        x = x.T
    for _ in range(5):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x.T if turned else x


class Muon:
    """Momentum with orthogonalised steps (Jordan et al. 2024, "Muon") for kernels, Nesterov's for the rest.

    A few directions dominate a kernel's gradient; in the orthogonalised step all count the same. The batch
    normalisation behind it makes a kernel's length meaningless, which therefore is kept at sqrt(to).
    """

    KERNEL_SHARE = 0.05  # a kernel's step, in singular values, as a share of the learning rate

    def __init__(self, network: ConvNet, weight_decay: float, momentum: float = 0.9) -> None:
        self.network, self.weight_decay, self.momentum = network, weight_decay, momentum
        self.rest = Nesterov(network.trained, weight_decay)
        self.velocities = [np.zeros_like(block.kernels) for block in network.blocks]

    def step(self, gradient: np.ndarray, learning_rate: float) -> None:
        """One step by the flat `gradient`, which it overwrites."""
        network = self.network
        for block, place, velocity in zip(
            network.blocks, network.kernel_places, self.velocities, strict=True
        ):
            kernels, g = block.kernels, gradient[place].reshape(velocity.shape)
            velocity *= self.momentum
            velocity += g
            matrix = (g + self.momentum * velocity).transpose(1, 0, 2, 3).reshape(block.n_to, -1)
            step = orthogonalised(matrix).reshape(block.n_to, 3, 3, -1).transpose(1, 0, 2, 3)
            kernels *= math.sqrt(block.n_to) / np.linalg.norm(kernels)
            kernels -= self.KERNEL_SHARE * learning_rate * step
            g[:] = -self.weight_decay * kernels  # so that the rest's decay leaves them alone
        self.rest.step(gradient, learning_rate)


# ------------------------------------------------------------------------------------------------------------
# Training
# ------------------------------------------------------------------------------------------------------------


def augment(images: np.ndarray, jitter: int, rng: np.random.Generator) -> np.ndarray:
    """Each uint8 image (n, 3, 32, 32) mirrored or not, and shifted by up to `jitter` pixels per axis.

    What moves in at the border is the image's own reflection.
    """
    n = len(images)
    if jitter:
        images = np.pad(images, ((0, 0), (0, 0), (jitter, jitter), (jitter, jitter)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(images, (SIDE, SIDE), axis=(2, 3))
    down, right = rng.integers(0, 2 * jitter + 1, (2, n))
    shifted = windows[np.arange(n), :, down, right]
    mirrored = rng.random(n) < 0.5
    shifted[mirrored] = shifted[mirrored][..., ::-1]
    return shifted


def fill_inputs(inputs: np.ndarray, images: np.ndarray) -> None:
    """Write uint8 images (n, 3, 32, 32) as values in [-2, 2] into `inputs` (row, channel, column, n)."""
    np.multiply(images.transpose(2, 1, 3, 0), inputs.dtype.type(4 / 255), out=inputs)
    inputs -= 2


def predict(network: ConvNet, images: np.ndarray, workers: Workers, chunk: int = 200) -> np.ndarray:
    """Logits (n, classes) of uint8 images (n, 3, 32, 32), with the running statistics."""
    logits = np.empty((len(images), len(CLASSES)), network.parameters.dtype)
    for start in range(0, len(images), chunk):
        batch = images[start : start + chunk]
        fill_inputs(network.inputs(len(batch)), batch)
        logits[start : start + chunk] = network.forward(workers)
    return logits


# (logits of the batch, its indices into the images, the images as the network saw them) -> value, gradient
Loss = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[float, np.ndarray]]


def train(
    network: ConvNet,
    images: np.ndarray,
    indices: np.ndarray,
    loss: Loss,
    settings: TrainingSettings,
    workers: Workers,
    on_epoch: core.OnEpoch = lambda epoch, loss, seconds: None,
    on_step: core.OnStep = lambda epoch, share: None,
) -> None:
    """Train `network` in place on `images[indices]`, each epoch in another order.

    All batches have the same size: each epoch leaves out the few images that are left over.
    """
    rng = np.random.default_rng(settings.order_seed)
    if settings.optimiser == "muon":
        optimiser: Muon | Nesterov = Muon(network, settings.weight_decay)
    else:
        optimiser = Nesterov(network.trained, settings.weight_decay)
    batch_size = min(settings.batch_size, len(indices))
    n_batches = len(indices) // batch_size
    for epoch in range(1, settings.n_epochs + 1):
        started = time.perf_counter()
        total_loss = 0.0
        order = rng.permutation(indices)
        for number in range(n_batches):
            batch = order[number * batch_size : (number + 1) * batch_size]
            seen = augment(images[batch], settings.jitter, rng)
            fill_inputs(network.inputs(batch_size), seen)
            value, gradient = loss(network.forward(workers, training=True), batch, seen)
            total_loss += value
            step = (epoch - 1) * n_batches + number
            rate = core.learning_rate_at(
                step, settings.n_epochs * n_batches, settings.learning_rate, settings.lr_schedule
            )
            optimiser.step(network.backward(gradient, workers), rate)
            on_step(epoch, (number + 1) / n_batches)
        on_epoch(epoch, total_loss / n_batches, time.perf_counter() - started)


# ------------------------------------------------------------------------------------------------------------
# Teacher, student and baseline: the same loop with another network or another loss
# ------------------------------------------------------------------------------------------------------------

# A change to any of these changes what a training gives, and so the name under which it is stored.
TRAINING_CODE = (
    convolve, quarters, Block, ConvNet, Nesterov, orthogonalised, Muon, augment, fill_inputs, predict, train,
    core.log_softmax, core.cross_entropy, core.distillation_loss, core.learning_rate_at, core.transfer_set,
)  # fmt: skip


def run_path(kind: str, config: Config, data: Data) -> Path:
    """Where a training of `kind`, "teacher", "student" or "baseline", is stored: by what determines it."""
    determines: dict[str, Any] = {
        "kind": kind,
        "settings": asdict(config.training(kind)),
        "data": [data.name, data.sha256],
        "code": [core.code_of(item) for item in (*TRAINING_CODE, TRAINING[kind])],
        "numpy": np.__version__,
        "blas": blas_name(),
    }
    if kind != "teacher":
        determines["omitted_class"] = config.omitted_class
    if kind == "student":
        determines |= {"temperature": config.temperature, "teacher": asdict(config.training("teacher"))}
    key = hashlib.sha256(json.dumps(determines, sort_keys=True).encode()).hexdigest()[:20]
    return config.cache_folder / "runs" / f"{kind}-{key}.npz"


def trained(
    kind: str, config: Config, data: Data, indices: np.ndarray, loss: Loss, workers: Workers, console: Console
) -> TrainedRun:
    """The stored network of this kind or, where there is none, a newly trained one."""
    settings = config.training(kind)
    network = ConvNet(settings.channels, np.random.default_rng(settings.weight_seed))
    return core.kept_run(
        kind,
        run_path(kind, config, data),
        network,
        settings.n_epochs,
        lambda *progress: train(
            network, data.train_images, indices, loss, settings, workers, *progress
        ),
        lambda: predict(network, data.test_images, workers),
        data.test_labels,
        () if kind == "teacher" else config.omitted_class,
        config.retrain,
        console,
        unseen="unseen",
    )  # fmt: skip


def train_teacher(config: Config, data: Data, workers: Workers, console: Console) -> TrainedRun:
    """The large network, from hard labels, on all classes."""

    def loss(logits: np.ndarray, batch: np.ndarray, seen: np.ndarray) -> tuple[float, np.ndarray]:
        return core.cross_entropy(logits, data.train_labels[batch])

    return trained("teacher", config, data, np.arange(len(data.train_labels)), loss, workers, console)


def train_student(
    config: Config, data: Data, teacher: ConvNet, workers: Workers, console: Console
) -> TrainedRun:
    """The small network, from the frozen teacher's soft targets alone: no label reaches the loss.

    The teacher sees the very image that the student sees, mirrored and shifted as it is.
    """

    def loss(logits: np.ndarray, batch: np.ndarray, seen: np.ndarray) -> tuple[float, np.ndarray]:
        fill_inputs(teacher.inputs(len(batch)), seen)
        return core.distillation_loss(logits, teacher.forward(workers), config.temperature)

    indices = core.transfer_set(data.train_labels, config.omitted_class)
    return trained("student", config, data, indices, loss, workers, console)


def train_baseline(config: Config, data: Data, workers: Workers, console: Console) -> TrainedRun:
    """The student's network, start and images, but hard labels instead of a teacher."""

    def loss(logits: np.ndarray, batch: np.ndarray, seen: np.ndarray) -> tuple[float, np.ndarray]:
        return core.cross_entropy(logits, data.train_labels[batch])

    indices = core.transfer_set(data.train_labels, config.omitted_class)
    return trained("baseline", config, data, indices, loss, workers, console)


TRAINING = {"teacher": train_teacher, "student": train_student, "baseline": train_baseline}


# ------------------------------------------------------------------------------------------------------------
# Pipeline
# ------------------------------------------------------------------------------------------------------------


@dataclass
class Experiment:
    """One finished experiment: what the report and the pictures are made from."""

    config: Config
    data: Data
    teacher: TrainedRun
    student: TrainedRun  # its network is corrected; test_logits are those before the correction
    baseline: TrainedRun
    correction: core.BiasCorrection
    milliseconds: dict[str, float]  # per image, forward, by network
    n_threads: int
    wall_clock_seconds: dict[str, float]

    @property
    def outdir(self) -> Path:
        return self.config.outdir or default_outdir(self.data)

    @property
    def corrected_logits(self) -> np.ndarray:
        """The student's test logits (n_test, classes) after the correction."""
        return core.add_offsets(
            self.student.test_logits[-1], self.config.omitted_class, self.correction.offsets
        )

    def metrics(self) -> dict[str, dict[str, Any]]:
        logits = {
            "teacher": self.teacher.test_logits[-1],
            "before_correction": self.student.test_logits[-1],
            "after_correction": self.corrected_logits,
            "baseline": self.baseline.test_logits[-1],
        }
        return {
            name: core.evaluate(z, self.data.test_labels, self.config.omitted_class)
            for name, z in logits.items()
        }


def class_names(data: Data) -> tuple[str, ...]:
    return rendered_shapes.NAMES if data.is_rendered else CLASSES


def default_outdir(data: Data) -> Path:
    viz = Path(__file__).resolve().parent / "viz"
    return (viz / "rendered" if data.is_rendered else viz) / "cifar10"


def milliseconds_per_image(network: ConvNet, images: np.ndarray, workers: Workers) -> float:
    """Wall clock of a forward pass per image, in batches of 200, the best of three."""
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        predict(network, images, workers)
        seconds.append(time.perf_counter() - started)
    return 1000 * min(seconds) / len(images)


def run(config: Config, console: Console | None = None) -> Experiment:
    """The whole experiment: data, teacher, student, baseline, bias correction. Raises UserError."""
    console = console or Console(quiet=True)
    started = time.perf_counter()
    data = load_data(config, console)
    check_writable(config.outdir or default_outdir(data))
    seconds = {"data": time.perf_counter() - started}
    console.line(
        f"data: {data.name}, {len(data.train_labels)} training and {len(data.test_labels)} test images"
    )
    omitted = list(config.omitted_class)
    with Workers() as workers:
        teacher = train_teacher(config, data, workers, console)
        student = train_student(config, data, teacher.network, workers, console)
        baseline = train_baseline(config, data, workers, console)
        runs = {"teacher": teacher, "student": student, "baseline": baseline}
        seconds |= {name: float(one.seconds.sum()) for name, one in runs.items()}
        sample = data.test_images[:1000]
        milliseconds = {
            name: milliseconds_per_image(runs[name].network, sample, workers)
            for name in ("teacher", "student")
        }
        milliseconds["baseline"] = milliseconds["student"]  # the same network
        probe_logits = predict(student.network, data.train_images[: config.probe_size], workers)
    targets = [float((data.train_labels == c).mean()) for c in omitted]
    correction = core.correct_bias(probe_logits, omitted, targets)
    student.network.output_biases[omitted] += np.array(correction.offsets, np.float32)
    if not correction.reached:
        console.warn(
            f"warning: no offset brings {' '.join(class_names(data)[c] for c in omitted)} to its frequency; "
            "the bias is left alone"
        )
    seconds["total"] = sum(seconds.values())
    return Experiment(
        config, data, teacher, student, baseline, correction, milliseconds, workers.n_threads, seconds
    )


def results(experiment: Experiment) -> dict[str, Any]:
    """The content of results.json; the README documents its keys."""
    config, data, metrics = experiment.config, experiment.data, experiment.metrics()
    labels, omitted = data.test_labels, config.omitted_class
    runs = {"teacher": experiment.teacher, "student": experiment.student, "baseline": experiment.baseline}
    return {
        "config": {k: str(v) if isinstance(v, Path) else v for k, v in asdict(config).items()},
        "environment": environment(experiment.n_threads),
        "data": {
            "name": data.name,
            "sha256": data.sha256,
            "n_train": len(data.train_labels),
            "n_test": len(labels),
            "n_transfer": len(core.transfer_set(data.train_labels, omitted)),
            "n_test_omitted": int(np.isin(labels, omitted).sum()),
        },
        "teacher": metrics["teacher"],
        "student": {k: metrics[k] for k in ("before_correction", "after_correction")},
        "baseline": metrics["baseline"],
        "networks": {
            name: {
                "parameters": one.network.n_trained,
                "multiply_adds": one.network.n_multiply_adds,
                "milliseconds_per_image": experiment.milliseconds[name],
            }
            for name, one in runs.items()
        },
        "bias_correction": {
            **asdict(experiment.correction),
            "best_on_test_set": core.best_offset_on_test_set(
                experiment.student.test_logits[-1], labels, omitted
            ),
        },
        "history": {name: core.history(one, labels, omitted) for name, one in runs.items()},
        "reused": {name: one.reused for name, one in runs.items()},
        "wall_clock_seconds": experiment.wall_clock_seconds,
    }


def summary(experiment: Experiment) -> str:
    """The final table, at most 80 columns."""
    metrics, omitted = experiment.metrics(), experiment.config.omitted_class
    rows = [
        ("teacher", experiment.teacher, metrics["teacher"]),
        ("student, soft targets alone", experiment.student, metrics["before_correction"]),
        ("the same student, hard labels", experiment.baseline, metrics["baseline"]),
    ]
    if omitted:
        rows.insert(2, ("  after the bias correction", experiment.student, metrics["after_correction"]))
    name = "unseen" if omitted else ""
    lines = [f"{experiment.data.name:<30} {'overall':>8} {name:>8} {'parameters':>11} {'multiply-adds':>14}"]
    for label, one, m in rows:
        unseen = percent(m["omitted_accuracy"]) if omitted else ""
        lines.append(
            f"{label:<30} {percent(m['test_accuracy']):>8} {unseen:>8} {one.network.n_trained:>11,}"
            f" {one.network.n_multiply_adds:>14,}"
        )
    seconds = experiment.wall_clock_seconds
    lines.append("seconds: " + ", ".join(f"{key} {value:.1f}" for key, value in seconds.items()))
    return "\n".join(lines)


# ------------------------------------------------------------------------------------------------------------
# Command line
# ------------------------------------------------------------------------------------------------------------


def config_from(arguments: Any) -> Config:
    """Defaults, then the flags given. Raises UserError."""
    return Config(**core.given_settings(arguments, Config))


def closing_notice(experiment: Experiment, console: Console) -> None:
    """Say once more, at the end, when the figures are not of CIFAR-10."""
    if experiment.data.is_rendered:
        console.warn(RENDERED_NOTICE)


def main(argv: list[str] | None = None) -> None:
    parser = core.argument_parser("Distil a convolutional CIFAR-10 network into a smaller one.", Config)
    config = config_from(parser.parse_args(argv))
    console = Console(config.quiet)
    experiment = run(config, console)
    core.report(experiment.outdir, results(experiment), summary(experiment), console)
    closing_notice(experiment, console)


if __name__ == "__main__":
    run_script(main)
