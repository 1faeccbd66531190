"""Where distillation pays on CIFAR-10: sizes of student, shares of the images, lengths of training.

    python3 -m cifar10.gain                    # results.json and gain.png into viz/cifar10/gain
    python3 -m cifar10.gain --parts shares --seeds 1

Takes the flags of `python3 -m cifar10`, but for those that it sets itself. Each run is a student on soft
targets and the same student on hard labels, both from trainings that the other scripts find again.
"""

from __future__ import annotations

from support.charts import our_style, save
from support.checks import hold, is_object, list_of, number, read_checked, text, whole
from support.console import Console, UserError, put, run_script
from support.data import Data, warn_of_stand_in
from support.files import check_folder, check_output
from support.report import RESULTS, Results, environment, write_json
from support.settings import argument_parser, given_settings, named_folder, whole_number
from support.stored import Session, Store, key_of, open_session
from support.tiles import Workers

import argparse
import json
from concurrent.futures import BrokenExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cifar10 import lessons
from cifar10.data import RENDERED_NOTICE, load_data
from cifar10.experiment import outdir_for
from cifar10.gain_tables import draw_gain, gain_tables, share_name
from cifar10.network import ConvNet
from cifar10.settings import Config
from runs.folders import FREE, newest_of_each
from runs.many import Progress
from runs.processes import Shared, given_here, local_pool, outcomes, reason_of

STUDENTS = {  # by what they are called, from a half of the default teacher's parameters to a fiftieth
    "half": "32 M 32 100 M 100 100 M 100",
    "fifth": " ".join(Config().student_channels),
    "tenth": "28 M 28 36 M 36 36 M 36",
    "fiftieth": "8 M 8 18 M 18 18 M 18",
}
SHARES = (1.0, 0.3, 0.1, 0.03)
VARIED = ("student_channels", "transfer_fraction", "n_epochs_student")
NOT_HERE = (*VARIED, "seed", "omitted_class", "label_fraction", "retrain", "probe_size")


@dataclass(frozen=True)
class Point:
    """One setting of the study; an epoch is as long as one over all images, whatever the share."""

    student: str
    share: float
    n_epochs: int

    def config(self, base: Config, seed: int) -> Config:
        return replace(
            base, student_channels=tuple(STUDENTS[self.student].split()), transfer_fraction=self.share,
            n_epochs_student=self.n_epochs, seed=seed,
        )  # fmt: skip


PARTS: dict[str, tuple[Point, ...]] = {
    "shares": tuple(Point(student, share, 2) for student in STUDENTS for share in SHARES),
    "lengths": tuple(
        Point(student, share, n)
        for student, lengths in (("tenth", (2, 10)), ("fiftieth", (2, 4, 10, 40)))
        for n in lengths
        for share in (1.0, 0.03)
    ),
}


# ---- One run, in a process of its own ----------------------------------------------------------------------


def accuracies(config: Config, data: Data | Shared) -> dict[str, float]:
    """Test accuracies of both students, trained or stored. Raises UserError when a training diverges."""
    data = given_here(data)
    with Workers() as workers:
        session = Session(workers, Console(quiet=True), Store(config.cache_folder / "runs"))
        teacher = lessons.train_teacher(config, data, session)
        soft = lessons.train_student(config, data, teacher.network, session)
        hard = lessons.train_baseline(config, data, session)
    right = {
        name: run.test_logits[-1].argmax(axis=1) == data.test_labels
        for name, run in (("soft", soft), ("hard", hard))
    }
    return {name: float(which.mean()) for name, which in right.items()}


# ---- All runs ----------------------------------------------------------------------------------------------


def cost(config: Config, data: Data) -> float:
    """What a run takes, in multiply-adds of a step."""
    _, n_per_epoch = lessons.images_for("student", config, data)
    return n_per_epoch * sum(lessons.costs_per_image(config.training("student")))


def teach(configs: list[Config], data: Data, console: Console) -> dict[str, float]:
    """Every seed's teacher and its answers for all images, stored; their test accuracies by seed."""
    found = {}
    for config in {config.seed: config for config in configs}.values():
        with open_session(config.cache_folder, None, console) as session:
            teacher = lessons.train_teacher(config, data, session)
            lessons.teacher_answers(config, data, teacher.network, session)
        right = teacher.test_logits[-1].argmax(axis=1) == data.test_labels
        found[str(config.seed)] = float(right.mean())
    return found


def carry_out(
    points: list[Point], base: Config, seeds: list[int], data: Data, n_jobs: int, console: Console
) -> tuple[list[Results], list[str]]:
    """The runs of all points and seeds, and what failed ones said. Raises UserError when a process dies."""
    runs = {point.config(base, seed): (point, seed) for seed in seeds for point in points}
    costs = {config: cost(config, data) for config in runs}
    progress = Progress(len(runs), sum(costs.values()), console)
    progress.row("done", "left", "gain", "run")
    found: list[Results] = []
    failed: list[str] = []
    try:
        with local_pool(n_jobs, data) as pool:
            ordered = sorted(runs, key=lambda config: (runs[config][1], -costs[config]))
            running = {pool.executor.submit(accuracies, config, pool.shared): config for config in ordered}
            for config, reached, error in outcomes(pool, running, progress.live):
                point, seed = runs[config]
                name = f"{point.student}, {share_name(point.share)}, {point.n_epochs} epochs, seed {seed}"
                if error is not None:
                    failed.append(f"{name}: {reason_of(error)}")
                    progress.failed(failed[-1], 1, costs[config])
                    continue
                found.append({**asdict(point), "seed": seed, **reached})
                gain = f"{100 * (reached['soft'] - reached['hard']):+.1f}"
                progress.succeeded(name, gain, costs[config])
    except BrokenExecutor as error:
        raise UserError(
            "a worker process died (out of memory?); what finished is stored: try fewer --jobs"
        ) from error
    return found, failed


