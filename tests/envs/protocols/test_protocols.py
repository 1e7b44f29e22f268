"""Who speaks, who sees what, and what a critic may read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import pytest
from discussion_toys import Digits, discussion
from hypothesis import given
from hypothesis import strategies as st

from maporl.envs import Debate, MixtureOfAgents, OwnScore, Pipeline, Protocol, ReConcile, RoundRobin
from maporl.envs.protocols import build_protocol
from maporl.envs.protocols.reconcile import recalibrated, tally
from maporl.envs.rules import Rules
from maporl.envs.scoring import Verifiers
from maporl.types import Question, Score, Seat, Transcript, Turn

PROTOCOLS = (Debate, RoundRobin, Pipeline, ReConcile)
SPARSE = tuple(partial(Debate, topology=topology) for topology in ("ring", "star"))
HISTORIES = ("all", "last_round")


def begun(protocol: Protocol, num_agents: int, spoken: int) -> Transcript:
    """The first `spoken` messages of a discussion; each text is unique."""
    agents = protocol.agent_names(num_agents)
    turns = tuple(Turn(agents[n % num_agents], n // num_agents, f"message {n}") for n in range(spoken))
    return Transcript(Question("?", "!"), agents, protocol.num_rounds, turns)


@st.composite
def positions(draw: st.DrawFn, complete: bool = True) -> tuple[Protocol, Transcript]:
    """A protocol, and a discussion under it cut anywhere (before its end unless `complete`)."""
    rounds = draw(st.integers(1, 4))
    protocol = draw(st.sampled_from(PROTOCOLS + SPARSE))(rounds, draw(st.sampled_from(HISTORIES)))
    agents = draw(st.integers(protocol.least_agents, max(4, protocol.least_agents + 1)))
    spoken = draw(st.integers(0, agents * rounds - (not complete)))
    return protocol, begun(protocol, agents, spoken)


def rules_of(protocol: Protocol, transcript: Transcript) -> Rules:
    return Rules(protocol, Verifiers(None, None, None), OwnScore(), "", transcript.agents)


def said(protocol: Protocol, transcript: Transcript, seat: Seat, text: str) -> Transcript:
    return rules_of(protocol, transcript).extend([(transcript, [Turn(*seat, text)])])[0]


def told(turns: tuple[Turn, ...]) -> list[str]:
    return [turn.text.removeprefix("message ") for turn in turns]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_everybody_speaks_once_a_round_in_order(protocol: type[Protocol]) -> None:
    transcript = begun(protocol(2), 3, 0)
    order = []
    while due := protocol(2).due(transcript):
        order.append(due[0].agent)
        transcript = said(protocol(2), transcript, due[0], "")
    assert order == list(transcript.agents) * 2
    assert transcript.is_complete


def test_who_may_speak_at_once() -> None:
    """All who have not spoken yet in a simultaneous round, the next one alone in a sequential protocol."""
    assert Debate(2).due(begun(Debate(2), 3, 0)) == (("agent_0", 0), ("agent_1", 0), ("agent_2", 0))
    assert Debate(2).due(begun(Debate(2), 3, 4)) == (("agent_1", 1), ("agent_2", 1))
    assert RoundRobin(2).due(begun(RoundRobin(2), 3, 4)) == (("agent_1", 1),)
    assert Debate(2).due(begun(Debate(2), 3, 6)) == ()


def test_what_is_seen_in_a_debate() -> None:
    debate, release = Debate(3), Debate(3, "last_round")
    transcript = begun(debate, 3, 7)  # two rounds, and one message of the third
    assert told(debate.visible(transcript, "agent_1")) == ["1", "0", "2", "4", "3", "5"]
    assert told(release.visible(transcript, "agent_1")) == ["1", "4", "3", "5"]
    assert told(release.settled(transcript, "agent_1")) == ["1", "0", "2", "4", "3", "5"]


def test_what_is_seen_in_a_ring() -> None:
    """Five agents: one's own messages and the two neighbours', round by round; the critic reads everything."""
    ring = Debate(3, topology="ring")
    transcript = begun(ring, 5, 10)
    assert told(ring.visible(transcript, "agent_0")) == ["0", "1", "4", "5", "6", "9"]
    assert told(ring.visible(transcript, "agent_2")) == ["2", "1", "3", "7", "6", "8"]
    assert told(ring.visible(transcript, "agent_4")) == ["4", "0", "3", "9", "5", "8"]
    assert told(Debate(3, "last_round", "ring").visible(transcript, "agent_4")) == ["4", "9", "5", "8"]
    assert told(ring.settled(transcript, "agent_2")) == ["2", "0", "1", "3", "4", "7", "5", "6", "8", "9"]


def test_what_is_seen_in_a_star() -> None:
    star = Debate(3, topology="star")
    transcript = begun(star, 4, 9)  # two rounds, and one message of the third
    assert told(star.visible(transcript, "agent_0")) == ["0", "1", "2", "3", "4", "5", "6", "7"]
    assert told(star.visible(transcript, "agent_2")) == ["2", "0", "6", "4"]
    assert told(Debate(3, "last_round", "star").visible(transcript, "agent_2")) == ["2", "6", "4"]
    assert told(star.settled(transcript, "agent_2")) == ["2", "0", "1", "3", "6", "4", "5", "7"]


def test_a_topology_brings_its_number_of_agents() -> None:
    assert [Debate(topology=word).default_num_agents for word in ("all", "ring", "star")] == [2, 4, 3]
    assert len(Digits(protocol={"name": "debate", "topology": "ring"}).possible_agents) == 4


def answering(protocol: Protocol, num_agents: int, answers: Sequence[str | None]) -> Transcript:
    """A discussion of these answers, one after the other."""
    transcript = begun(protocol, num_agents, len(answers))
    scores = (Score(0.0, None, answer) for answer in answers)
    turns = tuple(replace(turn, score=score) for turn, score in zip(transcript.turns, scores, strict=True))
    return replace(transcript, turns=turns)


@pytest.mark.parametrize(
    "answers, over",
    [
        ([], False),
        (["A", "A"], True),
        (["A", "B"], False),
        (["A"], False),  # within a round nobody has agreed yet
        (["A", "B", "B"], False),
        (["A", "B", "B", "B"], True),
        ([None, None], False),  # that nobody answers is no consensus
        (["A", None], False),
    ],
)
def test_consensus(answers: list[str | None], over: bool) -> None:
    protocol = Debate(3, stop="consensus")
    transcript = answering(protocol, 2, answers)
    assert (protocol.due(transcript) == ()) is over
    assert not Debate(3).over(transcript)


def test_what_is_seen_in_a_round_robin() -> None:
    transcript = begun(RoundRobin(3), 3, 5)
    assert told(RoundRobin(3).visible(transcript, "agent_2")) == ["0", "1", "2", "3", "4"]
    assert told(RoundRobin(3, "last_round").visible(transcript, "agent_2")) == ["2", "3", "4"]


@given(positions())
def test_nobody_sees_a_message_of_a_simultaneous_round_in_progress(position: tuple[Protocol, Transcript]) -> None:
    protocol, transcript = position
    for agent in transcript.agents:
        seen = protocol.visible(transcript, agent)
        assert set(seen) <= set(transcript.turns) and len(set(seen)) == len(seen)
        if protocol.simultaneous:
            assert all(turn.round < transcript.completed_rounds for turn in seen)


@given(positions(complete=False))
def test_with_full_history_a_speaker_sees_what_its_critic_may_read(position: tuple[Protocol, Transcript]) -> None:
    protocol, transcript = position
    speaker = protocol.due(transcript)[0].agent
    visible, settled = protocol.visible(transcript, speaker), protocol.settled(transcript, speaker)
    everything = protocol.history == "all" and getattr(protocol, "topology", "all") == "all"
    assert visible == settled if everything else set(visible) <= set(settled)


@given(positions(complete=False))
def test_full_history_only_grows_at_its_end(position: tuple[Protocol, Transcript]) -> None:
    """Prefix-stable: what an agent was shown in an earlier round is the beginning of what it is shown now."""
    protocol, transcript = position
    if protocol.history == "all":
        speaker = protocol.due(transcript)[0].agent
        now = protocol.visible(transcript, speaker)
        for spoken in range(transcript.agents.index(speaker), len(transcript.turns), len(transcript.agents)):
            earlier = protocol.visible(transcript.before(spoken), speaker)
            assert now[: len(earlier)] == earlier


@given(positions(complete=False), st.data())
def test_a_critic_never_reads_what_it_judges(position: tuple[Protocol, Transcript], data: st.DataObject) -> None:
    """Simultaneous messages, however they read, change nothing for an agent's critic, nor for the agent."""
    protocol, start = position
    agent = data.draw(st.sampled_from(protocol.due(start))).agent
    views = set()
    for text in ("yes", "no"):
        transcript = start
        for seat in protocol.due(start):
            views.add((protocol.settled(transcript, agent), protocol.visible(transcript, agent)))
            if seat.agent == agent:
                break
            transcript = said(protocol, transcript, seat, text)
    assert len(views) == 1


