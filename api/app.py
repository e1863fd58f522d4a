"""The FastAPI application."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

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
        sweep = asyncio.create_task(_sweep(house))
        yield
        sweep.cancel()
        await house.close()

    app = FastAPI(title="Dealwright", version="1", description=__doc__ or "", lifespan=lifespan)
    app.state.house = house
    problems.install(app)
    for area in ROUTERS:
        app.include_router(area.router)
    app.add_middleware(BodyLimit)
    app.add_middleware(
        RateLimit, per_minute=house.settings.requests_per_minute, sign_ins=house.settings.sign_ins_per_minute
    )
    app.add_middleware(Observe)
    return app


async def _sweep(house: House) -> None:
    """What was written down before this process died is sent again at once."""
    with suppress(RPCError, RuntimeError, OSError):
        await house.sweeping.sweep_older_than(timedelta(0))
