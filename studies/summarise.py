"""Means and spread over seeds of finished runs, as Markdown, from their results.json files.

    python3 -m studies.summarise viz/seeds/described viz/seeds/linear
    python3 -m studies.summarise viz/seeds/fast viz/seeds/best --picture viz/frontier.png

Each folder holds one sub-folder per seed. For every class left out there are two tables: mean ± standard
deviation (n - 1) per folder, beside the paper's and the published figures where these left out the same
class, and the errors seed by seed. Folders with runs of the CIFAR-10 experiment get one table each.
"""

from __future__ import annotations

from support.charts import STYLE, save
from support.console import Console, OneLineParser, UserError, put, run_script
from support.files import check_output
from support.report import RESULTS, Results, class_name, markdown, short_name
from support.settings import N_CLASSES, named_file, named_folder

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context

from studies.checks import (
    check_data,
    check_metrics,
    check_run,
    classes,
    dict_of,
    hold,
    is_object,
    read_json,
    whole,
)
from studies.checks import number as a_number
from studies.frontier import draw_frontier
from studies.intervals import interval

BEFORE, AFTER, BEST = (
    "student.before_correction.",
    "student.after_correction.",
    "bias_correction.best_on_test_set.",
)
SIZES = ("parameters", "multiply_adds", "bytes", "bytes_8_bits")  # of a network of CIFAR-10
MEASURES = ("test_accuracy_8_bits", "milliseconds_alone", "milliseconds_per_image")
FREE = {"seed", "dataset", "data_dir", "cache_dir", "outdir", "mirror", "quiet", "retrain"}
Groups = dict[str, list[Results]]  # the runs of each folder, by its name
Column = Callable[[list[Results]], str]


# ---- Reading -----------------------------------------------------------------------------------------------


def check(run: Any) -> None:
    """Raises ValueError when `run` is not the results.json of one of the experiments."""
    keys = ("config", "data", "teacher", "student", "bias_correction", "wall_clock_seconds")
    hold(run, dict.fromkeys(keys, is_object))
    hold(run["config"], {"seed": whole(0), "omitted_class": classes}, "config")
    check_data(run["data"])
    omitted, n_test = run["config"]["omitted_class"], run["data"]["n_test"]
    corrected = run["bias_correction"].get("classes", omitted)  # older runs do not say it
    hold({"classes": corrected}, {"classes": classes}, "bias_correction")
    check_run(run, n_test, omitted, corrected)
    hold(run["wall_clock_seconds"], {"total": a_number(0)}, "wall_clock_seconds")
    if "networks" in run:
        hold(run, {"networks": dict_of(is_object), "baseline": is_object})
        check_metrics(run["baseline"], n_test, omitted, "baseline")
        hold(run["networks"], dict.fromkeys(("teacher", "student", "baseline"), is_object), "networks")
        sizes = {key: whole(1) for key in SIZES} | {key: a_number(0) for key in MEASURES}
        for name, network in run["networks"].items():
            hold(network, sizes, f"networks.{name}")


def load(folder: Path) -> list[Results]:
    """The runs below `folder`, ordered by seed: of one kind, one setting, the same data, one run per seed.

    Raises UserError.
    """
    runs: dict[Path, Results] = {}
    try:
        paths = sorted(path / RESULTS for path in folder.iterdir() if (path / RESULTS).exists())
    except OSError as error:
        raise UserError(f"cannot look into {folder}: {error.strerror}; name a folder of runs") from error
    for path in paths:
        try:
            runs[path] = read_json(path)
            check(runs[path])
        except (OSError, ValueError) as error:
            raise UserError(f"{path} is not the result of a run: {error}; run it again") from error
    if not runs:
        raise UserError(f"no */{RESULTS} in {folder}; run the experiment with --outdir {folder}/SEED first")
    (first_path, first), *others = runs.items()
    seeds = {first["config"]["seed"]: first_path}
    for path, run in others:
        for name in fixed(first) | fixed(run):
            ours, theirs = (fixed(one).get(name, "nothing") for one in (first, run))
            if ours != theirs:
                raise UserError(
                    f"{folder} mixes runs: {name} is {shown(ours)} in {first_path.parent.name} and "
                    f"{shown(theirs)} in {path.parent.name}; give each its own folder"
                )
        if (seed := run["config"]["seed"]) in seeds:
            raise UserError(
                f"{folder} holds seed {seed} twice, in {seeds[seed].parent.name} and {path.parent.name}; "
                "leave one of them"
            )
        seeds[seed] = path
    return sorted(runs.values(), key=lambda run: run["config"]["seed"])


def fixed(run: Results) -> dict[str, Any]:
    """All in which the runs of a folder must be the same: the experiment, its settings but the seed, data."""
    settings = {name: value for name, value in run["config"].items() if name not in FREE}
    data = {f"data.{key}": run["data"][key] for key in ("name", "n_train", "n_test", "sha256")}
    return {"experiment": "CIFAR-10" if "networks" in run else "MNIST", **data, **settings}


def shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:40]}..."


