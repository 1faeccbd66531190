"""The whole experiment once more, as plainly as it can be said: the oracle of every wire in the core.

Float64, batch-first, one loop per image for the jitter, fresh arrays everywhere. It shares nothing with the
core but the order in which random numbers are drawn, which is part of what "the same seed" means.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from plain_numpy import shifted, softmax

from synthetic import digits, noise

Layers = list[tuple[np.ndarray, np.ndarray]]  # weights (out, in), biases (out,)
FROM_THE_CENTRE = np.array([[(r - 13.5, c - 13.5) for c in range(28)] for r in range(28)])  # of each pixel


def start(sizes: list[int], seed: int) -> Layers:
    rng = np.random.default_rng(seed)
    return [
        (rng.standard_normal((b, a), np.float32).astype(float) * np.sqrt(2 / a), np.zeros(b))
        for a, b in pairwise(sizes)
    ]


def forward(layers: Layers, x: np.ndarray, masks: list[np.ndarray] | None = None) -> list[np.ndarray]:
    """Inputs, hidden activations and logits, each (batch, size)."""
    activations = [x]
    for index, (w, b) in enumerate(layers):
        z = activations[-1] @ w.T + b
        if index < len(layers) - 1:
            z = np.where(z > 0, z, 0)
            if masks is not None:
                z = z * masks[index]
        activations.append(z)
    return activations


def gradients(
    layers: Layers, activations: list[np.ndarray], delta: np.ndarray, masks: list[np.ndarray] | None
) -> Layers:
    found: Layers = []
    for index in range(len(layers) - 1, -1, -1):
        found.insert(0, (delta.T @ activations[index], delta.sum(axis=0)))
        delta = (delta @ layers[index][0]) * (activations[index] > 0)
        if masks is not None and index:
            delta = delta * masks[index - 1]
    return found


class Adam:
    """Kingma & Ba (2015), algorithm 1, line by line."""

    def __init__(self) -> None:
        self.t, self.m, self.v = 0, 0.0, 0.0

    def step(self, theta: np.ndarray, g: np.ndarray, rate: float) -> np.ndarray:
        self.t += 1
        self.m = 0.9 * self.m + (1 - 0.9) * g
        self.v = 0.999 * self.v + (1 - 0.999) * g**2
        m_hat, v_hat = self.m / (1 - 0.9**self.t), self.v / (1 - 0.999**self.t)
        return theta - rate * m_hat / (np.sqrt(v_hat) + 1e-8)


def kept(shape: tuple[int, int], share: float, rng: np.random.Generator) -> np.ndarray:
    """Dropout, drawn as (units, batch): 0 or 1 / (1 - share)."""
    return np.where(rng.integers(0, 65536, shape, dtype=np.uint16) >= share * 65536, 1 / (1 - share), 0).T


def bilinear(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The image at `points` (n, 2): each of its pixels is a tent of height 1 and width 2; zero outside."""
    rows, columns = (np.maximum(0, 1 - np.abs(axis[:, None] - np.arange(28))) for axis in points.T)
    return ((rows @ image.astype(float)) * columns).sum(axis=1)


