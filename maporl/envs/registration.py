"""Ids for PettingZoo and Gymnasium: every built-in task as ``maporl/<task>-v0``, imported when it is made."""

from __future__ import annotations

from typing import Any

import gymnasium
from pettingzoo import ParallelEnv, aec_registry, parallel_registry, register

from maporl.registry import BUILTINS, build

__all__ = ["make_parallel", "register_all"]

SINGLE_AGENT_ID = "maporl/SingleAgent-v0"


def make_parallel(task: str, **arguments: Any) -> ParallelEnv[Any, Any, Any]:
    """The parallel form of a built-in task; a ValueError under a sequential protocol."""
    return build("env", task, **arguments).parallel()


def register_all() -> None:
    """Register what is not registered yet. A task's module, and its data, are loaded by ``make`` and ``reset`` alone."""
    for task, path in BUILTINS["env"].items():
        name = f"maporl/{task}-v0"
        if name not in aec_registry:
            register("aec", name, entry_point=path)
        if name not in parallel_registry:
            register("parallel", name, entry_point=f"{__name__}:make_parallel", kwargs={"task": task})
    if SINGLE_AGENT_ID not in gymnasium.registry:
        gymnasium.register(SINGLE_AGENT_ID, entry_point="maporl.envs.single_agent:SingleAgentEnv")
