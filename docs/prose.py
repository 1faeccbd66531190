"""The figures in the prose of the pages, each with the words around it, taken from the committed runs.

A quote is a fragment of a page in which # stands for a figure; `with_figures` writes these into the page.
"""

from __future__ import annotations

from support.intervals import interval
from support.report import Results

import json
import re
import statistics
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from cifar10.lessons import KINDS
from cifar10.tables import HARD, SOFT, TEACHER, gains
from docs.committed import (
    ROOT,
    cifar10_runs,
    count,
    every_run,
    gain_results,
    mean,
    percent,
    pictured,
    point,
    seed_runs,
    slope_ratios,
    soft_targets,
    speed,
    trials_in,
    usps_runs,
)
from runs.folders import SIZES, fixed, value
from studies.paths import (
    ALL_AFTER,
    ALL_BEFORE,
    ERRORS_AFTER,
    ERRORS_BEFORE,
    SEEN_AFTER,
    SEEN_BEFORE,
    UNSEEN_AFTER,
    UNSEEN_BEFORE,
    UNSEEN_ERRORS_AFTER,
    UNSEEN_ERRORS_BEFORE,
)

Quote = tuple[Any, ...]  # a fragment of a page, and the figure that stands for each # in it


def rises(runs: Sequence[Results]) -> int:
    """In how many runs the correction raises the errors in all."""
    return sum(value(run, ERRORS_AFTER) > value(run, ERRORS_BEFORE) for run in runs)


def with_probe(n: int) -> list[Results]:
    """The runs behind the table of results.md whose correction saw so many images."""
    return [run for run in every_run() if run["config"]["probe_size"] == n]


def said_of_3s(*digits: str) -> list[str]:
    """Medians of the described teacher's soft targets for 3; those of several digits must agree."""
    found = soft_targets("T = 20")
    assert all(found["7"] <= found[d] <= found["2"] for d in "58")  # "2, 5, 7 or 8"
    said = [{f"{found[d]:.2f}" for d in group} for group in digits]
    assert all(len(group) == 1 for group in said)
    return [figure for group in said for figure in group]


def quotes_of_readme() -> list[Quote]:
    best, no_digit, fifth = seed_runs("best"), seed_runs("no-digit"), cifar10_runs("seeds")
    gain = interval(gains(fifth))
    assert all(value(run, UNSEEN_ERRORS_BEFORE) > value(run, UNSEEN_ERRORS_AFTER) for run in every_run())
    return [
        ("4 or 6 answers about #, a 9 #, a 2, 5, 7 or 8 # to #, a real 3 would answer #",
         *said_of_3s("0146", "9", "7", "2", "3")),
        ("In all # runs [seed by seed]", len(every_run())),
        ("the correction recovers only # % of the 3s", percent(seed_runs("control"), UNSEEN_AFTER)),
        ("on a 3 the student gives # of its teacher's logit, on a digit it saw #", *slope_ratios()),
        ("reads # % of the unseen 3s without any correction, but makes # errors in all, not #",
         percent(point("teachers", "its non-target part alone"), UNSEEN_BEFORE, 1),
         count(point("teachers", "its non-target part alone"), ERRORS_BEFORE),
         count(point("teachers", "plain"), ERRORS_AFTER)),
        ("# % of them before the correction, # % after it",
         *(percent(point("handwriting", "without 3"), f"further.{way}.omitted_accuracy", 1)
           for way in ("before", "after"))),
        ("makes # errors on the 10,000 test digits; its teacher makes #", count(no_digit, ERRORS_BEFORE),
         count(no_digit, "teacher.test_errors")),
        ("makes # errors with its bias corrected, # of them on 3s",
         *(f"{mean(best, path):.1f}" for path in (ERRORS_AFTER, UNSEEN_ERRORS_AFTER))),
        ("reads # % of the eight other digits",
         percent(point("several-omitted", "without all but 7 8"), UNSEEN_AFTER, 1)),
        ("It reads # % of the digits if it starts",
         percent(point("subliminal", "3 spare outputs, 256 units, the teacher's start"), ALL_BEFORE)),
        ("names # % rightly without a label, # points (# to #, three seeds) more than from hard labels; "
         "its teacher # %. With a tenth it is at # %", percent(fifth, ALL_BEFORE, 1),
         *(f"{x:.1f}" for x in (gain.mean, gain.low, gain.high)),
         percent(fifth, TEACHER, 1), percent(cifar10_runs("tenth"), ALL_BEFORE, 1)),
    ]  # fmt: skip


