"""Images as a network sees them: against known turns, slopes and areas, and plain interpolation."""

from __future__ import annotations

from support.tiles import Workers
from support.transformations import (
    N_WARPS,
    PADDED_SIDE,
    PIECE,
    Limits,
    Transformer,
    Warps,
    affine_maps,
    random_maps,
    smooth_fields,
)

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_pipeline import bilinear

from beyond.settings import Config

GRID = np.indices((28, 28)).astype(np.float32)
NONE = {"angle": np.zeros(1), "stretch": np.ones((2, 1)), "slant": np.zeros(1)}


def warped(images: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Each image through the map of the same place."""
    return Warps(maps).apply(images, np.arange(len(images))).reshape(images.shape)


@pytest.fixture(scope="module")
def some_digits(small_data) -> np.ndarray:
    """Fifty digits with nothing near the border, as MNIST's."""
    images = np.zeros((50, 28, 28), np.uint8)
    images[:, 5:23, 5:23] = small_data.train_images[:50, 5:23, 5:23]
    return images


def test_the_identity_changes_nothing(some_digits):
    np.testing.assert_array_equal(warped(some_digits, np.stack([GRID] * 50)), some_digits)
    np.testing.assert_array_equal(affine_maps(**NONE)[0], GRID)
    np.testing.assert_array_equal(random_maps(3, Limits(jitter=2), np.random.default_rng(0)), [GRID] * 3)


@pytest.mark.parametrize("quarters", [1, 2, 3, -1])
def test_a_quarter_turn_is_a_quarter_turn_clockwise(quarters, some_digits):
    maps = affine_maps(**{**NONE, "angle": np.array([quarters * np.pi / 2])})
    turned = warped(some_digits[:1], maps)[0]
    np.testing.assert_allclose(turned, np.rot90(some_digits[0], -quarters), atol=0.02)


def test_a_slope_shows_where_each_pixel_looks():
    """Bilinear interpolation is exact for an image that rises evenly: its value is the place itself."""
    rows, columns = (np.uint8(9) * axis.astype(np.uint8) for axis in GRID)
    maps = affine_maps(np.radians([20.0]), np.array([[0.8], [0.7]]), np.array([0.1]))
    y, x = GRID - 13.5
    y, x = 0.8 * y, 0.7 * x + 0.1 * y
    cos, sin = np.cos(np.radians(20)), np.sin(np.radians(20))
    expected = np.stack([cos * y - sin * x, sin * y + cos * x]) + 13.5
    inside = ((expected >= 0) & (expected <= 27)).all(axis=0)
    assert inside.mean() > 0.9
    for image, place in zip((rows, columns), expected, strict=True):
        seen = warped(image[None], maps)[0]
        np.testing.assert_allclose(seen[inside], 9 * place[inside], atol=1e-3)


@pytest.mark.parametrize("shift", [(0, 3), (2, 0), (-1, 2), (0.5, -0.25)])
def test_what_moves_in_is_zero_and_what_moves_out_is_gone(shift):
    image = np.full((1, 28, 28), 200, np.uint8)
    seen = warped(image, (GRID + np.array(shift, np.float32)[:, None, None])[None])[0]
    place = [axis + s for axis, s in zip(GRID, shift, strict=True)]
    share = [np.clip(np.minimum(axis + 1, 28 - axis), 0, 1) for axis in place]  # of each pixel inside
    np.testing.assert_allclose(seen, 200 * share[0] * share[1], atol=1e-4)
    far = warped(image, np.stack([GRID + 1000])), warped(image, np.stack([GRID - 1000]))
    assert not np.any(far)


@pytest.mark.parametrize(
    "limits", [Limits(rotation=30), Limits(shear=0.3), Limits(rotation=10, shear=0.1, elastic=1.5)], ids=str
)
def test_the_ink_is_kept(limits, some_digits):
    """Turning and slanting keep areas; a gentle bend keeps them on average."""
    maps = random_maps(50, limits, np.random.default_rng(0))
    before = some_digits.reshape(50, -1).sum(axis=1, dtype=float)
    after = warped(some_digits, maps).reshape(50, -1).sum(axis=1)
    assert after.sum() == pytest.approx(before.sum(), rel=0.02)
    np.testing.assert_allclose(after, before, rtol=0.4 if limits.elastic else 0.02)


def test_stretching_scales_the_ink_as_it_scales_areas(some_digits):
    maps = affine_maps(np.zeros(50), np.full((2, 50), 1 / 1.1), np.zeros(50))  # a look from nearer by
    assert warped(some_digits, maps).sum() == pytest.approx(1.21 * some_digits.sum(dtype=float), rel=0.01)


@given(st.integers(0, 2**32), st.floats(0.1, 40))
@settings(max_examples=40, deadline=None)
def test_interpolation_against_plain_interpolation(seed, reach):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (3, 28, 28), dtype=np.uint8)
    maps = (GRID + rng.uniform(-reach, reach, (3, 2, 28, 28))).astype(np.float32)
    expected = [
        bilinear(image, np.moveaxis(m.astype(float), 0, 2).reshape(-1, 2))
        for image, m in zip(images, maps, strict=True)
    ]
    np.testing.assert_allclose(warped(images, maps).reshape(3, -1), expected, atol=2e-3)


