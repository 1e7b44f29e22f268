"""Both sides play the same discussions, so that their times may be compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.against_generate import generating_team, rows
from bench.settings import Settings
from bench.workload import Workload, make_talkative, tokens_of
from maporl.rollouts.play import rollout

QUICK = Settings(quick=True, repetitions=2)


def build(folder: Path, mean_length: float | None) -> tuple[Workload, object]:
    policy = make_talkative(QUICK.policy(folder), mean_length)
    policy.model.save_pretrained(folder / "same")
    workload = Workload.build(policy, QUICK, discussions=4, num_agents=2, num_rounds=2, new_tokens=6, group_size=2)
    return workload, generating_team(str(folder / "same"), policy, workload.env.possible_agents, 6, QUICK)


def test_both_say_the_same_when_nothing_is_random(tmp_path: Path) -> None:
    workload, theirs = build(tmp_path, None)
    questions = workload.env.questions("train")[:3]
    ours = rollout(workload.env, workload.team, questions, seed=0, greedy=True)
    generated = rollout(workload.env, theirs, questions, seed=0, greedy=True)  # type: ignore[arg-type]
    texts = [[t.text for t in e.transcript.turns] for e in ours]
    assert texts == [[t.text for t in e.transcript.turns] for e in generated]
    assert all(text.replace(" ", "").isalpha() for own in texts for text in own), texts
    for a, b in zip(ours, generated, strict=True):
        for mine, their in zip(a.completions, b.completions, strict=True):
            np.testing.assert_array_equal(mine.completion_ids, their.completion_ids)


def test_messages_last_as_long_as_they_are_told_to(tmp_path: Path) -> None:
    workload, theirs = build(tmp_path, None)
    for team in (workload.team, theirs):
        assert tokens_of(workload.sample(0, team)) == 4 * 2 * 2 * 6, "nobody ends a message"  # type: ignore[arg-type]


def test_messages_may_end_by_chance(tmp_path: Path) -> None:
    workload, theirs = build(tmp_path, 3.0)
    eos = workload.team.policies[0].tokenizer.eos_token_id
    for team in (workload.team, theirs):
        said = [c for r in range(6) for e in workload.sample(r, team) for c in e.completions]  # type: ignore[arg-type]
        lengths = [len(c.completion_ids) for c in said]
        # Mean of a geometric length of 3 cut at 6: 3 (1 - (2/3)^6) = 2.74; its standard error over 96 messages is about .2.
        assert np.mean(lengths) == pytest.approx(2.74, abs=0.7)
        assert all((c.completion_ids[-1] == eos) != c.truncated for c in said)
        assert not any(eos in c.completion_ids[:-1] for c in said)


def test_the_ratio_is_of_rates_taken_together() -> None:
    ours, generate, ratio = rows(QUICK)
    assert ratio.target == ">= 2.5" and ratio.unit == "x"
    assert ours.low / generate.high <= ratio.low <= ratio.value <= ratio.high <= ours.high / generate.low
