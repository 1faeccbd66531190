"""The convolutional network: every layer, forward and backward, and the optimisers, against other ways."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from small_cifar10 import CHANNELS, random_batch, random_network

from cifar10.layers import Block, BlockArrays, convolve, max_of_four, quarters, shared_out
from cifar10.network import ConvNet, plan_of
from cifar10.optimisers import OPTIMISERS, Muon, Nesterov, orthogonalised
from cifar10.settings import Config
from cifar10.training import fill_inputs, predict
from distillation_mnist_omitted_3 import cross_entropy


def block_of(
    side: int, n_from: int, n_to: int, pools: bool, n_images: int, dtype: type = np.float64
) -> Block:
    rng = np.random.default_rng(5)
    arrays = BlockArrays(
        kernels=rng.standard_normal((3, n_to, 3, n_from)).astype(dtype),
        scale=rng.uniform(0.5, 1.5, n_to).astype(dtype),
        shift=rng.uniform(-0.5, 0.5, n_to).astype(dtype),
        running_mean=rng.standard_normal(n_to).astype(dtype),
        running_variance=rng.uniform(0.5, 2, n_to).astype(dtype),
    )
    block = Block(arrays, side, pools)
    block.allocate(n_images)
    return block


def padded(x: np.ndarray) -> np.ndarray:
    """(row, channel, column, image) with a border of zeros around the image."""
    return np.pad(x, ((1, 1), (0, 0), (1, 1), (0, 0)))


def naive_convolution(kernels: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Of x (row, from, column, image) with kernels (dx, to, dy, from), by its definition."""
    height, _, width, n_images = x.shape
    around, out = padded(x), np.zeros((height, kernels.shape[1], width, n_images))
    for row in range(height):
        for column in range(width):
            for dy in range(3):
                for dx in range(3):
                    out[row, :, column] += kernels[dx, :, dy] @ around[row + dy, :, column + dx]
    return out


