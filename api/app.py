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
from composition import House
from services.engine import ensure_sweep

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


def create(house: House) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        sweep = asyncio.create_task(_ensure_sweep(house))
        yield
        sweep.cancel()
        await house.close()

    app = FastAPI(title="Dealwright", version="1", description=__doc__ or "", lifespan=lifespan)
    app.state.house = house
    app.state.write_check = service.WriteCheck()
    problems.install(app)
    for area in ROUTERS:
        app.include_router(area.router)
    app.add_middleware(BodyLimit)
    app.add_middleware(
        RateLimit, per_minute=house.settings.requests_per_minute, sign_ins=house.settings.sign_ins_per_minute
    )
    app.add_middleware(Observe)
    return app


async def _ensure_sweep(house: House) -> None:
    """Whoever starts first starts the run that sweeps."""
    with suppress(RPCError, RuntimeError, OSError):
        await ensure_sweep(await house.engine.client())
