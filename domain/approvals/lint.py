"""What is allowed in a policy and yet deserves a second look. Each finding names the place and says why."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal

from domain.approvals.expression import BadExpression, parse
from domain.approvals.operators import ORDERINGS, Operator
from domain.approvals.policy import Condition, Policy, Rule, Variable
from domain.approvals.smart import holds_by
from domain.approvals.subject import KNOWN_FIELDS, KNOWN_LINE_FIELDS
from domain.errors import problem
from domain.people import Directory
from domain.sentences import Sentence

Findings = Iterator[dict[str, str]]
O = Operator  # noqa: E741 - as in operators


def warnings(policy: Policy, directory: Directory, today: date) -> list[dict[str, str]]:
    """Everything suspicious; a policy with warnings may be published."""
    return [
        *_unused(policy),
        *_chains(policy),
        *(found for rule in policy.rules for found in _rule(rule, policy, directory, today)),
    ]


def _unused(policy: Policy) -> Findings:
    tested = [name for r in policy.rules for c in r.conditions for name in (c.variable, c.other_variable) if name]
    used = {*tested, *(v.plus for v in policy.variables if v.plus)}
    for variable in policy.variables:
        if variable.name not in used:
            yield problem(f"variables.{variable.name}", "is not used by any rule")
        yield from _unknown_columns(variable, policy.kind)


def _unknown_columns(variable: Variable, kind: str) -> Findings:
    known = KNOWN_LINE_FIELDS.get(kind, {})
    for name in (variable.field, variable.list, variable.net, *(kept.field for kept in variable.where)):
        if name and name not in known:
            yield problem(
                f"variables.{variable.name}", "{name!r} is no line field we know; it is blank where absent", name=name
            )


def _chains(policy: Policy) -> Findings:
    used = {rule.chain_name for rule in policy.rules if rule.active}
    for chain in policy.chains:
        if chain.name not in used:
            yield problem(f"chains.{chain.name}", "has no active rule, so it is never reached")
        for before in chain.after:
            if before not in used:
                yield problem(
                    f"chains.{chain.name}.after", "waits for {chain!r}, which has no active rule", chain=before
                )


def _rule(rule: Rule, policy: Policy, directory: Directory, today: date) -> Findings:
    place = f"rules.{rule.name}"
    if not rule.active:
        yield problem(f"{place}.active", "is inactive: the rule never fires")
    if not rule.conditions and rule.excludes is None and rule.requires is None:
        yield problem(f"{place}.conditions", "has no conditions, so the rule always fires")
    if rule.effective_to and rule.effective_to < today:
        yield problem(f"{place}.effective_to", "has passed: the rule never fires again")
    yield from _stale(rule, place)
    yield from _smart(rule, place)
    if why := contradiction(rule):
        yield problem(f"{place}.conditions", "can never hold together: {why}", why=why)
    known = KNOWN_FIELDS.get(policy.kind, {})
    for name in dict.fromkeys(n for c in rule.conditions for n in (c.field, c.other_field) if n):
        if name not in known:
            yield problem(
                f"{place}.conditions", "{name!r} is no field we know; it is blank where a record lacks it", name=name
            )
    yield from _approvers(rule, place, directory)


def _stale(rule: Rule, place: str) -> Findings:
    if rule.logic in ("all", "any"):
        return
    try:
        used = parse(rule.logic).indexes()
    except BadExpression:
        return
    for condition in rule.conditions:
        if condition.index not in used:
            yield problem(
                f"{place}.logic",
                "does not speak of condition {index}, which then decides nothing",
                index=condition.index,
            )


def _smart(rule: Rule, place: str) -> Findings:
    """Mixes of smart and plain conditions of which one expects that they carry, and they do not."""
    try:
        ways = rule.polarities
    except BadExpression:
        return
    used = [condition for condition in rule.conditions if condition.index in ways]
    smart = [condition for condition in used if condition.smart]
    if not smart:
        return
    for condition in smart:
        if len(ways[condition.index]) == 2:
            what = "stands both plain and under NOT, so no change of it is for the better: it is treated as not smart"
            yield problem(f"{place}.conditions.{condition.index}", what)
        elif condition.operator not in ORDERINGS:
            what = Sentence(
                "is smart, and {operator} knows no better value: every change asks again", operator=condition.operator
            )
            yield problem(f"{place}.conditions.{condition.index}", what)
    for condition in used:
        if not condition.smart and rule.smart_mode == "worse" and condition.operator in ORDERINGS:
            what = "is not smart beside one that is: any change of it, also for the better, asks again"
            yield problem(f"{place}.conditions.{condition.index}", what)
    plain = {condition.index: not condition.smart for condition in used}
    if rule.smart_mode == "literal" and len(smart) < len(used) and holds_by(rule.logic, plain):
        what = "its plain conditions alone make it fire, so in literal mode no approval carries while they hold"
        yield problem(f"{place}.smart_mode", what)


def _approvers(rule: Rule, place: str, directory: Directory) -> Findings:
    for name, who in (("ask", rule.ask), ("fallback", rule.fallback)):
        if who is None:
            continue
        group = directory.groups.get(who.group or "")
        for member in group.members if group else ():
            if directory.active(member) is None:
                yield problem(
                    f"{place}.{name}.group",
                    "{member!r} of group {group!r} is unknown or has left",
                    member=member,
                    group=who.group,
                )
        if group and len(group.members) == 1 and who.quorum == "all":
            yield problem(f"{place}.{name}.quorum", "asks all of group {group!r}, which is one person", group=who.group)
    person = rule.ask and directory.active(rule.ask.user)
    if person and rule.fallback is None and person.manager is None:
        yield problem(
            f"{place}.fallback",
            "{person!r} has no manager: what they submit themselves would find nobody",
            person=person.id,
        )
    if rule.ask and rule.fallback is None and (rule.ask.manager or rule.ask.field):
        yield problem(f"{place}.fallback", "is missing: where nobody is found, the submission is refused")


def contradiction(rule: Rule) -> str | None:
    """Why an `all` rule can never fire: bounds on one figure that leave no room. None where there is room."""
    if rule.logic != "all":
        return None
    tested: dict[str, list[Condition]] = {}
    for condition in rule.conditions:
        if isinstance(condition.value, Decimal) and not isinstance(condition.value, bool):
            tested.setdefault(condition.tested_name, []).append(condition)
    for name, conditions in tested.items():
        floors = [
            (c.value, c.operator is O.GREATER_THAN)
            for c in conditions
            if c.operator in (O.GREATER_THAN, O.GREATER_OR_EQUALS, O.EQUALS)
        ]
        ceilings = [
            (c.value, c.operator is O.LESS_THAN)
            for c in conditions
            if c.operator in (O.LESS_THAN, O.LESS_OR_EQUALS, O.EQUALS)
        ]
        for low, open_low in floors:
            for high, open_high in ceilings:
                if low > high or (low == high and (open_low or open_high)):  # type: ignore[operator]
                    above, below = ">" if open_low else "≥", "<" if open_high else "≤"
                    return f"{name} {above} {low}, {name} {below} {high}"
    return None
