"""What every ERP is asked, and the three ways it can fail.

The order's id is the key of its document in the ERP, for ever: whoever sends looks it up first."""

from typing import Protocol

from domain.erp import Answer, Document, Entry, Report
from domain.values import Value

__all__ = ["Answer", "Document", "Entry", "Erp", "Refused", "Report", "Reports", "Unavailable", "Unknown"]


class Reports(Value):
    cursor: str
    """Where to go on from, next time."""
    reports: list[Report]


class Refused(Exception):
    """A verdict: sending it again is useless. The text is the ERP's own words."""


class Unavailable(Exception):
    """It was not taken, and may be later."""


class Unknown(Exception):
    """It was sent and no answer came: it must be looked up before it is sent again."""


class Erp(Protocol):
    """An adapter. Every call may raise Unavailable; those that write may raise Refused and Unknown as well."""

    carries: bool
    """Whether it reaches anything; otherwise documents wait for people."""

    async def find(self, order: str) -> Entry | None: ...

    async def put(self, document: Document) -> Answer:
        """Make the order so, with its customer and products before it. Safe to repeat."""
        ...

    async def reports(self, cursor: str) -> Reports:
        """What happened since; the cursor is empty the first time."""
        ...