def naive_pool(x: np.ndarray) -> np.ndarray:
    height, n, width, n_images = x.shape
    return x.reshape(height // 2, 2, n, width // 2, 2, n_images).max(axis=(1, 4))


def naive_block(block: Block, x: np.ndarray, statistics: tuple | None = None) -> tuple[np.ndarray, tuple]:
    """Output (row, to, column, image) for an input of that form, and mean and variance that it used."""
    z = naive_convolution(block.kernels, x)
    z = naive_pool(z) if block.pools else z
    mean, variance = statistics or (z.mean(axis=(0, 2, 3)), z.var(axis=(0, 2, 3)))
    a, b, m, v = (s[:, None, None] for s in (block.scale, block.shift, mean, variance))
    return np.maximum(a * (z - m) / np.sqrt(v + 1e-5) + b, 0), (mean, variance)


def loss_and_gradient(network, images, labels, workers) -> tuple[float, np.ndarray, np.ndarray]:
    fill_inputs(network.inputs(len(images)), images)
    logits = network.forward(workers, training=True)
    value, gradient = cross_entropy(logits, labels)
    return value, logits, network.backward(gradient, workers)


# convolution and pooling


@pytest.mark.parametrize(
    ("height", "width", "n_from", "n_to", "n_images"), [(4, 5, 3, 2, 2), (1, 1, 1, 3, 1)]
)
def test_convolution_by_its_definition(height, width, n_from, n_to, n_images, workers):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((height, n_from, width, n_images))
    kernels = rng.standard_normal((3, n_to, 3, n_from))
    out = np.full((height, n_to, width * n_images), np.nan)
    convolve(kernels.reshape(3, n_to, -1), padded(x), workers, out)
    np.testing.assert_allclose(
        out.reshape(height, n_to, width, n_images), naive_convolution(kernels, x), atol=1e-12
    )


def test_quarters_are_the_four_places_of_a_pool():
    rows = np.arange(2 * 3 * 4 * 2).reshape(2, 3, 4, 2)
    found = quarters(rows)
    assert len(found) == 4
    for part, (i, j) in zip(found, [(0, 0), (0, 1), (1, 0), (1, 1)], strict=True):
        np.testing.assert_array_equal(part, rows[i][:, [j, j + 2]])
        assert np.shares_memory(part, rows)


@pytest.mark.parametrize("place", range(4))
def test_the_largest_of_four_wherever_it_is(place):
    parts = [np.array([1.0, -5.0]), np.array([2.0, -6.0]), np.array([3.0, -7.0]), np.array([0.0, -8.0])]
    parts[place] = np.array([9.0, -1.0])
    out = np.empty(2)
    assert max_of_four(parts, out) is out
    assert out.tolist() == [9, -1] == max_of_four(parts).tolist()


def test_the_gradient_of_a_maximum_is_shared_among_equal_ones():
    parts = [np.array(p, float) for p in ([1, 5, 2, 7], [0, 5, 2, 7], [0, 1, 2, 7], [0, 1, 0, 7])]
    targets = [np.full(4, np.nan) for _ in parts]
    shared_out(np.array([8.0, 8.0, 9.0, 8.0]), parts, targets)
    assert [t.tolist() for t in targets] == [[8, 4, 3, 2], [0, 4, 3, 2], [0, 0, 3, 2], [0, 0, 0, 2]]


# a block


@pytest.mark.parametrize("pools", [False, True])
def test_a_block_in_training_and_in_evaluation(pools, workers):
    block = block_of(4, 2, 3, pools, n_images=5)
    rng = np.random.default_rng(0)
    for _ in range(2):  # the second step's running statistics start from the first's
        x = rng.standard_normal((4, 2, 4, 5))
        old_mean, old_variance = block.running_mean.copy(), block.running_variance.copy()
        out = block.forward(padded(x), workers, training=True)
        expected, (mean, variance) = naive_block(block, x)
        np.testing.assert_allclose(out, padded(expected), atol=1e-12)  # and zeros around it
        n = expected.size / 3
        np.testing.assert_allclose(block.running_mean, 0.9 * old_mean + 0.1 * mean)
        np.testing.assert_allclose(block.running_variance, 0.9 * old_variance + 0.1 * variance * n / (n - 1))
    kept = block.running_mean.copy(), block.running_variance.copy()
    out = block.forward(padded(x), workers, training=False)
    np.testing.assert_allclose(out, padded(naive_block(block, x, kept)[0]), atol=1e-12)
    np.testing.assert_array_equal((block.running_mean, block.running_variance), kept)
    assert (out > 0).any()
    assert not (out < 0).any()


@pytest.mark.parametrize("mean_over_sd", [3_000, 10_000])
def test_batch_normalisation_does_not_cancel_where_the_mean_is_large(mean_over_sd, workers):
    """In single precision, against double precision on the same numbers."""
    block = block_of(8, 1, 2, False, n_images=16, dtype=np.float32)
    block.kernels[:] = 0
    block.kernels[1, :, 1, 0] = 1, -1  # what comes in, and its negative
    block.scale[:], block.shift[:], block.running_variance[:] = 1, 4, 0
    x = (mean_over_sd + np.random.default_rng(0).standard_normal((8, 1, 8, 16))).astype(np.float32)
    out = block.forward(padded(x), workers, training=True)[1:-1, :, 1:-1]
    exact = x.astype(np.float64)
    mean, variance = exact.mean(), exact.var()
    normal = (exact - mean) / np.sqrt(variance + 1e-5)
    assert normal.std() == pytest.approx(1, rel=1e-3)
    np.testing.assert_allclose(block.inverse_sd, 1 / np.sqrt(variance + 1e-5), rtol=0.01)
    np.testing.assert_allclose(block.running_variance, 0.1 * variance * x.size / (x.size - 1), rtol=0.01)
    np.testing.assert_allclose(out[:, :1], np.maximum(4 + normal, 0), atol=0.01)
    np.testing.assert_allclose(out[:, 1:], np.maximum(4 - normal, 0), atol=0.01)


def test_a_constant_channel_is_divided_by_the_root_of_epsilon(workers):
    block = block_of(2, 1, 1, False, n_images=3)
    block.kernels[:] = 0
    out = block.forward(np.zeros((4, 1, 4, 3)), workers, training=True)
    np.testing.assert_allclose(block.inverse_sd, 1 / np.sqrt(1e-5))
    np.testing.assert_allclose(out[1:-1, :, 1:-1], max(block.shift[0], 0))


@pytest.mark.parametrize("pools", [False, True])
def test_every_gradient_of_a_block_against_central_differences(pools, workers):
    block = block_of(4, 2, 3, pools, n_images=2)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 2, 4, 2))
    weights = rng.standard_normal(block.output.shape)

    def loss() -> float:
        return float((weights * naive_block(block, x)[0]).sum())

    d_input = np.full((4, 2, 8), np.nan)
    for _ in range(2):  # buffers that are used again hold nothing that counts
        block.forward(padded(x), workers, training=True)
        found = block.backward(weights.reshape(len(weights), 3, -1).copy(), workers, d_input)
    again = block.backward(weights.reshape(len(weights), 3, -1).copy(), workers, None)
    arrays = (block.kernels, block.scale, block.shift, x)
    for array, gradient in zip(arrays, (*found, d_input.reshape(x.shape)), strict=True):
        assert gradient.shape == array.shape
        for place in np.ndindex(array.shape):
            here, values = array[place], []
            for step in (1e-6, -1e-6):
                array[place] = here + step
                values.append(loss())
            array[place] = here
            slope = (values[0] - values[1]) / 2e-6
            assert gradient[place] == pytest.approx(slope, rel=1e-5, abs=1e-7)
    for one, other in zip(found, again, strict=True):
        np.testing.assert_array_equal(one, other)  # whether or not the input's gradient is wanted
    border = block.d_convolved.copy()
    border[1:-1, :, 1:-1] = 0
    assert not border.any()


