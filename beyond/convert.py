"""Your own digits for `--data-dir`: square grey images become four IDX files, each image as MNIST's are.

    python3 -m beyond.convert SOURCE --out mine
    python3 -m beyond.convert --usps --out mine       # USPS, downloaded
    python3 distillation_mnist_omitted_3.py --data-dir mine

SOURCE is a folder with a folder of pictures for each label, 0 to 9, or two such folders, train and test; or
arrays, images and labels (or x_train, y_train, x_test, y_test), in an .npz or as .npy files in a folder; or a
folder with USPS's two files. Everything is read and checked before anything is written.
"""

from __future__ import annotations

from support.centring import MAX_SIDE, centred
from support.console import Console, OneLineParser, UserError, run_script
from support.data import check_images
from support.download import spellings
from support.files import atomic_output, check_folder, read_regular
from support.ink import LIKE_MNIST, is_light, oddities
from support.settings import N_CLASSES, named_folder, whole_number
from support.transformations import IMAGE_SIDE

import argparse
import io
import struct
import zipfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from beyond.settings import Config
from beyond.usps import USPS_SHA256, load_usps
from distillation_mnist_omitted_3 import MNIST_SHA256

ENDINGS = (".png", ".pgm", ".bmp", ".tif", ".tiff", ".gif", ".jpg", ".jpeg")
MAX_PICTURE_BYTES, MAX_ARRAY_BYTES = 64 * 2**20, 2**31
TRAIN, TEST, BOTH = "train", "test", "all"
ARRAYS = {TRAIN: ("x_train", "y_train"), TEST: ("x_test", "y_test"), BOTH: ("images", "labels")}
GREY_MODES = ("L", "1")  # of Pillow: 8 bits or one


@dataclass(frozen=True)
class Labelled:
    """Images uint8 (rows, columns) each, their labels uint8 (n,), and what to call each of them."""

    images: list[np.ndarray]
    labels: np.ndarray
    names: list[str]

    def part(self, chosen: np.ndarray) -> Labelled:
        """Those that `chosen`, bool (n,), names."""
        places = np.flatnonzero(chosen)
        return Labelled(
            [self.images[i] for i in places], self.labels[places], [self.names[i] for i in places]
        )


# ---- What is there -----------------------------------------------------------------------------------------


