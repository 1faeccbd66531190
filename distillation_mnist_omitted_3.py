#!/usr/bin/env python3
"""A student that has never seen a 3, and recognises it: Hinton, Vinyals & Dean (2015), section 3, in NumPy.

A teacher network learns all ten digits of MNIST from hard labels. A smaller student learns only from the
teacher's softened outputs, on a transfer set from which every 3 was removed. Then one scalar is added to the
student's output bias for the class that it never saw, chosen so that the student predicts that class as often
as it occurs.

    python3 distillation_mnist_omitted_3.py           # the described recipe, results in viz/results.json
    python3 distillation_mnist_omitted_3.py --help    # every setting with its default

The file reads from top to bottom in the order of the paper: settings; equation 1 and the losses; the network;
Adam; the training loop; teacher, transfer set, student; the bias correction; evaluation; then the data and
the way from data to results.json. Section and equation numbers are those of arXiv:1503.02531. What the paper
does not speak of (threads, download, stored runs, flags, terminal) is in support/.
"""

from __future__ import annotations

from support.code import digest_of
from support.console import Console, UserError, run_script
from support.data import VIZ, Data, Source, check_images, digests, load, stand_in_notice, warn_of_stand_in
from support.download import Remote, cached, read_folder, uncompress
from support.experiment import Experiment, whole_experiment
from support.offsets import add_offsets, match_class_frequencies
from support.regularisation import dropout_mask, limit_norms
from support.report import report, short_name, shown_accuracies, summary, warn_if_unreached
from support.schedule import learning_rate_at, shuffled
from support.settings import N_CLASSES, argument_parser, given_settings, named_folder, setting
from support.stored import Session, TrainedRun, Training, Watcher, digest_of_parameters
from support.tiles import Workers, slices
from support.transformations import IMAGE_SIDE, N_PIXELS, Limits, Transformer, scaled_into

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from synthetic import digits
from transfer.answers import of_outputs, told
from transfer.images import Drawing, Transfer, described, of_training_images, part_of
from transfer.probes import check_probe, probe_and_targets
from transfer.recipes import RECIPES, preset
from transfer.settings import STUDENT_FIELDS, TransferSettings

# ---- Settings: the defaults are the described recipe -------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Config(TransferSettings):
    """All settings of one experiment, each a flag of the same name. Raises UserError for bad values.

    What is not given comes from the recipe, from what a drawn transfer set asks for, and from the defaults.
    """

    CACHE = "hinton-mnist"

    # fmt: off
    recipe: str = setting(
        "described", "preset of other flags; flags given explicitly win", choices=tuple(RECIPES))
    temperature: float = setting(
        20.0, "softmax temperature T of the distillation", type=float, at_least=0.01, at_most=10_000)
    omitted_class: tuple[int, ...] = setting(
        (3,), "class or classes that the student never sees, each 0 to 9", at_least=0, at_most=9, nargs="+")
    n_epochs_teacher: int = setting(12, "passes of the teacher over the training set", at_least=1)
    n_epochs_student: int = setting(20, "passes of the student over the transfer set", at_least=1)
    teacher_hidden: tuple[int, ...] = setting(
        (1200, 1200), "units per hidden layer of the teacher", at_least=1, at_most=100_000, nargs="+")
    student_hidden: tuple[int, ...] = setting(
        (800, 800), "units per hidden layer of the student", at_least=1, at_most=100_000, nargs="+")
    batch_size: int = setting(128, "images per step", at_least=1)
    batch_size_student: int | None = setting(
        None, "images per step of the student, if it differs", at_least=1)
    learning_rate: float = setting(
        1e-3, "step size of Adam (the peak of a schedule)", type=float, above=0)
    learning_rate_student: float | None = setting(
        None, "step size of the student, if it differs", type=float, above=0)
    lr_schedule: str = setting(
        "constant", "linear: 5 %% warm-up, then linear decay to zero", choices=("constant", "linear"))
    dropout_input: float = setting(
        0.0, "teacher: share of the input pixels dropped at each step", type=float, at_least=0, at_most=0.99)
    dropout: float = setting(
        0.0, "teacher: share of the hidden units dropped at each step", type=float, at_least=0, at_most=0.99)
    max_norm: float | None = setting(
        None, "teacher: limit of the L2 norm of each hidden unit's incoming weights", type=float, above=0)
    hard_weight: float = setting(
        0.0, "student: weight of the hard labels in its loss; 1: hard labels alone",
        type=float, at_least=0, at_most=1)
    dataset: str = setting(
        "auto", "auto: MNIST, or digits drawn by this project where MNIST cannot be had; mnist: nothing "
        "else will do", choices=("auto", "mnist", "rendered"))
    data_dir: Path | None = setting(None, "folder with the four IDX files, plain or .gz", type=named_folder)
    cache_dir: Path | None = setting(
        None, f"folder for downloads and finished trainings (default: ~/.cache/{CACHE})", type=named_folder)
    outdir: Path | None = setting(
        None, "folder for everything written (default: viz, or viz/rendered, viz/custom for other data)",
        type=named_folder)
    # fmt: on

    def __init__(self, **given: Any) -> None:
        values = {item.name: item.default for item in fields(self)}
        if unknown := given.keys() - values.keys():
            raise TypeError(f"there is no setting {', '.join(sorted(unknown))}")
        for name, value in {**values, **preset(given), **given}.items():
            object.__setattr__(self, name, value)
        self.__post_init__()

    def training(self, kind: str) -> TrainingSettings:
        """The settings of the "teacher" or the "student"."""
        of_both = {
            "lr_schedule": self.lr_schedule, "limits": self.limits(kind), "background": self.background,
        }  # fmt: skip
        n_outputs = N_CLASSES + self.spare_outputs
        if kind == "teacher":
            return TrainingSettings(
                sizes=(N_PIXELS, *self.teacher_hidden, n_outputs), n_epochs=self.n_epochs_teacher,
                batch_size=self.batch_size, learning_rate=self.learning_rate,
                weight_seed=self.seed, order_seed=self.seed + 17, max_norm=self.max_norm,
                dropout_input=self.dropout_input, dropout=self.dropout, **of_both,
            )  # fmt: skip
        return TrainingSettings(
            sizes=(N_PIXELS, *self.student_hidden, n_outputs), n_epochs=self.n_epochs_student,
            batch_size=self.batch_size_student or self.batch_size,
            learning_rate=self.learning_rate_student or self.learning_rate,
            weight_seed=self.seed + (self.student_start == "own"), order_seed=self.seed + 31, **of_both,
        )  # fmt: skip


