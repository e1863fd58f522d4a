"""The workers: `python worker.py [--queue approvals|orders|notify|erp|all]`."""

import asyncio
import signal
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from functools import partial
from typing import Annotated

import structlog
import typer
import uvloop
from temporalio.api.workflowservice.v1 import GetSystemInfoRequest
from temporalio.client import (
    Client,
)
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig
from temporalio.worker import Worker

from api.probes import WorkerStatus, serving_probes
from app import logs
from app.container import Application, build, freeze_garbage
from app.settings import Settings, settings
from app.standing_runs import connect, keep_standing
from app.workers import WORKERS, mailbox
from inbound.mailbox import ImapPoller, mailbox_door
from inbound.server import mail_door
from services.clock import now
from storage.runs import heartbeats

log = structlog.get_logger()
QUEUES = tuple(WORKERS)
ANSWERS_WITHIN = timedelta(seconds=2)


async def write_heartbeats(
    container: Application, client: Client, queues: Sequence[str], status: WorkerStatus, stop: asyncio.Event
) -> None:
    """Write that this process lives, and note what it sees of database and Temporal, until told to stop."""
    while not stop.is_set():
        try:
            async with container.database.writing() as session:
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


def runtime_of(found: Settings) -> Runtime | None:
    """Temporal's runtime, where its SDK's metrics are wanted."""
    if not found.worker_sdk_metrics:
        return None
    return Runtime(telemetry=TelemetryConfig(metrics=PrometheusConfig(bind_address=found.worker_sdk_metrics)))


async def serve(queues: list[str], stop: asyncio.Event) -> None:
    container = build(settings(), runtime_of(settings()))
    async with AsyncExitStack() as stack:
        workers: dict[str, Worker] = {}
        polls = {name: partial(_is_polled, workers, name) for name in queues if name in container.settings.queues}
        status = WorkerStatus(now, polls)
        if container.settings.worker_port is not None:
            stack.enter_context(serving_probes(status, container.settings.worker_host, container.settings.worker_port))
        client = await connect(container)
        stack.push_async_callback(container.close)
        if "notify" in queues and container.settings.inbound_port is not None:
            at = container.settings.inbound_host, container.settings.inbound_port
            await stack.enter_async_context(mail_door(container.links, container.replies, *at))
        if "notify" in queues and container.settings.imap_host:
            reading = ImapPoller(mailbox(container.settings), container.links, container.replies)
            await stack.enter_async_context(mailbox_door(reading))
        for queue in queues:
            if queue == "erp" and not container.settings.erp_carries:
                continue
            workers[queue] = await stack.enter_async_context(WORKERS[queue](client, container))
        freeze_garbage()
        log.info("worker_up", queues=queues)
        needed = [name for name in queues if name in container.settings.queues]
        heartbeats_written = asyncio.create_task(write_heartbeats(container, client, needed, status, stop))
        await keep_standing(client, container, stop)
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
