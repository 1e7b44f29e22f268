"""What a person sees while a study runs: bars on a terminal, a plain line for everything that is done elsewhere, and the time left."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from maporl.benchmarks.study.workers import News
from maporl.training.display import clock

__all__ = ["StudyProgress"]

EVALUATING = "evaluating "

SILENCE = 60.0
"""Seconds without a line after which a file or a pipe, which has no bars, is told how far a training is."""

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
        self._total = self._over = self._before = 0
        self._part: dict[str, float] = {}  # share of every training that is under way
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
        self._began, self._part = self._clock(), {}
        self._total, self._over, self._before = news.total, news.done, news.done
        if self._whole is None:
            self._whole = self._bars.add_task("cells and trainings", total=self._total, figures="")
            self._say(f"{news.total - news.done} of {news.total} cells and trainings to do")
        elif news.done < news.total:
            self._say(f"{news.total - news.done} votes to do, {news.total} cells in all")
        self._bars.update(self._whole, total=self._total, completed=self._over)

    def _training(self, news: News) -> None:
        self._part[news.name] = news.done / max(news.total, 1)
        name, figures = news.name.removeprefix("runs/"), _accuracy(news.metrics or {})
        self._bar(name, news.done, news.total, figures)
        self._update()
        if not self.console.is_terminal and self._clock() - self._heard >= SILENCE:
            far = ", ".join(filter(None, (f"iteration {news.done}/{news.total}", figures, self.left())))
            self._say(f"training {name}  {far}")

    def _training_over(self, news: News) -> None:
        self._part.pop(news.name, None)
        self._close(news.name.removeprefix("runs/"))
        self._count(f"trained {news.name.removeprefix('runs/')}", news)

    def _evaluation(self, news: News) -> None:
        self._bar(EVALUATING + news.name, news.done, news.total, "questions")
        if news.done == news.total:
            self._close(EVALUATING + news.name)

    def _cell(self, news: News) -> None:
        for name in [name for name in self._tasks if name.startswith(EVALUATING)]:
            self._close(name)  # one that failed was never full; one that goes on comes back with its next news
        self._count(news.name, news)

    def _count(self, name: str, news: News) -> None:
        self._over += 1
        self._update()
        if news.error:
            self.failed.append((name, news.error))
        far = ", ".join(filter(None, (f"{self._over}/{self._total}", self.left())))
        self._say(f"{f'FAILED {name}: {news.error}' if news.error else name}  {far}")

    def left(self) -> str:
        """The time left, if the rest takes as long per cell as what is done; "" until 5 % of a cell is done."""
        done = self._over - self._before + sum(self._part.values())
        rest = self._total - self._over - sum(self._part.values())
        if done < 0.05 or rest <= 0:
            return ""
        return f"about {clock((self._clock() - self._began) / done * rest)} left"

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

    def _say(self, text: str) -> None:
        self._heard = self._clock()
        self.console.print(text, soft_wrap=True, markup=False)


def _accuracy(metrics: Mapping[str, float]) -> str:
    """Of the last round, in an iteration of a training."""
    by_round = {
        int(name.rsplit("_", 1)[1]): v for name, v in metrics.items() if name.startswith("rollout/accuracy_round_")
    }
    return f"accuracy {by_round[max(by_round)]:.3f}" if by_round else ""
