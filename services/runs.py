"""Each kind of run: its rules, its lists, and how the engine starts it. A new kind is one line in each table."""

from datetime import datetime
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from activities.contracts import APPROVAL_ROUND, APPROVALS_QUEUE, ORDER_FULFILMENT, ORDER_RETURN, ORDERS_QUEUE
from activities.sending import Route, Router
from domain.approvals import narrate
from domain.approvals.acts import RoundMachine
from domain.approvals.round import Round, RoundStatus
from domain.orders import returned
from domain.orders.acts import OrderMachine
from domain.orders.narrate import visible as visible_order
from domain.orders.order import Order
from domain.orders.returned import Return, ReturnMachine
from domain.runs import Head, Machine, Proposal
from storage.order_record import change_decided, project_order
from storage.record import Projector, Run
from storage.returns import project_return
from storage.rounds import project_round
from workflows.search import at_start


def _approval_round(head: Head) -> Route:
    round = Round.model_validate(head.state)
    return Route(
        workflow=APPROVAL_ROUND,
        task_queue=APPROVALS_QUEUE,
        summary=round.title[:200],
        attributes=at_start(narrate.visible(round)),
    )


def _order_fulfilment(head: Head) -> Route:
    order = Order.model_validate(head.state)
    return Route(
        workflow=ORDER_FULFILMENT,
        task_queue=ORDERS_QUEUE,
        summary=order.title[:200],
        attributes=at_start(visible_order(order)),
    )


def _order_return(head: Head) -> Route:
    state = Return.model_validate(head.state)
    return Route(
        workflow=ORDER_RETURN,
        task_queue=ORDERS_QUEUE,
        summary=state.title[:200],
        attributes=at_start(returned.visible(state)),
    )


async def _project_round(session: AsyncSession, run: Run, proposal: Proposal, at: datetime) -> Round:
    """A round about an order tells it how it ended."""
    now = await project_round(session, run, proposal, at)
    if now.subject_kind == "order_change" and not now.running:
        await change_decided(session, run.id, now.status is RoundStatus.APPROVED, at)
    return now


MACHINES: dict[str, Machine[Any]] = {
    machine.kind: machine for machine in (RoundMachine(), OrderMachine(), ReturnMachine())
}
PROJECTORS: dict[str, Projector] = {
    RoundMachine.kind: _project_round, OrderMachine.kind: project_order, ReturnMachine.kind: project_return,
}  # fmt: skip
ROUTES: dict[str, Router] = {
    RoundMachine.kind: _approval_round, OrderMachine.kind: _order_fulfilment, ReturnMachine.kind: _order_return,
}  # fmt: skip
