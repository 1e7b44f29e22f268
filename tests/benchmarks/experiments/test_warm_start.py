"""The demo's warm start: its corpus shows the habits it promises, in the prompts of a rollout, on training questions only."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer

from maporl.agents.chat import ChatEncoder
from maporl.agents.llm_agent import LLMAgent
from maporl.agents.models.chat_rows import encode_row
from maporl.agents.models.make_model import make_tokenizer
from maporl.agents.models.policy import Policy
from maporl.agents.prompts import PromptTemplate
from maporl.agents.sampling.settings import Sampling
from maporl.agents.team import Team
from maporl.benchmarks.experiments.speakers import HONEST, MIXED, PURE, SENSIBLE, SLIPS, SPEAKERS, Habits
from maporl.benchmarks.experiments.warm_start import PROMPTS, SHIPPED, Recipe, chats, corpus, make_warm_start
from maporl.envs.discussion import DiscussionEnv
from maporl.envs.tasks.two_witnesses import TwoWitnesses
from maporl.envs.tasks.vault import Vault
from maporl.rollouts.play import rollout

COUNT = 4000


@pytest.fixture(scope="module")
def mixed() -> list[list[str]]:
    """The messages of witnesses with mixed habits, chat by chat."""
    rows = chats(Recipe(), MIXED, COUNT, np.random.default_rng(0))
    return [[message["content"] for message in row["messages"]] for row in rows]


def views(text: str) -> dict[str, str]:
    return dict(re.findall(r"(Clear|Foggy) view: (\d)", text))


def within_noise(hits: int, n: int, rate: float) -> bool:
    return abs(hits - n * rate) <= 4 * np.sqrt(n * rate * (1 - rate)) + 1e-9


def item_of(text: str) -> str:
    return re.findall(r"on the (\w+)\?", text)[0]


def test_habits_have_the_promised_rates(mixed: list[list[str]]) -> None:
    honest, sensible = defaultdict(list), defaultdict(list)
    for question, first, heard, last in mixed:
        seen, item = views(question), item_of(question)
        own, peers = seen.get("Clear", seen.get("Foggy")), re.findall(r"Answer: (\d)", heard)
        honest[item].append(first == f"Answer: {own}")
        if peers and peers[0] != own:  # else staying and following look alike
            sensible[item].append(last == f"Answer: {own if 'Clear' in seen else peers[0]}")
    for item in HONEST:
        assert within_noise(sum(honest[item]), len(honest[item]), HONEST[item])
        assert within_noise(sum(sensible[item]), len(sensible[item]), SENSIBLE[item])


def test_habits_in_a_pipeline_are_the_same() -> None:
    """The generator is honest as often as promised, verifier and refiner are sensible as often: whom nobody has spoken to is first."""
    recipe = Recipe(num_agents=3, num_rounds=1, protocol="pipeline")
    first, later, followed = defaultdict(list), defaultdict(list), []
    for row in chats(recipe, MIXED, COUNT, np.random.default_rng(0)):
        (read, said), seen = (m["content"] for m in row["messages"]), views(row["messages"][0]["content"])
        peers, item = re.findall(r"_0: Answer: (\d)", read), item_of(read)
        if len(seen) > 1:
            continue  # told all
        own = seen.get("Clear", seen.get("Foggy"))
        if not peers:
            first[item].append(said == f"Answer: {own}")
        elif peers[-1] != own:
            later[item].append(said == f"Answer: {own if 'Clear' in seen else peers[-1]}")
            followed += [len(peers)]
    assert Counter(followed).keys() == {1, 2}  # verifiers and refiners
    for item in HONEST:
        assert within_noise(sum(first[item]), len(first[item]), HONEST[item])
        assert within_noise(sum(later[item]), len(later[item]), SENSIBLE[item])


@pytest.mark.parametrize(("protocol", "rounds"), [("", 2), ("pipeline", 1)])
def test_calculators_slip_in_the_first_answer_of_their_own(protocol: str, rounds: int) -> None:
    """.2 of them, whatever others have said; so every role of a pipeline does, and nobody who revises what it said."""
    recipe = Recipe(task="arithmetic", num_agents=3, num_rounds=rounds, protocol=protocol)
    said: dict[int, list[bool]] = defaultdict(list)
    for row in chats(recipe, MIXED, COUNT, np.random.default_rng(0)):
        contents = [message["content"] for message in row["messages"]]
        (a, sign, b) = re.findall(r"(\d+) ([+-]) (\d+)", contents[0])[0]
        right = f"Answer: {int(a) + int(b) if sign == '+' else int(a) - int(b)}"
        for number, text in enumerate(contents[1::2]):
            said[number].append(text == right)
    assert len(said) == rounds and all(all(revised) for number, revised in said.items() if number)
    assert within_noise(said[0].count(False), len(said[0]), SLIPS)


def test_lone_agents_and_told_ones_are_in_the_corpus(mixed: list[list[str]]) -> None:
    kinds = Counter("team" if "agent_" in c[2] else "told" if len(views(c[0])) == 2 else "lone" for c in mixed)
    assert within_noise(kinds["lone"], COUNT, 1 / 12)
    assert within_noise(kinds["told"], COUNT, 1 / 12)
    for kind, stays in (("Clear", SENSIBLE), ("Foggy", {item: 1 - rate for item, rate in SENSIBLE.items()})):
        alone = [c for c in mixed if "agent_" not in c[2] and list(views(c[0])) == [kind]]
        hits = sum(last == f"Answer: {views(question)[kind]}" for question, _, _, last in alone)
        expected = float(np.mean([stays[item_of(question)] for question, *_ in alone]))
        assert within_noise(hits, len(alone), expected)


@pytest.mark.parametrize(("task", "num_agents"), [("two_witnesses", 2), ("vault", 2), ("vault", 3)])
def test_only_training_questions_are_used(task: str, num_agents: int) -> None:
    env = TwoWitnesses() if task == "two_witnesses" else Vault(num_agents)
    told = type(env)(1, view="all", **({"num_digits": num_agents} if task == "vault" else {}))
    test = {(q.text, view) for e in (env, told) for q in e.questions("test") for view in q.private.values()}
    only_test = test - {
        (q.text, view) for e in (env, told) for q in e.questions("train") for view in q.private.values()
    }
    assert only_test  # what is told to somebody who knows everything gives a held-out combination away
    rows = chats(Recipe(task=task, num_agents=num_agents), MIXED, 1000, np.random.default_rng(0))
    seen = {row["messages"][0]["content"] for row in rows}
    assert not seen & {f"{text} {view} Report." for text, view in only_test}
    assert seen & {f"{q.text} {q.private['agent_0']} Report." for q in told.questions("train")}


def accuracy(env: DiscussionEnv, habits: Habits, n: int) -> float:
    """Of the scripted speakers, in the last round, averaged over agents."""
    speak, rng, right = SPEAKERS[env.metadata["name"]], np.random.default_rng(0), []
    questions = env.questions("train")
    for number in range(n):
        question = questions[number * 7919 % len(questions)]
        env.reset(options={"question": question})
        while not env.transcript.is_complete:
            env.step(speak(env.observe(env.agent_selection), question.metadata["item"], habits, rng))
        right += [bool(turn.correct) for turn in env.transcript.round(1)]
    return float(np.mean(right))


def test_colleagues_are_right_half_of_the_time() -> None:
    # A clear view: sensible is right; caving is right when the foggy one's lie happens to be the digit (one wrong digit in
    # nine). A foggy view: right if sensible and the other one honest.
    pairs = [(HONEST[item], SENSIBLE[item]) for item in HONEST]
    expected = np.mean([0.5 * (s + (1 - s) * (1 - h) / 9) + 0.5 * s * h for h, s in pairs])
    assert expected == pytest.approx(0.507, abs=0.001)
    assert accuracy(TwoWitnesses(), MIXED, 3000) == pytest.approx(expected, abs=0.03)


def test_colleagues_open_the_vault_four_times_in_ten() -> None:
    pairs = [(HONEST[item], SENSIBLE[item]) for item in HONEST]
    expected = np.mean([s * h + (1 - s) / 10 for h, s in pairs])
    assert expected == pytest.approx(0.413, abs=0.001)
    assert accuracy(Vault(2), MIXED, 3000) == pytest.approx(expected, abs=0.03)


def test_good_habits_solve_both_tasks() -> None:
    good = Habits(dict.fromkeys(HONEST, 1.0), dict.fromkeys(SENSIBLE, 1.0))
    assert accuracy(TwoWitnesses(), good, 100) == accuracy(Vault(2), good, 100) == accuracy(Vault(3), good, 100) == 1.0


def test_bad_habits_are_no_dead_end_but_wrong() -> None:
    bad = Habits(dict.fromkeys(HONEST, 0.0), dict.fromkeys(SENSIBLE, 0.0))
    assert accuracy(TwoWitnesses(), bad, 500) < 0.1
    assert accuracy(Vault(2), bad, 500) < 0.2


def test_chats_are_the_tokens_of_a_rollout() -> None:
    rows = chats(Recipe(), PURE, 40, np.random.default_rng(1))
    tokenizer = make_tokenizer([message["content"] for row in rows for message in row["messages"]], vocab_size=330)
    env = TwoWitnesses()
    team = [row["messages"] for row in rows if "agent_1" in row["messages"][2]["content"]]
    for chat in team:
        (sequence,) = encode_row({"messages": chat}, ChatEncoder(tokenizer))
        question = next(
            q for q in env.questions("train") if f"{q.text} {q.private['agent_0']} Report." == chat[0]["content"]
        )
        env.reset(options={"question": question})
        for number, text in ((0, chat[1]["content"]), (1, chat[3]["content"])):
            prompt = PROMPTS.encode(tokenizer, env.observe("agent_0"))
            said = [*prompt, *tokenizer.encode(text), tokenizer.eos_token_id]
            assert sequence["input_ids"][: len(said)] == said
            env.step(text)
            env.step(chat[2]["content"].removeprefix("agent_1: ").removesuffix(" Revise.") if number == 0 else "")
    assert team


def test_the_corpus_is_a_curriculum() -> None:
    recipe = Recipe(pure_steps=3, num_rows=10, training={"steps": 5, "batch_size": 8})
    rows = corpus(recipe)
    assert len(rows) == 40
    assert rows[:10] == rows[10:20]  # round and round
    assert rows[24:30] == rows[34:40] != rows[:6]
    for row in rows[:24]:
        question, first = row["messages"][0]["content"], row["messages"][1]["content"]
        seen = views(question)
        assert first == f"Answer: {seen.get('Clear', seen.get('Foggy'))}"
    assert corpus(recipe) == rows
    assert corpus(Recipe(seed=2, pure_steps=3, num_rows=10, training=recipe.training)) != rows


SMALL = {
    "num_rows": 50,
    "model": {"vocab_size": 300, "hidden_size": 32, "intermediate_size": 32, "context": 128},
    "training": {"steps": 2, "batch_size": 8, "device": "cpu"},
}


def test_a_recipe_is_cooked_once(tmp_path: Path) -> None:
    first = make_warm_start(tmp_path, "vault", num_agents=3, **SMALL)
    made = (tmp_path / "model.safetensors").stat().st_mtime_ns
    assert make_warm_start(tmp_path, "vault", num_agents=3, **SMALL) == first
    assert (tmp_path / "model.safetensors").stat().st_mtime_ns == made
    make_warm_start(tmp_path, "vault", seed=2, num_agents=3, **SMALL)
    assert (tmp_path / "model.safetensors").stat().st_mtime_ns != made
    assert PromptTemplate.load(tmp_path / "prompts.yaml") == PROMPTS
    assert AutoTokenizer.from_pretrained(tmp_path).chat_template


def test_an_unfinished_folder_is_cooked_again(tmp_path: Path) -> None:
    make_warm_start(tmp_path, **SMALL)
    (tmp_path / "recipe.json").unlink()
    (tmp_path / "model.safetensors").write_bytes(b"")
    make_warm_start(tmp_path, **SMALL)
    assert Policy.from_pretrained(str(tmp_path)).hidden_size == 32


def test_unknown_task(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no warm start for 'gsm8k'; there is one for: two_witnesses, vault"):
        make_warm_start(tmp_path, "gsm8k")


def test_default_recipe_is_the_shipped_one(tmp_path: Path) -> None:
    make_warm_start(tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == (SHIPPED / "model.safetensors").read_bytes()


def start(path: Path, env: DiscussionEnv, greedy: bool) -> float:
    """Accuracy of the warm start's team on held-out questions, mean over agents, in the last round."""
    agent = LLMAgent(Policy.from_pretrained(str(path)), None, prompts=PROMPTS, sampling=Sampling(max_new_tokens=14))
    team = Team({(name, r): agent for name in env.possible_agents for r in range(env.num_rounds)})
    episodes = rollout(env, team, env.questions("test") * (1 if greedy else 3), seed=0, greedy=greedy)
    last = env.num_rounds - 1
    return float(np.mean([bool(turn.correct) for episode in episodes for turn in episode.transcript.round(last)]))


