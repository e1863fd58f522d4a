"""Approvals: what waits on a person, and deciding it."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from sqlmodel.ext.asyncio.session import AsyncSession

from domain.approvals.plan import Plan
from domain.approvals.round import Approval, Round, RoundStatus, Vote, explained
from domain.errors import Invalid, NotFound, Refusal
from domain.people import Person, Role, check_approver
from domain.permissions import Reach
from domain.quotes import Quote
from domain.runs import Command, Outcome, refused
from domain.sentences import Sentence
from domain.values import Id, Text, Value
from services.approvals import absences
from services.context import ServiceContext, authorise
from services.quotes.quotes import is_reachable, principals
from services.runs.authority import authorise_decision, current_person
from services.runs.commands import Caller, CommandReceipt, CommandRequest
from storage.approvals import delegations, inbox, rounds
from storage.approvals.inbox import Waiting
from storage.people import people
from storage.quotes import quotes
from storage.runs.runs import RunSnapshot


class ApprovalDetail(Value):
    """One approval as its reader sees it: with its round, and the quote it is about."""

    approval: Approval
    reasons: tuple[str, ...]
    asked: str
    notes: tuple[str, ...]
    round: Round
    run: str
    quote: Quote
    names: dict[str, str]


class Decision(Value):
    """One decision among many."""

    approval: Id
    verb: Literal["approve", "reject"]
    digest: str
    comment: Text = ""


class Result(Value):
    """What came of one of many. No outcome yet: it is written down, and the receipt of its command will tell."""

    approval: str
    command: str | None
    outcome: Outcome | None


DECIDED_ALREADY = ("already_decided", "round_closed")


def is_fulfilled(round: Round, decision: Decision, person: str) -> bool:
    """Whether a round stands as a decision asked, by the same person: covered by another approval of theirs, or ended
    by a rejection of theirs."""
    approval = round.approval(decision.approval)
    if approval is None or decision.digest != round.digest:
        return False
    if decision.verb == "approve":
        covering = round.approval(approval.covered_by)
        return covering is not None and person in covering.voters
    return round.status is RoundStatus.REJECTED and any(
        seat.vote is Vote.REJECTED and person == (seat.by or seat.holder) for a in round.approvals for seat in a.seats
    )


class Approvals:
    def __init__(self, context: ServiceContext) -> None:
        self._context = context

    async def inbox(self, person: Person, after: tuple[datetime, str] | None, limit: int) -> list[Waiting]:
        """What waits on this person and on those they decide for, longest waiting first."""
        authorise(person, "inbox.read")
        async with self._context.database.reading() as session:
            others = await principals(session, person.id, self._context.clock())
            return await inbox.page(session, person.id, others, after, limit)

    async def waiting_count(self, person: Person, most: int = 100) -> int:
        async with self._context.database.reading() as session:
            others = await principals(session, person.id, self._context.clock())
            return await inbox.waiting_count(session, person.id, others, most)

    async def holders(self, person: Person, kind: str) -> list[str]:
        """The person, and everybody they decide for now where such a subject waits."""
        async with self._context.database.reading() as session:
            return [person.id, *(await principals(session, person.id, self._context.clock()))[kind]]

    async def list_short(self, round: Round) -> set[str]:
        """The ids of what a round asks for and the people who are there now cannot give."""
        asked, now = [(approval, round) for approval in round.requested], self._context.clock()
        if not asked:
            return set()
        async with self._context.database.reading() as session:
            standing = [d for d in await delegations.standing(session, now) if d.active(now)]
            return await absences.list_short(session, asked, standing, now)

    async def get(self, person: Person, id: str) -> ApprovalDetail:
        reach = authorise(person, "approvals.read")
        async with self._context.database.reading() as session:
            found = await rounds.run_of_approval(session, id)
            if found is None:
                raise NotFound(Sentence("There is no approval {id!r} that you can see.", id=id))
            row, run = found
            stored = await quotes.load(session, row.subject_id)
            if stored is None or not await is_reachable(session, reach, person, stored, self._context.clock()):
                raise NotFound(Sentence("There is no approval {id!r} that you can see.", id=id))
            round, plan = Round.model_validate(run.state), Plan.model_validate(run.opening["plan"])
            approval, planned = list(explained(round, plan))[row.number]
            names = await rounds.names(session, {s.holder for a in round.approvals for s in a.seats})
        return ApprovalDetail(
            approval=approval,
            reasons=planned.reasons,
            asked=planned.asked,
            notes=planned.notes,
            round=round,
            run=run.id,
            quote=stored.quote,
            names=names,
        )

    async def approve(self, caller: Caller, id: str, digest: str, comment: str = "") -> CommandReceipt:
        authorise(caller.person, "approvals.decide")
        return await self._ask(caller, "approve", id, digest=digest, comment=comment)

    async def reject(self, caller: Caller, id: str, digest: str, comment: str) -> CommandReceipt:
        authorise(caller.person, "approvals.decide")
        if not comment.strip():
            raise Invalid.field("comment", "say why you reject")
        return await self._ask(caller, "reject", id, digest=digest, comment=comment)

    async def take_back(self, caller: Caller, id: str, comment: str = "") -> CommandReceipt:
        """Undo one's own approval while the round is pending and nothing was built on it."""
        authorise(caller.person, "approvals.decide")
        return await self._ask(caller, "take_back", id, comment=comment)

    async def decide_many(self, caller: Caller, decisions: list[Decision]) -> list[Result]:
        """Many decisions at once: each is a command of its own with its own digest, and each has its own answer.

        One decision may cover others of the same person, or end their round: those have what was asked for."""
        authorise(caller.person, "approvals.decide")
        results = await asyncio.gather(*(self._one_of_many(caller, decision) for decision in decisions))
        if len(decisions) == 1:
            return results
        return [await self._as_part(caller, *pair) for pair in zip(decisions, results, strict=True)]

    async def _as_part(self, caller: Caller, decision: Decision, result: Result) -> Result:
        """The result of one part of a larger act: what another part of it decided was done."""
        outcome = result.outcome
        if outcome is None or outcome.applied or outcome.code not in DECIDED_ALREADY:
            return result
        async with self._context.database.reading() as session:
            found = await rounds.run_of_approval(session, decision.approval)
            round = Round.model_validate(found[1].state) if found else None
        if round and is_fulfilled(round, decision, caller.person.id):
            code = "approved" if decision.verb == "approve" else "rejected"
            covered = Outcome(applied=True, code=code, sentence="Another of your decisions covers this one.")
            return result.evolve(outcome=covered)
        return result

    async def _one_of_many(self, caller: Caller, decision: Decision) -> Result:
        key = f"{caller.key}:{decision.approval}" if caller.key else None
        own = caller.evolve(key=key)
        act = self.approve if decision.verb == "approve" else self.reject
        try:
            answer = await act(own, decision.approval, decision.digest, decision.comment)
        except Refusal as refusal:
            outcome = refused(refusal.code, refusal.sentence)
            return Result(approval=decision.approval, command=None, outcome=outcome)
        return Result(approval=decision.approval, command=answer.command, outcome=answer.outcome)

    async def add_approver(
        self, caller: Caller, id: str, to: str | None, group: str | None, step: int | None, reason: str = ""
    ) -> CommandReceipt:
        """Ask one more person, or any of a group, in a later step of this approval's chain.

        Raises Invalid when nobody of them can decide it, NotFound when the caller cannot see the approval."""
        authorise(caller.person, "approvals.add")
        if bool(to) == bool(group):
            raise Invalid.field("to", "name a person in `to`, or a group in `group`")

        async def check(session: AsyncSession, run: RunSnapshot) -> Command:
            await self._visible(session, caller.person, id)
            if group:
                seats = await self._fit_members(session, group, Round.model_validate(run.state).barred)
            else:
                await self._fit(session, to or "")
                seats = [to or ""]
            command = await authorise_decision(session, run, request, self._context.clock())
            return command.evolve(payload={**command.payload, "seats": seats})

        given = {"to": to, "group": group, "step": step}
        request = _request(caller, "add_approver", id, comment=reason, **{n: v for n, v in given.items() if v})
        return await self._context.path.execute(request, check)

    async def remove_approver(self, caller: Caller, id: str, reason: str = "") -> CommandReceipt:
        """Take an approver whom somebody added off the subject again: by whoever added them, or an approvals admin."""
        reach = authorise(caller.person, "approvals.remove")
        admin = {"authority": "approvals_admin"} if Reach.ALL in reach else {}
        return await self._ask(caller, "remove_approver", id, comment=reason, **admin)

    async def consult(self, caller: Caller, id: str, digest: str, to: str, question: str) -> CommandReceipt:
        """Ask somebody for advice before deciding; the clock waits as long as the rule allows."""
        authorise(caller.person, "approvals.decide")
        if not question.strip():
            raise Invalid.field("question", "say what you want to know")
        return await self._ask(caller, "consult", id, to, digest=digest, to=to, comment=question)

    async def advise(self, caller: Caller, id: str, answer: str) -> CommandReceipt:
        """The advice that a holder asked the caller for."""
        authorise(caller.person, "quotes.comment")
        if not answer.strip():
            raise Invalid.field("answer", "say what you advise")

        async def check(session: AsyncSession, run: RunSnapshot) -> Command:
            await self._visible(session, caller.person, id)
            return await authorise_decision(session, run, request, self._context.clock())

        request = _request(caller, "advise", id, comment=answer)
        return await self._context.path.execute(request, check)

    async def delegate(self, caller: Caller, id: str, digest: str, to: str, reason: str = "") -> CommandReceipt:
        """Hand one approval over. Raises Invalid when `to` cannot decide anything."""
        authorise(caller.person, "approvals.decide")
        return await self._ask(caller, "delegate", id, to, digest=digest, to=to, comment=reason)

    async def reassign(self, caller: Caller, id: str, to: str, holder: str | None, reason: str = "") -> CommandReceipt:
        """An admin moves one approval from its holder to another person."""
        authorise(caller.person, "approvals.reassign")
        moved = {"from": holder} if holder else {}
        return await self._ask(caller, "reassign", id, to, to=to, comment=reason, authority="approvals_admin", **moved)

    async def _visible(self, session: AsyncSession, person: Person, id: str) -> None:
        """Raises NotFound for an approval whose subject the person cannot see."""
        reach = authorise(await current_person(session, person.id), "approvals.read")
        found = await rounds.run_of_approval(session, id)
        stored = await quotes.load(session, found[0].subject_id) if found else None
        if stored is None or not await is_reachable(session, reach, person, stored, self._context.clock()):
            raise NotFound(Sentence("There is no approval {id!r} that you can see.", id=id))

    async def _fit(self, session: AsyncSession, to: str) -> None:
        check_approver(await people.load_person(session, to), to, "to")

    async def _fit_members(self, session: AsyncSession, group: str, barred: Sequence[str]) -> list[str]:
        directory = await people.directory(session, set(), {group})
        if group not in directory.groups:
            raise Invalid.field("group", "there is no group {group!r}", group=group)
        members = [directory.active(member) for member in directory.groups[group].members]
        found = [p.id for p in members if p and p.has(Role.APPROVER) and p.id not in barred]
        if not found:
            raise Invalid.field("group", "nobody of group {group!r} can decide this", group=group)
        return found

    async def _ask(self, caller: Caller, verb: str, id: str, asked: str | None = None, **fields: Any) -> CommandReceipt:
        """Carry a decision out; whoever is `asked` by it must be able to decide."""

        async def check(session: AsyncSession, run: RunSnapshot) -> Command:
            if asked is not None:
                await self._fit(session, asked)
            return await authorise_decision(session, run, request, self._context.clock())

        request = _request(caller, verb, id, **fields)
        return await self._context.path.execute(request, check)


def _request(caller: Caller, verb: str, approval: str, **fields: Any) -> CommandRequest:
    return CommandRequest(
        id=caller.command_id,
        actor=caller.person.id,
        verb=verb,
        channel=caller.channel,
        approval=approval,
        fields={"approval": approval, **fields},
    )
