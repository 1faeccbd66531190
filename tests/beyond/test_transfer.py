"""Transfer sets without digits, answers with a part taken out, and what sets the bias; contradictions."""

from __future__ import annotations

from support.console import Console, UserError
from support.offsets import (
    add_offsets,
    best_offset_on_test_set,
    em_frequencies,
    match_class_frequencies,
    mean_probabilities,
    probability_of_omitted,
)
from support.stored import open_session
from support.tiles import Workers

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import distillation_mnist_omitted_3 as core
from beyond import pipeline
from beyond.answers import altered
from beyond.images import Drawing, described, draw_halves, nearness
from beyond.probes import with_share
from beyond.settings import DRAWN_SETS, EVERY_CLASS, Config
from synthetic import noise

RNG = np.random.default_rng


# noise


@pytest.mark.parametrize("sigma", [1.2, 2.0, 3.2])
def test_smoothed_noise_keeps_unit_variance_and_is_as_smooth_as_asked(sigma):
    f = noise.smooth(4000, sigma, RNG(0)).astype(float)
    assert f.std(axis=0) == pytest.approx(1, abs=0.08)  # at the border, too
    assert abs(f.mean()) < 0.02
    # the correlation of white noise under a Gaussian at distance d is exp(-d^2 / (4 sigma^2))
    for d in (1, 3):
        found = (f[:, 14, 12] * f[:, 14, 12 + d]).mean()
        assert found == pytest.approx(math.exp(-(d**2) / (4 * sigma**2)), abs=0.06)


def test_contour_lines_are_where_the_noise_is_near_zero():
    f = np.array([-1, -0.25, -0.15, 0, 0.2, 0.24, 0.3], np.float32)
    # (0.25 - |f|) / 0.1, cut to [0, 1]
    np.testing.assert_allclose(noise.lines(f, 0.25), [0, 0, 1, 1, 0.5, 0.1, 0], atol=1e-6)


def test_fading_is_as_described():
    row, column = 3, 20
    r = math.hypot(row - 13.5, column - 13.5)
    assert noise.fading()[row, column] == pytest.approx(math.exp(-((r / 11.3) ** 4)), rel=1e-5)
    assert noise.fading()[13, 13] > 0.999
    for kind in ("contours", "blobs"):
        ink = noise.DRAW[kind](500, RNG(1)).mean(axis=0)
        assert ink[13, 13] > 10 * max(ink[0, 0], ink[27, 0], 0.1)
    for kind in ("lines", "patches", "noise"):
        ink = noise.DRAW[kind](500, RNG(1)).mean(axis=0)
        assert 0.5 < ink[0, 0] / ink[13, 13] < 2


def test_an_edge_takes_a_tenth_of_a_standard_deviation_and_blobs_cover_what_lies_above_their_threshold():
    images = noise.draw_patches(2000, RNG(4))
    above = 0.5 * math.erfc((0.9 + 0.05) / math.sqrt(2))  # half of an edge is black
    assert (images > 127).mean() == pytest.approx(above, abs=0.01)


# transfer sets


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return RNG(0).integers(0, 256, (700, 28, 28), np.uint8)


def test_halves_are_the_upper_of_one_and_the_lower_of_another(images):
    for glued in draw_halves(images, 30, RNG(1)):
        assert (images[:, :14] == glued[:14]).all(axis=(1, 2)).sum() == 1
        assert (images[:, 14:] == glued[14:]).all(axis=(1, 2)).sum() == 1
    assert not any((images == glued).all(axis=(1, 2)).any() for glued in draw_halves(images, 5, RNG(1)))


@pytest.mark.bits
@pytest.mark.parametrize("kind", DRAWN_SETS)
def test_the_number_of_threads_changes_no_image(kind, images):
    found = []
    for n_threads in (1, 3):
        with Workers(n_threads) as workers:
            found.append(Drawing(kind, images, 5).images(range(700, 2500), workers))
    np.testing.assert_array_equal(*found)
    assert len(np.unique(found[0], axis=0)) > 1770  # hardly any a second time: some have no blob


