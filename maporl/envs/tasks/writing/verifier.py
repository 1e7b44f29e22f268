"""What two texts of one team are worth: their form, what they say, and that they do not say the same."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from maporl.envs.tasks.writing.form import MOST, Form, form_of
from maporl.envs.verifiers import TeamVerifier
from maporl.envs.verifiers.compose import verifier_of
from maporl.envs.verifiers.english.function_words import words
from maporl.envs.verifiers.rouge import LONGEST_TEXT
from maporl.envs.verifiers.verifier import judged
from maporl.reasoning import spoken
from maporl.types import Completion, Question, Score

__all__ = ["DIVIDER", "TwoTexts", "repeated"]

DIVIDER = "---"
"""A line of nothing else divides the texts of who writes both."""

_DIVIDER = re.compile(rf"^[ \t]*{DIVIDER}[ \t]*$", re.MULTILINE)


def repeated(first: str, second: str) -> float:
    """The share of one text that the other says word for word: of the different trigrams of the one with fewer, those in the other."""
    few, many = sorted((_trigrams(first), _trigrams(second)), key=len)
    return len(few & many) / len(few) if few else 0.0


def _trigrams(text: str) -> set[tuple[str, str, str]]:
    said = words(text)
    return set(zip(said, said[1:], said[2:], strict=False))


class TwoTexts(TeamVerifier):
    """(published reward of their form / 2.98) x content x (1 - the share that is said twice).

    Content is the geometric mean of what a verifier says of either text, so that both must say something. Of a round with two messages
    these are the texts; of any other the last message has both, with a line of `DIVIDER` between them. Reasoning is no part of them.

    Args:
        form: What form is asked for.
        content: Who says what a text is worth to a question, in any form that an environment's `verifier` takes: "rouge", a judge, a
            learned verifier ... None: nobody, and nothing but the published reward is paid.
    """

    rule_based = False  # prose is not right or wrong

    def __init__(self, form: Form, content: Any = "rouge") -> None:
        self.form = form
        self.content = None if content is None else verifier_of(content)

    @property
    def uses_gold(self) -> bool:  # type: ignore[override]
        return self.content is not None and bool(self.content.uses_gold)

    def prepare(self) -> None:
        """See `Verifier.prepare`."""
        if self.content is not None and hasattr(self.content, "prepare"):
            self.content.prepare()

    def __call__(self, question: Question, responses: Mapping[str, str]) -> Score:
        return self.score_batch([question], [responses])[0]

    def score_batch(self, questions: Sequence[Question], responses: Sequence[Mapping[str, str]]) -> list[Score]:
        pairs = [texts_of(list(joint.values())) for joint in responses]
        if self.content is None:
            return [self._worth(texts, None) for texts in pairs]
        asked = [question for question in questions for _ in range(2)]
        said = judged(self.content, asked, [Completion(text) for texts in pairs for text in texts])
        return [self._worth(texts, said[2 * n : 2 * n + 2]) for n, texts in enumerate(pairs)]

    def _worth(self, texts: tuple[str, str], said: Sequence[Score] | None) -> Score:
        form, twice = form_of(self.form, *texts), repeated(*(text[:LONGEST_TEXT] for text in texts))
        measures = {**form.measures, "published": form.reward, "repeated": twice}
        value, notes = form.reward / MOST, [form.stopped, f"form {form.reward:.2f} of {MOST}", f"repeated {twice:.2f}"]
        failed = ""
        if said is not None:
            first, second = (min(max(score.value, 0.0), 1.0) for score in said)
            content = math.sqrt(first * second)
            measures |= {"first_content": first, "second_content": second, "content": content}
            value *= content * (1 - twice)
            notes += [f"content {content:.2f}", *dict.fromkeys(score.explanation for score in said)]
            failed = next((score.status for score in said if score.status not in ("ok", "no_answer")), "")
        status = failed or ("ok" if all(text.strip() for text in texts) else "no_answer")
        if failed:
            value = 0.0
        return Score(
            value,
            None,
            status=status,
            explanation="; ".join(filter(None, notes)),
            judge_tokens=sum(score.judge_tokens for score in said or ()),
            measures=measures,
        )


def texts_of(messages: Sequence[str]) -> tuple[str, str]:
    """The two texts of a round's messages, "" for one that is not there."""
    said = [spoken(message) or "" for message in messages]
    if len(said) == 2:
        return said[0], said[1]
    first, *rest = _DIVIDER.split(said[-1], maxsplit=1) if said else [""]
    return first.strip(), "".join(rest).strip()
