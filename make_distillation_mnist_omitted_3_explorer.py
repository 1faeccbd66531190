#!/usr/bin/env python3
"""The explorer: one page on which a visitor draws a digit for a network that has never seen one like it.

    python3 make_distillation_mnist_omitted_3_explorer.py   # viz/explorer.html, opens by double click

Takes the flags of distillation_mnist_omitted_3.py, with "best" as the recipe unless another is named, and
trains only what is not stored yet. The page's template, styles and scripts are in explorer/.
"""

from __future__ import annotations

from support.console import Console, UserError, run_script
from support.data import warn_of_stand_in
from support.experiment import Experiment
from support.files import atomic_output, check_output
from support.settings import argument_parser, given_settings, named_file, setting
from support.stored import TrainedRun, open_session

from dataclasses import dataclass, replace

import numpy as np

from beyond import pipeline
from beyond.data import RENDERED_NOTICE
from beyond.settings import MEASURING, OF_LESSON, RECIPES, Config
from explorer.contents import gathered
from explorer.page import check_size, checked_page
from explorer.rounding import N_IMAGES
from visualize_distillation_mnist_omitted_3 import check_something_omitted

PAGE_NAME = "explorer.html"
DEFAULT_RECIPE = "best"
CONTROL_UNITS, CONTROL_EPOCHS = 300, 5  # at most: it fails at any size and length
RECIPE = Config.__dataclass_fields__["recipe"].metadata


@dataclass(frozen=True, kw_only=True)
class PageFlags(Config):
    """The flags of this script: all of `Config`, one with another default."""

    recipe: str = setting(DEFAULT_RECIPE, RECIPE["help"], **RECIPE["flag"])


def no_digit_config(config: Config) -> Config | None:
    """The settings of a student like this one that sees no digit, taught by the same teacher.

    It is the student of recipe "no-digit". None where the student itself sees none, or hears no class.
    """
    if config.is_drawn or config.spare_outputs:
        return None
    preset = dict(RECIPES["no-digit"])
    defaults = Config.__dataclass_fields__
    of_student = ("hard_weight", "temperature", "student_start", *OF_LESSON, *MEASURING)
    kept = {name: preset[name] for name in preset if name.endswith("_student") or name.startswith("transfer")}
    kept |= {"learning_rate_student": preset["learning_rate"]}
    kept |= {name: preset[name] for name in ("omitted_class", "probe_size")}
    return replace(config, **{name: defaults[name].default for name in of_student} | kept)


def no_digit_student(
    experiment: Experiment, wanted: bool | None, console: Console
) -> tuple[TrainedRun, np.ndarray] | None:
    """That student and images (n, 28, 28) that it learned from.

    `wanted` None: where its training is stored; True: trained if it is not. Raises UserError.
    """
    config, data = no_digit_config(experiment.config), experiment.data
    if config is None or wanted is False:
        return None
    with open_session(config.cache_folder, config.retrain and wanted is True, console) as session:
        teacher = experiment.teacher.network
        decisive = pipeline.determinants("student", config, data, teacher.parameters)
        stored = session.store.path("student", decisive).exists()
        if not stored and wanted is None:
            console.line("without the student that never saw a digit (--with-no-digit trains it)")
            return None
        console.line("and the student that never saw a digit:")
        lesson = pipeline.student_lesson(config, data, teacher, session.workers)
        run = pipeline.train_student(config, data, teacher, lesson, session)
        return run, lesson.first(N_IMAGES)


def control_config(config: Config) -> Config | None:
    """The settings of a student like this one taught by labels alone, 300 units a layer, 5 epochs at most.

    None where this student has no labels to hear, or hears nothing else.
    """
    if config.is_drawn or config.spare_outputs or config.hard_weight == 1:
        return None
    defaults = Config.__dataclass_fields__
    kept = {name: defaults[name].default for name in ("teacher_answers", "soft_part", *MEASURING)}
    small = tuple(min(n, CONTROL_UNITS) for n in config.student_hidden)
    same_start = config.student_start if small == config.teacher_hidden else "own"
    n_epochs = min(config.n_epochs_student, CONTROL_EPOCHS)
    kept |= {"student_hidden": small, "student_start": same_start, "n_epochs_student": n_epochs}
    return replace(config, hard_weight=1.0, **kept)


def control_student(experiment: Experiment, console: Console) -> tuple[TrainedRun, np.ndarray] | None:
    """That student and images (n, 28, 28) it learned from; trained if it is not stored. Raises UserError."""
    config, data, teacher = control_config(experiment.config), experiment.data, experiment.teacher.network
    if config is None:
        return None
    console.line("and the student that is taught by labels alone:")
    with open_session(config.cache_folder, config.retrain, console) as session:
        lesson = pipeline.student_lesson(config, data, teacher, session.workers)
        return pipeline.train_student(config, data, teacher, lesson, session), lesson.first(N_IMAGES)


def check_no_digit(config: Config, wanted: bool | None) -> None:
    """Raises UserError when a student is asked for that cannot be there."""
    if wanted and no_digit_config(config) is None:
        reason = "the student itself sees none" if config.is_drawn else "it would hear no class, either"
        raise UserError(f"--with-no-digit: {reason}; leave the flag out")


def sizes_of(config: Config, wanted: bool | None) -> list[tuple[int, ...]]:
    """Of the networks that the page will hold for sure."""
    teacher, student = (config.training(kind).sizes for kind in ("teacher", "student"))
    control = control_config(config)
    return [
        teacher, student, *([student] if wanted else []),
        *([control.training("student").sizes] if control else []),
    ]  # fmt: skip


def main(argv: list[str] | None = None) -> None:
    parser = argument_parser(
        "Write the explorer, a page to draw digits on for the networks of a run; trains only what is not "
        "stored yet.",
        PageFlags,
    )
    third = parser.add_mutually_exclusive_group()
    third.add_argument(
        "--with-no-digit", action="store_true", default=None, dest="no_digit",
        help="with the student that never saw a digit, trained if need be (default: if it is stored)",
    )  # fmt: skip
    third.add_argument(
        "--without-no-digit", action="store_false", default=None, dest="no_digit", help="without that student"
    )
    parser.add_argument(
        "--out", type=named_file, help=f"file to write (default: {PAGE_NAME} where --outdir says)"
    )
    arguments = parser.parse_args(argv)
    config = Config(**{"recipe": DEFAULT_RECIPE, **given_settings(arguments, Config)})
    check_something_omitted(config)
    check_no_digit(config, arguments.no_digit)
    check_size(sizes_of(config, arguments.no_digit), bool(arguments.no_digit))
    if arguments.out:
        check_output(arguments.out)
    console = Console(config.quiet)
    experiment = pipeline.run(config, console)
    path = arguments.out or experiment.outdir / PAGE_NAME
    check_output(path)
    third_network = no_digit_student(experiment, arguments.no_digit, console)
    control = control_student(experiment, console)
    text = checked_page(gathered(experiment, third_network, control, console))
    with atomic_output(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
    console.line(f"wrote {path}: {path.stat().st_size / 1e6:.1f} MB")
    warn_of_stand_in(experiment.data, RENDERED_NOTICE, console)


if __name__ == "__main__":
    run_script(main)
