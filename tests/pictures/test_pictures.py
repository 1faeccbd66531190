"""What the pictures compute beside what was measured: gradients by pixels, seeds beside a run, axes."""

from __future__ import annotations

from support.charts import AFTER, BEFORE, INK, OMITTED, OTHERS, TEACHER, our_style
from support.console import UserError

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from legible import drawn_anyhow, hard_to_read
from small_pictures import SOME, TINY, counted_errors, data_of, draw, maker, words_of

import distillation_mnist_omitted_3 as core
import make_distillation_mnist_omitted_3_gif as gif
import pictures.seeds
from beyond import pipeline
from beyond.settings import EVERY_CLASS, Config
from pictures import correction, knowledge
from pictures.correction import bias_correction, omitted_examples
from pictures.frame import error_shares, instances, learner, never_seen, other_settings, taught_by
from pictures.imagined import ENOUGH, input_gradient, short_change
from pictures.knowledge import dark_knowledge, imagined, transfer_set, transformations, typical_starts
from pictures.learning import per_class_accuracy, student_curves, teacher_curves

ALL = (
    teacher_curves, student_curves, per_class_accuracy, bias_correction, dark_knowledge, transfer_set,
    omitted_examples, imagined, transformations,
)  # fmt: skip


@pytest.fixture(scope="module")
def made(small_folder, tmp_path_factory):
    return maker(small_folder, tmp_path_factory.mktemp("cache"), TINY)


@pytest.fixture
def few_images(monkeypatch):
    """For what is said in pictures: of the many images in them only some."""
    for module, name, n in (
        (knowledge, "N_CLASSES_SHOWN", 2), (knowledge, "N_SEEN", 4), (knowledge, "N_DRAWS", 2),
        (correction, "N_EXAMPLES", 2),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, n)


@pytest.mark.parametrize("background", [0.0, -1.0])
@pytest.mark.parametrize("sizes", [(784, 12, 9, 10), (784, 8, 13)])
def test_the_gradient_by_pixels_is_that_of_finite_differences(sizes, background):
    """In float64; of a network with spare outputs, the ten classes alone count."""
    rng = np.random.default_rng(0)
    network = core.MLP(sizes, rng, np.float64)
    network.background = background
    network.parameters += 0.05 * rng.standard_normal(network.parameters.shape)
    inputs = rng.random(784)
    value, gradient = input_gradient(network, inputs, 3)
    z = np.append(inputs, 1.0)
    for layer in network.layers[:-1]:
        z = np.append(np.maximum(layer @ z, 0), 1.0)
    z = (network.layers[-1] @ z)[:10]
    assert value == pytest.approx(z[3] - np.log(np.exp(z).sum()))
    for pixel in rng.choice(784, 12, replace=False):
        step = np.zeros(784)
        step[pixel] = 1e-5
        up, down = (input_gradient(network, inputs + s, 3)[0] for s in (step, -step))
        assert gradient[pixel] == pytest.approx((up - down) / 2e-5, rel=1e-5, abs=1e-9)


def test_a_changed_image_is_one_and_says_what_was_asked_for(made):
    experiment = made(n_epochs_teacher=15)
    index = typical_starts(experiment, 3)[0]
    image, network = experiment.data.test_images[index], experiment.teacher.network
    changed, p = short_change(network, image, 3)
    assert 0 <= changed.min() <= changed.max() <= 1
    assert p >= ENOUGH - 1e-6
    with core.Workers() as workers:
        pixels = np.rint(255 * changed)[None].astype(np.uint8)
        assert core.predict(network, pixels, workers).argmax() == 3
    nearer, _ = short_change(network, np.rint(255 * changed).astype(np.uint8), 3)
    assert np.abs(nearer - changed).max() <= 0.01  # nothing is left to change


def test_starts_are_images_of_the_classes_most_like_the_wanted_one(made):
    experiment = made(n_epochs_teacher=15)
    starts = typical_starts(experiment, 3)
    labels = experiment.data.test_labels[starts]
    assert len(set(labels)) == 3
    assert 3 not in labels
    q = core.softmax(experiment.teacher.test_logits[-1].astype(float), 20)[:, 3]
    means = [q[experiment.data.test_labels == c].mean() if c != 3 else 0 for c in range(10)]
    assert set(labels) == set(np.argsort(means)[-3:])


