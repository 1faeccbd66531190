"""The convolutional network as a whole against PyTorch and by hand, and its optimisers."""

from __future__ import annotations

from support.tiles import Workers

import math
from itertools import pairwise

import numpy as np
import pytest
from plain_layers import loss_and_gradient, naive_block, naive_whitening
from small_cifar10 import CHANNELS, random_batch, random_network

from cifar10 import layers
from cifar10.network import ConvNet, groups_of, plan_of
from cifar10.optimisers import Muon, Nesterov, orthogonalised
from cifar10.settings import Config
from cifar10.training import predict, side_in, views

# ---- The network -------------------------------------------------------------------------------------------


def test_the_plan_of_a_list_of_channels():
    assert plan_of(("4", "M", "6", "7", "M")) == [(32, 24, 4, True), (16, 4, 6, False), (16, 6, 7, True)]
    assert plan_of([4, "M", 6]) == [(32, 24, 4, True), (16, 4, 6, False)]


@pytest.mark.parametrize(("n", "sizes"), [(1, [1]), (64, [64]), (65, [32, 33]), (256, [64] * 4)])
def test_groups_are_as_equal_as_can_be(n, sizes):
    groups = groups_of(n)
    assert [group.stop - group.start for group in groups] == sizes
    np.testing.assert_array_equal(np.concatenate([np.arange(n)[group] for group in groups]), np.arange(n))


def test_how_a_network_starts():
    network, rng = ConvNet(CHANNELS, np.random.default_rng(7)), np.random.default_rng(7)
    linear = rng.standard_normal((10, 5), np.float32) / np.sqrt(5)
    np.testing.assert_allclose(network.linear[:, :-1], linear, rtol=1e-6)
    assert not network.linear[:, -1].any()
    for block, n_to, n_from in zip(network.blocks, (4, 6, 5), (24, 4, 6), strict=True):
        kernels = rng.standard_normal((3, n_to, 3, n_from), np.float32) * np.sqrt(2 / (9 * n_from))
        np.testing.assert_allclose(block.kernels, kernels, rtol=1e-6)
        for array, value in (
            (block.scale, 1), (block.shift, 0), (block.running_mean, 0), (block.running_variance, 1)
        ):  # fmt: skip
            np.testing.assert_array_equal(array, np.full(n_to, value))
    without = ConvNet(CHANNELS, None)
    assert without.parameters.dtype == np.float32
    assert without.parameters.sum() == 2 * (4 + 6 + 5)  # scales and variances
    assert without.parameters.max() == 1


def test_everything_is_one_vector_trained_part_first():
    network = random_network()
    arrays = [a for b in network.blocks for a in (b.kernels, b.scale, b.shift)] + [network.linear]
    assert network.n_trained == len(network.trained) == sum(a.size for a in arrays)
    np.testing.assert_array_equal(network.trained, np.concatenate([a.ravel() for a in arrays]))
    frozen = [a for b in network.blocks for a in (b.running_mean, b.running_variance)]
    frozen.append(network.whitening.kernels.ravel())
    np.testing.assert_array_equal(network.parameters, np.concatenate([network.trained, *frozen]))
    for block, place in zip(network.blocks, network.kernel_places, strict=True):
        np.testing.assert_array_equal(network.parameters[place], block.kernels.ravel())
    network.parameters[:] = 3
    assert all((a == 3).all() for a in (*arrays, *frozen))


def test_buffers_are_made_anew_only_for_another_batch_size(workers):
    network = random_network()
    images, labels = random_batch(6)
    first = loss_and_gradient(network, images, labels, workers)[2]
    buffer = network.blocks[0].groups[0].parts
    loss_and_gradient(network, images[::-1], labels, workers)
    assert network.blocks[0].groups[0].parts is buffer
    loss_and_gradient(network, images[:3], labels[:3], workers)
    assert network.blocks[0].groups[0].parts is not buffer
    np.testing.assert_array_equal(loss_and_gradient(network, images, labels, workers)[2], first)


