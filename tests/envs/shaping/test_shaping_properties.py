"""What holds for every shaping and any discussion: bounds, symmetry, what zero means, and both of MAPoRL's formulas written again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from discussion_toys import Digits, Told, discussion
from hypothesis import given, settings
from hypothesis import strategies as st

from maporl.envs import shaping as sh
from maporl.types import Question, Score, Transcript

DESIGNS = st.one_of(
    st.sampled_from(
        [sh.OwnScore(), sh.TeamMean(), sh.LastRoundTeam(), sh.LastRoundOwn(), sh.OutcomeCredit(), sh.TeamScore()]
    ),
    st.floats(0, 1).map(sh.DiscountedOwn),
    st.floats(0, 1).map(sh.DiscountedTeam),
)
"""Every design of a reward that is made of scores."""

KNOBS = st.sampled_from([0.0, 0.5, 1.0, 2.0])
INCENTIVES = st.builds(sh.Incentives, KNOBS, KNOBS, KNOBS, KNOBS, st.sampled_from(["paper", "release"]))
WEIGHTS = st.floats(0, 10)
RULES = st.one_of(
    st.builds(sh.Length, st.integers(1, 4), st.integers(4, 6), st.integers(0, 3), weight=WEIGHTS),
    st.builds(sh.Overlong, st.integers(4, 9), st.integers(0, 4), weight=WEIGHTS),
    st.builds(sh.Repetition, st.integers(1, 3), st.sampled_from(["words", "tokens"]), weight=WEIGHTS),
    st.builds(sh.Looping, st.integers(1, 4), st.sampled_from(["words", "tokens"]), weight=WEIGHTS),
    st.builds(sh.Language, st.just(("Latin",)), weight=WEIGHTS),
    st.builds(sh.Tags, st.just(("think",)), st.booleans(), st.booleans(), weight=WEIGHTS),
    st.builds(sh.Pattern, st.just("!"), st.booleans(), weight=WEIGHTS),
)
PENALTY = RULES | st.builds(sh.Worst, st.lists(RULES, min_size=1, max_size=3).map(tuple), weight=st.floats(0, 1))


@st.composite
def transcripts(draw: st.DrawFn, complete: bool = False, scored: bool = False) -> Transcript:
    """Any discussion of 2 to 5 agents and 1 to 4 rounds, cut anywhere unless `complete`, in which anything may lack a score unless
    `scored` (then every value is one)."""
    agents, rounds = draw(st.integers(2, 5)), draw(st.integers(1, 4))
    size = agents * rounds if complete else draw(st.integers(1, agents * rounds))
    values = draw(st.lists(st.floats(0, 1) if scored else st.floats(0, 1) | st.none(), min_size=size, max_size=size))
    right = draw(st.lists(st.sampled_from([True, False, None]), min_size=size, max_size=size))
    texts = draw(
        st.lists(st.sampled_from(["", "a", "a a a a a", "so it is !", "b c d e"]), min_size=size, max_size=size)
    )
    team = draw(st.lists(st.floats(0, 1), min_size=size // agents, max_size=size // agents))

    def rows(flat: Sequence[Any]) -> list[tuple[Any, ...]]:
        return [tuple(flat[i : i + agents]) for i in range(0, size, agents)]

    made = discussion([(0.0,) * len(row) for row in rows(values)], rows(right), rounds, texts=rows(texts))
    turns = tuple(
        replace(turn, score=None if value is None else Score(value, None))
        for turn, value in zip(made.turns, values, strict=True)
    )
    agents_of = tuple(f"agent_{i}" for i in range(agents))
    return replace(made, agents=agents_of, turns=turns, team_scores=tuple(Score(v, None) for v in team))


# Bounds.


@given(DESIGNS, transcripts())
def test_values_between_0_and_1_give_rewards_between_0_and_1(design: sh.Shaping, transcript: Transcript) -> None:
    """They are all means of values; also in a discussion that is cut, or holds messages that nobody scored."""
    rewards = design(transcript)
    assert len(rewards) == len(transcript.turns)
    assert all(-1e-12 <= r <= 1 + 1e-12 for r in rewards)


@given(DESIGNS, INCENTIVES, transcripts())
def test_incentives_add_at_most_one_alpha_and_one_beta(
    design: sh.Shaping, incentives: sh.Incentives, transcript: Transcript
) -> None:
    bound = max(incentives.alpha0, incentives.alpha1) + max(incentives.beta0, incentives.beta1)
    assert all(abs(r) <= bound for r in incentives(transcript))
    assert all(-bound - 1e-9 <= r <= 1 + bound + 1e-9 for r in (design + incentives)(transcript))


@given(RULES, transcripts())
def test_a_message_loses_at_most_the_weight_of_a_penalty(rules: sh.MessagePenalty, transcript: Transcript) -> None:
    rewards = rules(transcript)
    assert all(-rules.weight <= r <= 0 for r in rewards)
    assert all(0 <= share <= 1 for name, share in rules.metrics(transcript).items() if name.endswith("_penalised"))


@given(st.lists(RULES, min_size=1, max_size=3), st.floats(0, 1), transcripts())
def test_of_several_penalties_a_message_pays_the_worst_alone(
    parts: list[sh.MessagePenalty], weight: float, transcript: Transcript
) -> None:
    columns = np.array([part(transcript) for part in parts])
    assert sh.Worst(tuple(parts), weight=weight)(transcript) == pytest.approx(tuple(weight * columns.min(0)))


# What zero means, and sums.


@given(DESIGNS, transcripts(), st.sampled_from(["paper", "release"]))
def test_zero_incentives_change_nothing(design: sh.Shaping, transcript: Transcript, signs: str) -> None:
    assert (design + sh.Incentives(signs=signs))(transcript) == design(transcript)
    assert (design + sh.Incentives(signs=signs)).contains_future == design.contains_future
    assert (design + sh.Repetition(1, weight=0))(transcript) == design(transcript)


@given(st.lists(st.one_of(DESIGNS, INCENTIVES, PENALTY), min_size=1, max_size=4), st.data(), transcripts())
def test_a_sum_is_the_sum_of_its_parts(parts: list[sh.Shaping], data: st.DataObject, transcript: Transcript) -> None:
    weights = data.draw(st.lists(st.floats(-2, 2), min_size=len(parts), max_size=len(parts)))
    whole = sh.Sum(*parts, weights=weights)(transcript)
    columns = np.array([part(transcript) for part in parts])
    assert whole == pytest.approx(tuple(np.array(weights) @ columns), abs=1e-9)


@given(INCENTIVES, transcripts())
def test_incentives_are_linear_in_their_knobs(incentives: sh.Incentives, transcript: Transcript) -> None:
    """So each knob can be studied alone."""
    alone = [
        sh.Incentives(**{knob: getattr(incentives, knob)}, signs=incentives.signs)(transcript)
        for knob in ("alpha0", "alpha1", "beta0", "beta1")
    ]
    assert incentives(transcript) == pytest.approx(tuple(map(sum, zip(*alone, strict=True))))


# Symmetry: nobody is favoured by its seat.


@given(st.one_of(DESIGNS, INCENTIVES, PENALTY), transcripts(complete=True), st.randoms(use_true_random=False))
def test_permuting_the_agents_permutes_the_rewards(shaping: sh.Shaping, transcript: Transcript, random: Any) -> None:
    size = len(transcript.agents)
    order = list(range(size))
    random.shuffle(order)
    places = [t * size + seat for t in range(transcript.num_rounds) for seat in order]
    turns = tuple(
        replace(transcript.turns[place], agent=transcript.agents[index % size]) for index, place in enumerate(places)
    )
    moved = shaping(replace(transcript, turns=turns))
    assert moved == pytest.approx(tuple(shaping(transcript)[place] for place in places))
    assert shaping.metrics(replace(transcript, turns=turns)) == shaping.metrics(transcript)


# The formulas once more, straight from the paper.


@given(st.floats(0, 1), transcripts(complete=True, scored=True))
def test_discounted_team_is_definition_1(gamma: float, transcript: Transcript) -> None:
    v = np.array([turn.value for turn in transcript.turns]).reshape(transcript.num_rounds, -1)  # [T, A]
    rounds, agents = v.shape
    rewards = np.array(sh.DiscountedTeam(gamma)(transcript)).reshape(v.shape)
    for t in range(rounds):
        weights = gamma ** np.arange(rounds - t)
        for a in range(agents):
            gained = v[t, a] + sum(
                w * v[later].mean() for w, later in zip(weights[1:], range(t + 1, rounds), strict=True)
            )
            assert rewards[t, a] == pytest.approx(gained / weights.sum())


@given(KNOBS, KNOBS, KNOBS, KNOBS, transcripts(complete=True))
def test_incentives_are_tables_1_and_2(a0: float, a1: float, b0: float, b1: float, transcript: Transcript) -> None:
    """In one line each: alpha pays the change of the own answer, beta that of the others' majority (1 right, 0 wrong, 1/2 tie), the
    index is what the other side was in round t, and whatever touches a tie is worth nothing."""
    right = np.array([turn.correct is True for turn in transcript.turns], float).reshape(transcript.num_rounds, -1)
    others = (right.sum(1, keepdims=True) - right) / (right.shape[1] - 1)
    majority = np.where(others > 0.5, 1.0, np.where(others < 0.5, 0.0, np.nan))
    expected = np.zeros_like(right)
    alpha = np.where(np.isnan(majority), 0.0, np.where(majority == 1, a1, a0))
    expected[1:] += (right[1:] - right[:-1]) * alpha[:-1]
    expected[:-1] += np.nan_to_num((majority[1:] - majority[:-1]) * np.where(right[:-1] == 1, b1, b0))
    assert sh.Incentives(a0, a1, b0, b1)(transcript) == pytest.approx(tuple(expected.ravel()))


@given(INCENTIVES, transcripts(complete=True))
def test_ties_pay_nothing(incentives: sh.Incentives, transcript: Transcript) -> None:
    """Whoever finds the others tied in a round gets no beta for it, and no alpha for the next."""
    size = len(transcript.agents)
    alpha = replace(incentives, beta0=0.0, beta1=0.0)(transcript)
    beta = replace(incentives, alpha0=0.0, alpha1=0.0)(transcript)
    for t in range(transcript.num_rounds):
        row = [turn.correct is True for turn in transcript.round(t)]
        for a in range(size):
            if 2 * (sum(row) - row[a]) == size - 1:
                assert beta[t * size + a] == 0
                assert t == 0 or beta[(t - 1) * size + a] == 0
                assert t + 1 == transcript.num_rounds or alpha[(t + 1) * size + a] == 0


# Payments.


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.one_of(DESIGNS.filter(lambda d: not d.needs_team_verifier), INCENTIVES, PENALTY), min_size=1, max_size=3
    ),
    st.lists(st.sampled_from(["<7> v=0.1", "v=0.9", "<7>", "", "<8> v=0.4 !"]), min_size=40, max_size=40),
    st.integers(2, 4),
    st.integers(0, 10),
)
def test_what_is_paid_step_by_step_is_the_exact_credit(
    parts: list[sh.Shaping], texts: list[str], agents: int, cut: int
) -> None:
    """Also where the discussion may end early, and where it starts from any prefix (decision 8): totals equal F(final) - F(start)."""
    protocol = {"name": "debate", "stop": {"name": "consensus", "share": 0.6, "score": 0.3}}
    shaping = sh.Sum(*parts, weights=[0.5] * len(parts))
    env = Digits(agents, 4, protocol=protocol, verifier=Told, shaping=shaping)
    env.reset(options={"question": Question("Which digit?", "<7>")})
    start = _spoken(env, texts[:cut])
    if not env.transcript.is_complete:
        env.reset(options={"transcript": env.transcript})
        assert env.turn_rewards == start
    else:
        start = ()
        env.reset(options={"question": Question("Which digit?", "<7>")})
    begun = list(env.transcript.turns)
    paid = dict.fromkeys(env.possible_agents, 0.0)
    for text in texts[len(begun) :]:
        if env.transcript.is_complete:
            break
        env.step(text)
        for agent, reward in env.rewards.items():
            paid[agent] += reward
    assert env.transcript.is_complete
    for agent in env.possible_agents:
        before = math.fsum(r for turn, r in zip(begun, start, strict=True) if turn.agent == agent)
        credit = env.infos[agent]["turn_rewards"]
        assert paid[agent] == pytest.approx(math.fsum(credit) - before, abs=1e-9)
    exact = shaping(env.transcript)
    assert env.turn_rewards == pytest.approx(exact)


def _spoken(env: Digits, texts: Sequence[str]) -> tuple[float, ...]:
    """Says these until the discussion ends; what the messages have earned by then."""
    for text in texts:
        if not env.transcript.is_complete:
            env.step(text)
    return env.turn_rewards