@pytest.mark.parametrize(
    ("settings", "who"),
    [
        ({}, "never sees a 3"),
        ({"omitted_class": (0, 1, 2, 3, 4, 5, 6, 9)}, "never sees classes 0, 1, 2, 3, 4, 5, 6, 9"),
        (
            {
                "omitted_class": EVERY_CLASS,
                "transfer_set": "halves",
                "transfer_images": 40,
                "spare_outputs": 3,
                "background": -1.0,
            },
            "sees no whole digit, only halves of two digits, glued together",
        ),
    ],
    ids=str,
)
def test_every_picture_can_be_read_by_everyone_on_a_page_and_says_who_learned(settings, who, made):
    experiment = made(**settings)
    assert learner(experiment) == f"a student that {who}"
    for picture in ALL:
        figure = draw(picture, experiment)
        assert figure.axes
        assert hard_to_read(figure) == [], picture


# other seeds


@pytest.fixture
def shelf(made, tmp_path: Path, monkeypatch):
    """The small experiment, and where its other seeds are sought; `put` lays a run there."""
    monkeypatch.setattr(pictures.seeds, "VIZ", tmp_path)
    experiment = made()

    def put(name: str, content: object) -> None:
        path = tmp_path / "seeds" / "described" / name / "results.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))

    return experiment, put


def run_of(experiment: core.Experiment, **config: object) -> dict:
    found = json.loads(json.dumps(experiment.results()))
    found["config"] |= config
    return found


def test_other_seeds_of_the_same_settings_stand_beside_a_run_and_nothing_else(shelf):
    experiment, put = shelf
    put("0", run_of(experiment, seed=0))  # the same run
    put("1", run_of(experiment, seed=1, cache_dir="elsewhere"))
    put("2", run_of(experiment, seed=2, temperature=4.0))
    put("3", "{")
    put("4", [1, 2])
    other = run_of(experiment, seed=5)
    other["data"]["sha256"] = {"train": "others"}
    put("5", other)
    older = run_of(experiment, seed=6)
    del older["config"]["spare_outputs"]  # from before there was such a flag
    put("6", older)
    assert [run["config"]["seed"] for run in pictures.seeds.other_seeds(experiment)] == [1, 6]
    words = pictures.seeds.seeds_in_words(pictures.seeds.other_seeds(experiment))
    assert words == "thin lines: seeds 1, 6"


def test_the_lines_and_dots_of_other_seeds_are_theirs(shelf):
    """Thin, in the colour of the curve that they stand beside; accuracies as dots over bars."""
    experiment, put = shelf
    other = run_of(experiment, seed=1)
    rng = np.random.default_rng(0)
    for kind in ("teacher", "student"):
        for entry in other["history"][kind]:
            entry["loss"] = rng.random()
            entry |= {key: rng.random() for key in ("test_accuracy", "omitted_accuracy", "other_accuracy")}
    networks = (other["teacher"], *(other["student"][f"{part}_correction"] for part in ("before", "after")))
    for metrics in networks:
        metrics["per_class_accuracy"] = rng.random(10).tolist()
        metrics |= {key: rng.random() for key in ("omitted_accuracy", "other_accuracy")}
        metrics["test_errors"] = int(rng.integers(0, 300))
        metrics["test_accuracy"] = 1 - metrics["test_errors"] / 300
    put("1", other)

    def thin(axes) -> list[tuple[list[float], str]]:
        lines = [line for line in axes.lines if line.get_linewidth() == 0.8 and line.get_linestyle() == "-"]
        return [(line.get_ydata().tolist(), line.get_color()) for line in lines]

    def of(kind: str, key: str) -> list[float]:
        return [entry[key] for entry in other["history"][kind]]

    def errors(kind: str, key: str) -> list:
        return [pytest.approx(1 - x) for x in of(kind, key)]

    left, right = draw(teacher_curves, experiment).axes
    assert thin(left) == [(of("teacher", "loss"), INK)]
    assert thin(right) == [(errors("teacher", "test_accuracy"), TEACHER)]
    assert "thin lines: seed 1" in words_of(right)
    left, right = draw(student_curves, experiment).axes
    assert thin(left) == [(of("student", "loss"), INK)]
    colours = {"omitted": OMITTED, "test": BEFORE, "other": OTHERS}
    assert thin(right) == [(errors("student", f"{k}_accuracy"), colour) for k, colour in colours.items()]
    ends = [
        line.get_ydata().tolist()
        for line in right.lines
        if line.get_markersize() == 6 and line.get_marker() == "*"
    ]
    after = networks[2]
    assert ends == [[pytest.approx(1 - after[f"{k}_accuracy"])] for k in colours]
    assert "thin lines: seed 1" in right.get_title(loc="left")
    (axes,) = draw(per_class_accuracy, experiment).axes
    dots = [line for line in axes.lines if line.get_marker() == "."]
    for place, (line, metrics) in enumerate(zip(dots, networks, strict=True)):
        np.testing.assert_allclose(line.get_xdata(), np.arange(10) + 0.27 * (place - 1))
        assert line.get_ydata().tolist() == metrics["per_class_accuracy"]
    assert axes.get_ylim()[0] < min(min(m["per_class_accuracy"]) for m in networks)
    assert axes.get_ylim()[1] > 1  # no bar ends beyond the frame


