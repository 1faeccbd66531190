"""Settings: bounds and types from the command line and from Python, and what --help says of them."""

from __future__ import annotations

from support import settings
from support.console import UserError
from support.settings import argument_parser, flag_name, given_settings

import dataclasses
import math
import re
from pathlib import Path

import pytest

from beyond.settings import Config
from cifar10.settings import Config as CifarConfig

BOTH = pytest.mark.parametrize("config", [Config, CifarConfig], ids=["mnist", "cifar10"])


def numeric_fields(config: type) -> list[dataclasses.Field]:
    return [f for f in dataclasses.fields(config) if f.metadata["bounds"]]


LIMITS = {  # as mathematics writes intervals; what has no upper end goes on
    Config: {
        "[0, 9]": "teacher_omitted_class omitted_class mislabelled",
        "[0, 999999999999999999]": "seed teacher_seed",
        "[1, )": "probe_size transfer_images n_epochs_teacher n_epochs_student batch_size batch_size_student",
        "[0, )": "hold_out",
        "[0, 28)": "jitter jitter_student",
        "[0, 180]": "rotation rotation_student",
        "[0, 0.9]": "scaling scaling_student",
        "[0, 2]": "shear shear_student",
        "[0, 28]": "elastic elastic_student",
        "(0, 1]": "transfer_fraction mislabelled_share",
        "[0, 1)": "label_smoothing",
        "[0, 1000]": "spare_outputs",
        "[-1, 0.5]": "background",
        "(0, 1)": "probe_share",
        "[0.01, 10000]": "temperature",
        "[1, 100000]": "teacher_hidden student_hidden",
        "(0, )": "learning_rate learning_rate_student max_norm",
        "[0, 0.99]": "dropout_input dropout",
        "[0, 1]": "hard_weight",
    },
    CifarConfig: {
        "[0, 999999999999999999]": "seed",
        "[1, )": "probe_size n_epochs_teacher n_epochs_student",
        "[0, )": "hold_out",
        "[0.01, 10000]": "temperature",
        "[2, )": "batch_size batch_size_student",
        "(0, )": "learning_rate learning_rate_student learning_rate_baseline",
        "[0, 1)": "weight_decay weight_decay_student",
        "[0, 32)": "jitter jitter_student",
        "[1, 1000]": "n_versions",
        "(0, 1]": "label_fraction transfer_fraction",
    },
}


def interval(bounds: dict) -> str:
    low = f"[{bounds['at_least']}" if "at_least" in bounds else f"({bounds['above']}"
    high = bounds.get("at_most", bounds.get("below", ""))
    return f"{low}, {high}{']' if 'at_most' in bounds else ')'}"


@BOTH
def test_the_bounds_are_these(config):
    wanted = {name: limits for limits, names in LIMITS[config].items() for name in names.split()}
    assert {f.name: interval(f.metadata["bounds"]) for f in numeric_fields(config)} == wanted


# settings without which a value is refused for another reason than its bounds
NEEDED = {
    "transfer_images": {"transfer_set": "contours", "omitted_class": tuple(range(10))},
    "mislabelled_share": {"mislabelled": (3, 5)},
}

PARTNER = {"mislabelled": (5,)}  # the second value of a pair


def in_form(field: dataclasses.Field, value: object) -> object:
    return (value, *PARTNER.get(field.name, ())) if isinstance(field.default, tuple) else value


@BOTH
def test_every_bound_holds_on_the_very_edge_and_not_beyond(config):
    assert numeric_fields(config)
    for field in numeric_fields(config):
        is_float = field.metadata["flag"].get("type") is float
        step = 1e-9 if is_float else 1
        for bound, limit in field.metadata["bounds"].items():
            inside = {"above": limit + step, "below": limit - step}.get(bound, limit)
            outside = {"at_least": limit - step, "at_most": limit + step * max(1, limit)}.get(bound, limit)
            config(**{field.name: in_form(field, inside)}, **NEEDED.get(field.name, {}))
            with pytest.raises(UserError, match=f"^{flag_name(field.name)} must be .*not {outside}( 5)?$"):
                config(**{field.name: in_form(field, outside)}, **NEEDED.get(field.name, {}))


@BOTH
def test_values_of_another_type_are_refused_from_python_too(config):
    for field in numeric_fields(config):
        wrong: list[object] = ["1", [1], math.nan, math.inf, None, (1, "x")]
        if field.metadata["flag"].get("type") is not float:
            wrong += [1.5, True]
        for value in wrong:
            if value is None and (field.default is None or isinstance(field.default, tuple)):
                continue
            with pytest.raises(UserError, match=flag_name(field.name)):
                config(**{field.name: value})
    for field in dataclasses.fields(config):
        if field.metadata["flag"].get("choices"):
            with pytest.raises(UserError, match=f"{flag_name(field.name)} must be one of .*not adam"):
                config(**{field.name: "adam"})


