import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from sqlalchemy import Executable, bindparam, insert, select, text, update

from domain.errors import Clash, Unavailable
from storage.database import Database, execute
from storage.tables import GroupRow, PersonRow
from tests.databases import Postgres

PEOPLE = PersonRow.__table__  # type: ignore[attr-defined]
ADD, ADD_GROUP = insert(PEOPLE), insert(GroupRow)
RENAME = update(PEOPLE).where(PEOPLE.c.id == bindparam("of")).values(name=bindparam("to"))
NAMES = select(PEOPLE.c.name).order_by(PEOPLE.c.id)
ANA = PersonRow(id="ana", name="Ana", roles=[]).model_dump()
BEA = PersonRow(id="bea", name="Bea", roles=[]).model_dump()
TEAM = GroupRow(id="team", name="Team", members=["ana"]).model_dump()
ANNA = {"of": "ana", "to": "Anna"}


async def names(database: Database) -> list[str]:
    async with database.reading() as session:
        return list((await execute(session, NAMES)).scalars())


async def written(database: Database, *statements: tuple[Executable, Mapping[str, Any]]) -> None:
    async with database.writing() as session:
        for statement, values in statements:
            await execute(session, statement, values)


async def test_what_is_written_is_there_for_the_next_question_and_kept_by_the_commit(database: Database) -> None:
    async with database.writing() as session:
        await execute(session, ADD, [ANA, BEA])
        await execute(session, RENAME, ANNA)
        assert list((await execute(session, NAMES)).scalars()) == ["Anna", "Bea"]
        await execute(session, RENAME, {"of": "bea", "to": "Beatriz"})
    assert await names(database) == ["Anna", "Beatriz"]


async def test_what_is_only_written_is_there_whoever_asks_next(database: Database) -> None:
    async with database.writing() as session:
        await execute(session, ADD, [ANA])
        await execute(session, ADD_GROUP, [TEAM])
        assert list((await execute(session, NAMES)).scalars()) == ["Ana"]
        await execute(session, RENAME, [ANNA])
        assert (await session.get_one(PersonRow, "ana")).name == "Anna"
        await execute(session, ADD, [BEA])
        assert len((await session.exec(select(PersonRow))).all()) == 2
        await execute(session, RENAME, [{"of": "bea", "to": "Beatriz"}])
    assert await names(database) == ["Anna", "Beatriz"]


async def test_a_row_that_is_written_twice_is_as_it_was_written_last(database: Database) -> None:
    async with database.writing() as session:
        await execute(session, ADD, [ANA, BEA])
        await execute(session, RENAME, [ANNA, {"of": "bea", "to": "Beatriz"}])
        await execute(session, RENAME, [{"of": "ana", "to": "Anne"}])
    assert await names(database) == ["Anne", "Beatriz"]


async def test_many_rows_are_written_as_few_are(database: Database) -> None:
    many = [{**ANA, "id": f"p{n:02}"} for n in range(7)]
    for rows in (many[:1], many[1:]):
        async with database.writing() as session:
            await execute(session, ADD_GROUP, [{**TEAM, "id": str(len(rows))}])
            await execute(session, ADD, rows)
            await execute(session, RENAME, [{"of": row["id"], "to": f"{row['id']}!"} for row in rows])
    assert await names(database) == [f"p{n:02}!" for n in range(len(many))]


async def test_what_is_only_written_fails_with_the_whole_transaction(database: Database) -> None:
    async def team_of(people: list[Mapping[str, Any]]) -> None:
        async with database.writing() as session:
            await execute(session, ADD_GROUP, [TEAM])
            await execute(session, ADD, people)

    await written(database, (ADD, ANA))
    for people in ([ANA], [BEA, ANA]):
        with pytest.raises(Clash):
            await team_of(people)
    async with database.reading() as session:
        assert await session.get(GroupRow, "team") is None
    assert await names(database) == ["Ana"]


async def test_what_cannot_be_written_takes_the_whole_transaction_with_it(database: Database) -> None:
    await written(database, (ADD, ANA))
    for statements in (((RENAME, ANNA), (ADD, ANA)), ((ADD, ANA), (RENAME, ANNA))):
        with pytest.raises(Clash):
            await written(database, *statements)
    await written(database, (ADD, BEA))
    assert await names(database) == ["Ana", "Bea"]


