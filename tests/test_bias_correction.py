"""The bias correction and the metrics."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import distillation_mnist_omitted_3 as core
from suite_io import Console


def random_logits(seed: int, n: int = 400, shift: float = 0.0) -> np.ndarray:
    logits = (4 * np.random.default_rng(seed).standard_normal((n, 10))).astype(np.float32)
    logits[:, 3] += np.float32(shift)
    return logits


@given(st.integers(0, 2**32), st.integers(0, 9), st.floats(0.02, 0.9), st.floats(-15, 15))
@settings(max_examples=60, deadline=None)
def test_the_offset_reaches_the_target_whatever_its_sign(seed, omitted_class, target, shift):
    logits = random_logits(seed, shift=shift)
    found = core.correct_bias(logits, [omitted_class], [target])
    assert found.reached
    corrected = logits.astype(float)
    corrected[:, omitted_class] += found.offsets[0]
    softmax = np.exp(corrected) / np.exp(corrected).sum(axis=1, keepdims=True)
    assert softmax[:, omitted_class].mean() == pytest.approx(target, abs=1e-6)
    assert found.mean_probabilities_after[0] == pytest.approx(target, abs=1e-6)
    assert (found.offsets[0] > 0) == (found.mean_probabilities_before[0] < target)


@given(st.integers(0, 2**32), st.integers(0, 9), st.floats(0.02, 0.9), st.floats(-15, 15))
@settings(max_examples=40, deadline=None)
def test_newton_and_binary_search_agree_on_one_class(seed, omitted_class, target, shift):
    logits = random_logits(seed, shift=shift)
    searched = core.match_class_frequency(logits, omitted_class, target)
    solved = core.match_class_frequencies(logits, [omitted_class], [target])
    assert solved == pytest.approx([searched], abs=1e-5)


@given(st.integers(0, 2**32), st.sets(st.integers(0, 9), min_size=2, max_size=9), st.floats(-25, 25))
@settings(max_examples=60, deadline=None)
def test_the_vector_correction_meets_every_target_at_once(seed, omitted, shift):
    omitted = sorted(omitted)
    rng = np.random.default_rng(seed)
    logits = random_logits(seed, shift=shift)
    targets = rng.dirichlet(np.full(len(omitted) + 1, 2.0))[:-1]
    offsets = core.match_class_frequencies(logits, omitted, targets)
    corrected = logits.astype(float)
    corrected[:, omitted] += offsets
    softmax = np.exp(corrected) / np.exp(corrected).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(softmax[:, omitted].mean(axis=0), targets, atol=1e-8)


def test_the_vector_correction_against_iterative_scaling():
    """Another way to the same fixed point: multiply each class's odds by target / mean, again and again."""
    logits, omitted, targets = random_logits(5), [1, 3, 8], np.array([0.2, 0.05, 0.11])
    offsets = np.zeros(3)
    for _ in range(3000):
        corrected = logits.astype(float)
        corrected[:, omitted] += offsets
        softmax = np.exp(corrected) / np.exp(corrected).sum(axis=1, keepdims=True)
        offsets += np.log(targets / softmax[:, omitted].mean(axis=0))
    np.testing.assert_allclose(core.match_class_frequencies(logits, omitted, targets), offsets, atol=1e-6)


@pytest.mark.parametrize("targets", [(0.5, 0.5), (0.0, 0.1), (0.7, 0.6)])
def test_frequencies_that_no_offsets_reach(targets):
    logits = random_logits(0)
    assert core.match_class_frequencies(logits, [2, 3], targets) is None
    found = core.correct_bias(logits, [2, 3], targets)
    assert (found.reached, found.offsets) == (False, (0.0, 0.0))


def test_offsets_beyond_the_limit_are_said_and_nothing_is_changed():
    logits = random_logits(0)
    logits[:, 3] -= 1e4
    found = core.correct_bias(logits, [2, 3], [0.1, 0.1])
    assert (found.reached, found.offsets) == (False, (0.0, 0.0))


def test_the_mean_probability_rises_with_the_offset():
    logits = random_logits(1)
    means = [core.omitted_probabilities(logits, [3], [b]).mean() for b in np.linspace(-20, 20, 81)]
    assert (np.diff(means) > 0).all()
    softmax = core.softmax(logits.astype(float))[:, 3]
    np.testing.assert_allclose(core.omitted_probabilities(logits, [3], [0])[:, 0], softmax, rtol=1e-9)


def test_an_unreachable_target_is_said_and_nothing_is_changed():
    logits = np.zeros((10, 10), np.float32)
    logits[:, 3] = -1e4
    found = core.correct_bias(logits, [3], [0.1])
    assert (found.reached, found.offsets) == (False, (0.0,))
    assert found.mean_probabilities_after == found.mean_probabilities_before


