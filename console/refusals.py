"""Refusals as their reader sees them: in their language, with the fields by the names that the pages give them."""

from console.view import Reader
from domain.errors import Refusal
from domain.runs import Outcome

LABELS = {
    "comment": "Comment", "text": "Comment", "reason": "Why", "note": "Note", "on": "On", "ends": "Ends",
    "first": "First day", "last": "Last day", "effective": "From a day on; blank: now", "promised": "Promised",
    "expected": "Expected",
    "waves": "Waves", "po_number": "Their order number", "document": "Document", "contact": "Contact",
    "month": "Month", "reference": "Your number for it", "to.name": "Name", "to.street": "Street", "to.city": "City",
    "to.country": "Country", "to.time_zone": "Time zone",
}  # fmt: skip
"""What people type, by field. What they choose, and what the page itself sends, is kept and not shown."""
CHOSEN = {
    "delegate": "Who decides for you", "to": "Person", "group": "Group", "old": "Who leaves", "new": "Who follows",
    "lines": "Lines", "way": "Way", "coterm": "Subscriptions", "owner": "Who holds it", "terms": "Delivery",
    "ship_to": "Place", "code": "Code", "name": "Name", "acceptance.on": "On",
}  # fmt: skip
"""What people choose, as the pages call it where something is wrong with it."""
MOST_PROBLEMS = 20


def label_of(field: str, read: Reader) -> str:
    """What the pages call a field; blank for what nobody types."""
    for prefix in ("line.", "lines."):
        if field.startswith(prefix):
            return read.say("Line {line}", line=field.removeprefix(prefix))
    return read.say(LABELS[field]) if field in LABELS else ""


def problems_of(error: Refusal, read: Reader) -> dict[str, str]:
    """What is wrong with which field; `""` where it is no field."""
    found = error.facts.get("errors") or [{"field": "", "problem": error.sentence}]
    return {one["field"]: read.say(one["problem"]) for one in found[:MOST_PROBLEMS]}


def named(field: str, problem: str, read: Reader) -> str:
    """A problem with the name of its field before it."""
    label = label_of(field, read) or (read.say(CHOSEN[field]) if field in CHOSEN else field)
    return f"{label}: {problem}" if field else problem


def why(refused: Refusal | Outcome, read: Reader) -> str:
    """Why it was refused, on one line."""
    if isinstance(refused, Outcome):
        return read.say(refused.reason)
    return "; ".join(named(field, problem, read) for field, problem in problems_of(refused, read).items())
