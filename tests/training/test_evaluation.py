"""Evaluation: what is counted, in which order, and what may not choose the answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from maporl.agents import ScriptedAgent, Team
from maporl.envs.tasks.two_witnesses import TwoWitnesses
from maporl.training.evaluation import TEAM_ANSWERS, evaluate, subset
from maporl.types import Observation


def team(num_agents: int = 2, confidence: str = "") -> Team:
    """Witnesses who say what they see, and how sure they are of it."""

    def speak(observation: Observation, rng: object) -> str:
        sure = "90" if observation["private"].startswith("Clear") else "10"
        return f"Answer: {observation['private'][-2]}" + (f" Confidence: {sure}%" if confidence else "")

    return Team({(f"agent_{i}", 0): ScriptedAgent(speak) for i in range(num_agents)})


def test_a_tie_of_a_right_and_a_wrong_answer_is_one_half() -> None:
    env = TwoWitnesses(2, 1)
    evaluation = evaluate(env, team(), subset(env.questions("test"), 20))
    assert evaluation.metrics["eval/accuracy"] == 0.5
    assert evaluation.metrics["eval/tied"] == 1.0
    assert evaluation.metrics["eval/accuracy_round_1"] == 0.5
    assert evaluation.metrics["eval/parse_rate"] == 1.0
    assert evaluation.metrics["eval/overflow"] == 0.0
    assert [r["team_correct"] for r in evaluation.records] == [0.5] * 20


def test_stated_confidence_breaks_the_tie() -> None:
    env = TwoWitnesses(2, 1)
    questions = subset(env.questions("test"), 20)
    assert evaluate(env, team(confidence="stated"), questions, team_answer="confidence").metrics["eval/accuracy"] == 1.0


def test_a_verifier_that_knows_the_gold_answer_may_not_choose() -> None:
    """Decision 2: refused, or labelled oracle."""
    env = TwoWitnesses(2, 1)
    questions = subset(env.questions("test"), 20)
    with pytest.raises(ValueError, match="--allow_oracle"):
        evaluate(env, team(), questions, team_answer="verifier")
    allowed = evaluate(env, team(), questions, team_answer="verifier", allow_oracle=True)
    assert allowed.metrics["eval/oracle_accuracy"] == 1.0
    assert "eval/accuracy" not in allowed.metrics
    assert all(r["oracle"] for r in allowed.records)


@pytest.mark.parametrize(
    "protocol",
    [
        {"name": "debate", "show_scores": True},
        {"name": "debate", "stop": {"name": "consensus", "score": 0.5}},
    ],
)
def test_nor_take_part_in_the_discussion(protocol: dict) -> None:
    """However the answer is chosen then; with a verifier that does not know the gold answer it is a figure like any other."""
    env = TwoWitnesses(2, 2, protocol=protocol)
    questions = subset(env.questions("test"), 4)
    with pytest.raises(ValueError, match="reads the scores of a verifier that knows the gold answer.*--allow_oracle"):
        evaluate(env, team(), questions)
    for word in TEAM_ANSWERS:
        allowed = evaluate(env, team(), questions, team_answer=word, allow_oracle=True)
        assert "eval/oracle_accuracy" in allowed.metrics and all(r["oracle"] for r in allowed.records)
    honest = TwoWitnesses(2, 2, protocol=protocol, verifier={"name": "maporl.envs.verifiers:Function", **LENGTH})
    assert "eval/accuracy" in evaluate(honest, team(), questions).metrics


def length(question: object, response: str) -> float:
    """A verifier that knows nothing: a judge that likes long answers."""
    return min(len(response) / 100, 1.0)


LENGTH = {"function": length, "uses_gold": False, "rule_based": False}


def test_bad_input() -> None:
    env = TwoWitnesses(2, 1)
    with pytest.raises(ValueError, match="num_eval_questions"):
        evaluate(env, team(), [])
    with pytest.raises(ValueError, match=r"team_answer 'loudest' is unknown; use one of \['protocol'"):
        evaluate(env, team(), env.questions("test")[:1], team_answer="loudest")
    assert set(TEAM_ANSWERS) == {"protocol", "majority", "last_speaker", "confidence", "verifier", "best_of_history"}


def test_the_subset_is_mixed_and_the_whole_set_is_everything() -> None:
    questions = TwoWitnesses(2, 1).questions("test")
    chosen = subset(questions, 24)
    assert chosen == subset(tuple(reversed(questions)), 24), "the same ones whatever the order of the file"
    assert len({q.metadata["item"] for q in chosen}) >= 6, "not the first ones of an enumeration"
    assert sorted(q.id for q in subset(questions, 10**6)) == sorted(q.id for q in questions)


def test_records_survive_any_text(tmp_path: Path) -> None:
    odd = Team({("agent_0", 0): ScriptedAgent(lambda o, rng: "\ud800 ünï\u2028\n")})
    env = TwoWitnesses(1, 1)
    evaluation = evaluate(env, odd, env.questions("test")[:2])
    evaluation.save(tmp_path / "deep" / "records.jsonl")
    assert len((tmp_path / "deep" / "records.jsonl").read_bytes().splitlines()) == 2
