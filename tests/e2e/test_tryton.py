"""Orders by the real worker into the real Tryton over a bad line, and its shipments back."""

import asyncio
import json
import subprocess
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from signal import SIGCONT, SIGSTOP
from typing import Any

import pytest

from cli.dev import Ports, Stack
from cli.doctor import Doctor
from domain.approvals.exchange import read_policy
from erp.tryton.install import DATABASE, HOST, Server
from erp.tryton.rpc import quantity_of
from services.imports.samples import SYSTEM, load
from tests.conftest import ROOT, Live, container_of
from tests.e2e.conftest import LIMITS, SOAK, until
from tests.e2e.test_stack import BIN
from tests.erp.proxy import Proxy, bad_line
from tests.erp.tryton import TrytonProcess, needs_tryton, tryton_process
from tests.support import GROWING_ALONE, a_line, a_quote

pytestmark = [pytest.mark.e2e, needs_tryton]
WAVES, EACH = (200 if SOAK else 14), 4
LESS, GONE, LEAST = WAVES * 3 // 10, WAVES * 4 // 10, WAVES // 2
"""Up to these of the orders are amended to 3 pieces, cancelled, and amended to 2; the others stay."""
PATIENCE = 400


@dataclass
class Land:
    live: Live
    process: TrytonProcess
    line: Proxy

    @property
    def server(self) -> Server:
        return self.process.server


@pytest.fixture(scope="module")
async def land(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Land]:
    home: Path = tmp_path_factory.mktemp("tryton")
    async with tryton_process(home / "erp" / "data") as process, bad_line(HOST, process.server.port, rate=0.09) as line:
        server = process.server
        url = f"http://{HOST}:{line.port}/{DATABASE}"
        settings = {**LIMITS, **server.settings, "DEALWRIGHT_ERP_URL": url, "DEALWRIGHT_ERP_PER_SECOND": "1000"}
        stack = Stack(home / "home", Ports.free(), settings=settings)
        started = stack.running()
        await asyncio.to_thread(started.__enter__)
        container = container_of(stack)
        try:
            await load(container.context, container.access)
            await container.policies.publish_policy(SYSTEM, read_policy(GROWING_ALONE))
            yield Land(Live(stack, container), process, line)
        finally:
            await container.close()
            await asyncio.to_thread(started.__exit__, None, None, None)


async def must(live: Live, who: str, method: str, path: str, **body: Any) -> Any:
    answer = await live.call(who, method, path, json=body or None)
    assert answer.is_success, (path, answer.text)
    return answer.json() if answer.content else None


async def placed(live: Live, id: str = "T-1", waves: int = WAVES, **slot: Any) -> list[str]:
    quote = a_quote(id, lines=[a_line(quantity=str(waves * EACH), list_price="0.35")]).model_dump(mode="json")
    await must(live, "rita", "PUT", f"/v1/quotes/{id}", **quote)
    await must(live, "rita", "POST", f"/v1/quotes/{id}/submit")
    await must(live, "rita", "POST", f"/v1/quotes/{id}/accept", on="2026-01-02")
    answer = await must(live, "rita", "POST", f"/v1/quotes/{id}/orders", way="even", waves=waves, slot=slot)
    return [order["id"] for order in answer["orders"]]


async def statuses(live: Live) -> Counter[str]:
    found: Counter[str] = Counter()
    cursor = ""
    while True:
        page = await must(live, "dina", "GET", f"/v1/orders?limit=200&quote=T-1{cursor}")
        found.update(order["status"] for order in page["items"])
        if not page["next_cursor"]:
            return found
        cursor = f"&cursor={page['next_cursor']}"


async def waiting(live: Live) -> int:
    return len((await must(live, "bruno", "GET", "/v1/erp/documents?status=waiting&limit=200"))["items"])