@pytest.mark.parametrize("kind", ["contours", "halves"])
def test_an_image_is_the_same_whatever_is_drawn_with_it(kind, images):
    """Each block has its own generator, wherever the numbers start."""
    with Workers(1) as workers:
        drawing = Drawing(kind, images, 5)
        whole = drawing.images(range(3000), workers)
        np.testing.assert_array_equal(drawing.images(range(1500, 2700), workers), whole[1500:2700])
    assert (whole[:1000] != whole[1000:2000]).any(axis=(1, 2)).mean() > 0.99


def test_new_images_come_in_each_epoch_unless_their_number_is_given(images):
    with Workers(1) as workers:

        def epochs(n_different: int | None) -> list[bytes]:
            lesson = Drawing("contours", images, 5).lesson(4, n_different, None, workers)
            assert len(lesson.indices) == len(images)
            assert lesson.of_epoch(1).tobytes() == lesson.images.tobytes()
            return [lesson.of_epoch(epoch)[lesson.indices].tobytes() for epoch in (1, 2, 3, 4)]

        assert len(set(epochs(None))) == 4
        assert len(set(epochs(10**6))) == 4
        first, second, third, fourth = epochs(1400)
        assert (first, second) == (third, fourth)
        assert first != second
        few = Drawing("contours", images, 5).lesson(4, 100, None, workers)
        assert (few.n_different, len(few.images), few.drawn) == (100, 100, None)
        assert np.bincount(few.indices).tolist() == [7] * 100
        assert Drawing("contours", images, 5).lesson(4, None, None, workers).n_different == 2800


def test_the_first_images_of_a_transfer_set_are_different_ones_that_it_holds(images):
    lesson = core.Lesson(images, np.array([5, 2, 9, 5, 2]), None)
    np.testing.assert_array_equal(lesson.first(2), images[[2, 5]])
    np.testing.assert_array_equal(lesson.first(100), images[[2, 5, 9]])
    assert lesson.n_different == 3


def test_nearness_is_1_for_a_copy_and_the_cosine_with_the_nearest_otherwise(images):
    assert nearness(images[:20], images) == pytest.approx(1)
    ours, theirs = np.zeros((2, 2, 28, 28), np.uint8)
    ours[0, 0, :2] = 100  # cosines with theirs: sqrt(1/2), 0
    ours[1, 5, 5] = 255  # nothing in common
    theirs[0, 0, 0], theirs[1, 9, 9] = 200, 7
    assert nearness(ours, theirs) == pytest.approx(math.sqrt(1 / 2) / 2)
    many = np.concatenate([np.zeros((5000, 28, 28), np.uint8), theirs])  # beyond one piece
    assert nearness(ours, many) == pytest.approx(math.sqrt(1 / 2) / 2)


def test_what_results_json_says_of_a_drawn_transfer_set(images, monkeypatch):
    with Workers(1) as workers:
        lesson = Drawing("noise", images, 5).lesson(2, None, None, workers)
    logits = np.zeros((700, 10))
    logits[:350, 4] = 50.0

    def answers(teacher: str, given: np.ndarray, workers: Workers) -> np.ndarray:
        assert teacher == "the teacher"
        np.testing.assert_array_equal(given, lesson.images)
        return logits

    monkeypatch.setattr("beyond.images.predict", answers)
    found = described(lesson, images, "the teacher", workers)
    expected = np.full(10, 0.05)
    expected[4] = 0.55
    assert found["teacher_mean_probabilities"] == pytest.approx(expected.tolist())
    assert found["teacher_mean_largest"] == pytest.approx(0.55)
    assert (found["kind"], found["n_different"]) == ("noise", 1400)
    assert described(core.Lesson(images, np.arange(5), None), images, "the teacher", workers) is None


# the teacher's answers


def test_answers_keep_what_they_are_meant_to_keep():
    rng = RNG(6)
    logits, labels = rng.normal(size=(60, 10)), rng.integers(0, 5, 60)
    others = [c for c in range(10) if c not in (3, 7)]
    for how in ("mean", "class-mean", "shuffled"):
        found = altered(logits, labels, (3, 7), how, RNG(0))
        np.testing.assert_array_equal(found[:, others], logits[:, others])
        assert (found[:, 3] != logits[:, 3]).mean() > 0.7
    alone = altered(logits, labels, (3, 7), "alone", RNG(0))
    np.testing.assert_array_equal(alone[:, [3, 7]], logits[:, [3, 7]])
    mixed = altered(logits, labels, (3, 7), "shuffled", RNG(0))
    for label in range(5):
        mine = labels == label
        assert sorted(mixed[mine, 3]) == sorted(logits[mine, 3])  # within the class
        assert len(np.unique(alone[mine, 0])) == 1
        pairs = {tuple(pair) for pair in logits[mine][:, [3, 7]]}
        assert {tuple(pair) for pair in mixed[mine][:, [3, 7]]} == pairs  # both logits of one image


