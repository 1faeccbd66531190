"""The README's tables are what the committed runs give, and its flags exist."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path

import distillation_cifar10 as cifar
import distillation_mnist_omitted_3 as core
import make_distillation_mnist_omitted_3_gif as gif
import summarise_runs

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def test_tables_are_those_of_the_committed_runs():
    folders = re.search(r"python3 summarise_runs.py (.*described.*)", README).group(1).split()
    groups = {Path(folder).name: summarise_runs.load(ROOT / folder) for folder in folders}
    assert summarise_runs.means_table(groups) in README
    assert summarise_runs.seeds_table(groups) in README
    for name, runs in groups.items():
        assert len({run["config"]["seed"] for run in runs}) == len(runs) >= 3
        assert all(run["data"]["sha256"] == core.MNIST_SHA256 for run in runs)
        assert all(run["config"]["hold_out"] == 0 for run in runs)
        recipe = name if name in core.RECIPES else "described"
        for run in runs:
            for field, value in core.RECIPES[recipe].items():
                assert run["config"][field] == value, (name, field)


def test_tables_of_cifar10_are_those_of_the_committed_runs():
    folders = re.search(r"python3 summarise_runs.py (viz/cifar10.*)", README).group(1).split()
    tables = (summarise_runs.cifar10_table, summarise_runs.unseen_class_table)
    free = {"seed", "dataset", "data_dir", "cache_dir", "outdir", "quiet", "retrain"}
    parser = core.argument_parser("", cifar.Config)
    groups = [summarise_runs.load(ROOT / folder) for folder in folders]
    assert [run["config"]["seed"] for run in groups[0]] == [0, 1, 2]
    for folder, runs, tabulate in zip(folders, groups, tables, strict=True):
        assert tabulate(runs) in README
        flags = re.search(rf"^python3 distillation_cifar10\.py (.*{folder}/.*)$", README, re.M).group(1)
        wanted = json.loads(
            json.dumps(asdict(cifar.config_from(parser.parse_args(flags.split()))), default=str)
        )
        for run in runs:
            assert {k: v for k, v in run["config"].items() if k not in free} == {
                k: v for k, v in wanted.items() if k not in free
            }
            assert run["data"]["n_train"] == 50_000


def test_every_flag_is_documented_with_its_default():
    for name, field in core.Config.__dataclass_fields__.items():
        row = re.search(rf"^\| `{core.flag_name(name)}` \| (.*?) \|", README, re.M)
        assert row, name
        if isinstance(field.default, (int, float, str)) and not isinstance(field.default, bool):
            assert (
                f"{field.default:g}" in row[1]
                if not isinstance(field.default, str)
                else field.default in row[1]
            )
    for flag in re.findall(r"`(--[a-z-]+)", README):
        fields = {*core.Config.__dataclass_fields__, *cifar.Config.__dataclass_fields__}
        known = {core.flag_name(name) for name in fields}
        assert flag in known | {
            "--help",
            "--snapshot-every",
            "--fps",
            "--out",
            "--rounds",
            "--json",
            "--images",
            "--convolution-batch",
            "--keep-class",
            "--study",
            "--seeds",
            "--jobs",
            "--scheduler",
            "--nthreads",
            "--nworkers",
        }, flag


def test_flags_of_cifar10_that_differ_are_documented_with_their_defaults():
    table = README.partition("| flag of `distillation_cifar10.py` |")[2].partition("\n\n")[0]
    for name, field in cifar.Config.__dataclass_fields__.items():
        ours = core.Config.__dataclass_fields__.get(name)
        if name in ("cache_dir", "outdir", "mirror", "jitter") or (ours and ours.default == field.default):
            continue  # the same, or said in the text
        row = re.search(rf"^\| `{core.flag_name(name)}` \| (.*?) \|", table, re.M)
        assert row, name
        default = " ".join(field.default) if name.endswith("channels") else field.default
        if default not in (None, ()):
            assert row[1] == (f"{default:g}" if isinstance(default, float) else str(default))


def test_pictures_in_the_readme_exist():
    pictures = re.findall(r"\]\(([^)]+\.(?:png|gif))\)", README)
    assert gif.GIF_NAME in pictures
    assert len(pictures) >= 7
    assert all((ROOT / picture).is_file() for picture in pictures)


def test_summary_statistics():
    assert summarise_runs.mean_sd([1.0, 2.0, 3.0], 2) == "2.00 ± 1.00"
    assert summarise_runs.mean_sd([1.5], 1, sign=True) == "+1.5"
