"""Every setting, by what it does: the core against a plain second version of the whole experiment."""

from __future__ import annotations

from support.console import Console
from support.data import Data
from support.stored import Session, Store
from support.tiles import Workers

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import plain_pipeline
import pytest

import distillation_mnist_omitted_3 as core
from beyond import pipeline
from beyond.settings import DRAWN_SETS, EVERY_CLASS, Config

ROOT = Path(__file__).resolve().parents[2]
BASE: dict[str, Any] = {
    "n_epochs_teacher": 2, "n_epochs_student": 2, "teacher_hidden": (24,), "student_hidden": (16, 12),
    "batch_size": 50, "learning_rate": 2e-3, "probe_size": 300, "jitter": 0,
}  # fmt: skip
LONGER = {"n_epochs_teacher": 12, "n_epochs_student": 12}  # else EM's maximum lies at the border, at 0
DRAWN: dict[str, Any] = {"omitted_class": EVERY_CLASS}
VARIANTS: list[dict[str, Any]] = [
    {"seed": 1},
    {"temperature": 1.5},
    {"omitted_class": (5,)},
    {"omitted_class": (3, 8)},
    {"n_epochs_teacher": 1},
    {"n_epochs_student": 3},
    {"teacher_hidden": (24, 9)},
    {"student_hidden": (16,)},
    {"batch_size": 64},
    {"learning_rate": 1e-3},
    {"learning_rate_student": 1e-3},
    {"lr_schedule": "linear"},
    {"jitter": 1, "jitter_student": 3, "batch_size_student": 70},
    {"shear": 0.4, "scaling_student": 0.3, "elastic_student": 2.0},
    {"jitter": 2, "rotation": 10.0, "scaling": 0.1, "elastic": 1.5, "dropout": 0.1, "shear_student": 0.1},
    {"dropout_input": 0.25},
    {"dropout": 0.5, "dropout_input": 0.125, "jitter": 2, "lr_schedule": "linear"},
    {"max_norm": 1.2},
    {"hard_weight": 0.3},
    {"hard_weight": 1.0},
    {"transfer_fraction": 0.3},
    {"transfer_fraction": 0.3, "transfer_choice": "least-like"},
    {"transfer_fraction": 0.3, "transfer_choice": "most-like", "omitted_class": (3, 5)},
    {"transfer_fraction": 0.3, "transfer_choice": "least-like-within"},
    {"transfer_fraction": 0.2, "transfer_choice": "most-like-within", "omitted_class": (3, 5)},
    {"teacher_answers": "mean", "omitted_class": (3, 8)},
    {"teacher_answers": "class-mean", "omitted_class": (3, 8)},
    {"teacher_answers": "shuffled", "omitted_class": (3, 8)},
    {"teacher_answers": "alone"},
    {"soft_part": "target"},
    {"soft_part": "non-target", "hard_weight": 0.3},
    {"soft_part": "non-target", "jitter_student": 2},
    {"mislabelled": (1, 7), "mislabelled_share": 0.3, "teacher_seed": 5},
    {"label_smoothing": 0.1, "mislabelled": (3, 8), "spare_outputs": 4},
    {"teacher_omitted_class": (3,)},
    {"spare_outputs": 3, "student_start": "teacher", "student_hidden": (24,)},
    {"teacher_seed": 5, "student_start": "teacher", "student_hidden": (24,)},
    {"background": -0.5, "jitter": 2, "rotation_student": 20.0},
    *(DRAWN | {"transfer_set": kind} for kind in DRAWN_SETS),
    DRAWN | {"transfer_set": "contours", "transfer_images": 250},
    DRAWN | {"transfer_set": "contours", "transfer_images": 1200, "n_epochs_student": 3},
    DRAWN | {"transfer_set": "blobs", "probe": "transfer"},
    DRAWN | {"transfer_set": "noise", "spare_outputs": 3, "background": -1.0},
    {"correct": "all"},
    {"correct": "all", "omitted_class": ()},
    {"probe": "test"},
    {"probe": "transfer"},
    {"probe": "transfer", "teacher_answers": "class-mean", "transfer_fraction": 0.5, "omitted_class": (3, 8)},
    {"probe_share": 0.02},
    {"probe_share": 0.3, "probe": "test"},
    LONGER | {"prior": "em"},
    LONGER | {"prior": "em", "probe_share": 0.3},
    {"probe_size": 100},
    {"hold_out": 150},
]
TESTED_ELSEWHERE = {  # what does not change what is computed, or is a bundle of flags
    "recipe": "test_a_recipe_is_its_flags_and_flags_given_win",
    "dataset": "test_auto_falls_back_to_rendered_digits_and_mnist_never_does",
    "data_dir": "test_a_folder_of_other_idx_files_is_not_called_mnist",
    "cache_dir": "test_a_home_that_is_no_absolute_path_is_none",
    "mirror": "test_auto_falls_back_to_rendered_digits_and_mnist_never_does",
    "outdir": "test_the_right_files_in_a_folder_are_called_mnist",
    "retrain": "test_the_same_command_gives_the_same_bits_and_another_seed_others",
    "quiet": "test_what_a_run_prints_and_writes",
}


