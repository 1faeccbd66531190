"""The studies: what they ask, what they say of the paper's claims, and what their pictures show."""

from __future__ import annotations

from support import intervals
from support.charts import DPI, our_style
from support.console import Console, UserError
from support.settings import argument_parser, given_settings

import copy
import json
import math
import re
from dataclasses import fields

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.container import ErrorbarContainer
from matplotlib.legend import Legend
from matplotlib.markers import CARETLEFT
from matplotlib.text import Text
from small_studies import ROOT, make, tiny_configs

import distillation_mnist_omitted_3 as core
from beyond.settings import Config
from runs.records import FALLS_BACK, flags_of
from studies import (
    claims,
    contours,
    images,
    ingredients,
    little,
    prior,
    results,
    sevens_and_eights,
    study,
    subliminal,
)
from studies.hard_mix import WEIGHTS
from studies.questions import STUDIES, plan
from studies.results import tables
from studies.several_omitted import SEVERAL
from studies.study import Run
from studies.temperature import EPOCHS_BY_UNITS, TEMPERATURES

FIVE_SEEDS = (  # of the committed runs
    "transformed", "answers", "images", "little", "contours", "subliminal", "sevens-and-eights", "prior",
)  # fmt: skip
NOTHING = {
    name + suffix: 0
    for name in ("jitter", "rotation", "scaling", "shear", "elastic")
    for suffix in ("", "_student")
}
RESULTS = ROOT / "viz" / "study" / "results.json"


# what is run


def test_the_grids_are_the_asked_ones():
    grids = {name: s.grid for name, s in STUDIES.items()}
    assert len(grids) == 16
    temperature = {(p["temperature"], p["student_hidden"], p["omitted_class"]) for p in grids["temperature"]}
    asked = [1, 2, 2.5, 3, 4, 6, 8, 12, 20, 50]
    assert temperature == {(t, (n, n), o) for t in asked for n in (800, 300, 30) for o in ((), (3,))}
    assert [p["omitted_class"] for p in grids["omitted-class"]] == [(c,) for c in range(10)]
    assert {len(p["omitted_class"]) for p in grids["several-omitted"]} >= {2, 3, 5, 8}
    sizes = [p["student_hidden"][0] for p in grids["student-size"]]
    assert (min(sizes), max(sizes)) == (5, 1200)
    assert {0.0, 1.0} <= {p["hard_weight"] for p in grids["hard-mix"]}
    assert {0.5, 0.2, 0.1, 0.05, 0.01} <= {p["transfer_fraction"] for p in grids["transfer-size"]}
    kinds = {"none": (), "shifts": ("jitter",), "affine": ("rotation", "scaling", "shear")}
    kinds |= {"elastic": ("elastic",), "all": ("jitter", "rotation", "scaling", "shear", "elastic")}
    asked = {((), ())}
    for names in kinds.values():
        asked |= {(names, ()), ((), names), (names, names)}
    on = [[name for name, limit in p.items() if limit] for p in grids["ingredients"]]
    found = [
        (
            tuple(name for name in names if not name.endswith("_student")),
            tuple(name.removesuffix("_student") for name in names if name.endswith("_student")),
        )
        for names in on
    ]
    assert set(found) == asked
    assert all(len(p) == 10 for p in grids["ingredients"])  # what is off is said to be off
    for grid in grids.values():
        assert all(grid.count(point) == 1 for point in grid)


def test_recipe_then_preset_then_flags_then_grid():
    planned = plan(["hard-mix", "paper"], {"temperature": 5.0, "hard_weight": 0.7, "seed": 4}, 2)
    configs = planned["hard-mix", 1]
    assert [config.seed for config in configs] == [4, 5]
    assert {config.hard_weight for config in configs} == {WEIGHTS[1]}  # the grid wins
    assert {config.temperature for config in configs} == {5.0}  # a flag
    assert {config.probe_size for config in configs} == {60_000}  # the preset
    assert {config.n_epochs_teacher for config in configs} == {4}  # the recipe, "fast"
    assert planned["paper", 0][0].n_epochs_teacher == 60
    assert plan(["hard-mix"], {"n_epochs_teacher": 2}, 1)["hard-mix", 0][0].n_epochs_teacher == 2
    assert plan(["hard-mix"], {"recipe": "best"}, 1)["hard-mix", 0][0].n_epochs_teacher == 60


def test_flags_of_a_run_make_that_run_again():
    parser = argument_parser("", Config)
    configs = [config for group in plan(list(STUDIES), {}, 2).values() for config in group]
    for config in configs:
        given = given_settings(parser.parse_args(flags_of(config).split()), Config)
        assert Config(**given) == config


@pytest.mark.parametrize(
    "settings",
    [
        {"recipe": "best", "batch_size_student": None},
        {"recipe": "best", "learning_rate_student": None, "learning_rate": 0.01},
        {"recipe": "no-digit", "transfer_set": "digits", "probe_size": 60_000},
        {"recipe": "no-digit", "transfer_set": "digits"},
        {"recipe": "fast", "transfer_set": "blobs", "probe_size": 5000},
        {"recipe": "no-digit", "transfer_set": "noise"},
        {"recipe": "best", "omitted_class": (), "elastic": 0.0},
        {"recipe": "best", "omitted_class": (0, 1, 2, 4, 5, 6), "max_norm": 2.0, "temperature": 3},
    ],
    ids=str,
)
def test_flags_of_any_run_make_one_with_the_same_trainings_and_the_same_probe(settings):
    """A setting that falls back on another one may be said as that one's value."""
    config = Config(**settings)
    parser = argument_parser("", Config)
    found = Config(**given_settings(parser.parse_args(flags_of(config).split()), Config))
    for kind in ("teacher", "student"):
        assert found.training(kind) == config.training(kind)
    for item in fields(Config):
        if item.name not in FALLS_BACK:
            assert getattr(found, item.name) == getattr(config, item.name)


