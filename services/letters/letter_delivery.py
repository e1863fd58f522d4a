"""Sends the letters that wait in the database."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from domain.approvals.notices import ASKING
from domain.approvals.plan import Plan
from domain.approvals.round import Round
from domain.people import Person
from domain.quotes import Quote
from domain.runs.contracts import Delivered
from notify.chat import Chat
from notify.letters import Facts, Writer
from notify.links import Claim, Links
from notify.port import Channel, Letter, Refused, Unavailable
from storage.approvals import rounds
from storage.database import Database
from storage.letters import messages
from storage.letters.messages import Message
from storage.people import people
from storage.quotes import quotes

log = structlog.get_logger()
CODE = "code"
"""A one-time code shows that somebody reads this mailbox, so it goes nowhere else."""
BATCH = 20
LETTER_SECONDS = 20.0
LETTERS_AT_ONCE = 5
"""Letters taken at a time: whoever dies leaves so many at most to be sent late, or again under the same Message-ID."""
CLAIM = timedelta(minutes=2)
"""How long letters belong to whoever took them: longer than sending so many may take."""


Progress = Callable[[int], None]


def no_progress(_: int) -> None:
    """Nobody is told."""


@dataclass(frozen=True)
class LetterContext:
    """What a group of letters is written from, by id. Nobody is in it who left, and nothing that cannot be read."""

    people: dict[str, Person]
    chats: dict[str, str]
    rounds: dict[str, tuple[Round, Plan]]
    quotes: dict[str, Quote]
    names: dict[str, str]


def _people_named(messages: Sequence[Message]) -> set[str]:
    """Whom messages speak of beside those in the rounds."""
    said = {str(message.data["by"]) for message in messages if "by" in message.data}
    return said.union(*(str(message.data.get("acts_for", "")).split(",") for message in messages))


class LetterDelivery:
    def __init__(
        self, database: Database, channel: Channel, chat: Chat, clock: Callable[[], datetime], links: Links
    ) -> None:
        self._database = database
        self._channel = channel
        self._chat = chat
        self._clock = clock
        self._links = links
        self._writer = Writer()

    async def send_due(self, progress: Progress = no_progress) -> Delivered:
        """One batch: everything that should have been sent by now. `progress` is told how many letters are done."""
        async with self._database.reading() as session:
            batch = await messages.due(session, self._clock(), BATCH)
        outcomes: list[bool] = []
        gone: list[str] = []
        for first in range(0, len(batch), LETTERS_AT_ONCE):
            group = batch[first : first + LETTERS_AT_ONCE]
            known = await self._load_context(group)
            mine, gone = await self._claim(group, known, gone), []
            for message in mine:
                progress(len(outcomes))
                outcomes.append(await self._deliver(message, known))
                gone += [message.id] if outcomes[-1] else []
        if gone:
            async with self._database.writing() as session:
                await messages.mark_sent(session, gone, self._clock())
        return Delivered(sent=outcomes.count(True), failed=outcomes.count(False))

    async def _load_context(self, group: Sequence[Message]) -> LetterContext:
        async with self._database.reading() as session:
            readers = await people.find_readers(session, {message.person for message in group})
            opened = await rounds.load_many(session, {message.run for message in group})
            seats = [seat for round, _ in opened.values() for a in round.approvals for seat in a.seats]
            named = {seat.holder for seat in seats} | {seat.by for seat in seats if seat.by}
            named |= {by for _, plan in opened.values() for p in plan.approvals if p.carried for by in p.carried.by}
            return LetterContext(
                people={id: person for id, (person, _) in readers.items() if person.active},
                chats={id: url for id, (_, url) in readers.items()},
                rounds=opened,
                quotes=await quotes.load_many(session, {round.subject_id for round, _ in opened.values()}),
                names=await rounds.names(session, named | _people_named(group)),
            )

    async def _claim(self, group: Sequence[Message], known: LetterContext, gone: list[str]) -> list[Message]:
        """Those of these that are ours to send; the ones before are marked as sent in the same transaction."""
        now = self._clock()
        async with self._database.writing() as session:
            if gone:
                await messages.mark_sent(session, gone, now)
            mine = await messages.claim(session, [message.id for message in group], now, now + CLAIM)
            claimed = [message for message in group if message.id in mine]
            for message in claimed:
                if message.channel == "mail" and message.template != CODE and known.chats.get(message.person):
                    await messages.also_by_chat(session, message, now)
            return claimed

    async def _deliver(self, message: Message, known: LetterContext) -> bool:
        try:
            await asyncio.wait_for(self._send(message, known), LETTER_SECONDS)
        except Refused as error:
            await self._mark_failed(message, str(error), for_good=True)
        except Unavailable as error:
            await self._mark_failed(message, str(error))
        except TimeoutError:
            await self._mark_failed(message, f"not sent within {LETTER_SECONDS:.0f} s")
        except Exception as error:  # one message that cannot be written must not hold up the others
            log.exception("message_failed", message=message.id)
            await self._mark_failed(message, type(error).__name__)
        else:
            return True
        return False

    async def _send(self, message: Message, known: LetterContext) -> None:
        letter = self._letter(message, known)
        if message.channel == "mail":
            await self._channel.send(letter)
        elif url := known.chats.get(message.person):
            await self._chat.send(url, letter)
        else:
            raise Refused(f"{message.person} has no chat any more")

    async def _mark_failed(self, message: Message, error: str, for_good: bool = False) -> None:
        log.warning("message_not_sent", message=message.id, error=error, for_good=for_good)
        async with self._database.writing() as session:
            await messages.mark_failed(session, message.id, error, self._clock(), for_good)

    def _letter(self, message: Message, known: LetterContext) -> Letter:
        person = known.people.get(message.person)
        if person is None or not person.email:
            raise Refused(f"{message.person} has no address or has left")
        if message.run not in known.rounds:
            raise Unavailable(f"{message.run} cannot be read")
        round, plan = known.rounds[message.run]
        if round.subject_id not in known.quotes:
            raise Unavailable(f"{message.subject} cannot be read")
        facts = self._facts(message, round, plan, known.quotes[round.subject_id], known.names)
        return self._writer.write(message.id, message.template, message.data["approvals"], person, facts)

    def _facts(self, message: Message, round: Round, plan: Plan, quote: Quote, names: dict[str, str]) -> Facts:
        asked = message.data["approvals"] if message.template in ASKING or message.template == "answer" else []
        by_mail = message.channel == "mail"  # whoever reads along in a chat room must not decide
        claims = [
            Claim(message=message.id, approval=approval, person=message.person, digest=round.digest)
            for approval in asked
            if by_mail and message.data.get("result") != "ended"
        ]
        return Facts(
            round=round,
            plan=plan,
            names=names,
            customer=quote.customer.name,
            net_total=quote.net_total,
            currency=quote.currency,
            discount_percent=quote.discount_percent,
            link=self._links.subject(quote.id),
            decide={c.approval: self._links.decide(c) for c in claims},
            reply_to=self._links.reply_address(message.id) if claims else "",
            text=message.data.get("text", ""),
            by=message.data.get("by", ""),
            acts_for=tuple(filter(None, message.data.get("acts_for", "").split(","))),
            code=self._links.code(message.person, message.data["nonce"]) if "nonce" in message.data else "",
            result=message.data.get("result", ""),
            detail=message.data.get("detail", ""),
        )
