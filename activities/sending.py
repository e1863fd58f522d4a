"""The activity that sends an order's document to the ERP, in the order's own run."""

import asyncio
from datetime import timedelta

import structlog
from temporalio import activity
from temporalio.exceptions import ApplicationError

from domain.erp import Document
from domain.runs import ErpMessage
from domain.runs.contracts import ERP_RETRIES, SEND_TO_ERP, Sent
from erp.port import Answer, Outcome, Refused
from services.erp.sender import ErpSender
from services.runs.commands import CommandPath
from storage.erp import documents

log = structlog.get_logger()
HEARTBEAT_EVERY = 5.0
LATER = timedelta(days=1)
"""What the ERP will answer later is asked again after so long."""


class SendToErp:
    """The activity of an order's run. Temporal retries it, and shows the attempts and the last error."""

    def __init__(self, path: CommandPath, sender: ErpSender) -> None:
        self._path = path
        self._sender = sender

    @activity.defn(name=SEND_TO_ERP)
    async def send_to_erp(self, message: ErpMessage) -> Sent:
        """Send one version of an order. Raises ApplicationError where the ERP gave no answer."""
        async with self._path.database.reading() as session:
            document = await documents.load_waiting(session, message)
        if document is None:
            return Sent.NOT_WAITING
        outcome = await self._send_with_heartbeats(document)
        if isinstance(outcome, Answer) and outcome.later:
            await self._note(document, LATER)
            return Sent.LATER
        if isinstance(outcome, Answer | Refused):
            return Sent.ANSWERED
        attempt = activity.info().attempt
        log.warning("erp_away", order=document.order, attempts=attempt, error=str(outcome))
        await self._note(document, ERP_RETRIES.pause(attempt), attempt, str(outcome))
        raise ApplicationError(str(outcome)[:1_000], type=type(outcome).__name__)

    async def _send_with_heartbeats(self, document: Document) -> Outcome:
        """The outcome, with a sign of life while the ERP thinks."""
        sending = asyncio.ensure_future(self._sender.send(document))
        try:
            while not (await asyncio.wait({sending}, timeout=HEARTBEAT_EVERY))[0]:
                activity.heartbeat()
            return sending.result()
        finally:
            sending.cancel()

    async def _note(self, document: Document, pause: timedelta, attempts: int = 0, error: str = "") -> None:
        async with self._path.database.writing() as session:
            await documents.note_attempt(session, document, self._path.clock() + pause, attempts, error)
