"""Values against annotations: what a YAML file or a flag holds, as a field or an argument of that type."""

from __future__ import annotations

import collections.abc
import numbers
import os
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from maporl.errors import UserValueError

__all__ = ["is_plain", "typed"]


class _Misfit(Exception):
    """A value is not of a type."""


def typed(name: str, value: Any, hint: Any) -> Any:
    """`value` as a field annotated `hint` holds it: paths become text, whole numbers floats where asked, lists tuples.

    Raises:
        ValueError: It is of another type, or holds something of another type.
    """
    try:
        return _as(value, hint)
    except _Misfit:
        raise UserValueError(f"{name} is {value!r}; it must be {_said(hint)}.") from None


def is_plain(hint: Any) -> bool:
    """Whether an annotation is of what a YAML file holds, and of functions: no word and no mapping can mean anything else there."""
    if len(members := _members(hint)) > 1:
        return all(map(is_plain, members))
    kind, inner = typing.get_origin(hint) or hint, typing.get_args(hint)
    if kind in (typing.Literal, collections.abc.Callable, None, *_WORDS) or _is_path(kind):
        return True
    return kind in _CONTAINERS and all(i is ... or i is Any or is_plain(i) for i in inner)


def _as(value: Any, hint: Any) -> Any:
    if len(members := _members(hint)) > 1:
        for member in members:
            try:
                return _as(value, member)
            except _Misfit:
                continue
        raise _Misfit
    kind, inner = typing.get_origin(hint) or hint, typing.get_args(hint)
    truth = isinstance(value, bool)
    if kind is Any or (kind is typing.Literal and value in inner):
        return value
    if kind in (None, type(None)) and value is None:
        return None
    if kind is float and isinstance(value, numbers.Real) and not truth:
        return float(value)
    if kind is int and isinstance(value, numbers.Integral) and not truth:
        return int(value)
    if kind is bool and truth:
        return value
    if kind is str and isinstance(value, str | os.PathLike):
        return os.fspath(value)
    if _is_path(kind) and isinstance(value, str | os.PathLike):
        return value
    if kind is collections.abc.Callable and callable(value):
        return value
    if kind in _CONTAINERS:
        return _contained(value, kind, inner)
    raise _Misfit


def _contained(value: Any, kind: Any, inner: tuple[Any, ...]) -> Any:
    """A mapping or a list whose parts fit; a single text stands for a list of it."""
    if issubclass(kind, Mapping):
        if not isinstance(value, Mapping):
            raise _Misfit
        of_key, of_value = inner or (Any, Any)
        return {_as(k, of_key): _as(v, of_value) for k, v in value.items()}
    if not isinstance(value, Sequence):
        raise _Misfit
    if kind is not tuple:
        for each in () if isinstance(value, str) else value:
            _as(each, (inner or (Any,))[0])
        return value
    parts = (value,) if isinstance(value, str) else tuple(value)
    each = (inner[0] if inner else Any,) * len(parts) if not inner or ... in inner else inner
    if len(each) != len(parts):
        raise _Misfit
    return tuple(map(_as, parts, each))


def _members(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)


def _is_path(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, os.PathLike)


def _said(hint: Any) -> str:
    """An annotation in words."""
    if len(members := _members(hint)) > 1:
        return " or ".join(dict.fromkeys(map(_said, members)))
    kind, inner = typing.get_origin(hint) or hint, [i for i in typing.get_args(hint) if i is not ...]
    if kind is typing.Literal:
        return " or ".join(map(repr, inner))
    if kind in _CONTAINERS:
        parts = [_MANY.get(part, part) for part in map(_said, inner)]
        if issubclass(kind, Mapping):
            return f"a mapping of {' to '.join(parts)}" if inner and Any not in inner else "a mapping"
        return f"a list of {' and '.join(dict.fromkeys(parts))}" if inner and Any not in inner else "a list"
    if kind is collections.abc.Callable:
        return "a function"
    return "text" if _is_path(kind) else _WORDS.get(kind, getattr(kind, "__name__", str(kind)))


_WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    type(None): "nothing",
}
_MANY = {"a whole number": "whole numbers", "a number": "numbers"}
_CONTAINERS = (
    *(collections.abc.Mapping, collections.abc.MutableMapping, dict, tuple, list),
    *(collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection),
)
