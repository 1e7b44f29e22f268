# ruff: noqa: E501  # a program is easier to read in one piece
"""What a program is asked, and what is said of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import maporl
from maporl.sandbox import Checked, Limits, Program, Report, Sandbox, SandboxUnavailable
from maporl.sandbox.asserts import asserts_of, keep_to_themselves


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(Limits(seconds=1.0), workers=2) as sandbox:
        try:
            sandbox.isolation  # noqa: B018
        except SandboxUnavailable as reason:
            pytest.skip(str(reason))
        yield sandbox


def verdicts(report: Report) -> list[tuple[str, str]]:
    return [(checked.status, checked.explanation) for checked in report.asserts]


def test_every_assert_has_its_own_verdict(sandbox: Sandbox) -> None:
    tests = "assert f(1) == 2\nassert f(2) == 4\nassert f('a') == 1, 'with a message'\nassert g(1) == 1\nassert True"
    (report,) = sandbox.run([Program("def f(x):\n    print(x)\n    return x + 1", tests)])
    assert verdicts(report) == [
        ("passed", ""),
        ("failed", "f(2) gave 3"),
        ("error", "f('a') raised TypeError: can only concatenate str (not \"int\") to str"),
        ("error", "the answer defines no 'g'"),
    ]
    assert [checked.source for checked in report.asserts][2] == "assert f('a') == 1"
    assert report.status == "ok" and report.num_passed == 1 and not report.passed and report.output == "1\n2\na\n"
    assert report.isolation == sandbox.isolation and all(checked.seconds < 0.5 for checked in report.asserts)


VALUES = {
    "plain": "[None, True, 1, -2.5, 'ä\\udcff', b'\\0', (1, (2,)), {3}, frozenset({4}), {(1,): [2]}, 2 + 3j]",
    "long": "[10 ** 5000, -(2 ** 64), float('inf'), -0.0]",
    "exact": "[__import__('fractions').Fraction(1, 3), __import__('decimal').Decimal('0.1')]",
    "subclasses": "[__import__('collections').Counter('aab'), __import__('collections').OrderedDict(a=1), type('T', (tuple,), {})((1, 2))]",
}
AS_PLAIN = {**VALUES, "subclasses": "[{'a': 2, 'b': 1}, {'a': 1}, (1, 2)]"}


@pytest.mark.parametrize("kind", VALUES)
def test_values_come_back_as_copies(sandbox: Sandbox, kind: str) -> None:
    source = f"def f(x): return x\ndef g(): return {VALUES[kind]}"
    tests = f"value = {AS_PLAIN[kind]}\nassert g() == value\nassert f(value) == value\nassert [*map(type, g())] == [*map(type, value)]"
    (report,) = sandbox.run([Program(source, tests)])
    assert report.passed, report
    nan = Program("def f(): return float('nan')", "x = f()\nassert x != x")
    assert sandbox.run([nan])[0].passed


def test_what_is_no_plain_data_stays_in_the_module(sandbox: Sandbox) -> None:
    source = (
        "class Pair:\n    kind = 'pair'\n    def __init__(self, a, b): self.a, self.b = a, b\n    def sum(self): return self.a + self.b\n"
        "    @staticmethod\n    def none(): return Pair(0, 0)\n"
        "def longest(pairs): return max(p.sum() for p in pairs)\ndef count(n): yield from range(n)\nLIMIT = 7"
    )
    tests = (
        "assert longest([Pair(1, 2), Pair(3, b=4)]) == 7\nassert Pair(5, 6).sum() == 11 and Pair.kind == 'pair' and Pair(1, 2).a == 1\n"
        "assert Pair.none().sum() == 0\nassert list(count(3)) == [0, 1, 2]\nassert LIMIT == 7\n"
        "assert Pair(1, 2) == Pair(1, 2)\nassert longest(print) == 1\nassert answer.LIMIT == 7 and answer.longest([Pair(2, 2)]) == 4"
    )
    (report,) = sandbox.run([Program(source, tests)])
    assert [checked.status for checked in report.asserts] == ["passed"] * 5 + ["failed", "error", "passed"], report
    assert (
        "the tests hand a builtin_function_or_method to the answer, which cannot be copied"
        in report.asserts[6].explanation
    )


def test_inputs_are_copied_and_names_of_pythons_are_its_own(sandbox: Sandbox) -> None:
    source = "def f(x):\n    x.sort()\n    return x\ndef sum(a, b): return a * b\ndef abs(x): return 0"
    tests = "x = [2, 1]\nassert f(x) == [1, 2]\nassert x == [2, 1]\nassert abs(-3) == 3\nassert answer.sum(3, 4) == 12\nassert sum([3, 4]) == 7"
    assert sandbox.run([Program(source, tests)])[0].passed


def test_the_whole_module_counts(sandbox: Sandbox) -> None:
    source = "import math\nfrom collections import *\nK = 2\ndef helper(x): return K * x\ndef f(x): return f(x - 1) + helper(1) if x else math.floor(0.5)"
    assert sandbox.run([Program(source, "assert f(3) == 6")])[0].passed
    guarded = "def f(): return 1\nif __name__ == '__main__':\n    raise SystemExit"
    assert sandbox.run([Program(guarded, "assert f() == 1")])[0].passed


def test_asserts_in_loops_functions_and_helpers_count_once_each(sandbox: Sandbox) -> None:
    tests = (
        "def check(candidate):\n    for x in range(5):\n        assert candidate(x) == x\n    same(candidate(1), 1)\n    same(candidate(4), 4)\n"
        "def same(a, b):\n    assert a == b\ncheck(f)\nassert f(2) == 2"
    )
    right, wrong_at_4 = "def f(x): return x", "def f(x): return min(x, 3)"
    reports = sandbox.run([Program(right, tests), Program(wrong_at_4, tests)])
    assert [[checked.status for checked in report.asserts] for report in reports] == [
        ["passed", "passed", "passed"],
        ["failed", "failed", "passed"],
    ]
    assert asserts_of("assert True\nassert 1, 'x'\nassert f() # not the others") == ("assert f()",)


def test_tests_may_want_an_exception(sandbox: Sandbox) -> None:
    tests = (
        "try:\n    f()\n    raised = ''\nexcept ValueError as error:\n    raised = str(error)\nassert raised == 'no'"
    )
    assert sandbox.run([Program("def f(): raise ValueError('no')", tests)])[0].passed
    own = "class Mine(Exception): pass\ndef f(): raise Mine('no')"
    (report,) = sandbox.run([Program(own, "f()\nassert f() == 1")])
    assert verdicts(report) == [("not_run", "the tests were stopped by ModuleError: Mine: no")]


def test_random_draws_and_the_order_of_sets_are_the_same_for_everybody() -> None:
    source = "import random\ndef f(): return random.random()\ndef g(): return ''.join({'a', 'b', 'c', 'd', 'e'})"
    tests = "import random\nassert [f(), g(), random.random()] == 0"
    with Sandbox(workers=1) as one, Sandbox(workers=1) as other:
        (first, again, elsewhere) = (verdicts(s.run([Program(source, tests)])[0]) for s in (one, one, other))
    assert first == again == elsewhere and first[0][0] == "failed"


def test_what_takes_too_long_or_dies_costs_its_own_asserts_only(sandbox: Sandbox) -> None:
    source = "import os, time\ndef f(x):\n    if x == 1: time.sleep(9)\n    if x == 2: os._exit(3)\n    return x"
    (report,) = sandbox.run([Program(source, "\n".join(f"assert f({x}) == {x}" for x in (0, 1, 3, 2, 4)))])
    assert verdicts(report) == [
        ("passed", ""),
        ("timeout", "f(1) took more than 1 s"),
        ("passed", ""),
        ("error", "f(2) ended the process (exit code 3)"),
        ("passed", ""),
    ]
    quick = Limits(seconds=0.2, timeouts=2)
    with Sandbox(quick, workers=1) as strict:
        (report,) = strict.run([Program("def f():\n    while True: pass", "assert f()\n" * 4)])
    stopped = ("not_run", "after 2 asserts that had to be cut off no more are run")
    assert verdicts(report) == [("timeout", "f() took more than 0.2 s")] * 2 + [stopped] * 2
    assert report.seconds < 2


def test_an_assert_has_the_time_of_all_its_calls() -> None:
    """Those before it, and in a loop those of all rounds; what is left of one assert's time is no concern of the next one's."""
    slow = "import time\ndef f(x):\n    time.sleep(0.2)\n    return x"
    loop = "for i in range(30):\n    x = f(i)\n    assert x == i"
    apart = "assert f(1) == 1\nx = f(2)\nassert x == 2\nassert f(3) == 3"
    alone = "assert f(1) == 1\nx = [f(2), f(3), f(4)]\nassert x == [2, 3, 4]"
    with Sandbox(Limits(seconds=0.5), workers=3) as sandbox:
        looped, good, late = sandbox.run([Program(slow, loop), Program(slow, apart), Program(slow, alone)])
    assert verdicts(looped)[0][0] == "timeout" and looped.seconds < 3
    assert good.passed and all(0.2 <= checked.seconds < 0.5 for checked in good.asserts)
    assert verdicts(late) == [
        ("passed", ""),
        ("not_run", "the tests were stopped: f(4) with what came before it took more than 0.5 s"),
    ]


def test_tests_that_change_what_others_see_are_alone_in_their_process(sandbox: Sandbox) -> None:
    one = "def f(): return 1"
    with Sandbox(workers=1) as single:
        for setup, tests in (
            ("import math\nmath.isclose = lambda *a, **k: True", "assert f() == 1"),
            ("", "import decimal\ndecimal.getcontext().prec = 3\nassert f() == 1"),
            ("import json\nsetattr(json, 'dumps', lambda x: 'same')", "assert f() == 1"),
        ):
            assert single.run([Program(one, tests, setup)])[0].passed
        after = "import json\nfrom decimal import Decimal\nfrom math import isclose\nassert isclose(f(), 7)\nassert str(1 / Decimal(3)) == '0.3333333333333333333333333333'\nassert json.dumps(1) == '1'"
        assert [checked.status for checked in single.run([Program(one, after)])[0].asserts] == [
            "failed",
            "passed",
            "passed",
        ]
    assert keep_to_themselves(
        "import math", "for x in range(3):\n    y = [0]\n    y[0] = x\n    assert math.floor(f(x)) == x"
    )
    for tests in (
        "import os",
        "from sys import path",
        "x.y = 1",
        "del x.y",
        "globals()['x'] = 1",
        "x.y[0] = 1",
        "(lambda: 1).__code__",
    ):
        assert not keep_to_themselves("", tests), tests


def test_objects_of_the_answer_are_used_where_they_are(sandbox: Sandbox) -> None:
    source = (
        "import collections, datetime, itertools, sys\nclass Box:\n    def __init__(self, *x): self.x = x\n    def __len__(self): return len(self.x)\n"
        "    def __getitem__(self, i): return self.x[i]\n    def __contains__(self, i): return i in self.x\n    def __str__(self): return 'box'\n"
        "def count(): return itertools.count()\ndef keys(): return {1: 2, 3: 4}.keys()\ndef day(): return datetime.date(2020, 1, 2)\n"
        "def queue(): return collections.deque([1, 2])\ndef printed():\n    sys.stdout.buffer.write(b'bytes')\n    sys.stdout.reconfigure(line_buffering=True)"
    )
    tests = (
        "import itertools\nfrom datetime import date\nassert len(Box(1, 2)) == 2 and Box(5)[0] == 5 and 3 in Box(3) and str(Box()) == 'box'\nassert not Box()\n"
        "assert list(itertools.islice(count(), 3)) == [0, 1, 2]\nassert keys() == {1, 3}\nassert day() == date(2020, 1, 2)\n"
        "assert list(queue()) == [1, 2] and queue()[1] == 2\nx = iter(queue())\nassert next(x) == 1\nassert Box(1)[9] == 1\nassert Box()\nassert printed() is None"
    )
    (report,) = sandbox.run([Program(source, tests)])
    assert [checked.status for checked in report.asserts] == ["passed"] * 7 + ["error", "failed", "passed"], report
    assert report.output == "bytes"
    assert sandbox.run([Program("def f(): return range(1, 4)", "assert f() == range(1, 4) and len(f()) == 3")])[
        0
    ].passed


def test_closing_ends_what_is_at_work(sandbox: Sandbox) -> None:
    endless = [Program(f"def f():\n    while {n}: pass", "assert f()") for n in range(1, 9)]
    other = Sandbox(Limits(seconds=30), workers=2)
    failed: list[str] = []

    def work() -> None:
        try:
            other.run(endless)
        except SandboxUnavailable as error:
            failed.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.7)
    other.close()
    thread.join(5)
    assert not thread.is_alive() and "was closed while" in failed[0]
    assert other.run([Program("def f(): return 1", "assert f() == 1")])[0].passed  # it starts again
    other.close()


def test_an_interrupt_ends_a_batch(sandbox: Sandbox) -> None:
    script = (
        "from maporl.sandbox import *\nprograms = [Program(f'def f():\\n    while {n}: pass', 'assert f()') for n in range(1, 40)]\n"
        "print('ready', flush=True)\nSandbox(Limits(seconds=30), workers=2).run(programs)"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"ready\n"
    time.sleep(1.0)
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert b"KeyboardInterrupt" in process.communicate(timeout=20)[1] and time.monotonic() - begun < 10


def test_an_endless_answer_delays_no_other(sandbox: Sandbox) -> None:
    """Two workers: while one waits for the endless answer, the other checks all the rest."""
    took: dict[int, float] = {}
    endless = Program("def f():\n    while True: pass", "assert f() == 1\nassert f() == 1\nassert f() == 1")
    begun = time.monotonic()
    thread = threading.Thread(target=lambda: took.update({0: (sandbox.run([endless]), time.monotonic() - begun)[1]}))
    thread.start()
    reports = sandbox.run([Program(f"def f(): return {n}", f"assert f() == {n}") for n in range(20)])
    assert all(report.passed for report in reports) and time.monotonic() - begun < 2.9
    thread.join()
    assert 3.0 <= took[0] < 6.0


@pytest.mark.parametrize(
    ("source", "explanation"),
    [
        ("This is no code, is it?", "invalid syntax"),
        ("def f(:", "invalid syntax"),
        ("def f(): return 1\0", "source code string cannot contain null bytes"),
        ("def f(): return '\udcff'", "surrogates not allowed"),
        ("", "the answer defines no 'f'"),
        ("# " + "x" * 2**20 + "\ndef f(): return 1", ""),
        ("def f(): return 0\ndef f(): return 1", ""),
    ],
)
def test_bad_input(sandbox: Sandbox, source: str, explanation: str) -> None:
    (report,) = sandbox.run([Program(source, "assert f() == 1")])
    assert report.passed == (not explanation)
    assert explanation in report.explanation or explanation in report.asserts[0].explanation


def test_tests_that_ask_nothing_or_cannot_run(sandbox: Sandbox) -> None:
    (report,) = sandbox.run([Program("#" * (1 << 24) + "\n", "assert f() == 1")])
    assert report.status == "error" and "a module of 16,777,217 characters" in report.explanation
    for tests in ("", "assert True", "x = 1"):
        assert not sandbox.run([Program("def f(): return 1", tests)])[0].passed
    (report,) = sandbox.run([Program("def f(): return 1", "assert (")])
    assert not report.passed and "the tests cannot be read" in report.explanation
    (report,) = sandbox.run([Program("def f(): return 1", "import no_such_module\nassert f() == 1")])
    assert verdicts(report) == [
        ("not_run", "the tests were stopped by ModuleNotFoundError: No module named 'no_such_module'")
    ]


def test_tests_that_do_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are trusted, but not to be right: what was found until then is kept, and the next program has a new process for them."""
    monkeypatch.setattr("maporl.sandbox.worker._GRACE_SECONDS", 0.1)
    good = "def f(): return 1"
    tests = "import time\nassert f() == 1\ntime.sleep(0.25)\nassert f() == 2\ntime.sleep(60)\nassert f() == 3"
    with Sandbox(Limits(seconds=0.3), workers=1) as sandbox:
        (report,) = sandbox.run([Program(good, tests)])
        assert verdicts(report) == [("passed", ""), *[("not_run", "the tests themselves took too long")] * 2]
        (report,) = sandbox.run([Program(good, "import os\nassert f() == 1\nos._exit(1)")])
        assert verdicts(report) == [("not_run", "the process of the tests ended")]
        assert sandbox.run([Program(good, "assert f() == 1")])[0].passed


