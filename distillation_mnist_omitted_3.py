#!/usr/bin/env python3
"""A student that has never seen a 3, and recognises it: Hinton, Vinyals & Dean (2015), section 3, in NumPy.

A teacher network learns all ten digits of MNIST from hard labels. A smaller student learns only from the
teacher's softened outputs, on a transfer set from which every 3 was removed. Then one scalar is added to the
student's output bias for the class that it never saw, chosen so that the student predicts that class as often
as it occurs.

    python3 distillation_mnist_omitted_3.py           # the described recipe, results in viz/results.json
    python3 distillation_mnist_omitted_3.py --help    # every setting with its default

The file reads from top to bottom: losses, settings, network, Adam, training loop, teacher and student, bias
correction, evaluation, data, a whole run. Section and equation numbers are those of arXiv:1503.02531. What
the paper does not speak of is in support/; what goes beyond section 3, and the command line, in beyond/.
"""

from __future__ import annotations

from support.code import digest_of
from support.console import Console
from support.data import Data, check_images, check_omitted, digests, parse_idx, with_held_out_test_set
from support.download import MAX_FILE_BYTES, Remote, cached, read_folder, uncompress
from support.experiment import Experiment
from support.feed import Feed, learning_rate_at
from support.offsets import add_offsets, frequencies, match_class_frequencies
from support.regularisation import dropout_mask, limit_norms
from support.report import short_name, shown_accuracies, warn_if_unreached
from support.settings import N_CLASSES, CommonSettings, named_folder, setting
from support.stored import Session, TrainedRun, Training, Watcher, digest_of_parameters, open_session
from support.tiles import Workers, slices
from support.transformations import IMAGE_SIDE, N_PIXELS, PIXELS, Limits, scaled_into

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

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


# ---- Settings: the defaults are the described recipe -------------------------------------------------------

UNITS: dict[str, Any] = {"at_least": 1, "at_most": 100_000, "nargs": "+"}
DROPPED: dict[str, Any] = {"type": float, "at_least": 0, "at_most": 0.99}


@dataclass(frozen=True, kw_only=True)
class Config(CommonSettings):
    """The settings of section 3, each a flag of beyond/command.py. Raises UserError for bad values."""

    CACHE = "hinton-mnist"

    # fmt: off
    temperature: float = setting(
        20.0, "softmax temperature T of the distillation", type=float, at_least=0.01, at_most=10_000)
    omitted_class: tuple[int, ...] = setting(
        (3,), "class or classes that the student never sees, each 0 to 9", at_least=0, at_most=9, nargs="+")
    n_epochs_teacher: int = setting(12, "passes of the teacher over the training set", at_least=1)
    n_epochs_student: int = setting(20, "passes of the student over the transfer set", at_least=1)
    teacher_hidden: tuple[int, ...] = setting((1200, 1200), "units per hidden layer of the teacher", **UNITS)
    student_hidden: tuple[int, ...] = setting((800, 800), "units per hidden layer of the student", **UNITS)
    batch_size: int = setting(128, "images per step", at_least=1)
    batch_size_student: int | None = setting(None, "the same for the student, if it differs", at_least=1)
    learning_rate: float = setting(1e-3, "step size of Adam (the peak of a schedule)", type=float, above=0)
    learning_rate_student: float | None = setting(
        None, "the same for the student, if it differs", type=float, above=0)
    lr_schedule: str = setting(
        "constant", "linear: 5 %% warm-up, then linear decay to zero", choices=("constant", "linear"))
    jitter: int = setting(
        2, "teacher: shift each image by up to this many pixels per axis, anew each epoch", **PIXELS)
    dropout_input: float = setting(0.0, "teacher: share of the input pixels dropped at each step", **DROPPED)
    dropout: float = setting(0.0, "teacher: share of the hidden units dropped at each step", **DROPPED)
    max_norm: float | None = setting(
        None, "teacher: limit of the L2 norm of each hidden unit's incoming weights", type=float, above=0)
    hard_weight: float = setting(
        0.0, "student: weight of the hard labels in its loss; 1: hard labels alone",
        type=float, at_least=0, at_most=1)
    data_dir: Path | None = setting(None, "folder with the four IDX files, plain or .gz", type=named_folder)
    cache_dir: Path | None = setting(
        None, f"folder for downloads and finished trainings (default: ~/.cache/{CACHE})", type=named_folder)
    # fmt: on

    def unseen(self, kind: str) -> tuple[int, ...]:
        """The classes that the "teacher" or the "student" never sees."""
        return self.omitted_class if kind == "student" else ()

    def training(self, kind: str) -> TrainingSettings:
        """The settings of the "teacher" or the "student"."""
        if kind == "teacher":
            return TrainingSettings(
                sizes=(N_PIXELS, *self.teacher_hidden, N_CLASSES), n_epochs=self.n_epochs_teacher,
                batch_size=self.batch_size, learning_rate=self.learning_rate, lr_schedule=self.lr_schedule,
                limits=Limits(jitter=self.jitter), weight_seed=self.seed, order_seed=self.seed + 17,
                dropout_input=self.dropout_input, dropout=self.dropout, max_norm=self.max_norm,
            )  # fmt: skip
        return TrainingSettings(
            sizes=(N_PIXELS, *self.student_hidden, N_CLASSES), n_epochs=self.n_epochs_student,
            batch_size=self.batch_size_student or self.batch_size,
            learning_rate=self.learning_rate_student or self.learning_rate, lr_schedule=self.lr_schedule,
            limits=Limits(), weight_seed=self.seed + 1, order_seed=self.seed + 31,
        )  # fmt: skip

    def decisive(self, kind: str) -> dict[str, Any]:
        """What decides the result of a training beside `training(kind)`."""
        if kind == "teacher":
            return {}
        soft = {"temperature": self.temperature} if self.hard_weight < 1 else {}
        return {"omitted_class": self.omitted_class, "hard_weight": self.hard_weight, **soft}


