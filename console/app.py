"""The console: signs people in by cookie, guards its forms, and answers errors as pages."""

from pathlib import Path

from fastapi import FastAPI, Request
from starlette.middleware.gzip import GZipMiddleware
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import problem
from console import board, calendar, customers, desk, errors, links, orders, pages, replacing
from console.errors import is_api
from services.container import Container

STATIC = Path(__file__).parent / "static"
POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; "
    "form-action 'self'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}


class Guard:
    """Security headers on every page, and no form post from another site: the cookie alone is no proof of intent."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or is_api(scope["path"]):
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        if request.method == "POST" and _foreign(request):
            refused = problem(403, "cross_site", "This form was sent from another site and was not accepted.")
            await refused(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] += [(k.lower().encode(), v.encode()) for k, v in HEADERS.items()]
            await send(message)

        await self._app(scope, receive, with_headers)


def _foreign(request: Request) -> bool:
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        return site not in ("same-origin", "none")
    return origin is not None and origin.split("//")[-1] != request.headers.get("host")


def mount(app: FastAPI, container: Container) -> None:
    for area in (board, calendar, customers, orders, pages, links, replacing, desk):
        app.include_router(area.router, include_in_schema=False)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.add_middleware(GZipMiddleware, minimum_size=600)
    app.add_middleware(Guard)

    errors.install(app)
