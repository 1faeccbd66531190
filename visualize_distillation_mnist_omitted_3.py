#!/usr/bin/env python3
"""The pictures of the experiment: how both networks learn, what one scalar changes, and why it works.

    python3 visualize_distillation_mnist_omitted_3.py       # PNGs into viz/

Takes the flags of distillation_mnist_omitted_3.py and trains only what is not stored yet. Each picture is a
function in pictures/.
"""

from __future__ import annotations

from support.charts import write_pictures
from support.console import Console, UserError, run_script
from support.data import warn_of_stand_in
from support.experiment import Experiment
from support.settings import argument_parser, given_settings

from collections.abc import Callable

from matplotlib.figure import Figure

from beyond import pipeline
from beyond.data import RENDERED_NOTICE
from beyond.settings import Config
from pictures.correction import bias_correction, omitted_examples
from pictures.knowledge import dark_knowledge, imagined, transfer_set, transformations
from pictures.learning import per_class_accuracy, student_curves, teacher_curves

PICTURES: tuple[Callable[[Experiment], Figure], ...] = (
    teacher_curves,
    student_curves,
    per_class_accuracy,
    bias_correction,
    dark_knowledge,
    transfer_set,
    omitted_examples,
    imagined,
    transformations,
)


def check_something_omitted(config: Config) -> None:
    """Raises UserError when no class is omitted."""
    if not config.omitted_class:
        raise UserError("these pictures show what the student never saw; leave at least one class out")


def main(argv: list[str] | None = None) -> None:
    description = "Draw the pictures of the experiment; trains only what is not stored yet."
    arguments = argument_parser(description, Config).parse_args(argv)
    config = Config(**given_settings(arguments, Config))
    check_something_omitted(config)
    console = Console(config.quiet)
    experiment = pipeline.run(config, console)
    write_pictures(PICTURES, experiment, console)
    warn_of_stand_in(experiment.data, RENDERED_NOTICE, console)


if __name__ == "__main__":
    run_script(main)
