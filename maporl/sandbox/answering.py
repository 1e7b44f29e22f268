"""The process that holds a module that a model wrote, and does what it is asked: look up a name, call something.

Nothing that it says is trusted: all that reaches it is a call's arguments, all that it gives is the call's value.
"""

from __future__ import annotations

import io
import sys
import types
from typing import Any

from maporl.sandbox import wire

__all__ = ["answer"]


class _Output(io.TextIOBase):
    """What is printed, as far as there is room."""

    def __init__(self, most: int) -> None:
        self.kept: list[str] = []
        self.left = most

    def write(self, text: str) -> int:
        self.kept.append(text[: self.left])
        self.left -= len(self.kept[-1])
        return len(text)

    def writable(self) -> bool:
        return True


def answer(stream: int, most_output: int) -> None:
    """Load the module that the first frame holds, then answer every frame until there are no more."""
    module = types.ModuleType("answer")
    held: list[Any] = [module]
    output = _Output(most_output)
    sys.stdout = sys.stderr = output
    sys.modules["answer"] = module  # data classes look their module up
    loading = _Loading(module)
    while True:
        try:
            asked = wire.receive(stream)
        except wire.Closed:
            return
        reply: dict[str, Any]
        try:
            if "load" in asked:
                reply = loading(asked["load"])
            elif "output" in asked:
                reply = {"value": "".join(output.kept)}
            else:
                reply = {"value": wire.encoded(_done(asked, held), lambda value: _hold(held, value))}
        except BaseException as error:
            reply = {"error": _name(error), "text": _text(error)}
        try:
            wire.send(stream, {**reply, "nonce": asked.get("nonce"), "printed": bool(output.kept)})
        except wire.TooLong as error:
            wire.send(
                stream,
                {"error": "ValueError", "text": f"the value cannot be copied: {error}", "nonce": asked.get("nonce")},
            )


class _Loading:
    def __init__(self, module: types.ModuleType) -> None:
        self.module = module

    def __call__(self, source: str) -> dict[str, Any]:
        try:
            code = compile(source, "<answer>", "exec", dont_inherit=True)
        except (SyntaxError, ValueError) as error:  # ValueError: a NUL, or a lone surrogate
            return {"status": "syntax_error", "text": _text(error)}
        except (MemoryError, RecursionError) as error:
            return {"status": "syntax_error", "text": f"too deeply nested: {_name(error)}"}
        try:
            exec(code, self.module.__dict__)
        except MemoryError:
            return {"status": "memory", "text": "it needs more memory than it may use"}
        except BaseException as error:
            return {"status": "error", "text": f"{_name(error)}: {_text(error)}"}
        return {"status": "ok", "calls": [name for name, value in vars(self.module).items() if callable(value)]}


def _done(asked: dict[str, Any], held: list[Any]) -> Any:
    def stayed(number: Any) -> Any:
        return held[number]

    target = held[asked["of"]]
    for name in asked["path"]:
        target = getattr(target, name)
    if "items" in asked:
        return list(target)
    if "call" not in asked:
        return target
    arguments = wire.decoded(asked["call"], stayed)
    return target(*arguments, **wire.decoded(asked["named"], stayed))


def _hold(held: list[Any], value: Any) -> dict[str, Any]:
    held.append(value)
    return {"number": len(held) - 1, "type": type(value).__name__, "calls": callable(value)}


def _name(error: BaseException) -> str:
    return type(error).__name__


def _text(error: BaseException) -> str:
    """Its message, in one short line."""
    try:
        text = str(error)
    except BaseException:
        return ""
    return " ".join(text.split())[:300]
