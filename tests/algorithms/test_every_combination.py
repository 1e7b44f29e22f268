"""Every algorithm learns something in every task, under every protocol, with every team map and shaping: any two of them together."""

from __future__ import annotations

import itertools
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
import torch
from pairwise import pairs, pairwise
from toy_discussions import readable_share

from maporl import registry
from maporl.agents.models.policy import LoRA, Policy
from maporl.agents.sampling.settings import Sampling
from maporl.agents.team import Team
from maporl.algorithms import MAGRPO, Algorithm
from maporl.algorithms.magrpo import MARLOO
from maporl.training.callbacks import Callback
from maporl.training.loop import Collector, learn
from maporl.types import Episode, Question, Score

TEAMS: dict[str, dict[str, Any]] = {
    "shared": {"sharing": "shared"},
    "per_agent": {"sharing": "per_agent"},
    "per_agent_round": {"sharing": "per_agent_round"},
    "round_1_frozen": {"sharing": "shared", "frozen": ["round_1"]},
    "train_one": {"sharing": "per_agent", "frozen": ["SECOND"]},
}
TASKS = {  # tasks of a kind stand for each other, by turns
    "sums": ["arithmetic", "tricks", "reasoning_gym"],
    "views": ["two_witnesses", "vault", "shared_numbers", "requests", "composed", "textarena", "experts", "blocks"],
    "rows": ["gsm8k", "math", "csqa", "anli", "strategyqa"],
    "texts": ["tldr", "arxiv"],
    "programs": ["humaneval", "coophumaneval", "mbpp", "faster_code", "colbench"],
}
FACTORS = {
    "algorithm": [
        name for name in registry.names("algorithm") if issubclass(registry.load("algorithm", name), Algorithm)
    ],
    "tasks": list(TASKS),
    "protocol": [name for name in registry.names("protocol") if name != "review"],  # which is a pipeline
    "team": list(TEAMS),
    # One of each kind: own and team's values, now and in the future, and of joint actions.
    "shaping": ["own_score", "team_mean", "last_round_team", "discounted_team", "outcome_credit", "team_score"],
}
CELLS = pairwise(FACTORS)
TURNS = {kind: itertools.cycle(tasks) for kind, tasks in TASKS.items()}
CASES = [(next(TURNS[cell["tasks"]]), cell) for cell in CELLS]
ROWS: dict[str, list[dict[str, Any]]] = {
    "gsm8k": [{"question": f"Ann has {n} pens and buys 2. How many?", "answer": f"#### {n + 2}"} for n in range(12)],
    "math": [{"problem": f"What is ${n}+1$?", "answer": str(n + 1)} for n in range(12)],
    "csqa": [
        {
            "id": str(n),
            "question": {"stem": f"Where is {n}?", "choices": [{"label": c, "text": f"{c}{n}"} for c in "AB"]},
            "answerKey": "A",
        }
        for n in range(12)
    ],
    "anli": [
        {"uid": str(n), "premise": f"It rains {n}.", "hypothesis": "It pours.", "label": n % 3} for n in range(12)
    ],
    "strategyqa": [{"question": f"Is {n} even?", "answer": n % 2 == 0} for n in range(12)],
    "tldr": [{"prompt": f"I have {n} cats.", "completion": f"{n} cats"} for n in range(12)],
    "arxiv": [{"abstract_text": f"We prove {n} theorems."} for n in range(12)],
    **{
        name: [
            {
                "task_id": f"{name}/{n}",
                "prompt": f'def plus_{n}(x):\n    """Add {n} to x."""\n',
                "entry_point": f"plus_{n}",
                "test": f"def check(candidate):\n    assert candidate(1) == {n + 1}\n    assert candidate(2) == {n + 2}\n",
            }
            for n in range(12)
        ]
        for name in ("humaneval", "coophumaneval", "mbpp")
    },
    "colbench": [
        {
            "problem_description": f"Write plus_{n}.",
            "ground_truth": f"def plus_{n}(x):\n    return x + {n}",
            "test_cases": {"test1": f"plus_{n}(1)"},
        }
        for n in range(12)
    ],
}


def readable(question: Question, response: str) -> float:
    """Readable text is paid, with so much noise that no two texts of a group earn the same by chance.

    In place of the tasks' own verifiers, which pay random text nothing and stay the ground truth here.
    """
    return readable_share(response) + 0.1 * (crc32(response.encode()) % 1009) / 1009


