import asyncio

from sqlmodel import select

from storage.database import Database
from storage.migrate import differences
from storage.tables import PersonRow
from tests.support import NOW


async def test_the_migrations_lead_to_the_tables(database_url: str) -> None:
    assert differences(database_url) == []


async def test_read_then_write_loses_no_update(database: Database) -> None:
    async with database.writing() as session:
        session.add(PersonRow(id="ana", name="Ana", roles=[], version=0))

    async def add_one() -> None:
        async with database.writing() as session:
            row = await session.get_one(PersonRow, "ana", with_for_update=True)
            await asyncio.sleep(0)
            row.version += 1

    await asyncio.gather(*(add_one() for _ in range(20)))
    async with database.reading() as session:
        assert (await session.exec(select(PersonRow.version))).one() == 20


async def test_a_failed_transaction_leaves_nothing(database: Database) -> None:
    try:
        async with database.writing() as session:
            session.add(PersonRow(id="ana", name="Ana", roles=[]))
            await session.flush()
            raise RuntimeError
    except RuntimeError:
        pass
    async with database.reading() as session:
        assert (await session.exec(select(PersonRow))).all() == []


async def test_readers_do_not_see_what_is_not_committed(database: Database) -> None:
    async with database.writing() as session:
        session.add(PersonRow(id="ana", name="Ana", roles=[], tokens_valid_from=NOW))
        await session.flush()
        async with database.reading() as reader:
            assert (await reader.exec(select(PersonRow))).all() == []
    async with database.reading() as reader:
        assert (await reader.exec(select(PersonRow.tokens_valid_from))).one() == NOW
