"""Words, and which of them only hold a sentence together: what is left is its content."""

from __future__ import annotations

import re

__all__ = ["FUNCTION_WORDS", "content_words", "words"]

_WORD = re.compile(r"\w+")

# The closed classes of English grammar, and what an apostrophe leaves of them ("isn't" is isn, t).
_CLOSED = """
    a an the this that these those each every either neither both all any some no none few several many much more most less least other
    another such own same enough half
    i me my mine myself we us our ours ourselves you your yours yourself yourselves he him his himself she her hers herself it its itself
    they them their theirs themselves one ones who whom whose which what whatever whichever whoever somebody someone something anybody
    anyone anything nobody nothing everybody everyone everything there here
    am is are was were be been being have has had having do does did doing done will would shall should can could may might must ought
    isn aren wasn weren don doesn didn hasn haven hadn won wouldn shouldn couldn mustn needn cannot ain let s t d ll m re ve
    about above across after against along among amongst around as at before behind below beneath beside besides between beyond by
    despite down during except for from in inside into like near of off on onto out outside over per since than through throughout to
    toward towards under until up upon via with within without
    and or but nor so yet if unless because although though while whereas whether when whenever where wherever why how then thus hence
    therefore however also too very just only even not now again still ever never already rather quite almost else instead otherwise
"""

FUNCTION_WORDS = frozenset(_CLOSED.split())
"""Words that every English text has, whatever it is about."""


def words(text: str) -> list[str]:
    """The words of a text in lower case, without what stands between them, in any script that parts its words."""
    return _WORD.findall(text.lower())


def content_words(text: str) -> list[str]:
    """Those of `words` that are no function words."""
    return [word for word in words(text) if word not in FUNCTION_WORDS]
