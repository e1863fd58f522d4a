"""An order through services, engine, worker and record, with time that skips."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlmodel import select

from domain.orders.order import Order, OrderStatus, order_run
from domain.orders.returned import return_run
from domain.orders.settle import claims
from domain.orders.split import ByHand, Even, Group, Slot, Trigger
from domain.quotes import Acceptance, Place
from services.runs.commands import CommandReceipt
from storage.orders import orders
from storage.tables import ErpDocumentRow, EventRow
from tests.support import GROWING_ALONE, a_line
from tests.workflows.conftest import Office

PORTO = Place(city="Porto", time_zone="Europe/Lisbon")


@pytest.fixture
async def desk(office: Office) -> AsyncIterator[Office]:
    """An office whose orders are worked on too."""
    await office.publish(GROWING_ALONE)
    async with office.orders_worker():
        yield office


async def an_order(desk: Office, trigger: Trigger) -> str:
    """One order of a quote that needs no approval."""
    run = await desk.submitted(lines=[a_line("1", quantity="10")], discount="0")
    quote, rita = run.split(":")[1], await desk.caller("rita")
    await desk.container.orders.accept(rita, quote, None, Acceptance(on=date(2026, 1, 2)))
    slot = Slot(ship_to=PORTO, trigger=trigger)
    placed = await desk.container.orders.place(
        rita, quote, ByHand(way="hand", groups=(Group(slot=slot, lines={"1": 10}),))
    )
    id = placed.orders[0].id
    await until_status(desk, id, *(status for status in OrderStatus if status is not OrderStatus.DRAFT))
    return id


async def recorded(desk: Office, id: str) -> Order:
    async with desk.container.database.reading() as session:
        found = await orders.load(session, id)
    assert found is not None
    return found


async def agreed(desk: Office, id: str) -> Order:
    """The order as stored, once its workflow was told of all of it."""
    await desk.until_told(order_run(id))
    return await recorded(desk, id)


async def ask(desk: Office, who: str, order: str, verb: str, **payload: Any) -> CommandReceipt:
    act = "erp.report" if who == "bruno" else "orders.steer"
    return await desk.container.orders.ask(await desk.caller(who), order, verb, act, **payload)


async def until_status(desk: Office, id: str, *statuses: OrderStatus) -> Order:
    for _ in range(1_500):
        if (order := await recorded(desk, id)).status in statuses:
            return order
        await asyncio.sleep(0.02)
    raise AssertionError(f"{id} never became {statuses}")


async def test_an_order_waits_for_its_day_at_its_ship_to_and_goes_to_the_back_office_once(desk: Office) -> None:
    day = (datetime.now(UTC) + timedelta(days=30)).date()
    id = await an_order(desk, Trigger(start="date", on=day))
    order = await agreed(desk, id)
    assert order.due is not None
    assert order.status is OrderStatus.SCHEDULED
    description = await desk.client.get_workflow_handle(order_run(id)).describe()
    found = {key.name: value for key, value in description.typed_search_attributes}
    assert (found["DealwrightStatus"], found["DealwrightDue"]) == ("scheduled", order.due)
    metadata = await desk.client.get_workflow_handle(order_run(id)).query("__temporal_workflow_metadata")
    assert f"Starts at {order.due:%Y-%m-%d %H:%M} UTC" in metadata.current_details
    await desk.sleep(order.due - datetime.now(UTC) - timedelta(minutes=5))
    assert (await agreed(desk, id)).status is OrderStatus.SCHEDULED
    await desk.sleep(timedelta(minutes=10))
    await until_status(desk, id, OrderStatus.ACTIVATING)
    async with desk.container.database.reading() as session:
        (document,) = (await session.exec(select(ErpDocumentRow))).all()
    assert (document.order, document.status, document.body["lines"][0]["quantity"]) == (id, "waiting", "10")
    await ask(desk, "bruno", id, "accepted", reference="SO-1")
    await ask(desk, "bruno", id, "delivery", id="D1", lines={"1": "10"})
    assert await desk.result(order_run(id)) == {"status": "fulfilled", "number": 4}
    assert (await agreed(desk, id)).status is OrderStatus.FULFILLED


async def test_a_moved_order_starts_on_its_new_day_only(desk: Office) -> None:
    first = (datetime.now(UTC) + timedelta(days=10)).date()
    id = await an_order(desk, Trigger(start="date", on=first))
    later = first + timedelta(days=20)
    await ask(desk, "dina", id, "reschedule", on=later.isoformat())
    await desk.sleep(timedelta(days=15))
    assert (await agreed(desk, id)).status is OrderStatus.SCHEDULED
    await desk.sleep(timedelta(days=20))
    assert (await until_status(desk, id, OrderStatus.ACTIVATING)).version == 2


async def test_a_held_order_lets_its_day_pass_and_starts_when_released(desk: Office) -> None:
    id = await an_order(desk, Trigger(start="date", on=(datetime.now(UTC) + timedelta(days=3)).date()))
    held = await ask(desk, "dina", id, "hold", reason="credit check")
    assert held.outcome is not None
    await desk.sleep(timedelta(days=9))
    assert (await agreed(desk, id)).status is OrderStatus.HELD
    await ask(desk, "dina", id, "release", hold=held.outcome.facts["hold"])
    await until_status(desk, id, OrderStatus.ACTIVATING)


async def test_a_split_starts_its_orders_which_outlive_it_and_commands_sent_before_wait(desk: Office) -> None:
    run = await desk.submitted(lines=[a_line("1", quantity="10")], discount="0")
    quote, rita = run.split(":")[1], await desk.caller("rita")
    await desk.container.orders.accept(rita, quote, None, Acceptance(on=date(2026, 1, 2)))
    slot = Slot(ship_to=PORTO, trigger=Trigger(start="manual"))
    placed = await desk.container.orders.place(rita, quote, Even(way="even", waves=5, slot=slot))
    held = await ask(desk, "dina", placed.orders[4].id, "hold", reason="at once")
    split = await desk.result(f"quote:{quote}:split:1")
    assert (split["started"], split["orders"]) == (5, [order.id for order in placed.orders])
    for order in placed.orders:
        await until_status(desk, order.id, OrderStatus.SCHEDULED, OrderStatus.HELD)
    assert held.outcome is None or held.outcome.applied
    assert (await until_status(desk, placed.orders[4].id, OrderStatus.HELD)).parked == ()


async def test_what_comes_while_the_back_office_is_asked_is_answered_with_it(desk: Office) -> None:
    id = await an_order(desk, Trigger(start="now"))
    await until_status(desk, id, OrderStatus.ACTIVATING)
    waits = await ask(desk, "dina", id, "cancel")
    assert waits.outcome is None, "it is written down, and waits"
    await ask(desk, "bruno", id, "accepted", reference="SO-1")
    outcome = await desk.container.context.path.outcome(waits.command)
    assert (outcome and outcome.code, (await agreed(desk, id)).change is not None) == ("sent", True)
    await ask(desk, "bruno", id, "accepted", version=(await recorded(desk, id)).version)
    assert (await until_status(desk, id, OrderStatus.CANCELLED)).parked == ()


async def test_a_change_from_a_day_on_takes_effect_on_it(desk: Office) -> None:
    today = (await desk.environment.get_current_time()).date()
    id = await an_order(desk, Trigger(start="date", on=today + timedelta(days=30)))
    day = (today + timedelta(days=10)).isoformat()
    await desk.container.orders.amend(await desk.caller("dina"), id, lines={"1": "6"}, effective=day)
    assert (await agreed(desk, id)).lines[0].share.quantity == 10
    await desk.sleep(timedelta(days=12))
    order = await agreed(desk, id)
    assert (order.lines[0].share.quantity, order.status) == (6, OrderStatus.SCHEDULED)


async def test_a_return_is_a_short_run_of_its_own(desk: Office) -> None:
    id = await an_order(desk, Trigger(start="now"))
    await until_status(desk, id, OrderStatus.ACTIVATING)
    await ask(desk, "bruno", id, "accepted")
    await ask(desk, "bruno", id, "delivery", id="D1", lines={"1": "10"})
    bruno = await desk.caller("bruno")
    number, answer = await desk.container.returns.report(bruno, id, "R1", {"1": Decimal(3)}, "broken", arrived=False)
    assert answer.outcome is not None
    await desk.container.returns.ask(bruno, id, number, "arrived", "orders.return")
    handle = desk.client.get_workflow_handle(return_run(id, number))
    assert await handle.result() == {"status": "received", "number": 2}


ACTS = ["hold", "release", "go_live", "cancel", "reschedule", "accepted", "rejected", "retry", "amend", "undo",
        "shipment", "delivery", "close_short", "backorder", "later"]  # fmt: skip
STORIES = st.lists(st.tuples(st.sampled_from([*ACTS, "now"]), st.integers(1, 9)), max_size=10)


@settings(max_examples=6)
@given(story=STORIES)
async def test_whatever_happens_engine_and_record_agree_and_each_command_counts_once(
    desk: Office, story: list[tuple[str, int]]
) -> None:
    """Sent one after the other without waiting: each takes effect once, and quantity and money are conserved."""
    today = (await desk.environment.get_current_time()).date()
    id = await an_order(desk, Trigger(start="date", on=today + timedelta(days=5)))
    sent: set[str] = set()
    for n, (verb, number) in enumerate(story):
        who = "bruno" if verb in ("accepted", "rejected", "shipment", "delivery", "backorder") else "dina"
        act = "erp.report" if who == "bruno" else "orders.steer"
        caller = (await desk.caller(who)).model_copy(update={"key": f"{id}:{n}"})
        order, lines = await recorded(desk, id), {"1": str(number)}
        if verb in ("amend", "later"):
            day = (today + timedelta(days=number)).isoformat() if verb == "later" else None
            answer = await desk.container.orders.amend(caller, id, lines=lines, effective=day)
        elif verb == "now":
            answer = await desk.container.orders.ask(caller, id, "reschedule", act, start="now")
        else:
            payload = {"hold": order.holds[0].id if order.holds else "h0", "reason": "why", "on": "2027-12-01",
                       "id": str(number), "lines": [*lines] if verb == "close_short" else lines}  # fmt: skip
            answer = await desk.container.orders.ask(caller, id, verb, act, **payload)
            again = await desk.container.orders.ask(caller, id, verb, act, **payload)
            assert again.command == answer.command
        sent.add(answer.command)
    await law_abiding(desk, id, sent)


async def law_abiding(desk: Office, id: str, sent: set[str]) -> None:
    order = await agreed(desk, id)
    async with desk.container.database.reading() as session:
        rows = (await session.exec(select(EventRow).where(EventRow.run == order_run(id)))).all()
        entries = await orders.ledger(session, order.quote)
    numbered = sorted(row.run_seq for row in rows if row.run_seq)
    assert numbered == list(range(1, order.seq + 1))
    assert len({row.command for row in rows}) == len(rows)
    parked = {command.id for command in order.parked}
    assert sent - parked <= {row.command for row in rows}, "each has its one answer"
    (entry,), (held, ended) = entries.values(), claims(order)["1"]
    assert entry.balanced
    assert (entry.allocated, entry.cancelled) == (held, ended)
