"""What is approved, reduced to what a policy can test: typed fields and lines, and a digest that binds decisions."""

from collections.abc import Collection, Mapping
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Any

from domain.approvals.card import Card, Say
from domain.quotes import Quote
from domain.values import Testable, Value


class FieldType(StrEnum):
    NUMBER = "number"
    TEXT = "text"
    BOOL = "bool"
    DATE = "date"
    TEXTS = "texts"


N, T, D = FieldType.NUMBER, FieldType.TEXT, FieldType.DATE

KNOWN_FIELDS: dict[str, dict[str, FieldType]] = {
    "quote": {
        **dict.fromkeys(
            ("id", "customer", "customer_id", "currency", "owner", "payment_terms", "partner", "owner_unit"), T
        ),
        **dict.fromkeys(("list_total", "net_total", "list_total_original", "net_total_original"), N),
        **dict.fromkeys(("discount_percent", "line_count", "term_months"), N),
        "order_by": D,
    },
    "order_change": {
        **dict.fromkeys(
            ("order", "quote", "customer", "currency", "owner", "owner_unit", "status", "reason", "extends"), T
        ),
        **dict.fromkeys(("net_total", "net_after", "net_change", "net_change_percent"), N),
        "place_changed": FieldType.BOOL,
        "effective": D,
    },
    "opportunity": {
        **dict.fromkeys(("Name", "StageName", "Type", "LeadSource", "ForecastCategoryName", "AccountId", "OwnerId"), T),
        **dict.fromkeys(("Amount", "Probability", "ExpectedRevenue", "TotalOpportunityQuantity"), N),
        "CloseDate": D,
    },
}
KNOWN_LINE_FIELDS: dict[str, dict[str, FieldType]] = {
    "quote": {
        **dict.fromkeys(("id", "product", "name", "family", "billing", "recognition", "requires", "group", "sla"), T),
        **dict.fromkeys(("quantity", "list_price", "discount_percent", "list_total", "net_total", "term_months"), N),
        "requested_date": D,
    },
    "order_change": {
        **dict.fromkeys(("id", "product", "name"), T),
        **dict.fromkeys(("quantity", "quantity_after", "quantity_change", "net_total", "net_after"), N),
    },
    "opportunity": {
        **dict.fromkeys(("Id", "ProductCode", "Product_Code__c", "Product_Family"), T),
        **dict.fromkeys(("Quantity", "UnitPrice", "ListPrice", "List_Total__c", "Total_Price", "Subtotal"), N),
    },
}
KINDS = tuple(KNOWN_FIELDS)
GIVEN_FIELDS = {"quote": frozenset({"payment_terms", "partner", "order_by"})}
"""Those of the known fields that somebody writes and no sum follows from."""


IDENTITY_FIELDS = {"quote": ("customer_id", "currency"), "order_change": ("order",)}
"""What makes it the same subject, where the policy names nothing else."""


class Subject(Value):
    """A thing to be approved, as a policy sees it."""

    kind: str
    id: str
    version: int
    digest: str
    title: str
    card: Card | None = None
    """What the title is made of."""
    customer: str
    owner: str
    editors: tuple[str, ...] = ()
    fields: dict[str, Any]
    lines: list[dict[str, Any]] = []
    """Fields whose names begin with `_` are exact amounts, for ratios; `~terms` tells whether two lines say the same
    in what no condition tests. No policy can name either."""
    rate: Decimal | None = None
    """Company units for one unit of its currency; amounts are converted by it."""


def read_subject(data: Mapping[str, Any]) -> Subject:
    """A subject out of its JSON, with numbers and dates as what they were."""
    subject = Subject.model_validate(data)
    known, known_lines = KNOWN_FIELDS.get(subject.kind, {}), KNOWN_LINE_FIELDS.get(subject.kind, {})
    return subject.evolve(
        fields=_restored(subject.fields, known), lines=[_restored(n, known_lines) for n in subject.lines]
    )


def _restored(values: Mapping[str, Any], known: Mapping[str, FieldType]) -> dict[str, Any]:
    return {name: _as(N if name.startswith("_") else known.get(name), value) for name, value in values.items()}


def _as(type: FieldType | None, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return Decimal(value) if type is N else date.fromisoformat(value) if type is D else value


def testable(value: object) -> Testable:
    """A value out of JSON as a policy sees it: numbers as decimals, lists as texts."""
    if isinstance(value, bool) or value is None or isinstance(value, Decimal | date | str):
        return value
    if isinstance(value, int | float):
        return Decimal(str(value))
    if isinstance(value, list | tuple):
        return tuple(str(item) for item in value)
    return str(value)


def quote_subject(
    quote: Quote,
    version: int,
    rates: Mapping[str, Decimal],
    editors: tuple[str, ...],
    owner_unit: str = "",
    neutral: Collection[str] = (),
    say: Say = Say(),
) -> Subject:
    """The quote as its policy sees it; `neutral` fields are outside what a decision binds to."""
    card = quote_card(quote)
    return Subject(
        kind="quote",
        id=quote.id,
        version=version,
        digest=quote.digest_without(neutral),
        title=card.title(say.word, say.locale),
        card=card,
        customer=quote.customer.name,
        owner=quote.owner,
        editors=editors,
        fields={**quote.testable(rates), "owner_unit": owner_unit or None},
        lines=quote.testable_lines(rates),
        rate=rates.get(quote.currency),
    )


def quote_card(quote: Quote) -> Card:
    """What ops and approvers read first."""
    return Card(
        kind="Quote",
        id=quote.id,
        customer=quote.customer.name,
        percent=quote.discount_percent,
        amounts=(quote.net_total,),
        currency=quote.currency,
    )
