"""The words by which a text takes something as its answer, or puts it aside. Everything else is content."""

from __future__ import annotations

from enum import Enum, auto

__all__ = [
    "AGREES",
    "BACK",
    "CHANGES",
    "CONDITIONS",
    "DENIED_TWICE",
    "DETERMINERS",
    "LONGEST",
    "PRONOUNS",
    "RIGHTLY",
    "SEEMS",
    "SETS_OUT",
    "STARTS",
    "STORIES",
    "Kind",
    "ends_clause",
    "kind_of",
    "phrase",
]


class Kind(Enum):
    """What a word does to the next thing that is named, or to the one before."""

    FILL = auto()  # nothing: articles, adverbs, how sure one is
    CLAIM = auto()  # takes what follows: "I choose"
    BE = auto()  # takes what follows, and begins what is said of the thing before: "is"
    HELP = auto()  # begins what is said of the thing before: "could"
    DENY = auto()  # puts what follows aside, or what is said of the thing before: "not"
    ASIDE = auto()  # puts what follows aside, before its verb: "instead of"
    WHILE = auto()  # puts what follows aside, verb and all: "although"
    BOUND = auto()  # puts what follows aside, unless it is marked as the answer: "at most"
    SAYS = auto()  # puts what follows aside unless the speaker says it: "says"
    OTHER = auto()  # somebody else speaks
    SELF = auto()  # the speaker speaks
    NOUN = auto()  # what one looks for: "answer"
    GOOD = auto()  # praise of the thing before, after a verb or as one: "fits"
    BAD = auto()  # blame of the thing before, after a verb
    LINK = auto()  # ends a clause, and concludes: "so"
    BUT = auto()  # ends a clause, and opposes: "but"
    STOP = auto()  # ends a clause: "because"
    LIST = auto()  # joins: "or"
    TO = auto()  # "to": from this to that
    WORD = auto()  # content


_WORDS = {
    Kind.FILL: """
        a, an, the, this, that, it, there, these, those, here, of these, of them, with, for, on, upon, towards, toward, either, both, then,
        most, more, much, very, quite, fairly, almost, likely, probably, possibly, perhaps, maybe, presumably, plausible, plausibly,
        definitely, certainly, clearly, surely, obviously, evidently, undoubtedly, indeed, really, actually, simply, just, still, now, also,
        always, again, even, only, exactly, precisely, approximately, about, around, roughly, nearly, finally, ultimately, final,
        overall, in total, in all, altogether, no doubt, without doubt, without any doubt, without a doubt,
        beyond doubt, in my opinion, in my view, to me, of course, in fact, after all, by far, for sure, sure, certain, confident, yes, no,
        according to,
        none other than, no other than, nothing other than, nothing but,
        no more than, not more than, not less than, no less than, no fewer than, not only, not just, not merely, wait, hmm, well, ok, okay,
        above, below, following, remaining, going, described, classified, labelled, labeled, known, seen, one,
        text, json""",
    Kind.CLAIM: """
        think, thinks, believe, believes, say, guess, choose, choosing, pick, picking, select, selecting, take, taking, prefer, maintain,
        conclude, suspect, answering, get, got, go, stick, stay, settle, settled, settling, vote, opt, opting, lean, leaning, decide,
        decided, agree, agreed, agreeing, leave, leaves, leaving, point, points, pointing, switch, switching, change, changing, update,
        updating, keep, keeping, as, to be, i.e, namely, that is, that is to say,
        confirm, confirming, concur, concurring, endorse, endorsing, support, supporting,
        answer of, choice of, option of, value of, result of, total of""",
    Kind.BE: """
        is, 's, are, 're, was, were, be, been, being, am, equals, equal, is considered, be considered, best considered,
        seems, seem, appears, appear, remains, remain, becomes, become,
        means, mean, gives, give, giving, makes, make, making, yields, yield, has, have, had, it is, it's, that's, there's, answer's""",
    Kind.HELP: """
        can, could, may, might, must, shall, should, will, would, 'd, 'll, does, do, did, sounds, looks""",
    Kind.DENY: """
        not, never, neither, nor, cannot, anything but, everything but, all but, except, except for, other than, rule out, ruled out,
        ruling out, rules out, exclude, excluded, eliminate, eliminated, eliminating, reject, rejected, discard, discarded, doubt, disagree,
        disagree with, disagrees with, no longer, far from, hardly, no way, nobody, no one,
        refuse to, mistake to, wrong to, dropped, dismissed, dismiss, retract, retracting, retracted,
        mistake with, mistake of, error with, error of""",
    Kind.ASIDE: """
        instead of, rather than, unlike, from, between, compared to, compared with, better than, likelier than, more likely than,
        more plausible than, more probable than, more suitable than,
        more appropriate than, more sensible than, over, versus, as opposed to,
        apart from, aside from, besides, despite, considered, thought about, thought of""",
    Kind.BOUND: """
        at most, at least, less than, more than, fewer than, greater than, larger than, smaller than, higher than, lower than, up to,
        under""",
    Kind.WHILE: """
        although, though, even though, while, whilst, whereas, even if, if, unless, whether, used to, previously, formerly,
        initially, originally, at first, at first glance, at first sight,
        first guess, first answer, first choice, first thought, first instinct, old answer, previous answer,
        earlier answer, former answer, original answer, initial answer, my initial, my earlier, my previous, my original,
        my former, my old, my prior, old choice, previous choice, original choice, initial choice""",
    Kind.SAYS: """
        says, said, claims, claimed, argues, argued, suggests, suggested, answers, answered, chose, picked, selected, voted, believed,
        proposes, proposed,
        would say, might say, may say, could say, would think, might think, may think, could think, would choose, might choose, may choose,
        could choose, would pick, might pick, may pick, could pick""",
    Kind.OTHER: """
        agent, agents, peer, peers, the others, others, teammate, teammates, colleague,
        colleagues, another agent""",
    Kind.SELF: "i, my, me, we, our, us, let's, let, mine, i'm, i'd, i'll, i've, we're, we'd, we'll",
    Kind.NOUN: """
        answer, ans, choice, option, letter, label, conclusion, result, verdict, prediction, solution, number, value, total, response""",
    Kind.GOOD: """
        correctly, rightly,
        correct, right, best, better, true, likeliest, fits, fit, works, matches, suits, appropriate, suitable, preferable, makes sense,
        make sense, makes more sense, makes the most sense, makes most sense, it is the one""",
    Kind.BAD: """
        wrong, incorrect, false, mistaken, impossible, unlikely, implausible, unsuitable, inappropriate, irrelevant, nonsense,
        mistake, error, miscalculation,
        no sense, worse, worst, bad, poor, weak, weaker, weakest, distractor, less likely, least likely, less plausible, least plausible,
        less appropriate, less suitable""",
    Kind.LINK: "so, therefore, thus, hence, consequently, accordingly, ergo, in conclusion, in short, which is, which are, which equals",
    Kind.BUT: "but, however, yet",
    Kind.STOP: "because, since, which, who, where, when, whose, given",
    Kind.LIST: "or, and, as well as",
    Kind.TO: "to, into",
}

