"""A verifier served by uvicorn, asked through `Remote`: batches, errors, going away and coming back."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import urllib3

pytest.importorskip("fastapi", reason="serving needs maporl[serve]")
uvicorn = pytest.importorskip("uvicorn", reason="serving needs maporl[serve]")

from maporl import patient_client  # noqa: E402
from maporl.cli import main  # noqa: E402
from maporl.envs.verifiers import Exact, Remote, Verifier  # noqa: E402
from maporl.learned_verifier.server import LONGEST_TEXT, Batcher, application, serve  # noqa: E402
from maporl.types import Question, Score  # noqa: E402


class Lengths(Verifier):
    """The share of a response's length in ten; slow, so that requests gather."""

    rule_based = False
    uses_gold = False

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.asked: list[Question] = []

    def __call__(self, question: Question, response: str) -> Score:
        return self.score_batch([question], [response])[0]

    def score_batch(self, questions: Sequence[Question], responses: Sequence[str]) -> list[Score]:
        time.sleep(0.05)
        self.batches.append(len(responses))
        self.asked += questions
        if "fail" in responses:
            raise RuntimeError("this one is too much")
        return [Score(min(len(r), 10) / 10, None) for r in responses]

    def seen_questions(self) -> frozenset[str]:
        return frozenset({"f00d"})


class Server:
    """uvicorn in a thread."""

    def __init__(self, verifier: Verifier, port: int = 0) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(("127.0.0.1", port))
        self.port = self.socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.server = uvicorn.Server(uvicorn.Config(application(verifier), log_level="critical"))
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.socket]}, daemon=True)
        self.thread.start()
        while not self.server.started:
            time.sleep(0.01)

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(10)
        self.socket.close()


@pytest.fixture
def lengths() -> Lengths:
    return Lengths()


@pytest.fixture
def server(lengths: Lengths) -> Iterator[Server]:
    made = Server(lengths)
    yield made
    made.stop()


def test_what_it_says(server: Server, lengths: Lengths) -> None:
    verifier = Remote(server.url)
    question = Question("Which?", "secret", private={"agent_0": "It is 7."})
    scores = verifier.score_batch([question] * 12, ["x" * n for n in range(12)])
    assert [s.value for s in scores] == [min(n, 10) / 10 for n in range(12)]
    assert verifier.seen_questions() == {"f00d"}
    there = lengths.asked[0]
    assert (there.text, there.private, there.hash, there.answer) == ("Which?", question.private, question.hash, "")


def test_requests_that_come_together_are_one_batch(server: Server, lengths: Lengths) -> None:
    def ask(n: int) -> float:
        return Remote(server.url)(Question(f"q{n}", ""), "x" * n).value

    with ThreadPoolExecutor(20) as threads:
        assert list(threads.map(ask, range(10))) == [n / 10 for n in range(10)]
    assert sum(lengths.batches) == 10 and len(lengths.batches) < 10


def test_a_failure_is_told_to_those_who_asked_and_no_one_else() -> None:
    async def both() -> tuple[list[Score], BaseException | None]:
        batcher = Batcher(Lengths())
        worker = asyncio.create_task(batcher.work())
        failure = (await asyncio.gather(batcher.score([(Question("q", ""), "fail")]), return_exceptions=True))[0]
        scores = await batcher.score([(Question("q", ""), "xxx")])
        worker.cancel()
        return scores, failure if isinstance(failure, BaseException) else None

    with ThreadPoolExecutor(1) as thread:  # a browser's test may have left a loop running in this one
        scores, failure = thread.submit(asyncio.run, both()).result()
    assert [s.value for s in scores] == [0.3] and "too much" in str(failure)


def test_mistakes_are_named(server: Server) -> None:
    asked = Remote(server.url)
    with pytest.raises(ValueError, match=r"\(422\).*text"):
        asked(Question("x" * (LONGEST_TEXT + 1), ""), "y")
    with pytest.raises(ValueError, match=r'\(422\): {"detail":"questions: List should have at most 1024 items'):
        Remote(server.url, batch_size=2000).score_batch([Question("q", "")] * 1025, [str(n) for n in range(1025)])
    body = {"questions": [], "responses": ["a"]}
    with pytest.raises(ValueError, match="0 questions and 1 responses; send pairs"):
        asked.client.ask("POST", "/score", body, lambda reply: reply)
    with pytest.raises(ValueError, match=r"refuses GET /nothing \(404\)"):
        asked.client.ask("GET", "/nothing", None, lambda reply: reply)


@pytest.mark.parametrize("in_pieces", [False, True])
def test_a_request_that_is_too_large(server: Server, monkeypatch: pytest.MonkeyPatch, in_pieces: bool) -> None:
    monkeypatch.setattr("maporl.learned_verifier.server.LARGEST_REQUEST", 1000)
    body = b'{"questions": [{"text": "q", "hash": "h"}], "responses": ["%s"]}' % (b"x" * 2_000_000)
    sent = iter([body[:500], body[500:]]) if in_pieces else body
    reply = urllib3.request("POST", f"{server.url}/score", body=sent, headers={"Content-Type": "application/json"})
    assert reply.status == 413 and b"a request may have 1000 bytes; send fewer answers (batch_size)" in reply.data
    assert Remote(server.url)(Question("q", ""), "xxx").value == 0.3, "the next one is served"


def test_a_verifier_that_reads_gold_answers() -> None:
    server = Server(Exact())
    try:
        with pytest.raises(ValueError, match="reads gold answers"):
            Remote(server.url)(Question("q", "7"), "7")
        told = Remote(server.url, uses_gold=True)
        assert [s.correct for s in told.score_batch([Question("q", "7")] * 2, ["7", "8"])] == [True, False]
    finally:
        server.stop()


def test_it_goes_away_and_comes_back(lengths: Lengths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patient_client, "FIRST_PAUSE", 0.02)
    first = Server(lengths)
    verifier = Remote(first.url, patience=30)
    assert verifier(Question("q", ""), "x").value == 0.1
    first.stop()
    threading.Timer(0.3, lambda: Server(lengths, first.port)).start()
    with pytest.warns(UserWarning, match="does not answer"):
        assert verifier(Question("q", ""), "xx").value == 0.2


@contextmanager
def command(*words: str, port: int = 0) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``maporl verifier serve`` in a process of its own, and the URL that it prints."""
    ready = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"  # a shell may have it ignored
    code = f"import sys; {ready}; from maporl.cli import main; sys.exit(main(sys.argv[1:]))"
    call = [sys.executable, "-c", code, "verifier", "serve", *words, "--port", str(port)]
    with subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            yield process, line.split()[-1] if line else ""
        finally:
            process.kill()


def test_the_command_serves_until_ctrl_c() -> None:
    with command("--verifier", "{name: regex, pattern: '[0-9]+', uses_gold: false}") as (process, url):
        assert Remote(url, patience=0).info["name"].startswith("Regex")
        assert [s.value for s in Remote(url, patience=0).score_batch([Question("q", "")] * 2, ["7", "seven"])] == [
            1.0,
            0.0,
        ]
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert process.stderr is not None and process.stderr.read().strip().splitlines()[-1] == "maporl: interrupted"


@pytest.mark.parametrize("words", [[], ["folder", "--verifier", "number"]])
def test_what_to_serve_is_said_once(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verifier", "serve", *words]) == 2
    assert "needs the folder of one verifier" in capsys.readouterr().err


def test_a_port_that_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ValueError, match="cannot be served at .*choose another --port"):
            serve(Lengths(), port=taken.getsockname()[1])
