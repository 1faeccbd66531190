"""What the studies run, and what their intervals say of the claims."""

from __future__ import annotations

from support import intervals
from support.console import Console, UserError
from support.settings import argument_parser, given_settings

import math
import re
from dataclasses import fields

import numpy as np
import pytest
from made_studies import group, runs_with_errors

from beyond.settings import Config
from runs.many import Progress
from runs.records import FALLS_BACK, flags_of
from studies import claims, measured, paths
from studies.__main__ import label_of
from studies.hard_mix import WEIGHTS
from studies.questions import STUDIES, plan
from studies.study import Run

# what is run


def test_the_grids_are_the_asked_ones():
    grids = {name: s.grid for name, s in STUDIES.items()}
    assert len(grids) == 22
    temperature = {(p["temperature"], p["student_hidden"], p["omitted_class"]) for p in grids["temperature"]}
    asked = [1, 2, 2.5, 3, 4, 6, 8, 12, 20, 50]
    assert temperature == {(t, (n, n), o) for t in asked for n in (800, 300, 30) for o in ((), (3,))}
    assert [p["omitted_class"] for p in grids["omitted-class"]] == [(c,) for c in range(10)]
    assert {len(p["omitted_class"]) for p in grids["several-omitted"]} >= {2, 3, 5, 8}
    sizes = [p["student_hidden"][0] for p in grids["student-size"]]
    assert (min(sizes), max(sizes)) == (5, 1200)
    assert {0.0, 1.0} <= {p["hard_weight"] for p in grids["hard-mix"]}
    assert {0.5, 0.2, 0.1, 0.05, 0.01} <= {p["transfer_fraction"] for p in grids["transfer-size"]}
    kinds = {"none": (), "shifts": ("jitter",), "affine": ("rotation", "scaling", "shear")}
    kinds |= {"elastic": ("elastic",), "all": ("jitter", "rotation", "scaling", "shear", "elastic")}
    asked = {((), ())}
    for names in kinds.values():
        asked |= {(names, ()), ((), names), (names, names)}
    on = [[name for name, limit in p.items() if limit] for p in grids["ingredients"]]
    found = [
        (
            tuple(name for name in names if not name.endswith("_student")),
            tuple(name.removesuffix("_student") for name in names if name.endswith("_student")),
        )
        for names in on
    ]
    assert set(found) == asked
    assert all(len(p) == 10 for p in grids["ingredients"])  # what is off is said to be off
    for grid in grids.values():
        assert all(grid.count(point) == 1 for point in grid)


def test_recipe_then_preset_then_flags_then_grid():
    planned = plan(["hard-mix", "paper"], {"temperature": 5.0, "hard_weight": 0.7, "seed": 4}, 2)
    configs = planned["hard-mix", 1]
    assert [config.seed for config in configs] == [4, 5]
    assert {config.hard_weight for config in configs} == {WEIGHTS[1]}  # the grid wins
    assert {config.temperature for config in configs} == {5.0}  # a flag
    assert {config.probe_size for config in configs} == {60_000}  # the preset
    assert {config.n_epochs_teacher for config in configs} == {4}  # the recipe, "fast"
    assert planned["paper", 0][0].n_epochs_teacher == 60
    assert plan(["hard-mix"], {"n_epochs_teacher": 2}, 1)["hard-mix", 0][0].n_epochs_teacher == 2
    assert plan(["hard-mix"], {"recipe": "best"}, 1)["hard-mix", 0][0].n_epochs_teacher == 60


def test_a_point_may_name_a_recipe_and_have_seeds_of_its_own():
    planned = plan(["handwriting"], {"seed": 4})
    names = list(STUDIES["handwriting"].points)
    of_best = planned["handwriting", names.index("recipe best")]
    assert [config.seed for config in of_best] == [4, 14, 24, 34, 44]
    assert of_best[0] == Config(recipe="best", seed=4)
    assert len(planned["handwriting", 0][0].omitted_class) == 1
    assert planned["handwriting", names.index("recipe no-digit")][0] == Config(recipe="no-digit", seed=4)
    assert [len(configs) for configs in plan(["paper"], {}).values()] == [10, 10, 10, 3, 3]
    with_seeds = plan(["handwriting"], {}, 2)
    assert {len(configs) for configs in with_seeds.values()} == {2}  # as asked for


