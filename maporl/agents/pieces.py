"""What token ids say, one by one: for people who look at what a model read and wrote."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from maporl.agents.llm_agent import LLMAgent
from maporl.agents.team import Team
from maporl.types import Episode

__all__ = ["pieces", "vocabulary"]


def pieces(tokenizer: Any, ids: Iterable[int]) -> dict[int, str]:
    """The text of each token by itself, white space in front of it included; part of a character is shown as the tokenizer names it."""
    wanted = sorted(set(ids))
    texts = {}
    for id, name in zip(wanted, tokenizer.convert_ids_to_tokens(wanted), strict=True):
        text = tokenizer.decode([id], skip_special_tokens=False, clean_up_tokenization_spaces=False)
        if str(name).startswith("\u2581") and not text.startswith(" "):  # SentencePiece takes a text's first space away
            text = f" {text}"
        if not text or "\ufffd" in text:
            text = str(name)
        texts[id] = text
    return texts


def vocabulary(team: Team, episodes: Sequence[Episode]) -> dict[str, dict[str, Any]]:
    """Every token that language models read or wrote in these discussions, ready for JSON.

    Returns:
        Agent -> {"texts": {token: text}, "special": the tokens that are control tokens}.
    """
    seen: dict[str, list[np.ndarray]] = {}
    speakers: dict[str, LLMAgent] = {}
    for turn in (turn for episode in episodes for turn in episode.transcript.turns):
        if turn.completion is not None and len(turn.completion.prompt_ids):
            member = team.member(turn.agent, turn.round)
            if isinstance(member, LLMAgent):
                speakers[turn.agent] = member
                seen.setdefault(turn.agent, []).extend([turn.completion.prompt_ids, turn.completion.completion_ids])
    found = {}
    for agent, ids in seen.items():
        tokenizer = speakers[agent].policy.tokenizer
        texts = pieces(tokenizer, np.unique(np.concatenate(ids)).tolist())
        control = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
        control |= set(tokenizer.all_special_ids)
        found[agent] = {"texts": texts, "special": sorted(control & texts.keys())}
    return found
