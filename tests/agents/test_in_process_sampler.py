"""Batched sampling: what a row says depends on its prompt and its random numbers alone, and its log-probs are right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_models import change_json, completion_logits, generate, random_ids, random_uniforms, shake, sharp_model

from maporl.agents.policy import Policy
from maporl.agents.sampler import Sampled
from maporl.agents.sampling import Sampling

FAMILIES = ["llama", "qwen2", "qwen3", "phi3", "gemma", "gemma2", "gpt2", "gpt_neox"]


def load(folder: Path, **settings: object) -> Policy:
    """With a moved adapter "one"."""
    policy = Policy.from_pretrained(str(folder), **settings)
    policy.add_adapter("one", seed=1)
    shake(policy, "one", 0.1)
    return policy


def same(left: list[Sampled], right: list[Sampled]) -> bool:
    """The same tokens, and log-probs up to what the order of float32 sums may change."""
    return all(
        np.array_equal(a.ids, b.ids) and np.allclose(a.logprobs, b.logprobs, atol=1e-4) and a.truncated == b.truncated
        for a, b in zip(left, right, strict=True)
    )


@torch.no_grad()
def recomputed(policy: Policy, adapter: str | None, prompts: list, sampled: list[Sampled], temperature: float) -> float:
    """The largest difference between sampled and recomputed log-probs."""
    logits = completion_logits(policy, adapter, [np.asarray(p) for p in prompts], [s.ids for s in sampled])
    logprobs = (logits / temperature).log_softmax(-1)
    return max(
        float((logprobs[n, range(len(s.ids)), s.ids] - torch.from_numpy(s.logprobs)).abs().max())
        for n, s in enumerate(sampled)
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_recomputed_log_probs_agree_with_the_sampled_ones(checkpoint: Callable[..., Path], family: str) -> None:
    policy = load(checkpoint(family))
    prompts = random_ids(3, 40, 17, 1, 64, 30)
    for adapter, temperature in ((None, 1.0), ("one", 0.7)):
        sampling = Sampling(max_new_tokens=24, temperature=temperature)
        sampled = generate(policy, adapter, prompts, sampling, random_uniforms(6, 24))
        assert recomputed(policy, adapter, prompts, sampled, temperature) < 1e-4
        # Not a vacuous test: the distribution is far from uniform, and adapter and base differ.
        assert np.concatenate([s.logprobs for s in sampled]).std() > 0.2
    base, one = (completion_logits(policy, a, prompts, prompts).detach() for a in (None, "one"))
    assert (base - one).abs().max() > 0.05


@pytest.mark.parametrize("family", ["gemma2", "mistral"])
def test_a_sliding_window_shorter_than_the_prompts(tmp_path: Path, family: str) -> None:
    # The cache of such layers forgets, and rows leave the batch while it does.
    sharp_model(tmp_path, architecture=family)
    change_json(tmp_path / "config.json", sliding_window=8)
    policy = load(tmp_path)
    prompts = random_ids(3, 40, 17, 5, 64, 30)
    sampled = generate(policy, "one", prompts, Sampling(max_new_tokens=24), random_uniforms(6, 24))
    assert recomputed(policy, "one", prompts, sampled, 1.0) < 1e-4


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2"])
def test_a_message_does_not_depend_on_its_batch(checkpoint: Callable[..., Path], family: str) -> None:
    policy = load(checkpoint(family))
    prompts, draws = random_ids(50, 3, 20, 7, 33), random_uniforms(5, 16)
    sampling = Sampling(max_new_tokens=16)
    together = generate(policy, "one", prompts, sampling, draws)
    alone = [generate(policy, "one", [p], sampling, draws[n : n + 1])[0] for n, p in enumerate(prompts)]
    assert same(together, alone)
    order = [3, 0, 4, 2, 1]
    shuffled = generate(policy, "one", [prompts[n] for n in order], sampling, draws[order])
    assert same([together[n] for n in order], shuffled)


@pytest.mark.parametrize("budget", [1, 60, 130, 1000])
def test_cutting_the_batch_changes_nothing(policy: Policy, budget: int) -> None:
    prompts, draws = random_ids(50, 3, 20, 7, 33, 20), random_uniforms(6, 10)
    whole = generate(policy, "one", prompts, Sampling(max_new_tokens=10), draws)
    policy.sampler.max_batch_tokens = budget
    assert same(generate(policy, "one", prompts, Sampling(max_new_tokens=10), draws), whole)


def test_no_batch_is_larger_than_its_budget(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    widths: list[tuple[int, int]] = []
    original = policy.backbone.run

    def run(ids: torch.Tensor, *rest: object) -> object:
        widths.append(tuple(ids.shape))
        return original(ids, *rest)

    policy.sampler.max_batch_tokens = 100
    monkeypatch.setattr(policy.backbone, "run", run)
    generate(policy, None, random_ids(10, 10, 10, 40, 40, 200), Sampling(max_new_tokens=10), random_uniforms(6, 10))
    prefills = [shape for shape in widths if shape[1] > 1]
    assert prefills == [(3, 10), (2, 40), (1, 200)]  # the last one alone exceeds it: nothing smaller is possible


def biased(policy: Policy, token: int) -> None:
    """Make `token` all but certain: the output layer is tied to the embedding, so move the last norm's input instead."""
    head = torch.nn.Linear(policy.hidden_size, len(policy.tokenizer), bias=True)
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    head.bias.data[token] = 30.0
    policy.model.lm_head = head.requires_grad_(False)


