"""What a person sees while a study runs: bars on a terminal, a plain line for everything that is done elsewhere, and the time left."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from maporl.benchmarks.study.time_left import TimeLeft
from maporl.benchmarks.study.workers import News
from maporl.training.display import clock

__all__ = ["StudyProgress"]

EVALUATING = "evaluating "

SILENCE, SHARE = 5.0, 0.04
"""A file, a pipe or a notebook, which have no bars, hear of what is under way after so many seconds without a line, and after this share of
the whole time so far: every few seconds at first, and never thousands of lines."""

WIDTH = 36
"""Of a bar's name: a line then fits into 80 columns. Its end tells seats and seeds apart."""


class StudyProgress:
    """Takes a study's news.

    Args:
        console: Where to write.
        clock: Seconds, for the time left.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self.console, self._clock = console, clock
        self._began = self._heard = clock()
        self._total = self._over = 0
        self._rest = TimeLeft(clock)
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=12),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            console=console,
        )
        self._whole: TaskID | None = None
        self._tasks: dict[str, TaskID] = {}
        self.failed: list[tuple[str, str]] = []

    def __enter__(self) -> StudyProgress:
        if self.console.is_terminal:
            self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.console.is_terminal:
            self._bars.stop()

    def __call__(self, news: News) -> None:
        """Show one piece of news."""
        getattr(self, f"_{news.kind.replace(' ', '_')}")(news)

    def _plan(self, news: News) -> None:
        """A plan comes twice: the votes that match the teams' costs are planned once the teams are measured."""
        self._rest.plan(news.pieces, news.workers, news.paces)
        self._total, self._over = news.total, news.done
        if self._whole is None:
            self._whole = self._bars.add_task("cells and trainings", total=self._total, figures="")
            self._say(f"{news.total - news.done} of {news.total} cells and trainings to do", self.left())
        elif news.done < news.total:
            self._say(f"{news.total - news.done} votes to do, {news.total} cells in all", self.left())
        self._bars.update(self._whole, total=self._total, completed=self._over)

    def _training(self, news: News) -> None:
        self._rest.at([news.name], news.done / max(news.total, 1))
        name, figures = news.name.removeprefix("runs/"), _accuracy(news.metrics or {})
        self._bar(name, news.done, news.total, figures)
        self._under_way(f"training {name}", f"iteration {news.done}/{news.total}", figures)

    def _training_over(self, news: News) -> None:
        name = news.name.removeprefix("runs/")
        self._rest.over(news.name)
        self._close(name)
        self._count(f"trained {name}", news)

    def _evaluation(self, news: News) -> None:
        self._rest.at(news.cells, news.done / max(news.total, 1))
        self._bar(EVALUATING + news.name, news.done, news.total, "questions")
        self._under_way(EVALUATING + news.name, f"{news.done}/{news.total} questions")
        if news.done == news.total > 0:
            self._close(EVALUATING + news.name)

    def _under_way(self, name: str, *far: str) -> None:
        """Something goes on: told where there are no bars, if nothing was for a while."""
        self._update()
        silence = max(SILENCE, SHARE * (self._clock() - self._began))
        if not self.console.is_terminal and self._clock() - self._heard >= silence:
            self._say(name, *far, self.left())

    def _cell(self, news: News) -> None:
        self._rest.over(news.name)
        for name in [name for name in self._tasks if name.startswith(EVALUATING)]:
            self._close(name)  # one that failed was never full; one that goes on comes back with its next news
        self._count(news.name, news)

    def _count(self, name: str, news: News) -> None:
        self._over += 1
        self._update()
        if news.error:
            self.failed.append((name, news.error))
        self._say(f"FAILED {name}: {news.error}" if news.error else name, f"{self._over}/{self._total}", self.left())

    def left(self) -> str:
        """The time left; "" where nothing is known of it yet, or nothing is left."""
        seconds = self._rest.seconds
        return f"about {clock(seconds)} left" if seconds else ""

    def _update(self) -> None:
        if self._whole is not None:
            self._bars.update(self._whole, completed=self._over, figures=self.left())

    def _bar(self, name: str, done: int, total: int, figures: str) -> None:
        if name not in self._tasks:
            short = name if len(name) <= WIDTH else f"…{name[1 - WIDTH :]}"
            self._tasks[name] = self._bars.add_task(short, total=total, figures="")
        self._bars.update(self._tasks[name], completed=done, figures=figures)

    def _close(self, name: str) -> None:
        if name in self._tasks:
            self._bars.remove_task(self._tasks.pop(name))

    def _say(self, name: str, *far: str) -> None:
        self._heard = self._clock()
        self.console.print("  ".join(filter(None, (name, ", ".join(filter(None, far))))), soft_wrap=True, markup=False)
        if not self.console.is_terminal:
            self.console.file.flush()


def _accuracy(metrics: Mapping[str, float]) -> str:
    """Of the last round, in an iteration of a training."""
    by_round = {
        int(name.rsplit("_", 1)[1]): v for name, v in metrics.items() if name.startswith("rollout/accuracy_round_")
    }
    return f"accuracy {by_round[max(by_round)]:.3f}" if by_round else ""
