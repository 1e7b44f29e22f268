"""Checkpoints are made once a session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from toy_models import shake, sharp_model

from maporl.agents.models.policy import Policy


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """checkpoint(architecture, **sizes) -> folder, not to be changed."""
    made: dict[tuple, Path] = {}

    def make(architecture: str = "llama", **sizes: int) -> Path:
        key = (architecture, *sorted(sizes.items()))
        if key not in made:
            made[key] = sharp_model(tmp_path_factory.mktemp(architecture), architecture=architecture, **sizes)
        return made[key]

    return make


@pytest.fixture
def policy(checkpoint: Callable[..., Path]) -> Policy:
    """A llama with the adapter "one", moved away from the base."""
    policy = Policy.from_pretrained(str(checkpoint()))
    policy.add_adapter("one", seed=1)
    shake(policy, "one")
    return policy
