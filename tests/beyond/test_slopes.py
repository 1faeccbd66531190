"""What is measured of a student's logits beside its teacher's: against loops, polyfit and made networks."""

from __future__ import annotations

from support.console import Console
from support.stored import open_session
from support.tiles import Workers

from dataclasses import replace

import numpy as np
import pytest

import distillation_mnist_omitted_3 as core
from beyond import pipeline, slopes
from beyond.images import Drawing
from beyond.settings import DRAWN_DEFAULTS, Config
from beyond.slopes import at_same_height, following, is_the_recipe, measured_slopes

TINY = {
    "recipe": "fast", "n_epochs_teacher": 8, "n_epochs_student": 12, "teacher_hidden": (60, 60),
    "student_hidden": (40,), "batch_size": 32,
}  # fmt: skip


@pytest.fixture(scope="module")
def made(small_data, tmp_path_factory):
    """An experiment of given settings on small data."""
    folder = tmp_path_factory.mktemp("cache")

    def experiment(**settings):
        config = Config(**{**TINY, "cache_dir": folder, **settings})
        with open_session(folder, False, Console(quiet=True)) as session:
            return pipeline.run_on_data(small_data, config, session)

    return experiment


@pytest.fixture(scope="module")
def usual(made):
    return made()


def rest(logits: np.ndarray) -> np.ndarray:
    return logits.astype(float) - logits.astype(float).mean(axis=1)[:, None]


def test_following_is_that_of_polyfit_and_of_means():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(10), 12)
    teacher = rng.normal(0, 3, (120, 10)) + 9 * np.eye(10)[labels]
    student = 0.7 * teacher + rng.normal(0.2, 0.5, (120, 10))
    found = following(student, teacher, labels, (3, 8))
    for place, c in enumerate((3, 8)):
        mine = labels == c
        t, s = teacher[:, c], student[:, c]
        wanted = {
            "ratio": sum(s[mine]) / sum(t[mine]),
            "slope": np.polyfit(t[mine], s[mine], 1)[0],
            "bias": np.mean([b - a for a, b, own in zip(t, s, mine, strict=True) if not own]),
            "slope_on_others": np.polyfit(t[~mine], s[~mine], 1)[0],
        }
        assert {key: found["unseen"][key][place] for key in wanted} == pytest.approx(wanted)
    ratios = [
        student[labels == c, c].mean() / teacher[labels == c, c].mean() for c in range(10) if c not in (3, 8)
    ]
    said = [found["seen"][key] for key in ("ratio", "lowest_ratio", "highest_ratio")]
    assert said == pytest.approx([np.mean(ratios), min(ratios), max(ratios)])
    assert following(student, teacher, labels, range(10))["seen"] is None
    few = labels != 8
    few[np.flatnonzero(labels == 8)[0]] = True  # one image has no slope
    found = following(student[few], teacher[few], labels[few], (8,))["unseen"]
    assert found["slope"] == found["ratio"]


def test_at_the_same_height_means_of_the_teachers_logit():
    teacher = np.array([5.9, 6.0, 11.9, 12.0, 8.0, 7.0])
    student = np.array([1.0, 3.0, 6.0, 1.0, 8.0, 6.5])
    mine = np.array([True, True, True, True, False, False])
    assert at_same_height(student, teacher, mine) == pytest.approx([9 / 17.9, 14.5 / 15])
    assert at_same_height(student, teacher, np.zeros(6, bool)) == [None, pytest.approx(23.5 / 32.9)]


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({}, True),
        ({"omitted_class": (5,), "seed": 7, "probe_size": 60_000}, True),
        ({"quiet": True, "retrain": True, "student_hidden": (50, 50)}, True),
        ({"temperature": 4}, False),
        ({"n_epochs_student": 2}, False),
        ({"hard_weight": 0.1}, False),
        ({"jitter_student": 1}, False),
    ],
)
def test_a_run_is_the_recipe_if_the_class_left_out_alone_differs(settings, wanted):
    assert is_the_recipe(Config(recipe="fast", **settings)) == wanted


def count(experiment, factor: float, offset: float) -> list[int]:
    z = rest(experiment.student_logits)
    z[:, 3] = factor * z[:, 3] + offset
    guess, labels = z.argmax(axis=1), experiment.data.test_labels
    return [int((guess != labels).sum()), int(((labels == 3) & (guess != 3)).sum()),
            int(((labels != 3) & (guess == 3)).sum())]  # fmt: skip


def mean_p(logits: np.ndarray, factor: float = 1, offset: float = 0) -> float:
    z = rest(logits)
    z[:, 3] = factor * z[:, 3] + offset
    return float(core.softmax(z)[:, 3].mean())


def said(experiment, images: np.ndarray) -> list[np.ndarray]:
    """The student's and the teacher's logits."""
    with Workers() as workers:
        return [core.predict(experiment.runs[k].network, images, workers) for k in ("student", "teacher")]


