"""Flags of a benchmark that would have no effect, because the study's file says otherwise wherever they would count."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from maporl.benchmarks.study.study import Study
from maporl.errors import UserValueError
from maporl.training.config import RunConfig

__all__ = ["check_flags"]


def check_flags(study: Study, flags: Mapping[str, Any]) -> None:
    """Raise a ValueError if a flag that all runs share is overruled by every task's own settings, or by every algorithm's.

    What some of them say for themselves is usual: the flag then counts for the others.

    Args:
        study: With the flags on top of its file.
        flags: Those that were given.
    """
    shared = {name: flags[name] for name in (f.name for f in fields(RunConfig)) if name in flags}
    used = {n.algorithm for n in study.named if n.algorithm is not None}
    tasks: Mapping[str, Any] = study.tasks  # type: ignore[assignment]
    own = {"tasks": dict(tasks), "algorithms": {name: study.algorithms.get(name, {}) for name in sorted(used)}}
    for path, value in _leaves(shared):
        for kind, settings in own.items():
            said = {name: _at(given, path) for name, given in settings.items()}
            if said and all(other not in (None, value) for other in said.values()):
                name, other = next(iter(said.items()))
                flag = ".".join(path)
                raise UserValueError(
                    f"--{flag} {value} has no effect: the study's {kind}.{name}.{flag} is {other!r}; write --{kind}.{name}.{flag} {value}."
                )


def _leaves(values: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*above, name))
        else:
            yield (*above, name), value


def _at(values: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        values = values.get(name) if isinstance(values, Mapping) else None
    return values
