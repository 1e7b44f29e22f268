"""Writing together: two texts about one, by two agents who write at once and do not see each other's.

| specification | |
|---|---|
| agents | two, each with a text of its own; of any other number each message has both, with a line ``---`` between them |
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
from maporl.envs.tasks.writing.verifier import DIVIDER, BothTexts, TwoTexts
from maporl.envs.team_answer import TeamAnswer, last_round
from maporl.types import Question, Transcript

__all__ = ["Writing"]


class Writing(DiscussionEnv):
    """Base of the writing tasks: a subclass says who writes what, where the rows are, and what form is asked for.

    Args:
        num_agents: Two of them write a text each; of any other number everybody writes both.
        num_rounds: How often they write. Default: 1, under a protocol of your own 2.
        protocol: Default: a debate, with the roles of `writers` for two.
        content: Who says what a text is worth to the question, in any form that `verifier` takes; None: the published reward, form alone.
        instruction, **arguments: As in `DiscussionEnv`.
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
        instruction: str | None = None,
        **arguments: Any,
    ) -> None:
        self.content = content
        if protocol is None:
            protocol = {"name": "debate", "roles": list(self.writers)} if num_agents in (None, 2) else "debate"
            num_rounds = 1 if num_rounds is None else num_rounds
        super().__init__(num_agents, num_rounds, protocol=protocol, instruction=instruction, **arguments)
        if instruction is None:
            self.instruction = self._instruction()

    @property
    def divided(self) -> bool:
        """Whether each writes a text of its own."""
        return len(self.possible_agents) == 2 and self.protocol.everybody_speaks

    def own_verifiers(self) -> tuple[Any, Any]:
        return (None, TwoTexts(self.form, self.content)) if self.divided else (BothTexts(self.form, self.content), None)

    def _instruction(self) -> str:
        first, second = self.writers.values()
        if not self.divided:
            return f"Write two texts: first {first}, then a line of nothing but {DIVIDER}, then {second}. Write nothing else."
        one, other = self.possible_agents
        return f"{one} writes {first}; {other} writes {second}. Write your own text and nothing else."

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
        """What was written last; "correct" is what it is worth, for prose is not right or wrong: of several whole answers their mean."""
        said = self.transcript if transcript is None else transcript
        turns = last_round(said)
        scores = said.team_scores[-1:] or [turn.score for turn in turns if turn.score is not None]
        if not turns or not scores:
            return self.labelled(TeamAnswer(None, 0.0, tied=0))
        answer = "\n\n".join(turn.text for turn in turns) if self.divided else turns[-1].text
        return self.labelled(TeamAnswer(answer, sum(score.value for score in scores) / len(scores)))


def _texts(row: Row, field: str) -> list[str]:
    """A field that is a text or a list of texts."""
    value = row.get(field, (str, list))
    texts = [value] if isinstance(value, str) else value
    if not all(isinstance(text, str) for text in texts):
        raise row.error(f"field {field!r} needs a text, or a list of texts.")
    return texts
