"""From the customer's yes to the last delivery by clicks, in a real Chromium at both sizes."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.async_api import Browser, Locator, Page, expect

from domain.drift import Drift
from storage.erp import drift as drifts
from tests.conftest import Live
from tests.console.conftest import SIZES, Visitor
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
    await visitor.until(f"/v1/orders/{id}-1", lambda order: order["status"] == "scheduled")
    await page.get_by_role("link", name=f"{id}-1").click()
    await page.locator("form[action$='/hold'] input[name=reason]").fill("Credit check")
    await page.get_by_role("button", name="Hold").click()
    await expect(page.locator("h1 .pill")).to_have_text("Held")
    await accessible(visitor)
    await visitor.shot("order-held")
    await page.get_by_role("button", name="Release").click()
    await page.locator("form[action$='/reschedule'] input[name=on]").fill("2027-05-01")
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
    way = {"way": "whole", "together": True, "slot": {"trigger": {"start": "manual"}}}
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
    await page.locator("table input[name='line.1']").fill("4")
    await page.get_by_role("button", name="Informar como entregue").click()
    await expect(page.locator("h1 .pill")).to_have_text("Parcialmente cumprido")
    await accessible(visitor)
    await visitor.shot("order-partly")
    await page.locator("table input[name='line.1']").fill("6")
    await page.locator("table input[name='line.2']").fill("4")
    await page.get_by_role("button", name="Informar como entregue").click()
    await expect(page.locator("h1 .pill")).to_have_text("Cumprido")
    await visitor.go("/orders")
    await expect(page.locator("tr", has_text=re.compile(f"{id}-1"))).to_contain_text("Cumprido")
    await visitor.shot("orders")
    assert visitor.troubles == []


async def an_accepted_quote(visitor: Visitor) -> str:
    id = await an_approved_quote(visitor)
    await must(visitor, "rita", f"/v1/quotes/{id}/accept", on="2026-01-02")
    return id


async def must(visitor: Visitor, who: str, path: str, /, **body: object) -> dict[str, Any]:
    answer = await visitor.live.call(who, "POST", path, json=body)
    assert answer.status_code in (200, 201), answer.text
    found: dict[str, Any] = answer.json()
    return found


async def drag(page: Page, held: Locator, onto: Locator) -> None:
    await held.evaluate("grip => grip.scrollIntoView({block: 'center'})")
    a, b = await held.bounding_box(), await onto.bounding_box()
    assert a
    assert b
    await page.mouse.move(a["x"] + a["width"] / 2, a["y"] + a["height"] / 2)
    await page.mouse.down()
    await page.mouse.move(b["x"] + 9, b["y"] + b["height"] / 2, steps=4)
    await page.mouse.move(b["x"] + b["width"] / 2, b["y"] + b["height"] / 2, steps=4)
    await page.mouse.up()


async def test_a_quote_is_split_on_a_board_by_typing_and_dragging(visitor: Visitor) -> None:
    id = await an_accepted_quote(visitor)
    await visitor.sign_in("dina")
    await visitor.go(f"/quotes/{id}/board")
    page = visitor.page
    await accessible(visitor)
    await page.locator("input[name='q0.1']").fill("4")
    await expect(page.locator("#left-1")).to_have_text("6")
    await expect(page.locator("#sum-0")).to_have_text("€133.80")
    await drag(
        page, page.locator("tr[data-line='1'] [data-from=left]"), page.locator("tr[data-line='1'] [data-cell='1']")
    )
    await expect(page.locator("#left-1")).to_have_text("0")
    await expect(page.locator("input[name='q1.1']")).to_have_value("6")
    await page.locator("input[name='q1.2']").fill("9")
    await expect(page.locator("#figures")).to_contain_text("9 asked for, 4 left")
    await page.locator("input[name='q1.2']").fill("3")
    await expect(page.locator("#figures")).to_contain_text("€9.99")
    await page.locator("input[name='g1.on']").fill("2031-05-02")
    await visitor.shot("board")
    await accessible(visitor)
    await page.get_by_role("button", name="Order it so").click()
    await expect(page.locator("h1 .pill")).to_have_text("Ordering")
    await expect(page.locator("main")).to_contain_text(f"{id}-2")
    assert visitor.troubles == []


async def test_the_board_fills_itself_by_place_and_in_waves(visitor: Visitor) -> None:
    id = await an_accepted_quote(visitor)
    await visitor.sign_in("rita")
    await visitor.go(f"/quotes/{id}/board")
    page = visitor.page
    await page.get_by_role("button", name="Por lugar e dia").click()
    await expect(page.locator("input[name='q0.1']")).to_have_value("10")
    await expect(page.locator("input[name='q1.2']")).to_have_value("4")
    await page.get_by_text("Em levas").click()
    await page.locator("input[name=first]").fill("2031-01-31")
    await page.get_by_role("button", name="Preencher").click()
    await expect(page.locator("[data-column]")).to_have_count(6)  # three waves for each of two places
    await expect(page.locator("input[name='g2.on']")).to_have_value("2031-02-28")
    await expect(page.locator("input[name='q0.1']")).to_have_value("4")
    await page.get_by_role("button", name="Remover o pedido 3").click()
    await expect(page.locator("[data-column]")).to_have_count(5)
    await expect(page.locator("#left-1")).to_have_text("3")
    assert visitor.troubles == []


async def test_future_orders_are_moved_in_a_calendar_by_keys_and_by_dragging(visitor: Visitor) -> None:
    id = await an_accepted_quote(visitor)
    year = 2040 + next(NUMBERS)
    slot = {"trigger": {"start": "date", "on": f"{year}-05-10"}, "ship_to": {"city": "Porto"}}
    await must(visitor, "dina", f"/v1/quotes/{id}/orders", way="whole", slot=slot)
    await visitor.until(f"/v1/orders/{id}-1", lambda found: found["status"] == "scheduled")
    await visitor.sign_in("dina")
    await visitor.go(f"/calendar?month={year}-05")
    page = visitor.page
    chip = page.locator(".chip a", has_text=f"{id}-1")
    await accessible(visitor)
    await visitor.shot("calendar")
    await chip.focus()
    await page.keyboard.press("Shift+ArrowRight")
    await expect(page.locator(f"[data-day='{year}-05-11'] .chip")).to_have_count(1)
    await expect(chip).to_be_focused()
    await page.keyboard.press("Shift+ArrowDown")
    await expect(page.locator(f"[data-day='{year}-05-18'] .chip")).to_have_count(1)
    if not visitor.phone:
        await drag(page, page.locator(".chip a", has_text=f"{id}-1"), page.locator(f"[data-day='{year}-05-20']"))
        await expect(page.locator(f"[data-day='{year}-05-20'] .chip")).to_have_count(1)
    assert visitor.troubles == []


async def test_an_order_is_changed_tried_undone_and_taken_back_in_parts(visitor: Visitor) -> None:
    id = await an_accepted_quote(visitor)
    way = {"way": "hand", "groups": [{"slot": {"trigger": {"start": "manual"}}, "lines": {"1": "6", "2": "4"}}]}
    await must(visitor, "dina", f"/v1/quotes/{id}/orders", **way)
    await visitor.until(f"/v1/orders/{id}-1", lambda found: found["status"] == "scheduled")
    await visitor.sign_in("dina")
    await visitor.go(f"/orders/{id}-1")
    page = visitor.page
    await page.get_by_text("Quantities, place and terms").click()
    await page.locator("input[name='line.1']").fill("8")
    await accessible(visitor)
    await visitor.shot("order-change")
    await page.get_by_role("button", name="Show what that does").click()
    await expect(page.locator("main")).to_contain_text("Deal desk")
    await accessible(visitor)
    await visitor.shot("order-tried")
    await page.get_by_role("button", name="Change it so").click()
    await expect(page.locator("h1 .pill")).to_have_text("Held")
    await expect(page.locator("main")).to_contain_text("6 → 8")
    await visitor.shot("order-waits")
    await page.get_by_role("button", name="Undo").click()
    await expect(page.locator("h1 .pill")).to_have_text("Scheduled")
    await page.get_by_role("button", name="Start now").click()
    await must(visitor, "bruno", f"/v1/erp/documents/{id}-1/accept", reference="SO-9")
    await must(visitor, "bruno", f"/v1/orders/{id}-1/deliveries", id="D1", lines={"1": "6"})
    await must(visitor, "bruno", f"/v1/orders/{id}-1/backorder", lines={"2": "4"}, expected="2031-01-01")
    await visitor.go(f"/orders/{id}-1")
    await expect(page.locator("main")).to_contain_text("4 not in stock")
    await page.get_by_text("Goods come back").click()
    await page.locator("form[action$='/return'] input[name='line.1']").fill("2")
    await page.locator("form[action$='/return'] input[name=reason]").fill("broken")
    await page.get_by_role("button", name="Note the return").click()
    await page.get_by_role("button", name="It is here").click()
    await expect(page.locator("main")).to_contain_text("Received")
    await accessible(visitor)
    await visitor.shot("order-returned")
    await page.get_by_role("button", name="Send new ones for nothing").click()
    await expect(page.locator("main")).to_contain_text("Replaces")
    assert visitor.troubles == []


@pytest.mark.parametrize("size", list(SIZES))
async def test_board_and_order_work_without_javascript(browser: Browser, live: Live, size: str) -> None:
    context = await browser.new_context(viewport=SIZES[size], java_script_enabled=False)
    visitor = Visitor(live, context, await context.new_page(), size)
    id, page = await an_accepted_quote(visitor), visitor.page
    await visitor.sign_in("dina")
    await visitor.go(f"/quotes/{id}/board")
    await page.locator("input[name='q0.1']").fill("4")
    await page.locator("select[name='g0.start']").select_option("manual")
    await page.get_by_role("button", name="Show what that makes").click()
    await expect(page.locator("#left-1")).to_have_text("6")
    await expect(page.locator("#sum-0")).to_have_text("€133.80")
    await page.get_by_role("button", name="Order it so").click()
    await visitor.until(f"/v1/orders/{id}-1", lambda found: found["status"] == "scheduled")
    await visitor.go(f"/orders/{id}-1")
    await page.locator("form[action$='/reschedule'] input[name=on]").fill("2031-05-01")
    await page.get_by_role("button", name="Move").click()
    await expect(page.locator(".facts.head")).to_contain_text("2031")
    await context.close()


async def test_the_back_office_sees_what_the_erp_has_otherwise_and_has_it_mended(visitor: Visitor) -> None:
    """Bruno reads Portuguese."""
    order = f"{visitor.size}-1"
    found = [Drift(order=order, kind="quantity", line="1", ours="6", theirs="4"),
             Drift(order=order, kind="shipped", line="1", ours="0", theirs="4"),
             Drift(order=f"X-{visitor.size}", kind="unknown", theirs="SO-77")]  # fmt: skip
    async with visitor.live.container.database.writing() as session:
        await drifts.put(session, found, datetime.now(UTC))
    await visitor.sign_in("bruno")
    await visitor.go("/documents")
    await visitor.page.get_by_role("link", name="Comparação com o ERP").click()
    await expect(visitor.page.locator("main")).to_contain_text("Só o ERP o tem")
    await accessible(visitor)
    await visitor.shot("drift")
    await visitor.page.get_by_role("button", name="Corrigir").click()
    await expect(visitor.page.locator("main")).to_contain_text("sendo corrigido")
    assert visitor.troubles == []
    async with visitor.live.container.database.writing() as session:
        await drifts.put(session, [], datetime.now(UTC))
