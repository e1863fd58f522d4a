"""Who may do what, as data: act × role × the rows it reaches. API, console and docs read this one table."""

from enum import StrEnum

from domain.people import Person, Role


class Reach(StrEnum):
    """Which rows an allowed act reaches."""

    ALL = "all"
    OWN = "own"
    """Quotes the person owns."""
    INVOLVED = "involved"
    """Subjects that wait or waited on the person."""
    APPROVED = "approved"
    """Quotes that are approved, accepted or ordered."""
    SELF = "self"


R = Role
TABLE: dict[str, dict[Role, Reach]] = {
    "quotes.read": {
        R.REP: Reach.OWN,
        R.APPROVER: Reach.INVOLVED,
        R.APPROVALS_ADMIN: Reach.ALL,
        R.ORDER_DESK: Reach.APPROVED,
        R.OPS: Reach.ALL,
        R.ADMIN: Reach.ALL,
    },
    "quotes.write": {R.REP: Reach.OWN},
    "quotes.comment": {R.REP: Reach.OWN, R.APPROVER: Reach.INVOLVED, R.APPROVALS_ADMIN: Reach.ALL},
    "quotes.submit": {R.REP: Reach.OWN},
    "quotes.recall": {R.REP: Reach.OWN, R.APPROVALS_ADMIN: Reach.ALL},
    "approvals.read": {
        R.REP: Reach.OWN,
        R.APPROVER: Reach.INVOLVED,
        R.APPROVALS_ADMIN: Reach.ALL,
        R.OPS: Reach.ALL,
        R.ADMIN: Reach.ALL,
    },
    "approvals.decide": {R.APPROVER: Reach.INVOLVED},
    "approvals.add": {R.REP: Reach.OWN, R.APPROVER: Reach.INVOLVED},
    "approvals.remove": {R.REP: Reach.OWN, R.APPROVER: Reach.INVOLVED, R.APPROVALS_ADMIN: Reach.ALL},
    "approvals.reassign": {R.APPROVALS_ADMIN: Reach.ALL},
    "quotes.accept": {R.REP: Reach.OWN, R.ORDER_DESK: Reach.ALL},
    "orders.place": {R.REP: Reach.OWN, R.ORDER_DESK: Reach.ALL},
    "orders.read": {
        R.REP: Reach.OWN,
        R.APPROVER: Reach.INVOLVED,
        R.ORDER_DESK: Reach.ALL,
        R.BACK_OFFICE: Reach.ALL,
        R.FINANCE: Reach.ALL,
        R.OPS: Reach.ALL,
        R.ADMIN: Reach.ALL,
    },
    "orders.steer": {R.ORDER_DESK: Reach.ALL},
    "orders.hold": dict.fromkeys((R.ORDER_DESK, R.BACK_OFFICE, R.FINANCE, R.ADMIN), Reach.ALL),
    "customers.read": dict.fromkeys((R.ORDER_DESK, R.BACK_OFFICE, R.FINANCE, R.OPS, R.ADMIN), Reach.ALL),
    "figures.read": dict.fromkeys((R.ORDER_DESK, R.BACK_OFFICE, R.FINANCE, R.OPS, R.ADMIN), Reach.ALL),
    "revenue.read": dict.fromkeys((R.FINANCE, R.OPS, R.ADMIN), Reach.ALL),
    "periods.close": {R.FINANCE: Reach.ALL},
    "orders.return": {R.ORDER_DESK: Reach.ALL, R.BACK_OFFICE: Reach.ALL},
    "erp.read": dict.fromkeys((R.ORDER_DESK, R.BACK_OFFICE, R.OPS, R.ADMIN), Reach.ALL),
    "erp.report": {R.BACK_OFFICE: Reach.ALL},
    "erp.mend": {R.BACK_OFFICE: Reach.ALL, R.OPS: Reach.ALL},
    "delegations.read": {R.APPROVER: Reach.SELF, R.APPROVALS_ADMIN: Reach.ALL, R.OPS: Reach.ALL},
    "delegations.write": {R.APPROVER: Reach.SELF, R.APPROVALS_ADMIN: Reach.ALL},
    "inbox.read": {R.APPROVER: Reach.SELF},
    "receipts.read": dict.fromkeys(Role, Reach.SELF),
    "people.read": dict.fromkeys((R.REP, R.APPROVER, R.APPROVALS_ADMIN, R.ORDER_DESK, R.OPS, R.ADMIN), Reach.ALL),
    "people.write": {R.ADMIN: Reach.ALL},
    "chat.write": dict.fromkeys(Role, Reach.SELF),
    "groups.read": dict.fromkeys((R.APPROVALS_ADMIN, R.OPS, R.ADMIN), Reach.ALL),
    "groups.write": {R.APPROVALS_ADMIN: Reach.ALL},
    "policies.read": dict.fromkeys((R.APPROVALS_ADMIN, R.OPS, R.ADMIN), Reach.ALL),
    "policies.write": {R.APPROVALS_ADMIN: Reach.ALL},
    "replacements.read": {R.APPROVALS_ADMIN: Reach.ALL, R.OPS: Reach.ALL},
    "replacements.write": {R.APPROVALS_ADMIN: Reach.ALL},
    "messages.read": dict.fromkeys((R.OPS, R.ADMIN), Reach.ALL),
    "messages.retry": {R.OPS: Reach.ALL},
}

VERB_ACTS = {
    "open": "quotes.submit",
    "recall": "quotes.recall",
    "approve": "approvals.decide",
    "reject": "approvals.decide",
    "take_back": "approvals.decide",
    "add_approver": "approvals.add",
    "remove_approver": "approvals.remove",
    "consult": "approvals.decide",
    "advise": "quotes.comment",
    "delegate": "approvals.decide",
    "reassign": "approvals.reassign",
    "reschedule": "orders.steer",
    "hold": "orders.hold",
    "release": "orders.hold",
    "cancel": "orders.steer",
    **dict.fromkeys(
        (
            "go_live",
            "retry",
            "amend",
            "undo",
            "close_short",
            "accept_excess",
            "dismiss",
            "milestone",
            "end_subscription",
        ),
        "orders.steer",
    ),
    "accepted": "erp.report",
    "rejected": "erp.report",
    **dict.fromkeys(("shipment", "delivery", "correct", "backorder", "picked"), "erp.report"),
    **dict.fromkeys(("arrived", "decline"), "orders.return"),
}
"""The act behind each verb of a run."""

BY_RECORD_ONLY = (
    "open",
    "approval",
    "follow",
    "accepted",
    "rejected",
    "shipment",
    "delivery",
    "backorder",
    "picked",
    "amend",
    "cancel",
    "close_short",
    "accept_excess",
    "correct",
    "release",
)
"""Verbs whose commands are stored by services or the ERP's feed: no signal may bring them along."""


def reaches(person: Person, act: str) -> set[Reach]:
    """The rows this person's roles reach with the act; empty when they may not do it at all."""
    roles = TABLE[act]
    return {roles[role] for role in person.roles if role in roles} if person.active else set()


def allows(person: Person, act: str) -> bool:
    return bool(reaches(person, act))
