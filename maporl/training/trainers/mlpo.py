"""MLPO: one leader learns to make a team's answer out of what frozen peers say (2507.08960).

Peers answer every question several times, and their answers are kept; questions that they find easy are dropped. The leader is
fine-tuned on its own right answers, then compared with itself: several answers to *one* set of peers' answers are a group, whose mean is
the baseline. Only first rounds are learned from, for later ones hold what the leader said; the trained leader may lead more of them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from maporl import registry
from maporl.agents import LLMAgent, Team
from maporl.agents.llm_agent import complete
from maporl.agents.partners.cached import Cached
from maporl.agents.sampling.sampler import Request
from maporl.agents.trainable import put_weights, weights_of
from maporl.algorithms.adapter_training import AdapterSettings, sft_adapter
from maporl.algorithms.magrpo import MAGRPO
from maporl.envs.discussion import DiscussionEnv
from maporl.errors import UserValueError
from maporl.messages import as_sampled
from maporl.rollouts.play import rollout
from maporl.settings import called, parameters
from maporl.training.callbacks import Callbacks
from maporl.training.config import RunConfig
from maporl.training.evaluation import check_oracle, check_team_answer
from maporl.training.loop import Collector, check_context, draw, learn
from maporl.training.threads import with_threads
from maporl.training.trainer import Run, Trainer
from maporl.training.trainers.on_policy import RecordDiscussions
from maporl.types import Completion, Episode, Question, Transcript, Turn

__all__ = ["MLPO", "Settings", "easy"]

MONOLOGUES = ("rewrite", "right")
WARM_UP, REWRITTEN = 14, 15
"""Numbers of the random streams of the answers that are fine-tuned on, and of their rewriting."""

_REWRITE = (
    "Here are two answers to one question. The first is wrong:\n\n{wrong}\n\nThe second is right:\n\n{right}\n\nWrite one answer out "
    "of both, as somebody who thinks aloud: begin as the first does, notice the error, say what it is, and end as the second does."
)


@dataclass(frozen=True)
class Settings:
    """What ``algorithm_args`` may hold.

    Attributes:
        variants: Answers of every peer to every question; the leader reads the i-th of each together.
        easy: A question is dropped if at least this share of all these answers is right; above 1 none is.
        store: A file in which the peers' answers are kept for other runs; None: the run's ``peers.jsonl``.
        sft_samples: Of the leader, to each set of answers, for its fine-tuning; 0 leaves that out.
        sft_prompts: Sets of answers of which the fine-tuning samples them, the first in a shuffled order; None: all.
        monologue: What is imitated where some are right and some wrong: "rewrite", the leader's own rewriting of one of each into an answer
            that errs, notices and corrects, if that is right; "right", a right one.
        sft_epochs, sft_learning_rate: None is the run's rate.
        batch_size: Messages of one step of it.
        group_size: Answers of the leader that are compared.
        clip_range: Of the ratio.
        num_epochs: Passes over an iteration's answers.
    """

    variants: int = 4
    easy: float = 0.75
    store: str | None = None
    sft_samples: int = 16
    sft_prompts: int | None = None
    monologue: str = "rewrite"
    sft_epochs: int = 1
    sft_learning_rate: float | None = None
    batch_size: int = 8
    group_size: int = 8
    clip_range: float = 0.2
    num_epochs: int = 1

    def __post_init__(self) -> None:
        least = {"variants": 1, "sft_samples": 0, "sft_epochs": 1, "batch_size": 1, "group_size": 2, "num_epochs": 1}
        for name, number in least.items():
            if getattr(self, name) < number:
                raise UserValueError(f"{name} is {getattr(self, name)}; it must be at least {number}.")
        if self.sft_prompts is not None and self.sft_prompts < 1:
            raise UserValueError(f"sft_prompts is {self.sft_prompts}; it must be at least 1, or None for all.")
        if not 0 < self.easy < math.inf:
            raise UserValueError(f"easy is {self.easy}; it is a share of the peers' answers, above 0.")
        if self.monologue not in MONOLOGUES:
            raise UserValueError(f"monologue {self.monologue!r} is unknown; use one of {list(MONOLOGUES)}.")


def easy(right: Sequence[bool], least: float = 0.75) -> bool:
    """Whether a question teaches nothing: at least this share of the peers' answers is right."""
    return sum(right) >= least * len(right)


