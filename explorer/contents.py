"""What the page knows: the rounded networks, test and training images, and every figure that it shows."""

from __future__ import annotations

from support.charts import AFTER, BEFORE, BLIND, HARD, TEACHER
from support.console import Console
from support.data import Data
from support.experiment import Experiment
from support.stored import TrainedRun
from support.tiles import Workers

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

import distillation_mnist_omitted_3 as core
from beyond.settings import DRAWN_SETS, RECIPES
from explorer.rounding import Agreement, RoundedLayer, agreement, rounded
from explorer.words import TEMPERATURES, all_taught, one_of, words
from pictures import imagined
from pictures.frame import sees_no_digit

N_GALLERY = 1_150  # test digits shown at most: of one class all, of several as many of each
N_LIKE, N_TYPICAL = 10, 4  # training images shown of each class
N_LESSON, N_MEASURED = 3_000, 1_000  # images that a student in the page learns from, and is tested on
POOL = 20_000  # images of a drawn transfer set among which the most telling ones are sought
# How a student learns in the page: measured to read less than 60 % of the digits left out at first, and more
# than 65 % of them once its bias is set, whichever digit it is.
LEARNING: dict[str, Any] = {"hidden": [64, 64], "steps": 842, "batch": 64, "rate": 3e-3, "reports": 28}
OFFSETS = (0.0, 6.0)  # the slider's ends, wider where an offset to be marked lies outside
FEW_OTHERS = 3, 2e-3  # images, share of the test images: a warning if rounding changes the class of more


@dataclass(frozen=True)
class Portrait:
    """A network of the page: what it is, what it learned from, and its test logits, unrounded."""

    key: str
    name: str
    note: str
    colour: str
    network: core.MLP
    images: np.ndarray  # (n, 28, 28), uint8, some that it learned from
    test_logits: np.ndarray  # (n_test, 10), float32


@dataclass(frozen=True)
class Contents:
    """What the page is filled with: `about` as JSON, `arrays` as bytes."""

    about: dict[str, Any]
    arrays: dict[str, np.ndarray]  # int8, uint8 or float32


Beside = tuple[TrainedRun, np.ndarray] | None  # a student's run, some images (n, 28, 28) it learned from


def portraits(experiment: Experiment, blind: Beside = None, control: Beside = None) -> list[Portrait]:
    """Teacher, student and, where they are there, those that never saw a digit and never heard a teacher."""
    says, data = words(experiment), experiment.data

    def portrait(name: str, run: TrainedRun, note: str, colour: str, images: np.ndarray) -> Portrait:
        key = name.split()[0].lower()
        return Portrait(key, name, note, colour, run.network, images, run.test_logits[-1])

    seen = experiment.lesson.first(len(experiment.lesson.images))
    never = experiment.config.teacher_omitted_class
    taught = f"never saw {one_of(never)}, either" if never else f"saw {all_taught(experiment)}"
    drew = data.train_images[core.images_without(data.train_labels, never)]
    found = [
        portrait("Teacher", experiment.teacher, taught, TEACHER, drew),
        portrait("Student", experiment.student, f"never saw {says['never_digit']}", BEFORE, seen),
    ]
    if blind is not None:
        note = f"never saw any digit: only {DRAWN_SETS[RECIPES['no-digit']['transfer_set']]}"
        found.append(portrait("No-digit student", blind[0], note, BLIND, blind[1]))
    if control is not None:
        note = f"never saw {says['never_digit']} and heard no teacher: labels alone"
        found.append(portrait("Labels-only student", control[0], note, HARD, control[1]))
    return found


def gallery(labels: np.ndarray, own: np.ndarray, omitted: Sequence[int]) -> np.ndarray:
    """Indices of the test images shown, hardest first, by the probability `own` (n,) of their own class.

    All of one omitted class; of several the first ones of each, as many of each.
    """
    each = N_GALLERY if len(omitted) == 1 else N_GALLERY // max(1, len(omitted))
    mine = np.concatenate([np.flatnonzero(labels == c)[:each] for c in omitted])
    return mine[np.argsort(own[mine], kind="stable")]