@dataclass(frozen=True)
class TrainingSettings:
    """What determines the training of one network, apart from what it learns from."""

    sizes: tuple[int, ...]  # pixels, hidden units ..., classes
    n_epochs: int
    batch_size: int
    learning_rate: float
    lr_schedule: str
    limits: Limits  # of what is done to the images
    weight_seed: int
    order_seed: int
    dropout_input: float = 0.0  # the teacher's regularisation: the described student has none (section 3)
    dropout: float = 0.0
    max_norm: float | None = None
    background: float = 0.0  # what an empty pixel is for the network


# ---- Equation 1 and the losses, each of which returns its value and its gradient by the logits -------------


def log_softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """log q_i with q_i = exp(z_i / T) / sum_j exp(z_j / T), equation 1; logits (n, classes).

    The largest logit is subtracted first: q does not change, and no exponential overflows.
    """
    scaled = (logits - logits.max(axis=1, keepdims=True)) / temperature
    return scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True))


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """q_i = exp(z_i / T) / sum_j exp(z_j / T), equation 1; logits (n, classes), same shape and dtype."""
    return np.exp(log_softmax(logits, temperature))


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
    """-log q_label at T = 1, mean over the batch; logits (n, classes), labels (n,).

    As d log q_k / d z_i = [i = k] - q_i, its gradient is (q - onehot) / n.
    """
    log_q = log_softmax(logits)
    rows = np.arange(len(labels))
    gradient = np.exp(log_q)
    gradient[rows, labels] -= 1
    gradient /= len(labels)
    return -float(log_q[rows, labels].mean()), gradient


def distillation_loss(
    student_logits: np.ndarray, teacher_logits: np.ndarray, temperature: float
) -> tuple[float, np.ndarray]:
    """T^2 KL(p || q) of the teacher's and student's softmaxes at T: sum over classes, mean over the batch.

    Why KL: it is the cross-entropy with the soft targets p less the teacher's entropy, a constant, so that
    the gradient is the same and a perfect student ends at zero. Why T^2: by equation 2 the gradient by a
    logit is (q - p) / T, and q - p itself shrinks as 1 / T (equation 3); times T^2 it is T (q - p), as large
    as that of hard labels whatever T is (section 2). Logits (n, classes).
    """
    soft_targets, q = softmax(teacher_logits, temperature), softmax(student_logits, temperature)
    gradient = (q - soft_targets) * (temperature / len(student_logits))
    # at high T, KL is a small difference of large sums: single precision would lose it, T^2 magnify the loss
    log_p, log_q = (log_softmax(z.astype(np.float64), temperature) for z in (teacher_logits, student_logits))
    kl = (np.exp(log_p) * (log_p - log_q)).sum(axis=1).mean()
    return temperature**2 * float(kl), gradient


# ---- The network: fully connected ReLU layers, forward and backward by hand --------------------------------


