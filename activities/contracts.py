"""Names and types that workflows and activities share: all of this folder that a workflow imports."""

from domain.runs import Command, Head, Proposal, Stored
from domain.values import Value

__all__ = [
    "DELIVER", "OPENING", "RECONCILE", "RECORD", "REPLACE", "SWEEP", "SYNC_ERP", "Delivered", "Head", "Opening",
    "Proposal", "Reconciled", "Replaced", "Split", "Stored", "Swept", "Synced",
]  # fmt: skip

RECORD = "record"
DELIVER = "deliver_messages"
SWEEP = "sweep_commands"
REPLACE = "replace_approver"
OPENING = "order_opening"
SYNC_ERP = "sync_erp"
RECONCILE = "reconcile_erp"

APPROVAL_ROUND = "ApprovalRound"
NOTIFICATION_DELIVERY = "NotificationDelivery"
COMMAND_SWEEP = "CommandSweep"
APPROVER_REPLACEMENT = "ApproverReplacement"

ORDER_FULFILMENT = "OrderFulfilment"
ORDER_RETURN = "OrderReturn"
ORDER_SPLIT = "OrderSplit"
ERP_SYNC = "ErpSync"
ERP_RECONCILIATION = "ErpReconciliation"

APPROVALS_QUEUE = "dealwright-approvals"
ORDERS_QUEUE = "dealwright-orders"
NOTIFY_QUEUE = "dealwright-notify"
ERP_QUEUE = "dealwright-erp"


class Delivered(Value):
    """What one stretch of delivering did."""

    sent: int = 0
    failed: int = 0


class Synced(Value):
    """Documents that the ERP answered, attempts in vain, and reports that were read."""

    sent: int = 0
    failed: int = 0
    read: int = 0

    def plus(self, other: "Synced") -> "Synced":
        return Synced(sent=self.sent + other.sent, failed=self.failed + other.failed, read=self.read + other.read)


class Reconciled(Value):
    """How many orders were compared with the ERP's, and in how many things they differ."""

    compared: int = 0
    drift: int = 0


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


class Split(Value):
    """One split of a quote: its orders, and how many of them were started."""

    quote: str
    customer: str
    number: int
    orders: tuple[str, ...]
    started: int = 0


class Opening(Value):
    """How one order starts: its state as recorded, and the command that opens it."""

    head: Head
    command: Command
