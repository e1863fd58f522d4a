"""How the orders of a split start: read one by one, so that no message grows with the quote."""

from collections.abc import Mapping

from temporalio import activity
from temporalio.exceptions import ApplicationError

from domain.orders.order import order_run
from domain.runs import RunStart
from domain.runs.contracts import OPENING, Opening
from services.apply import RunType
from storage import runs
from storage.database import Database


class Openings:
    def __init__(self, database: Database, run_types: Mapping[str, RunType]) -> None:
        self._database = database
        self._run_types = run_types

    @activity.defn(name=OPENING)
    async def opening(self, order: str) -> Opening:
        """What the order's workflow starts with, and what its list shows from the first moment."""
        async with self._database.reading() as session:
            run = await runs.get_run(session, order_run(order))
        if run is None:
            raise ApplicationError(f"There is no order {order}", non_retryable=True)
        type = self._run_types[run.kind]
        state = type.machine.state.model_validate(run.state)
        return Opening(start=RunStart(run=run.id, title=state.title), visible=type.narrator.visible(state))