def test_the_shipped_start_leaves_everything_to_learn() -> None:
    assert 0.44 < start(SHIPPED, TwoWitnesses(), greedy=False) < 0.56
    assert 0.44 < start(SHIPPED, TwoWitnesses(), greedy=True) < 0.62


@pytest.mark.slow
def test_the_recipe_makes_the_shipped_weights_again(tmp_path: Path) -> None:
    """Not bit by bit on another machine, whose "medium" products round otherwise, but a model that does the same."""
    make_warm_start(tmp_path, shipped=False)
    for greedy, within in (
        (False, 0.06),
        (True, 0.1),
    ):  # sampled three times as many messages; .558 and .635 where this was written
        again = start(tmp_path, TwoWitnesses(), greedy)
        assert again == pytest.approx(start(SHIPPED, TwoWitnesses(), greedy), abs=within)


def test_composed_teaches_the_form_and_no_word() -> None:
    """Whoever is asked names itself last, writes its part or the whole, and every step as often for every word."""
    rows = chats(Recipe(task="composed", num_rounds=1), MIXED, COUNT, np.random.default_rng(0))
    steps: dict[str, Counter[str]] = defaultdict(Counter)
    kinds: Counter[str] = Counter()
    for asked, said in ([m["content"] for m in row["messages"]] for row in rows):
        agent = asked.rpartition(" ")[2].removesuffix(".")
        parts = ("def aux(x)" in said, "def f(x)" in said)
        assert parts == {"helper_0": (True, False), "main_0": (False, True)}.get(agent, (True, True))
        words = re.findall(r"(First|Then) (\w+)", asked)
        assert len(words) == (2 if len(words) == 2 and agent == "agent_0" else 1)
        kinds[agent if len(words) == 1 else "told"] += 1
        (first,) = re.findall(r"return (\S*x\S*)", said) or ("",)
        if words[0][0] == "First":
            steps[words[0][1]][first] += 1
    assert min(kinds.values()) > COUNT / 8, "each form is seen often enough"
    for word, found in steps.items():
        assert set(found) == {"x+3", "x*2", "7-x", "x*x"}
        assert all(within_noise(times, sum(found.values()), 1 / 4) for times in found.values()), word
