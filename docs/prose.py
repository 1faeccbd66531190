"""The figures in the prose of the pages, each with the words around it, taken from the committed runs.

A quote is a fragment of a page in which # stands for a figure; `with_figures` writes these into the page.
"""

from __future__ import annotations

from support.report import Results

import json
import re
import statistics
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from cifar10.tables import HARD, SOFT, TEACHER, gains
from docs.committed import (
    ROOT,
    cifar10_runs,
    cifar10_trials,
    every_run,
    gain_results,
    pictured,
    point,
    seed_runs,
    usps_runs,
)
from docs.committed import value_mean as mean
from runs.folders import fixed, value

BEFORE, AFTER = "student.before_correction.", "student.after_correction."
UNSEEN_BEFORE, UNSEEN_AFTER = BEFORE + "omitted_accuracy", AFTER + "omitted_accuracy"
SEEN_BEFORE, SEEN_AFTER = BEFORE + "other_accuracy", AFTER + "other_accuracy"
ALL_BEFORE, ALL_AFTER = BEFORE + "test_accuracy", AFTER + "test_accuracy"
ERRORS_BEFORE, ERRORS_AFTER = BEFORE + "test_errors", AFTER + "test_errors"
UNSEEN_ERRORS_BEFORE, UNSEEN_ERRORS_AFTER = BEFORE + "omitted_errors", AFTER + "omitted_errors"

Quote = tuple[Any, ...]  # a fragment of a page, and the figure that stands for each # in it


def count(runs: Sequence[Any], path: str) -> str:
    return f"{mean(runs, path):,.0f}"


def percent(runs: Sequence[Any], path: str, digits: int = 0) -> str:
    return f"{100 * mean(runs, path):.{digits}f}"


def rises(runs: Sequence[Results]) -> int:
    """In how many runs the correction raises the errors in all."""
    return sum(value(run, ERRORS_AFTER) > value(run, ERRORS_BEFORE) for run in runs)


def quotes_of_readme() -> list[Quote]:
    best, no_digit, main = seed_runs("best"), seed_runs("no-digit"), cifar10_runs("seeds")
    assert all(value(run, UNSEEN_ERRORS_BEFORE) > value(run, UNSEEN_ERRORS_AFTER) for run in every_run())
    return [
        ("In all # runs with one bias", len(every_run())),
        ("In # of them the total number of errors rises", rises(every_run())),
        ("(from # to #)", value(pictured(), ERRORS_BEFORE), value(pictured(), ERRORS_AFTER)),
        (
            "# % of them before the correction, # % after it",
            *(
                percent(point("handwriting", "without 3"), f"further.{way}.omitted_accuracy", 1)
                for way in ("before", "after")
            ),
        ),
        (
            "makes # errors on the 10,000 test digits; its teacher makes #",
            count(no_digit, ERRORS_BEFORE),
            count(no_digit, "teacher.test_errors"),
        ),
        (
            "makes # errors with its bias corrected, # of them on 3s",
            *(f"{mean(best, path):.1f}" for path in (ERRORS_AFTER, UNSEEN_ERRORS_AFTER)),
        ),
        (
            "reads # % of the eight other digits",
            percent(point("several-omitted", "without all but 7 8"), UNSEEN_AFTER, 1),
        ),
        (
            "It reads # % of the digits if it starts",
            percent(point("subliminal", "3 spare outputs, 256 units, the teacher's start"), ALL_BEFORE),
        ),
        (
            "names # % rightly, # points more than from hard labels",
            percent(main, ALL_BEFORE, 1),
            f"{statistics.mean(gains(main)):.1f}",
        ),
    ]


