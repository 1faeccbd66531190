"""Tables of the questions beyond the paper: means with 95 % intervals, differences paired by seed."""

from __future__ import annotations

from support.report import markdown

import math
from collections.abc import Callable, Sequence
from typing import Any

from beyond.settings import DRAWN_SETS
from studies import beyond
from studies.intervals import Interval, interval
from studies.measured import Run, Settings, seed_means

BEFORE, AFTER = "before.test_accuracy", "after.test_accuracy"
UNSEEN_BEFORE, UNSEEN_AFTER = "before.omitted_accuracy", "after.omitted_accuracy"

HEARD = {
    "whole": "everything",
    "shuffled": "the logits for 3 shuffled within each class",
    "class-mean": "for 3 the mean of each class",
    "mean": "for 3 one mean of all images, 3s among them",
    "alone": "for 3 everything, for the others the mean of each class",
}


def at(runs: Sequence[Run], point: Settings) -> list[Run]:
    return [run for run in runs if run.settings == point]


def over_seeds(runs: Sequence[Run], path: str, scale: float = 1.0) -> Interval:
    """Mean and 95 % interval of a metric over seeds."""
    values = [scale * value for value in seed_means(runs, path).values()]
    return interval(values) if values else Interval(math.nan, math.nan)


def percent(runs: Sequence[Run], path: str) -> str:
    """ "96.24 (95.10 to 97.38)", in per cent."""
    return plain(over_seeds(runs, path, 100), 2)


def plain(found: Interval, digits: int) -> str:
    if math.isnan(found.mean):  # no run of this point succeeded
        return "-"
    if math.isnan(found.half):
        return f"{found.mean:.{digits}f}"
    low, high = found.mean - found.half, found.mean + found.half
    return f"{found.mean:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def points(first: Sequence[Run], second: Sequence[Run], path: str) -> str:
    """The paired difference of an accuracy, in points, with its 95 % interval."""
    ours, theirs = seed_means(first, path), seed_means(second, path)
    shared = [seed for seed in ours if seed in theirs]
    return str(interval([100 * (ours[seed] - theirs[seed]) for seed in shared])) if shared else ""


Row = tuple[str, list[Run]]


def rows_of(runs: Sequence[Run], named: Sequence[tuple[str, Settings]]) -> list[Row]:
    """Name and runs of every point of which there are runs."""
    return [(name, mine) for name, point in named if (mine := at(runs, point))]


# ---- One question after the other --------------------------------------------------------------------------


def answers_rows(runs: Sequence[Run]) -> list[Row]:
    named = [
        ("a teacher that never saw a 3 either", point)
        if point.get("teacher_omitted_class")
        else (HEARD[point["teacher_answers"]], point)
        for point in beyond.ANSWERS
    ]
    return rows_of(runs, named)


def answers_table(runs: Sequence[Run]) -> str:
    whole, found = at(runs, beyond.ANSWERS[0]), []
    for name, mine in answers_rows(runs):
        less = points(mine, whole, UNSEEN_AFTER) if mine != whole else ""
        found.append([name, *(percent(mine, path) for path in (UNSEEN_BEFORE, UNSEEN_AFTER)),
                      percent(mine, "after.other_accuracy"), less])  # fmt: skip
    header = ["the student hears", "3s, before", "3s, after", "others, after", "3s, after, less everything"]
    return markdown(header, found)


def images_table(runs: Sequence[Run]) -> str:
    paths, whole = (UNSEEN_BEFORE, UNSEEN_AFTER), at(runs, beyond.IMAGES[0])
    found = [["all of them", "", *(percent(whole, path) for path in paths), "", ""]]
    takes = [(f"without {100 * s:g} %", 1 - s, "least-like", "the most 3-like") for s in beyond.DROPPED]
    takes += [(f"{100 * s:g} % alone", s, "most-like", "the most 3-like") for s in beyond.KEPT]
    for name, share, choice, words in takes:
        chosen, random = at(runs, beyond.part(share, choice)), at(runs, beyond.part(share, "random"))
        if chosen and random:
            for which, mine in (("at random", random), (words, chosen)):
                cells = [percent(mine, path) for path in paths]
                less = ["", ""] if mine is random else [points(mine, random, path) for path in paths]
                found.append([name, which, *cells, *less])
    header = ["transfer set", "which", "3s, before", "3s, after", "before, less random", "after, less random"]
    return markdown(header, found, n_left=2)


def little_rows(runs: Sequence[Run]) -> list[Row]:
    names = ["all ten digits", "no 3s", "only 7s and 8s", "only 0s and 1s", "only 8s", "only 1s"]
    named = list(zip(names, beyond.LITTLE, strict=False))
    named += [(DRAWN_SETS[point["transfer_set"]], point) for point in beyond.LITTLE[len(names) :]]
    return rows_of(runs, named)


