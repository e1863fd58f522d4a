"""The worker's composition root: `python worker.py [--queue approvals|orders|notify|erp|all]`."""

import asyncio
import signal
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from functools import partial
from typing import Annotated, Any

import structlog
import typer
import uvloop
from temporalio.api.workflowservice.v1 import GetSystemInfoRequest
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
)
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig
from temporalio.service import RPCError
from temporalio.worker import PollerBehaviorSimpleMaximum, UnsandboxedWorkflowRunner, Worker, WorkflowRunner

import logs
from activities.advancing import Advancing
from activities.notifying import Delivering
from activities.opening import Openings
from activities.replacing import Replacing
from activities.sending import ErpSender, SendToErp
from activities.sweeping import Sweeping
from activities.syncing import Syncing
from api.probes import WorkerStatus, serving_probes
from composition import House, build, now, ready
from erp.outbox import Outbox
from erp.port import Erp
from erp.tryton.adapter import Tryton
from erp.tryton.rpc import Rpc
from erp.webhook import Webhook
from inbound.mailbox import Mailbox, Reading, mailbox_door
from inbound.server import mail_door
from notify.chat import Chat
from notify.mail import Mail, SmtpServer
from services.engine import ensure_sweep
from settings import Settings, settings
from storage import heartbeats
from workflows import ids
from workflows.approval_round import ApprovalRound
from workflows.approver_replacement import ApproverReplacement
from workflows.command_sweep import CommandSweep
from workflows.contracts import (
    APPROVALS_QUEUE,
    ERP_QUEUE,
    ERP_RECONCILIATION,
    ERP_SYNC,
    NOTIFICATION_DELIVERY,
    NOTIFY_QUEUE,
    ORDERS_QUEUE,
    Delivered,
    Synced,
)
from workflows.erp_reconciliation import ErpReconciliation
from workflows.erp_sync import ErpSync
from workflows.notification_delivery import NotificationDelivery
from workflows.order_fulfilment import OrderFulfilment
from workflows.order_return import OrderReturn
from workflows.order_split import OrderSplit

log = structlog.get_logger()
QUEUES = ("approvals", "orders", "notify", "erp")
WAITING_CACHED = 500
"""Orders mostly wait for months: only those that something happens to are worth their memory."""
ERP_SENDS_AT_ONCE = 400
"""Documents with the ERP at a time: enough to fill every call, and a bound for memory."""
COMPARED_AT = timedelta(hours=3)
"""Orders are compared with the ERP's at this time of the day, UTC."""
STANDING_EVERY = timedelta(seconds=60)
ANSWERS_WITHIN = timedelta(seconds=2)


RUNNER: WorkflowRunner = UnsandboxedWorkflowRunner()
"""Replays and the tests of workflows run in the sandbox: see docs/decisions/0015."""


def smtp(settings: Settings) -> SmtpServer:
    return SmtpServer(
        host=settings.smtp_host,
        port=settings.smtp_port,
        username=settings.smtp_username,
        password=settings.smtp_password.get_secret_value(),
        start_tls=settings.smtp_start_tls,
        sender=settings.mail_from,
    )


def mailbox(settings: Settings) -> Mailbox:
    return Mailbox(
        host=settings.imap_host,
        port=settings.imap_port,
        username=settings.imap_username,
        password=settings.imap_password.get_secret_value(),
        tls=settings.imap_tls,
        folder=settings.imap_folder,
        every_seconds=settings.imap_every_seconds,
    )


def approvals_worker(client: Client, house: House) -> Worker:
    return Worker(
        client,
        task_queue=APPROVALS_QUEUE,
        workflows=[ApprovalRound, ApproverReplacement, CommandSweep],
        activities=[
            Advancing(house.advancer).advance,
            Replacing(house.path, house.office.audit_key).step,
            Sweeping(house.sweeper).sweep,
        ],
        workflow_runner=RUNNER,
        workflow_task_poller_behavior=PollerBehaviorSimpleMaximum(20),
        activity_task_poller_behavior=PollerBehaviorSimpleMaximum(5),
        max_concurrent_local_activities=house.settings.local_activity_slots,
        # The work of a worker that died waits this long for it before another takes over.
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=2),
    )