@pytest.mark.parametrize("eos", ["named", "other", "neither"])
def test_any_end_token_ends_a_message(tmp_path: Path, eos: str) -> None:
    sharp_model(tmp_path)
    change_json(tmp_path / "generation_config.json", eos_token_id=[7, 9])
    policy = Policy.from_pretrained(str(tmp_path))
    named = policy.tokenizer.eos_token_id
    assert policy.eos_ids == {7, 9, named}
    token = {"named": named, "other": 9, "neither": 8}[eos]
    biased(policy, token)
    [sampled] = generate(policy, None, random_ids(5), Sampling(max_new_tokens=4), random_uniforms(1, 4))
    assert sampled.ids.tolist() == ([8] * 4 if eos == "neither" else [token])
    assert sampled.truncated == (eos == "neither")
    assert len(sampled.logprobs) == len(sampled.ids)


def test_an_end_token_at_the_very_last_place_is_an_end(policy: Policy) -> None:
    biased(policy, policy.tokenizer.eos_token_id)
    [sampled] = generate(policy, None, random_ids(5), Sampling(max_new_tokens=1), random_uniforms(1, 1))
    assert len(sampled.ids) == 1 and not sampled.truncated


def test_no_end_token_at_all_means_every_message_is_cut(policy: Policy) -> None:
    policy.eos_ids = frozenset()
    sampled = generate(policy, None, random_ids(5, 9), Sampling(max_new_tokens=6), random_uniforms(2, 6))
    assert [len(s.ids) for s in sampled] == [6, 6] and all(s.truncated for s in sampled)


def test_rows_end_on_their_own_and_the_rest_go_on(policy: Policy) -> None:
    # With a tenth of the vocabulary as end tokens rows leave at different times: what remains must not notice.
    policy.eos_ids = frozenset(range(0, len(policy.tokenizer), 10))
    prompts, draws = random_ids(*range(5, 21)), random_uniforms(16, 30)
    sampling = Sampling(max_new_tokens=30)
    sampled = generate(policy, "one", prompts, sampling, draws)
    assert len({len(s.ids) for s in sampled}) > 4
    for s in sampled:
        assert not any(int(i) in policy.eos_ids for i in s.ids[:-1])
        assert (int(s.ids[-1]) in policy.eos_ids) != s.truncated
    assert same(sampled, [generate(policy, "one", [p], sampling, draws[n : n + 1])[0] for n, p in enumerate(prompts)])
    assert recomputed(policy, "one", prompts, sampled, 1.0) < 1e-4


