"""Names and types that workflows and activities share: all of this folder that a workflow imports."""

from domain.runs import Head, Proposal
from domain.values import Value

__all__ = ["DELIVER", "RECORD", "REPLACE", "SWEEP", "Delivered", "Head", "Proposal", "Replaced", "Swept"]

RECORD = "record"
DELIVER = "deliver_messages"
SWEEP = "sweep_commands"
REPLACE = "replace_approver"

APPROVAL_ROUND = "ApprovalRound"
NOTIFICATION_DELIVERY = "NotificationDelivery"
COMMAND_SWEEP = "CommandSweep"
APPROVER_REPLACEMENT = "ApproverReplacement"

ORDER_FULFILMENT = "OrderFulfilment"

APPROVALS_QUEUE = "dealwright-approvals"
ORDERS_QUEUE = "dealwright-orders"
NOTIFY_QUEUE = "dealwright-notify"


class Delivered(Value):
    """What one stretch of delivering did."""

    sent: int = 0
    failed: int = 0


class Swept(Value):
    """What a sweep found unanswered and sent again, and how many overdue runs it woke."""

    resent: int = 0
    woken: int = 0


class Replaced(Value):
    """How far a replacement is."""

    status: str
    sent: int = 0
    answered: int = 0
    idle: bool = False
    """Nothing was left to send; answers are awaited."""
