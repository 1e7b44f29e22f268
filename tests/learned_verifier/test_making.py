"""From labelled answers to a judged verifier; controls, calibration, sampling, and the command."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run_toys import Stop

import maporl
from maporl.agents import ScriptedAgent, Team
from maporl.benchmarks.methods.naming import named
from maporl.cli import main
from maporl.envs import DiscussionEnv
from maporl.envs.tasks.two_witnesses import TwoWitnesses
from maporl.envs.verifiers import Verifier
from maporl.learned_verifier import making
from maporl.learned_verifier.answers import Balance, LabelledAnswer, by_question, read_answers, write_answers
from maporl.learned_verifier.evaluation import evaluate, figures, generator_rates, temperature_of
from maporl.learned_verifier.model import Card
from maporl.learned_verifier.sampling import WRONG, answers_of, lacking, sample_waves
from maporl.training.run_folder import RunFolder
from maporl.types import Observation, Question, Score

QUICK: dict[str, Any] = {"r": 4, "alpha": 8, "dropout": 0.0, "learning_rate": 3e-3, "epochs": 2, "batch_size": 16}


class Known(Verifier):
    """Says what a table says."""

    rule_based = uses_gold = False

    def __init__(self, table: dict[str, float], seen: frozenset[str] = frozenset()) -> None:
        self.table, self.seen = table, seen

    def __call__(self, question: Question, response: str) -> Score:
        return Score(self.table[response], None)

    def seen_questions(self) -> frozenset[str]:
        return self.seen


def labelled(number: int = 100) -> list[LabelledAnswer]:
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
    write_answers(tmp_path / "answers.jsonl", labelled())
    arguments = {"answers": str(tmp_path / "answers.jsonl"), "k": 2, "controls": True, **QUICK}
    settings = {"model": base, "algorithm": "learned_verifier", "trackers": (), "output_dir": str(folder)}
    run = maporl.train(**settings, algorithm_args=arguments)
    assert run.status == "complete" and not (folder / "adapters").exists(), "no team has learned"
    card = Card.load(folder)
    balance = Balance(**card.measured["balance"])
    assert (balance.questions, balance.answers) == (100, 400)
    assert str(balance).startswith("100 questions with 2 right and 2 wrong answers; 0 dropped")
    report = json.loads((folder / "evaluation.json").read_text())
    assert report["verifier"]["auroc"] == card.measured["auroc"] > 0.99
    controls = {name: figures["auroc"] for name, figures in report["controls"].items()}
    assert set(controls) == {"constant", "generator", "question only", "response only"}
    assert controls["question only"] == pytest.approx(0.5, abs=0.15)
    assert controls["response only"] == pytest.approx(1.0, abs=0.02), "here the words alone give it away"
    assert controls["generator"] == pytest.approx(0.75, abs=0.1)
    assert set(report["by_generator"]) == {"strong", "weak"} and set(report["by_round"]) == {"1", "2"}
    held_out, trained_on = (read_answers(folder / f"{n}.jsonl") for n in ("held_out", "trained_on"))
    assert not set(card.questions) & set(by_question(held_out)) and set(by_question(trained_on)) < set(card.questions)
    assert generator_rates(trained_on)["strong"] > generator_rates(trained_on)["weak"]
    assert "control: generator" in (folder / "evaluation.md").read_text()
    assert (folder / "reliability.png").stat().st_size > 5000 and b"<svg" in (folder / "reliability.svg").read_bytes()
    with pytest.raises(ValueError, match="holds a run already; choose another"):
        maporl.train(**settings, algorithm_args=arguments)
    (folder / "config.yaml").unlink()
    with pytest.raises(ValueError, match="choose a folder that is new or empty"):
        maporl.train(**settings, algorithm_args=arguments)


def witnesses(rate: float) -> Team:
    """Agents that see the digit and say it with a probability, or as they are told to err."""

    def speak(observation: Observation, rng: np.random.Generator) -> str:
        right = observation["private"].split()[-1].rstrip(".")
        wrong = str((int(right) + 1) % 10)
        return f"Answer: {wrong if WRONG in observation['instruction'] or rng.random() > rate else right}"

    agent = ScriptedAgent(speak)
    return Team({("agent_0", 0): agent, ("agent_1", 0): agent})


def sampled(env: DiscussionEnv, team: Team, questions: Sequence[Question], k: int, **how: Any) -> list[LabelledAnswer]:
    return [a for wave in sample_waves(env, team, questions, k, **how) for a in answers_of(wave, "toy")]


def test_sampling_until_there_are_enough_of_both() -> None:
    env = TwoWitnesses(verifier_share=0.3)
    questions, team = env.questions("verifier")[:6], witnesses(0.7)
    waves = list(sample_waves(env, team, questions, 6, wave=2, waves=20, seed=3))
    answers = [answers_of(wave, "toy") for wave in waves]
    before = [a for wave in answers[:-1] for a in wave]
    found = [*before, *answers[-1]]
    assert not any(lacking(found, questions, 6).values()) and any(lacking(before, questions, 6).values())
    for group in by_question(found).values():
        assert min(sum(a.correct is kind for a in group) for kind in (True, False)) >= 6
    assert 2 < len(waves) < 20, "it stops when there are enough"
    assert {a.round for a in found} == {0, 1} and {a.generator for a in found} == {"toy"}
    assert set(by_question(found)) == {q.hash for q in questions}
    assert sampled(env, team, questions, 6, wave=2, waves=20, seed=3) == found
    rest = sampled(env, team, questions, 6, before=waves[:2], wave=2, waves=20, seed=3)
    assert rest == [a for wave in answers[2:] for a in wave], "it goes on from any of its waves"


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
    assert not all(a.correct for a in sampled(lone, team, clear[:3], 2, waves=4))
    assert all(a.correct for a in sampled(lone, team, clear[:3], 2, waves=4, wrong=None))
    assert len(sampled(env, truthful, env.questions("verifier")[:2], 1)) > 0


SAMPLED: dict[str, Any] = {
    "env": "run_toys:Letters", "env_args": {"verifier_share": 0.3}, "algorithm": "learned_verifier",
    "algorithm_args": {"k": 9, "wave": 1, **QUICK, "epochs": 1}, "max_new_tokens": 6, "num_iterations": 5, "checkpoint_every": 1,
    "device": "cpu", "num_threads": 1, "trackers": (),
}  # fmt: skip


@pytest.fixture(scope="module")
def whole(base: str, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return maporl.train(**SAMPLED, model=base, output_dir=str(tmp_path_factory.mktemp("verifiers") / "whole"))


@pytest.mark.filterwarnings("ignore:the temperature is")
@pytest.mark.parametrize("dies", ["after a wave", "while it learns"])
def test_resumed_it_is_the_verifier_that_it_would_have_been(
    dies: str, whole: RunFolder, base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, learns = SAMPLED | {"model": base, "output_dir": str(tmp_path / "v")}, dies == "while it learns"
    with monkeypatch.context() as patched:
        if learns:
            patched.setattr(making.training, "fit", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError if learns else KeyboardInterrupt):
            maporl.train(**settings, callbacks=[] if learns else [Stop("iteration", 2)])
    assert not (tmp_path / "v" / "verifier.json").exists()
    again = maporl.train(resume=tmp_path / "v")
    for file in ("sampled.jsonl", "held_out.jsonl", "adapter_model.safetensors", "head.safetensors", "evaluation.json"):
        assert (again.path / file).read_bytes() == (whole.path / file).read_bytes(), file
    rows = [[{k: v for k, v in row.items() if "time" not in k} for row in run.metrics] for run in (again, whole)]
    assert (
        rows[0] == rows[1]
        and rows[0][-1]["verifier/questions_with_enough"] > rows[0][0]["verifier/questions_with_enough"]
    )


def test_a_benchmark_has_no_row_for_it() -> None:
    with pytest.raises(ValueError, match=r"it trains a verifier, not a team; run maporl verifier train\."):
        named("learned_verifier")


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
    again, first = capsys.readouterr().out, out[out.index("| held-out answers") :]
    assert again == first and "control: generator" in again
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
    sampled = [*words, "--env_args.verifier_share", "0.02", "--wave", "1", "--num_iterations", "1", "--k", "1"]
    assert main(sampled) == 2  # a random model says nothing right
    assert "has 1 right and 1 wrong answers; the most of both is 0. Lower k, or sample more" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "v"], "no model; name the verifier's base"),
        (["train", "v", "--model", "x", "--answers", "nowhere.jsonl"], "there is no such file"),
        (["train", "v", "--model", "x", "--k", "0"], "k is 0; it must be above 0"),
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
