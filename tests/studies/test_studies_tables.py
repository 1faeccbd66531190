"""Every cell of the studies' tables against runs of which no two measured the same, some of them missing."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import numpy as np
import pytest
from made_further import FURTHER
from made_studies import T, rows
from small_studies import ROOT

from cifar10.tables import cifar10_table, in_points, unlabelled_table, unseen_class_table
from runs import folders
from studies import (
    answers,
    claims,
    contours,
    images,
    ingredients,
    label_weight,
    little,
    prior,
    sevens_and_eights,
    subliminal,
)
from studies.questions import STUDIES, plan
from studies.results import tables
from studies.study import Run

BEFORE, AFTER = "student.before_correction", "student.after_correction"
ALL, UNSEEN, SEEN = "test_accuracy", "omitted_accuracy", "other_accuracy"
CIFAR10 = ROOT / "viz" / "cifar10"


def record(rng: np.random.Generator) -> dict[str, Any]:
    """What a run measured: every number another one."""

    def metrics() -> dict[str, Any]:
        found = {name: float(rng.uniform(0.2, 0.95)) for name in (ALL, UNSEEN, SEEN)}
        return found | {name: int(rng.integers(50, 5000)) for name in ("test_errors", "omitted_errors")}

    best = {name: int(rng.integers(50, 5000)) for name in ("test_errors", "omitted_errors")}
    correction = {name: rng.uniform(0, 1, 10).tolist() for name in ("offsets", "target_frequencies")}
    return {
        "data": {"name": "MNIST", "n_train": 60_000, "n_test": 10_000},
        "teacher": metrics(),
        "student": {"before_correction": metrics(), "after_correction": metrics()},
        "bias_correction": correction | {"best_on_test_set": best},
        "transfer_set": {
            "teacher_mean_probabilities": rng.dirichlet(np.ones(10)).tolist(),
            "teacher_mean_largest": float(rng.uniform(0.3, 0.9)),
            "nearest_digit_cosine": float(rng.uniform(0.3, 0.9)),
        },
    }


def made(name: str) -> list[Run]:
    """Three of four seeds of each point, another three of the next one, in any order."""
    rng, runs = np.random.default_rng(5), []
    for (_, place), configs in plan([name], {}, 4).items():
        for config in configs:
            found = record(rng)
            if not config.is_drawn:
                del found["transfer_set"]
            if config.seed != (3 - place) % 4:
                if name in FURTHER:
                    found["further"] = FURTHER[name](rng, config)
                runs.append(Run(name, STUDIES[name].grid[place], config, found))
    random.Random(7).shuffle(runs)
    return runs


def by_seed(runs: list[Run], point: dict[str, Any], path: str) -> dict[int, float]:
    found = {}
    for run in runs:
        if run.settings == point:
            value: Any = run.record
            for key in path.split("."):
                value = value[int(key)] if isinstance(value, list) else value[key]
            found[run.config.seed] = value
    assert len(found) >= 2
    return found


def with_interval(
    values: list[float], digits: int, sign: str = "", further: bool = False, ends: tuple = (-np.inf, np.inf)
) -> str:
    """With the interval of the mean or, where one is asked for, that for one `further` value.

    It is cut off at `ends`.
    """
    mean, n = np.mean(values), len(values)
    if n == 1:
        return f"{mean:{sign}.{digits}f}"
    if len(set(values)) == 1:
        return f"{mean:{sign}.{digits}f} (every seed)"
    half = T[n] * np.std(values, ddof=1) * math.sqrt(further + 1 / n)
    low, high = np.clip((mean - half, mean + half), *ends)
    return f"{mean:{sign}.{digits}f} ({low:{sign}.{digits}f} to {high:{sign}.{digits}f})"


def with_sd(values: list[float], digits: int) -> str:
    return f"{np.mean(values):.{digits}f} ± {np.std(values, ddof=1):.{digits}f}"


class Cells:
    """What the cells of a table of these runs must be."""

    def __init__(self, runs: list[Run]) -> None:
        self.runs = runs

    def mean(self, point: dict[str, Any], path: str, scale: float = 100, digits: int = 2) -> str:
        values = [scale * v for v in by_seed(self.runs, point, path).values()]
        ends = (0, 100) if path.endswith("accuracy") else (-np.inf, np.inf)
        return with_interval(values, digits, ends=ends)

    def less(self, point: dict[str, Any], other: dict[str, Any], path: str, scale: float = 100) -> str:
        """The difference of the seeds that both have, and of no others."""
        ours, theirs = by_seed(self.runs, point, path), by_seed(self.runs, other, path)
        shared = [seed for seed in range(4) if seed in ours and seed in theirs]
        return with_interval([scale * (ours[seed] - theirs[seed]) for seed in shared], 1, "+")


def cells_of_answers(c: Cells) -> list[list[str]]:
    whole, path = answers.STUDY.grid[0], f"{AFTER}.{UNSEEN}"
    return [
        [c.mean(p, f"{BEFORE}.{UNSEEN}"), c.mean(p, path), c.mean(p, f"{AFTER}.{SEEN}"),
         "" if p is whole else c.less(p, whole, path)]
        for p in answers.STUDY.grid
    ]  # fmt: skip


def cells_of_images(c: Cells) -> list[list[str]]:
    paths = [f"{part}.{of}" for of in (UNSEEN, "other_accuracy") for part in (BEFORE, AFTER)]

    def cells(point: dict[str, Any]) -> list[str]:
        false = [list(by_seed(c.runs, point, f"further.{when}").values()) for when in ("before", "after")]
        return [*(c.mean(point, path) for path in paths), *(with_sd(counts, 0) for counts in false)]

    found = [[*cells(images.part(1.0, "random")), "", ""]]
    pairs = [(1 - share, "least-like") for share in (0.01, 0.05, 0.1, 0.25, 0.5)]
    for share, choice in (*pairs, *((share, "most-like") for share in (0.01, 0.05, 0.1))):
        at_random = images.part(share, "random")
        found.append([*cells(at_random), "", ""])
        for chosen in (images.part(share, choice), images.part(share, f"{choice}-within")):
            found.append([*cells(chosen), *(c.less(chosen, at_random, path) for path in paths[:2])])
    return found


def cells_of_little(c: Cells) -> list[list[str]]:
    found = []
    for point in little.STUDY.grid:
        found.append([c.mean(point, f"{part}.{ALL}") for part in (BEFORE, AFTER)] + [""] * 3)
        if "transfer_set" in point:
            p = by_seed(c.runs, point, "transfer_set.teacher_mean_probabilities").values()
            classes = np.mean([math.exp(-sum(q * math.log(q) for q in one)) for one in p])
            sure, near = (
                np.mean(list(by_seed(c.runs, point, f"transfer_set.{name}").values()))
                for name in ("teacher_mean_largest", "nearest_digit_cosine")
            )
            found[-1][2:] = [f"{classes:.1f}", f"{100 * sure:.0f}", f"{near:.2f}"]
    return found


def three_accuracies(points: list[dict[str, Any]], c: Cells) -> list[list[str]]:
    """Teacher, before, after, and after less that of the first point."""
    return [
        [*(c.mean(p, f"{part}.{ALL}") for part in ("teacher", BEFORE, AFTER)),
         "" if p is points[0] else c.less(p, points[0], f"{AFTER}.{ALL}")]
        for p in points
    ]  # fmt: skip


def cells_of_subliminal(c: Cells) -> list[list[str]]:
    found, path = [], f"{BEFORE}.{ALL}"
    for n, width in ((2, 256), (3, 256), (10, 256), (30, 256), (0, 256), (3, 64), (3, 1024)):
        copy, own = (subliminal.spare(n, width, start) for start in ("teacher", "own"))
        cells = [c.mean(copy, f"teacher.{ALL}"), c.mean(copy, path), c.mean(own, path)]
        found.append([*cells, c.less(copy, own, path)])
    return found


def cells_of_prior(c: Cells) -> list[list[str]]:
    probes = [{"probe": "training"}, *({"probe_share": share} for share in (0.01, 0.1, 0.3))]
    found = []
    for way in (prior.NONE, *prior.WAYS):
        cells = []
        for probe in probes:
            known, em = ({"omitted_class": (3,), **probe, "prior": of} for of in ("known", "em"))
            further = by_seed(c.runs, known, "further")
            after = by_seed(c.runs, em, "student.after_correction")
            share = by_seed(c.runs, em, "bias_correction.target_frequencies.0")
            said, errors = [], []
            for seed in further:
                if seed not in after:
                    continue
                one = further[seed]["ways"].get(way) or {
                    "share": share[seed],
                    "on_omitted": after[seed]["omitted_errors"],
                    "on_others": after[seed]["test_errors"] - after[seed]["omitted_errors"],
                }
                truth, n = further[seed]["ways"][prior.TRUTH]["share"], further[seed]["n_omitted"]
                of_both = truth * one["on_omitted"] / n, (1 - truth) * one["on_others"] / (10_000 - n)
                errors.append(10_000 * sum(of_both))
                said.append(100 * (one["share"] or 0))
            cells += ["" if way == prior.NONE else with_sd(said, 1), with_sd(errors, 0)]
        found.append(cells)
    return found


BEYOND = {
    "answers": cells_of_answers, "images": cells_of_images, "little": cells_of_little,
    "contours": lambda c: three_accuracies(contours.STUDY.grid, c), "subliminal": cells_of_subliminal,
    "sevens-and-eights": lambda c: three_accuracies(sevens_and_eights.STUDY.grid, c), "prior": cells_of_prior,
}  # fmt: skip


@pytest.mark.parametrize("name", BEYOND)
def test_every_cell_beyond_the_paper(name):
    """Means over the seeds that are there, differences over those that both sides have."""
    runs = made(name)
    expected = BEYOND[name](Cells(runs))
    found = rows(tables(runs)[name])[1:]
    assert [row[-len(expected[0]) :] for row in found] == expected


@pytest.mark.parametrize("name", ["temperature", "several-omitted", "student-size", "hard-mix"])
def test_every_cell_of_a_study_s_table(name):
    """In per cent: before and after the correction, of the seen and of the unseen classes, and of all."""
    runs = made(name)
    paths = [f"{part}.{classes}" for part in (BEFORE, AFTER) for classes in (SEEN, UNSEEN)]
    expected = [
        [
            with_sd([100 * v for v in by_seed(runs, point, path).values()], 2)
            for path in (*paths, f"{AFTER}.{ALL}")
        ]
        for point in STUDIES[name].grid
    ]
    assert [row[1:] for row in rows(tables(runs)[name])[1:]] == expected


def test_every_cell_of_the_weights_of_labels():
    runs = made("label-weight")
    grid, expected = STUDIES["label-weight"].grid, []
    for weight in (0.0, 0.1, 0.5, 0.8, 0.9, 0.97):
        mine = [point for point in grid if point["hard_weight"] == weight]
        no_3s, only = sorted(mine, key=lambda point: len(point["omitted_class"]))
        asked = [(no_3s, f"{BEFORE}.test_errors"), (no_3s, f"{BEFORE}.omitted_errors")]
        asked += [(no_3s, f"{AFTER}.test_errors"), (only, f"{BEFORE}.test_errors")]
        asked += [(only, f"{AFTER}.test_errors")]
        cells = [with_sd(list(by_seed(runs, point, path).values()), 1) for point, path in asked]
        expected.append([f"{weight:g}", *cells])
    assert rows(tables(runs)["label-weight"])[1:] == [
        *expected,
        ["the paper", "206", "133", "109", "4730", "1320"],
    ]


def test_where_the_paper_lies_is_between_the_weights_that_surround_it():
    runs = made("label-weight")
    errors = dict(zip(label_weight.WEIGHTS, (100, 150, 205, 206, 300, 400), strict=True))
    for run in runs:
        run.record["student"]["before_correction"]["test_errors"] = errors[run.config.hard_weight]
    path = "before.test_errors"
    assert label_weight.where_the_paper_lies(runs, "without 3", path) == "between weights of 0.8 and 0.9"
    said = label_weight.where_the_paper_lies(runs, "only 7s and 8s", path)
    assert said == "beyond 0.97, where ours makes 400"


def test_every_cell_of_the_ingredients():
    """The gain is over the seeds that the runs with all and those with nothing share."""
    runs = made("ingredients")
    c, expected = Cells(runs), []
    plain = ingredients.point("none", "both")
    for kind in ("none", "shifts", "affine", "elastic", "all"):
        points = [ingredients.point(kind, whose) for whose in ingredients.WHOSE]
        points = [plain] * 3 if kind == "none" else points
        cells = [with_sd(list(by_seed(runs, points[2], "teacher.test_errors").values()), 1)]
        for point in points:
            cells.append(with_sd(list(by_seed(runs, point, f"{AFTER}.test_errors").values()), 1))
        cells.append(with_sd(list(by_seed(runs, points[2], f"{AFTER}.omitted_errors").values()), 1))
        gain = "" if kind == "none" else c.less(points[2], plain, f"{AFTER}.test_errors", 1)
        expected.append([kind, *cells, gain])
    assert rows(tables(runs)["ingredients"])[1:] == expected


def test_claims_are_our_figures_and_comparisons_pair_the_seeds_that_both_have():
    runs = made("paper")
    found = rows(tables(runs)["paper"])[1:]
    best, seven_and_eight = "bias_correction.best_on_test_set", tuple(c for c in range(10) if c not in (7, 8))
    ours = [  # claim, what the student does not see, the weight of hard labels, what is counted
        ("1", (), 0, "teacher.test_errors"),
        ("2", (), 1, f"{BEFORE}.test_errors"),
        ("3", (), 0.1, f"{BEFORE}.test_errors"),
        ("3", (), 0, f"{BEFORE}.test_errors"),
        *(("6", (3,), 0, f"{BEFORE}.{part}_errors") for part in ("test", "omitted")),
        *(("7", (3,), 0, f"{of}.{part}_errors") for of in (best, AFTER) for part in ("test", "omitted")),
        ("8", seven_and_eight, 0, f"{BEFORE}.test_errors"),
        *(("9", seven_and_eight, 0, f"{of}.test_errors") for of in (best, AFTER)),
    ]
    asked = [claim for claim in claims.CLAIMS if claim.study == "paper"]
    for claim, (number, omitted, weight, path) in zip(asked, ours, strict=True):
        (point,) = (
            p for p in STUDIES["paper"].grid
            if (p["omitted_class"], p["hard_weight"]) == (omitted, weight)
        )  # fmt: skip
        values = list(by_seed(runs, point, path).values())
        no_errors = (-claim.paper, np.inf)
        difference = with_interval([v - claim.paper for v in values], 1, "+", True, no_errors)
        wanted = [number, claim.text, f"{claim.paper:g}", with_sd(values, 1), str(len(values)), difference]
        assert wanted in [row[:6] for row in found]
    hard, soft, mixed = (
        next(p for p in STUDIES["paper"].grid if one.items() <= p.items())
        for one in (claims.HARD_ALL, claims.SOFT_ALL, claims.MIXED_ALL)
    )
    for text, point in (("soft targets and hard labels", mixed), ("soft targets alone", soft)):
        path = f"{BEFORE}.test_errors"
        (row,) = (row for row in found if row[1] == f"{text} against hard labels")
        ours, theirs = (np.mean(list(by_seed(runs, p, path).values())) for p in (point, hard))
        seeds = by_seed(runs, point, path).keys() & by_seed(runs, hard, path).keys()
        less = Cells(runs).less(point, hard, path, 1)
        assert row[3:6] == [f"{ours:.1f} against {theirs:.1f}", str(len(seeds)), less]


# CIFAR-10


def cifar10_runs(rng: np.random.Generator, *names: str) -> list[dict[str, Any]]:
    """A committed run of which these accuracies and all times are other ones in each of three seeds."""
    found = []
    for seed in range(3):
        run = json.loads((CIFAR10 / "seeds" / "0" / "results.json").read_text())
        run["config"]["seed"] = seed
        for network in run["networks"].values():
            network["test_accuracy_8_bits"] = float(rng.uniform(0.2, 0.9))
            network["milliseconds_alone"] = float(rng.uniform(1, 9))
            network["milliseconds_per_image"] = float(rng.uniform(0.1, 0.9))
        for part in (run["teacher"], run["baseline"], *run["student"].values()):
            part.update({name: float(rng.uniform(0.2, 0.9)) for name in names})
        found.append(run)
    return found


def test_every_cell_of_the_table_of_cifar10():
    """Accuracies as means, of times the least; the gain is of each run's own two students."""
    runs = cifar10_runs(np.random.default_rng(1), ALL)
    expected = []
    for kind, path in (("teacher", ["teacher"]), ("student", BEFORE.split(".")), ("baseline", ["baseline"])):
        reached, networks = [], [run["networks"][kind] for run in runs]
        for run in runs:
            part = run
            for key in path:
                part = part[key]
            reached.append(100 * part[ALL])
        one = networks[0]
        expected.append([
            f"{with_sd(reached, 2)} %",
            f"{with_sd([100 * n['test_accuracy_8_bits'] for n in networks], 2)} %",
            f"{one['parameters']:,}", f"{one['multiply_adds'] / 1e6:.1f}",
            f"{one['bytes'] / 1000:,.0f} / {one['bytes_8_bits'] / 1000:,.0f}",
            f"{min(n['milliseconds_alone'] for n in networks):.2f}",
            f"{min(n['milliseconds_per_image'] for n in networks):.2f}",
        ])  # fmt: skip
    table, _, gain = cifar10_table(runs).partition("\n\n")
    assert [row[1:] for row in rows(table)[1:]] == expected
    ahead = [100 * (run["student"]["before_correction"][ALL] - run["baseline"][ALL]) for run in runs]
    mean, half = np.mean(ahead), T[3] * np.std(ahead, ddof=1) / math.sqrt(3)
    assert gain == (
        f"soft targets gain {mean:+.2f} points (95 % interval {mean - half:+.2f} to {mean + half:+.2f}, "
        "paired by seed)"
    )
    assert in_points([1.25]) == "+1.25 points (one seed, no interval)"