# words and axes


def test_no_error_at_all_has_a_place_on_a_logarithmic_axis():
    np.testing.assert_allclose(error_shares([0.0, 0.9, 1.0], 50), [1, 0.1, 0.01])


def test_what_was_never_seen_in_words():
    assert [never_seen(c) for c in ((3,), (3, 5), EVERY_CLASS)] == ["a 3", "classes 3, 5", "any digit"]
    assert [instances(c) for c in ((3,), (3, 5), (1, 2, 3), EVERY_CLASS)] == [
        "3s", "3s and 5s", "3 classes", "digits",
    ]  # fmt: skip
    noise = Config(omitted_class=EVERY_CLASS, transfer_set="noise")
    assert learner(SimpleNamespace(config=noise)) == "a student that sees no digit, only uniform noise"


@pytest.mark.parametrize(("correct", "biases"), [("omitted", "bias"), ("all", "biases")])
def test_the_students_curves_end_with_its_last_epoch_and_the_correction(correct, biases, made):
    experiment = made(correct=correct)
    with our_style():
        figure = student_curves(experiment)
        figure.canvas.draw()
    right = figure.axes[1]
    ticks = [text.get_text() for text in right.get_xticklabels()]
    assert ticks[-2:] == [str(len(experiment.history("student"))), f"\n{biases}\ncorrected"]
    words = next(text for text in right.texts if "before and after" in text.get_text())
    assert right.xaxis.label.get_window_extent().y1 < right.bbox.y0
    highest = max(np.max(line.get_ydata()) for line in right.lines if line.get_color() != AFTER)
    assert words.get_window_extent().y0 > right.transData.transform((1, highest))[1]


def test_calibration_belongs_to_one_class_left_out(made):
    found = made().results()["bias_correction"]
    assert [one["offset"] for one in found["calibration"]] == [
        0.0, found["offsets"][0], found["best_on_test_set"]["offset"],
    ]  # fmt: skip
    assert made(omitted_class=(3, 5)).results()["bias_correction"]["calibration"] is None
    assert made(correct="all").results()["bias_correction"]["calibration"] is None


def test_pictures_say_what_the_flags_did(made, few_images):
    with our_style():
        one, ten = (per_class_accuracy(made(correct=which)) for which in ("omitted", "all"))
        assert f"student after it, bias {made().correction.offsets[0]:+.2f}" in words_of(one)
        assert "bias" not in words_of(ten)
        assert "ten scalars for the class never seen, and all others" in words_of(ten)
        for settings, words in (
            ({}, "target, its frequency in training"),
            ({"prior": "em"}, "target, its frequency as EM finds it"),
            ({"probe": "transfer"}, "target, the teacher's mean probability"),
        ):
            assert words in words_of(bias_correction(made(**settings)))
        taught = words_of(teacher_curves(made(teacher_omitted_class=(3,))))
        assert "The teacher learns all but 3s from hard labels" in taught
        altered = words_of(dark_knowledge(made(teacher_answers="shuffled"))).replace("\n", " ")
        assert "(the student hears: shuffled)" in altered
        part = words_of(dark_knowledge(made(soft_part="target"))).replace("\n", " ")
        assert "(the student hears the target part alone)" in part
        assert "hears" not in words_of(dark_knowledge(made()))


@pytest.mark.parametrize(
    ("hard_weight", "loss", "teacher"),
    [
        (0.0, "T² KL(teacher ‖ student), log scale", "soft targets"),
        (
            0.25,
            "0.75 T² KL(teacher ‖ student) + 0.25 cross-entropy, log scale",
            "soft targets and hard labels",
        ),
        (1.0, "cross-entropy, log scale", "hard labels"),
    ],
)
def test_pictures_say_what_the_student_learns_from(hard_weight, loss, teacher, made, few_images):
    experiment = made(hard_weight=hard_weight)
    with our_style():
        curves, frame = words_of(student_curves(experiment)), words_of(transfer_set(experiment))
        story = gif.Story(experiment, experiment.history("student"), np.arange(2), None)
        first = words_of(gif.draw_frame(story, 1, False)).splitlines()
        assert f"A student that never sees a 3, taught by {teacher}" in first
    assert loss in curves
    assert taught_by(experiment) == teacher
    right = experiment.metrics()["after_correction"]["omitted_accuracy"]
    assert ("learns to recognise it" in curves) == (hard_weight < 1 and right >= 0.5)
    assert (f"has {100 * right:.2f} % of them right" in curves) == (hard_weight < 1 and right < 0.5)
    assert ("hears hard labels alone" in curves) == ("hears hard labels alone" in frame) == (hard_weight == 1)