def test_single_precision_stays_single(workers):
    network = random_network(np.float32)
    images, labels = random_batch(3)
    _, logits, gradient = loss_and_gradient(network, images, labels, workers)
    assert logits.dtype == gradient.dtype == np.float32
    arrays = [a for b in network.blocks for a in vars(b).values() if isinstance(a, np.ndarray)]
    arrays += [a for a in vars(network).values() if isinstance(a, np.ndarray)] + network.d_inputs
    assert {a.dtype for a in arrays} == {np.dtype(np.float32)}
    assert len(arrays) > 40
    d_kernels = network.blocks[0].kernel_gradient(workers)
    assert d_kernels.dtype == np.float32


# the network


def test_the_plan_of_a_list_of_channels():
    assert plan_of(("4", "M", "6", "7", "M")) == [(32, 3, 4, True), (16, 4, 6, False), (16, 6, 7, True)]
    assert plan_of([4, "M", 6]) == [(32, 3, 4, True), (16, 4, 6, False)]


def test_channels_may_come_in_any_sequence():
    sizes = [ConvNet(kind(CHANNELS), np.random.default_rng(0)).n_multiply_adds for kind in (tuple, list)]
    assert sizes[0] == sizes[1] == 9 * (32**2 * 3 * 4 + 16**2 * 4 * 6 + 8**2 * 6 * 5) + 50


def test_how_a_network_starts():
    network, rng = ConvNet(CHANNELS, np.random.default_rng(7)), np.random.default_rng(7)
    linear = rng.standard_normal((10, 5), np.float32) / np.sqrt(5)
    np.testing.assert_allclose(network.linear[:, :-1], linear, rtol=1e-6)
    assert not network.linear[:, -1].any()
    for block, n_to, n_from in zip(network.blocks, (4, 6, 5), (3, 4, 6), strict=True):
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
    statistics = [a for b in network.blocks for a in (b.running_mean, b.running_variance)]
    np.testing.assert_array_equal(network.parameters, np.concatenate([network.trained, *statistics]))
    for block, place in zip(network.blocks, network.kernel_places, strict=True):
        np.testing.assert_array_equal(network.parameters[place], block.kernels.ravel())
    network.parameters[:] = 3
    assert all((a == 3).all() for a in (*arrays, *statistics))


