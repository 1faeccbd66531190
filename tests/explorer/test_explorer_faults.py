"""What goes wrong with pointers, keys, small screens and long strokes, and did once."""

from __future__ import annotations

import numpy as np
import pytest
from explorer_pages import about_of, by_id, resized, run_js, settle

GROWN = """
const plain = (stroke) => ({ ...stroke, points: [...stroke.points] });
const [drawing, strokes, found] = [new Drawing(), [], []];
for (const { erase, width, points } of given) {
  const stroke = { erase, width, points: [] };
  strokes.push(stroke);
  for (const point of points) {
    stroke.points.push(point);
    const now = drawing.normalised(strokes);
    const anew = new Drawing().normalised(strokes.map(plain));
    found.push(Math.max(...now.map((value, i) => Math.abs(value - anew[i]))));
  }
}
return found;
"""
PIECES = """
const [ink, stroke] = [new Ink(), { erase: false, points: [[4, 14]] }];
const samples = ink.of([stroke], {});
let n = 0;
const counted = samples.fill.bind(samples);
samples.fill = (...given) => { n += 1; return counted(...given); };
for (let i = 1; i < 2000; i++) {
  stroke.points.push([14 + 9 * Math.cos(i / 40), 14 + 9 * Math.sin(i / 31)]);
  ink.of([stroke], {});
}
return [n, ink.strokes[0].n];
"""


LONG = """
const stroke = { erase: false, points: [] };
const [grown, whole] = [new Ink(), { ...stroke, points: [] }];
for (let i = 0; i < 9001; i++) {
  const point = i < 9000 ? [14 + 9 * Math.cos(i / 400), 14 + 9 * Math.sin(i / 310)] : [26, 2];
  stroke.points.push(point);
  whole.points.push(point);
  if (i % 100 === 0) grown.of([stroke], {});
}
const [one, other] = [grown.of([stroke], {}), new Ink().of([whole], {})].map(pixelsOf);
return [Math.max(...one), Math.max(...one.map((value, i) => Math.abs(value - other[i])))];
"""


def test_a_drawing_that_grew_is_the_one_that_is_painted_at_once(small):
    rng = np.random.default_rng(0)
    strokes = [
        {"erase": erase, "width": width, "points": rng.uniform(3, 25, (12, 2)).tolist()}
        for erase, width in ((False, 1), (False, 1.6), (True, 1), (False, 0.6))
    ]
    assert max(run_js(small[0], GROWN, strokes)) == 0


def test_of_a_long_stroke_what_is_painted_stays_painted(small):
    """A stroke of 2,000 points never begins anew; all of them are there."""
    assert run_js(small[0], PIECES) == [0, 2000]


def test_points_left_out_of_a_very_long_stroke_are_not_missed(small):
    """9,001 points, painted at once, beside all of them, painted as they came."""
    most, off = run_js(small[0], LONG)
    assert most == 1
    assert off < 0.02


def test_the_canvas_fits_on_the_screen(page):
    for width, height in ((740, 360), (360, 640), (1280, 900)):
        resized(page, width, height)
        settle(page)
        box = by_id(page, "pad").rect
        assert box["width"] == pytest.approx(box["height"], abs=1)
        assert 100 < box["height"] <= 0.7 * height + 1
        assert box["width"] <= width


def send(driver, name: str, *events: tuple[str, dict]) -> list[bool]:
    """Dispatch events to an element or, with "", to the window; whether each was let pass."""
    return driver.execute_script(
        "const [name, events] = arguments;"
        "const to = name ? document.querySelector(name) : window;"
        "return events.map(([type, given]) => {"
        "  const kind = type.startsWith('key') ? KeyboardEvent : type === 'resize' ? Event : PointerEvent;"
        "  const box = name ? to.getBoundingClientRect() : { left: 0, top: 0, width: 0, height: 0 };"
        "  const at = given.at ?? [0.5, 0.5];"
        "  const place = { clientX: box.left + at[0] * box.width, clientY: box.top + at[1] * box.height };"
        "  const shared = { bubbles: true, cancelable: true, pointerId: 1, button: 0, buttons: 1 };"
        "  return to.dispatchEvent(new kind(type, { ...shared, ...place, ...given })); });",
        name, [list(event) for event in events],
    )  # fmt: skip


