"""Shapings against hand-computed numbers, the paper's tables row by row, and what must hold for any discussion."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from discussion_toys import Digits, discussion
from hypothesis import given
from hypothesis import strategies as st

from maporl.envs import shaping as sh
from maporl.envs.protocols import Debate, Pipeline, RoundRobin
from maporl.types import Score, Transcript

R, W = True, False
VECTOR = [(0.1, 0.2), (0.5, 0.9), (0.7, 0.3)]  # the test vector of MAPoRL's reward: 2 agents, 3 rounds


def near(*values: float) -> object:
    return pytest.approx(values, abs=1e-6)


def truths(rows: list[tuple[bool | None, ...]], **more: object) -> Transcript:
    """A discussion in which only right and wrong matter."""
    return discussion([[0.0] * len(row) for row in rows], rows, **more)


# Scores.


def test_the_verifiers_values_in_five_arrangements() -> None:
    transcript = discussion(VECTOR)
    assert sh.OwnScore()(transcript) == near(0.1, 0.2, 0.5, 0.9, 0.7, 0.3)
    assert sh.TeamMean()(transcript) == near(0.15, 0.15, 0.7, 0.7, 0.5, 0.5)
    assert sh.LastRoundTeam()(transcript) == near(*[0.5] * 6)
    assert sh.LastRoundOwn()(transcript) == near(0.7, 0.3, 0.7, 0.3, 0.7, 0.3)
    assert sh.OutcomeCredit()(transcript) == near(0.5, 0.5, 0.5, 0.5, 0.7, 0.3)


def test_discounted_team_is_maporls_test_vector() -> None:
    """Agent 0: .255396, .5, .7; agent 1: .327338, .807692, .3 (the release's discounted_sum/all gives the same)."""
    assert sh.DiscountedTeam(0.3)(discussion(VECTOR)) == near(0.255396, 0.327338, 0.5, 0.807692, 0.7, 0.3)


def test_discounted_own_by_hand() -> None:
    weights = 1 + 0.3 + 0.09
    expected = ((0.1 + 0.3 * 0.5 + 0.09 * 0.7) / weights, (0.2 + 0.3 * 0.9 + 0.09 * 0.3) / weights)
    second = ((0.5 + 0.3 * 0.7) / 1.3, (0.9 + 0.3 * 0.3) / 1.3)
    assert sh.DiscountedOwn(0.3)(discussion(VECTOR)) == near(*expected, *second, 0.7, 0.3)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=12))
