"""The time, and signs of life of long work. Rules are handed the time; only what starts something reads it here."""

from collections.abc import Callable
from datetime import UTC, datetime

Heartbeat = Callable[[], None]
"""Called now and then by work that takes long, so that whoever waits knows that it goes on."""


def no_heartbeat() -> None:
    """Nobody waits."""


def now() -> datetime:
    return datetime.now(UTC)
