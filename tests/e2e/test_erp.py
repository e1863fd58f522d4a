"""Orders on their way to an integration platform by the real worker, which dies on the way."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from standardwebhooks import Webhook as Signer

from cli.dev import Ports, Stack
from services.imports.samples import load
from tests.conftest import SECRET, Live, container_of
from tests.e2e.conftest import LIMITS, until
from tests.erp.platform import platform
from tests.support import a_line, a_quote

pytestmark = pytest.mark.e2e
WAVES = 12


async def test_each_order_is_there_once_though_answers_are_lost_and_the_worker_dies(tmp_path: Path) -> None:
    async with platform(SECRET) as counterpart:
        settings = {**LIMITS, "DEALWRIGHT_ERP": "webhook", "DEALWRIGHT_ERP_URL": counterpart.url,
                    "DEALWRIGHT_ERP_SECRET": SECRET}  # fmt: skip
        stack = Stack(tmp_path / "home", Ports.free(), settings=settings)
        started = stack.running()
        await asyncio.to_thread(started.__enter__)
        container = container_of(stack)
        try:
            await load(container.context, container.access)
            live = Live(stack, container)
            counterpart.moods = ["cut after", "html 200", "500", "cut before", "late"]
            ids = await placed(live)
            await until(lambda: taken(counterpart.taken), "the first orders at the platform")
            stack.children["worker"].kill()
            await asyncio.to_thread(stack.revive)

            async def active() -> bool:
                found = (await live.call("dina", "GET", "/v1/orders?status=active")).json()["items"]
                return {order["id"] for order in found} == set(ids)

            await until(active, "every order taken over")
            assert sorted(counterpart.taken) == sorted(f"{id}:1" for id in ids)
            await shipped(live, ids[0])
        finally:
            await container.close()
            await asyncio.to_thread(started.__exit__, None, None, None)


async def taken(found: dict[str, object]) -> bool:
    return len(found) >= 3


async def placed(live: Live) -> list[str]:
    quote = a_quote("E-1", lines=[a_line(quantity=str(WAVES))]).model_dump(mode="json")
    for method, path, body in (
        ("PUT", "/v1/quotes/E-1", quote), ("POST", "/v1/quotes/E-1/submit", None),
        ("POST", "/v1/quotes/E-1/accept", {"on": "2026-01-02"}),
    ):  # fmt: skip
        assert (await live.call("rita", method, path, json=body)).is_success, path
    answer = await live.call("rita", "POST", "/v1/quotes/E-1/orders", json={"way": "even", "waves": WAVES})
    return [order["id"] for order in answer.json()["orders"]]


async def shipped(live: Live, id: str) -> None:
    """The platform tells what was delivered, twice."""
    body = json.dumps({"specversion": "1.0", "id": "D-1", "source": "erp", "type": "dealwright.order.delivery",
                       "subject": id, "data": {"lines": {"1": "1"}}})  # fmt: skip
    now = datetime.now(UTC)
    signed = {"webhook-id": "D-1", "webhook-timestamp": str(int(now.timestamp())),
              "webhook-signature": Signer(SECRET).sign("D-1", now, body)}  # fmt: skip
    async with httpx.AsyncClient(base_url=live.stack.api_url) as client:
        for _ in range(2):
            assert (await client.post("/v1/erp/events", content=body, headers=signed)).status_code == 200
    assert (await live.call("dina", "GET", f"/v1/orders/{id}")).json()["status"] == "fulfilled"
