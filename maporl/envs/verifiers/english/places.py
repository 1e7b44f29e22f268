"""Which places of a text it puts aside: what is denied, given up or somebody else's."""

from __future__ import annotations

from collections.abc import Iterable

from maporl.envs.verifiers.english.claims import Stance, groups_of
from maporl.envs.verifiers.english.tokens import Name, lexer
from maporl.envs.verifiers.english.vocabulary import Kind

__all__ = ["put_aside"]

_PLACE = lexer("(?P<name>\ue000)")


def put_aside(text: str, places: Iterable[tuple[int, int]]) -> dict[int, bool]:
    """Those of `places` (start, end) that `text` puts aside: start -> whether that is sure: it is blamed, or somebody else's.

    Else only the words before it do ("won't need", "Tom picked", "gone from home for"), which a place that is marked as the answer outweighs where there is no
    other. A place that lies in another one is not looked at.
    """
    parts, starts, at, length = [], {}, 0, 0
    for start, end in sorted(places):
        if start >= at:
            parts += [text[at:start].replace("\ue000", " "), "\ue000"]
            length += start - at + 1
            starts[length - 1] = start
            at = end
    groups = groups_of("".join([*parts, text[at:].replace("\ue000", " ")]), _PLACE, lambda m: Name(str(m.start())))
    return {
        starts[int(name.value)]: group.source in (Kind.OTHER, "open", None)
        for group in groups
        if group.stance is Stance.ASIDE
        for name in group.names
    }