def test_without_discount_both_discounted_designs_are_the_own_score(values: list[float]) -> None:
    transcript = discussion([values[i : i + 2] for i in range(0, len(values) // 2 * 2, 2)])
    own = sh.OwnScore()(transcript)
    assert sh.DiscountedTeam(0.0)(transcript) == pytest.approx(own)
    assert sh.DiscountedOwn(0.0)(transcript) == pytest.approx(own)


@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 3), st.integers(1, 4))
def test_equal_values_pass_through_every_design(value: float, gamma: float, agents: int, rounds: int) -> None:
    """All designs are means of values, so a discussion of equal values keeps its value."""
    transcript = discussion([[value] * agents] * rounds)
    for shaping in (sh.OwnScore(), sh.TeamMean(), sh.LastRoundTeam(), sh.LastRoundOwn(), sh.OutcomeCredit()):
        assert shaping(transcript) == pytest.approx([value] * agents * rounds)
    assert sh.DiscountedTeam(gamma)(transcript) == pytest.approx([value] * agents * rounds)


def test_in_an_unfinished_round_only_completed_rounds_have_means() -> None:
    transcript = discussion([(0.2, 0.4), (1.0,)], num_rounds=3)
    assert sh.OwnScore()(transcript) == near(0.2, 0.4, 1.0)
    assert sh.TeamMean()(transcript) == near(0.3, 0.3, 0.0)
    assert sh.LastRoundTeam()(transcript) == near(0.3, 0.3, 0.3)
    assert sh.OutcomeCredit()(transcript) == near(0.2, 0.4, 1.0)
    assert sh.DiscountedTeam(0.5)(transcript) == near(0.2, 0.4, 1.0)
    assert sh.LastRoundOwn()(transcript) == near(1.0, 0.4, 1.0)


def test_an_unscored_message_stands_at_the_mean_of_its_round() -> None:
    """A pipeline whose refiner alone is scored: the others are credited with what the refiner got."""
    transcript = discussion([(None, None, 0.8)])
    assert sh.OwnScore()(transcript) == near(0, 0, 0.8)
    assert sh.TeamMean()(transcript) == near(0.8, 0.8, 0.8)
    assert sh.OutcomeCredit()(transcript) == near(0.8, 0.8, 0.8)
    assert sh.DiscountedTeam()(transcript) == near(0.8, 0.8, 0.8)


def test_team_score_pays_completed_rounds() -> None:
    transcript = discussion([(0.0, 0.0), (0.0,)], num_rounds=2)
    scored = Transcript(transcript.question, transcript.agents, 2, transcript.turns, (Score(0.6, None),))
    assert sh.TeamScore()(scored) == near(0.6, 0.6, 0.0)


def test_nothing_said_nothing_earned() -> None:
    empty = Transcript(discussion([(0.0, 0.0)]).question, ("agent_0", "agent_1"), 2)
    for word in ("own_score", "team_mean", "last_round_team", "last_round_own", "discounted_own", "discounted_team"):
        assert sh.build_shaping(word)(empty) == ()
    for word in ("incentives", "outcome_credit", "looping", "team_score"):
        assert sh.build_shaping(word)(empty) == ()


# Incentives, row by row. Three agents: two others that agree are a majority.

PAPER_OWN = [(R, W, R, "alpha1", -1), (R, W, W, "alpha0", -1), (W, R, W, "alpha0", 1), (W, R, R, "alpha1", 1)]
PAPER_OTHERS = [(R, W, R, "beta1", -1), (R, W, W, "beta0", -1), (W, R, W, "beta0", 1), (W, R, R, "beta1", 1)]
RELEASE_OWN = [(R, W, R, "alpha1", -1), (R, W, W, "alpha0", -1), (W, R, W, "alpha1", 1), (W, R, R, "alpha0", 1)]
RELEASE_OTHERS = [(W, R, W, "beta0", -1), (W, R, R, "beta1", -1), (R, W, W, "beta1", 1), (R, W, R, "beta0", 1)]
CASES = list(itertools.product((R, W), repeat=3))
KNOBS = ("alpha0", "alpha1", "beta0", "beta1")


@pytest.mark.parametrize("signs, table", [("paper", PAPER_OWN), ("release", RELEASE_OWN)])
@pytest.mark.parametrize("own, own_next, others", CASES)
@pytest.mark.parametrize("knob", KNOBS[:2])
def test_alpha_pays_the_changed_answer(
    signs: str, table: list, own: bool, own_next: bool, others: bool, knob: str
) -> None:
    """All eight cases with one knob on, so that every row not in the table is seen to pay 0."""
    expected = sum(sign for *row, which, sign in table if row == [own, own_next, others] and which == knob)
    transcript = truths([(own, others, others), (own_next, others, others)])
    rewards = sh.Incentives(**{knob: 2.0}, signs=signs)(transcript)
    assert rewards[0] == 0  # the first answer earns no alpha
    assert rewards[3] == 2.0 * expected


@pytest.mark.parametrize("signs, table, t", [("paper", PAPER_OTHERS, 0), ("release", RELEASE_OTHERS, 1)])
@pytest.mark.parametrize("others, others_next, own", CASES)
@pytest.mark.parametrize("knob", KNOBS[2:])
def test_beta_pays_the_answer_before_the_others_changed(
    signs: str, table: list, t: int, others: bool, others_next: bool, own: bool, knob: str
) -> None:
    """The release pays no beta in its first round, so there the pattern is put into the second."""
    expected = sum(sign for *row, which, sign in table if row == [others, others_next, own] and which == knob)
    rows = [(own, others, others)] * (t + 1) + [(own, others_next, others_next)]
    rewards = sh.Incentives(**{knob: 2.0}, signs=signs)(truths(rows))
    assert rewards[3 * t] == 2.0 * expected
    assert rewards[3 * (t + 1)] == 0  # the last answer earns no beta


@pytest.mark.parametrize("others, others_next, own", CASES)
def test_the_release_pays_no_beta_in_the_first_round(others: bool, others_next: bool, own: bool) -> None:
    transcript = truths([(own, others, others), (own, others_next, others_next)])
    assert sh.Incentives(beta0=1, beta1=1, signs="release")(transcript) == (0.0,) * 6


def test_round_one_earns_beta_and_no_alpha_the_last_round_alpha_and_no_beta() -> None:
    rows = [(W, R), (R, W), (W, R)]
    assert sh.Incentives(alpha0=1, alpha1=1)(truths(rows))[:2] == (0, 0)
    assert sh.Incentives(beta0=1, beta1=1)(truths(rows))[4:] == (0, 0)
    assert sh.Incentives(beta0=1, beta1=1)(truths(rows))[:2] != (0, 0)


def test_a_tie_pays_nothing_and_is_counted() -> None:
    """Agent 0 changes to right while the two others disagree: no alpha. The others then agree: no beta for agent 0."""
    shaping = sh.Incentives(1, 1, 1, 1)
    transcript = truths([(W, R, W), (R, R, R)])
    rewards = shaping(transcript)
    assert rewards[0] == rewards[3] == 0
    # Agent 2 also changes, and its others (W, R) tie as well; agent 1 does not change. Beta: agents 0 and 2 touch a tie.
    assert shaping.metrics(transcript)["incentive_alpha_ties"] == 2
    assert shaping.metrics(transcript)["incentive_beta_ties"] == 2


def test_among_three_agents_half_of_alpha_and_three_quarters_of_beta_touch_a_tie() -> None:
    """As the docs say. Over all pairs of rounds, seen from agent 0, which changes its answer."""
    from maporl.envs.shaping.incentives import majority_of_others

    alpha = beta = total = 0
    for now, after in itertools.product(itertools.product((R, W), repeat=3), repeat=2):
        if now[0] == after[0]:
            continue
        total += 1
        alpha += majority_of_others(list(now), 0) is None
        beta += None in (majority_of_others(list(now), 0), majority_of_others(list(after), 0))
    assert alpha / total == 0.5
    assert beta / total == 0.75


def test_unknown_correctness_counts_as_wrong_and_is_counted() -> None:
    shaping = sh.Incentives(1, 2, 3, 4)
    unknown, wrong = truths([(None, R), (R, None)]), truths([(W, R), (R, W)])
    assert shaping(unknown) == shaping(wrong)
    assert shaping.metrics(unknown)["incentive_unknown"] == 2
    assert shaping.metrics(wrong)["incentive_unknown"] == 0


def test_an_unfinished_round_earns_no_incentive_yet() -> None:
    shaping = sh.Incentives(1, 1, 1, 1)
    assert shaping(discussion([(0, 0), (0,)], [(W, R), (R,)], num_rounds=2)) == (0, 0, 0)
    assert shaping(truths([(W, R), (R, R)])) != (0, 0, 0, 0)


@pytest.mark.parametrize("knob", ["alpha1", "beta1"])
def test_known_hack_swapping_right_and_wrong_pays(knob: str) -> None:
    """RW -> WR -> RW: nothing improves, each earns +2 at a value of 2; seen in the round-trip metric."""
    transcript = truths([(R, W), (W, R), (R, W)])
    shaping = sh.Incentives(**{knob: 2.0})
    rewards = shaping(transcript)
    assert sum(rewards[0::2]) == sum(rewards[1::2]) == 2.0
    assert shaping.metrics(transcript)["round_trip_flips"] == 2


@pytest.mark.parametrize("knob", ["alpha0", "beta0"])
def test_known_hack_going_right_together_and_back_pays(knob: str) -> None:
    transcript = truths([(W, W), (R, R), (W, W)])
    rewards = sh.Incentives(**{knob: 2.0})(transcript)
    assert sum(rewards[0::2]) == sum(rewards[1::2]) == 2.0


def test_the_hack_cancels_for_two_agents_with_equal_knobs_and_not_for_three() -> None:
    def best_round_trip(agents: int) -> float:
        states = list(itertools.product((R, W), repeat=agents))
        shaping = sh.Incentives(1, 1, 1, 1)
        return max(sum(shaping(truths([start, other, start]))) for start in states for other in states)

    assert best_round_trip(2) == 0
    assert best_round_trip(3) > 0


@pytest.mark.parametrize("protocol", [RoundRobin(2), Pipeline(2)])
def test_incentives_refuse_sequential_protocols(protocol: object) -> None:
    with pytest.raises(ValueError, match=f"simultaneous.*{protocol.name}"):
        sh.Incentives(1).check(protocol, 2)
    with pytest.raises(ValueError, match="simultaneous"):  # also inside a sum
        (sh.OwnScore() + sh.Incentives(1)).check(protocol, 2)


def test_incentives_refuse_a_lone_agent() -> None:
    with pytest.raises(ValueError, match="num_agents is 1"):
        sh.Incentives(1).check(Debate(2), 1)
    sh.Incentives(1).check(Debate(2), 2)


# What contains the future.


@pytest.mark.parametrize(
    "shaping, contains",
    [
        (sh.OwnScore(), False),
        (sh.TeamMean(), False),
        (sh.TeamScore(), False),
        (sh.Looping(), False),
        (sh.LastRoundTeam(), True),
        (sh.LastRoundOwn(), True),
        (sh.DiscountedTeam(), True),
        (sh.DiscountedOwn(), True),
        (sh.DiscountedTeam(0.0), False),
        (sh.OutcomeCredit(), True),
        (sh.Incentives(alpha0=1, alpha1=1), False),
        (sh.Incentives(beta0=1), True),
        (sh.Incentives(beta1=1), True),
        (sh.OwnScore() + sh.Looping(), False),
        (sh.OwnScore() + sh.Incentives(beta1=1), True),
        (0.5 * sh.OutcomeCredit() + sh.OwnScore(), True),
    ],
    ids=repr,
)
def test_contains_future(shaping: sh.Shaping, contains: bool) -> None:
    assert shaping.contains_future is contains


@given(st.data())
def test_a_shaping_without_future_never_changes_a_completed_rounds_reward(data: st.DataObject) -> None:
    """What `contains_future` means, for all that deny it: later rounds leave earlier rewards alone."""
    rows = data.draw(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=4))
    right = [tuple(v > 0.5 for v in row) for row in rows]
    for shaping in (sh.OwnScore(), sh.TeamMean(), sh.Incentives(alpha0=1, alpha1=1), sh.Looping()):
        whole = shaping(discussion(rows, right))
        early = shaping(discussion(rows[:-1], right[:-1], num_rounds=len(rows)))
        assert whole[: len(early)] == early