@given(st.integers(2, 5), st.integers(2, 4))
def test_a_mixture_has_layers_and_one_aggregator(agents: int, layers: int) -> None:
    protocol = MixtureOfAgents(layers)
    transcript, batches = begun(protocol, agents, 0), []
    while due := protocol.due(transcript):
        batches.append(tuple(seat.agent for seat in due))
        for seat in due:
            assert protocol.due(transcript)[0] == seat
            transcript = said(protocol, transcript, seat, f"{len(transcript.turns)}")
    assert batches == [transcript.agents] * (layers - 1) + [("agent_0",)]
    assert len(transcript.turns) == agents * (layers - 1) + 1
    assert protocol.due(transcript) == ()
    with_end = replace(transcript, ended=True)
    assert with_end.completed_rounds == layers and with_end.round(layers - 1) == transcript.turns[-1:]


def test_what_is_seen_in_a_mixture() -> None:
    """The layer before and nothing else, under names that are nobody's; a layer in progress is not seen."""
    mixture = MixtureOfAgents(4)
    assert mixture.visible(begun(mixture, 3, 2), "agent_0") == ()
    for spoken in (6, 8):  # two layers, and two messages of the third
        transcript = begun(mixture, 3, spoken)
        for agent in transcript.agents:
            assert mixture.messages(transcript, agent) == (
                {"agent": "model_1", "round": 1, "text": "message 3"},
                {"agent": "model_2", "round": 1, "text": "message 4"},
                {"agent": "model_3", "round": 1, "text": "message 5"},
            )
    assert told(mixture.settled(transcript, "agent_1")) == ["1", "0", "2", "4", "3", "5"]
    assert MixtureOfAgents(4, "last_round").messages(transcript, "agent_0") == mixture.messages(transcript, "agent_0")
    assert mixture.role("agent_2", 0) == "" and mixture.role("agent_2", 1) == mixture.role("agent_0", 3)
    assert "combine what holds" in mixture.role("agent_0", 3)