def quotes_of_results() -> list[Quote]:
    described, linear = seed_runs("described"), seed_runs("linear")
    without_3 = point("paper", "without 3")
    every = every_run()
    assert all(value(run, UNSEEN_ERRORS_BEFORE) > value(run, UNSEEN_ERRORS_AFTER) for run in every)
    pictured_errors = value(pictured(), ERRORS_BEFORE), value(pictured(), ERRORS_AFTER)
    by_class = [value(pictured(), part + "per_class_accuracy") for part in ("before.", "after.")]
    price = [f"{100 * (by_class[0][c] - by_class[1][c]):.1f}" for c in (5, 9)]
    teacher = [entry["test_accuracy"] for entry in pictured()["history"]["teacher"]]
    jump = max(abs(after - before) for before, after in pairwise(teacher))
    scatter = sorted(value(run, UNSEEN_ERRORS_BEFORE) for run in described)
    small, whole = with_probe(5000), with_probe(60_000)
    no_digit, first = seed_runs("no-digit"), "history.student.0.test_accuracy"
    turned = {
        (run["config"]["rotation"], run["config"]["seed"]): value(run, "teacher.test_errors")
        for run in trials_in("trials/middle")
        if run["config"]["dropout"]
    }
    assert all(value(run, first) < 0.5 for run in no_digit)  # "fewer than half of the digits"
    return [
        ("makes # errors without 3s in its transfer set, the paper's 206; on the 3s, # against 133",
         count(without_3, ERRORS_BEFORE), count(without_3, UNSEEN_ERRORS_BEFORE)),
        ("typical 0, 1, 4 or 6 answers #, the typical 2, 5, 7 or 8 # to #", *said_of_3s("0146", "7", "2")),
        ("half of the transfer set, less than #e-8", f"{1e8 * soft_targets('T = 1')['all others']:.1f}"),
        ("a real 3 would answer #", *said_of_3s("3")),
        ("before any correction: # % against 86.83 %", percent(described, UNSEEN_BEFORE, 2)),
        ("In all # runs of the table it recovers 3s", len(every)),
        ("In # of the # with a probe of 5,000 images the errors in all rise", rises(small), len(small)),
        ("and in # of the # with the whole probe", rises(whole), len(whole)),
        ("(described, seed 0: from # to #)", *pictured_errors),
        ("the described student goes from # to # errors, the linear one from # to #",
         count(described, ERRORS_BEFORE), count(described, ERRORS_AFTER), count(linear, ERRORS_BEFORE),
         count(linear, ERRORS_AFTER)),
        ("linear decay makes # teacher errors instead of # and # student errors instead of #",
         count(linear, "teacher.test_errors"), count(described, "teacher.test_errors"),
         count(linear, ERRORS_BEFORE), count(described, ERRORS_BEFORE)),
        ("before the correction range from # to #", scatter[0], scatter[-1]),
        ("# such answers", f"{pictured()['data']['n_transfer']:,}"),
        ("here # points of the 5s, # of the 9s", *price),
        ("measured on the test set before: # % before the correction, # % after it",
         *(percent(seed_runs("best_before"), path, 2) for path in (ALL_BEFORE, ALL_AFTER))),
        ("more than that: # and # errors beside 10°", *(turned[15.0, s] - turned[10.0, s] for s in (0, 1))),
        ("jump by up to # of a point", f"{100 * jump:.1f}"),
    ]  # fmt: skip


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
        ("four networks with # million weights", f"{weights / 1e6:.0f}"),
        ("All # test 3s", f"{about['test']['nUnseen']:,}"),
        ("After that, the answers change on #, #, # and # of them",
         *(a["n_other_class"] for a in agreements)),
        ("the probabilities move by at most #, #, # and #",
         *(f"{a['largest_difference']:.3f}" for a in agreements)),
    ]  # fmt: skip