# Sums.


def test_sums_and_multiples() -> None:
    transcript = discussion(VECTOR)
    shaping = sh.OwnScore() + 2 * sh.TeamMean()
    assert shaping(transcript) == near(0.4, 0.5, 1.9, 2.3, 1.7, 1.3)
    assert (0.5 * (sh.OwnScore() + sh.OwnScore()))(transcript) == pytest.approx(sh.OwnScore()(transcript))
    assert sh.build_shaping(["own_score", {"name": "discounted_team", "gamma": 0.3}])(transcript) == near(
        0.355396, 0.527338, 1.0, 1.707692, 1.4, 0.6
    )


def test_building_from_words_and_bad_words() -> None:
    assert sh.build_shaping({"name": "incentives", "alpha1": 2}) == sh.Incentives(alpha1=2)
    assert sh.build_shaping(sh.OutcomeCredit) == sh.OutcomeCredit()
    with pytest.raises(ValueError, match="unknown shaping 'own_scor'. Did you mean 'own_score'"):
        sh.build_shaping("own_scor")
    with pytest.raises(TypeError, match="shaping 3 is no Shaping"):
        sh.build_shaping(3)
    with pytest.raises(ValueError, match="gamma is 1.5"):
        sh.build_shaping({"name": "discounted_team", "gamma": 1.5})
    with pytest.raises(ValueError, match="unknown signs 'theirs'"):
        sh.Incentives(signs="theirs")
    with pytest.raises(ValueError, match="sum of 0"):
        sh.build_shaping([])


