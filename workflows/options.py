"""Timeouts and retries by name."""

from datetime import timedelta
from typing import Any

from temporalio.common import RetryPolicy

from domain.runs.contracts import ERP_RETRIES

QUICK_ADVANCE: dict[str, Any] = {
    "schedule_to_close_timeout": timedelta(seconds=5),
    # Not left to the time limit alone: the pauses between failed attempts are not counted into it.
    "retry_policy": RetryPolicy(initial_interval=timedelta(milliseconds=200), maximum_attempts=4),
}
"""Inside the workflow task. Longer outages wait in PATIENT_ADVANCE, where waiting costs no history."""

PATIENT_ADVANCE: dict[str, Any] = {
    "start_to_close_timeout": timedelta(seconds=10),
    "retry_policy": RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=60)),
}

DELIVERY_STRETCH: dict[str, Any] = {
    "start_to_close_timeout": timedelta(minutes=20),
    "heartbeat_timeout": timedelta(seconds=30),
    "retry_policy": RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=30)),
}


SEND: dict[str, Any] = {
    "start_to_close_timeout": timedelta(minutes=5),
    "heartbeat_timeout": timedelta(seconds=20),
    "retry_policy": RetryPolicy(initial_interval=ERP_RETRIES.first, maximum_interval=ERP_RETRIES.longest),
}
"""One document on its way to the ERP, tried until the ERP answers."""

REPLACING: dict[str, Any] = {
    "start_to_close_timeout": timedelta(minutes=5),
    "heartbeat_timeout": timedelta(seconds=10),
    "retry_policy": RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=30)),
}

SWEEPING: dict[str, Any] = {
    "start_to_close_timeout": timedelta(minutes=20),
    "heartbeat_timeout": timedelta(seconds=30),
    "retry_policy": RetryPolicy(initial_interval=timedelta(seconds=2), maximum_interval=timedelta(seconds=30)),
}

ORDER_TASK: dict[str, Any] = {"task_timeout": timedelta(seconds=3)}
"""Work of a worker that died is tried again soon."""
