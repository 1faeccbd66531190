"""Stored runs: found again, known by everything that decides them, and never believed when damaged."""

from __future__ import annotations

from support import feed, regularisation, stored, tiles, transformations
from support.console import Console, UserError
from support.files import SEAL_BYTES, read_sealed, seal, write_sealed

import ast
import dataclasses
import inspect
import json
import os
import random
import shutil
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import distillation_mnist_omitted_3 as core
from beyond import answers, images, pipeline
from beyond.settings import RECIPES, Config

ROOT = Path(__file__).resolve().parents[2]
TINY = {"n_epochs_teacher": 1, "n_epochs_student": 1, "teacher_hidden": (12,), "student_hidden": (8,)}


def tiny(small_folder: Path, folder: Path, **more: object) -> Config:
    return Config(**{**TINY, "data_dir": small_folder, "cache_dir": folder, "outdir": folder, **more})


def path_of(kind: str, config: Config, experiment: core.Experiment) -> Path:
    store = stored.Store(config.cache_folder / "runs")
    teacher = experiment.teacher.network.parameters if kind == "student" else None
    return store.path(kind, pipeline.determinants(kind, config, experiment.data, teacher))


# the key


def changed(monkeypatch, module: types.ModuleType, name: str, old: str, new: str) -> None:
    """Put in place of a function or class of `module` the same with one change in its source."""
    source = inspect.getsource(getattr(module, name))
    assert old in source, (name, old)
    whole = ast.parse(Path(module.__file__).read_text())  # its imports are part of how a name is compiled
    imports = [ast.unparse(node) for node in whole.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    made: dict[str, Any] = {}
    text = "\n".join([*imports, source.replace(old, new)])
    exec(compile(text, module.__file__, "exec"), vars(module), made)
    monkeypatch.setattr(module, name, made[name])


def both_keys(data: core.Data) -> list[str]:
    config = Config(transfer_choice="least-like", transfer_fraction=0.5)
    return [stored.key_of(pipeline.determinants(kind, config, data)) for kind in ("teacher", "student")]


@pytest.mark.parametrize(
    ("module", "name", "old", "new"),
    [
        (core, "Adam", "0.9, 0.999, 1e-8", "0.9, 0.999, 1e-7"),
        (core, "MLP", "math.sqrt(2 / fan_in)", "math.sqrt(1 / fan_in)"),
        (core, "train", "total_loss / n_images", "total_loss"),
        (core, "log_softmax", "/ temperature", "* temperature"),
        (core, "predict", "chunk: int = 1000", "chunk: int = 500"),
        (feed, "learning_rate_at", "0.05 * n_steps", "0.06 * n_steps"),
        (tiles, "Workers", "function(tile)", "function(tile[::-1])"),
        (transformations, "smooth_fields", "* 2 - 1", "* 2"),
        (regularisation, "dropout_mask", "65536", "65535"),
    ],
)
def test_a_key_sees_all_code_that_a_training_reaches(module, name, old, new, small_data, monkeypatch):
    """Also where another module has the function by its name, as after `from support.feed import`."""
    before, original = both_keys(small_data), getattr(module, name)
    changed(monkeypatch, module, name, old, new)
    for other in (core, feed, transformations):
        if vars(other).get(name) is original:
            monkeypatch.setattr(other, name, getattr(module, name))
    assert not set(both_keys(small_data)) & set(before)


@pytest.mark.parametrize(
    ("module", "name", "value"),
    [(transformations, "FIELD_SIGMA", 5.0), (transformations, "N_WARPS", 400), (tiles, "MIN_TILE_WORK", 9)],
)
def test_a_key_sees_the_constants_that_code_uses(module, name, value, small_data, monkeypatch):
    before = both_keys(small_data)
    monkeypatch.setattr(module, name, value)
    assert not set(both_keys(small_data)) & set(before)


def test_a_student_s_key_sees_what_alters_what_it_sees_and_hears(small_data, monkeypatch):
    teacher, student = both_keys(small_data)
    for module, name, old, new in (
        (answers, "altered", "logits.copy()", "logits.copy() * 1"),
        (answers, "altered_answers", "logits()[batch]", "logits()[batch] * 1"),
        (core, "mixed", "(1 - hard_weight) * soft_value", "soft_value"),
        (pipeline, "chosen_images", "config.seed + 47", "config.seed + 48"),
        (images, "part_of", "max(1,", "max(2,"),
    ):
        with monkeypatch.context() as patch:
            original = getattr(module, name)
            changed(patch, module, name, old, new)
            for other in (core, answers, pipeline):
                if vars(other).get(name) is original:
                    patch.setattr(other, name, getattr(module, name))
            assert both_keys(small_data)[0] == teacher, name
            assert both_keys(small_data)[1] != student, name
    assert both_keys(small_data) == [teacher, student]


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("log_softmax", '"""log q_i with', '"""the log of q_i with'),
        ("log_softmax", "    scaled =", "    # another comment\n    scaled ="),
        (
            "train",
            "        total_loss += value * len(batch)\n",
            "        total_loss += (value * len(batch))\n\n\n",
        ),
        ("Adam", '"""Adam (Kingma', '"""Another (Kingma'),
        ("predict", '"""Logits (n, outputs), float32', '"""Other words, float32'),
    ],
)
def test_comments_docstrings_and_layout_change_no_key(name, old, new, small_data, monkeypatch):
    before = both_keys(small_data)
    changed(monkeypatch, core, name, old, new)
    assert both_keys(small_data) == before


