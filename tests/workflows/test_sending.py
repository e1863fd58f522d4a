"""Orders on their way to an ERP that is away, thinks, refuses or answers later: each version once, in its turn."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlmodel import select
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.sending import SendToErp
from app.container import build
from cli.replay import replayer
from domain.erp import Document
from domain.orders.order import OrderStatus, order_run
from domain.orders.split import Trigger
from domain.runs.contracts import ERP_QUEUE
from erp.port import Answer, Outcome, Refused, Unavailable, Unknown, WriteOnlyErp
from services.erp.sender import ErpSender
from storage.tables import ErpDocumentRow
from tests.conftest import CHEAP, SECRET, some_settings
from tests.support import GROWING_ALONE, Clock
from tests.workflows.conftest import Office
from tests.workflows.test_order_fulfilment import agreed, an_order, ask, recorded, until_status

MOODS: dict[str, Outcome] = {
    "away": Unavailable("connection refused"), "lost": Unknown("no answer in time"), "refuse": Refused("Unknown product"),
    "refuse without words": Refused(""), "refuse at length": Refused("no\x00 " * 1_000), "later": Answer(later=True),
}  # fmt: skip


@dataclass
class MoodyErp(WriteOnlyErp):
    """Answers as it is told to, one mood after the other; takes everything when there are none left."""

    moods: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    thinking: asyncio.Event | None = None
    """While it is not set, the ERP thinks."""
    batch: int = 20
    called: asyncio.Event = field(default_factory=asyncio.Event)

    async def put(self, documents: Sequence[Document]) -> list[Outcome]:
        self.called.set()
        if self.thinking:
            await self.thinking.wait()
        return [self._answer(document) for document in documents]

    def _answer(self, document: Document) -> Outcome:
        self.asked.append(f"{document.kind} {document.version}")
        return MOODS[self.moods.pop(0)] if self.moods else Answer(reference="SO-1")


@dataclass
class Connected:
    office: Office
    erp: MoodyErp


@pytest.fixture
async def connected(skipping: WorkflowEnvironment, sqlite_company: Path, tmp_path: Path) -> AsyncIterator[Connected]:
    """An office with an ERP, and workers for both."""
    shutil.copy(sqlite_company, tmp_path / "flow.db")
    clock = Clock(await skipping.get_current_time())
    erp_settings = {"erp": "webhook", "erp_url": "http://127.0.0.1:1", "erp_secret": SecretStr(SECRET)}
    settings = some_settings(f"sqlite:///{tmp_path / 'flow.db'}").model_copy(update=erp_settings)
    container, erp = build(settings, hashes=CHEAP, clock=clock), MoodyErp()
    container.temporal._client = skipping.client
    office = Office(container, skipping.client, skipping, clock)
    sending = SendToErp(container.path, ErpSender(container.path, erp, 1_000))
    sender = Worker(skipping.client, task_queue=ERP_QUEUE, activities=[sending.send_to_erp])
    await office.publish(GROWING_ALONE)
    async with office.worker(), office.orders_worker(), sender:
        yield Connected(office, erp)
    await container.close()


async def test_an_erp_that_is_away_is_asked_until_it_answers(connected: Connected) -> None:
    office, erp = connected.office, connected.erp
    erp.moods = ["away", "lost"]
    id = await an_order(office, Trigger(start="now"))
    assert (await until_status(office, id, OrderStatus.ACTIVE)).erp_reference == "SO-1"
    assert erp.asked == ["order 1"] * 3
    async with office.container.database.reading() as session:
        (document,) = (await session.exec(select(ErpDocumentRow))).all()
    assert (document.attempts, document.error) == (2, "no answer in time")


async def test_what_is_asked_while_the_erp_thinks_is_sent_after_its_answer_in_the_order_of_versions(
    connected: Connected,
) -> None:
    office, erp = connected.office, connected.erp
    erp.thinking = asyncio.Event()
    id = await an_order(office, Trigger(start="now"))
    await until_status(office, id, OrderStatus.ACTIVATING)
    dina = await office.caller("dina")
    await office.container.orders.amend(dina, id, lines={"1": "8"})
    await ask(office, "dina", id, "cancel")
    assert [command.verb for command in (await recorded(office, id)).parked] == ["amend", "cancel"]
    erp.thinking.set()
    await until_status(office, id, OrderStatus.CANCELLED, OrderStatus.ACTIVE)
    assert (await until_status(office, id, OrderStatus.CANCELLED)).parked == ()
    assert erp.asked == ["order 1", "change 2", "cancel 3"]
    await office.result(order_run(id))
    await replayer().replay_workflow(await office.client.get_workflow_handle(order_run(id)).fetch_history())


@pytest.mark.parametrize("mood", ["refuse", "refuse without words", "refuse at length"])
async def test_a_refused_order_is_asked_for_again_in_the_same_version(connected: Connected, mood: str) -> None:
    office, erp = connected.office, connected.erp
    erp.moods = [mood, mood]
    id = await an_order(office, Trigger(start="now"))
    for _ in range(2):
        assert (await until_status(office, id, OrderStatus.FALLOUT)).erp_words
        await agreed(office, id)
        await ask(office, "dina", id, "retry")
    await until_status(office, id, OrderStatus.ACTIVE)
    assert erp.asked == ["order 1"] * 3


async def test_an_erp_that_answers_later_is_asked_again_a_day_later(connected: Connected) -> None:
    office, erp = connected.office, connected.erp
    erp.moods = ["later"]
    id = await an_order(office, Trigger(start="now"))
    await office.sleep(timedelta(hours=20))
    assert ((await agreed(office, id)).status, erp.asked) == (OrderStatus.ACTIVATING, ["order 1"])
    await office.sleep(timedelta(hours=5))
    await until_status(office, id, OrderStatus.ACTIVE)
    assert erp.asked == ["order 1"] * 2


async def test_what_a_callback_answers_is_not_sent_any_more(connected: Connected) -> None:
    office, erp = connected.office, connected.erp
    erp.moods, erp.thinking = ["away"], asyncio.Event()
    id = await an_order(office, Trigger(start="now"))
    await erp.called.wait()
    await ask(office, "bruno", id, "accepted", reference="SO-9", version=1)
    erp.thinking.set()
    await office.sleep(timedelta(hours=1))
    assert ((await agreed(office, id)).erp_reference, erp.asked) == ("SO-9", ["order 1"])


async def test_a_document_queued_as_the_last_call_ends_is_sent_too(
    connected: Connected, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever hears an answer may send the next document before the call that was at work is gone."""
    monkeypatch.setattr("services.erp.sender.CALLS_AT_ONCE", 1)
    sender = ErpSender(connected.office.container.path, connected.erp, 10_000)
    document = Document.model_construct(order="O-1", version=1, kind="order", asked_at=connected.office.clock())
    connected.erp.moods = ["away", "lost"]  # neither is stored
    async with asyncio.timeout(5):
        assert await sender.send(document) is MOODS["away"]
        assert await sender.send(document) is MOODS["lost"]
