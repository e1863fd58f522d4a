"""Ids of the workflows that always run. A round's id is made from its subject: `domain.approvals.round.round_run`."""

DELIVERY = "notification-delivery"
SWEEP = "command-sweep"
ERP_SYNC = "erp-sync"
RECONCILIATION = "erp-reconciliation"
