"""The made-up company, loaded once into an empty database."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from domain.approvals.exchange import read_policy
from domain.people import Group, Person, Role
from services.approvals.policies import Policies
from services.context import ServiceContext
from services.people.access import Access
from services.people.people import People
from services.runs.commands import Caller
from storage.people import people

FOLDER = Path(__file__).parents[2] / "samples"
SYSTEM = Caller(person=Person(id="system", name="Dealwright", roles=(Role.ADMIN, Role.APPROVALS_ADMIN)), channel="cli")
"""Who acts when the operator of the machine does, from its command line."""


async def load(context: ServiceContext, access: Access) -> bool:
    """Fill an empty database with the sample company. False, and nothing done, when anybody is in it already."""
    async with context.database.reading() as session:
        if await people.list_people(session, "", 1):
            return False
    company: dict[str, Any] = yaml.safe_load((FOLDER / "company.yaml").read_text())
    service = People(context)
    everybody = [Person.model_validate(person) for person in company["people"]]
    for person in _managers_first(everybody):
        await service.put(SYSTEM, person, None)
        await access.set_password(SYSTEM, person.id, company["password"])
    for group in company["groups"]:
        await service.put_group(SYSTEM, Group.model_validate(group), None)
    async with context.database.writing() as session:
        for rate in company["rates"]:
            await people.set_rate(session, rate["currency"], rate["valid_from"], Decimal(str(rate["rate"])))
    for kind in ("quote", "order_change"):
        policy = read_policy((FOLDER / f"policy-{kind}.yaml").read_text())
        await Policies(context).publish_policy(SYSTEM, policy)
    return True


def _managers_first(everybody: list[Person]) -> list[Person]:
    placed: dict[str, Person] = {}
    while len(placed) < len(everybody):
        placed |= {p.id: p for p in everybody if p.manager is None or p.manager in placed}
    return list(placed.values())
