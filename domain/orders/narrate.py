"""An order in words: what ops reads in the Temporal UI without opening an event."""

from collections.abc import Iterator

from domain.orders.order import Line, Order, OrderStatus, Phase
from domain.runs import Visible
from domain.values import plain_number


def visible(order: Order) -> Visible:
    return Visible(
        status=order.status.value,
        customer=order.customer[:100],
        waiting_on=order.waiting_on,
        waiting_since=order.waiting_since,
        due=order.due,
    )


def details(order: Order) -> str:
    """Markdown: how it stands, what it waits for, until when, and who changed it last."""
    lines = [f"**{order.title}**", "", f"**{order.status.value.replace('_', ' ')}**. {next_sentence(order)}", ""]
    lines += [f"- {sentence}" for sentence in _pending(order)]
    lines += [f"- held by {hold.owner}: {hold.reason} ({hold.id})" for hold in order.holds]
    lines += [
        "",
        "| line | quantity | backordered | shipped | delivered |",
        "|---|---|---|---|---|",
        *(_row(line) for line in order.lines),
    ]
    lines += ["", f"Version {order.version}, changed by {order.changed_by or order.owner}; of quote {order.quote}."]
    return "\n".join(lines)


def _pending(order: Order) -> Iterator[str]:
    """What else is on its way: a change, tasks of the desk, commands that wait."""
    if change := order.change:
        what = (
            ", ".join(f"{name} to {plain_number(quantity)}" for name, quantity in change.lines.items())
            or "its place or terms"
        )
        waits = (
            f"waits for {change.round}"
            if change.round
            else "the back office was asked"
            if change.sent
            else f"from {change.effective} on"
        )
        yield f"{change.verb} {what} by {change.by}: {waits}"
    yield from (f"for the order desk: {task.words}" for task in order.tasks)
    yield from (f"{command.verb} by {command.actor} waits for its answer" for command in order.parked)
    if order.days_late:
        yield f"{order.days_late} days later than promised, because of the {order.late_because}"


def _row(line: Line) -> str:
    name = (line.name or line.product).replace("|", "\\|").replace("\n", " ")
    counts = (line.share.quantity, line.backordered, line.shipped, line.delivered)
    return f"| {name} | " + " | ".join(plain_number(count) for count in counts) + " |"


def next_sentence(order: Order) -> str:
    if order.status is OrderStatus.HELD:
        return "Waits until every hold is released."
    if order.phase is Phase.WAITING:
        if order.starts_at:
            return f"Starts at {order.starts_at:%Y-%m-%d %H:%M} UTC."
        after = order.slot.trigger.after
        return f"Waits until order {after} is fulfilled." if after else "Waits for somebody to say that it goes live."
    sentences = {
        Phase.NEW: "It is about to be opened.",
        Phase.ACTIVATING: "Waits for the back office to take it over.",
        Phase.FALLOUT: f"The back office refused it: {order.erp_words}",
        Phase.ACTIVE: _active_sentence(order),
        Phase.CANCELLED: "Cancelled.",
    }
    return sentences[order.phase]


def _active_sentence(order: Order) -> str:
    if not order.running:
        return "Everything was delivered."
    if order.status is OrderStatus.FULFILLED and order.renewal_due:
        return f"Renews its subscriptions at {order.renewal_due:%Y-%m-%d %H:%M} UTC."
    return "Waits for its goods to be delivered."


def timer_summary(order: Order) -> str:
    if order.phase is Phase.ACTIVE and order.due == order.renewal_due:
        return f"renews the subscriptions of {order.id}"
    return f"starts {order.id}"
