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
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from maporl.errors import UserValueError
from maporl.sandbox import kernel
from maporl.sandbox.asserts import asserts_of
from maporl.sandbox.program import Limits, Program, Report
from maporl.sandbox.worker import SandboxUnavailable, Worker

__all__ = ["Sandbox", "SandboxUnavailable", "shared_sandbox"]


class Sandbox:
    """Runs programs apart from everything else: each in a process of its own that can read the standard library and nothing else, write a
    scratch folder of its own, reach no network, see no other process, and use no more than its limits. The tests run in another such
    process, which takes nothing from the module but plain data.

    May be used from any thread and after a fork. Processes are started when there is work for them.

    Args:
        limits: What a program may use.
        workers: Programs that are checked at once; default: one for every processor, eight at most.
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
        count = min(os.cpu_count() or 1, 8) if workers is None else workers
        if count < 1:
            raise UserValueError(f"workers is {workers}; a sandbox needs at least 1.")
        for name in packages:
            if importlib.util.find_spec(name) is None:
                raise UserValueError(f"package {name!r} is not installed; install it, or leave it out of packages.")
        self.limits = Limits() if limits is None else limits
        self.packages, self.unsafe = tuple(packages), unsafe
        self._count = count
        self._walls: bool | None = None
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

    def _ready(self) -> None:
        with self._lock:
            if self._walls is None:
                try:
                    first = Worker(True, self.packages)
                    first.start()
                    self._walls = True
                except SandboxUnavailable:
                    if not self.unsafe:
                        raise
                    self._walls = False
                    first = Worker(False, self.packages)
                self._workers = [first, *(Worker(self._walls, self.packages) for _ in range(self._count - 1))]
                self._share_out()

    def _share_out(self) -> None:
        """A thread for every worker, so that one that is busy keeps no other from its work."""
        self._pool = ThreadPoolExecutor(len(self._workers), "maporl-sandbox")
        self._free: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        for worker in self._workers:
            self._free.put(worker)

    def run(self, programs: Sequence[Program]) -> list[Report]:
        """What comes of each program, in their order. Equal programs are run once.

        A program never raises here, whatever it does. Tests that are no Python, or hold no assert, are the same: nothing is passed.

        Raises:
            SandboxUnavailable: See `isolation`.
        """
        isolation = self.isolation if programs else ""
        pool = self._pool
        waiting = {program: pool.submit(self._checked, program) for program in dict.fromkeys(programs)}
        reports = {program: replace(check.result(), isolation=isolation) for program, check in waiting.items()}
        return [reports[program] for program in programs]

    def _checked(self, program: Program) -> Report:
        try:
            asserts_of(program.tests)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            return Report("ok", f"the tests cannot be read: {error}")
        worker = self._free.get()
        try:
            return worker.run(program, self.limits)
        finally:
            self._free.put(worker)

    def close(self) -> None:
        """End all processes; the next run starts them again."""
        with self._lock:
            for worker in self._workers:
                worker.close()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _forget(self) -> None:
        self._lock = threading.Lock()
        for worker in self._workers:
            worker.forget()
        if self._workers:
            self._share_out()


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
