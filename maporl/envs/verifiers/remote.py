"""A verifier that runs elsewhere, by URL: time-outs, retries, batches, and never a failure that looks like a wrong answer."""

from __future__ import annotations

import json
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from maporl.envs.verifiers.remembered import Remembered
from maporl.envs.verifiers.verifier import Verifier, VerifierUnavailable
from maporl.errors import UserValueError
from maporl.printable import encodable
from maporl.types import Question, Score

__all__ = ["Remote"]

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds between two tries; doubled each time
LATER = (408, 425, 429)  # the only refusals that another try may change: too slow, too early, too many
STATUSES = ("ok", "no_answer", "not_applicable", "timeout", "error")


class _Failure(Exception):
    """One try that failed, and may succeed later."""


class _Call:
    """What the requests of one call share: an outage is told of once, and all of them end when one has given up."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self._lock, self._told = threading.Lock(), False

    def tell(self, message: str) -> None:
        with self._lock:
            if not self._told:
                self._told = True
                # With the time, for Python shows the same warning once only: the next outage would be silent.
                warnings.warn(f"{time.strftime('%H:%M:%S')}: {message}", stacklevel=3)


class Remote(Verifier):
    """Scores answers by asking a server, such as ``maporl verifier serve``.

    While the server is down, too slow, or answers garbage, scoring waits and tries again, with a warning; after `patience` seconds without
    an answer it raises `VerifierUnavailable`, and a training run stops where it can be resumed. An answer that was scored before is
    looked up, not sent again.

    Args:
        url: Of the server, such as ``http://127.0.0.1:8000``.
        timeout: Seconds to wait for one whole reply.
        patience: Seconds of failures in a row before giving up.
        batch_size: Answers in one request.
        connections: Requests at a time.
        headers: Sent with every request (authorisation, say).
        uses_gold: Whether the server's verifier reads gold answers; they are sent only then.
        remember: Answers whose scores are kept.

    Raises:
        ValueError: No http(s) URL, or a number out of range. Once it is used: a request that the server calls wrong, and a server whose
            verifier needs gold answers though `uses_gold` is not set.
        VerifierUnavailable: No usable reply for `patience` seconds.
    """

    rule_based = False

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 30.0,
        patience: float = 300.0,
        batch_size: int = 64,
        connections: int = 4,
        headers: Mapping[str, str] | None = None,
        uses_gold: bool = False,
        remember: int = 100_000,
    ) -> None:
        if not _is_address(url):
            raise UserValueError(f"url {url!r} is no address of a verifier; write http://HOST:PORT.")
        for name, value in {"timeout": timeout, "batch_size": batch_size, "connections": connections}.items():
            if not value > 0:
                raise UserValueError(f"{name} is {value}; it must be above 0.")
        if patience < 0:
            raise UserValueError(f"patience is {patience}; give seconds, 0 to give up at once.")
        self.url, self.timeout, self.patience = url.rstrip("/"), timeout, patience
        self.batch_size, self.connections, self.headers = batch_size, connections, dict(headers or {})
        self.uses_gold = uses_gold
        self.sent = 0  # answers that were sent to be scored
        self._known = Remembered(remember)

    @cached_property
    def _pool(self) -> Any:
        from urllib3 import PoolManager, Timeout

        # Retries are ours: they know what a sound reply is, and how long the user wants to wait.
        return PoolManager(
            maxsize=self.connections, retries=False, timeout=Timeout(connect=min(5.0, self.timeout), read=self.timeout)
        )

    @cached_property
    def info(self) -> Mapping[str, Any]:
        """What the server says of its verifier: "name", "uses_gold", "rule_based", "seen_questions".

        Raises:
            ValueError: It needs gold answers, and is not sent any.
        """
        found: Mapping[str, Any] = self._asked("GET", "/info", None, _checked_info)
        if found["uses_gold"] and not self.uses_gold:
            raise UserValueError(
                f"the verifier at {self.url} reads gold answers; say uses_gold: true to send them (rows that it chooses are then oracles)."
            )
        return found

    def seen_questions(self) -> frozenset[str]:
        return frozenset(self.info["seen_questions"])

    def __call__(self, question: Question, response: str) -> Score:
        return self.score_batch([question], [response])[0]

    def score_batch(self, questions: Sequence[Question], responses: Sequence[str]) -> list[Score]:
        assert self.info is not None  # a server that misses gold answers is found out before it scores without them
        places = self._known.new(questions, responses)
        parts = [places[i : i + self.batch_size] for i in range(0, len(places), self.batch_size)]
        call = _Call()
        self.sent += len(places)

        def ask(part: Sequence[int]) -> None:
            asked, said = [questions[n] for n in part], [responses[n] for n in part]
            body = {"questions": list(map(self._sent, asked)), "responses": list(map(encodable, said))}
            found = self._asked("POST", "/score", body, lambda reply: _checked_scores(reply, len(part)), call)
            self._known.add(asked, said, found)  # kept even if another part fails

        if len(parts) == 1:
            ask(parts[0])
        else:
            with ThreadPoolExecutor(self.connections) as threads:
                try:
                    list(threads.map(ask, parts))
                finally:
                    call.over.set()  # after Ctrl-C, or a failure of one, nobody waits on
        return self._known.look_up(questions, responses)

    def _sent(self, question: Question) -> dict[str, Any]:
        """A question as JSON; its gold answer stays here unless the verifier reads it."""
        private = {agent: encodable(view) for agent, view in (question.team or question.private).items()}
        sent = {"text": encodable(question.text), "private": private, "hash": question.hash}
        return {**sent, "answer": encodable(question.answer)} if self.uses_gold else sent

    def _asked(self, method: str, path: str, body: Any, check: Any, call: _Call | None = None) -> Any:
        """A checked reply; tries again until there is one, patience is at its end, or the call is over."""
        began, pause, call = time.monotonic(), FIRST_PAUSE, call or _Call()
        while True:
            try:
                return check(self._reply(method, path, body))
            except _Failure as failure:
                reason = str(failure)
            left = self.patience - (time.monotonic() - began)
            if left > 0:
                call.tell(
                    f"the verifier at {self.url} does not answer: {reason}. Trying again for {self.patience:g} s."
                )
            if left <= 0 or call.over.wait(min(pause, left)):
                raise VerifierUnavailable(
                    f"the verifier at {self.url} gave no usable reply for {self.patience:g} s: {reason}. Start it again (maporl verifier "
                    "serve DIR), then go on; a longer patience waits longer."
                )
            pause = min(2 * pause, LONGEST_PAUSE)

    def _reply(self, method: str, path: str, body: Any) -> Any:
        from urllib3.exceptions import HTTPError

        sent = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **self.headers}
        deadline = time.monotonic() + self.timeout
        try:
            reply = self._pool.request(method, self.url + path, body=sent, headers=headers, preload_content=False)
            text = self._whole(reply, deadline).decode("utf-8", "replace")
        except HTTPError as error:
            raise _Failure(" ".join(f"{type(error).__name__}: {error}".split())[:200]) from error
        if 400 <= reply.status < 500 and reply.status not in LATER:
            raise UserValueError(f"the verifier at {self.url} refuses {method} {path} ({reply.status}): {text[:300]}")
        if reply.status != 200:
            raise _Failure(f"status {reply.status}: {text[:100]}")
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise _Failure(f"no JSON: {text[:80]!r}") from error

    def _whole(self, reply: Any, deadline: float) -> bytes:
        """The body of a reply; urllib3's own time-out is one for each piece, so that a dribble would go on for ever."""
        pieces = []
        while piece := reply.read1(2**16):
            pieces.append(piece)
            if time.monotonic() > deadline:
                reply.close()
                raise _Failure(f"no whole reply within {self.timeout:g} s")
        reply.release_conn()
        return b"".join(pieces)

    def __getstate__(self) -> dict[str, Any]:
        """Without connections: another process opens its own."""
        return {name: value for name, value in vars(self).items() if name != "_pool"}

    def __repr__(self) -> str:
        return f"Remote({self.url!r})"


