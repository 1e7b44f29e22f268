"""The interface of what judges: ballots in, replies out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from maporl import registry
from maporl.errors import UserValueError
from maporl.judges.ballot import Ballot, Reply

__all__ = ["JudgeModel", "judge_model"]


class JudgeModel(ABC):
    """A model that can be asked. Named by a word ("local", "chat_server"), ``package.module:Class``, or given as an object."""

    @abstractmethod
    def ask(self, ballots: Sequence[Ballot]) -> list[Reply]:
        """A reply to every ballot, in order. One that is none comes with the shares None; it never raises because of what was judged.

        Raises:
            VerifierUnavailable: The model cannot be reached.
        """

    def prepare(self) -> None:
        """Load what asking needs.

        Raises:
            ValueError: It cannot be loaded.
        """
        return None


def judge_model(spec: Any) -> JudgeModel:
    """The model that `spec` names: a mapping with a name, an object, or the folder, file or hub id of one that is loaded here.

    Raises:
        ValueError: It is none.
    """
    named = spec if isinstance(spec, Mapping | JudgeModel) else {"name": "local", "model": spec}
    if isinstance(named, Mapping) and "name" not in named:
        named = {"name": "chat_server" if "url" in named else "local", **named}
    model = registry.build("judge_model", named)
    if not isinstance(model, JudgeModel):
        raise UserValueError(
            f"model {spec!r} of a judge is no JudgeModel; give a model's folder, or {{url: ..., model: ...}} of a server."
        )
    return model
