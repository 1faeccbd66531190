"""Small data in CIFAR-10's form, and a small network, for the tests of cifar10/."""

from __future__ import annotations

from support.data import Data

import io
import tarfile
from functools import cache
from pathlib import Path

import numpy as np

from cifar10.data import MEMBER_FOLDER, MEMBERS, data_from_batches
from cifar10.network import ConvNet
from synthetic import shapes

CHANNELS = ("4", "M", "6", "M", "5")


@cache
def batches(n_train: int = 300, n_test: int = 100) -> dict[str, bytes]:
    """Six small batches of drawn shapes in CIFAR-10's layout."""
    images, labels, test_images, test_labels = shapes.render_dataset(n_train, n_test, seed=3)
    parts = [(images[i::5], labels[i::5]) for i in range(5)] + [(test_images, test_labels)]
    return {
        name: np.column_stack((y, x.reshape(len(x), -1))).astype(np.uint8).tobytes()
        for name, (x, y) in zip(MEMBERS, parts, strict=True)
    }


@cache
def small_data() -> Data:
    return data_from_batches(batches(), "CIFAR-10 variant")


def write_batches(folder: Path, *sizes: int) -> Path:
    """A folder for --data-dir."""
    folder.mkdir(exist_ok=True)
    for name, content in batches(*sizes).items():
        (folder / name).write_bytes(content)
    return folder


def archive_of(contents: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def in_folder(contents: dict[str, bytes]) -> dict[str, bytes]:
    return {f"{MEMBER_FOLDER}/{name}": content for name, content in contents.items()}


def random_network(dtype: type = np.float64, channels: tuple[str, ...] = CHANNELS) -> ConvNet:
    """A small network without any zero that would hide a mistake."""
    rng = np.random.default_rng(0)
    network = ConvNet(channels, rng, dtype)
    network.linear[:] = 4 * rng.standard_normal(network.linear.shape)
    network.whitening.kernels[:] = rng.standard_normal(network.whitening.kernels.shape)
    for block in network.blocks:
        block.scale[:] = rng.uniform(0.5, 1.5, block.scale.shape)
        block.shift[:] = 0.3 * rng.standard_normal(block.shift.shape)
        block.running_mean[:] = 0.1 * rng.standard_normal(block.running_mean.shape)
        block.running_variance[:] = rng.uniform(0.5, 2, block.running_variance.shape)
    return network


def random_batch(n: int = 6, side: int = 33) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (n, 3, side, side), by default as a network takes them, and labels (n,)."""
    rng = np.random.default_rng(1)
    return rng.integers(0, 256, (n, 3, side, side), dtype=np.uint8), rng.integers(0, 10, n)
