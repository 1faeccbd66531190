"""Writes what the committed runs, the settings and the studies say into the pages.

    python3 -m docs.pages

A generated part stands between `<!-- table: NAME -->` and `<!-- end -->`; the page of studies is made as a
whole. Figures in the prose of the other pages are those of docs/prose.py.
"""

from __future__ import annotations

from support.console import OneLineParser, UserError, run_script
from support.data import Data
from support.files import atomic_output
from support.intervals import mean_sd
from support.report import markdown, summary
from support.settings import BOUNDS, flag_name

import json
import re
import textwrap
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np

import cifar10.settings as cifar
from beyond import pipeline
from beyond.settings import RECIPES, Config
from cifar10.gain_tables import gain_tables
from cifar10.tables import cifar10_table, cifar10_trials_table, unlabelled_table, unseen_class_table
from docs.committed import (
    RECIPES_OF_TABLES,
    ROOT,
    cifar10_runs,
    gain_results,
    pictured,
    seed_runs,
    speed,
    study_runs,
    trials_in,
)
from docs.prose import with_figures
from runs.folders import value
from seeds.summarise import means_table, rows_for, seeds_table, trials_table
from studies.questions import STUDIES
from studies.study import Study

PAGES = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md"))]
STUDIES_PAGE = "docs/studies.md"
PART = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(<!-- end -->)", re.S)


def text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


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
    paths = [f"{when}.{what}_accuracy" for when in ("before", "after") for what in ("test", "omitted")]

    def percent(values: list[float]) -> str:
        return f"{mean_sd([100 * v for v in values], 2)} %"

    for name in ("described", "fast", "middle", "best", "no-digit"):
        runs, mine = seed_runs(name), ["teacher.test_accuracy", *paths]
        if name == "no-digit":  # every class is left out: its 3s are one of ten
            mine = [path.replace("omitted_accuracy", "per_class_accuracy.3") for path in mine]
        cells = [percent([value(run, path) for run in runs]) for path in mine]
        seconds = mean_sd([value(run, "wall_clock_seconds.total") for run in runs], 0)
        rows.append([f"{name}, {len(runs)} seeds", *cells, seconds])
    control = seed_runs("control")
    cells = [percent([value(run, path) for run in control]) for path in paths]
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
    ("docs/results.md", "means"): lambda: means_table({name: seed_runs(name) for name in RECIPES_OF_TABLES}),
    ("docs/results.md", "seeds"): lambda: seeds_table({name: seed_runs(name) for name in RECIPES_OF_TABLES}),
    ("docs/results.md", "no-digit"): lambda: "\n\n".join(
        table({"no-digit": seed_runs("no-digit")}) for table in (means_table, seeds_table)
    ),
    ("docs/results.md", "recipes"): recipes,
    **{
        ("docs/results.md", f"trials-{name}"): lambda name=name: trials_table(trials_in(f"trials/{name}"))
        for name in ("fast", "middle", "best", "no-digit", "paper")
    },
    ("docs/cifar10.md", "cifar10"): lambda: cifar10_table(cifar10_runs("seeds")),
    ("docs/cifar10.md", "tenth"): lambda: cifar10_table(cifar10_runs("tenth")),
    ("docs/cifar10.md", "gain"): lambda: "\n\n".join(gain_tables(gain_results())),
    ("docs/cifar10.md", "unlabelled"): lambda: unlabelled_table(
        cifar10_runs("unlabelled"), cifar10_runs("labelled_tenth")
    ),
    ("docs/cifar10.md", "cifar10-trials"): lambda: trials_table(trials_in("cifar10/trials")),
    ("docs/cifar10.md", "growing"): lambda: trials_table(trials_in("cifar10/growing")),
    ("docs/cifar10.md", "growing-teachers"): lambda: cifar10_trials_table(
        trials_in("cifar10/growing_teachers"), ["teacher, %"]
    ),
    ("docs/cifar10.md", "unseen-cat"): lambda: unseen_class_table(cifar10_runs("unseen_cat")),
    ("docs/cifar10.md", "cifar10-flags"): lambda: flag_table(cifar.Config, is_not_the_suites),
    ("docs/speed.md", "speed"): lambda: "\n\n".join(
        speed()["tables"][name] for name in ("where", *(one["title"] for one in speed()["measured"]))
    ),
    ("docs/speed.md", "speed-convolutions"): lambda: speed()["tables"]["CIFAR-10"],
    ("docs/reference.md", "flags"): lambda: flag_table(Config),
}  # fmt: skip


# ---- The page of studies -----------------------------------------------------------------------------------

