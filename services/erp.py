"""The ERP's callbacks: a signed event becomes a command of the order it is about."""

from collections.abc import Mapping

from domain.erp import Report, command_of
from domain.errors import Invalid, NotFound, NotSignedIn
from domain.runs import Command
from erp.webhook import Forged, callback
from services.commands import CommandReceipt, CommandRequest
from services.office import Office
from storage import orders


class Callbacks:
    def __init__(self, office: Office, secret: str) -> None:
        self._office = office
        self._secret = secret

    async def take(self, body: bytes, headers: Mapping[str, str]) -> CommandReceipt:
        """Do what the event reports, once however often it comes. Raises NotFound, NotSignedIn, Invalid."""
        if not self._secret:
            raise NotFound("No ERP calls back here: DEALWRIGHT_ERP_SECRET is not set.")
        try:
            report = callback(self._secret, body, headers)
        except Forged as error:
            raise NotSignedIn(f"The signature does not hold: {error}.") from None
        except ValueError as error:
            raise Invalid.field("event", str(error)[:500]) from None
        await self._check_customer(report)
        return await self._office.path.execute(request_of(command_of(report)))

    async def _check_customer(self, report: Report) -> None:
        """What happened to another customer's order did not happen to ours. Raises Invalid."""
        if not report.customer:
            return
        async with self._office.database.reading() as session:
            ours = await orders.customer_of(session, report.order)
        if ours is not None and ours != report.customer:
            raise Invalid.field("data.customer", f"{report.order} is not an order of {report.customer}")


def request_of(command: Command) -> CommandRequest:
    """What the ERP reports, as a request: the signature of the report is its authority."""
    return CommandRequest(
        id=command.id, run=command.run, actor=command.actor, verb=command.verb, fields=command.payload,
        channel=command.channel,
    )  # fmt: skip
