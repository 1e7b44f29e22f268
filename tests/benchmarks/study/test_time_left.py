"""The time left of a study, with a clock that a test makes up: right values."""

from __future__ import annotations

import pytest

from maporl.benchmarks.study.expected import pieces
from maporl.benchmarks.study.study import Study
from maporl.benchmarks.study.time_left import Piece, TimeLeft

ALONE, TEAM, ASKED = "training alone", "training team", "evaluations"


class Clock:
    """Seconds that pass when a test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def a_study(workers: int = 1, **paces: float) -> tuple[TimeLeft, Clock]:
    """Two trainings of a lone agent, one of a team with four times the messages, two cells, and a vote that waits for all of them."""
    clock = Clock()
    left = TimeLeft(clock)
    trainings = {"a": Piece(ALONE, 100), "b": Piece(ALONE, 100), "t": Piece(TEAM, 400)}
    cells = {"c": Piece(ASKED, 100), "d": Piece(ASKED, 300), "v": Piece(ASKED, 200, last=True)}
    left.plan({**trainings, **cells}, workers, {name.replace("_", " "): pace for name, pace in paces.items()})
    return left, clock


def test_nothing_is_said_where_nothing_is_known() -> None:
    left, clock = a_study()
    assert left.seconds is None
    left.at(["c", "d"], 0)
    clock.now = 5
    assert left.seconds is None


def test_what_was_measured_before_holds_until_a_piece_moves() -> None:
    left, clock = a_study(training_alone=0.1, training_team=0.2, evaluations=0.01)
    assert left.seconds == pytest.approx(10 + 10 + 80 + 1 + 3 + 2)
    left.at(["a"], 0)
    clock.now = 4
    assert left.seconds == pytest.approx(106 - 4)
    clock.now = 8
    left.at(["a"], 0.25)  # 32 seconds in all, were it not for its start
    clock.now = 12
    left.at(["a"], 0.5)  # 4 s a quarter: 16 s and 4 to begin, twice as long as measured; so a team's message takes .4
    assert left.seconds == pytest.approx(8 + 20 + 160 + 6)
    clock.now = 15
    assert left.seconds == pytest.approx(5 + 20 + 160 + 6)
    clock.now = 20
    left.over("a")
    assert left.seconds == pytest.approx(20 + 160 + 6)


def test_unmeasured_kinds_are_taken_for_like_those_that_have_begun() -> None:
    left, clock = a_study()
    left.at(["c", "d"], 0)
    clock.now = 4
    left.at(["c", "d"], 0.5)  # .02 s a message, in trainings also until one has begun
    assert left.seconds == pytest.approx(4 + 0.02 * (600 + 200))
    clock.now = 8
    left.over("c")
    left.over("d")
    assert left.seconds == pytest.approx(0.02 * 800)
    left.at(["a"], 0)
    clock.now = 12
    left.at(["a"], 0.5)
    assert left.seconds == pytest.approx(4 + 8 + 0.08 * 400 + 4)


def test_several_at_a_time_and_what_waits_for_them() -> None:
    left, _ = a_study(2, training_alone=0.1, training_team=0.2, evaluations=0.01)
    assert left.seconds == pytest.approx(
        max((20 + 80 + 4) / 2, 80) + 2
    )  # the team's training is longer than half of all


def test_a_training_that_goes_on_from_a_checkpoint() -> None:
    left, clock = a_study(training_alone=0.1, training_team=0.2, evaluations=0.01)
    left.at(["a"], 0)
    clock.now = 3
    left.at(["a"], 0.75)
    clock.now = 5
    left.at(["a"], 0.85)  # 20 s in all, 3 of them left; not 5 / .85
    assert left.seconds == pytest.approx(3 + 20 + 0.4 * 400 + 6)


def test_what_fails_takes_no_more_time() -> None:
    left, clock = a_study(training_alone=0.1, training_team=0.2, evaluations=0.01)
    for name in ("a", "b", "t", "c", "d", "v"):
        left.over(name)
    assert left.seconds == 0


def test_within_thirty_percent_after_the_first_tenth_of_a_study_whose_cells_differ() -> None:
    """Untrained rows are cheap, a team's training is dear, votes take many samples; what was measured is off by half or twice."""
    clock, left = Clock(), TimeLeft(Clock())
    left = TimeLeft(clock)
    true = {"training alone": 0.02, "training team": 0.05, "evaluations": 0.004}
    pieces = {f"alone {n}": Piece("training alone", 1000) for n in range(4)}
    pieces |= {f"team {n}": Piece("training team", 4000) for n in range(2)}
    pieces |= {"cells": Piece("evaluations", 6000), "votes": Piece("evaluations", 20000, last=True)}
    left.plan(pieces, 1, {"training alone": 0.04, "training team": 0.1, "evaluations": 0.002})
    total = sum(true[p.kind] * p.messages for p in pieces.values())
    for name in ("cells", *(n for n in pieces if n not in ("cells", "votes")), "votes"):
        left.at([name], 0)
        began, seconds = clock.now, true[pieces[name].kind] * pieces[name].messages
        for step in range(1, 21):
            clock.now = began + 2 + seconds * step / 20  # two seconds to begin
            left.at([name], step / 20)
            if clock.now / total > 0.1 and name != "votes":
                rest = total + 2 * len(pieces) - clock.now
                assert abs((left.seconds or 0) / rest - 1) < 0.3, (name, step, left.seconds, rest)
        left.over(name)
    assert left.seconds == 0


def test_votes_of_one_agent_share_their_samples() -> None:
    """What a vote of six samples, one of four counts among them: only the dearer one is work."""
    study = Study().merged(
        {
            "methods": ["single_agent", "self_consistency@4", "self_consistency@6"],
            "tasks": ["two_witnesses"],
            "seeds": [0],
        }
    )
    found = {name.split(" / ")[1]: piece.messages for name, piece in pieces(study, list(study.cells()), []).items()}
    questions = 288
    assert found["self_consistency@4"] == 0 and found["self_consistency@6"] == 2 * 6 * questions
