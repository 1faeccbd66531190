"""Tables of the studies where seeds are missing: each cell by hand, differences by seed, not by place."""

from __future__ import annotations

from support.console import Console

import json
import math

import numpy as np
import pytest
from shaken import RESULTS, committed_runs, shaken_runs

from studies import (
    answers,
    claims,
    contours,
    images,
    ingredients,
    little,
    prior,
    results,
    sevens_and_eights,
    subliminal,
)
from studies.questions import STUDIES
from studies.results import tables
from studies.study import Run

T = {2: 12.706205, 3: 4.302653, 4: 3.182446, 5: 2.776445}  # 95 % of Student's t, by the number of values
NO_3S = {"omitted_class": (3,)}
UNSEEN, SEEN, ALL = "omitted_accuracy", "other_accuracy", "test_accuracy"


@pytest.fixture(scope="module")
def whole() -> list[Run]:
    return shaken_runs(committed_runs())


def without(runs: list[Run], study: str, *gone: tuple[dict, int]) -> list[Run]:
    """All runs but those of a study's points and seeds."""
    kept = [r for r in runs if not (r.study == study and (r.settings, r.config.seed) in gone)]
    assert len(kept) == len(runs) - len(gone)
    return kept


def by_seed(runs: list[Run], study: str, point: dict, *path: str) -> dict[int, float]:
    """A metric of the runs of a point, by their seed."""
    found = {}
    for run in runs:
        if run.study == study and run.settings == point:
            value = run.record
            for key in path:
                value = value[key]
            found[run.config.seed] = value
    return found


def mean_95(values, digits: int, sign: str = "") -> str:
    """ "1.23 (1.10 to 1.36)" """
    values = np.array(list(values), float)
    mean = values.mean()
    if len(values) == 1:
        return f"{mean:{sign}.{digits}f}"
    half = T[len(values)] * values.std(ddof=1) / math.sqrt(len(values))
    return f"{mean:{sign}.{digits}f} ({mean - half:{sign}.{digits}f} to {mean + half:{sign}.{digits}f})"


def mean_sd(values, digits: int = 1) -> str:
    values = np.array(list(values), float)
    return f"{values.mean():.{digits}f} ± {values.std(ddof=1):.{digits}f}"


def difference(first: dict[int, float], second: dict[int, float], scale: float = 1) -> str:
    """The mean of what `first` has more, over the seeds that both have."""
    return mean_95([scale * (first[seed] - second[seed]) for seed in sorted(first.keys() & second)], 1, "+")


def rows(table: str) -> list[list[str]]:
    """The cells of the body."""
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in table.splitlines()[2:]]


class Of:
    """What the cells of a study's table should be, from its runs."""

    def __init__(self, runs: list[Run], study: str) -> None:
        self.runs, self.study = runs, study

    def student(self, point: dict, part: str, key: str) -> dict[int, float]:
        return by_seed(self.runs, self.study, point, "student", f"{part}_correction", key)

    def percent(self, point: dict, part: str, key: str) -> str:
        return mean_95([100 * v for v in self.student(point, part, key).values()], 2)

    def teacher(self, point: dict) -> str:
        found = by_seed(self.runs, self.study, point, "teacher", ALL)
        return mean_95([100 * v for v in found.values()], 2)

    def less(self, first: dict, second: dict, part: str, key: str) -> str:
        return difference(*(self.student(point, part, key) for point in (first, second)), 100)


def test_answers_less_everything_are_paired_by_seed(whole):
    """The base has lost its first seed, another row its third, so that no place means the same seed."""
    grid = answers.STUDY.grid
    of = Of(without(whole, "answers", (grid[0], 0), (grid[1], 2)), "answers")
    found = rows(tables(of.runs)["answers"])
    for row, point in zip(found, grid, strict=True):
        shown = [of.percent(point, *w) for w in (("before", UNSEEN), ("after", UNSEEN), ("after", SEEN))]
        less = "" if point == grid[0] else of.less(point, grid[0], "after", UNSEEN)
        assert row[1:] == [*shown, less]
    assert len(of.student(grid[0], "after", UNSEEN)) == 4


def test_images_less_random_are_paired_by_seed(whole):
    chosen, random = images.part(0.95, "least-like"), images.part(0.95, "random")
    kept, kept_random = images.part(0.01, "most-like"), images.part(0.01, "random")
    gone = ((chosen, 0), (random, 4), (kept, 1), (kept, 2), (kept_random, 0))
    of = Of(without(whole, "images", *gone), "images")
    found = rows(tables(of.runs)["images"])
    assert (
        found[0][2:]
        == [of.percent(images.STUDY.grid[0], part, UNSEEN) for part in ("before", "after")] + [""] * 2
    )
    pairs = [(images.part(1 - s, "random"), images.part(1 - s, "least-like")) for s in images.DROPPED]
    pairs += [(images.part(s, "random"), images.part(s, "most-like")) for s in images.KEPT]
    for place, (at_random, by_choice) in enumerate(pairs):
        for row, point in zip(found[1 + 2 * place : 3 + 2 * place], (at_random, by_choice), strict=True):
            assert row[2:4] == [of.percent(point, part, UNSEEN) for part in ("before", "after")]
            less = [of.less(point, at_random, part, UNSEEN) for part in ("before", "after")]
            assert row[4:] == (["", ""] if point is at_random else less)