def test_a_mixtures_answer_is_its_aggregators() -> None:
    env = Digits(3, 2, protocol="mixture_of_agents")
    for last, correct in (("<gold>", 1), ("no idea", 0)):
        env.reset(seed=0)
        gold = env.transcript.question.answer
        for text in (gold, gold, "no idea", last.replace("<gold>", gold)):
            assert not env.transcript.is_complete
            env.step(text)
        assert env.transcript.is_complete and all(env.terminations.values())
        assert env.team_answer().correct == correct
        assert [turn.correct for turn in env.transcript.turns] == [True, True, False, bool(correct)]  # all are scored


def sure(*rounds: Sequence[tuple[str | None, str]]) -> Transcript:
    """A discussion of (answer, text) per agent and round; "A" is right."""
    return discussion(
        [[0.0] * len(row) for row in rounds],
        [[answer == "A" for answer, _ in row] for row in rounds],
        answers=[[answer for answer, _ in row] for row in rounds],
        texts=[[text for _, text in row] for row in rounds],
    )


@pytest.mark.parametrize(
    "stated, weight",
    [
        (1.0, 1),
        (0.99, 0.8),
        (0.9, 0.8),
        (0.89, 0.5),
        (0.8, 0.5),
        (0.79, 0.3),
        (0.61, 0.3),
        (0.6, 0.1),
        (0, 0.1),
        (None, 0.1),
    ],
)
def test_recalibrated(stated: float | None, weight: float) -> None:
    assert recalibrated(stated) == weight


def test_a_vote_of_recalibrated_confidences() -> None:
    vote = ReConcile().team_answer
    answer = vote(sure([("A", "Confidence: 0.9"), ("B", "Confidence: 0.7"), ("B", "confidence 80%")]))
    assert (answer.answer, answer.correct, answer.tied, answer.oracle) == ("A", 0.5, 2, False)  # .8 against .3 + .5
    assert vote(sure([("A", "Confidence: 1.0"), ("B", "Confidence: 0.7"), ("B", "confidence 80%")])).correct == 1
    assert vote(sure([("A", "Confidence: 0.5"), ("B", ""), ("B", "sure")])).answer == "B"  # .1 against .1 + .1
    last = vote(sure([("B", "Confidence: 1"), ("B", "Confidence: 1")], [("A", "Confidence: 0.9"), ("B", "")]))
    assert last.answer == "A"  # the last round alone votes


def test_the_tally() -> None:
    turns = sure(
        [
            ("A", "Confidence: 0.9"),
            ("B", "no"),
            ("A", "I am, Confidence: 60%"),
            (None, "?"),
            ("x" * 90, "Confidence: 1"),
        ]
    ).turns
    assert tally(turns) == (
        '2 of 5 answered "A" (confidence 0.9, 0.6); 1 of 5 answered "B" (confidence not stated); '
        f'1 of 5 answered "{"x" * 77}..." (confidence 1); 1 of 5 gave no answer.'
    )


