#!/usr/bin/env python3
"""A student that has never seen a 3, and recognises it: Hinton, Vinyals & Dean (2015), section 3, in NumPy.

A teacher network learns all ten digits of MNIST from hard labels. A smaller student learns only from the
teacher's softened outputs, on a transfer set from which every 3 was removed. Then one scalar is added to the
student's output bias for the class that it never saw, chosen so that the student predicts that class as often
as it occurs.

    python3 distillation_mnist_omitted_3.py           # the described recipe, results in viz/results.json
    python3 distillation_mnist_omitted_3.py --help    # every setting with its default

The file reads from top to bottom: settings, data, model, losses, training, distillation, bias correction,
evaluation, pipeline, command line. Section and equation numbers are those of the paper, arXiv:1503.02531.
"""

from __future__ import annotations

import argparse
import ast
import ctypes
import hashlib
import inspect
import io
import json
import math
import os
import queue
import textwrap
import threading
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

import rendered_digits
from suite_io import (
    Console,
    OneLineParser,
    UserError,
    atomic_output,
    blas_name,
    check_writable,
    clock,
    environment,
    percent,
    run_script,
)

N_CLASSES = 10
IMAGE_SIDE = 28
N_PIXELS = IMAGE_SIDE * IMAGE_SIDE


# ------------------------------------------------------------------------------------------------------------
# Settings: every default and every flag's help, once
# ------------------------------------------------------------------------------------------------------------


def setting(default: Any, help: str, **flag: Any) -> Any:
    """A field of `Config`; `flag` goes to `argparse.add_argument` as it is."""
    return field(default=default, metadata={"help": help, "flag": flag})


@dataclass(frozen=True)
class Config:
    """All settings of one experiment, each a flag of the same name; the defaults are the described recipe.

    Raises UserError when a value makes no sense.
    """

    recipe: str = setting(
        "described",
        "preset of the flags below; flags given explicitly win",
        choices=("described", "fast", "best"),
    )
    seed: int = setting(0, "seed of every random choice", type=int)
    temperature: float = setting(20.0, "softmax temperature T of the distillation", type=float)
    omitted_class: tuple[int, ...] = setting(
        (3,), "class or classes that the student never sees, each 0 to 9", type=int, nargs="+"
    )
    n_epochs_teacher: int = setting(12, "passes of the teacher over the training set", type=int)
    n_epochs_student: int = setting(20, "passes of the student over the transfer set", type=int)
    teacher_hidden: tuple[int, ...] = setting(
        (1200, 1200), "units per hidden layer of the teacher", type=int, nargs="+"
    )
    student_hidden: tuple[int, ...] = setting(
        (800, 800), "units per hidden layer of the student", type=int, nargs="+"
    )
    batch_size: int = setting(128, "images per step", type=int)
    batch_size_student: int | None = setting(None, "images per step of the student, if it differs", type=int)
    learning_rate: float = setting(1e-3, "step size of Adam (the peak of a schedule)", type=float)
    learning_rate_student: float | None = setting(None, "step size of the student, if it differs", type=float)
    lr_schedule: str = setting(
        "constant", "linear: 5 %% warm-up, then linear decay to zero", choices=("constant", "linear")
    )
    jitter: int = setting(
        2, "teacher: shift each image by up to this many pixels per axis, anew each epoch", type=int
    )
    jitter_student: int = setting(
        0, "the same for the student; the teacher then sees the shifted image", type=int
    )
    dropout_input: float = setting(0.0, "teacher: share of the input pixels dropped at each step", type=float)
    dropout: float = setting(0.0, "teacher: share of the hidden units dropped at each step", type=float)
    max_norm: float | None = setting(
        None, "teacher: limit of the L2 norm of each hidden unit's incoming weights", type=float
    )
    hard_weight: float = setting(
        0.0, "student: weight of the hard labels in its loss; 1: hard labels alone", type=float
    )
    transfer_fraction: float = setting(
        1.0,
        "student: share of the transfer set that it learns from, in as many steps as from all of it",
        type=float,
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
        "auto: MNIST, or digits drawn by this project where MNIST cannot be had; mnist: nothing else will do",
        choices=("auto", "mnist", "rendered"),
    )
    data_dir: Path | None = setting(None, "folder with the four IDX files, plain or .gz", type=Path)
    cache_dir: Path | None = setting(
        None, "folder for downloads and finished trainings (default: ~/.cache/hinton-mnist)", type=Path
    )
    mirror: tuple[str, ...] = setting(
        (), "address to download from instead of the known ones", action="append"
    )
    retrain: bool = setting(False, "train again, even if this training is stored", action="store_true")
    outdir: Path | None = setting(
        None,
        "folder for everything written (default: viz, or viz/rendered, viz/custom for other data)",
        type=Path,
    )
    quiet: bool = setting(False, "print only warnings and the final table", action="store_true")

    def __post_init__(self) -> None:
        def check(name: str, ok: bool, wanted: str) -> None:
            if not ok:
                value = getattr(self, name)
                shown = " ".join(map(str, value)) if isinstance(value, tuple) else value
                raise UserError(f"{flag_name(name)} must be {wanted}, not {shown}")

        check("seed", self.seed >= 0, "0 or more")
        check(
            "temperature", math.isfinite(self.temperature) and self.temperature > 0, "a finite number above 0"
        )
        check("omitted_class", all(0 <= c < N_CLASSES for c in self.omitted_class), "classes from 0 to 9")
        object.__setattr__(self, "omitted_class", tuple(sorted(set(self.omitted_class))))
        check("omitted_class", len(self.omitted_class) < N_CLASSES, "fewer than all classes")
        for name in (
            "n_epochs_teacher",
            "n_epochs_student",
            "batch_size",
            "batch_size_student",
            "probe_size",
        ):
            check(name, getattr(self, name) is None or getattr(self, name) >= 1, "1 or more")
        for name in ("teacher_hidden", "student_hidden"):
            check(name, all(size >= 1 for size in getattr(self, name)), "layer sizes of 1 or more")
        for name in ("learning_rate", "learning_rate_student", "max_norm"):
            value = getattr(self, name)
            check(name, value is None or (math.isfinite(value) and value > 0), "a finite number above 0")
        check("hold_out", self.hold_out >= 0, "0 or more")
        for name in ("jitter", "jitter_student"):
            check(name, 0 <= getattr(self, name) < IMAGE_SIDE, f"from 0 to {IMAGE_SIDE - 1} pixels")
        for name in ("dropout_input", "dropout"):
            check(name, 0 <= getattr(self, name) < 1, "at least 0 and below 1")
        check("hard_weight", 0 <= self.hard_weight <= 1, "from 0 to 1")
        check("transfer_fraction", 0 < self.transfer_fraction <= 1, "above 0 and at most 1")
        for name in ("recipe", "lr_schedule", "dataset"):
            choices = next(f for f in fields(self) if f.name == name).metadata["flag"]["choices"]
            check(name, getattr(self, name) in choices, "one of " + ", ".join(choices))
        if self.data_dir is not None and self.dataset == "rendered":
            raise UserError("--data-dir and --dataset rendered exclude each other; leave one of them out")

    @property
    def cache_folder(self) -> Path:
        """Where downloads and finished trainings are kept. Raises UserError without a home directory."""
        return self.cache_dir or user_cache() / "hinton-mnist"

    @property
    def teacher_training(self) -> TrainingSettings:
        return TrainingSettings(
            sizes=(N_PIXELS, *self.teacher_hidden, N_CLASSES),
            n_epochs=self.n_epochs_teacher,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            lr_schedule=self.lr_schedule,
            jitter=self.jitter,
            dropout_input=self.dropout_input,
            dropout=self.dropout,
            max_norm=self.max_norm,
            weight_seed=self.seed,
            order_seed=self.seed + 17,
        )

    @property
    def student_training(self) -> TrainingSettings:
        return TrainingSettings(
            sizes=(N_PIXELS, *self.student_hidden, N_CLASSES),
            n_epochs=self.n_epochs_student,
            batch_size=self.batch_size_student or self.batch_size,
            learning_rate=self.learning_rate_student or self.learning_rate,
            lr_schedule=self.lr_schedule,
            jitter=self.jitter_student,
            dropout_input=0.0,
            dropout=0.0,
            max_norm=None,
            weight_seed=self.seed + 1,
            order_seed=self.seed + 31,
        )


