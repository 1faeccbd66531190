"""Own digits to IDX: every kind of source gives the same files, and what is not understood is refused."""

from __future__ import annotations

from support.centring import centred
from support.console import Console, UserError

import gzip
import hashlib
import re

import numpy as np
import pytest
from PIL import Image

import distillation_mnist_omitted_3 as core
from beyond import convert, usps
from beyond.data import load_data
from beyond.settings import Config
from synthetic import digits

N_TRAIN = 24


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, np.ndarray]:
    """40 digits on sheets of 41 x 41, and labels, at least one of each class in both parts."""
    images, _ = digits.render_digits(40, np.random.default_rng(2))
    return np.pad(images, ((0, 0), (3, 10), (9, 4))), np.resize(np.arange(10), 40)


@pytest.fixture
def parts(drawn) -> dict[str, np.ndarray]:
    images, labels = drawn
    return {"x_train": images[:N_TRAIN], "y_train": labels[:N_TRAIN],
            "x_test": images[N_TRAIN:], "y_test": labels[N_TRAIN:]}  # fmt: skip


def save_pictures(folder, images, labels, mode: str = "L") -> None:
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).convert(mode).save(folder / str(label) / f"{number:03}.png")


def converted(tmp_path, *flags: object):
    """The data that the experiment finds in what the converter wrote."""
    convert.main([*map(str, flags), "--out", str(tmp_path / "out")])
    return load_data(Config(data_dir=tmp_path / "out"), Console(quiet=True))


def refused(tmp_path, *flags: object) -> str:
    """Why; nothing must have been written."""
    with pytest.raises(UserError) as error:
        convert.main([*map(str, flags), "--out", str(tmp_path / "out")])
    assert not list((tmp_path / "out").glob("*"))
    assert "\n" not in str(error.value)
    return str(error.value)


def assert_says(pattern: str, said: str) -> None:
    assert re.search(pattern, said), said


def assert_same(data, parts) -> None:
    """Whatever order the classes come in: pictures are read folder by folder."""
    found = {"train": (data.train_images, data.train_labels), "test": (data.test_images, data.test_labels)}
    for part, (images, labels) in found.items():
        wanted = np.stack([centred(image) for image in parts[f"x_{part}"]])
        order, wanted_order = (np.argsort(y, kind="stable") for y in (labels, parts[f"y_{part}"]))
        np.testing.assert_array_equal(labels[order], parts[f"y_{part}"][wanted_order])
        np.testing.assert_array_equal(images[order], wanted[wanted_order])


def test_pictures_arrays_and_numbers_in_0_to_1_give_the_same_images(parts, tmp_path, capsys):
    for part in ("train", "test"):
        save_pictures(tmp_path / "pictures" / part, parts[f"x_{part}"], parts[f"y_{part}"])
    (tmp_path / "pictures" / "train" / "3" / ".DS_Store").write_bytes(b"x")  # hidden files are no pictures
    np.savez(tmp_path / "all.npz", **parts)
    (tmp_path / "arrays").mkdir()
    for name, array in parts.items():
        np.save(tmp_path / "arrays" / f"{name}.npy", array / 255.0 if name[0] == "x" else array)
    for number, source in enumerate(("pictures", "all.npz", "arrays")):
        (tmp_path / str(number)).mkdir()
        assert_same(converted(tmp_path / str(number), tmp_path / source), parts)
        assert "24 training and 16 test images" in capsys.readouterr().out


def test_of_a_single_set_every_nth_image_of_each_class_is_the_tests(drawn, tmp_path):
    images, labels = drawn
    np.savez(tmp_path / "one.npz", images=images, labels=labels)
    data = converted(tmp_path, tmp_path / "one.npz", "--test-every", 2)
    in_test = np.arange(40) // 10 % 2 == 1  # the classes come one after the other: 2nd and 4th of each
    assert_same(
        data,
        {"x_train": images[~in_test], "y_train": labels[~in_test],
         "x_test": images[in_test], "y_test": labels[in_test]},
    )  # fmt: skip


