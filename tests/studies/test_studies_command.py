"""`python3 -m studies`: what it prints and writes, what it refuses, and how it ends when it is ended."""

from __future__ import annotations

from support.console import UserError

import dataclasses
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from small_studies import ROOT, TINY, call, command, finished, make, surroundings, thread_pool, until
from test_studies_runs import Dying

from runs import cluster
from runs.cluster import PoolLostError
from runs.processes import Pool, local_pool
from studies import __main__ as script
from studies import results
from studies.questions import STUDIES, plan
from studies.study import Run, Study

COMMITTED = ROOT / "viz" / "study"


def test_a_small_study_from_the_command_line(small_folder, tmp_path, monkeypatch, capsys):
    flags = (*TINY, "--data-dir", small_folder, "--outdir", "out", "--seeds", 2, "--jobs", 2)
    flags += ("--study", "omitted-class", "hard-mix")
    result = call(*flags, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert not result.stderr
    n_distinct = 10 * 2 + 6 * 2  # weight 0 is the omitted 3
    before_tables = result.stdout.partition("omitted-class: ")[0]
    assert max(map(len, before_tables.splitlines())) <= 80
    assert len(finished(result.stdout)) == n_distinct
    assert len(re.findall(r"teacher of seed", result.stdout)) == 2
    text = (tmp_path / "out" / "results.json").read_text()
    found = json.loads(text)
    assert set(found) == {"data", "runs", "tables", "failed"}
    assert len(found["runs"]) == 17 * 2
    assert {run["seed"] for run in found["runs"]} == {0, 1}
    for name in ("omitted_class", "hard_mix"):
        assert (tmp_path / "out" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    script.main([*map(str, flags)])
    again = capsys.readouterr().out
    assert not finished(again)  # nothing was run
    assert (tmp_path / "out" / "results.json").read_text() == text
    assert sorted(found["tables"]) == ["hard-mix", "omitted-class"]
    for table in found["tables"].values():
        assert table in result.stdout
        assert table in again


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (("--study", "everything"), "--study"),
        (("--seeds", 0), "--seeds"),
        (("--seeds", 10**9), "--seeds"),
        (("--jobs", 0), "--jobs"),
        (("--jobs", 10**12), "--jobs"),
        (("--jobs", 2, "--scheduler", "tcp://127.0.0.1:9"), "--scheduler"),
        (("--retrain",), "--retrain"),
        (("--temperature", 0), "--temperature"),
        (("--study", "hard-mix", "--keep-class", *range(10)), "hard-mix"),
        (("--data-dir", "nowhere"), "nowhere"),
        (("--redraw",), "there is no"),
        (("--redraw", "--seeds", 3), "--redraw"),
        (("--redraw", "--temperature", 3), "--redraw"),
    ],
)
def test_bad_input_gets_one_line(flags, named, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((UserError, SystemExit)) as refusal:
        script.main(["--outdir", "out", *map(str, flags)])
    said = capsys.readouterr().err
    if refusal.type is SystemExit:
        assert refusal.value.code == 2
    else:
        assert not said
        said = str(refusal.value)
    assert len(said.splitlines()) == 1
    assert named in said
    assert not (tmp_path / "out").exists()


def test_bad_input_ends_with_status_2(tmp_path):
    result = call("--outdir", "out", "--redraw", cwd=tmp_path)
    assert result.returncode == 2
    assert re.fullmatch(r"error: there is no .*\n", result.stderr)
    assert not result.stdout


# results that are there already


@pytest.fixture
def small_study(small_folder, tmp_path, monkeypatch, capsys):
    """Runs a study in this process with a given pool; gives what it printed.

    What a pool that is not lost makes has a blank picture.
    """
    monkeypatch.chdir(tmp_path)
    blank = {
        name: dataclasses.replace(study, draw=lambda *_: Figure((1, 1))) for name, study in STUDIES.items()
    }

    def run(*names: str, open_pool=thread_pool, outdir: str = "out", more: tuple = ()) -> tuple[str, str]:
        monkeypatch.setattr(script, "local_pool", open_pool)
        monkeypatch.setattr(results, "STUDIES", blank if open_pool is thread_pool else STUDIES)
        flags = (*TINY, "--data-dir", small_folder, "--cache-dir", "cache", "--seeds", 1, "--outdir", outdir)
        script.main([*map(str, flags), "--study", *names, *more])
        return capsys.readouterr()

    return run


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@contextmanager
def lost_pool(n_jobs, shared, deadly=4):
    try:
        yield Pool(Dying(deadly), shared)
    except Exception:
        raise PoolLostError("the scheduler is gone") from None


def test_one_study_keeps_the_runs_of_the_others(small_study, tmp_path):
    small_study("hard-mix")
    first = json.loads((tmp_path / "out" / "results.json").read_text())
    small_study("transfer-size")
    both = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [run["study"] for run in both["runs"]] == ["hard-mix"] * 7 + ["transfer-size"] * 12
    assert both["runs"][:7] == first["runs"]
    assert both["tables"]["hard-mix"] == first["tables"]["hard-mix"]


def test_a_partial_study_leaves_a_complete_one_alone(small_study, tmp_path, capsys):
    out = tmp_path / "out"
    small_study("hard-mix")
    complete = content(out)
    with pytest.raises(UserError, match="7 runs failed") as end:  # of 10
        small_study("omitted-class", open_pool=lost_pool, more=("--learning-rate-student", "0.01"))
    assert "results.partial.json" in str(end.value)
    complaint = capsys.readouterr().err.splitlines()
    assert len(complaint) == 1
    assert "the scheduler is gone; 7 runs are not made" in complaint[0]
    partial = json.loads(content(out)["results.partial.json"])
    assert len([run for run in partial["runs"] if run["study"] == "omitted-class"]) == 3
    assert len(partial["failed"]) == 7
    assert {f["reason"] for f in partial["failed"]} == {"the scheduler is gone"}
    assert {k: v for k, v in content(out).items() if k != "results.partial.json"} == complete

    printed = small_study("omitted-class", more=("--learning-rate-student", "0.01"))
    assert len(finished(printed.out)) == 7  # the other three were kept
    assert len(json.loads(content(out)["results.json"])["runs"]) == 17
    assert "results.partial.json" not in content(out)


def test_a_partial_study_is_completed_in_place(small_study, tmp_path, capsys):
    with pytest.raises(UserError, match="failed"):
        small_study("hard-mix", open_pool=lost_pool)
    first = json.loads(content(tmp_path / "out")["results.json"])
    assert len(first["failed"]) == 5
    with pytest.raises(UserError, match="failed"):
        small_study("transfer-size", open_pool=lost_pool)
    second = json.loads(content(tmp_path / "out")["results.json"])
    still = [failure for failure in first["failed"] if failure["config"]["hard_weight"] < 1]
    assert len(still) == 4  # weight 1 is a point of the other study too, and was made for it
    assert all(failure in second["failed"] for failure in still)
    assert not any(failure["config"] == first["failed"][-1]["config"] for failure in second["failed"])
    small_study("hard-mix", "transfer-size")
    found = json.loads(content(tmp_path / "out")["results.json"])
    assert not found["failed"]
    assert len(found["runs"]) == 19


def test_a_broken_rerun_loses_no_run_that_another_study_s_failures_stand_beside(small_study, tmp_path):
    with pytest.raises(UserError, match="failed"):
        small_study("hard-mix", open_pool=lost_pool)
    small_study("omitted-class")
    before = json.loads(content(tmp_path / "out")["results.json"])
    assert before["failed"]
    with pytest.raises(UserError, match=r"results\.partial\.json"):
        small_study("omitted-class", open_pool=lost_pool, more=("--learning-rate-student", "0.01"))
    assert json.loads(content(tmp_path / "out")["results.json"]) == before


@pytest.mark.parametrize(
    ("text", "said"),
    [("{}", "not a study's results"), ("[" * 50_000, "not a study's results"), (None, "is of other data")],
)
def test_what_is_no_result_of_this_study_is_not_replaced(text, said, small_study, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    if text is None:
        text = (COMMITTED / "results.json").read_text()
    (out / "results.json").write_text(text)
    with pytest.raises(UserError, match=said):
        small_study("hard-mix")
    assert content(out) == {"results.json": text.encode()}
    assert not (tmp_path / "cache").exists()  # before any training


def test_without_a_cache_the_tables_are_made_all_the_same(small_study, tmp_path):
    (tmp_path / "cache").write_text("no folder")
    printed = small_study("hard-mix")
    assert len(finished(printed.out)) == 7
    assert "| hard weight 0.25 |" in printed.out
    assert len(printed.err.splitlines()) == 1
    assert len(json.loads(content(tmp_path / "out")["results.json"])["runs"]) == 7


def test_tables_are_printed_although_the_disk_is_full_at_the_end(small_study, tmp_path, capsys):
    @contextmanager
    def filling_pool(n_jobs, shared):
        with thread_pool(n_jobs, shared) as pool:
            yield pool
        shutil.rmtree(tmp_path / "out")
        (tmp_path / "out").write_text("no folder")

    with pytest.raises(UserError, match="cannot write"):
        small_study("hard-mix", open_pool=filling_pool)
    assert "| hard weight 0.25 |" in capsys.readouterr().out


def test_an_output_that_cannot_be_written_is_said_before_any_training(small_study, tmp_path):
    (tmp_path / "out").write_text("no folder")
    with pytest.raises(UserError, match="cannot write"):
        small_study("hard-mix")
    assert not (tmp_path / "cache").exists()


def test_redraw_makes_tables_and_pictures_and_touches_no_run(tmp_path, capsys, monkeypatch):
    """The pictures are of all runs, those of the last seed among them."""
    found = json.loads((COMMITTED / "results.json").read_text())
    names = ("omitted-class", "hard-mix")
    found["runs"] = [run for run in found["runs"] if run["study"] in names]
    found["tables"] = {name: found["tables"][name] for name in names}
    (tmp_path / "results.json").write_text(json.dumps({**found, "tables": {"paper": "old"}}))
    drawn: list[set[tuple[str, int]]] = []

    def watched(study: Study) -> Study:
        def draw(question: str, runs: list[Run]) -> Figure:
            drawn.append({(run.study, run.config.seed) for run in runs})
            return study.draw(question, runs)

        return dataclasses.replace(study, draw=draw)

    monkeypatch.setattr(results, "STUDIES", {name: watched(study) for name, study in STUDIES.items()})
    script.main(["--redraw", "--outdir", str(tmp_path)])
    assert drawn == [{(name, run["seed"]) for run in found["runs"] if run["study"] == name} for name in names]
    assert json.loads((tmp_path / "results.json").read_text()) == found
    pictures = {STUDIES[name].picture for name in names}
    assert {name for name in content(tmp_path) if name.endswith(".png")} == pictures
    printed = capsys.readouterr().out
    assert all(table in printed for table in found["tables"].values())


# the end


SIGNALS = [name for name in ("SIGINT", "SIGTERM", "SIGKILL") if hasattr(signal, name)]


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals and process groups")
@pytest.mark.parametrize("name", SIGNALS)
def test_however_it_ends_no_process_stays_and_what_finished_is_stored(
    name, small_folder, tmp_path, monkeypatch
):
    flags = (*TINY, "--data-dir", small_folder, "--outdir", "out", "--seeds", 1, "--jobs", 2)
    flags = (*flags, "--study", "omitted-class", "--n-epochs-student", 150)  # longer than a signal takes
    process = subprocess.Popen(
        command(*flags), cwd=tmp_path, env=surroundings(tmp_path), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    lines = []
    while len(finished("".join(lines))) < 2:
        lines.append(process.stdout.readline())
        assert lines[-1], process.stderr.read()
    if name == "SIGINT":
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does it
    else:
        process.send_signal(getattr(signal, name))
    rest, complaint = process.communicate(timeout=60)
    until(lambda: not is_there(process.pid))
    n_finished = len(finished("".join(lines) + rest))
    runs = tmp_path / "cache" / "hinton-mnist" / "runs"
    stored = list(runs.glob("record-*.run"))
    assert n_finished <= len(stored) < 10
    assert not (tmp_path / "out" / "results.json").exists()
    assert not list((tmp_path / "tmp").iterdir())
    if name in ("SIGINT", "SIGTERM"):
        assert process.returncode == {"SIGINT": 130, "SIGTERM": 143}[name]
        assert len(complaint.splitlines()) == 1, complaint
        assert not list(runs.glob(".*.tmp*"))
    if name == "SIGTERM":
        monkeypatch.setattr(script, "local_pool", partial(lost_pool, deadly=1))
        monkeypatch.chdir(tmp_path)
        cache = ("--cache-dir", runs.parent)
        with pytest.raises(UserError, match=f"^{10 - len(stored)} runs failed"):  # the others need none
            script.main([*map(str, (*flags, *cache))])


def test_half_a_result_is_not_waited_for():
    """As a worker leaves it that is killed while it sends one: the executor's thread ends all the same."""
    threads = []

    def interrupted() -> None:
        with local_pool(1, None) as pool:
            pool.executor.submit(abs, -1).result()
            threads.append(pool.executor._executor_manager_thread)
            os.write(pool.executor._result_queue._writer.fileno(), struct.pack("!i", 1000) + b"begun")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        interrupted()
    threads[0].join(20)
    assert not threads[0].is_alive()


def is_there(group: int) -> bool:
    """Whether a process of this group lives."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


# a cluster


@pytest.fixture
def silent_server():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"


ADDRESSES = {
    "": "is no address",
    "nonsense": "is no address",
    "tcp://127.0.0.1": "is no address",
    "foo://127.0.0.1:8786": "unknown address scheme",
    "tcp://no.such.host.invalid:8786": "no.such.host.invalid",
    "tcp://127.0.0.1:9": "no Dask scheduler answers",
    "an HTTP server": "no Dask scheduler answers",
    "a silent server": "no Dask scheduler answers",
}


@pytest.mark.parametrize("address", ADDRESSES)
def test_no_scheduler_is_said_in_one_line_and_soon(address, mirror, silent_server, monkeypatch, tmp_path):
    pytest.importorskip("distributed", reason="the package distributed is not installed")
    monkeypatch.chdir(tmp_path)
    assert cluster.RESOLVE_SECONDS + cluster.CONNECT_SECONDS + cluster.ANSWER_SECONDS < 20
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 0.5)
    monkeypatch.setattr(cluster, "ANSWER_SECONDS", 1.0)
    http = f"tcp://127.0.0.1:{mirror.server.server_port}"
    given = {"an HTTP server": http, "a silent server": silent_server}
    started = time.monotonic()
    with pytest.raises(UserError) as refusal:
        script.main(["--outdir", "out", "--scheduler", given.get(address, address)])
    assert time.monotonic() - started < 6
    assert ADDRESSES[address] in str(refusal.value)
    assert str(refusal.value).isprintable()
    assert not (tmp_path / "out").exists()


def test_a_name_that_is_never_answered_for_is_not_waited_for(monkeypatch):
    pytest.importorskip("distributed", reason="the package distributed is not installed")
    monkeypatch.setattr(cluster, "RESOLVE_SECONDS", 0.2)
    monkeypatch.setattr(cluster.socket, "getaddrinfo", lambda *_: time.sleep(3))
    started = time.monotonic()
    with pytest.raises(UserError, match="the host name is not answered for"):
        cluster.check_scheduler("tcp://far.away:8786")
    assert time.monotonic() - started < 2


def test_a_cluster_loses_a_worker_and_then_its_scheduler(small_folder, small_data, tmp_path):
    """A real scheduler, at first without workers; then two that know no file of ours, one of them killed.

    A second study on it finds the scheduler killed, and the results of the first one there.
    """
    pytest.importorskip("distributed", reason="the package distributed is not installed")
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

    def begin(*flags: object) -> subprocess.Popen:
        everything = (*TINY, "--data-dir", small_folder, "--n-epochs-student", 8, "--study", "omitted-class")
        process = subprocess.Popen(
            command(*everything, *flags, "--outdir", "cluster", "--scheduler", address), cwd=tmp_path,
            env=surroundings(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        processes.append(process)
        return process

    def lines_until_four_are_finished(process: subprocess.Popen) -> str:
        lines: list[str] = []
        while len(finished("".join(lines))) < 4:
            lines.append(process.stdout.readline())
            assert lines[-1], process.stderr.read()
        return "".join(lines)

    address_file = tmp_path / "scheduler.json"
    try:
        place = ("--host", "127.0.0.1", "--port", 0, "--scheduler-file", address_file)
        scheduler = start("scheduler", *place, "--no-dashboard", name="scheduler")
        until(lambda: address_file.exists() and "address" in address_file.read_text())
        address = json.loads(address_file.read_text())["address"]
        study = begin("--seeds", 2)
        assert "waiting for workers" in study.stderr.readline()
        workers = [
            start("worker", address, "--no-nanny", "--nthreads", 1, "--no-dashboard", name=name)
            for name in ("first", "second")
        ]
        printed = lines_until_four_are_finished(study)
        workers[0].kill()
        rest, complaint = study.communicate(timeout=120)
        assert study.returncode == 0, complaint
        assert not complaint
        complete = content(tmp_path / "cluster")

        study = begin("--seeds", 2, "--seed", 7)
        lines_until_four_are_finished(study)
        scheduler.kill()
        _, complaint = study.communicate(timeout=60)
    finally:
        for process in processes:
            process.kill()
            process.wait()
            for pipe in (process.stdout, process.stderr):
                if pipe:
                    pipe.close()
    printed += rest
    assert len(finished(printed)) == 20
    assert printed.count("teacher of seed") == 2
    found = json.loads(complete["results.json"])
    assert not found["failed"]
    asked = {(c, seed) for c in range(10) for seed in (0, 1)}
    assert {(run["grid"]["omitted_class"][0], run["seed"]) for run in found["runs"]} == asked
    assert len(found["runs"]) == 20
    # one training of each teacher, whoever used it: the same seconds to the last digit
    assert len({(run["seed"], run["seconds"]["teacher"]) for run in found["runs"]}) == 2
    assert not (tmp_path / "nowhere").exists()  # workers keep nothing

    assert study.returncode == 2
    assert len(complaint.splitlines()) == 2, complaint
    assert f"the scheduler at {address} is gone" in complaint.splitlines()[0]
    now = content(tmp_path / "cluster")
    partial = json.loads(now.pop("results.partial.json"))["runs"]
    assert 4 <= len([run for run in partial if run["seed"] in (7, 8)]) < 20
    assert [run for run in partial if run["seed"] in (0, 1)] == found["runs"]
    assert now == complete

    tiny = {"teacher_hidden": (20,), "student_hidden": (10,), "n_epochs_teacher": 1, "n_epochs_student": 8}
    planned = plan(["omitted-class"], {**tiny, "cache_dir": tmp_path / "here"}, 1)
    records, _ = make([config for (config,) in planned.values()], small_data)
    for run in (run for run in found["runs"] if run["seed"] == 0):
        (config,) = planned["omitted-class", run["grid"]["omitted_class"][0]]
        for part in ("before_correction", "after_correction"):
            here = records[config]["student"][part]
            here.pop("confusion_matrix")
            assert run["student"][part] == here
        assert run["bias_correction"] == records[config]["bias_correction"]
