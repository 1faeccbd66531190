"""The explorer: what the page holds, that it computes as NumPy does, its words, and its script."""

from __future__ import annotations

from support.console import Console
from support.offsets import add_offsets

from pathlib import Path

import numpy as np
import pytest
from explorer_pages import about_of, arrays_of, rounded_network, run_js

import distillation_mnist_omitted_3 as core
from explorer import contents, rounding
from pictures import imagined


def inked(images: np.ndarray) -> list[list[float]]:
    return (images.reshape(len(images), -1) / 255).tolist()


# ---- The page computes as NumPy does -----------------------------------------------------------------------


def test_javascript_says_of_1000_test_images_what_numpy_says(small):
    """The network of the page to 1e-4; the trained one within 0.01.

    And the same class: but for images between two classes, whose probabilities are nearer than that.
    """
    page, experiment = small
    images, arrays, about = experiment.data.test_images[:1000], arrays_of(page), about_of(page)
    code = """
    const images = given.map((bytes) => Float32Array.from(bytes, (v) => v / 255));
    const both = page.networks.slice(0, 2);
    return both.map((network) => images.map((image) => Array.from(logitsOf(network, image))));
    """
    found = np.array(run_js(page, code, images.reshape(1000, -1).tolist()))
    for theirs, one, run in zip(
        found, about["networks"][:2], (experiment.teacher, experiment.student), strict=True
    ):
        with core.Workers() as workers:
            ours = core.predict(rounded_network(arrays, one), images, workers)
        assert np.abs(theirs - ours).max() < 1e-4, one["key"]
        trained = run.test_logits[-1][:1000]
        assert np.abs(core.softmax(theirs) - core.softmax(trained)).max() < 0.01
        two = np.sort(core.softmax(trained), axis=1)[:, -2:]
        clear = np.ptp(two, axis=1) > 0.02
        assert clear.sum() >= 980
        assert (theirs.argmax(axis=1) == trained.argmax(axis=1))[clear].all()


def test_javascript_s_softmax_is_equation_1(small):
    z = [3.0, -1.0, 800.0, 799.5, 0, 0, 0, 0, 0, 0]
    code = "return [softmax(given, 1), softmax(given, 20)];"
    theirs = np.array(run_js(small[0], code, z))
    expected = [core.softmax(np.array([z]), t)[0] for t in (1, 20)]
    assert theirs == pytest.approx(np.array(expected), abs=1e-12)


@pytest.mark.parametrize("background", [0.0, -0.5])
def test_javascript_s_gradient_is_that_of_finite_differences(background, small):
    """Towards each of several pixels, with what an empty pixel is for the network in the way."""
    page, experiment = small
    image = inked(experiment.data.test_images[:1])[0]
    code = """
    const network = { ...page.networks[1], background: given.background };
    const { logP, gradient } = inputGradient(network, given.image, 7);
    const changed = (i, change) => given.image.map((v, j) => v + (i === j) * change);
    const at = (i, change) => Math.log(softmax(logitsOf(network, changed(i, change)))[7]);
    const slopes = given.pixels.map((i) => (at(i, 2e-3) - at(i, -2e-3)) / 4e-3);
    return { logP, slopes, gradient: given.pixels.map((i) => gradient[i]), here: at(-1, 0) };
    """
    pixels = [150, 300, 407, 408, 435, 500, 650]
    found = run_js(page, code, {"image": image, "background": background, "pixels": pixels})
    assert found["logP"] == pytest.approx(found["here"], abs=1e-5)
    assert found["gradient"] == pytest.approx(found["slopes"], rel=0.03, abs=0.02)
    assert np.abs(found["gradient"]).max() > 0.1