def test_dark_ink_and_grey_paper(parts, tmp_path):
    """Light paper is refused until one says so; the noise of paper makes no box larger."""
    paper = {name: 255 - a if name[0] == "x" else a for name, a in parts.items()}
    np.savez(tmp_path / "paper.npz", **paper)
    assert "light background" in (said := refused(tmp_path, tmp_path / "paper.npz"))
    assert "say --invert" in said
    np.savez(tmp_path / "ink.npz", **parts)
    assert "leave --invert out" in refused(tmp_path, tmp_path / "ink.npz", "--invert")
    few = {**parts, "x_test": parts["x_test"].copy()}
    few["x_test"][:5] = 255 - few["x_test"][:5]  # bold digits that reach the border look so, too
    np.savez(tmp_path / "few.npz", **few)
    (tmp_path / "few").mkdir()
    assert_same(converted(tmp_path / "few", tmp_path / "few.npz"), few)
    noisy = {n: np.where(a > 249, 250, a).astype(np.uint8) if n[0] == "x" else a for n, a in paper.items()}
    np.savez(tmp_path / "noisy.npz", **noisy)
    clean = {n: np.where(255 - a <= 5, 0, 255 - a).astype(np.uint8) if n[0] == "x" else a
             for n, a in noisy.items()}  # fmt: skip
    assert_same(converted(tmp_path, tmp_path / "noisy.npz", "--invert", "--paper", 5), clean)


def test_usps_files_are_known_by_their_names(tmp_path, monkeypatch):
    lines = [" ".join(["7.0000", *["-1.0000"] * 100, *["1.0000"] * 156]), " ".join(["3", *["1"] * 256])]
    contents = {name: "\n".join(lines).encode() for name in ("zip.train", "zip.test")}
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    monkeypatch.setattr(usps, "USPS_SHA256", sums)
    (tmp_path / "usps").mkdir()
    for name, content in contents.items():
        (tmp_path / "usps" / f"{name}.gz").write_bytes(gzip.compress(content))
    data = converted(tmp_path, tmp_path / "usps")
    assert data.train_labels.tolist() == data.test_labels.tolist() == [7, 3]
    assert data.train_images[1, 4:24, 4:24].min() == 255
    (tmp_path / "usps" / "zip.test.gz").write_bytes(gzip.compress(b"7"))
    assert "SOURCE" in refused(tmp_path / "x", tmp_path / "usps")
    asked = []
    monkeypatch.setattr(convert, "load_usps", lambda *a, **_: asked.append(a[:2]) or data)
    convert.main(["--usps", "--cache-dir", str(tmp_path / "cache"), "--out", str(tmp_path / "again")])
    assert asked == [(None, tmp_path / "cache")]


def test_the_four_files_are_idx_and_stay_what_they_are(parts, tmp_path):
    np.savez(tmp_path / "a.npz", **parts)
    convert.main([str(tmp_path / "a.npz"), "--out", str(tmp_path / "out")])
    files = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert files == sorted(core.MNIST_SHA256)
    images = (tmp_path / "out" / "t10k-images-idx3-ubyte").read_bytes()
    assert images[:16] == bytes.fromhex("00000803000000100000001c0000001c")
    convert.main([str(tmp_path / "a.npz"), "--out", str(tmp_path / "out")])  # the same once more
    np.savez(tmp_path / "b.npz", **{**parts, "y_test": parts["y_test"][::-1]})
    with pytest.raises(UserError, match="t10k-labels-idx1-ubyte is there and is something else"):
        convert.main([str(tmp_path / "b.npz"), "--out", str(tmp_path / "out")])
    assert (tmp_path / "out" / "t10k-images-idx3-ubyte").read_bytes() == images


