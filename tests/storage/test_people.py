from collections.abc import Iterable

import pytest

from domain.people import Group, Person
from storage.database import Database
from storage.people import people

MANAGERS = {"ana": "bea", "bea": "carla", "carla": None, "davi": "elsa", "elsa": "davi", "fabio": "ghost", "hugo": None}


@pytest.mark.parametrize(
    ("asked", "groups", "found"),
    [
        ((), (), ()),
        (("ana",), (), ("ana", "bea", "carla")),
        (("ana", "bea", "carla"), (), ("ana", "bea", "carla")),
        (("davi",), (), ("davi", "elsa")),  # who manage each other
        (("fabio", "nobody"), (), ("fabio",)),  # whose manager nobody knows
        (("hugo",), ("desk",), ("ana", "bea", "carla", "hugo")),
    ],
)
async def test_a_plan_knows_whom_it_asks_and_everybody_above_them(
    database: Database, asked: Iterable[str], groups: Iterable[str], found: Iterable[str]
) -> None:
    async with database.writing() as session:
        for id, manager in MANAGERS.items():
            await people.save_person(session, Person(id=id, name=id, manager=manager))
        await people.save_group(session, Group(id="desk", name="Deal desk", members=("ana",)))
    async with database.reading() as session:
        directory = await people.directory(session, set(asked), {*groups, "unknown"})
    assert sorted(directory.people) == sorted(found)
    assert sorted(directory.groups) == sorted(groups)