def test_contours_less_the_usual_ones_are_paired_by_seed(whole):
    grid = contours.STUDY.grid
    of = Of(without(whole, "contours", (grid[0], 1), (grid[2], 0), (grid[5], 4)), "contours")
    for row, point in zip(rows(tables(of.runs)["contours"]), grid, strict=True):
        less = "" if point == grid[0] else of.less(point, grid[0], "after", ALL)
        shown = [of.percent(point, part, ALL) for part in ("before", "after")]
        assert row[1:] == [of.teacher(point), *shown, less]


def test_starts_are_compared_by_seed(whole):
    copy, own = (subliminal.spare(3, 256, start) for start in ("teacher", "own"))
    of = Of(without(whole, "subliminal", (copy, 0), (own, 3)), "subliminal")
    found = rows(tables(of.runs)["subliminal"])
    points = [point for point in subliminal.STUDY.grid if point["student_start"] == "teacher"]
    for row, point in zip(found, points, strict=True):
        other = point | {"student_start": "own"}
        assert row[2:5] == [of.teacher(point), *(of.percent(p, "before", ALL) for p in (point, other))]
        assert row[5] == of.less(point, other, "before", ALL)


def test_sevens_and_eights_less_fast_are_paired_by_seed(whole):
    grid = sevens_and_eights.STUDY.grid
    of = Of(without(whole, "sevens-and-eights", (grid[0], 2), (grid[3], 0)), "sevens-and-eights")
    for row, point in zip(rows(tables(of.runs)["sevens-and-eights"]), grid, strict=True):
        less = "" if point == grid[0] else of.less(point, grid[0], "after", ALL)
        shown = [of.percent(point, part, ALL) for part in ("before", "after")]
        assert row[1:] == [of.teacher(point), *shown, less]


def test_little_has_a_row_of_means_for_each_point(whole):
    of = Of(without(whole, "little", (little.STUDY.grid[0], 0), (little.STUDY.grid[-1], 4)), "little")
    for row, point in zip(rows(tables(of.runs)["little"]), little.STUDY.grid, strict=True):
        assert row[1:3] == [of.percent(point, part, ALL) for part in ("before", "after")]
        drawn = [r.record["transfer_set"] for r in of.runs
                 if (r.study, r.settings) == ("little", point) and "transfer_set" in r.record]  # fmt: skip
        if not drawn:
            assert row[3:] == ["", "", ""]
            continue
        answers = np.array([one["teacher_mean_probabilities"] for one in drawn])
        classes = np.exp(-(answers * np.log(answers)).sum(axis=1)).mean()
        sure, near = (
            np.mean([one[key] for one in drawn]) for key in ("teacher_mean_largest", "nearest_digit_cosine")
        )
        assert row[3:] == [f"{classes:.1f}", f"{100 * sure:.0f}", f"{near:.2f}"]


def test_prior_has_both_sides_of_each_probe(whole):
    known, em = (NO_3S | {"probe_size": 5000, "prior": prior} for prior in ("known", "em"))
    of = Of(without(whole, "prior", (known, 0), (em, 4)), "prior")
    for row, probe in zip(rows(tables(of.runs)["prior"]), list(prior.PROBES.values()), strict=True):
        points = [NO_3S | probe | {"prior": prior} for prior in ("known", "em")]
        said = by_seed(of.runs, "prior", points[1], "bias_correction", "target_frequencies", 0)
        cells = [mean_95([100 * v for v in said.values()], 2)]
        for point in points:
            offsets = by_seed(of.runs, "prior", point, "bias_correction", "offsets", 0)
            cells += [mean_95(offsets.values(), 2)]
            cells += [mean_95(of.student(point, "after", "test_errors").values(), 1)]
        assert row[1:] == cells


def test_ingredients_gain_by_seed(whole):
    plain, both = ingredients.point("none", "both"), ingredients.point("elastic", "both")
    of = Of(without(whole, "ingredients", (plain, 0), (both, 2)), "ingredients")
    found = rows(tables(of.runs)["ingredients"])
    for row, kind in zip(found, ("none", "shifts", "affine", "elastic", "all"), strict=True):
        points = [ingredients.point(kind, "both" if kind == "none" else whose) for whose in ingredients.WHOSE]
        own = [of.student(point, "after", "test_errors") for point in points]
        teacher = by_seed(of.runs, "ingredients", points[2], "teacher", "test_errors")
        on_3s = of.student(points[2], "after", "omitted_errors")
        cells = [teacher, *own, on_3s]
        assert row == [
            kind, *(mean_sd(cell.values()) for cell in cells),
            "" if kind == "none" else difference(own[2], of.student(plain, "after", "test_errors")),
        ]  # fmt: skip