@pytest.mark.parametrize("training", [False, True])
def test_logits_by_their_definition(training, workers):
    network = random_network()
    images, _ = random_batch(66)  # two groups
    x = naive_whitening(network.whitening.kernels, images)
    for block in network.blocks:
        kept = None if training else (block.running_mean.copy(), block.running_variance.copy())
        x, _ = naive_block(block, x, kept)
    features = x.max(axis=(0, 2))
    expected = (network.linear[:, :-1] @ features + network.linear[:, -1:]).T / 8
    found = network.forward(images, workers, training=training)
    np.testing.assert_allclose(found, expected, atol=1e-10)


def test_gradient_against_central_differences(workers):
    """Every array of every layer: three entries each, in float64."""
    network = random_network()
    images, labels = random_batch(66)
    _, _, gradient = loss_and_gradient(network, images, labels, workers)
    assert gradient.shape == network.trained.shape
    rng = np.random.default_rng(2)
    sizes = [a.size for b in network.blocks for a in (b.kernels, b.scale, b.shift)] + [network.linear.size]
    for start, end in pairwise([0, *np.cumsum(sizes)]):
        for place in rng.integers(start, end, 3):
            values = []
            for step in (1e-6, -2e-6):
                network.trained[place] += step
                values.append(loss_and_gradient(network, images, labels, workers)[0])
            network.trained[place] += 1e-6
            slope = (values[0] - values[1]) / 2e-6
            assert gradient[place] == pytest.approx(slope, rel=1e-4, abs=1e-7)


