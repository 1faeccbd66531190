"""The loader: hand-made bytes, a server that misbehaves, a cache that cannot be trusted."""

from __future__ import annotations

from support import download
from support.console import Console, UserError
from support.download import DownloadError, fetch, uncompress

import dataclasses
import gzip
import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from idx_files import idx_bytes

import distillation_mnist_omitted_3 as core
from beyond import pipeline
from beyond.data import outdir_for
from beyond.settings import Config

ROOT = Path(__file__).resolve().parents[2]
FIRST = "train-images-idx3-ubyte"


def fetch_first(mirrors: list[str]) -> tuple[bytes, bytes]:
    """The first MNIST file, compressed and not, from the first of these mirrors that has it."""
    return fetch([f"{url.rstrip('/')}/{FIRST}.gz" for url in mirrors], core.mnist_file(FIRST), Console())


@given(st.integers(0, 5), st.integers(0, 4), st.integers(0, 4), st.integers(0, 2**32))
@settings(deadline=None)
def test_idx_gives_back_what_was_written(n, rows, columns, seed):
    array = np.random.default_rng(seed).integers(0, 256, (n, rows, columns), dtype=np.uint8)
    np.testing.assert_array_equal(core.parse_idx(idx_bytes(array), "x", 3), array)


def test_idx_by_hand():
    content = bytes((0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 10, 20, 30, 40, 50, 60))
    assert core.parse_idx(content, "x", 3).tolist() == [[[10, 20, 30], [40, 50, 60]]]


GOOD = idx_bytes(np.arange(6, dtype=np.uint8).reshape(1, 2, 3))


def test_a_wrong_number_of_values_is_said_in_figures():
    with pytest.raises(UserError, match=r"^x holds 5 values, its header announces 6; fetch it again$"):
        core.parse_idx(GOOD[:-1], "x", 3)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        GOOD[:3],
        GOOD[:10],
        b"\0\0\x09\x03" + GOOD[4:],  # signed bytes
        b"\0\0\x08\x01" + GOOD[4:],  # other dimensions
        b"\1\0\x08\x03" + GOOD[4:],
        GOOD[:-1],
        GOOD + b"\0",
        GOOD[:4] + b"\xff" * 12 + GOOD[16:],  # counts far beyond the content
        b"<html>Service Unavailable</html>",
    ],
)
def test_malformed_idx_is_refused(content):
    with pytest.raises(UserError, match=r"^x (is not an IDX file .*; check where|holds .*; fetch it again$)"):
        core.parse_idx(content, "x", 3)


@given(st.binary(max_size=60))
def test_idx_refuses_any_other_bytes(content):
    with pytest.raises(UserError):
        core.parse_idx(content, "x", 3)


