"""Log-probs and entropies in chunks: the same numbers and the same gradients as plain autograd, in much less memory."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from maporl.agents.models import output_layer
from maporl.agents.models.output_layer import OutputLayer

LAYERS = {
    "plain": {},
    "bias": {"bias": True},
    "scale": {"scale": 0.25},
    "softcap": {"softcap": 3.0},
    "all": {"bias": True, "scale": 0.5, "softcap": 2.0},
}


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OutputLayer, "rows_at_once", lambda self: 3)


def layer_of(kind: str, vocab: int = 31, hidden: int = 8) -> OutputLayer:
    generator = torch.Generator().manual_seed(0)
    settings = dict(LAYERS[kind])
    if settings.pop("bias", False):
        settings["bias"] = torch.randn(vocab, generator=generator)
    weight = torch.randn(vocab, hidden, generator=generator)
    return OutputLayer(weight, weight, **settings)


def plain(layer: OutputLayer, hidden: Tensor, targets: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Written down once more, in float64 and with all logits at once."""
    logits = hidden @ layer.weight.double().T
    if layer.bias is not None:
        logits = logits + layer.bias.double()
    logits = logits * layer.scale
    if layer.softcap is not None:
        logits = layer.softcap * torch.tanh(logits / layer.softcap)
    logprobs = (logits / temperature).log_softmax(-1)
    return logprobs[range(len(targets)), targets], -(logprobs.exp() * logprobs).sum(-1)


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.usefixtures("small_chunks")
def test_numbers_and_gradients_are_those_of_log_softmax(kind: str, temperature: float) -> None:
    layer, generator = layer_of(kind), torch.Generator().manual_seed(1)
    hidden = torch.randn(10, 8, generator=generator)
    targets = torch.randint(31, (10,), generator=generator)
    weights = torch.randn(2, 10, generator=generator)
    mine, theirs = hidden.clone().requires_grad_(), hidden.double().requires_grad_()
    logprobs, entropies = layer.logprobs(mine, targets, temperature, entropy=True)
    expected = plain(layer, theirs, targets, temperature)
    assert logprobs.dtype == torch.float32 and entropies is not None
    assert torch.allclose(logprobs.double(), expected[0], atol=1e-5)
    assert torch.allclose(entropies.double(), expected[1], atol=1e-5)
    assert entropies.std() > 0.05
    for left, right in ((logprobs, expected[0]), (entropies, expected[1])):  # each on its own
        [a] = torch.autograd.grad((weights[0] * left).sum(), mine, retain_graph=True)
        [b] = torch.autograd.grad((weights[0].double() * right).sum(), theirs, retain_graph=True)
        assert b.abs().max() > 0.1 and torch.allclose(a.double(), b, atol=1e-5 * float(b.abs().max()))
    [a] = torch.autograd.grad((weights[0] * logprobs + weights[1] * entropies).sum(), mine)
    [b] = torch.autograd.grad((weights[0].double() * expected[0] + weights[1].double() * expected[1]).sum(), theirs)
    assert torch.allclose(a.double(), b, atol=1e-5 * float(b.abs().max()))


@pytest.mark.usefixtures("small_chunks")
def test_without_entropy_or_gradient_the_numbers_are_the_same() -> None:
    layer, hidden, targets = layer_of("all"), torch.randn(10, 8), torch.arange(10)
    both, spread = layer.logprobs(hidden, targets, 0.7, entropy=True)
    only, none = layer.logprobs(hidden, targets, 0.7)
    assert none is None and spread is not None and torch.equal(both, only) and not only.requires_grad
    hidden.requires_grad_()
    with torch.no_grad():
        assert not layer.logprobs(hidden, targets, 0.7)[0].requires_grad
    logprobs, none = layer.logprobs(hidden, targets, 0.7)
    assert none is None and torch.equal(logprobs, only)
    logprobs.sum().backward()
    with_entropy = hidden.detach().clone().requires_grad_()
    layer.logprobs(with_entropy, targets, 0.7, entropy=True)[0].sum().backward()
    assert torch.equal(hidden.grad, with_entropy.grad)


def test_nothing_to_judge_is_nothing() -> None:
    logprobs, entropies = layer_of("plain").logprobs(
        torch.zeros(0, 8), torch.zeros(0, dtype=torch.int64), 1.0, entropy=True
    )
    assert logprobs.shape == (0,) and entropies is not None and entropies.shape == (0,)


