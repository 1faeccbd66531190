"""Means and spread of finished runs: of what belongs together, and named so that it can be told apart."""

from __future__ import annotations

from support.console import UserError
from support.intervals import mean_sd

import copy
import json
import os
import shutil
import statistics
from pathlib import Path

import pytest
from small_studies import NESTED, ROOT, changed

from cifar10 import tables
from cifar10.charts import draw_compression, draw_unseen_class
from cifar10.tables import unlabelled_table
from runs.folders import load, load_trials
from seeds import summarise
from seeds.frontier import CURVES, draw_frontier
from seeds.summarise import main

SEEDS = ROOT / "viz" / "seeds"
CIFAR10 = ROOT / "viz" / "cifar10"


@pytest.fixture(scope="module")
def run() -> dict:
    """A finished run of recipe "fast", seed 0."""
    return json.loads((SEEDS / "fast" / "0" / "results.json").read_text())


def other_class(run: dict, *omitted: int) -> dict:
    """The run as if it had left out these classes."""
    run = copy.deepcopy(run)
    run["config"]["omitted_class"] = list(omitted)
    correction = run["bias_correction"]
    for name, values in correction.items():
        if isinstance(values, list):
            correction[name] = (values * 10)[: len(omitted)]
    if not omitted:
        correction["best_on_test_set"] = None
        for part in (run["teacher"], *run["student"].values()):
            part["omitted_accuracy"] = None
            part["omitted_errors"] = 0
    return run


def write(folder: Path, *runs: dict | str, seeds: tuple[int, ...] = ()) -> Path:
    """One sub-folder for each run, with seeds 0, 1, ... unless others are given."""
    for index, one in enumerate(runs):
        place = folder / str(index)
        place.mkdir(parents=True)
        if isinstance(one, dict) and "config" in one:
            one = changed(one, "config.seed", seeds[index] if seeds else index)
        (place / "results.json").write_text(one if isinstance(one, str) else json.dumps(one))
    return folder


def printed(capsys, *folders: Path) -> str:
    main([str(folder) for folder in folders])
    return capsys.readouterr().out


def rows(table: str) -> list[list[str]]:
    return [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("|")]


def test_means_and_spread_counted_by_hand(capsys):
    runs = [json.loads((SEEDS / "described" / str(s) / "results.json").read_text()) for s in range(5)]
    errors = [run["student"]["after_correction"]["omitted_errors"] for run in runs]
    accuracies = [100 * run["student"]["after_correction"]["omitted_accuracy"] for run in runs]
    mean, sd = statistics.mean(accuracies), statistics.stdev(accuracies)
    shown = f"{mean:.2f} ± {sd:.2f} % ({statistics.mean(errors):.0f})"
    assert f"| student after it, 3s |  | 97.82 % | {shown} |" in printed(capsys, SEEDS / "described")
    assert mean_sd([1.0, 2.0, 3.0], 2) == "2.00 ± 1.00"
    assert mean_sd([1.5], 1, sign=True) == "+1.5"


def test_folders_of_the_same_name_both_appear(run, tmp_path, capsys):
    better = changed(changed(run, "teacher.test_errors", 7), "teacher.test_accuracy", 1 - 7 / 10_000)
    folders = [write(tmp_path / "a" / "fast", run, run), write(tmp_path / "b" / "fast", better)]
    text = printed(capsys, *folders)
    assert "a/fast, 2 seeds | b/fast, 1 seed |" in text
    by_seed = rows(text.split("\n\n")[1])[2:]
    assert [row[0] for row in by_seed] == ["a/fast", "a/fast", "b/fast"]
    assert [row[2] for row in by_seed] == ["112", "112", "7"]
    assert "| linear, 5 seeds |" in printed(capsys, SEEDS / "fast", SEEDS / "linear")


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("config.recipe", "best", "recipe is fast in 0 and best in 1"),
        ("config.temperature", 4.0, "temperature is 20.0 in 0 and 4.0 in 1"),
        ("config.teacher_hidden", [10, 10], r"teacher_hidden is \[1200, 1200\] in 0"),
        ("config.hold_out", 10_000, "hold_out is 0 in 0"),
        ("data.name", "rendered digits", "data.name is MNIST in 0 and rendered digits in 1"),
        ("data.sha256", {"train": "0"}, "data.sha256"),
        ("data.n_train", 50_000, "data.n_train is 60000 in 0 and 50000 in 1"),
    ],
)
def test_a_folder_that_mixes_runs_is_refused(path, value, said, run, tmp_path):
    with pytest.raises(UserError, match=f"mixes runs: .*{said}") as refusal:
        load(write(tmp_path / "mixed", run, changed(run, path, value)))
    assert len(str(refusal.value).splitlines()) == 1


