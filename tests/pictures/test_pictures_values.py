"""What every picture of an experiment draws, held against logits, labels and the images themselves."""

from __future__ import annotations

from support.charts import AFTER, BEFORE, INK, OMITTED, OTHERS, TEACHER

import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb
from small_pictures import (
    DRAWN,
    answers,
    bars_of,
    counted_errors,
    draw,
    error_share,
    named_lines,
    pixels_of,
    softmaxed,
    with_offsets,
    words_of,
)

import distillation_mnist_omitted_3 as core
from pictures import knowledge
from pictures.correction import bias_correction, fates, omitted_examples
from pictures.knowledge import dark_knowledge, imagined, transfer_set, transformations, typical_starts
from pictures.learning import per_class_accuracy, student_curves, teacher_curves


def logits_of(experiment: core.Experiment) -> dict[str, np.ndarray]:
    """Test logits of the teacher and of the student before and after the correction, added by hand."""
    correction, before = experiment.correction, experiment.student.test_logits[-1]
    after = with_offsets(before, correction.classes, correction.offsets)
    found = {"teacher": experiment.teacher.test_logits[-1], "before": before, "after": after}
    wrong = {name: counted_errors(z, experiment.data)[0] for name, z in found.items()}
    assert len(set(wrong.values())) == 3, wrong  # so that no two can stand for each other
    return found


# ---- How both learn ----------------------------------------------------------------------------------------


def test_the_teachers_curves_are_its_own(made):
    experiment = made()
    figure = draw(teacher_curves, experiment)
    left, right = figure.axes
    ((epochs, losses),) = [line.get_data() for line in left.lines]
    assert list(epochs) == list(range(1, 9))
    np.testing.assert_array_equal(losses, experiment.teacher.losses)
    assert left.get_title(loc="left") == "training loss: cross-entropy (log scale)"
    ((epochs, shares),) = [line.get_data() for line in right.lines]
    expected = [error_share(z, experiment.data) for z in experiment.teacher.test_logits]
    np.testing.assert_allclose(shares, expected)
    assert list(epochs) == list(range(1, 9))
    assert right.get_title(loc="left") == "errors on 300 test images (log scale)"
    n = counted_errors(experiment.teacher.test_logits[-1], experiment.data)[0]
    assert f"after epoch 8: {n} errors, {n / 3:.2f} %" in words_of(right)
    assert figure.get_suptitle() == "The teacher learns all ten classes from hard labels"
    assert (left.get_yscale(), right.get_yscale()) == ("log", "log")


@pytest.mark.parametrize("omitted", [(3,), (3, 8)])
def test_the_students_curves_are_its_own_and_end_where_the_correction_brings_it(omitted, made):
    experiment = made(omitted_class=omitted)
    left, right = draw(student_curves, experiment).axes
    (losses,) = [line.get_ydata() for line in left.lines]
    np.testing.assert_array_equal(losses, experiment.student.losses)
    seen = [c for c in range(10) if c not in omitted]
    after = logits_of(experiment)["after"]
    name = "class 3, never seen" if len(omitted) == 1 else "classes 3, 8, never seen"
    curves, lines = named_lines(right), right.lines
    assert set(curves) == {name, "all classes", "the classes it sees"}
    for label, classes, colour in (
        (name, omitted, OMITTED), ("all classes", range(10), BEFORE), ("the classes it sees", seen, OTHERS),
    ):  # fmt: skip
        points, drawn = curves[label]
        expected = [error_share(z, experiment.data, classes) for z in experiment.student.test_logits]
        np.testing.assert_allclose(points, np.column_stack((range(1, 6), expected)))
        assert drawn == colour
        mine = [line for line in lines if line.get_color() == colour]
        (star,) = [line for line in mine if line.get_marker() == "*"]
        assert star.get_ydata() == pytest.approx([error_share(after, experiment.data, classes)])
        (jump,) = [line for line in mine if line.get_linestyle() == ":"]
        np.testing.assert_allclose(jump.get_xydata(), np.vstack((points[-1:], star.get_xydata())))
    (border,) = [line.get_xdata() for line in lines if line.get_color() == AFTER]
    assert 5 < border[0] < star.get_xdata()[0]
    before = 100 * (1 - error_share(experiment.student.test_logits[-1], experiment.data, omitted))
    shares = before, 100 * (1 - error_share(after, experiment.data, omitted))
    assert f"before and after the correction: {shares[0]:.2f} → {shares[1]:.2f} %" in words_of(right)
    assert right.get_title(loc="left") == "test errors (log scale)"
    assert left.get_title(loc="left") == "T² KL(teacher ‖ student), log scale"