def test_values_that_cannot_be_copied(sandbox: Sandbox) -> None:
    source = "def loop():\n    x = []\n    x.append(x)\n    return x\ndef deep():\n    x = []\n    for _ in range(10 ** 5): x = [x]\n    return x\ndef large(): return 'x' * (1 << 27)"
    (report,) = sandbox.run([Program(source, "assert loop() == 1\nassert deep() == 1\nassert large() == 1")])
    assert report.num_passed == 0 and all(checked.explanation for checked in report.asserts), report


def test_batches_keep_their_order_and_equal_programs_run_once(sandbox: Sandbox) -> None:
    programs = [Program(f"def f(): return {n % 7}", "assert f() == 3") for n in range(30)]
    reports = sandbox.run(programs)
    assert [report.passed for report in reports] == [n % 7 == 3 for n in range(30)]
    assert reports[3] is reports[10] and sandbox.run([]) == []


def test_a_sandbox_that_dies_is_started_again() -> None:
    with Sandbox(Limits(seconds=5), workers=1) as sandbox:
        program = Program("def f(): return 1", "assert f() == 1")
        assert sandbox.run([program])[0].passed
        (worker,) = sandbox._workers
        assert worker.process is not None
        slow = Program("import time\ndef f(): time.sleep(0.6); return 1", "assert f() == 1")
        threading.Timer(0.3, worker.process.kill).start()
        assert sandbox.run([slow])[0].passed
    assert sandbox.run([program])[0].passed  # closed, it starts again
    sandbox.close()