@pytest.mark.parametrize("name", ["student-size", "hard-mix", "transfer-size"])
def test_a_question_about_a_class_left_out_needs_one(name):
    with pytest.raises(UserError, match=f"--study {name}.*leave out at least one"):
        plan([name], {"omitted_class": ()}, 1)


# intervals, and what they say of the claims


def density(t: np.ndarray, df: int) -> np.ndarray:
    """Of Student's T."""
    scale = math.exp(math.lgamma((df + 1) / 2) - math.lgamma(df / 2)) / math.sqrt(df * math.pi)
    return scale * (1 + t**2 / df) ** (-(df + 1) / 2)


@pytest.mark.parametrize("df", [1, 2, 3, 4, 5, 9, 10, 30, 101])
def test_95_per_cent_of_students_t_lie_within_its_quantile(df):
    ts, step = np.linspace(0, intervals.t_quantile(df), 200_001, retstep=True)
    ys = density(ts, df)
    within = 2 * step * (ys.sum() - (ys[0] + ys[-1]) / 2)
    assert within == pytest.approx(0.95, abs=1e-9)


def runs_with_errors(*errors: int) -> list[Run]:
    record = {"data": {"name": "MNIST", "n_test": 10_000}}
    return [
        Run("paper", {}, Config(seed=seed), {**record, "teacher": {"test_errors": e}})
        for seed, e in enumerate(errors)
    ]


@pytest.mark.parametrize(
    ("errors", "shown", "words"),
    [
        ((60, 110, 110), "+26.3 (-45.4 to +98.0)", "as many within the interval"),
        ((72, 73, 74), "+6.0 (+3.5 to +8.5)", "more errors"),
        ((60, 61, 62), "-6.0 (-8.5 to -3.5)", "fewer errors"),
        ((70, 70, 70), "+3.0 (+3.0 to +3.0)", "more errors"),
        ((67, 67), "+0.0 (+0.0 to +0.0)", "as many within the interval"),
        ((60,), "-7.0", "one seed, no interval"),
    ],
)
def test_a_claim_is_judged_by_the_interval_of_the_difference(errors, shown, words):
    claim = claims.CLAIMS[0]
    assert claim.paper == 67
    difference = claims.against_paper(runs_with_errors(*errors), claim)
    assert (str(difference), claims.verdict(difference)) == (shown, words)


def group(errors: dict[int, int], **settings) -> list[Run]:
    """Runs of the study of temperatures: their test errors by seed."""
    return [
        Run(
            "temperature", {}, Config(seed=seed, omitted_class=(), **settings),
            {"student": {"before_correction": {"test_errors": e}}},
        )
        for seed, e in errors.items()
    ]  # fmt: skip


def test_our_own_settings_are_compared_seed_by_seed():
    first, second = {0: 100, 1: 300, 2: 201, 5: 7}, {0: 110, 1: 311, 2: 210, 4: 0}
    paired = study.paired_difference(group(first), group(second), study.ERRORS_BEFORE)
    assert paired.mean == pytest.approx(-10)  # of the three seeds that both have
    assert paired.half == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    assert study.paired_difference(group({0: 1}), group({1: 1}), study.ERRORS_BEFORE) is None
    assert study.paired_difference([], [], study.ERRORS_BEFORE) is None


def by_number(runs: list[Run], number: str) -> list[list[str]]:
    return [row for row in claims.claim_rows(runs) if row[0] == number]


@pytest.mark.parametrize(
    ("lower", "higher", "words"),
    [
        (300, 300, ["fewer errors", "fewer errors"]),
        (251, 300, ["as many within the interval", "fewer errors"]),
        (200, 251, ["more errors", "as many within the interval"]),
    ],
)
def test_claim_5_says_how_the_middle_differs_from_each_side(lower, higher, words):
    seeds = {0: 0, 1: 40, 2: -40}  # what seeds share does not count
    shake = {0: 2, 1: -1, 2: 0}

    def at(temperature: float, mean: int, own: dict[int, int]) -> list[Run]:
        errors = {seed: mean + e + own[seed] for seed, e in seeds.items()}
        return group(errors, student_hidden=(30, 30), temperature=temperature)

    still = dict.fromkeys(seeds, 0)
    runs = [*at(1, lower, shake), *at(2.5, 250, still), *at(4, 250, still), *at(20, higher, shake)]
    rows = by_number(runs, "5")
    assert [row[-1] for row in rows] == words
    assert "T = 2.5, 4 against T = 1" in rows[0][1]
    assert "T = 2.5, 4 against T = 20" in rows[1][1]


@pytest.mark.parametrize(("higher", "words"), [(82, "as many within the interval"), (100, "more errors")])
def test_claim_4_compares_what_lies_above_8_with_8(higher, words):
    def at(temperature: float, *errors: int) -> list[Run]:
        return group(dict(enumerate(errors)), student_hidden=(800, 800), temperature=temperature)

    runs = [*at(8, 76, 80, 84), *at(12, higher, higher, higher), *at(50, higher, higher - 4, higher)]
    (row,) = by_number(runs, "4")
    assert row[-1] == words
    assert "T = 12, 50 against T = 8" in row[1]


# what is shown


@pytest.fixture(scope="module")
def committed() -> list[Run]:
    return results.read(RESULTS)[1]


