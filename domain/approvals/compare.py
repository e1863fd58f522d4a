"""Two policies beside each other: what differs, in words, and what the difference does to records."""

from collections.abc import Iterable, Iterator
from typing import Any

from domain.approvals import operators
from domain.approvals.evaluation import evaluate
from domain.approvals.policy import Condition, Policy, Rule
from domain.approvals.subject import Subject
from domain.approvals.words import shown
from domain.values import Value


def differences(old: Policy, new: Policy) -> list[str]:
    """What changed from one version to the next, a sentence each."""
    return [
        *_listed("variable", {v.name: v for v in old.variables}, {v.name: v for v in new.variables}),
        *_listed("chain", {c.name: c for c in old.chains}, {c.name: c for c in new.chains}),
        *_rules({r.name: r for r in old.rules}, {r.name: r for r in new.rules}),
    ]


def _listed(what: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    for name in dict.fromkeys((*old, *new)):
        if name not in old:
            yield f"{what} {name} is new"
        elif name not in new:
            yield f"{what} {name} is gone"
        elif old[name] != new[name]:
            yield f"{what} {name}: {_changes(old[name], new[name])}"


def _rules(old: dict[str, Rule], new: dict[str, Rule]) -> Iterator[str]:
    for name in dict.fromkeys((*old, *new)):
        if name not in old:
            yield f"rule {name} is new: asks {_asks(new[name])} when {when_in_words(new[name])}"
        elif name not in new:
            yield f"rule {name} is gone: it asked {_asks(old[name])} when {when_in_words(old[name])}"
        elif old[name] != new[name]:
            if (was := when_in_words(old[name])) != (now := when_in_words(new[name])):
                yield f"rule {name} fires when {now}, and no longer when {was}"
            if _asks(old[name]) != _asks(new[name]):
                yield f"rule {name} asks {_asks(new[name])} instead of {_asks(old[name])}"
            if rest := _changes(old[name], new[name], ("conditions", "logic", "ask", "excludes", "requires")):
                yield f"rule {name}: {rest}"


def _changes(old: Value, new: Value, without: tuple[str, ...] = ()) -> str:
    was, now = old.model_dump(), new.model_dump()
    changed = [name for name in now if was[name] != now[name] and name not in without]
    return ", ".join(f"{name.replace('_', ' ')} {_plain(was[name])} → {_plain(now[name])}" for name in changed)


def _plain(value: Any) -> str:
    return "nothing" if value is None or value == () else str(value) if isinstance(value, dict) else shown(value)


def _asks(rule: Rule) -> str:
    return rule.ask.label if rule.ask else "nobody"


def when_in_words(rule: Rule) -> str:
    """`discount_percent > 20 and term_months > 12`, or `always`."""
    tests = {condition.index: in_words(condition) for condition in rule.conditions}
    fits = [f"{rule.excludes[0]} is with {rule.excludes[1]}"] if rule.excludes else []
    fits += [f"{rule.requires[0]} is without {rule.requires[1]}"] if rule.requires else []
    if not tests:
        return " and ".join(fits) or "always"
    if rule.logic in ("all", "any"):
        joined = (" and " if rule.logic == "all" else " or ").join(tests.values())
        return " and ".join((*fits, joined))
    return (
        " and ".join((*fits, "")) + f"{rule.logic} of " + ", ".join(f"{index}: {test}" for index, test in tests.items())
    )


def in_words(condition: Condition) -> str:
    """`discount_percent > 20`."""
    unary = condition.operator in operators.UNARY
    other = condition.other_field or condition.other_variable or shown(condition.value)
    return f"{condition.tested_name} {operators.sign(condition.operator)} {'' if unary else other}".rstrip()


class Effect(Value):
    """What one policy asks of a record that the other does not."""

    record: str
    title: str
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()


class Backtest(Value):
    """What a policy would have done: totals over all records, and how often each approver would be asked."""

    records: int = 0
    changed: int = 0
    added: int = 0
    removed: int = 0
    load: dict[str, int] = {}
    load_before: dict[str, int] = {}

    def plus(self, effect: Effect) -> "Backtest":
        load, before = dict(self.load), dict(self.load_before)
        for needed, counts in (((*effect.added, *effect.kept), load), ((*effect.removed, *effect.kept), before)):
            for approval in needed:
                who = approval.partition(": ")[2]
                counts[who] = counts.get(who, 0) + 1
        return Backtest(
            records=self.records + 1,
            changed=self.changed + bool(effect.added or effect.removed),
            added=self.added + len(effect.added),
            removed=self.removed + len(effect.removed),
            load=load,
            load_before=before,
        )


def effect(old: Policy | None, new: Policy, subject: Subject, status: str, today: Any) -> Effect:
    """The approvals, as `rule: approver`, that the new policy adds to and removes from what the old one asks."""
    was = set(_needs(old, subject, status, today)) if old else set()
    now = set(_needs(new, subject, status, today))
    return Effect(
        record=subject.id,
        title=subject.title,
        added=tuple(sorted(now - was)),
        removed=tuple(sorted(was - now)),
        kept=tuple(sorted(now & was)),
    )


def _needs(policy: Policy, subject: Subject, status: str, today: Any) -> Iterable[str]:
    for judged in evaluate(policy, subject, status, today):
        if judged.fired:
            yield f"{judged.rule.heading}: {_asks(judged.rule)}"
