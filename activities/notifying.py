"""The activity of the one run that sends letters."""

import asyncio
import time
from datetime import timedelta

from temporalio import activity

from domain.runs.contracts import DELIVER, Delivered
from services.letters.letter_delivery import LetterDelivery

RUN_FOR = timedelta(minutes=5)
"""So long one activity sends, so that Temporal has little to remember of it."""
PAUSE_SECONDS = 0.5
HEARTBEAT_EVERY = 2.0


class Delivering:
    def __init__(self, delivery: LetterDelivery) -> None:
        self._delivery = delivery
        self._last_heartbeat = 0.0

    @activity.defn(name=DELIVER)
    async def deliver(self) -> Delivered:
        """Send letters as they come."""
        sent = failed = 0
        until = time.monotonic() + RUN_FOR.total_seconds()
        while time.monotonic() < until and not activity.is_worker_shutdown():
            self._heartbeat(sent)
            done = await self._delivery.send_due(self._heartbeat)
            sent, failed = sent + done.sent, failed + done.failed
            if done == Delivered():
                await asyncio.sleep(PAUSE_SECONDS)
        return Delivered(sent=sent, failed=failed)

    def _heartbeat(self, sent: int) -> None:
        """Now and then: at each letter it cost a fourteenth of sending it."""
        if time.monotonic() - self._last_heartbeat > HEARTBEAT_EVERY:
            activity.heartbeat(sent)
            self._last_heartbeat = time.monotonic()
