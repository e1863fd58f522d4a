"""Taking over a Salesforce export: our own small one, broken ones, and a real one where it is at hand."""

import shutil
from decimal import Decimal
from pathlib import Path

import pytest

from domain.approvals.evaluation import Facts
from domain.approvals.policy import Aggregate, Variable
from domain.approvals.subject import quote_subject
from domain.errors import Invalid
from services.imports.importing import ImportReport, Imports
from services.imports.salesforce import LINES, PRODUCTS, QUOTES, Export, read_export
from services.imports.samples import SYSTEM
from services.quotes.quotes import Quotes
from tests.conftest import ROOT, SHARED, Bench
from tests.support import a_policy

SAMPLE = ROOT / "samples" / "salesforce"
REAL = SHARED / "salesforce_cpq"


async def take(bench: Bench, folder: Path, currency: str = "EUR") -> ImportReport:
    return await Imports(bench.container.context).salesforce(SYSTEM, folder, "rita", currency)


async def test_a_second_import_changes_nothing(bench: Bench) -> None:
    first = await take(bench, SAMPLE)
    assert (first.products, first.quotes, first.lines) == ({"new": 6}, {"new": 4}, 12)
    second = await take(bench, SAMPLE)
    assert (second.products, second.quotes) == ({"unchanged": 6}, {"unchanged": 4})
    stored = await bench.container.quotes.get(SYSTEM.person, "Q-1002")
    assert stored.version == 1


async def test_floats_bundles_and_terms_are_understood(bench: Bench) -> None:
    report = await take(bench, SAMPLE)
    stored = await bench.container.quotes.get(SYSTEM.person, "Q-1002")
    beacon = stored.quote.lines[2]
    assert (beacon.list_price, beacon.net_total, beacon.term_months) == (Decimal("33.45"), Decimal("682.38"), 24)
    assert beacon.requires == "Q-1002-1"
    assert any(r.what == "float 33.449999999999996 read as 33.45" for r in report.remarks)


