"""The configuration: what may be written in it, and that it comes back from its file."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from run_toys import Idle, Letters, Parrot, share_of_letters

from maporl import RunConfig
from maporl.cli.flags import documented
from maporl.envs.shaping import TeamMean
from maporl.settings import called, importable, parameters, read_yaml
from maporl.typed import typed


class TestYaml:
    @pytest.mark.parametrize(
        ("text", "value"),
        [("1e-5", 1e-5), ("-2.5E+3", -2500.0), (".5e-1", 0.05), ("3", 3), ("0.1", 0.1), ("e5", "e5"), ("1e", "1e")],
    )
    def test_numbers_as_people_write_them(self, text: str, value: object) -> None:
        assert read_yaml(text) == value
        assert type(read_yaml(text)) is type(value)

    def test_not_yaml(self) -> None:
        with pytest.raises(ValueError, match="not YAML") as raised:
            read_yaml("a: [1")
        assert "\n" not in str(raised.value)


class TestValues:
    def test_every_field_is_documented(self) -> None:
        texts = documented(RunConfig)
        assert set(texts) == {f.name for f in fields(RunConfig)}
        assert all(text.endswith((".", ")")) for text in texts.values())

    def test_types_are_checked_and_tidied(self, tmp_path: Path) -> None:
        config = RunConfig(learning_rate=1, frozen="agent_0", model=tmp_path, trackers=["tensorboard"], lora={"r": 4})  # type: ignore[arg-type]
        assert (config.learning_rate, config.frozen, config.model) == (1.0, ("agent_0",), str(tmp_path))
        assert config.trackers == ("tensorboard",)
        assert RunConfig(stop=[r"\n\t", "\n"]).stop == ("\n\t", "\n")  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("setting", "message"),
        [
            ({"num_agents": "two"}, "num_agents is 'two'; it must be a whole number or nothing."),
            ({"num_agents": True}, "num_agents is True"),
            ({"num_iterations": 2.5}, "num_iterations is 2.5; it must be a whole number."),
            ({"temperature": "hot"}, "temperature is 'hot'; it must be a number."),
            ({"allow_oracle": 1}, "allow_oracle is 1; it must be true or false."),
            ({"lora": 8}, "lora is 8; it must be a mapping."),
            ({"trackers": 3}, "trackers is 3; it must be a list of text."),
            ({"team": 3}, "team is 3; it must be text or a mapping."),
            ({"num_iterations": -1}, "num_iterations is -1; it must be at least 0."),
            ({"episodes_per_iteration": 0}, "episodes_per_iteration is 0; it must be at least 1."),
            ({"seed": -1}, "seed is -1; it must be at least 0."),
            ({"reference": "start"}, "reference 'start' is unknown; use one of ['base', 'warm_start']."),
            (
                {"eval_temperature": 0},
                "eval_temperature is 0.0; it must be above 0 and finite (leave it out to decode greedily).",
            ),
            ({"temperature": -1}, "temperature is -1.0; it must be above 0 and finite."),
            ({"learning_rate": float("nan")}, "learning_rate is nan; it must be above 0 and finite"),
            ({"learning_rate": 0}, "learning_rate is 0.0; it must be above 0 and finite"),
            (
                {"matmul_precision": "best"},
                "matmul_precision 'best' is unknown; use one of ['highest', 'high', 'medium'].",
            ),
        ],
    )
    def test_wrong_values(self, setting: dict, message: str) -> None:
        with pytest.raises(ValueError) as raised:
            RunConfig(**setting)
        assert message in str(raised.value)

    def test_classes_become_words_that_a_file_can_hold(self) -> None:
        config = RunConfig(env=Letters, algorithm=Idle)  # type: ignore[arg-type]
        assert (config.env, config.algorithm) == ("run_toys:Letters", "run_toys:Idle")

        class Local:
            pass

        with pytest.raises(ValueError, match="^env: .*Local is a lambda, or defined inside a function"):
            importable("env", Local)

    def test_what_mappings_hold_becomes_what_a_file_can_hold(self, tmp_path: Path) -> None:
        config = RunConfig(
            env_args={"shaping": (TeamMean, {"name": "discounted_team", "gamma": np.float64(0.5)}), "verifier": share_of_letters},
            algorithm_args={"num_epochs": np.int64(2)}, partners={"agent_1": Parrot}, model={"agent_0": tmp_path},
        )  # fmt: skip
        team_mean = f"{TeamMean.__module__}:TeamMean"
        assert config.env_args == {
            "shaping": [team_mean, {"name": "discounted_team", "gamma": 0.5}],
            "verifier": "run_toys:share_of_letters",
        }
        assert (config.partners, config.model) == ({"agent_1": "run_toys:Parrot"}, {"agent_0": str(tmp_path)})
        config.save(tmp_path / "c.yaml")
        assert RunConfig.load(tmp_path / "c.yaml") == config

    @pytest.mark.parametrize(
        ("setting", "message"),
        [
            (
                {"env_args": {"shaping": TeamMean()}},
                r"^env_args\.shaping is an object of TeamMean, .*package\.module:Class\.$",
            ),
            ({"env_args": {"shaping": ["own_score", TeamMean()]}}, r"^env_args\.shaping is an object of TeamMean"),
            ({"env_args": {"protocol": {"name": "debate", "x": {1}}}}, r"^env_args\.protocol\.x is an object of set"),
            (
                {"env_args": {"verifier": lambda question, response: True}},
                r"^env_args\.verifier: .*at the top of a module",
            ),
            ({"algorithm_args": {"hook": object()}}, r"^algorithm_args\.hook is an object of object"),
            ({"partners": {"agent_1": Parrot()}}, r"^partners\.agent_1 is an object of Parrot"),
        ],
    )
    def test_objects_are_refused_by_the_key_that_holds_them(self, setting: dict, message: str) -> None:
        with pytest.raises(ValueError, match=message) as raised:
            RunConfig(**setting)
        assert "\n" not in str(raised.value)

    def test_unknown_key_names_the_nearest(self) -> None:
        with pytest.raises(ValueError, match=r"unknown setting 'num_agent'\. Did you mean 'num_agents'\?"):
            RunConfig().merged({"num_agent": 3})

    def test_mappings_are_merged_key_by_key(self) -> None:
        config = RunConfig(env_args={"history": "all", "protocol": "debate"}).merged(
            {"env_args": {"history": "last_round"}}
        )
        assert config.env_args == {"history": "last_round", "protocol": "debate"}
        assert RunConfig(team={"agent_0": "a"}).merged({"team": "shared"}).team == "shared"

    def test_the_default_folder_says_what_is_run(self) -> None:
        assert str(RunConfig(env="pkg.tasks:Mine", algorithm="ippo", seed=3).folder) == "runs/pkg.tasks.Mine-ippo-3"
        assert str(RunConfig(output_dir="here").folder) == "here"


class TestFile:
    def test_comes_back(self, tmp_path: Path) -> None:
        config = RunConfig(
            env_args={"shaping": ["own_score", {"name": "length", "at_least": 9}]}, learning_rate=3e-4,
            frozen=("round_1",), stop=("\n", "#"), num_agents=3, eval_temperature=0.7, model={"agent_0": "a", "agent_1": "b"},
        )  # fmt: skip
        config.save(tmp_path / "c.yaml")
        assert RunConfig.load(tmp_path / "c.yaml") == config

    def test_scientific_notation(self, tmp_path: Path) -> None:
        (tmp_path / "c.yaml").write_text("learning_rate: 1e-4\nlora: {r: 4}\n")
        config = RunConfig.load(tmp_path / "c.yaml")
        assert (config.learning_rate, config.lora) == (1e-4, {"r": 4})

    def test_empty(self, tmp_path: Path) -> None:
        (tmp_path / "c.yaml").write_text("# nothing yet\n")
        assert RunConfig.load(tmp_path / "c.yaml") == RunConfig()

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("a: [", r"c\.yaml, line 1: not YAML"),
            ("- env", "holds a list; write 'key: value' lines"),
            ("enw: x", "Did you mean 'env'"),
        ],
    )
    def test_bad_files(self, text: str, message: str, tmp_path: Path) -> None:
        (tmp_path / "c.yaml").write_text(text)
        with pytest.raises(ValueError, match=message):
            RunConfig.load(tmp_path / "c.yaml")

    def test_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="no such file"):
            RunConfig.load(tmp_path / "c.yaml")


class Parent:
    def __init__(self, team: object, *, rate: float = 1.0, **more: object) -> None:
        self.rate, self.more = rate, more


class Child(Parent):
    def __init__(self, team: object, *, size: int = 2, **settings: object) -> None:
        super().__init__(team, **settings)  # type: ignore[arg-type]


class Closed(Parent):
    def __init__(self, size: int = 2) -> None:
        super().__init__(None)


class TestCalls:
    def test_settings_of_a_class_are_its_parents_too(self) -> None:
        assert list(parameters(Child)) == ["team", "size", "rate"]
        assert parameters(Child)["rate"].default == 1.0
        assert list(parameters(Closed)) == ["size"], "nothing is passed on"

    def test_unknown_argument(self) -> None:
        with pytest.raises(
            ValueError, match=r"^thing 'child' has no argument 'rat'\. Did you mean 'rate'\? It takes: rate, size\.$"
        ):
            called("thing", "child", Child, {"team": None, "rat": 2})
        assert called("thing", "child", Child, {"team": None, "rate": 2}).rate == 2

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"rate": "abc"}, "^thing 'child': rate is 'abc'; it must be a number\\.$"),
            ({"size": 4.0}, "^thing 'child': size is 4.0; it must be a whole number\\.$"),
            ({"size": None}, "size is None"),
        ],
    )
    def test_arguments_are_of_the_type_they_are_annotated(self, arguments: dict, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            called("thing", "child", Child, {"team": None, **arguments})

    def test_annotations_that_cannot_be_resolved_leave_the_others_checked(self) -> None:
        def make(team: OnlyForTypeCheckers, spec: str | dict, size: int) -> tuple:  # type: ignore[name-defined] # noqa: F821
            return team, spec, size

        assert called("thing", "make", make, {"team": 1, "spec": {"a": 2}, "size": np.int64(3)}) == (1, {"a": 2}, 3)
        with pytest.raises(ValueError, match="size is 'x'"):
            called("thing", "make", make, {"team": 1, "spec": "b", "size": "x"})

    def test_functions_that_take_anything(self) -> None:
        assert called("thing", "dict", lambda **all: all, {"x": 1}) == {"x": 1}

    def test_type_errors_inside_are_not_hidden(self) -> None:
        def broken(x: int) -> int:
            return x + "1"  # type: ignore[operator]

        with pytest.raises(TypeError, match="unsupported operand"):
            called("thing", "broken", broken, {"x": 1})

    def test_typed(self) -> None:
        assert typed("x", [1, 2], tuple[int, ...]) == (1, 2)
        assert typed("x", None, float | None) is None


def test_a_model_folder_may_bring_its_own_prompts(tmp_path: Path) -> None:
    for name, text in {"a": "Say.", "b": "Say.", "c": "Speak."}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "prompts.yaml").write_text(f"answer: {text}\n")
    a, b, c = (str(tmp_path / name) for name in "abc")
    assert RunConfig(model=a).build_prompts().answer == "Say."
    assert RunConfig(model=a, prompts={"answer": "Other."}).build_prompts().answer == "Other."
    assert RunConfig(model={"agent_0": a, "agent_1": b}).build_prompts().answer == "Say."
    assert RunConfig(model="somewhere/else").build_prompts() == RunConfig().build_prompts()
    for other in (c, "somewhere/else"):
        with pytest.raises(ValueError, match="different prompts.yaml"):
            RunConfig(model={"agent_0": a, "agent_1": other}).build_prompts()