def test_the_correction_changes_exactly_one_number(small_folder, tmp_path):
    config = core.Config(
        data_dir=small_folder, cache_dir=tmp_path, outdir=tmp_path, n_epochs_teacher=1, n_epochs_student=1,
        teacher_hidden=(20,), student_hidden=(10,), probe_size=200,
    )  # fmt: skip
    experiment = core.run(config)
    corrected = experiment.student.network.parameters.copy()
    stored = next((tmp_path / "runs").glob("student-*.npz"))
    with np.load(stored) as arrays:
        original = arrays["parameters"]
    changed = np.flatnonzero(corrected != original)
    assert len(changed) == 1
    network = core.MLP((784, 10, 10), np.random.default_rng(0))
    network.parameters[:] = 0
    network.output_biases[3] = 1
    assert changed[0] == np.flatnonzero(network.parameters)[0]
    assert corrected[changed[0]] - original[changed[0]] == pytest.approx(
        experiment.correction.offsets[0], abs=1e-5
    )
    # the network with that number changed gives the corrected logits that are reported
    with core.Workers() as workers:
        logits = core.predict(experiment.student.network, experiment.data.test_images, workers)
    np.testing.assert_allclose(logits, experiment.corrected_logits, atol=1e-5)
    target = (experiment.data.train_labels == 3).mean()
    assert experiment.correction.target_frequencies == pytest.approx((target,))
    assert experiment.correction.mean_probabilities_after == pytest.approx((target,), abs=1e-4)


def test_no_omitted_image_reaches_the_student(small_data, small_folder, tmp_path, monkeypatch):
    labels = np.random.default_rng(0).integers(0, 10, 5000)
    for omitted_class in range(10):
        indices = core.transfer_set(labels, [omitted_class])
        assert (labels[indices] != omitted_class).all()
        assert len(indices) == (labels != omitted_class).sum() == len(set(indices))

    indices = core.transfer_set(labels, [1, 4, 9])
    assert set(labels[indices]) == {0, 2, 3, 5, 6, 7, 8}
    assert len(core.transfer_set(labels, [])) == 5000

    seen: dict[tuple[int, ...], set[int]] = {}

    def spy(network, images, indices, loss, training, *rest):
        def watched(logits, batch, inputs):
            seen.setdefault(training.sizes, set()).update(batch.tolist())
            return loss(logits, batch, inputs)

        return train(network, images, indices, watched, training, *rest)

    train = core.train
    monkeypatch.setattr(core, "train", spy)
    core.run(
        core.Config(
            data_dir=small_folder,
            cache_dir=tmp_path,
            outdir=tmp_path,
            n_epochs_teacher=1,
            n_epochs_student=2,
            teacher_hidden=(20,),
            student_hidden=(10,),
            omitted_class=(7,),
        )
    )
    assert seen[784, 20, 10] == set(range(600))
    assert seen[784, 10, 10] == set(np.flatnonzero(small_data.train_labels != 7).tolist())


def test_the_student_depends_on_the_images_and_the_teacher_alone(small_data, tmp_path, workers):
    """Other labels on the transfer set, the same teacher: the same student, bit for bit."""
    rng = np.random.default_rng(0)
    labels = small_data.train_labels.copy()
    seen = labels != 3
    labels[seen] = rng.choice([c for c in range(10) if c != 3], seen.sum())
    config = core.Config(n_epochs_student=2, student_hidden=(30,), cache_dir=tmp_path, retrain=True)
    teacher = core.MLP((784, 20, 10), rng)
    console = Console(quiet=True)
    found = [
        core.train_student(config, dataclasses.replace(small_data, train_labels=y), teacher, workers, console)
        for y in (small_data.train_labels, labels)
    ]
    assert found[0].network.parameters.tobytes() == found[1].network.parameters.tobytes()


def student_loss(small_data, monkeypatch, workers, **settings):
    """The transfer set and the loss that `train_student` hands to `train`, and the teacher behind them."""
    caught = {}

    def catch(network, images, indices, loss, *rest):
        caught.update(indices=indices, loss=loss)

    monkeypatch.setattr(core, "train", catch)
    monkeypatch.setattr(np, "stack", lambda *_: np.zeros((0, 300, 10)))  # no epoch was trained
    config = core.Config(retrain=True, cache_dir=Path("/nonexistent"), **settings)
    teacher = core.MLP((784, 20, 10), np.random.default_rng(3))
    core.train_student(config, small_data, teacher, workers, Console(quiet=True))
    return caught["indices"], caught["loss"], core.predict(teacher, small_data.train_images, workers)


