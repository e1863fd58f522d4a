"""Whatever is done to Temporal from outside changes nothing that was not commanded, and the next command is answered."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select
from temporalio import workflow
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import Client
from temporalio.common import RawValue, RetryPolicy, WorkflowIDConflictPolicy
from temporalio.exceptions import FailureError, WorkflowAlreadyStartedError
from temporalio.service import RPCError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from cli.dev import Ports, Stack
from cli.doctor import Doctor
from domain.runs import AdvanceRequest, ReceivedSignal, RunStart, ids
from domain.runs.contracts import APPROVALS_QUEUE, ORDERS_QUEUE, Split, SweepMark
from notify.links import Claim
from storage.tables import EventRow, RunRow
from tests.conftest import Live, container_of, installed
from tests.databases import Postgres
from tests.e2e.check import engine_differs
from tests.e2e.conftest import LIMITS, SOAK, Player, prepared, until
from tests.support import a_line

pytestmark = pytest.mark.e2e
ROUND, ORDER, RETURN = "quote:F-1:approval:1", "order:F-2-1", "order-return:F-2-1:1"
RUNS = {ROUND: "ApprovalRound", ORDER: "OrderFulfilment", RETURN: "OrderReturn"}
KINDS = {ROUND: "approval_round", ORDER: "order_fulfilment", RETURN: "order_return"}
VERBS = ("approve", "reject", "delegate", "reassign", "recall", "open", "expire", "cancel", "hold", "go_live", "accepted",
         "shipment", "delivery", "approval", "follow", "arrived", "decline", "dance")  # fmt: skip
SAID: list[Any] = [
    None, "text", {"actor": "dora"}, {"actor": "clock", "channel": "timer", "id": f"{ROUND}:expire:2", "payload": {}},
    {"actor": "dora", "payload": {"approval": "a", "authority": "approvals_admin"}, "id": "c-forged", "channel": "api"},
    {"actor": "erp", "payload": {"reference": "X"}, "id": "erp-forged", "channel": "api"}, {"token": "forged"},
]  # fmt: skip


@workflow.defn(name="Evil")
class Evil:
    """Whoever reaches Temporal can run this: activities of ours with whatever it likes, under any id."""

    @workflow.run
    async def run(self, calls: list[Any]) -> None:
        for name, queue, argument in calls:
            with suppress(FailureError):
                await workflow.execute_activity(
                    name, argument, task_queue=queue, start_to_close_timeout=timedelta(seconds=5),
                    schedule_to_close_timeout=timedelta(seconds=8), retry_policy=RetryPolicy(maximum_attempts=1),
                )  # fmt: skip
        if not calls:
            await workflow.wait_condition(lambda: False)

    @workflow.signal(dynamic=True)
    def ignore(self, name: str, given: Sequence[RawValue]) -> None: ...


@pytest.fixture(params=["sqlite", "postgresql"])
async def fortress(request: pytest.FixtureRequest, tmp_path: Path, pg: Postgres | None) -> AsyncIterator[Player]:
    """A stack as in production: a name alone commands nothing."""
    url = installed(pg).fresh() if request.param == "postgresql" else ""
    settings = {**LIMITS, "DEALWRIGHT_ALLOW_UNVERIFIED_SIGNALS": "0"}
    stack = Stack(tmp_path / "home", Ports.free(), url, settings=settings)
    with stack.running():
        container = container_of(stack)
        await prepared(container)
        player = Player(Live(stack, container))
        await _filled(player)
        yield player
        await container.close()


async def _filled(player: Player) -> None:
    """A round that waits, an order of which something was delivered, and goods on their way back."""
    await player.submit("F-1")
    await player.quote("F-2", lines=[a_line("1", quantity="4")])
    await player.surely("rita", "/v1/quotes/F-2/submit", "s")
    digest, approvals = await player.approvals("F-2")
    for rule, who in (("first", "dora"), ("second", "fabio")):
        await player.surely(who, f"/v1/approvals/{approvals[rule]}/approve", rule, {"digest": digest})
    steps: list[tuple[str, str, dict[str, Any]]] = [
        ("rita", "quotes/F-2/accept", {"on": "2026-01-02"}),
        ("rita", "quotes/F-2/orders", {"way": "whole", "slot": {"trigger": {"start": "manual"}}}),
        ("dina", "orders/F-2-1/go-live", {}),
        ("bruno", "erp/documents/F-2-1/accept", {"reference": "X"}),
        ("bruno", "orders/F-2-1/deliveries", {"id": "D1", "lines": {"1": "2"}}),
        ("bruno", "orders/F-2-1/returns", {"id": "R1", "lines": {"1": "1"}, "reason": "broken"}),
    ]
    for who, path, body in steps:
        answer = await player.live.call(who, "POST", f"/v1/{path}", json=body)
        assert answer.is_success, answer.text


async def stored(player: Player) -> dict[str, Any]:
    async with player.live.container.database.reading() as session:
        return {row.id: (row.seq, row.mark, row.state) for row in (await session.exec(select(RunRow))).all()}


async def follow(player: Player, seconds: float = 150) -> None:
    async def agreed() -> list[str]:
        async with player.live.container.database.reading() as session:
            return [
                d
                for row in (await session.exec(select(RunRow))).all()
                for d in await engine_differs(player.live.container, row)
            ]

    async def all_agree() -> bool:
        return not await agreed()

    await until(all_agree, "runs that follow by themselves", seconds)


async def signal_everything(client: Client, run: str) -> None:
    for verb in VERBS:
        for data in SAID:
            with suppress(RPCError):
                await client.get_workflow_handle(run).signal(verb, data)
    for arguments in ([], [1, 2], [{"actor": "dora"}, {}]):
        with suppress(RPCError):
            await client.get_workflow_handle(run).signal("approve", args=arguments)


async def start_under(client: Client, run: str, type: str, queue: str, argument: Any, **options: Any) -> None:
    with suppress(WorkflowAlreadyStartedError, RPCError):
        await client.start_workflow(
            type, argument, id=run, task_queue=queue, id_conflict_policy=WorkflowIDConflictPolicy.TERMINATE_EXISTING,
            **options,
        )  # fmt: skip


def old_head(run: str, state: dict[str, Any]) -> dict[str, Any]:
    """What once made the database believe an approval: the state as if it were decided, and a command of the clock."""
    clock = {"id": f"{run}:expire:2", "run": run, "actor": "clock", "verb": "expire", "channel": "timer"}
    return {"run": run, "kind": KINDS[run], "state": {**state, "status": "approved", "seq": 2}, "first": clock}


async def reset(client: Client, run: str) -> None:
    """To its first workflow task, as if nothing of what it was told had happened."""
    request = ResetWorkflowExecutionRequest(
        namespace=client.namespace, workflow_execution=WorkflowExecution(workflow_id=run), reason="evil",
        workflow_task_finish_event_id=4, request_id=run,
    )  # fmt: skip
    with suppress(RPCError):
        await client.workflow_service.reset_workflow_execution(request)


def direct_calls(run: str) -> list[tuple[str, str, Any]]:
    """Our activities, with numbers ahead, marks of nobody, other kinds, verbs of the clock, and sweeps that forget."""
    queue = APPROVALS_QUEUE if run == ROUND else ORDERS_QUEUE
    forged = [ReceivedSignal(verb=verb, data=data, arrival="x") for verb in VERBS for data in SAID]
    requests = [
        AdvanceRequest(run=run, kind=KINDS[run], signals=forged), AdvanceRequest(run=run, kind=KINDS[run], number=99, mark="x"),
        AdvanceRequest(run=run, kind=KINDS[run], number=1, mark="x"), AdvanceRequest(run=run, kind="order_fulfilment"),
        AdvanceRequest(run="quote:nobody:approval:1", kind="approval_round", signals=forged[:3]),
    ]  # fmt: skip
    told = [("advance", queue, request.model_dump(mode="json")) for request in requests]
    mark = SweepMark(subject="quote:F-1", seq=99, mac="0" * 64, key="1", seal="0" * 64)
    return [
        *told, ("advance", queue, {"nonsense": 1}), ("replace_approver", APPROVALS_QUEUE, "nobody"),
        ("order_opening", ORDERS_QUEUE, "nobody"), ("record", queue, {"acts": [{"outcome": {"applied": True}}]}),
        ("sweep_commands", APPROVALS_QUEUE, mark.model_dump(mode="json")),
    ]  # fmt: skip


async def test_whatever_is_done_to_temporal_changes_nothing_and_the_next_command_is_answered(fortress: Player) -> None:
    live = fortress.live
    if live.stack.database_url and not SOAK:
        pytest.skip("on PostgreSQL it is part of `make soak`")
    client = await live.container.temporal.client(lazy=False)
    await follow(fortress)
    before = await stored(fortress)
    evil = Worker(client, task_queue="evil", workflows=[Evil], workflow_runner=UnsandboxedWorkflowRunner())
    async with evil:
        for run, type in RUNS.items():
            await signal_everything(client, run)
            with suppress(RPCError):
                await client.get_workflow_handle(run).query("state")
            await client.execute_workflow(Evil.run, direct_calls(run), id=f"evil:{run}", task_queue="evil")
            await reset(client, run)
            with suppress(RPCError):
                await client.get_workflow_handle(run).terminate("evil")
            queue = APPROVALS_QUEUE if run == ROUND else ORDERS_QUEUE
            ahead = RunStart(
                run=run, number=99, mark="x", signals=[ReceivedSignal(verb="approve", data=SAID[4], arrival="")]
            )
            await start_under(client, run, type, queue, ahead)
            await start_under(client, run, "ApprovalRound" if run != ROUND else "OrderFulfilment", queue, ahead)
            await start_under(client, run, type, queue, ahead, cron_schedule="* * * * *")
            await start_under(client, run, type, queue, old_head(run, before[run][2]))
            await start_under(client, run, type, queue, "no input at all")
        await start_under(client, "quote:F-2:split:1", "OrderSplit", ORDERS_QUEUE,
                          Split(quote="F-2", customer="x", number=1, orders=("F-2-1", "nobody")))  # fmt: skip
        await start_under(client, "replacement:nobody", "ApproverReplacement", APPROVALS_QUEUE, "nobody")
        await start_under(client, ids.SWEEP, "CommandSweep", APPROVALS_QUEUE, SweepMark(subject="quote:F-1", seq=99))
        await start_under(client, ROUND, "Evil", "evil", [])
        await start_under(client, ORDER, "Strange", "nobody-works-here", [])
        assert await stored(fortress) == before, "nothing changes that was not commanded"
        found = {(f.of, f.kind) for f in await Doctor(live.container, client).examine()}
        assert {(ROUND, "forged"), (ORDER, "forged"), (RETURN, "forged")} <= found
        assert {(ROUND, "foreign"), (ORDER, "foreign")} <= found
        await commands_are_answered(fortress)
        await follow(fortress)
    async with live.container.database.reading() as session:
        entries = (await session.exec(select(EventRow))).all()
    for run in RUNS:
        assert 1 <= len([e for e in entries if e.run == run and e.code == "unverified_actor"]) <= 10
    assert {e.run for e in entries if e.code in ("execution_foreign", "execution_stuck")} >= {ROUND, ORDER}
    assert not [
        e for e in entries if e.applied and e.actor in ("dora", "clock") and e.run == ROUND and e.code == "expired"
    ]


async def commands_are_answered(player: Player) -> None:
    digest, approvals = await player.approvals("F-1")
    body = {"digest": digest}
    assert await player.send("dora", f"/v1/approvals/{approvals['first']}/approve", "f1", body) == 200
    assert await player.send("bruno", "/v1/orders/F-2-1/deliveries", "f2", {"id": "D2", "lines": {"1": "1"}}) == 200
    assert await player.send("bruno", "/v1/orders/F-2-1/returns/1/arrived", "f3") == 200


async def test_mending_after_a_forged_head_gives_back_nothing(fortress: Player) -> None:
    """A run that claims to know more than the database is ended by the doctor; nothing of its claims is applied."""
    live = fortress.live
    client = await live.container.temporal.client(lazy=False)
    await follow(fortress)
    before = await stored(fortress)
    async with Worker(client, task_queue="evil", workflows=[Evil], workflow_runner=UnsandboxedWorkflowRunner()):
        await start_under(client, ROUND, "Evil", "evil", [])
        doctor = Doctor(live.container, client)
        assert await doctor.mend(await doctor.examine()) == []
        await follow(fortress)
    assert await stored(fortress) == before
    await commands_are_answered(fortress)
    await asyncio.sleep(0)


async def test_a_signed_token_decides_through_temporal_alone(fortress: Player) -> None:
    """The API is stopped: the signal carries what the link in the letter would have proven."""
    live = fortress.live
    await follow(fortress)
    live.stack.children["api"].stop()
    _, approvals = await fortress.approvals("F-1")
    link = live.container.links.decide(Claim(message="m-1", approval=approvals["first"], person="dora"))
    handle = (await live.container.temporal.client(lazy=False)).get_workflow_handle(ROUND)
    for _ in range(2):
        await handle.signal("approve", {"token": link.rsplit("/", 1)[1], "comment": "by Temporal"})

    async def decided() -> list[Any]:
        async with live.container.database.reading() as session:
            found = (
                await session.exec(select(EventRow).where(EventRow.run == ROUND, EventRow.code == "approved"))
            ).all()
        return list(found)

    (entry,) = await until(decided, "the decision", 30)
    assert (entry.actor, entry.channel, entry.verified) == ("dora", "link", True)