@dataclass(frozen=True)
class TrainingSettings:
    """What determines the training of one network, apart from its data and its loss."""

    sizes: tuple[int, ...]
    n_epochs: int
    batch_size: int
    learning_rate: float
    lr_schedule: str
    jitter: int
    dropout_input: float
    dropout: float
    max_norm: float | None
    weight_seed: int
    order_seed: int


# Presets of the flags. Chosen on the last 10,000 training images held out, never on the test set.
RECIPES: dict[str, dict[str, Any]] = {
    "described": {},
    "fast": {
        "n_epochs_teacher": 4,
        "n_epochs_student": 6,
        "batch_size": 256,
        "learning_rate": 2e-3,
        "lr_schedule": "linear",
        "jitter": 1,
    },
    "best": {
        "n_epochs_teacher": 60,
        "n_epochs_student": 40,
        "batch_size": 512,
        "batch_size_student": 128,
        "learning_rate": 2e-3,
        "learning_rate_student": 1e-3,
        "lr_schedule": "linear",
        "jitter_student": 2,
        "dropout_input": 0.05,
        "dropout": 0.2,
        "probe_size": 60_000,
    },
}


def user_cache() -> Path:
    """The user's folder for caches. Raises UserError without a home directory."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError as error:
        raise UserError(
            "there is no home directory to keep a cache in; name a folder with --cache-dir"
        ) from error


def flag_name(field_name: str) -> str:
    return "--" + field_name.replace("_", "-")


# ------------------------------------------------------------------------------------------------------------
# Data: four IDX files from a folder, the cache or a mirror
# ------------------------------------------------------------------------------------------------------------

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "http://yann.lecun.com/exdb/mnist/",
)
# SHA-256 of each file's content, uncompressed: a plain copy, a .gz and a mirror are held to the same sum.
MNIST_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
CONNECT_SECONDS = 4.0  # for one mirror to answer at all
STALL_SECONDS = 10.0  # for the next bytes of an answer
MAX_FILE_BYTES = 64 * 2**20  # no MNIST file is larger, compressed or not


Checked = TypeVar("Checked")


class DownloadError(Exception):
    """No mirror gave the right file."""


@dataclass(frozen=True)
class Data:
    """A training and a test set. Images are uint8 (n, 28, 28), labels uint8 (n,) from 0 to 9."""

    name: str  # "MNIST", "rendered digits" or "custom IDX files", and what was held out of it
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    sha256: dict[str, str]  # of the uncompressed files, by file name

    @property
    def subfolder(self) -> str:
        """Where outputs go below viz/, so that other data never overwrites the figures of MNIST."""
        if self.is_rendered:
            return "rendered"
        return "" if self.name == "MNIST" else "custom"

    @property
    def is_rendered(self) -> bool:
        return self.name.startswith("rendered")


def parse_idx(content: bytes, name: str, n_dimensions: int) -> np.ndarray:
    """The uint8 array in the bytes of an IDX file.

    That is a magic number 0, 0, 8 and the number of dimensions, their sizes as big-endian 32-bit numbers,
    then the values. Raises UserError for another magic, missing or trailing bytes.
    """
    header = 4 + 4 * n_dimensions
    if len(content) < header or content[:4] != bytes((0, 0, 8, n_dimensions)):
        raise UserError(
            f"{name} is not an IDX file of bytes in {n_dimensions} dimension(s); check where it comes from"
        )
    shape = tuple(int(n) for n in np.frombuffer(content, ">u4", n_dimensions, offset=4))
    if len(content) - header != math.prod(shape):
        raise UserError(
            f"{name} holds {len(content) - header} values, its header announces {math.prod(shape)}; "
            "fetch it again"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def uncompress(content: bytes) -> bytes:
    """The content of a gzip file of at most MAX_FILE_BYTES.

    Raises ValueError when it is none, is cut short or unpacks to more.
    """
    unzip = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        plain = unzip.decompress(content, MAX_FILE_BYTES)
    except zlib.error as error:
        raise ValueError("not a gzip file") from error
    if not unzip.eof:
        raise ValueError("truncated or too large")
    return plain


def check_sum(plain: bytes, name: str) -> bytes:
    """`plain` itself. Raises ValueError when its SHA-256 is not the one of MNIST's file `name`."""
    if hashlib.sha256(plain).hexdigest() != MNIST_SHA256[name]:
        raise ValueError("wrong SHA-256")
    return plain


def read_folder(folder: Path) -> dict[str, bytes]:
    """The four files of a folder that the user named, plain or .gz, uncompressed. Raises UserError."""
    contents = {}
    for name in MNIST_SHA256:
        path = next((p for p in (folder / name, folder / f"{name}.gz") if p.is_file()), None)
        if path is None:
            raise UserError(f"--data-dir {folder}: no {name} or {name}.gz there; it needs all four IDX files")
        try:
            raw = path.read_bytes()
            contents[name] = uncompress(raw) if path.suffix == ".gz" else raw
        except (OSError, ValueError) as error:
            raise UserError(f"cannot read {path}: {error}; fetch it again") from error
    return contents


def open_url(url: str) -> Any:
    """`urlopen`, but the whole of it, name look-up included, within CONNECT_SECONDS. Raises OSError."""
    answer: queue.SimpleQueue = queue.SimpleQueue()

    def attempt() -> None:
        try:
            answer.put(urllib.request.urlopen(url, timeout=STALL_SECONDS))
        except Exception as error:  # whatever it is, it is this mirror's reason
            answer.put(error)

    threading.Thread(target=attempt, daemon=True).start()
    try:
        outcome = answer.get(timeout=CONNECT_SECONDS)
    except queue.Empty:
        raise TimeoutError(f"no answer within {CONNECT_SECONDS:g} s") from None
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def fetch(
    urls: Sequence[str], name: str, check: Callable[[bytes], Checked], max_bytes: int, console: Console
) -> tuple[bytes, Checked]:
    """(bytes as sent, what `check` makes of them) of the first address whose answer `check` accepts.

    `check` raises ValueError for anything but the right file. Raises DownloadError when no address gives it;
    each one's reason has then been shown.
    """
    for url in urls:
        try:
            with open_url(url) as response:
                total = int(response.headers.get("Content-Length") or 0)
                received = bytearray()
                while chunk := response.read1(65536):
                    received += chunk
                    if len(received) > max_bytes:
                        raise ValueError("far too large")
                    console.progress(f"fetching {name}", len(received) / max(total, len(received)))
            return bytes(received), check(bytes(received))
        # urllib raises OSError, HTTPException, ValueError and others: all of them mean the next mirror
        except Exception as error:
            reason: object = error
            if isinstance(error, urllib.error.HTTPError):
                error.close()
            elif isinstance(error, urllib.error.URLError):
                reason = error.reason
            console.warn(f"warning: {url}: {str(reason) or type(reason).__name__}")
    raise DownloadError(name)


def download(name: str, mirrors: Sequence[str], console: Console) -> tuple[bytes, bytes]:
    """(compressed, uncompressed) bytes of one MNIST file. Raises DownloadError."""
    urls = [f"{mirror.rstrip('/')}/{name}.gz" for mirror in mirrors]
    return fetch(urls, name, lambda sent: check_sum(uncompress(sent), name), MAX_FILE_BYTES, console)


def cached(
    path: Path,
    check: Callable[[bytes], Checked],
    download_it: Callable[[], tuple[bytes, Checked]],
    console: Console,
) -> Checked:
    """What `check` makes of the file at `path` or, where that is missing or wrong, of a download kept there.

    Nothing in the cache is trusted: it is checked at every start. Raises DownloadError.
    """
    try:
        return check(path.read_bytes())
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        console.warn(f"warning: {path}: {error}; fetching it again")
    sent, checked = download_it()
    try:
        with atomic_output(path) as temporary:
            temporary.write_bytes(sent)
    except UserError as error:
        console.warn(f"warning: {error} (going on without a cache)")
    return checked


def read_cache(folder: Path, mirrors: Sequence[str], console: Console) -> dict[str, bytes]:
    """The four MNIST files, uncompressed, from the cache where it holds them, else from the mirrors.

    Raises DownloadError.
    """

    def read(name: str) -> bytes:
        return cached(
            folder / f"{name}.gz",
            lambda sent: check_sum(uncompress(sent), name),
            lambda: download(name, mirrors, console),
            console,
        )

    return {name: read(name) for name in MNIST_SHA256}


