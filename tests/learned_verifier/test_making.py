"""From labelled answers to a judged verifier; controls, calibration, sampling, and the command."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import numpy as np
import pytest

from maporl.agents import ScriptedAgent, Team
from maporl.cli import main
from maporl.envs.tasks.two_witnesses import TwoWitnesses
from maporl.envs.verifiers import Verifier
from maporl.learned_verifier.answers import LabelledAnswer, by_question, read_answers, write_answers
from maporl.learned_verifier.evaluation import evaluate, figures, generator_rates, temperature_of
from maporl.learned_verifier.making import make_verifier
from maporl.learned_verifier.model import Card
from maporl.learned_verifier.sampling import WRONG, sample_answers
from maporl.learned_verifier.training import Settings
from maporl.types import Observation, Question, Score

QUICK = Settings(r=4, alpha=8, dropout=0.0, learning_rate=3e-3, epochs=2, batch_size=16)


class Known(Verifier):
    """Says what a table says."""

    rule_based = uses_gold = False

    def __init__(self, table: dict[str, float], seen: frozenset[str] = frozenset()) -> None:
        self.table, self.seen = table, seen

    def __call__(self, question: Question, response: str) -> Score:
        return Score(self.table[response], None)

    def seen_questions(self) -> frozenset[str]:
        return self.seen


def labelled(number: int = 150) -> list[LabelledAnswer]:
    """Right answers begin with "good"; generator "strong" is right three times out of four, "weak" once."""
    draw = random.Random(0)
    found = []
    for n in range(number):
        for generator, rate in (("strong", 0.75), ("weak", 0.25)):
            for i in range(4):
                right = i < 4 * rate
                text = f"{'good' if right else 'bad'} {draw.choice('xyz')}"
                found.append(LabelledAnswer(Question(f"Which {n}?", "1"), text, right, generator, round=i % 2))
    return found


def test_figures_by_hand() -> None:
    asked = [Question(str(n), "") for n in range(2)]
    rows = [LabelledAnswer(asked[n // 2], text, text in "ab") for n, text in enumerate("abcd")]
    report = evaluate(Known({"a": 0.9, "b": 0.4, "c": 0.6, "d": 0.1}), rows, learned_from=rows)
    found = report.verifier
    # Right: .9, .4; wrong: .6, .1. Pairs in order: (.9 > .6), (.9 > .1), (.4 > .1): 3 of 4.
    assert (found.auroc, found.accuracy, found.answers, found.questions) == (0.75, 0.5, 4, 2)
    assert found.brier == pytest.approx((0.01 + 0.36 + 0.36 + 0.01) / 4)
    assert found.ece == pytest.approx((0.1 + 0.6 + 0.6 + 0.1) / 4)
    assert report.controls["constant"].auroc == 0.5 and "generator" not in report.controls
    alone = figures([0.2, 0.8], [rows[0], rows[1]])
    assert alone.auroc is None and alone.low is None, "all of them are right"


def test_what_it_has_seen_is_refused() -> None:
    rows = [LabelledAnswer(Question("q", ""), "a", True), LabelledAnswer(Question("p", ""), "a", False)]
    with pytest.raises(ValueError, match="fitted to 1 of these 2 questions"):
        evaluate(Known({"a": 0.5}, frozenset({rows[0].question.hash})), rows)
    with pytest.raises(ValueError, match="no answers"):
        evaluate(Known({}), [])


def test_temperature_undoes_overconfidence() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(size=20_000)
    labels = rng.random(20_000) < 1 / (1 + np.exp(-true))
    assert temperature_of(1 / (1 + np.exp(-3 * true)), labels) == pytest.approx(3, rel=0.05)
    assert temperature_of(1 / (1 + np.exp(-true)), labels) == pytest.approx(1, rel=0.05)


def test_the_whole_way(base: str, tmp_path: Path) -> None:
    folder = tmp_path / "v"
    said: list[str] = []
    balance, report = make_verifier(labelled(), base, folder, k=2, controls=True, settings=QUICK, say=said.append)
    assert (balance.questions, balance.answers) == (150, 600) and "150 questions with 2 right and 2 wrong" in said[0]
    assert report.verifier.auroc is not None and report.verifier.auroc > 0.99
    assert set(report.controls) == {"constant", "generator", "question only", "response only"}
    assert report.controls["question only"].auroc == pytest.approx(0.5, abs=0.15)
    assert report.controls["response only"].auroc == pytest.approx(1.0, abs=0.02), "here the words alone give it away"
    assert report.controls["generator"].auroc == pytest.approx(0.75, abs=0.1)
    assert set(report.by_generator) == {"strong", "weak"} and set(report.by_round) == {"1", "2"}
    card = Card.load(folder)
    held_out, trained_on = (read_answers(folder / f"{n}.jsonl") for n in ("held_out", "trained_on"))
    assert not set(card.questions) & set(by_question(held_out)) and set(by_question(trained_on)) < set(card.questions)
    assert generator_rates(trained_on)["strong"] > generator_rates(trained_on)["weak"]
    stored = json.loads((folder / "evaluation.json").read_text())
    assert stored["verifier"]["auroc"] == report.verifier.auroc and card.measured["auroc"] == report.verifier.auroc
    assert "control: generator" in (folder / "evaluation.md").read_text()
    assert (folder / "reliability.png").stat().st_size > 5000 and b"<svg" in (folder / "reliability.svg").read_bytes()
    with pytest.raises(ValueError, match="holds a verifier already"):
        make_verifier(labelled(), base, folder, k=2, settings=QUICK)


def witnesses(rate: float) -> Team:
    """Agents that see the digit and say it with a probability, or as they are told to err."""

    def speak(observation: Observation, rng: np.random.Generator) -> str:
        right = observation["private"].split()[-1].rstrip(".")
        wrong = str((int(right) + 1) % 10)
        return f"Answer: {wrong if WRONG in observation['instruction'] or rng.random() > rate else right}"

    agent = ScriptedAgent(speak)
    return Team({("agent_0", 0): agent, ("agent_1", 0): agent})


def test_sampling_until_there_are_enough_of_both() -> None:
    env = TwoWitnesses(verifier_share=0.3)
    questions = env.questions("verifier")[:6]
    told: list[tuple[int, int]] = []
    found = sample_answers(
        env, witnesses(0.7), questions, 6, wave=2, waves=20, seed=3, generator="toy", progress=lambda *n: told.append(n)
    )
    for group in by_question(found).values():
        assert min(sum(a.correct is kind for a in group) for kind in (True, False)) >= 6
    assert told[0] == (0, 6) and told[-1] == (6, 6) and len(told) < 20, "it stops when there are enough"
    assert {a.round for a in found} == {0, 1} and {a.generator for a in found} == {"toy"}
    assert set(by_question(found)) == {q.hash for q in questions}
    again = sample_answers(env, witnesses(0.7), questions, 6, wave=2, waves=20, seed=3, generator="toy")
    assert again == found


def test_where_wrong_answers_are_short_they_are_asked_for() -> None:
    env = TwoWitnesses(verifier_share=0.3)
    truthful = witnesses(1.0)
    # The agent with the foggy view is always wrong, so ask a lone one with the clear view of what a team knows.
    lone = TwoWitnesses(1, view="all", verifier_share=0.3)
    clear = [
        q for q in lone.questions("verifier") if "Clear view: " + q.answer in q.private["agent_0"].split("Foggy")[0]
    ]

    def speak(observation: Observation, rng: np.random.Generator) -> str:
        right = observation["private"].split("Clear view: ")[1][0]
        return f"Answer: {(int(right) + 1) % 10 if WRONG in observation['instruction'] else right}"

    team = Team({("agent_0", 0): ScriptedAgent(speak)})
    assert not all(a.correct for a in sample_answers(lone, team, clear[:3], 2, waves=4))
    assert all(a.correct for a in sample_answers(lone, team, clear[:3], 2, waves=4, wrong=None))
    assert len(sample_answers(env, truthful, env.questions("verifier")[:2], 1)) > 0


def test_the_command(base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_answers(tmp_path / "answers.jsonl", labelled(60))
    folder = str(tmp_path / "v")
    training = ["--r", "4", "--dropout", "0", "--learning_rate", "3e-3", "--batch_size", "16", "--epochs", "3"]
    assert (
        main(["verifier", "train", folder, "--model", base, "--answers", str(tmp_path / "answers.jsonl"), *training])
        == 0
    )
    out = capsys.readouterr().out
    assert "60 questions with 1 right and 1 wrong answers" in out and "control: generator" in out and "AUROC" in out
    assert main(["verifier", "evaluate", folder]) == 0
    again, whole = capsys.readouterr().out, out[out.index("held-out answers") :]
    assert again == whole and "control: generator" in again
    fresh = [
        LabelledAnswer(Question(f"New {n}?", "1"), f"{w} x", w == "good") for n in range(9) for w in ("good", "bad")
    ]
    write_answers(tmp_path / "fresh.jsonl", fresh)
    assert main(["verifier", "evaluate", folder, "--answers", str(tmp_path / "fresh.jsonl")]) == 0
    assert main(["verifier", "evaluate", folder, "--answers", str(tmp_path / "answers.jsonl")]) == 2
    assert "was fitted to" in capsys.readouterr().err


def test_the_command_samples_a_task(base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "verifier",
        "train",
        str(tmp_path / "v"),
        "--model",
        base,
        "--env",
        "two_witnesses",
        "--max_new_tokens",
        "4",
    ]
    assert main(words) == 2
    assert "keeps no questions for a verifier; set verifier_share" in capsys.readouterr().err
    sampled = [*words, "--env_args.verifier_share", "0.02", "--wave", "1", "--waves", "1", "--k", "1"]
    assert main(sampled) == 2  # a random model says nothing right
    assert "has 1 right and 1 wrong answers; the most of both is 0. Lower k, or sample more" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "v"], "no model; name the verifier's base"),
        (["train", "v", "--model", "x", "--answers", "nowhere.jsonl"], "there is no such file"),
        (["train", "v", "--model", "x", "--k", "0"], "'0' is no whole number of at least 1"),
        (["evaluate", "nowhere"], "no verifier.json there"),
        (["guess", "v"], "invalid choice: 'guess'"),
    ],
)
def test_mistakes_are_one_line(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["verifier", *words]) == 2
    told = capsys.readouterr().err
    assert message in told and told.count("\n") == 1


def test_logits_far_out_do_not_break_the_temperature() -> None:
    assert math.isfinite(temperature_of([0.0, 1.0, 1.0, 0.0], [False, True, True, False]))
