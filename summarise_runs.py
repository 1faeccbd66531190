#!/usr/bin/env python3
"""Means and spread over seeds, as the README shows them, from the results.json files of finished runs.

    python3 summarise_runs.py viz/seeds/described viz/seeds/linear

Each folder holds one sub-folder per seed. Prints two Markdown tables: mean ± standard deviation (n - 1) per
folder beside the paper's and the published figures, and the errors seed by seed. Folders with runs of
distillation_cifar10.py get one table each.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from suite_io import UserError, run_script

Results = dict[str, Any]
BEFORE, AFTER, BEST = (
    "student.before_correction.",
    "student.after_correction.",
    "bias_correction.best_on_test_set.",
)


def percent(path: str) -> Callable[[list[Results]], str]:
    """Column text for an accuracy at `path`, with the errors behind it."""

    def text(runs: list[Results]) -> str:
        accuracies = [value(run, f"{path}_accuracy") for run in runs]
        errors = [value(run, f"{path}_errors") for run in runs]
        return f"{mean_sd([100 * a for a in accuracies], 2)} % ({statistics.mean(errors):.0f})"

    return text


def number(path: str, digits: int, sign: bool = False) -> Callable[[list[Results]], str]:
    return lambda runs: mean_sd([value(run, path) for run in runs], digits, sign)


def value(run: Results, path: str) -> float:
    found: Any = run
    for key in path.split("."):
        found = found[int(key)] if isinstance(found, list) else found[key]
    return found


def mean_sd(values: list[float], digits: int, sign: bool = False) -> str:
    mean = f"{statistics.mean(values):{'+' if sign else ''}.{digits}f}"
    return f"{mean} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else mean


# quantity, the paper's figure, the published figure of the described recipe (seed 0), ours
ROWS: tuple[tuple[str, str, str, Callable[[list[Results]], str]], ...] = (
    ("teacher, all", "99.33 % (67)", "98.39 %", percent("teacher.test")),
    ("teacher, 3s", "", "97.43 %", percent("teacher.omitted")),
    ("student before the correction, all", "97.94 % (206)", "97.83 %", percent(BEFORE + "test")),
    ("student before the correction, 3s", "86.83 % (133)", "91.88 %", percent(BEFORE + "omitted")),
    ("offset, chosen without test labels", "", "+2.696", number("bias_correction.offsets.0", 2, sign=True)),
    ("student after it, all", "", "98.07 %", percent(AFTER + "test")),
    ("student after it, 3s", "", "97.82 %", percent(AFTER + "omitted")),
    ("offset best on the *test set*", "+3.5", "", number(BEST + "offset", 2, sign=True)),
    ("errors with it, all", "109", "", number(BEST + "test_errors", 1)),
    ("errors with it, 3s", "14", "", number(BEST + "omitted_errors", 1)),
    ("seconds, all phases", "", "122", number("wall_clock_seconds.total", 0)),
)


def load(folder: Path) -> list[Results]:
    """The runs below `folder`, ordered by seed. Raises UserError."""
    try:
        runs = [json.loads(path.read_text()) for path in folder.glob("*/results.json")]
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read the runs in {folder}: {error}") from error
    if not runs:
        raise UserError(
            f"no */results.json in {folder}; run the experiment with --outdir {folder}/SEED first"
        )
    return sorted(runs, key=lambda run: run["config"]["seed"])


def means_table(groups: dict[str, list[Results]]) -> str:
    header = ["", "paper", "published"] + [f"{name}, {len(runs)} seeds" for name, runs in groups.items()]
    rows = [
        [name, paper, published, *(text(runs) for runs in groups.values())]
        for name, paper, published, text in ROWS
    ]
    return table(header, rows)


def seeds_table(groups: dict[str, list[Results]]) -> str:
    header = [
        "",
        "seed",
        "teacher",
        "before",
        "on 3s",
        "offset",
        "after",
        "on 3s",
        "best on test",
        "on 3s",
        "seconds",
    ]
    rows = []
    for name, runs in groups.items():
        for run in runs:
            before, after = run["student"]["before_correction"], run["student"]["after_correction"]
            correction = run["bias_correction"]
            best = correction["best_on_test_set"]
            rows.append(
                [
                    name,
                    f"{run['config']['seed']}",
                    f"{run['teacher']['test_errors']}",
                    f"{before['test_errors']}",
                    f"{before['omitted_errors']}",
                    f"{correction['offsets'][0]:+.2f}",
                    f"{after['test_errors']}",
                    f"{after['omitted_errors']}",
                    f"{best['test_errors']}",
                    f"{best['omitted_errors']}",
                    f"{run['wall_clock_seconds']['total']:.0f}",
                ]
            )
    return table(header, rows)


def seeds(runs: list[Results]) -> str:
    """ "3 seeds", "seed 0"."""
    return f"{len(runs)} seeds" if len(runs) > 1 else f"seed {runs[0]['config']['seed']}"


def cifar10_table(runs: list[Results]) -> str:
    """What a teacher, a distilled student and one on hard labels reach, and at which size."""
    rows = []
    for name, path, network in (
        ("teacher, hard labels", "teacher", "teacher"),
        ("student, soft targets alone", "student.before_correction", "student"),
        ("the same student, hard labels", "baseline", "baseline"),
    ):
        behind = [100 * (value(r, "teacher.test_accuracy") - value(r, f"{path}.test_accuracy")) for r in runs]
        rows.append(
            [
                name,
                f"{mean_sd([100 * value(r, f'{path}.test_accuracy') for r in runs], 2)} %",
                "" if path == "teacher" else mean_sd(behind, 2),
                f"{value(runs[0], f'networks.{network}.parameters'):,}",
                f"{value(runs[0], f'networks.{network}.multiply_adds'):,}",
                mean_sd([value(r, f"networks.{network}.milliseconds_per_image") for r in runs], 2),
            ]
        )
    header = [
        seeds(runs),
        "test accuracy",
        "points behind the teacher",
        "parameters",
        "multiply-adds",
        "ms per image",
    ]
    return table(header, rows)


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
    return table([seeds(runs), "all", "the unseen class", "the nine others"], rows)


def table(header: list[str], rows: list[list[str]]) -> str:
    rule = ["---"] + ["---:"] * (len(header) - 1)
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *rows])


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Means and spread over seeds of finished runs, as Markdown.")
    parser.add_argument("folders", nargs="+", type=Path, help="folders with one sub-folder per seed")
    groups = {folder.name: load(folder) for folder in parser.parse_args(argv).folders}
    suite = {name: runs for name, runs in groups.items() if "networks" not in runs[0]}
    tables = [means_table(suite), seeds_table(suite)] if suite else []
    for runs in groups.values():
        if "networks" in runs[0]:
            unseen = runs[0]["config"]["omitted_class"]
            tables.append((unseen_class_table if unseen else cifar10_table)(runs))
    print("\n\n".join(tables))


if __name__ == "__main__":
    run_script(main)