def test_buffers_are_made_anew_only_for_another_batch_size(workers):
    network = random_network()
    first = network.inputs(4)
    assert first.shape == (32, 3, 32, 4)
    assert np.shares_memory(network.inputs(4), first)
    assert network.inputs(1).shape == (32, 3, 32, 1)
    assert not network.padded_inputs[[0, -1]].any()
    images, labels = random_batch(6)
    found = [loss_and_gradient(network, images[:n], labels[:n], workers)[2] for n in (6, 3, 6)]
    np.testing.assert_array_equal(found[0], found[2])


@pytest.mark.parametrize("training", [False, True])
def test_logits_by_their_definition(training, workers):
    network = random_network()
    images, _ = random_batch(3)
    x = images.transpose(2, 1, 3, 0) * (4 / 255) - 2
    for block in network.blocks:
        kept = None if training else (block.running_mean.copy(), block.running_variance.copy())
        x, _ = naive_block(block, x, kept)
    features = x.max(axis=(0, 2))
    expected = (network.linear[:, :-1] @ features + network.linear[:, -1:]).T / 8
    fill_inputs(network.inputs(3), images)
    found = network.forward(workers, training=True) if training else network.forward(workers)
    np.testing.assert_allclose(found, expected, atol=1e-10)


def test_gradient_against_central_differences(workers):
    """Every array of every layer: five entries each, in float64."""
    network = random_network()
    images, labels = random_batch()
    _, _, gradient = loss_and_gradient(network, images, labels, workers)
    assert gradient.shape == network.trained.shape
    rng = np.random.default_rng(2)
    sizes = [a.size for b in network.blocks for a in (b.kernels, b.scale, b.shift)] + [network.linear.size]
    for start, end in pairwise([0, *np.cumsum(sizes)]):
        for place in rng.integers(start, end, 5):
            values = []
            for step in (1e-6, -2e-6):
                network.trained[place] += step
                values.append(loss_and_gradient(network, images, labels, workers)[0])
            network.trained[place] += 1e-6
            slope = (values[0] - values[1]) / 2e-6
            assert gradient[place] == pytest.approx(slope, rel=1e-4, abs=1e-7)


def test_equal_maxima_over_the_image_share_the_gradient(workers):
    """A flat image has its maximum at many places: together they get what one alone would get."""
    network = ConvNet(("2", "M"), np.random.default_rng(0), np.float64)
    network.linear[:] = np.random.default_rng(1).standard_normal(network.linear.shape)
    (block,) = network.blocks
    block.shift[:] = 10  # no ReLU in the way
    fill_inputs(network.inputs(2), np.full((2, 3, 32, 32), 200, np.uint8))
    network.forward(workers, training=True)
    assert (block.output == network.features[:-1][:, None]).sum(axis=(0, 2)).max() > 1
    d_logits = np.random.default_rng(2).standard_normal((2, 10))
    gradient = network.backward(d_logits, workers)
    d_features = network.linear[:, :-1].T @ d_logits.T / 8
    at_shift = block.kernels.size + block.scale.size
    np.testing.assert_allclose(gradient[at_shift : at_shift + 2], d_features.sum(axis=1))


def test_against_pytorch(workers):
    torch = pytest.importorskip("torch")
    network = random_network()
    images, labels = random_batch()
    modules: list = []
    n_from = 3
    for block in network.blocks:
        convolution = torch.nn.Conv2d(n_from, block.n_to, 3, padding=1, bias=False)
        convolution.weight.data = torch.from_numpy(block.kernels.transpose(1, 3, 2, 0).copy())
        normalisation = torch.nn.BatchNorm2d(block.n_to)
        normalisation.weight.data = torch.from_numpy(block.scale.copy())
        normalisation.bias.data = torch.from_numpy(block.shift.copy())
        normalisation.running_mean = torch.from_numpy(block.running_mean.copy())
        normalisation.running_var = torch.from_numpy(block.running_variance.copy())
        pool = [torch.nn.MaxPool2d(2)] if block.pools else []
        modules += [convolution, *pool, normalisation, torch.nn.ReLU()]
        n_from = block.n_to
    linear = torch.nn.Linear(n_from, 10)
    linear.weight.data = torch.from_numpy(network.linear[:, :-1] / 8)
    linear.bias.data = torch.from_numpy(network.linear[:, -1] / 8)
    theirs = torch.nn.Sequential(*modules, torch.nn.AdaptiveMaxPool2d(1), torch.nn.Flatten(), linear).double()
    x = torch.from_numpy(images * (4 / 255) - 2)
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
    np.testing.assert_allclose(predict(network, images, workers), theirs(x).detach().numpy(), atol=1e-11)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_offsets_give_another_network_whose_logits_differ_by_just_them(dtype, workers):
    network = random_network(dtype)
    images, _ = random_batch()
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


