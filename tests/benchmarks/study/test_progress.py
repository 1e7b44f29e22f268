"""What a person sees while a study runs, with news and a clock that a test makes up."""

from __future__ import annotations

import io

from rich.console import Console

from maporl.benchmarks.study.matrix import News
from maporl.benchmarks.study.progress import WIDTH, StudyProgress


class Clock:
    """Seconds that pass when a test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def watched(terminal: bool = False) -> tuple[StudyProgress, Clock, io.StringIO]:
    file, clock = io.StringIO(), Clock()
    console = Console(file=file, force_terminal=terminal, width=80, highlight=False)
    return StudyProgress(console, clock), clock, file


def test_a_line_for_everything_that_is_done_and_the_time_left() -> None:
    progress, clock, file = watched()
    with progress:
        progress(News("plan", "", done=2, total=12))
        assert progress.left() == ""  # nothing is done yet
        clock.now = 30.0
        progress(News("cell", "sums/debate/seed_0"))  # 30 s a piece, 9 to go
        progress(News("training", "runs/sums/mappo/seed_0", 1, 4, {"rollout/accuracy_round_1": 0.5}))
        assert progress.left() == "about 3:30 left"  # 1.25 pieces in 30 s, 8.75 to go
        clock.now = 60.0
        progress(News("training over", "runs/sums/mappo/seed_0"))
        clock.now = 9000.0
        progress(News("cell", "sums/mappo/seed_0", error="ValueError: [no] memory"))
    assert file.getvalue().splitlines() == [
        "10 of 12 cells and trainings to do",
        "sums/debate/seed_0  3/12, about 4:30 left",
        "trained sums/mappo/seed_0  4/12, about 4:00 left",
        "FAILED sums/mappo/seed_0: ValueError: [no] memory  5/12, about 5:50:00 left",
    ]
    assert progress.failed == [("sums/mappo/seed_0", "ValueError: [no] memory")]


def test_a_long_training_is_heard_of_once_a_minute_where_there_are_no_bars() -> None:
    progress, clock, file = watched()
    with progress:
        progress(News("plan", "", done=0, total=2))
        for n in range(1, 5):  # 40 seconds each
            clock.now += 40.0
            progress(News("training", "runs/sums/mappo/seed_0", n, 8, {"rollout/accuracy_round_1": n / 8}))
    assert file.getvalue().splitlines()[1:] == [
        "training sums/mappo/seed_0  iteration 2/8, accuracy 0.250, about 9:20 left",
        "training sums/mappo/seed_0  iteration 4/8, accuracy 0.500, about 8:00 left",
    ]


def test_the_votes_are_planned_when_teams_have_been_measured() -> None:
    progress, clock, file = watched()
    with progress:
        progress(News("plan", "", done=0, total=1))
        clock.now = 100.0
        progress(News("cell", "sums/debate/seed_0"))
        progress(News("plan", "", done=1, total=3))
        assert progress.left() == ""  # votes take another time than teams
        clock.now = 110.0
        progress(News("cell", "sums/self_consistency@5/seed_0"))
        progress(News("cell", "sums/self_consistency@6/seed_0"))
    assert file.getvalue().splitlines() == [
        "1 of 1 cells and trainings to do",
        "sums/debate/seed_0  1/1",
        "2 votes to do, 3 cells in all",
        "sums/self_consistency@5/seed_0  2/3, about 0:10 left",
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
