"""The audit chain: an HMAC binds each entry of a subject to the one before it; the database never holds its key."""

import hashlib
import hmac
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from domain.values import Instant, Value, canonical, digest

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
    """Of the content that an approval binds to."""
    state: str = ""
    """The digest of the record as it stands after this: a run's state, a quote, a person, a group, a policy."""
    policy_version: int | None = None
    facts: dict[str, Any] = {}


def seal(key: bytes, previous: str, entry: Entry) -> str:
    """The entry's MAC, over the previous one's and everything the entry says."""
    return hmac.new(key, f"{previous}\n{canonical(entry.model_dump(mode='json'))}".encode(), hashlib.sha256).hexdigest()


def digest_of(record: Value | Mapping[str, Any]) -> str:
    """What an entry says of the record that it leaves behind. Defaults are left out, so that a new field changes
    nothing."""
    return digest(record.model_dump(exclude_defaults=True) if isinstance(record, Value) else record)


class Flaw(Value):
    """A place where the chain does not hold."""

    subject: str
    seq: int
    what: str


class ChainCheck:
    """Walks entries in order of (subject, seq); keeps only what the next entry must follow, however long the log is."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._subject: str | None = None
        self._seq, self._mac = 0, FIRST

    def find_flaw(self, entry: Entry, mac: str) -> Flaw | None:
        """An edit, gap or swap at this entry, if there is one."""
        if entry.subject != self._subject:
            self._subject, self._seq, self._mac = entry.subject, 0, FIRST
        expected, previous = self._seq + 1, self._mac
        self._seq, self._mac = entry.seq, mac
        if entry.seq != expected:
            return Flaw(subject=entry.subject, seq=entry.seq, what=f"entry {expected} is missing")
        if hmac.compare_digest(seal(self._key, previous, entry), mac):
            return None
        return Flaw(subject=entry.subject, seq=entry.seq, what="changed after it was written, or out of place")


def flaws(key: bytes, entries: Iterable[tuple[Entry, str]]) -> Iterator[Flaw]:
    """Every edit, gap and swap in these entries."""
    check = ChainCheck(key)
    return (flaw for entry, mac in entries if (flaw := check.find_flaw(entry, mac)))


class HeadMark(Value):
    """The last entry of a subject, exported so that a cut tail is noticed."""

    subject: str
    seq: int
    mac: str
