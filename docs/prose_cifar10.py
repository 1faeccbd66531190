"""The figures in the prose of the page on CIFAR-10; see docs/prose.py."""

from __future__ import annotations

from support.intervals import interval
from support.report import Results

import statistics
from itertools import pairwise

from cifar10.tables import HARD, SOFT, TEACHER, gains
from docs.committed import cifar10_runs, gain_results, trials_in
from docs.committed import value_mean as mean
from docs.figures import Quote, percent
from runs.folders import fixed, value
from studies.paths import ALL_BEFORE, SEEN_AFTER, SEEN_BEFORE, UNSEEN_AFTER, UNSEEN_BEFORE


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
    by_temperature = {
        run["config"]["temperature"]: percent([run], SOFT, 2)
        for run, of in zip(trials, changed, strict=True)
        if of <= {"temperature"}
    }
    return [
        ("has not seen the held-out images either (# %)", percent([start], TEACHER, 2)),
        ("constant ones cost the teacher # points and the students # and #",
         *(f"{-one:.1f}" for one in constant)),
        ("Shifts and decays change the teacher by # points at most and a student by #", f"{of_teacher:.2f}",
         f"{max(of_students):.2f}"),
        ("At T = 2 the student is at # %, at T = 16 at # %, where T = 4 gives # %",
         *(by_temperature[t] for t in (2, 16, 4))),
    ]  # fmt: skip


