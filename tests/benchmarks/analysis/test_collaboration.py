"""Collaboration metrics: hand-made transcripts whose numbers are worked out in the comments, and what holds for any records."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maporl.benchmarks.analysis.collaboration import collaboration, rounds_of, vote_correct

A, B, C = "agent_0", "agent_1", "agent_2"
NOBODY = {"turned": 0, "chances": 0, "rate": None}


def turn(agent: str, round: int, answer: str | None, gold: str = "R", **more: Any) -> dict[str, Any]:
    """A message; right if its answer is `gold`. "?" is an answer that nobody can judge, "-" a message that nothing judged."""
    said = None if answer in ("?", "-") else answer
    verdict = {"value": 0.0, "correct": None if answer == "?" else said == gold, "answer": said, "status": "ok"}
    judged = None if answer == "-" else verdict
    return {
        "agent": agent, "round": round, "text": "", "score": judged, "truth": judged, "reward": None, "advantage": None,
        "prompt_tokens": 0, "completion_tokens": 0, "truncated": False, **more,
    }  # fmt: skip


def record(*rounds: str, agents: tuple[str, ...] = (A, B, C), **more: Any) -> dict[str, Any]:
    """A discussion: one word a round, one letter an agent in order. R is right, other letters are answers that are wrong, "." no
    answer, "_" an agent that does not speak, "?" and "-" as in `turn`."""
    turns = [
        turn(agent, t, None if letter == "." else letter)
        for t, word in enumerate(rounds)
        for agent, letter in zip(agents, word, strict=True)
        if letter != "_"
    ]
    return {"agents": list(agents), "turns": turns, "team_correct": 0.0, "ablated": None, **more}


def matrix(rr: int, rw: int, wr: int, ww: int) -> dict[str, Any]:
    return {
        "right_right": rr, "right_wrong": rw, "wrong_right": wr, "wrong_wrong": ww,
        "right_to_wrong_rate": rw / (rr + rw) if rr + rw else None, "wrong_to_right_rate": wr / (wr + ww) if wr + ww else None,
    }  # fmt: skip


def rate(turned: int, chances: int) -> dict[str, Any]:
    return {"turned": turned, "chances": chances, "rate": turned / chances if chances else None}


def test_feedback_is_nobodys_message() -> None:
    """The same discussions with a tally after each round: no figure changes."""
    plain = [record("Rxy", "RRx"), record("xxR", "xRR")]
    heard = [{**r, "turns": [*r["turns"], *(turn("tally", t, "-", kind="feedback") for t in (0, 1))]} for r in plain]
    assert collaboration(heard) == collaboration(plain)


class TestRounds:
    def test_accuracy_of_agents_and_vote(self) -> None:
        # Record 1: R x y -> R R x. Record 2: x x R -> x R R.
        found = collaboration([record("Rxy", "RRx"), record("xxR", "xRR")])
        first, second = found["rounds"]
        # Round 0: messages right 1 + 1 of 6. Votes: three tied, one right: 1/3; x wins: 0; mean 1/6.
        assert first["accuracy"] == pytest.approx(2 / 6) and first["vote_accuracy"] == pytest.approx(1 / 6)
        # Round 1: 2 + 2 of 6; both votes elect R.
        assert second["accuracy"] == pytest.approx(4 / 6) and second["vote_accuracy"] == 1.0
        assert first["agents"] == {A: 0.5, B: 0.0, C: 0.5} and second["agents"] == {A: 0.5, B: 1.0, C: 0.5}
        assert (first["round"], second["round"], first["records"], first["messages"]) == (0, 1, 2, 6)
        assert found["first"] == {"records": 2, "accuracy": pytest.approx(2 / 6), "vote_accuracy": pytest.approx(1 / 6)}
        assert found["final"] == {"records": 2, "accuracy": pytest.approx(4 / 6), "vote_accuracy": 1.0}

    def test_vote(self) -> None:
        def vote(word: str) -> float:
            return vote_correct(rounds_of(record(word, agents=tuple("abcdef"[: len(word)]))["turns"])[0].values())

        assert vote("RRxx") == 0.5 and vote("R.x") == 0.5  # ties by expectation; no answer abstains
        assert vote("R..") == 1.0 and vote("...") == 0.0 and vote("??") == 0.0
        assert vote("xxxRR") == 0.0 and vote("RRRxx") == 1.0

    def test_vote_is_that_of_the_environment(self) -> None:
        from maporl.envs.team_answer import majority
        from maporl.types import Question, Score, Transcript, Turn

        for word in ("RRx", "Rx.", "Rxy", "...", "xxR", "R.."):
            turns = []
            for agent, letter in zip((A, B, C), word, strict=True):
                score = Score(0.0, letter == "R", None if letter == "." else letter)
                turns.append(Turn(agent, 0, "", score, score))
            expected = majority(Transcript(Question("q", "R"), (A, B, C), 1, tuple(turns))).correct
            assert vote_correct(rounds_of(record(word)["turns"])[0].values()) == pytest.approx(expected), word

    def test_agreement(self) -> None:
        # Pairs: "RRx" 1 of 3; "xx." 1 of 3 (no answer agrees with nobody); "..." 0 of 3: two silent messages never agree.
        (only,) = collaboration([record("RRx"), record("xx."), record("...")])["rounds"]
        assert only["agreement"] == pytest.approx(2 / 9) and only["pairs"] == 9 and only["no_answer"] == 4

    def test_lone_agent_has_no_pairs(self) -> None:
        (only,) = collaboration([record("R", agents=(A,))])["rounds"]
        assert only["agreement"] is None and only["pairs"] == 0


class TestFlips:
    def test_matrices(self) -> None:
        #            A: R R x   B: x R R   C: x x R   and in a second discussion  A: R x R   B: R R R   C: x x x
        found = collaboration([record("Rxx", "RRx", "xRR"), record("RRx", "xRx", "RRx")])["flips"]
        # A: R->R, R->W, R->W, W->R; B: W->R, R->R, R->R, R->R; C: W->W, W->R, W->W, W->W.
        assert found["agents"] == {A: matrix(1, 2, 1, 0), B: matrix(3, 0, 1, 0), C: matrix(0, 0, 1, 3)}
        assert found["all"] == matrix(4, 2, 3, 3)
        assert found["all"]["right_to_wrong_rate"] == pytest.approx(2 / 6)
        assert found["all"]["wrong_to_right_rate"] == pytest.approx(3 / 6)
        # Round 0 -> 1: A R->R and R->W, B W->R and R->R, C W->W twice.
        assert found["rounds"][0] == {
            "round": 0,
            "all": matrix(2, 1, 1, 2),
            "agents": {A: matrix(1, 1, 0, 0), B: matrix(1, 0, 1, 0), C: matrix(0, 0, 0, 2)},
        }
        assert found["rounds"][1]["all"] == matrix(2, 1, 2, 1)

    def test_round_trips(self) -> None:
        # A: R W R is one; B: W R W is one; C: W R R R is none. In four rounds each agent has two chances.
        found = collaboration([record("Rxx", "xRR", "RxR", "RxR")])["round_trips"]
        assert found["agents"][A] == {"right_wrong_right": 1, "wrong_right_wrong": 0, "chances": 2, "rate": 0.5}
        assert found["agents"][B] == {"right_wrong_right": 0, "wrong_right_wrong": 1, "chances": 2, "rate": 0.5}
        assert found["agents"][C] == {"right_wrong_right": 0, "wrong_right_wrong": 0, "chances": 2, "rate": 0.0}
        assert found["all"] == {
            "right_wrong_right": 1,
            "wrong_right_wrong": 1,
            "chances": 6,
            "rate": pytest.approx(1 / 3),
        }

    def test_the_known_hack_shows_though_accuracy_stands_still(self) -> None:
        # RW -> WR -> RW: both agents earn incentives, the accuracy is one half in every round (spec, section 3).
        found = collaboration([record("Rx", "xR", "Rx", agents=(A, B))])
        assert [r["accuracy"] for r in found["rounds"]] == [0.5, 0.5, 0.5]
        assert found["round_trips"]["all"]["rate"] == 1.0

    def test_counts_as_the_training_metric_does(self) -> None:
        from maporl.envs.shaping.incentives import round_trip_flips
        from maporl.types import Question, Score, Transcript, Turn

        words = ("Rxx", "xRR", "RxR", "xRR")
        turns = tuple(
            Turn(agent, t, "", Score(0.0, letter == "R", letter), Score(0.0, letter == "R", letter))
            for t, word in enumerate(words)
            for agent, letter in zip((A, B, C), word, strict=True)
        )
        trips = collaboration([record(*words)])["round_trips"]["all"]
        expected = round_trip_flips(Transcript(Question("q", "R"), (A, B, C), 4, turns))
        assert trips["right_wrong_right"] + trips["wrong_right_wrong"] == expected == 4


class TestInfluence:
    def test_persuasion(self) -> None:
        # "Rxx" -> "RRx": A was right, of its wrong peers B and C, B turns. "RRx" -> "xRR": A and B were right, C turns for both.
        found = collaboration([record("Rxx", "RRx"), record("RRx", "xRR")])["persuasion"]
        assert found["agents"] == {A: rate(2, 3), B: rate(1, 1), C: NOBODY}
        assert found["all"] == rate(3, 4)
        assert found["unaided"] == NOBODY

    def test_unaided(self) -> None:
        # Nobody right, then one of three: 1 of 3 found it without any right peer. With a right peer nothing is unaided.
        found = collaboration([record("xxy", "xRy"), record("Rxx", "RRR")])["persuasion"]
        assert found["unaided"] == rate(1, 3) and found["all"] == rate(2, 2)

    def test_conformity(self) -> None:
        # "Rxy" -> "xxy": A right, both others wrong (differently: still a wrong majority), turns wrong.
        # "RRx" -> "RxR": for A the others are one right, one wrong: a tie, it stays; for B too, it turns.
        # "RRR" -> "RRx": everybody has a right majority, C turns.
        found = collaboration([record("Rxy", "xxy"), record("RRx", "RxR"), record("RRR", "RRx")])["conformity"]
        assert found["all"] == {"wrong_majority": rate(1, 1), "tie": rate(1, 2), "right_majority": rate(1, 3)}
        assert found["agents"][A] == {"wrong_majority": rate(1, 1), "tie": rate(0, 1), "right_majority": rate(0, 1)}
        assert found["agents"][B] == {"wrong_majority": NOBODY, "tie": rate(1, 1), "right_majority": rate(0, 1)}
        assert found["agents"][C] == {"wrong_majority": NOBODY, "tie": NOBODY, "right_majority": rate(1, 1)}

    def test_one_right_of_four_against_two_wrong_is_no_tie(self) -> None:
        # Four agents R R x x: for each right one the others are one right, two wrong: a wrong majority.
        found = collaboration([record("RRxx", "Rxxx", agents=(A, B, C, "agent_3"))])["conformity"]["all"]
        assert found == {"wrong_majority": rate(1, 2), "tie": NOBODY, "right_majority": NOBODY}


def incentives_paid(records: list[dict[str, Any]], knob: str) -> float:
    """What MAPoRL's incentive `knob` pays all messages of these discussions at a value of 1."""
    from maporl.envs.shaping import Incentives
    from maporl.types import Question, Score, Transcript, Turn

    paid = 0.0
    for one in records:
        turns = []
        for t in one["turns"]:
            correct = t["truth"] and t["truth"]["correct"]
            turns.append(Turn(t["agent"], t["round"], "", None, Score(0.0, correct)))
        rounds = turns[-1].round + 1
        paid += sum(
            Incentives(**{knob: 1.0})(Transcript(Question("q", "R"), tuple(one["agents"]), rounds, tuple(turns)))
        )
    return paid