def test_a_student_without_digits_has_one_curve(made):
    experiment = made(**DRAWN)
    figure = draw(student_curves, experiment)
    ((label, (points, colour)),) = named_lines(figure.axes[1]).items()
    assert (label, colour) == ("all digits", BEFORE)
    np.testing.assert_allclose(
        points[:, 1], [error_share(z, experiment.data) for z in experiment.student.test_logits]
    )
    assert (
        figure.get_suptitle()
        == "The student sees contour lines of noise and no digit, and learns to read digits"
    )


@pytest.mark.parametrize("settings", [{}, {"omitted_class": (3, 8)}, {"correct": "all"}, DRAWN], ids=str)
def test_each_mark_is_the_accuracy_of_its_network_on_its_class(settings, made):
    experiment = made(**settings)
    figure = draw(per_class_accuracy, experiment)
    (axes,) = figure.axes
    one, marks = len(experiment.correction.classes) == 1, named_lines(axes)
    after = f"student after it, bias {experiment.correction.offsets[0]:+.2f}" if one else "student after it"
    networks = (("teacher", "teacher", TEACHER), ("before", "student before the correction", BEFORE),
                ("after", after, AFTER))  # fmt: skip
    assert set(marks) == {label for _, label, _ in networks}
    said = []
    for place, (key, label, colour) in enumerate(networks):
        (places, heights), own = marks[label][0].T, marks[label][1]
        logits = logits_of(experiment)[key]
        wrong = [counted_errors(logits, experiment.data, [c]) for c in range(10)]
        np.testing.assert_allclose(heights, [1 - w / n for w, n in wrong])
        assert own == colour
        np.testing.assert_allclose(places, np.arange(10) + 0.27 * (place - 1))
        unseen = () if len(experiment.config.omitted_class) == 10 else experiment.config.omitted_class
        said += [
            (f"{100 * heights[c]:.1f}", (pytest.approx(places[c]), pytest.approx(heights[c]))) for c in unseen
        ]
    assert [(text.get_text(), text.xy) for text in axes.texts] == said
    low = axes.get_ylim()[0]
    assert axes.get_ylabel() == f"test accuracy, seed 0\n(axis starts at {100 * low:.0f} %)"
    assert low == 0 or low < min(points[:, 1].min() for points, _ in marks.values())


# ---- The correction ----------------------------------------------------------------------------------------


def test_the_curves_against_the_offset_are_those_of_its_student(made):
    experiment = made()
    figure = draw(bias_correction, experiment)
    left, right = figure.axes
    before, probe = experiment.student.test_logits[-1], experiment.probe_logits
    n = int((experiment.data.test_labels == 3).sum())
    curves = named_lines(left)
    for label, classes, colour in (
        ("all 300 test images", range(10), BEFORE),
        (f"the {n} of class 3", [3], OMITTED),
    ):
        points, drawn = curves[label]
        expected = [
            error_share(with_offsets(before, [3], [x]), experiment.data, classes) for x in points[:, 0]
        ]
        np.testing.assert_allclose(points[:, 1], expected)
        assert drawn == colour
    curves = named_lines(right)
    points, colour = curves["mean probability"]
    expected = [softmaxed(with_offsets(probe, [3], [x]))[:, 3].mean() for x in points[:, 0]]
    np.testing.assert_allclose(points[:, 1], expected, rtol=1e-6)
    assert colour == OMITTED
    share = (experiment.data.train_labels == 3).mean()
    target, colour = curves[f"target, its frequency in training: {100 * share:.2f} %"]
    assert target[:, 1] == pytest.approx(share)
    assert colour == INK
    chosen = experiment.correction.offsets[0]
    assert np.interp(chosen, points[:, 0], points[:, 1]) == pytest.approx(share, rel=1e-3)
    for axes in (left, right):
        found, colour = named_lines(axes)[f"chosen without test labels: {chosen:+.2f}"]
        assert found[:, 0] == pytest.approx(chosen)
        assert colour == AFTER
        assert axes.get_xlabel() == "offset added to the output bias of class 3"
    best = experiment.results()["bias_correction"]["best_on_test_set"]
    found, _ = named_lines(left)[f"fewest test errors: {best['test_errors']} at {best['offset']:+.2f}"]
    assert found[:, 0] == pytest.approx(best["offset"])
    assert left.get_title(loc="left") == "test errors, log scale (not used for the choice)"
    assert right.get_title(loc="left") == "mean probability of class 3 on 300 images"


