"""PettingZoo's own tests, for every task and protocol shipped, and `check_env` on good and on broken environments."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pettingzoo
import pytest
from discussion_toys import Contains, Digits
from pettingzoo.test import (
    api_test,
    max_cycles_test,
    parallel_api_test,
    parallel_seed_test,
    render_test,
    seed_test,
)

from maporl import registry
from maporl.envs import CollaborationGame, DiscussionEnv, Shaping, check_env
from maporl.types import Observation, Question, Score, Seat, Transcript

TASKS = registry.names("env")
PROTOCOLS = registry.names("protocol")
DEBATES = [
    {"name": "debate", "topology": "ring"},
    {"name": "debate", "topology": "star", "history": "last_round"},
    {"name": "debate", "stop": "consensus"},
]
ROWS = {  # data task -> three rows in the form of its data set, written by hand
    "gsm8k": [
        {"question": f"What is {n} times 1000?", "answer": f"It is <<{n}*1000>>.\n#### {n},000"} for n in (2, 3, 4)
    ],
    "math": [
        {"problem": f"Half of ${n}$?", "solution": f"$\\boxed{{\\frac{{{n}}}{{2}}}}$", "answer": f"\\frac{{{n}}}{{2}}"}
        for n in (3, 5, 7)
    ],
    "csqa": [
        {
            "id": key,
            "answerKey": key,
            "question": {"stem": f"Pick {key}.", "choices": [{"label": x, "text": f"this is {x}"} for x in "ABCDE"]},
        }
        for key in "ABE"
    ],
    "anli": [
        {"uid": label, "context": "It rains.", "hypothesis": f"It is {label}.", "label": label}
        for label in ("e", "n", "c")
    ],
    "strategyqa": [{"qid": str(n), "question": f"Is {n} even?", "answer": n % 2 == 0} for n in range(3)],
    "tldr": [{"prompt": f"I have {n} cats.", "completion": f"{n} cats"} for n in range(3)],
    "arxiv": [{"article_id": str(n), "abstract_text": f"We prove {n} theorems.", "token_count": 4} for n in range(3)],
    **{
        name: [
            {
                "task_id": f"{name}/{n}",
                "prompt": f'def plus_{n}(x):\n    """Add {n} to x."""\n',
                "entry_point": f"plus_{n}",
                "test": f"def check(candidate):\n    assert candidate(1) == {n + 1}\n    assert candidate(2) == {n + 2}\n",
            }
            for n in range(3)
        ]
        for name in ("humaneval", "coophumaneval", "mbpp")
    },
    "colbench": [
        {
            "problem_description": f"Write plus_{n}.",
            "ground_truth": f"def plus_{n}(x):\n    return x + {n}",
            "test_cases": {"test1": f"plus_{n}(1)"},
        }
        for n in range(3)
    ],
}
FEW = {name: {"num_train": 8, "num_test": 2} for name in ("reasoning_gym", "textarena")}  # that are made in time
# One task of a kind under every protocol: private views, views and scores of the team alone, texts, programs with roles.
KINDS = ["two_witnesses", "requests", "tldr", "humaneval"]
COMPLETE = [protocol for protocol in PROTOCOLS if protocol != "review"]  # which is a pipeline
# And every task under two, all protocols by turns.
TURNS = [*zip(TASKS, itertools.cycle(PROTOCOLS)), *zip(TASKS, itertools.cycle(PROTOCOLS[2:] + PROTOCOLS[:2]))]
CASES = sorted(
    {*itertools.product(KINDS, COMPLETE), *TURNS} - {(t, "lessons") for t in ("requests", "colbench", "blocks")}
)
# PettingZoo expects arrays; here observations and actions are text on purpose.
text_spaces = pytest.mark.filterwarnings(
    "ignore:Observation is not a NumPy array",
    "ignore:Observation space for each agent",
    "ignore:Action space for each agent",
)


@pytest.fixture
def data(tmp_path: Path, task: str) -> dict[str, Any]:
    """The arguments without which a task cannot start, or takes long: a file, for one that reads data."""
    if task not in ROWS:
        return FEW.get(task, {})
    path = tmp_path / f"{task}.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in ROWS[task]), "utf-8")
    return {"data": path}


@text_spaces
@pytest.mark.filterwarnings("error:::pettingzoo", "error:::maporl")
@pytest.mark.parametrize("task, protocol", CASES)
def test_pettingzoos_own_tests(
    task: str, protocol: str, data: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """Called one by one, so that nothing of ours stands between."""
    arguments = {**data, "protocol": protocol}
    kind = registry.load("env", task)

    class Module:  # PettingZoo asks for a module with `env` and `parallel_env`
        @staticmethod
        def env(**more: Any) -> DiscussionEnv:
            return kind.env(**{**arguments, **more})

        @staticmethod
        def parallel_env(**more: Any) -> pettingzoo.ParallelEnv:
            return kind.parallel_env(**{**arguments, **more})

    api_test(Module.env())
    seed_test(Module.env)
    render_test(Module.env)
    faults = {
        "leader": "is sequential",
        "round_robin": "is sequential",
        "pipeline": "is sequential",
        "discuss": "is sequential",
        "review": "is sequential",
        "retrieve": "is sequential",
        "mixture_of_agents": "does not let everybody speak in every round",
    }
    assert Module.env().metadata["is_parallelizable"] is (protocol not in faults)
    if protocol in faults:
        with pytest.raises(ValueError, match=f"protocol '{protocol}' {faults[protocol]}, so it has no parallel form"):
            Module.parallel_env()
    else:
        parallel_api_test(Module.parallel_env())
        parallel_seed_test(Module.parallel_env)
        if protocol not in ("reconcile", "lessons"):  # which end early: when all say the same, when one is right
            max_cycles_test(Module)
    assert kind.metadata.get("is_parallelizable", True) is True  # the class's metadata is not the instance's


@pytest.mark.parametrize("task, protocol", CASES)
def test_check_env_passes_what_is_shipped(task: str, protocol: str, data: dict[str, Any]) -> None:
    check_env(registry.build("env", task, protocol=protocol, **data))


def test_a_protocol_that_reads_scores_needs_somebody_who_gives_them() -> None:
    with pytest.raises(ValueError, match=r"Lessons\(.*\) reads the scores of messages; pass verifier="):
        registry.build("env", "requests", protocol="lessons")


@pytest.mark.parametrize("protocol", DEBATES)
def test_check_env_passes_every_kind_of_debate(protocol: dict[str, Any]) -> None:
    check_env(registry.build("env", "two_witnesses", protocol=protocol))
    check_env(registry.build("env", "vault", protocol=protocol))


@pytest.mark.parametrize("task", TASKS)
def test_a_lone_agent_is_a_discussion_too(task: str, data: dict[str, Any]) -> None:
    check_env(registry.build("env", task, num_agents=1, **data))


def test_a_task_class_serves_as_pettingzoos_module() -> None:
    max_cycles_test(Digits)


# Ids.


@pytest.mark.parametrize("task", TASKS)
def test_ids(task: str, data: dict[str, Any]) -> None:
    env = pettingzoo.make("aec", f"maporl/{task}-v0", max_cycles=3, **data)
    assert isinstance(env, registry.load("env", task)) and env.num_rounds == 3
    if not env.metadata["is_parallelizable"]:  # one speaks after the other by default
        return
    parallel = pettingzoo.make("parallel", f"maporl/{task}", max_cycles=3, **data)
    assert isinstance(parallel, pettingzoo.ParallelEnv)
    observations, _ = parallel.reset(seed=0)
    assert set(observations) == set(parallel.possible_agents)
    cycles = 0
    while parallel.agents:
        parallel.step(dict.fromkeys(parallel.agents, "hm"))
        cycles += 1
    assert cycles == 3


def test_the_collaboration_game_has_an_id_too() -> None:
    game = pettingzoo.make("aec", "maporl/collaboration_game-v0", max_cycles=3)
    assert isinstance(game, CollaborationGame) and game.rules.num_rounds == 3
    parallel = pettingzoo.make("parallel", "maporl/collaboration_game-v0", opponents=0.5)
    assert isinstance(parallel, pettingzoo.ParallelEnv) and parallel.possible_agents == ["agent_0"]


def test_ids_are_registered_without_loading_any_task_or_data() -> None:
    code = (
        "import sys, pettingzoo, gymnasium, maporl.envs; from maporl.registry import BUILTINS; "
        "assert all(f'maporl/{t}-v0' in pettingzoo.aec_registry for t in [*BUILTINS['env'], 'collaboration_game']); "
        "assert 'maporl/SingleAgent-v0' in gymnasium.registry; "
        "print([p for p in BUILTINS['env'].values() if p.split(':')[0] in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert answer.stdout.strip() == "[]"


def test_registering_again_is_silent() -> None:
    from maporl.envs.registration import register_all

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        register_all()


def test_a_sequential_protocol_has_no_parallel_form() -> None:
    with pytest.raises(ValueError, match="protocol 'round_robin' is sequential"):
        pettingzoo.make("parallel", "maporl/two_witnesses-v0", protocol="round_robin")


# check_env on a user's own subclass.


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_check_env_passes_a_custom_task_and_leaves_it_alone(
    protocol: str, capsys: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    env = Digits(protocol=protocol, shaping="outcome_credit")
    env.reset(seed=0)
    env.step("hm")
    before = env.transcript
    check_env(env)
    assert env.transcript is before
    assert capsys.readouterr().out == "" and not list(recwarn)


class NoKeywords(Digits):
    def __init__(self) -> None:
        super().__init__()


class Unpicklable(Digits):
    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.hook = lambda text: text


class Leaky(Digits):
    def observe(self, agent: str) -> Observation:
        return self.rules.state(self.transcript, Seat(agent, self.transcript.completed_rounds))


class Eavesdropping(Digits):
    def observe(self, agent: str) -> Observation:
        said = [{"agent": turn.agent, "round": turn.round, "text": turn.text} for turn in self.transcript.turns]
        return {**super().observe(agent), "transcript": tuple(said)}


class OutsideItsSpace(Digits):
    def observe(self, agent: str) -> Observation:
        return {**super().observe(agent), "hint": "none"}


class Gossiping(Digits):
    """Leaks through words that are no agent's."""

    def observe(self, agent: str) -> Observation:
        others = [view for seat, view in self.transcript.question.private.items() if seat != agent]
        told = {"agent": "host", "round": 0, "text": others[0]}
        return {**super().observe(agent), "transcript": (told,)}


