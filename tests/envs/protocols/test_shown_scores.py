"""Scores in the discussion itself: shown to those who speak, or ending it early; and what is an oracle then."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from discussion_toys import Contains, Digits, Told, discussion
from hypothesis import given
from hypothesis import strategies as st
from pettingzoo.test import api_test, parallel_api_test, seed_test

from maporl import registry
from maporl.agents.models.make_model import make_tokenizer
from maporl.agents.prompts import PromptTemplate
from maporl.envs import Consensus, Debate, DiscussionEnv, MixtureOfAgents, Pipeline, Protocol, ReConcile, RoundRobin
from maporl.envs.checks import check_env
from maporl.envs.spaces import ShownScore, observation_space
from maporl.envs.tasks.two_witnesses import TwoWitnesses
from maporl.types import Question

ASKED = Question("Which digit?", "<7>", private={"agent_0": "alpha secret", "agent_1": "beta secret"})
PROTOCOLS = registry.names("protocol")
GOLD = {"name": "regex", "pattern": r"Answer: (\d)"}


def started(protocol: Any, num_agents: int = 2, num_rounds: int = 3, verifier: Any = Told) -> DiscussionEnv:
    env = Digits(num_agents, num_rounds, protocol=protocol, verifier=verifier)
    env.reset(options={"question": ASKED})
    return env


def spoken(env: DiscussionEnv, *texts: str) -> DiscussionEnv:
    for text in texts:
        env.step(text)
    return env


# What is shown.


def test_after_a_round_everybody_is_told_its_own_and_its_peers_values() -> None:
    """The verifier's value, not the truth: the message of agent_0 is right and worth .3."""
    env = spoken(started({"name": "debate", "show_scores": True}), "<7> v=0.3", "no v=0.8")
    assert env.transcript.turns[0].correct is True
    assert env.observe("agent_1")["transcript"] == (
        {"agent": "agent_1", "round": 0, "text": "no v=0.8", "score": 0.8},
        {"agent": "agent_0", "round": 0, "text": "<7> v=0.3", "score": 0.3},
    )
    env.step("later v=0.9")  # of the round in progress nobody is told anything
    assert [m["score"] for m in env.observe("agent_1")["transcript"]] == [0.8, 0.3]


def test_off_by_default_nothing_has_a_score() -> None:
    for word in PROTOCOLS:
        env = spoken(started(word, 3), "<7> v=0.3", "no v=0.8")
        assert not env.protocol.show_scores
        assert env.protocol.reads_scores is (word == "lessons")  # which says what came of an answer
        assert all("score" not in m for a in env.agents for m in env.observe(a)["transcript"])


def test_one_hears_what_one_hears_with_its_score() -> None:
    """The topology decides whose messages are read, a pipeline which are scored, a mixture under whose names."""
    star = spoken(started({"name": "debate", "topology": "star", "show_scores": True}, 3), "v=0.1", "v=0.2", "v=0.3")
    assert [m["score"] for m in star.observe("agent_2")["transcript"]] == [0.3, 0.1]
    pipeline = spoken(started({"name": "pipeline", "show_scores": True}, 3), "v=0.1", "v=0.2", "v=0.3")
    assert [m["score"] for m in pipeline.observe("generator_0")["transcript"]] == [None, None, 0.3]
    mixture = spoken(started({"name": "mixture_of_agents", "show_scores": True}, 2), "v=0.1", "v=0.2")
    assert [(m["agent"], m["score"]) for m in mixture.observe("agent_1")["transcript"]] == [
        ("model_1", 0.1),
        ("model_2", 0.2),
    ]
    reconcile = spoken(started({"name": "reconcile", "show_scores": True}, 2), "v=0.1", "v=0.2")
    assert [(m["agent"], m["score"]) for m in reconcile.observe("agent_1")["transcript"]] == [
        ("agent_1", 0.2),
        ("agent_0", 0.1),
        ("tally", None),
    ]
    robin = spoken(started({"name": "round_robin", "show_scores": True}, 2), "v=0.1")
    assert [m["score"] for m in robin.observe("agent_1")["transcript"]] == [0.1]