@pytest.mark.parametrize("hard_weight", [0.0, 0.3, 1.0])
def test_hard_weight_is_a_weighted_average_of_two_cross_entropies(
    hard_weight, small_data, monkeypatch, workers
):
    """Section 2, written out: (1 - w) T^2 KL(p || q at T) + w CE(labels, q at 1), and its slope."""
    temperature = 4.0
    indices, loss, teacher_logits = student_loss(
        small_data, monkeypatch, workers, hard_weight=hard_weight, temperature=temperature
    )
    batch, labels = indices[:30], small_data.train_labels
    z = np.random.default_rng(0).standard_normal((30, 10))

    def written_out(z):
        total = 0.0
        for i, index in enumerate(batch):
            p = np.exp(teacher_logits[index].astype(float) / temperature)
            q, q1 = np.exp(z[i] / temperature), np.exp(z[i])
            p, q, q1 = p / p.sum(), q / q.sum(), q1 / q1.sum()
            total += (1 - hard_weight) * temperature**2 * (p * np.log(p / q)).sum()
            total -= hard_weight * np.log(q1[labels[index]])
        return total / len(batch)

    value, gradient = loss(z, batch, None)
    assert value == pytest.approx(written_out(z), rel=1e-5)
    for i, j in ((0, 0), (3, 5), (17, 9), (29, int(labels[batch[29]]))):
        step = np.zeros_like(z)
        step[i, j] = 1e-5
        slope = (written_out(z + step) - written_out(z - step)) / 2e-5
        assert gradient[i, j] == pytest.approx(slope, rel=1e-4, abs=1e-8)


def test_a_fraction_of_the_transfer_set_is_repeated_to_its_length(small_data):
    labels = small_data.train_labels
    whole = core.transfer_set(labels, [3])
    for fraction, n_kept in ((0.5, round(0.5 * len(whole))), (0.1, round(0.1 * len(whole))), (1e-9, 1)):
        found = core.transfer_set(labels, [3], fraction, seed=5)
        images, counts = np.unique(found, return_counts=True)
        assert len(found) == len(whole)
        assert len(images) == n_kept
        assert set(images) <= set(whole)
        assert counts.max() - counts.min() <= 1
        np.testing.assert_array_equal(found, core.transfer_set(labels, [3], fraction, seed=5))
    others = core.transfer_set(labels, [3], 0.5, seed=6)
    assert set(others) != set(core.transfer_set(labels, [3], 0.5, seed=5))


@given(st.integers(0, 2**32), st.sets(st.integers(0, 9), min_size=1, max_size=9))
@settings(max_examples=40, deadline=None)
def test_errors_by_offset_against_counting(seed, omitted):
    omitted_class = sorted(omitted)
    logits = random_logits(seed, 120)
    labels = np.random.default_rng(seed + 1).integers(0, 10, 120)
    labels[0] = omitted_class[0]
    offsets = np.linspace(-9, 9, 37) + 1e-4
    errors, omitted_errors = core.errors_by_offset(logits, labels, omitted_class, offsets)
    for offset, all_of_them, on_omitted in zip(offsets, errors, omitted_errors, strict=True):
        wrong = shifted(logits, omitted_class, offset).argmax(axis=1) != labels
        assert (all_of_them, on_omitted) == (wrong.sum(), wrong[np.isin(labels, omitted_class)].sum())
    best = core.best_offset_on_test_set(logits, labels, omitted_class)
    wrong = shifted(logits, omitted_class, best["offset"]).argmax(axis=1) != labels
    assert best["test_errors"] == wrong.sum() <= errors.min()
    assert best["omitted_errors"] == wrong[np.isin(labels, omitted_class)].sum()


def shifted(logits: np.ndarray, omitted_class: list[int], offset: float) -> np.ndarray:
    logits = logits.astype(float)
    logits[:, omitted_class] += offset
    return logits


def test_metrics_against_counting():
    rng = np.random.default_rng(0)
    logits, labels = rng.standard_normal((500, 10)), rng.integers(0, 9, 500)  # no 9 among the labels
    metrics = core.evaluate(logits, labels, [3])
    predicted = logits.argmax(axis=1)
    assert metrics["test_errors"] == (predicted != labels).sum()
    assert metrics["test_accuracy"] == pytest.approx((predicted == labels).mean())
    for c in range(9):
        assert metrics["per_class_accuracy"][c] == pytest.approx((predicted == labels)[labels == c].mean())
        for k in range(10):
            assert metrics["confusion_matrix"][c][k] == ((labels == c) & (predicted == k)).sum()
    assert metrics["per_class_accuracy"][9] is None
    assert metrics["omitted_accuracy"] == metrics["per_class_accuracy"][3]
    assert metrics["omitted_errors"] == (predicted != 3)[labels == 3].sum()
    assert metrics["other_accuracy"] == pytest.approx((predicted == labels)[labels != 3].mean())

    several = core.evaluate(logits, labels, [3, 5, 9])
    mine = np.isin(labels, [3, 5, 9])
    assert several["omitted_accuracy"] == pytest.approx((predicted == labels)[mine].mean())
    assert several["omitted_errors"] == (predicted != labels)[mine].sum()
    assert several["other_accuracy"] == pytest.approx((predicted == labels)[~mine].mean())
    nothing = core.evaluate(logits, labels, [])
    assert (nothing["omitted_accuracy"], nothing["omitted_errors"]) == (None, 0)
    assert nothing["other_accuracy"] == nothing["test_accuracy"]