@pytest.mark.parametrize(
    ("side", "n_images", "n_rows"),
    [
        (32, 64, 4),
        (16, 64, 8),
        (8, 64, 8),
        (4, 64, 4),
        (32, 1, 32),
        (32, 1000, 2),
        (12, 1000, 6),
        (6, 1000, 6),
    ],
)
def test_as_many_rows_at_a_time_as_the_cache_holds(side, n_images, n_rows):
    assert layers.rows_at_a_time(side, side // 2 * n_images) == n_rows


def test_the_number_of_rows_at_a_time_changes_no_bit(workers, monkeypatch):
    images, labels = random_batch(70)  # two groups
    found = []
    for columns, n_rows in ((1, [2, 2, 2]), (layers.AT_A_TIME, [4, 8, 8]), (10**6, [32, 16, 8])):
        monkeypatch.setattr(layers, "AT_A_TIME", columns)
        network = random_network(np.float32)
        network.forward(images, workers)
        assert [block.groups[0].n_rows for block in network.blocks] == n_rows
        _, logits, gradient = loss_and_gradient(network, images, labels, workers)
        found.append((logits, gradient, network.parameters, network.forward(images, workers)))
    for other in found[1:]:
        for one, another in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(one, another)


@pytest.mark.bits
def test_the_number_of_threads_changes_no_bit():
    images, labels = random_batch(140)  # three groups
    found = []
    for n_threads in (1, 2, 3, 5):
        network = random_network(np.float32)
        with Workers(n_threads) as workers:
            _, logits, gradient = loss_and_gradient(network, images, labels, workers)
            found.append((logits, gradient, network.parameters, network.forward(images, workers)))
    for other in found[1:]:
        for one, another in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(one, another)


def test_equal_maxima_over_the_image_share_the_gradient(workers):
    """A flat image has its maximum at many places: together they get what one alone would get."""
    network = ConvNet(("2", "M"), np.random.default_rng(0), np.float64)
    rng = np.random.default_rng(1)
    network.linear[:] = rng.standard_normal(network.linear.shape)
    network.whitening.kernels[:] = rng.standard_normal((12, 12))
    (block,) = network.blocks
    block.shift[:] = 10  # no ReLU in the way
    network.forward(np.full((2, 3, 33, 33), 200, np.uint8), workers, training=True)
    (rows,) = network.last_outputs
    assert (rows == network.features[:-1, None]).sum(axis=(0, 1, 3)).max() > 1
    d_logits = np.random.default_rng(2).standard_normal((2, 10))
    gradient = network.backward(d_logits, workers)
    d_features = network.linear[:, :-1].T @ d_logits.T / 8
    at_shift = block.kernels.size + block.scale.size
    np.testing.assert_allclose(gradient[at_shift : at_shift + 2], d_features.sum(axis=1))


@pytest.mark.parametrize(
    ("channels", "side"),
    [
        (CHANNELS, 32),
        (("4", "M", "6", "M", "7", "M", "5", "6"), 24),  # the last two on 3 x 3 pixels
        (("4", "M", "6", "M", "7", "M", "5", "6"), 8),  # and on one
        (("4", "5"), 18),
    ],
)
def test_against_pytorch(channels, side, workers):
    """Logits in training and in evaluation, the loss and the whole gradient of a network in float64.

    At another side than before, whose odd columns, buffers of another size, must leave nothing behind.
    """
    torch = pytest.importorskip("torch")
    network = random_network(channels=channels)
    network.forward(random_batch(66)[0], workers)
    network.see(side)
    images, labels = random_batch(66, side + 1)
    kernels = torch.from_numpy(network.whitening.kernels.reshape(12, 2, 2, 3).transpose(0, 3, 1, 2).copy())
    modules = []
    for block in network.blocks:
        convolution = torch.nn.Conv2d(block.n_from, block.n_to, 3, padding=1, bias=False)
        convolution.weight.data = torch.from_numpy(block.kernels.transpose(1, 3, 2, 0).copy())
        normalisation = torch.nn.BatchNorm2d(block.n_to, momentum=0.4)
        normalisation.weight.data = torch.from_numpy(block.scale.copy())
        normalisation.bias.data = torch.from_numpy(block.shift.copy())
        normalisation.running_mean = torch.from_numpy(block.running_mean.copy())
        normalisation.running_var = torch.from_numpy(block.running_variance.copy())
        pool = [torch.nn.MaxPool2d(2)] if block.pools else []
        modules += [convolution, *pool, normalisation, torch.nn.ReLU()]
    linear = torch.nn.Linear(network.blocks[-1].n_to, 10)
    linear.weight.data = torch.from_numpy(network.linear[:, :-1] / 8)
    linear.bias.data = torch.from_numpy(network.linear[:, -1] / 8)
    theirs = torch.nn.Sequential(*modules, torch.nn.AdaptiveMaxPool2d(1), torch.nn.Flatten(), linear).double()
    directions = torch.nn.functional.conv2d(torch.from_numpy(images / 255), kernels)
    x = torch.relu(torch.cat((directions, -directions), 1))
    logits = theirs(x)
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels))
    loss.backward()
    value, found, gradient = loss_and_gradient(network, images, labels, workers)
    assert value == pytest.approx(loss.item(), rel=1e-12)
    np.testing.assert_allclose(found, logits.detach().numpy(), atol=1e-11)
    expected = []
    for module in theirs:
        if isinstance(module, torch.nn.Conv2d):
            expected.append(module.weight.grad.numpy().transpose(3, 0, 2, 1).ravel())
        elif isinstance(module, torch.nn.BatchNorm2d):
            expected += [module.weight.grad.numpy(), module.bias.grad.numpy()]
    both = np.column_stack((linear.weight.grad.numpy(), linear.bias.grad.numpy()))
    expected.append(both.ravel() / 8)
    np.testing.assert_allclose(gradient, np.concatenate(expected), atol=1e-11)
    theirs.eval()
    found = network.forward(images, workers)
    np.testing.assert_allclose(found, theirs(x).detach().numpy(), atol=1e-11)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_offsets_give_another_network_whose_logits_differ_by_just_them(dtype, workers):
    network = random_network(dtype)
    images, _ = random_batch(side=32)
    before, kept = predict(network, images, workers), network.parameters.copy()
    corrected = network.with_offsets((3, 5), (0.7, -1.25))
    expected = before.copy()
    expected[:, [3, 5]] += [0.7, -1.25]
    tolerance = 1e-12 if dtype is np.float64 else 1e-5
    np.testing.assert_allclose(predict(corrected, images, workers), expected, atol=tolerance)
    assert corrected.parameters.dtype == dtype
    assert corrected.channels == network.channels
    np.testing.assert_array_equal(network.parameters, kept)
    assert not np.shares_memory(network.parameters, corrected.parameters)
    np.testing.assert_array_equal(predict(network, images, workers), before)