class MLPO(Trainer):
    """A leader beside frozen peers, whose answers are asked for once.

    Stages: the peers' answers (kept in `Settings.store`), the leader's fine-tuning, then iterations of group-relative updates, in each as
    many sets of answers as `episodes_per_iteration` holds groups. The run can be resumed after every one of them.
    """

    Settings = Settings

    @classmethod
    def completed(cls, config: RunConfig) -> RunConfig:
        if "protocol" in config.env_args or "protocol" not in parameters(registry.load("env", config.env)):
            return config
        return config.merged({"env_args": {"protocol": "leader"}, "num_rounds": config.num_rounds or 1})

    def __init__(self, run: Run) -> None:
        config, env = run.config, run.env
        self.settings = settings = called("algorithm", config.algorithm, Settings, dict(config.algorithm_args))
        check_team_answer(config.team_answer)
        check_oracle(env, config.allow_oracle)
        for name in ("thinking_budget", "curriculum"):
            if (value := getattr(config, name)) is not None:
                raise UserValueError(f"mlpo learns from first rounds alone, and {name} is {value!r}; leave it out.")
        env.verifiers.prepare()
        self.env = env.remade(num_rounds=1)
        self.team = config.build_team(env)
        self.peers, self.leader = _seats(self.env, self.team)
        run.config = config = with_threads(config, self.team)
        check_context(env, self.team, [*env.questions("train"), *run.validation])
        self.algorithm = MAGRPO(
            self.team,
            group_size=settings.group_size,
            clip_range=settings.clip_range,
            num_epochs=settings.num_epochs,
            learning_rate=config.learning_rate,
            microbatch_tokens=config.microbatch_tokens,
            seed=config.seed,
        )
        Collector.of(self.algorithm, self.env, config.episodes_per_iteration)  # refuses a number that is no multiple
        self._tuned: dict[str, float] | None = None  # what the fine-tuning measured, once it is over

    def fit(self, run: Run, start: int = 0) -> None:
        config, began = run.config, time.perf_counter()
        prefixes, figures = self._answered(run)
        if self._tuned is None:
            self._tuned = self._fine_tune(run, prefixes) if self.settings.sft_samples else {}
            run.checkpoint()
        figures |= self._tuned | {"mlpo/time/before_s": time.perf_counter() - began}
        collector = Collector.of(
            self.algorithm, self.env, config.episodes_per_iteration, seed=config.seed, starts=prefixes
        )
        loop = learn(
            collector,
            self.algorithm,
            num_iterations=config.num_iterations,
            start=start,
            callback=Callbacks([RecordDiscussions(run, self.team), run.callback]),
        )
        for number, metrics in enumerate(loop, start=start + 1):
            run.iteration(number, {**metrics, **(figures if number == start + 1 else {})})

    # -- stages --------------------------------------------------------------------------------------------------------

    def _answered(self, run: Run) -> tuple[list[Transcript], dict[str, float]]:
        """Discussions in which the peers have answered, `variants` of every question that is not easy."""
        settings, rules = self.settings, self.env.rules
        store = settings.store or run.folder.path / "peers.jsonl"
        cached = {peer: Cached(self.team.member(peer, 0), store, settings.variants) for peer in self.peers}
        begun = rules.begin(self.env.questions("train"))
        found: list[list[Transcript]] = [[] for _ in begun]
        shown = {seat.agent: [rules.observe(t, seat) for t in begun] for seat in rules.due(begun[0])}
        for number in range(settings.variants):
            said = {p: cached[p].answers(shown[p], [number] * len(begun)) for p in self.peers}
            turns = [[Turn(p, 0, c[n].text, completion=c[n]) for p, c in said.items()] for n in range(len(begun))]
            for n, transcript in enumerate(rules.extend(list(zip(begun, turns, strict=True)))):
                found[n].append(transcript)
        right = [[bool(turn.correct) for t in each for turn in t.turns] for each in found]
        kept = [t for each, known in zip(found, right, strict=True) if not easy(known, settings.easy) for t in each]
        figures = {
            "mlpo/peers_asked": float(sum(cache.asked for cache in cached.values())),
            "mlpo/peers_right": float(np.mean(right)),
            "mlpo/easy": 1 - len(kept) / max(1, len(begun) * settings.variants),
        }
        if not kept:
            raise UserValueError(
                f"of each of the {len(begun)} questions at least {settings.easy:g} of the peers' answers are right, so there is nothing to "
                "lead them to; use harder questions, weaker peers, or a higher algorithm_args.easy."
            )
        return kept, figures

    def _fine_tune(self, run: Run, prefixes: Sequence[Transcript]) -> dict[str, float]:
        """Supervised fine-tuning of the leader on its own answers, see `Settings.monologue`."""
        number, config = self.settings.sft_samples, run.config
        asked = draw(prefixes, min(len(prefixes), self.settings.sft_prompts or len(prefixes)), config.seed, 0)
        episodes = rollout(self.env, self.team, asked, seed=(config.seed, WARM_UP), branching=(number,))
        groups = [episodes[n : n + number] for n in range(0, len(episodes), number)]
        chosen = list(self._imitated(groups, config.seed))
        figures = {"mlpo/sft/messages": float(len(chosen)), "mlpo/sft/sampled": float(len(episodes))}
        if not chosen:
            return figures  # nothing was right: the updates must do it
        settings = AdapterSettings(
            learning_rate=self.settings.sft_learning_rate or config.learning_rate,
            batch_size=self.settings.batch_size,
            epochs=self.settings.sft_epochs,
            microbatch_tokens=config.microbatch_tokens,
            device="cpu" if config.resolved_device == "cpu" else None,
            seed=config.seed,
        )
        measured = sft_adapter(self.leader.policy, str(self.leader.adapter), chosen, settings)
        return figures | {f"mlpo/sft/{name}": value for name, value in measured.items()}

    def _imitated(self, groups: Sequence[Sequence[Episode]], seed: int) -> Iterator[Completion]:
        """Of every group of answers to one prompt the message that is imitated, if there is any."""
        both: list[tuple[Question, Turn, Turn]] = []
        for group in groups:
            turns = [episode.transcript.turns[-1] for episode in group]
            right = [t for t in turns if t.correct and t.completion and not t.completion.truncated]
            wrong = [t for t in turns if not t.correct and t.text]
            if right and wrong and self.settings.monologue == "rewrite":
                both.append((group[0].transcript.question, wrong[0], right[0]))
            elif right and right[0].completion is not None:
                yield right[0].completion
        yield from self._rewritten(both, seed)

    def _rewritten(self, both: Sequence[tuple[Question, Turn, Turn]], seed: int) -> Iterator[Completion]:
        """What the leader makes of a wrong and a right answer, as an answer to the prompt of both, if it is right."""
        policy, sampling = self.leader.policy, self.leader.sampling
        chats = [[{"role": "user", "content": _REWRITE.format(wrong=w.text, right=r.text)}] for _, w, r in both]
        prompts = [np.asarray(ids, np.int64) for ids in policy.encode_chats(chats)] if chats else []
        streams = [np.random.default_rng([seed, REWRITTEN, n]) for n in range(len(both))]
        draws = [rng.random(sampling.max_new_tokens, dtype=np.float32) for rng in streams]
        said = complete(
            policy,
            [
                Request(self.leader.adapter, *asked)
                for asked in zip(prompts, [sampling] * len(both), draws, strict=True)
            ],
        )
        turns = [
            replace(right, text=c.text, completion=c, score=None, truth=None)
            for (_, _, right), c in zip(both, said, strict=True)
        ]
        scores = self.env.verifiers.score([question for question, _, _ in both], list(map(as_sampled, turns)))
        for (_, _, right), message, (_, truth) in zip(both, said, scores, strict=True):
            if truth is not None and truth.correct and not message.truncated and right.completion is not None:
                yield replace(message, prompt_ids=right.completion.prompt_ids)

    # -- state ---------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        weights = weights_of({str(self.leader.adapter): self.leader.policy})
        return {"algorithm": self.algorithm.state_dict(), "weights": weights, "tuned": self._tuned}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._tuned = state["tuned"]
        put_weights({str(self.leader.adapter): self.leader.policy}, state["weights"])
        self.algorithm.load_state_dict(state["algorithm"])


def _seats(env: DiscussionEnv, team: Team) -> tuple[tuple[str, ...], LLMAgent]:
    """Who answers first, and who leads them.

    Raises:
        ValueError: Nobody answers before the leader, the leader does not learn, or somebody else does.
    """
    first, *later = env.rules.waves
    peers = tuple(seat.agent for seat in first)
    learners = list(team.learners.values())
    if len(later) != 1 or len(later[0]) != 1:
        raise UserValueError(
            f"mlpo needs peers who answer at once and a leader after them; {env.protocol!r} is something else: use protocol 'leader'."
        )
    (leader,) = later[0]
    if len(learners) != 1 or team.learner(*leader) is not learners[0] or not isinstance(learners[0], LLMAgent):
        agents = [a for a in env.possible_agents if team.learner(a, 0) is not None]
        raise UserValueError(
            f"mlpo trains the leader alone, {leader.agent}, a language model; this team trains {agents}. Freeze the peers (--frozen "
            f"{' '.join(peers)}), or seat partners (partners: {{{peers[0]}: ...}})."
        )
    return peers, learners[0]
