"""The default: documents wait in the database until a back office answers them by page or API. Nothing is sent."""

from collections.abc import Sequence

from erp.port import Answer, Document, Outcome, WriteOnlyErp


class Outbox(WriteOnlyErp):
    batch = 1

    async def put(self, documents: Sequence[Document]) -> list[Outcome]:
        return [Answer(later=True) for _ in documents]