def test_without_a_seed_in_common_there_is_no_difference(whole):
    plain, both = ingredients.point("none", "both"), ingredients.point("elastic", "both")
    kept = without(whole, "ingredients", (plain, 0), (plain, 1), (both, 2))
    (row,) = (row for row in rows(tables(kept)["ingredients"]) if row[0] == "elastic")
    assert row[-1] == ""
    assert len(row[3].split()) == 3
    copy, own = (subliminal.spare(3, 256, start) for start in ("teacher", "own"))
    kept = without(whole, "subliminal", *((copy, s) for s in (0, 1)), *((own, s) for s in (2, 3, 4)))
    assert rows(tables(kept)["subliminal"])[1][-1] == ""


@pytest.mark.parametrize("study", ["temperature", "hard-mix", "student-size", "omitted-class"])
def test_tables_of_accuracies_have_mean_and_spread_of_the_seeds_there_are(study, whole):
    grid = STUDIES[study].grid
    of = Of(without(whole, study, (grid[0], 1), (grid[-1], 2)), study)
    columns = (("before", SEEN), ("before", UNSEEN), ("after", SEEN), ("after", UNSEEN), ("after", ALL))
    for row, point in zip(rows(tables(of.runs)[study]), grid, strict=True):
        for cell, (part, key) in zip(row[1:], columns, strict=True):
            measured = [v for v in of.student(point, part, key).values() if v is not None]
            assert cell == (mean_sd([100 * v for v in measured], 2) if measured else "-")


# ---- The paper's claims ------------------------------------------------------------------------------------


def claimed(runs: list[Run], start: str) -> list[str]:
    (row,) = (row for row in rows(tables(runs)["paper"]) if row[1].startswith(start))
    return row


def test_soft_targets_and_hard_labels_are_compared_by_seed(whole):
    soft, hard = claims.SOFT_ALL, claims.HARD_ALL
    of = Of(without(whole, "paper", (soft, 0), (hard, 2)), "paper")
    ours, theirs = (of.student(point, "before", "test_errors") for point in (soft, hard))
    row = claimed(of.runs, "soft targets alone against hard labels")
    assert row[3] == f"{np.mean(list(ours.values())):.1f} against {np.mean(list(theirs.values())):.1f}"
    assert row[4] == difference(ours, theirs)
    own = claimed(of.runs, "the same, soft targets alone")
    assert own[2:5] == ["74", mean_sd(ours.values()), mean_95([v - 74 for v in ours.values()], 1, "+")]


def test_a_seed_without_one_of_the_temperatures_is_not_compared(whole):
    """Its mean would be of other temperatures than the other seeds' means."""

    def point(t: float) -> dict:
        return next(r.settings for r in whole if r.study == "temperature" and not r.config.omitted_class
                    and r.config.temperature == t and r.config.student_hidden == (30, 30))  # fmt: skip

    of = Of(without(whole, "temperature", (point(3.0), 1)), "temperature")
    middle, lower = (
        {
            seed: np.mean([of.student(point(t), "before", "test_errors")[seed] for t in temperatures])
            for seed in seeds
        }
        for temperatures, seeds in (((2.5, 3.0, 4.0), (0, 2)), ((1.0, 2.0), (0, 1, 2)))
    )
    row = claimed(of.runs, "30 units: T = 2.5, 3, 4 against T = 1, 2")
    assert row[3] == f"{np.mean(list(middle.values())):.1f} against {np.mean(list(lower.values())):.1f}"
    assert row[4] == difference(middle, lower)
    every = [(point(t), seed) for t, seed in ((2.5, 0), (3.0, 1), (4.0, 2))]
    none = tables(without(whole, "temperature", *every))["paper"]
    assert "30 units" not in none  # no seed has all of them
    assert "300 units" in none


# ---- Drawn again -------------------------------------------------------------------------------------------


def test_redrawn_without_the_last_seed_of_a_point_all_else_stays(tmp_path, monkeypatch, capsys):
    """Tables are made from the runs that are there, whatever results.json said before."""
    found = json.loads(RESULTS.read_text())
    grid = answers.STUDY.grid
    gone = [one for one in found["runs"] if one["study"] == "answers" and one["seed"] == 4
            and results.tuples(one["grid"]) == grid[1]]  # fmt: skip
    assert len(gone) == 1
    before = dict(found["tables"])
    found["runs"] = [one for one in found["runs"] if one is not gone[0]]
    path = tmp_path / "results.json"
    path.write_text(json.dumps(found))
    pictures = {}
    monkeypatch.setattr(results, "save", lambda figure, to, console: pictures.update({to.name: figure}))
    results.redraw(tmp_path, Console())
    shown, after = capsys.readouterr().out, json.loads(path.read_text())
    assert after["runs"] == found["runs"]
    assert {name for name in before if after["tables"][name] != before[name]} == {"answers"}
    of = Of(results.read(path)[1], "answers")
    row = rows(after["tables"]["answers"])[1]
    assert row[1:3] == [of.percent(grid[1], part, UNSEEN) for part in ("before", "after")]
    assert row[4] == of.less(grid[1], grid[0], "after", UNSEEN)
    assert after["tables"]["answers"] in shown
    assert set(pictures) == {study.picture for study in STUDIES.values()}
