"""Small experiments for the tests of the pictures, and what is read off a figure."""

from __future__ import annotations

from support.charts import INK, our_style

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text

import distillation_mnist_omitted_3 as core
from beyond import pipeline
from beyond.settings import EVERY_CLASS, Config
from synthetic import digits

TINY = {
    "n_epochs_teacher": 2, "n_epochs_student": 2, "teacher_hidden": (24,), "student_hidden": (16,),
    "batch_size": 50, "learning_rate": 2e-3, "probe_size": 300, "jitter": 0,
}  # fmt: skip
# Enough training for all that can become of an image: right at once, repaired, lost, never right.
SOME = TINY | {
    "n_epochs_teacher": 8, "n_epochs_student": 5, "teacher_hidden": (40,), "student_hidden": (30,),
    "batch_size": 20, "batch_size_student": 10,
}  # fmt: skip
DRAWN = {"omitted_class": EVERY_CLASS, "transfer_set": "contours", "probe_size": 300}


def maker(data_folder: Path, folder: Path, usual: dict[str, Any]) -> Callable[..., core.Experiment]:
    """Makes small experiments, with one cache for all."""

    @cache
    def make(**settings: Any) -> core.Experiment:
        places = {"data_dir": data_folder, "cache_dir": folder, "outdir": folder}
        return pipeline.run(Config(**{**usual, **places, **settings}))

    return make


def data_of(train: tuple[int, ...], test: tuple[int, ...], folder: Path) -> Path:
    """A folder for --data-dir with drawn digits of these classes alone."""
    arrays = digits.render_dataset(600, 300, seed=7)
    of_train, of_test = np.isin(arrays[1], train), np.isin(arrays[3], test)
    parts = (arrays[0][of_train], arrays[1][of_train], arrays[2][of_test], arrays[3][of_test])
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in zip(core.MNIST_SHA256, parts, strict=True):
        header = bytes((0, 0, 8, array.ndim)) + b"".join(n.to_bytes(4, "big") for n in array.shape)
        (folder / name).write_bytes(header + array.tobytes())
    return folder


def draw(picture: Callable[..., Figure], *given: Any) -> Figure:
    with our_style():
        return picture(*given)


def plain_frame(_: Any, epoch: int, corrected: bool) -> Figure:
    """In place of a frame of the animation: a bar as long as it took."""
    figure = Figure(figsize=(1, 1))
    figure.add_artist(Rectangle((0, 0), 0.1 * epoch + 0.05 * corrected, 1, color=INK))
    return figure


def words_of(figure: Any) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text))


def named_lines(axes: Axes) -> dict[str, tuple[np.ndarray, str]]:
    """Points (n, 2) and colour of every line that the legend names."""
    lines = [line for line in axes.lines if not line.get_label().startswith("_")]
    found = {line.get_label(): (line.get_xydata(), to_hex(line.get_color()).upper()) for line in lines}
    assert len(found) == len(lines)  # no two with one name
    return found


def bars_of(axes: Axes) -> dict[str, tuple[np.ndarray, np.ndarray, set[str]]]:
    """By label the places, the heights and the colours of bars."""
    return {
        container.get_label(): (
            np.array([bar.get_x() + bar.get_width() / 2 for bar in container]),
            np.array([bar.get_height() for bar in container]),
            {to_hex(bar.get_facecolor()).upper() for bar in container},
        )
        for container in axes.containers
    }


def pixels_of(axes: Axes) -> np.ndarray:
    """The image in `axes` as values 0 to 255, ink 255."""
    return 255 - np.asarray(axes.images[0].get_array(), float)


def counted_errors(logits: np.ndarray, data: core.Data, classes: Any = range(10)) -> tuple[int, int]:
    """How many of the test images of `classes` these logits get wrong, and how many there are."""
    mine = np.isin(data.test_labels, list(classes))
    return int((logits[mine].argmax(axis=1) != data.test_labels[mine]).sum()), int(mine.sum())


def error_share(logits: np.ndarray, data: core.Data, classes: Any = range(10)) -> float:
    wrong, n = counted_errors(logits, data, classes)
    return max(wrong, 0.5) / n


def with_offsets(logits: np.ndarray, classes: Any, offsets: Any) -> np.ndarray:
    raised = logits.astype(float)
    for c, offset in zip(classes, offsets, strict=True):
        raised[:, c] += offset
    return raised


def softmaxed(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    exponentials = np.exp((logits - logits.max(axis=-1, keepdims=True)).astype(float) / temperature)
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def answers(network: core.MLP, images: np.ndarray) -> np.ndarray:
    """Logits (n, 10) of a network for images (n, 28, 28) of values 0 to 255, by plain products."""
    z = network.background + (1 - network.background) * images.reshape(len(images), -1) / 255
    for index, layer in enumerate(network.layers):
        z = z @ layer[:, :-1].T + layer[:, -1]
        z = np.maximum(z, 0) if index < len(network.layers) - 1 else z
    return z[:, :10]
