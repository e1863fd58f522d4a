"""What the back office is asked for, in the words of an ERP, and what its answers mean for that."""

from typing import Any, Literal

from domain.orders.order import Order, Phase
from domain.values import Value


class Message(Value):
    """One thing asked of the back office. The order is its key; the order's version tells two apart."""

    kind: Literal["order", "change", "cancel"]
    body: dict[str, Any]


class Reply(Value):
    status: Literal["accepted", "rejected"]
    reference: str = ""
    words: str = ""


def messages(was: Order, now: Order) -> list[Message]:
    """What this step asks of the back office."""
    begins = now.phase is Phase.ACTIVATING and was.phase is not Phase.ACTIVATING
    changes = now.change and now.change.sent and not (was.change and was.change.sent)
    asked = open_message(now) if begins or changes else None
    return [asked] if asked else []


def open_message(order: Order) -> Message | None:
    """What the back office is being asked; None where the order does not wait for its answer."""
    if order.phase is Phase.ACTIVATING:
        return Message(kind="order", body=order_body(order))
    if order.change and order.change.sent:
        cancelling = order.change.verb == "cancel" and not any(order.change.lines.values())
        return Message(kind="cancel" if cancelling else "change", body=change_body(order))
    return None


def answered(was: Order, now: Order) -> Reply | None:
    """What became of what the back office was asked; None where it did not answer."""
    if was.phase is Phase.ACTIVATING and now.phase is not Phase.ACTIVATING:
        refused = now.phase is Phase.FALLOUT
        return Reply(status="rejected" if refused else "accepted", reference=now.erp_reference, words=now.erp_words)
    if was.change and was.change.sent and not (now.change and now.change.sent):
        refusals = [task for task in now.tasks if task.kind == "change_refused" and task not in was.tasks]
        words = refusals[0].words if refusals else ""
        return Reply(status="rejected" if refusals else "accepted", reference=now.erp_reference, words=words)
    return None


def order_body(order: Order) -> dict[str, Any]:
    """The order: its key, for whom, where to, on what terms, and what."""
    return {
        "order": order.id, "quote": order.quote, "customer": order.customer, "currency": order.currency,
        "net_total": str(order.net_total), "contact": order.slot.contact, "note": order.slot.note,
        "terms": order.slot.terms, "promised": order.slot.promised.isoformat() if order.slot.promised else None,
        "ship_to": order.slot.ship_to.model_dump(mode="json") if order.slot.ship_to else None,
        "replaces": order.replaces, "extends": order.extends,
        "acceptance": order.acceptance.model_dump(mode="json") if order.acceptance else None,
        "lines": [
            {"line": n.line, "product": n.product, "name": n.name, "quantity": str(n.share.quantity),
             "net_total": str(n.share.net), "ships": n.shipped_goods, "unit": n.unit}
            for n in order.lines
        ],
    }  # fmt: skip


def change_body(order: Order) -> dict[str, Any]:
    """What shall be different: for each line how much it was and will be, and what else of the order changes."""
    change = order.change
    assert change is not None
    known = {line.line: line for line in order.lines}
    body: dict[str, Any] = {
        "order": order.id, "reference": order.erp_reference, "reason": change.reason, "act": change.verb,
        "lines": [
            {"line": name, "product": known[name].product if name in known else name,
             "was": str(known[name].share.quantity) if name in known else "0", "quantity": str(wanted)}
            for name, wanted in change.lines.items()
        ],
    }  # fmt: skip
    if change.slot:
        body |= change.slot.model_dump(mode="json", exclude={"trigger", "coterm"})
    return body
