"""maporl: train teams of language models that discuss a problem, and find out whether the team helps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

__all__ = ["RunConfig", "__version__", "load_team", "train"]

if TYPE_CHECKING:
    from maporl.training.config import RunConfig
    from maporl.training.run import load_team, train


def __getattr__(name: str) -> Any:
    """Load torch only when something that needs it is asked for, so that `maporl.envs` imports in a moment."""
    import importlib

    homes = {"RunConfig": "maporl.training.config", "load_team": "maporl.training.run", "train": "maporl.training.run"}
    if name in homes:
        return getattr(importlib.import_module(homes[name]), name)
    raise AttributeError(f"module 'maporl' has no attribute {name!r}")
