"""A quorum is distinct humans: whoever stands in for a colleague votes once, however many seats they could vote for."""

from collections.abc import Collection, Mapping


def most_votes(voters: Mapping[str, Collection[str]]) -> int:
    """How many seats can be voted for when each human votes once.

    `voters` are, for each seat, the humans who can vote for it. This is the largest matching of seats to humans."""
    votes_for: dict[str, str] = {}

    def place(seat: str, tried: set[str]) -> bool:
        for human in sorted(voters[seat]):
            if human in tried:
                continue
            tried.add(human)
            if human not in votes_for or place(votes_for[human], tried):
                votes_for[human] = seat
                return True
        return False

    return sum(place(seat, set()) for seat in voters)
