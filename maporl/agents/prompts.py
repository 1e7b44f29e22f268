"""From an observation to the exact tokens a model reads. The only place with prompt text.

A discussion is a chat from the point of view of one agent: its own messages are the assistant's, the question and what the
peers said are the user's. With full history the chat only ever grows at its end (Du et al. 2305.14325).
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from jinja2.exceptions import TemplateError

from maporl.errors import UserValueError
from maporl.types import Message, Observation

__all__ = ["PLAIN_CHAT_TEMPLATE", "ChatEncoder", "PromptTemplate", "encode_chat"]

Chat = Sequence[Mapping[str, str]]
"""Messages with "role" and "content"."""

PLAIN_CHAT_TEMPLATE = (
    "{% for m in messages %}{{ m['role'].capitalize() }}: {{ m['content'] }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
"""For base models whose tokenizer has no chat template: ``--chat_template plain``."""

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
    try:
        pieces = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise UserValueError(f"prompts {str(path)!r}: no YAML ({' '.join(str(error).split())}).") from error
    if not isinstance(pieces, Mapping | None):
        raise UserValueError(
            f"prompts {str(path)!r} holds a {type(pieces).__name__}; write a mapping from piece to text."
        )
    return pieces


def encode_chat(tokenizer: Any, chat: Chat) -> list[int]:
    """The token ids of one chat (see `ChatEncoder`)."""
    return ChatEncoder(tokenizer)([chat])[0].tolist()


class ChatEncoder:
    """Chats as token ids in a tokenizer's template, up to where the next assistant message begins.

    Many at once, and the same chat once: the samples of a group read one prompt, and questions come back.

    Raises:
        ValueError: The tokenizer has no chat template.
    """

    MOST = 1_000_000
    """Tokens of all chats that are remembered."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self._known: dict[tuple[tuple[str, str], ...], np.ndarray] = {}
        self._tokens = 0

    def __call__(self, chats: Sequence[Chat]) -> list[np.ndarray]:
        """The ids [P] int32 of each chat; the arrays are shared: do not change them."""
        keys = [tuple((m["role"], m["content"]) for m in chat) for chat in chats]
        new = [key for key in dict.fromkeys(keys) if key not in self._known]
        if self._tokens > self.MOST:
            self._known, self._tokens = {}, 0
            new = list(dict.fromkeys(keys))
        if new:
            texts = self._rendered(new)
            encoded = self.tokenizer(
                texts, add_special_tokens=False, return_attention_mask=False, return_token_type_ids=False
            )
            found = [np.array(ids, np.int32) for ids in encoded["input_ids"]]
            self._known.update(zip(new, found, strict=True))
            self._tokens += sum(map(len, found))
        return [self._known[key] for key in keys]

    @cached_property
    def prefix_stable(self) -> bool:
        """Whether a longer chat begins with the tokens of a shorter one: else no keys and values can be kept between rounds."""
        answer = "<think>\nx\n</think>\n\nx"  # which some templates take out of earlier messages
        first, second = self._rendered([(("user", "x"),), (("user", "x"), ("assistant", answer), ("user", "x"))])
        return second.startswith(first) and second[len(first) :].lstrip().startswith(answer)

    def _rendered(self, keys: Sequence[tuple[tuple[str, str], ...]]) -> list[str]:
        chats = [[{"role": role, "content": _without(self._control, said)} for role, said in key] for key in keys]
        render = partial(self.tokenizer.apply_chat_template, tokenize=False, add_generation_prompt=True)
        try:
            return render(chats)
        except TemplateError:
            if not any(chat[0]["role"] == "system" for chat in chats):
                raise
            # Gemma's template, among others, knows no system role: say the same at the head of the first user message.
            return render([_without_system(chat) for chat in chats])

    @cached_property
    def _control(self) -> re.Pattern[str]:
        """Every control token spelled out: those with a name (EOS ...) and those only marked as special (Llama 3's headers)."""
        if not self.tokenizer.chat_template:
            raise UserValueError(
                f"the tokenizer of {self.tokenizer.name_or_path!r} has no chat template; give one: --chat_template plain, or a Jinja "
                "file."
            )
        names = {t.content for t in self.tokenizer.added_tokens_decoder.values() if t.special}
        longest_first = sorted(names | set(self.tokenizer.all_special_tokens), key=lambda t: (-len(t), t))
        return re.compile("|".join(re.escape(t) for t in longest_first if t) or "(?!)")


def _without_system(chat: list[dict[str, str]]) -> list[dict[str, str]]:
    if chat[0]["role"] != "system":
        return chat
    return [{"role": "user", "content": f"{chat[0]['content']}\n\n{chat[1]['content']}"}, *chat[2:]]


def _without(control: re.Pattern[str], text: str) -> str:
    """An agent that spells out a control token must not be able to end its message and begin another's.

    Again and again, because removing one can put the halves around it together to another.
    """
    while True:
        text, found = control.subn("", text)
        if not found:
            return text
