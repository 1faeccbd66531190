"""The convolutional network, its layers and training, and the reading of CIFAR-10."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

import distillation_cifar10 as cifar
import distillation_mnist_omitted_3 as core
import rendered_shapes
from suite_io import Console, UserError

ROOT = Path(__file__).resolve().parent.parent
CHANNELS = ("4", "M", "6", "M", "5")
TINY = ("--teacher-channels", 6, "M", 8, "M", 8, "--student-channels", 3, "M", 4, "M", 4)
TINY += ("--n-epochs-teacher", 2, "--n-epochs-student", 2, "--batch-size", 50, "--learning-rate", 0.05)
TINY += ("--batch-size-student", 50)


@pytest.fixture(scope="session")
def batches() -> dict[str, bytes]:
    """Six small batches of drawn shapes in CIFAR-10's layout."""
    images, labels, test_images, test_labels = rendered_shapes.render_dataset(300, 100, seed=3)
    parts = [(images[i::5], labels[i::5]) for i in range(5)] + [(test_images, test_labels)]
    return {
        name: np.column_stack((y, x.reshape(len(x), -1))).astype(np.uint8).tobytes()
        for name, (x, y) in zip(cifar.MEMBERS, parts, strict=True)
    }


@pytest.fixture(scope="session")
def folder(batches, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("cifar") / "cifar-10-batches-bin"
    path.mkdir()
    for name, content in batches.items():
        (path / name).write_bytes(content)
    return path


def archive_of(contents: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def in_folder(contents: dict[str, bytes]) -> dict[str, bytes]:
    return {f"cifar-10-batches-bin/{name}": content for name, content in contents.items()}


def random_network(dtype=np.float64) -> cifar.ConvNet:
    """A small network without any zero that would hide a mistake."""
    rng = np.random.default_rng(0)
    network = cifar.ConvNet(CHANNELS, rng, dtype)
    network.linear[:] = 4 * rng.standard_normal(network.linear.shape)
    for block in network.blocks:
        block.scale[:] = rng.uniform(0.5, 1.5, block.scale.shape)
        block.shift[:] = 0.3 * rng.standard_normal(block.shift.shape)
    return network


def random_batch(n: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    return rng.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8), rng.integers(0, 10, n)


def loss_and_gradient(network, images, labels, workers) -> tuple[float, np.ndarray, np.ndarray]:
    cifar.fill_inputs(network.inputs(len(images)), images)
    logits = network.forward(workers, training=True)
    value, gradient = core.cross_entropy(logits, labels)
    return value, logits, network.backward(gradient, workers)


# layers


def test_convolution_against_a_direct_loop(workers):
    rng = np.random.default_rng(0)
    height, width, n_from, n_to, n_images = 4, 5, 3, 2, 2
    padded = np.zeros((height + 2, n_from, width + 2, n_images))
    padded[1:-1, :, 1:-1] = rng.standard_normal((height, n_from, width, n_images))
    kernels = rng.standard_normal((3, n_to, 3, n_from))  # dx, to, dy, from
    out = np.empty((height, n_to, width * n_images))
    cifar.convolve(kernels.reshape(3, n_to, -1), padded, workers, out)
    for y in range(height):
        for x in range(width):
            for k in range(n_to):
                for i in range(n_images):
                    expected = sum(
                        kernels[dx, k, dy, c] * padded[y + dy, c, x + dx, i]
                        for dx in range(3)
                        for dy in range(3)
                        for c in range(n_from)
                    )
                    assert out.reshape(height, n_to, width, n_images)[y, k, x, i] == pytest.approx(expected)


@pytest.mark.parametrize("pools", [False, True])
def test_batch_normalisation_in_training_and_in_evaluation(pools, workers):
    network = cifar.ConvNet(("4", "M") if pools else ("4",), np.random.default_rng(0), np.float64)
    (block,) = network.blocks
    block.scale[:], block.shift[:] = [1, 2, 0.5, 1], [0, 0.5, -0.2, 0.1]
    images, _ = random_batch(5)
    cifar.fill_inputs(network.inputs(5), images)
    out = block.forward(network.padded_inputs, workers, training=True)
    convolved = block.convolved.reshape(32, 4, 32, 5)
    if pools:
        convolved = convolved.reshape(16, 2, 4, 16, 2, 5).max(axis=(1, 4))
    mean, variance = convolved.mean(axis=(0, 2, 3)), convolved.var(axis=(0, 2, 3))

    def expected(mean, variance):
        normal = (convolved - mean[:, None, None]) / np.sqrt(variance + 1e-5)[:, None, None]
        return np.maximum(block.scale[:, None, None] * normal + block.shift[:, None, None], 0)

    np.testing.assert_allclose(out[1:-1, :, 1:-1], expected(mean, variance), atol=1e-10)
    assert not out[0].any()
    assert not out[:, :, -1].any()
    n = convolved.size / 4
    np.testing.assert_allclose(block.running_mean, 0.1 * mean)
    np.testing.assert_allclose(block.running_variance, 0.9 + 0.1 * variance * n / (n - 1))
    before = network.parameters.copy()
    out = block.forward(network.padded_inputs, workers, training=False)
    np.testing.assert_allclose(
        out[1:-1, :, 1:-1], expected(block.running_mean, block.running_variance), atol=1e-10
    )
    np.testing.assert_array_equal(network.parameters, before)


def test_gradient_against_central_differences(workers):
    """Every array of every layer: five entries each, in float64."""
    network = random_network()
    images, labels = random_batch()
    _, _, gradient = loss_and_gradient(network, images, labels, workers)
    assert gradient.shape == network.trained.shape
    rng = np.random.default_rng(2)
    arrays = [a for b in network.blocks for a in (b.kernels, b.scale, b.shift)] + [network.linear]
    start = 0
    for array in arrays:
        for place in start + rng.integers(0, array.size, 5):
            values = []
            for step in (1e-6, -2e-6):
                network.trained[place] += step
                values.append(loss_and_gradient(network, images, labels, workers)[0])
            network.trained[place] += 1e-6
            slope = (values[0] - values[1]) / 2e-6
            assert gradient[place] == pytest.approx(slope, rel=1e-4, abs=1e-7)
        start += array.size
    assert start == network.n_trained


def test_equal_maxima_share_the_gradient(workers):
    """A flat image: all four pooled values are the same; their shares add up to the whole."""
    network = cifar.ConvNet(("2", "M"), np.random.default_rng(0), np.float64)
    network.linear[:] = 1
    cifar.fill_inputs(network.inputs(2), np.full((2, 3, 32, 32), 200, np.uint8))
    (block,) = network.blocks
    block.forward(network.padded_inputs, workers, training=True)
    d = np.random.default_rng(0).standard_normal((16, 2, 16 * 2))
    block.shift[:] = 10  # no ReLU in the way
    block.forward(network.padded_inputs, workers, training=True)
    block.backward(d, workers, None)  # leaves in d what reaches the pooled values, shared out
    inner = block.d_convolved[1:-1, :, 1:-1]
    four = inner.reshape(16, 2, 2, 16, 2, 2)[4:12, :, :, 4:12]  # away from the border
    np.testing.assert_allclose(four[:, 0, :, :, 0], four[:, 1, :, :, 1])


def test_against_pytorch(workers):
    torch = pytest.importorskip("torch")
    network = random_network()
    images, labels = random_batch()
    modules: list = []
    n_from = 3
    for block in network.blocks:
        convolution = torch.nn.Conv2d(n_from, block.n_to, 3, padding=1, bias=False)
        convolution.weight.data = torch.from_numpy(block.kernels.transpose(1, 3, 2, 0).copy())
        normalisation = torch.nn.BatchNorm2d(block.n_to)
        normalisation.weight.data = torch.from_numpy(block.scale.copy())
        normalisation.bias.data = torch.from_numpy(block.shift.copy())
        pool = [torch.nn.MaxPool2d(2)] if block.pools else []
        modules += [convolution, *pool, normalisation, torch.nn.ReLU()]
        n_from = block.n_to
    linear = torch.nn.Linear(n_from, 10)
    linear.weight.data = torch.from_numpy(network.linear[:, :-1] * cifar.LOGIT_SCALE)
    linear.bias.data = torch.from_numpy(network.linear[:, -1] * cifar.LOGIT_SCALE)
    theirs = torch.nn.Sequential(*modules, torch.nn.AdaptiveMaxPool2d(1), torch.nn.Flatten(), linear).double()
    x = torch.from_numpy(images * (4 / 255) - 2)
    logits = theirs(x)
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels))
    loss.backward()
    value, found, gradient = loss_and_gradient(network, images, labels, workers)
    assert value == pytest.approx(loss.item(), rel=1e-12)
    np.testing.assert_allclose(found, logits.detach().numpy(), atol=1e-11)
    expected = []
    for module in theirs:
        if isinstance(module, torch.nn.Conv2d):
            expected.append(module.weight.grad.numpy().transpose(3, 0, 2, 1).ravel())
        elif isinstance(module, torch.nn.BatchNorm2d):
            expected += [module.weight.grad.numpy(), module.bias.grad.numpy()]
    both = np.column_stack((linear.weight.grad.numpy(), linear.bias.grad.numpy()))
    expected.append(cifar.LOGIT_SCALE * both.ravel())
    np.testing.assert_allclose(gradient, np.concatenate(expected), atol=1e-11)
    theirs.eval()
    np.testing.assert_allclose(
        cifar.predict(network, images, workers), theirs(x).detach().numpy(), atol=1e-11
    )


