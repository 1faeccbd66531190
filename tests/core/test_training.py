"""The network, the optimiser, the jitter: against differences, textbook loops, PyTorch (training)."""

from __future__ import annotations

from support import tiles

import numpy as np
import plain_pipeline
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_training import SIZES, filled, plain_copy, train_on_labels

import distillation_mnist_omitted_3 as core
from beyond.settings import Config


class Counting:
    """Draws every 16-bit number once."""

    def integers(self, low: int, high: int, shape: tuple[int, int], dtype: type) -> np.ndarray:
        assert (low, high, shape, dtype) == (0, 65536, (256, 256), np.uint16)
        return np.arange(65536, dtype=dtype).reshape(shape)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.75, 0.99])
def test_dropout_drops_its_share_to_one_part_in_65536(share):
    mask = core.dropout_mask((256, 256), share, Counting())
    assert mask.dtype == np.float32
    assert (mask == 0).sum() == round(65536 * share)
    assert set(mask[mask != 0]) == {np.float32(1 / (1 - share))}


def test_with_offsets_is_another_network_of_the_same_precision():
    network = core.MLP((3, 5, 4), np.random.default_rng(0), np.float64)
    before = network.parameters.copy()
    offset = 1 / 3  # no single-precision number
    corrected = network.with_offsets([1, 3], [offset, -2.0])
    assert corrected.parameters.dtype == np.float64
    assert not np.shares_memory(corrected.parameters, network.parameters)
    np.testing.assert_array_equal(network.parameters, before)
    difference = corrected.parameters - before
    expected = core.MLP((3, 5, 4), None, np.float64)
    expected.layers[1][1, -1], expected.layers[1][3, -1] = offset, -2.0
    np.testing.assert_allclose(difference, expected.parameters, atol=1e-15)
    single = core.MLP((3, 4), np.random.default_rng(0)).with_offsets([1], [offset])
    assert single.parameters.dtype == np.float32


class Collecting:
    """In Adam's place: keeps the gradient, which Adam would not tell from a multiple of it."""

    def __init__(self, parameters: np.ndarray) -> None:
        self.gradient = np.full_like(parameters, np.nan)
        Collecting.last = self

    def begin_step(self, learning_rate: float) -> None:
        pass

    def update(self, part: slice, gradient: np.ndarray) -> None:
        assert gradient.dtype == np.float32
        self.gradient[part] = gradient


def test_the_gradient_of_a_step_with_dropout_has_the_size_that_it_should_have(
    small_data, workers, monkeypatch
):
    monkeypatch.setattr(core, "Adam", Collecting)
    config = Config(
        teacher_hidden=(30, 20), batch_size=60, n_epochs_teacher=1, jitter=0, dropout=0.5, dropout_input=0.25
    )
    training = config.training("teacher")
    network, indices = core.MLP(training.sizes, np.random.default_rng(0)), np.arange(60)
    lesson = core.Lesson(small_data.train_images, indices, core.hard_labels(small_data.train_labels))
    core.train(network, lesson, training, workers)

    rng = np.random.default_rng(training.order_seed)
    batch = rng.permutation(indices)
    x = small_data.train_images[batch].reshape(60, -1) / 255
    x = x * plain_pipeline.kept((784, 60), 0.25, rng)
    masks = [plain_pipeline.kept((n, 60), 0.5, rng) for n in (30, 20)]
    layers = [(w[:, :-1].astype(float), w[:, -1].astype(float)) for w in network.layers]
    activations = plain_pipeline.forward(layers, x, masks)
    _, delta = plain_pipeline.hard(small_data.train_labels)(activations[-1], batch, x)
    expected = plain_pipeline.gradients(layers, activations, delta, masks)
    flat_gradient = np.concatenate([np.column_stack(layer).ravel() for layer in expected])
    np.testing.assert_allclose(Collecting.last.gradient, flat_gradient, rtol=1e-3, atol=1e-6)


def test_all_buffers_have_the_precision_of_the_network():
    for dtype in (np.float32, np.float64):
        buffers = core.MLP((3, 5, 4), None, dtype).new_activations(7)
        assert [(b.shape, b.dtype) for b in buffers] == [((4, 7), dtype), ((6, 7), dtype), ((4, 7), dtype)]


class Listening(core.Watcher):
    def __init__(self) -> None:
        self.steps: list[tuple[int, float]] = []
        self.epochs: list[tuple[int, float]] = []

    def step_done(self, epoch: int, share: float) -> None:
        self.steps.append((epoch, share))

    def epoch_done(self, epoch: int, mean_loss: float) -> None:
        self.epochs.append((epoch, mean_loss))


def test_a_watcher_hears_of_every_step_and_epoch_and_the_loss_is_the_mean_over_images(small_data, workers):
    """A loss of 1 on the first image of a batch and 0 on others: the mean over images tells sizes apart."""
    batches: list[int] = []

    def loss(logits, batch, inputs):
        batches.append(len(batch))
        assert inputs.shape == (785, len(batch))
        assert (inputs[-1] == 1).all()
        return 1 / len(batch), np.zeros_like(logits)

    training = Config(batch_size=40, n_epochs_teacher=2, teacher_hidden=(3,)).training("teacher")
    watcher, indices = Listening(), np.arange(100)
    core.train(
        core.MLP((784, 3, 10), np.random.default_rng(0)),
        core.Lesson(small_data.train_images, indices, loss),
        training, workers, watcher,
    )  # fmt: skip
    assert batches == [40, 40, 20] * 2
    assert watcher.steps == [(e, pytest.approx(share)) for e in (1, 2) for share in (0.4, 0.8, 1.0)]
    assert watcher.epochs == [(1, pytest.approx(0.03)), (2, pytest.approx(0.03))]