def test_a_folder_that_mixes_omitted_classes_or_experiments_is_refused(run, tmp_path):
    with pytest.raises(UserError, match=r"mixes runs: omitted_class is \[3\] in 0 and \[5\] in 1"):
        load(write(tmp_path / "classes", run, other_class(run, 5)))
    cifar10 = json.loads((CIFAR10 / "seeds" / "0" / "results.json").read_text())
    with pytest.raises(UserError, match="mixes runs: experiment is MNIST in 0 and CIFAR-10 in 1"):
        load(write(tmp_path / "experiments", run, cifar10))


def test_a_seed_that_is_there_twice_is_refused(run, tmp_path):
    with pytest.raises(UserError, match="holds seed 4 twice, in 0 and 2"):
        load(write(tmp_path / "twice", run, run, run, seeds=(4, 5, 4)))


def test_what_the_seed_and_the_paths_say_may_differ(run, tmp_path):
    other = changed(run, "config.outdir", "elsewhere")
    for path in ("config.cache_dir", "config.data_dir"):
        other = changed(other, path, "there")
    runs = load(write(tmp_path / "fast", run, changed(other, "config.dataset", "auto"), seeds=(2, 1)))
    assert [one["config"]["seed"] for one in runs] == [1, 2]


def test_rows_say_which_class_was_left_out(run, tmp_path, capsys):
    three, five = write(tmp_path / "three", run), write(tmp_path / "five", other_class(run, 5))
    tables = printed(capsys, three, five).split("\n\n")
    assert len(tables) == 4
    for c, (means, by_seed) in ((3, tables[:2]), (5, tables[2:])):
        assert f"| teacher, {c}s |" in means
        assert f"| student after it, {c}s |" in means
        assert f"| errors with it, {c}s |" in means
        assert rows(by_seed)[0].count(f"on {c}s") == 3
        other = 8 - c
        assert f"{other}s" not in means + by_seed
    assert "published" in tables[0]  # those figures are of students without 3s
    assert "published" not in tables[2]
    assert "99.33" not in tables[2]


def test_without_an_omitted_class_there_is_nothing_on_one(run, tmp_path, capsys):
    means, by_seed = printed(capsys, write(tmp_path / "all", other_class(run))).split("\n\n")
    assert [row[0] for row in rows(means)[2:]] == ["teacher, all", "student, all", "seconds, all phases"]
    assert rows(by_seed)[0] == ["seed", "teacher", "student", "seconds"]
    assert "3s" not in means + by_seed


def test_several_omitted_classes_have_an_offset_each(run, tmp_path, capsys):
    means, by_seed = printed(capsys, write(tmp_path / "two", other_class(run, 7, 8))).split("\n\n")
    assert "| teacher, classes 7, 8 |" in means
    assert "offset, chosen without" not in means
    assert "+1.87 +1.87" in by_seed


def test_data_that_are_not_mnist_are_named(run, tmp_path, capsys):
    folder = write(tmp_path / "drawn", changed(run, "data.name", "rendered digits"))
    assert "drawn, 1 seed, rendered digits |" in printed(capsys, folder)


def test_tables_of_cifar10(capsys):
    text = printed(capsys, SEEDS / "fast", CIFAR10 / "seeds", CIFAR10 / "unseen_cat")
    assert len(text.split("\n\n")) == 5
    assert "| CIFAR-10 variant, 3 seeds | test accuracy |" in text
    assert "| CIFAR-10 variant, 5 seeds | all | the unseen class |" in text


def test_trials_name_what_they_changed(run):
    """Against the first one; where files lie, and the seed, are no change."""
    soft = "student.before_correction.test_accuracy"
    first = changed(run, "networks", {})
    first = changed(changed(first, soft, 0.8162), "baseline", {"test_accuracy": 0.5})
    first = changed(changed(first, "config.rate", 0.2), "config.outdir", "a")
    first = changed(first, "teacher.test_accuracy", 0.9)
    second = changed(changed(changed(first, soft, 0.75), "config.rate", 0.4), "teacher.test_accuracy", 0.85)
    third = changed(changed(first, "config.n_shifts", 3), "config.sides", [24, 32])
    trials = [first, changed(second, "config.outdir", "b"), third]
    table = [
        ["changed (MNIST)", "teacher, %", "student, soft targets, %", "student, hard labels, %"],
        ["---", "---:", "---:", "---:"],
        ["none", "90.00", "81.62", "50.00"],
        ["`--rate 0.4`", "85.00", "75.00", "50.00"],
        ["`--n-shifts 3` `--sides 24 32`", "90.00", "81.62", "50.00"],
    ]
    assert rows(summarise.trials_table(trials)) == table
    teachers = rows(tables.cifar10_trials_table(trials, ["teacher, %"]))
    assert teachers == [row[:2] for row in table]


