"""Images made worse: against plain loops, convolutions and turns; what is drawn is drawn once."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from plain_pipeline import bilinear

from beyond.corruptions import CORRUPTIONS, conditions, corrupted
from synthetic import digits

EVERY = [(kind, strength) for kind, c in CORRUPTIONS.items() for strength in c.strengths]


@pytest.fixture(scope="module")
def some() -> np.ndarray:
    return digits.render_digits(60, np.random.default_rng(4))[0]


def test_there_are_eight_in_five_strengths_that_grow():
    assert list(conditions()) == EVERY
    assert len(CORRUPTIONS) == 8
    for corruption in CORRUPTIONS.values():
        assert len(corruption.strengths) == 5
        assert list(corruption.strengths) == sorted(set(corruption.strengths))
    assert CORRUPTIONS["turned"].name(25) == "25°"


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_each_strength_is_worse_than_the_one_before_and_the_images_stay_as_they_were(kind, some):
    before, far = some.copy(), [0.0]
    for strength in CORRUPTIONS[kind].strengths:
        seen = corrupted(some, kind, strength)
        assert (seen.shape, seen.dtype) == (some.shape, np.uint8)
        far.append(np.abs(seen.astype(float) - some).mean())
        np.testing.assert_array_equal(seen, corrupted(some, kind, strength))
    np.testing.assert_array_equal(some, before)
    assert far == sorted(far)
    assert far[1] > 0


def test_an_image_depends_on_its_place_alone(some):
    for kind in ("turned", "shifted", "noisy", "occluded"):
        strength = CORRUPTIONS[kind].strengths[2]
        if kind == "noisy":  # one generator fills image after image
            np.testing.assert_array_equal(
                corrupted(some[:20], kind, strength), corrupted(some, kind, strength)[:20]
            )
        all_alike = np.stack([some[0]] * 60)
        assert len(np.unique(corrupted(all_alike, kind, strength), axis=0)) > 1


@pytest.mark.parametrize("degrees", CORRUPTIONS["turned"].strengths)
def test_a_turn_is_a_turn_to_either_side(degrees, some):
    """A pixel seen from the centre shows the point that a turn back leads to."""
    seen, sides = corrupted(some, "turned", degrees), []
    pixels = np.array([(r, c) for r in range(28) for c in range(28)]) - 13.5
    for image, found in zip(some, seen, strict=True):
        fits = []
        for sign in (1, -1):
            a = sign * np.pi / 180 * degrees
            back = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
            fits.append(np.abs(bilinear(image, pixels @ back.T + 13.5) - found.ravel()).max())
        assert min(fits) < 4.5  # points are rounded to 1/128 px, values to whole ones
        sides.append(int(np.argmin(fits)))
    assert 15 < sum(sides) < 45


@pytest.mark.parametrize("n_pixels", CORRUPTIONS["shifted"].strengths)
def test_a_shift_is_to_one_of_four_sides_and_empty_pixels_move_in(n_pixels, some):
    k, counts = n_pixels, np.zeros(4, int)
    for image, found in zip(some, corrupted(some, "shifted", n_pixels), strict=True):
        padded = np.pad(image, k)
        windows = [
            padded[k + d : k + d + 28, k + r : k + r + 28] for d, r in ((k, 0), (-k, 0), (0, k), (0, -k))
        ]
        fits = [np.array_equal(found, window) for window in windows]
        assert any(fits)
        counts += fits
    assert counts.min() > 3


@pytest.mark.parametrize("sigma", CORRUPTIONS["blurred"].strengths)
def test_a_blur_is_a_gaussian_along_both_axes(sigma, some):
    bell = np.exp(-(np.arange(-27, 28) ** 2) / (2 * sigma**2)) / (sigma * np.sqrt(2 * np.pi))
    for image, found in zip(some[:5], corrupted(some, "blurred", sigma), strict=False):
        along = np.array([np.convolve(row, bell)[27:55] for row in image.astype(float)])
        expected = np.array([np.convolve(column, bell)[27:55] for column in along.T]).T
        np.testing.assert_allclose(found, expected, atol=0.6)


def test_noise_is_normal_and_only_grows():
    grey = np.full((200, 28, 28), 128, np.uint8)
    one, two = (corrupted(grey, "noisy", s).astype(float) - 128 for s in (0.1, 0.2))
    assert one.std() == pytest.approx(25.5, rel=0.01)
    assert one.mean() == pytest.approx(0, abs=0.3)
    assert (np.abs(one) < 25.5).mean() == pytest.approx(0.683, abs=0.01)
    inside = np.abs(two) < 120
    np.testing.assert_allclose(two[inside], 2 * one[inside], atol=1.6)
    assert abs(np.corrcoef(one[0].ravel(), one[1].ravel())[0, 1]) < 0.15


DISCS = {1: {(r, c) for r in range(-1, 2) for c in range(-1, 2) if abs(r) + abs(c) < 2}}
DISCS[2] = {(r + i, c + j) for r, c in DISCS[1] for i in range(-1, 2) for j in range(-1, 2)}


@pytest.mark.parametrize("kind", ["thinner", "thicker"])
def test_strokes_lose_or_gain_what_lies_within_the_radius(kind, some):
    extreme = min if kind == "thinner" else max
    few = some[:3].astype(float)
    reached = {0: few}
    for radius, disc in DISCS.items():
        padded = np.pad(few, ((0, 0), (2, 2), (2, 2)))
        reached[radius] = np.array([
            [[extreme(p[2 + r + i, 2 + c + j] for i, j in disc) for c in range(28)] for r in range(28)]
            for p in padded
        ])  # fmt: skip
    for radius in (0.4, 1, 1.6, 2):
        whole, part = divmod(radius, 1)
        expected = reached[whole] + part * (reached.get(whole + 1, 0) - reached[whole])
        np.testing.assert_allclose(corrupted(some[:3], kind, radius), expected, atol=0.51)


def test_the_negative_and_the_way_there(some):
    np.testing.assert_array_equal(corrupted(some, "inverted", 1), 255 - some)
    np.testing.assert_allclose(corrupted(some, "inverted", 0.2), 51 + 0.6 * some, atol=0.51)


@pytest.mark.parametrize("side", CORRUPTIONS["occluded"].strengths)
def test_what_is_hidden_is_a_square_in_the_middle(side):
    white = np.full((300, 28, 28), 255, np.uint8)
    places = set()
    for image in corrupted(white, "occluded", side):
        rows, columns = (np.flatnonzero((image == 0).any(axis=axis)) for axis in (1, 0))
        assert len(rows) == len(columns) == side
        assert (image == 0).sum() == side**2
        assert (image[image != 0] == 255).all()
        places.add((rows[0] + side // 2, columns[0] + side // 2))
    assert {row for row, _ in places} == {column for _, column in places} == set(range(8, 21))


@pytest.mark.bits
def test_the_same_images_on_every_machine(some):
    found = hashlib.sha256()
    for kind, strength in EVERY:
        found.update(corrupted(some, kind, strength).tobytes())
    assert found.hexdigest()[:16] == "6ef1ec76e40f6aff"