def test_every_cell_of_the_table_of_an_unseen_class():
    runs = cifar10_runs(np.random.default_rng(2), ALL, UNSEEN, SEEN)
    for run in runs:
        run["config"]["omitted_class"] = [3]
    parts = [
        [run["teacher"] for run in runs],
        [run["baseline"] for run in runs],
        *([run["student"][f"{when}_correction"] for run in runs] for when in ("before", "after")),
    ]
    assert [row[1:] for row in rows(unseen_class_table(runs))[1:]] == [
        [f"{with_sd([100 * one[name] for one in part], 1)} %" for name in (ALL, UNSEEN, SEEN)]
        for part in parts
    ]


def test_leads_are_paired_by_seed_in_whatever_order_runs_come(tmp_path, monkeypatch):
    """As `load` gives them: folders whose names are in another order than their seeds."""
    monkeypatch.setattr(folders, "check_results", lambda run: None)
    rng = np.random.default_rng(3)
    groups = []
    for name, share in (("all", 1.0), ("part", 0.1)):
        for place, run in zip("cab", cifar10_runs(rng, ALL), strict=True):
            run["config"] |= {"label_fraction": 0.1, "transfer_fraction": share}
            folder = tmp_path / name / (place if share == 1 else "abc"[run["config"]["seed"]])
            folder.mkdir(parents=True)
            (folder / "results.json").write_text(json.dumps(run))
        groups.append((tmp_path / name, folders.load(tmp_path / name)))
    of_all, of_part = (
        sorted(
            (json.loads(p.read_text()) for p in folder.glob("*/results.json")),
            key=lambda run: run["config"]["seed"],
        )
        for folder, _ in groups
    )
    best = [100 * run["student"]["before_correction"][ALL] for run in of_all]
    reached = [
        [100 * run["teacher"][ALL] for run in of_all],
        [100 * run["baseline"][ALL] for run in of_part],
        [100 * run["student"]["before_correction"][ALL] for run in of_part],
    ]
    expected = []
    for mine in reached:
        ahead = np.array(best) - mine
        half = T[3] * ahead.std(ddof=1) / math.sqrt(3)
        expected.append([f"{with_sd(mine, 2)} %", f"{ahead.mean():+.2f} ± {half:.2f}"])
    expected.append([f"{with_sd(best, 2)} %", ""])
    assert [row[2:] for row in rows(unlabelled_table(*(runs for _, runs in groups)))[1:]] == expected
