"""A sampler of one's own: what it is asked, when it is given weights, and what it costs."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from run_toys import SMALL
from safetensors.torch import load_file
from toy_models import generate, random_ids, random_uniforms, shake
from toy_samplers import Careless, Recording

from maporl.agents import Policy, Request, Sampling
from maporl.cli import main
from maporl.rollouts.records import read_records
from maporl.training.run import RunFolder, train

LETTERS = "run_toys:Letters"


@pytest.fixture(autouse=True)
def log() -> Iterator[list[Any]]:
    """What `Recording` samplers are given in this test."""
    Recording.log.clear()
    yield Recording.log
    Recording.log.clear()


def figures(folder: RunFolder) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if not k.startswith("time/")} for row in folder.metrics]


class TestInARun:
    def test_weights_are_published_when_they_have_changed_and_a_wave_is_one_call(
        self, tiny_model: str, tmp_path: Path, log: list[Any]
    ) -> None:
        settings = {"env": LETTERS, "model": tiny_model, "algorithm": "mappo", **SMALL, "eval_every": 1}
        settings["algorithm_args"] = {
            "old_logprobs": "sampled"
        }  # which is not what a sampler of one's own is given else
        with warnings.catch_warnings():
            warnings.filterwarnings("error", ".*reproducible.*")
            run = train(**settings, sampler="toy_samplers:Recording", output_dir=tmp_path / "own")
        kinds = ["".join(entry[0][-1] if isinstance(entry, tuple) else "." for entry in log)]
        # Two rounds of: evaluation and iteration 1, updated; evaluation and iteration 2, updated; evaluation and test.
        assert kinds == ["01....01....01...."]
        for agent in ("agent_0", "agent_1"):
            published = [entry for entry in log if entry[0] == agent]
            versions = [version for _, version, _ in published]
            assert versions == sorted(set(versions)), "every version once, and each later than the last"
            saved = load_file(run.path / "adapters" / agent / "adapter_model.safetensors")
            last = published[-1][2]
            assert last.keys() == saved.keys() and all(torch.equal(last[name], saved[name]) for name in saved)
        calls = [entry for entry in log if isinstance(entry, list)]
        assert all({r.adapter for r in call} == {"agent_0", "agent_1"} for call in calls)
        assert [len(call) for call in calls] == [8, 8, 16, 16, 8, 8, 16, 16, 8, 8, 8, 8]
        assert [{r.uniforms is None for r in call} for call in calls[:3]] == [{True}, {True}, {False}]
        reference = train(**settings, sampler="reference", output_dir=tmp_path / "reference")
        assert figures(run) == figures(reference)

    def test_it_serves_evaluate_and_ask_too(self, tiny_model: str, tmp_path: Path, log: list[Any]) -> None:
        words = [f"--{k}={v}" for k, v in SMALL.items() if k != "trackers"] + ["--trackers", "--num_iterations=0"]
        folder = str(tmp_path / "run")
        own = ["--env", LETTERS, "--model", tiny_model, "--sampler", "toy_samplers:Recording", "--output_dir", folder]
        for command in (["train", *own, *words], ["evaluate", folder], ["ask", folder, "Why?"]):
            log.clear()
            assert main(command) == 0
            assert sum(isinstance(entry, list) for entry in log) >= 2

    def test_one_that_is_not_reproducible_is_said_to_be(self, tiny_model: str, tmp_path: Path) -> None:
        with pytest.warns(UserWarning, match="sampler 'toy_samplers:Careless' is not reproducible: this run") as said:
            train(
                env=LETTERS,
                model=tiny_model,
                sampler=Careless,
                output_dir=tmp_path / "run",
                **SMALL | {"num_iterations": 0},
            )
        assert len([w for w in said if "reproducible" in str(w.message)]) == 1

    def test_discarded_tokens_count(self, tiny_model: str, tmp_path: Path) -> None:
        run = train(
            env=LETTERS,
            model=tiny_model,
            sampler="toy_samplers:Wasteful",
            output_dir=tmp_path / "run",
            **SMALL | {"num_iterations": 1},
        )
        records = read_records(run.path / "evaluations" / "test.jsonl")
        turns = [turn for r in records for turn in r["turns"]]
        assert {turn["discarded_tokens"] for turn in turns} == {3} and len(turns) == 4 * 2 * 2
        spoken = sum(turn["completion_tokens"] for turn in turns)
        assert run.metrics[-1]["test/completion_tokens"] == pytest.approx((spoken + 3 * len(turns)) / len(records))
        (learned,) = (row for row in run.metrics if "time/tokens_per_s" in row)
        sampled = learned["time/tokens_per_s"] * (learned["time/rollout_s"] + learned["time/update_s"])
        assert sampled == pytest.approx(8 * 2 * 2 * (learned["rollout/completion_tokens"] + 3))


class TestPublishing:
    def test_each_adapter_when_it_is_first_asked_for_and_after_every_change(
        self, checkpoint: Callable[..., Path], log: list[Any]
    ) -> None:
        policy = Policy.from_pretrained(str(checkpoint()), sampler=Recording)
        for seed, name in enumerate(("one", "two")):
            policy.add_adapter(name, seed=seed)
        sampling = Sampling(max_new_tokens=3)

        def told(*adapters: str | None) -> list[str]:
            """What is published for one call."""
            log.clear()
            policy.sample([Request(a, p, sampling, None) for a, p in zip(adapters, random_ids(4, 5, 6), strict=False)])
            assert isinstance(log[-1], list) and [r.adapter for r in log[-1]] == list(adapters)
            return [entry[0] for entry in log[:-1]]

        assert told(None) == []
        assert told("one", None, "one") == ["one"]
        assert told("one", "two") == ["two"]
        shake(policy, "one")
        assert told("two") == [] and told("two", "one") == ["one"] and told("two", "one") == []
        sampler = policy.sampler
        policy.add_adapter("three")
        assert told("one", "three") == ["three"] and policy.sampler is sampler  # a server stays, whatever is added

    def test_one_call_serves_what_several_would(self, checkpoint: Callable[..., Path]) -> None:
        policies = [Policy.from_pretrained(str(checkpoint()), sampler=word) for word in ("in_process", "reference")]
        prompts = random_ids(9, 4, 9, 12, 5)
        settings = [Sampling(6), Sampling(8, temperature=0.6), Sampling(6), Sampling(6, top_k=4), Sampling(6)]
        adapters, greedy = ["one", None, "two", "one", "one"], [False, False, True, False, True]
        draws = [None if g else random_uniforms(1, s.max_new_tokens)[0] for g, s in zip(greedy, settings, strict=True)]
        requests = [Request(*parts) for parts in zip(adapters, prompts, settings, draws, strict=True)]
        found = []
        for policy in policies:
            for seed, name in enumerate(("one", "two")):
                policy.add_adapter(name, seed=seed)
                shake(policy, name, 0.1, seed=seed)
            together = policy.sample(requests)
            alone = [
                generate(policy, r.adapter, [r.prompt], r.sampling, None if r.uniforms is None else r.uniforms[None])[0]
                for r in requests
            ]
            for a, b in zip(together, alone, strict=True):
                assert a.ids.tolist() == b.ids.tolist() and np.allclose(a.logprobs, b.logprobs, atol=1e-4)
            found.append(together)
        assert [s.ids.tolist() for s in found[0]] == [s.ids.tolist() for s in found[1]]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "in_proces",
            r"unknown sampler 'in_proces'\. Did you mean 'in_process'\? Built in: in_process, reference; your own:",
        ),
        ("vllm", r"unknown sampler 'vllm'\. Built in: in_process, reference; your own: 'package\.module:Class'\."),
        ("toy_samplers:Nothing", "sampler 'toy_samplers:Nothing': module 'toy_samplers' has no 'Nothing'"),
        ("run_toys:Letters", r"sampler 'run_toys:Letters' is no sampler; name a subclass of maporl\.agents\.Sampler"),
        (
            "toy_models:generate",
            r"sampler 'toy_models:generate' is no sampler; name a subclass of maporl\.agents\.Sampler",
        ),
    ],
)
def test_what_is_no_sampler_is_refused(checkpoint: Callable[..., Path], spec: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Policy.from_pretrained(str(checkpoint()), sampler=spec)