def test_predict_does_not_depend_on_the_chunk(workers):
    network = random_network()
    images, _ = random_batch(7)
    whole = predict(network, images, workers)
    np.testing.assert_allclose(predict(network, images, workers, chunk=3), whole, atol=1e-12)


def test_a_new_network_answers_for_a_single_image(workers):
    images, _ = random_batch(2)
    found = predict(random_network(), images[:1], workers)
    np.testing.assert_allclose(found, predict(random_network(), images, workers)[:1], atol=1e-12)


def test_a_network_that_diverged_answers_without_a_warning(workers):
    """Which would be an error here: the caller finds what is not finite and says so in one line."""
    network = random_network(np.float32)
    network.linear[:] = 3e38
    assert not np.isfinite(predict(network, random_batch()[0], workers)).any()


def test_sizes_of_the_default_networks():
    config = Config()
    teacher, student = (
        ConvNet(config.training(kind).channels, np.random.default_rng(0)) for kind in ("teacher", "student")
    )
    products = zip((32, 16, 16, 8, 8, 4), (3, 32, 64, 64, 128, 128), (32, 64, 64, 128, 128, 256), strict=True)
    assert teacher.n_multiply_adds == sum(side**2 * 9 * a * b for side, a, b in products) + 2560
    assert (teacher.n_trained, student.n_trained) == (576_170, 188_342)
    assert 3 * student.n_trained <= teacher.n_trained
    assert 3 * student.n_multiply_adds <= teacher.n_multiply_adds


# optimisers


def test_nesterov_step_by_step():
    """By hand: rate 0.5, momentum 0.5, decay 0.1 of the first parameter and none of the second."""
    parameters = np.array([1.0, 2.0])
    nesterov = Nesterov(parameters, np.array([0.1, 0.0]), momentum=0.5)
    nesterov.step(np.array([1.0, 0.0]), 0.5)  # g = 1.1, v = 1.1, step 0.5 (1.1 + 0.55)
    np.testing.assert_allclose(parameters, [0.175, 2.0])
    nesterov.step(np.array([0.0, 4.0]), 0.5)  # g = 0.0175, v = 0.5675, step 0.5 (0.0175 + 0.28375); 4, 4, 3
    np.testing.assert_allclose(parameters, [0.175 - 0.150625, -1.0])
    nesterov.step(np.zeros(2), 0.0)
    np.testing.assert_allclose(parameters, [0.024375, -1.0])


def test_nesterov_leaves_alone_what_neither_decays_nor_has_a_gradient():
    parameters = np.array([1.0, 2.0], np.float32)
    nesterov = Nesterov(parameters, np.array([0.5, 0.0], np.float32))
    for _ in range(3):
        nesterov.step(np.array([1.0, 0.0], np.float32), 0.1)
    assert parameters[1] == 2
    v, first = 0.0, 1.0
    for _ in range(3):
        v = 0.9 * v + 1 + 0.5 * first
        first -= 0.1 * (1 + 0.5 * first + 0.9 * v)
    assert parameters[0] == pytest.approx(first, rel=1e-5)
    assert nesterov.velocity.dtype == np.float32


def test_nesterov_against_pytorch():
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
        nesterov.step(gradient, rate)
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