@dataclass(frozen=True)
class TrainingSettings:
    """What determines the training of one network, apart from what it learns from."""

    sizes: tuple[int, ...]  # pixels, hidden units ..., outputs
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
        deltas = [np.ascontiguousarray(logits_gradient.T)]  # dLoss/d(pre-activations), first layer first
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

# (logits (batch, outputs), indices of the batch's images, its inputs as the network saw them, batch-last and
# with the row of ones) -> value, gradient by the logits
Loss = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[float, np.ndarray]]


@dataclass(frozen=True)
class Lesson:
    """What a network learns from: some of the images, and a loss."""

    images: np.ndarray  # uint8
    indices: np.ndarray  # (n,), those that an epoch goes through; no other image is touched
    loss: Loss

    def of_epoch(self, epoch: int) -> np.ndarray:
        """The images of an epoch, counted from 1."""
        return self.images

    def first(self, n: int) -> np.ndarray:
        """The first n of the images that are learned from, or all of them."""
        return self.images[np.unique(self.indices)[:n]]

    @property
    def n_different(self) -> int:
        """How many images are learned from in the whole training."""
        return len(np.unique(self.indices))


def predict(network: MLP, images: np.ndarray, workers: Workers, chunk: int = 1000) -> np.ndarray:
    """Logits (n, outputs), float32, of uint8 images (n, 28, 28)."""
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
    rng, adam = np.random.default_rng(settings.order_seed), Adam(network.parameters)
    watcher, n_images, total_loss = watcher or Watcher(), len(lesson.indices), 0.0
    activations = network.new_activations(min(settings.batch_size, n_images))
    feed = Feed(lesson, activations, settings.limits, rng)
    n_steps = settings.n_epochs * feed.n_batches
    for step in range(n_steps):
        epoch, place = step // feed.n_batches + 1, step % feed.n_batches + 1
        (batch, activations), masks = feed.take(), None
        if settings.dropout_input > 0 or settings.dropout > 0:
            inputs = activations[0][:-1]
            inputs *= dropout_mask(inputs.shape, settings.dropout_input, rng)
            masks = [dropout_mask((n, len(batch)), settings.dropout, rng) for n in network.sizes[1:-1]]
        with np.errstate(over="ignore", invalid="ignore"):  # divergence: see Recorder
            logits = network.forward(activations, workers, masks)
            value, gradient = lesson.loss(logits, batch, activations[0])
        total_loss += value * len(batch)
        adam.begin_step(learning_rate_at(step, n_steps, settings.learning_rate, settings.lr_schedule))
        beside = feed.writing_next() if step + 1 < n_steps else []  # while the gradients are computed
        network.backward(activations, gradient, workers, adam.update, masks, beside)
        if settings.max_norm is not None:
            limit_norms(network, settings.max_norm, workers)
        watcher.step_done(epoch, min(place * feed.batch_size, n_images) / n_images)
        if place == feed.n_batches:
            watcher.epoch_done(epoch, total_loss / n_images)
            total_loss = 0.0


