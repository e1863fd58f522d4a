"""The activity behind every run's `record`."""

from temporalio import activity

from activities.contracts import RECORD, Head, Proposal
from storage.record import Recorder


class Recording:
    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    @activity.defn(name=RECORD)
    async def record(self, proposal: Proposal) -> Head:
        """Store what a run decided, or say what is stored already: see `storage.record`."""
        return await self._recorder.record(proposal)