async def test_over_a_bad_line_each_order_is_there_once_in_its_last_version(land: Land) -> None:
    live = land.live
    ids = await placed(live)

    async def begun() -> bool:
        return (await statuses(live))["active"] >= WAVES // 2

    await until(begun, "half of the orders taken over", PATIENCE)
    live.stack.children["worker"].kill()
    await asyncio.to_thread(live.stack.revive)

    async def all_begun() -> bool:
        return (await statuses(live))["active"] == WAVES

    await until(all_begun, lambda: f"all orders taken over ({land.line.met})", PATIENCE)
    for id in ids[:LESS]:
        await must(live, "dina", "POST", f"/v1/orders/{id}/amend", lines={"1": "3"})
    for id in ids[LESS:GONE]:
        await must(live, "dina", "POST", f"/v1/orders/{id}/cancel")
    for id in ids[GONE:LEAST]:
        await must(live, "dina", "POST", f"/v1/orders/{id}/amend", lines={"1": "2"})

    async def all_answered() -> bool:
        return await waiting(live) == 0

    await until(all_answered, lambda: f"every change answered ({land.line.met})", PATIENCE)
    assert set(land.line.met) >= {"cut before", "cut during", "cut after", "delay", "duplicate", "html 400", "500"}
    land.line.rate = 0
    await agree(land, ids)


async def agree(land: Land, ids: list[str]) -> None:
    """As Tryton itself tells it, and as both are compared."""
    fields = ["web_id", "state", "lines.quantity", "amendments.state"]
    sales = await land.server.rpc().search("sale.sale", [["web_id", "!=", None]], fields)
    assert sorted(sale["web_id"] for sale in sales) == sorted(ids)
    wanted = dict.fromkeys(ids, EACH) | dict.fromkeys(ids[:LESS], 3) | dict.fromkeys(ids[LESS:GONE], 0)
    wanted |= dict.fromkeys(ids[GONE:LEAST], 2)
    for sale in sales:
        (line,) = sale["lines."]
        assert (quantity_of(line["quantity"]), sale["state"] in ("processing", "done")) == (
            wanted[sale["web_id"]],
            True,
        )
    moves = await land.server.rpc().search("stock.move", [["sale.web_id", "in", ids]], ["quantity", "sale.web_id"])
    on_the_way: Counter[str] = Counter()
    for move in moves:
        on_the_way[move["sale."]["web_id"]] += int(move["quantity"])
    assert {id: on_the_way[id] for id in ids} == wanted
    await compared(land.live)
    assert (await must(land.live, "bruno", "GET", "/v1/erp/drift"))["items"] == []


async def compared(live: Live) -> None:
    """Have them compared, and wait until that is done."""
    client = await live.container.temporal.client(lazy=False)

    async def ended() -> int:
        return (await client.count_workflows('WorkflowType="ErpReconciliation" AND ExecutionStatus="Completed"')).count

    async def asked() -> bool:  # refused until the ERP was read without trouble
        return (await live.call("bruno", "POST", "/v1/erp/drift/compare")).status_code == 202

    before = await ended()
    await until(asked, "an ERP that answers", PATIENCE)

    async def done() -> bool:
        return await ended() > before

    await until(done, "the comparison", PATIENCE)


async def test_the_warehouse_at_the_command_line(land: Land) -> None:
    def erp(*words: str, expect: int = 0) -> str:
        command = [str(BIN / "dealwright"), "erp", *words, "--home", str(land.server.home.parents[1])]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
        assert done.returncode == expect, done.stdout + done.stderr
        return done.stdout + done.stderr

    newest = [sale["order"] for sale in json.loads(await asyncio.to_thread(erp, "sales", "--json"))]
    order = next(id for id in newest if LEAST < int(id.removeprefix("T-1-")) <= WAVES - 2)
    assert "done" in await asyncio.to_thread(erp, "ship", order, "--only", "1=1")
    assert '"1": "3"' in await asyncio.to_thread(erp, "parcels", order, "--json")
    for wrong in ("1", "1=0", "1=x", "1=NaN"):
        assert "--only" in await asyncio.to_thread(erp, "ship", order, "--only", wrong, expect=1)
    assert "Nothing of T-9 waits" in await asyncio.to_thread(erp, "ship", "T-9", expect=1)