def test_help_texts_and_messages_change_no_key(small_data, monkeypatch):
    before = both_keys(small_data)
    monkeypatch.setattr("beyond.data.RENDERED_NOTICE", "other words")
    monkeypatch.setitem(RECIPES, "fast", {"batch_size": 7})
    monkeypatch.setattr(stored, "said", lambda error: "other words")
    assert both_keys(small_data) == before


def test_what_runs_decides_and_not_what_stands_in_a_file(tmp_path):
    """An edit after the import is no code yet; after a reload it is."""
    program = """
import importlib, sys
from pathlib import Path
from support import feed
from support.code import digest_of
path = Path(feed.__file__)
found = [digest_of(feed.learning_rate_at)]
path.write_text(path.read_text().replace("0.05 * n_steps", "0.07 * n_steps"))
found.append(digest_of(feed.learning_rate_at))
sys.dont_write_bytecode = True
importlib.invalidate_caches()
importlib.reload(feed)
found.append(digest_of(feed.learning_rate_at))
print(*found, feed.learning_rate_at(0, 100, 1.0, "linear"))
"""
    shutil.copytree(ROOT / "support", tmp_path / "support", ignore=shutil.ignore_patterns("__pycache__"))
    run = [sys.executable, "-B", "-c", program]
    result = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=True)
    imported, edited, reloaded, rate = result.stdout.split()
    assert imported == edited != reloaded
    assert float(rate) == pytest.approx(1 / 7)


def test_a_key_is_the_same_for_a_script_and_for_who_imports_it(small_data):
    """Run as a script the core is another module, of the same file."""
    source = f"import runpy, sys; sys.argv = ['x']; sys.path.insert(0, {str(ROOT)!r})\n"
    source += "from support.code import digest_of\nimport distillation_mnist_omitted_3 as core\n"
    source += f"main = runpy.run_path({str(ROOT / 'distillation_mnist_omitted_3.py')!r}, run_name='other')\n"
    source += "sys.modules['other'] = core\n"  # where its functions say that they are from: that file
    source += "print(digest_of(core.train), digest_of(main['train']))"
    result = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    imported, script = result.stdout.split()
    assert imported == script


