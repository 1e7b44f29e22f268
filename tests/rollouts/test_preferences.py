"""Decisions come back from their lines as they were, and TRL reads what was made of them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import load_dataset
from discussion_toys import Digits

from maporl.agents.llm_agent import LLMAgent
from maporl.agents.prompts import PromptTemplate
from maporl.agents.team import Team
from maporl.algorithms.hf_training import QUIET
from maporl.rollouts.decisions import Decision, decisions, pairs
from maporl.rollouts.play import rollout
from maporl.rollouts.preferences import imitated, preference_rows, read_decisions, sft_rows, write_decisions
from maporl.rollouts.records import write_records
from maporl.types import Completion, Observation


@pytest.fixture
def talker(make_team: Callable) -> LLMAgent:
    return make_team(1, 1, tokens=5).language_models[0]


@pytest.fixture
def found(talker: LLMAgent) -> list[Decision]:
    """Of two trees of three roles."""
    env = Digits(protocol="pipeline", num_rounds=1)
    team = Team({(a, 0): talker for a in env.possible_agents})
    leaves = rollout(env, team, env.questions("train")[:2], seed=0, branching=(2, 2, 3))
    return decisions(leaves, lambda e: (0.0, 1.0, 0.5)[sum(e.branch) % 3])


def same(a: Completion, b: Completion) -> bool:
    for f in fields(Completion):
        left, right = getattr(a, f.name), getattr(b, f.name)
        if isinstance(left, np.ndarray):
            if left.dtype != right.dtype or not np.array_equal(left, right):
                return False
        elif left != right:
            return False
    return True


def changed(d: Decision, **changes: Any) -> Decision:
    """With another last candidate."""
    *rest, last = d.candidates
    return replace(d, candidates=(*rest, replace(last, completion=replace(last.completion, **changes))))


class TestLines:
    def test_what_is_read_is_what_was_written(self, found: list[Decision], tmp_path: Path) -> None:
        forced = np.array([False] * 4 + [True])
        found[3] = changed(
            found[3],
            text="Ünïcode \u2028 and\nlines",
            completion_ids=np.arange(5),
            logprobs=np.array([-1e-7, -0.1, -np.float32(1) / 3, 0, -20], np.float32),
            forced=forced,
            reasoning="hm",
            truncated=True,
            discarded=3,
        )
        found[4] = found[4].valued([None, math.nan, 1 / 3])
        write_decisions(tmp_path / "new" / "some.jsonl", iter(found))
        again = read_decisions(tmp_path / "new" / "some.jsonl")
        assert len(again) == len(found) == 2 * (1 + 2 + 4)
        for before, after in zip(found, again, strict=True):
            bare = [replace(d, candidates=()) for d in (before, after)]
            assert bare[0] == bare[1] and isinstance(after.observation["transcript"], tuple)
            for a, b in zip(before.candidates, after.candidates, strict=True):
                assert a.id == b.id and same(a.completion, b.completion)
                assert a.value == b.value or math.isnan(a.value or 0) and math.isnan(b.value or 0)
                assert b.completion.prompt_ids is after.candidates[0].completion.prompt_ids
        lines = (tmp_path / "new" / "some.jsonl").read_text("utf-8").split("\n")
        assert len(lines) == len(found) + 1 and lines[0].count("prompt_ids") == 1

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda row: [row], r"line 3: a decision of version 1 was expected, this is list; write it anew"),
            (lambda row: row | {"version": 2}, "line 3: a decision of version 1 was expected, this is 2"),
            (lambda row: {"version": 1}, r"line 3: no decision \(KeyError: 'prompt_ids'\)"),
            (lambda row: row | {"prompt_ids": ["x"]}, r"line 3: no decision \(ValueError: invalid literal"),
            (lambda row: row | {"candidates": None}, r"line 3: no decision \(TypeError"),
            (lambda row: row | {"observation": []}, r"line 3: no decision \(TypeError"),
            (lambda row: of_first(row, logprobs=[0.0]), r"candidate '0\.0\.0': 5 token ids do not go with its text"),
            (lambda row: of_first(row, forced=[True]), r"candidate '0\.0\.0': 5 token ids do not go with its text"),
            (lambda row: of_first(row, text=None), r"candidate '0\.0\.0': 5 token ids do not go with its text"),
            (lambda row: of_first(row, value="good"), "could not convert string to float: 'good'"),
        ],
    )
    def test_a_line_that_is_no_decision(
        self, found: list[Decision], tmp_path: Path, change: Callable[[dict], object], message: str
    ) -> None:
        file = tmp_path / "some.jsonl"
        write_decisions(file, [found[0], found[0], *found[1:3]])
        lines = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
        first = lines[2]["candidates"][0]
        first["completion_ids"], first["logprobs"] = [1, 2, 3, 4, 5], [-1.0] * 5
        write_records(file, lines)
        assert len(read_decisions(file)) == 4
        lines[2] = change(lines[2])
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
        with pytest.raises(ValueError, match=message):
            read_decisions(file)

    def test_files_that_are_none(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="nothing.jsonl': no such file; give one that write_decisions wrote"):
            read_decisions(tmp_path / "nothing.jsonl")
        (tmp_path / "half.jsonl").write_text('{"version": 1, "id"')
        with pytest.raises(ValueError, match=r"half.jsonl, line 1: not JSON"):
            read_decisions(tmp_path / "half.jsonl")


def of_first(row: dict, **changes: object) -> dict:
    """A line whose first candidate is another."""
    return row | {"candidates": [row["candidates"][0] | changes, *row["candidates"][1:]]}


class TestRows:
    def test_all_that_is_good_or_what_is_better_than_a_sibling(self, found: list[Decision]) -> None:
        """A decision whose candidates are all good has nothing to prefer."""
        good = found[5].valued([1.0, 0.75, 0.6])
        mixed = found[6].valued([0.9, 0.5, 1.0])
        assert [c.value for d in (good, mixed) for c in imitated(d)] == [1.0, 0.75, 0.6, 0.9, 1.0]
        assert [c.value for d in (good, mixed) for c in imitated(d, paired=True)] == [0.9, 1.0]
        assert [c.value for c in imitated(good, paired=True, rule="best_worst")] == [1.0]
        rows = sft_rows([good, mixed], PromptTemplate(), paired=True)
        assert [row["completion"][0]["content"] for row in rows] == [
            mixed.candidates[n].completion.text for n in (0, 2)
        ]

    def test_no_text_makes_lists_of_messages_something_else(self, found: list[Decision], tmp_path: Path) -> None:
        odd = changed(found[5].valued([0.0, 0.0, 1.0]), text="half \ud83d of a pair, \u2028, \x00")
        asked = Observation(**odd.observation | {"question": "half \udc00"})
        write_records(tmp_path / "sft.jsonl", sft_rows([replace(odd, observation=asked)], PromptTemplate()))
        [row] = load_dataset("json", data_files=str(tmp_path / "sft.jsonl"), cache_dir=str(tmp_path))["train"]
        assert row["completion"] == [{"role": "assistant", "content": "half ? of a pair, \u2028, \x00"}]
        assert [m["role"] for m in row["prompt"]] == ["system", "user"] and "half ?" in row["prompt"][1]["content"]

    @pytest.mark.filterwarnings("ignore:.*gradient_checkpointing:FutureWarning")  # TRL's own default
    def test_trl_trains_on_the_files_as_they_are(
        self, found: list[Decision], talker: LLMAgent, checkpoint: Callable[..., Path], tmp_path: Path
    ) -> None:
        """It reads the very prompts that the messages were sampled from, and learns nothing of them."""
        from transformers import AutoModelForCausalLM
        from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

        prompts, tokenizer = talker.prompts, talker.policy.tokenizer
        write_records(tmp_path / "sft.jsonl", sft_rows(found, prompts))
        write_records(tmp_path / "dpo.jsonl", preference_rows(found, prompts))
        settings: dict[str, Any] = dict(QUIET, max_steps=1, per_device_train_batch_size=4, max_length=None)
        good = [(d, c) for d in found for c in imitated(d)]
        both = [(d, a, b) for d in found for a, b in pairs(d)]
        assert len(good) > 5 and len(both) > 5
        for trainer_class, config, name in ((SFTTrainer, SFTConfig, "sft"), (DPOTrainer, DPOConfig, "dpo")):
            data = load_dataset("json", data_files=str(tmp_path / f"{name}.jsonl"), cache_dir=str(tmp_path))["train"]
            trainer = trainer_class(
                AutoModelForCausalLM.from_pretrained(checkpoint("llama")),
                args=config(str(tmp_path), use_cpu=True, **settings),
                train_dataset=data,
                processing_class=tokenizer,
            )
            trainer.train()
            assert math.isfinite(trainer.state.log_history[-1]["train_loss"])
            rows = list(trainer.train_dataset)
            if name == "sft":
                for (_, c), row in zip(good, rows, strict=True):
                    start = row["labels"].index(next(label for label in row["labels"] if label >= 0))
                    assert row["labels"][start:] == row["input_ids"][start:]
                    assert row["input_ids"][:start] == c.completion.prompt_ids.tolist()
                    assert tokenizer.decode(row["input_ids"][start:], skip_special_tokens=True) == c.completion.text
            else:
                for (_, a, b), row in zip(both, rows, strict=True):
                    assert row["prompt_ids"] == a.completion.prompt_ids.tolist()
                    for side, c in (("chosen", a), ("rejected", b)):
                        assert tokenizer.decode(row[f"{side}_ids"], skip_special_tokens=True) == c.completion.text