async def test_an_error_of_ours_leaves_nothing_of_what_was_written(database: Database) -> None:
    async def broken(row: Mapping[str, Any]) -> None:
        async with database.writing() as session:
            await execute(session, ADD, row)
            raise LookupError

    for row in (ANA, BEA, BEA):
        with pytest.raises(LookupError):
            await broken(row)
    await written(database, (ADD, ANA))
    with pytest.raises(Clash):
        await broken(ANA)
    await written(database, (ADD, BEA))
    assert await names(database) == ["Ana", "Bea"]


async def test_who_is_stopped_in_the_middle_mixes_up_nobody_elses_answers(database: Database) -> None:
    await written(database, (ADD, ANA), (ADD, BEA))

    async def rename(to: str) -> None:
        async with database.writing() as session:
            await execute(session, RENAME, {"of": "ana", "to": to})
            assert to in (await execute(session, NAMES)).scalars()
            await execute(session, RENAME, {"of": "bea", "to": to})

    for n in range(40):
        tasks = [asyncio.create_task(rename(f"{n}-{m}")) for m in range(6)]
        await asyncio.sleep(n / 4000)
        for task in tasks[::2]:
            task.cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert [result for result in found[1::2] if result is not None] == []
        ana, bea = await names(database)
        assert ana == bea  # each renaming is whole, or is not


async def test_of_two_that_wait_for_each_other_one_is_told_to_try_again(database: Database) -> None:
    if database.url.startswith("sqlite"):
        pytest.skip("on SQLite writers take turns")
    await written(database, (ADD, ANA), (ADD, BEA))
    both = asyncio.Barrier(2)

    async def rename(*people: str) -> None:
        async with database.writing() as session:
            await execute(session, RENAME, {"of": people[0], "to": people[0]})
            await both.wait()
            await execute(session, RENAME, {"of": people[1], "to": people[0]})

    found = await asyncio.gather(rename("ana", "bea"), rename("bea", "ana"), return_exceptions=True)
    assert {type(result) for result in found} == {Clash, type(None)}
    winner = ("ana", "bea")[found.index(None)]
    assert await names(database) == [winner, winner]


async def test_connections_that_the_server_ended_are_replaced(database: Database, pg: Postgres | None) -> None:
    if pg is None or database.url.startswith("sqlite"):
        pytest.skip("SQLite has no server")
    await written(database, (ADD, ANA), (ADD, BEA))
    await asyncio.gather(*(written(database, (RENAME, ANNA)) for _ in range(4)))
    name = database.url.rpartition("/")[2]
    pg.run(f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'")
    with pytest.raises(Unavailable):
        await written(database, (RENAME, {"of": "ana", "to": "lost"}))
    await written(database, (RENAME, {"of": "ana", "to": "Ana again"}))
    assert await names(database) == ["Ana again", "Bea"]


async def test_a_server_that_is_silent_is_given_up_and_asked_again_when_it_is_back(
    database: Database, pg: Postgres | None
) -> None:
    if pg is None or database.url.startswith("sqlite"):
        pytest.skip("SQLite has no server")
    await written(database, (ADD, ANA))
    patient = Database(database.url, seconds=0.5)
    await written(patient, (RENAME, ANNA))
    with pg.frozen():
        async with asyncio.timeout(20):  # without a limit each would wait for ever
            for many in (1, 40):
                found = await asyncio.gather(*(written(patient, (RENAME, ANNA)) for _ in range(many)),
                                             *(names(patient) for _ in range(many)), return_exceptions=True)  # fmt: skip
                assert {type(result) for result in found} == {Unavailable}

    async def answered() -> bool:
        try:
            return await names(patient) == ["Anna"]
        except Unavailable:
            return False

    async with asyncio.timeout(30):
        while not await answered():
            await asyncio.sleep(0.05)
    await patient.close()


async def test_a_disk_that_is_full_is_said_and_reading_goes_on(database: Database) -> None:
    if not database.url.startswith("sqlite"):
        pytest.skip("a full disk of PostgreSQL is not made here")
    await written(database, (ADD, ANA))
    async with database.writing() as session:
        pages = (await execute(session, text("PRAGMA page_count"))).scalar_one()
        await execute(session, text(f"PRAGMA max_page_count = {pages}"))
    long = {"of": "ana", "to": "x" * 200_000}
    with pytest.raises(Unavailable):
        await written(database, (RENAME, long))
    assert await names(database) == ["Ana"]
