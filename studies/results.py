"""results.json of the studies: made from runs, read back with care, merged, and drawn."""

from __future__ import annotations

from support import checks
from support.charts import our_style, save
from support.checks import check_data, check_run, hold, read_checked
from support.console import Console, UserError
from support.data import Data
from support.files import atomic_output
from support.report import RESULTS
from support.settings import argument_parser, given_settings

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from beyond.settings import Config
from runs.folders import newest_of_each
from runs.records import IF_THERE, flags_of, measured_settings
from studies.questions import STUDIES, Plan
from studies.study import Run, Settings

PARTIAL = "results.partial.json"  # of a study in which runs failed, beside a complete one
Found = dict[str, Any]  # the content of results.json


def of_study(record: Found, name: str) -> Found:
    """The record of a run as one study has it: what others measured besides is not in it."""
    mine = {key: value for key, value in record.items() if key != "further"}
    return mine | ({"further": record["further"][name]} if name in record.get("further", {}) else {})


def entry(run: Run) -> Found:
    """What results.json holds of one run; docs/reference.md documents its keys."""

    def without_matrix(metrics: Found) -> Found:
        return {k: v for k, v in metrics.items() if k != "confusion_matrix"}

    student = run.record["student"]
    return {
        "study": run.study,
        "grid": run.settings,
        "flags": flags_of(run.config),
        "seed": run.config.seed,
        "teacher": without_matrix(run.record["teacher"]),
        "student": {part: without_matrix(student[part]) for part in student},
        "bias_correction": run.record["bias_correction"],
        **{key: run.record[key] for key in (*IF_THERE, "further") if key in run.record},
        "seconds": {k: run.record["wall_clock_seconds"][k] for k in ("teacher", "student")},
        "environment": run.record["environment"],
    }


def described(data: Data) -> Found:
    """What results.json says of the data."""
    images = {"n_train": len(data.train_labels), "n_test": len(data.test_labels)}
    return {"name": data.name, "sha256": data.sha256, **images}


def content(runs: Sequence[Run], reasons: dict[Config, str]) -> Found:
    """The content of results.json, as it will be read back, but without the tables."""
    found = {
        "data": {key: runs[0].record["data"][key] for key in ("name", "sha256", "n_train", "n_test")},
        "runs": [entry(run) for run in runs],
        "failed": [{"config": c.plain(), "reason": reason} for c, reason in reasons.items()],
    }
    return json.loads(json.dumps(found, allow_nan=False))


def tuples(settings: Settings) -> Settings:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}


def runs_of(found: Found) -> list[Run]:
    """The runs that results.json holds. Raises ValueError when an entry is not what a study writes."""
    parser = argument_parser("", Config)

    def refuse(message: str) -> None:
        raise ValueError(message)

    parser.error = refuse  # type: ignore[method-assign]
    runs, points = [], set()
    for index, one in enumerate(found["runs"]):
        try:
            words = one["flags"].split()
            if any(word == "--help" or word.startswith("-h") for word in words):
                raise ValueError("flags that make no run")
            config = Config(**given_settings(parser.parse_args(words), Config))
            grid = tuples(one["grid"])
            if one["study"] not in STUDIES or grid not in STUDIES[one["study"]].grid:
                raise ValueError("no point of a study")
            if config.seed != one["seed"] or any(getattr(config, k) != v for k, v in grid.items()):
                raise ValueError("flags and grid say different things")
            point = one["study"], json.dumps(one["grid"], sort_keys=True), one["seed"]
            if point in points:
                raise ValueError("the same point and seed a second time")
            points.add(point)
            check_run(one, found["data"]["n_test"], config.omitted_class, config.corrected_class)
            if STUDIES[one["study"]].further:
                hold(one, {"further": checks.is_object})
                hold(one["further"], dict(STUDIES[one["study"]].further_holds), "further")
        except (ValueError, UserError) as error:
            raise ValueError(f"run {index}: {error}") from error
        runs.append(Run(one["study"], grid, config, {**one, "data": found["data"]}))
    return runs


def checked_runs(found: Any) -> list[Run]:
    """The runs of what was read. Raises ValueError when it is not a study's results."""
    objects = checks.list_of(checks.is_object)
    hold(found, {"data": checks.is_object, "runs": objects, "failed": objects})
    check_data(found["data"])
    for index, one in enumerate(found["runs"]):
        keys = {"study": checks.text, "flags": checks.text, "seed": checks.whole(0), "grid": checks.is_object}
        keys |= {"seconds": checks.dict_of(checks.number(0)), "environment": checks.is_object}
        hold(one, keys, f"run {index}")
    for one in found["failed"]:
        hold(one, {"config": checks.is_object, "reason": checks.anything}, "a failed run")
    if not found["runs"]:
        raise ValueError("it holds no run")
    return runs_of(found)