class MLP:
    """A network of fully connected ReLU layers with linear outputs, the logits.

    `parameters` is one flat vector, float32 unless asked otherwise. `layers[l]` is a view of it, shape
    (fan_out, fan_in + 1): the weights and, as last column, the biases, which a row of ones below the
    activations multiplies. Activations are batch-last, (features + 1, batch).

    Weights start as in He et al. (2015), normal with variance 2 / fan_in, biases at zero; without `rng`, all
    at zero.
    """

    background = 0.0  # what an empty pixel is for this network, where ink is 1

    def __init__(
        self, sizes: Sequence[int], rng: np.random.Generator | None, dtype: Any = np.float32
    ) -> None:
        self.sizes = tuple(sizes)
        shapes = [(fan_out, fan_in + 1) for fan_in, fan_out in pairwise(sizes)]
        self.starts = [0, *np.cumsum([math.prod(shape) for shape in shapes]).tolist()]
        self.parameters = np.zeros(self.starts[-1], dtype)
        self.layers = [
            self.parameters[a:b].reshape(s) for (a, b), s in zip(pairwise(self.starts), shapes, strict=True)
        ]
        if rng is not None:
            for layer in self.layers:
                fan_out, fan_in = layer.shape[0], layer.shape[1] - 1
                layer[:, :-1] = rng.standard_normal((fan_out, fan_in), dtype) * math.sqrt(2 / fan_in)

    def with_offsets(self, classes: Sequence[int], offsets: Sequence[float]) -> MLP:
        """A copy whose bias, and so whose logit, of each of `classes` is larger by its offset."""
        corrected = MLP(self.sizes, None, self.parameters.dtype)
        corrected.parameters[:], corrected.background = self.parameters, self.background
        corrected.layers[-1][list(classes), -1] += np.asarray(offsets, self.parameters.dtype)
        return corrected

    def new_activations(self, batch_size: int) -> list[np.ndarray]:
        """Buffers for `forward`: per layer (size + 1, batch) with a row of ones, then the logits."""
        hidden = [np.ones((size + 1, batch_size), self.parameters.dtype) for size in self.sizes[:-1]]
        return [*hidden, np.empty((self.sizes[-1], batch_size), self.parameters.dtype)]

    def forward(
        self, activations: list[np.ndarray], workers: Workers, scaled_masks: list[np.ndarray] | None = None
    ) -> np.ndarray:
        """Logits, shape (batch, classes), of the inputs in `activations[0]`; fills `activations[1:]`.

        `scaled_masks`, for dropout: per hidden layer (size, batch), 0 or 1 / (1 - p), multiplied into its
        activations.
        """
        last = len(self.layers) - 1
        for index, layer in enumerate(self.layers):
            below, above = activations[index], activations[index + 1]

            def tile(rows: slice) -> None:
                np.matmul(layer[rows], below, out=above[rows])
                if index < last:
                    np.maximum(above[rows], 0, out=above[rows])
                    if scaled_masks is not None:
                        above[rows] *= scaled_masks[index][rows]

            workers.map(tile, workers.tiles(len(layer), below.size))
        return activations[-1].T

    def backward(
        self,
        activations: list[np.ndarray],
        logits_gradient: np.ndarray,
        workers: Workers,
        update: Callable[[slice, np.ndarray], None],
        scaled_masks: list[np.ndarray] | None = None,
        beside: Sequence[Callable[[], None]] = (),
    ) -> None:
        """Back-propagate dLoss/dlogits, shape (batch, classes), after `forward` filled `activations`.

        Each tile of the parameters' gradient goes to `update(part, gradient)` as soon as it is computed:
        `part` is its slice of the flat vector and `gradient` a 1-d array that `update` may overwrite. The
        whole gradient never exists, which spares the optimiser a trip to memory. All deltas are computed
        before the first update. `beside` are calls that need nothing of this: they fill the gaps at the end.
        """
        deltas = [logits_gradient.T]  # dLoss/d(pre-activations), from the last layer to the first
        for index in range(len(self.layers) - 1, 0, -1):
            layer, below, delta_above = self.layers[index], activations[index], deltas[0]
            delta = np.empty((layer.shape[1] - 1, delta_above.shape[1]), layer.dtype)

            def delta_tile(units: slice) -> None:
                np.matmul(layer[:, units].T, delta_above, out=delta[units])
                delta[units] *= below[units] > 0  # slope of ReLU
                if scaled_masks is not None:
                    delta[units] *= scaled_masks[index - 1][units]

            workers.map(delta_tile, workers.tiles(len(delta), delta_above.size))
            deltas.insert(0, delta)

        def gradient_tile(index: int, rows: slice) -> None:
            gradient = deltas[index][rows] @ activations[index].T
            start = self.starts[index] + rows.start * gradient.shape[1]
            update(slice(start, start + gradient.size), gradient.reshape(-1))

        jobs = [
            partial(gradient_tile, index, rows)
            for index, layer in enumerate(self.layers)
            for rows in workers.tiles(len(layer), activations[index].size)
        ]
        workers.map(lambda job: job(), [*jobs, *beside])