# the bias


def test_ten_offsets_meet_ten_frequencies_and_have_no_mean():
    logits = RNG(7).normal(0, 3, (500, 10))
    targets = RNG(8).dirichlet(np.full(10, 3.0))
    offsets = match_class_frequencies(logits, EVERY_CLASS, targets, core.log_softmax, 50)
    assert offsets.mean() == pytest.approx(0, abs=1e-12)
    found = core.softmax(add_offsets(logits, EVERY_CLASS, offsets)).mean(axis=0)
    np.testing.assert_allclose(found, targets, atol=1e-8)
    assert best_offset_on_test_set(logits, np.zeros(500, int), EVERY_CLASS) is None


def test_em_finds_the_frequencies_of_a_mixture_whose_classifier_is_exact():
    """Two and three Gaussians: the posteriors at the old frequencies are known, the new ones are found."""
    rng, old, new = RNG(9), np.array([0.2, 0.5, 0.3]), np.array([0.6, 0.1, 0.3])
    means = np.array([-2.0, 0.0, 3.0])
    x = rng.normal(means[rng.choice(3, 40_000, p=new)], 1.0)
    log_posterior = -((x[:, None] - means) ** 2) / 2 + np.log(old)
    found = em_frequencies(core.log_softmax(log_posterior), old)
    np.testing.assert_allclose(found, new, atol=0.012)
    # at the maximum of the likelihood, found by brute force along the way between two of the classes
    likelihood = np.exp(-((x[:, None] - means) ** 2) / 2)

    def log_likelihood(shift: float) -> float:
        return float(np.log(likelihood @ (found + shift * np.array([1, -1, 0]))).sum())

    assert log_likelihood(0) > max(log_likelihood(0.002), log_likelihood(-0.002))


@pytest.mark.parametrize("share", [0.01, 0.1, 0.3, 0.9])
def test_a_probe_has_the_share_that_was_asked_for_and_as_many_images_as_can_be(share):
    labels = RNG(10).integers(0, 10, 5000)
    chosen = with_share(labels, (3,), share, 10_000)
    mine = (labels[chosen] == 3).sum()
    assert mine / len(chosen) == pytest.approx(share, abs=0.002)
    assert (np.diff(chosen) > 0).all()
    n_mine, n_others = (labels == 3).sum(), (labels != 3).sum()
    assert mine == n_mine or len(chosen) - mine > n_others - 1 / share  # one of both is used up


@pytest.mark.parametrize("share", [0.02, 0.3])
def test_a_small_probe_has_that_share_too(share):
    labels = RNG(10).integers(0, 10, 5000)
    chosen = with_share(labels, (3,), share, 200)
    assert len(chosen) == pytest.approx(200, abs=2)
    assert (labels[chosen] == 3).mean() == pytest.approx(share, abs=0.005)


@given(st.floats(0.001, 0.999), st.integers(1, 400), st.integers(0, 100))
@settings(deadline=None)  # seconds are those of a machine that does something else, too
def test_a_probe_is_no_larger_than_asked_for_and_its_share_is_that_of_whole_images(share, size, seed):
    labels = RNG(seed).integers(0, 10, 300)
    n_mine = (labels == 3).sum()
    most = min(size, n_mine / share, (300 - n_mine) / (1 - share))
    try:
        chosen = with_share(labels, (3,), share, size)
    except UserError:
        assert min(share, 1 - share) * most < 2
        return
    assert len(chosen) > most - 1 / share - 1
    mine = (labels[chosen] == 3).sum()
    assert len(chosen) <= size
    assert len(set(chosen.tolist())) == len(chosen)
    assert abs(mine - share * len(chosen)) <= 0.5 + 1e-6


