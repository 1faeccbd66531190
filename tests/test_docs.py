"""README and docs say what the committed runs, the settings and the files say.

    python3 -m tests.test_docs        # writes the generated parts of the pages anew

A generated part stands between `<!-- table: NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

from support.data import Data
from support.report import Results, markdown, summary
from support.settings import BOUNDS, argument_parser, flag_name, given_settings

import contextlib
import importlib
import io
import json
import re
import shlex
import statistics
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cifar10.settings as cifar
import distillation_mnist_omitted_3 as core
from beyond import pipeline
from beyond.settings import DRAWN_SETS, RECIPES, Config
from studies import beyond, beyond_figures, gain, ingredients, results
from studies.beyond_tables import effective_classes
from studies.cifar10_tables import (
    HARD,
    SOFT,
    TEACHER,
    cifar10_table,
    gains,
    trials_table,
    unlabelled_table,
    unseen_class_table,
)
from studies.folders import fixed, load, load_trials, mean_sd, value
from studies.gain_tables import gain_tables
from studies.measured import Run, all_but
from studies.questions import STUDIES
from studies.summarise import means_table, rows_for, seeds_table
from studies.tables import tables

ROOT = Path(__file__).resolve().parent.parent
PAGES = ["README.md", *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").glob("*.md"))]
NO_DIGIT = ROOT / "viz" / "seeds" / "no-digit"
SEEDS = {name: ROOT / "viz" / "seeds" / name for name in ("described", "linear", "fast", "middle", "best")}
STUDY = ROOT / "viz" / "study"
PART = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(<!-- end -->)", re.S)


@cache
def text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


# ---- What was committed ------------------------------------------------------------------------------------


@cache
def seed_runs(name: str) -> list[Results]:
    return load(NO_DIGIT if name == "no-digit" else SEEDS[name])


@cache
def cifar10_runs(name: str) -> list[Results]:
    return load(ROOT / "viz" / "cifar10" / name)


@cache
def gain_results() -> Results:
    return gain.read(ROOT / "viz" / "cifar10" / "gain" / "results.json")


@cache
def cifar10_trials() -> list[Results]:
    return load_trials(ROOT / "viz" / "cifar10" / "trials")


def pictured() -> Results:
    """The run that the pictures show; `make run` overwrites viz/results.json, but not this copy."""
    return seed_runs("described")[0]


@cache
def study_runs() -> list[Run]:
    return results.read(STUDY / "results.json")[1]


def point(study: str, n_seeds: int = 3, **grid: Any) -> list[Run]:
    """The runs of one point of a study."""
    runs = [
        run
        for run in study_runs()
        if run.study == study and all(run.settings.get(k) == v for k, v in grid.items())
    ]
    assert [run.config.seed for run in runs] == list(range(n_seeds)), (study, grid)
    return runs


# ---- The generated parts -----------------------------------------------------------------------------------


def printed() -> str:
    """The final table of the pictured run, as `make run` prints it."""
    found = dict(pictured())
    phases = ("data", "teacher", "student", "bias_correction", "total")  # the file sorts its keys
    found["wall_clock_seconds"] = {name: found["wall_clock_seconds"][name] for name in phases}
    return f"```\n{summary(found, '3s')}\n```"


def headline() -> str:
    """The paper, a published run, the recipes of ours, and a student without a teacher."""
    columns = (
        ("teacher", "teacher, all"),
        ("student", "student before the correction, all"),
        ("its 3s", "student before the correction, 3s"),
        ("corrected", "student after it, all"),
        ("its 3s", "student after it, 3s"),
        ("seconds", "seconds, all phases"),
    )
    known = {name: (paper, published) for name, paper, published, _ in rows_for((3,))}
    paper = [known[row][0].partition(" (")[0] for _, row in columns]
    for place, row, n in ((3, "errors with it, all", 10_000), (4, "errors with it, 3s", 1010)):
        paper[place] = f"{100 - 100 * int(known[row][0]) / n:.2f} %"
    rows = [["paper", *paper], ["published, 1 seed", *(known[row][1] for _, row in columns)]]
    before, after = "student.before_correction.", "student.after_correction."
    paths = [before + "test_accuracy", before + "omitted_accuracy"]
    paths += [after + "test_accuracy", after + "omitted_accuracy"]

    def percent(values: list[float]) -> str:
        return f"{mean_sd([100 * v for v in values], 2)} %"

    for name in ("described", "fast", "middle", "best", "no-digit"):
        runs, mine = seed_runs(name), ["teacher.test_accuracy", *paths]
        if name == "no-digit":  # every class is left out: its 3s are one of ten
            mine = [path.replace("omitted_accuracy", "per_class_accuracy.3") for path in mine]
        cells = [percent([value(run, path) for run in runs]) for path in mine]
        seconds = mean_sd([value(run, "wall_clock_seconds.total") for run in runs], 0)
        rows.append([f"{name}, {len(runs)} seeds", *cells, seconds])
    control = point("hard-mix", hard_weight=1.0)
    cells = [percent([run.value(path) for run in control]) for path in paths]
    rows.append([f"control, {len(control)} seeds", "", *cells, ""])
    return markdown(["", *(name for name, _ in columns)], rows)


def recipes() -> str:
    """The presets as flags."""
    rows = []
    for name, preset in RECIPES.items():
        flags = [f"`{flag_name(k)} {shown_default(v)}`" for k, v in preset.items()]
        rows.append([f"`{name}`", " ".join(flags) or "the defaults"])
    return markdown(["recipe", "flags"], rows, n_left=2)


def shown_default(default: Any) -> str:
    if isinstance(default, tuple):
        return " ".join(map(str, default))
    if isinstance(default, float):
        return f"{default:g}"
    return {"None": "", "False": "off"}.get(str(default), str(default))


def allowed(declared: Any) -> str:
    if choices := declared["flag"].get("choices"):
        return ", ".join(map(str, choices))
    return ", ".join(BOUNDS[b][1].format(f"{limit:,}") for b, limit in declared["bounds"].items())


def flag_table(settings: type, wanted: Callable[[Any], bool] = lambda item: True) -> str:
    """Flag, default, bounds and meaning of every wanted field, as declared beside it."""
    rows = []
    for item in filter(wanted, fields(settings)):
        meaning = item.metadata["help"].replace("%%", "%")
        flag, default = f"`{flag_name(item.name)}`", shown_default(item.default)
        rows.append([flag, default, allowed(item.metadata), meaning])
    return markdown(["flag", "default", "allowed", "meaning"], rows, n_left=4)


def is_not_the_suites(item: Any) -> bool:
    """Whether a CIFAR-10 flag is another than the MNIST experiment's."""
    ours = Config.__dataclass_fields__.get(item.name)
    return ours is None or (item.default, item.metadata) != (ours.default, ours.metadata)


