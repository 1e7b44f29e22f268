"""Settings that people ask for, as configurations of ``maporl train``, by word: ``maporl train --config self_play`` (docs/recipes.md)."""

from __future__ import annotations

from pathlib import Path

__all__ = ["RECIPES"]

RECIPES = {file.stem: file for file in sorted(Path(__file__).parent.glob("*.yaml"))}
"""Word -> its YAML file."""
