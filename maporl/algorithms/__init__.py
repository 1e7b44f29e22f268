"""How a team learns: from episodes to better adapters.

Classes are imported when they are asked for, so that reading a run's records does not wait for torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["IPPO", "MAGRPO", "MAPPO", "Algorithm", "LastRoundFirst", "PolicyGradient"]

if TYPE_CHECKING:
    from maporl.algorithms.algorithm import Algorithm
    from maporl.algorithms.curriculum import LastRoundFirst
    from maporl.algorithms.ippo import IPPO
    from maporl.algorithms.magrpo import MAGRPO
    from maporl.algorithms.mappo import MAPPO
    from maporl.algorithms.policy_gradient import PolicyGradient

_MODULES = {"Algorithm": "algorithm", "PolicyGradient": "policy_gradient", "LastRoundFirst": "curriculum"}


def __getattr__(name: str) -> Any:
    import importlib

    if name in __all__:
        return getattr(importlib.import_module(f"{__name__}.{_MODULES.get(name, name.lower())}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
