"""MAPoRL's experiments, and MALT's, as configurations of ``maporl benchmark``, by word: ``maporl benchmark --config incentives``."""

from __future__ import annotations

from pathlib import Path

from maporl.errors import UserValueError
from maporl.settings import nearest

__all__ = ["EXPERIMENTS", "configuration"]

EXPERIMENTS = {file.stem: file for file in sorted(Path(__file__).parent.glob("*.yaml"))}
"""Word -> its YAML file."""


def configuration(spec: str | Path) -> Path:
    """The YAML file that is meant: an existing file, or an experiment's by its word.

    Raises:
        ValueError: Neither.
    """
    path = Path(spec)
    if path.is_file():
        return path
    if str(spec) in EXPERIMENTS:
        return EXPERIMENTS[str(spec)]
    raise UserValueError(
        f"config {str(spec)!r} is no file.{nearest(str(spec), EXPERIMENTS)} Shipped configurations: {', '.join(EXPERIMENTS)}."
    )
