"""Rosters: what a configuration's words mean, and other rosters made of them, without a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from maporl.roster import Roster, Speaker

TWO = ("agent_0", "agent_1")


def made(team: Any, agents: Any = TWO, num_rounds: int = 2, frozen: Any = (), **more: Any) -> Roster:
    return Roster.of(agents, num_rounds, more.pop("model", "base"), team=team, frozen=frozen, **more)


def plan(*args: Any) -> list[list[str | None]]:
    """Adapters of agent_0 and of agent_1, by round."""
    roster = made(*args)
    return [[speaker.adapter for speaker in roster.rounds(who)] for who in TWO]


@pytest.mark.parametrize(
    ("sharing", "expected"),
    [
        ("shared", [["shared", "shared"], ["shared", "shared"]]),
        ("per_agent", [["agent_0", "agent_0"], ["agent_1", "agent_1"]]),
        ("per_agent_round", [["agent_0_round_1", "agent_0_round_2"], ["agent_1_round_1", "agent_1_round_2"]]),
        ("frozen", [[None, None], [None, None]]),
        ({"agent_0": "x", "agent_1": "base"}, [["x", "x"], [None, None]]),
        ({"agent_0": ["base", "x"], "agent_1": ["x", None]}, [[None, "x"], ["x", None]]),
    ],
)
def test_every_word_and_mapping(sharing: object, expected: list) -> None:
    assert plan(sharing, TWO, 2) == expected


@pytest.mark.parametrize(
    ("frozen", "expected"),
    [
        (["agent_1"], [["shared", "shared"], [None, None]]),
        (["round_1"], [[None, "shared"], [None, "shared"]]),
        (["agent_1/round_2"], [["shared", "shared"], ["shared", None]]),
        (["round_2", "agent_0"], [[None, None], ["shared", None]]),
    ],
)
def test_agents_rounds_and_seats_can_be_frozen(frozen: list[str], expected: list) -> None:
    assert plan("shared", TWO, 2, frozen) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("pr_agent", TWO, 2), "team 'pr_agent' is unknown; use one of"),
        (({"agent_0": "x"}, TWO, 2), "team has no entry for 'agent_1'"),
        (({"agent_0": "x", "agent_1": ["x"]}, TWO, 2), "team names 1 adapters for 'agent_1', but there are 2 rounds"),
        (({"agent_0": "x", "agent_1": "y", "agnt_2": "z"}, TWO, 2), r"team names \['agnt_2'\]; the agents are"),
        (("shared", TWO, 2, ["agent_7"]), "frozen names 'agent_7'; use an agent of"),
        (("shared", TWO, 2, ["round_3"]), "frozen names 'round_3'"),
        (("shared", TWO, 2, ["round_0"]), "frozen names 'round_0'"),
    ],
)
def test_bad_plans(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        made(*arguments)
    assert "\n" not in str(error.value)


def test_frozen_seats_speak_as_the_others_start() -> None:
    roster = made("per_agent", frozen=["agent_1"], init_adapter="warm")
    assert set(roster.rounds("agent_0")) == {Speaker("base", "agent_0", "warm", trains=True)}
    assert set(roster.rounds("agent_1")) == {Speaker("base", "warm_start", "warm")}
    assert set(made("frozen").seats.values()) == {Speaker("base")}


def test_partners_take_all_seats_of_a_name_and_need_no_model() -> None:
    roster = made("shared", partners={"agent_1": "a:B"}, model={"agent_0": "m"})
    assert set(roster.rounds("agent_1")) == {Speaker(partner="a:B")} and roster.bases == {"m"}
    assert roster.frozen(["round_1"]).rounds("agent_1") == roster.rounds("agent_1")
    assert set(made("shared", model="", partners=dict.fromkeys(TWO, "a:B")).seats.values()) == {Speaker(partner="a:B")}
    with pytest.raises(ValueError, match=r"partners names \['agent1'\]; the agents are"):
        roster.with_partners({"agent1": "a:B"})


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("", "no model; name a checkpoint folder or hub id: --model DIR"),
        ({}, "no model; name a checkpoint"),
        ({"agent_0": "a"}, r"model has no base model for 'agent_1', but for \['agent_0'\]"),
        ({"agent_0": "a", "agent_1": "b", "agent_2": "c"}, r"model names \['agent_2'\]; the agents are"),
        ({"agent_0": "a", "agent_1": "b"}, "'shared' would sit on different models .*--team per_agent, or one model"),
    ],
)
def test_bad_models(model: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made("shared", model=model)


def test_what_learns() -> None:
    roster = made("per_agent", frozen=["agent_0/round_1"])
    assert {seat for seat, speaker in roster.seats.items() if speaker.trains} == {
        ("agent_0", 1),
        ("agent_1", 0),
        ("agent_1", 1),
    }


def test_seated() -> None:
    three = ("agent_0", "agent_1", "agent_2")
    shared = made("shared")
    assert shared.seated(three) == made("shared", three) and shared.seated(TWO[1:]).agents == TWO[1:]
    for roster in (made("per_agent"), made("frozen", model={"agent_0": "a", "agent_1": "b"})):
        assert roster.seated(TWO) == roster
        with pytest.raises(ValueError, match=r"trained \['agent_0', 'agent_1'\], not 'agent_2'; .*--num_agents 2"):
            roster.seated(three)


def test_joined_and_on_other_models() -> None:
    one, two = made("per_agent_round", model="one"), made("shared", model="two", num_rounds=1)
    both = Roster.joined({"agent_0": two.rounds("agent_1"), "agent_1": one.rounds("agent_0")})
    assert [(seat, s.base, s.adapter) for seat, s in both.seats.items()] == [
        (("agent_0", 0), "two", "shared"),
        (("agent_1", 0), "one", "agent_0_round_1"),
        (("agent_1", 1), "one", "agent_0_round_2"),
    ]
    assert both.bases == {"one", "two"} and both.on("new").bases == {"new"}
    assert both.on({"agent_0": "x", "agent_1": "y"}).rounds("agent_1")[0].base == "y"


def test_saved_and_loaded(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    model = str(tmp_path / "model")
    words = {"init_adapter": "warm", "partners": {"agent_2": "a:B"}, "model": {"agent_0": model, "agent_1": "hub/id"}}
    roster = made("per_agent", ("agent_0", "agent_1", "agent_2"), 2, ["agent_0/round_1"], **words)
    folder = tmp_path / "run" / "adapters"
    roster.save(folder)
    run = str(tmp_path / "run")
    assert Roster.load(folder).seats == {
        ("agent_0", 0): Speaker(model, "warm_start", str(folder / "warm_start"), run=run),
        ("agent_0", 1): Speaker(model, "agent_0", str(folder / "agent_0"), trains=True, run=run),
        **{("agent_1", r): Speaker("hub/id", "agent_1", str(folder / "agent_1"), trains=True, run=run) for r in (0, 1)},
        **{("agent_2", r): Speaker(partner="a:B", run=run) for r in (0, 1)},
    }
