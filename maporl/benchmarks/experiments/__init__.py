"""MAPoRL's experiments, and MALT's, as configurations of ``maporl benchmark``, by word: ``maporl benchmark --config incentives``."""

from __future__ import annotations

from pathlib import Path

from maporl.settings import settings_file

__all__ = ["EXPERIMENTS", "configuration"]

EXPERIMENTS = {file.stem: file for file in sorted(Path(__file__).parent.glob("*.yaml"))}
"""Word -> its YAML file."""


def configuration(spec: str | Path) -> Path:
    """The YAML file that is meant: an existing file, or an experiment's by its word.

    Raises:
        ValueError: Neither.
    """
    return settings_file(spec, EXPERIMENTS)
