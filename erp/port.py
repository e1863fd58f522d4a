"""What every ERP is asked, and the three ways it can fail.

The order's id is the key of its document in the ERP, for ever: an adapter that can looks it up before it sends."""

from collections.abc import Sequence
from typing import Protocol

from domain.erp import Answer, Document, Entry, Report
from domain.values import Value

__all__ = [
    "Answer",
    "Document",
    "Entry",
    "Erp",
    "ErpError",
    "Outcome",
    "Refused",
    "Report",
    "Reports",
    "Unavailable",
    "Unknown",
]


class Reports(Value):
    cursor: str
    """Where to go on from, next time."""
    reports: list[Report]


class ErpError(Exception):
    """Why an ERP did not do what it was asked."""


class Refused(ErpError):
    """A verdict: sending it again is useless. The text is the ERP's own words."""


class Unavailable(ErpError):
    """It was not taken, and may be later."""


class Unknown(ErpError):
    """It was sent and no answer came: it must be looked up before it is sent again."""


Outcome = Answer | ErpError
"""What became of one document. An error is a value here: others beside it may have been taken."""


class Erp(Protocol):
    """An adapter. Only `find`, `listed` and `reports` raise, and nothing but ErpError."""

    compares: bool
    """Whether it can tell what the ERP has, so that drift from our orders can be found."""
    batch: int
    """How many documents it takes at once when many wait."""

    async def put(self, documents: Sequence[Document]) -> list[Outcome]:
        """Make each order so, with its customer and products before it. Safe to repeat. Outcomes in their order."""
        ...

    async def find(self, orders: Sequence[str]) -> dict[str, Entry]:
        """How these orders stand there, as far as they do."""
        ...

    async def list_page(self, after: str) -> tuple[str, list[Entry]]:
        """Some of all orders there and where to go on; none at the end. It begins with an empty place."""
        ...

    async def reports(self, cursor: str) -> Reports:
        """What happened since; the cursor is empty the first time."""
        ...


class WriteOnlyErp:
    """For adapters whose other side cannot be asked anything."""

    compares = False

    async def find(self, orders: Sequence[str]) -> dict[str, Entry]:
        return {}

    async def list_page(self, after: str) -> tuple[str, list[Entry]]:
        return after, []

    async def reports(self, cursor: str) -> Reports:
        return Reports(cursor=cursor, reports=[])
