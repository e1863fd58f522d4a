"""What every commanded run does: take signals into an inbox, apply them with its rules, record, adopt what is stored.

The record decides: a run proposes, and goes on from what it is told is stored, whoever stored it."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, Generic, TypeVar

from temporalio import workflow
from temporalio.exceptions import FailureError

with workflow.unsafe.imports_passed_through():
    from activities.contracts import RECORD, Head, Proposal, Stored
    from domain.runs import Command, Machine, RunState, Visible, advance, expiry, read_command, record_summary
    from workflows.options import PATIENT_RECORD, QUICK_RECORD
    from workflows.search import attributes

S = TypeVar("S", bound=RunState)


class CommandedRun(Generic[S]):
    """Base of the workflows that answer commands. A subclass names its machine, its words and its signals."""

    machine: ClassVar[Machine[Any]]
    narrator: Any
    """The module that puts a state into words: its `visible`, `details` and `timer_summary`."""

    def __init__(self, head: Head) -> None:
        self.id = workflow.info().workflow_id
        self.now_at: S = self.machine.state.model_validate(head.state)
        self.inbox: dict[str, Command] = {head.first.key: head.first} if head.first else {}
        self.timer: asyncio.Task[None] | None = None
        self.armed: datetime | None = None
        self.shown = self.visible()  # whoever starts a run sets the attributes of its head

    def visible(self) -> Visible:
        found: Visible = self.narrator.visible(self.now_at)
        return found

    def receive(self, verb: str, given: Sequence[Any]) -> None:
        """Never raises: what cannot be read becomes a command that will be refused."""
        arrival = workflow.info().get_current_history_length() * 1000 + len(self.inbox)
        data = given[0] if len(given) == 1 else None
        command = read_command(self.id, verb, self.machine.verbs, data, arrival)
        self.inbox.setdefault(command.key, command)

    async def serve(self) -> None:
        """Answer commands until the run is closed and nothing is left to answer."""
        while self.now_at.running or self.inbox or self.now_at.ready:
            self._show()
            self._arm()
            await workflow.wait_condition(self._something_to_do)
            await self._advance()
            if self.now_at.running and not self.inbox and workflow.info().is_continue_as_new_suggested():
                self._show()
                await workflow.wait_condition(workflow.all_handlers_finished)
                workflow.continue_as_new(Head(run=self.id, kind=self.machine.kind, state=self.now_at.stored()))
        self._show()

    def _something_to_do(self) -> bool:
        return bool(self.inbox) or self.now_at.ready or (self.timer is not None and self.timer.done())

    async def _advance(self) -> None:
        """Apply the inbox, or the timer's expiry when there is nothing else; propose; adopt what is stored."""
        given = list(self.inbox.items())
        if not given and not self.now_at.ready:
            self.timer = self.armed = None  # it is spent: should it have been early, another is set
            timed = expiry(self.id, self.now_at.seq)
            given = [(timed.key, timed)]
        after, acts, otherwise = advance(self.machine, self.now_at, given, workflow.now())
        proposal = Proposal(
            run=self.id,
            kind=self.machine.kind,
            base=self.now_at.seq,
            acts=acts,
            after=after.stored(),
            otherwise=otherwise.stored() if otherwise else None,
        )
        stored = await self._record(proposal)
        self.now_at = self.machine.state.model_validate(proposal.after if stored.state is None else stored.state)
        for key in [act.settles for act in acts] if stored.settled is None else stored.settled:
            self.inbox.pop(key, None)

    async def _record(self, proposal: Proposal) -> Stored:
        summary = record_summary([(act.command.verb, act.command.actor) for act in proposal.acts])
        options: dict[str, Any] = {"result_type": Stored, "summary": summary}
        stored: Stored
        try:
            stored = await workflow.execute_local_activity(RECORD, proposal, **options, **QUICK_RECORD)
        except FailureError:
            # Not ActivityError: a local activity that timed out raises that when live, a bare TimeoutError on replay.
            stored = await workflow.execute_activity(RECORD, proposal, **options, **PATIENT_RECORD)
        return stored

    def _arm(self) -> None:
        """One timer for the next due instant, kept while that instant stays the same."""
        if self.armed == self.now_at.due:
            return
        if self.timer:
            self.timer.cancel()
        self.timer, self.armed = None, self.now_at.due
        if self.armed is not None:
            wait = max(timedelta(0), self.armed - workflow.now()) + timedelta(milliseconds=1)
            self.timer = asyncio.create_task(workflow.sleep(wait, summary=self.narrator.timer_summary(self.now_at)))

    def _show(self) -> None:
        """What ops sees of the run: details at every change, search attributes when they differ."""
        workflow.set_current_details(self.narrator.details(self.now_at))
        now = self.visible()
        if now != self.shown:
            workflow.upsert_search_attributes(attributes(now, self.shown))
            self.shown = now