def data_from_idx(contents: dict[str, bytes]) -> Data:
    """Parse the four files. Raises UserError when they are no images and labels of the right shape."""
    sha256 = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    arrays = {
        name: parse_idx(content, name, 3 if "images" in name else 1) for name, content in contents.items()
    }
    train_images, train_labels, test_images, test_labels = (arrays[name] for name in MNIST_SHA256)
    for images, labels, part in (
        (train_images, train_labels, "training"),
        (test_images, test_labels, "test"),
    ):
        if images.shape[1:] != (IMAGE_SIDE, IMAGE_SIDE):
            raise UserError(
                f"the {part} images measure {images.shape[1:]}; this experiment needs 28 x 28 pixels"
            )
        if len(images) != len(labels) or len(labels) == 0:
            raise UserError(
                f"{len(images)} {part} images but {len(labels)} labels; the files do not belong together"
            )
        if labels.max() >= N_CLASSES:
            raise UserError(f"the {part} labels reach {labels.max()}; this experiment needs classes 0 to 9")
    name = "MNIST" if sha256 == MNIST_SHA256 else "custom IDX files"
    return Data(name, train_images, train_labels, test_images, test_labels, sha256)


def rendered_data(console: Console) -> Data:
    """20,000 + 5,000 digits drawn by `rendered_digits`, always the same ones."""
    console.line("drawing 25,000 digits ...")
    arrays = rendered_digits.render_dataset()
    sha256 = {
        name: hashlib.sha256(array.tobytes()).hexdigest()
        for name, array in zip(MNIST_SHA256, arrays, strict=True)
    }
    return Data("rendered digits", *arrays, sha256)


RENDERED_NOTICE = """\
********************************************************************************
*  NOT MNIST. These figures are of digits that this project drew by itself.    *
*  For MNIST, run again with a network, or with  --data-dir FOLDER  holding    *
*  train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz,                     *
*  t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz.                    *
********************************************************************************"""


def load_data(config: Config, console: Console) -> Data:
    """The data that `--dataset`, `--data-dir`, `--cache-dir` and `--mirror` ask for.

    Raises UserError when it cannot be had or is malformed.
    """
    if config.dataset == "rendered":
        data = rendered_data(console)
    elif config.data_dir is not None:
        data = data_from_idx(read_folder(config.data_dir))
        if config.dataset == "mnist" and data.name != "MNIST":
            raise UserError(
                f"--dataset mnist: the files in {config.data_dir} are others (SHA-256); leave the flag out"
            )
    else:
        try:
            data = data_from_idx(read_cache(config.cache_folder, config.mirror or MIRRORS, console))
        except DownloadError as error:
            if config.dataset == "mnist":
                raise UserError(
                    f"no mirror gave {error}; run with a network, or point --data-dir at the four files"
                ) from error
            data = rendered_data(console)
    if config.hold_out:
        data = held_out(data, config.hold_out)
    if data.is_rendered:
        console.warn(RENDERED_NOTICE)
    return data


def check_omitted(data: Data, omitted_class: Sequence[int]) -> None:
    """Raises UserError when an omitted class has no image in `data`, or no other class has one."""
    for labels, part in ((data.train_labels, "training"), (data.test_labels, "test")):
        for c in omitted_class:
            if not (labels == c).any():
                raise UserError(f"--omitted-class {c}: the {part} set has no image of it; choose another")
        if np.isin(labels, omitted_class).all():
            classes = " ".join(map(str, omitted_class))
            raise UserError(f"--omitted-class {classes}: the {part} set has no other class; use other data")


def held_out(data: Data, n: int) -> Data:
    """The last n training images in place of the test set, to choose settings without it.

    Raises UserError when no image is left to train on.
    """
    if n >= len(data.train_labels):
        raise UserError(
            f"--hold-out {n}: there are {len(data.train_labels)} training images; leave some to train on"
        )
    images, labels = data.train_images, data.train_labels
    name = f"{data.name}, last {n} held out"
    return Data(name, images[:-n], labels[:-n], images[-n:], labels[-n:], data.sha256)


# ------------------------------------------------------------------------------------------------------------
# Model: a ReLU network whose products are cut into tiles that all cores share
# ------------------------------------------------------------------------------------------------------------

TILE_ROWS = 200  # per tile four arrays, 1 MB each: gradient, two moments, weights
BLAS_CONTROLS = (
    "scipy_openblas_{}_num_threads64_",
    "scipy_openblas_{}_num_threads",
    "openblas_{}_num_threads",
)


class Workers:
    """One thread per core for the tiles of a layer, each with a single-threaded BLAS.

    OpenBLAS's own threads go on spinning for a while after each product and so fight every other use of the
    cores. Within `with Workers() as workers:` it therefore runs on one thread, and our threads take whole
    tiles: the product and, while its result is still in the cache, what follows it. The count is the one that
    OpenBLAS would have used, so OPENBLAS_NUM_THREADS is respected; at the end it is given back. With a BLAS
    that cannot be asked (Accelerate, MKL), `map` is a plain loop and the BLAS uses its own threads.

    The tiles are the same whatever the number of threads, and so are the results, bit for bit.
    """

    def __init__(self, n_threads: int | None = None) -> None:
        library = ctypes.CDLL(np._core._multiarray_umath.__file__)  # its BLAS is found through it
        name = next((name for name in BLAS_CONTROLS if hasattr(library, name.format("set"))), None)
        self._set_blas_threads = getattr(library, name.format("set")) if name else lambda count: None
        self._blas_threads = getattr(library, name.format("get"))() if name else 1
        self.n_threads = n_threads or self._blas_threads

    def __enter__(self) -> Workers:
        self._set_blas_threads(1)
        self._jobs: queue.SimpleQueue = queue.SimpleQueue()
        self._done: queue.SimpleQueue = queue.SimpleQueue()
        for _ in range(self.n_threads - 1):
            threading.Thread(target=self._work, daemon=True).start()
        return self

    def __exit__(self, *exception: Any) -> None:
        for _ in range(self.n_threads - 1):
            self._jobs.put(None)
        self._set_blas_threads(self._blas_threads)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
                self._done.put(None)
            except BaseException as error:
                self._done.put(error)

    def map(self, function: Callable[[Any], None], tiles: Sequence[Any]) -> None:
        """Call `function` once with each tile, on all threads; return when all are done.

        Raises what `function` raises.
        """
        pending = deque(tiles)

        def drain() -> None:
            while pending:
                try:
                    tile = pending.popleft()
                except IndexError:  # another thread took the last one
                    return
                function(tile)

        n_helpers = min(self.n_threads, len(tiles)) - 1
        for _ in range(n_helpers):
            self._jobs.put(drain)
        try:
            drain()
        finally:
            errors = [self._done.get() for _ in range(n_helpers)]
        for error in errors:
            if error is not None:
                raise error


def row_tiles(n_rows: int) -> list[slice]:
    return [slice(start, min(start + TILE_ROWS, n_rows)) for start in range(0, n_rows, TILE_ROWS)]


