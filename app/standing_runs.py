"""The runs that are always there: the sweep, the delivery of letters, and the ERP's."""

import asyncio
from contextlib import suppress
from datetime import timedelta

import structlog
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
from temporalio.service import RPCError

from app.container import Application
from app.temporal import start_sweep
from domain.runs import ids
from domain.runs.contracts import (
    ERP_QUEUE,
    ERP_RECONCILIATION,
    ERP_SYNC,
    NOTIFICATION_DELIVERY,
    NOTIFY_QUEUE,
    Delivered,
    Synced,
)

log = structlog.get_logger()
COMPARED_AT = timedelta(hours=3)
"""Orders are compared with the ERP's at this time of the day, UTC."""
STANDING_EVERY = timedelta(seconds=60)


async def ensure_standing_runs(client: Client) -> None:
    """The sweep and the delivery run, whoever started first."""
    await start_sweep(client)
    with suppress(WorkflowAlreadyStartedError):
        await client.start_workflow(
            NOTIFICATION_DELIVERY,
            Delivered(),
            id=ids.DELIVERY,
            task_queue=NOTIFY_QUEUE,
            static_summary="Sends the messages that wait in the database",
        )


async def ensure_sync(client: Client, container: Application) -> None:
    """Where an ERP is connected, one run reads what it reports."""
    if not container.settings.erp_carries:
        return
    with suppress(WorkflowAlreadyStartedError):
        await client.start_workflow(
            ERP_SYNC,
            Synced(),
            id=ids.ERP_SYNC,
            task_queue=ERP_QUEUE,
            static_summary=f"Reads what the ERP ({container.settings.erp}) reports",
        )
    if not container.settings.erp_compares:
        return
    schedule = Schedule(
        action=ScheduleActionStartWorkflow(ERP_RECONCILIATION, id=ids.RECONCILIATION, task_queue=ERP_QUEUE),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=timedelta(days=1), offset=COMPARED_AT)]),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP),
    )
    with suppress(ScheduleAlreadyRunningError):
        await client.create_schedule(ids.RECONCILIATION, schedule)


async def keep_standing(client: Client, container: Application, stop: asyncio.Event) -> None:
    """Until told to stop. Temporal comes back empty where it lost its data: what always runs is started again."""
    while not stop.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), STANDING_EVERY.total_seconds())
        if not stop.is_set():
            try:
                await ensure_standing_runs(client)
                await ensure_sync(client, container)
            except RPCError as error:
                log.warning("engine_away", error=str(error.status))


async def connect(container: Application) -> Client:
    """Temporal, however long it takes to appear."""
    while True:
        try:
            client = await container.temporal.client(lazy=False)
            await ensure_standing_runs(client)
            await ensure_sync(client, container)
            return client
        except (RPCError, RuntimeError) as error:
            log.warning("temporal_away", address=container.settings.temporal_address, error=str(error)[:500])
            await asyncio.sleep(1)