def quotes_of_cifar10() -> list[Quote]:
    runs, small = cifar10_runs("seeds"), cifar10_runs("tenth")
    cats, cat, dog = cifar10_runs("unseen_cat"), 3, 5
    trials = trials_in("cifar10/trials")
    usual = [trial for trial in trials if trial["config"]["temperature"] == 4]
    best_of = {path: max(value(trial, path) for trial in usual) for path in (SOFT, HARD)}
    assert best_of[SOFT] < value(trials[0], SOFT) + 0.00015  # "no better for soft targets"
    every_run = (*runs, *small, *cats)
    losses = [[entry["loss"] for entry in run["history"]["student"]] for run in every_run]
    assert all(b < a for one in losses for a, b in pairwise(one))  # "falls in every epoch of every run"
    sizes = runs[0]["networks"]
    shares, small_shares = (
        [
            run["networks"]["student"][k] / run["networks"]["teacher"][k]
            for k in ("parameters", "multiply_adds")
        ]
        for run in (runs[0], small[0])
    )
    assert 0.19 < shares[0] < 0.22  # "a fifth"
    halfway = [
        100 * statistics.mean(run["history"][kind][4]["test_accuracy"] for run in runs)
        for kind in ("student", "baseline")
    ]
    (hot,) = cifar10_runs("unseen_cat_16")
    unlabelled, tenth = cifar10_runs("unlabelled"), cifar10_runs("labelled_tenth")
    best = "bias_correction.best_on_test_set."
    (older,) = cifar10_runs("older")
    seconds, history = small[0]["wall_clock_seconds"], small[0]["history"]
    before = small[3]["wall_clock_seconds"]
    epochs = {kind: sorted(entry["seconds"] for entry in history[kind]) for kind in history}
    answers = epochs["student"].pop() - statistics.median(epochs["student"])  # within its first epoch
    came_before: list[str] = []
    for name in ("first", "first_16"):
        found, of_mean = gains(cifar10_runs(name)), interval(gains(cifar10_runs(name)))
        ends = (of_mean.mean, of_mean.mean - of_mean.half, of_mean.mean + of_mean.half)
        assert ends[1] < 0 < ends[2]  # "showed no gain"
        came_before += [f"{gain:+.2f}" for gain in found] + [f"{x:+.1f}" for x in ends]
    return [
        ("gained #, # and # points (T = 4, seeds 0 to 2; mean #, interval # to #), and with T = 16 and "
         "smaller shifts #, # and # (#, # to #)", *came_before),
        ("With # % of the teacher's parameters and # % of its multiply-adds, and without ever seeing a "
         "label, the student names # % rightly after 10 epochs, its teacher # %",
         *(f"{100 * share:.0f}" for share in shares), percent(runs, ALL_BEFORE, 2),
         percent(runs, "teacher.test_accuracy", 2)),
        ("a tenth of the teacher's parameters (# %) and # % of its multiply-adds",
         *(f"{100 * share:.0f}" for share in small_shares)),
        *quotes_of_trials(trials),
        ("that mean is right on # %", percent(runs, "networks.teacher.test_accuracy_both_views", 2)),
        ("In 8 bits per weight the student takes # kB instead of the teacher's # and is at # %",
         f"{sizes['student']['bytes_8_bits'] / 1000:,.0f}", f"{sizes['teacher']['bytes'] / 1000:,.0f}",
         percent(runs, "networks.student.test_accuracy_8_bits", 2)),
        ("the student of a fifth is at # %, the same on hard labels at # %",
         *(f"{accuracy:.1f}" for accuracy in halfway)),
        ("a student of half its teacher's parameters gains # points, from 3 % of them #", gained("half", 1.0),
         gained("half", 0.03)),
        ("as 5,000 with labels: # and # %", f"{in_map('half', 0.03, 'soft'):.1f}",
         f"{in_map('half', 0.1, 'hard'):.1f}"),
        ("The smallest, of 12,714 parameters, gains # points from all images and # from 3 %",
         gained("fiftieth", 1.0), gained("fiftieth", 0.03)),
        ("The smallest student gains # points after 2 epochs over all images, # after 4 and # after 10; "
         "after 40 it is at # % with a teacher and at # % without one. From 3 % of the images it gains # "
         "after 2, # after 4, # after 10 and # after 40", *(gained("fiftieth", 1.0, n) for n in (2, 4, 10)),
         *(f"{in_map('fiftieth', 1.0, kind, 40):.1f}" for kind in ("soft", "hard")),
         *(gained("fiftieth", 0.03, n) for n in (2, 4, 10, 40))),
        ("gains # points from 3 % of the images after 2 epochs and # after its 10",
         *(gained("tenth", 0.03, n) for n in (2, 10))),
        ("are # and # points ahead (seeds 0 to 2; the map has the older seed 0), after 2 epochs # and #",
         *(f"{statistics.mean(gains(cifar10_runs(name)[:3])):.2f}" for name in ("seeds", "tenth")),
         *(gained(name, 1.0) for name in ("fifth", "tenth"))),
        ("the student of all images names # % rightly, its teacher # %, and the same student on the "
         "labels alone # %", percent(unlabelled, ALL_BEFORE, 1),
         percent(unlabelled, "teacher.test_accuracy", 1), percent(tenth, HARD, 1)),
        ("Of the # points between the two students, # come from the images without labels",
         unlabelled_add(HARD), unlabelled_add()),
        ("which is right on # %", percent(unlabelled, "networks.teacher.test_accuracy_both_views", 1)),
        ("With all 50,000 labels the same student is at # %", percent(small[:3], HARD, 1)),
        ("to it # % of the cats are dogs",
         f"{mean(cats, f'baseline.confusion_matrix.{cat}.{dog}') / 10:.0f}"),
        ("recognises # % of the cats without having trained on one, and # % after one number was added "
         "to one bias (#)", percent(cats, UNSEEN_BEFORE), percent(cats, UNSEEN_AFTER),
         f"{mean(cats, 'bias_correction.offsets.0'):+.2f}"),
        ("knows # %. The nine other classes pay # points for it, half of that the dogs, of which # % were "
         "right before the correction and # % are after it", percent(cats, "teacher.omitted_accuracy"),
         f"{100 * (mean(cats, SEEN_BEFORE) - mean(cats, SEEN_AFTER)):.1f}",
         *(percent(cats, f"{part}per_class_accuracy.{dog}") for part in ("before.", "after."))),
        ("recognises # % of the cats before the correction and # % after it, instead of # and # %",
         *(f"{100 * value(r, path):.1f}" for r in (hot, cats[0]) for path in (UNSEEN_BEFORE, UNSEEN_AFTER))),
        ("the gain is # points as the settings are, and # with each side at its own best",
         *(f"{gain:.2f}" for gain in (*gains(trials[:1]), 100 * (best_of[SOFT] - best_of[HARD])))),
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
        ("it took # minutes, # of them for the teacher",
         *(f"{before[phase] / 60:.0f}" for phase in ("total", "teacher"))),
        ("in which teacher and students came to #, # and # % (the students of a tenth), a gain of # "
         "points instead of #; with it in place the mean gain would be #",
         *(percent([older], path, 2) for path in (TEACHER, SOFT, HARD)),
         *(f"{gain:.2f}" for gain in gains([older, small[0]])),
         f"{statistics.mean(gains([older, *small[1:]])):.2f}"),
    ]  # fmt: skip