def test_after_a_fork_each_has_its_own(sandbox: Sandbox) -> None:
    program = Program("def f(): return 1", "assert f() == 1")
    assert sandbox.run([program])[0].passed
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = 0 if sandbox.run([program])[0].passed else 2
            sandbox.close()
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    assert sandbox.run([program])[0].passed


def test_packages_are_there_if_asked_for(sandbox: Sandbox) -> None:
    import numpy

    source = "import numpy as np\ndef f(): return np.float32(2) + np.arange(3).sum()\ndef where(): return np.__file__"
    where = numpy.__file__  # of this environment, not of its base
    program = Program(source, f"assert f() == 5.0\nassert where() == {where!r}")
    assert sandbox.run([program])[0].explanation == "ModuleNotFoundError: No module named 'numpy'"
    with Sandbox(Limits(memory_mb=512), workers=1, packages=["numpy"]) as with_numpy:
        (report,) = with_numpy.run([program])
        assert report.passed, report
    with pytest.raises(ValueError, match="package 'no_such_package' is not installed"):
        Sandbox(packages=["no_such_package"])


SCRIPT = """
import ctypes, json
from maporl.sandbox import Limits, Program, Sandbox, SandboxUnavailable, kernel
{before}
program = Program("import os\\ndef f(): return os.getcwd()", "assert f() != {here!r}\\nassert f() == '/scratch'")
try:
    said = Sandbox(workers=1).run([program])[0]
    print(json.dumps([said.isolation, said.num_passed]))
except SandboxUnavailable as error:
    said = Sandbox(Limits(seconds=1), workers=1, unsafe=True).run([program, Program("def f():\\n    while True: pass", "assert f()")])
    print(json.dumps([str(error), said[0].isolation, said[0].num_passed, said[1].asserts[0].status]))
"""