# ---- Adam --------------------------------------------------------------------------------------------------


class Adam:
    """Adam (Kingma & Ba 2015, algorithm 1) on a flat vector of parameters, part by part and in place.

    The moments are kept without their factors (1 - beta): M <- beta1 M + g and V <- beta2 V + g^2, so that
    m_hat = M (1 - beta1) / (1 - beta1^t), and likewise v_hat: the factors of a whole step meet in two
    scalars.
    """

    BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
    PIECE = 2**18  # values updated at a time: they, their gradient and moments stay in the cache

    def __init__(self, parameters: np.ndarray) -> None:
        self.parameters = parameters
        self.first_moment = np.zeros_like(parameters)
        self.second_moment = np.zeros_like(parameters)
        self.n_steps = 0

    def begin_step(self, learning_rate: float) -> None:
        """Fix the two scalars of the next step, which `update` then applies to every part once."""
        self.n_steps += 1
        first_scale = (1 - self.BETA1) / (1 - self.BETA1**self.n_steps)
        second_scale = math.sqrt((1 - self.BETA2) / (1 - self.BETA2**self.n_steps))
        self._step_size = learning_rate * first_scale / second_scale
        self._epsilon = self.EPSILON / second_scale

    def update(self, part: slice, gradient: np.ndarray) -> None:
        """parameters[part] -= learning_rate * m_hat / (sqrt(v_hat) + epsilon). Overwrites `gradient`."""
        for piece in slices(len(gradient), self.PIECE):
            whole = self.first_moment[part], self.second_moment[part], self.parameters[part], gradient
            m, v, theta, g = (values[piece] for values in whole)
            m *= self.BETA1
            m += g
            v *= self.BETA2
            np.square(g, out=g)
            v += g
            np.sqrt(v, out=g)
            g += self._epsilon
            np.divide(m, g, out=g)
            g *= self._step_size
            theta -= g


# ---- The training loop: one for teacher and student, who differ in their lessons ---------------------------

# (logits (batch, classes), indices of the batch's images, its inputs as the network saw them, batch-last and
# with the row of ones) -> value, gradient by the logits
Loss = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[float, np.ndarray]]


@dataclass(frozen=True)
class Lesson:
    """What a network learns from: some of the images, and a loss."""

    images: np.ndarray  # uint8
    indices: np.ndarray  # (n,), those that an epoch goes through; no other image is touched
    loss: Loss
    drawn: Callable[[int], np.ndarray] | None = None  # images of an epoch from 2 on, where each has its own


def predict(network: MLP, images: np.ndarray, workers: Workers, chunk: int = 1000) -> np.ndarray:
    """Logits (n, classes), float32, of uint8 images (n, 28, 28)."""
    logits = np.empty((len(images), network.sizes[-1]), network.parameters.dtype)
    buffers = network.new_activations(min(chunk, len(images)))
    for start in range(0, len(images), chunk):
        batch = images[start : start + chunk]
        activations = [buffer[:, : len(batch)] for buffer in buffers]
        scaled_into(activations[0][:-1], batch, network.background)
        logits[start : start + chunk] = network.forward(activations, workers)
    return logits


def train(
    network: MLP, lesson: Lesson, settings: TrainingSettings, workers: Workers, watcher: Watcher | None = None
) -> None:
    """Train `network` in place, each epoch in another order; `watcher` hears of steps and epochs."""
    started, total_loss = time.perf_counter(), 0.0  # of an epoch
    watcher, n_images = watcher or Watcher(), len(lesson.indices)
    rng, adam = np.random.default_rng(settings.order_seed), Adam(network.parameters)
    transformer = Transformer(settings.limits, rng, network.background)
    batch_size = min(settings.batch_size, n_images)
    n_batches = math.ceil(n_images / batch_size)
    n_steps = settings.n_epochs * n_batches
    buffers = network.new_activations(batch_size)
    spare_inputs = np.ones_like(buffers[0])
    feed = shuffled(lesson.indices, batch_size, rng)
    dropout, masks, images = settings.dropout_input > 0 or settings.dropout > 0, None, lesson.images

    def writing(batch: np.ndarray) -> list[Callable[[], None]]:
        return transformer.calls(spare_inputs[:-1, : len(batch)], images[batch])

    coming = next(feed)
    for call in writing(coming):
        call()
    for step in range(n_steps):
        epoch, place = step // n_batches + 1, step % n_batches + 1
        batch, buffers[0], spare_inputs = coming, spare_inputs, buffers[0]
        activations = [buffer[:, : len(batch)] for buffer in buffers]
        if dropout:
            inputs = activations[0][:-1]
            inputs *= dropout_mask(inputs.shape, settings.dropout_input, rng)
            masks = [dropout_mask((n, len(batch)), settings.dropout, rng) for n in network.sizes[1:-1]]
        with np.errstate(over="ignore", invalid="ignore"):  # divergence: see Recorder
            logits = network.forward(activations, workers, masks)
            value, gradient = lesson.loss(logits, batch, activations[0])
        total_loss += value * len(batch)
        adam.begin_step(learning_rate_at(step, n_steps, settings.learning_rate, settings.lr_schedule))
        beside = []
        if step + 1 < n_steps:  # the next batch is written while this one's gradients are computed
            if place == n_batches and lesson.drawn is not None:
                images = lesson.drawn(epoch + 1)
            coming = next(feed)
            beside = writing(coming)
        network.backward(activations, gradient, workers, adam.update, masks, beside)
        if settings.max_norm is not None:
            limit_norms(network, settings.max_norm, workers)
        watcher.step_done(epoch, min(place * batch_size, n_images) / n_images)
        if place == n_batches:
            watcher.epoch_done(epoch, total_loss / n_images, time.perf_counter() - started)
            started, total_loss = time.perf_counter(), 0.0


