"""Comments and questions, taking back, and many decisions at once."""

from sqlmodel import select

from storage.tables import MessageRow
from tests.api.test_quotes import submitted
from tests.apiclient import Api
from tests.support import a_line, a_quote


async def test_a_question_stands_in_the_history_and_whoever_is_named_is_told(api: Api) -> None:
    await submitted(api)
    said = await api.call(
        "rita", "POST", "/v1/quotes/Q-1/comments", json={"text": "@dora can you look today? mail@x.is"}
    )
    assert (said.status_code, said.json()) == (201, {"told": ["dora"]})
    trail = (await api.call("dora", "GET", "/v1/quotes/Q-1/audit")).json()["items"]
    assert [e["facts"]["comment"] for e in trail if e["verb"] == "comment"] == ["@dora can you look today? mail@x.is"]
    async with api.bench.container.database.reading() as session:
        (told,) = (await session.exec(select(MessageRow).where(MessageRow.template == "mentioned"))).all()
    assert (told.person, told.data["by"]) == ("dora", "rita")


async def test_nobody_is_named_who_is_unknown_or_may_not_see_it(api: Api) -> None:
    await submitted(api)
    for name in ("ghost", "fabio"):
        answer = await api.call("rita", "POST", "/v1/quotes/Q-1/comments", json={"text": f"hello @{name}"})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "text")
    assert (await api.call("rita", "POST", "/v1/quotes/Q-1/comments", json={"text": " "})).status_code == 422
    assert (await api.call("fabio", "POST", "/v1/quotes/Q-1/comments", json={"text": "hi"})).status_code == 404
    trail = (await api.call("rita", "GET", "/v1/quotes/Q-1/audit")).json()["items"]
    assert [e for e in trail if e["verb"] == "comment"] == []


async def test_an_approval_is_taken_back_by_who_gave_it(api: Api) -> None:
    item = await submitted(api, lines=[a_line(discount_percent="30")])
    path = f"/v1/approvals/{item['approval']}"
    await api.call("dora", "POST", f"{path}/approve", json={"digest": item["digest"]})
    assert len((await api.call("fabio", "GET", "/v1/inbox")).json()["items"]) == 1
    assert (await api.call("daniel", "POST", f"{path}/take-back")).json()["code"] == "not_an_approver"
    assert (await api.call("dora", "POST", f"{path}/take-back")).status_code == 200
    assert (await api.call("fabio", "GET", "/v1/inbox")).json()["items"] == []
    assert len((await api.call("dora", "GET", "/v1/inbox")).json()["items"]) == 1


async def test_many_are_decided_at_once_each_with_its_own_answer(api: Api) -> None:
    for n in range(3):
        body = a_quote(f"M-{n}", discount="15").model_dump(mode="json")
        await api.call("rita", "PUT", f"/v1/quotes/M-{n}", json=body)
        await api.call("rita", "POST", f"/v1/quotes/M-{n}/submit")
    items = (await api.call("dora", "GET", "/v1/inbox")).json()["items"]
    wanted = [{"approval": i["approval"], "verb": "approve", "digest": i["digest"]} for i in items]
    wanted[1] |= {"verb": "reject"}
    wanted.append({"approval": "a-nothing", "verb": "approve", "digest": items[0]["digest"]})
    wanted[2]["digest"] = "0" * 64
    key = {"Idempotency-Key": "bulk"}
    found = (await api.call("dora", "POST", "/v1/approvals/decide", json={"decisions": wanted}, headers=key)).json()
    assert [(r["outcome"]["applied"], r["outcome"]["code"]) for r in found] == [
        (True, "approved"), (False, "invalid"), (False, "stale_version"), (False, "not_found"),
    ]  # fmt: skip
    again = (await api.call("dora", "POST", "/v1/approvals/decide", json={"decisions": wanted}, headers=key)).json()
    assert again == found
    crowd = {"decisions": wanted[:1] * 101}
    assert (await api.call("dora", "POST", "/v1/approvals/decide", json=crowd)).status_code == 422
