"""The published reward of two texts that belong together (MAGRPO 2508.04652, section on writing): four levels of form, no content.

| level | asks | pays | |
|---|---|---|---|
| 1 | words of either text | .5 | else stop |
| 2 | length of the second / length of the first, in characters | 1, less beside the best range | beyond the outer one stop |
| 3 | different words of the second / of the first | .5, likewise | likewise |
| 4 | transition words, and content words in common | .4 min(.4 + .05 (c - 1), 1) + .6 min(J, cap) / cap | |

c is the number of categories of transition words, J the Jaccard index of the texts' content words. At an outer bound a level pays
nothing, and the next one is asked. With all 12 categories the whole is 2.98, the most there is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from maporl.envs.tasks.writing.transitions import Transitions
from maporl.envs.verifiers.english.function_words import FUNCTION_WORDS, words

__all__ = ["ARXIV", "MOST", "TLDR", "Band", "Form", "Language", "form_of"]

MOST = 2.98
"""What perfect form earns: .5 + 1 + .5 + .4 * .95 + .6."""


@dataclass(frozen=True)
class Band:
    """1 from `best` to `worst`, falling in straight lines to 0 at the outer bounds.

    Attributes:
        least, best, worst, most: The bounds, in this order.
    """

    least: float
    best: float
    worst: float = math.inf
    most: float = math.inf

    def __call__(self, ratio: float) -> float | None:
        """What a ratio earns; None beyond the outer bounds."""
        if not self.least <= ratio <= self.most:
            return None
        if ratio < self.best:
            return (ratio - self.least) / (self.best - self.least)
        return 1.0 if ratio <= self.worst else (self.most - ratio) / (self.most - self.worst)


@dataclass(frozen=True)
class Language:
    """What the form knows of a language.

    Attributes:
        transitions: A text's words -> the categories of transition words among them.
        function_words: Words without content.
    """

    transitions: Callable[[Sequence[str]], set[str]] = field(default_factory=Transitions)
    function_words: frozenset[str] = FUNCTION_WORDS


ENGLISH = Language()


@dataclass(frozen=True)
class Form:
    """What form is asked for.

    Attributes:
        words: The least and the greatest number of words of either text, as spaces part them.
        length: Of the ratio of lengths.
        vocabulary: Of the ratio of numbers of different words.
        common: The Jaccard index of content words from which on more earns no more.
        transitions_of_both: Transition words of both texts count, not those of the second alone.
    """

    words: tuple[int, int]
    length: Band
    vocabulary: Band
    common: float
    transitions_of_both: bool


TLDR = Form((8, 256), Band(1.1, 1.6, 3.2, 5.0), Band(1.3, 2.0), 0.03, transitions_of_both=False)
ARXIV = Form((128, 256), Band(0.8, 1.3, 1.6, 2.0), Band(0.5, 0.7, 1.3, 1.7), 0.23, transitions_of_both=True)


@dataclass(frozen=True)
class Formed:
    """What the form of two texts is worth.

    Attributes:
        reward: In [0, 2.98].
        stopped: Which level ended it, "" if none did.
        measures: What the levels measured, as far as they were asked.
    """

    reward: float
    stopped: str
    measures: Mapping[str, float]


def form_of(form: Form, first: str, second: str, language: Language = ENGLISH) -> Formed:
    """The published reward of a team's two texts, whatever they are."""
    measures: dict[str, float] = {"first_words": len(first.split()), "second_words": len(second.split())}
    least, most = form.words
    if not all(least <= count <= most for count in measures.values()):
        counts = " and ".join(f"{count:.0f}" for count in measures.values())
        return Formed(0.0, f"{counts} words, not {least} to {most} each", measures)
    reward = 0.5

    measures["length_ratio"] = len(second) / len(first)
    length = form.length(measures["length_ratio"])
    if length is None:
        return Formed(reward, f"the second is {measures['length_ratio']:.2f} times as long as the first", measures)
    reward += length

    said = words(first), words(second)
    different = [set(text) for text in said]
    if not different[0]:
        return Formed(reward, "the first has no words", measures)
    measures["vocabulary_ratio"] = len(different[1]) / len(different[0])
    vocabulary = form.vocabulary(measures["vocabulary_ratio"])
    if vocabulary is None:
        return Formed(
            reward, f"the second has {measures['vocabulary_ratio']:.2f} times as many different words", measures
        )
    reward += 0.5 * vocabulary

    found = language.transitions(said[1])
    if form.transitions_of_both:
        found = found | language.transitions(said[0])
    ours, theirs = (text - language.function_words for text in different)
    measures["transitions"] = len(found)
    measures["jaccard"] = len(ours & theirs) / max(len(ours | theirs), 1)
    reward += 0.4 * min(0.4 + 0.05 * (len(found) - 1), 1.0)
    return Formed(reward + 0.6 * min(measures["jaccard"], form.common) / form.common, "", measures)
