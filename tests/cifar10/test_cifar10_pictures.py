"""What the pictures of CIFAR-10 say of what they draw: images, names, colours, titles, figures."""

from __future__ import annotations

from support.charts import HARD, INK, OMITTED, SOFT, TEACHER

import json
from dataclasses import replace

import numpy as np
from legible import drawn_anyhow, hard_to_read
from matplotlib.colors import to_hex
from matplotlib.text import Text
from small_pictures import bars_of, draw, named_lines, softmaxed, with_offsets
from small_studies import ROOT

from cifar10 import charts, pictures
from cifar10.data import class_names

NAMES = {"teacher": ("teacher, hard labels", TEACHER), "student": ("student, soft targets alone", SOFT),
         "baseline": ("the same student, hard labels", HARD)}  # fmt: skip


def title_of(axes) -> str:
    return axes.get_title(loc="left")


def test_curves_have_the_names_and_colours_of_their_networks(small):
    losses, soft, accuracies = draw(pictures.curves, small).axes
    assert [title_of(axes) for axes in (losses, soft, accuracies)] == [
        "loss: cross-entropy with labels", "loss: T² KL(teacher ‖ student)", "test accuracy",
    ]  # fmt: skip
    assert len([*losses.lines, *soft.lines, *accuracies.lines]) == 6
    labels = small.data.test_labels
    for kind, (name, colour) in NAMES.items():
        points, found = named_lines(accuracies)[name]
        right = [(z.argmax(axis=1) == labels).mean() for z in small.runs[kind].test_logits]
        np.testing.assert_allclose(points, np.column_stack((np.arange(1, len(right) + 1), right)))
        assert found == colour
        points, found = named_lines(soft if kind == "student" else losses)[name]
        np.testing.assert_allclose(points[:, 1], small.runs[kind].losses)
        assert found == colour


def test_curves_say_how_images_grow(small):
    assert pictures.sides_in_words(small.config) == ""
    config = replace(small.config, sides=(16, 24, 24, 32), sides_student=(24, 32))
    said = ", on images that grow: 16, 24, 32 pixels (teacher), 24, 32 (students)"
    assert pictures.sides_in_words(config) == said
    figure = draw(pictures.curves, replace(small, config=config))
    assert any(said in text.get_text() for text in figure.findobj(Text))


def test_soft_targets_stand_below_their_image(small):
    experiment, chosen = small, pictures.telling_images(small)
    assert chosen
    figure = draw(pictures.soft_targets, experiment)
    grid, names = np.array(figure.axes).reshape(4, -1), class_names(experiment.data)
    temperature = experiment.config.temperature
    assert [axes.get_ylabel() for axes in grid[1:, 0]] == [
        "hard label\n", "teacher\nT = 1", f"soft target\nT = {temperature:g}, its own scale",
    ]  # fmt: skip
    for column, index in zip(grid.T, chosen, strict=True):
        image = experiment.data.test_images[index].transpose(1, 2, 0)
        np.testing.assert_array_equal(column[0].images[0].get_array(), image)
        label = experiment.data.test_labels[index]
        assert column[0].get_title() == f"labelled {names[label]}"
        logits = experiment.teacher.test_logits[-1][index]
        for axes, shares in zip(
            column[1:], (np.eye(10)[label], softmaxed(logits), softmaxed(logits, temperature)), strict=True
        ):
            np.testing.assert_allclose(
                [bar.get_height() for bar in axes.patches], shares, rtol=1e-4, atol=1e-9
            )
            colours = [to_hex(bar.get_facecolor()).upper() for bar in axes.patches]
            assert colours == [INK if c == label else TEACHER for c in range(10)]
        assert [tick.get_text() for tick in column[3].get_xticklabels()] == list(names)


def test_bars_of_compression_carry_their_figures_and_names(small):
    errors, size, speed = draw(pictures.compression, small).axes
    titles = [title_of(axes) for axes in (errors, size, speed)]
    assert titles[:2] == ["How often is it wrong? Of 100 test images", "How small is it? kB"]
    assert titles[2] == "How fast? ms per image"
    assert speed.get_xlabel() == f"threads: {small.n_threads}"
    for axes, digits, names, labels, colours in (
        (errors, 1, ["teacher", "student,\nsoft targets", "student,\nhard labels"],
         ["32 bits per weight", "8 bits per weight"], [TEACHER, SOFT, HARD]),
        (size, 0, ["teacher", "student"], ["32 bits per weight", "8 bits per weight"], [TEACHER, SOFT]),
        (speed, 2, ["teacher", "student"], ["one image alone", "each of many"], [TEACHER, SOFT]),
    ):  # fmt: skip
        assert [tick.get_text() for tick in axes.get_xticklabels()] == names
        assert [text.get_text() for text in axes.get_legend().get_texts()] == labels == list(bars_of(axes))
        hatched = [patch.get_hatch() for patch in axes.get_legend().get_patches()]
        heights = [bar.get_height() for container in axes.containers for bar in container]
        assert [text.get_text() for text in axes.texts] == [f"{h:,.{digits}f}" for h in heights]
        for container, hatch in zip(axes.containers, hatched, strict=True):
            assert [to_hex(bar.get_facecolor()).upper() for bar in container] == colours
            assert {bar.get_hatch() or "" for bar in container} == {hatch or ""}


