"""The explorer's two pictures: PYTHONPATH=.:tests python3 tests/explorer/explorer_screenshots.py"""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from explorer_pages import COMMITTED, browser, opened, resized, until

WIDTH = 1280
CANVAS = 800  # height as far as what the networks say

# a 3 as a hand draws it: [x, y] on the canvas, 28 units wide
BOW = [(8.2, 7.4), (9.6, 5.4), (12, 4.3), (14.8, 4.4), (16.9, 5.9), (17.2, 8.2), (15.9, 10.4), (13.6, 11.9),
       (12.4, 12.4), (14.4, 12.6), (16.8, 13.9), (18.3, 16.2), (18.2, 19.2), (16.4, 21.9), (13.4, 23.2),
       (10.2, 23), (7.6, 21.4)]  # fmt: skip


def rounded(points: list, n: int = 6) -> list:
    """A Catmull-Rom spline through `points`, n steps from one to the next."""
    p = np.array([points[0], *points, points[-1]], float)
    t = np.linspace(0, 1, n, endpoint=False)[:, None]
    spans = [
        b + t * (c - a) / 2 + t**2 * (a - 2.5 * b + 2 * c - d / 2) + t**3 * (1.5 * (b - c) + (d - a) / 2)
        for a, b, c, d in zip(p, p[1:], p[2:], p[3:], strict=False)
    ]
    return np.concatenate(spans).tolist()


def picture(driver: Any, name: str, part: str = "") -> None:
    """The top of the page or, from its heading to its end, a section."""
    resized(driver, WIDTH, CANVAS)
    driver.execute_async_script("scrollTo(0, 0); setTimeout(arguments[0], 500)")
    clip = {"x": 0, "y": 0, "width": WIDTH, "height": CANVAS, "scale": 1}
    if part:
        clip["y"], clip["height"] = driver.execute_script(
            "const box = document.querySelector(arguments[0]).getBoundingClientRect();"
            "return [box.top + scrollY, box.height]", part,
        )  # fmt: skip
    asked = {"format": "png", "clip": clip, "captureBeyondViewport": True}
    shot = driver.execute_cdp_cmd("Page.captureScreenshot", asked)
    (COMMITTED.parent / name).write_bytes(base64.b64decode(shot["data"]))


def main() -> None:
    with browser(WIDTH) as driver:
        opened(driver, COMMITTED)
        driver.execute_script(
            "clearPad(); pad.strokes.push({erase: false, points: arguments[0]}); update()", rounded(BOW)
        )
        picture(driver, "explorer_light.png")
    with browser(WIDTH, dark=True) as driver:
        opened(driver, COMMITTED)
        driver.execute_script("learning.train()")
        until(driver, "return learning.worker === null", 600)
        picture(driver, "explorer_dark.png", "#learn")


if __name__ == "__main__":
    main()
