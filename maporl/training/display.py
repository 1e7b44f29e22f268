"""Progress for people: a live line on a terminal, one plain line an iteration elsewhere, and a table at the end."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from maporl.training.callbacks import Callback

if TYPE_CHECKING:
    from maporl.envs.discussion import DiscussionEnv
    from maporl.training.evaluation import Evaluation
    from maporl.training.preflight import Preflight
    from maporl.training.trainer import Run

__all__ = ["Display", "clock", "print_list", "show_table", "summary"]


class Display(Callback):
    """A run as it goes on, for people. Warnings go through it, each on one line above the live one.

    Args:
        title: Of the work.
        total: Iterations.
        console: Where to write; standard output if None.
    """

    def __init__(self, title: str, total: int, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self.total = total
        self._started = time.monotonic()
        self._env: DiscussionEnv | None = None
        self._first: int | None = None  # a resumed run does not begin at 1
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=self.console,
        )
        self._task = self._progress.add_task(title, total=max(total, 1), left="")
        self._figures = Text("building")  # on a line of its own, so that neither is cut off at 80 columns
        self._live = Live(Group(self._progress, self._figures), console=self.console, transient=True)

    def __enter__(self) -> Display:
        self._caught = warnings.catch_warnings()
        self._caught.__enter__()
        # What libraries will change one day is for their callers, that is for us, not for who trains a team.
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.showwarning = self._warn
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._caught.__exit__(None, None, None)
        if self.console.is_terminal:
            self._live.stop()

    def on_preflight(self, preflight: Preflight) -> None:
        for number, line in enumerate(preflight.lines):
            self._line(f"{'' if number else 'preflight':<22} {line}")

    def on_training_start(self, run: Run) -> None:
        self._env = run.env
        sizes = (f"{len(run.env.questions(split)):,} {split}" for split in ("train", "validation"))
        self._line(f"{'questions':<22} {', '.join(sizes)}")

    def on_evaluation(self, name: str, iteration: int, evaluation: Evaluation) -> None:
        asked = "test" if name == "test" else "validation"
        pool = 0 if self._env is None else len(self._env.questions(asked))
        self._line(f"{_when(name, iteration, self.total):<22} {evaluation_figures(evaluation.metrics, pool)}")
        self._figures.plain = "sampling"
        self._started = time.monotonic() if self._first is None else self._started

    def on_iteration(self, iteration: int, metrics: Mapping[str, float]) -> None:
        self._first = iteration if self._first is None else self._first
        figures, left = iteration_figures(metrics), self._left(iteration)
        self._progress.update(self._task, completed=iteration, left=left)
        self._figures.plain = f"  {figures}"
        if not self.console.is_terminal:
            self._line(f"iteration {iteration}/{self.total}".ljust(22) + f" {figures}  {left}")

    def _left(self, iteration: int) -> str:
        assert self._first is not None
        per_iteration = (time.monotonic() - self._started) / (iteration - self._first + 1)
        return f"{clock(per_iteration * (self.total - iteration))} left"

    def _line(self, text: str) -> None:
        # soft_wrap: a line that a log file holds, or a person copies, is never broken by us.
        self.console.print(text.rstrip(), soft_wrap=True, markup=False)
        if not self.console.is_terminal:
            self.console.file.flush()

    def _warn(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        text = " ".join(str(message).split())
        if self.console.is_terminal:
            self._line(f"warning: {text}")
        else:
            print(f"maporl: warning: {text}", file=sys.stderr, flush=True)


def clock(seconds: float) -> str:
    """As 1:02:03, or 2:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{f'{hours}:{minutes:02}' if hours else minutes}:{rest:02}"


def iteration_figures(metrics: Mapping[str, float]) -> str:
    """Reward, accuracy of the last round, KL and tokens per second, as far as they were measured."""
    accuracies = sorted((int(k.rsplit("_", 1)[1]), k) for k in metrics if k.startswith("rollout/accuracy_round_"))
    figures = {
        "reward": ("rollout/reward_mean", ".3f"),
        "accuracy": (accuracies[-1][1] if accuracies else "", ".3f"),
        "unusable verdicts of the judge": ("verifier/judge_nonsense", ".0f"),
        "questions with enough answers": ("verifier/questions_with_enough", ".0%"),
        "KL": ("train/kl_to_reference" if "train/kl_to_reference" in metrics else "train/approx_kl", ".4f"),
        "tokens/s": ("time/tokens_per_s", ",.0f"),
    }
    shown = {name: (key, form) for name, (key, form) in figures.items() if key in metrics}
    if not metrics.get("verifier/judge_nonsense"):
        shown.pop("unusable verdicts of the judge", None)
    return "  ".join(f"{name} {metrics[key]:{form}}" for name, (key, form) in shown.items())


