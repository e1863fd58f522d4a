"""The README's tour, walked on the pages as it is written, on a desk and on a phone."""

import re

import pytest
from playwright.async_api import Browser, Page, expect

from services.imports.importing import Imports
from services.imports.samples import SYSTEM
from tests.conftest import ROOT, Live
from tests.console.conftest import SIZES, Visitor
from tests.console.test_orders import drag

pytestmark = [pytest.mark.e2e, pytest.mark.browser]
YEAR = 2031


async def test_every_step_of_the_readmes_tour_works_as_written(browser: Browser, live: Live) -> None:
    await Imports(live.container.context).salesforce(SYSTEM, ROOT / "samples" / "salesforce", "rita", "EUR")
    context = await browser.new_context(viewport=SIZES["desktop"])
    visitor = Visitor(live, context, await context.new_page(), "desktop")
    page = visitor.page
    await submit_q_1002(visitor, page)
    await decide_it(visitor, page)
    await let_carla_decide(visitor, page)
    await try_a_policy(visitor, page)
    await order_q_1003(visitor, page)
    await look_at_customers_and_revenue(visitor, page)
    assert [trouble for trouble in visitor.troubles if "422" not in trouble] == [], "fabio forgot to say why, once"
    await context.close()


async def submit_q_1002(visitor: Visitor, page: Page) -> None:
    await visitor.sign_in("rita")
    await expect(page.locator("table.list")).to_be_visible()
    while not await page.get_by_role("link", name="Q-1002").count():  # other tests have made quotes, too
        await page.locator("a.button[href*=cursor]").click()
        await expect(page.locator("table.list")).to_be_visible()
    await page.get_by_role("link", name="Q-1002").click()
    await expect(page.locator("main")).to_contain_text("deepest_line_discount 30 > 20")
    await page.get_by_role("button", name="Enviar para aprovação").click()
    await expect(page.locator("h1")).to_contain_text("Em aprovação")


async def decide_it(visitor: Visitor, page: Page) -> None:
    await visitor.sign_in("dora")
    card = page.locator(".card", has_text="Q-1002")
    await card.get_by_role("button", name="Samþykkja").click()
    await expect(page.get_by_role("status").first).to_contain_text("Samþykkt")
    await visitor.sign_in("fabio")
    card = page.locator(".card", has_text="Q-1002")
    await card.get_by_role("button", name="Rejeitar").click()
    await expect(card.locator(".problem")).to_contain_text("diga por que")
    await card.locator("textarea").fill("Fundo demais")
    await card.get_by_role("button", name="Rejeitar").click()
    await expect(page.get_by_role("status").first).to_contain_text("Rejeitado")


async def let_carla_decide(visitor: Visitor, page: Page) -> None:
    await page.get_by_role("link", name="Ausência").click()
    await page.locator("select[name=delegate]").select_option("carla")
    await page.locator("form[action='/away'] button").click()
    await expect(page.locator("main table")).to_contain_text("Carla Winter")
    await visitor.sign_in("rita")
    await visitor.go("/quotes/Q-1002")
    await expect(page.locator(".why").first).to_contain_text("Aprovada na rodada 1")
    await expect(page.locator(".why").first).to_contain_text("rejected in round 1")
    await page.get_by_role("button", name="Enviar para aprovação").click()
    await expect(page.locator("h1")).to_contain_text("Em aprovação")
    await visitor.sign_in("carla")
    letter = page.locator(".letter", has_text="You decide this for Fábio Lima, who is away.")
    for _ in range(100):
        await visitor.go("/mailbox")
        if await letter.count():
            break
        await page.wait_for_timeout(100)
    await letter.first.locator("summary").click()
    text = await letter.first.locator("pre").inner_text()
    await page.goto(re.findall(r"http\S+/decide/\S+", text)[0])
    await page.get_by_role("button", name="Approve").click()
    await expect(page.get_by_role("status")).to_contain_text("Decided")


async def try_a_policy(visitor: Visitor, page: Page) -> None:
    await visitor.sign_in("adam")
    await page.get_by_role("link", name="Policy").click()
    await page.get_by_role("link", name="Finance director").first.click()
    await page.locator("input[name=value]").first.fill("22")
    await page.get_by_role("button", name="Save draft").click()
    await visitor.go("/policy/quote")
    await page.get_by_role("link", name="Try it").click()
    await expect(page.locator("main")).to_contain_text("rule discount-finance fires when")
    await page.get_by_role("link", name="Back to the draft").click()
    await page.get_by_role("button", name="Begin anew").click()
    await page.get_by_role("link", name="Replace a person").click()
    await expect(page.locator("select[name=old]")).to_be_visible()


async def order_q_1003(visitor: Visitor, page: Page) -> None:
    await visitor.sign_in("rita")
    await visitor.go("/quotes/Q-1003")
    await page.get_by_role("button", name="Enviar para aprovação").click()
    await expect(page.locator("h1")).to_contain_text("Aprovado")
    await page.locator("form[action$='/accept'] button").click()
    await expect(page.locator("h1")).to_contain_text("Aceita")
    await visitor.sign_in("dina")
    await visitor.go("/quotes/Q-1003")
    await page.get_by_role("link", name="Split on a board").click()
    await page.wait_for_load_state("load")  # what is typed before the scripts are there changes no figure
    line = page.locator("tr[data-line='Q-1003-1']")
    await page.locator("input[name='q0.Q-1003-1']").fill("1")
    await expect(page.locator("#left-Q-1003-1")).to_have_text("2")
    await drag(page, line.locator("[data-from=left]"), line.locator("[data-cell='1']"))
    await expect(page.locator("#left-Q-1003-1")).to_have_text("0")
    await page.locator("input[name='g1.on']").fill(f"{YEAR}-05-10")
    await page.get_by_role("button", name="Order it so").click()
    await expect(page.locator("h1 .pill")).to_have_text("Ordering")
    await visitor.until("/v1/orders/Q-1003-2", lambda found: found["status"] == "scheduled")
    await visitor.go(f"/calendar?month={YEAR}-05")
    chip = page.locator(".chip a", has_text="Q-1003-2")
    await drag(page, chip, page.locator(f"[data-day='{YEAR}-05-20']"))
    await expect(page.locator(f"[data-day='{YEAR}-05-20'] .chip")).to_have_count(1)
    await visitor.until("/v1/orders/Q-1003-1", lambda found: found["status"] in ("activating", "active"))
    await visitor.sign_in("bruno")
    await visitor.go("/orders/Q-1003-1")
    await page.locator("input[name=reference]").fill("SO-1")
    await page.get_by_role("button", name="Assumir").click()
    await expect(page.locator("h1 .pill")).to_have_text("Ativo")
    await page.locator("table input[name='line.Q-1003-1']").fill("1")
    await page.get_by_role("button", name="Informar como entregue").click()
    await expect(page.locator("h1 .pill")).to_have_text("Cumprido")


async def look_at_customers_and_revenue(visitor: Visitor, page: Page) -> None:
    await visitor.sign_in("freyja")
    await page.get_by_role("link", name="Customers").click()
    await expect(page.locator("main")).to_contain_text("Fjord Fisk")
    await page.get_by_role("link", name="Revenue").click()
    await expect(page.locator("h1")).to_contain_text("Revenue")
