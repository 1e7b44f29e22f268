"""A verifier by URL: what it sends, what it believes, and what it does when nobody answers."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from toy_server import ToyServer, toy_server

from maporl import patient_client
from maporl.envs.tasks.two_witnesses import TwoWitnesses
from maporl.envs.verifiers import Remote, VerifierUnavailable
from maporl.types import Question, Score

INFO = {"name": "toy", "uses_gold": False, "rule_based": False, "seen_questions": ["abc"]}
Reply = Callable[[dict[str, Any]], Any]


@pytest.fixture
def toy() -> Iterator[ToyServer]:
    with toy_server() as made:
        made.info = INFO
        yield made


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patient_client, "FIRST_PAUSE", 0.01)


def scored(sent: dict[str, Any]) -> dict[str, Any]:
    """The last character of each response is its score in tenths."""
    return {"scores": [{"value": int(r[-1]) / 10, "correct": None} for r in sent["responses"]]}


def test_batches_keep_their_order_and_nothing_is_sent_twice(toy: ToyServer) -> None:
    toy.replies = [scored]
    verifier = Remote(toy.url, batch_size=4, headers={"Authorization": "Bearer x"})
    responses = [f"{n} is {n % 10}" for n in range(25)]
    questions = [Question("q", str(n)) for n in range(25)]
    found = verifier.score_batch(questions, responses)
    assert [s.value for s in found] == [n % 10 / 10 for n in range(25)]
    assert sorted(len(r["responses"]) for r in toy.requests) == [1, 4, 4, 4, 4, 4, 4]
    assert all(r["headers"]["Authorization"] == "Bearer x" for r in toy.requests)
    assert verifier.score_batch(questions, responses) == found and verifier.sent == 25 and len(toy.requests) == 7
    assert verifier.score_batch([questions[0]] * 3, ["a 1", "a 1", "0 is 0"])[2].value == 0.0
    assert len(toy.requests) == 8 and toy.requests[-1]["responses"] == ["a 1"]


def test_gold_answers_stay_here(toy: ToyServer) -> None:
    toy.replies = [scored]
    asked = Question("Which?", "secret", private={"agent_0": "seen \ud800"})
    Remote(toy.url)(asked, "it is \ud800 1")
    assert toy.requests[0]["questions"] == [{"text": "Which?", "private": {"agent_0": "seen ?"}, "hash": asked.hash}]
    toy.info = {**INFO, "uses_gold": True}
    with pytest.raises(ValueError, match="reads gold answers; say uses_gold: true"):
        Remote(toy.url)(asked, "1")
    Remote(toy.url, uses_gold=True)(asked, "it is 1")
    assert toy.requests[-1]["questions"][0]["answer"] == "secret"


@pytest.mark.parametrize(
    ("garbage", "told"),
    [
        (b"<html>", "no JSON: '<html>'"),
        ({"scores": []}, "0 scores for 1 answers"),
        ([1], "no scores for 1 answers"),
        ({"scores": [{"value": 7}]}, "a score of 7"),
        ({"scores": [{"value": True}]}, "a score of True"),
        ({"scores": [{"value": None}]}, "a score of None"),
        (b'{"scores": [{"value": NaN}]}', "a score of nan"),
        (b'{"scores": [{"value": %s}]}' % (b"9" * 400), "a score of 9999"),
        (b"[" * 100_000, "no JSON"),
        ({"scores": [{"value": 0.5, "correct": "yes"}]}, "a score that is none"),
        ({"scores": [{"value": 0.5, "correct": 1}]}, "a score that is none"),
        ({"scores": [{"value": 0.5, "status": "maybe"}]}, "a score that is none"),
        ({"scores": [{"value": 0.5, "measures": {"speed": "fast"}}]}, "measures {'speed': 'fast'}"),
        ((302, b"elsewhere"), "status 302"),
        ((429, b"too many"), "status 429"),
        ((503, {"detail": "loading"}), "status 503"),
        ((500, b"oops"), "status 500: oops"),
    ],
)
def test_garbage_is_tried_again_and_never_a_wrong_answer(toy: ToyServer, garbage: Any, told: str) -> None:
    toy.replies = [garbage, garbage, scored]
    with pytest.warns(UserWarning, match="does not answer.*Trying again for 300 s") as caught:
        assert Remote(toy.url)(Question("q", "a"), "1") == Score(0.1, None)
    assert len(caught) == 1 and len(toy.requests) == 3, "one warning for one outage"
    toy.replies = [garbage]
    with pytest.warns(UserWarning), pytest.raises(VerifierUnavailable) as failed:
        Remote(toy.url, patience=0.05)(Question("q", "a"), "1")
    assert toy.url in str(failed.value) and told in str(failed.value) and "patience" in str(failed.value)


def test_too_slow(toy: ToyServer) -> None:
    toy.replies = [lambda sent: time.sleep(0.5) or scored(sent), scored]
    with pytest.warns(UserWarning, match="ReadTimeout"):
        assert Remote(toy.url, timeout=0.1)(Question("q", "a"), "3").value == 0.3


def test_a_dribble_is_too_slow_as_well() -> None:
    """Each byte comes in time, the whole reply would take four seconds."""

    def dribble() -> None:
        connection = listener.accept()[0]
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 80\r\n\r\n")
        with contextlib.suppress(OSError):
            for _ in range(80):
                connection.sendall(b" ")
                time.sleep(0.05)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=dribble, daemon=True).start()
        began = time.monotonic()
        with pytest.raises(VerifierUnavailable, match=r"no whole reply within 0.2 s"):
            Remote(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=0.2, patience=0).seen_questions()
        assert time.monotonic() - began < 2


def test_an_outage_is_told_of_once_however_many_batches_wait(toy: ToyServer) -> None:
    toy.replies = [(503, {})] * 8 + [scored]
    with pytest.warns(UserWarning) as caught:
        found = Remote(toy.url, batch_size=1).score_batch([Question("q", "a")] * 4, list("1234"))
    assert [s.value for s in found] == [0.1, 0.2, 0.3, 0.4] and len(caught) == 1


def test_ctrl_c_does_not_wait_for_the_patience_of_others(toy: ToyServer) -> None:
    toy.replies = [(503, {})]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background a shell has it ignored
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    began = time.monotonic()
    try:
        with pytest.warns(UserWarning), pytest.raises(KeyboardInterrupt):
            Remote(toy.url, batch_size=1, patience=20).score_batch([Question("q", "a")] * 3, list("123"))
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - began < 5


def test_scores_that_came_before_the_outage_are_kept(toy: ToyServer) -> None:
    toy.replies = [lambda sent: (503, {}) if sent["responses"] == ["3"] else scored(sent)]
    verifier = Remote(toy.url, batch_size=1, connections=1, patience=0)
    with pytest.raises(VerifierUnavailable):
        verifier.score_batch([Question("q", "a")] * 3, list("123"))
    toy.replies, asked = [scored], len(toy.requests)
    assert [s.value for s in verifier.score_batch([Question("q", "a")] * 3, list("123"))] == [0.1, 0.2, 0.3]
    assert [r["responses"] for r in toy.requests[asked:]] == [["3"]]


def test_a_description_that_is_none(toy: ToyServer) -> None:
    toy.info = {**INFO, "seen_questions": [["a"]]}
    with pytest.raises(VerifierUnavailable, match="/info is no description of a verifier"):
        Remote(toy.url, patience=0).seen_questions()


def test_down_and_up_again(toy: ToyServer) -> None:
    toy.server.shutdown()
    toy.server.server_close()
    with pytest.raises(VerifierUnavailable, match="gave no usable reply for 0 s"):
        Remote(toy.url, patience=0)(Question("q", "a"), "3")


def test_our_own_mistakes_are_not_tried_again(toy: ToyServer) -> None:
    toy.replies = [(422, {"detail": "questions.0.text: too long"})]
    with pytest.raises(ValueError, match=r"refuses POST /score \(422\): .*questions.0.text: too long"):
        Remote(toy.url)(Question("q", "a"), "3")
    assert len(toy.requests) == 1


def test_in_a_task(toy: ToyServer) -> None:
    toy.replies = [scored]
    env = TwoWitnesses(verifier={"name": "remote", "url": toy.url})
    assert env.ground_truth is not None and env.ground_truth is not env.verifier
    env.reset(options={"question": env.questions("test")[0]})
    for _ in range(4):
        env.step("Answer: 7")
    assert [t.value for t in env.transcript.turns] == [0.7] * 4
    assert all(t.correct is not None for t in env.transcript.turns)
    assert len(toy.requests) == 1, "the same message to the same question is asked for once"
    toy.info = {**INFO, "seen_questions": [env.questions("train")[0].hash]}
    with pytest.raises(ValueError, match="fitted to 1 of the .* train questions"):
        TwoWitnesses(verifier={"name": "remote", "url": toy.url}).questions("test")


def test_it_travels_to_other_processes(toy: ToyServer) -> None:
    toy.replies = [scored]
    verifier = Remote(toy.url)
    verifier(Question("q", "a"), "2")
    assert pickle.loads(pickle.dumps(verifier))(Question("q", "a"), "4").value == 0.4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"url": "http://"}, "no address of a verifier"),
        ({"url": "http://x:99999"}, "no address of a verifier"),
        ({"url": None}, "url None is no address of a verifier"),
        ({"url": "localhost:8000"}, "no address of a verifier; write http://HOST:PORT"),
        ({"url": "http://x", "timeout": 0}, "timeout is 0; it must be above 0"),
        ({"url": "http://x", "batch_size": -1}, "batch_size is -1"),
        ({"url": "http://x", "patience": -1}, "patience is -1"),
    ],
)
def test_mistakes(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Remote(**arguments)