GENERATED: dict[tuple[str, str], Callable[[], str]] = {
    ("README.md", "printed"): printed,
    ("README.md", "headline"): headline,
    ("docs/results.md", "means"): lambda: means_table({name: seed_runs(name) for name in SEEDS}),
    ("docs/results.md", "seeds"): lambda: seeds_table({name: seed_runs(name) for name in SEEDS}),
    ("docs/results.md", "no-digit"): lambda: "\n\n".join(
        table({"no-digit": seed_runs("no-digit")}) for table in (means_table, seeds_table)
    ),
    ("docs/results.md", "recipes"): recipes,
    **{("docs/studies.md", name): lambda name=name: tables(study_runs())[name] for name in STUDIES},
    ("docs/cifar10.md", "cifar10"): lambda: cifar10_table(cifar10_runs("seeds")),
    ("docs/cifar10.md", "fifth"): lambda: cifar10_table(cifar10_runs("fifth")),
    ("docs/cifar10.md", "gain"): lambda: "\n\n".join(gain_tables(gain_results())),
    ("docs/cifar10.md", "unlabelled"): lambda: unlabelled_table(
        cifar10_runs("unlabelled"), cifar10_runs("labelled_tenth")
    ),
    ("docs/cifar10.md", "cifar10-trials"): lambda: trials_table(cifar10_trials()),
    ("docs/cifar10.md", "unseen-cat"): lambda: unseen_class_table(cifar10_runs("unseen_cat")),
    ("docs/cifar10.md", "cifar10-flags"): lambda: flag_table(cifar.Config, is_not_the_suites),
    ("docs/reference.md", "flags"): lambda: flag_table(Config),
}  # fmt: skip


def renewed(page: str) -> str:
    """The page with every generated part as it should be."""
    return PART.sub(lambda m: f"{m[1]}\n{GENERATED[page, m[2]]()}\n\n{m[3]}", text(page))


def test_the_generated_parts_are_there():
    found = [(page, m[2]) for page in PAGES for m in PART.finditer(text(page))]
    assert sorted(found) == sorted(GENERATED)


@pytest.mark.parametrize("page", [p for p in PAGES if any(p == page for page, _ in GENERATED)])
def test_generated_parts_are_those_of_the_committed_runs(page):
    assert text(page) == renewed(page), "python3 -m tests.test_docs writes them anew"


def test_the_studies_tables_are_those_in_their_results_json():
    found = json.loads((STUDY / "results.json").read_text())["tables"]
    for name in STUDIES:
        assert found[name] in text("docs/studies.md"), name


# ---- The committed runs are what the pages call them -------------------------------------------------------


def test_headline_runs_are_of_mnist_and_their_recipe():
    for name in (*SEEDS, "no-digit"):
        recipe = name if name in RECIPES else "described"
        wanted = {**RECIPES[recipe], **({"lr_schedule": "linear"} if name == "linear" else {})}
        for seed, run in enumerate(seed_runs(name)):
            config = Config(**wanted, recipe=recipe, seed=seed)
            assert run["data"]["sha256"] == core.MNIST_SHA256
            known = {**Config().plain(), **run["config"]}  # an older run had a younger flag's default
            assert training_settings(known) == training_settings(config.plain())


CIFAR10_SEEDS = {  # by folder
    "seeds": [0, 1, 2, 3], "fifth": [0, 1, 2], "unseen_cat": [0, 1, 2, 3, 4], "unseen_cat_16": [0],
    "unlabelled": [0, 1, 2], "labelled_tenth": [0, 1, 2],
}  # fmt: skip


def test_cifar10_runs_are_those_of_their_commands():
    commands = [flags for name, flags in commands_of("docs/cifar10.md") if name == "cifar10"]
    for folder, seeds in CIFAR10_SEEDS.items():
        runs = cifar10_runs(folder)
        assert [run["config"]["seed"] for run in runs] == seeds
        flags = next(flags for flags in commands if f"viz/cifar10/{folder}/0" in flags)
        given = given_settings(argument_parser("", cifar.Config).parse_args(flags), cifar.Config)
        wanted = json.loads(json.dumps(cifar.Config(**given).plain()))
        for run in runs:
            assert run["data"]["n_train"] == 50_000
            assert training_settings(run["config"]) == training_settings(wanted)


def test_the_map_of_gains_is_that_of_its_command():
    """All points of its parts and seeds, with the settings of the main command."""
    found = gain_results()
    (flags,) = [flags for name, flags in commands_of("docs/cifar10.md") if name == "studies.gain"]
    arguments, given = gain.parse(flags)
    assert set(given) == {"outdir"}  # that of other data
    wanted = {
        (point.student, point.share, point.n_epochs, seed)
        for part in arguments.parts or gain.PARTS
        for point in gain.PARTS[part]
        for seed in range(arguments.seeds)
    }
    runs = [(run["student"], run["share"], run["n_epochs"], run["seed"]) for run in found["runs"]]
    assert sorted(runs) == sorted(wanted)
    defaults = training_settings(cifar.Config().plain())
    assert {k: defaults[k] for k in training_settings(found["config"])} == training_settings(found["config"])
    assert {name: " ".join(one["channels"]) for name, one in found["students"].items()} == gain.STUDENTS
    for run in cifar10_runs("seeds")[: arguments.seeds]:
        assert found["teachers"][str(run["config"]["seed"])] == value(run, "teacher.test_accuracy")


def training_settings(config: dict[str, Any]) -> dict[str, Any]:
    """All but the seed's number and where things lie."""
    free = {"dataset", "data_dir", "cache_dir", "outdir", "quiet", "retrain", "mirror"}
    free |= {"seed"} if "optimiser" in config else set()
    return {k: v for k, v in json.loads(json.dumps(config)).items() if k not in free}


# ---- Figures in prose --------------------------------------------------------------------------------------

BEFORE, AFTER = "student.before_correction.", "student.after_correction."
UNSEEN_BEFORE, UNSEEN_AFTER = BEFORE + "omitted_accuracy", AFTER + "omitted_accuracy"
SEEN_BEFORE, SEEN_AFTER = BEFORE + "other_accuracy", AFTER + "other_accuracy"
ALL_BEFORE, ALL_AFTER = BEFORE + "test_accuracy", AFTER + "test_accuracy"
ERRORS_BEFORE, ERRORS_AFTER = BEFORE + "test_errors", AFTER + "test_errors"
UNSEEN_ERRORS_BEFORE, UNSEEN_ERRORS_AFTER = BEFORE + "omitted_errors", AFTER + "omitted_errors"

Quote = tuple[Any, ...]  # a fragment of a page, and the figure that stands for each # in it


def values(runs: Sequence[Any], path: str) -> list[float]:
    return [run.value(path) if isinstance(run, Run) else value(run, path) for run in runs]


def mean(runs: Sequence[Any], path: str) -> float:
    return statistics.mean(values(runs, path))


def count(runs: Sequence[Any], path: str) -> str:
    return f"{mean(runs, path):,.0f}"


def percent(runs: Sequence[Any], path: str, digits: int = 0) -> str:
    return f"{100 * mean(runs, path):.{digits}f}"


def percent_sd(runs: Sequence[Any], path: str) -> str:
    return mean_sd([100 * v for v in values(runs, path)], 2)


def error_rate(runs: Sequence[Any], path: str) -> str:
    return f"{mean(runs, path) / 100:.1f}"  # of 10,000


def headline_runs() -> list[Results]:
    return [run for name in SEEDS for run in seed_runs(name)]


def rises() -> int:
    """In how many of the headline runs the correction raises the errors in all."""
    return sum(value(run, ERRORS_AFTER) > value(run, ERRORS_BEFORE) for run in headline_runs())


