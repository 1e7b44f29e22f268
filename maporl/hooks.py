"""What a hook of one's own returned, against what it must return: one line names both, where the value would fail far from its cause."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from maporl.errors import UserTypeError

__all__ = ["each", "misreturned", "one"]

T = TypeVar("T")


def misreturned(owner: object, hook: str, value: object, wanted: str) -> UserTypeError:
    """What to raise where a hook returned something else than it must.

    Args:
        owner: Whose hook: an object, its class, or a function.
        hook: Its name; "" of a function, or of an object that is called itself.
        value: What came.
        wanted: What must come, in words.
    """
    shown = "None" if value is None else f"{' '.join(repr(value).split())[:80]} ({type(value).__name__})"
    return _told(owner, hook, shown, wanted)


def one(owner: object, hook: str, value: Any, kind: type[T]) -> T:
    """`value`, if it is of a kind.

    Raises:
        TypeError: It is not.
    """
    if not isinstance(value, kind):
        raise misreturned(owner, hook, value, _name(kind))
    return value


def each(owner: object, hook: str, value: Any, kind: type[T], number: int | None = None) -> list[T]:
    """`value` as a list, if it holds things of a kind only, and so many of them.

    Raises:
        TypeError: It does not.
    """
    wanted = f"a list of {'' if number is None else f'{number} '}{_name(kind)}"
    if not isinstance(value, Iterable) or isinstance(value, str):
        raise misreturned(owner, hook, value, wanted)
    found = list(value)
    for part in found:
        if not isinstance(part, kind):
            raise _told(
                owner, hook, f"a list that holds {' '.join(repr(part).split())[:80]} ({type(part).__name__})", wanted
            )
    if number not in (None, len(found)):
        raise _told(owner, hook, f"a list of {len(found)}", wanted)
    return found


def _told(owner: object, hook: str, shown: str, wanted: str) -> UserTypeError:
    named = owner if hasattr(owner, "__qualname__") else type(owner)
    name = ".".join(filter(None, [str(getattr(named, "__qualname__", named)), hook]))
    return UserTypeError(f"{name} returned {shown}; it must return {wanted}.")


def _name(kind: type) -> str:
    if kind is object:
        return "values"
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
