"""results.json of the studies: written, read back, merged, and refused."""

from __future__ import annotations

from support.console import Console, UserError

import copy
import json
import re

import pytest
from made_studies import RESULTS
from small_studies import make

import distillation_mnist_omitted_3 as core
from beyond.settings import Config
from studies import ingredients, results
from studies.questions import STUDIES, plan
from studies.results import tables
from studies.study import Run


def test_every_point_of_a_study_has_a_name_of_its_own():
    for one in STUDIES.values():
        assert all(one.points)
        assert len({str(settings) for settings in one.grid}) == len(one.points), one.name
    point = ingredients.point("elastic", "the student alone")
    assert ingredients.POINTS["elastic, the student alone"] == point
    assert ingredients.POINTS["none, both"] == ingredients.point("none", "both")


def test_a_picture_is_drawn_anew_when_a_study_beside_it_was_run(shaken, tmp_path, monkeypatch):
    runs, drawn = shaken(["paper", "transformed", "hard-mix"], n_seeds=1), []
    monkeypatch.setattr(results, "save", lambda figure, path, console: drawn.append(path.name))
    results.draw(tmp_path, runs, ["transformed"], Console(quiet=True))
    assert drawn == ["paper.png", "transformed.png"]
    drawn.clear()
    results.draw(
        tmp_path, [run for run in runs if run.study != "paper"], ["transformed"], Console(quiet=True)
    )
    assert drawn == ["transformed.png"]
    drawn.clear()
    results.draw(tmp_path, runs, ["hard-mix"], Console(quiet=True))
    assert drawn == ["hard_mix.png"]


def test_the_committed_tables_follow_from_the_committed_runs(committed):
    found = json.loads(RESULTS.read_text())
    made = tables(committed)
    assert made == found["tables"]
    assert list(made) == list(STUDIES)
    numbers = re.findall(r"^\| (\d) \|", made["paper"], re.M)
    assert list(dict.fromkeys(numbers)) == list("123456789")
    assert not found["failed"]
    assert found["data"]["sha256"] == core.MNIST_SHA256
    for name, s in STUDIES.items():
        assert (RESULTS.parent / s.picture).read_bytes().startswith(b"\x89PNG")
        for called, point in s.points.items():
            seeds = [run.config.seed for run in committed if run.study == name and run.settings == point]
            n = s.seeds_of.get(called, s.n_seeds)
            assert sorted(seeds) == list(range(0, n * s.apart, s.apart)), (name, called)
    rows = {line.split(" | ")[1]: line for line in found["tables"]["paper"].splitlines()}
    words = rows["transfer set of 7s and 8s only"].split(" | ")[-1]
    assert re.fullmatch(r"fewer errors(, but not by Holm)?: a discrepancy .*, not a reproduction \|", words)
    assert sum("discrepancy" in row for row in rows.values()) == 1


# results.json, read back


@pytest.fixture(scope="module")
def small_results(small_data, tmp_path_factory) -> dict:
    """Four runs of the study hard-mix."""
    planned = plan(["hard-mix"], {"teacher_hidden": (20,), "student_hidden": (10,)}, 2)
    configs = [config for (_, place), group in planned.items() if place < 2 for config in group]
    cache = tmp_path_factory.mktemp("cache")
    here = {Config(**{**vars(config), "cache_dir": cache}): config for config in configs}
    found, _ = make(list(here), small_data)
    runs = [
        Run("hard-mix", {"hard_weight": config.hard_weight}, config, found[with_cache])
        for with_cache, config in here.items()
    ]
    return results.content(runs, {})


def test_results_are_read_back_as_they_were_written(small_results, tmp_path):
    path = tmp_path / "results.json"
    path.write_text(json.dumps(small_results))
    found, runs = results.read(path)
    assert found == small_results
    found_points = [(run.config.seed, run.config.hard_weight) for run in runs]
    assert found_points == [(0, 0.0), (1, 0.0), (0, 0.1), (1, 0.1)]
    for run, entry in zip(runs, small_results["runs"], strict=True):
        assert run.value("before.test_errors") == entry["student"]["before_correction"]["test_errors"]


def altered(**changes):
    """The results with other values in their first run."""

    def alter(found: dict) -> str:
        found = copy.deepcopy(found)
        for path, value in changes.items():
            part = found["runs"][0]
            *way, last = path.split("__")
            for key in way:
                part = part[key]
            part[last] = value
        return json.dumps(found)

    return alter