def quotes_of_readme() -> list[Quote]:
    without_3 = point("paper", omitted_class=(3,))
    twenty = point("student-size", student_hidden=(20, 20))
    tenth = point("transfer-size", transfer_fraction=0.1, hard_weight=0.0)
    weights = [run["hard_weight"] for run in STUDIES["hard-mix"].grid]
    seen = [100 * mean(point("hard-mix", hard_weight=w), SEEN_BEFORE) for w in weights]
    cats = cifar10_runs("unseen_cat")
    return [
        ("we count # errors without 3s where the paper has 206", count(without_3, ERRORS_BEFORE)),
        ("in # of our # runs", rises(), len(headline_runs())),
        (
            '"best" makes # errors with a student that never saw a 3, # of them on 3s',
            *(f"{mean(seed_runs('best'), path):.1f}" for path in (ERRORS_AFTER, UNSEEN_ERRORS_AFTER)),
        ),
        (
            "Our teacher makes #, a student of all digits # (the paper's: 74)",
            f"{mean(seed_runs('best'), 'teacher.test_errors'):.1f}",
            f"{mean(point('transformed', 5, omitted_class=()), ERRORS_BEFORE):.1f}",
        ),
        (
            "reads # % of the test digits (# errors, its teacher makes #; means of five seeds)",
            percent(seed_runs("no-digit"), ALL_BEFORE, 2),
            count(seed_runs("no-digit"), ERRORS_BEFORE),
            count(seed_runs("no-digit"), "teacher.test_errors"),
        ),
        ("(from # to #)", value(pictured(), ERRORS_BEFORE), value(pictured(), ERRORS_AFTER)),
        ("claim 1 (# errors of the regularised teacher, not 67)", count(without_3, "teacher.test_errors")),
        (
            "nor claim 3 (# to # of the student of all digits, not 74)",
            *sorted(
                count(point("paper", omitted_class=(), hard_weight=w), ERRORS_BEFORE) for w in (0.0, 0.1)
            ),
        ),
        (
            "the worst digit is 5, with # %",
            percent(point("omitted-class", omitted_class=(5,)), UNSEEN_AFTER, 1),
        ),
        (
            "20 units recognise # % of the 3s before the correction, # % after it",
            percent(twenty, UNSEEN_BEFORE),
            percent(twenty, UNSEEN_AFTER),
        ),
        (
            "with class means in its place # % of the 3s are left. After it # % are: the other nine logits "
            "tell of 3s, too, unless the teacher never saw one (# %)",
            *(
                percent(point("answers", 5, omitted_class=(3,), teacher_answers="class-mean"), path)
                for path in (UNSEEN_BEFORE, UNSEEN_AFTER)
            ),
            percent(point("answers", 5, teacher_omitted_class=(3,)), UNSEEN_AFTER),
        ),
        ("They help the digits seen by # points at most", f"{max(seen) - seen[0]:.1f}"),
        (
            "for # % of the 3s before the correction and # % after it",
            percent(tenth, UNSEEN_BEFORE),
            percent(tenth, UNSEEN_AFTER),
        ),
        (
            "a tenth of its teacher's parameters names # % rightly, # points more than from hard labels; "
            "from 3 % of the images it gains # points. Where a tenth of the images has "
            "labels, those without add # points. Without a cat in its training it recognises # % of the "
            "cats, # %",
            percent(cifar10_runs("seeds"), ALL_BEFORE, 1),
            f"{statistics.mean(gains(cifar10_runs('seeds'))):.1f}",
            gained("tenth", 0.03, 10),
            unlabelled_add(),
            percent(cats, UNSEEN_BEFORE),
            percent(cats, UNSEEN_AFTER),
        ),
    ]


def quotes_of_results() -> list[Quote]:
    described, linear, best = (seed_runs(name) for name in ("described", "linear", "best"))
    without_3 = point("paper", omitted_class=(3,))
    every = headline_runs()
    assert all(value(run, UNSEEN_ERRORS_BEFORE) > value(run, UNSEEN_ERRORS_AFTER) for run in every)
    pictured_errors = value(pictured(), ERRORS_BEFORE), value(pictured(), ERRORS_AFTER)
    by_class = [value(pictured(), part + "per_class_accuracy") for part in (BEFORE, AFTER)]
    price = [f"{100 * (by_class[0][c] - by_class[1][c]):.1f}" for c in (5, 9)]
    teacher = [entry["test_accuracy"] for entry in pictured()["history"]["teacher"]]
    jump = max(abs(after - before) for before, after in pairwise(teacher))
    scatter = sorted(values(described, UNSEEN_ERRORS_BEFORE))
    no_digit, first = seed_runs("no-digit"), "history.student.0.test_accuracy"
    assert all(value(run, first) < 0.5 for run in no_digit)  # "fewer than half of the digits"
    return [
        (
            "Its teacher makes # errors; the student that learned from noise makes #, # with its biases set",
            *(f"{mean(no_digit, path):.1f}" for path in ("teacher.test_errors", ERRORS_BEFORE, ERRORS_AFTER)),
        ),
        (
            "makes # errors without 3s in its transfer set, the paper's 206; on the 3s, # against 133",
            count(without_3, ERRORS_BEFORE),
            count(without_3, UNSEEN_ERRORS_BEFORE),
        ),
        (
            "makes # errors before the correction, # of them on 3s, and # after it, # on 3s",
            count(best, ERRORS_BEFORE),
            count(best, UNSEEN_ERRORS_BEFORE),
            count(best, ERRORS_AFTER),
            count(best, UNSEEN_ERRORS_AFTER),
        ),
        ("before any correction: # % against 86.83 %", percent(described, UNSEEN_BEFORE, 2)),
        ("In all # runs of the table it recovers 3s. In # of them the errors", len(every), rises()),
        ("(described, seed 0: from # to #)", *pictured_errors),
        (
            "the described student goes from # to # errors, the linear one from # to #",
            count(described, ERRORS_BEFORE),
            count(described, ERRORS_AFTER),
            count(linear, ERRORS_BEFORE),
            count(linear, ERRORS_AFTER),
        ),
        (
            "linear decay makes # teacher errors instead of # and # student errors instead of #",
            count(linear, "teacher.test_errors"),
            count(described, "teacher.test_errors"),
            count(linear, ERRORS_BEFORE),
            count(described, ERRORS_BEFORE),
        ),
        ("before the correction range from # to #", scatter[0], scatter[-1]),
        ("frequency in all 60,000, # %", percent(described, "bias_correction.target_frequencies.0", 2)),
        ("# such answers", f"{pictured()['data']['n_transfer']:,}"),
        ("here # points of the 5s, # of the 9s", *price),
        ("higher than the gain: # errors instead of #", *reversed(pictured_errors)),
        ("jump by up to # of a point", f"{100 * jump:.1f}"),
        (
            "ends higher, at # % instead of # %",
            percent(linear, "teacher.test_accuracy", 2),
            percent(described, "teacher.test_accuracy", 2),
        ),
    ]


LATER = ("transformed", "ingredients", *beyond_figures.DRAW)  # studies that ran on another day


