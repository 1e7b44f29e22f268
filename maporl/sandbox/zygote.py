"""A warm interpreter behind walls, from which every process of a sandbox is forked, each into walls of its own.

It is started once for many programs and never sees one: what it makes are *cells*, which read their work from sockets that they are given.
It runs as the first process of its process namespace, so that nothing outlives it.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import random
import shutil
import signal
import socket
import sys
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from maporl.sandbox import kernel
from maporl.sandbox.answering import answer
from maporl.sandbox.asking import ask
from maporl.sandbox.program import Limits

__all__ = ["main"]

# What answers use most is loaded once for all.
_COMMON = (
    "math cmath random re string typing collections itertools functools operator heapq bisect copy json decimal fractions statistics "
    "datetime time enum dataclasses abc numbers array hashlib textwrap ast socket select"
)
_NEVER = {"_tkinter", "_curses", "_curses_panel", "readline", "_dbm", "_gdbm", "ossaudiodev", "nis"}


def main(control: int, settings: dict[str, Any]) -> None:
    """Serve cells over the socket `control` until nobody holds its other end."""
    channel = socket.socket(fileno=control)
    sys.dont_write_bytecode = True
    sys.setrecursionlimit(1000)
    try:
        places = _places(settings["packages"], settings["homes"])
        _load(settings["packages"], places)
        if settings["walls"]:
            _behind_walls(settings["folder"], places)
    except Exception as error:
        channel.send(json.dumps({"failed": f"{type(error).__name__}: {error}"}).encode())
        return
    os.environ.clear()
    gc.collect()
    gc.freeze()  # what is never touched is never copied
    channel.send(json.dumps({"ready": True}).encode())
    _serve(channel, settings["user"] if settings["walls"] else None)


def _load(packages: Sequence[str], places: Sequence[str]) -> None:
    """Import what cannot be imported, or only slowly, once the walls are up."""
    own = [path for path in sys.path if (Path(path) / "maporl").is_dir()]
    sys.path[:] = [path for path in sys.path if path not in own and Path(path).is_dir()]
    for name in _COMMON.split():
        importlib.import_module(name)
    sys.path += sorted({str(Path(path).parent) for path in places})
    for name in packages:
        importlib.import_module(name)


def _libraries() -> list[str]:
    """The shared libraries that modules of the standard library need, with the links that lead to them: found by loading all in a child."""
    reading, writing = os.pipe()
    if child := os.fork():
        os.close(writing)
        with open(reading) as lines:
            files = {Path(line) for line in lines.read().splitlines()}
        os.waitpid(child, 0)
        links = {
            link for file in files for link in file.parent.iterdir() if link.is_symlink() and link.resolve() in files
        }
        return sorted(map(str, files | links))
    try:
        for folder in sys.path:
            for file in Path(folder).glob("*.so") if Path(folder).name == "lib-dynload" else ():
                if (name := file.name.partition(".")[0]) not in _NEVER and "test" not in name:
                    with contextlib.suppress(Exception):
                        importlib.import_module(name)
        with open("/proc/self/maps") as maps:
            mapped = {line.split(maxsplit=5)[5].strip() for line in maps if ".so" in line}
        inside = tuple(f"{path}/" for path in sys.path)
        os.write(writing, "\n".join(sorted(file for file in mapped if not file.startswith(inside))).encode())
    finally:
        os._exit(0)


def _places(packages: Sequence[str], homes: Sequence[str]) -> list[str]:
    """The folders and files of packages, by name, with the libraries that their wheels bring along, where the asking process has them."""
    return [
        str(path)
        for name in packages
        for home in map(Path, homes)
        for path in (*home.glob(name), *home.glob(f"{name}.libs"))
    ]


def _behind_walls(folder: str, places: Sequence[str]) -> None:
    """Go on in a root that holds the standard library, and as the first process of a namespace."""
    readable = sorted({sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), *places}) + _libraries()
    readable = [path for path in readable if os.path.isdir(path) or os.path.isfile(path)]
    hidden = [
        str(place)
        for path in readable
        for name in ("site-packages", "dist-packages")
        if (place := Path(path) / name).is_dir()
    ]
    root = os.getuid() == 0
    if not root:
        kernel.unshare(kernel.NEW_USER)
        kernel.own_user()
    kernel.unshare(kernel.NEW_MOUNTS | kernel.NEW_PIDS | kernel.NEW_IPC | kernel.NEW_NET | kernel.NEW_HOST)
    if child := os.fork():
        os.closerange(3, 65536)
        os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) & 0xFF)
    kernel.die_with_parent()
    kernel.new_root(folder, [*readable, "/dev/null", "/dev/zero", "/dev/urandom"], hidden)


class _Cell:
    """A process of its own for one purpose."""

    def __init__(self, pid: int, folder: str = "") -> None:
        self.pid, self.folder = pid, folder

    def end(self, seconds: float = 0.0) -> str:
        """Kill it with all that it has started, unless it ends by itself within so many seconds, and say how it ended."""
        until = time.monotonic() + seconds
        done, status = os.waitpid(self.pid, os.WNOHANG)
        while not done and time.monotonic() < until:
            time.sleep(0.001)
            done, status = os.waitpid(self.pid, os.WNOHANG)
        if self.folder:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            shutil.rmtree(self.folder, ignore_errors=True)
        if not done:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            return "it did not end by itself"
        code = os.waitstatus_to_exitcode(status)
        return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"


def _serve(channel: socket.socket, user: int | None) -> None:
    cells: dict[str, _Cell] = {}
    while True:
        message, streams, _, _ = socket.recv_fds(channel, 65536, 1)
        if not message:
            break
        asked = json.loads(message)
        if "cell" in asked:
            limits = Limits(**asked["limits"])
            cells[asked["cell"]] = _forked(asked["cell"], streams[0], limits, asked["seconds"], user)
            os.close(streams[0])
        else:
            cell = cells.pop(asked["end"], None)
            ended = cell.end(asked["seconds"]) if cell is not None else "there is none"
            channel.send(json.dumps({"ended": ended}).encode())
    for cell in cells.values():
        cell.end()


def _forked(kind: str, stream: int, limits: Limits, seconds: float, user: int | None) -> _Cell:
    walls = user is not None
    folder = "" if walls else tempfile.mkdtemp(prefix="maporl-unsafe-")
    pid = kernel.clone(kernel.prepared()) if walls else os.fork()
    if pid:
        return _Cell(pid, folder)
    try:
        if stream != 3:
            os.dup2(stream, 3)
        os.closerange(4, 65536)  # nothing else stays open
        if walls:
            other = user if os.getuid() == 0 else None
            kernel.scratch(limits, os.getuid() if other is None else other)
            kernel.renounce(limits, other, seconds)
        else:
            os.setsid()
            os.chdir(folder)
            kernel.set_limits(limits, seconds)
        _work(kind, limits)
    finally:
        os._exit(0)


def _work(kind: str, limits: Limits) -> NoReturn:
    random.seed(0)
    hidden = [sys.modules.pop(name) for name in [*sys.modules] if name.partition(".")[0] == "maporl"]
    assert hidden  # and kept: to take modules apart costs more than all the rest
    if kind == "module":
        answer(3, limits.output_kb * 1024)
    else:
        ask(3)
    os._exit(0)