def test_what_a_key_cannot_hold_is_an_error_and_a_whole_number_a_float_where_one_is_meant():
    with pytest.raises(TypeError):
        stored.key_of({"folder": Path("x")})
    whole, broken = Config(temperature=20, learning_rate=1), Config(temperature=20.0)
    assert json.dumps(whole.plain()["temperature"]) == json.dumps(broken.plain()["temperature"]) == "20.0"
    assert Config(seed=np.int64(3), learning_rate=np.float32(0.5)).plain()["learning_rate"] == 0.5
    assert type(Config(seed=np.int64(3)).seed) is int


def test_the_kernel_and_the_data_as_they_are_used_are_in_the_key(small_data, monkeypatch):
    before = both_keys(small_data)
    renamed = dataclasses.replace(small_data, name="others", sha256={"x": "y"})
    assert both_keys(renamed) == before  # whatever they are called
    for field in ("train_images", "train_labels", "test_images", "test_labels"):
        swapped = dataclasses.replace(small_data, **{field: getattr(small_data, field)[::-1]})
        assert not set(both_keys(swapped)) & set(before)
    monkeypatch.setattr(stored, "arithmetic", lambda: {"kernel": "Z80"})
    assert not set(both_keys(small_data)) & set(before)


def test_a_student_belongs_to_its_teacher_s_parameters(small_folder, tmp_path):
    """A teacher trained again with other bits leaves no student of one that is gone."""
    config = tiny(small_folder, tmp_path)
    first = pipeline.run(config)
    parameters = first.teacher.network.parameters
    keys = {
        stored.key_of(pipeline.determinants("student", config, first.data, one))
        for one in (parameters, parameters * 1.0, np.nextafter(parameters, 1))
    }
    assert len(keys) == 2
    with stored.open_session(tmp_path, False, Console(quiet=True)) as session:
        other = core.MLP(first.teacher.network.sizes, np.random.default_rng(1))
        for teacher, is_known in ((other, False), (first.teacher.network, True)):
            lesson = pipeline.student_lesson(config, first.data, teacher, session.workers)
            run = pipeline.train_student(config, first.data, teacher, lesson, session)
            assert run.reused == is_known


def test_a_key_depends_on_what_decides_the_training_and_on_nothing_else(small_data):
    config = Config()

    def keys(config: Config, data: core.Data = small_data) -> tuple[str, str]:
        teacher, student = (
            stored.key_of(pipeline.determinants(kind, config, data)) for kind in ("teacher", "student")
        )
        return teacher, student

    teacher, student = keys(config)
    changes = {
        "both": [
            {"seed": 1}, {"n_epochs_teacher": 1}, {"teacher_hidden": (9,)}, {"batch_size": 9},
            {"learning_rate": 0.1}, {"lr_schedule": "linear"}, {"jitter": 1}, {"dropout_input": 0.1},
            {"dropout": 0.1}, {"max_norm": 3.0}, {"rotation": 1.0}, {"scaling": 0.1}, {"shear": 0.1},
            {"elastic": 1.0},
        ],
        "student": [
            {"temperature": 3.0}, {"omitted_class": (4,)}, {"n_epochs_student": 1}, {"student_hidden": (9,)},
            {"batch_size_student": 9}, {"learning_rate_student": 0.1}, {"jitter_student": 1},
            {"hard_weight": 0.5}, {"transfer_fraction": 0.5}, {"rotation_student": 1.0},
            {"scaling_student": 0.1}, {"shear_student": 0.1}, {"elastic_student": 1.0},
        ],
        "neither": [
            {"probe_size": 9}, {"outdir": Path("x")}, {"quiet": True}, {"retrain": True},
            {"cache_dir": Path("y")}, {"recipe": "fast"}, {"mirror": ("z",)},
        ],
    }  # fmt: skip
    for which, settings_of in changes.items():
        for one in settings_of:
            new = keys(dataclasses.replace(config, **one))
            assert (new[0] != teacher, new[1] != student) == (which == "both", which != "neither"), one
    hard = dataclasses.replace(config, hard_weight=1.0)  # no teacher is asked
    same = dataclasses.replace(hard, temperature=3.0, n_epochs_teacher=1)
    assert keys(hard)[1] == keys(same)[1]


