"""The process that runs the tests, and asks another one, which holds the module, for what it needs of it."""

from __future__ import annotations

import functools
import os
import random
import sys
import time
from typing import Any

from maporl.sandbox import asserts, wire
from maporl.sandbox.remote import Lost, Module, ModuleError, Names, given

__all__ = ["ask"]

_SILENCE = 0.2  # seconds after which a word of how far we are is due


class _Enough(BaseException):
    """No more asserts are run."""


class _Verdicts:
    """What has come of the asserts so far."""

    def __init__(self, module: Module, loading: dict[str, str], number: int) -> None:
        self.module, self.loading = module, loading
        self.found = [["not_run", "", 0.0] for _ in range(number)]
        self.said = time.monotonic()

    def begin(self, number: int) -> None:
        """An assert has the time of all calls since the one before it, and in a loop that of all its rounds."""
        if self.module.strikes_left <= 0:
            raise _Enough
        self.tell_now_and_then()
        module = self.module
        module.left, module.last = module.seconds - module.used - self.found[number][2], ""  # type: ignore[operator]
        if module.left <= 0:
            module.strikes_left -= 1
            raise Lost("timeout", f"its calls took more than {module.seconds:g} s")

    def held(self, number: int) -> None:
        self._set(number, "passed", "")

    def failed(self, number: int) -> None:
        self._set(number, "failed", self.module.last or "it does not hold")

    def raised(self, number: int) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, Lost):
            self._set(number, error.status, str(error))
        else:
            text = f"{type(error).__name__}: {error}" if not isinstance(error, ModuleError | NameError) else str(error)
            self._set(number, "error", (self.module.last if " raised " in self.module.last else text)[:500])

    def _set(self, number: int, status: str, explanation: str) -> None:
        """What went wrong first in an assert stays."""
        verdict = self.found[number]
        verdict[2] += self.module.used  # type: ignore[operator]
        self.module.used, self.module.left = 0.0, self.module.seconds
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
    module = Module(host, given(host), work)
    status, text = module.load()
    module.left, module.used = module.seconds, 0.0
    verdicts = _Verdicts(module, {"status": status, "text": text}, work["asserts"])
    stopped = ""
    if status == "ok" and work["asserts"]:
        random.seed(0)  # tests that draw their inputs draw the same ones for everybody
        names = {
            "__name__": "tests",
            "__builtins__": Names(module),
            asserts.BEGIN: verdicts.begin,
            asserts.HELD: verdicts.held,
            asserts.FAILED: verdicts.failed,
            asserts.RAISED: verdicts.raised,
            asserts.ERRORS: (Exception, Lost),
        }
        try:
            for code in _compiled(work["setup"], work["tests"]):
                exec(code, names)
        except _Enough:
            stopped = f"after {work['timeouts']} asserts that had to be cut off no more are run"
        except Lost as error:
            stopped = f"the tests were stopped: {error}"
        except BaseException as error:
            stopped = f"the tests were stopped by {type(error).__name__}: {error}"[:500]
    verdicts.tell(stopped=stopped, output=module.output(), done=True)
    os.close(module.stream)
