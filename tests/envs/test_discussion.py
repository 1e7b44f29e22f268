"""The bookkeeping of a discussion: what is shown, what is scored, what is paid, where it can start."""

from __future__ import annotations

import contextlib
import copy
import io
import pickle
import warnings
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
from discussion_toys import Contains, Digits, Told, discussion
from hypothesis import given, settings
from hypothesis import strategies as st

from maporl import registry
from maporl.envs import Debate, DiscussionEnv, Incentives, OwnScore, Shaping, TeamScore
from maporl.envs.spaces import AnyText
from maporl.envs.verifiers import VerifierFailed
from maporl.types import Question, Score, Seat, Transcript, Turn

PROTOCOLS = registry.names("protocol")
ASKED = Question("Which digit?", "<7>", private={"agent_0": "alpha secret", "agent_1": "beta secret"})


def started(*args: object, question: Question = ASKED, **kwargs: object) -> Digits:
    env = Digits(*args, **kwargs)
    env.reset(options={"question": question})
    return env


# What is shown.


def test_an_observation() -> None:
    env = started()
    env.step("It is <7>.")
    assert env.agent_selection == "agent_1"
    assert env.observe("agent_1") == {
        "agent": "agent_1",
        "round": 0,
        "question": "Which digit?",
        "private": "beta secret",
        "instruction": "Name the digit.",
        "role": "",
        "transcript": (),
    }
    env.step("No.")
    assert env.observe("agent_1")["round"] == 1
    assert env.observe("agent_1")["transcript"] == (
        {"agent": "agent_1", "round": 0, "text": "No."},
        {"agent": "agent_0", "round": 0, "text": "It is <7>."},
    )
    assert env.state() == env.rules.state(env.transcript, Seat("agent_0", 1))
    assert env.state()["private"] == "agent_0: alpha secret\nagent_1: beta secret"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_nobody_ever_sees_anothers_private_text(protocol: str) -> None:
    env = Digits(3, 2, protocol=protocol)
    env.reset(seed=0)
    for agent in env.agent_iter():
        for seat, reader in enumerate(env.possible_agents):
            if reader in env.agents:
                shown = repr(env.observe(reader))
                others = [f"secret of {name} " for name in env.possible_agents if name != reader]
                assert f"secret of {env.possible_agents[seat]} " in shown
                assert not any(secret in shown for secret in others)
        env.step(None if env.terminations[agent] else "hello")


def test_private_views_follow_the_seat_when_agents_are_named_after_roles() -> None:
    env = started(2, 1, protocol="pipeline")
    assert env.possible_agents == ["generator_0", "refiner_0"]
    assert env.observe("refiner_0")["private"] == "beta secret"
    assert "You are the refiner" in env.observe("refiner_0")["role"]


def test_no_private_information_is_an_empty_text() -> None:
    env = started(question=Question("?", "!"))
    assert env.observe("agent_0")["private"] == ""
    assert env.state()["private"] == ""


def test_with_one_agent_the_joint_view_is_the_own_view() -> None:
    env = started(1, 3)
    for _ in range(3):
        assert env.state() == env.observe("agent_0")
        env.step("hm")


def test_instruction_is_an_argument() -> None:
    assert started(instruction="Sing.").observe("agent_0")["instruction"] == "Sing."
    assert started(instruction="").observe("agent_0")["instruction"] == ""


@given(st.sampled_from(PROTOCOLS), st.integers(0, 5), st.text(max_size=5))
def test_the_critics_view_never_holds_what_it_judges(protocol: str, spoken: int, other: str) -> None:
    """Whatever agent i says now, and whatever is said beside it, its joint view at its first token is the same."""
    views = []
    for text in ("one thing", other):
        env = started(3, 2, protocol=protocol)
        most = {"mixture_of_agents": 3, "discuss": 4}.get(protocol, spoken)  # then it would be over
        for _ in range(min(spoken, most)):
            env.step("hm")
        judged = env.rules.due(env.transcript)[-1]
        before = env.rules.state(env.transcript, judged)
        while env.agent_selection != judged.agent:
            env.step(text)  # simultaneous messages
        views += [before, env.rules.state(env.transcript, judged)]
    assert all(view == views[0] for view in views)


# What is scored.