class MLP:
    """A network of fully connected ReLU layers with linear outputs, the logits.

    `parameters` is one flat vector, float32 unless asked otherwise. `layers[l]` is a view of it, shape
    (fan_out, fan_in + 1): the weights and, as last column, the biases, which a row of ones below the
    activations multiplies. Activations are batch-last, (features + 1, batch).

    Weights start as in He et al. (2015), normal with variance 2 / fan_in; biases at zero.
    """

    def __init__(self, sizes: Sequence[int], rng: np.random.Generator, dtype: Any = np.float32) -> None:
        self.sizes = tuple(sizes)
        shapes = [(fan_out, fan_in + 1) for fan_in, fan_out in pairwise(sizes)]
        self.starts = [0, *np.cumsum([math.prod(shape) for shape in shapes]).tolist()]
        self.parameters = np.zeros(self.starts[-1], dtype)
        self.layers = [
            self.parameters[a:b].reshape(s) for (a, b), s in zip(pairwise(self.starts), shapes, strict=True)
        ]
        for layer in self.layers:
            fan_out, fan_in = layer.shape[0], layer.shape[1] - 1
            layer[:, :-1] = rng.standard_normal((fan_out, fan_in), dtype) * math.sqrt(2 / fan_in)

    @property
    def output_biases(self) -> np.ndarray:
        """View of the biases of the logits, shape (classes,)."""
        return self.layers[-1][:, -1]

    def new_activations(self, batch_size: int) -> list[np.ndarray]:
        """Buffers for `forward`: per layer (size + 1, batch) with a row of ones, then the logits."""
        hidden = [np.ones((size + 1, batch_size), self.parameters.dtype) for size in self.sizes[:-1]]
        return [*hidden, np.empty((self.sizes[-1], batch_size), self.parameters.dtype)]

    def forward(
        self, activations: list[np.ndarray], workers: Workers, scaled_masks: list[np.ndarray] | None = None
    ) -> np.ndarray:
        """Logits, shape (batch, classes), of the inputs in `activations[0]`; fills `activations[1:]`.

        `scaled_masks`, for dropout: per hidden layer (size, batch), 0 or 1 / (1 - p), multiplied into its
        activations.
        """
        last = len(self.layers) - 1
        for index, (layer, below, above) in enumerate(
            zip(self.layers, activations[:-1], activations[1:], strict=True)
        ):

            def tile(rows: slice) -> None:
                np.matmul(layer[rows], below, out=above[rows])
                if index < last:
                    np.maximum(above[rows], 0, out=above[rows])
                    if scaled_masks is not None:
                        above[rows] *= scaled_masks[index][rows]

            workers.map(tile, row_tiles(len(layer)))
        return activations[-1].T

    def backward(
        self,
        activations: list[np.ndarray],
        logits_gradient: np.ndarray,
        workers: Workers,
        update: Callable[[slice, np.ndarray], None],
        scaled_masks: list[np.ndarray] | None = None,
    ) -> None:
        """Back-propagate dLoss/dlogits, shape (batch, classes), after `forward` filled `activations`.

        Each tile of the parameters' gradient goes to `update(part, gradient)` as soon as it is computed:
        `part` is its slice of the flat vector and `gradient` a 1-d array that `update` may overwrite. The
        whole gradient never exists, which spares the optimiser a trip to memory. All deltas are computed
        before the first update.
        """
        deltas = [logits_gradient.T]  # dLoss/d(pre-activations), from the last layer to the first
        for index in range(len(self.layers) - 1, 0, -1):
            layer, below, delta_above = self.layers[index], activations[index], deltas[0]
            delta = np.empty((layer.shape[1] - 1, delta_above.shape[1]), layer.dtype)

            def delta_tile(units: slice) -> None:
                np.matmul(layer[:, units].T, delta_above, out=delta[units])
                delta[units] *= below[units] > 0  # slope of ReLU
                if scaled_masks is not None:
                    delta[units] *= scaled_masks[index - 1][units]

            workers.map(delta_tile, row_tiles(len(delta)))
            deltas.insert(0, delta)

        def gradient_tile(tile: tuple[int, slice]) -> None:
            index, rows = tile
            gradient = deltas[index][rows] @ activations[index].T
            start = self.starts[index] + rows.start * gradient.shape[1]
            update(slice(start, start + gradient.size), gradient.reshape(-1))

        workers.map(
            gradient_tile,
            [(i, rows) for i, layer in enumerate(self.layers) for rows in row_tiles(len(layer))],
        )


class Adam:
    """Adam (Kingma & Ba 2015, algorithm 1) on a flat vector of parameters, part by part and in place.

    The moments are kept without their factors (1 - beta): M <- beta1 M + g and V <- beta2 V + g^2, so that
    m_hat = M (1 - beta1) / (1 - beta1^t), and likewise v_hat: the factors of a whole step meet in two
    scalars.
    """

    def __init__(
        self, parameters: np.ndarray, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8
    ) -> None:
        self.parameters = parameters
        self.first_moment = np.zeros_like(parameters)
        self.second_moment = np.zeros_like(parameters)
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon
        self.n_steps = 0

    def begin_step(self, learning_rate: float) -> None:
        """Fix the two scalars of the next step, which `update` then applies to every part once."""
        self.n_steps += 1
        first_scale = (1 - self.beta1) / (1 - self.beta1**self.n_steps)
        second_scale = math.sqrt((1 - self.beta2) / (1 - self.beta2**self.n_steps))
        self._step_size = learning_rate * first_scale / second_scale
        self._epsilon = self.epsilon / second_scale

    def update(self, part: slice, gradient: np.ndarray) -> None:
        """parameters[part] -= learning_rate * m_hat / (sqrt(v_hat) + epsilon). Overwrites `gradient`."""
        m, v = self.first_moment[part], self.second_moment[part]
        m *= self.beta1
        m += gradient
        v *= self.beta2
        np.square(gradient, out=gradient)
        v += gradient
        np.sqrt(v, out=gradient)
        gradient += self._epsilon
        np.divide(m, gradient, out=gradient)
        gradient *= self._step_size
        self.parameters[part] -= gradient


# ------------------------------------------------------------------------------------------------------------
# Losses: each returns its value and its gradient by the logits
# ------------------------------------------------------------------------------------------------------------


