"""The benchmark runs, and its count of operations is the one on paper."""

from __future__ import annotations

from support import transformations
from support.console import UserError

import importlib
import json
import multiprocessing
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from cifar10.network import ConvNet

compare = pytest.importorskip("compare", reason="the benchmark needs the module resource")
convolution = pytest.importorskip("convolution")
passes = pytest.importorskip("passes")
breakdown = pytest.importorskip("breakdown")

WARPED = {
    name + suffix: limit
    for name, limit in {"jitter": 2, "rotation": 10.0, "scaling": 0.1, "shear": 0.1, "elastic": 1.5}.items()
    for suffix in ("", "_student")
}
ROOT = Path(__file__).resolve().parents[2]


def test_operations_per_image():
    """12.5 MFLOP for the teacher, 6.4 for the student: three products per layer, two for the first."""
    assert compare.flop_per_image(compare.TEACHER_SIZES) == 2 * (
        2 * 784 * 1200 + 3 * 1200 * 1200 + 3 * 1200 * 10
    )
    assert compare.flop_per_image(compare.TEACHER_SIZES) == pytest.approx(12.5e6, rel=0.01)
    assert compare.flop_per_image(compare.STUDENT_SIZES) == pytest.approx(6.4e6, rel=0.02)


def column_of(text: str, title: str, column: str) -> dict[str, float]:
    """The milliseconds in a column of the breakdown whose first heading starts with `title`."""
    table = next(part for part in text.split("\n\n") if part.startswith(f"| {title}"))
    header, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    place = header.index(column)
    return {row[0]: float(row[place].partition(" ")[0]) for row in rows if row[place]}


def test_a_small_comparison(small_folder, tmp_path, capsys, monkeypatch):
    """Every part of it, processes and all, with small networks and few repeats."""
    real_configs, real_turns, real_rate = compare.configs_of, breakdown.in_turn, breakdown.bandwidth
    small = {"teacher_hidden": (300, 300), "student_hidden": (200, 200)}
    monkeypatch.setattr(compare, "configs_of", lambda *a: [replace(c, **small) for c in real_configs(*a)])
    monkeypatch.setattr(compare, "peak_rate", lambda: 50.0)
    monkeypatch.setattr(passes, "N_STEPS", 2)
    for module in (breakdown, convolution):
        monkeypatch.setattr(module, "in_turn", lambda calls, repeats: real_turns(calls, min(5, repeats)))
    for module in (breakdown, passes):
        monkeypatch.setattr(module, "bandwidth", lambda workers: real_rate(workers, 2**20))
    np.ones(40_000_000)  # 320 MB in this process, which are none of the others'
    compare.main([
        "--data-dir", str(small_folder), "--images", "400", "--rounds", "2", "--batch-sizes", "100",
        "--contestants", "this project", "plain NumPy", "--json", str(tmp_path / "bench.json"),
        "--convolution-batch", "2",
    ])  # fmt: skip
    shown = capsys.readouterr()
    assert "| this project |" in shown.out
    assert "| plain NumPy |" in shown.out
    assert "| CIFAR-10 teacher, batch 2 |" in shown.out
    assert "| CIFAR-10 student, batch 2 |" in shown.out
    for title, n_teacher, n_student in (("described", 100, 100), ("best", 400, 256), ("CIFAR-10", 2, 2)):
        for kind, n in (("teacher", n_teacher), ("student", n_student)):
            parts = column_of(shown.out, f"{title}, ms", f"{kind}'s step of {n}")
            *shares, whole = parts.values()
            assert next(iter(parts)) == "inputs"
            assert whole == pytest.approx(sum(shares), abs=0.06)
            assert parts[breakdown.PRODUCTS] > parts["inputs" if title == "CIFAR-10" else "loss"] > 0
            assert ("teacher's answers" in parts) == ((title, kind) == ("best", "student"))
    between = next(part for part in shown.out.split("\n\n") if part.startswith("| between the products"))
    assert "teacher's step of 2: ms | teacher's step of 2: MB" in between
    assert [row.split(" | ")[0].strip("| ") for row in between.splitlines()[2:]] == [
        *passes.PASSES,
        "all of them",
    ]
    found = json.loads((tmp_path / "bench.json").read_text())
    assert all(ms > 0 for rates in found["convolution_passes"].values() for ms, _ in rates.values())
    measured, best = found["measured"]
    assert [m["title"] for m in (measured, best)] == ["described, batch 100", "best, batch 512 / 256"]
    assert best["batch_sizes"] == [512, 256]
    assert set(best["seconds"]) == {"this project"}  # plain NumPy only shifts
    assert "plain NumPy is left out: it shifts images" in shown.err
    assert all(len(times) == 2 and min(times) > 0 for times in measured["seconds"]["this project"].values())
    assert set(measured["seconds"]["plain NumPy"]) == {"teacher", "student"}
    assert 20 < measured["memory_mb"]["this project"] < 300
    assert measured["peak_gflops"] == [50.0, 50.0]
    tables = found["tables"]
    assert tables == compare.tables(found)
    names = ["where", "described, batch 100", "best, batch 512 / 256", "CIFAR-10"]
    assert shown.out == "\n\n".join(tables[name] for name in names) + "\n"
    made_with = found["environment"]
    machine = f"{made_with['cpu']} (kernel {made_with['kernel']})"
    assert f"custom IDX files, 400 images; {machine}" in tables["where"]
    assert f"PyTorch {torch_version()}" in tables["where"]


