"""The command line, end to end at small sizes, and what it says when something is wrong."""

from __future__ import annotations

import ast
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from run_toys import SMALL
from transformers import AutoModelForCausalLM, AutoTokenizer

from maporl import RunConfig, errors
from maporl.algorithms.mappo import MAPPO
from maporl.cli import COMMANDS, main
from maporl.cli.flags import Parser, settings_of
from maporl.envs.verifiers import VerifierUnavailable
from maporl.training.evaluation import Evaluation
from maporl.training.run import RunFolder, load_team, train
from maporl.types import Episode

LETTERS = "run_toys:Letters"
QUICK = [f"--{k}={v}" for k, v in SMALL.items() if k != "trackers"] + ["--trackers"]

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """run(*words) -> (exit code, standard output, standard error)."""

    def call(*words: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = main([str(w) for w in words])
        out, err = capfd.readouterr()
        return code, out, err

    return call


@pytest.fixture(scope="module")
def trained(tiny_model: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A run folder written by the command line, not to be changed but for new evaluations."""
    folder = str(tmp_path_factory.mktemp("runs") / "trained")
    assert main(["train", "--env", LETTERS, "--model", tiny_model, "--output_dir", folder, *QUICK]) == 0
    return folder


def settings(*words: str) -> dict[str, Any]:
    parser = Parser(prog="maporl train")
    parser.add_settings(settings_of(RunConfig))
    return parser.parse_args(list(words)).given


class TestOverview:
    def test_help_needs_no_rich(self) -> None:
        code = "import sys; from maporl.cli import main; main(['--help']); sys.exit('rich' in sys.modules)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == 0
        assert all(f"  {name} " in done.stdout for name in COMMANDS)

    def test_train_help_needs_no_torch(self) -> None:
        code = "import sys; from maporl.cli import main; main(['train', '--help']); sys.exit('torch' in sys.modules)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == 0
        for name in (f.name for f in fields(RunConfig)):
            assert f"--{name} " in done.stdout

    @pytest.mark.parametrize("name", [n for n in COMMANDS])
    def test_every_command_explains_itself(self, name: str, run: Run) -> None:
        code, out, _ = run(name, "--help")
        assert code == 0 and out.startswith(f"usage: maporl {name}")

    def test_version(self, run: Run) -> None:
        import maporl

        assert run("--version") == (0, f"maporl {maporl.__version__}\n", "")

    def test_nothing_is_help(self, run: Run) -> None:
        assert run() == run("--help")


class TestFlags:
    def test_every_field_is_a_flag_and_typed(self) -> None:
        given = settings(
            "--num_agents", "3", "--learning_rate", "1e-4", "--frozen", "agent_0", "round_2", "--allow_oracle", "--model", "dir",
            "--eval_temperature", "none", "--gradient_checkpointing=false", "--trackers",
        )  # fmt: skip
        assert given == {
            "num_agents": 3, "learning_rate": 1e-4, "frozen": ("agent_0", "round_2"), "allow_oracle": True, "model": "dir",
            "eval_temperature": None, "gradient_checkpointing": False, "trackers": (),
        }  # fmt: skip

    def test_parts_of_mappings(self) -> None:
        given = settings(
            "--env_args.history", "last_round", "--env_args.shaping", "[team_mean, {name: length, at_least: 9}]",
            "--env_args.verifier.name=regex", "--env_args.verifier.pattern", r"Answer:\s*(\d+)",
            "--algorithm_args.clip_range", "0.1", "--algorithm_args.normalise_advantages", "null",
            "--lora", "{r: 4}", "--lora.alpha", "8", "--partners.agent_1", "my_pkg:Script",
            "--env_args.instruction", 'Reply with "Answer: " and one digit.', "--prompts.system", "Be brief: yes",
            "--model.agent_0", "a", "--model.agent_1", "b",
        )  # fmt: skip
        assert given == {
            "env_args": {
                "history": "last_round",
                "shaping": ["team_mean", {"name": "length", "at_least": 9}],
                "verifier": {"name": "regex", "pattern": r"Answer:\s*(\d+)"},
                "instruction": 'Reply with "Answer: " and one digit.',
            },
            "algorithm_args": {"clip_range": 0.1, "normalise_advantages": None},
            "lora": {"r": 4, "alpha": 8},
            "partners": {"agent_1": "my_pkg:Script"},
            "prompts": {"system": "Be brief: yes"},
            "model": {"agent_0": "a", "agent_1": "b"},
        }

    def test_only_what_was_given(self) -> None:
        assert settings() == {}

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--num_agent", "3"], "unknown flag '--num_agent'. Did you mean '--num_agents'?"),
            (["--num-agents=3"], "unknown flag '--num-agents'. Did you mean '--num_agents'?"),
            (["stray"], "unexpected argument 'stray'"),
            (["--num_agents", "two"], "--num_agents is 'two'; it must be a whole number or nothing."),
            (["--seed.x", "3"], "--seed.x: seed has no parts; write --seed."),
            (["--lora.r"], "--lora.r: a value is missing."),
            (["--lora.r", "--seed", "3"], "--lora.r: a value is missing."),
            (["--env"], "argument --env: expected one argument"),
            (["--lora", "{r: "], "argument --lora: not YAML"),
        ],
    )
    def test_mistakes(self, words: list[str], message: str) -> None:
        with pytest.raises(ValueError) as raised:
            settings(*words)
        assert message in str(raised.value)


class TestMistakes:
    """One line on standard error, exit code 2."""

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["trian"], "unknown command 'trian'. Did you mean 'train'?"),
            (["train", "--modle", "x"], "unknown flag '--modle'. Did you mean '--model'?"),
            (["train", "--config", "none.yaml"], "config 'none.yaml': no such file."),
            (["train", "--env", LETTERS], "no model; name a checkpoint folder"),
            (["train", "--env", LETTERS, "--model", "nowhere"], "model 'nowhere' cannot be loaded"),
            (["train", "--resume", "nowhere"], "'nowhere' is not a run folder"),
            (["train", "--resume", "nowhere", "--seed", "1"], "leave --seed out"),
            (["evaluate", "nowhere"], "'nowhere' is not a run folder"),
            (["ask", "nowhere", "why?"], "'nowhere' is not a run folder"),
            (["export", "nowhere", "out"], "'nowhere' is not a run folder"),
            (["envs", "--show", "gsm9k"], "unknown env 'gsm9k'"),
            (["envs", "--data", "x"], "--data belongs to --show ENV"),
            (["envs", "--show", LETTERS, "--agent", "bob"], "--agent 'bob' is none of"),
            (["algorithms", "ipo"], "unknown algorithm 'ipo'"),
            (["make-model", "x", "--hidden_size", "7"], "hidden_size 7 must be a multiple"),
            (["sft", "nowhere", "rows.jsonl", "out"], "'nowhere' cannot be loaded"),
            (["make-model"], "the following arguments are required: path"),
        ],
    )
    def test_one_line(
        self, words: list[str], message: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        code, out, err = run(*words)
        lines = [line for line in err.splitlines() if line.startswith("maporl: error: ")]
        assert code == 2 and len(lines) == 1 and message in lines[0], err
        assert "Traceback" not in err
        assert list(tmp_path.iterdir()) == []

    def test_a_mistake_in_what_is_asked_in_the_end_is_told_before_the_run(
        self, run: Run, tiny_model: str, tmp_path: Path
    ) -> None:
        for name, answer in (("train", "It is 3. #### 3"), ("test", "no number")):
            rows = [json.dumps({"question": f"What is {n} and 1?", "answer": answer}) for n in range(100)]
            (tmp_path / f"{name}.jsonl").write_text("\n".join(rows) + "\n")
        code, _, err = run(
            "train", "--env", "gsm8k", "--data", tmp_path, "--model", tiny_model, "--output_dir", tmp_path / "run", *QUICK
        )  # fmt: skip
        lines = [line for line in err.splitlines() if line.startswith("maporl: error: ")]
        assert code == 2 and len(lines) == 1 and "test.jsonl, line 1: " in lines[0], err
        assert "Traceback" not in err
        assert not (tmp_path / "run").exists()

    def test_an_error_in_the_users_own_code_shows_its_traceback(self, tiny_model: str, tmp_path: Path) -> None:
        from run_toys import FailsLater

        FailsLater.calls = 0
        with pytest.raises(ZeroDivisionError, match="a bug of the user's"):
            main(["train", "--env", LETTERS, "--model", tiny_model, "--env_args.shaping", "run_toys:FailsLater",
                  "--output_dir", str(tmp_path / "run"), *QUICK])  # fmt: skip

    @pytest.mark.parametrize(
        "kind",
        [VerifierUnavailable, *(e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, Exception))],
        ids=lambda e: e.__name__,
    )
    def test_a_users_mistake_keeps_its_words_on_the_way_from_another_process(self, kind: type[Exception]) -> None:
        """Workers of a study send their errors pickled, and a note says where one happened."""
        error = kind("lower it")
        error.add_note("in cell 3")
        back = pickle.loads(pickle.dumps(error))
        assert type(back) is kind and str(back) == "lower it" and back.__notes__ == ["in cell 3"]

    @pytest.mark.parametrize(
        ("error", "one_line"),
        [
            (errors.UserValueError("lower it"), True),
            (VerifierUnavailable("start it"), True),
            (ValueError("the user's own, or a bug of ours"), False),
            (NotImplementedError(), False),
            (KeyError("x"), False),
            (RuntimeError("the discussion is over"), False),
        ],
        ids=repr,
    )
    def test_the_type_alone_decides_what_is_one_line(
        self, error: Exception, one_line: bool, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whoever raises it: the library, a worker process, or code of the user's."""

        def fails(args: Any) -> int:
            raise error

        monkeypatch.setattr("maporl.cli.algorithms.run", fails)
        if one_line:
            code, _, told = run("algorithms")
            assert code == 2 and told == f"maporl: error: {error}\n"
        else:
            with pytest.raises(type(error)):
                run("algorithms")

    def test_every_raise_of_the_library_that_says_something_is_of_a_users_mistake(self) -> None:
        """The built-in kinds with a message are for other people's code; ours that names a remedy has a type that says so."""
        root = Path(errors.__file__).parent
        plain = {
            "ValueError",
            "TypeError",
            "NotImplementedError",
            "MemoryError",
            "FloatingPointError",
            "ConnectionError",
        }
        for path in root.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Raise | ast.Return) and isinstance(
                    call := getattr(node, "exc", None) or getattr(node, "value", None), ast.Call
                ):
                    assert not (isinstance(call.func, ast.Name) and call.func.id in plain), (
                        f"{path.relative_to(root)}:{node.lineno}"
                    )

    def test_mistakes_are_of_the_builtin_kinds_too(self) -> None:
        from maporl.envs.protocols import count_of
        from maporl.settings import read_yaml
        from maporl.typed import typed

        for kind, work in (
            (ValueError, lambda: count_of("num_agents", 0)),
            (TypeError, lambda: count_of("num_agents", "two")),
            (ValueError, lambda: read_yaml("a: [")),
        ):
            with pytest.raises(kind) as raised:
                work()
            assert isinstance(raised.value, errors.UserError)
        with pytest.raises(TypeError) as raised:
            typed(*[1])  # type: ignore[call-arg, arg-type]
        assert not isinstance(raised.value, errors.UserError), "called wrongly: a bug"


class TestTrain:
    def test_equals_the_python_api(self, trained: str, tiny_model: str, tmp_path: Path) -> None:
        folder = train(env=LETTERS, model=tiny_model, output_dir=tmp_path / "api", **SMALL)
        told = [
            [{k: v for k, v in row.items() if not k.startswith("time/")} for row in f.metrics]
            for f in (folder, RunFolder(trained))
        ]
        assert told[0] == told[1]
        assert folder.config.merged({"output_dir": trained}) == RunFolder(trained).config

    def test_a_file_and_flags_on_top(self, run: Run, tiny_model: str, tmp_path: Path) -> None:
        (tmp_path / "c.yaml").write_text(
            f"env: {LETTERS}\nmodel: {tiny_model}\nnum_iterations: 7\nlearning_rate: 1e-3\nalgorithm: magrpo\n"
            "algorithm_args: {group_size: 4, standardise: true}\nepisodes_per_iteration: 8\nmax_new_tokens: 4\n"
            "num_eval_questions: 2\ntrackers: []\n"
        )
        code, out, _ = run(
            "train", "--config", tmp_path / "c.yaml", "--num_iterations", "1", "--algorithm_args.group_size", "2",
            "--output_dir", tmp_path / "run",
        )  # fmt: skip
        config = RunFolder(tmp_path / "run").config
        assert code == 0 and "iteration 1/1" in out
        assert (config.num_iterations, config.learning_rate) == (1, 1e-3)
        assert config.algorithm_args == {"group_size": 2, "standardise": True}

    def test_what_is_shown_without_a_terminal(self, run: Run, tiny_model: str, tmp_path: Path) -> None:
        code, out, err = run("train", "--env", LETTERS, "--model", tiny_model, "--output_dir", tmp_path / "run", *QUICK)
        lines = out.splitlines()
        assert code == 0
        assert lines[0].split() == ["questions", "192", "train,", "8", "validation"]
        assert lines[1].startswith("validation before ") and "accuracy" in lines[1] and "(4 of 8 questions)" in lines[1]
        assert lines[2].startswith("iteration 1/2") and lines[3].startswith("iteration 2/2")
        for figure in ("reward", "accuracy", "KL", "tokens/s", "left"):
            assert figure in lines[2]
        assert "team accuracy" in out and "validation after" in out
        assert lines[-1] == f"run folder: {tmp_path / 'run'}"
        assert "Loading weights" not in err and "Warning" not in err

    @pytest.mark.parametrize(
        ("word", "given"), [("sft", {"algorithm_args.keep": 1, "max_new_tokens": 40}), ("trl_grpo", {})]
    )
    def test_a_trainer_is_an_algorithm_by_word(
        self, word: str, given: dict[str, Any], run: Run, tiny_model: str, tmp_path: Path
    ) -> None:
        alone = {"num_agents": 1, "num_rounds": 1, "output_dir": tmp_path / "run", "algorithm": word}
        words = ["train", "--env", LETTERS, "--model", tiny_model, *QUICK]
        code, out, err = run(*words, *(f"--{name}={value}" for name, value in (alone | given).items()))
        lines = out.splitlines()
        assert code == 0, err
        assert len(lines) == 4 and lines[0].startswith("questions "), "nothing of its own is printed"
        assert lines[1].startswith("iteration 1/2") and lines[2].startswith("iteration 2/2")
        assert lines[3] == f"run folder: {tmp_path / 'run'}; evaluate it with: maporl evaluate {tmp_path / 'run'}"
        code, out, _ = run("evaluate", tmp_path / "run", "--num_eval_questions", "2")
        assert code == 0 and "team accuracy" in out
        code, _, err = run(*words, "--algorithm", word, "--algorithm_args.kept", "1", "--output_dir", tmp_path / "none")
        assert code == 2 and f"algorithm '{word}' has no argument 'kept'." in err and not (tmp_path / "none").exists()

    def test_ctrl_c_names_the_way_on(self, tiny_model: str, tmp_path: Path) -> None:
        folder = tmp_path / "run"
        words = [a for a in QUICK if "num_iterations" not in a] + ["--num_iterations=10000"]
        work = subprocess.Popen(
            [sys.executable, "-c", "import sys; from maporl.cli import main; sys.exit(main())", "train", "--env", LETTERS,
             "--model", tiny_model, "--output_dir", str(folder), *words],
            cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        assert work.stdout is not None
        while "iteration 2/" not in work.stdout.readline():
            assert work.poll() is None
        work.send_signal(signal.SIGINT)
        _, err = work.communicate(timeout=60)
        assert work.returncode == 130
        assert err.splitlines()[-1] == f"maporl: interrupted; go on with: maporl train --resume {folder}"
        assert "Traceback" not in err
        assert RunFolder(folder).status == "interrupted"

    @pytest.mark.filterwarnings("ignore")
    def test_weights_that_diverge_are_one_line(self, run: Run, tiny_model: str, tmp_path: Path) -> None:
        words = [*QUICK, "--learning_rate", "1e20", "--num_iterations", "5"]
        code, _, err = run("train", "--env", LETTERS, "--model", tiny_model, "--output_dir", tmp_path / "run", *words)
        assert code == 2 and "Traceback" not in err and "sampled from logits that are no numbers" in err
        assert RunFolder(tmp_path / "run").status == "failed"

    def test_ctrl_c_in_a_destructor_is_not_lost(
        self, run: Run, tiny_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Swallows:
            def __del__(self) -> None:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.01)  # the handler runs here, and Python ignores what it raises

        original = MAPPO.update

        def update(self: MAPPO, episodes: Sequence[Episode]) -> dict[str, float]:
            Swallows()
            return original(self, episodes)

        monkeypatch.setattr(MAPPO, "update", update)
        swallowed: list[Any] = []
        monkeypatch.setattr(sys, "unraisablehook", swallowed.append)
        before = signal.getsignal(signal.SIGINT)  # a shell starts what runs in the background with it ignored
        code, _, err = run("train", "--env", LETTERS, "--model", tiny_model, "--output_dir", tmp_path / "run", *QUICK)
        assert swallowed and swallowed[0].exc_type is KeyboardInterrupt
        assert code == 130 and "interrupted; go on with" in err
        assert signal.getsignal(signal.SIGINT) is before

    def test_gold_scores_in_the_prompt_are_an_oracle(self, run: Run, tiny_model: str, tmp_path: Path) -> None:
        """Refused before anything is trained or written, or labelled."""
        words = [
            "--env",
            LETTERS,
            "--model",
            tiny_model,
            "--output_dir",
            tmp_path / "run",
            *QUICK,
            "--num_iterations=1",
        ]
        shown = ["--env_args.protocol", "{name: debate, show_scores: true}"]
        code, _, err = run("train", *words, *shown)
        assert code == 2 and "pass --allow_oracle" in err and not (tmp_path / "run").exists()
        assert run("train", *words, *shown, "--allow_oracle")[0] == 0
        (test,) = (row for row in RunFolder(tmp_path / "run").metrics if row.get("evaluation") == "test")
        assert "test/oracle_accuracy" in test and "test/accuracy" not in test
        for file in (tmp_path / "run").glob("*/*.jsonl"):
            assert all(json.loads(line)["oracle"] for line in file.open())

    def test_resume(self, run: Run, tiny_model: str, tmp_path: Path) -> None:
        from run_toys import StopsLater

        StopsLater.calls = 0
        words = ["--env", LETTERS, "--model", tiny_model, "--env_args.shaping", "run_toys:StopsLater", "--output_dir",
                 tmp_path / "run", "--checkpoint_every", "1", *QUICK]  # fmt: skip
        code, _, err = run("train", *words)
        assert code == 130 and err.splitlines()[-1].endswith(f"maporl train --resume {tmp_path / 'run'}")
        StopsLater.calls = -1000
        code, out, _ = run("train", "--resume", tmp_path / "run")
        assert code == 0 and "iteration 1/2" not in out and "iteration 2/2" in out
        assert run("train", "--resume", tmp_path / "run")[0] == 0, "a complete run is left as it is"


class TestAfterwards:
    def test_evaluate_on_its_own_task(self, run: Run, trained: str) -> None:
        code, out, _ = run("evaluate", trained, "--num_eval_questions", "3")
        file = Path(trained) / "evaluations" / "run_toys.Letters-test.jsonl"
        assert code == 0 and f"records: {file}" in out and "team accuracy" in out and "greedy" in out
        again = [json.loads(line) for line in file.open()]
        first = [json.loads(line) for line in (Path(trained) / "evaluations" / "test.jsonl").open()]
        assert again == first[:3], "the same team says the same"

    def test_evaluate_on_another_task(self, run: Run, trained: str) -> None:
        code, out, err = run(
            "evaluate", trained, "--env", "vault", "--num_eval_questions", "3", "--split", "validation", "--name", "far",
            "--eval_temperature", "0.7", "--num_rounds", "3",
        )  # fmt: skip
        assert code == 0 and "on vault, sampled at temperature 0.7" in out, err
        records = [json.loads(line) for line in (Path(trained) / "evaluations" / "far.jsonl").open()]
        assert len(records) == 3 and len(records[0]["turns"]) == 2 * 3
        assert run("evaluate", trained, "--name", "far", "--num_eval_questions", "2")[0] == 0
        assert (Path(trained) / "evaluations" / "far-2.jsonl").exists(), "results are not overwritten"

    def test_ask(self, run: Run, trained: str) -> None:
        code, out, _ = run("ask", trained, "What is it?", "--private.agent_1", "It is 7.", "--temperature", "1")
        assert code == 0
        assert "Question: What is it?" in out and "agent_1 alone knows: It is 7." in out
        assert "[round 2] agent_1:" in out and "(wrong)" not in out and "(right)" not in out
        assert "Team answer: " in out or "gave no answer" in out
        assert run("ask", trained, "What?", "--private.bob", "x")[0] == 2

    def test_ask_where_scores_are_shown(self, run: Run, trained: str, tmp_path: Path) -> None:
        """Nobody knows the gold answer of a question that is asked; a verifier that needs none judges it as any other."""
        import shutil

        other = shutil.copytree(trained, tmp_path / "other")
        shown = RunFolder(other).config.merged({"env_args": {"protocol": {"name": "debate", "show_scores": True}}})
        shown.save(other / "config.yaml")
        code, _, err = run("ask", other, "What is it?")
        assert code == 2 and "the scores of a verifier that knows the gold answer" in err and "Traceback" not in err
        learned = {"function": "run_toys:share_of_letters", "uses_gold": False, "rule_based": False}
        verifier = {"name": "maporl.envs.verifiers:Function", **learned}
        shown.merged({"env_args": {"verifier": verifier}}).save(other / "config.yaml")
        code, out, err = run("ask", other, "What is it?", "--temperature", "1")
        assert code == 0 and "[round 2] agent_1:" in out, err

    @pytest.mark.parametrize(
        "env", ["gsm8k", "math", "csqa", "anli", "strategyqa", "two_witnesses", "arithmetic", "vault", "humaneval"]
    )
    def test_ask_needs_no_gold_answer_on_any_task(self, env: str, run: Run, trained: str, tmp_path: Path) -> None:
        import shutil

        other = shutil.copytree(trained, tmp_path / "other")
        RunFolder(other).config.merged({"env": env, "num_rounds": 1, "env_args": {"protocol": "debate"}}).save(
            other / "config.yaml"
        )
        code, out, err = run("ask", other, "What is 3 + 4?", "--temperature", "1", "--max_new_tokens", "8")
        assert code == 0 and "[round 1] agent_0:" in out, err

    def test_export_gives_plain_models_that_say_the_same(self, run: Run, trained: str, tmp_path: Path) -> None:
        code, out, _ = run("export", trained, tmp_path / "plain")
        assert code == 0 and "agent_1: agent_1 round 1, agent_1 round 2" in out
        ids = torch.tensor([[5, 6, 7, 8, 9]])
        team = load_team(trained)
        for name, agent in team.learners.items():
            plain = AutoModelForCausalLM.from_pretrained(tmp_path / "plain" / name)
            with torch.no_grad(), agent.policy.using(name):
                torch.testing.assert_close(plain(ids).logits, agent.policy.model(ids).logits, rtol=1e-4, atol=1e-4)
            assert AutoTokenizer.from_pretrained(tmp_path / "plain" / name).chat_template

    def test_an_exported_model_trains_again(self, run: Run, trained: str, tmp_path: Path) -> None:
        assert run("export", trained, tmp_path / "plain")[0] == 0
        words = [a for a in QUICK if "num_iterations" not in a] + ["--num_iterations", "1"]
        assert (
            run(
                "train",
                "--env",
                LETTERS,
                "--model",
                tmp_path / "plain" / "agent_0",
                "--output_dir",
                tmp_path / "r",
                *words,
            )[0]
            == 0
        )


class TestCatalogue:
    def test_envs(self, run: Run) -> None:
        from maporl import registry

        code, out, _ = run("envs")
        assert code == 0
        for name in registry.names("env"):
            assert any(line.startswith(f"{name} ") and len(line.split()) > 8 for line in out.splitlines()), name
        assert re.search(r"^gsm8k +2 agents x 3 rounds", out, re.MULTILINE)

    def test_show_prints_the_prompts_that_agents_get(self, run: Run, tiny_model: str) -> None:
        from maporl.agents import Policy, PromptTemplate
        from maporl.envs.tasks.two_witnesses import TwoWitnesses

        code, out, _ = run("envs", "--show", "two_witnesses", "--model", tiny_model)
        assert code == 0
        env = TwoWitnesses()
        env.reset(options={"question": next(iter(env.load("train")))})
        tokenizer = Policy.from_pretrained(tiny_model).tokenizer
        for round in (1, 2):
            observation = env.observe("agent_0")
            ids = PromptTemplate().encode(tokenizer, observation)
            assert f"({len(ids)} tokens)\n{tokenizer.decode(ids)}" in out
            for message in PromptTemplate().messages(observation):
                assert f"--- {message['role']}\n{message['content']}" in out
            for agent in env.possible_agents:
                env.step(f"<what {agent} says in round {round}>")

    def test_show_with_prompts_and_protocol_of_ones_own(self, run: Run) -> None:
        code, out, _ = run(
            "envs",
            "--show",
            LETTERS,
            "--env_args.protocol",
            "pipeline",
            "--agent",
            "refiner_0",
            "--prompts.question",
            "Q: {question}",
        )
        assert code == 0 and "refiner_0, round 1" in out and "Q: train 0" in out and "You are the refiner" in out

    def test_show_without_data_uses_a_stand_in(self, run: Run) -> None:
        code, out, _ = run("envs", "--show", "gsm8k")
        assert code == 0 and "a stand-in for the question" in out and "--data FILE" in out
        assert "gsm8k" in out and "The answer is <number>" in out

    def test_show_real_data(self, run: Run, data_dir: Path) -> None:
        code, out, _ = run("envs", "--show", "gsm8k", "--data", data_dir / "gsm8k" / "train.jsonl")
        assert code == 0 and "Natalia sold clips" in out and "agent_0, round 2" in out and "stand-in" not in out

    def test_algorithms(self, run: Run) -> None:
        code, out, _ = run("algorithms")
        assert code == 0
        assert out.startswith("ippo: ") and "\nmappo: " in out and "\nmagrpo: " in out
        assert "gae_lambda=0.95" in out and "max_grad_norm=1.0" in out, "settings of the class and of its parents"
        code, out, _ = run("algorithms", "magrpo")
        assert code == 0 and "--algorithm_args.group_size 8\n      Samples that are compared" in out
        assert "--algorithm_args.learning_rate" not in out, "a flag of its own"
        code, out, _ = run("algorithms", "sft")
        assert code == 0 and "--algorithm_args.keep 0.1\n      The share" in out, "settings of a trainer"
        assert "--algorithm_args.steps None" in out


class TestMaking:
    def test_make_model_and_sft(self, run: Run, tmp_path: Path) -> None:
        code, out, _ = run("make-model", tmp_path / "m", "--hidden_size", "32", "--num_layers", "1", "--context", "256")
        assert code == 0 and "parameters, random weights" in out
        rows = [{"prompt": f"What is {n}?", "completion": f"Answer: {n}"} for n in range(9)]
        (tmp_path / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
        for extra, name in (([], "full"), (["--lora.r", "2"], "merged")):
            code, out, err = run(
                "sft", tmp_path / "m", tmp_path / "rows.jsonl", tmp_path / name, "--steps", "3", "--batch_size", "4", "--device", "cpu",
                *extra,
            )  # fmt: skip
            assert code == 0 and "loss" in out and "accuracy" in out, err
            AutoModelForCausalLM.from_pretrained(tmp_path / name)
        assert run("sft", tmp_path / "m", tmp_path / "rows.jsonl", tmp_path / "x", "--lora.rank", "2")[0] == 2


class TestDisplay:
    METRICS = {
        "rollout/reward_mean": 0.25,
        "rollout/accuracy_round_1": 0.1,
        "rollout/accuracy_round_10": 0.5,
        "rollout/accuracy_round_9": 0.2,
        "train/approx_kl": 0.0125,
        "time/tokens_per_s": 1234.6,
    }

    def test_figures_are_those_of_the_last_round(self) -> None:
        from maporl.training.display import iteration_figures

        assert iteration_figures(self.METRICS) == "reward 0.250  accuracy 0.500  KL 0.0125  tokens/s 1,235"
        assert iteration_figures({"rollout/reward_mean": 1.0}) == "reward 1.000", "what was not measured is left out"
        assert iteration_figures({"verifier/judge_nonsense": 3.0}) == "unusable verdicts of the judge 3"
        assert iteration_figures({"verifier/judge_nonsense": 0.0}) == ""

    def test_live_on_a_terminal(self) -> None:
        import io

        from rich.console import Console

        from maporl.training.display import Display

        screen = io.StringIO()
        with Display("mappo on x", 3, Console(file=screen, force_terminal=True, width=150)) as display:
            display.on_evaluation("iteration_0000", 0, Evaluation({"eval/accuracy": 0.5, "eval/questions": 10.0}, []))
            display.on_iteration(1, self.METRICS)
        shown = screen.getvalue()
        assert "validation before" in shown and "mappo on x" in shown and "1/3" in shown
        assert "reward 0.250" in shown and "0:00" in shown and "left" in shown
        assert "iteration 1/3" not in shown, "no log lines beside the live one"

    def test_a_long_warning_is_one_unbroken_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        import io
        import warnings

        from rich.console import Console

        from maporl.training.display import Display

        text = "all rewards are equal, " * 20
        screen = io.StringIO()
        before = warnings.showwarning
        with Display("x", 1, Console(file=screen, force_terminal=True, width=60)):
            warnings.warn(text, stacklevel=1)
            warnings.warn("a library will change", FutureWarning, stacklevel=1)
        assert any(text.strip() in line for line in screen.getvalue().splitlines())
        assert "a library will change" not in screen.getvalue()
        with Display("x", 1, Console(file=io.StringIO())):
            warnings.warn(text, stacklevel=1)
        assert capsys.readouterr().err == f"maporl: warning: {text.strip()}\n"
        assert warnings.showwarning is before

    def test_summary(self) -> None:
        import io

        from rich.console import Console

        from maporl.training.display import summary

        screen = io.StringIO()
        rows = [
            {"iteration": 0, "evaluation": "iteration_0000", "eval/accuracy": 0.25, "eval/questions": 40.0},
            {"iteration": 1, "rollout/reward_mean": 0.5},
            {"iteration": 1, "evaluation": "iteration_0001", "eval/accuracy": 0.75, "eval/questions": 40.0},
            {"iteration": 1, "evaluation": "test", "test/oracle_accuracy": 0.875, "test/questions": 8.0},
        ]
        summary(rows, "runs/a", Console(file=screen, width=100))
        lines = screen.getvalue().splitlines()
        assert any(all(x in line for x in ("team accuracy ", "0.250", "0.750")) for line in lines)
        assert any("ORACLE" in line and "0.875" in line for line in lines), "an oracle's figure is labelled"
        assert lines[-1] == "run folder: runs/a"

        screen = io.StringIO()
        summary(rows[1:2], "runs/a", Console(file=screen, width=100))
        assert screen.getvalue() == "run folder: runs/a; evaluate it with: maporl evaluate runs/a\n", "no empty table"
