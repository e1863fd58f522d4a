"""Names and types that workflows and activities share."""

from datetime import datetime, timedelta
from enum import StrEnum

from domain.runs import RunStart, Visible
from domain.values import Value, canonical

ADVANCE = "advance"
DELIVER = "deliver_messages"
SWEEP = "sweep_commands"
REPLACE = "replace_approver"
OPENING = "order_opening"
SYNC_ERP = "sync_erp"
SEND_TO_ERP = "send_to_erp"
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


class Sent(StrEnum):
    """What became of a document."""

    ANSWERED = "answered"
    LATER = "later"
    """The ERP answers by a report."""
    NOT_WAITING = "not_waiting"
    """Somebody else answered it meanwhile."""


class Synced(Value):
    """Reports of the ERP that were read, and attempts in vain."""

    failed: int = 0
    read: int = 0

    def plus(self, other: "Synced") -> "Synced":
        return Synced(failed=self.failed + other.failed, read=self.read + other.read)


class Reconciled(Value):
    """How many orders were compared with the ERP's, and in how many things they differ."""

    compared: int = 0
    drift: int = 0


class SweepMark(Value):
    """What the sweep and the database last agreed on: the newest audit entry then, and when that was.

    A database that does not hold the entry is an older copy; a mark that is older than the database's is an older
    copy of Temporal."""

    subject: str = ""
    seq: int = 0
    mac: str = ""
    swept_at: datetime | None = None
    woken: int = 0
    """Runs that were woken so far."""
    applied: int = 0
    """Commands that were applied so far because nobody else had."""
    key: str = ""
    seal: str = ""
    """By the key of this id, which Temporal does not hold: a forged mark could close the database for everybody."""

    @property
    def sealed_part(self) -> str:
        return canonical([self.subject, self.seq, self.mac, self.swept_at])


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
    """How the workflow of one order starts, and what its list in the Temporal UI shows from the first moment."""

    start: RunStart
    visible: Visible


class Retries(Value):
    """A pause that doubles from attempt to attempt, up to the longest one."""

    first: timedelta
    longest: timedelta

    def pause(self, attempt: int) -> timedelta:
        """The pause after so many attempts in vain."""
        doubled: int = 2 ** min(attempt - 1, 20)
        return min(self.first * doubled, self.longest)


ERP_RETRIES = Retries(first=timedelta(seconds=1), longest=timedelta(minutes=10))
