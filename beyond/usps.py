"""USPS: 9,298 digits from envelopes of the U.S. Postal Service, by other people than MNIST's.

Le Cun et al. (1990), "Handwritten digit recognition with a back-propagation network"; in the form that the
web site of *The Elements of Statistical Learning* (Hastie, Tibshirani & Friedman) offers: text, one image a
line, the digit and then 256 grey values from -1 (paper) to 1 (ink) to three decimals, 16 rows of 16.
"""

from __future__ import annotations

from support.centring import centred
from support.console import Console, UserError
from support.data import Data, digests
from support.download import Remote, cached, read_folder, uncompress

from collections.abc import Sequence
from pathlib import Path

import numpy as np

SIDE = 16
MIRRORS = (
    "https://hastie.su.domains/ElemStatLearn/datasets/",
    "https://web.stanford.edu/~hastie/ElemStatLearn/datasets/",
)
# SHA-256 of each file's content, uncompressed.
USPS_SHA256 = {
    "zip.train": "abc9f5c75b997cabe66b5d01727d5a681c69298e1641a8d37b55433a52129dc0",
    "zip.test": "6bde17b4f1cd68e0630cd2751d6495b5795d9165ab2dc4a0be8b7002b732f4cc",
}
MAX_USPS_BYTES = 32 * 2**20  # zip.train has 15 MB


def usps_file(name: str, flag: str) -> Remote[bytes]:
    """One of the two files as the mirrors hold it, compressed; what is in it is held to its SHA-256."""

    def check(sent: bytes) -> bytes:
        plain = uncompress(sent, MAX_USPS_BYTES)
        if digests({name: plain})[name] != USPS_SHA256[name]:
            raise ValueError("wrong SHA-256")
        return plain

    return Remote(f"{name}.gz", check, MAX_USPS_BYTES, flag)


def parsed(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (n, 16, 16) and labels uint8 (n,) in the content of one file, of the right SHA-256.

    -1 becomes 0 and 1 becomes 255; what lies between is rounded, from whole thousandths.
    """
    values = np.array([line.split() for line in content.decode().splitlines()], np.float64)
    thousandths = np.rint(1000 * values[:, 1:]).astype(np.int64)
    pixels = (255 * (thousandths + 1000) + 1000) // 2000
    return pixels.reshape(-1, SIDE, SIDE).astype(np.uint8), values[:, 0].astype(np.uint8)


def data_from_usps(contents: dict[str, bytes]) -> Data:
    """The images of both files in the form of MNIST's, (n, 28, 28)."""
    parts: list[np.ndarray] = []
    for name in USPS_SHA256:
        images, labels = parsed(contents[name])
        parts += [np.stack([centred(image) for image in images]), labels]
    return Data("USPS", *parts, digests(contents))


def load_usps(
    folder: Path | None,
    cache: Path,
    console: Console,
    mirrors: Sequence[str] = MIRRORS,
    flag: str = "--usps-dir",
) -> Data:
    """USPS from `folder`, which the user named by `flag`, or without one from the cache or a mirror.

    Raises UserError when it cannot be had or is something else.
    """
    if folder is None:
        files = {name: usps_file(name, flag) for name in USPS_SHA256}
        return data_from_usps({name: cached(cache, mirrors, file, console) for name, file in files.items()})
    contents = read_folder(folder, tuple(USPS_SHA256), MAX_USPS_BYTES, flag)
    for name, found in digests(contents).items():
        if found != USPS_SHA256[name]:
            raise UserError(f"{flag} {folder}: by its SHA-256, {name} there is not USPS's; fetch it again")
    return data_from_usps(contents)
