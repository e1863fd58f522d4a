"""What must be right before a policy is published. Each problem names the place and says what to do."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal

from domain.approvals import operators
from domain.approvals.expression import BadExpression, parse
from domain.approvals.operators import Operator
from domain.approvals.policy import Aggregate, Condition, Filter, Policy, Rule, Variable, Who
from domain.approvals.subject import GIVEN_FIELDS, KNOWN_FIELDS, KNOWN_LINE_FIELDS, FieldType
from domain.errors import problem
from domain.people import Directory
from domain.values import Testable

Problems = Iterator[dict[str, str]]


def problems(policy: Policy, directory: Directory) -> list[dict[str, str]]:
    """Everything that forbids publishing the policy; empty when it may be published."""
    if policy.kind not in KNOWN_FIELDS:
        return [problem("kind", "{kind!r} is not one of {kinds}", kind=policy.kind, kinds=", ".join(KNOWN_FIELDS))]
    return [
        *_repeated("variables", [v.name for v in policy.variables]),
        *_repeated("chains", [c.name for c in policy.chains]),
        *_repeated("rules", [r.name for r in policy.rules]),
        *_variables(policy),
        *_chains(policy),
        *_fields(policy),
        *(p for rule in policy.rules for p in _rule(rule, policy, directory)),
    ]


def _repeated(place: str, names: list[str]) -> Problems:
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield problem(f"{place}.{name}", "is defined more than once")


def cycle(edges: dict[str, tuple[str, ...]]) -> list[str] | None:
    """A way from a name back to itself, or None."""
    done: set[str] = set()

    def walk(name: str, way: list[str]) -> list[str] | None:
        if name in way:
            return [*way[way.index(name) :], name]
        if name in done:
            return None
        for following in edges.get(name, ()):
            if found := walk(following, [*way, name]):
                return found
        done.add(name)
        return None

    return next((found for name in edges if (found := walk(name, []))), None)


def _variables(policy: Policy) -> Problems:
    names = {v.name for v in policy.variables}
    for variable in policy.variables:
        place = f"variables.{variable.name}"
        yield from _variable(variable, place, policy.kind)
        if variable.plus and variable.plus not in names:
            yield problem(f"{place}.plus", "there is no variable {name!r}", name=variable.plus)
    if found := cycle({v.name: (v.plus,) for v in policy.variables if v.plus}):
        yield problem(f"variables.{found[0]}.plus", "goes round in a circle: {way}", way=" → ".join(found))


def _variable(variable: Variable, place: str, kind: str) -> Problems:
    wanted = ("list", "net") if variable.aggregate is Aggregate.DISCOUNT else ("field",)
    for name in ("field", "list", "net"):
        given = getattr(variable, name)
        if name in wanted and given is None and variable.aggregate is not Aggregate.COUNT:
            yield problem(f"{place}.{name}", "is needed for {aggregate}", aggregate=variable.aggregate)
        if name not in wanted and given is not None:
            yield problem(f"{place}.{name}", "does not belong to {aggregate}", aggregate=variable.aggregate)
        known = KNOWN_LINE_FIELDS[kind].get(given or "")
        if known and known is not FieldType.NUMBER and variable.aggregate is not Aggregate.COUNT:
            yield problem(
                f"{place}.{name}",
                "{given} is {known}, and {aggregate} needs numbers",
                given=given,
                known=known,
                aggregate=variable.aggregate,
            )
    for n, kept in enumerate(variable.where):
        yield from _comparison(kept, KNOWN_LINE_FIELDS[kind].get(kept.field), f"{place}.where[{n}]")


def _chains(policy: Policy) -> Problems:
    names = {c.name for c in policy.chains} | {rule.chain_name for rule in policy.rules}
    for chain in policy.chains:
        for before in chain.after:
            if before not in names:
                yield problem(f"chains.{chain.name}.after", "there is no chain {chain!r}", chain=before)
    if found := cycle({c.name: c.after for c in policy.chains}):
        yield problem(
            f"chains.{found[0]}.after", "chains wait for each other in a circle: {way}", way=" → ".join(found)
        )


def _fields(policy: Policy) -> Problems:
    """Neutral fields are the quote's own and looked at by nothing; steered are fields somebody sets."""
    looked_at, given = policy.looked_at, GIVEN_FIELDS.get(policy.kind, frozenset())
    derived = set(KNOWN_FIELDS[policy.kind]) - given
    for name in policy.neutral:
        if name in looked_at:
            yield problem(
                "neutral", "{name!r} is looked at by a rule, so editing it must ask for a new round", name=name
            )
        elif name in derived or name in ("lines", "fields", "custom") or name in policy.identity:
            yield problem("neutral", "{name!r} is part of what is approved, and cannot be left out of it", name=name)
    for name in policy.routing:
        if name in derived:
            yield problem("routing", "{name!r} follows from other figures, so nobody sets it", name=name)


