"""The student that learns in the page, in Node: every step of it against NumPy's."""

from __future__ import annotations

from support.feed import learning_rate_at
from support.offsets import add_offsets

from itertools import pairwise

import numpy as np
import pytest
from explorer_pages import run_js

import distillation_mnist_omitted_3 as core

N_STEPS, RATE = 20, 3e-3


@pytest.fixture
def lesson(explorer_run) -> dict[str, np.ndarray]:
    """Images, labels, a teacher's logits, a start and batches."""
    rng, data = np.random.default_rng(0), explorer_run[1].data
    network = core.MLP((784, 16, 12, 10), rng)
    for layer in network.layers:
        layer[:, -1] = rng.normal(0, 0.1, len(layer))
    return {
        "images": data.train_images[:100], "labels": data.train_labels[:100],
        "logits": rng.normal(0, 6, (100, 10)).astype(np.float32), "network": network,
        "batches": rng.permuted(np.tile(np.arange(100), (N_STEPS, 1)), axis=1)[:, :32],
    }  # fmt: skip


def numpy_steps(lesson, temperature: float, hard_weight: float, workers) -> list[np.ndarray]:
    """The parameters after each step, by the suite's own network, losses and Adam."""
    network, batches = lesson["network"], lesson["batches"]
    adam, found = core.Adam(network.parameters), []
    soft = core.soft_targets(lambda batch, _: lesson["logits"][batch], temperature)
    loss = core.mixed(soft, core.hard_labels(lesson["labels"]), hard_weight)
    for step, batch in enumerate(batches):
        activations = network.new_activations(len(batch))
        activations[0][:-1] = lesson["images"][batch].reshape(len(batch), -1).T / 255
        _, gradient = loss(network.forward(activations, workers), batch, activations[0])
        adam.begin_step(learning_rate_at(step, N_STEPS, RATE, "linear"))
        network.backward(activations, gradient, workers, adam.update)
        found.append(network.parameters.copy())
    return found


STEPS = """
const layers = given.layers.map((rows) => ({
  weights: Float32Array.from(rows.flatMap((row) => row.slice(0, -1))),
  biases: rows.map((row) => row.at(-1)),
}));
const learner = new Learner({ sizes: given.sizes, background: 0, layers });
const softTargets = softTargetsOf(Float32Array.from(given.logits.flat()), given.temperature);
const lesson = { images: Uint8Array.from(given.images.flat()), labels: given.labels, softTargets };
return given.batches.map((batch, step) => {
  learner.step(batch, lesson, given, learningRateAt(step, given.batches.length, given.rate));
  return learner.network.layers.map(({ weights, biases }) => [Array.from(weights), Array.from(biases)]);
});
"""


@pytest.mark.parametrize(("temperature", "hard_weight"), [(20, 0), (4, 0.3), (1, 1)])
def test_every_step_is_numpy_s(temperature, hard_weight, lesson, small, workers):
    """Same start, same batches: all parameters within 1e-4 after each of 20 steps."""
    network = lesson["network"]
    given = {
        "sizes": network.sizes, "layers": [layer.tolist() for layer in network.layers],
        "images": lesson["images"].reshape(100, -1).tolist(), "labels": lesson["labels"].tolist(),
        "logits": lesson["logits"].tolist(), "batches": lesson["batches"].tolist(),
        "temperature": temperature, "hardWeight": hard_weight, "rate": RATE,
    }  # fmt: skip
    start = network.parameters.copy()
    theirs = run_js(small[0], STEPS, given)
    ours = numpy_steps(lesson, temperature, hard_weight, workers)
    assert np.abs(ours[-1] - start).max() > 0.02
    for step, (layers, parameters) in enumerate(zip(theirs, ours, strict=True)):
        shapes = list(pairwise(network.sizes))
        both = [
            np.column_stack([np.reshape(weights, (fan_out, fan_in)), biases]).ravel()
            for (weights, biases), (fan_in, fan_out) in zip(layers, shapes, strict=True)
        ]
        assert np.abs(np.concatenate(both) - parameters).max() < 1e-4, step


def test_the_offset_is_that_of_numpy_s_binary_search(small):
    logits = np.random.default_rng(1).normal(0, 5, (300, 10)).astype(np.float32)
    code = "return given.asked.map(([c, t]) => matchedOffset(Float32Array.from(given.logits.flat()), c, t));"
    asked = [(3, 0.1), (7, 0.02), (0, 0.9), (5, 0.0)]
    found = run_js(small[0], code, {"logits": logits.tolist(), "asked": asked})
    assert found == [
        pytest.approx(expected, abs=1e-6) if (expected := core.match_class_frequency(logits, c, t)) else None
        for c, t in asked
    ]
    assert found[-1] is None
    p = core.softmax(add_offsets(logits.astype(float), [3], [found[0]]))[:, 3].mean()
    assert p == pytest.approx(0.1, abs=1e-6)


def test_a_new_network_is_he_s_and_follows_from_its_seed(small):
    code = """
    const [a, b, c] = [1, 1, 2].map((seed) => newNetwork([784, 64, 10], randomBy(seed)).layers);
    const arrays = ({ weights, biases }) => [Array.from(weights), Array.from(biases)];
    return [a, b, c].map((layers) => layers.map(arrays));
    """
    one, same, other = run_js(small[0], code)
    assert one == same
    assert one != other
    for (weights, biases), fan_in in zip(one, (784, 64), strict=True):
        assert not np.any(biases)
        assert np.std(weights) == pytest.approx(np.sqrt(2 / fan_in), rel=0.05)
        assert np.mean(weights) == pytest.approx(0, abs=0.2 * np.sqrt(2 / fan_in))
        scaled = np.sort(np.ravel(weights)) / np.sqrt(2 / fan_in)
        assert np.mean(np.abs(scaled) < 1) == pytest.approx(0.683, abs=0.04)  # normal
    assert len(one[0][0]) == 784 * 64


def test_the_digit_left_out_is_in_no_batch(small):
    """Its images may say anything: the student is the same, and so is one of all classes but one."""
    code = """
    const random = randomBy(5);
    const images = Uint8Array.from({ length: 40 * 784 }, () => 256 * random());
    const labels = Uint8Array.from({ length: 40 }, (_, i) => i % 10);
    const logits = Float32Array.from({ length: 400 }, () => 10 * random());
    const other = { images: images.slice(), logits: logits.slice() };
    labels.forEach((label, i) => {
      if (label !== given.spoilt) return;
      other.images.fill(9, 784 * i, 784 * i + 784);
      other.logits.fill(1, 10 * i, 10 * i + 10);
    });
    const settings = { digit: 4, temperature: 20, hardWeight: 0.5, nImages: 30, seed: 3 };
    const plan = { hidden: [8], steps: 12, batch: 7, rate: 1e-2, reports: 3 };
    return [{ images, logits }, other].map((one) => {
      const reports = [...training({ labels, test: images, ...one }, settings, plan)];
      const { biases, weights } = reports.at(-1).network.layers[0];
      return [reports.map(({ step }) => step), [...biases, ...weights]];
    });
    """
    for spoilt in (4, 6):
        (steps, parameters), (_, other) = run_js(small[0], code, {"spoilt": spoilt})
        assert steps == [0, 4, 8, 12]
        assert (parameters == other) == (spoilt == 4)