def test_javascript_walks_towards_a_class_as_the_pictures_do(small, monkeypatch):
    """Step by step, to the same image as `pictures.imagined.short_change`, whose constants the page has."""
    page, experiment = small
    about = about_of(page)
    walk = {"sigma": imagined.SIGMA, "step": imagined.STEP, "enough": imagined.ENOUGH,
            "most": imagined.MOST_STEPS}  # fmt: skip
    assert about["walk"] == walk
    image = experiment.data.test_images[experiment.data.test_labels == 8][0]
    network = rounded_network(arrays_of(page), about["networks"][1])
    monkeypatch.setattr(imagined, "MOST_STEPS", 25)
    expected, p = imagined.short_change(network, image, 3)
    code = """
    let pixels = given;
    let steps = 0;
    while (steps < 25 && softmax(logitsOf(page.networks[1], pixels))[3] < page.about.walk.enough) {
      pixels = stepTowards(page.networks[1], pixels, 3, page.about.walk).pixels;
      steps += 1;
    }
    return { pixels: Array.from(pixels), p: softmax(logitsOf(page.networks[1], pixels))[3], steps };
    """
    found = run_js(page, code, inked(image[None])[0])
    assert found["steps"] > 3
    assert np.array(found["pixels"]) == pytest.approx(expected.ravel(), abs=2e-4)
    assert found["p"] == pytest.approx(p, abs=2e-3)


def test_counts_of_errors_are_exactly_numpy_s(small):
    page, experiment = small
    labels, omitted = experiment.data.test_labels, [3]
    chosen, best = (experiment.results()["bias_correction"][k] for k in ("offsets", "best_on_test_set"))
    offsets = [0.0, *chosen, best["offset"], -1.0, 0.37, 1.25, 2.5, 3.5, 6.0]
    code = """
    const unseen = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map((c) => c === 3);
    const zero = new Array(10).fill(0);
    const at = (b) => zero.map((_, c) => (c === 3 ? b : 0));
    const { logits, labels } = page.arrays;
    const exact = given.map((b) => errorsOf(logits, labels, at(b), unseen));
    const sorted = [...given].sort((a, b) => a - b);
    const curve = errorCurve(logits, labels, at(5), unseen, 3, sorted);
    return { exact: exact.map(({ all, unseen, guesses }) => [all, unseen, Array.from(guesses)]),
      curve: curve.map(({ offset, all, unseen }) => [offset, all, unseen]) };
    """
    found = run_js(page, code, offsets)
    expected = {}
    for offset, (n_all, n_unseen, guesses) in zip(offsets, found["exact"], strict=True):
        logits = add_offsets(experiment.student_logits, omitted, [offset])
        metrics = core.evaluate(logits, labels, omitted)
        expected[offset] = metrics["test_errors"], metrics["omitted_errors"]
        assert (n_all, n_unseen) == expected[offset]
        assert guesses == logits.argmax(axis=1).tolist()
    assert found["curve"] == [[offset, *expected[offset]] for offset in sorted(offsets)]
    assert best["test_errors"] == expected[best["offset"]][0]


def test_an_image_on_the_margin_counts_as_in_numpy(small):
    """An offset adds in single precision, and of equal logits the first class is named."""
    code = """
    const zero = new Array(10).fill(0);
    const logits = Float32Array.from([...zero.map((_, c) => (c === 2 ? 1 : c === 3 ? 1 : 0))]);
    const at = (b) => zero.map((_, c) => (c === 3 ? b : 0));
    return [0, 1e-9, 1e-6].map((b) => errorsOf(logits, [2], at(b), zero).guesses[0]);
    """
    assert run_js(small[0], code) == [2, 2, 3]


# ---- Drawings become what MNIST's digits are ---------------------------------------------------------------

STROKES = {
    "three": [
        [[8, 6], [13, 4], [17, 7], [13, 12], [10, 12], [13, 12], [18, 16], [17, 21], [12, 23], [7, 21]]
    ],
    "small": [[[3, 3], [5, 2.5], [6, 4], [4, 5.5], [6, 7], [5, 9], [3, 8.5]]],
    "wide": [[[1, 14], [27, 15]], [[10, 12], [12, 18]]],
    "one": [[[14, 1], [13, 26]]],
    "in a corner": [[[1, 2], [6, 2.5], [4, 9]]],
}


def drawn(page: Path, *drawings: list) -> np.ndarray:
    """The images (n, 28, 28) of as many drawings, each some strokes."""
    given = [[{"erase": False, "points": points} for points in strokes] for strokes in drawings]
    found = run_js(page, "return given.map((strokes) => Array.from(normalised(strokes)));", given)
    return np.reshape(found, (-1, 28, 28))


