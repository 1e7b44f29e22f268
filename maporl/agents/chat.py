"""From a chat to the exact tokens a model reads, and from tokens back to text: all that is known of a tokenizer's chat template.

Rollouts, supervised rows and learned verifiers encode by this alone, so that a model is trained on what it will be shown.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from jinja2.exceptions import TemplateError

from maporl.errors import UserValueError
from maporl.reasoning import MARKS

__all__ = ["PLAIN_CHAT_TEMPLATE", "ChatEncoder", "encode_chat"]

Chat = Sequence[Mapping[str, str]]
"""Messages with "role" and "content"."""

PLAIN_CHAT_TEMPLATE = (
    "{% for m in messages %}{{ m['role'].capitalize() }}: {{ m['content'] }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
"""For base models whose tokenizer has no chat template: ``--chat_template plain``. Without an EOS token a line ends a turn."""

_MARKUP = re.compile(r"\s*(<.+>|\[.+\])\s*", re.DOTALL)
_ALL_MARKS = {mark for pair in MARKS for mark in pair}
_REFUSALS = (TemplateError, TypeError, ValueError, LookupError, AttributeError)
"""What rendering a template may raise: its own errors, and what Python says of a message that it did not expect."""
_SYSTEM, _ASKED, _SAID, _AGAIN = (
    {"role": role, "content": f"{name}-probe"}
    for role, name in (("system", "system"), ("user", "first"), ("assistant", "answer"), ("user", "second"))
)


def encode_chat(tokenizer: Any, chat: Chat) -> list[int]:
    """The token ids of one chat (see `ChatEncoder`)."""
    return ChatEncoder(tokenizer)([chat])[0].tolist()


class ChatEncoder:
    """Chats as token ids in a tokenizer's template, up to where the next assistant message begins.

    They begin with the tokenizer's BOS token where it adds one to a text by itself and the template does not write it. A system message
    that the template refuses or leaves out is said at the head of the first user message. Many chats at once, and the same chat once:
    the samples of a group read one prompt, and questions come back.

    Raises:
        ValueError: The tokenizer has no chat template; or it refuses a chat, or leaves out what was said.
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
        new = {key: chat for key, chat in zip(keys, chats, strict=True) if key not in self._known}
        if self._tokens > self.MOST:
            self._known, self._tokens = {}, 0
            new = dict(zip(keys, chats, strict=True))
        if new:
            found = [np.array(ids, np.int32) for ids in self._ids([self._rendered(chat) for chat in new.values()])]
            self._known.update(zip(new, found, strict=True))
            self._tokens += sum(map(len, found))
        return [self._known[key] for key in keys]

    def answered(self, chat: Chat) -> list[int]:
        """The ids of a chat that ends with the assistant's message, and with what the template writes after it."""
        return self._ids([self._rendered(chat, prompt=False)])[0]

    def plain(self, text: str) -> list[int]:
        """The ids of a text that is put between others, without the control tokens that it spells out."""
        ids: list[int] = self.tokenizer(_without(self._spelled, text), add_special_tokens=False)["input_ids"]
        return ids

    def decode(self, ids: np.ndarray | Sequence[int]) -> str:
        """The text of a message, reasoning included, without its control tokens."""
        silent = self._control
        return str(self.tokenizer.decode([i for i in np.asarray(ids).tolist() if i not in silent]))

    def apart(self, text: str) -> tuple[str, str]:
        """What a message thinks, and what it says: its reasoning block, which the template may have begun, and the rest, both stripped.

        One that is cut while it thinks says nothing.
        """
        begin, end = self._begun(text) or ("", "")
        if not end:
            return "", text.strip()
        thought, said = (*re.split(re.escape(end), text, maxsplit=1, flags=re.IGNORECASE), "")[:2]
        thought = thought.strip()
        return thought[len(begin) * _starts(thought, begin) :].strip(), said.strip()

    def thinks(self, ids: Sequence[int]) -> bool:
        """Whether a message of these tokens is in the middle of a reasoning block that `closing` ends."""
        text = self.decode(ids)
        return self._begun(text) == self.marks and self.marks[1].casefold() not in text.casefold()

    @cached_property
    def marks(self) -> tuple[str, str]:
        """How this model's reasoning begins and ends: the pair that its template or tokenizer knows, else ``<think>``."""
        known = str(self.tokenizer.chat_template)
        return next((p for p in MARKS if p[1] in self._added.values() or p[1] in known), MARKS[0])

    @cached_property
    def closing(self) -> tuple[int, ...]:
        """The tokens between reasoning and answer: ``</think>`` and the white space around it, as the template writes them.

        Empty where neither template nor tokenizer knows a mark.
        """
        begin, end = self.marks
        if end not in self._added.values() and end not in str(self.tokenizer.chat_template):
            return ()
        usual = f"\n{end}\n\n"  # also where the template takes the reasoning out
        said = {"role": "assistant", "content": f"{begin}\nthought-probe{usual}{_SAID['content']}"}
        try:
            text = self._render([_ASKED, said], prompt=False)
        except _REFUSALS:
            text = ""
        _, kept, after = text.rpartition("thought-probe")
        between = after.partition(_SAID["content"])[0]
        return tuple(self.plain(between if kept and end in between else usual))

    @cached_property
    def ends(self) -> frozenset[int]:
        """The token by which the template ends what the assistant says, whatever EOS token is named elsewhere.

        That is the first control token after the last message of a chat; where there is none, the first before the next one, as
        with templates that only open turns. Empty where it writes plain text alone.
        """
        commands = {i for i, text in self._added.items() if self._commands(i, text)}
        for more in ([], [_AGAIN]):
            try:
                text = self._render([_ASKED, _SAID, *more], prompt=False)
            except _REFUSALS:
                continue
            after = text.rpartition(_SAID["content"])[2].partition(_AGAIN["content"])[0]
            ids = self.tokenizer(after, add_special_tokens=False)["input_ids"]
            if found := [i for i in ids if i in commands]:
                return frozenset(found[:1])
        return frozenset()

    @cached_property
    def prefix_stable(self) -> bool:
        """Whether a longer chat begins with the messages of a shorter one: else no keys and values can be kept between rounds.

        What a template writes between the last of them and an answer, such as an empty ``<think>`` block, may go.
        """
        first, second = self._rendered([_ASKED]), self._rendered([_ASKED, _SAID, _AGAIN])
        return _ASKED["content"] in os.path.commonprefix([first, second])

    def _begun(self, text: str) -> tuple[str, str] | None:
        """The marks of the reasoning block that a message begins with: it writes the first one, or the template has written it."""
        return self._begins_thinking or next((pair for pair in MARKS if _starts(text.lstrip(), pair[0])), None)

    @cached_property
    def _begins_thinking(self) -> tuple[str, str] | None:
        """The marks of the reasoning with which the template itself lets every answer begin."""
        try:
            text = self._render([_ASKED]).rstrip()
        except _REFUSALS:
            return None
        return next((pair for pair in MARKS if text.endswith(pair[0])), None)

    # -- text ----------------------------------------------------------------------------------------------------------

    def _render(self, chat: Chat, prompt: bool = True) -> str:
        return str(self.tokenizer.apply_chat_template(list(chat), tokenize=False, add_generation_prompt=prompt))

    def _rendered(self, chat: Chat, prompt: bool = True) -> str:
        """The chat's text, without control tokens that somebody has spelled out, and with all that was said."""
        if not self.tokenizer.chat_template:
            raise UserValueError(
                f"the tokenizer of {self.tokenizer.name_or_path!r} has no chat template; give one: --chat_template plain, or a Jinja "
                "file."
            )
        shown = [{"role": m["role"], "content": _without(self._spelled, m["content"])} for m in chat]
        if self._folds_system:
            shown = _folded(shown)
        try:
            text = self._render(shown, prompt)
        except _REFUSALS as error:
            roles = ", ".join(m["role"] for m in shown)
            raise UserValueError(
                f"the chat template of {self.tokenizer.name_or_path!r} refuses a chat of {roles} ({' '.join(str(error).split())}); give "
                "another: --chat_template plain, or a Jinja file."
            ) from error
        for message in shown:  # of the assistant's some templates take the reasoning out
            if message["role"] != "assistant" and not _holds(text, message["content"]):
                raise UserValueError(
                    f"the chat template of {self.tokenizer.name_or_path!r} leaves out what the {message['role']} says "
                    f"({message['content'][:40]!r}); give another: --chat_template plain, or a Jinja file."
                )
        return text

    @cached_property
    def _folds_system(self) -> bool:
        """Whether the template refuses a system message (Gemma's first) or drops it in silence (Phi-3's first)."""
        for chat in ([_SYSTEM, _ASKED], [_SYSTEM, _ASKED, _SAID, _AGAIN]):
            try:
                if not _holds(self._render(chat), _SYSTEM["content"]):
                    return True
            except _REFUSALS:
                return True
        return False

    # -- tokens --------------------------------------------------------------------------------------------------------

    def _ids(self, texts: list[str]) -> list[list[int]]:
        encoded = self.tokenizer(
            texts, add_special_tokens=False, return_attention_mask=False, return_token_type_ids=False
        )["input_ids"]
        bos = self._bos
        if bos is None:
            return encoded  # type: ignore[no-any-return]
        written = [text.lstrip().startswith(self.tokenizer.bos_token) for text in texts]
        return [ids if has or ids[:1] == [bos] else [bos, *ids] for ids, has in zip(encoded, written, strict=True)]

    @cached_property
    def _bos(self) -> int | None:
        """The BOS token, if the tokenizer begins every text with it."""
        bos: int | None = self.tokenizer.bos_token_id
        return bos if bos is not None and self.tokenizer("x")["input_ids"][:1] == [bos] else None

    @cached_property
    def _added(self) -> dict[int, str]:
        """Every token that is matched before a text is split into pieces."""
        return {i: token.content for i, token in self.tokenizer.added_tokens_decoder.items()}

    @cached_property
    def _control(self) -> dict[int, str]:
        """Control tokens: those with a name (EOS ...), those only marked as special (Llama 3's headers), and what ends a turn."""
        special = {i: t.content for i, t in self.tokenizer.added_tokens_decoder.items() if t.special}
        special |= dict(zip(self.tokenizer.all_special_ids, self.tokenizer.all_special_tokens, strict=True))
        special |= {i: self._added[i] for i in self.ends}
        return {i: t for i, t in special.items() if t and t not in _ALL_MARKS and self._commands(i, t)}

    def _commands(self, token: int, text: str) -> bool:
        """Whether an added token is nothing that anybody writes: markup, or no piece of ordinary text. A pad token "!" is one."""
        if _MARKUP.fullmatch(text):
            return True
        ordinary = self.tokenizer([text, f"5{text}"], add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return not any(token in ids for ids in ordinary)

    @cached_property
    def _spelled(self) -> re.Pattern[str]:
        """Every control token as text, the longest first."""
        longest_first = sorted(set(self._control.values()), key=lambda t: (-len(t), t))
        return re.compile("|".join(re.escape(t) for t in longest_first) or "(?!)")


def _starts(text: str, mark: str) -> bool:
    return text[: len(mark)].casefold() == mark.casefold()


def _folded(chat: list[dict[str, str]]) -> list[dict[str, str]]:
    """The system message at the head of the first user message."""
    if chat[0]["role"] != "system" or len(chat) < 2 or chat[1]["role"] != "user":
        return chat
    return [{"role": "user", "content": f"{chat[0]['content']}\n\n{chat[1]['content']}"}, *chat[2:]]


def _holds(text: str, said: str) -> bool:
    """Whether a rendered chat holds a message; templates may strip it, or change its white space."""
    return said.strip() in text or "".join(said.split()) in "".join(text.split())


def _without(spelled: re.Pattern[str], text: str) -> str:
    """An agent that spells out a control token must not be able to end its message and begin another's.

    Again and again, because removing one can put the halves around it together to another.
    """
    while True:
        text, found = spelled.subn("", text)
        if not found:
            return text
