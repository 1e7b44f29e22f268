"""Multiple choice: letters (``(B)``, ``Answer: B``, ``\\boxed{B}``, the choice's own text) or label words (``entailment``)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from maporl.envs.verifiers.english.groups import Group, Stance
from maporl.envs.verifiers.english.reading import groups_in, groups_of, parts_of
from maporl.envs.verifiers.english.tokens import Name, Names, Words, lexer, words_of
from maporl.envs.verifiers.markers import unstyled
from maporl.envs.verifiers.verifier import AnswerVerifier, no_answer, verdict
from maporl.errors import UserValueError
from maporl.types import Question, Score

__all__ = ["Choice"]

_LONGEST = 20_000  # characters that are read, from the end
_LOST = re.compile(r"[\u200b-\u200f\u2060\ufeff*`$]|(?<!\w)_+|_+(?!\w)|\\[^a-zA-Z]")
_QUOTES = str.maketrans("‘’“”「」", '\'\'""""')
_AROUND = " \t\r\n()[]{}<>\"'"
_PARTICLES = (("yes",), ("no",))


@dataclass(frozen=True)
class _Reader:
    """How the choices of one question are named.

    Attributes:
        names: Labels and texts of the choices.
        labels: Labels alone.
        words: The first letters and digits of all texts.
        same: Label -> the first label with the same text, which stands for both.
    """

    names: Names
    labels: Names
    words: frozenset[str]
    same: Mapping[str, str]

    def read(self, part: str) -> tuple[list[Group], int]:
        """(what a part of a text names, the number of its lines)."""
        names = self.labels if self.words.isdisjoint(_WORD.findall(part.lower())) else self.names
        return _remembered(part, names) if len(part) < _SHORT else groups_in(part, 0, len(part), names)


_WORD = re.compile(r"[^\W_]+")
_SHORT = 200  # characters of a part that is remembered: most teams end their messages in the same few ways


@lru_cache(maxsize=16384)
def _remembered(part: str, names: Names) -> tuple[list[Group], int]:
    return groups_in(part, 0, len(part), names)


def _readable(text: str) -> str:
    """Without styling; letters and quotation marks in their usual form."""
    if text.isascii() and text.replace(" ", "").isalnum():
        return text
    usual = text if text.isascii() else unicodedata.normalize("NFKC", text).translate(_QUOTES)
    return _LOST.sub(" ", unstyled(usual) if "\\" in usual else usual)


@lru_cache(maxsize=64)
def _lexer(letters: tuple[str, ...]) -> re.Pattern[str]:
    """Finds names of one character: marked as such, or bare."""
    written = {way for letter in letters for way in (letter, letter.upper()) if way.lower() == letter}
    one = f"(?-i:{'|'.join(map(re.escape, sorted(written))) or '(?!)'})"
    return lexer(
        rf"(?P<name_marked>[(\[{{<]\s?{one}\s?[)\]}}>]|(?<![\w'\"]){one}\)|(?<!\w)(?P<q>[\"']){one}(?P=q))"
        rf"|(?P<name_bare>(?<![\w'.]){one}(?![\w'-]|[.,]\d|\+\+|#\s))"
    )


@lru_cache(maxsize=1024)
def _labels(ways: tuple[tuple[str, str, bool], ...]) -> Names:
    """The names of labels; and of texts of one character, which the labels that come after them beat.

    Args:
        ways: (how it is written, what it stands for, whether it is a label) each.
    """
    said = [(_readable(way), Name(value, label)) for way, value, label in ways]
    letters = {letter: name for way, name in said if len(letter := way.strip(_AROUND).lower()) == 1}
    bare = {letter: name._replace(bare="letter") for letter, name in letters.items()}
    split = _lexer(tuple(sorted(letters)))

    def of(match: re.Match[str]) -> Name:
        written = match.group().strip(_AROUND).lower()
        return bare[written] if match.lastgroup == "name_bare" else letters[written]

    named: dict[Words, Name] = {}
    for way, name in said:
        if name.label and len("".join(words := words_of(way, split))) > 1:
            named[words] = name._replace(bare="particle") if words in _PARTICLES else name
    return Names(split, of, named)


@lru_cache(maxsize=4096)
def _reader(choices: tuple[tuple[str, str, tuple[str, ...]], ...]) -> _Reader:
    """Args:
    choices: (label, text, other spellings of the label) each.
    """
    first: dict[str, str] = {}
    same = {
        label: first.setdefault(" ".join(text.casefold().split()), label) if text else label
        for label, text, _ in choices
    }
    texts = [(_readable(text), same[label]) for label, text, _ in choices if text]
    letters = tuple((text, value, False) for text, value in texts if len(text.strip(_AROUND)) == 1)
    labels = _labels(letters + tuple((way, same[x], True) for x, _, others in choices for way in (x, *others)))
    values: dict[Words, str] = {}
    for text, value in texts:
        words = words_of(text, labels.split)
        values[words] = value if values.get(words, value) == value else ""  # they differ by an article only
    named = {words: Name(value, label=False) for words, value in values.items() if value and len("".join(words)) > 1}
    starts = frozenset(found.group() for words in named if (found := _WORD.search(" ".join(words))))
    return _Reader(Names(labels.split, labels.of, named | dict(labels.words)), labels, starts, same)


