"""Real orders as quotes, accepted and split anew: every sum is the source's."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import pytest

from domain.approvals.policy import Policy
from domain.errors import Invalid
from domain.orders.ledger import LineLedger
from domain.orders.split import ByFields, Even, Slot
from domain.quotes import Acceptance, Place
from services.imports.importing import Imports
from services.imports.sales_orders import DETAILS, HEADER, HEADERS, read_sales_orders
from services.imports.samples import SYSTEM
from services.orders.orders import Placed
from services.runs.commands import Caller
from storage.people import people
from tests.conftest import ROOT, SHARED, Bench

SAMPLE, REAL = ROOT / "samples" / "sales-orders", SHARED / "adventureworks_lt"
CPQ = SHARED / "salesforce_cpq"
BY_PLACE_AND_DAY = ByFields(way="fields", fields=("ship_to", "requested_date"))


def folders() -> Iterator[object]:
    yield pytest.param(SAMPLE, 2, 5, id="made up")
    missing = pytest.mark.skipif(not REAL.exists(), reason="the real orders are not at hand")
    yield pytest.param(REAL, 32, 542, id="real", marks=missing)


async def rita(bench: Bench) -> Caller:
    async with bench.container.database.reading() as session:
        person = await people.load_person(session, "rita")
    assert person is not None
    return Caller(person=person)


async def accepted(bench: Bench, id: str) -> None:
    """Approved without anybody being asked, and accepted."""
    caller = await rita(bench)
    await bench.container.quotes.submit(caller, id)
    await bench.container.orders.accept(caller, id, None, Acceptance(on=bench.clock().date()))


async def nobody_is_asked(bench: Bench) -> None:
    await bench.container.policies.publish_policy(SYSTEM, Policy(kind="quote", rules=()))


def money(placed: Placed) -> Decimal:
    return sum((order.net_total for order in placed.orders), Decimal(0))


def conserved(ledger: list[LineLedger]) -> bool:
    return all(entry.balanced for entry in ledger)


@pytest.mark.parametrize(("folder", "quotes", "lines"), folders())
async def test_every_order_split_by_place_and_day_adds_up_to_its_source(
    bench: Bench, folder: Path, quotes: int, lines: int
) -> None:
    source: dict[str, Decimal] = {}
    for row in (folder / DETAILS).read_text().splitlines():
        values = row.split("|+|")
        cents = Decimal(values[6]).quantize(Decimal("0.01"), ROUND_HALF_UP)
        source[values[0]] = source.get(values[0], Decimal(0)) + cents
    await nobody_is_asked(bench)
    report = await Imports(bench.container.context).sales_orders(SYSTEM, folder, "rita", "USD")
    assert (report.quotes, report.lines) == ({"new": quotes}, lines)
    for header in (folder / HEADERS).read_text().splitlines():
        number, id = header.split("|+|")[0], header.split("|+|")[7]
        await accepted(bench, id)
        placed = await bench.container.orders.place(await rita(bench), id, BY_PLACE_AND_DAY)
        assert money(placed) == source.get(number, Decimal(0)), id
        assert conserved(placed.ledger)
        assert {order.slot.trigger.on for order in placed.orders} == {date.fromisoformat(header.split("|+|")[3])}
    if folder == REAL:
        assert len(report.remarks) > 0, "its own headers say something else than its lines"


@pytest.mark.skipif(not CPQ.exists(), reason="the real export is not at hand")
async def test_real_quotes_are_split_by_place_and_date_to_the_cent(bench: Bench) -> None:
    bench.clock.at = datetime(2020, 6, 1, 12, tzinfo=UTC)
    await nobody_is_asked(bench)
    await Imports(bench.container.context).salesforce(SYSTEM, CPQ, "rita", "USD")
    caller = await rita(bench)
    for summary in await bench.container.quotes.list_page(SYSTEM.person, None, "", 10):
        await accepted(bench, summary.id)
        placed: list[Placed] = []
        for n, city in enumerate(("Porto", "Faro")):
            slot = Slot(ship_to=Place(city=city, time_zone="Europe/Lisbon"))
            way = Even(way="even", waves=1 if n else 2, first=date(2020, 9, 1 + n), slot=slot)
            try:
                tried = await bench.container.orders.preview(caller.person, summary.id, way)
            except Invalid as nothing:
                assert n == 1 or "belongs to" in nothing.sentence, "a bundle of one does not divide into waves"
                way = Even(way="even", waves=1, first=date(2020, 9, 1), slot=slot)
                if n == 1:
                    continue
                tried = await bench.container.orders.preview(caller.person, summary.id, way)
            done = await bench.container.orders.place(caller, summary.id, way)
            assert [o.net_total for o in done.orders] == [o.net_total for o in tried.orders], "preview is commit"
            placed.append(done)
        assert sum((money(done) for done in placed), Decimal(0)) == summary.net_total
        assert conserved(placed[-1].ledger)


@pytest.mark.parametrize(
    ("file", "content", "where"),
    [
        (HEADERS, "1|+|2\n", f"{HEADERS} line 1"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, file: str, content: str, where: str) -> None:
    for name in (HEADERS, DETAILS):
        (tmp_path / name).write_text((SAMPLE / name).read_text())
    (tmp_path / file).write_text(content)
    with pytest.raises(Invalid) as error:
        read_sales_orders(tmp_path, "rita", "USD")
    assert error.value.facts["errors"][0]["field"] == where


def test_one_bad_order_stops_itself_alone_and_only_line_breaks_break_lines(tmp_path: Path) -> None:
    for name in (HEADERS, DETAILS):
        (tmp_path / name).write_text((SAMPLE / name).read_text())
    details = (tmp_path / DETAILS).read_text().replace("9001|+|1|+|3|+|", "9001|+|1|+|many|+|", 1)
    (tmp_path / DETAILS).write_text(details)
    headers = (tmp_path / HEADERS).read_text().replace("PO78", "PO\u202878\x0cB")
    (tmp_path / HEADERS).write_text(headers)
    export = read_sales_orders(tmp_path, "rita", "USD")
    assert "SO9001" not in {quote.id for quote in export.quotes}
    assert "SO9002" in {quote.id for quote in export.quotes}
    assert [(r.record, r.kind) for r in export.remarks if r.kind == "refused"] == [("SO9001", "refused")]


def changed(tmp_path: Path, name: str, old: str, new: str) -> Path:
    for file in (HEADERS, DETAILS):
        (tmp_path / file).write_text((SAMPLE / file).read_text())
    text = (tmp_path / name).read_text()
    assert old in text
    (tmp_path / name).write_text(text.replace(old, new, 1))
    return tmp_path


def first_row(name: str) -> list[str]:
    return (SAMPLE / name).read_text().splitlines()[0].split("|+|")


@pytest.mark.parametrize(
    ("file", "column", "value", "field"),
    [
        (HEADERS, 15, "abc", f"{HEADERS} line 1 SubTotal"),
        (HEADERS, 15, "1e45", f"{HEADERS} line 1 SubTotal"),
        (HEADERS, 3, "31/12/2026", f"{HEADERS} line 1 DueDate"),
        (HEADERS, 7, "SO9002", "SalesOrderNumber"),
        (DETAILS, 6, "1e45", f"{DETAILS} line 1 LineTotal"),
        (DETAILS, 3, "a b", f"{DETAILS} 1 product"),
        (DETAILS, 5, "1.2", f"{DETAILS} 1 discount_percent"),
    ],
)
def test_each_bad_record_is_listed_by_its_id_and_stops_one_order(
    tmp_path: Path, file: str, column: int, value: str, field: str
) -> None:
    row = first_row(file)
    bad = [*row[:column], value, *row[column + 1 :]]
    export = read_sales_orders(changed(tmp_path, file, "|+|".join(row), "|+|".join(bad)), "rita", "USD")
    everything = read_sales_orders(SAMPLE, "rita", "USD")
    assert field in {remark.field for remark in export.remarks if remark.kind == "refused"}
    assert len(export.quotes) == len(everything.quotes) - 1


def test_a_detail_of_no_order_is_listed_and_a_time_and_column_names_do_no_harm(tmp_path: Path) -> None:
    folder = changed(tmp_path, HEADERS, first_row(HEADERS)[3], f"{first_row(HEADERS)[3]} 00:00:00")
    header = folder / HEADERS
    names = "|+|".join(HEADER)
    header.write_text(f"{names}\n{header.read_text()}")
    details = folder / DETAILS
    details.write_text(details.read_text().replace("9001|+|1|+|", "7|+|1|+|", 1))
    export = read_sales_orders(folder, "rita", "USD")
    assert [quote.id for quote in export.quotes] == [q.id for q in read_sales_orders(SAMPLE, "rita", "USD").quotes]
    assert [(r.record, r.field) for r in export.remarks if r.kind == "not_mapped"] == [("1", "SalesOrderID")]
