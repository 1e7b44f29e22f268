"""Flags made from what they set: the fields of a dataclass, or the arguments of a function, with their documentation."""

from __future__ import annotations

import argparse
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Any, NoReturn

from maporl.errors import UserValueError
from maporl.settings import deeply, nearest, read_yaml
from maporl.typed import typed

__all__ = ["Parser", "Setting", "documented", "settings_of"]


@dataclass(frozen=True)
class Setting:
    """Something that can be set: its name, annotation, default (`inspect.Parameter.empty` if it must be given) and help."""

    name: str
    hint: Any
    default: Any
    help: str

    @property
    def kinds(self) -> tuple[Any, ...]:
        """The plain types that it may have."""
        union = typing.get_origin(self.hint) in (typing.Union, types.UnionType)
        members = typing.get_args(self.hint) if union else (self.hint,)
        return tuple(typing.get_origin(m) or m for m in members)

    @property
    def is_mapping(self) -> bool:
        """Whether it has parts that can be set one by one (``--lora.r 16``)."""
        return any(isinstance(k, type) and (issubclass(k, Mapping) or is_dataclass(k)) for k in self.kinds)

    def read(self, text: str) -> Any:
        """The value that `text` on a command line means."""
        if type(None) in self.kinds and text.lower() in ("none", "null"):
            return None
        if str in self.kinds and not (self.is_mapping and text.lstrip().startswith("{")):
            return text
        return read_yaml(text)


def settings_of(what: Any, only: Iterable[str] | None = None, without: Iterable[str] = ()) -> list[Setting]:
    """The settings of a dataclass or a function, in order.

    Args:
        what: Dataclass or function, documented in Google style ("Attributes:" or "Args:").
        only: Keep these.
        without: Leave these out.
    """
    hints = typing.get_type_hints(what, localns={"Mapping": Mapping, "Iterable": Iterable})
    help_texts = documented(what)
    if is_dataclass(what):
        found = {f.name: f.default if f.default is not MISSING else None for f in fields(what)}
    else:
        found = {p.name: p.default for p in inspect.signature(what).parameters.values()}
    keep = list(found) if only is None else list(only)
    return [Setting(n, hints[n], found[n], help_texts.get(n, "")) for n in keep if n not in set(without)]


def documented(what: Any) -> dict[str, str]:
    """Name -> text, from the "Args:" or "Attributes:" section of a docstring."""
    texts: dict[str, str] = {}
    names: list[str] = []
    inside = False
    # A dataclass inherits fields, and may document them anew.
    for line in "\n".join(inspect.getdoc(w) or "" for w in reversed(getattr(what, "__mro__", (what,)))).splitlines():
        if re.fullmatch(r"\w+:", line):
            inside, names = line in ("Args:", "Attributes:"), []
        elif inside and (match := re.match(r" {4}(\*{0,2}\w+(?:, \w+)*): (.*)", line)):
            names = match[1].split(", ")
            texts |= dict.fromkeys(names, match[2])
        elif inside and names and line.startswith(" " * 8):
            texts |= {name: f"{texts[name]} {line.strip()}" for name in names}
    return texts


class Parser(argparse.ArgumentParser):
    """argparse, with parts of mappings as dotted flags, a nearest flag for an unknown one, and errors of one line."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **arguments)
        self._settings: dict[str, Setting] = {}

    def add_settings(self, settings: Sequence[Setting], **overrides: Any) -> None:
        """A flag for every setting (a positional argument if it has no default); what is given is read by `given`."""
        for setting in settings:
            self._settings[setting.name] = setting
            options: dict[str, Any] = {"help": _help(setting), "default": argparse.SUPPRESS, "type": _reader(setting)}
            if setting.default is inspect.Parameter.empty:
                del options["default"]
                self.add_argument(setting.name, **options)
                continue
            if bool in setting.kinds:
                options |= {"nargs": "?", "const": True}
            elif tuple in setting.kinds:
                options |= {"nargs": "*", "type": str if _of_text(setting.hint) else read_yaml}
            self.add_argument(f"--{setting.name}", metavar=_metavar(setting), **(options | overrides))

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        rest, parts = self._dotted(list(args or []))
        parsed, unknown = self.parse_known_args(rest, namespace)
        if unknown:
            word = unknown[0].partition("=")[0]
            known = [s for action in self._actions for s in action.option_strings]
            if not word.startswith("-"):
                self.error(f"unexpected argument {word!r}; see {self.prog} --help.")
            self.error(f"unknown flag {word!r}.{nearest(word, known)} See {self.prog} --help.")
        parsed.words = list(args or [])  # as they were typed
        values = {n: getattr(parsed, n) for n in self._settings if hasattr(parsed, n)}
        for name, part in parts.items():
            before = values.get(name)
            values[name] = deeply(before, part) if isinstance(before, Mapping) else part
        parsed.given = {n: typed(f"--{n}", _plain(v), _plain_hint(self._settings[n])) for n, v in values.items()}
        return parsed

    def _dotted(self, words: list[str]) -> tuple[list[str], dict[str, Any]]:
        """``--env_args.history last_round`` taken out of `words`, as {"env_args": {"history": "last_round"}}."""
        rest: list[str] = []
        found: dict[str, Any] = {}
        while words:
            word = words.pop(0)
            flag, equals, text = word.partition("=")
            field, dot, key = flag.removeprefix("--").partition(".")
            setting = self._settings.get(field)
            if not (word.startswith("--") and dot and setting is not None):
                rest.append(word)
                continue
            if not setting.is_mapping:
                self.error(f"{flag}: {field} has no parts; write --{field}.")
            if not equals:
                if not words or words[0].startswith("--"):
                    self.error(f"{flag}: a value is missing.")
                text = words.pop(0)
            part: Any = _loose(text)
            for name in reversed(key.split(".")):
                part = {name: part}
            found = deeply(found, {field: part})
        return rest, found

    def error(self, message: str) -> NoReturn:
        raise UserValueError(message)


def _loose(text: str) -> Any:
    """A part's value: YAML if that makes a scalar or a ``{...}`` or ``[...]``, else plain text, such as ``Reply with: yes``."""
    try:
        value = read_yaml(text)
    except ValueError:
        return text
    return text if isinstance(value, dict | list) and text.lstrip()[:1] not in ("{", "[") else value


def _reader(setting: Setting) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            return setting.read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return read


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _plain_hint(setting: Setting) -> Any:
    """A setting that takes a small dataclass (LoRA) takes a mapping on the command line."""
    hints = [dict if isinstance(k, type) and is_dataclass(k) else k for k in setting.kinds]
    return typing.Union[tuple(hints)]  # noqa: UP007  (the members are known at run time only)


def _of_text(hint: Any) -> bool:
    return str in typing.get_args(hint)


def _metavar(setting: Setting) -> str:
    words = {int: "N", float: "X", bool: "true|false", str: "TEXT", tuple: "WORD"}
    return next((words[k] for k in setting.kinds if k in words), "{...}")


def _help(setting: Setting) -> str:
    text = setting.help.replace("``", "").replace("`", "")
    if setting.default not in (None, "", (), inspect.Parameter.empty) and not is_dataclass(setting.default):
        text += f" [{setting.default}]"
    return text.replace("%", "%%")