OPENING = """
# Studies: the paper's claims, and the questions that they leave open

```
make study                        # or, in the environment of your choice:
python3 -m studies                # all of them; --study NAME... for some, by the names below
python3 -m studies --redraw       # tables and pictures again, from the results that are there
```

{questions}

Each study is a small grid of settings. A point has three seeds (0, 1 and 2), five (0 to 4) or, in the last
ones, five that lie ten apart; where it has others, its table says so (other seeds that results.json holds
stay in it). Unless a table says
otherwise, figures are mean ± standard deviation over these seeds. All but the first three studies use the
recipe `fast`, with all training images as the probe; a flag that you give (as `--recipe best`) holds for
every run, unless the study varies it. Nothing was chosen on the test set, with three exceptions: rows that
say so, how contour lines of noise are drawn, and which kind of glued images stands for 3s in the study of
slopes. "Every seed" stands where all seeds gave the same figure: from
these no interval can be had.

`viz/study/results.json` holds every run, and the tables on this page are made from it. In them, "seen
classes" and "unseen" are test accuracies on the classes that were in the transfer set and on those that
were not, before and after the bias correction. The trainings of all {n_students} students took {minutes}
minutes, if the `seconds` in results.json are added up, most of them with two side by side on two cores.
Teachers and runs are shared and stored: an interrupted study goes on where it stopped, and a second `make
study` has only to draw.
"""
BEYOND = """
The studies that follow ask what the paper does not. They run with seeds 0 to 4, or where they say so with
seeds that are ten apart, so that no student starts as the next teacher does; figures are means
with the 95 % interval of Student's t over them, differences are paired by seed. Their flags are explained
in the [reference](reference.md#what-else-can-a-student-learn-from).
"""
FIRST_BEYOND = "answers"
MACHINES = "How does one run them on more cores and more machines?"
ON_MACHINES = """
`--jobs N` runs N processes at a time, which share the cores (default: one process per core); the figures do
not depend on it. To use more machines, through [Dask](https://distributed.dask.org):

```
pip install -r requirements-cluster.txt                        # on every machine
dask scheduler                                                 # on one of them; it prints its address
dask worker tcp://HOST:8786 --nworkers 8 --nthreads 1          # on each that is to work, a process per core
python3 -m studies --scheduler tcp://HOST:8786
```

Workers need nothing of this project and no common file system: code, data and teachers are sent to them,
and all results come back to the one who asked, who stores them. A teacher is trained once, wherever that
happens, and a worker that dies has its runs made by another. A worker with another Python, NumPy, BLAS or
kernel, which rounds differently, is refused.
"""


def anchor(heading: str) -> str:
    """The name that GitHub gives to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def wrapped(words: str) -> str:
    """Paragraphs in lines of at most 120 columns; blocks of code, tables and HTML as they are."""
    found = []
    for block in re.split(r"\n{2,}", words.strip("\n")):
        is_prose = not block.startswith(("```", "|", "<", "#", "- ", "!", "{"))
        filled = textwrap.fill(" ".join(block.split()), 120, break_long_words=False, break_on_hyphens=False)
        found.append(filled if is_prose else block)
    return "\n\n".join(found)


def section(study: Study) -> str:
    """A study's section of the page: its question, picture, words and table."""
    runs = study.shown(study_runs())
    table = study.table(runs)
    details = f"<details><summary>every point</summary>\n\n{table}\n\n</details>"
    words = wrapped(study.words(runs))
    words = words.replace("{table}", table).replace("{details}", details)
    return f"## {study.question}\n\n![{study.caption}](../viz/study/{study.picture})\n\n{words}"


def students() -> dict[str, float]:
    """The seconds of every training: runs that differ in the bias correction share one."""
    nothing = Data("MNIST", *4 * (np.zeros(0),), {})
    return {
        json.dumps(pipeline.determinants("student", run.config, nothing)): run.value("seconds.student")
        for run in study_runs()
    }


def studies_page() -> str:
    seconds = students()
    links = [f"- [{s.question}](#{anchor(s.question)}) (`{s.name}`)" for s in STUDIES.values()]
    links.append(f"- [{MACHINES}](#{anchor(MACHINES)})")
    minutes = f"{sum(seconds.values()) / 60:.0f}"
    opening = OPENING.replace("{n_students}", str(len(seconds))).replace("{minutes}", minutes)
    parts = [wrapped(opening.replace("{questions}", "\n".join(links)))]
    for name, study in STUDIES.items():
        if name == FIRST_BEYOND:
            parts.append(wrapped(BEYOND))
        parts.append(section(study))
    return "\n\n".join([*parts, f"## {MACHINES}", wrapped(ON_MACHINES)]) + "\n"


def renewed(page: str) -> str:
    """The page as it should be."""
    if page == STUDIES_PAGE:
        return studies_page()
    tables = PART.sub(lambda m: f"{m[1]}\n{GENERATED[page, m[2]]()}\n\n{m[3]}", text(page))
    return with_figures(page, tables)


def main(argv: list[str] | None = None) -> None:
    parser = OneLineParser(
        prog="python3 -m docs.pages", description="Write the pages' figures and tables anew."
    )
    parser.parse_args(argv)
    try:
        pages = {page: renewed(page) for page in PAGES}  # all, before one is written
    except ValueError as error:
        raise UserError(f"the pages stay as they are: {error}") from error
    for page, content in pages.items():
        with atomic_output(ROOT / page) as temporary:
            temporary.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    run_script(main, trains=False)
