"""The trainer of every `Algorithm`: sample discussions with the team as it is now, update from them, repeat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from maporl import registry
from maporl.agents.pieces import vocabulary
from maporl.agents.team import Team
from maporl.algorithms.algorithm import Update
from maporl.algorithms.batch import discount_between_rounds
from maporl.envs.discussion import DiscussionEnv
from maporl.errors import warn
from maporl.rollouts.records import sampled_records
from maporl.rollouts.store import EpisodeStore
from maporl.rollouts.trees import branching_by_round, size_of
from maporl.settings import parameters
from maporl.training.callbacks import Callback, Callbacks
from maporl.training.config import RunConfig
from maporl.training.evaluation import check_oracle, check_team_answer
from maporl.training.loop import Collector, check_context, learn
from maporl.training.preflight import Preflight, preflight
from maporl.training.threads import with_threads
from maporl.training.trainer import Run, Trainer
from maporl.types import Episode

__all__ = ["OnPolicy", "RecordDiscussions"]


class OnPolicy(Trainer):
    """Trains by an `Algorithm`: each iteration samples discussions and learns from them."""

    @classmethod
    def messages_of(cls, config: RunConfig, env: DiscussionEnv) -> int:
        given = _given(config)
        if given["rollouts"] != "tree":
            return super().messages_of(config, env)
        waves = env.rules.waves
        size = size_of(waves, branching_by_round(waves, given["group_size"]), given["joint"])
        return config.episodes_per_iteration // size.discussions * size.messages

    @classmethod
    def steps_of(cls, config: RunConfig) -> int | None:
        given = _given(config)
        return (
            given["num_epochs"] * given["num_minibatches"] if {"num_epochs", "num_minibatches"} <= set(given) else None
        )

    def __init__(self, run: Run) -> None:
        config, env = run.config, run.env
        check_team_answer(config.team_answer)
        check_oracle(env, config.allow_oracle)  # now rather than at the first evaluation
        questions = [*env.questions("train"), *run.validation]
        env.verifiers.prepare()
        self.team = config.build_team(env)
        if not all(policy.sampler_type.reproducible for policy in self.team.policies):
            warn(
                f"sampler {config.sampler!r} is not reproducible: this run, also when it is resumed, cannot be repeated to the bit."
            )
        run.config = config = with_threads(config, self.team)
        self.algorithm = config.build_algorithm(self.team)
        discount_between_rounds(getattr(self.algorithm, "gamma_round", None), env.shaping.contains_future)
        curriculum = config.build_curriculum(env, self.team)
        self.collector = Collector.of(
            self.algorithm, env, config.episodes_per_iteration, seed=config.seed, curriculum=curriculum
        )
        check_context(env, self.team, questions, joint=self.algorithm.reads_state)

    def preflight(self, run: Run) -> Preflight | None:
        return preflight(self, run, self.collector, self.algorithm)

    def fit(self, run: Run, start: int = 0) -> None:
        listener = Callbacks([RecordDiscussions(run, self.team), run.callback])
        loop = learn(
            self.collector, self.algorithm, num_iterations=run.config.num_iterations, start=start, callback=listener
        )
        for number, metrics in enumerate(loop, start=start + 1):
            run.iteration(number, metrics)

    def state_dict(self) -> dict[str, Any]:
        return self.algorithm.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.algorithm.load_state_dict(state)


def _given(config: RunConfig) -> dict[str, Any]:
    """The settings that the algorithm will have, as far as they can be read off its class."""
    algorithm = registry.load("algorithm", config.algorithm)
    given: dict[str, Any] = {name: getattr(algorithm, name, None) for name in ("rollouts", "group_size", "joint")}
    return given | {name: p.default for name, p in parameters(algorithm).items()} | dict(config.algorithm_args)


class RecordDiscussions(Callback):
    """Writes the first training discussions of some iterations, with their tokens, what these say, and the advantage of each."""

    def __init__(self, run: Run, team: Team) -> None:
        self.run, self.team = run, team

    def on_update(self, iteration: int, episodes: Sequence[Episode], update: Update) -> None:
        config = self.run.config
        if not (iteration == 1 or iteration % config.eval_every == 0 or iteration == config.num_iterations):
            return
        number = config.num_recorded_discussions
        chosen, left = episodes[:number], {e.group for e in episodes[number:]}
        chosen = [e for e in chosen if e.group not in left] or chosen  # whole groups, if there is room for one
        if chosen:
            records = sampled_records(self.run.env, chosen, update.advantages)
            EpisodeStore(self.run.folder.path / "discussions").write(
                f"iteration_{iteration:04d}",
                chosen,
                records,
                advantages=update.advantages,
                vocabulary=vocabulary(self.team, chosen),
            )
