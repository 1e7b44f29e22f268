"""The bank of lessons: what a transcript holds, which of it is shown, and how good the best of a discussion is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest

from maporl.envs.protocols.lesson_bank import (
    Lesson,
    factor_of,
    lessons,
    outcome,
    select,
    speed,
    speedup_metrics,
    word_overlap,
)
from maporl.envs.team_answer import TeamAnswer, best_of_history, measured_again
from maporl.types import Question, Score, Transcript, Turn

AGENTS = ("agent_0", "agent_1", "agent_2")


def program(speedup: float, name: str = "") -> Score:
    """Of a right program, or, with 0, of a wrong one."""
    return Score(speedup / 10, speedup > 0, name or f"x{speedup}", measures={"speedup": speedup})


def discussion(codes: Sequence[Sequence[float | Score]], texts: Sequence[Sequence[str]] = ()) -> Transcript:
    """Rounds of programs, and after each the lessons of that round, if there are any."""
    turns: list[Turn] = []
    for r, row in enumerate(codes):
        scores = [one if isinstance(one, Score) else program(one) for one in row]
        turns += [Turn(a, 2 * r, "", score, score) for a, score in zip(AGENTS, scores, strict=False)]
        turns += [Turn(a, 2 * r + 1, text) for a, text in zip(AGENTS, texts[r], strict=True)] if r < len(texts) else []
    agents = AGENTS[: len(codes[0])]
    return Transcript(Question("sort the list", ""), agents, 1 + max(t.round for t in turns), tuple(turns))


THREE = (("a0", "a1", "a2"), ("b0", "b1", "b2"), ("c0", "c1", "c2"))


class TestFactors:
    def test_the_specified_figures(self) -> None:
        f = factor_of(1.5, [1.6, 1.2, 0])
        assert f == pytest.approx(0.966667, abs=1e-6) and 1.5 * f == pytest.approx(1.45)
        assert factor_of(0, [0, 0]) == 0.9 and factor_of(2.0, [2.0]) == 0.9  # beyond it, not as far

    def test_of_what_was_written_with_a_lesson_at_hand(self) -> None:
        bank = lessons(discussion([(1.5, 1.5, 0), (1.6, 1.2, 0)], [THREE[0]]))
        assert [one.factor for one in bank] == pytest.approx([0.966667, 0.966667, (1.1 + 1.1 + 0.9) / 3], abs=1e-6)
        assert lessons(discussion([(1.5, 1.5, 0)], [THREE[0]]))[0].factor == 1.0

    def test_the_last_round_or_all_rounds(self) -> None:
        t = discussion([(1.5, 1, 1), (1.6, 1.2, 0), (1.7, 1.8, 1.9)], [THREE[0], ("", "", "")])
        last, running = (lessons(t, k=9, factor=word)[0] for word in ("last", "running"))
        assert (last.factor, last.tried) == (pytest.approx(1.1), 3)
        assert (running.factor, running.tried) == (pytest.approx((1.1 + 0.9 + 0.9 + 3 * 1.1) / 6), 6)
        with pytest.raises(ValueError, match="factor 'mean' is unknown; use 'last' or 'running'"):
            lessons(t, factor="mean")

    def test_equal_speedups_do_not_share_a_factor(self) -> None:
        """Of the two of 1.5 one is selected, and only that one is judged by what comes of it."""
        first = discussion([(1.5, 1.5, 1.2), (2, 2, 2)], [("the list", "nothing", "nothing")])
        bank = lessons(first, k=1)
        assert [(one.speedup, one.factor) for one in bank] == [(1.5, pytest.approx(1.1)), (1.5, 1.0), (1.2, 1.0)]

    def test_rounds_never_share_a_lesson(self) -> None:
        """Who and when is what a lesson is: those of later rounds do not take the factors of earlier ones."""
        t = discussion([(2, 2, 2), (1, 1, 1), (1, 1, 1)], [THREE[0], THREE[1]])
        bank = lessons(t, k=3)
        assert len({(one.agent, one.round) for one in bank}) == 6
        assert [one.text for one in bank] == [*THREE[0], *THREE[1]]
        # Of six, two are shown again for their speed (2 x .9), and the first of the others, which have nothing to do with the question.
        assert [one.factor for one in bank] == pytest.approx([0.9, 0.9, 0.9, 1.0, 1.0, 1.0])
        again = lessons(t, k=3, relevance=lambda one: one.text == "b2")
        assert again[5].factor == pytest.approx(0.9) and again[2].tried == 3


class TestSelection:
    bank = (
        Lesson("a", speedup=1.5, factor=1, relevance=0.2),
        Lesson("b", speedup=1.2, factor=0.9, relevance=0.9),
        Lesson("c", speedup=0, factor=1.1, relevance=0.8),
        Lesson("d", speedup=2, factor=0.9667, relevance=0.1),
        Lesson("e", speedup=1, factor=1, relevance=0.7),
        Lesson("f", speedup=1.12, factor=1, relevance=0.3),
    )

    def shown(self, k: int, **arguments: object) -> str:
        return "".join(one.text for one in select(self.bank, k, **arguments))  # type: ignore[arg-type]

    def test_the_specified_figures(self) -> None:
        assert self.shown(4) == "dabc"

    def test_places_that_speed_does_not_fill_are_for_relevance(self) -> None:
        assert self.shown(4, floor=1.6) == "dbce" and self.shown(5) == "dafbc" and self.shown(1) == "d"
        assert self.shown(4, floor=3) == "bcef"
        assert self.shown(2, relevance=lambda one: one.text == "f") == "df"

    def test_few_are_all_shown_as_they_came(self) -> None:
        assert self.shown(6) == self.shown(60) == "abcdef" and select((), 4) == ()

    def test_exactly_the_floor_counts(self) -> None:
        exact = [Lesson(f"{n}", speedup=1.0) for n in range(4)] + [Lesson("exact", speedup=1.1)]
        assert [one.text for one in select(exact, 2)] == ["exact", "0"]

    @pytest.mark.parametrize("k", [0, -1])
    def test_none_is_refused(self, k: int) -> None:
        with pytest.raises(ValueError, match=f"k is {k}; at least 1 lesson"):
            select(self.bank, k)

    def test_relevance_is_the_words_that_are_shared(self) -> None:
        assert word_overlap("Sort THE array!", "sort the list") == pytest.approx(2 / 3)
        assert word_overlap("", "x") == word_overlap("?!", "x") == word_overlap("x", "") == 0


class TestOutcomes:
    def test_what_came_of_a_program(self) -> None:
        right = program(1.1)
        assert [outcome(program(s)) for s in (2, 1.1, 1.0001, 1, 0.3, 0)] == [
            *["faster"] * 3,
            "slower",
            "slower",
            "incorrect",
        ]
        assert outcome(Score(0, False, status="no_answer")) == "not_compilable"
        assert outcome(Score(0, None, status="timeout")) == outcome(Score(0, None, status="error")) == "incorrect"
        assert outcome(None) == outcome(Score(0.5, None)) == "unknown"
        assert outcome(right, "value") == "right"

    def test_speed_is_that_of_right_programs(self) -> None:
        wrong = replace(program(3), correct=False)
        assert [speed(program(3)), speed(wrong), speed(None), speed(Score(0, None, status="timeout"))] == [3, 0, 0, 0]
        assert speed(Score(0.4, False), "value") == 0.4  # passes 40 % of the tests

    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    def test_a_speedup_that_is_none_is_refused(self, bad: float) -> None:
        score = Score(1, True, measures={"speedup": bad})
        with pytest.raises(ValueError, match=f"the speedup of a score is {bad}"):
            lessons(discussion([(score, 1, 1)], [THREE[0]]))
        with pytest.raises(ValueError, match=f"a lesson's speedup is {bad}"):
            Lesson("a", speedup=bad)

    def test_a_task_without_speedups_says_so(self) -> None:
        with pytest.raises(ValueError, match=r"no measure 'speedup', only \[\]; use 'value'"):
            outcome(Score(1.0, True))


class TestBestOfHistory:
    def test_the_first_of_the_greatest_of_all_rounds(self) -> None:
        t = discussion([(1, program(2, "early"), 0), (program(2, "late"), 1.5, 1.5)], [THREE[0]])
        best = best_of_history(t, "speedup")
        assert best == TeamAnswer("early", 1.0, scored=True, measures={"speedup": 2})
        assert best_of_history(t).answer == "early"

    def test_what_is_wrong_is_no_answer_however_it_is_valued(self) -> None:
        """Nor is the first failure handed in where all fail."""
        proud = Score(0.9, False, "wrong", measures={"speedup": 9.0})
        late = Score(0.9, None, "late", "timeout", measures={"speedup": 9.0})
        assert best_of_history(discussion([(proud, late, 1.2)]), "speedup").answer == "x1.2"
        assert best_of_history(discussion([(proud, late)]), "speedup") == TeamAnswer(None, 0.0, tied=0, scored=True)

    def test_it_is_an_oracles_where_the_verifier_reads_the_gold_answer(self) -> None:
        class Knows:
            uses_gold = True

        assert best_of_history(discussion([(1,)]), verifier=Knows()).oracle
        assert not best_of_history(discussion([(1,)])).oracle

    def test_the_best_of_noisy_figures_is_measured_once_more(self) -> None:
        lucky = best_of_history(discussion([(1.4, program(3, "lucky"))]), "speedup")
        fair = measured_again(lucky, program(1.2))
        assert (fair.answer, fair.correct, fair.measures) == ("lucky", 1.0, {"speedup": 1.2})
        assert measured_again(lucky, program(0)).correct == 0.0


def test_what_speedups_come_to() -> None:
    found = speedup_metrics([2, 0.5, 0])
    assert found == pytest.approx(
        {"speedup_geometric": 1.259921, "speedup_arithmetic": 0.833333, "speedup_2": 1 / 3}, abs=1e-6
    )
    for bad in ([], [math.nan], [-1.0]):
        with pytest.raises(ValueError, match="give a number of at least 0 for every problem"):
            speedup_metrics(bad)
