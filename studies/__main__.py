"""The command line: `python3 -m studies`."""

from __future__ import annotations

from support.console import Console, UserError, run_script
from support.data import VIZ, Data, check_omitted, warn_of_stand_in
from support.files import check_output
from support.report import RESULTS
from support.settings import argument_parser, given_settings, named_folder, whole_number
from support.tiles import Workers

import argparse
from functools import partial
from typing import Any

from beyond import pipeline
from beyond.data import RENDERED_NOTICE, outdir_for
from beyond.settings import RECIPES, Config
from runs.cluster import check_scheduler, dask_pool
from runs.many import run_many
from runs.processes import local_pool
from runs.records import Further
from studies import results
from studies.questions import STUDIES, Plan, plan
from studies.study import Run

MOST = {"seeds": 1000, "jobs": 1000}


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argument_parser(
        "Reproduce the paper's claims and answer its open questions, over seeds.", Config
    )
    parser.prog = "python3 -m studies"
    parser.add_argument(
        "--study", nargs="+", choices=list(STUDIES), metavar="NAME",
        help=f"which studies: {', '.join(STUDIES)} (default: all)",
    )  # fmt: skip
    for name, what in (
        ("seeds", "seeds per setting (default: those of its table, 1 to 10)"),
        ("jobs", "processes that share the cores (default: one per core)"),
    ):
        parser.add_argument(f"--{name}", type=whole_number, metavar="N", help=what)
    parser.add_argument(
        "--scheduler", metavar="ADDRESS", help="send the runs to the Dask scheduler there, as tcp://HOST:PORT"
    )
    parser.add_argument(
        "--usps-dir", type=named_folder, metavar="FOLDER",
        help="folder with USPS's zip.train and zip.test, plain or .gz, for the study handwriting (default: "
        "downloaded)",
    )  # fmt: skip
    parser.add_argument(
        "--redraw", action="store_true",
        help="only draw tables and figures again, from the results.json in --outdir",
    )  # fmt: skip
    return parser.parse_args(argv)


def check(arguments: argparse.Namespace, given: dict[str, Any]) -> None:
    """Raises UserError for flags that exclude each other or lie out of bounds."""
    for name, most in MOST.items():
        if (value := getattr(arguments, name)) is not None and not 1 <= value <= most:
            raise UserError(f"--{name} must be 1 to {most:,}, not {value}")
    if arguments.jobs is not None and arguments.scheduler is not None:
        raise UserError(
            "--jobs and --scheduler exclude each other: a cluster's workers say how many they are"
        )
    recipe = RECIPES.get(given.get("recipe", ""), {})
    if "transfer_set" in given or "transfer_set" in recipe:
        raise UserError(
            "the studies say what their students see; leave --transfer-set and --recipe no-digit out"
        )
    if given.get("retrain"):
        raise UserError("--retrain: a study shares its runs; to train all anew, name an empty --cache-dir")
    others = [arguments.study, arguments.seeds, arguments.jobs, arguments.scheduler, arguments.usps_dir]
    if arguments.redraw and (any(x is not None for x in others) or set(given) - {"outdir", "quiet"}):
        raise UserError("--redraw trains nothing: beside it only --outdir and --quiet mean anything")


def label_of(name: str, point: str, seed: int) -> str:
    """A run of a study in the 55 columns that a line of progress of 80 leaves it."""
    room = 55 - len(f"{name}, , seed {seed}")
    return f"{name}, {point if len(point) <= room else f'{point[: room - 1]}…'}, seed {seed}"


def carry_out(
    planned: Plan, data: Data, open_pool: Any, console: Console, further: dict[str, Further]
) -> tuple[list[Run], dict[Config, str]]:
    """Every run of this plan that succeeds, and the reason of every other one's failure."""
    point_of = {config: point for point, configs in reversed(planned.items()) for config in configs}

    def label(config: Config) -> str:
        name, place = point_of[config]
        return label_of(name, list(STUDIES[name].points)[place], config.seed)

    configs = list(dict.fromkeys(config for group in planned.values() for config in group))
    for config in configs:
        check_omitted(data, config.omitted_class)
    asked: dict[Config, dict[str, Further]] = {config: {} for config in configs}
    for (name, _), group in planned.items():
        for config in group if name in further else ():
            asked[config][name] = further[name]
    records, reasons = run_many(
        configs, data, open_pool, console, label, lambda config: tuple(asked[config].values())
    )
    runs = [
        Run(name, STUDIES[name].grid[place], config, results.of_study(records[config], name))
        for (name, place), group in planned.items()
        for config in group
        if config in records
    ]
    return runs, reasons


def further_of(
    names: list[str], arguments: argparse.Namespace, base: Config, console: Console
) -> dict[str, Further]:
    """What these studies measure besides; those that cannot are said, and taken out of `names`.

    Raises UserError when none is left.
    """
    found = {}
    for name in [name for name in names if STUDIES[name].further]:
        try:
            found[name] = STUDIES[name].further(arguments, base, console)
        except UserError as error:
            if len(names) == 1:
                raise
            names.remove(name)
            console.warn(f"warning: {name} is left out: {error}")
    return found


def main(argv: list[str] | None = None) -> None:
    arguments = parse(argv)
    given = given_settings(arguments, Config)
    check(arguments, given)
    base, outdir = Config(**given), given.pop("outdir", None)
    console = Console(given.pop("quiet", False))
    if arguments.redraw:
        return results.redraw(outdir or VIZ / "study", console)
    names = [name for name in STUDIES if name in (arguments.study or STUDIES)]
    plan(names, given, arguments.seeds)  # wrong values are said before anything is loaded
    if arguments.scheduler is not None:
        check_scheduler(arguments.scheduler)
        open_pool = partial(dask_pool, arguments.scheduler, console)
    else:
        open_pool = partial(local_pool, arguments.jobs or Workers().n_threads)
    data = pipeline.load_data(base, console)
    further = further_of(names, arguments, base, console)
    planned = plan(names, given, arguments.seeds)
    outdir = outdir or outdir_for(base, data) / "study"
    before = results.existing(outdir, results.described(data), planned)
    check_output(outdir / RESULTS)
    runs, reasons = carry_out(planned, data, open_pool, console, further)
    if not runs:
        raise UserError(f"no run succeeded: {next(iter(reasons.values()))}")

    configs = [config for group in planned.values() for config in group]
    found = results.merged(results.content(runs, reasons), before, configs)
    complete = not reasons or before is None or (before["failed"] and not results.lost(before, found))
    path = outdir / (RESULTS if complete else results.PARTIAL)
    shown = results.report(found, names, console)
    results.write(path, found, console)
    if complete:
        results.draw(outdir, shown, names, console)
        (outdir / results.PARTIAL).unlink(missing_ok=True)
    warn_of_stand_in(data, RENDERED_NOTICE, console)
    if reasons:
        raise UserError(
            f"{len(reasons)} runs failed (named above and in {path}); the others are stored"
            + ("" if complete else f", and the complete {RESULTS} is left as it was")
        )


if __name__ == "__main__":
    run_script(main)
