"""Tryton itself: what it refuses, what changes do there, and what its warehouse reports."""

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from itertools import count
from typing import Any

import httpx
import pytest

from domain.erp import Document, Report
from erp.port import Answer, ErpError, Refused, Unavailable, Unknown
from erp.tryton.adapter import Tryton
from erp.tryton.catalogue import unit_price
from erp.tryton.install import SHOP, Server
from erp.tryton.rpc import Rpc
from erp.tryton.warehouse import Warehouse
from tests.erp.test_contract import a_document, put
from tests.erp.tryton import needs_tryton, tryton

CENT = Decimal("0.01")


@dataclass
class Shop:
    """One Tryton for all these tests: each has orders of its own."""

    server: Server
    adapter: Tryton
    warehouse: Warehouse
    numbers: Iterator[int] = field(default_factory=count)
    cursor: str = ""

    def document(self, **told: Any) -> Document:
        return a_document(order=f"T-{next(self.numbers)}", **told)

    async def told(self, order: str) -> list[Report]:
        """What is new of an order."""
        found = await self.adapter.reports(self.cursor)
        self.cursor = found.cursor
        return [report for report in found.reports if report.order == order]


@pytest.fixture(scope="module")
async def shop(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shop]:
    async with tryton(tmp_path_factory.mktemp("tryton") / "erp") as server:
        rpc = server.rpc()
        yield Shop(server, Tryton(rpc, SHOP), server.warehouse())
        await rpc.close()


def changed(document: Document, version: int, kind: str = "change", **told: Any) -> Document:
    return a_document(version, kind, document.order, **told)


def lines(*quantities: str, ships: bool = True) -> list[dict[str, Any]]:
    return [{"line": str(n), "product": f"P-{n}", "name": f"Pump {n}", "quantity": quantity, "net_total": "30",
             "ships": ships} for n, quantity in enumerate(quantities, 1)]  # fmt: skip


# --- out --------------------------------------------------------------------------------------------------------------


@needs_tryton
async def test_customer_address_and_products_are_made_where_they_are_missing_and_once(shop: Shop) -> None:
    place = {"name": "Depot", "street": "Laugavegur 1", "city": "Reykjavík", "region": "", "postal_code": "101",
             "country": "IS", "time_zone": "Atlantic/Reykjavik"}  # fmt: skip
    for _ in range(2):
        assert isinstance(await put(shop.adapter, shop.document(ship_to=place)), Answer)
    rpc = shop.server.rpc()
    (party,) = await rpc.search(
        "party.party", [["code", "=", "C-1"]], ["name", "addresses.city", "addresses.country.code"]
    )
    assert party["name"] == "Acme"
    cities = [one["city"] for one in party["addresses."]]
    assert cities.count("Reykjavík") == 1
    assert len(await rpc.search("product.product", [["code", "=", "P-1"]], ["code"])) == 1


@needs_tryton
async def test_one_bad_order_among_many_is_refused_alone(shop: Shop) -> None:
    documents = [shop.document(**({"currency": "XXX"} if n == 3 else {})) for n in range(6)]
    outcomes = await shop.adapter.put(documents)
    assert [type(outcome) for outcome in outcomes] == [Answer] * 3 + [Refused] + [Answer] * 2
    assert "XXX" in str(outcomes[3])
    assert documents[3].order not in await shop.adapter.find([d.order for d in documents])


@needs_tryton
@pytest.mark.parametrize(("wrong", "words"), [({"quantity": "2.5"}, "digits"), ({"currency": "XXX"}, "no currency")])
async def test_a_refusal_has_trytons_words_and_leaves_nothing_there(
    shop: Shop, wrong: dict[str, Any], words: str
) -> None:
    document = shop.document(**wrong)
    with pytest.raises(Refused, match=words):
        await put(shop.adapter, document)
    assert await shop.adapter.find([document.order]) == {}


@needs_tryton
@pytest.mark.parametrize(
    ("unit", "quantity", "symbol"), [("t", "4.25", "t"), ("kg", "2.5", "kg"), ("h", "1.5", "h"), ("pcs", "3", "u")]
)
async def test_a_line_is_sold_in_its_unit_of_measure(shop: Shop, unit: str, quantity: str, symbol: str) -> None:
    document = shop.document(lines=[{**lines(quantity)[0], "product": f"U-{unit}", "unit": unit}])
    assert isinstance(await put(shop.adapter, document), Answer)
    fields = ["lines.quantity", "lines.unit.symbol"]
    (sale,) = await shop.server.rpc().search("sale.sale", [["web_id", "=", document.order]], fields)
    (line,) = sale["lines."]
    assert (str(line["quantity"]), line["unit."]["symbol"]) == (str(float(quantity)), symbol)
    await put(shop.adapter, changed(document, 2, lines=[{"line": "1", "quantity": "2"}]))
    assert (await shop.adapter.find([document.order]))[document.order].quantities == {"1": Decimal(2)}


