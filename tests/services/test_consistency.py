"""What somebody wrote past the services is named, on both databases; a whole story leaves nothing to name."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, update
from sqlmodel import func, select

from services.runs.anchors import Anchors
from services.runs.consistency import Difference
from storage.database import execute
from storage.tables import (
    ApprovalRow,
    EventRow,
    GroupRow,
    LedgerRow,
    OrderRow,
    PersonRow,
    PolicyRow,
    QuoteRow,
    RevenueRow,
    RunRow,
    SeatRow,
)
from tests.api.test_customers import active, done
from tests.api.test_quotes import submitted
from tests.apiclient import Api
from tests.conftest import Bench
from tests.support import a_line

PUMP = a_line("1", name="Pump", quantity="10", list_price="33.45")
SEATS = a_line("2", name="Seats", product="P-2", quantity="5", list_price="10", billing="recurring",
               recognition="ratable", term_months=12)  # fmt: skip


async def story(api: Api) -> str:
    """One quote in approval, another ordered, delivered in part and returned from; people and groups changed."""
    order = await active(api, PUMP, SEATS)
    await done(api, "bruno", f"orders/{order}/deliveries", id="d1", lines={"1": "4"})
    await done(api, "dina", f"orders/{order}/amend", lines={"1": "9"})
    await done(api, "bruno", f"erp/documents/{order}/accept", reference="SO-1", version=2)
    await submitted(api, id="Q-2")
    known = (await api.call("root", "GET", "/v1/users/omar")).json()
    tag = {"If-Match": f'"{known["version"]}"'}
    assert (await api.call("root", "PUT", "/v1/users/omar", json={**known, "unit": "Nordics"}, headers=tag)).is_success
    await api.bench.container.path.settle()
    return order


async def differences(bench: Bench) -> list[Difference]:
    return [each async for each in bench.container.consistency.find()]


async def test_nothing_differs_after_a_whole_story(api: Api) -> None:
    await story(api)
    assert await differences(api.bench) == []


async def test_nothing_differs_after_a_replacement_and_an_import(api: Api) -> None:
    await submitted(api, id="Q-2")
    started = await api.call("adam", "POST", "/v1/replacements", json={"old": "dora", "new": "lara"})
    while (await api.bench.replacing.step(started.json()["id"])).status != "finished":
        continue
    await api.bench.container.path.settle()
    assert await differences(api.bench) == []


CHANGES: dict[str, tuple[Callable[[Any], Any], set[tuple[str, str]]]] = {
    "a number": (lambda _: update(RunRow).where(RunRow.id == "order:Q-1-1").values(seq=99), {("state", "order:Q-1-1")}),
    "a status": (lambda _: update(QuoteRow).where(QuoteRow.id == "Q-2").values(status="approved"), {("lists", "quote:Q-2")}),
    "roles": (lambda _: update(PersonRow).where(PersonRow.id == "rita").values(roles=["rep", "approver"]),
              {("record", "user:rita")}),
    "a limit": (lambda _: update(PersonRow).where(PersonRow.id == "helena").values(approval_limit=Decimal(10) ** 9),
                {("record", "user:helena")}),
    "a group": (lambda _: update(GroupRow).where(GroupRow.id == "deal-desk").values(members=["rita"]),
                {("record", "group:deal-desk")}),
    "an approval": (lambda _: update(ApprovalRow).where(ApprovalRow.subject_id == "Q-2").values(status="approved"),
                    {("lists", "quote:Q-2:approval:1")}),
    "an inbox": (lambda _: update(SeatRow).where(SeatRow.subject_id == "Q-2").values(asked_at=None),
                 {("lists", "quote:Q-2:approval:1")}),
    "an order's list": (lambda _: update(OrderRow).where(OrderRow.id == "Q-1-1").values(status="fulfilled"),
                        {("lists", "order:Q-1-1")}),
    "the books": (lambda _: delete(RevenueRow).where(RevenueRow.kind == "earned"), {("books", "order:Q-1-1")}),
    "an entry": (lambda _: delete(EventRow).where(EventRow.subject == "quote:Q-2", EventRow.seq == 1),
                 {("audit", "quote:Q-2"), ("record", "quote:Q-2")}),
    "a state": (lambda rows: update(RunRow).where(RunRow.id == "order:Q-1-1").values(state={**rows["run"], "owner": "omar"}),
                {("state", "order:Q-1-1")}),
    "content": (lambda rows: update(QuoteRow).where(QuoteRow.id == "Q-2").values(body={**rows["quote"], "owner": "omar"}),
                {("record", "quote:Q-2")}),
    "a ledger": (lambda rows: update(LedgerRow).where(LedgerRow.line == "1").values(
                     body={**rows["ledger"], "allocated": rows["ledger"]["unallocated"],
                           "unallocated": rows["ledger"]["allocated"]}), {("ledger", "quote:Q-1")}),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
async def test_what_was_written_past_the_services_is_named(api: Api, change: str) -> None:
    await story(api)
    statement, expected = CHANGES[change]
    async with api.bench.container.database.writing() as session:
        ledger = select(LedgerRow.body).where(LedgerRow.quote == "Q-1", LedgerRow.line == "1")
        rows = {
            "run": (await session.exec(select(RunRow.state).where(RunRow.id == "order:Q-1-1"))).one(),
            "quote": (await session.exec(select(QuoteRow.body).where(QuoteRow.id == "Q-2"))).one(),
            "ledger": (await session.exec(ledger)).one(),
        }
        assert (await execute(session, statement(rows))).rowcount >= 1
    assert {(each.what, each.of) for each in await differences(api.bench)} == expected


async def test_a_policy_that_was_changed_after_it_was_published_is_named(api: Api) -> None:
    await story(api)
    async with api.bench.container.database.writing() as session:
        published = (PolicyRow.kind == "quote", PolicyRow.version == 1)
        changed = func.replace(PolicyRow.content, "fabio", "rita")
        assert (await execute(session, update(PolicyRow).where(*published).values(content=changed))).rowcount == 1
    assert {(each.what, each.of) for each in await differences(api.bench)} == {("record", "policy:quote")}


async def test_a_cut_tail_and_a_deleted_subject_are_found_by_the_daily_export(api: Api, tmp_path: Path) -> None:
    await story(api)
    container = api.bench.container
    anchors = Anchors(container.database, api.bench.clock, str(tmp_path / "heads"))
    assert await anchors.write_daily() > 3
    assert await anchors.write_daily() == 0, "once a day"
    export = anchors.newest_export()
    assert export is not None
    assert [mark async for mark in anchors.find_missing(export)] == []
    async with container.database.writing() as session:
        last = select(func.max(EventRow.seq)).where(EventRow.subject == "quote:Q-2").scalar_subquery()
        await execute(session, delete(EventRow).where(EventRow.subject == "user:omar"))
        await execute(session, delete(EventRow).where(EventRow.subject == "quote:Q-2", EventRow.seq == last))
    assert {mark.subject async for mark in anchors.find_missing(export)} == {"user:omar", "quote:Q-2"}
    api.bench.clock.forward(days=1)
    assert await anchors.write_daily() > 3
    assert anchors.newest_export() != export


async def test_the_number_of_statements_does_not_grow_with_the_runs_of_a_page(api: Api) -> None:
    """Memory is a page; each page is a bounded number of statements beside its lists."""
    from tests.api.test_customers import queries

    await story(api)
    with queries(api) as asked:
        await differences(api.bench)
    few = len(asked)
    for n in range(3, 9):
        await submit_again(api, f"Q-{n}")
    await api.bench.container.path.settle()
    with queries(api) as asked:
        await differences(api.bench)
    assert len(asked) - few <= 2 * 6 + 2, "two for each round: its approvals and its seats"


async def submit_again(api: Api, id: str) -> None:
    body = {**(await api.call("rita", "GET", "/v1/quotes/Q-2")).json()["quote"], "id": id}
    assert (await api.call("rita", "PUT", f"/v1/quotes/{id}", json=body)).status_code == 201
    assert (await api.call("rita", "POST", f"/v1/quotes/{id}/submit")).status_code == 200