@pytest.mark.parametrize("shape", [(6, 40), (40, 6), (16, 27)])
def test_orthogonalised_brings_singular_values_near_1(shape):
    """The same singular vectors; singular values near 1, though they were 10 to 1 before."""
    rng = np.random.default_rng(0)
    u, _, vt = np.linalg.svd(rng.standard_normal(shape), full_matrices=False)
    found = orthogonalised(u * np.geomspace(10, 1, min(shape)) @ vt)
    inner = u.T @ found @ vt.T
    np.testing.assert_allclose(inner, np.diag(np.diag(inner)), atol=1e-10)
    assert np.diag(inner).min() > 0.6
    assert np.diag(inner).max() < 1.3


def is_kernel(network: ConvNet) -> np.ndarray:
    """Which of the trained parameters are kernels' numbers, bool (n_trained,)."""
    sizes = [(b.kernels.size, b.scale.size + b.shift.size) for b in network.blocks]
    counts = [n for pair in sizes for n in pair] + [network.linear.size]
    return np.repeat([True, False] * len(sizes) + [False], counts)


@pytest.mark.parametrize("momentum", [0.9, 0.5])
def test_muon_step_by_step(momentum):
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
        nesterov.step(gradient[~is_kernel(network)], rate)
        for index, place in enumerate(network.kernel_places):
            shape = network.blocks[index].kernels.shape
            g = gradient[place].reshape(shape).transpose(1, 0, 2, 3).reshape(shape[1], -1)
            velocities[index] = momentum * velocities[index] + g
            step = by_singular_values(g + momentum * velocities[index])
            length = np.sqrt((kernels[index] ** 2).sum())
            kernels[index] = kernels[index] * np.sqrt(shape[1]) / length - 0.05 * rate * step
        muon.step(gradient, rate)
        for block, expected in zip(network.blocks, kernels, strict=True):
            found = block.kernels.transpose(1, 0, 2, 3).reshape(block.n_to, -1)
            np.testing.assert_allclose(found, expected, atol=1e-9)
        np.testing.assert_allclose(network.trained[~is_kernel(network)], rest, rtol=1e-12)


def test_under_muon_the_rest_decays_and_kernels_do_not():
    networks = [random_network(np.float32) for _ in range(2)]
    start = networks[0].trained.copy()
    kernels = is_kernel(networks[0])
    rng = np.random.default_rng(0)
    muons = [Muon(network, decay) for network, decay in zip(networks, (0.0, 0.3), strict=True)]
    for _ in range(4):
        gradient = rng.standard_normal(len(start)).astype(np.float32)
        gradient[~kernels] = 0  # what moves there is decay alone
        for muon in muons:
            muon.step(gradient.copy(), 0.1)
    without, decayed = (network.trained for network in networks)
    np.testing.assert_array_equal(without[kernels], decayed[kernels])
    assert (without[kernels] != start[kernels]).all()
    np.testing.assert_array_equal(without[~kernels], start[~kernels])
    shrunk = decayed[~kernels] / start[~kernels]
    np.testing.assert_allclose(shrunk, shrunk[0], rtol=1e-5)
    assert 0.5 < shrunk[0] < 0.9


def test_orthogonalised_momentum_against_pytorch():
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
        ours.step(gradient, 1.0)
        change = (block.kernels - before).transpose(1, 0, 2, 3).reshape(block.n_to, -1) / ours.KERNEL_SHARE
        assert np.linalg.norm(change - weights.detach().numpy()) < 0.03 * np.linalg.norm(change)


def test_optimisers_go_by_their_names():
    gradient = np.random.default_rng(0).standard_normal(random_network().n_trained)
    found, expected = ([random_network(), random_network()] for _ in range(2))
    OPTIMISERS["nesterov"](found[0], 0.1).step(gradient.copy(), 0.5)
    Nesterov(expected[0].trained, 0.1).step(gradient.copy(), 0.5)
    OPTIMISERS["muon"](found[1], 0.1).step(gradient.copy(), 0.5)
    Muon(expected[1], 0.1).step(gradient.copy(), 0.5)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.trained, other.trained)
    assert (found[0].trained != found[1].trained).any()