@pytest.fixture(scope="module")
def shaken(small_data, tmp_path_factory):
    """Makes runs of given studies out of one: as many as are asked for, each with accuracies of its own."""
    config = tiny_configs(tmp_path_factory.mktemp("cache"))[0]
    record = make([config], small_data)[0][config]
    counts = np.bincount(small_data.train_labels, minlength=10)

    def runs(names: list[str], given: dict | None = None, n_seeds: int = 3) -> list[Run]:
        rng, found = np.random.default_rng(0), []
        for (name, place), configs in plan(names, given or {}, n_seeds).items():
            for one in configs:
                new = copy.deepcopy(record)
                omitted, corrected = list(one.omitted_class), list(one.corrected_class)
                new["bias_correction"] |= {
                    "classes": corrected,
                    "offsets": rng.uniform(1, 2, len(corrected)).tolist(),
                    "target_frequencies": (counts[corrected] / counts.sum()).tolist(),
                }
                if one.prior == "em":
                    new["bias_correction"]["target_frequencies"] = rng.uniform(0.01, 0.4, 1).tolist()
                if one.is_drawn:
                    answers = {"teacher_mean_probabilities": rng.dirichlet(np.ones(10)).tolist()}
                    shares = {"teacher_mean_largest": rng.random(), "nearest_digit_cosine": rng.random()}
                    new["transfer_set"] = {"kind": one.transfer_set, "n_different": 7, **answers, **shares}
                parts = [new["teacher"], *new["student"].values(), new["bias_correction"]["best_on_test_set"]]
                for part in parts:
                    for key in part:
                        if key.endswith("errors"):
                            part[key] = int(rng.integers(50, 300))
                        elif key == "per_class_accuracy":
                            part[key] = rng.uniform(0.5, 1, 10).tolist()
                        elif key.endswith("_accuracy"):
                            part[key] = float(rng.uniform(0.5, 1))
                if len(omitted) in (0, 10):
                    for part in parts[:-1]:
                        part["other_accuracy" if omitted else "omitted_accuracy"] = None
                    new["bias_correction"] |= {"best_on_test_set": None, "calibration": None}
                for n, at_offset in enumerate(new["bias_correction"]["calibration"] or ()):
                    on, off = rng.uniform(0.9, 1), rng.uniform(0, 0.01)
                    new["share"] = 0.2 + 0.01 * one.seed  # of test images that are 3s
                    both = new["share"] * on + (1 - new["share"]) * off
                    at_offset |= {"offset": float(n), "on_omitted": on, "on_others": off, "on_all": both}
                found.append(Run(name, STUDIES[name].grid[place], one, new))
        return found

    return runs


def drawn(name: str, runs: list[Run]):
    with our_style():
        figure = STUDIES[name].draw(STUDIES[name].question, STUDIES[name].shown(runs))
    return figure


def laid_out(name: str, runs: list[Run]):
    """The same with everything where it will stand in the file."""
    with our_style():
        figure = drawn(name, runs)
        figure.set_dpi(DPI)
        FigureCanvasAgg(figure).draw()
    return figure


def points(figure) -> list[tuple[int, float, float]]:
    """Every mean with an error bar: the number of its axes, x and y."""
    return [
        (index, x, y)
        for index, axes in enumerate(figure.axes)
        for container in axes.containers
        if isinstance(container, ErrorbarContainer)
        for x, y in container.lines[0].get_xydata()
        if not math.isnan(y)
    ]


def mean_of(runs: list[Run], part: str, key: str, **settings) -> float:
    """The mean of a metric of the student, with no help from the code that draws."""
    mine = [r for r in runs if all(getattr(r.config, k) == v for k, v in settings.items())]
    assert len(mine) == len({r.config.seed for r in mine}) > 0
    return float(np.mean([r.record["student"][f"{part}_correction"][key] for r in mine]))


UNSEEN, SEEN = "omitted_accuracy", "other_accuracy"
CLAIMED = ("paper", "transformed")  # studies whose pictures show claims
BEYOND = list(STUDIES)[list(STUDIES).index("answers") :]  # the paper; their pictures have no error bars
OTHERWISE = {*CLAIMED, *BEYOND}


def expected_points(name: str, runs: list[Run]) -> list[tuple[int, float, float]]:
    """The same from the grid and the records; several-omitted with the number of classes left out as x."""

    def mean(*what: str, **settings) -> float:
        return mean_of(runs, *what, **settings)

    if name == "temperature":
        top = [
            (i, t, mean("before", "test_errors", temperature=t, student_hidden=(n, n), omitted_class=()))
            for i, n in enumerate(EPOCHS_BY_UNITS)
            for t in TEMPERATURES
        ]
        bottom = [
            (i + 3, t, mean(*what, temperature=t, student_hidden=(n, n), omitted_class=(3,)))
            for i, n in enumerate(EPOCHS_BY_UNITS)
            for t in TEMPERATURES
            for what in (("before", UNSEEN), ("after", UNSEEN), ("after", SEEN))
        ]
        return top + bottom
    if name == "omitted-class":
        return [
            (0, c + shift, mean(part, UNSEEN, omitted_class=(c,)))
            for c in range(10)
            for part, shift in (("before", -0.12), ("after", 0.12))
        ]
    if name == "several-omitted":
        return [
            (0, place, mean(*what, omitted_class=choice))
            for place, alternatives in enumerate(SEVERAL.values())
            for choice in alternatives
            for what in (("before", UNSEEN), ("after", UNSEEN), ("after", SEEN))
        ]
    if name == "ingredients":
        kinds = ("none", "shifts", "affine", "elastic", "all")
        everyone = ("the teacher alone", "the student alone", "both")
        return [
            (axes, x + shift, mean("after", key, **(NOTHING | ingredients.point(kind, whose))))
            for x, kind in enumerate(kinds)
            for shift, whose in zip((-0.16, 0, 0.16), everyone, strict=True)
            for axes, key in enumerate(("test_errors", "omitted_errors"))
        ]
    found = []
    for settings in STUDIES[name].grid:
        if name == "student-size":
            x = settings["student_hidden"][0]
            whats = [(0, "after", SEEN), (0, "before", UNSEEN), (0, "after", UNSEEN)]
        elif name == "hard-mix":
            x = settings["hard_weight"]
            whats = [(i, part, k) for i, k in enumerate((UNSEEN, SEEN)) for part in ("before", "after")]
        else:
            x, whats = 100 * settings["transfer_fraction"], [(1, "before", SEEN)]
            if settings["hard_weight"] == 0:
                whats += [(0, "before", UNSEEN), (0, "after", UNSEEN)]
        found += [(i, x, mean(part, key, **settings)) for i, part, key in whats]
    return found


