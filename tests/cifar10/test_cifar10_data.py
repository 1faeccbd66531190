"""Reading CIFAR-10: archive, folder, download, held-out images, and the shapes drawn in its place."""

from __future__ import annotations

from support.console import Console, UserError

import hashlib
import os
import time
import zlib

import numpy as np
import pytest
from small_cifar10 import archive_of, batches, in_folder, small_data, write_batches

import cifar10.data as reading
from cifar10.data import ARCHIVE, MEMBERS, class_names, load_data, parse_batch, read_given, unpack
from cifar10.settings import Config
from synthetic import shapes


def same_data(a, b) -> bool:
    return a.sha256 == b.sha256 and all(
        np.array_equal(getattr(a, part), getattr(b, part))
        for part in ("train_images", "train_labels", "test_images", "test_labels")
    )


def test_records_are_a_label_and_three_colours_row_by_row():
    first = bytes([7]) + bytes(range(256)) * 12
    second = bytes([0]) + bytes(3072)
    images, labels = parse_batch(first + second, "batch")
    assert labels.tolist() == [7, 0]
    assert images.shape == (2, 3, 32, 32)
    assert images[0, 0, 0, :3].tolist() == [0, 1, 2]
    assert images[0, 0, 1, 0] == 32
    assert images[0].ravel().tolist() == list(first[1:])
    assert not images[1].any()


def test_batches_follow_one_another_and_the_last_is_the_test_set():
    images, labels, test_images, test_labels = shapes.render_dataset(300, 100, seed=3)
    data = small_data()
    order = np.concatenate([np.arange(300)[i::5] for i in range(5)])
    np.testing.assert_array_equal(data.train_images, images[order])
    np.testing.assert_array_equal(data.train_labels, labels[order])
    np.testing.assert_array_equal(data.test_images, test_images)
    np.testing.assert_array_equal(data.test_labels, test_labels)
    assert data.sha256 == {name: hashlib.sha256(batches()[name]).hexdigest() for name in MEMBERS}


def test_the_archive_and_the_folder_give_the_same(tmp_path, monkeypatch):
    folder = write_batches(tmp_path / "cifar-10-batches-bin")
    archive = archive_of({**in_folder(batches()), "cifar-10-batches-bin/readme.html": b"hello"})
    for given in (folder, tmp_path):
        assert same_data(read_given(given), small_data())
    (tmp_path / ARCHIVE).write_bytes(archive)
    for given in (tmp_path / ARCHIVE, tmp_path):
        found = read_given(given)
        assert same_data(found, small_data())
        assert found.name == "CIFAR-10 variant"  # only the official archive is called CIFAR-10
    monkeypatch.setattr(reading, "ARCHIVE_SHA256", hashlib.sha256(archive).hexdigest())
    assert read_given(tmp_path).name == "CIFAR-10"
    assert read_given(folder).name == "CIFAR-10 variant"
    official = load_data(Config(dataset="cifar10", data_dir=tmp_path, hold_out=10), Console(quiet=True))
    assert official.name == "CIFAR-10, last 10 held out"
    with pytest.raises(UserError, match="is not known to be CIFAR-10; leave the flag out"):
        load_data(Config(dataset="cifar10", data_dir=folder), Console(quiet=True))


def test_only_the_expected_members_are_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    evil = {"../x": b"evil", "/y": b"evil", "cifar-10-batches-bin/../../data_batch_1.bin": b"evil"}
    assert unpack(archive_of({**evil, **in_folder(batches())})) == batches()
    assert list(tmp_path.iterdir()) == []
    incomplete = {name: content for name, content in batches().items() if "_1" not in name}
    with pytest.raises(ValueError, match=r"no cifar-10-batches-bin/data_batch_1\.bin"):
        unpack(archive_of({**evil, **in_folder(incomplete)}))


def test_a_member_that_is_far_too_large_is_not_unpacked(monkeypatch):
    monkeypatch.setattr(reading, "MAX_MEMBER_BYTES", len(batches()["test_batch.bin"]) - 1)
    with pytest.raises(ValueError, match="far too large"):
        unpack(archive_of(in_folder(batches())))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda archive: archive[: len(archive) // 2], "truncated"),
        (lambda archive: b"no archive", "no .tar.gz"),
        (lambda archive: b"", "no .tar.gz"),
    ],
)
def test_a_damaged_archive_is_said(damage, said, tmp_path):
    path = tmp_path / ARCHIVE
    path.write_bytes(damage(archive_of(in_folder(batches()))))
    with pytest.raises(UserError, match=said):
        read_given(path)


def test_names_in_an_archive_may_begin_with_the_folder_itself(tmp_path):
    path = tmp_path / ARCHIVE
    path.write_bytes(archive_of({f"./{name}": content for name, content in in_folder(batches()).items()}))
    np.testing.assert_array_equal(read_given(path).test_images, small_data().test_images)


