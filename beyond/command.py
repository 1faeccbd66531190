"""The command line of the experiment: all flags, and what is reported at the end."""

from __future__ import annotations

from support.console import Console
from support.data import warn_of_stand_in
from support.report import report, short_name, summary
from support.settings import argument_parser, given_settings

from beyond.data import RENDERED_NOTICE
from beyond.pipeline import run
from beyond.settings import GROUPS, Config


def main(argv: list[str] | None = None) -> None:
    parser = argument_parser("Distil MNIST into a student that never sees one of the digits.", Config, GROUPS)
    config = Config(**given_settings(parser.parse_args(argv), Config))
    console = Console(config.quiet)
    experiment = run(config, console)
    found = experiment.results()
    report(experiment.outdir, found, summary(found, short_name(config.omitted_class)), console)
    warn_of_stand_in(experiment.data, RENDERED_NOTICE, console)