def test_uncompress_refuses_what_is_no_whole_gzip_file():
    whole = gzip.compress(bytes(5000))
    assert uncompress(whole, 5000) == bytes(5000)
    for damaged in (b"", b"plain", whole[: len(whole) // 2], whole[:-5]):
        with pytest.raises(ValueError, match=r"not a gzip file|truncated"):
            uncompress(damaged, 5000)
    for damaged in (whole[:-4] + b"\0\0\0\1", whole[:12] + bytes([whole[12] ^ 255]) + whole[13:]):
        with pytest.raises(ValueError, match=r"^damaged$"):
            uncompress(damaged, 5000)
    with pytest.raises(ValueError, match="large"):  # a small file that unpacks to a large one
        uncompress(whole, 4999)
    for trailing in (b"more", b"\0\0more", whole + b"x"):
        with pytest.raises(ValueError, match="trailing"):
            uncompress(whole + trailing, 20_000)


def test_several_members_and_zeros_behind_them_are_one_gzip_file():
    """As `cat a.gz b.gz` and tapes make them; the limit is on all of it."""
    parts = [bytes([k]) * 1000 for k in range(3)]
    whole = b"".join(map(gzip.compress, parts))
    for padding in (b"", bytes(512)):
        assert uncompress(whole + padding, 3000) == b"".join(parts)
        with pytest.raises(ValueError, match="large"):
            uncompress(whole + padding, 2999)
    assert uncompress(gzip.compress(b"") + whole, 3000) == b"".join(parts)
    with pytest.raises(ValueError, match="truncated"):
        uncompress(whole[:-9], 3000)
    with pytest.raises(ValueError, match="far too many parts"):
        uncompress(gzip.compress(b"") * 101, 3000)


def test_a_dimension_of_nothing_is_said_in_one_line():
    huge = b"\xff" * 4
    for shape in (huge + huge + bytes(4), bytes(4) + huge + huge):
        with pytest.raises(UserError, match=r"^x announces \(.*\) values and holds none; fetch it again$"):
            core.parse_idx(bytes((0, 0, 8, 3)) + shape, "x", 3)


@pytest.fixture
def own_folder(small_files, tmp_path) -> Path:
    """The four files, plain, to be changed."""
    for name, content in small_files.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def given_data(folder: Path) -> core.Data:
    return pipeline.load_data(Config(data_dir=folder), Console(quiet=True))


@pytest.mark.parametrize(
    "name",
    [
        "train-images.idx3-ubyte", "TRAIN-IMAGES-IDX3-UBYTE", "Train-Images.idx3-ubyte.GZ",
        "train-images-idx3-ubyte.gz",
    ],
)  # fmt: skip
@pytest.mark.parametrize("compressed", [False, True])
def test_a_file_is_known_by_all_its_names_and_by_what_is_in_it(name, compressed, own_folder, small_data):
    content = (own_folder / FIRST).read_bytes()
    (own_folder / FIRST).unlink()
    (own_folder / name).write_bytes(gzip.compress(content) if compressed else content)
    assert given_data(own_folder).sha256 == small_data.sha256


@pytest.mark.parametrize("in_the_way", ["folder", "empty"])
def test_what_is_no_file_of_data_hides_none(in_the_way, own_folder, small_data):
    path = own_folder / FIRST
    (own_folder / f"{FIRST}.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    path.mkdir() if in_the_way == "folder" else path.write_bytes(b"")
    assert given_data(own_folder).sha256 == small_data.sha256


def test_two_files_of_one_name_must_be_the_same(own_folder, small_data):
    content = (own_folder / FIRST).read_bytes()
    other = own_folder / f"{FIRST}.gz"
    other.write_bytes(gzip.compress(content))
    assert given_data(own_folder).sha256 == small_data.sha256
    other.write_bytes(gzip.compress(content[:-1] + b"\1"))
    with pytest.raises(
        UserError, match=rf"{FIRST} and {FIRST}\.gz are not the same; leave the right one there$"
    ):
        given_data(own_folder)


def test_a_folder_that_is_not_there_is_said_to_be_missing(tmp_path):
    with pytest.raises(UserError, match=r"--data-dir .*nowhere: No such file or directory; name what holds"):
        given_data(tmp_path / "nowhere")


@pytest.mark.parametrize("scheme", ["ftp", "file", "FTP", "gopher"])
def test_a_redirect_leads_to_the_web_and_nowhere_else(scheme, mirror, small_is_mnist, capsys, monkeypatch):
    monkeypatch.setattr(download.urllib.request.FTPHandler, "ftp_open", lambda *_: pytest.fail("followed"))
    mirror.redirect_to = f"{scheme}://127.0.0.1/{FIRST}.gz"
    with pytest.raises(DownloadError):
        fetch_first([mirror.url("redirect")])
    said = capsys.readouterr().err
    assert re.search("which is no web address|is not allowed", said)  # urllib refuses some
    mirror.redirect_to = f"{mirror.url()}{FIRST}.gz"
    assert fetch_first([mirror.url("redirect")])[1]


def test_what_a_mirror_sends_without_end_is_not_kept(mirror, monkeypatch, capsys):
    """At the first bytes beyond the limit, long before the mirror is slow."""
    remote = dataclasses.replace(core.mnist_file(FIRST), max_bytes=50)
    with pytest.raises(DownloadError):
        fetch([f"{mirror.url('drip')}/{FIRST}.gz"], remote, Console())
    assert "far too large" in capsys.readouterr().err


def test_what_is_real_mnist_and_where_it_is_sought():
    assert core.MNIST_SHA256 == {
        "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    }
    assert core.MIRRORS == (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "http://yann.lecun.com/exdb/mnist/",
    )


def test_the_right_file_enters_the_cache_and_is_used_from_there(
    mirror, small_is_mnist, small_files, tmp_path
):
    console = Console(quiet=True)
    assert core.read_cache(tmp_path, [mirror.url()], console) == small_files
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(f"{n}.gz" for n in small_files)
    assert mirror.requests == [f"/{name}.gz" for name in small_files]
    assert core.read_cache(tmp_path, [mirror.url()], console) == small_files
    assert len(mirror.requests) == 4
    for number, address in enumerate((mirror.url("right"), mirror.url("right/"))):
        core.read_cache(tmp_path / str(number), [address], console)
        assert mirror.requests[-1] == f"/right/{list(small_files)[-1]}.gz"


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("403", "403: Forbidden"),
        ("html", "gzip"),
        ("flipped", "^wrong SHA-256$"),
        ("cut", "truncated|IncompleteRead"),
        ("short", "truncated"),
        ("silent", "no answer"),
        ("stall", "timed out"),
        ("drip", "slower than"),
        ("escape", r"503: \?\[2J\?\[31m"),
    ],
)
def test_a_bad_mirror_is_named_with_its_reason_and_the_next_one_is_tried(
    behaviour, reason, mirror, small_is_mnist, small_files, tmp_path, capsys, monkeypatch
):
    warn = Console.warn

    def wait(connect: float, stall: float) -> None:
        monkeypatch.setattr(download, "CONNECT_SECONDS", connect)
        monkeypatch.setattr(download, "STALL_SECONDS", stall)

    def for_the_bad_mirror() -> None:  # patience with all that ends by itself
        wait(0.5 if behaviour == "silent" else 60, 0.5 if behaviour in ("stall", "drip") else 60)

    def warned(console: Console, text: str) -> None:
        warn(console, text)
        wait(60, 60)  # for the next mirror, however busy this machine is

    monkeypatch.setattr(Console, "warn", warned)
    for_the_bad_mirror()
    _, plain = fetch_first([mirror.url(behaviour), mirror.url()])
    assert plain == small_files[FIRST]
    warning = capsys.readouterr().err
    assert warning.count("\n") == 1
    assert mirror.url(behaviour) in warning
    assert re.search(reason, warning.partition(f"{FIRST}.gz: ")[2].rstrip()), warning
    for_the_bad_mirror()
    with pytest.raises(DownloadError):
        core.read_cache(tmp_path, [mirror.url(behaviour)], Console())
    assert list(tmp_path.iterdir()) == []


def test_an_unreachable_mirror_is_named(tmp_path, capsys):
    with pytest.raises(DownloadError):
        fetch_first(["http://127.0.0.1:9/", "nonsense://x/", "no address"])
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert "refused" in lines[0]


@pytest.mark.parametrize(
    "damage",
    [b"", b"<html>503</html>", gzip.compress(b"other"), gzip.compress(b"x" * 999)[:20]],
    ids=["empty", "page", "other", "cut"],
)
def test_a_poisoned_cache_is_fetched_again(damage, mirror, small_is_mnist, small_files, tmp_path, capsys):
    core.read_cache(tmp_path, [mirror.url()], Console())
    (tmp_path / f"{FIRST}.gz").write_bytes(damage)
    assert core.read_cache(tmp_path, [mirror.url()], Console()) == small_files
    assert "fetching it again" in capsys.readouterr().err
    assert len(mirror.requests) == 5
    core.read_cache(tmp_path, [], Console())  # whole again


def test_a_cache_that_cannot_be_written_is_done_without(
    mirror, small_is_mnist, small_files, tmp_path, capsys
):
    (tmp_path / "file").write_text("")
    for folder in (Path("/proc/nowhere"), tmp_path / "file" / "cache"):
        if folder.parent.exists() or folder.is_relative_to(tmp_path):
            assert core.read_cache(folder, [mirror.url()], Console()) == small_files
            assert "going on without a cache" in capsys.readouterr().err


def test_two_processes_at_once_leave_one_good_cache(mirror, small_is_mnist, small_files, tmp_path):
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import distillation_mnist_omitted_3 as core; "
        f"core.MNIST_SHA256 = {small_is_mnist!r}; from pathlib import Path; "
        f"core.read_cache(Path({str(tmp_path)!r}), [{mirror.url()!r}], core.Console())"
    )
    both = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(f"{n}.gz" for n in small_files)
    assert core.read_cache(tmp_path, [], Console()) == small_files


def test_auto_falls_back_to_rendered_digits_and_mnist_never_does(
    mirror, small_is_mnist, small_is_drawn, tmp_path, capsys
):
    config = Config(mirror=(mirror.url("403"),), cache_dir=tmp_path)
    data = pipeline.load_data(config, Console(quiet=True))
    assert data.name == "rendered digits"
    assert mirror.requests == ["/403/train-images-idx3-ubyte.gz"]  # the one that was named, and no other
    assert outdir_for(config, data) == ROOT / "viz" / "rendered"
    assert "NOT MNIST" in capsys.readouterr().err
    with pytest.raises(UserError, match="no mirror"):
        pipeline.load_data(dataclasses.replace(config, dataset="mnist"), Console())


def test_a_folder_of_other_idx_files_is_not_called_mnist(small_folder, small_files):
    data = pipeline.load_data(Config(data_dir=small_folder), Console())
    assert data.name == "custom IDX files"
    assert outdir_for(Config(), data) == ROOT / "viz" / "custom"
    assert data.sha256 == {n: hashlib.sha256(c).hexdigest() for n, c in small_files.items()}
    assert data.train_images.shape == (600, 28, 28)
    assert data.train_images.dtype == data.train_labels.dtype == np.uint8
    with pytest.raises(UserError, match="not known to be MNIST"):
        pipeline.load_data(Config(data_dir=small_folder, dataset="mnist"), Console())


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_in_the_folder_is_called_no_plain_file(small_folder, tmp_path):
    folder = tmp_path / "files"
    shutil.copytree(small_folder, folder)
    (folder / f"{FIRST}.gz").unlink()
    os.mkfifo(folder / FIRST)
    with pytest.raises(UserError, match=rf"^cannot read .*{FIRST}: no plain file; fetch it again$"):
        pipeline.load_data(Config(data_dir=folder), Console())


def test_the_right_files_in_a_folder_are_called_mnist(small_folder, small_is_mnist):
    data = pipeline.load_data(Config(data_dir=small_folder, dataset="mnist"), Console())
    assert data.name == "MNIST"
    assert outdir_for(Config(), data) == ROOT / "viz"
    assert outdir_for(Config(outdir=Path("here")), data) == Path("here")


def test_files_that_do_not_belong_together_are_refused(small_files):
    def changed(name: str, array: np.ndarray) -> dict[str, bytes]:
        return {**small_files, name: idx_bytes(array)}

    labels = np.zeros(600, np.uint8)
    for contents, message in (
        (changed("train-labels-idx1-ubyte", labels[:-1]), "600 training images but 599 labels"),
        (
            changed("t10k-images-idx3-ubyte", np.zeros((300, 28, 27), np.uint8)),
            "^the test images measure 28 x 27 pixels; this experiment needs 28 x 28$",
        ),
        (changed("train-images-idx3-ubyte", np.zeros((600, 27, 28), np.uint8)), "^the training .* 27 x 28"),
        (changed("t10k-labels-idx1-ubyte", labels[:0]), "^300 test images but 0 labels; "),
        (
            changed("t10k-labels-idx1-ubyte", labels[:0])
            | {"t10k-images-idx3-ubyte": idx_bytes(np.zeros((0, 28, 28), np.uint8))},
            "^there are no test images in the files; ",
        ),
        (changed("t10k-labels-idx1-ubyte", labels[:300] + 10), "^the test labels reach 10; "),
        (changed("train-labels-idx1-ubyte", labels + 26), "labels reach 26"),
        ({**small_files, "train-labels-idx1-ubyte": small_files[FIRST]}, "^train-labels.* 1 dimension"),
    ):
        with pytest.raises(UserError, match=message):
            core.data_from_idx(contents)


def test_a_class_without_images_cannot_be_omitted(small_folder, small_files, tmp_path):
    labels = core.parse_idx(small_files["train-labels-idx1-ubyte"], "labels", 1).copy()
    labels[labels == 3] = 5
    for name, content in {**small_files, "train-labels-idx1-ubyte": idx_bytes(labels)}.items():
        (tmp_path / name).write_bytes(content)
    for omitted in ((3,), (3, 8)):
        with pytest.raises(UserError, match="--omitted-class 3: the training set has no image"):
            pipeline.run(Config(data_dir=tmp_path, cache_dir=tmp_path, omitted_class=omitted))
    with pytest.raises(UserError, match="no other class"):
        pipeline.load_data(Config(data_dir=tmp_path, omitted_class=(0, 1, 2, 4, 5, 6, 7, 8, 9)), Console())


def test_held_out_images_are_measured_on_and_never_trained_on(small_folder, small_data):
    data = pipeline.load_data(Config(data_dir=small_folder, hold_out=100), Console())
    np.testing.assert_array_equal(data.train_images, small_data.train_images[:500])
    np.testing.assert_array_equal(data.test_images, small_data.train_images[500:])
    np.testing.assert_array_equal(data.test_labels, small_data.train_labels[500:])
    assert data.name != small_data.name
    with pytest.raises(UserError, match="--hold-out"):
        pipeline.load_data(Config(data_dir=small_folder, hold_out=600), Console())


def test_progress_is_the_share_of_what_was_announced(mirror, small_is_mnist, monkeypatch):
    shares = []
    monkeypatch.setattr(Console, "progress", lambda self, label, share: shares.append((label, share)))
    fetch_first([mirror.url("right")])
    assert {label for label, _ in shares} == {f"fetching {FIRST}.gz"}
    assert [share for _, share in shares] == sorted(share for _, share in shares)
    assert 0 < shares[0][1] <= shares[-1][1] == 1
