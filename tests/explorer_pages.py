"""Pages of the explorer for tests, and ways to run JavaScript on them: Node or a browser."""

from __future__ import annotations

from support.console import Console

import atexit
import base64
import gzip
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import distillation_mnist_omitted_3 as core
import make_distillation_mnist_omitted_3_explorer as script

ROOT = Path(__file__).resolve().parent.parent
COMMITTED = ROOT / "viz" / "explorer.html"
SMALL = (
    *("--dataset", "rendered", "--recipe", "fast", "--n-epochs-teacher", "4", "--n-epochs-student", "6"),
    *("--teacher-hidden", "100", "--student-hidden", "80", "60", "--quiet"),
)
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def made_page(folder: Path, *flags: object) -> Path:
    """The page of a small run on rendered digits."""
    path = folder / "explorer.html"
    where = ("--cache-dir", folder / "cache", "--outdir", folder / "out", "--out", path)
    script.main([*SMALL, *map(str, where), *map(str, flags)])
    return path


def trained_logits(experiment: core.Experiment) -> list[np.ndarray]:
    """Test logits (n_test, 10) of a page's networks, unrounded: teacher, student, that of labels alone."""
    control, _ = script.control_student(experiment, Console(quiet=True))
    return [one.test_logits[-1] for one in (experiment.teacher, experiment.student, control)]


def about_of(page: Path) -> dict[str, Any]:
    """What the page knows beside its arrays."""
    return json.loads(part(page.read_text("utf-8"), "about"))


def part(text: str, name: str) -> str:
    return re.search(rf'<script type="[\w/]+" id="{name}">(.*?)</script>', text, re.S)[1]


def arrays_of(page: Path) -> dict[str, np.ndarray]:
    """The page's arrays, flat, read without the project's code."""
    text = page.read_text("utf-8")
    content, start, found = gzip.decompress(base64.b64decode(part(text, "arrays"))), 0, {}
    for name, dtype, length in about_of(page)["arrays"]:
        found[name] = np.frombuffer(content, dtype, length, start)
        start += found[name].nbytes
    assert start == len(content)
    return found


def rounded_network(arrays: dict[str, np.ndarray], about: dict[str, Any]) -> core.MLP:
    """The network that a page holds, put together from its arrays by hand."""
    network = core.MLP(about["sizes"], None)
    network.background = about["background"]
    for index, layer in enumerate(network.layers):
        integers, scales, biases = (
            arrays[f"{about['key']}/{index}/{name}"] for name in ("integers", "scales", "biases")
        )
        layer[:, :-1] = integers.reshape(len(biases), -1) * scales[:, None]
        layer[:, -1] = biases
    return network


def without(what: str) -> None:
    """Skip, aloud; but fail where the tests must not be skipped, as in CI."""
    if os.environ.get("EXPLORER_TESTS") == "required":
        pytest.fail(f"EXPLORER_TESTS=required, but there is no {what}")
    pytest.skip(f"there is no {what}: apt-get install chromium chromium-driver")


def run_js(page: Path, code: str, given: Any = None) -> Any:
    """What `code` returns, the body of a function of `page` ({about, arrays, networks}) and `given`.

    In Node where there is one, otherwise in the browser.
    """
    if node := shutil.which("node"):
        asked = json.dumps({"code": code, "given": given})
        done = subprocess.run(
            [node, ROOT / "tests" / "explorer" / "in_node.js", page],
            input=asked, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)
    driver = shared_browser()
    if driver.current_url != page.resolve().as_uri():
        opened(driver, page)
    body = f"const f = async (page, given) => {{{code}}};"
    return driver.execute_async_script(body + "f(window.explorer, arguments[0]).then(arguments[1])", given)


@cache
def shared_browser() -> Any:
    """One for all code that would rather run in Node."""
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(browser())


@contextmanager
def browser(width: int = 1280, height: int = 900, dark: bool = False) -> Iterator[Any]:
    """Chromium without a window; skips aloud where there is none."""
    try:
        from selenium import webdriver
        from selenium.webdriver.chrome.options import Options
        from selenium.webdriver.chrome.service import Service
    except ImportError:
        without("selenium")
    binary = next(filter(None, map(shutil.which, BROWSERS)), None)
    chromedriver = shutil.which("chromedriver")
    if not (binary and chromedriver):
        without("Chromium with its driver")
    options = Options()
    options.binary_location = binary
    for flag in ("headless=new", "no-sandbox", "disable-gpu", "hide-scrollbars", "disable-dev-shm-usage"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(chromedriver))
    try:
        resized(driver, width, height)
        wanted = {"prefers-color-scheme": "dark" if dark else "light", "prefers-reduced-motion": "reduce"}
        features = [{"name": name, "value": value} for name, value in wanted.items()]
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        yield driver
    finally:
        driver.quit()


def resized(driver: Any, width: int, height: int) -> None:
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def opened(driver: Any, page: Path) -> None:
    """Open the page and wait until it is ready."""
    driver.get(page.resolve().as_uri())
    until(driver, "return document.documentElement.dataset.ready === 'true'")


def until(driver: Any, condition: str, seconds: float = 30) -> None:
    """Wait until a condition in JavaScript holds."""
    end = time.monotonic() + seconds
    while not driver.execute_script(condition):
        assert time.monotonic() < end, condition
        time.sleep(0.05)


def wrong_on_the_console(driver: Any) -> list[str]:
    return [entry["message"] for entry in driver.get_log("browser")]


def by_id(driver: Any, name: str) -> Any:
    return driver.find_element("id", name)


def draw(driver: Any, points: Sequence[tuple[float, float]], clear: bool = True) -> None:
    """Draw one stroke by mouse events, as fast as a hand does."""
    from selenium.webdriver.common.action_chains import ActionChains

    if clear:
        by_id(driver, "clear").click()
    pad = by_id(driver, "pad")
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", pad)
    side = pad.size["width"]
    places = [((x - 14) * side / 28, (y - 14) * side / 28) for x, y in points]
    actions = ActionChains(driver, duration=20)
    actions.move_to_element_with_offset(pad, *map(round, places[0])).click_and_hold()
    for place in places[1:]:
        actions.move_to_element_with_offset(pad, *map(round, place))
    actions.release().perform()
    settle(driver)


def slide(driver: Any, name: str, value: float) -> None:
    """Move a slider as its thumb does."""
    driver.execute_script(
        "const [id, value] = arguments; const slider = document.getElementById(id); slider.value = value;"
        "slider.dispatchEvent(new Event('input', {bubbles: true}))",
        name, value,
    )  # fmt: skip
    settle(driver)


def settle(driver: Any) -> None:
    """Wait for two frames: what was asked for is painted."""
    driver.execute_async_script(
        "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(done))"
    )