def test_trials_of_mnist_stand_seed_by_seed(run):
    """Errors before and after, on the class left out, too; without it where all are left out."""
    errors = {"teacher.test_errors": 140, "student.before_correction.test_errors": 204}
    errors |= {"student.before_correction.omitted_errors": 64, "student.after_correction.test_errors": 192}
    first = run
    for path, n in (errors | {"student.after_correction.omitted_errors": 22, "config.seed": 0}).items():
        first = changed(first, path, n)
    second = changed(changed(first, "config.seed", 1), "teacher.test_errors", 151)
    other = changed(changed(first, "config.jitter", 9), "student.after_correction.test_errors", 1000)
    assert rows(summarise.trials_table([second, other, first])) == [
        ["changed (MNIST)", "seed", "teacher", "before", "on 3s", "after", "on 3s"],
        ["---", "---", "---:", "---:", "---:", "---:", "---:"],
        ["none", "0 / 1", "140 / 151", "204 / 204", "64 / 64", "192 / 192", "22 / 22"],
        ["`--jitter 9`", "0", "140", "204", "64", "1,000", "22"],
    ]
    none_seen = changed(first, "config.omitted_class", list(range(10)))
    assert rows(summarise.trials_table([none_seen]))[::2] == [
        ["changed (MNIST)", "seed", "teacher", "before", "after"], ["none", "0", "140", "204", "192"],
    ]  # fmt: skip


