"""Health, readiness and metrics of one worker process, on a port of its own."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

FRESH = timedelta(seconds=10)
"""What was not seen for longer is not so any more."""
STOP_SECONDS = 5


@dataclass
class WorkerStatus:
    """What a worker process last saw of what it needs, and whether each of its queues is being polled."""

    clock: Callable[[], datetime]
    polls: Mapping[str, Callable[[], bool]] = field(default_factory=dict)
    seen_at: dict[str, datetime] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    def saw(self, part: str) -> None:
        self.seen_at[part] = self.clock()
        self.errors.pop(part, None)

    def missed(self, part: str, error: Exception) -> None:
        self.errors[part] = type(error).__name__

    @property
    def parts(self) -> dict[str, bool]:
        now = self.clock()
        seen = {part: part in self.seen_at and now - self.seen_at[part] < FRESH for part in ("database", "temporal")}
        return {**seen, **{f"queue_{name}": polls() for name, polls in self.polls.items()}}


def probe_application(status: WorkerStatus) -> Starlette:
    async def health(_: Request) -> Response:
        """The process answers."""
        return JSONResponse({"status": "ok"})

    async def ready(_: Request) -> Response:
        """Whether database and Temporal were there a moment ago, and every queue of this process is polled."""
        parts = status.parts
        body = {"ready": all(parts.values()), **parts, **({"errors": status.errors} if status.errors else {})}
        return JSONResponse(body, 200 if body["ready"] else 503)

    async def metrics(_: Request) -> Response:
        """Counters for Prometheus."""
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return Starlette(routes=[Route("/healthz", health), Route("/readyz", ready), Route("/metrics", metrics)])


@contextmanager
def serving_probes(status: WorkerStatus, host: str, port: int) -> Iterator[None]:
    """Answer probes until the block ends, on a thread of their own: they answer while the worker is busy.

    Raises OSError where the port is taken."""
    config = uvicorn.Config(probe_application(status), host=host, port=port, log_level="warning", access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="probes", daemon=True)
    thread.start()
    while not server.started:
        if not thread.is_alive():
            raise OSError(f"nobody can listen on port {port} for probes: is it taken?")
        time.sleep(0.02)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(STOP_SECONDS)
