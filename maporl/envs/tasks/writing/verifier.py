"""What two texts of one team are worth: their form, what they say, and that they do not say the same."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from maporl.envs.tasks.writing.form import MOST, Form, form_of
from maporl.envs.verifiers import AnswerVerifier, TeamVerifier
from maporl.envs.verifiers.compose import verifier_of
from maporl.envs.verifiers.english.function_words import words
from maporl.envs.verifiers.rouge import LONGEST_TEXT
from maporl.envs.verifiers.verifier import judged
from maporl.reasoning import spoken
from maporl.types import Completion, Question, Score

__all__ = ["DIVIDER", "BothTexts", "TwoTexts", "copied", "repeated"]

DIVIDER = "---"
"""A line of nothing else divides the texts of who writes both."""

Trigram = tuple[str, str, str]

_DIVIDER = re.compile(rf"^[ \t]*{DIVIDER}[ \t]*$", re.MULTILINE)


def repeated(first: str, second: str) -> float:
    """The share of one text that the other says word for word: of the different trigrams of the one with fewer, those in the other."""
    few, many = sorted((_trigrams(first), _trigrams(second)), key=len)
    return len(few & many) / len(few) if few else 0.0


def copied(source: str, *texts: str) -> float:
    """The share of the texts, together, that is taken from a source word for word: of their different trigrams, those in it."""
    said = frozenset[Trigram]().union(*map(_trigrams, texts))
    return len(said & _trigrams(source)) / len(said) if said else 0.0


@lru_cache(maxsize=64)  # a group of discussions is about one source, and both figures ask about the same texts
def _trigrams(text: str) -> frozenset[Trigram]:
    said = words(text[:LONGEST_TEXT])
    return frozenset(zip(said, said[1:], said[2:], strict=False))


class Worth:
    """What two texts are worth: (published reward of their form / 2.98) x content x (1 - the share that is said twice).

    Content is the geometric mean of what a verifier says of either text, so that both must say something.

    Args:
        form: What form is asked for.
        content: Who says what a text is worth to a question, in any form that an environment's `verifier` takes: "rouge", a judge, a
            learned verifier ... None: nobody, and nothing but the published reward is paid.
    """

    rule_based: bool = False  # prose is not right or wrong

    def __init__(self, form: Form, content: Any = "rouge") -> None:
        self.form = form
        self.content = None if content is None else verifier_of(content)
        self.uses_gold = self.content is not None and bool(self.content.uses_gold)

    def prepare(self) -> None:
        """See `Verifier.prepare`."""
        if self.content is not None and hasattr(self.content, "prepare"):
            self.content.prepare()

    def of_pairs(self, questions: Sequence[Question], pairs: Sequence[tuple[str, str]]) -> list[Score]:
        """The verdicts on pairs of texts; who says what content is worth is asked once for all texts."""
        if self.content is None:
            return [self._of(question, texts, ()) for question, texts in zip(questions, pairs, strict=True)]
        twice = [question for question in questions for _ in range(2)]
        said = judged(self.content, twice, [Completion(text) for texts in pairs for text in texts])
        verdicts = zip(said[::2], said[1::2], strict=True)
        return [self._of(*asked) for asked in zip(questions, pairs, verdicts, strict=True)]

    def _of(self, question: Question, texts: tuple[str, str], said: Sequence[Score]) -> Score:
        form, twice = form_of(self.form, *texts), repeated(*texts)
        measures = {
            **form.measures,
            "published": form.reward,
            "repeated": twice,
            "copied": copied(question.text, *texts),
        }
        value, status = form.reward / MOST, "ok" if all(text.strip() for text in texts) else "no_answer"
        notes = [form.stopped, f"form {form.reward:.2f} of {MOST}", f"repeated {twice:.2f}"]
        if said:
            first, second = (min(max(score.value, 0.0), 1.0) for score in said)
            content = math.sqrt(first * second)
            measures |= {"first_content": first, "second_content": second, "content": content}
            notes += [f"content {content:.2f}", *dict.fromkeys(score.explanation for score in said)]
            failed = [score.status for score in said if score.status not in ("ok", "no_answer")]
            value, status = (0.0, failed[0]) if failed else (value * content * (1 - twice), status)
        return Score(
            value,
            None,
            status=status,
            explanation="; ".join(filter(None, notes)),
            judge_tokens=sum(score.judge_tokens for score in said),
            measures=measures,
        )


def _two(texts: Sequence[str]) -> tuple[str, str]:
    """The first two, "" for one that is not there."""
    first, second, *_ = *texts, "", ""
    return first, second


class TwoTexts(Worth, TeamVerifier):
    """`Worth` of a round's two messages, in speaking order; reasoning blocks are no part of them."""

    def __call__(self, question: Question, responses: Mapping[str, str]) -> Score:
        return self.score_batch([question], [responses])[0]

    def score_batch(self, questions: Sequence[Question], responses: Sequence[Mapping[str, str]]) -> list[Score]:
        rounds = [[spoken(text) or "" for text in joint.values()] for joint in responses]
        return self.of_pairs(questions, [_two(said) for said in rounds])


class BothTexts(Worth, AnswerVerifier):
    """`Worth` of the two texts of one message, with a line of `DIVIDER` between them."""

    def judge(self, question: Question, text: str) -> Score:
        return self.judge_batch([question], [text])[0]

    def judge_batch(self, questions: Sequence[Question], texts: Sequence[str]) -> list[Score]:
        divided = [[part.strip() for part in _DIVIDER.split(text, maxsplit=1)] for text in texts]
        return self.of_pairs(questions, [_two(parts) for parts in divided])
