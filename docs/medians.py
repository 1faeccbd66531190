"""What the described teacher says of 3s, by digit: viz/soft_targets.json, from which the pages quote.

python3 -m docs.medians              # takes the stored training, where there is one
"""

from __future__ import annotations

from support.console import Console, run_script
from support.report import write_json
from support.settings import argument_parser, given_settings

import numpy as np

import distillation_mnist_omitted_3 as core
from docs.committed import SOFT_TARGETS


def soft_targets_for(omitted: int, p: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The medians of soft targets `p` (n,) for class `omitted` by digit, and over all other digits."""
    groups = {str(c): labels == c for c in range(10)} | {"all others": labels != omitted}
    return {name: float(f"{np.median(p[which]):.3g}") for name, which in groups.items()}


def main(argv: list[str] | None = None) -> None:
    parser = argument_parser("Write what the described teacher says of 3s.", core.Config)
    parser.prog = "python3 -m docs.medians"
    config = core.Config(**given_settings(parser.parse_args(argv), core.Config))
    experiment = core.run(config, Console(config.quiet))
    data, (omitted,) = experiment.data, config.omitted_class
    with core.Workers() as workers:
        logits = core.predict(experiment.teacher.network, data.train_images, workers)
    medians = {
        f"T = {t:g}": soft_targets_for(omitted, core.softmax(logits, t)[:, omitted], data.train_labels)
        for t in (1.0, config.temperature)
    }
    flags = {name: value for name, value in config.plain().items() if name in ("seed", "temperature")}
    write_json(SOFT_TARGETS, {"data": data.name, "sha256": data.sha256, "medians": medians} | flags)


if __name__ == "__main__":
    run_script(main)
