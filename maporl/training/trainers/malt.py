"""MALT: multi-agent learning from trees of discussions (Motwani et al. 2412.01928).

The team answers every question as a tree: n candidates of the first message, n answers to each of these, and so on. A leaf is worth what
its last message scores, an inner message the mean of its children. Each role then imitates its messages that are worth more than one half,
and learns to prefer them to their siblings that are worth less. In the paper the roles are a generator, a verifier and a refiner in a
pipeline, which is what a run gets that asks for no other protocol; a tree can be grown over any.
"""

from __future__ import annotations

import itertools
import math
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from maporl import registry
from maporl.agents import LLMAgent
from maporl.agents.trainable import Trainable, put_weights, weights_of
from maporl.algorithms.adapter_training import AdapterSettings, dpo_adapter, sft_adapter
from maporl.envs.discussion import DiscussionEnv
from maporl.errors import UserValueError, warn
from maporl.rollouts.decisions import Decision, decisions, pairs
from maporl.rollouts.preferences import imitated, write_decisions
from maporl.rollouts.trees import size_of
from maporl.settings import called, parameters
from maporl.training.config import RunConfig
from maporl.training.evaluation import check_oracle, check_team_answer
from maporl.training.loop import Collector, check_context
from maporl.training.preflight import Preflight, preflight
from maporl.training.threads import with_threads
from maporl.training.trainer import Run, Trainer
from maporl.training.trainers.malt_settings import Settings, branching_of, check
from maporl.types import Completion, Episode

__all__ = ["MALT", "labels"]


