"""Folders of finished runs, one sub-folder per seed, and what their results.json files say."""

from __future__ import annotations

from support.checks import check_results, read_json
from support.console import UserError
from support.report import RESULTS, Results
from support.settings import DECIDE_NOTHING, flag_name

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

SIZES = ("parameters", "multiply_adds", "bytes", "bytes_8_bits")  # of a network of CIFAR-10
MEASURES = ("test_accuracy_8_bits", "milliseconds_alone", "milliseconds_per_image")
START = "start"  # the trial that the others are compared with
FREE = ("seed", *DECIDE_NOTHING)  # what runs of one folder may differ in


def newest_of_each(runs: Iterable[Results], point: Callable[[Results], Any]) -> list[Results]:
    """Of runs of the same `point` the last one, in the order of the points: how results.json are merged."""
    by_point = {point(run): run for run in runs}
    return [by_point[one] for one in sorted(by_point)]


# ---- Reading -----------------------------------------------------------------------------------------------


def read_runs(folder: Path) -> dict[Path, Results]:
    """Every run below `folder`, by the path of its results, in the order of their names. Raises UserError."""
    runs: dict[Path, Results] = {}
    try:
        paths = sorted(path / RESULTS for path in folder.iterdir() if (path / RESULTS).exists())
    except OSError as error:
        raise UserError(f"cannot look into {folder}: {error.strerror}; name a folder of runs") from error
    for path in paths:
        try:
            runs[path] = read_json(path)
            check_results(runs[path])
        except (OSError, ValueError) as error:
            raise UserError(f"{path} is not the result of a run: {error}; run it again") from error
    if not runs:
        raise UserError(f"no */{RESULTS} in {folder}; run the experiment with --outdir {folder}/SEED first")
    return runs


def load(folder: Path) -> list[Results]:
    """Runs below `folder` by seed: of one kind and setting, the same data, one a seed. Raises UserError."""
    runs = read_runs(folder)
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


def load_trials(folder: Path) -> list[Results]:
    """Runs of one experiment, of any settings, on the same images, START's first. Raises UserError."""
    runs = read_runs(folder)
    start = runs.pop(folder / START / RESULTS, None)
    if start is None:
        raise UserError(f"no {folder / START / RESULTS}, with which the trials are compared")
    for path, run in runs.items():
        of = {key for key in fixed(start) | fixed(run) if key.partition(".")[0] in ("experiment", "data")}
        alike = all(fixed(start).get(key) == fixed(run).get(key) for key in of)
        if not alike or ("baseline" in start) != ("baseline" in run):
            raise UserError(f"{path} is not of the images of {folder / START}; give each its own folder")
    for flags, alike in what_changed([start, *runs.values()]).items():
        if len({run["config"]["seed"] for run in alike}) < len(alike):
            raise UserError(f"{folder} holds a seed of one setting twice ({flags}); leave one of them")
    return [start, *runs.values()]


def as_typed(setting: Any) -> str:
    """What a user types for a setting of results.json: 0.1 for 0.1, 24 32 for [24, 32]."""
    if isinstance(setting, list):
        return " ".join(map(as_typed, setting))
    return f"{setting:g}" if isinstance(setting, float) else str(setting)


def what_changed(trials: Sequence[Results]) -> dict[str, list[Results]]:
    """The runs of each setting, by the flags in which they differ from the first run: "none" of its like."""
    start, groups = fixed(trials[0]), {}
    for run in trials:
        changed = {name: new for name, new in fixed(run).items() if new != start.get(name)}
        flags = " ".join(f"`{flag_name(name)} {as_typed(new)}`" for name, new in changed.items()) or "none"
        groups.setdefault(flags, []).append(run)
    return groups


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
    resolved = [Path(os.path.realpath(folder)).parts for folder in folders]
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


# ---- What runs say --------------------------------------------------------------------------------------


def value(run: Results, path: str) -> Any:
    """A metric by its path in results.json, as "teacher.test_errors"; "before" and "after" are short."""
    head, _, tail = path.partition(".")
    found: Any = run["student"][f"{head}_correction"] if head in ("before", "after") else run[head]
    for key in filter(None, tail.split(".")):
        found = found[int(key)] if isinstance(found, list) else found[key]
    return found


def omitted_by(runs: list[Results]) -> tuple[int, ...]:
    return tuple(runs[0]["config"]["omitted_class"])


def seeds(runs: list[Results]) -> str:
    """ "3 seeds", "seed 0"."""
    return f"{len(runs)} seeds" if len(runs) > 1 else f"seed {runs[0]['config']['seed']}"
