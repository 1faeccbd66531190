"""How often a class occurs without labels, and what the studies measure with it."""

from __future__ import annotations

from support.console import Console
from support.stored import open_session

import numpy as np
import pytest
from small_studies import tiny_configs

import distillation_mnist_omitted_3 as core
from beyond import pipeline
from studies import images, prior, spread
from studies.shares import black_box_shares, calibrated_em_shares, calibration
from studies.study import Run


def sampled(shares: np.ndarray, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and logits of a classifier that is too sure and biased, where three Gaussians meet."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, n, p=shares)
    centres = np.array([[0.0, 0.0], [1.5, 0.0], [0.0, 1.5]])
    x = centres[labels] + rng.standard_normal((n, 2))
    true = x @ centres.T - (centres**2).sum(axis=1) / 2  # log posteriors where classes are equally frequent
    return labels, 1.7 * true + np.array([0.5, -1.0, 0.0])


def test_both_estimates_find_the_shares_of_another_mixture():
    labels, logits = sampled(np.full(3, 1 / 3), 40_000, 0)
    mixture = np.array([0.1, 0.2, 0.7])
    _, new = sampled(mixture, 40_000, 1)
    found = black_box_shares(logits.argmax(axis=1), labels, new.argmax(axis=1), 3)
    assert found == pytest.approx(mixture, abs=0.02)
    assert calibrated_em_shares(logits, labels, new) == pytest.approx(mixture, abs=0.02)
    uncalibrated = np.exp(core.log_softmax(new)).mean(axis=0)
    assert np.abs(uncalibrated - mixture).max() > 0.05  # so that there is something to find


def test_black_box_estimation_inverts_the_confusion_matrix():
    labels = np.array([0] * 10 + [1] * 10)
    predicted = np.array([0] * 9 + [1] + [1] * 8 + [0] * 2)
    new = np.array([0] * 55 + [1] * 45)  # 0.9 q + 0.2 (1 - q) = 0.55
    assert black_box_shares(predicted, labels, new, 2) == pytest.approx([0.5, 0.5])
    assert black_box_shares(predicted, labels, np.ones(10, int), 2).tolist() == [0, 1]  # none below 0
    never = black_box_shares(np.zeros(20, int), labels, np.zeros(10, int), 2)
    assert never == pytest.approx([0.5, 0.5])  # nothing tells them apart


def test_calibration_has_the_largest_likelihood():
    labels, logits = sampled(np.array([0.5, 0.3, 0.2]), 2000, 2)
    found = calibration(logits, labels)

    def loss(at: np.ndarray) -> float:
        return -core.log_softmax(at[0] * logits + at[1:])[np.arange(len(labels)), labels].mean()

    assert found[-1] == 0
    for place in range(3):  # it is concave: no step along an axis of its own is better
        for step in (-1e-3, 1e-3):
            moved = found.copy()
            moved[place] += step
            assert loss(moved) > loss(found)
    assert found[0] == pytest.approx(1 / 1.7, abs=0.1)


def test_components_of_the_spread_by_mean_squares():
    rng = np.random.default_rng(3)
    values = rng.standard_normal((5, 1)) * 3 + rng.standard_normal((1, 4)) * 2 + rng.standard_normal((5, 4))
    grand = values.mean()
    rows = 4 * sum((row.mean() - grand) ** 2 for row in values) / 4
    columns = 5 * sum((column.mean() - grand) ** 2 for column in values.T) / 3
    rest = sum(
        (values[i, j] - values[i].mean() - values[:, j].mean() + grand) ** 2
        for i in range(5)
        for j in range(4)
    ) / (4 * 3)
    found = spread.components(values)
    assert found["both"] == pytest.approx(rest**0.5)
    assert found["teacher"] == pytest.approx(((rows - rest) / 4) ** 0.5)
    assert found["student"] == pytest.approx(((columns - rest) / 5) ** 0.5)
    assert spread.components(np.tile([1.0, 2.0], (3, 1)))["teacher"] == 0
    assert all(np.isnan(sd) for sd in spread.components(values[:1]).values())


@pytest.fixture(scope="module")
def experiment(small_data, tmp_path_factory):
    config = tiny_configs(tmp_path_factory.mktemp("cache"), probe_size=300)[0]
    with open_session(config.cache_folder, None, Console(quiet=True)) as session:
        yield pipeline.run_on_data(small_data, config, session)


def probability_of_3(logits: np.ndarray, offset: float) -> np.ndarray:
    z = logits.astype(float)
    z[:, 3] += offset
    return (np.exp(z) / np.exp(z).sum(axis=1, keepdims=True))[:, 3]


def test_each_way_matches_its_share_and_counts_its_errors(experiment, monkeypatch):
    monkeypatch.setattr(prior, "N_LABELLED", 200)
    with core.Workers() as workers:
        found = prior.measure(experiment, workers, None)
        teacher = core.predict(experiment.teacher.network, experiment.data.train_images[:300], workers)
    assert set(found["ways"]) == {prior.NONE, *prior.WAYS} - {prior.EM}
    labels, logits = experiment.data.test_labels, experiment.student_logits
    assert found["n_omitted"] == sum(label == 3 for label in labels)
    shares = {name: way["share"] for name, way in found["ways"].items()}
    assert shares[prior.TRUTH] == pytest.approx(np.mean(experiment.data.train_labels[:300] == 3))
    assert shares[prior.TRAINING] == pytest.approx(np.mean(experiment.data.train_labels == 3))
    assert shares[prior.TEACHER] == pytest.approx(probability_of_3(teacher, 0).mean(), rel=1e-5)
    for name, way in found["ways"].items():
        if name != prior.NONE and way["offset"]:
            p = probability_of_3(experiment.probe_logits, way["offset"])
            assert p.mean() == pytest.approx(way["share"])
        moved = logits.astype(float)
        moved[:, 3] += way["offset"]
        wrong = moved.argmax(axis=1) != labels
        assert (way["on_omitted"], way["on_others"]) == (wrong[labels == 3].sum(), wrong[labels != 3].sum())


def test_errors_on_a_mixture_are_those_of_a_test_set_of_it():
    """100 of 400 images are 3s, 10 of them wrong, and 6 of the others; 30 % of 10,000 are 3,000."""
    record = {"data": {"n_test": 400}, "further": {"n_omitted": 100}}
    run = Run("prior", {}, None, record)
    assert prior.on_mixture(run, 0.3, 10, 6) == pytest.approx(3000 * 0.1 + 7000 * 0.02)


def test_false_3s_and_the_images_of_each_class_are_counted(experiment):
    found = images.measure(experiment, None, None)
    labels = experiment.data.test_labels.tolist()
    for when, logits in (("before", experiment.student_logits), ("after", experiment.corrected_logits)):
        guesses = logits.argmax(axis=1).tolist()
        pairs = list(zip(guesses, labels, strict=True))
        assert found[when] == sum(guess == 3 != label for guess, label in pairs)
    counts = [int((experiment.data.train_labels == c).sum()) for c in range(10)]
    counts[3] = 0
    assert found["kept"] == counts