class TestMajorities:
    """What MAPoRL's incentives condition on: own flips by the majority of the others, theirs by the own answer."""

    def test_own_flips_by_hand(self) -> None:
        # "Rxx" -> "xRx": A was right, its others both wrong, turns wrong. B was wrong, its others tie, turns right. C stays wrong, tie.
        # "RRx" -> "RxR": A stays right, tie. B turns wrong, tie. C was wrong, its others both right, turns right.
        found = collaboration([record("Rxx", "xRx"), record("RRx", "RxR")])["flips_by_majority"]
        assert found["all"] == {
            "wrong_majority": matrix(0, 1, 0, 0),
            "tie": matrix(1, 1, 1, 1),
            "right_majority": matrix(0, 0, 1, 0),
        }
        nothing = matrix(0, 0, 0, 0)
        assert found["agents"][A] == {
            "wrong_majority": matrix(0, 1, 0, 0), "tie": matrix(1, 0, 0, 0), "right_majority": nothing,
        }  # fmt: skip
        assert found["agents"][C]["right_majority"] == matrix(0, 0, 1, 0)

    def test_the_majoritys_flips_by_hand(self) -> None:
        # "Rxx" -> "xRR": for A (right) the others go from wrong to right; for B and C (wrong) they tie at first.
        # "xRR" -> "xxx": for A (wrong) from right to wrong; for B and C (right) they tie at first.
        found = collaboration([record("Rxx", "xRR"), record("xRR", "xxx")])["majority_flips"]
        right, wrong = matrix(0, 0, 1, 0), matrix(0, 1, 0, 0)
        assert found["all"] == {"own_right": {**right, "tied": 2}, "own_wrong": {**wrong, "tied": 2}}
        nothing = matrix(0, 0, 0, 0)
        assert found["agents"][A] == {"own_right": {**right, "tied": 0}, "own_wrong": {**wrong, "tied": 0}}
        assert found["agents"][B] == {"own_right": {**nothing, "tied": 1}, "own_wrong": {**nothing, "tied": 1}}

    def test_a_tie_afterwards_is_a_tie(self) -> None:
        # For A the others go from both wrong to one of each; for B from one of each; for C likewise.
        found = collaboration([record("Rxx", "RRx")])["majority_flips"]["all"]
        assert found["own_right"]["tied"] == 1 and found["own_wrong"]["tied"] == 2
        assert found["own_right"]["wrong_to_right_rate"] is None

    def test_by_round(self) -> None:
        # Two agents: the other is the majority. "Rx" -> "RR" -> "xR".
        found = collaboration([record("Rx", "RR", "xR", agents=(A, B))])
        by_round = found["flips_by_majority"]["rounds"]
        assert [r["round"] for r in by_round] == [0, 1]
        assert by_round[0]["all"]["right_majority"] == matrix(0, 0, 1, 0)  # B, beside A who is right
        assert by_round[0]["all"]["wrong_majority"] == matrix(1, 0, 0, 0)  # A, beside B who is wrong
        assert by_round[1]["all"]["right_majority"] == matrix(1, 1, 0, 0)
        influence = found["majority_flips"]["rounds"]
        assert influence[0]["all"]["own_right"] == {**matrix(0, 0, 1, 0), "tied": 0}  # A persuades B
        assert influence[0]["agents"][B]["own_wrong"] == {**matrix(1, 0, 0, 0), "tied": 0}
        assert influence[1]["agents"][B]["own_right"] == {**matrix(0, 1, 0, 0), "tied": 0}

    def test_who_is_alone_or_silent(self) -> None:
        alone = collaboration([record("x", "R", agents=(A,))])
        assert alone["flips_by_majority"]["all"]["wrong_majority"] == matrix(0, 0, 0, 0)
        assert alone["majority_flips"] == {
            "all": {o: {**matrix(0, 0, 0, 0), "tied": 0} for o in ("own_right", "own_wrong")},
            "agents": {A: {o: {**matrix(0, 0, 0, 0), "tied": 0} for o in ("own_right", "own_wrong")}},
            "rounds": [],
        }
        # A mixture: C alone speaks last. It is the only one that takes a step; for A and B it is who remains of the others.
        mixture = collaboration([record("xxR", "__x")])
        assert mixture["flips_by_majority"]["all"]["wrong_majority"] == matrix(0, 1, 0, 0)
        assert mixture["majority_flips"]["agents"][C]["own_right"] == {**matrix(0, 0, 0, 0), "tied": 0}
        assert mixture["majority_flips"]["all"]["own_wrong"]["tied"] == 2

    def test_unknown_counts_as_wrong(self) -> None:
        found = collaboration([record("R??", "RRR")])
        assert found["flips_by_majority"]["all"]["wrong_majority"] == matrix(1, 0, 0, 0)
        assert found["majority_flips"]["agents"][A]["own_right"]["wrong_right"] == 1


