"""Chats as training sequences: what `sft` learns from.

Every row becomes the very token ids that a rollout will later show the model, because both use the same encoding of a chat.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from maporl.agents.chat import ChatEncoder
from maporl.agents.models.checkpoints import context_window, eos_ids
from maporl.errors import UserValueError
from maporl.text_files import read_jsonl

__all__ = ["IGNORE", "ROW_FORMS", "encode_row", "encode_rows", "read_rows"]

IGNORE = -100  # the label that cross entropy skips
ROW_FORMS = '{"messages": [{"role", "content"}, ...]} or {"prompt": TEXT or messages, "completion": TEXT}'


def read_rows(path: str | Path) -> list[tuple[str, Any]]:
    """The rows of a jsonl file, each with the words that tell where it stands ("FILE, line 3"); empty lines are skipped.

    Raises:
        ValueError: No such file, or a line that is not JSON.
    """
    if not Path(path).is_file():
        raise UserValueError(f"rows {str(path)!r}: no such file; give a jsonl file with rows {ROW_FORMS}.")
    return [(f"{path}, line {number}", row) for number, row in read_jsonl(path)]


def encode_row(
    row: Any, encode: ChatEncoder, ends: Iterable[int] = (), where: str = "row"
) -> list[dict[str, list[int]]]:
    """A row as training sequences: "input_ids", and "labels" that are -100 wherever the assistant does not speak.

    ``{"messages": [...]}`` teaches every assistant message in it, each after exactly the tokens that a rollout would show
    before it. With a prefix-stable chat template that is one sequence; with another, one per assistant message.
    ``{"prompt": ..., "completion": ...}`` teaches the completion alone; a prompt that is plain text is one user message. Each
    message ends with the end-of-turn token of the template.

    Args:
        row: The row.
        encode: Chats -> token ids, as in rollouts.
        ends: Ids that end a message, beside the template's and the tokenizer's EOS token.
        where: Named in errors.

    Raises:
        ValueError: The row has neither form, or nothing to learn in it; or the chat template refuses it.
    """
    chat, first = _chat_of(row, where)
    eos = encode.tokenizer.eos_token_id
    stops = {*encode.ends, *ends, *([] if eos is None else [eos])}
    if not stops:
        raise UserValueError(
            f"the tokenizer of {encode.tokenizer.name_or_path!r} has no EOS token; set one and save it again."
        )
    sequences: list[dict[str, list[int]]] = []
    for index in range(first, len(chat)):
        if chat[index]["role"] != "assistant":
            continue
        try:
            prompt = encode([chat[:index]])[0].tolist()
            completion = _completion(encode, prompt, chat[: index + 1], stops)
        except UserValueError as error:
            raise UserValueError(f"{where}: {error}") from error
        if sequences and prompt[: len(sequences[-1]["input_ids"])] == sequences[-1]["input_ids"]:
            sequence = sequences[-1]
            between = prompt[len(sequence["input_ids"]) :]
        else:
            sequence, between = {"input_ids": [], "labels": []}, prompt
            sequences.append(sequence)
        sequence["input_ids"] += [*between, *completion]
        sequence["labels"] += [IGNORE] * len(between) + completion
    return sequences


def _completion(
    encode: ChatEncoder, prompt: list[int], chat: Sequence[Mapping[str, str]], stops: set[int]
) -> list[int]:
    """What the template writes after `prompt` for the last message of `chat`, up to and with its end-of-turn token."""
    whole = encode.answered(chat)
    after = whole[len(prompt) :] if whole[: len(prompt)] == prompt else []
    ends = [position for position, token in enumerate(after) if token in stops]
    if ends:
        return after[: ends[0] + 1]
    # The template rewrites its history, or closes no turn by a token: say the same by hand.
    text = encode.plain(chat[-1]["content"])
    return [*text, min(encode.ends or stops)]


def _chat_of(row: Any, where: str) -> tuple[list[dict[str, str]], int]:
    """The chat of a row, and the index of the first message that may be learned."""
    if not isinstance(row, Mapping):
        raise UserValueError(f"{where}: a row is an object, not {type(row).__name__}; use {ROW_FORMS}.")
    if "messages" in row:
        chat, first = row["messages"], 0
    elif "prompt" in row and "completion" in row:
        prompt, completion = row["prompt"], row["completion"]
        before = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        answer = [{"role": "assistant", "content": completion}] if isinstance(completion, str) else completion
        if not isinstance(before, list) or not isinstance(answer, list):
            raise UserValueError(f"{where}: prompt and completion must be text or lists of messages; use {ROW_FORMS}.")
        chat, first = [*before, *answer], len(before)
    else:
        raise UserValueError(f"{where}: has the keys {sorted(row)}; use {ROW_FORMS}.")
    if not isinstance(chat, list):
        raise UserValueError(f"{where}: 'messages' must be a list, not {type(chat).__name__}; use {ROW_FORMS}.")
    for message in chat:
        if not isinstance(message, Mapping) or not all(isinstance(message.get(k), str) for k in ("role", "content")):
            raise UserValueError(f"{where}: {message!r} is not a message; each needs the texts 'role' and 'content'.")
    if not any(message["role"] == "assistant" for message in chat[first:]):
        raise UserValueError(f"{where}: no assistant message, so there is nothing to learn; add one.")
    roles = [message["role"] for message in chat]
    if roles[0] == "assistant" or roles[:2] == ["system", "assistant"]:
        raise UserValueError(f"{where}: no user speaks before the assistant; put a user message before it.")
    return chat, first


def encode_rows(
    rows: str | Path | Iterable[Mapping[str, Any]], tokenizer: Any, network: Any
) -> dict[str, list[list[int]]]:
    """All rows as columns "input_ids" and "labels", in their order.

    Args:
        rows: A jsonl file, or rows in memory.
        tokenizer: With a chat template and an EOS token.
        network: The model that will learn them: it knows more end-of-turn tokens, and how long a row may be.

    Raises:
        ValueError: No rows, a malformed one, or one longer than the model's window.
    """
    located = read_rows(rows) if isinstance(rows, str | Path) else [(f"row {n}", row) for n, row in enumerate(rows)]
    encode, ends, window = ChatEncoder(tokenizer), eos_ids(network, tokenizer), context_window(network)
    data: dict[str, list[list[int]]] = {"input_ids": [], "labels": []}
    known: dict[int, tuple[Any, list[dict[str, list[int]]]]] = {}  # a curriculum repeats rows; each is encoded once
    for where, row in located:
        if id(row) not in known:  # kept with the row, so that its id stays taken
            known[id(row)] = (row, encode_row(row, encode, ends, where))
        for sequence in known[id(row)][1]:
            if len(sequence["input_ids"]) > window:
                raise UserValueError(
                    f"{where}: {len(sequence['input_ids'])} tokens, more than the model's window of {window}; shorten it."
                )
            data["input_ids"].append(sequence["input_ids"])
            data["labels"].append(sequence["labels"])
    if not data["input_ids"]:
        raise UserValueError(f"there are no rows to learn from; give rows {ROW_FORMS}.")
    return data