def test_the_unseen_class_stands_out_below_the_name_of_each_network(small, data):
    rng = np.random.default_rng(0)  # such small networks say the same of all cats
    size = (1, len(data.test_labels), 10)
    told = {kind: replace(run, test_logits=rng.normal(size=size)) for kind, run in small.runs.items()}
    correction = replace(small.correction, offsets=(3.0,))
    figure = draw(pictures.unseen_class, replace(small, runs=told, correction=correction))
    logits = {
        "teacher, has seen them": told["teacher"].test_logits[-1],
        "student on hard labels": told["baseline"].test_logits[-1],
        "student on soft targets": told["student"].test_logits[-1],
        "the same, bias corrected": with_offsets(told["student"].test_logits[-1], (3,), (3.0,)),
    }
    assert len({tuple(z[data.test_labels == 3].argmax(axis=1)) for z in logits.values()}) == 4
    assert f"{(data.test_labels == 3).sum()} test images of class cat" in figure.get_suptitle()
    assert [title_of(axes) for axes in figure.axes] == list(logits)
    for axes, z in zip(figure.axes, logits.values(), strict=True):
        said = z[data.test_labels == 3].argmax(axis=1)
        shares = [(said == c).mean() for c in range(10)]
        assert [text.get_text() for text in axes.texts] == [f"{100 * share:.1f} %" for share in shares]
        np.testing.assert_allclose([bar.get_width() for bar in axes.patches], shares)
        colours = [to_hex(bar.get_facecolor()).upper() for bar in axes.patches]
        assert colours == [OMITTED if c == 3 else TEACHER for c in range(10)]
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == list(class_names(data))


def test_every_picture_can_be_read_by_everyone_on_a_page(small):
    for picture in pictures.pictures_of(small):
        figure = draw(picture, small)
        assert hard_to_read(figure) == [], picture


def test_a_dollar_in_the_datas_name_is_one(small):
    named = replace(small, data=replace(small.data, name=r"$\frac$"))
    for picture in pictures.pictures_of(named):
        drawn_anyhow(draw(picture, named))


PARTS = ("before_correction", "after_correction")


def committed(folder: str) -> list[dict]:
    paths = sorted((ROOT / "viz" / "cifar10" / folder).glob("*/results.json"))
    return [json.loads(path.read_text()) for path in paths]


def test_several_seeds_are_bars_of_means_and_dots():
    cats, runs = committed("unseen_cat"), committed("seeds")
    said = [(run["teacher"], run["baseline"], *map(run["student"].get, PARTS)) for run in cats]
    figure = draw(charts.draw_unseen_class, cats)
    assert figure.get_supxlabel().endswith("without cat, bars: means, dots: seeds 0, 1, 2, 3, 4")
    for place, axes in enumerate(figure.axes):
        shares = np.array([networks[place]["confusion_matrix"][3] for networks in said]) / 1000
        np.testing.assert_allclose([bar.get_width() for bar in axes.patches], shares.mean(axis=0))
        dots = [line.get_xydata() for line in axes.lines]
        np.testing.assert_allclose(dots, [np.c_[mine, range(10)] for mine in shares])
    errors, size, speed = draw(charts.draw_compression, runs).axes
    networks = [(r["teacher"], r["student"]["before_correction"], r["baseline"]) for r in runs]
    wrong = [[100 - 100 * metrics["test_accuracy"] for metrics in mine] for mine in networks]
    exact, _ = bars_of(errors).values()
    np.testing.assert_allclose(exact[1], np.mean(wrong, axis=0))
    np.testing.assert_allclose([line.get_ydata() for line in errors.lines[: len(runs)]], wrong)
    assert not [*size.lines, *speed.lines]
    least = [min(r["networks"][k]["milliseconds_alone"] for r in runs) for k in ("teacher", "student")]
    np.testing.assert_allclose(bars_of(speed)["one image alone"][1], least)
    assert (title_of(speed), speed.get_xlabel()) == ("How fast? least ms per image", "threads: 2")
