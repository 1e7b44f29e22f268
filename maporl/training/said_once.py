"""What a run's settings could say in two places, said in one: the place that a run folder and a flag have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from maporl.errors import UserValueError

__all__ = ["beside", "said_once"]

ALIASES: dict[tuple[str, ...], tuple[str, ...]] = {  # where else a setting could be said -> where it is
    ("env_args", "num_agents"): ("num_agents",),
    ("env_args", "num_rounds"): ("num_rounds",),
    ("env_args", "max_cycles"): ("num_rounds",),  # PettingZoo's name for it
    ("env_args", "protocol", "num_rounds"): ("num_rounds",),
    ("env_args", "protocol", "history"): ("env_args", "history"),
    ("env_args", "data"): ("data",),
}
ELSEWHERE: dict[tuple[str, ...], str] = {  # what is no setting of the part that it is given to -> what to do
    ("env_args", "split"): "a run trains on 'train' and validates on 'validation', and maporl evaluate has --split",
    ("env_args", "render_mode"): "maporl show prints the discussions of a run",
}
OF_THE_RUN = {
    "num_updates": "num_iterations"
}  # an argument of algorithms -> the run's setting, where that is called differently


def said_once(values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` for fields of a `RunConfig`, with what is said at an alias moved to its place.

    Raises:
        ValueError: Two places say different things, or something is given to a part that it is no setting of.
    """
    result = dict(values)
    for path, remedy in ELSEWHERE.items():
        if _at(result, path) is not None:
            raise UserValueError(f"{'.'.join(path)} is {_at(result, path)!r}, which would have no effect: {remedy}.")
    for path, place in ALIASES.items():
        value, there = _at(result, path), _at(result, place)
        if value is None:
            if (
                isinstance(where := _at(result, path[:-1]), Mapping) and path[-1] in where
            ):  # nothing said: not over what is
                result = _without(result, path)
            continue
        if there not in (None, value):
            one, other = ".".join(place), ".".join(path)
            raise UserValueError(f"{one} is {there!r} and {other} is {value!r}; say it once, as {one}.")
        result = _put(_without(result, path), place, value)
    return result


def beside(given: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """An algorithm's own `arguments` beside what it is given of the run.

    Raises:
        ValueError: One of them is the run's.
    """
    if twice := [name for name in arguments if name in given]:
        name = OF_THE_RUN.get(twice[0], twice[0])
        raise UserValueError(
            f"algorithm_args.{twice[0]} is {arguments[twice[0]]!r}, which the run's {name} says; set {name}."
        )
    return {**given, **arguments}


def _at(values: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        values = values.get(name) if isinstance(values, Mapping) else None
    return values


def _without(values: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    first, *rest = path
    if rest:
        return {**values, first: _without(values[first], tuple(rest))}
    return {name: value for name, value in values.items() if name != first}


def _put(values: Mapping[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    first, *rest = path
    return {**values, first: _put(values[first], tuple(rest), value) if rest else value}
