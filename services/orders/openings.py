"""What the workflow of an order starts with: read one by one, so that no message grows with the quote."""

from collections.abc import Mapping

from domain.orders.order import order_run
from domain.runs import RunStart
from domain.runs.contracts import Opening
from services.runs.apply import RunType
from storage.database import Database
from storage.runs import runs


class OrderOpenings:
    def __init__(self, database: Database, run_types: Mapping[str, RunType]) -> None:
        self._database = database
        self._run_types = run_types

    async def find(self, order: str) -> Opening | None:
        """Its start, and what its list shows from the first moment; None where there is no such order."""
        async with self._database.reading() as session:
            run = await runs.get_run(session, order_run(order))
        if run is None:
            return None
        type = self._run_types[run.kind]
        state = type.machine.state.model_validate(run.state)
        return Opening(start=RunStart(run=run.id, title=state.title), visible=type.narrator.visible(state))
