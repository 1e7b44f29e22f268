"""A judge behind an OpenAI-compatible URL: vLLM, SGLang, llama.cpp, Ollama, or a paid one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from maporl.envs.verifiers.verifier import VerifierUnavailable
from maporl.errors import UserValueError
from maporl.judges.ballot import Ballot, Reply
from maporl.judges.judge_model import JudgeModel
from maporl.patient_client import PatientClient, chat_completion, take_key

__all__ = ["ChatServer"]

_AGAIN = "That was not the object of JSON that was asked for. Reply with it and nothing else."


class ChatServer(JudgeModel):
    """Asks ``POST URL/chat/completions``, and waits for a server that is away (see `PatientClient`).

    A reply that is none is asked for again, with the remark that it is none, up to `tries` times. Tokens are those that the server
    says (``usage``); of one that says nothing a quarter of the characters.

    Args:
        url: Up to and with the version, such as ``http://127.0.0.1:8000/v1``.
        model: The name by which the server knows the model.
        reason_tokens: Longest reason, where one is asked for.
        temperature: Of the judge.
        json_schema: Send the grammar of a reply (``response_format``), so that the server lets the model write nothing else. False for a
            server that refuses it.
        tries: How often a ballot is put before it counts as nonsense.
        timeout, patience, connections, headers: As `PatientClient`.
        api_key_env: The environment variable that holds the key; the key itself is never written down.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        reason_tokens: int = 512,
        temperature: float = 0.0,
        json_schema: bool = True,
        tries: int = 2,
        timeout: float = 120.0,
        patience: float = 300.0,
        connections: int = 8,
        headers: Mapping[str, str] | None = None,
        api_key_env: str | None = None,
    ) -> None:
        for name, value in {"reason_tokens": reason_tokens, "tries": tries}.items():
            if value < 1:
                raise UserValueError(f"{name} is {value}; it must be at least 1.")
        if not temperature >= 0:
            raise UserValueError(f"temperature is {temperature}; it must be at least 0.")
        self.model, self.reason_tokens, self.temperature = model, reason_tokens, temperature
        self.json_schema, self.tries, self.api_key_env = json_schema, tries, api_key_env
        self.client = PatientClient(
            url,
            title="judge",
            remedy="Start it again, then go on",
            timeout=timeout,
            patience=patience,
            connections=connections,
            headers=headers,
            failure=VerifierUnavailable,
        )

    def prepare(self) -> None:
        take_key(self.client, self.api_key_env)

    def ask(self, ballots: Sequence[Ballot]) -> list[Reply]:
        """See `JudgeModel`.

        Raises:
            ValueError: The server calls the request wrong, or there is no key.
        """
        self.prepare()
        replies: dict[int, Reply] = {}
        chats = [list(ballot.chat) for ballot in ballots]
        spent = [(0, 0)] * len(ballots)
        left = list(range(len(ballots)))
        for _ in range(self.tries):
            bodies = [self._body(ballots[n], chats[n]) for n in left]
            said = self.client.ask_all("/chat/completions", bodies, lambda _, reply: chat_completion(reply))
            for n, (text, usage, _) in zip(left, said, strict=True):
                prompt, completion = usage or (sum(len(m["content"]) for m in chats[n]) // 4, len(text) // 4)
                spent[n] = (spent[n][0] + prompt, spent[n][1] + completion)
                read = ballots[n].read(text)
                if read is None:
                    replies[n] = Reply(None, *spent[n], f"no such object: {text[:200]!r}")
                    chats[n] += [{"role": "assistant", "content": text}, {"role": "user", "content": _AGAIN}]
                else:
                    verdict, reason = read
                    shares = {choice: float(choice == verdict) for choice in ballots[n].choices}
                    replies[n] = Reply(shares, *spent[n], reason)
            left = [n for n in left if replies[n].shares is None]
            if not left:
                break
        return [replies[n] for n in range(len(ballots))]

    def _body(self, ballot: Ballot, chat: Sequence[Mapping[str, str]]) -> dict[str, Any]:
        body = {
            "model": self.model,
            "messages": list(chat),
            "temperature": self.temperature,
            "max_tokens": 64 + (self.reason_tokens if ballot.reasons else 0),
        }
        if self.json_schema:
            form = {"name": "verdict", "strict": True, "schema": ballot.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        return body

    def __repr__(self) -> str:
        return f"ChatServer({self.client.url!r}, {self.model!r})"