# ---- Teacher, transfer set, student ------------------------------------------------------------------------


def hard_labels(labels: np.ndarray) -> Loss:
    """The loss of a network that learns from labels."""
    return lambda logits, batch, inputs: cross_entropy(logits[:, :N_CLASSES], labels[batch])


def transfer_set(labels: np.ndarray, omitted_class: Sequence[int]) -> np.ndarray:
    """Indices of all images but those of the omitted classes."""
    return np.flatnonzero(~np.isin(labels, omitted_class))


def transfer_for(config: Config, data: Data, teacher: MLP, workers: Workers) -> Transfer:
    """The images that the student learns from: training images without the omitted classes, or drawn ones."""
    images = data.train_images
    if config.is_drawn:
        drawing = Drawing(config.transfer_set, images, config.seed + 61)
        return drawing.transfer(config.n_epochs_student, config.transfer_images, workers)
    omitted, rank = list(config.omitted_class), None
    if config.transfer_choice != "random":
        soft_targets = softmax(predict(teacher, images, workers)[:, :N_CLASSES], config.temperature)
        likeness = soft_targets[:, omitted].sum(axis=1)
        rank = likeness if config.transfer_choice == "least-like" else -likeness
    indices = transfer_set(data.train_labels, omitted)
    if config.transfer_fraction < 1:
        indices = part_of(indices, config.transfer_fraction, config.seed + 47, rank)
    return of_training_images(images, indices)


