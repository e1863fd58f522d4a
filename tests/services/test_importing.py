"""Taking over a Salesforce export: our own small one, broken ones, and a real one where it is at hand."""

import shutil
from decimal import Decimal
from pathlib import Path

import pytest

from domain.errors import Invalid
from services.importing import ImportReport, Imports
from services.quotes import Quotes
from services.salesforce import LINES, PRODUCTS, QUOTES, read_export
from services.samples import SYSTEM
from tests.conftest import ROOT, SHARED, Bench

SAMPLE = ROOT / "samples" / "salesforce"
REAL = SHARED / "salesforce_cpq"


async def take(bench: Bench, folder: Path, currency: str = "EUR") -> ImportReport:
    return await Imports(bench.house.office).salesforce(SYSTEM, folder, "rita", currency)


async def test_a_second_import_changes_nothing(bench: Bench) -> None:
    first = await take(bench, SAMPLE)
    assert (first.products, first.quotes, first.lines) == ({"new": 6}, {"new": 4}, 12)
    second = await take(bench, SAMPLE)
    assert (second.products, second.quotes) == ({"unchanged": 6}, {"unchanged": 4})
    stored = await bench.house.quotes.get(SYSTEM.person, "Q-1002")
    assert stored.version == 1


async def test_floats_bundles_and_terms_are_understood(bench: Bench) -> None:
    report = await take(bench, SAMPLE)
    stored = await bench.house.quotes.get(SYSTEM.person, "Q-1002")
    beacon = stored.quote.lines[2]
    assert (beacon.list_price, beacon.net_total, beacon.term_months) == (Decimal("33.45"), Decimal("682.38"), 24)
    assert beacon.requires == "Q-1002-1"
    assert any(r.what == "float 33.449999999999996 read as 33.45" for r in report.remarks)


async def test_a_changed_export_changes_drafts_only(bench: Bench, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    shutil.copytree(SAMPLE, folder)
    await take(bench, folder)
    from services.commands import Caller
    from storage import people

    async with bench.house.database.reading() as session:
        rita = await people.load_person(session, "rita")
    assert rita is not None
    await bench.house.quotes.submit(Caller(person=rita), "Q-1002")
    file = folder / QUOTES
    file.write_text(file.read_text().replace("Net 30", "Net 45").replace("Net 60", "Net 90"))
    report = await take(bench, folder)
    assert report.quotes == {"changed": 3, "unchanged": 1}
    assert any(r.record == "Q-1002" and "in_approval" in r.what for r in report.remarks)


@pytest.mark.parametrize(
    ("file", "content", "where", "what"),
    [
        (QUOTES, b"", QUOTES, "is empty"),
        (QUOTES, b"\n \n", QUOTES, "is empty"),
        (QUOTES, b"a,b\n1,2\n", f"{QUOTES} line 1", "column Id or Guid"),
        (QUOTES, b"Guid,b\n1,2\n", f"{QUOTES} line 1", "SBQQ__Account__c"),
        (QUOTES, b"Guid,SBQQ__Account__c\nQ,A,extra\n", f"{QUOTES} line 2", "3 values"),
        (QUOTES, b'Guid,SBQQ__Account__c\nQ,"A', f"{QUOTES} line 2", "cut off"),
        (QUOTES, b"Guid,SBQQ__Account__c\nQ\n", f"{QUOTES} line 2", "1 values"),
        (QUOTES, b"Guid,SBQQ__Account__c\na b,A\n", f"{QUOTES} row 2 Id", "is not an id"),
        (QUOTES, b"Guid,SBQQ__Account__c\nQ,A\nQ,A\n", f"{QUOTES} row 3 Id", "twice"),
        (PRODUCTS, b"\x89PNG\r\n\x1a\n\x00\xff", f"{PRODUCTS} line 1", "not UTF-8"),
        (PRODUCTS, b"Guid,Name\n1,\x00\n", PRODUCTS, "binary"),
        (LINES, None, LINES, "is missing"),
        (LINES, b"Guid,SBQQ__Quote__c,SBQQ__Product__c,SBQQ__Quantity__c,SBQQ__ListPrice__c,SBQQ__NetPrice__c\n"
                b"L,Q-1001,P-GW,many,1,1\n", f"{LINES} L SBQQ__Quantity__c", "is not a number"),
    ],
)  # fmt: skip
async def test_a_broken_file_is_named_and_nothing_is_taken(
    bench: Bench, tmp_path: Path, file: str, content: bytes | None, where: str, what: str
) -> None:
    folder = tmp_path / "export"
    shutil.copytree(SAMPLE, folder)
    (folder / file).unlink()
    if content is not None:
        (folder / file).write_bytes(content)
    with pytest.raises(Invalid) as error:
        await take(bench, folder)
    problem = error.value.facts["errors"][0]
    assert problem["field"] == where
    assert what in problem["problem"]
    assert await bench.house.quotes.listed(SYSTEM.person, None, "", 10) == []


async def test_an_import_needs_a_rep(bench: Bench) -> None:
    with pytest.raises(Invalid, match="role rep"):
        await Imports(bench.house.office).salesforce(SYSTEM, SAMPLE, "dora", "EUR")


real = pytest.mark.skipif(not REAL.exists(), reason="the real export is not at hand")


@real
def test_the_real_export_reads_to_the_cent() -> None:
    export = read_export(REAL, "rita", "USD")
    assert (len(export.products), len(export.quotes)) == (39, 8)
    assert sum(len(quote.lines) for quote in export.quotes) == 68
    totals = {quote.id[:8]: quote.net_total for quote in export.quotes}
    assert totals["45457970"] == totals["41848e28"] == Decimal("10274.12")
    wanted = ("10274.12", "595.92", "6817.81", "4252.19", "722.64", "3662.26", "607.34")
    assert set(totals.values()) == {Decimal(total) for total in wanted}
    rounding = [line for quote in export.quotes for line in quote.lines if line.net_total == Decimal("682.38")]
    assert {(line.list_price, line.discount_percent, line.term_months) for line in rounding} == {
        (Decimal("33.45"), 15, 24)
    }
    assert all(quote.contradictions() == [] for quote in export.quotes)
    assert sum(1 for quote in export.quotes for line in quote.lines if line.requires) == 59


@real
async def test_a_real_quote_goes_through_two_chains_one_of_two_steps(bench: Bench) -> None:
    report = await take(bench, REAL, "USD")
    assert (report.products, report.quotes, report.lines) == ({"new": 39}, {"new": 8}, 68)
    assert (await take(bench, REAL, "USD")).quotes == {"unchanged": 8}
    quotes: Quotes = bench.house.quotes
    found = await quotes.listed(SYSTEM.person, None, "7e", 10)
    preview = await quotes.preview(SYSTEM.person, found[0].id, {})
    steps = [(a.chain, a.step) for a in preview.plan.approvals]
    assert steps == [("commercial", 10), ("commercial", 20), ("operations", 10)]
