"""The page as text: the template with styles, scripts, words and numbers put in, and its size."""

from __future__ import annotations

from support.charts import AFTER, BEFORE, BLIND, HARD, OMITTED, TEACHER
from support.console import UserError

import base64
import gzip
import html
import json
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from explorer.contents import Contents

HERE = Path(__file__).resolve().parent
SCRIPTS = (
    "held.js", "drawing.js", "parts.js", "sections.js", "bias.js", "learning.js", "moving.js", "keeping.js",
    "guide.js", "page.js",
)  # fmt: skip
MAX_BYTES = 9_000_000
COLOURS = {
    "omitted": OMITTED, "teacher": TEACHER, "student": BEFORE, "corrected": AFTER, "blind": BLIND,
    "labels": HARD,
}  # fmt: skip
LEAST_BYTES_PER_WEIGHT = 1.0  # of rounded weights, packed: 1.17 for the networks of the paper


def too_large(size: float, has_blind: bool) -> UserError:
    leave_out = ", leave the third network out with --without-no-digit" if has_blind else ""
    return UserError(
        f"the page would have {size / 1e6:.1f} MB, more than {MAX_BYTES / 1e6:g}; choose smaller layers with "
        f"--teacher-hidden or --student-hidden{leave_out}"
    )


def check_size(networks: Sequence[Sequence[int]], has_blind: bool) -> None:
    """Raises UserError, before minutes of training, when these sizes certainly make the page too large."""
    n_weights = sum(a * b for sizes in networks for a, b in pairwise(sizes))
    least = n_weights * LEAST_BYTES_PER_WEIGHT
    if least > MAX_BYTES:
        raise too_large(least, has_blind)


def packed(arrays: dict[str, np.ndarray]) -> tuple[list[tuple[str, str, int]], str]:
    """Name, type and length of each array, and all their bytes, in this order, as gzip in base64."""
    index = [(name, str(array.dtype), array.size) for name, array in arrays.items()]
    content = b"".join(array.astype(array.dtype.newbyteorder("<")).tobytes() for array in arrays.values())
    return index, base64.b64encode(gzip.compress(content, 9, mtime=0)).decode("ascii")


def page_text(contents: Contents) -> str:
    """The whole page. Raises KeyError when the template asks for what is not there."""
    index, text = packed(contents.arrays)
    about = json.dumps(contents.about | {"arrays": index}, sort_keys=True, allow_nan=False)
    given = {name: html.escape(text, quote=True) for name, text in contents.about["words"].items()}
    given["colours"] = " ".join(f"--{name}: {colour};" for name, colour in COLOURS.items())
    given["style"] = (HERE / "page.css").read_text("utf-8")
    given["network"] = (HERE / "network.js").read_text("utf-8")  # of its own: a worker runs it, too
    given["scripts"] = "\n".join((HERE / name).read_text("utf-8") for name in SCRIPTS)
    given["about"] = about.replace("<", "\\u003c")  # no "</script>" in a name can end it
    given["arrays"] = text
    template = (HERE / "page.html").read_text("utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda match: given[match[1]], template)


def checked_page(contents: Contents) -> str:
    """The whole page. Raises UserError when it is larger than it may be."""
    text = page_text(contents)
    size = len(text.encode("utf-8"))
    if size > MAX_BYTES:
        raise too_large(size, any(one["key"] == "no-digit" for one in contents.about["networks"]))
    return text