WRONG_ARRAYS = {
    "not square": ({"x_test": lambda x: x[:, :, 1:]}, "image 0 of x_test.*measures 41 x 40 pixels"),
    "colour": ({"x_train": lambda x: np.stack([x] * 3, axis=-1)}, r"x_train measures \(24, 41, 41, 3\)"),
    "a label too many": ({"y_train": lambda y: np.append(y, 1)}, r"its labels \(25,\)"),
    "a label of 10": ({"y_test": lambda y: y + 1}, "labels of x_test are not all whole numbers from 0 to 9"),
    "labels in words": ({"y_test": lambda y: y.astype(str)}, "labels of x_test are not all whole"),
    "too bright": ({"x_train": lambda x: x.astype(int) + 1}, "x_train has values out of range"),
    "not a number": ({"x_train": lambda x: np.full(x.shape, np.nan)}, "x_train holds no grey values"),
    "faint": ({"x_test": lambda x: x // 16}, "the test images' pixels only reach 1"),
    "empty": ({"x_test": lambda x: x * (np.arange(16) != 5)[:, None, None].astype(np.uint8)},
              "image 5 of x_test, counted from 0, holds no ink"),
    "no test labels": ({"y_test": None}, "holds train; it needs x_train, y_train, x_test and y_test, or im"),
    "none of it": (dict.fromkeys(("x_train", "y_train", "x_test", "y_test")), "holds none of what is needed"),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG_ARRAYS)
def test_arrays_that_are_not_understood_are_refused_in_one_line(wrong, parts, tmp_path):
    changes, said = WRONG_ARRAYS[wrong]
    arrays = {n: changes[n](a) if changes.get(n) else a for n, a in parts.items() if changes.get(n, 1)}
    np.savez(tmp_path / "wrong.npz", **arrays)
    assert_says(said, refused(tmp_path, tmp_path / "wrong.npz"))


def colour(folder):
    Image.new("RGB", (20, 20)).save(folder / "train" / "4" / "c.png")


def wide(folder):
    Image.new("L", (21, 20), 255).save(folder / "test" / "4" / "w.png")


def a_name(folder):
    (folder / "train" / "seven").mkdir()


def text(folder):
    (folder / "train" / "4" / "notes.txt").write_text("x")


def half(folder):
    path = next((folder / "train" / "4").iterdir())
    path.write_bytes(path.read_bytes()[:60])


def no_test(folder):
    for path in sorted((folder / "test").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (folder / "test").rmdir()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (colour, r"c\.png is not plain grey \(its mode is RGB\); save it as 8-bit grey"),
        (wide, r"w\.png measures 20 x 21 pixels; images must be square"),
        (a_name, "seven is no folder of a label; call the folders of pictures 0 to 9"),
        (text, r"notes\.txt is no picture"),
        (half, r"\.png is no picture that can be read"),
        (no_test, "holds train; it needs train and test, or folders 0 to 9"),
    ],
)
def test_pictures_that_are_not_understood_are_refused_in_one_line(change, said, parts, tmp_path):
    for part in ("train", "test"):
        save_pictures(tmp_path / "mine" / part, parts[f"x_{part}"], parts[f"y_{part}"])
    change(tmp_path / "mine")
    assert_says(said, refused(tmp_path, tmp_path / "mine"))


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ((), "name one source"),
        (("--usps", "mine"), "name one source"),
        (("nowhere",), "cannot read nowhere: No such file or directory"),
        (("mine", "--paper", "255"), "--paper must be 0 to 254"),
        (("mine", "--test-every", "1"), "--test-every must be at least 2"),
    ],
)
def test_wrong_flags_are_refused(flags, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert_says(said, refused(tmp_path, *flags))


def test_a_file_that_is_no_archive_is_refused(tmp_path):
    (tmp_path / "x.npz").write_bytes(b"PK\x03\x04 and nothing else")
    assert_says("no file of arrays", refused(tmp_path, tmp_path / "x.npz"))
    np.save(tmp_path / "o.npy", np.array([{"a": 1}]), allow_pickle=True)  # code could hide in it
    assert_says("no file of arrays", refused(tmp_path, tmp_path / "o.npy"))


def test_what_cannot_be_written_leaves_nothing(parts, tmp_path, monkeypatch):
    """The last of the four fails: none of them is there."""
    np.savez(tmp_path / "a.npz", **parts)
    real, names = convert.atomic_output, []

    def failing(path):
        names.append(path.name)
        if len(names) == 4:
            raise UserError("no room")
        return real(path)

    monkeypatch.setattr(convert, "atomic_output", failing)
    assert refused(tmp_path, tmp_path / "a.npz") == "no room"
