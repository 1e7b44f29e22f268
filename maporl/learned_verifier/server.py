"""Verifiers over HTTP: FastAPI and uvicorn; requests that come together are scored in one batch (``pip install 'maporl[serve]'``)."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

from maporl import __version__
from maporl.envs.verifiers import Verifier
from maporl.errors import UserValueError
from maporl.types import Question, Score

__all__ = ["LONGEST_TEXT", "Batcher", "application", "serve"]

MOST_ANSWERS = 1024
LONGEST_TEXT = 100_000  # characters of a question
LARGEST_REQUEST = 64 * 2**20  # bytes

Pair = tuple[Question, str]


class Batcher:
    """Scores what waits, all at once, while the next requests gather.

    Args:
        verifier: Is called in one thread, never twice at a time.
        most: Answers in one batch; a larger request is one batch by itself.
    """

    def __init__(self, verifier: Verifier, most: int = 512) -> None:
        self.verifier, self.most = verifier, most
        self.batches = 0
        self._waiting: asyncio.Queue[tuple[list[Pair], asyncio.Future[list[Score]]]] = asyncio.Queue()

    async def score(self, pairs: list[Pair]) -> list[Score]:
        """The scores of one request."""
        future: asyncio.Future[list[Score]] = asyncio.get_running_loop().create_future()
        await self._waiting.put((pairs, future))
        return await future

    async def work(self) -> None:
        """Until it is cancelled."""
        while True:
            taken = [await self._waiting.get()]
            while not self._waiting.empty() and sum(len(pairs) for pairs, _ in taken) < self.most:
                taken.append(self._waiting.get_nowait())
            together = [pair for pairs, _ in taken for pair in pairs]
            try:
                scores = await asyncio.to_thread(self._scored, together)
            except Exception as error:  # told to those who asked; the next batch may be sound
                for _, future in taken:
                    if not future.done():
                        future.set_exception(error)
                continue
            for pairs, future in taken:
                mine, scores = scores[: len(pairs)], scores[len(pairs) :]
                if not future.done():
                    future.set_result(mine)

    def _scored(self, pairs: Sequence[Pair]) -> list[Score]:
        self.batches += 1
        return list(self.verifier.score_batch([q for q, _ in pairs], [response for _, response in pairs]))


class _Limited:
    """Refuses a request of more than `LARGEST_REQUEST` bytes: reads it to its end, so that the sender hears of it, but keeps nothing."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        from fastapi import HTTPException

        size = 0

        async def counted() -> Any:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size <= LARGEST_REQUEST:
                return message
            while message.get("more_body", False):
                message = await receive()
            raise HTTPException(413, f"a request may have {LARGEST_REQUEST} bytes; send fewer answers (batch_size).")

        await self.app(scope, counted, send)


class _Known(Question):
    """A question as it was sent: its hash is that of the question it is, which cannot be computed without its gold answer."""

    @property
    def hash(self) -> str:
        return str(self.metadata["hash"])


def question_of(sent: Mapping[str, Any]) -> Question:
    """A question from a request."""
    return _Known(
        sent["text"], sent.get("answer") or "", private=sent.get("private") or {}, metadata={"hash": sent["hash"]}
    )


def application(verifier: Verifier, *, most: int = 512) -> Any:
    """The FastAPI application of a verifier: POST /score, GET /info, GET /health.

    Raises:
        ValueError: FastAPI is not installed.
    """
    _check_installed()
    from fastapi import FastAPI, HTTPException
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import JSONResponse
    from pydantic import BaseModel, Field

    class SentQuestion(BaseModel):
        text: str = Field(max_length=LONGEST_TEXT)
        private: dict[str, str] = Field(default_factory=dict)
        hash: str = Field(min_length=1, max_length=64)
        answer: str | None = None

    class Sent(BaseModel):
        questions: list[SentQuestion] = Field(max_length=MOST_ANSWERS)
        responses: list[str] = Field(max_length=MOST_ANSWERS)

    batcher = Batcher(verifier, most)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        worker = asyncio.create_task(batcher.work())
        yield
        worker.cancel()

    app = FastAPI(title="maporl verifier", version=__version__, lifespan=lifespan)
    app.state.batcher = batcher

    async def score(sent: Sent) -> dict[str, Any]:
        if len(sent.questions) != len(sent.responses):
            raise HTTPException(
                422, f"there are {len(sent.questions)} questions and {len(sent.responses)} responses; send pairs."
            )
        if verifier.uses_gold and any(q.answer is None for q in sent.questions):
            raise HTTPException(422, "this verifier reads gold answers; send 'answer' with every question.")
        pairs = [(question_of(q.model_dump()), r) for q, r in zip(sent.questions, sent.responses, strict=True)]
        scores = await batcher.score(pairs) if pairs else []
        return {"scores": [asdict(s) for s in scores]}

    async def info() -> dict[str, Any]:
        return {
            "name": repr(verifier),
            "uses_gold": verifier.uses_gold,
            "rule_based": verifier.rule_based,
            "seen_questions": sorted(verifier.seen_questions()),
            "version": __version__,
        }

    async def health() -> dict[str, str]:
        return {"status": "ok"}

    def refuse(request: Any, error: RequestValidationError) -> JSONResponse:
        """The fields and what is wrong with them; FastAPI's own answer repeats the whole request."""
        faults = [f"{'.'.join(map(str, fault['loc'][1:]))}: {fault['msg']}" for fault in error.errors()[:5]]
        return JSONResponse({"detail": "; ".join(faults)}, 422)

    app.add_middleware(_Limited)
    app.exception_handler(RequestValidationError)(refuse)
    # What FastAPI reads of these functions are classes made here: not their names, which mean nothing elsewhere.
    score.__annotations__ = {"sent": Sent, "return": dict[str, Any]}
    app.post("/score")(score)
    app.get("/info")(info)
    app.get("/health")(health)
    return app


def serve(verifier: Verifier, *, host: str = "127.0.0.1", port: int = 8000) -> None:
    """Serve a verifier until Ctrl-C; prints its URL once it answers.

    Args:
        verifier: Of any kind.
        host, port: Where; port 0 takes a free one.

    Raises:
        ValueError: FastAPI or uvicorn is not installed, or the port is taken.
    """
    _check_installed()
    import socket

    import uvicorn

    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        raise UserValueError(
            f"{host}:{port} cannot be served at ({error}); choose another --port, or 0 for a free one."
        ) from error
    app = application(verifier)
    verifier.prepare()  # what it has to load is there before the first request
    if not verifier.uses_gold:
        verifier.score_batch([Question("", "")], [""])
    listener.listen()  # who reads the next line may ask at once: requests queue until uvicorn takes them
    shown = f"[{host}]" if ":" in host else host
    print(f"serving {verifier!r} at http://{shown}:{listener.getsockname()[1]}", flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])


def _check_installed() -> None:
    for name in ("fastapi", "uvicorn"):
        if importlib.util.find_spec(name) is None:
            raise UserValueError(f"serving a verifier needs {name}; pip install 'maporl[serve]'.")
