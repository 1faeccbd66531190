"""What the animation shows: bars, curves, digits and words of every frame, their order, times and colours."""

from __future__ import annotations

from support.charts import AFTER, BEFORE, INK, OMITTED, TEACHER, our_style
from support.console import Console

from dataclasses import replace

import numpy as np
import pytest
from legible import drawn_anyhow
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image
from small_pictures import (
    DRAWN,
    SOME,
    bars_of,
    counted_errors,
    data_of,
    draw,
    error_share,
    maker,
    named_lines,
    pixels_of,
    plain_frame,
    softmaxed,
    with_offsets,
    words_of,
)

import distillation_mnist_omitted_3 as core
import make_distillation_mnist_omitted_3_gif as gif


@pytest.fixture(scope="module")
def story(made):
    """What all frames of an experiment show, and the test logits of its control, epoch by epoch."""

    def make(**settings) -> tuple[gif.Story, np.ndarray]:
        experiment = made(**settings)
        control = made(**settings, hard_weight=1.0)
        digits = gif.chosen_digits(experiment)
        return gif.Story(
            experiment, experiment.history("student"), digits, control.history("student")
        ), control.student.test_logits

    return make


def after(experiment: core.Experiment) -> np.ndarray:
    correction = experiment.correction
    return with_offsets(experiment.student.test_logits[-1], correction.classes, correction.offsets)


def frame(told: gif.Story, epoch: int, corrected: bool) -> Figure:
    return draw(gif.draw_frame, told, epoch, corrected)


@pytest.mark.parametrize(("epoch", "corrected"), [(1, False), (4, False), (5, False), (5, True)])
@pytest.mark.parametrize("omitted", [(3,), (3, 8)])
def test_bars_and_digits_are_those_of_the_student_of_this_frame(omitted, epoch, corrected, story):
    told, _ = story(omitted_class=omitted)
    experiment, data = told.experiment, told.experiment.data
    logits = after(experiment) if corrected else experiment.student.test_logits[epoch - 1]
    figure = frame(told, epoch, corrected)
    bars, curves, *row = figure.axes
    ((places, heights, _),) = bars_of(bars).values()
    np.testing.assert_allclose(places, range(10), atol=1e-9)
    wrong = [counted_errors(logits, data, [c]) for c in range(10)]
    np.testing.assert_allclose(heights, [1 - w / n for w, n in wrong])
    colours = [to_hex(bar.get_facecolor()).upper() for bar in bars.containers[0]]
    own = AFTER if corrected else BEFORE
    assert colours == [OMITTED if c in omitted else own for c in range(10)]
    assert [text.get_text() for text in bars.texts] == [f"{100 * heights[c]:.1f} %" for c in omitted]
    assert [text.xy for text in bars.texts] == [(c, pytest.approx(heights[c])) for c in omitted]
    assert curves.get_title(loc="left") == "test errors so far (log scale)"
    for axes, index in zip(row, told.digits, strict=True):
        np.testing.assert_array_equal(pixels_of(axes), data.test_images[index])
        label, guess = data.test_labels[index], logits[index].argmax()
        mark = "✓" if guess == label else "✗"
        assert axes.get_xlabel() == f"{mark} {guess}\np({label}) = {softmaxed(logits[index])[label]:.2f}"
        colour = AFTER if guess == label else OMITTED
        assert axes.xaxis.label.get_color() == colour
        assert {to_hex(spine.get_edgecolor()).upper() for spine in axes.spines.values()} == {colour}
    never, bias = ("a 3", "bias") if len(omitted) == 1 else ("classes 3, 8", "biases")
    state = f"{bias} corrected" if corrected else f"epoch {epoch} of 5"
    assert bars.get_title(loc="left") == f"{state}: test accuracy per class"
    assert figure.get_suptitle() == f"A student that never sees {never}, taught by soft targets"


