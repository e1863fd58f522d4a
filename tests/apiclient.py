"""An HTTP client over the application itself."""

from typing import Any

import httpx
from fastapi import FastAPI

from domain.people import Person, Role
from services.imports.samples import SYSTEM


class Api:
    """Requests in somebody's name."""

    def __init__(self, bench: Any, app: FastAPI) -> None:
        self.bench = bench
        self.app = app
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://test"
        )

    async def token(self, who: str) -> str:
        person = await self.bench.container.people.get(SYSTEM.person, who)
        return self.bench.container.access.token(person)

    async def call(
        self, who: str | None, method: str, path: str, headers: dict[str, str] | None = None, **options: Any
    ) -> httpx.Response:
        credential = {"Authorization": f"Bearer {await self.token(who)}"} if who else {}
        return await self.client.request(method, path, headers={**credential, **(headers or {})}, **options)

    async def add(self, id: str, *roles: Role) -> None:
        await self.bench.container.people.put(SYSTEM, Person(id=id, name=id, roles=roles), None)
