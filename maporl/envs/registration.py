"""Ids for PettingZoo and Gymnasium: every built-in task, and the collaboration game, as ``maporl/<task>-v0``, imported when it is made."""

from __future__ import annotations

from typing import Any

import gymnasium
from pettingzoo import ParallelEnv, aec_registry, parallel_registry, register

from maporl.registry import BUILTINS, load

__all__ = ["ENVIRONMENTS", "make_parallel", "register_all"]

SINGLE_AGENT_ID = "maporl/SingleAgent-v0"
ENVIRONMENTS = {**BUILTINS["env"], "collaboration_game": "maporl.envs.tasks.collaboration_game:CollaborationGame"}
"""Name -> where the class is. The game has no questions, so it is no task of a discussion."""


def make_parallel(path: str, **arguments: Any) -> ParallelEnv[Any, Any, Any]:
    """The parallel form of the environment at a path; a ValueError under a sequential protocol."""
    return load("env", path).parallel_env(**arguments)


def register_all() -> None:
    """Register what is not registered yet. A task's module, and its data, are loaded by ``make`` and ``reset`` alone."""
    for task, path in ENVIRONMENTS.items():
        name = f"maporl/{task}-v0"
        if name not in aec_registry:
            register("aec", name, entry_point=path)
        if name not in parallel_registry:
            register("parallel", name, entry_point=f"{__name__}:make_parallel", kwargs={"path": path})
    if SINGLE_AGENT_ID not in gymnasium.registry:
        gymnasium.register(SINGLE_AGENT_ID, entry_point="maporl.envs.single_agent:SingleAgentEnv")
