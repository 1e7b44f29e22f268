"""Shared fixtures. Set torch's threads before anything imports it: on a busy machine the default can be 30 times slower."""

from __future__ import annotations

import gc
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing in the tests may wait for a network

from unittest import mock

import pytest

from maporl import registry

with mock.patch("importlib.metadata.entry_points", return_value=()):
    for _kind in registry.BUILTINS:
        registry.plugins(_kind)  # remembered: the suite is about what is built in, whatever else is installed here


def pytest_collectstart() -> None:
    gc.disable()  # while everything is imported: nothing of it becomes garbage


def pytest_collection_finish() -> None:
    """Look for garbage in what tests make only: in the 700,000 objects of torch, transformers and the tests it takes .4 s a time."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real evaluation data, or a skip that says where it was looked for."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    path = Path(os.environ.get("MAPORL_DATA", default))
    if not path.is_dir():
        pytest.skip(f"no evaluation data: neither MAPORL_DATA nor {default.name}/ beside the checkout's parent exists")
    return path


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A random-weight checkpoint of one narrow layer, for tests of whole runs; not to be changed. Its tokens are words."""
    return _tiny(tmp_path_factory.mktemp("models") / "tiny", vocab_size=512)


@pytest.fixture(scope="session")
def spelling_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same with a token for little more than a letter, so that what it says at random is now and then an answer."""
    return _tiny(tmp_path_factory.mktemp("models") / "spelling", vocab_size=300)


def _tiny(folder: Path, vocab_size: int) -> str:
    from maporl.agents.models.make_model import make_model

    make_model(folder, hidden_size=32, num_layers=1, intermediate_size=64, vocab_size=vocab_size, context=512)
    return str(folder)
