"""Parts of the soft targets, and labels that are wrong or smoothed: against PyTorch, and counted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import distillation_mnist_omitted_3 as core
from beyond.answers import non_target_loss, target_loss
from beyond.labels import shown_labels, smoothed
from beyond.settings import Config

T = st.floats(0.5, 50)
SEED = st.integers(0, 2**32)


def case(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return *(4 * rng.standard_normal((2, 7, 10))), rng.integers(0, 10, 7)


@pytest.mark.parametrize("part", ["target", "non-target"])
@given(SEED, T)
@settings(max_examples=25, deadline=None)
def test_a_part_of_the_soft_targets_against_autograd(part, seed, t):
    """Zhao et al. (2022), section 3.1, written down for PyTorch; times T^2, the mean over the batch."""
    torch = pytest.importorskip("torch", exc_type=ImportError)
    logits, teacher_logits, labels = case(seed)
    z, v = torch.tensor(logits, requires_grad=True), torch.tensor(teacher_logits)
    of_label = torch.nn.functional.one_hot(torch.tensor(labels), 10).bool()
    q, p = (torch.softmax(x / t, dim=1) for x in (z, v))
    q_t, p_t = q[of_label], p[of_label]
    if part == "target":
        kl = p_t * (p_t / q_t).log() + (1 - p_t) * ((1 - p_t) / (1 - q_t)).log()
    else:
        q_rest, p_rest = (x[~of_label].reshape(7, 9) for x in (q, p))
        q_rest, p_rest = q_rest / (1 - q_t)[:, None], p_rest / (1 - p_t)[:, None]
        kl = (p_rest * (p_rest / q_rest).log()).sum(dim=1)
    loss = t**2 * kl.mean()
    loss.backward()
    ours = target_loss if part == "target" else non_target_loss
    value, gradient = ours(logits, teacher_logits, labels, t)
    assert value == pytest.approx(loss.item(), rel=1e-5, abs=1e-8)
    np.testing.assert_allclose(gradient, z.grad.numpy(), rtol=1e-5, atol=1e-8)


@given(SEED, T)
@settings(max_examples=25, deadline=None)
def test_both_parts_make_the_whole(seed, t):
    """Zhao et al. (2022), section 3.1: KL = TCKD + (1 - p_t) NCKD; here of each image by itself."""
    logits, teacher_logits, labels = case(seed)
    for z, v, c in zip(logits[:, None], teacher_logits[:, None], labels[:, None], strict=True):
        p_t = np.exp(v[0, c[0]] / t) / np.exp(v[0] / t).sum()
        parts = target_loss(z, v, c, t), non_target_loss(z, v, c, t)
        whole = core.distillation_loss(z, v, t)
        for found, a, b in zip(whole, *parts, strict=True):
            np.testing.assert_allclose(found, a + (1 - p_t) * b, rtol=1e-5, atol=1e-7)


def test_large_logits_overflow_nothing():
    logits, teacher_logits, labels = case(0)
    for loss in (target_loss, non_target_loss):
        value, gradient = loss(1e4 * logits, 1e4 * teacher_logits, labels, 1.0)
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()


@given(SEED, st.floats(0.01, 0.99))
@settings(max_examples=25, deadline=None)
def test_label_smoothing_against_pytorch(seed, smoothing):
    torch = pytest.importorskip("torch", exc_type=ImportError)
    logits, _, labels = case(seed)
    z = torch.tensor(logits, requires_grad=True)
    loss = torch.nn.functional.cross_entropy(z, torch.tensor(labels), label_smoothing=smoothing)
    loss.backward()
    batch = np.array([6, 0, 3, 1, 2, 5, 4])
    value, gradient = smoothed(labels, smoothing)(logits[batch], batch, np.empty(0))
    assert value == pytest.approx(loss.item())
    np.testing.assert_allclose(gradient, z.grad.numpy()[batch], atol=1e-12)


@pytest.mark.parametrize("share", [0.1, 0.3, 1.0])
def test_a_share_of_one_class_is_called_by_the_name_of_another(share):
    labels = np.random.default_rng(0).integers(0, 10, 1000).astype(np.uint8)
    n_3s = int((labels == 3).sum())
    config = Config(mislabelled=(3, 8), mislabelled_share=share)
    shown = shown_labels(config, labels)
    wrong = np.flatnonzero(shown != labels)
    assert len(wrong) == round(share * n_3s)
    assert (labels[wrong] == 3).all()
    assert (shown[wrong] == 8).all()
    assert (labels == np.random.default_rng(0).integers(0, 10, 1000)).all()
    others = [shown_labels(Config(mislabelled=(3, 8), mislabelled_share=share, **more), labels)
              for more in ({"seed": 1}, {"seed": 1, "teacher_seed": 0})]  # fmt: skip
    assert (others[1] == shown).all()
    assert share == 1 or (others[0] != shown).any()