def test_a_bomb_is_not_unpacked(tmp_path):
    """A gigabyte of zeros behind a right beginning: refused as soon as it is too large."""
    packer = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    first, again = (packer.compress(bytes(2**24)) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    path = tmp_path / ARCHIVE
    path.write_bytes(first + 63 * again)
    started = time.process_time()
    with pytest.raises(UserError, match=r"too large, no \.tar\.gz"):
        read_given(path)
    assert time.process_time() - started < 3


def test_what_is_the_real_cifar10_and_where_it_is_sought():
    assert reading.ARCHIVE_SHA256 == "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
    assert reading.MIRRORS == ("https://www.cs.toronto.edu/~kriz/",)
    assert reading.ARCHIVE == "cifar-10-binary.tar.gz"


def test_a_missing_or_malformed_batch_is_said(tmp_path):
    write_batches(tmp_path)
    second = tmp_path / "data_batch_2.bin"
    second.write_bytes(batches()[second.name][:-1])
    with pytest.raises(UserError, match=r"data_batch_2.bin is no whole number"):
        read_given(tmp_path)
    second.write_bytes(b"")
    with pytest.raises(UserError, match=r"data_batch_2.bin is no whole number"):
        read_given(tmp_path)
    second.write_bytes(b"\x0a" + batches()[second.name][1:])
    with pytest.raises(UserError, match="label 10; the classes are 0 to 9"):
        read_given(tmp_path)
    second.unlink()
    with pytest.raises(UserError, match=r"no data_batch_2\.bin"):
        read_given(tmp_path)


@pytest.mark.parametrize("name", ["nowhere", "x" * 300])
def test_a_folder_that_cannot_be_is_said_in_one_line(name, tmp_path):
    with pytest.raises(UserError, match="--data-dir") as caught:
        read_given(tmp_path / name)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes in this system's folders")
def test_a_pipe_in_the_folder_is_not_waited_for(tmp_path):
    write_batches(tmp_path)
    (tmp_path / "data_batch_3.bin").unlink()
    os.mkfifo(tmp_path / "data_batch_3.bin")
    with pytest.raises(UserError, match=r"no data_batch_3\.bin"):
        read_given(tmp_path)


def test_a_download_with_a_wrong_sum_never_enters_the_cache(tmp_path, monkeypatch, capsys):
    archive = archive_of(in_folder(batches()))
    served = tmp_path / "served"
    served.mkdir()
    (served / ARCHIVE).write_bytes(archive)
    config = Config(cache_dir=tmp_path / "cache", mirror=(served.as_uri(),), dataset="cifar10")
    with pytest.raises(UserError, match="no mirror gave"):
        load_data(config, Console())
    assert "wrong SHA-256" in capsys.readouterr().err
    assert not (tmp_path / "cache" / ARCHIVE).exists()
    monkeypatch.setattr(reading, "ARCHIVE_SHA256", hashlib.sha256(archive).hexdigest())
    fetched = load_data(config, Console())
    assert fetched.name == "CIFAR-10"
    assert same_data(fetched, small_data())
    (served / ARCHIVE).unlink()
    assert same_data(load_data(config, Console()), small_data())  # from the cache
    (tmp_path / "cache" / ARCHIVE).write_bytes(archive[:-9])
    with pytest.raises(UserError, match="no mirror gave"):  # what lies there is not trusted
        load_data(config, Console())


def test_held_out_images_take_the_place_of_the_test_set(tmp_path):
    config = Config(data_dir=write_batches(tmp_path), hold_out=40)
    found, whole = load_data(config, Console(quiet=True)), small_data()
    assert found.name == "CIFAR-10 variant, last 40 held out"
    np.testing.assert_array_equal(found.train_images, whole.train_images[:260])
    np.testing.assert_array_equal(found.train_labels, whole.train_labels[:260])
    np.testing.assert_array_equal(found.test_images, whole.train_images[260:])
    np.testing.assert_array_equal(found.test_labels, whole.train_labels[260:])


def test_drawn_shapes_stand_in_and_are_announced(tmp_path, monkeypatch, capsys):
    """Where it is asked for, and where no mirror answers; each of their arrays counts in their sums."""
    drawn = shapes.render_dataset(60, 30)
    monkeypatch.setattr(shapes, "render_dataset", lambda: drawn)
    nowhere = {"cache_dir": tmp_path, "mirror": ((tmp_path / "nowhere").as_uri(),)}
    found = [load_data(Config(**flags), Console(quiet=True)) for flags in ({"dataset": "rendered"}, nowhere)]
    for data in found:
        assert data.name == "rendered shapes"
        assert class_names(data)[0] == "disc"
        np.testing.assert_array_equal(data.test_images, drawn[2])
    assert capsys.readouterr().err.count("NOT CIFAR-10") == 2
    other = (*drawn[:3], drawn[3][::-1])
    monkeypatch.setattr(shapes, "render_dataset", lambda: other)
    assert load_data(Config(dataset="rendered"), Console(quiet=True)).sha256 != found[0].sha256
    assert class_names(small_data())[3] == "cat"


def test_drawn_shapes_are_balanced_different_and_the_same_every_time():
    first, again = (shapes.render_dataset(200, 50) for _ in range(2))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (np.bincount(first[1]) == 20).all()
    assert len(np.unique(first[0].reshape(200, -1), axis=0)) == 200
