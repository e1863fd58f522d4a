"""Each kind of run: its rules, its lists, and how the engine starts it. A new kind is one line in each table."""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from activities.contracts import APPROVAL_ROUND, APPROVALS_QUEUE, ORDER_FULFILMENT, ORDER_RETURN, ORDERS_QUEUE
from activities.sending import Route, Router
from domain.approvals import narrate
from domain.approvals.acts import RoundMachine
from domain.approvals.round import Round, RoundStatus
from domain.customers.contracts import Grouping
from domain.orders import returned
from domain.orders.acts import OrderMachine
from domain.orders.narrate import visible as visible_order
from domain.orders.order import Order
from domain.orders.returned import Return, ReturnMachine
from domain.runs import Head, Machine, Proposal, Visible
from storage.order_record import change_decided, project_order
from storage.record import Projector, Run
from storage.returns import project_return
from storage.rounds import project_round
from workflows.search import at_start


def _router(workflow: str, queue: str, state: type[Any], visible: Callable[[Any], Visible]) -> Router:
    def route(head: Head) -> Route:
        now = state.model_validate(head.state)
        return Route(workflow=workflow, task_queue=queue, summary=now.title[:200], attributes=at_start(visible(now)))

    return route


async def _project_round(session: AsyncSession, run: Run, proposal: Proposal, at: datetime) -> Round:
    """A round about an order tells it how it ended."""
    now = await project_round(session, run, proposal, at)
    if now.subject_kind == "order_change" and not now.running:
        await change_decided(session, run.id, now.status is RoundStatus.APPROVED, at)
    return now


MACHINES: dict[str, Machine[Any]] = {
    machine.kind: machine for machine in (RoundMachine(), OrderMachine(), ReturnMachine())
}


def projectors(grouping: Grouping) -> dict[str, Projector]:
    """What follows from each kind's new state; contracts are made as the company groups them."""
    return {
        RoundMachine.kind: _project_round,
        OrderMachine.kind: partial(project_order, grouping=grouping),
        ReturnMachine.kind: project_return,
    }


ROUTES: dict[str, Router] = {
    RoundMachine.kind: _router(APPROVAL_ROUND, APPROVALS_QUEUE, Round, narrate.visible),
    OrderMachine.kind: _router(ORDER_FULFILMENT, ORDERS_QUEUE, Order, visible_order),
    ReturnMachine.kind: _router(ORDER_RETURN, ORDERS_QUEUE, Return, returned.visible),
}
