"""A training that a judge rewards: what it reports, and what becomes of it when the judge goes away."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from toy_server import toy_server

import maporl
from maporl.envs.verifiers import VerifierUnavailable
from maporl.training.run_folder import RunFolder


def test_it_is_rewarded_and_survives_an_outage(tiny_model: str, tmp_path: Path) -> None:
    def judging(sent: dict[str, Any]) -> Any:
        if len(server.requests) > 30 and not again:
            return 503, {}
        user = sent["messages"][1]["content"]
        said = re.search(r"<answer-(\w+)>\n(.*?)\n</answer", user, re.DOTALL)
        assert said
        verdict = "maybe" if len(said[2]) % 3 == 0 else "right" if len(said[2]) % 3 == 1 else "wrong"
        reply = json.dumps({"mark": said[1], "verdict": verdict})
        usage = {"prompt_tokens": 50, "completion_tokens": 5}
        return {"choices": [{"message": {"content": reply}}], "usage": usage}

    again = False
    with toy_server() as server:
        server.replies = [judging]
        model = {"url": server.url, "model": "toy", "patience": 0, "connections": 1, "tries": 1}
        settings: dict[str, Any] = {
            "env": "two_witnesses",
            "env_args": {"verifier": {"name": "judge", "model": model}},
            "model": tiny_model,
            "algorithm": "magrpo",
            "algorithm_args": {"group_size": 2},
            "num_iterations": 3,
            "episodes_per_iteration": 4,
            "max_new_tokens": 6,
            "num_eval_questions": 2,
            "eval_every": 100,
            "preflight": "off",
            "trackers": (),
        }
        with pytest.raises(VerifierUnavailable, match="the judge at"):
            maporl.train(**settings, output_dir=str(tmp_path / "run"))
        folder = RunFolder(tmp_path / "run")
        assert folder.status == "interrupted"
        again = True
        run = maporl.train(resume=tmp_path / "run")
        assert run.status == "complete"
        rows = [row for row in run.metrics if "verifier/judge_asked" in row]
        assert len(rows) == 3
        for row in rows:
            assert row["verifier/judge_prompt_tokens"] == 50 * row["verifier/judge_asked"]
            assert 0 <= row["verifier/judge_nonsense"] <= row["verifier/judge_asked"]
        assert sum(row["verifier/judge_nonsense"] for row in rows) > 0, "'maybe' is no verdict"
        whole = maporl.train(**settings, output_dir=str(tmp_path / "whole"))
        timeless = [{k: v for k, v in r.items() if "time/" not in k and "judge_" not in k} for r in run.metrics]
        assert timeless == [
            {k: v for k, v in r.items() if "time/" not in k and "judge_" not in k} for r in whole.metrics
        ]


def test_a_judge_that_cannot_judge_says_why(tmp_path: Path) -> None:
    verifier = {"name": "judge", "model": "embedded"}  # whose window is shorter than a ballot
    with pytest.raises(
        ValueError, match=r"8 error.*What failed first: the judge: \d+ tokens do not fit the judge's window of 512"
    ):
        maporl.train(
            env="two_witnesses",
            env_args={"verifier": verifier},
            model="embedded",
            algorithm="magrpo",
            algorithm_args={"group_size": 2},
            num_iterations=1,
            episodes_per_iteration=2,
            max_new_tokens=6,
            output_dir=str(tmp_path / "run"),
        )


def test_a_judge_that_cannot_be_loaded_is_not_served() -> None:
    pytest.importorskip("fastapi")
    from maporl.judges import Judge
    from maporl.learned_verifier.server import serve

    with pytest.raises(ValueError, match="nowhere"):
        serve(Judge("/nowhere/at/all"), port=0)
