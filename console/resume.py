"""What was typed is kept: when a session ended before it was sent, and when it could not be taken as it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal
from urllib.parse import quote, urlsplit

from fastapi import Request
from fastapi.responses import RedirectResponse, Response

from console.refusals import label_of, named
from console.view import Reader, is_htmx, page
from domain.orders.payload import day_of
from domain.people import Person

KEPT = "kept."
"""Before the names of the fields of a form that waits for its sender to sign in."""
Fields = list[tuple[str, str]]
"""In the order in which they were sent; a name may come more than once."""
LONG = ("comment", "text", "reason", "note")
DAYS = ("on", "first", "last", "effective", "promised", "expected")


async def form_fields(request: Request) -> Fields:
    """The fields of a form that was sent."""
    return [(name, str(value)) for name, value in (await request.form()).multi_items()]


async def ask_to_sign_in(request: Request) -> Response:
    """The page to sign in on, which leads back to the page or the form that was asked for.

    What a page asks for by itself, to draw a part of it anew, is left as it is: nobody typed it to be sent."""
    if is_htmx(request) and not card_of(request):
        return Response(status_code=204)
    address = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    if request.method != "POST":
        return RedirectResponse(f"/sign-in?next={quote(address, safe='/')}", 303)
    facts: dict[str, Any] = {
        "next": address, "problem": "", "user": "", "kept": await form_fields(request), "send": True,
        "back": previous_page(request),
    }  # fmt: skip
    answer = page(request, "sign_in.html", None, status_code=401, **facts)
    if is_htmx(request):  # the whole page, not the card alone
        answer.headers["HX-Retarget"], answer.headers["HX-Reswap"] = "body", "innerHTML"
    return answer


CARD = "card-"


def card_of(request: Request) -> str:
    """The approval whose card a form stands on; blank where it stands on none, or the browser has no htmx."""
    target = request.headers.get("hx-target", "")
    return target.removeprefix(CARD) if is_htmx(request) and target.startswith(CARD) else ""


def problem_on_card(request: Request, me: Person | None, problem: str, status: int) -> Response:
    """Why something was refused, below what was typed: the card stays as it is."""
    answer = page(request, "_problem.html", me, status_code=status, problem=problem)
    answer.headers["HX-Retarget"], answer.headers["HX-Reswap"] = f"#problem-{card_of(request)}", "innerHTML"
    return answer


def previous_page(request: Request) -> str:
    """The page on which a form stands that was sent; the start where the browser does not say."""
    parts = urlsplit(request.headers.get("referer", ""))
    return f"{parts.path}?{parts.query}".rstrip("?") if parts.path.startswith("/") else "/"


def fields_to_send(form: Fields) -> Fields:
    return [(name.removeprefix(KEPT), value) for name, value in form if name.startswith(KEPT)]


@dataclass(frozen=True)
class TypedField:
    """A field that its sender sees again."""

    name: str
    label: str
    value: str
    kind: Literal["text", "date", "long"]
    problem: str


def form_page(
    request: Request,
    me: Person,
    action: str,
    fields: Fields,
    problems: Mapping[str, str] = MappingProxyType({}),
    *,
    back: str = "",
    status: int = 200,
) -> Response:
    """A form as it was filled in, to be sent again: after signing in, or with what is wrong with each field."""
    read = Reader(me)
    typed = [_typed_field(read, name, value, problems) for name, value in fields if label_of(name, read)]
    shown = {field.problem for field in typed}
    back = dict(fields).get("back") or back or previous_page(request)
    facts: dict[str, Any] = {
        "action": action, "back": back if back.startswith("/") and not back.startswith("//") else "/",
        "hidden": [(name, value) for name, value in fields if not label_of(name, read)], "typed": typed,
        "problems": [named(field, problem, read) for field, problem in problems.items() if problem not in shown],
        "act": read.say(act_of(action)), "signed_out": not problems,
    }  # fmt: skip
    return page(request, "resume.html", me, status_code=status, **facts)


def _typed_field(read: Reader, name: str, value: str, problems: Mapping[str, str]) -> TypedField:
    kind: Literal["text", "date", "long"] = "text"
    if name in LONG:
        kind = "long"
    elif name in DAYS and (not value or day_of(value)):
        kind = "date"
    key = name.replace("line.", "lines.", 1) if name.startswith("line.") else name
    problem = next((text for field, text in problems.items() if field == key or field.endswith(f".{key}")), "")
    return TypedField(name, label_of(name, read), value, kind, problem)


def act_of(action: str) -> str:
    """What a form does, as its button says."""
    return ACTS.get(action.rstrip("/").rpartition("/")[2], "Send")


ACTS = {
    "approve": "Approve", "reject": "Reject", "delegate": "Hand over", "consult": "Ask for advice",
    "add_approver": "Add an approver", "submit": "Submit for approval", "recall": "Take back", "take_back": "Take back",
}  # fmt: skip