# the content


@pytest.fixture(scope="module")
def finished(small_folder, tmp_path_factory):
    """A small experiment whose trainings are stored, its config, and the bytes of both."""
    folder = tmp_path_factory.mktemp("finished")
    config = tiny(small_folder, folder)
    experiment = pipeline.run(config)
    paths = {kind: path_of(kind, config, experiment) for kind in ("teacher", "student")}
    return experiment, config, {kind: (path, path.read_bytes()) for kind, path in paths.items()}


def same(found: core.Experiment, expected: core.Experiment) -> bool:
    return all(
        found.runs[kind].test_logits.tobytes() == expected.runs[kind].test_logits.tobytes()
        and found.runs[kind].network.parameters.tobytes() == run.network.parameters.tobytes()
        and found.runs[kind].losses.tobytes() == run.losses.tobytes()
        for kind, run in expected.runs.items()
    )


def test_a_stored_run_is_the_run(small_folder, tmp_path):
    config = tiny(small_folder, tmp_path)
    experiment, again = pipeline.run(config), pipeline.run(config)
    assert same(again, experiment)
    assert [run.reused for run in experiment.runs.values()] == [False, False]
    assert [run.reused for run in again.runs.values()] == [True, True]
    assert again.teacher.seconds.tobytes() == experiment.teacher.seconds.tobytes()


def changed_content(sealed_run: bytes, kind: str) -> bytes:
    """A stored run's content, without its seal, with something wrong in it."""
    content = bytearray(sealed_run[SEAL_BYTES:])
    if kind in ("nan", "infinity"):
        content[-4:] = np.array([np.nan if kind == "nan" else np.inf], np.float32).tobytes()
    elif kind == "nan loss":
        n_parameters = 784 * 12 + 12 + 12 * 10 + 10
        content[4 * n_parameters : 4 * n_parameters + 8] = np.array([np.nan]).tobytes()
    elif kind in ("seconds", "absurd seconds"):  # after 9,562 parameters and a loss
        start = 4 * (784 * 12 + 12 + 12 * 10 + 10) + 8
        content[start : start + 8] = np.array([-1.0 if kind == "seconds" else 1e300]).tobytes()
    elif kind == "weights":
        content[:4] = np.array([3e38], np.float32).tobytes()
    elif kind == "another network":
        content[:4000] = np.full(1000, 0.5, np.float32).tobytes()
    elif kind == "short":
        del content[-4:]
    elif kind == "long":
        content += bytes(4)
    return bytes(content)


DAMAGES = {
    "empty": lambda run: b"",
    "cut": lambda run: run[:-2000],
    "a line break more": lambda run: run + b"\n",
    "forged logits": lambda run: run[:-40] + np.full(10, 9.0, np.float32).tobytes(),
}
UNDER_A_RIGHT_SEAL = (
    "nan", "infinity", "nan loss", "seconds", "absurd seconds", "weights", "another network", "short", "long"
)  # fmt: skip


