"""Health, readiness, metrics."""

from datetime import timedelta

import structlog
from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlmodel import text
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest

from api.requests import AHouse
from composition import House
from workflows.contracts import APPROVALS_QUEUE

router = APIRouter(tags=["service"])
log = structlog.get_logger()
LIMIT = timedelta(seconds=2)


@router.get("/healthz")
async def health() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz", responses={503: {"description": "A part is missing"}})
async def ready(house: AHouse) -> Response:
    """Whether engine, database and worker are there. Commands are taken, and kept, even when this says no."""
    parts = {"database": await _database(house), **await _engine(house)}
    return JSONResponse({"ready": all(parts.values()), **parts}, 200 if all(parts.values()) else 503)


async def _database(house: House) -> bool:
    try:
        async with house.database.reading() as session:
            await session.exec(text("select 1 from command limit 1"))  # type: ignore[call-overload]
    except Exception:
        log.exception("database_away")
        return False
    return True


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