def test_all_ten_offsets_are_held_to_the_bound_by_their_distance_from_the_mean():
    """Whichever class comes first: here it is 60 below the others, which is 54 from the mean."""
    targets, logits = np.full(10, 0.1), np.zeros((50, 10))
    logits[:, 0] = 60
    for order in (range(10), range(9, -1, -1)):
        z = logits[:, list(order)]
        assert match_class_frequencies(z, EVERY_CLASS, targets, core.log_softmax, 50) is None
        found = match_class_frequencies(z, EVERY_CLASS, targets, core.log_softmax, 55)
        assert abs(found).max() == pytest.approx(54)
    logits[:, 0] = 55  # 49.5 and 5.5 from the mean
    found = match_class_frequencies(logits, EVERY_CLASS, targets, core.log_softmax, 50)
    np.testing.assert_allclose(found, [-49.5] + [5.5] * 9, atol=1e-6)


def test_a_class_that_never_occurs_is_named_before_anything_is_trained(small_data, tmp_path):
    few = small_data.train_labels != 7
    data = dataclasses.replace(
        small_data, train_images=small_data.train_images[few], train_labels=small_data.train_labels[few]
    )
    config = Config(correct="all", cache_dir=tmp_path)
    with (
        open_session(tmp_path, False, Console(quiet=True)) as session,
        pytest.raises(UserError, match=r"no image of class 7, so that its bias .* leave --correct all out"),
    ):
        pipeline.run_on_data(data, config, session)
    assert not list((tmp_path / "runs").iterdir())


# what is asked for, and how often


def test_hard_labels_alone_never_ask_the_teacher(small_data, workers, monkeypatch):
    config = Config(hard_weight=1.0, student_hidden=(4,))
    monkeypatch.setattr(core, "predict", None)
    lesson = pipeline.student_lesson(config, small_data, core.MLP((784, 3, 10), None), workers)
    logits, batch = RNG(0).normal(size=(6, 10)), lesson.indices[:6]
    value, gradient = lesson.loss(logits, batch, np.zeros((785, 6)))
    expected = core.cross_entropy(logits, small_data.train_labels[batch])
    assert value == expected[0]
    np.testing.assert_array_equal(gradient, expected[1])


def test_a_drawn_transfer_set_is_drawn_once(small_folder, tmp_path, monkeypatch):
    counter, original = Counter(), Drawing.lesson

    def counted(*arguments):
        counter.n += 1
        return original(*arguments)

    monkeypatch.setattr(Drawing, "lesson", counted)
    config = Config(
        transfer_set="contours", transfer_images=100, data_dir=small_folder, cache_dir=tmp_path,
        outdir=tmp_path, n_epochs_teacher=1, n_epochs_student=1, teacher_hidden=(8,), student_hidden=(8,),
    )  # fmt: skip
    for n_runs in (1, 2):
        experiment = pipeline.run(config)
        assert counter.n == n_runs
    assert experiment.student.reused
    assert experiment.lesson.n_different == 100


class Counter:
    n = 0


@pytest.mark.parametrize("share", [1e-6, 1 - 1e-6])
def test_a_probe_without_one_side_is_refused(share):
    said = "is no image, or every one; choose another share or a larger --probe-size"
    with pytest.raises(UserError, match=f"{said}$"):
        with_share(RNG(10).integers(0, 10, 500), (3,), share, 400)


def test_the_mean_probability_of_what_was_never_seen():
    logits, labels = RNG(11).normal(0, 4, (300, 10)).astype(np.float32), RNG(12).integers(0, 10, 300)
    for omitted, offset in (((3,), 0.0), ((3,), 2.5), ((1, 8), -1.0)):
        plain = core.softmax(add_offsets(logits.astype(float), omitted, [offset] * len(omitted)))
        plain = plain[:, list(omitted)].sum(axis=1)
        np.testing.assert_allclose(probability_of_omitted(logits, omitted, offset), plain, rtol=1e-9)
        mine = np.isin(labels, omitted)
        assert mean_probabilities(logits, labels, omitted, offset) == pytest.approx(
            {"on_omitted": plain[mine].mean(), "on_others": plain[~mine].mean(), "on_all": plain.mean()}
        )


# flags that exclude each other


