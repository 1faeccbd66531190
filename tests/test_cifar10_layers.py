"""The convolutional network: every layer, forward and backward, and the optimisers, against other ways."""

from __future__ import annotations

from support.tiles import Workers

from itertools import pairwise

import numpy as np
import pytest
from small_cifar10 import CHANNELS, random_batch, random_network

from cifar10 import layers
from cifar10.convolution import (
    add_kernel_gradient,
    convolve_rows,
    kernel_parts,
    kernels_gradient,
    threes,
    turned,
    write_parts,
)
from cifar10.layers import Block, BlockArrays, Whitening, split, whitening_kernels
from cifar10.network import ConvNet, groups_of, plan_of
from cifar10.optimisers import OPTIMISERS, Muon, Nesterov, orthogonalised
from cifar10.settings import Config
from cifar10.training import predict, views
from distillation_mnist_omitted_3 import cross_entropy

# Plain arrays are (row, channel, column, image); the engine's are rows of even and odd columns, by groups.


def in_rows(x: np.ndarray) -> np.ndarray:
    """(row, channel, column, image) as (row, 2, channel, half)."""
    height, n, width, n_images = x.shape
    halves = x.reshape(height, n, width // 2, 2, n_images).transpose(0, 3, 1, 2, 4)
    return np.ascontiguousarray(halves).reshape(height, 2, n, -1)


def plain(rows: np.ndarray, n_images: int) -> np.ndarray:
    """The way back."""
    height, _, n, _ = rows.shape
    return rows.reshape(height, 2, n, -1, n_images).transpose(0, 2, 3, 1, 4).reshape(height, n, -1, n_images)


class Given:
    """A source whose rows are given: (row, channel, column, image), cut into groups."""

    def __init__(self, x: np.ndarray, groups: list[slice]) -> None:
        self.rows = [in_rows(x[..., group]) for group in groups]

    def output_rows(self, group: int, rows: slice, training: bool) -> np.ndarray:
        return self.rows[group][rows]


GROUPS = [slice(0, 2), slice(2, 5)]  # of five images


def block_of(side: int, n_from: int, n_to: int, pools: bool, dtype: type = np.float64) -> Block:
    rng = np.random.default_rng(5)
    arrays = BlockArrays(
        kernels=rng.standard_normal((3, n_to, 3, n_from)).astype(dtype),
        scale=rng.uniform(0.5, 1.5, n_to).astype(dtype),
        shift=rng.uniform(-0.5, 0.5, n_to).astype(dtype),
        running_mean=rng.standard_normal(n_to).astype(dtype),
        running_variance=rng.uniform(0.5, 2, n_to).astype(dtype),
    )
    return Block(arrays, side, pools)


def forward(block: Block, x: np.ndarray, groups: list[slice], training: bool = True) -> np.ndarray:
    """The output (row, to, column, image) for an input of that form."""
    block.allocate([group.stop - group.start for group in groups])
    block.begin(training)
    source, outputs = Given(x, groups), []
    for index in range(len(groups)):
        block.forward_group(index, source, training)
    if training:
        block.statistics()
    for index, group in enumerate(groups):
        rows = block.output_rows(index, slice(0, block.side_out), training)
        outputs.append(plain(rows, group.stop - group.start))
    return np.concatenate(outputs, axis=3)


def backward(block: Block, d_output: np.ndarray, groups: list[slice]) -> tuple[np.ndarray, ...]:
    """Gradients of kernels, scale, shift and, taken through the ReLU of a block below, of the input."""
    below = block_of(block.side, 1, block.n_from, False)
    below.allocate([group.stop - group.start for group in groups])
    for index, group in enumerate(groups):
        below.groups[index].active[:] = True
        below.groups[index].pooled[:] = 1
        block.groups[index].d_output[:] = in_rows(d_output[..., group])
        block.end_of_output(index, slice(0, block.side_out))
    block.slopes()
    for index in range(len(groups)):
        block.backward_group(index, below)
    ins = [plain(g.d_output, g.n_images) for g in below.groups]
    return (*block.gradients(), np.concatenate(ins, axis=3))


def naive_convolution(kernels: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Of x (row, from, column, image) with kernels (dx, to, dy, from), by its definition."""
    height, _, width, n_images = x.shape
    around = np.pad(x, ((1, 1), (0, 0), (1, 1), (0, 0)))
    out = np.zeros((height, kernels.shape[1], width, n_images))
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


def naive_whitening(kernels: np.ndarray, images: np.ndarray) -> np.ndarray:
    """(row, 24, column, image) of images (n, 3, 33, 33)."""
    out = np.zeros((32, 24, 32, len(images)))
    for row in range(32):
        for column in range(32):
            patch = images[:, :, row : row + 2, column : column + 2].transpose(2, 3, 1, 0) / 255
            directions = kernels @ patch.reshape(12, -1)
            out[row, :, column] = np.maximum(np.concatenate((directions, -directions)), 0)
    return out


def loss_and_gradient(network, images, labels, workers) -> tuple[float, np.ndarray, np.ndarray]:
    logits = network.forward(images, workers, training=True)
    value, gradient = cross_entropy(logits, labels)
    return value, logits, network.backward(gradient, workers)


# ---- Convolution: Winograd's way against the definition ----------------------------------------------------


def parts_of(x: np.ndarray) -> np.ndarray:
    """The parts (4, rows + 2, channel, half) of x (row, channel, column, image)."""
    height, n, width, n_images = x.shape
    parts = np.zeros((4, height + 2, n, width // 2 * n_images), x.dtype)
    parts[:, 1:-1] = np.nan
    write_parts(in_rows(x), n_images, parts[:, 1:-1])
    return parts


def convolved(kernels: np.ndarray, x: np.ndarray) -> np.ndarray:
    height, _, width, n_images = x.shape
    parts, n_to = parts_of(x), kernels.shape[1]
    out = np.full((height, 2, n_to, width // 2 * n_images), np.nan, x.dtype)
    for rows in (slice(0, 1), slice(1, height)):  # one row, and all others at a time
        n = len(out[rows])
        products = np.full((4, n, *out.shape[2:]), np.nan, x.dtype)
        convolve_rows(kernel_parts(kernels), parts[:, rows.start : rows.start + n + 2], products, out[rows])
    return plain(out, n_images)


SHAPES = [
    (4, 6, 3, 2, 2),
    (1, 2, 1, 3, 1),
    (2, 2, 2, 2, 5),
    (3, 8, 5, 4, 1),
]  # height, width, from, to, images


@pytest.mark.parametrize(("height", "width", "n_from", "n_to", "n_images"), SHAPES)
def test_convolution_by_its_definition(height, width, n_from, n_to, n_images):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((height, n_from, width, n_images))
    kernels = rng.standard_normal((3, n_to, 3, n_from))
    np.testing.assert_allclose(convolved(kernels, x), naive_convolution(kernels, x), atol=1e-12)


def test_convolution_in_single_precision_is_as_exact_as_it_should_be():
    """Winograd's sums and differences cost a bit or two, no more."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((8, 64, 8, 2)).astype(np.float32)
    kernels = rng.standard_normal((3, 16, 3, 64)).astype(np.float32)
    exact = naive_convolution(kernels.astype(np.float64), x.astype(np.float64))
    found = convolved(kernels, x)
    assert found.dtype == np.float32
    assert abs(found - exact).max() < 4e-6 * abs(exact).max()


@pytest.mark.parametrize(("height", "width", "n_from", "n_to", "n_images"), SHAPES)
def test_the_gradients_of_a_convolution_against_its_definition(height, width, n_from, n_to, n_images):
    """It is linear in both, so that its slopes are what it gives for unit kernels and inputs."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((height, n_from, width, n_images))
    kernels = rng.standard_normal((3, n_to, 3, n_from))
    d_out = rng.standard_normal((height, n_to, width, n_images))
    parts, d_parts, d_rows = parts_of(x), parts_of(d_out), in_rows(d_out)
    total = np.zeros((4, n_to, 3 * n_from))
    for start in range(0, height, 2):
        n = min(2, height - start)
        scratch = np.full((4, n, *total.shape[1:]), np.nan)
        some = slice(start + 1, start + 1 + n)
        around = parts[:, start : start + n + 2]
        add_kernel_gradient(d_rows[start : start + n], d_parts[:, some], around, scratch, total)
    found = kernels_gradient(total)
    for place in np.ndindex(kernels.shape):
        unit = np.zeros_like(kernels)
        unit[place] = 1
        assert found[place] == pytest.approx((d_out * naive_convolution(unit, x)).sum(), abs=1e-10)
    d_x = convolved(turned(kernels), d_out)
    for place in np.ndindex(x.shape):
        unit = np.zeros_like(x)
        unit[place] = 1
        assert d_x[place] == pytest.approx((d_out * naive_convolution(kernels, unit)).sum(), abs=1e-10)


def test_split_is_a_view_of_even_and_odd_columns():
    rows = np.arange(2 * 2 * 4 * 3).reshape(2, 2, 4 * 3)  # two rows, two channels, four columns, three images
    found = split(rows, 3)
    assert found.shape == (2, 2, 2, 2, 3)
    assert np.shares_memory(found, rows)
    for parity in (0, 1):
        np.testing.assert_array_equal(found[:, parity], rows.reshape(2, 2, 4, 3)[:, :, parity::2])


def test_threes_are_views_of_three_rows():
    parts = np.random.default_rng(0).standard_normal((4, 7, 2, 3))
    found = threes(parts[:, 1:6])
    assert np.shares_memory(found, parts)
    assert not found.flags.writeable
    for row in range(3):
        np.testing.assert_array_equal(found[:, row], parts[:, row + 1 : row + 4].reshape(4, 6, 3))


# ---- Whitening ---------------------------------------------------------------------------------------------


def test_whitened_patches_are_uncorrelated_and_of_equal_size():
    rng = np.random.default_rng(0)
    noise = rng.normal(128, 20, (40, 1, 17, 17)) + rng.normal(0, 8, (40, 3, 17, 17))  # colours that agree
    smooth = (noise[..., 1:] + noise[..., :-1]) / 2
    images = np.clip(smooth, 0, 255).astype(np.uint8)
    kernels = whitening_kernels(images, floor=0)
    patches = np.array([
        images[i, :, y : y + 2, x : x + 2].transpose(1, 2, 0).ravel() / 255
        for i in range(40) for y in range(16) for x in range(15)
    ])  # fmt: skip
    np.testing.assert_allclose(np.cov((patches @ kernels.T).T, bias=True), np.eye(12), atol=1e-8)
    floored = whitening_kernels(images, floor=0.1)
    lengths = np.linalg.norm(floored, axis=1)
    variances = 1 / np.linalg.norm(kernels, axis=1) ** 2
    np.testing.assert_allclose(lengths, 1 / np.sqrt(variances + 0.1))
    np.testing.assert_array_equal(whitening_kernels(images), whitening_kernels(images, floor=5e-4))


def test_whitening_by_its_definition():
    images, _ = random_batch(5)
    kernels = np.random.default_rng(3).standard_normal((12, 12))
    whitening = Whitening(kernels)
    whitening.load(images, GROUPS)
    expected = naive_whitening(kernels, images)
    for index, group in enumerate(GROUPS):
        for part in (slice(0, 1), slice(1, 32)):
            rows = whitening.output_rows(index, part, True)
            found = plain(rows, group.stop - group.start)
            np.testing.assert_allclose(found, expected[part][..., group], atol=1e-12)


# ---- A block -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_rows", [2, 4])
@pytest.mark.parametrize("pools", [False, True])
def test_a_block_in_training_and_in_evaluation(pools, n_rows, monkeypatch):
    monkeypatch.setattr(layers, "AT_A_TIME", n_rows * 6)
    block = block_of(4, 2, 3, pools)
    rng = np.random.default_rng(0)
    for _ in range(2):  # the second step's running statistics start from the first's
        x = rng.standard_normal((4, 2, 4, 5))
        old_mean, old_variance = block.running_mean.copy(), block.running_variance.copy()
        out = forward(block, x, GROUPS)
        expected, (mean, variance) = naive_block(block, x)
        np.testing.assert_allclose(out, expected, atol=1e-12)
        n = expected.size / 3
        np.testing.assert_allclose(block.running_mean, 0.6 * old_mean + 0.4 * mean)
        np.testing.assert_allclose(block.running_variance, 0.6 * old_variance + 0.4 * variance * n / (n - 1))
    kept = block.running_mean.copy(), block.running_variance.copy()
    out = forward(block, x, GROUPS, training=False)
    np.testing.assert_allclose(out, naive_block(block, x, kept)[0], atol=1e-12)
    np.testing.assert_array_equal((block.running_mean, block.running_variance), kept)
    assert (out > 0).any()
    assert not (out < 0).any()


@pytest.mark.parametrize("mean_over_sd", [3_000, 10_000])
def test_batch_normalisation_does_not_cancel_where_the_mean_is_large(mean_over_sd):
    """In single precision, against double precision on the same numbers."""
    block = block_of(8, 1, 2, False, dtype=np.float32)
    block.kernels[:] = 0
    block.kernels[1, :, 1, 0] = 1, -1  # what comes in, and its negative
    block.scale[:], block.shift[:], block.running_variance[:] = 1, 4, 0
    x = (mean_over_sd + np.random.default_rng(0).standard_normal((8, 1, 8, 16))).astype(np.float32)
    out = forward(block, x, [slice(0, 10), slice(10, 16)])
    exact = convolved(block.kernels, x).astype(np.float64)[:, :1]
    mean, variance = exact.mean(), exact.var()
    normal = (exact - mean) / np.sqrt(variance + 1e-5)
    assert normal.std() == pytest.approx(1, rel=1e-3)
    np.testing.assert_allclose(block.inverse_sd, 1 / np.sqrt(variance + 1e-5), rtol=0.01)
    np.testing.assert_allclose(block.running_variance, 0.4 * variance * x.size / (x.size - 1), rtol=0.01)
    np.testing.assert_allclose(out[:, :1], np.maximum(4 + normal, 0), atol=0.01)
    np.testing.assert_allclose(out[:, 1:], np.maximum(4 - normal, 0), atol=0.01)


def test_a_constant_channel_is_divided_by_the_root_of_epsilon():
    block = block_of(2, 1, 1, False)
    block.kernels[:] = 0
    out = forward(block, np.zeros((2, 1, 2, 3)), [slice(0, 3)])
    np.testing.assert_allclose(block.inverse_sd, 1 / np.sqrt(1e-5))
    np.testing.assert_allclose(out, max(block.shift[0], 0))


@pytest.mark.parametrize("n_rows", [2, 4])
@pytest.mark.parametrize("pools", [False, True])
def test_every_gradient_of_a_block_against_central_differences(pools, n_rows, monkeypatch):
    monkeypatch.setattr(layers, "AT_A_TIME", n_rows * 6)  # two columns, half of them even, of three images
    block = block_of(4, 2, 3, pools)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 2, 4, 5))
    weights = rng.standard_normal((block.side_out, 3, block.side_out, 5))

    def loss() -> float:
        return float((weights * naive_block(block, x)[0]).sum())

    forward(block, x, GROUPS)
    found = backward(block, weights, GROUPS)
    again = backward(block, weights, GROUPS)
    for array, gradient in zip((block.kernels, block.scale, block.shift, x), found, strict=True):
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
        np.testing.assert_array_equal(one, other)  # buffers that are used again hold nothing that counts


def test_what_stopped_at_a_relu_below_goes_no_further():
    block = block_of(4, 2, 3, False)
    below = block_of(4, 1, 2, False)
    rng = np.random.default_rng(0)
    forward(below, rng.standard_normal((4, 1, 4, 2)), [slice(0, 2)])
    x = plain(below.output_rows(0, slice(0, 4), True), 2)
    forward(block, x, [slice(0, 2)])
    block.groups[0].d_output[:] = rng.standard_normal(block.groups[0].d_output.shape)
    block.end_of_output(0, slice(0, 4))
    block.slopes()
    block.backward_group(0, below)
    d, group = below.groups[0].d_output, below.groups[0]
    np.testing.assert_array_equal(d != 0, in_rows(x) > 0)
    np.testing.assert_allclose(group.d_total, d.sum(axis=(0, 1, 3)))
    np.testing.assert_allclose(group.d_product, (d * group.pooled).sum(axis=(0, 1, 3)))


@pytest.mark.parametrize("place", range(4))
def test_the_gradient_of_a_maximum_goes_to_where_it_came_from(place):
    """One image of 2 x 2, pooled to 1 x 1 in two channels; with equal ones the first counts."""
    block = block_of(4, 1, 1, True)
    block.kernels[:] = 0
    block.kernels[1, 0, 1, 0] = 1  # what comes in
    x = np.zeros((4, 1, 4, 1))
    y, column = 2 * (place // 2), 2 * (place % 2)  # a quarter of the image, whose maximum is at `place`
    x[y + place // 2, 0, column + place % 2] = 5
    forward(block, x, [slice(0, 1)])
    d = np.zeros((2, 2, 1, 1))
    d[place // 2, place % 2] = 1
    rows = block.unpooled(block.groups[0], slice(place // 2, place // 2 + 1), d[place // 2][None])
    expected = np.zeros((2, 1, 4, 1))
    expected[place // 2, 0, column + place % 2] = 1
    np.testing.assert_array_equal(plain(rows, 1), expected)
    d = np.ones((2, 1, 1))
    expected[:] = 0
    expected[0, 0, [0, 2]] = 1  # elsewhere all four are equal
    if place // 2 == 0:
        other = block.unpooled(block.groups[0], slice(1, 2), d[None])
        np.testing.assert_array_equal(plain(other, 1), expected)


def test_single_precision_stays_single(workers):
    network = random_network(np.float32)
    images, labels = random_batch(3)
    _, logits, gradient = loss_and_gradient(network, images, labels, workers)
    assert logits.dtype == gradient.dtype == np.float32
    large = [
        a for b in network.blocks for g in b.groups for a in vars(g).values()
        if isinstance(a, np.ndarray) and a.ndim > 1
    ]  # fmt: skip
    assert {a.dtype for a in large} == {np.dtype(np.float32), np.dtype(bool)}
    assert len(large) > 12
    for source in (network.whitening, network.blocks[0]):
        assert source.output_rows(0, slice(0, 2), True).dtype == np.float32
    assert network.features.dtype == np.float32


# ---- The network -------------------------------------------------------------------------------------------


def test_the_plan_of_a_list_of_channels():
    assert plan_of(("4", "M", "6", "7", "M")) == [(32, 24, 4, True), (16, 4, 6, False), (16, 6, 7, True)]
    assert plan_of([4, "M", 6]) == [(32, 24, 4, True), (16, 4, 6, False)]


@pytest.mark.parametrize(("n", "sizes"), [(1, [1]), (64, [64]), (65, [32, 33]), (256, [64] * 4)])
def test_groups_are_as_equal_as_can_be(n, sizes):
    groups = groups_of(n)
    assert [group.stop - group.start for group in groups] == sizes
    np.testing.assert_array_equal(np.concatenate([np.arange(n)[group] for group in groups]), np.arange(n))


def test_channels_may_come_in_any_sequence():
    sizes = [ConvNet(kind(CHANNELS), np.random.default_rng(0)).n_multiply_adds for kind in (tuple, list)]
    convolutions = 9 * (32**2 * 24 * 4 + 16**2 * 4 * 6 + 8**2 * 6 * 5)
    assert sizes[0] == sizes[1] == 32**2 * 12 * 12 + convolutions + 50


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
    """Every array of every layer: five entries each, in float64."""
    network = random_network()
    images, labels = random_batch(66)
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
@pytest.mark.parametrize("n_threads", [2, 3, 5])
def test_the_number_of_threads_changes_no_bit(n_threads):
    images, labels = random_batch(140)  # three groups
    found = []
    for n in (1, n_threads):
        network = random_network(np.float32)
        with Workers(n) as workers:
            _, logits, gradient = loss_and_gradient(network, images, labels, workers)
            found.append((logits, gradient, network.parameters, network.forward(images, workers)))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


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


def test_against_pytorch(workers):
    """Logits in training and in evaluation, the loss and the whole gradient of a network in float64."""
    torch = pytest.importorskip("torch")
    network = random_network()
    images, labels = random_batch(66)
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
    assert 10 * student.n_trained <= teacher.n_trained
    assert 4 * student.n_multiply_adds <= teacher.n_multiply_adds


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


def test_under_muon_the_rest_decays_and_kernels_do_not(workers):
    networks = [random_network(np.float32) for _ in range(2)]
    start = networks[0].trained.copy()
    kernels = is_kernel(networks[0])
    rng = np.random.default_rng(0)
    muons = [Muon(network, decay) for network, decay in zip(networks, (0.0, 0.3), strict=True)]
    for _ in range(4):
        gradient = rng.standard_normal(len(start)).astype(np.float32)
        gradient[~kernels] = 0  # what moves there is decay alone
        for muon in muons:
            muon.step(gradient.copy(), 0.1, workers)
    without, decayed = (network.trained for network in networks)
    np.testing.assert_array_equal(without[kernels], decayed[kernels])
    assert (without[kernels] != start[kernels]).all()
    np.testing.assert_array_equal(without[~kernels], start[~kernels])
    shrunk = decayed[~kernels] / start[~kernels]
    np.testing.assert_allclose(shrunk, shrunk[0], rtol=1e-5)
    assert 0.5 < shrunk[0] < 0.9


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


def test_optimisers_go_by_their_names(workers):
    gradient = np.random.default_rng(0).standard_normal(random_network().n_trained)
    found, expected = ([random_network(), random_network()] for _ in range(2))
    OPTIMISERS["nesterov"](found[0], 0.1).step(gradient.copy(), 0.5, workers)
    Nesterov(expected[0].trained, 0.1).step(gradient.copy(), 0.5, workers)
    OPTIMISERS["muon"](found[1], 0.1).step(gradient.copy(), 0.5, workers)
    Muon(expected[1], 0.1).step(gradient.copy(), 0.5, workers)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.trained, other.trained)
    assert (found[0].trained != found[1].trained).any()
