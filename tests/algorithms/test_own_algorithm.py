"""An algorithm of one's own: a file of a researcher's, named on the command line, on the same terms as the shipped ones."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from toy_discussions import digit_share, play, questions
from toy_models import weights

import maporl
from maporl import registry
from maporl.algorithms import Algorithm

REINFORCE = '''
"""REINFORCE with a running mean as baseline."""

from maporl.algorithms import PolicyGradient
from maporl.algorithms.batch import TurnBatch


class Reinforce(PolicyGradient):
    def __init__(self, team, *, decay=0.8, **settings):
        super().__init__(team, clip_range=None, loss_agg="sum", **settings)
        self.decay, self.baseline = decay, 0.0

    def update(self, episodes):
        batch = TurnBatch.collect(episodes, self.team)
        update = self.improve(batch, batch.rewards - self.baseline)
        self.baseline = self.decay * self.baseline + (1 - self.decay) * float(batch.rewards.mean())
        update.metrics["train/baseline"] = self.baseline
        return update

    def state_dict(self):
        return super().state_dict() | {"baseline": self.baseline}

    def load_state_dict(self, state):
        super().load_state_dict(state)
        self.baseline = state["baseline"]
'''


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Algorithm]]:
    """The class, found in the working directory as the command line finds it."""
    (tmp_path / "my_pkg.py").write_text(REINFORCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield registry.load("algorithm", "my_pkg:Reinforce")
    sys.modules.pop("my_pkg", None)


def test_it_is_short() -> None:
    assert len(REINFORCE.strip().splitlines()) < 40


def test_it_learns(own: type, make_team: Callable) -> None:
    team = make_team(2, 1, sharing="shared", tokens=8)
    algorithm = own(team, learning_rate=0.03, lr_schedule="constant")
    assert algorithm.group_size == 1 and algorithm.joint == "aligned"
    shares = []
    for k in range(15):
        episodes = play(team, questions(32), rounds=1, seed=k, reward=digit_share)
        shares.append(np.mean([e.rewards for e in episodes]))
        metrics = algorithm.update(episodes).metrics
    assert np.mean(shares[:2]) < 0.1 and np.mean(shares[-3:]) > 0.3, shares
    assert metrics["train/first_ratio_error"] < 1e-4 and metrics["train/baseline"] > 0.1


def test_its_state_comes_back(own: type, make_team: Callable) -> None:
    team = make_team(2, 1)
    algorithm = own(team, learning_rate=0.01)
    algorithm.update(play(team, questions(4), rounds=1))
    state = algorithm.state_dict()
    fresh_team = make_team(2, 1, seed=9)
    fresh = own(fresh_team, learning_rate=0.01)
    fresh.load_state_dict(state)
    results = [a.update(play(t, questions(4), rounds=1, seed=1)) for a, t in ((algorithm, team), (fresh, fresh_team))]
    assert results[0] == results[1] and fresh.baseline == algorithm.baseline > 0
    assert all(np.array_equal(*(weights(t.policies[0], a) for t in (team, fresh_team))) for a in team.learners)


# -- nothing in the library asks which algorithm it is -------------------------------------------------------------------------


def asks_which_algorithm(tree: ast.AST) -> list[int]:
    """Lines that compare with an algorithm's word or class, or test for its class."""
    words = set(registry.names("algorithm"))
    classes = {path.partition(":")[2] for path in registry.BUILTINS["algorithm"].values()}

    def names(node: ast.AST) -> Iterator[str]:
        for part in ast.walk(node):
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                yield part.value
            elif isinstance(part, ast.Name):
                yield part.id
            elif isinstance(part, ast.Attribute):
                yield part.attr

    found = []
    for node in ast.walk(tree):
        is_test = isinstance(node, ast.Compare | ast.MatchValue | ast.MatchClass) or (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("isinstance", "issubclass")
        )
        if is_test and (words | classes) & set(names(node)):
            found.append(node.lineno)
    return found


def test_the_check_itself_finds_what_it_looks_for() -> None:
    for line in (
        'if algorithm == "ippo": pass',
        'if config.algorithm in ("mappo", "ippo"): pass',
        "if isinstance(algorithm, MAGRPO): pass",
        "if type(a) is algorithms.MAPPO: pass",
        'match name:\n    case "magrpo": pass',
    ):
        assert asks_which_algorithm(ast.parse(line))
    assert not asks_which_algorithm(
        ast.parse("from x import MAPPO\nalgorithm = MAPPO(team)\nif algorithm is None: pass")
    )


def test_no_algorithm_is_asked_for_its_name_outside_the_registry() -> None:
    root = Path(maporl.__file__).parent
    files = sorted(root.rglob("*.py"))
    assert len(files) > 30
    found = {
        f"{path.relative_to(root)}:{line}"
        for path in files
        if path.name != "registry.py"
        for line in asks_which_algorithm(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert not found