def test_nesterov_against_pytorch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    start = rng.standard_normal(20)
    theirs = torch.nn.Parameter(torch.from_numpy(start.copy()))
    optimiser = torch.optim.SGD([theirs], lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    ours = start.copy()
    nesterov = cifar.Nesterov(ours, 5e-4)
    for step in range(20):
        gradient, rate = rng.standard_normal(20), 0.1 / (step + 1)
        optimiser.param_groups[0]["lr"] = rate
        theirs.grad = torch.from_numpy(gradient.copy())
        optimiser.step()
        nesterov.step(gradient, rate)
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-12)


@pytest.mark.parametrize("shape", [(6, 40), (40, 6), (16, 27)])
def test_orthogonalised_against_the_singular_value_decomposition(shape):
    """The same singular vectors; singular values near 1, though they were 10 to 1 before."""
    rng = np.random.default_rng(0)
    u, _, vt = np.linalg.svd(rng.standard_normal(shape), full_matrices=False)
    found = cifar.orthogonalised(u * np.geomspace(10, 1, min(shape)) @ vt)
    inner = u.T @ found @ vt.T
    np.testing.assert_allclose(inner, np.diag(np.diag(inner)), atol=1e-10)
    assert np.diag(inner).min() > 0.6
    assert np.diag(inner).max() < 1.3