@pytest.mark.parametrize(
    ("name", "n_seeds"), [("several-omitted", 1), *((name, 3) for name in STUDIES if name not in OTHERWISE)]
)
def test_every_point_of_a_figure_is_the_mean_of_its_runs(name, n_seeds, shaken):
    runs = shaken([name], n_seeds=n_seeds)
    found = points(drawn(name, runs))
    if name == "several-omitted":
        found = [(index, round(x), y) for index, x, y in found]
    assert len(found) == len(expected_points(name, runs))
    assert np.array(sorted(found)) == pytest.approx(np.array(sorted(expected_points(name, runs))))


def marks(figure, marker: str) -> list[list[float]]:
    """What stands at the marks of one kind, axes by axes: x of vertical ones, y of horizontal ones."""
    return [
        [
            float(line.get_xydata()[0, int(marker == "_")])
            for line in axes.lines
            if line.get_marker() == marker
        ]
        for axes in figure.axes
    ]


BEYOND_ROWS = {
    "answers": ("omitted_accuracy", ("before", "after")),
    "little": ("test_accuracy", ("before", "after")),
    "contours": ("test_accuracy", ("before", "after")),
    "sevens-and-eights": ("test_accuracy", ("after",)),
}


@pytest.mark.parametrize("name", BEYOND_ROWS)
def test_the_marks_beyond_the_paper_are_means_over_seeds_and_the_dots_are_the_seeds(name, shaken):
    runs, (key, parts) = shaken([name]), BEYOND_ROWS[name]
    axes = drawn(name, runs).axes[-1 if name == "little" else 0]
    means = [float(line.get_xdata()[0]) for line in axes.lines if line.get_marker() == "|"]
    values = {
        (part, place): [r.record["student"][f"{part}_correction"][key] for r in runs if r.settings == point]
        for part in parts
        for place, point in enumerate(STUDIES[name].grid)
    }
    assert means == pytest.approx([100 * np.mean(values[part, i]) for part, i in values])
    dots = [line.get_xdata() for line in axes.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(dots, 100 * np.array(list(values.values())))


def test_points_of_several_classes_are_named_in_their_order(shaken):
    runs = shaken(["several-omitted"], n_seeds=1)
    figure = drawn("several-omitted", runs)
    found = sorted((x, y) for _, x, y in points(figure))
    assert len(figure.axes[0].texts) == len(SEVERAL)
    for place, text in enumerate(figure.axes[0].texts):
        words = text.get_text()
        named = [{int(c) for c in name} for name in words.removeprefix("all but ").split(", ")]
        if words.startswith("all but "):
            named = [set(range(10)) - kept for kept in named]
        before = [mean_of(runs, "before", UNSEEN, omitted_class=tuple(sorted(classes))) for classes in named]
        assert [y for x, y in found if round(x) == place][: len(named)] == pytest.approx(before)


@pytest.mark.parametrize(("errors", "n_arrows"), [((60, 70, 80), 0), ((1, 300, 2), 1)])
def test_an_interval_that_goes_on_below_0_errors_is_drawn_as_one(errors, n_arrows, monkeypatch):
    monkeypatch.setattr(claims, "CLAIMS", claims.CLAIMS[:1])
    monkeypatch.setattr(claims, "runs_for", lambda claim, runs: runs)
    axes = claims.draw_claims("?", runs_with_errors(*errors)).axes[0]
    arrows = [line for line in axes.lines if line.get_marker() == CARETLEFT]
    assert [list(line.get_xdata()) for line in arrows] == [[0]] * n_arrows
    words = [text.get_text() for text in axes.get_legend().get_texts()]
    assert ("the interval goes on below 0" in words) == (n_arrows > 0)


def test_the_lines_of_images_are_means_and_each_stands_where_its_share_is(shaken):
    runs = shaken(["images"])
    left, right = drawn("images", runs).axes
    for axes, shares, choice, kept in (
        (left, images.DROPPED, "least-like", lambda share: 1 - share),
        (right, images.KEPT, "most-like", lambda share: share),
    ):
        lines = {
            line.get_label(): line.get_xydata() for line in axes.lines if "correction" in line.get_label()
        }
        for which, words in ((choice, "the most 3-like"), ("random", "at random")):
            for part in ("before", "after"):
                fractions = [kept(share) for share in shares]
                expected = [
                    100 * mean_of(runs, part, UNSEEN, transfer_fraction=f, transfer_choice=which)
                    for f in fractions
                ]
                found = lines[f"{words}, {part} the correction"]
                np.testing.assert_allclose(found, np.array([[100 * s for s in shares], expected]).T)


def test_the_marks_of_subliminal_learning_are_means(shaken):
    runs = shaken(["subliminal"])
    left, right = marks(drawn("subliminal", runs), "_")[:2]

    def mean(n: int, width: int, start: str) -> float:
        chosen = {"spare_outputs": n, "student_start": start, "student_hidden": (width, width)}
        return 100 * mean_of(runs, "before", "test_accuracy", **chosen)

    assert left == pytest.approx([mean(n, 256, s) for s in ("teacher", "own") for n in (2, 3, 10, 30, 0)])
    assert right == pytest.approx([mean(3, w, s) for s in ("teacher", "own") for w in (64, 256, 1024)])


def test_the_bars_of_calibration_add_up_to_the_mean_probability(shaken):
    runs = shaken(["prior"])
    right = drawn("prior", runs).axes[1]
    mine = [r for r in runs if r.settings == {"omitted_class": (3,), "probe": "training", "prior": "known"}]
    assert len(mine) == 3
    first = [r for r in runs if r.settings == {"omitted_class": (3,), "probe_size": 5000, "prior": "known"}]
    share = np.mean([r.record["share"] for r in mine])
    tops = [bar.get_y() + bar.get_height() for bar in right.patches[4:8]]
    for top, side, k in zip(tops, (mine, mine, mine, first), (0, 2, 1, 1), strict=True):
        at = [r.record["bias_correction"]["calibration"][k] for r in side]
        expected = np.mean([share * a["on_omitted"] + (1 - share) * a["on_others"] for a in at])
        assert top == pytest.approx(100 * expected)
    said = [line.get_ydata() for line in drawn("prior", runs).axes[0].lines if line.get_marker() == "o"]
    em = [r for r in runs if r.config.prior == "em" and r.config.probe_share]
    assert np.concatenate(said) == pytest.approx(
        [100 * r.record["bias_correction"]["target_frequencies"][0] for r in em]
    )


def test_tables_beyond_the_paper_are_counted_by_hand(shaken):
    runs = shaken(["answers", "sevens-and-eights", "prior", "little"])
    found = tables(runs)
    for name, point, path, scale, digits in (
        ("answers", STUDIES["answers"].grid[1], "omitted_accuracy", 100, 2),
        ("sevens-and-eights", STUDIES["sevens-and-eights"].grid[2], "test_accuracy", 100, 2),
        ("prior", STUDIES["prior"].grid[0], "test_errors", 1, 1),
    ):
        values = [r.record["student"]["after_correction"][path] for r in runs if r.settings == point]
        mean = scale * np.mean(values)
        half = 4.302653 * scale * np.std(values, ddof=1) / math.sqrt(3)  # Student's t with two degrees
        shown = f"{mean:.{digits}f} ({mean - half:.{digits}f} to {mean + half:.{digits}f})"
        assert shown in found[name], name
    first, second = (
        [r.record["student"]["after_correction"]["omitted_accuracy"] for r in runs if r.settings == point]
        for point in STUDIES["answers"].grid[:2]
    )
    points = 100 * (np.array(second) - first)
    half = 4.302653 * points.std(ddof=1) / math.sqrt(3)
    shown = f"{points.mean():+.1f} ({points.mean() - half:+.1f} to {points.mean() + half:+.1f})"
    assert shown in found["answers"]


def cells(table: str) -> dict[tuple[str, str, str], str]:
    """The cells of a Markdown table by the row's first two cells and the column's heading."""
    header, _, *rows = [[c.strip() for c in line.strip("|").split("|")] for line in table.splitlines()]
    return {(row[0], row[1], name): cell for row in rows for name, cell in zip(header, row, strict=True)}


@pytest.mark.parametrize(
    ("name", "row", "point", "columns"),
    [
        ("answers", 1, {"omitted_class": (3,), "teacher_answers": "shuffled"},
         {"3s, after": ("after", UNSEEN), "others, after": ("after", SEEN)}),
        ("images", 4, images.part(0.95, "least-like"),
         {"3s, before": ("before", UNSEEN), "3s, after": ("after", UNSEEN)}),
        ("little", 8, little.STUDY.grid[8],
         {"test accuracy, before": ("before", "test_accuracy"), "after": ("after", "test_accuracy")}),
        ("contours", 3, contours.STUDY.grid[3],
         {"before": ("before", "test_accuracy"), "after": ("after", "test_accuracy")}),
        ("subliminal", 1, subliminal.spare(3, 256, "teacher"),
         {"student from the teacher's start": ("before", "test_accuracy")}),
        ("subliminal", 1, subliminal.spare(3, 256, "own"),
         {"student from its own": ("before", "test_accuracy")}),
        ("sevens-and-eights", 3, sevens_and_eights.STUDY.grid[3],
         {"before": ("before", "test_accuracy"), "after": ("after", "test_accuracy")}),
        ("prior", 1, prior.STUDY.grid[2], {"errors": ("after", "test_errors")}),
        ("prior", 1, prior.STUDY.grid[3], {"its errors": ("after", "test_errors")}),
    ],
)  # fmt: skip
def test_each_cell_stands_in_its_row_and_under_its_heading(name, row, point, columns, shaken):
    runs = shaken([name])
    table = tables(runs)[name]
    key = list(dict.fromkeys((first, second) for first, second, _ in cells(table)))[row]
    for heading, (part, metric) in columns.items():
        values = [r.record["student"][f"{part}_correction"][metric] for r in runs if r.settings == point]
        mean = np.mean(values) * (1 if metric.endswith("errors") else 100)
        shown = float(cells(table)[(*key, heading)].partition(" ")[0])
        assert shown == pytest.approx(mean, abs=0.051), heading


def test_offsets_stand_beside_their_errors_with_two_decimals(shaken):
    runs = shaken(["prior"])
    table = cells(tables(runs)["prior"])
    key = list(dict.fromkeys((first, second) for first, second, _ in table))[2]
    for heading, point in (("share known: offset", prior.STUDY.grid[4]), ("EM: offset", prior.STUDY.grid[5])):
        offsets = [r.record["bias_correction"]["offsets"][0] for r in runs if r.settings == point]
        assert table[(*key, heading)].startswith(f"{np.mean(offsets):.2f} (")


@pytest.mark.parametrize("name", BEYOND)
def test_a_point_whose_runs_all_failed_is_missing_and_nothing_else(name, shaken):
    runs = shaken([name], n_seeds=2)
    for point in STUDIES[name].grid:
        others = [run for run in runs if run.settings != point]
        assert tables(others)[name]
        assert drawn(name, others).axes


def test_how_many_classes_a_teacher_says():
    def classes(*p: float) -> float:
        return little.effective_classes(
            Run("little", {}, Config(), {"transfer_set": {"teacher_mean_probabilities": p}})
        )

    assert classes(*[0.1] * 10) == pytest.approx(10)
    assert classes(0.5, 0.5, *[0.0] * 8) == pytest.approx(2)


def test_the_points_of_the_claims_are_our_errors_in_per_cent_of_the_papers(committed):
    figure = drawn("paper", committed)
    found = {round(y): x for _, x, y in points(figure)}
    assert list(found) == list(range(len(claims.CLAIMS)))
    assert found[0] == pytest.approx(100 * np.mean([72, 75, 71]) / 67)
    only_7_and_8 = [claim.number for claim in claims.CLAIMS].index("8")
    assert found[only_7_and_8] == pytest.approx(100 * 2153 / 4730)
    assert "4,730 → 2,153  fewer errors" in words_of(figure)
    assert "67 → 73  more errors" in words_of(figure)
    axes = figure.axes[0]
    for container in axes.containers:  # nothing runs past the axis
        for bar in container.lines[2]:
            (left, _), (right, _) = bar.get_segments()[0]
            assert axes.get_xlim()[0] <= left <= right <= axes.get_xlim()[1]


def words_of(figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text) if text.get_visible())


