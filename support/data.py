"""A data set in memory, and what can be asked of any."""

from __future__ import annotations

from support.console import Console, UserError
from support.download import MAX_FILE_BYTES, DownloadError
from support.ink import oddities
from support.settings import N_CLASSES

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

VIZ = Path(__file__).resolve().parent.parent / "viz"


@dataclass(frozen=True)
class Data:
    """A training and a test set: images uint8, labels uint8 (n,) from 0 to 9.

    MNIST's images are (n, 28, 28), CIFAR-10's (n, 3, 32, 32).
    """

    name: str  # as "MNIST" or "rendered digits", and what was held out of it
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    sha256: dict[str, str]  # of the uncompressed files, by file name

    @cached_property
    def digest(self) -> str:
        """Of all images and labels as they are used, whatever they are called and wherever they come from."""
        found = hashlib.sha256()
        for part in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            found.update(f"{part.dtype} {part.shape}\n".encode())
            found.update(np.ascontiguousarray(part).data)
        return found.hexdigest()

    @property
    def is_rendered(self) -> bool:
        """Whether this project drew it, because the real data could not be had."""
        return self.name.startswith("rendered")


@dataclass(frozen=True)
class Source:
    """The ways to one data set, each of which gives `Data`, and what to say of its stand-in."""

    name: str  # what the real data are called
    strict: str  # the value of --dataset that admits nothing else
    given: Callable[[Path], Data]  # from a folder that the user named
    fetched: Callable[[], Data]  # from cache or mirrors; raises DownloadError
    drawn: Callable[[], Data]  # a stand-in that this project draws
    notice: str


def load(source: Source, settings: Any, console: Console) -> Data:
    """What `--dataset`, `--data-dir` and `--hold-out` ask for. Raises UserError.

    A stand-in, where the real data cannot be had and need not be, is announced.
    """
    strict = settings.dataset == source.strict
    if settings.dataset == "rendered":
        data = source.drawn()
    elif settings.data_dir is not None:
        data = source.given(settings.data_dir)
        if strict and data.name != source.name:
            raise UserError(
                f"--dataset {settings.dataset}: by their SHA-256, what is in {settings.data_dir} is not "
                f"known to be {source.name}; leave the flag out"
            )
    else:
        try:
            data = source.fetched()
        except DownloadError:
            if strict:
                raise
            data = source.drawn()
    if settings.data_dir is not None and data.name != source.name:
        for oddity in oddities({"training": data.train_images, "test": data.test_images}):
            console.warn(f"warning: {oddity}")
    data = with_held_out_test_set(data, settings.hold_out)
    check_omitted(data, settings.omitted_class)
    warn_of_stand_in(data, source.notice, console)
    console.line(
        f"data: {data.name}, {len(data.train_labels)} training and {len(data.test_labels)} test images"
    )
    return data


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
    if max(shape) > MAX_FILE_BYTES:  # beside a dimension of 0, which NumPy minds
        raise UserError(f"{name} announces {shape} values and holds none; fetch it again")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def check_images(images: np.ndarray, labels: np.ndarray, part: str, shape: tuple[int, ...]) -> None:
    """Raises UserError when images are not of `shape` or labels do not belong to them."""
    if images.shape[1:] != shape:
        wanted = " x ".join(map(str, shape))
        found = " x ".join(map(str, images.shape[1:]))
        raise UserError(f"the {part} images measure {found} pixels; this experiment needs {wanted}")
    if len(images) == len(labels) == 0:
        raise UserError(f"there are no {part} images in the files; take those of the whole data set")
    if len(images) != len(labels):
        raise UserError(
            f"{len(images)} {part} images but {len(labels)} labels; the files do not belong together"
        )
    if labels.max() >= N_CLASSES:
        raise UserError(f"the {part} labels reach {labels.max()}; this experiment needs classes 0 to 9")


def digests(parts: dict[str, bytes]) -> dict[str, str]:
    """The SHA-256 of each of `parts`, hexadecimal, by name."""
    return {name: hashlib.sha256(content).hexdigest() for name, content in parts.items()}


def check_omitted(data: Data, omitted_class: Sequence[int], flag: str = "--omitted-class") -> None:
    """Raises UserError when an omitted class has no image in `data`, or no other class has one.

    (With every class omitted, images come from elsewhere.)
    """
    for labels, part in ((data.train_labels, "training"), (data.test_labels, "test")):
        for c in omitted_class:
            if not (labels == c).any() and len(omitted_class) == N_CLASSES:
                raise UserError(
                    f"the {part} set has no image of class {c}; a student that sees none of the ten classes "
                    "is corrected by and measured on all of them: use data that holds them"
                )
            if not (labels == c).any():
                raise UserError(f"{flag} {c}: the {part} set has no image of it; choose another")
        if len(omitted_class) < N_CLASSES and np.isin(labels, omitted_class).all():
            classes = " ".join(map(str, omitted_class))
            raise UserError(f"{flag} {classes}: the {part} set has no other class; use other data")


def with_held_out_test_set(data: Data, n: int) -> Data:
    """`data`, its last n training images as the test set. Raises UserError when none is left to train on."""
    if n == 0:
        return data
    if n >= len(data.train_labels):
        raise UserError(
            f"--hold-out {n}: there are {len(data.train_labels)} training images; leave some to train on"
        )
    images, labels = data.train_images, data.train_labels
    name = f"{data.name}, last {n} held out"
    return Data(name, images[:-n], labels[:-n], images[-n:], labels[-n:], data.sha256)


def stand_in_notice(wanted: str, drawn: str, advice: Sequence[str]) -> str:
    """A box of 80 columns: these figures are not of the data that was wanted, and how to get that."""
    text = [f"NOT {wanted}. These figures are of {drawn} that this project drew by itself.", *advice]
    return "\n".join(["*" * 80, *(f"*  {line:<75.75} *" for line in text), "*" * 80])


def warn_of_stand_in(data: Data, notice: str, console: Console) -> None:
    """Show `notice` when `data` is a stand-in: at the start and at the end of every run."""
    if data.is_rendered:
        console.notice(notice)
