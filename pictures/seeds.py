"""Runs of other seeds, where they lie in viz/seeds: they show how much of a curve is chance."""

from __future__ import annotations

from support.checks import check_history, check_results, read_json
from support.data import VIZ
from support.experiment import Experiment
from support.report import RESULTS, Results
from support.settings import DECIDE_NOTHING

import json
from dataclasses import fields

from beyond.settings import Config

FREE = ("seed", "recipe", *DECIDE_NOTHING)


def other_seeds(experiment: Experiment) -> list[Results]:
    """results.json of runs with these settings and other seeds; what cannot be read is no such run."""
    config = experiment.config
    wanted, found = settings_of(config.plain()), []
    lengths = {kind: len(run.losses) for kind, run in experiment.runs.items()}
    for path in sorted((VIZ / "seeds" / config.recipe).glob(f"*/{RESULTS}")):
        try:
            run = read_json(path)
            check_results(run)
            same = settings_of(run["config"]) == wanted and run["data"]["sha256"] == experiment.data.sha256
            if same and run["config"]["seed"] != config.seed:
                check_history(run, lengths)
                found.append(run)
        except (OSError, ValueError):
            continue
    return found


def settings_of(plain: Results) -> Results:
    """All settings that decide a result but the seed; what a run does not name yet has its default."""
    defaults = {item.name: item.default for item in fields(Config)} | plain
    decisive = {name: value for name, value in defaults.items() if name not in FREE}
    return json.loads(json.dumps(decisive, sort_keys=True))


def seeds_in_words(runs: list[Results]) -> str:
    """ "thin lines: seeds 1, 2, 3, 4"."""
    seeds = sorted(run["config"]["seed"] for run in runs)
    return f"thin lines: seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
