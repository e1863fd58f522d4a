"""Three approvals in two chains, as a flow."""

from typing import Any

from django.contrib.auth.models import User
from viewflow import this
from viewflow.workflow import flow, lock
from viewflow.workflow.base import Flow

from .models import Letter, QuoteApproval


def write(user: Any, quote: Any, body: str) -> None:
    Letter.objects.create(recipient=user.email, subject=f"Quote {quote.id}", body=body)


def approval(who: str, then: Any) -> Any:
    def ask(activation: Any) -> None:
        write(activation.task.owner, activation.process.quote, f"Please decide: {activation.task.flow_task.name}")

    return flow.View(None).Assign(lambda _: User.objects.get(username=who)).onCreate(ask).Next(then)


class QuoteFlow(Flow):  # type: ignore[misc]
    process_class = QuoteApproval
    lock_impl = lock.SelectForUpdateLock(nowait=False)
    start = flow.StartHandle(this.begin).Next(this.fork)
    fork = flow.Split().Next(this.first).Next(this.third)
    first = approval("dora", this.second)
    second = approval("fabio", this.join)
    third = approval("lara", this.join)
    join = flow.Join().Next(this.approved)
    approved = flow.Function(this.approve).Next(this.end)
    end = flow.End()

    def begin(self, activation: Any, quote: Any) -> Any:
        activation.process.quote = quote
        return activation.process

    def approve(self, activation: Any) -> None:
        quote = activation.process.quote
        quote.status = "approved"
        quote.save(update_fields=["status"])
        write(quote.owner, quote, "It is approved")