@pytest.mark.parametrize(
    "damage", [*DAMAGES, *(f"sealed {name}" for name in UNDER_A_RIGHT_SEAL), "exchanged"]
)
def test_a_damaged_run_is_said_in_one_line_and_trained_again(damage, finished, capsys):
    experiment, config, files = finished
    others = dict(zip(files, reversed(files.values()), strict=True))
    for kind, (path, content) in files.items():
        if damage == "exchanged":  # whole, but another training's
            path.write_bytes(others[kind][1])
        elif damage in DAMAGES:
            path.write_bytes(DAMAGES[damage](content))
        else:
            write_sealed(path, changed_content(content, damage.removeprefix("sealed ")))
    again = pipeline.run(config, Console(quiet=True))
    assert same(again, experiment)
    assert not any(run.reused for run in again.runs.values())
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    for line, kind in zip(lines, files, strict=True):
        assert line.startswith(f"warning: the stored {kind} ")
        assert " is damaged" in line
        assert line.endswith("; training it again")
    for path, content in files.values():  # stored again; what it took to train it may differ
        assert len(path.read_bytes()) == len(content)
    assert all(run.reused for run in pipeline.run(config).runs.values())


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("special", ["pipe", "folder", "device"])
def test_what_is_no_plain_file_is_neither_waited_for_nor_read(special, finished, capsys):
    experiment, config, files = finished
    path, content = files["teacher"]
    path.unlink()
    if special == "pipe":
        os.mkfifo(path)
    elif special == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    try:
        assert same(pipeline.run(config, Console(quiet=True)), experiment)
        warning, *later = capsys.readouterr().err.splitlines()
        assert "is damaged (" in warning
        assert ["not stored" in line for line in later] == [True]  # and it is not replaced
    finally:
        path.rmdir() if special == "folder" else path.unlink()
        path.write_bytes(content)


def test_no_flipped_bit_is_ever_believed(finished, tmp_path):
    """Every bit of the seal, and of the rest a few hundred at random."""
    _, _, files = finished
    path, whole = files["student"]
    copy = tmp_path / path.name
    rng = random.Random(0)
    for bit in [*range(65 * 8), *(rng.randrange(len(whole) * 8) for _ in range(400))]:
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        copy.write_bytes(flipped)
        with pytest.raises(ValueError, match="damaged"):
            read_sealed(copy, len(whole))
    copy.write_bytes(whole)
    assert read_sealed(copy, len(whole)) == whole[SEAL_BYTES:]


@given(st.binary(max_size=200))
@settings(max_examples=40, deadline=None)
def test_what_is_sealed_comes_back_and_nothing_else_does(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("sealed") / "x"
    write_sealed(path, content)
    assert read_sealed(path, len(content)) == content
    assert path.read_bytes() == seal(content, "x") + content
    with pytest.raises(ValueError, match="large"):
        read_sealed(path, len(content) - 1)
    path.rename(path.with_name("y"))
    with pytest.raises(ValueError, match="damaged"):  # of another name
        read_sealed(path.with_name("y"), len(content))
    path.write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        read_sealed(path, 300)


@pytest.mark.parametrize("rate", [1e30, 1e6])
def test_a_diverging_training_is_stopped_and_never_stored(rate, small_folder, tmp_path):
    """Also where its numbers are finite still, and no sane ones."""
    with pytest.raises(
        UserError, match=r"student's training diverged; try a smaller --learning-rate-student$"
    ):
        pipeline.run(tiny(small_folder, tmp_path, learning_rate_student=rate))
    assert [path.name.partition("-")[0] for path in (tmp_path / "runs").iterdir()] == ["teacher"]


def test_a_loss_that_is_no_number_stops_the_training(small_data, tmp_path):
    training = stored.Training(
        "teacher", {}, core.MLP((2, 3), None), 2,
        predict_test=lambda n: np.zeros((n, 3)), output_shape=(1, 3), measure=lambda z: {}, shown={},
    )  # fmt: skip
    session = stored.Session(None, Console(quiet=True), stored.Store(tmp_path))
    with pytest.raises(UserError, match="diverged"):
        session.recorder(training).epoch_done(1, np.nan)


def test_a_key_is_the_same_wherever_the_project_lies(tmp_path):
    for name in ("support", "beyond", "synthetic"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "distillation_mnist_omitted_3.py", tmp_path)
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\nfrom support.code import digest_of\n"
        "import distillation_mnist_omitted_3 as core\nfrom beyond import pipeline\n"
        "print(digest_of(core.train, core.Workers, pipeline.student_lesson))"
    )
    found = {
        subprocess.run([sys.executable, "-c", program, str(place)], capture_output=True, check=True).stdout
        for place in (ROOT, tmp_path)
    }
    assert len(found) == 1
