"""Multiple choice: letters (``(B)``, ``Answer: B``, ``\\boxed{B}``, the choice's own text) or label words (``entailment``)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from maporl.envs.verifiers.markers import marked, plain
from maporl.envs.verifiers.verifier import AnswerVerifier, no_answer, verdict
from maporl.errors import UserValueError
from maporl.types import Question, Score

__all__ = ["Choice"]

_SENTENCE = re.compile(r"[.;!?](?=\s|$)")
_CLAUSE = re.compile(r"[.;!?](?=\s|$)|\b(?:because|since|as|but|whereas|while|not|rather|instead)\b", re.IGNORECASE)
_NEGATED = re.compile(r"(?:\bnot|n't|\bnever|\bneither|\bnor)\s(?:(?:an?|the|option|choice)\s)?\W{0,3}$", re.IGNORECASE)
_OTHER_MARKER = re.compile(r"\b(?:correct|right|best)\s(?:option|choice|label)\sis\b[:\s]{0,3}", re.IGNORECASE)


@dataclass(frozen=True)
class _Reader:
    """The ways in which the labels of one question are written.

    Attributes:
        start: A label where an answer is expected.
        more: A further label right after it ("B or C").
        mention: A label in the open. There a letter must look like one, for a lone "A" or "I" may be a word.
        alone: A label that is all there is.
        names: Folded label -> label.
    """

    start: re.Pattern[str]
    more: re.Pattern[str]
    mention: re.Pattern[str]
    alone: re.Pattern[str]
    names: Mapping[str, str]

    def name(self, match: re.Match[str]) -> str:
        return self.names[next(group for group in match.groups() if group).casefold()]

    def mentions(self, text: str) -> set[str]:
        """The labels that `text` mentions and does not negate."""
        found = self.mention.finditer(text)
        return {
            self.name(match) for match in found if not _NEGATED.search(text[max(0, match.start() - 20) : match.start()])
        }


@lru_cache(maxsize=256)
def _reader(labels: tuple[str, ...]) -> _Reader:
    one = "|".join(re.escape(label) for label in sorted(labels, key=len, reverse=True))
    names = {label.casefold(): label for label in labels}
    alone = re.compile(rf"[^\w-]*({one})\W*", re.IGNORECASE)
    if all(len(label) > 1 for label in labels):
        word = re.compile(rf"(?<!\w)({one})(?!\w)", re.IGNORECASE)
        return _Reader(word, word, word, alone, names)
    # A small letter counts only before punctuation: "the answer is a bank".
    label = rf"(?:({one})(?![\w'])|((?i:{one}))(?=\s?(?:[.,:;)*\]/]|$)))"
    start = re.compile(rf"\W*(?:(?i:option|choice|letter|either|probably|clearly|definitely)\s\W*)*{label}")
    more = re.compile(rf"\W{{0,3}}\s?(?:\b(?i:or|and)\b|[,/&|])\s?(?:(?i:option|choice)\s)?\W{{0,3}}{label}")
    mention = re.compile(
        rf"(?<![\w'])({one})\)|\b(?i:option|choice|letter)\s\W{{0,3}}({one})(?!\w)|^[ \t*_>#-]*({one})[.:](?!\w)",
        re.MULTILINE,
    )
    return _Reader(start, more, mention, alone, names)


def _normal(text: str) -> str:
    """Words only, folded, without a leading article: how the text of a choice is compared."""
    words = re.findall(r"\w+", text.casefold())
    return " ".join(words[1:] if len(words) > 1 and words[0] in ("a", "an", "the") else words)


def _by_text(snippet: str, choices: Mapping[str, str]) -> str | None:
    """The label whose text `snippet` begins with: the longest such text, None if two choices share it."""
    said = _normal(snippet)
    texts = {label: _normal(text) for label, text in choices.items()}
    fits = [label for label, text in texts.items() if text and (said == text or said.startswith(text + " "))]
    longest = max((len(texts[label]) for label in fits), default=0)
    best = [label for label in fits if len(texts[label]) == longest]
    return best[0] if len(best) == 1 else None


def _snippets(response: str) -> Iterator[str]:
    """What follows each explicit marker, the most binding first, up to the end of its line."""
    for snippet, _ in marked(response):
        yield plain(snippet)
    for match in list(_OTHER_MARKER.finditer(response))[:-17:-1]:
        yield plain(response[match.end() : match.end() + 200].split("\n", 1)[0])


def _read_snippet(snippet: str, reader: _Reader, choices: Mapping[str, str]) -> set[str]:
    """The labels that a snippet after a marker gives: none, the answer, or several, which is no answer."""
    clause = _CLAUSE.split(snippet, maxsplit=1)[0]
    first = reader.start.match(clause)
    if reader.start is reader.mention or first is None:
        found = reader.mentions(clause)
    else:
        more = reader.more.match(clause, first.end())
        found = {reader.name(first), *reader.mentions(clause), *([reader.name(more)] if more else [])}
    text = _by_text(_SENTENCE.split(snippet, maxsplit=1)[0], choices) if not found else None
    return found or ({text} if text else set())


def _extract(response: str, choices: Mapping[str, str]) -> str | None:
    reader = _reader(tuple(choices))
    for snippet in _snippets(response):
        found = _read_snippet(snippet, reader, choices)
        if found:
            return found.pop() if len(found) == 1 else None
    lines = [line for line in (plain(line) for line in response.rstrip()[-2000:].split("\n")) if line]
    final = [reader.alone.fullmatch(line) for line in lines[-2:]]
    if final and final[-1] and (len(final) == 1 or final[0] is None or reader.name(final[0]) == reader.name(final[-1])):
        return reader.name(final[-1])
    found = reader.mentions(response)
    if len(found) == 1:
        return found.pop()
    said = {label for line in lines for label, text in choices.items() if text and _normal(line) == _normal(text)}
    return said.pop() if not found and len(said) == 1 else None


@dataclass(frozen=True)
class Choice(AnswerVerifier):
    """The response chooses the gold label.

    Read, in this order: what follows the last explicit marker (``The answer is``, ``Answer:``, ``\\boxed{}``); a last line
    that is a label alone; the only label that the whole response mentions (a letter only where it looks like a label:
    ``(B)``, ``option B``); a line that is the text of a choice. Two labels in one place, a negated one and a mere list of
    the choices are no answer. A label beats a text that contradicts it.

    Args:
        labels: Allowed answers, as gold answers spell them. A question's own ``metadata["choices"]``, a mapping of
            label -> text, replaces them.
    """

    labels: tuple[str, ...] = ("A", "B", "C", "D", "E")

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", tuple(self.labels))  # YAML gives a list
        if not all(isinstance(x, str) and x.strip() for x in self.labels) or len({*map(str.casefold, self.labels)}) < 2:
            raise UserValueError(f"labels={self.labels!r}; give at least two different non-empty strings.")

    def judge(self, question: Question, text: str) -> Score:
        answer, gold = _extract(text, self._choices(question)), question.answer.strip()
        if answer is None:
            return no_answer("no choice, or more than one")
        return verdict(answer == gold, answer, f"{answer} against {gold}")

    def check_gold(self, question: Question) -> None:
        labels = tuple(self._choices(question))
        if question.answer.strip() not in labels:
            raise UserValueError(
                f"question {question.id}: gold answer {question.answer[:80]!r} is none of the choices "
                f"{', '.join(labels)}; correct or remove the row."
            )

    def _choices(self, question: Question) -> Mapping[str, str]:
        own = question.metadata.get("choices")
        return own if isinstance(own, Mapping) and own else dict.fromkeys(self.labels, "")
