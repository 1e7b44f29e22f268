"""Tasks of other packages: what they pay, what is refused, and that their randomness stays their own."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from maporl.envs.tasks.bridges.games import played
from maporl.envs.tasks.bridges.generated import Generated
from maporl.envs.tasks.bridges.isolation import isolated
from maporl.envs.tasks.bridges.reasoning_gym import ReasoningGym
from maporl.envs.tasks.bridges.refused import ANSWERS, DATASETS, GAMES
from maporl.envs.tasks.bridges.textarena import TextArena

NO_GOLD = {"boxnet", "graph_color", "propositional_logic", "rubiks_cube", "rush_hour"}
SLOW = {"futoshiki", "quantum_lock", "sokoban", "sudoku", "zebra_puzzles"}  # 0.05 s and more per item
ASKED = 89
JUNK = ["", "I do not know.", "0", "-1", "nan", "[]", "\ud800", "9" * 4000, "[" * 400]


def gym(dataset: str, num_train: int = 14, num_test: int = 6, **arguments: Any) -> ReasoningGym:
    return ReasoningGym(dataset=dataset, num_train=num_train, num_test=num_test, **arguments)


def asked(env: Generated) -> list[Any]:
    return [*env.load("test"), *env.load("train")]


def check_dataset(dataset: str, **sizes: int) -> None:
    """Gold is right and nothing else is, reading twice and scoring change nothing, and no question is in both splits."""
    env, again = gym(dataset, **sizes), gym(dataset, **sizes)
    questions, before = asked(env), random.getstate()
    read = [(q.text, q.answer, repr(q.metadata)) for q in questions]
    assert [(q.text, q.answer) for q in asked(again)] == [(q.text, q.answer) for q in questions], dataset
    for question in questions:
        env.verifier.check_gold(question)
        right = env.verifier(question, f"Is the answer: 1? No.\nAnswer: {question.answer}")
        assert (right.value, right.correct) == (1.0, True), dataset
        assert env.verifier(question, question.answer).status == "no_answer" or "answer:" in question.answer.lower()
    golds = {question.answer.strip() for question in questions}
    for answer in [*JUNK, *sorted(golds)[:5]]:
        scores = [env.verifier(question, f"Answer: {answer}") for question in questions]
        assert all(0 <= s.value <= 1 and s.correct == (s.value == 1) for s in scores), dataset
        wrong = [s for s, q in zip(scores, questions, strict=True) if q.answer.strip() != answer and s.correct]
        if answer not in golds:  # numbers spelt in another way are the same answer
            assert len(wrong) <= len(questions) // 2, (dataset, answer)
    assert [(q.text, q.answer, repr(q.metadata)) for q in questions] == read, dataset
    assert random.getstate() == before
    splits = [{q.asked for q in env.questions(split)} for split in ("train", "test")]
    assert splits[0].isdisjoint(splits[1]), dataset


@pytest.mark.filterwarnings("ignore:.*is too small to hold anything out")
@pytest.mark.parametrize(
    "dataset", ["leg_counting", "list_functions", "countdown", "complex_arithmetic", "spiral_matrix"]
)
def test_a_dataset_pays_what_is_right_and_nothing_else(dataset: str) -> None:
    check_dataset(dataset)


@pytest.mark.slow  # minutes: pytest -m slow tests/envs/tasks/test_bridges.py
@pytest.mark.filterwarnings("ignore:.*is too small to hold anything out")
def test_every_dataset_is_right_or_refused() -> None:
    from reasoning_gym.factory import DATASETS as KNOWN

    assert {*DATASETS, *NO_GOLD, *ANSWERS} <= set(KNOWN)
    asked = sorted({*KNOWN} - {*DATASETS} - NO_GOLD)
    assert len(asked) == ASKED
    for dataset in asked:
        check_dataset(dataset, **({"num_train": 4, "num_test": 2} if dataset in SLOW else {}))
    check_elsewhere(*asked)
    for dataset in NO_GOLD:
        with pytest.raises(ValueError, match=f"'{dataset}' has no gold answers"):
            gym(dataset, num_train=2).questions("train")


def test_what_is_refused_deserves_it() -> None:
    import reasoning_gym

    for dataset, answer in (
        ("coin_flip", "0"),
        ("complex_arithmetic", "nan"),
        ("game_of_life_halting", "maybe"),
        ("puzzle24", "1*2*3*4"),
    ):
        items = reasoning_gym.create_dataset(dataset, seed=1, size=10)
        wrong = [item for item in items if item["answer"] != answer]
        assert sum(items.score_answer(answer, item) == 1 for item in wrong) > len(wrong) / 2, dataset
    with pytest.raises(ValueError, match="'coin_flip' is refused: its score is 1 for the answer 0"):
        gym("coin_flip").questions("train")
    with pytest.raises(ValueError, match="unknown dataset 'legs'; one of: ab, .*leg_counting"):
        gym("legs").questions("train")
    with pytest.raises(ValueError, match="config .*dataset 'leg_counting'.*unexpected keyword argument 'animals'"):
        gym("leg_counting", config={"animals": 2}).questions("train")
    with pytest.raises(ValueError, match="num_train is 0"):
        gym("leg_counting", num_train=0)


def test_an_answer_never_runs_as_python(tmp_path: Any) -> None:
    import reasoning_gym

    made = tmp_path / "made"
    answer = f"open({str(made)!r}, 'w') or []"
    for dataset in ("spiral_matrix", "binary_matrix", "n_queens", "string_insertion"):
        env = gym(dataset)
        (question, *_) = env.load("test")
        assert not env.verifier(question, f"Answer: {answer}").correct and not made.exists(), dataset
        reasoning_gym.create_dataset(dataset, seed=1, size=1).score_answer(answer, question.metadata["item"])
        assert made.exists(), f"{dataset} has been mended: it needs no line in ANSWERS"
        made.unlink()


def digests(*datasets: str) -> list[str]:
    """Of some items and some games."""
    items = [[(q.text, q.answer) for q in gym(dataset, 3, 1).load("train")] for dataset in datasets]
    games = [played("2048-v0", "{}", seed, ("[up]", "[right]", "[up]", "[left]")) for seed in range(4)]
    return [hashlib.sha256(repr(item).encode()).hexdigest() for item in [*items, games]]


def check_elsewhere(*datasets: str) -> None:
    """A process with other hashes and another global generator makes the same."""
    code = f"import random, test_bridges; random.seed(9); print(*test_bridges.digests(*{datasets!r}))"
    paths = {"PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *sys.path]), "PYTHONHASHSEED": "5"}
    command = [sys.executable, "-c", code]
    there = subprocess.run(command, env={**os.environ, **paths}, capture_output=True, text=True, check=True)
    differing = [
        d for d, a, b in zip([*datasets, "2048"], there.stdout.split(), digests(*datasets), strict=True) if a != b
    ]
    assert not differing


def test_items_and_games_are_the_same_in_every_process() -> None:
    check_elsewhere("leg_counting", "list_functions")


# TextArena.


def win(secret: int) -> tuple[str, ...]:
    return ("I try [10].", f"[{secret}]") if secret != 10 else ("[10]",)


def test_a_game_is_played_as_textarena_plays_it() -> None:
    """Against the package itself, also where it draws in the middle of a game."""
    import textarena

    moves = ("[up]", "[left]", "nonsense", "[down]", "[right]")
    for game in ("2048-v0", "GuessTheNumber-v0", "Minesweeper-v0-small"):
        with isolated(3):
            env = textarena.make(game)
            env.reset(num_players=1, seed=3)
            boards = []
            for move in moves:
                done, _ = env.step(move)
                boards.append(repr(env.state.game_state))
                if done:
                    break
            rewards = env.state.rewards
        game_here = played(game, "{}", 3, moves)
        assert game_here.over is done and (not done or game_here.reward == rewards[0])
        assert played(game, "{}", 3, (*moves[:1], "", *moves[1:])) == game_here  # an empty message is no move


def test_a_game_neither_reseeds_nor_disturbs_another() -> None:
    moves = ("[up]", "[left]", "[down]", "[right]", "[up]", "[left]")
    alone = [played("2048-v0", "{}", seed, moves) for seed in (1, 2)]
    played.cache_clear()
    random.seed(4)
    np.random.seed(4)
    here = (random.getstate(), np.random.get_state()[1].tolist())
    between = [[played("2048-v0", "{}", seed, moves[:n]) for seed in (1, 2)] for n in range(len(moves) + 1)]
    assert between[-1] == alone and alone[0] != alone[1]
    assert (random.getstate(), np.random.get_state()[1].tolist()) == here


def test_a_team_plays_until_the_game_is_over() -> None:
    env = TextArena(num_agents=3, num_train=5, num_test=5)
    assert env.possible_agents == ["adviser_0", "adviser_1", "player_0"]
    (question, *_) = env.load("test")
    secret = next(n for n in range(1, 21) if played(*question.metadata["game"], (f"[{n}]",)).reward == 1)
    env.reset(options={"question": question})
    for move in win(secret):
        assert env.agent_selection == "adviser_0" and str(secret) not in str(env.observe("player_0"))
        for message in (f"[{secret + 1}] it is not", "hm", f"<think>[3]</think>{move}"):
            env.step(message)
    assert all(env.terminations.values()) and env.team_answer().correct == 1
    said = [turn for turn in env.transcript.turns if not turn.said]
    assert [turn.text for turn in said] == [f"The target number is {'higher' if secret > 10 else 'lower'}."] * len(said)
    assert env.turn_rewards == tuple(float(turn.said) for turn in env.transcript.turns)


def test_what_a_game_pays_otherwise() -> None:
    def guess(*moves: str) -> Any:
        return played("GuessTheNumber-v0", '{"max_number": 11}', 0, moves)

    secret = next(n for n in range(1, 12) if guess(f"[{n}]").over)
    away = 1 if secret > 6 else 11
    near = guess(f"[{away}]")
    assert not near.over and near.reward == pytest.approx(1 - abs(away - secret) / 10)  # its own percentage
    twice = guess(f"[{away}]", "hm", "hm")  # a second wrong move in a row ends it
    assert twice.over and twice.reward == near.reward and "Invalid Move" in twice.reason
    swapped = played("Slitherlink-v0", "{}", 0, ("hm", "hm"))  # which gives its reason as the reward
    assert swapped.over and swapped.reward == 0


def test_games_that_cannot_be_played_are_refused_in_one_line() -> None:
    for game, fault in {
        "TowerOfHanoi-v0": "refused: it begins in the same way whatever the seed",
        "Bandit-v0": "refused: its reward is 0 for the best button",
        "TicTacToe-v0": "cannot be begun .AssertionError",
        "QuantumTicTacToe-v0": "is for several players",
        "Chess": "cannot be begun .ValueError: Environment Chess not found",
    }.items():
        with pytest.raises(ValueError, match=fault) as error:
            TextArena(game=game, num_train=2, num_test=1).questions("train")
        assert "\n" not in str(error.value)


@pytest.mark.slow  # with the above
def test_games_are_right_or_refused() -> None:
    import textarena

    for kind in sorted(GAMES):
        game = next(name for name in textarena.envs.registration.ENV_REGISTRY if name.startswith(f"{kind}-"))
        starts = set()
        for seed in range(5):
            with isolated(seed):
                env = textarena.make(game)
                env.reset(num_players=1, seed=seed)
                starts.add(str(env.get_observation()))
        assert ("same way" in GAMES[kind]) == (len(starts) == 1 and kind != "Bandit"), game
    for game in ("Blackjack-v0", "Crosswords-v0", "FifteenPuzzle-v0", "FrozenLake-v0", "LightsOut-v0", "Mastermind-v0"):
        env = TextArena(game=game, num_train=20, num_test=10)
        splits = [{q.asked for q in env.load(split)} for split in ("train", "test")]
        assert len(splits[1]) > 5 and splits[0].isdisjoint(splits[1])


@pytest.mark.parametrize("package, task", [("reasoning_gym", ReasoningGym), ("textarena", TextArena)])
def test_a_missing_package_is_named_with_its_remedy(
    package: str, task: type[Generated], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=rf"not installed: pip install 'maporl\[{package}\]'"):
        task(task_seed=77).questions("train")
