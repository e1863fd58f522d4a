"""What every adapter of an ERP keeps to, against a real counterpart of each."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, Protocol

import pytest

from domain.erp import Document
from erp.outbox import Outbox
from erp.port import Erp, Refused, Unavailable, Unknown
from erp.webhook import Webhook
from tests.conftest import SECRET
from tests.erp.platform import Platform, platform
from tests.support import NOW


def a_document(version: int = 1, kind: str = "order", order: str = "Q-1-1", **body: Any) -> Document:
    lines = [{"line": "1", "product": "P-1", "name": "Pump", "quantity": "4", "net_total": "113.73", "ships": True}]
    told = {"order": order, "currency": "EUR", "net_total": "113.73", "ship_to": None, "lines": lines, **body}
    given = {
        "order": order,
        "version": version,
        "kind": kind,
        "customer": "C-1",
        "customer_name": "Acme",
        "asked_at": NOW,
    }
    return Document.model_validate({**given, "body": told})


class World(Protocol):
    """An adapter, and what its counterpart has of an order."""

    adapter: Erp

    def known(self) -> list[str]: ...


class OutboxWorld:
    def __init__(self) -> None:
        self.adapter: Erp = Outbox()

    def known(self) -> list[str]:
        return []


class WebhookWorld:
    def __init__(self, counterpart: Platform) -> None:
        self.counterpart = counterpart
        self.adapter: Erp = Webhook(counterpart.url, SECRET, seconds=1)

    def known(self) -> list[str]:
        return sorted(self.counterpart.taken)


@pytest.fixture(params=["outbox", "webhook"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        if request.param == "outbox":
            yield OutboxWorld()
        else:
            yield WebhookWorld(await stack.enter_async_context(platform(SECRET)))


async def test_the_same_message_twice_is_one(world: World) -> None:
    first, again = await world.adapter.put(a_document()), await world.adapter.put(a_document())
    assert first == again
    assert world.known() in ([], ["Q-1-1:1"])


async def test_each_version_of_an_order_is_a_message_of_its_own(world: World) -> None:
    for version, kind in ((1, "order"), (2, "change"), (3, "cancel")):
        await world.adapter.put(a_document(version, kind))
    assert world.known() in ([], ["Q-1-1:1", "Q-1-1:2", "Q-1-1:3"])


async def test_an_order_that_was_never_sent_is_not_found(world: World) -> None:
    assert await world.adapter.find("Q-7-1") is None


async def test_nothing_new_leaves_the_cursor_where_it_is(world: World) -> None:
    found = await world.adapter.reports("here")
    assert (found.cursor, found.reports) == ("here", [])


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
            await adapter.put(a_document())
        if error is not Refused:
            assert (await adapter.put(a_document())).reference == "SO-1"
            assert list(counterpart.taken) == ["Q-1-1:1"]


async def test_the_verdict_is_in_the_erps_own_words() -> None:
    async with platform(SECRET) as counterpart:
        counterpart.moods = ["refuse"]
        with pytest.raises(Refused, match="Unknown product P-9"):
            await Webhook(counterpart.url, SECRET).put(a_document())


async def test_nobody_there_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="nobody answers"):
        await Webhook("http://127.0.0.1:9/events", SECRET, seconds=1).put(a_document())


@pytest.mark.parametrize(
    ("mood", "reference", "later"), [("well", "SO-1", False), ("empty", "", False), ("later", "", True)]
)
async def test_it_may_answer_at_once_or_later(mood: str, reference: str, later: bool) -> None:
    async with platform(SECRET) as counterpart:
        counterpart.moods = [mood]
        answer = await Webhook(counterpart.url, SECRET).put(a_document())
        assert (answer.reference, answer.later) == (reference, later)
