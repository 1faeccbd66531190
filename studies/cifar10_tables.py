"""Tables of runs of the CIFAR-10 experiment, as Markdown."""

from __future__ import annotations

from support.report import Results, markdown
from support.settings import flag_name

from collections.abc import Sequence

from studies.folders import MEASURES, SIZES, fixed, mean_sd, omitted_by, seeds, value
from studies.intervals import interval

SOFT, HARD = "student.before_correction.test_accuracy", "baseline.test_accuracy"


def cifar10_table(runs: list[Results]) -> str:
    """What a teacher, a distilled student and one on hard labels reach, and at which size."""
    rows, paths = [], {"student": "student.before_correction"}
    names = {
        "teacher": "teacher, hard labels",
        "student": "student, soft targets alone",
        "baseline": "the same student, hard labels",
    }
    for kind, name in names.items():
        accuracies = [100 * value(r, f"{paths.get(kind, kind)}.test_accuracy") for r in runs]
        sizes = {key: value(runs[0], f"networks.{kind}.{key}") for key in SIZES}
        cells = [
            f"{mean_sd(accuracies, 2)} %",
            f"{mean_sd([100 * value(r, f'networks.{kind}.{MEASURES[0]}') for r in runs], 2)} %",
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
    return markdown([seeds(runs), *columns], rows) + f"\n\n{gain}"


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
    rows = [
        [
            name,
            *(
                f"{mean_sd([100 * value(r, f'{path}.{part}_accuracy') for r in runs], 1)} %"
                for part in ("test", "omitted", "other")
            ),
        ]
        for name, path in (
            ("teacher, has seen it", "teacher"),
            ("student, hard labels", "baseline"),
            ("student, soft targets alone", "student.before_correction"),
            ("the same, bias corrected without test labels", "student.after_correction"),
        )
    ]
    one = len(omitted_by(runs)) == 1
    columns = ["the unseen class", "the nine others"] if one else ["the unseen classes", "the others"]
    return markdown([seeds(runs), "all", *columns], rows)


def trials_table(trials: Sequence[Results]) -> str:
    """What each trial changed in the first one's flags, and its students' accuracy on held-out images."""
    start = fixed(trials[0])
    rows = []
    for run in trials:
        changed = {name: new for name, new in fixed(run).items() if new != start.get(name)}
        flags = " ".join(f"`{flag_name(name)} {new}`" for name, new in changed.items()) or "none"
        soft, hard = (value(run, path) for path in (SOFT, HARD))
        rows.append([flags, f"{100 * soft:.2f}", f"{100 * hard:.2f}"])
    return markdown(["changed", "soft targets, %", "hard labels, %"], rows)
