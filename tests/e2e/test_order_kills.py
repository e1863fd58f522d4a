"""Orders on real processes that are killed with SIGKILL at the worst moments."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlmodel import select

from cli.dev import Stack
from cli.replay import replay_namespace
from domain.approvals.policy import Policy
from domain.errors import Unavailable
from domain.orders.order import Order, OrderStatus
from services.imports.samples import SYSTEM
from storage.orders import orders
from storage.tables import OrderRow
from tests.conftest import Live, container_of
from tests.databases import Postgres
from tests.e2e.conftest import ORDERS, Player, prepared, until
from tests.e2e.order_check import violations
from tests.e2e.test_kills import armed_stack, die
from tests.support import a_line

__all__ = ["armed_stack"]
pytestmark = pytest.mark.e2e
MANUAL = {"trigger": {"start": "manual"}}


async def nobody_is_asked(player: Player) -> None:
    for kind in ("quote", "order_change"):
        await player.live.container.policies.publish_policy(SYSTEM, Policy(kind=kind, rules=()))


async def a_split_quote(player: Player, id: str, waves: int) -> list[str]:
    """A quote of two pieces for each wave, split into so many orders that wait for somebody's word."""
    await player.quote(id, lines=[a_line("1", quantity=str(2 * waves), list_price="33.45")])
    await player.surely("rita", f"/v1/quotes/{id}/submit", f"submit-{id}")
    await _posted(player, f"/v1/quotes/{id}/accept", {"on": "2026-01-02"}, f"accept-{id}")
    placed = await _posted(
        player, f"/v1/quotes/{id}/orders", {"way": "even", "waves": waves, "slot": MANUAL}, f"split-{id}"
    )
    return [order["id"] for order in placed["orders"]]


async def _posted(player: Player, path: str, body: dict[str, Any], key: str) -> dict[str, Any]:
    """What is no command: asked again with its key until it is done."""
    while True:
        try:
            answer = await player.live.call("rita", "POST", path, json=body, headers={"Idempotency-Key": key})
            if answer.status_code in (200, 201):
                found: dict[str, Any] = answer.json()
                return found
        except httpx.HTTPError:
            pass
        await asyncio.sleep(0.2)


async def order_of(player: Player, id: str) -> Order:
    while True:
        with suppress(Unavailable):  # the database was killed
            async with player.live.container.database.reading() as session:
                order = await orders.load(session, id)
            assert order is not None
            return order
        await asyncio.sleep(0.2)


async def agreement(player: Player) -> None:
    found: list[str] = []

    async def agreed() -> bool:
        found[:] = await violations(player.live.container, player.told)
        return not found

    await until(agreed, lambda: f"agreement: {found[:5]}", seconds=300)


STEPS: list[tuple[str, str, str, dict[str, Any]]] = [
    ("reschedule", "dina", "orders/{id}/reschedule", {"on": "2031-01-01"}),
    ("amend", "dina", "orders/{id}/amend", {"lines": {"1": "1"}}),
    ("undo", "dina", "orders/{id}/undo", {}),
    ("hold", "dina", "orders/{id}/hold", {"reason": "why"}),
    ("release", "dina", "orders/{id}/release", {}),
    ("go_live", "dina", "orders/{id}/go-live", {}),
    ("accepted", "bruno", "erp/documents/{id}/accept", {}),
    ("shipment", "bruno", "orders/{id}/shipments", {"id": "S", "lines": {"1": "1"}}),
    ("close_short", "dina", "orders/{id}/close-short", {"reason": "no more"}),
]


@pytest.fixture
async def armed(armed_stack: tuple[Stack, Path]) -> AsyncIterator[tuple[Player, Path]]:
    stack, arm = armed_stack
    container = container_of(stack)
    await prepared(container)
    yield Player(Live(stack, container)), arm
    await container.close()


