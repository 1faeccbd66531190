"""The command line: `python3 -m cifar10`."""

from __future__ import annotations

from support.console import Console, run_script
from support.data import warn_of_stand_in
from support.report import report, summary
from support.settings import argument_parser, given_settings

from cifar10.data import RENDERED_NOTICE, class_names
from cifar10.experiment import run
from cifar10.lessons import UNSEEN
from cifar10.settings import Config


def main(argv: list[str] | None = None) -> None:
    parser = argument_parser("Distil a convolutional CIFAR-10 network into a smaller one.", Config)
    parser.prog = "python3 -m cifar10"
    config = Config(**given_settings(parser.parse_args(argv), Config))
    console = Console(config.quiet)
    experiment = run(config, console)
    found = experiment.results()
    table = summary(found, UNSEEN, class_names(experiment.data))
    report(experiment.outdir, found, table, console)
    warn_of_stand_in(experiment.data, RENDERED_NOTICE, console)


if __name__ == "__main__":
    run_script(main)