def quotes_of_studies() -> list[Quote]:
    nothing = Data("MNIST", *4 * (np.zeros(0),), {})

    def students(runs: list[Run]) -> dict[str, float]:
        """The seconds of every training: runs that differ in the bias correction share one."""
        return {
            json.dumps(pipeline.determinants("student", run.config, nothing), default=str): run.value(
                "seconds.student"
            )
            for run in runs
        }

    everyones = students(study_runs())
    return [
        (
            "the trainings of the # students of seven of them",
            len(students([run for run in study_runs() if run.study not in LATER])),
        ),
        ("those of all # take # minutes", len(everyones), f"{sum(everyones.values()) / 60:.0f}"),
        *quotes_of_claims(),
        *quotes_of_temperature_and_classes(),
        *quotes_of_size_labels_and_data(),
        *quotes_of_answers_and_little(),
        *quotes_of_subliminal(),
        *quotes_of_images(),
        *quotes_of_prior(),
        *quotes_of_contours(),
        *quotes_of_sevens_and_eights(),
    ]


def quotes_of_contours() -> list[Quote]:
    def reads(path: str = ALL_BEFORE, **changed: Any) -> str:
        plain = beyond.CONTOURS | changed
        runs = [run for run in study_runs() if run.study == "contours" and run.settings == plain]
        return percent(runs, path, 1)

    one, twelve = {"n_epochs_teacher": 1}, {"n_epochs_teacher": 12}
    of_teacher = "teacher.test_accuracy"
    return [
        ("teach # % of the digits, 10,000 teach # %, 60,000 teach # %, and 480,000, each seen once, # %",
         *(reads(transfer_images=n) for n in (1_000, 10_000, 60_000)), reads()),
        ("epoch (# %) has a student of # %, one of twelve (# %) a student of # %",
         reads(of_teacher, **one), reads(**one), reads(of_teacher, **twelve), reads(**twelve)),
        ("At T = 1 it is # %", reads(temperature=1.0)),
        ("its teacher, it reads # %, as before", reads(ALL_AFTER, probe="transfer")),
    ]  # fmt: skip


def quotes_of_sevens_and_eights() -> list[Quote]:
    def lost(path: str) -> str:
        fast, longer = (
            [run for run in study_runs() if run.study == "sevens-and-eights" and run.settings == settings]
            for settings in (beyond.DISCREPANCY[0], beyond.DISCREPANCY[2])
        )
        assert len(fast) == len(longer) == 5
        return f"{100 * (mean(fast, path) - mean(longer, path)):.1f}"

    return [
        (
            "worse by # points; before the correction, by #.",
            lost(ALL_AFTER), lost(ALL_BEFORE),
        ),
    ]  # fmt: skip


def quotes_of_prior() -> list[Quote]:
    def of(path: str, digits: int, prior: str = "known", **probe: Any) -> str:
        wanted = {"omitted_class": (3,), "prior": prior, **(probe or {"probe": "training"})}
        scale = 1 if "errors" in path or "offset" in path else 100
        return f"{scale * mean(point('prior', 5, **wanted), path):.{digits}f}"

    offset, best = "bias_correction.offsets.0", "bias_correction.best_on_test_set"
    em, errors, said = partial(of, prior="em"), ERRORS_AFTER, "bias_correction.target_frequencies.0"
    one, thirty, few = {"probe_share": 0.01}, {"probe_share": 0.3}, {"probe_size": 5000}
    return [
        (
            "finds # % of 3s where there are 10.2 %, # % where there is 1 %, # % where there are 30 %",
            *(em(said, 1, **probe) for probe in ({}, one, thirty)),
        ),
        (
            "+# instead of +#, and costs # errors instead of #",
            *(em(offset, 1), of(offset, 1), em(errors, 0), of(errors, 0)),
        ),
        ("the known 10.2 % give # errors, EM #", of(errors, 0, **one), em(errors, 0, **one)),
        ("described offset is +# (# errors)", of(offset, 2, **few), of(errors, 0, **few)),
        ("on all 60,000 it is +# (#)", of(offset, 2), of(errors, 0)),
        ("where +# would be best on the test set (#)", of(f"{best}.offset", 2), of(f"{best}.test_errors", 0)),
        ('There the mean probability of "3", # %', of("bias_correction.calibration.2.on_all", 2)),
    ]


def quotes_of_images() -> list[Quote]:
    n_seeds = len([run for run in study_runs() if run.settings == STUDIES["images"].grid[0]])

    def right(share: float, choice: str, path: str) -> float:
        return 100 * mean(point("images", n_seeds, transfer_fraction=share, transfer_choice=choice), path)

    random = sorted(right(1 - share, "random", UNSEEN_BEFORE) for share in (0.01, 0.05, 0.1, 0.25, 0.5))
    return [
        (
            "# % of the unseen 3s are recognised before the correction, without half of the images # %",
            *(f"{right(1 - share, 'least-like', UNSEEN_BEFORE):.0f}" for share in (0.1, 0.5)),
        ),
        ("taken out at random cost nothing (# to # %)", f"{random[0]:.0f}", f"{random[-1]:.0f}"),
        (
            "makes up for most of it: # and # % after it",
            *(f"{right(1 - share, 'least-like', UNSEEN_AFTER):.0f}" for share in (0.1, 0.5)),
        ),
        (
            "teach # % of the 3s before the correction, 539 at random # %",
            *(f"{right(0.01, choice, UNSEEN_BEFORE):.0f}" for choice in ("most-like", "random")),
        ),
        ("does harm, down to # %", f"{right(0.01, 'most-like', UNSEEN_AFTER):.0f}"),
    ]


def quotes_of_subliminal() -> list[Quote]:
    def reads(n: int, width: int = 256, start: str = "teacher") -> float:
        wanted = {"spare_outputs": n, "student_hidden": (width, width), "student_start": start}
        return 100 * mean(point("subliminal", 5, **wanted), ALL_BEFORE)

    own = sorted(reads(n, start="own") for n in (2, 3, 10, 30))
    three = point("subliminal", 5, spare_outputs=3, student_hidden=(256, 256), student_start="own")
    teacher = 100 * mean(three, "teacher.test_accuracy")
    return [
        (
            "reads # % of the digits with three of them (its teacher: # %), # % with two, # % with thirty",
            *(f"{share:.0f}" for share in (reads(3), teacher, reads(2), reads(30))),
        ),
        ("with weights of its own guesses (# to # %)", f"{own[0]:.0f}", f"{own[-1]:.0f}"),
        ("does noise teach it something: # %", f"{reads(0, start='own'):.0f}"),
        (
            "With 64 units per layer three outputs carry # %, with 1,024 they carry # %",
            f"{reads(3, 64):.0f}",
            f"{reads(3, 1024):.0f}",
        ),
    ]


