"""Deciding by a mail reply: the address says which message is answered, the first line what is decided."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol

import structlog
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.approvals.notices import ASKING
from domain.approvals.replies import Verb, meaning
from domain.approvals.round import Round
from domain.errors import CommandIdReused, Refusal
from domain.people import Person
from domain.runs import Outcome
from domain.values import Value, short_id
from notify.links import Claim
from services.approvals.approvals import Approvals, Decision, is_fulfilled
from services.context import ServiceContext, authorise
from services.runs.commands import Caller
from storage.approvals import rounds
from storage.letters import inbound, messages
from storage.letters.inbound import Received
from storage.letters.messages import Message
from storage.people import people
from texts import translator

log = structlog.get_logger()
ANSWERS_A_DAY = 5
Result = Literal[
    "decided",
    "partly",
    "unclear",
    "comment_required",
    "refused",
    "ended",
    "confirm",
    "automatic",
    "not_theirs",
    "unknown",
]
ANSWERED: tuple[Result, ...] = ("partly", "unclear", "comment_required", "refused", "ended", "confirm")


class Mail(Protocol):
    """A reply, as a mail server understood it. Its text is read when it is asked for, not before."""

    @property
    def identity(self) -> str: ...
    @property
    def sender(self) -> str: ...
    @property
    def automatic(self) -> bool: ...
    @property
    def first_line(self) -> str: ...
    @property
    def comment(self) -> str: ...
    def passed(self, server: str) -> bool: ...


class ReplyResult(Value):
    result: Result
    detail: str = ""


class Replies:
    """`authenticated_by` is the mail server whose verdict on senders is believed. Where a verdict is needed
    (`needs_verdict`) and there is none, a reply decides nothing and its sender is sent a link to confirm it."""

    def __init__(
        self, context: ServiceContext, approvals: Approvals, authenticated_by: str = "", needs_verdict: bool = False
    ) -> None:
        self._context = context
        self._approvals = approvals
        self._authenticated_by = authenticated_by
        self._needs_verdict = needs_verdict or bool(authenticated_by)

    async def receive(self, answered: str, mail: Mail) -> ReplyResult:
        """Obey a reply, or ask again in the reader's language; the same mail twice is one mail.

        Authority is checked now, not when the message went out."""
        context = self._context
        id = short_id("i", answered, mail.identity)
        async with context.database.reading() as session:
            message = await messages.load(session, answered)
            person = await people.load_person(session, message.person) if message else None
            if await inbound.is_known(session, id):
                return ReplyResult(result="decided", detail="already received")
        done = await self._execute(message, person, mail) if message and person else ReplyResult(result="unknown")
        async with context.database.writing() as session:
            now = context.clock()
            received = Received(
                id=id,
                at=now,
                sender=mail.sender,
                person=person.id if person else None,
                message=answered,
                run=message.run if message else None,
                result=done.result,
                detail=done.detail[:500],
            )
            if await inbound.add(session, received) and done.result in ANSWERED and message and person:
                await self._answer(session, message, person, done, id, now)
        log.info("reply", message=answered, result=done.result)
        return done

    async def _execute(self, message: Message, person: Person, mail: Mail) -> ReplyResult:
        """Who may write is checked before what they wrote is read."""
        if message.template not in (*ASKING, "answer"):
            return ReplyResult(result="unknown")
        if mail.automatic:
            return ReplyResult(result="automatic")
        if not person.active or mail.sender.lower() != person.email.lower():
            return ReplyResult(result="not_theirs", detail=f"sent by {mail.sender}")
        round = await self._round(message)
        if (ended := _ended(round, message)) and not await self._is_answered(message, person):
            return ReplyResult(result="ended", detail=ended)
        verb = meaning(mail.first_line, person.language)
        if verb is None:
            return ReplyResult(result="unclear", detail=mail.first_line[:100])
        if verb == "reject" and not mail.comment:
            return ReplyResult(result="comment_required")
        if self._needs_verdict and not (self._authenticated_by and mail.passed(self._authenticated_by)):
            return ReplyResult(result="confirm", detail=verb)
        return await self._decide(message, person, verb, mail.comment)

    async def _round(self, message: Message) -> Round:
        async with self._context.database.reading() as session:
            return (await rounds.round_of(session, message.run))[0]

    async def _is_answered(self, message: Message, person: Person) -> bool:
        """Whether this very message was answered with a decision already."""
        for approval in message.data.get("approvals", ()):
            caller = Caller(person=person, channel="mail", key=_key(message, approval))
            if await self._context.path.outcome(caller.command_id):
                return True
        return False

    async def _decide(self, message: Message, person: Person, verb: Verb, comment: str) -> ReplyResult:
        """Decide everything the message asks for that nobody has decided yet. One decision may cover the others: then
        all were decided."""
        round = await self._round(message)
        shown = message.data.get("digest") or round.digest
        asked = message.data.get("approvals", ())
        wanted = _open(round, asked) or asked
        refused: list[str] = []
        for approval in wanted:
            decision = Decision(approval=approval, verb=verb, digest=shown, comment=comment)
            sentence = await self._decide_one(message, person, decision)
            if sentence and not is_fulfilled(await self._round(message), decision, person.id):
                refused.append(sentence)
        if refused:
            return ReplyResult(result="refused" if len(refused) == len(wanted) else "partly", detail=refused[0])
        return ReplyResult(result="decided", detail=verb)

    async def _decide_one(self, message: Message, person: Person, decision: Decision) -> str | None:
        """None when it was decided; else why not, in the person's language."""
        caller = Caller(person=person, channel="mail", key=_key(message, decision.approval))
        act = self._approvals.approve if decision.verb == "approve" else self._approvals.reject
        say = translator(person.language)
        try:
            outcome: Outcome | None = (await act(caller, decision.approval, decision.digest, decision.comment)).outcome
        except CommandIdReused:
            return say("You already answered this message.")
        except Refusal as refusal:
            return say(refusal.sentence)
        return say(outcome.reason) if outcome and not outcome.applied else None

    async def _answer(
        self, session: AsyncSession, message: Message, person: Person, done: ReplyResult, id: str, now: datetime
    ) -> None:
        since = now - timedelta(days=1)
        if await messages.count_since(session, person.id, "answer", since) >= ANSWERS_A_DAY:
            return
        data: dict[str, Any] = {
            "approvals": message.data.get("approvals", []),
            "digest": message.data.get("digest", ""),
        }
        data |= {"result": done.result, "detail": done.detail}
        await messages.queue(session, short_id("m", id), message, "answer", data, now)

    async def received(self, person: Person, after: str, limit: int) -> list[Received]:
        """Every reply that came in, and what came of it: for ops."""
        authorise(person, "messages.read")
        async with self._context.database.reading() as session:
            return await inbound.list_page(session, after, limit)


def _open(round: Round, asked: Sequence[str]) -> list[str]:
    """Those of these approvals that are not decided yet."""
    found = [(id, round.approval(id)) for id in asked]
    return [id for id, approval in found if round.running and approval and approval.status.open]


def _ended(round: Round, message: Message) -> str:
    """How what a message asks for has ended; blank while something of it can be decided."""
    asked = message.data.get("approvals", ())
    if not round.running or not asked:
        return "" if round.running else round.status.value
    first = round.approval(asked[0])
    return "" if _open(round, asked) or first is None else first.status.value


def _key(message: Message, approval: str) -> str:
    """A reply is the same command as the link in the letter."""
    return Claim(message=message.id, approval=approval, person=message.person).key
