"""Answers compared as text: the whole answer, or what a pattern captures."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from maporl.envs.verifiers.markers import marked, plain
from maporl.envs.verifiers.verifier import AnswerVerifier, no_answer, verdict
from maporl.errors import UserValueError
from maporl.types import Question, Score

__all__ = ["Exact", "Regex"]


@dataclass(frozen=True)
class Exact(AnswerVerifier):
    """The response's answer is the gold text.

    The answer is what follows the last explicit marker (``The answer is``, ``Answer:``, ``####``, ``\\boxed{}``) up to the end
    of its line, without a final full stop; without a marker it is the whole response.

    Args:
        ignore_case: Capital and small letters are the same.
        ignore_space: White space of any length is one space, and none at the ends.
    """

    ignore_case: bool = True
    ignore_space: bool = True

    def judge(self, question: Question, text: str) -> Score:
        marks = ((plain(mark.snippet), mark.bounded) for mark in marked(text))
        snippet = next((snippet for snippet, bounded in marks if snippet or bounded), None)
        answer = self._canonical(text) if snippet is None else self._canonical(snippet.removesuffix("."))
        if not answer:
            return no_answer("an empty response")
        # The gold text may itself end in a full stop or hold a marker, so the whole response may match as well.
        gold = self._canonical(question.answer)
        whole = self._canonical(text)
        if gold in (answer, whole, answer + "."):
            answer = gold
        return verdict(answer == gold, answer)

    def check_gold(self, question: Question) -> None:
        _check_not_empty(question)

    def equivalent(self, a: str, b: str) -> bool:
        return self._canonical(a) == self._canonical(b)

    def _canonical(self, text: str) -> str:
        return _canonical(text, self.ignore_case, self.ignore_space)


@dataclass(frozen=True)
class Regex(AnswerVerifier):
    """The last match of a pattern in the response is the gold text; or, with ``uses_gold=False``, there is a match at all.

    The second form is a format check, for a `Gate` or a `WeightedSum`; it sees reasoning blocks, too. A pattern runs in this
    process and without a time limit: nested repeats can take for ever, as in any use of `re`.

    Args:
        pattern: A Python regular expression. Its first group is the answer, or the whole match if it has none.
        uses_gold: Compare with the gold answer.
        ignore_case: Capital and small letters are the same, in the pattern and in the comparison.
        ignore_space: White space of any length is one space in the comparison.

    Raises:
        ValueError: The pattern is no regular expression.
    """

    pattern: str
    uses_gold: bool = True
    ignore_case: bool = False
    ignore_space: bool = True
    _compiled: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            compiled = re.compile(self.pattern, re.IGNORECASE if self.ignore_case else 0)
        except re.error as error:
            raise UserValueError(f"pattern={self.pattern!r} is no regular expression: {error}.") from None
        object.__setattr__(self, "_compiled", compiled)

    def said(self, response: str) -> str | None:
        return super().said(response) if self.uses_gold else response  # a format is one of the whole text

    def judge(self, question: Question, text: str) -> Score:
        last = None
        for last in self._compiled.finditer(text):  # noqa: B007
            pass
        if last is None:
            return no_answer(f"no match of {self.pattern!r}")
        found = last.group(1) if self._compiled.groups else last.group()
        answer = _canonical(found or "", self.ignore_case, self.ignore_space)
        gold = _canonical(question.answer, self.ignore_case, self.ignore_space)
        return verdict(not self.uses_gold or answer == gold, answer)

    def check_gold(self, question: Question) -> None:
        if self.uses_gold:
            _check_not_empty(question)

    def equivalent(self, a: str, b: str) -> bool:
        return _canonical(a, self.ignore_case, self.ignore_space) == _canonical(b, self.ignore_case, self.ignore_space)


def _canonical(text: str, ignore_case: bool, ignore_space: bool) -> str:
    text = " ".join(text.split()) if ignore_space else text
    return text.casefold() if ignore_case else text


def _check_not_empty(question: Question) -> None:
    if not question.answer.strip():
        raise UserValueError(f"question {question.id}: the gold answer is empty; correct or remove the row.")