async def test_a_changed_export_changes_drafts_only(bench: Bench, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    shutil.copytree(SAMPLE, folder)
    await take(bench, folder)
    from services.runs.commands import Caller
    from storage.people import people

    async with bench.container.database.reading() as session:
        rita = await people.load_person(session, "rita")
    assert rita is not None
    await bench.container.quotes.submit(Caller(person=rita), "Q-1002")
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
        (QUOTES, b"Guid,b,B\n1,2,3\n", f"{QUOTES} line 1", "the column 'b' twice"),
        (QUOTES, b"Guid,SBQQ__Account__c\nQ,A,extra\n", f"{QUOTES} line 2", "3 values"),
        (QUOTES, b'Guid,SBQQ__Account__c\nQ,"A', f"{QUOTES} line 2", "cut off"),
        (QUOTES, b"Guid,SBQQ__Account__c\nQ\n", f"{QUOTES} line 2", "1 values"),
        (PRODUCTS, b"\x89PNG\r\n\x1a\n\x00\xff", f"{PRODUCTS} line 1", "not UTF-8"),
        (PRODUCTS, b"Guid,Name\n1,\x00\n", PRODUCTS, "binary"),
        (LINES, None, LINES, "is missing"),
        (LINES, b"Guid,SBQQ__Quote__c,SBQQ__Product__c\nL,Q-1001,P-GW\n", f"{LINES} line 1", "SBQQ__Quantity__c"),
        (LINES, b"Guid;SBQQ__Quote__c;SBQQ__Quantity__c;SBQQ__NetPrice__c\nL;Q-1001;1,5;1.5\n",
         f"{LINES} SBQQ__Quantity__c", "in two ways"),
        (LINES, b"Guid;SBQQ__Quote__c;SBQQ__Quantity__c\nL;Q-1001;1.500\n", f"{LINES} SBQQ__Quantity__c", "thousand"),
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
    assert await bench.container.quotes.list_page(SYSTEM.person, None, "", 10) == []


async def test_an_import_needs_a_rep(bench: Bench) -> None:
    with pytest.raises(Invalid, match="role rep"):
        await Imports(bench.container.context).salesforce(SYSTEM, SAMPLE, "dora", "EUR")


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
    quotes: Quotes = bench.container.quotes
    found = await quotes.list_page(SYSTEM.person, None, "7e", 10)
    preview = await quotes.preview(SYSTEM.person, found[0].id, {})
    steps = [(a.chain, a.step) for a in preview.plan.approvals]
    assert steps == [("commercial", 10), ("commercial", 20), ("operations", 10)]


# --- what lines mean, and what is listed --------------------------------------------------------------------------------

QUOTE = "Id,SBQQ__Account__c,SBQQ__BillingName__c,SBQQ__SubscriptionTerm__c,CurrencyIsoCode"
LINE = ("Id,SBQQ__Quote__c,SBQQ__Product__c,SBQQ__Number__c,SBQQ__Quantity__c,SBQQ__ListPrice__c,SBQQ__Discount__c,"
        "SBQQ__NetPrice__c,SBQQ__ProrateMultiplier__c,SBQQ__SubscriptionType__c")  # fmt: skip
PRODUCT = "Id,ProductCode,Name,Family,IsActive\nP1,W-1,Widget,HW,true\n"


def written(folder: Path, quotes: str, lines: str, products: str = PRODUCT) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in ((QUOTES, quotes), (LINES, lines), (PRODUCTS, products)):
        if text:
            (folder / name).write_text(text)
    return folder


def read(folder: Path, line: str, quote: str = "Q1,A1,Anna Ltd,,EUR", header: str = LINE, **files: str) -> Export:
    return read_export(written(folder, f"{QUOTE}\n{quote}\n", f"{header}\n{line}\n", **files), "rita", "EUR")


def listed(export: Export, kind: str) -> list[tuple[str, str]]:
    return [(remark.record, remark.what) for remark in export.remarks if remark.kind == kind]


@pytest.mark.parametrize(
    ("line", "term", "months", "monthly"),
    [
        ("L1,Q1,P1,1,2,1200,0,2400,2,Renewable", "24", 24, "100"),
        ("L1,Q1,P1,1,2,1200,0,1200,1,Renewable", "12", 12, "100"),
        ("L1,Q1,P1,1,1,33.45,15,682.38,24,Renewable", "24", 24, "33.45"),
        ("L1,Q1,P1,1,1,100,0,100,1,One-time", "24", None, "100"),
        ("L1,Q1,P1,1,1,100,0,100,1,", "24", None, "100"),
    ],
)
def test_a_subscriptions_term_is_what_its_columns_say(
    tmp_path: Path, line: str, term: str, months: int | None, monthly: str
) -> None:
    export = read(tmp_path, line, f"Q1,A1,Anna Ltd,{term},EUR")
    (found,) = export.quotes[0].lines
    assert (found.term_months, found.list_price) == (months, Decimal(monthly))
    assert found.billing == ("recurring" if months else "one_time")
    assert (listed(export, "not_mapped"), export.quotes[0].contradictions()) == ([], [])


def test_the_products_own_term_comes_first(tmp_path: Path) -> None:
    products = "Id,Name,SBQQ__SubscriptionTerm__c\nP1,Seat,12\n"
    export = read(tmp_path, "L1,Q1,P1,1,1,1200,0,1800,1.5,Renewable", "Q1,A1,Anna Ltd,36,EUR", products=products)
    (line,) = export.quotes[0].lines
    assert (line.term_months, line.list_price, line.net_total) == (18, Decimal(100), Decimal(1800))


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("L1,Q1,P1,1,2,100,0,100,1,Renewable", "neither the product's term nor the line's"),
        ("L1,Q1,P1,1,2,100,0,100,1,Evergreen", "evergreen"),
        ("L1,Q1,P1,1,2,100,0,200,2,", "nothing says what kind"),
    ],
)
def test_a_line_whose_term_is_not_known_is_listed_and_keeps_its_total(tmp_path: Path, line: str, why: str) -> None:
    export = read(tmp_path, line)
    (found,) = export.quotes[0].lines
    ((record, what),) = listed(export, "not_mapped")
    assert (record, why in what, found.term_months) == ("L1", True, None)
    assert found.net_total in (200, 400)