def test_with_several_classes_each_curve_is_named_and_meets_its_target(made):
    experiment = made(omitted_class=(3, 8))
    left, right = draw(bias_correction, experiment).axes
    chosen, probe = np.array(experiment.correction.offsets), experiment.probe_logits
    for classes, label in (((3, 8), "the 56 of classes 3, 8"), (range(10), "all 300 test images")):
        points, _ = named_lines(left)[label]
        assert points[0, 0] == -0.5
        before = experiment.student.test_logits[-1]
        expected = [
            error_share(with_offsets(before, (3, 8), x * chosen), experiment.data, classes)
            for x in points[:, 0]
        ]
        np.testing.assert_allclose(points[:, 1], expected)
    curves = [line.get_xydata() for line in right.lines if to_hex(line.get_color()).upper() == OMITTED]
    for c, curve, name in zip((3, 8), curves, right.texts, strict=True):
        share = (experiment.data.train_labels == c).mean()
        expected = [softmaxed(with_offsets(probe, (3, 8), x * chosen))[:, c].mean() for x in curve[:, 0]]
        np.testing.assert_allclose(curve[:, 1], np.array(expected) / share, rtol=1e-6)
        assert name.get_text() == str(c)
        assert name.xy == pytest.approx(curve[-1])
    target, _ = named_lines(right)["target, its frequency in training"]
    assert target[:, 1].tolist() == [1, 1]
    for axes in (left, right):
        assert named_lines(axes)["chosen: each its own"][0][:, 0].tolist() == [1, 1]
    assert right.get_title(loc="left") == "mean probability / frequency, 300 images"


@pytest.mark.parametrize("settings", [{"correct": "all"}, DRAWN], ids=str)
def test_ten_offsets_stand_beside_what_they_do(settings, made):
    experiment = made(**settings)
    figure = draw(bias_correction, experiment)
    left, right = figure.axes
    offsets = experiment.correction.offsets
    (bars,) = bars_of(left).values()
    np.testing.assert_allclose(bars[1], offsets)
    np.testing.assert_allclose(bars[0], range(10))
    assert bars[2] == {AFTER}
    assert [list(line.get_ydata()) for line in left.lines] == [[0, 0]]
    assert left.get_title(loc="left") == "offset added to the bias (their mean is 0)"
    assert np.mean(offsets) == pytest.approx(0, abs=1e-9)
    assert right.get_title(loc="left") == "mean probability on 300 images without labels"
    probe = experiment.probe_logits
    for label, logits, colour in (
        ("before", probe, BEFORE), ("after", with_offsets(probe, range(10), offsets), AFTER),
    ):  # fmt: skip
        _, heights, colours = bars_of(right)[label]
        np.testing.assert_allclose(heights, softmaxed(logits).mean(axis=0), rtol=1e-5)
        assert colours == {colour}
    targets, _ = named_lines(right)["target"]
    shares = np.bincount(experiment.data.train_labels) / 600
    np.testing.assert_allclose(targets, np.column_stack((range(10), shares)))
    errors = {name: counted_errors(z, experiment.data)[0] for name, z in logits_of(experiment).items()}
    assert figure.get_suptitle().endswith(f": {errors['before']} test errors before, {errors['after']} after")


