"""Which places of a text it puts aside: what is denied, given up or somebody else's."""

from __future__ import annotations

import re
from collections.abc import Iterable

from maporl.envs.verifiers.english.groups import Stance
from maporl.envs.verifiers.english.reading import groups_of
from maporl.envs.verifiers.english.tokens import Name, Names, lexer
from maporl.envs.verifiers.english.vocabulary import Kind

__all__ = ["FIRM", "put_aside"]

FIRM = (Kind.OTHER, Kind.DENY, "open", None)
"""What decides for a box even where there is no other: it is somebody else's, denied or blamed. A denial of something before it ("won't
need") does not."""
_PLACES = Names(lexer("(?P<name>\ue000)"), lambda match: Name(str(match.start())), sign=re.compile("\ue000"))


def put_aside(text: str, places: Iterable[tuple[int, int]]) -> dict[int, Kind | str | None]:
    """Those of `places` (start, end) that `text` puts aside: start -> what decided so (`Group.source`).

    A place that lies in another one is not looked at.
    """
    parts, starts, at, length = [], {}, 0, 0
    for start, end in sorted(places):
        if start >= at:
            parts += [text[at:start].replace("\ue000", " "), "\ue000"]
            length += start - at + 1
            starts[length - 1] = start
            at = end
    groups = groups_of("".join([*parts, text[at:].replace("\ue000", " ")]), _PLACES)
    return {
        starts[int(name.value)]: group.source
        for group in groups
        if group.stance is Stance.ASIDE
        for name in group.names
    }
