"""From the customer's yes to the last delivery by clicks, in a real Chromium at both sizes."""

import re

import pytest
from playwright.async_api import expect

from tests.console.conftest import Visitor
from tests.console.test_pages import NUMBERS, accessible
from tests.support import a_line, a_quote

pytestmark = [pytest.mark.e2e, pytest.mark.browser]
LINES = [
    a_line("1", name="Edge gateway", quantity="10", list_price="33.45", ship_to={"city": "Porto", "time_zone": "Europe/Lisbon"}),
    a_line("2", name="Antenna", quantity="4", list_price="9.99", ship_to={"city": "Faro", "time_zone": "Europe/Lisbon"}),
]  # fmt: skip


async def an_approved_quote(visitor: Visitor) -> str:
    """Needs nobody: it is approved as soon as it is submitted."""
    id = f"O-{next(NUMBERS)}"
    body = a_quote(id, lines=LINES, customer={"id": "C-9", "name": "Café do Porto Ltda."}).model_dump(mode="json")
    assert (await visitor.live.call("rita", "PUT", f"/v1/quotes/{id}", json=body)).status_code == 201
    assert (await visitor.live.call("rita", "POST", f"/v1/quotes/{id}/submit")).status_code == 200
    return id


async def test_a_yes_is_written_down_and_the_quote_ordered_by_place(visitor: Visitor) -> None:
    id = await an_approved_quote(visitor)
    await visitor.sign_in("dina")
    await visitor.go(f"/quotes/{id}")
    await accessible(visitor)
    await visitor.shot("approved")
    page = visitor.page
    await page.locator("input[name=po_number]").fill("PO 4711")
    await page.get_by_role("button", name="Write it down").click()
    await expect(page.locator("h1 .pill")).to_have_text("Accepted")
    await accessible(visitor)
    await visitor.shot("accepted")
    await page.locator("select[name=way]").select_option("fields")
    await page.locator("select[name=start]").select_option("manual")
    await page.get_by_role("button", name="Show what that makes").click()
    await expect(page.locator(".card")).to_have_count(2)
    await expect(page.locator("main")).to_contain_text("Nothing is left.")
    await accessible(visitor)
    await visitor.shot("split")
    await page.get_by_role("button", name="Order it so").click()
    await expect(page.locator("h1 .pill")).to_have_text("Ordering")
    await page.get_by_role("link", name=f"{id}-1").click()
    await page.locator("input[name=reason]").fill("Credit check")
    await page.get_by_role("button", name="Hold").click()
    await expect(page.locator("h1 .pill")).to_have_text("Held")
    await accessible(visitor)
    await visitor.shot("order-held")
    await page.get_by_role("button", name="Release").click()
    await page.locator("input[name=on]").fill("2027-05-01")
    await page.get_by_role("button", name="Move").click()
    await expect(page.locator(".facts.head")).to_contain_text("2027")
    await page.get_by_role("button", name="Start now").click()
    await expect(page.locator("h1 .pill")).to_have_text("Activating")
    assert visitor.troubles == []


async def test_the_back_office_takes_an_order_over_and_reports_what_arrived(visitor: Visitor) -> None:
    id = await an_approved_quote(visitor)
    assert (
        await visitor.live.call("rita", "POST", f"/v1/quotes/{id}/accept", json={"on": "2026-01-02"})
    ).status_code == 200
    way = {"way": "whole", "slot": {"trigger": {"start": "manual"}}}
    assert (await visitor.live.call("rita", "POST", f"/v1/quotes/{id}/orders", json=way)).status_code == 201
    assert (await visitor.live.call("dina", "POST", f"/v1/orders/{id}-1/go-live")).status_code == 200
    await visitor.sign_in("bruno")
    page = visitor.page
    await expect(page.locator("h1")).to_have_text("Pedidos")
    await accessible(visitor)
    await visitor.go("/orders?status=activating")
    await page.get_by_role("link", name=f"{id}-1").click()
    await page.locator("input[name=reference]").fill("SO-7")
    await page.get_by_role("button", name="Assumir").click()
    await expect(page.locator("h1 .pill")).to_have_text("Ativo")
    await page.locator("input[name='line.1']").fill("4")
    await page.get_by_role("button", name="Informar como entregue").click()
    await expect(page.locator("h1 .pill")).to_have_text("Parcialmente cumprido")
    await accessible(visitor)
    await visitor.shot("order-partly")
    await page.locator("input[name='line.1']").fill("6")
    await page.locator("input[name='line.2']").fill("4")
    await page.get_by_role("button", name="Informar como entregue").click()
    await expect(page.locator("h1 .pill")).to_have_text("Cumprido")
    await visitor.go("/orders")
    await expect(page.locator("tr", has_text=re.compile(f"{id}-1"))).to_contain_text("Cumprido")
    await visitor.shot("orders")
    assert visitor.troubles == []