class MALT(Trainer):
    """Trees, then fine-tuning and preferences role by role, on one base with an adapter for each role.

    An iteration is as many whole trees as `episodes_per_iteration` leaves hold, at least one, of as many questions. They are kept whole in
    ``episodes/``, their decisions with values in ``decisions/``. When those of a round are there, every trained adapter learns: first SFT,
    then DPO with that as its reference. The run can be resumed after every iteration, and after every one of these stages.
    """

    method = "pipeline"
    Settings = Settings

    @classmethod
    def completed(cls, config: RunConfig) -> RunConfig:
        if "protocol" in config.env_args or "protocol" not in parameters(registry.load("env", config.env)):
            return config
        return config.merged({"env_args": {"protocol": "pipeline"}, "num_rounds": config.num_rounds or 1})

    @classmethod
    def messages_of(cls, config: RunConfig, env: DiscussionEnv) -> int:
        size = size_of(env.rules.waves, branching_of(_settings(config).branching, env))
        return max(config.episodes_per_iteration // size.discussions, 1) * size.messages

    def __init__(self, run: Run) -> None:
        config, env = run.config, run.env
        self.settings = _settings(config)
        check_team_answer(config.team_answer)
        check_oracle(env, config.allow_oracle)
        check(config, env, self.settings)
        env.verifiers.prepare()
        self.team = config.build_team(env)
        learners = self.team.learners.values()
        if not learners or not all(isinstance(member, LLMAgent) for member in learners):
            raise UserValueError(
                f"malt trains language models, and the team trains {list(self.team.learners)}; unfreeze a seat (team, frozen, partners)."
            )
        run.config = config = with_threads(config, self.team)
        self.branching = branching_of(self.settings.branching, env)
        leaves = math.prod(self.branching)
        trees = max(config.episodes_per_iteration // leaves, 1)
        self.collector = Collector(env, self.team, trees * leaves, self.branching, seed=config.seed)
        check_context(env, self.team, [*env.questions("train"), *run.validation])
        self._done: dict[str, dict[str, float]] = {}  # stage of the round in progress -> what it measured

    def preflight(self, run: Run) -> Preflight | None:
        return preflight(self, run, self.collector)

    def fit(self, run: Run, start: int = 0) -> None:
        size = run.config.num_iterations // self.settings.rounds
        for k in range(start, run.config.num_iterations):
            episodes, looks = run.collected(k, self.collector.collect)
            self._check_branching(run, k, episodes)
            run.callback.on_experience(k + 1, episodes)
            found = decisions(episodes)
            metrics = {**looks, **labels(found)}
            write_decisions(run.folder.path / "decisions" / f"iteration_{k + 1:04d}.jsonl", found)
            if (k + 1) % size == 0:
                metrics |= self._learn(run, range(k + 1 - size, k + 1))
            run.iteration(k + 1, metrics)

    def _check_branching(self, run: Run, iteration: int, episodes: Sequence[Episode]) -> None:
        """Trees that were kept before the run was cut off are to be those that it would grow."""
        widths = [1 + max(place) for place in itertools.zip_longest(*(e.branch for e in episodes), fillvalue=0)]
        asked = [*self.branching, *[1] * (len(widths) - len(self.branching))]
        if widths != asked[: len(widths)]:
            raise UserValueError(
                f"the trees of iteration {iteration + 1} in {str(run.folder.path)!r} were grown with branching {widths}, now it is "
                f"{asked}; go on with theirs, or begin another run."
            )

    def _learn(self, run: Run, iterations: Sequence[int]) -> dict[str, float]:
        """Every adapter in its turn; what is over already is not done again."""
        began = time.perf_counter()
        by_adapter = self._by_adapter([d for k in iterations for d in decisions(run.kept(k))])
        for adapter in self.team.learners:
            for stage, learn in (("sft", self._sft), ("dpo", self._dpo)):
                if (name := f"{stage}/{adapter}") not in self._done:
                    self._done[name] = learn(run.config, adapter, by_adapter[adapter])
                    run.checkpoint()
        measured = {
            f"{name.replace('/', f'/{what}/')}": v for name, row in self._done.items() for what, v in row.items()
        }
        self._done = {}
        return {**measured, "time/update_s": time.perf_counter() - began}

    def _by_adapter(self, found: Sequence[Decision]) -> dict[str, list[Decision]]:
        """The decisions of every adapter that learns."""
        mine: dict[str, list[Decision]] = defaultdict(list)
        for d in found:
            if (learner := self.team.learner(*d.seat)) is not None and learner.adapter is not None:
                mine[learner.adapter].append(d)
        return mine

    def _sft(self, config: RunConfig, adapter: str, found: Sequence[Decision]) -> dict[str, float]:
        chosen = [c.completion for d in found for c in imitated(d, paired=self.settings.imitate == "paired")]
        messages = list(filter(_whole, chosen))
        if not messages:
            why = (
                f"all {len(chosen)} good messages of {adapter!r} are empty or were cut off: raise max_new_tokens"
                if chosen
                else f"no message of {adapter!r} is worth more than .5 in {len(found)} decisions: ask more or easier questions "
                "(num_iterations, episodes_per_iteration), or begin with a better model"
            )
            warn(f"{why}. It is not fine-tuned.")
            return {"messages": 0.0}
        settings = self._adapter_settings(config, config.learning_rate, self.settings.sft_epochs)
        policy = self._member(adapter).policy
        return {"messages": float(len(messages)), **sft_adapter(policy, adapter, messages, settings)}

    def _dpo(self, config: RunConfig, adapter: str, found: Sequence[Decision]) -> dict[str, float]:
        if self.settings.dpo == "none":
            return {}
        asked = [d for d in found if self.settings.dpo == "all" or not _opens(d)]
        if not asked:
            return {"pairs": 0.0}  # it opens the discussion
        both = [(a.completion, b.completion) for d in asked for a, b in pairs(d) if _whole(a.completion)]
        if not both:
            labelled = sum(len({value > 0.5 for value in d.values}) == 2 for d in asked)
            beside = ", but the good one is the same text or was cut off (max_new_tokens)" if labelled else ""
            warn(
                f"{adapter!r} has no preferences to learn: in {labelled} of {len(asked)} decisions there is a good message beside a bad "
                f"one{beside}. Its fine-tuning stands; more branching, a higher temperature or more questions give some."
            )
            return {"pairs": 0.0}
        rate = self.settings.dpo_learning_rate or config.learning_rate / 10
        settings = self._adapter_settings(config, rate, self.settings.dpo_epochs)
        policy = self._member(adapter).policy
        return {"pairs": float(len(both)), **dpo_adapter(policy, adapter, both, settings)}

    def _adapter_settings(self, config: RunConfig, learning_rate: float, epochs: int) -> AdapterSettings:
        return AdapterSettings(
            learning_rate=learning_rate,
            batch_size=self.settings.batch_size,
            epochs=epochs,
            beta=self.settings.beta,
            microbatch_tokens=config.microbatch_tokens,
            device="cpu" if config.resolved_device == "cpu" else None,
            seed=config.seed,
        )

    def _member(self, adapter: str) -> LLMAgent:
        member = self.team.learners[adapter]
        assert isinstance(member, LLMAgent)
        return member

    def state_dict(self) -> dict[str, Any]:
        return {"weights": weights_of(self._trained), "done": self._done, "branching": list(self.branching)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state["branching"] != list(self.branching):
            raise UserValueError(
                f"this run grew trees with branching {state['branching']}, now it is {list(self.branching)}; go on with its own "
                "config.yaml, or begin another run."
            )
        self._done = state["done"]
        put_weights(self._trained, state["weights"])

    @property
    def _trained(self) -> dict[str, Trainable]:
        return {name: member.policy for name, member in self.team.learners.items()}


def _settings(config: RunConfig) -> Settings:
    made: Settings = called("algorithm", config.algorithm, Settings, dict(config.algorithm_args))
    return made


def labels(found: Sequence[Decision]) -> dict[str, float]:
    """What decisions teach: ``malt/good/AGENT``, the share of its messages that are worth more than .5; ``malt/both_labels/AGENT``, of its
    decisions that have such a message beside one that is not, the data of preferences; ``malt/value``, the mean of first messages."""
    metrics: dict[str, float] = {}
    for agent in dict.fromkeys(d.agent for d in found):
        good = [[value > 0.5 for value in d.values] for d in found if d.agent == agent]
        metrics[f"malt/good/{agent}"] = float(np.mean([g for row in good for g in row]))
        metrics[f"malt/both_labels/{agent}"] = float(np.mean([any(row) and not all(row) for row in good]))
    roots = [value for d in found if _opens(d) for value in d.values]
    return metrics | ({"malt/value": float(np.mean(roots))} if roots else {})


def _opens(d: Decision) -> bool:
    """Whether it is at the root of its tree."""
    return "." not in d.id


def _whole(c: Completion) -> bool:
    """A message that can be imitated: one that was cut off would teach to stop there."""
    return bool(c.text) and not c.truncated
