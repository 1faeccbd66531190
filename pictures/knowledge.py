"""What is in the teacher's answers, what the student sees, and what both believe a digit looks like."""

from __future__ import annotations

from support.charts import AFTER, MUTED, OMITTED, SMALL, TEACHER, WIDEST, draw_image
from support.experiment import Experiment
from support.report import class_name
from support.tiles import Workers
from support.transformations import IMAGE_SIDE, Transformer

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

import distillation_mnist_omitted_3 as core
from beyond.settings import DRAWN_SETS
from pictures.frame import a, classes_there, instances, lacks, new_figure, not_all_heard, sees_no_digit
from pictures.imagined import short_change

N_CLASSES_SHOWN = 4  # of dark_knowledge.png: an extreme and a typical image of each
N_SEEN = 16  # images of transfer_set.png
N_DRAWS = 24  # of transformations.png
POOL = 20_000  # images of a drawn transfer set among which the most telling ones are sought


def teacher_says(experiment: Experiment, images: np.ndarray) -> np.ndarray:
    """The teacher's logits (n, classes)."""
    with Workers() as workers:
        return core.predict(experiment.teacher.network, images, workers)[:, : core.N_CLASSES]


def draw_answer(
    axes: Axes, logits: np.ndarray, temperature: float, omitted: Sequence[int], top: float
) -> None:
    """Ten bars: the softmax of `logits` (classes,) at a temperature, up to `top`."""
    p = core.softmax(logits[None], temperature)[0]
    few = omitted if len(omitted) < core.N_CLASSES else ()
    axes.bar(range(core.N_CLASSES), p, color=[OMITTED if c in few else TEACHER for c in range(len(p))])
    axes.set_xticks(range(core.N_CLASSES))
    axes.tick_params(labelsize=SMALL)
    axes.set_ylim(0, top)
    if len(omitted) < core.N_CLASSES:
        labels = axes.get_xticklabels()
        for c in omitted:
            labels[c].set(color=OMITTED, fontweight="bold")
        on_omitted = p[list(omitted)].sum()
        shown = f"{on_omitted:.3f}" if on_omitted >= 0.001 else f"{on_omitted:.0e}"
        name = omitted[0] if len(omitted) == 1 else "unseen"
        axes.set_title(f"p({name}) = {shown}", loc="center", fontsize=SMALL, color=OMITTED)


