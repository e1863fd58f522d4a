"""Workflow ids, made from business keys. `:` separates: the engine's HTTP API cannot find an id with a slash."""

DELIVERY = "notification-delivery"
SWEEP = "command-sweep"


def approval_round(kind: str, subject: str, number: int) -> str:
    return f"{kind}:{subject}:approval:{number}"
