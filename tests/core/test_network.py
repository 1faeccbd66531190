"""The network, the optimiser, the jitter: against differences, textbook loops, PyTorch."""

from __future__ import annotations

from support import tiles
from support.transformations import Limits, Transformer

import numpy as np
import plain_numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_training import SIZES, filled, plain_copy, train_on_labels

import distillation_mnist_omitted_3 as core
from beyond.settings import Config


def flat(plain: plain_numpy.PlainMLP) -> np.ndarray:
    """The parameters of a plain network in the order of the core's flat vector."""
    weights, biases = plain.parameters[::2], plain.parameters[1::2]
    return np.concatenate([np.column_stack((w.T, b)).ravel() for w, b in zip(weights, biases, strict=True)])


def whole_gradient(network, activations, logits_gradient, workers, masks=None) -> np.ndarray:
    gradient = np.full_like(network.parameters, np.nan)

    def keep(part: slice, tile: np.ndarray) -> None:
        assert np.isnan(gradient[part]).all(), "a part came twice"
        gradient[part] = tile

    network.backward(activations, logits_gradient, workers, keep, masks)
    return gradient


@pytest.mark.parametrize("temperature", [None, 1.0, 2.5, 20.0])
def test_gradient_through_the_net_against_central_differences(workers, temperature):
    rng = np.random.default_rng(1)
    network = core.MLP((5, 7, 6, 4), rng, np.float64)
    network.parameters += 0.1 * rng.standard_normal(network.parameters.size)  # biases away from zero, too
    x, labels = rng.standard_normal((9, 5)), rng.integers(0, 4, 9)
    teacher_logits = 5 * rng.standard_normal((9, 4))

    def loss() -> tuple[float, np.ndarray]:
        logits = network.forward(filled(network, x), workers)
        if temperature is None:
            return core.cross_entropy(logits, labels)
        return core.distillation_loss(logits, teacher_logits, temperature)

    activations = filled(network, x)
    network.forward(activations, workers)
    gradient = whole_gradient(network, activations, loss()[1], workers)
    numeric = np.empty_like(gradient)
    for i in range(len(gradient)):
        kept, step = network.parameters[i], 1e-6
        network.parameters[i] = kept + step
        above = loss()[0]
        network.parameters[i] = kept - step
        numeric[i] = (above - loss()[0]) / (2 * step)
        network.parameters[i] = kept
    np.testing.assert_allclose(gradient, numeric, rtol=1e-5, atol=1e-7)


def test_dropout_gradient_against_central_differences(workers):
    rng = np.random.default_rng(2)
    network = core.MLP((5, 8, 7, 4), rng, np.float64)
    x, labels = rng.standard_normal((6, 5)), rng.integers(0, 4, 6)
    masks = [core.dropout_mask((n, 6), 0.4, rng).astype(np.float64) for n in (8, 7)]

    def loss() -> tuple[float, np.ndarray]:
        return core.cross_entropy(network.forward(filled(network, x), workers, masks), labels)

    activations = filled(network, x)
    network.forward(activations, workers, masks)
    gradient = whole_gradient(network, activations, loss()[1], workers, masks)
    for i in rng.permutation(len(gradient))[:60]:
        kept = network.parameters[i]
        network.parameters[i] = kept + 1e-6
        above = loss()[0]
        network.parameters[i] = kept - 1e-6
        assert gradient[i] == pytest.approx((above - loss()[0]) / 2e-6, rel=1e-4, abs=1e-7)
        network.parameters[i] = kept


def test_every_tile_of_the_gradient_once_and_as_the_plain_version(workers):
    rng = np.random.default_rng(3)
    network = core.MLP(SIZES, rng, np.float64)
    x, delta = rng.standard_normal((11, 6)), rng.standard_normal((11, 4))
    activations = filled(network, x)
    logits = network.forward(activations, workers)
    plain = plain_copy(network)
    np.testing.assert_allclose(logits, plain.forward(x)[-1], rtol=1e-12)
    gradients = plain.backward(plain.forward(x), delta)
    expected = np.concatenate(
        [np.column_stack((w.T, b)).ravel() for w, b in zip(gradients[::2], gradients[1::2], strict=True)]
    )
    np.testing.assert_allclose(
        whole_gradient(network, activations, delta, workers), expected, rtol=1e-11, atol=1e-12
    )


def test_adam_in_parts_against_the_textbook_loop():
    rng = np.random.default_rng(4)
    start = rng.standard_normal(50)
    parameters = start.copy()
    adam = core.Adam(parameters)
    textbook, m, v = start.copy(), np.zeros(50), np.zeros(50)
    for t in range(1, 301):
        gradient = rng.standard_normal(50) * 10.0 ** rng.integers(-9, 2)
        rate = 1e-3 * rng.random()
        adam.begin_step(rate)
        for part in (slice(0, 13), slice(13, 50)):
            adam.update(part, gradient[part].copy())
        for i in range(50):
            m[i] = 0.9 * m[i] + 0.1 * gradient[i]
            v[i] = 0.999 * v[i] + 0.001 * gradient[i] ** 2
            textbook[i] -= rate * (m[i] / (1 - 0.9**t)) / ((v[i] / (1 - 0.999**t)) ** 0.5 + 1e-8)
    np.testing.assert_allclose(parameters, textbook, rtol=1e-11)


