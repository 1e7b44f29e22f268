"""A run and its folder: what it writes, that it goes on where it stopped, that it can be used afterwards."""

from __future__ import annotations

import itertools
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from peft import PeftModel
from run_toys import SMALL, Careless, FailsLater, Heard, Idle, Letters, Stop, StopsLater
from toy_models import completion_logits
from transformers import AutoModelForCausalLM

import maporl
from maporl.agents import LLMAgent
from maporl.cli import main
from maporl.rollouts.records import read_records
from maporl.roster import Roster
from maporl.training import trainer as trainer_module
from maporl.training.callbacks import Callback
from maporl.training.config import RunConfig
from maporl.training.run import RunFolder, load_team, train

LETTERS = "run_toys:Letters"
ADAPTER = "adapters/agent_0/adapter_model.safetensors"


def figures(folder: RunFolder) -> list[dict[str, Any]]:
    """The metrics without what a clock measured."""
    return [{k: v for k, v in row.items() if not k.startswith("time/")} for row in folder.metrics]


def assert_same_files(one: RunFolder, two: RunFolder, *names: str) -> None:
    for name in names:
        assert (one.path / name).read_bytes() == (two.path / name).read_bytes(), name


def dies_on_the(number: int, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, of which one call is cut short by whoever waits for it."""
    calls = itertools.count(1)

    def dying(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == number:
            raise KeyboardInterrupt
        return function(*args, **kwargs)

    return dying


@pytest.fixture(scope="module")
def finished(tiny_model: str, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A complete run of four iterations, not to be changed."""
    path = tmp_path_factory.mktemp("runs") / "four"
    settings = SMALL | {"num_iterations": 4, "eval_every": 2, "checkpoint_every": 2, "trackers": ("tensorboard",)}
    return train(env=LETTERS, model=tiny_model, algorithm="mappo", output_dir=path, **settings)


class TestFolder:
    def test_holds_everything(self, finished: RunFolder) -> None:
        names = {p.name for p in finished.path.iterdir()}
        assert names >= {
            "config.yaml", "metrics.jsonl", "status.json", "questions.json", "adapters", "evaluations", "checkpoint.pt", "tracking",
        }  # fmt: skip
        assert finished.status == "complete"
        assert not list(finished.path.rglob("*.part"))

    def test_metrics_hold_every_iteration_and_evaluation_in_order(self, finished: RunFolder) -> None:
        told = [(row["iteration"], row.get("evaluation")) for row in finished.metrics]
        assert told == [
            (0, "iteration_0000"), (1, None), (2, None), (2, "iteration_0002"), (3, None), (4, None),
            (4, "iteration_0004"), (4, "test"),
        ]  # fmt: skip
        learned = [row for row in finished.metrics if "evaluation" not in row]
        assert all(row["train/grad_norm/agent_0"] > 0 and row["time/tokens_per_s"] > 0 for row in learned)

    def test_training_discussions_are_kept_with_their_advantages(self, finished: RunFolder) -> None:
        files = sorted(p.name for p in (finished.path / "discussions").iterdir())
        assert files == [f"iteration_000{k}.{kind}" for k in (1, 2, 4) for kind in ("jsonl", "safetensors")]
        records = read_records(finished.path / "discussions" / "iteration_0002.jsonl")
        assert len(records) == SMALL["episodes_per_iteration"]
        turns = [turn for r in records for turn in r["turns"]]
        assert all(turn["reward"] is not None and turn["advantage"] is not None for turn in turns)
        for r in (0, 1):  # whitened over each round's tokens: the messages' means scatter around 0
            mean = np.mean([turn["advantage"] for turn in turns if turn["round"] == r])
            assert abs(mean) < 0.5
        assert len({turn["advantage"] for turn in turns}) > 4

    def test_the_configuration_is_resolved(self, finished: RunFolder) -> None:
        written = yaml.safe_load((finished.path / "config.yaml").read_text())
        assert (written["num_agents"], written["num_rounds"]) == (2, 2), "defaults of the task are written out"
        assert "{instruction}" in written["prompts"]["answer"], "and the prompts that were used"
        assert finished.config.merged({}) == finished.config

    def test_files_are_named_in_full(self, tiny_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(Path(tiny_model).parent)
        rows = tmp_path / "rows.jsonl"
        rows.write_text("{}\n")
        config = RunConfig(
            env=LETTERS,
            model={"agent_0": "tiny", "agent_1": "some/hub-id"},
            chat_template="plain",
            init_adapter="tiny",
            data=rows,
        )
        resolved = config.resolved(config.build_env())
        assert resolved.model == {"agent_0": tiny_model, "agent_1": "some/hub-id"}
        assert (resolved.init_adapter, resolved.data, resolved.chat_template) == (tiny_model, str(rows), "plain")
        assert RunConfig(env=LETTERS, model="tiny").resolved(Letters()).model == tiny_model

    def test_questions_of_a_split_are_named(self, finished: RunFolder) -> None:
        ids = json.loads((finished.path / "questions.json").read_text())
        env = Letters()
        asked = {split: [q.id for q in env.questions(split)] for split in ("train", "validation")}
        assert ids == {**asked, "leaked": {"validation": [], "test": []}}
        assert not set(ids["train"]) & set(ids["validation"])

    def test_records_hold_whole_discussions(self, finished: RunFolder) -> None:
        files = sorted(p.name for p in (finished.path / "evaluations").iterdir())
        names = ("iteration_0000", "iteration_0002", "iteration_0004", "test")
        assert files == [f"{name}.{kind}" for name in names for kind in ("jsonl", "safetensors")]
        records = [json.loads(line) for line in (finished.path / "evaluations" / "test.jsonl").open()]
        assert len(records) == SMALL["num_eval_questions"] and all(r["greedy"] for r in records)
        test_ids = {q.id for q in Letters().questions("test")}
        assert {r["question_id"] for r in records} <= test_ids
        assert [(t["agent"], t["round"]) for t in records[0]["turns"]] == [
            ("agent_0", 0), ("agent_1", 0), ("agent_0", 1), ("agent_1", 1),
        ]  # fmt: skip

    def test_tensorboard_has_the_figures(self, finished: RunFolder) -> None:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(finished.path / "tracking" / "maporl"))
        events.Reload()
        told = [(e.step, e.value) for e in events.Scalars("rollout/reward_mean")]
        written = [(r["iteration"], r["rollout/reward_mean"]) for r in finished.metrics if "rollout/reward_mean" in r]
        assert [step for step, _ in told] == [step for step, _ in written]
        np.testing.assert_allclose([value for _, value in told], [value for _, value in written], rtol=1e-6)

    def test_adapters_are_pefts_own(self, finished: RunFolder, tiny_model: str) -> None:
        base = AutoModelForCausalLM.from_pretrained(tiny_model)
        model = PeftModel.from_pretrained(base, str(finished.path / "adapters" / "agent_1"))
        moved = [p.abs().sum().item() for n, p in model.named_parameters() if "lora_B" in n]
        assert moved and all(amount > 0 for amount in moved)

    def test_a_second_run_does_not_overwrite(self, finished: RunFolder, tiny_model: str) -> None:
        with pytest.raises(ValueError, match="holds a run already"):
            train(env=LETTERS, model=tiny_model, output_dir=finished.path, **SMALL)

    def test_a_slip_in_the_settings_leaves_no_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="cannot be loaded"):
            train(env=LETTERS, model=str(tmp_path / "nothing"), output_dir=tmp_path / "run", **SMALL)
        assert not (tmp_path / "run").exists()

    def test_a_folder_that_cannot_be_written(self, tiny_model: str, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(ValueError, match="cannot be written"):
            train(env=LETTERS, model=tiny_model, output_dir=tmp_path / "file" / "run", **SMALL)


class TestReproducible:
    def test_another_seed_is_another_run(self, tiny_model: str, tmp_path: Path) -> None:
        one, two = (
            train(
                env=LETTERS,
                model=tiny_model,
                output_dir=tmp_path / str(seed),
                seed=seed,
                **SMALL | {"num_iterations": 1},
            )
            for seed in (0, 1)
        )
        assert figures(one)[1] != figures(two)[1]

    @pytest.mark.parametrize("algorithm", ["mappo", "magrpo"])
    def test_a_resumed_run_equals_an_uninterrupted_one(
        self, algorithm: str, finished: RunFolder, tiny_model: str, tmp_path: Path
    ) -> None:
        """And so do two of one seed."""
        settings = SMALL | {
            "env": LETTERS, "model": tiny_model, "algorithm": algorithm, "num_iterations": 4, "checkpoint_every": 2, "eval_every": 2,
        }  # fmt: skip
        whole = finished if algorithm == "mappo" else train(**settings, output_dir=tmp_path / "whole")

        with pytest.raises(KeyboardInterrupt):  # after a recorded iteration that no checkpoint holds
            train(**settings, output_dir=tmp_path / "cut", callbacks=[Stop("iteration", 3)])
        assert RunFolder(tmp_path / "cut").status == "interrupted"
        assert not (tmp_path / "cut" / "adapters").exists()
        cut = train(resume=tmp_path / "cut")
        assert figures(cut) == figures(whole)
        assert_same_files(cut, whole, "evaluations/test.jsonl", ADAPTER, ADAPTER.replace("agent_0", "agent_1"))

    def test_killed_within_an_evaluation_it_goes_on_from_that_very_iteration(
        self, finished: RunFolder, tiny_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The checkpoint is there before the evaluation of the same iteration begins; nothing is sampled or learned twice."""
        settings = SMALL | {
            "env": LETTERS, "model": tiny_model, "algorithm": "mappo", "num_iterations": 4, "checkpoint_every": 2, "eval_every": 2,
        }  # fmt: skip
        with monkeypatch.context() as patched:
            patched.setattr(trainer_module, "evaluate", dies_on_the(2, trainer_module.evaluate))
            with pytest.raises(KeyboardInterrupt):
                train(**settings, output_dir=tmp_path / "cut")
        assert [(row["iteration"], row.get("evaluation")) for row in RunFolder(tmp_path / "cut").metrics] == [
            (0, "iteration_0000"), (1, None), (2, None),
        ]  # fmt: skip
        heard = Heard()
        cut = train(resume=tmp_path / "cut", callbacks=[heard])
        assert heard.told == [
            ("iteration_0002", 2), ("iteration", 3), ("iteration", 4), ("iteration_0004", 4), ("test", 4),
        ]  # fmt: skip
        assert figures(cut) == figures(finished)
        assert_same_files(cut, finished, "evaluations/iteration_0002.jsonl", "evaluations/test.jsonl", ADAPTER)

    def test_resuming_before_the_first_checkpoint_starts_again(self, tiny_model: str, tmp_path: Path) -> None:
        settings = SMALL | {"env": LETTERS, "model": tiny_model}
        whole = train(**settings, output_dir=tmp_path / "whole")

        with pytest.raises(KeyboardInterrupt):
            train(**settings, output_dir=tmp_path / "cut", callbacks=[Stop("iteration", 1)])
        assert figures(train(resume=tmp_path / "cut")) == figures(whole)

    def test_dying_in_the_final_evaluation_records_it_once(self, tiny_model: str, tmp_path: Path) -> None:
        stop = Stop("test", 2)
        with pytest.raises(KeyboardInterrupt):
            train(env=LETTERS, model=tiny_model, output_dir=tmp_path / "run", callbacks=[stop], **SMALL)
        told = [(r["iteration"], r.get("evaluation")) for r in train(resume=tmp_path / "run").metrics]
        assert told == [(0, "iteration_0000"), (1, None), (2, None), (2, "iteration_0002"), (2, "test")]

    def test_resuming_a_complete_run_changes_nothing(self, finished: RunFolder) -> None:
        before = {p: p.stat().st_mtime_ns for p in finished.path.rglob("*")}
        train(resume=finished.path)
        assert {p: p.stat().st_mtime_ns for p in finished.path.rglob("*")} == before

    def test_resume_takes_no_other_settings(self, finished: RunFolder) -> None:
        with pytest.raises(ValueError, match="leave other settings out"):
            train(resume=finished.path, seed=3)


class TestDeath:
    def test_a_run_that_dies_leaves_a_readable_folder(self, tiny_model: str, tmp_path: Path) -> None:
        FailsLater.calls = 0
        with pytest.raises(ZeroDivisionError) as raised:
            train(
                env=LETTERS, model=tiny_model, env_args={"shaping": "run_toys:FailsLater"}, output_dir=tmp_path / "run",
                checkpoint_every=1, **SMALL,
            )  # fmt: skip
        assert f"maporl train --resume {tmp_path / 'run'}" in raised.value.__notes__[0]
        folder = RunFolder(tmp_path / "run")
        assert json.loads((folder.path / "status.json").read_text()) == {
            "status": "failed",
            "error": "ZeroDivisionError: a bug of the user's",
        }
        assert [row["iteration"] for row in folder.metrics] == [0, 1]
        assert folder.config.env == LETTERS
        FailsLater.calls = -1000  # the user mends it
        assert train(resume=folder.path).status == "complete"
        assert [row["iteration"] for row in folder.metrics] == [0, 1, 2, 2, 2]

    def test_half_a_line_of_metrics_is_left_out(self, tmp_path: Path) -> None:
        folder = RunFolder(tmp_path)
        folder.record(1, {"a": 1.0})
        with (tmp_path / "metrics.jsonl").open("a") as file:
            file.write('{"iteration": 2, "a"')
        assert folder.metrics == [{"iteration": 1, "a": 1.0}]

    def test_interrupt_is_told_apart(self, tiny_model: str, tmp_path: Path) -> None:
        StopsLater.calls = 0
        with pytest.raises(KeyboardInterrupt):
            train(
                env=LETTERS,
                model=tiny_model,
                env_args={"shaping": "run_toys:StopsLater"},
                output_dir=tmp_path / "run",
                **SMALL,
            )
        assert RunFolder(tmp_path / "run").status == "interrupted"


class TestBadInput:
    """Refused before a folder is made or a question is asked."""

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"algorithm": "ipo"}, r"unknown algorithm 'ipo'\. Did you mean 'ippo'\?"),
            ({"env": "gsm9k"}, r"unknown env 'gsm9k'\. Did you mean 'gsm8k'\?"),
            ({"env": "run_toys:Leters"}, "no 'Leters'"),
            ({"model": ""}, "no model; name a checkpoint"),
            ({"num_agents": 0}, "num_agents is 0"),
            ({"num_rounds": 0}, "num_rounds is 0"),
            ({"env_args": {"shapin": "team_mean"}}, r"no argument 'shapin'\. Did you mean 'shaping'\?"),
            ({"algorithm_args": {"clip": 0.1}}, "no argument 'clip'"),
            ({"lora": {"rank": 4}}, "lora 'lora' has no argument 'rank'"),
            ({"max_new_tokens": 400}, "may need .* more than the model's window of 512.*lower --max_new_tokens"),
            ({"env_args": {"shaping": "outcome_credit"}, "algorithm_args": {"gamma_round": 1.0}}, "would count twice"),
            ({"algorithm": "magrpo", "episodes_per_iteration": 12}, "a multiple of its group_size 8"),
            ({"algorithm": "magrpo", "algorithm_args": {"group_size": 1}}, "at least 2"),
            ({"trackers": ["tensorbord"]}, r"unknown\. Did you mean 'tensorboard'\?"),
            ({"device": "gpu7"}, "device 'gpu7' cannot be used here"),
            ({"dtype": "float8"}, "dtype 'float8' is unknown"),
            ({"team": "frozen"}, "it trains nothing"),
            ({"frozen": ["agent_7"]}, "frozen names 'agent_7'"),
            ({"init_adapter": "nowhere"}, "no adapter_config.json there"),
            ({"reference": "warm_start"}, "there is no init_adapter"),
            ({"prompts": {"anser": ""}}, "unknown piece"),
            (
                {"prompts": {"personas": {"agent_9": "Sly."}}},
                r"personas names \['agent_9'\]; the agents are \['agent_0', ",
            ),
            ({"algorithm_args": {"clip_range": "abc"}}, "algorithm 'mappo': clip_range is 'abc'; it must be a number"),
            (
                {"algorithm": "magrpo", "algorithm_args": {"group_size": 4.0}},
                "group_size is 4.0; it must be a whole number",
            ),
            (
                {"env": "arithmetic", "env_args": {"max_operand": "ten"}},
                "max_operand is 'ten'; it must be a whole number",
            ),
            ({"env": "arithmetic", "data": "rows.jsonl"}, "Arithmetic makes its questions itself.*leave it out"),
            ({"data": "rows.jsonl"}, "data 'rows.jsonl': there is no such file or folder"),
            ({"lora": {"r": 0}}, "lora: r is 0; it must be at least 1"),
            ({"lora": {"r": "x"}}, "lora: r is 'x'; it must be a whole number"),
            ({"lora": {"alpha": 0}}, "lora: alpha is 0; it must be above 0"),
            (
                {"lora": {"target_modules": "nope"}},
                r"lora: target_modules 'nope' does not fit .*'all-linear'.*'q_proj'",
            ),
            ({"lora": {"target_modules": ["nope"]}}, r"lora: target_modules \('nope',\) does not fit this model"),
            (
                {"partners": {"agent_1": "run_toys:share_of_letters"}},
                "for 'agent_1' is no agent but a function; .*ScriptedAgent",
            ),
            ({"partners": {"agent_1": "run_toys:Letters"}}, "for 'agent_1' is no agent but a Letters"),
            ({"eval_temperature": 0.0}, "eval_temperature is 0.0; it must be above 0"),
            (
                {"model": {"agent_0": "a", "agent_1": "b"}, "team": "shared"},
                "'shared' would sit on different .*--team per_agent",
            ),
            ({"model": {"agent_0": "tiny"}}, "no base model for 'agent_1'"),
        ],
    )
    def test_one_line(self, settings: dict[str, Any], message: str, tiny_model: str, tmp_path: Path) -> None:
        if settings.get("model") == {"agent_0": "tiny"}:
            settings = {"model": {"agent_0": tiny_model}}
        chosen = {"env": LETTERS, "model": tiny_model, "output_dir": tmp_path / "run", **SMALL, **settings}
        with pytest.raises(ValueError, match=message) as raised:
            train(**chosen)
        assert "\n" not in str(raised.value)
        assert not (tmp_path / "run").exists()

    def test_a_tracker_that_is_not_installed_names_the_extra(
        self, tiny_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(ValueError, match=r"pip install 'maporl\[wandb\]'"):
            train(env=LETTERS, model=tiny_model, output_dir=tmp_path / "run", **SMALL | {"trackers": "wandb"})

    def test_no_chat_template(self, tiny_model: str, tmp_path: Path) -> None:
        import shutil

        bare = shutil.copytree(tiny_model, tmp_path / "bare")
        (bare / "chat_template.jinja").unlink()
        with pytest.raises(ValueError, match="no chat template.*--chat_template plain"):
            train(env=LETTERS, model=str(bare), output_dir=tmp_path / "run", **SMALL)
        folder = train(env=LETTERS, model=str(bare), chat_template="plain", output_dir=tmp_path / "run", **SMALL)
        assert folder.status == "complete"

    def test_a_malformed_row_is_named_by_file_and_line(self, tiny_model: str, tmp_path: Path) -> None:
        rows = tmp_path / "train.jsonl"
        good = json.dumps({"question": "What is 1 + 1?", "answer": "It is 2. #### 2"})
        rows.write_text(f"{good}\n{json.dumps({'question': 'no answer'})}\n")
        with pytest.raises(ValueError, match=r"train\.jsonl, line 2: no field 'answer'"):
            train(env="gsm8k", data=rows, model=tiny_model, output_dir=tmp_path / "run", **SMALL)
        rows.write_text(f"{good}\n{json.dumps({'question': 'q', 'answer': 'It is #### many'})}\n")
        with pytest.raises(ValueError, match=r"train\.jsonl:2.*'many' is not a number"):
            train(env="gsm8k", data=rows, model=tiny_model, output_dir=tmp_path / "run", **SMALL)

    def test_not_a_run_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="is not a run folder"):
            load_team(tmp_path)
        with pytest.raises(ValueError, match="is not a run folder"):
            train(resume=tmp_path)

    def test_a_run_without_adapters(self, finished: RunFolder, tmp_path: Path) -> None:
        finished.config.save(tmp_path / "config.yaml")
        with pytest.raises(ValueError, match="has no adapters yet.*--resume"):
            load_team(tmp_path)

    def test_a_folder_of_an_earlier_version(self, finished: RunFolder, tmp_path: Path) -> None:
        finished.config.save(tmp_path / "config.yaml")
        (tmp_path / "adapters").mkdir()
        (tmp_path / "adapters" / "team.json").write_text('{"agent_0": ["base", "agent_0"]}')
        with pytest.raises(ValueError, match="team.json' was written by an earlier version.* train anew") as error:
            load_team(tmp_path)
        assert "\n" not in str(error.value)


class TestAfterwards:
    def test_the_loaded_team_speaks_as_the_trained_one(self, finished: RunFolder) -> None:
        from maporl.training.evaluation import evaluate, subset

        team = maporl.load_team(finished.path)
        assert team.agents == ("agent_0", "agent_1")
        env = finished.config.build_env()
        questions = subset(env.questions("test"), SMALL["num_eval_questions"])
        again = evaluate(env, team, questions)
        written = [json.loads(line) for line in (finished.path / "evaluations" / "test.jsonl").open()]
        assert [[t["text"] for t in r["turns"]] for r in again.records] == [
            [t["text"] for t in r["turns"]] for r in written
        ]

    def test_it_is_not_the_base(self, finished: RunFolder) -> None:
        team = maporl.load_team(finished.path)
        agent = team.member("agent_0", 0)
        assert isinstance(agent, LLMAgent)
        prompt, answer = [np.array([5, 6, 7])], [np.array([8, 9])]
        with torch.no_grad():
            trained = completion_logits(agent.policy, "agent_0", prompt, answer)
            base = completion_logits(agent.policy, None, prompt, answer)
        assert (trained - base).abs().max() > 1e-6

    def test_more_agents_than_were_trained_need_a_shared_adapter(self, finished: RunFolder) -> None:
        with pytest.raises(ValueError, match=r"trained \['agent_0', 'agent_1'\], not 'agent_2'"):
            load_team(finished.path, env=Letters(num_agents=3))

    def test_a_shared_adapter_seats_any_number(self, tiny_model: str, tmp_path: Path) -> None:
        train(
            env=LETTERS, model=tiny_model, team="shared", output_dir=tmp_path / "run", **SMALL | {"num_iterations": 1}
        )
        team = load_team(tmp_path / "run", env=Letters(num_agents=3, num_rounds=3))
        assert {team.member(a, r) for a in team.agents for r in range(3)} == {team.member("agent_0", 0)}
        assert len(team.agents) == 3


class TestTeams:
    """What a configuration can seat."""

    def test_frozen_round_and_scripted_partner(self, tiny_model: str, tmp_path: Path) -> None:
        folder = train(
            env=LETTERS, model=tiny_model, frozen="round_1", partners={"agent_1": "run_toys:Parrot"}, output_dir=tmp_path / "run",
            **SMALL | {"num_iterations": 1},
        )  # fmt: skip
        roster = Roster.load(folder.path / "adapters")
        assert [(s.adapter, s.trains) for s in roster.rounds("agent_0")] == [(None, False), ("agent_0", True)]
        assert [s.partner for s in roster.rounds("agent_1")] == ["run_toys:Parrot"] * 2
        records = [json.loads(line) for line in (folder.path / "evaluations" / "test.jsonl").open()]
        assert {t["text"] for r in records for t in r["turns"] if t["agent"] == "agent_1"} == {"parrot"}
        loaded = load_team(folder.path)
        assert [type(loaded.member("agent_1", r)).__name__ for r in range(2)] == ["Parrot", "Parrot"]

    def test_warm_start_as_reference(self, finished: RunFolder, tiny_model: str, tmp_path: Path) -> None:
        folder = train(
            env=LETTERS, model=tiny_model, init_adapter=finished.path / "adapters" / "agent_0", reference="warm_start",
            output_dir=tmp_path / "run", **SMALL | {"num_iterations": 1},
        )  # fmt: skip
        first = next(row for row in folder.metrics if "train/kl_to_reference" in row)
        assert abs(first["train/kl_to_reference"]) < 1e-6, "it starts at its reference"

    def test_an_algorithm_that_names_no_settings(self, tiny_model: str, tmp_path: Path) -> None:
        folder = train(env=Letters, model=tiny_model, algorithm=Idle, output_dir=tmp_path / "run", **SMALL)
        assert folder.config.algorithm == "run_toys:Idle"
        assert folder.config.env == LETTERS
        assert folder.metrics[1]["train/turns"] == 8 * 4

    def test_no_iterations_is_an_evaluation(self, tiny_model: str, tmp_path: Path) -> None:
        folder = train(env=LETTERS, model=tiny_model, output_dir=tmp_path / "run", **SMALL | {"num_iterations": 0})
        assert [r["evaluation"] for r in folder.metrics] == ["iteration_0000", "test"]

    def test_a_task_without_test_questions_says_so(self, tiny_model: str, tmp_path: Path) -> None:
        with pytest.warns(UserWarning, match="no test questions"):
            train(env="run_toys:NoTest", model=tiny_model, output_dir=tmp_path / "run", **SMALL | {"num_iterations": 1})

    def test_a_test_of_training_questions_is_told_before_the_run_and_by_evaluations(
        self, tiny_model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        class Begins(Callback):
            def on_training_start(self, run: object) -> None:
                before.extend(str(warning.message) for warning in told)

        before: list[str] = []
        known = {question.id for question in Careless().questions("train")}
        fault = f"{len(known)} of the 200 test questions of careless are training questions, such as"
        settings = SMALL | {"num_iterations": 0, "output_dir": tmp_path / "run"}
        with pytest.warns(UserWarning, match=fault) as told:
            folder = train(env="run_toys:Careless", model=tiny_model, callbacks=[Begins()], **settings)
        assert len(told) == len(before) == 1
        assert folder.leaked("test") == known and folder.leaked("validation") == set()
        with pytest.warns(
            UserWarning, match=f"{len(known)} of the 200 test questions are training questions of this run"
        ):
            assert main(["evaluate", str(folder.path), "--num_eval_questions", "2"]) == 0
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert main(["evaluate", str(folder.path), "--split", "validation", "--num_eval_questions", "2"]) == 0