def test_the_message_says_what_is_wanted():
    with pytest.raises(
        UserError, match=r"^--dropout must be a finite number, at least 0, at most 0.99, not 1$"
    ):
        Config(dropout=1)
    with pytest.raises(UserError, match=r"^--student-hidden must be whole numbers, .*, not 800 -5$"):
        Config(student_hidden=(800, -5))
    with pytest.raises(UserError, match=r"^--temperature .* at least 0.01, at most 10,000, not nan$"):
        Config(temperature=math.nan)


def test_a_folder_may_be_named_by_text_from_python_too():
    assert Config(cache_dir="here").cache_folder == Path("here")


def test_omitted_classes_are_sorted_and_counted_once():
    assert Config(omitted_class=(8, 3, 8)).omitted_class == (3, 8)
    assert Config(omitted_class=()).omitted_class == ()
    assert len(Config(omitted_class=tuple(range(9))).omitted_class) == 9
    with pytest.raises(UserError, match="fewer than all"):
        Config(omitted_class=tuple(range(10)))


@BOTH
def test_help_shows_every_default_zeros_too(config, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as ended:
        argument_parser("What it does.", config).parse_args(["--help"])
    assert ended.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "What it does." in shown
    for field in dataclasses.fields(config):
        text = re.search(rf"{flag_name(field.name)}(?![\w-])(?! \w*,)(.*?)(?= --[a-z]|$)", shown)[1]
        default = field.default
        if default is None or default is False or default == ():
            assert "(default: " not in text or "~" in text or "viz" in text
        else:
            expected = " ".join(map(str, default)) if isinstance(default, tuple) else default
            assert f"(default: {expected})" in text, field.name


def test_flags_reach_the_settings_and_nothing_else_does():
    parser = argument_parser("", Config)

    def given(*flags: str) -> dict[str, object]:
        return given_settings(parser.parse_args(flags), Config)

    assert given() == {}
    assert given("--seed", "0", "--omitted-class", "5", "3") == {"seed": 0, "omitted_class": (5, 3)}
    assert given("--keep-class", "7", "8") == {"omitted_class": (0, 1, 2, 3, 4, 5, 6, 9)}
    assert given("--mirror", "a", "--mirror", "b") == {"mirror": ("a", "b")}
    assert given("--quiet", "--outdir", "x") == {"quiet": True, "outdir": Path("x")}


def test_settings_in_plain_form_hold_every_field():
    plain = Config(outdir=Path("x"), omitted_class=(1, 2)).plain()
    assert set(plain) == {f.name for f in dataclasses.fields(Config)}
    assert (plain["outdir"], plain["omitted_class"], plain["data_dir"]) == ("x", (1, 2), None)


@pytest.mark.parametrize("home", ["", "relative"])
def test_a_home_that_is_no_absolute_path_is_none(home, monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", home)
    with pytest.raises(UserError, match="--cache-dir"):
        _ = Config().cache_folder
    assert Config(cache_dir=tmp_path).cache_folder == tmp_path
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    with pytest.raises(UserError, match="--cache-dir"):
        _ = Config().cache_folder
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert Config().cache_folder == Path("/somewhere/hinton-mnist")
    assert CifarConfig().cache_folder == Path("/somewhere/hinton-cifar10")


def test_whole_numbers_are_of_at_most_18_digits():
    assert settings.whole_number("-12") == -12
    for text in ("1.5", "1e3", "", "x"):
        with pytest.raises(ValueError, match="invalid literal"):
            settings.whole_number(text)
    with pytest.raises(settings.argparse.ArgumentTypeError):
        settings.whole_number("1" * 19)


@BOTH
def test_every_bound_can_be_reached_from_the_command_line(config, capsys):
    parser = argument_parser("", config)
    for field in numeric_fields(config):
        for bound in ("at_least", "at_most"):
            if (limit := field.metadata["bounds"].get(bound)) is not None:
                partner = PARTNER.get(field.name, ())
                arguments = parser.parse_args([flag_name(field.name), str(limit), *map(str, partner)])
                given = given_settings(arguments, config)
                given |= NEEDED.get(field.name, {})
                assert getattr(config(**given), field.name) in (limit, (limit, *partner))
