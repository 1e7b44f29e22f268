"""Whole trainings give what they gave when they were recorded in ``golden/``: texts, rewards, metrics, weights.

Each cell of `CELLS` is three iterations of the shipped warm start by `maporl.train`. Compared is what its run folder holds, so that a
change of anything inside that should change no result can be held against it. What a folder holds beyond what was recorded is ignored:
further fields and metrics, and turns of another kind than "said".

Texts and counts of tokens must be equal, rewards to 1e-9, metrics and weights to 1e-5. The last bits of a matrix product depend on the
processor, and now and then another token is drawn for it; on the machine that recorded, results are equal to the bit. Two variables:

- ``MAPORL_GOLDEN_STRICT=1``: every trained tensor must have the recorded hash (on the machine that recorded).
- ``MAPORL_GOLDEN_RECORD=1``: write ``golden/`` anew instead of comparing, after a change that is meant to change results.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import maporl
from maporl.types import Question, Score

GOLDEN = Path(__file__).parent / "golden"
STRICT, RECORD = (os.environ.get(f"MAPORL_GOLDEN_{word}", "0") == "1" for word in ("STRICT", "RECORD"))
CLEAR = 1
"""Discussions of each file whose texts are recorded in full, to show what differs; of the others there is a hash."""

COMMON: dict[str, Any] = {
    "model": "embedded",
    "num_iterations": 3,
    "episodes_per_iteration": 8,
    "eval_every": 3,
    "num_eval_questions": 8,
    "max_new_tokens": 12,
    "learning_rate": 2e-3,
    "num_threads": 1,
    "device": "cpu",
    "trackers": (),
    "preflight": "off",
    "seed": 3,
}
GROUPS = {"group_size": 4}
ONE_EPOCH = {"num_epochs": 1}


def near(question: Question, response: str) -> Score:
    """A verifier that pays for nearness to each digit of the gold answer: the warm start says one digit, whatever the task."""
    said = "".join(filter(str.isdigit, response))
    if not said:
        return Score(0.0, False, None, "no_answer")
    gaps = [abs(int(digit) - int(said[0])) for digit in question.answer if digit.isdigit()]
    return Score(1 - sum(gaps) / len(gaps) / 10, said == question.answer, said)


NEAR = {"verifier": "test_golden_runs:near"}


class Distinct:
    """A team verifier: the share of distinct messages, least where all say the same."""

    uses_gold = False
    rule_based = True

    def __call__(self, question: Question, responses: Mapping[str, str]) -> Score:
        return Score(len(set(responses.values())) / len(responses), None)


def cell(env: str, algorithm: str, env_args: dict[str, Any] | None = None, **settings: Any) -> dict[str, Any]:
    if algorithm.startswith("mar") or algorithm == "magrpo":
        settings["algorithm_args"] = GROUPS | settings.get("algorithm_args", {})
    return COMMON | {"env": env, "algorithm": algorithm, "env_args": env_args or {}, **settings}


CELLS: dict[str, dict[str, Any]] = {
    # Twice with the tries before a run, which must leave no trace.
    "ippo_debate": cell("two_witnesses", "ippo", preflight="stop"),
    "mappo_shared_discounted_team": cell("two_witnesses", "mappo", {"shaping": "discounted_team"}, team="shared"),
    "magrpo_seats": cell("two_witnesses", "magrpo", team="per_agent_round", preflight="stop"),
    "mareinforce_vault": cell("vault", "mareinforce", {"shaping": "own_score", **NEAR}),
    "marloo_round_robin": cell("arithmetic", "marloo", {"protocol": "round_robin", **NEAR}, team="shared"),
    "maremax_last_round": cell("vault", "maremax", {"history": "last_round", **NEAR}, num_rounds=3),
    "ippo_pipeline": cell("arithmetic", "ippo", {"protocol": "pipeline", **NEAR}, algorithm_args=ONE_EPOCH),
    "mappo_mixture": cell(
        "arithmetic", "mappo", {"protocol": "mixture_of_agents", **NEAR}, num_agents=3, algorithm_args=ONE_EPOCH
    ),
    "magrpo_reconcile": cell("arithmetic", "magrpo", {"protocol": "reconcile", **NEAR}, num_rounds=3, temperature=1.5),
    "mappo_ring": cell(
        "arithmetic",
        "mappo",
        {"protocol": {"name": "debate", "topology": "ring"}, **NEAR},
        num_agents=4,
        algorithm_args=ONE_EPOCH,
    ),
    "ippo_star_shown_scores": cell(
        "two_witnesses",
        "ippo",
        {"protocol": {"name": "debate", "topology": "star", "show_scores": True}},
        num_agents=3,
        team="shared",
        allow_oracle=True,
        algorithm_args=ONE_EPOCH,
    ),
    "mappo_frozen_agent": cell("vault", "mappo", NEAR, frozen=("agent_1",)),
    "mappo_curriculum_consensus": cell(
        "two_witnesses",
        "mappo",
        {"protocol": {"name": "debate", "stop": "consensus"}},
        num_rounds=3,
        team="per_agent_round",
        curriculum="last_round_first",
        curriculum_updates=1,
    ),
    "magrpo_curriculum_consensus": cell(
        "two_witnesses",
        "magrpo",
        {"protocol": {"name": "debate", "stop": "consensus"}, "shaping": "own_score"},
        curriculum="last_round_first",
        curriculum_updates=2,
    ),
    "magrpo_cross": cell("vault", "magrpo", NEAR, num_rounds=1, algorithm_args={"joint": "cross"}),
    "mappo_team_verifier": cell(
        "two_witnesses", "mappo", {"team_verifier": "test_golden_runs:Distinct", "shaping": ["own_score", "team_score"]}
    ),
    "mappo_critics": cell(
        "two_witnesses",
        "mappo",
        {"shaping": "outcome_credit"},
        algorithm_args={"critics": "per_agent", "credit": "turn", "normalise_advantages": "batch"},
    ),
    "ippo_noisy_partner": cell(
        "two_witnesses",
        "ippo",
        {"verifier": {"name": "noisy", "flip_rate": 0.2}},
        partners={"agent_1": "run_toys:Parrot"},
        eval_temperature=0.7,
        team_answer="majority",
    ),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CELLS)
def test_a_training_gives_what_was_recorded(name: str, tmp_path: Path) -> None:
    folder = maporl.train(**CELLS[name], output_dir=str(tmp_path / name)).path
    found = recorded(folder)
    file = GOLDEN / f"{name}.json"
    if RECORD:
        assert any(square > 0 for tensor, (_, _, square) in found["weights"].items() if "lora_B" in tensor), (
            "it learned"
        )
        file.write_text(json.dumps(found, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    golden = json.loads(file.read_text(encoding="utf-8"))
    first = next(differences(golden, found), None)
    assert first is None, f"{name}: {first}"


# What is recorded.


def recorded(folder: Path) -> dict[str, Any]:
    """Everything of a run folder that is compared: discussions and figures in the order in which they came about, and weights."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    rows = [{k: v for k, v in line.items() if not k.startswith("time/")} for line in lines]
    return {
        "discussions": {
            f"{file.parent.name}/{file.stem}": discussions(file)
            for kind in ("discussions", "evaluations")
            for file in sorted((folder / kind).glob("*.jsonl"))
        },
        "metrics": columns([row for row in rows if "evaluation" not in row]),
        "evaluations": {
            row["evaluation"]: {k: v for k, v in row.items() if k != "evaluation"}
            for row in rows
            if "evaluation" in row
        },
        "weights": dict(weights(folder / "adapters")),
    }


