"""Small makers of the values tests speak of, and a stand-in engine for tests that need none."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from activities.contracts import Split
from domain.approvals.acts import apply
from domain.approvals.plan import Plan, barred_people, plan
from domain.approvals.policy import Chain, Condition, Policy, Rule, Who
from domain.approvals.round import Approval, Round, new_round
from domain.approvals.subject import Subject, quote_subject
from domain.people import Directory, Group, Person, Role
from domain.quotes import Quote
from domain.runs import Command, Head, Outcome, Proposal, advance
from services.runs import MACHINES
from storage.record import Recorder, written

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


class Clock:
    """A clock that tests move."""

    def __init__(self, at: datetime = NOW) -> None:
        self.at = at

    def __call__(self) -> datetime:
        return self.at

    def forward(self, **how_far: float) -> None:
        self.at += timedelta(**how_far)


class InlineEngine:
    """Stands in for the engine: applies a command with the machine and records it, all at once."""

    def __init__(self, recorder: Recorder, clock: Clock) -> None:
        self._recorder = recorder
        self._clock = clock
        self.down = False
        self.begun: list[str] = []

    async def begin(self, head: Head) -> None:
        if self.down:
            raise OSError("no engine")
        self.begun.append(head.run)

    async def send(self, command: Command, head: Head) -> None:
        if self.down:
            raise OSError("no engine")
        machine, asked = MACHINES[head.kind], False
        while True:
            state = machine.state.model_validate(head.state)
            inbox = [] if asked else [(command.key, command)]
            after, acts, otherwise = advance(machine, state, inbox, self._clock())
            proposal = Proposal(
                run=head.run, kind=head.kind, base=state.seq, acts=acts, after=after.stored(),
                otherwise=otherwise.stored() if otherwise else None,
            )  # fmt: skip
            head = await self._recorder.record(proposal)
            asked = asked or command.key in head.settled
            if asked and not machine.state.model_validate(head.state).ready:
                return

    async def split(self, split: Split) -> None:
        for id in split.orders:
            async with self._recorder._database.reading() as session:
                found = await written(session, f"order:{id}:open")
            assert found is not None
            await self.send(*found)

    async def wake(self, head: Head) -> None:
        return None

    async def replace(self, id: str) -> None:
        if self.down:
            raise OSError("no engine")
