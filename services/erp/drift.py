"""In what the ERP differs from our orders: seen, looked for anew, and mended."""

from collections.abc import Awaitable, Callable

from temporalio.client import Client
from temporalio.service import RPCError

from domain.drift import Drift
from domain.errors import Locked, NotFound
from domain.people import Person
from domain.runs import ids
from domain.sentences import Sentence
from services.context import ServiceContext, authorise
from services.runs.commands import Caller
from services.runs.engine import RPC_LIMIT
from storage.erp import documents
from storage.erp import drift as drifts
from storage.erp.drift import DriftFound


class Drifts:
    def __init__(
        self, context: ServiceContext, connect: Callable[[], Awaitable[Client]], adapter: str, compares: bool
    ) -> None:
        self._context = context
        self._connect = connect
        self._adapter = adapter
        self.compares = compares
        """Whether the ERP that is connected can tell what it has."""

    async def list_page(self, person: Person, after: tuple[str, str, str] | None, limit: int) -> list[DriftFound]:
        """What differed when they were compared last, by order."""
        authorise(person, "erp.read")
        async with self._context.database.reading() as session:
            return await drifts.list_page(session, after, limit)

    async def compare(self, caller: Caller) -> None:
        """Have them compared now, not only once a day. Raises Locked."""
        authorise(caller.person, "erp.mend")
        if not self.compares:
            raise Locked("The ERP that is connected cannot tell what it has.")
        if trouble := await self.trouble():
            raise Locked(Sentence("The ERP does not answer: {trouble}", trouble=trouble), state="erp_away")
        try:
            client = await self._connect()
            await client.get_schedule_handle(ids.RECONCILIATION).trigger(rpc_timeout=RPC_LIMIT)
        except (RPCError, RuntimeError):
            raise Locked("Temporal did not take it. Try again in a moment.") from None

    async def trouble(self) -> str:
        """Why the ERP does not answer now; empty where it does."""
        async with self._context.database.reading() as session:
            return await documents.last_trouble(session, self._adapter)

    async def mend(self, caller: Caller, order: str) -> list[Drift]:
        """Have one order made equal: what the ERP lacks is sent again, what it knows better is told again. What was
        to be mended. Raises NotFound."""
        authorise(caller.person, "erp.mend")
        context = self._context
        async with context.database.writing() as session:
            found = await drifts.want_mended(session, order, context.clock())
            if not found:
                raise NotFound(Sentence("Nothing of {order} was found to differ from the ERP.", order=order))
            kinds = sorted({each.kind for each in found})
            await context.audit(session, caller, f"order:{order}", "erp_mend", kinds=kinds)
        return found
