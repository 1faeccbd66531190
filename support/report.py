"""What a finished experiment says: the final table, results.json, and what it was made with."""

from __future__ import annotations

from support.console import Console, percent
from support.files import atomic_output
from support.settings import N_CLASSES
from support.tiles import blas_kernel

import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = "results.json"
DIGITS = tuple("0123456789")  # what the classes of MNIST are called
Results = dict[str, Any]  # the content of results.json


def blas_name() -> str:
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return f"{blas['name']} {blas['version']}"


def environment(n_threads: int) -> dict[str, Any]:
    """What this process runs with and on; a stored training may be another machine's."""
    cpu = platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": blas_name(),
        "kernel": blas_kernel(),
        "os": platform.platform(),
        "cpu": cpu or platform.machine(),
        "cores": os.cpu_count(),
        "threads": n_threads,
    }


def class_name(omitted_class: Sequence[int], names: Sequence[str] = DIGITS) -> str:
    """ "class 3", "classes 3, 5", "class cat", "any class"."""
    if len(omitted_class) == len(names):
        return "any class"
    plural = "class" if len(omitted_class) == 1 else "classes"
    return f"{plural} {', '.join(names[c] for c in omitted_class)}"


def short_name(omitted_class: Sequence[int]) -> str:
    """What a column of a table can hold: "3s", for several classes "omitted", for none or all ""."""
    if len(omitted_class) == N_CLASSES:
        return ""
    return f"{omitted_class[0]}s" if len(omitted_class) == 1 else "omitted" if omitted_class else ""


def shown_accuracies(unseen: str = "") -> dict[str, str]:
    """Columns of the progress table by heading; `unseen` names the class or classes that are never seen."""
    of_unseen = {unseen: "omitted_accuracy", "others": "other_accuracy"} if unseen else {}
    return {"test": "test_accuracy", **of_unseen}


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with the first column to the left, the others to the right, as narrow as they can be."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    return [
        "  ".join(
            f"{cell:>{w}}" if i else f"{cell:<{w}}"
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in [header, *rows]
    ]


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]], n_left: int = 1) -> str:
    """A Markdown table, the first `n_left` columns to the left, the others to the right."""
    rule = ["---"] * n_left + ["---:"] * (len(header) - n_left)
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *rows])


def summary(found: Results, unseen: str, names: Sequence[str] = DIGITS) -> str:
    """The final table of an experiment, at most 80 columns.

    `unseen` is what columns call the omitted class or classes, `names` are those of all classes.
    """
    omitted, networks = found["config"]["omitted_class"], found.get("networks")
    unseen = unseen if omitted else ""
    student = found["student"]
    rows = [("teacher", "teacher", found["teacher"])]
    if offsets := found["bias_correction"]["offsets"]:
        offset = f" ({offsets[0]:+.3f})" if len(offsets) == 1 else ""
        rows.append(("student before the correction", "student", student["before_correction"]))
        rows.append((f"student after it{offset}", "student", student["after_correction"]))
    else:
        how = ", soft targets alone" if "baseline" in found else ""
        rows.append((f"student{how}", "student", student["before_correction"]))
    if "baseline" in found:
        rows.append(("the same student, hard labels", "baseline", found["baseline"]))

    def cells(network: str, m: Results) -> list[str]:
        of_omitted = [percent(m["omitted_accuracy"])] if unseen else []
        if networks:
            sizes = networks[network]
            last = [f"{sizes['parameters']:,}", f"{sizes['multiply_adds']:,}"]
        else:
            last = [str(m["test_errors"]), *([str(m["omitted_errors"])] if unseen else [])]
        return [percent(m["test_accuracy"]), *of_omitted, *last]

    name = found["data"]["name"]
    is_long = len(name) > 30  # then it takes a line of its own
    header = ["" if is_long else name, "overall"] + ([f"of {unseen}"] if unseen else [])
    header += (
        ["parameters", "multiply-adds"] if networks else ["errors"] + ([f"on {unseen}"] if unseen else [])
    )
    lines = [name] if is_long else []
    lines += text_table(header, [[label, *cells(network, m)] for label, network, m in rows])
    seconds = found["wall_clock_seconds"].items()
    if learned := found.get("transfer_set"):
        lines.append(f"the student learned from {learned['n_different']:,} drawn images: {learned['kind']}")
    lines += correction_lines(found["bias_correction"], omitted, unseen, names)
    lines.append("seconds: " + ", ".join(f"{name.replace('_', ' ')} {value:.1f}" for name, value in seconds))
    return "\n".join(lines)


def correction_lines(
    correction: Results, omitted: Sequence[int], unseen: str, names: Sequence[str]
) -> list[str]:
    """What the correction did to each omitted class, and the offset that the test set would have chosen."""
    lines, one = [], len(correction["classes"]) == 1
    for index, c in enumerate(correction["classes"]):
        parts = ("mean_probabilities_before", "mean_probabilities_after", "target_frequencies", "offsets")
        before, after, target, offset = (correction[part][index] for part in parts)
        what = "on the probe: mean" if one else f"offset {offset:+.3f},"
        lines.append(f"class {names[c]} {what} probability {before:.4f} -> {after:.4f}, target {target:.4f}")
    if best := correction["best_on_test_set"]:
        lines.append(
            f"best {'' if len(omitted) == 1 else 'common '}offset by test labels, for comparison: "
            f"{best['offset']:+.3f}, {best['test_errors']} errors"
            + (f", {best['omitted_errors']} on {unseen}" if len(omitted) == 1 else "")
        )
    return lines


def warn_if_unreached(
    correction: Any, max_offset: float, console: Console, names: Sequence[str] = DIGITS
) -> None:
    """Say so when no offset brings the classes of `correction` to their targets."""
    if not correction.reached:
        console.warn(
            f"warning: no offset within +-{max_offset:g} brings the mean probability of "
            f"{class_name(correction.classes, names)} to its target; the bias is left as it is"
        )


def report(outdir: Path, found: Results, table: str, console: Console) -> None:
    """Print the final table, whatever happens to the file, and write results.json. Raises UserError."""
    console.line()
    console.always(table)
    write_json(outdir / RESULTS, found)
    console.line(f"wrote {outdir / RESULTS}")


def write_json(path: Path, content: Any, sort_keys: bool = True) -> None:
    """Indented, and no NaN: plain numbers only. Raises UserError when it cannot be written."""
    with atomic_output(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, sort_keys=sort_keys, allow_nan=False) + "\n")
