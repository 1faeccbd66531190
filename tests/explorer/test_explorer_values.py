"""What the explorer draws, read from the browser: lengths, colours and points against NumPy's numbers."""

from __future__ import annotations

from support.charts import AFTER
from support.offsets import add_offsets

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from explorer_pages import (
    about_of,
    arrays_of,
    opened,
    resized,
    rounded_network,
    shared_browser,
    slide,
    trained_logits,
    until,
)
from small_pictures import answers, softmaxed

import distillation_mnist_omitted_3 as core
from pictures import imagined

BARS = """
return [...document.querySelectorAll(`${arguments[0]} li`)].map((row) => {
  const [bar, track] = [".bar", ".track"].map((name) => row.querySelector(name).getBoundingClientRect());
  return {start: bar.left - track.left, length: bar.width, whole: track.width,
    colour: getComputedStyle(row.querySelector(".bar")).backgroundColor,
    digit: row.querySelector(".digit").textContent, text: row.querySelector(".p").textContent,
    p: Number(row.dataset.p), most: row.classList.contains("most"),
    unseen: row.classList.contains("unseen")};
});
"""
# Lines, marks and words of a chart, and where its axes' numbers stand.
CHART = """
const chart = document.getElementById(arguments[0]);
const all = (selector) => [...chart.querySelectorAll(selector)];
const at = (one, ...names) => names.map((name) => Number(one.getAttribute(name)));
const text = (one) => [one.textContent.replace("\\u2212", "-").replace(",", ""), ...at(one, "x", "y")];
return {
  paths: all("path").map((one) => [one.getAttribute("stroke"),
    one.getAttribute("d").slice(1).split("L").map((pair) => pair.split(" ").map(Number))]),
  grid: all(".grid").map((one) => [Number(text(one.nextSibling)[0]), ...at(one, "y1")]),
  ticks: all("text[text-anchor=middle]").map(text).filter(([words]) => words && !Number.isNaN(+words)),
  series: all(".series").map(text), cursor: all(".cursor").map((one) => at(one, "x1", "x2")),
  marks: all("polygon").map((one) => [one.getAttribute("fill"),
    one.getAttribute("points").split(" ").map((pair) => pair.split(",").map(Number))]),
};
"""
ALPHA = """
const canvas = document.querySelectorAll(arguments[0])[arguments[1]];
return Array.from(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data);
"""


@pytest.fixture(scope="module")
def numbers(explorer_run: tuple[Path, core.Experiment]) -> SimpleNamespace:
    """What the page holds, read and computed without its scripts."""
    page, experiment = explorer_run
    arrays, about = arrays_of(page), about_of(page)
    shown = arrays["galleryNumbers"].astype(int)
    return SimpleNamespace(
        page=page, about=about, arrays=arrays, experiment=experiment, shown=shown,
        labels=experiment.data.test_labels, digits=experiment.data.test_images[shown],
        training=arrays["training"].reshape(-1, 28, 28),
        networks=[rounded_network(arrays, one) for one in about["networks"]],
        trained=experiment.student.test_logits,
    )  # fmt: skip


@pytest.fixture(scope="module")
def opened_page(numbers) -> Any:
    driver = shared_browser()
    resized(driver, 1280, 900)
    opened(driver, numbers.page)
    until(driver, "return Boolean(tiles.sprite)")  # painted
    return driver


@pytest.fixture
def page(opened_page) -> Any:
    """The page, opened once for all: every test sets what it reads."""
    return opened_page


def text(page, name: str) -> str:
    return page.execute_script("return document.getElementById(arguments[0]).textContent", name)


def rgb(colour: str) -> tuple[int, ...]:
    """Of "#rrggbb" or "rgb(r, g, b)"."""
    if colour.startswith("#"):
        return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return tuple(map(int, colour[4:-1].split(",")))


def variable(page, name: str) -> tuple[int, ...]:
    return rgb(page.execute_script("return colourOf(arguments[0])", f"--{name}"))


def check_bars(page, where: str, p: np.ndarray, colour: str, longest: float = 1.0) -> None:
    """Ten bars from the left edge, as long as the probabilities, with these in words behind them."""
    bars = page.execute_script(BARS, where)
    assert [bar["digit"] for bar in bars] == list("0123456789")
    whole = np.array([bar["whole"] for bar in bars])
    assert whole.min() > 50
    assert [bar["p"] for bar in bars] == pytest.approx(p, abs=2e-4)
    assert [bar["length"] for bar in bars] == pytest.approx(whole * p / longest, abs=0.001 * whole[0] + 0.02)
    assert [bar["start"] for bar in bars] == pytest.approx([0] * 10, abs=0.02)
    assert {rgb(bar["colour"]) for bar in bars} == {rgb(colour)}
    assert [bar["unseen"] for bar in bars] == [c == 3 for c in range(10)]
    assert [bar["most"] for bar in bars] == (np.arange(10) == p.argmax()).tolist()
    for bar, one in zip(bars, p, strict=True):
        assert bar["text"].endswith(" %")
        assert float(bar["text"][:-2]) == pytest.approx(100 * one, abs=0.08)


