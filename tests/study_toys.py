"""Tasks, scripted agents and methods for tests of studies, named in settings as ``study_toys:Name``."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from maporl.agents import Agent, Team
from maporl.algorithms import Algorithm
from maporl.algorithms.algorithm import Update
from maporl.benchmarks.methods.method import DebateMethod, Method, SelfConsistency, SingleAgent
from maporl.envs import DiscussionEnv
from maporl.envs.team_answer import TeamAnswer
from maporl.judges import Ballot, Judge, JudgeModel, Reply
from maporl.training.config import RunConfig
from maporl.types import Completion, Episode, Observation, Question


def seats(agent: str, number: int = 4) -> dict[str, str]:
    """`RunConfig.partners` that seats one agent everywhere."""
    return {f"agent_{i}": f"study_toys:{agent}" for i in range(number)}


class Numbers(DiscussionEnv):
    """Repeat a number: "What is 7?" -> "Answer: 7"."""

    number: ClassVar[int] = 12
    reads_data: ClassVar[bool] = False
    instruction = "Reply with Answer: and a number."
    default_verifier = {"name": "regex", "pattern": r"Answer: (\d+)"}

    def load(self, split: str) -> Iterator[Question]:
        first = 0 if split == "test" else 1000
        for n in range(first, first + (self.number if split == "test" else 60)):
            yield Question(f"What is {n}?", str(n))


class Judging(Judge):
    """A judge of 11 tokens a verdict that takes everything for right."""

    def __init__(self) -> None:
        super().__init__(Agrees())


class Agrees(JudgeModel):
    def ask(self, ballots: Sequence[Ballot]) -> list[Reply]:
        return [Reply({"right": 1.0, "wrong": 0.0}, 10, 1) for _ in ballots]


class Hundreds(Numbers):
    number = 300


class Doubled(Numbers):
    """Every test question is there twice."""

    def load(self, split: str) -> Iterator[Question]:
        yield from super().load(split)
        yield from super().load(split)


class Others(Numbers):
    """Other questions than `Numbers`."""

    def load(self, split: str) -> Iterator[Question]:
        for question in super().load(split):
            yield Question(f"And {question.text}", question.answer)


class Views(Numbers):
    """The number is told to the second seat alone."""

    def load(self, split: str) -> Iterator[Question]:
        for question in super().load(split):
            private = {"agent_0": "nothing", "agent_1": f"It is {question.answer}."}
            yield Question(f"Which one? ({question.answer[::-1]}x)", question.answer, private=private)


class LongViews(Numbers):
    """What the second seat reads takes four words more."""

    def load(self, split: str) -> Iterator[Question]:
        for question in super().load(split):
            private = {"agent_0": "nothing", "agent_1": "a b c d"}
            yield Question(question.text, question.answer, private=private)


class NoTest(Numbers):
    """Without test questions."""

    def load(self, split: str) -> Iterator[Question]:
        return iter(()) if split == "test" else super().load(split)


class Broken(Numbers):
    """Cannot be read."""

    def load(self, split: str) -> Iterator[Question]:
        raise OSError("no such disk")


def number_in(text: str) -> int:
    return int("".join(c for c in text if c.isdigit()) or -1)


class Toy(Agent):
    """Says what `speak` says; a word is a token, and the prompt's are those of the question and of all messages shown."""

    calls: ClassVar[int] = 0
    """Messages spoken by all toys, for tests of what is run again."""

    def speak(self, observation: Observation, rng: np.random.Generator, greedy: bool) -> str:
        raise NotImplementedError

    def act(
        self, observations: Sequence[Observation], rngs: Sequence[np.random.Generator], *, greedy: bool = False
    ) -> list[Completion]:
        Toy.calls += len(observations)
        return [self._completion(o, self.speak(o, rng, greedy)) for o, rng in zip(observations, rngs, strict=True)]

    def _completion(self, observation: Observation, text: str) -> Completion:
        shown = [observation["question"], *(m["text"] for m in observation["transcript"])]
        prompt = sum(len(s.split()) for s in shown) + 4 * (observation["private"] == "a b c d")
        return Completion(text, np.zeros(prompt, np.int64), np.zeros(len(text.split()), np.int64))


class Knows(Toy):
    """Always right."""

    def speak(self, observation: Observation, rng: np.random.Generator, greedy: bool) -> str:
        return f"Answer: {number_in(observation['question'])}"


class Wrong(Toy):
    """Never right, and the same every time."""

    def speak(self, observation: Observation, rng: np.random.Generator, greedy: bool) -> str:
        return "Answer: 777"


class Rejects(Knows):
    """Has sampled five tokens for each message and thrown them away."""

    def _completion(self, observation: Observation, text: str) -> Completion:
        return replace(super()._completion(observation, text), discarded=5)


class Mute(Toy):
    """Never answers."""

    def speak(self, observation: Observation, rng: np.random.Generator, greedy: bool) -> str:
        return "well"


class Coin(Toy):
    """Right half of the time when it samples, else one of ten wrong numbers; always right when it is greedy."""

    def speak(self, observation: Observation, rng: np.random.Generator, greedy: bool) -> str:
        wrong = 900 + int(rng.integers(10))
        right = rng.random() < 0.5 or greedy
        return f"Answer: {number_in(observation['question']) if right else wrong}"


