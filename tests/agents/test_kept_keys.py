"""What the fast sampler keeps between calls, when it does not, and what it does when memory runs out."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_models import completion_logits, generate, random_ids, random_uniforms, shake

from maporl.agents.policy import Policy
from maporl.agents.sampler import Sampled
from maporl.agents.sampling import Sampling

TEN = Sampling(max_new_tokens=10)


class Meter:
    """Counts the tokens and remembers the shapes that the model is given."""

    def __init__(self, policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
        self.shapes: list[tuple[int, int]] = []
        original = policy.backbone.run

        def run(ids: torch.Tensor, *rest: object) -> object:
            self.shapes.append(tuple(ids.shape))
            return original(ids, *rest)

        monkeypatch.setattr(policy.backbone, "run", run)

    def prefill(self) -> int:
        """Tokens of passes over more than a column since the last question."""
        found = sum(rows * columns for rows, columns in self.shapes if columns > 1)
        self.shapes.clear()
        return found


@pytest.fixture
def meter(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> Meter:
    assert policy.sampler  # which measures exactness
    policy.eos_ids = frozenset()  # every message is ten tokens long
    return Meter(policy, monkeypatch)


def longer(prompts: list, sampled: list[Sampled], extra: int) -> list[np.ndarray]:
    """Every prompt goes on from its answer by `extra` tokens."""
    added = random_ids(*[extra] * len(prompts), seed=9)
    return [np.concatenate([p, s.ids, a]) for p, s, a in zip(prompts, sampled, added, strict=True)]


def test_equal_prompts_are_read_once(policy: Policy, meter: Meter) -> None:
    [prompt] = random_ids(30)
    generate(policy, "one", [prompt] * 5, TEN, random_uniforms(5, 10))
    assert meter.shapes == [(1, 30)] + [(5, 1)] * 9


def test_a_later_round_reads_only_what_is_new(policy: Policy, meter: Meter) -> None:
    prompts = random_ids(30, 20, 25)
    first = generate(policy, "one", prompts, TEN, random_uniforms(3, 10))
    meter.shapes.clear()
    second = longer(prompts, first, 5)
    generate(policy, "one", second, TEN, random_uniforms(3, 10))
    assert meter.prefill() == 3 * 6  # five new tokens, and the last one sampled, which nobody has read yet
    # Others in between, another order, and only some of them.
    generate(policy, None, prompts, TEN, random_uniforms(3, 10))
    assert meter.prefill() == 3 * 30  # nothing of another speaker's, and no rows of different length in separate passes
    generate(policy, "one", [second[2], second[0]], TEN, random_uniforms(2, 10))
    assert meter.prefill() == 0  # read before: the last token is a column like any sampled one


def test_the_first_different_token_and_all_after_it_are_read(policy: Policy, meter: Meter) -> None:
    [prompt] = random_ids(40)
    generate(policy, "one", [prompt], TEN, random_uniforms(1, 10))
    meter.shapes.clear()
    other = prompt.copy()
    other[25] = (other[25] + 1) % 290
    generate(policy, "one", [other], TEN, random_uniforms(1, 10))
    assert meter.prefill() == 15
    generate(policy, "one", [prompt[:12]], TEN, random_uniforms(1, 10))
    assert meter.prefill() == 0


def step(policy: Policy) -> None:
    """One of AdamW's."""
    parameters = policy.parameters("one")
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    torch.optim.AdamW(parameters, lr=0.05).step()


def load(policy: Policy) -> None:
    """As a run that is resumed."""
    with torch.no_grad():
        for parameter in policy.parameters("one"):
            parameter.copy_(torch.randn_like(parameter) * 0.2)


def assign(policy: Policy) -> None:
    """A state dict loaded from elsewhere."""
    state = {n: torch.randn_like(p) * 0.2 for n, p in policy.model.named_parameters() if ".one." in n}
    policy.model.load_state_dict(state, strict=False)


@pytest.mark.parametrize("change", [step, load, assign])
def test_other_weights_use_nothing_of_the_old(policy: Policy, meter: Meter, change: Callable[[Policy], None]) -> None:
    policy.add_adapter("two", seed=2)
    prompts = random_ids(30, 20)
    first = generate(policy, "one", prompts, TEN, random_uniforms(2, 10))
    generate(policy, "two", prompts, TEN, random_uniforms(2, 10))
    change(policy)
    later = longer(prompts, first, 5)
    meter.shapes.clear()
    sampled = generate(policy, "one", later, TEN, random_uniforms(2, 10))
    assert meter.prefill() == 2 * 45
    assert [kept.speaker[0] for kept in policy.sampler._kept] == ["two", "one"]  # the old one's memory is free
    with torch.no_grad():
        logits = completion_logits(policy, "one", later, [s.ids for s in sampled]).log_softmax(-1)
    for n, said in enumerate(sampled):
        assert np.allclose(logits[n, range(10), said.ids], said.logprobs, atol=1e-4)
    generate(policy, "two", prompts, TEN, random_uniforms(2, 10))
    assert meter.prefill() == 0  # nothing has happened to this one


