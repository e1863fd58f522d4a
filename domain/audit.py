"""The audit chain: an HMAC binds each entry of a subject to the one before it; the database never holds its key."""

import hashlib
import hmac
from collections.abc import Iterable, Iterator
from typing import Any

from domain.values import Instant, Value, canonical

FIRST = "0" * 64


class Entry(Value):
    """One event on a subject. `seq` counts from 1 within the subject, without a gap."""

    subject: str
    seq: int
    at: Instant
    actor: str
    on_behalf_of: str | None = None
    verb: str
    channel: str
    applied: bool
    code: str
    verified: bool = True
    command: str | None = None
    run: str | None = None
    run_seq: int | None = None
    digest: str = ""
    policy_version: int | None = None
    facts: dict[str, Any] = {}


def seal(key: bytes, previous: str, entry: Entry) -> str:
    """The entry's MAC, over the previous one's and everything the entry says."""
    return hmac.new(key, f"{previous}\n{canonical(entry.model_dump(mode='json'))}".encode(), hashlib.sha256).hexdigest()


class Flaw(Value):
    """A place where the chain does not hold."""

    subject: str
    seq: int
    what: str


def flaws(key: bytes, entries: Iterable[tuple[Entry, str]]) -> Iterator[Flaw]:
    """Walk entries in order of (subject, seq) with their stored MACs; yield each edit, gap and swap."""
    subject, seq, previous = None, 0, FIRST
    for entry, mac in entries:
        if entry.subject != subject:
            subject, seq, previous = entry.subject, 0, FIRST
        if entry.seq != seq + 1:
            yield Flaw(subject=entry.subject, seq=entry.seq, what=f"entry {seq + 1} is missing")
        elif not hmac.compare_digest(seal(key, previous, entry), mac):
            yield Flaw(subject=entry.subject, seq=entry.seq, what="changed after it was written, or out of place")
        seq, previous = entry.seq, mac


class HeadMark(Value):
    """The last entry of a subject, exported so that a cut tail is noticed."""

    subject: str
    seq: int
    mac: str
