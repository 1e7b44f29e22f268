"""Runs the jobs of a study, here or in processes of their own, and passes on their progress."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import Empty
from typing import Any

from maporl.benchmarks.study.time_left import Piece
from maporl.errors import OutOfMemory

__all__ = ["News", "OnNews", "Workers", "workers"]


@dataclass(frozen=True)
class News:
    """What happens in a study.

    Attributes:
        kind: "plan", "training" (an iteration of one), "training over", "evaluation" (some questions of one), "cell" (one is over).
        name: Of the training or cell; the task that is evaluated.
        done, total: Iterations or questions, 0 of them when it begins; for "plan" cells that are done, and all cells and trainings to do.
        metrics: Of a training's iteration.
        cells: The names of those that an evaluation measures together.
        pieces: For "plan", what is still to be done, by name.
        paces: For "plan", what was measured of it (`maporl.benchmarks.study.pace`).
        workers: For "plan", how much of it is done at a time.
        error: One line, if it failed.
    """

    kind: str
    name: str
    done: int = 0
    total: int = 0
    metrics: Mapping[str, float] | None = None
    cells: tuple[str, ...] = ()
    pieces: Mapping[str, Piece] = field(default_factory=dict)
    paces: Mapping[str, float] = field(default_factory=dict)
    workers: int = 1
    error: str = ""


OnNews = Callable[[News], None]
"""What is told about everything that happens in a study."""


class Workers:
    """Where jobs run: here, one after the other, or in processes of their own.

    Args:
        number: Jobs at a time.
        pool: The processes; None runs a job when it is submitted.
        news: A queue of what they tell.
        watch: Who is told.
    """

    def __init__(self, number: int, pool: Executor | None, news: Any, watch: OnNews) -> None:
        self.number, self.pool, self.news, self.watch = number, pool, news, watch

    def submit(self, job: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Run ``job(*arguments, send)``; `send` takes its news."""
        if self.pool is not None:
            return self.pool.submit(job, *arguments, _Sender(self.news))
        future: Future[Any] = Future()
        try:
            future.set_result(job(*arguments, self.watch))
        except Exception as error:
            future.set_exception(error)
        return future

    def listen(self) -> None:
        """Pass on what the processes have told."""
        while self.news is not None:
            try:
                self.watch(self.news.get_nowait())
            except Empty:
                return


@dataclass(frozen=True)
class _Sender:
    """Sends news from another process."""

    queue: Any

    def __call__(self, news: News) -> None:
        self.queue.put(news)


@contextmanager
def workers(number: int, watch: OnNews) -> Iterator[Workers]:
    """As many of them as asked for; none is left when the block is over.

    Raises:
        MemoryError: A process died.
    """
    if number == 1:
        yield Workers(1, None, None, watch)
        return
    context = multiprocessing.get_context("spawn")  # torch does not survive a fork
    with context.Manager() as manager, ProcessPoolExecutor(number, mp_context=context) as pool:
        started = Workers(number, pool, manager.Queue(), watch)
        try:
            yield started
        except BrokenProcessPool as error:
            raise OutOfMemory(
                "a process of the study died, most likely for lack of memory; the same command goes on with what is missing: give it "
                "fewer --num_workers."
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)
            started.listen()