@given(st.sampled_from(PROTOCOLS), st.integers(0, 5), st.floats(0, 1))
def test_a_critic_never_sees_the_score_of_what_it_judges(protocol: str, said: int, other: float) -> None:
    """However the messages of the round in progress are scored, the judged one's among them, its joint view stays."""
    views = []
    for value in (0.5, other):
        env = started({"name": protocol, "show_scores": True}, 3)
        spoken(env, *["v=0.25"] * (min(said, 3) if protocol == "mixture_of_agents" else said))
        judged = env.rules.due(env.transcript)[-1]
        before = env.rules.state(env.transcript, judged)
        while env.agent_selection != judged.agent:
            env.step(f"v={value}")
        views += [before, env.rules.state(env.transcript, judged)]
        spoken(env, f"v={value}")
        settled = env.protocol.settled(env.transcript, judged.agent)
        if env.protocol.simultaneous and env.transcript.completed_rounds == before["round"]:
            assert len(settled) == len(before["transcript"])
    assert all(view == views[0] for view in views)
    # A retriever's message of which nobody can read a score is worth nothing.
    settled = [m for m in views[0]["transcript"] if (protocol, m["agent"]) != ("retrieve", "agent_0")]
    assert all(m["score"] in (None, 0.25) for m in settled)


def test_a_lone_agents_critic_reads_what_the_agent_reads() -> None:
    env = spoken(started({"name": "debate", "show_scores": True}, 1), "v=0.4")
    assert env.state() == env.observe("agent_0") and env.state()["transcript"][0]["score"] == 0.4


def test_the_space() -> None:
    space, plain = observation_space(3, show_scores=True), observation_space(3)
    env = spoken(started({"name": "debate", "show_scores": True}), "v=0.4", "v=-3")
    observation = env.observe("agent_0")
    assert space.contains(observation)
    assert env.observation_space("agent_0").contains(observation) and env.state_space.contains(env.state())
    assert not plain.contains(observation)
    assert space != plain and space == observation_space(3, show_scores=True)
    one = ShownScore(seed=0)
    assert all(one.contains(x) for x in (None, 0.3, -1, 2.5)) and not any(one.contains(x) for x in ("0.3", True, [1]))
    assert all(one.contains(one.sample()) for _ in range(50)) and copy.deepcopy(one) == one
    with pytest.raises(ValueError, match="neither mask"):
        one.sample(mask=1)


