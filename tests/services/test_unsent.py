"""Documents that nobody would send are found and mended, whatever made them so."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, update
from sqlmodel import col

from services.erp.unsent import UnsentDocuments
from storage.tables import ErpDocumentRow
from tests.api.test_order_changes import an_order, done
from tests.apiclient import Api


def looking(api: Api) -> UnsentDocuments:
    """With an ERP connected."""
    bench = api.bench
    return UnsentDocuments(bench.container.database, bench.engine, bench.clock, bench.container.context.audit_key, True)


async def found(api: Api) -> list[tuple[str, int]]:
    return [(each.kind, each.version) async for each in looking(api).find()]


async def waiting(api: Api) -> list[tuple[int, str]]:
    items = (await api.call("bruno", "GET", "/v1/erp/documents?status=waiting")).json()["items"]
    return [(item["version"], item["kind"]) for item in items]


async def asked_for(api: Api, what: str) -> str:
    """An order that the back office is asked for, or a change of it."""
    id = await an_order(api, active=what == "change")
    await done(
        api,
        "dina",
        f"orders/{id}/{'amend' if what == 'change' else 'go-live'}",
        **({"lines": {"1": "5"}} if what == "change" else {}),
    )
    return id


@pytest.mark.parametrize("what", ["order", "change"])
@pytest.mark.parametrize("wrong", ["deleted", "answered by nobody"])
async def test_a_document_that_is_missing_is_asked_for_again(api: Api, what: str, wrong: str) -> None:
    id = await asked_for(api, what)
    before = await waiting(api)
    assert await found(api) == []
    gone: Any = delete(ErpDocumentRow) if wrong == "deleted" else update(ErpDocumentRow).values(status="accepted")
    async with api.bench.container.database.writing() as session:
        await session.execute(gone.where(col(ErpDocumentRow.status) == "waiting"))
    assert await found(api) == [("missing", before[0][0])]
    await looking(api).mend(id)
    assert (await found(api), await waiting(api)) == ([], before)
    entries = (await api.call("dina", "GET", f"/v1/orders/{id}/audit")).json()["items"]
    assert (entries[-1]["verb"], entries[-1]["facts"]["asked"]) == ("erp_mend", before[0][0])


async def test_a_document_that_nobody_waits_for_is_withdrawn(api: Api) -> None:
    id = await an_order(api, active=True)
    async with api.bench.container.database.writing() as session:
        await session.execute(update(ErpDocumentRow).values(status="waiting"))
    assert await found(api) == [("stray", 1)]
    await looking(api).mend(id)
    assert (await found(api), await waiting(api)) == ([], [])


async def test_the_run_of_a_document_that_nobody_tries_is_woken(api: Api) -> None:
    id = await asked_for(api, "order")
    api.bench.engine.signals.clear()
    assert await looking(api).wake() == 0
    api.bench.clock.at += timedelta(minutes=7)
    assert await found(api) == [("overdue", 1)]
    assert await looking(api).wake() == 1
    assert [run for run, _ in api.bench.engine.signals] == [f"order:{id}"]
    assert (await looking(api).wake(), await found(api)) == (0, [])
