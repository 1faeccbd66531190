"""Images in the form of MNIST's: held to Pillow's interpolation, to sums of fractions, to MNIST itself."""

from __future__ import annotations

from support.centring import BOX_SIDE, centred, cubic_weights, scaled

from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from synthetic import digits


@pytest.fixture(scope="module")
def drawn() -> np.ndarray:
    return digits.render_digits(60, np.random.default_rng(3))[0]


def box_of(image: np.ndarray) -> tuple[slice, slice]:
    rows, columns = np.nonzero(image)
    return slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)


def centre_of(image: np.ndarray) -> list[Fraction]:
    """The centre of mass in pixels, exactly: down and right."""
    sums = [image.sum(axis=axis).tolist() for axis in (1, 0)]
    return [Fraction(sum(i * mass for i, mass in enumerate(one)), sum(one)) for one in sums]


@pytest.mark.parametrize(
    ("sides", "wanted"), [*(((n, n), (20, 20)) for n in (16, 28, 57, 400, 20, 3, 1)), ((9, 31), (20, 6))]
)
def test_interpolation_is_pillows_bicubic_in_floats(sides, wanted):
    """It rounds once, at the end: half a grey level, and what 14 bits of the weights leave."""
    image = np.random.default_rng(sides[0]).integers(0, 256, sides, np.uint8)
    asked = Image.fromarray(image.astype(np.float32)).resize(wanted[::-1], Image.Resampling.BICUBIC)
    found = scaled(image, *wanted)
    assert found.shape == wanted
    assert np.abs(found - np.clip(np.asarray(asked, float), 0, 255)).max() < 0.52


@pytest.mark.parametrize(("n_in", "n_out"), [(16, 20), (20, 20), (100, 20), (4096, 20), (7, 1)])
def test_weights_are_whole_numbers_and_keep_a_flat_grey(n_in, n_out):
    weights = cubic_weights(n_in, n_out)
    assert weights.dtype == np.int64
    assert (weights.sum(axis=1) == 2**14).all()
    assert (weights[:, ::-1][::-1] == weights).mean() > 0.99  # but for where a sum was mended
    flat = np.full((n_in, 5), 201, np.uint8)
    assert (scaled(flat, n_out, 5) == 201).all()


def test_the_longer_side_of_the_ink_fills_the_box_and_its_mass_is_in_the_middle(drawn):
    rng = np.random.default_rng(0)
    for digit in drawn:
        field = np.zeros((90, 90), np.uint8)  # somewhere on a larger sheet, larger and stretched
        rows, columns = (int(n) for n in rng.integers(20, 60, 2))
        top, left = (int(rng.integers(0, 90 - n)) for n in (rows, columns))
        ink = Image.fromarray(digit[box_of(digit)]).resize((columns, rows), Image.Resampling.NEAREST)
        field[top : top + rows, left : left + columns] = 255 * (np.asarray(ink) > 0)
        found = centred(field)
        assert (found.shape, found.dtype) == ((28, 28), np.uint8)
        sizes = [part.stop - part.start for part in box_of(found)]
        assert max(sizes) == BOX_SIDE
        assert min(sizes) == pytest.approx(BOX_SIDE * min(rows, columns) / max(rows, columns), abs=1)
        for centre in centre_of(found):
            assert Fraction(27, 2) <= centre <= Fraction(29, 2)  # pixel 14, as in MNIST's files


@pytest.mark.parametrize(("sides", "wanted"), [((30, 20), (20, 13)), ((31, 40), (16, 20)), ((8, 1), (20, 3)),
                                               ((2, 90), (1, 20)), ((7, 7), (20, 20))])  # fmt: skip
def test_a_block_of_ink_keeps_its_aspect_ratio_to_the_nearest_pixel(sides, wanted):
    found = centred(np.pad(np.full(sides, 200, np.uint8), 3))
    assert tuple(part.stop - part.start for part in box_of(found)) == wanted
    assert set(found[found > 0].tolist()) == {200}


def test_where_it_lay_and_how_large_its_sheet_was_make_no_difference(drawn):
    digit = drawn[0]
    larger = np.pad(digit, ((3, 40), (21, 22)))
    np.testing.assert_array_equal(centred(larger), centred(digit))


def test_what_has_that_form_stays_as_it_is(drawn):
    """As MNIST's own images do."""
    for digit in drawn:
        once = centred(digit)
        sizes = [part.stop - part.start for part in box_of(once)]
        if max(sizes) == BOX_SIDE:
            np.testing.assert_array_equal(centred(once), once)


@pytest.mark.parametrize(("inked", "row"), [(39, 0), (0, 8)])
def test_a_box_stays_in_the_field_wherever_its_mass_is(inked, row):
    """Nearly all of it at one end, which would bring the other end beyond the border."""
    image = np.zeros((40, 40), np.uint8)
    image[0, 0] = image[39, 39] = 1
    image[inked] = 255
    box = centred(image)[row : row + BOX_SIDE, 4:24]  # of 40 columns of equal ink, the middle is the 10th
    np.testing.assert_array_equal(box, scaled(image, BOX_SIDE, BOX_SIDE))


def test_a_single_point_and_nothing_at_all():
    image = np.zeros((9, 9), np.uint8)
    with pytest.raises(ValueError, match="empty"):
        centred(image)
    image[2, 5] = 80
    assert (centred(image) == 80).sum() == BOX_SIDE**2
