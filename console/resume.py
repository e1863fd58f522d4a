"""What was typed is kept: when a session ended before it was sent, and when it could not be taken as it is."""

from typing import Any
from urllib.parse import quote, urlsplit

from fastapi import Request
from fastapi.responses import RedirectResponse, Response

from console.view import Reader, is_htmx, page
from domain.people import Person
from texts import translator

MOST_FIELDS, LONGEST_FIELD = 200, 4_000
KEPT = "kept."
"""Before the names of the fields of a form that waits for its sender to sign in."""
VISIBLE = ("comment", "text", "reason", "note")
"""Fields that their sender wants to see again."""


async def form_fields(request: Request) -> dict[str, str]:
    """The fields of a form that was sent, bounded."""
    form = await request.form()
    return {name[:200]: str(value)[:LONGEST_FIELD] for name, value in list(form.items())[:MOST_FIELDS]}


async def ask_to_sign_in(request: Request) -> Response:
    """The page to sign in on, which leads back to the page or the form that was asked for."""
    address = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    if request.method != "POST":
        return RedirectResponse(f"/sign-in?next={quote(address, safe='/')}", 303)
    kept = await form_fields(request)
    facts: dict[str, Any] = {"next": address, "problem": "", "user": "", "kept": kept, "send": True}
    answer = page(request, "sign_in.html", None, status_code=401, **facts)
    if is_htmx(request):  # the whole page, not the card alone
        answer.headers["HX-Retarget"], answer.headers["HX-Reswap"] = "body", "innerHTML"
    return answer


def fields_to_send(form: dict[str, str]) -> dict[str, str]:
    return {name.removeprefix(KEPT): value for name, value in form.items() if name.startswith(KEPT)}


def form_page(
    request: Request, me: Person, action: str, fields: dict[str, str], problem: str = "", status: int = 200
) -> Response:
    """A form as it was filled in, to be sent again: after signing in, or with what is wrong with it."""
    read = Reader(me)
    back = fields.get("back") or urlsplit(request.headers.get("referer", "")).path or "/"
    shown = [name for name in VISIBLE if name in fields]
    facts: dict[str, Any] = {
        "action": action, "problem": problem, "back": back if back.startswith("/") else "/",
        "hidden": {name: value for name, value in fields.items() if name not in shown},
        "shown": {name: fields[name] for name in shown}, "act": read.say(act_of(action)),
    }  # fmt: skip
    return page(request, "resume.html", me, status_code=status, **facts)


def act_of(action: str) -> str:
    """What a form does, as its button says."""
    return ACTS.get(action.rstrip("/").rpartition("/")[2], "Send")


ACTS = {
    "approve": "Approve", "reject": "Reject", "delegate": "Hand over", "consult": "Ask for advice",
    "add_approver": "Add an approver", "submit": "Submit for approval", "recall": "Take back", "take_back": "Take back",
}  # fmt: skip


def refusal_in_words(code: str, sentence: str, language: str) -> str:
    """Why something was refused, in the reader's language."""
    say = translator(language)
    return say(REFUSALS[code]) if code in REFUSALS else say(sentence)


REFUSALS = {
    "already_decided": "This is decided already. Open the quote to see who decided, and how.",
    "round_closed": "This round has ended already. Open the quote to see how.",
    "stale_version": "What you saw is not what is in approval now. Open the quote again.",
    "own_submission": "You submitted, own or edited this, so somebody else must decide it.",
    "not_an_approver": "This approval is not yours to decide.",
    "not_your_turn": "An earlier step must be decided first.",
    "comment_required": "Say why: a comment is required.",
    "already_voted": "You voted on this already, and everybody votes once.",
    "already_an_approver": "This person is asked already.",
    "already_consulted": "This person was asked already, and has not answered yet.",
    "built_on": "Something that came after it is decided already, so it cannot be taken back.",
    "idempotency_key_reused": "This form was sent already. Open the page again.",
    "not_yours": "Only who added an approver, or an approvals admin, can remove them.",
    "rejected_before": "They rejected it: only they, or an approvals admin, can lift that.",
}
