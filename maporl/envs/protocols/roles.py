"""Roles: what each agent is for, after which it is named."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from maporl.errors import UserValueError

__all__ = ["check_roles", "named_after", "told"]


def check_roles(roles: Mapping[str, str] | Sequence[str]) -> tuple[str, ...]:
    """The roles' names, in speaking order.

    Raises:
        ValueError: None, or one that is no name.
    """
    if isinstance(roles, str) or len(roles) == 0:
        raise UserValueError(f"roles is {roles!r}; give the names of at least one role in speaking order.")
    for role in roles:
        if not re.fullmatch(r"[A-Za-z][A-Za-z_]*", role):
            raise UserValueError(f"role {role!r} is no name; use letters and underscores.")
    return tuple(roles)


def named_after(roles: Sequence[str], num_agents: int, what: str) -> tuple[str, ...]:
    """Agents named after their roles: generator_0, verifier_0, verifier_1.

    Raises:
        ValueError: Another number of agents than of roles; `what` is the protocol.
    """
    if len(roles) != num_agents:
        raise UserValueError(f"num_agents is {num_agents} but the {what} has {len(roles)} roles: {', '.join(roles)}.")
    return tuple(f"{role}_{roles[:index].count(role)}" for index, role in enumerate(roles))


def told(agent: str, instructions: Mapping[str, str]) -> str:
    """What an agent that is named after its role is told it is for."""
    role = agent.rpartition("_")[0]
    return instructions.get(role, f"You are the {role.replace('_', ' ')}.")