def own_probability(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The probability (n,) at T = 1 of each image's own class; logits (n, 10), labels (n,)."""
    return core.softmax(logits)[np.arange(len(labels)), labels]


def telling_images(experiment: Experiment, logits: np.ndarray) -> list[dict[str, Any]]:
    """Rows of images that the student learns from, per class: the most telling, then typical ones.

    Telling is what the teacher finds most like the omitted classes; of drawn images, most like the class.
    Then, for comparison, images of the omitted classes, which the student never gets. `logits` (n, 10) are
    the teacher's on the images to choose from. Each row: class, kind, indices of images.
    """
    omitted = list(experiment.config.omitted_class)
    p, drawn = core.softmax(logits, experiment.config.temperature), sees_no_digit(experiment)
    classes = logits.argmax(axis=1) if drawn else experiment.data.train_labels
    seen = np.ones(len(classes), bool)
    if not drawn:  # it may have learned from a part of them
        seen = np.isin(np.arange(len(classes)), experiment.lesson.indices)
    rows = []
    for c in range(core.N_CLASSES):
        mine = np.flatnonzero((classes == c) & (seen | np.isin(c, omitted)))
        mass = p[mine][:, [c] if drawn else omitted].sum(axis=1)
        ordered = mine[np.argsort(-mass, kind="stable")]
        if not len(ordered):
            continue
        if not drawn and c in omitted:
            rows.append({"class": c, "kind": "unseen", "images": mine[: N_LIKE + N_TYPICAL].tolist()})
            continue
        most, rest = ordered[:N_LIKE], ordered[N_LIKE:]
        middle = max(0, len(ordered) // 2 - N_LIKE)
        typical = rest[middle : middle + N_TYPICAL]
        rows.append({"class": c, "kind": "seen", "images": [*most.tolist(), *typical.tolist()]})
    return sorted(rows, key=lambda row: row["kind"] == "unseen")


def labelled_otherwise(experiment: Experiment, logits: np.ndarray) -> int:
    """How many images that the student saw are, to the teacher, of an omitted class; `logits` (n_train, 10).

    0 of drawn images, which have no labels.
    """
    if sees_no_digit(experiment):
        return 0
    seen = logits[np.unique(experiment.lesson.indices)].argmax(axis=1)
    return int(np.isin(seen, experiment.config.omitted_class).sum())


def offset_range(offsets: Sequence[float], best: dict[str, Any] | None) -> list[float]:
    """Ends of the sliders in whole numbers: OFFSETS, and whatever is to be marked."""
    marked = [*OFFSETS, *offsets, *([best["offset"]] if best else [])]
    return [math.floor(min(marked)), math.ceil(max(marked))]


def evenly(n: int, most: int) -> np.ndarray:
    """Numbers of at most `most` of n images, evenly apart."""
    return np.arange(n)[:: max(1, math.ceil(n / most))]


def as_bytes(logits: np.ndarray) -> tuple[np.ndarray, float]:
    """Logits (n, 10) as uint8, how many steps each lies below its image's largest, and that step.

    What is the same for all ten changes no softmax, so that the largest may be 0.
    """
    below = logits.max(axis=1, keepdims=True) - logits
    step = max(float(below.max()), 1e-6) / 255
    return np.rint(below / step).astype(np.uint8), step


def lesson_in_the_page(data: Data, teacher: core.MLP) -> tuple[dict[str, np.ndarray], float]:
    """What a student in the page learns from and is tested on: images of all classes, every n-th of them.

    And the step of the teacher's answers (see `as_bytes`).
    """
    mine, tested = evenly(len(data.train_labels), N_LESSON), evenly(len(data.test_labels), N_MEASURED)
    with Workers() as workers:
        answers = core.predict(teacher, data.train_images[mine], workers)[:, : core.N_CLASSES]
    stored, step = as_bytes(answers)
    return {
        "lesson/images": data.train_images[mine], "lesson/labels": data.train_labels[mine].astype(np.uint8),
        "lesson/answers": stored, "tested/images": data.test_images[tested],
        "tested/labels": data.test_labels[tested].astype(np.uint8),
    }, step  # fmt: skip


def gathered(experiment: Experiment, blind: Beside, control: Beside, console: Console) -> Contents:
    """Everything that the page shows of a finished experiment."""
    data, config, found = experiment.data, experiment.config, experiment.results()
    labels, correction = data.test_labels, found["bias_correction"]
    shown = gallery(labels, own_probability(experiment.student_logits, labels), config.omitted_class)
    epochs = experiment.student.test_logits[:, shown]
    own = np.stack([own_probability(z, labels[shown]) for z in epochs])
    pool = experiment.lesson.first(POOL) if sees_no_digit(experiment) else data.train_images
    with Workers() as workers:
        teacher_says = core.predict(experiment.teacher.network, pool, workers)[:, : core.N_CLASSES]
    rows = telling_images(experiment, teacher_says)
    arrays = {
        "labels": labels.astype(np.uint8),
        "logits": experiment.student_logits,
        "gallery": data.test_images[shown],
        "galleryNumbers": shown.astype(np.float32),
        "epochGuesses": epochs.argmax(axis=2).astype(np.uint8),
        "epochOwn": np.rint(255 * own).astype(np.uint8),
        "training": pool[[i for row in rows for i in row["images"]]],
    }
    networks = []
    lesson, answer_step = lesson_in_the_page(data, experiment.teacher.network)
    arrays |= lesson
    for one in portraits(experiment, blind, control):
        console.line(f"rounding the {one.name.lower()}'s weights to 8 bits ...")
        layers = rounded(one.network, one.images)
        agrees = agreement(layers, one.network, one.test_logits, data.test_images)
        warn_if_other(one.name, agrees, console)
        networks.append(described(one, layers, agrees, labels, config.omitted_class))
        arrays |= arrays_of(one.key, layers)
        arrays[f"{one.key}/expected"] = one.test_logits[shown]
    best = correction["best_on_test_set"]
    about = {
        "words": words(experiment),
        "omitted": list(config.omitted_class),
        "recipe": config.recipe,
        "temperature": config.temperature,
        "temperatures": TEMPERATURES,
        "correction": {
            "classes": correction["classes"],
            "offsets": correction["offsets"],
            "best": best,
            "range": offset_range(correction["offsets"], best),
        },
        "test": {"n": len(labels), "nUnseen": found["data"]["n_test_omitted"]},
        "results": {
            name: {k: metrics[k] for k in ("test_errors", "omitted_errors")}
            for name, metrics in {"teacher": found["teacher"], **found["student"]}.items()
        },
        "history": [
            {k: entry[k] for k in ("test_accuracy", "omitted_accuracy")}
            for entry in found["history"]["student"]
        ],
        "training": [{**row, "images": len(row["images"])} for row in rows],
        "nLike": N_LIKE,
        "labelledOtherwise": labelled_otherwise(experiment, teacher_says),
        "lesson": {
            "answerStep": answer_step, "teacherNeverSaw": list(config.teacher_omitted_class), **LEARNING,
        },
        "walk": {
            "sigma": imagined.SIGMA, "step": imagined.STEP, "enough": imagined.ENOUGH,
            "most": imagined.MOST_STEPS,
        },
        "colours": {"corrected": AFTER},
        "networks": networks,
    }  # fmt: skip
    return Contents(about, arrays)


def described(
    one: Portrait, layers: list[RoundedLayer], agrees: Agreement, labels: np.ndarray, omitted: Sequence[int]
) -> dict[str, Any]:
    """What the page says of a network."""
    metrics = core.evaluate(one.test_logits, labels, omitted)
    sizes = [layers[0].integers.shape[1], *(len(layer.biases) for layer in layers)]
    return {
        "key": one.key, "name": one.name, "note": one.note, "colour": one.colour, "sizes": sizes,
        "background": one.network.background, "errors": metrics["test_errors"], "agreement": asdict(agrees),
    }  # fmt: skip


def arrays_of(key: str, layers: list[RoundedLayer]) -> dict[str, np.ndarray]:
    return {
        f"{key}/{index}/{name}": getattr(layer, name)
        for index, layer in enumerate(layers)
        for name in ("integers", "scales", "biases")
    }


def warn_if_other(name: str, agrees: Agreement, console: Console) -> None:
    """Say so when rounding changed more than a few answers: the page then shows another network."""
    if agrees.n_other_class > max(FEW_OTHERS[0], FEW_OTHERS[1] * agrees.n_images):
        console.warn(
            f"warning: rounded to 8 bits, the {name.lower()} says another class of {agrees.n_other_class} of "
            f"{agrees.n_images} test images; the page says so"
        )
