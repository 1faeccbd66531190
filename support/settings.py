"""Settings as a dataclass whose fields are the flags: default, help and bounds are declared once.

    @dataclass(frozen=True, kw_only=True)
    class Config(CommonSettings):
        temperature: float = setting(20.0, "softmax temperature", type=float, above=0)

gives `--temperature`, its help with the default, and a UserError for what lies outside, whether it came from
the command line or from Python.
"""

from __future__ import annotations

from support.console import OneLineParser, UserError
from support.files import user_cache

import argparse
import math
import numbers
import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

N_CLASSES = 10
MAX_SEED = 10**18 - 1  # of 18 digits
BOUNDS: dict[str, tuple[Callable[[Any, Any], bool], str]] = {
    "at_least": (operator.ge, "at least {}"),
    "above": (operator.gt, "above {}"),
    "at_most": (operator.le, "at most {}"),
    "below": (operator.lt, "below {}"),
}
KINDS = {int: "whole number", float: "finite number"}
# Settings that decide no result: where things lie, and what is printed.
DECIDE_NOTHING = ("dataset", "data_dir", "mirror", "cache_dir", "outdir", "retrain", "quiet")


def named_folder(text: str) -> Path:
    """A path given as a flag. Raises ArgumentTypeError for an empty one, which would mean the folder here."""
    if not text.strip():
        raise argparse.ArgumentTypeError("the name is empty; for this folder, say .")
    return Path(text)


def named_file(text: str) -> Path:
    """The same for a file."""
    if not text.strip():
        raise argparse.ArgumentTypeError("the name is empty; name a file")
    return Path(text)


def written_file(suffix: str) -> Callable[[str], Path]:
    """The same for a file that is written in one format: its name may lack `suffix`, but not have another."""

    def file(text: str) -> Path:
        path = named_file(text)
        if path.suffix.lower() not in ("", suffix):
            raise argparse.ArgumentTypeError(f"{text} is written as {suffix}; call it {path.stem}{suffix}")
        return path

    return file


def whole_number(text: str) -> int:
    """`int`, but within what the arithmetic takes: of at most 18 digits."""
    if len(text) > 18:
        raise argparse.ArgumentTypeError(f"invalid int value: '{text[:18]}...'")
    return int(text)


whole_number.__name__ = "int"  # argparse names the type in its message


def setting(default: Any, help: str, **declared: Any) -> Any:
    """A field that is a flag. `declared` holds bounds (see BOUNDS) and arguments of `add_argument`.

    A number is whole unless its type says otherwise.
    """
    bounds = {name: declared.pop(name) for name in BOUNDS if name in declared}
    if bounds:
        declared.setdefault("type", whole_number)
    return field(default=default, metadata={"help": help, "bounds": bounds, "flag": declared})


@dataclass(frozen=True, kw_only=True)
class CommonSettings:
    """What every experiment of this project can be told. Raises UserError when a value makes no sense.

    A subclass adds `omitted_class`, `data_dir` and `cache_dir`, in words of its own.
    """

    CACHE = ""  # name of the folder below the user's cache

    seed: int = setting(0, "seed of every random choice", at_least=0, at_most=MAX_SEED)
    probe_size: int = setting(
        5000,
        "images, from the first on, that set the bias correction; 60000 with a drawn transfer set",
        type=whole_number,
        at_least=1,
    )
    hold_out: int = setting(
        0, "train without the last N training images and measure on them, not on the test set",
        at_least=0, metavar="N",
    )  # fmt: skip
    mirror: tuple[str, ...] = setting(
        (), "address to download from instead of the known ones", action="append"
    )
    retrain: bool = setting(False, "train again, even if this training is stored", action="store_true")
    quiet: bool = setting(False, "print only warnings and the final table", action="store_true")

    def __post_init__(self) -> None:
        for item in fields(self):
            value = plain_value(getattr(self, item.name), item.metadata["flag"].get("type"))
            check_field(item.name, value, item.default, item.metadata)
            object.__setattr__(self, item.name, value)
        omitted = tuple(sorted(set(self.omitted_class)))
        object.__setattr__(self, "omitted_class", omitted)
        if len(omitted) == N_CLASSES and not self.may_omit_all:
            raise UserError("--omitted-class must be fewer than all classes")
        if self.data_dir is not None and getattr(self, "dataset", "") == "rendered":
            raise UserError("--data-dir and --dataset rendered exclude each other; leave one of them out")

    @property
    def may_omit_all(self) -> bool:
        """Whether there is anything to learn from when every class is left out."""
        return False

    @property
    def cache_folder(self) -> Path:
        """Where downloads and finished trainings are kept. Raises UserError without a home directory."""
        return self.cache_dir or user_cache() / self.CACHE

    def plain(self) -> dict[str, Any]:
        """Every setting in a form that JSON can hold."""
        return {k: str(v) if isinstance(v, Path) else v for k, v in asdict(self).items()}