def discussions(file: Path) -> dict[str, list[Any]]:
    """Of each discussion of a file: hash of what was said by whom and when, and one list of each number of its messages."""
    records = [json.loads(line) for line in file.read_text(encoding="utf-8", errors="surrogatepass").splitlines()]
    turns = [[t for t in r["turns"] if t.get("kind", "said") == "said"] for r in records]
    said = [[(t["agent"], t["round"], t["text"]) for t in ts] for ts in turns]
    return {
        "clear": [[f"{agent}/{r + 1}: {text}" for agent, r, text in s] for s in said[:CLEAR]],
        "hashes": [fingerprint([r["question"], s]) for r, s in zip(records, said, strict=True)],
        "answers": [r["team_answer"] for r in records],
        "correct": [r["team_correct"] for r in records],
        **{key: [[t[key] for t in ts] for ts in turns] for key in ("prompt_tokens", "completion_tokens", "reward")},
        "advantage": [[rounded(t["advantage"]) for t in ts] for ts in turns],
    }


def fingerprint(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:12]


def columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Metric -> its values by iteration, None where an iteration has none."""
    keys = dict.fromkeys(key for row in rows for key in row)
    return {key: [rounded(row.get(key)) for row in rows] for key in keys}


def rounded(number: float | None) -> float | None:
    return None if number is None else float(f"{number:.8g}")


def weights(adapters: Path) -> Iterator[tuple[str, tuple[str, float, float]]]:
    """Adapter/tensor, its hash, and the sums in float64 of its numbers and of their squares."""
    for file in sorted(adapters.glob("*/adapter_model.safetensors")):
        for name, tensor in sorted(load_file(file).items()):
            values = tensor.astype(np.float64)
            digest = hashlib.sha256(np.ascontiguousarray(tensor).tobytes()).hexdigest()[:16]
            short = name.removeprefix("base_model.model.model.").removesuffix(".weight")
            yield f"{file.parent.name}/{short}", (digest, rounded(values.sum()), rounded((values**2).sum()))


# How it is compared.


def differences(golden: dict[str, Any], found: dict[str, Any]) -> Iterator[str]:
    """What differs from the record, in the order in which a run comes to it, so that the first one is nearest to the cause."""
    last = len(golden["metrics"]["iteration"])
    for iteration in range(last + 1):
        training, evaluation = f"discussions/iteration_{iteration:04d}", f"iteration_{iteration:04d}"
        yield from in_discussions(golden, found, training)
        for key, values in golden["metrics"].items() if iteration else ():
            yield from in_number(f"iteration {iteration}, {key}", values, found["metrics"].get(key), iteration - 1)
        if iteration == last:
            yield from in_weights(golden["weights"], found["weights"])
        for name in (evaluation, "test") if iteration == last else (evaluation,):
            yield from in_discussions(golden, found, f"evaluations/{name}")
            for key, value in golden["evaluations"].get(name, {}).items():
                now = found["evaluations"].get(name, {}).get(key)
                yield from in_number(f"evaluation {name}, {key}", [value], [now], 0)


def in_discussions(golden: dict[str, Any], found: dict[str, Any], name: str) -> Iterator[str]:
    """Of one file: a message in full if it is among those, else the discussion and the numbers that differ."""
    if name not in golden["discussions"]:
        return
    before, now = golden["discussions"][name], found["discussions"].get(name)
    if now is None:
        yield f"{name}.jsonl is not there"
        return
    for index, (said, says) in enumerate(zip(before["clear"], now["clear"], strict=False)):
        for turn, (old, new) in enumerate(zip(said + [None] * len(says), says + [None] * len(said), strict=False)):
            if old != new:
                yield f"{name}, discussion {index + 1}, message {turn + 1}: {new!r} instead of {old!r}"
    for key, values in before.items():
        if len(values) != len(now[key]):
            yield f"{name}: {len(now[key])} discussions instead of {len(values)}"
        tolerance = {"reward": 1e-9, "advantage": 1e-5}.get(key, 0.0)
        for index, (old, new) in enumerate(zip(values, now[key], strict=False)):
            if not same(old, new, tolerance):
                yield f"{name}, discussion {index + 1}, {key}: {new!r} instead of {old!r}"


def in_number(what: str, before: list[Any], now: list[Any] | None, index: int) -> Iterator[str]:
    new = now[index] if now is not None and index < len(now) else None
    if not same(before[index], new, 1e-5):
        yield f"{what}: {new!r} instead of {before[index]!r}"


def in_weights(golden: dict[str, Any], found: dict[str, Any]) -> Iterator[str]:
    """Of tensors; the sum of numbers of both signs is held against what it could be, sqrt(their squares' sum)."""
    if golden.keys() != found.keys():
        yield f"trained tensors, there or not there: {sorted(golden.keys() ^ found.keys())}"
    for name in golden.keys() & found.keys():
        (hashed, total, squares), (digest, now, now_squares) = golden[name], found[name]
        size = math.sqrt(squares)
        if abs(total - now) > 1e-5 * size + 1e-9 or not math.isclose(squares, now_squares, rel_tol=1e-5):
            yield f"weights {name}: sum {now}, of squares {now_squares}, instead of {total}, {squares}"
        elif STRICT and hashed != digest:
            yield f"weights {name}: equal to 1e-5, but not to the bit"


def same(old: Any, new: Any, tolerance: float) -> bool:
    """Equal, lists number by number; numbers up to the tolerance, relative, or absolute below 1e-1."""
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(same(a, b, tolerance) for a, b in zip(old, new, strict=True))
    if isinstance(old, float) and isinstance(new, int | float):
        return math.isclose(old, new, rel_tol=tolerance, abs_tol=tolerance / 10) or (
            math.isnan(old) and math.isnan(new)
        )
    return bool(old == new)
