"""A student trained in the page: what it reaches, and what the page draws of it."""

from __future__ import annotations

from support.offsets import add_offsets

import re
from types import SimpleNamespace

import numpy as np
import pytest
from explorer_pages import (
    COMMITTED,
    about_of,
    arrays_of,
    opened,
    resized,
    shared_browser,
    until,
    wrong_on_the_console,
)

import distillation_mnist_omitted_3 as core
from explorer import contents


def shares_read(logits: np.ndarray, labels: np.ndarray, digit: int, offset: float) -> list[float]:
    """Of the digit never seen: as trained, and with the offset."""
    both = [add_offsets(logits, [digit], [b]).argmax(axis=1) for b in (0.0, offset)]
    return [float((guesses == digit)[labels == digit].mean()) for guesses in both]


def test_the_lesson_is_every_nth_image_and_the_teacher_s_answers(small):
    """All classes evenly; the answers within half a step of the teacher's, but for what softmax ignores."""
    page, experiment = small
    arrays, data, step = arrays_of(page), experiment.data, about_of(page)["lesson"]["answerStep"]
    every = -(-len(data.train_labels) // contents.N_LESSON)
    assert (arrays["lesson/images"] == data.train_images[::every].ravel()).all()
    assert (arrays["lesson/labels"] == data.train_labels[::every]).all()
    assert (arrays["tested/labels"] == data.test_labels[:: -(-len(data.test_labels) // 1000)]).all()
    with core.Workers() as workers:
        logits = core.predict(experiment.teacher.network, data.train_images[::every], workers)
    ours = -step * arrays["lesson/answers"].reshape(-1, 10).astype(float)
    assert ours.max(axis=1) == pytest.approx(0)
    assert np.abs(ours - (logits - logits.max(axis=1, keepdims=True))).max() < 0.501 * step
    assert np.abs(core.softmax(ours, 20.0) - core.softmax(logits, 20.0)).max() < 0.003


# ---- In the browser ----------------------------------------------------------------------------------------

RUN = """
const run = learning.runs[arguments[0]];
const lines = [...run.chart.querySelectorAll("path")].map((one) =>
  one.getAttribute("d").slice(1).split("L").map((pair) => pair.split(" ").map(Number)));
const grid = [...run.chart.querySelectorAll(".grid")].map((one) =>
  [parseFloat(one.nextSibling.textContent) / 100, Number(one.getAttribute("y1"))]);
const cards = [...run.box.querySelectorAll(".card")].map((card) =>
  [...card.querySelectorAll("li")].map((row) => Number(row.dataset.p)));
return {logits: Array.from(run.logits), offset: run.offset, steps: run.points.map(({step}) => step),
  lines, grid, cards,
  note: run.note, state: run.state.textContent, result: run.result.textContent, step: run.step,
  layers: run.network.layers.map(({weights, biases}) => [Array.from(weights), Array.from(biases)])};
"""


def choose(driver, **values: object) -> None:
    """Set controls of the training as a visitor does."""
    for name, value in values.items():
        driver.execute_script(
            "const one = document.getElementById(arguments[0]); one.value = arguments[1];"
            "one.dispatchEvent(new Event('input', {bubbles: true}))",
            f"learn-{name}", str(value),
        )  # fmt: skip


def press(driver, name: str) -> None:
    driver.execute_script("document.getElementById(arguments[0]).click()", name)


def trained(driver, at: int = 0) -> SimpleNamespace:
    """The run `at` as the page shows it, once it is over."""
    until(driver, "return learning.worker === null", 120)
    return SimpleNamespace(**driver.execute_script(RUN, at))


@pytest.fixture(scope="module")
def numbers(explorer_run) -> SimpleNamespace:
    arrays = arrays_of(explorer_run[0])
    return SimpleNamespace(page=explorer_run[0], arrays=arrays, labels=arrays["tested/labels"])


@pytest.fixture(scope="module")
def two_runs(numbers):
    """The page after two short trainings: no 7, then, by the address of the link, no 4."""
    driver = shared_browser()
    resized(driver, 1280, 900)
    opened(driver, numbers.page)
    wrong_on_the_console(driver)
    driver.execute_script("Object.assign(about.lesson, {steps: 60, reports: 3})")
    choose(driver, digit=7, t=8, images=1000)
    press(driver, "learn-start")
    trained(driver)
    link = driver.execute_script("return document.getElementById('learn-link').getAttribute('href')")
    driver.execute_script("location.hash = '#digit=4&t=12&hard=0.5&images=300&seed=9'")
    until(driver, "return document.getElementById('learn-digit').value === '4'")
    press(driver, "learn-start")
    trained(driver)
    yield driver, link
    assert wrong_on_the_console(driver) == []


def test_the_page_trains_beside_its_visitor_on_the_committed_page():
    """In a worker, from a file; and the bias section takes it up.

    Of the 8s, which its own student saw, less than 60 % are read as trained, more than 65 % with the offset.
    """
    driver = shared_browser()
    resized(driver, 1280, 900)
    opened(driver, COMMITTED)
    choose(driver, digit=8)
    press(driver, "learn-start")
    assert driver.execute_script("return learning.worker instanceof Worker")
    run = trained(driver)
    assert run.steps[-1] == run.step == 842
    before, after = shares_read(
        np.reshape(run.logits, (-1, 10)), arrays_of(COMMITTED)["tested/labels"], 8, run.offset
    )
    assert before < 0.6
    assert after > 0.65
    assert f"It reads {round(100 * before)} % of the 8s it never saw, {round(100 * after)} %" in run.result
    assert driver.execute_script("return offsets[8] === 0 && bias.student === learning.runs[0].student")
    driver.execute_script("learning.runs[0].raise.click()")
    errors = driver.find_element("id", "errors")
    labels = arrays_of(COMMITTED)["tested/labels"]
    expected = core.evaluate(
        add_offsets(np.reshape(run.logits, (-1, 10)).astype(np.float32), [8], [run.offset]), labels, [8]
    )
    assert int(errors.get_attribute("data-unseen")) == expected["omitted_errors"]
    assert int(errors.get_attribute("data-all")) == expected["test_errors"]


def test_settings_are_heard_shown_and_carried_by_the_link(two_runs):
    driver, link = two_runs
    assert dict(re.findall(r"(\w+)=([\d.]+)", link)) == {
        "digit": "7", "t": "8", "hard": "0", "images": "1000", "seed": "1"
    }  # fmt: skip
    newest, earlier = (driver.execute_script(RUN, at) for at in (0, 1))
    assert newest["note"].startswith("the teacher's answers at T = 12, labels weigh 0.5; 300 images; start 9")
    assert earlier["note"].startswith("the teacher's answers at T = 8; 1,000 images; start 1")
    heads = driver.execute_script(
        "return [...document.querySelectorAll('.run > h3')].map((h) => h.textContent)"
    )
    assert [head.partition(", ")[2] for head in heads] == ["no 4", "no 7"]
    assert newest["state"] == "Trained: 60 steps."


def test_curves_are_the_shares_of_each_report(two_runs, numbers):
    """The last points are those of the logits that the run ended with; the axis goes from 0 to 100 %."""
    driver, _ = two_runs
    for at, digit in ((0, 4), (1, 7)):
        run = SimpleNamespace(**driver.execute_script(RUN, at))
        assert run.steps == [0, 20, 40, 60]
        logits = np.reshape(run.logits, (-1, 10)).astype(np.float32)
        before, after = shares_read(logits, numbers.labels, digit, run.offset)
        others = (logits.argmax(axis=1) == numbers.labels)[numbers.labels != digit].mean()
        height = np.polynomial.Polynomial.fit(*np.array(run.grid).T, 1)
        assert [line[-1][1] for line in run.lines] == pytest.approx(
            [height(share) for share in (others, after, before)], abs=0.11
        )
        assert [len(line) for line in run.lines] == [4, 4, 4]


def test_bars_are_what_the_trained_network_says_of_the_drawing(two_runs):
    driver, _ = two_runs
    driver.execute_script("showGalleryDigit(0)")
    pixels = np.array(driver.execute_script("return Array.from(explorer.pad.pixels)"))
    for at, digit in ((0, 4), (1, 7)):
        run = SimpleNamespace(**driver.execute_script(RUN, at))
        x = pixels
        for index, (weights, biases) in enumerate(run.layers):
            x = np.reshape(weights, (len(biases), -1)) @ x + biases
            x = np.maximum(0, x) if index < 2 else x
        for card, offset in zip(run.cards, (0, run.offset), strict=True):
            assert card == pytest.approx(
                core.softmax((x + offset * (np.arange(10) == digit))[None])[0], abs=1e-4
            )


def test_units_are_lit_as_much_as_the_drawing_excites_them(two_runs):
    driver, _ = two_runs
    driver.execute_script("showGalleryDigit(1); learning.runs[0].box.querySelector('details').open = true")
    until(driver, "return learning.runs[0].units.dataset.lit !== undefined")
    weights, biases = driver.execute_script(RUN, 0)["layers"][0]
    pixels = np.array(driver.execute_script("return Array.from(explorer.pad.pixels)"))
    excited = np.maximum(0, np.reshape(weights, (64, 784)) @ pixels + biases)
    image = np.array(driver.execute_script(
        "const c = learning.runs[0].units;"
        "return Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data)"
    )).reshape(256, 256, 4)  # fmt: skip
    corners = image[::32, ::32, 3].ravel()  # of the frame of each unit
    assert corners == pytest.approx(255 * 0.75 * excited / excited.max(), abs=2)
    assert int(driver.execute_script("return learning.runs[0].units.dataset.lit")) == (excited > 0).sum()
    weight = np.abs(np.reshape(weights, (64, 28, 28)))
    dark = [unit for unit in range(64) if excited[unit] == 0][:5]
    for unit in dark:
        y, x = (32 * k + 2 for k in divmod(unit, 8))
        alpha = image[y : y + 28, x : x + 28, 3] / 255
        assert alpha == pytest.approx(weight[unit] / weight[unit].max(), abs=0.01)


def test_stopped_it_keeps_the_student_that_there_is(two_runs):
    driver, _ = two_runs
    driver.execute_script("Object.assign(about.lesson, {steps: 100000, reports: 20000})")
    press(driver, "learn-again")
    until(driver, "return learning.runs[0].step > 0")
    press(driver, "learn-stop")
    assert driver.execute_script("return learning.worker === null")
    step, state, start = driver.execute_script(
        "const run = learning.runs[0]; return [run.step, run.state.textContent, run.settings.seed]"
    )
    assert state == f"Stopped at step {step}."
    assert start == 10
    assert driver.execute_script("return learning.runs.length") == 2
    keys = driver.execute_script("return bias.students.map((one) => one.key)")
    assert len(keys) == 3
    assert keys[-1] == "page"
