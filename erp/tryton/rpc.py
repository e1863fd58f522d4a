"""Tryton's JSON-RPC: a session, values that JSON does not have, and what its failures mean.

RPC rather than REST, because its buttons take many records at once."""

import asyncio
import base64
import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx

from domain.values import plain_number
from erp.port import Refused, Unavailable, Unknown

MOST_WORDS = 1_000


class Rpc:
    """A user's session, begun when it is first needed and again when it ran out.

    Every call raises Refused with Tryton's words, Unavailable, or Unknown."""

    def __init__(self, url: str, user: str, password: str, seconds: float = 30) -> None:
        """`url` ends with the name of the database."""
        self._http = httpx.AsyncClient(base_url=f"{url.rstrip('/')}/", timeout=seconds, follow_redirects=False)
        self._user, self._password = user, password
        self._turn = asyncio.Lock()
        self._session = ""
        self.context: dict[str, Any] = {}
        """The user's own: company and language."""

    async def close(self) -> None:
        await self._http.aclose()

    async def model(self, name: str, method: str, *params: Any) -> Any:
        """A method of a model, in the user's context."""
        return await self.run(f"model.{name}.{method}", *params)

    async def run(self, method: str, *params: Any) -> Any:
        session = await self._signed_in()
        try:
            return await self._call(method, *params, self.context, session=session)
        except _SignedOut:
            session = await self._signed_in(instead_of=session)
            return await self._call(method, *params, self.context, session=session)

    async def search(
        self,
        name: str,
        domain: list[Any],
        fields: list[str],
        limit: int | None = None,
        offset: int = 0,
        order: list[list[str]] | None = None,
    ) -> list[dict[str, Any]]:
        """Records and their fields, of related ones too: `lines.quantity` is found under `lines.`."""
        found: list[dict[str, Any]] = await self.model(name, "search_read", domain, offset, limit, order, fields)
        return found

    async def create(self, name: str, *records: dict[str, Any]) -> list[int]:
        ids: list[int] = await self.model(name, "create", list(records))
        return ids

    async def _signed_in(self, instead_of: str = "") -> str:
        async with self._turn:
            if self._session in ("", instead_of):
                try:
                    user, key, *_ = await self._call("common.db.login", self._user, {"password": self._password})
                except _SignedOut:
                    raise Unavailable(f"Tryton does not let {self._user} in") from None
                named = base64.b64encode(f"{self._user}:{user}:{key}".encode()).decode()
                self.context = await self._call("model.res.user.get_preferences", True, {}, session=named)
                self._session = named
            return self._session

    async def _call(self, method: str, *params: Any, session: str = "") -> Any:
        body = json.dumps({"id": 0, "method": method, "params": params}, default=_tagged)
        headers = {"Content-Type": "application/json"}
        if session:
            headers["Authorization"] = f"Session {session}"
        try:
            answer = await self._http.post("rpc/", content=body, headers=headers)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise Unavailable(f"{type(error).__name__}: nobody answers at Tryton's address") from None
        except httpx.HTTPError as error:
            raise Unknown(f"{type(error).__name__}: it was sent, and no answer came") from None
        return _read(answer)


class _SignedOut(Unavailable):
    """The session ran out, or never was."""


def _read(answer: httpx.Response) -> Any:
    """Only words that Tryton has for people are a verdict: all else may be a lock, a restart, or a gateway's page."""
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        raise _SignedOut("Tryton knows no such session")
    if answer.status_code != httpx.codes.OK:
        raise Unavailable(f"Tryton answered {answer.status_code}")
    try:
        told = json.loads(answer.content, object_hook=_plain)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict) or not {"result", "error"} & told.keys():
        raise Unknown("Tryton answered with something that is no JSON-RPC")
    if "error" not in told:
        return told["result"]
    match told["error"]:
        case ["UserError", [str(words), *more]] | ["UserWarning", [_, str(words), *more]]:
            described = " ".join(part for part in (words, *more[:1]) if isinstance(part, str) and part)
            raise Refused(described[:MOST_WORDS])
    raise Unavailable(f"Tryton could not: {told['error']}"[:MOST_WORDS])


def quantity_of(told: float | None) -> Decimal:
    """Tryton tells quantities as floats, as many decimals as the unit has: 3.0 is 3."""
    return Decimal(plain_number(Decimal(str(told or 0))))


def _tagged(value: object) -> dict[str, Any]:
    match value:
        case datetime():
            parts = ("year", "month", "day", "hour", "minute", "second", "microsecond")
            return {"__class__": "datetime", **{part: getattr(value, part) for part in parts}}
        case date():
            return {"__class__": "date", "year": value.year, "month": value.month, "day": value.day}
        case timedelta():
            return {"__class__": "timedelta", "seconds": value.total_seconds()}
        case Decimal():
            return {"__class__": "Decimal", "decimal": str(value)}
    raise TypeError(f"Tryton has no {type(value).__name__}")


def _plain(found: dict[str, Any]) -> Any:
    told = {name: value for name, value in found.items() if name != "__class__"}
    match found.get("__class__"):
        case "Decimal":
            return Decimal(found["decimal"])
        case "date":
            return date(**told)
        case "datetime":
            return datetime(**told, tzinfo=UTC)  # it has no other time
        case "timedelta":
            return timedelta(**told)
    return found
