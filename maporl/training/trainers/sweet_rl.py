"""SWEET-RL: one agent learns to work with a partner who knows the goal (Zhou et al. 2503.15478).

The team discusses every task several times. A critic that reads the partner's private information (`TurnCritic`) learns from pairs of
whole discussions which of the agent's messages were worth something; at every message of these discussions the agent is asked again,
the critic ranks what it says, and the agent learns by DPO to prefer the better half to the worse. The agent itself never reads what is
private: it learns to ask for it.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from maporl.agents import LLMAgent, Team
from maporl.agents.trainable import Trainable, put_weights, weights_of
from maporl.algorithms.adapter_training import AdapterSettings, dpo_adapter
from maporl.algorithms.losses import SCORES
from maporl.algorithms.turn_critic import TurnCritic, rank_accuracy
from maporl.envs.discussion import DiscussionEnv
from maporl.errors import UserValueError, warn
from maporl.rollouts.decisions import Decision, pairs
from maporl.rollouts.preferences import read_decisions, write_decisions
from maporl.rollouts.privilege import check_unseen, hidden_from
from maporl.rollouts.resampling import resample
from maporl.roster import WARM_START
from maporl.settings import called
from maporl.training.config import RunConfig
from maporl.training.evaluation import check_oracle, check_team_answer
from maporl.training.loop import Collector, check_context
from maporl.training.preflight import Preflight, preflight
from maporl.training.threads import with_threads
from maporl.training.trainer import Run, Trainer
from maporl.types import Completion, Episode

__all__ = ["Settings", "SweetRL"]

CANDIDATES = 13
"""Number of the random stream that candidates, and their pairs, are drawn from."""


@dataclass(frozen=True)
class Settings:
    """What ``algorithm_args`` may hold.

    Attributes:
        trajectories: Discussions of every task.
        candidates: New messages at every message of the agent that is stored.
        pairs: At most so many of them, drawn from the better against the worse half.
        share: Of the stored discussions, from which candidates are sampled (.1 in the release).
        normalise: See `TurnCritic`: "turn_mean" (the paper), "token_mean" (its release), or "sum".
        privileged: The critic reads what is private; False is the control.
        permuted: Which discussion of a pair is the better one is drawn by lot: a control, too.
        only_right: The critic compares fully right discussions alone with worse ones (the release).
        beta, nll_coef: Of the critic's loss and of DPO's.
        critic_epochs, dpo_epochs: Passes over the pairs of discussions, and of messages.
        batch_size: Pairs of one optimizer step.
        dpo_learning_rate: Of the agent; None is the run's learning_rate, which is the critic's.
    """

    trajectories: int = 6
    candidates: int = 16
    pairs: int = 4
    share: float = 1.0
    normalise: str = "turn_mean"
    privileged: bool = True
    permuted: bool = False
    only_right: bool = False
    beta: float = 0.1
    nll_coef: float = 0.01
    critic_epochs: int = 4
    dpo_epochs: int = 1
    batch_size: int = 8
    dpo_learning_rate: float | None = None

    def __post_init__(self) -> None:
        least = {"trajectories": 2, "candidates": 2, "pairs": 1, "critic_epochs": 1, "dpo_epochs": 1, "batch_size": 1}
        for name, number in least.items():
            if getattr(self, name) < number:
                raise UserValueError(f"{name} is {getattr(self, name)}; it must be at least {number}.")
        if self.normalise not in SCORES:
            raise UserValueError(f"normalise {self.normalise!r} is unknown; use one of {list(SCORES)}.")
        if not 0 < self.share <= 1:
            raise UserValueError(f"share is {self.share}; it is a share of the discussions: above 0, at most 1.")
        if not 0 <= self.nll_coef < math.inf:
            raise UserValueError(f"nll_coef is {self.nll_coef}; it must be at least 0.")
        for name in ("beta", "dpo_learning_rate"):
            if (value := getattr(self, name)) is not None and not 0 < value < math.inf:
                raise UserValueError(f"{name} is {value}; it must be above 0 and finite.")


class SweetRL(Trainer):
    """A critic under privileged information, then preferences between single messages, for one agent beside its partners.

    An iteration is `episodes_per_iteration` discussions, kept whole in ``episodes/``. When all are there the critic learns (``critic/``),
    ranks candidates (``decisions/candidates.jsonl``), and the agent learns from them. The run can be resumed after every iteration, and
    after every one of these stages.
    """

    Settings = Settings

    def __init__(self, run: Run) -> None:
        config, env = run.config, run.env
        self.settings = settings = called("algorithm", config.algorithm, Settings, dict(config.algorithm_args))
        check_team_answer(config.team_answer)
        check_oracle(env, config.allow_oracle)
        env.verifiers.prepare()
        self.team = config.build_team(env)
        self.agent, self.actor = _actor(env, self.team)
        self._check(config, env)
        run.config = config = with_threads(config, self.team)
        self.collector = Collector(
            env, self.team, config.episodes_per_iteration, (settings.trajectories,), seed=config.seed
        )
        check_context(env, self.team, [*env.questions("train"), *run.validation], joint=True)
        self.critic = self._critic(config)
        self._done: dict[str, dict[str, float]] = {}  # stage -> what it measured

    def _check(self, config: RunConfig, env: DiscussionEnv) -> None:
        for name in ("thinking_budget", "curriculum"):
            if (value := getattr(config, name)) is not None:
                raise UserValueError(
                    f"sweet_rl prefers whole messages of all rounds, and {name} is {value!r}; leave it out."
                )
        starts = env.rules.begin(env.questions("train")[:8])
        for start in starts:
            (seat, *_) = [seat for seat in env.rules.due(start) if seat.agent == self.agent] or env.rules.due(start)
            if seat.agent == self.agent:
                check_unseen(env.rules.observe(start, seat), hidden_from(start, self.agent))
        if self.settings.privileged and not any(hidden_from(start, self.agent) for start in starts):
            warn(
                f"nobody in {config.env!r} knows what {self.agent} does not, so the critic has no privilege: it reads what that reads."
            )

    def _critic(self, config: RunConfig) -> TurnCritic:
        """An adapter of its own on the actor's base, which begins as the actor does."""
        policy, judge = self.actor.policy, copy.copy(self.actor)
        reference = None
        if config.init_adapter is not None:
            reference = WARM_START
            if reference not in policy.adapters:  # a frozen seat may have brought it already
                policy.add_adapter(reference, path=config.init_adapter)
        judge.adapter, judge.trainable = f"{self.actor.adapter}_critic", True
        policy.add_adapter(judge.adapter, seed=config.seed, path=config.init_adapter)
        given = ("privileged", "normalise", "beta", "nll_coef", "only_right", "permuted", "batch_size")
        return TurnCritic(
            judge,
            reference=reference,
            **{name: getattr(self.settings, name) for name in given},
            learning_rate=config.learning_rate,
            num_epochs=self.settings.critic_epochs,
            microbatch_tokens=config.microbatch_tokens,
            seed=config.seed,
        )

    def preflight(self, run: Run) -> Preflight | None:
        return preflight(self, run, self.collector)

    def fit(self, run: Run, start: int = 0) -> None:
        total = run.config.num_iterations
        for k in range(start, total):
            episodes, metrics = run.collected(k, self._collect)
            run.callback.on_experience(k + 1, episodes)
            if k + 1 == total:
                began = time.perf_counter()
                metrics |= self._learn(run, [e for i in range(total) for e in run.kept(i)])
                metrics["time/update_s"] = time.perf_counter() - began
            run.iteration(k + 1, metrics)

    def _collect(self, iteration: int) -> list[Episode]:
        """The discussions of an iteration, in none of which the agent was shown what it must not know."""
        episodes = self.collector.collect(iteration)
        for e in episodes:
            for i, turn in e.said:
                if turn.agent == self.agent:
                    check_unseen(e.observation(i), hidden_from(e.transcript, self.agent))
        return episodes

    # -- stages --------------------------------------------------------------------------------------------------------

    def _learn(self, run: Run, episodes: Sequence[Episode]) -> dict[str, float]:
        """Critic, candidates, actor; what is over already is not done again."""
        stages = {"critic": self._train_critic, "candidates": self._rank, "dpo": self._train_actor}
        for name, stage in stages.items():
            if name not in self._done:
                self._done[name] = stage(run, episodes)
                run.checkpoint()
        return {f"{name}/{what}": value for name, row in self._done.items() for what, value in row.items()}

    def _train_critic(self, run: Run, episodes: Sequence[Episode]) -> dict[str, float]:
        metrics = self.critic.update(episodes).metrics
        self.actor.policy.save_adapter(self.critic.name, run.folder.path / "critic")
        return {name.removeprefix("critic/"): value for name, value in metrics.items()}

    def _rank(self, run: Run, episodes: Sequence[Episode]) -> dict[str, float]:
        chosen = [e for e in episodes if not e.overflow][: math.ceil(self.settings.share * len(episodes))]
        seed = (run.config.seed, CANDIDATES)
        asked = resample(run.env, self.team, chosen, self.agent, self.settings.candidates, seed)
        found = self.critic.advantages(asked)
        write_decisions(self._file(run), found)
        measured = {"decisions": float(len(found)), "equal": float(np.mean([not pairs(d, "halves") for d in found]))}
        if (
            worth := getattr(run.env, "turn_value", None)
        ) is not None:  # a task that can say what a message is truly worth
            measured["rank_accuracy"] = rank_accuracy(found, lambda d, c: worth(d.state, c.completion.text))
        return measured

    def _train_actor(self, run: Run, episodes: Sequence[Episode]) -> dict[str, float]:
        hidden = {e.transcript.question.id: hidden_from(e.transcript, self.agent) for e in episodes}
        found = read_decisions(self._file(run))
        for d in found:
            check_unseen(d.observation, hidden[d.question_id])
        preferred = self._pairs(found, run.config.seed)
        if not preferred:
            warn(
                f"at none of {len(found)} messages did {self.agent} say two things of different worth, so there are no preferences: a "
                "higher temperature or more candidates give some."
            )
            return {"pairs": 0.0}
        config, settings = run.config, self.settings
        how = AdapterSettings(
            learning_rate=settings.dpo_learning_rate or config.learning_rate,
            batch_size=settings.batch_size,
            epochs=settings.dpo_epochs,
            beta=settings.beta,
            nll_coef=settings.nll_coef,
            microbatch_tokens=config.microbatch_tokens,
            device="cpu" if config.resolved_device == "cpu" else None,
            seed=config.seed,
        )
        measured = dpo_adapter(self.actor.policy, str(self.actor.adapter), preferred, how)
        return {"pairs": float(len(preferred)), **measured}

    def _pairs(self, found: Sequence[Decision], seed: int) -> list[tuple[Completion, Completion]]:
        rng = np.random.default_rng([seed, CANDIDATES])
        drawn = [pair for d in found for pair in pairs(d, "halves", most=self.settings.pairs, rng=rng)]
        # One that was cut off would teach to stop there.
        return [(a.completion, b.completion) for a, b in drawn if a.completion.text and not a.completion.truncated]

    @staticmethod
    def _file(run: Run) -> Any:
        return run.folder.path / "decisions" / "candidates.jsonl"

    # -- state ---------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        return {"weights": weights_of(self._trained), "done": self._done}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._done = state["done"]
        put_weights(self._trained, state["weights"])

    @property
    def _trained(self) -> dict[str, Trainable]:
        return dict.fromkeys((str(self.actor.adapter), self.critic.name), self.actor.policy)


def _actor(env: DiscussionEnv, team: Team) -> tuple[str, LLMAgent]:
    """Who learns: one agent with one adapter."""
    agents = [a for a in env.possible_agents if any(team.learner(a, r) for r in range(env.num_rounds))]
    learners = list(team.learners.values())
    if len(agents) != 1 or len(learners) != 1 or not isinstance(learners[0], LLMAgent):
        raise UserValueError(
            f"sweet_rl trains one agent, a language model with one adapter, beside partners; this team trains {agents} with adapters "
            f"{list(team.learners)}. Freeze the others (frozen), or seat partners (partners: {{agent_1: simulated_human}})."
        )
    return agents[0], learners[0]
