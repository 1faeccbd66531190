"""The CIFAR-10 experiment: that each setting reaches what it is for, the pipeline, and the command line."""

from __future__ import annotations

from support.console import Console, UserError
from support.data import Data
from support.experiment import Experiment
from support.files import read_sealed, write_sealed
from support.report import summary
from support.settings import flag_name
from support.stored import key_of, open_session

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from small_cifar10 import small_data, write_batches

import distillation_mnist_omitted_3 as core
from cifar10 import __main__ as command_line
from cifar10 import deployed, lessons, pictures
from cifar10.data import CLASSES
from cifar10.experiment import run, run_on_data
from cifar10.layers import whitening_kernels
from cifar10.lessons import determinants, train_baseline, train_student
from cifar10.network import ConvNet
from cifar10.optimisers import Muon, Nesterov
from cifar10.settings import Config
from cifar10.training import predict, views

ROOT = Path(__file__).resolve().parent.parent
QUIET = Console(quiet=True)
SMALL = {
    "teacher_channels": ("5", "M", "4"), "student_channels": ("3", "M", "4"), "n_epochs_teacher": 2,
    "n_epochs_student": 2, "batch_size": 40, "batch_size_student": 30, "learning_rate": 0.1,
    "learning_rate_student": 0.2, "learning_rate_baseline": 0.15, "n_versions": 3, "label_fraction": 0.7,
    "transfer_fraction": 0.6, "jitter": 2, "jitter_student": 1, "probe_size": 60, "weight_decay": 0.1,
    "weight_decay_student": 0.05,
    "omitted_class": (3,), "seed": 4, "temperature": 5.0, "optimiser": "nesterov",
    "optimiser_student": "nesterov",
}  # fmt: skip
SMALL_FLAGS = [
    str(word)
    for name, value in SMALL.items()
    for word in ("--" + name.replace("_", "-"), *(value if isinstance(value, tuple) else (value,)))
]


@pytest.fixture(scope="module")
def data() -> Data:
    """The first 130 and 50 images: three full batches of the teacher, and some that are left over."""
    whole = small_data()
    parts = (
        whole.train_images[:130],
        whole.train_labels[:130],
        whole.test_images[:50],
        whole.test_labels[:50],
    )
    return Data("CIFAR-10 variant", *parts, {"images": "0"})


def trained(data: Data, folder: Path, **changed: object) -> Experiment:
    config = Config(**{**SMALL, "cache_dir": folder, **changed})
    with open_session(config.cache_folder, config.retrain, QUIET) as session:
        return run_on_data(data, config, session)


