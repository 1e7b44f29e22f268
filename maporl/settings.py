"""What people write, checked against what exists: YAML text, values of a typed field, keyword arguments of a class."""

from __future__ import annotations

import difflib
import inspect
import os
import re
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

__all__ = ["called", "importable", "nearest", "read_yaml", "typed"]


class _Loader(yaml.SafeLoader):
    """YAML 1.1 reads ``1e-5`` as text; everybody who writes a learning rate means a number."""


_Loader.add_implicit_resolver(  # type: ignore[no-untyped-call]
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+0123456789.")
)


def read_yaml(text: str) -> Any:
    """The value of a YAML text.

    Raises:
        ValueError: It is not YAML.
    """
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise ValueError(f"not YAML: {' '.join(str(error).split())}") from error


def nearest(word: str, known: Iterable[str]) -> str:
    """`` Did you mean 'x'?``, or nothing if no known word is near."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def importable(what: Any) -> Any:
    """A class as the word ``package.module:Class`` that a run folder can keep; anything else as it is.

    Raises:
        ValueError: A class inside a function, which nobody could import again.
    """
    if not isinstance(what, type):
        return what
    if "<locals>" in what.__qualname__:
        raise ValueError(f"{what.__qualname__} is defined inside a function; move it to the top of a module.")
    return f"{what.__module__}:{what.__qualname__}"


def typed(name: str, value: Any, hint: Any) -> Any:
    """`value` as a field annotated `hint` holds it: paths become text, whole numbers floats where asked, lists tuples.

    Raises:
        ValueError: It is of another type.
    """
    members = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    for member in members:
        kind = typing.get_origin(member) or member
        if kind is type(None) and value is None:
            return None
        if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        if kind is str and isinstance(value, str | os.PathLike):
            return os.fspath(value)
        if kind is bool and isinstance(value, bool):
            return value
        if kind is int and isinstance(value, int) and not isinstance(value, bool):
            return value
        if isinstance(kind, type) and issubclass(kind, Mapping) and isinstance(value, Mapping):
            return dict(value)
        if kind is tuple and isinstance(value, str | Sequence):
            return (value,) if isinstance(value, str) else tuple(value)
    wanted = " or ".join(_WORDS.get(typing.get_origin(m) or m, str(m)) for m in members)
    raise ValueError(f"{name} is {value!r}; it must be {wanted}.")


_WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    Mapping: "a mapping",
    tuple: "a list",
    type(None): "nothing",
}


def called(kind: str, word: str, what: Any, arguments: Mapping[str, Any]) -> Any:
    """``what(**arguments)``, where an argument that does not exist is a slip of the user's, not a TypeError from deep inside.

    Raises:
        ValueError: It takes no such argument; the message names the nearest.
    """
    accepted = parameters(what)
    open_ended = not isinstance(what, type) and any(p.kind is p.VAR_KEYWORD for p in accepted.values())
    unknown = [] if open_ended else [name for name in arguments if name not in accepted]
    if unknown:
        known = sorted(n for n, p in accepted.items() if p.kind in _NAMED and n != "team")
        raise ValueError(
            f"{kind} {word!r} has no argument {unknown[0]!r}.{nearest(unknown[0], known)} It takes: {', '.join(known)}."
        )
    return what(**arguments)


_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def parameters(what: Any) -> dict[str, inspect.Parameter]:
    """The parameters that `what` takes by name. ``**settings`` of a class are its parents' parameters, nearest class first."""
    if not isinstance(what, type):
        return dict(inspect.signature(what).parameters)
    found: dict[str, inspect.Parameter] = {}
    for owner in what.__mro__:
        init = vars(owner).get("__init__")
        if not inspect.isfunction(init):
            continue
        own = list(inspect.signature(init).parameters.values())[1:]
        found |= {p.name: p for p in own if p.name not in found and p.kind in _NAMED}
        if not any(p.kind is p.VAR_KEYWORD for p in own):
            break  # nothing is passed on
    return found
