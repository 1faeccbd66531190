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

from cifar10.tables import TEACHER, gains
from docs.committed import (
    ROOT,
    cifar10_runs,
    every_run,
    factor_less_offset,
    pictured,
    point,
    seed_runs,
    slope_ratios,
    soft_targets,
    speed,
    study_runs,
    trials_in,
    usps_runs,
)
from docs.committed import value_mean as mean
from docs.figures import Quote, count, percent
from docs.prose_cifar10 import quotes_of_cifar10
from runs.folders import value
from studies.images import share_in_half
from studies.label_weight import where_the_paper_lies
from studies.measured import paired_difference
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
        ("rise in # of the # with a probe of 5,000 images", rises(with_probe(5000)), len(with_probe(5000))),
        ("in # of the # with the whole probe", rises(with_probe(60_000)), len(with_probe(60_000))),
        ("the correction recovers only # % of the 3s", percent(seed_runs("control"), UNSEEN_AFTER)),
        ("on a 3 the student gives # of its teacher's logit, on a digit it saw #", *slope_ratios()),
        ("that of the pictures from # to #", value(pictured(), ERRORS_BEFORE),
         value(pictured(), ERRORS_AFTER)),
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
         *(f"{x:.1f}" for x in (gain.mean, gain.mean - gain.half, gain.mean + gain.half)),
         percent(fifth, TEACHER, 1), percent(cifar10_runs("tenth"), ALL_BEFORE, 1)),
    ]  # fmt: skip


def quotes_of_results() -> list[Quote]:
    described, linear, best = (seed_runs(name) for name in ("described", "linear", "best"))
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
        ("Its teacher makes # errors. The student that learned from noise makes #, and # after its ten",
         *(f"{mean(no_digit, path):.1f}" for path in ("teacher.test_errors", ERRORS_BEFORE, ERRORS_AFTER))),
        ("makes # errors without 3s in its transfer set, the paper's 206; on the 3s, # against 133",
         count(without_3, ERRORS_BEFORE), count(without_3, UNSEEN_ERRORS_BEFORE)),
        ("makes # errors before the correction, # of them on 3s, and # after it, # on 3s",
         count(best, ERRORS_BEFORE), count(best, UNSEEN_ERRORS_BEFORE), count(best, ERRORS_AFTER),
         count(best, UNSEEN_ERRORS_AFTER)),
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
        ("frequency in all 60,000, # %", percent(described, "bias_correction.target_frequencies.0", 2)),
        ("on a 3 the student gives # of its teacher's logit, where it gives # on a class", *slope_ratios()),
        ("a factor on the logit is not told apart from it (# errors, # to #, recipe", *factor_less_offset()),
        ("# such answers", f"{pictured()['data']['n_transfer']:,}"),
        ("here # points of the 5s, # of the 9s", *price),
        ("higher than the gain: # errors instead of #", *reversed(pictured_errors)),
        ("measured on the test set before: # % before the correction, # % after it",
         *(percent(seed_runs("best_before"), path, 2) for path in (ALL_BEFORE, ALL_AFTER))),
        ("Our teacher there makes # errors on average",
         count(point("paper", "all classes, soft targets"), "teacher.test_errors")),
        ("more than that: # and # errors beside 10°", *(turned[15.0, s] - turned[10.0, s] for s in (0, 1))),
        ("jump by up to # of a point", f"{100 * jump:.1f}"),
        ("ends higher, at # % instead of # %", percent(linear, "teacher.test_accuracy", 2),
         percent(described, "teacher.test_accuracy", 2)),
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


def quotes_of_referee() -> list[Quote]:
    def weights(name: str) -> list[str]:
        """Between or beyond which the paper's errors lie; ours there, if beyond."""
        runs = [run for run in study_runs() if run.study == "label-weight"]
        return re.findall(r"[\d.,]*\d", where_the_paper_lies(runs, name, "before.test_errors"))

    def cost(which: str) -> str:
        half, random = (point("images", f"without 50 %, {way}") for way in (which, "at random"))
        return f"{-paired_difference(half, random, UNSEEN_BEFORE, 100).mean:.1f}"

    gone = share_in_half([run for run in study_runs() if run.study == "images"])
    seen = [c for c in range(10) if c != 3]
    most, least = max(seen, key=lambda c: gone[c]), min(seen, key=lambda c: gone[c])
    return [
        ("206 errors without 3s lie between weights of # and #", *weights("without 3")),
        ("alone beyond #, where ours makes #", *weights("only 7s and 8s")),
        ("holds # % of the #s and # % of the #s", *(f"{100 * gone[most]:.0f}", most),
         *(f"{100 * gone[least]:.0f}", least)),
        ("half then costs # points", cost("the most 3-like of each digit")),
        ("left free it costs # more", cost("the most 3-like")),
        ("on 3s it is # of its teacher's", slope_ratios()[0]),
    ]  # fmt: skip


def quotes_of_speed() -> list[Quote]:
    """Medians over rounds, the ratios within each."""
    measured = {one["title"]: one for one in speed()["measured"]}

    def ratio(ours: list[float], theirs: list[float]) -> str:
        return f"{statistics.median(a / b for a, b in zip(ours, theirs, strict=True)):.2f}"

    def of_both(title: str, name: str = "this project", to: str = "PyTorch") -> list[str]:
        seconds = measured[title]["seconds"]
        return [ratio(seconds[name][kind], seconds[to][kind]) for kind in ("teacher", "student")]

    def rate(title: str) -> str:
        (step,) = (parts for name, parts in measured[title]["steps"].items() if name.startswith("teacher"))
        milliseconds, at_limit = step["products, forward and back"]
        return f"{100 * at_limit / milliseconds:.0f}"

    small, large, best = (next(t for t in measured if t.startswith(s)) for s in (
        "described, batch 128", "described, batch 512", "best"))  # fmt: skip
    steps = [one["seconds"] for one in speed()["convolution"]]
    convolved = [ratio(one["this project"], one["PyTorch"]) for one in steps]
    return [
        ("at batch 128 # (teacher) and # (student) of its time", *of_both(small)),
        ("at batch 512 # and #, of \"best\" # and #", *of_both(large), *of_both(best)),
        ("takes # times as long for the teacher at batch 128 and # times for the student",
         *of_both(small, "plain NumPy", "this project")),
        ("products run at # % of this machine's best rate", rate(small)),
        ("are few for them, at batch 512 at # %", rate(large)),
        ("The teacher's step takes # of PyTorch's time, the student's #", *convolved),
    ]  # fmt: skip


QUOTES: dict[str, Callable[[], list[Quote]]] = {
    "README.md": quotes_of_readme,
    "docs/cifar10.md": quotes_of_cifar10,
    "docs/explorer.md": quotes_of_explorer,
    "docs/reference.md": quotes_of_reference,
    "docs/referee.md": quotes_of_referee,
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