def test_the_verifier_is_the_truth_when_it_is_rule_based() -> None:
    env = started()
    assert env.ground_truth is env.verifier
    env.step("<7>")
    (turn,) = env.transcript.turns
    assert turn.score == Score(1.0, True, "<7>")
    assert turn.truth is turn.score


def test_a_learned_verifier_leaves_the_truth_to_the_task() -> None:
    env = started(verifier=Told)
    assert isinstance(env.ground_truth, Contains)
    env.step("<7> v=0.25")
    (turn,) = env.transcript.turns
    assert (turn.value, turn.correct) == (0.25, True)


def test_without_any_truth_nothing_is_correct() -> None:
    class Untold(Digits):
        default_verifier = Told

    env = Untold()
    env.reset(seed=0)
    env.step("v=0.5")
    assert env.ground_truth is None
    assert (env.transcript.turns[0].value, env.transcript.turns[0].correct) == (0.5, None)


def test_named_ground_truth_wins() -> None:
    truth = Contains()
    env = started(verifier=Told, ground_truth=truth)
    assert env.ground_truth is truth


def test_any_function_is_a_verifier() -> None:
    env = started(verifier=lambda question, response: len(response) / 10)
    env.step("12345")
    assert env.transcript.turns[0].value == 0.5


def test_unscored_turns_have_no_score_and_scored_ones_are_asked_once() -> None:
    verifier = Contains()
    env = started(3, 1, protocol="pipeline", verifier=verifier)
    for text in ("<7>", "right", "<7>"):
        env.step(text)
    assert [turn.score is None for turn in env.transcript.turns] == [True, True, False]
    assert [turn.truth is None for turn in env.transcript.turns] == [True, True, False]
    assert verifier.batches == [1]


def test_scores_in_batches_of_many_discussions() -> None:
    env = Digits(3, 2, verifier=Told)
    start = env.rules.start(ASKED)
    said = [(start, [Turn(agent, 0, f"<7> v=0.{i}") for agent in env.agents]) for i in range(4)]
    discussions = env.rules.extend(said)
    assert env.verifier.batches == [12] and env.ground_truth.batches == [12]
    assert [(t.score, t.truth) for t in discussions[1].turns] == [(Score(0.1, None), Score(1.0, True, "<7>"))] * 3
    for (_, turns), together in zip(said, discussions, strict=True):
        alone = start
        for turn in turns:
            (alone,) = env.rules.extend([(alone, [turn])])
        assert alone == together


def test_a_batch_of_unscored_messages_asks_nobody() -> None:
    env = started(3, 1, protocol="pipeline", verifier=Contains())
    env.step("x")
    assert (env.transcript.turns[0].score, env.transcript.turns[0].truth) == (None, None)
    assert env.verifier.batches == []


class Agreement:
    """A team verifier: do all say the same? Remembers what it was asked."""

    uses_gold = False
    rule_based = True

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []

    def __call__(self, question: Question, responses: dict[str, str]) -> Score:
        self.asked.append(dict(responses))
        return Score(float(len(set(responses.values())) == 1), None)


class OnlyTeam(Digits):
    default_verifier = None
    default_team_verifier = Agreement


def test_a_team_verifier_is_called_once_per_completed_round() -> None:
    env = OnlyTeam()
    env.reset(seed=0)
    assert env.shaping == TeamScore()  # nobody else scores
    for text in "aabc":
        env.step(text)
    assert env.team_verifier.asked == [{"agent_0": "a", "agent_1": "a"}, {"agent_0": "b", "agent_1": "c"}]
    assert [score.value for score in env.transcript.team_scores] == [1.0, 0.0]
    assert env.turn_rewards == (1.0, 1.0, 0.0, 0.0)


def test_both_kinds_of_verifier_reach_the_shaping() -> None:
    env = started(1, 1, team_verifier=Agreement(), shaping=["own_score", "team_score"])
    env.step("<7>")
    assert env.turn_rewards == (2.0,)


def test_the_teams_answer() -> None:
    env = started(3, 1)
    for text in ("<7>", "<7>", "what?"):
        env.step(text)
    assert env.team_answer().correct == 1


# What ends it.