def evaluation_figures(metrics: Mapping[str, float], pool: int = 0) -> str:
    """The accuracy of an evaluation, and how many questions it had, of a split of so many."""
    shown = {k.split("/", 1)[1]: v for k, v in metrics.items()}
    name = "oracle_accuracy" if "oracle_accuracy" in shown else "accuracy"
    asked = round(shown.get("questions", 0))
    return f"{name} {shown.get(name, float('nan')):.3f}  ({asked:,}{f' of {pool:,}' if pool > asked else ''} questions)"


def _when(event: str, iteration: int, total: int) -> str:
    if event == "test":
        return "test"
    return "validation " + ("before" if iteration == 0 else "after" if iteration == total else f"at {iteration}")


def summary(rows: Sequence[Mapping[str, Any]], folder: str, console: Console | None = None) -> None:
    """The table after a run: validation before and after, and the test split, from the lines of ``metrics.jsonl``.

    Without any evaluation, the command that makes one.
    """
    console = console or Console(highlight=False)
    evaluations = [row for row in rows if "evaluation" in row]
    if not evaluations:
        console.print(f"run folder: {folder}; evaluate it with: maporl evaluate {folder}", soft_wrap=True, markup=False)
        return
    nothing: Mapping[str, Any] = {}
    before = next((row for row in evaluations if row["evaluation"] == "iteration_0000"), nothing)
    after = next((row for row in reversed(evaluations) if row["evaluation"] != "test"), nothing)
    test = next((row for row in reversed(evaluations) if row["evaluation"] == "test"), nothing)
    columns = {
        "validation before": _named(before, "eval/"),
        "validation after": _named(after, "eval/"),
        "test after": _named(test, "test/"),
    }
    show_table(columns, console=console)
    console.print(f"run folder: {folder}", soft_wrap=True, markup=False)


def _named(row: Mapping[str, Any], prefix: str) -> dict[str, float]:
    return {k.removeprefix(prefix): v for k, v in row.items() if k.startswith(prefix)}


_ROWS = {"oracle_accuracy": "team accuracy (ORACLE)", "accuracy": "team accuracy", "agent_accuracy": "agents' accuracy"}


def show_table(columns: Mapping[str, Mapping[str, float]], console: Console | None = None, title: str = "") -> None:
    """Accuracies as rows, evaluations as columns: the team's, the agents' by round, what scores measure beside, parsed answers, lengths."""
    console = console or Console(highlight=False)
    names = list(dict.fromkeys(name for values in columns.values() for name in values))
    rounds = sorted((n for n in names if n.startswith("accuracy_round_")), key=lambda n: int(n.rsplit("_", 1)[1]))
    measures = [n for n in names if n.startswith("measure/")]
    if title:
        console.print(title, soft_wrap=True, markup=False)
    table = Table("", *columns)
    for index in range(1, len(columns) + 1):
        table.columns[index].justify = "right"
    for name in [*_ROWS, *rounds, *measures, "parse_rate", "reward_mean", "completion_tokens", "questions"]:
        if name in names and not (name == "agent_accuracy" and rounds):
            form = ".0f" if name in ("questions", "completion_tokens") else ".3f"
            cells = [f"{values[name]:{form}}" if name in values else "" for values in columns.values()]
            table.add_row(_ROWS.get(name, _label(name)), *cells)
    console.print(table)


def _label(name: str) -> str:
    return name.removeprefix("measure/").replace("accuracy_round_", "agents, round ").replace("_", " ")


def print_list(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns of text; the last one is never broken by us."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header) - 1)]
    for row in [header, *rows]:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        print("  ".join([*cells, row[-1]]).rstrip())