def test_one_bad_row_stops_its_own_quote_and_is_listed_by_its_record(tmp_path: Path) -> None:
    quotes = f'{QUOTE}\nQ1,A1,Anna Ltd,,EUR\nQ2,A2,"Bo\nLtd",,EUR\nQ3,,,,EUR\nQ4,A4,Cy,,EUR\n'
    lines = f"{LINE}\nL1,Q1,P1,1,1,100,0,100,1,One-time\nL2,Q4,P1,1,0,100,0,100,1,One-time\n"
    export = read_export(written(tmp_path, quotes, lines), "rita", "EUR")
    assert [quote.id for quote in export.quotes] == ["Q1"]
    assert [record for record, _ in listed(export, "refused")] == ["Q2", "Q3", "Q4"]
    fields = {remark.record: remark.field for remark in export.remarks if remark.kind == "refused"}
    assert fields["Q4"] == "L2 quantity"


@pytest.mark.parametrize(
    ("bad", "record", "column", "why"),
    [
        ("L 1,Q2,P1,1,1,100,0,100,1,", "Q2", f"{LINES} L 1", "is not an id"),
        (",Q2,P1,1,1,100,0,100,1,", "Q2", LINES, "is not an id"),
        ("L0,Q2,P1,1,1,100,0,100,1,", "Q2", f"{LINES} L0", "stands there twice"),
        ("L1,Q2,P1,1,1,100,0,1e45,1,", "Q2", f"{LINES} L1 SBQQ__NetPrice__c", "not a number"),
        ("L1,Q2,P1,1,999999999999999,100,0,100,1,", "Q2", f"{LINES} L1 SBQQ__NetPrice__c", "too large"),
    ],
)
def test_a_bad_line_stops_its_own_quote(tmp_path: Path, bad: str, record: str, column: str, why: str) -> None:
    quotes = f"{QUOTE}\nQ1,A1,Anna,,EUR\nQ2,A1,Anna,,EUR\nQ3,A1,Anna,,EUR\n"
    lines = f"{LINE}\n{bad}\nL9,Q1,P1,1,1,100,0,100,1,\nL0,Q3,P1,1,1,100,0,100,1,\n"
    export = read_export(written(tmp_path, quotes, lines), "rita", "EUR")
    assert "Q1" in {quote.id for quote in export.quotes}
    refused = {r.record: (r.field, r.what) for r in export.remarks if r.kind == "refused"}
    assert refused[record][0] == column
    assert why in refused[record][1]


def test_a_quote_without_an_id_of_its_own_is_listed_and_the_others_are_taken(tmp_path: Path) -> None:
    quotes = f"{QUOTE}\na b,A1,Anna,,EUR\nQ1,A1,Anna,,EUR\nQ1,A2,Bo,,EUR\n"
    export = read_export(written(tmp_path, quotes, f"{LINE}\n"), "rita", "EUR")
    assert [quote.customer.name for quote in export.quotes] == ["Anna"]
    assert listed(export, "refused") == [
        ("a b", "record 1 of the file: 'a b' is not an id of up to 64 letters, digits, . _ -; left out"),
        ("Q1", "record 3 of the file: Q1 stands there twice; left out"),
    ]


def test_a_refusal_names_the_line_that_is_wrong_beside_optional_lines_and_numbers(tmp_path: Path) -> None:
    lines = "LO,Q1,P1,1,1,1,0,1,1,,true\nLA,Q1,P1,3,1,100,0,100,1,,\nLB,Q1,P1,2,-5,100,0,100,1,,"
    export = read(tmp_path, lines, header=f"{LINE},SBQQ__Optional__c")
    assert {r.field.split()[0] for r in export.remarks if r.kind == "refused"} == {"LB"}


@pytest.mark.parametrize(("written_as", "total"), [("Y", 50), ("sim", 50), ("N", 150), ("", 150), ("WAHR", None)])
def test_an_optional_line_is_known_however_it_is_written_or_its_quote_refused(
    tmp_path: Path, written_as: str, total: int | None
) -> None:
    lines = f"L1,Q1,P1,1,1,100,0,100,1,,{written_as}\nL2,Q1,P1,2,1,50,0,50,1,,"
    export = read(tmp_path, lines, header=f"{LINE},SBQQ__Optional__c")
    assert [quote.net_total for quote in export.quotes] == ([] if total is None else [total])