def test_what_is_seen_in_a_reconcile_discussion() -> None:
    """A debate, and after each round its tally."""
    given = sure([("A", "a"), ("B", "b")], [("B", "c"), ("A", "d")], [("A", "e")])
    transcript = rules_of(ReConcile(4), given).replayed(given)
    heads = [(m["agent"], m["round"], m["text"][:1]) for m in ReConcile(4).messages(transcript, "agent_1")]
    assert heads == [
        ("agent_1", 0, "b"),
        ("agent_0", 0, "a"),
        ("tally", 0, "1"),
        ("agent_1", 1, "d"),
        ("agent_0", 1, "c"),
        ("tally", 1, "1"),
    ]
    latest = ReConcile(4, "last_round").messages(transcript, "agent_1")
    assert [(m["agent"], m["round"]) for m in latest] == [("agent_1", 0), ("agent_1", 1), ("agent_0", 1), ("tally", 1)]
    assert ReConcile(4).messages(begun(ReConcile(4), 2, 1), "agent_0") == ()
    assert [t.agent for t in ReConcile(4).settled(transcript, "agent_1")] == ["agent_1", "agent_0", "tally"] * 2


def test_everybody_is_asked_how_sure_it_is_in_every_round() -> None:
    env = Digits(3, 2, protocol="reconcile")
    env.reset(seed=0)
    asked = env.observe("agent_1")["instruction"]
    assert asked.startswith("Name the digit. Just before") and '"Confidence: 0.8"' in asked
    for text in ("x", "y", "z"):
        env.step(text)
    assert env.observe("agent_1")["instruction"] == asked == env.state()["instruction"]
    assert env.observe("agent_1")["transcript"][-1]["text"] == "3 of 3 gave no answer."


def test_the_tally_knows_nothing_of_right_and_wrong() -> None:
    """The same messages and answers, whatever was right: the same tally."""
    row = [("A", "Confidence: 0.9"), ("B", "")]
    right, wrong = discussion([(1, 0)], answers=["AB"]), discussion([(0, 1)], right=[(False, True)], answers=["AB"])
    assert tally(right.turns) == tally(wrong.turns)
    assert "0.9" in tally(sure(row).turns)


def test_a_reconcile_discussion_ends_when_all_agree() -> None:
    protocol = ReConcile(3)
    assert protocol.over(sure([("B", ""), ("B", "")])) and not protocol.over(sure([("A", ""), ("B", "")]))
    assert protocol.default_num_agents == 2


def test_pipeline_names_roles_and_scores() -> None:
    assert Pipeline().agent_names(3) == ("generator_0", "verifier_0", "refiner_0")
    assert Pipeline().agent_names(4) == ("generator_0", "verifier_0", "verifier_1", "refiner_0")
    assert Pipeline().agent_names(2) == ("generator_0", "refiner_0")
    assert Pipeline().agent_names(1) == ("refiner_0",)
    assert "check the solution" in Pipeline().role("verifier_1", 0)
    assert [Pipeline().scored(agent, 0) for agent in Pipeline().agent_names(3)] == [False, False, True]
    assert all(Pipeline(scored_turns="all").scored(agent, 0) for agent in Pipeline().agent_names(3))

    own = Pipeline(roles={"writer": "Write.", "fact_checker": "Check the facts."})
    assert own.agent_names(2) == ("writer_0", "fact_checker_0")
    assert own.role("fact_checker_0", 1) == "Check the facts."
    assert own.scored("fact_checker_0", 0) and not own.scored("writer_0", 0)
    assert own.default_num_agents == 2
    assert Pipeline(roles=["solver", "solver", "judge"]).agent_names(3) == ("solver_0", "solver_1", "judge_0")
    assert Pipeline(roles=["judge"]).role("judge_0", 0) == "You are the judge."


def test_a_debate_may_have_roles() -> None:
    protocol = Debate(roles={"helper": "Write aux.", "main": "Write f."})
    assert protocol.agent_names(protocol.default_num_agents) == ("helper_0", "main_0")
    assert [protocol.role(agent, 1) for agent in ("helper_0", "main_0")] == ["Write aux.", "Write f."]
    assert Debate(roles=("poet", "poet")).role("poet_1", 0) == "You are the poet."
    assert protocol.scored("helper_0", 0) and len(protocol.due(begun(protocol, 2, 0))) == 2  # all else is a debate's
    with pytest.raises(ValueError, match="num_agents is 3 but the debate has 2 roles: helper, main"):
        protocol.agent_names(3)


