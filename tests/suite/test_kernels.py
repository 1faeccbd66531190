"""The same bits whatever computes: threads, cores, and every kernel of the BLAS that this processor runs."""

from __future__ import annotations

from support.tiles import blas_function, blas_kernel

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_cifar10 import write_batches

from synthetic import digits, noise
from synthetic.exact import coarse

ROOT = Path(__file__).resolve().parents[2]
NEEDS = {  # what a processor must have for OpenBLAS's kernels
    "Nehalem": {"sse4_2"}, "Sandybridge": {"avx"}, "Haswell": {"avx2", "fma"},
    "SkylakeX": {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd"},
}  # fmt: skip
IN_BITS = [  # that no number of threads, and no way that answers took, changes a bit
    "tests/core/test_network.py", "tests/cifar10/test_cifar10.py", "tests/suite/test_kernels.py",
    "tests/beyond/test_transfer.py", "tests/beyond/test_corruptions.py",
    "tests/cifar10/test_cifar10_network.py",
]  # fmt: skip
needs_openblas = pytest.mark.skipif(not blas_kernel(), reason="the BLAS here has no kernels to choose from")


def kernels() -> list[str]:
    """Those that this processor can run, but for the one that it runs now."""
    try:
        flags = set(Path("/proc/cpuinfo").read_text().partition("flags")[2].splitlines()[0].split())
    except (OSError, IndexError):
        flags = set()
    return [name for name, needed in NEEDS.items() if needed <= flags and name != blas_kernel()]


@needs_openblas
@pytest.mark.parametrize("kernel", kernels())
def test_the_tests_of_bits_pass_with_every_kernel(kernel):
    environment = {**os.environ, "OPENBLAS_CORETYPE": kernel}
    words = ["-m", "bits", "--assert=plain", "-p", "no:cacheprovider", "-p", "no:xdist", *IN_BITS]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", *words], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout[-3000:]


@pytest.mark.bits
def test_the_kernel_in_use_is_the_one_that_was_asked_for():
    wanted = os.environ.get("OPENBLAS_CORETYPE", "")
    assert bool(blas_kernel()) == (blas_function("get_corename") is not None)
    if wanted:
        assert blas_kernel().lower() == wanted.lower()


# drawn images


@pytest.mark.bits
def test_the_first_thousand_digits_are_these_on_every_machine():
    images, labels = digits.render_digits(1000, np.random.default_rng(0))
    assert hashlib.sha256(images.tobytes()).hexdigest().startswith("c06dea43607b8a17")
    assert hashlib.sha256(labels.tobytes()).hexdigest().startswith("676e3c72418a7ab9")


@pytest.mark.bits
@pytest.mark.parametrize(
    ("kind", "digest"),
    [
        ("contours", "8727d2c215344bef"), ("lines", "eb67ffd0240e6ffb"), ("blobs", "1072849eef96f3b6"),
        ("patches", "efeb0807d4ec5cce"), ("noise", "fe0f89c43edd3214"),
    ],
)  # fmt: skip
def test_the_first_thousand_noisy_images_are_these_on_every_machine(kind, digest):
    images = noise.DRAW[kind](1000, np.random.default_rng(0))
    assert hashlib.sha256(images.tobytes()).hexdigest().startswith(digest)


def test_sums_of_coarse_numbers_are_exact():
    """In whole numbers, which Python adds without end; and in another order."""
    rng = np.random.default_rng(0)
    a, b, c = (coarse(rng.normal(0, scale, (28, 28)), 14) for scale in (0.3, 1.0, 0.3))
    whole = [(x * 2**14).astype(int).astype(object) for x in (a, b, c)]
    assert ((whole[0] @ whole[1] @ whole[2]) == ((a @ b @ c) * 2.0**42).astype(object)).all()
    order = rng.permutation(28)
    assert ((a[:, order] @ b[order]) == a @ b).all()
    assert np.abs(a - coarse(a, 3)).max() <= 1 / 16


# threads and cores


MNIST = (
    "distillation_mnist_omitted_3.py --n-epochs-teacher 2 --n-epochs-student 2 --teacher-hidden 500 410 "
    "--student-hidden 410 --batch-size 100 --dropout 0.1 --elastic-student 1 --jitter 1 --max-norm 3"
)
CIFAR10 = (
    "-m cifar10 --n-epochs-teacher 1 --n-epochs-student 1 --teacher-channels 8 M 12 --student-channels 6 M 4 "
    "--n-versions 2 --batch-size 100 --transfer-fraction 0.5 --omitted-class cat"
)


def results_of(command: str, threads: str, on_one_core: bool, data: Path, folder: Path) -> dict:
    """What results.json says, but for times and for how many threads there were."""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": threads, "PYTHONPATH": str(ROOT)}
    if not threads:
        del environment["OPENBLAS_NUM_THREADS"]
    places = ["--data-dir", data, "--cache-dir", folder, "--outdir", folder, "--quiet"]
    first, *flags = command.split()
    subprocess.run(
        [sys.executable, first if first == "-m" else ROOT / first, *flags, *places],
        cwd=folder, env=environment, check=True, capture_output=True,
        preexec_fn=(lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})) if on_one_core else None,
    )  # fmt: skip
    found = json.loads((folder / "results.json").read_text())
    for part in ("wall_clock_seconds", "environment", "config"):
        del found[part]
    for network in found.get("networks", {}).values():
        for name in [name for name in network if name.startswith("milliseconds")]:
            del network[name]
    for entries in found["history"].values():
        for entry in entries:
            del entry["seconds"]
    return found


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs processor affinity")
@pytest.mark.parametrize("command", [MNIST, CIFAR10], ids=["mnist", "cifar10"])
def test_one_thread_two_threads_and_one_core_give_the_same_results(command, small_folder, tmp_path):
    data = small_folder if command == MNIST else write_batches(tmp_path / "batches")
    found = []
    for name, threads, on_one_core in (("one", "1", False), ("two", "2", False), ("core", "", True)):
        (tmp_path / name).mkdir()
        found.append(results_of(command, threads, on_one_core, data, tmp_path / name))
    assert found[0] == found[1] == found[2]
