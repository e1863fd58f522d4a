"""What a quote's policy asks of it: the plan for a draft, with everything that it was worked out from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from sqlmodel.ext.asyncio.session import AsyncSession

from domain.approvals.evaluation import Judgement
from domain.approvals.plan import NO_PAST, Past, Plan, plan
from domain.approvals.policy import Policy
from domain.approvals.round import added_approvals, past_decisions
from domain.approvals.smart import PriorApproval
from domain.approvals.subject import Subject, quote_subject, testable
from domain.errors import NotFound, Unresolved
from domain.quotes import Quote, QuoteStatus
from domain.sentences import Sentence
from services.context import ServiceContext
from storage.approvals import delegations, policies, rounds
from storage.approvals.policies import StoredPolicy
from storage.people import people, replacements


@dataclass(frozen=True)
class Drafted:
    """A quote as it would be submitted: who edited it since its last round, and that round's number."""

    quote: Quote
    editors: tuple[str, ...] = ()
    status: QuoteStatus = QuoteStatus.DRAFT
    round: int = 0


@dataclass(frozen=True)
class Planned:
    policy: StoredPolicy
    subject: Subject
    plan: Plan
    judgements: list[Judgement]
    as_subject: Callable[[Quote], Subject]
    """How the policy would see another version of the quote."""


async def planned(session: AsyncSession, context: ServiceContext, drafted: Drafted, submitter: str) -> Planned:
    """The approvals the quote needs when `submitter` submits it now. Raises NotFound where no policy is published."""
    stored = await policies.current(session, "quote")
    if stored is None:
        raise NotFound("No approval policy for quotes is published yet. An approvals admin must publish one.")
    policy, quote = stored.policy, drafted.quote
    rates = (await people.rates(session, context.company_currency)).on(context.company_day())
    owner = await people.load_person(session, quote.owner)

    def as_subject(other: Quote, rates: Mapping[str, Decimal] = rates) -> Subject:
        return quote_subject(other, 0, rates, drafted.editors, owner.unit if owner else "", policy.neutral, context.say)

    def at_rate(rate: Decimal) -> Subject:
        return as_subject(quote, {quote.currency: rate})

    subject = as_subject(quote)
    earlier = await rounds.rounds_of(session, f"quote:{quote.id}") if drafted.round else []
    past = Past(past_decisions(earlier), added_approvals(earlier), at_rate)
    found, judgements = await plan_for(session, context, policy, subject, submitter, drafted.status.value, past)
    return Planned(stored, subject, found, judgements, as_subject)


async def plan_for(
    session: AsyncSession,
    context: ServiceContext,
    policy: Policy,
    subject: Subject,
    submitter: str,
    status: str,
    past: Past = NO_PAST,
) -> tuple[Plan, list[Judgement]]:
    """The plan of any subject, with everybody whom its policy may ask looked up, and who stands in for them."""
    now = context.clock()
    named = [who for _, who in policy.people_named()]
    asked = {str(subject.fields.get(who.field)) for who in named if who.field} | {submitter}
    asked |= {who.user for who in named if who.user}
    asked |= {str(testable(line.get(name))) for name in policy.routing_line_fields for line in subject.lines}
    added_people = {person for added in past.added for person in added.people}
    past = replace(past, replaced=await replacements.followers(session, added_people))
    asked |= added_people | set(past.replaced.values())
    groups = {who.group for who in named if who.group} | {added.group for added in past.added if added.group}
    standing = [d for d in await delegations.standing(session, now) if d.active(now) and d.covers(subject.kind)]
    asked |= {delegation.delegate for delegation in standing}
    asked |= {who for given in past.decisions if isinstance(given, PriorApproval) for who in (*given.by, *given.seats)}
    directory = await people.directory(session, asked, groups)
    directory = directory.evolve(delegations=tuple(standing), at=now)
    return plan(policy, subject, directory, submitter, status, context.company_day(), past)


def check_resolved(plan: Plan) -> None:
    """Raises Unresolved where a rule finds nobody to ask."""
    if plan.unresolved:
        first = plan.unresolved[0]
        raise Unresolved(
            Sentence(
                "Rule {rule!r} finds nobody to ask: {why}. An approvals admin can help.",
                rule=first.rule,
                why=first.why,
            ),
            rules=[each.model_dump() for each in plan.unresolved],
        )