def quotes_of_results() -> list[Quote]:
    described, linear, best = (seed_runs(name) for name in ("described", "linear", "best"))
    without_3 = point("paper", "without 3")
    every = every_run()
    assert all(value(run, UNSEEN_ERRORS_BEFORE) > value(run, UNSEEN_ERRORS_AFTER) for run in every)
    pictured_errors = value(pictured(), ERRORS_BEFORE), value(pictured(), ERRORS_AFTER)
    by_class = [value(pictured(), part + "per_class_accuracy") for part in (BEFORE, AFTER)]
    price = [f"{100 * (by_class[0][c] - by_class[1][c]):.1f}" for c in (5, 9)]
    teacher = [entry["test_accuracy"] for entry in pictured()["history"]["teacher"]]
    jump = max(abs(after - before) for before, after in pairwise(teacher))
    scatter = sorted(value(run, UNSEEN_ERRORS_BEFORE) for run in described)
    small, whole = ([r for r in every if r["config"]["probe_size"] == n] for n in (5000, 60_000))
    no_digit, first = seed_runs("no-digit"), "history.student.0.test_accuracy"
    assert all(value(run, first) < 0.5 for run in no_digit)  # "fewer than half of the digits"
    return [
        (
            "Its teacher makes # errors. The student that learned from noise makes #, and # after its ten",
            *(f"{mean(no_digit, path):.1f}" for path in ("teacher.test_errors", ERRORS_BEFORE, ERRORS_AFTER)),
        ),
        (
            "makes # errors without 3s in its transfer set, the paper's 206; on the 3s, # against 133",
            count(without_3, ERRORS_BEFORE),
            count(without_3, UNSEEN_ERRORS_BEFORE),
        ),
        (
            "makes # errors before the correction, # of them on 3s, and # after it, # on 3s",
            count(best, ERRORS_BEFORE),
            count(best, UNSEEN_ERRORS_BEFORE),
            count(best, ERRORS_AFTER),
            count(best, UNSEEN_ERRORS_AFTER),
        ),
        ("before any correction: # % against 86.83 %", percent(described, UNSEEN_BEFORE, 2)),
        ("In all # runs of the table it recovers 3s", len(every)),
        ("In # of the # with a probe of 5,000 images the errors in all rise", rises(small), len(small)),
        ("and in # of the # with the whole probe", rises(whole), len(whole)),
        ("(described, seed 0: from # to #)", *pictured_errors),
        (
            "the described student goes from # to # errors, the linear one from # to #",
            count(described, ERRORS_BEFORE),
            count(described, ERRORS_AFTER),
            count(linear, ERRORS_BEFORE),
            count(linear, ERRORS_AFTER),
        ),
        (
            "linear decay makes # teacher errors instead of # and # student errors instead of #",
            count(linear, "teacher.test_errors"),
            count(described, "teacher.test_errors"),
            count(linear, ERRORS_BEFORE),
            count(described, ERRORS_BEFORE),
        ),
        ("before the correction range from # to #", scatter[0], scatter[-1]),
        ("frequency in all 60,000, # %", percent(described, "bias_correction.target_frequencies.0", 2)),
        ("# such answers", f"{pictured()['data']['n_transfer']:,}"),
        ("here # points of the 5s, # of the 9s", *price),
        ("higher than the gain: # errors instead of #", *reversed(pictured_errors)),
        ("jump by up to # of a point", f"{100 * jump:.1f}"),
        (
            "ends higher, at # % instead of # %",
            percent(linear, "teacher.test_accuracy", 2),
            percent(described, "teacher.test_accuracy", 2),
        ),
    ]


def in_map(student: str, share: float, name: str, n_epochs: int = 2) -> float:
    """In percent, of the runs of one cell of the map of gains."""
    found = [
        r
        for r in gain_results()["runs"]
        if (r["student"], r["share"], r["n_epochs"]) == (student, share, n_epochs)
    ]
    return 100 * statistics.mean(run[name] for run in found)


def gained(student: str, share: float, n_epochs: int = 2) -> str:
    soft, hard = (in_map(student, share, kind, n_epochs) for kind in ("soft", "hard"))
    return f"{soft - hard:.1f}"


def unlabelled_add(path: str = SOFT) -> str:
    """Points by which students that heard a tenth's teacher on all images lead those of the tenth alone."""
    of_all, of_tenth = cifar10_runs("unlabelled"), cifar10_runs("labelled_tenth")
    return f"{100 * (mean(of_all, SOFT) - mean(of_tenth, path)):.1f}"


