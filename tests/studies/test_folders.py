"""--data-dir: the names that the four files can have, and images that no network of MNIST would know."""

from __future__ import annotations

from support.console import Console, UserError
from support.ink import oddities

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
from idx_files import idx_bytes

import distillation_mnist_omitted_3 as core
from beyond import pipeline
from beyond.settings import Config

FIRST = "train-images-idx3-ubyte"


@pytest.fixture
def folder(small_files: dict[str, bytes], tmp_path: Path) -> Path:
    """The four files, plain."""
    for name, content in small_files.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def load(folder: Path) -> core.Data:
    return pipeline.load_data(Config(data_dir=folder), Console(quiet=True))


def refused(folder: Path) -> str:
    """What is said of this folder, in one line."""
    with pytest.raises(UserError) as refusal:
        load(folder)
    assert str(refusal.value).isprintable()
    return str(refusal.value)


@pytest.mark.parametrize("suffix", ["", ".gz", ".GZ"])
@pytest.mark.parametrize("name", [str.upper, str.title, lambda name: name.replace("-idx", ".idx")])
def test_capitals_and_dots_do_not_matter(name, suffix, small_files, tmp_path):
    for own, content in small_files.items():
        (tmp_path / (name(own) + suffix)).write_bytes(gzip.compress(content) if suffix else content)
    assert load(tmp_path).train_images.tobytes() == small_files[FIRST][16:]


def test_gzip_says_itself_what_it_is(folder, small_files):
    (folder / FIRST).write_bytes(gzip.compress(small_files[FIRST]))
    labels = folder / "train-labels-idx1-ubyte"
    labels.rename(labels.with_suffix(".gz"))
    assert load(folder).train_images.tobytes() == small_files[FIRST][16:]


@pytest.mark.parametrize("obstacle", ["folder", "empty", "pipe", "link to nowhere"])
def test_what_is_no_file_hides_none(obstacle, folder, small_files):
    path = folder / FIRST
    path.unlink()
    if obstacle == "folder":
        path.mkdir()
    elif obstacle == "empty":
        path.write_bytes(b"")
    elif obstacle == "link to nowhere":
        path.symlink_to("nowhere")
    elif hasattr(os, "mkfifo"):
        os.mkfifo(path)
    reason = {"empty": "empty", "link to nowhere": "No such file or directory"}.get(obstacle, "no plain file")
    if obstacle != "pipe" or path.exists():
        said = refused(folder)
        assert said.startswith(f"cannot read {path}: {reason}") or obstacle in ("folder", "empty")
    (folder / f"{FIRST}.gz").write_bytes(gzip.compress(small_files[FIRST]))
    assert load(folder).train_images.tobytes() == small_files[FIRST][16:]


def test_two_files_of_one_name_must_hold_the_same(folder, small_files):
    packed = folder / f"{FIRST}.gz"
    packed.write_bytes(gzip.compress(small_files[FIRST]))
    assert load(folder).name == "custom IDX files"
    other = bytearray(small_files[FIRST])
    other[-1] ^= 1
    packed.write_bytes(gzip.compress(bytes(other)))
    assert (
        refused(folder) == f"{folder / FIRST} and {packed.name} are not the same; leave the right one there"
    )


def test_a_folder_that_is_not_there_is_called_so(folder, small_files):
    nowhere, file = folder / "nowhere", folder / FIRST
    missing = "No such file or directory; name what holds the data"
    assert refused(nowhere) == f"--data-dir {nowhere}: {missing}"
    assert refused(file) == f"cannot read {file}: Not a directory; fetch it again"
    (folder / FIRST).unlink()
    assert refused(folder).startswith(
        f"--data-dir {folder}: no {FIRST} or {FIRST}.gz there; it needs {FIRST}, "
    )


# ---- Images unlike MNIST's ---------------------------------------------------------------------------------


def warned(folder: Path, capsys: pytest.CaptureFixture) -> list[str]:
    load(folder)
    return capsys.readouterr().err.splitlines()


def change(folder: Path, name: str, new: np.ndarray) -> None:
    (folder / name).write_bytes(idx_bytes(new.astype(np.uint8)))


def test_images_unlike_mnist_s_are_said_in_a_line_for_each_kind(folder, small_data, capsys):
    train, test = small_data.train_images, small_data.test_images
    assert warned(folder, capsys) == []
    like = "MNIST's are bright ink (255) on black (0)"
    change(folder, FIRST, 255 - train)
    assert warned(folder, capsys) == [
        f"warning: the training images have a light background; {like}: invert them"
    ]
    change(folder, "t10k-images-idx3-ubyte", 255 - test)
    assert warned(folder, capsys) == [
        f"warning: the training and test images have a light background; {like}: invert them"
    ]
    change(folder, FIRST, train > 127)
    change(folder, "t10k-images-idx3-ubyte", test)
    assert warned(folder, capsys) == [
        f"warning: the training images' pixels only reach 1; {like}: scale them up"
    ]
    change(folder, FIRST, train <= 127)
    assert [line.partition(";")[0] for line in warned(folder, capsys)] == [
        "warning: the training images have a light background",
        "warning: the training images' pixels only reach 1",
    ]
    some = train.copy()
    some[:2], some[5] = 0, 200
    change(folder, FIRST, some)
    assert warned(folder, capsys) == [f"warning: 3 training images are empty, all pixels alike; {like}"]
    change(folder, FIRST, np.zeros_like(train))
    assert warned(folder, capsys) == [f"warning: 600 training images are empty, all pixels alike; {like}"]


def test_the_real_files_are_not_judged(folder, small_files, small_is_mnist, capsys, monkeypatch):
    images = np.zeros((600, 28, 28))
    change(folder, FIRST, images)
    assert warned(folder, capsys)
    content = (folder / FIRST).read_bytes()
    monkeypatch.setitem(core.MNIST_SHA256, FIRST, core.digests({FIRST: content})[FIRST])
    assert warned(folder, capsys) == []


def test_the_border_decides_and_most_of_it():
    """Of a 4 x 4 image twelve pixels are its border: six bright ones are no light background, seven are."""
    image = np.zeros((1, 4, 4), np.uint8)
    border = [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (2, 0), (3, 0)]
    image[0, 1:3, 1:3] = 255
    for n, (row, column) in enumerate(border, 1):
        image[0, row, column] = 255
        assert bool(oddities({"test": image})) == (n >= 7), n
    assert oddities({"test": np.full((1, 3, 4, 4), 9, np.uint8)}) == []  # in colour: not MNIST's kind