@pytest.mark.parametrize(("epoch", "corrected"), [(1, False), (4, False), (5, False), (5, True)])
def test_curves_go_as_far_as_the_epoch_and_the_correction_ends_them(epoch, corrected, story):
    told, control = story()
    experiment, data = told.experiment, told.experiment.data
    axes = frame(told, epoch, corrected).axes[1]
    lines = named_lines(axes)
    assert set(lines) == {
        "all classes",
        "3s, never seen",
        "on hard labels (upper: 3s)",
        "its teacher, all classes",
    }
    for label, classes, colour in (("all classes", range(10), BEFORE), ("3s, never seen", [3], OMITTED)):
        points, drawn = lines[label]
        expected = [error_share(z, data, classes) for z in experiment.student.test_logits[:epoch]]
        np.testing.assert_allclose(points, np.column_stack((range(1, epoch + 1), expected)))
        assert drawn == colour
        mine = [line for line in axes.lines if line.get_color() == colour]
        stars = [line.get_ydata() for line in mine if line.get_marker() == "*"]
        jumps = [line.get_ydata() for line in mine if line.get_linestyle() == ":"]
        end = error_share(after(experiment), data, classes)
        assert [star.tolist() for star in stars] == ([[pytest.approx(end)]] if corrected else [])
        assert [jump.tolist() for jump in jumps] == (
            [pytest.approx([expected[-1], end])] if corrected else []
        )
    dashed = [line for line in axes.lines if line.get_linestyle() == "--"]
    for line, classes in zip(dashed, (range(10), [3]), strict=True):
        np.testing.assert_allclose(line.get_ydata(), [error_share(z, data, classes) for z in control[:epoch]])
        assert line.get_color() == INK
    teacher, colour = lines["its teacher, all classes"]
    assert teacher[:, 1] == pytest.approx(error_share(experiment.teacher.test_logits[-1], data))
    assert colour == TEACHER
    assert axes.get_xlim()[1] > 6  # the corrected student has its place in every frame
    ticks = [
        (text.get_text(), to_hex(text.get_color(), keep_alpha=True).upper())
        for text in axes.get_xticklabels()
    ]
    assert [text for text, _ in ticks] == [*"12345", f"\nbias {experiment.correction.offsets[0]:+.2f}"]
    assert ticks[-1][1] == (f"{AFTER}FF" if corrected else "#00000000")


def test_the_words_of_the_correction_lie_on_no_curve_and_nothing_moves(story):
    told, _ = story()
    places = []
    for epoch, corrected in ((1, False), (5, True)):
        with our_style():
            figure = gif.draw_frame(told, epoch, corrected)
            figure.draw_without_rendering()
        bars, curves, *row = figure.axes
        label = curves.get_xticklabels()[-1].get_window_extent()
        assert label.y1 < curves.bbox.y0  # below the axis, and all curves above it
        assert not label.overlaps(curves.xaxis.label.get_window_extent())
        assert label.x1 < figure.bbox.x1
        places.append([axes.get_position().bounds for axes in (bars, curves, *row)])
    np.testing.assert_allclose(*places)


def test_a_student_without_digits_has_one_curve_and_no_control(made):
    experiment = made(**DRAWN)
    assert gif.hard_label_student(experiment.config, Console(quiet=True)) is None
    told = gif.Story(experiment, experiment.history("student"), gif.chosen_digits(experiment), None)
    figure = frame(told, 5, True)
    bars, curves = figure.axes[:2]
    assert set(named_lines(curves)) == {"all classes", "its teacher, all classes"}
    assert not list(bars.texts)
    assert {to_hex(bar.get_facecolor()).upper() for bar in bars.containers[0]} == {AFTER}
    title = "A student that sees no digit, only contour lines of noise, taught by soft targets"
    assert figure.get_suptitle() == title
    assert bars.get_title(loc="left").startswith("biases corrected: ")


@pytest.mark.parametrize("settings", [{}, {"omitted_class": (2, 3, 5)}, DRAWN], ids=str)
def test_half_of_the_digits_are_repaired_and_all_go_from_hard_to_easy(settings, made):
    experiment = made(**settings)
    data, omitted = experiment.data, experiment.config.omitted_class
    chosen = gif.chosen_digits(experiment)
    labels = data.test_labels[chosen]
    assert len(set(chosen.tolist())) == 8
    assert np.isin(labels, omitted).all()
    before, corrected = experiment.student.test_logits[-1], after(experiment)
    own = softmaxed(before[chosen])[range(8), labels]
    assert list(own) == sorted(own)
    repaired = (before[chosen].argmax(1) != labels) & (corrected[chosen].argmax(1) == labels)
    assert repaired.sum() == 4
    mine = np.flatnonzero(np.isin(data.test_labels, omitted))
    of_all = softmaxed(before[mine])[range(len(mine)), data.test_labels[mine]]
    hidden = (before[mine].argmax(1) != data.test_labels[mine]) & (
        corrected[mine].argmax(1) == data.test_labels[mine]
    )
    for group, shown in ((of_all[hidden], own[repaired]), (of_all[~hidden], own[~repaired])):
        assert (shown.min(), shown.max()) == (group.min(), group.max())  # the hardest and the easiest
    what = {1: "3s", 3: "3 classes", 10: "digits"}[len(omitted)]
    told = gif.Story(experiment, experiment.history("student"), chosen, None)
    words = words_of(frame(told, 1, False))
    assert f"8 of {len(mine)} test images of {what}, from hard to easy; 4 chosen because the " in words
    assert "correction repairs them" in words


def test_a_single_digit_is_one(made):
    experiment = made()
    data = experiment.data
    one = np.flatnonzero(data.test_labels == 3)[0]
    kept = (data.test_labels != 3) | (np.arange(300) == one)
    alone = replace(data, test_images=data.test_images[kept], test_labels=data.test_labels[kept])
    shown = replace(experiment, data=alone)
    index = np.array([np.flatnonzero(alone.test_labels == 3)[0]])
    assert gif.row_title(shown, index).startswith("1 of 1 test image of 3s")
    assert "hard to easy" not in gif.row_title(shown, index)


