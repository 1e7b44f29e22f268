# ruff: noqa: E501  # a program is easier to read in one piece
"""Harmless programs that try what is forbidden: none gets it, none passes by it, and nothing is left behind."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from maporl.sandbox import Limits, Program, Report, Sandbox, SandboxUnavailable

SECRET = "a-secret-of-the-host"


def descendants() -> set[int]:
    """The processes that this one has started, and those that they have started."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
    found, new = set(), {os.getpid()}
    while new:
        new = {pid for pid, parent in parents.items() if parent in new}
        found |= new
    return found


_before: set[int] = set()  # what other tests of this process have left running


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    before = descendants()
    _before.update(before)
    sandbox = Sandbox(Limits(seconds=1.0, memory_mb=256, files_mb=4), workers=1)
    try:
        sandbox.isolation  # noqa: B018
    except SandboxUnavailable as reason:
        pytest.skip(str(reason))
    yield sandbox
    sandbox.close()
    assert descendants() <= before


def run(sandbox: Sandbox, source: str, tests: str = "assert f() == 'refused'") -> Report:
    """What comes of a program; nothing but the sandbox's own processes is there afterwards."""
    (report,) = sandbox.run([Program(source, tests)])
    for _ in range(100):  # what was killed may take a moment to go
        own = descendants() - _before
        if len(own) <= 3:  # who waits for the zygote, the zygote, the process of the tests
            break
        time.sleep(0.01)
    assert len(own) <= 3
    return report


def tried(body: str, errors: str = "OSError") -> str:
    lines = "\n        ".join(body.strip().splitlines())
    return f"import os, sys\n\ndef f():\n    try:\n        {lines}\n    except {errors} as error:\n        return 'refused'\n    return 'done'\n"