def test_predict_does_not_depend_on_the_chunk(workers, monkeypatch):
    network = random_network()
    images, _ = random_batch(7, side=32)
    whole = predict(network, images, workers)
    monkeypatch.setattr("cifar10.training.CHUNK", 3)
    np.testing.assert_allclose(predict(network, images, workers), whole, atol=1e-12)
    bordered = np.pad(images, ((0, 0), (0, 0), (0, 1), (0, 1)), mode="reflect")
    np.testing.assert_allclose(network.forward(bordered, workers), whole, atol=1e-12)


def test_a_new_network_answers_for_a_single_image(workers):
    images, _ = random_batch(2, side=32)
    found = predict(random_network(), images[:1], workers)
    np.testing.assert_allclose(found, predict(random_network(), images, workers)[:1], atol=1e-12)


def test_a_network_that_diverged_answers_without_a_warning(workers):
    """Which would be an error here: the caller finds what is not finite and says so in one line."""
    network = random_network(np.float32)
    network.linear[:] = 3e38
    assert not np.isfinite(predict(network, random_batch(side=32)[0], workers)).any()


def test_sizes_of_the_default_networks():
    config = Config()
    teacher, student = (
        ConvNet(config.training(kind).channels, np.random.default_rng(0)) for kind in ("teacher", "student")
    )
    products = zip(
        (32, 16, 16, 8, 8, 4), (24, 40, 40, 144, 144, 144), (40, 40, 144, 144, 144, 144), strict=True
    )
    convolutions = sum(side**2 * 9 * a * b for side, a, b in products)
    assert teacher.n_multiply_adds == convolutions + 32**2 * 144 + 1440
    assert student.n_trained == pytest.approx(teacher.n_trained / 5, rel=0.08)
    assert 3 * student.n_multiply_adds <= teacher.n_multiply_adds


# ---- What an image is shown as -----------------------------------------------------------------------------


def test_views_by_their_definition():
    images, _ = random_batch(4, side=32)
    shifts = np.array([(2, 2), (0, 4), (3, 1), (2, 2)])
    mirrored = np.array([False, False, True, True])
    found = views(images, shifts, mirrored, 2)
    assert found.shape == (4, 3, 33, 33)
    for image, (down, right), flip, seen in zip(images, shifts, mirrored, found, strict=True):
        for y in range(33):
            for x in range(33):
                rows, columns = y + down - 2, (32 - x if flip else x) + right - 2
                reflected = [-p if p < 0 else 62 - p if p > 31 else p for p in (rows, columns)]
                np.testing.assert_array_equal(seen[:, y, x], image[:, reflected[0], reflected[1]])


@pytest.mark.parametrize("side", [8, 16, 24, 30])
def test_smaller_views_are_means_over_areas(side):
    """To the last bit: each pixel repeated `side` times along both axes, means of 32 x 32 of these."""
    images, _ = random_batch(3, side=32)
    shifts, mirrored = np.array([(2, 2), (0, 4), (4, 1)]), np.array([False, True, True])
    larger = np.pad(images, ((0, 0), (0, 0), (2, 8), (2, 8)), mode="reflect").astype(int)
    found = views(images, shifts, mirrored, 2, side)
    n = math.ceil(32 * (side + 1) / side)  # pixels that are wanted
    for image, (down, right), flip, seen in zip(larger, shifts, mirrored, found, strict=True):
        window = image[:, down : down + n, right : right + n]
        fine = window[..., :: -1 if flip else 1].repeat(side, axis=1).repeat(side, axis=2)
        fine = fine[:, : 32 * (side + 1), : 32 * (side + 1)]
        sums = fine.reshape(3, side + 1, 32, side + 1, 32).sum(axis=(2, 4))
        np.testing.assert_array_equal(seen, np.floor(sums / 1024 + 0.5))
        assert seen.dtype == np.uint8


