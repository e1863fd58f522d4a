"""Messages to people: what is on its way, what failed, and sending it again."""

from domain.errors import NotFound
from domain.people import Person
from domain.sentences import Sentence
from services.context import ServiceContext, authorise
from services.runs.commands import Caller
from storage.letters import messages
from storage.letters.messages import Message


class Messages:
    def __init__(self, context: ServiceContext) -> None:
        self._context = context

    async def list_page(self, person: Person, status: str | None, after: str, limit: int) -> list[Message]:
        authorise(person, "messages.read")
        async with self._context.database.reading() as session:
            return await messages.list_page(session, status, after, limit)

    async def retry(self, caller: Caller, id: str) -> None:
        """Queue a message again that failed for good."""
        authorise(caller.person, "messages.retry")
        context = self._context
        async with context.database.writing() as session:
            if not await messages.retry(session, id, context.clock()):
                raise NotFound(Sentence("There is no failed message {id!r}.", id=id))
            await context.audit(session, caller, f"message:{id}", "retried")