def test_others_have_no_role_and_score_all() -> None:
    for protocol in (Debate(), RoundRobin()):
        assert protocol.role("agent_0", 0) == ""
        assert protocol.scored("agent_0", 0)


def test_a_pipelines_answer_is_its_last_speakers() -> None:
    env = Digits(protocol={"name": "pipeline", "scored_turns": "all"}, num_rounds=1)
    env.reset(seed=0)
    gold = env.transcript.question.answer
    for text in (gold, gold, "no idea"):
        env.step(text)
    assert env.team_answer().correct == 0
    debate = Digits(3, 1)
    debate.reset(options={"question": env.transcript.question})
    for text in (gold, gold, "no idea"):
        debate.step(text)
    assert debate.team_answer().correct == 1


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: Debate(0), ValueError, "num_rounds is 0; a discussion needs at least 1"),
        (lambda: Debate(-1), ValueError, "num_rounds is -1"),
        (lambda: Debate(1.5), TypeError, "num_rounds is 1.5 .float.; give an integer"),
        (lambda: Debate(True), TypeError, "num_rounds is True"),
        (lambda: Debate(2, "some"), ValueError, "unknown history 'some'; one of: all, last_round"),
        (lambda: Debate(topology="mesh"), ValueError, "unknown topology 'mesh'; one of: all, ring, star"),
        (lambda: Debate(stop="early"), ValueError, "unknown stop 'early'; write 'consensus', .*or leave it out"),
        (
            lambda: Debate(topology="ring").agent_names(3),
            ValueError,
            "topology='ring'. needs at least 4 agents and num_agents is 3; give more, or use plain 'debate'",
        ),
        (lambda: Debate(topology="star").agent_names(2), ValueError, "needs at least 3 agents and num_agents is 2"),
        (lambda: Debate(stop="consensus").agent_names(1), ValueError, "stop='consensus'. needs at least 2 agents"),
        (lambda: MixtureOfAgents(1), ValueError, "num_rounds is 1; mixture_of_agents needs 2"),
        (lambda: MixtureOfAgents().agent_names(1), ValueError, "MixtureOfAgents.*needs at least 2 agents"),
        (lambda: ReConcile().agent_names(1), ValueError, "ReConcile.*needs at least 2 agents and num_agents is 1"),
        (lambda: build_protocol({"name": "debate", "topolgy": "ring"}, 2, None), ValueError, "topolgy.*topology"),
        (lambda: Debate(2).agent_names(0), ValueError, "num_agents is 0"),
        (lambda: Pipeline(roles=["a", "b"]).agent_names(3), ValueError, "num_agents is 3 but the pipeline has 2 roles"),
        (lambda: Pipeline(roles=[]), ValueError, "at least one role"),
        (lambda: Pipeline(roles="generator"), ValueError, "names of at least one role"),
        (lambda: Pipeline(roles=["a 1"]), ValueError, "role 'a 1' is no name"),
        (lambda: Pipeline(scored_turns="some"), ValueError, "unknown scored_turns 'some'"),
        (lambda: build_protocol("debat", 2, None), ValueError, "unknown protocol 'debat'. Did you mean 'debate'"),
        (lambda: build_protocol(7, 2, None), TypeError, "protocol 7 is no Protocol"),
        (lambda: build_protocol(Debate(2), 3, None), ValueError, "num_rounds is 3 but Debate"),
        (lambda: build_protocol(Debate(2), None, "last_round"), ValueError, "history is 'last_round' but Debate"),
    ],
)
def test_bad_input(make: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_specifications() -> None:
    assert build_protocol("round_robin", 3, "last_round").history == "last_round"
    assert build_protocol({"name": "debate", "history": "last_round"}, None, None).history == "last_round"
    assert build_protocol(Debate(4), None, None).num_rounds == 4
    assert build_protocol(RoundRobin, None, None).num_rounds == 2
    assert build_protocol("maporl.envs.protocols:Debate", 5, None).num_rounds == 5


def test_what_stands_when_a_round_is_over() -> None:
    """Of a discussion that ended early its last round goes on standing."""
    question = Question("q", "1")
    turns = tuple(Turn(agent, r, f"{agent} {r}") for r in range(2) for agent in ("agent_0", "agent_1"))
    transcript = Transcript(question, ("agent_0", "agent_1"), 4, turns, ended=True)
    assert transcript.standing(0) == turns[:2]
    assert transcript.standing(1) == transcript.standing(3) == turns[2:]
    assert Transcript(question, ("agent_0",), 2).standing(0) == ()
