"""What endpoints share: who calls, versions, cursors, and the answer to a command."""

import base64
import json
from collections.abc import Callable
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Depends, Header, Query, Request, Response
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field

from api.problems import of_outcome
from domain.errors import Invalid, NotSignedIn
from domain.people import Person
from domain.problems import ID_PATTERN
from domain.runs import Outcome
from domain.values import counted
from services.container import Container
from services.context import authorise
from services.runs.commands import Caller, CommandReceipt

T = TypeVar("T")


class RequestBody(BaseModel):
    """What a request says. A member that we do not know is refused: a typing mistake is not silently dropped."""

    model_config = ConfigDict(extra="forbid")


bearer = HTTPBearer(auto_error=False, description="A token from /v1/auth/token, or an API key.")


async def container(request: Request) -> Container:  # what is not `async` would be called on a thread of its own
    found: Container = request.app.state.container
    return found


ContainerDep = Annotated[Container, Depends(container)]


Credential = Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]


async def person(request: Request, credential: Credential) -> Person:
    if credential is None:
        raise NotSignedIn("Send a token: Authorization: Bearer …")
    return await (await container(request)).access.person(credential.credentials)


APerson = Annotated[Person, Depends(person)]
IdempotencyKey = Annotated[
    str | None,
    Header(max_length=200, pattern=r"^[\x21-\x7e]+$", description="The same key and body take effect once."),
]


def needs(act: str) -> Any:
    """The person calling, if their roles allow the act; the permission table's test reads `act` off the route."""

    async def allowed(request: Request, credential: Credential) -> Person:
        found = await person(request, credential)  # called, for each dependency is solved anew at every request
        authorise(found, act)
        return found

    allowed.act = act  # type: ignore[attr-defined]
    return Depends(allowed)


def needs_caller(act: str) -> Any:
    """The same, as the caller of a command."""

    async def allowed(request: Request, credential: Credential, idempotency_key: IdempotencyKey = None) -> Caller:
        found = await person(request, credential)
        authorise(found, act)
        return Caller(person=found, key=idempotency_key)

    allowed.act = act  # type: ignore[attr-defined]
    return Depends(allowed)


PathId = Annotated[str, Field(pattern=ID_PATTERN)]
Limit = Annotated[int, Query(ge=1, le=200)]
Cursor = Annotated[str | None, Query(max_length=400)]


async def if_match(value: Annotated[str | None, Header(alias="If-Match", max_length=40)] = None) -> int | None:
    """The version the caller saw, out of an ETag like `"3"`."""
    if value is None:
        return None
    number = counted(value.strip().removeprefix("W/").strip('"'))
    if number is None:
        raise Invalid.field("If-Match", 'must be a version like "3"')
    return number


IfMatch = Annotated[int | None, Depends(if_match)]


def set_etag(response: Response, version: int) -> None:
    response.headers["ETag"] = f'"{version}"'


class Page(BaseModel, Generic[T]):
    """A page of a list, and the cursor of the next; null at the end."""

    items: list[T]
    next_cursor: str | None


def cursor_of(*keys: object) -> str:
    return base64.urlsafe_b64encode(json.dumps([str(key) for key in keys]).encode()).decode()


def keys_of(cursor: str | None, count: int) -> list[str] | None:
    """The keys a cursor holds. Raises Invalid on anything we did not make."""
    if not cursor:
        return None
    try:
        keys = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        if isinstance(keys, list) and len(keys) == count and all(isinstance(k, str) for k in keys):
            "".join(keys).encode()
            if "\x00" not in "".join(keys):
                return keys
    except (ValueError, RecursionError):
        pass
    raise Invalid.field("cursor", "is not one that this list gave")


def paged(items: list[T], limit: int, keys: Callable[[T], tuple[object, ...]]) -> Page[T]:
    """A page out of `limit + 1` items: the extra one only says that there is more."""
    shown = items[:limit]
    return Page(items=shown, next_cursor=cursor_of(*keys(shown[-1])) if len(items) > limit else None)


class Done(BaseModel):
    """A command that took effect."""

    command: str
    outcome: Outcome


class Pending(BaseModel):
    """A command that is safely written down and not answered yet."""

    command: str
    status: str = "pending"
    receipt: str


def answered(answer: CommandReceipt) -> Response:
    """200 with the outcome, 409 refused with the reason, or 202 with the receipt's address."""
    if answer.outcome is None:
        receipt = f"/v1/receipts/{answer.command}"
        body = Pending(command=answer.command, receipt=receipt).model_dump()
        return JSONResponse(body, 202, {"Location": receipt, "Retry-After": "2"})
    if not answer.outcome.applied:
        return of_outcome(answer.outcome, answer.command)
    return JSONResponse(Done(command=answer.command, outcome=answer.outcome).model_dump(mode="json"))
