"""Peers, then a leader: who hears whom, and whose answer counts."""

from __future__ import annotations

import pytest
from discussion_toys import Digits

from maporl.envs import check_env
from maporl.types import Seat

L, P, Q = "agent_0", "agent_1", "agent_2"


def heard(history: str) -> list[tuple[str, list[str]]]:
    """(who speaks, what it has read) of two rounds in which everybody says its name and round."""
    env = Digits(3, 2, protocol="leader", history=history)
    env.reset(seed=0)
    found = []
    for agent in env.agent_iter():
        observation = env.observe(agent)
        found.append((agent, [m["text"] for m in observation["transcript"]]))
        env.step(f"{agent[-1]}{observation['round']}" if env.agents and not env.terminations[agent] else None)
        if not env.agents or all(env.terminations.values()):
            break
    return found


def test_a_leader_reads_this_rounds_answers_and_a_peer_the_leaders_last() -> None:
    assert heard("last_round") == [
        *[(P, []), (Q, []), (L, ["10", "20"])],
        *[(P, ["10", "00"]), (Q, ["20", "00"]), (L, ["11", "21"])],
    ]


def test_with_all_history_nobody_hears_the_other_peer_either() -> None:
    assert heard("all")[3:] == [(P, ["10", "00"]), (Q, ["20", "00"]), (L, ["10", "20", "00", "11", "21"])]


def test_waves_answers_and_roles() -> None:
    env = Digits(3, 2, protocol="leader", verifier={"name": "regex", "pattern": r"(\d)"})
    assert env.rules.waves == [[Seat(P, r), Seat(Q, r)] if n == 0 else [Seat(L, r)] for r in range(2) for n in range(2)]
    assert env.protocol.once_a_round and not env.metadata["is_parallelizable"]
    env.reset(seed=0)
    assert "leader" not in env.observe(P)["role"]
    for text in ("1", "1", "7", "1", "1", "3"):
        env.step(text)
    assert env.team_answer().answer == "3", "the leader's last, whatever the majority says"
    check_env(Digits(3, 2, protocol="leader"))
    with pytest.raises(ValueError, match="needs at least 2 agents and num_agents is 1"):
        Digits(1, 2, protocol="leader")
