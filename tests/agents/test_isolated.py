"""An agent that does not hear its peers."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np

from maporl.agents import Agent, IsolatedAgent, ScriptedAgent
from maporl.types import Completion, Message, Observation


def _shown(agent: str = "agent_0") -> Observation:
    said = [("agent_0", 0, "mine"), ("agent_1", 0, "yours"), ("tally", 0, "2 of 2"), ("agent_1", 1, "again")]
    return Observation(
        agent=agent,
        round=2,
        question="What?",
        private="a hint",
        instruction="Say.",
        role="judge",
        transcript=tuple(Message(agent=a, round=r, text=t) for a, r, t in said),
    )


def _heard(observation: Observation, rng: np.random.Generator) -> str:
    return "|".join(f"{m['agent']} {m['round']} {m['text']}" for m in observation["transcript"])


def test_only_what_others_say_is_blank() -> None:
    """Who spoke when stays, and so does all else."""
    observation = _shown()
    before = copy.deepcopy(observation)
    (said,) = IsolatedAgent(ScriptedAgent(_heard)).act([observation], [np.random.default_rng(0)])
    assert said.text == "agent_0 0 mine|agent_1 0 |tally 0 |agent_1 1 "
    assert observation == before  # nobody else's view is changed
    (rest,) = IsolatedAgent(ScriptedAgent(lambda o, rng: repr({k: v for k, v in o.items() if k != "transcript"}))).act(
        [observation], [np.random.default_rng(0)]
    )
    assert rest.text == repr({k: v for k, v in observation.items() if k != "transcript"})


def test_where_scores_are_shown_those_of_others_are_taken_away_too() -> None:
    said = tuple({**m, "score": 0.5} for m in _shown()["transcript"])
    scores = ScriptedAgent(lambda o, rng: repr([m["score"] for m in o["transcript"]]))
    (heard,) = IsolatedAgent(scores).act([{**_shown(), "transcript": said}], [np.random.default_rng(0)])
    assert heard.text == "[0.5, None, None, None]" and all(m["score"] == 0.5 for m in said)


def test_each_in_a_batch_keeps_its_own() -> None:
    rngs = [np.random.default_rng(0)] * 2
    first, second = IsolatedAgent(ScriptedAgent(_heard), blank="...").act([_shown(), _shown("agent_1")], rngs)
    assert first.text == "agent_0 0 mine|agent_1 0 ...|tally 0 ...|agent_1 1 ..."
    assert second.text == "agent_0 0 ...|agent_1 0 yours|tally 0 ...|agent_1 1 again"


def test_random_numbers_and_greed_are_passed_on() -> None:
    class Listens(Agent):
        def act(
            self, observations: Sequence[Observation], rngs: Sequence[np.random.Generator], *, greedy: bool = False
        ) -> list[Completion]:
            return [Completion(f"{rng.integers(10**9)} {greedy}") for rng in rngs]

    for greedy in (False, True):
        (deaf,) = IsolatedAgent(Listens()).act([_shown()], [np.random.default_rng(5)], greedy=greedy)
        (hears,) = Listens().act([_shown()], [np.random.default_rng(5)], greedy=greedy)
        assert deaf.text == hears.text and str(greedy) in deaf.text