def torch_version() -> str:
    try:
        return importlib.import_module("torch").__version__
    except ImportError:
        return "not there"


def test_the_committed_tables_are_those_of_the_committed_measurement():
    found = json.loads((ROOT / "viz" / "speed.json").read_text())
    assert found["tables"] == compare.tables(found)


def test_the_peak_is_the_rate_of_the_best_product(monkeypatch):
    monkeypatch.setattr(compare.time, "perf_counter", iter([0, 9, 10, 11, 20, 24, *range(30, 40)]).__next__)
    assert compare.peak_rate(64) == 2 * 64**3 / 1e9  # of one second, the second of eight


def test_it_runs_as_a_script():
    script = [sys.executable, ROOT / "benchmarks" / "compare.py", "--rounds", "0"]
    result = subprocess.run(script, capture_output=True, text=True, timeout=120)
    assert (result.returncode, result.stdout) == (2, "")
    assert "must be from 1 to 60,000" in result.stderr


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--contestants", "plain NumPy"), "--contestants must name this project"),
        (("--batch-sizes", "99999999999"), "from 1 to 60,000"),
        (("--rounds", "0"), "from 1 to 60,000"),
        (("--convolution-batch", "60001"), "from 1 to 60,000"),
        (("--data-dir", "nowhere"), "nowhere"),
    ],
)
def test_bad_flags_are_refused_in_one_line(flags, said):
    with pytest.raises(UserError, match=said):
        compare.main([*flags])


def test_parts_stand_beside_their_limits():
    """Milliseconds, those at the limit and their share; what nobody has is left out."""
    steps = {
        "a": {"inputs": (1.0, None), "answers": None, "none": None, "products": (4.0, 3.0)},
        "b": {"inputs": (0.5, None), "answers": (2.0, 1.0), "none": None, "products": (5.0, 3.5)},
    }
    assert breakdown.table(steps, "here") == (
        "| here, ms (at the limit: share of it) | a | b |\n| --- | ---: | ---: |\n"
        "| inputs | 1.00 | 0.50 |\n| answers |  | 2.00 (1.00: 50%) |\n"
        "| products | 4.00 (3.00: 75%) | 5.00 (3.50: 70%) |"
    )


