"""From an observation to a chat. The only place with prompt text; what a model reads of a chat is `maporl.agents.chat`'s.

A discussion is a chat from the point of view of one agent: its own messages are the assistant's, the question and what the
peers said are the user's. With full history the chat only ever grows at its end (Du et al. 2305.14325).
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from maporl.agents.chat import encode_chat
from maporl.errors import UserValueError
from maporl.settings import model_path, read_yaml_file
from maporl.types import Message, Observation

__all__ = ["PromptTemplate"]

_FIELDS = {
    "system": {"agent", "persona", "role"},
    "question": {"question", "agent"},
    "private": {"private", "agent"},
    "peers": {"messages", "agent"},
    "peer": {"agent", "text"},
    "own_score": {"score", "agent"},
    "peer_score": {"score", "agent"},
    "answer": {"instruction", "agent"},
    "revise": {"instruction", "agent"},
}


@dataclass(frozen=True)
class PromptTemplate:
    """Pieces of text, filled with ``str.format``; an empty piece is left out. Literal braces are doubled.

    Attributes:
        system: The system message ({agent}, {persona}, {role}); left out when nothing remains of it.
        question: Opens the first user message ({question}).
        private: Follows it for an agent that knows something alone ({private}).
        peers: What the others said since this agent last spoke ({messages}).
        peer: One of those messages ({agent}, {text}).
        own_score: Where the protocol shows scores, opens the user message after one's own: the verifier's value of that ({score}, two
            decimals). Left out where nobody scored it.
        peer_score: Likewise follows a peer's message.
        answer: Closes the first user message ({instruction}).
        revise: Closes every later user message ({instruction}).
        separator: Between the pieces of one user message.
        personas: Agent name -> text for {persona}.
        examples: Pairs (what a user says, what an assistant replies) that open every chat: a small model that does not follow an
            instruction about the form of its answer follows one example of it. Taken as they are.
    """

    system: str = "{persona}\n{role}"
    question: str = "{question}"
    private: str = "Only you know this: {private}"
    peers: str = "These are the answers of the other agents:\n\n{messages}"
    peer: str = "{agent}: {text}"
    own_score: str = "A verifier's score of your answer, from 0 (wrong) to 1 (right): {score}"
    peer_score: str = "(verifier's score: {score})"
    answer: str = "{instruction}"
    revise: str = (
        "Read them critically, check your own reasoning against theirs, and give your updated answer. {instruction}"
    )
    separator: str = "\n\n"
    personas: Mapping[str, str] = field(default_factory=dict)
    examples: Sequence[Sequence[str]] = ()

    def __post_init__(self) -> None:
        for name, allowed in _FIELDS.items():
            piece = getattr(self, name)
            if not isinstance(piece, str):
                raise UserValueError(f"prompt piece {name!r} is {piece!r}; write a text, '' for none.")
            try:
                used = {f for _, f, _, _ in string.Formatter().parse(piece) if f is not None}
            except ValueError as error:
                raise UserValueError(
                    f"prompt piece {name!r}: {error}; double literal braces: '{{{{' and '}}}}'."
                ) from error
            if used - allowed:
                raise UserValueError(
                    f"prompt piece {name!r} names {sorted(used - allowed)}, which it does not have; it may use {sorted(allowed)}, "
                    "and literal braces are doubled."
                )
        if not isinstance(self.personas, Mapping):
            raise UserValueError(f"personas is {self.personas!r}; write a mapping from agent to text.")
        for pair in self.examples:
            if isinstance(pair, str) or len(pair) != 2 or not all(isinstance(text, str) for text in pair):
                raise UserValueError(
                    f"prompts: example {pair!r} is no pair of texts; write [what a user says, the reply]."
                )
        object.__setattr__(self, "examples", tuple(tuple(pair) for pair in self.examples))

    @classmethod
    def load(cls, spec: str | Path | Mapping[str, Any] | PromptTemplate | None) -> PromptTemplate:
        """From a YAML file, a mapping of pieces, or None for the defaults. Unknown pieces raise."""
        if isinstance(spec, PromptTemplate):
            return spec
        if isinstance(spec, str | Path):
            spec = _read_pieces(Path(spec))
        known = {f.name for f in fields(cls)}
        unknown = set(spec or {}) - known
        if unknown:
            raise UserValueError(f"prompts: unknown piece {sorted(unknown)}; the pieces are {sorted(known)}.")
        return cls(**(spec or {}))

    @classmethod
    def of_model(cls, model: str) -> PromptTemplate:
        """Those of the ``prompts.yaml`` that a model folder brings with it, or the defaults."""
        own = Path(model_path(model)) / "prompts.yaml"
        return cls.load(own if own.is_file() else None)

    def messages(self, observation: Observation) -> list[dict[str, str]]:
        """The chat that `observation` amounts to, ending with a user message."""
        me = observation["agent"]
        chat: list[dict[str, str]] = []
        system = self.system.format(
            agent=me, persona=self.personas.get(me, ""), role=observation.get("role", "")
        ).strip()
        if system:
            chat.append({"role": "system", "content": system})
        for said, reply in self.examples:
            chat += [{"role": "user", "content": said}, {"role": "assistant", "content": reply}]
        pending: list[str] = []
        own: Message | None = None
        for message in observation["transcript"]:
            if message["agent"] == me:
                chat.append(self._user(observation, pending, own))
                chat.append({"role": "assistant", "content": message["text"]})
                pending, own = [], message
            else:
                said = self.peer.format(agent=message["agent"], text=message["text"])
                score = self._score(self.peer_score, message)
                pending.append(f"{said}\n{score}" if score else said)
        chat.append(self._user(observation, pending, own))
        return chat

    def _score(self, piece: str, message: Message) -> str:
        """`piece` with the score that `message` is shown with, "" without one."""
        score = message.get("score")
        return "" if score is None else piece.format(score=f"{score:.2f}", agent=message["agent"])

    def _user(self, observation: Observation, peers: list[str], own: Message | None) -> dict[str, str]:
        """The user message that follows `own`, the agent's latest message (None: it has not spoken yet)."""
        agent, instruction = observation["agent"], observation["instruction"]
        pieces: list[str] = []
        if own is None:
            pieces.append(self.question.format(question=observation["question"], agent=agent))
            if observation["private"]:
                pieces.append(self.private.format(private=observation["private"], agent=agent))
        else:
            pieces.append(self._score(self.own_score, own))
        if peers:
            pieces.append(self.peers.format(messages=self.separator.join(peers), agent=agent))
        closing = self.answer if own is None else self.revise
        pieces.append(closing.format(instruction=instruction, agent=agent))
        return {"role": "user", "content": self.separator.join(p.strip() for p in pieces if p.strip())}

    def encode(self, tokenizer: Any, observation: Observation) -> list[int]:
        """The token ids of `messages(observation)` in the tokenizer's chat template, up to where the answer begins.

        Raises:
            ValueError: The tokenizer has no chat template.
        """
        return encode_chat(tokenizer, self.messages(observation))


def _read_pieces(path: Path) -> Mapping[str, Any] | None:
    if not path.is_file():
        raise UserValueError(f"prompts {str(path)!r}: no such file; write a YAML file of pieces, or leave it out.")
    pieces = read_yaml_file(path)
    if not isinstance(pieces, Mapping | None):
        raise UserValueError(
            f"prompts {str(path)!r} holds a {type(pieces).__name__}; write a mapping from piece to text."
        )
    return pieces