def test_a_folder_of_trials(capsys, tmp_path):
    """The one called start first; all of them on the same images."""
    summarise.main(["--trials", str(CIFAR10 / "trials")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("| none |")
    assert len(lines) == 2 + len(list((CIFAR10 / "trials").iterdir()))
    with pytest.raises(UserError, match=r"no .*start.*with which the trials are compared"):
        load_trials(CIFAR10 / "seeds")
    shutil.copytree(CIFAR10 / "trials" / "start", tmp_path / "start")
    shutil.copytree(CIFAR10 / "seeds" / "0", tmp_path / "whole")
    with pytest.raises(UserError, match=r"whole/results\.json is not of the images of .*start"):
        load_trials(tmp_path)
    shutil.rmtree(tmp_path / "whole")
    shutil.copytree(tmp_path / "start", tmp_path / "again")
    with pytest.raises(UserError, match=r"holds a seed of one setting twice \(none\)"):
        load_trials(tmp_path)
    for flags in ([], ["--trials", str(CIFAR10 / "trials"), "--picture", "x.png"]):
        with pytest.raises(SystemExit):
            summarise.main(flags)
        assert "name a folder of runs" in capsys.readouterr().err


def partly_labelled(run: dict, share_seen: float, figures: dict[str, float] | None = None) -> dict:
    """The run as if its teacher had had a tenth's labels, with these figures instead of its own."""
    shares = {"config.label_fraction": 0.1, "config.transfer_fraction": share_seen}
    for path, new in (shares | (figures or {})).items():
        run = changed(run, path, new)
    return run


def test_what_images_without_labels_add_by_hand(run):
    """The last row leads by 1 and 3 points, on average 2: t is 12.706 for one degree of freedom, sd 1.414."""
    run = changed(run, "baseline", {})
    soft, common = "student.before_correction.test_accuracy", {"teacher.test_accuracy": 0.75}
    of_all = [partly_labelled(run, 1.0, common | {soft: reached}) for reached in (0.78, 0.80)]
    of_part = [partly_labelled(run, 0.1, {soft: 0.77, "baseline.test_accuracy": 0.7}) for _ in range(2)]
    assert rows(unlabelled_table(of_all, of_part)) == [
        ["MNIST, 2 seeds", "learns from", "test accuracy", "lead of the last row (95 % interval)"],
        ["---", "---", "---:", "---:"],
        ["teacher", "the labels of 10 % of the images", "75.00 ± 0.00 %", "+4.00 ± 12.71"],
        ["student", "the labels of 10 % of the images", "70.00 ± 0.00 %", "+9.00 ± 12.71"],
        ["student", "that teacher, on the same 10 % of the images", "77.00 ± 0.00 %", "+2.00 ± 12.71"],
        ["student", "that teacher, on all images", "79.00 ± 1.41 %"],
    ]
    assert "| +1.00 |" in unlabelled_table(of_all[:1], of_part[:1])  # one seed has no interval


@pytest.mark.parametrize(
    ("shares", "seeds", "other", "is_there"),
    [
        ((1.0, 0.1), (0, 0), {}, True),
        ((0.1, 1.0), (0, 0), {}, True),
        ((1.0, 1.0), (0, 0), {}, False),
        ((1.0, 0.2), (0, 0), {}, False),
        ((0.1, 0.1), (0, 0), {}, False),
        ((1.0, 0.1), (0, 1), {}, False),
        ((1.0, 0.1), (0, 0), {"config.temperature": 16.0}, False),
    ],
)
def test_folders_that_differ_in_the_images_seen_are_compared(
    shares, seeds, other, is_there, tmp_path, capsys
):
    start = json.loads((CIFAR10 / "seeds" / "0" / "results.json").read_text())
    both = [partly_labelled(start, share) for share in shares]
    for path, new in other.items():
        both[1] = changed(both[1], path, new)
    folders = [
        write(tmp_path / name, one, seeds=(seed,)) for name, one, seed in zip("ab", both, seeds, strict=True)
    ]
    text = printed(capsys, CIFAR10 / "seeds", *folders)
    assert ("| that teacher, on all images |" in text) == is_there
    assert len(text.split("\n\n")) == 6 + is_there  # a table and a gain for each folder


def test_an_odd_share_of_the_images_is_refused_and_a_missing_one_is_all(tmp_path, capsys):
    one = json.loads((CIFAR10 / "labelled_tenth" / "0" / "results.json").read_text())
    del one["config"]["transfer_fraction"]
    assert "test accuracy" in printed(capsys, write(tmp_path / "older", one))
    for odd in ("a tenth", [0.1], None, 7):
        path = write(tmp_path / f"odd {odd}", changed(one, "config.label_fraction", odd))
        with pytest.raises(UserError, match="is not the result of a run: config"):
            printed(capsys, path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda run: "",
        lambda run: "{}",
        lambda run: "[]",
        lambda run: "null",
        lambda run: json.dumps(run)[:-9],
        lambda run: NESTED,
        lambda run: json.dumps({k: v for k, v in run.items() if k != "teacher"}),
        lambda run: changed(run, "config", {}),
        lambda run: changed(run, "config.omitted_class", [11]),
        lambda run: changed(run, "config.omitted_class", []),
        lambda run: changed(run, "student.before_correction.test_accuracy", float("nan")),
        lambda run: changed(run, "student.after_correction.omitted_accuracy", 42),
        lambda run: changed(run, "teacher.test_errors", 10_001),
        lambda run: changed(run, "teacher.test_errors", 0),
        lambda run: changed(run, "teacher.test_accuracy", 0.42),
        lambda run: changed(run, "bias_correction.offsets", []),
        lambda run: changed(run, "bias_correction.best_on_test_set", {}),
        lambda run: changed(run, "wall_clock_seconds", {}),
        lambda run: changed(run, "networks", {}),
    ],
)
def test_what_is_no_run_is_refused_in_one_line(damage, run, tmp_path):
    folder = write(tmp_path / "runs", run, damage(run))
    with pytest.raises(UserError, match="is not the result of a run") as refusal:
        load(folder)
    assert str(folder / "1" / "results.json") in str(refusal.value)
    assert str(refusal.value).isprintable()


def test_where_a_run_is_wrong_is_said(run, tmp_path):
    folder = write(tmp_path / "runs", run, changed(run, "bias_correction.classes", [11]))
    with pytest.raises(UserError, match="bias_correction has a wrong classes"):
        load(folder)


def test_a_pipe_is_not_waited_for_and_a_huge_file_not_read(run, tmp_path):
    folder = write(tmp_path / "runs", run)
    path = folder / "0" / "results.json"
    with open(path, "wb") as file:
        file.truncate(2**40)
    with pytest.raises(UserError, match="far too large"):
        load(folder)
    if hasattr(os, "mkfifo"):
        path.unlink()
        os.mkfifo(path)
        with pytest.raises(UserError, match="no plain file"):
            load(folder)


def test_the_frontier_shows_each_recipe_at_its_seconds_and_its_errors(run, tmp_path, capsys):
    """Mean and spread, each network at the seconds after which it is there; who saw no digit, too."""
    slower = copy.deepcopy(run)
    slower["wall_clock_seconds"] |= {"total": 500.0, "teacher": 300.0, "data": 1.0}
    slower["config"]["omitted_class"] = list(range(10))
    slower["student"]["after_correction"]["test_errors"] = 60
    groups = {"slow": [slower, slower], "fast": [run, changed(run, "teacher.test_errors", 80)]}
    figure = draw_frontier(groups)
    axes = figure.axes[0]
    curves = {c.get_label(): c.lines[0].get_xydata() for c in axes.containers}
    teacher, before, after = (curves[label] for _, label, *_ in CURVES)
    spent = run["wall_clock_seconds"]
    assert teacher[:, 0] == pytest.approx([301.0, spent["teacher"] + spent["data"]])
    for curve in (before, after):
        assert curve[:, 0] == pytest.approx([500.0, spent["total"]], rel=0.02)
    own = run["student"]["before_correction"]["test_errors"]
    assert teacher[:, 1] == pytest.approx(
        [run["teacher"]["test_errors"], (run["teacher"]["test_errors"] + 80) / 2]
    )
    assert before[:, 1] == pytest.approx([own, own])
    assert after[:, 1] == pytest.approx([60, run["student"]["after_correction"]["test_errors"]])
    words = [text.get_text() for text in axes.texts]
    assert {"fast", "slow\n(saw no digit)"} <= set(words)
    assert {word.split()[0] for word in words} >= {"206", "109", "74", "67"}
    assert axes.get_ylim()[0] < 60

    folder = write(tmp_path / "fast", run, run)
    summarise.main([str(folder), "--picture", str(tmp_path / "frontier")])  # whatever it is called
    assert (tmp_path / "frontier").read_bytes().startswith(b"\x89PNG")
    assert "fast, 2 seeds" in capsys.readouterr().out


def test_a_picture_beside_the_papers_lines_is_of_mnist_without_3s(run, tmp_path, capsys):
    folder = write(tmp_path / "fives", other_class(run, 5))
    with pytest.raises(UserError, match="--picture: fives is not of MNIST without its 3s"):
        summarise.main([str(folder), "--picture", str(tmp_path / "frontier.png")])
    assert capsys.readouterr().out == ""
    silent = copy.deepcopy(run)
    del silent["environment"]
    no_threads = write(tmp_path / "older", silent)
    with pytest.raises(UserError, match="older does not say on how many threads"):
        summarise.main([str(no_threads), "--picture", str(tmp_path / "frontier.png")])
    assert capsys.readouterr().out == ""
    timeless = write(tmp_path / "timeless", changed(run, "wall_clock_seconds.total", 0))
    with pytest.raises(UserError, match="timeless does not say how long it took"):
        summarise.main([str(timeless), "--picture", str(tmp_path / "frontier.png")])
    assert capsys.readouterr().out == ""
    one_thread = write(tmp_path / "slow", changed(run, "environment.threads", 1))
    with pytest.raises(UserError, match="seconds of different numbers of threads, fast of 2 and slow of 1"):
        summarise.main([str(SEEDS / "fast"), str(one_thread), "--picture", str(tmp_path / "frontier.png")])
    assert capsys.readouterr().out == ""
    with pytest.raises(UserError, match="cannot write"):
        summarise.main([str(SEEDS / "fast"), "--picture", str(folder / "0" / "results.json" / "x")])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("name", "drawn"), [("seeds", draw_compression), ("unseen_cat", draw_unseen_class)])