@pytest.mark.filterwarnings("ignore:Observation is not", "ignore:Observation space for", "ignore:Action space for")
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("verifier", [GOLD, {"name": "noisy", "flip_rate": 0.5}])
def test_pettingzoos_own_tests(protocol: str, verifier: Any, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = {"protocol": {"name": protocol, "show_scores": True}, "verifier": verifier}
    api_test(TwoWitnesses(**arguments))
    seed_test(lambda **more: TwoWitnesses(**arguments, **more))
    if protocol in ("debate", "reconcile", "lessons"):
        parallel_api_test(TwoWitnesses(**arguments).parallel())
    check_env(TwoWitnesses(**arguments))


# What a model reads.


def chat(env: DiscussionEnv, agent: str, **pieces: str) -> list[str]:
    return [m["content"] for m in PromptTemplate(**pieces).messages(env.observe(agent))]


def test_own_words_stay_exact_and_their_score_opens_what_follows() -> None:
    env = spoken(started({"name": "debate", "show_scores": True}, 3), "a v=0.3", "b v=0.876", "c")
    pieces = {"own_score": "You got {score}.", "peer_score": "[{agent}: {score}]", "revise": "Again."}
    assert chat(env, "agent_0", **pieces)[1:] == [
        "a v=0.3",
        "You got 0.30.\n\nThese are the answers of the other agents:\n\n"
        "agent_1: b v=0.876\n[agent_1: 0.88]\n\nagent_2: c\n[agent_2: 0.00]\n\nAgain.",
    ]
    default = chat(env, "agent_1")[-1]
    assert default.startswith("A verifier's score of your answer, from 0 (wrong) to 1 (right): 0.88\n\nThese are")
    assert "agent_0: a v=0.3\n(verifier's score: 0.30)\n\n" in default
    assert "score" not in "".join(chat(env, "agent_1", own_score="", peer_score=""))


def test_what_nobody_scored_is_read_without_a_score() -> None:
    env = spoken(started({"name": "pipeline", "show_scores": True}, 2), "a v=0.1", "b v=0.2")
    assert env.observe("generator_0")["transcript"][0]["score"] is None
    last = chat(env, "generator_0")[-1]
    assert "refiner_0: b v=0.2\n(verifier's score: 0.20)" in last and last.count("score") == 1


@pytest.mark.parametrize("history", ["all", "last_round"])
def test_a_longer_discussion_only_appends_tokens(history: str) -> None:
    tokenizer, template = make_tokenizer(vocab_size=300), PromptTemplate()
    env = started({"name": "debate", "show_scores": True, "history": history}, 2)
    prompts = []
    for round in range(3):
        prompts.append(template.encode(tokenizer, env.observe("agent_1")))
        spoken(env, f"a{round} v=0.{round}", f"b{round} v=0.{9 - round}")
    assert prompts[1][: len(prompts[0])] == prompts[0]
    if history == "all":
        assert prompts[2][: len(prompts[1])] == prompts[1]


def test_pieces_for_scores_are_checked() -> None:
    with pytest.raises(ValueError, match=r"'own_score' names \['text'\]"):
        PromptTemplate(own_score="{text}")


def test_show_scores_is_a_setting_like_any_other(tmp_path: Path) -> None:
    from maporl.training.config import RunConfig

    config = RunConfig(env="two_witnesses").merged({"env_args": {"protocol": {"name": "debate", "show_scores": True}}})
    assert config.build_env().protocol.show_scores
    with pytest.raises(ValueError, match="show_scores is 'yes'; it must be true or false"):
        config.merged({"env_args": {"protocol": {"name": "debate", "show_scores": "yes"}}}).build_env()
    for protocol in (Debate, RoundRobin, Pipeline, ReConcile, MixtureOfAgents):
        assert "show_scores=True" in repr(protocol(2, show_scores=True)) and "show" not in repr(protocol(2))


# Early consensus.


def agreed(stop: Any, answers: str, values: tuple[float, ...] = ()) -> bool:
    """Whether a debate with one round of these answers ("." is none) ends there."""
    row = values or (0.0,) * len(answers)
    transcript = discussion([row], num_rounds=3, answers=[[None if a == "." else a for a in answers]])
    debate: Protocol = Debate(3, stop=stop)
    assert (debate.due(transcript) == ()) == debate.over(transcript)
    return debate.over(transcript)


@pytest.mark.parametrize(
    "share, answers, over",
    [
        (1.0, "AAA", True),
        (1.0, "AAB", False),
        (1.0, "AA.", False),  # silence is no agreement
        (2 / 3, "AAB", True),
        (2 / 3, "AA.", True),
        (2 / 3, "BAA", True),
        (2 / 3, "ABC", False),
        (2 / 3, "A..", False),  # the share is of all agents, not of those who answer
        (0.7, "AAB", False),
        (0.6, "AABB", False),
        (0.6, "AAAB", True),
        (0.75, "AAAB", True),
        (0.8, "AAAB", False),
        (0.6, "AAABB", True),
        (0.6, "...", False),
    ],
)
def test_the_share_that_must_agree(share: float, answers: str, over: bool) -> None:
    assert agreed({"name": "consensus", "share": share}, answers) is over
    assert agreed(Consensus(share), answers) is over


@pytest.mark.parametrize(
    "score, values, over",
    [
        (0.5, (0.4, 0.6, 0.0), True),  # the group AA has a mean of .5, whatever B is worth
        (0.51, (0.4, 0.6, 1.0), False),
        (0.9, (0.9, 0.9, 0.0), True),
        (0.3, (0.1, 0.2, 0.3), False),
        (0.0, (-5.0, -5.0, 0.0), True),  # 0 does not ask the verifier, whatever its scale
    ],
)
def test_the_verifiers_mean_on_the_group(score: float, values: tuple[float, ...], over: bool) -> None:
    assert agreed({"name": "consensus", "share": 0.6, "score": score}, "AAB", values) is over


def test_without_thresholds_it_is_the_plain_word() -> None:
    assert Debate(2, stop="consensus").stop == Debate(2, stop={"name": "consensus"}).stop == Consensus()
    assert not Consensus(0.6).reads_scores and Consensus(score=0.1).reads_scores


def test_only_the_round_that_has_just_been_completed_counts() -> None:
    rows = [["A", "A", "B"], ["A", "B", "C"]]
    debate = Debate(4, stop=Consensus(0.6))
    assert not debate.over(discussion([(0, 0, 0)] * 2, answers=rows, num_rounds=4))
    assert debate.due(discussion([(0, 0, 0), (0,)], answers=[rows[0], ["A"]], num_rounds=4))
    assert debate.over(discussion([(0, 0, 0)] * 2, answers=rows[::-1], num_rounds=4))


def test_a_discussion_ends_when_the_verifier_is_content() -> None:
    """Both say the same from the start; the value of that rises from .4 to .7 against a threshold of .6."""
    protocol = {"name": "debate", "stop": {"name": "consensus", "score": 0.6}}
    env = started(protocol, 2, 4, verifier=Told)
    for value in (0.4, 0.7):
        assert not env.transcript.is_complete
        spoken(env, f"<7> v={value}", f"<7> v={value}")
    assert env.transcript.is_complete and env.transcript.completed_rounds == 2
    assert env.team_answer().correct == 1 and not env.team_answer().oracle


@pytest.mark.parametrize(
    "stop, message",
    [
        ("early", "unknown stop 'early'; write 'consensus'"),
        ({"share": 0.6}, "unknown stop"),
        ({"name": "consensus", "share": 0.5}, "share is 0.5; a consensus is of more than half"),
        ({"name": "consensus", "share": 1.01}, "share is 1.01"),
        ({"name": "consensus", "share": "most"}, "share is 'most'; it must be a number"),
        ({"name": "consensus", "score": -0.1}, "score is -0.1; give a number from 0"),
        ({"name": "consensus", "score": 2}, "score is 2"),
        ({"name": "consensus", "score": float("nan")}, "score is nan"),
        ({"name": "consensus", "scores": 1}, "no argument 'scores'. Did you mean 'score'"),
    ],
)
def test_bad_ends(stop: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Debate(2, stop=stop)


def test_a_lone_agent_has_nobody_to_agree_with() -> None:
    with pytest.raises(ValueError, match="needs at least 2 agents"):
        Digits(1, 2, protocol={"name": "debate", "stop": {"name": "consensus", "share": 0.6}})


# What is an oracle.

READING: list[dict[str, Any]] = [
    {"name": "debate", "show_scores": True},
    {"name": "debate", "stop": {"name": "consensus", "share": 0.6, "score": 0.5}},
]


@pytest.mark.parametrize("protocol", READING)
def test_with_a_verifier_that_knows_the_gold_answer_the_teams_answer_is_an_oracles(protocol: dict[str, Any]) -> None:
    for verifier, oracle in ((Contains, True), (Told, False)):
        env = spoken(started(protocol, verifier=verifier), "<7>", "no")
        assert env.oracle is oracle and env.team_answer().oracle is oracle
        assert env.team_answer(env.transcript) == env.team_answer()
    plain = spoken(started({"name": "debate", "stop": Consensus(0.6)}, verifier=Contains), "<7>", "<7>")
    assert not plain.oracle and not plain.team_answer().oracle


@pytest.mark.parametrize("protocol", READING)
def test_scores_that_nobody_gives_cannot_be_read(protocol: dict[str, Any]) -> None:
    class OnlyTeam(Digits):
        default_verifier = None

    with pytest.raises(ValueError, match="reads the scores of messages; pass verifier="):
        OnlyTeam(team_verifier=Contains(), protocol=protocol)