# Discussions that end within a round, or before their last one.


@pytest.mark.parametrize(
    "shaping, expected",
    [
        (sh.OwnScore(), (0.2, 0.4, 0.6, 0.8, 1.0)),
        (sh.TeamMean(), (0.3, 0.3, 0.7, 0.7, 1.0)),
        (sh.LastRoundTeam(), (1.0,) * 5),
        (sh.LastRoundOwn(), (1.0, 0.8, 1.0, 0.8, 1.0)),  # agent_1 spoke last in the layer before
        (sh.DiscountedOwn(0.5), ((0.2 + 0.3 + 0.25) / 1.75, (0.4 + 0.4) / 1.5, (0.6 + 0.5) / 1.5, 0.8, 1.0)),
        (
            sh.DiscountedTeam(0.5),
            ((0.2 + 0.35 + 0.25) / 1.75, (0.4 + 0.35 + 0.25) / 1.75, (0.6 + 0.5) / 1.5, (0.8 + 0.5) / 1.5, 1.0),
        ),
        (sh.OutcomeCredit(), (1.0,) * 5),
    ],
)
def test_a_last_round_of_one(shaping: sh.Shaping, expected: tuple[float, ...]) -> None:
    """A mixture of agents: two layers of two, and the aggregator."""
    transcript = replace(discussion([(0.2, 0.4), (0.6, 0.8), (1.0,)]), ended=True, completed_rounds=3)
    assert shaping(transcript) == pytest.approx(expected)


def test_incentives_need_everybody_in_every_round() -> None:
    with pytest.raises(ValueError, match="not everybody speaks in each of 'mixture_of_agents', use debate"):
        Digits(3, 2, protocol="mixture_of_agents", shaping=["own_score", {"name": "incentives", "alpha1": 1}])
    assert Digits(3, 3, protocol="reconcile", shaping={"name": "incentives", "alpha1": 1})
