"""What people write, checked against what exists: YAML text, files of settings, keyword arguments of a class."""

from __future__ import annotations

import contextlib
import difflib
import inspect
import numbers
import os
import re
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from maporl.errors import UserValueError
from maporl.text_files import read_text
from maporl.typed import is_plain, typed

__all__ = [
    "EMBEDDED", "called", "deeply", "full_path", "importable", "model_name", "model_path", "nearest", "plain", "read_settings",
    "read_yaml", "read_yaml_file", "settings_file",
]  # fmt: skip

EMBEDDED = "embedded"
"""The word for the model that comes with the package: half a million parameters that have learned to discuss two witnesses."""


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
    except RecursionError:
        raise UserValueError("not YAML that can be read: nested too deeply") from None
    except (yaml.YAMLError, ValueError) as error:  # a ValueError is of a date such as 2024-13-01
        raise UserValueError(f"not YAML: {' '.join(str(error).split())}") from error


def read_yaml_file(path: str | Path) -> Any:
    """The value that a YAML file holds; None of an empty one.

    Raises:
        ValueError: It is not YAML, or not UTF-8; one line with file and line.
        OSError: The file cannot be read.
    """
    text = read_text(path)
    try:
        return read_yaml(text)
    except UserValueError as error:
        raise UserValueError(f"{path}{_place(error.__cause__, text)}: {error}") from error


def _place(error: BaseException | None, text: str) -> str:
    """``, line 3``, if the error knows it."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f", line {error.problem_mark.line + 1}"
    if isinstance(error, yaml.reader.ReaderError):
        return f", line {text.count(chr(10), 0, error.position) + 1}"
    return ""


def read_settings(spec: str | Path, shipped: Mapping[str, Path] | None = None) -> dict[Any, Any]:
    """The mapping that a YAML file holds, a file of one's own or a shipped one; an empty file holds an empty one.

    Raises:
        ValueError: No such file, no YAML, or something else than a mapping.
    """
    file = settings_file(spec, shipped or {})
    values = read_yaml_file(file) or {}
    if not isinstance(values, dict):
        raise UserValueError(f"config {str(spec)!r} holds a {type(values).__name__}; write 'key: value' lines.")
    return values


def settings_file(spec: str | Path, shipped: Mapping[str, Path]) -> Path:
    """The YAML file that is meant: an existing file, or a shipped one by its word.

    Raises:
        ValueError: Neither.
    """
    if Path(spec).is_file():
        return Path(spec)
    if str(spec) in shipped:
        return shipped[str(spec)]
    known = f" Shipped configurations: {', '.join(shipped)}." if shipped else ""
    raise UserValueError(f"config {str(spec)!r}: no such file.{nearest(str(spec), shipped)}{known}")


def nearest(word: str, known: Iterable[str]) -> str:
    """`` Did you mean 'x'?``, or nothing if no known word is near."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def importable(name: str, value: Any) -> Any:
    """A class or function as the word ``package.module:Name`` that a run folder can keep; anything else as it is.

    Raises:
        ValueError: One inside a function or class, or a lambda, which nobody could import again.
    """
    if not isinstance(value, type | types.FunctionType):
        return value
    if not value.__qualname__.isidentifier():
        raise UserValueError(
            f"{name}: {value.__qualname__} is a lambda, or defined inside a function or class; define it at the top of a module."
        )
    return f"{value.__module__}:{value.__qualname__}"


def plain(name: str, value: Any) -> Any:
    """`value` as a YAML file can hold it and give it back: classes and functions by name, tuples as lists.

    Raises:
        ValueError: Any other object, whose arguments nobody could read off it.
    """
    value = importable(name, value)
    if isinstance(value, Mapping):
        return {plain(f"a key of {name}", k): plain(f"{name}.{k}", v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(name, v) for v in value]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, numbers.Integral):  # numpy's too, which YAML does not know
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    if isinstance(value, str | os.PathLike):
        return str.__str__(os.fspath(value))
    raise UserValueError(
        f"{name} is an object of {type(value).__name__}, which config.yaml cannot hold; write a word, "
        "{name: WORD, ...arguments}, or package.module:Class."
    )


