"""What the ERP tells: its answers, its reports and its callbacks become commands of the orders they are about."""

from collections.abc import Iterable, Mapping
from datetime import timedelta

import structlog

from domain.erp import Document, Report, command_of
from domain.errors import Invalid, NotFound, NotSignedIn
from domain.runs import Command
from domain.sentences import Sentence
from domain.values import storable
from erp.port import Answer, Outcome, Refused
from erp.webhook import Forged, callback
from services.context import ServiceContext
from services.runs.commands import CommandPath, CommandReceipt, CommandRequest
from storage.erp import documents
from storage.orders import orders
from storage.runs import runs

log = structlog.get_logger()
NO_REASON = "The ERP gave no reason."


def answer_report(document: Document, outcome: Outcome) -> Report | None:
    """The ERP's answer to one version of a document; None where it gave none."""
    given = {
        "id": f"v{document.version}.{document.asked_at:%Y%m%d%H%M%S%f}",
        "order": document.order,
        "version": document.version,
    }
    match outcome:
        case Answer(later=False):
            return Report.model_validate({**given, "kind": "accepted", "reference": storable(outcome.reference, 100)})
        case Refused():
            reason = storable(str(outcome), 1_000).strip() or NO_REASON
            return Report.model_validate({**given, "kind": "rejected", "reason": reason})
    return None


async def store_reports(
    path: CommandPath, reports: Iterable[Report], adapter: str = "", cursor: str | None = None
) -> int:
    """Store what orders must be told, with the place to read on from, and tell them; how many reports were new."""
    async with path.database.writing() as session:
        new, now = 0, path.clock()
        for n, report in enumerate(reports):
            command = command_of(report)
            if await runs.get_run(session, command.run) is None:
                log.warning("erp_unknown_order", order=report.order, report=report.id)
            else:  # what stands already, in other words or not, counts as it stands
                new += await runs.enqueue_followup(session, command, now + timedelta(microseconds=n))
        if cursor is not None:
            await documents.move_cursor(session, adapter, cursor)
        followups = runs.take_followups(session)
    await path.after_commit(None, followups)
    return new


class Callbacks:
    def __init__(self, context: ServiceContext, secret: str) -> None:
        self._context = context
        self._secret = secret

    async def take(self, body: bytes, headers: Mapping[str, str]) -> CommandReceipt:
        """Do what the event reports, once however often it comes. Raises NotFound, NotSignedIn, Invalid."""
        if not self._secret:
            raise NotFound("No ERP calls back here: DEALWRIGHT_ERP_SECRET is not set.")
        try:
            report = callback(self._secret, body, headers)
        except Forged as error:
            raise NotSignedIn(Sentence("The signature does not hold: {why}.", why=error)) from None
        except ValueError as error:
            raise Invalid.field("event", "cannot be taken: {why}", why=str(error)[:500]) from None
        await self._check_customer(report)
        return await self._context.path.execute(request_of(command_of(report)))

    async def _check_customer(self, report: Report) -> None:
        """What happened to another customer's order did not happen to ours. Raises Invalid."""
        if not report.customer:
            return
        async with self._context.database.reading() as session:
            ours = await orders.customer_of(session, report.order)
        if ours is not None and ours != report.customer:
            raise Invalid.field(
                "data.customer", "{order} is not an order of {customer}", order=report.order, customer=report.customer
            )


def request_of(command: Command) -> CommandRequest:
    """What the ERP reports, as a request: the signature of the report is its authority."""
    return CommandRequest(
        id=command.id,
        run=command.run,
        actor=command.actor,
        verb=command.verb,
        fields=command.payload,
        channel=command.channel,
    )
