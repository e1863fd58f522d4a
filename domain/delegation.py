"""Standing delegation: who decides for whom, on which days, for which kinds of subject."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field

from domain.values import Id, Instant, Text, Value, Word

MAX_HOPS = 5


class Delegation(Value):
    """`delegate` may decide what waits on `person`, from `first` to `last` inclusive, by the person's calendar."""

    id: Id
    person: Id
    delegate: Id
    first: date
    last: date | None = None
    kinds: tuple[Word, ...] = Field(default=(), max_length=20)
    """Only subjects of these kinds; empty: all."""
    note: Text = ""
    time_zone: Word = "UTC"
    """The person's zone, in which the days are counted."""
    ended_at: Instant | None = None

    def active(self, at: datetime) -> bool:
        day = at.astimezone(zone_of(self.time_zone)).date()
        return self.ended_at is None and self.first <= day and (self.last is None or day <= self.last)

    def covers(self, kind: str) -> bool:
        return not self.kinds or kind in self.kinds

    def overlaps(self, other: "Delegation") -> bool:
        """Whether there is a day and a kind on which both may hold."""
        days = self.first <= (other.last or date.max) and other.first <= (self.last or date.max)
        return days and (not self.kinds or not other.kinds or bool(set(self.kinds) & set(other.kinds)))


def zone_of(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")


def acts_for(delegate: str, delegations: Iterable[Delegation], at: datetime, kind: str) -> list[str]:
    """Whom a person may decide for now, nearest first, through further delegations, at most five hops away."""
    active = [d for d in delegations if d.active(at) and d.covers(kind)]
    return _walk(delegate, {d: [x.person for x in active if x.delegate == d] for d in {x.delegate for x in active}})


Principals = Mapping[str, Sequence[str]]
"""For each kind of subject whom somebody decides for, nearest first."""


def principals_of(
    delegate: str, delegations: Iterable[Delegation], at: datetime, kinds: Iterable[str]
) -> dict[str, list[str]]:
    """Whom a person may decide for now: a delegation may cover some kinds of subjects only."""
    standing = list(delegations)
    return {kind: acts_for(delegate, standing, at, kind) for kind in kinds}


def delegates_of(person: str, delegations: Iterable[Delegation], at: datetime, kind: str) -> list[str]:
    """Who may decide for a person now, nearest first."""
    active = [d for d in delegations if d.active(at) and d.covers(kind)]
    return _walk(person, {p: [x.delegate for x in active if x.person == p] for p in {x.person for x in active}})


def _walk(start: str, edges: dict[str, list[str]]) -> list[str]:
    found: dict[str, None] = {}
    reached = [start]
    for _ in range(MAX_HOPS):
        reached = [n for at in reached for n in edges.get(at, ()) if n != start and n not in found]
        found.update(dict.fromkeys(reached))
    return list(found)


def circle(new: Delegation, others: Iterable[Delegation]) -> list[str] | None:
    """A way by which a delegation comes back to the person who gives it; None when there is none."""
    edges: dict[str, list[str]] = {}
    for other in others:
        if other.ended_at is None and other.overlaps(new):
            edges.setdefault(other.person, []).append(other.delegate)
    ways = [[new.person, new.delegate]]
    seen = {new.delegate}
    while ways:
        way = ways.pop()
        if way[-1] == new.person:
            return way
        following = [d for d in edges.get(way[-1], ()) if d == new.person or d not in seen]
        seen.update(following)
        ways += [[*way, d] for d in following]
    return None
