"""MALT: what each role learns from trees, that a run goes on after every stage, and that it learns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from run_toys import Heard, Letters

from maporl.envs.protocols import Pipeline
from maporl.envs.verifiers import Verifier
from maporl.rollouts.decisions import decisions, pairs, positives
from maporl.rollouts.play import rollout
from maporl.rollouts.preferences import read_decisions
from maporl.training import trainer as trainer_module
from maporl.training.config import RunConfig
from maporl.training.run import RunFolder, load_team, train
from maporl.training.trainer import Run
from maporl.training.trainers import malt
from maporl.training.trainers.malt import labels
from maporl.types import Completion, Question, Score

ROLES = ("generator_0", "verifier_0", "refiner_0")
MALT: dict[str, Any] = {
    "env": "test_malt:Early",
    "algorithm": "malt",
    "algorithm_args": {"batch_size": 4, "branching": [3, 2, 3]},
    "num_iterations": 2,
    "episodes_per_iteration": 40,  # two trees of 18 leaves
    "max_new_tokens": 12,
    "stop": ["a", "e", "i", "o", "u", " ", "1", "5"],  # a random model hardly ever ends a message
    "num_eval_questions": 4,
    "learning_rate": 5e-3,
    "device": "cpu",
    "num_threads": 1,
    "trackers": (),
    "preflight": "off",
}


class Early(Letters):
    """Begin with a character of even number: a random model does now and then."""

    @staticmethod
    def default_verifier(question: Question, response: str) -> Score:
        right = bool(response) and ord(response[0]) % 2 == 0
        return Score(float(right), right, answer=response[:1] or None)


class FirstOnly(Pipeline):
    """Scores the first role alone."""

    def scored(self, agent: str, round: int) -> bool:
        return agent == "generator_0"


class Counting(Verifier):
    """Says how often it was asked."""

    asked = 0

    def __call__(self, question: Question, response: str) -> Score:
        self.asked += 1
        return Score(1.0, True)

    def metrics(self) -> dict[str, float]:
        return {"asked": float(self.asked)}


class Counted(Letters):
    """Its verifier counts."""

    default_verifier = Counting


class Plain(Letters):
    """Takes no protocol."""

    def __init__(self, num_agents: int | None = None, num_rounds: int | None = None) -> None:
        super().__init__(num_agents, num_rounds)


class Never(Letters):
    """Nothing is ever right."""

    default_verifier = staticmethod(lambda question, response: Score(0.0, False))


@pytest.fixture
def config(spelling_model: str, tmp_path: Path) -> RunConfig:
    return RunConfig(**MALT, model=spelling_model, output_dir=str(tmp_path / "run"))


@pytest.fixture(scope="module")
def finished(spelling_model: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, Heard]:
    """A complete run, not to be changed, and what its callback was told."""
    heard = Heard()
    return train(
        RunConfig(**MALT, model=spelling_model, output_dir=str(tmp_path_factory.mktemp("malt") / "run")),
        callbacks=[heard],
    ), heard


def _ids(c: Completion) -> tuple[list[int], list[int]]:
    return c.prompt_ids.tolist(), c.completion_ids.tolist()


def weights(folder: RunFolder) -> dict[str, list[torch.Tensor]]:
    team = load_team(folder.path)
    return {name: list(m.policy.parameters(name)) for name, m in ((m.adapter, m) for m in team.language_models) if name}


def untimed(folder: RunFolder) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if not k.startswith("time/")} for row in folder.metrics]


class TestRun:
    def test_one_word_is_a_pipeline_of_three_roles(self, finished: tuple[RunFolder, Heard]) -> None:
        folder, heard = finished
        assert folder.status == "complete" and heard.told.count(("iteration", 2)) == 1
        assert folder.config.env_args["protocol"] == "pipeline" and folder.config.num_rounds == 1
        assert set(weights(folder)) == set(ROLES)

    def test_every_role_learns_from_its_own_messages(self, finished: tuple[RunFolder, Heard]) -> None:
        folder, _ = finished
        run = Run(folder.config, folder, Heard())
        last = [row for row in folder.metrics if "dpo/pairs/refiner_0" in row][-1]
        found = [d for k in range(2) for d in decisions(run.kept(k))]
        assert len(found) == 2 * 2 * (1 + 3 + 6) and len(run.kept(0)) == 2 * 18
        for role in ROLES:
            mine = [d for d in found if d.agent == role]
            good = [c.completion for d in mine for c in positives(d)]
            assert last[f"sft/messages/{role}"] == sum(bool(c.text) and not c.truncated for c in good) > 0
            both = [p for d in mine for p in pairs(d) if p[0].completion.text and not p[0].completion.truncated]
            if role != "generator_0":
                assert last[f"dpo/pairs/{role}"] == len(both) > 0
                assert last[f"dpo/loss/{role}"] > 0
        assert {n: v for n, v in last.items() if n.startswith("dpo/") and n.endswith("generator_0")} == {
            "dpo/pairs/generator_0": 0.0
        }
        rows = [d for k in (1, 2) for d in read_decisions(folder.path / "decisions" / f"iteration_000{k}.jsonl")]
        assert [(d.id, d.agent, d.values) for d in rows] == [(d.id, d.agent, d.values) for d in found]

    def test_what_trl_is_given_is_the_roles_own(self, config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
        given: dict[str, list[Any]] = {}
        for name in ("sft_adapter", "dpo_adapter"):

            def seen(policy: Any, adapter: str, rows: Any, settings: Any, name: str = name) -> dict[str, float]:
                given[f"{name}/{adapter}"] = list(rows)
                return {}

            monkeypatch.setattr(malt, name, seen)
        folder = train(config.merged({"algorithm_args": {"dpo": "all"}}))
        found = [d for k in range(2) for d in decisions(Run(folder.config, folder, Heard()).kept(k))]
        for role in ROLES:
            mine = [d for d in found if d.agent == role]
            good = [c.completion for d in mine for c in positives(d)]
            better = [(a.completion, b.completion) for d in mine for a, b in pairs(d)]
            expected = [_ids(c) for c in good if c.text and not c.truncated]
            assert [_ids(c) for c in given[f"sft_adapter/{role}"]] == expected and expected
            both = [(_ids(a), _ids(b)) for a, b in better if a.text and not a.truncated]
            assert [(_ids(a), _ids(b)) for a, b in given.get(f"dpo_adapter/{role}", [])] == both
        assert given["dpo_adapter/refiner_0"]

    def test_says_what_there_is_to_learn_from(self, finished: tuple[RunFolder, Heard]) -> None:
        folder, _ = finished
        found = decisions(Run(folder.config, folder, Heard()).kept(0))
        said = next(row for row in folder.metrics if row["iteration"] == 1 and "malt/value" in row)
        assert {k: v for k, v in said.items() if k.startswith("malt/")} == pytest.approx(labels(found))
        refiner = [d.values for d in found if d.agent == "refiner_0"]
        both = [any(v > 0.5 for v in row) and any(v <= 0.5 for v in row) for row in refiner]
        assert said["malt/both_labels/refiner_0"] == pytest.approx(np.mean(both))
        assert said["malt/good/refiner_0"] == pytest.approx(np.mean([v > 0.5 for row in refiner for v in row]))
        # what all leaves of a tree are worth is what its first messages are worth, for all of its branches are alike
        assert said["malt/value"] == pytest.approx(np.mean([v for row in refiner for v in row]))

    def test_goes_on_after_every_stage_to_the_bit(
        self, finished: tuple[RunFolder, Heard], config: RunConfig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Killed at every checkpoint, those between two stages included, and resumed: one run."""
        folder, calls, checkpoint = RunFolder(config.folder), 0, Run.checkpoint

        def killed(self: Run) -> None:
            nonlocal calls
            checkpoint(self)
            calls += 1
            raise KeyboardInterrupt

        monkeypatch.setattr(trainer_module.Run, "checkpoint", killed)
        with pytest.raises(KeyboardInterrupt):
            train(config.merged({"checkpoint_every": 1}))
        while folder.status != "complete":
            if calls == 8:
                monkeypatch.setattr(trainer_module.Run, "checkpoint", checkpoint)
                train(resume=folder.path)
            else:
                with pytest.raises(KeyboardInterrupt):
                    train(resume=folder.path)
        assert calls == 1 + 6 + 1, "after an iteration, after SFT and DPO of three roles, after the last iteration"
        whole, _ = finished
        assert untimed(folder) == untimed(whole)
        for name, tensors in weights(whole).items():
            assert all(torch.equal(a, b) for a, b in zip(tensors, weights(folder)[name], strict=True))

    def test_what_was_measured_before_the_first_stage_is_not_measured_again(
        self, config: RunConfig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Of a team that has learned something since: stages are saved before an iteration is over, here the only one."""
        checkpoint = Run.checkpoint

        def killed(self: Run) -> None:
            checkpoint(self)
            raise KeyboardInterrupt

        monkeypatch.setattr(trainer_module.Run, "checkpoint", killed)
        with pytest.raises(KeyboardInterrupt):
            train(config.merged({"num_iterations": 1}))
        monkeypatch.setattr(trainer_module.Run, "checkpoint", checkpoint)
        folder, evaluated = RunFolder(config.folder), []
        (before,) = folder.metrics
        monkeypatch.setattr(Run, "evaluate", lambda self, name, questions: evaluated.append(name))
        train(resume=folder.path)
        assert before["evaluation"] == "iteration_0000" and folder.metrics[0] == before
        assert evaluated == ["iteration_0001", "test"]

    def test_what_is_read_back_looks_as_it_did(self, config: RunConfig, tmp_path: Path) -> None:
        """What verifiers counted while it was sampled, too, of which a resumed run would know nothing."""
        folder = RunFolder.create(tmp_path / "run", config.merged({"env": "test_malt:Counted"}))
        first, again = Run(folder.config, folder, Heard()), Run(folder.config, folder, Heard())
        asked = first.env.questions("train")[:2]
        episodes, looks = first.collected(
            0, lambda k: rollout(first.env, first.config.build_team(first.env), asked, seed=k)
        )
        assert looks["verifier/asked"] == sum(len(e.said) for e in episodes) > 0
        kept, same = again.collected(0, lambda k: pytest.fail("it is there already"))
        assert (kept, same) == (episodes, looks)

    def test_other_branching_is_refused(self, config: RunConfig) -> None:
        class Second(Heard):
            def on_experience(self, iteration: int, episodes: Any) -> None:
                if iteration == 2:
                    raise KeyboardInterrupt

        for every, where in ((1, "this run grew trees with"), (10, "the trees of iteration 1 in")):
            run = config.merged({"output_dir": f"{config.output_dir}_{every}", "checkpoint_every": every})
            with pytest.raises(KeyboardInterrupt):
                train(run, callbacks=[Second()])
            folder = RunFolder(run.folder)
            folder.config.merged({"algorithm_args": {"branching": [2, 2, 3]}}).save(folder.path / "config.yaml")
            # what a checkpoint says, and what is kept: without a checkpoint the trees tell
            with pytest.raises(ValueError, match=where + r".*\[3, 2, 3\], now it is \[2, 2, 3\]"):
                train(resume=folder.path)


class TestSettings:
    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"algorithm_args": {"branching": 1}}, "branching is 1; candidates are compared"),
            ({"algorithm_args": {"branching": [3, "x"]}}, r"branching is \[3, 'x'\]; .* whole numbers"),
            ({"algorithm_args": {"branching": [2, 2, 2, 2]}}, "the longest discussion has 3 waves"),
            ({"algorithm_args": {"rounds": 2}, "num_iterations": 3}, "num_iterations is 3; with rounds 2"),
            ({"algorithm_args": {"imitate": "some"}}, "imitate 'some' is unknown"),
            ({"algorithm_args": {"dpo": "some"}}, "dpo 'some' is unknown"),
            ({"algorithm_args": {"beta": 0}}, "beta is 0"),
            ({"algorithm_args": {"branch": 3}}, "has no argument 'branch'"),
            ({"thinking_budget": 3}, "thinking_budget"),
            ({"team": "frozen"}, "malt trains language models, and the team trains"),
            ({"env_args": {"protocol": "test_malt:FirstOnly"}}, "does not score refiner_0, who speaks last"),
        ],
    )
    def test_what_cannot_be(self, config: RunConfig, settings: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            train(config.merged(settings))
        assert not config.folder.exists()

    def test_nothing_good_is_said_and_changes_nothing(self, config: RunConfig) -> None:
        with pytest.warns(UserWarning) as told:
            folder = train(config.merged({"env": "test_malt:Never", "num_iterations": 1}))
        said = "\n".join(str(w.message) for w in told)
        for role in ROLES:
            assert f"no message of '{role}' is worth more than .5" in said
        assert (
            "'refiner_0' has no preferences to learn: in 0 of 12 decisions there is a good message beside a bad one. Its"
            in said
        )
        assert all(float(b.abs().sum()) == 0 for b in weights(folder)["refiner_0"] if b.shape[1] == 8)  # LoRA's B

    def test_why_there_are_no_preferences_is_said_as_it_is(self, config: RunConfig) -> None:
        """Every message is cut off after its first token, whose character makes some of them right."""
        cut = {"max_new_tokens": 1, "stop": [], "algorithm_args": {"branching": [1, 1, 4]}, "num_iterations": 1}
        with pytest.warns(
            UserWarning,
            match=r"in [1-9]\d* of 10 decisions there is a good .*, but the good one is the same text or was cut off",
        ):
            train(config.merged(cut))

    def test_an_untrained_role_is_a_frozen_seat(self, config: RunConfig) -> None:
        folder = train(config.merged({"frozen": ["verifier_0"], "num_iterations": 1}))
        assert set(weights(folder)) == {"generator_0", "refiner_0"}
        learned = folder.metrics[-3]
        assert "sft/messages/refiner_0" in learned and "sft/messages/verifier_0" not in learned
        assert "malt/good/verifier_0" in learned

    def test_without_preferences_and_with_all(self, config: RunConfig) -> None:
        one = {"num_iterations": 1, "algorithm_args": {"dpo": "none", "imitate": "paired"}}
        none = train(config.merged({**one, "output_dir": f"{config.output_dir}_none"}))
        assert not any(name.startswith("dpo/") for row in none.metrics for name in row)
        everybody = train(config.merged({"num_iterations": 1, "algorithm_args": {"dpo": "all"}}))
        assert any(f"dpo/pairs/{ROLES[0]}" in row for row in everybody.metrics)

    def test_a_task_that_takes_no_protocol_keeps_its_own(self, config: RunConfig) -> None:
        assert "protocol" in config.trainer.completed(config).env_args
        own = config.merged({"env": "test_malt:Plain"})
        assert own.trainer.completed(own) == own

    def test_a_debate_is_a_tree_too(self, config: RunConfig) -> None:
        debate = {"env_args": {"protocol": "debate"}, "num_agents": 2, "num_rounds": 2}
        folder = train(config.merged({**debate, "algorithm_args": {"branching": 2}, "num_iterations": 1}))
        assert set(weights(folder)) == {"agent_0", "agent_1"}
        lines = (folder.path / "decisions" / "iteration_0001.jsonl").read_text(encoding="utf-8").splitlines()
        ids = [json.loads(line)["id"] for line in lines]
        assert ids[:6] == ["0:agent_0", "0:agent_1", "0.0:agent_0", "0.0:agent_1", "0.1:agent_0", "0.1:agent_1"]


@pytest.mark.slow
def test_it_learns(tmp_path: Path) -> None:
    """Two witnesses, of whom one saw clearly: from the trees of their own debates they learn to report and to defer."""
    config = RunConfig(
        env="two_witnesses",
        model="embedded",
        algorithm="malt",
        algorithm_args={"branching": [4, 4], "sft_epochs": 3, "dpo": "all", "batch_size": 16},
        env_args={"protocol": "debate"},
        num_iterations=3,
        episodes_per_iteration=384,
        max_new_tokens=14,
        learning_rate=3e-3,
        eval_temperature=1.0,
        num_threads=1,
        trackers=(),
        preflight="off",
        output_dir=str(tmp_path / "run"),
    )
    accuracy = [row["eval/accuracy"] for row in train(config).metrics if "eval/accuracy" in row]
    assert accuracy[0] < 0.6 < 0.7 < accuracy[-1], accuracy
