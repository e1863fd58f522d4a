"""The workers of each task queue, with the workflows and activities that they run."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from temporalio.client import (
    Client,
)
from temporalio.worker import PollerBehaviorSimpleMaximum, UnsandboxedWorkflowRunner, Worker, WorkflowRunner

from activities.advancing import Advancing
from activities.notifying import Delivering
from activities.opening import Openings
from activities.replacing import Replacing
from activities.sending import SendToErp
from activities.sweeping import Sweeping
from activities.syncing import Syncing
from app.container import Application
from app.settings import Settings
from domain.runs.contracts import (
    APPROVALS_QUEUE,
    ERP_QUEUE,
    NOTIFY_QUEUE,
    ORDERS_QUEUE,
)
from erp.outbox import Outbox
from erp.port import Erp
from erp.tryton.adapter import Tryton
from erp.tryton.rpc import Rpc
from erp.webhook import Webhook
from inbound.mailbox import Mailbox
from notify.chat import Chat
from notify.mail import Mail, SmtpServer
from services.clock import now
from services.erp.reports import ErpReports
from services.erp.sender import ErpSender
from services.letters.letter_delivery import LetterDelivery
from services.orders.openings import OrderOpenings
from services.people.replacement_steps import ReplacementSteps
from workflows.approval_round import ApprovalRound
from workflows.approver_replacement import ApproverReplacement
from workflows.command_sweep import CommandSweep
from workflows.erp_reconciliation import ErpReconciliation
from workflows.erp_sync import ErpSync
from workflows.notification_delivery import NotificationDelivery
from workflows.order_fulfilment import OrderFulfilment
from workflows.order_return import OrderReturn
from workflows.order_split import OrderSplit

WAITING_CACHED = 500
"""Orders mostly wait for months: only those that something happens to are worth their memory."""
ERP_SENDS_AT_ONCE = 400
"""Documents with the ERP at a time: enough to fill every call, and a bound for memory."""
RUNNER: WorkflowRunner = UnsandboxedWorkflowRunner()
"""Replays and the tests of workflows run in the sandbox: see docs/decisions/0015."""


def smtp(settings: Settings) -> SmtpServer:
    return SmtpServer(
        host=settings.smtp_host,
        port=settings.smtp_port,
        username=settings.smtp_username,
        password=settings.smtp_password.get_secret_value(),
        start_tls=settings.smtp_start_tls,
        sender=settings.mail_from,
    )


def mailbox(settings: Settings) -> Mailbox:
    return Mailbox(
        host=settings.imap_host,
        port=settings.imap_port,
        username=settings.imap_username,
        password=settings.imap_password.get_secret_value(),
        tls=settings.imap_tls,
        folder=settings.imap_folder,
        every_seconds=settings.imap_every_seconds,
    )


def approvals_worker(client: Client, container: Application) -> Worker:
    return Worker(
        client,
        task_queue=APPROVALS_QUEUE,
        workflows=[ApprovalRound, ApproverReplacement, CommandSweep],
        activities=[
            Advancing(container.advancer).advance,
            Replacing(ReplacementSteps(container.path, container.context.audit_key)).step,
            Sweeping(container.sweeper).sweep,
        ],
        workflow_runner=RUNNER,
        workflow_task_poller_behavior=PollerBehaviorSimpleMaximum(20),
        activity_task_poller_behavior=PollerBehaviorSimpleMaximum(5),
        max_concurrent_local_activities=container.settings.local_activity_slots,
        # The work of a worker that died waits this long for it before another takes over.
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=2),
    )


def orders_worker(client: Client, container: Application) -> Worker:
    return Worker(
        client,
        task_queue=ORDERS_QUEUE,
        workflows=[OrderFulfilment, OrderReturn, OrderSplit],
        activities=[
            Advancing(container.advancer).advance,
            Openings(OrderOpenings(container.database, container.path.applier.run_types)).opening,
        ],
        max_cached_workflows=WAITING_CACHED,
        workflow_runner=RUNNER,
        workflow_task_poller_behavior=PollerBehaviorSimpleMaximum(5),
        activity_task_poller_behavior=PollerBehaviorSimpleMaximum(2),
        max_concurrent_local_activities=container.settings.local_activity_slots,
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=2),
    )


def notify_worker(client: Client, container: Application) -> Worker:
    delivery = LetterDelivery(
        container.database,
        Mail(smtp(container.settings)),
        Chat(container.settings.chat_to_private_addresses),
        now,
        container.links,
    )
    return _carrier(client, NOTIFY_QUEUE, (NotificationDelivery,), (Delivering(delivery).deliver,))


def erp_of(settings: Settings) -> Erp:
    secret = settings.erp_secret.get_secret_value()
    match settings.erp:
        case "webhook":
            return Webhook(settings.erp_url, secret)
        case "tryton":
            return Tryton(Rpc(settings.erp_url, settings.erp_user, secret), settings.erp_shop)
    return Outbox()


def erp_worker(client: Client, container: Application) -> Worker:
    settings = container.settings
    adapter = erp_of(settings)
    syncing = Syncing(ErpReports(container.path, adapter, settings.erp))
    sending = SendToErp(container.path, ErpSender(container.path, adapter, settings.erp_per_second))
    acts = (sending.send_to_erp, syncing.sync, syncing.reconcile)
    return _carrier(client, ERP_QUEUE, (ErpSync, ErpReconciliation), acts, ERP_SENDS_AT_ONCE)


def _carrier(
    client: Client,
    queue: str,
    workflows: Sequence[type[Any]],
    activities: Sequence[Callable[..., Any]],
    activities_at_once: int | None = None,
) -> Worker:
    """For a run that carries things for ever by one long activity."""
    return Worker(
        client,
        task_queue=queue,
        workflows=workflows,
        activities=activities,
        workflow_runner=RUNNER,
        workflow_task_poller_behavior=PollerBehaviorSimpleMaximum(2),
        activity_task_poller_behavior=PollerBehaviorSimpleMaximum(2),
        max_concurrent_activities=activities_at_once,
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=2),
        graceful_shutdown_timeout=timedelta(seconds=5),
    )


WORKERS = {
    "approvals": approvals_worker, "orders": orders_worker, "notify": notify_worker, "erp": erp_worker,
}  # fmt: skip