def quotes_of_answers_and_little() -> list[Quote]:
    def answers(path: str, **grid: Any) -> str:
        return percent(point("answers", 5, omitted_class=(3,), **grid), path)

    def heard(how: str, path: str) -> str:
        return answers(path, teacher_answers=how)

    def little(path: str, digits: int = 0, **grid: Any) -> str:
        return percent(point("little", 5, **grid), path, digits)

    def of_kind(kind: str, path: str) -> float:
        return mean(point("little", 5, transfer_set=kind), path)

    def classes(kind: str) -> str:
        found = [effective_classes(run) for run in point("little", 5, transfer_set=kind)]
        return f"{statistics.mean(found):.1f}"

    no_3_taught = point("answers", 5, teacher_omitted_class=(3,))
    assert mean(no_3_taught, UNSEEN_BEFORE) == 0  # "recognise none"
    surest = "transfer_set.teacher_mean_largest"
    assert all(
        of_kind("contours", surest) < of_kind(kind, surest) for kind in DRAWN_SETS if kind != "contours"
    )
    assert all(
        of_kind("noise", ALL_BEFORE) < of_kind(kind, ALL_BEFORE) for kind in DRAWN_SETS if kind != "noise"
    )
    right = {kind: of_kind(kind, ALL_BEFORE) for kind in DRAWN_SETS}
    assert min(right["contours"], right["blobs"]) > max(right["lines"], right["patches"])
    near = [f"{of_kind(kind, 'transfer_set.nearest_digit_cosine'):.2f}" for kind in ("noise", "contours")]
    only_8, only_1 = ({"omitted_class": all_but(c)} for c in (8, 1))
    return [
        (
            "# to # % of the unseen 3s are left before the correction, where there are # % with everything",
            heard("class-mean", UNSEEN_BEFORE),
            heard("shuffled", UNSEEN_BEFORE),
            heard("whole", UNSEEN_BEFORE),
        ),
        ("the mean of the class for all others, there are # %", heard("alone", UNSEEN_BEFORE)),
        (
            "raising the bias finds # to # % of the 3s for those students, and # % for one",
            heard("class-mean", UNSEEN_AFTER),
            heard("shuffled", UNSEEN_AFTER),
            heard("mean", UNSEEN_AFTER),
        ),
        ("and # % after it, as many as [hard labels]", percent(no_3_taught, UNSEEN_AFTER)),
        (
            "learns to read # % of the test digits, in 8 epochs of blobs # %, where all ten digits give # %",
            little(ALL_BEFORE, 1, transfer_set="contours"),
            little(ALL_BEFORE, 1, transfer_set="blobs"),
            little(ALL_BEFORE, 1, omitted_class=()),
        ),
        (
            "8s alone # %, and # % with the biases corrected; 1s alone # and # %",
            *(little(path, **only) for only in (only_8, only_1) for path in (ALL_BEFORE, ALL_AFTER)),
        ),
        ("it says # and # of ten", classes("blobs"), classes("contours")),
        ("all over the image # and #, of uniform noise #", *map(classes, ("patches", "lines", "noise"))),
        ("which teaches least, is nearer (#) than contour lines (#)", *near),
    ]


def quotes_of_claims() -> list[Quote]:
    soft, hard, mixed = (point("paper", omitted_class=(), hard_weight=w) for w in (0.0, 1.0, 0.1))
    without_3, only_7_8 = point("paper", omitted_class=(3,)), point("paper", omitted_class=all_but(7, 8))
    every_digit, no_3s = (point("transformed", 5, omitted_class=omitted) for omitted in ((), (3,)))
    assert 0.30 < 1 - mean(mixed, ERRORS_BEFORE) / mean(hard, ERRORS_BEFORE) < 0.36  # "a third less"
    return [
        (
            "Claim 6: # instead of 206, and # instead of 133",
            count(without_3, ERRORS_BEFORE),
            count(without_3, UNSEEN_ERRORS_BEFORE),
        ),
        ("makes # % errors after its eight other biases", error_rate(only_7_8, ERRORS_AFTER)),
        ("The regularised large net makes # errors, not 67", count(soft, "teacher.test_errors")),
        ("makes # to #, not 74", count(soft, ERRORS_BEFORE), count(mixed, ERRORS_BEFORE)),
        ("# errors where the paper has 4,730", count(only_7_8, ERRORS_BEFORE)),
        (
            "The large net makes # errors where the paper's makes 67, the small one with the soft targets of "
            "all digits # instead of 74",
            f"{mean(every_digit, 'teacher.test_errors'):.1f}",
            f"{mean(every_digit, ERRORS_BEFORE):.1f}",
        ),
        (
            "Without 3s it makes # errors before the correction, # of them on 3s, and # after it, # on 3s",
            *(
                f"{mean(no_3s, path):.1f}"
                for path in (ERRORS_BEFORE, UNSEEN_ERRORS_BEFORE, ERRORS_AFTER, UNSEEN_ERRORS_AFTER)
            ),
        ),
        *quotes_of_ingredients(),
    ]


def quotes_of_ingredients() -> list[Quote]:
    def after(kind: str, whose: str) -> str:
        return count(point("ingredients", **ingredients.point(kind, whose)), ERRORS_AFTER)

    return [
        (
            "take the corrected student from # errors to # when both networks see them bent, and to # when",
            after("none", "both"),
            after("elastic", "both"),
            after("all", "both"),
        ),
        ("Shifts alone give #, affine ones #.", *(after(kind, "both") for kind in ("shifts", "affine"))),
        (
            "with elastic fields # errors, as many as without (#). For the teacher alone it gives #",
            after("elastic", "the student alone"),
            after("none", "both"),
            after("elastic", "the teacher alone"),
        ),
    ]


def quotes_of_temperature_and_classes() -> list[Quote]:
    large = partial(point, "temperature", student_hidden=(800, 800), omitted_class=(3,))
    small = partial(point, "temperature", student_hidden=(30, 30))
    hot = sorted(mean(large(temperature=t), UNSEEN_BEFORE) for t in (8.0, 12.0, 20.0, 50.0))
    without = {c: point("omitted-class", omitted_class=(c,)) for c in range(10)}
    ranked = sorted(without, key=lambda c: mean(without[c], UNSEEN_BEFORE))
    assert (ranked[0], ranked[-1]) == (5, 1)  # "1 best, 5 worst"
    behind_teacher = [
        statistics.mean(run.value("teacher.per_class_accuracy")[c] for run in runs) - mean(runs, UNSEEN_AFTER)
        for c, runs in without.items()
    ]
    assert max(behind_teacher) < 0.011  # "within 1.1 points"
    several = partial(point, "several-omitted")
    grid = [settings["omitted_class"] for settings in STUDIES["several-omitted"].grid]
    five = [several(omitted_class=omitted) for omitted in grid if len(omitted) == 5]
    unseen_of_five, all_of_five = (sorted(five, key=lambda r: mean(r, p)) for p in (UNSEEN_AFTER, ALL_AFTER))
    from_7_8, from_0_1 = several(omitted_class=all_but(7, 8)), several(omitted_class=all_but(0, 1))
    return [
        (
            "rise from # % at T = 1 to # % at T = 2.5 and # to # % from T = 8 on",
            percent(large(temperature=1.0), UNSEEN_BEFORE),
            percent(large(temperature=2.5), UNSEEN_BEFORE),
            f"{100 * hot[0]:.0f}",
            f"{100 * hot[-1]:.0f}",
        ),
        (
            "with all classes it makes # errors at T = 2.5, # and # at 1 and 3, and # at 8",
            *(count(small(omitted_class=(), temperature=t), ERRORS_BEFORE) for t in (2.5, 1.0, 3.0, 8.0)),
        ),
        (
            "after the correction it has most of the unseen 3s "
            "there, too (# %), but before it at T = 20 (# %, where 3 gives #)",
            percent(small(omitted_class=(3,), temperature=3.0), UNSEEN_AFTER),
            percent(small(omitted_class=(3,), temperature=20.0), UNSEEN_BEFORE),
            percent(small(omitted_class=(3,), temperature=3.0), UNSEEN_BEFORE),
        ),
        (
            "1 best (# % before the correction, # % after), 5 worst (# and # %), 3 in between (# and # %)",
            *(percent(without[c], path, 1) for c in (1, 5, 3) for path in (UNSEEN_BEFORE, UNSEEN_AFTER)),
        ),
        (
            "# to # % of the images of classes never seen are right, and # to # % of all",
            percent(unseen_of_five[0], UNSEEN_AFTER, 1),
            percent(unseen_of_five[-1], UNSEEN_AFTER, 1),
            percent(all_of_five[0], ALL_AFTER, 1),
            percent(all_of_five[-1], ALL_AFTER, 1),
        ),
        (
            "the other eight digits are recovered to # %, from 0s and 1s only to # %",
            percent(from_7_8, UNSEEN_AFTER, 1),
            percent(from_0_1, UNSEEN_AFTER, 1),
        ),
        (
            "The # % of errors from 7s and 8s are less than half of the # % of the first study",
            error_rate(from_7_8, ERRORS_AFTER),
            error_rate(point("paper", omitted_class=all_but(7, 8)), ERRORS_AFTER),
        ),
    ]