def test_the_origin_of_a_picture_names_what_is_not_in_the_recipe(made):
    plain, changed = made().config, {"hard_weight": 1.0, "student_hidden": (7, 6)}
    assert "--student-hidden" not in other_settings(Config())
    words = other_settings(replace(Config(), **changed))
    assert words == ", --student-hidden 7 6, --hard-weight 1"
    assert other_settings(replace(plain, outdir=Path("x"), seed=5)) == other_settings(plain)
    many = {"batch_size": 7, "n_epochs_teacher": 3, "n_epochs_student": 3, "probe_size": 9}
    assert other_settings(replace(Config(), **changed, **many)).endswith(", ...")
    with our_style():
        assert "seed 0, --probe-size 300, " in words_of(student_curves(made()))


def test_a_probe_that_cannot_be_had_is_said_before_anything_is_trained(small_folder, tmp_path):
    config = Config(data_dir=small_folder, cache_dir=tmp_path, outdir=tmp_path, probe_share=0.0001)
    with pytest.raises(UserError, match=r"--probe-share 0\.0001 of 600 images is no image"):
        pipeline.run(config)
    assert not list((tmp_path / "runs").glob("*.run"))


@pytest.mark.parametrize(
    ("train", "test", "omitted", "learned", "seen", "sees"),
    [
        ((3, 8), (3, 8), (3,), "both classes", "class 8", "the class it sees"),
        (tuple(range(10)), (3, 8), (3,), "all ten classes", "every digit but 3s", "the class it sees"),
        ((0, 1, 3, 5, 7), (0, 1, 3, 5, 7), (3, 5), "all 5 classes", "classes 0, 1, 7", "the classes it sees"),
    ],
    ids=["two", "one beside it in the test set", "five"],
)  # fmt: skip
def test_pictures_of_few_classes_speak_of_these(
    train, test, omitted, learned, seen, sees, tmp_path, few_images
):
    folder = data_of(train, test, tmp_path / "data")
    experiment = maker(folder, tmp_path, TINY)(omitted_class=omitted)
    named = replace(experiment, data=replace(experiment.data, name=r"of $\frac$"))
    figures = {picture.__name__: draw(picture, named) for picture in ALL}
    for figure in figures.values():
        drawn_anyhow(figure)  # a "$" in a name is no mathematics
        assert figure._supxlabel.get_text().startswith(r"of $\frac$, temperature")
    words = {name: words_of(figure) for name, figure in figures.items()}
    assert f"The teacher learns {learned} from hard labels" in words["teacher_curves"]
    assert f"All that the student sees: {seen} (" in words["transfer_set"]
    assert sees in words["student_curves"].splitlines()
    (axes,) = figures["per_class_accuracy"].axes
    assert [label.get_text()[0] for label in axes.get_xticklabels()] == [str(c) for c in test]
    others = [c for c in test if c != 3]
    starts = [axes for axes in figures["imagined"].axes if axes.get_title().endswith("as it is")]
    assert {int(axes.get_title().split()[1][0]) for axes in starts} <= set(others)
    assert len(starts) == min(3, len(others))
    if len(train) == 2:
        assert "what the soft targets of 8s say about 3s" in words["dark_knowledge"]
    said = "\n".join(words.values())
    assert ("ten" in said.split()) == (len(train) == 10)


def test_no_picture_says_that_a_student_learns_what_it_gets_wrong(small_folder, tmp_path):
    made = maker(small_folder, tmp_path, SOME)
    drawn = {"omitted_class": EVERY_CLASS, "transfer_set": "contours", "probe_size": 300}
    untrained = {"n_epochs_student": 1, "learning_rate_student": 1e-9}
    for settings, title in (
        (untrained, "The student never sees a 3, and has {} % of them right after the correction"),
        (drawn | untrained, "The student sees contour lines of noise and no digit, and reads {} % of digits"),
    ):
        experiment = made(**settings)
        wrong, n = counted_errors(
            experiment.corrected_logits, experiment.data, experiment.config.omitted_class
        )
        said = draw(student_curves, experiment).get_suptitle()
        assert said == title.format(f"{100 * (1 - wrong / n):.2f}")
    assert (
        draw(student_curves, made()).get_suptitle()
        == "The student never sees a 3, and learns to recognise it"
    )
    both = draw(student_curves, made(omitted_class=(3, 8))).get_suptitle()
    assert both == "The student never sees classes 3, 8, and learns to recognise them"
