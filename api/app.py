"""The FastAPI application."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI
from temporalio.service import RPCError

from api import (
    approvals,
    backoffice,
    customers,
    delegations,
    messages,
    orders,
    people,
    policies,
    problems,
    quotes,
    replacements,
    service,
    session,
)
from api.limits import BodyLimit, RateLimit
from api.observe import Observe
from services.container import Container

ROUTERS = (
    session,
    quotes,
    approvals,
    orders,
    backoffice,
    customers,
    delegations,
    people,
    policies,
    replacements,
    messages,
    service,
)


def create(container: Container) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        sweep = asyncio.create_task(_start_sweep(container))
        yield
        sweep.cancel()
        await container.close()

    app = FastAPI(title="Dealwright", version="1", description=__doc__ or "", lifespan=lifespan)
    app.state.container = container
    app.state.write_check = service.WriteCheck()
    problems.install(app)
    for area in ROUTERS:
        app.include_router(area.router)
    app.add_middleware(BodyLimit)
    app.add_middleware(
        RateLimit, per_minute=container.settings.requests_per_minute, sign_ins=container.settings.sign_ins_per_minute
    )
    app.add_middleware(Observe)
    return app


async def _start_sweep(container: Container) -> None:
    """Whoever starts first starts the run that sweeps."""
    with suppress(RPCError, RuntimeError, OSError):
        await container.path.engine.start_sweep()