def test_seeds_of_cifar10_have_a_picture_of_their_own(name, drawn):
    groups = {name: load(CIFAR10 / name)}
    picture = summarise.picture_of(groups)
    assert (picture.func, picture.args) == (drawn, (groups[name],))
    with pytest.raises(UserError, match=f"--picture: {name} is not of MNIST"):
        summarise.picture_of(groups | {"other": load(CIFAR10 / "tenth")})


def test_a_folder_that_is_none_or_named_twice_or_not_named(run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder, loop = write(tmp_path / "fast", run), tmp_path / "loop"
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    loop.symlink_to(loop)
    for folders, said in (
        ((folder, folder), "fast is named twice"),
        (("fast", folder), "fast is named twice"),
        ((loop,), "cannot look into .*loop: Too many levels"),
        ((tmp_path / "empty",), r"no .*results\.json in .*empty"),
        ((tmp_path / "nowhere",), "cannot look into .*: No such file"),
        ((tmp_path / "file",), "cannot look into .*: Not a directory"),
        ((tmp_path / ("x" * 300),), "cannot look into .*: File name too long"),
    ):
        with pytest.raises(UserError, match=said):
            summarise.main([str(one) for one in folders])
    with pytest.raises(SystemExit) as ended:
        summarise.main([""])
    assert ended.value.code == 2
    assert "the name is empty" in capsys.readouterr().err
