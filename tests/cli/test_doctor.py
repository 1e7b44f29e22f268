"""``maporl doctor``: what it finds here, and that what is wrong fails it with a remedy."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from maporl.cli import doctor, main, self_test


def test_everything_that_is_needed_works_here(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MAPORL_DATA", raising=False)
    code = main(["doctor", "--json"])
    told = json.loads(capsys.readouterr().out)
    found = {finding["name"]: finding for finding in told["findings"]}
    assert {
        "maporl",
        "python",
        "torch",
        "processor",
        "threads",
        "bfloat16",
        "memory",
        "disk",
        "sandbox",
        *doctor.EXTRAS,
    } <= set(found)
    assert found["sampling"]["status"] == found["training"]["status"] == "ok"
    assert ": 0 messages differ" in found["sampling"]["text"]
    assert (code, told["ok"]) == (0, True)


def test_what_is_wrong_fails_it_and_names_the_remedy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MAPORL_DATA", "/nowhere")
    monkeypatch.setattr(doctor, "EXTRAS", {"serve": ("fastapi_that_is_not_there",)})
    monkeypatch.setattr(doctor, "_self_test", lambda: iter(()))
    assert main(["doctor"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "MAPORL_DATA   FAILED: '/nowhere' is no folder -> unset it, or name the folder of the data" in lines
    assert "serve         - not installed -> pip install 'maporl[serve]'" in lines
    assert lines[-2].startswith("1 of ") and lines[-1].startswith("A bug report needs:")


def test_a_sampler_that_is_wrong_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    rollout = self_test.rollout

    def slightly_off(*args: Any, **more: Any) -> Any:
        episodes = rollout(*args, **more)
        first = episodes[0].completions[0]
        wrong = replace(first, logprobs=first.logprobs + 0.01)
        turns = (replace(episodes[0].transcript.turns[0], completion=wrong), *episodes[0].transcript.turns[1:])
        return [replace(episodes[0], transcript=replace(episodes[0].transcript, turns=turns))]

    monkeypatch.setattr(self_test, "rollout", slightly_off)
    fine, text = self_test.sampling()
    assert not fine and "log-probs by at most 1.0e-02 (allowed 1e-03)" in text


def test_every_extra_is_looked_at() -> None:
    file = Path(__file__).parents[2] / "pyproject.toml"
    extras = tomllib.loads(file.read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert set(doctor.EXTRAS) == set(extras) - {"dev", "bench", "docs"}
