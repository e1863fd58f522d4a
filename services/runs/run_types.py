"""Each kind of run: its rules, what follows from them, and how Temporal runs it. A new kind is one entry."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial

from sqlmodel.ext.asyncio.session import AsyncSession

from domain.approvals import narrate
from domain.approvals.acts import RoundMachine
from domain.approvals.round import RoundStatus
from domain.customers.contracts import Grouping
from domain.orders import narrate as narrate_order
from domain.orders import returned
from domain.orders.acts import OrderMachine
from domain.orders.returned import ReturnMachine
from domain.runs.contracts import APPROVAL_ROUND, APPROVALS_QUEUE, ORDER_FULFILMENT, ORDER_RETURN, ORDERS_QUEUE
from services.runs.apply import RunType, Step
from storage.approvals.rounds import complete_round, prepare_escalation, project_round
from storage.erp.documents import next_message
from storage.orders.completion import change_decided, complete_order, project_order
from storage.orders.returns import complete_return, project_return
from storage.runs.runs import RunSnapshot


async def _project_round(session: AsyncSession, run: RunSnapshot, steps: Sequence[Step], at: datetime) -> None:
    """A round about an order tells it how it ended."""
    was, now = steps[0].was, steps[-1].now
    await project_round(session, run, was, now, [step.applied for step in steps], at)
    if now.subject_kind == "order_change" and was.running and not now.running:
        await change_decided(session, run.id, now.status is RoundStatus.APPROVED, at)


async def _project_order(session: AsyncSession, run: RunSnapshot, steps: Sequence[Step], at: datetime) -> None:
    await project_order(session, [(step.was, step.now, step.applied) for step in steps], at)


async def _project_return(session: AsyncSession, run: RunSnapshot, steps: Sequence[Step], at: datetime) -> None:
    await project_return(session, steps[-1].now, at)


def run_types(grouping: Grouping = "single", erp_carries: bool = False) -> dict[str, RunType]:
    """Every kind by name; contracts are made as the company groups them. `erp_carries`: an ERP is connected."""
    kinds = (
        RunType(
            RoundMachine(), complete_round, _project_round, narrate, APPROVAL_ROUND, APPROVALS_QUEUE, prepare_escalation
        ),
        RunType(
            OrderMachine(),
            partial(complete_order, grouping=grouping),
            _project_order,
            narrate_order,
            ORDER_FULFILMENT,
            ORDERS_QUEUE,
            next_erp_message=next_message if erp_carries else None,
        ),
        RunType(ReturnMachine(), complete_return, _project_return, returned, ORDER_RETURN, ORDERS_QUEUE),
    )
    return {kind.kind: kind for kind in kinds}
