"""The losses against their closed forms, exact arithmetic, the limit of section 2.1 and PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import distillation_mnist_omitted_3 as core


def logits_pair(
    seed: int, n: int = 7, classes: int = 10, scale: float = 4.0
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return scale * rng.standard_normal((n, classes)), scale * rng.standard_normal((n, classes))


@given(st.integers(0, 2**32), st.floats(0.2, 200))
@settings(max_examples=80, deadline=None)
def test_softmax_is_equation_1(seed, temperature):
    z, _ = logits_pair(seed)
    expected = np.exp(z / temperature) / np.exp(z / temperature).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(core.softmax(z, temperature), expected, rtol=1e-10)
    np.testing.assert_allclose(
        core.softmax(z + 1e3, temperature), expected, rtol=1e-8
    )  # and does not overflow
    np.testing.assert_allclose(np.exp(core.log_softmax(z, temperature)), expected, rtol=1e-10)


@given(st.integers(0, 2**32), st.floats(0.2, 200))
@settings(max_examples=80, deadline=None)
def test_distillation_loss_against_its_closed_form(seed, temperature):
    z, v = logits_pair(seed)
    q = np.exp(z / temperature) / np.exp(z / temperature).sum(axis=1, keepdims=True)
    p = np.exp(v / temperature) / np.exp(v / temperature).sum(axis=1, keepdims=True)
    value, gradient = core.distillation_loss(z, v, temperature)
    assert value == pytest.approx(
        temperature**2 * np.mean([sum(a * np.log(a / b)) for a, b in zip(p, q, strict=True)]), rel=1e-6
    )
    # equation 2, (q - p) / T, times T^2, averaged over the batch
    np.testing.assert_allclose(gradient, temperature * (q - p) / len(z), rtol=1e-7, atol=1e-12)


def test_cross_entropy_against_its_closed_form():
    z, _ = logits_pair(0)
    labels = np.array([3, 1, 4, 1, 5, 9, 2])
    q = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    value, gradient = core.cross_entropy(z, labels)
    assert value == pytest.approx(-np.mean([np.log(q[i, c]) for i, c in enumerate(labels)]))
    np.testing.assert_allclose(gradient, (q - np.eye(10)[labels]) / 7, atol=1e-15)


def test_high_temperature_matches_logits():
    """Section 2.1: with zero-meaned logits and T -> infinity the gradient tends to (z - v) / N per case."""
    z, v = logits_pair(1)
    z -= z.mean(axis=1, keepdims=True)
    v -= v.mean(axis=1, keepdims=True)
    distances = []
    for temperature in (1e2, 1e3, 1e4):
        _, gradient = core.distillation_loss(z, v, temperature)
        distances.append(np.abs(gradient * len(z) - (z - v) / 10).max())
    assert distances[-1] < 1e-3
    assert distances[0] > 5 * distances[1] > 25 * distances[2]  # as 1 / T


def test_temperature_squared_keeps_the_size_of_the_gradient():
    """Between T = 10 and T = 1000 the gradient keeps its size; it would shrink 10,000 times without T²."""
    z, v = logits_pair(2)
    sizes = [np.linalg.norm(core.distillation_loss(z, v, t)[1]) for t in (10.0, 100.0, 1000.0)]
    assert max(sizes) / min(sizes) < 1.3


def test_a_perfect_student_has_no_loss_and_no_gradient():
    z, _ = logits_pair(3)
    value, gradient = core.distillation_loss(z + 5, z, 20.0)  # softmax ignores a common shift
    assert value == pytest.approx(0, abs=1e-9)
    assert np.abs(gradient).max() < 1e-12


@pytest.mark.parametrize("temperature", [1.0, 20.0])
def test_both_losses_against_pytorch(temperature):
    torch = pytest.importorskip("torch")
    z, v = logits_pair(5)
    labels = np.array([0, 2, 4, 6, 8, 9, 1])
    zt = torch.from_numpy(z).requires_grad_()
    soft_targets = torch.softmax(torch.from_numpy(v) / temperature, 1)
    loss = temperature**2 * torch.nn.functional.kl_div(
        torch.log_softmax(zt / temperature, 1), soft_targets, reduction="batchmean"
    )
    loss.backward()
    value, gradient = core.distillation_loss(z, v, temperature)
    assert value == pytest.approx(loss.item())
    np.testing.assert_allclose(gradient, zt.grad.numpy(), atol=1e-12)
    zt.grad = None
    loss = torch.nn.functional.cross_entropy(zt, torch.from_numpy(labels))
    loss.backward()
    value, gradient = core.cross_entropy(z, labels)
    assert value == pytest.approx(loss.item())
    np.testing.assert_allclose(gradient, zt.grad.numpy(), atol=1e-12)


@pytest.mark.parametrize("temperature", [0.01, 0.1, 1.0, 20.0, 1e3, 1e4])
def test_float32_logits_give_the_loss_that_exact_arithmetic_gives(temperature):
    """At T = 10,000 the KL of 4e-8 is the difference of sums near 2.3: single precision would lose it."""
    z, v = (a.astype(np.float32) for a in logits_pair(7))

    def log_softmax(logits: np.ndarray) -> np.ndarray:
        scaled = logits.astype(np.longdouble) / temperature
        scaled -= scaled.max(axis=1, keepdims=True)
        return scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True))

    log_p, log_q = log_softmax(v), log_softmax(z)
    exact = temperature**2 * (np.exp(log_p) * (log_p - log_q)).sum(axis=1).mean()
    value, gradient = core.distillation_loss(z, v, temperature)
    assert value == pytest.approx(float(exact), rel=1e-5)
    assert value > 0
    exact_gradient = (temperature * (np.exp(log_q) - np.exp(log_p)) / len(z)).astype(float)
    np.testing.assert_allclose(gradient, exact_gradient, rtol=1e-4, atol=2e-8 * max(1, temperature))


def test_the_loss_falls_to_zero_and_never_below_at_high_temperatures():
    """There it is half the variance, over the classes, of what separates the logits (section 2.1)."""
    z, _ = (a.astype(np.float32) for a in logits_pair(8))
    for distance in (1.0, 0.1, 0.01, 0.0):
        value, _ = core.distillation_loss(z + distance * z[:, ::-1], z, 1e4)
        limit = distance**2 * float(z.var(axis=1).mean()) / 2
        assert value == pytest.approx(limit, rel=1e-3, abs=1e-7)
        assert value >= -1e-7


def test_float32_stays_float32():
    z, v = (a.astype(np.float32) for a in logits_pair(6))
    assert core.distillation_loss(z, v, 20.0)[1].dtype == np.float32
    assert core.cross_entropy(z, np.zeros(7, np.uint8))[1].dtype == np.float32