class PlainWarps:
    """4,000 transformations: a point, seen from the centre, is stretched, slanted, turned, then moved."""

    def __init__(self, rotation: float, scaling: float, shear: float, elastic: float, rng: Any) -> None:
        limits = (np.pi / 180 * rotation, shear, scaling, scaling)
        self.drawn = np.array([rng.uniform(-limit, limit, 4000) for limit in limits])
        self.strength, self.noise = np.zeros(4000), None
        if elastic:
            self.strength = rng.uniform(0, elastic, (4000, 1, 1, 1)).ravel()
            self.noise = np.concatenate([rng.random((500, 2, 52, 52), np.float32) for _ in range(8)])
        self.points = cache(self.points)  # a transformation serves many images

    def field(self, k: int) -> np.ndarray:
        """Noise under a Gaussian of 4 px, (2, 28, 28), of 1 px rms."""
        bell = np.exp(-(np.subtract.outer(np.arange(12, 40), np.arange(52)) ** 2) / 32)
        noise = self.noise[k].astype(float) * 2 - 1
        found = bell @ noise @ bell.T  # down, then along
        return found / np.sqrt((found**2).mean())

    def points(self, k: int) -> np.ndarray:
        """Where each pixel's value is to be read: (28, 28, 2)."""
        angle, slant, down, right = self.drawn[:, k]
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        matrix = turn @ np.array([[1 + down, 0], [slant, 1 + right]])
        found = FROM_THE_CENTRE @ matrix.T + 13.5
        if self.strength[k]:
            found += self.strength[k] * np.moveaxis(self.field(k), 0, 2)
        return found

    def all(self, images: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        return np.array(
            [bilinear(image, self.points(k).reshape(-1, 2)) for image, k in zip(images, chosen, strict=True)]
        )


@dataclass
class Course:
    """What a network learns and how."""

    images: np.ndarray
    indices: np.ndarray
    loss: Any  # (logits, batch, inputs) -> value, gradient
    n_epochs: int
    batch_size: int
    rate: float
    linear: bool
    jitter: int
    warp: tuple[float, float, float, float]  # rotation, scaling, shear, elastic
    order_seed: int
    dropout_input: float = 0.0
    dropout: float = 0.0
    max_norm: float | None = None
    background: float = 0.0
    drawn: Any = None  # epoch, counted from 0, to its images


def learn(layers: Layers, course: Course) -> tuple[Layers, list[float]]:
    """The network after the course, and its mean loss per epoch."""
    rng, losses, step = np.random.default_rng(course.order_seed), [], 0
    optimisers = [(Adam(), Adam()) for _ in layers]
    size = min(course.batch_size, len(course.indices))
    n_steps = course.n_epochs * -(-len(course.indices) // size)
    warm_up = max(1, round(n_steps / 20))
    warps = PlainWarps(*course.warp, rng) if any(course.warp) else None
    for epoch in range(course.n_epochs):
        pool = course.images if course.drawn is None else course.drawn(epoch)
        order, total = rng.permutation(course.indices), 0.0
        for first in range(0, len(order), size):
            batch = order[first : first + size]
            images = pool[batch]
            if course.jitter:
                corner = rng.integers(0, 2 * course.jitter + 1, (2, len(batch)))
                images = shifted(images, *(course.jitter - corner))
            if warps is not None:
                images = warps.all(images, rng.integers(0, 4000, len(batch)))
            x, masks = seen(images, course.background), None
            if course.dropout_input or course.dropout:
                x = x * kept((x.shape[1], len(x)), course.dropout_input, rng)
                masks = [kept((len(b), len(x)), course.dropout, rng) for _, b in layers[:-1]]
            activations = forward(layers, x, masks)
            value, delta = course.loss(activations[-1], batch, x)
            slopes = gradients(layers, activations, delta, masks)
            total += value * len(batch)
            rate = course.rate
            if course.linear:
                rising = (step + 1) / warm_up
                rate *= rising if step < warm_up else (n_steps - step) / (n_steps - warm_up)
            layers = [
                tuple(one.step(theta, g, rate) for one, theta, g in zip(*layer, strict=True))
                for layer in zip(optimisers, layers, slopes, strict=True)
            ]
            step += 1
            if course.max_norm is not None:
                layers = [*(limited(layer, course.max_norm) for layer in layers[:-1]), layers[-1]]
        losses.append(total / len(order))
    return layers, losses


def seen(images: np.ndarray, background: float) -> np.ndarray:
    """Ink 1, an empty pixel `background`: (n, 784)."""
    ink = images.reshape(len(images), -1) / 255
    return ink + (1 - ink) * background


def limited(layer: tuple[np.ndarray, np.ndarray], max_norm: float) -> tuple[np.ndarray, np.ndarray]:
    weights, biases = layer
    rows = [w * min(1.0, max_norm / np.sqrt((w**2).sum())) for w in weights]
    return np.array(rows), biases


def hard(labels: np.ndarray, smoothing: float = 0.0) -> Any:
    def loss(logits: np.ndarray, batch: np.ndarray, inputs: np.ndarray) -> tuple[float, np.ndarray]:
        q = softmax(logits[:, :10])
        target = (1 - smoothing) * np.eye(10)[labels[batch]] + smoothing / 10
        gradient = np.hstack([(q - target) / len(batch), np.zeros((len(batch), logits.shape[1] - 10))])
        return float(-(target * np.log(q)).sum(axis=1).mean()), gradient

    return loss


def called(labels: np.ndarray, c: Any, seed: int) -> np.ndarray:
    """What the teacher takes for the labels."""
    found = labels.copy()
    if c.mislabelled:
        shown = [i for i, label in enumerate(labels) if label == c.mislabelled[0]]
        for i in np.random.default_rng(seed + 83).permutation(shown)[
            : round(c.mislabelled_share * len(shown))
        ]:
            found[i] = c.mislabelled[1]
    return found


def kl_of_part(p: np.ndarray, q: np.ndarray, labels: np.ndarray, part: str) -> tuple[float, np.ndarray]:
    """Zhao et al. (2022), section 3.1, an image at a time; times the T of a gradient by logits / T."""
    total, slopes = 0.0, np.zeros(q.shape)
    for i, t in enumerate(labels):
        rest = [j for j in range(10) if j != t]
        pt, qt, p_rest, q_rest = p[i, t], q[i, t], p[i, rest] / (1 - p[i, t]), q[i, rest] / (1 - q[i, t])
        if part == "target":
            total += pt * np.log(pt / qt) + (1 - pt) * np.log((1 - pt) / (1 - qt))
            slopes[i, t] = qt - pt
            slopes[i, rest] = (pt - qt) * q_rest
        else:
            total += (p_rest * np.log(p_rest / q_rest)).sum()
            slopes[i, rest] = q_rest - p_rest
    return total / len(labels), slopes / len(labels)


def told(logits: np.ndarray, labels: np.ndarray, c: Any) -> np.ndarray:
    """What the student is told of the teacher's logits on the training images."""
    found, rng = logits.copy(), np.random.default_rng(c.seed + 73)
    for k in c.omitted_class if c.teacher_answers == "mean" else ():
        found[:, k] = np.mean([z[k] for z in logits])
    for label in sorted(set(labels)):
        rows = [i for i in range(len(labels)) if labels[i] == label]
        mixed = rng.permutation(rows) if c.teacher_answers == "shuffled" else rows
        for k in range(10):
            mean = np.mean([logits[i, k] for i in rows])
            for i, j in zip(rows, mixed, strict=True):
                if (c.teacher_answers == "class-mean" and k in c.omitted_class) or (
                    c.teacher_answers == "alone" and k not in c.omitted_class
                ):
                    found[i, k] = mean
                elif c.teacher_answers == "shuffled" and k in c.omitted_class:
                    found[i, k] = logits[j, k]
    return found


def drawn_images(c: Any, training: np.ndarray) -> Any:
    """Epoch to images, made from a thousand at a time, each thousand with a generator of its own."""
    n, few = len(training), c.transfer_images or 10**9

    @cache
    def block(k: int) -> np.ndarray:
        rng = np.random.default_rng([c.seed + 61, k])
        if c.transfer_set == "halves":
            upper, lower = rng.integers(0, n, (2, 1000))
            return np.concatenate([training[upper][:, :14], training[lower][:, 14:]], axis=1)
        if c.transfer_set == "rendered":
            return digits.render_digits(1000, rng)[0]
        return noise.DRAW[c.transfer_set](1000, rng)

    def images(epoch: int) -> np.ndarray:
        if few <= n:
            return np.array([block(i // 1000)[i % 1000] for i in np.arange(n) % few])
        n_cycle = -(-min(few, n * c.n_epochs_student) // n)
        first = epoch % n_cycle * n
        blocks = {k: block(k) for k in {i // 1000 for i in range(first, first + n)}}
        return np.array([blocks[i // 1000][i % 1000] for i in range(first, first + n)])

    return images


def saerens(q: np.ndarray, learned: np.ndarray) -> np.ndarray:
    """Saerens et al. (2002): E step, equation 2.9 above, M step below; from the learned frequencies on."""
    now = learned.copy()
    for _ in range(5000):
        posterior = q * (now / learned)
        posterior /= posterior.sum(axis=1)[:, None]
        now = posterior.mean(axis=0)
    return now


def experiment(c: Any, data: Any) -> dict[str, Any]:
    """What the settings `c` give on `data`: test logits of both networks, losses, the offsets."""
    images, labels, test = data.train_images, data.train_labels, data.test_images
    if c.hold_out:
        test = images[len(images) - c.hold_out :]
        images, labels = images[: len(images) - c.hold_out], labels[: len(labels) - c.hold_out]
    some = np.array([i for i, label in enumerate(labels) if label not in c.teacher_omitted_class])
    teacher_seed = c.seed if c.teacher_seed is None else c.teacher_seed
    teacher, teacher_losses = learn(
        start([784, *c.teacher_hidden, 10 + c.spare_outputs], teacher_seed),
        Course(
            images, some, hard(called(labels, c, teacher_seed), c.label_smoothing),
            c.n_epochs_teacher, c.batch_size, c.learning_rate,
            c.lr_schedule == "linear", c.jitter, (c.rotation, c.scaling, c.shear, c.elastic),
            teacher_seed + 17, c.dropout_input, c.dropout, c.max_norm, c.background,
        ),
    )  # fmt: skip
    heard = slice(10, None) if c.spare_outputs else slice(0, 10)
    on_training = forward(teacher, seen(images, c.background))[-1]
    instead = None if c.teacher_answers == "whole" else told(on_training, labels, c)

    def soft(logits: np.ndarray, batch: np.ndarray, inputs: np.ndarray) -> tuple[float, np.ndarray]:
        t, w = c.temperature, c.hard_weight
        z = forward(teacher, inputs)[-1] if instead is None else instead[batch]
        p, q = softmax(z[:, heard], t), softmax(logits[:, heard], t)
        value, gradient = t**2 * float((p * np.log(p / q)).sum(axis=1).mean()), np.zeros(logits.shape)
        gradient[:, heard] = t * (q - p) / len(batch)
        if c.soft_part != "whole":
            value, slopes = kl_of_part(p, q, labels[batch], c.soft_part)
            value, gradient = t**2 * value, t * slopes
        hard_value, hard_gradient = hard(labels)(logits, batch, inputs)
        return (1 - w) * value + w * hard_value, (1 - w) * gradient + w * hard_gradient

    indices = np.array([i for i, label in enumerate(labels) if label not in c.omitted_class])
    if c.transfer_fraction < 1:
        n = max(1, round(c.transfer_fraction * len(indices)))
        few = np.random.default_rng(c.seed + 47).permutation(indices)[:n]
        if c.transfer_choice != "random":
            like = softmax(on_training[:, :10], c.temperature)[:, list(c.omitted_class)].sum(axis=1)
            least = c.transfer_choice.startswith("least-like")
            ranked = sorted(indices, key=lambda i: like[i] if least else -like[i])
            few = np.array(ranked[:n])
            if c.transfer_choice.endswith("within"):
                of_class = [[i for i in ranked if labels[i] == k] for k in range(10)]
                parts = [mine[: round(c.transfer_fraction * len(mine))] for mine in of_class]
                few = np.concatenate(parts).astype(int)
                n = len(few)
        indices = np.array([few[i % n] for i in range(len(indices))])
    drawn = None if c.transfer_set == "digits" else drawn_images(c, images)
    if drawn is not None:
        indices = np.arange(len(images))
    student, student_losses = learn(
        start(
            [784, *c.student_hidden, 10 + c.spare_outputs],
            c.seed + 1 if c.student_start == "own" else teacher_seed,
        ),
        Course(
            images, indices, soft, c.n_epochs_student, c.batch_size_student or c.batch_size,
            c.learning_rate_student or c.learning_rate, c.lr_schedule == "linear", c.jitter_student,
            (c.rotation_student, c.scaling_student, c.shear_student, c.elastic_student), c.seed + 31,
            background=c.background, drawn=drawn,
        ),
    )  # fmt: skip
    logits = {
        (name, which): forward(network, seen(pictures, c.background))[-1][:, :10]
        for name, network in (("teacher", teacher), ("student", student))
        for which, pictures in (
            ("test", test), ("training", images),
            ("transfer", (images if drawn is None else drawn(0))[np.unique(indices)]),
        )
    }  # fmt: skip
    classes = list(range(10)) if c.correct == "all" else list(c.omitted_class)
    probe = logits["student", c.probe]
    probe_labels = {"test": data.test_labels, "training": labels}.get(c.probe)
    if c.probe_share:
        mine = [i for i, label in enumerate(probe_labels) if label in c.omitted_class]
        others = [i for i, label in enumerate(probe_labels) if label not in c.omitted_class]
        n = min(len(mine), int(len(others) * c.probe_share / (1 - c.probe_share)))
        n = min(n, int(c.probe_share * c.probe_size))
        m = round(n / c.probe_share) - n
        probe = probe[sorted(mine[:n] + others[:m])]
    probe = probe[: c.probe_size]
    targets = np.array([(labels == k).mean() for k in range(10)])
    if c.probe == "transfer":
        heard = logits["teacher", "transfer"] if instead is None else instead[np.unique(indices)]
        targets = softmax(heard[: c.probe_size, :10]).mean(axis=0)
    if c.prior == "em":
        learned = softmax(logits["student", "transfer"][: c.probe_size]).mean(axis=0)
        targets = saerens(softmax(probe), learned)
    return {
        "teacher": logits["teacher", "test"],
        "student": logits["student", "test"],
        "losses": np.array([*teacher_losses, *student_losses]),
        "offsets": offsets(probe, classes, targets[classes]),
    }


def offsets(probe: np.ndarray, classes: list[int], targets: np.ndarray) -> np.ndarray:
    """Where every class's mean probability is its target: its odds scaled by what is missing, until it is.

    Those of all classes are only known up to a constant: their mean is 0.
    """
    b = np.zeros(10)
    for _ in range(4000):
        missing = np.log(targets / softmax(probe + b).mean(axis=0)[classes])
        b[classes] += missing
        if np.abs(missing).max(initial=0) < 1e-10:
            break
    return b[classes] - (b.mean() if len(classes) == 10 else 0)
