"""Errors as pages: what was typed stays, the field is named, and there is a way on."""

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from api import problems
from api.problems import STATUS
from console.refusals import problems_of, why
from console.resume import ask_to_sign_in, card_of, form_fields, form_page, previous_page, problem_on_card
from console.session import find_visitor
from console.view import Reader, page, reader_of
from domain.errors import Invalid, NotFound, NotSignedIn, Refusal, Unavailable, Unresolved
from domain.people import Person

API_PATHS = ("/v1/", "/healthz", "/readyz", "/metrics", "/openapi.json", "/docs")
HTTP_ERRORS = {
    400: "This form cannot be read. Open the page again.",
    404: "There is nothing at this address.",
    405: "There is no page at this address.",
}


def is_api(path: str) -> bool:
    return path.startswith(API_PATHS)


def install(app: FastAPI) -> None:
    """Answer errors as pages, and those of the API as before."""

    @app.exception_handler(Refusal)
    async def refused(request: Request, error: Refusal) -> Response:
        if is_api(request.url.path):
            return problems.of_refusal(error)
        if isinstance(error, NotSignedIn):
            return await ask_to_sign_in(request)
        return await _page_of(request, error)

    @app.exception_handler(RequestValidationError)
    async def unreadable(request: Request, error: RequestValidationError) -> Response:
        if is_api(request.url.path):
            return problems.of_unreadable(error)
        return await _page_of(request, problems.invalid_request(error))

    @app.exception_handler(HTTPException)
    async def plain(request: Request, error: HTTPException) -> Response:
        if is_api(request.url.path):
            return problems.of_http(error)
        refusal = NotFound(HTTP_ERRORS.get(error.status_code, str(error.detail)))
        return await _page_of(request, refusal, error.status_code)


async def _page_of(request: Request, error: Refusal, status: int | None = None) -> Response:
    """The form again, where its sender can mend it; else a page that says why, and leads back."""
    me = await _find_reader(request)
    status = status or STATUS.get(error.code, problems.REFUSED)
    if card_of(request):
        return problem_on_card(request, me, why(error, reader_of(request, me)), status)
    if me and request.method == "POST" and isinstance(error, Invalid | Unresolved):
        fields = await form_fields(request)
        return form_page(request, me, request.url.path, fields, problems_of(error, Reader(me)), status=status)
    sentence = why(error, reader_of(request, me))
    answer = page(request, "error.html", me, status_code=status, sentence=sentence, back=previous_page(request))
    answer.headers.update(problems.retry_after(error.facts))
    return answer


async def _find_reader(request: Request) -> Person | None:
    """Who reads the page; while the database is away nobody is known."""
    try:
        return await find_visitor(request, request.app.state.container)
    except Unavailable:
        return None
