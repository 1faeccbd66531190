"""The CIFAR-10 experiment: that each setting reaches what it is for, the pipeline, and the command line."""

from __future__ import annotations

from support.data import Data
from support.files import read_sealed, write_sealed
from support.stored import key_of, open_session

import json
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from small_cifar10 import small_data
from small_run import QUIET, ROOT, SMALL, predict_all, trained

import distillation_mnist_omitted_3 as core
from cifar10 import lessons
from cifar10.layers import whitening_kernels
from cifar10.lessons import determinants, train_baseline, train_student
from cifar10.network import ConvNet
from cifar10.optimisers import Muon, Nesterov
from cifar10.settings import Config
from cifar10.training import predict, views

# ---- Each setting reaches what it is for -------------------------------------------------------------------


def by_hand(data: Data, workers, **wanted) -> np.ndarray:
    """The parameters of a network after training as described, written once more and as plainly as can be.

    `wanted`: channels, weight_seed, order_seed, indices, n_per_epoch, n_epochs, sides, batch_size, jitter,
    shifts (versions, image, 2) or None, rate, schedule, optimiser, weight_decay, and loss(logits, batch,
    version), which gives the gradient.
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
        side = [side for side in w.sides for _ in range(w.n_epochs)][(epoch + 1) * len(w.sides) - 1]
        network.see(side)
        order = rng.permutation(w.n_per_epoch)
        for start in range(0, per_epoch * w.batch_size, w.batch_size):
            places = order[start : start + w.batch_size]
            batch = np.array([w.indices[place % len(w.indices)] for place in places])
            version = rng.integers(0, 1 if w.shifts is None else len(w.shifts), w.batch_size)
            shifts = rng.integers(0, 2 * w.jitter + 1, (w.batch_size, 2))
            if w.shifts is not None:
                shifts = np.array([w.shifts[v][i] for v, i in zip(version, batch, strict=True)])
            mirrored = np.array([starts_mirrored[place] != (epoch % 2 == 1) for place in places])
            seen = views(data.train_images[batch], shifts, mirrored, w.jitter, side)
            d_logits = w.loss(network.forward(seen, workers, training=True), batch, version)
            rate = w.rate
            if w.schedule == "linear":
                share = (step + 1, warm_up) if step < warm_up else (n_steps - step, n_steps - warm_up)
                rate = rate * share[0] / share[1]
            optimiser.step(network.backward(d_logits, workers), rate, workers)
            step += 1
    return network.parameters


def all_by_hand(data: Data, config: Config, workers, **given: np.ndarray) -> dict[str, np.ndarray]:
    """The parameters of the three networks that these settings mean; what is `given` is not trained."""
    labels, n = data.train_labels, len(data.train_labels)
    in_random_order = np.random.default_rng(config.seed + 53).permutation(n)
    with_label = set(in_random_order[: round(config.label_fraction * n)])
    in_transfer = set(in_random_order[: round(config.transfer_fraction * n)])
    known = [i for i in range(n) if labels[i] not in config.omitted_class]

    def from_labels(logits, batch, version):
        return core.cross_entropy(logits, labels[batch])[1]

    common = {"schedule": config.lr_schedule}
    teacher = ConvNet(config.teacher_channels, None)
    teacher.parameters[:] = given["teacher"] if "teacher" in given else by_hand(
        data, workers, channels=config.teacher_channels, weight_seed=config.seed,
        order_seed=config.seed + 17, indices=np.array(sorted(with_label)), n_per_epoch=n,
        n_epochs=config.n_epochs_teacher, sides=config.sides, batch_size=config.batch_size,
        jitter=config.jitter, shifts=None, rate=config.learning_rate, optimiser=config.optimiser,
        loss=from_labels, weight_decay=config.weight_decay, **common,
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
        kind: given[kind] if kind in given else by_hand(
            data, workers, channels=config.student_channels, weight_seed=config.seed + 1,
            order_seed=config.seed + 31, n_epochs=config.n_epochs_student, sides=config.sides_student,
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
    ("sides", (16, 32), {"teacher", "student"}),
    ("sides_student", (24, 32), {"student", "baseline"}),
    ("teacher_channels", ("6", "M", "4"), {"teacher", "student"}),
    ("student_channels", ("3", "4", "M"), {"student", "baseline"}),
    ("batch_size", 25, {"teacher", "student"}),
    ("batch_size_student", 20, {"student", "baseline"}),
    ("learning_rate", 0.05, {"teacher", "student"}),
    ("learning_rate_student", 0.1, {"student"}),
    ("learning_rate_baseline", 0.1, {"baseline"}),
    ("learning_rate_baseline", None, {"baseline"}),
    ("n_versions", 3, {"student", "baseline"}),
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
    stay = {kind: one.network.parameters for kind, one in small.runs.items() if kind not in reached}
    expected = all_by_hand(data, other.config, workers, **stay)
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


@pytest.mark.parametrize(
    "part", [{}, {"omitted_class": (5,)}, pytest.param({"transfer_fraction": 0.3}, marks=pytest.mark.bits)]
)
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
        {"jitter_student": 2}, {"n_versions": 3}, {"omitted_class": (5,)},  # other images
        {"n_epochs_teacher": 1}, {"label_fraction": 0.5},  # another teacher
    ],
)  # fmt: skip
def test_other_answers_are_not_used(changed, small, data, tmp_path, tmp_path_factory):
    folder = shutil.copytree(small.config.cache_folder, tmp_path / "small")
    assert list(folder.glob("runs/answers-*"))
    found = trained(data, folder, **changed).student
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
    np.testing.assert_allclose(found.corrected_logits - before, np.tile(moved, (len(before), 1)), atol=1e-5)
    np.testing.assert_array_equal(predict(found.student.network, data.test_images, workers), before)
    again = trained(data, tmp_path, omitted_class=omitted)
    assert again.student.reused
    np.testing.assert_array_equal(again.student_logits, before)


@pytest.mark.parametrize("probe_size", [10, 30, 1000])
def test_the_correction_is_made_on_the_first_images_of_the_training_set(
    probe_size, small, data, tmp_path, workers
):
    """The corrected network's mean probability there is the class's frequency in all training labels."""
    found = trained(data, small.config.cache_dir, probe_size=probe_size)
    logits = predict(found.corrected_network, data.train_images[:probe_size], workers)
    assert len(logits) == len(found.probe_logits) == min(probe_size, 66)
    target = (data.train_labels == 3).mean()
    assert core.softmax(logits)[:, 3].mean() == pytest.approx(target, abs=1e-4)
    assert found.correction.probe_size == min(probe_size, 66)


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
    in_transfer = np.random.default_rng(4 + 53).permutation(66)[: round(0.6 * 66)]
    assert found["data"]["n_transfer"] == (data.train_labels[in_transfer] != 3).sum()
    both = np.pad(data.test_images, ((0, 0), (0, 0), (0, 1), (0, 1)), mode="reflect")
    with core.Workers(1) as workers:
        sums = sum(small.teacher.network.forward(x, workers) for x in (both, both[..., ::-1]))
    right = (sums.argmax(axis=1) == data.test_labels).mean()
    assert networks["teacher"]["test_accuracy_both_views"] == pytest.approx(right)
    assert list(found["wall_clock_seconds"]) == ["data", "teacher", "student", "baseline", "total"]
    assert [entry["epoch"] for entry in found["history"]["baseline"]] == [1, 2]


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
