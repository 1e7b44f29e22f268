"""Blocks: two arms sweep three of four blocks away, each by both arms at once.

| specification | |
|---|---|
| agents | two arms (later agents' messages move nothing); 1: a lone arm, which sweeps by itself |
| question | "Targets: 1, 3, 4. agent_0 is at block 2, agent_1 is at home." |
| messages | one action: "MOVE 3", "SWEEP" or "WAIT"; anything else is WAIT |
| step | a round: both actions happen at once when it is over; a target is gone if both arms are at it and both sweep |
| state | `Scene`: targets left and places; a function of the question and the messages. After every step all read it in words |
| end | when no target is left, or after `num_rounds` (15) steps |
| reward | the share of targets swept, for everybody; correct if none is left |
| ceiling | 1, in 6 steps or fewer (a move and a sweep a target) |
| questions | targets x places = 4 x 25 = 100, a fifth of those of every set of targets held out as "test" |
| source | this project; the shape is the sweeping task on which ReAd (2405.14314) is judged |
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from maporl.envs.discussion import DiscussionEnv
from maporl.envs.feedback import Feedback
from maporl.envs.protocols.base import RoundRobin
from maporl.envs.tasks.combinations import of_split
from maporl.envs.team_answer import TeamAnswer
from maporl.envs.verifiers import TranscriptVerifier
from maporl.reasoning import spoken
from maporl.types import Observation, Question, Score, Transcript, Turn

__all__ = ["ACTIONS", "BLOCKS", "Blocks", "Scene", "action_of", "scene_of", "shown_scene"]

BLOCKS = (1, 2, 3, 4)
ACTIONS = (*(f"MOVE {block}" for block in BLOCKS), "SWEEP", "WAIT")
TARGETS = 3


def action_of(text: str) -> str:
    """The one action that a message names; WAIT if it names none, or several."""
    named = {
        " ".join(found.split()).upper() for found in re.findall(r"\bMOVE\s+[1-4]\b|\bSWEEP\b|\bWAIT\b", text, re.I)
    }
    return named.pop() if len(named) == 1 else "WAIT"


@dataclass(frozen=True)
class Scene:
    """Where everything is.

    Attributes:
        left: The targets that have not been swept, ascending.
        places: Where each arm is: a block, 0 for home.
    """

    left: tuple[int, ...]
    places: tuple[int, ...]

    def after(self, actions: Sequence[str]) -> Scene:
        """The scene after a step, one action (of `ACTIONS`) an arm."""
        together = self.places[0] if len(set(self.places)) == 1 and set(actions) == {"SWEEP"} else 0
        places = (int(a[5:]) if a.startswith("MOVE") else p for a, p in zip(actions, self.places, strict=True))
        return Scene(tuple(block for block in self.left if block != together), tuple(places))

    def words(self, arms: Iterable[str]) -> str:
        """The scene as agents read it."""
        at = (
            f"{arm} is at {f'block {place}' if place else 'home'}" for arm, place in zip(arms, self.places, strict=True)
        )
        return f"Targets: {', '.join(map(str, self.left)) or 'none'}. {', '.join(at)}."


def scene_of(
    text: str, messages: Iterable[Mapping[str, Any]], rounds: int
) -> tuple[Scene, tuple[str, ...], dict[str, str]]:
    """The scene after so many steps, the arms' names, and what has been said in the step in progress, arm -> action.

    Args:
        text: The question's.
        messages: All that was said, in order (``history`` "all"); who is no arm moves nothing.
        rounds: How many steps are over.
    """
    listed, _, at = text.partition(". ")
    placed = re.findall(r"(\w+) is at (?:block (\d)|home)", at)
    arms = tuple(arm for arm, _ in placed)
    scene = Scene(tuple(map(int, re.findall(r"\d", listed))), tuple(int(place or 0) for _, place in placed))
    said: dict[int, dict[str, str]] = {}
    for message in messages:
        if message["agent"] in arms:
            said.setdefault(message["round"], {})[message["agent"]] = action_of(message["text"])
    for step in range(rounds):
        scene = scene.after([said.get(step, {}).get(arm, "WAIT") for arm in arms])
    return scene, arms, said.get(rounds, {})


def shown_scene(observation: Observation) -> tuple[Scene, tuple[str, ...], dict[str, str]]:
    """`scene_of` what somebody is shown."""
    return scene_of(observation["question"], observation["transcript"], observation["round"])


def _scene(transcript: Transcript) -> tuple[Scene, tuple[str, ...]]:
    said = [{"agent": t.agent, "round": t.round, "text": spoken(t.text) or ""} for t in transcript.turns if t.said]
    return scene_of(transcript.question.text, said, transcript.completed_rounds)[:2]


class UntilSwept(RoundRobin):
    """One after the other, until no target is left."""

    def over(self, transcript: Transcript) -> bool:
        return not _scene(transcript)[0].left


class Places(Feedback):
    """The scene in words, after every step."""

    uses_gold = False

    def __call__(self, transcripts: Sequence[Transcript]) -> list[list[Turn]]:
        return [self._after(t) if t.turns[-1].round < t.completed_rounds else [] for t in transcripts]

    def _after(self, transcript: Transcript) -> list[Turn]:
        scene, arms = _scene(transcript)
        return [Turn("scene", transcript.turns[-1].round, scene.words(arms), kind="feedback")]


class Swept(TranscriptVerifier):
    """The share of targets that are gone."""

    def __call__(self, transcript: Transcript) -> Score:
        left = _scene(transcript)[0].left
        gone = [block for block in transcript.question.answer.split(", ") if int(block) not in left]
        told = f"{len(gone)} of {TARGETS} targets are swept"
        return Score(len(gone) / TARGETS, not left, ", ".join(gone) or "none", explanation=told)


class Blocks(DiscussionEnv):
    """The task of the card above."""

    metadata: dict[str, Any] = {"name": "blocks"}
    instruction = (
        "Two arms sweep the targets away; both must be at a target and sweep in the same step. "
        f"Reply with one of: {', '.join(ACTIONS)}."
    )
    reads_data: ClassVar[bool] = False
    default_protocol: ClassVar[Any] = UntilSwept
    default_num_rounds: ClassVar[int] = 15
    default_team_verifier: ClassVar[Any] = Swept
    default_feedback: ClassVar[Any] = Places
    default_shaping: ClassVar[Any] = "discussion_score"

    def load(self, split: str) -> Iterator[Question]:
        """The scenes of the split; every set of targets is in both."""
        arms = self.possible_agents[:2]
        places = itertools.product((0, *BLOCKS), repeat=len(arms))
        scenes = itertools.product(itertools.combinations(BLOCKS, TARGETS), places)
        for left, at in of_split(scenes, split, group=lambda scene: scene[0]):
            targets = ", ".join(map(str, left))
            yield Question(Scene(left, at).words(arms), targets, metadata={"item": targets})

    def team_answer(self, transcript: Transcript | None = None) -> TeamAnswer:
        """Which targets are swept."""
        score = Swept()(self.transcript if transcript is None else transcript)
        return self.labelled(TeamAnswer(score.answer, float(bool(score.correct)), 1))
