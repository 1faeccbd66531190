"""Stored runs: found again, known by everything that decides them, and never believed when damaged."""

from __future__ import annotations

from support import schedule, stored, tiles, transformations
from support.console import Console
from support.files import SEAL_BYTES, read_sealed, seal, write_sealed

import ast
import dataclasses
import gzip
import hashlib
import io
import os
import random
import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import distillation_mnist_omitted_3 as core

ROOT = Path(__file__).resolve().parent.parent
TINY = {"n_epochs_teacher": 1, "n_epochs_student": 1, "teacher_hidden": (12,), "student_hidden": (8,)}


def tiny(small_folder: Path, folder: Path, **more: object) -> core.Config:
    return core.Config(**{**TINY, "data_dir": small_folder, "cache_dir": folder, "outdir": folder, **more})


def path_of(kind: str, config: core.Config, data: core.Data) -> Path:
    store = stored.Store(config.cache_folder / "runs")
    return store.path(kind, core.determinants(kind, config, data))


# the key


def copy_of(module: types.ModuleType, old: str, new: str, folder: Path) -> types.ModuleType:
    """A module with the source of another, but for one change."""
    source = Path(module.__file__).read_text()
    assert source.count(old) >= 1, old
    path = folder / f"changed_{hashlib.sha256(new.encode()).hexdigest()[:8]}.py"
    path.write_text(source.replace(old, new, 1))
    changed = types.ModuleType(path.stem)
    changed.__file__ = str(path)
    return changed


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        (core, "MAX_OFFSET = 50.0", "MAX_OFFSET = 51.0"),
        (core, "0.9, 0.999, 1e-8", "0.9, 0.999, 1e-7"),
        (core, "math.sqrt(2 / fan_in)", "math.sqrt(1 / fan_in)"),
        (core, "order_seed=self.seed + 31", "order_seed=self.seed + 32"),
        (schedule, "warm_up = max(1, round(0.05", "warm_up = max(1, round(0.06"),
        (tiles, "MIN_TILE_WORK = 4 *", "MIN_TILE_WORK = 3 *"),
        (tiles, "function(tile)", "function(tile[::-1])"),
        (transformations, "FIELD_SIGMA = 4.0", "FIELD_SIGMA = 5.0"),
    ],
)
def test_the_key_sees_every_definition_constants_and_initialisation_too(module, old, new, tmp_path):
    assert stored.code_of(module) != stored.code_of(copy_of(module, old, new, tmp_path))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""log q_i with', '"""the log of q_i with'),
        ("# no sane logit needs more", "# another comment"),
        ('"""Logits (n, classes), float32', '"""Other words, float32'),
        ("    coming = next(feed)\n", "    coming = (next(feed))\n\n\n"),
    ],
)
def test_comments_docstrings_and_layout_change_no_key(old, new, tmp_path):
    assert stored.code_of(core) == stored.code_of(copy_of(core, old, new, tmp_path))


def test_the_code_of_every_module_that_a_training_runs_is_in_its_key(small_data):
    """Whatever of this project defines numerical code and is imported by the core, directly or not.

    The others neither compute nor hold a number that a training could see.
    """
    harmless = {
        "support", "support.console", "support.data", "support.download", "support.experiment",
        "support.files", "support.offsets", "support.report", "support.settings", "support.stored",
        "synthetic", "synthetic.digits", "synthetic.noise",
        "transfer", "transfer.probes", "transfer.settings",
    }  # fmt: skip
    imported, waiting = set(), ["distillation_mnist_omitted_3"]
    while waiting:
        name = waiting.pop()
        imported.add(name)
        for node in ast.walk(ast.parse(Path(sys.modules[name].__file__).read_text())):
            names = [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            names += [f"{node.module}.{a.name}" for a in node.names] if names else []
            names += [a.name for a in node.names] if isinstance(node, ast.Import) else []
            waiting += [
                n
                for n in names
                if n in sys.modules
                and n not in imported
                and str(getattr(sys.modules[n], "__file__", "")).startswith(str(ROOT))
                and ".venv" not in str(sys.modules[n].__file__)
            ]
    hashed = core.determinants("teacher", core.Config(), small_data)["code"]
    decisive = imported - harmless
    below = {f"support.{name}" for name in ("regularisation", "schedule", "tiles", "transformations")}
    below |= {"transfer.images", "transfer.answers"}
    assert decisive == {"distillation_mnist_omitted_3"} | below
    assert sorted(hashed) == sorted(stored.code_of(sys.modules[name]) for name in decisive)


def test_a_key_depends_on_what_decides_the_training_and_on_nothing_else(small_data):
    config = core.Config()

    def keys(config: core.Config, data: core.Data = small_data) -> tuple[str, str]:
        teacher, student = (
            stored.key_of(core.determinants(kind, config, data)) for kind in ("teacher", "student")
        )
        return teacher, student

    teacher, student = keys(config)
    other_data = dataclasses.replace(small_data, sha256={})
    assert keys(config, other_data)[0] != teacher
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
    experiment = core.run(config)
    paths = {kind: path_of(kind, config, experiment.data) for kind in ("teacher", "student")}
    return experiment, config, {kind: (path, path.read_bytes()) for kind, path in paths.items()}


def same(found: core.Experiment, expected: core.Experiment) -> bool:
    return all(
        found.runs[kind].test_logits.tobytes() == expected.runs[kind].test_logits.tobytes()
        and found.runs[kind].network.parameters.tobytes() == run.network.parameters.tobytes()
        and found.runs[kind].losses.tobytes() == run.losses.tobytes()
        for kind, run in expected.runs.items()
    )


def test_a_stored_run_is_the_run(finished):
    experiment, config, _ = finished
    again = core.run(config)
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
    elif kind == "short":
        del content[-4:]
    elif kind == "long":
        content += bytes(4)
    return bytes(content)


def saved(save, *arrays, **named) -> bytes:
    file = io.BytesIO()
    save(file, *arrays, **named)
    return file.getvalue()


def encrypted_member() -> bytes:
    archive = bytearray(saved(np.savez, parameters=np.zeros(3)))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        archive[archive.index(signature) + offset] |= 1
    return bytes(archive)


def huge_declaration() -> bytes:
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (999999999999,), }"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


DAMAGES = {
    "empty": lambda run: b"",
    "text": lambda run: b"<html>",
    "cut": lambda run: run[:-2000],
    "a line break more": lambda run: run + b"\n",
    "no seal": lambda run: run[SEAL_BYTES:],
    "forged logits": lambda run: run[:-40] + np.full(10, 9.0, np.float32).tobytes(),
    "npy": lambda run: saved(np.save, np.zeros(9)),
    "npz": lambda run: saved(np.savez, parameters=np.zeros(9)),
    "encrypted": lambda run: encrypted_member(),
    "huge": lambda run: huge_declaration(),
    "too large": lambda run: run + bytes(10_000_000),
    "gzip": gzip.compress,
}
UNDER_A_RIGHT_SEAL = {
    "nan": lambda run: changed_content(run, "nan"),
    "infinity": lambda run: changed_content(run, "infinity"),
    "nan loss": lambda run: changed_content(run, "nan loss"),
    "short": lambda run: changed_content(run, "short"),
    "long": lambda run: changed_content(run, "long"),
    "npz": lambda run: saved(np.savez, parameters=np.zeros(9)),
    "huge": lambda run: huge_declaration(),
}


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
            write_sealed(path, UNDER_A_RIGHT_SEAL[damage.removeprefix("sealed ")](content))
    again = core.run(config, Console(quiet=True))
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
    assert all(run.reused for run in core.run(config).runs.values())


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
        assert same(core.run(config, Console(quiet=True)), experiment)
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


def test_zip_bombs_are_not_even_opened(finished, capsys):
    _, config, files = finished
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("parameters.npy", bytes(50_000_000))
    path, content = files["teacher"]
    path.write_bytes(bomb.getvalue())
    core.run(config, Console(quiet=True))
    assert "is damaged" in capsys.readouterr().err
    path.write_bytes(content)


def test_a_diverging_training_is_stopped_and_never_stored(small_folder, tmp_path):
    with pytest.raises(
        core.UserError, match=r"student's training diverged; try a smaller --learning-rate-student$"
    ):
        core.run(tiny(small_folder, tmp_path, learning_rate_student=1e30))
    assert [path.name.partition("-")[0] for path in (tmp_path / "runs").iterdir()] == ["teacher"]


def test_a_loss_that_is_no_number_stops_the_training(small_data, tmp_path):
    class Silent:
        def row(self, *columns: str) -> None:
            pass

        line = warn = progress = row

    training = stored.Training(
        "teacher", {}, core.MLP((2, 3), None), 2, train=lambda watcher: watcher.epoch_done(1, np.nan, 0.0),
        predict_test=lambda: np.zeros((1, 3)), output_shape=(1, 3), measure=lambda z: {}, shown={},
    )  # fmt: skip
    session = stored.Session(None, Silent(), stored.Store(tmp_path))
    with pytest.raises(core.UserError, match="diverged"):
        session.finished(training)
