"""Teams of tiny models, each on a base of its own so that nothing carries over between tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toy_models import sharp_model

from maporl.agents.models.policy import LoRA, Policy
from maporl.agents.sampling.settings import Sampling
from maporl.agents.team import Team

SIZES = dict(num_layers=1, context=1024)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """checkpoint(architecture, **sizes) -> folder with random weights, not to be changed."""
    made: dict[tuple, Path] = {}

    def make(architecture: str = "llama", **sizes: int) -> Path:
        key = (architecture, *sorted(sizes.items()))
        if key not in made:
            made[key] = tmp_path_factory.mktemp(architecture)
            # With large embeddings, or a last layer this small cannot prefer any token clearly, whatever it learns.
            sharp_model(made[key], embedding=0.24, architecture=architecture, **{**SIZES, **sizes})
        return made[key]

    return make


@pytest.fixture(scope="session")
def make_team(checkpoint: Callable[..., Path]) -> Callable[..., Team]:
    """make_team(agents, rounds, tokens=, temperature=, architecture=, base=, **arguments of Team.build)."""

    def make(
        agents: int = 2,
        rounds: int = 1,
        *,
        tokens: int = 6,
        temperature: float = 1.0,
        architecture: str = "llama",
        base: dict[str, Any] | None = None,
        **arguments: Any,
    ) -> Team:
        policy = Policy.from_pretrained(str(checkpoint(architecture)), lora=LoRA(r=4, alpha=16), **(base or {}))
        sampling = Sampling(max_new_tokens=tokens, temperature=temperature)
        names = [f"agent_{n}" for n in range(agents)]
        return Team.build(policy, names, rounds, sampling=sampling, **arguments)

    return make
