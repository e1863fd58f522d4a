"""The activity by which the run of a split starts its orders."""

from temporalio import activity
from temporalio.exceptions import ApplicationError

from domain.runs.contracts import OPENING, Opening
from services.orders.openings import OrderOpenings


class Openings:
    def __init__(self, openings: OrderOpenings) -> None:
        self._openings = openings

    @activity.defn(name=OPENING)
    async def opening(self, order: str) -> Opening:
        """Raises ApplicationError where there is no such order."""
        found = await self._openings.find(order)
        if found is None:
            raise ApplicationError(f"There is no order {order}", non_retryable=True)
        return found