@pytest.fixture(scope="module")
def small(data: Data, tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    return trained(data, tmp_path_factory.mktemp("small"))


# ---- Each setting reaches what it is for -------------------------------------------------------------------


def by_hand(data: Data, workers, **wanted) -> np.ndarray:
    """The parameters of a network after training as described, written once more and as plainly as can be.

    `wanted`: channels, weight_seed, order_seed, indices, n_per_epoch, n_epochs, batch_size, jitter, shifts
    (versions, image, 2) or None, rate, schedule, optimiser, weight_decay, and loss(logits, batch, version),
    which gives the gradient.
    """
    w = SimpleNamespace(**wanted)
    network = ConvNet(w.channels, np.random.default_rng(w.weight_seed))
    network.whitening.kernels[:] = whitening_kernels(data.train_images[w.indices[:1000]])
    kinds = {"nesterov": lambda: Nesterov(network.trained, w.weight_decay)}
    kinds["muon"] = lambda: Muon(network, w.weight_decay)
    optimiser, rng = kinds[w.optimiser](), np.random.default_rng(w.order_seed)
    per_epoch = w.n_per_epoch // w.batch_size
    n_steps = w.n_epochs * per_epoch
    warm_up = max(1, round(n_steps / 20))
    starts_mirrored = [draw < 0.5 for draw in rng.random(w.n_per_epoch)]
    step = 0
    for epoch in range(w.n_epochs):
        order = rng.permutation(w.n_per_epoch)
        for start in range(0, per_epoch * w.batch_size, w.batch_size):
            places = order[start : start + w.batch_size]
            batch = np.array([w.indices[place % len(w.indices)] for place in places])
            version = rng.integers(0, 1 if w.shifts is None else len(w.shifts), w.batch_size)
            shifts = rng.integers(0, 2 * w.jitter + 1, (w.batch_size, 2))
            if w.shifts is not None:
                shifts = np.array([w.shifts[v][i] for v, i in zip(version, batch, strict=True)])
            mirrored = np.array([starts_mirrored[place] != (epoch % 2 == 1) for place in places])
            seen = views(data.train_images[batch], shifts, mirrored, w.jitter)
            d_logits = w.loss(network.forward(seen, workers, training=True), batch, version)
            rate = w.rate
            if w.schedule == "linear":
                share = (step + 1, warm_up) if step < warm_up else (n_steps - step, n_steps - warm_up)
                rate = rate * share[0] / share[1]
            optimiser.step(network.backward(d_logits, workers), rate, workers)
            step += 1
    return network.parameters


def all_by_hand(data: Data, config: Config, workers) -> dict[str, np.ndarray]:
    """The parameters of the three networks that these settings mean."""
    labels, n = data.train_labels, len(data.train_labels)
    in_random_order = np.random.default_rng(config.seed + 53).permutation(n)
    with_label = set(in_random_order[: round(config.label_fraction * n)])
    in_transfer = set(in_random_order[: round(config.transfer_fraction * n)])
    known = [i for i in range(n) if labels[i] not in config.omitted_class]

    def from_labels(logits, batch, version):
        return core.cross_entropy(logits, labels[batch])[1]

    common = {"schedule": config.lr_schedule}
    teacher = ConvNet(config.teacher_channels, None)
    teacher.parameters[:] = by_hand(
        data, workers, channels=config.teacher_channels, weight_seed=config.seed,
        order_seed=config.seed + 17, indices=np.array(sorted(with_label)), n_per_epoch=n,
        n_epochs=config.n_epochs_teacher, batch_size=config.batch_size, jitter=config.jitter, shifts=None,
        rate=config.learning_rate, optimiser=config.optimiser, loss=from_labels,
        weight_decay=config.weight_decay, **common,
    )  # fmt: skip
    jitter = config.jitter_student
    shifts = np.random.default_rng(config.seed + 47).integers(
        0, 2 * jitter + 1, (config.n_versions, n, 2), dtype=np.uint8
    )
    answers = np.zeros((config.n_versions, n, 10), np.float32)
    for version in range(config.n_versions):
        for flip in (False, True):
            seen = views(data.train_images, shifts[version], np.full(n, flip), jitter)
            answers[version] += teacher.forward(seen, workers)

    def from_teacher(logits, batch, version):
        return core.distillation_loss(logits, answers[version, batch] / 2, config.temperature)[1]

    of_student = (from_teacher, in_transfer, config.learning_rate_student)
    rate = config.learning_rate_baseline or config.learning_rate_student
    of_baseline = (from_labels, in_transfer & with_label, rate)
    students = {
        kind: by_hand(
            data, workers, channels=config.student_channels, weight_seed=config.seed + 1,
            order_seed=config.seed + 31, n_epochs=config.n_epochs_student,
            indices=np.array([i for i in known if i in seen]), n_per_epoch=len(known),
            batch_size=config.batch_size_student, jitter=jitter, shifts=shifts, rate=rate,
            optimiser=config.optimiser_student, loss=loss, weight_decay=config.weight_decay_student, **common,
        )
        for kind, (loss, seen, rate) in (("student", of_student), ("baseline", of_baseline))
    }  # fmt: skip
    return {"teacher": teacher.parameters, **students}


ALL = {"teacher", "student", "baseline"}
REACHES = [  # a setting, another value of it, and the trainings that it changes
    ("seed", 5, ALL),
    ("n_epochs_teacher", 1, {"teacher", "student"}),
    ("n_epochs_student", 1, {"student", "baseline"}),
    ("teacher_channels", ("6", "M", "4"), {"teacher", "student"}),
    ("student_channels", ("3", "4", "M"), {"student", "baseline"}),
    ("batch_size", 50, {"teacher", "student"}),
    ("batch_size_student", 40, {"student", "baseline"}),
    ("learning_rate", 0.05, {"teacher", "student"}),
    ("learning_rate_student", 0.1, {"student"}),
    ("learning_rate_baseline", 0.1, {"baseline"}),
    ("learning_rate_baseline", None, {"baseline"}),
    ("n_versions", 2, {"student", "baseline"}),
    ("label_fraction", 0.5, ALL),
    ("transfer_fraction", 0.4, {"student", "baseline"}),
    ("optimiser", "muon", {"teacher", "student"}),
    ("optimiser_student", "muon", {"student", "baseline"}),
    ("lr_schedule", "constant", ALL),
    ("weight_decay", 0.0, {"teacher", "student"}),
    ("weight_decay_student", 0.0, {"student", "baseline"}),
    ("jitter", 0, {"teacher", "student"}),
    ("jitter_student", 0, {"student", "baseline"}),
    ("temperature", 2.0, {"student"}),
    ("omitted_class", (0, 7), {"student", "baseline"}),
]


@pytest.mark.bits
def test_the_small_run_by_hand(small, data, workers):
    for kind, parameters in all_by_hand(data, small.config, workers).items():
        np.testing.assert_array_equal(small.runs[kind].network.parameters, parameters)


@pytest.mark.parametrize(
    ("name", "value", "reached"), REACHES, ids=[f"{name}={value}" for name, value, _ in REACHES]
)
def test_each_setting_reaches_the_trainings_that_it_is_for(
    name, value, reached, small, data, tmp_path, workers
):
    """Those it changes become what a training by hand gives; the others stay, bit for bit; so do the keys."""
    other = trained(data, tmp_path, **{name: value})
    expected = all_by_hand(data, other.config, workers)
    for kind, one in other.runs.items():
        np.testing.assert_array_equal(one.network.parameters, expected[kind])
    configs = (small.config, other.config)
    for kind, one in small.runs.items():
        theirs = other.runs[kind].network.parameters
        assert (one.network.parameters.tobytes() != theirs.tobytes()) == (kind in reached)
        keys = {key_of(determinants(kind, config, data)) for config in configs}
        assert len(keys) == 1 + (kind in reached)


def test_every_setting_has_a_test_of_its_effect():
    tested = {name for name, *_ in REACHES}
    elsewhere = {  # by the tests of data, correction, output and command line
        "hold_out", "dataset", "data_dir", "mirror", "cache_dir", "probe_size", "outdir", "retrain", "quiet"
    }  # fmt: skip
    assert tested | elsewhere == set(Config().plain())
    assert not tested & elsewhere


def test_the_data_decide_the_key_too(data):
    config = Config(**SMALL)
    whole = small_data()
    for kind in ALL:
        assert determinants(kind, config, data) != determinants(kind, config, whole)


@pytest.mark.parametrize("change", ["cut", "a bit"])
def test_damaged_answers_of_the_teacher_are_said_and_computed_anew(change, data, tmp_path, capsys):
    first = trained(data, tmp_path)
    (answers,) = (tmp_path / "runs").glob("answers-*")
    whole = answers.read_bytes()
    damaged = whole[:-4] if change == "cut" else whole[:-1] + bytes([whole[-1] ^ 1])
    answers.write_bytes(damaged)
    for path in (tmp_path / "runs").glob("student-*"):
        path.unlink()
    capsys.readouterr()
    again = trained(data, tmp_path)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: the stored teacher's answers ")
    assert line.endswith("are damaged; asking the teacher again")
    assert again.student.network.parameters.tobytes() == first.student.network.parameters.tobytes()
    assert answers.read_bytes() == whole


def test_stored_answers_are_used(data, tmp_path, monkeypatch):
    """What a second student of the same teacher hears, though its temperature is another."""
    trained(data, tmp_path)
    monkeypatch.setattr(lessons, "write_sealed", None)  # what is computed anew would be stored
    config = Config(**{**SMALL, "cache_dir": tmp_path, "temperature": 2.0})
    with open_session(config.cache_folder, False, QUIET) as session:
        teacher = lessons.train_teacher(config, data, session)
        assert not train_student(config, data, teacher.network, session).reused


def test_retraining_asks_the_teacher_again(data, tmp_path):
    """Whatever is stored under the answers' name, as by another version of a library."""
    first = trained(data, tmp_path)
    (answers,) = (tmp_path / "runs").glob("answers-*")
    whole = answers.read_bytes()
    n_bytes = len(read_sealed(answers, len(whole)))
    write_sealed(answers, np.zeros(n_bytes // 4, np.float32).tobytes())
    with open_session(tmp_path, True, QUIET) as session:
        again = train_student(first.config, data, first.teacher.network, session)
    assert again.network.parameters.tobytes() == first.student.network.parameters.tobytes()
    assert answers.read_bytes() == whole


def test_a_teacher_of_the_same_settings_answers_for_itself(data, tmp_path):
    """As one trained again on another processor: its sums are rounded otherwise."""
    first = trained(data, tmp_path, omitted_class=())
    next((tmp_path / "runs").glob("student-*")).unlink()
    teacher = first.teacher.network
    teacher.parameters *= 1.01
    with open_session(tmp_path, False, QUIET) as session:
        found = train_student(first.config, data, teacher, session)
    assert found.network.parameters.tobytes() != first.student.network.parameters.tobytes()
    assert len(list((tmp_path / "runs").glob("answers-*"))) == 2


@pytest.mark.bits
@pytest.mark.parametrize("part", [{}, {"omitted_class": (5,)}, {"transfer_fraction": 0.3}])
def test_answers_for_all_images_serve_any_part_of_them(part, data, tmp_path, tmp_path_factory, monkeypatch):
    """The same student as one whose teacher was asked about that part alone."""
    whole = {"omitted_class": (), "transfer_fraction": 1.0}
    alone = trained(data, tmp_path_factory.mktemp("alone"), **{**whole, **part}).student
    trained(data, tmp_path, **whole, n_epochs_student=1)
    monkeypatch.setattr(lessons, "write_sealed", None)  # what is computed anew would be stored
    config = Config(**{**SMALL, **whole, **part, "cache_dir": tmp_path})
    with open_session(config.cache_folder, False, QUIET) as session:
        teacher = lessons.train_teacher(config, data, session)
        found = train_student(config, data, teacher.network, session)
    assert not found.reused
    assert found.network.parameters.tobytes() == alone.network.parameters.tobytes()


@pytest.mark.parametrize(
    "changed",
    [
        {"jitter_student": 2}, {"n_versions": 2}, {"omitted_class": (5,)},  # other images
        {"n_epochs_teacher": 1}, {"label_fraction": 0.5},  # another teacher
    ],
)  # fmt: skip
def test_other_answers_are_not_used(changed, data, tmp_path, tmp_path_factory):
    trained(data, tmp_path)
    found = trained(data, tmp_path, **changed).student
    alone = trained(data, tmp_path_factory.mktemp("alone"), **changed).student
    assert not found.reused
    assert found.network.parameters.tobytes() == alone.network.parameters.tobytes()


def test_the_student_hears_no_label_and_the_baseline_no_teacher(small, data, tmp_path, workers):
    """Other labels, the same teacher: the same student, bit for bit, and another baseline."""
    swapped = np.where(data.train_labels == 3, 3, (data.train_labels + 5) % 10).astype(np.uint8)
    swapped[swapped == 3] = np.where(data.train_labels[swapped == 3] == 3, 3, 4)
    other = Data(data.name, data.train_images, swapped, data.test_images, data.test_labels, {})
    with open_session(tmp_path, True, QUIET) as session:
        student = train_student(small.config, other, small.teacher.network, session)
    assert student.network.parameters.tobytes() == small.student.network.parameters.tobytes()
    with open_session(tmp_path, True, QUIET) as session:
        baseline = train_baseline(small.config, other, session)
    assert (baseline.network.parameters != small.runs["baseline"].network.parameters).any()


def test_the_teacher_is_the_same_after_it_has_taught(small, data, workers):
    """Frozen: neither its parameters nor its running statistics moved since its last epoch."""
    found = predict(small.teacher.network, data.test_images, workers)
    np.testing.assert_array_equal(found, small.teacher.test_logits[-1])


def test_training_reduces_the_loss(data, tmp_path):
    longer = {"n_epochs_teacher": 15, "n_epochs_student": 15, "weight_decay": 0.0, "jitter_student": 0}
    found = trained(data, tmp_path, **longer, optimiser="muon", learning_rate=0.4, jitter=0)
    for one in found.runs.values():
        assert one.losses[-1] < 0.95 * one.losses[0]


# ---- The correction, and what is returned ------------------------------------------------------------------


@pytest.mark.parametrize("omitted", [(3,), (0, 7), ()])
def test_the_networks_that_are_returned_give_the_reported_logits(omitted, data, tmp_path, workers):
    found = trained(data, tmp_path, omitted_class=omitted)
    before = predict(found.student.network, data.test_images, workers)
    np.testing.assert_array_equal(before, found.student_logits)
    after = predict(found.corrected_network, data.test_images, workers)
    np.testing.assert_allclose(after, found.corrected_logits, atol=1e-5)
    moved = np.zeros(10)
    moved[list(omitted)] = found.correction.offsets
    assert found.correction.reached
    assert all(abs(offset) > 0.01 for offset in found.correction.offsets)
    np.testing.assert_allclose(found.corrected_logits - before, np.tile(moved, (50, 1)), atol=1e-5)
    np.testing.assert_array_equal(predict(found.student.network, data.test_images, workers), before)
    again = trained(data, tmp_path, omitted_class=omitted)
    assert again.student.reused
    np.testing.assert_array_equal(again.student_logits, before)


@pytest.mark.parametrize("probe_size", [20, 60, 1000])
def test_the_correction_is_made_on_the_first_images_of_the_training_set(
    probe_size, small, data, tmp_path, workers
):
    """The corrected network's mean probability there is the class's frequency in all training labels."""
    found = trained(data, small.config.cache_dir, probe_size=probe_size)
    logits = predict(found.corrected_network, data.train_images[:probe_size], workers)
    assert len(logits) == len(found.probe_logits) == min(probe_size, 130)
    target = (data.train_labels == 3).mean()
    assert core.softmax(logits)[:, 3].mean() == pytest.approx(target, abs=1e-4)
    assert found.correction.probe_size == min(probe_size, 130)


def test_results_say_what_the_logits_say(small, data):
    found = json.loads(json.dumps(small.results()))
    for kind in ("teacher", "baseline"):
        logits = small.runs[kind].test_logits[-1]
        right = logits.argmax(axis=1) == data.test_labels
        assert found[kind]["test_accuracy"] == right.mean()
        assert found[kind]["omitted_accuracy"] == right[data.test_labels == 3].mean()
    for name, network in (("before", small.student.network), ("after", small.corrected_network)):
        logits = predict_all(network, data)
        assert (
            found["student"][f"{name}_correction"]["test_errors"]
            == (logits.argmax(axis=1) != data.test_labels).sum()
        )
    assert set(found["networks"]) == set(found["history"]) == set(found["reused"]) == ALL
    networks = found["networks"]
    same = [
        {k: v for k, v in networks[kind].items() if "8_bits" not in k} for kind in ("student", "baseline")
    ]
    assert same[0] == same[1]
    for kind, size in (("teacher", 9 * (120 + 20) + 2 * 9 + 50), ("student", 9 * (72 + 12) + 2 * 7 + 50)):
        assert networks[kind]["parameters"] == size
        assert 0 < networks[kind]["milliseconds_per_image"] < 1000
        assert 0 < networks[kind]["milliseconds_alone"] < 1000
    assert networks["teacher"]["multiply_adds"] == 32**2 * 144 + 9 * (32**2 * 120 + 16**2 * 20) + 40
    in_transfer = np.random.default_rng(4 + 53).permutation(130)[: round(0.6 * 130)]
    assert found["data"]["n_transfer"] == (data.train_labels[in_transfer] != 3).sum()
    both = np.pad(data.test_images, ((0, 0), (0, 0), (0, 1), (0, 1)), mode="reflect")
    with core.Workers(1) as workers:
        sums = sum(small.teacher.network.forward(x, workers) for x in (both, both[..., ::-1]))
    right = (sums.argmax(axis=1) == data.test_labels).mean()
    assert networks["teacher"]["test_accuracy_both_views"] == pytest.approx(right)
    assert list(found["wall_clock_seconds"]) == ["data", "teacher", "student", "baseline", "total"]
    assert [entry["epoch"] for entry in found["history"]["baseline"]] == [1, 2]


def predict_all(network: ConvNet, data: Data) -> np.ndarray:
    with core.Workers(1) as workers:
        return predict(network, data.test_images, workers)


# ---- Stored trainings --------------------------------------------------------------------------------------


CHANGES = [  # module, what stands there, what is put in its place
    ("cifar10/network.py", "LOGIT_SCALE = 0.125", "LOGIT_SCALE = 0.25"),
    ("cifar10/layers.py", "EPSILON = 1e-5", "EPSILON = 1e-4"),
    ("cifar10/layers.py", "STATISTICS_MOMENTUM = 0.4", "STATISTICS_MOMENTUM = 0.2"),
    ("cifar10/network.py", "math.sqrt(2 / (9 * block.n_from))", "math.sqrt(1 / (9 * block.n_from))"),
    ("cifar10/optimisers.py", "KERNEL_SHARE = 0.2", "KERNEL_SHARE = 0.3"),
    ("cifar10/training.py", 'mode="reflect"', 'mode="edge"'),
    ("cifar10/convolution.py", "(g0 + g1 + g2) / 2", "(g0 + g1 + g2) / 3"),
    ("cifar10/lessons.py", "N_WHITENING = 1000", "N_WHITENING = 900"),
    ("cifar10/lessons.py", "answers[version] = (both[0]", "answers[version] = (2 * both[0]"),
    ("cifar10/lessons.py", "config.part_seed)", "config.part_seed + 1)"),
    ("cifar10/lessons.py", "distillation_loss(logits,", "distillation_loss(2 * logits,"),
    ("support/feed.py", "0.05 * n_steps", "0.06 * n_steps"),
    ("support/tiles.py", "MIN_TILE_WORK = 4 *", "MIN_TILE_WORK = 3 *"),
]


def test_a_change_of_any_code_behind_a_training_changes_its_key(tmp_path):
    """Of constants and of the code that initialises the weights, too; of a comment, nothing."""
    for folder in ("cifar10", "support", "synthetic"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "distillation_mnist_omitted_3.py", tmp_path)
    sources = {name: (tmp_path / name).read_text() for name, _, _ in CHANGES}
    # one process, in which the modules are imported anew for each change
    script = """
import importlib, json, sys
from pathlib import Path
import numpy as np
def keys():
    for name in [name for name in sys.modules if name.partition(".")[0] in OURS]:
        del sys.modules[name]
    importlib.invalidate_caches()
    from cifar10.lessons import determinants
    from cifar10.settings import Config
    from support.data import Data
    from support.stored import key_of
    data = Data("CIFAR-10", *[np.zeros(0)] * 4, {})
    return [key_of(determinants(kind, Config(), data)) for kind in ("teacher", "student", "baseline")]
OURS = {"cifar10", "support", "synthetic", "distillation_mnist_omitted_3"}
found = [keys()]
for name, old, new in json.loads(sys.argv[1]):
    path, source = Path(name), Path(name).read_text()
    path.write_text(source.replace(old, new))
    found.append(keys())
    path.write_text(source)
found.append(keys())
print(json.dumps(found))
"""
    comment = ("cifar10/layers.py", "EPSILON = 1e-5", "EPSILON = 1e-5  # as others have it\n")
    for name, old, _ in (*CHANGES, comment):
        assert sources[name].count(old) >= 1
    result = subprocess.run(
        [sys.executable, "-B", "-c", script, json.dumps([*CHANGES, comment])],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr
    first, *changed, of_comment, last = json.loads(result.stdout)
    assert first == last == of_comment
    for (name, _, new), keys in zip(CHANGES, changed, strict=True):
        assert not set(keys) & set(first), f"{new} in {name} leaves a key as it was"
    assert len({tuple(keys) for keys in (first, *changed)}) == 1 + len(CHANGES)


# ---- Bad input ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"optimiser": "adam"}, "--optimiser must be one of nesterov, muon, not adam"),
        ({"optimiser_student": "Muon"}, "--optimiser-student must be one of nesterov, muon"),
        ({"lr_schedule": "cosine"}, "--lr-schedule"),
        ({"teacher_channels": (2**63,)}, "--teacher-channels must be numbers up to 10,000"),
        ({"student_channels": ("9" * 5000,)}, "--student-channels"),
        ({"teacher_channels": (10_001,)}, "--teacher-channels"),
        ({"teacher_channels": (0,)}, "--teacher-channels"),
        ({"teacher_channels": (True,)}, "--teacher-channels"),
        ({"teacher_channels": (8.5,)}, "--teacher-channels"),
        ({"teacher_channels": ()}, "--teacher-channels"),
        ({"teacher_channels": 8}, "--teacher-channels"),
        ({"teacher_channels": ("M", "8")}, "--teacher-channels"),
        ({"student_channels": ("8", "M", "M")}, "--student-channels"),
        ({"student_channels": ("8", "M") * 5}, "at most 4 M"),
        ({"omitted_class": ("tiger",)}, "--omitted-class: no class 'tiger'"),
        ({"omitted_class": (10,)}, "--omitted-class"),
        ({"omitted_class": (3.0,)}, "--omitted-class"),
        ({"omitted_class": (True,)}, "--omitted-class"),
        ({"omitted_class": 3}, "--omitted-class"),
        ({"omitted_class": tuple(range(10))}, "--omitted-class must be fewer"),
        ({"batch_size": 1}, "--batch-size must be"),
        ({"batch_size_student": 1}, "--batch-size-student"),
        ({"temperature": 0.0}, "--temperature"),
        ({"temperature": 1e5}, "--temperature"),
        ({"weight_decay": 1.0}, "--weight-decay"),
        ({"weight_decay": -0.1}, "--weight-decay"),
        ({"weight_decay_student": 1.0}, "--weight-decay-student"),
        ({"learning_rate": 0.0}, "--learning-rate"),
        ({"learning_rate_student": float("nan")}, "--learning-rate-student"),
        ({"learning_rate_baseline": 0.0}, "--learning-rate-baseline"),
        ({"n_versions": 0}, "--n-versions"),
        ({"label_fraction": 0.0}, "--label-fraction"),
        ({"label_fraction": 1.1}, "--label-fraction"),
        ({"transfer_fraction": 0.0}, "--transfer-fraction"),
        ({"jitter": -1}, "--jitter"),
        ({"jitter_student": 32}, "--jitter-student"),
        ({"n_epochs_teacher": 0}, "--n-epochs-teacher"),
        ({"n_epochs_student": 0}, "--n-epochs-student"),
        ({"dataset": "mnist"}, "--dataset"),
        ({"dataset": "rendered", "data_dir": Path()}, "--data-dir and --dataset rendered"),
    ],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(given, said):
    with pytest.raises(UserError, match=said) as caught:
        Config(**given)
    assert len(str(caught.value).splitlines()) == 1


def test_the_limits_themselves_are_taken():
    config = Config(
        teacher_channels=("1", "M") * 4, student_channels=(10_000,), batch_size=2, batch_size_student=2,
        weight_decay=0.0, jitter=0, jitter_student=31, temperature=10_000.0, omitted_class=range_of(9),
        n_epochs_teacher=1, n_epochs_student=1,
    )  # fmt: skip
    assert config.student_channels == ("10000",)


def range_of(n: int) -> tuple[int, ...]:
    return tuple(range(n))


def test_channels_and_classes_in_python_as_one_would_write_them():
    config = Config(
        teacher_channels=(32, "M", 64), student_channels=[16, "M"], omitted_class=("truck", "cat", 0)
    )
    assert config.teacher_channels == ("32", "M", "64")
    assert config.student_channels == ("16", "M")
    assert config.omitted_class == (0, 3, 9)
    assert config == Config(
        teacher_channels=("32", "M", "64"), student_channels=("16", "M"), omitted_class=(9, 3, 0, 0)
    )


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--teacher-channels", 2**63), "--teacher-channels"),
        (("--student-channels", "many"), "--student-channels"),
        (("--omitted-class", "tiger"), "no class 'tiger'; there are airplane"),
        (("--omitted-class", "-1"), "--omitted-class"),
        (("--optimiser", "adam"), "invalid choice: 'adam'"),
        (("--batch-size", "1"), "--batch-size"),
        (("--data-dir", "nowhere"), "nowhere"),
        (("--data-dir", ""), "--data-dir"),
    ],
)
def test_bad_flags_get_one_line(flags, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((UserError, SystemExit)) as caught:
        command_line.main(["--outdir", "out", "--cache-dir", "cache", *map(str, flags)])
    lines = (capsys.readouterr().err or str(caught.value)).splitlines()
    assert len(lines) == 1
    assert said in lines[0]
    assert "__main__" not in lines[0]
    assert getattr(caught.value, "code", 2) == 2
    assert not any(tmp_path.iterdir())


def test_a_single_image_to_learn_from_is_refused(data, tmp_path):
    labels = np.array([3] * 129 + [1], np.uint8)
    one = Data(data.name, data.train_images, labels, data.test_images, data.test_labels, {})
    with pytest.raises(UserError, match="too few images for the student: 1; omit fewer classes"):
        trained(one, tmp_path, transfer_fraction=1.0)
    assert not any((tmp_path / "runs").iterdir())  # nothing was trained before


@pytest.mark.parametrize(
    ("fraction", "kind"), [("label_fraction", "teacher"), ("transfer_fraction", "student")]
)
def test_too_small_a_part_is_refused(fraction, kind, data, tmp_path):
    with pytest.raises(UserError, match=f"too few images for the {kind}: [01];"):
        trained(data, tmp_path, **{fraction: 0.001})


@pytest.mark.parametrize(
    ("kind", "changed"),
    [
        ("teacher", {"learning_rate": 1e20}),
        ("teacher", {"learning_rate": 1e38, "optimiser": "muon"}),
        ("student", {"learning_rate_student": 1e20}),
        ("student", {"learning_rate_student": 1e38, "optimiser_student": "muon"}),
        ("baseline", {"learning_rate_baseline": 1e20}),
    ],
)
def test_a_training_that_diverges_ends_in_one_line(kind, changed, data, tmp_path, capsys):
    """It names the step size of that training; and in no warning, which would be an error here."""
    flag = flag_name(next(iter(changed)))
    with pytest.raises(UserError, match=f"the {kind}'s training diverged; try a smaller {flag}$"):
        trained(data, tmp_path, **changed)
    assert capsys.readouterr().err == ""


# ---- The command line --------------------------------------------------------------------------------------


def call(*flags: object, cwd: Path, module: str = "cifar10") -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, flags)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(cwd / "cache"), "COLUMNS": "80"},
        capture_output=True,
        text=True,
        timeout=240,
    )


