"""Trees and caches of our own give every model's own numbers, or are not used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from model_families import EXACT, GROUPED, ODD, SIZES, TOKENIZER, random_model
from torch import Tensor
from toy_models import (
    change_json,
    completion_logits,
    generate,
    logprobs_of,
    random_ids,
    random_uniforms,
    shake,
    sharp_model,
    values_of,
)

from maporl.agents.models.backbone import Backbone, left_pad
from maporl.agents.models.critic import Critic
from maporl.agents.models.make_model import ARCHITECTURES
from maporl.agents.models.policy import Policy
from maporl.agents.sampling.in_process import InProcessSampler
from maporl.agents.sampling.key_values import KeyValues
from maporl.agents.sampling.reference import ReferenceSampler
from maporl.agents.sampling.settings import Sampling


def family(kind: str, **settings: object) -> Policy:
    """A model of any type that `transformers` knows, untied and with sharp weights, and an adapter "one" that was trained."""
    policy = Policy(random_model(kind, **settings), TOKENIZER)
    policy.add_adapter("one", seed=1)
    shake(policy, "one", 0.1)
    return policy


def discussion(
    rng: np.random.Generator, groups: int = 2, samples: int = 3
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Groups of answers to a prompt, and a second round that goes on from each."""
    prompts, completions = [], []
    for _ in range(groups):
        first = rng.integers(0, 290, int(rng.integers(20, 40)))
        for _ in range(samples):
            said, again = (rng.integers(0, 290, int(rng.integers(1, 9))) for _ in range(2))
            prompts += [first, np.concatenate([first, said, rng.integers(0, 290, 5)])]
            completions += [said, again]
    return prompts, completions


def plain(policy: Policy, adapter: str | None, prompt: np.ndarray, said: np.ndarray) -> Tensor:
    """Log-probs of one message: no padding, mask, positions or cache."""
    logits = policy.model(input_ids=torch.as_tensor(np.concatenate([prompt, said]))[None], use_cache=False).logits
    return logits[0, len(prompt) - 1 : -1].float().log_softmax(-1)[range(len(said)), said]


def gradient(policy: Policy, adapter: str, loss: Tensor) -> Tensor:
    parts = torch.autograd.grad(loss, policy.parameters(adapter), allow_unused=True)  # not every expert is asked
    return torch.cat([torch.zeros(1) if g is None else g.flatten() for g in parts])


def assert_training_is_exact(policy: Policy, *, shared: bool = True, budget: int = 4096) -> None:
    """Log-probs and the gradient of a weighted sum of them, against one message at a time."""
    prompts, completions = discussion(np.random.default_rng(0))
    packs = policy.pack(np.arange(len(prompts)), prompts, completions, 4096)
    tokens = sum(len(p) + len(c) - 1 for p, c in zip(prompts, completions, strict=True))
    assert (
        not (shared and policy.backbone.exact) or sum(p.ids.size for p in packs) < 0.6 * tokens
    )  # what is tested is really there
    weights = torch.randn(len(prompts), max(map(len, completions)), generator=torch.Generator().manual_seed(0))
    found = logprobs_of(policy, "one", prompts, completions, token_budget=budget)
    mine = gradient(policy, "one", (weights * found).sum())
    total = torch.zeros(())
    with policy.using("one"):
        for n, (prompt, said) in enumerate(zip(prompts, completions, strict=True)):
            expected = plain(policy, "one", prompt, said)
            assert torch.allclose(found[n, : len(said)], expected, atol=2e-4), n
            total = total + (weights[n, : len(said)] * expected).sum()
        theirs = gradient(policy, "one", total)
    assert theirs.abs().max() > 1e-3
    assert (mine - theirs).norm() < 1e-4 * theirs.norm()


