"""Roles: what each agent is for, after which it is named, or for which it is drawn."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from maporl.errors import UserValueError
from maporl.hooks import each, misreturned
from maporl.types import Question

__all__ = ["check_roles", "drawn", "named_after", "names_of", "told"]


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


def drawn(question: Question, names: Sequence[str]) -> tuple[str, ...]:
    """The names in an order that the question's hash decides, each order as likely: without a generator, so that it is always the same."""
    return tuple(sorted(names, key=lambda name: hashlib.sha256(f"{question.hash} {name}".encode()).hexdigest()))


def told(agent: str, instructions: Mapping[str, str]) -> str:
    """What an agent that is named after its role is told it is for."""
    role = agent.rpartition("_")[0]
    return instructions.get(role, f"You are the {role.replace('_', ' ')}.")


def names_of(protocol: Any, num_agents: Any) -> list[str]:
    """Everybody's name under a protocol, in speaking order; `num_agents` None is as many as it usually has.

    Raises:
        TypeError: Its `agent_names` does not return different names.
    """
    given = protocol.agent_names(protocol.default_num_agents if num_agents is None else num_agents)
    names = each(protocol, "agent_names", given, str)
    if not names or len(set(names)) < len(names):
        raise misreturned(protocol, "agent_names", given, "a tuple of different names, at least one")
    return names