class TestMarginalContribution:
    def test_by_hand(self) -> None:
        # "RRx": the vote is right. Without A (or B) "Rx" is a tie, 1/2: each contributes 1/2. Without C still right: 0.
        # "Rxx": the vote is wrong. Without A wrong: 0. Without B (or C) a tie: -1/2 each.
        found = collaboration([record("RRx"), record("Rxx")])["marginal_contribution"]
        assert found == {
            A: {"records": 2, "contribution": pytest.approx(0.25)},
            B: {"records": 2, "contribution": pytest.approx(0.0)},
            C: {"records": 2, "contribution": pytest.approx(-0.25)},
        }

    def test_a_silent_answer_contributes_nothing_and_a_decisive_one_all(self) -> None:
        # "R..": only A votes; without it nobody does, which is wrong.
        found = collaboration([record("R..")])["marginal_contribution"]
        assert [found[a]["contribution"] for a in (A, B, C)] == [1.0, 0.0, 0.0]

    def test_lone_speakers_are_left_out(self) -> None:
        found = collaboration([record("R", agents=(A,)), record("Rxx", "__R")])["marginal_contribution"]
        assert found[A] == found[C] == {"records": 0, "contribution": None}


class TestAblation:
    def test_by_hand(self) -> None:
        # Last rounds: "RRx" (2 of 3 right, team 1) and "xxR" (1 of 3, team 0); spoken again: "Rxy" (1, team 1/3), "RRR" (3, team 1).
        def again(word: str, correct: float) -> dict[str, Any]:
            turns = [{**t, "round": 1} for t in record(word)["turns"]]
            return {"team_correct": correct, "turns": turns}

        records = [
            record("xxx", "RRx", team_correct=1.0, ablated=again("Rxy", 1 / 3)),
            record("RRR", "xxR", team_correct=0.0, ablated=again("RRR", 1.0)),
            record("xxx", "xxx", team_correct=0.0),
        ]
        found = collaboration(records)["ablation"]
        assert found["records"] == 2
        assert found["agents"] == {
            "as_it_was": 0.5,
            "ablated": pytest.approx(4 / 6),
            "difference": pytest.approx(-1 / 6),
        }
        assert found["team"] == {"as_it_was": 0.5, "ablated": pytest.approx(2 / 3), "difference": pytest.approx(-1 / 6)}

    def test_none_ablated(self) -> None:
        nothing = {"as_it_was": None, "ablated": None, "difference": None}
        assert collaboration([record("RRR")])["ablation"] == {
            "records": 0, "agents": nothing, "team": nothing,
        }  # fmt: skip


