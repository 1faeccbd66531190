"""README and docs say what the committed runs, the settings and the files say: see docs/pages.py."""

from __future__ import annotations

from support.settings import DECIDE_NOTHING, argument_parser, given_settings

import contextlib
import copy
import dataclasses
import importlib
import io
import json
import re
import shlex
import statistics
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cifar10.settings as cifar
import distillation_mnist_omitted_3 as core
from beyond.settings import RECIPES, Config
from cifar10 import gain
from docs import medians, pages, prose
from docs.committed import (
    RECIPES_OF_TABLES,
    STUDY,
    cifar10_runs,
    gain_results,
    seed_runs,
    study_runs,
    trials_in,
    usps_runs,
)
from docs.pages import PAGES, PART
from runs.folders import value
from studies.paper import PRESET
from studies.questions import STUDIES

ROOT = Path(__file__).resolve().parents[2]


@cache
def text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


# ---- What is generated -------------------------------------------------------------------------------------


def test_the_generated_parts_are_there():
    others = [page for page in PAGES if page != pages.STUDIES_PAGE]
    found = [(page, m[2]) for page in others for m in PART.finditer(text(page))]
    assert sorted(found) == sorted(pages.GENERATED)


@pytest.mark.parametrize("page", PAGES)
def test_pages_say_what_the_committed_runs_say(page):
    assert text(page) == pages.renewed(page), "python3 -m docs.pages writes them anew"


def test_a_figure_that_is_not_the_runs_is_written_anew():
    """In prose, across a line's end, and only there; words that are not found are an error."""
    said = text("README.md")
    wrong = re.sub(r"(on the\s+10,000 test digits; its teacher makes )58", r"\g<1>99", said)
    assert wrong != said
    assert prose.with_figures("README.md", wrong) == said
    with pytest.raises(ValueError, match="0 times, not once"):
        prose.with_figures("README.md", said.replace("In all 25 runs", "In each of 25 runs"))


def test_medians_of_soft_targets_are_those_of_each_digit_and_of_all_that_are_no_3():
    rng = np.random.default_rng(0)
    labels, p = rng.integers(0, 10, 999), rng.uniform(0, 1, 999)
    found = medians.soft_targets_for(3, p, labels)
    for digit in range(10):
        assert found[str(digit)] == pytest.approx(statistics.median(p[labels == digit]), rel=0.01)
    assert found["all others"] == pytest.approx(statistics.median(p[labels != 3]), rel=0.01)


def test_the_words_of_a_study_follow_its_runs():
    """Other figures in the runs, other figures in the words; a sentence that no longer holds is an error."""
    study = STUDIES["hard-mix"]
    runs = [dataclasses.replace(run, record=copy.deepcopy(run.record)) for run in study.shown(study_runs())]
    for run in runs:
        run.record["student"]["before_correction"]["omitted_accuracy"] = 0.4321
    assert "(43.2 % before the correction at a weight of 0.1)" in " ".join(study.words(runs).split())
    paper = STUDIES["paper"]
    runs = [dataclasses.replace(run, record=copy.deepcopy(run.record)) for run in paper.shown(study_runs())]
    for run in runs:
        run.record["student"]["after_correction"]["test_errors"] = 500 + run.config.seed
    with pytest.raises(ValueError, match="the runs no longer say: claim 7"):
        paper.words(runs)


def test_the_studies_tables_are_those_in_their_results_json():
    found = json.loads((STUDY / "results.json").read_text())["tables"]
    for name in STUDIES:
        assert found[name] in text("docs/studies.md"), name


# ---- The committed runs are what the pages call them -------------------------------------------------------


def test_headline_runs_are_of_mnist_and_their_recipe():
    for name in (*RECIPES_OF_TABLES, "no-digit"):
        recipe = name if name in RECIPES else "described"
        wanted = {**RECIPES[recipe], **({"lr_schedule": "linear"} if name == "linear" else {})}
        for seed, run in enumerate(seed_runs(name)):
            config = Config(**wanted, recipe=recipe, seed=seed)
            assert run["data"]["sha256"] == core.MNIST_SHA256
            known = {**Config().plain(), **run["config"]}  # an older run had a younger flag's default
            assert training_settings(known) == training_settings(config.plain())


