"""Writing together: two texts about one, by two agents who write at once and do not see each other's.

| specification | |
|---|---|
| agents | two, each with a text of its own; or a lone one, or a pipeline of more: the last message has both, a line ``---`` between them |
| question | the text that is written about |
| answer | reference texts, a line each; "" where there are none |
| reward | everybody's: form (MAGRPO 2508.04652) x content (ROUGE) x (1 - what is said twice), see docs/writing.md |
| rows | ``prompt``, ``abstract_text`` or ``abstract``, and references as ``completion`` or ``tldrs``; texts, or lists of texts |
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from maporl.envs.data import HubSource, Row, read_rows
from maporl.envs.discussion import DiscussionEnv
from maporl.envs.tasks.writing.form import Form
from maporl.envs.tasks.writing.verifier import DIVIDER, TwoTexts
from maporl.envs.team_answer import TeamAnswer, last_round
from maporl.errors import UserValueError
from maporl.types import Question, Transcript

__all__ = ["Writing"]


class Writing(DiscussionEnv):
    """Base of the writing tasks: a subclass says who writes what, where the rows are, and what form is asked for.

    Args:
        num_agents: 2, or 1; more where they speak one after the other.
        num_rounds: How often they write; each round is scored. Default: 1, under a protocol of your own 2.
        protocol: Default: a debate with the roles of `writers`.
        content: Who says what a text is worth to the question, in any form that `verifier` takes; None: the published reward, form alone.
        team_verifier, instruction, **arguments: As in `DiscussionEnv`.

    Raises:
        ValueError: More than two agents who speak at once, or `content` beside a `team_verifier` of your own.
    """

    form: ClassVar[Form]
    writers: ClassVar[Mapping[str, str]]  # role -> what it writes
    hub: ClassVar[HubSource]
    has_references: ClassVar[bool]

    def __init__(
        self,
        num_agents: int | None = None,
        num_rounds: int | None = None,
        *,
        protocol: Any = None,
        content: Any = "rouge",
        team_verifier: Any = None,
        instruction: str | None = None,
        **arguments: Any,
    ) -> None:
        if team_verifier is None:
            team_verifier = TwoTexts(self.form, content)
        elif content != "rouge":
            raise UserValueError(f"content {content!r} has no use beside a team_verifier; leave one of them out.")
        if protocol is None:
            protocol = "debate" if num_agents == 1 else {"name": "debate", "roles": list(self.writers)}
            num_rounds = 1 if num_rounds is None else num_rounds
        arguments |= {"protocol": protocol, "team_verifier": team_verifier, "instruction": instruction}
        super().__init__(num_agents, num_rounds, **arguments)
        number = len(self.possible_agents)
        if number > 2 and self.protocol.simultaneous:
            raise UserValueError(
                f"{number} agents who speak at once cannot share two texts; use 1 or 2, or a sequential protocol."
            )
        if instruction is None:
            self.instruction = self._instruction(self.possible_agents)

    def _instruction(self, agents: list[str]) -> str:
        first, second = self.writers.values()
        both = f"first {first}, then a line of nothing but {DIVIDER}, then {second}"
        if len(agents) != 2:
            return f"Write two texts about it: {both}. Write nothing else."
        own = f"{agents[0]} writes {first}; {agents[1]} writes {second}. Write your own text and nothing else."
        return own if self.protocol.everybody_speaks else f"{own} Who makes one answer of them writes {both}."

    def load(self, split: str) -> Iterator[Question]:
        for row in read_rows(self.data, split, self.hub):
            field = next((name for name in ("prompt", "abstract_text", "abstract") if name in row.fields), "prompt")
            source = " ".join(_texts(row, field))
            if not source.strip():
                raise row.error(f"field {field!r} is empty.")
            references = self._references(row) if self.has_references else []
            yield Question(source, "\n".join(references), id=row.id)

    def _references(self, row: Row) -> list[str]:
        """One line each; () of a row that has none."""
        field = next((name for name in ("completion", "tldrs") if name in row.fields), None)
        texts = [] if field is None else _texts(row, field)
        return [line for text in texts if (line := " ".join(text.split()))]

    def team_answer(self, transcript: Transcript | None = None) -> TeamAnswer:
        """Both texts; "correct" is what the last round is worth, for prose is not right or wrong."""
        said = self.transcript if transcript is None else transcript
        turns = last_round(said)
        if not turns:
            return self.labelled(TeamAnswer(None, 0.0, tied=0))
        worth = said.team_scores[-1].value if said.team_scores else 0.0
        return self.labelled(TeamAnswer("\n\n".join(turn.text for turn in turns[-2:]), worth))


def _texts(row: Row, field: str) -> list[str]:
    """A field that is a text or a list of texts."""
    value = row.get(field, (str, list))
    texts = [value] if isinstance(value, str) else value
    if not all(isinstance(text, str) for text in texts):
        raise row.error(f"field {field!r} needs a text, or a list of texts.")
    return texts