def _extract(text: str, reader: _Reader) -> str | None:
    """The last claim that names a label or is sure, else the last claim, else the only choice that is named."""
    text = _readable(text[-_LONGEST:])
    parts: list[tuple[list[Group], int]] = []
    alone = False
    for start, end in parts_of(text):
        parts.append(reader.read(text[start:end]))
        alone = alone or any(group.alone for group in parts[-1][0])
        for group in () if alone else reversed(parts[-1][0]):
            if group.stance is Stance.CLAIMED and (group.sure or group.label):
                return _only(group.values)  # nothing before it can matter
    groups, lines = [], 0
    for found, number in reversed(parts):
        groups += [replace(group, line=group.line + lines) for group in found]
        lines += number
    listed = _lists(groups)
    claimed = [
        group for group in groups if group.stance is Stance.CLAIMED and not (group.alone and group.line in listed)
    ]
    for pool in ([group for group in claimed if group.sure or group.label], claimed):
        if pool:
            return _only(pool[-1].values)
    named = [group for group in groups if group.stance is not Stance.ASIDE]
    if not any(group.label for group in named):  # the text of a choice is a word like any other
        last = _readable(text.rstrip().rpartition("\n")[2])
        said = groups_of(last, reader.names) if len({*_values(named)}) == 1 else []
        named = [group for group in said if group.stance is not Stance.ASIDE and not group.said_of]
    return _only({*_values(named)})


def _values(groups: list[Group]) -> Iterator[str]:
    return (value for group in groups for value in group.values)


def _only(values: set[str]) -> str | None:
    return next(iter(values)) if len(values) == 1 else None


def _lists(groups: list[Group]) -> set[int]:
    """Lines that are a choice alone, beside such a line of another choice."""
    alone: dict[int, set[str]] = {}
    for group in groups:
        if group.alone:
            alone.setdefault(group.line, set()).update(group.values)
    return {line for line in alone if any(alone.get(line + n, alone[line]) != alone[line] for n in (-1, 1))}


@dataclass(frozen=True)
class Choice(AnswerVerifier):
    """The response chooses the gold label.

    Labels and the texts of the choices are found, and what the response says of them decides (`maporl.envs.verifiers.english.claims`):
    the last one that it takes as its answer, else the only one that it names. One that is denied, asked, somebody else's or given up is
    none; two side by side are no answer. A label beats a text that contradicts it, and choices with the same text are one choice.

    Args:
        labels: Allowed answers, as gold answers spell them. A question's own ``metadata["choices"]``, a mapping of
            label -> text, or texts, replaces them; a list instead of a text holds other spellings of the label.
    """

    labels: tuple[str, ...] | Mapping[str, Sequence[str]] = ("A", "B", "C", "D", "E")

    def __post_init__(self) -> None:
        if not isinstance(self.labels, Mapping):
            object.__setattr__(self, "labels", tuple(self.labels))  # YAML gives a list
        if not all(isinstance(x, str) and x.strip() for x in self.labels) or len({*map(str.casefold, self.labels)}) < 2:
            raise UserValueError(f"labels={self.labels!r}; give at least two different non-empty strings.")

    def judge(self, question: Question, text: str) -> Score:
        reader = self._reader(question)
        answer, gold = _extract(text, reader), question.answer.strip()
        if answer is None:
            return no_answer("no choice, or more than one")
        return verdict(answer == reader.same.get(gold), answer, f"{answer} against {gold}")

    def check_gold(self, question: Question) -> None:
        labels = tuple(self._choices(question))
        if question.answer.strip() not in labels:
            raise UserValueError(
                f"question {question.id}: gold answer {question.answer[:80]!r} is none of the choices "
                f"{', '.join(labels)}; correct or remove the row."
            )

    def _reader(self, question: Question) -> _Reader:
        choices = self._choices(question).items()
        return _reader(
            tuple((x, said, ()) if isinstance(said, str) else (x, "", tuple(map(str, said))) for x, said in choices)
        )

    def _choices(self, question: Question) -> Mapping[str, Any]:
        own = question.metadata.get("choices")
        if isinstance(own, Mapping) and own:
            return own
        return self.labels if isinstance(self.labels, Mapping) else dict.fromkeys(self.labels, "")
