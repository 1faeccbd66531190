"""Tables of runs of the CIFAR-10 experiment, as Markdown."""

from __future__ import annotations

from support.intervals import interval, mean_sd
from support.report import Results, markdown

from collections.abc import Sequence
from statistics import mean

from runs.folders import MEASURES, SIZES, fixed, omitted_by, seeds, value, what_changed

TEACHER = "teacher.test_accuracy"
SOFT, HARD = "before.test_accuracy", "baseline.test_accuracy"
Groups = dict[str, list[Results]]  # the runs of each folder, by its name


def cifar10_table(runs: list[Results]) -> str:
    """What a teacher, a distilled student and one on hard labels reach, and at which size."""
    rows, paths = [], {"student": "before"}
    names = {
        "teacher": "teacher, hard labels",
        "student": "student, soft targets alone",
        "baseline": "the same student, hard labels",
    }
    for kind, name in names.items():
        sizes = {key: value(runs[0], f"networks.{kind}.{key}") for key in SIZES}
        cells = [
            in_percent(runs, f"{paths.get(kind, kind)}.test_accuracy", 2),
            in_percent(runs, f"networks.{kind}.{MEASURES[0]}", 2),
            f"{sizes['parameters']:,}",
            f"{sizes['multiply_adds'] / 1e6:.1f}",
            f"{sizes['bytes'] / 1000:,.0f} / {sizes['bytes_8_bits'] / 1000:,.0f}",
            # of times the least, to which other work on the machine only adds
            *(f"{min(value(r, f'networks.{kind}.{key}') for r in runs):.2f}" for key in MEASURES[1:]),
        ]
        rows.append([name, *cells])
    gain = f"soft targets gain {in_points(gains(runs))}"
    columns = ["test accuracy", "in 8 bits", "parameters", "million multiply-adds", "kB in 32 / 8 bits"]
    columns += ["ms, an image alone (least)", "ms, each of many (least)"]
    return markdown([what(runs), *columns], rows) + f"\n\n{gain}"


def in_percent(runs: list[Results], path: str, digits: int) -> str:
    """ "85.12 ± 0.10 %": mean and standard deviation of an accuracy."""
    return f"{mean_sd([100 * value(run, path) for run in runs], digits)} %"


def what(runs: list[Results]) -> str:
    """The images and the seeds that a table is about: "CIFAR-10 variant, 4 seeds"."""
    return f"{runs[0]['data']['name']}, {seeds(runs)}"


def gains(runs: list[Results]) -> list[float]:
    """Percentage points by which each run's student on soft targets is ahead of that on hard labels."""
    return [100 * (value(run, SOFT) - value(run, HARD)) for run in runs]


def in_points(differences: list[float]) -> str:
    """Mean and 95 % interval of paired differences: "+1.20 points (95 % interval +0.95 to +1.45)"."""
    found = interval(differences)
    text = f"{found.mean:+.2f} points"
    if len(differences) == 1:
        return f"{text} (one seed, no interval)"
    low, high = found.mean - found.half, found.mean + found.half
    return f"{text} (95 % interval {low:+.2f} to {high:+.2f}, paired by seed)"


def unseen_class_table(runs: list[Results]) -> str:
    """Accuracy on all test images, on those of the class that the students never saw, and on the others."""
    names = {
        "teacher": "teacher, has seen it",
        "baseline": "student, hard labels",
        "before": "student, soft targets alone",
        "after": "the same, bias corrected without test labels",
    }
    parts = ("test", "omitted", "other")
    rows = [
        [name, *(in_percent(runs, f"{path}.{part}_accuracy", 1) for part in parts)]
        for path, name in names.items()
    ]
    one = len(omitted_by(runs)) == 1
    columns = ["the unseen class", "the nine others"] if one else ["the unseen classes", "the others"]
    return markdown([what(runs), "all", *columns], rows)


def unlabelled_table(of_all: list[Results], of_part: list[Results]) -> str:
    """What images without labels are worth, where a part of the images has labels and taught the teacher.

    The students of `of_all` hear that teacher on all images, those of `of_part` on the labelled ones alone;
    the runs are of the same seeds. Leads are in percentage points and paired by seed.
    """
    share = f"{100 * of_all[0]['config']['label_fraction']:g} % of the images"
    entries = (
        ("teacher", f"the labels of {share}", of_all, TEACHER),
        ("student", f"the labels of {share}", of_part, HARD),
        ("student", f"that teacher, on the same {share}", of_part, SOFT),
        ("student", "that teacher, on all images", of_all, SOFT),
    )
    reached = [[100 * value(run, path) for run in runs] for _, _, runs, path in entries]
    rows = []
    for (network, hears, _, _), mine in zip(entries, reached, strict=True):
        lead = interval([best - one for best, one in zip(reached[-1], mine, strict=True)])
        ahead = "" if mine is reached[-1] else lead.plus_minus(2)
        rows.append([network, hears, f"{mean_sd(mine, 2)} %", ahead])
    header = [what(of_all), "learns from", "test accuracy", "lead of the last row (95 % interval)"]
    return markdown(header, rows, n_left=2)


def unlabelled_pairs(groups: Groups) -> list[tuple[list[Results], list[Results]]]:
    """The folders that `unlabelled_table` compares: alike but for the share of images that students see."""

    def settings(runs: list[Results]) -> dict[str, object]:
        return {**fixed(runs[0]), "seeds": [run["config"]["seed"] for run in runs]}

    partly = [runs for runs in groups.values() if runs[0]["config"].get("label_fraction", 1) < 1]
    return [
        (of_all, of_part)
        for of_all in partly
        for of_part in partly
        if settings(of_all).get("transfer_fraction", 1) == 1
        and settings(of_all) | {"transfer_fraction": settings(of_all)["label_fraction"]} == settings(of_part)
    ]


TRIED = {"teacher, %": TEACHER, "student, soft targets, %": SOFT, "student, hard labels, %": HARD}


def cifar10_trials_table(trials: Sequence[Results], columns: Sequence[str] = tuple(TRIED)) -> str:
    """What each trial changed in the first one's flags, and what its networks reach on held-out images."""
    rows = []
    for flags, runs in what_changed(trials).items():
        accuracies = [100 * mean(value(run, TRIED[column]) for run in runs) for column in columns]
        name = flags if len(runs) == 1 else f"{flags}, {seeds(runs)}"
        rows.append([name, *(f"{accuracy:.2f}" for accuracy in accuracies)])
    return markdown([f"changed ({trials[0]['data']['name']})", *columns], rows)
