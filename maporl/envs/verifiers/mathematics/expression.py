"""Mathematical equivalence by Math-Verify, with a shortcut for plain numbers and a time limit that holds."""

from __future__ import annotations

from dataclasses import dataclass

from maporl.envs.verifiers.markers import boxed
from maporl.envs.verifiers.math_spelling import plain_number, spelled
from maporl.envs.verifiers.math_worker import shared_worker
from maporl.envs.verifiers.verifier import AnswerVerifier, no_answer, verdict
from maporl.errors import UserValueError
from maporl.types import Question, Score

__all__ = ["MathExpression"]

_DELIMITERS = ("$", "\\(", "\\[", "\\boxed")


def _only_box(response: str) -> str | None:
    """The inside of the one box of a response in which Math-Verify, too, would look nowhere else."""
    at = response.find("\\boxed{")
    if at < 0 or response.find("\\boxed", at + 1) >= 0 or "final answer" in response.lower():
        return None
    return boxed(response, at)


@dataclass(frozen=True)
class MathExpression(AnswerVerifier):
    """The response's expression, set, interval, matrix ... equals the gold one, as Math-Verify sees it.

    It looks for "final answer is ...", ``\\boxed{...}``, "answer: ...", then any LaTeX or number, and takes the last. What
    runs longer than `timeout` is killed: status "timeout", correct None, worth 0. Answers that are the same integer, decimal or
    fraction are spelled alike (`maporl.envs.verifiers.math_spelling`).

    Args:
        match_types: What may be extracted: "latex", "expr" (plain numbers and arithmetic), or both.
        precision: Decimal places that count when one side has a decimal point.
        strict: Variable names matter, and a tuple is not a set.
        allow_set_relation_comp: ``1 < x < 2`` may equal ``(1, 2)`` whichever side is the gold one.
        timeout: Seconds per response.
    """

    match_types: tuple[str, ...] = ("latex", "expr")
    precision: int = 6
    strict: bool = True
    allow_set_relation_comp: bool = False
    timeout: float = 5.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "match_types", tuple(self.match_types))  # YAML gives a list
        if not self.match_types or not set(self.match_types) <= {"latex", "expr"}:
            raise UserValueError(f"match_types={self.match_types!r}; choose from 'latex' and 'expr'.")
        if not self.timeout > 0:
            raise UserValueError(f"timeout={self.timeout!r}; it must be a positive number of seconds.")

    def judge(self, question: Question, text: str) -> Score:
        return self._shortcut(question.answer, text) or self._ask(question.answer, text)

    def check_gold(self, question: Question) -> None:
        gold = question.answer.strip()
        if not gold or gold.count("{") - gold.count("\\{") != gold.count("}") - gold.count("\\}"):
            fault = "has unbalanced braces" if gold else "is empty"
            raise UserValueError(
                f"question {question.id}: gold answer {gold[:80]!r} {fault}; correct or remove the row."
            )

    def equivalent(self, a: str, b: str) -> bool:
        """Math-Verify is not symmetric (x = 5 and 5), a vote is: either direction will do."""
        if a.strip() == b.strip():
            return True
        pairs = ((a, f"\\boxed{{{b}}}"), (b, f"\\boxed{{{a}}}"))
        return any(self(Question("", gold), response).correct is True for gold, response in pairs)

    def _shortcut(self, gold: str, response: str) -> Score | None:
        """The verdict where no parser is needed: one box with the very text of the gold answer, or two plain numbers."""
        answer = _only_box(response) if "latex" in self.match_types else None
        if answer is None:
            return None
        if answer.strip() == gold.strip() and answer.strip():
            return verdict(True, spelled(answer))
        a, b = plain_number(answer), plain_number(gold)
        if a is None or b is None:
            return None
        exact = not (a[1] or b[1])
        same = a[0] == b[0] if exact else round(a[0], self.precision) == round(b[0], self.precision)
        return verdict(same, spelled(answer), f"{answer.strip()} against {gold.strip()}")

    def _ask(self, gold: str, response: str) -> Score:
        # In a box a bare "1,2" is a list; as plain text Math-Verify would read a decimal comma.
        bare = not any(mark in gold.replace("\\$", "") for mark in _DELIMITERS)
        reply = shared_worker().ask(
            self.timeout,
            gold=f"\\boxed{{{gold}}}" if bare and "latex" in self.match_types else gold,
            response=response,
            match_types=self.match_types,
            precision=self.precision,
            strict=self.strict,
            allow_set_relation_comp=self.allow_set_relation_comp,
        )
        status, found = reply["status"], reply["answer"]
        answer = None if found is None else spelled(found)
        if status == "ok":
            return verdict(reply["correct"], answer, f"{found} against {gold.strip()}")
        if status == "no_answer":
            return no_answer("no expression in the response")
        reasons = {"timeout": f"no verdict within {self.timeout:g} s", "error": "Math-Verify failed on this pair"}
        return Score(0.0, None, answer, status, reasons[status])
