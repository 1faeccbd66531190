"""The study of where distillation pays: its runs are the experiment's, its map says what they found."""

from __future__ import annotations

from support.console import Console
from support.data import Data

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_cifar10 import write_batches
from small_studies import thread_pool

from cifar10 import experiment, gain, network
from cifar10.experiment import run
from cifar10.gain import Point, main, point_of
from cifar10.gain_tables import draw_gain, gain_tables, percentage
from cifar10.settings import Config
from runs.folders import newest_of_each

FLAGS = [
    "--n-epochs-teacher", "1", "--teacher-channels", "4", "M", "4", "--n-versions", "2", "--batch-size", "30",
    "--temperature", "3", "--jobs", "1", "--quiet",
]  # fmt: skip
STUDENTS = {"large": "3 M 4", "small": "2 M 2"}
PARTS = {
    "shares": (Point("small", 1.0, 1), Point("large", 0.5, 1)),
    "lengths": (Point("small", 1.0, 1), Point("small", 1.0, 2)),
}


@pytest.fixture(autouse=True)
def small_grid(monkeypatch):
    """And no process for what `found` has run in processes already."""
    monkeypatch.setattr(gain, "STUDENTS", STUDENTS)
    monkeypatch.setattr(gain, "PARTS", PARTS)
    monkeypatch.setattr(gain, "local_pool", thread_pool)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("gain")
    write_batches(folder / "data", 150, 100)
    return folder


def flags(folder: Path, *more: str) -> list[str]:
    named = {"--data-dir": "data", "--cache-dir": "cache", "--outdir": "out"}
    return [*FLAGS, *(word for flag, name in named.items() for word in (flag, str(folder / name))), *more]


def elsewhere(folder: Path) -> list[str]:
    return ["--outdir", str(folder), "--cache-dir", str(folder)]


def results(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "out" / "results.json").read_text())