@pytest.mark.parametrize("classes", [(3, 8), (0, 1, 3, 5, 7)], ids=["two", "five"])
def test_data_of_few_classes_have_no_bars_for_others(classes, tmp_path):
    experiment = maker(data_of(classes, classes, tmp_path / "data"), tmp_path, SOME)()
    named = replace(experiment, data=replace(experiment.data, name=r"of $\frac$"))
    told = gif.Story(named, experiment.history("student"), gif.chosen_digits(experiment), None)
    figure = frame(told, 5, True)
    drawn_anyhow(figure)  # a "$" in a name is no mathematics
    bars = figure.axes[0]
    ((places, heights, _),) = bars_of(bars).values()
    np.testing.assert_allclose(places, classes)
    wrong = [counted_errors(after(experiment), experiment.data, [c]) for c in classes]
    np.testing.assert_allclose(heights, [1 - w / n for w, n in wrong])
    assert [label.get_text()[0] for label in bars.get_xticklabels()] == [str(c) for c in classes]


def test_the_control_is_the_same_student_on_hard_labels_and_said_to_be_one(made, capsys):
    experiment = made(temperature=4.0)
    found = gif.hard_label_student(experiment.config, Console())
    assert found == made(temperature=4.0, hard_weight=1.0).history("student")
    assert [entry["omitted_accuracy"] for entry in found] == [0.0] * 5
    said = capsys.readouterr().out
    assert said.startswith("for comparison, a control: the same student on hard labels")
    assert said.index("so 0 % of 3s is expected, and no failure:") < said.index("data: ")
    for settings in ({"hard_weight": 1.0}, {"spare_outputs": 3, **DRAWN}):
        assert gif.hard_label_student(made(**settings).config, Console()) is None
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("every", "fps", "epochs", "milliseconds"),
    [
        (1, 4, [1, 2, 3, 4, 5], 250),
        (2, 10, [1, 2, 4, 5], 100),
        (3, 0.5, [1, 3, 5], 2000),
        (9, 3, [1, 5], 333),
    ],
)
def test_frames_follow_the_epochs_and_the_last_two_are_held(
    every, fps, epochs, milliseconds, story, monkeypatch
):
    told, _ = story()
    drawn = []

    def plain(told: gif.Story, epoch: int, corrected: bool) -> Figure:
        drawn.append((epoch, corrected))
        return plain_frame(told, epoch, corrected)

    monkeypatch.setattr(gif, "draw_frame", plain)
    frames, durations = gif.animation(told, every, fps)
    assert drawn == [(epoch, False) for epoch in epochs] + [(5, True)]
    assert len(frames) == len(drawn)
    assert durations == [*[milliseconds] * (len(epochs) - 1), 2500, 5000]


def test_all_frames_share_the_colours_of_the_last_and_the_file_holds_them(made, small_folder, tmp_path):
    usual = [
        f"--{name.replace('_', '-')}={value}" for name, value in SOME.items() if not isinstance(value, tuple)
    ]
    experiment = made(n_epochs_student=2)
    flags = [*usual, "--n-epochs-student=2", "--teacher-hidden=40", "--student-hidden=30", "--quiet",
             f"--data-dir={small_folder}", f"--cache-dir={experiment.config.cache_dir}",
             f"--outdir={tmp_path}"]  # fmt: skip
    gif.main(flags)
    with Image.open(tmp_path / gif.GIF_NAME) as image:
        assert image.n_frames == 3
        shown = []
        for number in range(3):
            image.seek(number)
            shown.append(np.asarray(image.convert("RGB"), int))
    told = gif.Story(experiment, experiment.history("student"), gif.chosen_digits(experiment),
                     made(n_epochs_student=2, hard_weight=1.0).history("student"))  # fmt: skip
    with our_style():
        frames, _ = gif.animation(told, 1, 3.0)
        last = gif.frame_image(gif.draw_frame(told, 2, True))
    assert len({tuple(one.getpalette()) for one in frames}) == 1
    wanted = [np.asarray(one.convert("RGB"), int) for one in frames]
    np.testing.assert_array_equal(shown, wanted)
    assert len(np.unique(wanted[-1].reshape(-1, 3), axis=0)) <= gif.N_COLOURS
    for colour in (AFTER, OMITTED):
        of_it = (np.asarray(last, int) == [int(colour[i : i + 2], 16) for i in (1, 3, 5)]).all(axis=2)
        assert of_it.sum() > 1000  # a bar
        assert np.abs(wanted[-1][of_it] - np.asarray(last, int)[of_it]).max() <= 6