class Wordy(Coin):
    """A coin that takes seven words for a solitary message and three for a later one."""

    def speak(self, observation: Observation, rng: np.random.Generator, greedy: bool) -> str:
        text = super().speak(observation, rng, greedy)
        return f"{'so it may well be ' if observation['round'] == 0 else 'yes '}{text}"


class BySeed(Toy):
    """After the first round it says as many words as the seed decides: no two seeds of a team cost the same."""

    def speak(self, observation: Observation, rng: np.random.Generator, greedy: bool) -> str:
        seed = rng.bit_generator.seed_seq.entropy[0]  # type: ignore[attr-defined]
        words = 1 + 5 * seed if observation["round"] else 1
        return f"{'well ' * words}Answer: 5"


class Copies(Toy):
    """Wrong on its own; later it says what it last heard from a peer, and is wrong if that was nothing."""

    def speak(self, observation: Observation, rng: np.random.Generator, greedy: bool) -> str:
        heard = [m["text"] for m in observation["transcript"] if m["agent"] != observation["agent"]]
        return (heard or [""])[-1] or "Answer: 888"


class Witness(Toy):
    """Says what it alone was told, if that is a number."""

    def speak(self, observation: Observation, rng: np.random.Generator, greedy: bool) -> str:
        return f"Answer: {number_in(observation['private'])}" if "It is" in observation["private"] else "Answer: 0"


class Clocked(Coin):
    """Knows how long it has spoken."""

    busy: ClassVar[float] = 0.0  # seconds of the processor

    def act(
        self, observations: Sequence[Observation], rngs: Sequence[np.random.Generator], *, greedy: bool = False
    ) -> list[Completion]:
        began = time.process_time()
        said = super().act(observations, rngs, greedy=greedy)
        Clocked.busy += time.process_time() - began
        return said


class Stops(Coin):
    """Ctrl-C after some messages."""

    left: ClassVar[int] = 10**9

    def speak(self, observation: Observation, rng: np.random.Generator, greedy: bool) -> str:
        Stops.left -= 1
        if Stops.left < 0:
            raise KeyboardInterrupt
        return super().speak(observation, rng, greedy)


# -- methods ---------------------------------------------------------------------------------------------------------------


class LastSpeaker(Method):
    """The task's discussion, answered by whoever spoke last."""

    title = "last speaker"

    def answer(self, env: DiscussionEnv, episodes: Sequence[Episode]) -> TeamAnswer:
        turn = episodes[0].transcript.turns[-1]
        return TeamAnswer(turn.score.answer if turn.score else None, float(bool(turn.correct)))


class Breaks(SingleAgent):
    """A bug in its answer."""

    broken: ClassVar[bool] = True

    def answer(self, env: DiscussionEnv, episodes: Sequence[Episode]) -> TeamAnswer:
        if self.broken:
            raise ZeroDivisionError("a bug of the user's")
        return super().answer(env, episodes)


class BreaksTwice(Breaks):
    """The same, in a discussion of its own."""

    num_rounds = 2


class AsksOthers(SingleAgent):
    """Asks what the task does not ask."""

    def discussion(self, config: RunConfig) -> RunConfig:
        return super().discussion(config).merged({"env": "study_toys:Others"})


class VoteOfDebates(DebateMethod):
    """Plurality of two debates."""

    samples = 2

    def answer(self, env: DiscussionEnv, episodes: Sequence[Episode]) -> TeamAnswer:
        return SelfConsistency(2).answer(env, episodes)


class Unwritable(SingleAgent):
    """An answer that no JSON can hold."""

    def answer(self, env: DiscussionEnv, episodes: Sequence[Episode]) -> TeamAnswer:
        return TeamAnswer(object(), 1.0)  # type: ignore[arg-type]


class NoSamples(SingleAgent):
    """Nothing to make an answer of."""

    samples = 0


class NoMethod:
    """No `Method`."""


class Impatient(Algorithm):
    """Learns nothing; Ctrl-C in its second update."""

    updates: ClassVar[int] = 0

    def update(self, episodes: Sequence[Episode]) -> Update:
        Impatient.updates += 1
        if Impatient.updates == 2:
            raise KeyboardInterrupt
        return Update({"train/turns": 0.0})

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


class InRoles(Impatient):
    """Made for a pipeline."""

    method: ClassVar[str] = "pipeline"


class Fails(Algorithm):
    """Has a bug that shows with three iterations."""

    def __init__(self, team: Team, num_updates: int = 0) -> None:
        super().__init__(team)
        self.num_updates = num_updates

    def update(self, episodes: Sequence[Episode]) -> Update:
        if self.num_updates == 3:
            raise ZeroDivisionError("a bug of the user's")
        return Update({"train/turns": 0.0})

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


def dies(send: Any) -> None:
    """A job that the system kills."""
    os._exit(9)


SCRIPTED: Mapping[str, Any] = {"tasks": ["study_toys:Numbers"], "partners": seats("Coin"), "num_agents": 2}
"""Settings of a study without any model."""