def test_every_run_has_a_line_of_at_most_80_columns(capsys):
    for name, study in STUDIES.items():
        for point in study.points:
            Progress(10, 1.0, Console()).succeeded(label_of(name, point, 1234), "10000", 0.5)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) == 80
    assert all(re.search(r", seed 1234$", line) for line in lines)
    assert label_of("shares", "half", 3) == "shares, half, seed 3"


def test_flags_of_a_run_make_that_run_again():
    parser = argument_parser("", Config)
    configs = [config for group in plan(list(STUDIES), {}, 2).values() for config in group]
    for config in configs:
        given = given_settings(parser.parse_args(flags_of(config).split()), Config)
        assert Config(**given) == config


@pytest.mark.parametrize(
    "settings",
    [
        {"recipe": "best", "batch_size_student": None},
        {"recipe": "best", "learning_rate_student": None, "learning_rate": 0.01},
        {"recipe": "no-digit", "transfer_set": "digits", "probe_size": 60_000},
        {"recipe": "no-digit", "transfer_set": "digits"},
        {"recipe": "fast", "transfer_set": "blobs", "probe_size": 5000},
        {"recipe": "no-digit", "transfer_set": "noise"},
        {"recipe": "best", "omitted_class": (), "elastic": 0.0},
        {"recipe": "best", "omitted_class": (0, 1, 2, 4, 5, 6), "max_norm": 2.0, "temperature": 3},
    ],
    ids=str,
)
def test_flags_of_any_run_make_one_with_the_same_trainings_and_the_same_probe(settings):
    """A setting that falls back on another one may be said as that one's value."""
    config = Config(**settings)
    parser = argument_parser("", Config)
    found = Config(**given_settings(parser.parse_args(flags_of(config).split()), Config))
    for kind in ("teacher", "student"):
        assert found.training(kind) == config.training(kind)
    for item in fields(Config):
        if item.name not in FALLS_BACK:
            assert getattr(found, item.name) == getattr(config, item.name)


@pytest.mark.parametrize("name", ["student-size", "hard-mix", "transfer-size"])
def test_a_question_about_a_class_left_out_needs_one(name):
    with pytest.raises(UserError, match=f"--study {name}.*leave out at least one"):
        plan([name], {"omitted_class": ()}, 1)


# intervals, and what they say of the claims


def density(t: np.ndarray, df: int) -> np.ndarray:
    """Of Student's T."""
    scale = math.exp(math.lgamma((df + 1) / 2) - math.lgamma(df / 2)) / math.sqrt(df * math.pi)
    return scale * (1 + t**2 / df) ** (-(df + 1) / 2)


@pytest.mark.parametrize("df", [1, 2, 3, 4, 5, 9, 10, 30, 101])
def test_95_per_cent_of_students_t_lie_within_its_quantile(df):
    ts, step = np.linspace(0, intervals.t_quantile(df), 200_001, retstep=True)
    ys = density(ts, df)
    within = 2 * step * (ys.sum() - (ys[0] + ys[-1]) / 2)
    assert within == pytest.approx(0.95, abs=1e-9)


@pytest.mark.parametrize(
    ("errors", "shown", "words"),
    [
        ((60, 110, 110), "+26.3 (-67.0 to +169.8)", "not told apart"),
        ((72, 73, 74), "+6.0 (+1.0 to +11.0)", "more errors"),
        ((70, 72, 74), "+5.0 (-4.9 to +14.9)", "as many"),
        ((60, 61, 62), "-6.0 (-11.0 to -1.0)", "fewer errors"),
        ((70, 70, 70), "+3.0 (every seed)", "more errors"),
        ((67, 67), "+0.0 (every seed)", "as many"),
        ((60, 60, 77, 77), "+1.5 (-33.4 to +36.4)", "not told apart"),
        ((65, 66, 66), "-1.3 (-4.2 to +1.5)", "as many"),
        ((60,), "-7.0", "one seed, no interval"),
    ],
)
def test_a_claim_is_judged_by_the_interval_for_one_further_run(errors, shown, words):
    """Half of it is Student's t for n - 1, times the standard deviation, times the root of 1 + 1/n.

    It ends where a run would make 0 errors, and values that are all alike have none.
    """
    claim = claims.CLAIMS[0]
    assert claim.paper == 67
    row = claims.Row("1", "", "67", "", 3, claims.against_paper(runs_with_errors(*errors), claim), 16.0)
    row.p = row.difference.p  # as if there were no other row
    assert (str(row.difference), row.words) == (shown, words)
    if "errors" in words:
        row.p = 0.06
        assert row.words == f"{words}, but not by Holm"


