"""How the orders of a split start: read one by one, so that no message grows with the quote."""

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.contracts import OPENING, Opening
from domain.orders.order import order_run
from storage import record
from storage.database import Database


class Openings:
    def __init__(self, database: Database) -> None:
        self._database = database

    @activity.defn(name=OPENING)
    async def opening(self, order: str) -> Opening:
        """The order as recorded, and the command written down with it."""
        async with self._database.reading() as session:
            found = await record.written(session, f"{order_run(order)}:open")
        if found is None:
            raise ApplicationError(f"{order} was never written down", non_retryable=True)
        command, head = found
        return Opening(head=head, command=command)
