"""Both sides of a comparison read the same prompts and sample the same number of tokens."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

pytest.importorskip(
    "comlrl.trainers.reinforce", reason="comlrl is not installed: pip install -e '.[bench]'", exc_type=ImportError
)

from bench.long_message import loss_and_gradient
from bench.our_step import EQUAL, STOCK, Knobs, OurStep, early_share, prompt_text
from bench.settings import Settings
from bench.with_comlrl import CoMLRLStep
from bench.with_trl import TRLStep

SETTINGS = Settings(quick=True)


def reward(*texts: list[str]) -> list[float]:
    return [sum(early_share(None, text) for text in joint) for joint in zip(*texts, strict=True)]


def test_a_prompt_is_the_same_tokens_as_text(tmp_path: Path) -> None:
    step = OurStep(SETTINGS, tmp_path, num_rounds=2)
    member, tokenizer = step.member("agent_1"), step.member("agent_1").policy.tokenizer
    question = step.questions[0]
    first = prompt_text(step.env, member, question, "agent_1")
    assert question.text in first and first.endswith("<|assistant|>")
    env = step.env
    env.reset(options={"question": question})
    assert tokenizer(first).input_ids == list(member.encode([env.observe("agent_1")])[0])
    second = prompt_text(step.env, member, question, "agent_1", ["say seven", "say 8"])
    assert "say seven" in second and "say 8" in second and second.startswith(first)


def test_one_round_samples_as_many_tokens_on_both_sides(tmp_path: Path) -> None:
    step = OurStep(SETTINGS, tmp_path, group_size=2, new_tokens=4)
    questions = step.questions[:2]
    measured = step(questions)
    assert measured["tokens"] == 2 * 2 * 2 * 4  # questions x samples x agents x length
    assert measured["seconds"] == pytest.approx(measured["rollout"] + measured["update"])
    prompts = [[prompt_text(step.env, step.member(a), q, a) for a in step.env.possible_agents] for q in questions]
    rival = CoMLRLStep(SETTINGS, SETTINGS.checkpoint(tmp_path), reward, group_size=2, new_tokens=4)
    before = [p.detach().clone() for p in rival.trainer.agents[1].parameters()]
    assert rival(prompts)["tokens"] == measured["tokens"]
    assert rival(prompts)["tokens"] == measured["tokens"], "a second pass is counted afresh"
    after = list(rival.trainer.agents[1].parameters())
    assert all(torch.allclose(b, a, atol=1e-5) for b, a in zip(before, after, strict=True)), "nothing to speak of moves"


def test_two_rounds_are_a_tree_on_their_side_and_the_prompts_go_on(tmp_path: Path) -> None:
    heard: list[list[str]] = []

    def transition(prompt: str, agent_completions: list[str], **more: object) -> list[str]:
        heard.append(agent_completions)
        return [f"{prompt} {text}" for text in agent_completions]

    path = SETTINGS.checkpoint(tmp_path)
    rival = CoMLRLStep(SETTINGS, path, reward, num_rounds=2, group_size=2, new_tokens=4, transition=transition)
    assert rival([["one", "two"]])["tokens"] == (2 + 2 * 2) * 2 * 4
    assert len(heard) == 2
    ours = OurStep(SETTINGS, tmp_path, num_rounds=2, group_size=2, new_tokens=4)
    assert ours(ours.questions[:1])["tokens"] == 2 * 2 * 2 * 4


@pytest.mark.parametrize("knobs", [None, EQUAL])
def test_a_step_of_trl_is_as_many_tokens_as_asked_for(tmp_path: Path, knobs: object) -> None:
    path = SETTINGS.checkpoint(tmp_path)
    rival = TRLStep(SETTINGS, path, ["one", "two"], lambda text: float(len(text)), knobs, group_size=2, new_tokens=4)  # type: ignore[arg-type]
    assert rival.trainer.args.gradient_checkpointing is (knobs is None)
    for _ in range(2):  # `train` can be called again
        measured = rival()
        assert measured["tokens"] == 2 * 2 * 4 and measured["seconds"] > 0


def test_knobs_are_taken_back() -> None:
    before = torch.get_float32_matmul_precision()
    with Knobs("medium", autocast=True).applied("cpu"):
        assert torch.get_float32_matmul_precision() == "medium"
        assert torch.is_autocast_enabled("cpu")
    assert torch.get_float32_matmul_precision() == before and not torch.is_autocast_enabled("cpu")
    with STOCK.applied("cpu"):
        assert torch.get_float32_matmul_precision() == "highest"


def test_both_losses_run_on_one_model() -> None:
    steps = loss_and_gradient(SETTINGS, 500, 8)
    assert set(steps) == {"ours", "CoMLRL"}
    assert all(step() > 0 for step in steps.values())
