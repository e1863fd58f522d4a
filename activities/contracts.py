"""Names and types that workflows and activities share: all of this folder that a workflow imports."""

from domain.runs import Head, Proposal
from domain.values import Value

__all__ = ["DELIVER", "RECORD", "SWEEP", "Delivered", "Head", "Proposal", "Swept"]

RECORD = "record"
DELIVER = "deliver_messages"
SWEEP = "sweep_commands"

APPROVAL_ROUND = "ApprovalRound"
NOTIFICATION_DELIVERY = "NotificationDelivery"
COMMAND_SWEEP = "CommandSweep"

APPROVALS_QUEUE = "dealwright-approvals"
NOTIFY_QUEUE = "dealwright-notify"


class Delivered(Value):
    """What one stretch of delivering did."""

    sent: int = 0
    failed: int = 0


class Swept(Value):
    """What a sweep found unanswered and sent again, and how many overdue runs it woke."""

    resent: int = 0
    woken: int = 0