def test_what_is_forgotten_is_read_again(policy: Policy, meter: Meter) -> None:
    prompts = random_ids(30, 20)
    before = generate(policy, "one", prompts, TEN, random_uniforms(2, 10))
    policy.sampler.forget()
    meter.shapes.clear()
    after = generate(policy, "one", prompts, TEN, random_uniforms(2, 10))
    assert meter.prefill() == 60
    assert [a.ids.tolist() for a in before] == [b.ids.tolist() for b in after]


def read_in_three_rounds(policy: Policy, meter: Meter, *, agents: tuple[str, ...] = ("one", "two")) -> list[int]:
    """Tokens read in each round of 12 discussions, whose messages are cut into batches of three."""
    prompts = {name: random_ids(*[30] * 12, seed=n) for n, name in enumerate(agents)}
    policy.sampler.max_batch_tokens = 3 * 80
    meter.shapes.clear()
    found = []
    for _ in range(3):
        for name in agents:
            sampled = generate(policy, name, prompts[name], TEN, random_uniforms(12, 10))
            prompts[name] = longer(prompts[name], sampled, 5)
        found.append(meter.prefill())
    return found


def test_rounds_in_many_batches_read_only_what_is_new(policy: Policy, meter: Meter) -> None:
    policy.add_adapter("two", seed=2)
    # A round adds an answer of ten tokens, whose last one was never read, and five more.
    assert read_in_three_rounds(policy, meter) == [2 * 12 * 30, 2 * 12 * 6, 2 * 12 * 6]


def test_what_was_gone_on_from_is_dropped(policy: Policy, meter: Meter) -> None:
    policy.add_adapter("two", seed=2)
    read_in_three_rounds(policy, meter)
    kept = policy.sampler._kept
    assert {k.speaker[0] for k in kept} == {"one", "two"} and sum(len(k.rows) for k in kept) == 2 * 12
    assert all(len(sequence) == 30 + 15 + 15 + 9 for k in kept for sequence in k.sequences)


def test_without_room_what_came_first_is_kept_and_the_rest_read_anew(policy: Policy, meter: Meter) -> None:
    policy.add_adapter("two", seed=2)
    generate(policy, "one", random_ids(*[30] * 12), TEN, random_uniforms(12, 10))
    size = sum(k.cache.bytes for k in policy.sampler._kept)
    policy.sampler.forget()
    policy.sampler.max_kept_bytes = size + size // 2  # all of one agent's first round, and half of the other's
    first, second, third = read_in_three_rounds(policy, meter)
    assert first == 2 * 12 * 30 and 2 * 12 * 6 < second < 2 * 12 * 45 and third < 2 * 12 * 60
    assert sum(k.cache.bytes for k in policy.sampler._kept) <= policy.sampler.max_kept_bytes
    policy.sampler.forget()
    policy.sampler.max_kept_bytes = 0
    assert read_in_three_rounds(policy, meter) == [2 * 12 * 30, 2 * 12 * 45, 2 * 12 * 60]