def test_interpolation_against_pytorch(some_digits):
    torch = pytest.importorskip("torch", exc_type=ImportError)
    limits = Limits(rotation=40, scaling=0.4, shear=0.4, elastic=3)
    maps = random_maps(50, limits, np.random.default_rng(1))
    grid = torch.from_numpy(np.moveaxis(maps[:, ::-1], 1, 3) / 13.5 - 1)  # x first, the image from -1 to 1
    images = torch.from_numpy(some_digits[:, None].astype(np.float32))
    expected = torch.nn.functional.grid_sample(images, grid, align_corners=True, padding_mode="zeros")
    np.testing.assert_allclose(warped(some_digits, maps), expected[:, 0].numpy(), atol=5e-3)


def test_fields_are_smooth_as_a_gaussian_makes_them():
    """1 px rms each; white noise under a Gaussian of s px correlates over d px as exp(-d^2 / 4 s^2)."""
    fields = smooth_fields(1500, np.random.default_rng(0)).astype(float)
    np.testing.assert_allclose((fields**2).mean(axis=(1, 2, 3)), 1, rtol=1e-4)
    for d in (1, 4, 8):
        for left, right in ((fields[..., d:], fields[..., :-d]), (fields[..., d:, :], fields[..., :-d, :])):
            correlation = (left * right).mean() / (fields**2).mean()
            assert correlation == pytest.approx(np.exp(-(d**2) / (4 * 4.0**2)), abs=0.03)
    by_place = (fields**2).mean(axis=(0, 1))
    assert by_place.min() > 0.85  # as strong at the border as inside
    assert by_place.max() < 1.15
    assert abs(fields.mean()) < 0.02
    assert abs((fields[:, 0] * fields[:, 1]).mean()) < 0.03  # down and right are independent


def matrices(maps: np.ndarray) -> np.ndarray:
    """The 2 x 2 matrix of each affine map, read off two steps from a corner."""
    return np.stack([maps[:, :, 1, 0] - maps[:, :, 0, 0], maps[:, :, 0, 1] - maps[:, :, 0, 0]], axis=2)


def assert_uniform(values: np.ndarray, limit: float) -> None:
    assert np.abs(values).max() <= limit * 1.001
    quantiles = np.quantile(values, [0.01, 0.25, 0.5, 0.75, 0.99])
    np.testing.assert_allclose(quantiles, limit * np.array([-0.98, -0.5, 0, 0.5, 0.98]), atol=0.06 * limit)


def test_each_limit_is_reached_and_kept():
    found = {
        name: matrices(random_maps(4000, Limits(**{name: value}), np.random.default_rng(5)))
        for name, value in {"rotation": 25.0, "scaling": 0.2, "shear": 0.3}.items()
    }
    turn = found["rotation"]
    np.testing.assert_allclose(np.linalg.det(turn), 1, atol=1e-5)
    assert_uniform(np.degrees(np.arctan2(turn[:, 1, 0], turn[:, 0, 0])), 25)
    stretch = found["scaling"]
    np.testing.assert_allclose(stretch[:, [0, 1], [1, 0]], 0, atol=1e-5)
    down, right = stretch[:, 0, 0] - 1, stretch[:, 1, 1] - 1
    assert_uniform(down, 0.2)
    assert_uniform(right, 0.2)
    assert abs(np.corrcoef(down, right)[0, 1]) < 0.05  # each axis by itself
    slant = found["shear"]
    np.testing.assert_allclose(slant[:, [0, 0, 1], [0, 1, 1]] - [1, 0, 1], 0, atol=1e-5)
    assert_uniform(slant[:, 1, 0], 0.3)


