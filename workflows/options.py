"""Timeouts and retries by name."""

from datetime import timedelta
from typing import Any

from temporalio.common import RetryPolicy

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


class Retries:
    """A pause that doubles from attempt to attempt, up to the longest one."""

    def __init__(self, first: timedelta, longest: timedelta) -> None:
        self.first = first
        self.longest = longest

    def pause(self, attempt: int) -> timedelta:
        """The pause after so many attempts in vain."""
        doubled: int = 2 ** min(attempt - 1, 20)
        return min(self.first * doubled, self.longest)

    @property
    def policy(self) -> RetryPolicy:
        return RetryPolicy(initial_interval=self.first, maximum_interval=self.longest)


ERP_RETRIES = Retries(first=timedelta(seconds=1), longest=timedelta(minutes=10))
SEND: dict[str, Any] = {
    "start_to_close_timeout": timedelta(minutes=5),
    "heartbeat_timeout": timedelta(seconds=20),
    "retry_policy": ERP_RETRIES.policy,
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