def test_all_but_certain_tokens_have_finite_numbers() -> None:
    layer = OutputLayer(torch.eye(4) * 200, torch.eye(4) * 200)
    hidden = torch.eye(4)[:2].requires_grad_()
    logprobs, entropies = layer.logprobs(hidden, torch.tensor([0, 3]), 1.0, entropy=True)
    assert entropies is not None
    assert logprobs.tolist() == [0.0, -200.0] and entropies.tolist() == [0.0, 0.0]
    (logprobs + entropies).sum().backward()
    assert torch.isfinite(hidden.grad).all()


def test_a_large_vocabulary_is_never_kept() -> None:
    # 152,000 x 600 logits would be 365 MB; what the backward pass needs is a vector a position.
    vocab, rows, width = 152_000, 600, 4
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(vocab, width, generator=generator)
    layer = OutputLayer(weight, weight)
    hidden = torch.randn(rows, width, generator=generator).requires_grad_()
    targets = torch.randint(vocab, (rows,), generator=generator)
    assert layer.rows_at_once() * vocab <= 64 * vocab < rows * vocab
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        logprobs, entropies = layer.logprobs(hidden, targets, 1.0, entropy=True)
    assert kept and sum(t.numel() for t in kept) == 2 * rows * width
    some = slice(0, 600, 100)
    expected = plain(layer, hidden[some].double(), targets[some], 1.0)
    assert entropies is not None
    assert torch.allclose(logprobs[some].double(), expected[0], atol=1e-4)
    assert torch.allclose(entropies[some].double(), expected[1], atol=1e-4)


def test_chunks_are_as_large_as_the_device_likes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(output_layer._CHUNK, "cpu", 100_000)
    assert OutputLayer(torch.zeros(1000, 2), torch.zeros(1000, 2)).rows_at_once() == 100
    assert (
        OutputLayer(torch.zeros(50_000, 2), torch.zeros(50_000, 2)).rows_at_once() == 64
    )  # no fewer, or the products are too narrow


# -- 16 bits -----------------------------------------------------------------------------------------------------------


def test_sums_over_16_bit_weights_are_float32() -> None:
    # 1 + 4096 * 2^-9 = 9: in bfloat16 sums 1 + 2^-9 is 1 again, and results between 256 and 512 lie 2 apart.
    weight = torch.full((3, 4097), 2.0**-9)
    weight[:, 0] = 1.0
    weight[1] *= 40.125
    head = nn.Linear(4097, 3, bias=False)
    head.weight.data = weight.bfloat16()
    layer = OutputLayer.of(made(head))
    assert layer is not None
    logits = layer.logits(torch.ones(1, 4097, dtype=torch.bfloat16))
    assert logits.dtype == torch.float32
    assert logits[0, 0] == 9.0 and logits[0, 1] == pytest.approx(float(weight[1].bfloat16().float().sum()), rel=1e-5)


@pytest.mark.parametrize("entropy", [False, True])
def test_autocast_rounds_neither_numbers_nor_gradients(entropy: bool) -> None:
    layer, hidden, targets = layer_of("plain", 300, 32), torch.randn(10, 32), torch.arange(10)
    found = []
    for enabled in (False, True):
        mine = hidden.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            logprobs, spread = layer.logprobs(mine, targets, 0.7, entropy=entropy)
        (logprobs.sum() + (spread.sum() if spread is not None else 0)).backward()
        found.append((logprobs.detach(), mine.grad))
    assert torch.equal(found[0][0], found[1][0]) and torch.equal(found[0][1], found[1][1])


# -- which layers it knows ---------------------------------------------------------------------------------------------


def made(head: nn.Module | None, **config: object) -> SimpleNamespace:
    """The least of a model."""
    inner = SimpleNamespace(**config)
    return SimpleNamespace(get_output_embeddings=lambda: head, config=SimpleNamespace(get_text_config=lambda: inner))


def test_scales_and_caps_are_read_from_the_config() -> None:
    head = nn.Linear(4, 7)
    cohere = OutputLayer.of(made(head, logit_scale=0.0625))
    granite = OutputLayer.of(made(head, logits_scaling=8.0))
    gemma = OutputLayer.of(made(head, final_logit_softcapping=30.0))
    llama = OutputLayer.of(made(head, logit_scale=None))
    assert (cohere.scale, granite.scale, gemma.softcap, llama.scale, llama.softcap) == (0.0625, 0.125, 30.0, 1.0, None)
    hidden = torch.randn(3, 4)
    assert torch.allclose(llama.logits(hidden), head(hidden)) and torch.allclose(
        cohere.logits(hidden), head(hidden) / 16
    )
    assert not llama.weight.requires_grad


def test_whatever_is_no_plain_linear_layer_is_left_to_the_model() -> None:
    class Special(nn.Linear):
        pass

    assert OutputLayer.of(made(Special(4, 7))) is None and OutputLayer.of(made(None)) is None
