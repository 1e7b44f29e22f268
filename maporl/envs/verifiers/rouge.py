"""ROUGE: how much of a text's wording is that of a reference (Lin 2004), by the library rouge-score."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from maporl.envs.verifiers.english.function_words import content_words, words
from maporl.envs.verifiers.verifier import AnswerVerifier, no_answer
from maporl.errors import UserValueError
from maporl.types import Question, Score

__all__ = ["LONGEST_TEXT", "Rouge", "references_of"]

MEASURES = ("fmeasure", "precision", "recall")
LONGEST_TEXT = 20_000  # characters that are read of a text: ROUGE-L takes time by the square of it
LONGEST_WORD = 40  # that is stemmed


def references_of(question: Question) -> list[str]:
    """What a text is held against: the lines of the gold answer, or the question where there are none."""
    return [line for line in question.answer.splitlines() if line.strip()] or [question.text]


class Rouge(AnswerVerifier):
    """The ROUGE of a response and the reference that is most like it. References are the gold answer, a line each; without any
    it is held against the question, which is what a summary or an expansion tells again.

    Words are stemmed (Porter) as in ROUGE's option -m, and function words are left out as in its option -s: any English sentences
    share those. They are read in any script that parts its words; rouge-score's own tokenizer leaves out every letter beyond a to z.
    It says what a text is about, not whether it is true, and it cannot tell a text from a list of the right words.

    Args:
        rouge: "rouge1" to "rouge9" (n-grams) or "rougeL" (longest common subsequence).
        measure: "fmeasure", "precision" or "recall", of the reference with the greatest fmeasure.
        function_words: Keep them.

    Raises:
        ValueError: Another word.
    """

    rule_based = False  # a figure, which does not say what is right

    def __init__(self, rouge: str = "rouge1", measure: str = "fmeasure", function_words: bool = False) -> None:
        if not re.fullmatch("rouge[1-9L]", str(rouge)):
            raise UserValueError(f"rouge {rouge!r} is unknown; use rouge1 to rouge9, or rougeL.")
        if measure not in MEASURES:
            raise UserValueError(f"measure {measure!r} is unknown; use one of {', '.join(MEASURES)}.")
        self.rouge, self.measure, self.function_words = rouge, measure, function_words

    def prepare(self) -> None:
        """See `Verifier.prepare`."""
        _scorer(self.rouge, self.function_words)

    def judge(self, question: Question, text: str) -> Score:
        if not text.strip():
            return no_answer("an empty text")
        references = [reference[:LONGEST_TEXT] for reference in references_of(question)]
        found = _scorer(self.rouge, self.function_words).score_multi(references, text[:LONGEST_TEXT])[self.rouge]
        against = "the nearest reference" if question.answer.strip() else "the question, for there is no reference"
        return Score(float(getattr(found, self.measure)), None, explanation=f"{self.rouge} against {against}")


@lru_cache
def _scorer(rouge: str, function_words: bool) -> Any:
    try:
        from nltk.stem.porter import PorterStemmer
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError:
        raise UserValueError("ROUGE needs the package rouge-score: pip install 'maporl[writing]'") from None
    return RougeScorer([rouge], tokenizer=_Tokenizer(PorterStemmer().stem, function_words))


class _Tokenizer:
    """Stems, as rouge-score asks for them: again and again for the same references."""

    def __init__(self, stem: Callable[[str], str], function_words: bool) -> None:
        stemmed = lru_cache(maxsize=100_000)(stem)
        read = words if function_words else content_words

        @lru_cache(maxsize=1000)
        def tokenize(text: str) -> list[str]:
            return [stemmed(word) if 3 < len(word) <= LONGEST_WORD else word for word in read(text)]

        self.tokenize = tokenize
