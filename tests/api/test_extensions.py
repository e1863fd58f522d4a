"""Letting subscriptions end together, over HTTP on both databases."""

from decimal import Decimal
from typing import Any

import pytest

from tests.api.test_customers import MANUAL, SEATS, active, get, months, started
from tests.api.test_order_changes import done
from tests.apiclient import Api

YES = {"on": "2026-06-01", "po_number": "PO 7"}
GROWING = """
kind: order_change
rules:
- name: grows
  title: Finance director
  conditions:
  - {index: 1, field: net_change_percent, operator: greater_than, value: 10}
  - {index: 2, field: extends, operator: is_not_blank}
  ask: {user: fabio}
"""


async def two_subscriptions(api: Api) -> str:
    """Seats until March 2027, and others until June; both run. The id of the later order."""
    await active(api, SEATS)
    api.bench.clock.forward(days=100)
    body = {"customer": {"id": "C-1", "name": "Acme"}, "currency": "EUR", "owner": "rita", "lines": [SEATS]}
    assert (await api.call("rita", "PUT", "/v1/quotes/Q-2", json=body)).status_code == 201
    await done(api, "rita", "quotes/Q-2/submit")
    await done(api, "rita", "quotes/Q-2/accept", on="2026-03-02")
    (two,) = (await done(api, "rita", "quotes/Q-2/orders", 201, way="whole", slot=MANUAL))["orders"]
    await started(api, two["id"])
    return str(two["id"])


async def extend(api: Api, expect: int = 201, key: str = "K", **body: Any) -> Any:
    answer = await api.call(
        "dina", "POST", "/v1/customers/C-1/extensions", json={"acceptance": YES, **body},
        headers={"Idempotency-Key": key},
    )  # fmt: skip
    assert answer.status_code == expect, answer.text
    return answer.json()


async def test_subscriptions_end_together_by_an_order_that_the_erp_has(api: Api) -> None:
    await two_subscriptions(api)
    await api.bench.publish("kind: order_change\nrules: []\n")
    before = sum(Decimal(m[0]) for m in (await months(api)).values())
    shown = await get(api, "customers/C-1/extensions", "dina")
    assert (shown["ends"], shown["approvals"]) == ("2027-06-10", [])
    assert [(s["order"], s["starts"], s["price"]) for s in shown["subscriptions"]] == [
        ("Q-1-1", "2027-03-02", "139.73")
    ]
    (made,) = await extend(api)
    assert [again["id"] for again in await extend(api)] == [made["id"]]
    assert (made["id"], made["extends"], made["acceptance"]["po_number"]) == ("Q-1-2", "Q-1-1", "PO 7")
    await api.bench.advance("order:Q-1-2", "order_fulfilment")
    (document,) = (await get(api, "erp/documents?status=waiting", "bruno"))["items"]
    assert (document["order"], document["body"]["extends"], document["body"]["net_total"]) == (
        "Q-1-2",
        "Q-1-1",
        "139.73",
    )
    await done(api, "bruno", "erp/documents/Q-1-2/accept", reference="SO-9")
    (contract,) = await get(api, "customers/C-1/contracts")
    assert (contract["contract"]["ends"], contract["value"]) == ("2027-06-10", {"EUR": "1249.73"})
    assert sum(Decimal(m[0]) for m in (await months(api)).values()) - before == Decimal("139.73")
    entitled = await get(api, "customers/C-1/entitlements?as_of=2027-05-01", "dina")
    assert {(e["order"], e["quantity"]) for e in entitled} >= {("Q-1-2", "5")}
    ledger = await get(api, "quotes/Q-1/ledger", "dina")
    assert {entry["line"]: entry["excess"]["net"] for entry in ledger} == {"2": "0"}
    refused = await extend(api, 422, "again")
    assert refused["errors"] == [
        {"field": "ends", "problem": "no subscription ends before 2027-06-10 that does not run on already"}
    ]


@pytest.mark.parametrize("decision", ["approve", "reject"])
async def test_the_policy_for_changes_judges_it_and_nothing_is_ordered_before(api: Api, decision: str) -> None:
    await two_subscriptions(api)
    await api.bench.publish(GROWING)
    shown = await get(api, "customers/C-1/extensions", "dina")
    assert shown["approvals"] == ["Finance director: fabio"]
    (made,) = await extend(api)
    held = await get(api, "orders/Q-1-2", "dina")
    assert (held["status"], [hold["owner"] for hold in held["order"]["holds"]]) == ("held", ["approval"])
    assert await get(api, "erp/documents?status=waiting", "bruno") == {"items": [], "next_cursor": None}
    (item,) = (await api.call("fabio", "GET", "/v1/inbox")).json()["items"]
    await done(api, "fabio", f"approvals/{item['approval']}/{decision}", digest=item["digest"], comment="so")
    await api.bench.advance("order:Q-1-2", "order_fulfilment")
    assert (await get(api, f"orders/{made['id']}", "dina"))["status"] == (
        "activating" if decision == "approve" else "cancelled"
    )
    if decision == "reject":
        assert [m["extends"] for m in await extend(api, key="anew")] == ["Q-1-1"]


async def test_what_waits_for_approval_is_cancelled_without_asking_and_cannot_be_changed(api: Api) -> None:
    await two_subscriptions(api)
    await api.bench.publish(GROWING)
    await extend(api)
    refused = await done(api, "dina", "orders/Q-1-2/amend", 409, lines={"2": "4"})
    assert refused["code"] == "change_pending"
    await done(api, "dina", "orders/Q-1-2/undo", 409)
    await done(api, "dina", "orders/Q-1-2/cancel", reason="they thought again")
    assert (await get(api, "orders/Q-1-2", "dina"))["status"] == "cancelled"
    assert (await api.call("fabio", "GET", "/v1/inbox")).json()["items"] == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"acceptance": {"on": "2027-01-01"}}, "acceptance.on"), ({"ends": "2026-07-01"}, "ends"),
        ({"ends": "2100-01-01"}, "ends"), ({"until": "2027-07-01"}, "until"), ({"acceptance": {}}, "acceptance.on"),
    ],
)  # fmt: skip
async def test_what_cannot_be_extended_is_refused_and_changes_nothing(
    api: Api, body: dict[str, Any], field: str
) -> None:
    await two_subscriptions(api)
    refused = await extend(api, 422, **body)
    assert [error["field"] for error in refused["errors"]] == [field]
    assert [order["id"] for order in (await get(api, "orders", "dina"))["items"]] == ["Q-1-1", "Q-2-1"]


async def test_only_the_order_desk_extends(api: Api) -> None:
    await two_subscriptions(api)
    for who in ("rita", "bruno", "freyja"):
        answer = await api.call(who, "POST", "/v1/customers/C-1/extensions", json={"acceptance": YES})
        assert answer.status_code == 403, who
    await get(api, "customers/C-9/extensions", "dina", 404)