def quotes_of_reference() -> list[Quote]:
    runs = usps_runs()
    sizes = [f"{runs[0]['data'][part]:,}" for part in ("n_train", "n_test")]
    unseen = [percent(runs, path, 1) for path in (UNSEEN_BEFORE, UNSEEN_AFTER)]
    seen = [percent(runs, path, 1) for path in (SEEN_BEFORE, SEEN_AFTER)]
    assert mean(runs, SEEN_BEFORE) > mean(runs, SEEN_AFTER)  # "pay for it"
    return [
        ("So trained on # images", sizes[0]),
        ("reads # % of the # test images", percent(runs, "teacher.test_accuracy", 1), sizes[1]),
        ("reads # % of their 3s before the correction and # % after it (means over # seeds)", *unseen,
         len(runs)),
        ("it reads # % of them before, # % after", *seen),
    ]  # fmt: skip


def in_map(student: str, share: float, kind: str, n_epochs: int = 2) -> float:
    """Accuracy, in per cent, of one cell of CIFAR-10's map of gains."""
    cell = (student, share, n_epochs)
    found = [r for r in gain_results()["runs"] if (r["student"], r["share"], r["n_epochs"]) == cell]
    return 100 * statistics.mean(run[kind] for run in found)


def hold_cifar10_to_its_runs() -> None:
    """Raises AssertionError where the page says in words what its tables no longer show."""

    def gain(student: str, share: float = 1.0, n_epochs: int = 2) -> float:
        return in_map(student, share, "soft", n_epochs) - in_map(student, share, "hard", n_epochs)

    cats, unlabelled, tenth = (cifar10_runs(name) for name in ("unseen_cat", "unlabelled", "labelled_tenth"))
    assert mean(cats, UNSEEN_BEFORE) > 0.02  # "some of the cats"
    assert mean(cats, UNSEEN_AFTER) > 0.5  # "more than half after"
    assert mean(unlabelled, SOFT) > max(mean(unlabelled, TEACHER), mean(tenth, HARD))  # "ahead of"
    assert all(min(gains(cifar10_runs(name))) > 0 for name in ("seeds", "tenth"))  # "still ahead"
    assert all(gain(name, 0.03) > gain(name) for name in ("half", "fiftieth"))  # "Fewer images, larger gains"
    assert abs(in_map("half", 0.03, "soft") - in_map("half", 0.1, "hard")) < 1  # "nearly as much"
    assert gain("fiftieth") <= gain("half")  # "Smaller students gain no more"
    assert abs(gain("fiftieth", 1.0, 40)) < 0.1  # "take away the smallest student's gain"
    assert gain("fiftieth", 0.03, 40) > gain("fiftieth", 0.03)  # "and nothing ... if it sees 3 %"
    start, *others = trials_in("cifar10/trials")
    hotter = [run for run in others if run["config"]["temperature"] != start["config"]["temperature"]]
    assert {run["config"]["temperature"] for run in hotter} == {2, 16}
    assert all(value(run, SOFT) <= value(start, SOFT) for run in hotter)  # "no better than 4"


def seconds_of_halves(run: Results) -> list[str]:
    """Of an epoch with smaller and with whole images, the teacher's, a student's; of the answers."""
    found = {}
    for kind, history in run["history"].items():
        seconds, n = [entry["seconds"] for entry in history], len(history) // 2
        # the student's first epoch holds the answers, too
        found[kind] = [statistics.median(seconds[kind == "student" : n]), statistics.median(seconds[n:])]
    answers = run["history"]["student"][0]["seconds"] - found["student"][0]
    return [f"{s:.0f}" for s in (*found["teacher"], *found["baseline"], answers)]


