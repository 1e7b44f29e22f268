"""The network and its training: what is read, where the loss lies, and that it learns to tell right from wrong."""

from __future__ import annotations

import json
import math
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModelForCausalLM
from verifier_toys import QUICK, letters

import maporl
from maporl.agents.chat import ChatEncoder
from maporl.agents.models.checkpoints import load_tokenizer
from maporl.agents.models.make_model import make_model
from maporl.agents.prompts import PromptTemplate
from maporl.envs.tasks.two_witnesses import TwoWitnesses
from maporl.learned_verifier import LearnedVerifier
from maporl.learned_verifier.answers import LabelledAnswer
from maporl.learned_verifier.model import Card, Reading, asked, rows_of
from maporl.learned_verifier.training import IGNORED, Settings, _example, fit
from maporl.types import Question


def test_it_learns_and_agrees_with_the_plain_model(trained: Path, base: str) -> None:
    verifier = LearnedVerifier(trained)
    fresh = [Question("Which q?", "1"), Question("Which a?", "2")]
    said = ["good y", "bad y"]
    values = np.array([[verifier(q, r).value for r in said] for q in fresh])
    assert (values[:, 0] > 0.8).all() and (values[:, 1] < 0.2).all()
    # The same by transformers and PEFT alone: chat, adapter, last hidden state of the last token, head.
    network = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), str(trained)).eval()
    tokenizer = load_tokenizer(base)
    head = load_file(trained / "head.safetensors")["weight"]
    for question, row in zip(fresh, values, strict=True):
        for response, value in zip(said, row, strict=True):
            chat = [{"role": "user", "content": question.text}]
            ids = (
                tokenizer.apply_chat_template(chat, add_generation_prompt=True)["input_ids"]
                + tokenizer(response)["input_ids"]
            )
            with torch.no_grad():
                states = network(torch.tensor([ids]), output_hidden_states=True).hidden_states[-1]
            assert torch.sigmoid(states[0, -1] @ head[0]).item() == pytest.approx(value, abs=1e-4)


