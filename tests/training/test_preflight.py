"""A preflight says what a run can be expected to be, stops one that can learn nothing, and changes nothing of one that can."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from run_toys import SMALL

from maporl import train
from maporl.agents import ScriptedAgent
from maporl.cli import main
from maporl.training.callbacks import Callback
from maporl.training.preflight import Preflight
from maporl.training.run_folder import RunFolder
from maporl.types import Question, Score

CONSTANT = "test_preflight:constant"
BY_QUESTION = "test_preflight:by_question"


def constant(question: Question, response: str) -> Score:
    """Every answer can be read, and every one is wrong."""
    return Score(0.0, False, answer=response or "nothing")


def by_question(question: Question, response: str) -> Score:
    """Rewards differ, but never between answers to one question."""
    return Score(int(question.hash[:4], 16) / 0x10000, None, answer=response)


class Reader(ScriptedAgent):
    """A partner whose answers the verifier reads."""

    def __init__(self) -> None:
        super().__init__(lambda observation, rng: "ANSWER 5")


class Tried(Callback):
    """What it is told of preflights."""

    def __init__(self) -> None:
        self.found: list[Preflight] = []

    def on_preflight(self, preflight: Preflight) -> None:
        self.found.append(preflight)


@pytest.fixture
def settings(tiny_model: str, tmp_path: Path) -> dict[str, Any]:
    small = {k: v for k, v in SMALL.items() if k != "preflight"}
    return {**small, "env": "run_toys:Letters", "model": tiny_model, "algorithm": "ippo", "num_threads": 1,
            "num_iterations": 1, "output_dir": str(tmp_path / "run")}  # fmt: skip


def weights(run: RunFolder) -> dict[str, bytes]:
    return {str(f.relative_to(run.path)): f.read_bytes() for f in sorted(run.path.glob("adapters/**/*.safetensors"))}


def measured(run: RunFolder) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if not k.startswith("time/")} for row in run.metrics]


@pytest.mark.parametrize(("algorithm", "group"), [("mappo", 1), ("magrpo", 4)])
def test_a_run_is_to_the_bit_the_one_without(
    algorithm: str, group: int, settings: dict[str, Any], tmp_path: Path
) -> None:
    """Its discussions and its update come from streams of their own, and the update is undone, critics and optimizers included."""
    settings |= {"algorithm": algorithm, "num_iterations": 2, "algorithm_args": {} if group == 1 else {"group_size": 4}}
    tried = Tried()
    with_it = train(**settings, callbacks=[tried])
    without = train(**settings | {"output_dir": str(tmp_path / "off"), "preflight": "off"}, callbacks=[tried])
    assert measured(with_it) == measured(without)
    assert weights(with_it) == weights(without) and weights(with_it)
    (found,) = tried.found
    assert json.loads((with_it.path / "preflight.json").read_text()) == vars(found)
    assert not (without.path / "preflight.json").exists()
    assert (found.discussions, found.messages, found.problem) == (8, 8 * 4, "")
    assert found.readable == 1.0 and 0 < found.reward_mean < 1 and found.reward_std > 0
    assert found.groups_that_differ == (None if group == 1 else 1.0)
    assert found.truncated is not None and found.ended is not None and found.truncated + found.ended == pytest.approx(1)
    assert found.update_s is not None and found.iteration_s == pytest.approx(found.sample_s + found.update_s)
    # Two iterations, and evaluations before, after and of the test, of 4 questions each, where 8 discussions took sample_s.
    assert found.run_s == pytest.approx(2 * found.iteration_s + 3 * 4 / 8 * found.sample_s)
    assert found.peak_memory > 0.01


class _Stop(Callback):
    def on_preflight(self, preflight: Preflight) -> None:
        raise RuntimeError("enough")


def try_only(tried: Tried, **settings: Any) -> None:
    """The preflight of a run, and nothing of the run."""
    with pytest.raises(RuntimeError, match="enough"):
        train(**settings, callbacks=[tried, _Stop()])


def test_it_takes_32_discussions_in_whole_groups_and_no_more_than_an_iteration(settings: dict[str, Any]) -> None:
    tried = Tried()
    for episodes, algorithm, group in ((40, "ippo", 1), (36, "magrpo", 12), (40, "magrpo", 40)):
        args = {"group_size": group} if group > 1 else {}
        given = settings | {"algorithm": algorithm, "algorithm_args": args, "episodes_per_iteration": episodes}
        try_only(tried, **given)
    assert [found.discussions for found in tried.found] == [32, 24, 40]
    assert tried.found[0].iteration_s > tried.found[0].sample_s * 40 / 32


UNREAD = {"verifier": {"name": "regex", "pattern": "ANSWER ([0-9])"}}


def test_where_nothing_can_be_read_it_stops_before_anything_is_written(settings: dict[str, Any]) -> None:
    given = settings | {"env_args": UNREAD}
    message = (
        r"preflight: 0 of 32 messages in 8 discussions hold an answer that the verifier Regex can read, and all 32 rewards are 0: nothing "
        r"can be learned\. Ask for it in the prompt .*raise --max_new_tokens \(\d+% are cut off at 5\).*maporl sft.*--preflight warn"
    )
    tried = Tried()
    with pytest.raises(ValueError, match=message) as caught:
        train(**given, callbacks=[tried])
    assert "\n" not in str(caught.value) and tried.found[0].readable == 0 and tried.found[0].hopeless
    assert not Path(settings["output_dir"]).exists(), "the next try may use it"
    with pytest.warns(UserWarning, match="preflight: 0 of 32 messages"):
        folder = train(**given | {"preflight": "warn"})
    assert folder.status == "complete" and json.loads((folder.path / "preflight.json").read_text())["update_s"] is None


def test_those_who_learn_are_asked_whatever_their_partners_say(settings: dict[str, Any]) -> None:
    partner = {"agent_1": "test_preflight:Reader"}
    with pytest.raises(ValueError, match="0 of 16 messages"):
        train(**settings | {"env_args": UNREAD, "partners": partner})


def test_unread_messages_that_earn_differently_can_be_learned_from(settings: dict[str, Any]) -> None:
    shaping = ["own_score", {"name": "length", "at_least": 2}]
    tried = Tried()
    try_only(tried, **settings | {"env_args": UNREAD | {"shaping": shaping}})
    assert tried.found[0].readable == 0 and tried.found[0].reward_std > 0 and not tried.found[0].problem


def test_equal_rewards_of_answers_that_vary_prove_little_and_are_told(settings: dict[str, Any]) -> None:
    """Of what succeeds in 31 % of all discussions, 8 show nothing once in 20 times: 1 - .05 ** (1 / 8)."""
    with pytest.warns(UserWarning, match=r"all 32 rewards are 0 of 8 discussions: at most 31% of all discussions"):
        assert train(**settings | {"env_args": {"verifier": CONSTANT}}).status == "complete"


def test_a_team_that_always_says_the_same_has_nothing_to_explore(settings: dict[str, Any]) -> None:
    given = settings | {"env_args": {"verifier": CONSTANT}, "temperature": 1e-4}
    with pytest.raises(
        ValueError, match="all 32 rewards are 0, and the team always says the same .*Raise --temperature"
    ):
        train(**given)


def test_groups_are_what_counts_for_an_algorithm_that_compares_them(settings: dict[str, Any]) -> None:
    given, tried = settings | {"env_args": {"verifier": BY_QUESTION}}, Tried()
    try_only(tried, **given)
    for algorithm in ("ippo", "mareinforce"):  # which compare none
        try_only(tried, **given | {"algorithm": algorithm, "algorithm_args": {"group_size": 4}})
    assert not any(found.problem for found in tried.found)
    assert [found.groups_that_differ for found in tried.found[1:]] == [None, None]
    given |= {"algorithm": "magrpo", "algorithm_args": {"group_size": 4}}
    with pytest.warns(
        UserWarning, match="no reward differs within a group of 4 discussions of 8 discussions: at most 78%"
    ):
        train(**given, callbacks=[tried])
    assert tried.found[3].groups_that_differ == 0 and tried.found[3].reward_std > 0


def test_a_resumed_run_and_one_without_iterations_try_none(settings: dict[str, Any], tmp_path: Path) -> None:
    class Interrupting(Tried):
        def on_iteration(self, iteration: int, metrics: object) -> None:
            raise KeyboardInterrupt

    tried = Tried()
    with pytest.raises(KeyboardInterrupt):
        train(**settings | {"checkpoint_every": 1, "num_iterations": 2}, callbacks=[Interrupting()])
    assert train(resume=settings["output_dir"], callbacks=[tried]).status == "complete"
    train(**settings | {"num_iterations": 0, "output_dir": str(tmp_path / "none")}, callbacks=[tried])
    assert tried.found == []


def test_an_unknown_word_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"preflight 'of' is unknown; use one of \['stop', 'warn', 'off'\]"):
        train(**settings | {"preflight": "of"})


def test_the_terminal_shows_it_and_how_many_questions_each_split_has(
    settings: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"--{k}={v}" for k, v in settings.items() if k != "trackers"]
    assert main(["train", *words, "--trackers"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("preflight  ") and "8 discussions, 32 messages: reward 0." in lines[0]
    assert "100% with a readable answer" in lines[1] and "ended by themselves" in lines[1]
    assert "tokens/s; an iteration of 32 messages takes about 0:0" in lines[2] and "GB" in lines[2]
    validation = 200 - (training := int(lines[3].split()[1]))
    assert lines[3].split() == ["questions", f"{training}", "train,", f"{validation}", "validation"]
    assert lines[4].startswith("validation before") and f"(4 of {validation} questions)" in lines[4]
    assert next(line for line in lines if line.startswith("test  ")).endswith("(4 of 20 questions)")
