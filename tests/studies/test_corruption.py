"""The study of worse images: what it measures, against plain counts; what it shows, against means by hand."""

from __future__ import annotations

from support.charts import AFTER, BEFORE, INK, OTHERS
from support.console import Console
from support.stored import open_session

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
from made_further import of_corruption
from made_studies import cells, drawn, interval
from small_studies import tiny_configs

import distillation_mnist_omitted_3 as core
from beyond import pipeline
from beyond.corruptions import CORRUPTIONS, corrupted
from studies import corruption
from studies.corruption import CONDITIONS, METRICS, NETWORKS, POINTS, calibration_error, metrics_of
from studies.questions import STUDIES
from studies.results import tables

RNG = np.random.default_rng
NAMES = [f"{kind}, {CORRUPTIONS[kind].name(s)}" if s else kind for kind, s in CONDITIONS]


# what is measured


def test_calibration_is_the_gap_between_confidence_and_accuracy_bin_by_bin():
    rng = RNG(0)
    p = rng.dirichlet(np.full(10, 0.3), 400)
    p[:3], labels = np.eye(10)[[2, 3, 3]], rng.integers(0, 10, 400)  # a confidence of 1 is in the last bin
    total = 0.0
    for k in range(15):
        mine = [i for i in range(400) if k / 15 <= p[i].max() < (k + 1) / 15 or (k == 14 and p[i].max() == 1)]
        if mine:
            right = np.mean([p[i].argmax() == labels[i] for i in mine])
            total += len(mine) / 400 * abs(right - np.mean([p[i].max() for i in mine]))
    assert calibration_error(p, labels) == pytest.approx(total)
    one_bin = np.array([[1, 0], [0.95, 0.05]])
    assert calibration_error(one_bin, np.array([1, 0])) == pytest.approx(abs(-1 + 0.05) / 2)
    sure = np.array([[0.8, 0.2]] * 10)
    assert calibration_error(sure, np.array([0] * 8 + [1] * 2)) == pytest.approx(0)
    assert calibration_error(sure, np.array([0] * 3 + [1] * 7)) == pytest.approx(0.5)


def test_metrics_are_what_they_are_called():
    rng = RNG(1)
    logits, labels = rng.normal(0, 3, (500, 10)).astype(np.float32), rng.integers(0, 10, 500)
    logits[np.arange(500), labels] += 4
    found = dict(zip(METRICS, metrics_of(logits, labels), strict=True))
    guess, three = logits.argmax(axis=1), labels == 3
    p = np.exp(logits.astype(float))
    p /= p.sum(axis=1, keepdims=True)
    loss = -np.log(p[np.arange(500), labels])
    assert found["unseen"] == pytest.approx((guess[three] == 3).mean())
    assert found["seen"] == pytest.approx((guess == labels)[~three].mean())
    assert found["false"] == pytest.approx((guess[~three] == 3).mean())
    assert found["loss_unseen"] == pytest.approx(loss[three].mean())
    assert found["loss_seen"] == pytest.approx(loss[~three].mean())
    assert found["ece_unseen"] == pytest.approx(calibration_error(p[three], labels[three]))
    assert found["ece_seen"] == pytest.approx(calibration_error(p[~three], labels[~three]))
    assert len(set(found.values())) == len(METRICS)


@pytest.fixture
def few_conditions(monkeypatch):
    few = [CONDITIONS[0], ("turned", 25), ("noisy", 0.3)]
    monkeypatch.setattr(corruption, "CONDITIONS", few)
    return few


def plain_logits(network, images: np.ndarray) -> np.ndarray:
    x = images.reshape(len(images), -1) / 255
    for k, layer in enumerate(network.layers):
        x = x @ layer[:, :-1].astype(float).T + layer[:, -1]
        x = np.maximum(x, 0) if k < len(network.layers) - 1 else x
    return x


def raised_until(logits: np.ndarray, share: float) -> np.ndarray:
    """With an offset of the 3 at which its mean probability is this one."""
    for _ in range(2000):  # its odds, scaled by what is missing
        p = np.exp(logits)
        logits = logits + np.log(share / (p[:, 3] / p.sum(axis=1)).mean()) * (np.arange(10) == 3)
    return logits


