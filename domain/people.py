"""People, their roles, groups and managers, as the policy sees them at one moment."""

from collections.abc import Collection
from enum import StrEnum

from pydantic import Field

from domain.calendars import Calendar
from domain.delegation import Delegation, delegates_of
from domain.errors import Invalid
from domain.values import Amount, Id, Instant, Name, Value, Word


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
    """Everybody and every group, and who stands in for whom, as known when a policy is evaluated."""

    people: dict[str, Person] = {}
    groups: dict[str, Group] = {}
    delegations: tuple[Delegation, ...] = ()
    at: Instant | None = None
    """The instant at which delegations count; nobody is away where none is given."""

    def can_approve(self, person: str, excluded: Collection[str] = ()) -> bool:
        found = self.active(person)
        return found is not None and Role.APPROVER in found.roles and person not in excluded

    def deciders(self, person: str, kind: str, excluded: Collection[str] = ()) -> tuple[str, ...]:
        """Who may decide for a person now: they themselves first, then those who stand in for them."""
        stand_ins = delegates_of(person, self.delegations, self.at, kind) if self.at else []
        return tuple(one for one in (person, *stand_ins) if self.can_approve(one, excluded))

    def absence(self, person: str, kind: str) -> Delegation | None:
        """The delegation by which a person is away now."""
        at = self.at
        return next(
            (d for d in self.delegations if at and d.person == person and d.active(at) and d.covers(kind)), None
        )

    def present(self, person: str, kind: str, excluded: Collection[str] = ()) -> tuple[str, ...]:
        """Who is there to decide for a person: they themselves, or while they are away those who stand in."""
        return tuple(one for one in self.deciders(person, kind, excluded) if self.absence(one, kind) is None)

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


def no_approver(id: str, field: str) -> Invalid:
    return Invalid.field(field, "{person!r} is not an active person with the role approver", person=id)


def check_approver(person: Person | None, id: str, field: str) -> Person:
    """The person, who can be asked to approve. Raises Invalid naming the field that names them."""
    if person is None or not person.has(Role.APPROVER):
        raise no_approver(id, field)
    return person