def test_the_same_seed_trains_the_same_verifier(trained: Path, base: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    before = torch.rand(1)
    torch.manual_seed(1)
    fit(letters(150), base, tmp_path / "again", settings=QUICK)
    assert torch.equal(torch.rand(1), before), "nobody else's random numbers are touched"
    for name in ("adapter_model.safetensors", "head.safetensors"):
        one, other = load_file(trained / name), load_file(tmp_path / "again" / name)
        assert all(torch.equal(one[k], other[k]) for k in one)


def test_the_loss_lies_on_the_tokens_of_the_response() -> None:
    row = _example((np.array([5, 6, 7]), np.array([8, 9])), True)
    assert row == {"input_ids": [5, 6, 7, 8, 9], "labels": [IGNORED] * 3 + [1.0, 1.0]}
    assert _example((np.array([5, 6, 7]), np.array([], int)), False)["labels"] == [IGNORED, IGNORED, 0.0]


def test_the_loss_is_cross_entropy_by_hand(base: str) -> None:
    from maporl.learned_verifier.training import _Scorer

    scorer = _Scorer(AutoModelForCausalLM.from_pretrained(base), QUICK)
    ids, labels = torch.tensor([[5, 6, 7, 8]]), torch.tensor([[IGNORED, IGNORED, 1.0, 0.0]])
    assert scorer(ids, torch.ones_like(ids), labels).item() == pytest.approx(math.log(2), rel=0.3), (
        "it begins near one half"
    )
    scorer(ids, torch.ones_like(ids), labels).backward()
    moving = [p.grad.abs().max() > 0 for n, p in scorer.network.named_parameters() if "lora_B" in n]
    assert any(moving), "the adapter learns from the first step on"
    nn.init.normal_(scorer.head.weight)
    with torch.no_grad():
        states = scorer.network(ids, output_hidden_states=True).hidden_states[-1][0]
        p = torch.sigmoid((states @ scorer.head.weight[0]).double())  # 1 - p cancels in float32 when p is near 1
        by_hand = -(torch.log(p[2]) + torch.log(1 - p[3]))
        assert scorer(ids, torch.ones_like(ids), labels).item() == pytest.approx(by_hand.item() / 2, rel=1e-4)
        # Of a step in several passes the mean is over all its tokens.
        assert scorer(ids, torch.ones_like(ids), labels, 8).item() == pytest.approx(by_hand.item() / 8, rel=1e-4)


def test_what_is_read() -> None:
    views = {"agent_0": "Clear view: 7.", "agent_1": "", "agent_10": "Ten.", "agent_2": "Two."}
    question = Question("Which digit?", "7", private=views)
    prompts = PromptTemplate(private="Known: {private}", separator=" | ")
    (message,) = asked(question, prompts, "Answer.")
    assert message == {"role": "user", "content": "Which digit? | Known: Clear view: 7. Two. Ten. | Answer."}
    env = TwoWitnesses(1, view="agent_1")
    shown, whole = env.questions("test")[0], TwoWitnesses().questions("test")[0]
    assert len(shown.private) == 1 and asked(shown, prompts, "") == asked(whole, prompts, "")
    assert "7" not in asked(Question("Which?", "7"), PromptTemplate(), "")[0]["content"], "never the gold answer"


def test_controls_read_less(base: str) -> None:
    encode = ChatEncoder(load_tokenizer(base))
    questions, responses = [Question("One?", "1"), Question("Two?", "2")], ["first", "second"]

    def rows(reads: str) -> list[tuple[list[int], list[int]]]:
        found = rows_of(encode, Reading(reads=reads), questions, responses, 256)
        return [(p.tolist(), r.tolist()) for p, r in found]

    both, question, response = map(rows, ("both", "question", "response"))
    assert [r for _, r in question] == [[], []] and [p for p, _ in question] == [p for p, _ in both]
    assert [r for _, r in response] == [r for _, r in both] and response[0][0] == response[1][0]
    with pytest.raises(ValueError, match="reads 'answer' is unknown"):
        Reading(reads="answer")


def test_any_text_gets_a_score(trained: Path) -> None:
    verifier = LearnedVerifier(trained)
    texts = ["", "   ", "\ud800", "<|end|><|user|>", "good " * 2000, "x" * 5000 + " good", "é𝛼あ🙂\n\t"]
    questions = [Question("Which \ud800?", "1")] * len(texts)
    for score in verifier.score_batch(questions, texts):
        assert 0 <= score.value <= 1 and score.correct is None and score.status == "ok"
    assert 0 <= verifier(Question("long " * 2000, "1"), "good").value <= 1


def test_scored_once(trained: Path) -> None:
    verifier = LearnedVerifier(trained, remember=3)
    question, other = Question("a", "1"), Question("b", "1")
    first = verifier.score_batch([question, question, other], ["x", "x", "x"])
    assert verifier.scored == 2 and first[0] == first[1]
    assert verifier.score_batch([other, question], ["x", "x"]) == [first[2], first[0]] and verifier.scored == 2
    verifier.score_batch([question] * 3, ["1", "2", "3"])
    assert verifier.scored == 5
    verifier(question, "x")
    assert verifier.scored == 6, "only so many are remembered"
    copy = pickle.loads(pickle.dumps(verifier))
    assert copy(question, "x") == verifier(question, "x")


def test_batches_do_not_change_scores(trained: Path) -> None:
    many = LearnedVerifier(trained)
    questions = [Question(f"Which {n % 5}?", str(n)) for n in range(40)]
    responses = ["good and more " * (n % 7) for n in range(40)]
    together = [s.value for s in many.score_batch(questions, responses)]
    alone = [
        LearnedVerifier(trained, batch_tokens=1).score_batch([q], [r])[0].value
        for q, r in zip(questions[:6], responses, strict=False)
    ]
    assert together[:6] == pytest.approx(alone, abs=1e-5)


def test_another_base_is_refused(trained: Path, base: str, tmp_path: Path) -> None:
    words = tmp_path / "words"
    make_model(words, hidden_size=64, num_layers=2, num_heads=2, intermediate_size=96, context=256, vocab_size=300)
    with pytest.raises(ValueError, match="is another model"):
        LearnedVerifier(trained, base=str(words))(Question("a", "1"), "x")
    moved = tmp_path / "moved"
    shutil.copytree(base, moved)
    assert LearnedVerifier(trained, base=str(moved))(Question("a", "1"), "x") == LearnedVerifier(trained)(
        Question("a", "1"), "x"
    )
    with pytest.raises(ValueError, match="needs its base model '/nowhere'"):
        LearnedVerifier(trained, base="/nowhere")(Question("a", "1"), "x")


def test_folders_that_are_no_verifiers(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no verifier.json there; give a folder written by maporl verifier train"):
        LearnedVerifier(tmp_path)
    (tmp_path / "verifier.json").write_text("{}")
    with pytest.raises(ValueError, match="verifier.json cannot be read"):
        LearnedVerifier(tmp_path)


def test_temperature_divides_the_logit(trained: Path, tmp_path: Path) -> None:
    hot = tmp_path / "hot"
    shutil.copytree(trained, hot)
    card = json.loads((hot / "verifier.json").read_text())
    (hot / "verifier.json").write_text(json.dumps({**card, "temperature": 2.0}))
    p, q = (LearnedVerifier(f)(Question("a", "1"), "good x").value for f in (trained, hot))
    assert math.log(p / (1 - p)) == pytest.approx(2 * math.log(q / (1 - q)), rel=1e-3)


def test_it_rewards_a_team_and_the_rule_says_what_is_true(trained: Path, base: str, tmp_path: Path) -> None:
    run = maporl.train(
        env="two_witnesses",
        env_args={"verifier": {"name": "learned", "path": str(trained)}},
        model=base,
        algorithm="mappo",
        num_iterations=1,
        episodes_per_iteration=4,
        max_new_tokens=4,
        num_eval_questions=4,
        num_threads=1,
        trackers=(),
        output_dir=str(tmp_path / "run"),
    )
    row = next(row for row in run.metrics if "evaluation" not in row)
    gap = row["rollout/verifier_score_round_2"] - row["rollout/accuracy_round_2"]
    assert row["rollout/verifier_gap_round_2"] == pytest.approx(gap) and 0 < row["rollout/reward_mean"] < 1


def test_questions_that_it_has_seen_are_refused(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "seen"
    shutil.copytree(trained, folder)
    env = TwoWitnesses(verifier_share=0.3)
    card = json.loads((folder / "verifier.json").read_text())
    for split, message in (("train", "fitted to 1 of the .* train questions"), ("test", "of the .* test questions")):
        (folder / "verifier.json").write_text(json.dumps({**card, "questions": [env.questions(split)[0].hash]}))
        with pytest.raises(ValueError, match=message):
            TwoWitnesses(verifier_share=0.3, verifier={"name": "learned", "path": str(folder)}).questions("train")
    (folder / "verifier.json").write_text(json.dumps({**card, "questions": [env.questions("verifier")[0].hash]}))
    TwoWitnesses(verifier_share=0.3, verifier={"name": "learned", "path": str(folder)}).questions("train")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs is 0"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"microbatch_size": 5}, "must divide batch_size 32"),
        ({"dtype": "int8"}, "dtype 'int8' is unknown"),
    ],
)
def test_bad_settings(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Settings(**settings)


def test_nothing_to_learn_from(base: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="all 3 answers are right: there is nothing to tell apart"):
        fit([a for a in letters(3) if a.correct], base, tmp_path)
    long = Settings(max_length=4, device="cpu")
    with pytest.raises(ValueError, match=r"have at most 4 tokens \(max_length\), not both right and wrong ones"):
        fit(letters(3), base, tmp_path, settings=long)
    tall = [*letters(20), LabelledAnswer(Question("a", "1"), "good " * 60, True)]
    with pytest.warns(UserWarning, match="1 of 41 answers are longer than 40 tokens"):
        card = fit(tall, base, tmp_path / "v", settings=Settings(max_length=40, epochs=1, device="cpu"))
    assert card.settings["left_out"] == 1 and Card.load(tmp_path / "v").questions == card.questions
