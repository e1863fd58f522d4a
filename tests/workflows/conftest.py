import itertools
import shutil
import sysconfig
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from composition import House, build
from domain.approvals.round import Round
from replaying import SANDBOX
from services.commands import Caller
from services.samples import SYSTEM
from storage import people, rounds
from tests.conftest import some_settings
from tests.support import a_quote
from worker import approvals_worker
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


@dataclass
class Office:
    """The sample company with a real worker."""

    house: House
    client: Client
    environment: WorkflowEnvironment

    async def caller(self, who: str) -> Caller:
        async with self.house.database.reading() as session:
            person = await people.load_person(session, who)
        assert person is not None
        return Caller(person=person)

    async def submitted(self, **quote: Any) -> str:
        """A fresh quote of Rita's in approval; its run."""
        id = f"Q-{next(NUMBERS)}"
        rita = await self.caller("rita")
        await self.house.quotes.put(rita, a_quote(id, **{"discount": "15", **quote}), None)
        answer = await self.house.quotes.submit(rita, id)
        assert answer.outcome is not None, "the worker should have answered"
        assert answer.outcome.applied
        return f"quote:{id}:approval:1"

    async def recorded(self, run: str) -> Round:
        async with self.house.database.reading() as session:
            return (await rounds.round_of(session, run))[0]

    async def live(self, run: str) -> Round:
        found: Round = await self.client.get_workflow_handle(run).query("state", result_type=Round)
        return found

    async def publish(self, yaml: str) -> None:
        from domain.approvals.exchange import read_policy

        await self.house.policies.publish_policy(SYSTEM, read_policy(yaml))


@pytest.fixture(autouse=True)
def sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.RUNNER", SANDBOX)


@pytest.fixture
async def alone(skipping: WorkflowEnvironment, sqlite_company: Path, tmp_path: Path) -> AsyncIterator[Office]:
    """An office whose worker the test starts itself."""
    shutil.copy(sqlite_company, tmp_path / "flow.db")
    house = build(some_settings(f"sqlite:///{tmp_path / 'flow.db'}"))
    house.engine._client = skipping.client
    yield Office(house, skipping.client, skipping)
    await house.close()


@pytest.fixture
async def office(alone: Office) -> AsyncIterator[Office]:
    worker: Worker = approvals_worker(alone.client, alone.house)
    async with worker:
        yield alone