def test_the_products_of_the_convolutions_are_all_there(monkeypatch):
    """Counted where the network makes them: as many multiply-adds as are timed, and as the limit is for."""
    network, n = ConvNet(("4", "M", "6", "5", "M"), np.random.default_rng(0)), 6
    real, counted = np.matmul, []

    def counting(a, b, out=None):
        result = real(a, b) if out is None else real(a, b, out=out)
        counted.append(2 * result.size * a.shape[-1])
        return result

    images = np.random.default_rng(1).integers(0, 256, (n, 3, 33, 33), np.uint8)
    with compare.Workers(1) as workers:
        network.forward(images, workers, training=True)
        monkeypatch.setattr(np, "matmul", counting)
        network.forward(images, workers, training=True)
        network.backward(np.ones((n, 10), np.float32), workers)
    of_network = sum(counted)
    counted.clear()
    for place, block in enumerate(network.blocks):
        convolution.products_of(block, 0, place == 0)()
    assert sum(counted) == of_network
    assert convolution.winograd_flop(network, n) == pytest.approx(of_network)


def test_the_bytes_of_each_pass():
    """Of two images and two blocks, 24 channels to 4 on 32 x 32, pooled, and 4 to 6 on 16 x 16, by hand."""
    given, convolved, pooled, last = 24 * 1024 * 2, 4 * 1024 * 2, 4 * 256 * 2, 6 * 256 * 2
    assert passes.bytes_of_passes(ConvNet(("4", "M", "6"), None), 2) == {
        "whitening": 2 * 3 * 33**2 + 4 * given,
        "parts for the products": 4 * 3 * (given + convolved + pooled + last),
        "sums of products": 4 * 3 * (convolved + last + pooled),  # the first block gives no image a gradient
        "pooling": 4 * (convolved + pooled) + convolved * 3 // 4,
        "back through pooling": 4 * (convolved + pooled) + convolved * 3 // 4,
        "mean and variance": 8 * (pooled + last),
        "normalisation, ReLU": 9 * (pooled + last),
        "back through ReLU, sums": 13 * (pooled + last),
        "back through normalisation": 12 * (pooled + last),
    }


