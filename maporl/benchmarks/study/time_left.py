"""How long the rest of a study takes, from what is over and what is under way: arithmetic on a clock, nothing else.

Work comes in pieces, which are trainings and cells, of kinds within which a message takes as long in one piece as in another. What a
message of a kind takes is seen as soon as one piece of it moves. Of a kind that has not begun it is what was measured before the study
(`maporl.benchmarks.study.pace`), corrected by how far that was off for kinds alike that have; else what it is on average of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Piece", "TimeLeft"]


@dataclass(frozen=True)
class Piece:
    """A training or a cell that is still to be done.

    Attributes:
        kind: Of what takes equally long per message.
        messages: That it samples, at most.
        last: Whether it waits until all pieces that do not are over, as votes do.
    """

    kind: str
    messages: float
    last: bool = False


@dataclass
class _Job:
    """Pieces that are done together, as far as they are.

    Attributes:
        kind, messages, last: As those of `Piece`, in all.
        began: When.
        seen: When it was heard of first and last, and the share of it that was done then.
        ended: When it was over; None while it goes on.
    """

    kind: str
    messages: float
    last: bool
    began: float
    seen: tuple[tuple[float, float], ...] = ()
    ended: float | None = None

    @property
    def pace(self) -> float | None:
        """Seconds that all of it would take at the pace since it was heard of first, without what it took to begin."""
        if len(self.seen) < 2 or self.seen[1][1] <= self.seen[0][1]:
            return None
        (then, before), (now, share) = self.seen
        return (now - then) / (share - before)

    @property
    def seconds(self) -> float | None:
        """That it takes in all, as far as is known; of one that goes on from a checkpoint, that it would have taken from its beginning."""
        pace = self.pace
        if pace is not None:
            starting = self.seen[0][0] - self.began - pace * self.seen[0][1]
            return max(pace + max(starting, 0.0), (self.ended or self.began) - self.began)
        if self.ended is not None:
            return self.ended - self.began
        return (self.seen[0][0] - self.began) / self.seen[0][1] if self.seen else None

    def left(self, now: float, per_message: float) -> float:
        """Seconds until it is over."""
        if self.ended is not None:
            return 0.0
        if not self.seen:
            return max(per_message * self.messages - (now - self.began), 0.0)
        at, share = self.seen[-1]
        whole = self.pace if self.pace is not None else per_message * self.messages
        return max(whole * (1 - share) - (now - at), 0.0)


class TimeLeft:
    """The time left of a study.

    Args:
        clock: Seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._paces: dict[str, float] = {}
        self._pieces: dict[str, Piece] = {}
        self._jobs: dict[tuple[str, ...], _Job] = {}
        self._workers = 1

    def plan(self, pieces: Mapping[str, Piece], workers: int = 1, paces: Mapping[str, float] | None = None) -> None:
        """What is still to be done, by name, how much of it at a time, and seconds of a message by kind as they were measured before."""
        self._pieces, self._workers = dict(pieces), workers
        self._paces |= paces or {}

    def at(self, names: Sequence[str], share: float) -> None:
        """What was planned under `names` is done together, and this share of it is done by now; 0 when it begins."""
        now, job = self._clock(), self._jobs.get(tuple(names))
        if job is None:
            known = [self._pieces[name] for name in names if name in self._pieces]
            if not known:
                return
            job = _Job(known[0].kind, sum(p.messages for p in known), known[0].last, now)
            self._jobs[tuple(names)] = job
        if share > 0:
            job.seen = (*job.seen[:1], (now, share))

    def over(self, name: str) -> None:
        """Something is done, or has failed, and with it what was done together with it."""
        self._pieces.pop(name, None)
        for names, job in self._jobs.items():
            if name in names and job.ended is None:
                job.ended = self._clock()

    @property
    def seconds(self) -> float | None:
        """Until all that is planned is over; None where nothing is known yet, 0 where nothing is left."""
        now, begun = self._clock(), {name for names in self._jobs for name in names}
        parts: list[tuple[bool, float]] = []
        for job in self._jobs.values():
            if job.ended is None:
                if (rate := self.per_message(job.kind)) is None:
                    return None
                parts.append((job.last, job.left(now, rate)))
        for name, piece in self._pieces.items():
            if name not in begun:
                if (rate := self.per_message(piece.kind)) is None:
                    return None
                parts.append((piece.last, rate * piece.messages))
        phases = [[seconds for last, seconds in parts if last is late] for late in (False, True)]
        return sum(max(sum(phase) / self._workers, max(phase)) for phase in phases if phase)

    def per_message(self, kind: str) -> float | None:
        """Seconds of a message of a kind, as far as is known."""
        seen = self._seen()
        if kind in seen:
            return seen[kind]
        alike = {k: seconds for k, seconds in seen.items() if _sort(k) == _sort(kind)}
        if kind in self._paces:
            measured = [k for k in alike if self._paces.get(k)]
            off = sum(alike[k] for k in measured) / sum(self._paces[k] for k in measured) if measured else 1.0
            return self._paces[kind] * off
        known = list((alike or seen).values())
        return sum(known) / len(known) if known else None

    def _seen(self) -> dict[str, float]:
        """Seconds of a message of every kind that has begun; of those that were heard of once only where there are no others."""
        seen: dict[str, float] = {}
        for kind in {job.kind for job in self._jobs.values()}:
            jobs = [job for job in self._jobs.values() if job.kind == kind and job.seconds is not None and job.messages]
            sure = [job for job in jobs if job.ended is not None or job.pace is not None] or jobs
            if sure:
                seen[kind] = sum(job.seconds or 0.0 for job in sure) / sum(job.messages for job in sure)
        return seen


def _sort(kind: str) -> str:
    """Trainings, or evaluations: how far the measurement was off for the ones says nothing of the others."""
    return kind.partition(" ")[0]
