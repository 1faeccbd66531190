"""Corrections of one logit, against brute force, Bayes' rule and the definition of the curve."""

from __future__ import annotations

from support.corrections import (
    OneAgainstAll,
    adjusted_prior,
    area_under,
    centred,
    corrected,
    counts,
    crossing,
    factor_and_offset,
    seen_unseen_curve,
)

import itertools

import numpy as np
import pytest
from plain_numpy import softmax

C = 3


@pytest.fixture
def labels() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 10, 400)


@pytest.fixture
def logits(labels) -> np.ndarray:
    """Of a network that is often right, and lacks a part of its logit for 3."""
    z = np.random.default_rng(0).normal(5, 2, (len(labels), 10)).astype(np.float32)
    z[np.arange(len(labels)), labels] += 7
    z[labels == C, C] -= 4
    return z


def by_hand(logits: np.ndarray, factor: float, offset: float) -> np.ndarray:
    """Image by image and class by class."""
    found = np.empty(logits.shape)
    for i, row in enumerate(logits.astype(float)):
        for c, z in enumerate(row):
            rest = z - sum(row) / 10
            found[i, c] = factor * rest + offset if c == C else rest
    return found


def test_centred_logits_say_the_same(logits):
    np.testing.assert_allclose(softmax(centred(logits)), softmax(logits.astype(float)), rtol=1e-9)
    np.testing.assert_allclose(centred(logits).mean(axis=1), 0, atol=1e-12)
    assert centred(logits).dtype == np.float64


def test_a_correction_touches_one_logit(logits):
    np.testing.assert_allclose(corrected(logits, C, 1.3, 0.7), by_hand(logits, 1.3, 0.7), atol=1e-12)
    moved = logits + np.random.default_rng(2).normal(0, 9, (len(logits), 1)).astype(np.float32)
    np.testing.assert_allclose(corrected(moved, C, 1.3, 0.7), corrected(logits, C, 1.3, 0.7), atol=1e-4)


def test_mean_probabilities_are_those_of_the_corrected_logits(logits):
    found = OneAgainstAll.of(logits, C).mean_probability(1.4, -0.6)
    assert found == pytest.approx(softmax(by_hand(logits, 1.4, -0.6))[:, C].mean(), rel=1e-9)


def test_offset_factor_or_both_bring_the_mean_probability_to_its_target(logits):
    one, target = OneAgainstAll.of(logits, C), 0.13
    assert one.mean_probability() < target
    offset, factor = one.offset_for(target), one.factor_for(target)
    both = factor_and_offset(one, target, -0.5)
    given = one.offset_for(target, 1.1)
    for f, b in ((1.0, offset), (factor, 0.0), both, (1.1, given)):
        assert softmax(by_hand(logits, f, b))[:, C].mean() == pytest.approx(target, abs=1e-8)
    assert both[0] * -0.5 + both[1] == pytest.approx(-0.5)  # the pivot stays
    assert given < offset
    assert both[0] < factor


def test_what_cannot_be_reached_is_none(logits):
    one = OneAgainstAll.of(logits, C)
    assert one.offset_for(1.5) is one.factor_for(0.9999) is factor_and_offset(one, 0.9999, 0.0) is None
    assert crossing(lambda x: x, 0, 1, -0.1) is None
    assert crossing(lambda x: x**3, -9, 9, 8.0) == pytest.approx(2, abs=1e-8)


def test_an_adjusted_prior_is_bayes_rule_with_the_other_prior():
    """Of a classifier that knows how likely each x is within each class."""
    rng = np.random.default_rng(3)
    of_x = rng.dirichlet(np.ones(6), 4)  # (classes, x)
    learned = np.array([0.3, 0.3, 0.399, 0.001])
    target = np.append(learned[:3] / learned[:3].sum() * 0.9, 0.1)  # the others as often as before
    logits = np.log(of_x * learned[:, None]).T
    logits[:, 3] += adjusted_prior(0.001, 0.1)
    joint = (of_x * target[:, None]).T
    np.testing.assert_allclose(softmax(logits), joint / joint.sum(axis=1, keepdims=True), rtol=1e-9)


def test_counts_are_those_of_a_loop(logits, labels):
    wrong = missed = false = 0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        guess = row.index(max(row))
        wrong += guess != label
        missed += label == C != guess
        false += guess == C != label
    assert 0 < false < wrong
    assert 0 < missed < wrong
    assert counts(logits, labels, C) == (wrong, missed, false)


def accuracies(logits: np.ndarray, labels: np.ndarray, offset: float) -> tuple[float, float]:
    shifted = logits.astype(float)
    shifted[:, C] += offset
    right, mine = shifted.argmax(axis=1) == labels, labels == C
    return right[mine].mean(), right[~mine].mean()


def test_the_curve_holds_every_pair_of_accuracies_that_an_offset_gives(logits, labels):
    unseen, seen = seen_unseen_curve(logits, labels, C)
    curve = set(zip(unseen.round(9), seen.round(9), strict=True))
    tried = np.concatenate(([-1e6, 1e6], np.linspace(-30, 30, 5000)))
    given = {tuple(np.round(accuracies(logits, labels, b), 9)) for b in tried}
    assert given <= curve
    assert len(given) > 60
    assert (unseen[0], unseen[-1], seen[-1]) == (0, 1, 0)
    assert (np.diff(unseen) >= 0).all()
    assert (np.diff(seen) <= 0).all()


def test_the_area_is_that_of_brute_force_and_of_a_perfect_network_1(logits, labels):
    z = logits.astype(float)
    margins = np.sort(np.delete(z, C, axis=1).max(axis=1) - z[:, C])
    offsets = [margins[0] - 1, *((margins[1:] + margins[:-1]) / 2), margins[-1] + 1]
    pairs, area = [accuracies(logits, labels, b) for b in offsets], 0.0
    for (u0, s0), (u1, s1) in itertools.pairwise(pairs):
        area += (u1 - u0) * (s0 + s1) / 2
    found = area_under(*seen_unseen_curve(logits, labels, C))
    assert 0.5 < found < 1
    assert found == pytest.approx(area, abs=1e-9)
    perfect = 20 * np.eye(10)[labels]
    assert area_under(*seen_unseen_curve(perfect, labels, C)) == 1


def test_where_both_change_at_once_the_area_is_that_of_a_straight_line():
    """One 3 and one 5, whose margins are the same: right is the one or the other."""
    logits = np.zeros((2, 10))
    logits[:, 5], logits[:, C] = 4, 1
    unseen, seen = seen_unseen_curve(logits, np.array([C, 5]), C)
    assert (unseen.tolist(), seen.tolist()) == ([0, 1], [1, 0])
    assert area_under(unseen, seen) == 0.5
