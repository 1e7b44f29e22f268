"""Math-Verify in a process of its own, because a parse can hang, exhaust the memory or crash, and must then be killed.

(Its own time-out is an alarm signal, which works in the main thread only and cannot interrupt a long power of integers.)
What it does there is in `worker`, to which requests and replies go as lines of JSON. May be used from any thread and after a fork; the
process is started at the first request, and again after a kill.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import subprocess
import sys
import threading
from collections import OrderedDict, deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from maporl.envs.verifiers.mathematics.worker import __file__ as SCRIPT

__all__ = ["MathWorker", "MathWorkers", "shared_workers"]

_START_SECONDS = 120.0  # a busy machine may take long to import sympy, which is no fault of the response
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
        command = [sys.executable, "-P", SCRIPT]
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
