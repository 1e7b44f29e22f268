"""Advisers speak, then a player acts: the protocol of games."""

from __future__ import annotations

from maporl.envs.protocols import RoundRobin

__all__ = ["Consulted"]


class Consulted(RoundRobin):
    """All speak in turn; what the last of them, the player, says is done."""

    name = "consulted"

    def agent_names(self, num_agents: int) -> tuple[str, ...]:
        *advisers, _ = super().agent_names(num_agents)
        return (*(f"adviser_{index}" for index in range(len(advisers))), "player_0")

    def role(self, agent: str, round: int) -> str:
        if agent == "player_0":
            return "You are the player. Your message is the move: write it as the game asks for it, and no other move."
        return "You are an adviser. Say which move you would make and why; the player, who speaks last, makes the move."