def test_a_line_without_a_net_price_and_a_quote_without_a_currency_are_noted(tmp_path: Path) -> None:
    quotes = f"{QUOTE}\nQ1,A1,Anna,,\n"
    export = read_export(written(tmp_path, quotes, f"{LINE}\nL1,Q1,P1,1,1,100,20,,1,\n"), "rita", "EUR")
    assert export.quotes[0].net_total == 80
    assert {("L1", "SBQQ__NetPrice__c"), ("Q1", "CurrencyIsoCode")} <= {(r.record, r.field) for r in export.remarks}


async def test_the_report_has_totals(bench: Bench, tmp_path: Path) -> None:
    quotes = f"{QUOTE}\nQ1,A1,Anna Ltd,,EUR\nQ3,,,,EUR\n"
    lines = f"{LINE}\nL1,Q1,P1,1,1,100,0,100,1,Renewable\n"
    report = await take(bench, written(tmp_path, quotes, lines))
    assert report.read == {"products": 1, "quotes": 2, "lines": 1}
    assert (report.quotes, report.lines, report.not_mapped) == ({"new": 1, "refused": 1}, 1, 1)
    assert (await take(bench, tmp_path)).quotes == {"unchanged": 1, "refused": 1}


def test_optional_lines_are_not_part_of_the_sum_and_odd_numbers_are_listed(tmp_path: Path) -> None:
    lines = "L1,Q1,P1,1a,2,100.5,0,100.5,1,One-time,false\nL2,Q1,P1,2,1,50,0,50,1,One-time,TRUE"
    export = read(tmp_path, lines, header=f"{LINE},SBQQ__Optional__c")
    assert export.quotes[0].net_total == 201
    assert listed(export, "not_mapped") == [("L2", "it is optional: offered beside the quote, and not part of it")]
    assert any("'1a' is not a number" in remark.what for remark in export.remarks)


def test_a_blank_discount_stays_blank(tmp_path: Path) -> None:
    lines = "L1,Q1,P1,1,1,100,20,80,1,\nL2,Q1,P1,2,1,100,,100,1,\nL3,Q1,P1,3,1,100,,100,1,"
    quote = read(tmp_path, lines).quotes[0]
    mean = Variable(name="v", aggregate=Aggregate.AVERAGE, field="discount_percent")
    facts = Facts(quote_subject(quote, 1, {"EUR": Decimal(1)}, ()), a_policy(variables=(mean,)))
    assert facts.variable("v") == 20
    assert quote.net_total == 280


@pytest.mark.parametrize("product", ["", "x9"])
def test_without_products_they_are_taken_from_what_the_lines_say(tmp_path: Path, product: str) -> None:
    header = "Id,SBQQ__Quote__c,SBQQ__Quantity__c,SBQQ__NetPrice__c,SBQQ__ProductName__c,SBQQ__Product__c"
    export = read(tmp_path, f"L1,Q1,2,50,Blue widget,{product}", header=header, products="")
    (line,) = export.quotes[0].lines
    assert (line.name, line.net_total, [p.name for p in export.products]) == ("Blue widget", 100, ["Blue widget"])
    assert {r.file for r in export.remarks if "taken from the line" in r.what} == {PRODUCTS, LINES}


@pytest.mark.parametrize(
    ("header", "line"),
    [
        (LINE.upper(), "L1,Q1,P1,1,2,100.5,0,100.5,1,One-time"),
        (LINE.replace(",", ";"), "L1;Q1;P1;1;2;1.100,5;0;1.100,5;1;One-time"),
        (LINE.replace(",", "\t"), "L1\tQ1\tP1\t1\t2\t100.5\t0\t100.5\t1\tOne-time"),
        ("sep=;\n" + LINE.replace(",", ";"), "L1;Q1;P1;1;2;100.5;0;100.5;1;One-time"),
        (LINE, 'L1,Q1,P1,1,2,"1,100.5",0,"1,100.5",1,One-time'),
        (LINE, 'L1, "Q1", P1,1, 2 ,100.5,0,100.5,1,One-time'),
        ('"sep=;"\n' + LINE.replace(",", ";"), "L1;Q1;P1;1;2;100.5;0;100.5;1;One-time"),
        ("\n\n" + LINE, "L1,Q1,P1,1,2,100.5,0,100.5,1,One-time\n,,,,,,,,,\n"),
    ],
)
def test_every_usual_shape_of_a_csv_file_is_read(tmp_path: Path, header: str, line: str) -> None:
    export = read(tmp_path, line, header=header)
    assert export.quotes[0].net_total in (201, 2201)