def test_where_nothing_keeps_programs_apart_it_refuses_unless_told_otherwise() -> None:
    """A process that may make no namespaces, by the very filter that programs are under."""
    forbid = "kernel._call('prctl', 38, 1, 0, 0, 0); kernel._filter_calls()"
    allow_sockets = "kernel._NUMBERS = {m: (a, {k: v for k, v in n.items() if 'socket' != k}) for m, (a, n) in kernel._NUMBERS.items()}; "
    script = SCRIPT.format(before=allow_sockets + forbid, here=os.getcwd())
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    said = json.loads(done.stdout or json.dumps(done.stderr))
    assert "cannot be run apart on this machine (PermissionError" in said[0] and "unsafe=True" in said[0], said
    assert said[1:] == ["none", 1, "timeout"]


@pytest.mark.skipif(
    not hasattr(os, "getuid") or os.getuid() != 0, reason="the other tests are this one where one is not root"
)
def test_a_user_without_rights_has_the_same_sandbox(tmp_path: Path) -> None:
    python = next((p for p in ("/usr/bin/python3", "/usr/local/bin/python3") if Path(p).exists()), None)
    if python is None or subprocess.run([python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]).returncode:
        pytest.skip("no interpreter of Python 3.11 or later that every user may read")
    place = Path("/tmp") / f"maporl-test-{os.getpid()}"
    try:
        shutil.copytree(Path(maporl.__file__).parent / "sandbox", place / "maporl" / "sandbox")
        for name in ("__init__.py", "errors.py"):
            shutil.copy(Path(maporl.__file__).parent / name, place / "maporl" / name)
        subprocess.run(["chmod", "-R", "a+rX", place], check=True)
        command = [python, "-B", "-c", SCRIPT.format(before="", here="/")]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=120,
            user=65534,
            group=65534,
            extra_groups=[],
            cwd="/",
            env={"PYTHONPATH": str(place)},
        )
        said = json.loads(done.stdout or json.dumps(done.stderr))
        if "cannot be run apart" in str(said):
            pytest.skip(f"users without rights may make no namespaces here: {said[0]}")
        assert said == ["namespaces + seccomp", 2]
    finally:
        shutil.rmtree(place)


@pytest.mark.parametrize("limit", ["seconds", "memory_mb", "processes", "timeouts"])
def test_limits_that_are_none(limit: str) -> None:
    for value in (0, -1, float("nan"), "1", True):
        with pytest.raises(ValueError, match=f"{limit} is {value!r}; a sandbox's limit is a number above 0"):
            Limits(**{limit: value})
    with pytest.raises(ValueError, match="processes is 0.5; it is counted in whole numbers"):
        Limits(processes=0.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="workers is 0"):
        Sandbox(workers=0)


def test_what_a_report_says() -> None:
    checks = tuple(Checked("assert f()", status) for status in ("passed", "failed", "passed"))  # type: ignore[arg-type]
    assert Report("ok", asserts=checks).num_passed == 2 and not Report("ok", asserts=checks).passed
    assert Report("ok", asserts=checks[:1]).passed and not Report("ok").passed