def orders_worker(client: Client, house: House) -> Worker:
    return Worker(
        client,
        task_queue=ORDERS_QUEUE,
        workflows=[OrderFulfilment, OrderReturn, OrderSplit],
        activities=[
            Advancing(house.advancer).advance,
            Openings(house.database, house.path.applier.run_types).opening,
        ],
        max_cached_workflows=WAITING_CACHED,
        workflow_runner=RUNNER,
        workflow_task_poller_behavior=PollerBehaviorSimpleMaximum(5),
        activity_task_poller_behavior=PollerBehaviorSimpleMaximum(2),
        max_concurrent_local_activities=house.settings.local_activity_slots,
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=2),
    )


def notify_worker(client: Client, house: House) -> Worker:
    delivering = Delivering(
        house.database, Mail(smtp(house.settings)), Chat(house.settings.chat_to_private_addresses), now, house.links
    )
    return _carrier(client, NOTIFY_QUEUE, (NotificationDelivery,), (delivering.deliver,))


def erp_of(settings: Settings) -> Erp:
    secret = settings.erp_secret.get_secret_value()
    match settings.erp:
        case "webhook":
            return Webhook(settings.erp_url, secret)
        case "tryton":
            return Tryton(Rpc(settings.erp_url, settings.erp_user, secret), settings.erp_shop)
    return Outbox()


def erp_worker(client: Client, house: House) -> Worker:
    settings = house.settings
    adapter = erp_of(settings)
    syncing = Syncing(house.path, adapter, settings.erp)
    sending = SendToErp(house.path, ErpSender(house.path, adapter, settings.erp_per_second))
    acts = (sending.send_to_erp, syncing.sync, syncing.reconciling.reconcile)
    return _carrier(client, ERP_QUEUE, (ErpSync, ErpReconciliation), acts, ERP_SENDS_AT_ONCE)


def _carrier(
    client: Client, queue: str, workflows: Sequence[type[Any]], activities: Sequence[Callable[..., Any]],
    activities_at_once: int | None = None,
) -> Worker:  # fmt: skip
    """For a run that carries things for ever by one long activity."""
    return Worker(
        client,
        task_queue=queue,
        workflows=workflows,
        activities=activities,
        workflow_runner=RUNNER,
        workflow_task_poller_behavior=PollerBehaviorSimpleMaximum(2),
        activity_task_poller_behavior=PollerBehaviorSimpleMaximum(2),
        max_concurrent_activities=activities_at_once,
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=2),
        graceful_shutdown_timeout=timedelta(seconds=5),
    )


WORKERS = {
    "approvals": approvals_worker, "orders": orders_worker, "notify": notify_worker, "erp": erp_worker,
}  # fmt: skip


async def ensure_standing_runs(client: Client) -> None:
    """The sweep and the delivery run, whoever started first."""
    await ensure_sweep(client)
    with suppress(WorkflowAlreadyStartedError):
        await client.start_workflow(
            NOTIFICATION_DELIVERY,
            Delivered(),
            id=ids.DELIVERY,
            task_queue=NOTIFY_QUEUE,
            static_summary="Sends the messages that wait in the database",
        )


async def ensure_sync(client: Client, house: House) -> None:
    """Where an ERP is connected, one run reads what it reports."""
    if not house.settings.erp_carries:
        return
    with suppress(WorkflowAlreadyStartedError):
        await client.start_workflow(
            ERP_SYNC, Synced(), id=ids.ERP_SYNC, task_queue=ERP_QUEUE,
            static_summary=f"Reads what the ERP ({house.settings.erp}) reports",
        )  # fmt: skip
    if not house.settings.erp_compares:
        return
    schedule = Schedule(
        action=ScheduleActionStartWorkflow(ERP_RECONCILIATION, id=ids.RECONCILIATION, task_queue=ERP_QUEUE),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=timedelta(days=1), offset=COMPARED_AT)]),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP),
    )
    with suppress(ScheduleAlreadyRunningError):
        await client.create_schedule(ids.RECONCILIATION, schedule)


