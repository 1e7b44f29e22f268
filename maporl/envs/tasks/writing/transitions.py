"""Transition words, in twelve categories: how a text shows that its sentences belong together.

The categories are the usual ones of handbooks of writing; the words are for the most part the explicit connectives of the Penn Discourse
Treebank (Prasad et al. 2008) under their senses. A word may be in several.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from maporl.envs.verifiers.english.function_words import words

__all__ = ["TRANSITIONS", "Transitions"]

TRANSITIONS: Mapping[str, Sequence[str]] = {
    name: [phrase.strip() for phrase in phrases.split(",")]
    for name, phrases in {
        "addition": "also, in addition, additionally, further, furthermore, moreover, "
        "besides, as well as, what is more, not only, plus, too",
        "example": "for example, for instance, such as, in particular, particularly, "
        "especially, including, namely, notably, to illustrate",
        "restatement": "in other words, that is, put differently, to put it differently, "
        "specifically, more precisely, to be precise, i e",
        "cause": "because, therefore, thus, hence, so, consequently, "
        "accordingly, as a result, thereby, due to, owing to, for this reason",
        "contrast": "but, however, in contrast, by contrast, whereas, while, "
        "conversely, on the contrary, on the other hand, instead, rather, yet",
        "sequence": "first, firstly, second, secondly, third, thirdly, "
        "next, then, finally, lastly, to begin with, subsequently, afterwards",
        "emphasis": "indeed, in fact, clearly, certainly, of course, "
        "above all, most importantly, importantly, significantly, undoubtedly",
        "summary": "in summary, to summarize, in short, in brief, in sum, "
        "to sum up, in conclusion, to conclude, overall, all in all, ultimately",
        "comparison": "similarly, likewise, in the same way, equally, just as, "
        "by comparison, in comparison, compared to, compared with, much like",
        "concession": "although, though, even though, despite, in spite of, "
        "nevertheless, nonetheless, even so, still, regardless, admittedly",
        "condition": "if, unless, provided that, assuming that, as long as, "
        "in case, given that, otherwise, or else, whether or not, even if",
        "time": "when, before, after, until, since, meanwhile, during, "
        "later, earlier, previously, recently, at the same time, as soon as, once",
    }.items()
}


class Transitions:
    """Finds the categories of a text; a phrase is found where its words stand as words ("so" is not in "some").

    Args:
        phrases: Category -> its words and phrases.
    """

    def __init__(self, phrases: Mapping[str, Iterable[str]] = TRANSITIONS) -> None:
        self._single: dict[str, set[str]] = {}  # word -> its categories
        self._several: list[tuple[str, str]] = []  # (" in short ", category)
        for category, members in phrases.items():
            for phrase in map(words, members):
                if len(phrase) == 1:
                    self._single.setdefault(phrase[0], set()).add(category)
                else:
                    self._several.append((f" {' '.join(phrase)} ", category))

    def __call__(self, said: Sequence[str]) -> set[str]:
        """The categories of which a text has a word.

        Args:
            said: The text's words (`maporl.envs.verifiers.english.function_words.words`).
        """
        found: set[str] = set()
        found.update(*(self._single[word] for word in self._single.keys() & set(said)))
        line = f" {' '.join(said)} "
        found.update(category for phrase, category in self._several if category not in found and phrase in line)
        return found