def quotes_of_cifar10() -> list[Quote]:
    hold_cifar10_to_its_runs()
    runs, small = cifar10_runs("seeds"), cifar10_runs("tenth")
    cats, cat, dog = cifar10_runs("unseen_cat"), 3, 5
    start, *others = trials_in("cifar10/trials")
    usual = [trial for trial in (start, *others) if trial["config"]["temperature"] == 4]
    best_of = {path: max(value(trial, path) for trial in usual) for path in (SOFT, HARD)}
    assert best_of[SOFT] < value(start, SOFT) + 0.00015  # "no better for soft targets"
    for run in others:
        (changed,) = {k for k in fixed(start) if fixed(run)[k] != fixed(start)[k]}  # "by itself"
        if changed.startswith("learning_rate"):  # "best for all three where they are"
            assert all(value(run, path) <= value(start, path) for path in (TEACHER, SOFT, HARD))
    losses = [[entry["loss"] for entry in run["history"]["student"]] for run in (*runs, *small, *cats)]
    assert all(b < a for one in losses for a, b in pairwise(one))  # "falls in every epoch of every run"
    shares, small_shares = (
        [value(run, f"networks.student.{k}") / value(run, f"networks.teacher.{k}") for k in SIZES[:2]]
        for run in (runs[0], small[0])
    )
    assert 0.19 < shares[0] < 0.22  # "a fifth"
    halfway = [
        100 * statistics.mean(run["history"][kind][4]["test_accuracy"] for run in runs)
        for kind in ("student", "baseline")
    ]
    (hot,) = cifar10_runs("unseen_cat_16")
    unlabelled, tenth = cifar10_runs("unlabelled"), cifar10_runs("labelled_tenth")
    by_images, lead = (mean(unlabelled, SOFT) - mean(tenth, path) for path in (SOFT, HARD))
    assert by_images > lead / 2  # "More than half of that lead"
    best, both_views = "bias_correction.best_on_test_set.", "networks.teacher.test_accuracy_both_views"
    (older,) = cifar10_runs("older")
    (grown,) = cifar10_runs("grown")
    seconds, history = small[0]["wall_clock_seconds"], small[0]["history"]
    epochs = {kind: sorted(entry["seconds"] for entry in history[kind]) for kind in history}
    answers = epochs["student"].pop() - statistics.median(epochs["student"])  # within its first epoch
    came_before: list[str] = []
    for name in ("first", "first_16"):
        found, of_mean = gains(cifar10_runs(name)), interval(gains(cifar10_runs(name)))
        assert of_mean.low < 0 < of_mean.high  # "showed no gain"
        came_before += [f"{gain:+.2f}" for gain in found]
        came_before += [f"{x:+.1f}" for x in (of_mean.mean, of_mean.low, of_mean.high)]
    return [
        ("gained #, # and # points (T = 4, seeds 0 to 2; mean #, interval # to #), and with T = 16 and "
         "smaller shifts #, # and # (#, # to #)", *came_before),
        ("has # % of the teacher's parameters and # % of its multiply-adds",
         *(f"{100 * share:.0f}" for share in shares)),
        ("a tenth of the teacher's parameters (# %) and # % of its multiply-adds",
         *(f"{100 * share:.0f}" for share in small_shares)),
        ("has not seen the held-out images either (# %)", percent([start], TEACHER, 2)),
        ("that mean is right on # %", percent(runs, both_views, 2)),
        ("the student of a fifth is at # %, the same on hard labels at # %",
         *(f"{accuracy:.1f}" for accuracy in halfway)),
        ("which is right on # %", percent(unlabelled, both_views, 1)),
        ("With all 50,000 labels the same student is at # %", percent(small[:3], HARD, 1)),
        ("to it # % of the cats are dogs",
         f"{mean(cats, f'baseline.confusion_matrix.{cat}.{dog}') / 10:.0f}"),
        ("one number was added to one bias (#)", f"{mean(cats, 'bias_correction.offsets.0'):+.2f}"),
        ("The nine other classes pay # points for it, half of that the dogs, of which # % were right before "
         "the correction and # % are after it",
         f"{100 * (mean(cats, SEEN_BEFORE) - mean(cats, SEEN_AFTER)):.1f}",
         *(percent(cats, f"{part}per_class_accuracy.{dog}") for part in ("before.", "after."))),
        ("recognises # % of the cats before the correction and # % after it, instead of # and # %",
         *(f"{100 * value(r, path):.1f}" for r in (hot, cats[0]) for path in (UNSEEN_BEFORE, UNSEEN_AFTER))),
        ("the gain is # points as the settings are, and # with each side at its own best",
         *(f"{gain:.2f}" for gain in (*gains([start]), 100 * (best_of[SOFT] - best_of[HARD])))),
        ("would have been #, with # % of the cats", f"{mean(cats, best + 'offset'):+.2f}",
         f"{100 - 100 * mean(cats, best + 'omitted_errors') / 1000:.1f}"),
        ("took # minutes from nothing on two cores of an AMD EPYC (with AVX-512) with hardly anything "
         "beside it (seed 0 of its table): # for the teacher, # for its answers and the student, # for "
         "the baseline",
         *(f"{seconds[phase] / 60:.0f}" for phase in ("total", "teacher", "student", "baseline"))),
        ("An epoch of the teacher took # to # s, one of a student # to #, the answers to four versions "
         "of each image #", *(f"{s:.0f}" for s in (epochs["teacher"][0], epochs["teacher"][-1])),
         *(f"{s:.0f}" for s in (epochs["student"][0], max(epochs["student"][-1], epochs["baseline"][-1]))),
         f"{answers:.0f}"),
        ("This took # minutes from nothing but the data, on two cores of an AMD EPYC (with AVX-512) with "
         "hardly anything beside it: # for the teacher, # for its answers and the student, # for the "
         "baseline",
         *(f"{grown['wall_clock_seconds'][phase] / 60:.0f}" for phase in ("total", *KINDS))),
        ("names # % rightly, the student # % and the same student on hard labels # % (with whole images, 16 "
         "epochs for the teacher and seeds 0 to 2: #, # and # %)",
         *(percent(some, path, 2) for some in ([grown], runs) for path in (TEACHER, SOFT, HARD))),
        ("took # s with 24 x 24 pixels and # s with whole images, one of a student # and #, the answers to "
         "four versions of each image #", *seconds_of_halves(grown)),
        ("in which teacher and students came to #, # and # % (the students of a tenth), a gain of # "
         "points instead of #; with it in place the mean gain would be #",
         *(percent([older], path, 2) for path in (TEACHER, SOFT, HARD)),
         *(f"{gain:.2f}" for gain in gains([older, small[0]])),
         f"{statistics.mean(gains([older, *small[1:]])):.2f}"),
    ]  # fmt: skip


