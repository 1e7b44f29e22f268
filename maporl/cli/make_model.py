"""Make a small random-weight checkpoint with a tokenizer and chat template of its own: an ordinary Hugging Face folder."""

from __future__ import annotations

import argparse
from inspect import signature

from maporl.agents.models.make_model import make_model
from maporl.cli.flags import Parser, settings_of
from maporl.cli.known import Line, number
from maporl.output_folder import check_output, sign

__all__ = ["add_arguments", "known", "run"]


def add_arguments(parser: Parser) -> None:
    parser.add_settings(settings_of(make_model, without=["texts"]))


def known(line: Line) -> str:
    """What it will be."""
    of = {name: p.default for name, p in signature(make_model).parameters.items()} | line.args.given
    return f"{of['path']}: {of['architecture']}, {number(of['num_layers'], 'layer')} of {of['hidden_size']}, {of['vocab_size']} tokens"


def run(args: argparse.Namespace) -> int:
    """Write the folder and say how large the model is."""
    made = {"command": "make-model"}
    check_output(args.given["path"], "path", made=made)
    number = make_model(**args.given)
    sign(args.given["path"], made)
    print(f"{args.given['path']}: {number:,} parameters, random weights")
    return 0
