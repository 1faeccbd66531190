"""CIFAR-10: the official binary archive, a folder with its files, or drawn shapes in its place."""

from __future__ import annotations

from support.console import Console, UserError
from support.data import Data, Source, digests, load, stand_in_notice
from support.download import Remote, cached, check_there, uncompress
from support.files import read_regular
from support.settings import CommonSettings

import hashlib
import io
import tarfile
from pathlib import Path

import numpy as np

from synthetic import shapes

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SIDE = 32

ARCHIVE = "cifar-10-binary.tar.gz"
MIRRORS = ("https://www.cs.toronto.edu/~kriz/",)
ARCHIVE_SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
MAX_ARCHIVE_BYTES = 200 * 2**20
MEMBER_FOLDER = "cifar-10-batches-bin"
MEMBERS = (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin")
RECORD_BYTES = 1 + 3 * SIDE * SIDE  # label, then red, green and blue, row by row
MAX_MEMBER_BYTES = 64 * 2**20
MAX_MEMBERS = 1000  # of ten
MAX_UNPACKED_BYTES = 256 * 2**20  # the official one has 163 MB
VARIANT = "CIFAR-10 variant"  # what any other archive, and any folder, is called
RENDERED_NOTICE = stand_in_notice(
    "CIFAR-10", "shapes", (
        "For CIFAR-10, run again with a network, or with  --data-dir  and the",
        f"archive {ARCHIVE} or the folder with its .bin files.",
    ),
)  # fmt: skip


def unpack(archive: bytes) -> dict[str, bytes]:
    """The six batches in a .tar.gz, by name, in memory.

    Only plain files of exactly the expected names are read, and no path in the archive is ever opened. Raises
    ValueError when one is missing or the archive is damaged.
    """
    contents = {}
    try:
        plain = uncompress(archive, MAX_UNPACKED_BYTES)  # a bomb ends here
    except ValueError as error:
        raise ValueError(f"{error}, no .tar.gz") from error
    try:
        with tarfile.open(fileobj=io.BytesIO(plain), mode="r:") as tar:
            for index, member in enumerate(tar):
                if index >= MAX_MEMBERS:
                    raise ValueError("far too many files in it")
                folder, _, name = member.name.removeprefix("./").rpartition("/")
                if folder == MEMBER_FOLDER and name in MEMBERS and member.isfile():
                    if member.size > MAX_MEMBER_BYTES:
                        raise ValueError(f"{name} in it is far too large")
                    contents[name] = tar.extractfile(member).read()
    except (tarfile.TarError, OSError, EOFError, OverflowError, RecursionError) as error:
        raise ValueError(f"truncated or no .tar.gz: {error}") from error
    if missing := [name for name in MEMBERS if name not in contents]:
        raise ValueError(f"no {MEMBER_FOLDER}/{missing[0]} in it")
    return contents


def is_official(archive: bytes) -> bool:
    return hashlib.sha256(archive).hexdigest() == ARCHIVE_SHA256


def check_archive(archive: bytes) -> dict[str, bytes]:
    """The six batches of the official archive. Raises ValueError for any other."""
    if not is_official(archive):
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
    return Data(name, images, labels, *batches[-1], digests({m: contents[m] for m in MEMBERS}))


def read_given(path: Path) -> Data:
    """What `--data-dir` names: the archive, a folder with it, or one with the batches. Raises UserError."""
    check_there(path)
    try:
        archive = path if path.is_file() else path / ARCHIVE
        if archive.is_file():
            content = read_regular(archive, MAX_ARCHIVE_BYTES)
            return data_from_batches(unpack(content), "CIFAR-10" if is_official(content) else VARIANT)
        folder = next((p for p in (path, path / MEMBER_FOLDER) if (p / MEMBERS[-1]).is_file()), None)
        if folder is None:
            raise UserError(
                f"--data-dir {path}: neither {ARCHIVE} nor {MEMBERS[-1]} there; point it at one of them"
            )
        contents = {}
        for member in MEMBERS:
            if not (folder / member).is_file():
                raise UserError(f"--data-dir {path}: no {member} there; it needs all six batches")
            contents[member] = read_regular(folder / member, MAX_MEMBER_BYTES)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"cannot read --data-dir {path}: {reason}; fetch it again") from error
    return data_from_batches(contents, VARIANT)  # the sums of single files are not published


def rendered_data(console: Console) -> Data:
    """Drawn shapes, always the same ones."""
    console.line("drawing 12,000 shapes ...")
    arrays = shapes.render_dataset()
    names = ("images", "labels", "test_images", "test_labels")
    sha256 = digests({name: array.tobytes() for name, array in zip(names, arrays, strict=True)})
    return Data("rendered shapes", *arrays, sha256)


def class_names(data: Data) -> tuple[str, ...]:
    return shapes.NAMES if data.is_rendered else CLASSES


def load_data(settings: CommonSettings, console: Console) -> Data:
    """The data that `--dataset`, `--data-dir`, `--cache-dir` and `--mirror` ask for, less what is held out.

    Raises UserError when it cannot be had, is malformed, or has no image of an omitted class.
    """

    def fetched() -> Data:
        archive = Remote(ARCHIVE, check_archive, MAX_ARCHIVE_BYTES)
        batches = cached(settings.cache_folder, settings.mirror or MIRRORS, archive, console)
        return data_from_batches(batches, "CIFAR-10")

    source = Source(
        name="CIFAR-10", strict="cifar10", given=read_given, fetched=fetched,
        drawn=lambda: rendered_data(console), notice=RENDERED_NOTICE,
    )  # fmt: skip
    return load(source, settings, console)
