"""A run whose verifier cannot be reached stops without losing anything, and goes on as if nothing had happened."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from run_toys import Heard

import maporl
from maporl.agents.models.make_model import make_model
from maporl.cli import main
from maporl.envs.verifiers import Remote, Verifier, VerifierUnavailable
from maporl.training.callbacks import Callback
from maporl.training.run_folder import RunFolder
from maporl.types import Question, Score

NOBODY = Remote("http://127.0.0.1:9", patience=0)  # no server listens there


class Fragile(Verifier):
    """Likes long answers; its `failing`-th call from now on finds nobody there (0: all do)."""

    rule_based = False
    uses_gold = False
    failing: ClassVar[int] = 0

    def __call__(self, question: Question, response: str) -> Score:
        return self.score_batch([question], [response])[0]

    def score_batch(self, questions: Sequence[Question], responses: Sequence[str]) -> list[Score]:
        if Fragile.failing:
            Fragile.failing -= 1
            if not Fragile.failing:
                NOBODY(questions[0], responses[0])
        return [Score(len(r) % 7 / 7, None) for r in responses]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    model = tmp_path_factory.mktemp("model")
    make_model(model, hidden_size=32, num_layers=1, num_heads=2, intermediate_size=32, context=512)
    return {
        "env": "two_witnesses",
        "env_args": {"verifier": "test_run_outage:Fragile"},
        "model": str(model),
        "algorithm": "ippo",
        "num_iterations": 3,
        "episodes_per_iteration": 2,
        "max_new_tokens": 4,
        "num_eval_questions": 2,
        "eval_every": 2,
        "preflight": "off",
        "trackers": (),
        "num_threads": 1,
    }


def measured(run: RunFolder) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if not k.startswith("time/")} for row in run.metrics]


@pytest.fixture(scope="module")
def undisturbed(settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    Fragile.failing = 0
    return measured(maporl.train(**settings, output_dir=str(tmp_path_factory.mktemp("runs") / "whole")))


# Two calls (rounds) a rollout: the first evaluation 1-2, iterations 3-4 and 5-6, an evaluation 7-8, iteration 9-10, the last two 11-14.
@pytest.mark.parametrize(("call", "done"), [(2, 0), (6, 1), (7, 2), (14, 3)])
def test_it_stops_and_goes_on(
    call: int, done: int, settings: dict[str, Any], undisturbed: list[dict[str, Any]], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    Fragile.failing = call
    with pytest.raises(VerifierUnavailable):
        maporl.train(**settings, output_dir=str(folder))
    status = json.loads((folder / "status.json").read_text())
    assert status["status"] == "interrupted" and "gave no usable reply" in status["error"]
    assert sum("evaluation" not in row for row in RunFolder(folder).metrics) == done
    Fragile.failing = 0
    spent = len(RunFolder(folder).metrics)
    run = maporl.train(resume=folder)
    assert run.status == "complete" and measured(run) == undisturbed
    assert spent < len(undisturbed)


def test_no_iteration_is_done_twice(settings: dict[str, Any], tmp_path: Path) -> None:
    Fragile.failing = 10
    with pytest.raises(VerifierUnavailable):
        maporl.train(**settings, checkpoint_every=1000, output_dir=str(tmp_path / "run"))
    Fragile.failing = 0
    heard = Heard()
    maporl.train(resume=tmp_path / "run", callbacks=[heard])
    assert heard.told == [("iteration", 3), ("iteration_0003", 3), ("test", 3)]


def test_one_line_on_the_command_line(settings: dict, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = [w for k, v in settings.items() if k not in ("trackers", "env_args") for w in (f"--{k}", str(v))]
    words = [
        *flags,
        "--trackers",
        "--env_args.verifier",
        "test_run_outage:Fragile",
        "--output_dir",
        str(tmp_path / "r"),
    ]
    Fragile.failing = 3
    assert main(["train", *words]) == 2
    told = capsys.readouterr().err
    assert (
        "error: the verifier at http://127.0.0.1:9 gave no usable reply" in told
        and f"maporl train --resume {tmp_path / 'r'}" in told
    )
    Fragile.failing = 0
    assert main(["train", "--resume", str(tmp_path / "r")]) == 0


def test_a_server_that_is_stopped_and_started_again(settings: dict[str, Any], tmp_path: Path) -> None:
    """uvicorn, killed as hard as a machine that goes down, between two iterations; the run resumes when it is back at its address."""
    pytest.importorskip("fastapi", reason="serving needs maporl[serve]")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    verifier = {"name": "remote", "url": f"http://127.0.0.1:{port}", "patience": 0}
    mine = settings | {"env_args": {"verifier": verifier}}

    class Outage(Callback):
        def on_iteration(self, iteration: int, metrics: Mapping[str, float]) -> None:
            if iteration == 1:
                server.kill()
                server.wait()

    server = serving(port)
    try:
        whole = maporl.train(**mine, output_dir=str(tmp_path / "whole"))
        with pytest.raises(VerifierUnavailable, match=f"the verifier at http://127.0.0.1:{port} gave no usable reply"):
            maporl.train(**mine, output_dir=str(tmp_path / "cut"), callbacks=[Outage()])
        assert RunFolder(tmp_path / "cut").status == "interrupted"
        with pytest.raises(VerifierUnavailable):  # too early: nothing changes
            maporl.train(resume=tmp_path / "cut")
        assert RunFolder(tmp_path / "cut").status == "interrupted"
        server = serving(port)
        assert measured(maporl.train(resume=tmp_path / "cut")) == measured(whole)
    finally:
        server.kill()
        server.wait()
    scores = [row["rollout/reward_mean"] for row in whole.metrics if "rollout/reward_mean" in row]
    assert any(scores), "the server's verdicts reached the run"


def serving(port: int) -> subprocess.Popen[bytes]:
    """A served verifier in a process of its own, once it answers."""
    code = (
        "import sys; from maporl.envs.verifiers import Regex; from maporl.learned_verifier.server import serve; "
        "serve(Regex('[0-9]', uses_gold=False), port=int(sys.argv[1]))"
    )
    server = subprocess.Popen([sys.executable, "-c", code, str(port)], stdout=subprocess.PIPE)
    assert server.stdout is not None and server.stdout.readline().startswith(b"serving")
    return server