def quotes_of_size_labels_and_data() -> list[Quote]:
    size = {n: point("student-size", student_hidden=(n, n)) for n in (1200, 200, 50, 20, 10)}
    mix = {w: point("hard-mix", hard_weight=w) for w in (0.0, 0.1, 0.75, 0.9, 1.0)}
    offsets = {w: sorted(run.value("bias_correction.offsets")[0] for run in mix[w]) for w in (0.0, 1.0)}
    tenth, hundredth, half = (
        point("transfer-size", transfer_fraction=f, hard_weight=w)
        for f, w in ((0.1, 0.0), (0.01, 0.0), (0.5, 1.0))
    )
    return [
        (
            "(# and # % of the unseen 3s after the correction); at 50 units",
            percent(size[1200], UNSEEN_AFTER, 1),
            percent(size[200], UNSEEN_AFTER, 1),
        ),
        (
            "at 50 units # % are recognised before and # % after it, at 20 units # and # %",
            *(percent(size[n], path) for n in (50, 20) for path in (UNSEEN_BEFORE, UNSEEN_AFTER)),
        ),
        (
            "any, # %, before the correction, though the nine other digits are still recognised to # %",
            percent(size[10], UNSEEN_BEFORE),
            percent(size[10], SEEN_BEFORE),
        ),
        (
            "# % against # % with hard labels alone and at best # % with three quarters",
            *(percent_sd(mix[w], SEEN_BEFORE) for w in (0.0, 1.0, 0.75)),
        ),
        ("(# % before the correction at a weight of 0.1)", percent(mix[0.1], UNSEEN_BEFORE, 1)),
        ("then much (# % at 0.9)", percent(mix[0.9], UNSEEN_BEFORE, 1)),
        ("that student recognises # % of the 3s", percent(mix[1.0], UNSEEN_BEFORE)),
        (
            "# to # instead of about #; with it, it finds # % of the 3s, at the price of # points",
            f"{offsets[1.0][0]:.0f}",
            f"{offsets[1.0][-1]:.0f}",
            f"{statistics.mean(offsets[0.0]):.0f}",
            percent(mix[1.0], UNSEEN_AFTER, 1),
            f"{100 * (mean(mix[1.0], SEEN_BEFORE) - mean(mix[1.0], SEEN_AFTER)):.0f}",
        ),
        (
            "recognise # % of the unseen 3s before the correction and # % after it, and one per cent, # "
            "images, for # and # %",
            percent(tenth, UNSEEN_BEFORE),
            percent(tenth, UNSEEN_AFTER),
            round(0.01 * hundredth[0].n_transfer),
            percent(hundredth, UNSEEN_BEFORE),
            percent(hundredth, UNSEEN_AFTER),
        ),
        (
            "a tenth of the images with soft targets (# %) does what half of them do with hard labels (# %)",
            percent(tenth, SEEN_BEFORE, 2),
            percent(half, SEEN_BEFORE, 2),
        ),
    ]


def in_map(student: str, share: float, name: str, n_epochs: int = 2) -> float:
    """In percent, of the runs of one cell of the map of gains."""
    found = [
        r
        for r in gain_results()["runs"]
        if (r["student"], r["share"], r["n_epochs"]) == (student, share, n_epochs)
    ]
    return 100 * statistics.mean(run[name] for run in found)


def gained(student: str, share: float, n_epochs: int = 2) -> str:
    soft, hard = (in_map(student, share, kind, n_epochs) for kind in ("soft", "hard"))
    return f"{soft - hard:.1f}"


def unlabelled_add(path: str = SOFT) -> str:
    """Points by which students that heard a tenth's teacher on all images lead those of the tenth alone."""
    of_all, of_tenth = cifar10_runs("unlabelled"), cifar10_runs("labelled_tenth")
    return f"{100 * (mean(of_all, SOFT) - mean(of_tenth, path)):.1f}"


def quotes_of_trials(trials: list[Results]) -> list[Quote]:
    start, paths = trials[0], (TEACHER, SOFT, HARD)
    changed = [{k for k in fixed(start) if fixed(run)[k] != fixed(start)[k]} for run in trials]
    assert all(len(names) == 1 for names in changed[1:])  # "by itself"

    def differences(*names: str) -> list[list[float]]:
        """In points, from the first one, of each network in all trials of these settings."""
        mine = [run for run, of in zip(trials, changed, strict=True) if of & set(names)]
        return [[100 * (value(run, path) - value(start, path)) for run in mine] for path in paths]

    of_rates = differences("learning_rate", "learning_rate_student")
    assert all(max(one) <= 0 for one in of_rates)  # "best for all three where they are"
    (constant,) = zip(*differences("lr_schedule"), strict=True)
    others = differences("weight_decay", "weight_decay_student", "jitter", "jitter_student")
    of_teacher, *of_students = [max(map(abs, one)) for one in others]
    return [
        ("has not seen the held-out images either (# %)", percent([start], TEACHER, 2)),
        (
            "constant ones cost the teacher # points and the students # and #",
            *(f"{-one:.1f}" for one in constant),
        ),
        (
            "The rest changes the teacher by # points at most and a student by #",
            f"{of_teacher:.2f}",
            f"{max(of_students):.2f}",
        ),
    ]


