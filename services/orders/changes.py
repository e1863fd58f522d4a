"""Changing an order: what the policy wants approved first, and what a command would do before it is given."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import takewhile

from sqlmodel.ext.asyncio.session import AsyncSession

from domain.approvals.plan import ADDED, Past, Plan, barred_people
from domain.approvals.round import Round, RoundStatus, added_approvals, new_round, past_decisions, round_run
from domain.approvals.subject import Subject
from domain.orders.documents import Message, messages
from domain.orders.dry_run import DryRun, in_effect, tried
from domain.orders.ledger import LineLedger, Share
from domain.orders.order import Order, order_run
from domain.orders.settle import claims
from domain.orders.subject import change_subject, in_words
from domain.quotes import Place, Quote, check_zone
from domain.runs import PARKED, Command, Outcome
from domain.values import Value
from services.approvals.planning import check_resolved, plan_for
from services.context import ServiceContext
from services.runs.commands import CommandRequest
from storage.approvals import policies, rounds
from storage.approvals.policies import StoredPolicy
from storage.customers import fulfilment_facts
from storage.orders import completion, orders
from storage.people import people
from storage.quotes import quotes

JUDGED = ("amend", "cancel", "close_short", "accept_excess")
"""Acts that change what the customer gets or pays: the policy for changes of orders judges each."""


Judged = tuple[StoredPolicy, Subject, Plan]
"""A policy, what it saw, and what it asks."""


class Move(Value):
    """What changes hands of one line of the quote."""

    line: str
    to_orders: Share
    cancelled: Share
    left: Share
    """What can be ordered after it."""


class DryRunReport(Value):
    """What a command would do."""

    outcome: Outcome
    order: Order
    net_total: Decimal
    """Of the order once it is in effect."""
    moves: list[Move]
    approvals: list[str]
    """Whom the policy would ask first."""
    messages: list[Message]
    """What the back office would be asked."""


async def compute_dry_run(
    session: AsyncSession, context: ServiceContext, command: Command, order: Order
) -> DryRunReport:
    """The same rules and the same policy as the real thing."""
    quote, ledger = await _around(session, order)
    payload, asked = command.payload, []
    if command.verb in JUDGED:
        payload = {**payload, "policy": 0}
        found = await _judge_change(session, context, command.evolve(payload=payload), order, quote, ledger)
        if found:
            asked = [f"{a.title}: {a.asked}" for a in found[2].approvals if not a.inform]
            payload |= {"round": "rehearsal"} if asked else {}
    done = tried(order, command.evolve(payload=payload), ledger, quote, context.clock())
    if done.order.slot.trigger.after != order.slot.trigger.after:
        awaited = await completion.predecessors(session, done.order.slot.trigger.after)
        if problem := await completion.waits_in_vain(session, done.order, awaited):
            done = DryRun(problem, order, ledger)
    then = in_effect(order, command.evolve(payload=payload), ledger, quote, context.clock())
    net_total = then.order.net_total if command.verb in JUDGED else done.order.net_total
    before, after = claims(order), claims(done.order)
    moves = [
        Move(
            line=name,
            to_orders=entry.allocated.minus(ledger[name].allocated),
            cancelled=entry.cancelled.minus(ledger[name].cancelled),
            left=entry.unallocated,
        )
        for name, entry in done.ledger.items()
        if before.get(name) != after.get(name)
    ]
    return DryRunReport(
        outcome=done.outcome,
        order=done.order,
        net_total=net_total,
        moves=moves,
        approvals=asked,
        messages=messages(order, done.order),
    )


@dataclass
class Prepared:
    """The round that an amendment waits for: stored once the order has taken the amendment in."""

    run: str = ""
    round: Round | None = None
    plan: Plan | None = None
    subject: Subject | None = None


async def derive_command(
    session: AsyncSession, context: ServiceContext, request: CommandRequest, order: Order, prepared: Prepared
) -> Command:
    """The command of a change, with the round it must wait for where the policy asks for one.

    The policy saw one version of the order, so the command is good for that one alone."""
    asked = request.fields
    if "ship_to" in asked:
        check_zone(Place.model_validate(asked["ship_to"]), "ship_to")
    if "coterm" in asked:
        first = order.starts_on or context.company_day()
        await fulfilment_facts.check_end(
            session, await fulfilment_facts.customer_of(session, order.id), asked["coterm"], first
        )
    seen = {"version": order.version} if request.verb == "amend" else {}
    command = request.command(order_run(order.id), **{**seen, **asked, "policy": 0})
    quote, ledger = await _around(session, order)
    if found := await _judge_change(session, context, command, order, quote, ledger):
        policy, subject, plan = found
        if plan.approvals:
            await prepare_round(session, context, command, order, policy, subject, plan, prepared)
        payload = {**command.payload, "policy": policy.version}
        payload |= {"version": order.version, "round": prepared.run} if prepared.run else {}
        command = command.evolve(payload=payload)
    return command


async def insert_prepared(session: AsyncSession, prepared: Prepared, at: datetime) -> None:
    if prepared.round and prepared.plan and prepared.subject:
        await rounds.prepare_round(session, prepared.run, prepared.round, prepared.plan, prepared.subject, at)


async def _around(session: AsyncSession, order: Order) -> tuple[Quote, dict[str, LineLedger]]:
    stored = await quotes.load(session, order.quote)
    assert stored is not None
    return stored.quote, await orders.ledger(session, order.quote)


async def _judge_change(
    session: AsyncSession,
    context: ServiceContext,
    command: Command,
    order: Order,
    quote: Quote,
    ledger: dict[str, LineLedger],
) -> Judged | None:
    """What the policy for changes of orders asks; None where there is none, or the rules refuse the change anyway.

    A change that must wait for the back office is judged now: it is carried out without being asked again. What is
    taken back before it was approved asks nobody."""
    if command.verb == "cancel" and order.change and order.change.verb == "place":
        return None
    stored = await policies.current(session, "order_change")
    now = context.clock()
    if stored is None:
        return None
    outcome = tried(order, command, ledger, quote, now).outcome
    if not outcome.applied and outcome.code != PARKED:
        return None
    then = in_effect(order, command, ledger, quote, now)
    if not then.outcome.applied:
        return None
    return await judge(session, context, stored, order, then.order, command)


async def judge(
    session: AsyncSession, context: ServiceContext, stored: StoredPolicy, order: Order, changed: Order, command: Command
) -> Judged:
    """What a policy asks of an order that becomes another. Raises Unresolved."""
    rates = (await people.rates(session, context.company_currency)).on(context.company_day())
    owner = await people.load_person(session, order.owner)
    subject = change_subject(order, changed, command.payload, rates, owner.unit if owner else "", context.say)
    past = await _load_added(session, order)
    plan, _ = await plan_for(session, context, stored.policy, subject, command.actor, order.status.value, past)
    check_resolved(plan)
    words = in_words(order, changed)
    approvals = tuple(a.evolve(reasons=(words, *a.reasons)) for a in plan.approvals)
    return stored, subject, plan.evolve(approvals=approvals)


async def _load_added(session: AsyncSession, order: Order) -> Past:
    """Whom somebody added to changes of the order since the last one that was approved: they stay, as on a quote."""
    earlier = await rounds.rounds_of(session, f"order:{order.id}")
    since = list(takewhile(lambda found: found[0].status is not RoundStatus.APPROVED, earlier))
    return Past([d for d in past_decisions(since) if d.rule == ADDED], added_approvals(since))


async def prepare_round(
    session: AsyncSession,
    context: ServiceContext,
    command: Command,
    order: Order,
    stored: StoredPolicy,
    subject: Subject,
    plan: Plan,
    prepared: Prepared,
) -> None:
    """The round of a change; it opens once the order has taken the change in."""
    number, now = len(await rounds.rounds_of(session, f"order:{order.id}")) + 1, context.clock()
    run = round_run("order", order.id, number)
    policy = stored.policy
    prepared.run, prepared.plan, prepared.subject = run, plan, subject
    prepared.round = new_round(
        run,
        plan,
        kind="order_change",
        id=order.quote,
        number=number,
        digest=subject.digest,
        title=subject.title,
        card=subject.card,
        customer=subject.customer,
        submitter=command.actor,
        barred=barred_people(subject, command.actor),
        policy_version=stored.version,
        on_rejection=policy.on_rejection,
        submitted_at=now,
    )
