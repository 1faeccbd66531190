"""Examples in the pictures of studies, the map of gains, and names with a dollar in them."""

from __future__ import annotations

from support.report import RESULTS

import json

import numpy as np
import pytest
from legible import drawn_anyhow, hard_to_read
from made_studies import drawn
from small_pictures import draw, pixels_of, words_of
from small_studies import ROOT

from cifar10.gain_tables import draw_gain
from runs.folders import load
from seeds.frontier import draw_frontier
from studies.little import examples
from synthetic import digits, noise

RECIPES = ("linear", "fast", "middle", "described", "best", "no-digit")


def title_of(axes) -> str:
    return axes.get_title(loc="left")


def test_examples_of_drawn_images_stand_beside_their_row(shaken):
    runs = shaken(["little"], n_seeds=1)
    pictures, axes = drawn("little", runs).axes
    rows = [label.get_text() for label in axes.get_yticklabels()]
    figure, insets = axes.figure, {}
    for inset in pictures.child_axes:
        box = inset.get_axes_locator()(inset, None)
        middle = figure.transFigure.transform((box.p0 + box.p1) / 2)
        y = pictures.transData.inverted().transform(middle)[1]
        insets.setdefault(rows[round(y)], []).append(pixels_of(inset))
    kinds = {"uniform noise": "noise", "contour lines of noise": "contours",
             "digits that a program drew": "rendered"}  # fmt: skip
    assert sum(map(len, insets.values())) == 2 * sum(len(examples(run)) > 0 for run in runs)
    for name, kind in kinds.items():
        rng = np.random.default_rng(5)
        own = digits.render_digits(2, rng)[0] if kind == "rendered" else noise.DRAW[kind](8, rng)[[4, 7]]
        np.testing.assert_array_equal(insets[name], own)


def test_the_map_of_gains_stands_under_its_titles():
    found = json.loads((ROOT / "viz" / "cifar10" / "gain" / RESULTS).read_text())
    *panels, scale = draw(draw_gain, found).axes
    short = min(run["n_epochs"] for run in found["runs"])
    assert title_of(panels[0]) == f"Parameters of the student (% of the teacher's), {short} epochs"
    for axes in panels[1:]:
        assert title_of(axes).startswith("Length of training, student of ")
    for axes in panels:
        shown, texts = axes.images[0].get_array(), {t.get_position(): t.get_text() for t in axes.texts}
        shares = [label.get_text().split(" %")[0] for label in axes.get_xticklabels()]
        for y, row in enumerate(label.get_text() for label in axes.get_yticklabels()):
            for x, share in enumerate(shares):
                if axes is panels[0]:
                    (student,) = [
                        k for k, s in found["students"].items() if row.startswith(f"{s['parameters']:,} ")
                    ]
                    n_epochs = short
                else:
                    size = title_of(axes).split(" of ")[-1].removesuffix(" parameters")
                    (student,) = [k for k, s in found["students"].items() if f"{s['parameters']:,}" == size]
                    n_epochs = int(row.removesuffix(" epochs"))
                mine = [r for r in found["runs"] if (r["student"], r["n_epochs"]) == (student, n_epochs)
                        and f"{100 * r['share']:g}" == share]  # fmt: skip
                if not mine:
                    assert texts[x, y] == "not run"
                    continue
                soft, hard = (100 * np.mean([r[key] for r in mine]) for key in ("soft", "hard"))
                assert shown[y, x] == pytest.approx(soft - hard)
                assert texts[x, y + 0.2] == f"{hard:.1f} → {soft:.1f}"
                assert texts[x, y - 0.13].startswith(f"{soft - hard:+.1f}")
    assert scale.get_ylabel() == "percentage points"


def test_what_recipes_cost_and_the_gains_on_cifar10_can_be_read_by_everyone_on_a_page():
    folders = [folder for folder in (ROOT / "viz" / "seeds").iterdir() if folder.name in RECIPES]
    gain = json.loads((ROOT / "viz" / "cifar10" / "gain" / RESULTS).read_text())
    assert hard_to_read(draw(draw_frontier, {folder.name: load(folder) for folder in folders})) == []
    assert hard_to_read(draw(draw_gain, gain)) == []


@pytest.mark.parametrize("name", ["paper", "transfer-size", "corruption", "slope"])
def test_a_dollar_in_the_datas_name_is_one(name, shaken, monkeypatch):
    runs = shaken([name], n_seeds=1)
    for run in runs:
        monkeypatch.setitem(run.record["data"], "name", r"$\frac$")
    figure = drawn(name, runs)
    assert r"$\frac$" in words_of(figure)
    drawn_anyhow(figure)


def test_a_dollar_in_the_name_of_a_folder_or_of_a_student_is_one():
    fast = load(ROOT / "viz" / "seeds" / "fast")
    drawn_anyhow(draw(draw_frontier, {r"$\frac$": fast}))
    found = json.loads((ROOT / "viz" / "cifar10" / "gain" / RESULTS).read_text())
    found["data"]["name"] = r"$\frac$"
    drawn_anyhow(draw(draw_gain, found))


def test_the_papers_lines_of_the_frontier_are_at_its_errors():
    run = {
        "data": {"name": "MNIST"}, "environment": {"threads": 2},
        "wall_clock_seconds": {"data": 1.0, "teacher": 4.0, "total": 10.0},
        "config": {"omitted_class": [3]},
        "teacher": {"test_errors": 90},
        "student": {"before_correction": {"test_errors": 150}, "after_correction": {"test_errors": 110}},
    }  # fmt: skip
    axes = draw_frontier({"one": [run]}).axes[0]
    lines = [line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == ":"]
    assert lines == [206, 109, 74, 67]
    paper = [text for text in axes.texts if text.get_text()[0].isdigit()]
    words_ = [text.get_text().split(maxsplit=1) for text in paper]
    assert {int(n): text for n, text in words_} == {
        206: "student without 3s", 109: "the same, bias chosen\non the test set",
        74: "student of all digits", 67: "teacher",
    }  # fmt: skip
    assert [text.xy[1] for text in paper] == [206, 109, 74, 67]
    found = {c.get_label(): c.lines[0].get_ydata().tolist() for c in axes.containers}
    assert list(found.values()) == [[90], [150], [110]]
    assert list(found) == [
        "teacher, has seen every digit", "student that never saw a 3",
        "the same, bias corrected without test labels",
    ]  # fmt: skip
