"""Does an environment keep its promises? PettingZoo's own compliance tests, and those of a discussion."""

from __future__ import annotations

import contextlib
import copy
import io
import itertools
import pickle
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from maporl.envs.discussion import DiscussionEnv
from maporl.envs.protocols import Protocol
from maporl.envs.splits import unique
from maporl.envs.views import private_view
from maporl.errors import UserTypeError, UserValueError
from maporl.types import Transcript, Turn

__all__ = ["check_env"]

# What a model may say: a verifier must give a verdict on all of it.
JUNK = (
    "",
    " ",
    "\ud800",
    "\x00",
    "$" * 50,
    "\\boxed{",
    "1/0",
    "9" * 400,
    "(" * 200,
    "Answer:",
    "🙂 é 中",
    "nan",
    "-inf",
)

FIRST = 100
"""Questions of a split that are loaded twice."""
LONGEST = 1000
"""Messages in which a discussion must be over."""


def check_env(env: DiscussionEnv) -> None:
    """Run everything that applies to a task under the protocol it was made with.

    PettingZoo's ``api_test``, ``seed_test`` and ``render_test``; ``parallel_api_test``, ``parallel_seed_test`` and (if it never
    ends early) ``max_cycles_test`` if the protocol has a parallel form; pickling; independent copies; who sees what; that rewards
    add up to the shaping's totals; that verifiers survive junk; that discussions end; that questions are held out and always the same
    ones; that what an agent is to know alone reaches one. Loads the task's training and test questions. `env` itself stays as it is.

    Args:
        env: An environment (not its class), of a class whose constructor passes ``render_mode`` and ``max_cycles`` on.

    Raises:
        TypeError: `env` is no `DiscussionEnv`.
        ValueError: It cannot be made again or pickled, or its questions cannot be used.
        AssertionError: A check failed; the message says which.
    """
    if not isinstance(env, DiscussionEnv):
        what = f"the class {env.__name__}; make one" if isinstance(env, type) else f"a {type(env).__name__}"
        raise UserTypeError(f"check_env takes a DiscussionEnv, not {what}.")
    make = _maker(env)
    checks: list[Callable[[Callable[..., DiscussionEnv]], None]] = [
        _check_order,
        _check_questions,
        _check_pickle,
        _check_visibility,
        _check_junk,
        _check_payments,
        _check_copy,
        _check_pettingzoo,
    ]
    if env.metadata["is_parallelizable"]:
        checks.append(_check_pettingzoo_parallel)
    with _quiet():
        for check in checks:
            check(make)


def _maker(env: DiscussionEnv) -> Callable[..., DiscussionEnv]:
    """A function that makes environments like `env`, all of which share its questions."""

    def make(**changes: Any) -> DiscussionEnv:
        try:
            made = env.remade(**changes)
        except TypeError as error:
            raise UserValueError(
                f"{type(env).__name__} cannot be made with {changes}: {error}. "
                "Let its __init__ take **kwargs and pass them to super().__init__."
            ) from error
        made._questions = env._questions
        return made

    return make


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """PettingZoo's tests print their progress, and warn that observations are no arrays: here they are text on purpose."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        for message in ("Observation is not", "Observation space for each", "Action space for each"):
            warnings.filterwarnings("ignore", message=message)
        yield


def _check_pettingzoo(make: Callable[..., DiscussionEnv]) -> None:
    from pettingzoo.test import api_test, render_test, seed_test

    api_test(make(), num_cycles=50)
    seed_test(make, num_cycles=50)
    render_test(make)


def _check_pettingzoo_parallel(make: Callable[..., DiscussionEnv]) -> None:
    from pettingzoo.test import max_cycles_test, parallel_api_test, parallel_seed_test

    class Module:
        env = staticmethod(make)

        @staticmethod
        def parallel_env(**changes: Any) -> Any:
            return make(**changes).parallel()

    parallel_api_test(Module.parallel_env(), num_cycles=50)
    parallel_seed_test(Module.parallel_env, num_cycles=50)
    if not _may_end_early(make().protocol):
        max_cycles_test(Module)


def _may_end_early(protocol: Protocol) -> bool:
    """Before its last round; PettingZoo's `max_cycles_test` expects every one of them, whatever is said."""
    return protocol.stop is not None or type(protocol).over is not Protocol.over


def _check_pickle(make: Callable[..., DiscussionEnv]) -> None:
    env = make()
    env.reset(seed=0)
    env.step("hello")
    try:
        twin = pickle.loads(pickle.dumps(env))
    except Exception as error:
        raise UserValueError(
            f"{type(env).__name__} cannot be pickled: {error}. Keep lambdas, open files and locks out of its attributes."
        ) from error
    assert twin.transcript == env.transcript, "a pickled environment does not come back with the same transcript"
    assert twin.state() == env.state(), "a pickled environment does not come back with the same state"


def _check_order(make: Callable[..., DiscussionEnv]) -> None:
    """A protocol names agents, nobody twice at a time, and comes to an end."""
    env = make()
    protocol, seats = env.protocol, list(itertools.islice(env.rules.longest(None), LONGEST))
    assert len(seats) < LONGEST, (
        f"{protocol!r}: somebody is still due after {LONGEST:,} messages; let due_in come to ()"
    )
    for transcript, seat in seats:
        assert seat.agent in env.possible_agents, (
            f"{protocol!r} lets {seat.agent!r} speak; the agents are {', '.join(env.possible_agents)}"
        )
        due = env.rules.due(transcript)
        assert len(due) == len(set(due)), (
            f"{protocol!r} lets {seat.agent} speak twice in one wave; let due_in name it again later"
        )