def deeply(one: Mapping[str, Any], two: Mapping[str, Any]) -> dict[str, Any]:
    """`one` with what `two` has in its place, mappings within mappings merged key by key."""
    result = dict(one)
    for key, value in two.items():
        mine = result.get(key)
        result[key] = deeply(mine, value) if isinstance(mine, Mapping) and isinstance(value, Mapping) else value
    return result


def called(kind: str, word: str, what: Any, arguments: Mapping[str, Any]) -> Any:
    """``what(**arguments)``, where a slip of the user's is one line, not a TypeError from deep inside.

    Raises:
        ValueError: It takes no such argument (the message names the nearest), one of another type than it is annotated, or lacks one.
    """
    accepted = parameters(what)
    open_ended = not isinstance(what, type) and any(p.kind is p.VAR_KEYWORD for p in accepted.values())
    unknown = [] if open_ended else [name for name in arguments if name not in accepted]
    if unknown:
        known = sorted(n for n, p in accepted.items() if p.kind in _NAMED and n != "team")
        raise UserValueError(
            f"{kind} {word!r} has no argument {unknown[0]!r}.{nearest(unknown[0], known)} It takes: {', '.join(known)}."
        )
    owner = kind if kind == word else f"{kind} {word!r}"
    taken = inspect.signature(what).parameters.values()
    required = [
        p.name for p in taken if p.default is p.empty and p.kind in (*_NAMED, inspect.Parameter.POSITIONAL_ONLY)
    ]
    if lacking := [name for name in required if name not in arguments]:
        raise UserValueError(f"{owner} needs {' and '.join(map(repr, lacking))}; {_where(kind, word, lacking)}.")
    return what(**{n: _checked(f"{owner}: {n}", v, accepted.get(n)) for n, v in arguments.items()})


def _where(kind: str, word: str, lacking: Sequence[str]) -> str:
    """Where arguments of something that settings name are given."""
    if kind in ("env", "algorithm"):
        return "set " + ", ".join(f"{kind}_args.{name}" for name in lacking)
    given = ", ".join(f"{name}: ..." for name in lacking)
    return f"write {{{given}}}" if kind == word else f"write {{name: {word}, {given}}}"


def _checked(name: str, value: Any, parameter: inspect.Parameter | None) -> Any:
    """`value`, `typed` if the parameter's annotation is plain: what else it may mean is for `what` to say."""
    hint = inspect.Parameter.empty if parameter is None else parameter.annotation
    return typed(name, value, hint) if is_plain(hint) else value


_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def parameters(what: Any) -> dict[str, inspect.Parameter]:
    """The parameters that `what` takes by name, their annotations resolved where possible.

    ``**settings`` of a class are its parents' parameters, nearest class first.
    """
    if not isinstance(what, type):
        return {n: _resolved(p, what) for n, p in inspect.signature(what).parameters.items()}
    found: dict[str, inspect.Parameter] = {}
    for owner in what.__mro__:
        init = vars(owner).get("__init__")
        if not inspect.isfunction(init):
            continue
        own = list(inspect.signature(init).parameters.values())[1:]
        found |= {p.name: _resolved(p, init) for p in own if p.name not in found and p.kind in _NAMED}
        if not any(p.kind is p.VAR_KEYWORD for p in own):
            break  # nothing is passed on
    return found


def _resolved(parameter: inspect.Parameter, function: Any) -> inspect.Parameter:
    """With the annotation evaluated; one by one, since a name imported for type checkers only must not hide the others."""
    annotated = types.SimpleNamespace(__annotations__={"x": parameter.annotation})
    with contextlib.suppress(Exception):
        hints = typing.get_type_hints(annotated, getattr(inspect.unwrap(function), "__globals__", {}))
        return parameter.replace(annotation=hints["x"])
    return parameter


def full_path(path: str) -> str:
    """One name for one file or folder: the full path of what exists here; a hub id or a word as it is."""
    here = Path(path).expanduser()
    return str(here.absolute()) if path and here.exists() else path


def model_name(model: str) -> str:
    """One name for one model, on every machine where there is one: a word or hub id as it is, the full path of what exists here."""
    return model if model == EMBEDDED else full_path(model)


def model_path(model: str) -> str:
    """Where a model is looked for: the package's folder for `EMBEDDED`, also beside a folder of that name (``./embedded`` is that one)."""
    return str(Path(__file__).parent / "embedded") if model == EMBEDDED else model