async def test_what_tryton_sends_in_parts_arrives_and_what_it_loses_is_found_and_mended(land: Land) -> None:
    live, ids = land.live, [f"T-1-{WAVES - 1}", f"T-1-{WAVES}"]
    land.line.rate = 0
    await land.server.warehouse().ship(ids[0])

    async def fulfilled() -> bool:
        return bool((await must(live, "dina", "GET", f"/v1/orders/{ids[0]}"))["status"] == "fulfilled")

    await until(fulfilled, "the shipment")
    rpc = land.server.warehouse()._rpc
    (sale,) = await rpc.search("sale.sale", [["web_id", "=", ids[1]]], ["shipments"])
    await rpc.model("stock.shipment.out", "cancel", sale["shipments"])
    (line,) = await rpc.search("sale.line", [["sale", "=", sale["id"]]], ["product", "unit", "unit_price"])
    told = {"action": "line", "line": line["id"], "quantity": 1.0, "product": line["product"], "unit": line["unit"],
            "unit_price": line["unit_price"]}  # fmt: skip
    (amendment,) = await rpc.create("sale.amendment", {"sale": sale["id"], "lines": [["create", [told]]]})
    await rpc.model("sale.amendment", "validate_amendment", [amendment])
    await compared(live)
    (drift,) = (await must(live, "bruno", "GET", "/v1/erp/drift"))["items"]
    assert (drift["order"], drift["kind"], drift["ours"], drift["theirs"]) == (ids[1], "quantity", "4", "1")
    await must(live, "bruno", "POST", f"/v1/erp/drift/{ids[1]}/mend")

    async def mended() -> bool:
        return not (await must(live, "bruno", "GET", "/v1/erp/drift"))["items"]

    await until(mended, "the mending")
    (line,) = await rpc.search("sale.line", [["sale", "=", sale["id"]]], ["quantity"])
    assert quantity_of(line["quantity"]) == 4
    assert await Doctor(live.container, await live.container.temporal.client(lazy=False)).examine() == []


@pytest.mark.parametrize("outage", ["frozen", "dead"])
async def test_what_is_asked_while_tryton_is_away_reaches_it_afterwards_once_and_in_the_order_of_versions(
    land: Land, outage: str
) -> None:
    live, process, quote = land.live, land.process, f"T-{outage}"
    land.line.rate = 0
    ids = await placed(live, quote, 7, trigger={"start": "manual"})
    amended, cancelled, both, held, sent, ended, delivered = ids
    for id in (sent, ended, delivered):
        await must(live, "dina", "POST", f"/v1/orders/{id}/go-live")
    await until(lambda: in_status(live, "active", sent, ended, delivered), "three orders taken over")
    await land.server.warehouse().ship(delivered)
    await until(lambda: in_status(live, "fulfilled", delivered), "a delivery")
    if outage == "frozen":
        process.send(SIGSTOP)
    else:
        process.kill()
    for id in (amended, cancelled, both, held):
        await must(live, "dina", "POST", f"/v1/orders/{id}/go-live")
    client = await live.container.temporal.client(lazy=False)

    async def is_tried() -> bool:
        described = (await client.get_workflow_handle(f"order:{amended}").describe()).raw_description
        attempts = [a.attempt for a in described.pending_activities if a.activity_type.name == "send_to_erp"]
        return bool(attempts) and attempts[0] >= (2 if outage == "dead" else 1)

    await until(is_tried, "an attempt that the order's run shows")
    for id, verb, body, code in (
        (amended, "amend", {"lines": {"1": "3"}}, 202), (cancelled, "cancel", {}, 202), (both, "amend", {"lines": {"1": "3"}}, 202),
        (both, "cancel", {}, 202), (held, "hold", {"reason": "credit"}, 202), (sent, "amend", {"lines": {"1": "3"}}, 200),
        (sent, "cancel", {}, 202), (ended, "close-short", {"reason": "enough"}, 200), (ended, "undo", {}, 409),
    ):  # fmt: skip
        answer = await live.call("dina", "POST", f"/v1/orders/{id}/{verb}", json=body)
        assert answer.status_code == code, (id, verb, answer.text)
    back = {"id": "R-1", "lines": {"1": "1"}, "reason": "bent", "arrived": True}
    await must(live, "bruno", "POST", f"/v1/orders/{delivered}/returns", **back)
    replacing = (await must(live, "dina", "POST", f"/v1/orders/{delivered}/returns/1/replace"))["order"]["id"]
    if outage == "frozen":
        process.send(SIGCONT)
    else:
        await process.start()
    await until(lambda: in_status(live, "cancelled", cancelled, both, sent, ended), "the cancelled ones", PATIENCE)
    await until(lambda: in_status(live, "active", amended, held, replacing), "the others", PATIENCE)

    async def all_answered() -> bool:
        return await waiting(live) == 0

    await until(all_answered, "every document answered", PATIENCE)
    wanted = dict.fromkeys(ids, Decimal(0)) | {amended: Decimal(3), held: Decimal(EACH), delivered: Decimal(EACH)}
    wanted |= {replacing: Decimal(1)}
    ids.append(replacing)
    (returned,) = await must(live, "dina", "GET", f"/v1/orders/{delivered}/returns")
    assert (returned["status"], returned["lines"]) == ("received", {"1": "1"})
    fields = ["web_id", "lines.quantity", "amendments.description"]
    sales = await land.server.rpc().search("sale.sale", [["web_id", "in", ids]], fields)
    assert {sale["web_id"]: quantity_of(sale["lines."][0]["quantity"]) for sale in sales} == wanted
    for sale in sales:
        told = [amendment["description"] for amendment in sorted(sale["amendments."], key=lambda found: found["id"])]
        assert told == sorted(set(told)), "each version once, in its turn"
    await compared(live)
    assert (await must(live, "bruno", "GET", "/v1/erp/drift"))["items"] == []
    assert await Doctor(live.container, client).examine() == []


