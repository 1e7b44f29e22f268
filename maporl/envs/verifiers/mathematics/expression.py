"""Mathematical equivalence: one spelling for what needs no algebra, Math-Verify in killable processes for what does."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from maporl.envs.verifiers.markers import BOX
from maporl.envs.verifiers.mathematics.answers import answer_in
from maporl.envs.verifiers.mathematics.shape import too_hard
from maporl.envs.verifiers.mathematics.spelling import brackets, close, is_text, name_of, same_text, spelled
from maporl.envs.verifiers.mathematics.workers import shared_workers
from maporl.envs.verifiers.verifier import AnswerVerifier, no_answer, verdict
from maporl.errors import UserValueError
from maporl.types import Question, Score

__all__ = ["MathExpression"]

_DELIMITERS = ("$", "\\(", "\\[", "\\boxed", "\\fbox")


@dataclass(frozen=True)
class MathExpression(AnswerVerifier):
    """The response's expression, set, interval, matrix ... equals the gold one.

    The answer is what the response ends on (`maporl.envs.verifiers.mathematics.answers`), in the one spelling of its kind (`.spelling`).
    Numbers and words are compared here, everything else by Math-Verify. What runs longer than `timeout`, or might for ever by its shape
    (`.shape`), is right if it is the gold text, else nobody knows: status "timeout", correct None, worth 0.

    Args:
        match_types: What may be extracted: "latex", "expr" (plain numbers and arithmetic), or both.
        precision: Decimal places that count when one side has a decimal point.
        strict: Variable names matter, and a tuple is not a set.
        allow_set_relation_comp: ``1 < x < 2`` may equal ``(1, 2)`` whichever side is the gold one.
        timeout: Seconds of computing per response.
        budget: Seconds of computing that a batch of several may lose in time-outs; once they are spent, each further answer gets a
            fiftieth of `timeout`.
    """

    match_types: tuple[str, ...] = ("latex", "expr")
    precision: int = 6
    strict: bool = True
    allow_set_relation_comp: bool = False
    timeout: float = 5.0
    budget: float = 2.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "match_types", tuple(self.match_types))  # YAML gives a list
        if not self.match_types or not set(self.match_types) <= {"latex", "expr"}:
            raise UserValueError(f"match_types={self.match_types!r}; choose from 'latex' and 'expr'.")
        for name in ("timeout", "budget"):
            if not getattr(self, name) > 0:
                raise UserValueError(f"{name}={getattr(self, name)!r}; it must be a positive number of seconds.")

    def check_gold(self, question: Question) -> None:
        gold = question.answer.strip()
        unbalanced = gold.count("{") - gold.count("\\{") != gold.count("}") - gold.count("\\}")
        if not spelled(_gold(gold, self.match_types)) or unbalanced:
            fault = "has unbalanced braces" if unbalanced else "is empty"
            raise UserValueError(
                f"question {question.id}: gold answer {gold[:80]!r} {fault}; correct or remove the row."
            )

    def judge(self, question: Question, text: str) -> Score:
        return self.judge_batch([question], [text])[0]

    def judge_batch(self, questions: Sequence[Question], texts: Sequence[str]) -> list[Score]:
        golds = [_gold(question.answer, self.match_types) for question in questions]
        found = [answer_in(text, self.match_types) for text in texts]
        answers = [None if one is None else spelled(one) or None for one in found]
        pairs = [(g, f) for g, f, a in zip(golds, found, answers, strict=True) if f is not None and a is not None]
        verdicts = iter(self._compared(pairs))
        return [
            no_answer("no expression in the response") if answer is None else self._score(next(verdicts), answer, gold)
            for answer, gold in zip(answers, golds, strict=True)
        ]

    def _score(self, reply: bool | str, answer: str, gold: str) -> Score:
        if isinstance(reply, bool):
            return verdict(reply, answer, f"{answer} against {spelled(gold)}")
        refused = too_hard(answer) or too_hard(spelled(gold))
        late = f"no verdict within {self.timeout:g} s" + (f": {refused}" if refused else "")
        return Score(0.0, None, answer, reply, late if reply == "timeout" else "Math-Verify failed on this pair")

    def equivalent(self, a: str, b: str) -> bool:
        """What is right by the same gold is the same vote: 5 and x = 5, 50% and 50. Math-Verify is not symmetric, a vote is: either
        direction will do. Who counts votes compares many, so a pair gets a fifth of `timeout`."""
        a, b = sorted((spelled(a), spelled(b)))
        if a == b:
            return True
        number = close(a, b, self.precision, votes=True)
        if number is not None:
            return number
        pairs = [(a, b), (b, a)]
        if "=" in a and "=" in b:  # y = x + 1 and z = x + 1 are both right if the gold answer is x + 1
            pairs.append((a.rpartition("=")[2], b.rpartition("=")[2]))
        elif "=" in a or "=" in b:  # 2x + 3 and y - 2x = 3 are both right if it is y = 2x + 3
            bare, equation = (a, b) if "=" in b else (b, a)
            names = set(_VARIABLE.findall(equation)) - set(_VARIABLE.findall(bare))
            pairs += [(f"{name} = {bare}", equation) for name in names if len(names) == 1]
        return any(reply is True for reply in self._compared(pairs, 0.2, votes=True))

    def _compared(self, pairs: Sequence[tuple[str, str]], share: float = 1.0, votes: bool = False) -> list[bool | str]:
        """Of (gold, answer) each: whether the answer is right, or why nobody knows ("timeout", "error"); in a share of the time.

        As `votes` a set and a tuple are one: either is right where the gold answer has no brackets.
        """
        replies: list[bool | str | None] = [self._at_once(gold, answer, votes) for gold, answer in pairs]
        asked = [n for n, reply in enumerate(replies) if reply is None]
        requests = [self._request(*pairs[n]) for n in asked]
        if requests:
            told_all = shared_workers().ask_all(requests, share * self.timeout, share * self.budget)
            for n, told in zip(asked, told_all, strict=True):
                replies[n] = bool(told["correct"]) if told["status"] in ("ok", "no_answer") else told["status"]
        return [False if reply is None else reply for reply in replies]

    def _at_once(self, gold: str, answer: str, votes: bool) -> bool | str | None:
        """The verdict where no parser is needed, "timeout" where none should be asked."""
        right, said = spelled(gold), spelled(answer)
        names = name_of(gold), name_of(answer)
        if self.strict and None not in names and names[0] != names[1]:
            return False  # x = 5 and y = 5
        if right == said:
            return True
        if self.strict and not votes and {brackets(right), brackets(said)} == {"{", "("}:
            return False
        number = close(right, said, self.precision)
        if number is not None:
            return number
        if is_text(right) or is_text(said):
            return same_text(right, said)
        return "timeout" if too_hard(right) or too_hard(said) else None

    def _request(self, gold: str, answer: str) -> dict[str, Any]:
        return {
            "gold": spelled(gold),
            "response": spelled(answer),
            "precision": self.precision,
            "strict": self.strict,
            "allow_set_relation_comp": self.allow_set_relation_comp,
        }


_VARIABLE = re.compile(r"(?<![A-Za-z\\])[A-Za-z](?![A-Za-z])")


@lru_cache(maxsize=8192)
def _gold(answer: str, kinds: tuple[str, ...]) -> str:
    """The gold answer itself, or what it ends on if it is a text with delimiters or a box in it."""
    text = answer.strip()
    bare = "latex" in kinds and not any(mark in text.replace("\\$", "") for mark in _DELIMITERS)
    if bare:
        return text
    unfinished = BOX.split(text)[-1].removeprefix("{")  # a row that was cut off, which `check_gold` refuses
    return answer_in(text, kinds) or unfinished
