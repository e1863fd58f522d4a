"""What delivery brings about, over HTTP on both databases."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import event

from tests.api.test_order_changes import done
from tests.api.test_orders import accepted, ordered
from tests.apiclient import Api
from tests.support import GROWING_ALONE, a_line

STEPS = [{"name": "design", "percent": "40"}, {"name": "live", "percent": "60"}]
PUMPS = a_line("1", name="Pump", quantity="10", list_price="33.45", sla="gold", term_months=24)
SEATS = a_line("2", name="Seats", product="P-2", quantity="5", list_price="10", billing="recurring", sla="silver",
               recognition="ratable", term_months=12)  # fmt: skip
SET_UP = a_line("3", name="Set-up", product="P-3", quantity="1", list_price="500", recognition="milestone",
                milestones=STEPS)  # fmt: skip
MANUAL = {"trigger": {"start": "manual"}}
MANY = 500 if "SOAK" in os.environ else 100


async def active(api: Api, *lines: dict[str, Any], slot: dict[str, Any] | None = None) -> str:
    """An order of everything, with the back office since the second of March 2026."""
    await accepted(api, lines=[{**line, "discount_percent": "15"} for line in lines])
    (id,) = await ordered(api, way="whole", slot={**MANUAL, **(slot or {})})
    await started(api, id)
    return id


async def started(api: Api, id: str) -> None:
    await done(api, "dina", f"orders/{id}/go-live")
    await done(api, "bruno", f"erp/documents/{id}/accept", reference="SO-1")


async def get(api: Api, path: str, who: str = "freyja", expect: int = 200) -> Any:
    answer = await api.call(who, "GET", f"/v1/{path}")
    assert answer.status_code == expect, answer.text
    return answer.json()


async def months(api: Api, id: str = "C-1", **query: str) -> dict[str, tuple[str, str]]:
    more = "".join(f"&{name}={value}" for name, value in query.items())
    found = await get(api, f"customers/{id}/revenue?from=2026-01&to=2027-12{more}")
    return {m["month"]: (m["recognised"], m["remaining"]) for m in found}


async def test_a_customer_is_seen_whole(api: Api) -> None:
    id = await active(api, PUMPS, SEATS, SET_UP)
    await done(api, "bruno", f"orders/{id}/deliveries", id="D-1", lines={"1": "4"}, serials={"1": ["A1", "A2"]})
    whole = await get(api, "customers/C-1")
    assert (whole["name"], whole["order_counts"], whole["approvals"]) == ("Acme", {"partly_fulfilled": 1}, [])
    (contract,) = whole["contracts"]
    assert (contract["contract"]["id"], contract["contract"]["ends"]) == ("C-1-renewable", "2027-03-02")
    assert contract["value"] == {"EUR": "623.73"}  # 4 pumps of 284.33, and 510 for the seats
    assert whole["counts"] == {"assets": 1, "subscriptions": 1, "entitlements": 2}
    (asset,) = whole["assets"]
    assert (asset["quantity"], asset["serials"], asset["price"], asset["shipment"]) == (
        "4", ["A1", "A2"], "113.73", "D-1",
    )  # fmt: skip
    (seats,) = whole["subscriptions"]
    assert (seats["starts"], seats["ends"], seats["price"]) == ("2026-03-02", "2027-03-02", "510.00")
    assert {(e["product"], e["quantity"], e["response_hours"]) for e in whole["entitlements"]} == {
        ("P-1", "4", 4), ("P-2", "5", 8),
    }  # fmt: skip
    assert whole["revenue"][0]["sold"] == "1219.33"
    assert (await get(api, "customers/C-1", "dina"))["revenue"] is None
    assert [c["id"] for c in (await get(api, "customers"))["items"]] == ["C-1"]


async def test_revenue_follows_what_was_delivered_and_adds_up(api: Api) -> None:
    id = await active(api, PUMPS, SEATS, SET_UP)
    await done(api, "bruno", f"orders/{id}/deliveries", id="D-1", lines={"1": "4"})
    await done(api, "dina", f"orders/{id}/milestones/design")
    march = Decimal("41.92") + Decimal("113.73") + Decimal("170.00")  # 30 of 365 days of 510; 4 of 10; 40 percent
    found = await months(api)
    assert found["2026-03"] == (str(march), str(Decimal("1219.33") - march))
    assert found["2027-03"][1] == str(Decimal("1219.33") - Decimal(510) - Decimal("113.73") - Decimal(170))
    of_order = await get(api, f"orders/{id}/revenue")
    earned = [(e["because"], e["amount"]) for e in of_order["entries"] if e["kind"] == "earned" and e["line"] != "2"]
    assert earned == [("D-1", "113.73"), ("design", "170.00")]
    assert Decimal(of_order["price"]) == Decimal(of_order["recognised"]) + Decimal(of_order["remaining"])
    by_product = await get(api, "revenue?from=2026-03&to=2026-03&by=product")
    assert {m["of"]: m["recognised"] for m in by_product} == {"P-1": "113.73", "P-2": "41.92", "P-3": "170.00"}


async def test_what_is_learned_later_was_not_known_before(api: Api) -> None:
    id = await active(api, PUMPS)
    then = api.bench.clock.at.isoformat().replace("+00:00", "Z")
    api.bench.clock.forward(days=40)
    await done(api, "bruno", f"orders/{id}/deliveries", id="D-1", lines={"1": "10"}, on="2026-03-20")
    assert (await months(api))["2026-03"] == ("284.33", "0.00")
    assert await months(api, known_at=then) == {"2026-03": ("0.00", "284.33")}
    entitled = "customers/C-1/entitlements?as_of=2026-03-25"
    assert [e["quantity"] for e in await get(api, entitled, "dina")] == ["10"]
    assert await get(api, f"{entitled}&known_at={then}", "dina") == []


async def test_a_closed_month_stays_and_later_news_count_in_the_open_one(api: Api) -> None:
    id = await active(api, PUMPS)
    api.bench.clock.forward(days=40)
    await done(api, "freyja", "periods/0000-03/close", 422)
    await done(api, "freyja", "periods/2026-03/close")
    for month, code, problem in (
        ("2026-03", 409, "closed already"), ("2026-05", 409, "Close 2026-04 first"), ("2026-04", 422, "not over yet"),
    ):  # fmt: skip
        refused = await done(api, "freyja", f"periods/{month}/close", code)
        assert problem in refused["detail"]
    await done(api, "bruno", f"orders/{id}/deliveries", id="D-1", lines={"1": "10"}, on="2026-03-20")
    found = await months(api)
    assert (found["2026-03"], found["2026-04"]) == (("0.00", "284.33"), ("284.33", "0.00"))
    assert (await get(api, "periods")) == {"closed_through": "2026-03"}


async def test_a_return_takes_revenue_back_and_its_replacement_earns_it_again(api: Api) -> None:
    id = await active(api, PUMPS)
    await done(api, "bruno", f"orders/{id}/deliveries", id="D", lines={"1": "10"}, serials={"1": ["A1", "A2"]})
    wrong = await done(api, "bruno", f"orders/{id}/returns", 422, id="R", lines={"1": "1"}, reason="broken",
                       arrived=True, serials={"1": ["B9"]})  # fmt: skip
    assert wrong["errors"][0]["field"] == "serials.1"
    await done(api, "bruno", f"orders/{id}/returns", id="R", lines={"1": "1"}, reason="broken", arrived=True,
               serials={"1": ["A2"]})  # fmt: skip
    assert (await months(api))["2026-03"] == ("255.90", "0.00")
    assert [(a["quantity"], a["serials"]) for a in (await get(api, "customers/C-1"))["assets"]] == [("9", ["A1"])]
    replaced = (await done(api, "dina", f"orders/{id}/returns/1/replace", 201, **MANUAL))["order"]["id"]
    await started(api, replaced)
    await done(api, "bruno", f"orders/{replaced}/deliveries", id="D", lines={"1": "1"})
    assert (await months(api))["2026-03"] == ("284.33", "0.00")
    entitled = await get(api, "customers/C-1/entitlements", "dina")
    assert sorted(e["quantity"] for e in entitled) == ["1", "9"]


async def test_what_the_customer_must_accept_is_earned_when_they_do(api: Api) -> None:
    id = await active(api, {**PUMPS, "acceptance_days": 60})
    early = await done(api, "dina", f"orders/{id}/customer-acceptance", 422)
    assert "nothing was delivered" in early["detail"]
    await done(api, "bruno", f"orders/{id}/deliveries", id="D-1", lines={"1": "10"})
    assert (await months(api))["2026-05"] == ("284.33", "0.00")  # deemed
    for _ in range(2):
        answer = await api.call(
            "dina", "POST", f"/v1/orders/{id}/customer-acceptance", headers={"Idempotency-Key": "k"}
        )
        assert answer.status_code == 200
    found = await months(api)
    assert found["2026-03"] == ("284.33", "0.00")
    assert [e["verb"] for e in (await get(api, f"orders/{id}/audit"))["items"]].count("customer_accepts") == 1


async def test_ways_to_end_are_previewed_with_the_money_and_happen_so(api: Api) -> None:
    await active(api, SEATS)
    api.bench.clock.forward(days=100)
    body = {"customer": {"id": "C-1", "name": "Acme"}, "currency": "EUR", "owner": "rita", "lines": [SEATS]}
    assert (await api.call("rita", "PUT", "/v1/quotes/Q-2", json=body)).status_code == 201
    await done(api, "rita", "quotes/Q-2/submit")
    await done(api, "rita", "quotes/Q-2/accept", on="2026-03-02")
    (two,) = (await done(api, "rita", "quotes/Q-2/orders", 201, way="whole", slot=MANUAL))["orders"]
    ways = await get(api, f"orders/{two['id']}/co-termination", "dina")
    told = {way: [(e["order"], e["ends"], e["price"]) for e in some] for way, some in ways.items()}
    assert told == {
        "own": [("Q-2-1", "2027-06-10", "600.00")],
        "contract": [("Q-2-1", "2027-03-02", "435.62")],
        "extend": [("Q-2-1", "2027-06-10", "600.00"), ("Q-1-1", "2027-06-10", "139.73")],
    }
    refused = await done(api, "dina", f"orders/{two['id']}/amend", 422, coterm="extend")
    assert refused["errors"][0]["field"] == "coterm"
    await done(api, "dina", f"orders/{two['id']}/amend", coterm="contract")
    await started(api, two["id"])
    (contract,) = await get(api, "customers/C-1/contracts")
    assert (contract["contract"]["ends"], contract["value"]) == ("2027-03-02", {"EUR": "945.62"})
    assert (await months(api))["2027-03"][1] == "0.00"


async def test_there_must_be_something_to_end_with(api: Api) -> None:
    await accepted(api)
    slot = {**MANUAL, "coterm": "contract"}
    refused = await done(api, "rita", "quotes/Q-1/orders", 422, way="whole", slot=slot)
    assert refused["errors"][0]["field"] == "coterm"


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("deliveries", {"id": "D", "lines": {"1": "1"}, "on": "2026-03-09"}, "on"),
        ("deliveries", {"id": "D", "lines": {"1": "1"}, "serials": {"1": ["A", "B"]}}, "serials.1"),
        ("deliveries", {"id": "D", "lines": {"1": "1"}, "serials": {"2": ["A"]}}, "serials.2"),
    ],
)
async def test_reports_that_cannot_be_change_nothing(api: Api, path: str, body: dict[str, Any], field: str) -> None:
    id = await active(api, PUMPS)
    refused = await done(api, "bruno", f"orders/{id}/{path}", 422, **body)
    assert refused["field"] == field
    assert (await get(api, "customers/C-1"))["assets"] == []


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ({"sla": "diamond"}, "lines[0].sla"),
        ({"milestones": STEPS}, "lines[0].milestones"),
        ({"recognition": "milestone", "milestones": STEPS[:1]}, "lines[0].milestones"),
        ({"recognition": "milestone", "milestones": [STEPS[0], {**STEPS[1], "name": "design"}]}, "lines[0].milestones"),
    ],
)
async def test_terms_that_cannot_be_are_refused(api: Api, line: dict[str, Any], field: str) -> None:
    body = {"customer": {"id": "C-1", "name": "Acme"}, "currency": "EUR", "owner": "rita", "lines": [a_line(**line)]}
    refused = await api.call("rita", "PUT", "/v1/quotes/Q-9", json=body)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, field)


async def test_milestones_are_reached_once_and_the_order_ends_with_the_last(api: Api) -> None:
    id = await active(api, SET_UP)
    for name, code, status in (
        ("live", 200, "active"), ("live", 409, "active"), ("paint", 409, "active"), ("design", 200, "fulfilled"),
    ):  # fmt: skip
        await done(api, "dina", f"orders/{id}/milestones/{name}", code)
        assert (await get(api, f"orders/{id}"))["status"] == status
    assert (await months(api))["2026-03"] == ("425.00", "0.00")


async def test_many_orders_of_one_customer_become_active_at_once(api: Api) -> None:
    cheap = {"quantity": str(MANY), "discount_percent": "15", "list_price": "0.10"}
    await accepted(api, lines=[{**PUMPS, **cheap}, {**SEATS, **cheap}])
    each = {"slot": MANUAL, "lines": {"1": "1", "2": "1"}}
    ids = [id for _ in range(MANY // 100) for id in await ordered(api, way="hand", groups=[each] * 100)]
    for id in ids:
        await done(api, "dina", f"orders/{id}/go-live")
    answers = await asyncio.gather(*(api.call("bruno", "POST", f"/v1/erp/documents/{id}/accept") for id in ids))
    assert {answer.status_code for answer in answers} <= {200, 202}
    await api.bench.container.path.settle()
    (contract,) = await get(api, "customers/C-1/contracts")
    assert (len(contract["subscriptions"]), contract["value"]) == (MANY, {"EUR": f"{MANY * Decimal('1.02'):.2f}"})
    assert (await months(api))["2026-03"][0] == str(MANY * Decimal("0.08"))


@contextmanager
def queries(api: Api) -> Iterator[list[str]]:
    """What the database is asked meanwhile."""
    asked: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        asked.append(statement)

    engine = api.bench.container.database.questions
    event.listen(engine, "before_cursor_execute", note)
    yield asked
    event.remove(engine, "before_cursor_execute", note)


async def test_the_same_questions_whatever_the_number_of_orders(api: Api) -> None:
    await accepted(api, lines=[{**PUMPS, "quantity": "20", "discount_percent": "15"}])
    ids = await ordered(api, way="even", waves=20, slot=MANUAL)
    await started(api, ids[0])
    with queries(api) as few:
        await get(api, "customers/C-1")
    for id in ids[1:]:
        await started(api, id)
    with queries(api) as many:
        await get(api, "customers/C-1")
    assert len(few) == len(many) <= 12


async def test_a_spreadsheet_of_revenue_equals_the_list(api: Api) -> None:
    await active(api, PUMPS, SEATS)
    listed = await get(api, "revenue?from=2026-03&to=2027-03&by=customer")
    text = (await api.call("freyja", "GET", "/v1/revenue.csv?from=2026-03&to=2027-03&by=customer")).text
    head, *rows = (row.split(",") for row in text.splitlines())
    assert [dict(zip(head, row, strict=True)) for row in rows] == listed
    wrong = await api.call("freyja", "GET", "/v1/revenue?from=2026-03&to=2026-02")
    assert wrong.json()["errors"][0]["field"] == "to"


async def test_figures_are_kept_of_orders_on_time_refused_and_to_come(api: Api) -> None:
    await accepted(api, lines=[{**PUMPS, "discount_percent": "15"}])
    late = {"trigger": {"start": "manual"}, "promised": "2026-03-05"}
    waits = {"trigger": {"start": "date", "on": "2026-03-20"}}
    groups = [{"slot": slot, "lines": {"1": "2"}} for slot in (late, waits, MANUAL)]
    one, two, three = await ordered(api, way="hand", groups=groups)
    await started(api, one)
    await done(api, "bruno", f"orders/{one}/backorder", lines={"1": "1"}, expected="2026-03-09")
    await done(api, "dina", f"orders/{three}/go-live")
    await done(api, "bruno", f"erp/documents/{three}/refuse", reason="Unknown product")
    api.bench.clock.forward(days=7)
    found = await get(api, "figures", "dina")
    assert found["on_time"] == {"started": 1, "started_on_their_day": 1, "promised": 1, "kept": 0, "overdue": 1}
    assert [w["order"] for w in found["not_in_stock"]] == [one]
    assert [(w["order"], w["since"][:10]) for w in found["refused"]] == [(three, "2026-03-02")]
    assert found["weeks"] == [{"begins": "2026-03-16", "orders": 1, "currency": "EUR", "net_total": "56.87"}]
    text = (await api.call("dina", "GET", "/v1/figures.csv")).text
    assert "week_EUR,2026-03-16,56.87" in text
    assert two not in text
    await done(api, "bruno", f"orders/{one}/deliveries", id="D", lines={"1": "2"})
    again = await get(api, "figures", "dina")
    assert (again["on_time"]["overdue"], again["not_in_stock"]) == (0, [])


@pytest.mark.parametrize("edge", ["0001-01-01", "9999-12-31"])
async def test_days_at_the_edges_of_the_calendar_are_refused_by_field(api: Api, edge: str) -> None:
    id = await active(api, PUMPS)
    far = {"0001-01-01": "0001-01-01T00:00:00%2B14:00", "9999-12-31": "9999-12-31T23:59:59-12:00"}[edge]
    for path, field in (("customers/C-1?", "known_at"), ("revenue?from=2026-01&to=2026-02&", "known_at"),
                        ("figures?", "from"), ("figures?", "to")):  # fmt: skip
        found = await get(api, f"{path}{field}={far if field == 'known_at' else edge}", expect=422)
        assert found["errors"][0]["field"] == field
    for who, path, body, field in (
        ("bruno", f"orders/{id}/deliveries", {"id": "D-1", "lines": {"1": "1"}, "on": edge}, "on"),
        ("dina", f"orders/{id}/amend", {"lines": {"1": "9"}, "reason": "less", "promised": edge}, "promised"),
        ("dina", "quotes/Q-1/orders/preview", {"way": "even", "waves": 3, "first": edge}, "even.first"),
        ("dora", "delegations", {"person": "dora", "delegate": "fabio", "first": edge}, "first"),
    ):
        answer = await api.call(who, "POST", f"/v1/{path}", json=body)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)


async def test_a_wrong_report_is_corrected_and_everything_that_followed_in_the_open_period(api: Api) -> None:
    id = await active(api, PUMPS)
    await done(api, "bruno", f"orders/{id}/deliveries", id="D-1", lines={"1": "10"}, serials={"1": ["A1", "A2"]})
    assert (await months(api))["2026-03"] == ("284.33", "0.00")
    api.bench.clock.forward(days=31)
    await done(api, "freyja", "periods/2026-03/close")
    wrong = {"what": "delivery", "id": "D-1", "lines": {"1": "4"}}
    await done(api, "bruno", f"orders/{id}/corrections", 422, **wrong)
    await done(api, "bruno", f"orders/{id}/corrections", **wrong, reason="the carrier miscounted")
    found = await months(api)
    assert (found["2026-03"], found["2026-04"]) == (("284.33", "0.00"), ("-170.60", "170.60"))
    seen = await get(api, "customers/C-1")
    assert [(a["quantity"], a["price"]) for a in seen["assets"]] == [("4", "113.73")]
    assert [e["quantity"] for e in await get(api, "customers/C-1/entitlements", "dina")] == ["4"]
    await done(api, "bruno", f"orders/{id}/deliveries", id="D-2", lines={"1": "6"})
    assert (await months(api))["2026-04"] == ("0.00", "0.00")
    assert [e["verb"] for e in (await get(api, f"orders/{id}/audit"))["items"]].count("correct") == 1


async def test_a_serial_number_is_delivered_once_until_it_comes_back(api: Api) -> None:
    id = await active(api, PUMPS)
    await done(api, "bruno", f"orders/{id}/deliveries", id="D-1", lines={"1": "2"}, serials={"1": ["A1", "A2"]})
    again = {"id": "D-2", "lines": {"1": "1"}, "serials": {"1": ["A1"]}}
    wrong = await done(api, "bruno", f"orders/{id}/deliveries", 422, **again)
    assert wrong["field"] == "serials.1"
    await done(api, "bruno", f"orders/{id}/returns", id="R", lines={"1": "1"}, reason="broken", arrived=True,
               serials={"1": ["A1"]}, on="2026-03-02")  # fmt: skip
    await done(api, "bruno", f"orders/{id}/deliveries", **{**again, "id": "D-3"})


async def test_a_return_counts_on_its_own_day_and_not_before_the_delivery(api: Api) -> None:
    id = await active(api, PUMPS)
    await done(api, "bruno", f"orders/{id}/deliveries", id="D-1", lines={"1": "10"})
    api.bench.clock.forward(days=60)
    body = {"id": "R", "lines": {"1": "1"}, "reason": "broken", "arrived": True}
    for wrong in ("2026-03-01", "2026-06-30"):
        assert (await done(api, "bruno", f"orders/{id}/returns", 422, **body, on=wrong))["errors"][0]["field"] == "on"
    await done(api, "bruno", f"orders/{id}/returns", **body, on="2026-03-20")
    assert (await months(api))["2026-03"] == ("255.90", "0.00")


async def test_nobody_accepts_before_the_delivery(api: Api) -> None:
    id = await active(api, {**PUMPS, "acceptance_days": 60})
    await done(api, "bruno", f"orders/{id}/deliveries", id="D-1", lines={"1": "10"})
    wrong = await done(api, "dina", f"orders/{id}/customer-acceptance", 422, on="2026-03-01")
    assert wrong["errors"][0]["field"] == "on"


@pytest.mark.parametrize("currency", ["ISK", "EUR"])
async def test_a_total_finer_than_the_currency_is_refused(api: Api, currency: str) -> None:
    line = a_line("1", quantity="3", list_price="33.333" if currency == "EUR" else "399.6",
                  net_total="99.999" if currency == "EUR" else "1198.8")  # fmt: skip
    answer = await api.call("rita", "PUT", "/v1/quotes/Q-9", json={
        "customer": {"id": "C-1", "name": "Acme"}, "currency": currency, "owner": "rita", "lines": [line]})  # fmt: skip
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "lines[0].net_total")


async def test_a_service_that_is_recognised_when_it_is_done_is_confirmed_and_not_shipped(api: Api) -> None:
    training = a_line("1", name="Training", product="P-7", quantity="2", unit="d", list_price="500", kind="service")
    id = await active(api, training)
    (document,) = (await api.call("bruno", "GET", "/v1/erp/documents")).json()["items"]
    assert [(line["ships"], line["unit"]) for line in document["body"]["lines"]] == [(False, "d")]
    assert "2026-03" not in await months(api) or (await months(api))["2026-03"][0] == "0.00"
    wrong = await done(api, "bruno", f"orders/{id}/deliveries", 422, id="D", lines={"1": "2"})
    assert wrong["field"] == "lines.1"
    await done(api, "dina", f"orders/{id}/milestones/done")
    assert (await months(api))["2026-03"] == ("850.00", "0.00")
    assert (await get(api, f"orders/{id}", "dina"))["status"] == "fulfilled"


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "subscription"},
        {"kind": "goods", "recognition": "milestone"},
        {"kind": "goods", "billing": "recurring"},
        {"kind": "magic"},
    ],
)
async def test_a_kind_that_contradicts_its_line_is_refused(api: Api, wrong: dict[str, Any]) -> None:
    answer = await api.call("rita", "PUT", "/v1/quotes/Q-9", json={
        "customer": {"id": "C-1", "name": "Acme"}, "currency": "EUR", "owner": "rita", "lines": [a_line("1", **wrong)]})  # fmt: skip
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] in ("lines[0].kind", "lines.0.kind")


@pytest.mark.parametrize("cancelled", [False, True])
async def test_what_ends_with_the_contract_has_one_price_everywhere(api: Api, cancelled: bool) -> None:
    await active(api, SEATS)
    api.bench.clock.forward(days=100)
    body = {"customer": {"id": "C-1", "name": "Acme"}, "currency": "EUR", "owner": "rita", "lines": [SEATS]}
    await api.call("rita", "PUT", "/v1/quotes/Q-2", json=body)
    await done(api, "rita", "quotes/Q-2/submit")
    await done(api, "rita", "quotes/Q-2/accept", on="2026-03-02")
    slot = {**MANUAL, "coterm": "contract"}
    (two,) = (await done(api, "rita", "quotes/Q-2/orders", 201, way="whole", slot=slot))["orders"]
    ways = await get(api, f"orders/{two['id']}/co-termination", "dina")
    assert [each["price"] for each in ways["contract"]] == ["435.62"]
    await done(api, "dina", f"orders/{two['id']}/go-live")
    (document,) = (await api.call("bruno", "GET", "/v1/erp/documents?status=waiting")).json()["items"]
    assert [line["net_total"] for line in document["body"]["lines"]] == ["435.62"]
    (entry,) = (await api.call("dina", "GET", "/v1/quotes/Q-2/ledger")).json()
    assert (entry["allocated"]["net"], entry["not_charged"], entry["quoted"]["net"]) == ("435.62", "164.38", "600.00")
    if cancelled:
        await done(api, "bruno", f"erp/documents/{two['id']}/refuse", reason="no such customer")
        await api.bench.publish(GROWING_ALONE)
        await done(api, "dina", f"orders/{two['id']}/cancel")
        (entry,) = (await api.call("dina", "GET", "/v1/quotes/Q-2/ledger")).json()
        assert (entry["unallocated"]["net"], entry["not_charged"]) == ("600.00", "0.00")
        return
    await done(api, "bruno", f"erp/documents/{two['id']}/accept", reference="SO-2")
    assert (await get(api, f"orders/{two['id']}", "dina"))["net_total"] == "435.62"
    (contract,) = await get(api, "customers/C-1/contracts")
    assert (contract["contract"]["ends"], contract["value"]) == ("2027-03-02", {"EUR": "945.62"})
    assert (await months(api))["2027-03"][1] == "0.00"


MONTHLY = a_line("1", name="Hosting", product="P-9", quantity="3", list_price="10", billing="recurring",
                 recognition="ratable")  # fmt: skip


async def test_what_runs_from_month_to_month_is_renewed_by_the_clock_until_it_is_ended(api: Api) -> None:
    id = await active(api, MONTHLY)
    assert (await months(api))["2026-03"][0] != "0.00"
    api.bench.clock.forward(days=65)
    await api.bench.advance(f"order:{id}", "order_fulfilment")
    shown = await get(api, f"orders/{id}", "dina")
    assert (shown["status"], shown["net_total"], shown["order"]["title"].endswith("€76.50")) == (
        "fulfilled",
        "76.50",
        True,
    )
    (contract,) = await get(api, "customers/C-1/contracts")
    assert (contract["contract"]["kind"], contract["value"]) == ("evergreen", {"EUR": "76.50"})
    (entry,) = (await api.call("dina", "GET", "/v1/quotes/Q-1/ledger")).json()
    assert (entry["allocated"]["net"], entry["excess"]["net"]) == ("25.50", "51.00")
    ended = await done(api, "dina", f"orders/{id}/end-subscription", reason="they move", on="2026-06-10")
    assert ended["outcome"]["facts"]["ends"] == {"1": "2026-07-02"}
    assert [e["ends"] for e in await get(api, "customers/C-1/entitlements", "dina")] == ["2026-07-02"]
    api.bench.clock.forward(days=100)
    await api.bench.advance(f"order:{id}", "order_fulfilment")
    shown = await get(api, f"orders/{id}", "dina")
    assert (shown["net_total"], shown["order"]["closed_at"] is not None) == ("102.00", True)
    assert sum(Decimal(recognised) for recognised, _ in (await months(api)).values()) == Decimal("102.00")
    assert (await months(api))["2026-07"][1] == "0.00"
    assert await get(api, "customers/C-1/entitlements", "dina") == []
    again = await done(api, "dina", f"orders/{id}/end-subscription", 409)
    assert again["code"] == "order_closed"


async def test_a_subscription_is_not_ended_in_the_past(api: Api) -> None:
    id = await active(api, MONTHLY)
    api.bench.clock.forward(days=10)
    wrong = await done(api, "dina", f"orders/{id}/end-subscription", 422, on="2026-03-01")
    assert wrong["field"] == "on"