def test_muon_moves_kernels_by_orthogonal_steps_and_the_rest_by_nesterov():
    """Against singular vectors from NumPy; the direction of a step does not depend on the gradient's size."""
    network, plain = random_network(), random_network()
    muon = cifar.Muon(network, weight_decay=0.01)
    nesterov = cifar.Nesterov(plain.trained, weight_decay=0.01)
    rng = np.random.default_rng(3)
    for _ in range(3):
        before = [block.kernels.copy() for block in network.blocks]
        gradient = rng.standard_normal(network.trained.shape)
        nesterov.step(gradient.copy(), 0.4)
        muon.step(1.0 * gradient, 0.4)
        for block, old in zip(network.blocks, before, strict=True):
            old *= np.sqrt(block.n_to) / np.linalg.norm(old)
            change = (old - block.kernels).transpose(1, 0, 2, 3).reshape(block.n_to, -1)
            values = np.linalg.svd(change, compute_uv=False) / (0.4 * muon.KERNEL_SHARE)
            assert 0.3 < values.min() <= values.max() < 1.3
        kernels = np.zeros(network.n_trained, bool)
        for place in network.kernel_places:
            kernels[place] = True
        np.testing.assert_allclose(network.trained[~kernels], plain.trained[~kernels], rtol=1e-12)
    assert kernels.sum() == sum(block.kernels.size for block in network.blocks)


def test_the_first_step_of_muon_is_the_orthogonalised_gradient():
    network = random_network()
    block, place = network.blocks[1], network.kernel_places[1]
    gradient = np.random.default_rng(4).standard_normal(network.trained.shape)
    expected = block.kernels * np.sqrt(block.n_to) / np.linalg.norm(block.kernels)
    matrix = gradient[place].reshape(block.kernels.shape).transpose(1, 0, 2, 3).reshape(block.n_to, -1)
    step = cifar.orthogonalised(matrix).reshape(block.n_to, 3, 3, -1).transpose(1, 0, 2, 3)
    muon = cifar.Muon(network, 0.0)
    muon.step(1e3 * gradient, 0.2)
    np.testing.assert_allclose(block.kernels, expected - 0.2 * muon.KERNEL_SHARE * step, atol=1e-8)


