"""What goes to an ERP and what comes back, in values that every adapter understands."""

from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import Field

from domain.orders.order import ERP, order_run
from domain.runs import Command
from domain.values import Amount, Id, Instant, StorableText, Value, Word, short_id

__all__ = ["ERP", "Answer", "Document", "Entry", "Report", "command_of"]


class Document(Value):
    """An order as it shall be in the ERP: taken over, changed, or cancelled."""

    order: Id
    version: int
    kind: Literal["order", "change", "cancel", "restate"]
    """The last says again how the whole order shall be, where the ERP was found to have it otherwise."""
    customer: str
    customer_name: str
    asked_at: Instant
    """When the order asked; what was refused is asked again in the same version."""
    body: dict[str, Any]

    @property
    def key(self) -> str:
        """The message's own: the same whenever it is sent again."""
        return f"{self.order}:{self.version}"


class Entry(Value):
    """How an order stands in the ERP."""

    order: str
    reference: str
    """The ERP's own number for it."""
    version: int
    """The last one that it knows of; 0 while it has not taken the order over."""
    cancelled: bool = False
    """Nothing of it will be sent any more."""
    quantities: dict[str, Decimal] = {}
    """On order, by line."""
    shipped: dict[str, Decimal] = {}
    """Sent off, by line."""
    delivered: dict[str, Decimal] = {}


class Answer(Value):
    """What became of a document; nothing where the ERP will tell later."""

    reference: str = ""
    later: bool = False


class Report(Value):
    """Something that happened to an order at the ERP's; the same id is the same event."""

    id: Id
    order: Id
    customer: Annotated[StorableText, Field(max_length=100)] = ""
    """Whose order it is there, where that is told."""
    kind: Literal["accepted", "rejected", "shipment", "delivery", "backorder", "picked"]
    lines: dict[Id, Annotated[Amount, Field(ge=0, lt=10**9)]] = {}
    on: date | None = None
    expected: date | None = None
    serials: dict[Id, tuple[Word, ...]] = {}
    reference: Annotated[StorableText, Field(max_length=100)] = ""
    version: int | None = None
    reason: Annotated[StorableText, Field(max_length=1_000)] = ""


def command_of(report: Report) -> Command:
    """The command that tells the order; the ERP's own id for the event makes it one however often it is told."""
    told = report.model_dump(mode="json", exclude={"id", "order", "customer", "kind"}, exclude_defaults=True)
    if report.lines:
        told |= {"id": report.id, "lines": {line: str(quantity) for line, quantity in report.lines.items()}}
    id = short_id("erp", report.order, report.kind, report.id)
    run = order_run(report.order)
    return Command(id=id, run=run, actor=ERP, verb=report.kind, channel="api", payload=told)