def plain_value(value: Any, kind: Any) -> Any:
    """Numbers of whatever library as Python's own, and as floats where these are wanted: 20 means 20.0.

    The name of a folder as its path.
    """
    if isinstance(value, tuple):
        return tuple(plain_value(one, kind) for one in value)
    if kind is named_folder and isinstance(value, str):
        return Path(value)
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return value
    return float(value) if kind is float or not isinstance(value, numbers.Integral) else int(value)


def check_field(name: str, value: Any, default: Any, declared: Mapping[str, Any]) -> None:
    """Raises UserError when `value` is not of the declared type, out of bounds or none of the choices."""
    flag, bounds = declared["flag"], declared["bounds"]
    kind = {whole_number: int}.get(flag.get("type"), flag.get("type"))
    if value is None and default is None:
        return
    elements = value if isinstance(value, tuple) else (value,)
    right_form = isinstance(value, tuple) == isinstance(default, tuple)
    if kind is int:
        right_form &= all(isinstance(e, int) and not isinstance(e, bool) for e in elements)
    if kind is float:
        right_form &= all(isinstance(e, (int, float)) and math.isfinite(e) for e in elements)
    choices = flag.get("choices")
    try:
        within = all(BOUNDS[b][0](e, limit) for b, limit in bounds.items() for e in elements)
    except TypeError:  # not even comparable
        within = False
    if not (right_form and within) or (choices and not all(e in choices for e in elements)):
        number = KINDS.get(kind, "valid value")
        wanted = [f"{number}s" if isinstance(default, tuple) else f"a {number}"]
        wanted = [f"one of {', '.join(map(str, choices))}"] if choices else wanted
        wanted += [BOUNDS[b][1].format(f"{limit:,}") for b, limit in bounds.items()]
        shown = " ".join(str(e).removesuffix(".0") for e in elements)
        raise UserError(f"{flag_name(name)} must be {', '.join(wanted)}, not {shown}")


def flag_name(field_name: str) -> str:
    return "--" + field_name.replace("_", "-")


def argument_parser(
    description: str,
    settings: type[CommonSettings],
    groups: Mapping[str, Sequence[str]] | None = None,
    left_out: Collection[str] = (),
) -> argparse.ArgumentParser:
    """A parser with a flag for each field of `settings` but those `left_out`.

    `groups` holds names of fields by title, in the order of the help; what is in none comes last. What the
    user does not give, its result lacks.
    """
    parser = OneLineParser(usage="%(prog)s [flags]", description=description, allow_abbrev=False)
    items = {item.name: item for item in fields(settings) if item.name not in left_out}
    titled = [(title, name) for title, names in (groups or {}).items() for name in names if name in items]
    grouped = {title: parser.add_argument_group(title) for title in dict.fromkeys(t for t, _ in titled)}
    placed = [(grouped[title], items.pop(name)) for title, name in titled]
    for place, item in placed + [(parser, item) for item in items.values()]:
        default, flag, help = item.default, dict(item.metadata["flag"]), item.metadata["help"]
        if default is not None and default is not False and default != ():
            help += f" (default: {' '.join(map(str, default)) if isinstance(default, tuple) else default})"
        group = place.add_mutually_exclusive_group() if item.name == "omitted_class" else place
        group.add_argument(flag_name(item.name), default=argparse.SUPPRESS, help=help, **flag)
        if item.name == "omitted_class":
            group.add_argument(
                "--keep-class",
                type=flag["type"],
                nargs="+",
                choices=range(N_CLASSES),
                metavar="CLASS",
                help="the only classes that the student sees, instead of those that it does not",
            )
    return parser


def given_settings(arguments: argparse.Namespace, settings: type[CommonSettings]) -> dict[str, Any]:
    """The settings that the user gave, and no defaults."""
    given = {f.name: getattr(arguments, f.name) for f in fields(settings) if hasattr(arguments, f.name)}
    if getattr(arguments, "keep_class", None):
        given["omitted_class"] = sorted(set(range(N_CLASSES)) - set(arguments.keep_class))
    return {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}
