"""A game of TextArena as a function of its seed and the moves."""

from __future__ import annotations

import copy
import json
import random
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from maporl.envs.tasks.bridges.isolation import isolated
from maporl.envs.tasks.bridges.refused import GAMES
from maporl.errors import UserValueError

__all__ = ["Played", "played"]


@dataclass(frozen=True)
class Played:
    """A game after some moves.

    Attributes:
        said: What the game has said since the move before the last.
        over: Nothing more can be done.
        reward: What it pays; of a game that is not over, its percentage of completion.
        reason: Why it is over, in the game's words.
    """

    said: str
    over: bool
    reward: float
    reason: str


@lru_cache(maxsize=512)
def _begun(game: str, config: str, seed: int) -> tuple[Any, tuple[Any, ...], Any]:
    """A game at its beginning, and the state of the global generators, from which it goes on drawing."""
    if (kind := game.partition("-")[0]) in GAMES:
        raise UserValueError(f"game {game!r} is refused: {GAMES[kind]}; use another one.")
    try:
        import textarena
    except ImportError:
        raise UserValueError("TextArena is not installed: pip install 'maporl[textarena]'") from None
    with isolated(seed):
        try:
            env = textarena.make(game, **json.loads(config))
            env.reset(num_players=1, seed=seed)
        except Exception as error:  # a game that needs a key, a corpus, a newer Python, more players ...
            reason = next((line for line in str(error).splitlines() if line.strip("* ")), "").strip()
            raise UserValueError(
                f"game {game!r} cannot be begun ({type(error).__name__}: {reason}); see docs/bridges.md for those that can."
            ) from None
        if not isinstance(env.state, textarena.SinglePlayerState):
            raise UserValueError(f"game {game!r} is for several players; use one for a single player.")
        return env, random.getstate(), np.random.get_state()


@lru_cache(maxsize=4096)
def played(game: str, config: str, seed: int, moves: tuple[str, ...]) -> Played:
    """The game from its seed through all moves. An empty move is none: it only passes.

    Raises:
        ValueError: The package is missing, or the game unknown, refused or for several players.
    """
    begun, drawn, numpy_drawn = _begun(game, config, seed)
    env, over, fault = copy.deepcopy(begun), False, ""
    state = env.state
    with isolated(seed):
        random.setstate(drawn)
        np.random.set_state(numpy_drawn)
        said = state.get_current_player_observation()
        for move in moves:
            try:
                if move and not over:
                    over, _ = env.step(move)
            except Exception as error:  # of a game that fails on a move that it does not expect
                over, fault = True, f"{type(error).__name__}: {error}"
            said = state.get_current_player_observation()
        complete = getattr(env, "_get_percentage_completion", None)
        reward = (state.rewards or {}).get(0) if over else complete() if complete else 0.0
    # Some give their reason as the reward of a wrong move, and a number as what is said of it.
    paid = float(reward) if isinstance(reward, int | float) and not fault else 0.0
    texts = [text for _, text, kind in said if isinstance(text, str) and getattr(kind, "name", "") != "PLAYER_ACTION"]
    reason = fault or str(state.game_info[0].get("reason", ""))
    return Played("\n".join(texts), over, min(max(paid, 0.0), 1.0), reason)