def named(folders: Sequence[Path]) -> dict[str, Path]:
    """The folders by as much of the end of their paths as tells them apart: "fast", or "a/fast", "b/fast".

    Raises UserError when one is given twice.
    """
    resolved = [folder.resolve().parts for folder in folders]
    for folder, own in zip(folders, resolved, strict=True):
        if resolved.count(own) > 1:
            raise UserError(f"{folder} is named twice; name it once")
    parts = dict(zip(folders, resolved, strict=True))
    names = {}
    for folder, own in parts.items():
        n = 1
        while any(other[-n:] == own[-n:] for other in parts.values() if other != own):
            n += 1
        names["/".join(own[-n:])] = folder
    return names


# ---- Tables ------------------------------------------------------------------------------------------------


def percent(path: str) -> Column:
    """Column text for an accuracy at `path`, with the errors behind it."""

    def text(runs: list[Results]) -> str:
        accuracies = [value(run, f"{path}_accuracy") for run in runs]
        errors = [value(run, f"{path}_errors") for run in runs]
        return f"{mean_sd([100 * a for a in accuracies], 2)} % ({statistics.mean(errors):.0f})"

    return text


def number(path: str, digits: int, sign: bool = False) -> Column:
    return lambda runs: mean_sd([value(run, path) for run in runs], digits, sign)


def value(run: Results, path: str) -> Any:
    found: Any = run
    for key in path.split("."):
        found = found[int(key)] if isinstance(found, list) else found[key]
    return found


def mean_sd(values: Sequence[float], digits: int, sign: bool = False) -> str:
    mean = f"{statistics.mean(values):{'+' if sign else ''}.{digits}f}"
    return f"{mean} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else mean


def omitted_by(runs: list[Results]) -> tuple[int, ...]:
    return tuple(runs[0]["config"]["omitted_class"])


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


def seeds(runs: list[Results]) -> str:
    """ "3 seeds", "seed 0"."""
    return f"{len(runs)} seeds" if len(runs) > 1 else f"seed {runs[0]['config']['seed']}"


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
            *(mean_sd([value(r, f"networks.{kind}.{key}") for r in runs], 2) for key in MEASURES[1:]),
        ]
        rows.append([name, *cells])
    gain = f"soft targets gain {in_points(gains(runs))}"
    columns = ["test accuracy", "in 8 bits", "parameters", "million multiply-adds", "kB in 32 / 8 bits"]
    columns += ["ms, an image alone", "ms, each of many"]
    return markdown([seeds(runs), *columns], rows) + f"\n\n{gain}"


def gains(runs: list[Results]) -> list[float]:
    """Percentage points by which each run's student on soft targets is ahead of that on hard labels."""
    soft, hard = "student.before_correction.test_accuracy", "baseline.test_accuracy"
    return [100 * (value(run, soft) - value(run, hard)) for run in runs]


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


def all_tables(groups: Groups) -> list[str]:
    """Two tables for each set of omitted classes, one for each folder of CIFAR-10."""
    suite: dict[tuple[int, ...], Groups] = {}
    for name, runs in groups.items():
        if "networks" not in runs[0]:
            suite.setdefault(omitted_by(runs), {})[name] = runs
    tables = [tabulate(alike) for alike in suite.values() for tabulate in (means_table, seeds_table)]
    for runs in groups.values():
        if "networks" in runs[0]:
            tables.append((unseen_class_table if omitted_by(runs) else cifar10_table)(runs))
    return tables


def threads_of(run: Results) -> Any:
    environment = run.get("environment")
    return environment.get("threads") if isinstance(environment, dict) else None


def check_frontier(groups: Groups) -> None:
    """Raises UserError when there is a run whose errors cannot stand beside the paper's 206 and 109."""
    for name, runs in groups.items():
        if "networks" in runs[0] or runs[0]["data"]["name"] != "MNIST" or omitted_by(runs) != (3,):
            raise UserError(f"--picture: {name} is not of MNIST without its 3s; leave that folder out")
        if len({threads_of(run) for run in runs}) != 1 or threads_of(runs[0]) is None:
            raise UserError(f"--picture: {name} does not say on how many threads it ran; run it again")


def main(argv: list[str] | None = None) -> None:
    parser = OneLineParser(
        prog="python3 -m studies.summarise",
        description="Means and spread over seeds of finished runs, as Markdown.",
    )
    parser.add_argument("folders", nargs="+", type=named_folder, help="folders with one sub-folder per seed")
    parser.add_argument(
        "--picture", type=named_file, metavar="FILE", help="also draw errors against seconds, as a PNG file"
    )
    arguments = parser.parse_args(argv)
    groups = {name: load(folder) for name, folder in named(arguments.folders).items()}
    if arguments.picture:
        check_frontier(groups)
        check_output(arguments.picture)
    put("\n\n".join(all_tables(groups)) + "\n")
    if arguments.picture:
        with rc_context(STYLE):
            save(draw_frontier(groups), arguments.picture, Console())


if __name__ == "__main__":
    run_script(main)
