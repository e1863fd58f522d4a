"""Which task queues have a worker that lives: each writes so every few seconds."""

import os
import socket
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import delete, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from storage.database import execute, insert_new
from storage.tables import WorkerHeartbeatRow

BEATS = WorkerHeartbeatRow.__table__  # type: ignore[attr-defined]
EVERY = timedelta(seconds=3)
FRESH_FOR = timedelta(seconds=10)
"""A worker that did not write for so long is taken for dead."""


def process_name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"[:128]


async def write_heartbeat(session: AsyncSession, queues: Sequence[str], process: str, at: datetime) -> None:
    """This process works on these queues. What died an hour ago is forgotten."""
    for queue in queues:
        this = (BEATS.c.queue == queue, BEATS.c.process == process)
        if (await execute(session, update(BEATS).where(*this).values(at=at))).rowcount == 0:
            await insert_new(session, BEATS, {"queue": queue, "process": process, "at": at})
    await execute(session, delete(BEATS).where(BEATS.c.at < at - timedelta(hours=1)))


async def living_queues(session: AsyncSession, now: datetime) -> set[str]:
    """Queues that a worker lives for."""
    rows = await execute(session, select(BEATS.c.queue).where(BEATS.c.at > now - FRESH_FOR).distinct())
    return {row.queue for row in rows}