def test_images_grow_in_equal_parts_of_the_training():
    def sides(n_epochs: int, *given: int) -> list[int]:
        settings = Config(sides=given, n_epochs_teacher=n_epochs).training("teacher")
        return [side_in(epoch, settings) for epoch in range(1, n_epochs + 1)]

    assert sides(6, 16, 24, 32) == [16, 16, 24, 24, 32, 32]
    assert sides(10, 16, 24, 32) == [16, 16, 16, 24, 24, 24, 32, 32, 32, 32]
    assert sides(5, 16, 24, 24, 32) == [16, 24, 24, 32, 32]
    assert sides(1, 16, 24, 32) == sides(1, 32) == [32]
    assert sides(2, 8, 16, 24, 32) == [16, 32]


def test_another_side_costs_less_and_starts_nothing_anew(workers):
    network = random_network()
    whole, kept = network.n_multiply_adds, network.parameters.copy()
    network.see(16)
    assert [block.side for block in network.blocks] == [16, 8, 4]
    assert network.n_multiply_adds - 50 == (whole - 50) / 4  # all but the linear layer's
    images, _ = random_batch(7, side=32)
    found = predict(network, images, workers)
    shown = views(images, np.zeros((7, 2), int), np.zeros(7, bool), 0, 16)
    np.testing.assert_array_equal(found, network.forward(shown, workers))
    network.see(32)
    np.testing.assert_array_equal(network.parameters, kept)
    np.testing.assert_array_equal(
        predict(network, images, workers), predict(random_network(), images, workers)
    )


# ---- Optimisers --------------------------------------------------------------------------------------------


def test_nesterov_step_by_step(workers):
    """By hand: rate 0.5, momentum 0.5, decay 0.1 of the first parameter and none of the second."""
    parameters = np.array([1.0, 2.0])
    nesterov = Nesterov(parameters, np.array([0.1, 0.0]), momentum=0.5)
    nesterov.step(np.array([1.0, 0.0]), 0.5, workers)  # g = 1.1, v = 1.1, step 0.5 (1.1 + 0.55)
    np.testing.assert_allclose(parameters, [0.175, 2.0])
    nesterov.step(
        np.array([0.0, 4.0]), 0.5, workers
    )  # g = 0.0175, v = 0.5675, step 0.5 (0.0175 + 0.28375); 4, 4, 3
    np.testing.assert_allclose(parameters, [0.175 - 0.150625, -1.0])
    nesterov.step(np.zeros(2), 0.0, workers)
    np.testing.assert_allclose(parameters, [0.024375, -1.0])


def test_nesterov_leaves_alone_what_neither_decays_nor_has_a_gradient(workers):
    parameters = np.array([1.0, 2.0], np.float32)
    nesterov = Nesterov(parameters, np.array([0.5, 0.0], np.float32))
    for _ in range(3):
        nesterov.step(np.array([1.0, 0.0], np.float32), 0.1, workers)
    assert parameters[1] == 2
    v, first = 0.0, 1.0
    for _ in range(3):
        v = 0.9 * v + 1 + 0.5 * first
        first -= 0.1 * (1 + 0.5 * first + 0.9 * v)
    assert parameters[0] == pytest.approx(first, rel=1e-5)
    assert nesterov.velocity.dtype == np.float32


def test_nesterov_against_pytorch(workers):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    start = rng.standard_normal(20)
    theirs = torch.nn.Parameter(torch.from_numpy(start.copy()))
    optimiser = torch.optim.SGD([theirs], lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    ours = start.copy()
    nesterov = Nesterov(ours, 5e-4)
    for step in range(20):
        gradient, rate = rng.standard_normal(20), 0.1 / (step + 1)
        optimiser.param_groups[0]["lr"] = rate
        theirs.grad = torch.from_numpy(gradient.copy())
        optimiser.step()
        nesterov.step(gradient, rate, workers)
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-12)


def by_singular_values(matrix: np.ndarray) -> np.ndarray:
    """What `orthogonalised` gives: an odd polynomial of a matrix acts on its singular values alone."""
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    s = s / (np.sqrt((s**2).sum()) + 1e-7)
    for _ in range(5):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    return u * s @ vt


@pytest.mark.parametrize("shape", [(6, 40), (40, 6), (16, 16), (1, 5), (5, 1)])
@pytest.mark.parametrize("size", [1.0, 1e-7])
def test_orthogonalised_by_its_singular_values(shape, size):
    matrix = size * np.random.default_rng(0).standard_normal(shape)
    found = orthogonalised(matrix)
    np.testing.assert_allclose(found, by_singular_values(matrix), atol=1e-9)
    assert not orthogonalised(0 * matrix).any()