def test_the_strength_of_the_bend_is_uniform_up_to_its_limit():
    moved = random_maps(2000, Limits(elastic=2.0), np.random.default_rng(3)) - GRID
    strength = np.sqrt((moved**2).mean(axis=(1, 2, 3)))
    assert strength.max() <= 2.001
    assert_uniform(strength - 1, 1)
    halves = moved[:1000].reshape(1000, -1), moved[1000:].reshape(1000, -1)
    lengths = [np.linalg.norm(half, axis=1) for half in halves]
    similar = (halves[0] * halves[1]).sum(axis=1) / np.prod(lengths, axis=0)
    assert np.abs(similar).mean() < 0.5  # no field comes twice


def filled(limits: Limits, images: np.ndarray, seed: int = 0, n_threads: int = 2) -> np.ndarray:
    """What a network sees of two batches of the same images: (2, n, 28, 28)."""
    transformer = Transformer(limits, np.random.default_rng(seed))
    inputs = np.zeros((2, 784, len(images)), np.float32)
    with Workers(n_threads) as workers:
        for batch in inputs:
            workers.map(lambda call: call(), transformer.calls(batch, images)[::-1])
    return inputs.swapaxes(1, 2).reshape(2, len(images), 28, 28)


EVERY = Limits(jitter=2, rotation=10, scaling=0.1, shear=0.1, elastic=1.5)


def test_each_image_is_transformed_its_own_way_each_time(small_data):
    images = np.repeat(small_data.train_images[:1], 3 * PIECE + 5, axis=0)
    seen = filled(EVERY, images)
    assert seen.min() >= 0
    assert 0.9 < seen.max() <= 1.001
    different = len(np.unique(seen.reshape(-1, 784), axis=0))
    assert different > 0.99 * 2 * len(images)
    assert (filled(EVERY, images) == seen).all()
    assert (filled(EVERY, images, seed=1) != seen).any()


def test_the_threads_change_nothing_and_the_pieces_lose_nothing(small_data):
    images = small_data.train_images[: 2 * PIECE + 7]
    found = [filled(EVERY, images, n_threads=n).tobytes() for n in (1, 2, 5)]
    assert found[0] == found[1] == found[2]
    plain = filled(Limits(), images)
    np.testing.assert_allclose(plain, np.stack([images, images]) / 255, atol=1e-7)


def test_every_neighbour_lies_in_its_own_padded_image():
    """However far a map points: a place beyond would be read from the other end, without a word."""
    far = np.stack([GRID, GRID - 1000, GRID + 1000, -40 * GRID, 40 * GRID])
    warps = Warps(far)
    assert warps.corners.min() >= 0
    assert warps.corners.max() + PADDED_SIDE + 1 < PADDED_SIDE**2
    ink = np.full((5, 28, 28), 255, np.uint8)
    assert (warped(ink, far)[1:3] == 0).all()


def test_all_warps_are_used_and_the_jitter_comes_first(small_data):
    """The image is shifted, then bent: what a transformer does is what its parts do, one after the other."""
    images, rng = small_data.train_images[:40], np.random.default_rng(9)
    warps = Warps(random_maps(N_WARPS, EVERY, rng))
    down, right = rng.integers(0, 5, (2, 40))
    chosen = rng.integers(0, N_WARPS, 40)
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2)))
    shifted = np.stack([p[r : r + 28, c : c + 28] for p, r, c in zip(padded, down, right, strict=True)])
    expected = warps.apply(shifted, chosen) / 255
    np.testing.assert_allclose(filled(EVERY, images, seed=9)[0].reshape(40, -1), expected, atol=1e-6)
    assert len(warps) == N_WARPS == 4000


def test_none_of_them_is_on_in_the_described_recipe():
    described = Config()
    assert described.limits("teacher") == Limits(jitter=2)
    assert described.limits("student") == Limits()
    assert not described.limits("teacher").warp
    assert not described.limits("student").change