def points(driver) -> list[int]:
    return driver.execute_script("return pad.strokes.map((stroke) => stroke.points.length)")


def test_a_stroke_ends_however_the_pointer_is_lost(page):
    page.execute_script("HTMLElement.prototype.setPointerCapture = () => {}")  # no pointer is real here
    down, on = ("pointerdown", {"at": [0.3, 0.3]}), ("pointermove", {"at": [0.5, 0.4]})
    for end in ("pointerup", "pointercancel", "lostpointercapture", "outside", "resize"):
        page.execute_script("clearPad()")
        send(page, "#pad", down, on)
        assert points(page) == [2], end
        event = ("pointermove", {"buttons": 0}) if end == "outside" else (end, {})
        send(page, "" if end == "resize" else "#pad", event)
        send(page, "#pad", ("pointermove", {"at": [0.9, 0.9]}))
        assert points(page) == [2], end
        send(page, "#pad", down, on)
        assert points(page) == [2, 2], end
        send(page, "#pad", ("pointerup", {}))


def test_keys_of_the_browser_are_left_to_it(page):
    page.execute_script("document.querySelectorAll('#tiles .tile')[0].focus()")
    for held in ("ctrlKey", "altKey", "metaKey"):
        for name in ("#pad", "#mosaic", "#tiles", "#t", "#offset-3"):
            keys = (("keydown", {"key": key, held: True}) for key in ("ArrowLeft", "End"))
            assert send(page, name, *keys) == [True, True], (held, name)
    assert send(page, "#tiles", ("keydown", {"key": "ArrowRight"})) == [False]


def test_the_mosaic_is_walked_and_opened_by_keys(page):
    mosaic = page.execute_script("return document.querySelector('#mosaic')")
    page.execute_script("arguments[0].focus()", mosaic)
    status = by_id(page, "mosaic-status")
    send(page, "#mosaic", ("keydown", {"key": "ArrowRight"}))
    assert status.get_attribute("textContent").startswith("Digit 2 of ")
    send(page, "#mosaic", ("keydown", {"key": "ArrowLeft"}), ("keydown", {"key": "ArrowLeft"}))
    first = status.get_attribute("textContent")
    assert first.startswith("Digit 1 of ")  # there is none before it
    send(page, "#mosaic", ("keydown", {"key": "Enter"}))
    settle(page)
    label = first.partition(": ")[2].partition(",")[0]
    assert page.execute_script("return pad.from").startswith(f"a {label} of the test set")


def test_what_the_bias_does_is_said_with_the_class_never_seen(page, small):
    found = about_of(small[0])["results"]
    before, after = (found[f"{when}_correction"] for when in ("before", "after"))
    said = by_id(page, "bias-summary").get_attribute("textContent")
    assert f": {before['test_errors']} → {after['test_errors']} errors on " in said
    assert f", {before['omitted_errors']} → {after['omitted_errors']} of them on 3s, at" in said


def test_only_what_changes_neither_errors_in_all_nor_those_on_the_unseen_is_hardly_needed(page):
    for before, after, hardly in (
        ((60, 7), (64, 6), True), ((182, 36), (189, 11), False),
        ((160, 44), (158, 43), True), ((160, 44), (120, 43), False),
    ):  # fmt: skip
        page.execute_script(
            "const [before, after] = arguments[0].map(([all, unseen]) => ({ all, unseen }));"
            "window.errorsOf = () => after; bias.trained = before; bias.sayHowMuch()", [before, after]
        )  # fmt: skip
        said = by_id(page, "bias-summary").get_attribute("textContent")
        assert ("hardly needs it" in said) == hardly, (before, after)


def test_the_tour_leaves_out_what_is_not_shown(page):
    page.execute_script("document.getElementById('learn').hidden = true")
    by_id(page, "tour-start").click()
    assert by_id(page, "tour-text").text.startswith("1 of 5")
    for step in range(2, 6):
        by_id(page, "tour-next").click()
        assert by_id(page, "tour").is_displayed()
        assert by_id(page, "tour-text").text.startswith(f"{step} of 5")
