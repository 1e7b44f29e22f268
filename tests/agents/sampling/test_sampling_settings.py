"""Sampling is exact: frequencies, log-probs, and the ends of the unit interval."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from maporl.agents.sampling.settings import Sampling, filter_logits, sample

ALMOST_ONE = float(np.nextafter(np.float32(1), np.float32(0)))


def draw(logits: torch.Tensor, uniforms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One row of logits, many uniforms."""
    rows = logits.expand(len(uniforms), -1)
    ids, logprobs = sample(rows, torch.as_tensor(uniforms, dtype=torch.float32))
    return ids.numpy(), logprobs.numpy()


@pytest.mark.parametrize("vocab", [3, 511, 512, 513, 1300])
def test_the_inverse_cdf_is_exact(vocab: int) -> None:
    # A grid of uniforms meets a token exactly as often as its probability says, up to one grid point at either edge:
    # stronger than any test on random draws, and it needs no tolerance for luck.
    logits = torch.randn(1, vocab, generator=torch.Generator().manual_seed(vocab)) * 2
    size = 20_000
    ids, _ = draw(logits, (np.arange(size) + 0.5) / size)
    counts = np.bincount(ids, minlength=vocab)
    expected = logits.softmax(-1)[0].numpy() * size
    assert np.abs(counts - expected).max() <= 1.01
    assert (np.diff(ids) >= 0).all()  # the CDF is in token order across block borders


def test_random_draws_pass_a_chi_square_test() -> None:
    logits = torch.randn(1, 600, generator=torch.Generator().manual_seed(0))
    size = 60_000
    ids, _ = draw(logits, np.random.default_rng(0).random(size, dtype=np.float32))
    expected = logits.softmax(-1)[0].double().numpy() * size
    statistic = ((np.bincount(ids, minlength=600) - expected) ** 2 / expected).sum()
    assert 599 - 4 * np.sqrt(2 * 599) < statistic < 599 + 4 * np.sqrt(2 * 599)  # too good would be as wrong


def test_rows_are_independent() -> None:
    logits = torch.randn(5, 700, generator=torch.Generator().manual_seed(1)) * 3
    uniforms = torch.tensor([0.1, 0.9, 0.5, 0.0, ALMOST_ONE])
    together = sample(logits, uniforms)
    for row in range(5):
        alone = sample(logits[row : row + 1], uniforms[row : row + 1])
        assert alone[0][0] == together[0][row]


def test_log_probs_are_of_the_tempered_and_filtered_distribution() -> None:
    raw = torch.tensor([[2.0, 1.0, 0.0, -1.0]])
    tempered = filter_logits(raw / 0.5, top_k=2, top_p=None)
    ids, logprobs = draw(tempered, np.linspace(0, ALMOST_ONE, 50))
    # Of e^4 and e^2 alone: p = 1 / (1 + e^-2) = .8808.
    assert set(ids) == {0, 1}
    assert logprobs[ids == 0] == pytest.approx(np.log(1 / (1 + np.exp(-2))), abs=1e-6)
    assert logprobs[ids == 1] == pytest.approx(np.log(1 / (1 + np.exp(2))), abs=1e-6)


@pytest.mark.parametrize("vocab", [4, 1025])
def test_impossible_tokens_are_never_sampled_even_at_the_ends(vocab: int) -> None:
    logits = torch.full((1, vocab), float("-inf"))
    possible = [1, vocab - 2]  # the first and the last token are impossible, and so are whole blocks
    logits[0, possible] = torch.tensor([0.0, 1.0])
    ids, logprobs = draw(logits, np.array([0.0, 1e-30, 0.25, 0.5, 0.75, 1 - 1e-6, ALMOST_ONE, 1.0]))
    assert set(ids) == set(possible)
    assert ids[0] == 1 and ids[-1] == ids[-2] == vocab - 2
    assert np.isfinite(logprobs).all()


def test_the_last_token_can_be_sampled_and_no_later_one_exists() -> None:
    for vocab in (512, 513, 1500):
        ids, _ = draw(torch.zeros(1, vocab), np.array([0.0, ALMOST_ONE]))
        assert ids.tolist() == [0, vocab - 1]


def test_rounding_never_leaves_the_vocabulary() -> None:
    # Thousands of equal float32 probabilities do not add up to 1 exactly.
    for vocab in (3_001, 50_257):
        ids, logprobs = draw(torch.zeros(1, vocab), np.linspace(0.999, ALMOST_ONE, 50))
        assert ids.max() < vocab and np.allclose(logprobs, -np.log(vocab), atol=1e-4)


def test_greedy_is_the_likeliest_token_and_its_log_prob() -> None:
    logits = torch.tensor([[0.0, 3.0, 1.0], [5.0, 4.0, 0.0]])
    ids, logprobs = sample(logits, None)
    assert ids.tolist() == [1, 0]
    assert torch.allclose(logprobs, logits.log_softmax(-1).max(-1).values)


