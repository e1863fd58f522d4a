"""The pages in a real Chromium, at the sizes of a desk and of a phone, with and without JavaScript."""

import asyncio
import itertools

import httpx
import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, expect

from notify.links import Claim
from tests.conftest import Live
from tests.console.conftest import SIZES, Visitor
from tests.support import a_line, a_quote

pytestmark = [pytest.mark.e2e, pytest.mark.browser]
NUMBERS = itertools.count(1)
LINES = [
    a_line("1", name="Edge gateway", product="GW", family="EQP", quantity="6", list_price="890", discount_percent="30"),
    a_line(
        "2", name="Platform licence", product="PL", family="SRV", list_price="350", billing="recurring", term_months=24
    ),
]


async def a_submitted_quote(live: Live) -> str:
    """Needs the deal desk, then finance; operations and legal beside them."""
    id = f"P-{next(NUMBERS)}"
    body = a_quote(id, lines=LINES, payment_terms="Net 60", customer={"id": "C-9", "name": "Café do Porto Ltda."})
    assert (await live.call("rita", "PUT", f"/v1/quotes/{id}", json=body.model_dump(mode="json"))).status_code == 201
    assert (await live.call("rita", "POST", f"/v1/quotes/{id}/submit")).status_code == 200
    return id


async def accessible(visitor: Visitor) -> None:
    results = await Axe().run(visitor.page)
    assert results.violations_count == 0, results.generate_report()


async def test_somebody_not_signed_in_is_asked_to(visitor: Visitor) -> None:
    await visitor.go("/quotes")
    await expect(visitor.page.locator("h1")).to_have_text("Sign in")
    await accessible(visitor)
    await visitor.shot("sign-in")
    await visitor.page.fill("input[name=user]", "rita")
    await visitor.page.fill("input[name=password]", "wrong password")
    await visitor.page.click("main button")
    await expect(visitor.page.get_by_role("alert")).to_contain_text("not right")


async def test_an_approver_approves_from_the_inbox(visitor: Visitor) -> None:
    id = await a_submitted_quote(visitor.live)
    await visitor.sign_in("dora")
    card = visitor.page.locator(".card", has_text=id)
    await expect(card).to_contain_text("Café do Porto")
    await expect(card).to_contain_text("deepest_line_discount 30 > 20")
    await accessible(visitor)
    await visitor.shot("inbox")
    await card.locator("textarea").fill("Fine")
    await card.get_by_role("button", name="Samþykkja").click()
    await expect(visitor.page.get_by_role("status").first).to_contain_text("Samþykkt")
    assert visitor.troubles == []


async def test_a_rejection_needs_a_comment_and_a_double_click_decides_once(visitor: Visitor) -> None:
    id = await a_submitted_quote(visitor.live)
    await visitor.sign_in("daniel")
    await visitor.go(f"/quotes/{id}")
    card = visitor.page.locator(".mine")
    await card.get_by_role("button", name="Reject").click()
    await expect(card.locator(".problem")).to_contain_text("say why you reject")
    await expect(card.get_by_role("button", name="Approve")).to_be_visible()
    await visitor.shot("mistake")
    await card.locator("textarea").fill("Too deep")
    await card.get_by_role("button", name="Approve").dblclick()
    await expect(card.locator(".note")).to_contain_text("Approved")
    await visitor.page.reload()
    await expect(visitor.page.locator(".history li", has_text="daniel")).to_have_count(1)


async def test_whoever_was_signed_out_signs_in_and_sends_what_they_typed(visitor: Visitor) -> None:
    id = await a_submitted_quote(visitor.live)
    await visitor.sign_in("daniel")
    await visitor.go(f"/quotes/{id}?seen=1")
    await visitor.page.locator(".mine textarea").fill("Too deep for them")
    await visitor.page.context.clear_cookies()
    await visitor.page.locator(".mine").get_by_role("button", name="Reject").click()
    await expect(visitor.page.locator("h1")).to_have_text("Sign in")
    await visitor.shot("signed-out")
    await visitor.page.fill("input[name=user]", "daniel")
    await visitor.page.fill("input[name=password]", "dealwright-demo")
    await visitor.page.locator("main button").click()
    await expect(visitor.page.locator("textarea")).to_have_value("Too deep for them")
    await accessible(visitor)
    await visitor.shot("resume")
    await visitor.page.get_by_role("button", name="Reject").click()
    await visitor.go(f"/quotes/{id}")
    await expect(visitor.page.locator(".history li", has_text="Too deep for them")).to_have_count(1)


