"""Bounds on what anybody can send: the size of a body, and requests per minute."""

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import of_refusal
from domain.errors import TooLarge, TooMany
from domain.sentences import Sentence
from domain.values import counted

MAX_BODY = 4 * 1024 * 1024


class BodyLimit:
    """Refuses a body over the limit, whether it announces its size or not."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = counted(Headers(scope=scope).get("content-length", "0"))
        too_large = TooLarge(Sentence("body: larger than {most} MiB", most=MAX_BODY // 1024 // 1024), limit=MAX_BODY)
        if announced is None or announced > MAX_BODY:
            await of_refusal(too_large)(scope, receive, send)
            return
        got, refused = 0, False

        async def measured() -> Message:
            nonlocal got, refused
            message = await receive()
            got += len(message.get("body", b""))
            if got > MAX_BODY:
                refused = True
                raise too_large
            return message

        async def unless_refused(message: Message) -> None:
            # The framework turns what breaks a body into a 400 of its own; ours says what is wrong.
            if not refused:
                await send(message)
            elif message["type"] == "http.response.start":
                await of_refusal(too_large)(scope, receive, send)

        await self._app(scope, measured, unless_refused)


class RateLimit:
    """A sliding window per credential, or per address without one; signing in has a tighter one of its own."""

    def __init__(self, app: ASGIApp, per_minute: int, sign_ins: int) -> None:
        self._app = app
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._general = RateLimitItemPerMinute(per_minute)
        self._sign_in = RateLimitItemPerMinute(sign_ins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in ("/healthz", "/readyz", "/metrics"):
            await self._app(scope, receive, send)
            return
        caller = _caller(scope)
        if not await self._limiter.hit(self._general, "all", caller):
            await self._refuse(scope, receive, send)
            return
        if scope["method"] == "POST" and scope["path"] in ("/v1/auth/token", "/sign-in"):
            address = (scope.get("client") or ("unknown", 0))[0]
            if not await self._limiter.hit(self._sign_in, "sign-in", address):
                await self._refuse(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        slow = TooMany("Too many requests. Wait a little and try again.", retry_after=10)
        await of_refusal(slow)(scope, receive, send)


def _caller(scope: Scope) -> str:
    headers = Headers(scope=scope)
    return headers.get("authorization") or headers.get("cookie") or str((scope.get("client") or ("unknown", 0))[0])
