"""Writes letters: the facts of a subject and its round, in the reader's language."""

from decimal import Decimal
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from domain.approvals.card import percent_in_words
from domain.approvals.plan import Plan, PlannedApproval
from domain.approvals.replies import WORDS
from domain.approvals.round import Approval, ApprovalStatus, Round, explained
from domain.money import formatted
from domain.people import Person
from domain.values import Value
from notify.port import Letter
from texts import locale_of, translator

SUBJECTS = {
    "requested": "Please decide: {title}",
    "delegated": "Handed to you: {title}",
    "reminder": "Still waiting for you: {title}",
    "recalled": "Taken back: {title}",
    "finished": "{outcome}: {title}",
    "answer": "Your reply: {title}",
    "mentioned": "You are asked about it: {title}",
    "informed": "For your information: {title}",
    "consulted": "Your advice is asked for: {title}",
    "advised": "Advice for you: {title}",
    "lapsed": "The approval has ended: {title}",
    "code": "Your code: {code}",
    "nobody_to_ask": "Nobody to ask: {title}",
    "missing_votes": "Too few can vote: {title}",
}
UNASKED = ("informed", "consulted", "advised", "nobody_to_ask", "missing_votes")
OUTCOMES = {"approved": "Approved", "rejected": "Rejected", "recalled": "Taken back", "expired": "Expired"}


class Facts(Value):
    """What a letter speaks of."""

    round: Round
    plan: Plan
    names: dict[str, str]
    customer: str
    net_total: Decimal
    currency: str
    discount_percent: Decimal | None
    link: str
    decide: dict[str, str] = {}
    """For each approval the address that decides it."""
    reply_to: str = ""
    result: str = ""
    """Why a reply was not understood, for the answer to it."""
    detail: str = ""
    text: str = ""
    """What somebody said who names the reader."""
    by: str = ""
    """Who said it, or who handed it over."""
    acts_for: tuple[str, ...] = ()
    """For whom the reader decides while they are away."""
    code: str = ""
    """The one-time code."""


def _people(approval: Approval, planned: dict[str, PlannedApproval], facts: Facts) -> list[tuple[str, str]]:
    """Who decided, each with what they said; while nobody has, whom it waits for."""
    if approval.status is ApprovalStatus.CARRIED:
        given = planned[approval.id].carried
        return [(facts.names.get(by, by), "") for by in given.by] if given else []
    covering = facts.round.approval(approval.covered_by) or approval
    voted = [seat for seat in covering.seats if seat.vote]
    if voted:
        return [(facts.names.get(seat.by or seat.holder, seat.by or seat.holder), seat.comment) for seat in voted]
    return [(facts.names.get(one, one), "") for one in approval.holders] if approval.status.open else []


def environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


class Writer:
    def __init__(self) -> None:
        self._environment = environment()

    def write(self, id: str, template: str, approvals: list[str], to: Person, facts: Facts) -> Letter:
        """The letter for one person about one wave of a round."""
        _ = translator(to.language)
        planned = {approval.id: why for approval, why in explained(facts.round, facts.plan)}
        known = [a for a in approvals if a in planned]
        asked = [planned[a] for a in known]
        ended = facts.detail if facts.result == "ended" and facts.detail else facts.round.status.value
        outcome = _(OUTCOMES.get(ended, ended.replace("_", " ").capitalize()))
        locale = locale_of(to.language)
        title = facts.round.card.title(_, locale) if facts.round.card else facts.round.title
        subject = _(SUBJECTS[template]).format(title=title, outcome=outcome, code=facts.code)
        context = {
            "_": _, "template": template, "person": to, "facts": facts, "round": facts.round, "asked": asked,
            "outcome": outcome, "subject": subject, "name": lambda who: facts.names.get(who, who),
            "names": lambda people: ", ".join(facts.names.get(who, who) for who in people),
            "net": formatted(facts.net_total, facts.currency, locale), "language": to.language, "title": title,
            "percent": None if facts.discount_percent is None else percent_in_words(facts.discount_percent, locale),
            "people": lambda approval: _people(approval, planned, facts),
            "status": lambda status: _(status.value.capitalize()),
            "words": WORDS[to.language], "decide_link": [facts.decide[a] for a in known if a in facts.decide],
            "heading": _("What it is about") if template in UNASKED else _("Why you are asked"),
        }  # fmt: skip
        return Letter(
            id=id,
            to=to.email,
            to_name=to.name,
            subject=subject,
            text=self._environment.get_template("mail.txt").render(context),
            html=self._environment.get_template("mail.html").render(context),
            reply_to=facts.reply_to,
        )