def kept(logits: list[float], **filters: float | None) -> list[int]:
    filtered = filter_logits(torch.tensor([logits]), filters.get("top_k"), filters.get("top_p"))
    return torch.isfinite(filtered)[0].nonzero().flatten().tolist()


def test_top_k_keeps_the_k_likeliest() -> None:
    logits = [1.0, 4.0, 3.0, 2.0]
    assert kept(logits, top_k=1) == [1]
    assert kept(logits, top_k=3) == [1, 2, 3]
    assert kept(logits, top_k=9) == [0, 1, 2, 3]


def test_top_p_keeps_the_token_that_crosses_it() -> None:
    logits = np.log([0.1, 0.5, 0.3, 0.1]).tolist()
    assert kept(logits, top_p=0.4) == [1]
    assert kept(logits, top_p=0.6) == [1, 2]
    assert kept(logits, top_p=0.85) in ([0, 1, 2], [1, 2, 3])
    assert kept(logits, top_p=1e-9) == [1]
    assert kept(logits, top_p=1.0) == [0, 1, 2, 3]


def test_top_p_is_of_what_top_k_left() -> None:
    logits = np.log([0.05, 0.4, 0.35, 0.2]).tolist()
    assert kept(logits, top_k=2, top_p=0.53) == [1]  # .4 / .75 = .533
    assert kept(logits, top_k=2, top_p=0.54) == [1, 2]


def test_filters_leave_the_input_alone() -> None:
    logits = torch.tensor([[1.0, 2.0, 3.0]])
    filter_logits(logits, 1, 0.5)
    assert logits.tolist() == [[1.0, 2.0, 3.0]]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens is 0"),
        ({"temperature": 0.0}, "temperature is 0.0.*greedy"),
        ({"temperature": -1.0}, "temperature is -1.0"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"temperature": float("inf")}, "temperature is inf"),
        ({"top_k": 0}, "top_k is 0"),
        ({"thinking_budget": 0}, "thinking_budget is 0; it must be at least 1"),
        (
            {"thinking_budget": 9, "max_new_tokens": 9},
            "thinking_budget is 9; .* less than max_new_tokens .9., which counts the",
        ),
        ({"top_p": 0.0}, "top_p is 0.0"),
        ({"top_p": 1.5}, "top_p is 1.5"),
    ],
)
def test_bad_settings(bad: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        Sampling(**bad)
    assert "\n" not in str(error.value)


def test_only_filters_count_as_filtered() -> None:
    assert not Sampling(temperature=0.7).filtered
    assert Sampling(top_k=5).filtered and Sampling(top_p=0.9).filtered


@pytest.mark.parametrize("vocab", [300, 512, 5000])
@pytest.mark.parametrize("sharpness", [0.0, 1.0, 8.0])
def test_the_token_is_the_one_that_float64_finds(vocab: int, sharpness: float) -> None:
    generator = torch.Generator().manual_seed(vocab)
    rows = 400
    logits = torch.randn(rows, vocab, generator=generator) * sharpness
    logits[:, torch.rand(vocab, generator=generator) < 0.2] = float("-inf")
    uniforms = torch.rand(rows, generator=generator)
    ids, logprobs = sample(logits, uniforms)
    exact = logits.double().log_softmax(-1)
    cdf = exact.exp().cumsum(-1)
    expected = torch.searchsorted(cdf, uniforms.double()[:, None], right=True)[:, 0].clamp(max=vocab - 1)
    edge = (cdf - uniforms.double()[:, None]).abs().amin(-1) < 2e-6  # where float32 may fall on either side
    assert edge.float().mean() < 0.2 and (ids == expected)[~edge].all()
    assert ((ids - expected)[edge].abs() <= 2).all()
    assert torch.allclose(logprobs.double(), exact.gather(1, ids[:, None])[:, 0], atol=1e-5)
    assert torch.isfinite(logprobs).all()


@pytest.mark.parametrize("spoiled", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("where", [slice(None), slice(3, 4)])
@pytest.mark.parametrize("greedy", [True, False])
@pytest.mark.parametrize("vocab", [300, 1500])
def test_logits_that_are_no_numbers_give_a_log_prob_that_is_none(
    spoiled: float, where: slice, greedy: bool, vocab: int
) -> None:
    logits = torch.zeros(4, vocab)  # no number of whole blocks: a search that fails must not end beyond the vocabulary
    logits[1:3, where] = spoiled
    ids, logprobs = sample(logits, None if greedy else torch.tensor([0.3, 0.3, ALMOST_ONE, 0.3]))
    assert int(ids.min()) >= 0 and int(ids.max()) < vocab
    impossible = spoiled == float("-inf") and where.start == 3  # no harm done: the others are possible
    assert torch.isfinite(logprobs).tolist() == [True, impossible, impossible, True]
    assert ids[0] == ids[3] and logprobs[0] == logprobs[3]


@pytest.mark.parametrize("stop", ["\n", ("",), (5,)])
def test_bad_stop_strings(stop: object) -> None:
    with pytest.raises(ValueError, match="it must be a tuple of texts of at least one character"):
        Sampling(stop=stop)  # type: ignore[arg-type]