FATES = (
    ("right before\nand after", True, True, INK),
    ("right only after\nthe correction", False, True, AFTER),
    ("lost by the bias,\nright before", True, False, BEFORE),
    ("never right", False, False, OMITTED),
)


def test_every_image_has_one_fate():
    rng = np.random.default_rng(0)
    labels, before, after = rng.integers(0, 3, (3, 500))
    found = fates(labels, before, after)
    assert [name for name, _, _ in found] == [name for name, *_ in FATES]
    np.testing.assert_array_equal(sum(members.astype(int) for _, members, _ in found), 1)
    for (_, members, colour), (_, was, is_now, wanted) in zip(found, FATES, strict=True):
        np.testing.assert_array_equal(members, ((before == labels) == was) & ((after == labels) == is_now))
        assert colour == wanted


@pytest.mark.parametrize(
    "settings", [{}, {"omitted_class": (3, 8)}, {"omitted_class": (2, 3, 5)}, DRAWN], ids=str
)
def test_examples_stand_under_their_fate_and_the_fates_add_up(settings, made):
    experiment = made(**settings)
    figure = draw(omitted_examples, experiment)
    data, logits = experiment.data, logits_of(experiment)
    mine = np.flatnonzero(np.isin(data.test_labels, experiment.config.omitted_class))
    said = {
        name: (logits[name][mine].argmax(axis=1), softmaxed(logits[name][mine]))
        for name in ("before", "after")
    }
    labels, total, rows = data.test_labels[mine], 0, np.array(figure.axes).reshape(-1, 8)
    named = {axes[0].texts[0].get_text().rsplit("\n", 1)[0]: axes for axes in rows}
    for name, was, is_now, colour in FATES:
        members = ((said["before"][0] == labels) == was) & ((said["after"][0] == labels) == is_now)
        total += members.sum()
        if name.startswith("lost") and not members.any():
            assert name not in named
            continue
        text = named[name][0].texts[0]
        assert text.get_text() == f"{name}\n{members.sum()} of {len(mine)}"
        assert to_hex(text.get_color()).upper() == colour
        shown = [axes for axes in named[name] if axes.images]
        assert len(shown) == min(8, members.sum())
        images = data.test_images[mine].reshape(len(mine), -1)
        places = []
        for axes in shown:
            (place,) = np.flatnonzero((images == pixels_of(axes).ravel()).all(axis=1))
            assert members[place]
            c = labels[place]
            assert axes.get_xlabel() == "\n".join(
                f"{when}: {said[when][0][place]} ({said[when][1][place, c]:.2f})" for when in said
            )
            places.append(place)
        assert len(set(places)) == len(places)
        own = said["before"][1][places, labels[places]]
        assert list(own) == sorted(own)
    assert total == len(mine)
    what = {1: "3s, which", 2: "3s and 8s, which", 3: "3 classes, which", 10: "digits, of which"}
    n_omitted = len(experiment.config.omitted_class)
    assert figure.get_suptitle().startswith(f"Test images of {what[n_omitted]} the student never saw")


# ---- What the teacher says, and what the student sees ------------------------------------------------------


