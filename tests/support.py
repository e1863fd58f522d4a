"""Small makers of the values tests speak of, and a stand-in engine for tests that need none."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from domain.approvals.acts import apply
from domain.approvals.plan import Plan, barred_people, plan
from domain.approvals.policy import Chain, Condition, Policy, Rule, Who
from domain.approvals.round import Approval, Round, new_round
from domain.approvals.subject import Subject, quote_subject
from domain.people import Directory, Group, Person, Role
from domain.quotes import Quote
from domain.runs import Command, Outcome
from domain.runs.contracts import Split
from services.runs.engine import ExecutionCondition
from storage.runs.runs import RunSnapshot

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
TODAY = NOW.date()
RUN = "quote:Q-1:approval:1"
EUR = {"EUR": Decimal(1)}


def a_line(id: str = "1", **fields: Any) -> dict[str, Any]:
    return {"id": id, "product": "P-1", "quantity": "1", "list_price": "100", **fields}


def a_quote(
    id: str = "Q-1", owner: str = "rita", lines: Iterable[dict[str, Any]] | None = None, **fields: Any
) -> Quote:
    """A quote of one line of 100 EUR, unless told otherwise; `discount` is given to that line."""
    discount = fields.pop("discount", "0")
    made = list(lines) if lines is not None else [a_line(discount_percent=discount)]
    data = {
        "id": id,
        "customer": {"id": "C-1", "name": "Acme"},
        "currency": "EUR",
        "owner": owner,
        "lines": made,
        **fields,
    }
    return Quote.model_validate(data)


def a_subject(quote: Quote | None = None, editors: tuple[str, ...] = (), **fields: Any) -> Subject:
    return quote_subject(quote or a_quote(**fields), 1, EUR, editors)


def people(*approvers: str, **managers: tuple[str | None, str | None]) -> Directory:
    """Approvers by name; `name=(manager, limit)` for those with either."""
    found = {a: Person(id=a, name=a.capitalize(), roles=(Role.APPROVER,)) for a in approvers}
    for name, (manager, limit) in managers.items():
        found[name] = Person(
            id=name, name=name.capitalize(), roles=(Role.APPROVER,), manager=manager,
            approval_limit=Decimal(limit) if limit is not None else None,
        )  # fmt: skip
    return Directory(people=found)


def with_group(directory: Directory, id: str, *members: str) -> Directory:
    groups = {**directory.groups, id: Group(id=id, name=id, members=members)}
    return directory.model_copy(update={"groups": groups})


def a_rule(name: str = "r", ask: str | Who = "ana", *conditions: Condition, **fields: Any) -> Rule:
    return Rule(name=name, ask=Who(user=ask) if isinstance(ask, str) else ask, conditions=conditions, **fields)


def a_policy(*rules: Rule, chains: Iterable[Chain] = (), **fields: Any) -> Policy:
    """The rules, with every chain they name."""
    known = {c.name: c for c in chains}
    named = {r.chain: Chain(name=r.chain) for r in rules if r.chain and r.chain not in known}
    return Policy(kind="quote", rules=rules, chains=(*known.values(), *named.values()), **fields)


def planned(policy: Policy, directory: Directory, submitter: str = "rita", subject: Subject | None = None,
            today: date = TODAY, status: str = "draft") -> Plan:  # fmt: skip
    return plan(policy, subject or a_subject(), directory, submitter, status, today)[0]


def a_round(policy: Policy, directory: Directory, submitter: str = "rita", opened: bool = True) -> Round:
    """A round of the policy on a plain quote, opened unless told otherwise."""
    subject = a_subject()
    made = new_round(
        RUN, planned(policy, directory, submitter, subject), kind="quote", id="Q-1", number=1, digest=subject.digest,
        title=subject.title, customer=subject.customer, submitter=submitter,
        barred=barred_people(subject, submitter), policy_version=1, on_rejection=policy.on_rejection,
        valid_for_days=policy.valid_for_days,
    )  # fmt: skip
    return apply(made, act("open", submitter), NOW)[0] if opened else made


def act(verb: str, actor: str, id: str = "c-1", **payload: Any) -> Command:
    return Command(id=id, run=RUN, actor=actor, verb=verb, payload=payload)


def tell(round: Round, verb: str, actor: str, approval: Approval | str | None = None, at: datetime = NOW,
         **payload: Any) -> tuple[Round, Outcome]:  # fmt: skip
    """What one person's act does to a round; `approval` by its rule's name, or none."""
    if isinstance(approval, str):
        approval = next(a for a in round.approvals if a.rule == approval)
    named = {"approval": approval.id} if approval else {}
    return apply(round, act(verb, actor, **named, **payload), at)


def states(round: Round) -> dict[str, str]:
    return {a.rule: a.status.value for a in round.approvals}


GROWING_ALONE = """
kind: order_change
rules:
- name: grows
  title: Deal desk
  step: 10
  conditions: [{index: 1, field: net_change_percent, operator: greater_than, value: 10}]
  ask: {group: deal-desk}
"""
"""A policy under which orders may become smaller, and be cancelled, without asking anybody."""


class Clock:
    """A clock that tests move."""

    def __init__(self, at: datetime = NOW) -> None:
        self.at = at

    def __call__(self) -> datetime:
        return self.at

    def forward(self, **how_far: float) -> None:
        self.at += timedelta(**how_far)


class SilentEngine:
    """Stands in for Temporal: notes what it is told, and does nothing."""

    def __init__(self) -> None:
        self.down = False
        self.signals: list[tuple[str, str]] = []
        self.terminated: list[str] = []
        self.conditions: dict[str, ExecutionCondition] = {}

    def _told(self) -> None:
        if self.down:
            raise OSError("no Temporal")

    async def start_sweep(self) -> None:
        pass

    async def signal(self, run: RunSnapshot, command: Command | None) -> None:
        self._told()
        self.signals.append((run.id, command.verb if command else "wake"))

    async def split(self, split: Split) -> None:
        self._told()
        self.signals.append((split.quote, "split"))

    async def replace(self, id: str) -> None:
        self._told()
        self.signals.append((id, "replace"))

    async def condition(self, run: RunSnapshot) -> ExecutionCondition:
        self._told()
        return self.conditions.get(run.id, "follows")

    async def terminate(self, run: str, reason: str) -> None:
        self.terminated.append(run)