def quotes_of_trials(trials: list[Results]) -> list[Quote]:
    start, paths = trials[0], (TEACHER, SOFT, HARD)
    changed = [{k for k in fixed(start) if fixed(run)[k] != fixed(start)[k]} for run in trials]
    assert all(len(names) == 1 for names in changed[1:])  # "by itself"

    def differences(*names: str) -> list[list[float]]:
        """In points, from the first one, of each network in all trials of these settings."""
        mine = [run for run, of in zip(trials, changed, strict=True) if of & set(names)]
        return [[100 * (value(run, path) - value(start, path)) for run in mine] for path in paths]

    of_rates = differences("learning_rate", "learning_rate_student")
    assert all(max(one) <= 0 for one in of_rates)  # "best for all three where they are"
    (constant,) = zip(*differences("lr_schedule"), strict=True)
    others = differences("weight_decay", "weight_decay_student", "jitter", "jitter_student")
    of_teacher, *of_students = [max(map(abs, one)) for one in others]
    return [
        ("has not seen the held-out images either (# %)", percent([start], TEACHER, 2)),
        (
            "constant ones cost the teacher # points and the students # and #",
            *(f"{-one:.1f}" for one in constant),
        ),
        (
            "The rest changes the teacher by # points at most and a student by #",
            f"{of_teacher:.2f}",
            f"{max(of_students):.2f}",
        ),
    ]