def _check_questions(make: Callable[..., DiscussionEnv]) -> None:
    """Splits that are apart, the same questions every time, gold answers, and private information that reaches somebody."""
    env = make()
    task, known = env.metadata["name"], env._questions
    warnings.simplefilter("ignore")  # what is a warning in a run is an error here
    for split in ("train", "test"):
        questions = known.loaded(split)
        again = unique(itertools.islice(env.load(split), FIRST), f"{task}: load({split!r})")
        assert [q.hash for q in again] == [q.hash for q in questions[: len(again)]], (
            f"{task}: load({split!r}) yields other questions when it is called again; draw them with a random generator of a fixed seed"
        )
        blank = [question for question in questions if not question.answer.strip()]
        assert len(blank) in (0, len(questions)), (
            f"{task}: the answers of {len(blank)} of the {len(questions)} {split} questions are empty, such as that of {blank[0].id!r}; "
            "give each an answer, or leave it out"
        )
    assert not known.lost, "; ".join(f"{task}: {fault}" for fault in known.lost.values())
    assert not env.leakage, str(env.leakage)


def _check_copy(make: Callable[..., DiscussionEnv]) -> None:
    env = make()
    env.reset(seed=0)
    twin, before = copy.copy(env), env.transcript
    twin.reset(options={"question": env.transcript.question})
    play(twin, np.random.default_rng(0))
    assert env.transcript == before, "a copy's discussion changed the original's transcript"
    assert env.agents == env.possible_agents and not any(env.terminations.values()), "a copy's end ended the original"


def _check_visibility(make: Callable[..., DiscussionEnv]) -> None:
    """What agents say is marked with who and when, so that a leak shows."""
    env = make()
    env.reset(seed=0)
    private = {agent: private_view(env.transcript, agent) for agent in env.possible_agents}
    while due := env.rules.due(env.transcript):
        speaker, round = due[0]
        spoken = env.transcript.turns
        for agent in env.possible_agents:
            observation = env.observe(agent)
            assert env.observation_space(agent).contains(observation), f"{agent} observes something outside its space"
            assert observation["agent"] == agent, f"{agent} is shown the observation of {observation['agent']!r}"
            for other, secret in private.items():
                parts = [observation[part] for part in ("question", "private", "instruction", "role")]
                # What the protocol itself says stands under a name that is no agent's.
                added = [m["text"] for m in observation["transcript"] if m["agent"] not in env.possible_agents]
                shown = " ".join(parts + added)
                leak = len(secret) > 8 and secret != private[agent] and secret in shown
                assert not leak, f"{agent} sees the private information of {other}"
            for message in observation["transcript"]:
                own_words = message["agent"] not in env.possible_agents
                said = (message["agent"], message["round"], message["text"])
                assert own_words or any((t.agent, t.round, t.text) == said for t in spoken), "a message was made up"
                late = message["round"] >= round
                assert not (env.protocol.simultaneous and late), f"{agent} sees a message of the round in progress"
        env.step(f"{speaker} speaks in round {round}.")


def _check_payments(make: Callable[..., DiscussionEnv]) -> None:
    """From the start, and from a prefix: what every agent is paid is the shaping's total now minus that at the start."""
    env = make()
    rng = np.random.default_rng(0)
    env.reset(seed=0)
    whole = _check_totals(env, rng, ())
    cut = len(whole.turns) // 2
    prefix = Transcript(whole.question, whole.agents, whole.num_rounds, whole.turns[:cut], whole.team_scores)
    env.reset(options={"transcript": prefix})
    _check_totals(env, rng, prefix.turns)


def _check_totals(env: DiscussionEnv, rng: np.random.Generator, given: tuple[Turn, ...]) -> Transcript:
    before, begun = env.turn_rewards, env.transcript.turns
    assert begun[: len(given)] == given, "a discussion resumed from a transcript does not hold its turns"
    paid = play(env, rng)
    turns, after = env.transcript.turns, env.turn_rewards
    for agent in env.possible_agents:
        owed = sum(r for t, r in zip(turns, after, strict=True) if t.agent == agent)
        owed -= sum(r for t, r in zip(begun, before, strict=True) if t.agent == agent)
        assert np.isclose(paid[agent], owed, atol=1e-9), (
            f"{agent} was paid {paid[agent]} in all, but its messages earned {owed}"
        )
    again = env.rules.rewards(env.transcript)
    assert np.allclose(after, again), (
        f"shaping {env.shaping!r} gave {after} and then {again} for one discussion; "
        "it must be a function of the transcript alone"
    )
    return env.transcript


def _check_junk(make: Callable[..., DiscussionEnv]) -> None:
    env = make()
    for text in JUNK:
        env.reset(seed=0)
        while not any(env.terminations.values()):
            try:
                env.step(text)
            except Exception as error:
                raise AssertionError(
                    f"the discussion failed on the message {text!r}: {type(error).__name__}: {error}; "
                    "bad model output is data, so give it a score"
                ) from error


def play(env: DiscussionEnv, rng: np.random.Generator) -> dict[str, float]:
    """Play to the end with random junk or gold answers; what each agent was paid."""
    paid = dict.fromkeys(env.possible_agents, 0.0)
    while not any(env.terminations.values()):
        gold = env.transcript.question.answer
        env.step(str(rng.choice([gold, f"Answer: {gold}", f"\\boxed{{{gold}}}", "I do not know."])))
        for agent, reward in env.rewards.items():
            paid[agent] += reward
    return paid