def test_orthogonalised_in_single_precision_bears_small_singular_values():
    """The squares of the smallest are a hundredth of what float32 tells apart beside that of the largest."""
    u, _, vt = np.linalg.svd(np.random.default_rng(0).standard_normal((40, 216)), full_matrices=False)
    matrix = u * np.logspace(0, -4.5, 40) @ vt
    found = orthogonalised(matrix.astype(np.float32))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, by_singular_values(matrix), atol=5e-4)


def is_kernel(network: ConvNet) -> np.ndarray:
    """Which of the trained parameters are kernels' numbers, bool (n_trained,)."""
    sizes = [(b.kernels.size, b.scale.size + b.shift.size) for b in network.blocks]
    counts = [n for pair in sizes for n in pair] + [network.linear.size]
    return np.repeat([True, False] * len(sizes) + [False], counts)


@pytest.mark.parametrize("momentum", [0.9, 0.5])
def test_muon_step_by_step(momentum, workers):
    """Three steps: kernels by orthogonalised momentum, the rest by Nesterov's with decay."""
    network = random_network()
    kernels = [b.kernels.transpose(1, 0, 2, 3).reshape(b.n_to, -1).copy() for b in network.blocks]
    velocities = [np.zeros_like(k) for k in kernels]
    rest = network.trained[~is_kernel(network)].copy()
    nesterov = Nesterov(rest, 0.01, momentum)
    muon = Muon(network, 0.01, momentum)
    rng = np.random.default_rng(3)
    for rate in (0.4, 0.2, 0.8):
        gradient = rng.standard_normal(network.trained.shape)
        nesterov.step(gradient[~is_kernel(network)], rate, workers)
        for index, place in enumerate(network.kernel_places):
            shape = network.blocks[index].kernels.shape
            g = gradient[place].reshape(shape).transpose(1, 0, 2, 3).reshape(shape[1], -1)
            velocities[index] = momentum * velocities[index] + g
            step = by_singular_values(g + momentum * velocities[index])
            length = np.sqrt((kernels[index] ** 2).sum())
            kernels[index] = kernels[index] * np.sqrt(shape[1]) / length - 0.2 * rate * step
        muon.step(gradient, rate, workers)
        for block, expected in zip(network.blocks, kernels, strict=True):
            found = block.kernels.transpose(1, 0, 2, 3).reshape(block.n_to, -1)
            np.testing.assert_allclose(found, expected, atol=1e-9)
        np.testing.assert_allclose(network.trained[~is_kernel(network)], rest, rtol=1e-12)


def test_orthogonalised_momentum_against_pytorch(workers):
    """PyTorch's own Muon computes the iteration in bfloat16, hence the tolerance."""
    torch = pytest.importorskip("torch")
    if not hasattr(torch.optim, "Muon"):
        pytest.skip("this PyTorch has no Muon")
    network = random_network()
    block, place = network.blocks[1], network.kernel_places[1]
    ours = Muon(network, weight_decay=0.0)
    weights = torch.nn.Parameter(torch.zeros(block.n_to, 9 * block.n_from))
    theirs = torch.optim.Muon([weights], lr=1.0, weight_decay=0.0, momentum=0.9, nesterov=True)
    rng = np.random.default_rng(6)
    for _ in range(4):
        gradient = rng.standard_normal(network.trained.shape)
        matrix = gradient[place].reshape(block.kernels.shape).transpose(1, 0, 2, 3).reshape(block.n_to, -1)
        weights.data.zero_()
        weights.grad = torch.from_numpy(matrix.astype(np.float32))
        theirs.step()
        before = block.kernels * np.sqrt(block.n_to) / np.linalg.norm(block.kernels)
        ours.step(gradient, 1.0, workers)
        change = (block.kernels - before).transpose(1, 0, 2, 3).reshape(block.n_to, -1) / ours.KERNEL_SHARE
        assert np.linalg.norm(change - weights.detach().numpy()) < 0.03 * np.linalg.norm(change)