def test_orthogonalised_momentum_against_pytorch():
    """PyTorch's own Muon computes the iteration in bfloat16, hence the tolerance."""
    torch = pytest.importorskip("torch")
    if not hasattr(torch.optim, "Muon"):
        pytest.skip("this PyTorch has no Muon")
    network = random_network()
    block, place = network.blocks[1], network.kernel_places[1]
    ours = cifar.Muon(network, weight_decay=0.0)
    weights = torch.nn.Parameter(torch.zeros(block.n_to, 9 * block.n_from))
    theirs = torch.optim.Muon([weights], lr=1.0, weight_decay=0.0, momentum=0.9, nesterov=True)
    rng = np.random.default_rng(6)
    for _ in range(4):
        gradient = rng.standard_normal(network.trained.shape)
        matrix = gradient[place].reshape(block.kernels.shape).transpose(1, 0, 2, 3).reshape(block.n_to, -1)
        weights.data.zero_()
        weights.grad = torch.from_numpy(matrix.astype(np.float32))
        theirs.step()
        before = block.kernels * np.sqrt(block.n_to) / np.linalg.norm(block.kernels)
        ours.step(gradient, 1.0)
        change = (block.kernels - before).transpose(1, 0, 2, 3).reshape(block.n_to, -1) / ours.KERNEL_SHARE
        assert np.linalg.norm(change - weights.detach().numpy()) < 0.03 * np.linalg.norm(change)


def test_channels_may_come_in_any_sequence():
    sizes = [
        cifar.ConvNet(kind(CHANNELS), np.random.default_rng(0)).n_multiply_adds for kind in (tuple, list)
    ]
    assert sizes[0] == sizes[1]


def test_predict_does_not_depend_on_the_chunk(workers):
    network = random_network()
    images, _ = random_batch(7)
    whole = cifar.predict(network, images, workers)
    np.testing.assert_allclose(cifar.predict(network, images, workers, chunk=3), whole, atol=1e-12)


def test_sizes_of_the_default_networks():
    config = cifar.Config()
    teacher, student = (
        cifar.ConvNet(config.training(kind).channels, np.random.default_rng(0))
        for kind in ("teacher", "student")
    )
    assert (
        teacher.n_multiply_adds
        == sum(
            side**2 * 9 * a * b
            for side, a, b in zip(
                (32, 16, 16, 8, 8, 4), (3, 32, 64, 64, 128, 128), (32, 64, 64, 128, 128, 256), strict=True
            )
        )
        + 2560
    )
    assert 3 * student.n_trained <= teacher.n_trained
    assert 3 * student.n_multiply_adds <= teacher.n_multiply_adds


# data


def test_augmentation_mirrors_half_and_reaches_every_shift():
    image = np.arange(3 * 32 * 32, dtype=np.uint32).reshape(1, 3, 32, 32)
    images = np.repeat(image, 3000, axis=0)
    seen = cifar.augment(images, 2, np.random.default_rng(0))
    padded = np.pad(image[0], ((0, 0), (2, 2), (2, 2)), mode="reflect")
    possible = {}
    for down in range(5):
        for right in range(5):
            window = padded[:, down : down + 32, right : right + 32]
            possible[window.tobytes()] = (down, right, False)
            possible[window[..., ::-1].tobytes()] = (down, right, True)
    counts: dict = {}
    for one in seen:
        kind = possible[one.tobytes()]
        counts[kind] = counts.get(kind, 0) + 1
    assert len(counts) == 50
    assert min(counts.values()) > 25  # 60 expected of each
    assert np.shares_memory(images, seen) is False


def test_the_archive_and_the_folder_give_the_same(batches, folder, tmp_path):
    plain = cifar.read_given(folder)
    assert (len(plain.train_labels), len(plain.test_labels)) == (300, 100)
    assert plain.train_images.shape == (300, 3, 32, 32)
    path = tmp_path / cifar.ARCHIVE
    path.write_bytes(archive_of({**in_folder(batches), "cifar-10-batches-bin/readme.html": b"hello"}))
    for given in (path, tmp_path):
        from_archive = cifar.read_given(given)
        assert from_archive.sha256 == plain.sha256
        np.testing.assert_array_equal(from_archive.train_images, plain.train_images)
    assert plain.name == "CIFAR-10 variant"  # only the official archive is called CIFAR-10