# ---- results.json ------------------------------------------------------------------------------------------


def described(base: Config, data: Data, n_teacher: int) -> Results:
    """All that every run in a results.json has in common."""
    settings = {k: v for k, v in base.plain().items() if k not in FREE and k not in NOT_HERE}
    students = {
        name: {"channels": channels.split(), "parameters": ConvNet(channels.split(), None).n_trained}
        for name, channels in STUDENTS.items()
    }
    return {
        "code": key_of({"code": lessons.trained_by()}),
        "config": json.loads(json.dumps(settings)),
        "data": {"name": data.name, "sha256": data.sha256, "n_train": len(data.train_labels)},
        "students": students,
        "teacher_parameters": n_teacher,
    }


def check(found: Any) -> None:
    """Raises ValueError when `found` is not the results.json of this study."""
    keys = ("config", "data", "students", "teachers", "environment")
    others = {"code": text, "runs": list_of(is_object), "teacher_parameters": whole(1)}
    hold(found, dict.fromkeys(keys, is_object) | others)
    share = number(0, 1)
    for run in found["runs"]:
        checks = {"student": text, "n_epochs": whole(1), "seed": whole(0)}
        hold(run, checks | dict.fromkeys(("share", "soft", "hard"), share), "runs")
        if run["student"] not in found["students"]:
            raise ValueError(f"no student {run['student']!r}")


def read(path: Path) -> Results:
    """Raises FileNotFoundError, and UserError for what is not this study's results."""
    return read_checked(path, check)[0]


def kept(path: Path, common: Results) -> Results:
    """The results that are there already. Raises UserError when they are of other settings, data or code."""
    try:
        before = read(path)
    except FileNotFoundError:
        return {"runs": [], "teachers": {}}
    for name, value in common.items():
        if before[name] != value:
            raise UserError(f"{path} is of other settings ({name}); move it away or name another --outdir")
    return before


def point_of(run: Results) -> tuple[Any, ...]:
    """Where a run stands in the table."""
    return list(STUDENTS).index(run["student"]), -run["share"], run["n_epochs"], run["seed"]


# ---- The command line --------------------------------------------------------------------------------------


def parse(argv: list[str] | None) -> tuple[argparse.Namespace, dict[str, Any]]:
    """The study's own flags and the experiment's that were given. Raises UserError."""
    parser = argument_parser(
        "What soft targets gain over hard labels: sizes, shares of the images, lengths.",
        Config,
        left_out=(*NOT_HERE, "outdir"),
    )
    parser.prog = "python3 -m cifar10.gain"
    parser.add_argument(
        "--outdir", type=named_folder, default=argparse.SUPPRESS, metavar="FOLDER",
        help="folder for results.json and gain.png (default: gain, in that of the experiment)",
    )  # fmt: skip
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), help="which parts (default: all)")
    parser.add_argument("--seeds", type=whole_number, default=3, metavar="N", help="seeds (default: 3)")
    parser.add_argument(
        "--jobs", type=whole_number, metavar="N",
        help="processes that share the cores (default: one per core)",
    )  # fmt: skip
    arguments = parser.parse_args(argv)
    given = given_settings(arguments, Config)
    for name in ("seeds", "jobs"):
        if (value := getattr(arguments, name)) is not None and not 1 <= value <= 1000:
            raise UserError(f"--{name} must be 1 to 1,000, not {value}")
    return arguments, given


def main(argv: list[str] | None = None) -> None:
    arguments, given = parse(argv)
    base, console = Config(**given), Console(given.get("quiet", False))
    data = load_data(base, console)
    folder = base.outdir or outdir_for(base, data) / "gain"
    path = folder / RESULTS
    check_output(path)
    check_folder(base.cache_folder / "runs")  # through which the processes hand over what they trained
    common = described(base, data, ConvNet(base.teacher_channels, None).n_trained)
    before = kept(path, common)
    points = [p for name, part in PARTS.items() if name in (arguments.parts or PARTS) for p in part]
    points, seeds = list(dict.fromkeys(points)), list(range(arguments.seeds))
    configs = [point.config(base, seed) for seed in seeds for point in points]
    for config in configs:  # before anything is trained
        lessons.images_for("student", config, data)
    teachers = teach(configs, data, console)
    n_jobs = arguments.jobs or Workers().n_threads
    new, failed = carry_out(points, base, seeds, data, n_jobs, console)
    found = common | {
        "environment": environment(Workers().n_threads),
        "runs": newest_of_each([*before["runs"], *new], point_of),
        "teachers": before["teachers"] | teachers,
    }
    if not found["runs"]:
        raise UserError(f"every run failed, the first of them {failed[0]}")
    put("\n\n".join(gain_tables(found)) + "\n")
    write_json(path, found)
    console.line(f"wrote {path}")
    with our_style():
        save(draw_gain(found), folder / "gain.png", console)
    warn_of_stand_in(data, RENDERED_NOTICE, console)
    if failed:
        raise UserError(f"{len(failed)} of {len(configs)} runs failed; the others are written")


if __name__ == "__main__":
    run_script(main)
