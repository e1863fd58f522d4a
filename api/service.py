"""Health, readiness, metrics."""

from datetime import timedelta

import structlog
from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest

from api.requests import AHouse
from composition import House
from storage import runs
from workflows.contracts import APPROVALS_QUEUE

router = APIRouter(tags=["service"])
log = structlog.get_logger()
LIMIT = timedelta(seconds=2)
SWEPT_WITHIN = timedelta(seconds=60)


@router.get("/healthz")
async def health() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz", responses={503: {"description": "A part is missing"}})
async def ready(house: AHouse) -> Response:
    """Whether Temporal, database and worker are there, and the last sweep is recent. Decisions need the database."""
    database, closed = await _database(house)
    parts = {**database, **await _engine(house)}
    body = {"ready": all(parts.values()), **parts, **({"closed_for_restore": closed} if closed else {})}
    return JSONResponse(body, 200 if body["ready"] else 503)


async def _database(house: House) -> tuple[dict[str, bool], str]:
    """Whether it answers and the last sweep is recent; and why it takes no commands, if it takes none."""
    try:
        async with house.database.reading() as session:
            sweep = await runs.get_sweep(session)
    except Exception:
        log.exception("database_away")
        return {"database": False, "sweep": False}, ""
    recent = sweep is not None and house.office.clock() - sweep.swept_at < SWEPT_WITHIN
    return {"database": True, "sweep": recent}, sweep.closed_because if sweep else ""


async def _engine(house: House) -> dict[str, bool]:
    try:
        client = await house.engine.client()
        described = await client.workflow_service.describe_task_queue(
            DescribeTaskQueueRequest(
                namespace=client.namespace,
                task_queue=TaskQueue(name=APPROVALS_QUEUE),
                task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
            ),
            timeout=LIMIT,
        )
    except Exception as error:
        log.warning("engine_away", error=type(error).__name__)
        return {"engine": False, "worker": False}
    return {"engine": True, "worker": bool(described.pollers)}


@router.get("/metrics", response_class=Response)
async def metrics() -> Response:
    """Counters for Prometheus."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
