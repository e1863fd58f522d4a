"""Whether enough people are there to give an approval."""

from collections.abc import Collection

from domain.approvals.matching import most_votes
from domain.approvals.round import Approval, Vote
from domain.people import Directory


def missing_votes(approval: Approval, directory: Directory, kind: str, barred: Collection[str]) -> int:
    """How many votes a requested approval needs beyond those that the people who are there can give."""
    given = [seat for seat in approval.seats if seat.vote is Vote.APPROVED]
    voted = set(approval.voters)
    voters = {holder: set(directory.present(holder, kind, barred)) - voted for holder in approval.holders}
    return max(0, approval.needed - len(given) - most_votes(voters))
