"""What checking code costs: programs a second, each in a fresh sandbox, beside a fresh interpreter behind bubblewrap if there is one, and
how long an endless answer makes the others wait."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from bench.rows import Row, of
from bench.settings import Settings
from maporl.sandbox import Limits, Program, Sandbox

__all__ = ["rows"]

SECTION = "sandbox"
WORKERS = 2
ENDLESS = Program("def f():\n    while True: pass", "assert f() == 1")


def programs(number: int, first: int = 0) -> list[Program]:
    """Small functions, all different, with three asserts each."""
    return [
        Program(f"def f(x):\n    return x + {n}", "\n".join(f"assert f({x}) == {x + n}" for x in range(3)))
        for n in range(first, first + number)
    ]


def rows(settings: Settings) -> list[Row]:
    """Rates of `WORKERS` workers, medians over repetitions."""
    number = 50 if settings.quick else 400
    note = f"3 asserts each, {WORKERS} workers"
    starts, rates, walled, waits = [], [], [], []
    for repetition in range(settings.repetitions):
        with Sandbox(Limits(seconds=2.0), workers=WORKERS) as sandbox:
            begun = time.perf_counter()
            sandbox.run(programs(1))
            starts.append(time.perf_counter() - begun)
            sandbox.run(programs(4 * WORKERS, 10_000))  # all workers are started
            begun = time.perf_counter()
            reports = sandbox.run(programs(number, repetition * number))
            rates.append(number / (time.perf_counter() - begun))
            assert all(report.passed for report in reports)
            waits.append(_wait(sandbox))
        if shutil.which("bwrap"):
            walled.append(_bubblewrap(number // 4))
    found = [
        of(SECTION, "checks, each in a fresh sandbox", rates, "checks/s", ">= 300", note),
        of(SECTION, "first check", starts, "s", note="starts an interpreter"),
        of(SECTION, "20 checks beside an endless one (limit 2 s)", waits, "s", "<= 2"),
    ]
    if walled:
        found.append(
            of(SECTION, "bubblewrap and a fresh interpreter", walled, "checks/s", note="no asserts, no limits")
        )
    return found


def _wait(sandbox: Sandbox) -> float:
    """Seconds until 20 programs are checked while another one runs to its limit."""
    thread = threading.Thread(target=sandbox.run, args=([ENDLESS],))
    thread.start()
    time.sleep(0.1)
    begun = time.perf_counter()
    sandbox.run(programs(20, 20_000))
    waited = time.perf_counter() - begun
    thread.join()
    return waited


def _bubblewrap(number: int) -> float:
    """Programs a second, an interpreter each."""
    command = [
        "bwrap",
        "--ro-bind",
        "/",
        "/",
        "--tmpfs",
        "/tmp",
        "--unshare-all",
        "--die-with-parent",
        sys.executable,
        "-I",
        "-S",
        "-c",
    ]
    begun = time.perf_counter()
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(lambda p: subprocess.run([*command, p.source], check=True), programs(number)))
    return number / (time.perf_counter() - begun)
