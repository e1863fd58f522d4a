import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import pytest
from sqlmodel import col, func, select

from app.container import Application
from cli.dev import Ports, Stack
from domain.approvals.exchange import read_policy
from domain.errors import Unavailable
from services.imports.samples import SYSTEM, load
from services.runs.commands import command_id
from storage.approvals import rounds
from storage.tables import CommandRow
from tests.conftest import Live, container_of
from tests.databases import Postgres, postgres, programs
from tests.support import a_quote

SOAK = "SOAK" in os.environ
"""`make soak` runs at full size what CI runs small."""
ROUNDS, ORDERS, LOCKED_SECONDS = (200, 500, 60) if SOAK else (16, 40, 6)
LIMITS = {"DEALWRIGHT_SIGN_INS_PER_MINUTE": "100000", "DEALWRIGHT_REQUESTS_PER_MINUTE": "1000000"}
POLICY = """
kind: quote
chains: [{name: main}, {name: brief}]
rules:
- {name: first, chain: main, step: 1, ask: {group: deal-desk}}
- {name: second, chain: main, step: 2, ask: {user: fabio}}
- name: short-lived
  chain: brief
  ask: {user: carla}
  expire_after_hours: 0.001
  conditions: [{field: short, operator: equals, value: true}]
- name: nagging
  chain: brief
  ask: {user: carla}
  remind_every_hours: 0.0003
  escalate_after_hours: 0.0005
  escalate_to: {user: helena}
  expire_after_hours: 0.0015
  conditions: [{field: nagging, operator: equals, value: true}]
"""


async def until(condition: Callable[[], Any], what: str | Callable[[], str], seconds: float = 90) -> Any:
    late = time.monotonic() + seconds
    while not (found := await _quietly(condition)):
        if time.monotonic() > late:
            raise AssertionError(f"{what if isinstance(what, str) else what()} never came to be")
        await asyncio.sleep(0.1)
    return found


async def _quietly(condition: Callable[[], Any]) -> Any:
    """What a database that was killed just now cannot say is not so yet."""
    try:
        return await condition()
    except Unavailable:
        return None


@dataclass
class Player:
    """Sends commands and remembers what it was told, also when nobody answered."""

    live: Live
    told: dict[str, str | None] = field(default_factory=dict)

    async def send(self, who: str, path: str, key: str, body: dict[str, Any] | None = None) -> int:
        """The status, or 0 when the API did not answer; a command it acknowledged is remembered."""
        try:
            answer = await self.live.call(who, "POST", path, json=body, headers={"Idempotency-Key": key})
        except httpx.HTTPError:
            return 0
        assert answer.status_code != 500, f"{path}: whatever is away, it is said: {answer.text}"
        assert answer.status_code != 503 or answer.headers.get("Retry-After"), path
        if answer.status_code in (200, 202, 409):
            content = answer.json()
            id = content.get("command", command_id(who, key))
            if "command" in content:
                code = content["outcome"]["code"] if answer.status_code == 200 else content.get("code")
                self.told[id] = code if answer.status_code != 202 else self.told.get(id)
        return answer.status_code

    async def surely(self, who: str, path: str, key: str, body: dict[str, Any] | None = None) -> int:
        """Ask again, with the same key, until the API answers."""
        while (status := await self.send(who, path, key, body)) in (0, 502, 503):
            await asyncio.sleep(0.2)
        return status

    async def quote(self, id: str, **fields: Any) -> None:
        body = a_quote(id, discount="15", **fields).model_dump(mode="json")
        while True:
            try:
                answer = await self.live.call("rita", "PUT", f"/v1/quotes/{id}", json=body)
            except httpx.HTTPError:
                await asyncio.sleep(0.2)
                continue
            if answer.status_code in (200, 201, 428):
                return
            await asyncio.sleep(0.2)

    async def submit(self, id: str) -> int:
        await self.quote(id)
        return await self.surely("rita", f"/v1/quotes/{id}/submit", f"submit-{id}")

    async def approvals(self, id: str) -> tuple[str, dict[str, str]]:
        """The digest, and the approval of each rule."""
        while True:
            with suppress(Unavailable):  # the database was killed
                async with self.live.container.database.reading() as session:
                    round, _ = await rounds.round_of(session, f"quote:{id}:approval:1")
                break
            await asyncio.sleep(0.2)
        return round.digest, {a.rule: a.id for a in round.approvals}

    async def settled(self) -> None:
        """Every command that was written down has its answer."""

        async def none_left() -> bool:
            async with self.live.container.database.reading() as session:
                unanswered = (col(CommandRow.answered).is_(False), col(CommandRow.parked).is_(False))
                query = select(func.count()).select_from(CommandRow).where(*unanswered)
                return (await session.exec(query)).one() == 0

        await until(none_left, "an answer to every command")


async def prepared(container: Application) -> None:
    await load(container.context, container.access)
    await container.policies.publish_policy(SYSTEM, read_policy(POLICY))


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[Stack]:
    """A stack of the test's own, to be killed."""
    stack = Stack(tmp_path / "home", Ports.free(), settings=LIMITS)
    with stack.running():
        yield stack


@pytest.fixture(params=["sqlite", "postgresql"])
def own_database(request: pytest.FixtureRequest) -> Iterator[Postgres | None]:
    """A PostgreSQL of the test's own, to be killed; None for SQLite, which dies with who writes to it."""
    if request.param == "sqlite":
        yield None
        return
    if programs() is None:
        pytest.skip("PostgreSQL is not installed here")
    with TemporaryDirectory() as folder, postgres(Path(folder)) as server:
        yield server


@pytest.fixture
async def any_player(tmp_path: Path, own_database: Postgres | None) -> AsyncIterator[Player]:
    """A stack on a database of each kind."""
    url = own_database.fresh() if own_database else ""
    stack = Stack(tmp_path / "home", Ports.free(), url, settings=LIMITS)
    with stack.running():
        container = container_of(stack)
        await prepared(container)
        yield Player(Live(stack, container))
        await container.close()


@pytest.fixture
async def player(own_stack: Stack) -> AsyncIterator[Player]:
    container = container_of(own_stack)
    await prepared(container)
    yield Player(Live(own_stack, container))
    await container.close()