def frozen_teacher(
    teacher: MLP, config: Config, data: Data, workers: Workers
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """The frozen teacher's logits for a batch, given its indices and its inputs as the student sees them."""
    settings = config.training("student")
    if settings.limits.change or config.is_drawn:  # the teacher must see the image as the student does
        n = min(settings.batch_size, len(data.train_labels))
        buffers = cache(lambda: teacher.new_activations(n)[1:])  # a stored student never asks

        def teacher_logits(batch: np.ndarray, inputs: np.ndarray) -> np.ndarray:
            above = [buffer[:, : len(batch)] for buffer in buffers()]
            return teacher.forward([inputs, *above], workers)

    else:
        labels = data.train_labels
        once = cache(lambda: told(predict(teacher, data.train_images, workers), labels, config))

        def teacher_logits(batch: np.ndarray, inputs: np.ndarray) -> np.ndarray:
            return once()[batch]

    return teacher_logits


def teacher_lesson(config: Config, data: Data) -> Lesson:
    """Hard labels, on images of all classes, transformed or not (section 3)."""
    seen = transfer_set(data.train_labels, config.teacher_omitted_class)
    return Lesson(data.train_images, seen, of_outputs(slice(0, N_CLASSES), hard_labels(data.train_labels)))


def student_lesson(config: Config, data: Data, teacher: MLP, seen: Transfer, workers: Workers) -> Lesson:
    """The frozen teacher's soft targets, on the transfer set (section 3).

    No label reaches the loss, unless `hard_weight` asks for it. The student keeps an output for each omitted
    class: the teacher's soft targets put some mass on it for every image, and that is all that the student
    ever hears of it.
    """
    teacher_logits = frozen_teacher(teacher, config, data, workers)
    from_labels, hard_weight = hard_labels(data.train_labels), config.hard_weight
    heard = slice(N_CLASSES, None) if config.spare_outputs else slice(0, N_CLASSES)

    def loss(logits: np.ndarray, batch: np.ndarray, inputs: np.ndarray) -> tuple[float, np.ndarray]:
        if hard_weight == 1:
            return from_labels(logits, batch, inputs)
        targets = teacher_logits(batch, inputs)[:, heard]
        value, gradient = distillation_loss(logits[:, heard], targets, config.temperature)
        if hard_weight > 0:  # section 2: a weighted average of both objectives, the soft one times T^2
            hard_value, hard_gradient = from_labels(logits, batch, inputs)
            value = (1 - hard_weight) * value + hard_weight * hard_value
            gradient = (1 - hard_weight) * gradient + hard_weight * hard_gradient
        return value, gradient

    return Lesson(seen.pool, seen.indices, of_outputs(heard, loss), seen.drawn)


def train_teacher(config: Config, data: Data, session: Session) -> TrainedRun:
    """The large network. Raises UserError when its training diverges."""
    return stored_or_new("teacher", teacher_lesson(config, data), config, data, session)


def train_student(
    config: Config, data: Data, teacher: MLP, session: Session, seen: Transfer | None = None
) -> TrainedRun:
    """The small network, on the images of `seen`, if they are there already. Raises UserError."""
    seen = seen or transfer_for(config, data, teacher, session.workers)
    lesson = student_lesson(config, data, teacher, seen, session.workers)
    return stored_or_new("student", lesson, config, data, session, teacher)


# ---- Bias correction: one scalar per omitted class ---------------------------------------------------------

MAX_OFFSET = 50.0  # no sane logit needs more


@dataclass(frozen=True)
class BiasCorrection:
    """The scalars to add to the output biases of the omitted classes, or of all, and what they do.

    Why biases are all that is missing: by Bayes' rule log p(c | x) = log p(x | c) + log p(c) - log p(x). How
    much an image looks like a 3, p(x | c), the soft targets teach on images of other digits; how often 3s
    occur, p(c), the transfer set gets wrong, as it has none. That is the same number for every image: a bias.
    """

    classes: tuple[int, ...]  # whose biases; everything below is in their order
    offsets: tuple[float, ...]
    reached: bool  # False: no offsets within MAX_OFFSET reach the targets, and all offsets are 0
    target_frequencies: tuple[float, ...]
    mean_probabilities_before: tuple[float, ...]
    mean_probabilities_after: tuple[float, ...]
    probe_size: int


def omitted_probabilities(
    logits: np.ndarray, omitted_class: Sequence[int], offsets: Sequence[float]
) -> np.ndarray:
    """Probabilities (n, omitted) of the omitted classes at T = 1, `offsets` added; logits (n, classes)."""
    return softmax(add_offsets(logits.astype(np.float64), omitted_class, offsets))[:, list(omitted_class)]


def match_class_frequency(logits: np.ndarray, omitted_class: int, target: float) -> float | None:
    """Binary search for the offset at which the mean probability of one omitted class equals `target`.

    It rises with the offset. None when no offset within MAX_OFFSET reaches the target.
    """

    def mean_probability(offset: float) -> float:
        return float(omitted_probabilities(logits, [omitted_class], [offset]).mean())

    low, high = -MAX_OFFSET, MAX_OFFSET
    if not mean_probability(low) <= target <= mean_probability(high):
        return None
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if mean_probability(middle) < target else (low, middle)
    return (low + high) / 2


def correct_bias(
    logits: np.ndarray, omitted_class: Sequence[int], targets: Sequence[float]
) -> BiasCorrection:
    """The offsets that bring the omitted classes' mean probabilities on the probe to their targets.

    `logits` (n, classes) are the student's on the probe, computed once: offsets only shift columns of them.
    """
    offsets: Sequence[float] | None = []
    if len(omitted_class) == 1:
        found = match_class_frequency(logits, omitted_class[0], targets[0])
        offsets = None if found is None else [found]
    elif len(omitted_class) > 1:
        offsets = match_class_frequencies(logits, omitted_class, targets, log_softmax, MAX_OFFSET)
    used = [0.0] * len(omitted_class) if offsets is None else offsets

    def means(b: Sequence[float]) -> tuple[float, ...]:
        return tuple(omitted_probabilities(logits, omitted_class, b).mean(axis=0).tolist())

    return BiasCorrection(
        classes=tuple(omitted_class),
        offsets=tuple(map(float, used)),
        reached=offsets is not None,
        target_frequencies=tuple(map(float, targets)),
        mean_probabilities_before=means([0.0] * len(omitted_class)),
        mean_probabilities_after=means(used),
        probe_size=len(logits),
    )


# ---- Evaluation --------------------------------------------------------------------------------------------


def evaluate(logits: np.ndarray, labels: np.ndarray, omitted_class: Sequence[int]) -> dict[str, Any]:
    """All metrics of logits (n, classes): accuracies in [0, 1], errors as counts.

    The accuracy of classes without images is None, and so is that on the omitted classes when there are none.
    """
    predicted = logits.argmax(axis=1)
    confusion = np.zeros((N_CLASSES, N_CLASSES), int)  # rows: true class, columns: predicted
    np.add.at(confusion, (labels, predicted), 1)
    counts, right = confusion.sum(axis=1), confusion.diagonal()
    omitted = np.isin(np.arange(N_CLASSES), omitted_class)

    def accuracy(part: np.ndarray) -> float | None:
        return float(right[part].sum() / counts[part].sum()) if counts[part].any() else None

    return {
        "test_accuracy": float(right.sum() / counts.sum()),
        "test_errors": int(counts.sum() - right.sum()),
        "per_class_accuracy": [accuracy(np.arange(N_CLASSES) == c) for c in range(N_CLASSES)],
        "omitted_accuracy": accuracy(omitted),
        "omitted_errors": int(counts[omitted].sum() - right[omitted].sum()),
        "other_accuracy": accuracy(~omitted),
        "confusion_matrix": confusion.tolist(),
    }


# ---- Data: four IDX files from a folder, the cache or a mirror ---------------------------------------------

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "http://yann.lecun.com/exdb/mnist/",
)
# SHA-256 of each file's content, uncompressed: a plain copy, a .gz and a mirror are held to the same sum.
MNIST_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
MAX_FILE_BYTES = 64 * 2**20  # no MNIST file is larger, compressed or not
RENDERED_NOTICE = stand_in_notice(
    "MNIST", "digits", (
        "For MNIST, run again with a network, or with  --data-dir FOLDER  holding",
        "train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz,",
        "t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz.",
    ),
)  # fmt: skip


