"""One base and one verifier for all tests of this folder; not to be changed."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    from maporl.agents.models.make_model import make_model

    folder = tmp_path_factory.mktemp("base")
    make_model(folder, hidden_size=64, num_layers=2, num_heads=2, intermediate_size=96, context=256)
    return str(folder)


@pytest.fixture(scope="session")
def trained(base: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from verifier_toys import QUICK, letters

    from maporl.learned_verifier.training import fit

    folder = tmp_path_factory.mktemp("verifiers") / "letters"
    fit(letters(150), base, folder, settings=QUICK)
    return folder