def test_training_as_the_plain_version_over_many_steps(small_data, workers):
    """60 steps of the fast path, tiles and threads and all, against the plain one, in float64."""
    config = Config(n_epochs_teacher=3, batch_size=32, jitter=0, teacher_hidden=(230, 210))
    training = config.training("teacher")
    network = core.MLP(training.sizes, np.random.default_rng(0), np.float64)
    plain = plain_copy(network)
    images, labels = small_data.train_images, small_data.train_labels
    seen = []

    def loss(logits, batch, inputs):
        seen.append(batch.copy())
        return core.cross_entropy(logits, labels[batch])

    core.train(network, core.Lesson(images, np.arange(len(labels)), loss), training, workers)
    for batch in seen:
        plain.step_hard(images[batch].reshape(len(batch), -1) / 255, labels[batch], training.learning_rate)
    assert len(seen) == 3 * 19
    assert sorted(np.concatenate(seen[:19])) == list(range(600))  # an epoch is every image once
    np.testing.assert_allclose(network.parameters, flat(plain), rtol=1e-9, atol=1e-11)


@pytest.mark.bits
def test_the_number_of_threads_does_not_change_a_bit(small_data):
    """Tiles are the same whoever works on them, and so are the pieces of a batch."""
    transformed = {"rotation": 10.0, "scaling": 0.1, "shear": 0.1, "elastic": 1.5}
    training = Config(n_epochs_teacher=1, teacher_hidden=(500, 410), batch_size=150, **transformed).training(
        "teacher"
    )
    found = []
    for n_threads in (1, 2, 5):
        with core.Workers(n_threads) as pool:
            network = core.MLP(training.sizes, np.random.default_rng(0))
            train_on_labels(network, small_data, training, pool)
        found.append(network.parameters.tobytes())
    assert found[0] == found[1] == found[2]


@given(st.integers(1, 3000), st.integers(1, 10**8), st.integers(1, 9))
def test_a_product_is_cut_into_one_tile_per_thread_unless_it_is_small(n_rows, work_per_row, n_threads):
    """Every row once; small products are cut alike whatever the threads, large ones into no small tile."""
    cut = core.Workers(n_threads).tiles(n_rows, work_per_row)
    assert [row for tile in cut for row in range(n_rows)[tile]] == list(range(n_rows))
    heights = [tile.stop - tile.start for tile in cut]
    assert not any(tile.start % 24 for tile in cut)  # an edge of every kernel's blocks
    if n_rows < 48 or n_rows * work_per_row < 2 * tiles.MIN_TILE_WORK:
        assert cut == core.Workers(1).tiles(n_rows, work_per_row)
        assert max(heights) <= max(192, 2 * 2**20 / work_per_row + 24)
        if n_rows * work_per_row <= 2 * 2**20:
            assert len(cut) == 1  # no thread is woken for it
    else:
        assert len(cut) <= n_threads
        assert max(heights) - min(heights) <= 36
        assert min(heights) * work_per_row >= tiles.MIN_TILE_WORK / 2 >= 2 * 10**6
    if n_rows >= 24 * n_threads > 24 and n_rows * work_per_row >= n_threads * tiles.MIN_TILE_WORK:
        assert len(cut) == n_threads


@pytest.mark.bits
@pytest.mark.parametrize(
    ("sizes", "n"), [((784, 2000, 10), 2100), ((784, 300, 900, 10), 2100), ((784, 90, 10), 60)]
)
def test_logits_are_the_same_for_any_number_of_threads(sizes, n, small_data):
    """Also where there are more threads than rows for them."""
    network, images = (
        core.MLP(sizes, np.random.default_rng(1)),
        np.resize(small_data.train_images, (n, 28, 28)),
    )
    found = []
    for n_threads in (1, 3, 10):
        with core.Workers(n_threads) as pool:
            found.append(core.predict(network, images, pool, chunk=n).tobytes())
    assert len(set(found)) == 1


def test_workers_give_the_blas_its_threads_back_and_pass_errors_on():
    before = tiles.BLAS_THREADS.count()
    with core.Workers(3) as pool:
        done = []
        pool.map(done.append, range(100))
        assert sorted(done) == list(range(100))
        with pytest.raises(ZeroDivisionError):
            pool.map(lambda tile: 1 / tile, [1, 2, 0, 4, 5])
        pool.map(done.append, range(3))  # still in working order
        assert len(done) == 103
    assert tiles.BLAS_THREADS.count() == before


@given(st.integers(1, 6), st.integers(1, 9), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_jitter_against_shifting_by_hand(jitter, n, seed):
    """Borders included: what leaves the image is gone, what enters is zero."""
    images = np.random.default_rng(seed).integers(0, 256, (n, 28, 28), dtype=np.uint8)
    inputs = np.empty((784, n))
    write(inputs, images, Limits(jitter), seed)
    offsets = np.random.default_rng(seed).integers(
        0, 2 * jitter + 1, (2, n)
    )  # window corner in the padded image
    for k in range(n):
        dy, dx = jitter - offsets[:, k]
        expected = np.zeros((28, 28))
        for row in range(28):
            for column in range(28):
                if 0 <= row - dy < 28 and 0 <= column - dx < 28:
                    expected[row, column] = images[k, row - dy, column - dx]
        np.testing.assert_allclose(inputs[:, k].reshape(28, 28), expected / 255)


def write(inputs: np.ndarray, images: np.ndarray, limits: Limits, seed: int) -> None:
    for call in Transformer(limits, np.random.default_rng(seed)).calls(inputs, images):
        call()