def dark_knowledge(experiment: Experiment) -> Figure:
    """Of each class the image that says most about the class that is not there, and a typical one.

    Where no digit is seen: of each class the drawn image that the teacher finds most like it, and a typical
    one of those that it takes for that class.
    """
    config, lesson = experiment.config, experiment.lesson
    drawn, omitted = sees_no_digit(experiment), list(config.omitted_class)
    images = lesson.first(POOL if drawn else len(lesson.images))
    logits = teacher_says(experiment, images)
    p = core.softmax(logits, config.temperature)
    if drawn:
        classes, mass = logits.argmax(axis=1), p.max(axis=1)
    else:
        classes = experiment.data.train_labels[np.unique(lesson.indices)]
        mass = p[:, omitted].sum(axis=1)
    pairs = []
    for c in np.unique(classes):
        mine = np.flatnonzero(classes == c)
        ordered = mine[mass[mine].argsort()]
        pairs.append((ordered[-1], ordered[len(ordered) // 2], c))  # the extreme, the median
    pairs = sorted(pairs, key=lambda pair: -mass[pair[0]])[:N_CLASSES_SHOWN]
    columns = [(index, c, kind) for most, typical, c in pairs
               for index, kind in ((most, "most"), (typical, "typical"))]  # fmt: skip
    seen = f"{classes[0]}s" if len(pairs) == 1 else "other digits"
    if drawn:
        seen = DRAWN_SETS[config.transfer_set]
        title = f"What a teacher of digits says of {seen}, the most telling and typical"
    else:
        title = (f"Dark knowledge: what the soft targets of {seen} say about {instances(omitted)}, "
                 "which the student never sees")  # fmt: skip
    figure = new_figure(experiment, title + not_all_heard(experiment), WIDEST, 6.2)
    grid = figure.subplots(3, len(columns), squeeze=False, height_ratios=(1.15, 1, 1))
    top = max(0.15, 1.15 * p[[index for index, _, _ in columns]].max())
    for column, (index, c, kind) in zip(grid.T, columns, strict=True):
        said = f"taken for {c}" if drawn else f"labelled {c}"
        unseen_like = f"{omitted[0]}-like" if len(omitted) == 1 else "like unseen"
        how = kind if drawn or kind == "typical" else f"most {unseen_like}"
        draw_image(column[0], images[index], f"{said}\n{how}")
        draw_answer(column[1], logits[index], 1.0, omitted, 1.0)
        draw_answer(column[2], logits[index], config.temperature, omitted, top)
        if column[0] is not grid[0, 0]:
            column[1].set_yticklabels([])
            column[2].set_yticklabels([])
    grid[1, 0].set_ylabel("teacher, T = 1\nscale 0 to 1")
    grid[2, 0].set_ylabel(f"soft target, T = {config.temperature:g}\nscale 0 to {top:.2g}")
    return figure


def what_it_sees(experiment: Experiment) -> str:
    """The student's images: "contour lines of noise", "every digit but 3s", "classes 0, 1, 7"."""
    config, labels = experiment.config, experiment.data.train_labels
    if config.is_drawn:
        return DRAWN_SETS[config.transfer_set]
    if len(classes_there(labels)) == core.N_CLASSES and len(config.omitted_class) <= core.N_CLASSES / 2:
        return f"every digit but {instances(config.omitted_class)}"
    return class_name(classes_there(labels[experiment.lesson.indices]))


def transfer_set(experiment: Experiment) -> Figure:
    """Images as the student sees them, taken at random, and what the teacher says of each."""
    config, lesson = experiment.config, experiment.lesson
    pool = lesson.first(len(lesson.images))
    n_shown = min(N_SEEN, len(pool))
    chosen = np.random.default_rng(config.seed).choice(len(pool), n_shown, replace=False)
    images = pool[np.sort(chosen)]
    logits = teacher_says(experiment, images)
    title = f"All that the student sees: {what_it_sees(experiment)} "
    title += f"(here {n_shown} of {lesson.n_different:,} images)"
    figure = new_figure(experiment, title + not_all_heard(experiment), WIDEST, 6.4)
    grid = figure.subplots(4, N_SEEN // 2, height_ratios=(1.3, 1, 1.3, 1))
    top = 1.15 * core.softmax(logits, config.temperature).max()
    for axes in grid.flat:
        axes.set_visible(False)
    for index in range(n_shown):
        row, column = divmod(index, N_SEEN // 2)
        above, below = grid[2 * row, column], grid[2 * row + 1, column]
        above.set_visible(True)
        below.set_visible(True)
        draw_image(above, images[index])
        omitted = () if config.is_drawn else config.omitted_class
        draw_answer(below, logits[index], config.temperature, omitted, top)
        if not omitted:
            below.set_title(f"{logits[index].argmax()} foremost", loc="center", fontsize=SMALL, color=MUTED)
        if column:
            below.set_yticklabels([])
    for row in (1, 3):
        grid[row, 0].set_ylabel(f"its teacher's\nanswer, T = {config.temperature:g}", fontsize=SMALL)
    return figure


def imagined(experiment: Experiment) -> Figure:
    """A short, smooth change that makes other digits the omitted class, for student and teacher."""
    data, omitted = experiment.data, experiment.config.omitted_class
    target = 3 if sees_no_digit(experiment) else omitted[0]
    starts = typical_starts(experiment, target)
    networks = (("the corrected student", experiment.corrected_network, AFTER),
                ("its teacher", experiment.teacher.network, TEACHER))  # fmt: skip
    never = lacks(experiment) if sees_no_digit(experiment) else f"no {target}"
    asks = f"the change asked for by a student to which {never} was ever shown"
    title = f"From another digit to {a(target)}: {asks}"
    figure = new_figure(experiment, title, 12, 0.5 + 2.5 * len(starts))
    grid = figure.subplots(len(starts), 5, squeeze=False)
    for row, index in zip(grid, starts, strict=True):
        image = data.test_images[index]
        draw_image(row[0], image, f"{a(data.test_labels[index])}, as it is")
        for place, (name, network, colour) in enumerate(networks):
            changed, p = short_change(network, image, target)
            size = np.linalg.norm((changed - image / 255.0).ravel())
            draw_image(row[1 + 2 * place], 255 * changed, f"for {name}:\np({target}) = {p:.2f}")
            said = f"change of length {size:.1f}\n(green: ink, orange: less)"
            draw_change(row[2 + 2 * place], changed - image / 255.0, said)
            for axes in row[1 + 2 * place : 3 + 2 * place]:
                for spine in axes.spines.values():
                    spine.set_color(colour)
                    spine.set_linewidth(2)
    return figure


def draw_change(axes: Axes, change: np.ndarray, title: str) -> None:
    """Ink added in the one colour, ink taken away in another, on white."""
    added, taken = np.clip(change, 0, 1)[..., None], np.clip(-change, 0, 1)[..., None]
    picture = 1 - added * (1 - np.array(to_rgb(AFTER))) - taken * (1 - np.array(to_rgb(OMITTED)))
    draw_image(axes, np.zeros((IMAGE_SIDE, IMAGE_SIDE)), title)
    axes.imshow(np.clip(picture, 0, 1), interpolation="nearest")


def typical_starts(experiment: Experiment, target: int, n: int = 3) -> list[int]:
    """Test images from which to start: of the classes that the teacher finds most like the target, of each
    the image of median likeness."""
    labels, logits = experiment.data.test_labels, experiment.teacher.test_logits[-1]
    likeness = core.softmax(logits, experiment.config.temperature)[:, target]
    means = {c: likeness[labels == c].mean() for c in np.unique(labels) if c != target}
    starts = []
    for c in sorted(means, key=lambda c: -means[c])[:n]:
        right = (labels == c) & (logits.argmax(axis=1) == c)
        mine = np.flatnonzero(right if right.any() else labels == c)
        starts.append(int(mine[likeness[mine].argsort()[len(mine) // 2]]))
    return starts


def transformations(experiment: Experiment) -> Figure:
    """One training image as it is, and as each of the networks may see it: 24 draws."""
    config, image = experiment.config, experiment.data.train_images[0]
    if not config.is_drawn:
        image = experiment.data.train_images[experiment.lesson.indices[0]]
    limits = {kind: config.limits(kind) for kind in ("teacher", "student")}
    if config.is_drawn:
        del limits["student"]  # it sees no such image
    elif limits["teacher"] == limits["student"]:
        limits = {"teacher and student": limits["teacher"]}
    title = f"One training image in {N_DRAWS} draws, as a network may see it in an epoch"
    figure = new_figure(experiment, title, 12, 0.6 + 2.6 * len(limits))
    parts = np.atleast_1d(figure.subfigures(len(limits), 1))
    for part, (who, how_far) in zip(parts, limits.items(), strict=True):
        part.suptitle(f"{who}: {how_far.in_words()}", x=0.01, ha="left", fontsize=11)
        inputs = np.empty((core.N_PIXELS, N_DRAWS), np.float32)
        transformer = Transformer(how_far, np.random.default_rng(config.seed))
        for call in transformer.calls(inputs, np.stack([image] * N_DRAWS)):
            call()
        grid = part.subplots(2, N_DRAWS // 2 + 1)
        grid[1, 0].axis("off")
        draw_image(grid[0, 0], image)
        grid[0, 0].set_xlabel("as it is")
        for axes, drawn in zip(grid[:, 1:].flat, 255 * inputs.T, strict=True):
            draw_image(axes, drawn.reshape(IMAGE_SIDE, IMAGE_SIDE))
    return figure