@pytest.mark.parametrize(
    "alter",
    [
        lambda found: "",
        lambda found: "{",
        lambda found: "{}",
        lambda found: "[]",
        lambda found: "[" * 100_000,
        lambda found: json.dumps({**found, "runs": []}),
        lambda found: json.dumps({**found, "runs": {}}),
        lambda found: json.dumps({**found, "runs": [[]]}),
        lambda found: json.dumps({**found, "data": None}),
        lambda found: json.dumps({k: v for k, v in found.items() if k != "failed"}),
        altered(study="everything"),
        altered(grid={"hard_weight": 0.3}),
        altered(grid={"hard_weight": 0.1}),
        altered(flags="--temperature hot"),
        altered(flags="--temperature -1"),
        altered(flags="--help"),
        altered(flags=7),
        altered(seed=1),
        altered(seed="\x1b[2J"),
        altered(teacher__test_accuracy=float("nan")),
        altered(teacher__test_errors=301),
        lambda found: json.dumps({**found, "runs": [*found["runs"], found["runs"][0]]}),
        altered(student__after_correction=None),
        altered(bias_correction__offsets=[1.0, 2.0]),
    ],
)
def test_results_that_are_none_are_refused_in_one_line(alter, small_results, tmp_path):
    path = tmp_path / "results.json"
    path.write_text(alter(small_results))
    with pytest.raises(UserError) as refusal:
        results.read(path)
    assert str(path) in str(refusal.value)
    assert str(refusal.value).isprintable()


def test_merging_keeps_what_was_not_asked_for_anew(small_results):
    grid = STUDIES["temperature"].grid
    others = [
        {**one, "study": "temperature", "grid": point}
        for one, point in zip(small_results["runs"], grid, strict=False)
    ]
    asked, unasked = Config(seed=1), Config(seed=2)
    failed = [{"config": json.loads(json.dumps(c.plain())), "reason": "?"} for c in (asked, unasked)]
    before = {**small_results, "runs": others + small_results["runs"][:1], "failed": failed}
    found = results.merged(small_results, before, [asked])
    assert found["runs"] == others + small_results["runs"]
    assert found["failed"] == failed[1:]
    assert results.merged(small_results, None, [asked]) == small_results


def test_a_study_with_fewer_seeds_keeps_the_others(small_results):
    """In the order of a study: point by point, of each the seeds one after the other."""
    again = {**small_results, "runs": [one for one in small_results["runs"] if one["seed"] == 0]}
    again = copy.deepcopy(again)
    for one in again["runs"]:
        one["seconds"]["teacher"] = 12345.0
    found = results.merged(again, small_results, [Config(seed=0)])
    assert [(one["grid"], one["seed"]) for one in found["runs"]] == [
        (one["grid"], one["seed"]) for one in small_results["runs"]
    ]
    assert [one["seconds"]["teacher"] == 12345 for one in found["runs"]] == [True, False, True, False]


@pytest.mark.parametrize(
    ("study", "settings", "n_seeds", "refused"),
    [
        ("hard-mix", {}, 1, False),
        ("hard-mix", {"n_epochs_student": 2}, 2, False),  # of all seeds: they are made anew
        ("hard-mix", {"n_epochs_student": 2}, 1, True),  # of one: the other would stand beside it
        ("temperature", {"n_epochs_student": 2}, 1, False),
    ],
)
def test_no_study_holds_seeds_of_other_settings(study, settings, n_seeds, refused, small_results, tmp_path):
    (tmp_path / "results.json").write_text(json.dumps(small_results))
    planned = plan([study], {"teacher_hidden": (20,), "student_hidden": (10,), **settings}, n_seeds)
    if not refused:
        assert results.existing(tmp_path, small_results["data"], planned) == small_results
        return
    with pytest.raises(
        UserError, match="hard-mix with other settings and seed 1; move it away or name another"
    ):
        results.existing(tmp_path, small_results["data"], planned)


@pytest.mark.parametrize(
    ("study", "where", "wrong"),
    [
        ("answers", ("bias_correction", "calibration"), "x"),
        ("answers", ("bias_correction", "calibration"), [{}, {}, {}]),
        ("answers", ("bias_correction", "classes"), [4]),
        ("little", ("transfer_set",), 3),
        ("little", ("transfer_set", "teacher_mean_probabilities"), [0.5, "x"]),
        ("little", ("transfer_set", "nearest_digit_cosine"), 7),
    ],
)
def test_what_tables_beyond_the_paper_use_is_held_to_its_form(study, where, wrong, tmp_path):
    content = json.loads(RESULTS.read_text())
    chosen = next(
        r for r in content["runs"] if r["study"] == study and ("transfer_set" in r or study != "little")
    )
    content["runs"] = [chosen]
    path = tmp_path / "results.json"
    path.write_text(json.dumps(content))
    assert results.read(path)[1]
    *way, last = where
    place = chosen
    for key in way:
        place = place[key]
    place[last] = wrong
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="is not a study's results"):
        results.read(path)
