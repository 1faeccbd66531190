"""Means and spread over seeds of finished runs, as Markdown, from their results.json files.

    python3 -m seeds.summarise viz/seeds/described viz/seeds/linear
    python3 -m seeds.summarise viz/seeds/fast viz/seeds/best --picture viz/frontier.png
    python3 -m seeds.summarise viz/cifar10/unseen_cat --picture viz/cifar10/unseen_cat/unseen_class.png
    python3 -m seeds.summarise --trials viz/trials/fast

Each folder holds one sub-folder per seed. For every class left out there are two tables: mean ± standard
deviation (n - 1) per folder, beside the paper's and the published figures where these left out the same
class, and the errors seed by seed. Folders with runs of the CIFAR-10 experiment get one table each, and
one more where the labels of a part of the images taught the teachers of two of them.
"""

from __future__ import annotations

from support.charts import our_style, save
from support.console import Console, OneLineParser, UserError, put, run_script
from support.files import check_output
from support.intervals import mean_sd
from support.report import Results, class_name, markdown, short_name
from support.settings import N_CLASSES, named_folder, written_file

import statistics
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from matplotlib.figure import Figure

from cifar10 import tables
from cifar10.charts import draw_compression, draw_unseen_class
from cifar10.tables import Groups
from runs.folders import load, load_trials, named, omitted_by, value, what_changed
from seeds.frontier import draw_frontier

BEFORE, AFTER, BEST = "before.", "after.", "bias_correction.best_on_test_set."
Column = Callable[[list[Results]], str]


def percent(path: str) -> Column:
    """Column text for an accuracy at `path`, with the errors behind it."""

    def text(runs: list[Results]) -> str:
        accuracies = [value(run, f"{path}_accuracy") for run in runs]
        errors = [value(run, f"{path}_errors") for run in runs]
        return f"{mean_sd([100 * a for a in accuracies], 2)} % ({statistics.mean(errors):.0f})"

    return text


def number(path: str, digits: int, sign: bool = False) -> Column:
    return lambda runs: mean_sd([value(run, path) for run in runs], digits, sign)


# quantity, the paper's figure, the published figure of the described recipe (seed 0), ours; {} is the class
Row = tuple[str, str, str, Column]
TEACHER_ROWS: tuple[Row, ...] = (
    ("teacher, all", "99.33 % (67)", "98.39 %", percent("teacher.test")),
    ("teacher, {}", "", "97.43 %", percent("teacher.omitted")),
    ("student before the correction, all", "97.94 % (206)", "97.83 %", percent(BEFORE + "test")),
    ("student before the correction, {}", "86.83 % (133)", "91.88 %", percent(BEFORE + "omitted")),
)
OFFSET_ROW: Row = (
    "offset, chosen without test labels", "", "+2.696", number("bias_correction.offsets.0", 2, sign=True)
)  # fmt: skip
CORRECTED_ROWS: tuple[Row, ...] = (
    ("student after it, all", "", "98.07 %", percent(AFTER + "test")),
    ("student after it, {}", "", "97.82 %", percent(AFTER + "omitted")),
    ("offset best on the *test set*", "+3.5", "", number(BEST + "offset", 2, sign=True)),
    ("errors with it, all", "109", "", number(BEST + "test_errors", 1)),
    ("errors with it, {}", "14", "", number(BEST + "omitted_errors", 1)),
)
SECONDS_ROW: Row = ("seconds, all phases", "", "122", number("wall_clock_seconds.total", 0))


def rows_for(omitted: Sequence[int]) -> list[Row]:
    """The rows of runs that left out these classes, by name."""
    if not omitted:
        student = ("student, all", "", "", percent(BEFORE + "test"))
        return [TEACHER_ROWS[0], student, SECONDS_ROW]
    if len(omitted) == N_CLASSES:  # no digit was seen
        return [TEACHER_ROWS[0], TEACHER_ROWS[2], CORRECTED_ROWS[0], SECONDS_ROW]
    rows = [*TEACHER_ROWS, *([OFFSET_ROW] if len(omitted) == 1 else []), *CORRECTED_ROWS, SECONDS_ROW]
    of_omitted = short_name(omitted) if len(omitted) == 1 else class_name(omitted)
    return [(name.format(of_omitted), *rest) for name, *rest in rows]


def means_table(groups: Groups) -> str:
    """Mean and spread per folder; all of `groups` left out the same classes."""
    omitted = omitted_by(next(iter(groups.values())))
    comparable = omitted == (3,)  # the paper's and the published figures are of students without 3s
    header = ["", *(("paper", "published") if comparable else ())]
    header += [column_name(name, runs) for name, runs in groups.items()]
    rows = [
        [name, *((paper, published) if comparable else ()), *(text(runs) for runs in groups.values())]
        for name, paper, published, text in rows_for(omitted)
    ]
    return markdown(header, rows)


def column_name(name: str, runs: list[Results]) -> str:
    data = runs[0]["data"]["name"]
    n_seeds = f"{len(runs)} seed{'s' if len(runs) > 1 else ''}"
    return f"{name}, {n_seeds}" if data == "MNIST" else f"{name}, {n_seeds}, {data}"