async def test_the_worker_dies_between_commit_and_completion_of_every_act_of_an_order(
    armed: tuple[Player, Path],
) -> None:
    """One order goes its whole way, and each act of it finds the worker dead just after it was stored."""
    player, arm = armed
    stack = player.live.stack
    await nobody_is_asked(player)
    (arm / "open").touch()
    (id,) = await a_split_quote(player, "D-1", 1)
    worker = stack.children["worker"]

    async def dead() -> bool:
        return not worker.alive

    await until(dead, "the worker's death at open")
    stack.revive()
    for verb, who, path, body in STEPS:
        worker = stack.children["worker"]
        where = f"/v1/{path.format(id=id)}"
        if verb == "release":  # the rival held it too
            first, *others = (await order_of(player, id)).holds
            for hold in others:
                await player.surely("dina", where, f"{id}-{hold.id}", {"hold": hold.id})
            body = {"hold": first.id}
        (arm / verb).touch()
        await player.surely(who, where, f"{id}-{verb}", body)
        await until(dead, f"the worker's death at {verb}")
        rival = {"reason": "a rival", **body} if verb == "hold" else body
        await player.send(who, where, f"{id}-{verb}-rival", rival)
        await player.send(who, where, f"{id}-{verb}", body)
        stack.revive()
        await player.settled()
    await agreement(player)
    done, broken = await replay_namespace(player.live.container, lambda _: None)
    assert done >= 2
    assert broken == []


async def test_many_orders_are_changed_as_they_start_while_worker_api_temporal_and_database_are_killed(
    any_player: Player, own_database: Postgres | None
) -> None:
    """Each starts once or not at all, nothing is lost, nothing twice, and every sum is right."""
    player, stack = any_player, any_player.live.stack
    chance, finished = random.Random(2026), asyncio.Event()
    await nobody_is_asked(player)
    made = [
        id
        for ten in await asyncio.gather(*(a_split_quote(player, f"R-{n}", ORDERS // 10) for n in range(10)))
        for id in ten
    ]
    assert len(set(made)) == ORDERS
    queue = iter(made)
    changes: list[tuple[str, dict[str, Any]]] = [
        ("hold", {"reason": "wait"}), ("cancel", {}), ("reschedule", {"start": "manual"}), ("amend", {"lines": {"1": "1"}}),
    ]  # fmt: skip

    async def race(n: int, id: str) -> None:
        """It is told to start now, and at the same moment to do something else."""
        verb, body = changes[n % len(changes)]
        both = [("reschedule", "now", {"start": "now"}), (verb, "change", body)]
        chance.shuffle(both)
        await asyncio.gather(*(
            player.surely("dina", f"/v1/orders/{id}/{act}", f"{id}-{name}", given) for act, name, given in both
        ))  # fmt: skip
        if (await order_of(player, id)).status is OrderStatus.ACTIVATING:
            await player.surely("bruno", f"/v1/erp/documents/{id}/accept", f"{id}-accept", {"reference": id})
            goods = {"id": "D1", "lines": {"1": "1"}}
            await player.surely("bruno", f"/v1/orders/{id}/deliveries", f"{id}-goods", goods)

    async def runner() -> None:
        for n, id in enumerate(queue):
            await race(n, id)

    async def killer() -> None:
        """Each process is killed once at least."""
        names, turn = ["worker", "api", "engine", *(["database"] if own_database else [])], 0
        while not finished.is_set() or turn < len(names):
            await asyncio.sleep(chance.uniform(1.0, 3.0))
            await asyncio.to_thread(die, stack, own_database, names[turn % len(names)])
            await asyncio.sleep(0.3)
            stack.revive()
            turn += 1
            await until(lambda: asyncio.to_thread(stack.ready), "readiness after a kill", 60)

    async def everyone() -> None:
        await asyncio.gather(*(runner() for _ in range(10)))
        finished.set()

    await asyncio.gather(everyone(), killer())
    player.live.container.temporal.forget()
    await player.settled()

    async def all_started() -> bool:
        """Every order that was told to start and kept from nothing has."""
        async with player.live.container.database.reading() as session:
            query = select(OrderRow.status, OrderRow.starts_at)
            rows = (await session.exec(query)).all()
        return not any(status == OrderStatus.SCHEDULED.value and starts for status, starts in rows)

    await until(all_started, "the start of every order that is due")
    await agreement(player)
    done, broken = await replay_namespace(player.live.container, lambda _: None)
    assert done >= ORDERS
    assert broken == []
