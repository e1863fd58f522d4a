import asyncio
import itertools
import shutil
import sysconfig
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from app.container import Application, build
from app.workers import approvals_worker, orders_worker
from cli.replay import SANDBOX
from domain.approvals.round import Round
from domain.runs import Advanced, AdvanceRequest
from services.imports.samples import SYSTEM
from services.runs.commands import Caller
from storage.approvals import rounds
from storage.people import people
from storage.runs import runs
from tests.conftest import CHEAP, some_settings
from tests.support import Clock, a_quote
from workflows.converter import data_converter
from workflows.search import register_attributes

NUMBERS = itertools.count(1)


@pytest.fixture
async def skipping() -> AsyncIterator[WorkflowEnvironment]:
    """A server of the test's own, on which a week passes in a moment."""
    binary = Path(sysconfig.get_path("scripts")) / "temporal-test-server"
    async with await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=str(binary), data_converter=data_converter
    ) as environment:
        await register_attributes(environment.client)
        yield environment


class Following:
    """An advancer whose clock is the server's, which skips time."""

    def __init__(self, office: "Office") -> None:
        self._office = office
        self.left = 0
        """So often the database is away."""

    async def advance(self, request: AdvanceRequest) -> Advanced:
        if self.left:
            self.left -= 1
            raise OSError("the database is away")
        await self._office.follow_time()
        return await self._office.container.advancer.advance(request)


@dataclass
class Office:
    """The sample company with a real worker."""

    container: Application
    client: Client
    environment: WorkflowEnvironment
    clock: Clock

    def __post_init__(self) -> None:
        self.following = Following(self)

    def worker(self) -> Worker:
        container = replace(self.container, advancer=self.following)  # type: ignore[arg-type]
        return approvals_worker(self.client, container)

    def orders_worker(self) -> Worker:
        container = replace(self.container, advancer=self.following)  # type: ignore[arg-type]
        return orders_worker(self.client, container)

    async def follow_time(self) -> None:
        self.clock.at = max(self.clock.at, await self.environment.get_current_time())

    async def caller(self, who: str) -> Caller:
        await self.follow_time()
        async with self.container.database.reading() as session:
            person = await people.load_person(session, who)
        assert person is not None
        return Caller(person=person)

    async def submitted(self, **quote: Any) -> str:
        """A fresh quote of Rita's in approval; its run."""
        id = f"Q-{next(NUMBERS)}"
        rita = await self.caller("rita")
        await self.container.quotes.put(rita, a_quote(id, **{"discount": "15", **quote}), None)
        answer = await self.container.quotes.submit(rita, id)
        assert answer.outcome is not None, "it is answered by its transaction"
        assert answer.outcome.applied
        return f"quote:{id}:approval:1"

    async def recorded(self, run: str) -> Round:
        async with self.container.database.reading() as session:
            return (await rounds.round_of(session, run))[0]

    async def told(self, run: str) -> Advanced:
        """What the run's workflow was told last."""
        found: Advanced = await self.client.get_workflow_handle(run).query("state", result_type=Advanced)
        return found

    async def follows(self, run: str) -> Round:
        """The round as stored, once its workflow was told of all of it."""
        await self.until_told(run)
        return await self.recorded(run)

    async def until_told(self, run: str) -> None:
        """Wait until the run's workflow was told of everything that is stored."""
        for _ in range(400):
            async with self.container.database.reading() as session:
                stored = await runs.get_run(session, run)
            assert stored is not None
            with suppress(RPCError):  # it is about to be started
                told = await self.told(run)
                if (told.number, told.mark, told.running) == (stored.seq, stored.mark, stored.running):
                    return
            await asyncio.sleep(0.025)
        raise AssertionError(f"the workflow of {run} does not follow")

    async def sleep(self, how_long: timedelta) -> None:
        """Let time pass once every run was told of what was commanded: it would pass within their tasks, too."""
        await self.container.path.settle()
        async with self.container.database.reading() as session:
            known = await runs.run_standings(session)
        for run in known:
            await self.until_told(run)
        await self.environment.sleep(how_long)
        await self.follow_time()

    async def result(self, run: str) -> Any:
        """What a run ended with, once it was told of what was commanded so far."""
        await self.container.path.settle()
        return await self.client.get_workflow_handle(run).result()

    async def publish(self, yaml: str) -> None:
        from domain.approvals.exchange import read_policy

        await self.container.policies.publish_policy(SYSTEM, read_policy(yaml))


@pytest.fixture(autouse=True)
def sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.workers.RUNNER", SANDBOX)


@pytest.fixture
async def alone(skipping: WorkflowEnvironment, sqlite_company: Path, tmp_path: Path) -> AsyncIterator[Office]:
    """An office whose worker the test starts itself."""
    shutil.copy(sqlite_company, tmp_path / "flow.db")
    clock = Clock(await skipping.get_current_time())
    container = build(some_settings(f"sqlite:///{tmp_path / 'flow.db'}"), hashes=CHEAP, clock=clock)
    container.temporal._client = skipping.client
    yield Office(container, skipping.client, skipping, clock)
    await container.close()


@pytest.fixture
async def office(alone: Office) -> AsyncIterator[Office]:
    async with alone.worker():
        yield alone