def parse_idx(content: bytes, name: str, n_dimensions: int) -> np.ndarray:
    """The uint8 array in the bytes of an IDX file.

    That is a magic number 0, 0, 8 and the number of dimensions, their sizes as big-endian 32-bit numbers,
    then the values. Raises UserError for another magic, missing or trailing bytes.
    """
    header = 4 + 4 * n_dimensions
    if len(content) < header or content[:4] != bytes((0, 0, 8, n_dimensions)):
        raise UserError(
            f"{name} is not an IDX file of bytes in {n_dimensions} dimension(s); check where it comes from"
        )
    shape = tuple(int(n) for n in np.frombuffer(content, ">u4", n_dimensions, offset=4))
    if len(content) - header != math.prod(shape):
        raise UserError(
            f"{name} holds {len(content) - header} values, its header announces {math.prod(shape)}; "
            "fetch it again"
        )
    if max(shape) > MAX_FILE_BYTES:  # beside a dimension of 0, which NumPy minds
        raise UserError(f"{name} announces {shape} values and holds none; fetch it again")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def mnist_file(name: str) -> Remote[bytes]:
    """One of MNIST's files as the mirrors hold it, compressed; what is in it is held to its SHA-256."""

    def check(sent: bytes) -> bytes:
        plain = uncompress(sent, MAX_FILE_BYTES)
        if digests({name: plain})[name] != MNIST_SHA256[name]:
            raise ValueError("wrong SHA-256")
        return plain

    return Remote(f"{name}.gz", check, MAX_FILE_BYTES)


def read_cache(folder: Path, mirrors: Sequence[str], console: Console) -> dict[str, bytes]:
    """The four MNIST files, uncompressed, from the cache where it holds them, else from the mirrors.

    Raises DownloadError.
    """

    def read(name: str) -> bytes:
        file = mnist_file(name)
        urls = [f"{mirror.rstrip('/')}/{file.name}" for mirror in mirrors]
        return cached(folder / file.name, urls, file, console)

    return {name: read(name) for name in MNIST_SHA256}


def data_from_idx(contents: dict[str, bytes]) -> Data:
    """Parse the four files. Raises UserError when they are no images and labels of the right shape."""
    arrays = {name: parse_idx(idx, name, 3 if "images" in name else 1) for name, idx in contents.items()}
    train_images, train_labels, test_images, test_labels = (arrays[name] for name in MNIST_SHA256)
    check_images(train_images, train_labels, "training", (IMAGE_SIDE, IMAGE_SIDE))
    check_images(test_images, test_labels, "test", (IMAGE_SIDE, IMAGE_SIDE))
    sha256 = digests(contents)
    name = "MNIST" if sha256 == MNIST_SHA256 else "custom IDX files"
    return Data(name, train_images, train_labels, test_images, test_labels, sha256)


def rendered_data(console: Console) -> Data:
    """20,000 + 5,000 digits drawn by this project, always the same ones."""
    console.line("drawing 25,000 digits ...")
    arrays = digits.render_dataset()
    named = zip(MNIST_SHA256, arrays, strict=True)
    return Data("rendered digits", *arrays, digests({name: array.tobytes() for name, array in named}))


def load_data(config: Config, console: Console) -> Data:
    """The data that `--dataset`, `--data-dir`, `--cache-dir` and `--mirror` ask for, less what is held out.

    Raises UserError when it cannot be had, is malformed, or has no image of an omitted class.
    """
    mirrors = config.mirror or MIRRORS
    source = Source(
        name="MNIST",
        strict="mnist",
        given=lambda folder: data_from_idx(read_folder(folder, tuple(MNIST_SHA256), MAX_FILE_BYTES)),
        fetched=lambda: data_from_idx(read_cache(config.cache_folder, mirrors, console)),
        drawn=lambda: rendered_data(console),
        notice=RENDERED_NOTICE,
    )
    return load(source, config, console)