def test_what_was_tried_was_measured_on_held_out_training_images():
    """The first of each table is its recipe, "no-digit" and the paper's set-up but for their lengths."""
    others = {
        "fast": set(), "middle": set(), "best": set(), "no-digit": {"n_epochs_teacher", "n_epochs_student"},
        "paper": {"n_epochs_teacher", "n_epochs_student", "batch_size", *PRESET},
    }  # fmt: skip
    for name, changed in others.items():
        start, *runs = trials_in(f"trials/{name}")
        recipe = "fast" if name == "paper" else name
        wanted = Config(**RECIPES[recipe], recipe=recipe, hold_out=10_000).plain()
        asked, found = training_settings(wanted), training_settings(start["config"])
        assert {key for key in found if found[key] != asked[key]} <= changed
        for run in (start, *runs):
            assert run["data"]["sha256"] == core.MNIST_SHA256
            assert (run["config"]["hold_out"], run["data"]["n_test"]) == (10_000, 10_000)
    for run in trials_in("cifar10/trials"):
        assert (run["config"]["hold_out"], run["data"]["n_train"]) == (10_000, 40_000)


def test_the_runs_of_own_data_are_those_of_the_command():
    (flags,) = [
        flags for name, flags in commands_of("docs/reference.md")
        if name == "distillation_mnist_omitted_3" and "--data-dir" in flags
    ]  # fmt: skip
    given = given_settings(argument_parser("", Config).parse_args(flags), Config)
    seeds = [run["config"]["seed"] for run in usps_runs()]
    assert seeds == list(range(len(seeds)))
    for run in usps_runs():
        wanted = Config(**given, seed=run["config"]["seed"])
        found, asked = training_settings(run["config"]), training_settings(wanted.plain())
        assert found == {name: asked[name] for name in found}  # flags that came later are not in it
        assert run["config"]["data_dir"] == str(given["data_dir"])
        sizes = {name: run["data"][name] for name in ("n_train", "n_test", "n_test_omitted")}
        assert sizes == {"n_train": 7291, "n_test": 2007, "n_test_omitted": 166}  # as USPS's page counts them


CIFAR10_SEEDS = {  # by folder
    "seeds": [0, 1, 2], "tenth": [0, 1, 2, 3], "unseen_cat": [0, 1, 2, 3, 4], "unseen_cat_16": [0],
    "unlabelled": [0, 1, 2], "labelled_tenth": [0, 1, 2], "grown": [0],
}  # fmt: skip
WHOLE = {"sides": [32], "sides_student": [32]}  # what runs of before images could grow saw


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
            assert training_settings(WHOLE | run["config"]) == training_settings(wanted)


def test_the_map_of_gains_is_that_of_its_command():
    """All points of its parts and seeds, with the settings of the main command."""
    found = gain_results()
    (flags,) = [flags for name, flags in commands_of("docs/cifar10.md") if name == "cifar10.gain"]
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
    for run in (*cifar10_runs("older"), *cifar10_runs("tenth")[1 : arguments.seeds]):
        assert found["teachers"][str(run["config"]["seed"])] == value(run, "teacher.test_accuracy")


def test_what_a_changed_flag_does_is_what_its_committed_run_measured():
    """Of every "python3 ... # a, b %" of the README: the unseen classes before and after the correction."""
    lines = re.findall(r"^python3 (\S+\.py)(.*?)# *([\d.]+), ([\d.]+) %$", text("README.md"), re.M)
    runs = [json.loads(path.read_text()) for path in (ROOT / "viz" / "changes").glob("*/results.json")]
    assert len(lines) == len(runs) == 6
    for _, flags, *figures in lines:
        given = given_settings(argument_parser("", Config).parse_args(shlex.split(flags)), Config)
        wanted = training_settings(Config(dataset="mnist", **given).plain())
        of_run = [training_settings(run["config"]) for run in runs]  # flags that came later are not in them
        (place,) = [k for k, found in enumerate(of_run) if found == {name: wanted[name] for name in found}]
        run = runs[place]
        parts = ("before_correction", "after_correction")
        assert figures == [f"{100 * run['student'][part]['omitted_accuracy']:.1f}" for part in parts]


def training_settings(config: dict[str, Any]) -> dict[str, Any]:
    """All but the seed's number and where things lie."""
    free = {*DECIDE_NOTHING, *(["seed"] if "optimiser" in config else [])}
    return {k: v for k, v in json.loads(json.dumps(config)).items() if k not in free}


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
    assert len(text("README.md").splitlines()) <= 150


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
        "cifar10", "cifar10.pictures", "studies", "seeds.summarise", "benchmarks.compare",
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
    rows = re.findall(r"^\| (`\w+/`(?:, `\w+/`)*) \|", text("README.md"), re.M)
    named = {name for row in rows for name in re.findall(r"(\w+)/", row)}
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