def _rule(rule: Rule, policy: Policy, directory: Directory) -> Problems:
    place = f"rules.{rule.name}"
    if rule.chain and rule.chain not in {c.name for c in policy.chains}:
        yield problem(f"{place}.chain", "there is no chain {chain!r}; add it under chains", chain=rule.chain)
    if rule.effective_from and rule.effective_to and rule.effective_from > rule.effective_to:
        yield problem(f"{place}.effective_to", "is before effective_from")
    yield from _logic(rule, place)
    for condition in rule.conditions:
        yield from _condition(condition, policy, f"{place}.conditions.{condition.index}")
    if rule.ask is None:
        yield problem(
            f"{place}.ask", "a rule needs an approver: a user, a group, a field, a line field or the manager chain"
        )
    for name, who in (("ask", rule.ask), ("fallback", rule.fallback), ("escalate_to", rule.escalate_to)):
        if isinstance(who, Who):
            yield from _who(who, f"{place}.{name}", policy.kind, directory)
    if isinstance(rule.escalate_to, Who) and not (rule.escalate_to.user or rule.escalate_to.group):
        yield problem(f"{place}.escalate_to", "names a user, a group or `manager`")
    if rule.effect == "inform" and any(
        (rule.remind_every_hours, rule.escalate_after_hours, rule.expire_after_hours, rule.consult_hours)
    ):
        yield problem(f"{place}.effect", "inform asks for nothing, so no clock belongs to it")
    if rule.escalate_to != "manager" and rule.escalate_after_hours is None:
        yield problem(f"{place}.escalate_after_hours", "is needed: escalate_to says to whom, not when")


def _logic(rule: Rule, place: str) -> Problems:
    indexes = [c.index for c in rule.conditions]
    for index in sorted({i for i in indexes if indexes.count(i) > 1}):
        yield problem(f"{place}.conditions.{index}", "is numbered twice")
    if rule.logic in ("all", "any"):
        return
    try:
        used = parse(rule.logic).indexes()
    except BadExpression as error:
        yield problem(f"{place}.logic", error.sentence)
        return
    for index in sorted(used - set(indexes)):
        yield problem(f"{place}.logic", "speaks of condition {index}, which the rule does not have", index=index)


def _condition(condition: Condition, policy: Policy, place: str) -> Problems:
    if bool(condition.field) == bool(condition.variable):
        yield problem(place, "tests exactly one of a field or a variable")
        return
    others = [condition.other_field, condition.other_variable]
    if sum(x is not None for x in (*others, condition.value)) > 1:
        yield problem(place, "compares with exactly one of a value, a variable or a field")
    names = {v.name for v in policy.variables}
    for part, name in (("variable", condition.variable), ("other_variable", condition.other_variable)):
        if name and name not in names:
            yield problem(f"{place}.{part}", "there is no variable {name!r}", name=name)
    tested = FieldType.NUMBER if condition.variable else KNOWN_FIELDS[policy.kind].get(condition.field or "")
    if any(others):
        yield from _other(condition, tested, policy.kind, place)
    else:
        yield from _comparison(condition, tested, place)


def _other(condition: Condition, tested: FieldType | None, kind: str, place: str) -> Problems:
    other = FieldType.NUMBER if condition.other_variable else KNOWN_FIELDS[kind].get(condition.other_field or "")
    if condition.operator in operators.UNARY:
        yield problem(f"{place}.operator", "{operator} compares with nothing", operator=condition.operator)
    elif tested and other and tested is not other:
        yield problem(place, "compares {tested} with {other}, which can never agree", tested=tested, other=other)
    elif not _fits(condition.operator, tested):
        yield problem(
            f"{place}.operator", "{operator} does not work on {tested}", operator=condition.operator, tested=tested
        )


