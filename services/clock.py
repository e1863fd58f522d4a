"""The time. Rules are handed it as an argument; only what starts something reads it here."""

from datetime import UTC, datetime


def now() -> datetime:
    return datetime.now(UTC)
