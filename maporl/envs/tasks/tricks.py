"""Tricks: a program is a list of words; each agent knows one word that makes it faster, and together they know all three.

| specification | |
|---|---|
| agents | 3, one per trick (more know nothing, of two or one nobody knows the rest); 1: a lone agent gets one seat's trick, see `view` |
| private | "tile makes it 1.5 times as fast." |
| question | "Make the sorter faster." |
| answer | "Program: tile fuse": words in any order; nothing after it is the original |
| verifier | stands for running the program: the speed-up is the product of the tricks in it, which the question's metadata has |
| faults | any other of the ten words is a decoy, which breaks it; what is no word of them, or no "Program:", cannot be built |
| reward | outcome credit of the share of 3.6 that is reached |
| ceiling | 3.6 for a team that tells its lessons; for a lone agent 2.0 in the best seat, 1.53 over all (geometric mean) |
| questions | ordered tricks x which seat knows which = 720 x 3 = 2160, a fifth of the triples held out as "test" |
| source | this project; the shape is LessonL's (2505.23946): code optimisation, in which one agent's find is another's lesson |
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from typing import Any, ClassVar

from maporl.envs.discussion import DiscussionEnv
from maporl.envs.protocols.lesson_bank import SPEEDUP
from maporl.envs.tasks.combinations import of_split
from maporl.envs.verifiers import Verifier
from maporl.types import Observation, Question, Score

__all__ = ["BEST", "SPEEDUPS", "WORDS", "SpeedOfWords", "Tricks", "said"]

WORDS = ("cache", "fuse", "hoist", "inline", "merge", "pack", "prune", "sort", "tile", "unroll")
SPEEDUPS = (1.2, 1.5, 2.0)
BEST = math.prod(SPEEDUPS)
PROGRAMS = ("sorter", "parser", "solver", "router")


class SpeedOfWords(Verifier):
    """How fast a program of words is: its value the share of the best speed-up, the measure "speedup" the speed-up, 0 if it is wrong."""

    uses_gold = False

    def __call__(self, question: Question, response: str) -> Score:
        _, marker, said = response.rpartition("Program:")
        words = set(re.findall(r"\w+", said.partition("\n")[0]))
        if not marker or (unknown := sorted(words.difference(WORDS))):
            told = f"there is no word {unknown[0][:40]!r}" if marker else "no 'Program:' in it"
            return Score(0.0, False, None, "no_answer", told, measures={SPEEDUP: 0.0})
        tricks, program = question.metadata["tricks"], " ".join(sorted(words))
        if decoys := sorted(words.difference(tricks)):
            return Score(0.0, False, program, explanation=f"{decoys[0]} breaks it", measures={SPEEDUP: 0.0})
        speedup = math.prod(tricks[word] for word in words)
        return Score(
            speedup / BEST, True, program, explanation=f"{speedup:.3g} times as fast", measures={SPEEDUP: speedup}
        )


def said(observation: Observation, frank: bool = True) -> str:
    """What somebody says who tells its trick as a lesson, and writes what it has been told; or, not `frank`, keeps to itself."""
    own = re.findall(r"(\w+) makes it", observation["private"])
    if observation["round"] % 2:
        return f"{' and '.join(own)} makes it faster." if frank else "It is hard to say."
    lessons = " ".join(m["text"] for m in observation["transcript"] if m["agent"].startswith("lesson ("))
    heard = re.findall(r"(\w+) makes it", lessons) if frank else []
    return f"Program: {' '.join(dict.fromkeys([*heard, *own]))}"


class Tricks(DiscussionEnv):
    """The task of the card above."""

    metadata: dict[str, Any] = {"name": "tricks"}
    instruction = (
        f"Some of these words make the program faster, and each agent knows one; any other breaks it: {', '.join(WORDS)}. "
        'Reply with "Program: " and the words.'
    )
    reads_data: ClassVar[bool] = False
    default_protocol: ClassVar[Any] = {"name": "lessons", "measure": SPEEDUP}
    default_num_rounds: ClassVar[int] = 3
    default_verifier: ClassVar[Any] = SpeedOfWords
    default_shaping: ClassVar[Any] = "outcome_credit"

    def load(self, split: str) -> Iterator[Question]:
        """The tricks of the split; a triple is in the same split whoever knows which."""
        triples = itertools.permutations(WORDS, len(SPEEDUPS))
        for number, words in enumerate(of_split(triples, split, group=lambda triple: triple[:2])):
            for shift in range(len(words)):
                yield self._question(PROGRAMS[number % len(PROGRAMS)], words, shift)

    def _question(self, program: str, words: tuple[str, ...], shift: int) -> Question:
        tricks = dict(zip(words, SPEEDUPS, strict=True))
        seats = [*tricks.items()][shift:] + [*tricks.items()][:shift]
        private = {f"agent_{n}": f"{word} makes it {times} times as fast." for n, (word, times) in enumerate(seats)}
        metadata = {"item": program, "tricks": tricks}
        return Question(f"Make the {program} faster.", " ".join(sorted(words)), private=private, metadata=metadata)
