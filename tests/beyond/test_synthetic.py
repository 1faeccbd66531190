"""The drawn digits: reproducible, quick, legible to a nearest-neighbour reader, and not too easy."""

from __future__ import annotations

import time

import numpy as np

from synthetic import digits


def test_shape_bytes_and_time():
    started = time.process_time()
    arrays = digits.render_dataset(2_000, 500)
    assert time.process_time() - started < 1
    images, labels, test_images, test_labels = arrays
    assert images.shape == (2_000, 28, 28)
    assert test_images.shape == (500, 28, 28)
    assert all(a.dtype == np.uint8 for a in arrays)
    assert np.bincount(labels, minlength=10).min() > 150
    assert np.bincount(test_labels, minlength=10).min() > 25
    # ink on an empty ground, inside the frame, with grey edges
    assert (images.reshape(2_000, -1).max(axis=1) > 120).all()
    assert 0.04 < (images > 0).mean() < 0.4
    assert images[:, [0, -1]].mean() < 0.03 * images.max()
    assert ((images > 20) & (images < 200)).any(axis=(1, 2)).all()


def test_the_same_seed_the_same_bytes_another_seed_others():
    first, again, other = (digits.render_dataset(300, 50, seed) for seed in (1, 1, 2))
    assert all(a.tobytes() == b.tobytes() for a, b in zip(first, again, strict=True))
    assert first[0].tobytes() != other[0].tobytes()


def test_a_nearest_neighbour_reads_them_but_not_all():
    """Legible (a nearest neighbour is right on most), and hard enough to leave doubt."""
    images, labels, test_images, test_labels = digits.render_dataset(6_000, 1_000)
    x, y = (a.reshape(len(a), -1).astype(np.float32) / 255 for a in (images, test_images))
    distance = (x**2).sum(axis=1)[None] - 2 * y @ x.T
    accuracy = (labels[distance.argmin(axis=1)] == test_labels).mean()
    assert 0.85 < accuracy < 0.995


def test_splines_pass_through_their_control_points():
    matrix = digits.spline_matrix(5, 41)
    np.testing.assert_allclose(matrix.sum(axis=1), 1)
    np.testing.assert_allclose(matrix[::10], np.eye(5), atol=1e-12)


def test_a_straight_stroke_has_the_profile_of_the_pen():
    """Ink is a Gaussian across the stroke, whatever the spacing of the spots along it."""
    control = np.array([[[4.0, 14.0], [23.0, 14.0]]])
    for n_segments in (40, 90):
        spline = digits.spline_matrix(2, n_segments + 1)
        middle, direction = (spline[1:] + spline[:-1]) / 2, np.diff(spline, axis=0)
        image = digits.render(control, middle, direction, np.random.default_rng(3))[0].astype(float)
        column = image[:, 10:18].mean(axis=1)
        assert column[14] == column.max() > 150
        np.testing.assert_allclose(column[14 - 3 : 14], column[15:18][::-1], atol=12)
        assert column[:9].max() == column[20:].max() == 0