@given(st.integers(0, 2**32), st.floats(0.1, 5))
@settings(max_examples=30, deadline=None)
def test_limit_norms_against_unit_by_unit(seed, max_norm):
    network = core.MLP((7, 450, 5, 10), np.random.default_rng(seed), np.float64)
    network.parameters[:] *= np.random.default_rng(seed).uniform(0, 3, network.parameters.size)
    before = [layer.copy() for layer in network.layers]
    with core.Workers(2) as pool:
        core.limit_norms(network, max_norm, pool)
    for old, new in zip(before[:-1], network.layers[:-1], strict=True):
        for unit in range(len(old)):
            norm = sum(w**2 for w in old[unit, :-1]) ** 0.5
            expected = old[unit, :-1] * min(1, max_norm / norm)
            np.testing.assert_allclose(new[unit, :-1], expected, rtol=1e-12)
        np.testing.assert_array_equal(old[:, -1], new[:, -1])  # biases
    np.testing.assert_array_equal(before[-1], network.layers[-1])  # the logits are no hidden units


def test_described_sizes_and_initialisation():
    """The parameter counts of 784-1200-1200-10 and 784-800-800-10, He's variance, biases at zero."""
    config = Config()
    for training, count in ((config.training("teacher"), 2_395_210), (config.training("student"), 1_276_810)):
        network = core.MLP(training.sizes, np.random.default_rng(training.weight_seed))
        assert network.parameters.size == count
        assert network.parameters.dtype == np.float32
        for layer, fan_in in zip(network.layers, training.sizes, strict=False):
            assert np.shares_memory(layer, network.parameters)
            assert layer[:, :-1].std() == pytest.approx((2 / fan_in) ** 0.5, rel=0.02)
            assert not layer[:, -1].any()


def test_schedules():
    assert [core.learning_rate_at(s, 10, 0.1, "constant") for s in range(10)] == [0.1] * 10
    rates = [core.learning_rate_at(s, 1000, 0.1, "linear") for s in range(1000)]
    assert rates[0] == pytest.approx(0.1 / 50)
    assert max(rates) == pytest.approx(0.1)
    assert int(np.argmax(rates)) in (49, 50)
    np.testing.assert_allclose(np.diff(rates[:50]), 0.1 / 50)
    np.testing.assert_allclose(np.diff(rates[50:]), -0.1 / 950)
    assert 0 < rates[-1] < 0.1 / 900
    assert core.learning_rate_at(0, 1, 0.1, "linear") == 0.1


def test_predict_does_not_depend_on_the_chunk(small_data, workers):
    network = core.MLP((784, 230, 10), np.random.default_rng(0), np.float64)
    x = small_data.test_images.reshape(300, -1) / 255
    expected = plain_copy(network).forward(x)[-1]
    for chunk in (7, 300, 1000):
        np.testing.assert_allclose(
            core.predict(network, small_data.test_images, workers, chunk), expected, atol=1e-12
        )


def test_steps_against_pytorch(workers):
    """Values, gradients and five steps of Adam on the described teacher's loss, in float64."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(5)
    network = core.MLP(SIZES, rng, np.float64)
    x, teacher_logits = rng.standard_normal((16, 6)), 3 * rng.standard_normal((16, 4))
    modules: list = []
    for layer in network.layers:
        linear = torch.nn.Linear(layer.shape[1] - 1, layer.shape[0], dtype=torch.float64)
        linear.weight.data = torch.from_numpy(layer[:, :-1].copy())
        linear.bias.data = torch.from_numpy(layer[:, -1].copy())
        modules += [linear, torch.nn.ReLU()]
    net = torch.nn.Sequential(*modules[:-1])
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-3)
    adam = core.Adam(network.parameters)
    temperature = 4.0
    for _ in range(5):
        logits = net(torch.from_numpy(x))
        log_q = torch.log_softmax(logits / temperature, 1)
        soft_targets = torch.softmax(torch.from_numpy(teacher_logits) / temperature, 1)
        loss = temperature**2 * torch.nn.functional.kl_div(log_q, soft_targets, reduction="batchmean")
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        activations = filled(network, x)
        value, gradient = core.distillation_loss(
            network.forward(activations, workers), teacher_logits, temperature
        )
        assert value == pytest.approx(loss.item(), rel=1e-12)
        adam.begin_step(1e-3)
        network.backward(activations, gradient, workers, adam.update)
        weights = [np.column_stack((m.weight.detach(), m.bias.detach())).ravel() for m in modules[:-1:2]]
        np.testing.assert_allclose(network.parameters, np.concatenate(weights), rtol=1e-8, atol=1e-12)


def test_a_blas_that_cannot_be_asked_is_left_alone(small_data, monkeypatch):
    """Accelerate and MKL: one plain loop over the same tiles, the same network up to rounding."""
    training = Config(n_epochs_teacher=1, teacher_hidden=(500, 410), batch_size=50).training("teacher")
    found = []
    for names in (tiles.BLAS_NAMES, ()):
        monkeypatch.setattr(tiles, "BLAS_NAMES", names)
        with core.Workers() as pool:
            network = core.MLP(training.sizes, np.random.default_rng(0))
            train_on_labels(network, small_data, training, pool)
        found.append(network.parameters)
    assert pool.n_threads == 1
    assert np.abs(found[0] - found[1]).mean() < 1e-6
