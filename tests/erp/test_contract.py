"""What every adapter of an ERP keeps to, against a real counterpart of each."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.erp import Document
from erp.outbox import Outbox
from erp.port import Answer, Erp, ErpError, Refused, Unavailable, Unknown
from erp.tryton.adapter import Tryton
from erp.tryton.install import SHOP, Server
from erp.webhook import Webhook
from tests.conftest import SECRET
from tests.erp.platform import Platform, platform
from tests.erp.tryton import needs_tryton, tryton
from tests.support import NOW


def a_document(
    version: int = 1, kind: str = "order", order: str = "Q-1-1", quantity: str = "4", **body: Any
) -> Document:
    line = {"line": "1", "product": "P-1", "name": "Pump", "quantity": quantity, "net_total": "113.73", "ships": True}
    told = {"order": order, "quote": "Q-1", "currency": "EUR", "net_total": "113.73", "ship_to": None,
            "lines": [line], **body}  # fmt: skip
    given = {
        "order": order,
        "version": version,
        "kind": kind,
        "customer": "C-1",
        "customer_name": "Acme",
        "asked_at": NOW,
    }
    return Document.model_validate({**given, "body": told})


async def put(adapter: Erp, document: Document) -> Answer:
    (outcome,) = await adapter.put([document])
    if isinstance(outcome, ErpError):
        raise outcome
    return outcome


class World(Protocol):
    """An adapter, and what its counterpart has of an order."""

    adapter: Erp

    async def known(self) -> dict[str, int]:
        """How often each version of each order is there."""
        ...


class OutboxWorld:
    def __init__(self) -> None:
        self.adapter: Erp = Outbox()

    async def known(self) -> dict[str, int]:
        return {}


class WebhookWorld:
    def __init__(self, counterpart: Platform) -> None:
        self.counterpart = counterpart
        self.adapter: Erp = Webhook(counterpart.url, SECRET, seconds=1)

    async def known(self) -> dict[str, int]:
        return dict.fromkeys(self.counterpart.taken, 1)


class TrytonWorld:
    def __init__(self, server: Server) -> None:
        self.rpc = server.rpc()
        self.adapter: Erp = Tryton(self.rpc, SHOP)

    async def known(self) -> dict[str, int]:
        """Sales by their orders and the amendments that took effect, as Tryton itself counts them."""
        fields = ["web_id", "state", "amendments.state"]
        found = await self.rpc.search("sale.sale", [["web_id", "!=", None]], fields)
        assert all(sale["state"] in ("processing", "done") for sale in found)
        versions = [(s["web_id"], 1 + sum(a["state"] == "validated" for a in s["amendments."])) for s in found]
        return Counter(f"{order}:{n}" for order, last in versions for n in range(1, last + 1))


@pytest.fixture(params=["outbox", "webhook", pytest.param("tryton", marks=needs_tryton)])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        match request.param:
            case "outbox":
                yield OutboxWorld()
            case "webhook":
                yield WebhookWorld(await stack.enter_async_context(platform(SECRET)))
            case "tryton":
                yield TrytonWorld(await stack.enter_async_context(tryton(tmp_path / "erp")))


async def test_the_same_message_twice_is_one(world: World) -> None:
    first, again = await put(world.adapter, a_document()), await put(world.adapter, a_document())
    assert first == again
    assert await world.known() in ({}, {"Q-1-1:1": 1})


async def test_many_at_once_are_told_apart(world: World) -> None:
    documents = [a_document(order=f"Q-1-{n}") for n in range(1, 4)]
    for _ in range(2):
        assert len(await world.adapter.put(documents)) == 3
    assert await world.known() in ({}, {f"Q-1-{n}:1": 1 for n in range(1, 4)})


async def test_each_version_of_an_order_is_a_message_of_its_own(world: World) -> None:
    for version, kind, quantity in ((1, "order", "4"), (2, "change", "5"), (3, "cancel", "0")):
        for _ in range(2):
            await put(world.adapter, a_document(version, kind, quantity=quantity))
    assert await world.known() in ({}, {f"Q-1-1:{version}": 1 for version in (1, 2, 3)})


async def test_how_an_order_stands_is_told_by_those_who_can_be_asked(world: World) -> None:
    assert await world.adapter.find(["Q-7-1"]) == {}
    await put(world.adapter, a_document())
    await put(world.adapter, a_document(2, "change", quantity="5"))
    found = await world.adapter.find(["Q-1-1", "Q-7-1"])
    place, listed = await world.adapter.list_page("")
    assert bool(found) == bool(listed) == world.adapter.compares
    for entry in [*found.values(), *listed]:
        assert (entry.order, entry.version, entry.quantities) == ("Q-1-1", 2, {"1": 5})
    assert (await world.adapter.list_page(place))[1] == []


async def test_nothing_new_leaves_the_cursor_where_it_is(world: World) -> None:
    await put(world.adapter, a_document())
    first = await world.adapter.reports("")
    again = await world.adapter.reports(first.cursor)
    assert (again.cursor, again.reports) == (first.cursor, [])


# --- what goes wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mood", "error"),
    [
        ("refuse", Refused), ("html 400", Unavailable), ("500", Unavailable), ("html 200", Unknown),
        ("wrong type", Unknown), ("late", Unknown), ("cut before", Unknown), ("cut after", Unknown),
    ],
)  # fmt: skip
async def test_only_a_verdict_is_final(mood: str, error: type[Exception]) -> None:
    async with platform(SECRET) as counterpart:
        adapter = Webhook(counterpart.url, SECRET, seconds=1)
        counterpart.moods = [mood]
        with pytest.raises(error):
            await put(adapter, a_document())
        if error is not Refused:
            assert (await put(adapter, a_document())).reference == "SO-1"
            assert list(counterpart.taken) == ["Q-1-1:1"]


async def test_the_verdict_is_in_the_erps_own_words() -> None:
    async with platform(SECRET) as counterpart:
        counterpart.moods = ["refuse"]
        with pytest.raises(Refused, match="Unknown product P-9"):
            await put(Webhook(counterpart.url, SECRET), a_document())


async def test_nobody_there_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="nobody answers"):
        await put(Webhook("http://127.0.0.1:9/events", SECRET, seconds=1), a_document())


@pytest.mark.parametrize(
    ("mood", "reference", "later"), [("well", "SO-1", False), ("empty", "", False), ("later", "", True)]
)
async def test_it_may_answer_at_once_or_later(mood: str, reference: str, later: bool) -> None:
    async with platform(SECRET) as counterpart:
        counterpart.moods = [mood]
        answer = await put(Webhook(counterpart.url, SECRET), a_document())
        assert (answer.reference, answer.later) == (reference, later)


MOODS = ["cut before", "cut after", "500", "html 400", "html 200", "wrong type", "well"]


@settings(max_examples=25)
@given(moods=st.lists(st.sampled_from(MOODS), max_size=12))
async def test_every_order_is_there_once_whatever_the_faults(moods: list[str]) -> None:
    async with platform(SECRET) as counterpart:
        adapter = Webhook(counterpart.url, SECRET, seconds=1)
        counterpart.moods = list(moods)
        waiting = [a_document(order=f"Q-1-{n}") for n in range(3)]
        for _ in range(len(moods) + 1):
            outcomes = await adapter.put(waiting)
            waiting = [asked for asked, outcome in zip(waiting, outcomes, strict=True) if isinstance(outcome, ErpError)]
        assert (waiting, sorted(counterpart.taken)) == ([], [f"Q-1-{n}:1" for n in range(3)])
