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
from collections import OrderedDict, deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

__all__ = ["MathWorker", "MathWorkers", "shared_workers"]

_START_SECONDS = 120.0  # a busy machine may take long to import sympy, which is no fault of the response
_MEMORY_BYTES = 4 << 30
_LONGEST_ANSWER = 1000  # characters of it that are kept
# A worker gives up by itself after so much time of its processor, however busy the machine is; unless it is inside one long operation on
# integers. Then it is killed, after so many times the limit and a little more.
_PATIENCE, _GRACE_SECONDS = 3, 2.0
_MOST_WORKERS = 4
_PER_WORKER = 8  # requests for which it is worth while to start another one
_LEAST_SHARE = 0.02  # of the time limit, that a request gets when the budget of its batch is spent
_REMEMBERED = 65536  # replies


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
            reply, in_time = self._exchange(self._running(), line, _PATIENCE * timeout + _GRACE_SECONDS)
            if reply is None or not in_time:
                self._stop()
        if reply is not None:
            return reply
        return {"status": "error" if in_time else "timeout", "correct": None, "answer": None}

    @property
    def busy(self) -> bool:
        """Whether somebody waits for it."""
        return self._lock.locked()

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


class MathWorkers:
    """Some workers that share the requests of a batch, and remember the replies.

    Args:
        size: How many; each is started when there is work for it.
    """

    def __init__(self, size: int) -> None:
        self._workers = [MathWorker() for _ in range(size)]
        self._known: OrderedDict[str, dict[str, Any]] = OrderedDict()  # a time-out with the "limit" that it had

    def ask(self, timeout: float, **request: Any) -> dict[str, Any]:
        """One request, see `MathWorker.ask`."""
        return self.ask_all([request], timeout, timeout)[0]

    def ask_all(self, requests: Sequence[dict[str, Any]], timeout: float, budget: float) -> list[dict[str, Any]]:
        """The replies to requests, each different one asked once.

        Args:
            requests: See `judge`.
            timeout: Seconds for each.
            budget: Seconds that several requests may lose in time-outs, all together; once they are spent, each gets a fiftieth of
                `timeout`.
        """
        keys = [json.dumps(request, sort_keys=True) for request in requests]
        new = {key: request for key, request in zip(keys, requests, strict=True) if not self._knows(key, timeout)}
        replies = {key: self._known[key] for key in keys if key not in new} | self._shared_out(new, timeout, budget)
        self._known.update((key, reply) for key, reply in replies.items() if reply["status"] != "error")
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return [replies[key] for key in keys]

    def _knows(self, key: str, timeout: float) -> bool:
        reply = self._known.get(key)
        return reply is not None and reply.get("limit", timeout) >= timeout

    def _shared_out(self, new: dict[str, dict[str, Any]], timeout: float, budget: float) -> dict[str, dict[str, Any]]:
        waiting, replies = deque(new.items()), {}
        lost = [0.0]

        def work(worker: MathWorker) -> None:
            while waiting:
                try:
                    key, request = waiting.popleft()
                except IndexError:  # another thread was quicker
                    return
                limit = timeout if len(new) == 1 else max(_LEAST_SHARE * timeout, min(timeout, budget - sum(lost)))
                replies[key] = worker.ask(limit, **request)
                if replies[key]["status"] == "timeout":
                    lost.append(limit)
                    replies[key]["limit"] = limit

        workers = sorted(self._workers, key=lambda worker: worker.busy)[: -(-len(new) // _PER_WORKER)]
        if len(workers) < 2:
            for worker in workers:
                work(worker)
        else:
            with ThreadPoolExecutor(len(workers)) as pool:
                list(pool.map(work, workers))
        return replies

    def close(self) -> None:
        """End all processes; the next request starts them again."""
        for worker in self._workers:
            worker.close()

    def forget(self) -> None:
        """In a forked child: the processes are the parent's."""
        for worker in self._workers:
            worker.forget()


@functools.lru_cache(maxsize=1)
def shared_workers() -> MathWorkers:
    """Those of this process."""
    workers = MathWorkers(min(_MOST_WORKERS, os.cpu_count() or 1))
    atexit.register(workers.close)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=workers.forget)
    return workers


# From here on: inside the worker.


@functools.lru_cache(maxsize=8192)
def read(answer: str) -> list[Any]:
    """An answer that stands alone, as Math-Verify parses it. It is told to drop no units: to it, 2t is two tonnes."""
    from latex2sympy2_extended import NormalizationConfig
    from math_verify import LatexExtractionConfig, parse

    plain = NormalizationConfig(basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="none", equations=False)
    return parse(f"${answer}$", [LatexExtractionConfig(normalization_config=plain)], parsing_timeout=None)


@functools.lru_cache(maxsize=8192)
def extract(text: str, match_types: tuple[str, ...]) -> list[Any]:
    """What Math-Verify finds in `text`: the parsed expression, and the string it was parsed from."""
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse

    kinds = {"latex": LatexExtractionConfig(), "expr": ExprExtractionConfig()}
    return parse(text, [kinds[name] for name in match_types], parsing_timeout=None)


def _differ(gold: Any, found: Any, precision: int) -> bool:
    """Whether two expressions have different values at some point, which is found out much sooner than that they are not identical.

    Only of what is surely no relation, matrix or word, and holds no sum or the like.
    """
    from sympy import Expr, FiniteSet, Float, Mul, Pow, Set, Symbol, Tuple, UnevaluatedExpr
    from sympy.concrete.expr_with_limits import ExprWithLimits
    from sympy.core.function import AppliedUndef

    both = (gold, found)
    several = [isinstance(one, Tuple | Set) and not (isinstance(one, FiniteSet) and len(one) == 1) for one in both]
    if any(several):
        return any(isinstance(one, Expr) for one in both)  # a pair or interval, and one expression
    if not all(isinstance(one, Expr) and not one.is_Matrix for one in both):
        return False
    if any(isinstance(one, Symbol) or one.has(ExprWithLimits, UnevaluatedExpr, AppliedUndef) for one in both):
        return False
    if any(isinstance(one, Mul) and all(isinstance(factor, Symbol | Pow) for factor in one.args) for one in both):
        return False  # Math-Verify may take it for a word
    if not all(one.free_symbols or one.is_number for one in both):
        return False
    names = sorted({symbol.name for one in both for symbol in one.free_symbols})
    values = {name: Float(0.3 + 0.4 * (n + 1) / (len(names) + 1)) for n, name in enumerate(names)}
    a, b = (complex(one.evalf(15, subs={s: values[s.name] for s in one.free_symbols}, maxn=40)) for one in both)
    return abs(a - b) > 2 * 10.0**-precision + 1e-6 * max(abs(a), abs(b))


def judge(request: dict[str, Any]) -> dict[str, Any]:
    """Compare request["gold"] and request["response"] under the options beside them: two answers that stand alone, or, if there are
    `match_types` to look for, those that Math-Verify finds in the two texts."""
    from math_verify import verify

    look_for = request.get("match_types")
    texts = request["gold"], request["response"]
    gold, found = (read(text) if look_for is None else extract(text, tuple(look_for)) for text in texts)
    text = next((part[:_LONGEST_ANSWER] for part in found if isinstance(part, str)), None)
    if not gold:
        return {"status": "error", "correct": None, "answer": text}
    if not found:
        return {"status": "no_answer", "correct": False, "answer": None}
    with contextlib.suppress(TypeError, ValueError, ArithmeticError, AttributeError):  # there is no such value
        if look_for is None and request["strict"] and _differ(gold[0], found[0], request["precision"]):
            return {"status": "ok", "correct": False, "answer": text}
    correct = verify(
        gold,
        found,
        float_rounding=request["precision"],
        strict=request["strict"],
        allow_set_relation_comp=request["allow_set_relation_comp"],
        timeout_seconds=None,
    )
    return {"status": "ok", "correct": bool(correct), "answer": text}


class _Late(BaseException):
    """Time is up. No Exception, for sympy catches these."""


def _late(*_: Any) -> None:
    raise _Late


def _limit(seconds: float) -> None:
    """Raise `_Late` after so many seconds of processor time; 0 takes that back. Should the parent die, nobody else would end an operation
    that hangs: that is what the second timer is for."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)
        signal.setitimer(signal.ITIMER_VIRTUAL, 2 * seconds + 5 if seconds else 0)


def serve() -> None:
    """Answer requests until standard input ends."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # a stray print must not become a reply
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    if hasattr(signal, "SIGPROF"):
        signal.signal(signal.SIGPROF, _late)
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
        read("1")  # compiles the patterns
    except Exception as error:
        return send("error", answer=f"{type(error).__name__}: {error}")
    send("ok")
    for line in sys.stdin.buffer:
        request = json.loads(line)
        reply: dict[str, Any] = {"status": "error"}
        with contextlib.suppress(_Late):  # also when it comes just after the reply is there
            try:
                _limit(request["timeout"])
                reply = judge(request)
            except _Late:
                reply = {"status": "timeout"}
            except Exception:  # MemoryError and RecursionError, too
                reply = {"status": "error"}
            _limit(0)
        send(**reply)


if __name__ == "__main__":
    serve()
