"""TextArena's games for one player, played by a team that consults before every move (Guertler et al. 2504.11442).

| specification | |
|---|---|
| agents | advisers, and last of all the player; 1: the player alone |
| question | what the game says at the beginning; a game per seed |
| messages | one after the other; the player's is the move of the round, after which all read what the game says |
| end | when the game is over, or after `num_rounds` rounds |
| reward | the game's own, cut to [0, 1], for everybody; of a game that is not over, its own percentage of completion, or 0 |
| correct | a reward of 1 in a game that is over |
| refused | games for several players, and those of which the reward or the seeds are of no use (docs/bridges.md) |

The package is an extra, `maporl[textarena]`, and is imported when the first question is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from maporl.envs.feedback import Feedback
from maporl.envs.tasks.bridges.consulted import Consulted
from maporl.envs.tasks.bridges.games import Played, played
from maporl.envs.tasks.bridges.generated import Generated
from maporl.envs.tasks.bridges.refused import HIDDEN
from maporl.envs.team_answer import TeamAnswer
from maporl.envs.verifiers.verifier import TranscriptVerifier
from maporl.reasoning import spoken
from maporl.types import Question, Score, Transcript, Turn

__all__ = ["TextArena"]


def _played(transcript: Transcript) -> Played | None:
    """The game after all rounds that are over; None before there is one."""
    game = transcript.question.metadata.get("game")
    last = [transcript.round(index)[-1].text for index in range(transcript.completed_rounds) if transcript.round(index)]
    return played(*game, tuple(spoken(text) or "" for text in last)) if game else None


class Game(Consulted):
    """`Consulted` until the game is over."""

    def over(self, transcript: Transcript) -> bool:
        game = _played(transcript)
        return game is not None and game.over


class Answers(Feedback):
    """What the game says after a move."""

    uses_gold = False

    def __call__(self, transcripts: Sequence[Transcript]) -> list[list[Turn]]:
        return [self._after(t) if t.turns[-1].round < t.completed_rounds else [] for t in transcripts]

    def _after(self, transcript: Transcript) -> list[Turn]:
        game = _played(transcript)
        return [Turn("game", transcript.turns[-1].round, game.said, kind="feedback")] if game and game.said else []

    def longest(self, transcripts: Sequence[Transcript]) -> list[list[Turn]]:
        """As long as what it says at the beginning, where it also tells its rules."""
        return [[Turn("game", t.turns[-1].round, t.question.text, kind="feedback")] for t in transcripts]


class Reward(TranscriptVerifier):
    """What the game pays in the end."""

    def __call__(self, transcript: Transcript) -> Score:
        game = _played(transcript)
        assert game is not None
        reason = game.reason if game.over else "the game is not over"
        return Score(game.reward, game.over and game.reward >= 1, transcript.turns[-1].text, explanation=reason)


class TextArena(Generated):
    """The task of the card above.

    Args:
        *team: `num_agents` and `num_rounds`, as in `DiscussionEnv`; a round is a move.
        game: The id of a game; `config` are its own settings, such as ``{"max_number": 50}``.
        **arguments: Of `Generated`. `task_seed` is the seed of the first game.

    Raises:
        ValueError: As `Generated`; when questions are asked for, as `played`.
    """

    metadata: dict[str, Any] = {"name": "textarena"}
    instruction = "Say the next move, in the form that the game asks for."
    default_protocol: ClassVar[Any] = Game
    default_num_rounds: ClassVar[int] = 10
    default_team_verifier: ClassVar[Any] = Reward
    default_feedback: ClassVar[Any] = Answers
    default_shaping: ClassVar[Any] = "discussion_score"

    def __init__(self, *team: Any, game: str = "GuessTheNumber-v0", **arguments: Any) -> None:
        self.game = game
        super().__init__(*team, **arguments)

    def question(self, number: int) -> Question:
        game = (self.game, self.config, self.task_seed + number)
        name = f"{self.game}:{game[-1]}"
        text = played(*game, ()).said
        asks = name if self.game.startswith(HIDDEN) else text
        return Question(text, name, name, metadata={"game": game, "asks": asks})

    def team_answer(self, transcript: Transcript | None = None) -> TeamAnswer:
        """The last move, and whether the game was won by it."""
        score = Reward()(self.transcript if transcript is None else transcript)
        return self.labelled(TeamAnswer(score.answer, float(bool(score.correct)), 1))
