"""The report of runs that go on, served to a browser on this machine: it shows what is new by itself.

Only this machine is answered: the server listens on the loopback address, and refuses whoever names it otherwise, as a page of another
site does whose name was made to lead here (DNS rebinding). There are two things to ask for, the page and what is new.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from maporl.benchmarks.analysis.results import load_results
from maporl.benchmarks.analysis.summary import summarise
from maporl.benchmarks.report.data import Payload, collect
from maporl.benchmarks.report.html import page
from maporl.errors import UserValueError

__all__ = ["HOST", "LiveReport", "LiveServer"]

HOST = "127.0.0.1"

OWN = re.compile(rf"({re.escape(HOST)}|localhost)(:\d+)?")
"""How those who are answered call it: by any port, for one may have been forwarded to it, and a browser leaves out 80."""

PATIENCE, LONGEST = 10, 30.0
"""A report is built anew after at least so many times as long as the last one took to build, for the run needs the processor, but at
most so many seconds."""

WATCHED = (".json", ".jsonl", ".yaml")
"""Endings of the files that say that something is new."""


class LiveReport:
    """What the page of some folders holds, built anew when something in them has changed and somebody asks.

    Args:
        paths: Study and run folders.
        title: Of the page; that of the results if None.

    Raises:
        ValueError: A folder that is neither.
    """

    def __init__(self, paths: Sequence[Path], title: str | None = None) -> None:
        self.paths, self.title = list(paths), title
        self._lock = threading.Lock()
        self._built = self._took = 0.0
        self._state: int | None = None
        self._renew()

    def page(self) -> str:
        """The whole page, as new as it may be."""
        with self._lock:
            self._renew()
            return "".join(page(self._payload, self._versions))

    def news(self, known: dict[str, str]) -> dict[str, Any]:
        """The parts whose version is not the known one: {versions: {part: version}, parts: {part: content}}."""
        with self._lock:
            self._renew()
            old = [part for part, version in self._versions.items() if known.get(part) != version]
            return {"versions": self._versions, "parts": {part: self._parts[part] for part in old}}

    def _renew(self) -> None:
        began = time.monotonic()
        if self._state is not None and began < self._built + min(PATIENCE * self._took, LONGEST):
            return
        state = hash(tuple(_state(self.paths)))
        if state == self._state:
            return
        results = load_results(self.paths)
        self._payload: Payload = collect(results, summarise(results), title=self.title)
        packed = {name: {"index": p.index, "pieces": p.pieces} for name, p in self._payload.packed.items()}
        self._parts: dict[str, Any] = {"figures": self._payload.figures, **packed}
        self._versions = {name: _version(part) for name, part in self._parts.items()}
        self._state, self._built = state, time.monotonic()
        self._took = self._built - began


def _version(part: dict[str, Any]) -> str:
    """What differs when the part does, other than in when it was built."""
    text = json.dumps({key: value for key, value in part.items() if key != "built"}, sort_keys=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:16]


def _state(paths: Sequence[Path]) -> Iterator[tuple[str, int, int]]:
    """Name, time and size of everything that is watched."""
    for path in paths:
        for file in sorted(file for file in path.rglob("*") if file.suffix in WATCHED):
            try:
                found = file.stat()
            except OSError:  # replaced just now
                continue
            yield str(file), found.st_mtime_ns, found.st_size


class LiveServer(ThreadingHTTPServer):
    """Serves a report to this machine.

    Args:
        report: What is shown.
        port: Of the loopback address; 0 takes a free one.

    Raises:
        ValueError: The port cannot be had.
    """

    def __init__(self, report: LiveReport, port: int) -> None:
        self.report = report
        try:
            super().__init__((HOST, port), _Handler)
        except (OSError, OverflowError) as error:
            why = error.strerror if isinstance(error, OSError) else "it must be between 0 and 65535"
            raise UserValueError(
                f"--port {port} cannot be had ({why}); give another, or --port 0 for one that is free."
            ) from error

    @property
    def name(self) -> str:
        """Where it listens."""
        return f"{HOST}:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    """Answers GET / and GET /news; everything else, and everybody else, is refused."""

    server: LiveServer
    server_version, sys_version = "maporl", ""

    def do_GET(self) -> None:
        if not OWN.fullmatch(self.headers.get("Host", "")):
            return self._answer(403, "text/plain", f"This page is for {HOST} alone.\n")
        report = self.server.report
        asked = urlsplit(self.path)
        try:
            if asked.path == "/":
                return self._answer(200, "text/html", report.page())
            if asked.path == "/news":
                known = dict(parse_qsl(asked.query))
                return self._answer(200, "application/json", json.dumps(report.news(known)))
        except (OSError, ValueError) as error:  # the folder is gone, or half written
            return self._answer(503, "text/plain", f"{' '.join(str(error).split())}\n")
        return self._answer(404, "text/plain", "There is only the page: /\n")

    def _answer(self, status: int, kind: str, text: str) -> None:
        body = text.encode("utf-8", "replace")
        self.send_response(status)
        headers = {
            "Content-Type": f"{kind}; charset=utf-8",
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Content-Security-Policy": "frame-ancestors 'none'",
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the reader has gone
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the terminal is for what its user asked for."""