# ---- Teacher and student -----------------------------------------------------------------------------------

Answers = Callable[[np.ndarray, np.ndarray], np.ndarray]  # a batch's indices and inputs -> teacher's logits


def images_without(labels: np.ndarray, omitted_class: Sequence[int]) -> np.ndarray:
    """Indices of all images but those of the omitted classes."""
    return np.flatnonzero(~np.isin(labels, omitted_class))


def hard_labels(labels: np.ndarray) -> Loss:
    """The loss of a network that learns from labels."""
    return lambda logits, batch, inputs: cross_entropy(logits, labels[batch])


def soft_targets(answers: Answers, temperature: float) -> Loss:
    """The loss of a student that learns from its teacher's answers: no label reaches it (section 3)."""
    return lambda logits, batch, inputs: distillation_loss(logits, answers(batch, inputs), temperature)


def mixed(soft: Loss, hard: Loss, hard_weight: float) -> Loss:
    """Section 2: a weighted average of both objectives, the soft one times T^2."""

    def loss(logits: np.ndarray, batch: np.ndarray, inputs: np.ndarray) -> tuple[float, np.ndarray]:
        soft_value, soft_gradient = soft(logits, batch, inputs)
        hard_value, hard_gradient = hard(logits, batch, inputs)
        value = (1 - hard_weight) * soft_value + hard_weight * hard_value
        return value, (1 - hard_weight) * soft_gradient + hard_weight * hard_gradient

    return loss if 0 < hard_weight < 1 else hard if hard_weight else soft  # what weighs nothing is not asked


def answers_at_once(teacher: MLP, images: np.ndarray, workers: Workers) -> Answers:
    """The frozen teacher's logits for images as they are: asked for once, and only when they are wanted."""
    logits = cache(lambda: predict(teacher, images, workers))
    return lambda batch, inputs: logits()[batch]


def teacher_lesson(data: Data) -> Lesson:
    """Hard labels, on images of all classes (section 3)."""
    return Lesson(data.train_images, np.arange(len(data.train_labels)), hard_labels(data.train_labels))


def student_lesson(config: Config, data: Data, teacher: MLP, workers: Workers) -> Lesson:
    """The frozen teacher's soft targets, on the transfer set: all images but those of the omitted classes.

    The student keeps an output for each omitted class: the teacher's soft targets put some mass on it for
    every image, and that is all that the student ever hears of it.
    """
    soft = soft_targets(answers_at_once(teacher, data.train_images, workers), config.temperature)
    loss = mixed(soft, hard_labels(data.train_labels), config.hard_weight)
    return Lesson(data.train_images, images_without(data.train_labels, config.omitted_class), loss)


def determinants(
    kind: str, config: Config, data: Data, lesson_code: Sequence[Any], teacher: np.ndarray | None = None
) -> dict[str, Any]:
    """Everything that decides the result of a training of `kind`, "teacher" or "student".

    `lesson_code` makes its lesson; `teacher`: the parameters of a student's, or its settings stand for it.
    """
    decisive = {
        "kind": kind,
        "settings": asdict(config.training(kind)),
        "data": data.digest,
        "code": digest_of(MLP, train, predict, Workers, *lesson_code),
        **config.decisive(kind),
    }
    if "temperature" in decisive:  # else it never hears its teacher
        its_settings = [asdict(config.training("teacher")), config.decisive("teacher")]
        decisive["teacher"] = its_settings if teacher is None else digest_of_parameters(teacher)
    return decisive