@pytest.mark.parametrize("name", ["student-size", "hard-mix", "transfer-size"])
@pytest.mark.parametrize(
    ("omitted", "named"),
    [((5,), "5s"), ((3, 5), "classes 3, 5"), (tuple(range(8)), "the 8 classes left out")],
)
def test_a_picture_names_the_classes_that_were_left_out(name, omitted, named, shaken, small_data):
    words = words_of(drawn(name, shaken([name], {"omitted_class": omitted}, 1)))
    assert named in words
    assert not re.search(r"\b3s\b", words)
    if name == "transfer-size":
        n_transfer = int((~np.isin(small_data.train_labels, omitted)).sum())
        assert f"100 %: {n_transfer:,} images" in words


def test_claims_about_other_images_are_not_compared_with_the_papers(shaken):
    runs = shaken(["paper"])
    assert all(run.value("data.name") != "MNIST" for run in runs)
    rows = [row for row in claims.claim_rows(runs) if "against" not in row[1]]
    assert len(rows) == len([claim for claim in claims.CLAIMS if claim.study == "paper"])
    assert {(row[-2], row[-1]) for row in rows} == {("-", "not compared: other test images")}
    words = words_of(drawn("paper", runs))
    assert "ours of 300 images, the paper's of 10,000" in words
    assert "more errors" not in words