def read_picture(path: Path) -> np.ndarray:
    """The pixels of a grey picture, uint8 (rows, columns). Raises UserError."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(read_regular(path, MAX_PICTURE_BYTES))) as picture:
            if picture.mode not in GREY_MODES:
                raise UserError(
                    f"{path} is not plain grey (its mode is {picture.mode}); save it as 8-bit grey"
                )
            if max(picture.size) > MAX_SIDE:
                raise UserError(f"{path} is larger than {MAX_SIDE} pixels; make it smaller")
            return np.asarray(picture.convert("L"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{path} is no picture that can be read; save it as .png") from error


def of_pictures(folder: Path) -> Labelled:
    """The pictures of a folder that holds a folder for each label. Raises UserError."""
    images, labels, names = [], [], []
    for inner in visible(folder):
        if inner.name not in map(str, range(N_CLASSES)) or not inner.is_dir():
            raise UserError(f"{inner} is no folder of a label; call the folders of pictures 0 to 9")
        for path in visible(inner):
            if path.suffix.lower() not in ENDINGS:
                raise UserError(f"{path} is no picture; take it away, or save it as .png")
            images.append(read_picture(path))
            labels.append(int(inner.name))
            names.append(str(path))
    return Labelled(images, np.array(labels, np.uint8), names)


def visible(folder: Path) -> list[Path]:
    """What a folder holds, in order, but for hidden files. Raises UserError."""
    try:
        return sorted(p for p in folder.iterdir() if not p.name.startswith(".") and p.name != "Thumbs.db")
    except OSError as error:
        raise UserError(f"cannot read {folder}: {error.strerror}; name a folder of images") from error


def of_arrays(name: str, images: np.ndarray, labels: np.ndarray) -> Labelled:
    """Images (n, side, side): bytes, whole numbers 0 to 255, or numbers in [0, 1]. Raises UserError."""
    if images.ndim != 3 or labels.shape != images.shape[:1]:
        raise UserError(
            f"{name} measures {images.shape}, its labels {labels.shape}; it needs (n, side, side) and (n,): "
            "grey images and a label for each"
        )
    kind = images.dtype.kind
    if not images.size or kind not in "buif" or not np.isfinite(images).all():
        raise UserError(f"{name} holds no grey values; give 0 to 255, or numbers in [0, 1]")
    if kind in "bf":
        images = np.rint(images * 255.0)
    if images.min() < 0 or images.max() > 255:
        raise UserError(f"{name} has values out of range; give whole numbers 0 to 255, or others in [0, 1]")
    if labels.dtype.kind not in "ui" or not np.isin(labels, range(N_CLASSES)).all():
        raise UserError(f"the labels of {name} are not all whole numbers from 0 to 9; leave others out")
    called = [f"image {i} of {name}, counted from 0," for i in range(len(images))]
    return Labelled(list(images.astype(np.uint8)), labels.astype(np.uint8), called)


def read_arrays(source: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz, or of the .npy files of a folder, by name. Raises UserError."""
    known = {name for pair in ARRAYS.values() for name in pair}
    files = [source] if source.is_file() else [p for p in visible(source) if p.suffix == ".npy"]
    found: dict[str, np.ndarray] = {}
    for path in files:
        try:
            read = np.load(io.BytesIO(read_regular(path, MAX_ARRAY_BYTES)), allow_pickle=False)
            if isinstance(read, np.ndarray):
                found[path.stem] = read
            else:
                found |= {name: read[name] for name in read.files if name in known}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise UserError(f"{path} is no file of arrays that can be read; save it with NumPy") from error
    return found


def read(source: Path) -> dict[str, Labelled]:
    """All images of `source`: a training and a test set, or one still to be divided. Raises UserError."""
    if source.is_file() or any(path.suffix == ".npy" for path in visible(source)):
        arrays = read_arrays(source)
        there = [part for part, (images, labels) in ARRAYS.items() if {images, labels} <= arrays.keys()]
        found = {part: of_arrays(ARRAYS[part][0], *(arrays[name] for name in ARRAYS[part])) for part in there}
        wanted = "x_train, y_train, x_test and y_test, or images and labels"
    else:
        parts = {part: source / part for part in (TRAIN, TEST) if (source / part).is_dir()}
        found = {part: of_pictures(folder) for part, folder in (parts or {BOTH: source}).items()}
        wanted = "train and test, or folders 0 to 9"
    if set(found) not in ({TRAIN, TEST}, {BOTH}):
        raise UserError(f"{source} holds {', '.join(found) or 'none of what is needed'}; it needs {wanted}")
    return found


# ---- As MNIST's are ----------------------------------------------------------------------------------------


def divided(found: Mapping[str, Labelled], every: int) -> dict[str, Labelled]:
    """A training and a test set; of a single one, every `every`-th image of each class is for the test."""
    if BOTH not in found:
        return dict(found)
    whole = found[BOTH]
    in_test = np.zeros(len(whole.labels), bool)
    for c in range(N_CLASSES):
        in_test[np.flatnonzero(whole.labels == c)[every - 1 :: every]] = True
    return {TRAIN: whole.part(~in_test), TEST: whole.part(in_test)}


def prepared(one: Labelled, invert: bool, paper: int) -> np.ndarray:
    """The images in the form of MNIST's, uint8 (n, 28, 28). Raises UserError."""
    found, n_light = [], 0
    for image, name in zip(one.images, one.names, strict=True):
        rows, columns = image.shape
        if rows != columns or not 0 < rows <= MAX_SIDE:
            raise UserError(
                f"{name} measures {rows} x {columns} pixels; images must be square, of at most {MAX_SIDE}"
            )
        inked = 255 - image if invert else image
        n_light += is_light(inked[None])
        try:
            found.append(centred(np.where(inked <= paper, np.uint8(0), inked)))
        except ValueError as error:
            raise UserError(f"{name} holds no ink: {error}; take it away") from error
    if 2 * n_light > len(found):
        advice = "leave --invert out" if invert else "say --invert"
        raise UserError(f"the images have a light background; {LIKE_MNIST}: {advice}")
    return np.stack(found) if found else np.zeros((0, IMAGE_SIDE, IMAGE_SIDE), np.uint8)


