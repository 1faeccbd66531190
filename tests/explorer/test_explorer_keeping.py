"""What the visitor drew before, the drawing as a picture, the brush; high contrast and paper."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from explorer_pages import by_id, draw, settle, slide
from PIL import Image
from test_explorer_browser import THREE, said

ONE, LINE = [(14, 5), (14, 14), (14, 23)], [(6, 14), (14, 14), (22, 14)]
KEPT = "#history-list .kept"


def pixels(driver) -> np.ndarray:
    """What the networks see."""
    return np.array(driver.execute_script("return Array.from(pad.pixels)")).reshape(28, 28)


def kept(driver) -> list:
    return driver.find_elements("css selector", KEPT)


def test_what_was_drawn_before_comes_back_as_it_was(page):
    assert kept(page) == []
    by_id(page, "theme").click()  # which paints everything anew
    by_id(page, "theme").click()
    assert not by_id(page, "history").is_displayed()
    draw(page, THREE)
    three, of_three = pixels(page), said(page)
    draw(page, ONE)  # clears first, which keeps the 3
    one = pixels(page)
    (button,) = kept(page)
    label = button.get_attribute("aria-label")
    guesses = [word.split()[-1] for word in label.partition(": ")[2].split(", ")]
    assert guesses == list(of_three.values())
    shown = page.execute_script(
        "const c = arguments[0].querySelector('canvas');"
        "return Array.from(c.getContext('2d').getImageData(0, 0, 28, 28).data)", button
    )  # fmt: skip
    np.testing.assert_allclose(np.reshape(shown, (28, 28, 4))[..., 3] / 255, three, atol=1 / 255)
    button.click()
    settle(page)
    np.testing.assert_array_equal(pixels(page), three)
    assert said(page) == of_three
    newest, oldest = kept(page)  # the 1 was kept as the 3 came back
    assert oldest.get_attribute("aria-label") == label
    newest.click()
    settle(page)
    np.testing.assert_array_equal(pixels(page), one)
    assert len(kept(page)) == 2  # neither a second time


def test_the_twelve_last_drawings_are_kept(page):
    for x in range(14):
        draw(page, [(8 + x / 2, 5), (8 + x / 2, 14), (8 + x / 2 + 4, 23)])
    assert len(kept(page)) == 12
    assert kept(page)[0].get_attribute("aria-label").startswith("Drawing 12:")


def test_the_saved_picture_shows_the_drawing_and_its_pixels(page):
    assert not by_id(page, "save").is_enabled()  # nothing drawn is nothing to save
    draw(page, THREE)
    seen = pixels(page)
    page.execute_script(
        "HTMLAnchorElement.prototype.click = function () { window.saved = fetch(this.href)"
        ".then((answer) => answer.blob()).then((blob) => [this.download, blob]); }"
    )
    by_id(page, "save").click()
    name, url = page.execute_async_script(
        "const done = arguments[0];"
        "const wait = () => !window.saved ? setTimeout(wait, 20) : window.saved.then(([name, blob]) => {"
        "  const reader = new FileReader(); reader.onload = () => done([name, reader.result]);"
        "  reader.readAsDataURL(blob); }); wait();"
    )
    assert name == "drawing.png"
    image = np.array(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("L"), float)
    paper, ink = image[2, 2], image[:, :].min()
    small = image[28:140, 392:504]  # four by four for each pixel
    share = ((paper - small) / (paper - ink)).reshape(28, 4, 28, 4).mean(axis=(1, 3))
    assert np.abs(share - seen).max() < 0.03
    drawn = (paper - image[28:364, 28:364]) / (paper - ink)
    assert 0.03 < drawn.mean() < 0.4


def test_the_brush_is_as_wide_as_it_says(page):
    pen = 2 * 1.35  # pixels, as MNIST's digits have it
    for width in (0.6, 1, 1.6):
        slide(page, "brush", width)
        draw(page, LINE)
        assert pixels(page)[:, 12:16].sum(axis=0).mean() == pytest.approx(width * pen, rel=0.02)


@pytest.fixture
def emulated(page):
    def emulate(media: str = "", **features: str) -> None:
        wanted = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": wanted})
        settle(page)

    yield emulate
    emulate(prefers_color_scheme="light", prefers_reduced_motion="reduce", forced_colors="none")


def style(driver, name: str, what: str) -> str:
    return driver.execute_script(
        "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]", name, what
    )


def test_forced_colours_leave_the_digit_bars_and_pressed_buttons_to_be_seen(page, emulated):
    emulated(forced_colors="active", prefers_reduced_motion="reduce")
    assert page.execute_script("return matchMedia('(forced-colors: active)').matches")
    for name in ("#pad", "#small", ".bars .bar", "#history-list"):
        there = page.execute_script("return !!document.querySelector(arguments[0])", name)
        assert there
    for name in ("#pad", "#small", ".bars .bar"):
        assert style(page, name, "forcedColorAdjust") == "none", name
    pressed, other = (style(page, f"#{name}", "backgroundColor") for name in ("pen", "eraser"))
    highlight = page.execute_script(
        "const one = document.createElement('p'); one.style.background = 'Highlight';"
        "document.body.append(one); const found = getComputedStyle(one).backgroundColor; one.remove();"
        "return found"
    )
    assert pressed == highlight != other
    by_id(page, "eraser").click()
    settle(page)
    assert style(page, "#eraser", "backgroundColor") == pressed
    assert style(page, "#pen", "backgroundColor") == other


def test_on_paper_stand_no_controls_and_all_of_every_list(page, emulated):
    hidden = (".tools", ".buttons", ".controls", "input[type='range']")
    assert "none" not in [style(page, name, "display") for name in hidden]
    emulated("print", prefers_reduced_motion="reduce")
    assert [style(page, name, "display") for name in hidden] == ["none"] * len(hidden)
    assert style(page, ".bars .bar", "printColorAdjust") == "exact"  # a bar is a background
    assert style(page, ".scroll", "maxHeight") == "none"
    assert style(page, ".card", "breakInside") == "avoid"
