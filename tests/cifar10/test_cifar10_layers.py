"""The convolutional network: every layer, forward and backward, and the optimisers, against other ways."""

from __future__ import annotations

import numpy as np
import pytest
from plain_layers import loss_and_gradient, naive_block, naive_convolution, naive_whitening
from small_cifar10 import random_batch, random_network

from cifar10 import convolution, layers
from cifar10.convolution import (
    add_kernel_gradient,
    convolve_rows,
    in_pieces,
    kernel_parts,
    kernels_gradient,
    n_pieces,
    threes,
    turned,
    write_parts,
)
from cifar10.layers import Block, BlockArrays, Whitening, split, whitening_kernels

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


@pytest.mark.parametrize(
    ("kernel", "product", "n"),
    [
        ("SkylakeX", (24, 72, 1024), 2),
        ("SkylakeX", (40, 72, 1024), 4),
        ("SkylakeX", (40, 72, 768), 3),
        ("SkylakeX", (24, 72, 512), 1),  # within a million as it is
        ("SkylakeX", (100, 100, 200), 2),  # just a million each
        ("SkylakeX", (100, 100, 202), 1),  # in pieces of 101 it would not be, and 202 has no other divisors
        ("SkylakeX", (144, 432, 256), 1),  # only in pieces of 16
        ("SkylakeX", (64, 192, 256), 4),
        ("Haswell", (24, 72, 1024), 1),
        ("", (24, 72, 1024), 1),
    ],
)
def test_products_are_cut_where_the_blas_then_multiplies_as_they_lie(kernel, product, n, monkeypatch):
    monkeypatch.setattr(convolution, "blas_kernel", lambda: kernel)
    assert n_pieces(*product) == n


@pytest.mark.parametrize("n_images", [1, 6])
def test_a_product_in_pieces_is_the_product(n_images, monkeypatch):
    rng = np.random.default_rng(0)
    x, kernels = rng.standard_normal((4, 3, 8, n_images)), rng.standard_normal((3, 5, 3, 3))
    monkeypatch.setattr(convolution, "n_pieces", lambda rows, inner, columns: 2)
    np.testing.assert_allclose(convolved(kernels, x), naive_convolution(kernels, x), atol=1e-12)
    parts = parts_of(x)
    views = in_pieces(threes(parts), 2)
    assert np.shares_memory(views, parts)
    assert views.shape == (4, 4, 2, 9, 2 * n_images)


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
    total = np.zeros((4, 3 * n_from, n_to))
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
