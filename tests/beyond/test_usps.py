"""USPS: its text, its checks, and what networks of MNIST are said to read of it."""

from __future__ import annotations

from support.centring import centred
from support.console import Console, UserError
from support.data import Data
from support.download import DownloadError
from support.offsets import add_offsets
from support.stored import open_session

import gzip
import hashlib
from dataclasses import replace

import numpy as np
import pytest
from small_pictures import answers, softmaxed

from beyond import pipeline, usps
from beyond.handwriting import WAYS, handwriting
from beyond.settings import Config
from synthetic import digits

COUNTS = {"zip.train": 30, "zip.test": 12}


@pytest.fixture(scope="module")
def written() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """By file: what is written in it, thousandths (n, 256) from -1000 to 1000, and labels (n,)."""
    rng = np.random.default_rng(4)
    values = {name: rng.integers(-1000, 1001, (n, 256)) for name, n in COUNTS.items()}
    values["zip.train"][0, :4] = (-1000, 1000, 0, -999)
    return {name: (v, rng.integers(0, 10, len(v))) for name, v in values.items()}


@pytest.fixture
def small_usps(written, monkeypatch) -> dict[str, bytes]:
    """Two small files of USPS's form, uncompressed, and the loader takes them for the real ones."""
    found = {}
    for name, (values, labels) in written.items():
        form = "{:.4f}" if name == "zip.train" else "{:g}"  # as in the files
        rows = [" ".join(form.format(v) for v in (label, *row / 1000)) + " "
                for row, label in zip(values, labels, strict=True)]  # fmt: skip
        found[name] = ("\n".join(rows) + "\n").encode()
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in found.items()}
    monkeypatch.setattr(usps, "USPS_SHA256", sums)
    return found


@pytest.fixture
def folder(small_usps, tmp_path):
    """One file plain, one compressed."""
    (tmp_path / "usps").mkdir()
    (tmp_path / "usps" / "zip.train").write_bytes(small_usps["zip.train"])
    (tmp_path / "usps" / "zip.test.gz").write_bytes(gzip.compress(small_usps["zip.test"]))
    return tmp_path / "usps"


def test_values_become_grey_levels(small_usps, written):
    for name, (values, labels) in written.items():
        images, found = usps.parsed(small_usps[name])
        assert images.shape == (COUNTS[name], 16, 16)
        assert (images.dtype, found.dtype) == (np.uint8, np.uint8)
        np.testing.assert_array_equal(found, labels)
        exact = 255 * (values + 1000) / 2000
        assert np.abs(images.reshape(len(values), 256) - exact).max() <= 0.5
    assert usps.parsed(small_usps["zip.train"])[0][0, 0, :4].tolist() == [0, 255, 128, 0]


def test_a_folder_gives_both_files_in_mnists_form(folder, small_usps):
    data = usps.load_usps(folder, folder / "cache", Console())
    assert (data.name, data.sha256) == ("USPS", usps.USPS_SHA256)
    for images, labels, name in (
        (data.train_images, data.train_labels, "zip.train"),
        (data.test_images, data.test_labels, "zip.test"),
    ):
        plain, wanted = usps.parsed(small_usps[name])
        np.testing.assert_array_equal(labels, wanted)
        np.testing.assert_array_equal(images, [centred(image) for image in plain])


def test_without_a_folder_a_mirror_is_asked_once(small_usps, mirror, tmp_path, capsys):
    served = type(mirror)(small_usps, {name: gzip.compress(text) for name, text in small_usps.items()})
    try:
        mirrors = [served.url("flipped"), served.url("right")]
        first = usps.load_usps(None, tmp_path, Console(), mirrors)
        assert "flipped/zip.train.gz: wrong SHA-256" in capsys.readouterr().err
        again = usps.load_usps(None, tmp_path, Console(), mirrors)
        assert again.digest == first.digest
        asked = [f"/{kind}/{name}.gz" for name in COUNTS for kind in ("flipped", "right")]
        assert served.requests == asked
        with pytest.raises(DownloadError, match=r"no mirror gave zip\.train\.gz; .* point --usps-dir at"):
            usps.load_usps(None, tmp_path / "other", Console(), [served.url("403")])
    finally:
        served.server.shutdown()
        served.server.server_close()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: (f / "zip.test.gz").unlink(), "--usps-dir .*: no zip.test or zip.test.gz there"),
        (lambda f: (f / "zip.train").write_bytes(b"6.0 -1.0\n"), "zip.train there is not USPS's"),
        (lambda f: f.rename(f.parent / "away"), "--usps-dir .*: No such file or directory"),
    ],
)  # fmt: skip
def test_a_folder_with_something_else_is_refused(change, said, folder):
    change(folder)
    with pytest.raises(UserError, match=said):
        usps.load_usps(folder, folder / "cache", Console())


