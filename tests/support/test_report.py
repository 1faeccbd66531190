"""What is printed at the end, line by line, from numbers that tell each cell from any other."""

from __future__ import annotations

from support.console import Console
from support.report import summary, write_json
from support.settings import N_CLASSES
from support.stored import Recorder, Session, Store, Training, arithmetic, key_of

import json
import time
from dataclasses import replace

import numpy as np
import pytest

import distillation_mnist_omitted_3 as core
from beyond import pipeline
from beyond.settings import Config
from cifar10 import deployed
from cifar10.network import ConvNet


def metrics(errors: int, omitted_errors: int) -> dict:
    return {
        "test_accuracy": 1 - errors / 10_000, "test_errors": errors,
        "omitted_accuracy": 1 - omitted_errors / 1_000, "omitted_errors": omitted_errors,
    }  # fmt: skip


FOUND = {
    "config": {"omitted_class": [3]},
    "data": {"name": "MNIST"},
    "teacher": metrics(111, 12),
    "student": {"before_correction": metrics(213, 134), "after_correction": metrics(175, 16)},
    "bias_correction": {
        "classes": [3], "offsets": [2.6875], "mean_probabilities_before": [0.0123],
        "mean_probabilities_after": [0.1022], "target_frequencies": [0.1021],
        "best_on_test_set": {"offset": -1.25, "test_errors": 157, "omitted_errors": 28},
    },
    "wall_clock_seconds": {"data": 0.5, "teacher": 61.25, "bias_correction": 0.125, "total": 61.875},
}  # fmt: skip


def test_what_is_written_can_be_read_line_by_line(tmp_path):
    write_json(tmp_path / "results.json", FOUND)
    lines = (tmp_path / "results.json").read_text().splitlines()
    assert lines[:2] == ["{", '  "bias_correction": {']
    assert json.loads("\n".join(lines)) == FOUND


def test_the_final_table_is_this_one():
    assert summary(FOUND, "3s").splitlines() == [
        "MNIST                          overall   of 3s  errors  on 3s",
        "teacher                         98.89%  98.80%     111     12",
        "student before the correction   97.87%  86.60%     213    134",
        "student after it (+2.688)       98.25%  98.40%     175     16",
        "class 3 on the probe: mean probability 0.0123 -> 0.1022, target 0.1021",
        "best offset by test labels, for comparison: -1.250, 157 errors, 28 on 3s",
        "seconds: data 0.5, teacher 61.2, bias correction 0.1, total 61.9",
    ]


def test_with_two_classes_each_has_a_line_and_the_offset_is_a_common_one():
    two = {
        "classes": [3, 8], "offsets": [2.5, -0.25], "mean_probabilities_before": [0.01, 0.02],
        "mean_probabilities_after": [0.03, 0.04], "target_frequencies": [0.05, 0.06],
    }  # fmt: skip
    found = FOUND | {"config": {"omitted_class": [3, 8]}}
    found["bias_correction"] = FOUND["bias_correction"] | two
    lines = summary(found, "omitted").splitlines()
    assert lines[3].split() == ["student", "after", "it", "98.25%", "98.40%", "175", "16"]
    assert lines[4:7] == [
        "class 3 offset +2.500, probability 0.0100 -> 0.0300, target 0.0500",
        "class 8 offset -0.250, probability 0.0200 -> 0.0400, target 0.0600",
        "best common offset by test labels, for comparison: -1.250, 157 errors",
    ]


def test_the_networks_of_cifar10_stand_in_their_own_rows():
    sizes = {"teacher": (1_111, 22_222), "student": (333, 4_444), "baseline": (555, 6_666)}
    found = FOUND | {
        "baseline": metrics(999, 777),
        "networks": {k: {"parameters": p, "multiply_adds": m} for k, (p, m) in sizes.items()},
    }
    rows = {line.split("  ")[0]: line.split()[-2:] for line in summary(found, "3s").splitlines()[1:5]}
    assert rows == {
        "teacher": ["1,111", "22,222"],
        "student before the correction": ["333", "4,444"],
        "student after it (+2.688)": ["333", "4,444"],
        "the same student, hard labels": ["555", "6,666"],
    }


def test_an_epoch_takes_its_training_and_its_measuring(monkeypatch):
    """By a clock: 5 s from the start of the first epoch to its last word, 2.5 s from there to the next."""
    network = core.MLP((2, N_CLASSES), np.random.default_rng(0))
    now = [200.0]
    training = Training(
        "teacher", {}, network, 2, predict_test=lambda n: np.ones((n, N_CLASSES)),
        output_shape=(4, N_CLASSES), measure=lambda logits: {"test_accuracy": 0.5},
        shown={"test": "test_accuracy"},
    )  # fmt: skip
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    recorder = Recorder(training, Console(quiet=True))
    for epoch, (at, loss) in enumerate(((205.0, 0.75), (207.5, 0.5)), 1):
        now[0] = at
        recorder.epoch_done(epoch, loss)
    run = recorder.run()
    assert (run.seconds.tolist(), run.losses.tolist()) == ([5.0, 2.5], [0.75, 0.5])


def test_a_key_is_of_one_numpy_one_blas_one_kernel_and_one_stream(monkeypatch):
    here = key_of({})
    assert arithmetic()["NumPy"] == np.__version__
    for what in ("NumPy", "BLAS", "kernel", "random stream"):
        monkeypatch.setattr("support.stored.arithmetic", lambda what=what: {**arithmetic(), what: "another"})
        assert key_of({}) != here, what


def test_what_a_network_costs_stands_under_its_name(monkeypatch):
    network = ConvNet(("4", "M"), np.random.default_rng(0))
    images, asked = np.zeros((1200, 3, 32, 32), np.uint8), {}
    for name, value in (("milliseconds_per_image", 0.25), ("milliseconds_alone", 7.5)):

        def timed(network, images, workers, name=name, value=value):
            asked[name] = len(images)
            return value

        monkeypatch.setattr(deployed, name, timed)
    monkeypatch.setattr(deployed, "accuracy", lambda *_: 0.625)
    found = deployed.costs(network, images, np.zeros(1200), None)
    assert found["milliseconds_per_image"] == 0.25
    assert found["milliseconds_alone"] == 7.5
    assert found["test_accuracy_8_bits"] == 0.625
    assert asked == {"milliseconds_per_image": 1000, "milliseconds_alone": 1200}
    assert (found["parameters"], found["multiply_adds"]) == (network.n_trained, network.n_multiply_adds)


@pytest.mark.parametrize("hard_weight", [0.0, 1.0])
def test_a_student_of_hard_labels_alone_is_called_the_control(hard_weight, small_data, tmp_path, capsys):
    config = Config(
        n_epochs_teacher=1, n_epochs_student=1, teacher_hidden=(8,), student_hidden=(8,), cache_dir=tmp_path,
        hard_weight=hard_weight,
    )  # fmt: skip
    with core.Workers() as workers:
        pipeline.run_on_data(small_data, config, Session(workers, Console(), Store(tmp_path)))
        pipeline.run_on_data(
            small_data, replace(config, seed=0), Session(workers, Console(), Store(tmp_path))
        )
    name, other = ("control", "student") if hard_weight else ("student", "control")
    printed = capsys.readouterr().out
    assert f"\n{name}       1/1" in printed
    assert f"\n{name}: stored training of" in printed
    assert f"\n{other}" not in printed