def seeds_table(groups: Groups) -> str:
    """The errors seed by seed; all of `groups` left out the same classes."""
    omitted = omitted_by(next(iter(groups.values())))
    unseen = f"on {short_name(omitted)}"
    header = ["", "seed", "teacher", "before", unseen, "offset", "after", unseen, "best on test", unseen]
    if not omitted:
        header = ["", "seed", "teacher", "student"]
    if len(omitted) == N_CLASSES:
        header = ["", "seed", "teacher", "before", "after"]
    rows = []
    for name, runs in groups.items():
        for run in runs:
            before, after = run["student"]["before_correction"], run["student"]["after_correction"]
            correction, cells = run["bias_correction"], [run["teacher"]["test_errors"], before["test_errors"]]
            if len(omitted) == N_CLASSES:
                cells += [after["test_errors"]]
            elif omitted:
                best = correction["best_on_test_set"]
                cells += [before["omitted_errors"], " ".join(f"{b:+.2f}" for b in correction["offsets"])]
                cells += [after["test_errors"], after["omitted_errors"]]
                cells += [best["test_errors"], best["omitted_errors"]]
            seconds = f"{run['wall_clock_seconds']['total']:.0f}"
            rows.append([name, str(run["config"]["seed"]), *map(str, cells), seconds])
    return markdown([*header, "seconds"], rows)


def trials_table(trials: Sequence[Results]) -> str:
    """What each trial changed in the first one's flags, and its errors on held-out images, seed by seed."""
    if "networks" in trials[0]:
        return tables.cifar10_trials_table(trials)
    columns = [("teacher", "teacher.test_errors")]
    unseen = short_name(omitted_by(list(trials)))
    for when, part in (("before", BEFORE), ("after", AFTER)):
        columns += [
            (when, part + "test_errors"),
            *([(f"on {unseen}", part + "omitted_errors")] if unseen else []),
        ]
    rows = []
    for flags, runs in what_changed(trials).items():
        by_seed = sorted(runs, key=lambda run: run["config"]["seed"])
        errors = [" / ".join(f"{value(run, path):,}" for run in by_seed) for _, path in columns]
        rows.append([flags, " / ".join(str(run["config"]["seed"]) for run in by_seed), *errors])
    header = [f"changed ({trials[0]['data']['name']})", "seed", *(name for name, _ in columns)]
    return markdown(header, rows, n_left=2)


def all_tables(groups: Groups) -> list[str]:
    """Two tables for each set of omitted classes; one for each folder of CIFAR-10, one for what two say."""
    suite: dict[tuple[int, ...], Groups] = {}
    for name, runs in groups.items():
        if "networks" not in runs[0]:
            suite.setdefault(omitted_by(runs), {})[name] = runs
    found = [tabulate(alike) for alike in suite.values() for tabulate in (means_table, seeds_table)]
    for runs in groups.values():
        if "networks" in runs[0]:
            found.append((tables.unseen_class_table if omitted_by(runs) else tables.cifar10_table)(runs))
    return found + [tables.unlabelled_table(*pair) for pair in tables.unlabelled_pairs(groups)]


def threads_of(run: Results) -> Any:
    environment = run.get("environment")
    return environment.get("threads") if isinstance(environment, dict) else None


def check_frontier(groups: Groups) -> None:
    """Raises UserError when there is a run whose errors cannot stand beside the paper's 206 and 109."""
    for name, runs in groups.items():
        of_ours = len(omitted_by(runs)) == N_CLASSES or omitted_by(runs) == (3,)
        if "networks" in runs[0] or runs[0]["data"]["name"] != "MNIST" or not of_ours:
            raise UserError(
                f"--picture: {name} is not of MNIST without its 3s or without digits; leave that folder out"
            )
        if len({threads_of(run) for run in runs}) != 1 or threads_of(runs[0]) is None:
            raise UserError(f"--picture: {name} does not say on how many threads it ran; run it again")
        if any(run["wall_clock_seconds"]["total"] <= 0 for run in runs):
            raise UserError(f"--picture: {name} does not say how long it took; run it again")
    by_threads = {threads_of(runs[0]): name for name, runs in groups.items()}
    if len(by_threads) > 1:
        said = " and ".join(f"{name} of {n}" for n, name in by_threads.items())
        raise UserError(f"--picture: seconds of different numbers of threads, {said}; leave one of them out")


def picture_of(groups: Groups) -> Callable[[], Figure]:
    """What draws them. Raises UserError when they do not belong into one picture."""
    first = next(iter(groups.values()))
    if len(groups) == 1 and "networks" in first[0]:
        return partial(draw_unseen_class if omitted_by(first) else draw_compression, first)
    check_frontier(groups)
    return partial(draw_frontier, groups)


def main(argv: list[str] | None = None) -> None:
    parser = OneLineParser(
        prog="python3 -m seeds.summarise",
        description="Means and spread over seeds of finished runs, as Markdown.",
    )
    parser.add_argument("folders", nargs="*", type=named_folder, help="folders with one sub-folder per seed")
    parser.add_argument(
        "--trials", type=named_folder, metavar="FOLDER",
        help="folder with a sub-folder per trial: what each changed in that called start",
    )  # fmt: skip
    parser.add_argument(
        "--picture", type=written_file(".png"), metavar="FILE",
        help="also draw errors against seconds or, of one folder of CIFAR-10, what is saved or what a class "
        "never seen is called (PNG)",
    )  # fmt: skip
    arguments = parser.parse_args(argv)
    if not arguments.folders and (arguments.trials is None or arguments.picture):
        parser.error("name a folder of runs")
    groups = {name: load(folder) for name, folder in named(arguments.folders).items()}
    draw = picture_of(groups) if arguments.picture else None
    if draw:
        check_output(arguments.picture)
    of_trials = [trials_table(load_trials(arguments.trials))] if arguments.trials else []
    put("\n\n".join(all_tables(groups) + of_trials) + "\n")
    if draw:
        with our_style():
            save(draw(), arguments.picture, Console())


if __name__ == "__main__":
    run_script(main, trains=False)
