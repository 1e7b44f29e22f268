"""Teams of loaded agents, and batched speaking."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from toy_models import completion_logits, observation, shake, sharp_model, weights
from transformers import AutoModelForCausalLM

from maporl.agents.agent import ScriptedAgent
from maporl.agents.deaf import Deaf
from maporl.agents.llm_agent import LLMAgent
from maporl.agents.policy import Policy
from maporl.agents.sampling import Sampling
from maporl.agents.team import Team, act_together
from maporl.roster import Roster
from maporl.types import Completion

TWO = ("agent_0", "agent_1")
SHORT = Sampling(max_new_tokens=6)


def test_building_adds_exactly_the_adapters_that_the_plan_names(checkpoint: Callable) -> None:
    names = {
        "shared": ["shared"],
        "per_agent": ["agent_0", "agent_1"],
        "per_agent_round": ["agent_0_round_1", "agent_0_round_2", "agent_1_round_1", "agent_1_round_2"],
    }
    for sharing, expected in names.items():
        policy = Policy.from_pretrained(str(checkpoint()))
        team = Team.build(policy, TWO, 2, sharing=sharing)
        assert list(policy.adapters) == list(team.learners) == expected
        assert team.policies == [policy] and team.agents == TWO
    policy = Policy.from_pretrained(str(checkpoint()))
    team = Team.build(policy, TWO, 2, sharing="frozen")
    assert not policy.adapters and not team.learners and len(team.language_models) == 1


def test_new_adapters_differ_and_repeat_with_the_seed(checkpoint: Callable) -> None:
    def built(seed: int) -> list[torch.Tensor]:
        policy = Policy.from_pretrained(str(checkpoint()))
        Team.build(policy, TWO, 2, seed=seed)
        return [weights(policy, name) for name in TWO]

    a, b, c = built(0), built(0), built(1)
    assert torch.equal(a[0], b[0]) and torch.equal(a[1], b[1])
    assert not torch.equal(a[0], a[1]) and not torch.equal(a[0], c[0])


def test_a_warm_start_is_where_every_new_adapter_begins(policy: Policy, tmp_path: Path) -> None:
    policy.save_adapter("one", tmp_path)
    other = Policy.from_pretrained(policy.tokenizer.name_or_path)
    Team.build(other, TWO, 1, init_adapter=tmp_path)
    for name in TWO:
        assert torch.equal(weights(other, name), weights(policy, "one"))


def test_seats_beyond_the_last_round_use_the_last_one() -> None:
    early, late = (ScriptedAgent(lambda o, rng, word=word: word) for word in ("early", "late"))
    team = Team({("agent_0", 0): early, ("agent_0", 1): late})
    assert team.member("agent_0", 0) is early and team.member("agent_0", 1) is team.member("agent_0", 9) is late
    with pytest.raises(ValueError, match=r"no seat for 'agent_5'; it seats \['agent_0'\]"):
        team.member("agent_5", 0)


def speak(team: Team, shown: list) -> list:
    return team.act(shown, [np.random.default_rng(n) for n in range(len(shown))])


def test_one_call_per_base_for_any_number_of_discussions_adapters_and_settings(checkpoint: Callable) -> None:
    policy = Policy.from_pretrained(str(checkpoint()))
    shown = [observation(agent, question=f"{n}?") for n in range(9) for agent in TWO]
    for sharing in ("shared", "per_agent", {"agent_0": "x", "agent_1": "base"}):
        team = Team.build(policy, TWO, 2, sharing=sharing, sampling=SHORT)
        before = policy.sampler_calls
        assert len(speak(team, shown)) == 18
        assert policy.sampler_calls - before == 1


def test_what_is_sampled_in_one_call_is_what_each_agent_says_by_itself(checkpoint: Callable) -> None:
    policy = Policy.from_pretrained(str(checkpoint()))
    for seed, name in enumerate(("one", "two")):
        policy.add_adapter(name, seed=seed)
        shake(policy, name, seed=seed)
    one = LLMAgent(policy, "one", sampling=SHORT)
    others = [LLMAgent(policy, "two", sampling=Sampling(9, temperature=0.5)), LLMAgent(policy, None, sampling=SHORT)]

    class Shouts(LLMAgent):
        """Has an `act` of its own, which must not be passed over."""

        def act(self, *args: Any, **kwargs: Any) -> list[Completion]:
            return [replace(c, text="!") for c in super().act(*args, **kwargs)]

    def streams() -> list[np.random.Generator]:
        return [np.random.default_rng(n) for n in range(10)]

    members = [one, others[0], others[1], Shouts(policy, "one", sampling=SHORT), Deaf(one)] * 2
    shown = [observation(question=f"{n}?") for n in range(10)]
    greedy = [n >= 5 for n in range(10)]
    before = policy.sampler_calls
    together = act_together(members, shown, streams(), greedy)
    assert (
        policy.sampler_calls - before == 1 + 2 + 2
    )  # in one call; those with an `act` of their own, sampled and greedy
    alone = [
        member.act([seen], [rng], greedy=greedily)[0]
        for member, seen, rng, greedily in zip(members, shown, streams(), greedy, strict=True)
    ]
    assert len({c.completion_ids.tobytes() for c in together}) > 5
    for a, b in zip(together, alone, strict=True):
        assert a.text == b.text and a.completion_ids.tolist() == b.completion_ids.tolist()
        assert np.allclose(a.logprobs, b.logprobs, atol=1e-4)


def test_answers_come_back_in_order(checkpoint: Callable) -> None:
    seats = {(a, r): ScriptedAgent(lambda o, rng, a=a, r=r: f"{a}{r}{o['question']}") for a in TWO for r in (0, 1)}
    shown = [
        observation(a, r, question=q) for q, a, r in (("p", "agent_1", 0), ("q", "agent_0", 1), ("r", "agent_1", 1))
    ]
    assert [c.text for c in speak(Team(seats), shown)] == ["agent_10p", "agent_01q", "agent_11r"]


def test_a_scripted_partner_takes_all_seats_of_its_name(checkpoint: Callable, tmp_path: Path) -> None:
    policy = Policy.from_pretrained(str(checkpoint()))
    team = Team.build(policy, TWO, 2, partners={"agent_1": ScriptedAgent(lambda o, rng: "7")}, sampling=SHORT)
    assert policy.adapters == ("agent_0",) and list(team.learners) == ["agent_0"]
    said = speak(team, [observation("agent_0"), observation("agent_1"), observation("agent_1", 1)])
    assert [c.text for c in said[1:]] == ["7", "7"] and len(said[0].completion_ids) > 0
    team.save(tmp_path)
    assert {s.partner for s in Roster.load(tmp_path).rounds("agent_1")} == {"maporl.agents.agent:ScriptedAgent"}


def test_different_base_models_speak_in_one_team(tmp_path: Path) -> None:
    one = Policy.from_pretrained(str(sharp_model(tmp_path / "one", vocab_size=280)))
    two = Policy.from_pretrained(str(sharp_model(tmp_path / "two", architecture="gpt2", hidden_size=48)))
    assert len(one.tokenizer) != len(two.tokenizer)
    team = Team.build({"agent_0": one, "agent_1": two}, TWO, 1, sampling=SHORT)
    assert one.adapters == ("agent_0",) and two.adapters == ("agent_1",) and team.policies == [one, two]
    said = speak(team, [observation("agent_1"), observation("agent_0")])
    for c, policy, name in ((said[0], two, "agent_1"), (said[1], one, "agent_0")):
        assert c.completion_ids.max() < len(policy.tokenizer)
        with torch.no_grad():
            logits = completion_logits(policy, name, [c.prompt_ids], [c.completion_ids])[0].log_softmax(-1)
        assert np.allclose(logits[range(len(c.logprobs)), c.completion_ids], c.logprobs, atol=1e-4)


def test_a_shared_adapter_needs_a_shared_base(checkpoint: Callable) -> None:
    bases = {agent: Policy.from_pretrained(str(checkpoint())) for agent in TWO}
    with pytest.raises(ValueError, match="'shared' would sit on different models .*--team per_agent, or one model"):
        Team.build(bases, TWO, 1, sharing="shared")  # two policies, if of one checkpoint: their names are alike
    team = Team.build(bases, TWO, 1)
    assert [bases[agent].adapters[-1] for agent in TWO] == list(TWO) and len(team.policies) == 2
    with pytest.raises(ValueError, match=r"adapter of one name among \['x', 'x'\]; names must differ"):
        for base in bases.values():
            base.add_adapter("x")
        Team({(agent, 0): LLMAgent(bases[agent], "x") for agent in TWO})


def test_bad_teams(checkpoint: Callable) -> None:
    policy = Policy.from_pretrained(str(checkpoint()))
    with pytest.raises(ValueError, match="a team needs at least one seat"):
        Team({})
    with pytest.raises(ValueError, match=r"model has no base model for 'agent_1', but for \['agent_0'\]"):
        Team.build({"agent_0": policy}, TWO, 1)
    with pytest.raises(ValueError, match=r"model names \['agent_3'\]; the agents are"):
        Team.build({"agent_0": policy, "agent_1": policy, "agent_3": policy}, TWO, 1)
    with pytest.raises(ValueError, match=r"partners names \['agent1'\]; the agents are"):
        Team.build(policy, TWO, 1, partners={"agent1": ScriptedAgent(lambda o, rng: "")})


def test_saving_writes_peft_folders_and_the_plan(checkpoint: Callable, tmp_path: Path) -> None:
    folder = str(checkpoint())
    policy = Policy.from_pretrained(folder)
    policy.add_adapter("partner")
    shake(policy, "partner")
    learner = Team.build(policy, ("agent_0",), 2, frozen=["round_1"], sampling=SHORT)
    team = Team(
        {
            **learner.seats,
            ("agent_1", 0): LLMAgent(policy, "partner", trainable=False),
            ("agent_1", 1): ScriptedAgent(lambda o, rng: "7"),
        }
    )
    assert list(team.learners) == ["agent_0"]
    shake(policy, "agent_0")
    team.save(tmp_path / "run")
    loaded = Roster.load(tmp_path / "run")
    assert {seat: (s.adapter, s.trains) for seat, s in loaded.seats.items()} == {
        ("agent_0", 0): (None, False),
        ("agent_0", 1): ("agent_0", True),
        ("agent_1", 0): ("partner", False),
        ("agent_1", 1): (None, False),
    }
    ids = torch.tensor([[9, 8, 7, 6, 5]])
    for name in ("agent_0", "partner"):  # a frozen partner is needed as much to play the discussion again
        model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")
        loaded = PeftModel.from_pretrained(model, str(tmp_path / "run" / name)).eval()
        with torch.no_grad():
            ours = completion_logits(policy, name, [np.array([9, 8])], [np.array([7, 6, 5])])[0]
            assert torch.allclose(loaded(input_ids=ids).logits[0, 1:-1], ours, atol=1e-4)


def test_another_temperature_for_a_while(checkpoint: Callable) -> None:
    team = Team.build(Policy.from_pretrained(str(checkpoint())), TWO, 1, sampling=SHORT)
    with pytest.raises(KeyError), team.at_temperature(0.1):
        assert {m.sampling.temperature for m in team.language_models} == {0.1}
        raise KeyError
    assert {m.sampling.temperature for m in team.language_models} == {1.0}


def test_a_frozen_seat_speaks_as_everybody_did_before_training(tmp_path: Path) -> None:
    """From a warm start by adapter, a frozen partner is the warm start too, not the bare base."""
    folder = sharp_model(tmp_path / "model")
    first = Policy.from_pretrained(str(folder))
    first.add_adapter("sft")
    shake(first, "sft")
    first.save_adapter("sft", tmp_path / "sft")
    policy = Policy.from_pretrained(str(folder))
    team = Team.build(policy, ["agent_0", "agent_1"], 2, frozen=["agent_1"], init_adapter=tmp_path / "sft")
    partner = team.member("agent_1", 0)
    assert isinstance(partner, LLMAgent) and partner.adapter == "warm_start" and not partner.trainable
    assert list(team.learners) == ["agent_0"]
    assert torch.equal(weights(policy, "warm_start"), weights(first, "sft"))
    team.save(tmp_path / "saved")
    assert (tmp_path / "saved" / "warm_start" / "adapter_config.json").is_file()