DRAWN = {"transfer_set": "contours", "omitted_class": EVERY_CLASS}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (DRAWN | {"omitted_class": (3,)}, "--transfer-set contours shows no image of any class; leave --om"),
        (DRAWN | {"hard_weight": 0.1}, "has no labels; leave --hard-weight out"),
        (DRAWN | {"transfer_fraction": 0.5}, "for fewer images, say --transfer-images"),
        (DRAWN | {"teacher_answers": "mean"}, "--teacher-answers are for digits"),
        ({"transfer_images": 10}, "--transfer-images is for drawn transfer sets"),
        (
            {"transfer_choice": "most-like", "transfer_fraction": 0.5, "omitted_class": ()},
            "leave at least one",
        ),
        ({"transfer_choice": "most-like"}, "say how much with --transfer-fraction"),
        ({"teacher_answers": "mean", "hard_weight": 1.0}, "hears nothing of its teacher"),
        ({"teacher_answers": "mean", "jitter_student": 1}, "leave the student's transformations out"),
        ({"teacher_answers": "mean", "elastic_student": 1.0}, "leave the student's transformations out"),
        ({"spare_outputs": 3, "hard_weight": 0.5}, "--spare-outputs: the student hears nothing"),
        ({"spare_outputs": 1}, "take 2 or more"),
        ({"student_start": "teacher"}, "needs networks of one size"),
        ({"probe": "transfer", "hard_weight": 1.0}, "this one hears nothing of them; leave it out"),
        ({"probe": "transfer", "spare_outputs": 2}, "this one hears nothing of them; leave it out"),
        ({"probe": "transfer", "prior": "em"}, "--probe transfer takes its targets from the teacher"),
        ({"probe_share": 0.1, "omitted_class": ()}, "--probe-share is the share of classes left out"),
        (DRAWN | {"prior": "em"}, "--prior em needs to know"),
        ({"teacher_omitted_class": EVERY_CLASS}, "must be fewer than all classes"),
        (DRAWN | {"soft_part": "target"}, "the class of an image's label; leave --transfer-set"),
        ({"soft_part": "target", "spare_outputs": 2}, "leave --transfer-set and --spare-outputs out"),
        ({"soft_part": "target", "hard_weight": 1.0}, "leave --hard-weight 1 and"),
        ({"soft_part": "non-target", "probe": "transfer"}, "and --probe transfer out"),
        ({"mislabelled": (3, 3)}, "--mislabelled takes two different classes"),
        ({"mislabelled": (3,)}, "--mislabelled takes two different classes"),
        ({"mislabelled": (3, 5, 8)}, "--mislabelled takes two different classes"),
        ({"mislabelled_share": 0.5}, "--mislabelled-share is of what --mislabelled names"),
        ({"mislabelled": (3, 8), "teacher_omitted_class": (3,)}, "the teacher sees none of the first class"),
    ],
    ids=str,
)
def test_what_excludes_what_is_said_in_one_line(settings, said):
    with pytest.raises(UserError) as raised:
        Config(**settings)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_drawn_transfer_set_leaves_every_class_out_and_the_images_as_they_are():
    config = Config(**{"recipe": "best", "transfer_set": "blobs"})
    assert config.omitted_class == config.corrected_class == EVERY_CLASS
    assert not config.limits("student").change
    assert config.limits("teacher").elastic > 0
    assert config.probe_size == 60_000
    given = Config(**{"transfer_set": "blobs", "jitter_student": 2, "probe_size": 7})
    assert (given.jitter_student, given.probe_size) == (2, 7)
    assert Config(**{"recipe": "no-digit"}).transfer_set == "contours"
    on_digits = Config(**{"recipe": "no-digit", "transfer_set": "digits"})
    assert (on_digits.omitted_class, on_digits.n_epochs_student) == ((3,), 60)


def test_of_labels_alone_the_temperature_decides_only_what_the_teacher_chooses():
    """Likeness is the teacher's own at T, so that it is in the key of a student that hears labels alone."""

    def decisive(kind: str, temperature: float, choice: str) -> dict[str, object]:
        settings = {"hard_weight": 1.0, "transfer_fraction": 0.5, "transfer_choice": choice}
        return Config(temperature=temperature, **settings).decisive(kind)

    assert decisive("student", 2.0, "most-like") != decisive("student", 20.0, "most-like")
    assert decisive("student", 2.0, "random") == decisive("student", 20.0, "random")
    assert decisive("teacher", 2.0, "most-like") == decisive("teacher", 20.0, "most-like")