@pytest.mark.parametrize(("name", "source"), [("paper", "shaken"), *((s, "committed") for s in STUDIES)])
def test_nothing_in_a_picture_hides_a_point_or_runs_out_of_it(name, source, committed, shaken):
    figure = laid_out(name, committed if source == "committed" else shaken([name]))
    legends = figure.findobj(Legend)
    assert legends
    boxes = [legend.get_window_extent() for legend in legends]
    for index, x, y in points(figure):
        axes = figure.axes[index]
        place = axes.transData.transform((x, y))
        assert axes.bbox.padded(1).contains(*place), (x, y)
        assert not any(box.padded(4).contains(*place) for box in boxes), (x, y)
    everything = figure.get_tightbbox()
    assert min(*everything.p0) >= -0.02  # inches
    assert all(everything.p1 <= figure.get_size_inches() + 0.02)
    labels = [label for axes in figure.axes for label in (axes.xaxis.label, axes.yaxis.label, axes.title)]
    own = {text for legend in legends for text in legend.findobj(Text)}
    for text in {*labels, *(t for t in figure.findobj(Text) if len(t.get_text()) > 6)} - own:
        box = text.get_window_extent()
        assert not any(box.overlaps(legend) for legend in boxes), text.get_text()


def test_no_point_of_several_omitted_lies_on_another(committed):
    figure = laid_out("several-omitted", committed)
    places = np.array([figure.axes[index].transData.transform((x, y)) for index, x, y in points(figure)])
    distances = np.hypot(*(places[:, None] - places[None]).T)
    np.fill_diagonal(distances, np.inf)
    assert distances.min() > 5 * figure.dpi / 72  # the size of a marker


