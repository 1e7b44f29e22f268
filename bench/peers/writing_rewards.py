"""``python -m bench.peers.writing_rewards CHECKOUT``: our form of two texts beside the reward functions of MAGRPO's authors.

CHECKOUT is a clone of https://github.com/OpenMLRL/LLM_Collab_Writing. Random team outputs are made of the sentences of scitldr's abstracts,
with and without transitions, most of them of a length that passes the first level. Every reward is computed thrice: theirs, ours with
the word lists that are read from their source, and ours as it comes. What differs is explained, kind by kind; what is not is counted.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.data_folder import add_data, data_of
from maporl.envs.tasks.writing.form import ARXIV, TLDR, Form, Language, form_of
from maporl.envs.tasks.writing.transitions import TRANSITIONS, Transitions
from maporl.envs.verifiers.english.function_words import words

Texts = tuple[str, str]
Reward = Callable[[list[str], list[str]], list[float]]

TASKS = {
    "tldr": (TLDR, "rewards/tldr_rewards.py", "tldr_combined_reward"),
    "arxiv": (ARXIV, "rewards/arxiv_rewards.py", "arxiv_combined_reward"),
}


@dataclass(frozen=True)
class Theirs:
    """What a checkout says.

    Attributes:
        reward: Their function.
        phrases: Their transition words, category by category.
        stop_words: Theirs.
    """

    reward: Reward
    phrases: Mapping[str, Sequence[str]]
    stop_words: frozenset[str]

    @classmethod
    def read(cls, path: Path, name: str) -> Theirs:
        """Their module, silenced, and the lists inside its function."""
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None and spec.loader is not None
        module: Any = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        module.VERBOSE = False
        lists = {
            target.id: ast.literal_eval(node.value)
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name) and target.id in ("STOPWORDS", "transition_words")
        }
        return cls(getattr(module, name), lists["transition_words"], frozenset(lists["STOPWORDS"]))


def teams(form: Form, abstracts: Sequence[Sequence[str]], number: int, seed: int) -> list[Texts]:
    """Random outputs of two agents: of a tenth each one text is too short or too long, of a tenth the texts are nearly alike."""
    rng = random.Random(seed)
    phrases = [phrase for members in TRANSITIONS.values() for phrase in members]
    least, most = form.words

    def text(count: int, share: float) -> str:
        said: list[str] = []
        while len(said) < count:
            said += [f"{rng.choice(phrases).capitalize()},"] * (rng.random() < share) + rng.choice(
                rng.choice(abstracts)
            ).split()
        return " ".join(said[:count])

    made = []
    for _ in range(number):
        share, kind = rng.choice([0.0, 0.3, 0.8]), rng.random()
        first = rng.randint(least, min(most, 5 * least))
        ratio = rng.uniform(0.9 * form.length.least, 1.1 * form.length.most)
        second = min(max(round(first * ratio), least), most)
        if kind < 0.1:
            first, second = (rng.randint(0, least - 1), second) if kind < 0.05 else (first, most + rng.randint(1, 50))
        one = text(first, share)
        other = f"{one} {text(max(second - first, 3), share)}" if kind > 0.9 else text(second, share)
        made.append((one, other))
    return made


def explained(form: Form, texts: Texts, theirs: Theirs, language: Language) -> tuple[float, list[str]]:
    """How much more theirs pays than ours for one pair, by what is known to differ; and the names of that."""
    formed = form_of(form, *texts, language)
    if formed.stopped:
        return 0.0, []
    said = texts if form.transitions_of_both else texts[1:]
    ours = set().union(*(language.transitions(words(text)) for text in said))
    line = "".join(said).lower()
    found = {category for category, members in theirs.phrases.items() if any(phrase in line for phrase in members)}
    more, kinds = 0.0, []
    if found - ours:
        kinds.append("theirs finds a transition word within another word, or across the end of the first text")
    if ours - found:
        kinds.append("ours finds the words of a phrase with punctuation or a line break between them")
    if not found:
        kinds.append("no transition word: theirs pays 0, the specified formula .4 * .35")
    more += 0.4 * ((min(0.35 + 0.05 * len(found), 1) if found else 0.0) - min(0.35 + 0.05 * len(ours), 1))
    if not any(set(words(text)) - theirs.stop_words for text in texts):
        kinds.append("no content words in either text: theirs takes them for the same")
        more += 0.6
    return more, kinds


def compared(form: Form, made: Sequence[Texts], theirs: Theirs) -> dict[str, Any]:
    """Agreement on the pairs, and every kind of difference."""
    language = Language(Transitions(theirs.phrases), theirs.stop_words)
    paid = theirs.reward([one for one, _ in made], [other for _, other in made])
    same, own, kinds, unexplained, gaps = 0, 0, Counter[str](), 0, []
    for texts, reward in zip(made, paid, strict=True):
        ours = form_of(form, *texts, language).reward
        more, names = explained(form, texts, theirs, language)
        same += abs(ours - reward) < 1e-9
        unexplained += abs(ours + more - reward) >= 1e-9
        kinds.update(names)
        gaps.append(abs(form_of(form, *texts).reward - reward))
        own += gaps[-1] < 1e-9
    return {
        "pairs": len(made),
        "that pass every level": sum(not form_of(form, *texts).stopped for texts in made),
        "equal, with their word lists": same,
        "kinds of difference": dict(kinds),
        "not explained": unexplained,
        "equal, with our word lists": own,
        "greatest difference, with our word lists": round(max(gaps), 3),
        "mean difference, with our word lists": round(sum(gaps) / len(gaps), 4),
    }


def main(arguments: Iterable[str] | None = None) -> None:
    """Compare, and print what came of it."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers.writing_rewards", description=__doc__)
    parser.add_argument("checkout", type=Path, help="a clone of theirs")
    add_data(parser)
    parser.add_argument("--number", type=int, default=500, help="random team outputs of each task [500]")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(None if arguments is None else list(arguments))
    lines = (data_of(parser, given) / "scitldr" / "dev.jsonl").read_text("utf-8").splitlines()
    abstracts = [json.loads(line)["abstract"] for line in lines]
    for task, (form, path, name) in TASKS.items():
        theirs = Theirs.read(given.checkout / path, name)
        print(task, json.dumps(compared(form, teams(form, abstracts, given.number, given.seed), theirs), indent=2))


if __name__ == "__main__":
    main()
