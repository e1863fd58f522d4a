"""Quotes: drafting, previewing, submitting, recalling, reading."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from pydantic import ValidationError
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.approvals.evaluation import Finding
from domain.approvals.expected import expected_hours
from domain.approvals.hints import Hint, hints
from domain.approvals.plan import Plan, barred_people
from domain.approvals.round import Round, new_round, round_run
from domain.approvals.subject import KNOWN_FIELDS
from domain.audit import Entry
from domain.delegation import delegates_of, principals_of
from domain.errors import Clash, CommandIdReused, Invalid, Locked, NotAllowed, NotFound
from domain.money import known_currencies
from domain.people import Person
from domain.permissions import Reach, reaches
from domain.problems import invalid_fields
from domain.quotes import Quote, QuoteStatus
from domain.runs import Command
from domain.sentences import Sentence
from domain.values import Value, short_id
from services.approvals.planning import Drafted, Planned, check_resolved, planned
from services.context import ServiceContext, authorise
from services.runs.apply import Applied
from services.runs.authority import current_person
from services.runs.commands import Caller, CommandReceipt, CommandRequest
from services.versions import next_version
from storage.approvals import delegations, policies, rounds
from storage.letters import messages
from storage.letters.messages import Undelivered
from storage.people import people
from storage.quotes import quotes
from storage.quotes.quotes import QuoteSummary, StoredQuote
from storage.runs import audit_log, runs
from storage.runs.runs import RunSnapshot

MENTION = re.compile(r"(?<![\w.])@([A-Za-z0-9][A-Za-z0-9_-]{0,63})")
MOST_MENTIONS = 20
SUBMIT_ATTEMPTS = 3


class Preview(Value):
    """What a draft would need if it were submitted now."""

    quote: Quote
    policy_version: int
    hints: list[Hint]
    plan: Plan
    findings: list[Finding]
    names: dict[str, str] = {}
    stand_ins: dict[str, list[str]] = {}
    """Who decides now for those who are away."""
    expected_hours: Decimal | None = None
    """How long it should take, by how long it took before; None where somebody was never asked."""


def read_quote(data: Any) -> Quote:
    """A quote out of JSON. Raises Invalid naming each field."""
    try:
        quote = Quote.model_validate(data)
    except ValidationError as error:
        raise invalid_fields("the quote cannot be read", error) from None
    if quote.currency not in known_currencies():
        raise Invalid.field("currency", "{currency!r} is not an ISO 4217 currency code", currency=quote.currency)
    return quote


def _check_levels(quote: Quote, known: Collection[str]) -> None:
    """Only levels of service that the company has can be promised. Raises Invalid naming the line."""
    for n, line in enumerate(quote.lines):
        if line.sla and line.sla not in known:
            raise Invalid.field(
                f"lines[{n}].sla", "{sla!r} is none of {known}", sla=line.sla, known=", ".join(sorted(known))
            )


@dataclass(frozen=True)
class _Evaluated:
    """A quote as it was stored, and what its policy asked of it."""

    stored: StoredQuote
    planned: Planned


class Quotes:
    def __init__(self, context: ServiceContext) -> None:
        self._context = context

    async def put(self, caller: Caller, quote: Quote, expected: int | None) -> tuple[StoredQuote, bool]:
        """Create or replace a draft; `expected` is the version the caller saw. Says whether it is new.

        The same content again changes nothing. An approved quote becomes a draft again when it is edited.
        Raises Invalid, NotAllowed, Locked, Stale, VersionRequired."""
        authorise(caller.person, "quotes.write")
        if quote.owner != caller.person.id:
            raise NotAllowed("owner: you can only keep quotes of your own.", field="owner")
        quote.checked()
        context = self._context
        _check_levels(quote, context.sla_hours)
        async with context.database.writing() as session:
            await runs.check_open(session)
            known = await quotes.load(session, quote.id, lock=True)
            if known and known.quote.owner != caller.person.id:
                raise NotAllowed("This id belongs to somebody else's quote.", field="id")
            changed = known.quote.differing(quote) if known else set()
            if known and not changed:  # an integration may send the same again
                return known, False
            version = next_version(known.version if known else None, expected)
            await self._check_routing(session, known, quote)
            neutral = changed if known and await self._neutral(session, known, changed) else set()
            now = context.clock()
            if known and neutral:
                stored = known.evolve(quote=quote, version=version, changed_at=now)
            else:
                stored = _edited(known, quote, version, caller.person.id, now)
            verb = "edited" if known else "drafted"
            facts: dict[str, Any] = {"version": stored.version, "was": known.status.value if known else None}
            facts |= {"neutral": sorted(neutral)} if neutral else {}
            await context.audit(session, caller, f"quote:{quote.id}", verb, stored.digest, stored.quote, **facts)
            await quotes.save(session, stored, new=known is None)
        return stored, known is None

    async def _neutral(self, session: AsyncSession, known: StoredQuote, changed: set[str]) -> bool:
        """Whether an edit in or after approval leaves alone everything that was or is being approved."""
        if known.status not in (QuoteStatus.IN_APPROVAL, QuoteStatus.APPROVED) or not changed:
            return False
        round, _ = await rounds.round_of(session, known.run)
        policy = await policies.published(session, "quote", round.policy_version)
        return policy is not None and changed <= set(policy.policy.neutral)

    async def _check_routing(self, session: AsyncSession, known: StoredQuote | None, quote: Quote) -> None:
        """Fields that steer approvals are not the rep's to write: nobody picks who approves them."""
        stored = await policies.current(session, "quote")
        if stored is None:
            return
        policy, was = stored.policy, known.quote if known else None
        for name in sorted({*policy.routing, *policy.routing_fields} - ({*KNOWN_FIELDS["quote"]} - {*policy.routing})):
            if quote.given(name) != (was.given(name) if was else None):
                raise _steers(name)
        lines = {line.id: line for line in was.lines} if was else {}
        for name in sorted(policy.routing_line_fields):
            for n, line in enumerate(quote.lines):
                before = lines.get(line.id)
                if line.given(name) != (before.given(name) if before else None):
                    raise _steers(f"lines[{n}].{name}")
                if before and before.given(name) is not None and line.product != before.product:
                    raise _steers(f"lines[{n}].product")  # its approver is that of the product

    async def get(self, person: Person, id: str) -> StoredQuote:
        async with self._context.database.reading() as session:
            return await self.visible(session, person, id)

    async def visible(self, session: AsyncSession, person: Person, id: str) -> StoredQuote:
        """The quote, if this person may see it; otherwise it does not exist for them."""
        reach = authorise(person, "quotes.read")
        stored = await quotes.load(session, id)
        if stored and await is_reachable(session, reach, person, stored, self._context.clock()):
            return stored
        raise NotFound(Sentence("There is no quote {id!r} that you can see.", id=id))

    async def list_page(self, person: Person, status: str | None, after: str, limit: int) -> list[QuoteSummary]:
        reach = authorise(person, "quotes.read")
        everything = Reach.ALL in reach
        async with self._context.database.reading() as session:
            return await quotes.list_page(
                session,
                owner=person.id if Reach.OWN in reach and not everything else None,
                involving=person.id if Reach.INVOLVED in reach and not everything else None,
                approved=Reach.APPROVED in reach and not everything,
                status=status,
                after=after,
                limit=limit,
            )

    async def preview(self, person: Person, id: str, edits: Mapping[str, Any]) -> Preview:
        """The plan for the draft with these edits, without saving anything."""
        context = self._context
        async with context.database.reading() as session:
            stored = await quotes.load(session, id)
            if stored is None:
                authorise(person, "quotes.write")
                quote = read_quote({**edits, "id": id, "owner": person.id})
                drafted = Drafted(quote)
            else:
                stored = await self.visible(session, person, id)
                quote = read_quote(merged(stored.quote, edits)) if edits else stored.quote
                drafted = Drafted(quote, stored.editors, stored.status, stored.round)
            if edits or stored is None:
                quote.checked()
            found = await planned(session, context, drafted, quote.owner)
            now = context.clock()
            seats = {seat for a in found.plan.approvals for seat in a.seats}
            standing = await delegations.standing(session, now)
            stand_ins = {who: some for who in sorted(seats) if (some := delegates_of(who, standing, now, "quote"))}
            ids = {*seats, *(who for several in stand_ins.values() for who in several)}
            names = await rounds.names(session, ids)
            past = await rounds.past_hours(session, found.plan)
        policy, needed = found.policy, found.plan
        open_ones = {a.rule for a in needed.approvals if a.carried is None} | {u.rule for u in needed.unresolved}
        status, today = drafted.status.value, context.company_day()
        return Preview(
            quote=quote,
            policy_version=policy.version,
            plan=needed,
            names=names,
            stand_ins=stand_ins,
            findings=[judged.finding() for judged in found.judgements],
            expected_hours=expected_hours(needed, past),
            hints=hints(policy.policy, quote, found.as_subject, open_ones, status, today),
        )

    async def submit(self, caller: Caller, id: str, expected: int | None = None) -> CommandReceipt:
        """Open a round of approvals on the quote as it stands; `expected` is the version the caller saw.

        The policy is evaluated before the transaction, which checks that it saw what is stored; what changed
        meanwhile is evaluated anew. Raises NotFound, NotAllowed, Locked, Stale, Unresolved, CommandIdReused."""
        path = self._context.path
        received = self._context.clock()
        for _ in range(SUBMIT_ATTEMPTS):
            seen = await self._evaluate(caller, id)

            async def attempt(seen: _Evaluated | None = seen) -> tuple[CommandReceipt, Applied | None] | None:
                async with path.writing() as session:
                    return await self._submit(session, caller, id, expected, seen, received)

            if (done := await path.repeat(attempt)) is not None:
                receipt: CommandReceipt = done[0]
                await path.after_commit(done[1], ())
                return receipt
        raise Clash("The quote or its policy changed while it was submitted. Read it again, and try again.")

    async def _evaluate(self, caller: Caller, id: str) -> "_Evaluated | None":
        """What the policy asks of the quote as it is stored; None where it cannot be submitted anyway."""
        async with self._context.database.reading() as session:
            stored = await quotes.load(session, id)
            if stored is None or not stored.status.submittable:
                return None
            drafted = Drafted(stored.quote, stored.editors, stored.status, stored.round)
            return _Evaluated(stored, await planned(session, self._context, drafted, caller.person.id))

    async def _submit(
        self,
        session: AsyncSession,
        caller: Caller,
        id: str,
        expected: int | None,
        seen: "_Evaluated | None",
        received: datetime,
    ) -> tuple[CommandReceipt, Applied | None] | None:
        """None where something else is stored than what was evaluated."""
        await runs.check_open(session)
        stored = await quotes.load(session, id, lock=True)
        known = await runs.get_command(session, caller.command_id) if caller.key else None
        if known:
            if (
                known.verb != "open"
                or known.actor != caller.person.id
                or not known.run.startswith(round_run("quote", id, ""))
            ):
                raise CommandIdReused
            return CommandReceipt(command=known.id, outcome=known.outcome), None
        reach = authorise(await current_person(session, caller.person.id), "quotes.submit")
        if stored is None or (Reach.ALL not in reach and stored.quote.owner != caller.person.id):
            raise NotFound(Sentence("There is no quote {id!r} of yours.", id=id))
        if expected is not None:
            next_version(stored.version, expected)
        if not stored.quote.lines:
            raise Invalid.field("lines", "add at least one line before you submit")
        if not stored.status.submittable:
            state = stored.status.value
            raise Locked(Sentence("The quote is {state}; it cannot be submitted now.", state=state), state=state)
        policy = await policies.current_version(session, "quote")
        if seen is None or seen.stored != stored or seen.planned.policy.version != policy:
            return None
        return await self._open(session, caller, stored, seen.planned, expected, received)

    async def _open(
        self,
        session: AsyncSession,
        caller: Caller,
        stored: StoredQuote,
        found: Planned,
        expected: int | None,
        received: datetime,
    ) -> tuple[CommandReceipt, Applied]:
        context, quote, submitter = self._context, stored.quote, caller.person.id
        policy, subject, needed = found.policy, found.subject, found.plan
        check_resolved(needed)
        number, now = stored.round + 1, context.clock()
        run_id = round_run("quote", quote.id, number)
        round = new_round(
            run_id,
            needed,
            kind="quote",
            id=quote.id,
            number=number,
            digest=subject.digest,
            title=subject.title,
            card=subject.card,
            customer=subject.customer,
            submitter=submitter,
            barred=barred_people(subject, submitter),
            policy_version=policy.version,
            on_rejection=policy.policy.on_rejection,
            valid_for_days=policy.policy.valid_for_days,
            submitted_at=now,
        )
        update = {
            "status": QuoteStatus.IN_APPROVAL,
            "round": number,
            "editors": (),
            "changed_at": now,
            "digest": subject.digest,
        }
        await quotes.save(session, stored.evolve(**update))
        request = CommandRequest(
            id=caller.command_id,
            run=run_id,
            actor=submitter,
            verb="open",
            channel=caller.channel,
            fields={"digest": subject.digest, "version_seen": expected},
        )
        run = rounds.new_run(run_id, round, needed, subject)
        applied = await context.path.open(session, run, request, received)
        return CommandReceipt(command=request.id, outcome=applied.outcomes[request.id]), applied

    async def recall(self, caller: Caller, id: str, comment: str = "") -> CommandReceipt:
        """Take a submission back while it is pending."""
        authorise(caller.person, "quotes.recall")
        async with self._context.database.reading() as session:
            stored = await quotes.load(session, id)
        missing = NotFound(Sentence("There is no quote {id!r} that you can recall.", id=id))
        if stored is None:
            raise missing

        async def check(session: AsyncSession, run: RunSnapshot) -> Command:
            reach = authorise(await current_person(session, caller.person.id), "quotes.recall")
            if Reach.ALL not in reach and stored.quote.owner != caller.person.id:
                raise missing
            derived = {"authority": "approvals_admin"} if Reach.ALL in reach else {}
            return request.command(run.id, **derived)

        if stored.round == 0:
            if Reach.ALL not in authorise(caller.person, "quotes.recall") and stored.quote.owner != caller.person.id:
                raise missing
            raise Locked("The quote was never submitted.", state=stored.status.value)
        request = CommandRequest(
            id=caller.command_id,
            run=stored.run,
            actor=caller.person.id,
            verb="recall",
            fields={"comment": comment},
            channel=caller.channel,
        )
        return await self._context.path.execute(request, check)

    async def comment(self, caller: Caller, id: str, text: str) -> list[str]:
        """Say or ask something about the quote; whoever is named with @ is told. Returns who that is.

        Raises Invalid when somebody named is unknown or cannot see the quote."""
        reach = authorise(caller.person, "quotes.comment")
        context = self._context
        if not text.strip():
            raise Invalid.field("text", "say something")
        async with context.database.writing() as session:
            stored = await quotes.load(session, id)
            if stored is None or not await is_reachable(session, reach, caller.person, stored, context.clock()):
                raise NotFound(Sentence("There is no quote {id!r} that you can see.", id=id))
            told = list(dict.fromkeys(MENTION.findall(text)))[:MOST_MENTIONS]
            for name in told:
                await self._check_mention(session, name, stored)
            now = context.clock()
            await context.audit(session, caller, f"quote:{id}", "comment", stored.digest, comment=text, told=told)
            for name in told:
                data = {"approvals": [], "text": text, "by": caller.person.id}
                mail = short_id("m", caller.command_id, name)
                await messages.tell(session, mail, name, "mentioned", f"quote:{id}", stored.run, data, now)
        return told

    async def _check_mention(self, session: AsyncSession, name: str, stored: StoredQuote) -> None:
        person = await people.load_person(session, name)
        if person is None or not person.active:
            raise Invalid.field("text", "@{name} is nobody we know", name=name)
        reach = reaches(person, "quotes.read")
        if not await is_reachable(session, reach, person, stored, self._context.clock()):
            raise Invalid.field("text", "@{name} cannot see this quote", name=name)
        if stored.round == 0:
            raise Invalid.field("text", "people can be named once the quote was submitted")

    async def rounds(self, person: Person, id: str) -> list[tuple[Round, Plan, dict[str, str]]]:
        """Every round of the quote, newest first, with the names of the people in it."""
        async with self._context.database.reading() as session:
            await self.visible(session, person, id)
            found = await rounds.rounds_of(session, f"quote:{id}")
            return [(round, plan_, await rounds.names(session, _people_in(round))) for round, plan_ in found]

    async def undelivered(self, person: Person, id: str) -> list[Undelivered]:
        """What people should have been told about the newest round and were not."""
        async with self._context.database.reading() as session:
            stored = await self.visible(session, person, id)
            return await messages.undelivered(session, stored.run)

    async def audit(self, person: Person, id: str, after: int, limit: int) -> list[Entry]:
        async with self._context.database.reading() as session:
            await self.visible(session, person, id)
            return await audit_log.of_subject(session, f"quote:{id}", after, limit)


