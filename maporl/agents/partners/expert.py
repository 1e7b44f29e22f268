"""A peer of the task ``experts``: it says what its private information has, and hears nobody."""

from __future__ import annotations

from maporl.agents.agent import ScriptedAgent
from maporl.envs.tasks.experts import said

__all__ = ["Expert"]


class Expert(ScriptedAgent):
    """See `maporl.envs.tasks.experts.said`."""

    def __init__(self) -> None:
        super().__init__(said)