def test_every_setting_is_tested():
    varied = {name for variant in VARIANTS for name in variant}
    names = {field.name for field in dataclasses.fields(Config)}
    assert names == varied | set(TESTED_ELSEWHERE)
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    for test in TESTED_ELSEWHERE.values():
        assert f"def {test}(" in tests


@pytest.fixture(scope="module")
def base(small_folder, tmp_path_factory) -> core.Experiment:
    """The experiment with the base settings; its trainings are stored ones."""
    folder = tmp_path_factory.mktemp("base")
    config = Config(data_dir=small_folder, cache_dir=folder, outdir=folder, **BASE)
    pipeline.run(config)
    return pipeline.run(config)


@pytest.mark.parametrize("variant", [{}, *VARIANTS], ids=str)
def test_a_setting_reaches_what_it_is_for(variant, base, small_folder, small_data, tmp_path):
    """The core, float32, tiles and threads and all, computes what the plain version does in float64.

    And the setting makes a difference that is far larger than what rounding makes.
    """
    config = Config(data_dir=small_folder, cache_dir=tmp_path, outdir=tmp_path, **{**BASE, **variant})
    found = pipeline.run(config)
    with Workers(1):  # with more threads, the BLAS would go on spinning under the next run
        expected = plain_pipeline.experiment(config, small_data)
    losses = np.concatenate([found.teacher.losses, found.student.losses])
    np.testing.assert_allclose(losses, expected["losses"], rtol=1e-4)
    np.testing.assert_allclose(found.teacher.test_logits[-1], expected["teacher"], atol=2e-3)
    np.testing.assert_allclose(found.student_logits, expected["student"], atol=2e-3)
    np.testing.assert_allclose(found.correction.offsets, expected["offsets"], atol=2e-3)
    if variant:
        changes = [
            found.correction.offsets != base.correction.offsets,
            np.abs(losses.sum() - np.concatenate([base.teacher.losses, base.student.losses]).sum()) > 0.02,
            found.data.name != base.data.name,
        ]
        assert any(changes)


def predicted(network: core.MLP, data: Data) -> np.ndarray:
    with Workers() as workers:
        return core.predict(network, data.test_images, workers)


def test_the_networks_that_are_returned_give_the_logits_that_are_reported(base):
    """Before and after the correction; the correction changes one number, in a network of its own."""
    assert predicted(base.teacher.network, base.data).tobytes() == base.teacher.test_logits[-1].tobytes()
    assert predicted(base.student.network, base.data).tobytes() == base.student_logits.tobytes()
    corrected = base.corrected_network
    np.testing.assert_allclose(predicted(corrected, base.data), base.corrected_logits, atol=1e-5)
    offset = base.correction.offsets[0]
    assert abs(offset) > 0.05
    np.testing.assert_allclose(base.corrected_logits[:, 3] - base.student_logits[:, 3], offset, atol=1e-5)
    others = [c for c in range(10) if c != 3]
    np.testing.assert_array_equal(base.corrected_logits[:, others], base.student_logits[:, others])
    changed = np.flatnonzero(corrected.parameters != base.student.network.parameters)
    assert changed.tolist() == [len(corrected.parameters) - 6 * 13 - 1]  # the last column of the row of 3s