def quotes_of_cifar10() -> list[Quote]:
    runs, cats, cat, dog = cifar10_runs("seeds"), cifar10_runs("unseen_cat"), 3, 5
    trials = cifar10_trials()
    best_of = {path: max(value(trial, path) for trial in trials) for path in (SOFT, HARD)}
    assert best_of[SOFT] < value(trials[0], SOFT) + 0.00015  # "no better for soft targets"
    every_run = (*runs, *cifar10_runs("fifth"), *cats)
    losses = [[entry["loss"] for entry in run["history"]["student"]] for run in every_run]
    assert all(b < a for one in losses for a, b in pairwise(one))  # "falls in every epoch of every run"
    sizes = runs[0]["networks"]
    shares = [sizes["student"][k] / sizes["teacher"][k] for k in ("parameters", "multiply_adds")]
    assert shares[0] < 0.1  # "a tenth"
    halfway = [
        100 * statistics.mean(run["history"][kind][4]["test_accuracy"] for run in runs)
        for kind in ("student", "baseline")
    ]
    (hot,) = cifar10_runs("unseen_cat_16")
    unlabelled, tenth = cifar10_runs("unlabelled"), cifar10_runs("labelled_tenth")
    best = "bias_correction.best_on_test_set."
    (again,) = cifar10_runs("again")
    seconds, history = again["wall_clock_seconds"], again["history"]
    before = runs[3]["wall_clock_seconds"]
    epochs = {kind: sorted(entry["seconds"] for entry in history[kind]) for kind in history}
    answers = epochs["student"].pop() - statistics.median(epochs["student"])  # within its first epoch
    return [
        (
            "With # % of the teacher's parameters and # % of its multiply-adds, and without ever seeing a "
            "label, the student names # % rightly after 10 epochs, its teacher # %",
            *(f"{100 * share:.0f}" for share in shares),
            percent(runs, ALL_BEFORE, 2),
            percent(runs, "teacher.test_accuracy", 2),
        ),
        *quotes_of_trials(trials),
        ("that mean is right on # %", percent(runs, "networks.teacher.test_accuracy_both_views", 2)),
        (
            "In 8 bits per weight the student takes # kB instead of the teacher's # and is at # %",
            f"{sizes['student']['bytes_8_bits'] / 1000:,.0f}",
            f"{sizes['teacher']['bytes'] / 1000:,.0f}",
            percent(runs, "networks.student.test_accuracy_8_bits", 2),
        ),
        (
            "the main student is at # %, the same on hard labels at # %",
            *(f"{accuracy:.1f}" for accuracy in halfway),
        ),
        (
            "a student of half its teacher's parameters gains # points, from 3 % of them #",
            gained("half", 1.0),
            gained("half", 0.03),
        ),
        (
            "as 5,000 with labels: # and # %",
            f"{in_map('half', 0.03, 'soft'):.1f}",
            f"{in_map('half', 0.1, 'hard'):.1f}",
        ),
        (
            "The smallest, of 12,714 parameters, gains # points from all images and # from 3 %",
            gained("fiftieth", 1.0),
            gained("fiftieth", 0.03),
        ),
        (
            "The smallest student gains # points after 2 epochs over all images, # after 4 and # after 10; "
            "after 40 it is at # % with a teacher and at # % without one. From 3 % of the images it gains # "
            "after 2, # after 4, # after 10 and # after 40",
            *(gained("fiftieth", 1.0, n) for n in (2, 4, 10)),
            *(f"{in_map('fiftieth', 1.0, kind, 40):.1f}" for kind in ("soft", "hard")),
            *(gained("fiftieth", 0.03, n) for n in (2, 4, 10, 40)),
        ),
        (
            "gains # points from 3 % of the images after 2 epochs and # after its 10",
            *(gained("tenth", 0.03, n) for n in (2, 10)),
        ),
        (
            "the students of the two tables above are # and # points ahead with the same seeds, after 2 "
            "epochs # and #",
            *(f"{statistics.mean(gains(cifar10_runs(name)[:3])):.2f}" for name in ("seeds", "fifth")),
            *(gained(name, 1.0) for name in ("tenth", "fifth")),
        ),
        (
            "the student of all images names # % rightly, its teacher # %, and the same student on the "
            "labels alone # %",
            percent(unlabelled, ALL_BEFORE, 1),
            percent(unlabelled, "teacher.test_accuracy", 1),
            percent(tenth, HARD, 1),
        ),
        (
            "Of the # points between the two students, # come from the images without labels",
            unlabelled_add(HARD),
            unlabelled_add(),
        ),
        ("which is right on # %", percent(unlabelled, "networks.teacher.test_accuracy_both_views", 1)),
        ("With all 50,000 labels the same student is at # %", percent(runs[:3], HARD, 1)),
        (
            "to it # % of the cats are dogs",
            f"{mean(cats, f'baseline.confusion_matrix.{cat}.{dog}') / 10:.0f}",
        ),
        (
            "recognises # % of the cats without having trained on one, and # % after one number was added "
            "to one bias (#)",
            percent(cats, UNSEEN_BEFORE),
            percent(cats, UNSEEN_AFTER),
            f"{mean(cats, 'bias_correction.offsets.0'):+.2f}",
        ),
        (
            "knows # %. The nine other classes pay # points for it, most of them dogs, of which # % were "
            "right before the correction and # % are after it",
            percent(cats, "teacher.omitted_accuracy"),
            f"{100 * (mean(cats, SEEN_BEFORE) - mean(cats, SEEN_AFTER)):.1f}",
            *(percent(cats, f"{part}per_class_accuracy.{dog}") for part in (BEFORE, AFTER)),
        ),
        (
            "recognises # % of the cats before the correction and # % after it, instead of # and # %",
            *(
                f"{100 * value(r, path):.1f}"
                for r in (hot, cats[0])
                for path in (UNSEEN_BEFORE, UNSEEN_AFTER)
            ),
        ),
        (
            "the gain is # points as the settings are, and # with each side at its own best",
            *(f"{gain:.2f}" for gain in (*gains(trials[:1]), 100 * (best_of[SOFT] - best_of[HARD]))),
        ),
        (
            "would have been #, with # % of the cats",
            f"{mean(cats, best + 'offset'):+.2f}",
            f"{100 - 100 * mean(cats, best + 'omitted_errors') / 1000:.1f}",
        ),
        (
            "took # minutes from nothing on two cores of an AMD EPYC with hardly anything beside it (the run "
            "above, of seed 0 again): # for the teacher, # for its answers and the student, # for the "
            "baseline",
            *(f"{seconds[phase] / 60:.0f}" for phase in ("total", "teacher", "student", "baseline")),
        ),
        (
            "An epoch of the teacher took # to # s, one of a student # to #, the answers to four versions "
            "of each image #",
            *(f"{s:.0f}" for s in (epochs["teacher"][0], epochs["teacher"][-1])),
            *(f"{s:.0f}" for s in (epochs["student"][0], max(epochs["student"][-1], epochs["baseline"][-1]))),
            f"{answers:.0f}",
        ),
        (
            "it took # minutes, # of them for the teacher",
            *(f"{before[phase] / 60:.0f}" for phase in ("total", "teacher")),
        ),
        (
            "as the code is now, comes to #, # and # %, a gain of # points instead of #",
            *(percent([again], path, 2) for path in (TEACHER, SOFT, HARD)),
            *(f"{gain:.2f}" for gain in gains([again, runs[0]])),
        ),
    ]


def quotes_of_explorer() -> list[Quote]:
    page = ROOT / "viz" / "explorer.html"
    content = page.read_text("utf-8")
    about = json.loads(re.search(r'id="about">(.*?)</script>', content, re.S)[1])
    agreements = [network["agreement"] for network in about["networks"]]
    weights = sum(a * b for network in about["networks"] for a, b in pairwise(network["sizes"]))
    repaired = about["results"]["before_correction"]["omitted_errors"]
    assert repaired - about["results"]["after_correction"]["omitted_errors"] == 1  # "the one 3 ... repairs"
    return [
        ("The page has # MB", f"{page.stat().st_size / 1e6:.1f}"),
        ("three networks, # million weights", f"{weights / 1e6:.0f}"),
        ("All # test 3s", f"{about['test']['nUnseen']:,}"),
        ("Now they name another class of #, # and # of them", *(a["n_other_class"] for a in agreements)),
        (
            "differences of a probability are #, # and #",
            *(f"{a['largest_difference']:.3f}" for a in agreements),
        ),
    ]