def test_each_pass_is_timed_where_it_is_called(monkeypatch):
    """With a clock that goes on by a second when asked: as many seconds as calls, half with two threads."""
    network, n = ConvNet(("4", "M", "6"), np.random.default_rng(0)), 2
    images = np.random.default_rng(1).integers(0, 256, (n, 3, 33, 33), np.uint8)
    before = {name: getattr(owner, called) for name, (owner, called) in passes.PASSES.items()}
    monkeypatch.setattr(passes.time, "perf_counter", iter(range(10**6)).__next__)
    with compare.Workers(1) as workers:

        def step():
            network.forward(images, workers, training=True)
            network.backward(np.ones((n, 10), np.float32), workers)

        found = passes.passes_of(step, network, n, 2)
    one_visit = {block.side // group.n_rows for block in network.blocks for group in block.groups}
    assert one_visit == {1}
    calls = {name: ms / 500 for name, (ms, _) in found.items()}
    assert calls == {
        "whitening": 1, "parts for the products": 4, "sums of products": 3, "pooling": 1,
        "mean and variance": 2, "normalisation, ReLU": 2, "back through ReLU, sums": 2,
        "back through normalisation": 2, "back through pooling": 1,
    }  # fmt: skip
    assert before == {name: getattr(owner, called) for name, (owner, called) in passes.PASSES.items()}


def test_rates_stand_as_shares_of_the_memorys():
    rates = dict.fromkeys(passes.PASSES, (2.0, 3e6)) | {"pooling": (4.0, 1e6)}
    table = passes.passes_table({"a": rates}, 1e6)
    assert "| between the products (memory: 1.0 GB/s) | a: ms | a: MB | a: of the memory's rate |" in table
    assert "| pooling | 4.0 | 1 | 25% |" in table
    assert "| whitening | 2.0 | 3 | 150% |" in table
    assert "| all of them | 20.0 | 25 | 125% |" in table


def test_the_share_of_what_limits_adam(monkeypatch):
    """Its arithmetic or its traffic, whichever takes longer, with twice the threads half as long."""
    monkeypatch.setattr(breakdown, "fastest", lambda call, repeats: 2.0)
    n = 3 * breakdown.IN_CACHE
    for n_bytes_per_ms, n_threads, expected in ((1e12, 1, 6.0), (1e12, 2, 3.0), (1000.0, 2, 24 * n / 1000)):
        monkeypatch.setattr(breakdown, "bandwidth", lambda workers, rate=n_bytes_per_ms: rate)
        assert breakdown.adam_at_its_limit(n, compare.Workers(n_threads)) == pytest.approx(expected)


def test_both_sides_learn_from_images_transformed_alike(small_data, monkeypatch):
    """What PyTorch interpolates in the benchmark is what this project does with the same maps and images."""
    torch = pytest.importorskip("torch", exc_type=ImportError)
    small = {"teacher_hidden": (30,), "student_hidden": (30,), "recipe": "best", "batch_size_student": 64}
    config = compare.Config(batch_size=64, n_epochs_teacher=1, **small, **WARPED)
    images, labels = small_data.train_images[:128], small_data.train_labels[:128]
    real, seen, maps = torch.nn.functional.grid_sample, [], []

    def watched(x, grid, align_corners):
        seen.append((x, grid, real(x, grid, align_corners=align_corners)))
        return seen[-1][2]

    def watched_maps(n, limits, rng):
        maps.append(transformations.random_maps(n, limits, rng))
        return maps[-1]

    monkeypatch.setattr(torch.nn.functional, "grid_sample", watched)
    monkeypatch.setattr(compare, "random_maps", watched_maps)
    epochs = compare.pytorch(images, labels, config)
    epochs["teacher"]()
    assert len(seen) == 2
    epochs["student"]()
    assert len(seen) == 2 + -(-int((labels != 3).sum()) // 64)
    assert len(maps) == 2
    for kind, (x, grid, found) in zip(maps, (seen[0], seen[-1]), strict=True):
        own = transformations.Warps(kind)
        points = grid.flip(3).movedim(3, 1).numpy() * 13.5 + 13.5
        chosen = [
            int(np.abs(kind[:, 0, ::9, ::9] - p[0, ::9, ::9]).sum(axis=(1, 2)).argmin()) for p in points
        ]
        expected = own.apply(x[:, 0].numpy(), np.array(chosen)).reshape(found[:, 0].shape)
        np.testing.assert_allclose(found[:, 0].numpy(), expected, atol=2e-4)
        assert float(found.max()) > 0.9
    with pytest.raises(ImportError, match="shifts images"):
        compare.plain(images, labels, config)


def test_an_output_that_cannot_be_written_is_said_before_anything_is_timed(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        compare.main(["--json", str(tmp_path / "file" / "out")])
    assert capsys.readouterr().out == ""


def test_the_convolutions_of_both_sides_are_the_same_network():
    torch = pytest.importorskip("torch", exc_type=ImportError)
    network = ConvNet(("5", "M", "7", "6", "M"), np.random.default_rng(0))
    theirs = convolution.pytorch_network(network)
    assert sum(p.numel() for p in theirs.parameters()) == network.n_trained
    sizes = []
    for module in theirs:
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(lambda module, x, y: sizes.append(tuple(x[0].shape)))
    assert theirs(torch.zeros(2, 24, 32, 32)).shape == (2, 10)
    assert sizes == [(2, b.n_from, b.side, b.side) for b in network.blocks]


def test_what_the_convolutions_are_timed_on():
    found = convolution.convolution(["this project"], 2, 3)
    assert [(one["kind"], one["batch_size"]) for one in found] == [("teacher", 3), ("student", 3)]
    for one in found:
        assert {name: len(times) for name, times in one["seconds"].items()} == {"this project": 2}
    channels = pairwise((24, 40, 40, 144, 144, 144, 144))
    products = [s**2 * 9 * a * b for s, (a, b) in zip((32, 16, 16, 8, 8, 4), channels, strict=True)]
    gflop = 2 * 3 * (3 * (sum(products) + 1440) - products[0] + 32**2 * 144) / 1e9
    assert found[0]["gflop"] == pytest.approx(gflop)


def test_a_contestant_that_dies_is_said():
    ours, theirs = multiprocessing.Pipe()
    theirs.close()
    with pytest.raises(UserError, match="the process of PyTorch died"):
        compare.answer_of("PyTorch", ours)
