"""What every use case is given: the database, the command path, the clock and the company's own facts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from domain.approvals.card import Say
from domain.audit import Entry, digest_of
from domain.delegation import zone_of
from domain.errors import NotAllowed
from domain.people import Person
from domain.permissions import Reach, reaches
from domain.values import Value
from services.runs.commands import Caller, CommandPath
from storage.database import Database
from storage.runs import audit_log


@dataclass(frozen=True)
class ServiceContext:
    database: Database
    path: CommandPath
    clock: Callable[[], datetime]
    audit_key: bytes
    company_currency: str
    chat_schemes: tuple[str, ...] = ()
    chat_to_private_addresses: bool = False
    say: Say = field(default_factory=Say)
    """The company's language: what ops read in Temporal."""
    sla_hours: Mapping[str, int] = field(default_factory=dict)
    """Within how many hours each level of service answers."""
    company_zone: str = "UTC"

    def today_of(self, person: Person) -> date:
        """The day it is for somebody, on their own calendar."""
        return self.clock().astimezone(zone_of(person.time_zone)).date()

    def company_day(self) -> date:
        """The day of policies and of the books."""
        return self.clock().astimezone(zone_of(self.company_zone)).date()

    async def audit(
        self,
        session: AsyncSession,
        caller: Caller,
        subject: str,
        verb: str,
        digest: str = "",
        record: Value | None = None,
        **facts: Any,
    ) -> None:
        """Write an act that needs no workflow into the audit log, in the transaction that does it.

        `record` is what the act leaves behind: doctor finds what was changed past the services."""
        entry = Entry(
            subject=subject,
            seq=0,
            at=self.clock(),
            actor=caller.person.id,
            verb=verb,
            channel=caller.channel,
            applied=True,
            code=verb,
            digest=digest,
            state=digest_of(record) if record else "",
            facts=facts,
        )
        await audit_log.append(session, self.audit_key, [entry])


def authorise(person: Person, act: str) -> set[Reach]:
    """The rows the person's roles reach with this act. Raises NotAllowed when they reach none."""
    found = reaches(person, act)
    if not found:
        raise NotAllowed("Your roles do not allow this. Ask an admin if you need it.", act=act)
    return found
