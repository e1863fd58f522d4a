"""Delivers the messages that wait in the database."""

import asyncio
import time
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from temporalio import activity

from activities.contracts import DELIVER, Delivered
from domain.approvals.notices import ASKING
from domain.approvals.plan import Plan
from domain.approvals.round import Round
from domain.quotes import Quote
from notify.chat import Chat
from notify.letters import Facts, Writer
from notify.links import Claim, Links
from notify.port import Channel, Letter, Refused, Unavailable
from storage import messages, people, quotes, rounds
from storage.database import Database
from storage.messages import Message

log = structlog.get_logger()
STRETCH = timedelta(minutes=5)
PAUSE = 0.5
BATCH = 20
LETTER_SECONDS = 20.0
HANDFUL = 5
"""Letters taken at a time: whoever dies leaves so many to be sent late."""
CLAIM = timedelta(minutes=2)
"""How long letters belong to whoever took them: longer than sending a handful may take."""


class Delivering:
    def __init__(
        self, database: Database, channel: Channel, chat: Chat, clock: Callable[[], datetime], links: Links
    ) -> None:
        self._database = database
        self._channel = channel
        self._chat = chat
        self._clock = clock
        self._links = links
        self._writer = Writer()

    @activity.defn(name=DELIVER)
    async def deliver(self) -> Delivered:
        """Send messages as they come, for a stretch of time, so that the engine has little to remember of it."""
        sent = failed = 0
        until = time.monotonic() + STRETCH.total_seconds()
        while time.monotonic() < until and not activity.is_worker_shutdown():
            activity.heartbeat(sent)
            done = await self.deliver_due()
            sent, failed = sent + done.sent, failed + done.failed
            if done == Delivered():
                await asyncio.sleep(PAUSE)
        return Delivered(sent=sent, failed=failed)

    async def deliver_due(self) -> Delivered:
        """One batch: everything that should have been sent by now."""
        async with self._database.reading() as session:
            batch = await messages.due(session, self._clock(), BATCH)
        outcomes: list[bool] = []
        gone: list[str] = []
        for first in range(0, len(batch), HANDFUL):
            mine, gone = await self._claimed(batch[first : first + HANDFUL], gone), []
            for message in mine:
                if activity.in_activity():
                    activity.heartbeat(len(outcomes))
                outcomes.append(await self._delivered(message))
                gone += [message.id] if outcomes[-1] else []
        if gone:
            async with self._database.writing() as session:
                await messages.sent(session, gone, self._clock())
        return Delivered(sent=outcomes.count(True), failed=outcomes.count(False))

    async def _claimed(self, some: list[Message], gone: list[str]) -> list[Message]:
        """Those of these that are ours to send; the ones before are marked as sent in the same transaction."""
        now = self._clock()
        async with self._database.writing() as session:
            if gone:
                await messages.sent(session, gone, now)
            mine = await messages.claim(session, [message.id for message in some], now, now + CLAIM)
            claimed = [message for message in some if message.id in mine]
            for message in claimed:
                if message.channel == "mail" and await people.chat_of(session, message.person):
                    await messages.also_by_chat(session, message, now)
            return claimed

    async def _delivered(self, message: Message) -> bool:
        try:
            await asyncio.wait_for(self._send(message, await self._letter(message)), LETTER_SECONDS)
        except Refused as error:
            await self._failed(message, str(error), for_good=True)
        except Unavailable as error:
            await self._failed(message, str(error))
        except TimeoutError:
            await self._failed(message, f"not sent within {LETTER_SECONDS:.0f} s")
        except Exception as error:  # one message that cannot be written must not hold up the others
            log.exception("message_failed", message=message.id)
            await self._failed(message, type(error).__name__)
        else:
            return True
        return False

    async def _send(self, message: Message, letter: Letter) -> None:
        if message.channel == "mail":
            await self._channel.send(letter)
            return
        async with self._database.reading() as session:
            url = await people.chat_of(session, message.person)
        if not url:
            raise Refused(f"{message.person} has no chat any more")
        await self._chat.send(url, letter)

    async def _failed(self, message: Message, error: str, for_good: bool = False) -> None:
        log.warning("message_not_sent", message=message.id, error=error, for_good=for_good)
        async with self._database.writing() as session:
            await messages.failed(session, message.id, error, self._clock(), for_good)

    async def _letter(self, message: Message) -> Letter:
        async with self._database.reading() as session:
            person = await people.load_person(session, message.person)
            found = await rounds.round_of(session, message.run)
            if person is None or not person.active or not person.email:
                raise Refused(f"{message.person} has no address or has left")
            round, plan = found
            stored = await quotes.load(session, round.subject_id)
            if stored is None:
                raise Refused(f"{message.subject} does not exist")
            who = {name for a in round.approvals for seat in a.seats for name in (seat.holder, seat.by or seat.holder)}
            names = await rounds.names(session, who | {str(message.data.get("by", ""))})
        facts = self._facts(message, round, plan, stored.quote, names)
        return self._writer.write(message.id, message.template, message.data["approvals"], person, facts)

    def _facts(self, message: Message, round: Round, plan: Plan, quote: Quote, names: dict[str, str]) -> Facts:
        asked = message.data["approvals"] if message.template in ASKING or message.template == "answer" else []
        claims = [Claim(message=message.id, approval=approval, person=message.person) for approval in asked]
        return Facts(
            round=round, plan=plan, names=names, customer=quote.customer.name, net_total=quote.net_total,
            currency=quote.currency, discount_percent=quote.discount_percent,
            link=self._links.subject(quote.id), decide={c.approval: self._links.decide(c) for c in claims},
            reply_to=self._links.reply_address(message.id) if asked else "",
            text=message.data.get("text", ""), by=message.data.get("by", ""),
            result=message.data.get("result", ""), detail=message.data.get("detail", ""),
        )  # fmt: skip
