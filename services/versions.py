"""Optimistic versions: a change is stored only over what its author saw."""

from domain.errors import Stale, VersionRequired


def next_version(known: int | None, expected: int | None) -> int:
    """The version to store, if what the caller saw is what is stored."""
    if known is None:
        if expected is not None:
            raise Stale("This does not exist; leave If-Match out to create it.", version=0)
        return 1
    if expected is None:
        raise VersionRequired("This exists: send its version in If-Match.", version=known)
    if expected != known:
        raise Stale("Somebody changed this since you read it. Read it again.", version=known)
    return known + 1
