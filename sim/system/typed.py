"""Builds configuration dataclasses from JSON and TOML that is not trusted: types first, ranges by the classes."""

from __future__ import annotations

import json
import math
import types
import typing
from collections.abc import Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal, TypeVar

from ..errors import BivitError, check, some

_T = TypeVar("_T")

#: Characters of a wrong value that a message shows.
_SHOWN = 60
#: Names that a message lists.
_LISTED = 10
#: Largest magnitude of an integer: no size or count of this project needs more, and arithmetic on it stays fast.
_MOST = 1 << 62
_PLAIN = {int: "an integer", float: "a finite number", bool: "true or false", str: "a text"}


def build(kind: type[_T], values: Any, what: str) -> _T:
    """Return a dataclass built from a table of untrusted values, every value of its field's type.

    Fields may be int, float, bool, str, `Literal`, tuples of these, optional, a dictionary, or dataclasses in turn.
    An integer is taken for a float; nothing else is converted: `8.0` and `true` are no integers.

    Parameters
    ----------
    kind : type
        A dataclass; its own checks of ranges run after those of types.
    values : dict
        As JSON or TOML gives it; a value that is no dictionary is refused too.
    what : str
        Where the table is from, for messages: ``"engine configuration"``.

    Raises
    ------
    BivitError
        When a key is unknown or missing or a value has another type: what, allowed, got.
    """
    check(isinstance(values, dict), f"{what} must be a table of names and values, got {shown(values)}")
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(str(name) for name in values if name not in known)
    check(not unknown, f"{what} has unknown keys {listed(unknown)}; allowed are {', '.join(known)}")
    missing = [
        name
        for name, field in known.items()
        if name not in values and field.default is MISSING and field.default_factory is MISSING
    ]
    check(not missing, f"{what} is incomplete: it lacks {', '.join(missing)}; its keys are {', '.join(known)}")
    hints = typing.get_type_hints(kind)
    ready = {name: convert(hints[name], value, name, what) for name, value in values.items()}
    try:
        return kind(**ready)
    except BivitError as error:
        raise BivitError(f"{what}: {error}") from error


def convert(hint: Any, value: Any, name: str, what: str) -> Any:
    """Return `value` as the type `hint` asks, lists as tuples.

    Raises
    ------
    BivitError
        When it has another type; `name` and `what` name it.
    """
    if is_dataclass(hint) and isinstance(hint, type):
        return build(hint, value, f"{name} of {what}")
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        return convert(next(a for a in arguments if a is not type(None)), value, name, what)
    if origin is Literal:
        right = any(type(value) is type(choice) and value == choice for choice in arguments)
        check(right, f"{what}: {name} must be one of {', '.join(map(str, arguments))}, got {shown(value)}")
        return value
    if origin is tuple:
        return _tuple(arguments, value, name, what)
    if (origin or hint) is dict:
        check(isinstance(value, dict), f"{what}: {name} must be a table, got {shown(value)}")
        return value
    check(_is_plain(hint, value), f"{what}: {name} must be {_PLAIN[hint]}, got {shown(value)}")
    return value


def shown(value: Any) -> str:
    """Return an untrusted value as it stands in the file, text in single quotes, cut to what fits a message."""
    try:
        text = repr(value) if isinstance(value, str) else json.dumps(value, default=str)
    except (ValueError, RecursionError):
        text = f"a {type(value).__name__} too large to show"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def listed(names: Sequence[str]) -> str:
    """Return untrusted names with commas between them: what is long or no plain text as a value, ten at most."""
    return some([name if name.isprintable() and 0 < len(name) <= _SHOWN else shown(name) for name in names], _LISTED)


def _tuple(arguments: Sequence[Any], value: Any, name: str, what: str) -> tuple[Any, ...]:
    check(isinstance(value, list | tuple), f"{what}: {name} must be a list, got {shown(value)}")
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        arguments = (arguments[0],) * len(value)
    check(
        len(arguments) == len(value),
        f"{what}: {name} must be a list of {len(arguments)} values, got {shown(value)}",
    )
    return tuple(
        convert(hint, part, f"{name}[{index}]", what)
        for index, (hint, part) in enumerate(zip(arguments, value, strict=True))
    )


def _is_plain(hint: Any, value: Any) -> bool:
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return abs(value) <= _MOST
    if type(value) is not hint:
        return False
    return (not isinstance(value, int) or abs(value) <= _MOST) and (
        not isinstance(value, float) or math.isfinite(value)
    )
