"""The speed benchmark: ours, other libraries and the floor of the arithmetic itself, measured beside one another in one run.

Every section is a module with ``rows(settings) -> list[Row]``; ``python -m maporl.benchmarks.speed`` runs them.
"""

from maporl.benchmarks.speed.rows import Row, interleaved, ratio
from maporl.benchmarks.speed.settings import GEOMETRIES, Settings

__all__ = ["GEOMETRIES", "Row", "Settings", "interleaved", "ratio"]