def test_an_aggregator_ends_its_round_alone() -> None:
    env = OnlyTeam(3, 3, protocol="mixture_of_agents")
    env.reset(seed=0)
    for text in ("a", "a", "a", "b", "c", "b", "d"):
        assert not any(env.terminations.values())
        env.step(text)
    assert all(env.terminations.values())
    asked = env.team_verifier.asked
    assert [list(responses) for responses in asked] == [env.possible_agents, env.possible_agents, ["agent_0"]]
    assert env.turn_rewards == (1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    assert env.infos["agent_0"] == {"turn_rewards": (1.0, 0.0, 1.0)} and env.infos["agent_2"] == {
        "turn_rewards": (1.0, 0.0)
    }
    assert env.observe("agent_1")["round"] == 3 == env.num_rounds


def test_consensus_ends_a_debate() -> None:
    env = started(3, 3, protocol={"name": "debate", "stop": "consensus"}, shaping="outcome_credit")
    for text in ("<7>", "<7>", "no", "<7>", "<7>"):
        env.step(text)
        assert not any(env.terminations.values()) and not env.transcript.is_complete
    env.step("<7>")
    assert all(env.terminations.values()) and env.transcript.is_complete
    assert (env.transcript.completed_rounds, len(env.transcript.turns)) == (2, 6)
    assert env.turn_rewards == (1.0,) * 6 and env.team_answer().correct == 1
    assert env.observe("agent_0")["round"] == 2
    assert all(env.observation_space(a).contains(env.observe(a)) for a in env.possible_agents)
    with pytest.raises(ValueError, match="dead"):
        env.step("more")
    whole = env.transcript
    for prefix in (whole, replace(whole, turns=(*whole.turns, Turn("agent_0", 2, "<7>")))):
        with pytest.raises(ValueError, match="but after 6 nobody is left to speak"):
            env.reset(options={"transcript": prefix})
    env.reset(options={"transcript": replace(whole, turns=whole.turns[:5])})  # a prefix of what has ended has not
    assert env.agent_selection == "agent_2" and not env.transcript.is_complete
    env.step("<7>")
    assert env.transcript == whole


def test_consensus_through_the_parallel_interface() -> None:
    env = Digits(2, 4, protocol={"name": "debate", "stop": "consensus"}).parallel()
    env.reset(options={"question": ASKED})
    env.step({"agent_0": "<7>", "agent_1": "no"})
    assert env.agents == ["agent_0", "agent_1"]
    _, rewards, terminations, truncations, _ = env.step({"agent_0": "<7>", "agent_1": "<7>"})
    assert rewards == {"agent_0": 1.0, "agent_1": 1.0}
    assert all(terminations.values()) and not any(truncations.values()) and env.agents == []


# What is paid.


def test_payments_by_hand() -> None:
    """The own score of agent 0 is paid when it speaks; team mean only when a round is complete, to everybody at once."""
    env = started(shaping="own_score", num_rounds=1)
    env.step("<7>")
    assert env.rewards == {"agent_0": 1.0, "agent_1": 0.0}
    env = started(shaping="team_mean", num_rounds=1)
    env.step("<7>")
    assert env.rewards == {"agent_0": 0.0, "agent_1": 0.0}
    env.step("what?")
    assert env.rewards == {"agent_0": 0.5, "agent_1": 0.5}


def test_the_end() -> None:
    env = started(shaping="outcome_credit")
    for text in ("what?", "<7>", "<7>", "what?"):
        env.step(text)
    assert env.terminations == {"agent_0": True, "agent_1": True}
    assert env.truncations == {"agent_0": False, "agent_1": False}
    assert env.turn_rewards == (0.5, 0.5, 1.0, 0.0)
    assert env.infos == {"agent_0": {"turn_rewards": (0.5, 1.0)}, "agent_1": {"turn_rewards": (0.5, 0.0)}}
    seen = {}
    for agent in env.agent_iter():
        seen[agent] = env.last()[1]
        env.step(None)
    # Since its last message agent 0 got 1 for it, and then one half for its first, which shares in the last round's mean.
    # Agent 1 had been paid 1 for its first, right answer; with the last round known that is worth one half.
    assert seen == {"agent_0": 1.5, "agent_1": -0.5}
    with pytest.raises(RuntimeError, match="over; call reset"):
        env.step("more")


SHAPINGS = [
    "own_score",
    "team_mean",
    "last_round_team",
    "last_round_own",
    {"name": "discounted_own", "gamma": 0.5},
    "discounted_team",
    "outcome_credit",
    {"name": "incentives", "alpha0": 1, "alpha1": 0.5, "beta0": 2, "beta1": 1.5},
    {"name": "length", "at_least": 1},
    "team_score",
    ["discounted_team", {"name": "incentives", "alpha1": 1, "beta1": 1}, {"name": "pattern", "pattern": "v="}],
]


@settings(deadline=None)
@given(st.sampled_from(SHAPINGS), st.sampled_from(PROTOCOLS), st.data())
def test_aec_rewards_telescope_to_the_shapings_totals(shaping: object, protocol: str, data: st.DataObject) -> None:
    """Every agent is paid, over a whole discussion or from any prefix of it, what its messages earned; and the reward that
    `last` returns, the dead step's included, adds up to the same."""
    if "incentives" in repr(shaping):
        protocol = "debate"
    mixture = protocol == "mixture_of_agents"
    fewest = 3 if protocol in ("discuss", "review") else 2
    agents, rounds = data.draw(st.integers(fewest, 4)), data.draw(st.integers(1 + mixture, 3))
    spoken = agents * (rounds - 1) + 1 if mixture else agents * rounds
    if protocol == "discuss":  # the judge speaks once
        spoken += 1 - rounds
    texts = data.draw(
        st.lists(
            st.sampled_from(["", "<7> v=0.9", "<7> v=0.2", "v=0.6", "no v=0.1"]),
            min_size=spoken,
            max_size=spoken,
        )
    )
    env = started(agents, rounds, protocol=protocol, shaping=shaping, verifier=Told, team_verifier=Agreement)
    prefixes = []
    for text in texts:
        prefixes.append(env.transcript)
        env.step(text)
        if env.transcript.is_complete:  # all agree in reconcile
            break
    whole = env.transcript
    prefix = data.draw(st.sampled_from(prefixes))
    start = len(prefix.spoken.turns)
    env.reset(options={"transcript": prefix})
    before = {name: 0.0 for name in env.possible_agents}
    for turn, reward in zip(prefix.spoken.turns, env.shaping(prefix.spoken), strict=True):
        before[turn.agent] += reward

    paid = dict.fromkeys(env.possible_agents, 0.0)
    collected = dict.fromkeys(env.possible_agents, 0.0)
    rest = iter(texts[start:])
    first = dict.fromkeys(env.possible_agents, True)
    for agent in env.agent_iter():
        _, reward, dead, _, _ = env.last()
        collected[agent] += reward
        first[agent] = False
        env.step(None if dead else next(rest))
        if not dead:
            for name, amount in env.rewards.items():
                paid[name] += amount
    for agent in env.possible_agents:
        messages = zip(env.transcript.turns, env.turn_rewards, strict=True)
        owed = sum(reward for turn, reward in messages if turn.agent == agent) - before[agent]
        assert paid[agent] == pytest.approx(owed, abs=1e-9)
        assert collected[agent] == pytest.approx(owed, abs=1e-9)
    assert env.turn_rewards == env.rules.rewards(env.transcript)
    assert env.transcript == whole


@pytest.mark.parametrize("base", ["own_score", "discounted_team", "outcome_credit"])
def test_zero_incentives_change_no_payment(base: str) -> None:
    payments = []
    for shaping in (base, [base, "incentives"]):
        env = started(3, 2, shaping=shaping)
        paid = []
        for text in ("<7>", "x", "<7>", "x", "<7>", "<7>"):
            env.step(text)
            paid.append(env.rewards)
        payments.append(paid)
    assert payments[0] == payments[1]


# Where it starts.


def test_seeded_questions() -> None:
    def drawn(seed: int | None, env: DiscussionEnv) -> list[str]:
        env.reset(seed=seed)
        first = env.transcript.question.id
        env.reset()
        return [first, env.transcript.question.id]

    assert drawn(3, Digits()) == drawn(3, Digits())
    assert len({tuple(drawn(seed, Digits())) for seed in range(5)}) > 1


def test_resuming_from_any_prefix_is_the_same_discussion() -> None:
    texts = ["<7>", "no", "what", "<7>", "", "<7>"]
    whole = started(2, 3, shaping="discounted_team")
    prefixes = [whole.transcript]
    for text in texts:
        whole.step(text)
        prefixes.append(whole.transcript)
    for cut, prefix in enumerate(prefixes[:-1]):
        env = Digits(2, 3, shaping="discounted_team")
        env.reset(options={"transcript": prefix})
        assert env.transcript == prefix
        assert env.agent_selection == ("agent_0", "agent_1")[cut % 2]
        for text in texts[cut:]:
            env.step(text)
        assert env.transcript == whole.transcript
        assert env.turn_rewards == whole.turn_rewards


def test_a_prefix_without_scores_is_scored_and_a_shorter_discussion_goes_on() -> None:
    turns = (Turn("agent_0", 0, "<7>"), Turn("agent_1", 0, "no"))
    env = Digits(2, 3, team_verifier=Agreement())
    env.reset(options={"transcript": Transcript(ASKED, ("agent_0", "agent_1"), 1, turns)})
    assert [turn.correct for turn in env.transcript.turns] == [True, False]
    assert [score.value for score in env.transcript.team_scores] == [0.0]
    assert env.transcript.num_rounds == 3 and env.agent_selection == "agent_0"


def test_known_scores_of_a_prefix_are_kept() -> None:
    known = Score(0.123, None)
    turns = tuple(Turn(f"agent_{i}", 0, "<7>", known, known) for i in range(2))
    env = Digits(team_verifier=Agreement())
    env.reset(options={"transcript": Transcript(ASKED, ("agent_0", "agent_1"), 2, turns, (known,))})
    assert env.transcript.turns == turns and env.transcript.team_scores == (known,)
    assert env.team_verifier.asked == []


def test_copies_are_independent_and_share_questions() -> None:
    env = Digits(verifier=Contains())
    env.reset(seed=0)
    env.step("hm")
    twin = copy.copy(env)
    assert twin.transcript == env.transcript
    assert twin.questions("train") is env.questions("train") and twin.verifier is env.verifier
    for _ in range(3):
        twin.step("ha")
    for _ in range(2):
        twin.step(None)
    assert twin.agents == []
    assert len(env.transcript.turns) == 1 and env.agents == ["agent_0", "agent_1"]
    assert not any(env.terminations.values()) and env.infos == {"agent_0": {}, "agent_1": {}}
    fresh = copy.copy(env)
    fresh.reset()
    env.reset()
    assert fresh.transcript.question == env.transcript.question  # its own generator, in the same state


def test_pickling_in_the_middle() -> None:
    env = Digits(3, 2, protocol="round_robin", shaping="discounted_team")
    env.reset(seed=5)
    env.step("<7>")
    twin = pickle.loads(pickle.dumps(env))
    for one in (env, twin):
        one.step("x")
    assert twin.transcript == env.transcript and twin.rewards == env.rewards
    env.reset()
    twin.reset()
    assert env.transcript.question == twin.transcript.question


# Questions and splits.


def test_splits() -> None:
    env = Digits()
    train, validation, test = (env.questions(split) for split in ("train", "validation", "test"))
    assert len(train) + len(validation) == 200 and len(test) == 20
    assert not {q.hash for q in train} & {q.hash for q in validation}
    assert all(int(q.hash[:8], 16) / 2**32 < 0.05 for q in validation)
    assert env.questions("train") is train


def test_about_five_percent_are_held_out() -> None:
    from maporl.envs.splits import is_validation

    share = np.mean([is_validation(Question(f"{n}", "")) for n in range(4000)])
    assert share == pytest.approx(0.05, abs=0.012)


class Tiny(Digits):
    def load(self, split: str) -> Iterable[Question]:
        return [Question("a", "b"), Question("c", "d"), Question("a", "b")] if split == "train" else []


def test_a_tiny_task_warns_once_and_lends_its_questions() -> None:
    env = Tiny()
    with pytest.warns(UserWarning, match="too small to hold anything out .2 questions"):
        assert env.questions("validation") == env.questions("train") == (Question("a", "b"), Question("c", "d"))
    with pytest.warns(UserWarning, match="no test questions"):
        assert env.questions("test") == env.questions("train")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env.questions("test")
        env.questions("validation")


def test_questions_are_loaded_and_checked_once() -> None:
    loads, checks = [], []

    class Counting(Digits):
        def load(self, split: str) -> Iterable[Question]:
            loads.append(split)
            return super().load(split)

    class Checking(Contains):
        def check_gold(self, question: Question) -> None:
            checks.append(question.id)

    env = Counting(verifier=Checking)
    for split in ("train", "validation", "test", "train"):
        copy.copy(env).questions(split)
    assert loads == ["train", "test"]
    assert len(checks) == len(set(checks)) == 220


def test_gold_answers_are_checked_when_loaded() -> None:
    class Picky(Contains):
        def check_gold(self, question: Question) -> None:
            if "3" in question.answer:
                raise ValueError(f"question {question.id}: bad gold {question.answer!r}")

    env = Digits(verifier=Picky)
    with pytest.raises(ValueError, match="bad gold '<3>'"):
        env.reset()


# Rendering.


def test_ansi_returns_the_discussion() -> None:
    env = started(render_mode="ansi")
    env.step("It is <7>.")
    text = env.render()
    assert text.splitlines()[0] == "Question: Which digit?"
    assert "(agent_1 alone knows: beta secret)" in text
    assert text.splitlines()[-1] == "[round 1] agent_0 (right): It is <7>."


def test_human_prints_everything_once_whatever_is_said() -> None:
    printed = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    with contextlib.redirect_stdout(printed):
        env = started(render_mode="human")
        env.step("caf\u00e9 \ud800")
        assert env.render() is None
        env.step("no v=")
    printed.seek(0)
    lines = printed.read().splitlines()
    assert lines[0] == "Question: Which digit?"
    assert lines[-2:] == ["[round 1] agent_0 (wrong): caf\\xe9 \\ud800", "[round 1] agent_1 (wrong): no v="]
    assert len(lines) == 5


def test_render_without_a_mode_warns() -> None:
    with pytest.warns(UserWarning, match="render_mode='human'"):
        assert started().render() is None
    started().close()


# Spaces.


@given(st.text(st.characters()))  # surrogates included
def test_any_text_is_an_action(text: str) -> None:
    assert AnyText().contains(text)
    env = started()
    env.step(text)
    assert env.transcript.turns[0].text == text


def test_spaces() -> None:
    space = AnyText(max_length=5)
    assert "" in space and "\ud800" in space and "123456" not in space and 5 not in space
    assert all(space.contains(space.sample()) for _ in range(50))
    assert AnyText(3) != AnyText(4) and AnyText(3) == AnyText(3)
    with pytest.raises(ValueError, match="no finite alphabet"):
        space.sample(mask=(1, None))
    env = started()
    for agent in env.possible_agents:
        assert env.observation_space(agent).contains(env.observe(agent))
        assert env.observation_space(agent).contains(env.rules.state(env.transcript, Seat(agent, 0)))
        assert env.observation_space(agent).contains(env.observation_space(agent).sample())


# Bad input.


class NoVerifier(Digits):
    default_verifier = None


class Short(Shaping):
    def __call__(self, transcript: Transcript) -> tuple[float, ...]:
        return (0.0,)


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: Digits(0), ValueError, "num_agents is 0; a discussion needs at least 1"),
        (lambda: Digits(-2), ValueError, "num_agents is -2"),
        (lambda: Digits("2"), TypeError, "num_agents is '2' .str."),
        (lambda: Digits(2, 0), ValueError, "num_rounds is 0; a discussion needs at least 1"),
        (lambda: Digits(max_cycles=0), ValueError, "num_rounds is 0"),
        (lambda: Digits(history="none"), ValueError, "unknown history 'none'; one of: all, last_round"),
        (lambda: Digits(protocol="debates"), ValueError, "unknown protocol 'debates'. Did you mean 'debate'"),
        (lambda: Digits(protocol={"names": "debate"}), ValueError, "has no 'name'"),
        (lambda: Digits(protocol="no.such.module:X"), ValueError, "there is no module 'no'"),
        (lambda: Digits(shaping="own"), ValueError, "unknown shaping 'own'"),
        (lambda: Digits(verifier="numbre"), ValueError, "unknown verifier 'numbre'. Did you mean 'number'"),
        (lambda: Digits(verifier=3), TypeError, "verifier 3 cannot be called"),
        (lambda: Digits(team_verifier=3), TypeError, "team_verifier 3 cannot be called"),
        (lambda: Digits(shaping="team_score"), ValueError, "reads the team's score; pass team_verifier="),
        (lambda: NoVerifier(), ValueError, "NoVerifier has no verifier; set default_verifier"),
        (lambda: OnlyTeam(shaping="own_score"), ValueError, "OnlyTeam has no verifier"),
        (lambda: Digits(split="dev"), ValueError, "unknown split 'dev'; one of: train, validation, test"),
        (lambda: Digits(render_mode="rgb"), ValueError, "unknown render_mode 'rgb'; one of: human, ansi"),
        (lambda: Digits(1, shaping="incentives"), ValueError, "num_agents is 1"),
        (lambda: Digits(protocol="round_robin", shaping=Incentives(1)), ValueError, "'round_robin' is sequential"),
        (lambda: Digits(3, protocol=Debate(2), max_cycles=3), ValueError, "num_rounds is 3 but Debate"),
        (lambda: Digits(protocol="pipeline").parallel(), ValueError, "protocol 'pipeline' is sequential"),
        (lambda: Digits.parallel_env(protocol="round_robin"), ValueError, "protocol 'round_robin' is sequential"),
        (lambda: Digits().questions("dev"), ValueError, "unknown split 'dev'"),
        (lambda: Digits().step("too early"), RuntimeError, "call reset.. first"),
        (lambda: Digits().observe("agent_0"), RuntimeError, "call reset.. first"),
        (lambda: started().step(3), TypeError, "an action is a string; agent_0 got 3 .int."),
        (lambda: started().step(None), TypeError, "agent_0 got None .NoneType."),
        (lambda: started().step(b"<7>"), TypeError, "got b'<7>' .bytes."),
        (lambda: started(shaping=Short()).turn_rewards, TypeError, "it must return 0 numbers, one reward per turn"),
        (lambda: started(question="why?"), TypeError, "options.'question'. is a str; give a maporl.types.Question"),
        (lambda: Digits().reset(options={"transcript": ASKED}), TypeError, "is a Question; give a .*Transcript"),
        (
            lambda: started(team_verifier=lambda q, r: 1.0, num_agents=1).step("x"),
            VerifierFailed,
            "it must return maporl.types.Score",
        ),
        (lambda: DiscussionEnv(verifier=Contains).reset(), NotImplementedError, "has no load"),
    ],
)
def test_bad_input(make: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def prefix(**changes: object) -> Transcript:
    return replace(Transcript(ASKED, ("agent_0", "agent_1"), 2, (Turn("agent_0", 0, "x"),)), **changes)


@pytest.mark.parametrize(
    "transcript, message",
    [
        (prefix(agents=("a_0", "b_0")), "the transcript's agents are .'a_0', 'b_0'."),
        (prefix(turns=(Turn("agent_1", 0, "x"),)), "turn 0 is by .'agent_1', 0., not .'agent_0', 0."),
        (prefix(turns=(Turn("agent_0", 1, "x"),)), "turn 0 is by .'agent_0', 1."),
        (discussion([(0, 0), (0, 0)]), "has 4 turns, but after 4 nobody is left to speak; give a shorter one"),
        (discussion([(0, 0), (0, 0), (0,)]), "has 5 turns, but after 4 nobody is left"),
    ],
)
def test_bad_prefixes(transcript: Transcript, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Digits().reset(options={"transcript": transcript})


def test_a_question_and_a_transcript_contradict() -> None:
    with pytest.raises(ValueError, match="both a question and a transcript"):
        Digits().reset(options={"question": ASKED, "transcript": prefix()})


def test_unknown_options_are_ignored() -> None:
    env = Digits()
    env.reset(options={"options": 1, "question": None})
    env.reset(options={})
    assert env.transcript.turns == ()


def test_bad_questions() -> None:
    class Wrong(Digits):
        def load(self, split: str) -> Iterable[Question]:
            return ["what?"]

    class Nothing(Digits):
        def load(self, split: str) -> Iterable[Question]:
            return []

    with pytest.raises(TypeError, match="load.'train'. yields a str at place 0"):
        Wrong().reset()
    with pytest.raises(ValueError, match="digits has no training questions"):
        Nothing().reset()


def test_numpy_strings_are_strings() -> None:
    env = started()
    env.step(np.str_("<7>"))
    assert type(env.transcript.turns[0].text) is str


def test_specifications_of_the_shaping() -> None:
    assert started(shaping=OwnScore).shaping == OwnScore()
    assert started().shaping == OwnScore()