def all_readable(question: Question, responses: Mapping[str, str]) -> Score:
    return Score(sum(readable(question, text) for text in responses.values()) / len(responses), None)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A file of rows for every task that reads some."""
    folder = tmp_path_factory.mktemp("rows")
    for name, rows in ROWS.items():
        (folder / name).mkdir()
        (folder / name / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {name: str(folder / name / "train.jsonl") for name in ROWS}


class Seen(Callback):
    """The experience of a training."""

    def __init__(self) -> None:
        self.episodes: list[Episode] = []

    def on_experience(self, iteration: int, episodes: Sequence[Episode]) -> None:
        self.episodes.extend(episodes)


@pytest.mark.parametrize(
    "name, cell", CASES, ids=lambda given: given if isinstance(given, str) else "-".join(given.values())
)
def test_every_two_train_together(
    name: str, cell: dict[str, str], data: dict[str, str], checkpoint: Callable[..., Path]
) -> None:
    """Two iterations of learning: the adapters of those who spoke move, in every B matrix; everything else stays bit for bit."""
    task = registry.load("env", name)
    # A task that scores whole discussions alone has no truth of a message.
    truth = task.default_verifier or (lambda question, response: False)
    judges = {"verifier": readable, "ground_truth": truth, "shaping": cell["shaping"]}
    if cell["shaping"] == "team_score":
        judges["team_verifier"] = all_readable
    few = {"num_train": 12, "num_test": 2} if name in ("reasoning_gym", "textarena") else {}
    rows = {"data": data[name]} if name in data else few
    # A pipeline of programs has three roles of its own.
    three = cell["protocol"] == "discuss" or (cell["tasks"], cell["protocol"]) == ("programs", "pipeline")
    agents = 3 if three else 2
    env = task(num_agents=agents, num_rounds=2, protocol=cell["protocol"], **judges, **rows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # so few rows have no validation or test part
        env.questions("train")
    policy = Policy.from_pretrained(str(checkpoint(vocab_size=512)), lora=LoRA(r=2))  # words: fewer tokens
    policy.add_adapter("bystander", seed=3)
    team_map = TEAMS[cell["team"]]
    frozen = [env.possible_agents[1] if word == "SECOND" else word for word in team_map.get("frozen", ())]
    arguments = {**team_map, "frozen": frozen, "sampling": Sampling(max_new_tokens=6)}
    team = Team.build(policy, env.possible_agents, env.num_rounds, **arguments)
    before = {n: p.clone() for n, p in policy.model.named_parameters()}
    algorithm_class = registry.load("algorithm", cell["algorithm"])
    trees = {"rollouts": "tree" if algorithm_class is MARLOO else "linear"}
    group = {"group_size": 2, **trees} if issubclass(algorithm_class, MAGRPO) else {}
    algorithm = algorithm_class(team, learning_rate=1e-3, num_epochs=1, num_minibatches=1, **group)

    seen = Seen()
    metrics = list(learn(Collector.of(algorithm, env, 4), algorithm, num_iterations=2, callback=seen))

    spoken = {team.learner(*turn.seat) for e in seen.episodes for _, turn in e.said}
    learners = [learner.adapter for learner in spoken if learner is not None]
    # An aggregator and a judge do not speak in every round.
    assert learners and (cell["protocol"] in ("mixture_of_agents", "discuss") or set(learners) == set(team.learners))
    alike = (
        set()
    )  # a stage of a pipeline that nobody scores: its messages earn alike, and a group compares nothing else
    for adapter in learners:
        paid = {e.rewards[i] for e in seen.episodes for i, t in e.said if team.member(*t.seat).adapter == adapter}
        # In a tree the lessons of a last round earn what their siblings earn: nobody hears them.
        unheard = cell["protocol"] == "lessons" and "tree" in group.values() and adapter.endswith("_round_2")
        if group and (len(paid) == 1 or unheard):
            alike.add(adapter)
            continue
        b = [p for n, p in policy.model.named_parameters() if f".lora_B.{adapter}." in n]
        assert b and all(p.abs().max() > 0 for p in b)
        assert all(m[f"train/grad_norm/{adapter}"] > 0 for m in metrics)
    for n, p in policy.model.named_parameters():
        if n in before and not any(f".{adapter}." in n for adapter in learners):
            assert torch.equal(p, before[n]), n
    if alike != set(learners):
        assert all(m["train/first_ratio_error"] < 1e-4 and m["train/skipped_steps"] == 0 for m in metrics)
    assert all(m["rollout/overflow"] == 0 and m["rollout/reward_mean"] > 0 for m in metrics)
    assert all(turn.truth is None or turn.truth is not turn.score for e in seen.episodes for turn in e.transcript.turns)


def test_every_pair_of_values_has_a_cell() -> None:
    """Counted another way than the cells are made."""
    held = set().union(*(pairs(list(cell.items())) for cell in CELLS))
    sizes = [len(values) for values in FACTORS.values()]
    assert len(held) == (sum(sizes) ** 2 - sum(size**2 for size in sizes)) // 2
    assert all(cell[name] in values for cell in CELLS for name, values in FACTORS.items())
    assert len(CELLS) <= 1.35 * sorted(sizes)[-1] * sorted(sizes)[-2]
    assert pairwise({"a": "xy", "b": "xy", "c": "xy"}) and len(pairwise({"a": "xy", "b": "xy", "c": "xy"})) <= 5


def test_nothing_registered_is_left_out() -> None:
    assert {"ippo", "mappo", "magrpo"} <= set(FACTORS["algorithm"])
    assert {name for name, _ in CASES} == set(registry.names("env")) >= set(ROWS)
    assert set(FACTORS["shaping"]) <= set(registry.names("shaping"))