def quotes_of_cifar10() -> list[Quote]:
    runs, cats, cat, dog = cifar10_runs("seeds"), cifar10_runs("unseen_cat"), 3, 5
    trials = cifar10_trials()
    best_of = {path: max(value(trial, path) for trial in trials) for path in (SOFT, HARD)}
    assert best_of[SOFT] < value(trials[0], SOFT) + 0.00015  # "no better for soft targets"
    every_run = (*runs, *cifar10_runs("fifth"), *cats)
    losses = [[entry["loss"] for entry in run["history"]["student"]] for run in every_run]
    assert all(b < a for one in losses for a, b in pairwise(one))  # "falls in every epoch of every run"
    sizes = runs[0]["networks"]
    shares = [sizes["student"][k] / sizes["teacher"][k] for k in ("parameters", "multiply_adds")]
    assert shares[0] < 0.1  # "a tenth"
    halfway = [
        100 * statistics.mean(run["history"][kind][4]["test_accuracy"] for run in runs)
        for kind in ("student", "baseline")
    ]
    (hot,) = cifar10_runs("unseen_cat_16")
    unlabelled, tenth = cifar10_runs("unlabelled"), cifar10_runs("labelled_tenth")
    best = "bias_correction.best_on_test_set."
    (again,) = cifar10_runs("again")
    seconds, history = again["wall_clock_seconds"], again["history"]
    before = runs[3]["wall_clock_seconds"]
    epochs = {kind: sorted(entry["seconds"] for entry in history[kind]) for kind in history}
    answers = epochs["student"].pop() - statistics.median(epochs["student"])  # within its first epoch
    return [
        (
            "With # % of the teacher's parameters and # % of its multiply-adds, and without ever seeing a "
            "label, the student names # % rightly after 10 epochs, its teacher # %",
            *(f"{100 * share:.0f}" for share in shares),
            percent(runs, ALL_BEFORE, 2),
            percent(runs, "teacher.test_accuracy", 2),
        ),
        *quotes_of_trials(trials),
        ("that mean is right on # %", percent(runs, "networks.teacher.test_accuracy_both_views", 2)),
        (
            "In 8 bits per weight the student takes # kB instead of the teacher's # and is at # %",
            f"{sizes['student']['bytes_8_bits'] / 1000:,.0f}",
            f"{sizes['teacher']['bytes'] / 1000:,.0f}",
            percent(runs, "networks.student.test_accuracy_8_bits", 2),
        ),
        (
            "the main student is at # %, the same on hard labels at # %",
            *(f"{accuracy:.1f}" for accuracy in halfway),
        ),
        (
            "a student of half its teacher's parameters gains # points, from 3 % of them #",
            gained("half", 1.0),
            gained("half", 0.03),
        ),
        (
            "as 5,000 with labels: # and # %",
            f"{in_map('half', 0.03, 'soft'):.1f}",
            f"{in_map('half', 0.1, 'hard'):.1f}",
        ),
        (
            "The smallest, of 12,714 parameters, gains # points from all images and # from 3 %",
            gained("fiftieth", 1.0),
            gained("fiftieth", 0.03),
        ),
        (
            "The smallest student gains # points after 2 epochs over all images, # after 4 and # after 10; "
            "after 40 it is at # % with a teacher and at # % without one. From 3 % of the images it gains # "
            "after 2, # after 4, # after 10 and # after 40",
            *(gained("fiftieth", 1.0, n) for n in (2, 4, 10)),
            *(f"{in_map('fiftieth', 1.0, kind, 40):.1f}" for kind in ("soft", "hard")),
            *(gained("fiftieth", 0.03, n) for n in (2, 4, 10, 40)),
        ),
        (
            "gains # points from 3 % of the images after 2 epochs and # after its 10",
            *(gained("tenth", 0.03, n) for n in (2, 10)),
        ),
        (
            "the students of the two tables above are # and # points ahead with the same seeds, after 2 "
            "epochs # and #",
            *(f"{statistics.mean(gains(cifar10_runs(name)[:3])):.2f}" for name in ("seeds", "fifth")),
            *(gained(name, 1.0) for name in ("tenth", "fifth")),
        ),
        (
            "the student of all images names # % rightly, its teacher # %, and the same student on the "
            "labels alone # %",
            percent(unlabelled, ALL_BEFORE, 1),
            percent(unlabelled, "teacher.test_accuracy", 1),
            percent(tenth, HARD, 1),
        ),
        (
            "Of the # points between the two students, # come from the images without labels",
            unlabelled_add(HARD),
            unlabelled_add(),
        ),
        ("which is right on # %", percent(unlabelled, "networks.teacher.test_accuracy_both_views", 1)),
        ("With all 50,000 labels the same student is at # %", percent(runs[:3], HARD, 1)),
        (
            "to it # % of the cats are dogs",
            f"{mean(cats, f'baseline.confusion_matrix.{cat}.{dog}') / 10:.0f}",
        ),
        (
            "recognises # % of the cats without having trained on one, and # % after one number was added "
            "to one bias (#)",
            percent(cats, UNSEEN_BEFORE),
            percent(cats, UNSEEN_AFTER),
            f"{mean(cats, 'bias_correction.offsets.0'):+.2f}",
        ),
        (
            "knows # %. The nine other classes pay # points for it, most of them dogs, of which # % were "
            "right before the correction and # % are after it",
            percent(cats, "teacher.omitted_accuracy"),
            f"{100 * (mean(cats, SEEN_BEFORE) - mean(cats, SEEN_AFTER)):.1f}",
            *(percent(cats, f"{part}per_class_accuracy.{dog}") for part in (BEFORE, AFTER)),
        ),
        (
            "recognises # % of the cats before the correction and # % after it, instead of # and # %",
            *(
                f"{100 * value(r, path):.1f}"
                for r in (hot, cats[0])
                for path in (UNSEEN_BEFORE, UNSEEN_AFTER)
            ),
        ),
        (
            "the gain is # points as the settings are, and # with each side at its own best",
            *(f"{gain:.2f}" for gain in (*gains(trials[:1]), 100 * (best_of[SOFT] - best_of[HARD]))),
        ),
        (
            "would have been #, with # % of the cats",
            f"{mean(cats, best + 'offset'):+.2f}",
            f"{100 - 100 * mean(cats, best + 'omitted_errors') / 1000:.1f}",
        ),
        (
            "took # minutes from nothing on two cores of an AMD EPYC with hardly anything beside it (the run "
            "above, of seed 0 again): # for the teacher, # for its answers and the student, # for the "
            "baseline",
            *(f"{seconds[phase] / 60:.0f}" for phase in ("total", "teacher", "student", "baseline")),
        ),
        (
            "An epoch of the teacher took # to # s, one of a student # to #, the answers to four versions "
            "of each image #",
            *(f"{s:.0f}" for s in (epochs["teacher"][0], epochs["teacher"][-1])),
            *(f"{s:.0f}" for s in (epochs["student"][0], max(epochs["student"][-1], epochs["baseline"][-1]))),
            f"{answers:.0f}",
        ),
        (
            "it took # minutes, # of them for the teacher",
            *(f"{before[phase] / 60:.0f}" for phase in ("total", "teacher")),
        ),
        (
            "as the code is now, comes to #, # and # %, a gain of # points instead of #",
            *(percent([again], path, 2) for path in (TEACHER, SOFT, HARD)),
            *(f"{gain:.2f}" for gain in gains([again, runs[0]])),
        ),
    ]