def area_by_hand(logits: np.ndarray, labels: np.ndarray, threes: np.ndarray) -> float:
    """Under the accuracies on 3s and on others, offset by offset."""
    pairs = []
    for b in np.linspace(-40, 40, 8001):
        right = (logits + b * (np.arange(10) == 3)).argmax(axis=1) == labels
        pairs.append((right[threes].mean(), right[~threes].mean()))
    u, s = np.transpose(pairs)
    return float(((s[1:] + s[:-1]) / 2 * np.diff(u)).sum())


def test_every_correction_does_what_sets_it(usual, workers):
    found = measured_slopes(usual, workers, None)
    images, labels = usual.data.train_images, usual.data.train_labels
    student, teacher = said(usual, images[labels != 3])
    settings = {name: (one["factor"], one["offset"]) for name, one in found["corrections"].items()}
    share = float((labels == 3).mean())
    for name in ("offset", "factor", "both"):
        assert mean_p(usual.probe_logits, *settings[name]) == pytest.approx(share, abs=1e-4), name
    assert settings["offset"][1] == pytest.approx(usual.correction.offsets[0], abs=1e-3)
    assert mean_p(student, *settings["transfer"]) == pytest.approx(mean_p(teacher), abs=1e-4)
    assert settings["none"] == (1, 0)
    factor, offset = settings["both"]
    middle = rest(student)[:, 3].mean()
    assert factor * middle + offset == pytest.approx(middle, abs=1e-3)
    glued = Drawing("halves", usual.lesson.first(10_000), 73).images(range(slopes.N_GLUED), workers)
    ours, theirs = said(usual, glued)
    taken = theirs.argmax(axis=1) == 3
    factor = rest(theirs)[taken, 3].sum() / rest(ours)[taken, 3].sum()
    assert settings["glued"] == (pytest.approx(factor, abs=1e-3), 0)
    p = mean_p(teacher)
    assert settings["prior"] == (1, pytest.approx(np.log(share / (1 - share) * (1 - p) / p), abs=1e-3))
    for name, one in found["corrections"].items():
        assert one["counts"] == count(usual, *settings[name]), name
    of_3 = usual.data.train_images[usual.data.train_labels == 3]
    ours, theirs = (rest(z)[:, 3].mean() for z in said(usual, of_3))
    assert found["ratio_on_training"] == [pytest.approx(ours / theirs, abs=1e-4)]
    offsets = np.linspace(-20, 20, 4001)
    labels, on_probe = usual.data.train_labels, usual.probe_logits.astype(float)
    errors = [
        (np.where(np.arange(10) == 3, on_probe + b, on_probe).argmax(axis=1) != labels).sum() for b in offsets
    ]
    at_best = np.where(np.arange(10) == 3, on_probe + found["best_offset_on_training"], on_probe)
    assert (at_best.argmax(axis=1) != labels).sum() == min(errors)
    logits, labels = usual.student.test_logits[-1].astype(float), usual.data.test_labels
    bent = rest(logits) * np.where(np.arange(10) == 3, settings["factor"][0], 1)
    for name, z in (("student", logits), ("factor", bent), ("teacher", usual.teacher.test_logits[-1])):
        assert found["area"][name] == pytest.approx(area_by_hand(z, labels, labels == 3), abs=1e-3), name
    assert all(found[key] is None for key in ("predictors", "by_factor", "by_offset", "points"))


def test_of_the_recipe_itself_errors_are_counted_along_the_way_and_points_kept(usual, workers, monkeypatch):
    monkeypatch.setattr(slopes, "is_the_recipe", lambda config: True)
    monkeypatch.setattr(slopes, "N_VALID", 100)
    monkeypatch.setattr(slopes, "SHOWN", (0, 3, (40,)))
    found = measured_slopes(usual, workers, None)
    for place in (0, 7, len(slopes.FACTORS) - 1):
        assert [one[place] for one in found["by_factor"]] == count(usual, slopes.FACTORS[place], 0)
    assert [one[3] for one in found["by_offset"]] == count(usual, 1, slopes.OFFSETS[3])
    teacher, student = (rest(usual.runs[k].test_logits[-1])[:, 3] for k in ("teacher", "student"))
    (t3, s3), (t, s) = found["points"]
    mine = usual.data.test_labels == 3
    assert t3 == teacher[mine][:150].round(2).tolist()
    assert s3 == student[mine][:150].round(2).tolist()
    assert t == teacher[~mine][:300].round(2).tolist()
    assert s == student[~mine][:300].round(2).tolist()
    assert found["at_best"] == slopes.at_best(usual.student_logits, usual.data.test_labels, 3)
    assert set(found["predictors"]["linear"]) == {"pixels", "random", "teacher"}
    other = measured_slopes(replace(usual, config=Config(**TINY, seed=10)), workers, None)
    assert other["points"] is None
    assert other["by_factor"] == found["by_factor"]