class Fragile(Contains):
    def __call__(self, question: Question, response: str) -> Score:
        return Score(float(response[0] == "<"), None)


class FragileVerifier(Digits):
    default_verifier = Fragile


class Forgetful(Shaping):
    """Not a function of the transcript: it pays less every time it is asked."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, transcript: Transcript) -> tuple[float, ...]:
        self.calls += 1
        return (1.0 / self.calls,) * len(transcript.turns)


class Drifting(Digits):
    default_shaping = Forgetful


class Overpaid(Digits):
    @property
    def rewards(self) -> dict[str, float]:
        return {agent: reward + 1 for agent, reward in super().rewards.items()}


class Unseeded(Digits):
    def load(self, split: str) -> Iterable[Question]:
        return super().load(split)

    def reset(self, seed: int | None = None, options: Any = None) -> None:
        super().reset(None, options)


@pytest.mark.parametrize(
    "env, error, message",
    [
        (NoKeywords, ValueError, "NoKeywords cannot be made with .*take ..kwargs"),
        (Unpicklable, ValueError, "Unpicklable cannot be pickled.*lambdas"),
        (Leaky, AssertionError, "private information"),
        (Gossiping, AssertionError, "private information"),
        (Eavesdropping, AssertionError, "sees a message of the round in progress"),
        (OutsideItsSpace, AssertionError, "observes something outside its space"),
        (Drifting, AssertionError, "must be a function of the transcript alone"),
        (FragileVerifier, AssertionError, "failed on the message ''.*IndexError"),
        (Unseeded, AssertionError, "Incorrect observation"),
    ],
)
def test_check_env_names_what_is_broken(env: type[Digits], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        check_env(env())


def test_check_env_finds_payments_that_do_not_add_up() -> None:
    with pytest.raises(AssertionError, match="was paid"):
        check_env(Overpaid())


def test_check_env_takes_environments_only() -> None:
    with pytest.raises(TypeError, match="not the class Digits; make one"):
        check_env(Digits)
    with pytest.raises(TypeError, match="not a int"):
        check_env(3)
