"""What soft targets gain over hard labels, as tables and as a map: from the results.json of cifar10.gain."""

from __future__ import annotations

from support.charts import INK, SMALL, WIDEST, titled_figure
from support.intervals import interval
from support.report import Results, markdown

import statistics
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

COLOURS = "cividis"  # whose order every kind of colour vision sees


@dataclass(frozen=True)
class Cell:
    """Runs that differ in their seed alone; accuracies in percent, the gain in percentage points."""

    runs: list[Results]

    def mean(self, name: str) -> float:
        return 100 * statistics.mean(run[name] for run in self.runs)

    @property
    def gain(self) -> str:
        """With the half width of its 95 % interval, paired by seed, where there are two seeds or more."""
        return interval([100 * (run["soft"] - run["hard"]) for run in self.runs]).plus_minus(1)

    @property
    def accuracies(self) -> str:
        return f"{self.mean('hard'):.1f} → {self.mean('soft'):.1f}"


def percentage(value: float) -> str:
    """Of two digits, or as many as it has before the point: "2", "9.1", "21", "317"."""
    return f"{float(f'{value:.2g}'):g}" if value < 100 else f"{value:.0f}"


Map = dict[str, dict[str, Cell]]  # cells by the name of their row, then of their column


def share_name(share: float) -> str:
    return f"{100 * share:g} %"


def map_of(runs: list[Results], row: str, name: dict[object, str]) -> Map:
    """The runs by their value of `row`, as `name` calls it, and their share of the images."""
    found: Map = {}
    for run in runs:
        cells = found.setdefault(name[run[row]], {})
        cells.setdefault(share_name(run["share"]), Cell([])).runs.append(run)
    return found


def columns_of(cells: Map) -> list[str]:
    return list(dict.fromkeys(column for mine in cells.values() for column in mine))


def n_seeds(maps: Iterable[Map]) -> str:
    """How many seeds the cells have: "3 seeds", or "1 to 3 seeds"."""
    numbers = sorted(len(cell.runs) for cells in maps for mine in cells.values() for cell in mine.values())
    most = f"{numbers[-1]} seed" + ("s" if numbers[-1] > 1 else "")
    return most if numbers[0] == numbers[-1] else f"{numbers[0]} to {most}"


def maps(found: Results) -> dict[str, Map]:
    """By title: sizes of student at the shortest training; of each student with longer ones the lengths."""
    runs, students = found["runs"], found["students"]
    short = min(run["n_epochs"] for run in runs)
    longer = [run for run in runs if run["n_epochs"] > short]
    n_teacher = found["teacher_parameters"]
    names: dict[object, str] = {
        name: f"{one['parameters']:,} ({percentage(100 * one['parameters'] / n_teacher)} %)"
        for name, one in students.items()
    }
    sizes = map_of([run for run in runs if run["n_epochs"] == short], "student", names)
    result = {f"Parameters of the student (% of the teacher's), {short} epochs": sizes}
    for student in sorted(students, key=lambda name: -students[name]["parameters"]):
        lengths = sorted({run["n_epochs"] for run in longer if run["student"] == student})
        if lengths:
            shares = {run["share"] for run in longer if run["student"] == student}
            mine = [run for run in runs if run["student"] == student and run["share"] in shares]
            words: dict[object, str] = {n: f"{n} epochs" for n in (short, *lengths)}
            result[f"Length of training, student of {students[student]['parameters']:,} parameters"] = map_of(
                sorted(mine, key=lambda run: run["n_epochs"]), "n_epochs", words
            )
    return result


def gain_tables(found: Results) -> list[str]:
    """One table for each map: the gain, and behind it the accuracies on hard labels and soft targets."""
    tables = []
    for title, cells in maps(found).items():
        columns = columns_of(cells)
        rows = [
            [row, *(f"{c[k].gain} ({c[k].accuracies})" if k in c else "" for k in columns)]
            for row, c in cells.items()
        ]
        header = f"{found['data']['name']}, {n_seeds([cells])}: {title[0].lower()}{title[1:]}"
        tables.append(markdown([header, *columns], rows))
    return tables


def draw_map(axes: Axes, cells: Map, title: str, colours: ScalarMappable, n_train: int) -> None:
    """A square for each cell, coloured by its gain, which stands in it with the accuracies below it."""
    columns = columns_of(cells)
    n_images = {c: round(n_train * m[c].runs[0]["share"]) for m in cells.values() for c in m}
    gains = np.full((len(cells), len(columns)), np.nan)
    for y, mine in enumerate(cells.values()):
        for x, column in enumerate(columns):
            if column not in mine:
                axes.text(x, y, "not run", ha="center", va="center", color=INK, fontsize=SMALL)
                continue
            cell = mine[column]
            gains[y, x] = cell.mean("soft") - cell.mean("hard")
            red, green, blue, _ = colours.to_rgba(gains[y, x])
            ink = "black" if 0.3 * red + 0.6 * green + 0.1 * blue > 0.5 else "white"
            axes.text(x, y - 0.13, cell.gain, ha="center", va="center", color=ink, fontweight="bold")
            axes.text(x, y + 0.2, cell.accuracies, ha="center", va="center", color=ink, fontsize=SMALL)
    axes.imshow(gains, cmap=colours.cmap, norm=colours.norm, aspect="auto")
    axes.set_xticks(range(len(columns)), [f"{c}\n{n_images[c]:,}" for c in columns])
    axes.set_yticks(range(len(cells)), list(cells))
    axes.set_title(title, fontsize=11)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def draw_gain(found: Results) -> Figure:
    """A map for each table, on one scale of colours."""
    drawn = maps(found)
    figure = titled_figure(
        "Where a teacher pays: points of test accuracy that soft targets gain over hard labels",
        f"{found['data']['name']}; {n_seeds(drawn.values())}, ± half a 95 % interval; "
        "small: % right, hard → soft",
        WIDEST, 5 if len(drawn) == 1 else 8.5,
    )  # fmt: skip
    cells = [c for map_of in drawn.values() for row in map_of.values() for c in row.values()]
    gains = [c.mean("soft") - c.mean("hard") for c in cells]
    colours = ScalarMappable(Normalize(min(0.0, *gains), max(gains)), COLOURS)
    # sizes above, lengths of training side by side below
    grid = figure.add_gridspec(min(len(drawn), 2), max(len(drawn) - 1, 1))
    panels = [figure.add_subplot(grid[0, :]), *map(figure.add_subplot, list(grid)[max(len(drawn) - 1, 1) :])]
    for axes, (title, cells) in zip(panels, drawn.items(), strict=True):
        draw_map(axes, cells, title, colours, found["data"]["n_train"])
    panels[0].set_xlabel(
        "images that the student sees (its teacher saw all); no fewer steps for fewer images"
    )
    figure.colorbar(colours, ax=list(panels), label="percentage points", pad=0.01)
    return figure