QUOTES = {
    "docs/explorer.md": quotes_of_explorer,
    "README.md": quotes_of_readme,
    "docs/results.md": quotes_of_results,
    "docs/studies.md": quotes_of_studies,
    "docs/cifar10.md": quotes_of_cifar10,
}


@pytest.mark.parametrize("page", QUOTES)
def test_figures_in_prose_are_those_of_the_committed_runs(page):
    prose, missing = " ".join(text(page).split()), []
    for fragment, *figures in QUOTES[page]():
        parts = fragment.split("#")
        assert len(parts) == len(figures) + 1, fragment
        sentence = parts[0] + "".join(f"{n}{part}" for n, part in zip(figures, parts[1:], strict=True))
        if sentence not in prose:
            missing.append(sentence)
    assert missing == []


# ---- Links, commands, code ---------------------------------------------------------------------------------


def without_code(page: str) -> str:
    return re.sub(r"^```.*?^```|`[^`\n]*`", "", text(page), flags=re.S | re.M)


def anchors(page: str) -> set[str]:
    """The names that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", text(page), flags=re.S | re.M), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: str) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)\)", without_code(page))


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page):
    for link in links(page):
        if re.match(r"https?://", link):
            continue
        path, _, anchor = link.partition("#")
        target = ((ROOT / page).parent / path).resolve() if path else ROOT / page
        assert target.is_file(), link
        if anchor:
            assert anchor in anchors(str(target.relative_to(ROOT))), link


def test_every_page_and_every_picture_is_linked():
    linked = {
        str(((ROOT / page).parent / link.partition("#")[0]).resolve().relative_to(ROOT))
        for page in PAGES
        for link in links(page)
        if not link.startswith(("http", "#"))
    }
    assert set(PAGES) - {"README.md"} <= linked
    own = {ROOT / "viz" / name for name in ("rendered", "custom")}  # of whoever ran it, not committed
    files = [path for path in (ROOT / "viz").rglob("*.png") if not own & set(path.parents)]
    pictures = {str(path.relative_to(ROOT)) for path in files}
    assert len(pictures) > 10
    assert pictures <= linked


def test_the_readme_is_a_page_that_one_reads_to_the_end():
    assert len(text("README.md").splitlines()) <= 200


def code_of_page(page: str) -> list[str]:
    """The lines of its code blocks but Python's, and what stands between backticks in its text."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", text(page), re.S | re.M)
    rest = re.sub(r"^```.*?^```", "", text(page), flags=re.S | re.M)
    spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", rest)]
    return [line for kind, block in blocks if kind != "python" for line in block.splitlines()] + spans


def commands_of(page: str) -> list[tuple[str, list[str]]]:
    """(module, arguments) of every `python3 ...` on a page."""
    found = []
    for line in code_of_page(page):
        if match := re.search(r"python3 (-m )?(\S+)([^#\n]*)", line):
            name = match[2]
            if not match[1]:
                is_there = (ROOT / name).is_file()
                name = name.removesuffix(".py").replace("/", ".") if is_there else f"no file {name}"
            found.append((name, shlex.split(match[3])))
    return found


def main_of(name: str) -> Callable[[list[str]], None]:
    """The `main` of a module that `python3 -m` or a path names."""
    name = {"distillation_mnist_omitted_3": "beyond.command"}.get(name, name)
    folder = ROOT / name.replace(".", "/")
    module = name.removeprefix("benchmarks.")
    return importlib.import_module(f"{module}.__main__" if folder.is_dir() else module).main


@cache
def help_of(name: str) -> str:
    """What `--help` prints."""
    return said(name, ["--help"])[1]


def said(name: str, arguments: list[str]) -> tuple[Any, str]:
    """Exit status and output of a command that only asks for help."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), pytest.raises(SystemExit) as ended:
        main_of(name)(arguments)
    return ended.value.code, out.getvalue()


ALL_COMMANDS = sorted({(name, shlex.join(flags)) for page in PAGES for name, flags in commands_of(page)})


@pytest.mark.parametrize(("name", "arguments"), ALL_COMMANDS)
def test_every_command_names_a_script_and_flags_that_it_knows(name, arguments):
    known = set(re.findall(r"(--[a-z-]+)", help_of(name)))
    if name == "benchmarks.compare":  # hands the flags of the data on
        known |= set(re.findall(r"(--[a-z-]+)", help_of("distillation_mnist_omitted_3")))
    flags = shlex.split(arguments)
    assert {flag for flag in flags if flag.startswith("--")} <= known
    assert said(name, [*flags, "--help"])[0] == 0  # values are read before help is shown


def test_there_are_commands_of_every_kind():
    names = {name for name, _ in ALL_COMMANDS}
    scripts = {path.stem for path in ROOT.glob("*.py")}
    assert names >= scripts | {
        "cifar10", "cifar10.pictures", "studies", "studies.summarise", "benchmarks.compare",
    }  # fmt: skip


@pytest.mark.parametrize("page", PAGES)
def test_every_flag_in_the_text_exists(page):
    known = {"--nworkers", "--nthreads", "--help"}  # of Dask's workers
    for name in {name for name, _ in ALL_COMMANDS}:
        known |= set(re.findall(r"(--[a-z-]+)", help_of(name)))
    found = {flag for code in code_of_page(page) for flag in re.findall(r"(?<!\S)--[a-z][a-z-]*", code)}
    assert found - known == set()


@pytest.mark.parametrize("page", PAGES)
def test_every_make_target_exists(page):
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))
    asked = {t for code in code_of_page(page) for t in re.findall(r"^make ([\w-]+)", code)}
    assert asked <= targets


def test_every_folder_and_every_script_is_named_in_the_readme():
    named = set(re.findall(r"^\| `(\w+)/` \|", text("README.md"), re.M))
    ours = {path.parent.name for kind in ("*/*.py", "*/*.md", "viz/*.png") for path in ROOT.glob(kind)}
    assert named == {name for name in ours if not name.startswith(".")} - {"mutants"}
    for path in ROOT.glob("*.py"):
        assert f"`{path.name}`" in text("README.md")


def test_the_ten_lines_of_python_run(small_folder, tmp_path, monkeypatch, capsys):
    (code,) = re.findall(r"^```python\n(.*?)^```", text("README.md"), re.S | re.M)
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    small = Config(
        data_dir=small_folder, cache_dir=tmp_path / "cache", outdir=tmp_path / "out", jitter=0,
        teacher_hidden=(60,), student_hidden=(20,), n_epochs_teacher=12, n_epochs_student=1, batch_size=20,
    )  # fmt: skip
    monkeypatch.setattr(core, "Config", lambda: small)
    exec(compile(code, "README.md", "exec"), {})
    answers = dict(map(float, line.split()) for line in capsys.readouterr().out.splitlines())
    assert list(answers) == list(range(10))
    assert max(answers, key=answers.__getitem__) == 3
    assert 0.1 < answers[3] < 1


if __name__ == "__main__":
    for page in PAGES:
        (ROOT / page).write_text(renewed(page), encoding="utf-8")