CONDITIONS = ("if", "even if", "unless")
"""What follows holds in a case only."""
BACK = (*CONDITIONS, "initially", "originally", "at first", "at first glance", "at first sight")
"""After a claim, these take it back: it held in a case or at a time only."""
DENIED_TWICE = ("anything but", "other than", "except", "except for", "doubt")
"""After a denial these take what follows."""
SEEMS = ("seem", "appear", "looks", "sounds", "may", "might")
"""Beginnings of verbs whose praise a "but" takes back."""
SETS_OUT = ("according to", "in", "as", "per")
"""At the beginning of a sentence, before somebody else, these make all of it theirs."""
DETERMINERS = ("the", "this", "that", "my", "our")  # no article stands before them
PRONOUNS = ("it", "this", "that", "there", "they", "he", "she", "we", "you", "i", "one", "these", "those")
AGREES = ("agree", "confirm", "concur", "endors", "support")
"""Beginnings of verbs by which one takes what a peer says."""
RIGHTLY = ("right", "correct", "rightly", "correctly")
"""Of a peer, these take what it says."""
STORIES = (
    "originally",
    "initially",
    "previously",
    "formerly",
    "used to",
    "discard",
    "drop",
    "reject",
    "exclud",
    "eliminat",
    "dismiss",
)
"""Beginnings of words that put something aside, and of what happens to the people and things of a question: "she discarded 12"."""
CHANGES = ("chang", "switch", "updat", "mov", "revis", "shift", "correct")
"""Beginnings of verbs by which "from A to B" leaves A for B; else it is a range."""

_KINDS = {tuple(words.split()): kind for kind, text in _WORDS.items() for words in text.replace("\n", " ").split(", ")}
_KINDS = {key: kind for key, kind in _KINDS.items() if key}
_OTHERS = {key[0] for key, kind in _KINDS.items() if kind is Kind.OTHER}
STARTS = frozenset(key[0] for key in _KINDS if len(key) > 1)
_ENDS = frozenset(key[-1] for key in _KINDS if len(key) > 1)
LONGEST = max(map(len, _KINDS))


def phrase(words: tuple[str, ...]) -> Kind | None:
    """What several words do together, None if they are no phrase."""
    return _KINDS.get(words)


def ends_clause(word: str) -> bool:
    """Whether a word, in small letters, is content, and the end of no phrase that does something."""
    return word not in _ENDS and kind_of(word) is Kind.WORD


def kind_of(word: str) -> Kind:
    """What one word does, in small letters."""
    if word.endswith("n't"):
        return Kind.DENY
    if found := _KINDS.get((word,)):
        return found
    if word.removesuffix("'s") in _OTHERS or (word.startswith(("agent", "peer")) and not word.isalpha()):
        return Kind.OTHER  # agent_1, agent1's, everyone's
    return Kind.WORD