async def test_a_page_asked_for_is_the_page_shown_after_signing_in_with_its_query(live: Live) -> None:
    async with httpx.AsyncClient(base_url=live.stack.api_url) as client:
        answer = await client.get("/quotes?cursor=abc&x=1")
        assert answer.headers["location"] == "/sign-in?next=/quotes%3Fcursor%3Dabc%26x%3D1"
        form = {"user": "rita", "password": "dealwright-demo", "next": "/quotes?cursor=abc&x=1"}
        answer = await client.post("/sign-in", data=form)
        assert (answer.status_code, answer.headers["location"]) == (303, "/quotes?cursor=abc&x=1")


async def test_a_submission_from_a_page_that_shows_an_older_version_is_shown_the_new_one(live: Live) -> None:
    id = f"P-{next(NUMBERS)}"
    body = a_quote(id, lines=LINES).model_dump(mode="json")
    await live.call("rita", "PUT", f"/v1/quotes/{id}", json=body)
    changed = {**body, "payment_terms": "Net 60"}
    await live.call("rita", "PUT", f"/v1/quotes/{id}", json=changed, headers={"If-Match": '"1"'})
    async with httpx.AsyncClient(base_url=live.stack.api_url, cookies={"dealwright": live.token("rita")}) as client:
        answer = await client.post(f"/quotes/{id}/submit", data={"version": "1"})
        assert answer.status_code == 409
        assert "Net 60" in answer.text
        assert (await live.call("rita", "GET", f"/v1/quotes/{id}")).json()["status"] == "draft"
        assert (await client.post(f"/quotes/{id}/submit", data={"version": "2"})).status_code == 303


async def test_an_approver_hands_over(visitor: Visitor) -> None:
    id = await a_submitted_quote(visitor.live)
    await visitor.sign_in("omar")
    card = visitor.page.locator(".card", has_text=id)
    await card.locator("summary").click()
    await card.locator("select").select_option("leif")
    await visitor.shot("hand-over")
    await card.get_by_role("button", name="Hand over").click()
    await expect(visitor.page.get_by_role("status").first).to_contain_text("Handed over")
    assert id in [i["quote"]["id"] for i in (await visitor.live.call("leif", "GET", "/v1/inbox")).json()["items"]]


async def test_a_rep_previews_submits_watches_and_takes_back(visitor: Visitor) -> None:
    id = f"P-{next(NUMBERS)}"
    body = a_quote(id, lines=LINES, payment_terms="Net 60").model_dump(mode="json")
    await visitor.live.call("rita", "PUT", f"/v1/quotes/{id}", json=body)
    await visitor.sign_in("rita")
    await visitor.go(f"/quotes/{id}")
    picture = visitor.page.locator(".wide svg" if visitor.size == "desktop" else ".phone svg").first
    await expect(picture).to_be_visible()
    await expect(visitor.page.locator(".why").first).to_contain_text("payment_terms Net 60 in Net 60, Net 90")
    await accessible(visitor)
    await visitor.shot("draft")
    await visitor.page.get_by_role("button", name="Enviar para aprovação").click()
    await expect(visitor.page.locator("h1")).to_contain_text("Em aprovação")
    await accessible(visitor)
    await visitor.shot("in-approval")
    item = next(
        i
        for i in (await visitor.live.call("dora", "GET", "/v1/inbox?limit=200")).json()["items"]
        if i["quote"]["id"] == id
    )
    path = f"/v1/approvals/{item['approval']}/approve"
    await visitor.live.call("dora", "POST", path, json={"digest": item["digest"]})
    # The picture follows by itself, without a reload.
    await expect(visitor.page.locator("#path .node.approved:visible")).to_have_count(1, timeout=10_000)
    await visitor.shot("moving")
    await visitor.page.get_by_role("button", name="Retirar").click()
    await expect(visitor.page.locator("h1")).to_contain_text("Retirado")
    assert visitor.troubles == []