@pytest.mark.parametrize("omitted", [(3,), ()])
def test_every_network_reads_the_worse_images(
    omitted, small_data, few_conditions, workers, tmp_path, monkeypatch
):
    config = tiny_configs(tmp_path, n_epochs_teacher=6, n_epochs_student=6)[0]
    config = type(config)(**{**vars(config), "omitted_class": omitted, "probe_size": 600})
    with open_session(config.cache_folder, False, Console(quiet=True)) as session:
        experiment = pipeline.run_on_data(small_data, config, session)
    asked: list[float] = []
    monkeypatch.setattr(
        corruption.OneAgainstAll, "factor_for", lambda self, target: asked.append(target) or 1.4
    )
    found = corruption.measure(experiment, workers, None)
    assert [name for name in NETWORKS if found[name]] == (list(NETWORKS) if omitted else ["before"])
    for name, check in STUDIES["corruption"].further_holds.items():
        assert check(found[name])
    labels = small_data.test_labels[::2]
    share = (small_data.train_labels == 3).mean()
    assert asked == ([pytest.approx(share)] if omitted else [])
    for k, (kind, strength) in enumerate(few_conditions):
        images = small_data.test_images[::2]
        images = corrupted(images, kind, strength) if strength else images
        student = plain_logits(experiment.student.network, images)
        logits = {"before": student}
        if omitted:
            logits["teacher"] = plain_logits(experiment.teacher.network, images)
            logits["after"] = student + experiment.correction.offsets[0] * (np.arange(10) == 3)
            logits["anew"] = raised_until(student, share)
            logits["answers"] = raised_until(student, core.softmax(logits["teacher"])[:, 3].mean())
            logits["factor"] = student - student.mean(axis=1, keepdims=True)
            logits["factor"][:, 3] *= 1.4
        for name, z in logits.items():
            expected = dict(zip(METRICS, metrics_of(z, labels), strict=True))
            for metric, values in found[name].items():
                assert values[k] == pytest.approx(expected[metric], abs=2e-3), (name, metric)
    values = [v for of_network in found.values() if of_network for vs in of_network.values() for v in vs]
    assert values == [round(v, 4) for v in values]


@pytest.mark.parametrize("wrong", [{}, [1], {"seen": [0.5]}, 1.0])
def test_figures_that_cannot_be_are_refused(wrong):
    holds = STUDIES["corruption"].further_holds
    config = type("", (), {"omitted_class": (3,)})
    good = of_corruption(RNG(0), config)
    assert all(holds[name](good[name]) and holds[name](None) for name in NETWORKS)
    assert not holds["after"](wrong)
    for value in (1.5, -0.1, math.nan, "1", None):
        assert not holds["after"](good["after"] | {"seen": [value, *good["after"]["seen"][1:]]})
    assert not holds["after"](good["after"] | {"seen": good["after"]["seen"][1:]})


# what is shown


def values(runs, point: str, network: str, metric: str, where: list[int]) -> np.ndarray:
    """A mean over conditions for each seed, in their order."""
    mine = sorted((r for r in runs if r.settings == POINTS[point]), key=lambda r: r.config.seed)
    assert len(mine) == 3
    return np.array([np.mean([r.record["further"][network][metric][k] for k in where]) for r in mine])


def by_row(table: str) -> dict[tuple[str, str], str]:
    return {(row, heading): cell for (row, _, heading), cell in cells(table).items()}


