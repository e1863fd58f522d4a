"""Health, readiness, metrics."""

import asyncio
import math
import time
from datetime import timedelta

import structlog
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from temporalio.api.workflowservice.v1 import GetSystemInfoRequest

from api.requests import ContainerDep
from services.container import Container
from storage.erp import documents
from storage.runs import heartbeats, runs

router = APIRouter(tags=["service"])
log = structlog.get_logger()
LIMIT = timedelta(seconds=2)
SWEPT_WITHIN = timedelta(seconds=60)


@router.get("/healthz")
async def health() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz", responses={503: {"description": "A part is missing"}})
async def ready(request: Request, container: ContainerDep) -> Response:
    """Whether Temporal is there, the database takes what is written, each task queue has a worker, and the last sweep
    is recent.

    Decisions need the database alone; an ERP that does not answer is told, and makes nobody unready."""
    (database, words), writes, engine = await asyncio.gather(
        _database(container), request.app.state.write_check.holds(container), _answers(container)
    )
    parts = {**database, "database": database["database"] and writes, "engine": engine}
    body = {"ready": all(parts.values()), **parts, **words}
    return JSONResponse(body, 200 if body["ready"] else 503)


class WriteCheck:
    """Whether the database takes what is written: a disk that is full can still be read. Tried once a second."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._tried_at = -math.inf
        self._held = False

    async def holds(self, container: Container) -> bool:
        async with self._turn:
            if time.monotonic() - self._tried_at >= 1:
                self._tried_at, self._held = time.monotonic(), await _write(container)
            return self._held


async def _write(container: Container) -> bool:
    try:
        async with container.database.writing() as session:
            await heartbeats.write_heartbeat(session, ["api"], heartbeats.process_name(), container.context.clock())
        return True
    except Exception as error:
        log.warning("database_not_written", error=type(error).__name__)
        return False


async def _database(container: Container) -> tuple[dict[str, bool], dict[str, str]]:
    """Whether it answers, who lives by it, and the last sweep is recent; what there is to say besides."""
    needed, now = container.settings.queues, container.context.clock()
    try:
        async with container.database.reading() as session:
            sweep = await runs.get_sweep(session)
            living = await heartbeats.living_queues(session, now)
            trouble = await documents.last_trouble(session, container.settings.erp)
    except Exception:
        log.exception("database_away")
        return {"database": False, "sweep": False, **{f"worker_{queue}": False for queue in needed}}, {}
    recent = sweep is not None and now - sweep.swept_at < SWEPT_WITHIN
    words = {"closed_for_restore": sweep.closed_because if sweep else "", "erp": trouble}
    parts = {"database": True, "sweep": recent, **{f"worker_{queue}": queue in living for queue in needed}}
    return parts, {name: text for name, text in words.items() if text}


async def _answers(container: Container) -> bool:
    """Whether Temporal does."""
    try:
        client = await container.temporal.client()
        await client.workflow_service.get_system_info(GetSystemInfoRequest(), timeout=LIMIT)
    except Exception as error:
        log.warning("engine_away", error=type(error).__name__)
        return False
    return True


@router.get("/metrics", response_class=Response)
async def metrics() -> Response:
    """Counters for Prometheus."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
