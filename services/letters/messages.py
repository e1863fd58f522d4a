"""Messages to people: what is on its way, what failed, and sending it again."""

from domain.errors import NotFound
from domain.people import Person
from domain.sentences import Sentence
from services.office import Office, authorise
from services.runs.commands import Caller
from storage.letters import messages
from storage.letters.messages import Message


class Messages:
    def __init__(self, office: Office) -> None:
        self._office = office

    async def listed(self, person: Person, status: str | None, after: str, limit: int) -> list[Message]:
        authorise(person, "messages.read")
        async with self._office.database.reading() as session:
            return await messages.listed(session, status, after, limit)

    async def retry(self, caller: Caller, id: str) -> None:
        """Queue a message again that failed for good."""
        authorise(caller.person, "messages.retry")
        office = self._office
        async with office.database.writing() as session:
            if not await messages.retry(session, id, office.clock()):
                raise NotFound(Sentence("There is no failed message {id!r}.", id=id))
            await office.note(session, caller, f"message:{id}", "retried")
