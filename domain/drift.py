"""In what our orders and the ERP's differ, and what each side must be told to agree again."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Literal

from domain.erp import Entry, Report
from domain.orders.ledger import ZERO
from domain.values import Id, Value, plain_number, short_id


class Standing(Value):
    """How an order stands with us, as far as the ERP was told and told us."""

    order: Id
    version: int
    """The last one that it took."""
    cancelled: bool
    quantities: dict[str, Decimal]
    shipped: dict[str, Decimal]
    """Of goods alone: services are sent by nobody."""
    delivered: dict[str, Decimal]


DriftKind = Literal["missing", "unknown", "version", "cancelled", "quantity", "shipped", "delivered"]
OURS_TO_MEND = ("missing", "version", "cancelled", "quantity")
"""What the ERP does not have as we do; of what was sent and arrived it is the ERP that knows."""


class Drift(Value):
    """One thing in which an order differs between us and the ERP."""

    order: str
    kind: DriftKind
    line: str = ""
    ours: str = ""
    theirs: str = ""


def drift(ours: Standing, theirs: Entry | None) -> list[Drift]:
    """In what they differ. An order that is cancelled need not be there."""
    if theirs is None or not theirs.version:
        return [] if ours.cancelled else [Drift(order=ours.order, kind="missing", ours=str(ours.version))]
    if ours.cancelled or theirs.cancelled:
        if ours.cancelled == theirs.cancelled:
            return []
        told = {True: "cancelled", False: "running"}
        return [Drift(order=ours.order, kind="cancelled", ours=told[ours.cancelled], theirs=told[theirs.cancelled])]
    found = []
    if theirs.version < ours.version:
        found.append(Drift(order=ours.order, kind="version", ours=str(ours.version), theirs=str(theirs.version)))
    pairs: tuple[tuple[DriftKind, Mapping[str, Decimal], Mapping[str, Decimal]], ...] = (
        ("quantity", ours.quantities, theirs.quantities),
        ("shipped", ours.shipped, theirs.shipped),
        ("delivered", ours.delivered, theirs.delivered),
    )
    for kind, here, there in pairs:
        for line in [line for line in here if here[line] != there.get(line, ZERO)]:
            given = {"ours": plain_number(here[line]), "theirs": plain_number(there.get(line, ZERO))}
            found.append(Drift(order=ours.order, kind=kind, line=line, **given))
    return found


def catching_up(ours: Standing, theirs: Entry) -> list[Report]:
    """What arrived and was sent there and we do not know of, told once more: what arrives is sent with it.

    The same difference has the same id, so that it is one however often it is told."""
    id = short_id("again", ours, theirs)
    arrived, sent = {}, {}
    for line, shipped in ours.shipped.items():
        arrived[line] = max(ZERO, theirs.delivered.get(line, ZERO) - ours.delivered[line])
        known = max(shipped, ours.delivered[line] + arrived[line])
        sent[line] = max(ZERO, theirs.shipped.get(line, ZERO) - known)
    found = []
    for kind, quantities in (("delivery", arrived), ("shipment", sent)):
        if lines := {line: quantity for line, quantity in quantities.items() if quantity}:
            found.append(Report.model_validate({"id": id, "order": ours.order, "kind": kind, "lines": lines}))
    return found