def assert_sampling_is_exact(policy: Policy) -> None:
    """Two rounds, of which the second goes on from the first, against one message at a time."""
    prompts = random_ids(3, 40, 17, 40)
    prompts[3][:30] = prompts[1][:30]
    sampling = Sampling(max_new_tokens=10)
    for round in range(2):
        sampled = generate(policy, "one", prompts, sampling, random_uniforms(4, 10, round))
        with torch.no_grad(), policy.using("one"):
            for prompt, said in zip(prompts, sampled, strict=True):
                expected = plain(policy, "one", prompt, said.ids)
                assert torch.allclose(torch.from_numpy(said.logprobs), expected, atol=2e-4)
        prompts = [np.concatenate([p, s.ids[:5], [3, 4]]) for p, s in zip(prompts, sampled, strict=True)]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_family_that_make_model_makes(checkpoint: Callable[..., Path], architecture: str) -> None:
    policy = Policy.from_pretrained(str(checkpoint(architecture)))
    policy.add_adapter("one", seed=1)
    shake(policy, "one", 0.1)
    assert_training_is_exact(policy)
    assert policy.backbone.exact and isinstance(policy.sampler, InProcessSampler)


@pytest.mark.parametrize("architecture", ["llama", "gemma2", "gpt2"])
@pytest.mark.parametrize("budget", [1, 70, 200])
def test_the_budget_changes_no_gradient(checkpoint: Callable[..., Path], architecture: str, budget: int) -> None:
    policy = Policy.from_pretrained(str(checkpoint(architecture)))
    policy.add_adapter("one", seed=1)
    shake(policy, "one", 0.1)
    assert_training_is_exact(policy, budget=budget)


@pytest.mark.parametrize("architecture", ["llama", "gpt_neox", "gemma2", "qwen3"])
def test_checkpointing_in_trees_changes_no_gradient(checkpoint: Callable[..., Path], architecture: str) -> None:
    policy = Policy.from_pretrained(str(checkpoint(architecture)), gradient_checkpointing=True)
    policy.add_adapter("one", seed=1)
    shake(policy, "one", 0.1)
    prompts, completions = discussion(np.random.default_rng(0))
    mine = gradient(policy, "one", logprobs_of(policy, "one", prompts, completions).sum())
    policy.model.gradient_checkpointing_disable()
    theirs = gradient(policy, "one", logprobs_of(policy, "one", prompts, completions).sum())
    assert theirs.abs().max() > 1e-3 and (mine - theirs).norm() < 1e-5 * theirs.norm()


@pytest.mark.parametrize("architecture", ["mistral", "gemma2"])
def test_a_window_shorter_than_the_messages(tmp_path: Path, architecture: str) -> None:
    sharp_model(tmp_path, architecture=architecture)
    change_json(tmp_path / "config.json", sliding_window=8)
    policy = Policy.from_pretrained(str(tmp_path))
    policy.add_adapter("one", seed=1)
    shake(policy, "one", 0.1)
    assert policy.backbone.window == 8
    assert_training_is_exact(policy)
    assert_sampling_is_exact(policy)
    policy.model.config.sliding_window = 512
    with pytest.raises(AssertionError):  # the window matters at these lengths
        assert_training_is_exact(policy)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("name", EXACT)
def test_other_families_are_as_exact(name: str) -> None:
    kind, settings = EXACT[name]
    policy = family(kind, **settings)
    assert_training_is_exact(policy)
    assert_sampling_is_exact(policy)
    assert isinstance(policy.sampler, InProcessSampler)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:fan_in_fan_out")
@pytest.mark.parametrize("kind", ODD)
def test_masks_of_their_own_take_the_plain_way_and_say_so_once(kind: str, recwarn: pytest.WarningsRecorder) -> None:
    policy = family(kind, **ODD[kind])
    assert not policy.backbone.exact
    assert_training_is_exact(policy)
    assert_sampling_is_exact(policy)
    assert isinstance(policy.sampler, ReferenceSampler)
    said = [str(w.message) for w in recwarn if "does something of its own" in str(w.message)]
    assert len(said) == 1 and said[0].startswith(type(policy.model).__name__) and "\n" not in said[0]


