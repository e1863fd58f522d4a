"""Who is asked too when holders let the time pass."""

from collections.abc import Collection, Sequence

from domain.approvals.policy import Rule
from domain.people import Directory

MANAGER = "manager"


def escalation_of(rule: Rule) -> str:
    """How an approval of the rule escalates: `manager`, `user:x`, `group:x`, or nothing."""
    if rule.escalate_after_hours is None:
        return ""
    to = rule.escalate_to
    if isinstance(to, str):
        return to
    return f"group:{to.group}" if to.group else f"user:{to.user}"


def escalation_targets(
    escalation: str, holders: Sequence[str], directory: Directory, excluded: Collection[str]
) -> tuple[str, ...]:
    """The people asked too, as things stand today; empty where nobody is left.

    The manager is that of the present holder: of several holders the first whose chain has somebody to ask.
    `excluded` are those who hold it already, voted already or may not decide it."""
    kind, _, name = escalation.partition(":")
    if kind == MANAGER:
        chains = [[manager.id for manager in directory.managers(holder)] for holder in holders]
        fit = ([m for m in chain if directory.can_approve(m, excluded)] for chain in chains)
        return next((tuple(chain[:1]) for chain in fit if chain), ())
    group = directory.groups.get(name) if kind == "group" else None
    names = group.members if group else (name,) if kind == "user" else ()
    return tuple(person for person in names if directory.can_approve(person, excluded))
