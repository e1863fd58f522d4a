"""The admin's pages in a real Chromium: the policy desk, and replacing a person."""

import re

import pytest
from playwright.async_api import expect

from tests.console.conftest import Visitor
from tests.console.test_pages import a_submitted_quote, accessible

pytestmark = [pytest.mark.e2e, pytest.mark.browser]


async def test_a_policy_is_checked_as_one_types_and_tried_before_it_is_published(visitor: Visitor) -> None:
    await a_submitted_quote(visitor.live)
    current = (await visitor.live.call("adam", "GET", "/v1/policies/quote")).json()["yaml"]
    known = await visitor.live.call("adam", "GET", "/v1/policies/quote/draft")
    revision = {"If-Match": known.headers["ETag"]} if known.status_code == 200 else {}
    await visitor.live.call("adam", "PUT", "/v1/policies/quote/draft", json={"yaml": current}, headers=revision)
    await visitor.sign_in("adam")
    await visitor.go("/policy/quote/text")
    findings = visitor.page.locator("#findings")
    await expect(findings).to_contain_text("can be published")
    await accessible(visitor)
    await visitor.shot("policy-text")
    text = visitor.page.locator("textarea")
    right = await text.input_value()
    await text.fill(right.replace("user: fabio", "user: nobody"))
    await expect(findings).to_contain_text("'nobody' is not an active user")
    await text.fill(right.replace("operator: greater_than", "operator: bigger"))
    await expect(findings).to_contain_text("operator")
    await text.fill(right.replace("user: fabio", "user: carla"))
    await expect(findings).to_contain_text("can be published")
    await visitor.page.get_by_role("button", name="Save and try it").click()
    await expect(visitor.page.locator("main")).to_contain_text("rule discount-finance asks carla instead of fabio")
    await expect(visitor.page.locator("main")).to_contain_text("Finance director: carla")
    await accessible(visitor)
    await visitor.shot("policy-effect")
    await visitor.page.get_by_role("link", name=re.compile("Back")).click()
    await expect(visitor.page.locator("main")).to_contain_text("carla")
    assert visitor.troubles == []


async def test_a_rule_is_written_by_clicks_checked_as_one_types_and_published(visitor: Visitor) -> None:
    name = f"weekend-{visitor.size}"
    await visitor.sign_in("adam")
    await visitor.go("/policy/quote")
    if await visitor.page.get_by_role("button", name="Begin anew").count():
        await visitor.page.get_by_role("button", name="Begin anew").click()
    await accessible(visitor)
    await visitor.shot("policy")
    await visitor.page.get_by_role("link", name="New rule").first.click()
    form = visitor.page.locator("form.part")
    await form.locator("input[name=name]").fill(name)
    await form.locator("input[name=tested]").first.fill("net_total")
    await form.locator("select[name=operator]").first.select_option("greater_than")
    await form.locator("input[name=value]").first.fill("plenty")
    findings = visitor.page.locator("#findings")
    await expect(findings).to_contain_text("must be number")
    await form.locator("input[name=value]").first.fill("900000")
    await expect(findings).to_contain_text("needs an approver")
    await form.locator("select[name=ask_kind]").select_option("user")
    await form.locator("input[name=ask_name]").fill("carla")
    await expect(findings).to_contain_text("can be published")
    await accessible(visitor)
    await visitor.shot("policy-rule")
    await form.get_by_role("button", name="Save draft").click()
    await expect(visitor.page.locator("main")).to_contain_text("net_total > 900000")
    await visitor.page.get_by_role("button", name="Publish").click()
    await expect(visitor.page.locator("h1")).to_contain_text("in force")
    yaml = (await visitor.live.call("adam", "GET", "/v1/policies/quote")).json()["yaml"]
    assert f"name: {name}" in yaml
    await visitor.page.get_by_role("link", name=re.compile(f"{name.replace('-', ' ').capitalize()}")).click()
    await visitor.page.get_by_role("button", name="Remove").click()
    await expect(visitor.page.locator("main")).not_to_contain_text("net_total > 900000")
    await visitor.page.get_by_role("button", name="Publish").click()
    await expect(visitor.page.locator("h1")).to_contain_text("in force")
    assert visitor.troubles == []


async def test_variables_chains_and_the_whole_are_edited_by_clicks_too(visitor: Visitor) -> None:
    await visitor.sign_in("adam")
    await visitor.go("/policy/quote/variables/equipment_list/edit")
    await accessible(visitor)
    await expect(visitor.page.locator("input[name=value]").first).to_have_value("EQP")
    await visitor.go("/policy/quote/chains/management/edit")
    await expect(visitor.page.locator("input[name=after][value=commercial]")).to_be_checked()
    await visitor.page.locator("input[name=after][value=legal]").check()
    await visitor.page.get_by_role("button", name="Save draft").click()
    await expect(visitor.page.locator("main")).to_contain_text("after commercial, legal")
    await visitor.page.locator("input[name=valid_for_days]").fill("soon")
    await visitor.page.get_by_role("button", name="Save draft").click()
    await expect(visitor.page.get_by_role("alert")).to_contain_text("valid_for_days")
    await visitor.page.get_by_role("button", name="Begin anew").click()
    await expect(visitor.page.locator("main")).not_to_contain_text("after commercial, legal")


async def test_a_person_is_replaced_after_a_dry_run_with_a_bar_that_moves(visitor: Visitor) -> None:
    await a_submitted_quote(visitor.live)
    await visitor.sign_in("adam")
    await visitor.go("/replacements")
    await visitor.page.select_option("select[name=old]", "omar")
    await visitor.page.select_option("select[name=new]", "helena")
    await visitor.page.get_by_role("button", name="Try it").click()
    await expect(visitor.page.locator("main")).to_contain_text("Open approvals")
    await accessible(visitor)
    await visitor.shot("replace-try")
    await visitor.page.get_by_role("button", name="Replace everywhere").click()
    card = visitor.page.locator(".card", has_text="Omar").first
    await expect(card).to_contain_text("Finished", timeout=20_000)
    await accessible(visitor)
    await visitor.shot("replace-done")
    for old, new in (("helena", "omar"),):  # leave the company as it was
        started = await visitor.live.call("adam", "POST", "/v1/replacements", json={"old": old, "new": new})
        assert started.status_code == 201
    assert visitor.troubles == []


async def test_only_an_admin_sees_these_pages(visitor: Visitor) -> None:
    await visitor.sign_in("rita")
    for path in ("/policy/quote", "/replacements"):
        await visitor.go(path)
        await expect(visitor.page.locator("main")).not_to_contain_text("greater_than")
        await expect(visitor.page.locator("select")).to_have_count(0)