def distinct_rows(images: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Where among `images` these pixels are."""
    return np.flatnonzero((images.reshape(len(images), -1) == pixels.ravel()).all(axis=1))


def drawn_answer(axes) -> tuple[np.ndarray, list[int]]:
    """Heights of the ten bars, and the classes whose bars have the colour of what was never seen."""
    heights = np.array([bar.get_height() for bar in axes.patches])
    return heights, [
        c for c, bar in enumerate(axes.patches) if to_hex(bar.get_facecolor()).upper() == OMITTED
    ]


@pytest.mark.parametrize("settings", [{}, {"omitted_class": (3, 8), "temperature": 4.0}, DRAWN], ids=str)
def test_dark_knowledge_is_what_the_teacher_says_of_these_images(settings, made, monkeypatch):
    experiment = made(**settings)
    config, data = experiment.config, experiment.data
    monkeypatch.setattr(knowledge, "POOL", 250)  # of what is drawn no more is looked at
    figure, drawn, omitted = draw(dark_knowledge, experiment), config.is_drawn, list(config.omitted_class)
    grid = np.array(figure.axes).reshape(3, -1)
    others = ~np.isin(data.train_labels, omitted)
    seen = experiment.lesson.images[:250] if drawn else data.train_images[others]
    logits = answers(experiment.teacher.network, seen)
    p = softmaxed(logits, config.temperature)
    classes = logits.argmax(axis=1) if drawn else data.train_labels[others]
    mass = p.max(axis=1) if drawn else p[:, omitted].sum(axis=1)
    shown = []
    for place, (image, first, second) in enumerate(grid.T):
        (index,) = distinct_rows(seen, pixels_of(image))
        c = classes[index]
        mine = np.sort(mass[classes == c])
        wanted = mine[len(mine) // 2] if place % 2 else mine[-1]
        assert mass[index] == pytest.approx(wanted, rel=1e-4)
        said = f"taken for {c}" if drawn else f"labelled {c}"
        most = "most" if drawn else "most 3-like" if omitted == [3] else "most like unseen"
        assert image.get_title() == f"{said}\n{'typical' if place % 2 else most}"
        for axes, temperature in ((first, 1), (second, config.temperature)):
            heights, in_colour = drawn_answer(axes)
            np.testing.assert_allclose(heights, softmaxed(logits[index], temperature), rtol=1e-3, atol=1e-6)
            assert in_colour == ([] if drawn else omitted)
        if not drawn:
            value = p[index][omitted].sum()
            assert second.get_title() == f"p({3 if omitted == [3] else 'unseen'}) = {value:.3f}"
        shown.append((mass[index], c))
    most = [m for m, _ in shown[::2]]
    assert most == sorted(most, reverse=True)
    assert [c for _, c in shown[::2]] == [c for _, c in shown[1::2]]
    best = {c: mass[classes == c].max() for c in np.unique(classes)}
    assert {c for _, c in shown} == set(sorted(best, key=best.get)[-4:])
    of_what = "a teacher of digits says of contour lines" if drawn else "the soft targets of other digits say"
    assert of_what in figure.get_suptitle()
    assert grid[1, 0].get_ylabel().startswith("teacher, T = 1\n")
    assert grid[2, 0].get_ylabel().startswith(f"soft target, T = {config.temperature:g}\n")


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({}, "every digit but 3s"), ({"omitted_class": (3, 8)}, "every digit but 3s and 8s"),
        ({"omitted_class": (0, 1, 2, 3, 4, 5, 6, 9)}, "classes 7, 8"), (DRAWN, "contour lines of noise"),
        ({"transfer_fraction": 0.02}, "every digit but 3s"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_said_to_be_all_that_the_student_sees_is(settings, what, made):
    experiment = made(**settings)
    config, data, lesson = experiment.config, experiment.data, experiment.lesson
    figure = draw(transfer_set, experiment)
    grid = np.array(figure.axes).reshape(4, 8)
    shown = [axes for axes in grid[::2].flat if axes.get_visible()]
    n = min(16, len(np.unique(lesson.indices)))
    assert len(shown) == n
    title = f"All that the student sees: {what} (here {n} of {lesson.n_different:,} images)"
    assert figure.get_suptitle() == title
    chosen = []
    for axes, below in zip(grid[::2].flat, grid[1::2].flat, strict=True):
        assert axes.get_visible() == below.get_visible()
        if not axes.get_visible():
            continue
        (index,) = distinct_rows(lesson.images, pixels_of(axes))
        assert index in lesson.indices
        if not config.is_drawn:
            assert data.train_labels[index] not in config.omitted_class
        chosen.append(index)
        logits = answers(experiment.teacher.network, lesson.images[[index]])[0]
        heights, in_colour = drawn_answer(below)
        np.testing.assert_allclose(heights, softmaxed(logits, config.temperature), rtol=1e-3)
        assert in_colour == ([] if config.is_drawn else list(config.omitted_class))
        if config.is_drawn:
            assert below.get_title() == f"{logits.argmax()} foremost"
    assert len(set(chosen)) == n
    below = f"its teacher's\nanswer, T = {config.temperature:g}"
    assert [axes.get_ylabel() for axes in grid[1::2, 0] if axes.get_visible()] == [below] * (1 + (n > 8))


def test_imagined_changes_go_to_the_class_asked_for_by_the_network_named(made):
    experiment = made()
    figure, data = draw(imagined, experiment), experiment.data
    rows, starts = np.array(figure.axes).reshape(3, 5), typical_starts(experiment, 3)
    corrected = core.MLP(experiment.student.network.sizes, None)
    corrected.parameters[:] = experiment.student.network.parameters
    corrected.layers[-1][3, -1] += experiment.correction.offsets[0]
    for row, start in zip(rows, starts, strict=True):
        original = data.test_images[start].astype(float)
        np.testing.assert_array_equal(pixels_of(row[0]), original)
        assert (
            row[0].get_title()
            == f"{'an' if data.test_labels[start] == 8 else 'a'} {data.test_labels[start]}, as it is"
        )
        for place, name, network, colour in (
            (1, "the corrected student", corrected, AFTER),
            (3, "its teacher", experiment.teacher.network, TEACHER),
        ):  # fmt: skip
            image, change = row[place], row[place + 1]
            p = softmaxed(answers(network, pixels_of(image)[None]))[0, 3]
            assert image.get_title() == f"for {name}:\np(3) = {p:.2f}"
            difference = (pixels_of(image) - original) / 255
            assert change.get_title().startswith(f"change of length {np.linalg.norm(difference):.1f}\n")
            picture = np.asarray(change.images[-1].get_array())
            for ink, pixel in ((AFTER, difference.argmax()), (OMITTED, difference.argmin())):
                amount = abs(difference.ravel()[pixel])
                expected = 1 - amount * (1 - np.array(to_rgb(ink)))
                np.testing.assert_allclose(picture.reshape(-1, 3)[pixel], expected, atol=1e-6)
            assert {
                to_hex(s.get_edgecolor()).upper() for a in (image, change) for s in a.spines.values()
            } == {colour}
    for one in (figure, draw(imagined, made(**DRAWN))):
        assert one.get_suptitle().startswith("From another digit to a 3: ")


def shifts_of(image: np.ndarray, drawn: np.ndarray) -> tuple[int, int]:
    """By how many pixels `drawn` is `image`, shifted, with empty pixels moving in."""
    wide = np.pad(image, 5).astype(float)
    found = [
        (down, right)
        for down in range(-4, 5)
        for right in range(-4, 5)
        if np.allclose(wide[5 + down : 33 + down, 5 + right : 33 + right], drawn, atol=1e-3)
    ]
    return found[0]


def test_draws_of_each_network_stay_within_its_own_limits(made):
    """The teacher's shifts reach 3 px, the student's 1."""
    experiment = made(jitter=3, jitter_student=1)
    figure = draw(transformations, experiment)
    image = experiment.data.train_images[experiment.data.train_labels != 3][0]
    assert len(figure.subfigs) == 2
    for part, who, limit in zip(figure.subfigs, ("teacher", "student"), (3, 1), strict=True):
        assert part.get_suptitle() == f"{who}: shifted by up to {limit} px"
        shown = [axes for axes in part.axes if axes.images]
        np.testing.assert_array_equal(pixels_of(shown[0]), image)
        assert shown[0].get_xlabel() == "as it is"
        shifts = [shifts_of(image, pixels_of(axes)) for axes in shown[1:]]
        assert len(shifts) == 24
        assert np.abs(shifts).max() == limit
    (both,) = draw(transformations, made(jitter=2, jitter_student=2)).subfigs
    assert both.get_suptitle() == "teacher and student: shifted by up to 2 px"
    (alone,) = draw(transformations, made(**DRAWN, jitter=1)).subfigs
    assert alone.get_suptitle() == "teacher: shifted by up to 1 px"