# ---- What is measured of a run's networks ------------------------------------------------------------------


@pytest.fixture(scope="module")
def others() -> Data:
    """Digits by another hand, of which the classes are far from equally frequent."""
    images, labels = digits.render_digits(400, np.random.default_rng(11))
    keep = (labels != 3) | (np.arange(400) % 4 == 0)
    images, labels = images[keep], labels[keep]
    return Data("others", images[:250], labels[:250], images[250:], labels[250:], {})


def small_run(small_data, tmp_path, **settings):
    config = Config(
        n_epochs_teacher=4, n_epochs_student=3, teacher_hidden=(60,), student_hidden=(40,), batch_size=20,
        cache_dir=tmp_path, **settings,
    )  # fmt: skip
    with open_session(tmp_path, False, Console(quiet=True)) as session:
        return pipeline.run_on_data(small_data, config, session)


def test_accuracies_on_other_digits_are_counted_and_biases_are_set_without_their_labels(
    small_data, others, workers, tmp_path
):
    experiment = small_run(small_data, tmp_path)
    found = handwriting(experiment, workers, others)
    images = np.concatenate((others.train_images, others.test_images))
    labels = np.concatenate((others.train_labels, others.test_labels))
    teacher, student = (answers(run.network, images) for run in experiment.runs.values())
    probe = slice(0, 250)
    frequency, told = (small_data.train_labels == 3).mean(), softmaxed(teacher[probe])[:, 3].mean()
    for way, target in (("by_frequencies", frequency), ("by_answers", told)):
        (offset,) = found["offsets"][way]
        moved = add_offsets(student, (3,), (offset,))[probe]
        assert softmaxed(moved)[:, 3].mean() == pytest.approx(target, abs=1e-5)
    assert found["offsets"]["before"] == [0]
    assert found["offsets"]["after"] == list(experiment.correction.offsets)
    for name in ("teacher", *WAYS):
        z = teacher if name == "teacher" else add_offsets(student, (3,), found["offsets"][name])
        right = z.argmax(axis=1) == labels
        for one, part in ((found[name], slice(None)), (found["test"][name], slice(250, None))):
            is_3 = labels[part] == 3
            assert one["accuracy"] == pytest.approx(right[part].mean(), abs=0.004)
            assert one["omitted_accuracy"] == pytest.approx(right[part][is_3].mean(), abs=0.05)
            assert one["other_accuracy"] == pytest.approx(right[part][~is_3].mean(), abs=0.005)
    for name, z in (("teacher", teacher), ("before", student)):
        right = [(z.argmax(axis=1) == labels)[labels == c].mean() for c in range(10)]
        assert found["per_class_accuracy"][name] == pytest.approx(right, abs=0.03)
    assert found["n_images"] == {"all": len(labels), "test": len(others.test_labels)}
    assert found["class_shares"] == pytest.approx([(labels == c).mean() for c in range(10)])
    assert len({str(found[way]) for way in WAYS}) == 4  # so that no way was taken for another
    # no label of theirs reaches the student: only what is counted changes
    relabelled = replace(others, train_labels=np.roll(others.train_labels, 7))
    again = handwriting(experiment, workers, relabelled)
    assert again["offsets"] == found["offsets"]
    assert again["test"] == found["test"]
    assert again["before"] != found["before"]


def test_a_student_of_all_digits_has_nothing_to_correct(small_data, others, workers, tmp_path):
    experiment = small_run(small_data, tmp_path, omitted_class=())
    found = handwriting(experiment, workers, others)
    assert all(found[way] == found["before"] for way in WAYS)
    assert found["before"]["omitted_accuracy"] is None
    assert found["offsets"] == {way: [] for way in WAYS}