def test_tables_have_means_and_spread_counted_by_hand(shaken):
    runs = shaken(list(STUDIES))
    found = tables(runs)
    assert list(found) == list(STUDIES)
    mine = [
        run.record["student"]["after_correction"]["omitted_accuracy"]
        for run in runs
        if run.study == "hard-mix" and run.config.hard_weight == 0.25
    ]
    assert len(mine) == 3
    shown = f"{100 * np.mean(mine):.2f} ± {100 * np.std(mine, ddof=1):.2f}"
    row = next(line for line in found["hard-mix"].splitlines() if "0.25" in line)
    assert row.split(" | ")[4] == shown
    assert found["temperature"].count("\n") == 61
    numbers = re.findall(r"^\| (\d) \|", found["paper"], re.M)
    assert list(dict.fromkeys(numbers)) == list("123456789")


def test_every_point_of_a_study_has_a_name_of_its_own():
    for one in STUDIES.values():
        assert all(one.points)
        assert len({str(settings) for settings in one.grid}) == len(one.points), one.name
    point = ingredients.point("elastic", "the student alone")
    assert ingredients.POINTS["elastic, the student alone"] == point
    assert ingredients.POINTS["none, both"] == ingredients.point("none", "both")


def test_a_picture_is_drawn_anew_when_a_study_beside_it_was_run(shaken, tmp_path, monkeypatch):
    runs, drawn = shaken(["paper", "transformed", "hard-mix"], n_seeds=1), []
    monkeypatch.setattr(results, "save", lambda figure, path, console: drawn.append(path.name))
    results.draw(tmp_path, runs, ["transformed"], Console(quiet=True))
    assert drawn == ["paper.png", "transformed.png"]
    drawn.clear()
    results.draw(
        tmp_path, [run for run in runs if run.study != "paper"], ["transformed"], Console(quiet=True)
    )
    assert drawn == ["transformed.png"]
    drawn.clear()
    results.draw(tmp_path, runs, ["hard-mix"], Console(quiet=True))
    assert drawn == ["hard_mix.png"]


def test_a_picture_says_over_how_many_seeds_its_points_are(shaken):
    runs = shaken(["paper"], n_seeds=2) + shaken(["transformed"], n_seeds=3)
    assert "over 2 or 3 seeds" in words_of(drawn("paper", runs))
    assert "over 3 seeds" in words_of(drawn("transformed", runs))


def test_the_ingredients_table_says_who_gains_what(shaken):
    """Errors of the corrected student, the others' images being left as they are; the gain is paired."""
    runs = shaken(["ingredients"])
    errors = {}
    for kind in ("none", "affine"):
        for whose in ("the teacher alone", "the student alone", "both"):
            settings = NOTHING.copy()
            for suffix, other in (("", "the student alone"), ("_student", "the teacher alone")):
                if kind == "affine" and whose != other:
                    affine = (15.0, 0.15, 0.15) if suffix else (10.0, 0.1, 0.1)
                    names = ("rotation", "scaling", "shear")
                    settings |= {key + suffix: value for key, value in zip(names, affine, strict=True)}
            errors[kind, whose] = [
                run.record["student"]["after_correction"]["test_errors"]
                for run in runs
                if all(getattr(run.config, k) == v for k, v in settings.items())
            ]
    assert all(len(values) == 3 for values in errors.values())
    (line,) = [x for x in tables(runs)["ingredients"].splitlines() if x.startswith("| affine")]
    cells = line.strip("| ").split(" | ")
    shown = [f"{np.mean(v):.1f} ± {np.std(v, ddof=1):.1f}" for v in errors.values()]
    assert cells[2:5] == shown[3:]
    gains = np.array(errors["affine", "both"]) - errors["none", "both"]
    assert cells[6].startswith(f"{gains.mean():+.1f} (")
    assert shown[0] == shown[1] == shown[2]


def test_the_committed_tables_follow_from_the_committed_runs(committed):
    found = json.loads(RESULTS.read_text())
    assert tables(committed) == found["tables"]
    assert not found["failed"]
    assert found["data"]["sha256"] == core.MNIST_SHA256
    for name, s in STUDIES.items():
        assert (RESULTS.parent / s.picture).read_bytes().startswith(b"\x89PNG")
        for point in s.grid:
            seeds = [run.config.seed for run in committed if run.study == name and run.settings == point]
            assert sorted(seeds) == list(range(5 if name in FIVE_SEEDS else 3)), (name, point)
    rows = {line.split(" | ")[1]: line for line in found["tables"]["paper"].splitlines()}
    words = rows["transfer set of 7s and 8s only"].split(" | ")[-1]
    assert words == "fewer errors: a discrepancy in our favour, not a reproduction |"
    assert sum("discrepancy" in row for row in rows.values()) == 1


# results.json, read back


@pytest.fixture(scope="module")
def small_results(small_data, tmp_path_factory) -> dict:
    """Four runs of the study hard-mix."""
    planned = plan(["hard-mix"], {"teacher_hidden": (20,), "student_hidden": (10,)}, 2)
    configs = [config for (_, place), group in planned.items() if place < 2 for config in group]
    cache = tmp_path_factory.mktemp("cache")
    here = {Config(**{**vars(config), "cache_dir": cache}): config for config in configs}
    found, _ = make(list(here), small_data)
    runs = [
        Run("hard-mix", {"hard_weight": config.hard_weight}, config, found[with_cache])
        for with_cache, config in here.items()
    ]
    return results.content(runs, {})