# ---- From data to results.json -----------------------------------------------------------------------------


def determinants(kind: str, config: Config, data: Data, teacher: np.ndarray | None = None) -> dict[str, Any]:
    """Everything that decides the result of a training of `kind`, "teacher" or "student".

    `teacher`: the parameters of a student's; without them, its settings stand for it.
    """
    lessons = {"teacher": (teacher_lesson,), "student": (transfer_for, student_lesson)}
    decisive: dict[str, Any] = {
        "kind": kind,
        "settings": asdict(config.training(kind)),
        "data": data.digest,
        "code": digest_of(MLP, train, predict, Workers, *lessons[kind]),
    }
    if kind == "teacher":
        return decisive | {"omitted_class": config.teacher_omitted_class}
    for name in ("omitted_class", "hard_weight", *STUDENT_FIELDS):
        decisive[name] = getattr(config, name)
    if config.hard_weight < 1 or config.transfer_choice != "random":
        decisive["temperature"] = config.temperature
        its_settings = asdict(config.training("teacher"))
        decisive["teacher"] = its_settings if teacher is None else digest_of_parameters(teacher)
    return decisive


def stored_or_new(
    kind: str, lesson: Lesson, config: Config, data: Data, session: Session, teacher: MLP | None = None
) -> TrainedRun:
    """The stored training of `kind` or, where there is none, a new one. Raises UserError when it diverges."""
    settings = config.training(kind)
    omitted = config.omitted_class if kind == "student" else config.teacher_omitted_class
    network = MLP(settings.sizes, np.random.default_rng(settings.weight_seed))
    network.background = settings.background
    training = Training(
        kind, determinants(kind, config, data, None if teacher is None else teacher.parameters),
        network, settings.n_epochs,
        train=lambda watcher: train(network, lesson, settings, session.workers, watcher),
        predict_test=lambda n: predict(network, data.test_images[:n], session.workers)[:, :N_CLASSES],
        output_shape=(len(data.test_labels), N_CLASSES),
        measure=lambda logits: evaluate(logits, data.test_labels, omitted),
        shown=shown_accuracies(short_name(omitted)),
        called="control" if kind == "student" and config.hard_weight == 1 else "",
    )  # fmt: skip
    return session.finished(training)


def outdir_for(config: Config, data: Data) -> Path:
    """Where outputs go: other data never overwrites the figures of MNIST."""
    subfolder = "rendered" if data.is_rendered else "" if data.name == "MNIST" else "custom"
    return config.outdir or VIZ / subfolder


def run(config: Config, console: Console | None = None) -> Experiment:
    """The whole experiment: data, teacher, student, bias correction. Raises UserError."""
    return whole_experiment(config, console or Console(quiet=True), load_data, outdir_for, run_on_data)


def run_on_data(data: Data, config: Config, session: Session, data_seconds: float = 0.0) -> Experiment:
    """The experiment on data that is already there, in a session that is open. Raises UserError."""
    check_probe(config, data)  # if there is none, that is better known before the trainings
    workers = session.workers
    teacher = train_teacher(config, data, session)
    started = time.perf_counter()
    seen = transfer_for(config, data, teacher.network, workers)
    data_seconds += time.perf_counter() - started
    student = train_student(config, data, teacher.network, session, seen)
    started = time.perf_counter()
    networks = [partial(predict, one.network, workers=workers) for one in (teacher, student)]
    probe_logits, targets = probe_and_targets(config, data, seen, *networks, log_softmax)
    correction = correct_bias(probe_logits, config.corrected_class, targets)
    warn_if_unreached(correction, MAX_OFFSET, session.console)
    return Experiment(
        config, data, {"teacher": teacher, "student": student}, correction, probe_logits,
        measure=lambda logits: evaluate(logits, data.test_labels, config.omitted_class),
        outdir=outdir_for(config, data),
        transfer=seen,
        n_threads=workers.n_threads,
        seconds={"data": data_seconds, "bias_correction": time.perf_counter() - started},
        transfer_set=described(seen, data.train_images, networks[0], softmax),
    )  # fmt: skip


# ---- Command line ------------------------------------------------------------------------------------------


def main(argv: list[str] | None = None) -> None:
    parser = argument_parser("Distil MNIST into a student that never sees one of the digits.", Config)
    config = Config(**given_settings(parser.parse_args(argv), Config))
    console = Console(config.quiet)
    experiment = run(config, console)
    found = experiment.results()
    report(experiment.outdir, found, summary(found, short_name(config.omitted_class)), console)
    warn_of_stand_in(experiment.data, RENDERED_NOTICE, console)


if __name__ == "__main__":
    run_script(main)
