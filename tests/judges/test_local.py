"""A judge in this process: its verdict is the policy's own probability of it."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from maporl.agents.models.policy import Policy
from maporl.judges import Judge, LocalModel, PairwiseJudge
from maporl.judges.ballot import Ballot, answer_ballot
from maporl.types import Question

ASKED = Question("What is 2 + 3?", "5")


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    from maporl.agents.models.make_model import make_model

    folder = tmp_path_factory.mktemp("judge")
    make_model(folder, hidden_size=32, num_layers=2, num_heads=2, intermediate_size=64, context=4096)
    return Policy.from_pretrained(str(folder))


def by_hand(policy: Policy, ballot: Ballot, reason: str | None = None, adapter: str | None = None) -> list[float]:
    """p of each choice: the model's own log-probs of the whole reply, one forward pass each."""
    prompt = policy.encode_chats([ballot.chat])[0].tolist()
    sums = []
    for choice in ballot.choices:
        reply = policy.tokenizer(ballot.form(choice, reason), add_special_tokens=False)["input_ids"]
        with torch.no_grad(), policy.using(adapter):
            logprobs = policy.model(torch.tensor([prompt + reply])).logits[0].double().log_softmax(-1)
        sums.append(sum(logprobs[len(prompt) - 1 + i, token].item() for i, token in enumerate(reply)))
    weights = np.exp(np.array(sums) - max(sums))
    return (weights / weights.sum()).tolist()


def test_the_shares_are_the_models_probabilities_alone_and_in_a_batch(policy: Policy) -> None:
    ballots = [
        answer_ballot(ASKED, [text], rubric="Right?", choices=("right", "wrong", "not sure at all"))
        for text in ("It is 5.", "six", "It is, of course, after long thought, 5.")
    ]
    model = LocalModel(policy)
    replies = model.ask(ballots)
    for b, reply in zip(ballots, replies, strict=True):
        assert list((reply.shares or {}).values()) == pytest.approx(by_hand(policy, b), rel=1e-4)
        assert model.ask([b])[0].shares == pytest.approx(reply.shares, rel=1e-4)
        assert reply.prompt_tokens == len(policy.encode_chats([b.chat])[0])
        longest = max(len(policy.encode_chats.plain(b.form(choice))) for choice in b.choices)
        assert reply.completion_tokens == longest


def test_a_reason_is_its_own_and_comes_before_the_verdict(policy: Policy) -> None:
    b = answer_ballot(ASKED, ["five"], rubric="Right?", choices=("right", "wrong"), reasons=True)
    (reply,) = LocalModel(policy, reason_tokens=6).ask([b])
    assert '"' not in reply.reason and "\n" not in reply.reason
    assert list((reply.shares or {}).values()) == pytest.approx(by_hand(policy, b, reply.reason), rel=1e-4)


def test_an_adapter_judges(policy: Policy) -> None:
    policy.add_adapter("strict", seed=1)
    with torch.no_grad():
        for p in policy.parameters("strict"):
            p.normal_(std=0.3)
    b = answer_ballot(ASKED, ["5"], rubric="Right?", choices=("right", "wrong"))
    (strict,), (base,) = LocalModel(policy, adapter="strict").ask([b]), LocalModel(policy).ask([b])
    assert list((strict.shares or {}).values()) == pytest.approx(by_hand(policy, b, adapter="strict"), rel=1e-3)
    assert strict.shares != pytest.approx(base.shares, rel=0.1)


def test_what_does_not_fit_is_an_error(policy: Policy) -> None:
    judge = Judge(LocalModel(policy))
    short, long = judge.score_batch([ASKED] * 2, ["5", "a b " * 4500])
    assert (
        short.status == "ok" and long.status == "error" and "do not fit the judge's window of 4096" in long.explanation
    )
    assert judge.metrics()["judge_nonsense"] == 1


def test_from_a_folder_by_its_word_and_in_another_process(tiny_model: str) -> None:
    import pickle

    from maporl.envs.tasks.two_witnesses import TwoWitnesses

    env = TwoWitnesses(verifier={"name": "judge", "model": {"model": tiny_model, "batch_tokens": 512}})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env.verifiers.prepare()
    assert b"tiny" in pickle.dumps(env.verifier) and len(pickle.dumps(env.verifier)) < 5_000, "without its weights"
    with pytest.raises(ValueError, match="nowhere"):
        Judge("/nowhere/at/all").prepare()


def test_pairwise_is_the_same_whoever_stands_first(policy: Policy) -> None:
    judge = PairwiseJudge(LocalModel(policy))
    (one,), (other,) = judge.compare([ASKED], ["5"], ["six"]), judge.compare([ASKED], ["six"], ["5"])
    assert one.first is not None and other.first is not None and one.first + other.first == pytest.approx(1, abs=1e-5)