async def principals(session: AsyncSession, delegate: str, at: datetime) -> dict[str, list[str]]:
    """For each kind of subject whom a person may decide for now, by standing delegations."""
    return principals_of(delegate, await delegations.standing(session, at), at, rounds.ABOUT["quote"])


async def is_reachable(
    session: AsyncSession, reach: set[Reach], person: Person, stored: StoredQuote, at: datetime
) -> bool:
    """Whether an act of this reach may touch the quote: any, one's own, or one that waits or waited on the person."""
    if Reach.ALL in reach or (Reach.OWN in reach and stored.quote.owner == person.id):
        return True
    if Reach.APPROVED in reach and (stored.status.frozen or stored.status is QuoteStatus.APPROVED):
        return True
    if Reach.INVOLVED not in reach:
        return False
    away = await principals(session, person.id, at)
    return await rounds.is_involved(session, person.id, away, "quote", stored.quote.id)


def _steers(field: str) -> NotAllowed:
    return NotAllowed(
        Sentence("{field}: this field steers approvals; only an admin's import may set it.", field=field), field=field
    )


def _people_in(round: Round) -> set[str]:
    seats = [seat for approval in round.approvals for seat in approval.seats]
    asked = {c.person for approval in round.approvals for c in approval.consultations}
    return {round.submitter, *asked, *(s.holder for s in seats), *(s.by for s in seats if s.by)}


