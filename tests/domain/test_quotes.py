import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.approvals.evaluation import Facts
from domain.approvals.policy import Aggregate, Variable
from domain.approvals.subject import quote_subject
from domain.errors import Invalid
from domain.money import rounded
from domain.quotes import Quote
from tests.support import a_line, a_policy, a_quote

DISCOUNT = Variable(name="v", aggregate=Aggregate.DISCOUNT, list="list_total", net="net_total")


def test_a_line_is_rounded_once() -> None:
    line = a_line(list_price="33.45", discount_percent="15", billing="recurring", term_months=24)
    assert a_quote(lines=[line]).net_total == Decimal("682.38")


@pytest.mark.parametrize(("currency", "expected"), [("EUR", "66.67"), ("JPY", "67"), ("ISK", "67"), ("KWD", "66.667")])
def test_every_currency_rounds_to_its_own_minor_unit(currency: str, expected: str) -> None:
    line = a_line(list_price="66.6666")
    assert a_quote(lines=[line], currency=currency).net_total == Decimal(expected)


def test_a_recurring_line_takes_the_quotes_term() -> None:
    line = a_line(billing="recurring")
    assert a_quote(lines=[line], term_months=12).net_total == 1200
    assert a_quote(lines=[{**line, "term_months": 3}], term_months=12).net_total == 300
    assert a_quote(lines=[a_line()], term_months=12).net_total == 100


def test_the_discount_of_a_quote_without_list_price_is_unknown() -> None:
    assert a_quote(lines=[a_line(list_price="0")]).discount_percent is None
    assert a_quote(lines=[]).discount_percent is None
    assert a_quote(discount="27.5").discount_percent == Decimal("27.5")


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ({"net_total": "100.01"}, "lines[0].net_total"),
        ({"net_total": "99.99"}, "lines[0].net_total"),
        ({"net_price": "99.98"}, "lines[0].net_price"),
        ({"requires": "9"}, "lines[0].requires"),
        ({"requires": "1"}, "lines[0].requires"),
    ],
)
def test_a_contradiction_is_refused_naming_the_line(line: dict[str, str], field: str) -> None:
    with pytest.raises(Invalid) as error:
        a_quote(lines=[a_line(**line)]).checked()
    assert error.value.facts["errors"][0]["field"] == field


def test_less_than_a_minor_unit_is_no_contradiction() -> None:
    assert a_quote(lines=[a_line(list_price="28.4325", net_total="28.43", net_price="28.43")]).checked()


def test_an_import_keeps_its_sources_figure_and_says_so() -> None:
    quote = a_quote(lines=[a_line(net_total="90")])
    assert quote.checked(keep_source_figures=True).net_total == 90
    assert quote.contradictions()[0]["field"] == "lines[0].net_total"


def test_two_lines_cannot_share_an_id() -> None:
    with pytest.raises(Invalid, match="also the id of"):
        a_quote(lines=[a_line(), a_line()]).checked()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"lines": [a_line(quantity="-1")]}, "lines.0.quantity"),
        ({"lines": [a_line(list_price="-0.01")]}, "lines.0.list_price"),
        ({"lines": [a_line(quantity="0")]}, "lines.0.quantity"),
        ({"lines": [a_line(list_price="1e400")]}, "lines.0.list_price"),
        ({"lines": [a_line(list_price="NaN")]}, "lines.0.list_price"),
        ({"lines": [a_line(discount_percent="101")]}, "lines.0.discount_percent"),
        ({"lines": [a_line(id="a b")]}, "lines.0.id"),
        ({"lines": [a_line(str(n)) for n in range(2001)]}, "lines"),
        ({"id": "../etc"}, "id"),
        ({"id": "x" * 65}, "id"),
        ({"currency": "euro"}, "currency"),
        ({"fields": {"a b": 1}}, "fields.a b.[key]"),
        ({"colour": {"deep": 1}}, "custom.colour"),
    ],
)
def test_bad_input_names_its_field(changes: dict[str, object], field: str) -> None:
    with pytest.raises(ValidationError) as error:
        a_quote(**changes)  # type: ignore[arg-type]
    assert any(".".join(map(str, e["loc"])).startswith(field) for e in error.value.errors())


def test_unknown_fields_are_kept_and_testable() -> None:
    quote = a_quote(colour="red", lines=[a_line(weight="3")])
    assert quote.custom == {"colour": "red"}
    assert quote.testable({"EUR": Decimal(1)})["colour"] == "red"
    assert quote.testable_lines({"EUR": Decimal(1)})[0]["weight"] == "3"