def _fits(operator: Operator, tested: FieldType | None) -> bool:
    if tested is None:
        return True
    if operator in operators.ORDERINGS:
        return tested in (FieldType.NUMBER, FieldType.DATE)
    if operator in operators.TEXT_ONLY:
        return tested is FieldType.TEXT
    if operator in operators.CONTAININGS:
        return tested in (FieldType.TEXT, FieldType.TEXTS)
    return True


def _comparison(test: Condition | Filter, tested: FieldType | None, place: str) -> Problems:
    """A test against a written value: the operator suits the field's type, and the value the operator."""
    operator, value = test.operator, test.value
    if operator in operators.UNARY:
        if value is not None:
            yield problem(f"{place}.value", "{operator} compares with nothing; leave the value out", operator=operator)
    elif operator in operators.LISTINGS:
        if not isinstance(value, tuple) or not value:
            yield problem(f"{place}.value", "{operator} needs a list of values", operator=operator)
    elif not _fits(operator, tested):
        yield problem(f"{place}.operator", "{operator} does not work on {tested}", operator=operator, tested=tested)
    elif value is None and operator not in (Operator.EQUALS, Operator.NOT_EQUALS):
        yield problem(f"{place}.value", "{operator} needs a value to compare with", operator=operator)
    elif operator in operators.ORDERINGS and tested is None and not _is(value, FieldType.NUMBER, FieldType.DATE):
        yield problem(f"{place}.value", "{operator} needs a number or a date", operator=operator)
    elif operator in operators.CONTAININGS and not isinstance(value, str | tuple):
        yield problem(f"{place}.value", "{operator} needs a text: quote it", operator=operator)
    elif value is not None and tested and operator not in operators.CONTAININGS and not _is(value, tested):
        yield problem(f"{place}.value", "must be {type}, as the tested one is", type=tested)


def _is(value: Testable, *types: FieldType) -> bool:
    found = {
        FieldType.BOOL: isinstance(value, bool),
        FieldType.NUMBER: isinstance(value, Decimal) and not isinstance(value, bool),
        FieldType.DATE: isinstance(value, date),
        FieldType.TEXT: isinstance(value, str),
        FieldType.TEXTS: isinstance(value, tuple),
    }
    return any(found[t] for t in types)


def _who(who: Who, place: str, kind: str, directory: Directory) -> Problems:
    if len(who.kinds) != 1:
        yield problem(place, "names exactly one of user, group, field, line_field or manager")
        return
    if who.user and directory.active(who.user) is None:
        yield problem(f"{place}.user", "{user!r} is not an active user", user=who.user)
    if who.group:
        group = directory.groups.get(who.group)
        if group is None:
            yield problem(f"{place}.group", "there is no group {group!r}", group=who.group)
        elif not any(directory.active(member) for member in group.members):
            yield problem(f"{place}.group", "group {group!r} has no active member", group=who.group)
        elif isinstance(who.quorum, int) and who.quorum > len(group.members):
            yield problem(
                f"{place}.quorum",
                "{quorum} of a group of {members} can never agree",
                quorum=who.quorum,
                members=len(group.members),
            )
    elif who.quorum != "any":
        yield problem(f"{place}.quorum", "belongs to a group")
    if who.where and not who.group:
        yield problem(f"{place}.where", "narrows a group, and there is none")
    narrowed = KNOWN_FIELDS[kind].get(who.where.unit if who.where else "")
    if narrowed not in (None, FieldType.TEXT):
        yield problem(f"{place}.where.unit", "is {narrowed}, and a unit is text", narrowed=narrowed)
    if KNOWN_LINE_FIELDS[kind].get(who.line_field or "") not in (None, FieldType.TEXT):
        yield problem(
            f"{place}.line_field", "{line_field} holds no user's id, which is text", line_field=who.line_field
        )
    known = KNOWN_FIELDS[kind].get(who.field or who.manager or "")
    if who.manager and known not in (None, FieldType.NUMBER):
        yield problem(
            f"{place}.manager",
            "{manager} is {known}, and an approval limit needs an amount",
            manager=who.manager,
            known=known,
        )
    if who.field and known not in (None, FieldType.TEXT):
        yield problem(f"{place}.field", "{field} is {known}, and a user's id is text", field=who.field, known=known)