def test_a_small_run_its_results_its_pictures_and_an_identical_second_one(tmp_path):
    """As a user calls it; the defaults of --cache-dir, the names of the files, --retrain, --quiet."""
    folder = write_batches(tmp_path / "data")
    flags = [*SMALL_FLAGS, "--data-dir", folder]
    first = call(*flags, "--outdir", "a", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert first.stderr == ""
    assert max(map(len, first.stdout.splitlines())) <= 80
    found = json.loads((tmp_path / "a" / "results.json").read_text())
    assert found["config"]["omitted_class"] == [3]
    assert found["config"]["data_dir"] == str(folder)
    assert found["data"]["n_transfer"] == 165
    stored = sorted((tmp_path / "cache" / "hinton-cifar10" / "runs").iterdir())
    assert [path.name.partition("-")[0] for path in stored] == ["answers", "baseline", "student", "teacher"]
    drawn = call(*flags, "--outdir", "a", cwd=tmp_path, module="cifar10.pictures")
    assert drawn.returncode == 0, drawn.stderr
    assert drawn.stdout.count("reused") == 3
    pngs = {path.stem for path in (tmp_path / "a").glob("*.png")}
    assert pngs == {"curves", "soft_targets", "compression", "unseen_class"}
    again = call(*flags, "--outdir", "b", "--retrain", "--quiet", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "student after it" in again.stdout
    assert "epoch" not in again.stdout
    other = json.loads((tmp_path / "b" / "results.json").read_text())
    assert not any(other["reused"].values())
    for key in ("data", "teacher", "student", "baseline", "bias_correction"):
        assert other[key] == found[key]
    assert [e["loss"] for e in other["history"]["student"]] == [
        e["loss"] for e in found["history"]["student"]
    ]


def test_a_class_may_be_named_and_classes_kept(data, tmp_path, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(command_line, "run", lambda config, console: asked.append(config) or stop())

    def stop() -> None:
        raise UserError("enough")

    for flags in (["cat"], ["3"], ["3", "cat"]):
        with pytest.raises(UserError, match="enough"):
            command_line.main(["--omitted-class", *flags])
    with pytest.raises(UserError, match="enough"):
        command_line.main(["--keep-class", "truck", "0", "bird"])
    assert [config.omitted_class for config in asked] == [(3,), (3,), (3,), (1, 3, 4, 5, 6, 7, 8)]


def test_help_shows_every_default(capsys):
    with pytest.raises(SystemExit):
        command_line.main(["--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "usage: python3 -m cifar10 [flags]" in shown
    assert "seed of every random choice (default: 0)" in shown
    assert "not on the test set (default: 0)" in shown
    assert "(default: 40 M 40 144 M 144 144 M 144)" in shown
    assert "(default: 0.0005)" in shown


def test_drawn_shapes_end_in_a_notice_and_a_folder_of_their_own(tmp_path, monkeypatch, capsys):
    drawn = tuple(part[:60] for part in vars_of(small_data())[:4])
    monkeypatch.setattr("synthetic.shapes.render_dataset", lambda: drawn)
    monkeypatch.setattr("cifar10.experiment.VIZ", tmp_path / "viz")
    flags = [*SMALL_FLAGS, "--n-epochs-teacher", "1", "--n-epochs-student", "1", "--dataset", "rendered"]
    command_line.main([*flags, "--cache-dir", str(tmp_path / "cache")])
    assert capsys.readouterr().err.count("NOT CIFAR-10") == 2  # at the start and at the end
    found = json.loads((tmp_path / "viz" / "rendered" / "cifar10" / "results.json").read_text())
    assert found["data"]["name"] == "rendered shapes"
    real = run(Config(**SMALL, data_dir=write_batches(tmp_path / "data"), cache_dir=tmp_path / "cache"))
    assert real.outdir == tmp_path / "viz" / "cifar10"


def test_an_output_that_cannot_be_written_is_said_before_anything_is_trained(tmp_path):
    config = Config(
        **SMALL, data_dir=write_batches(tmp_path / "data"), outdir=tmp_path / "file", cache_dir=tmp_path
    )
    config.outdir.write_text("in the way")
    with pytest.raises(UserError, match="cannot write"):
        run(config)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("omitted", [(3,), (0, 7), ()])
def test_the_final_table_fits_80_columns(omitted, data, tmp_path):
    whole = Data("CIFAR-10 variant, last 500 held out", *vars_of(data))
    found = trained(whole, tmp_path, omitted_class=omitted).results()
    for sizes in found["networks"].values():
        sizes |= {"parameters": 12_345_678, "multiply_adds": 1_234_567_890}
    found["wall_clock_seconds"] = {**dict.fromkeys(found["wall_clock_seconds"], 1234.5), "data": 9.8}
    lines = summary(found, "unseen").splitlines()
    assert max(map(len, lines)) <= 80
    rows = [line.partition("  ")[0] for line in lines if "1,234,567,890" in line]
    after = [f"student after it ({found['bias_correction']['offsets'][0]:+.3f})"] if len(omitted) == 1 else []
    after = ["student before the correction", *(after or ["student after it"])]
    rows_of_student = after if omitted else ["student, soft targets alone"]
    assert rows == ["teacher", *rows_of_student, "the same student, hard labels"]
    named = summary(found, "unseen", CLASSES)
    assert ("class cat on the probe" in named) == (omitted == (3,))
    assert ("class airplane offset" in named) == (omitted == (0, 7))
    assert max(map(len, summary(found, "unseen", ["automobile"] * 10).splitlines())) <= 80


def vars_of(data: Data) -> tuple:
    return data.train_images, data.train_labels, data.test_images, data.test_labels, data.sha256


# ---- Pictures ----------------------------------------------------------------------------------------------


def test_curves_show_the_history(small):
    losses, soft, accuracies = pictures.curves(small).axes
    drawn = [line.get_ydata().tolist() for line in (*losses.lines, *soft.lines, *accuracies.lines)]
    history = {kind: small.history(kind) for kind in ("teacher", "student", "baseline")}
    expected = [[e["loss"] for e in history[kind]] for kind in ("teacher", "baseline", "student")]
    expected += [[e["test_accuracy"] for e in entries] for entries in history.values()]
    assert drawn == expected


def test_legends_hide_neither_points_nor_titles(small):
    figure = pictures.curves(small)
    figure.draw_without_rendering()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [label for _, label, _, _ in pictures.SERIES]
    others = [figure._suptitle, figure._supxlabel, *figure.axes]
    assert not any(legend.get_window_extent().overlaps(one.get_window_extent()) for one in others)
    for axes in figure.axes:
        low, high = axes.get_ylim()
        assert all(low < y < high for line in axes.lines for y in line.get_ydata())


def test_legends_hide_no_bar_and_no_figure_of_compression(small):
    figure = pictures.compression(small)
    figure.draw_without_rendering()
    for axes in figure.axes:
        box = axes.get_legend().get_window_extent()
        for one in (*axes.patches, *axes.texts):
            assert not box.overlaps(one.get_window_extent())
        texts = [text.get_window_extent() for text in axes.texts]
        assert not any(a.overlaps(b) for i, a in enumerate(texts) for b in texts[:i])


def answering(data: Data, logits: np.ndarray) -> SimpleNamespace:
    """What the pictures of soft targets look at, with a teacher that answers `logits`."""
    return SimpleNamespace(
        data=data, config=Config(temperature=5.0), teacher=SimpleNamespace(test_logits=[logits])
    )


def test_soft_targets_are_those_of_the_teacher(data):
    """Of a teacher that knows all but the ships: right images, with a second class of about 0.2."""
    second = np.random.default_rng(0).uniform(0.01, 0.45, 50)
    answers = np.full((50, 10), 1e-9)
    answers[range(50), data.test_labels] = 1 - second
    answers[range(50), (data.test_labels + 1) % 10] = second
    answers[data.test_labels == 8] = np.eye(10)[1] + 1e-9
    experiment = answering(data, np.log(answers).astype(np.float32))
    chosen = pictures.telling_images(experiment)
    assert [data.test_labels[index] for index in chosen] == [3, 5, 9, 4, 0]
    for index in chosen:
        of_class = second[data.test_labels == data.test_labels[index]]
        assert abs(second[index] - 0.2) == abs(of_class - 0.2).min()
    figure = pictures.soft_targets(experiment)
    logits = np.log(answers)[chosen]
    heights = [[bar.get_height() for bar in axes.patches] for axes in figure.axes if axes.patches]
    rows = (np.eye(10)[data.test_labels[chosen]], core.softmax(logits), core.softmax(logits, 5.0))
    np.testing.assert_allclose(heights, np.concatenate(rows), rtol=1e-5)


def test_a_teacher_that_knows_no_example_has_no_picture_of_soft_targets(data):
    experiment = answering(data, np.eye(10)[(data.test_labels + 1) % 10])
    assert pictures.telling_images(experiment) == []
    assert pictures.pictures_of(experiment) == [pictures.curves, pictures.compression]


def test_compression_answers_three_questions(small):
    found = small.results()
    networks = found["networks"]
    accuracy = {
        "teacher": found["teacher"]["test_accuracy"],
        "student": found["student"]["before_correction"]["test_accuracy"],
        "baseline": found["baseline"]["test_accuracy"],
    }
    wrong, size, speed = (
        [[bar.get_height() for bar in bars] for bars in axes.containers if hasattr(bars, "patches")]
        for axes in pictures.compression(small).axes
    )
    assert all(axes.get_ylim()[0] == 0 for axes in pictures.compression(small).axes)  # bars start at zero
    three, two = ("teacher", "student", "baseline"), ("teacher", "student")
    assert wrong == [
        pytest.approx([100 - 100 * accuracy[kind] for kind in three]),
        pytest.approx([100 - 100 * networks[kind]["test_accuracy_8_bits"] for kind in three]),
    ]
    assert size == [
        pytest.approx([networks[kind][key] / 1000 for kind in two]) for key in ("bytes", "bytes_8_bits")
    ]
    assert speed == [
        pytest.approx([networks[kind][key] for kind in two])
        for key in ("milliseconds_alone", "milliseconds_per_image")
    ]


# ---- What is deployed --------------------------------------------------------------------------------------


def test_times_are_milliseconds_of_the_fastest_round(monkeypatch):
    """By a clock that says how long each pass takes: 3, 2 and 4 s for 8 images, then image by image."""
    passes = [3.0, 2.0, 4.0, *(1.0, 9.0, 2.0), *(5.0, 5.0, 5.0), *(4.0, 3.0, 1.0)]
    images, asked = np.zeros((8, 3, 32, 32), np.uint8), []
    clock = iter([t for start, taken in enumerate(passes) for t in (100 * start, 100 * start + taken)])
    monkeypatch.setattr(deployed.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(deployed, "predict", lambda network, x, workers: asked.append(len(x)))
    monkeypatch.setattr(deployed, "N_ALONE", 3)
    assert deployed.milliseconds_per_image(None, images, None) == 1000 * 2 / 8
    assert deployed.milliseconds_alone(None, images, None) == 2000
    assert asked == [8] * 3 + [1] * 9


def test_in_8_bits_every_output_has_whole_numbers_times_one_scale(small):
    network = small.teacher.network
    before = network.parameters.copy()
    rounded = deployed.in_8_bits(network)
    np.testing.assert_array_equal(network.parameters, before)
    rows = [
        (old.kernels.transpose(1, 0, 2, 3).reshape(old.n_to, -1), new.kernels.transpose(1, 0, 2, 3))
        for old, new in zip(network.blocks, rounded.blocks, strict=True)
    ]
    rows.append((network.linear[:, :-1], rounded.linear[:, :-1]))
    for old, new in rows:
        for one, other in zip(old, new.reshape(len(old), -1), strict=True):
            scale = abs(one).max() / 127
            whole = other / scale
            np.testing.assert_allclose(whole, np.rint(whole), atol=1e-3)
            assert abs(np.rint(whole)).max() == 127
            assert abs(other - one).max() <= 0.501 * scale
            assert len(np.unique(np.rint(whole))) > 3
    for old, new in zip(network.blocks, rounded.blocks, strict=True):
        for name in ("scale", "shift", "running_mean", "running_variance"):
            np.testing.assert_array_equal(getattr(old, name), getattr(new, name))
    np.testing.assert_array_equal(rounded.linear[:, -1], network.linear[:, -1])
    np.testing.assert_array_equal(rounded.whitening.kernels, network.whitening.kernels)


def test_an_output_without_weights_stays_without():
    assert not deployed.nearest(np.zeros((2, 3), np.float32), axes=(1,)).any()


def test_bytes_by_hand(small):
    """5 M 4: kernels 24 to 5 and 5 to 4, a factor and a constant for each of nine channels, 4 to 10."""
    found = deployed.bytes_of(small.teacher.network)
    weights = 9 * (24 * 5 + 5 * 4) + 4 * 10
    assert found == {
        "bytes": 4 * (weights + 2 * 9 + 10 + 144),
        "bytes_8_bits": weights + 4 * (2 * 9 + 10 + 10 + 144),
    }


def test_the_accuracy_in_8_bits_is_that_of_the_rounded_network(small, data):
    logits = predict_all(deployed.in_8_bits(small.student.network), data)
    right = (logits.argmax(axis=1) == data.test_labels).mean()
    assert small.results()["networks"]["student"]["test_accuracy_8_bits"] == pytest.approx(right)


# ---- The unseen class in a picture -------------------------------------------------------------------------


def test_the_unseen_class_is_drawn_before_and_after_the_correction(small, data):
    figure = pictures.unseen_class(small)
    mine = data.test_labels == 3
    networks = (
        small.teacher.network,
        small.runs["baseline"].network,
        small.student.network,
        small.corrected_network,
    )
    for axes, network in zip(figure.axes, networks, strict=True):
        predicted = predict_all(network, data)[mine].argmax(axis=1)
        shares = [(predicted == c).mean() for c in range(10)]
        assert [bar.get_width() for bar in axes.patches] == pytest.approx(shares)
    assert f"{mine.sum()} test images of class cat" in figure.get_suptitle()
    assert pictures.unseen_class in pictures.pictures_of(small)


def test_a_picture_says_of_which_run_it_is(small, data):
    origin = pictures.curves(small)._supxlabel.get_text()
    assert origin == ("CIFAR-10 variant, temperature 5, seed 4, without cat, 70 % labelled, 60 % seen")
    experiment = answering(data, np.eye(10)[data.test_labels])
    assert (
        pictures.soft_targets(experiment)._supxlabel.get_text() == "CIFAR-10 variant, temperature 5, seed 0"
    )