def test_only_the_expected_members_are_read(batches, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    evil = {"../x": b"evil", "/tmp/y": b"evil", "cifar-10-batches-bin/../../data_batch_1.bin": b"evil"}
    assert cifar.unpack(archive_of({**evil, **in_folder(batches)})) == batches
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match=r"no cifar-10-batches-bin/data_batch_1\.bin"):
        cifar.unpack(archive_of({**evil, **in_folder({k: v for k, v in batches.items() if "_1" not in k})}))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda archive: archive[: len(archive) // 2], "truncated"),
        (lambda archive: b"no archive", "no .tar.gz"),
        (lambda archive: b"", "no .tar.gz"),
    ],
)
def test_a_damaged_archive_is_said(damage, said, batches, tmp_path):
    path = tmp_path / cifar.ARCHIVE
    path.write_bytes(damage(archive_of(in_folder(batches))))
    with pytest.raises(UserError, match=said):
        cifar.read_given(path)


def test_a_missing_or_malformed_batch_is_said(folder, batches, tmp_path):
    for name, content in batches.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "data_batch_2.bin").write_bytes(batches["data_batch_2.bin"][:-1])
    with pytest.raises(UserError, match=r"data_batch_2.bin is no whole number"):
        cifar.read_given(tmp_path)
    (tmp_path / "data_batch_2.bin").write_bytes(b"\x0b" + batches["data_batch_2.bin"][1:])
    with pytest.raises(UserError, match="label 11"):
        cifar.read_given(tmp_path)
    (tmp_path / "data_batch_2.bin").unlink()
    with pytest.raises(UserError, match=r"no data_batch_2\.bin"):
        cifar.read_given(tmp_path)
    with pytest.raises(UserError, match="neither"):
        cifar.read_given(tmp_path / "nowhere")


def test_a_download_with_a_wrong_sum_never_enters_the_cache(batches, tmp_path, monkeypatch, capsys):
    archive = archive_of(in_folder(batches))
    served = tmp_path / "served"
    served.mkdir()
    (served / cifar.ARCHIVE).write_bytes(archive)
    config = cifar.Config(cache_dir=tmp_path / "cache", mirror=(served.as_uri(),), dataset="cifar10")
    with pytest.raises(UserError, match="no mirror gave"):
        cifar.load_data(config, Console())
    assert "wrong SHA-256" in capsys.readouterr().err
    assert not (tmp_path / "cache" / cifar.ARCHIVE).exists()
    monkeypatch.setattr(cifar, "ARCHIVE_SHA256", hashlib.sha256(archive).hexdigest())
    assert cifar.load_data(config, Console()).name == "CIFAR-10"
    (served / cifar.ARCHIVE).unlink()
    assert len(cifar.load_data(config, Console()).test_labels) == 100  # from the cache
    (tmp_path / "cache" / cifar.ARCHIVE).write_bytes(archive[:-9])
    with pytest.raises(UserError, match="no mirror gave"):  # what lies there is not trusted
        cifar.load_data(config, Console())


# training, from the command line


def call(*flags: object, cwd: Path, script: str = "distillation_cifar10.py") -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, ROOT / script, *map(str, flags)],
        cwd=cwd,
        env={**os.environ, "XDG_CACHE_HOME": str(cwd / "cache"), "COLUMNS": "80"},
        capture_output=True,
        text=True,
        timeout=240,
    )


