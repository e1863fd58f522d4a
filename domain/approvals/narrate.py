"""A round in words: what ops reads in the Temporal UI without opening an event."""

from domain.approvals.path import opened
from domain.approvals.round import Approval, ApprovalStatus, Round, RoundStatus, next_due
from domain.runs import Visible

MARKS = {
    ApprovalStatus.WAITING: "○",
    ApprovalStatus.REQUESTED: "⏳",
    ApprovalStatus.APPROVED: "✅",
    ApprovalStatus.REJECTED: "❌",
    ApprovalStatus.CARRIED: "↪",
    ApprovalStatus.COVERED: "✅",
    ApprovalStatus.REVOKED: "➖",
    ApprovalStatus.EXPIRED: "⌛",
    ApprovalStatus.INFORMED: "✉",
    ApprovalStatus.REMOVED: "➖",
}


def visible(round: Round) -> Visible:
    """A new round is shown as it will stand once it is opened, so that opening it changes nothing there."""
    if round.status is RoundStatus.NEW and round.submitted_at:
        round = opened(round, round.submitted_at)
        round = round.evolve(due=next_due(round))
    since = [a.requested_at for a in round.requested if a.requested_at]
    return Visible(
        status=round.status.value,
        customer=round.customer[:100],
        waiting_on=tuple(round.waiting_on) if round.running else (),
        waiting_since=min(since) if since and round.running else None,
        due=round.due,
    )


def details(round: Round) -> str:
    """Markdown: how it stands, who holds what since when, and what comes next."""
    lines = [
        f"**{round.title}**",
        "",
        f"Round {round.number}: **{round.status}**. {next_sentence(round)}",
        "",
    ]
    if round.approvals:
        lines += ["| | step | approval | who | since |", "|---|---|---|---|---|"]
        lines += [_row(a) for a in sorted(round.approvals, key=lambda a: (a.chain, a.order))]
    lines += ["", f"Submitted by {round.submitter}, policy version {round.policy_version}."]
    return "\n".join(lines)


def _row(approval: Approval) -> str:
    who = ", ".join(_cell(s.holder) + (f" → {_cell(s.by)}" if s.by else "") for s in approval.seats)
    if approval.awaited_advice:
        who += f", advice asked of {', '.join(_cell(c.person) for c in approval.awaited_advice)}"
    if approval.needed != len(approval.seats) and not approval.inform:
        who += f" ({approval.needed} of {len(approval.seats)})"
    since = approval.decided_at or approval.requested_at
    when = f"{since:%Y-%m-%d %H:%M} UTC" if since else ""
    place = f"{_cell(approval.chain)} {approval.step}"
    return f"| {MARKS[approval.status]} {approval.status} | {place} | {_cell(approval.title)} | {who} | {when} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def next_sentence(round: Round) -> str:
    if round.valid_until:
        return f"Nothing more will happen in this round; what it approved is good until {round.valid_until:%Y-%m-%d}."
    if not round.running:
        return "Nothing more will happen in this round."
    if round.opened_at is None:
        return "It is about to be opened."
    until = f" {_next_act(round).capitalize()} at {round.due:%Y-%m-%d %H:%M} UTC unless decided." if round.due else ""
    return f"Waiting on {', '.join(round.waiting_on)}.{until}"


def _next_act(round: Round) -> str:
    """What time does next."""
    acts = (("due", "expires"), ("escalate_at", "escalates"), ("remind_at", "reminds"))
    return next((act for name, act in acts for a in round.requested if getattr(a, name) == round.due), "expires")


def timer_summary(round: Round) -> str:
    return f"{_next_act(round)} unless {', '.join(round.waiting_on)[:100]} decides"
