"""MNIST for all scripts, with a stand-in that this project draws where MNIST cannot be had."""

from __future__ import annotations

from support.console import Console
from support.data import VIZ, Data, Source, check_omitted, digests, load, stand_in_notice
from support.download import read_folder

from pathlib import Path

import distillation_mnist_omitted_3 as core
from beyond.settings import Config
from synthetic import digits

RENDERED_NOTICE = stand_in_notice(
    "MNIST", "digits", (
        "For MNIST, run again with a network, or with  --data-dir FOLDER  holding",
        "train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz,",
        "t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz.",
    ),
)  # fmt: skip


def rendered_data(console: Console) -> Data:
    """20,000 + 5,000 digits drawn by this project, always the same ones."""
    console.line("drawing 25,000 digits ...")
    arrays = digits.render_dataset()
    named = zip(core.MNIST_SHA256, arrays, strict=True)
    return Data("rendered digits", *arrays, digests({name: array.tobytes() for name, array in named}))


def load_data(config: Config, console: Console) -> Data:
    """The data that `--dataset`, `--data-dir`, `--cache-dir` and `--mirror` ask for, less what is held out.

    Raises UserError when it cannot be had, is malformed, or has no image of an omitted class.
    """
    mirrors, names = config.mirror or core.MIRRORS, tuple(core.MNIST_SHA256)
    source = Source(
        name="MNIST",
        strict="mnist",
        given=lambda folder: core.data_from_idx(read_folder(folder, names, core.MAX_FILE_BYTES)),
        fetched=lambda: core.data_from_idx(core.read_cache(config.cache_folder, mirrors, console)),
        drawn=lambda: rendered_data(console),
        notice=RENDERED_NOTICE,
    )
    data = load(source, config, console)
    check_omitted(data, config.teacher_omitted_class, "--teacher-omitted-class")
    return data


def outdir_for(config: Config, data: Data) -> Path:
    """Where outputs go: other data never overwrites the figures of MNIST."""
    subfolder = "rendered" if data.is_rendered else "" if data.name == "MNIST" else "custom"
    return config.outdir or VIZ / subfolder