def test_a_prompt_may_contain_pad_and_end_tokens(policy: Policy) -> None:
    eos, pad = policy.tokenizer.eos_token_id, policy.pad_id
    prompts = [np.array(p) for p in ([pad, pad, 20, 21, eos, 22], [20, eos, pad, pad], [pad], list(range(30)))]
    sampling, draws = Sampling(max_new_tokens=8), random_uniforms(4, 8)
    sampled = generate(policy, "one", prompts, sampling, draws)
    assert recomputed(policy, "one", prompts, sampled, 1.0) < 1e-4
    assert same(sampled, [generate(policy, "one", [p], sampling, draws[n : n + 1])[0] for n, p in enumerate(prompts)])
    # Leading pads are content, not padding: without them the distribution is another one.
    with torch.no_grad():
        with_pads, without = (
            completion_logits(policy, "one", [p], [sampled[0].ids]) for p in (prompts[0], prompts[0][2:])
        )
    assert (with_pads - without).abs().max() > 1e-2


def test_the_checkpoints_own_generation_config_does_not_change_the_distribution(tmp_path: Path) -> None:
    plain, special = sharp_model(tmp_path / "plain"), sharp_model(tmp_path / "special")
    change_json(
        special / "generation_config.json",
        do_sample=True,
        top_k=20,
        top_p=0.8,
        repetition_penalty=1.05,
        temperature=0.6,
        min_new_tokens=12,
        max_length=20,
    )
    prompts, draws, sampling = random_ids(9, 30), random_uniforms(2, 40), Sampling(max_new_tokens=40)
    left, right = (generate(load(folder), "one", prompts, sampling, draws) for folder in (plain, special))
    assert all(
        np.array_equal(a.ids, b.ids) and np.array_equal(a.logprobs, b.logprobs)
        for a, b in zip(left, right, strict=True)
    )
    # And the tokens really come from beyond the 20 likeliest.
    policy = load(plain)
    with torch.no_grad():
        logits = completion_logits(policy, "one", prompts, [s.ids for s in left])[0, : len(left[0].ids)]
    ranks = (logits > logits.gather(1, torch.as_tensor(left[0].ids)[:, None])).sum(1)
    assert ranks.max() >= 20


def test_filters_are_honoured_when_asked_for(policy: Policy) -> None:
    prompts, draws = random_ids(9, 30), random_uniforms(2, 12)
    greedy = generate(policy, "one", prompts, Sampling(max_new_tokens=12), None)
    only = generate(policy, "one", prompts, Sampling(max_new_tokens=12, top_k=1), draws)
    assert [s.ids.tolist() for s in only] == [s.ids.tolist() for s in greedy]
    assert all(np.allclose(s.logprobs, 0) for s in only)  # of the distribution that was really sampled


def test_greedy_follows_the_largest_logit(policy: Policy) -> None:
    prompts = random_ids(9, 30)
    greedy = generate(policy, "one", prompts, Sampling(max_new_tokens=12, temperature=0.3), None)
    with torch.no_grad():
        logits = completion_logits(policy, "one", prompts, [s.ids for s in greedy])
    for n, s in enumerate(greedy):
        assert logits[n, : len(s.ids)].argmax(-1).tolist() == s.ids.tolist()


def test_nothing_to_say_is_no_call_of_the_model(policy: Policy) -> None:
    sampler = policy.sampler
    policy.backbone.model = None  # whoever called it would notice
    assert sampler.sample([]) == []


def test_sampling_moves_no_global_random_state(policy: Policy) -> None:
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    generate(policy, "one", random_ids(9), Sampling(max_new_tokens=4), random_uniforms(1, 4))
    policy.add_adapter("two", seed=4)
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])