def stored_or_new(
    kind: str, lesson: Lesson, config: Config, data: Data, session: Session, decisive: dict[str, Any]
) -> TrainedRun:
    """The stored training of `kind` or, where there is none, a new one. Raises UserError when it diverges."""
    settings, unseen = config.training(kind), config.unseen(kind)
    network = MLP(settings.sizes, np.random.default_rng(settings.weight_seed))
    network.background = settings.limits.background
    training = Training(
        kind, decisive, network, settings.n_epochs,
        predict_test=lambda n: predict(network, data.test_images[:n], session.workers)[:, :N_CLASSES],
        output_shape=(len(data.test_labels), N_CLASSES),
        measure=lambda logits: evaluate(logits, data.test_labels, unseen),
        shown=shown_accuracies(short_name(unseen)),
        called="control" if kind == "student" and config.hard_weight == 1 else "",
    )  # fmt: skip
    if (stored := session.stored(training)) is not None:
        return stored
    recorder = session.recorder(training)
    train(network, lesson, settings, session.workers, recorder)
    return session.kept(recorder)


# ---- Bias correction: one scalar per omitted class ---------------------------------------------------------

MAX_OFFSET = 50.0  # no sane logit needs more


@dataclass(frozen=True)
class BiasCorrection:
    """The scalars to add to the output biases of the omitted classes, or of all, and what they do.

    The paper's reading (section 3): soft targets teach how much an image looks like a 3, log p(x | c); how
    often 3s occur, log p(c), the transfer set gets wrong. That is one number for every image: a bias.
    Measured (studies/slope.py), what lacks is no prior: on images that are no 3 nothing does, and on 3s it
    grows with the teacher's logit. The bias patches a slope.
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
    return {name: cached(folder, mirrors, mnist_file(name), console) for name in MNIST_SHA256}


def data_from_idx(contents: dict[str, bytes]) -> Data:
    """Parse the four files. Raises UserError when they are no images and labels of the right shape."""
    arrays = {name: parse_idx(idx, name, 3 if "images" in name else 1) for name, idx in contents.items()}
    train_images, train_labels, test_images, test_labels = (arrays[name] for name in MNIST_SHA256)
    check_images(train_images, train_labels, "training", (IMAGE_SIDE, IMAGE_SIDE))
    check_images(test_images, test_labels, "test", (IMAGE_SIDE, IMAGE_SIDE))
    sha256 = digests(contents)
    name = "MNIST" if sha256 == MNIST_SHA256 else "custom IDX files"
    return Data(name, train_images, train_labels, test_images, test_labels, sha256)


def load_data(config: Config, console: Console) -> Data:
    """MNIST from `--data-dir`, the cache or a mirror, less what is held out. Raises UserError."""
    if config.data_dir is not None:
        contents = read_folder(config.data_dir, tuple(MNIST_SHA256), MAX_FILE_BYTES)
    else:
        contents = read_cache(config.cache_folder, config.mirror or MIRRORS, console)
    return with_held_out_test_set(data_from_idx(contents), config.hold_out)


# ---- A whole run -------------------------------------------------------------------------------------------


def run(config: Config, console: Console | None = None) -> Experiment:
    """Section 3 from the data to the corrected student; nothing is written. Raises UserError."""
    console = console or Console(quiet=True)
    data = load_data(config, console)
    with open_session(config.cache_folder, config.retrain, console) as session:
        return run_on_data(data, config, session)


def run_on_data(data: Data, config: Config, session: Session) -> Experiment:
    """The same on data that is there already, in a session that is open. Raises UserError."""
    check_omitted(data, config.omitted_class)
    workers = session.workers
    decisive = determinants("teacher", config, data, [teacher_lesson])
    teacher = stored_or_new("teacher", teacher_lesson(data), config, data, session, decisive)
    lesson = student_lesson(config, data, teacher.network, workers)
    decisive = determinants("student", config, data, [student_lesson], teacher.network.parameters)
    student = stored_or_new("student", lesson, config, data, session, decisive)
    probe_logits = predict(student.network, data.train_images[: config.probe_size], workers)
    targets = frequencies(data.train_labels, config.omitted_class)
    correction = correct_bias(probe_logits, config.omitted_class, targets)
    warn_if_unreached(correction, MAX_OFFSET, session.console)
    return Experiment(
        config, data, {"teacher": teacher, "student": student}, correction, probe_logits,
        measure=lambda logits: evaluate(logits, data.test_labels, config.omitted_class),
        lesson=lesson, n_threads=workers.n_threads,
    )  # fmt: skip


if __name__ == "__main__":
    from support.console import run_script

    from beyond.command import main

    run_script(main)
