"""Orders on their way to an integration platform and back, on both databases."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from standardwebhooks import Webhook as Signer

from domain.erp import Report, command_of
from domain.runs import read_command
from erp.port import Outcome, Reports, Unavailable, Unknown
from erp.webhook import Webhook
from services.erp.reports import ErpReports
from services.erp.sender import ErpSender
from storage.erp import documents
from tests.api.test_order_changes import an_order, done, order
from tests.api.test_orders import accepted, ordered
from tests.apiclient import Api
from tests.conftest import SECRET
from tests.erp.platform import Platform, platform

MANUAL = {"trigger": {"start": "manual"}}


class Feed(Webhook):
    """The platform, with a list of events to be read by cursor."""

    def __init__(self, url: str) -> None:
        super().__init__(url, SECRET, seconds=1)
        self.events: list[Report] = []

    async def reports(self, cursor: str) -> Reports:
        new = self.events[int(cursor or 0) :]
        return Reports(cursor=str(len(self.events)), reports=new)


class Sync:
    def __init__(self, api: Api, counterpart: Platform) -> None:
        self.api, self.counterpart, self.feed = api, counterpart, Feed(counterpart.url)
        bench = api.bench
        self.syncing = ErpReports(bench.container.path, self.feed, "webhook")
        self.sender = ErpSender(bench.container.path, self.feed, 1_000)

    async def send(self) -> tuple[int, int]:
        """Send every document that waits, as the runs of their orders do; how many were taken, and how many not."""
        outcomes = await send_waiting(self.api, self.sender)
        failed = [outcome for outcome in outcomes if isinstance(outcome, Unavailable | Unknown)]
        return len(outcomes) - len(failed), len(failed)


async def send_waiting(api: Api, sender: ErpSender) -> list[Outcome]:
    async with api.bench.container.database.reading() as session:
        waiting = await documents.list_waiting(session, 100)
    return list(await asyncio.gather(*(sender.send(document) for document in waiting)))


@pytest.fixture
async def sync(api: Api) -> AsyncIterator[Sync]:
    async with platform(SECRET) as counterpart:
        yield Sync(api, counterpart)


async def waiting(api: Api) -> str:
    id = await an_order(api)
    await done(api, "dina", f"orders/{id}/go-live")
    return id


async def status(api: Api, id: str) -> str:
    return str((await order(api, id))["status"])


async def test_an_order_that_starts_is_taken_over_by_itself(api: Api, sync: Sync) -> None:
    id = await waiting(api)
    assert await sync.send() == (1, 0)
    assert await status(api, id) == "active"
    (event,) = sync.counterpart.taken.values()
    assert (event["subject"], event["type"], event["data"]["customer_id"]) == (id, "dealwright.order.placed", "C-1")
    assert (await order(api, id))["order"]["erp_reference"] == "SO-1"
    assert await sync.send() == (0, 0)


@pytest.mark.parametrize("mood", ["late", "cut before", "cut after", "500", "html 400", "html 200"])
async def test_whatever_happens_on_the_way_it_is_there_once(api: Api, sync: Sync, mood: str) -> None:
    id = await waiting(api)
    sync.counterpart.moods = [mood]
    assert await sync.send() == (0, 1)
    assert await status(api, id) == "activating"
    assert await sync.send() == (1, 0)
    assert (await status(api, id), list(sync.counterpart.taken)) == ("active", [f"{id}:1"])


async def test_a_refusal_is_repaired_and_asked_again(api: Api, sync: Sync) -> None:
    id = await waiting(api)
    for _ in range(2):  # refused, and refused again
        sync.counterpart.moods = ["refuse"]
        await sync.send()
        assert await status(api, id) == "fallout"
        assert (await order(api, id))["order"]["erp_words"] == "Unknown product P-9"
        api.bench.clock.forward(seconds=1)
        await done(api, "dina", f"orders/{id}/retry")
    await sync.send()
    assert await status(api, id) == "active"


async def test_changes_follow_in_the_order_of_their_versions(api: Api, sync: Sync) -> None:
    id = await waiting(api)
    await sync.send()
    await done(api, "dina", f"orders/{id}/amend", lines={"1": "5"})
    assert await sync.send() == (1, 0)
    assert [line["share"]["quantity"] for line in (await order(api, id))["order"]["lines"]] == ["5", "4"]
    assert [event["type"].rsplit(".", 1)[1] for event in sync.counterpart.taken.values()] == ["placed", "changed"]


async def test_reports_are_read_from_where_they_were_left(api: Api, sync: Sync) -> None:
    id = await waiting(api)
    await sync.send()
    told = {"order": id, "kind": "delivery", "lines": {"1": "2"}}
    sync.feed.events = [Report.model_validate({"id": "D-1", **told}), Report.model_validate({"id": "D-2", **told}),
                        Report.model_validate({**told, "id": "D-3", "order": "X-9"})]  # fmt: skip
    assert (await sync.syncing.read_reports()).read == 3
    assert (await sync.syncing.read_reports()).read == 0
    sync.feed.events += [sync.feed.events[0]]
    await sync.syncing.read_reports()
    assert (await order(api, id))["order"]["lines"][0]["delivered"] == "4"


async def test_many_orders_go_at_once_and_one_in_trouble_holds_up_nobody(api: Api, sync: Sync) -> None:
    await accepted(api)
    ids = await ordered(api, way="even", waves=2, together=True, slot=MANUAL)
    for id in ids:
        await done(api, "dina", f"orders/{id}/go-live")
    sync.counterpart.moods = ["500"]
    assert await sync.send() == (1, 1)
    assert sorted([await status(api, id) for id in ids]) == ["activating", "active"]


# --- callbacks --------------------------------------------------------------------------------------------------------


async def call(api: Api, subject: str, kind: str, age: timedelta = timedelta(0), secret: str = SECRET,
               forge: str = "", id: str = "E-1", **data: Any) -> tuple[int, dict[str, Any]]:  # fmt: skip
    body = json.dumps({"specversion": "1.0", "id": id, "source": "erp", "type": f"dealwright.order.{kind}",
                       "subject": subject, "data": data})  # fmt: skip
    at = datetime.now(UTC) - age
    headers = {"webhook-id": id, "webhook-timestamp": str(int(at.timestamp())),
               "webhook-signature": forge or Signer(secret).sign(id, at, body)}  # fmt: skip
    answer = await api.client.post("/v1/erp/events", content=body, headers=headers)
    await api.bench.container.path.settle()
    return answer.status_code, answer.json()


async def test_the_platform_calls_back_with_its_answer_and_what_it_sent(api: Api, sync: Sync) -> None:
    id = await waiting(api)
    sync.counterpart.moods = ["later"]
    assert await sync.send() == (1, 0)
    assert await status(api, id) == "activating"
    assert (await call(api, id, "accepted", reference="SO-9", version=2))[0] == 409  # an answer to another question
    assert (await call(api, id, "accepted", id="E-2", reference="SO-9", version=1))[0] == 200
    for _ in range(2):
        assert (await call(api, id, "delivery", id="D-1", lines={"1": "6"}))[0] == 200
    assert (await order(api, id))["order"]["lines"][0]["delivered"] == "6"


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"age": timedelta(minutes=6)}, 401), ({"secret": "whsec_" + "QUFB" * 8}, 401), ({"forge": "v1,nonsense"}, 401),
        ({"forge": "v1"}, 401), ({"kind": "painted"}, 422), ({"lines": {"1": "-1"}}, 422), ({"subject": "X-9"}, 404),
        ({"lines": "all"}, 422),
        ({"customer": "C-2"}, 422),
    ],
)  # fmt: skip
async def test_callbacks_that_cannot_be_change_nothing(api: Api, sync: Sync, wrong: dict[str, Any], code: int) -> None:
    id = await waiting(api)
    await sync.send()
    given = {"subject": id, "kind": "delivery", "lines": {"1": "1"}, **wrong}
    answer, problem = await call(api, **given)
    assert answer == code, problem
    assert (await order(api, id))["order"]["lines"][0]["delivered"] == "0"


@pytest.mark.parametrize("wrong", [{"lines": {"7": "1"}}, {"on": "2099-01-01"}, {"on": "2016-01-01"}])
async def test_what_the_platform_reports_and_cannot_be_is_a_task_for_the_desk(
    api: Api, sync: Sync, wrong: dict[str, Any]
) -> None:
    id = await waiting(api)
    await sync.send()
    code, body = await call(api, id, "delivery", **{"lines": {"1": "1"}, **wrong})
    assert (code, body["outcome"]["code"]) == (200, "noted")
    shown = (await order(api, id))["order"]
    assert (shown["lines"][0]["delivered"], [task["kind"] for task in shown["tasks"]]) == ("0", ["unapplied"])


def test_the_command_of_a_report_has_an_id_that_runs_can_read_however_long_those_of_order_and_report_are() -> None:
    report = Report(id="v" * 64, order=f"{'4' * 62}-1", kind="accepted")
    command, again = command_of(report), command_of(report.model_copy(update={"reference": "SO-2"}))
    signal = command.model_dump(mode="json", exclude={"run", "verb"})
    assert read_command(command.run, command.verb, ("accepted",), signal, 0).id == command.id == again.id
    assert command_of(report.model_copy(update={"kind": "rejected"})).id != command.id
