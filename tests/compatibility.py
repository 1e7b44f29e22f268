"""Try every model family that the tests know, and checkpoints given by name, and write what came out (docs/compatibility.md).

    python tests/compatibility.py --model SmolLM2=FOLDER --gguf SmolLM2=FILE.gguf --out docs/compatibility.md

Families are made here, at random weights, with the tokenizer of `maporl make-model`; a word or two of a cell are what a run found, never
what somebody wrote. `--families llama bloom` tries a few.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from chat_templates import FAMILIES as TEMPLATES
from chat_templates import family_tokenizer
from compatibility_checks import CHECKS, Checkpoint, cells
from gguf_files import write_gguf
from model_families import EXACT, ODD, TOKENIZER, random_model
from toy_models import sharp_model

from maporl.agents.models.make_model import ARCHITECTURES, without_progress_bars

__all__ = ["FAMILIES", "main"]

FAMILIES = {
    **{name: name for name in ARCHITECTURES},
    **{f"{kind}: {what}": kind for what, (kind, _) in EXACT.items()},
    **{kind: kind for kind in ODD},
}
"""Name of a row -> type of the model."""

ABOUT = {
    "Sampling and training": """\
*sampler*: `fast` if our own cache, output layer and trees of prompts give the model's own numbers (measured when it is loaded), else
transformers' `generate`. *difference*: mean |log-prob as sampled - log-prob as trained on| over two rounds, with a LoRA adapter on all
linear layers. *mixed*: matrices and products are 16 bit, the values between the layers are float32. *GGUF*: largest |difference| of the
logits between the file and the plain folder, in the folder's type; `-` if there is no file to try.""",
    "Adapters": """\
*new LoRA*: whether it starts equal to the base, to the bit, gets a gradient in every matrix, and is the same after saving and loading.
*rsLoRA, DoRA, PiSSA*: adapters that PEFT made on a base of its own, loaded here: largest |difference| from PEFT's logits; the shared base
stays the same to the bit. *export*: largest |difference| between the logits of base with adapter and of the merged plain folder. All of it
is in float32, on all linear layers.""",
    "Chats": """\
Random-weight families have the tokenizer of `maporl make-model`, as it comes back from a folder of that type. The last rows are short
templates that behave like those of known families, with a small tokenizer. *BOS*: how often a chat begins with it. *system message*: kept
in a turn of its own, or put into the user's if the template has no place for it. *thinking*: whether `--thinking` changes what is read.
*earlier rounds*: whether keys and values can be kept while a chat grows.""",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the checks and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the page")
    parser.add_argument("--families", nargs="*", choices=FAMILIES, default=list(FAMILIES), metavar="NAME")
    parser.add_argument("--model", action="append", default=[], type=_named, metavar="NAME=FOLDER")
    parser.add_argument("--gguf", action="append", default=[], type=_named, metavar="NAME=FILE")
    args = parser.parse_args(argv)
    files, tables = dict(args.gguf), {table: [] for table in CHECKS}
    with tempfile.TemporaryDirectory() as place, without_progress_bars():
        given = (Checkpoint(name, path, files.get(name)) for name, path in args.model)
        for checkpoint in (*given, *_made(Path(place), args.families)):
            for table in ["Chats"] if checkpoint.name.startswith("template: ") else CHECKS:
                tables[table].append([checkpoint.name, *cells(checkpoint, table)])
                print(" | ".join(tables[table][-1]), file=sys.stderr, flush=True)
    args.out.write_text(_page(args.model, files, tables), encoding="utf-8")
    return 0


def _named(word: str) -> tuple[str, Path]:
    name, equals, path = word.partition("=")
    if not (name and equals and Path(path).exists()):
        raise argparse.ArgumentTypeError(f"{word!r} is no NAME=PATH of something that exists")
    return name, Path(path)


def _made(place: Path, families: Iterable[str]) -> Iterator[Checkpoint]:
    """Families at random weights, then one small model with every template."""
    settings = {f"{kind}: {what}": values for what, (kind, values) in EXACT.items()} | ODD
    for number, name in enumerate(families):
        folder = place / str(number)
        if name in ARCHITECTURES:
            sharp_model(folder, architecture=name)
        else:
            model = random_model(FAMILIES[name], **settings[name])
            for config in (model.config, model.generation_config):  # whose defaults are of another vocabulary
                config.bos_token_id, config.eos_token_id = None, TOKENIZER.eos_token_id
            model.save_pretrained(folder)
            TOKENIZER.save_pretrained(folder)
        yield Checkpoint(name, folder, write_gguf(folder, place / "llama.gguf") if name == "llama" else None)
    for name, (template, _, adds_bos) in TEMPLATES.items():
        sharp_model(place / name, vocab_size=340)
        family_tokenizer(template, adds_bos=adds_bos).save_pretrained(place / name)
        yield Checkpoint(f"template: {name}", place / name)


def _page(models: Sequence[tuple[str, Path]], files: Collection[str], tables: Mapping[str, list[list[str]]]) -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "peft", "gguf"))
    given = "".join(f' --model "{name}=FOLDER"' for name, _ in models) + "".join(f' --gguf "{n}=FILE"' for n in files)
    parts = [
        "# Compatibility\n",
        "Look up whether a model family works, before you train it. A script ran every model and wrote every cell; if something failed, "
        "the cell has its message. Models that\nthe command names have their real weights, all others are small and random. To write the "
        "page again:\n",
        f"    python tests/compatibility.py --out docs/compatibility.md{given}\n",
        f"Measured with Python {platform.python_version()}, {versions}, on a CPU.\n",
    ]
    for table, rows in tables.items():
        header = ["", *CHECKS[table]]
        lines = [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows)]
        parts += [f"## {table}\n", ABOUT[table] + "\n", "\n".join(lines) + "\n"]
    return "\n".join(parts)


if __name__ == "__main__":
    sys.exit(main())
