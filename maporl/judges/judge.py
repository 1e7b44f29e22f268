"""Judges as verifiers: of one answer (`Judge`), and of one against another, in both orders (`PairwiseJudge`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from maporl.envs.verifiers.remembered import Remembered
from maporl.envs.verifiers.verifier import AnswerVerifier, no_answer
from maporl.errors import UserValueError
from maporl.hooks import each
from maporl.judges.ballot import Ballot, Reply, answer_ballot
from maporl.judges.judge_model import judge_model
from maporl.types import Question, Score

__all__ = ["Judge", "PairwiseJudge", "Preference"]

RIGHT = "Is the final answer of this text right? Work it out yourself before you decide, and do not be swayed by how sure the text sounds."
BETTER = "Which of the two texts answers the question better? A right final answer is better than a wrong one, however well that is put."


class _Judging(AnswerVerifier):
    """What both have: a model, what was judged before, and what is counted."""

    rule_based = False

    def __init__(self, model: Any, *, rubric: str, reasons: bool, remember: int) -> None:
        if not rubric.strip():
            raise UserValueError("rubric is empty; say what is to be decided.")
        self.model, self.rubric, self.reasons = judge_model(model), rubric, reasons
        self._known = Remembered(remember)
        self._counts = dict.fromkeys(("asked", "nonsense", "prompt_tokens", "completion_tokens"), 0)

    def prepare(self) -> None:
        self.model.prepare()

    def begin(self, iteration: int, num_iterations: int) -> None:
        self._counts = dict.fromkeys(self._counts, 0)

    def metrics(self) -> dict[str, float]:
        """Since `begin`: ballots that were put to the judge, those that it answered with nonsense, and the tokens it read and wrote."""
        return {f"judge_{name}": float(count) for name, count in self._counts.items()}

    def judge(self, question: Question, text: str) -> Score:
        return self.judge_batch([question], [text])[0]

    def judge_batch(self, questions: Sequence[Question], texts: Sequence[str]) -> list[Score]:
        new = self._known.new(questions, texts)
        asked, said = [questions[n] for n in new], [texts[n] for n in new]
        self._known.add(asked, said, self._verdicts(asked, said))
        return self._known.look_up(questions, texts)

    def _verdicts(self, questions: Sequence[Question], texts: Sequence[str]) -> list[Score]:
        raise NotImplementedError

    def _asked(self, ballots: Sequence[Ballot]) -> list[Reply]:
        replies = each(self.model, "ask", self.model.ask(ballots) if ballots else [], Reply, len(ballots))
        self._counts["asked"] += len(replies)
        for reply in replies:
            self._counts["nonsense"] += reply.shares is None
            self._counts["prompt_tokens"] += reply.prompt_tokens
            self._counts["completion_tokens"] += reply.completion_tokens
        return replies

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.model!r})"


class Judge(_Judging):
    """A language model that says what one answer is worth: the worth of its verdicts, weighted by how likely it finds each of them.

    Its scores are no facts (`rule_based` is False, `correct` None): they are rewarded, and the truth of metrics and incentives stays the
    task's own rule. It knows the gold answer only if it is shown it, and is no oracle otherwise. What it judges is kept apart from what it
    is told by a mark that no answer can hold (see `Ballot`), so that no answer can imitate a verdict; whether the model lets itself be
    talked into one is another question, that only measuring answers.

    An empty answer is no answer, and nobody is asked. A reply that is none is status "error", worth 0 and counted (`metrics`).

    Args:
        model: The folder, GGUF file or hub id of a model that is loaded here; ``{url: ..., model: ...}`` of an OpenAI-compatible server
            (`ChatServer`); ``{name: ..., ...}`` with all arguments of either (`LocalModel`); or a `JudgeModel`.
        rubric: What is to be decided, in words that fit the verdicts.
        verdicts: Each word that it may say, and what that is worth, from 0 to 1.
        show_gold: Show it the gold answer.
        reasons: Let it give a reason before the verdict.
        remember: Answers whose scores are kept.

    Raises:
        ValueError: No model, or verdicts that are none. Once it is used: the model cannot be loaded.
        VerifierUnavailable: The server gave no usable reply for too long.
    """

    def __init__(
        self,
        model: Any,
        *,
        rubric: str = RIGHT,
        verdicts: Mapping[str, float] | None = None,
        show_gold: bool = False,
        reasons: bool = False,
        remember: int = 100_000,
    ) -> None:
        super().__init__(model, rubric=rubric, reasons=reasons, remember=remember)
        worth = {"right": 1.0, "wrong": 0.0} if verdicts is None else {str(k): v for k, v in verdicts.items()}
        if len(worth) < 2 or not all(isinstance(v, int | float) and 0 <= v <= 1 for v in worth.values()):
            raise UserValueError(
                f"verdicts is {verdicts!r}; give at least two words and what each is worth, 0 to 1: {{good: 1, bad: 0}}."
            )
        self.worth, self.uses_gold = worth, show_gold

    def _verdicts(self, questions: Sequence[Question], texts: Sequence[str]) -> list[Score]:
        put = [n for n, text in enumerate(texts) if text.strip()]
        ballots = [
            answer_ballot(
                questions[n],
                [texts[n]],
                rubric=self.rubric,
                choices=tuple(self.worth),
                gold=self.uses_gold,
                reasons=self.reasons,
            )
            for n in put
        ]
        scores = dict(zip(put, map(self._score, self._asked(ballots)), strict=True))
        return [scores.get(n) or no_answer("an empty message") for n in range(len(texts))]

    def _score(self, reply: Reply) -> Score:
        if reply.shares is None:
            return Score(0.0, None, status="error", explanation=f"the judge: {reply.reason}", judge_tokens=reply.tokens)
        # The last bits depend on what else was in the batch: a resumed run would see others.
        value = round(sum(self.worth[choice] * share for choice, share in reply.shares.items()), 6)
        likeliest = max(reply.shares, key=reply.shares.__getitem__)
        told = f"the judge: {likeliest} ({reply.shares[likeliest]:.3f}){': ' * bool(reply.reason)}{reply.reason}"
        return Score(min(max(value, 0.0), 1.0), None, explanation=told, judge_tokens=reply.tokens)


@dataclass(frozen=True)
class Preference:
    """Of two texts.

    Attributes:
        first: How likely the first one is better, 0 to 1, the mean of both orders; a tie is a half. None: the judge said nonsense.
        consistent: Whether it prefers the same text in both orders.
        tokens: What both took.
        reason: The judge's words, or what was wrong with its reply.
    """

    first: float | None
    consistent: bool
    tokens: int
    reason: str = ""


class PairwiseJudge(_Judging):
    """A language model that says how likely an answer is better than a reference. It is always asked in both orders, for models prefer a
    place (Wang et al., arXiv 2305.17926; Zheng et al., arXiv 2306.05685): the value is the mean of both.

    `compare` compares any two texts. Otherwise as `Judge`.

    Args:
        model: As `Judge`.
        reference: The entry of a question's metadata that holds the text to compare with; "answer" is the gold answer, which makes it
            an oracle.
        rubric: What is to be decided.
        ties: Whether neither may be better.
        reasons: As `Judge`.
        remember: As `Judge`.
    """

    def __init__(
        self,
        model: Any,
        *,
        reference: str = "reference",
        rubric: str = BETTER,
        ties: bool = True,
        reasons: bool = False,
        remember: int = 100_000,
    ) -> None:
        super().__init__(model, rubric=rubric, reasons=reasons, remember=remember)
        self._counts["inconsistent"] = 0
        self.reference, self.uses_gold = reference, reference == "answer"
        self.choices = ("first", "second", *(["tie"] if ties else []))

    def check_gold(self, question: Question) -> None:
        if not isinstance(self._reference(question), str):
            raise UserValueError(
                f"question {question.id!r} has no text {self.reference!r} in its metadata to compare answers with; say which entry has "
                "(reference), or 'answer' for the gold one."
            )

    def compare(self, questions: Sequence[Question], ones: Sequence[str], others: Sequence[str]) -> list[Preference]:
        """Which of two texts is better, for every question."""
        ballots = [
            answer_ballot(question, pair, rubric=self.rubric, choices=self.choices, reasons=self.reasons)
            for question, one, other in zip(questions, ones, others, strict=True)
            for pair in ((one, other), (other, one))
        ]
        replies = self._asked(ballots)
        found = [self._preference(*pair) for pair in zip(replies[::2], replies[1::2], strict=True)]
        self._counts["inconsistent"] += sum(p.first is not None and not p.consistent for p in found)
        return found

    def _preference(self, ahead: Reply, behind: Reply) -> Preference:
        """What two replies say of a text that stood first in one, and second in the other."""
        tokens = ahead.tokens + behind.tokens
        if ahead.shares is None or behind.shares is None:
            return Preference(None, False, tokens, ahead.reason if ahead.shares is None else behind.reason)
        tie = [shares.get("tie", 0.0) / 2 for shares in (ahead.shares, behind.shares)]
        one, two = ahead.shares["first"] + tie[0], behind.shares["second"] + tie[1]
        return Preference(round((one + two) / 2, 6), (one > 0.5) == (two > 0.5), tokens, ahead.reason)

    def _verdicts(self, questions: Sequence[Question], texts: Sequence[str]) -> list[Score]:
        put = [n for n, text in enumerate(texts) if text.strip()]
        asked = [questions[n] for n in put]
        found = self.compare(asked, [texts[n] for n in put], [str(self._reference(question)) for question in asked])
        scores = dict(zip(put, map(_worth, found), strict=True))
        return [scores.get(n) or no_answer("an empty message") for n in range(len(texts))]

    def _reference(self, question: Question) -> Any:
        return question.answer if self.reference == "answer" else question.metadata.get(self.reference)


def _worth(preference: Preference) -> Score:
    if preference.first is None:
        told = f"the judge: {preference.reason}"
        return Score(0.0, None, status="error", explanation=told, judge_tokens=preference.tokens)
    orders = "in both orders" if preference.consistent else "though not in both orders"
    told = f"better than the reference: {preference.first:.3f}, {orders}"
    return Score(preference.first, None, explanation=told, judge_tokens=preference.tokens)
