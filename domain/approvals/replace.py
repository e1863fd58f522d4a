"""Replacing a person in what names them."""

from domain.approvals.policy import Policy, Who
from domain.people import Group


def in_policy(policy: Policy, old: str, new: str) -> Policy:
    """The policy with every rule that asked `old` by name asking `new`."""

    def other(who: object) -> object:
        return who.evolve(user=new) if isinstance(who, Who) and who.user == old else who

    rules = tuple(
        rule.evolve(**{name: other(getattr(rule, name)) for name in ("ask", "fallback", "escalate_to")})
        for rule in policy.rules
    )
    return policy.with_rules(rules)


def in_group(group: Group, old: str, new: str) -> Group:
    """The group with `new` in `old`'s place; who is a member already is not one twice."""
    members = tuple(dict.fromkeys(new if member == old else member for member in group.members))
    return group.evolve(members=members)