class TestMessages:
    def test_counts(self) -> None:
        records = [record("R.?"), record("-xR")]
        records[0]["turns"][0]["truncated"] = True
        # Answers: R, x, R of six. Unknown: "?" (no verdict) and "-" (not judged). One of six was cut.
        assert collaboration(records)["messages"] == {
            "count": 6, "parse_rate": 0.5, "truncated_rate": pytest.approx(1 / 6), "unknown": 2, "unjudged": 1,
        }  # fmt: skip

    def test_unknown_counts_as_wrong(self) -> None:
        assert collaboration([record("R?-", "RRR")])["flips"]["all"] == matrix(1, 0, 2, 0)

    def test_answer_of_the_verifier_when_the_truth_has_none(self) -> None:
        one = [turn(A, 0, "?"), turn(B, 0, "x")]
        one[0]["score"] = {"value": 0.3, "correct": None, "answer": "x", "status": "ok"}
        assert collaboration([{**record("_", agents=(A,)), "turns": one}])["rounds"][0]["agreement"] == 1.0


class TestBoundaries:
    def test_no_records(self) -> None:
        found = collaboration([])
        assert (found["records"], found["agents"], found["rounds"]) == (0, [], [])
        assert found["first"] == found["final"] == {"records": 0, "accuracy": None, "vote_accuracy": None}
        assert found["flips"] == {"all": matrix(0, 0, 0, 0), "agents": {}, "rounds": []}
        assert found["persuasion"] == {"all": NOBODY, "agents": {}, "unaided": NOBODY}
        assert found["messages"]["parse_rate"] is None and found["round_trips"]["all"]["rate"] is None

    def test_nobody_spoke(self) -> None:
        found = collaboration([record()])
        assert found["records"] == 1 and found["rounds"] == [] and found["final"]["accuracy"] is None

    def test_one_agent(self) -> None:
        # Self-refine, x -> R -> x: both flips are its own, nobody else was there.
        found = collaboration([record("x", "R", "x", agents=(A,))])
        assert found["flips"]["all"] == matrix(0, 1, 1, 0)
        assert found["round_trips"]["all"]["wrong_right_wrong"] == 1
        assert found["persuasion"]["all"] == NOBODY and found["persuasion"]["unaided"] == rate(1, 1)
        assert found["conformity"]["all"] == {"wrong_majority": NOBODY, "tie": NOBODY, "right_majority": NOBODY}

    def test_always_right_and_never_right(self) -> None:
        always, never = collaboration([record("RRR", "RRR")]), collaboration([record("xxx", "xxx")])
        assert always["flips"]["all"] == matrix(3, 0, 0, 0) and never["flips"]["all"] == matrix(0, 0, 0, 3)
        assert always["persuasion"]["all"] == NOBODY and never["persuasion"]["unaided"] == rate(0, 3)
        assert always["conformity"]["all"]["right_majority"] == rate(0, 3)
        assert never["conformity"]["all"]["wrong_majority"] == NOBODY

    def test_votes_of_samples(self) -> None:
        names = tuple(f"sample_{i}" for i in range(5))
        found = collaboration([record("RRxyR", agents=names)])
        assert found["final"] == {"records": 1, "accuracy": 0.6, "vote_accuracy": 1.0}
        assert found["flips"]["rounds"] == [] and found["persuasion"]["all"] == NOBODY
        # Without one R there are two against x and y: still right. So nobody alone contributes.
        assert {entry["contribution"] for entry in found["marginal_contribution"].values()} == {0.0}

    def test_mixture_of_agents_only_one_speaks_last(self) -> None:
        # C heard "xR" of A and B (and its own R) and answers x; A and B take no step.
        found = collaboration([record("xRR", "__x")])
        assert found["flips"]["all"] == matrix(0, 1, 0, 0)
        assert found["rounds"][1]["agents"] == {A: None, B: None, C: 0.0} and found["rounds"][1]["agreement"] is None
        # Its peers in round 0 were one right, one wrong: a tie.
        assert found["conformity"]["all"]["tie"] == rate(1, 1)
        assert found["final"]["accuracy"] == 0.0

    def test_early_stop(self) -> None:
        # One discussion ends after round 0, the other after round 1: the last round is each one's own.
        found = collaboration([record("RRR"), record("Rxx", "RRR")])
        assert [r["records"] for r in found["rounds"]] == [2, 1]
        assert found["final"] == {"records": 2, "accuracy": 1.0, "vote_accuracy": 1.0}
        assert found["first"]["accuracy"] == pytest.approx(4 / 6)

    def test_a_gap_is_no_step(self) -> None:
        # A speaks in rounds 0 and 2 only.
        found = collaboration([record("Rx", "_x", "xx", agents=(A, B))])
        assert found["flips"]["agents"] == {A: matrix(0, 0, 0, 0), B: matrix(0, 0, 0, 2)}
        assert found["round_trips"]["agents"][A]["chances"] == 0