async def test_the_list_and_the_mailbox(visitor: Visitor) -> None:
    id = await a_submitted_quote(visitor.live)
    await visitor.sign_in("rita")
    await expect(visitor.page.locator("h1")).to_have_text("Propostas")
    await accessible(visitor)
    await visitor.shot("quotes")

    async def letter_came() -> bool:
        await visitor.go("/mailbox")
        return await visitor.page.locator(".letter", has_text=id).count() > 0

    for _ in range(100):
        if await letter_came():
            break
        await asyncio.sleep(0.2)
    await visitor.page.locator(".letter", has_text=id).first.locator("summary").click()
    await expect(visitor.page.locator(".letter[open] pre")).to_contain_text(id)
    await accessible(visitor)
    await visitor.shot("mailbox")


@pytest.mark.parametrize("size", list(SIZES))
async def test_everything_works_without_javascript(browser: Browser, live: Live, size: str) -> None:
    id = await a_submitted_quote(live)
    context = await browser.new_context(viewport=SIZES[size], java_script_enabled=False)
    visitor = Visitor(live, context, await context.new_page(), size)
    await visitor.sign_in("dora")
    await visitor.go(f"/quotes/{id}")
    await visitor.page.locator(".mine").get_by_role("button", name="Samþykkja").click()
    await expect(visitor.page.locator(".history li", has_text="dora")).to_have_count(1)
    await visitor.sign_in("fabio")
    await visitor.go(f"/quotes/{id}")
    await visitor.page.locator(".mine").get_by_role("button", name="Rejeitar").click()
    await expect(visitor.page.get_by_role("alert")).to_contain_text("diga por que você rejeita")
    await visitor.page.locator("textarea").fill("Fundo demais")
    await visitor.page.get_by_role("button", name="Rejeitar").click()
    await visitor.go(f"/quotes/{id}")
    await expect(visitor.page.locator(".history li", has_text="Fundo demais")).to_have_count(1)
    await context.close()


async def test_a_form_from_another_site_is_refused(live: Live) -> None:
    import httpx

    async with httpx.AsyncClient(base_url=live.stack.api_url) as client:
        for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
            answer = await client.post("/sign-in", data={"user": "rita"}, headers=headers)
            assert answer.status_code == 403


@pytest.mark.parametrize(
    "next_page", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)"]
)
async def test_signing_in_leads_only_to_our_own_pages(live: Live, next_page: str) -> None:
    import httpx

    async with httpx.AsyncClient(base_url=live.stack.api_url) as client:
        form = {"user": "rita", "password": "dealwright-demo", "next": next_page}
        answer = await client.post("/sign-in", data=form)
        assert answer.headers["location"] == "/"
        page = await client.get("/quotes", cookies=answer.cookies)
        assert "frame-ancestors 'none'" in page.headers["content-security-policy"]


async def test_a_stranger_sees_no_quote_and_no_way_in(visitor: Visitor) -> None:
    id = await a_submitted_quote(visitor.live)
    await visitor.sign_in("snorri")
    await visitor.go(f"/quotes/{id}")
    await expect(visitor.page.get_by_role("alert")).to_contain_text("Ekkert tilboð")
    await visitor.shot("not-found")


