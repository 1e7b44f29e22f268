"""One zygote and what it is asked: a program at a time."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import maporl
from maporl.errors import UserError
from maporl.sandbox import wire
from maporl.sandbox.asserts import asserts_of, keep_to_themselves
from maporl.sandbox.program import Checked, Limits, Program, Report

__all__ = ["SandboxUnavailable", "Worker"]

_START_SECONDS = 120.0  # a busy machine may take long to start an interpreter
_USERS = 61000  # from here on, below the numbers of "nobody": users that own nothing
_FOR_EVER = 1e6
_GRACE_SECONDS = 10.0  # beyond the limits, for a busy machine, before the process of the tests is taken for stuck
_BOOT = (
    "import json, sys; sys.path.insert(0, sys.argv[1]); "
    "from maporl.sandbox.zygote import main; main(int(sys.argv[2]), json.loads(sys.argv[3]))"
)


_FIRST = Program("def f(): return 1", "assert f() == 1")


class SandboxUnavailable(UserError, OSError):
    """This machine has nothing that keeps a program apart."""


class _Broken(Exception):
    """The zygote is gone."""


class Worker:
    """One zygote: it checks one program at a time."""

    def __init__(self, walls: bool, packages: tuple[str, ...], number: int = 0) -> None:
        user = _USERS + (8 * os.getpid() + number) % 4000
        homes = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
        self.settings = {"walls": walls, "packages": list(packages), "homes": homes, "user": user}
        self.stopped = False
        self.process: subprocess.Popen[bytes] | None = None
        self.control: socket.socket | None = None
        self.asker: socket.socket | None = None

    def start(self) -> None:
        """Start the zygote if it is not there.

        Raises:
            SandboxUnavailable: It says that it cannot do its work.
        """
        if self.process is not None and self.process.poll() is None:
            return
        self.close()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        folder = tempfile.mkdtemp(prefix="maporl-sandbox-")
        try:
            with theirs:
                root = str(Path(maporl.__file__).parent.parent)
                # Not -I, which would ignore the seed of hashes: with it an answer that depends on the order of a set has one verdict.
                command = [sys.executable, "-P", "-s", "-S", "-c", _BOOT, root, str(theirs.fileno())]
                settings = json.dumps({**self.settings, "folder": folder})
                self.process = subprocess.Popen(
                    [*command, settings],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd="/",
                    env={"PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,  # an interrupt from the keyboard is for whoever asks
                )
            self.control = ours
            said = self._reply(_START_SECONDS)
        except _Broken:
            said = {"failed": "its process ended without a word"}
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        if "failed" not in said and not (report := self._first()).passed:
            said = {
                "failed": f"a first program did not come back: {report.explanation or report.asserts[0].explanation}"
            }
        if "failed" in said:
            self.close()
            raise SandboxUnavailable(_refusal(said["failed"]))

    def _first(self) -> Report:
        """What comes of a program that any sandbox runs: what fails only once a program is started shows here."""
        try:
            report = self._run(_FIRST, Limits())
            self._end_asker()  # others may have other limits
            return report
        except _Broken:
            return Report("killed", "the zygote ended")

    def run(self, program: Program, limits: Limits) -> Report:
        """What comes of a program; a zygote that dies of it is started again, and the program tried once more."""
        for _ in range(2):
            self.start()
            try:
                return self._run(program, limits)
            except _Broken:
                self.close()
                if self.stopped:
                    raise SandboxUnavailable(
                        "the sandbox was closed while it was at work; run what is left again."
                    ) from None
        return Report("sandbox_died", "the sandbox died of it, twice", _unchecked(program, "the sandbox died"))

    def _run(self, program: Program, limits: Limits) -> Report:
        begun = time.perf_counter()
        sources = asserts_of(program.tests)
        seconds = limits.seconds * (len(sources) + 2)  # of processor time: every assert may use all that it has
        work = {**asdict(program), "seconds": limits.seconds, "timeouts": limits.timeouts, "asserts": len(sources)}
        found = self._followed(work, limits, seconds)
        if not found.get("done") or not keep_to_themselves(program.setup, program.tests):  # stuck, or not as it was
            self._end_asker()
        status, text = found.get("status", "killed"), found.get("text", found.get("stopped", ""))
        ended = self._end("module", status == "killed")
        if found.get("status") == "killed":
            text = f"{text} ({ended})"
        verdicts = found.get("asserts") or [["not_run", "", 0.0]] * len(sources)
        reason = text or found.get("stopped") or "the tests did not get there"
        asserts = tuple(
            Checked(source, verdict[0], reason if verdict[0] == "not_run" else verdict[1], verdict[2])
            for source, verdict in zip(sources, verdicts, strict=True)
        )
        return Report(status, text, asserts, found.get("output", ""), "", time.perf_counter() - begun)

    def _followed(self, work: dict[str, Any], limits: Limits, seconds: float) -> dict[str, Any]:
        """What the process of the tests says, until it is done or stuck; its module is replaced when it asks for another."""
        found: dict[str, Any] = {}
        asker = self._running_asker(limits)
        try:
            wire.send(asker.fileno(), work)
            self._hand_module(asker, limits, seconds)
            while not found.get("done"):
                said = wire.receive(asker.fileno(), 2 * limits.seconds + _GRACE_SECONDS)
                if "restart" in said:
                    wire.send(asker.fileno(), {"ended": self._end("module", said["restart"] == "error")})
                    self._hand_module(asker, limits, seconds)
                else:
                    found.update(said)
        except wire.TooLate:
            found["stopped"] = "the tests themselves took too long"
        except (wire.Closed, wire.TooLong):
            found["stopped"] = "the process of the tests ended"
        return found

    def _running_asker(self, limits: Limits) -> socket.socket:
        """The process of the tests, which are trusted: one for many programs, of which it never holds but the text."""
        if self.asker is None:
            self.asker, theirs = socket.socketpair()
            with theirs:
                roomy = replace(limits, memory_mb=max(limits.memory_mb, 512))
                self._cell("asker", roomy, _FOR_EVER, theirs)
        return self.asker

    def _end_asker(self) -> None:
        if self.asker is not None:
            self.asker.close()
            self.asker = None
            self._end("asker")

    def _hand_module(self, asker: socket.socket, limits: Limits, seconds: float) -> None:
        """Give the process of the tests a stream to a new process for the module."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            self._cell("module", limits, seconds, theirs)
            try:
                socket.send_fds(asker, [b"."], [ours.fileno()])
            except OSError as error:
                raise wire.Closed from error

    def _cell(self, kind: str, limits: Limits, seconds: float, stream: socket.socket) -> None:
        message = {"cell": kind, "limits": asdict(limits), "seconds": seconds}
        try:
            assert self.control is not None
            socket.send_fds(self.control, [json.dumps(message).encode()], [stream.fileno()])
        except OSError as error:
            raise _Broken from error

    def _end(self, kind: str, gone: bool = False) -> str:
        """Kill a process, and say how it had ended; `gone`: it is about to, or has."""
        try:
            assert self.control is not None
            self.control.send(json.dumps({"end": kind, "seconds": 0.5 if gone else 0.0}).encode())
        except OSError as error:
            raise _Broken from error
        return str(self._reply(_START_SECONDS)["ended"])

    def _reply(self, seconds: float) -> dict[str, Any]:
        assert self.control is not None
        self.control.settimeout(seconds)
        try:
            message = self.control.recv(1 << 16)
        except OSError as error:
            raise _Broken from error
        if not message:
            raise _Broken
        return json.loads(message)  # type: ignore[no-any-return]

    def close(self) -> None:
        """End the zygote, and with it all that it has started."""
        for stream in (self.control, self.asker):
            if stream is not None:
                stream.close()
        if self.process is not None:
            try:
                self.process.wait(2.0)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = self.control = self.asker = None

    def stop(self) -> None:
        """From another thread: whatever it is at fails at once. Its sockets are closed by whoever uses them."""
        self.stopped = True
        if (process := self.process) is not None:
            process.kill()

    def forget(self) -> None:
        """In a forked child: the zygote is the parent's."""
        for stream in (self.control, self.asker):
            if stream is not None:
                stream.close()
        if self.process is not None:
            self.process.returncode = 0  # not ours to wait for
        self.process = self.control = self.asker = None


def _refusal(reason: str) -> str:
    return (
        f"code that a model wrote cannot be run apart on this machine ({reason}). Linux lets it where unprivileged user namespaces are "
        "allowed (sysctl kernel.unprivileged_userns_clone=1; on Ubuntu kernel.apparmor_restrict_unprivileged_userns=0), to root, and "
        "in a container that may make namespaces (docker run --privileged, or --security-opt seccomp=unconfined --cap-add SYS_ADMIN). "
        "To run it unprotected, with your rights and on your files, pass unsafe=True."
    )


def _unchecked(program: Program, why: str) -> tuple[Checked, ...]:
    return tuple(Checked(source, "not_run", why) for source in asserts_of(program.tests))