def quotes_of_speed() -> list[Quote]:
    found, ratios = speed(), []
    for one, parts in zip(found["convolution"], found["convolution_steps"].values(), strict=True):
        (_, products_at_best), (between, _) = parts["products, forward and back"], parts["all between them"]
        pytorch = 1000 * statistics.median(one["seconds"]["PyTorch"])
        ratios.append(f"{(products_at_best + between) / pytorch:.2f}")
    rates = []
    for passes in found["convolution_passes"].values():
        milliseconds, n_bytes = map(sum, zip(*passes.values(), strict=True))
        rates.append(f"{100 * n_bytes / milliseconds / found['memory_bytes_per_ms']:.0f}")
    return [
        ("All of them together run at # % of the memory's rate in the teacher's step and at # % in the "
         "student's", *rates),
        ("the passes as they are would leave the steps at # and # of PyTorch's time", *ratios),
    ]  # fmt: skip


QUOTES: dict[str, Callable[[], list[Quote]]] = {
    "README.md": quotes_of_readme,
    "docs/cifar10.md": quotes_of_cifar10,
    "docs/explorer.md": quotes_of_explorer,
    "docs/reference.md": quotes_of_reference,
    "docs/results.md": quotes_of_results,
    "docs/speed.md": quotes_of_speed,
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
