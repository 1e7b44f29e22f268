"""Math-Verify in a process of its own, because a parse can hang, exhaust the memory or crash, and must then be killed.

(Its own time-out is an alarm signal, which works in the main thread only and cannot interrupt a long power of integers.)
Run as a script this file is the worker, and imports nothing of maporl so that it starts quickly; imported, it is the client.
Requests and replies are lines of JSON. The client may be used from any thread and after a fork; it starts the worker at the
first request, and again after a kill.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from typing import Any

__all__ = ["MathWorker", "shared_worker"]

_START_SECONDS = 120.0  # a busy machine may take long to import sympy, which is no fault of the response
_MEMORY_BYTES = 4 << 30
_LONGEST_ANSWER = 1000  # characters of it that are kept


class MathWorker:
    """A killable process that extracts and compares mathematical answers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, timeout: float, **request: Any) -> dict[str, Any]:
        """Send one request (see `judge` for its fields) and wait for the reply, at most `timeout` seconds.

        Returns:
            {"status", "correct", "answer"}; status "timeout" or "error" come with correct None.

        Raises:
            RuntimeError: The worker cannot start at all (Math-Verify is not installed).
        """
        line = json.dumps({**request, "timeout": timeout}).encode() + b"\n"  # ASCII, so any text passes
        with self._lock:
            reply, in_time = self._exchange(self._running(), line, timeout)
            if reply is None or not in_time:
                self._stop()
        if reply is not None:
            return reply
        return {"status": "error" if in_time else "timeout", "correct": None, "answer": None}

    def close(self) -> None:
        """End the process; the next request starts another."""
        with self._lock:
            self._stop()

    def forget(self) -> None:
        """In a forked child: the process is the parent's. Let go of it without a word."""
        self._lock = threading.Lock()  # another thread may have held it when the fork came
        process, self._process = self._process, None
        if process is not None:
            process.returncode = 0  # not ours to wait for
            for pipe in (process.stdin, process.stdout):
                pipe.raw.close()  # type: ignore[union-attr]  # unflushed; the worker must see its end when the parent goes

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._stop()
        # -P: without it the script's folder would come first on the path, where our module names would hide others.
        command = [sys.executable, "-P", os.path.abspath(__file__)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)
        hello, _ = self._exchange(self._process, b"", _START_SECONDS)
        if hello is None or hello["status"] != "ok":
            self._stop()
            raise RuntimeError(
                f"Math-Verify does not start ({hello['answer'] if hello else 'no sign of life'}); "
                "install it with: pip install math-verify"
            )
        return self._process

    @staticmethod
    def _exchange(process: subprocess.Popen[bytes], line: bytes, timeout: float) -> tuple[dict[str, Any] | None, bool]:
        """(reply, None if the process died; whether it was left alive). Killing it ends the read on every system."""
        late = threading.Event()

        def kill() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(timeout, kill)
        timer.daemon = True
        timer.start()
        data = b""
        try:
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write(line)
            process.stdin.flush()
            data = process.stdout.readline()
        except OSError:
            pass  # it died while we wrote
        finally:
            timer.cancel()
            timer.join()  # after this the timer cannot kill a worker that has answered and serves the next request
        return (json.loads(data) if data.endswith(b"\n") else None), not late.is_set()

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):  # what was not written to a dead process stays unwritten
                pipe.close()  # type: ignore[union-attr]


@functools.lru_cache(maxsize=1)
def shared_worker() -> MathWorker:
    """The one worker of this process."""
    worker = MathWorker()
    atexit.register(worker.close)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=worker.forget)
    return worker


# From here on: inside the worker.


@functools.lru_cache(maxsize=8192)
def extract(text: str, match_types: tuple[str, ...]) -> list[Any]:
    """What Math-Verify finds in `text`: the parsed expression, and the string it was parsed from."""
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse

    kinds = {"latex": LatexExtractionConfig(), "expr": ExprExtractionConfig()}
    return parse(text, [kinds[name] for name in match_types], parsing_timeout=None)


def judge(request: dict[str, Any]) -> dict[str, Any]:
    """Compare the answers in request["gold"] and request["response"] under the options beside them."""
    from math_verify import verify

    match_types = tuple(request["match_types"])
    gold, found = extract(request["gold"], match_types), extract(request["response"], match_types)
    text = next((part[:_LONGEST_ANSWER] for part in found if isinstance(part, str)), None)
    if not gold:
        return {"status": "error", "correct": None, "answer": text}
    if not found:
        return {"status": "no_answer", "correct": False, "answer": None}
    correct = verify(
        gold,
        found,
        float_rounding=request["precision"],
        strict=request["strict"],
        allow_set_relation_comp=request["allow_set_relation_comp"],
        timeout_seconds=None,
    )
    return {"status": "ok", "correct": bool(correct), "answer": text}


def serve() -> None:
    """Answer requests until standard input ends."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # a stray print must not become a reply
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    except (ImportError, ValueError, OSError):
        pass  # no such limit on this system; the time limit remains

    def send(status: str, correct: bool | None = None, answer: str | None = None) -> None:
        replies.write(json.dumps({"status": status, "correct": correct, "answer": answer}).encode() + b"\n")
        replies.flush()

    try:
        logging.disable()
        extract("$1$", ("latex", "expr"))  # compiles the patterns
    except Exception as error:
        return send("error", answer=f"{type(error).__name__}: {error}")
    send("ok")
    for line in sys.stdin.buffer:
        request = json.loads(line)
        if hasattr(signal, "setitimer"):  # should the parent die, nobody else would end a parse that hangs
            signal.setitimer(signal.ITIMER_REAL, 2 * request["timeout"] + 5)
        try:
            send(**judge(request))
        except Exception:  # MemoryError and RecursionError, too
            send("error")


if __name__ == "__main__":
    serve()
