"""Two samplers, one distribution: from the same numbers they draw the same tokens, whatever the prompts have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_models import change_json, generate, random_ids, random_uniforms, shake, sharp_model

from maporl.agents.models.make_model import ARCHITECTURES
from maporl.agents.models.policy import Policy
from maporl.agents.sampling.in_process import InProcessSampler
from maporl.agents.sampling.reference import ReferenceSampler
from maporl.agents.sampling.sampler import Sampled
from maporl.agents.sampling.settings import Sampling


class Both:
    """The two samplers on equal models; every call compares them."""

    def __init__(self, folder: Path, eos: Sequence[int] = range(0, 300, 30)) -> None:
        self.fast, self.plain = (Policy.from_pretrained(str(folder), sampler=e) for e in ("in_process", "reference"))
        for policy in (self.fast, self.plain):
            policy.eos_ids = frozenset(eos)
            for seed, name in enumerate(("one", "two")):
                policy.add_adapter(name, seed=seed)
                shake(policy, name, 0.1, seed=seed)
        assert isinstance(self.fast.sampler, InProcessSampler) and isinstance(self.plain.sampler, ReferenceSampler)

    def generate(
        self, adapter: str | None, prompts: list, sampling: Sampling, seed: int = 0, *, greedy: bool = False
    ) -> list[Sampled]:
        draws = None if greedy else random_uniforms(len(prompts), sampling.max_new_tokens, seed)
        left, right = (generate(p, adapter, prompts, sampling, draws) for p in (self.fast, self.plain))
        assert len(left) == len(prompts)
        for a, b in zip(left, right, strict=True):
            assert a.ids.tolist() == b.ids.tolist() and a.truncated == b.truncated
            assert np.allclose(a.logprobs, b.logprobs, atol=2e-4)
        return left


def longer(prompts: list, sampled: list[Sampled], rng: np.random.Generator) -> list[np.ndarray]:
    """What a later round makes of prompts and answers."""
    return [np.concatenate([p, s.ids, rng.integers(0, 290, 4)]) for p, s in zip(prompts, sampled, strict=True)]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_rounds_of_every_family(checkpoint: Callable[..., Path], architecture: str) -> None:
    both, rng = Both(checkpoint(architecture)), np.random.default_rng(0)
    first = random_ids(30, 3, 12)
    prompts = [first[0], first[1], first[0], first[2], first[0]]  # equal ones among them
    sampling = Sampling(max_new_tokens=16, temperature=0.8)
    lengths = set()
    for round in range(3):
        sampled = both.generate("one", prompts, sampling, seed=round)
        lengths |= {len(s.ids) for s in sampled}
        both.generate("two", prompts[1:3], sampling)  # others speak in between
        both.generate(None, prompts[:2], sampling)
        prompts = longer(prompts, sampled, rng)
    assert len(lengths) > 3


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_prompts_that_share_anything_with_earlier_ones(checkpoint: Callable[..., Path], architecture: str) -> None:
    both, rng = Both(checkpoint(architecture)), np.random.default_rng(1)
    sampling = Sampling(max_new_tokens=12)
    prompts = random_ids(40, 25, 33)
    sampled = both.generate("one", prompts, sampling)
    whole = [np.concatenate([p, s.ids]) for p, s in zip(prompts, sampled, strict=True)]

    def other(ids: np.ndarray, place: int) -> np.ndarray:
        changed = ids.copy()
        changed[place] = (changed[place] + 1) % 290
        return changed

    later = [
        whole[0],  # exactly what was read and said
        whole[0][:-1],
        prompts[1],  # the same again
        prompts[1][:10],  # shorter
        other(prompts[2], 20),  # diverging in the middle of the prompt
        other(whole[2], len(prompts[2]) + 1),  # or of the answer
        other(prompts[0], 0),  # nothing in common
        np.concatenate([prompts[0], rng.integers(0, 290, 30)]),  # much longer
        prompts[2][:1],  # a single token
    ]
    for seed, order in enumerate((range(9), range(8, -1, -1), [4, 7, 1], [0], [3, 3, 8, 5])):
        both.generate("one", [later[n] for n in order], sampling, seed)


@pytest.mark.parametrize("budget", [1, 90, 200])
def test_several_batches_and_rounds(checkpoint: Callable[..., Path], budget: int) -> None:
    both, rng = Both(checkpoint()), np.random.default_rng(2)
    both.fast.sampler.max_batch_tokens = budget
    both.fast.sampler.prefill_tokens = budget // 2
    prompts, sampling = random_ids(30, 3, 12, 30, 21, 7), Sampling(max_new_tokens=10)
    for round in range(3):
        prompts = longer(prompts, both.generate("one", prompts, sampling, round), rng)


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 0.5},
        {"temperature": 1.7},
        {"top_k": 5},
        {"top_p": 0.6},
        {"top_k": 20, "top_p": 0.8, "temperature": 0.7},
    ],
)
def test_filters_and_temperatures(checkpoint: Callable[..., Path], settings: dict) -> None:
    both = Both(checkpoint())
    both.generate("one", random_ids(9, 30, 9), Sampling(max_new_tokens=12, **settings))


def test_greedy_one_token_and_nothing_at_all(checkpoint: Callable[..., Path]) -> None:
    both = Both(checkpoint())
    both.generate("one", random_ids(9, 30, 9), Sampling(max_new_tokens=12), greedy=True)
    for s in both.generate("one", random_ids(9, 30, 9), Sampling(max_new_tokens=1)):
        assert len(s.ids) == len(s.logprobs) == 1
    assert both.generate("one", [], Sampling(), greedy=True) == []


def test_a_row_that_ends_in_the_middle_of_a_large_batch(checkpoint: Callable[..., Path]) -> None:
    # Enough rows, and ends often enough, that rows are moved about several times and answers are gone on from.
    both, rng = Both(checkpoint(), eos=range(0, 300, 8)), np.random.default_rng(3)
    prompts = random_ids(*rng.integers(1, 30, 24))
    for round in range(2):
        sampled = both.generate("one", prompts, Sampling(max_new_tokens=20), seed=round)
        assert len({len(s.ids) for s in sampled}) > 6
        prompts = [longer(prompts, sampled, rng)[n] for n in rng.permutation(24)]


@pytest.mark.parametrize("sampler", ["in_process", "reference"])
def test_the_checkpoints_generation_config_is_ignored_and_left_as_it_was(tmp_path: Path, sampler: str) -> None:
    plain, special = sharp_model(tmp_path / "plain"), sharp_model(tmp_path / "special")
    own = dict(do_sample=True, top_k=20, top_p=0.8, repetition_penalty=1.05, temperature=0.6, min_new_tokens=12)
    change_json(special / "generation_config.json", **own, max_length=20, bad_words_ids=[[5]], num_beams=2)
    prompts, draws, sampling = random_ids(9, 30), random_uniforms(2, 40), Sampling(max_new_tokens=40)
    policies = [Policy.from_pretrained(str(folder), sampler=sampler) for folder in (plain, special)]
    left, right = (generate(policy, None, prompts, sampling, draws) for policy in policies)
    for a, b in zip(left, right, strict=True):
        assert a.ids.tolist() == b.ids.tolist() and np.array_equal(a.logprobs, b.logprobs)
    assert policies[1].model.generation_config.repetition_penalty == 1.05


@pytest.mark.parametrize("sampler", ["in_process", "reference"])
@pytest.mark.parametrize("extent", ["one number", "everything", "overflow"])
@pytest.mark.parametrize("greedy", [True, False])
def test_weights_that_have_diverged(checkpoint: Callable[..., Path], sampler: str, extent: str, greedy: bool) -> None:
    policy = Policy.from_pretrained(str(checkpoint()), sampler=sampler)
    policy.add_adapter("one")
    prompts, draws = random_ids(5, 9), None if greedy else random_uniforms(2, 4)
    generate(policy, "one", prompts, Sampling(max_new_tokens=4), draws)
    with torch.no_grad():
        if extent == "one number":
            policy.parameters("one")[-1].view(-1)[0] = float("nan")
        else:
            for parameter in policy.parameters("one"):
                parameter.fill_(float("nan") if extent == "everything" else 1e30)
    with pytest.raises(FloatingPointError) as error:
        generate(policy, "one", prompts, Sampling(max_new_tokens=4), draws)
    message = str(error.value)
    assert message.startswith(
        "2 of 2 messages of 'one' were sampled from logits that are no numbers: its weights have div"
    )
    assert "lower learning_rate" in message and "\n" not in message
    assert len(generate(policy, None, prompts, Sampling(max_new_tokens=4), draws)) == 2  # the base is as it was


@pytest.mark.parametrize("sampler", ["in_process", "reference"])
def test_a_prompt_without_tokens_is_named(checkpoint: Callable[..., Path], sampler: str) -> None:
    policy = Policy.from_pretrained(str(checkpoint()), sampler=sampler)
    with pytest.raises(ValueError, match="prompt 1 has no token: there is nothing to go on from"):
        generate(policy, None, [*random_ids(4), np.array([], np.int64)], Sampling(max_new_tokens=2), None)


STOPS = (("e",), (" ",), ("\n", "an"), ("\u00e9", "the"), ("ab", "is", "qu"))


@pytest.mark.parametrize("stop", STOPS)
def test_messages_end_at_the_first_token_whose_text_holds_a_stop_string(
    checkpoint: Callable[..., Path], stop: tuple
) -> None:
    both, rng = Both(checkpoint(), eos=range(0, 300, 60)), np.random.default_rng(4)
    prompts, draws = random_ids(*rng.integers(1, 30, 40)), random_uniforms(40, 24, 7)
    without = both.generate("one", prompts, Sampling(max_new_tokens=24), 7)
    stopped = both.generate("one", prompts, Sampling(max_new_tokens=24, stop=stop), 7)
    text = both.fast.tokenizer
    counts = dict.fromkeys(("eos", "stopped", "truncated"), 0)
    for whole, s in zip(without, stopped, strict=True):
        # The same tokens with the same log-probs as without it, up to the first that completes one.
        texts = [text.decode(whole.ids[:n], skip_special_tokens=True) for n in range(1, len(whole.ids) + 1)]
        n = next((n for n, said in enumerate(texts, 1) if any(x in said for x in stop)), len(texts))
        assert s.ids.tolist() == whole.ids[:n].tolist() and np.allclose(s.logprobs, whole.logprobs[:n], atol=1e-5)
        assert s.stopped == any(x in texts[n - 1] for x in stop)
        assert s.truncated == (not s.stopped and whole.truncated)
        counts["stopped" if s.stopped else "truncated" if s.truncated else "eos"] += 1
    assert min(counts["eos"] + counts["truncated"], counts["stopped"]) > 0
    again = generate(both.fast, "one", prompts[:3], Sampling(max_new_tokens=24, stop=stop), draws[:3])
    assert [a.ids.tolist() for a in again] == [s.ids.tolist() for s in stopped[:3]]  # whatever else is in the batch