def read(path: Path) -> tuple[Found, list[Run]]:
    """A study's results.json and its runs. Raises FileNotFoundError, or UserError for anything else."""
    return read_checked(path, checked_runs)


def existing(outdir: Path, data: Found, planned: Plan) -> Found | None:
    """The results that are there already, if any.

    Raises UserError when they are of other data, or hold other seeds of the same studies with other settings,
    beside which the planned runs could not stand.
    """
    try:
        found, runs = read(outdir / RESULTS)
    except FileNotFoundError:
        return None
    if found["data"] != data:
        raise UserError(
            f"{outdir / RESULTS} is of other data ({found['data']['name']}); move it away or name another "
            "--outdir"
        )
    names = {name for name, _ in planned}
    configs = [(name, config) for (name, _), group in planned.items() for config in group]
    seeds = {config.seed for _, config in configs}
    asked = {(name, measured_settings(config)) for name, config in configs}
    for run in runs:
        stays = run.study in names and run.config.seed not in seeds
        if stays and (run.study, measured_settings(run.config)) not in asked:
            raise UserError(
                f"{outdir / RESULTS} holds {run.study} with other settings and seed {run.config.seed}; "
                "move it away or name another --outdir"
            )
    return found


def identity(config: Found) -> Found:
    """What tells one failed run from another, wherever its files were."""
    return {k: v for k, v in config.items() if not k.endswith("_dir")}


def point_of(one: Found) -> tuple[int, int, int]:
    """Where a run stands among all: the places of its study and of its point in that grid, and its seed."""
    study = one["study"]
    return list(STUDIES).index(study), STUDIES[study].grid.index(tuples(one["grid"])), one["seed"]


def merged(found: Found, before: Found | None, planned: Sequence[Config]) -> Found:
    """`found`, and of the results before it all that this plan did not ask for: other studies and seeds."""
    if before is None:
        return found
    asked = [identity(config) for config in json.loads(json.dumps([config.plain() for config in planned]))]
    names, seeds = {one["study"] for one in found["runs"]}, {config.seed for config in planned}
    stay = [one for one in before["runs"] if one["study"] not in names or one["seed"] not in seeds]
    return {
        "data": found["data"],
        "runs": newest_of_each([*stay, *found["runs"]], point_of),
        "failed": found["failed"] + [f for f in before["failed"] if identity(f["config"]) not in asked],
    }


def lost(before: Found, found: Found) -> bool:
    """Whether a run that is in the results of before is missing from those that were found now."""
    return bool({point_of(one) for one in before["runs"]} - {point_of(one) for one in found["runs"]})


def tables(runs: Sequence[Run]) -> dict[str, str]:
    """The Markdown table of every study of which there are runs, by its name."""
    there = {run.study for run in runs}
    return {name: study.table(study.shown(runs)) for name, study in STUDIES.items() if name in there}


def report(found: Found, names: Sequence[str], console: Console) -> list[Run]:
    """Add the tables to `found` and print those of the studies `names`; gives its runs."""
    runs = runs_of(found)
    found["tables"] = tables(runs)
    for name, table in found["tables"].items():
        if name in names:
            console.always(f"\n{name}: {STUDIES[name].question}\n\n{table}")
    return runs


def write(path: Path, found: Found, console: Console) -> None:
    """Raises UserError when it cannot be written."""
    with atomic_output(path) as temporary:
        temporary.write_text(json.dumps(found, indent=1, sort_keys=True, allow_nan=False) + "\n")
    console.line(f"\nwrote {path}")


def draw(outdir: Path, runs: Sequence[Run], names: Sequence[str], console: Console) -> None:
    """The picture of every study of `names` that has runs. Raises UserError when one cannot be written."""
    with our_style():
        for name in STUDIES:
            shows = {name, *STUDIES[name].beside} & set(names)  # any of these was run now
            if shows and any(run.study == name for run in runs):
                study = STUDIES[name]
                save(study.draw(study.question, study.shown(runs)), outdir / study.picture, console)


def redraw(outdir: Path, console: Console) -> None:
    """Tables and pictures again, from the results.json in `outdir`; no run is touched. Raises UserError."""
    path = outdir / RESULTS
    try:
        found, _ = read(path)
    except FileNotFoundError:
        raise UserError(
            f"there is no {path}; run the studies first, or name its folder with --outdir"
        ) from None
    runs = report(found, list(STUDIES), console)
    write(path, found, console)
    draw(outdir, runs, list(STUDIES), console)
