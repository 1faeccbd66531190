"""The studies: what they run, on which workers, what they keep when something dies, and what they report."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

import distillation_mnist_omitted_3 as core
import run_many
import study_distillation_mnist_omitted_3 as study
from run_many import Pool
from suite_io import Console

ROOT = Path(__file__).resolve().parent.parent
TINY = ("--n-epochs-teacher", 1, "--n-epochs-student", 1, "--teacher-hidden", 20, "--student-hidden", 10)
RESULTS = ROOT / "viz" / "study" / "results.json"


def command(*flags: object) -> list[str]:
    return [sys.executable, str(ROOT / "study_distillation_mnist_omitted_3.py"), *map(str, flags)]


def surroundings(folder: Path) -> dict[str, str]:
    return {**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), "COLUMNS": "80"}


def call(*flags: object, cwd: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        command(*flags), cwd=cwd, env=surroundings(cwd), capture_output=True, text=True, timeout=240
    )


def tiny_configs(cache: Path, **more) -> list[core.Config]:
    """Four runs of two teachers."""
    settings = {
        "n_epochs_teacher": 1,
        "n_epochs_student": 1,
        "teacher_hidden": (20,),
        "student_hidden": (10,),
    }
    settings |= {"cache_dir": cache, **more}
    return [core.Config(seed=seed, omitted_class=(c,), **settings) for seed in (0, 1) for c in (3, 7)]


@contextmanager
def thread_pool():
    """A pool in this process: the same interface, no spawning."""
    with ThreadPoolExecutor(1) as executor:
        yield Pool(executor, run_many.identity)


def without_times(record: dict) -> dict:
    return {k: v for k, v in record.items() if k not in ("wall_clock_seconds", "environment")}


def finished(output: str) -> list[str]:
    """The lines of finished students: how many are done, the time left, errors, the run."""
    return re.findall(r"^ *\d+/\d+ +[\d:]+ +\d+ +\S.*seed \d$", output, re.M)


# what is run


def test_the_grids_are_the_asked_ones():
    grids = {name: s.grid for name, s in study.STUDIES.items()}
    assert len(grids) == 7
    temperature = {(p["temperature"], p["student_hidden"], p["omitted_class"]) for p in grids["temperature"]}
    asked = [1, 2, 2.5, 3, 4, 6, 8, 12, 20, 50]
    assert temperature == {(t, (n, n), o) for t in asked for n in (800, 300, 30) for o in ((), (3,))}
    assert [p["omitted_class"] for p in grids["omitted-class"]] == [(c,) for c in range(10)]
    assert {len(p["omitted_class"]) for p in grids["several-omitted"]} >= {2, 3, 5, 8}
    sizes = [p["student_hidden"][0] for p in grids["student-size"]]
    assert (min(sizes), max(sizes)) == (5, 1200)
    assert {0.0, 1.0} <= {p["hard_weight"] for p in grids["hard-mix"]}
    assert {0.5, 0.2, 0.1, 0.05, 0.01} <= {p["transfer_fraction"] for p in grids["transfer-size"]}
    for grid in grids.values():
        assert all(grid.count(point) == 1 for point in grid)


def test_recipe_then_preset_then_flags_then_grid():
    planned = study.plan(["hard-mix", "paper"], {"temperature": 5.0, "hard_weight": 0.7, "seed": 4}, 2)
    configs = planned["hard-mix", 1]
    assert [config.seed for config in configs] == [4, 5]
    assert {config.hard_weight for config in configs} == {study.WEIGHTS[1]}  # the grid wins
    assert {config.temperature for config in configs} == {5.0}  # a flag
    assert {config.probe_size for config in configs} == {60_000}  # the preset
    assert {config.n_epochs_teacher for config in configs} == {4}  # the recipe, "fast"
    assert planned["paper", 0][0].n_epochs_teacher == 60
    assert study.plan(["hard-mix"], {"n_epochs_teacher": 2}, 1)["hard-mix", 0][0].n_epochs_teacher == 2
    assert study.plan(["hard-mix"], {"recipe": "best"}, 1)["hard-mix", 0][0].n_epochs_teacher == 60


def test_flags_of_a_run_make_that_run_again():
    configs = [config for group in study.plan(list(study.STUDIES), {}, 2).values() for config in group]
    for config in configs:
        arguments = core.argument_parser("").parse_args(run_many.flags_of(config).split())
        assert core.config_from(arguments) == config


# many runs


def test_many_runs_are_the_single_runs_bit_for_bit(small_data, small_folder, tmp_path):
    before = dict(os.environ)
    configs = tiny_configs(tmp_path / "many")
    records, reasons = run_many.run_many(
        configs, small_data, lambda: run_many.local_pool(2), Console(quiet=True)
    )
    assert dict(os.environ) == before
    assert not reasons
    assert set(records) == set(configs)
    for config in configs:
        alone = replace(config, cache_dir=tmp_path / "alone", data_dir=small_folder, outdir=tmp_path)
        expected = json.loads(json.dumps(core.results(core.run(alone))))
        for key in ("teacher", "student", "bias_correction", "data"):
            assert json.loads(json.dumps(records[config][key])) == expected[key]


def test_nothing_is_trained_twice(small_data, tmp_path, monkeypatch):
    trained = []
    train = core.train

    def spy(network, images, indices, loss, settings, *rest):
        trained.append((settings.sizes, settings.weight_seed, len(indices)))
        return train(network, images, indices, loss, settings, *rest)

    monkeypatch.setattr(core, "train", spy)
    configs = tiny_configs(tmp_path)
    first, _ = run_many.run_many(configs[:2], small_data, thread_pool, Console(quiet=True))
    assert len(trained) == 3  # one teacher, two students
    both, _ = run_many.run_many(configs, small_data, thread_pool, Console(quiet=True))
    assert len(trained) == len(set(trained)) == 6
    assert {c: both[c] for c in configs[:2]} == first
    (tmp_path / "runs").joinpath(run_many.record_path(configs[0], small_data).name).write_text("damaged")
    again, _ = run_many.run_many(configs, small_data, thread_pool, Console(quiet=True))
    assert len(trained) == 6  # measured anew from the stored training
    assert {c: without_times(r) for c, r in again.items()} == {c: without_times(r) for c, r in both.items()}
    core.run_path("teacher", configs[0], small_data).write_bytes(b"damaged")
    run_many.record_path(configs[0], small_data).unlink()
    run_many.run_many(configs, small_data, thread_pool, Console(quiet=True))
    assert len(trained) == 7  # the teacher


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_failed_run_is_named_and_fails_alone(small_data, tmp_path, capsys):
    configs = tiny_configs(tmp_path)
    bad_student = replace(configs[0], learning_rate_student=1e30, n_epochs_student=3)
    bad_teacher = replace(configs[1], learning_rate=1e30, n_epochs_teacher=3, learning_rate_student=1e-3)
    records, reasons = run_many.run_many(
        [bad_student, bad_teacher, *configs], small_data, thread_pool, Console(quiet=True)
    )
    assert set(records) == set(configs)
    assert set(reasons) == {bad_student, bad_teacher}
    assert all("diverged" in reason for reason in reasons.values())
    complaints = capsys.readouterr().err.splitlines()
    assert len(complaints) == 2
    assert any("--learning-rate-student 1e+30" in line for line in complaints)
    assert any("teacher of" in line and "--learning-rate 1e+30" in line for line in complaints)


class Dying(Executor):
    """Does what it is asked, but the process behind every `deadly`-th call dies and takes the rest along."""

    def __init__(self, deadly: int) -> None:
        self.deadly, self.n_calls = deadly, 0

    def submit(self, function, /, *arguments):
        self.n_calls += 1
        future: Future = Future()
        if self.n_calls >= self.deadly:
            future.set_exception(BrokenProcessPool("a process died"))
        else:
            future.set_result(function(*arguments))
        return future


def test_a_pool_that_dies_is_followed_by_another(small_data, tmp_path, capsys):
    configs = tiny_configs(tmp_path)
    pools = []

    @contextmanager
    def dying_pool():
        pools.append(Dying(deadly=3))
        yield Pool(pools[-1], run_many.identity)

    records, reasons = run_many.run_many(configs, small_data, dying_pool, Console(quiet=True))
    assert set(records) == set(configs)
    assert not reasons
    assert len(pools) >= 3
    assert "a worker process died" in capsys.readouterr().err

    @contextmanager
    def dead_pool():
        yield Pool(Dying(deadly=1), run_many.identity)

    others = tiny_configs(tmp_path, batch_size=50)
    records, reasons = run_many.run_many(others, small_data, dead_pool, Console(quiet=True))
    assert not records
    assert set(reasons) == set(others)


# the script


def test_a_small_study_from_the_command_line(small_folder, tmp_path):
    flags = (*TINY, "--data-dir", small_folder, "--outdir", "out", "--seeds", 2, "--jobs", 2)
    flags += ("--study", "omitted-class", "hard-mix")
    result = call(*flags, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "Warning" not in result.stderr
    n_distinct = 10 * 2 + 6 * 2  # weight 0 is the omitted 3
    assert max(map(len, result.stdout.partition("wrote")[0].splitlines())) <= 80
    assert len(finished(result.stdout)) == n_distinct
    assert len(re.findall(r"teacher of seed", result.stdout)) == 2
    text = (tmp_path / "out" / "results.json").read_text()
    found = json.loads(text)
    assert set(found) == {"data", "runs", "tables", "failed"}
    assert len(found["runs"]) == 17 * 2
    assert {run["seed"] for run in found["runs"]} == {0, 1}
    for name in ("omitted_class", "hard_mix"):
        assert (tmp_path / "out" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    started = time.monotonic()
    again = call(*flags, cwd=tmp_path)
    assert time.monotonic() - started < 30
    assert not finished(again.stdout)  # nothing was run
    assert (tmp_path / "out" / "results.json").read_text() == text


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (("--study", "everything"), "--study"),
        (("--seeds", 0), "--seeds"),
        (("--jobs", 0), "--jobs"),
        (("--jobs", 2, "--scheduler", "tcp://127.0.0.1:9"), "--scheduler"),
        (("--retrain",), "--retrain"),
        (("--temperature", 0), "--temperature"),
        (("--data-dir", "nowhere"), "nowhere"),
    ],
)
def test_bad_input_gets_one_line_and_status_2(flags, named, tmp_path):
    result = call("--outdir", "out", *flags, cwd=tmp_path)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert named in result.stderr
    assert not (tmp_path / "out").exists()


def test_ctrl_c_leaves_every_finished_run_stored_and_no_process(small_folder, tmp_path):
    flags = (*TINY, "--data-dir", small_folder, "--outdir", "out", "--seeds", 3, "--jobs", 2)
    flags = (*flags, "--study", "omitted-class", "--n-epochs-student", 60)
    process = subprocess.Popen(
        command(*flags), cwd=tmp_path, env=surroundings(tmp_path), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    lines = []
    while len(finished("".join(lines))) < 4:
        lines.append(process.stdout.readline())
        assert lines[-1], process.stderr.read()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does it
    rest, complaint = process.communicate(timeout=60)
    assert process.returncode == 130
    assert len(complaint.splitlines()) == 1, complaint
    n_finished = len(finished("".join(lines) + rest))
    for _ in range(50):
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            break
        time.sleep(0.1)
    else:
        pytest.fail("a worker outlived the study")
    runs = tmp_path / "cache" / "hinton-mnist" / "runs"
    stored = list(runs.glob("record-*.json"))
    assert n_finished <= len(stored) < 30
    assert not list(runs.glob(".*.tmp*"))
    assert not (tmp_path / "out" / "results.json").exists()
    again = call(*flags, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert len(finished(again.stdout)) == 30 - len(stored)


# what is reported


@pytest.fixture(scope="module")
def invented_runs(tmp_path_factory) -> list[study.Run]:
    """Every run of every study with figures drawn at random, in the form of a real record."""
    cache = tmp_path_factory.mktemp("cache")
    from_rendered = core.rendered_digits.render_dataset(600, 300, seed=7)
    data = core.Data("MNIST", *from_rendered, {})
    config = tiny_configs(cache)[0]
    record = run_many.run_many([config], data, thread_pool, Console(quiet=True))[0][config]
    rng = np.random.default_rng(0)
    runs = []
    for (name, place), configs in study.plan(list(study.STUDIES), {}, 3).items():
        for one in configs:
            shaken = json.loads(json.dumps(record))
            parts = (
                shaken["teacher"],
                *shaken["student"].values(),
                shaken["bias_correction"]["best_on_test_set"],
            )
            for part in parts:
                for key in part:
                    if key.endswith("errors"):
                        part[key] = int(rng.integers(50, 500))
                    elif key.endswith("_accuracy") and key != "per_class_accuracy":
                        part[key] = float(rng.uniform(0.5, 1))
            if not one.omitted_class:
                shaken["student"]["after_correction"]["omitted_accuracy"] = None
            runs.append(study.Run(name, study.STUDIES[name].grid[place], one, shaken))
    return runs


@pytest.mark.parametrize("name", study.STUDIES)
def test_every_study_has_a_figure_of_every_point(name, invented_runs, tmp_path):
    mine = [run for run in invented_runs if run.study == name]
    figure = study.DRAW[name](study.STUDIES[name], mine)
    assert isinstance(figure, Figure)
    figure.savefig(tmp_path / "figure.png")
    figure = study.DRAW[name](study.STUDIES[name], [run for run in mine if run.config.seed == 0])
    figure.savefig(tmp_path / "one_seed.png")


def test_tables_have_means_and_spread_counted_by_hand(invented_runs):
    tables = study.tables(invented_runs)
    assert list(tables) == list(study.STUDIES)
    mine = [
        run.record["student"]["after_correction"]["omitted_accuracy"]
        for run in invented_runs
        if run.study == "hard-mix" and run.config.hard_weight == 0.25
    ]
    assert len(mine) == 3
    shown = f"{100 * np.mean(mine):.2f} ± {100 * np.std(mine, ddof=1):.2f}"
    row = next(line for line in tables["hard-mix"].splitlines() if "0.25" in line)
    assert row.split(" | ")[4] == shown
    assert tables["temperature"].count("\n") == 61
    claims = tables["paper"]
    assert [n for n in "123456789" if f"\n| {n} |" in claims] == list("123456789")


def test_verdicts():
    def runs(*errors: int) -> list[study.Run]:
        return [
            study.Run("paper", {}, core.Config(seed=seed), {"teacher": {"test_errors": e}})
            for seed, e in enumerate(errors)
        ]

    path = "teacher.test_errors"
    assert study.verdict(runs(66, 67, 68), path, 67) == "yes"
    assert study.verdict(runs(68, 70, 69), path, 67) == "within 2 sd"
    assert study.verdict(runs(78, 80, 79), path, 67) == "no"
    assert study.verdict([], path, 67) == "no run"


@pytest.mark.parametrize(
    ("below", "middle", "above", "holds"),
    [(300, 250, 300, "yes"), (251, 250, 300, "against higher only"), (300, 250, 251, "against lower only"),
     (240, 250, 251, "no")],
)  # fmt: skip
def test_claim_5_needs_a_clear_difference(below, middle, above, holds):
    def group(temperature: float, mean: int) -> list[study.Run]:
        config = core.Config(temperature=temperature)
        record = lambda e: {"student": {"before_correction": {"test_errors": e}}}  # noqa: E731
        return [study.Run("temperature", {}, config, record(mean + e)) for e in (-4, 0, 4)]

    row = study.best_in_the_middle([*group(1, below), *group(3, middle), *group(20, above)])
    assert row[-1] == holds


@pytest.mark.parametrize(("means", "holds"), [((80, 82, 79, 81), "yes"), ((80, 100, 79, 81), "no")])
def test_claim_4_compares_temperatures_with_seeds(means, holds):
    runs = [
        study.Run(
            "temperature", {}, core.Config(temperature=t, seed=seed),
            {"student": {"before_correction": {"test_errors": mean + shake}}},
        )
        for t, mean in zip((8.0, 12.0, 20.0, 50.0), means, strict=True)
        for seed, shake in enumerate((-4, 0, 4))
    ]  # fmt: skip
    assert study.flat_above_8(runs, 800)[-1] == holds


def test_the_committed_tables_follow_from_the_committed_runs():
    found = json.loads(RESULTS.read_text())
    runs = []
    for entry in found["runs"]:
        arguments = core.argument_parser("").parse_args(entry["flags"].split())
        grid = {k: tuple(v) if isinstance(v, list) else v for k, v in entry["grid"].items()}
        assert grid in study.STUDIES[entry["study"]].grid
        runs.append(study.Run(entry["study"], grid, core.config_from(arguments), entry))
    assert study.tables(runs) == found["tables"]
    assert not found["failed"]
    assert found["data"]["sha256"] == core.MNIST_SHA256
    for name, s in study.STUDIES.items():
        for point in s.grid:
            seeds = [run.config.seed for run in runs if run.study == name and run.settings == point]
            assert sorted(seeds) == [0, 1, 2], (name, point)
    readme = (ROOT / "README.md").read_text()
    for name in study.STUDIES:
        assert (ROOT / "viz" / "study" / f"{name.replace('-', '_')}.png").is_file()
        assert f"viz/study/{name.replace('-', '_')}.png" in readme
    assert found["tables"]["paper"] in readme


# a cluster


def test_no_scheduler_is_said_in_one_line(small_folder, tmp_path):
    pytest.importorskip("distributed")
    flags = ("--data-dir", small_folder, "--outdir", "out", "--scheduler", "tcp://127.0.0.1:9")
    result = call(*flags, cwd=tmp_path)
    assert result.returncode == 2
    assert "no Dask scheduler answers" in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr


def test_a_cluster_finishes_although_a_worker_is_killed(small_folder, tmp_path):
    """A real scheduler, two worker processes that know no file of ours, one of them killed in the middle."""
    pytest.importorskip("distributed")
    dask = [sys.executable, "-m", "dask"]
    elsewhere = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "nowhere"), "OPENBLAS_NUM_THREADS": "1"}
    elsewhere.pop("PYTHONPATH", None)
    processes: list[subprocess.Popen] = []

    def start(*words: object, name: str) -> subprocess.Popen:
        folder = tmp_path / name
        folder.mkdir()
        with open(folder / "log", "w") as log:
            process = subprocess.Popen(
                [*dask, *map(str, words)], cwd=folder, env=elsewhere, stdout=log, stderr=log
            )
        processes.append(process)
        return process

    address_file = tmp_path / "scheduler.json"
    try:
        place = ("--host", "127.0.0.1", "--port", 0, "--scheduler-file", address_file)
        start("scheduler", *place, "--no-dashboard", name="scheduler")
        until(lambda: address_file.exists() and "address" in address_file.read_text())
        address = json.loads(address_file.read_text())["address"]
        workers = [
            start("worker", address, "--no-nanny", "--nthreads", 1, "--no-dashboard", name=name)
            for name in ("first", "second")
        ]
        flags = (*TINY, "--data-dir", small_folder, "--n-epochs-student", 40, "--study", "omitted-class")
        flags = (*flags, "--seeds", 2)
        study_process = subprocess.Popen(
            command(*flags, "--outdir", "cluster", "--scheduler", address), cwd=tmp_path,
            env=surroundings(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        processes.append(study_process)
        lines = []
        while len(finished("".join(lines))) < 4:
            lines.append(study_process.stdout.readline())
            assert lines[-1], study_process.stderr.read()
        workers[0].send_signal(signal.SIGKILL)
        rest, complaint = study_process.communicate(timeout=120)
        assert study_process.returncode == 0, complaint
    finally:
        for process in processes:
            process.kill()
            process.wait()
            for pipe in (process.stdout, process.stderr):
                if pipe:
                    pipe.close()
    printed = "".join(lines) + rest
    assert len(finished(printed)) == 20
    assert printed.count("teacher of seed") == 2
    found = json.loads((tmp_path / "cluster" / "results.json").read_text())
    assert not found["failed"]
    asked = {(c, seed) for c in range(10) for seed in (0, 1)}
    assert {(run["grid"]["omitted_class"][0], run["seed"]) for run in found["runs"]} == asked
    assert len(found["runs"]) == 20
    # one training of each teacher, whoever used it: the same seconds to the last digit
    assert len({(run["seed"], run["seconds"]["teacher"]) for run in found["runs"]}) == 2
    assert not (tmp_path / "nowhere").exists()  # workers keep nothing

    local = call(*flags, "--outdir", "local", "--cache-dir", "other", "--jobs", 1, cwd=tmp_path)
    assert local.returncode == 0, local.stderr
    expected = json.loads((tmp_path / "local" / "results.json").read_text())
    for here, there in zip(expected["runs"], found["runs"], strict=True):
        for key in ("grid", "seed", "teacher", "student", "bias_correction"):
            assert here[key] == there[key]


def until(condition, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
