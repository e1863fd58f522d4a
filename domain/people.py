"""People, their roles, groups and managers, as the policy sees them at one moment."""

from enum import StrEnum

from pydantic import Field

from domain.calendars import Calendar
from domain.values import Amount, Id, Name, Value, Word


class Role(StrEnum):
    REP = "rep"
    APPROVER = "approver"
    APPROVALS_ADMIN = "approvals_admin"
    ORDER_DESK = "order_desk"
    BACK_OFFICE = "back_office"
    FINANCE = "finance"
    PARTNER = "partner"
    PARTNER_MANAGER = "partner_manager"
    OPS = "ops"
    ADMIN = "admin"


class Language(StrEnum):
    ENGLISH = "en"
    PORTUGUESE = "pt-BR"
    ICELANDIC = "is"


class Person(Value):
    id: Id
    name: Name
    email: str = Field(default="", max_length=254, pattern=r"^$|^[^@\s]+@[^@\s]+$")
    roles: tuple[Role, ...] = ()
    manager: Id | None = None
    approval_limit: Amount | None = Field(default=None, ge=0)
    """The largest amount this person may approve alone, in the company's currency. None: no limit is set, so none."""
    language: Language = Language.ENGLISH
    time_zone: Word = "UTC"
    unit: Word = ""
    """The part of the company they belong to: groups can be narrowed by it."""
    calendar: Calendar | None = None
    """When they work: hours of their approvals count then, and always without one."""
    active: bool = True
    version: int = 0

    def has(self, role: Role) -> bool:
        return self.active and role in self.roles


class Group(Value):
    id: Id
    name: Name
    members: tuple[Id, ...] = Field(default=(), max_length=500)
    time_zone: Word = "UTC"
    calendar: Calendar | None = None
    """When the group works; its approvals go by this one and not by its members' calendars."""
    version: int = 0


class Directory(Value):
    """Everybody and every group, as known when a policy is evaluated."""

    people: dict[str, Person] = {}
    groups: dict[str, Group] = {}

    def active(self, person: str | None) -> Person | None:
        found = self.people.get(person or "")
        return found if found and found.active else None

    def managers(self, person: str) -> list[Person]:
        """The management chain above a person, nearest first. A circle ends it."""
        chain: list[Person] = []
        seen = {person}
        at = self.people.get(person)
        while at and at.manager and at.manager not in seen:
            seen.add(at.manager)
            at = self.people.get(at.manager)
            if at and at.active:
                chain.append(at)
        return chain
