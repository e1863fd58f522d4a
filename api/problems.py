"""Errors as RFC 9457 problems: one table from codes to statuses, and nothing of the inside ever shown."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException

from domain import errors, problems
from domain.runs import Outcome

log = structlog.get_logger()

STATUS: dict[str, int] = {
    errors.Invalid.code: 422,
    errors.CommandIdReused.code: 422,
    errors.NotSignedIn.code: 401,
    errors.NotAllowed.code: 403,
    errors.NotFound.code: 404,
    errors.Locked.code: 409,
    errors.Clash.code: 409,
    errors.Unresolved.code: 409,
    errors.Stale.code: 412,
    errors.VersionRequired.code: 428,
    errors.TooLarge.code: 413,
    errors.TooMany.code: 429,
    errors.Unavailable.code: 503,
    errors.ClosedForRestore.code: 503,
}
REFUSED = 409
"""A command that the run answered with no."""
NO_FACTS: Mapping[str, Any] = {}


class Problem(BaseModel):
    """What every 4xx and 5xx answer looks like; further members carry the facts."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    code: str


def problem(status: int, code: str, detail: str, facts: Mapping[str, Any] = NO_FACTS) -> JSONResponse:
    body = {
        **facts,
        "type": f"urn:dealwright:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
    }
    headers = {**({"WWW-Authenticate": "Bearer"} if status == 401 else {}), **retry_after(facts)}
    return JSONResponse(body, status, headers, media_type="application/problem+json")


def retry_after(facts: Mapping[str, Any]) -> dict[str, str]:
    """The header that says after how many seconds to try again, where the facts say it."""
    return {"Retry-After": str(facts["retry_after"])} if facts.get("retry_after") else {}


def of_refusal(refusal: errors.Refusal) -> JSONResponse:
    return problem(STATUS.get(refusal.code, REFUSED), refusal.code, refusal.sentence, refusal.facts)


def of_outcome(outcome: Outcome, command: str) -> JSONResponse:
    """What a run answered with no; where a field is wrong, as for any other request that cannot be what it says."""
    facts, field = {**outcome.facts, "command": command}, outcome.facts.get("field")
    if outcome.code == errors.Invalid.code and field:
        named = {**facts, "errors": [{"field": field, "problem": outcome.sentence}]}
        return problem(STATUS[errors.Invalid.code], outcome.code, outcome.sentence, named)
    return problem(REFUSED, outcome.code, outcome.sentence, facts)


def invalid_request(error: RequestValidationError) -> errors.Invalid:
    """What the framework could not read, by field."""
    return problems.invalid_request(error.errors(), skip=1)  # the first step is the part of the request


def of_unreadable(error: RequestValidationError) -> JSONResponse:
    return of_refusal(invalid_request(error))


def of_http(error: HTTPException) -> JSONResponse:
    if error.status_code == HTTPStatus.BAD_REQUEST:  # the framework's word for a body it cannot decode
        return of_refusal(errors.Invalid.field("body", "cannot be read; send JSON in UTF-8"))
    status = HTTPStatus(error.status_code)
    response = problem(status, status.name.lower(), str(error.detail))
    response.headers.update(error.headers or {})
    return response


def install(app: FastAPI) -> None:
    @app.exception_handler(errors.Refusal)
    async def refused(_: Request, error: errors.Refusal) -> JSONResponse:
        return of_refusal(error)

    @app.exception_handler(RequestValidationError)
    async def unreadable(_: Request, error: RequestValidationError) -> JSONResponse:
        return of_unreadable(error)

    @app.exception_handler(HTTPException)
    async def plain(_: Request, error: HTTPException) -> JSONResponse:
        return of_http(error)

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> JSONResponse:
        log.exception("broken", path=request.url.path, exc_info=error)
        return problem(500, "internal", "Something broke on our side. It was logged; nothing was changed half-way.")


def answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problems an endpoint can answer with, for the OpenAPI document. Any request can be too large or too many."""
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        status: {"description": HTTPStatus(status).phrase, "model": Problem, "content": content}
        for status in sorted({*statuses, 413, 429})
    }
