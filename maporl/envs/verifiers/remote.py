"""A verifier that runs elsewhere, by URL: in batches, each answer once, and never a failure that looks like a wrong answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from maporl.envs.verifiers.remembered import Remembered
from maporl.envs.verifiers.verifier import Verifier, VerifierUnavailable
from maporl.errors import UserValueError
from maporl.patient_client import PatientClient, Unusable
from maporl.printable import encodable
from maporl.types import Question, Score

__all__ = ["Remote"]

STATUSES = ("ok", "no_answer", "not_applicable", "timeout", "error")


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
        if not batch_size > 0:
            raise UserValueError(f"batch_size is {batch_size}; it must be above 0.")
        self.client = PatientClient(
            url,
            title="verifier",
            remedy="Start it again (maporl verifier serve DIR), then go on",
            timeout=timeout,
            patience=patience,
            connections=connections,
            headers=headers,
            failure=VerifierUnavailable,
        )
        self.batch_size, self.uses_gold = batch_size, uses_gold
        self.sent = 0  # answers that were sent to be scored
        self._known = Remembered(remember)

    @cached_property
    def info(self) -> Mapping[str, Any]:
        """What the server says of its verifier: "name", "uses_gold", "rule_based", "seen_questions".

        Raises:
            ValueError: It needs gold answers, and is not sent any.
        """
        found: Mapping[str, Any] = self.client.ask("GET", "/info", None, _checked_info)
        if found["uses_gold"] and not self.uses_gold:
            raise UserValueError(
                f"the verifier at {self.client.url} reads gold answers; say uses_gold: true to send them (rows that it chooses are then "
                "oracles)."
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
        self.sent += len(places)

        def keep(n: int, reply: Any) -> None:
            scores = _checked_scores(reply, len(parts[n]))
            # Kept even if another part fails.
            self._known.add([questions[i] for i in parts[n]], [responses[i] for i in parts[n]], scores)

        bodies = [
            {
                "questions": [self._sent(questions[n]) for n in part],
                "responses": [encodable(responses[n]) for n in part],
            }
            for part in parts
        ]
        self.client.ask_all("/score", bodies, keep)
        return self._known.look_up(questions, responses)

    def _sent(self, question: Question) -> dict[str, Any]:
        """A question as JSON; its gold answer stays here unless the verifier reads it."""
        private = {agent: encodable(view) for agent, view in (question.team or question.private).items()}
        sent = {"text": encodable(question.text), "private": private, "hash": question.hash}
        return {**sent, "answer": encodable(question.answer)} if self.uses_gold else sent

    def __repr__(self) -> str:
        return f"Remote({self.client.url!r})"


def _checked_info(reply: Any) -> Mapping[str, Any]:
    kinds = {"name": str, "uses_gold": bool, "rule_based": bool, "seen_questions": list}
    sound = isinstance(reply, Mapping) and all(isinstance(reply.get(n), kind) for n, kind in kinds.items())
    if not sound or not all(isinstance(seen, str) for seen in reply["seen_questions"]):
        raise Unusable(f"/info is no description of a verifier: {str(reply)[:80]!r}")
    return reply


def _checked_scores(reply: Any, number: int) -> list[Score]:
    found = reply.get("scores") if isinstance(reply, Mapping) else None
    if not isinstance(found, list) or len(found) != number:
        count = len(found) if isinstance(found, list) else "no"
        raise Unusable(f"{count} scores for {number} answers")
    return [_checked_score(score) for score in found]


def _checked_score(score: Any) -> Score:
    value = score.get("value") if isinstance(score, Mapping) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise Unusable(f"a score of {repr(value)[:80]}, which is no number from 0 to 1")
    correct, answer, status = score.get("correct"), score.get("answer"), score.get("status", "ok")
    if not isinstance(correct, bool | None) or not isinstance(answer, str | None) or status not in STATUSES:
        raise Unusable(f"a score that is none: {str(dict(score))[:80]!r}")
    tokens = score.get("judge_tokens", 0)
    if isinstance(tokens, bool) or not isinstance(tokens, int) or tokens < 0:
        raise Unusable(f"judge_tokens {repr(tokens)[:80]}, which is no number of tokens")
    measures = score.get("measures", {})
    if not isinstance(measures, Mapping) or any(
        isinstance(m, bool) or not isinstance(m, int | float) for m in measures.values()
    ):
        raise Unusable(f"measures {repr(measures)[:80]}, which are no numbers by name")
    return Score(float(value), correct, answer, status, str(score.get("explanation") or ""), tokens, dict(measures))