def idx(array: np.ndarray) -> bytes:
    """The bytes of an IDX file of an uint8 array; see `support.data.parse_idx`."""
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def write(folder: Path, arrays: list[np.ndarray]) -> None:
    """The four files, all or none; others of their names are never replaced. Raises UserError."""
    contents = {name: idx(array) for name, array in zip(MNIST_SHA256, arrays, strict=True)}
    check_folder(folder)
    for path in visible(folder):
        for name, content in contents.items():
            if path.name.lower() in spellings(name) and (path.name != name or path.read_bytes() != content):
                raise UserError(f"{path} is there and is something else; name another --out")
    with ExitStack() as all_at_once:
        for name, content in contents.items():
            all_at_once.enter_context(atomic_output(folder / name)).write_bytes(content)


# ---- The command line --------------------------------------------------------------------------------------


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = OneLineParser(
        prog="python3 -m beyond.convert", allow_abbrev=False,
        description="Make square grey images into the four IDX files that --data-dir takes, as MNIST's are.",
    )  # fmt: skip
    parser.add_argument(
        "source", type=named_folder, nargs="?",
        help="a folder of pictures or arrays, an .npz, or a folder with USPS's files",
    )  # fmt: skip
    parser.add_argument("--usps", action="store_true", help="USPS, from the cache or downloaded")
    parser.add_argument("--out", type=named_folder, required=True, help="folder for the four files")
    parser.add_argument("--invert", action="store_true", help="for dark ink on light paper")
    parser.add_argument(
        "--paper", type=whole_number, default=0, metavar="GREY",
        help="what is no brighter than this, once ink is bright, is paper and becomes 0 (default: 0)",
    )  # fmt: skip
    parser.add_argument(
        "--test-every", type=whole_number, default=7, metavar="N",
        help="where there is no test set, every N-th image of a class goes to it (default: 7)",
    )  # fmt: skip
    parser.add_argument("--cache-dir", type=named_folder, help="folder for downloads")
    arguments = parser.parse_args(argv)
    if (arguments.source is None) != arguments.usps:
        raise UserError("name one source: a folder, an .npz, or --usps")
    if not 0 <= arguments.paper <= 254:
        raise UserError(f"--paper must be 0 to 254, not {arguments.paper}")
    if arguments.test_every < 2:
        raise UserError(f"--test-every must be at least 2, not {arguments.test_every}")
    return arguments


def main(argv: list[str] | None = None) -> None:
    arguments, console = parse(argv), Console()
    source, wanted = arguments.source, {name for file in USPS_SHA256 for name in spellings(file)}
    if arguments.usps or (source.is_dir() and any(path.name.lower() in wanted for path in visible(source))):
        cache = Config(cache_dir=arguments.cache_dir).cache_folder
        data = load_usps(source, cache, console, flag="SOURCE")
        arrays = [data.train_images, data.train_labels, data.test_images, data.test_labels]
    else:
        parts, arrays = divided(read(source), arguments.test_every), []
        for part, called in ((TRAIN, "training"), (TEST, "test")):
            images = prepared(parts[part], arguments.invert, arguments.paper)
            check_images(images, parts[part].labels, called, (IMAGE_SIDE, IMAGE_SIDE))
            for oddity in oddities({called: images}):
                raise UserError(oddity)
            arrays += [images, parts[part].labels]
    write(arguments.out, arrays)
    console.line(f"{arguments.out}: {len(arrays[1])} training and {len(arrays[3])} test images")
    console.line(f"python3 distillation_mnist_omitted_3.py --data-dir {arguments.out}")


if __name__ == "__main__":
    run_script(main, trains=False)
