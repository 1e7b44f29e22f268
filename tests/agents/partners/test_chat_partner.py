"""A partner behind a URL: what is sent, what is said, and what happens when nobody is there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from discussion_toys import Digits
from toy_server import toy_server

from maporl.agents import ScriptedAgent, Team
from maporl.agents.partners.chat_partner import ChatPartner
from maporl.errors import ServerUnavailable
from maporl.registry import build
from maporl.rollouts.play import rollout
from maporl.types import Seat


def reply(text: str | None, **more: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"content": text}, **more}], "usage": {"prompt_tokens": 9, "completion_tokens": 4}}


def test_it_speaks_in_a_discussion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_KEY", "k1")
    with toy_server() as server:
        server.replies = [lambda sent: reply(f"heard {len(sent['messages'])}", finish_reason="length")]
        spec = {
            "name": "chat_partner",
            "url": f"{server.url}/v1",
            "model": "m",
            "max_tokens": 7,
            "api_key_env": "TOY_KEY",
        }
        partner = build("agent", {**spec, "prompts": {"system": "Be brief."}})
        team = Team({("agent_0", 0): ScriptedAgent(lambda o, rng: "<1>"), ("agent_1", 0): partner})
        env = Digits(2, 2)
        (episode,) = rollout(env, team, env.questions("train")[:1], seed=0)
        said = [t for t in episode.transcript.turns if t.agent == "agent_1"]
        assert [t.text for t in said] == ["heard 2", "heard 4"] and said[0].completion is not None
        assert (said[0].completion.sampled_tokens, said[0].completion.truncated) == (4, True)
        sent, greedy = (
            server.requests[0],
            partner.act(
                [env.rules.observe(episode.transcript, Seat("agent_1", 1))], [np.random.default_rng()], greedy=True
            ),
        )
        assert (
            sent["messages"][0] == {"role": "system", "content": "Be brief."} and sent["path"] == "/v1/chat/completions"
        )
        assert (sent["temperature"], sent["max_tokens"], sent["headers"]["Authorization"]) == (1.0, 7, "Bearer k1")
        assert server.requests[-1]["temperature"] == 0 and greedy[0].text
        again = rollout(env, team, env.questions("train")[:1], seed=0)
        assert server.requests[3]["seed"] == sent["seed"] and again[0].transcript.turns[1].text == "heard 2"


def test_what_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for changes, message in {
        "temperature": (-1, "temperature is -1"),
        "max_tokens": (0, "max_tokens is 0"),
        "prompts": ({"sytem": ""}, "no argument 'sytem'. Did you mean 'system'"),
        "url": ("ftp://x", "no address of a partner"),
    }.items():
        value, said = message
        with pytest.raises(ValueError, match=said):
            ChatPartner(**{"url": "http://127.0.0.1:1/v1", "model": "m", changes: value})
    env = Digits(2, 1)
    shown = [env.rules.observe(env.rules.start(env.questions("train")[0]), Seat("agent_0", 0))]
    with pytest.raises(ValueError, match="the partner's key .* 'NO_SUCH_KEY', which is empty"):
        ChatPartner("http://127.0.0.1:1/v1", "m", api_key_env="NO_SUCH_KEY").act(shown, [np.random.default_rng()])
    with pytest.raises(ServerUnavailable, match="gave no usable reply for 0 s.*Start it again"):
        ChatPartner("http://127.0.0.1:1/v1", "m", patience=0).act(shown, [np.random.default_rng()])
