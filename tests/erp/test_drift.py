"""Our orders compared with the ERP's, on both databases: what differs is seen, and mended."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from sqlmodel import select

from domain.drift import Standing, catching_up, drift
from domain.erp import Answer, Document, Entry
from erp.port import Outcome, Refused, Reports
from services.erp.reconciliation import Reconciliation
from services.erp.reports import ErpReports
from services.erp.sender import ErpSender
from storage.tables import CommandRow
from tests.api.test_order_changes import done, order
from tests.apiclient import Api
from tests.erp.test_syncing import send_waiting, waiting


class Shelf:
    """An ERP in memory: it has what it was given, until a test changes it."""

    compares = True
    batch = 20

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.put_kinds: list[str] = []
        self.refuses = ""

    async def put(self, documents: Sequence[Document]) -> list[Outcome]:
        return [self._put(document) for document in documents]

    def _put(self, document: Document) -> Outcome:
        self.put_kinds.append(document.kind)
        if self.refuses:
            return Refused(self.refuses)
        known = self.entries.get(document.order)
        told = {line["line"]: Decimal(line["quantity"]) for line in document.body["lines"]}
        wanted = {**(known.quantities if known else {}), **told}
        moved = {"shipped": known.shipped, "delivered": known.delivered} if known else {}
        self.entries[document.order] = Entry(
            order=document.order, reference="SO-1", version=document.version, quantities=wanted,
            cancelled=document.kind == "cancel" or not any(wanted.values()), **moved,
        )  # fmt: skip
        return Answer(reference="SO-1")

    def change(self, order: str, **told: Any) -> None:
        self.entries[order] = self.entries[order].model_copy(update=told)

    async def find(self, orders: Sequence[str]) -> dict[str, Entry]:
        return {order: self.entries[order] for order in orders if order in self.entries}

    async def list_page(self, after: str) -> tuple[str, list[Entry]]:
        return ("end", list(self.entries.values())) if not after else (after, [])

    async def reports(self, cursor: str) -> Reports:
        return Reports(cursor=cursor, reports=[])


class Compared:
    def __init__(self, api: Api) -> None:
        self.api, self.shelf = api, Shelf()
        bench = api.bench
        self.reconciling = Reconciliation(
            bench.container.database,
            self.shelf,
            bench.clock,
            ErpReports(bench.container.path, self.shelf, "tryton")._store,
            settle=0,
        )
        self.sender = ErpSender(bench.container.path, self.shelf, 1_000)

    async def send(self) -> None:
        await send_waiting(self.api, self.sender)

    async def active(self) -> str:
        id = await waiting(self.api)
        await self.send()
        return id

    async def found(self) -> list[tuple[str, str, str, str]]:
        """What differs, as the back office sees it after comparing."""
        await self.reconciling.reconcile()
        items = (await self.api.call("bruno", "GET", "/v1/erp/drift")).json()["items"]
        return [(item["kind"], item["line"], item["ours"], item["theirs"]) for item in items]

    async def mend(self, id: str) -> list[tuple[str, str]]:
        """What is still different afterwards, and why."""
        assert (await self.api.call("bruno", "POST", f"/v1/erp/drift/{id}/mend")).status_code == 202
        await self.reconciling.mend()
        items = (await self.api.call("bruno", "GET", "/v1/erp/drift")).json()["items"]
        return [(item["kind"], item["words"]) for item in items]


@pytest.fixture
def compared(api: Api) -> Compared:
    return Compared(api)


async def test_what_agrees_is_no_drift(compared: Compared) -> None:
    await compared.active()
    assert await compared.found() == []


async def test_an_order_on_its_way_is_not_compared(api: Api, compared: Compared) -> None:
    id = await compared.active()
    await done(api, "dina", f"orders/{id}/amend", lines={"1": "5"})
    compared.shelf.change(id, quantities={"1": Decimal(1), "2": Decimal(4)})
    assert await compared.found() == []
    await compared.send()
    assert await compared.found() == []


@pytest.mark.parametrize(
    ("wrong", "seen"),
    [
        ({"quantities": {"1": Decimal(1)}}, [("quantity", "1", "6", "1"), ("quantity", "2", "4", "0")]),
        ({"version": 0}, [("missing", "", "1", "")]), ({"cancelled": True}, [("cancelled", "", "running", "cancelled")]),
    ],
)  # fmt: skip
async def test_what_the_erp_has_otherwise_is_found_and_sent_again(
    compared: Compared, wrong: dict[str, Any], seen: list[tuple[str, str, str, str]]
) -> None:
    id = await compared.active()
    compared.shelf.change(id, **wrong)
    assert await compared.found() == seen
    assert await compared.mend(id) == []
    assert compared.shelf.put_kinds == ["order", "restate"]
    assert await compared.found() == []


async def test_an_order_that_the_erp_lost_is_there_again(compared: Compared) -> None:
    id = await compared.active()
    compared.shelf.entries.clear()
    assert await compared.found() == [("missing", "", "1", "")]
    assert await compared.mend(id) == []
    assert list(compared.shelf.entries) == [id]


async def test_what_was_sent_and_never_told_is_told_again(api: Api, compared: Compared) -> None:
    id = await compared.active()
    compared.shelf.change(id, shipped={"1": Decimal(5)}, delivered={"1": Decimal(2)})
    assert await compared.found() == [("delivered", "1", "0", "2"), ("shipped", "1", "0", "5")]
    assert await compared.mend(id) == []
    line = (await order(api, id))["order"]["lines"][0]
    assert (line["shipped"], line["delivered"]) == ("5", "2")


async def dies(*_: Any) -> None:
    """The process dies between its transaction and those that follow: what is told stays stored."""


async def test_what_is_on_its_way_is_not_told_twice_however_often_it_is_mended(api: Api, compared: Compared) -> None:
    id = await compared.active()
    compared.shelf.change(id, shipped={"1": Decimal(2)}, delivered={"1": Decimal(2)})
    await compared.found()
    api.bench.container.path.after_commit = dies  # type: ignore[method-assign]
    for _ in range(3):  # the worker dies after each, or somebody asks again
        assert ("delivered", "") in await compared.mend(id)
    async with api.bench.container.database.reading() as session:
        told = (await session.exec(select(CommandRow).where(CommandRow.verb == "delivery"))).all()
    assert [(row.payload["lines"], row.answered) for row in told] == [({"1": "2"}, False)]


async def test_an_order_that_only_the_erp_has_is_shown_to_people(api: Api, compared: Compared) -> None:
    await compared.active()
    compared.shelf.entries["X-9"] = Entry(order="X-9", reference="SO-9", version=1, quantities={"1": Decimal(1)})
    assert await compared.found() == [("unknown", "", "", "SO-9")]
    ((kind, words),) = await compared.mend("X-9")
    assert (kind, "cancel it in the ERP" in words) == ("unknown", True)


async def test_a_mending_that_is_refused_says_why_and_is_not_tried_for_ever(compared: Compared) -> None:
    id = await compared.active()
    compared.shelf.change(id, quantities={"1": Decimal(1), "2": Decimal(4)})
    await compared.found()
    compared.shelf.refuses = "The period is closed"
    assert await compared.mend(id) == [("quantity", "The period is closed")]
    before = len(compared.shelf.put_kinds)
    await compared.reconciling.mend()
    assert len(compared.shelf.put_kinds) == before


async def test_mending_is_in_the_orders_trail_and_for_the_back_office_only(api: Api, compared: Compared) -> None:
    id = await compared.active()
    assert (await api.call("bruno", "POST", f"/v1/erp/drift/{id}/mend")).status_code == 404
    compared.shelf.change(id, version=0)
    await compared.found()
    for who in ("rita", "dina", "freyja"):
        assert (await api.call(who, "POST", f"/v1/erp/drift/{id}/mend")).status_code == 403
    await compared.mend(id)
    trail = (await api.call("bruno", "GET", f"/v1/orders/{id}/audit")).json()["items"]
    assert ("bruno", "erp_mend", {"kinds": ["missing"]}) in [(e["actor"], e["verb"], e["facts"]) for e in trail]


async def test_an_erp_that_cannot_tell_is_not_compared(api: Api) -> None:
    answer = await api.call("bruno", "POST", "/v1/erp/drift/compare")
    assert (answer.status_code, answer.json()["code"]) == (409, "locked")


# --- the rules --------------------------------------------------------------------------------------------------------


def a_standing(shipped: int = 0, delivered: int = 0, cancelled: bool = False) -> Standing:
    return Standing(order="O", version=2, cancelled=cancelled, quantities={"1": Decimal(0 if cancelled else 9)},
                    shipped={"1": Decimal(shipped)}, delivered={"1": Decimal(delivered)})  # fmt: skip


def an_entry(shipped: int = 0, delivered: int = 0, **told: Any) -> Entry:
    return Entry.model_validate({"order": "O", "reference": "S", "version": 2, "quantities": {"1": 9},
                                 "shipped": {"1": shipped}, "delivered": {"1": delivered}, **told})  # fmt: skip


@pytest.mark.parametrize(
    ("ours", "theirs", "kinds"),
    [
        (a_standing(), None, ["missing"]), (a_standing(cancelled=True), None, []), (a_standing(), an_entry(), []),
        (a_standing(), an_entry(version=1), ["version"]), (a_standing(), an_entry(version=3), []),
        (a_standing(cancelled=True), an_entry(), ["cancelled"]),
        (a_standing(cancelled=True), an_entry(cancelled=True, quantities={}), []),
        (a_standing(3, 1), an_entry(3, 1), []), (a_standing(3, 1), an_entry(4, 1), ["shipped"]),
    ],
)  # fmt: skip
def test_in_what_two_sides_differ(ours: Standing, theirs: Entry | None, kinds: list[str]) -> None:
    assert [each.kind for each in drift(ours, theirs)] == kinds


@pytest.mark.parametrize(
    ("ours", "theirs", "told"),
    [
        ((0, 0), (3, 3), [("delivery", 3)]), ((3, 0), (3, 2), [("delivery", 2)]), ((0, 0), (3, 0), [("shipment", 3)]),
        ((2, 2), (5, 3), [("delivery", 1), ("shipment", 2)]), ((3, 0), (5, 2), [("delivery", 2), ("shipment", 2)]),
        ((5, 5), (3, 3), []),
    ],
)  # fmt: skip
def test_catching_up_tells_what_is_missing_and_no_more(
    ours: tuple[int, int], theirs: tuple[int, int], told: list[tuple[str, int]]
) -> None:
    reports = catching_up(a_standing(*ours), an_entry(*theirs))
    assert [(report.kind, report.lines["1"]) for report in reports] == told