def test_the_tables_have_means_and_how_far_the_unseen_class_falls_behind(shaken):
    runs = shaken(["corruption"])
    accuracies, cures, losses = map(by_row, tables(runs)["corruption"].split("\n\n"))
    assert list(dict.fromkeys(name for name, _ in accuracies)) == NAMES
    for k, name in enumerate(NAMES):
        for heading, (point, network, metric) in {
            "3s, teacher": ("without 3", "teacher", "unseen"),
            "3s, all digits": ("all digits", "before", "unseen"),
            "others, before": ("without 3", "before", "seen"),
            "false 3s, after": ("without 3", "after", "false"),
        }.items():
            mean = 100 * values(runs, point, network, metric, [k]).mean()
            assert accuracies[name, heading] == f"{mean:.1f}"

        def behind(k: int) -> np.ndarray:
            every, without = (("all digits", "before"), ("without 3", "after"))
            return values(runs, *every, "unseen", [k]) - values(runs, *without, "unseen", [k])

        assert accuracies[name, "lag"] == (interval(100 * (behind(k) - behind(0)), 1) if k else "")
    for i, kind in enumerate(CORRUPTIONS):
        where = list(range(1 + 5 * i, 6 + 5 * i))
        for heading, (network, suffix) in {
            "lag, corrected": ("after", ""), "lag, set anew": ("anew", ""),
            "lag, set anew by answers": ("answers", ""), "lag, factor": ("factor", ""),
            "lag, transformed": ("after", ", transformed"), "lag, best": ("after", ", best"),
        }.items():  # fmt: skip
            there, here = (
                values(runs, "all digits" + suffix, "before", "unseen", w)
                - values(runs, "without 3" + suffix, network, "unseen", w)
                for w in (where, [0])
            )
            assert cures[kind, heading] == interval(100 * (there - here), 1)
        for heading, (point, network) in {
            "false 3s, all digits": ("all digits", "before"), "false 3s, corrected": ("without 3", "after"),
            "false 3s, set anew": ("without 3", "anew"), "false 3s, factor": ("without 3", "factor"),
            "false 3s, set anew by answers": ("without 3", "answers"),
            "false 3s, all digits, transformed": ("all digits, transformed", "before"),
            "false 3s, transformed": ("without 3, transformed", "after"),
            "false 3s, all digits, best": ("all digits, best", "before"),
            "false 3s, best": ("without 3, best", "after"),
        }.items():  # fmt: skip
            assert cures[kind, heading] == f"{100 * values(runs, point, network, 'false', where).mean():.1f}"
        mean = values(runs, "without 3", "before", "loss_unseen", where).mean()
        assert losses[kind, "loss on 3s, before"] == f"{mean:.2f}"
        mean = 100 * values(runs, "all digits", "before", "ece_seen", where).mean()
        assert losses[kind, "ECE on others, all digits"] == f"{mean:.1f}"


def test_what_mends_both_halves_is_said_if_it_was_run_and_mends_them(committed):
    """`best`, beside the student of all digits of the same recipe: of 3s that it reads, and of false 3s."""
    runs = [replace(run, record=copy.deepcopy(run.record)) for run in committed if run.study == "corruption"]
    best, control = ([run for run in runs if run.settings == POINTS[name]] for name in
                     ("without 3, best", "all digits, best"))  # fmt: skip
    for mine in best:
        (twin,) = (run for run in control if run.config.seed == mine.config.seed)
        for metric in ("unseen", "false"):
            mine.record["further"]["after"][metric] = list(twin.record["further"]["before"][metric])
    assert "mended by: best." in corruption.words(runs)
    for metric in ("unseen", "false"):
        for run in best:
            found = run.record["further"]["after"]
            found[metric] = [found[metric][0], *(1 - x for x in found[metric][1:])]
        assert "nothing mends both halves" in corruption.words(runs)
        for run in best:
            found = run.record["further"]["after"]
            found[metric] = [found[metric][0], *(1 - x for x in found[metric][1:])]
    with pytest.raises(ValueError, match="best was run"):
        corruption.words([run for run in runs if run not in best])


def test_the_picture_shows_every_mean_over_its_image(shaken):
    runs = shaken(["corruption"])
    panels = [axes for axes in drawn("corruption", runs).axes if axes.get_title(loc="left")]
    titles = [axes.get_title(loc="left") for axes in panels]
    assert [title.partition(",")[0] for title in titles] == list(CORRUPTIONS)
    assert (titles[0], titles[1], titles[3]) == ("turned, in °", "shifted, in px", "noisy")
    wanted = {
        INK: ("all digits", "before", "unseen"), AFTER: ("without 3", "after", "unseen"),
        BEFORE: ("without 3", "before", "unseen"), OTHERS: ("without 3", "after", "seen"),
    }  # fmt: skip
    for i, (axes, kind) in enumerate(zip(panels, CORRUPTIONS, strict=True)):
        lines = {line.get_color(): line.get_xydata() for line in axes.lines}
        assert set(lines) == set(wanted)
        for colour, what in wanted.items():
            for step, (x, y) in enumerate(lines[colour]):
                where = 0 if step == 0 else 5 * i + step
                assert (x, y) == (step, pytest.approx(100 * values(runs, *what, [where]).mean()))
        assert axes.get_ylim()[0] == 0
        ticks = [label.get_text() for label in axes.get_xticklabels()]
        assert ticks == ["as is", *(f"{s:g}" for s in CORRUPTIONS[kind].strengths)]
        (strip,) = axes.child_axes
        shown = 255 - strip.images[0].get_array()
        assert shown.shape == (28, 6 * 28)
        for step, strength in enumerate(CORRUPTIONS[kind].strengths, start=1):
            np.testing.assert_array_equal(
                shown[:, 28 * step : 28 * step + 28], corrupted(shown[None, :, :28], kind, strength)[0]
            )
