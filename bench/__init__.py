"""The speed benchmark: ours, other libraries and the floor of the arithmetic itself, measured beside one another in one run.

Every section is a module with ``rows(settings) -> list[Row]``; ``python -m bench`` runs them.
"""

from bench.rows import Row, interleaved, ratio
from bench.settings import GEOMETRIES, Settings

__all__ = ["GEOMETRIES", "Row", "Settings", "interleaved", "ratio"]