def _is_address(url: Any) -> bool:
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except (ValueError, AttributeError):  # a port out of range; no text at all
        return False
    return sound and not any(c.isspace() for c in url)


def _checked_info(reply: Any) -> Mapping[str, Any]:
    kinds = {"name": str, "uses_gold": bool, "rule_based": bool, "seen_questions": list}
    sound = isinstance(reply, Mapping) and all(isinstance(reply.get(n), kind) for n, kind in kinds.items())
    if not sound or not all(isinstance(seen, str) for seen in reply["seen_questions"]):
        raise _Failure(f"/info is no description of a verifier: {str(reply)[:80]!r}")
    return reply


def _checked_scores(reply: Any, number: int) -> list[Score]:
    found = reply.get("scores") if isinstance(reply, Mapping) else None
    if not isinstance(found, list) or len(found) != number:
        count = len(found) if isinstance(found, list) else "no"
        raise _Failure(f"{count} scores for {number} answers")
    return [_checked_score(score) for score in found]


def _checked_score(score: Any) -> Score:
    value = score.get("value") if isinstance(score, Mapping) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise _Failure(f"a score of {repr(value)[:80]}, which is no number from 0 to 1")
    correct, answer, status = score.get("correct"), score.get("answer"), score.get("status", "ok")
    if not isinstance(correct, bool | None) or not isinstance(answer, str | None) or status not in STATUSES:
        raise _Failure(f"a score that is none: {str(dict(score))[:80]!r}")
    return Score(float(value), correct, answer, status, str(score.get("explanation") or ""))