async def write_heartbeats(
    house: House, client: Client, queues: Sequence[str], status: WorkerStatus, stop: asyncio.Event
) -> None:
    """Write that this process lives, and note what it sees of database and Temporal, until told to stop."""
    while not stop.is_set():
        try:
            async with house.database.writing() as session:
                await heartbeats.write_heartbeat(session, queues, heartbeats.process_name(), now())
            status.saw("database")
        except Exception as error:
            log.warning("heartbeat_not_written", error=type(error).__name__)
            status.missed("database", error)
        try:
            await client.workflow_service.get_system_info(GetSystemInfoRequest(), timeout=ANSWERS_WITHIN)
            status.saw("temporal")
        except Exception as error:
            status.missed("temporal", error)
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), heartbeats.EVERY.total_seconds())


async def keep_standing(client: Client, house: House, stop: asyncio.Event) -> None:
    """Until told to stop. An engine that lost its data comes back empty: what always runs is started again."""
    while not stop.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), STANDING_EVERY.total_seconds())
        if not stop.is_set():
            try:
                await ensure_standing_runs(client)
                await ensure_sync(client, house)
            except RPCError as error:
                log.warning("engine_away", error=str(error.status))


async def connected(house: House) -> Client:
    """The engine, however long it takes to appear."""
    while True:
        try:
            client = await house.engine.client(lazy=False)
            await ensure_standing_runs(client)
            await ensure_sync(client, house)
            return client
        except (RPCError, RuntimeError) as error:
            log.warning("temporal_away", address=house.settings.temporal_address, error=str(error)[:500])
            await asyncio.sleep(1)


def runtime_of(found: Settings) -> Runtime | None:
    """Temporal's runtime, where its SDK's metrics are wanted."""
    if not found.worker_sdk_metrics:
        return None
    return Runtime(telemetry=TelemetryConfig(metrics=PrometheusConfig(bind_address=found.worker_sdk_metrics)))


async def serve(queues: list[str], stop: asyncio.Event) -> None:
    house = build(settings(), runtime_of(settings()))
    async with AsyncExitStack() as stack:
        workers: dict[str, Worker] = {}
        polls = {name: partial(_is_polled, workers, name) for name in queues if name in house.settings.queues}
        status = WorkerStatus(now, polls)
        if house.settings.worker_port is not None:
            stack.enter_context(serving_probes(status, house.settings.worker_host, house.settings.worker_port))
        client = await connected(house)
        stack.push_async_callback(house.close)
        if "notify" in queues and house.settings.inbound_port is not None:
            at = house.settings.inbound_host, house.settings.inbound_port
            await stack.enter_async_context(mail_door(house.links, house.replies, *at))
        if "notify" in queues and house.settings.imap_host:
            reading = Reading(mailbox(house.settings), house.links, house.replies)
            await stack.enter_async_context(mailbox_door(reading))
        for queue in queues:
            if queue == "erp" and not house.settings.erp_carries:
                continue
            workers[queue] = await stack.enter_async_context(WORKERS[queue](client, house))
        ready()
        log.info("worker_up", queues=queues)
        needed = [name for name in queues if name in house.settings.queues]
        heartbeats_written = asyncio.create_task(write_heartbeats(house, client, needed, status, stop))
        await keep_standing(client, house, stop)
        await heartbeats_written
    log.info("worker_down", queues=queues)


def _is_polled(workers: dict[str, Worker], queue: str) -> bool:
    return queue in workers and workers[queue].is_running


def main(
    queue: Annotated[str, typer.Option(help="approvals, orders, notify, erp, or several of them")] = "all",
) -> None:
    """Work on task queues until told to stop."""
    queues = list(QUEUES) if queue == "all" else queue.split(",")
    if unknown := [name for name in queues if name not in QUEUES]:
        raise typer.BadParameter(f"{unknown[0]!r} is not one of {', '.join(QUEUES)}, all")
    logs.configure(settings().json_logs)

    async def run() -> None:
        stop = asyncio.Event()
        for name in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(name, stop.set)
        await serve(queues, stop)

    uvloop.run(run())


if __name__ == "__main__":
    typer.run(main)
