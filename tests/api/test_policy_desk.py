"""The policy desk over HTTP: warnings, what a draft changes, and what it would have asked."""

from pathlib import Path

from tests.api.test_quotes import submitted
from tests.apiclient import Api
from tests.conftest import ROOT

POLICY = (Path(ROOT) / "samples" / "policy-quote.yaml").read_text()


async def draft(api: Api, text: str) -> None:
    answer = await api.call("adam", "PUT", "/v1/policies/quote/draft", json={"yaml": text})
    assert answer.status_code == 200, answer.text


async def test_a_draft_is_tried_on_past_submissions_before_it_goes_live(api: Api) -> None:
    await submitted(api)
    await draft(api, POLICY.replace("value: 10\n", "value: 14\n").replace("group: deal-desk", "user: lara"))
    found = (await api.call("adam", "GET", "/v1/policies/quote/backtest")).json()
    assert found["totals"] | {"load": 0} == {
        "records": 1, "changed": 1, "added": 1, "removed": 1, "load": 0, "load_before": {"group deal-desk (any)": 1},
    }  # fmt: skip
    assert found["totals"]["load"] == {"lara": 1}
    assert found["changed"][0]["record"] == "Q-1"
    said = (await api.call("adam", "GET", "/v1/policies/quote/diff")).json()
    assert "rule discount-desk asks lara instead of group deal-desk (any)" in said


async def test_past_submissions_are_judged_as_they_were_submitted(api: Api) -> None:
    """Editing the quote afterwards changes nothing of what was submitted."""
    await submitted(api)
    await draft(api, POLICY)
    same = (await api.call("adam", "GET", "/v1/policies/quote/backtest?most=1")).json()
    assert (same["totals"]["records"], same["changed"]) == (1, [])


async def test_warnings_name_the_place(api: Api) -> None:
    await draft(api, POLICY.replace("value: 20000", "value: 20000\n    smart: true\n  - index: 2\n    field: net_total\n    operator: less_than\n    value: 10"))  # fmt: skip
    found = (await api.call("adam", "GET", "/v1/policies/quote/warnings")).json()
    assert any("can never hold together" in w["problem"] for w in found), found


async def test_preview_hints_at_the_nearest_change(api: Api) -> None:
    await submitted(api)
    hinted = (await api.call("adam", "POST", "/v1/quotes/Q-1/preview")).json()["hints"]
    assert [(h["rule"], h["field"], h["value"]) for h in hinted] == [("discount-desk", "discount_percent", "10")]
