"""Small data for all tests, and a server on loopback that misbehaves on request."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import os
import signal
import threading
import time
from pathlib import Path

# Before NumPy is imported: threads for which OpenBLAS has no work sleep at once, and slow no other test.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in the background, where children would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

import numpy as np
import pytest
from idx_files import idx_bytes

import distillation_mnist_omitted_3 as core
from beyond import pipeline
from synthetic import digits


@pytest.fixture(scope="session")
def small_digits() -> tuple[np.ndarray, ...]:
    """600 + 300 rendered digits: training images and labels, test images and labels."""
    return digits.render_dataset(600, 300, seed=7)


@pytest.fixture
def small_is_drawn(small_digits: tuple[np.ndarray, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """These take the place of the 25,000 digits that are drawn where there is no MNIST."""
    monkeypatch.setattr(digits, "render_dataset", lambda: small_digits)


@pytest.fixture(scope="session")
def small_files(small_digits: tuple[np.ndarray, ...]) -> dict[str, bytes]:
    """Four small IDX files of these, uncompressed, by MNIST's file names."""
    return {name: idx_bytes(array) for name, array in zip(core.MNIST_SHA256, small_digits, strict=True)}


@pytest.fixture(scope="session")
def compressed(small_files: dict[str, bytes]) -> dict[str, bytes]:
    """The same, as a mirror has them."""
    return {name: gzip.compress(content) for name, content in small_files.items()}


@pytest.fixture(scope="session")
def small_folder(
    small_files: dict[str, bytes], compressed: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder for --data-dir: one file plain, three compressed."""
    folder = tmp_path_factory.mktemp("idx")
    for index, (name, content) in enumerate(small_files.items()):
        if index == 1:
            (folder / name).write_bytes(content)
        else:
            (folder / f"{name}.gz").write_bytes(compressed[name])
    return folder


@pytest.fixture
def small_is_mnist(small_files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Make the loader take the small files for the real ones."""
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in small_files.items()}
    monkeypatch.setattr(core, "MNIST_SHA256", sums)
    return sums


@pytest.fixture(scope="session")
def small_data(small_files: dict[str, bytes]) -> core.Data:
    return core.data_from_idx(small_files)


@pytest.fixture(scope="session")
def explorer_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, core.Experiment]:
    """The explorer's page of a small run on 8,000 + 2,000 rendered digits, and that run."""
    from explorer_pages import made_page

    made, run, drawn = [], pipeline.run, digits.render_dataset(8000, 2000)

    def keeping(*given) -> core.Experiment:
        made.append(run(*given))
        return made[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "run", keeping)
        patch.setattr(digits, "render_dataset", lambda: drawn)
        page = made_page(tmp_path_factory.mktemp("explorer"))
    return page, made[0]


@pytest.fixture(autouse=True)
def signals_stay_as_they_are():
    """Whatever a script that ended in this process did to them: children would inherit it."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def workers():
    with core.Workers() as pool:
        yield pool


class Mirror:
    """A server on loopback; `behaviour` says what each request gets, `requests` what was asked for."""

    def __init__(self, files: dict[str, bytes], compressed: dict[str, bytes]) -> None:
        self.behaviour, self.redirect_to = "right", ""
        self.requests: list[str] = []
        mirror = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                mirror.requests.append(self.path)
                folder, _, file_name = self.path.strip("/").rpartition("/")
                name = file_name.removesuffix(".gz")
                whole, plain = compressed[name], files[name]
                half = whole[: len(whole) // 2]
                replies = {
                    "redirect": self.redirect,
                    "403": lambda: self.send_error(403),
                    "escape": lambda: self.send_error(503, "\x1b[2J\x1b[31mred"),  # in the status line
                    "html": lambda: self.reply(b"<html><body>Service Unavailable</body></html>"),
                    "flipped": lambda: self.reply(gzip.compress(plain[:-1] + bytes([plain[-1] ^ 1]))),
                    "cut": lambda: self.reply(half, len(whole)),  # ends before the announced length
                    "short": lambda: self.reply(half),  # a truncated file, honestly announced
                    "stall": lambda: (self.reply(whole[:100], len(whole)), time.sleep(4)),
                    "silent": lambda: time.sleep(4),
                    "drip": self.drip,
                }
                replies.get(folder or mirror.behaviour, lambda: self.reply(whole))()

            def reply(self, body: bytes, length: int | None = None) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(body) if length is None else length))
                self.end_headers()
                self.wfile.write(body)

            def redirect(self) -> None:
                self.send_response(302)
                self.send_header("Location", mirror.redirect_to)
                self.end_headers()

            def drip(self) -> None:
                """A byte every few milliseconds, for ever."""
                self.send_response(200)
                self.end_headers()
                for _ in range(5000):
                    self.wfile.write(b"x")
                    time.sleep(0.002)

            def log_message(self, *_: object) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:  # a client that hung up is part of the test
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def url(self, behaviour: str = "") -> str:
        return f"http://127.0.0.1:{self.server.server_port}/{behaviour}"


@pytest.fixture
def mirror(small_files: dict[str, bytes], compressed: dict[str, bytes]):
    served = Mirror(small_files, compressed)
    yield served
    served.server.shutdown()
    served.server.server_close()