def test_an_error_in_the_middle_leaves_the_model_as_it_was(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts, draws = random_ids(30, 20), random_uniforms(2, 10)
    expected = generate(policy, "one", prompts, TEN, draws)
    weights = {n: p.clone() for n, p in policy.model.named_parameters()}
    policy.sampler.forget()
    with monkeypatch.context() as patch:
        patch.setattr(policy.backbone, "run", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            generate(policy, "one", prompts, TEN, draws)
    assert all(torch.equal(p, weights[n]) for n, p in policy.model.named_parameters())
    again = generate(policy, "one", prompts, TEN, draws)
    assert [a.ids.tolist() for a in expected] == [b.ids.tolist() for b in again]


# -- out of memory -----------------------------------------------------------------------------------------------------

ERRORS = {
    "cuda": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    "host": RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory: you tried"),
    "python": MemoryError(),
}


def scarce(policy: Policy, monkeypatch: pytest.MonkeyPatch, most: int, error: BaseException, first: int = 0) -> None:
    """Calls of the model with more than `most` rows fail, from call number `first` on."""
    calls, original = [0], policy.backbone.run

    def run(ids: torch.Tensor, *rest: object) -> object:
        calls[0] += 1
        if len(ids) > most and calls[0] > first:
            raise error
        return original(ids, *rest)

    monkeypatch.setattr(policy.backbone, "run", run)


@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("first", [0, 6])
def test_half_as_many_at_once_and_nothing_is_lost(
    policy: Policy, monkeypatch: pytest.MonkeyPatch, kind: str, first: int
) -> None:
    policy.eos_ids = frozenset()
    prompts, draws = random_ids(*[20] * 8), random_uniforms(8, 10)
    expected = generate(policy, "one", prompts, TEN, draws)
    policy.sampler.forget()
    scarce(policy, monkeypatch, 4, ERRORS[kind], first)
    with pytest.warns(UserWarning, match="out of memory while sampling") as said:
        found = generate(policy, "one", prompts, TEN, draws)
    assert [str(w.message) for w in said] == [
        "out of memory while sampling 240 tokens at once: from now on at most 120 (max_batch_tokens). No message is lost."
    ]
    assert policy.sampler.max_batch_tokens == 120
    for a, b in zip(expected, found, strict=True):
        assert a.ids.tolist() == b.ids.tolist() and np.allclose(a.logprobs, b.logprobs, atol=1e-4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        generate(policy, "one", random_ids(*[20] * 8, seed=4), TEN, draws)  # it has learned its lesson


def test_it_halves_as_often_as_it_must(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts, draws = random_ids(50, 3, 20, 7, 33, 20, 12), random_uniforms(7, 10)
    expected = generate(policy, "one", prompts, TEN, draws)
    policy.sampler.forget()
    scarce(policy, monkeypatch, 1, ERRORS["cuda"])
    with pytest.warns(UserWarning, match="out of memory while sampling"):
        found = generate(policy, "one", prompts, TEN, draws)
    assert [a.ids.tolist() for a in expected] == [b.ids.tolist() for b in found]


def test_what_is_kept_goes_first(policy: Policy, monkeypatch: pytest.MonkeyPatch, recwarn: object) -> None:
    # Memory that suffices once nothing is kept is no reason for smaller batches.
    prompts, draws = random_ids(*[20] * 4), random_uniforms(4, 10)
    expected = generate(policy, "one", prompts, TEN, draws)
    original = policy.backbone.run

    def run(*arguments: object) -> object:
        if policy.sampler._kept:
            raise ERRORS["cuda"]
        return original(*arguments)

    monkeypatch.setattr(policy.backbone, "run", run)
    before = policy.sampler.max_batch_tokens
    found = generate(policy, "one", prompts, TEN, draws)
    assert [a.ids.tolist() for a in expected] == [b.ids.tolist() for b in found]
    assert policy.sampler.max_batch_tokens == before
    assert not [w for w in recwarn if "out of memory" in str(w.message)]  # type: ignore[attr-defined]


def test_a_message_that_does_not_fit_alone(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    assert policy.sampler
    scarce(policy, monkeypatch, 0, ERRORS["cuda"])
    with pytest.raises(MemoryError) as error:
        generate(policy, "one", random_ids(20), TEN, random_uniforms(1, 10))
    assert str(error.value) == (
        "one message of up to 30 tokens does not fit into memory; lower max_new_tokens, or use a smaller model or dtype."
    )


def test_other_errors_are_not_taken_for_a_lack_of_memory(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    assert policy.sampler
    scarce(policy, monkeypatch, 0, RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        generate(policy, "one", random_ids(20, 30), TEN, random_uniforms(2, 10))


def test_a_16_bit_policy_samples_with_its_cache_what_it_samples_without(checkpoint: Callable[..., Path]) -> None:
    policy = Policy.from_pretrained(str(checkpoint()), dtype="bfloat16")
    policy.add_adapter("one", seed=1)
    shake(policy, "one", 0.1)
    prompts = random_ids(30, 20)
    first = generate(policy, "one", prompts, TEN, random_uniforms(2, 10))
    later = longer(prompts, first, 5)
    found = generate(policy, "one", later, TEN, random_uniforms(2, 10))
    with torch.no_grad():
        logits = completion_logits(policy, "one", later, [s.ids for s in found]).log_softmax(-1)
    for n, said in enumerate(found):
        assert np.abs(logits[n, range(len(said.ids)), said.ids].numpy() - said.logprobs).max() < 0.05
