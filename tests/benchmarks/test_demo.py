"""The demo: equal budgets, honest rows, and that co-training pays (slow)."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from maporl.agents import ScriptedAgent, Team
from maporl.benchmarks.demo import SETTINGS, configs, demo, markdown, train_all
from maporl.benchmarks.intervals import clustered_interval
from maporl.benchmarks.rows import Row, measured, voted
from maporl.benchmarks.warm_start import make_warm_start
from maporl.envs.two_witnesses import LONE_CEILING, TwoWitnesses


def test_every_run_has_the_same_budget(tmp_path: Path) -> None:
    runs = configs("two_witnesses", "ippo", tmp_path / "start", tmp_path)
    assert list(runs) == ["together", "beside_frozen_0", "beside_frozen_1", "told_everything", "alone_0", "alone_1"]
    own = ("output_dir", "frozen", "num_agents", "num_rounds", "env_args", "team")  # what the rows are about
    shared = [{k: v for k, v in asdict(c).items() if k not in own} for c in runs.values()]
    assert all(s == shared[0] for s in shared)
    assert runs["beside_frozen_0"].frozen == ("agent_1",)
    assert runs["alone_1"].env_args == {"view": "agent_1"}


def test_a_vault_of_three_digits_has_three_seats(tmp_path: Path) -> None:
    runs = configs("vault", "magrpo", tmp_path / "start", tmp_path, num_agents=3)
    assert runs["alone_2"].env_args == {"view": "agent_2", "num_digits": 3}
    assert runs["beside_frozen_1"].frozen == ("agent_0", "agent_2")


def test_a_foreign_folder_is_not_emptied(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="thesis.txt"):
        demo(output_dir=tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_unknown_names_are_told_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Did you mean 'mappo'"):
        demo(algorithm="mapo", output_dir=tmp_path / "a")
    with pytest.raises(ValueError, match="no warm start for 'gsm8k'"):
        demo("gsm8k", output_dir=tmp_path / "b")


def _scripted(speak) -> Team:
    return Team({("agent_0", 0): ScriptedAgent(speak)})


def test_rows_of_a_perfectly_honest_lone_agent() -> None:
    """It says what it sees: right when the view is clear, wrong when foggy; one half over both seats, by hand."""
    seats = [
        (TwoWitnesses(1, 1, view=f"agent_{s}"), _scripted(lambda o, rng: f"Answer: {o['private'][-2]}")) for s in (0, 1)
    ]
    row = measured("honest", seats, repeats=2)
    assert row.sampled == row.greedy == 0.5
    assert row.low == row.high == row.best_seat == 0.5  # on every question it is right in exactly one of the seats
    assert voted("vote", seats, k=3).sampled == 0.5  # it never changes its mind, so a vote changes nothing


def test_no_lone_agent_beats_its_ceiling() -> None:
    """The best lone policy: keep a clear view, else guess among the nine other digits."""

    def best(observation, rng: np.random.Generator) -> str:
        kind, digit = observation["private"].split()[0], int(observation["private"][-2])
        return f"Answer: {digit if kind == 'Clear' else (digit + 1 + rng.integers(9)) % 10}"

    seats = [(TwoWitnesses(1, 1, view=f"agent_{s}"), _scripted(best)) for s in (0, 1)]
    row = measured("best", seats, repeats=8)
    assert row.low <= LONE_CEILING <= row.high


def test_a_vote_counts_ties_by_expectation() -> None:
    """Two samples, one right and one wrong: one half."""
    said = iter(range(10**9))

    def speak(observation, rng: np.random.Generator) -> str:
        right = observation["private"][-2]
        return f"Answer: {right if next(said) % 2 else (int(right) + 1) % 10}"

    env = TwoWitnesses(1, 1, view="all")
    told = [(env, _scripted(lambda o, rng: speak({"private": o["private"].split("Clear view: ")[1][:2]}, rng)))]
    assert voted("vote", told, k=2).sampled == 0.5


def test_the_interval_covers_and_is_clustered() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for trial in range(300):
        values = (rng.random(200) < 0.7).astype(float)
        low, high = clustered_interval([[v] for v in values], draws=400, seed=trial)
        hits += low <= 0.7 <= high
    assert 0.91 <= hits / 300 <= 0.98
    once = clustered_interval([[v] for v in values])
    copied = clustered_interval([[v] * 10 for v in values])  # ten copies of a question are no more evidence
    assert once == pytest.approx(copied)


def test_the_table_is_markdown() -> None:
    text = markdown([Row("a", 0.5, 0.4, 0.6, 0.55, None, 10.0, 5.0)])
    assert text.splitlines()[-1] == "| a | 0.500 | 0.400 to 0.600 | 0.550 |  | 5.0 |"


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("algorithm", list(SETTINGS))
def test_co_training_pays(algorithm: str, tmp_path: Path) -> None:
    """Mean of three seeds: at least .95 sampled and .99 greedy, and 20 points over training one."""
    from maporl.run import load_team

    make_warm_start(tmp_path / "start")
    together, one = [], []
    for seed in range(3):
        folder = tmp_path / str(seed)
        runs = configs("two_witnesses", algorithm, tmp_path / "start", folder, seed=seed)
        wanted = {name: run for name, run in runs.items() if name.startswith(("together", "beside"))}
        for _ in train_all(wanted, 2):
            pass
        env = wanted["together"].build_env()
        rows = {name: measured(name, [(env, load_team(folder / name))], 4) for name in wanted}
        together.append(rows["together"])
        one.append(max(row.sampled for name, row in rows.items() if name != "together"))
    print(algorithm, [(round(r.sampled, 3), r.greedy) for r in together], [round(v, 3) for v in one])
    assert np.mean([r.sampled for r in together]) >= 0.95
    assert np.mean([r.greedy for r in together]) >= 0.99
    assert np.mean([r.sampled for r in together]) - np.mean(one) >= 0.20


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_whole_demo(tmp_path: Path) -> None:
    rows = demo(output_dir=tmp_path / "demo", algorithm="magrpo", num_iterations=3)
    lone = [row for row in rows if row.name.startswith(("single agent, ", "its vote"))]
    assert len(lone) == 4 and all(row.low <= LONE_CEILING for row in lone)
    saved = json.loads((tmp_path / "demo" / "table.json").read_text())
    assert [r["name"] for r in saved] == [r.name for r in rows]
    assert (tmp_path / "demo" / "demo.png").stat().st_size > 10_000
    pairs = json.loads((tmp_path / "demo" / "discussions.json").read_text())
    assert len(pairs) == 2 and all("agent_1" in text for pair in pairs for text in pair)
    assert demo(output_dir=tmp_path / "demo", algorithm="magrpo", num_iterations=1)  # an earlier demo is replaced