def test_the_correction_meets_the_frequency_on_the_probe(base):
    target = (base.data.train_labels == 3).mean()
    with Workers() as workers:
        probe = core.predict(base.corrected_network, base.data.train_images[:300], workers)
    assert base.correction.target_frequencies == pytest.approx((target,))
    assert core.softmax(probe.astype(float))[:, 3].mean() == pytest.approx(target, abs=1e-5)
    assert base.correction.mean_probabilities_after == pytest.approx((target,), abs=1e-6)
    assert base.correction.probe_size == len(base.probe_logits) == 300
    metrics = base.metrics()
    assert metrics["before_correction"] == core.evaluate(base.student_logits, base.data.test_labels, (3,))
    assert metrics["after_correction"] == core.evaluate(base.corrected_logits, base.data.test_labels, (3,))
    assert metrics["teacher"] == core.evaluate(base.teacher.test_logits[-1], base.data.test_labels, (3,))


def test_no_omitted_image_is_ever_looked_at_in_the_students_training(
    base, small_folder, small_data, tmp_path
):
    """Every 3 of the training set changed after the teacher is trained: the same student, bit for bit."""
    images = small_data.train_images.copy()
    images[small_data.train_labels == 3] = 255 - images[small_data.train_labels == 3]
    config = Config(cache_dir=tmp_path, **BASE)
    students = [
        student_of(base.teacher.network, config, dataclasses.replace(small_data, train_images=x), tmp_path)
        for x in (small_data.train_images, images)
    ]
    assert students[0].tobytes() == students[1].tobytes() == base.student.network.parameters.tobytes()
    images[small_data.train_labels == 4] = 0
    other = student_of(
        base.teacher.network, config, dataclasses.replace(small_data, train_images=images), tmp_path
    )
    assert other.tobytes() != students[0].tobytes()


def student_of(teacher: core.MLP, config: Config, data: Data, folder: Path) -> np.ndarray:
    """The parameters of a student, trained whatever is stored."""
    with Workers() as workers:
        session = Session(workers, Console(quiet=True), Store(folder), retrain=True)
        lesson = pipeline.student_lesson(config, data, teacher, workers)
        return pipeline.train_student(config, data, teacher, lesson, session).network.parameters


def test_the_student_depends_on_the_images_and_the_teacher_alone(base, small_data, tmp_path):
    """Other labels on the transfer set, the same teacher: the same student, bit for bit."""
    rng = np.random.default_rng(0)
    labels = small_data.train_labels.copy()
    seen = labels != 3
    labels[seen] = rng.choice([c for c in range(10) if c != 3], seen.sum())
    config = Config(cache_dir=tmp_path, **BASE)
    shuffled = dataclasses.replace(small_data, train_labels=labels)
    found = [student_of(base.teacher.network, config, data, tmp_path) for data in (small_data, shuffled)]
    assert found[0].tobytes() == found[1].tobytes()
    with_labels = dataclasses.replace(config, hard_weight=0.01)
    found = [student_of(base.teacher.network, with_labels, data, tmp_path) for data in (small_data, shuffled)]
    assert found[0].tobytes() != found[1].tobytes()


def test_results_json_says_what_was_measured(base):
    found = base.results()
    assert found["teacher"] == base.metrics()["teacher"]
    assert found["data"]["n_transfer"] == (base.data.train_labels != 3).sum()
    assert found["data"]["n_test_omitted"] == (base.data.test_labels == 3).sum()
    assert [e["loss"] for e in found["history"]["student"]] == base.student.losses.tolist()
    last = core.evaluate(base.teacher.test_logits[-1], base.data.test_labels, (3,))
    assert found["history"]["teacher"][-1]["test_errors"] == last["test_errors"]
    first = core.evaluate(base.student.test_logits[0], base.data.test_labels, (3,))
    assert found["history"]["student"][0]["omitted_accuracy"] == first["omitted_accuracy"]
    seconds = found["wall_clock_seconds"]
    assert seconds["total"] == pytest.approx(sum(v for k, v in seconds.items() if k != "total"))
    assert seconds["teacher"] == pytest.approx(base.teacher.seconds.sum())
    assert 0 < seconds["data"] < 60
    assert 0 < seconds["bias_correction"] < 60
    assert found["environment"]["threads"] == Workers().n_threads
    assert found["config"]["probe_size"] == 300
    some = dataclasses.replace(base.lesson, indices=base.lesson.indices[:100].repeat(2))
    half = dataclasses.replace(base, lesson=some)
    assert half.results()["data"]["n_transfer"] == 100