def test_the_window_of_long_rope_ends_where_its_frequencies_change() -> None:
    scaling = dict(rope_type="longrope", short_factor=[1.0] * 4, long_factor=[4.0] * 4)
    for start, expected in ((16, 16), (128, 128), (512, 512)):
        rope = dict(scaling, original_max_position_embeddings=start, rope_theta=10_000.0)
        policy = family("phi3", **SIZES, **GROUPED, original_max_position_embeddings=start, rope_parameters=rope)
        assert policy.context_window == expected
    assert family("phi3", **SIZES, **GROUPED).context_window == 512


# -- what is not exact, on purpose -------------------------------------------------------------------------------------


def test_the_plain_way_gives_the_same_numbers_and_gradients(policy: Policy, recwarn: pytest.WarningsRecorder) -> None:
    prompts, completions = discussion(np.random.default_rng(1))
    trees = logprobs_of(policy, "one", prompts, completions, temperature=0.7)
    slope = gradient(policy, "one", trees.sum())
    sampled = generate(policy, "one", prompts, Sampling(max_new_tokens=5), random_uniforms(12, 5))
    policy.backbone = Backbone(policy.model)
    del policy.sampler
    policy.backbone.output = None
    plainly = logprobs_of(policy, "one", prompts, completions, temperature=0.7)
    assert torch.allclose(trees, plainly, atol=1e-4)
    assert (slope - gradient(policy, "one", plainly.sum())).norm() < 1e-4 * slope.norm()
    for _ in range(2):
        again = generate(policy, "one", prompts, Sampling(max_new_tokens=5), random_uniforms(12, 5))
        assert all(np.array_equal(a.ids, b.ids) for a, b in zip(sampled, again, strict=True))
    assert isinstance(policy.sampler, ReferenceSampler)
    assert len([w for w in recwarn if "does something of its own" in str(w.message)]) == 1


@pytest.mark.parametrize("exact", [True, False])
def test_entropies_are_of_the_same_distribution(policy: Policy, exact: bool) -> None:
    assert policy.backbone.exact
    if not exact:
        policy.backbone.output = None
    [prompt], [said] = random_ids(20), random_ids(6, seed=1)
    [packed] = policy.pack(np.arange(1), [prompt], [said], 100)
    _, found = policy.logprobs("one", packed, 0.7, entropy=True)
    logprobs = (completion_logits(policy, "one", [prompt], [said])[0] / 0.7).log_softmax(-1)
    expected = -(logprobs.exp() * logprobs).sum(-1)
    assert torch.allclose(found, expected, atol=1e-4)
    mine, theirs = (gradient(policy, "one", e.sum()) for e in (found, expected))
    assert theirs.abs().max() > 1e-3 and (mine - theirs).norm() < 1e-4 * theirs.norm()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_values_are_those_of_one_message_at_a_time(checkpoint: Callable[..., Path], architecture: str) -> None:
    policy = Policy.from_pretrained(str(checkpoint(architecture)))
    critic = Critic(policy, "critic")
    shake(policy, "critic", 0.1)
    torch.nn.init.normal_(critic.head.weight, generator=torch.Generator().manual_seed(0))
    prompts, completions = discussion(np.random.default_rng(0))
    found = values_of(critic, prompts, completions)
    mine = gradient(policy, "critic", found.sum())
    total = torch.zeros(())
    with policy.using("critic"):
        for n, (prompt, said) in enumerate(zip(prompts, completions, strict=True)):
            ids = torch.as_tensor(np.concatenate([prompt, said]))[None]
            states = policy.model.base_model(input_ids=ids, use_cache=False).last_hidden_state
            expected = critic.head(states[0, len(prompt) - 1 : -1]).squeeze(-1)
            assert torch.allclose(found[n, : len(said)], expected, atol=1e-3), n
            total = total + expected.sum()
        theirs = gradient(policy, "critic", total)
    assert found.std() > 0.1 and theirs.abs().max() > 1e-3
    assert (mine - theirs).norm() < 1e-4 * theirs.norm()