def log_softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """log q_i with q_i = exp(z_i / T) / sum_j exp(z_j / T), equation 1; logits (n, classes)."""
    scaled = (logits - logits.max(axis=1, keepdims=True)) / temperature
    return scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True))


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """q_i = exp(z_i / T) / sum_j exp(z_j / T), equation 1; logits (n, classes), same shape and dtype."""
    return np.exp(log_softmax(logits, temperature))


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean cross-entropy with hard labels (n,), and its gradient (q - onehot) / n; logits (n, classes)."""
    log_q = log_softmax(logits)
    rows = np.arange(len(labels))
    gradient = np.exp(log_q)
    gradient[rows, labels] -= 1
    gradient /= len(labels)
    return -float(log_q[rows, labels].mean()), gradient


def distillation_loss(
    student_logits: np.ndarray, teacher_logits: np.ndarray, temperature: float
) -> tuple[float, np.ndarray]:
    """T^2 mean KL(p || q) between the softmaxes at T of teacher, p, and student, q; logits (n, classes).

    Summed over classes, averaged over the batch. Its gradient by the student's logits is T^2 times equation
    2, T (q - p) / n: the factor keeps its size comparable with hard labels when T changes (section 2). It is
    the same as that of the cross-entropy with soft targets, which differs by the teacher's entropy, a
    constant; KL ends at zero.
    """
    soft_targets, q = softmax(teacher_logits, temperature), softmax(student_logits, temperature)
    gradient = (q - soft_targets) * (temperature / len(student_logits))
    # at high T, KL is a small difference of large sums: single precision would lose it, T^2 magnify the loss
    log_p, log_q = (log_softmax(z.astype(np.float64), temperature) for z in (teacher_logits, student_logits))
    kl = (np.exp(log_p) * (log_p - log_q)).sum(axis=1).mean()
    return temperature**2 * float(kl), gradient


# ------------------------------------------------------------------------------------------------------------
# Training: one loop for the teacher and the student
# ------------------------------------------------------------------------------------------------------------

OnEpoch = Callable[[int, float, float], None]  # epoch from 1, mean loss, seconds
OnStep = Callable[[int, float], None]  # epoch from 1, share of it that is done
# (logits of the batch, its indices into the images, its inputs as the network saw them) -> value, gradient
Loss = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[float, np.ndarray]]


def fill_inputs(
    inputs: np.ndarray, images: np.ndarray, jitter: int = 0, rng: np.random.Generator | None = None
) -> None:
    """Write uint8 images (n, 28, 28) as values in [0, 1] into `inputs` (784, n).

    With jitter, each image is first shifted by up to that many pixels per axis, drawn from `rng`; zeros move
    in.
    """
    if jitter:
        padded = np.pad(images, ((0, 0), (jitter, jitter), (jitter, jitter)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, images.shape[1:], axis=(1, 2))
        down, right = rng.integers(0, 2 * jitter + 1, (2, len(images)))
        images = windows[np.arange(len(images)), down, right]
    np.multiply(images.reshape(len(images), -1).T, inputs.dtype.type(1 / 255), out=inputs)


def dropout_mask(shape: tuple[int, int], share: float, rng: np.random.Generator) -> np.ndarray:
    """Float32 array, 0 with probability `share` (to 1 part in 65,536), else 1 / (1 - share)."""
    drawn = rng.integers(0, 65536, shape, dtype=np.uint16)
    return (drawn >= round(share * 65536)) * np.float32(1 / (1 - share))


def limit_norms(network: MLP, max_norm: float, workers: Workers) -> None:
    """Scale the incoming weights of every hidden unit whose L2 norm exceeds `max_norm` back to that norm.

    The weight constraint of section 3, from Hinton et al. (2012), arXiv:1207.0580. Biases are left alone.
    """

    def tile(weights: np.ndarray) -> None:
        norms = np.sqrt(np.einsum("ij,ij->i", weights, weights))
        too_long = norms > max_norm
        weights[too_long] *= (max_norm / norms[too_long])[:, None]

    hidden = [layer[:, :-1] for layer in network.layers[:-1]]
    workers.map(tile, [weights[rows] for weights in hidden for rows in row_tiles(len(weights))])


def learning_rate_at(step: int, n_steps: int, peak: float, schedule: str) -> float:
    """Step size at step 0 .. n_steps - 1. "linear" rises over the first 5 % of the steps, then falls to 0."""
    if schedule == "constant":
        return peak
    warm_up = max(1, round(0.05 * n_steps))
    if step < warm_up:
        return peak * (step + 1) / warm_up
    return peak * (n_steps - step) / max(1, n_steps - warm_up)


def predict(network: MLP, images: np.ndarray, workers: Workers, chunk: int = 1000) -> np.ndarray:
    """Logits (n, classes), float32, of uint8 images (n, 28, 28)."""
    logits = np.empty((len(images), network.sizes[-1]), network.parameters.dtype)
    buffers = network.new_activations(min(chunk, len(images)))
    for start in range(0, len(images), chunk):
        batch = images[start : start + chunk]
        activations = [buffer[:, : len(batch)] for buffer in buffers]
        fill_inputs(activations[0][:-1], batch)
        logits[start : start + chunk] = network.forward(activations, workers)
    return logits


def train(
    network: MLP,
    images: np.ndarray,
    indices: np.ndarray,
    loss: Loss,
    settings: TrainingSettings,
    workers: Workers,
    on_epoch: Callable[[int, float, float], None] = lambda epoch, loss, seconds: None,
    on_step: Callable[[int, float], None] = lambda epoch, share: None,
) -> None:
    """Train `network` in place with Adam on `images[indices]`; no other image is touched.

    `on_epoch(epoch, mean loss, seconds)` is called after each epoch, counted from 1.
    """
    rng = np.random.default_rng(settings.order_seed)
    adam = Adam(network.parameters)
    batch_size = min(settings.batch_size, len(indices))
    n_steps = settings.n_epochs * math.ceil(len(indices) / batch_size)
    buffers = network.new_activations(batch_size)
    dropout = settings.dropout_input > 0 or settings.dropout > 0
    step, masks = 0, None
    for epoch in range(1, settings.n_epochs + 1):
        started = time.perf_counter()
        total_loss = 0.0
        order = rng.permutation(indices)
        for first in range(0, len(order), batch_size):
            batch = order[first : first + batch_size]
            activations = [buffer[:, : len(batch)] for buffer in buffers]
            inputs = activations[0][:-1]
            fill_inputs(inputs, images[batch], settings.jitter, rng)
            if dropout:
                inputs *= dropout_mask(inputs.shape, settings.dropout_input, rng)
                masks = [dropout_mask((n, len(batch)), settings.dropout, rng) for n in network.sizes[1:-1]]
            logits = network.forward(activations, workers, masks)
            value, gradient = loss(logits, batch, activations[0])
            total_loss += value * len(batch)
            adam.begin_step(learning_rate_at(step, n_steps, settings.learning_rate, settings.lr_schedule))
            network.backward(activations, gradient, workers, adam.update, masks)
            if settings.max_norm is not None:
                limit_norms(network, settings.max_norm, workers)
            step += 1
            on_step(epoch, (first + len(batch)) / len(order))
        on_epoch(epoch, total_loss / len(order), time.perf_counter() - started)


@dataclass
class TrainedRun:
    """A finished training: the network and what it was after each epoch."""

    network: MLP
    losses: np.ndarray  # (n_epochs,), mean training loss
    seconds: np.ndarray  # (n_epochs,), wall clock
    test_logits: np.ndarray  # (n_epochs, n_test, classes), float32
    reused: bool  # taken from the store, not trained now


# ------------------------------------------------------------------------------------------------------------
# Teacher and student: the same loop with other images and another loss
# ------------------------------------------------------------------------------------------------------------


def train_teacher(config: Config, data: Data, workers: Workers, console: Console) -> TrainedRun:
    """The large network, from hard labels, on jittered images of all classes (section 3)."""

    def loss(logits: np.ndarray, batch: np.ndarray, inputs: np.ndarray) -> tuple[float, np.ndarray]:
        return cross_entropy(logits, data.train_labels[batch])

    every_image = np.arange(len(data.train_labels))
    return stored_or_trained("teacher", lambda: (every_image, loss), config, data, workers, console)


def transfer_set(
    labels: np.ndarray, omitted_class: Sequence[int], fraction: float = 1.0, seed: int = 0
) -> np.ndarray:
    """Indices of all images but those of the omitted classes, or of a random `fraction` of these.

    The fraction is repeated to the length of the whole, so that an epoch keeps its number of steps. (Section
    6 of the paper asks the same of speech: there, soft targets do with 3 % of the data.)
    """
    indices = np.flatnonzero(~np.isin(labels, omitted_class))
    if fraction == 1:
        return indices
    n_kept = max(1, round(fraction * len(indices)))
    kept = np.random.default_rng(seed).permutation(indices)[:n_kept]
    return np.resize(kept, len(indices))


def train_student(config: Config, data: Data, teacher: MLP, workers: Workers, console: Console) -> TrainedRun:
    """The small network, from the frozen teacher's soft targets, on the transfer set (section 3).

    No label reaches the loss, unless `hard_weight` asks for it. The student keeps an output for each omitted
    class: the teacher's soft targets put some mass on it for every image, and that is all that the student
    ever hears of it.
    """
    settings, hard_weight = config.student_training, config.hard_weight

    def prepare() -> tuple[np.ndarray, Loss]:
        if settings.jitter:  # the teacher must see the image as it was shifted
            buffers = teacher.new_activations(settings.batch_size)

            def teacher_logits(batch: np.ndarray, inputs: np.ndarray) -> np.ndarray:
                return teacher.forward(
                    [inputs, *(buffer[:, : len(batch)] for buffer in buffers[1:])], workers
                )

        else:
            all_teacher_logits = predict(teacher, data.train_images, workers)

            def teacher_logits(batch: np.ndarray, inputs: np.ndarray) -> np.ndarray:
                return all_teacher_logits[batch]

        def loss(logits: np.ndarray, batch: np.ndarray, inputs: np.ndarray) -> tuple[float, np.ndarray]:
            value, gradient = distillation_loss(logits, teacher_logits(batch, inputs), config.temperature)
            if hard_weight > 0:  # section 2: a weighted average of both objectives, the soft one times T^2
                hard_value, hard_gradient = cross_entropy(logits, data.train_labels[batch])
                value = (1 - hard_weight) * value + hard_weight * hard_value
                gradient = (1 - hard_weight) * gradient + hard_weight * hard_gradient
            return value, gradient

        indices = transfer_set(
            data.train_labels, config.omitted_class, config.transfer_fraction, config.seed + 47
        )
        return indices, loss

    return stored_or_trained("student", prepare, config, data, workers, console)


# ------------------------------------------------------------------------------------------------------------
# Bias correction: one scalar per omitted class
# ------------------------------------------------------------------------------------------------------------

MAX_OFFSET = 50.0  # no sane logit needs more


@dataclass(frozen=True)
class BiasCorrection:
    """The scalars to add to the output biases of the omitted classes, in their order, and what they do."""

    offsets: tuple[float, ...]
    reached: bool  # False: no offsets within MAX_OFFSET reach the targets, and all offsets are 0
    target_frequencies: tuple[float, ...]
    mean_probabilities_before: tuple[float, ...]
    mean_probabilities_after: tuple[float, ...]
    probe_size: int


def add_offsets(logits: np.ndarray, omitted_class: Sequence[int], offsets: Sequence[float]) -> np.ndarray:
    """A copy of `logits` (..., classes) with one offset added to each omitted class."""
    corrected = logits.copy()
    corrected[..., list(omitted_class)] += np.asarray(offsets, logits.dtype)
    return corrected


def omitted_probabilities(
    logits: np.ndarray, omitted_class: Sequence[int], offsets: Sequence[float]
) -> np.ndarray:
    """Probabilities (n, omitted) of the omitted classes at T = 1, `offsets` added; logits (n, classes)."""
    return softmax(add_offsets(logits.astype(np.float64), omitted_class, offsets))[:, list(omitted_class)]


def match_class_frequency(logits: np.ndarray, omitted_class: int, target: float) -> float | None:
    """Binary search for the offset at which the mean probability of one omitted class equals `target`.

    It rises with the offset. None when no offset within MAX_OFFSET reaches the target.
    """

    def mean_probability(offset: float) -> float:
        return float(omitted_probabilities(logits, [omitted_class], [offset]).mean())

    low, high = -MAX_OFFSET, MAX_OFFSET
    if not mean_probability(low) <= target <= mean_probability(high):
        return None
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if mean_probability(middle) < target else (low, middle)
    return (low + high) / 2


def match_class_frequencies(
    logits: np.ndarray, omitted_class: Sequence[int], targets: Sequence[float]
) -> np.ndarray | None:
    """The offsets b (omitted,) at which every omitted class's mean probability equals its target, at once.

    They minimise F(b) = mean_n log sum_j exp(z_nj + b_j) - sum_j t_j b_j, with b_j = 0 for the other classes:
    its gradient is mean probability - target, its Hessian mean (diag(p) - p p^T), positive definite as long
    as some class is not omitted. If all targets are positive and add up to less than 1, F grows without bound
    in every direction, so that the minimum exists and is the only one; Newton's method with a bounded step,
    halved until F falls (Armijo), then gets there from anywhere. What is returned meets every target to 1e-9.

    None when the targets are no such frequencies, or no offsets within MAX_OFFSET reach them.
    """
    target = np.asarray(targets, np.float64)
    if not ((target > 0).all() and target.sum() < 1):
        return None
    logits = logits.astype(np.float64)

    def objective(b: np.ndarray) -> float:
        z = add_offsets(logits, omitted_class, b)
        largest = z.max(axis=1)
        return float((largest + np.log(np.exp(z - largest[:, None]).sum(axis=1))).mean() - target @ b)

    offsets = np.zeros(len(target))
    for _ in range(1000):  # it takes some ten
        p = omitted_probabilities(logits, omitted_class, offsets)
        gradient = p.mean(axis=0) - target
        if np.abs(gradient).max() <= 1e-9:
            return offsets
        if np.abs(offsets).max() > MAX_OFFSET:
            return None
        hessian = np.diag(p.mean(axis=0) + 1e-12) - p.T @ p / len(p)  # 1e-12: a p may underflow to zero
        step = -np.linalg.solve(hessian, gradient)
        step *= min(1.0, 5.0 / np.abs(step).max())
        here = objective(offsets)
        rounding = 1e-13 * (1 + abs(here))
        while objective(offsets + step) > here + 1e-4 * float(gradient @ step) + rounding:
            step /= 2
        offsets = offsets + step
    return None


def correct_bias(
    logits: np.ndarray, omitted_class: Sequence[int], targets: Sequence[float]
) -> BiasCorrection:
    """The offsets that bring the omitted classes' mean probabilities on the probe to their targets.

    `logits` (n, classes) are the student's on the probe, computed once: offsets only shift columns of them.
    """
    if len(omitted_class) == 1:
        found = match_class_frequency(logits, omitted_class[0], targets[0])
        offsets = None if found is None else [found]
    else:
        offsets = match_class_frequencies(logits, omitted_class, targets) if len(omitted_class) else []
    used = [0.0] * len(omitted_class) if offsets is None else offsets

    def means(b: Sequence[float]) -> tuple[float, ...]:
        return tuple(omitted_probabilities(logits, omitted_class, b).mean(axis=0).tolist())

    return BiasCorrection(
        offsets=tuple(map(float, used)),
        reached=offsets is not None,
        target_frequencies=tuple(map(float, targets)),
        mean_probabilities_before=means([0.0] * len(omitted_class)),
        mean_probabilities_after=means(used),
        probe_size=len(logits),
    )


def margins(logits: np.ndarray, omitted_class: Sequence[int]) -> np.ndarray:
    """The common offset (n,) of the omitted classes from which on one of them is predicted."""
    is_omitted = np.isin(np.arange(logits.shape[1]), omitted_class)
    return logits[:, ~is_omitted].max(axis=1) - logits[:, is_omitted].max(axis=1)


def errors_by_offset(
    logits: np.ndarray, labels: np.ndarray, omitted_class: Sequence[int], offsets: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Errors in all, and on omitted classes, when all of these get the same offset: for each of `offsets`.

    An image goes to the largest omitted logit as soon as the offset passes its margin, before that to the
    largest of the others; so it is counted by where its margin lies.
    """
    classes, margin = np.arange(logits.shape[1]), margins(logits, omitted_class)
    omitted = np.isin(classes, omitted_class)
    guesses = [classes[part][logits[:, part].argmax(axis=1)] for part in (omitted, ~omitted)]
    right_above, right_below = (np.sort(margin[guess == labels]) for guess in guesses)
    n_right_above = np.searchsorted(right_above, offsets)
    n_right_below = len(right_below) - np.searchsorted(right_below, offsets)
    n_omitted = int(np.isin(labels, omitted_class).sum())
    return len(labels) - n_right_above - n_right_below, n_omitted - n_right_above


