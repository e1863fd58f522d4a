"""Deciding by a mail reply: the address says which message is answered, the first line what is decided."""

from datetime import datetime, timedelta
from typing import Literal, Protocol

import structlog
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.approvals.notices import ASKING
from domain.approvals.replies import meaning
from domain.errors import CommandIdReused, Refusal
from domain.people import Person
from domain.values import Value, short_id
from services.approvals import Approvals
from services.commands import Caller
from services.office import Office, authorise
from storage import inbound, messages, people, rounds
from storage.inbound import Received
from storage.messages import Message

log = structlog.get_logger()
ANSWERS_A_DAY = 5
Result = Literal["decided", "unclear", "comment_required", "refused", "automatic", "not_theirs", "unknown"]
ANSWERED: tuple[Result, ...] = ("unclear", "comment_required", "refused")


class Mail(Protocol):
    """A reply, as a mail server understood it."""

    @property
    def message_id(self) -> str: ...
    @property
    def sender(self) -> str: ...
    @property
    def automatic(self) -> bool: ...
    @property
    def first_line(self) -> str: ...
    @property
    def comment(self) -> str: ...


class Said(Value):
    result: Result
    detail: str = ""


class Replies:
    def __init__(self, office: Office, approvals: Approvals) -> None:
        self._office = office
        self._approvals = approvals

    async def receive(self, answered: str, mail: Mail) -> Said:
        """Obey a reply, or ask again in the reader's language; the same mail twice is one mail.

        Authority is checked now, not when the message went out."""
        office = self._office
        id = short_id("i", answered, mail.message_id or f"{mail.sender}|{mail.first_line}|{mail.comment}")
        async with office.database.reading() as session:
            message = await messages.load(session, answered)
            person = await people.load_person(session, message.person) if message else None
            if await inbound.known(session, id):
                return Said(result="decided", detail="already received")
        said = await self._obey(message, person, mail) if message and person else Said(result="unknown")
        async with office.database.writing() as session:
            now = office.clock()
            received = Received(
                id=id, at=now, sender=mail.sender, person=person.id if person else None, message=answered,
                run=message.run if message else None, result=said.result, detail=said.detail[:500],
            )  # fmt: skip
            if await inbound.add(session, received) and said.result in ANSWERED and message and person:
                await self._answer(session, message, person, said, id, now)
        log.info("reply", message=answered, result=said.result)
        return said

    async def _obey(self, message: Message, person: Person, mail: Mail) -> Said:
        if message.template not in (*ASKING, "answer"):
            return Said(result="unknown")
        if mail.automatic:
            return Said(result="automatic")
        if not person.active or mail.sender.casefold() != person.email.casefold():
            return Said(result="not_theirs", detail=f"sent by {mail.sender}")
        verb = meaning(mail.first_line, person.language)
        if verb is None:
            return Said(result="unclear", detail=mail.first_line[:100])
        if verb == "reject" and not mail.comment:
            return Said(result="comment_required")
        refused = [said for approval in message.data.get("approvals", ())
                   if (said := await self._decide(message, approval, person, verb, mail.comment))]  # fmt: skip
        return Said(result="refused", detail=refused[0]) if refused else Said(result="decided", detail=verb)

    async def _decide(self, message: Message, approval: str, person: Person, verb: str, comment: str) -> str | None:
        """None when it was decided; else why not."""
        caller = Caller(person=person, channel="mail", key=f"message:{message.id}:{approval}")
        try:
            async with self._office.database.reading() as session:
                round, _ = await rounds.round_of(session, message.run)
            act = self._approvals.approve if verb == "approve" else self._approvals.reject
            answer = await act(caller, approval, round.digest, comment)
        except CommandIdReused:
            return "You already answered this message."
        except Refusal as refusal:
            return refusal.sentence
        outcome = answer.outcome
        return outcome.sentence if outcome and not outcome.applied else None

    async def _answer(
        self, session: AsyncSession, message: Message, person: Person, said: Said, id: str, now: datetime
    ) -> None:
        since = now - timedelta(days=1)
        if await messages.count_since(session, person.id, "answer", since) >= ANSWERS_A_DAY:
            return
        data = {"approvals": message.data.get("approvals", []), "result": said.result, "detail": said.detail}
        await messages.queue(session, short_id("m", id), message, "answer", data, now)

    async def received(self, person: Person, after: str, limit: int) -> list[Received]:
        """Every reply that came in, and what came of it: for ops."""
        authorise(person, "messages.read")
        async with self._office.database.reading() as session:
            return await inbound.listed(session, after, limit)