@pytest.fixture(scope="module")
def found(folder) -> dict[str, Any]:
    """Both parts, the second by a call of its own, in processes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gain, "STUDENTS", STUDENTS)
        patch.setattr(gain, "PARTS", PARTS)
        with patch.context() as in_this_process:
            in_this_process.setattr(gain, "local_pool", thread_pool)
            main(flags(folder, "--parts", "shares", "--seeds", "2"))
        main(flags(folder, "--parts", "lengths", "--seeds", "2", "--jobs", "2"))
    return results(folder)


def test_every_run_is_one_of_the_experiment(found, folder, tmp_path):
    points = [(r["student"], r["share"], r["n_epochs"], r["seed"]) for r in found["runs"]]
    wanted = [("large", 0.5, 1), ("small", 1.0, 1), ("small", 1.0, 2)]
    assert points == [(*point, seed) for point in wanted for seed in (0, 1)]
    assert any(one["soft"] != one["hard"] for one in found["runs"])
    for one in found["runs"][1::2]:  # of the second seed
        config = Config(
            n_epochs_teacher=1, teacher_channels=("4", "M", "4"), n_versions=2, batch_size=30,
            temperature=3.0, student_channels=tuple(STUDENTS[one["student"]].split()),
            transfer_fraction=one["share"], n_epochs_student=one["n_epochs"], seed=one["seed"],
            data_dir=folder / "data", cache_dir=tmp_path, outdir=tmp_path / "out",
        )  # fmt: skip
        metrics = run(config, Console(quiet=True)).metrics()
        assert one["soft"] == metrics["before_correction"]["test_accuracy"]
        assert one["hard"] == metrics["baseline"]["test_accuracy"]
        assert found["teachers"][str(one["seed"])] == metrics["teacher"]["test_accuracy"]
    assert found["config"]["temperature"] == 3.0
    # kernels, scales and shifts, the linear layer with its biases
    parameters = 9 * (24 + 2) * 2 + 2 * (2 + 2) + 10 * (2 + 1)
    assert found["students"]["small"] == {"channels": ["2", "M", "2"], "parameters": parameters}
    assert found["teacher_parameters"] == 9 * (24 + 4) * 4 + 2 * (4 + 4) + 10 * (4 + 1)


def test_nothing_is_trained_twice(found, folder, capsys):
    """All that the study needs is stored: a third call finds it, and says the same.

    A seed's teacher answered once, for all images, whatever part of them a student sees.
    """
    before = set((folder / "cache" / "runs").iterdir())
    assert len([path for path in before if path.name.startswith("answers")]) == 2
    picture = folder / "out" / "gain.png"
    picture.unlink()
    capsys.readouterr()
    main([flag for flag in flags(folder, "--seeds", "2") if flag != "--quiet"])
    said = capsys.readouterr().out
    assert "| 506 (47 %) |" in said
    assert "reused" in said
    assert "--retrain" not in said  # a flag that it has not
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert set((folder / "cache" / "runs").iterdir()) == before
    assert results(folder) == found


def test_it_has_a_folder_of_its_own(found, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(experiment, "VIZ", tmp_path)
    main([*FLAGS, "--data-dir", str(folder / "data"), "--cache-dir", str(folder / "cache"), "--seeds", "1"])
    assert {path.name for path in (tmp_path / "cifar10" / "gain").iterdir()} == {"results.json", "gain.png"}


def test_a_map_of_results_by_hand():
    """Accuracies that make the gains +1, +2, +3 points: a mean of 2 and, with t(2) = 4.303, half of 2.48."""
    common = {
        "data": {"name": "CIFAR-10 variant", "n_train": 600}, "teacher_parameters": 1000,
        "students": {"large": {"parameters": 500}, "small": {"parameters": 20}},
    }  # fmt: skip
    runs = [
        {"student": student, "share": share, "n_epochs": n, "seed": seed, "hard": 0.5, "soft": 0.5 + gained}
        for student, share, n in (("large", 1.0, 2), ("small", 1.0, 2), ("small", 0.03, 2), ("small", 1.0, 8))
        for seed, gained in enumerate((0.01, 0.02, 0.03) if n == 2 else (0.04, 0.04))
    ]
    sizes, lengths = gain_tables({**common, "runs": runs})
    assert sizes == (
        "| CIFAR-10 variant, 3 seeds: parameters of the student (% of the teacher's), 2 epochs "
        "| 100 % | 3 % |\n"
        "| --- | ---: | ---: |\n"
        "| 500 (50 %) | +2.0 ± 2.5 (50.0 → 52.0) |  |\n"
        "| 20 (2 %) | +2.0 ± 2.5 (50.0 → 52.0) | +2.0 ± 2.5 (50.0 → 52.0) |"
    )
    assert lengths == (
        "| CIFAR-10 variant, 2 to 3 seeds: length of training, student of 20 parameters | 100 % |\n"
        "| --- | ---: |\n"
        "| 2 epochs | +2.0 ± 2.5 (50.0 → 52.0) |\n| 8 epochs | +4.0 ± 0.0 (50.0 → 54.0) |"
    )
    figure = draw_gain({**common, "runs": runs})
    left, right, scale = figure.axes
    assert [text.get_text() for text in right.texts] == [
        "+2.0 ± 2.5", "50.0 → 52.0", "+4.0 ± 0.0", "50.0 → 54.0",
    ]  # fmt: skip
    assert [text.get_text() for text in left.texts if text.get_position() == (1, 0)] == ["not run"]
    assert [label.get_text() for label in left.get_yticklabels()] == ["500 (50 %)", "20 (2 %)"]
    assert [label.get_text() for label in left.get_xticklabels()] == ["100 %\n600", "3 %\n18"]
    assert left.images[0].get_array().filled(-1).tolist() == [
        [pytest.approx(2), -1], [pytest.approx(2), pytest.approx(2)],
    ]  # fmt: skip
    assert scale.get_ylim() == (0, pytest.approx(4))
    more = [*runs, {"student": "large", "share": 1.0, "n_epochs": 4, "seed": 0, "hard": 0.5, "soft": 0.6}]
    students = dict(reversed(common["students"].items()))  # the larger student is first in any order
    _, *of_lengths = gain_tables({**common, "students": students, "runs": more})
    assert [int(re.search(r"student of (\d+) ", table)[1]) for table in of_lengths] == [500, 20]
    assert "2 to 3 seeds" in figure._supxlabel.get_text()


def test_a_student_may_be_larger_than_its_teacher():
    """Two digits, but of a hundred per cent and more all: none in powers of ten."""
    words = {1.994: "2", 9.09: "9.1", 21.34: "21", 99.9: "100", 317.4: "317", 12345.0: "12345"}
    assert {value: percentage(value) for value in words} == words


def test_one_seed_has_no_interval():
    runs = [{"student": "a", "share": 1.0, "n_epochs": 1, "seed": 0, "hard": 0.5, "soft": 0.49}]
    common = {"data": {"name": "drawn"}, "students": {"a": {"parameters": 1}}, "teacher_parameters": 2}
    (table,) = gain_tables({**common, "runs": runs})
    assert table.startswith(
        "| drawn, 1 seed: parameters of the student (% of the teacher's), 1 epochs | 100 % |"
    )
    assert table.endswith("| 1 (50 %) | -1.0 (50.0 → 49.0) |")


def test_later_runs_take_the_place_of_earlier_ones():
    def one(student: str, share: float, n: int, seed: int, soft: float) -> dict[str, Any]:
        return {"student": student, "share": share, "n_epochs": n, "seed": seed, "soft": soft}

    before = [one("small", 0.1, 2, 0, 0.1), one("large", 0.1, 2, 0, 0.2), one("small", 1.0, 2, 1, 0.3)]
    after = [one("small", 0.1, 2, 0, 0.4), one("small", 1.0, 1, 1, 0.5)]
    assert [run["soft"] for run in newest_of_each([*before, *after], point_of)] == [0.2, 0.5, 0.3, 0.4]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--seeds", "0"), "--seeds must be 1 to 1,000"),
        (("--jobs", "0"), "--jobs must be 1 to 1,000"),
        (("--hold-out", "148"), "too few images for the student: 1;"),
    ],
)
def test_what_makes_no_sense_is_refused(given, said, folder):
    with pytest.raises(gain.UserError, match=said):
        main([*flags(folder), *elsewhere(folder / "another"), *given])
    assert list(folder.glob("another/runs/*")) == []  # it is said before anything is trained


@pytest.mark.parametrize(
    "given",
    [
        ("--student-channels", "4"), ("--transfer-fraction", "0.5"), ("--n-epochs-student", "3"),
        ("--seed", "3"), ("--omitted-class", "cat"), ("--keep-class", "1"), ("--label-fraction", "0.5"),
        ("--retrain",), ("--probe-size", "10"),
    ],
)  # fmt: skip
def test_what_the_study_sets_itself_is_no_flag(given, capsys):
    with pytest.raises(SystemExit) as ended:
        gain.parse(list(given))
    assert ended.value.code == 2
    assert f"unrecognized arguments: {' '.join(given)}" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        gain.parse(["--help"])
    assert given[0] not in capsys.readouterr().out.split()


def test_a_run_that_diverges_fails_alone(found, folder, capsys):
    """The others are written; where every run fails, nothing is."""
    out = folder / "other"
    given = ["--outdir", str(out), "--parts", "lengths", "--seeds", "1"]
    with pytest.raises(
        gain.UserError, match=r"every run failed, .* small, 100 %, . epochs, seed 0: the student's training"
    ):
        main([*flags(folder), *given, "--learning-rate-student", "1e30"])
    assert not (out / "results.json").exists()

    def one_fails(config: Config, data: Any) -> dict[str, float]:
        if config.n_epochs_student == 2:
            raise gain.UserError("it diverged")
        return {"soft": 0.5, "hard": 0.25}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gain, "accuracies", one_fails)
        with pytest.raises(gain.UserError, match="1 of 2 runs failed; the others are written"):
            main([*flags(folder), *given])
    assert "failed: small, 100 %, 2 epochs, seed 0: it diverged" in capsys.readouterr().err
    (run,) = json.loads((out / "results.json").read_text())["runs"]
    assert (run["n_epochs"], run["soft"], run["hard"]) == (1, 0.5, 0.25)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda found: found["config"].update(temperature=9.0), r"of other settings \(config\)"),
        (lambda found: found["data"].update(n_train=1), r"of other settings \(data\)"),
        (lambda found: found.update(code="another"), r"of other settings \(code\)"),
        (lambda found: found["students"].pop("large"), "no student 'large'"),
        (lambda found: found["runs"][0].update(soft=1.5), "is not a study's results"),
        (lambda found: found.pop("teachers"), "is not a study's results"),
    ],
)
def test_results_of_something_else_are_not_overwritten(change, said, found, folder, tmp_path):
    other = json.loads(json.dumps(found))
    change(other)
    (tmp_path / "results.json").write_text(json.dumps(other))
    before = (tmp_path / "results.json").read_bytes()
    with pytest.raises(gain.UserError, match=said):
        main([*flags(folder), "--outdir", str(tmp_path)])
    assert (tmp_path / "results.json").read_bytes() == before


def test_other_code_is_another_study(monkeypatch):
    nothing = Data("", *[np.zeros(0, np.uint8)] * 4, {})
    before = gain.described(Config(), nothing, 1)["code"]
    assert gain.described(Config(), nothing, 1)["code"] == before
    monkeypatch.setattr(network, "LOGIT_SCALE", 0.25)
    assert gain.described(Config(), nothing, 1)["code"] != before