@pytest.mark.parametrize(("errors", "expected"), [(67, 16.32), (4730, 99.85), (0, 0)])
def test_the_margin_is_twice_what_other_test_sets_would_change(errors, expected):
    assert claims.margin(errors, 10_000) == pytest.approx(expected, abs=0.01)


def test_p_values_are_those_of_students_t():
    values = [72.0, 73.0, 77.0]
    t = 74 / (math.sqrt(7) / math.sqrt(3))  # the density's tail, summed; df = 2
    ts = np.linspace(t, 2000, 2_000_001)
    tail = 2 * np.trapezoid(density(ts, 2), ts) + 2 * (0.5 - 2000 / (2 * math.sqrt(2000**2 + 2)))
    assert intervals.interval(values).p == pytest.approx(tail, rel=1e-4)
    wider = intervals.prediction(values)
    assert wider.half == pytest.approx(2 * intervals.interval(values).half)
    assert wider.p > intervals.interval(values).p
    assert intervals.interval([2.0, 2.0]).p == 0
    assert intervals.interval([0.0, 0.0]).p == 1
    assert math.isnan(intervals.interval([1.0]).p)


def test_holm_multiplies_the_smallest_p_most_and_never_falls():
    assert intervals.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert intervals.holm([0.5, 0.9]) == [1.0, 1.0]
    assert intervals.holm([]) == []


def test_our_own_settings_are_compared_seed_by_seed():
    first, second = {0: 100, 1: 300, 2: 201, 5: 7}, {0: 110, 1: 311, 2: 210, 4: 0}
    paired = measured.paired_difference(group(first), group(second), paths.ERRORS_BEFORE)
    assert paired.mean == pytest.approx(-10)  # of the three seeds that both have
    assert paired.half == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    assert measured.paired_difference(group({0: 1}), group({1: 1}), paths.ERRORS_BEFORE) is None
    assert measured.paired_difference([], [], paths.ERRORS_BEFORE) is None


def by_number(runs: list[Run], number: str) -> list[claims.Row]:
    return [row for row in claims.claim_rows(runs) if row.number == number]


@pytest.mark.parametrize(
    ("lower", "higher", "words"),
    [
        (300, 300, ["fewer errors", "fewer errors"]),
        (251, 300, ["as many", "fewer errors"]),
        (200, 251, ["more errors", "as many"]),
    ],
)
def test_claim_5_says_how_the_middle_differs_from_each_side(lower, higher, words):
    seeds = {0: 0, 1: 40, 2: -40}  # what seeds share does not count
    shake = {0: 2, 1: -1, 2: 0}

    def at(temperature: float, mean: int, own: dict[int, int]) -> list[Run]:
        errors = {seed: mean + e + own[seed] for seed, e in seeds.items()}
        return group(errors, student_hidden=(30, 30), temperature=temperature)

    still = dict.fromkeys(seeds, 0)
    runs = [*at(1, lower, shake), *at(2.5, 250, still), *at(4, 250, still), *at(20, higher, shake)]
    rows = by_number(runs, "5")
    assert [row.words for row in rows] == words
    assert "T = 2.5, 4 against T = 1" in rows[0].text
    assert "T = 2.5, 4 against T = 20" in rows[1].text


@pytest.mark.parametrize(("higher", "words"), [(82, "as many"), (100, "more errors")])
def test_claim_4_compares_what_lies_above_8_with_8(higher, words):
    def at(temperature: float, *errors: int) -> list[Run]:
        return group(dict(enumerate(errors)), student_hidden=(800, 800), temperature=temperature)

    runs = [*at(8, 76, 80, 84), *at(12, higher, higher, higher), *at(50, higher, higher - 4, higher)]
    (row,) = by_number(runs, "4")
    assert row.words == words
    assert "T = 12, 50 against T = 8" in row.text