def best_offset_on_test_set(
    logits: np.ndarray, labels: np.ndarray, omitted_class: Sequence[int]
) -> dict[str, Any] | None:
    """The common offset with the fewest test errors: how the paper chose its 3.5 and its 7.6 (section 3).

    Uses test labels, so it is reported for comparison and never applied. None when no class is omitted.
    """
    if not len(omitted_class):
        return None
    edges = np.sort(margins(logits, omitted_class).astype(np.float64))
    edges = np.concatenate(([edges[0] - 1], edges, [edges[-1] + 1]))
    offsets = (edges[1:] + edges[:-1]) / 2  # the errors change at the margins only
    errors, omitted_errors = errors_by_offset(logits, labels, omitted_class, offsets)
    best = int(errors.argmin())
    return {
        "offset": float(offsets[best]),
        "test_errors": int(errors[best]),
        "omitted_errors": int(omitted_errors[best]),
    }


# ------------------------------------------------------------------------------------------------------------
# Evaluation
# ------------------------------------------------------------------------------------------------------------


def evaluate(logits: np.ndarray, labels: np.ndarray, omitted_class: Sequence[int]) -> dict[str, Any]:
    """All metrics of logits (n, classes): accuracies in [0, 1], errors as counts.

    The accuracy of classes without images is None, and so is that on the omitted classes when there are none.
    """
    predicted = logits.argmax(axis=1)
    confusion = np.zeros((N_CLASSES, N_CLASSES), int)  # rows: true class, columns: predicted
    np.add.at(confusion, (labels, predicted), 1)
    counts, right = confusion.sum(axis=1), confusion.diagonal()
    omitted = np.isin(np.arange(N_CLASSES), omitted_class)

    def accuracy(part: np.ndarray) -> float | None:
        return float(right[part].sum() / counts[part].sum()) if counts[part].any() else None

    return {
        "test_accuracy": float(right.sum() / counts.sum()),
        "test_errors": int(counts.sum() - right.sum()),
        "per_class_accuracy": [accuracy(np.arange(N_CLASSES) == c) for c in range(N_CLASSES)],
        "omitted_accuracy": accuracy(omitted),
        "omitted_errors": int(counts[omitted].sum() - right[omitted].sum()),
        "other_accuracy": accuracy(~omitted),
        "confusion_matrix": confusion.tolist(),
    }


def history(run: TrainedRun, labels: np.ndarray, omitted_class: Sequence[int]) -> list[dict[str, Any]]:
    """One entry per epoch: mean training loss, test metrics, seconds."""
    entries = []
    for index, logits in enumerate(run.test_logits):
        metrics = evaluate(logits, labels, omitted_class)
        kept = {k: metrics[k] for k in ("test_accuracy", "test_errors", "omitted_accuracy", "other_accuracy")}
        entries.append(
            {
                "epoch": index + 1,
                "loss": float(run.losses[index]),
                "seconds": float(run.seconds[index]),
                **kept,
            }
        )
    return entries


# ------------------------------------------------------------------------------------------------------------
# Stored runs: nothing is trained twice
# ------------------------------------------------------------------------------------------------------------

