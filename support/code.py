"""What a computation is made of: a digest of the functions, classes and constants that run.

Not of files: what is edited after it was imported does not run yet, and help texts, messages, comments and
docstrings compute nothing. From its roots on the digest follows every global name that a function uses, as
far as it leads within this project. What a function is handed (a network, a loss) it cannot see: that is a
root of its own, or a value beside the digest. It is of the compiled code, so another version of Python gives
another one.
"""

from __future__ import annotations

import functools
import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
HAS_DOCSTRING = 0x4000000  # a flag of code since Python 3.13; before, a docstring is its first constant
OF_NO_EFFECT = {  # in a class: what says how it was written, not what it does
    "__module__", "__doc__", "__dict__", "__weakref__", "__annotations__", "__annotate__",
    "__annotate_func__", "__annotations_cache__", "__dataclass_fields__", "__dataclass_params__",
    "__match_args__", "__qualname__",
    "__firstlineno__", "__static_attributes__", "__parameters__", "__orig_bases__", "__repr__", "__replace__",
    "__slotnames__",  # noted there when a value of it is first pickled
}  # fmt: skip


def file_of(value: Any) -> str | None:
    """The file of this project in which a function, class or module is defined; None for all others."""
    module = (
        value if isinstance(value, ModuleType) else sys.modules.get(getattr(value, "__module__", None) or "")
    )
    return within_root(getattr(module, "__file__", None) or "/")


@functools.cache
def within_root(name: str) -> str | None:
    file = Path(name).resolve()
    if not file.is_relative_to(ROOT) or "site-packages" in file.parts:
        return None
    return file.relative_to(ROOT).as_posix()


@functools.cache
def names_of(code: CodeType) -> frozenset[str]:
    """All global names and attributes that `code` and the functions in it use."""
    inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return frozenset(code.co_names).union(*(names_of(one) for one in inner))


@functools.cache
def digest_of_code(code: CodeType) -> str:
    """What `code` does, apart from its docstring and from where it stands."""
    constants = list(code.co_consts)
    if sys.version_info >= (3, 13):
        documented = bool(code.co_flags & HAS_DOCSTRING)
    else:
        documented = not code.co_name.startswith("<") and isinstance(next(iter(constants), None), str)
    if documented:
        constants[0] = None
    walk = Walk()
    names = [code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars]
    counts = [code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount]
    parts = [code.co_code.hex(), [walk.described(one) for one in constants], names, counts]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class Walk:
    """What is found on the way from the roots: each function and class once, by file and name."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}

    def described(self, value: Any) -> Any:
        """`value` in a form that JSON can hold; what is found on the way is added."""
        if isinstance(value, CodeType):
            return digest_of_code(value)
        if isinstance(value, (tuple, list)):
            return [self.described(one) for one in value]
        if isinstance(value, (set, frozenset)):
            return sorted(repr(self.described(one)) for one in value)
        if isinstance(value, dict):
            return [[self.described(k), self.described(v)] for k, v in value.items()]
        if value is None or isinstance(value, (bool, int, float, complex, str, bytes, np.dtype, np.generic)):
            return repr(value)
        if isinstance(value, np.ndarray):
            return [str(value.dtype), value.shape, hashlib.sha256(value.tobytes()).hexdigest()]
        if isinstance(value, functools.partial):
            return [self.described(part) for part in (value.func, value.args, value.keywords)]
        if isinstance(value, property):
            return [self.described(part) for part in (value.fget, value.fset)]
        if isinstance(value, functools.cached_property):
            return self.described(value.func)
        if (inner := getattr(value, "__wrapped__", None) or getattr(value, "__func__", None)) is not None:
            return self.described(inner)  # of a cache, a class method
        if isinstance(value, (FunctionType, type)) and file_of(value) is not None:
            return self.add(value)
        if is_dataclass(value) and not isinstance(value, type):
            return [
                self.described(type(value)),
                [self.described(getattr(value, f.name)) for f in fields(value)],
            ]
        kind = type(value)
        return [getattr(value, "__module__", ""), getattr(value, "__qualname__", f"of {kind.__qualname__}")]

    def add(self, value: Any) -> str:
        """Describe a function or class of this project; gives its name."""
        name = f"{file_of(value)}:{value.__qualname__}"
        if name not in self.found:
            self.found[name] = None  # whoever asks for it on the way has its name
            parts = self.parts_of_class(value) if isinstance(value, type) else self.parts_of_function(value)
            self.found[name] = list(parts)
        return name

    def parts_of_class(self, value: type) -> Iterator[Any]:
        yield [self.described(base) for base in value.__bases__]
        for name, part in vars(value).items():
            made = getattr(getattr(part, "__code__", None), "co_filename", "") == "<string>"  # by dataclass
            if name not in OF_NO_EFFECT and not made:
                yield [name, self.described(part)]

    def parts_of_function(self, function: Any) -> Iterator[Any]:
        yield digest_of_code(function.__code__)
        yield self.described([function.__defaults__, function.__kwdefaults__])
        yield self.described([cell.cell_contents for cell in function.__closure__ or ()])
        names = {name for name in names_of(function.__code__) if not name.startswith("__")}  # not __file__
        for name in sorted(names & set(function.__globals__)):
            value = function.__globals__[name]
            if isinstance(value, ModuleType):
                used = sorted(names & set(vars(value))) if file_of(value) is not None else []
                yield [name, [[attribute, self.described(vars(value)[attribute])] for attribute in used]]
            else:
                yield [name, self.described(value)]


def digest_of(*roots: Any) -> str:
    """A digest of these functions and classes, and of all of this project that they use."""
    walk = Walk()
    named = [walk.described(root) for root in roots]
    return hashlib.sha256(json.dumps([named, walk.found], sort_keys=True).encode()).hexdigest()
