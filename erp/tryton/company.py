"""A company in an empty Tryton: books, money, a catalogue's ground, a web shop for our orders, and our user."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from babel import Locale

from erp.tryton.rpc import Rpc

MONEY = {
    "EUR": "Euro",
    "USD": "US dollar",
    "GBP": "Pound sterling",
    "BRL": "Real",
    "ISK": "Króna",
    "CHF": "Franc",
    "JPY": "Yen",
    "CAD": "Canadian dollar",
    "AUD": "Australian dollar",
    "SEK": "Krona",
}
WITHOUT_CENTS = ("ISK", "JPY")
GROUPS = (
    "Sales",
    "Sales Administrator",
    "Stock",
    "Product Administration",
    "Account Product Administration",
    "Sale Amendment",
)
YEARS = 3


async def found(rpc: Rpc, user: str, password: str, shop: str) -> None:
    """As an administrator, once."""
    currencies = await rpc.create(
        "currency.currency",
        *(
            {
                "name": name,
                "code": code,
                "symbol": code,
                "digits": 0 if code in WITHOUT_CENTS else 2,
                "rounding": Decimal(1) if code in WITHOUT_CENTS else Decimal("0.01"),
            }
            for code, name in MONEY.items()
        ),
    )
    lands = sorted((code, name) for code, name in Locale("en").territories.items() if len(code) == 2 and code.isalpha())
    await rpc.create("country.country", *({"code": code, "name": name} for code, name in lands))
    (party,) = await rpc.create("party.party", {"name": "Sample company", "code": "SELF"})
    (company,) = await rpc.create("company.company", {"party": party, "currency": currencies[0]})
    me = await one(rpc, "res.user", "login", "admin")
    # Before anything else: what belongs to a company is refused to who works for none.
    await rpc.model("res.user", "write", [me], {"companies": [["add", [company]]], "company": company})
    rpc.context = await rpc.model("res.user", "get_preferences", True)
    await _books(rpc, company)
    await rpc.create("product.category", {
        "name": "Goods and services", "accounting": True, "account_revenue": await _account(rpc, "4.1.1"),
        "account_expense": await _account(rpc, "5.2.1"),
    })  # fmt: skip
    await rpc.create("web.shop", {"name": shop, "company": company, "currency": currencies[0]})
    groups = [await one(rpc, "res.group", "name", name) for name in GROUPS]
    await rpc.create("res.user", {
        "login": user, "name": "Dealwright", "password": password, "groups": [["add", groups]],
        "companies": [["add", [company]]], "company": company,
    })  # fmt: skip


async def _books(rpc: Rpc, company: int) -> None:
    """A chart of accounts, and years in which invoices can be posted."""
    template = await rpc.model("ir.model.data", "get_id", "account", "account_template_root_en")
    wizard = "wizard.account.create_chart"
    session, *_ = await rpc.run(f"{wizard}.create")
    chart = {"account": {"company": company, "account_template": template}}
    await rpc.run(f"{wizard}.execute", session, chart, "create_account")
    accounts = {
        "account_receivable": "1.2.1",
        "account_payable": "2.1.1",
        "category_account_revenue": "4.1.1",
        "category_account_expense": "5.2.1",
    }
    properties = {name: await _account(rpc, code) for name, code in accounts.items()}
    await rpc.run(f"{wizard}.execute", session, {"properties": {"company": company, **properties}}, "create_properties")
    await rpc.run(f"{wizard}.delete", session)
    this_year = datetime.now(UTC).year
    for year in range(this_year, this_year + YEARS):
        await _year(rpc, company, year)


async def _year(rpc: Rpc, company: int, year: int) -> None:
    async def sequence(kind: str) -> int:
        type_ = await one(rpc, "ir.sequence.type", "name", kind)
        told = {"name": f"{kind} {year}", "sequence_type": type_, "company": company}
        (id,) = await rpc.create("ir.sequence.strict", told)
        return id

    invoices = await sequence("Invoice")
    kinds = ("out_invoice", "out_credit_note", "in_invoice", "in_credit_note")
    (id,) = await rpc.create("account.fiscalyear", {
        "name": str(year), "company": company, "start_date": date(year, 1, 1), "end_date": date(year, 12, 31),
        "move_sequence": await sequence("Account Move"),
        "invoice_sequences": [["create", [{"company": company, **{f"{kind}_sequence": invoices for kind in kinds}}]]],
    })  # fmt: skip
    await rpc.model("account.fiscalyear", "create_period", [id])


async def _account(rpc: Rpc, code: str) -> int:
    return await one(rpc, "account.account", "code", code)


async def one(rpc: Rpc, model: str, field: str, value: Any) -> int:
    """The record of which that is true. Raises LookupError."""
    found = await rpc.search(model, [[field, "=", value]], ["rec_name"], 1)
    if not found:
        raise LookupError(f"Tryton has no {model} whose {field} is {value!r}")
    return int(found[0]["id"])
