"""What a person sees while a study runs, with news and a clock that a test makes up."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from maporl.benchmarks.study.matrix import News
from maporl.benchmarks.study.progress import WIDTH, StudyProgress
from maporl.benchmarks.study.time_left import Piece


class Clock:
    """Seconds that pass when a test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def watched(terminal: bool = False) -> tuple[StudyProgress, Clock, io.StringIO]:
    file, clock = io.StringIO(), Clock()
    console = Console(file=file, force_terminal=terminal, width=80, highlight=False)
    return StudyProgress(console, clock), clock, file


def piece(messages: float, kind: str = "evaluations", last: bool = False) -> Piece:
    return Piece(kind, messages, last)


def test_a_line_for_everything_that_is_done_and_the_time_left() -> None:
    progress, clock, file = watched()
    run, other = "runs/sums/mappo/seed_0", "runs/sums/mappo/seed_1"
    work = {run: piece(100, "training"), other: piece(100, "training"), "sums/debate/seed_0": piece(30)}
    with progress:
        progress(News("plan", "", done=2, total=5, pieces=work, paces={"training": 1.0, "evaluations": 1.0}))
        progress(News("evaluation", "sums, 1 cells", 0, 0, cells=("sums/debate/seed_0",)))
        clock.now = 40.0
        progress(News("cell", "sums/debate/seed_0"))
        progress(News("training", run, 0, 4))
        clock.now = 60.0
        progress(News("training", run, 1, 4, {"rollout/accuracy_round_1": 0.5}))
        clock.now = 80.0
        progress(News("training", run, 2, 4, {"rollout/accuracy_round_1": 0.75}))  # 80 s in all
        clock.now = 120.0
        progress(News("training over", run))
        clock.now = 9000.0
        progress(News("training over", other, error="ValueError: [no] memory"))
    assert file.getvalue().splitlines() == [
        "3 of 5 cells and trainings to do  about 3:50 left",
        "sums/debate/seed_0  3/5, about 3:20 left",
        "training sums/mappo/seed_0  iteration 1/4, accuracy 0.500, about 2:20 left",
        "training sums/mappo/seed_0  iteration 2/4, accuracy 0.750, about 2:00 left",
        "trained sums/mappo/seed_0  4/5, about 1:20 left",
        "FAILED trained sums/mappo/seed_1: ValueError: [no] memory  5/5",
    ]
    assert progress.failed == [("trained sums/mappo/seed_1", "ValueError: [no] memory")]


def test_what_is_under_way_is_heard_of_every_few_seconds_where_there_are_no_bars_and_less_often_later() -> None:
    progress, clock, file = watched()
    with progress:
        progress(News("plan", "", done=0, total=2, pieces={"a cell": piece(1)}))
        progress(News("evaluation", "sums, 1 cells", 0, 0, cells=("a cell",)))
        for n in range(1, 5001):  # one second each
            clock.now += 1.0
            progress(News("evaluation", "sums, 1 cells", n, 5000, cells=("a cell",)))
    told = [int(line.split("  ")[1].partition("/")[0]) for line in file.getvalue().splitlines()[1:]]
    assert told[:4] == [5, 10, 15, 20] and told[-1] - told[-2] == pytest.approx(0.04 * told[-1], abs=2)
    assert len(told) < 130
    assert file.getvalue().splitlines()[1] == "evaluating sums, 1 cells  5/5000 questions, about 1:23:15 left"


def test_the_votes_are_planned_when_teams_have_been_measured() -> None:
    progress, clock, file = watched()
    few, many = "sums/self_consistency@5/seed_0", "sums/self_consistency@6/seed_0"
    expected = {"sums/debate/seed_0": piece(50), "votes of sums": piece(25, last=True)}
    with progress:
        progress(News("plan", "", done=0, total=1, pieces=expected))
        progress(News("evaluation", "sums, 1 cells", 0, 0, cells=("sums/debate/seed_0",)))
        clock.now = 100.0
        progress(News("cell", "sums/debate/seed_0"))
        progress(News("plan", "", done=1, total=3, pieces={few: piece(0, last=True), many: piece(60, last=True)}))
        progress(News("evaluation", "sums, 2 cells", 0, 0, cells=(few, many)))
        clock.now = 220.0
        progress(News("cell", few))
        progress(News("cell", many))
    assert file.getvalue().splitlines() == [
        "1 of 1 cells and trainings to do",
        "sums/debate/seed_0  1/1, about 0:50 left",
        "2 votes to do, 3 cells in all  about 2:00 left",
        "sums/self_consistency@5/seed_0  2/3",
        "sums/self_consistency@6/seed_0  3/3",
    ]


def test_a_study_that_is_done_says_so_once() -> None:
    progress, _, file = watched()
    with progress:
        progress(News("plan", "", done=4, total=4))
        progress(News("plan", "", done=6, total=6))
    assert file.getvalue().splitlines() == ["0 of 4 cells and trainings to do"]


def test_only_what_is_running_has_a_bar() -> None:
    progress, clock, file = watched(terminal=True)
    with progress:
        progress(News("plan", "", done=0, total=400))
        progress(News("evaluation", "sums, 9 cells", 10, 40))
        for n in range(300):
            name = f"runs/two_witnesses/single_agent~mappo/agent_{n}/seed_0"
            progress(News("training", name, 1, 20, {"rollout/accuracy_round_0": 0.1, "rollout/accuracy_round_1": 0.25}))
            assert len(progress._bars.tasks) <= 3
            if n < 299:
                progress(News("training over", name, error="ValueError: no" if n % 7 == 0 else ""))
        clock.now = 5.0
        whole, evaluation, training = progress._bars.tasks
        assert (whole.completed, whole.total) == (299, 400)
        assert (evaluation.description, evaluation.completed, evaluation.total) == ("evaluating sums, 9 cells", 10, 40)
        assert training.fields["figures"] == "accuracy 0.250"
        assert len(training.description) == WIDTH and training.description.endswith("agent_299/seed_0")
        progress._bars.refresh()
        progress(News("cell", "sums/debate/seed_0", error="no"))  # its evaluation never came to its end
        assert len(progress._bars.tasks) == 2
    shown = file.getvalue()
    assert "299/400" in shown and "accuracy 0.250" in shown
    assert "FAILED trained" in shown and len(progress.failed) == 44
    bars = [
        line for line in Console(file=io.StringIO()).render_str(shown, markup=False).plain.splitlines() if "━" in line
    ]
    assert bars and not any("…" in line.partition("━")[2] for line in bars)  # no figure is cut off


def test_no_bars_without_a_terminal() -> None:
    progress, _, file = watched()
    with progress:
        progress(News("plan", "", done=0, total=2))
        progress(News("training", "runs/sums/mappo/seed_0", 1, 2))
        progress(News("evaluation", "sums, 1 cells", 40, 40))
    assert file.getvalue() == "2 of 2 cells and trainings to do\n"
