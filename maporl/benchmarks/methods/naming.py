"""How a study names what it compares: a method, and what trains its agents, if anything does.

A word such as ``single_agent/mappo`` is the method ``single_agent`` with adapters trained by MAPPO, and an algorithm's word alone is
the discussion that it is made for, trained by it: the task's own unless its trainer says otherwise (`Trainer.method`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from maporl import registry
from maporl.benchmarks.methods.method import Method
from maporl.errors import UserValueError
from maporl.settings import called, nearest

__all__ = ["Named", "named", "trains"]


@dataclass(frozen=True)
class Named:
    """A method as a study names it.

    Attributes:
        word: Unique in its study: the key of records, tables and folders.
        label: For people.
        method: The method.
        algorithm: What trains it: an algorithm's word or class, or None.
        settings: Fields of the run configuration that only this row changes.
        trained_as: The name of its trainings, which rows of the same agents share: a vote of k is trained as a single agent.
        trained_on: The task that its agents were trained on, where that is not the one that they are asked.
    """

    word: str
    label: str
    method: Method
    algorithm: str | None = None
    settings: Mapping[str, Any] | None = None
    trained_as: str = ""
    trained_on: str | None = None

    def shares_with(self, other: Named) -> bool:
        """Whether it is meant that both use the trainings of one name: one says so, and the other is the row that it means."""
        if self.trained_on is not None or other.trained_on is not None:
            return True
        meant = {row.method.trained_as(row.algorithm or "") for row in (self, other)}
        owners = [row.method for row in (self, other) if row.method.trained_as(row.algorithm or "") is None]
        return len(owners) < 2 and all(named(word).method == owner for owner in owners for word in meant if word)


def named(spec: str | Mapping[str, Any]) -> Named:
    """A method from a word or ``{"name": word, "label": ..., "settings": {...}, "trained_on": task, **arguments}``.

    Words: a method (``debate``), a method with k samples (``self_consistency@9``), an algorithm (``mappo``: the task's discussion
    trained by it; `Trainer.method`), a method trained by an algorithm (``single_agent/mappo``, ``self_consistency@4/mappo``), or
    ``package.module:Class`` in either place. With ``trained_on`` the row's agents are those of the same word on another task.

    Raises:
        ValueError: An unknown word (the message names the nearest), or a method that cannot be trained so.
    """
    arguments: dict[str, Any] = dict(spec) if isinstance(spec, Mapping) else {"name": spec}
    if not isinstance(word := arguments.pop("name", None), str):
        raise UserValueError(f"method {spec!r} has no 'name'; write a word, or {{name: WORD, ...arguments}}.")
    label, settings, origin = (arguments.pop(key, None) for key in ("label", "settings", "trained_on"))
    head, slash, algorithm = word.partition("/")
    if slash and not algorithm:
        raise UserValueError(f"method {word!r} names no algorithm; write {head}/mappo, or {head}.")
    name, at, k = head.partition("@")
    if at:
        if not k.isdecimal():
            raise UserValueError(f"method {word!r}: {k!r} is no number of samples; write {name}@5.")
        arguments["k"] = int(k)
    if not algorithm and trains(name):
        name, algorithm = getattr(registry.load("algorithm", name), "method", "discussion"), name
    method = called("method", name, _method_class(word, name), arguments)
    _check(word, name, method, algorithm, origin)
    if (method.vote or "k" in arguments) and not k:  # its word says how many, as those of matched votes do
        word = f"{head}@{method.samples}{'/' * bool(algorithm)}{algorithm}"
    trained_as = _trained_as(word, label, method, algorithm, settings, origin)
    word = str(label or (f"{word} from {origin}" if origin else word))
    title = method.trained_label(algorithm) if algorithm else method.label
    return Named(
        word=word,
        label=str(label or title + (f", on {origin}" if origin else "")),
        method=method,
        algorithm=algorithm or None,
        settings=settings or None,
        trained_as=trained_as,
        trained_on=origin,
    )


def _trained_as(word: str, label: Any, method: Method, algorithm: str, settings: Any, origin: str | None) -> str:
    """The name of a row's trainings: its own word, unless they are those of another row."""
    if algorithm and (other := method.trained_as(algorithm)) is not None:
        return f"{other}{_digest(settings)}"
    return str(label) if label and not origin else f"{word}{_digest(settings)}"


def _digest(settings: Any) -> str:
    """A suffix that tells apart trainings of one name with different settings; "" without any."""
    if not settings:
        return ""
    text = json.dumps(settings, sort_keys=True, default=str)
    return f"@{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def trains(name: str) -> bool:
    """Whether a word means an algorithm, not a method."""
    if name in registry.names("algorithm"):
        return True
    if ":" not in name:
        return False
    from maporl.algorithms.algorithm import Algorithm
    from maporl.training.trainer import Trainer

    loaded = registry.load("method", name)
    return isinstance(loaded, type) and issubclass(loaded, Algorithm | Trainer)


def _method_class(word: str, name: str) -> Any:
    known = [*registry.names("method"), *registry.names("algorithm")]
    if ":" not in name and name not in known:
        raise UserValueError(
            f"unknown method {word!r}.{nearest(name, known)} Methods: {', '.join(registry.names('method'))}; trained teams: "
            f"{', '.join(registry.names('algorithm'))}; both: single_agent/mappo; your own: package.module:Class."
        )
    return registry.load("method", name)


def _check(word: str, name: str, method: Any, algorithm: str, origin: Any) -> None:
    if not isinstance(method, Method):
        raise UserValueError(
            f"method {word!r} is a {type(method).__name__}; name a subclass of maporl.benchmarks.methods.method.Method."
        )
    if method.samples < 1:
        raise UserValueError(f"method {word!r}: samples is {method.samples}; an answer needs at least one discussion.")
    if algorithm and not trains(algorithm):
        known = registry.names("algorithm")
        raise UserValueError(
            f"method {word!r}: unknown algorithm {algorithm!r}.{nearest(algorithm, known)} One of: {known}."
        )
    if origin is not None and not (algorithm and isinstance(origin, str)):
        raise UserValueError(
            f"method {word!r}: trained_on is {origin!r}; name a task of the study, and what trained its agents, as in {name}/mappo."
        )
    if method.needs_training and not algorithm:
        raise UserValueError(f"method {word!r} needs an algorithm; write {name}/mappo.")
    trainer = registry.load("algorithm", algorithm) if algorithm else None
    needed, remedy = getattr(trainer, "only_for", None) or (None, "")
    if needed is not None and not getattr(method, needed, False):
        raise UserValueError(f"method {word!r}: {remedy}.")
