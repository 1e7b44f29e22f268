"""The process that runs the tests, and asks another one, which holds the module, for what it needs of it."""

from __future__ import annotations

import builtins
import functools
import itertools
import os
import random
import socket
import sys
import time
from typing import Any, NoReturn

from maporl.sandbox import asserts, wire

__all__ = ["ask"]

_SILENCE = 0.2  # seconds after which a word of how far we are is due


class _Lost(BaseException):
    """The module has not answered: it took too long, or its process is gone. Ends an assert, and no `except Exception` of the tests."""

    def __init__(self, status: str, text: str) -> None:
        super().__init__(text)
        self.status = status


class _Enough(BaseException):
    """No more asserts are run."""


class ModuleError(Exception):
    """An exception that the module raised and that is not one of Python's own."""


class _Module:
    """The module, in its process."""

    def __init__(self, host: int, stream: int, work: dict[str, Any]) -> None:
        self.host, self.stream = host, stream
        self.source, self.seconds, self.strikes_left = work["source"], work["seconds"], work["timeouts"]
        self.lives = itertools.count(1)
        self.life = 0
        self.lost, self.printed = False, False
        self.calls: frozenset[str] = frozenset()  # what it defines that can be called
        self.left, self.used = self.seconds, 0.0
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
            self._again("timeout", f"{said} took more than {self.seconds:g} s")
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
            took = time.perf_counter() - begun
            self.used += took
            self.left -= took

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
            self.stream, self.life, self.lost = _given(self.host), next(self.lives), False
            left = self.left
            if self.load()[0] != "ok":
                self.strikes_left = 0
            self.left = left
        raise _Lost(status, text)


def _given(host: int) -> int:
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

    def __init__(self, module: _Module, number: int, type: str, calls: bool, path: tuple[str, ...] = ()) -> None:
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

    def __iter__(self) -> Any:
        return iter(self._get({"items": True}, self._name))

    def __repr__(self) -> str:
        return f"<{self._type} of the answer>"


def _handed_back(value: Any) -> Any:
    if isinstance(value, _Remote):
        return value._number
    raise ModuleError(f"the tests hand a {type(value).__name__} to the answer, which cannot be copied")


class _Names(dict):  # type: ignore[type-arg]
    """Python's own names, and then the module's; `answer` is the module."""

    def __init__(self, module: _Module) -> None:
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


class _Verdicts:
    """What has come of the asserts so far."""

    def __init__(self, module: _Module, loading: dict[str, str], number: int) -> None:
        self.module, self.loading = module, loading
        self.found = [["not_run", "", 0.0] for _ in range(number)]
        self.said = time.monotonic()

    def begin(self, number: int) -> None:
        if self.module.strikes_left <= 0:
            raise _Enough
        self.tell_now_and_then()
        self.module.left = self.module.seconds - self.found[number][2]  # type: ignore[operator]
        self.module.used, self.module.last = 0.0, ""

    def held(self, number: int) -> None:
        self._set(number, "passed", "")

    def failed(self, number: int) -> None:
        self._set(number, "failed", self.module.last or "it does not hold")

    def raised(self, number: int) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, _Lost):
            self._set(number, error.status, str(error))
        else:
            text = f"{type(error).__name__}: {error}" if not isinstance(error, ModuleError | NameError) else str(error)
            self._set(number, "error", (self.module.last if " raised " in self.module.last else text)[:500])

    def _set(self, number: int, status: str, explanation: str) -> None:
        """What went wrong first in an assert stays."""
        verdict = self.found[number]
        verdict[2] += self.module.used  # type: ignore[operator]
        if verdict[0] in ("not_run", "passed"):
            verdict[:2] = status, explanation

    def tell_now_and_then(self) -> None:
        if time.monotonic() - self.said > _SILENCE:
            self.tell()
            self.said = time.monotonic()

    def tell(self, **more: Any) -> None:
        wire.send(self.module.host, {**self.loading, "asserts": self.found, **more})


def ask(host: int) -> None:
    """Do the work that each frame from `host` holds: load the module, run the tests, tell what came of them."""
    while True:
        try:
            _asked(host, wire.receive(host))
        except wire.Closed:
            return


@functools.lru_cache(maxsize=64)
def _compiled(setup: str, tests: str) -> tuple[Any, Any]:
    """Many answers to one question are checked one after the other."""
    reporting = asserts.reporting(tests)
    return (
        compile(setup, "<setup>", "exec", dont_inherit=True),
        compile(reporting, "<tests>", "exec", dont_inherit=True),
    )


def _asked(host: int, work: dict[str, Any]) -> None:
    module = _Module(host, _given(host), work)
    status, text = module.load()
    verdicts = _Verdicts(module, {"status": status, "text": text}, work["asserts"])
    stopped = ""
    if status == "ok" and work["asserts"]:
        random.seed(0)  # tests that draw their inputs draw the same ones for everybody
        names = {
            "__name__": "tests",
            "__builtins__": _Names(module),
            asserts.BEGIN: verdicts.begin,
            asserts.HELD: verdicts.held,
            asserts.FAILED: verdicts.failed,
            asserts.RAISED: verdicts.raised,
            asserts.ERRORS: (Exception, _Lost),
        }
        try:
            for code in _compiled(work["setup"], work["tests"]):
                exec(code, names)
        except _Enough:
            stopped = f"after {work['timeouts']} asserts that had to be cut off no more are run"
        except BaseException as error:
            stopped = f"the tests were stopped by {type(error).__name__}: {error}"[:500]
    verdicts.tell(stopped=stopped, output=module.output(), done=True)
    os.close(module.stream)