# A change to any of these changes what a training gives, and so the name under which it is stored.
TEACHER_CODE = (
    MLP, Adam, row_tiles, log_softmax, softmax, cross_entropy, fill_inputs, dropout_mask, limit_norms,
    learning_rate_at, predict, train, train_teacher,
)  # fmt: skip
STUDENT_CODE = (distillation_loss, transfer_set, train_student)


@cache
def code_of(item: Any) -> str:
    """The source of a function or class without comments, docstrings and layout, which change nothing."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(item)))
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(node) is not None:
            node.body[0] = ast.Pass()
    return ast.unparse(tree)


def run_key(kind: str, config: Config, data: Data) -> str:
    """Hexadecimal digest of everything that determines a training of `kind`, "teacher" or "student"."""
    if kind == "teacher":
        settings, code = asdict(config.teacher_training), TEACHER_CODE
    else:
        settings, code = asdict(config.student_training), TEACHER_CODE + STUDENT_CODE
        for name in ("omitted_class", "hard_weight", "transfer_fraction"):
            settings[name] = getattr(config, name)
        if config.hard_weight < 1:
            settings |= {"temperature": config.temperature, "teacher": asdict(config.teacher_training)}
    determines = {
        "kind": kind,
        "settings": settings,
        "data": [data.name, data.sha256],
        "code": [code_of(item) for item in code],
        "tile_rows": TILE_ROWS,
        "numpy": np.__version__,
        "blas": blas_name(),
    }
    return hashlib.sha256(json.dumps(determines, sort_keys=True).encode()).hexdigest()[:20]


def run_path(kind: str, config: Config, data: Data) -> Path:
    """Where a training of `kind`, "teacher" or "student", is stored."""
    return config.cache_folder / "runs" / f"{kind}-{run_key(kind, config, data)}.npz"


def load_run(path: Path, network: Any, n_epochs: int, n_test: int) -> TrainedRun:
    """The run stored at `path`, its parameters put into `network`.

    Raises FileNotFoundError, or ValueError when the file is damaged or holds something else.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in ("parameters", "losses", "seconds", "test_logits")}
    except FileNotFoundError:
        raise
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError("damaged") from error
    parameters, test_logits = arrays["parameters"], arrays["test_logits"]
    if parameters.shape != network.parameters.shape or test_logits.shape != (n_epochs, n_test, N_CLASSES):
        raise ValueError("of another shape")
    network.parameters[:] = parameters
    return TrainedRun(network, arrays["losses"], arrays["seconds"], test_logits, reused=True)


def stored_or_trained(
    kind: str,
    prepare: Callable[[], tuple[np.ndarray, Loss]],
    config: Config,
    data: Data,
    workers: Workers,
    console: Console,
) -> TrainedRun:
    """The stored run of the "teacher" or the "student" or, where there is none, a new one, then stored.

    `prepare()` gives the indices of the training images and the loss; it is called only when a training is
    due.
    """
    settings = config.teacher_training if kind == "teacher" else config.student_training
    network = MLP(settings.sizes, np.random.default_rng(settings.weight_seed))

    def train_it(on_epoch: OnEpoch, on_step: OnStep) -> None:
        indices, loss = prepare()
        train(network, data.train_images, indices, loss, settings, workers, on_epoch, on_step)

    return kept_run(
        kind,
        run_path(kind, config, data),
        network,
        settings.n_epochs,
        train_it,
        lambda: predict(network, data.test_images, workers),
        data.test_labels,
        config.omitted_class if kind == "student" else (),
        config.retrain,
        console,
    )


def kept_run(
    kind: str,
    path: Path,
    network: Any,
    n_epochs: int,
    train_it: Callable[[OnEpoch, OnStep], None],
    predict_test: Callable[[], np.ndarray],
    test_labels: np.ndarray,
    omitted_class: Sequence[int],
    retrain: bool,
    console: Console,
    unseen: str = "",
) -> TrainedRun:
    """The run stored at `path` or, where there is none, a new one, shown epoch by epoch and stored.

    `network` is anything with a flat vector `parameters`; `train_it(on_epoch, on_step)` trains it and
    `predict_test()` gives its test logits; `unseen` is what the progress calls the omitted class, if not
    "3s". Raises UserError when the training diverges.
    """
    if not retrain:
        try:
            run = load_run(path, network, n_epochs, len(test_labels))
            console.line(
                f"{kind}: stored training of {run.seconds.sum():.0f} s reused (--retrain trains it again)"
            )
            return run
        except FileNotFoundError:
            pass
        except ValueError as error:
            console.warn(f"warning: the stored {kind} {path} is {error}; training it again")

    started = time.perf_counter()
    test_logits, losses, seconds = [], [], []
    accuracies = {"test": "test_accuracy"}
    if omitted_class:
        accuracies |= {unseen or short_name(omitted_class): "omitted_accuracy", "others": "other_accuracy"}
    console.row("", "epoch", "loss", *accuracies, "seconds", "left")

    def on_epoch(epoch: int, mean_loss: float, epoch_seconds: float) -> None:
        if not (math.isfinite(mean_loss) and np.isfinite(network.parameters).all()):
            raise UserError(f"the {kind}'s training diverged; try a smaller --learning-rate")
        evaluation_started = time.perf_counter()
        test_logits.append(predict_test())
        losses.append(mean_loss)
        seconds.append(epoch_seconds + time.perf_counter() - evaluation_started)
        metrics = evaluate(test_logits[-1], test_labels, omitted_class)
        left = (time.perf_counter() - started) / epoch * (n_epochs - epoch)
        columns = [f"{epoch}/{n_epochs}", f"{mean_loss:.4g}"]
        columns += [percent(metrics[key]) for key in accuracies.values()]
        console.row(kind, *columns, f"{seconds[-1]:.1f}", clock(left))

    def on_step(epoch: int, share: float) -> None:
        console.progress(f"{kind} {epoch}/{n_epochs}", share)

    train_it(on_epoch, on_step)
    run = TrainedRun(network, np.array(losses), np.array(seconds), np.stack(test_logits), reused=False)
    archive = io.BytesIO()  # made in memory: a full disk then fails in one plain write
    np.savez(
        archive,
        parameters=network.parameters,
        losses=run.losses,
        seconds=run.seconds,
        test_logits=run.test_logits,
    )
    try:
        with atomic_output(path) as temporary:
            temporary.write_bytes(archive.getbuffer())
    except UserError as error:
        console.warn(f"warning: {error} (this training is not stored)")
    return run


# ------------------------------------------------------------------------------------------------------------
# Pipeline
# ------------------------------------------------------------------------------------------------------------


@dataclass
class Experiment:
    """One finished experiment: what the report, the pictures and the animation are made from."""

    config: Config
    data: Data
    teacher: TrainedRun
    student: TrainedRun  # its network is corrected; test_logits are those before the correction
    correction: BiasCorrection
    probe_logits: np.ndarray  # (probe_size, classes), of the student before the correction
    n_threads: int
    wall_clock_seconds: dict[str, float]

    @property
    def outdir(self) -> Path:
        return self.config.outdir or default_outdir(self.data)

    @property
    def student_logits(self) -> np.ndarray:
        """The student's test logits (n_test, classes) before the correction."""
        return self.student.test_logits[-1]

    @property
    def corrected_logits(self) -> np.ndarray:
        """The student's test logits (n_test, classes) after the correction."""
        return add_offsets(self.student_logits, self.config.omitted_class, self.correction.offsets)

    def metrics(self) -> dict[str, dict[str, Any]]:
        logits = {
            "teacher": self.teacher.test_logits[-1],
            "before_correction": self.student_logits,
            "after_correction": self.corrected_logits,
        }
        return {
            name: evaluate(z, self.data.test_labels, self.config.omitted_class) for name, z in logits.items()
        }


def default_outdir(data: Data) -> Path:
    return Path(__file__).resolve().parent / "viz" / data.subfolder


def run(config: Config, console: Console | None = None) -> Experiment:
    """The whole experiment: data, teacher, student, bias correction. Raises UserError."""
    console = console or Console(quiet=True)
    started = time.perf_counter()
    data = load_data(config, console)
    check_omitted(data, config.omitted_class)
    check_writable(config.outdir or default_outdir(data))
    seconds = time.perf_counter() - started
    console.line(
        f"data: {data.name}, {len(data.train_labels)} training and {len(data.test_labels)} test images"
    )
    return run_on(data, config, console, seconds)


