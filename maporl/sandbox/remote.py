"""The module as the process of the tests sees it: names and things that are somewhere else."""

from __future__ import annotations

import builtins
import itertools
import os
import socket
import time
from typing import Any, NoReturn

from maporl.sandbox import wire

__all__ = ["Lost", "Module", "ModuleError", "Names", "given"]


class Lost(BaseException):
    """The module has not answered: it took too long, or its process is gone. Ends an assert, and no `except Exception` of the tests."""

    def __init__(self, status: str, text: str) -> None:
        super().__init__(text)
        self.status = status


class ModuleError(Exception):
    """An exception that the module raised and that is not one of Python's own."""


class Module:
    """The module, in its process."""

    def __init__(self, host: int, stream: int, work: dict[str, Any]) -> None:
        self.host, self.stream = host, stream
        self.source, self.seconds, self.strikes_left = work["source"], work["seconds"], work["timeouts"]
        self.lives = itertools.count(1)
        self.life = 0
        self.lost, self.printed = False, False
        self.calls: frozenset[str] = frozenset()  # what it defines that can be called
        self.left, self.used, self.took = (
            self.seconds,
            0.0,
            0.0,
        )  # for the next assert; since the last one; the last call
        self.last = ""  # what it did last, for people
        self.nonce = ""

    def load(self) -> tuple[str, str]:
        """(status, explanation) of loading it."""
        self.left = self.seconds
        try:
            reply = self._exchange({"load": self.source})
        except wire.TooLate:
            self.lost = True
            return "timeout", f"loading it took more than {self.seconds:g} s"
        except (wire.Closed, wire.TooLong):
            self.lost = True
            return "killed", "it ended its process while it was loaded"
        self.calls = frozenset(map(str, reply.get("calls", ())))
        return str(reply.get("status", "killed")), str(reply.get("text", ""))

    def output(self) -> str:
        """What it has printed since it was loaded; "" of a process that is lost."""
        if self.lost or not self.printed:
            return ""
        try:
            self.left = 1.0
            reply = self._exchange({"output": True})
        except (wire.TooLate, wire.Closed, wire.TooLong):
            return ""
        return str(reply.get("value", ""))

    def get(self, of: int, what: dict[str, Any], said: str) -> Any:
        """What it gives; an exception of its own is raised here."""
        try:
            reply = self._exchange({"of": of, **what})
        except wire.TooLate:
            before = " with what came before it" if self.used > 1.05 * self.took else ""
            self._again("timeout", f"{said}{before} took more than {self.seconds:g} s")
        except (wire.Closed, wire.TooLong):
            self._again("error", f"{said} ended the process")
        if "error" in reply:
            self.last = f"{said} raised {reply['error']}: {reply['text']}".rstrip(": ")
            kind = getattr(builtins, str(reply["error"]), None)
            known = isinstance(kind, type) and issubclass(kind, Exception)
            raise (_made(kind, reply["text"]) if known else ModuleError(f"{reply['error']}: {reply['text']}"))
        try:
            value = wire.decoded(reply["value"], lambda held: _Remote(self, **held))
        except Exception:
            raise ModuleError(f"{said} gave something that cannot be copied") from None
        self.last = f"{said} gave {wire.shown(value)}"
        return value

    def _exchange(self, message: dict[str, Any]) -> dict[str, Any]:
        self.nonce = os.urandom(8).hex()  # so that nobody can have answered before it was asked
        begun = time.perf_counter()
        try:
            wire.send(self.stream, {**message, "nonce": self.nonce})
            while True:
                reply = wire.receive(self.stream, self.left - (time.perf_counter() - begun))
                if reply.get("nonce") == self.nonce:
                    self.printed = bool(reply.get("printed"))
                    return reply
        finally:
            self.took = time.perf_counter() - begun
            self.used += self.took
            self.left -= self.took

    def _again(self, status: str, text: str) -> NoReturn:
        """A process that is lost is replaced, so that it does not decide about the asserts that follow; but not for ever."""
        self.strikes_left -= 1
        self.lost = True
        if self.strikes_left > 0:
            wire.send(self.host, {"restart": status})
            ended = wire.receive(self.host)["ended"]
            if status == "error":
                text += f" ({ended})"
            os.close(self.stream)
            self.stream, self.life, self.lost = given(self.host), next(self.lives), False
            used = self.used
            if self.load()[0] != "ok":
                self.strikes_left = 0
            self.used = used
        raise Lost(status, text)


