"""How a team learns: from episodes to better adapters."""

from maporl.algorithms.algorithm import Algorithm, PolicyGradient
from maporl.algorithms.curriculum import LastRoundFirst
from maporl.algorithms.ippo import IPPO
from maporl.algorithms.magrpo import MAGRPO
from maporl.algorithms.mappo import MAPPO
from maporl.algorithms.rollout import cross, rollout

__all__ = ["IPPO", "MAGRPO", "MAPPO", "Algorithm", "LastRoundFirst", "PolicyGradient", "cross", "rollout"]