def test_amounts_are_tested_in_the_companys_currency() -> None:
    facts = a_quote(currency="USD").testable({"EUR": Decimal(1), "USD": Decimal("0.9")})
    assert (facts["net_total"], facts["net_total_original"]) == (90, 100)
    with pytest.raises(Invalid, match="no exchange rate"):
        a_quote(currency="USD").testable({"EUR": Decimal(1)})


@given(st.decimals(0, 10**6, places=2), st.decimals(0, 100, places=2), st.integers(1, 50))
def test_equal_content_has_an_equal_digest(price: Decimal, discount: Decimal, quantity: int) -> None:
    line = a_line(list_price=str(price), discount_percent=str(discount), quantity=str(quantity))
    quote = a_quote(lines=[line])
    again = Quote.model_validate(quote.model_dump(mode="json"))
    assert again == quote
    assert again.digest == quote.digest
    assert a_quote(lines=[{**line, "quantity": f"{quantity}.00"}]).digest == quote.digest
    assert a_quote(lines=[{**line, "quantity": str(quantity + 1)}]).digest != quote.digest
    assert quote.net_total == rounded(quote.net_total, "EUR")


def test_a_companys_own_numbers_and_texts_come_back_as_what_they_were() -> None:
    quote = a_quote(
        fields={"cost": 5, "rate": 33.1, "code": "5", "tags": ["a", "b"]}, lines=[a_line(weight=70.5, lot="70.5")]
    )
    stored = json.loads(json.dumps(quote.model_dump(mode="json")))
    again = Quote.model_validate(stored)
    assert again == quote
    assert again.digest == quote.digest
    assert isinstance(again.fields["cost"], Decimal)
    assert isinstance(again.fields["code"], str)
    assert again.testable_lines({"EUR": Decimal(1)})[0]["weight"] == Decimal("70.5")


@pytest.mark.parametrize("name", ["two\nlines", "nul\x00", "\ud800"])
def test_names_are_one_printable_line(name: str) -> None:
    with pytest.raises(ValidationError):
        a_quote(customer={"id": "C", "name": name})


def test_totals_are_bounded() -> None:
    with pytest.raises(Invalid, match="add up to"):
        a_quote(lines=[a_line(quantity="999999999", list_price="999999999999")]).checked()


PRICES = ("99.99", "33.33", "0.01", "12345.67", "7")


@pytest.mark.parametrize("currency", ["EUR", "ISK", "JPY", "BHD"])
@given(st.lists(st.tuples(st.sampled_from(PRICES), st.integers(1, 13), st.integers(1, 36)), min_size=1, max_size=4),
       st.sampled_from(["20", "12.5", "33.333333"]), st.booleans())  # fmt: skip
def test_lines_at_one_discount_make_exactly_that_discount(
    currency: str, lines: list[tuple[str, int, int]], discount: str, stated: bool
) -> None:
    """Ratios are computed before money is rounded, for the quote and for variables alike."""
    made = [a_line(str(n), list_price=price, quantity=str(quantity), discount_percent=discount, billing="recurring",
                   term_months=term) for n, (price, quantity, term) in enumerate(lines)]  # fmt: skip
    quote = a_quote(lines=made, currency=currency)
    if stated:
        sums = [str(s.net_total) for s in quote.line_sums]
        quote = a_quote(lines=[{**line, "net_total": s} for line, s in zip(made, sums, strict=True)], currency=currency)
    assert quote.discount_percent == Decimal(discount)
    facts = Facts(quote_subject(quote, 1, {currency: Decimal("0.9173")}, ()), a_policy(variables=(DISCOUNT,)))
    assert facts.variable("v") == Decimal(discount)


def test_a_net_total_that_does_not_follow_counts_as_it_is_stated() -> None:
    quote = a_quote(lines=[a_line(list_price="100", discount_percent="20", net_total="50")])
    assert quote.discount_percent == 50


@pytest.mark.parametrize("written", [9, "9"])
def test_a_number_written_as_text_counts_in_a_variable_like_a_number(written: object) -> None:
    highest = Variable(name="highest", aggregate=Aggregate.MAX, field="risk")
    quote = a_quote(lines=[a_line("1", fields={"risk": written}), a_line("2", fields={"risk": "unknown"})])
    subject = quote_subject(quote, 1, {"EUR": Decimal(1)}, ())
    assert Facts(subject, a_policy(variables=(highest,))).variable("highest") == 9