def quotes_of_explorer() -> list[Quote]:
    page = ROOT / "viz" / "explorer.html"
    content = page.read_text("utf-8")
    about = json.loads(re.search(r'id="about">(.*?)</script>', content, re.S)[1])
    agreements = [network["agreement"] for network in about["networks"]]
    weights = sum(a * b for network in about["networks"] for a, b in pairwise(network["sizes"]))
    repaired = about["results"]["before_correction"]["omitted_errors"]
    assert repaired - about["results"]["after_correction"]["omitted_errors"] == 1  # "the one 3 ... repairs"
    return [
        ("The page has # MB", f"{page.stat().st_size / 1e6:.1f}"),
        ("three networks, # million weights", f"{weights / 1e6:.0f}"),
        ("All # test 3s", f"{about['test']['nUnseen']:,}"),
        ("After that, the answers change on #, # and # of them", *(a["n_other_class"] for a in agreements)),
        (
            "the probabilities move by at most #, # and #",
            *(f"{a['largest_difference']:.3f}" for a in agreements),
        ),
    ]


def quotes_of_reference() -> list[Quote]:
    runs = usps_runs()
    sizes = [f"{runs[0]['data'][part]:,}" for part in ("n_train", "n_test")]
    unseen = [percent(runs, path, 1) for path in (UNSEEN_BEFORE, UNSEEN_AFTER)]
    return [
        ("So trained on # images", sizes[0]),
        ("reads # % of the # test images", percent(runs, "teacher.test_accuracy", 1), sizes[1]),
        (
            "reads # % of their 3s before the correction and # % after it (means over # seeds;",
            *unseen,
            len(runs),
        ),
    ]


QUOTES: dict[str, Callable[[], list[Quote]]] = {
    "README.md": quotes_of_readme,
    "docs/cifar10.md": quotes_of_cifar10,
    "docs/explorer.md": quotes_of_explorer,
    "docs/reference.md": quotes_of_reference,
    "docs/results.md": quotes_of_results,
}


def with_figures(page: str, text: str) -> str:
    """The text of a page with the figures of its quotes. Raises ValueError where a quote is not found."""
    for fragment, *figures in QUOTES.get(page, list)():
        parts = [r"\s+".join(map(re.escape, re.split(r"\s+", part))) for part in fragment.split("#")]
        if len(parts) != len(figures) + 1:
            raise ValueError(f"{page}: {len(figures)} figures for: {fragment}")
        pattern = parts[0] + "".join(rf"([+-]?[\d.,]*\d){part}" for part in parts[1:])
        found = list(re.finditer(pattern, text))
        if len(found) != 1:
            raise ValueError(f"{page}: {len(found)} times, not once: {fragment}")
        for group in range(len(figures), 0, -1):
            start, end = found[0].span(group)
            text = text[:start] + str(figures[group - 1]) + text[end:]
    return text