def given(host: int) -> int:
    """The stream to a module's process that `host` hands over."""
    borrowed = socket.socket(fileno=host)
    try:
        return socket.recv_fds(borrowed, 1, 1)[1][0]
    finally:
        borrowed.detach()


def _made(kind: Any, text: str) -> Exception:
    try:
        return kind(text)  # type: ignore[no-any-return]
    except TypeError:  # UnicodeDecodeError wants five arguments
        return ModuleError(f"{kind.__name__}: {text}")


class _Remote:
    """Something of the module that is no plain data: it stays there. Where it is: a number that its process gave it, 0 the module itself,
    and names from there on, which are looked up whenever it is used."""

    def __init__(self, module: Module, number: int, type: str, calls: bool, path: tuple[str, ...] = ()) -> None:
        self.__dict__.update(_module=module, _number=number, _type=type, _calls=calls, _path=path)
        self.__dict__.update(_life=module.life, _name=".".join(path) if number == 0 else f"<{type}>")

    def _get(self, what: dict[str, Any], said: str) -> Any:
        if self._number and self._life != self._module.life:
            raise ModuleError(f"{self._name} went away with its process")
        return self._module.get(self._number, {"path": self._path, **what}, said)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._get(
            {"call": wire.encoded(arguments, _handed_back), "named": wire.encoded(named, _handed_back)},
            f"{self._name}({', '.join([*map(wire.shown, arguments), *(f'{k}={wire.shown(v)}' for k, v in named.items())])})",
        )

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        path = (*self._path, name)
        value = self._get({"path": path}, f"{self._name}.{name}" if path[1:] else name)
        if isinstance(value, _Remote) and value._calls and self._number == 0:
            return _Remote(self._module, 0, value._type, True, path)
        return value

    def _do(self, what: str, *arguments: Any) -> Any:
        told = {"do": what, "call": wire.encoded(arguments, _handed_back), "named": {"dict": []}}
        return self._get(told, f"{what} of {self._name}")

    def __iter__(self) -> Any:
        iterator, some = self._do("iter"), 1
        while True:  # few at first, for there may be no end of them
            items = iterator._do("items", some)
            yield from items
            if len(items) < some:
                return
            some = min(2 * some, 1024)

    def __len__(self) -> int:
        return int(self._do("len"))

    def __bool__(self) -> bool:
        return bool(self._do("bool"))

    def __str__(self) -> str:
        return str(self._do("str"))

    def __next__(self) -> Any:
        return self._do("next")

    def __getitem__(self, key: Any) -> Any:
        return self._do("getitem", key)

    def __contains__(self, item: Any) -> bool:
        return bool(self._do("contains", item))

    def __repr__(self) -> str:
        return f"<{self._type} of the answer>"


def _handed_back(value: Any) -> Any:
    if isinstance(value, _Remote):
        return value._number
    raise ModuleError(f"the tests hand a {type(value).__name__} to the answer, which cannot be copied")


class Names(dict):  # type: ignore[type-arg]
    """Python's own names, and then the module's; `answer` is the module."""

    def __init__(self, module: Module) -> None:
        super().__init__(vars(builtins), answer=_Remote(module, 0, "module", False))
        self.module = module

    def __missing__(self, name: str) -> Any:
        if name.startswith("__"):
            raise KeyError(name)
        answer = self["answer"]
        if name in self.module.calls:
            function = self[name] = _Remote(self.module, 0, "function", True, (name,))
            return function
        try:
            return getattr(answer, name)
        except AttributeError:
            raise NameError(f"the answer defines no {name!r}") from None
        finally:
            self.module.last = ""