@pytest.mark.parametrize(("separator", "number"), [(",", '"1,500"'), (";", "1.500"), ("\t", "1.500"), ("\t", "1,500")])
def test_a_number_that_may_be_a_thousand_or_a_fraction_is_refused(tmp_path: Path, separator: str, number: str) -> None:
    line = separator.join(("L1", "Q1", "P1", "1", "1", number, "0", number, "1", ""))
    with pytest.raises(Invalid, match="may be a thousand or a fraction"):
        read(tmp_path, line, header=LINE.replace(",", separator))


@pytest.mark.parametrize("number", ["1_00.5", "1e999999999999", "NaN", "١٢", "1,00.5", "--1"])
def test_what_is_no_number_is_refused_by_name(tmp_path: Path, number: str) -> None:
    export = read(tmp_path, f'L1,Q1,P1,1,2,"{number}",0,1,1,One-time')
    assert export.quotes == []
    assert listed(export, "refused")[0][0] == "Q1"


@pytest.mark.parametrize(
    ("written", "active"), [("TRUE", True), ("1", True), ("False", False), ("0", False), ("", True)]
)
def test_a_truth_is_read_however_it_is_written(tmp_path: Path, written: str, active: bool) -> None:
    products = f"Id,Name,IsActive\nP1,Widget,{written}\n"
    assert read(tmp_path, "L1,Q1,P1,1,1,1,0,1,1,", products=products).products[0].active is active


def test_what_is_finer_than_a_cent_is_rounded_once_and_listed(tmp_path: Path) -> None:
    export = read(tmp_path, "L1,Q1,P1,1,3,33.335,0,33.335,1,One-time")
    assert export.quotes[0].net_total == Decimal("100.01")
    assert any("rounded to 100.01" in remark.what for remark in export.remarks)


@real
def test_the_real_export_has_ten_long_fifteen_short_and_five_unknown_subscriptions() -> None:
    export = read_export(REAL, "rita", "USD")
    terms = [line.term_months for quote in export.quotes for line in quote.lines]
    assert (terms.count(24), terms.count(1), terms.count(None)) == (10, 15, 43)
    unknown = {record[:8] for record, what in listed(export, "not_mapped") if "renewable" in what}
    assert unknown == {"0bbebc98", "3f512df3", "7354bdfa", "a416b59b", "d65259eb"}


@pytest.mark.parametrize(
    ("times", "kind", "why"),
    [
        ("1", "Renewable/Evergreen", "'Renewable/Evergreen' is no kind of subscription that we know"),
        ("12", "Yearly", "'Yearly' is no kind of subscription that we know"),
        ("0", "Renewable", "it is renewable, and neither the product's term nor the line's is known"),
    ],
)
def test_what_kind_of_subscription_it_is_is_never_guessed(tmp_path: Path, times: str, kind: str, why: str) -> None:
    export = read(tmp_path, f"L1,Q1,P1,1,1,1200,0,1200,{times},{kind}", quote="Q1,A1,Anna Ltd,12,EUR")
    assert listed(export, "not_mapped") == [("L1", f"{why}; kept with its own total")]
    (quote,) = export.quotes
    assert (quote.lines[0].term_months, quote.net_total) == (None, 1200)


def test_a_line_that_needs_an_optional_one_is_kept_without_it(tmp_path: Path) -> None:
    header = f"{LINE},SBQQ__Optional__c,SBQQ__RequiredBy__c"
    lines = "L1,Q1,P1,1,1,5,0,5,1,One-time,false,L2\nL2,Q1,P1,2,1,6,0,6,1,One-time,true,"
    export = read(tmp_path, lines, header=header)
    (quote,) = export.quotes
    assert [(line.id, line.requires) for line in quote.lines] == [("L1", None)]
