"""Which of the things that a text names it takes as its answer: "not A but B", "agent_0 says A, I say B", "B or D".

A text is read once, from left to right. A word takes what is named next ("is", "I choose"), or puts it aside ("not", "instead of",
"agent_0 says") until the clause ends, and what follows a name may still praise or deny it ("A is wrong"). Things that are named side by
side are one group: if they differ, nothing was chosen.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from maporl.envs.verifiers.english import vocabulary
from maporl.envs.verifiers.english.groups import FAR, Group, Stance
from maporl.envs.verifiers.english.tokens import Name, Token
from maporl.envs.verifiers.english.vocabulary import Kind

__all__ = ["Scan"]

_CLOSES = (Kind.BUT, Kind.LINK, Kind.STOP)
_TAKES = (Kind.BE, Kind.CLAIM, Kind.LINK, "open", "=")
_PUTS_ASIDE = (Kind.DENY, Kind.ASIDE, Kind.WHILE, Kind.BOUND)
_AFTER_LETTER = {Kind.BE, Kind.HELP, Kind.GOOD, Kind.LIST, Kind.TO, *_CLOSES, *_PUTS_ASIDE}
_STARTS = ("end", "open", ",", ":", ";", "=")


@dataclass
class Scan:
    """What is known at one place of the text; the first six fields last for a clause, the others for a sentence."""

    source: Kind | str | None = None  # what decides about the next name
    quoted: Kind | None = None  # somebody else speaks: a named one (OTHER), or whoever "says" (SAYS)
    own: bool = False  # the speaker speaks
    far: bool = False  # content, or a comma, stands between a denial and what it may deny: "won't need"
    agreed: bool = False
    theirs: bool = False  # what is named next is a peer's own, which may be called right: "agent_0's answer"
    groups: list[Group] = field(default_factory=list)
    first: int = 0  # of this sentence
    open: Group | None = None  # names that come now belong to it
    joined: list[Kind | str] = field(default_factory=list)  # what stood since its last name
    topic: Group | None = None  # something is being said of it
    noun: bool = False
    content: bool = False
    anything: bool = False
    line: int = 0
    last: Kind | str = "end"
    condition: bool = False  # what follows holds in a case only: "if it were"
    reported: bool = False  # the sentence is somebody else's: "according to agent_0"
    sets_out: bool = False  # its first words say whose it is
    tentative: bool = False  # praise that a "but" takes back: "seems"
    judged: Group | None = None  # what a colon gives its verdict of: "A: no"
    changes: bool = False  # one thing is left for another: "switch"

    def takes(self, name: Name, token: Token, following: Token) -> bool:
        """Whether a bare name is one here, and not a word or part of one."""
        free, ends = self.last is not Kind.WORD, isinstance(following.kind, str)
        if following.name is not None:
            ends = following.name.value == name.value  # "A bank", not "A library"
        if name.bare == "particle":
            goes_on = following.kind in _CLOSES or following.kind is Kind.LIST
            return free and (ends or goes_on or (self.last in _STARTS and following.text in vocabulary.PRONOUNS))
        taken = self.source in _TAKES
        if token.text.islower():
            return ends and (taken or self.last in ("end", Kind.NOUN))
        if token.text == "I":
            return free and (ends or following.text == "is")
        if token.text == "A":
            return free and (ends or following.kind in _AFTER_LETTER or following.text in vocabulary.DETERMINERS)
        return free or taken

    def read(self, token: Token, following: Token, second: Token) -> None:
        kind = token.kind
        if self._is_content(token, following):
            kind = Kind.WORD
        if kind == "name":
            assert token.name is not None
            self._name(token.name, following, second)
        elif kind == "end":
            self._end(token.text)
        else:
            self.anything = True
            judged, self.judged = self.judged, None
            if judged is not None and isinstance(kind, Kind) and following.kind in ("end", ",", ";"):
                self._judge(judged, kind, token.text)
            if isinstance(kind, Kind):
                self._word(kind, token.text, following)
            else:
                self._mark(kind)
        self.last = kind

    def _is_content(self, token: Token, following: Token) -> bool:
        """Whether a word does not do here what it does elsewhere: "the estate agent", "14 bad apples", "she discarded"."""
        if token.text == "agent":
            return self.last is Kind.WORD
        if token.kind is Kind.BAD:
            return self.last == "name" and following.kind in (Kind.WORD, Kind.NOUN)
        story = token.kind in (Kind.DENY, Kind.WHILE) and token.text.startswith(vocabulary.STORIES)
        return story and self.content and not (self.own or self.quoted or self.topic or self.open)

    # -- names ---------------------------------------------------------------------------------------------------------

    def _name(self, name: Name, following: Token, second: Token) -> None:
        self.anything = True
        group = self.open
        if group is not None and self.source is None and self._joins(group, following, second):
            group.names.append(name)
        else:
            stance = Stance.NAMED
            if self.quoted or self.source in _PUTS_ASIDE:
                stance = Stance.ASIDE
            elif self.condition and self.source != "open":
                stance = Stance.NAMED
            elif self.source in _TAKES or (name.bare == "particle" and self.last in _STARTS):
                stance = Stance.CLAIMED
            source = self.quoted if self.quoted and self.source not in _PUTS_ASIDE else self.source
            source = FAR if source is Kind.DENY and self.far else source
            group = Group([name], stance, self.noun or self.source in ("open", "="), self.line, source)
            group.praised = self.theirs and source is Kind.OTHER
            self.groups.append(group)
            self.open = group
        self._finish()
        self.source, self.joined = None, []

    def _joins(self, group: Group, following: Token, second: Token) -> bool:
        """Whether a name belongs to those before it."""
        if set(self.joined) != {","}:
            return True  # beside it, or after "or"
        if following.kind in (Kind.BE, Kind.HELP):
            return False  # a clause of its own
        return group.stance is not Stance.ASIDE or (following.kind in (",", Kind.LIST) or second.kind == "name")

    # -- words ---------------------------------------------------------------------------------------------------------

    def _word(self, kind: Kind, text: str, following: Token) -> None:
        self.sets_out = self.sets_out or (self.last == "end" and text in vocabulary.SETS_OUT)
        if kind is not Kind.FILL:
            self.changes = self.changes or text.startswith(vocabulary.CHANGES)
            self.tentative = self.tentative or text.startswith(vocabulary.SEEMS)
        if kind is Kind.WORD:
            self._finish(True)
            if self.source in _TAKES and self.source != "open" or self.source == ":":
                self.source = None
            self.content, self.open, self.far, self.theirs = True, None, True, False
            return
        if kind is Kind.FILL:
            if text == "no" and following.name is not None:
                self.source = Kind.DENY  # "no contradiction"
            elif text in ("likely", "probable") and self.topic is not None and isinstance(following.kind, str):
                self._praise()
            return
        if kind is Kind.LIST and self.open is not None:
            self.joined.append(kind)
            return
        if kind in (Kind.BE, Kind.HELP, Kind.GOOD, Kind.CLAIM, Kind.BAD) and self.open is not None and not self.joined:
            self.topic = self.open  # a verb: something is said of them
            if kind is Kind.BE and text in ("it is", "it's") and following.kind == "end":
                self._praise()
        if kind is Kind.DENY:
            self._deny(text, following)
        elif kind in (Kind.GOOD, Kind.NOUN) and self.topic is not None:
            self._praise()
        elif text in vocabulary.RIGHTLY and self.quoted is Kind.OTHER and self.last in (Kind.BE, Kind.OTHER):
            self.quoted, self.agreed = None, True  # "agent_0 is right that", "agent_0 correctly says"
        elif kind is Kind.BAD and self.topic is not None:
            self.topic.stance, self.topic = Stance.ASIDE, None
        elif kind is Kind.BAD and following.kind is Kind.NOUN:
            self.source = Kind.DENY  # "the wrong answer is"
        self._turn(kind, text, following)
        if kind is not Kind.NOUN or self.open is None:
            self.open = None
        self.noun = self.noun or kind is Kind.NOUN

    def _turn(self, kind: Kind, text: str, following: Token) -> None:
        """What the word means for the next name."""
        back = text in vocabulary.BACK and self.last != "," and following.kind is not Kind.SELF
        goes_on = kind not in (Kind.SELF, Kind.LINK, Kind.BUT)
        self.condition, self.reported = (
            (self.condition or text in vocabulary.CONDITIONS) and goes_on,
            self.reported and goes_on,
        )
        if back or (kind is Kind.BUT and self.tentative):
            self._take_back()
        if kind in _CLOSES or kind is Kind.LIST:
            denied = self._last_source() in (Kind.DENY, FAR)
            self._clause()
            self.source = Kind.LINK if kind is Kind.LINK else Kind.CLAIM if kind is Kind.BUT and denied else None
        elif kind in (Kind.BE, Kind.CLAIM):
            self.agreed = self.agreed or text.startswith(vocabulary.AGREES)
            self.source = self.source if self.source in (Kind.DENY, Kind.WHILE) else kind
        elif kind is Kind.SAYS:
            mine, self.theirs = self.own or self.agreed, False
            self.quoted = None if mine else self.quoted or Kind.SAYS
            self.source = Kind.CLAIM if mine else self.source
        elif kind is Kind.OTHER:
            thing = text == "the other" and following.kind is Kind.WORD  # "the other two pizzas"
            self.quoted, self.own = None if self.agreed else Kind.SAYS if thing else Kind.OTHER, False
            self.theirs, self.reported = text.endswith("'s"), self.quoted is not None and self.sets_out
        elif kind is Kind.SELF:
            self.quoted, self.own = None, True
        elif kind in (Kind.ASIDE, Kind.WHILE, Kind.BOUND):
            self.source, self.own = kind, self.own and kind is not Kind.WHILE
        elif kind is Kind.TO and self._last_source() is Kind.ASIDE and not self.source:
            self.source = Kind.CLAIM if self.changes else Kind.ASIDE  # else a range, "from A to E"

    def _last_source(self) -> Kind | str | None:
        """What decided about the last thing that this sentence names."""
        return self.groups[-1].source if len(self.groups) > self.first else None

    def _deny(self, text: str, following: Token) -> None:
        if self.topic is not None or (
            self.open is not None and text.endswith(("n't", "cannot")) and following.kind != "name"
        ):
            (self.topic or self.open).stance, self.topic = Stance.ASIDE, None  # type: ignore[union-attr]
        twice = self.source is Kind.DENY and text in vocabulary.DENIED_TWICE  # "cannot be anything but"
        self.source, self.far = Kind.CLAIM if twice else Kind.DENY, False

    def _praise(self) -> None:
        assert self.topic is not None
        if (self.topic.stance is not Stance.ASIDE or self.topic.praised) and not self.condition:
            self.topic.stance, self.topic.sure = Stance.CLAIMED, True
        self.topic = None

    def _judge(self, group: Group, kind: Kind, text: str) -> None:
        """One word after a colon: "A: no"."""
        if kind is Kind.BAD or kind is Kind.DENY or text == "no":
            group.stance = Stance.ASIDE
        elif kind is Kind.GOOD or text == "yes":
            group.stance, group.sure = Stance.CLAIMED, True

    def _take_back(self) -> None:
        """What the sentence took last holds in a case or at a time only, or only seems so."""
        group = self.groups[-1] if len(self.groups) > self.first else None
        if group is not None and group.stance is Stance.CLAIMED:
            group.stance = Stance.NAMED

    def _finish(self, content: bool = False) -> None:
        """What was said of the topic was neither praise nor blame."""
        if self.topic is not None and content:
            self.topic.said_of, claimed = True, self.topic.stance is Stance.CLAIMED
            self.topic.stance = Stance.NAMED if claimed else self.topic.stance
        self.topic = None

    # -- ends ----------------------------------------------------------------------------------------------------------

    def _mark(self, mark: str) -> None:
        if mark == "open":
            self.open = None
            if self.source is Kind.BOUND or self.source not in _PUTS_ASIDE:
                self.source = "open"
        elif mark in ",/&|":
            self.far = True
            if self.open is not None:
                self.joined.append("," if mark == "," else Kind.LIST)
            if mark == "," and self.last is not Kind.DENY and self.source in _PUTS_ASIDE:
                self._clause()
            self.quoted = self.quoted if mark != "," or self.reported else None
            self._finish()
        else:
            source = self.source
            named = self.open is not None
            self._clause()
            if named and mark in ":-–—":
                self.judged = self.groups[-1]
            if mark in "-–—" and named:
                self.open = self.groups[-1]
            elif self.noun and not named and mark != ";":
                self.source = "="
            elif mark in ":=":
                self.source = ":" if source is not Kind.CLAIM else source

    def _clause(self) -> None:
        self._finish()
        self.source, self.quoted, self.open, self.joined = None, None, None, []
        self.own = self.agreed = self.theirs = False

    def _end(self, text: str) -> None:
        mine = self.groups[self.first :]
        waits = self.source in _TAKES or (self.noun and not self.content)
        pending = not mine and text == "\n" and waits  # the answer stands in a line of its own
        last_named = self.open is not None
        self._finish()
        kept = [group for group in mine if group.stance is not Stance.ASIDE]
        if "?" in text:
            for group in mine:
                group.stance = Stance.ASIDE
        elif len(set().union(*(group.values for group in kept))) == 1 and not self.content:
            for group in kept:
                group.alone = group.stance is Stance.NAMED
                group.stance = Stance.CLAIMED
        elif mine and last_named and mine[-1].source == ":" and mine[-1].stance is Stance.NAMED:
            mine[-1].stance = Stance.CLAIMED
        carried, noun = self.source, self.noun
        self._clause()
        self.line += text == "\n" and (self.anything or bool(mine))
        if not self.anything and text == "\n":
            self.source, self.noun = carried, noun  # an empty line
        else:
            self.source, self.noun = ("=", True) if pending else (None, False)
        self.content = self.anything = self.changes = self.condition = self.reported = self.tentative = False
        self.sets_out, self.judged = False, None
        self.first = len(self.groups)
