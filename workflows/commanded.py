"""What every run that answers commands does: wait for a signal or the clock, ask the database, show what it is told.

The run decides nothing and reads no rule. The database applies commands (`services.runs.apply`); `advance` says what
came of them, in words and instants. So neither a changed rule nor a changed sentence can break a replay."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, NoReturn

from temporalio import workflow
from temporalio.exceptions import FailureError

with workflow.unsafe.imports_passed_through():
    from domain.runs import Advanced, AdvanceRequest, ReceivedSignal, RunStart, is_storable
    from domain.runs.contracts import ADVANCE
    from workflows.options import PATIENT_ADVANCE, QUICK_ADVANCE
    from workflows.search import attributes

MOST_SIGNALS = 50
"""Signals given to the database at a time."""
MOST_WAITING = 1_000
"""Signals kept; what comes beyond them only makes the run look at the database again."""
LONGEST_PAUSE = 60.0
CARRIED = 50
"""Signals that go along when the run continues as new; those of front doors need not, for their commands are stored."""


class CommandedRun:
    """Base of the workflows that answer commands. A subclass names its kind and its signals."""

    kind: ClassVar[str]

    def __init__(self, start: RunStart) -> None:
        info = workflow.info()
        self.id = info.workflow_id
        self.inbox: list[ReceivedSignal] = []
        self.woken = False
        self.title = start.title[:200]
        # An input is believed only where this chain wrote it itself: whoever starts a run could say anything.
        ours = info.continued_run_id is not None and info.cron_schedule is None and info.attempt == 1
        self.told = Advanced(number=start.number if ours else -1, mark=start.mark if ours else "", running=True)
        self.inbox += start.signals if ours else []
        self.timer: asyncio.Task[None] | None = None
        self.timer_due: datetime | None = None
        self.early = 0
        """How often the timer fired at one number and nothing was due: clocks differ."""

    def receive(self, verb: str, given: Sequence[Any]) -> None:
        """Never raises. What it carries is a hint that the database looks into."""
        self.woken = True
        if len(self.inbox) >= MOST_WAITING:
            return
        info = workflow.info()
        data = given[0] if len(given) == 1 and is_storable(given[0]) else None
        arrival = f"{info.run_id}:{info.get_current_history_length()}:{len(self.inbox)}"
        self.inbox.append(ReceivedSignal(verb=verb[:64], data=data, arrival=arrival))

    async def serve(self) -> dict[str, Any]:
        """Follow the run as stored until it is closed; its status and number."""
        while True:
            await self._advance()
            if not self.told.known:
                return {"status": "unknown", "number": -1}
            if self.inbox or self.told.more or self.woken:
                pass
            elif not self.told.running:
                return {"status": self.told.visible and self.told.visible.status, "number": self.told.number}
            else:
                self._set_timer()
                await workflow.wait_condition(self._has_something_to_do)
            if workflow.info().is_continue_as_new_suggested():
                self._continue_as_new()

    def _continue_as_new(self) -> NoReturn:
        """The summary of the start is lost on the way, as the SDK takes none here: the memo and the details keep it."""
        told, left = self.told, [signal for signal in self.inbox if not signal.names_a_command]
        workflow.continue_as_new(
            RunStart(run=self.id, title=self.title, number=told.number, mark=told.mark, signals=left[:CARRIED]),
            memo={"summary": self.title},
        )

    def _has_something_to_do(self) -> bool:
        return self.woken or self._timer_fired()

    def _timer_fired(self) -> bool:
        return self.timer is not None and self.timer.done()

    async def _advance(self) -> None:
        """Ask the database, and show what it says."""
        fired, before = self._timer_fired(), self.told
        if fired:
            self.timer = self.timer_due = None
        given, self.inbox = self.inbox[:MOST_SIGNALS], self.inbox[MOST_SIGNALS:]
        self.woken = False
        request = AdvanceRequest(
            run=self.id,
            kind=self.kind,
            number=before.number,
            mark=before.mark,
            signals=given,
            execution=workflow.info().run_id,
        )
        self.told = await self._call(request)
        self.early = self.early + 1 if fired and self.told.number == before.number else 0
        self._show()
        self._act()

    def _act(self) -> None:
        """What a kind of run does besides waiting, after each look at the database."""

    async def _call(self, request: AdvanceRequest) -> Advanced:
        said = list(dict.fromkeys(signal.summary for signal in request.signals))
        options: dict[str, Any] = {"result_type": Advanced, "summary": ", ".join(said)[:200] or "look"}
        told: Advanced
        try:
            told = await workflow.execute_local_activity(ADVANCE, request, **options, **QUICK_ADVANCE)
        except FailureError:
            # Not ActivityError: a local activity that timed out raises that when live, a bare TimeoutError on replay.
            told = await workflow.execute_activity(ADVANCE, request, **options, **PATIENT_ADVANCE)
        return told

    def _set_timer(self) -> None:
        """One timer for the next due instant, kept while that instant stays the same."""
        if self.timer_due == self.told.due and (self.timer is not None or self.told.due is None):
            return
        if self.timer:
            self.timer.cancel()
        self.timer, self.timer_due = None, self.told.due
        if self.told.wait is not None:
            pause = min(2.0 ** (self.early - 1), LONGEST_PAUSE) if self.early > 1 else 0.0
            wait = timedelta(seconds=max(self.told.wait, pause))
            self.timer = asyncio.create_task(workflow.sleep(wait, summary=self.told.timer[:200]))

    def _show(self) -> None:
        """What ops sees of the run: details at every change, search attributes when they differ."""
        if self.told.visible is None:
            return
        workflow.set_current_details(self.told.details)
        if changed := attributes(self.told.visible, workflow.info().typed_search_attributes):
            workflow.upsert_search_attributes(changed)