def test_a_drawing_is_centred_and_scaled_as_mnist_s_digits_are(small):
    """The longer side of the ink fills 20 pixels, and the centre of mass is in the middle of pixel 14."""
    for name, image in zip(STROKES, drawn(small[0], *STROKES.values()), strict=True):
        assert (image.min(), image.max()) == (0, 1), name
        assert image * 255 == pytest.approx(np.rint(image * 255), abs=1e-4)
        rows, columns = (np.flatnonzero(image.sum(axis=axis) > 0.25) for axis in (1, 0))
        longer = max(np.ptp(rows), np.ptp(columns)) + 1
        assert longer in (20, 21), name  # off the grid of pixels it touches one more
        weights = np.arange(28) + 0.5
        centre = [(image.sum(axis=axis) @ weights) / image.sum() for axis in (0, 1)]
        assert centre == pytest.approx([14.5, 14.5], abs=0.05), name


def test_scaling_is_that_of_an_independent_rendering(small):
    """A rectangle of strokes: its sides keep their ratio, and the pen its width."""
    (image,) = drawn(small[0], [[[5, 9], [15, 9], [15, 13], [5, 13], [5, 9]]])
    pen, scale = 2.7, (20 - 2.7) / 10  # the pen's width in pixels; the path is 10 x 4 wide and high
    grid = (np.arange(28 * 8) + 0.5) / 8 - 14.5
    outer = [abs(grid) <= (side * scale + pen) / 2 for side in (10, 4)]
    inner = [abs(grid) < (side * scale - pen) / 2 for side in (10, 4)]
    fine = outer[1][:, None] & outer[0] & ~(inner[1][:, None] & inner[0])
    expected = fine.reshape(28, 8, 28, 8).mean(axis=(1, 3))
    assert np.abs(image - expected).mean() < 0.01
    assert np.abs(image - expected).max() < 0.35  # round corners


def test_size_and_place_on_the_canvas_make_no_difference(small):
    three = np.array(STROKES["three"][0])
    image, moved = drawn(small[0], [three.tolist()], [(0.5 * three + (2, 9)).tolist()])
    assert np.abs(image - moved).max() < 0.25
    assert np.abs(image - moved).mean() < 0.01


def test_nothing_drawn_dots_and_erased_drawings(small):
    code = """
    const dot = { erase: false, points: [[3, 3]] };
    const away = { erase: true, points: [[3, 3], [3.1, 3]] };
    const shaken = { erase: false, points: [[3, 3], [3.2, 3]] };
    return [[], [dot], [dot, away], [away], [shaken]].map((strokes) => Array.from(normalised(strokes)));
    """
    nothing, dot, erased, eraser, shaken = np.array(run_js(small[0], code))
    assert nothing.sum() == erased.sum() == eraser.sum() == 0
    assert 4 < dot.sum() < 8  # a dot stays a dot
    assert shaken.sum() < 12


def test_strokes_over_a_digit_leave_the_rest_of_it_alone(small):
    image = small[1].data.test_images[0] / 255
    code = """
    const edit = (erase) => Array.from(edited(given, [{ erase, points: [[2, 2], [10, 2]] }]));
    return [Array.from(edited(given, [])), edit(false), edit(true)];
    """
    same, added, erased = (
        np.array(v).reshape(28, 28) for v in run_js(small[0], code, image.ravel().tolist())
    )
    assert same == pytest.approx(image, abs=1e-7)
    assert added[5:] == pytest.approx(image[5:], abs=1e-7)
    assert added[2, 2:10].min() > 0.9
    assert erased[:, 12:] == pytest.approx(image[:, 12:], abs=1e-7)
    assert erased[2, 2:10].max() == 0


# ---- Rounding ----------------------------------------------------------------------------------------------


@pytest.fixture
def layer() -> tuple[np.ndarray, np.ndarray]:
    """Weights (30, 60) and inputs (60, 500) that go together, as pixels do, some always 0."""
    rng = np.random.default_rng(5)
    inputs = np.maximum(0, rng.standard_normal((60, 8)) @ rng.standard_normal((8, 500))).astype(np.float32)
    inputs[::7] = 0
    return rng.standard_normal((30, 60)).astype(np.float32), inputs