def test_a_small_run_its_results_and_an_identical_second_one(folder, tmp_path):
    flags = (*TINY, "--data-dir", folder)
    first = call(*flags, "--outdir", "a", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert max(map(len, first.stdout.splitlines())) <= 80
    found = json.loads((tmp_path / "a" / "results.json").read_text())
    assert found["data"]["name"] == "CIFAR-10 variant"
    assert set(found["networks"]) == {"teacher", "student", "baseline"} == set(found["history"])
    assert found["networks"]["student"]["parameters"] < found["networks"]["teacher"]["parameters"]
    assert found["student"]["before_correction"] == found["student"]["after_correction"]
    again = call(*flags, "--outdir", "b", "--retrain", cwd=tmp_path)
    stored = call(*flags, "--outdir", "c", cwd=tmp_path)
    assert stored.stdout.count("reused") == 3
    assert "reused" not in again.stdout
    for name in "bc":
        other = json.loads((tmp_path / name / "results.json").read_text())
        for key in ("teacher", "student", "baseline", "bias_correction"):
            assert other[key] == found[key]


def test_an_omitted_class_by_name_and_its_pictures(folder, tmp_path):
    flags = (*TINY, "--data-dir", folder, "--omitted-class", "cat", "--outdir", "out")
    result = call(*flags, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    pictures = call(*flags, cwd=tmp_path, script="visualize_distillation_cifar10.py")
    assert pictures.returncode == 0, pictures.stderr
    assert pictures.stdout.count("reused") == 3
    for name in ("curves", "soft_targets", "compression", "unseen_class"):
        assert (tmp_path / "out" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert found["config"]["omitted_class"] == [3]
    assert found["data"]["n_transfer"] == 270
    assert len(found["bias_correction"]["offsets"]) == 1
    assert found["bias_correction"]["mean_probabilities_after"][0] == pytest.approx(0.1, abs=1e-4)


def test_without_data_it_runs_on_drawn_shapes_and_says_so_twice(tmp_path):
    flags = ("--teacher-channels", 4, "M", 4, "--student-channels", 2, "M", 2, "--learning-rate", 0.05)
    flags += ("--n-epochs-teacher", 1, "--n-epochs-student", 1, "--mirror", "http://127.0.0.1:9/")
    result = call(*flags, "--outdir", "out", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("NOT CIFAR-10") == 2
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert found["data"]["name"] == "rendered shapes"


def test_the_student_hears_no_label(folder, tmp_path, workers, monkeypatch):
    """Other labels, the same teacher: the same student, bit for bit."""
    data = cifar.read_given(folder)
    shuffled = cifar.Data(
        data.name, data.train_images, data.train_labels[::-1].copy(), data.test_images, data.test_labels, {}
    )
    config = cifar.Config(
        n_epochs_student=1, student_channels=CHANNELS, batch_size_student=50, learning_rate_student=0.05,
        cache_dir=tmp_path, retrain=True,
    )  # fmt: skip
    teacher = cifar.ConvNet(CHANNELS, np.random.default_rng(5))
    teacher.linear[:] = np.random.default_rng(6).standard_normal(teacher.linear.shape)
    console = Console(quiet=True)
    students = [cifar.train_student(config, one, teacher, workers, console) for one in (data, shuffled)]
    assert students[0].network.parameters.tobytes() == students[1].network.parameters.tobytes()
    baselines = [cifar.train_baseline(config, one, workers, console) for one in (data, shuffled)]
    assert baselines[0].network.parameters.tobytes() != baselines[1].network.parameters.tobytes()


def test_training_reduces_the_loss(folder, tmp_path):
    more = ("--n-epochs-teacher", 30, "--learning-rate", 0.3, "--outdir", "out")
    result = call(*TINY, "--data-dir", folder, *more, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    history = json.loads((tmp_path / "out" / "results.json").read_text())["history"]["teacher"]
    assert history[-1]["loss"] < 0.9 * history[0]["loss"]


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (("--teacher-channels", "M", "8"), "--teacher-channels"),
        (("--student-channels", "8", "M", "M"), "--student-channels"),
        (("--student-channels", "many"), "--student-channels"),
        (("--omitted-class", "tiger"), "--omitted-class"),
        (("--batch-size", 1), "--batch-size"),
        (("--batch-size-student", 1), "--batch-size-student"),
        (("--temperature", 0), "--temperature"),
        (("--jitter-student", 32), "--jitter-student"),
        (("--data-dir", "nowhere"), "nowhere"),
        (("--dataset", "rendered", "--data-dir", "."), "--data-dir"),
    ],
)
def test_bad_input_gets_one_line_and_status_2(flags, named, tmp_path):
    result = call("--outdir", "out", *flags, cwd=tmp_path)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert re.search(named, result.stderr)
    assert not (tmp_path / "out").exists()


def test_drawn_shapes_are_balanced_different_and_the_same_every_time():
    first, again = (rendered_shapes.render_dataset(200, 50) for _ in range(2))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (np.bincount(first[1]) == 20).all()
    assert len(np.unique(first[0].reshape(200, -1), axis=0)) == 200