@pytest.mark.parametrize("first", ["training", "sampling"])
def test_16_bit_is_no_reason_for_the_plain_way(checkpoint: Callable[..., Path], first: str) -> None:
    policy = Policy.from_pretrained(str(checkpoint()), dtype="bfloat16")
    policy.add_adapter("one")
    if first == "training":
        logprobs_of(policy, "one", random_ids(5), random_ids(5))
    generate(policy, "one", random_ids(5), Sampling(max_new_tokens=2), None)
    assert policy.backbone.exact and isinstance(policy.sampler, InProcessSampler)


def test_measuring_leaves_the_model_as_it_was(policy: Policy) -> None:
    for training in (True, False):
        policy.model.train(training)
        assert Backbone(policy.model).exact
        assert all(m.training == training for m in policy.model.modules())


def test_a_model_that_raises_is_not_exact(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = Backbone(policy.model)
    monkeypatch.setattr(backbone, "run", lambda *_: 1 / 0)
    assert backbone.exact is False and not policy.model.training


# -- masks -------------------------------------------------------------------------------------------------------------


def masks(window: int | None, kinds: list[str] | None = None) -> object:
    """Of three tokens at positions 0 1 2 that see all before them, and a fourth that sees itself alone."""
    config = SimpleNamespace(sliding_window=window, layer_types=kinds)
    config.get_text_config = lambda: config
    backbone = Backbone(SimpleNamespace(config=config, dtype=torch.float32, get_output_embeddings=lambda: None))
    visible = torch.block_diag(torch.ones(3, 3).tril(), torch.ones(1, 1)).bool()[None]
    return backbone.masks(visible, torch.tensor([[0, 1, 2, 0]]))


def seen(mask: Tensor) -> list[list[int]]:
    assert mask.shape == (1, 1, 4, 4) and set(mask.unique().tolist()) == {0.0, torch.finfo(torch.float32).min}
    return [(row == 0).nonzero().flatten().tolist() for row in mask[0, 0]]


def test_masks_by_hand() -> None:
    full, near = [[0], [0, 1], [0, 1, 2], [3]], [[0], [0, 1], [1, 2], [3]]
    assert seen(masks(None)) == full
    assert seen(masks(2)) == near  # the config knows no kinds of layers: the window is everywhere
    assert seen(masks(2, ["sliding_attention"])) == near
    assert seen(masks(2, ["full_attention"])) == full  # Qwen writes a window down that no layer has
    both = masks(2, ["sliding_attention", "full_attention"])
    assert {kind: seen(mask) for kind, mask in both.items()} == {"full_attention": full, "sliding_attention": near}


def test_left_padding_by_lengths_not_by_ids() -> None:
    ids, mask = left_pad([np.array([7, 5]), [7], np.array([1, 2, 3])], 7, torch.device("cpu"))
    assert ids.tolist() == [[7, 7, 5], [7, 7, 7], [1, 2, 3]]
    assert mask.tolist() == [[0, 1, 1], [0, 0, 1], [1, 1, 1]]


def test_the_backbone_reads_through_a_cache_what_it_reads_at_once(policy: Policy) -> None:
    backbone = policy.backbone
    ids = torch.as_tensor(np.stack(random_ids(9, 9)))
    positions = torch.arange(9).expand(2, 9)
    causal = torch.ones(2, 9, 9).tril().bool()
    with torch.no_grad():
        masks = backbone.masks(causal, positions)
        whole = backbone.run(ids, positions, masks, None)
        cache = KeyValues(2, 2, 9)
        parts = []
        for start, stop in ((0, 4), (4, 5), (5, 9)):
            part = masks[:, :, start:stop, :stop]
            parts.append(backbone.run(ids[:, start:stop], positions[:, start:stop], part, cache))
            cache.column = stop
    assert torch.allclose(torch.cat(parts, 1), whole, atol=1e-5)