@needs_tryton
@pytest.mark.parametrize(
    ("unit", "quantity", "words"), [("fathom", "2", "no unit of measure 'fathom'"), ("t", "0.0001", "3 decimals")]
)
async def test_a_unit_that_tryton_cannot_count_is_refused_by_name(
    shop: Shop, unit: str, quantity: str, words: str
) -> None:
    document = shop.document(lines=[{**lines(quantity)[0], "product": f"V-{unit}", "unit": unit}])
    with pytest.raises(Refused, match=words):
        await put(shop.adapter, document)


@needs_tryton
async def test_a_draft_that_an_attempt_before_left_is_finished(shop: Shop) -> None:
    document, rpc = shop.document(), shop.server.rpc()
    drafts = await shop.adapter._catalogue.sales([document])
    await rpc.create("sale.sale", *drafts)
    assert (await shop.adapter.find([document.order]))[document.order].version == 0
    assert isinstance(await put(shop.adapter, document), Answer)
    assert (await shop.adapter.find([document.order]))[document.order].version == 1


@needs_tryton
async def test_no_change_goes_below_what_the_warehouse_has_taken(shop: Shop) -> None:
    document = shop.document()
    await put(shop.adapter, document)
    await shop.warehouse.ship(document.order, {"1": Decimal(3)}, to="picked")
    with pytest.raises(Refused, match="3 of line 1"):
        await put(shop.adapter, changed(document, 2, quantity="2"))
    await put(shop.adapter, changed(document, 3, quantity="3"))
    entry = (await shop.adapter.find([document.order]))[document.order]
    assert (entry.version, entry.quantities) == (3, {"1": 3})


@needs_tryton
async def test_a_line_more_is_refused_and_another_place_is_not(shop: Shop) -> None:
    document = shop.document()
    await put(shop.adapter, document)
    with pytest.raises(Refused, match="adds no line"):
        await put(shop.adapter, changed(document, 2, lines=lines("4", "1")))
    await put(shop.adapter, changed(document, 2, ship_to={"city": "Akureyri"}))
    rpc = shop.server.rpc()
    (sale,) = await rpc.search("sale.sale", [["web_id", "=", document.order]], ["shipment_address.city", "revision"])
    assert (sale["shipment_address."]["city"], sale["revision"]) == ("Akureyri", 1)


@needs_tryton
async def test_cancelling_takes_back_what_was_not_sent(shop: Shop) -> None:
    document, other = shop.document(), shop.document()
    await shop.adapter.put([document, other])
    await put(shop.adapter, changed(document, 2, "cancel", lines=[]))
    entry = (await shop.adapter.find([document.order]))[document.order]
    assert (entry.cancelled, entry.quantities) == (True, {"1": 0})
    assert await shop.warehouse.parcels(document.order) == []
    await shop.warehouse.ship(other.order, {"1": Decimal(1)})
    with pytest.raises(Refused, match="already picked or sent"):
        await put(shop.adapter, changed(other, 2, "cancel", lines=[]))


# --- back -------------------------------------------------------------------------------------------------------------


@needs_tryton
async def test_what_is_sent_in_parts_is_told_in_parts_with_what_is_left(shop: Shop) -> None:
    document = shop.document(lines=lines("4", "2"))
    await put(shop.adapter, document)
    assert await shop.told(document.order) == []
    await shop.warehouse.ship(document.order, {"1": Decimal(3)})
    delivery, backorder = await shop.told(document.order)
    assert (delivery.kind, delivery.lines) == ("delivery", {"1": 3})
    assert isinstance(delivery.on, date)
    assert (backorder.kind, backorder.lines) == ("backorder", {"1": 1, "2": 2})
    assert await shop.told(document.order) == []
    await shop.warehouse.ship(document.order)
    (rest,) = await shop.told(document.order)
    assert (rest.kind, rest.lines) == ("delivery", {"1": 1, "2": 2})
    entry = (await shop.adapter.find([document.order]))[document.order]
    assert entry.shipped == entry.quantities == {"1": 4, "2": 2}


