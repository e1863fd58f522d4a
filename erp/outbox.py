"""The default: documents wait in the database until a back office answers them by page or API. Nothing is sent."""

from erp.port import Answer, Document, Entry, Reports


class Outbox:
    carries = False

    async def find(self, order: str) -> Entry | None:
        return None

    async def put(self, document: Document) -> Answer:
        return Answer(later=True)

    async def reports(self, cursor: str) -> Reports:
        return Reports(cursor=cursor, reports=[])