async def in_status(live: Live, status: str, *ids: str) -> bool:
    return all([(await must(live, "dina", "GET", f"/v1/orders/{id}"))["status"] == status for id in ids])


PLACES = [
    {"name": f"Hospital {city}", "street": "Rua 1", "city": city, "country": "PT", "time_zone": "Europe/Lisbon"}
    for city in ("Porto", "Lisboa", "Faro")
]
SOFTWARE = {"billing": "recurring", "recognition": "ratable"}
BEDS, RECORDS, SET_UP = (
    a_line("1", name="Bed", product="P-BED", quantity="30", list_price="333.35", discount_percent="15"),
    a_line("2", name="Patient records", product="P-RECORDS", quantity="60", list_price="11.95", term_months=24, **SOFTWARE),
    a_line("3", name="Set-up", product="P-SETUP", quantity="1", list_price="1999.99", billing="one_time",
           recognition="milestone", milestones=[{"name": "live", "percent": "100"}]),
)  # fmt: skip


async def accepted(live: Live, id: str, *lines: dict[str, Any]) -> None:
    customer = {"id": "C-HOSPITAL", "name": "Hospitais do Sul"}
    quote = a_quote(id, lines=list(lines), customer=customer).model_dump(mode="json")
    await must(live, "rita", "PUT", f"/v1/quotes/{id}", **quote)
    await must(live, "rita", "POST", f"/v1/quotes/{id}/submit")
    for _ in range(5):  # steps one after the other
        for who in ("dora", "omar", "lara", "fabio", "marco", "helena", "carla"):
            for item in (await must(live, who, "GET", "/v1/inbox"))["items"]:
                await must(live, who, "POST", f"/v1/approvals/{item['approval']}/approve", digest=item["digest"])
    await must(live, "rita", "POST", f"/v1/quotes/{id}/accept", on="2026-01-02", po_number="PO-1")


