"""Fine-tuning on good discussions: which are kept, what is learned of them, and the run folder that is left."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from run_toys import Heard, Letters, Stop
from transformers import AutoModelForCausalLM, AutoTokenizer

from maporl.agents import Policy, ScriptedAgent, Team
from maporl.agents.chat import ChatEncoder
from maporl.agents.models.chat_rows import IGNORE, encode_row
from maporl.benchmarks.analysis.results import load_results
from maporl.benchmarks.experiments.warm_start import make_warm_start
from maporl.benchmarks.study.matrix import run_study
from maporl.benchmarks.study.study import Study
from maporl.envs import DiscussionEnv
from maporl.rollouts.play import rollout
from maporl.rollouts.records import read_records
from maporl.rollouts.store import EpisodeStore
from maporl.roster import Roster
from maporl.training.config import RunConfig
from maporl.training.run import RunFolder, load_team, train
from maporl.training.trainer import evaluate_run
from maporl.training.trainers import good_discussions
from maporl.training.trainers.good_discussions import _base, best, chats
from maporl.types import Episode, Question, Score, Transcript, Turn

SFT: dict[str, Any] = {
    "env": "run_toys:Letters",
    "algorithm": "sft",
    "algorithm_args": {"keep": 0.25, "steps": 3, "batch_size": 4},
    "num_agents": 2,
    "num_rounds": 2,
    "num_iterations": 2,
    "episodes_per_iteration": 8,
    "max_new_tokens": 40,  # the random model ends about one message in eight tokens
    "learning_rate": 1e-2,
    "device": "cpu",
    "trackers": (),
}


class Never(Letters):
    """Nothing is ever right."""

    default_verifier = staticmethod(lambda question, response: Score(0.0, False))


class TeamOnly(DiscussionEnv):
    """Only what a whole team says is scored."""

    default_team_verifier = staticmethod(lambda question, responses: Score(1.0, True))

    def load(self, split: str) -> Iterator[Question]:
        return (Question(f"{split} {i}", answer="x") for i in range(20))


def discussion(*rounds: tuple[float, ...]) -> Episode:
    """Of two agents with these scores; the question says which."""
    turns = [
        Turn(f"agent_{a}", r, "", Score(v, v > 0)) for r, scores in enumerate(rounds) for a, v in enumerate(scores)
    ]
    question = Question(repr(rounds), answer="")
    return Episode(Transcript(question, ("agent_0", "agent_1"), len(rounds), tuple(turns)), ())


class TestBest:
    def test_the_last_round_counts_and_then_all_rounds(self) -> None:
        first = discussion((0.0, 1.0), (1.0, 1.0))
        second = discussion((0.0, 0.0), (1.0, 1.0))
        third = discussion((1.0, 1.0), (1.0, 0.0))
        fourth = discussion((1.0, 1.0), (0.0, 0.0))
        mixed = [fourth, third, second, first]
        assert best(mixed, 0.25, seed=0) == [first]
        assert best(mixed, 0.5, seed=0) == [first, second]
        assert best(mixed, 1.0, seed=0) == [first, second, third], "one that ends all wrong is never good"

    def test_equals_are_drawn_by_lot(self) -> None:
        perfect = [discussion((1.0, 1.0), (1.0, 1.0)) for _ in range(40)]
        drawn = [[next(i for i, p in enumerate(perfect) if p is e) for e in best(perfect, 0.1, s)] for s in range(30)]
        assert all(len(set(places)) == 4 for places in drawn)
        assert drawn[0] == [next(i for i, p in enumerate(perfect) if p is e) for e in best(perfect, 0.1, 0)]
        assert len({place for places in drawn for place in places}) > 30, "not always the same ones"

    def test_at_least_one(self) -> None:
        assert len(best([discussion((1.0, 1.0))] * 3, 0.01, seed=0)) == 1

    def test_unscored_messages_do_not_count(self) -> None:
        half = discussion((1.0, 1.0), (0.5, 0.5))
        turns = half.transcript.turns
        spoken = (*turns[:2], Turn("agent_0", 1, ""), Turn("agent_1", 1, "", Score(0.9, True)))
        only_one = Episode(replace(half.transcript, turns=spoken), ())
        assert best([half, only_one], 0.5, seed=0) == [only_one]

    def test_nothing_good(self) -> None:
        with pytest.raises(ValueError, match="none of the 2 sampled .* sample more"):
            best([discussion((1.0, 1.0), (0.0, 0.0))] * 2, 0.1, seed=0)
        with pytest.raises(ValueError, match="none of the 0 sampled"):
            best([], 0.1, seed=0)


@pytest.fixture
def config(spelling_model: str, tmp_path: Path) -> RunConfig:
    return RunConfig(**SFT, model=spelling_model, output_dir=str(tmp_path / "run"))


@pytest.fixture(scope="module")
def finished(spelling_model: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, Heard]:
    """A complete run, not to be changed, and what its callback was told."""
    heard = Heard()
    config = RunConfig(**SFT, model=spelling_model, output_dir=str(tmp_path_factory.mktemp("runs") / "run"))
    return train(config, callbacks=[heard]), heard


def untimed(folder: RunFolder) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if not k.startswith("time/")} for row in folder.metrics]


class TestChats:
    def test_every_message_after_the_very_tokens_that_its_speaker_read(self, tmp_path: Path) -> None:
        make_warm_start(tmp_path)
        config = RunConfig(
            model=str(tmp_path), prompts=str(tmp_path / "prompts.yaml"), max_new_tokens=14, team="frozen"
        )
        env = config.build_env()
        team = config.build_team(env)
        episodes = rollout(env, team, env.questions("train")[:6], seed=0)
        said = [c for e in episodes for c in e.completions if not c.truncated]
        rows = chats(episodes, team)
        assert len(rows) == len(said) > 20
        tokenizer = AutoTokenizer.from_pretrained(tmp_path)
        for row, completion in zip(rows, said, strict=True):
            (sequence,) = encode_row(row, ChatEncoder(tokenizer))
            prompt, answer = completion.prompt_ids.tolist(), completion.completion_ids.tolist()
            assert sequence["input_ids"][: len(prompt)] == prompt
            assert sequence["labels"][: len(prompt)] == [IGNORE] * len(prompt)
            assert tokenizer.decode(sequence["labels"][len(prompt) :]) == tokenizer.decode(answer)

    def test_what_was_cut_off_or_said_by_others_is_left_out(self, config: RunConfig) -> None:
        env = config.build_env()
        team = config.merged({"max_new_tokens": 1, "team": "frozen"}).build_team(env)
        cut = rollout(env, team, env.questions("train")[:8], seed=0)
        assert chats(cut, team) == [], "one token is never a whole message"
        scripted = ScriptedAgent(lambda observation, rng: "words")
        mixed = Team({("agent_0", 0): scripted, ("agent_1", 0): config.build_team(env).seats["agent_1", 0]})
        episodes = rollout(env, mixed, env.questions("train")[:8], seed=0)
        said = {turn.text for e in episodes for turn in e.transcript.turns if turn.agent == "agent_1"}
        assert {row["completion"] for row in chats(episodes, mixed)} <= said


class TestFolder:
    def test_names_the_fine_tuned_base(self, finished: tuple[RunFolder, Heard], spelling_model: str) -> None:
        folder, _ = finished
        assert folder.status == "complete"
        assert (folder.config.model, folder.config.algorithm) == (spelling_model, "sft"), "what it began with"
        assert not (folder.path / "start.yaml").exists()
        roster = Roster.load(folder.path / "adapters")
        assert (
            len(roster.seats) == 4
            and roster.bases == {str(folder.path / "model")}
            and not any(s.trains for s in roster.seats.values())
        )
        assert {speaker.adapter for speaker in roster.seats.values()} == {None}

    def test_says_what_was_sampled_kept_and_learned(self, finished: tuple[RunFolder, Heard]) -> None:
        folder, heard = finished
        *sampled, learned = folder.metrics
        assert heard.told == [("iteration", 1), ("iteration", 2)]
        assert sampled == [{"iteration": k + 1, **row} for k, row in enumerate(heard.metrics)]
        assert all("rollout/accuracy_round_2" in row and row["time/rollout_s"] > 0 for row in sampled)
        kept = read_records(folder.path / "discussions" / "kept.jsonl")
        assert (learned["sft/discussions"], learned["sft/kept"]) == (16, 4) == (16, len(kept))
        ends = [np.mean([t["score"]["value"] for t in r["turns"] if t["round"] == 1]) for r in kept]
        assert learned["sft/kept_score_mean"] == pytest.approx(np.mean(ends))
        assert learned["sft/kept_score_mean"] > learned["sft/score_mean"]
        whole = [t for r in kept for t in r["turns"] if t["text"] and not t["truncated"]]
        assert learned["sft/messages"] == len(whole) > 0
        assert learned["sft/steps"] == 3 and learned["train/loss"] > 0 and learned["time/update_s"] > 0

    def test_everybody_speaks_with_it(self, finished: tuple[RunFolder, Heard], spelling_model: str) -> None:
        folder, _ = finished
        env = folder.config.build_env()
        tuned = AutoModelForCausalLM.from_pretrained(folder.path / "model").state_dict()
        start = AutoModelForCausalLM.from_pretrained(spelling_model).state_dict()
        name = next(n for n in tuned if n.endswith("q_proj.weight"))
        assert not torch.equal(tuned[name], start[name])
        (member,) = load_team(folder.path, env=env).language_models
        assert member.adapter is None and not member.trainable
        assert torch.equal(member.policy.model.state_dict()[name], tuned[name])

    def test_all_discussions_are_kept_whole(self, finished: tuple[RunFolder, Heard]) -> None:
        folder, _ = finished
        store = EpisodeStore(folder.path / "episodes")
        assert store.names == ["iteration_0001", "iteration_0002"]
        env = folder.config.build_env()
        read = [episode for name in store.names for episode in store.read(name, env.rules)]
        assert len(read) == 16
        kept = read_records(folder.path / "discussions" / "kept.jsonl")
        chosen = best(read, 0.25, seed=0)
        assert [e.transcript.question.id for e in chosen] == [r["question_id"] for r in kept]
        assert [[t.text for t in e.transcript.turns] for e in chosen] == [[t["text"] for t in r["turns"]] for r in kept]

    def test_somebody_elses_folder_is_not_deleted(self, config: RunConfig) -> None:
        config.folder.mkdir()
        (config.folder / "thesis.txt").write_text("mine")
        with pytest.raises(ValueError, match="thesis.txt"):
            train(config)
        assert (config.folder / "thesis.txt").read_text() == "mine"


class TestResume:
    """Sampled discussions are read back from the run's own store; nothing is sampled or learned otherwise than in one go."""

    SETTINGS: ClassVar[dict[str, Any]] = {"num_iterations": 3, "checkpoint_every": 1, "num_threads": 1}

    @pytest.fixture(scope="class")
    @classmethod
    def whole(cls, spelling_model: str, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
        path = tmp_path_factory.mktemp("runs") / "whole"
        return train(RunConfig(**SFT | cls.SETTINGS, model=spelling_model, output_dir=str(path)))

    def same(self, one: RunFolder, two: RunFolder) -> None:
        assert untimed(one) == untimed(two)
        for file in ("discussions/kept.jsonl", "model/model.safetensors", "episodes/iteration_0003.safetensors"):
            assert (one.path / file).read_bytes() == (two.path / file).read_bytes(), file

    @pytest.mark.parametrize(("stopped", "left"), [(1, [1, 2, 3]), (2, [2, 3])])
    def test_an_interrupted_one_equals_an_uninterrupted_one(
        self, stopped: int, left: list[int], whole: RunFolder, config: RunConfig
    ) -> None:
        """What the last checkpoint does not count is sampled again, and is the same."""
        with pytest.raises(KeyboardInterrupt):
            train(config.merged(self.SETTINGS), callbacks=[Stop("iteration", stopped)])
        cut = RunFolder(config.folder)
        assert cut.status == "interrupted" and not (cut.path / "model").exists()
        heard = Heard()
        cut = train(resume=cut.path, callbacks=[heard])
        assert [iteration for _, iteration in heard.told] == left
        self.same(cut, whole)

    @pytest.mark.parametrize(
        ("owner", "name"),
        [(good_discussions, "sft"), (good_discussions.GoodDiscussions, "save")],
        ids=["while it learned", "before it said who speaks"],
    )
    def test_so_does_one_that_died_after_the_sampling(
        self, owner: Any, name: str, whole: RunFolder, config: RunConfig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """All was sampled: only the learning is done again, and written down once."""

        def dies(*_: Any) -> Any:
            raise MemoryError

        with monkeypatch.context() as patched:
            patched.setattr(owner, name, dies)
            with pytest.raises(MemoryError):
                train(config.merged(self.SETTINGS))
        heard = Heard()
        cut = train(resume=config.folder, callbacks=[heard])
        assert heard.told == []
        self.same(cut, whole)

    def test_complete_is_left(self, whole: RunFolder) -> None:
        before = {p: p.stat().st_mtime_ns for p in whole.path.rglob("*")}
        train(resume=whole.path)
        assert {p: p.stat().st_mtime_ns for p in whole.path.rglob("*")} == before


def test_nothing_is_printed_and_no_state_is_left(config: RunConfig, capfd: pytest.CaptureFixture[str]) -> None:
    random.seed(3), np.random.seed(3), torch.manual_seed(3)

    def state() -> tuple[Any, ...]:
        numpy = np.random.get_state()
        return random.getstate(), numpy[1].tolist(), numpy[2], torch.get_rng_state().tolist(), torch.get_num_threads()

    before = state()
    train(config.merged({"num_threads": 1}))
    assert state() == before
    assert capfd.readouterr() == ("", "")


def test_the_default_is_three_times_through_the_messages(config: RunConfig) -> None:
    config = RunConfig(**{**vars(config), "algorithm_args": {"keep": 0.5, "batch_size": 4}, "learning_rate": 1e-4})
    learned = train(config).metrics[-1]
    assert learned["sft/kept"] == 8
    assert learned["sft/steps"] == np.ceil(3 * learned["sft/messages"] / 4)


def test_an_initial_adapter_is_merged_first(config: RunConfig, spelling_model: str, tmp_path: Path) -> None:
    policy = Policy.from_pretrained(spelling_model)
    policy.add_adapter("start", seed=9)
    with torch.no_grad():
        for parameter in policy.parameters("start"):
            parameter.add_(0.05)
    policy.save_adapter("start", tmp_path / "start")
    config = config.merged({"init_adapter": str(tmp_path / "start")})
    ids = torch.arange(10, 30)[None]
    with policy.using("start"), torch.no_grad():
        expected = policy.model(ids).logits
    frozen = config.merged({"team": "frozen"})
    with _base(frozen.build_team(frozen.build_env())) as base, torch.no_grad():
        merged = AutoModelForCausalLM.from_pretrained(base)(ids).logits
        plain = AutoModelForCausalLM.from_pretrained(spelling_model)(ids).logits
    torch.testing.assert_close(merged, expected, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(plain, expected, atol=1e-2)
    folder = train(config)
    roster = Roster.load(folder.path / "adapters")
    assert {speaker.adapter for speaker in roster.seats.values()} == {None}, "it is in the weights now"


def test_the_chat_template_of_the_run_is_learned(config: RunConfig, spelling_model: str) -> None:
    folder = train(config.merged({"chat_template": "plain", "algorithm_args": {"keep": 1.0}}))
    learned = AutoTokenizer.from_pretrained(folder.path / "model")
    assert "Assistant:" in learned.apply_chat_template(
        [{"role": "user", "content": "x"}], tokenize=False, add_generation_prompt=True
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"algorithm_args": {"kep": 0.1}}, "no argument 'kep'. Did you mean 'keep'"),
        ({"algorithm_args": {"keep": 0.0}}, "keep is 0.0; .* above 0, at most 1"),
        ({"algorithm_args": {"keep": 1.1}}, "keep is 1.1"),
        ({"algorithm_args": {"steps": 0}}, "steps is 0"),
        ({"algorithm_args": {"batch_size": 0}}, "batch_size is 0"),
        ({"algorithm_args": {"learning_rate": 1e-3}}, "has no argument 'learning_rate'"),
        ({"env": TeamOnly}, "has no verifier"),
        ({"max_new_tokens": 400}, "more than the model's window of 512"),
        ({"model": "nowhere"}, "cannot be loaded"),
    ],
)
def test_slips_are_told_and_leave_no_folder(config: RunConfig, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train(config.merged(changes))
    assert not config.folder.exists()


def test_two_bases_cannot_become_one(config: RunConfig, spelling_model: str, tmp_path: Path) -> None:
    other = tmp_path / "other"
    AutoModelForCausalLM.from_pretrained(spelling_model).save_pretrained(other)
    AutoTokenizer.from_pretrained(spelling_model).save_pretrained(other)
    both = RunConfig(**{**vars(config), "model": {"agent_0": spelling_model, "agent_1": str(other)}})
    with pytest.raises(ValueError, match="one base model, not 2"):
        train(both)


def test_nothing_good_is_a_failed_run(config: RunConfig) -> None:
    with pytest.raises(ValueError, match="none of the 16 sampled discussions"):
        train(config.merged({"env": Never}))
    assert RunFolder(config.folder).status == "failed"


@pytest.mark.slow
def test_it_teaches(tmp_path: Path) -> None:
    """The warm-started team's better habits are copied: it ends with a right answer more often."""
    make_warm_start(tmp_path / "start")
    config = RunConfig(**SFT).merged({
        "env": "two_witnesses", "model": str(tmp_path / "start"), "prompts": str(tmp_path / "start" / "prompts.yaml"),
        "output_dir": str(tmp_path / "run"), "num_iterations": 3, "episodes_per_iteration": 128, "max_new_tokens": 14,
        "algorithm_args": {"keep": 0.2, "steps": 45, "batch_size": 16}, "learning_rate": 5e-3,
    })  # fmt: skip
    folder = train(config)
    env = config.build_env()
    before, after = (
        evaluate_run(config, env, team, env.questions("test")).metrics["eval/accuracy"]
        for team in (config.merged({"team": "frozen"}).build_team(env), load_team(folder.path, env=env))
    )
    assert after > before + 0.1


def test_a_study_measures_both_foreign_trainers(tmp_path: Path) -> None:
    make_warm_start(tmp_path / "start")
    shared = {
        "model": str(tmp_path / "start"),
        "prompts": str(tmp_path / "start" / "prompts.yaml"),
        "max_new_tokens": 14,
    }
    study = Study().merged({
        **shared, "methods": ["single_agent/trl_grpo", "sft", "debate"], "num_questions": 4, "num_iterations": 1,
        "episodes_per_iteration": 16, "learning_rate": 1e-3, "output_dir": str(tmp_path / "study"),
        "ablate_messages": False, "device": "cpu",
    })  # fmt: skip
    cells = {cell.method: cell for cell in load_results([run_study(study)]).cells}
    assert {name: cell.error for name, cell in cells.items() if cell.status != "complete"} == {}
    assert len(cells["sft"].records()) == len(cells["debate"].records()) == 4 * 2  # one sampled, one greedy
    assert {r["seat"] for r in cells["single_agent/trl_grpo"].records()} == {"agent_0", "agent_1"}
    assert len(cells["single_agent/trl_grpo"].runs) == 2 and len(cells["sft"].runs) == 1