def little_table(runs: Sequence[Run]) -> str:
    found = []
    for name, mine in little_rows(runs):
        cells = [name, percent(mine, BEFORE), percent(mine, AFTER)]
        if "transfer_set" in mine[0].record:
            classes = interval([effective_classes(run) for run in mine]).mean
            sure = over_seeds(mine, "transfer_set.teacher_mean_largest").mean
            near = over_seeds(mine, "transfer_set.nearest_digit_cosine").mean
            cells += [f"{classes:.1f}", f"{100 * sure:.0f}", f"{near:.2f}"]
        found.append(cells + [""] * (6 - len(cells)))
    header = ["the student sees", "test accuracy, before", "after", "classes that its teacher says",
              "how sure, %", "cosine to the nearest digit"]  # fmt: skip
    return markdown(header, found)


def effective_classes(run: Run) -> float:
    """exp of the entropy of the teacher's mean answer: 10 when it says each class equally often."""
    p = run.value("transfer_set.teacher_mean_probabilities")
    return math.exp(-sum(q * math.log(q) for q in p if q > 0))


def contours_rows(runs: Sequence[Run]) -> list[Row]:
    def name(point: Settings) -> str:
        changed = {k: v for k, v in point.items() if beyond.CONTOURS.get(k) != v}
        words: dict[str, Callable[[Any], str]] = {
            "temperature": lambda t: f"T = {t:g}",
            "transfer_images": lambda n: f"{n:,} images, again and again",
            "n_epochs_teacher": lambda n: f"teacher of {n} epoch{'s' if n > 1 else ''}",
            "probe": lambda _: "biases set on noise, too",
        }
        usual = "T = 20, new images in each of 8 epochs, teacher of 4"
        return ", ".join(words[key](value) for key, value in changed.items()) or usual

    return rows_of(runs, [(name(point), point) for point in beyond.CONTOUR_POINTS])


def contours_table(runs: Sequence[Run]) -> str:
    found, usual = [], at(runs, beyond.CONTOURS)
    for name, mine in contours_rows(runs):
        less = points(mine, usual, AFTER) if mine != usual else ""
        teacher = percent(mine, "teacher.test_accuracy")
        found.append([name, teacher, percent(mine, BEFORE), percent(mine, AFTER), less])
    return markdown(["contours", "teacher", "before", "after", "after, less the first row"], found)


def subliminal_table(runs: Sequence[Run]) -> str:
    found = []
    for point in beyond.SUBLIMINAL:
        if point["student_start"] == "own" or not (copy := at(runs, point)):
            continue
        own = at(runs, point | {"student_start": "own"})
        n, width = point["spare_outputs"], point["student_hidden"][0]
        name = f"{n} spare outputs" if n else "the ten classes themselves"
        compared = [percent(own, BEFORE), points(copy, own, BEFORE)] if own else ["", ""]
        teacher = percent(copy, "teacher.test_accuracy")
        found.append([name, str(width), teacher, percent(copy, BEFORE), *compared])
    header = ["the student learns from", "units", "teacher", "student from the teacher's start",
              "student from its own", "difference"]  # fmt: skip
    return markdown(header, found)


def differences_table(runs: Sequence[Run]) -> str:
    plain_runs, found = at(runs, beyond.DISCREPANCY[0]), []
    for name, changed in beyond.DIFFERENCES.items():
        if mine := at(runs, beyond.SEVENS_AND_EIGHTS | changed):
            less = "" if not changed else points(mine, plain_runs, AFTER)
            found.append([name, percent(mine, "teacher.test_accuracy"), percent(mine, BEFORE),
                          percent(mine, AFTER), less])  # fmt: skip
    header = ["only 7s and 8s", "teacher", "before", "after", "after, less fast"]
    return markdown(header, found)


def prior_table(runs: Sequence[Run]) -> str:
    found = []
    for probe in beyond.PROBES:
        known, em = (at(runs, beyond.NO_3S | probe | {"prior": prior}) for prior in ("known", "em"))
        if known and em:
            name = "the test images" if probe.get("probe") == "test" else "training images"
            name = {5000: "the first 5,000 "}.get(probe.get("probe_size", 0), "") + name
            share = probe.get("probe_share")
            name += f", of which {100 * share:g} % are 3s" if share else ""
            said = over_seeds(em, "bias_correction.target_frequencies.0", 100)
            cells = [plain(said, 2)]
            for side in (known, em):
                offset = over_seeds(side, "bias_correction.offsets.0")
                cells += [plain(offset, 2), plain(over_seeds(side, "after.test_errors"), 1)]
            found.append([name, *cells])
    header = ["probe", "EM: % of 3s", "share known: offset", "errors", "EM: offset", "its errors"]
    return markdown(header, found)


TABLES: dict[str, Callable[[Sequence[Run]], str]] = {
    "answers": answers_table,
    "images": images_table,
    "little": little_table,
    "contours": contours_table,
    "subliminal": subliminal_table,
    "sevens-and-eights": differences_table,
    "prior": prior_table,
}
