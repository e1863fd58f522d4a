"""What tests are given: databases of both kinds, a container without Temporal, a running stack."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from pydantic import SecretStr

from api.app import create
from app.container import Application, build
from app.settings import Settings
from cli.dev import Ports, Stack
from console.app import mount
from domain.approvals.exchange import read_policy
from domain.people import Person
from domain.runs import Advanced, AdvanceRequest
from domain.runs.contracts import SweepMark
from services.erp.callbacks import Callbacks
from services.imports.samples import SYSTEM, load
from services.people.replacement_steps import ReplacementSteps
from storage.database import Database
from storage.migrate import migrate
from storage.people import people
from tests.apiclient import Api
from tests.databases import Postgres, postgres, programs
from tests.support import Clock, SilentEngine

# Machines are noisy: a slow example is not a failed one. CI judges every change by the same examples.
hypothesis_settings.register_profile(
    "dealwright",
    deadline=None,
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
hypothesis_settings.load_profile("dealwright")

CHEAP = PasswordHash((Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1),))
"""Hashes passwords of tests in microseconds."""
LONG = ("tests/e2e/", "tests/docs/test_documents.py", "tests/erp/test_tryton.py", "tests/console/")
"""What takes long, and starts first where several run at a time."""
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared" / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long ones first. A module's tests stay together, for they share its stack: see `make test`."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))


@pytest.fixture(scope="session")
def pg() -> Iterator[Postgres | None]:
    """A PostgreSQL server, or None where its programs are missing."""
    if programs() is None:
        yield None
        return
    # Not in pytest's own folder: another session closes that one to PostgreSQL's user.
    with TemporaryDirectory() as folder, postgres(Path(folder)) as server:
        yield server


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("sqlite") / "template.db"
    migrate(f"sqlite:///{file}")
    return file


def installed(pg: Postgres | None) -> Postgres:
    if pg is None:
        pytest.skip("PostgreSQL is not installed here")
    return pg


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path, pg: Postgres | None, sqlite_template: Path) -> str:
    """An empty migrated database, once of each kind."""
    if request.param == "postgresql":
        return installed(pg).fresh()
    shutil.copy(sqlite_template, tmp_path / "test.db")
    return f"sqlite:///{tmp_path / 'test.db'}"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    made = Database(database_url)
    yield made
    await made.close()


def some_settings(url: str) -> Settings:
    return Settings(
        database_url=url, secret=SecretStr("s" * 40), audit_key=SecretStr("a" * 40), command_key=SecretStr("c" * 40), requests_per_minute=1_000_000,
        sign_ins_per_minute=1_000_000, temporal_environment={"TEMPORAL_ADDRESS": "127.0.0.1:1"},
    )  # fmt: skip


@dataclass
class Bench:
    """A container without Temporal, whose clock tests move."""

    container: Application
    clock: Clock
    engine: SilentEngine
    mark: SweepMark = field(default_factory=SweepMark)

    async def sweep(self) -> SweepMark:
        """One pass of the one run that sweeps."""
        self.mark = await self.container.sweeper.sweep(self.mark.model_copy(update={"woken": 0, "applied": 0}))
        await self.container.path.settle()
        return self.mark

    async def publish(self, text: str) -> None:
        """Put a policy in force; its kind and `rules:` may be left out."""
        await self.container.policies.publish_policy(
            SYSTEM, read_policy(text if "rules:" in text else f"kind: quote\nrules:\n{text}")
        )

    async def advance(self, run: str, kind: str = "approval_round") -> Advanced:
        """What the run's workflow does when it wakes."""
        return await self.container.advancer.advance(AdvanceRequest(run=run, kind=kind))

    async def store_person(self, id: str, **changes: Any) -> None:
        """A person as no service would store them any more."""
        async with self.container.database.writing() as session:
            person = await people.load_person(session, id)
            assert person is not None
            await people.save_person(session, person.model_copy(update=changes))

    @property
    def replacing(self) -> ReplacementSteps:
        return ReplacementSteps(self.container.path, self.container.context.audit_key)


def make_bench(url: str, allow_unverified: bool = False) -> Bench:
    settings = some_settings(url).model_copy(
        update={
            "allow_unverified_signals": allow_unverified,
            "chat_schemes": "json,slack",
            "chat_to_private_addresses": True,
        }
    )
    clock, engine = Clock(), SilentEngine()
    container = build(settings, hashes=CHEAP, clock=clock, temporal=engine)
    return Bench(replace(container, callbacks=Callbacks(container.context, SECRET)), clock, engine)


async def fill(url: str) -> None:
    made = make_bench(url)
    await load(made.container.context, made.container.access)
    await made.container.close()


@pytest.fixture(scope="session")
async def sqlite_company(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Path:
    file = tmp_path_factory.mktemp("company") / "company.db"
    shutil.copy(sqlite_template, file)
    await fill(f"sqlite:///{file}")
    return file


@pytest.fixture(scope="session")
async def pg_company(pg: Postgres | None) -> str:
    if pg:
        await fill(pg.create("template_company", "template_dealwright"))
    return "template_company"


@pytest.fixture(params=["sqlite", "postgresql"])
async def bench(
    request: pytest.FixtureRequest, tmp_path: Path, sqlite_company: Path, pg: Postgres | None, pg_company: str
) -> AsyncIterator[Bench]:
    """The sample company, on both databases, answered without Temporal."""
    if request.param == "postgresql":
        url = installed(pg).fresh(pg_company)
    else:
        shutil.copy(sqlite_company, tmp_path / "test.db")
        url = f"sqlite:///{tmp_path / 'test.db'}"
    made = make_bench(url)
    yield made
    await made.container.close()


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Everything running for real, with the sample company."""
    made = Stack(tmp_path_factory.mktemp("stack"), Ports.free(), settings={"DEALWRIGHT_SIGN_INS_PER_MINUTE": "100000",
                 "DEALWRIGHT_REQUESTS_PER_MINUTE": "1000000"})  # fmt: skip
    with made.running():
        yield made


@dataclass
class Live:
    """The running stack, and a container of the test's own over the same database and engine."""

    stack: Stack
    container: Application

    def token(self, who: str) -> str:
        return self.container.access.token(Person(id=who, name=who))

    async def call(self, who: str, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token(who)}", **options.pop("headers", {})}
        async with httpx.AsyncClient(base_url=self.stack.api_url, timeout=30) as client:
            return await client.request(method, path, headers=headers, **options)


def container_of(stack: Stack) -> Application:
    """A container with the stack's own settings."""
    environment = {k: v for k, v in stack.environment().items() if k.startswith("DEALWRIGHT_")}
    names = {k.removeprefix("DEALWRIGHT_").lower(): v for k, v in environment.items()}
    temporal = {name: value for name, value in stack.environment().items() if name.startswith("TEMPORAL_")}
    return build(Settings.model_validate({**names, "temporal_environment": temporal}), hashes=CHEAP)


@pytest.fixture(scope="session")
async def live(stack: Stack) -> AsyncIterator[Live]:
    container = container_of(stack)
    await load(container.context, container.access)
    yield Live(stack, container)
    await container.close()


@pytest.fixture(scope="session")
def application() -> FastAPI:
    """The application of all tests: making it takes longer than most of them."""
    container = build(some_settings("sqlite://"), hashes=CHEAP)
    app = create(container)
    mount(app, container)
    return app


@pytest.fixture
async def api(bench: Bench, application: FastAPI) -> AsyncIterator[Api]:
    application.state.container = bench.container
    made = Api(bench, application)
    yield made
    await made.client.aclose()
    await asyncio.sleep(0)
