"""JSON that nobody vouches for: read with care, and held to what a run measures before anything uses it."""

from __future__ import annotations

from support.console import UserError, printable
from support.files import read_regular
from support.settings import N_CLASSES

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

LARGEST = 1e9  # of seconds, offsets and losses: sums and squares of them are numbers still
MAX_JSON_BYTES = 64 * 2**20  # the largest results.json of ours has one
Check = Callable[[Any], bool]


def parse_json(content: bytes) -> Any:
    """What is in `content`. Raises ValueError: no JSON, NaN or infinity in it, or too deep to be ours."""

    def refuse(constant: str) -> Any:
        raise ValueError(f"it holds {constant}")

    try:
        return json.loads(content.decode("utf-8-sig"), parse_constant=refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def read_json(path: Path) -> Any:
    """The JSON of a plain file. Raises FileNotFoundError, or ValueError with a reason in a few words."""
    try:
        return parse_json(read_regular(path, MAX_JSON_BYTES))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(str(error)) from error
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from error


def read_checked(path: Path, check: Callable[[Any], Any]) -> tuple[Any, Any]:
    """The content of results.json, and what `check` makes of it, which raises ValueError where it is wrong.

    Raises FileNotFoundError, or UserError for anything that is no such file.
    """
    try:
        found = read_json(path)
        return found, check(found)
    except ValueError as error:
        raise UserError(
            f"{path} is not a study's results: {error}; move it away or name another --outdir"
        ) from error


def number(low: float = -LARGEST, high: float = LARGEST) -> Check:
    """From `low` to `high`, and so finite."""
    return lambda x: isinstance(x, (int, float)) and not isinstance(x, bool) and low <= x <= high


def whole(low: int, high: float = 10**18) -> Check:
    return lambda x: isinstance(x, int) and not isinstance(x, bool) and low <= x <= high


def list_of(check: Check, length: int | None = None) -> Check:
    return lambda x: isinstance(x, list) and length in (None, len(x)) and all(map(check, x))


def dict_of(check: Check) -> Check:
    return lambda x: isinstance(x, dict) and all(map(check, x.values()))


def object_of(checks: dict[str, Check]) -> Check:
    """An object in which every key of `checks` has a value that passes."""
    return lambda x: isinstance(x, dict) and all(k in x and check(x[k]) for k, check in checks.items())


def optional(check: Check) -> Check:
    return lambda x: x is None or check(x)


def nothing(x: Any) -> bool:
    return x is None


def anything(x: Any) -> bool:
    return True


def is_object(x: Any) -> bool:
    return isinstance(x, dict)


def text(x: Any) -> bool:
    return isinstance(x, str) and printable(x) == x


share = number(0, 1)
classes = list_of(whole(0, N_CLASSES - 1))


def hold(found: Any, checks: dict[str, Check], where: str = "it") -> None:
    """Raises ValueError unless `found` is a dict in which every key of `checks` has a value that passes."""
    if not isinstance(found, dict):
        raise ValueError(f"{where} is no object with keys")
    for key, check in checks.items():
        if key not in found:
            raise ValueError(f"{where} lacks {key}")
        if not check(found[key]):
            raise ValueError(f"{where} has a wrong {key}: {json.dumps(found[key])[:40]}")


def check_metrics(found: Any, n_test: int, omitted: Sequence[int], where: str) -> None:
    """Accuracies in [0, 1], errors whole and no more than images. Raises ValueError."""
    checks = {"test_accuracy": share, "per_class_accuracy": list_of(optional(share), N_CLASSES)}
    checks |= dict.fromkeys(("test_errors", "omitted_errors"), whole(0, n_test))
    checks["omitted_accuracy"] = share if omitted else nothing
    checks["other_accuracy"] = share if len(omitted) < N_CLASSES else nothing
    hold(found, checks, where)
    if abs(found["test_accuracy"] - (1 - found["test_errors"] / n_test)) > 1e-9:
        raise ValueError(f"{where} has a test_accuracy that its test_errors contradict")


def check_correction(found: Any, n_test: int, omitted: Sequence[int], corrected: Sequence[int]) -> None:
    """One finite offset for each corrected class, and what belongs to it. Raises ValueError."""
    some, n = 0 < len(omitted) < N_CLASSES, len(corrected)
    checks = {
        "offsets": list_of(number(), n),
        "target_frequencies": list_of(share, n),
        "probe_size": whole(1),
    }
    of_probabilities = list_of(number(-1e-6, 1 + 1e-6), n)
    checks |= {f"mean_probabilities_{when}": of_probabilities for when in ("before", "after")}
    checks["reached"] = lambda x: isinstance(x, bool)
    checks["best_on_test_set"] = is_object if some else nothing
    hold(found, checks, "bias_correction")
    # runs from before these two were there do not have them
    parts = dict.fromkeys(("offset", "on_omitted", "on_others", "on_all"), number())
    of_one = some and len(omitted) == 1 and list(corrected) == list(omitted)
    three = list_of(is_object, 3) if of_one else nothing
    held = {"classes": lambda x: x == list(corrected), "calibration": three}
    hold(found, {key: check for key, check in held.items() if key in found}, "bias_correction")
    for one in found.get("calibration") or ():
        hold(one, parts, "calibration")
    if some:
        errors = whole(0, n_test)
        best = {"offset": number(), "test_errors": errors, "omitted_errors": errors}
        hold(found["best_on_test_set"], best, "best_on_test_set")


def check_transfer_set(found: Any) -> None:
    """What is said of a drawn transfer set. Raises ValueError."""
    checks = {"kind": text, "n_different": whole(1), "teacher_mean_largest": share}
    checks |= {"teacher_mean_probabilities": list_of(share, N_CLASSES)}
    hold(found, checks | {"nearest_digit_cosine": number(0, 1.001)}, "transfer_set")


def check_data(found: Any) -> None:
    """What is said of the data. Raises ValueError."""
    images = whole(1)
    hold(found, {"name": text, "sha256": dict_of(text), "n_train": images, "n_test": images}, "data")


def check_run(
    found: Any, n_test: int, omitted: Sequence[int], corrected: Sequence[int] | None = None
) -> None:
    """What one run of an experiment measured, as in results.json. Raises ValueError.

    `corrected`: the classes whose biases the correction sets, if these are not the omitted ones.
    """
    hold(found, dict.fromkeys(("teacher", "student", "bias_correction"), anything))
    if "transfer_set" in found:
        check_transfer_set(found["transfer_set"])
    check_metrics(found["teacher"], n_test, omitted, "teacher")
    parts = ("before_correction", "after_correction")
    hold(found["student"], dict.fromkeys(parts, anything), "student")
    for part in parts:
        check_metrics(found["student"][part], n_test, omitted, f"student.{part}")
    check_correction(found["bias_correction"], n_test, omitted, omitted if corrected is None else corrected)


def check_results(run: Any) -> None:
    """Raises ValueError when `run` is not the results.json of one run of one of the experiments."""
    keys = ("config", "data", "teacher", "student", "bias_correction", "wall_clock_seconds")
    hold(run, dict.fromkeys(keys, is_object))
    hold(run["config"], {"seed": whole(0), "omitted_class": classes}, "config")
    check_data(run["data"])
    omitted, n_test = run["config"]["omitted_class"], run["data"]["n_test"]
    corrected = run["bias_correction"].get("classes", omitted)  # older runs do not say it
    hold({"classes": corrected}, {"classes": classes}, "bias_correction")
    check_run(run, n_test, omitted, corrected)
    hold(run["wall_clock_seconds"], {"total": number(0)}, "wall_clock_seconds")
    hold(run, {"environment": is_object} if "environment" in run else {})
    if "threads" in run.get("environment", {}):
        hold(run["environment"], {"threads": whole(1, 10_000)}, "environment")
    if "networks" in run:
        hold(run, {"networks": dict_of(is_object), "baseline": is_object})
        fractions = {name for name in ("label_fraction", "transfer_fraction") if name in run["config"]}
        hold(run["config"], dict.fromkeys(fractions, share), "config")  # older runs do not have them
        check_metrics(run["baseline"], n_test, omitted, "baseline")
        hold(run["networks"], dict.fromkeys(("teacher", "student", "baseline"), is_object), "networks")
        sizes = dict.fromkeys(("parameters", "multiply_adds", "bytes", "bytes_8_bits"), whole(1))
        times = dict.fromkeys(("milliseconds_alone", "milliseconds_per_image"), number(0))
        for name, network in run["networks"].items():
            hold(network, sizes | times | {"test_accuracy_8_bits": share}, f"networks.{name}")


def check_history(run: Any, lengths: dict[str, int]) -> None:
    """Raises ValueError unless a run holds as many epochs of each training as `lengths` says."""
    hold(run, {"history": is_object})
    epoch = {"loss": number(0), "seconds": number(0), "test_accuracy": share}
    epoch |= dict.fromkeys(("omitted_accuracy", "other_accuracy"), optional(share))
    for kind, length in lengths.items():
        hold(run["history"], {kind: list_of(is_object, length)}, "history")
        for number_of_epoch, entry in enumerate(run["history"][kind]):
            hold(entry, epoch, f"history.{kind}.{number_of_epoch}")
