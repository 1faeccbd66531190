"""The bias correction and the metrics."""

from __future__ import annotations

from support import offsets

import numpy as np
import plain_numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import distillation_mnist_omitted_3 as core
from beyond.images import part_of


def match_class_frequencies(logits, omitted_class, targets):
    return offsets.match_class_frequencies(logits, omitted_class, targets, core.log_softmax, core.MAX_OFFSET)


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
    corrected = plain_numpy.softmax(shifted(logits, [omitted_class], found.offsets[0]))
    assert corrected[:, omitted_class].mean() == pytest.approx(target, abs=1e-6)
    assert found.mean_probabilities_after[0] == pytest.approx(target, abs=1e-6)
    before = plain_numpy.softmax(logits.astype(float))
    assert found.mean_probabilities_before[0] == pytest.approx(before[:, omitted_class].mean(), abs=1e-9)
    assert (found.offsets[0] > 0) == (found.mean_probabilities_before[0] < target)


@given(st.integers(0, 2**32), st.sets(st.integers(0, 9), min_size=1, max_size=9), st.floats(-25, 25))
@settings(max_examples=60, deadline=None)
def test_the_vector_correction_meets_every_target_at_once(seed, omitted, shift):
    omitted = sorted(omitted)
    rng = np.random.default_rng(seed)
    logits = random_logits(seed, shift=shift)
    targets = rng.dirichlet(np.full(len(omitted) + 1, 2.0))[:-1]
    corrected = shifted(logits, omitted, match_class_frequencies(logits, omitted, targets))
    means = plain_numpy.softmax(corrected)[:, omitted].mean(axis=0)
    np.testing.assert_allclose(means, targets, atol=1e-8)


@pytest.mark.parametrize("targets", [(0.5, 0.5), (0.0, 0.1), (0.7, 0.6)])
def test_frequencies_that_no_offsets_reach(targets):
    logits = random_logits(0)
    assert match_class_frequencies(logits, [2, 3], targets) is None
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


def test_without_an_omitted_class_there_is_nothing_to_correct():
    found = core.correct_bias(random_logits(0), [], [])
    assert (found.reached, found.offsets, found.target_frequencies) == (True, (), ())
    assert (found.mean_probabilities_before, found.probe_size) == ((), 400)


def test_the_transfer_set_is_in_the_order_of_the_images():
    np.testing.assert_array_equal(core.images_without(np.array([1, 3, 2, 3, 3, 5]), [3]), [0, 2, 5])


def test_a_fraction_of_the_transfer_set_is_repeated_to_its_length(small_data):
    labels = small_data.train_labels
    whole = core.images_without(labels, [3])
    for fraction, n_kept in ((0.5, round(0.5 * len(whole))), (0.1, round(0.1 * len(whole))), (1e-9, 1)):
        found = part_of(whole, fraction, seed=5)
        images, counts = np.unique(found, return_counts=True)
        assert len(found) == len(whole)
        assert len(images) == n_kept
        assert set(images) <= set(whole)
        assert counts.max() - counts.min() <= 1
        np.testing.assert_array_equal(found, part_of(whole, fraction, seed=5))
    others = part_of(whole, 0.5, seed=6)
    assert set(others) != set(part_of(whole, 0.5, seed=5))


@given(st.integers(0, 2**32), st.sets(st.integers(0, 9), min_size=1, max_size=9))
@settings(max_examples=40, deadline=None)
def test_errors_by_offset_against_counting(seed, omitted):
    omitted_class = sorted(omitted)
    logits = random_logits(seed, 120)
    labels = np.random.default_rng(seed + 1).integers(0, 10, 120)
    labels[0] = omitted_class[0]
    tried = np.linspace(-9, 9, 37) + 1e-4
    errors, omitted_errors = offsets.errors_by_offset(logits, labels, omitted_class, tried)
    for offset, all_of_them, on_omitted in zip(tried, errors, omitted_errors, strict=True):
        wrong = shifted(logits, omitted_class, offset).argmax(axis=1) != labels
        assert (all_of_them, on_omitted) == (wrong.sum(), wrong[np.isin(labels, omitted_class)].sum())
    best = offsets.best_offset_on_test_set(logits, labels, omitted_class)
    wrong = shifted(logits, omitted_class, best["offset"]).argmax(axis=1) != labels
    assert best["test_errors"] == wrong.sum() <= errors.min()
    assert best["omitted_errors"] == wrong[np.isin(labels, omitted_class)].sum()


def shifted(logits: np.ndarray, omitted_class: list[int], offset: float | np.ndarray) -> np.ndarray:
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
            assert type(metrics["confusion_matrix"][c][k]) is int  # as results.json is to hold it
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


def test_the_best_offset_may_lie_beyond_all_margins():
    """Where no image should go to the omitted class, half below the least margin; where all, half above."""
    logits = np.array([[0.0, 2.0], [0.0, 3.0], [0.0, 5.5]])  # margins of class 1: -2, -3, -5.5
    none = offsets.best_offset_on_test_set(logits, np.array([0, 0, 0]), [1])
    assert none == {"offset": pytest.approx(-6.0), "test_errors": 0, "omitted_errors": 0}
    every = offsets.best_offset_on_test_set(logits, np.array([1, 1, 1]), [1])
    assert every == {"offset": pytest.approx(-1.5), "test_errors": 0, "omitted_errors": 0}
    between = offsets.best_offset_on_test_set(logits, np.array([0, 0, 1]), [1])
    assert between == {"offset": pytest.approx(-4.25), "test_errors": 0, "omitted_errors": 0}


def test_images_of_one_rank_are_kept_in_their_order():
    """Where the teacher finds many alike, the first are taken, however the processor sorts."""
    rank = np.repeat([2.0, 1.0], 500)
    kept = part_of(np.arange(1000), 0.75, 0, rank)
    assert list(dict.fromkeys(kept.tolist())) == [*range(500, 1000), *range(250)]
