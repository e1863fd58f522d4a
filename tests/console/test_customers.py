"""Customers, revenue and figures as people see them, in a real Chromium at both sizes."""

import re

import pytest
from playwright.async_api import expect

from tests.api.test_customers import PUMPS, SEATS, SET_UP
from tests.console.conftest import Visitor
from tests.console.test_orders import must
from tests.console.test_pages import NUMBERS, accessible
from tests.support import a_quote

pytestmark = [pytest.mark.e2e, pytest.mark.browser]
MANUAL = {"trigger": {"start": "manual"}}


async def a_customer(visitor: Visitor, *lines: dict[str, object], customer: str = "") -> tuple[str, str]:
    """A new customer with an accepted quote of these lines, waiting as one order; their ids."""
    n = next(NUMBERS)
    customer = customer or f"K-{n}"
    quote = a_quote(f"O-{n}", lines=lines, customer={"id": customer, "name": "Þörungaverksmiðjan hf."})
    assert (await visitor.live.call("rita", "PUT", f"/v1/quotes/O-{n}", json=quote.model_dump(mode="json"))).is_success
    await must(visitor, "rita", f"/v1/quotes/O-{n}/submit")
    await must(visitor, "rita", f"/v1/quotes/O-{n}/accept", on="2026-01-02")
    await must(visitor, "rita", f"/v1/quotes/O-{n}/orders", way="whole", slot=MANUAL)
    return customer, f"O-{n}-1"


async def begun(visitor: Visitor, order: str) -> None:
    await must(visitor, "dina", f"/v1/orders/{order}/go-live")
    await must(visitor, "bruno", f"/v1/erp/documents/{order}/accept", reference="SO-1")


async def test_the_customer_is_seen_whole(visitor: Visitor) -> None:
    customer, order = await a_customer(visitor, PUMPS, SEATS, SET_UP)
    await begun(visitor, order)
    await must(visitor, "bruno", f"/v1/orders/{order}/deliveries", id="D-1", lines={"1": "4"},
               serials={"1": ["A-100", "A-101"]})  # fmt: skip
    await visitor.sign_in("freyja")
    await visitor.go("/customers")
    page = visitor.page
    await accessible(visitor)
    await visitor.shot("customers")
    await visitor.go(f"/customers/{customer}")
    await expect(page.locator("main")).to_contain_text("answers within 4 hours")
    await expect(page.locator("main")).to_contain_text("A-100, A-101")
    await expect(page.locator(".chart").first).to_be_visible()
    await accessible(visitor)
    await visitor.shot("customer")
    await page.locator("input[name=as_of]").fill("2020-01-01")
    await page.get_by_role("button", name="Show").click()
    await expect(page.locator("main")).to_contain_text("Nothing on that day.")
    assert visitor.troubles == []


async def test_the_order_desk_reaches_milestones_and_chooses_how_subscriptions_end(visitor: Visitor) -> None:
    customer, first = await a_customer(visitor, SEATS)
    await begun(visitor, first)
    _, order = await a_customer(visitor, {**SEATS, "term_months": 24}, SET_UP, customer=customer)
    await visitor.sign_in("dina")
    await visitor.go(f"/orders/{order}")
    page = visitor.page
    await accessible(visitor)
    await visitor.shot("order-ways-to-end")
    await page.locator("tbody", has_text="with the customer's others").get_by_role("button", name="Choose").click()
    await expect(page.locator("tbody", has_text="with the customer's others")).to_contain_text("chosen")
    await begun(visitor, order)
    await visitor.go(f"/orders/{order}")
    await accessible(visitor)
    await visitor.shot("order-milestones")
    await page.get_by_role("button", name="design is reached").click()
    await page.get_by_role("button", name="live is reached").click()
    await expect(page.locator("h1 .pill")).to_have_text("Fulfilled")
    await page.get_by_role("link", name="Þörungaverksmiðjan hf.").click()
    ends = {
        s["ends"] for s in (await visitor.live.call("dina", "GET", f"/v1/customers/{customer}")).json()["subscriptions"]
    }
    assert len(ends) == 1
    assert visitor.troubles == []


async def test_the_order_desk_writes_down_that_the_customer_accepts(visitor: Visitor) -> None:
    _, order = await a_customer(visitor, {**PUMPS, "acceptance_days": 30})
    await begun(visitor, order)
    await must(visitor, "bruno", f"/v1/orders/{order}/deliveries", id="D-1", lines={"1": "10"})
    await visitor.sign_in("dina")
    await visitor.go(f"/orders/{order}")
    await accessible(visitor)
    await visitor.page.get_by_role("button", name="Write it down").click()
    await expect(visitor.page.locator("main")).to_contain_text("Customer accepts")
    await expect(visitor.page.get_by_role("button", name="Write it down")).to_have_count(0)
    assert visitor.troubles == []


async def test_finance_reads_months_and_refuses_to_close_one_that_is_not_over(visitor: Visitor) -> None:
    _, order = await a_customer(visitor, PUMPS, SEATS)
    await begun(visitor, order)
    await visitor.sign_in("freyja")
    await visitor.go("/revenue")
    page = visitor.page
    await expect(page.locator("tbody tr").first).to_be_visible()
    await accessible(visitor)
    await visitor.shot("revenue")
    await page.locator("select[name=by]").select_option("product")
    await page.get_by_role("button", name="Show").click()
    await expect(page.locator("tbody")).to_contain_text("P-2")
    await accessible(visitor)
    await page.locator("input[name=month]").fill("2199-01")
    await page.get_by_role("button", name="Close it").click()
    await expect(page.locator("main")).to_contain_text(re.compile("not over yet|first"))


async def test_figures_are_seen_at_a_glance(visitor: Visitor) -> None:
    _, order = await a_customer(visitor, PUMPS)
    await must(visitor, "dina", f"/v1/orders/{order}/go-live")
    await must(visitor, "bruno", f"/v1/erp/documents/{order}/refuse", reason="Unknown customer")
    await visitor.sign_in("dina")
    await visitor.go("/figures")
    await expect(visitor.page.locator("section", has_text="Refused by the back office")).to_contain_text(order)
    await accessible(visitor)
    await visitor.shot("figures")
    assert visitor.troubles == []


async def test_the_order_desk_lets_subscriptions_end_together(visitor: Visitor) -> None:
    customer, first = await a_customer(visitor, SEATS)
    await begun(visitor, first)
    _, second = await a_customer(visitor, {**SEATS, "term_months": 24}, customer=customer)
    await begun(visitor, second)
    await visitor.sign_in("dina")
    page = visitor.page
    await visitor.go(f"/customers/{customer}")
    await page.get_by_role("link", name="Let them end together").click()
    row = page.get_by_role("row").filter(has_text=first)
    await expect(row).to_contain_text("+ €")
    await accessible(visitor)
    await visitor.shot("extension")
    await page.get_by_label("Their order number").fill("PO 7")
    await page.get_by_role("button", name="Order it").click()
    quote = first.rpartition("-")[0]
    await page.get_by_role("link", name=f"{quote}-2").first.click()
    await expect(page.locator("main")).to_contain_text("PO 7")
    await expect(page.get_by_role("link", name=first, exact=True)).to_be_visible()
    await visitor.shot("extension-order")
    await visitor.go(f"/customers/{customer}/extensions")
    await expect(page.get_by_role("status")).to_contain_text("no subscription ends before")
    assert visitor.troubles == []