@pytest.mark.parametrize("offset", [0.0, 1.85, 4.4])
def test_bars_are_as_long_as_the_probabilities_of_each_network(offset, page, numbers):
    """Of the hardest, a middling and an easy digit; the third card's with the slider's offset."""
    slide(page, "offset-3", offset)
    for i in (0, len(numbers.shown) // 2, len(numbers.shown) - 1):
        page.execute_script("showGalleryDigit(arguments[0])", i)
        teacher, student = (
            answers(network, numbers.digits[i : i + 1])[0] for network in numbers.networks[:2]
        )
        corrected = student + offset * (np.arange(10) == 3)
        colours = [one["colour"] for one in numbers.about["networks"]]
        colours[2] = AFTER
        for key, z, colour in zip(
            ("teacher", "student", "corrected"), (teacher, student, corrected), colours, strict=True
        ):
            card, p = f'.card[data-network="{key}"]', softmaxed(z)
            check_bars(page, card, p, colour)
            guess = page.execute_script(
                "return document.querySelector(arguments[0]).textContent", f"{card} .guess"
            )
            assert guess[0] == str(p.argmax())
            assert float(guess[1:-2]) == pytest.approx(100 * p.max(), abs=0.08)


@pytest.mark.parametrize("t", [1, 2.5, 20, 50])
def test_the_temperature_section_is_the_teacher_s_answer_at_that_temperature(t, page, numbers):
    """softmax(teacher's logits / T) of the image chosen, which stands beside it, in the teacher's colour."""
    slide(page, "t", t)
    assert text(page, "t-value") == f"T = {t}"
    first = 0
    for row, one in enumerate(numbers.about["training"]):
        if row in (0, 4, 9):  # a 0, a 5, a 3
            at = 11 if row == 4 else 2
            page.execute_script(
                "document.querySelectorAll('#training .row')[arguments[0]]"
                ".querySelectorAll('.tile')[arguments[1]].click()",
                row, at,
            )  # fmt: skip
            image = numbers.training[first + at]
            shown = np.array(page.execute_script(ALPHA, "#answer-image", 0)).reshape(784, 4)[:, 3]
            assert (shown == image.ravel()).all()
            p = softmaxed(answers(numbers.networks[0], image[None])[0], t)
            check_bars(page, "#answer-bars", p, numbers.about["networks"][0]["colour"], p.max())
            sentence = text(page, "answer")
            of_3 = page.execute_script("return Number(document.getElementById('answer').dataset.p)")
            assert of_3 == pytest.approx(p[3], abs=2e-4)
            assert f"this {one['class']} is" in sentence
            assert f"a 3 at T = {t}." in sentence
            said = float(sentence.partition(" is ")[2].partition(" %")[0])
            assert said == pytest.approx(100 * p[3], abs=0.08)
        first += one["images"]


def test_the_arrow_keys_move_sliders_by_their_steps(page):
    press = """
    const [id, key] = arguments;
    document.getElementById(id).dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
    """
    slide(page, "offset-3", 1.0)
    slide(page, "t", 20)
    for key, offset, t in (("ArrowRight", 1.05, 20.5), ("ArrowLeft", 1.0, 20.0), ("ArrowDown", 0.95, 19.5)):
        page.execute_script(press, "offset-3", key)
        page.execute_script(press, "t", key)
        assert page.execute_script("return offsets[3]") == pytest.approx(offset)
        assert page.execute_script("return Number(document.getElementById('offset-3').value)") == offset
        assert text(page, "offsets").endswith(f"+{offset:.2f}")
        assert text(page, "t-value") == f"T = {t:g}"


# ---- Curves ------------------------------------------------------------------------------------------------


class Chart:
    """A chart as drawn, with its axes read from the numbers that stand at them."""

    def __init__(self, page, name: str) -> None:
        self.__dict__.update(page.execute_script(CHART, name))
        x = np.array([[float(words), at] for words, at, _ in self.ticks])
        y = np.array(self.grid)
        assert len(x) > 2
        assert len(y) > 2
        self.x = np.polynomial.Polynomial.fit(*x.T, 1)
        self.y = np.polynomial.Polynomial.fit(np.log10(y[:, 0]), y[:, 1], 1)
        assert self.x(x[:, 0]) == pytest.approx(x[:, 1], abs=1e-6)  # evenly, and logarithmic
        assert self.y(np.log10(y[:, 0])) == pytest.approx(y[:, 1], abs=1e-6)
        assert self.x.deriv()(0) > 0
        assert self.y.deriv()(0) < 0

    def places(self, x: np.ndarray, errors: np.ndarray) -> np.ndarray:
        return np.stack([self.x(x), self.y(np.log10(np.maximum(0.5, errors)))], axis=1)


def check_curves(
    page, name: str, x: np.ndarray, curves: dict[str, tuple[str, np.ndarray]], cursor: float
) -> Chart:
    """Curves by the words at their end: colour and errors at each of x; the cursor stands at its place."""
    chart = Chart(page, name)
    assert [words for words, *_ in chart.series] == list(curves)
    for (colour, errors), (drawn, points) in zip(curves.values(), chart.paths, strict=True):
        assert rgb(drawn) == variable(page, colour)
        assert len(points) == len(x)
        assert np.abs(np.array(points) - chart.places(x, errors)).max() < 0.11  # drawn to a tenth
    assert chart.cursor == [pytest.approx([chart.x(cursor)] * 2, abs=1e-6)]
    return chart


def test_the_error_curve_is_that_of_every_offset(page, numbers):
    """Both curves at all offsets of the grid, the marks at those chosen, the cursor where the slider is."""
    slide(page, "offset-3", 2.2)
    lo, hi = numbers.about["correction"]["range"]
    grid = lo + np.arange(40 * (hi - lo) + 1) / 40
    logits, errors = numbers.trained[-1].astype(float), []
    for offset in grid:
        wrong = (logits + offset * (np.arange(10) == 3)).argmax(axis=1) != numbers.labels
        errors.append([wrong.sum(), wrong[numbers.labels == 3].sum()])
    of_all, unseen = np.array(errors).T
    assert np.ptp(of_all) > 20
    chart = check_curves(
        page, "error-chart", grid, {"all": ("corrected", of_all), "on 3s": ("omitted", unseen)}, 2.2
    )
    found = numbers.experiment.results()["bias_correction"]
    for (colour, corners), (wanted, offset) in zip(
        chart.marks,
        (("corrected", found["offsets"][0]), ("soft", found["best_on_test_set"]["offset"])),
        strict=True,
    ):
        assert rgb(colour) == variable(page, wanted)
        assert np.mean([min(corners)[0], max(corners)[0]]) == pytest.approx(chart.x(offset), abs=1e-6)


@pytest.mark.parametrize("epoch", [1, 4, 6])
def test_the_curve_of_the_epochs_is_that_of_every_epoch_s_logits(epoch, page, numbers):
    slide(page, "epoch", epoch)
    wrong = numbers.trained.argmax(axis=2) != numbers.labels
    of_all, unseen = wrong.sum(axis=1), wrong[:, numbers.labels == 3].sum(axis=1)
    x = np.arange(1, 7)
    curves = {"all": ("student", of_all), "on 3s": ("omitted", unseen)}
    check_curves(page, "epoch-chart", x, curves, epoch)
    n, right = len(numbers.shown), (~wrong[epoch - 1, numbers.labels == 3]).sum()
    share = 100 * (1 - of_all[epoch - 1] / 2000)
    assert text(page, "epoch-value") == f"{epoch} of 6"
    assert text(page, "epoch-result") == (
        f"After epoch {epoch} it reads {right} of these {n} 3s and {share:.2f} % of all test images."
    )


# ---- The mosaic and the gallery ----------------------------------------------------------------------------


def mosaic_order(numbers) -> list[int]:
    """By the last epoch after which a digit is read wrong; of one epoch the hardest last."""
    wrong = numbers.trained[:, numbers.shown].argmax(axis=2) != 3
    last = [max((e + 1 for e in range(6) if wrong[e, i]), default=0) for i in range(len(numbers.shown))]
    return sorted(range(len(last)), key=lambda i: (last[i], -i))


@pytest.mark.parametrize("epoch", [1, 3, 6])
def test_the_mosaic_s_colours_are_those_of_each_digit_after_that_epoch(epoch, page, numbers):
    """Right in the student's colour, the fuller the surer it is; wrong in that of the unseen class."""
    slide(page, "epoch", epoch)
    order, n = mosaic_order(numbers), len(numbers.shown)
    columns = min(36, int(np.ceil(np.sqrt(1.4 * n))))
    width, height = page.execute_script(
        "const c = document.getElementById('mosaic'); return [c.width, c.height]"
    )
    cell = width // columns
    assert (width, height) == (cell * columns, cell * -(-n // columns))
    pixels = np.array(page.execute_script(ALPHA, "#mosaic", 0)).reshape(height, width, 4)
    z = numbers.trained[epoch - 1, numbers.shown].astype(float)
    p, right = softmaxed(z)[:, 3], z.argmax(axis=1) == 3
    assert right.any()
    assert not right.all() or epoch == 6
    blue, orange = (np.array(variable(page, name)) for name in ("student", "omitted"))
    inks = []
    for place, i in enumerate(order):
        y, x = (cell * k for k in divmod(place, columns))
        corner = pixels[y, x]  # no ink of a digit lies there
        assert corner[:3] == pytest.approx(blue if right[i] else orange, abs=4), place
        assert corner[3] == pytest.approx(255 * (0.25 + 0.75 * p[i] if right[i] else 1), abs=2.5), place
        if place % 40 == 0:
            drawn = np.abs(pixels[y : y + cell - 1, x : x + cell - 1] - corner).sum(axis=2)
            at = ((np.arange(cell - 1) + 0.5) * 28 / (cell - 1)).astype(int)
            inks.append(np.corrcoef(drawn.ravel(), numbers.digits[i][np.ix_(at, at)].ravel())[0, 1])
    assert min(inks) > 0.75


def test_a_click_on_the_mosaic_shows_the_digit_of_that_square(page, numbers):
    order = mosaic_order(numbers)
    columns = min(36, int(np.ceil(np.sqrt(1.4 * len(order)))))
    rows = -(-len(order) // columns)
    click = """
    const [x, y] = arguments;
    const canvas = document.getElementById("mosaic");
    const box = canvas.getBoundingClientRect();
    const place = {clientX: box.left + x * box.width, clientY: box.top + y * box.height};
    canvas.dispatchEvent(new MouseEvent("click", {bubbles: true, ...place}));
    return Array.from(pad.pixels, (value) => Math.round(255 * value));
    """
    for place in (0, 7, columns, 5 * columns + 3, len(order) - 1):
        row, column = divmod(place, columns)
        pixels = page.execute_script(click, (column + 0.5) / columns, (row + 0.5) / rows)
        assert pixels == numbers.digits[order[place]].ravel().tolist()


FATES = {(True, True): "right", (False, True): "repaired", (False, False): "never", (True, False): "lost"}


@pytest.mark.parametrize("offset", [-1.0, 0.0, 2.7, 6.0])
def test_each_tile_of_the_gallery_has_the_colour_of_its_fate(offset, page, numbers):
    """Frame, words and count; a slider that does not reach so low stops at its end."""
    page.execute_script("clearPad()")  # the tile of the digit on the canvas has another frame
    slide(page, "offset-3", offset)
    offset = max(offset, numbers.about["correction"]["range"][0])
    z = numbers.trained[-1, numbers.shown]
    before, after = z.argmax(axis=1), add_offsets(z, [3], [offset]).argmax(axis=1)
    fates = [FATES[b == 3, a == 3] for b, a in zip(before, after, strict=True)]
    tiles = page.execute_script("""
    return [...document.querySelectorAll("#tiles .tile")].map((tile) => [tile.dataset.status,
      getComputedStyle(tile).borderBottomColor, tile.getAttribute("aria-label")]);
    """)
    colours = {"right": "student", "repaired": "corrected", "never": "omitted", "lost": "teacher"}
    colours = {fate: variable(page, name) for fate, name in colours.items()}
    for (status, frame, label), fate, guess in zip(tiles, fates, after, strict=True):
        assert status == fate
        assert rgb(frame) == colours[fate]
        assert label.startswith(f"3, read as {guess}, ")
    filters = page.execute_script("""
    return Object.fromEntries([...document.querySelectorAll("#filters button")].map((one) =>
      [one.dataset.fate, Number(one.lastChild.textContent.replace(",", ""))]));
    """)
    assert filters == {"all": len(fates)} | {fate: fates.count(fate) for fate in FATES.values()}


def test_each_tile_shows_its_own_digit(page, numbers):
    """Where its part of the sheet lies, and what is painted there."""
    code = """
    const list = [...document.querySelectorAll("#tiles .tile")];
    const [sheet, canvas] = [tiles.sprite, document.createElement("canvas")];
    [canvas.width, canvas.height] = [sheet.width, sheet.height];
    const context = canvas.getContext("2d");
    context.drawImage(sheet, 0, 0);
    const share = (text) => parseFloat(text) / 100;
    return arguments[0].map((i) => {
      const style = getComputedStyle(list[i]);
      const [sizes, at] = [style.backgroundSize.split(" "), style.backgroundPosition.split(" ")];
      const [x, y] = [sheet.width, sheet.height].map((side, axis) =>
        Math.round(share(at[axis]) * (side - side / share(sizes[axis]))));
      return Array.from(context.getImageData(x, y, 28, 28).data.filter((_, k) => k % 4 === 3));
    });
    """
    wanted = [0, 31, 32, 100, len(numbers.shown) - 1]
    for i, pixels in zip(wanted, page.execute_script(code, wanted), strict=True):
        assert pixels == numbers.digits[i].ravel().tolist()


# ---- The walk ----------------------------------------------------------------------------------------------

WALKERS = """
return [...document.querySelectorAll(".walker")].map((one) => {
  const [bar, track] = [".bar", ".track"].map((name) => one.querySelector(name).getBoundingClientRect());
  return {start: bar.left - track.left, share: bar.width / track.width,
    colour: getComputedStyle(one.querySelector(".bar")).backgroundColor,
    text: one.querySelector("p").textContent};
});
"""


def test_the_walk_starts_at_the_canvas_and_takes_numpy_s_steps(page, numbers, monkeypatch):
    """Bars, words, the digit now and what changed, per network, before the first step and after six."""
    monkeypatch.setattr(imagined, "MOST_STEPS", 6)
    middle = len(numbers.shown) // 3
    page.execute_script("showGalleryDigit(arguments[0])", middle)
    page.execute_async_script("setTimeout(arguments[0], 300)")  # it starts anew when the pen rests
    page.execute_script(
        "const one = document.getElementById('target'); one.value = 7; one.dispatchEvent(new Event('change'))"
    )
    image = numbers.digits[middle]
    ink, erased = variable(page, "ink"), variable(page, "omitted")
    for steps in (0, 6):
        for of, walker in enumerate(page.execute_script(WALKERS)):
            network, pixels = numbers.networks[of], image / 255
            p = softmaxed(answers(network, image[None])[0])
            if steps:
                pixels, p7 = imagined.short_change(network, image, 7)
            else:
                p7 = p[7]
            assert walker["share"] == pytest.approx(p7, abs=0.003)
            assert walker["start"] == pytest.approx(0, abs=0.02)
            assert rgb(walker["colour"]) == rgb(numbers.about["networks"][of]["colour"])
            assert walker["text"].startswith(f"Step {steps}: it says ")
            now, change = (
                np.array(page.execute_script(ALPHA, f".walker:nth-child({of + 1}) canvas", k)).reshape(784, 4)
                for k in (0, 1)
            )
            assert now[:, 3] == pytest.approx(255 * pixels.ravel(), abs=0.7)
            moved = 255 * (pixels - image / 255).ravel()
            assert change[:, 3] == pytest.approx(np.abs(moved), abs=0.7)
            clear = np.abs(moved) > 5
            assert clear.any() == bool(steps)
            for value, colour in zip(moved[clear], change[clear, :3], strict=True):
                assert np.argmin([np.abs(colour - one).sum() for one in (ink, erased)]) == (value < 0)
        page.execute_script("for (let i = 0; i < 6; i++) document.getElementById('walk-step').click()")


def test_what_can_be_trusted_is_what_was_measured(page, numbers):
    """Against rounded and trained networks, on all test images."""
    said = text(page, "trust")
    trained = trained_logits(numbers.experiment)
    for one, network, theirs in zip(numbers.about["networks"], numbers.networks, trained, strict=True):
        ours = answers(network, numbers.experiment.data.test_images)
        others = int((ours.argmax(axis=1) != theirs.argmax(axis=1)).sum())
        largest = np.abs(softmaxed(ours) - softmaxed(theirs.astype(float))).max()
        assert one["agreement"] == {
            "n_images": 2000, "n_other_class": others, "largest_difference": pytest.approx(largest, abs=1e-4)
        }  # fmt: skip
        same = f"another class of {others} of 2,000" if others else "the same class of all 2,000"
        assert f"the {one['name'].lower()} says {same} test images" in said
        assert f"by more than {100 * one['agreement']['largest_difference']:.1f} %" in said
