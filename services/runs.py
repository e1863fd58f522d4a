"""Each kind of run: its rules, its lists, and how the engine starts it. A new kind is one line in each table."""

from typing import Any

from activities.contracts import APPROVAL_ROUND, APPROVALS_QUEUE, ORDER_FULFILMENT, ORDERS_QUEUE
from activities.sending import Route, Router
from domain.approvals import narrate
from domain.approvals.acts import RoundMachine
from domain.approvals.round import Round
from domain.orders.acts import OrderMachine
from domain.orders.narrate import visible as visible_order
from domain.orders.order import Order
from domain.runs import Head, Machine
from storage.orders import project_order
from storage.record import Projector
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


MACHINES: dict[str, Machine[Any]] = {RoundMachine.kind: RoundMachine(), OrderMachine.kind: OrderMachine()}
PROJECTORS: dict[str, Projector] = {RoundMachine.kind: project_round, OrderMachine.kind: project_order}
ROUTES: dict[str, Router] = {RoundMachine.kind: _approval_round, OrderMachine.kind: _order_fulfilment}
