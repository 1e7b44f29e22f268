"""The sandbox: programs in, reports out."""

from __future__ import annotations

import atexit
import functools
import importlib.util
import os
import queue
import threading
import weakref
from collections.abc import Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import replace

from maporl.errors import UserValueError
from maporl.sandbox import kernel
from maporl.sandbox.asserts import asserts_of, keep_to_themselves
from maporl.sandbox.program import Limits, Program, Report
from maporl.sandbox.worker import SandboxUnavailable, Worker

__all__ = ["Sandbox", "SandboxUnavailable", "shared_sandbox"]


_MOST_SOURCE = 1 << 24


class Sandbox:
    """Runs programs apart from everything else: each in a process of its own that can read the standard library and nothing else, write a
    scratch folder of its own, reach no network, see no other process, and use no more than its limits. The tests run in another such
    process, which takes nothing from the module but plain data.

    May be used from any thread and after a fork. Processes are started when there is work for them.

    Args:
        limits: What a program may use.
        workers: Programs that are checked at once; default: one for every processor, eight at most, and two at least, so that one
            endless program does not stop the others.
        packages: Installed packages that a program may import beside the standard library, such as "numpy".
        unsafe: Run programs where nothing keeps them apart (not on Linux, or namespaces are forbidden): with this user's rights, on its
            files. Never needed where they can be kept apart, and then without effect.

    Raises:
        ValueError: Less than one worker, or a package that is not installed.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        workers: int | None = None,
        packages: Sequence[str] = (),
        unsafe: bool = False,
    ) -> None:
        count = min(max(os.cpu_count() or 1, 2), 8) if workers is None else workers
        if count < 1:
            raise UserValueError(f"workers is {workers}; a sandbox needs at least 1.")
        for name in packages:
            if importlib.util.find_spec(name) is None:
                raise UserValueError(f"package {name!r} is not installed; install it, or leave it out of packages.")
        self.limits = Limits() if limits is None else limits
        self.packages, self.unsafe = tuple(packages), unsafe
        self._count = count
        self._walls: bool | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._free: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        self._workers: list[Worker] = []
        self._lock = threading.Lock()
        _OPEN.add(self)

    @property
    def isolation(self) -> str:
        """What keeps programs apart here: "namespaces + seccomp", "namespaces" (an architecture whose system calls are not known), or
        "none".

        Raises:
            SandboxUnavailable: Nothing does, and `unsafe` was not passed.
        """
        self._ready()
        if not self._walls:
            return "none"
        return "namespaces + seccomp" if kernel.can_filter() else "namespaces"

    def _ready(self) -> ThreadPoolExecutor:
        """A thread for every worker, so that one that is busy keeps no other from its work."""
        with self._lock:
            if self._walls is None:
                first = Worker(True, self.packages)
                try:
                    first.start()
                    self._walls = True
                except SandboxUnavailable:
                    if not self.unsafe:
                        raise
                    self._walls = False
                rest = range(1 if self._walls else 0, self._count)
                self._workers = [first] * self._walls + [Worker(self._walls, self.packages, n) for n in rest]
            if self._pool is None:
                self._free = queue.SimpleQueue()
                for worker in self._workers:
                    worker.stopped = False
                    self._free.put(worker)
                self._pool = ThreadPoolExecutor(len(self._workers), "maporl-sandbox")
            return self._pool

    def run(self, programs: Sequence[Program]) -> list[Report]:
        """What comes of each program, in their order. Equal programs are run once.

        A program never raises here, whatever it does. Tests that are no Python, or hold no assert, are the same: nothing is passed.

        Raises:
            SandboxUnavailable: See `isolation`.
        """
        if not programs:
            return []
        isolation, pool = self.isolation, self._ready()
        waiting = {program: pool.submit(self._checked, program) for program in dict.fromkeys(programs)}
        try:
            reports = {program: replace(check.result(), isolation=isolation) for program, check in waiting.items()}
        except CancelledError:
            raise SandboxUnavailable("the sandbox was closed while programs waited; run what is left again.") from None
        except BaseException:  # an interrupt, say: nobody waits for what is left
            self.close()
            raise
        return [reports[program] for program in programs]

    def _checked(self, program: Program) -> Report:
        if len(program.source) > _MOST_SOURCE:
            return Report("error", f"a module of {len(program.source):,} characters; {_MOST_SOURCE:,} are the most")
        try:
            asserts_of(program.tests), keep_to_themselves(program.setup, program.tests)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            return Report("ok", f"the tests cannot be read: {error}")
        worker = self._free.get()
        try:
            return worker.run(program, self.limits)
        finally:
            self._free.put(worker)

    def close(self) -> None:
        """End all processes; the next run starts them again. A run that is at work in another thread fails."""
        with self._lock:
            pool, self._pool = self._pool, None
            if pool is not None:
                for worker in self._workers:
                    worker.stop()
                pool.shutdown(cancel_futures=True)
            for worker in self._workers:
                worker.close()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._pool = None  # its threads are the parent's
        for worker in self._workers:
            worker.forget()


_OPEN: weakref.WeakSet[Sandbox] = weakref.WeakSet()


def _close_all() -> None:
    for sandbox in list(_OPEN):
        sandbox.close()


def _forget_all() -> None:
    for sandbox in list(_OPEN):
        sandbox._forget()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)


@functools.lru_cache(maxsize=8)
def shared_sandbox(limits: Limits, packages: tuple[str, ...] = (), unsafe: bool = False) -> Sandbox:
    """This process's sandbox with these limits."""
    return Sandbox(limits, packages=packages, unsafe=unsafe)