def test_rounding_is_that_of_its_inventors_weight_by_weight(layer):
    """Hassibi & Stork's update with the inverse of what is left, computed anew for every weight."""
    weights, inputs = layer
    integers, scales = rounding.rounded_weights(weights, inputs)
    assert (integers.dtype, scales.dtype) == (np.int8, np.float32)
    assert scales == pytest.approx(np.abs(weights).max(axis=1) / 127)
    together = inputs.astype(float) @ inputs.T / inputs.shape[1]
    strength = np.diag(together).copy()
    together += 1e-3 * strength.mean() * np.eye(60)
    left, expected = weights.astype(float), np.zeros((30, 60), int)
    still = sorted(range(60), key=lambda i: (-strength[i], i))
    while still:
        inverse = np.linalg.inv(together[np.ix_(still, still)])
        first = still[0]
        expected[:, first] = np.clip(np.rint(left[:, first] / scales), -127, 127)
        off = left[:, first] - expected[:, first] * scales
        left[:, still] -= np.outer(off / inverse[0, 0], inverse[0])
        still = still[1:]
    assert (integers == expected).mean() > 0.999  # but for a tie
    assert np.abs(integers - expected).max() <= 1


def test_a_network_is_rounded_on_what_it_learned_from_and_nothing_else(small):
    """The student on no 3; every weight of the page is what that gives."""
    page, experiment = small
    teacher, student = contents.portraits(experiment, None)
    labels = {image.tobytes(): c for image, c in zip(experiment.data.train_images,
                                                      experiment.data.train_labels, strict=True)}  # fmt: skip
    assert {labels[image.tobytes()] for image in teacher.images} == set(range(10))
    assert {labels[image.tobytes()] for image in student.images} == set(range(10)) - {3}
    arrays = arrays_of(page)
    for one in (teacher, student):
        for index, layer in enumerate(rounding.rounded(one.network, one.images)):
            integers = arrays[f"{one.key}/{index}/integers"].reshape(layer.integers.shape)
            assert (integers == layer.integers).all()


def test_a_row_of_zeros_stays_one(layer):
    weights, inputs = layer
    weights[4] = 0
    integers, scales = rounding.rounded_weights(weights, inputs)
    assert not integers[4].any()
    assert scales[4] == 1


def test_inputs_that_are_always_zero_are_no_trouble(layer):
    weights, inputs = layer
    integers, scales = rounding.rounded_weights(weights, 0 * inputs)
    assert np.abs(integers * scales[:, None] - weights).max() <= 0.5001 * scales.max()


def test_biases_take_up_the_mean_and_only_classes_are_kept(small_data, workers):
    network = core.MLP((784, 30, 14), np.random.default_rng(0))
    network.background = -0.5
    layers = rounding.rounded(network, small_data.train_images)
    assert [layer.integers.shape for layer in layers] == [(30, 784), (10, 30)]
    page = rounding.as_network(layers, network.background)
    assert page.sizes == (784, 30, 10)
    ours, theirs = (core.predict(n, small_data.train_images, workers)[:, :10] for n in (page, network))
    assert ours.mean(axis=0) == pytest.approx(theirs.mean(axis=0), abs=1e-4)
    found = rounding.agreement(layers, network, theirs, small_data.train_images)
    assert found.n_images == 600
    assert found.n_other_class <= 3
    assert 0 < found.largest_difference < 0.05
    wrong = rounding.agreement(layers, network, -theirs, small_data.train_images)
    assert wrong.n_other_class > 500


def test_a_network_that_rounding_changes_is_announced(capsys):
    for n, few, many in ((100, 3, 4), (10_000, 20, 21)):
        contents.warn_if_other("Student", rounding.Agreement(n, few, 0.1), Console())
        assert capsys.readouterr().err == ""
        contents.warn_if_other("Student", rounding.Agreement(n, many, 0.1), Console())
        assert f"another class of {many} of {n} test images" in capsys.readouterr().err
