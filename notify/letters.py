"""Writes letters: the facts of a subject and its round, in the reader's language."""

from decimal import Decimal
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from domain.approvals.plan import Plan
from domain.approvals.replies import WORDS
from domain.approvals.round import Round, explained
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
        outcome = _(OUTCOMES.get(facts.round.status.value, facts.round.status.value))
        subject = _(SUBJECTS[template]).format(title=facts.round.title, outcome=outcome)
        context = {
            "_": _, "template": template, "person": to, "facts": facts, "round": facts.round, "asked": asked,
            "outcome": outcome, "subject": subject, "name": lambda who: facts.names.get(who, who),
            "net": formatted(facts.net_total, facts.currency, locale_of(to.language)), "language": to.language,
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