async def test_somebody_away_lets_a_colleague_decide(visitor: Visitor) -> None:
    id = await a_submitted_quote(visitor.live)
    await visitor.sign_in("dora")
    await visitor.go("/away")
    await visitor.page.select_option("select[name=delegate]", "lara")
    await visitor.page.fill("input[name=last]", "2020-01-01")
    await visitor.page.get_by_role("button", name="Stilla").click()
    await expect(visitor.page.get_by_role("alert")).to_contain_text("Síðasti dagur: er á undan")
    await visitor.page.fill("input[name=last]", "")
    await visitor.page.get_by_role("button", name="Stilla").click()
    row = visitor.page.locator("tbody tr")
    await expect(row).to_contain_text("Lára")
    await accessible(visitor)
    await visitor.shot("away")
    (mine,) = [i for i in (await visitor.live.call("lara", "GET", "/v1/inbox")).json()["items"]
               if i["quote"]["id"] == id and i["on_behalf_of"]]  # fmt: skip
    assert mine["on_behalf_of"] == "dora"
    await row.get_by_role("button").click()
    await expect(visitor.page.locator("tbody tr")).to_have_count(0)
    assert len(visitor.troubles) == 1, "the browser notes the refusal, and nothing else"


async def test_a_link_out_of_a_mail_shows_what_is_asked_and_decides_on_a_click(visitor: Visitor) -> None:
    id = await a_submitted_quote(visitor.live)
    (item,) = [
        i for i in (await visitor.live.call("lara", "GET", "/v1/inbox")).json()["items"] if i["quote"]["id"] == id
    ]
    claim = Claim(message="m-0", approval=item["approval"], person="lara")
    address = visitor.live.container.links.decide(claim).partition("/decide")[2]
    await visitor.go(f"/decide{address}")
    await expect(visitor.page.locator("main")).to_contain_text("Café do Porto")
    await expect(visitor.page.locator("main")).to_contain_text("Lára")
    await accessible(visitor)
    await visitor.shot("link")
    await visitor.page.get_by_role("button", name="Samþykkja").click()
    await expect(visitor.page.get_by_role("status")).to_have_text("Ákveðið.")
    assert visitor.troubles == []


async def test_advice_is_asked_given_and_shown_and_the_rep_adds_an_approver(visitor: Visitor) -> None:
    id = await a_submitted_quote(visitor.live)
    await visitor.sign_in("daniel")
    await visitor.go(f"/quotes/{id}")
    card = visitor.page.locator(".mine")
    await card.locator("textarea").fill("Is that margin still fine?")
    await card.locator("summary").click()
    await card.locator("select[name=to]").select_option("carla")
    await accessible(visitor)
    await visitor.shot("others")
    await card.get_by_role("button", name="Ask for advice").click()
    await expect(card.locator(".note")).to_contain_text("Asked for advice")
    asked = await visitor.context.browser.new_context(viewport=SIZES[visitor.size])  # type: ignore[union-attr]
    carla = Visitor(visitor.live, asked, await asked.new_page(), visitor.size)
    await carla.sign_in("carla")
    await carla.go("/inbox")
    question = carla.page.locator(".card", has_text=id)
    await expect(question).to_contain_text("Is that margin still fine?")
    await expect(question.get_by_role("button")).to_have_count(1)
    await accessible(carla)
    await carla.shot("advice")
    await question.locator("textarea").fill("Yes, with the uplift.")
    await question.get_by_role("button").click()
    await expect(carla.page.get_by_role("status").first).not_to_be_empty()
    await asked.close()
    await visitor.page.reload()
    await expect(visitor.page.locator(".why").first).to_contain_text("Yes, with the uplift.")
    await visitor.shot("advised")
    assert visitor.troubles == []


async def test_the_rep_adds_an_approver_on_the_quotes_page(visitor: Visitor) -> None:
    id = await a_submitted_quote(visitor.live)
    await visitor.sign_in("rita")
    await visitor.go(f"/quotes/{id}")
    panel = visitor.page.locator("details.fold")
    await panel.locator("summary").click()
    await panel.locator("select[name=to]").select_option("helena")
    await accessible(visitor)
    await visitor.shot("add-approver")
    await panel.get_by_role("button").click()
    await expect(visitor.page.locator(".why").first).to_contain_text("rita asked for it")
    assert visitor.troubles == []
