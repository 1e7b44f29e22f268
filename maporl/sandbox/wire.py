"""How the processes of a sandbox talk: frames of JSON on a stream, and values as plain data in them.

Nothing that a module sends is ever unpickled or evaluated: what is read is numbers, texts and containers of them.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import select
import time
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

__all__ = ["Closed", "TooLate", "TooLong", "decoded", "encoded", "receive", "send", "shown"]

_MOST_BYTES = 64 * 2**20  # of one frame


class Closed(Exception):
    """The other side is gone."""


class TooLate(Exception):
    """The other side has not answered in time."""


class TooLong(Exception):
    """A frame beyond all bounds, or one that is no frame."""


def send(stream: int, message: dict[str, Any]) -> None:
    """Write one frame to a file descriptor.

    Raises:
        Closed: Nobody reads it.
        TooLong: It is longer than 64 MiB.
    """
    body = json.dumps(message, separators=(",", ":")).encode()  # ASCII, so that any text passes
    if len(body) > _MOST_BYTES:
        raise TooLong(f"a message of {len(body) >> 20} MiB")
    data = memoryview(len(body).to_bytes(4, "big") + body)
    try:
        while data:
            data = data[os.write(stream, data) :]
    except OSError as error:
        raise Closed from error


def receive(stream: int, seconds: float | None = None) -> dict[str, Any]:
    """Read one frame, waiting at most so many seconds for all of it.

    Raises:
        Closed: The other side is gone.
        TooLate: The time is over.
        TooLong: What comes is no frame.
    """
    until = None if seconds is None else time.monotonic() + seconds
    length = int.from_bytes(_read(stream, 4, until), "big")
    if length > _MOST_BYTES:
        raise TooLong(f"a message of {length >> 20} MiB")
    try:
        message = json.loads(_read(stream, length, until))
    except (ValueError, RecursionError) as error:
        raise TooLong(f"no message: {type(error).__name__}") from error
    if not isinstance(message, dict):
        raise TooLong("no message")
    return message


def _read(stream: int, length: int, until: float | None) -> bytes:
    parts = []
    while length:
        if until is not None and not _readable(stream, until - time.monotonic()):
            raise TooLate
        try:
            part = os.read(stream, min(length, 1 << 20))
        except OSError as error:
            raise Closed from error
        if not part:
            raise Closed
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def _readable(stream: int, seconds: float) -> bool:
    waiting = select.poll()  # unlike select, for any number of open files
    waiting.register(stream, select.POLLIN)
    return bool(waiting.poll(max(0.0, seconds) * 1000))


def encoded(value: Any, stays: Callable[[Any], Any]) -> Any:
    """A value as JSON: plain data as a copy, of anything else what `stays` says of it.

    A subclass of a plain type is that type: a Counter a dict, a named tuple a tuple. Numpy's numbers are numbers.

    Raises:
        RecursionError: It is nested too deeply, or holds itself.
    """
    if value is None or isinstance(value, bool) or type(value) is str:
        return value
    if isinstance(value, int):
        return int(value) if -(2**63) < value < 2**63 else {"int": hex(value)}
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"float": repr(float(value))}
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, list):
        return [encoded(item, stays) for item in list.__iter__(value)]
    for name, kind in _CONTAINERS.items():
        if isinstance(value, kind):
            return {name: [encoded(item, stays) for item in kind.__iter__(value)]}
    if isinstance(value, dict):
        return {"dict": [[encoded(key, stays), encoded(item, stays)] for key, item in dict.items(value)]}
    if isinstance(value, complex):
        return {"complex": [encoded(value.real, stays), encoded(value.imag, stays)]}
    if isinstance(value, bytes | bytearray):
        return {type(value).__name__ if type(value) is bytearray else "bytes": bytes(value).hex()}
    if type(value) is Fraction or type(value) is Decimal:
        return {type(value).__name__: str(value)}
    if type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():
        return encoded(value.item(), stays)
    return {"stays": stays(value)}


_CONTAINERS: dict[str, Any] = {"tuple": tuple, "set": set, "frozenset": frozenset}


def decoded(data: Any, stayed: Callable[[Any], Any]) -> Any:
    """The value that was `encoded`.

    Raises:
        TooLong, ValueError, TypeError: It was not.
    """
    if not isinstance(data, list | dict):
        return data
    if isinstance(data, list):
        return [decoded(item, stayed) for item in data]
    ((name, held),) = data.items()
    if name in _CONTAINERS:
        return _CONTAINERS[name](decoded(item, stayed) for item in held)
    if name == "dict":
        return {decoded(key, stayed): decoded(item, stayed) for key, item in held}
    if name == "int":
        return int(held, 16)
    if name == "complex":
        return complex(*(decoded(part, stayed) for part in held))
    if name in ("bytes", "bytearray"):
        return (bytes if name == "bytes" else bytearray).fromhex(held)
    if name in ("float", "Fraction", "Decimal"):
        return {"float": float, "Fraction": Fraction, "Decimal": Decimal}[name](held)
    if name == "stays":
        return stayed(held)
    raise TooLong(f"nothing is encoded as {name!r}")


def shown(value: Any, most: int = 200) -> str:
    """A value in one line for people, cut."""
    try:
        text = repr(list(itertools.islice(value, most)) if type(value) is list else value)
    except Exception as error:  # a number too long to be written, say
        return f"<{type(value).__name__}: {type(error).__name__}>"
    return text if len(text) <= most else text[: most - 4] + " ..."
