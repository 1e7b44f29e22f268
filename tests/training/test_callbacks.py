"""What a run tells while it goes on: when, in which order, with what, and what becomes of the run if a listener fails."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from run_toys import SMALL, Letters
from toy_models import weights

from maporl.algorithms.algorithm import Update
from maporl.rollouts.records import read_records
from maporl.training.callbacks import Callback, Callbacks
from maporl.training.evaluation import Evaluation
from maporl.training.preflight import Preflight
from maporl.training.run import RunFolder, train
from maporl.training.trainer import Run
from maporl.types import Episode

HOOKS = [name for name in vars(Callback) if name.startswith("on_")]
SETTINGS = SMALL | {"env": "run_toys:Letters", "algorithm": "ippo", "checkpoint_every": 1, "preflight": "stop"}
IN_ORDER = [
    "on_preflight",
    "on_training_start",
    "on_evaluation iteration_0000",
    *("on_experience 1", "on_update 1", "on_iteration 1"),
    *("on_experience 2", "on_update 2", "on_iteration 2"),
    "on_evaluation iteration_0002",
    "on_evaluation test",
    "on_training_end",
    "close",
]
"""Of a run of two iterations, evaluated at its ends."""


class Listener(Callback):
    """Keeps all it is told, and what could be read and how the team stood at that moment.

    Args:
        name: Set before what is noted.
        heard: Where that goes: "HOOK", "HOOK ITERATION" or "HOOK EVALUATION".
        failing: What of it ends in an error.
    """

    def __init__(self, name: str = "", heard: list[str] | None = None, failing: str = "") -> None:
        self.name, self.failing = name, failing
        self.heard: list[str] = [] if heard is None else heard
        self.news: dict[str, tuple[Any, ...]] = {}
        self.written: dict[str, list[dict[str, Any]]] = {}
        self.weights: dict[str, torch.Tensor] = {}

    def on_preflight(self, preflight: Preflight) -> None:
        self.heard.append(f"{self.name}on_preflight")  # there is no run yet

    def on_training_start(self, run: Run) -> None:
        self.run = run
        self._hear("on_training_start", run)

    def on_experience(self, iteration: int, episodes: Sequence[Episode]) -> None:
        self._hear(f"on_experience {iteration}", episodes)

    def on_update(self, iteration: int, episodes: Sequence[Episode], update: Update) -> None:
        self._hear(f"on_update {iteration}", episodes, update)

    def on_iteration(self, iteration: int, metrics: Mapping[str, float]) -> None:
        self._hear(f"on_iteration {iteration}", metrics)

    def on_evaluation(self, name: str, iteration: int, evaluation: Evaluation) -> None:
        self._hear(f"on_evaluation {name}", iteration, evaluation)

    def on_training_end(self, run: Run) -> None:
        self._hear("on_training_end", run)

    def close(self) -> None:
        self._hear("close")

    def _hear(self, what: str, *news: Any) -> None:
        self.heard.append(self.name + what)
        self.news[what], self.written[what] = news, self.run.folder.metrics
        self.weights[what] = weights(self.run.trainer.team.policies[0], "agent_0")
        if what == self.failing:
            raise ZeroDivisionError("a bug of the user's")


@pytest.fixture(scope="module")
def listened(tiny_model: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Listener, RunFolder]:
    """A listener and the run that it has heard, neither to be changed."""
    listener = Listener()
    folder = train(
        model=tiny_model, output_dir=tmp_path_factory.mktemp("runs") / "run", callbacks=[listener], **SETTINGS
    )
    return listener, folder


class TestWhatIsTold:
    def test_everything_once_and_in_order(self, listened: tuple[Listener, RunFolder]) -> None:
        assert listened[0].heard == IN_ORDER
        assert {what.split()[0] for what in IN_ORDER} == {*HOOKS, "close"}

    def test_at_the_start_everything_is_built_and_nothing_done(self, listened: tuple[Listener, RunFolder]) -> None:
        listener, folder = listened
        (run,) = listener.news["on_training_start"]
        assert listener.written["on_training_start"] == []
        assert run.folder.path == folder.path and isinstance(run.env, Letters)
        assert run.trainer.team.agents == ("agent_0", "agent_1")
        assert listener.news["on_training_end"] == (run,)

    def test_experience_is_told_before_and_after_it_is_learned_from(self, listened: tuple[Listener, RunFolder]) -> None:
        listener, _ = listened
        trained = {q.id for q in listener.run.env.questions("train")}
        for k in (1, 2):
            (experience,), (episodes, update) = listener.news[f"on_experience {k}"], listener.news[f"on_update {k}"]
            assert episodes is experience and len(episodes) == SMALL["episodes_per_iteration"]
            assert {e.transcript.question.id for e in episodes} <= trained
            assert set(update.advantages) == {(n, i) for n, e in enumerate(episodes) for i, _ in e.said}
        moments = [f"{hook} {k}" for k in (1, 2) for hook in ("on_experience", "on_update")]
        before_1, after_1, before_2, after_2 = (listener.weights[moment] for moment in moments)
        assert torch.equal(after_1, before_2)
        assert not torch.equal(before_1, after_1) and not torch.equal(before_2, after_2)

    def test_an_iteration_is_written_down_when_it_is_told(self, listened: tuple[Listener, RunFolder]) -> None:
        listener, _ = listened
        for k in (1, 2):
            (metrics,), (_, update) = listener.news[f"on_iteration {k}"], listener.news[f"on_update {k}"]
            assert listener.written[f"on_iteration {k}"][-1] == {"iteration": k, **metrics}
            assert update.metrics["train/grad_norm/agent_0"] > 0 and update.metrics.items() <= metrics.items()

    @pytest.mark.parametrize(("name", "done"), [("iteration_0000", 0), ("iteration_0002", 2), ("test", 2)])
    def test_an_evaluation_is_written_down_when_it_is_told(
        self, name: str, done: int, listened: tuple[Listener, RunFolder]
    ) -> None:
        listener, folder = listened
        what = f"on_evaluation {name}"
        iteration, evaluation = listener.news[what]
        assert iteration == done
        assert listener.written[what][-1] == {"iteration": done, "evaluation": name, **evaluation.metrics}
        assert ("test/accuracy" in evaluation.metrics) == (name == "test") != ("eval/accuracy" in evaluation.metrics)
        assert evaluation.records == read_records(folder.path / "evaluations" / f"{name}.jsonl")

    def test_listeners_are_told_one_after_the_other(self, tiny_model: str, tmp_path: Path) -> None:
        heard: list[str] = []
        several = [Listener("1 ", heard), Callback(), Listener("2 ", heard)]  # who overrides nothing is no obstacle
        train(model=tiny_model, output_dir=tmp_path / "run", callbacks=several, **SETTINGS)
        assert heard == [f"{name} {what}" for what in IN_ORDER for name in (1, 2)]


def assert_equal(one: RunFolder, other: RunFolder) -> None:
    """Two runs measured and learned the same."""
    timeless = [
        [{k: v for k, v in row.items() if not k.startswith("time/")} for row in run.metrics] for run in (one, other)
    ]
    assert timeless[0] == timeless[1]
    adapters = [run.path / "adapters" / "agent_0" / "adapter_model.safetensors" for run in (one, other)]
    assert adapters[0].read_bytes() == adapters[1].read_bytes()


# An iteration is told of before its checkpoint is written: what fails then is done again.
@pytest.mark.parametrize(
    ("failing", "again"),
    [
        ("on_training_start", "on_evaluation iteration_0000"),
        ("on_update 2", "on_experience 2"),
        ("on_iteration 2", "on_experience 2"),
        ("on_evaluation test", "on_evaluation iteration_0002"),
        ("on_training_end", "on_evaluation iteration_0002"),
    ],
)
def test_an_error_of_a_listener_ends_the_run_which_can_be_resumed(
    failing: str, again: str, tiny_model: str, tmp_path: Path, listened: tuple[Listener, RunFolder]
) -> None:
    listener, other, folder = Listener(failing=failing), Listener(), RunFolder(tmp_path / "run")
    with pytest.raises(ZeroDivisionError, match="a bug of the user's") as caught:
        train(model=tiny_model, output_dir=folder.path, callbacks=[other, listener], **SETTINGS)
    assert listener.heard == [*IN_ORDER[: IN_ORDER.index(failing) + 1], "close"] == other.heard
    assert caught.value.__notes__ == [
        f"The run is in {folder.path}; after a remedy that leaves its settings as they are go on with: maporl train --resume {folder.path}"
    ]
    status = json.loads((folder.path / "status.json").read_text())
    assert status == {"status": "failed", "error": "ZeroDivisionError: a bug of the user's"}

    remedied = Listener()
    resumed = train(resume=folder.path, callbacks=[remedied])
    assert remedied.heard == ["on_training_start", *IN_ORDER[IN_ORDER.index(again) :]]
    assert resumed.status == "complete"
    assert_equal(resumed, listened[1])


def test_everybody_is_closed_even_after_an_error() -> None:
    closed = []

    class Closing(Callback):
        def close(self) -> None:
            closed.append(self)
            raise ZeroDivisionError("a bug of the user's")

    both = [Closing(), Closing()]
    with pytest.raises(ZeroDivisionError):
        Callbacks(both).close()
    assert closed == both


@pytest.mark.parametrize("wrong", [Listener, print, "display", lambda event, iteration, metrics: None])
def test_what_is_no_callback_is_refused(wrong: Any, tiny_model: str, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="is no Callback; give instances of subclasses of ") as caught:
        train(model=tiny_model, output_dir=tmp_path / "run", callbacks=[Listener(), wrong], **SETTINGS)
    told = str(caught.value)
    assert told.startswith(repr(wrong)) and "\n" not in told
    [(module, name)] = re.findall(r"of ([\w.]+)\.(\w+)\.$", told)
    assert getattr(importlib.import_module(module), name) is Callback, "the remedy names what is there"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("asked", "kept"), [(6, 4), (4, 4), (3, 3), (100, 8)])
def test_discussions_are_recorded_in_whole_groups(tiny_model: str, tmp_path: Path, asked: int, kept: int) -> None:
    """Half a group would look like a whole one with other values; where not even one fits, part of it is better than nothing."""
    settings = SETTINGS | {"algorithm": "magrpo", "algorithm_args": {"group_size": 4}, "num_iterations": 1}
    settings |= {"preflight": "off", "num_recorded_discussions": asked, "model": tiny_model}
    folder = train(output_dir=str(tmp_path / "run"), **settings)
    assert len(read_records(folder.path / "discussions" / "iteration_0001.jsonl")) == kept