def best_linear(fitted, held_out, features: np.ndarray) -> np.ndarray:
    """What the best of all penalties gives for 3; (features, targets) to fit, and to choose by."""
    (x, y), (x_held, y_held), found = fitted, held_out, []
    middle, d = x.mean(axis=0), x.shape[1]
    for penalty in slopes.PENALTIES:
        scale = penalty * ((x - middle) ** 2).sum() / d
        rows = np.vstack([x - middle, np.sqrt(scale) * np.eye(d)])
        w = np.linalg.lstsq(rows, np.vstack([y - y.mean(axis=0), np.zeros((d, 10))]), rcond=None)[0]
        given = [(part - middle) @ w + y.mean(axis=0) for part in (x_held, features)]
        found.append((((given[0] - y_held) ** 2).sum(), given[1][:, 3]))
    return min(found, key=lambda one: one[0])[1]


def test_a_linear_student_is_the_best_of_its_penalties(usual, monkeypatch):
    monkeypatch.setattr(slopes, "N_VALID", 100)
    monkeypatch.setattr(slopes, "N_RANDOM", 40)
    learned, tested = usual.lesson.first(10_000), usual.data.test_images[usual.data.test_labels == 3]
    targets = rest(said(usual, learned)[1])
    found = slopes.predictors(usual, 3, learned, targets)
    wanted = rest(usual.teacher.test_logits[-1])[usual.data.test_labels == 3, 3]
    images = {"learned": learned.reshape(-1, 784) / 255, "tested": tested.reshape(-1, 784) / 255}
    layer, rng = usual.teacher.network.layers[0], np.random.default_rng(71)
    at_random = rng.standard_normal((784, 40), np.float32) * np.sqrt(2 / 784)
    for name, weights, biases in (("teacher", layer[:, :-1].T, layer[:, -1]), ("random", at_random, 0)):
        x = {key: np.maximum(one @ weights + biases, 0) for key, one in images.items()}
        parts = (x["learned"][:-100], targets[:-100]), (x["learned"][-100:], targets[-100:])
        given = best_linear(*parts, x["tested"])
        one = found["linear"][name]
        assert one["ratio"] == pytest.approx(given.mean() / wanted.mean(), rel=1e-3)
        residual = np.sqrt(((given - wanted) ** 2).mean() / (wanted**2).mean())
        assert one["residual"] == pytest.approx(residual, rel=1e-3)
    seen = images["learned"]
    nearest = [np.sqrt(((one - seen) ** 2).sum(axis=1)).min() for one in images["tested"]]
    assert found["nearest"] == pytest.approx(np.mean(nearest), rel=1e-4)


def test_what_is_linear_in_pixels_a_linear_student_of_pixels_finds(usual, monkeypatch):
    weights = np.random.default_rng(4).normal(0, 0.1, (784, 10))

    def logits(images: np.ndarray) -> np.ndarray:
        return images.reshape(len(images), -1) / 255 @ weights

    of_tests = [logits(usual.data.test_images).astype(np.float32)]
    experiment = replace(usual, runs=usual.runs | {"teacher": replace(usual.teacher, test_logits=of_tests)})
    monkeypatch.setattr(slopes, "N_VALID", 100)
    monkeypatch.setattr(slopes, "N_RANDOM", 5)
    learned = usual.lesson.first(10_000)
    found = slopes.predictors(experiment, 3, learned, rest(logits(learned)))["linear"]
    assert found["pixels"]["residual"] < 0.5 < found["random"]["residual"]


def test_several_classes_left_out_have_ratios_and_no_correction(made, workers):
    several = made(omitted_class=(3, 5))
    found = measured_slopes(several, workers, None)
    assert len(found["unseen"]["ratio"]) == len(found["ratio_on_training"]) == 2
    assert all(found[name] is None for name in slopes.PERHAPS)
    drawn = made(transfer_set="contours", **DRAWN_DEFAULTS, transfer_images=64, n_epochs_student=1)
    found = measured_slopes(drawn, workers, None)
    assert found["seen"] is None
    assert len(found["unseen"]["slope"]) == 10


def test_at_its_best_a_correction_is_counted_where_it_was_not_chosen(usual):
    """An offset by hand: the first of the best on even images, counted on odd ones; and turned round."""
    found = slopes.at_best(usual.student_logits, usual.data.test_labels, 3)
    z, labels = rest(usual.student_logits), usual.data.test_labels
    total = np.zeros(3, int)
    for chosen_on, counted_on in ((0, 1), (1, 0)):
        errors = []
        for b in slopes.OFFSETS:
            guess = (z + b * (np.arange(10) == 3)).argmax(axis=1)
            errors.append((guess != labels)[chosen_on::2].sum())
        guess = (z + slopes.OFFSETS[int(np.argmin(errors))] * (np.arange(10) == 3)).argmax(axis=1)
        wrong, mine = guess != labels, labels == 3
        parts = (wrong, wrong & mine, (guess == 3) & ~mine)
        total += [part[counted_on::2].sum() for part in parts]
    assert found["offset"] == total.tolist()
    least = {name: min(count(usual, *one)[0] for one in grid) for name, grid in slopes.GRIDS.items()}
    assert all(found[name][0] >= least[name] for name in least)  # chosen on all, counted on all
    assert set(found) == {"offset", "factor", "both"}