FORBIDDEN = {
    "read a file of the host": f"open({str(Path(__file__).resolve())!r}).read()",
    "read the users": "open('/etc/passwd').read()",
    "look at other processes": "os.listdir('/proc')",
    "see who asks": "open('/proc/self/maps').read()",
    "list a home": "os.listdir(os.path.expanduser('~root') if os.path.isdir('/root') else '/home')\nraise OSError if os.path.isdir('/root') and not os.path.exists('/root/.bashrc') else 0",
    "write beside the scratch folder": "open('/tmp/x', 'w')",
    "write into the root": "open('/x', 'w')",
    "write into the standard library": "import textwrap\nopen(textwrap.__file__, 'a')",
    "change the standard library": "import textwrap\nos.chmod(textwrap.__file__, 0o777)",
    "open a socket": "import socket\nsocket.socket()",
    "open a local socket": "import socket\nsocket.socket(socket.AF_UNIX)",
    "fork": "if os.fork() == 0:\n    os._exit(0)",
    "start a program": "import subprocess\nsubprocess.run([sys.executable, '-c', ''])",
    "become root": "os.setuid(0) if os.getuid() else os.setresuid(1, 1, 1)",
    "leave the root": "os.chroot('.')",
    "mount": "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nif libc.mount(b'none', b'/scratch', b'tmpfs', 0, None): raise OSError",
    "make namespaces": "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nif libc.unshare(0x10000000): raise OSError",
    "trace": "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nif libc.ptrace(16, 1, None, None): raise OSError",
    "raise its limits": "import resource\nresource.setrlimit(resource.RLIMIT_AS, (1 << 40, 1 << 40))\nraise OSError",
    "fill its folder": "for n in range(9):\n    with open(f'{n}', 'wb') as file:\n        file.write(bytes(1 << 20))",
    "make files without end": "for n in range(5000):\n    open(f'{n}', 'w').close()",
    "keep memory in a file": "os.memfd_create('x')",
    "see a secret": f"if {SECRET!r} not in str(os.environ): raise OSError",
    "kill others": "os.kill(-1, 9)\nraise OSError",  # there are none
}
IS_ANOTHER_ERROR = {"raise its limits": "(OSError, ValueError)", "open a socket": "(OSError, ImportError)"}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_what_is_forbidden_is_refused(sandbox: Sandbox, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    report = run(sandbox, tried(FORBIDDEN[what], IS_ANOTHER_ERROR.get(what, "OSError")))
    assert report.passed, report


def test_a_secret_of_the_environment_is_not_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", SECRET)
    with Sandbox(workers=1) as sandbox:
        (report,) = sandbox.run([Program(tried(FORBIDDEN["see a secret"]), "assert f() == 'refused'")])
    assert report.passed


def test_threads_are_processes(sandbox: Sandbox) -> None:
    source = "import threading\ndef f():\n    try:\n        threading.Thread(target=print).start()\n    except RuntimeError:\n        return 'refused'"
    assert run(sandbox, source).passed
    with Sandbox(Limits(processes=4), workers=1) as roomier:
        source = "import threading, time\ndef f():\n    for n in range(9):\n        try:\n            threading.Thread(target=time.sleep, args=(9,), daemon=True).start()\n        except RuntimeError:\n            return n"
        (report,) = roomier.run([Program(source, "assert f() == 3")])
        assert report.passed, report


@pytest.mark.parametrize(
    ("what", "status"),
    [
        ("while True: pass", "timeout"),
        ("import time; time.sleep(60)", "timeout"),
        ("while True: print('x' * 1000)", "timeout"),
        ("import signal\nfor n in range(1, 32):\n    try: signal.signal(n, signal.SIG_IGN)\n    except (OSError, ValueError): pass\nwhile True: pass", "timeout"),
        ("x = bytearray(1 << 30)", "memory"),
        ("x = []\nwhile True: x.append(bytes(1 << 20))", "memory"),
        ("import os; os._exit(0)", "killed"),
        ("import os; os.kill(os.getpid(), 11); os.abort()", "killed"),
        ("raise SystemExit(0)", "error"),
        ("raise KeyboardInterrupt", "error"),
        ("1 / 0", "error"),
    ],
)  # fmt: skip
def test_a_module_that_does_not_load(sandbox: Sandbox, what: str, status: str) -> None:
    report = run(sandbox, f"def f(): return 1\n{what}", "assert f() == 1\nassert f() == 2")
    assert report.status == status and report.explanation, report
    assert [(c.status, c.explanation) for c in report.asserts] == [("not_run", report.explanation)] * 2
    assert report.seconds < 2.0


CHEATS = {
    "exit before the asserts": "import os, sys\ndef f(): os._exit(0)",
    "exit politely": "import sys\ndef f(): sys.exit(0)",
    "equal to everything": "class Any:\n    def __eq__(self, other): return True\n    __ne__ = __lt__ = __gt__ = __eq__\n    def __hash__(self): return 1\ndef f(): return Any()",
    "a number equal to everything": "class Any(int):\n    def __eq__(self, other): return True\ndef f(): return Any()",
    "other builtins": "import builtins\nbuiltins.abs = builtins.all = builtins.any = builtins.len = builtins.isinstance = lambda *a: True\ndef f(): return None",
    "its own abs": "def abs(x): return 0\ndef f(): return 9.9",
    "the asserts in frames": "import sys\ndef f():\n    frame, seen = sys._getframe(), []\n    while frame:\n        seen += [v for v in frame.f_locals.values() if isinstance(v, str) and '4711' in v]\n        frame = frame.f_back\n    return 4711 if seen else 'not found'",
    "the asserts in memory": "import gc\ndef f():\n    needle = ')(f tressa'[::-1]\n    for o in gc.get_objects():\n        for v in o.values() if isinstance(o, dict) else o if isinstance(o, (list, tuple)) else ():\n            if isinstance(v, str) and needle in v and v is not needle: return int('1174'[::-1])\n    return 'not found'",
    "the asserts in files": "import os\ndef f():\n    for where, _, names in os.walk('/scratch'):\n        for name in names: return 4711\n    return 'not found'",
    "an exception that is an assert's": "def f(): raise AssertionError",
    "forged replies": "import os, json\ndef f():\n    reply = json.dumps({'value': 4711, 'nonce': 0}).encode()\n    for fd in range(3, 64):\n        try: os.write(fd, len(reply).to_bytes(4, 'big') + reply)\n        except OSError: pass\n    return 0",
    "junk instead of replies": "import os\ndef f():\n    os.write(3, b'junk' * 9)\n    return 0",
    "a closed channel": "import os\ndef f():\n    os.close(3)\n    return 0",
}  # fmt: skip


@pytest.mark.parametrize("what", CHEATS)
def test_no_answer_passes_by_a_trick(sandbox: Sandbox, what: str) -> None:
    report = run(sandbox, CHEATS[what], "assert f() == 4711\nassert abs(f() - 4711) < 1e-6\nassert f() == 4712")
    assert report.num_passed == 0, report
    assert all(checked.explanation for checked in report.asserts)


def test_nothing_is_left_running() -> None:
    """Processes that leave their group and outlive their parent end with the sandbox's cell."""
    before = descendants()
    source = "import os, time\ndef f():\n    for _ in range(3):\n        if os.fork() == 0:\n            os.setsid()\n            if os.fork(): os._exit(0)\n            time.sleep(300)\n    return 1"
    with Sandbox(Limits(processes=16), workers=1) as sandbox:
        (report,) = sandbox.run([Program(source, "assert f() == 1")])
        assert report.passed
        time.sleep(0.05)
        assert len(descendants() - before) == 3
    assert descendants() <= before