def run_on(data: Data, config: Config, console: Console, data_seconds: float = 0.0) -> Experiment:
    """The experiment on data that is already there. Raises UserError."""
    seconds, omitted = {"data": data_seconds}, list(config.omitted_class)
    with Workers() as workers:
        teacher = train_teacher(config, data, workers, console)
        student = train_student(config, data, teacher.network, workers, console)
        for name, trained in (("teacher", teacher), ("student", student)):
            seconds[name] = float(trained.seconds.sum())

        started = time.perf_counter()
        probe_logits = predict(student.network, data.train_images[: config.probe_size], workers)
        # frequencies in the full training set
        targets = [float((data.train_labels == c).mean()) for c in omitted]
        correction = correct_bias(probe_logits, omitted, targets)
        # the one number per omitted class that changes
        student.network.output_biases[omitted] += np.array(correction.offsets, np.float32)
        seconds["bias_correction"] = time.perf_counter() - started
    if not correction.reached:
        console.warn(
            f"warning: no offset within +-{MAX_OFFSET:g} brings the mean probability of "
            f"{class_name(omitted)} to its frequency in training; the bias is left as it is"
        )
    seconds["total"] = sum(seconds.values())
    return Experiment(config, data, teacher, student, correction, probe_logits, workers.n_threads, seconds)


def class_name(omitted_class: Sequence[int]) -> str:
    """ "class 3", "classes 3, 5"."""
    plural = "class" if len(omitted_class) == 1 else "classes"
    return f"{plural} {', '.join(map(str, omitted_class))}"


def short_name(omitted_class: Sequence[int]) -> str:
    """What a column of a table can hold: "3s" or, for several classes, "omitted"."""
    return f"{omitted_class[0]}s" if len(omitted_class) == 1 else "omitted"


def results(experiment: Experiment) -> dict[str, Any]:
    """The content of results.json; the README documents its keys."""
    config, data, correction = experiment.config, experiment.data, experiment.correction
    metrics = experiment.metrics()
    labels, omitted_class = data.test_labels, config.omitted_class
    return {
        "config": {k: str(v) if isinstance(v, Path) else v for k, v in asdict(config).items()},
        "environment": environment(experiment.n_threads),
        "data": {
            "name": data.name,
            "sha256": data.sha256,
            "n_train": len(data.train_labels),
            "n_test": len(labels),
            "n_transfer": len(
                np.unique(transfer_set(data.train_labels, omitted_class, config.transfer_fraction))
            ),
            "n_test_omitted": int(np.isin(labels, omitted_class).sum()),
        },
        "teacher": metrics["teacher"],
        "student": {k: metrics[k] for k in ("before_correction", "after_correction")},
        "bias_correction": {
            **asdict(correction),
            "best_on_test_set": best_offset_on_test_set(experiment.student_logits, labels, omitted_class),
        },
        "history": {
            "teacher": history(experiment.teacher, labels, omitted_class),
            "student": history(experiment.student, labels, omitted_class),
        },
        "reused": {"teacher": experiment.teacher.reused, "student": experiment.student.reused},
        "wall_clock_seconds": experiment.wall_clock_seconds,
    }


def summary(experiment: Experiment) -> str:
    """The final table, at most 80 columns."""
    metrics, correction = experiment.metrics(), experiment.correction
    omitted, labels = experiment.config.omitted_class, experiment.data.test_labels
    rows = [("teacher", metrics["teacher"])]
    if not omitted:
        rows.append(("student", metrics["before_correction"]))
    else:
        offset = f" ({correction.offsets[0]:+.3f})" if len(omitted) == 1 else ""
        rows.append(("student before the correction", metrics["before_correction"]))
        rows.append((f"student after it{offset}", metrics["after_correction"]))
    name = short_name(omitted)
    columns = ("overall", f"of {name}", "errors", f"on {name}") if omitted else ("overall", "", "errors", "")
    lines = ["{:<32} {:>9}  {:>10}  {:>6}  {:>10}".format(experiment.data.name, *columns)]
    for row, m in rows:
        of_omitted = (percent(m["omitted_accuracy"]), m["omitted_errors"]) if omitted else ("", "")
        lines.append(
            f"{row:<32} {percent(m['test_accuracy']):>9}  {of_omitted[0]:>10}  {m['test_errors']:>6}"
            f"  {of_omitted[1]:>10}"
        )
    for index, c in enumerate(omitted):
        before, after, target = (
            getattr(correction, part)[index]
            for part in ("mean_probabilities_before", "mean_probabilities_after", "target_frequencies")
        )
        if len(omitted) == 1:
            lines.append(
                f"class {c} on the probe: mean probability {before:.4f} -> {after:.4f}, target {target:.4f}"
            )
        else:
            offset = correction.offsets[index]
            lines.append(
                f"offset of class {c}: {offset:+.3f}, mean probability {before:.4f} -> {after:.4f}, "
                f"target {target:.4f}"
            )
    if best := best_offset_on_test_set(experiment.student_logits, labels, omitted):
        lines.append(
            f"{'common ' if len(omitted) > 1 else ''}offset chosen on the test set, as in the paper: "
            f"{best['offset']:+.3f}, {best['test_errors']} errors"
            + (f", {best['omitted_errors']} on {name}" if len(omitted) == 1 else "")
        )
    seconds = experiment.wall_clock_seconds
    lines.append(
        "seconds: " + ", ".join(f"{name.replace('_', ' ')} {value:.1f}" for name, value in seconds.items())
    )
    return "\n".join(lines)


# ------------------------------------------------------------------------------------------------------------
# Command line
# ------------------------------------------------------------------------------------------------------------


def argument_parser(description: str, config_class: type = Config) -> argparse.ArgumentParser:
    """A parser with the flags of `Config`, which all scripts share, or of another such class."""
    parser = OneLineParser(usage="%(prog)s [flags]", description=description, allow_abbrev=False)
    for item in fields(config_class):
        default, flag = item.default, dict(item.metadata["flag"])
        if default not in (None, (), False):
            shown = " ".join(map(str, default)) if isinstance(default, tuple) else default
            flag["help"] = f"{item.metadata['help']} (default: {shown})"
        else:
            flag["help"] = item.metadata["help"]
        group = parser.add_mutually_exclusive_group() if item.name == "omitted_class" else parser
        group.add_argument(flag_name(item.name), default=argparse.SUPPRESS, **flag)
        if item.name == "omitted_class":
            group.add_argument(
                "--keep-class",
                type=flag["type"],
                nargs="+",
                choices=range(N_CLASSES),
                metavar="CLASS",
                help="the only classes that the student sees, instead of those that it does not",
            )
    return parser


def given_settings(arguments: argparse.Namespace, config_class: type = Config) -> dict[str, Any]:
    """The settings of `Config`, or of another such class, that the user gave, and no defaults."""
    given = {f.name: getattr(arguments, f.name) for f in fields(config_class) if hasattr(arguments, f.name)}
    if arguments.keep_class:
        given["omitted_class"] = sorted(set(range(N_CLASSES)) - set(arguments.keep_class))
    return {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}


def config_from(arguments: argparse.Namespace) -> Config:
    """Defaults, then the recipe's preset, then the flags given. Raises UserError."""
    given = given_settings(arguments)
    return Config(**{**RECIPES[given.get("recipe", "described")], **given})


def closing_notice(experiment: Experiment, console: Console) -> None:
    """Say once more, at the end, when the figures are not of MNIST."""
    if experiment.data.is_rendered:
        console.warn(RENDERED_NOTICE)


def report(outdir: Path, results: dict[str, Any], summary: str, console: Console) -> None:
    """Write results.json and print the final table. Raises UserError when it cannot be written."""
    path = outdir / "results.json"
    with atomic_output(path) as temporary:
        temporary.write_text(json.dumps(results, indent=2, sort_keys=True) + "\n")
    console.line()
    console.always(summary)
    console.line(f"wrote {path}")


def main(argv: list[str] | None = None) -> None:
    parser = argument_parser("Distil MNIST into a student that never sees one of the digits, and measure it.")
    config = config_from(parser.parse_args(argv))
    console = Console(config.quiet)
    experiment = run(config, console)
    report(experiment.outdir, results(experiment), summary(experiment), console)
    closing_notice(experiment, console)


if __name__ == "__main__":
    run_script(main)