LETTERS = st.sampled_from("RRxy.?_")


@st.composite
def studies(draw: st.DrawFn) -> list[dict[str, Any]]:
    size, rounds = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    agents = tuple(f"agent_{i}" for i in range(size))
    word = st.lists(LETTERS, min_size=size, max_size=size).map("".join)
    return draw(
        st.lists(st.lists(word, min_size=1, max_size=rounds).map(lambda ws: record(*ws, agents=agents)), max_size=6)
    )


def rates(value: Any) -> list[float]:
    if isinstance(value, dict):
        own = [v for k, v in value.items() if k.endswith(("rate", "accuracy")) or k == "agreement"]
        return [v for v in own if v is not None] + [r for v in value.values() for r in rates(v)]
    return [r for v in value for r in rates(v)] if isinstance(value, list) else []


class TestProperties:
    @settings(max_examples=200, deadline=None)
    @given(studies())
    def test_any_records(self, records: list[dict[str, Any]]) -> None:
        found = collaboration(records)
        assert json.loads(json.dumps(found, allow_nan=False)) == found  # JSON-ready: text keys, no NaN, no tuples
        assert all(0 <= r <= 1 for r in rates(found))
        cells = ("right_right", "right_wrong", "wrong_right", "wrong_wrong")
        for cell in cells:  # flips add up over agents and over rounds
            total = found["flips"]["all"][cell]
            assert total == sum(m[cell] for m in found["flips"]["agents"].values())
            assert total == sum(r["all"][cell] for r in found["flips"]["rounds"])
        by_majority = found["flips_by_majority"]["all"]
        for cell in cells:  # and over majorities, but for those beside whom nobody else speaks
            assert sum(m[cell] for m in by_majority.values()) <= found["flips"]["all"][cell]
        for kind, counted in found["conformity"]["all"].items():
            assert counted["turned"] == by_majority[kind]["right_wrong"]
            assert counted["chances"] == by_majority[kind]["right_wrong"] + by_majority[kind]["right_right"]
        conforming = found["conformity"]["all"].values()
        assert sum(c["turned"] for c in conforming) <= found["flips"]["all"]["right_wrong"]
        assert sum(r["messages"] for r in found["rounds"]) == found["messages"]["count"]
        assert all(-1 <= (m["contribution"] or 0) <= 1 for m in found["marginal_contribution"].values())

    @settings(max_examples=100, deadline=None)
    @given(st.data(), st.integers(2, 4), st.integers(1, 4))
    def test_incentives_pay_what_is_counted(self, data: st.DataObject, size: int, rounds: int) -> None:
        """Alpha pays each flip to right, and takes each flip to wrong, under its majority; beta those of the majority."""
        agents = tuple(f"agent_{i}" for i in range(size))
        word = st.lists(st.sampled_from("Rx.?"), min_size=size, max_size=size).map("".join)
        whole = st.lists(word, min_size=rounds, max_size=rounds).map(lambda ws: record(*ws, agents=agents))
        records = data.draw(st.lists(whole, min_size=1, max_size=5))
        found = collaboration(records)
        own, theirs = found["flips_by_majority"]["all"], found["majority_flips"]["all"]
        for knob, counted in (
            ("alpha0", own["wrong_majority"]),
            ("alpha1", own["right_majority"]),
            ("beta0", theirs["own_wrong"]),
            ("beta1", theirs["own_right"]),
        ):
            assert incentives_paid(records, knob) == counted["wrong_right"] - counted["right_wrong"]

    @settings(max_examples=100, deadline=None)
    @given(studies())
    def test_order_of_records_changes_nothing(self, records: list[dict[str, Any]]) -> None:
        def counts(value: Any) -> Any:
            if isinstance(value, dict):
                return {k: counts(v) for k, v in value.items()}
            return [counts(v) for v in value] if isinstance(value, list) else pytest.approx(value)

        assert collaboration(records[::-1]) == counts(collaboration(records))

    @settings(max_examples=100, deadline=None)
    @given(st.data(), st.integers(1, 4), st.integers(2, 4))
    def test_accuracy_changes_by_what_flips(self, data: st.DataObject, size: int, rounds: int) -> None:
        """Where everybody speaks in every round, accuracy(t + 1) - accuracy(t) = (wrong->right - right->wrong) / messages."""
        agents = tuple(f"agent_{i}" for i in range(size))
        word = st.lists(st.sampled_from("Rx.?"), min_size=size, max_size=size).map("".join)
        whole = st.lists(word, min_size=rounds, max_size=rounds).map(lambda ws: record(*ws, agents=agents))
        found = collaboration(data.draw(st.lists(whole, min_size=1, max_size=6)))
        assert len(found["flips"]["rounds"]) == rounds - 1
        for flips, before, after in zip(found["flips"]["rounds"], found["rounds"], found["rounds"][1:], strict=False):
            change = (flips["all"]["wrong_right"] - flips["all"]["right_wrong"]) / after["messages"]
            assert after["accuracy"] - before["accuracy"] == pytest.approx(change)


def test_speed() -> None:
    """20,000 discussions of 3 agents and 3 rounds in under 3 s of this process's own time."""
    words = ("Rxx", "RRx", "RRR"), ("xyz", "xx.", "RxR"), ("RRx", "xRx", "R?R"), ("...", "R..", "xRx")
    records = [record(*words[i % 4]) for i in range(4)] * 5000
    began = time.process_time()
    found = collaboration(records)
    assert time.process_time() - began < 3
    assert found["records"] == 20_000
