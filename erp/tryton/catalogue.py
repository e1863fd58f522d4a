"""Whom and what a sale is about: parties, addresses and products, made where Tryton does not have them yet."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from erp.port import Document, Refused
from erp.tryton.rpc import Rpc

PARTY, ADDRESS, PRODUCT = "party.party", "party.address", "product.product"
UNIT = "u"
SPELLINGS = {
    "": UNIT, **dict.fromkeys(("pc", "pcs", "piece", "pieces", "each", "ea", "unit", "units", "un", "stk"), UNIT),
    "l": "l", "litre": "l", "liter": "l", "hr": "h", "hrs": "h", "hour": "h", "hours": "h", "day": "d", "days": "d",
    "m2": "m²", "m3": "m³", "cm2": "cm²", "cm3": "cm³", "kwh": "kW⋅h", "mwh": "MW⋅h", "ton": "t", "tonne": "t",
}  # fmt: skip
"""How our units are spelt in Tryton, by their small letters; others are looked up as they are."""


@dataclass(frozen=True)
class AddedUnit:
    """A unit that Tryton does not bring along: so many of another one."""

    name: str
    like: str
    factor: float
    digits: int


ADDED_UNITS = {"t": AddedUnit("Tonne", "kg", 1000.0, 3)}
MOST_KNOWN = 20_000


def described(version: int) -> str:
    """How a sale, or an amendment of it, says which version of the order it is."""
    return f"Dealwright, version {version}"


def described_any() -> str:
    """The pattern of all of them."""
    return "Dealwright, version %"


class Catalogue:
    def __init__(self, rpc: Rpc, shop: str) -> None:
        self._rpc = rpc
        self._shop_name = shop
        self._shop = 0
        self._currencies: dict[str, tuple[int, Decimal]] = {}
        self._price_digits = 4
        self._known_parties: dict[str, dict[str, Any]] = {}
        self._known_products: dict[str, tuple[int, int]] = {}
        self._known_units: dict[str, tuple[int, int]] = {}
        self._known_addresses: dict[tuple[int, str], int] = {}

    def forget(self) -> None:
        """What was looked up may be otherwise by now."""
        for known in (self._known_parties, self._known_products, self._known_addresses, self._known_units):
            known.clear()

    async def sales(self, documents: Sequence[Document]) -> list[dict[str, Any]]:
        """Drafts of sales for orders. Raises Refused, naming what Tryton does not have."""
        if len(self._known_parties) + len(self._known_products) + len(self._known_addresses) > MOST_KNOWN:
            self.forget()
        await self._basics()
        parties = await self._parties({document.customer: document.customer_name for document in documents})
        lines = [line for document in documents for line in document.body["lines"]]
        await self._units({symbol_of(line) for line in lines} | {UNIT})
        products = await self._products(lines)
        return [
            self._sale(document, parties[document.customer], address, products)
            for document, address in zip(documents, await self._addresses(documents, parties), strict=True)
        ]

    async def _addresses(self, documents: Sequence[Document], parties: Mapping[str, int]) -> list[int]:
        """Where each goes; many go to the same place."""
        places = [(parties[document.customer], document.body["ship_to"] or {}) for document in documents]
        known = self._known_addresses
        for party, place in places:
            if (party, str(place)) not in known:
                known[party, str(place)] = await self.address(party, place)
        return [known[party, str(place)] for party, place in places]

    def _sale(
        self, document: Document, party: int, address: int, products: Mapping[str, tuple[int, int]]
    ) -> dict[str, Any]:
        body = document.body
        if body["currency"] not in self._currencies:
            raise Refused(f"Tryton has no currency {body['currency']}")
        currency, minor = self._currencies[body["currency"]]
        lines = [
            {
                "type": "line",
                "sequence": n,
                "note": line["line"],
                "description": line["name"],
                "product": products[line["product"]][0],
                "unit": self._unit(line, products),
                "quantity": float(line["quantity"]),
                "unit_price": self._price(line, minor),
            }
            for n, line in enumerate(body["lines"], 1)
            if Decimal(line["quantity"])
        ]
        return {
            "web_shop": self._shop, "web_id": document.order, "reference": body.get("quote") or document.order,
            "description": described(document.version), "currency": currency, "comment": body.get("note") or "",
            "party": party, "invoice_address": address, "shipment_address": address, "lines": [["create", lines]],
        }  # fmt: skip

    def _unit(self, line: Mapping[str, Any], products: Mapping[str, tuple[int, int]]) -> int:
        """The line's own unit; what its product is sold in where the line says none. Raises Refused."""
        if not line.get("unit"):
            return products[line["product"]][1]
        id, digits = self._known_units[symbol_of(line)]
        quantity = Decimal(line["quantity"])
        if quantity != round(quantity, digits):
            raise Refused(f"Tryton counts {line['unit']} with {digits} decimals, not {line['quantity']}")
        return id

    def _price(self, line: Mapping[str, Any], minor: Decimal) -> Decimal:
        return unit_price(Decimal(line["net_total"]), Decimal(line["quantity"]), self._price_digits, minor)

    async def _basics(self) -> None:
        """What does not change while we run."""
        if self._shop:
            return
        shops = await self._rpc.search("web.shop", [["name", "=", self._shop_name]], ["name"])
        if not shops:
            raise Refused(f"Tryton has no web shop {self._shop_name!r}")
        for one in await self._rpc.search("currency.currency", [], ["code", "digits"]):
            self._currencies[one["code"]] = one["id"], Decimal(1).scaleb(-one["digits"])
        told = (await self._rpc.model("sale.line", "fields_get", ["unit_price"]))["unit_price"]["digits"]
        self._price_digits = (json.loads(told) if isinstance(told, str) else told)[1]
        self._shop = shops[0]["id"]

    # --- parties ----------------------------------------------------------------------------------------------------

    async def _parties(self, names: Mapping[str, str]) -> dict[str, int]:
        """By our code for them; a name that changed is changed."""
        known = self._known_parties
        if asked := [code for code in names if code not in known]:
            found = await self._rpc.search(PARTY, [["code", "in", asked]], ["code", "name"])
            known |= {one["code"]: one for one in found}
        for code, name in names.items():
            if code not in known:
                known[code] = await self._new_party(code, name)
            elif known[code]["name"] != name:
                await self._rpc.model(PARTY, "write", [known[code]["id"]], {"name": name})
                known[code] = {**known[code], "name": name}
        return {code: known[code]["id"] for code in names}

    async def _new_party(self, code: str, name: str) -> dict[str, Any]:
        with suppress(Refused):  # somebody may have made it meanwhile: codes of parties are unique
            await self._rpc.create(PARTY, {"code": code, "name": name, "addresses": []})
        found = await self._rpc.search(PARTY, [["code", "=", code]], ["code", "name"])
        if not found:
            raise Refused(f"Tryton did not take the customer {code}")
        return found[0]

    async def address(self, party: int, place: Mapping[str, Any]) -> int:
        """The party's address that reads so, made if there is none."""
        city = ", ".join(part for part in (place.get("city"), place.get("region")) if part)
        told: dict[str, Any] = {
            "party_name": place.get("name") or None, "street": place.get("street") or None,
            "postal_code": place.get("postal_code") or None, "city": city or None,
        }  # fmt: skip
        told["country"] = await self._country(place.get("country") or "")
        fields = [name for name in told if name != "country"]
        for known in await self._rpc.search(ADDRESS, [["party", "=", party]], ["country", *fields]):
            if all((known[name] or None) == value for name, value in told.items()):
                return int(known["id"])
        (id,) = await self._rpc.create(ADDRESS, {"party": party, **told})
        return id

    async def _country(self, code: str) -> int | None:
        if not code:
            return None
        named = ["OR", ["code", "=", code], ["name", "=", code]]
        found = await self._rpc.search("country.country", [named], ["code"], 1)
        return int(found[0]["id"]) if found else None

    # --- products ---------------------------------------------------------------------------------------------------

    async def _products(self, lines: Sequence[Mapping[str, Any]]) -> dict[str, tuple[int, int]]:
        """Product and unit by our code; of two with one code, made in a race, the older."""
        known = self._known_products
        asked = {line["product"]: line for line in lines if line["product"] not in known}
        if asked:
            known |= await self._salable(list(asked))
        if missing := [line for code, line in asked.items() if code not in known]:
            await self._new_products(missing)
            known |= await self._salable(list(asked))
        return known

    async def _salable(self, codes: list[str]) -> dict[str, tuple[int, int]]:
        found: dict[str, tuple[int, int]] = {}
        here = [["code", "in", codes], ["salable", "=", True]]
        for one in await self._rpc.search(PRODUCT, here, ["code", "sale_uom"], order=[["id", "ASC"]]):
            found.setdefault(one["code"], (one["id"], one["sale_uom"]))
        return found

    async def _units(self, symbols: set[str]) -> None:
        """Look up what is not known yet. Raises Refused naming a unit that Tryton does not have."""
        known = self._known_units
        if not (asked := symbols - known.keys()):
            return
        for symbol in asked & ADDED_UNITS.keys():
            await self._add_unit(symbol)
        found = await self._rpc.search("product.uom", [["symbol", "in", sorted(asked)]], ["symbol", "digits"])
        known |= {one["symbol"]: (one["id"], one["digits"]) for one in found}
        if unknown := sorted(asked - known.keys()):
            raise Refused(f"Tryton has no unit of measure {unknown[0]!r}")

    async def _add_unit(self, symbol: str) -> None:
        if await self._rpc.model("product.uom", "search", [["symbol", "=", symbol]]):
            return
        told = ADDED_UNITS[symbol]
        (like,) = await self._rpc.search("product.uom", [["symbol", "=", told.like]], ["category", "factor"], 1)
        factor = like["factor"] * told.factor
        await self._rpc.create("product.uom", {
            "name": told.name, "symbol": symbol, "category": like["category"], "factor": factor,
            "rate": 1 / factor, "digits": told.digits, "rounding": 10.0 ** -told.digits,
        })  # fmt: skip

    async def _new_products(self, lines: Sequence[Mapping[str, Any]]) -> None:
        accounting = [["accounting", "=", True]]
        known = await self._rpc.search("product.category", accounting, ["account_revenue"], order=[["id", "ASC"]])
        categories = [one["id"] for one in known if one["account_revenue"]]
        if not categories:
            raise Refused("Tryton has no accounting category that knows an account for revenue")
        shared = {
            "salable": True, "list_price": Decimal(0), "account_category": categories[0], "lead_time": timedelta(0),
            "products": [["create", [{}]]],
        }  # fmt: skip
        await self._rpc.create(
            "product.template",
            *(
                {
                    "code": line["product"],
                    "name": line["name"] or line["product"],
                    "type": "goods" if line["ships"] else "service",
                    "default_uom": self._known_units[symbol_of(line)][0],
                    "sale_uom": self._known_units[symbol_of(line)][0],
                    **shared,
                }
                for line in lines
            ),
        )


def symbol_of(line: Mapping[str, Any]) -> str:
    """The symbol of a line's unit as Tryton spells it."""
    unit = line.get("unit") or ""
    return SPELLINGS.get(unit.lower(), unit)


def unit_price(net: Decimal, quantity: Decimal, digits: int, minor: Decimal) -> Decimal:
    """A price for one, with which Tryton comes to the same total. Raises Refused where its prices are too coarse."""
    price = (net / quantity).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_EVEN)
    if (price * quantity).quantize(minor, ROUND_HALF_EVEN) != net.quantize(minor, ROUND_HALF_EVEN):
        raise Refused(
            f"Prices with {digits} decimals do not come to {net}: Tryton needs `price_decimal = 8` for products"
        )
    return price