@needs_tryton
async def test_what_is_picked_and_put_back_is_told(shop: Shop) -> None:
    document = shop.document()
    await put(shop.adapter, document)
    parcel = await shop.warehouse.ship(document.order, to="assigned")
    (locked,) = await shop.told(document.order)
    assert (locked.kind, locked.lines) == ("picked", {"1": 4})
    await shop.server.warehouse()._rpc.model("stock.shipment.out", "wait", [parcel.id])
    (free,) = await shop.told(document.order)
    assert (free.kind, free.lines) == ("picked", {"1": 0})


@needs_tryton
async def test_what_left_and_has_not_arrived_is_a_shipment_then_a_delivery(shop: Shop) -> None:
    document = shop.document()
    await put(shop.adapter, document)
    parcel = await shop.warehouse.ship(document.order, to="shipped")
    (sent,) = await shop.told(document.order)
    assert (sent.kind, sent.lines) == ("shipment", {"1": 4})
    await shop.server.warehouse()._rpc.model("stock.shipment.out", "do", [parcel.id])
    (arrived,) = await shop.told(document.order)
    assert (arrived.kind, arrived.lines, arrived.id) == ("delivery", {"1": 4}, sent.id)


@needs_tryton
async def test_services_are_not_sent(shop: Shop) -> None:
    line = {"line": "1", "product": "P-CARE", "name": "Care", "quantity": "4", "net_total": "40", "ships": False}
    document = shop.document(lines=[line])
    await put(shop.adapter, document)
    assert await shop.warehouse.parcels(document.order) == []


# --- the wire ---------------------------------------------------------------------------------------------------------


def an_rpc(answer: Callable[[httpx.Request], httpx.Response]) -> Rpc:
    rpc = Rpc("http://erp.example/erp", "dealwright", "secret")
    rpc._http = httpx.AsyncClient(base_url="http://erp.example/erp/", transport=httpx.MockTransport(answer))
    rpc._session = "known"
    return rpc


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (httpx.Response(200, json={"id": 0, "error": ["UserError", ["No such thing", "", None]]}), Refused),
        (httpx.Response(200, json={"id": 0, "error": ["UserWarning", ["w", "Are you sure?", ""]]}), Refused),
        (httpx.Response(200, json={"id": 0, "error": ["deadlock detected", "Traceback"]}), Unavailable),
        (httpx.Response(400, text="<html>Unable to get RPC method</html>"), Unavailable),
        (httpx.Response(500), Unavailable), (httpx.Response(503, text="busy"), Unavailable),
        (httpx.Response(200, text="<html>Welcome</html>"), Unknown), (httpx.Response(200, text=""), Unknown),
        (httpx.Response(200, json=[1]), Unknown), (httpx.Response(200, json={"id": 0}), Unknown),
        (httpx.ReadTimeout("late"), Unknown), (httpx.RemoteProtocolError("cut"), Unknown),
        (httpx.ConnectError("nobody"), Unavailable),
    ],
)  # fmt: skip
async def test_only_words_for_people_are_a_verdict(answer: httpx.Response | Exception, error: type[ErpError]) -> None:
    def reply(_: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        return answer

    with pytest.raises(error):
        await an_rpc(reply).search("sale.sale", [], ["state"])


@needs_tryton
async def test_a_session_that_ran_out_is_begun_again_and_a_wrong_password_is_no_verdict(shop: Shop) -> None:
    rpc = shop.server.rpc()
    rpc._session = "c29tZWJvZHk6MTpleHBpcmVk"
    assert await rpc.search("web.shop", [["name", "=", SHOP]], ["name"])
    with pytest.raises(Unavailable, match="does not let"):
        await Rpc(shop.server.url, "dealwright", "wrong").search("web.shop", [], ["name"])


@pytest.mark.parametrize(
    ("net", "quantity", "digits", "price"),
    [("682.38", "24", 4, "28.4325"), ("10274.12", "7", 8, "1467.73142857"), ("0", "3", 4, "0.0000")],
)
def test_prices_for_one_come_to_the_total(net: str, quantity: str, digits: int, price: str) -> None:
    assert unit_price(Decimal(net), Decimal(quantity), digits, CENT) == Decimal(price)


def test_prices_too_coarse_for_the_total_are_refused() -> None:
    with pytest.raises(Refused, match="price_decimal"):
        unit_price(Decimal("100.01"), Decimal(30_000), 4, CENT)