async def test_a_hospital_opens_in_three_phases_and_every_figure_agrees(land: Land) -> None:
    """At three places, with software that begins after the set-up, more of it later, a return and its replacement,
    and a change while the ERP is slow."""
    live, desk = land.live, "dina"
    await accepted(live, "H-1", BEDS, RECORDS, SET_UP)
    groups = [
        {"slot": {"ship_to": place, "trigger": {"start": "manual"}}, "lines": {"1": "10"} | ({"3": "1"} if n == 0 else {})}
        for n, place in enumerate(PLACES)
    ]  # fmt: skip
    groups.append(
        {"slot": {"ship_to": PLACES[0], "trigger": {"start": "after", "after": "H-1-1"}}, "lines": {"2": "60"}}
    )
    await must(live, "rita", "POST", "/v1/quotes/H-1/orders", way="hand", groups=groups)
    porto, lisbon, faro, records = (f"H-1-{n}" for n in range(1, 5))
    for id in (porto, lisbon):
        await must(live, desk, "POST", f"/v1/orders/{id}/go-live")
    await must(live, desk, "POST", f"/v1/orders/{faro}/reschedule", on="2030-05-02")
    await until(lambda: in_status(live, "active", porto, lisbon), "two places under way", PATIENCE)

    land.process.send(SIGSTOP)
    answer = await live.call(desk, "POST", f"/v1/orders/{lisbon}/amend", json={"lines": {"1": "8"}, "reason": "fewer"})
    assert answer.is_success
    land.process.send(SIGCONT)

    warehouse = land.server.warehouse()
    await warehouse.ship(porto)
    await must(live, desk, "POST", f"/v1/orders/{porto}/milestones/live")
    await until(lambda: in_status(live, "fulfilled", porto, records), "the software after the set-up", PATIENCE)

    async def amended() -> bool:
        return await waiting(live) == 0 and await shipped_quantity(land, lisbon) == 8

    await until(amended, "the change", PATIENCE)
    await must(
        live, "bruno", "POST", f"/v1/orders/{porto}/returns", id="R-1", lines={"1": "1"}, reason="bent", arrived=True
    )
    replacement = (await must(live, desk, "POST", f"/v1/orders/{porto}/returns/1/replace"))["order"]["id"]
    await until(lambda: in_status(live, "active", replacement), "the replacement under way", PATIENCE)
    await warehouse.ship(replacement)
    await warehouse.ship(lisbon)
    await until(lambda: in_status(live, "fulfilled", replacement, lisbon), "the other deliveries", PATIENCE)

    await accepted(live, "H-2", {**RECORDS, "quantity": "7", "term_months": 36})
    (more,) = (await must(live, "rita", "POST", "/v1/quotes/H-2/orders", way="whole", slot={"coterm": "contract"}))[
        "orders"
    ]
    await until(
        lambda: in_status(live, "fulfilled", more["id"]), "more of the software, until the contract ends", PATIENCE
    )
    await every_figure_agrees(land, [porto, lisbon, records, replacement, more["id"]])
    await compared(live)
    assert (await must(live, "bruno", "GET", "/v1/erp/drift"))["items"] == []


async def shipped_quantity(land: Land, order: str) -> Decimal:
    (sale,) = await land.server.rpc().search("sale.sale", [["web_id", "=", order]], ["lines.quantity"])
    return quantity_of(sale["lines."][0]["quantity"])


async def every_figure_agrees(land: Land, begun: list[str]) -> None:
    """Order, page, ERP, contract, books and ledger, to the cent."""
    live = land.live
    nets: dict[str, Decimal] = {}
    for id in begun:
        nets[id] = await net_of(live, id)
        assert f"€{nets[id]:,.2f}" in await shown(live, f"/orders/{id}")
    sales = await land.server.rpc().search("sale.sale", [["web_id", "in", begun]], ["web_id", "untaxed_amount"])
    assert {sale["web_id"]: quantity_of(sale["untaxed_amount"]) for sale in sales} == nets
    whole = await must(live, "freyja", "GET", "/v1/customers/C-HOSPITAL")
    worth = sum(Decimal(contract["value"]["EUR"]) for contract in whole["contracts"])
    months = await must(live, "freyja", "GET", "/v1/customers/C-HOSPITAL/revenue?from=2026-01&to=2031-12")
    sold = sum(Decimal(month["sold"]) for month in months)
    assert sold == sum(nets.values()) == sum(Decimal(month["recognised"]) for month in months)
    set_up = Decimal("1999.99")  # a service is in no contract
    assert worth == sold - set_up
    page = await shown(live, "/customers/C-HOSPITAL")
    assert all(f"€{Decimal(one['value']['EUR']):,.2f}" in page for one in whole["contracts"])
    for quote, orders in (("H-1", ("H-1-1", "H-1-2", "H-1-3", "H-1-4")), ("H-2", ("H-2-1",))):
        ledger = await must(live, "dina", "GET", f"/v1/quotes/{quote}/ledger")
        allocated = sum(Decimal(entry["allocated"]["net"]) for entry in ledger)
        assert allocated == sum([await net_of(live, id) for id in orders])


async def net_of(live: Live, order: str) -> Decimal:
    lines = (await must(live, "dina", "GET", f"/v1/orders/{order}"))["order"]["lines"]
    return sum((Decimal(line["share"]["net"]) for line in lines), Decimal(0))


async def shown(live: Live, path: str) -> str:
    """A page as finance sees it."""
    return (await live.call("freyja", "GET", path, headers={"Cookie": f"dealwright={live.token('freyja')}"})).text