def _edited(known: StoredQuote | None, quote: Quote, version: int, editor: str, at: datetime) -> StoredQuote:
    if known is None:
        return StoredQuote(
            quote=quote,
            version=version,
            status=QuoteStatus.DRAFT,
            round=0,
            editors=(editor,),
            digest=quote.digest,
            created_at=at,
            changed_at=at,
        )
    if known.status.frozen:
        what = "The customer accepted this quote. Change its orders, or make a new quote."
        raise Locked(what, state=known.status.value)
    if known.status is QuoteStatus.IN_APPROVAL:
        raise Locked("The quote is in approval and cannot be edited. Recall it first.", state=known.status.value)
    return known.evolve(
        quote=quote,
        version=version,
        status=QuoteStatus.DRAFT,
        editors=tuple(dict.fromkeys((*known.editors, editor))),
        flags=(),
        digest=quote.digest,
        valid_until=None,
        changed_at=at,
    )


def merged(quote: Quote, edits: Mapping[str, Any]) -> dict[str, Any]:
    """The quote's JSON with edits laid over it: header fields replace, lines are matched by id and merged."""
    body = quote.model_dump(mode="json")
    lines = edits.get("lines")
    if isinstance(lines, list):
        known = {line["id"]: n for n, line in enumerate(body["lines"])}
        laid = [_unsummed(line) for line in body["lines"]]
        for line in lines:
            id = line.get("id") if isinstance(line, Mapping) else None
            if isinstance(id, str) and id in known:
                laid[known[id]] |= line
            else:
                laid.append(line)
        edits = {**edits, "lines": laid}
    return {**body, **edits, "id": quote.id, "owner": quote.owner}


def _unsummed(line: dict[str, Any]) -> dict[str, Any]:
    return {**line, "net_total": None, "net_price": None}