def test_results_are_read_back_as_they_were_written(small_results, tmp_path):
    path = tmp_path / "results.json"
    path.write_text(json.dumps(small_results))
    found, runs = results.read(path)
    assert found == small_results
    found_points = [(run.config.seed, run.config.hard_weight) for run in runs]
    assert found_points == [(0, 0.0), (1, 0.0), (0, 0.1), (1, 0.1)]
    for run, entry in zip(runs, small_results["runs"], strict=True):
        assert run.value("before.test_errors") == entry["student"]["before_correction"]["test_errors"]


def altered(**changes):
    """The results with other values in their first run."""

    def alter(found: dict) -> str:
        found = copy.deepcopy(found)
        for path, value in changes.items():
            part = found["runs"][0]
            *way, last = path.split("__")
            for key in way:
                part = part[key]
            part[last] = value
        return json.dumps(found)

    return alter


@pytest.mark.parametrize(
    "alter",
    [
        lambda found: "",
        lambda found: "{",
        lambda found: "{}",
        lambda found: "[]",
        lambda found: "[" * 100_000,
        lambda found: json.dumps({**found, "runs": []}),
        lambda found: json.dumps({**found, "runs": {}}),
        lambda found: json.dumps({**found, "runs": [[]]}),
        lambda found: json.dumps({**found, "data": None}),
        lambda found: json.dumps({k: v for k, v in found.items() if k != "failed"}),
        altered(study="everything"),
        altered(grid={"hard_weight": 0.3}),
        altered(grid={"hard_weight": 0.1}),
        altered(flags="--temperature hot"),
        altered(flags="--temperature -1"),
        altered(flags="--help"),
        altered(flags=7),
        altered(seed=1),
        altered(seed="\x1b[2J"),
        altered(teacher__test_accuracy=float("nan")),
        altered(teacher__test_errors=301),
        lambda found: json.dumps({**found, "runs": [*found["runs"], found["runs"][0]]}),
        altered(student__after_correction=None),
        altered(bias_correction__offsets=[1.0, 2.0]),
    ],
)
def test_results_that_are_none_are_refused_in_one_line(alter, small_results, tmp_path):
    path = tmp_path / "results.json"
    path.write_text(alter(small_results))
    with pytest.raises(UserError) as refusal:
        results.read(path)
    assert str(path) in str(refusal.value)
    assert str(refusal.value).isprintable()


def test_merging_keeps_what_was_not_asked_for_anew(small_results):
    grid = STUDIES["temperature"].grid
    others = [
        {**one, "study": "temperature", "grid": point}
        for one, point in zip(small_results["runs"], grid, strict=False)
    ]
    asked, unasked = Config(seed=1), Config(seed=2)
    failed = [{"config": json.loads(json.dumps(c.plain())), "reason": "?"} for c in (asked, unasked)]
    before = {**small_results, "runs": others + small_results["runs"][:1], "failed": failed}
    found = results.merged(small_results, before, [asked])
    assert found["runs"] == others + small_results["runs"]
    assert found["failed"] == failed[1:]
    assert results.merged(small_results, None, [asked]) == small_results


def test_a_study_with_fewer_seeds_keeps_the_others(small_results):
    """In the order of a study: point by point, of each the seeds one after the other."""
    again = {**small_results, "runs": [one for one in small_results["runs"] if one["seed"] == 0]}
    again = copy.deepcopy(again)
    for one in again["runs"]:
        one["seconds"]["teacher"] = 12345.0
    found = results.merged(again, small_results, [Config(seed=0)])
    assert [(one["grid"], one["seed"]) for one in found["runs"]] == [
        (one["grid"], one["seed"]) for one in small_results["runs"]
    ]
    assert [one["seconds"]["teacher"] == 12345 for one in found["runs"]] == [True, False, True, False]


@pytest.mark.parametrize(
    ("study", "settings", "n_seeds", "refused"),
    [
        ("hard-mix", {}, 1, False),
        ("hard-mix", {"n_epochs_student": 2}, 2, False),  # of all seeds: they are made anew
        ("hard-mix", {"n_epochs_student": 2}, 1, True),  # of one: the other would stand beside it
        ("temperature", {"n_epochs_student": 2}, 1, False),
    ],
)
def test_no_study_holds_seeds_of_other_settings(study, settings, n_seeds, refused, small_results, tmp_path):
    (tmp_path / "results.json").write_text(json.dumps(small_results))
    planned = plan([study], {"teacher_hidden": (20,), "student_hidden": (10,), **settings}, n_seeds)
    if not refused:
        assert results.existing(tmp_path, small_results["data"], planned) == small_results
        return
    with pytest.raises(
        UserError, match="hard-mix with other settings and seed 1; move it away or name another"
    ):
        results.existing(tmp_path, small_results["data"], planned)


@pytest.mark.parametrize(
    ("study", "where", "wrong"),
    [
        ("answers", ("bias_correction", "calibration"), "x"),
        ("answers", ("bias_correction", "calibration"), [{}, {}, {}]),
        ("answers", ("bias_correction", "classes"), [4]),
        ("little", ("transfer_set",), 3),
        ("little", ("transfer_set", "teacher_mean_probabilities"), [0.5, "x"]),
        ("little", ("transfer_set", "nearest_digit_cosine"), 7),
    ],
)
def test_what_tables_beyond_the_paper_use_is_held_to_its_form(study, where, wrong, tmp_path):
    content = json.loads(RESULTS.read_text())
    chosen = next(
        r for r in content["runs"] if r["study"] == study and ("transfer_set" in r or study != "little")
    )
    content["runs"] = [chosen]
    path = tmp_path / "results.json"
    path.write_text(json.dumps(content))
    assert results.read(path)[1]
    *way, last = where
    place = chosen
    for key in way:
        place = place[key]
    place[last] = wrong
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="is not a study's results"):
        results.read(path)
