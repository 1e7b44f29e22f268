"""What could be said in two places: one place, or an error that names both values."""

from __future__ import annotations

from typing import Any

import pytest

from maporl import RunConfig
from maporl.algorithms.magrpo import MAGRPO
from maporl.benchmarks.study.overruled import check_flags
from maporl.benchmarks.study.study import Study
from maporl.envs.tasks.arithmetic import Arithmetic
from maporl.settings import parameters
from maporl.training.said_once import beside

PROTOCOL = {"name": "debate", "num_rounds": 3, "history": "last_round"}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"num_agents": 2, "env_args": {"num_agents": 3}}, "num_agents is 2 and env_args.num_agents is 3; say it once, as num_agents."),
        ({"num_rounds": 2, "env_args": {"num_rounds": 3}}, "num_rounds is 2 and env_args.num_rounds is 3"),
        ({"num_rounds": 2, "env_args": {"max_cycles": 3}}, "num_rounds is 2 and env_args.max_cycles is 3"),
        ({"num_rounds": 2, "env_args": {"protocol": PROTOCOL}}, "num_rounds is 2 and env_args.protocol.num_rounds is 3"),
        ({"env_args": {"history": "all", "protocol": PROTOCOL}}, "env_args.history is 'all' and env_args.protocol.history is 'last_round'"),
        ({"data": "a", "env_args": {"data": "b"}}, "data is 'a' and env_args.data is 'b'"),
        ({"env_args": {"split": "test"}}, "env_args.split is 'test', which would have no effect"),
    ],
)  # fmt: skip
def test_two_places_that_differ(settings: dict[str, Any], told: str) -> None:
    for make in (lambda: RunConfig(**settings), lambda: RunConfig().merged(settings)):
        with pytest.raises(ValueError) as found:
            make()
        assert told in str(found.value)


def test_one_of_them_is_moved_to_the_place_and_a_later_one_wins() -> None:
    config = RunConfig(env_args={"num_agents": 3, "protocol": PROTOCOL})
    assert (config.num_agents, config.num_rounds) == (3, 3)
    assert config.env_args == {"history": "last_round", "protocol": {"name": "debate"}}
    assert config.merged({"num_agents": 2, "env_args": {"max_cycles": 1}}).build_env().num_rounds == 1
    assert config.merged({"num_agents": 2}).num_agents == 2
    assert len(RunConfig(num_agents=3, env_args={"num_agents": None}).build_env().possible_agents) == 3


def test_of_an_environment_and_of_an_algorithm() -> None:
    with pytest.raises(ValueError, match=r"num_rounds is 2 but Debate\(num_rounds=3.* set it in one place"):
        Arithmetic(num_rounds=2, protocol=PROTOCOL)
    assert {"learning_rate", "num_updates"} <= set(parameters(MAGRPO))
    with pytest.raises(
        ValueError, match="algorithm_args.num_updates is 9, which the run's num_iterations says; set num_iterations"
    ):
        beside({"num_updates": 3}, {"num_updates": 9})
    assert beside({"seed": 1}, {"clip_range": 0.1}) == {"seed": 1, "clip_range": 0.1}


def test_a_flag_of_a_benchmark_that_nothing_heeds() -> None:
    mappo, magrpo = {"mappo": {"num_iterations": 5}}, {"magrpo": {"num_iterations": 7}}
    study = Study(methods=("mappo", "magrpo"), algorithms={**mappo, **magrpo})
    flags = {"num_iterations": 3}
    with pytest.raises(
        ValueError, match="--num_iterations 3 has no effect: the study's algorithms.magrpo.num_iterations is 7"
    ):
        check_flags(study.merged(flags), flags)
    check_flags(Study(methods=("mappo", "magrpo"), algorithms=mappo).merged(flags), flags)  # magrpo heeds it
    own = {"arithmetic": {"env_args": {"max_operand": 20}}}
    flags = {"env_args": {"max_operand": 9}}
    with pytest.raises(ValueError, match="the study's tasks.arithmetic.env_args.max_operand is 20"):
        check_flags(Study(methods=("single_agent",), tasks=own).merged(flags), flags)
